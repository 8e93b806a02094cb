"""Rows that read and write at computed places: gather, scatter, and argsort.

`gather(x, i1, ..., im)` with arg = axes (a1, ..., am): all index tensors have one shape B; the result has the shape
B followed by x's other axes, and holds x[..., i1[b], ..., im[b], ...]. `scatter(base, i1, ..., im, values)` with arg =
(axes, mode) is base with `values` (shape B, then the other axes) written there; mode is "set" (the last write of a
place stays), "add", "multiply", "maximum" or "minimum". Indices are integers in range: whoever builds the node checks.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lazygrad import dtype as dtypes
from lazygrad.dtype import DType
from lazygrad.graph import Node, Shape
from lazygrad.ops import elementwise as e
from lazygrad.ops.table import Op, same_shape


def _gathered_shape(x: Node, indices: tuple[Node, ...], axes: tuple[int, ...]) -> Shape:
    assert len(indices) == len(axes) > 0 and len(set(axes)) == len(axes), (indices, axes)
    assert all(i.shape == indices[0].shape and i.dtype.is_integer for i in indices), indices
    return (*indices[0].shape, *(n for axis, n in enumerate(x.shape) if axis not in axes))


def _places(indices: tuple[np.ndarray, ...], axes: tuple[int, ...], ndim: int) -> tuple[Any, ...]:
    """The NumPy index of x moved so that `axes` come first."""
    return tuple(np.asarray(i).astype(np.int64) for i in indices)


def _front(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    return np.transpose(x, (*axes, *(i for i in range(x.ndim) if i not in axes)))


def _gather_gradient(g: Node, n: Node, x: Node, *indices: Node) -> tuple[Node | None, ...]:
    zero = e.const(0, g.dtype, x.shape)
    return (scatter(zero, *indices, g, arg=(n.arg, "add")), *(None for _ in indices))


gather = Op("gather", "index", None,
            shape=lambda inputs, axes: _gathered_shape(inputs[0], inputs[1:], axes),
            dtype=lambda inputs, axes: inputs[0].dtype,
            numpy=lambda n, x, *indices: _front(x, n.arg)[_places(indices, n.arg, x.ndim)],
            gradient=_gather_gradient)

_AT = {"add": np.add, "multiply": np.multiply, "maximum": np.maximum, "minimum": np.minimum}
MODES = ("set", *_AT)


def _scattered_shape(inputs: tuple[Node, ...], arg: Any) -> Shape:
    axes, mode = arg
    base, *indices, values = inputs
    assert mode in MODES, mode
    assert values.shape == _gathered_shape(base, tuple(indices), axes) and values.dtype == base.dtype, inputs
    return base.shape


def _scatter_numpy(n: Node, base: np.ndarray, *rest: np.ndarray) -> np.ndarray:
    *indices, values = rest
    axes, mode = n.arg
    out = np.array(base, dtype=n.dtype.accumulator.numpy, order="C")
    places = _places(tuple(indices), axes, base.ndim)
    if mode == "set":
        _front(out, axes)[places] = values
    else:
        _AT[mode].at(_front(out, axes), places, values)
    return dtypes.round_to(out, n.dtype)


def _scatter_gradient(g: Node, n: Node, base: Node, *rest: Node) -> tuple[Node | None, ...]:
    *indices, values = rest
    axes, mode = n.arg
    none = (None,) * len(indices)
    if mode == "add":
        return (g, *none, gather(g, *indices, arg=axes))
    if mode == "set":
        kept = scatter(g, *indices, e.like(0, values), arg=(axes, "set"))
        return (kept, *none, gather(g, *indices, arg=axes))
    if mode == "multiply":
        share = e.mul(g, n)
        return (e.div(share, base), *none, e.div(gather(share, *indices, arg=axes), values))
    # an extreme is shared evenly among all that attained it, as PyTorch's scatter_reduce does
    from_base = e.cast(e.eq(base, n), arg=g.dtype)
    from_values = e.cast(e.eq(values, gather(n, *indices, arg=axes)), arg=g.dtype)
    share = e.div(g, scatter(from_base, *indices, from_values, arg=(axes, "add")))
    return (e.mul(from_base, share), *none, e.mul(from_values, gather(share, *indices, arg=axes)))


scatter = Op("scatter", "index", None, shape=_scattered_shape, dtype=lambda inputs, _: inputs[0].dtype,
             numpy=_scatter_numpy, gradient=_scatter_gradient)


def _argsort_numpy(n: Node, x: np.ndarray) -> np.ndarray:
    axis, descending = n.arg
    if not descending:
        return np.argsort(x, axis, kind="stable")
    # stable and descending: sort the reversed array ascending, then reverse; NaN counts as the greatest
    backwards = np.argsort(np.flip(x, axis), axis, kind="stable")
    return np.flip(x.shape[axis] - 1 - backwards, axis)


def _index_dtype(inputs: tuple[Node, ...], arg: Any) -> DType:
    return dtypes.int64


# arg = (axis, descending); stable; NaN is greater than every number.
argsort = Op("argsort", "sort", 1, same_shape, _index_dtype, _argsort_numpy)
