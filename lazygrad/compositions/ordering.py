"""Sorting and searching."""

from __future__ import annotations

from lazygrad import dtypes, ops
from lazygrad.compositions import axes
from lazygrad.graph import Node


def take_along(x: Node, places: Node, axis: int) -> Node:
    """x[..., places[..., j, ...], ...]: places (in range) has x's shape but along the axis."""
    indices = [places if i == axis else axes.places(places.shape, i) for i in range(x.ndim)]
    return ops.gather(x, *indices, arg=tuple(range(x.ndim)))


def sort(x: Node, axis: int, descending: bool) -> tuple[Node, Node]:
    """Values and int64 places in stable order along an axis; a 0-d tensor is its own order."""
    if x.ndim == 0:
        return x, axes.full(0, x, dtypes.int64)
    order = ops.argsort(x, arg=(axis, descending))
    return take_along(x, order, axis), order


def first_of_order(x: Node, axis: int, k: int, largest: bool) -> tuple[Node, Node]:
    """The k greatest (or least) values along an axis, in order, and their int64 places."""
    if x.ndim == 0:
        return (x, axes.full(0, x, dtypes.int64)) if k else (axes.reshape(ops.shrink(
            axes.reshape(x, (1,)), arg=((0, 0),)), (0,)), ops.const(0, dtypes.int64, (0,)))
    if k == 0:
        none = axes.shrink_axis(x, axis, 0, 0)
        return none, ops.const(0, dtypes.int64, none.shape)
    order = ops.argtop(x, arg=(axis, largest, k))
    return take_along(x, order, axis), order


def nan_count(x: Node, axis: int) -> Node:
    """How many NaN there are along an axis, which stays with size 1; int64."""
    if x.dtype.kind != "float":
        return ops.const(0, dtypes.int64, tuple(1 if i == axis else n for i, n in enumerate(x.shape)))
    return ops.sum_(axes.cast(ops.ne(x, x), dtypes.int64), arg=(axis,))


def median(x: Node, axis: int, skip_nan: bool) -> tuple[Node, Node]:
    """The lower median along an axis (kept, size 1) and its int64 place.

    NaN is the median where there is one, unless `skip_nan`.
    """
    n = x.shape[axis]
    order = ops.argsort(x, arg=(axis, False))
    nans = nan_count(x, axis)
    zero, one, size = (axes.full(v, nans) for v in (0, 1, n))
    numbers = ops.sub(size, nans)
    if skip_nan:
        rank = ops.floordiv(ops.maximum(ops.sub(numbers, one), zero), axes.full(2, nans))
    else:
        rank = ops.where(ops.lt(zero, nans), numbers, axes.full((n - 1) // 2, nans))
    rank = ops.minimum(rank, axes.full(n - 1, rank))
    place = take_along(order, rank, axis)
    return take_along(x, place, axis), place


def search(rows: Node, values: Node, right: bool) -> Node:
    """Where `values` (..., m) go in the ascending rows (..., n) with equal leading axes, by bisection; int64.

    To the left of equal elements, or to the right of them; NaN goes last. Each step asks the element in the
    middle, as PyTorch does, which tells where rows do not ascend.
    """
    n = rows.shape[-1]
    low = axes.full(0, values, dtypes.int64)
    if n == 0:
        return low
    high, one, last = (axes.full(value, low) for value in (n, 1, n - 1))
    for _ in range(n.bit_length()):
        middle = ops.shr(ops.add(low, high), one)
        seen = take_along(rows, ops.minimum(middle, last), values.ndim - 1)
        stop = ops.lt(values, seen) if right else ops.le(values, seen)
        ahead = ops.bitand(ops.bitnot(stop), ops.lt(low, high))
        low, high = ops.where(ahead, ops.add(middle, one), low), ops.where(ahead, high, middle)
    return low


def positions_of(mask: Node) -> tuple[Node, Node]:
    """How many elements of a 1-d mask (n,) are True (1,), and their places, ascending, in the front of (n +
    1,); int64.

    Both shapes hold whatever the values are, so that one program serves every mask of a size.
    """
    n = mask.shape[0]
    flags = axes.cast(mask, dtypes.int64)
    rank = ops.sub(ops.cumsum(flags, arg=0), axes.full(1, flags))
    # what is not chosen is written to one place beyond the end
    target = ops.where(mask, rank, axes.full(n, rank))
    base = ops.const(0, dtypes.int64, (n + 1,))
    return ops.sum_(flags, arg=(0,)), ops.scatter(base, target, ops.iota(n), arg=((0,), "set"))
