"""Matrices in the last two axes: words in which linear algebra is written."""

from __future__ import annotations

from math import nan

from lazygrad import dtypes, ops
from lazygrad.compositions import axes, contraction
from lazygrad.dtypes import DType
from lazygrad.graph import Node


def transposed(x: Node) -> Node:
    """x with its last two axes swapped."""
    return axes.permute(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


def times(x: Node, y: Node) -> Node:
    """The products of matrices."""
    return contraction.matmul(x, y)


def rows(x: Node, begin: int, end: int) -> Node:
    """Rows [begin, end)."""
    return axes.shrink_axis(x, x.ndim - 2, begin, end)


def columns(x: Node, begin: int, end: int) -> Node:
    """Columns [begin, end)."""
    return axes.shrink_axis(x, x.ndim - 1, begin, end)


def _kept(x: Node, below: bool, offset: int) -> Node:
    row, column = (axes.places(x.shape, x.ndim - 2 + i) for i in (0, 1))
    shifted = ops.sub(column, axes.full(offset, column))
    kept = ops.le(shifted, row) if below else ops.le(row, shifted)
    return ops.where(kept, x, axes.full(0, x))


def lower(x: Node, offset: int = 0) -> Node:
    """x with zeros above the diagonal with this offset."""
    return _kept(x, True, offset)


def upper(x: Node, offset: int = 0) -> Node:
    """x with zeros below the diagonal with this offset."""
    return _kept(x, False, offset)


def eye(like: Node, n: int, m: int | None = None) -> Node:
    """Ones on the diagonal, (*batch of like, n, m), m = n unless told."""
    shape = (*like.shape[:-2], n, n if m is None else m)
    row, column = (axes.places(shape, len(shape) - 2 + i) for i in (0, 1))
    return axes.cast(ops.eq(row, column), like.dtype)


def epsilon(x: Node) -> float:
    """The distance from 1 to the next number of x's type."""
    return 2.0**-52 if x.dtype is dtypes.float64 else 2.0**-23


def diagonal(x: Node) -> Node:
    """The diagonals (..., k) of matrices."""
    return axes.diagonal(x, 0, x.ndim - 2, x.ndim - 1)


def as_column(x: Node) -> Node:
    """Vectors (..., n) as matrices (..., n, 1)."""
    return axes.insert_axis(x, x.ndim)


def as_row(x: Node) -> Node:
    """Vectors (..., n) as matrices (..., 1, n)."""
    return axes.insert_axis(x, x.ndim - 1)


def scaled_columns(x: Node, factors: Node) -> Node:
    """Column j of x times factors[..., j]."""
    return ops.mul(x, axes.expand(as_row(factors), x.shape))


def scaled_rows(x: Node, factors: Node) -> Node:
    """Row i of x times factors[..., i]."""
    return ops.mul(x, axes.expand(as_column(factors), x.shape))


def symmetric(x: Node) -> Node:
    """(x + x^T) / 2."""
    return ops.mul(ops.add(x, transposed(x)), axes.full(0.5, x))


def first_nan(x: Node) -> Node:
    """The number, from 1, of the first NaN of vectors (..., n); 0 where there is none; int32."""
    n = x.shape[-1]
    if not x.size:
        return ops.const(0, dtypes.int32, x.shape[:-1])
    number = ops.add(axes.places(x.shape, x.ndim - 1, dtypes.int64), ops.const(1, dtypes.int64, x.shape))
    beyond = axes.full(n + 1, number)
    last = (x.ndim - 1,)
    least = axes.drop_axes(ops.min_(ops.where(ops.ne(x, x), number, beyond), arg=last), last)
    none = ops.eq(least, axes.full(n + 1, least))
    return axes.cast(ops.where(none, axes.full(0, least), least), dtypes.int32)


def empty(x: Node, shape: tuple[int, ...] | None = None, dtype: DType | None = None) -> Node:
    """Zeros, for results that have no elements, or whose input has none."""
    return ops.const(0, dtype or x.dtype, x.shape if shape is None else shape)


def first_zero(x: Node) -> Node:
    """The number, from 1, of the first 0 of vectors (..., n); 0 where there is none; int32."""
    if not x.size:
        return ops.const(0, dtypes.int32, x.shape[:-1])
    return first_nan(ops.where(ops.eq(x, axes.full(0, x)), axes.full(nan, x), axes.full(0, x)))
