"""Reading images at the real places that a grid names: PyTorch's grid_sample and affine_grid, in 2 and 3
dimensions."""

from __future__ import annotations

import itertools

from lazygrad import dtypes, ops
from lazygrad.compositions import axes
from lazygrad.compositions.contraction import product_sum
from lazygrad.compositions.resampling import cubic_weight
from lazygrad.dtypes import DType
from lazygrad.graph import Node

Taps = list[tuple[Node, Node | None]]  # places along one axis (whole numbers, as floats) and their weights


def grid_sample(x: Node, grid: Node, mode: str, padding: str, align: bool) -> Node:
    """x (N, C, in...) at grid (N, out..., rank), whose numbers run from -1 to 1 and name the last axis first:
    (N, C, out...)."""
    rank = x.ndim - 2
    taps = []
    for axis in range(rank):
        size = x.shape[2 + axis]
        at = _pixel(_component(grid, rank - 1 - axis), size, align)
        if mode == "bicubic":  # each tap is padded on its own
            taps.append([(_padded(p, size, padding, align), w) for p, w in _cubic_taps(at)])
        else:
            at = _padded(at, size, padding, align)
            taps.append([(ops.round_(at), None)] if mode == "nearest" else _linear_taps(at))
    result = None
    for corner in itertools.product(*taps):
        term = _corner(x, [p for p, _ in corner], [w for _, w in corner if w is not None], padding == "zeros")
        result = term if result is None else ops.add(result, term)
    assert result is not None
    return result


def _component(grid: Node, i: int) -> Node:
    last = grid.ndim - 1
    return axes.drop_axes(axes.shrink_axis(grid, last, i, i + 1), (last,))


def _pixel(c: Node, size: int, align: bool) -> Node:
    """A coordinate from -1 to 1 as a place among `size` elements."""
    c = ops.add(c, axes.full(1, c))
    if align:
        return ops.mul(c, axes.full((size - 1) / 2, c))
    return ops.div(ops.sub(ops.mul(c, axes.full(size, c)), axes.full(1, c)), axes.full(2, c))


def _padded(at: Node, size: int, padding: str, align: bool) -> Node:
    if padding == "zeros":
        return at
    if padding == "reflection":
        low, high = (0.0, float(size - 1)) if align else (-0.5, size - 0.5)
        at = _reflected(at, low, high - low)
    at = ops.where(ops.ne(at, at), axes.full(0, at), at)
    return ops.minimum(ops.maximum(at, axes.full(0, at)), axes.full(size - 1, at))


def _reflected(at: Node, low: float, span: float) -> Node:
    if span == 0:
        return axes.full(0, at)
    far = ops.abs_(ops.sub(at, axes.full(low, at)))
    rest = ops.fmod(far, axes.full(span, far))
    turns = ops.floor(ops.div(far, axes.full(span, far)))
    is_even = ops.eq(ops.fmod(turns, axes.full(2, turns)), axes.full(0, turns))
    return ops.add(ops.where(is_even, rest, ops.sub(axes.full(span, rest), rest)), axes.full(low, rest))


def _linear_taps(at: Node) -> Taps:
    floor = ops.floor(at)
    part = ops.sub(at, floor)
    return [(floor, ops.sub(axes.full(1, part), part)), (ops.add(floor, axes.full(1, floor)), part)]


def _cubic_taps(at: Node) -> Taps:
    floor = ops.floor(at)
    part = ops.sub(at, floor)
    return [(ops.add(floor, axes.full(tap, floor)),
             cubic_weight(ops.abs_(ops.sub(axes.full(tap, part), part)), outer=tap in (-1, 2)))
            for tap in (-1, 0, 1, 2)]


def _corner(x: Node, at: list[Node], weights: list[Node], zeros: bool) -> Node:
    """x (N, C, in...) at whole places (N, out...), times weights: (N, C, out...); 0 outside where `zeros`."""
    shape = at[0].shape
    outside = ops.const(False, dtypes.bool_, shape)
    indices = [axes.places(shape, 0)]
    for place, size in zip(at, x.shape[2:], strict=True):
        low, high = axes.full(0, place), axes.full(size - 1, place)
        outside = ops.bitor(outside, ops.bitor(ops.lt(place, low), ops.lt(high, place)))
        whole = axes.cast(ops.detach(ops.minimum(ops.maximum(place, low), high)), dtypes.int64)
        # a NaN would become the least integer
        indices.append(ops.maximum(ops.minimum(whole, axes.full(size - 1, whole)), axes.full(0, whole)))
    taken = ops.gather(x, *indices, arg=(0, *range(2, x.ndim)))  # (N, out..., C)
    taken = axes.move_axis(taken, taken.ndim - 1, 1)

    def over_channels(n: Node) -> Node:
        return axes.expand(axes.insert_axis(n, 1), taken.shape)

    if not weights:  # no place changes the nearest element: a NaN has none, and all derivatives are 0
        for place in at:
            outside = ops.bitor(outside, ops.ne(place, place))
            taken = ops.surrogate(taken, ops.add(taken, over_channels(place)))
    if zeros:
        taken = ops.where(over_channels(outside), axes.full(0, taken), taken)
    for weight in weights:  # NaN where a place is no number, or infinite
        taken = ops.mul(taken, over_channels(weight))
    return taken


def affine_grid(theta: Node, out: tuple[int, ...], align: bool) -> Node:
    """theta (N, rank, rank + 1) applied to the coordinates of an image: (N, out..., rank)."""
    rank = len(out)
    rows = [_line(size, align, theta.dtype) for size in reversed(out)]
    columns = []
    for i, row in enumerate(rows):
        row = axes.reshape(row, tuple(row.size if axis == rank - 1 - i else 1 for axis in range(rank)))
        columns.append(axes.insert_axis(axes.expand(row, out), rank))
    columns.append(ops.const(1, theta.dtype, (*out, 1)))
    points = axes.reshape(ops.cat(*columns, arg=rank), (1, *out, 1, rank + 1))
    maps = axes.reshape(theta, (theta.shape[0], *(1,) * rank, rank, rank + 1))
    return product_sum(points, maps, (rank + 2,))


def _line(size: int, align: bool, dtype: DType) -> Node:
    """The coordinates from -1 to 1 of `size` elements."""
    row = axes.counter(size, dtype)
    if size == 1:
        return axes.full(0, row)
    step, first = (2 / (size - 1), -1.0) if align else (2 / size, 1 / size - 1)
    return ops.add(ops.mul(row, axes.full(step, row)), axes.full(first, row))
