"""Rows that read and write at computed places: gather, scatter, argsort and argtop.

`gather(x, i1, ..., im)` with arg = axes (a1, ..., am): all index tensors have one shape B; the result has the
shape B followed by x's other axes, and holds x[..., i1[b], ..., im[b], ...]. `scatter(base, i1, ..., im,
values)` with arg = (axes, mode) is base with `values` (shape B, then the other axes) written there; mode is
"set" (the last write of a place stays), "add", "multiply", "maximum" or "minimum". Indices are integers in
range: whoever builds the node checks.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lazygrad import dtypes
from lazygrad.dtypes import DType
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
    zero = e.like(0, x)
    return (scatter(zero, *indices, g, arg=(n.arg, "add")), *(None for _ in indices))


gather: Op = Op(
    "gather",
    "index",
    None,
    shape=lambda inputs, axes: _gathered_shape(inputs[0], inputs[1:], axes),
    dtype=lambda inputs, axes: inputs[0].dtype,
    numpy=lambda n, x, *indices: _front(x, n.arg)[_places(indices, n.arg, x.ndim)],
    gradient=_gather_gradient,
)

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
    if mode == "set":  # as in PyTorch, every write of a place that is written twice gets its gradient
        kept = scatter(g, *indices, e.like(0, values), arg=(axes, "set"))
        return (kept, *none, gather(g, *indices, arg=axes))
    if mode == "multiply":
        return _product_gradient(g, base, tuple(indices), values, axes)
    # an extreme is shared evenly among all that attained it, as PyTorch's scatter_reduce does
    from_base = e.cast(e.eq(base, n), arg=g.dtype)
    from_values = e.cast(e.eq(values, gather(n, *indices, arg=axes)), arg=g.dtype)
    share = e.div(g, scatter(from_base, *indices, from_values, arg=(axes, "add")))
    return (e.mul(from_base, share), *none, e.mul(from_values, gather(share, *indices, arg=axes)))


def _product_gradient(
    g: Node, base: Node, indices: tuple[Node, ...], values: Node, axes: tuple[int, ...]
) -> tuple[Node | None, ...]:
    # the product of the others: of all factors that are not zero, where no other factor is zero
    zero_base, zero_values = e.eq(base, e.like(0, base)), e.eq(values, e.like(0, values))
    safe_base, safe_values = (
        e.where(zero_base, e.like(1, base), base),
        e.where(zero_values, e.like(1, values), values),
    )
    product = scatter(safe_base, *indices, safe_values, arg=(axes, "multiply"))
    own_base, own_values = e.cast(zero_base, arg=dtypes.int64), e.cast(zero_values, arg=dtypes.int64)
    zeros = scatter(own_base, *indices, own_values, arg=(axes, "add"))
    to_base = e.where(e.eq(zeros, own_base), e.div(e.mul(g, product), safe_base), e.like(0, base))
    at_values = e.div(gather(e.mul(g, product), *indices, arg=axes), safe_values)
    to_values = e.where(e.eq(gather(zeros, *indices, arg=axes), own_values), at_values, e.like(0, values))
    return (to_base, *(None for _ in indices), to_values)


scatter: Op = Op(
    "scatter",
    "index",
    None,
    shape=_scattered_shape,
    dtype=lambda inputs, _: inputs[0].dtype,
    numpy=_scatter_numpy,
    gradient=_scatter_gradient,
)


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
argsort: Op = Op("argsort", "sort", 1, same_shape, _index_dtype, _argsort_numpy)


def _argtop_shape(inputs: tuple[Node, ...], arg: tuple[int, bool, int]) -> Shape:
    axis, _, count = arg
    shape = inputs[0].shape
    assert 0 < count <= shape[axis], (arg, shape)
    return (*shape[:axis], count, *shape[axis + 1 :])


def _argtop_numpy(n: Node, x: np.ndarray) -> np.ndarray:
    axis, descending, count = n.arg
    order = _argsort_numpy(argsort(n.inputs[0], arg=(axis, descending)), x)
    return order.take(range(count), axis)


# arg = (axis, descending, count): the first `count` places of argsort.
argtop: Op = Op("argtop", "sort", 1, _argtop_shape, _index_dtype, _argtop_numpy)
