"""Special functions of one variable that no row computes: lgamma, digamma, polygamma, erf's inverses.

All are computed in float64, whatever the type of x, and rounded once; each has its derivative given. Sources:
the NIST Digital Library of Mathematical Functions (DLMF), by the numbers of its formulas.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from lazygrad import dtypes, ops
from lazygrad.graph import Node

_Function = Callable[[Node], Node]


def _wide(name: str, compute: _Function, derivative: Callable[[Node, Node], Node]) -> _Function:
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


def _polynomial(x: Node, coefficients: Sequence[float]) -> Node:
    """Horner's scheme, the highest power first."""
    value = ops.like(coefficients[0], x)
    for c in coefficients[1:]:
        value = ops.add(ops.mul(value, x), ops.like(c, x))
    return value


def _times(factor: float, x: Node) -> Node:
    return ops.mul(x, ops.like(factor, x))


def _plus(term: float, x: Node) -> Node:
    return ops.add(x, ops.like(term, x))


def _less(x: Node, bound: float) -> Node:
    return ops.lt(x, ops.like(bound, x))


# the inverses of erf and of the normal distribution


def _erfinv(x: Node) -> Node:
    # Winitzki's approximation, relative error 2e-3, then Newton's method, each step with Halley's correction
    one = ops.like(1, x)
    size = ops.abs_(x)
    rest = ops.sub(one, size)  # exact for |x| >= 1/2
    inside = ops.lt(size, one)
    log = ops.log(ops.where(inside, ops.mul(rest, ops.add(one, size)), one))
    a = _plus(2 / (math.pi * 0.147), _times(0.5, log))
    y = ops.sqrt(ops.sub(ops.sqrt(ops.sub(ops.mul(a, a), _times(1 / 0.147, log))), a))
    for _ in range(3):
        # erfc where erf is close to 1, so that no digit is lost
        high = _less(ops.neg(size), -0.5)
        error = ops.where(high, ops.sub(rest, ops.erfc(y)), ops.sub(ops.erf(y), size))
        step = ops.mul(error, _times(math.sqrt(math.pi) / 2, ops.exp(ops.mul(y, y))))
        y = ops.sub(y, ops.div(step, ops.add(one, ops.mul(y, step))))
    y = ops.where(inside, y, ops.where(ops.eq(size, one), ops.like(math.inf, x), ops.like(math.nan, x)))
    return ops.where(ops.lt(x, ops.like(0, x)), ops.neg(y), ops.where(ops.eq(x, ops.like(0, x)), x, y))


erfinv = _wide("erfinv", _erfinv,
               lambda x, y: _times(math.sqrt(math.pi) / 2, ops.exp(ops.mul(y, y))))


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
    log = ops.log(ops.mul(_times(4, safe), ops.sub(one, safe)))
    a = _plus(2 / (math.pi * 0.147), _times(0.5, log))
    y = ops.sqrt(ops.sub(ops.sqrt(ops.sub(ops.mul(a, a), _times(1 / 0.147, log))), a))
    for _ in range(4):
        # Newton's method on the logarithm, which is nearly a parabola
        tail = ops.erfc(y)
        slope = ops.div(_times(2 / math.sqrt(math.pi), ops.exp(ops.neg(ops.mul(y, y)))), tail)
        ratio = ops.log(ops.div(tail, _times(2, safe)))
        step = ops.div(ratio, slope)
        curve = ops.mul(step, ops.sub(_times(0.5, slope), y))
        y = ops.add(y, ops.mul(step, ops.sub(one, ops.neg(curve))))
    value = _times(-math.sqrt(2), y)
    outside = ops.where(ops.eq(p, ops.like(0, p)), ops.like(-math.inf, p), ops.like(math.nan, p))
    return ops.where(inside, value, outside)


ndtri = _wide("ndtri", _ndtri,
              lambda x, y: _times(math.sqrt(2 * math.pi), ops.exp(_times(0.5, ops.mul(y, y)))))


# the gamma function and its relatives

# B(2k) / (2k (2k - 1)), k = 8 .. 1: Stirling's series (DLMF 5.11.1), to 1e-17 from 10 on
_STIRLING = (-3617 / 122400, 1 / 156, -691 / 360360, 1 / 1188, -1 / 1680, 1 / 1260, -1 / 360, 1 / 12)
# B(2k) / 2k, k = 8 .. 1 (DLMF 5.11.2)
_DIGAMMA = (-3617 / 8160, 1 / 12, -691 / 32760, 1 / 132, -1 / 240, 1 / 252, -1 / 120, 1 / 12)
_SHIFT = 10


def _lgamma(x: Node) -> Node:
    one = ops.like(1, x)
    negative = _less(x, 0.5)
    z = ops.where(negative, ops.sub(one, x), x)
    # gamma(z) = gamma(z + n) / (z (z+1) ... (z+n-1)), where z is small
    small = _less(z, _SHIFT)
    product, shifted = one, z
    for _ in range(_SHIFT):
        more = _less(shifted, _SHIFT)
        product = ops.where(more, ops.mul(product, shifted), product)
        shifted = ops.where(more, ops.add(shifted, one), shifted)
    inverse = ops.reciprocal(shifted)
    series = ops.mul(inverse, _polynomial(ops.mul(inverse, inverse), _STIRLING))
    log = ops.log(shifted)
    # log(shifted) - 1 first: the product of both would overflow later than lgamma does
    main = ops.mul(_plus(-0.5, shifted), ops.sub(log, one))
    main = _plus(0.5 * math.log(2 * math.pi) - 0.5, main)
    value = ops.sub(ops.add(main, series), ops.where(small, ops.log(product), ops.like(0, x)))
    value = ops.where(ops.eq(z, ops.like(math.inf, z)), z, value)
    # reflection (DLMF 5.5.3); the sine of what is left of x, since pi * x is rounded
    part = ops.sub(x, ops.floor(x))
    sine = ops.sin(_times(math.pi, ops.minimum(part, ops.sub(one, part))))
    reflected = ops.sub(ops.log(ops.div(ops.like(math.pi, x), sine)), value)
    pole = ops.bitand(ops.le(x, ops.like(0, x)), ops.eq(part, ops.like(0, x)))
    reflected = ops.where(pole, ops.like(math.inf, x), reflected)
    result = ops.where(negative, reflected, value)
    zero = ops.bitor(ops.eq(x, one), ops.eq(x, ops.like(2, x)))
    result = ops.where(zero, ops.like(0, x), result)
    return ops.where(ops.eq(x, ops.like(-math.inf, x)), ops.like(math.inf, x), result)


def _digamma(x: Node) -> Node:
    one, zero = ops.like(1, x), ops.like(0, x)
    negative = _less(x, 0.0)
    z = ops.where(negative, ops.sub(one, x), x)
    total, shifted = zero, z
    for _ in range(_SHIFT):
        more = _less(shifted, _SHIFT)
        total = ops.where(more, ops.add(total, ops.reciprocal(shifted)), total)
        shifted = ops.where(more, ops.add(shifted, one), shifted)
    inverse = ops.reciprocal(shifted)
    square = ops.mul(inverse, inverse)
    series = ops.add(_times(0.5, inverse), ops.mul(square, _polynomial(square, _DIGAMMA)))
    value = ops.sub(ops.sub(ops.log(shifted), series), total)
    value = ops.where(ops.eq(z, ops.like(math.inf, z)), z, value)
    # reflection (DLMF 5.5.4)
    part = ops.sub(x, ops.floor(x))
    whole = ops.eq(part, zero)
    cotangent = ops.reciprocal(ops.tan(_times(math.pi, ops.where(whole, ops.like(0.5, x), part))))
    reflected = ops.where(whole, ops.like(math.nan, x), ops.sub(value, _times(math.pi, cotangent)))
    at_zero = ops.where(ops.lt(ops.reciprocal(x), zero), ops.like(math.inf, x), ops.like(-math.inf, x))
    return ops.where(negative, reflected, ops.where(ops.eq(x, zero), at_zero, value))


# B(2k) / (2k)!, k = 1 ..: Euler and Maclaurin's correction
_MACLAURIN = (1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160, -691 / 1307674368000, 1 / 74724249600,
              -3617 / 10670622842880000)


def _hurwitz(s: int, q: Node) -> Node:
    """The sum over k >= 0 of (q + k)**-s, for an integer s >= 2 (DLMF 25.11.5)."""

    def power(x: Node, n: int) -> Node:
        return ops.pow_(x, ops.like(n, x))

    total = ops.like(0, q)
    for k in range(_SHIFT):
        total = ops.add(total, power(_plus(k, q), -s))
    end = _plus(_SHIFT, q)
    tail = power(end, -s)
    total = ops.add(total, ops.add(_times(1 / (s - 1), power(end, 1 - s)), _times(0.5, tail)))
    factor, term = float(s), ops.div(tail, end)
    for k, c in enumerate(_MACLAURIN):
        total = ops.add(total, _times(c * factor, term))
        factor *= (s + 2 * k + 1) * (s + 2 * k + 2)
        term = ops.div(ops.div(term, end), end)
    return total


def _polygamma(n: int) -> _Function:
    sign = math.factorial(n) * (1.0 if n % 2 else -1.0)

    # the sum over k < 0 of (x + k)**-s is that over k >= 0 of (1 - x + k)**-s with this sign
    mirrored = -1.0 if n % 2 == 0 else 1.0

    def compute(x: Node) -> Node:
        one, half = ops.like(1, x), ops.like(0.5, x)
        pole = ops.bitand(ops.eq(x, ops.floor(x)), ops.le(x, ops.like(0, x)))
        safe = ops.where(pole, one, x)
        left = _less(safe, 0.0)
        # left of zero: the sum over all k depends on the fraction of x alone; take from it the sum over k < 0
        part = ops.where(left, ops.sub(safe, ops.floor(safe)), half)
        over_all = ops.add(_hurwitz(n + 1, part), _times(mirrored, _hurwitz(n + 1, ops.sub(one, part))))
        behind = _times(mirrored, _hurwitz(n + 1, ops.where(left, ops.sub(one, safe), one)))
        value = ops.where(left, ops.sub(over_all, behind), _hurwitz(n + 1, ops.where(left, one, safe)))
        return ops.where(pole, ops.like(math.inf if n % 2 else math.nan, x), _times(sign, value))

    return compute


def polygamma(n: int) -> _Function:
    """The n-th derivative of digamma, n >= 0."""
    if n == 0:
        return digamma
    return _wide(f"polygamma_{n}", _polygamma(n), lambda x, value: polygamma(n + 1)(x))


digamma = _wide("digamma", _digamma, lambda x, value: polygamma(1)(x))
lgamma = _wide("lgamma", _lgamma, lambda x, value: digamma(x))
