"""What vector_math is made of: polynomials, powers of two, logarithms and exponentials in pieces.

Every function takes a Builder and float or double Values (vectors or scalars) and appends instructions
without branches. No intermediate is LLVM's poison: integers come out of floats by adding a large number and
reading the bits, so NaN and infinity pass through.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lazygrad.codegen.llvm_builder import Builder
from lazygrad.codegen.llvm_values import Value, mangled
from lazygrad.codegen.vector_math_tables import PARTS, POLYNOMIALS

INF, NAN = float("inf"), float("nan")


@dataclass(frozen=True)
class Format:
    """A float type: digits of the mantissa, bias of the exponent, and where exp and its kin end."""

    digits: int
    bias: int
    least_normal: float
    exp_low: float  # exp is 0 below
    exp_high: float  # exp is infinite above
    exp2_low: float
    exp2_high: float
    expm1_low: float  # expm1 is -1 below
    tanh_end: float  # tanh is 1 above

    @property
    def rounder(self) -> float:
        """Adding it rounds to an integer, which is then in the low bits."""
        return 1.5 * 2.0**self.digits


FORMATS = {
    "float": Format(23, 127, 2.0**-126, -104.0, 89.0, -151.0, 129.0, -18.0, 10.0),
    "double": Format(52, 1023, 2.0**-1022, -746.0, 710.0, -1076.0, 1025.0, -38.0, 20.0),
}


def polynomial(b: Builder, x: Value, name: str) -> Value:
    """The table's polynomial of x, by Horner's rule."""
    *rest, last = POLYNOMIALS[name][x.type]
    result = b.like(x, last)
    for coefficient in reversed(rest):
        result = b.fma(result, x, coefficient)
    return result


def parts(name: str, type_: str) -> tuple[float, ...]:
    """A constant as a sum of numbers of the type, the largest first."""
    return PARTS[name][type_]


def ln2_parts(type_: str, fused: bool = False) -> tuple[float, float]:
    """log(2) as a sum of two numbers, of which the first times any exponent is exact, unless multiply-adds
    are fused anyway."""
    high, low = PARTS["ln2"][type_]
    if fused:
        return high, low
    head = int(high * 2.0 ** _HEAD_DIGITS[type_]) / 2.0 ** _HEAD_DIGITS[type_]
    return head, high - head + low


_HEAD_DIGITS = {"float": 15, "double": 42}  # beside those of an exponent


def at_most(b: Builder, x: Value, bound: float) -> Value:
    """The smaller of x and bound; NaN stays."""
    return b.select(b.fcmp("ogt", x, bound), bound, x)


def at_least(b: Builder, x: Value, bound: float) -> Value:
    """The larger of x and bound; NaN stays."""
    return b.select(b.fcmp("olt", x, bound), bound, x)


def odd_cube(b: Builder, x: Value, square: Value, name: str) -> Value:
    """x + x^3 q(x^2)."""
    return b.fused(b.fmul(x, square), polynomial(b, square, name), x)


def widened(function: Callable[..., Value]) -> Callable[..., Value]:
    """A function on doubles, as a function on floats: computed wide, rounded once."""

    def emit(b: Builder, *xs: Value) -> Value:
        return b.fptrunc(function(b, *(b.fpext(x, "double") for x in xs)), "float")

    return emit


def by_type(for_float: Callable[..., Value], for_double: Callable[..., Value]) -> Callable[..., Value]:
    """The function that suits the type of its first value."""

    def emit(b: Builder, x: Value, *others: Value) -> Value:
        return (for_float if x.type == "float" else for_double)(b, x, *others)

    return emit


# ---- exponentials


def rounded(b: Builder, x: Value, factor: float, offset: int = 0) -> tuple[Value, Value]:
    """n, the integer nearest to x * factor, and the power 2^(n + offset) (if it is a normal number)."""
    form = FORMATS[x.type]
    shift = form.rounder + form.bias + offset
    shifted = b.fma(x, factor, shift)
    power = b.bitcast(b.shl(b.bits(shifted), form.digits), x.type)
    return b.fsub(shifted, shift), power


def exp_pieces(b: Builder, x: Value) -> tuple[Value, Value]:
    """p and s with exp(x) = p * s * s, so that neither product overflows or rounds before exp itself does."""
    return (_exp_pieces_float if x.type == "float" else _exp_pieces_double)(b, x)


def _exp_pieces_double(b: Builder, x: Value) -> tuple[Value, Value]:
    """x - n log(2) in two doubles, the first of them exact, so that little but the last rounding is left."""
    n, _ = rounded(b, x, parts("log2e", "double")[0])
    head, tail = ln2_parts(x.type)
    exact = b.fma(n, -head, x)
    small = b.fmul(n, tail)
    r = b.fsub(exact, small)
    r_low = b.fsub(b.fsub(exact, r), small)
    p = one_plus(b, r, b.fma(b.fmul(r, r), polynomial(b, r, "exp"), r_low))
    m, power = rounded(b, n, 0.5)
    _, odd_power = rounded(b, b.fma(m, -2.0, n), 1.0)
    return b.fmul(p, odd_power), power


def one_plus(b: Builder, x: Value, small: Value) -> Value:
    """1 + x + small for |x| < 1, rounded nearly once."""
    high = b.fadd(x, 1.0)
    return b.fadd(high, b.fadd(b.fadd(b.fsub(b.like(x, 1.0), high), x), small))


def _exp_pieces_float(b: Builder, x: Value) -> tuple[Value, Value]:
    t, power = _exp_less_one(b, x)
    return b.fadd(t, 1.0), power


def _exp_less_one(b: Builder, x: Value) -> tuple[Value, Value]:
    """t and s with exp(x) = (1 + t) * s * s for floats, |t| up to 1."""
    log2e, (high, low) = parts("log2e", x.type)[0], ln2_parts(x.type, b.abilities.fuses)
    n, power = rounded(b, x, 0.5 * log2e)  # half the exponent: a wider interval costs less than two powers
    r = b.fma(n, -2 * low, b.fma(n, -2 * high, x))
    return b.fma(b.fmul(r, r), polynomial(b, r, "exp"), r), power


def exp(b: Builder, x: Value) -> Value:
    form = FORMATS[x.type]
    x = at_least(b, at_most(b, x, form.exp_high), form.exp_low)
    if x.type == "float" and b.abilities.scales:
        return _exp_scaled(b, x)
    p, s = exp_pieces(b, x)
    return b.fmul(b.fmul(p, s), s)


def _exp_scaled(b: Builder, x: Value) -> Value:
    """exp of a float by one multiplication with 2^n, whatever n is."""
    rounder, (high, low) = FORMATS[x.type].rounder, parts("ln2", x.type)
    shifted = b.fma(x, parts("log2e", x.type)[0], rounder)
    n = b.fsub(shifted, rounder)
    r = b.fma(n, -low, b.fma(n, -high, x))
    p = b.fadd(b.fma(b.fmul(r, r), polynomial(b, r, "exp_near"), r), 1.0)
    exponent = b.sub(b.bits(shifted), b.bits(b.const(x.type, rounder, x.lanes)))
    names = f"{mangled(p.type, p.lanes)}.{mangled(exponent.type, p.lanes)}"
    return b.intrinsic("ldexp", p.type, p.lanes, (p, exponent), names)


def exp2(b: Builder, x: Value) -> Value:
    form = FORMATS[x.type]
    x = at_least(b, at_most(b, x, form.exp2_high), form.exp2_low)
    if b.abilities.fuses:
        n, s = rounded(b, x, 0.5)
        r, other = b.fma(n, -2.0, x), s
    else:  # what two roundings lose is less in half the interval
        n, _ = rounded(b, x, 1.0)
        r, (half, s) = b.fsub(x, n), rounded(b, n, 0.5)
        _, other = rounded(b, b.fsub(n, half), 1.0)
    p = b.fma(r, polynomial(b, r, "exp2"), 1.0)
    return b.fmul(b.fmul(p, s), other)


def expm1_pieces(b: Builder, x: Value, offset: int = 0) -> tuple[Value, Value]:
    """p and s with exp(x) - 1 = (s p + s - 2^offset) / 2^offset, s = 2^(n + offset)."""
    log2e, (high, low) = parts("log2e", x.type)[0], ln2_parts(x.type, b.abilities.fuses)
    n, s = rounded(b, x, log2e, offset)
    r = b.fma(n, -low, b.fma(n, -high, x))
    return b.fma(b.fmul(r, r), polynomial(b, r, "expm1"), r), s


def expm1(b: Builder, x: Value) -> Value:
    form = FORMATS[x.type]
    # halved, so that 2^n does not overflow before the result does
    p, s = expm1_pieces(b, at_least(b, at_most(b, x, form.exp_high), form.expm1_low), offset=-1)
    half = b.fma(s, p, b.fsub(s, 0.5))
    small = b.fcmp("olt", b.fabs(x), 2.0 ** -(form.digits + 2))
    return b.select(small, x, b.fadd(half, half))


def tanh(b: Builder, x: Value) -> Value:
    """(exp(2a) - 1) / (exp(2a) + 1) of a = |x|."""
    a = at_most(b, b.fabs(x), FORMATS[x.type].tanh_end)
    p, s = expm1_pieces(b, b.fadd(a, a))
    e = b.fma(s, p, b.fsub(s, 1.0))
    return b.copysign(b.fdiv(e, b.fadd(e, 2.0)), x)


def _half_exp(b: Builder, x: Value) -> tuple[Value, Value | None]:
    """exp(|x|) / 2, which is finite a little longer than exp, and for floats what rounding took from it:
    the difference of two exponentials may lie in a finer binade."""
    a = at_most(b, b.fabs(x), FORMATS[x.type].exp_high + 1.0)
    if x.type == "double":
        p, s = exp_pieces(b, a)
        return b.fmul(b.fmul(b.fmul(p, 0.5), s), s), None
    t, s = _exp_less_one(b, a)
    p = b.fadd(t, 1.0)
    lost = b.fsub(t, b.fsub(p, 1.0))
    return b.fmul(b.fmul(b.fmul(p, 0.5), s), s), b.fmul(b.fmul(b.fmul(lost, 0.5), s), s)


def sinh(b: Builder, x: Value) -> Value:
    h, lost = _half_exp(b, x)
    other = b.fdiv(b.like(h, 0.25), h)
    large = b.copysign(b.fsub(h, other) if lost is None else b.fadd(h, b.fsub(lost, other)), x)
    small = odd_cube(b, x, b.fmul(x, x), "sinh")
    return b.select(b.fcmp("olt", b.fabs(x), 1.0), small, large)


def cosh(b: Builder, x: Value) -> Value:
    h, lost = _half_exp(b, x)
    other = b.fdiv(b.like(h, 0.25), h)
    return b.fadd(h, other if lost is None else b.fadd(lost, other))


# ---- logarithms


def mantissa(b: Builder, x: Value, subnormals: bool = True) -> tuple[Value, Value]:
    """m between sqrt(1/2) and sqrt(2), and a float e, with x = m 2^e, for finite x > 0."""
    form = FORMATS[x.type]
    digits, tiny = form.digits, None
    if subnormals:
        tiny = b.fcmp("olt", x, form.least_normal)
        x = b.select(tiny, b.fmul(x, 2.0 ** (digits + 2)), x)
    bits = b.bits(x)
    root = b.bits(b.const(x.type, 0.5**0.5, x.lanes))
    exponent = b.ashr(b.sub(bits, root), digits)
    m = b.bitcast(b.sub(bits, b.shl(exponent, digits)), x.type)
    e = b.sitofp(exponent, x.type)
    return m, e if tiny is None else b.select(tiny, b.fsub(e, float(digits + 2)), e)


def log1p_rest(b: Builder, f: Value) -> Value:
    """log(1 + f) - f, for 1 + f between sqrt(1/2) and sqrt(2)."""
    if f.type == "float":
        return b.fmul(b.fmul(f, f), b.fma(f, polynomial(b, f, "log"), -0.5))
    s = b.fdiv(f, b.fadd(f, 2.0))
    z = b.fmul(s, s)
    half_square = b.fmul(b.fmul(f, 0.5), f)
    tail = b.fmul(z, polynomial(b, z, "log_series"))
    return b.fsub(b.fmul(s, b.fadd(half_square, tail)), half_square)


def log_of_pieces(b: Builder, f: Value, e: Value) -> Value:
    """log((1 + f) 2^e)."""
    high, low = ln2_parts(f.type, b.abilities.fuses)
    return b.fma(e, high, b.fadd(f, b.fma(e, low, log1p_rest(b, f))))


def log_positive(b: Builder, x: Value) -> Value:
    """log of a finite normal x > 0; of anything else some number."""
    m, e = mantissa(b, x, subnormals=False)
    return log_of_pieces(b, b.fsub(m, 1.0), e)


def log_ends(b: Builder, x: Value, result: Value) -> Value:
    """The result where x > 0 is finite; inf and NaN of themselves, -inf of zero, NaN of negative numbers."""
    result = b.select(b.fcmp("olt", x, INF), result, x)
    outside = b.select(b.fcmp("oeq", x, 0.0), b.like(x, -INF), NAN)
    return b.select(b.fcmp("ole", x, 0.0), outside, result)


def log(b: Builder, x: Value) -> Value:
    m, e = mantissa(b, x)
    return log_ends(b, x, log_of_pieces(b, b.fsub(m, 1.0), e))


def _log_in_base(b: Builder, x: Value, scale: tuple[float, ...], unit: tuple[float, ...]) -> Value:
    """log(x) * scale; an exponent counts `unit`. Both come in two parts, so that whole results are whole."""
    m, e = mantissa(b, x)
    f = b.fsub(m, 1.0)
    main = b.fmul(f, scale[0])
    rest = b.fused(log1p_rest(b, f), scale[0], b.fma(f, scale[1], b.fused(f, scale[0], b.fneg(main))))
    whole = b.fmul(e, unit[0])
    if unit[1]:
        rest = b.fadd(rest, b.fma(e, unit[1], b.fused(e, unit[0], b.fneg(whole))))
    total = b.fadd(whole, main)
    lost = b.fadd(b.fsub(whole, total), main)
    return log_ends(b, x, b.fadd(total, b.fadd(lost, rest)))


def log2(b: Builder, x: Value) -> Value:
    return _log_in_base(b, x, parts("log2e", x.type), (1.0, 0.0))


def log10(b: Builder, x: Value) -> Value:
    return _log_in_base(b, x, parts("log10e", x.type), parts("log10_2", x.type))


def _log1p_finite(b: Builder, x: Value) -> Value:
    """log(1 + x) for finite x > -1; the rounding of 1 + x is made good by scaling x itself."""
    form = FORMATS[x.type]
    m, e = mantissa(b, b.fadd(x, 1.0), subnormals=False)
    exponent_bits = b.sub(b.bits(m), b.bits(b.fadd(x, 1.0)))  # -e in the exponent's place
    scale = b.bitcast(b.add(exponent_bits, form.bias << form.digits), x.type)
    f = b.fma(x, scale, b.fsub(scale, 1.0))
    f = b.select(b.fcmp("ogt", x, 2.0 ** (form.digits + 7)), b.fsub(m, 1.0), f)
    return log_of_pieces(b, f, e)


def log1p(b: Builder, x: Value) -> Value:
    result = log_ends(b, b.fadd(x, 1.0), _log1p_finite(b, x))
    return b.select(b.fcmp("oeq", x, 0.0), x, result)


# ---- inverse hyperbolic functions


def _asinh_wide(b: Builder, x: Value) -> Value:
    """asinh on doubles that came from floats: no square overflows, and log's error is far below a float's."""
    a = b.fabs(x)
    large = log_positive(b, b.fadd(a, b.sqrt(b.fma(a, a, 1.0))))
    z = b.fmul(a, a)
    small = b.fma(b.fmul(a, z), b.fma(z, 3.0 / 40, -1.0 / 6), a)
    result = b.select(b.fcmp("olt", a, 2.0**-6), small, large)
    return b.copysign(b.select(b.fcmp("olt", a, INF), result, a), x)


def _acosh_wide(b: Builder, x: Value) -> Value:
    result = log_positive(b, b.fadd(x, b.sqrt(b.fma(x, x, -1.0))))
    result = b.select(b.fcmp("olt", x, INF), result, x)
    return b.select(b.fcmp("olt", x, 1.0), NAN, result)


def _atanh_wide(b: Builder, x: Value) -> Value:
    a = b.fabs(x)
    large = b.fmul(log_positive(b, b.fdiv(b.fadd(a, 1.0), b.fsub(b.like(a, 1.0), a))), 0.5)
    z = b.fmul(a, a)
    small = b.fma(b.fmul(a, z), b.fma(z, 1.0 / 5, 1.0 / 3), a)
    result = b.select(b.fcmp("olt", a, 2.0**-6), small, large)
    return b.copysign(_atanh_ends(b, a, result), x)


def _atanh_ends(b: Builder, a: Value, result: Value) -> Value:
    at_one = b.select(b.fcmp("oeq", a, 1.0), b.like(a, INF), NAN)
    return b.select(b.fcmp("olt", a, 1.0), result, at_one)


def _asinh_double(b: Builder, x: Value) -> Value:
    """log1p(a + a^2 / (1 + sqrt(1 + a^2))); log(a) + log(2) for large a."""
    a = b.fabs(x)
    large = b.fcmp("ogt", a, 2.0**60)
    z = b.fmul(a, a)
    grown = b.fadd(a, b.fdiv(z, b.fadd(b.sqrt(b.fadd(z, 1.0)), 1.0)))
    result = _log1p_finite(b, b.select(large, a, grown))
    result = b.fadd(result, b.select(large, parts("ln2", x.type)[0], b.like(a, 0.0)))
    return b.copysign(b.select(b.fcmp("olt", a, INF), result, a), x)


def _acosh_double(b: Builder, x: Value) -> Value:
    """log1p(u + sqrt(2 u + u^2)) of u = x - 1; log(x) + log(2) for large x."""
    large = b.fcmp("ogt", x, 2.0**60)
    u = b.fsub(x, 1.0)
    grown = b.fadd(u, b.sqrt(b.fma(u, u, b.fadd(u, u))))
    result = _log1p_finite(b, b.select(large, x, grown))
    result = b.fadd(result, b.select(large, parts("ln2", x.type)[0], b.like(x, 0.0)))
    result = b.select(b.fcmp("olt", x, INF), result, x)
    return b.select(b.fcmp("olt", x, 1.0), NAN, result)


def _atanh_double(b: Builder, x: Value) -> Value:
    """log1p(2 a / (1 - a)) / 2."""
    a = b.fabs(x)
    result = b.fmul(_log1p_finite(b, b.fdiv(b.fadd(a, a), b.fsub(b.like(a, 1.0), a))), 0.5)
    return b.copysign(_atanh_ends(b, a, result), x)


asinh = by_type(widened(_asinh_wide), _asinh_double)
acosh = by_type(widened(_acosh_wide), _acosh_double)
atanh = by_type(widened(_atanh_wide), _atanh_double)
