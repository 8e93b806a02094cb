"""Elementwise rows as LLVM instructions: one table keyed by the `llvm` column of the op table.

An expansion takes the builder, the dtype it computes in and values of that dtype in register form, all
scalars or all
vectors, and returns the result. 16-bit floats are computed in float32 and rounded, as the reference does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lazygrad import dtypes
from lazygrad.codegen.llvm_builder import Builder
from lazygrad.codegen.llvm_values import Value, constant, memory_type, register_type
from lazygrad.codegen.vector_math import expand
from lazygrad.dtypes import DType
from lazygrad.ops import OPS
from lazygrad.ops.elementwise import signed_between

Expansion = Callable[..., Value]


def compute(b: Builder, op: str, args: Sequence[Value], arg_dtypes: Sequence[DType], dtype: DType) -> Value:
    """The row `op` applied to register values; `dtype` is the result's."""
    name = OPS[op].llvm
    assert name is not None, op
    if op == "where":
        condition, x, y = args
        return b.select(condition, x, y)
    if op == "cast":
        return cast(b, args[0], arg_dtypes[0], dtype)
    if op == "bitcast":
        return bitcast(b, args[0], arg_dtypes[0], dtype)
    wide = arg_dtypes[0].accumulator
    inputs = [b.convert(x, d, wide) for x, d in zip(args, arg_dtypes, strict=True)]
    result = EXPANSIONS[name](b, wide, *inputs)
    return result if dtype == wide or dtype == dtypes.bool_ else b.convert(result, wide, dtype)


def cast(b: Builder, x: Value, source: DType, to: DType) -> Value:
    """x as another dtype, by the rules of `ops.elementwise.convert`."""
    if source.kind == "float" and to.is_integer:
        return _float_to_integer(b, x, to)
    return b.convert(x, source, to)


def _float_to_integer(b: Builder, x: Value, to: DType) -> Value:
    x = b.fpext(x, "float") if x.type == "half" else x
    middle = signed_between(to)
    limit = 2.0 ** (middle.bits - 1)
    # false for NaN; the select keeps fptosi defined
    inside = b.and_(b.fcmp("oge", x, -limit), b.fcmp("olt", x, limit))
    whole = b.select(inside, b.fptosi(b.select(inside, x, 0), register_type(middle)), middle.min)
    if to == dtypes.uint64:
        high = b.fcmp("oge", x, limit)
        upper = b.and_(high, b.fcmp("olt", x, 2 * limit))
        above = b.fptosi(b.select(upper, b.fsub(x, limit), 0), "i64")
        whole = b.select(high, b.select(upper, b.xor(above, middle.min), 0), whole)
    return b.resize(whole, register_type(to))


def bitcast(b: Builder, x: Value, source: DType, to: DType) -> Value:
    """The bits that x has in memory, read as another dtype of the same size."""
    bits = b.to_memory(x, source)
    if memory_type(source) != memory_type(to):
        bits = b.bitcast(bits, memory_type(to))
    return b.from_memory(bits, to)


def _by_kind(
    on_float: Expansion, on_int: Expansion, on_uint: Expansion | None = None, on_bool: Expansion | None = None
) -> Expansion:
    table = {
        "float": on_float,
        "int": on_int,
        "uint": on_uint or on_int,
        "bool": on_bool or on_uint or on_int,
    }

    def expansion(b: Builder, d: DType, *args: Value) -> Value:
        return table[d.kind](b, d, *args)

    return expansion


def _method(name: str) -> Expansion:
    return lambda b, d, *args: getattr(b, name)(*args)


def _math(name: str) -> Expansion:
    return lambda b, d, *args: expand(name, b, *args)


# ---- arithmetic


def _abs(b: Builder, d: DType, x: Value) -> Value:
    return b.select(b.icmp("slt", x, 0), b.neg(x), x)


def _same(b: Builder, d: DType, x: Value) -> Value:
    return x


def _sign(b: Builder, d: DType, x: Value) -> Value:
    if d.kind == "float":
        return b.select(b.fcmp("ogt", x, 0), 1, b.select(b.fcmp("olt", x, 0), b.like(x, -1), 0))
    negative = b.select(b.icmp("slt", x, 0), b.like(x, -1), 0)
    return b.select(b.icmp("sgt", x, 0), 1, negative)


def _uint_sign(b: Builder, d: DType, x: Value) -> Value:
    return b.zext(b.icmp("ne", x, 0), x.type)


def _extreme(predicate: str) -> Expansion:
    """maximum or minimum of floats: x where y is not beyond it, and NaN where either is NaN."""

    def expansion(b: Builder, d: DType, x: Value, y: Value) -> Value:
        beyond = b.select(b.fcmp(predicate, x, y), y, x)
        return b.select(b.fcmp("uno", y, y), y, beyond)

    return expansion


def _reciprocal(b: Builder, d: DType, x: Value) -> Value:
    return b.fdiv(b.like(x, 1), x)


def _rsqrt(b: Builder, d: DType, x: Value) -> Value:
    return b.fdiv(b.like(x, 1), b.sqrt(x))


# ---- division


def _safe_division(division: Expansion) -> Expansion:
    """Signed division with a divisor of 0 giving 0, and the least value by -1 wrapping (the processor would
    trap)."""

    def expansion(b: Builder, d: DType, x: Value, y: Value) -> Value:
        wraps = b.and_(b.icmp("eq", x, d.min), b.icmp("eq", y, -1))
        zero = b.icmp("eq", y, 0)
        safe = b.select(b.or_(wraps, zero), 1, y)
        return b.select(zero, 0, division(b, d, x, safe))

    return expansion


def _safe_uint_division(instruction: str) -> Expansion:
    def expansion(b: Builder, d: DType, x: Value, y: Value) -> Value:
        zero = b.icmp("eq", y, 0)
        return b.select(zero, 0, getattr(b, instruction)(x, b.select(zero, 1, y)))

    return expansion


def _signs_differ(b: Builder, d: DType, r: Value, y: Value) -> Value:
    """Whether a remainder is not zero and has not the divisor's sign."""
    if d.kind == "float":
        differ = b.xor(b.fcmp("olt", r, 0), b.fcmp("olt", y, 0))
        return b.and_(b.fcmp("une", r, 0), differ)
    return b.and_(b.icmp("ne", r, 0), b.icmp("slt", b.xor(r, y), 0))


def _int_floordiv(b: Builder, d: DType, x: Value, y: Value) -> Value:
    q = b.sdiv(x, y)
    r = b.sub(x, b.mul(q, y))
    return b.select(_signs_differ(b, d, r, y), b.sub(q, 1), q)


def _int_remainder(b: Builder, d: DType, x: Value, y: Value) -> Value:
    r = b.srem(x, y)
    return b.select(_signs_differ(b, d, r, y), b.add(r, y), r)


def _float_remainder(b: Builder, d: DType, x: Value, y: Value) -> Value:
    r = b.frem(x, y)
    return b.select(_signs_differ(b, d, r, y), b.fadd(r, y), r)


def _float_floordiv(b: Builder, d: DType, x: Value, y: Value) -> Value:
    # PyTorch's div_floor_floating: exact where x/y rounds up to an integer that it has not reached
    r = b.frem(x, y)
    q = b.fdiv(b.fsub(x, r), y)
    q = b.select(_signs_differ(b, d, r, y), b.fsub(q, 1), q)
    floor = b.floor(q)
    floor = b.select(b.fcmp("ogt", b.fsub(q, floor), 0.5), b.fadd(floor, 1), floor)
    true_quotient = b.fdiv(x, y)
    floor = b.select(b.fcmp("oeq", q, 0), b.copysign(b.like(x, 0), true_quotient), floor)
    return b.select(b.fcmp("oeq", y, 0), true_quotient, floor)


def _float_truncdiv(b: Builder, d: DType, x: Value, y: Value) -> Value:
    return b.trunc(b.fdiv(x, y))


def _int_power(b: Builder, d: DType, x: Value, y: Value) -> Value:
    """By squaring; a negative exponent gives 0, but for bases 1 and -1."""
    loop = b.begin_loop("bit", 0, d.bits, carried=(b.like(x, 1), x, y), names=("power", "base", "exponent"))
    power, base, rest = loop.carried
    odd = b.icmp("ne", b.and_(rest, 1), 0)
    power, _, _ = b.end_loop(
        loop, (b.select(odd, b.mul(power, base), power), b.mul(base, base), b.lshr(rest, 1))
    )
    if d.kind == "uint":
        return power
    odd = b.icmp("ne", b.and_(y, 1), 0)
    minus_one = b.select(b.icmp("eq", x, -1), b.select(odd, x, 1), 0)
    return b.select(b.icmp("slt", y, 0), b.select(b.icmp("eq", x, 1), 1, minus_one), power)


# ---- bits


def _shl(b: Builder, d: DType, x: Value, y: Value) -> Value:
    inside = b.icmp("ult", y, d.bits)
    return b.select(inside, b.shl(x, b.select(inside, y, 0)), 0)


def _int_shr(b: Builder, d: DType, x: Value, y: Value) -> Value:
    return b.ashr(x, b.select(b.icmp("ult", y, d.bits), y, d.bits - 1))


def _uint_shr(b: Builder, d: DType, x: Value, y: Value) -> Value:
    inside = b.icmp("ult", y, d.bits)
    return b.select(inside, b.lshr(x, b.select(inside, y, 0)), 0)


_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def _rotate(b: Builder, x: Value, count: int) -> Value:
    return b.or_(b.shl(x, count), b.lshr(x, 32 - count))


def _threefry(b: Builder, d: DType, counter: Value, key: Value) -> Value:
    """Threefry-2x32 of 20 rounds on the halves of 64-bit words, the low half first."""
    (x0, x1), (k0, k1) = ([b.truncate(v, "i32"), b.truncate(b.lshr(v, 32), "i32")] for v in (counter, key))
    keys = [k0, k1, b.xor(b.xor(k0, k1), 0x1BD11BDA)]
    x0, x1 = b.add(x0, keys[0]), b.add(x1, keys[1])
    for block in range(5):
        for count in _ROTATIONS[block % 2]:
            x0 = b.add(x0, x1)
            x1 = b.xor(_rotate(b, x1, count), x0)
        x0 = b.add(x0, keys[(block + 1) % 3])
        x1 = b.add(b.add(x1, keys[(block + 2) % 3]), block + 1)
    return b.or_(b.shl(b.zext(x1, "i64"), 32), b.zext(x0, "i64"))


# ---- comparison


def _comparison(on_float: str, on_int: str, on_uint: str) -> Expansion:
    predicates = {"float": on_float, "int": on_int, "uint": on_uint, "bool": on_uint}

    def expansion(b: Builder, d: DType, x: Value, y: Value) -> Value:
        return (b.fcmp if d.kind == "float" else b.icmp)(predicates[d.kind], x, y)

    return expansion


_AND, _OR = _method("and_"), _method("or_")
_MATH = (
    "pow",
    "atan2",
    "exp",
    "exp2",
    "expm1",
    "log",
    "log2",
    "log10",
    "log1p",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "sinh",
    "cosh",
    "tanh",
    "asinh",
    "acosh",
    "atanh",
    "erf",
    "erfc",
)
_FLOAT_MATH = {name: _math(name) for name in _MATH}

EXPANSIONS: dict[str, Expansion] = _FLOAT_MATH | {
    "add": _by_kind(_method("fadd"), _method("add"), on_bool=_OR),
    "sub": _by_kind(_method("fsub"), _method("sub")),
    "mul": _by_kind(_method("fmul"), _method("mul"), on_bool=_AND),
    "div": _method("fdiv"),
    "neg": _by_kind(_method("fneg"), _method("neg")),
    "abs": _by_kind(_method("fabs"), _abs, _same),
    "sign": _by_kind(_sign, _sign, _uint_sign),
    "reciprocal": _reciprocal,
    "floordiv": _by_kind(_float_floordiv, _safe_division(_int_floordiv), _safe_uint_division("udiv")),
    "truncdiv": _by_kind(_float_truncdiv, _safe_division(_method("sdiv")), _safe_uint_division("udiv")),
    "remainder": _by_kind(_float_remainder, _safe_division(_int_remainder), _safe_uint_division("urem")),
    "fmod": _by_kind(_method("frem"), _safe_division(_method("srem")), _safe_uint_division("urem")),
    "maximum": _by_kind(_extreme("olt"), _method("smax"), _method("umax"), _OR),
    "minimum": _by_kind(_extreme("ogt"), _method("smin"), _method("umin"), _AND),
    "pow": _by_kind(_FLOAT_MATH["pow"], _int_power),
    "sqrt": _method("sqrt"),
    "rsqrt": _rsqrt,
    "floor": _method("floor"),
    "ceil": _method("ceil"),
    "trunc": _method("trunc"),
    "round": _method("roundeven"),
    "bitand": _AND,
    "bitor": _OR,
    "bitxor": _method("xor"),
    "bitnot": _method("not_"),
    "shl": _shl,
    "shr": _by_kind(_int_shr, _int_shr, _uint_shr),
    "lt": _comparison("olt", "slt", "ult"),
    "le": _comparison("ole", "sle", "ule"),
    "eq": _comparison("oeq", "eq", "eq"),
    "ne": _comparison("une", "ne", "ne"),
    "threefry": _threefry,
}


def combine(b: Builder, op: str, x: Value, y: Value, dtype: DType) -> Value:
    """One step of a reduction of `dtype`."""
    return compute(b, op, (x, y), (dtype, dtype), dtype)


_IDENTITIES = {row.combine: row.identity for row in OPS.values() if row.kind == "reduce"}


def identity(op: str, dtype: DType, lanes: int = 0) -> Value:
    """The value that a reduction by `op` starts from, in register form."""
    rule = _IDENTITIES[op]
    assert rule is not None
    return constant(register_type(dtype), rule(dtype), lanes)
