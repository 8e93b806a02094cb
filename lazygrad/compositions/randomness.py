"""Random numbers from counters: equal (seed, offset) give equal numbers on every device, whatever the order
of work.

`seed` and `offset` are 0-d uint64 nodes of data. Every element takes counters of its own.
"""

from __future__ import annotations

import math

from lazygrad import dtypes, ops
from lazygrad.compositions import axes
from lazygrad.compositions.special import polynomial
from lazygrad.dtypes import DType
from lazygrad.graph import Node, Shape
from lazygrad.helpers import product

_DIGITS = {dtypes.float16: 11, dtypes.bfloat16: 8, dtypes.float32: 24, dtypes.float64: 53}


def greatest_exact(dtype: DType) -> int:
    """The greatest integer up to which dtype holds all of them."""
    return 1 << _DIGITS[dtype] if dtype in _DIGITS else int(dtype.max)


def bits(seed: Node, offset: Node, shape: Shape) -> Node:
    """Uniform uint64 bits of a shape: threefry of the counters offset, offset + 1, ... in row-major order."""
    count = (product(shape),)
    counter = ops.add(ops.iota(count[0], dtypes.uint64), axes.expand(axes.reshape(offset, (1,)), count))
    key = axes.expand(axes.reshape(seed, (1,)), count)
    return axes.reshape(ops.threefry(counter, key), shape)


def _high_bits(x: Node, count: int, dtype: DType) -> Node:
    """The highest `count` bits as a number of [0, 2**count), exact in dtype."""
    shifted = ops.shr(x, axes.full(64 - count, x))
    # through a signed integer, which every device converts to floats directly
    return axes.cast(axes.cast(shifted, dtypes.int64), dtype)


def uniform(x: Node, dtype: DType) -> Node:
    """Bits to numbers of [0, 1): 53 bits for float64, 24 for the others, computed in float32 where
    smaller."""
    count = _DIGITS[dtype]  # all exact, so that none rounds up to 1
    value = _high_bits(x, count, dtype.accumulator)
    return axes.cast(ops.mul(value, axes.full(2.0**-count, value)), dtype)


def open_uniform(x: Node, work: DType) -> Node:
    """Bits to numbers of (0, 1], fine near 0: for logarithms; work is float32 or float64."""
    count = 53 if work is dtypes.float64 else 32
    value = _high_bits(x, count, work)
    return ops.mul(ops.add(value, axes.full(1 if count == 53 else 0.5, value)), axes.full(2.0**-count, value))


def normal(seed: Node, offset: Node, shape: Shape, dtype: DType) -> Node:
    """Standard normal numbers by Box and Muller's method, with two words of bits for each."""
    work = dtype.accumulator
    words = bits(seed, offset, (2, *shape))
    first = axes.drop_axes(axes.shrink_axis(words, 0, 0, 1), (0,))
    second = axes.drop_axes(axes.shrink_axis(words, 0, 1, 2), (0,))
    radius = ops.log(open_uniform(first, work))
    radius = ops.sqrt(ops.mul(radius, axes.full(-2, radius)))
    angle = uniform(second, work)
    return axes.cast(ops.mul(radius, ops.cos(ops.mul(angle, axes.full(2 * math.pi, angle)))), dtype)


def exponential(x: Node, dtype: DType) -> Node:
    """Bits to exponentially distributed numbers with mean 1."""
    return axes.cast(ops.neg(ops.log(open_uniform(x, dtype.accumulator))), dtype)


def integers(x: Node, low: int, high: int, dtype: DType) -> Node:
    """Bits to integers of [low, high)."""
    span = high - low
    reduced = ops.remainder(x, axes.full(span, x)) if span < 2**64 else x
    whole = axes.cast(reduced, dtypes.int64)
    moved = ops.add(whole, axes.full(low, whole))
    return axes.cast(moved, dtype)


# Giles, "Approximating the erfinv function" (2012), gives a start; Newton's steps bring it to full precision.
_CENTRAL = (2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503,
            -0.00417768164, 0.246640727, 1.50140941)
_TAIL = (
    -0.000200214257,
    0.000100950558,
    0.00134934322,
    -0.00367342844,
    0.00573950773,
    -0.0076224613,
    0.00943887047,
    1.00167406,
    2.83297682,
)


def erfinv(x: Node) -> Node:
    """The inverse of erf for float32 and float64: infinite at -1 and 1, NaN outside."""
    one = axes.full(1, x)
    size = ops.abs_(x)
    inside = ops.lt(size, one)
    safe = ops.where(inside, x, axes.full(0, x))
    # log1p of the negative square loses nothing near 1, as (1-x)(1+x) would not near 0
    w = ops.neg(ops.log(ops.mul(ops.sub(one, safe), ops.add(one, safe))))
    central = polynomial(ops.sub(w, axes.full(2.5, w)), _CENTRAL)
    deep = ops.sqrt(ops.maximum(w, axes.full(5, w)))
    tail = polynomial(ops.sub(deep, axes.full(3, w)), _TAIL)
    y = ops.mul(ops.where(ops.lt(w, axes.full(5, w)), central, tail), safe)
    for _ in range(3 if x.dtype is dtypes.float64 else 1):
        y = _newton(y, safe)
    ends = ops.where(ops.lt(x, one), axes.full(-math.inf, x), axes.full(math.inf, x))
    limit = ops.where(ops.eq(size, one), ends, axes.full(math.nan, x))
    return ops.where(inside, y, limit)


def _newton(y: Node, x: Node) -> Node:
    # the error is taken from erfc in the tails, where erf has no digits left:
    # |x| - erf|y| = erfc|y| - (1 - |x|)
    goal, one = ops.abs_(x), axes.full(1, x)
    beyond = ops.sub(ops.sub(one, goal), ops.erfc(ops.abs_(y)))
    signed = ops.where(ops.lt(x, axes.full(0, x)), ops.neg(beyond), beyond)
    error = ops.where(ops.lt(goal, axes.full(0.5, x)), ops.sub(ops.erf(y), x), signed)
    slope = ops.mul(axes.full(2 / math.sqrt(math.pi), x), ops.exp(ops.neg(ops.mul(y, y))))
    step = ops.div(error, slope)
    # Halley's correction, as erf'' / erf' is -2y
    return ops.sub(y, ops.div(step, ops.add(one, ops.mul(y, step))))
