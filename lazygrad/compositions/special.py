"""Special functions that no row computes: lgamma, digamma, zeta and polygamma, erf's inverses.

All are computed in float64, whatever the type of x, and rounded once; each has its derivative given. Sources:
the NIST Digital Library of Mathematical Functions (DLMF), by the numbers of its formulas.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from lazygrad import dtypes, ops
from lazygrad.graph import Node

Function = Callable[[Node], Node]


def wide(name: str, compute: Function, derivative: Callable[[Node, Node], Node]) -> Function:
    """A function computed in float64, and its derivative, a function of (x, value) in x's own type."""

    def gradient(g: Node, value: Node, x: Node) -> tuple[Node]:
        return (ops.mul(g, derivative(x, value)),)

    def function(x: Node) -> Node:
        wide = ops.cast(ops.detach(x), arg=dtypes.float64) if x.dtype is not dtypes.float64 else ops.detach(x)
        value = compute(wide)
        return ops.surrogate(ops.cast(value, arg=x.dtype) if value.dtype is not x.dtype else value, x,
                             arg=gradient)

    function.__name__ = name
    return function


def wide_pair(function: Callable[[Node, Node], Node]) -> Callable[[Node, Node], Node]:
    """A function of two nodes of one type, computed in float64."""

    def computed(a: Node, x: Node) -> Node:
        if a.dtype is dtypes.float64:
            return function(a, x)
        value = function(ops.cast(a, arg=dtypes.float64), ops.cast(x, arg=dtypes.float64))
        return ops.cast(value, arg=a.dtype)

    return computed


def polynomial(x: Node, coefficients: Sequence[float]) -> Node:
    """A polynomial by Horner's scheme, the highest power first."""
    value = ops.like(coefficients[0], x)
    for c in coefficients[1:]:
        value = ops.add(ops.mul(value, x), ops.like(c, x))
    return value


def times(factor: float, x: Node) -> Node:
    """factor * x."""
    return ops.mul(x, ops.like(factor, x))


def plus(term: float, x: Node) -> Node:
    """term + x."""
    return ops.add(x, ops.like(term, x))


def whole_power(x: Node, n: int) -> Node:
    """x to the power n >= 1, as products."""
    result = None
    while True:
        if n & 1:
            result = x if result is None else ops.mul(result, x)
        n >>= 1
        if n == 0:
            assert result is not None
            return result
        x = ops.mul(x, x)


def less(x: Node, bound: float) -> Node:
    """x < bound."""
    return ops.lt(x, ops.like(bound, x))


# the inverses of erf and of the normal distribution


def _winitzki(log: Node) -> Node:
    """Winitzki's approximation of erf's inverse at x >= 0, relative error 2e-3; `log` is log(1 - x**2)."""
    a = plus(2 / (math.pi * 0.147), times(0.5, log))
    return ops.sqrt(ops.sub(ops.sqrt(ops.sub(ops.mul(a, a), times(1 / 0.147, log))), a))


def _erfinv(x: Node) -> Node:
    # an approximation, then Newton's method, each step with Halley's correction
    one = ops.like(1, x)
    size = ops.abs_(x)
    rest = ops.sub(one, size)  # exact for |x| >= 1/2
    inside = ops.lt(size, one)
    y = _winitzki(ops.log(ops.where(inside, ops.mul(rest, ops.add(one, size)), one)))
    for _ in range(3):
        # erfc where erf is close to 1, so that no digit is lost
        high = less(ops.neg(size), -0.5)
        error = ops.where(high, ops.sub(rest, ops.erfc(y)), ops.sub(ops.erf(y), size))
        step = ops.mul(error, times(math.sqrt(math.pi) / 2, ops.exp(ops.mul(y, y))))
        y = ops.sub(y, ops.div(step, ops.add(one, ops.mul(y, step))))
    y = ops.where(inside, y, ops.where(ops.eq(size, one), ops.like(math.inf, x), ops.like(math.nan, x)))
    return ops.where(ops.lt(x, ops.like(0, x)), ops.neg(y), ops.where(ops.eq(x, ops.like(0, x)), x, y))


erfinv = wide("erfinv", _erfinv,
               lambda x, y: times(math.sqrt(math.pi) / 2, ops.exp(ops.mul(y, y))))


def _ndtri(p: Node) -> Node:
    # from the nearer end: 2p - 1 would lose the digits of a small p
    half = ops.like(0.5, p)
    low = ops.lt(p, half)
    return ops.where(low, _erfcinv_half(p), ops.neg(_erfcinv_half(ops.sub(ops.like(1, p), p))))


def _erfcinv_half(p: Node) -> Node:
    """The x <= 0 with probability p <= 1/2 below it, for the standard normal distribution."""
    one = ops.like(1, p)
    inside = ops.bitand(ops.lt(ops.like(0, p), p), ops.le(p, ops.like(0.5, p)))
    safe = ops.where(inside, p, ops.like(0.25, p))
    y = _winitzki(ops.log(ops.mul(times(4, safe), ops.sub(one, safe))))
    for _ in range(4):
        # Newton's method on the logarithm, which is nearly a parabola
        tail = ops.erfc(y)
        slope = ops.div(times(2 / math.sqrt(math.pi), ops.exp(ops.neg(ops.mul(y, y)))), tail)
        ratio = ops.log(ops.div(tail, times(2, safe)))
        step = ops.div(ratio, slope)
        curve = ops.mul(step, ops.sub(times(0.5, slope), y))
        y = ops.add(y, ops.mul(step, ops.sub(one, ops.neg(curve))))
    value = times(-math.sqrt(2), y)
    outside = ops.where(ops.eq(p, ops.like(0, p)), ops.like(-math.inf, p), ops.like(math.nan, p))
    return ops.where(inside, value, outside)


ndtri = wide("ndtri", _ndtri,
              lambda x, y: times(math.sqrt(2 * math.pi), ops.exp(times(0.5, ops.mul(y, y)))))


# the gamma function and its relatives

# B(2k) / (2k (2k - 1)), k = 8 .. 1: Stirling's series (DLMF 5.11.1), to 1e-17 from 10 on
_STIRLING = (-3617 / 122400, 1 / 156, -691 / 360360, 1 / 1188, -1 / 1680, 1 / 1260, -1 / 360, 1 / 12)
# B(2k) / 2k, k = 8 .. 1 (DLMF 5.11.2)
_DIGAMMA = (-3617 / 8160, 1 / 12, -691 / 32760, 1 / 132, -1 / 240, 1 / 252, -1 / 120, 1 / 12)
_SHIFT = 10


def stirling(x: Node) -> Node:
    """What Stirling's formula leaves of log gamma(x), for x >= 10."""
    inverse = ops.reciprocal(x)
    return ops.mul(inverse, polynomial(ops.mul(inverse, inverse), _STIRLING))


def _lgamma(x: Node) -> Node:
    one = ops.like(1, x)
    negative = less(x, 0.5)
    z = ops.where(negative, ops.sub(one, x), x)
    # gamma(z) = gamma(z + n) / (z (z+1) ... (z+n-1)), where z is small
    small = less(z, _SHIFT)
    product, shifted = one, z
    for _ in range(_SHIFT):
        more = less(shifted, _SHIFT)
        product = ops.where(more, ops.mul(product, shifted), product)
        shifted = ops.where(more, ops.add(shifted, one), shifted)
    series = stirling(shifted)
    log = ops.log(shifted)
    # log(shifted) - 1 first: the product of both would overflow later than lgamma does
    main = ops.mul(plus(-0.5, shifted), ops.sub(log, one))
    main = plus(0.5 * math.log(2 * math.pi) - 0.5, main)
    value = ops.sub(ops.add(main, series), ops.where(small, ops.log(product), ops.like(0, x)))
    value = ops.where(ops.eq(z, ops.like(math.inf, z)), z, value)
    # reflection (DLMF 5.5.3); the sine of the distance to a whole number, since pi * x is rounded
    part = ops.abs_(ops.sub(x, ops.round_(x)))
    reflected = ops.sub(ops.log(ops.div(ops.like(math.pi, x), ops.sin(times(math.pi, part)))), value)
    pole = ops.bitand(ops.le(x, ops.like(0, x)), ops.eq(part, ops.like(0, x)))
    reflected = ops.where(pole, ops.like(math.inf, x), reflected)
    result = ops.where(negative, reflected, value)
    zero = ops.bitor(ops.eq(x, one), ops.eq(x, ops.like(2, x)))
    result = ops.where(zero, ops.like(0, x), result)
    return ops.where(ops.eq(x, ops.like(-math.inf, x)), ops.like(math.inf, x), result)


def _digamma(x: Node) -> Node:
    one, zero = ops.like(1, x), ops.like(0, x)
    negative = less(x, 0.0)
    z = ops.where(negative, ops.sub(one, x), x)
    total, shifted = zero, z
    for _ in range(_SHIFT):
        more = less(shifted, _SHIFT)
        total = ops.where(more, ops.add(total, ops.reciprocal(shifted)), total)
        shifted = ops.where(more, ops.add(shifted, one), shifted)
    inverse = ops.reciprocal(shifted)
    square = ops.mul(inverse, inverse)
    series = ops.add(times(0.5, inverse), ops.mul(square, polynomial(square, _DIGAMMA)))
    value = ops.sub(ops.sub(ops.log(shifted), series), total)
    value = ops.where(ops.eq(z, ops.like(math.inf, z)), z, value)
    # reflection (DLMF 5.5.4)
    part = ops.sub(x, ops.round_(x))
    whole = ops.eq(part, zero)
    cotangent = ops.reciprocal(ops.tan(times(math.pi, ops.where(whole, ops.like(0.5, x), part))))
    reflected = ops.where(whole, ops.like(math.nan, x), ops.sub(value, times(math.pi, cotangent)))
    at_zero = ops.where(ops.lt(ops.reciprocal(x), zero), ops.like(math.inf, x), ops.like(-math.inf, x))
    return ops.where(negative, reflected, ops.where(ops.eq(x, zero), at_zero, value))


# B(2k) / (2k)!, k = 1 ..: Euler and Maclaurin's correction
_MACLAURIN = (1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160, -691 / 1307674368000, 1 / 74724249600,
              -3617 / 10670622842880000)
_SUMMED = 10


def _sum_of_powers(s: Node, q: Node, falling: Function) -> Node:
    """The sum over k >= 0 of `falling(q + k)`, which is (q + k)**-s, for s > 1 and q > 0 (DLMF 25.11.5)."""
    total = ops.like(0, q)
    for k in range(_SUMMED):
        total = ops.add(total, falling(plus(k, q)))
    end = plus(_SUMMED, q)
    tail = falling(end)
    s = ops.minimum(s, ops.like(1000, s))  # beyond it the tail is 0, but the factors overflow
    total = ops.add(total, ops.add(ops.div(ops.mul(tail, end), plus(-1, s)), times(0.5, tail)))
    factor, term = s, ops.div(tail, end)
    for k, c in enumerate(_MACLAURIN):
        total = ops.add(total, times(c, ops.mul(factor, term)))
        factor = ops.mul(factor, ops.mul(plus(2 * k + 1, s), plus(2 * k + 2, s)))
        term = ops.div(term, ops.mul(end, end))
    return total


def _zeta(s: Node, q: Node, power: int | None = None) -> Node:
    """Hurwitz's zeta function; `power` is s where that is one whole number above 1."""
    zero, one = ops.like(0, q), ops.like(1, q)
    right, whole = ops.lt(zero, q), ops.eq(s, ops.floor(s))
    above = ops.where(ops.lt(one, s), s, ops.like(2, s))

    def falling(x: Node) -> Node:
        return ops.pow_(x, ops.neg(above)) if power is None else ops.reciprocal(whole_power(x, power))

    def summed(q: Node) -> Node:
        return _sum_of_powers(above, q, falling)

    # left of 0, for whole s: the sum over all k depends on the distance to them alone, and on its sign if s
    # is odd; from it that over k < 0
    rest = ops.where(right, ops.like(0.5, q), ops.sub(q, ops.round_(q)))
    part = ops.abs_(ops.where(ops.eq(rest, zero), ops.like(0.5, q), rest))
    even = ops.eq(ops.floor(times(0.5, above)), times(0.5, above))
    sign = ops.where(even, one, ops.neg(one))
    over_all = ops.add(summed(part), ops.mul(sign, summed(ops.sub(one, part))))
    over_all = ops.where(ops.lt(rest, zero), ops.mul(sign, over_all), over_all)
    value = summed(ops.where(right, q, ops.sub(one, q)))
    value = ops.where(right, value, ops.sub(over_all, ops.mul(sign, value)))
    pole = ops.bitand(ops.bitnot(right), ops.eq(q, ops.floor(q)))
    nan, infinite = ops.like(math.nan, q), ops.like(math.inf, q)
    defined = ops.bitand(ops.bitor(right, whole), ops.eq(s, s))
    value = ops.where(pole, infinite, ops.where(defined, value, nan))
    return ops.where(less(s, 1), nan, ops.where(ops.eq(s, one), infinite, value))


def zeta(s: Node, q: Node) -> Node:
    """Hurwitz's zeta function, differentiable by q."""
    compute = wide_pair(_zeta)

    def gradient(g: Node, value: Node, s: Node, q: Node) -> tuple[None, Node]:
        return None, ops.neg(ops.mul(g, ops.mul(s, zeta(plus(1, s), q))))

    return ops.surrogate(compute(ops.detach(s), ops.detach(q)), s, q, arg=gradient)


def _polygamma(n: int) -> Function:
    sign = math.factorial(n) * (1.0 if n % 2 else -1.0)

    def compute(x: Node) -> Node:
        pole = ops.bitand(ops.eq(x, ops.floor(x)), ops.le(x, ops.like(0, x)))
        value = times(sign, _zeta(ops.like(n + 1, x), ops.where(pole, ops.like(1, x), x), n + 1))
        at_pole = ops.like(math.copysign(math.inf, sign), x)
        if n == 1:  # 1 / x where its square may be too large; PyTorch's higher orders are NaN at infinity
            value = ops.where(less(ops.neg(x), -1e17), ops.reciprocal(x), value)
            at_pole = ops.add(at_pole, x)  # NaN at -infinity
        return ops.where(pole, at_pole, value)

    return compute


def polygamma(n: int) -> Function:
    """The n-th derivative of digamma, n >= 0."""
    if n == 0:
        return digamma
    return wide(f"polygamma_{n}", _polygamma(n), lambda x, value: polygamma(n + 1)(x))


digamma = wide("digamma", _digamma, lambda x, value: polygamma(1)(x))
lgamma = wide("lgamma", _lgamma, lambda x, value: digamma(x))
