"""Bunch and Kaufman's factorization of symmetric matrices, and systems of equations solved by it; without
derivatives, as in PyTorch."""

from __future__ import annotations

from lazygrad import dtypes, ops
from lazygrad.compositions import axes
from lazygrad.compositions import matrices as m
from lazygrad.graph import Node


def ldl(x: Node) -> Node:
    """L, without its ones, below the blocks of D, (..., n, n); zeros above."""
    return m.columns(ops.ldl(x), 0, x.shape[-1]) if x.size else x


def pivots(x: Node) -> Node:
    """The rows, from 1, that blocks were swapped with, (..., n) int32; negative in blocks of two rows."""
    if not x.size:
        return m.empty(x, x.shape[:-1], dtypes.int32)
    found = m.columns(ops.ldl(x), x.shape[-1], x.shape[-1] + 1)
    return axes.cast(axes.drop_axes(found, (x.ndim - 1,)), dtypes.int32)


def zero_block(x: Node) -> Node:
    """The number, from 1, of the first row that is a block alone and has nothing to divide by; else 0."""
    if not x.size:
        return m.empty(x, x.shape[:-2], dtypes.int32)
    size, swapped = ops.abs_(m.diagonal(ldl(x))), pivots(x)
    there = ops.lt(axes.full(0, size), size)  # false for NaN too
    paired = ops.lt(swapped, axes.full(0, swapped))
    return m.first_zero(axes.cast(ops.bitor(there, paired), x.dtype))


def solve_by_ldl(packed: Node, places: Node, b: Node) -> Node:
    """The x with a x = b, given `ldl` and `pivots` of a; one batch."""
    if not b.size:
        return b
    column = m.as_column(axes.cast(places, packed.dtype))
    whole = ops.cat(packed, column, arg=b.ndim - 1)
    return ops.ldl_solve(whole, b)
