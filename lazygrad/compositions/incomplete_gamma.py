"""The regularised incomplete gamma functions P and Q, functions of two variables.

All are computed in float64 and rounded once. Sources: DLMF, by the numbers of its formulas.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from lazygrad import ops
from lazygrad.compositions import special_tables as tables
from lazygrad.compositions.special import (
    digamma,
    less,
    lgamma,
    plus,
    polynomial,
    stirling,
    times,
    wide_pair,
)
from lazygrad.graph import Node

_LARGE = 60.0  # from here on Temme's expansion holds where x is not far from a
_SMALL = 2.0  # up to here the series holds for every a
_SERIES_TERMS, _FRACTION_TERMS = 90, 90


def _excess(a: Node, x: Node) -> Node:
    """mu - log(1 + mu) for mu = x / a - 1, to full precision near 0 too."""
    mu = ops.div(ops.sub(x, a), a)
    near = ops.bitand(less(mu, 0.5), less(ops.neg(mu), 0.5))
    safe = ops.where(near, mu, ops.like(0, mu))
    s = ops.div(safe, plus(2, safe))  # log(1 + mu) = 2 atanh(s)
    square = ops.mul(s, s)
    rest = ops.like(1 / 39, mu)
    for k in range(18, 0, -1):
        rest = plus(1 / (2 * k + 1), ops.mul(square, rest))
    inner = times(2, ops.sub(ops.div(square, ops.sub(ops.like(1, mu), s)), ops.mul(ops.mul(s, square), rest)))
    return ops.where(near, inner, ops.sub(mu, ops.log(ops.div(x, a))))


def _log_weight(a: Node, x: Node) -> Node:
    """log of x**a exp(-x) / gamma(a + 1), for a and x above 0."""
    large = less(ops.neg(a), -10)
    base = ops.where(large, a, ops.like(10, a))
    apart = ops.mul(base, _excess(base, x))
    by_ratio = ops.sub(ops.neg(ops.add(apart, stirling(base))), times(0.5, ops.log(times(2 * math.pi, base))))
    little = ops.where(large, ops.like(1, a), a)
    plain = ops.sub(ops.sub(ops.mul(little, ops.log(x)), x), lgamma(plus(1, little)))
    return ops.where(large, by_ratio, plain)


def _series(a: Node, x: Node) -> Node:
    """The sum over k of x**k / ((a + 1) ... (a + k)), DLMF 8.7.1, from its last term."""
    value = ops.like(1, x)
    for k in range(_SERIES_TERMS, 0, -1):
        value = plus(1, ops.mul(value, ops.div(x, plus(k, a))))
    return value


def _fraction(a: Node, x: Node) -> Node:
    """The continued fraction DLMF 8.9.2 of Q, over x**a exp(-x) / gamma(a), from its last term."""
    start = ops.sub(x, a)
    value = plus(2 * _FRACTION_TERMS + 1, start)
    for k in range(_FRACTION_TERMS, 0, -1):
        value = ops.sub(plus(2 * k - 1, start), ops.div(times(k, ops.sub(ops.like(k, a), a)), value))
    return ops.reciprocal(value)


def _uniform(a: Node, x: Node) -> tuple[Node, Node]:
    """P and Q by Temme's expansion, DLMF 8.12.3 to 8.12.8."""
    half = _excess(a, x)
    eta = ops.sqrt(times(2, half))
    eta = ops.where(ops.lt(x, a), ops.neg(eta), eta)
    eta = ops.minimum(ops.maximum(eta, ops.like(-1, eta)), ops.like(1, eta))
    total = ops.like(0, a)
    for row in reversed(tables.UNIFORM_GAMMA):
        total = ops.add(polynomial(eta, row[::-1]), ops.div(total, a))
    rest = ops.div(ops.mul(ops.exp(ops.neg(ops.mul(a, half))), total), ops.sqrt(times(2 * math.pi, a)))
    argument = ops.mul(eta, ops.sqrt(times(0.5, a)))
    below = ops.sub(times(0.5, ops.erfc(ops.neg(argument))), rest)
    return below, ops.add(times(0.5, ops.erfc(argument)), rest)


def _regions(a: Node, x: Node) -> tuple[Node, Node]:
    """Where Temme's expansion holds, and where of the rest the series does."""
    ratio = ops.div(x, a)
    middle = ops.bitand(less(ops.neg(a), -_LARGE), ops.bitand(less(ratio, 2.3), less(ops.neg(ratio), -0.31)))
    return middle, ops.bitand(ops.bitnot(middle), ops.bitor(ops.le(x, plus(1, a)), less(x, _SMALL)))


def _both(a: Node, x: Node) -> tuple[Node, Node]:
    """P(a, x) and Q(a, x) for float64."""
    zero, one = ops.like(0, x), ops.like(1, x)
    inside = ops.bitand(ops.bitand(ops.lt(zero, a), ops.lt(zero, x)),
                        ops.bitand(less(a, math.inf), less(x, math.inf)))
    b, y = ops.where(inside, a, one), ops.where(inside, x, one)
    middle, low = _regions(b, y)
    weight = ops.exp(_log_weight(b, y))
    by_series = ops.mul(weight, _series(b, ops.where(low, y, zero)))
    fraction = _fraction(ops.where(low, one, b), ops.where(low, ops.like(_SMALL, y), y))
    by_fraction = ops.mul(ops.mul(weight, b), fraction)
    below, above = _uniform(*(ops.where(middle, v, ops.like(_LARGE, v)) for v in (b, y)))
    p = ops.where(middle, below, ops.where(low, by_series, ops.sub(one, by_fraction)))
    q = ops.where(middle, above, ops.where(low, ops.sub(one, by_series), by_fraction))
    # at the ends, where the other number may be NaN: all weight lies above 0, none beyond infinity; a = 0 has
    # it all at 0
    infinite = ops.like(math.inf, x)
    beyond = ops.bitand(ops.eq(x, infinite), ops.bitnot(ops.bitor(ops.lt(a, zero), ops.eq(a, infinite))))
    full = ops.bitor(ops.bitand(ops.eq(a, zero), ops.lt(zero, x)), beyond)
    before = ops.bitand(ops.eq(a, infinite), ops.bitnot(ops.bitor(ops.lt(x, zero), ops.eq(x, infinite))))
    empty = ops.bitor(ops.bitand(ops.eq(x, zero), ops.bitnot(ops.le(a, zero))), before)
    nan = ops.like(math.nan, x)
    outer = ops.where(full, one, ops.where(empty, zero, nan))
    return ops.where(inside, p, outer), ops.where(inside, q, ops.sub(one, outer))


def _density(a: Node, x: Node) -> Node:
    """The derivative of P by x."""
    return ops.exp(ops.sub(ops.sub(ops.mul(ops.sub(a, ops.like(1, a)), ops.log(x)), x), lgamma(a)))


# How x moves with a where P(a, x) stays: the derivative of a gamma distributed number by its shape


def _by_series(a: Node, x: Node) -> Node:
    value, slope = ops.like(1, x), ops.like(0, x)
    for k in range(_SERIES_TERMS, 0, -1):
        under = plus(k, a)
        factor = ops.div(x, under)
        slope = ops.mul(factor, ops.sub(slope, ops.div(value, under)))
        value = plus(1, ops.mul(value, factor))
    lean = ops.sub(ops.log(x), digamma(plus(1, a)))
    return ops.neg(ops.mul(ops.div(x, a), ops.add(ops.mul(value, lean), slope)))


def _by_fraction(a: Node, x: Node) -> Node:
    start = ops.sub(x, a)
    value, slope = plus(2 * _FRACTION_TERMS + 1, start), ops.like(-1, x)
    for k in range(_FRACTION_TERMS, 0, -1):
        part = ops.div(times(k, ops.sub(ops.like(k, a), a)), value)
        slope = ops.sub(ops.div(ops.add(ops.mul(part, slope), ops.like(k, a)), value), ops.like(1, x))
        value = ops.sub(plus(2 * k - 1, start), part)
    fraction = ops.reciprocal(value)
    slope = ops.neg(ops.mul(ops.mul(fraction, fraction), slope))
    lean = ops.sub(ops.log(x), digamma(plus(1, a)))
    total = ops.add(ops.mul(ops.mul(a, fraction), lean), ops.add(fraction, ops.mul(a, slope)))
    return ops.mul(ops.div(x, a), total)


def _by_expansion(a: Node, x: Node) -> Node:
    eta = ops.sqrt(times(2, _excess(a, x)))
    eta = ops.where(ops.lt(x, a), ops.neg(eta), eta)
    eta = ops.minimum(ops.maximum(eta, ops.like(-1, eta)), ops.like(1, eta))
    mu, log = ops.div(ops.sub(x, a), a), ops.log(ops.div(x, a))
    near = less(ops.abs_(eta), 1e-7)
    ratio = ops.where(near, ops.like(1, x), ops.div(mu, ops.where(near, ops.like(1, x), eta)))
    turn = ops.neg(ops.div(ratio, a))  # of eta, by a
    moved = ops.add(turn, ops.div(times(0.5, eta), a))
    total = by_eta = by_inverse = ops.like(0, a)
    for row in reversed(tables.UNIFORM_GAMMA):  # Horner's scheme in 1 / a, with both derivatives
        by_inverse = ops.add(total, ops.div(by_inverse, a))
        total = ops.add(polynomial(eta, row[::-1]), ops.div(total, a))
        steps = [k * c for k, c in enumerate(row)][1:]
        by_eta = ops.add(polynomial(eta, steps[::-1]), ops.div(by_eta, a))
    rest = ops.mul(total, ops.sub(log, ops.div(ops.like(0.5, a), a)))
    rest = ops.add(rest, ops.sub(ops.mul(by_eta, turn), ops.div(by_inverse, ops.mul(a, a))))
    scale = ops.mul(ops.div(x, a), ops.exp(stirling(a)))
    return ops.neg(ops.mul(scale, ops.sub(ops.mul(a, moved), rest)))


def _slope(a: Node, x: Node) -> Node:
    zero, one = ops.like(0, x), ops.like(1, x)
    inside = ops.bitand(ops.lt(zero, a), ops.lt(zero, x))
    b, y = ops.where(inside, a, one), ops.where(inside, x, one)
    middle, low = _regions(b, y)
    by_series = _by_series(b, ops.where(low, y, one))
    by_fraction = _by_fraction(ops.where(low, one, b), ops.where(low, ops.like(_SMALL, y), y))
    large = ops.where(middle, b, ops.like(_LARGE, b)), ops.where(middle, y, ops.like(_LARGE, y))
    value = ops.where(middle, _by_expansion(*large), ops.where(low, by_series, by_fraction))
    return ops.where(inside, value, ops.where(ops.eq(x, zero), zero, ops.like(math.nan, x)))


gamma_slope = wide_pair(_slope)


def _part(which: int) -> Callable[[Node, Node], Node]:
    compute = wide_pair(lambda a, x: _both(a, x)[which])
    sign = 1.0 if which == 0 else -1.0

    def gradient(g: Node, value: Node, a: Node, x: Node) -> tuple[Node, Node]:
        by_x = times(sign, ops.mul(g, _density(a, x)))
        return ops.neg(ops.mul(by_x, gamma_slope(ops.detach(a), ops.detach(x)))), by_x

    def function(a: Node, x: Node) -> Node:
        return ops.surrogate(compute(ops.detach(a), ops.detach(x)), a, x, arg=gradient)

    return function


gammainc, gammaincc = _part(0), _part(1)
