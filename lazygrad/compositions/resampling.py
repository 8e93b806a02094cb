"""Interpolation along spatial axes, one axis after the other: PyTorch's coordinates, in float32 unless x is
float64."""

from __future__ import annotations

from lazygrad import dtypes, ops
from lazygrad.compositions import axes
from lazygrad.compositions.special import polynomial
from lazygrad.dtypes import DType
from lazygrad.graph import Node


def take_axis(x: Node, axis: int, places: Node) -> Node:
    """x at integer places (1-d, in range) along one axis."""
    return axes.move_axis(ops.gather(x, places, arg=(axis,)), 0, axis)


def nearest(x: Node, axis: int, size: int, scale: float | None, exact: bool) -> Node:
    """The nearest neighbour along an axis; `exact` measures from the centres of elements."""
    length = x.shape[axis]
    if size == length and scale in (None, 1):
        return x
    if not exact and scale is None and size % length == 0:
        return _repeated(x, axis, size // length)
    at = axes.counter(size, dtypes.float32) if not exact else _centres(size, dtypes.float32)
    step = axes.full(step_of(length, size, scale), at)
    places = axes.cast(ops.floor(ops.mul(at, step)), dtypes.int64)
    return take_axis(x, axis, ops.minimum(places, axes.full(length - 1, places)))


def step_of(length: int, size: int, scale: float | None, align: bool = False) -> float:
    """How many elements of the input lie between neighbours in the output; `align`: where the first and the
    last ones of both coincide."""
    if align:
        return (length - 1) / (size - 1) if size > 1 else 0.0
    return 1 / scale if scale else length / size


def _repeated(x: Node, axis: int, times: int) -> Node:
    wide = axes.insert_axis(x, axis + 1)
    wide = axes.expand(wide, (*wide.shape[:axis + 1], times, *wide.shape[axis + 2:]))
    return axes.reshape(wide, (*x.shape[:axis], x.shape[axis] * times, *x.shape[axis + 1:]))


def _centres(size: int, dtype: DType) -> Node:
    row = axes.counter(size, dtype)
    return ops.add(row, axes.full(0.5, row))


def _coordinates(length: int, size: int, scale: float | None, align: bool, dtype: DType) -> Node:
    """Where each output element lies among the input's, as a real number."""
    row = axes.counter(size, dtype) if align else _centres(size, dtype)
    scaled = ops.mul(row, axes.full(step_of(length, size, scale, align), row))
    return scaled if align else ops.sub(scaled, axes.full(0.5, row))


def _weighted(x: Node, axis: int, places: Node, weight: Node) -> Node:
    row = axes.reshape(weight, tuple(weight.size if i == axis else 1 for i in range(x.ndim)))
    taken = take_axis(x, axis, places)
    return ops.mul(taken, axes.expand(row, taken.shape))


def linear(x: Node, axis: int, size: int, scale: float | None, align: bool) -> Node:
    """Linear interpolation along one axis of a float32 or float64 node."""
    length = x.shape[axis]
    if size == length and (align or scale in (None, 1)):
        return x
    at = _coordinates(length, size, scale, align, x.dtype)
    at = ops.maximum(at, axes.full(0, at))
    floor = ops.floor(at)
    low = ops.minimum(axes.cast(floor, dtypes.int64), ops.const(length - 1, dtypes.int64, (size,)))
    high = ops.minimum(ops.add(low, axes.full(1, low)), axes.full(length - 1, low))
    part = ops.minimum(ops.sub(at, axes.cast(low, x.dtype)), axes.full(1, at))
    return ops.add(_weighted(x, axis, low, ops.sub(axes.full(1, part), part)), _weighted(x, axis, high, part))


def cubic(x: Node, axis: int, size: int, scale: float | None, align: bool) -> Node:
    """Cubic convolution (a = -0.75) along one axis of a float32 or float64 node; edges are repeated."""
    length = x.shape[axis]
    if size == length and (align or scale in (None, 1)):
        return x
    at = _coordinates(length, size, scale, align, x.dtype)
    floor = ops.floor(at)
    part = ops.sub(at, floor)
    first = axes.cast(floor, dtypes.int64)
    result = None
    for tap in (-1, 0, 1, 2):
        place = ops.add(first, axes.full(tap, first))
        place = ops.minimum(ops.maximum(place, axes.full(0, place)), axes.full(length - 1, place))
        distance = ops.abs_(ops.sub(axes.full(tap, part), part))
        term = _weighted(x, axis, place, cubic_weight(distance, outer=tap in (-1, 2)))
        result = term if result is None else ops.add(result, term)
    assert result is not None
    return result


def cubic_weight(d: Node, outer: bool) -> Node:
    """The weight (a = -0.75) of a tap at distance d: below 1, or from 1 to 2 for the outer taps."""
    a = -0.75
    return polynomial(d, (a, -5 * a, 8 * a, -4 * a) if outer else (a + 2, -(a + 3), 0.0, 1.0))


def antialiased(x: Node, axis: int, size: int, scale: float | None, align: bool, cubic_filter: bool) -> Node:
    """A triangle or cubic (a = -0.5) filter as wide as an output element, along one axis, as PIL resizes."""
    length = x.shape[axis]
    step = step_of(length, size, scale, align)
    widen = max(step, 1.0)
    reach = (2.0 if cubic_filter else 1.0) * widen
    shape = (size, length)
    centre = ops.mul(ops.add(axes.places(shape, 0, x.dtype), ops.const(0.5, x.dtype, shape)),
                     ops.const(step, x.dtype, shape))
    place = axes.places(shape, 1, x.dtype)
    half = axes.full(0.5, centre)
    low = ops.floor(ops.add(ops.sub(centre, axes.full(reach, centre)), half))
    high = ops.floor(ops.add(ops.add(centre, axes.full(reach, centre)), half))
    inside = ops.bitand(ops.le(low, place), ops.lt(place, high))
    distance = ops.abs_(ops.div(ops.add(ops.sub(place, centre), half), axes.full(widen, centre)))
    weight = _filter(distance, cubic_filter)
    weight = ops.where(inside, weight, axes.full(0, weight))
    weight = ops.div(weight, axes.expand(ops.sum_(weight, arg=(1,)), shape))
    moved = axes.insert_axis(axes.move_axis(x, axis, x.ndim - 1), x.ndim - 1)  # (..., 1, length)
    wide = (*moved.shape[:-2], size, length)
    product = ops.mul(axes.expand(moved, wide), axes.broadcast(weight, wide))
    return axes.move_axis(axes.total(product, (x.ndim,)), x.ndim - 1, axis)


def _filter(d: Node, cubic_filter: bool) -> Node:
    one, zero = axes.full(1, d), axes.full(0, d)
    if not cubic_filter:
        return ops.maximum(ops.sub(one, d), zero)
    a = -0.5
    near = polynomial(d, (a + 2, -(a + 3), 0.0, 1.0))
    far = polynomial(d, (a, -5 * a, 8 * a, -4 * a))
    return ops.where(ops.lt(d, one), near, ops.where(ops.lt(d, axes.full(2, d)), far, zero))


METHODS = {"linear": linear, "bilinear": linear, "trilinear": linear, "bicubic": cubic}


def resample(x: Node, mode: str, size: tuple[int, ...], scales: tuple[float | None, ...], align: bool,
             antialias: bool) -> Node:
    """x (N, C, in...) to (N, C, size...) by one of PyTorch's modes but "area"."""
    lead = x.ndim - len(size)
    if mode in ("nearest", "nearest-exact"):
        for i, (n, scale) in enumerate(zip(size, scales, strict=True)):
            x = nearest(x, lead + i, n, scale, mode == "nearest-exact")
        return x
    dtype = x.dtype
    x = axes.cast(x, dtype.accumulator)
    for i, (n, scale) in enumerate(zip(size, scales, strict=True)):
        if antialias:
            x = antialiased(x, lead + i, n, scale, align, mode == "bicubic")
        else:
            x = METHODS[mode](x, lead + i, n, scale, align)
    return axes.cast(x, dtype)
