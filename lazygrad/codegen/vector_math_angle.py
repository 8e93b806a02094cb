"""sin, cos, tan and their inverses for vector_math.

Up to a bound an angle is reduced by subtracting a multiple of pi in three parts. Beyond it, lanes that need
it are computed by a function of their own (emitted once a module), which multiplies the angle by 192 bits
of 1/(2 pi) in integers, so that every finite angle has the right value.
"""

from __future__ import annotations

from lazygrad.codegen.llvm_builder import Builder
from lazygrad.codegen.llvm_values import Value, type_text
from lazygrad.codegen.vector_math_core import FORMATS, odd_cube, parts, polynomial
from lazygrad.codegen.vector_math_tables import TURN_WORDS
from lazygrad.dtypes import int64

ANGLE_BOUND = {"float": 1e5, "double": 2.0**26}  # below, three parts of pi are enough
_LEAST_EXPONENT = 1011 + 16  # of angles whose digits of 1/(2 pi) begin inside the table


def _without_multiple(b: Builder, x: Value, n: Value, name: str) -> tuple[Value, Value]:
    """x - n * constant, and what rounding took from it."""
    first, second, third = parts(name, x.type)
    r = b.fused(n, -first, x)  # exact
    product = b.fmul(n, second)
    total = b.fsub(r, product)
    lost = b.fsub(b.fsub(r, total), product)
    more = b.fma(n, third, b.fused(n, second, b.fneg(product)))
    return total, b.fsub(lost, more)


def _sin_of(b: Builder, r: Value, low: Value) -> Value:
    """sin(r + low) for r up to pi/2."""
    z = b.fmul(r, r)
    correction = b.fmul(low, b.fma(z, -0.5, 1.0))  # low times about cos(r)
    return b.fadd(r, b.fma(b.fmul(r, z), polynomial(b, z, "sin"), correction))


def _flip_sign(b: Builder, x: Value, odd_bits: Value) -> Value:
    """-x where the lowest bit is one."""
    sign = b.shl(odd_bits, FORMATS[x.type].digits + (8 if x.type == "float" else 11))
    return b.bitcast(b.xor(b.bits(x), sign), x.type)


def _itself_if_small(b: Builder, x: Value, result: Value) -> Value:
    """x where it is its own sine and tangent: keeps -0."""
    return b.select(b.fcmp("olt", b.fabs(x), 2.0 ** -(FORMATS[x.type].digits // 2 + 2)), x, result)


def _sin_near(b: Builder, x: Value) -> Value:
    rounder = FORMATS[x.type].rounder
    shifted = b.fma(x, 1.0 / parts("pi", "double")[0], rounder)
    r, low = _without_multiple(b, x, b.fsub(shifted, rounder), "pi")
    return _itself_if_small(b, x, _flip_sign(b, _sin_of(b, r, low), b.bits(shifted)))


def _cos_near(b: Builder, x: Value) -> Value:
    """sin(x + pi/2): the multiples of pi taken off are half-integers."""
    rounder = FORMATS[x.type].rounder
    shifted = b.fadd(b.fma(x, 1.0 / parts("pi", "double")[0], -0.5), rounder)
    r, low = _without_multiple(b, x, b.fadd(b.fsub(shifted, rounder), 0.5), "pi")
    return _flip_sign(b, _sin_of(b, r, low), b.add(b.bits(shifted), 1))


def _tan_ratio(b: Builder, r: Value, low: Value, odd: Value) -> Value:
    """tan(r + low), or -1 / tan where odd, for r up to pi/4."""
    z = b.fmul(r, r)
    if r.type == "float":
        # r last, so that its digits are rounded once
        t = b.fadd(r, b.fma(b.fmul(r, z), polynomial(b, z, "tan"), b.fmul(low, b.fadd(z, 1.0))))
        return b.fdiv(b.select(odd, -1.0, t), b.select(odd, t, 1.0))
    s = b.fadd(r, b.fma(b.fmul(r, z), polynomial(b, z, "sin_eighth"), low))
    c = b.fma(b.fmul(z, z), polynomial(b, z, "cos_eighth"), b.fma(z, -0.5, 1.0))
    c = b.fma(b.fneg(r), low, c)
    return b.fdiv(b.select(odd, b.fneg(c), s), b.select(odd, s, c))


def _tan_near(b: Builder, x: Value) -> Value:
    rounder = FORMATS[x.type].rounder
    shifted = b.fma(x, 1.0 / parts("half_pi", "double")[0], rounder)
    r, low = _without_multiple(b, x, b.fsub(shifted, rounder), "half_pi")
    odd = b.icmp("ne", b.and_(b.bits(shifted), 1), 0)
    return _itself_if_small(b, x, _tan_ratio(b, r, low, odd))


# ---- huge angles, in doubles


def _turn_fraction(b: Builder, x: Value) -> tuple[Value, Value]:
    """|x| / (2 pi) modulo 1 as 128 bits: the high and the low 64."""
    bits = b.bits(x)
    exponent = b.smax(b.and_(b.lshr(bits, 52), 0x7FF), _LEAST_EXPONENT)
    exponent = b.smin(exponent, 2046)
    digits = b.or_(b.and_(bits, (1 << 52) - 1), 1 << 52)
    first_bit = b.sub(exponent, 1011)
    word, shift = b.lshr(first_bit, 5), b.and_(first_bit, 31)
    table = b.module.table("turn_words", "i64", TURN_WORDS)
    words = [b.load(b.element(table, "i64", b.add(word, k)), int64) for k in range(7)]
    down, mask = b.sub(b.like(shift, 32), shift), 0xFFFFFFFF
    window = [
        b.and_(b.lshr(b.or_(b.shl(a, 32), c), down), mask) for a, c in zip(words, words[1:], strict=False)
    ]
    low_digits, high_digits = b.and_(digits, mask), b.lshr(digits, 32)
    by_low = [b.mul(w, low_digits) for w in window[:5]]
    by_high = [b.mul(w, high_digits) for w in window]
    columns: list[Value] = []
    carry = b.like(bits, 0)
    for k in (3, 2, 1, 0):
        column = b.add(b.and_(by_low[k], mask), b.lshr(by_low[k + 1], 32))
        column = b.add(column, b.and_(by_high[k + 1], mask))
        column = b.add(b.add(column, b.lshr(by_high[k + 2], 32)), carry)
        carry = b.lshr(column, 32)
        columns.append(column)
    low = b.or_(b.shl(columns[1], 32), b.and_(columns[0], mask))
    return b.or_(b.shl(columns[3], 32), b.and_(columns[2], mask)), low


def _angle(b: Builder, high: Value, low: Value) -> tuple[Value, Value]:
    """A signed fraction of a turn as an angle and what rounding took from it."""
    main = b.sitofp(high, "double")
    rest = b.fma(b.uitofp(low, "double"), 2.0**-64, b.sitofp(b.sub(high, b.fptosi(main, "i64")), "double"))
    scale, scale_low = (part * 2.0**-64 for part in parts("two_pi", "double"))
    r = b.fmul(main, scale)
    lost = b.fused(main, scale, b.fneg(r))
    return r, b.fma(rest, scale, b.fma(main, scale_low, lost))


def _sin_far(b: Builder, x: Value, quarter: int) -> Value:
    high, low = _turn_fraction(b, x)
    high = b.add(high, quarter << 62)
    half = b.lshr(b.add(high, 1 << 62), 63)
    result = _sin_of(b, *_angle(b, b.sub(high, b.shl(half, 63)), low))
    negative = half if quarter else b.add(half, b.lshr(b.bits(x), 63))
    return _flip_sign(b, result, negative)


def _tan_far(b: Builder, x: Value) -> Value:
    high, low = _turn_fraction(b, x)
    quarter = b.lshr(b.add(high, 1 << 61), 62)
    odd = b.icmp("ne", b.and_(quarter, 1), 0)
    result = _tan_ratio(b, *_angle(b, b.sub(high, b.shl(quarter, 62)), low), odd)
    return _flip_sign(b, result, b.lshr(b.bits(x), 63))


_FAR = {
    "sin": lambda b, x: _sin_far(b, x, 0),
    "cos": lambda b, x: _sin_far(b, x, 1),
    "tan": _tan_far,
}
_NEAR = {"sin": _sin_near, "cos": _cos_near, "tan": _tan_near}


def _far_function(b: Builder, name: str, lanes: int) -> str:
    """The module's function for huge angles, emitted at its first use."""
    function = f"{name}_of_huge{f'_v{lanes}' if lanes else ''}"
    type_ = type_text("double", lanes)
    if not b.module.has_function(function):
        far = b.module.function(function, [("x", type_)], type_, linkage="internal", attributes="noinline")
        (x,) = far.parameters
        result = _FAR[name](far, x)
        far.ret(far.select(far.fcmp("olt", far.fabs(x), float("inf")), result, float("nan")))
    return function


def _circular(name: str, b: Builder, x: Value) -> Value:
    near = _NEAR[name](b, x)
    huge = b.fcmp("ogt", b.fabs(x), ANGLE_BOUND[x.type])
    somewhere = b.any_lane(huge)
    before, slow, join = b.block, b.label(f"{name}_huge"), b.label(f"{name}_done")
    b.branch_if(somewhere, slow, join)
    b.place(slow)
    wide = x if x.type == "double" else b.fpext(x, "double")
    far = b.call(_far_function(b, name, x.lanes), "double", [wide], x.lanes)
    mixed = b.select(huge, far if x.type == "double" else b.fptrunc(far, "float"), near)
    b.branch(join)
    b.place(join)
    return b.phi([(near, before), (mixed, slow)], name)


def sin(b: Builder, x: Value) -> Value:
    return _circular("sin", b, x)


def cos(b: Builder, x: Value) -> Value:
    return _circular("cos", b, x)


def tan(b: Builder, x: Value) -> Value:
    return _circular("tan", b, x)


# ---- inverses


def atan(b: Builder, x: Value) -> Value:
    """|x| > 1 goes through -1/x."""
    a = b.fabs(x)
    steep = b.fcmp("ogt", a, 1.0)
    t = b.fdiv(b.select(steep, -1.0, a), b.select(steep, a, 1.0))
    p = odd_cube(b, t, b.fmul(t, t), "atan")
    high, low = parts("half_pi", x.type)[:2]
    zero = b.like(x, 0.0)
    return b.copysign(b.fadd(b.select(steep, high, zero), b.fadd(p, b.select(steep, low, zero))), x)


def atan2(b: Builder, y: Value, x: Value) -> Value:
    """The angle of (x, y), from the smaller over the larger coordinate."""
    across, up = b.fabs(x), b.fabs(y)
    steep = b.fcmp("ogt", up, across)
    small, large = b.select(steep, across, up), b.select(steep, up, across)
    t = b.fdiv(small, large)
    t = b.select(b.fcmp("oeq", large, 0.0), 0.0, t)
    t = b.select(b.fcmp("oeq", small, float("inf")), 1.0, t)
    p = odd_cube(b, t, b.fmul(t, t), "atan")
    left = b.icmp("slt", b.bits(x), 0)
    p = b.select(b.xor(steep, left), b.fneg(p), p)
    (pi, pi_low), (half, half_low) = parts("pi", x.type)[:2], parts("half_pi", x.type)[:2]
    base = b.select(steep, half, b.select(left, pi, b.like(x, 0.0)))
    base_low = b.select(steep, half_low, b.select(left, pi_low, b.like(x, 0.0)))
    result = b.copysign(b.fadd(base, b.fadd(p, base_low)), y)
    return b.select(b.fcmp("uno", x, y), float("nan"), result)


def _asin_pieces(b: Builder, x: Value) -> tuple[Value, Value]:
    """Whether |x| <= 1/2, and asin(|x|) there, elsewhere asin(sqrt((1 - |x|) / 2)) = acos(|x|) / 2."""
    a = b.fabs(x)
    central = b.fcmp("ole", a, 0.5)
    z = b.select(central, b.fmul(x, x), b.fma(a, -0.5, 0.5))
    s = b.select(central, a, b.sqrt(z))
    return central, odd_cube(b, s, z, "asin")


def asin(b: Builder, x: Value) -> Value:
    central, p = _asin_pieces(b, x)
    high, low = parts("half_pi", x.type)[:2]
    outer = b.fadd(b.fma(p, -2.0, high), low)
    return b.copysign(b.select(central, p, outer), x)


def acos(b: Builder, x: Value) -> Value:
    central, p = _asin_pieces(b, x)
    negative = b.icmp("slt", b.bits(x), 0)
    high, low = parts("half_pi", x.type)[:2]
    signed = b.copysign(p, x)
    middle = b.fsub(b.like(x, high), b.fsub(signed, low))
    twice = b.fadd(p, p)
    outer = b.select(negative, b.fadd(b.fsub(b.like(x, 2 * high), twice), 2 * low), twice)
    return b.select(central, middle, outer)
