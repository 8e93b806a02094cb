"""Rows that fold an axis: reduces (arg = sorted axes, which become size 1) and scans (arg = axis)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lazygrad.dtypes import DType, round_to
from lazygrad.graph import Node, Scalar, Shape
from lazygrad.helpers import inverse_permutation, product
from lazygrad.ops import elementwise as e
from lazygrad.ops.indexing import scatter
from lazygrad.ops.movement import cat, expand, flip, permute, reshape, shrink
from lazygrad.ops.source import const, iota
from lazygrad.ops.table import Op, same_dtype, same_shape


def _reduced_shape(inputs: tuple[Node, ...], axes: tuple[int, ...]) -> Shape:
    assert list(axes) == sorted(set(axes)) and all(0 <= a < inputs[0].ndim for a in axes), (axes, inputs[0])
    return tuple(1 if i in axes else n for i, n in enumerate(inputs[0].shape))


def _reduce(
    name: str,
    combine: str,
    ufunc: np.ufunc,
    identity: Callable[[DType], Scalar],
    gradient: Callable[..., Any],
) -> Op:
    def numpy(node: Node, x: np.ndarray) -> np.ndarray:
        wide = x.astype(node.dtype.accumulator.numpy, copy=False)
        start = np.asarray(identity(node.dtype), wide.dtype)
        return round_to(
            ufunc.reduce(wide, axis=node.arg, keepdims=True, initial=start, dtype=wide.dtype), node.dtype
        )

    return Op(
        name, "reduce", 1, _reduced_shape, same_dtype, numpy, gradient, identity=identity, combine=combine
    )


def _extreme_gradient(g: Node, n: Node, x: Node) -> tuple[Node]:
    # shared evenly among ties, as PyTorch's amax and amin do
    ties = e.cast(e.eq(x, expand(n, arg=x.shape)), arg=g.dtype)
    share = e.div(g, sum_(ties, arg=n.arg))
    return (e.mul(ties, expand(share, arg=x.shape)),)


def _prod_gradient(g: Node, n: Node, x: Node) -> tuple[Node]:
    # the product of all others: exclusive products from both sides, so that zeros need no division
    axes = n.arg
    kept = tuple(i for i in range(x.ndim) if i not in axes)
    order = kept + axes
    moved = permute(x, arg=order)
    shape = moved.shape
    rows = reshape(moved, arg=(*shape[: len(kept)], product(shape[len(kept) :])))
    others = e.mul(
        _exclusive_product(rows), flip(_exclusive_product(flip(rows, arg=(len(kept),))), arg=(len(kept),))
    )
    back = permute(reshape(others, arg=shape), arg=inverse_permutation(order))
    return (e.mul(expand(g, arg=x.shape), back),)


def _exclusive_product(x: Node) -> Node:
    """Along the last axis, the product of all that stand before."""
    axis = x.ndim - 1
    if x.shape[axis] == 0:
        return x
    before = shrink(x, arg=tuple((0, n - (i == axis)) for i, n in enumerate(x.shape)))
    one = const(1, x.dtype, (*x.shape[:-1], 1))
    return cumprod(cat(one, before, arg=axis), arg=axis)


sum_: Op = _reduce("sum", "add", np.add, lambda d: 0, lambda g, n, x: (expand(g, arg=x.shape),))
prod: Op = _reduce("prod", "mul", np.multiply, lambda d: 1, _prod_gradient)
max_: Op = _reduce("max", "maximum", np.maximum, lambda d: d.min, _extreme_gradient)
min_: Op = _reduce("min", "minimum", np.minimum, lambda d: d.max, _extreme_gradient)


def _scan(
    name: str,
    combine: str,
    ufunc: np.ufunc,
    identity: Callable[[DType], Scalar],
    gradient: Callable[..., Any],
) -> Op:
    def numpy(node: Node, x: np.ndarray) -> np.ndarray:
        wide = x.astype(node.dtype.accumulator.numpy, copy=False)
        return round_to(ufunc.accumulate(wide, axis=node.arg, dtype=wide.dtype), node.dtype)

    return Op(name, "scan", 1, same_shape, same_dtype, numpy, gradient, identity=identity, combine=combine)


def _cumprod_gradient(g: Node, n: Node, x: Node) -> tuple[Node]:
    # dx[i] = (product before i) * s[i], where s[i] = g[i] + x[i+1]*s[i+1]: no division, so zeros are exact
    axis, size = n.arg, x.shape[n.arg]
    if size == 0:
        return (g,)
    return (e.mul(_shifted(n, axis, 1), _reverse_recurrence(x, g, axis)),)


def _shifted(x: Node, axis: int, first: Scalar) -> Node:
    """x moved one place up along the axis, with `first` in front."""
    kept = shrink(x, arg=tuple((0, n - (i == axis)) for i, n in enumerate(x.shape)))
    front = const(first, x.dtype, tuple(1 if i == axis else n for i, n in enumerate(x.shape)))
    return cat(front, kept, arg=axis)


def _reverse_recurrence(a: Node, b: Node, axis: int) -> Node:
    """s[i] = b[i] + a[i+1]*s[i+1] along the axis."""
    return flip(
        recurrence(_shifted(flip(a, arg=(axis,)), axis, 0), flip(b, arg=(axis,)), arg=axis), arg=(axis,)
    )


def _extreme_scan_gradient(g: Node, n: Node, x: Node) -> tuple[Node]:
    # the last place that attained the extreme takes the gradient, as in PyTorch
    axis, size = n.arg, x.shape[n.arg]
    places = expand(
        reshape(iota(size), arg=tuple(size if i == axis else 1 for i in range(x.ndim))), arg=x.shape
    )
    attains = e.bitor(e.eq(x, n), e.ne(x, x))  # a NaN is the extreme from where it stands
    attained = e.where(attains, places, e.like(0, places))
    winners = cummax(attained, arg=axis)
    indices = [winners if i == axis else _places(x.shape, i) for i in range(x.ndim)]
    return (scatter(e.like(0, g), *indices, g, arg=(tuple(range(x.ndim)), "add")),)


def _places(shape: Shape, axis: int) -> Node:
    """The index along one axis, at every element of a shape."""
    row = reshape(iota(shape[axis]), arg=tuple(n if i == axis else 1 for i, n in enumerate(shape)))
    return expand(row, arg=shape)


cumsum: Op = _scan(
    "cumsum",
    "add",
    np.add,
    lambda d: 0,
    lambda g, n, x: (flip(cumsum(flip(g, arg=(n.arg,)), arg=n.arg), arg=(n.arg,)),),
)
cumprod: Op = _scan("cumprod", "mul", np.multiply, lambda d: 1, _cumprod_gradient)
cummax: Op = _scan("cummax", "maximum", np.maximum, lambda d: d.min, _extreme_scan_gradient)
cummin: Op = _scan("cummin", "minimum", np.minimum, lambda d: d.max, _extreme_scan_gradient)


def _recurrence_numpy(node: Node, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    wide = node.dtype.accumulator.numpy
    rows_a, rows_b = (np.moveaxis(v.astype(wide, copy=False), node.arg, 0) for v in (a, b))
    out = np.empty_like(rows_b)
    state = np.zeros(rows_b.shape[1:], wide)
    for i in range(len(rows_b)):
        state = rows_a[i] * state + rows_b[i]
        out[i] = state
    return round_to(np.moveaxis(out, 0, node.arg), node.dtype)


def _recurrence_gradient(g: Node, n: Node, a: Node, b: Node) -> tuple[Node, Node]:
    if a.shape[n.arg] == 0:
        return g, g
    db = _reverse_recurrence(a, g, n.arg)
    return e.mul(db, _shifted(n, n.arg, 0)), db


# h[i] = a[i]*h[i-1] + b[i] along an axis, h[-1] = 0: the linear recurrence of which cumsum and cumprod are
# cases.
recurrence: Op = Op(
    "recurrence",
    "scan",
    2,
    same_shape,
    same_dtype,
    _recurrence_numpy,
    _recurrence_gradient,
    identity=lambda d: 0,
    dtypes=("float",),
)
