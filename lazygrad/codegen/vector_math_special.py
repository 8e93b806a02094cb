"""erf, erfc and pow for vector_math."""

from __future__ import annotations

from lazygrad.codegen.llvm_builder import Builder
from lazygrad.codegen.llvm_values import Value
from lazygrad.codegen.vector_math_core import (
    INF,
    NAN,
    at_least,
    at_most,
    by_type,
    exp_pieces,
    ln2_parts,
    mantissa,
    one_plus,
    parts,
    polynomial,
    rounded,
    widened,
)
from lazygrad.codegen.vector_math_tables import ERFC_CENTER

_ERFC_END = 27.3  # erfc is 0 above
_ERF_END = 3.93  # erf of a float is 1 above


def _erf_small(b: Builder, x: Value) -> Value:
    return b.fma(x, polynomial(b, b.fmul(x, x), "erf"), x)


def _erf_float(b: Builder, x: Value) -> Value:
    """1 - exp(y) as -(exp(y) - 1), which is as exact near 0 as in the tail; y = t q(t), its head apart."""
    t = at_most(b, b.fabs(x), _ERF_END)
    y = b.fused(t, -parts("erf_slope", x.type)[0], b.fmul(t, polynomial(b, t, "erf_log")))
    n, power = rounded(b, y, parts("log2e", x.type)[0])
    head, tail = ln2_parts(x.type, b.abilities.fuses)
    r = b.fma(n, -head, y)
    if not b.abilities.fuses:  # the head has fewer digits then
        r = b.fma(n, -tail, r)
    p = b.fma(b.fmul(r, r), polynomial(b, r, "expm1"), r)
    return b.copysign(b.fma(power, p, b.fsub(power, 1.0)), x)


def _erf_double(b: Builder, x: Value) -> Value:
    tail = b.copysign(b.fsub(b.like(x, 1.0), _erfc_positive(b, b.fabs(x))), x)
    return b.select(b.fcmp("olt", b.fabs(x), 1.0), _erf_small(b, x), tail)


def _erfc_positive(b: Builder, a: Value) -> Value:
    """exp(-a^2) / (1 + 2 a) q((a - K) / (a + K)), with the rounding of a^2 made good."""
    a = at_most(b, a, _ERFC_END)
    center = ERFC_CENTER
    square = b.fmul(a, a)
    lost = b.fused(a, a, b.fneg(square))
    q = polynomial(b, b.fdiv(b.fsub(a, center), b.fadd(a, center)), "erfcx")
    q = b.fdiv(b.fma(b.fneg(lost), q, q), b.fma(a, 2.0, 1.0))
    p, s = exp_pieces(b, b.fneg(square))
    return b.fmul(b.fmul(b.fmul(p, q), s), s)


def _erfc_double(b: Builder, x: Value) -> Value:
    positive = _erfc_positive(b, b.fabs(x))
    outer = b.select(b.fcmp("olt", x, 0.0), b.fsub(b.like(x, 2.0), positive), positive)
    central = b.fsub(b.like(x, 1.0), _erf_small(b, x))
    return b.select(b.fcmp("olt", b.fabs(x), 0.5), central, outer)


erf = by_type(_erf_float, _erf_double)
erfc = by_type(widened(_erfc_double), _erfc_double)


# ---- pow


def _short_power(b: Builder, x: Value, y: Value) -> Value:
    """|x|^y on doubles that came from floats, to about 2^-36."""
    m, e = mantissa(b, x, subnormals=False)
    f = b.fsub(m, 1.0)
    s = b.fdiv(f, b.fadd(f, 2.0))
    z = b.fmul(s, s)
    natural = b.fma(b.fmul(s, z), polynomial(b, z, "log_short"), b.fadd(s, s))
    exponent = b.fmul(y, _base_ends(b, x, b.fma(natural, parts("log2e", "double")[0], e)))
    t = at_least(b, at_most(b, exponent, 300.0), -300.0)
    n, power = rounded(b, t, 1.0)
    r = b.fsub(t, n)
    return b.fmul(b.fma(r, polynomial(b, r, "exp2_short"), 1.0), power)


def _base_ends(b: Builder, x: Value, logarithm: Value) -> Value:
    """The logarithm of x >= 0, infinite or NaN where x is zero, infinite or NaN."""
    logarithm = b.select(b.fcmp("olt", x, INF), logarithm, x)
    return b.select(b.fcmp("oeq", x, 0.0), -INF, logarithm)


def _log2_pair(b: Builder, x: Value) -> tuple[Value, Value]:
    """log2 of x > 0 as a sum of two doubles, to about 2^-66."""
    m, e = mantissa(b, x)
    f, d = b.fsub(m, 1.0), b.fadd(m, 1.0)
    d_low = b.fsub(m, b.fsub(d, 1.0))
    inverse = b.fdiv(b.like(d, 1.0), d)
    s = b.fmul(f, inverse)
    s_low = b.fmul(b.fma(b.fneg(s), d_low, b.fused(b.fneg(s), d, f)), inverse)
    z = b.fmul(s, s)
    z_low = b.fma(b.fadd(s, s), s_low, b.fused(s, s, b.fneg(z)))
    # c = 2/3 + z q(z)
    third, third_low = parts("two_thirds", "double")
    tail = b.fmul(z, polynomial(b, z, "log_pair"))
    c = b.fadd(tail, third)
    c_low = b.fadd(b.fsub(tail, b.fsub(c, third)), third_low)
    # t = s^3 c
    cube = b.fmul(z, s)
    cube_low = b.fma(z, s_low, b.fma(z_low, s, b.fused(z, s, b.fneg(cube))))
    t = b.fmul(cube, c)
    t_low = b.fma(cube, c_low, b.fma(cube_low, c, b.fused(cube, c, b.fneg(t))))
    # the natural logarithm of m, 2 s + t, then times log2(e), then plus the exponent
    twice = b.fadd(s, s)
    a = b.fadd(twice, t)
    a_low = b.fadd(b.fadd(b.fsub(twice, a), t), b.fma(s_low, 2.0, t_low))
    scale, scale_low = parts("log2e", "double")
    w = b.fmul(a, scale)
    w_low = b.fma(a, scale_low, b.fma(a_low, scale, b.fused(a, scale, b.fneg(w))))
    high = b.fadd(e, w)
    return high, b.fadd(b.fadd(b.fsub(e, high), w), w_low)


def _exp2_of_pair(b: Builder, t: Value, t_low: Value) -> Value:
    """2^(t + t_low) for |t| up to 1100, nearly correctly rounded: small whole powers come out exact."""
    n, _ = rounded(b, t, 1.0)
    exact, (ln2, ln2_low) = b.fsub(t, n), parts("ln2", "double")
    r = b.fadd(exact, t_low)
    e = b.fmul(r, ln2)
    e_low = b.fma(b.fadd(b.fsub(exact, r), t_low), ln2, b.fma(r, ln2_low, b.fused(r, ln2, b.fneg(e))))
    small = b.fma(b.fmul(e, e), polynomial(b, e, "exp"), b.fma(e_low, e, e_low))
    p = one_plus(b, e, small)
    m, power = rounded(b, n, 0.5)
    _, other = rounded(b, b.fsub(n, m), 1.0)
    return b.fmul(b.fmul(p, power), other)


def _power_double(b: Builder, x: Value, y: Value) -> Value:
    """|x|^y with the exponent of two, y log2(x), in two doubles."""
    high, low = _log2_pair(b, x)
    high = _base_ends(b, x, high)
    t = b.fmul(y, high)
    t_low = b.fma(y, low, b.fused(y, high, b.fneg(t)))
    t_low = b.select(b.fcmp("olt", b.fabs(t), 1100.0), t_low, 0.0)
    return _exp2_of_pair(b, at_least(b, at_most(b, t, 1100.0), -1100.0), t_low)


def _power_float(b: Builder, x: Value, y: Value) -> Value:
    return b.fptrunc(_short_power(b, b.fpext(x, "double"), b.fpext(y, "double")), "float")


_power = by_type(_power_float, _power_double)


def pow_(b: Builder, x: Value, y: Value) -> Value:
    """As C99 has it: x^0 = 1^y = 1, negative x only to whole powers, signed zeros and infinities."""
    a = b.fabs(x)
    # an infinite exponent acts like a huge one, but does not turn log2(1) = 0 into NaN
    bound = 2.0**100
    result = _power(b, a, at_least(b, at_most(b, y, bound), -bound))
    half = b.fmul(y, 0.5)
    whole = b.fcmp("oeq", b.trunc(y), y)
    odd = b.and_(whole, b.fcmp("one", b.trunc(half), half))
    negative = b.icmp("slt", b.bits(x), 0)
    result = b.select(b.and_(negative, odd), b.fneg(result), result)
    finite_negative = b.and_(b.fcmp("olt", x, 0.0), b.fcmp("ogt", x, -INF))
    result = b.select(b.and_(finite_negative, b.not_(whole)), NAN, result)
    return b.select(b.or_(b.fcmp("oeq", x, 1.0), b.fcmp("oeq", y, 0.0)), 1.0, result)
