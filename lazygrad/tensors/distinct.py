"""Distinct elements and slices: unique and unique_consecutive."""

from __future__ import annotations

from typing import Any

from lazygrad import dtypes, ops
from lazygrad.compositions import axes
from lazygrad.errors import ArgumentError
from lazygrad.graph import Node
from lazygrad.helpers import product
from lazygrad.tensors.arithmetic import ne
from lazygrad.tensors.axes import axis_of
from lazygrad.tensors.core import Tensor, apply, from_node, function
from lazygrad.tensors.indexing import mask_places
from lazygrad.tensors.sorting import argsort, searchsorted, sort


def _distinct(op: str, x: Tensor, values: Tensor, order: Tensor | None, return_inverse: bool,
              return_counts: bool) -> Any:
    """Runs of equal neighbours in a 1-d tensor: their values, which run each element of x is in, their
    lengths."""
    n = values._shape[0]

    def begins_node(v: Node) -> Node:
        differ = ops.ne(axes.shrink_axis(v, 0, 0, n - 1), axes.shrink_axis(v, 0, 1, n))
        return axes.pad_axis(differ, 0, 1, 0, True)

    begins = apply(op, begins_node, values.detach()) if n else ne(values, values)
    starts = mask_places(begins)
    results = [values.detach().gather(0, starts)]
    if return_inverse:
        def inverse(b: Node, *rest: Node) -> Node:
            run = ops.cumsum(axes.cast(b, dtypes.int64), arg=0)
            run = ops.sub(run, axes.full(1, run))
            if rest:
                run = ops.scatter(axes.full(0, run), rest[0], run, arg=((0,), "set"))
            return axes.reshape(run, tuple(x._shape))

        results.append(apply(op, inverse, begins, *([] if order is None else [order])))
    if return_counts:
        def lengths(s: Node) -> Node:
            count = s.shape[0]
            if not count:
                return s
            ends = ops.cat(axes.shrink_axis(s, 0, 1, count), ops.const(n, dtypes.int64, (1,)), arg=0)
            return ops.sub(ends, s)

        results.append(apply(op, lengths, starts))
    return results[0] if len(results) == 1 else tuple(results)


@function("unique")
def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The distinct elements in ascending order (or distinct slices along dim), which of them each element is,
    and how often each occurs. Realizes input."""
    if dim is not None:
        return _unique_slices(input, axis_of("unique", dim, input.ndim), return_inverse, return_counts)
    values, order = sort(input.reshape(-1), 0)
    return _distinct("unique", input, values, order, return_inverse, return_counts)


def _unique_slices(x: Tensor, axis: int, return_inverse: bool, return_counts: bool) -> Any:
    """Distinct slices in the order of their elements, compared from the first on."""
    rows = _rows_along("unique", x, axis)
    order = from_node(ops.iota(x._shape[axis]), x.cell.device)
    for column in range(rows._shape[1] - 1, -1, -1):  # a stable sort by each column, the first one last
        order = order.gather(0, argsort(rows[:, column].gather(0, order), 0))
    run = _runs(rows.index_select(0, order))
    return _first_of_runs("unique", x, axis, run, order, return_inverse, return_counts)


def _first_of_runs(op: str, x: Tensor, axis: int, run: Tensor, order: Tensor | None, return_inverse: bool,
                   return_counts: bool) -> Any:
    """The first slice of every run along an axis, given the run's number for each slice, in an order."""
    like = from_node(ops.const(0, dtypes.int64, run._shape), x.cell.device)
    numbers, *rest = _tuple(_distinct(op, like, run, order, return_inverse, return_counts))
    first = searchsorted(run, numbers)
    results = (x.index_select(axis, first if order is None else order.gather(0, first)), *rest)
    return results[0] if len(results) == 1 else results


def _rows_along(name: str, x: Tensor, axis: int) -> Tensor:
    """The slices along an axis as rows."""
    rest = [n for i, n in enumerate(x._shape) if i != axis]
    if 0 in rest:
        raise ArgumentError(f"[{name}] There are 0 sized dimensions, and they aren't selected, so "
                                   f"unique cannot be applied: {tuple(x._shape)} along dim {axis}")
    return x.detach().movedim(axis, 0).reshape(x._shape[axis], product(rest))


def _runs(rows: Tensor) -> Tensor:
    """For each row the number of the run of equal rows that it stands in."""
    count = rows._shape[0]

    def number_of_run(n: Node) -> Node:
        differ = ops.ne(axes.shrink_axis(n, 0, 0, count - 1), axes.shrink_axis(n, 0, 1, count))
        step = ops.max_(differ, arg=(1,)) if n.shape[1] else ops.const(False, dtypes.bool_, (count - 1, 1))
        return ops.cumsum(axes.cast(axes.pad_axis(axes.drop_axes(step, (1,)), 0, 1, 0), dtypes.int64), arg=0)

    return apply("unique", number_of_run, rows) if count else rows.new_zeros(0, dtype=dtypes.int64)


def _tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


@function("unique_consecutive")
def unique_consecutive(input: Tensor, return_inverse: bool = False, return_counts: bool = False,
                       dim: int | None = None) -> Any:
    """The first element of every run of equal elements of the flattened tensor (or the first of equal slices
    along dim), which run each is in, and how long each is. Realizes input."""
    op = "unique_consecutive"
    if dim is not None:
        axis = axis_of(op, dim, input.ndim)
        runs = _runs(_rows_along(op, input, axis))
        return _first_of_runs(op, input, axis, runs, None, return_inverse, return_counts)
    return _distinct(op, input, input.reshape(-1), None, return_inverse, return_counts)
