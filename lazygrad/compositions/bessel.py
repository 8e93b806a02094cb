"""Bessel functions, modified ones, Airy's function, and erfcx, by Chebyshev series (`special_fit.py`).

Near 0 a series in x or x**2; far out the function's size and angle, whose amplitudes are series in 1 / x.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from lazygrad import ops
from lazygrad.compositions import special_tables as tables
from lazygrad.compositions.special import Function, less, plus, times, wide
from lazygrad.graph import Node


def _series(x: Node, low: float, high: float, coefficients: Sequence[float]) -> Node:
    """A Chebyshev series over [low, high], by Clenshaw's recurrence; x is kept inside."""
    x = _within(x, low, high)
    turned = times(4 / (high - low), plus(-(low + high) / 2, x))  # twice the place in [-1, 1]
    first, second = ops.like(0, x), ops.like(0, x)
    for c in reversed(coefficients[1:]):
        first, second = plus(c, ops.sub(ops.mul(turned, first), second)), first
    return plus(coefficients[0], ops.sub(times(0.5, ops.mul(turned, first)), second))


def _within(x: Node, low: float, high: float) -> Node:
    return ops.minimum(ops.maximum(x, ops.like(low, x)), ops.like(high, x))


def _negative(x: Node) -> Node:
    return ops.lt(x, ops.like(0, x))


def _odd(x: Node, value: Node) -> Node:
    return ops.where(_negative(x), ops.neg(value), value)


# I and K


def _scaled_i0(x: Node) -> Node:
    size = ops.abs_(x)
    far = ops.maximum(size, ops.like(8, x))
    outer = ops.div(_series(ops.div(ops.like(8, x), far), 0, 1, tables.I0_FAR), ops.sqrt(far))
    return ops.where(less(size, 8), _series(size, 0, 8, tables.I0_NEAR), outer)


def _scaled_i1(x: Node) -> Node:
    size = ops.abs_(x)
    far = ops.maximum(size, ops.like(8, x))
    outer = ops.div(_series(ops.div(ops.like(8, x), far), 0, 1, tables.I1_FAR), ops.sqrt(far))
    inner = ops.mul(size, _series(size, 0, 8, tables.I1_NEAR))
    return _odd(x, ops.where(less(size, 8), inner, outer))


def _grown(scaled: Node, x: Node) -> Node:
    # in two halves: exp overflows earlier than the product
    half = ops.exp(times(0.5, ops.abs_(x)))
    return ops.where(ops.eq(scaled, ops.like(0, x)), scaled, ops.mul(ops.mul(scaled, half), half))


def _ends(x: Node, value: Node, at_infinity: float) -> Node:
    return ops.where(ops.eq(ops.abs_(x), ops.like(math.inf, x)), ops.like(at_infinity, x),
                     ops.where(ops.ne(x, x), x, value))


i0e: Function = wide("i0e", lambda x: _ends(x, _scaled_i0(x), 0.0),
                     lambda x, y: ops.sub(i1e(x), ops.mul(_sign(x), y)))
i1e: Function = wide("i1e", lambda x: _ends(x, _scaled_i1(x), 0.0), lambda x, y: ops.sub(
    ops.sub(i0e(x), _over(y, x)), ops.mul(_sign(x), y)))
i0: Function = wide("i0", lambda x: _ends(x, _grown(_scaled_i0(x), x), math.inf), lambda x, y: i1(x))
i1: Function = wide("i1", lambda x: _odd(x, _ends(x, ops.abs_(_grown(_scaled_i1(x), x)), math.inf)),
          lambda x, y: ops.sub(i0(x), _over(y, x)))


def _sign(x: Node) -> Node:
    one = ops.like(1, x)
    return ops.where(_negative(x), ops.neg(one), ops.where(ops.eq(x, ops.like(0, x)), ops.like(0, x), one))


def _over(y: Node, x: Node) -> Node:
    """y / x for a function like x / 2 near 0."""
    zero = ops.eq(x, ops.like(0, x))
    return ops.where(zero, ops.like(0.5, x), ops.div(y, ops.where(zero, ops.like(1, x), x)))


def _k(order: int, scaled: bool, x: Node) -> Node:
    near, far = less(x, 2), ops.maximum(x, ops.like(2, x))
    safe = _within(x, 1e-300, 2)
    grown = ops.exp(safe)
    log = ops.log(times(0.5, safe))
    rest = _series(ops.mul(safe, safe), 0, 4, tables.K0_NEAR if order == 0 else tables.K1_NEAR)
    if order == 0:
        inner = ops.sub(rest, ops.mul(log, ops.mul(_scaled_i0(safe), grown)))
    else:
        inner = ops.add(ops.div(rest, safe), ops.mul(log, ops.mul(_scaled_i1(safe), grown)))
    table = tables.K0_FAR if order == 0 else tables.K1_FAR
    outer = ops.div(_series(ops.div(ops.like(2, x), far), 0, 1, table), ops.sqrt(far))
    value = ops.where(near, ops.mul(inner, grown) if scaled else inner,
                      outer if scaled else ops.mul(outer, ops.exp(ops.neg(far))))
    zero = ops.like(0, x)
    value = ops.where(ops.eq(x, ops.like(math.inf, x)), zero, value)
    value = ops.where(ops.eq(x, zero), ops.like(math.inf, x), value)
    return ops.where(ops.le(zero, x), value, ops.like(math.nan, x))


k0: Function = wide("modified_bessel_k0", lambda x: _k(0, False, x), lambda x, y: ops.neg(k1(x)))
k1: Function = wide("modified_bessel_k1", lambda x: _k(1, False, x),
          lambda x, y: ops.neg(ops.add(k0(x), ops.div(y, x))))
k0e: Function = wide("scaled_modified_bessel_k0", lambda x: _k(0, True, x), lambda x, y: ops.sub(y, k1e(x)))
k1e: Function = wide("scaled_modified_bessel_k1", lambda x: _k(1, True, x),
           lambda x, y: ops.sub(ops.sub(y, k0e(x)), ops.div(y, x)))


# J and Y


def _far_waves(order: int, x: Node, second: bool) -> Node:
    """J (or Y, the second kind) for x >= 8, from its amplitudes and angle."""
    far = ops.maximum(x, ops.like(8, x))
    inverse = ops.div(ops.like(8, x), far)
    square = ops.mul(inverse, inverse)
    even = _series(square, 0, 1, tables.EVEN0 if order == 0 else tables.EVEN1)
    odd = ops.mul(inverse, _series(square, 0, 1, tables.ODD0 if order == 0 else tables.ODD1))
    # cos and sin of x - pi / 4 - order pi / 2 from those of x, which lose nothing
    cos, sin = ops.cos(far), ops.sin(far)
    along, across = ops.add(cos, sin), ops.sub(sin, cos)  # sqrt(2) times cos and sin of x - pi / 4
    c, s = (along, across) if order == 0 else (across, ops.neg(along))
    if second:
        value = ops.add(ops.mul(even, s), ops.mul(odd, c))
    else:
        value = ops.sub(ops.mul(even, c), ops.mul(odd, s))
    return ops.div(value, ops.sqrt(times(math.pi, far)))


def _j(order: int, x: Node) -> Node:
    size = ops.abs_(x)
    near = _within(size, 0, 8)
    square = ops.mul(near, near)
    inner = _series(square, 0, 64, tables.J0_NEAR if order == 0 else tables.J1_NEAR)
    inner = inner if order == 0 else ops.mul(near, inner)
    value = _ends(x, ops.where(less(size, 8), inner, _far_waves(order, size, False)), 0.0)
    return value if order == 0 else _odd(x, value)


def _y(order: int, x: Node) -> Node:
    zero = ops.like(0, x)
    near = _within(x, 1e-300, 8)
    rest = _series(ops.mul(near, near), 0, 64, tables.Y0_NEAR if order == 0 else tables.Y1_NEAR)
    product = ops.mul(ops.log(near), _j(order, near))
    if order == 0:
        inner = ops.add(rest, times(2 / math.pi, product))
    else:
        inner = ops.add(ops.mul(near, rest), times(2 / math.pi, ops.sub(product, ops.reciprocal(near))))
    value = _ends(x, ops.where(less(x, 8), inner, _far_waves(order, x, True)), 0.0)
    value = ops.where(ops.eq(x, zero), ops.like(-math.inf, x), value)
    return ops.where(_negative(x), ops.like(math.nan, x), value)


j0: Function = wide("bessel_j0", lambda x: _j(0, x), lambda x, y: ops.neg(j1(x)))
j1: Function = wide("bessel_j1", lambda x: _j(1, x), lambda x, y: ops.sub(j0(x), _over(y, x)))
y0: Function = wide("bessel_y0", lambda x: _y(0, x), lambda x, y: ops.neg(y1(x)))
y1: Function = wide("bessel_y1", lambda x: _y(1, x), lambda x, y: ops.sub(y0(x), ops.div(y, x)))


def _spherical(x: Node) -> Node:
    small = less(ops.abs_(x), 0.5)
    square = ops.mul(x, x)
    near = ops.like(1, x)
    for k in range(8, 0, -1):  # Taylor's series
        near = plus(1, times(-1 / (2 * k * (2 * k + 1)), ops.mul(square, near)))
    safe = ops.where(small, ops.like(1, x), x)
    return _ends(x, ops.where(small, near, ops.div(ops.sin(safe), safe)), 0.0)


spherical_j0: Function = wide("spherical_bessel_j0", _spherical, lambda x, y: ops.where(
    ops.eq(x, ops.like(0, x)), ops.like(0, x),
    ops.div(ops.sub(ops.cos(x), y), ops.where(ops.eq(x, ops.like(0, x)), ops.like(1, x), x))))


# Airy's function


def _airy(slope: bool, x: Node) -> Node:
    """Ai or its derivative."""
    names = ("AIRY_SLOPE_NEAR", "AIRY_SLOPE_TAIL", "AIRY_SLOPE_EVEN", "AIRY_SLOPE_ODD") if slope else (
        "AIRY_NEAR", "AIRY_TAIL", "AIRY_EVEN", "AIRY_ODD")
    near, tail, even, odd = (getattr(tables, name) for name in names)
    size = ops.where(_negative(x), ops.maximum(ops.neg(x), ops.like(4, x)), _within(x, 2, 1e100))
    root = ops.sqrt(size)
    zeta = times(2 / 3, ops.mul(size, root))
    inverse, quarter = ops.reciprocal(zeta), ops.sqrt(root)
    scale = times(1 / math.sqrt(math.pi), quarter if slope else ops.reciprocal(quarter))
    falling = times(-0.5 if slope else 0.5, ops.mul(ops.exp(ops.neg(zeta)), _series(inverse, 0, 0.55, tail)))
    cos, sin = ops.cos(zeta), ops.sin(zeta)
    c, s = (times(math.sqrt(0.5), v) for v in (ops.sub(cos, sin), ops.add(cos, sin)))  # of zeta + pi / 4
    p, q = _series(inverse, 0, 0.19, even), ops.mul(inverse, _series(inverse, 0, 0.19, odd))
    wave = ops.sub(ops.mul(q, s), ops.mul(p, c)) if slope else ops.sub(ops.mul(p, s), ops.mul(q, c))
    value = ops.where(less(x, -4), ops.mul(scale, wave), ops.where(
        less(x, 2), _series(x, -4, 2, near), ops.mul(scale, falling)))
    return _ends(x, value, 0.0)


airy_ai: Function = wide("airy_ai", lambda x: _airy(False, x), lambda x, y: airy_slope(x))
airy_slope: Function = wide("airy_slope", lambda x: _airy(True, x), lambda x, y: ops.mul(x, airy_ai(x)))


# erfcx


def _erfcx(x: Node) -> Node:
    size = ops.abs_(x)
    place = ops.div(ops.like(4, x), plus(4, size))
    right = ops.mul(place, _series(place, 0, 1, tables.ERFCX))
    square = ops.mul(x, x)
    value = ops.where(_negative(x), ops.sub(times(2, ops.exp(square)), right), right)
    return ops.where(ops.ne(x, x), x, value)


erfcx: Function = wide("erfcx", _erfcx, lambda x, y: plus(-2 / math.sqrt(math.pi), times(2, ops.mul(x, y))))
