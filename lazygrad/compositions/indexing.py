"""Reading and writing at computed places. Whoever calls has checked that indices are in range; negative ones
wrap here."""

from __future__ import annotations

from collections.abc import Sequence

from lazygrad import dtypes, ops
from lazygrad.compositions import axes
from lazygrad.compositions.bounds import bounds
from lazygrad.errors import OutOfBoundsError, ShapeError
from lazygrad.graph import Node
from lazygrad.helpers import inverse_permutation, product

Indices = Sequence[Node | None]


def wrapped(index: Node, size: int) -> Node:
    """An index with negative values counted from the end; itself where its graph proves that there are
    none."""
    if bounds(index)[0] >= 0:
        return index
    index = axes.cast(index, dtypes.int64)
    return ops.where(ops.lt(index, axes.full(0, index)), ops.add(index, axes.full(size, index)), index)


def _prepared(op: str, x: Node, indices: Indices) -> tuple[list[Node], tuple[int, ...], int]:
    """The indices broadcast together, the axes that they index, and where their dimensions go in the
    result."""
    indexed = tuple(i for i, index in enumerate(indices) if index is not None)
    given = [wrapped(index, x.shape[i]) for i, index in enumerate(indices) if index is not None]
    try:
        shape = axes.broadcast_shape(op, *(g.shape for g in given))
    except ShapeError:
        shapes = ", ".join(str(list(g.shape)) for g in given)
        raise OutOfBoundsError(f"[{op}] shape mismatch: indexing tensors could not be broadcast together "
                               f"with shapes {shapes}") from None
    together = indexed[-1] - indexed[0] + 1 == len(indexed)
    return [axes.broadcast(g, shape, op) for g in given], indexed, indexed[0] if together else 0


def take(op: str, x: Node, indices: Indices) -> Node:
    """x indexed by one integer node or None per axis: the broadcast index dimensions stand where the indexed
    axes stood, or in front where those are apart."""
    given, indexed, front = _prepared(op, x, indices)
    rank = given[0].ndim
    result = ops.gather(x, *given, arg=indexed)
    return axes.permute(result, (*range(rank, rank + front), *range(rank), *range(rank + front, result.ndim)))


def put(op: str, x: Node, indices: Indices, values: Node, mode: str) -> Node:
    """x with `values`, broadcast to the shape of `take`, written there by a mode of ops.scatter."""
    given, indexed, front = _prepared(op, x, indices)
    rank = given[0].ndim
    rest = [n for i, n in enumerate(x.shape) if i not in indexed]
    target = (*rest[:front], *given[0].shape, *rest[front:])
    while values.ndim > len(target) and values.shape[0] == 1:
        values = axes.reshape(values, values.shape[1:])
    try:
        values = axes.broadcast(values, target, op)
    except ShapeError:
        raise ShapeError(f"[{op}] shape mismatch: value tensor of shape {list(values.shape)} cannot be "
                         f"broadcast to indexing result of shape {list(target)}") from None
    order = (*range(rank, rank + front), *range(rank), *range(rank + front, len(target)))
    return ops.scatter(x, *given, axes.permute(values, inverse_permutation(order)), arg=(indexed, mode))


def along(op: str, x: Node, index: Node, axis: int) -> list[Node]:
    """For every axis of x the place that an index along one axis names; PyTorch's rule for gather and
    scatter."""
    return [wrapped(index, x.shape[i]) if i == axis else axes.places(index.shape, i) for i in range(x.ndim)]


def _at_least_one_axis(x: Node) -> Node:
    return axes.reshape(x, x.shape or (1,))


def take_along(op: str, x: Node, index: Node, axis: int) -> Node:
    """x[..., index[..., j, ...], ...]: index may be smaller than x along the other axes."""
    if x.ndim == 0 or index.ndim == 0:
        return axes.reshape(take_along(op, _at_least_one_axis(x), _at_least_one_axis(index), 0), index.shape)
    return ops.gather(x, *along(op, x, index, axis), arg=tuple(range(x.ndim)))


def put_along(op: str, x: Node, index: Node, values: Node, axis: int, mode: str) -> Node:
    """x with values[..., j, ...] written to x[..., index[..., j, ...], ...] by a mode of ops.scatter."""
    if x.ndim == 0 or index.ndim == 0:
        base, places, new = (_at_least_one_axis(v) for v in (x, index, values))
        return axes.reshape(put_along(op, base, places, new, 0, mode), x.shape)
    if values.shape != index.shape:
        values = ops.shrink(values, arg=tuple((0, n) for n in index.shape))
    # 16-bit sums and products are rounded once, as PyTorch's are here (those of `put` after every step)
    wide = x.dtype.accumulator if mode in ("add", "multiply") else x.dtype
    base, values = axes.cast(x, wide), axes.cast(values, wide)
    written = ops.scatter(base, *along(op, x, index, axis), values, arg=(tuple(range(x.ndim)), mode))
    return axes.cast(written, x.dtype)


_MODES = {"sum": "add", "mean": "add", "prod": "multiply", "amax": "maximum", "amin": "minimum"}
REDUCTIONS = tuple(_MODES)


def reduce_along(
    op: str, x: Node, index: Node, values: Node, axis: int, reduction: str, include_self: bool
) -> Node:
    """x with values folded into the places that index names; without `include_self` x counts only where none
    is named."""
    start = x
    if not include_self:
        start = put_along(op, x, index, ops.const(_identity(reduction, x), x.dtype, index.shape), axis, "set")
    folded = put_along(op, start, index, values, axis, _MODES[reduction])
    if reduction != "mean":
        return folded
    ones = ops.const(1, x.dtype, index.shape)
    count = put_along(op, axes.full(1 if include_self else 0, x), index, ones, axis, "add")
    count = ops.maximum(count, axes.full(1, count))
    return ops.div(folded, count) if x.dtype.kind == "float" else ops.floordiv(folded, count)


def _identity(reduction: str, x: Node) -> bool | int | float:
    return {"sum": 0, "mean": 0, "prod": 1, "amax": x.dtype.min, "amin": x.dtype.max}[reduction]


def put_axis(op: str, x: Node, axis: int, index: Node, values: Node, mode: str) -> Node:
    """x with values[..., j, ...] written to x[..., index[j], ...] for a 1-d index."""
    if x.ndim == 0:
        return axes.reshape(
            put_axis(op, axes.reshape(x, (1,)), 0, index, axes.reshape(values, (1,)), mode), ()
        )
    indices: list[Node | None] = [None] * x.ndim
    indices[axis] = index
    return put(op, x, indices, values, mode)


def take_axis(op: str, x: Node, axis: int, index: Node) -> Node:
    """x[..., index[j], ...] for a 1-d index."""
    indices: list[Node | None] = [None] * x.ndim
    indices[axis] = index
    return take(op, x, indices)


def merge_axes(x: Node, counts: Sequence[int]) -> Node:
    """x with runs of axes flattened into one each: `counts` gives the length of every run (0 adds an axis of
    size 1)."""
    shape, at = [], 0
    for count in counts:
        shape.append(product(x.shape[at:at + count]))
        at += count
    return axes.reshape(x, (*shape, *x.shape[at:]))
