"""The elementwise rows in OpenCL C: types, literals,
and the helper functions of which a kernel takes those it uses.

Values of float16 and bfloat16 are floats that the type can hold; bool is `bool`, and a uchar in memory.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator

import numpy as np

from lazygrad import dtypes
from lazygrad.dtypes import DType
from lazygrad.graph import Scalar
from lazygrad.ops.elementwise import signed_between
from lazygrad.ops.table import OPS

C_TYPE = {
    "bool": "bool",
    "uint8": "uchar",
    "uint16": "ushort",
    "uint32": "uint",
    "uint64": "ulong",
    "int8": "char",
    "int16": "short",
    "int32": "int",
    "int64": "long",
    "float16": "float",
    "bfloat16": "float",
    "float32": "float",
    "float64": "double",
}
MEMORY_TYPE = C_TYPE | {"bool": "uchar", "float16": "half", "bfloat16": "ushort"}
_LEAST = {"int8": "CHAR_MIN", "int16": "SHRT_MIN", "int32": "INT_MIN", "int64": "LONG_MIN"}
_SUFFIX = {"uint32": "u", "uint64": "ul", "int64": "L"}

# Rows whose result a 16-bit float can hold whenever it can hold the operands: no rounding afterwards.
EXACT = frozenset(
    {
        "neg",
        "abs",
        "sign",
        "maximum",
        "minimum",
        "where",
        "floor",
        "ceil",
        "trunc",
        "round",
        "fmod",
        "bitcast",
    }
)
_WRAPPING = {"add": "+", "sub": "-", "mul": "*"}


def is_short_float(d: DType) -> bool:
    """float16 and bfloat16: computed as float, rounded after each step."""
    return d.kind == "float" and d.itemsize == 2


def literal(value: Scalar, d: DType) -> str:
    """A constant as OpenCL C reads it back bit for bit."""
    if d.kind == "bool":
        return "true" if value else "false"
    if d.kind != "float":
        if d.name in _LEAST and value == d.min:
            return _LEAST[d.name]
        text = f"{int(value)}{_SUFFIX.get(d.name, '')}"
        return f"({text})" if int(value) < 0 else text
    if math.isnan(value):
        return "NAN"
    if math.isinf(value):
        return "INFINITY" if value > 0 else "(-INFINITY)"
    text = repr(float(value)) if d.itemsize == 8 else str(np.float32(value))
    text += "" if "." in text or "e" in text else ".0"
    text += "" if d.itemsize == 8 else "f"
    return f"({text})" if text.startswith("-") else text


# Helper functions, by name: `maximum_float32`. Each is one C function, and may call others.


def _unsigned(d: DType) -> str:
    """The unsigned type in which arithmetic of d wraps:
    C leaves the overflow of signed and short types undefined."""
    return "ulong" if d.itemsize == 8 else "uint"


def _wrapping(d: DType) -> Iterator[str]:
    c, u = C_TYPE[d.name], _unsigned(d)
    for name, symbol in _WRAPPING.items():
        yield f"{c} {name}_{d.name}({c} x, {c} y) {{ return ({c})(({u})x {symbol} ({u})y); }}"
    yield f"{c} neg_{d.name}({c} x) {{ return ({c})(0 - ({u})x); }}"


def _integer_division(d: DType) -> Iterator[str]:
    c, t = C_TYPE[d.name], d.name
    if d.kind == "uint":
        for name, symbol in (("floordiv", "/"), ("truncdiv", "/"), ("remainder", "%"), ("fmod", "%")):
            yield f"{c} {name}_{t}({c} x, {c} y) {{ return y == 0 ? 0 : x {symbol} y; }}"
        return
    # the least integer divided by -1 overflows, and traps on x86
    yield f"""{c} floordiv_{t}({c} x, {c} y) {{
  if (y == 0) return 0;
  if (y == -1) return neg_{t}(x);
  return x / y - (x % y != 0 && (x < 0) != (y < 0));
}}"""
    yield f"""{c} truncdiv_{t}({c} x, {c} y) {{
  if (y == 0) return 0;
  return y == -1 ? neg_{t}(x) : x / y;
}}"""
    yield f"""{c} remainder_{t}({c} x, {c} y) {{
  if (y == 0 || y == -1) return 0;
  {c} r = x % y;
  return r != 0 && (r < 0) != (y < 0) ? r + y : r;
}}"""
    yield f"{c} fmod_{t}({c} x, {c} y) {{ return y == 0 || y == -1 ? 0 : x % y; }}"


def _integer(d: DType) -> Iterator[str]:
    c, u, t = C_TYPE[d.name], _unsigned(d), d.name
    yield from _wrapping(d)
    yield from _integer_division(d)
    signed = d.kind == "int"
    yield f"{c} abs_{t}({c} x) {{ return {f'x < 0 ? neg_{t}(x) : x' if signed else 'x'}; }}"
    yield f"{c} sign_{t}({c} x) {{ return (x > 0){' - (x < 0)' if signed else ''}; }}"
    yield f"{c} maximum_{t}({c} x, {c} y) {{ return x > y ? x : y; }}"
    yield f"{c} minimum_{t}({c} x, {c} y) {{ return x < y ? x : y; }}"
    yield f"{c} bitnot_{t}({c} x) {{ return ({c})~x; }}"
    inside = f"y >= 0 && y < {d.bits}" if signed else f"y < {d.bits}"
    yield f"{c} shl_{t}({c} x, {c} y) {{ return {inside} ? ({c})(({u})x << y) : 0; }}"
    beyond = "(x < 0 ? -1 : 0)" if signed else "0"
    yield f"{c} shr_{t}({c} x, {c} y) {{ return {inside} ? x >> y : {beyond}; }}"
    negative = "  if (y < 0) return x == 1 ? 1 : x == -1 ? (y & 1 ? -1 : 1) : 0;\n" if signed else ""
    yield f"""{c} pow_{t}({c} x, {c} y) {{
{negative}  {u} power = 1, base = ({u})x;
  for (; y != 0; y >>= 1, base *= base) if (y & 1) power *= base;
  return ({c})power;
}}"""


def multiply_add(name: str, c: str) -> str:
    """A step of a sum of products, which may round once where the device multiplies and adds in one
    instruction."""
    return f"""{c} {name}({c} x, {c} y, {c} sum) {{
  #pragma OPENCL FP_CONTRACT ON
  return x * y + sum;
}}"""


def _float(d: DType) -> Iterator[str]:
    c, t = C_TYPE[d.name], d.name
    half = literal(0.5, d)
    yield f"{c} abs_{t}({c} x) {{ return fabs(x); }}"
    yield f"{c} sign_{t}({c} x) {{ return (x > 0) - (x < 0); }}"
    yield f"{c} maximum_{t}({c} x, {c} y) {{ return x >= y || isnan(x) ? x : y; }}"
    yield f"{c} minimum_{t}({c} x, {c} y) {{ return x <= y || isnan(x) ? x : y; }}"
    yield f"{c} fmod_{t}({c} x, {c} y) {{ return fmod(x, y); }}"
    yield f"{c} pow_{t}({c} x, {c} y) {{ return pow(x, y); }}"
    yield f"""{c} remainder_{t}({c} x, {c} y) {{
  {c} r = fmod(x, y);
  return r != 0 && (r < 0) != (y < 0) ? r + y : r;
}}"""
    yield f"{c} truncdiv_{t}({c} x, {c} y) {{ return trunc(x / y); }}"
    # drivers may end one step below 1, and then 1 - tanh(x) ** 2 is not 0
    one = literal(19.1 if d.itemsize == 8 else 9.1, d)
    yield f"{c} tanh_{t}({c} x) {{ return fabs(x) > {one} ? copysign({literal(1, d)}, x) : tanh(x); }}"
    # PyTorch's rule: exact where x / y rounds up to an integer that it has not reached
    yield f"""{c} floordiv_{t}({c} x, {c} y) {{
  {c} r = fmod(x, y), quotient = x / y, q = (x - r) / y;
  if (r != 0 && (y < 0) != (r < 0)) q -= 1;
  {c} whole = floor(q);
  if (q - whole > {half}) whole += 1;
  if (q == 0) whole = copysign({literal(0, d)}, quotient);
  return y == 0 ? quotient : whole;
}}"""
    u = C_TYPE[f"uint{d.bits}"]
    if not is_short_float(d):
        yield multiply_add(f"multiply_add_{t}", c)
        yield f"{u} {t}_bits({c} x) {{ return as_{u}(x); }}"
        yield f"{c} {t}_value({u} bits) {{ return as_{c}(bits); }}"
        suffix = "" if d.itemsize == 8 else "f"
        for whole, bits in (("int", 31), ("long", 63)):
            inside = f"x >= -0x1p{bits}{suffix} && x < 0x1p{bits}{suffix}"
            yield f"{whole} {t}_to_{whole}({c} x) {{ return {inside} ? ({whole})x : {whole.upper()}_MIN; }}"
        yield f"""ulong {t}_to_ulong({c} x) {{
  if (!(x >= 0x1p63{suffix})) return (ulong){t}_to_long(x);
  return x < 0x1p64{suffix} ? (ulong)x : 0;
}}"""


# float16 by its bits: C may not look at one object as half and as ushort, and without cl_khr_fp16 there is no
# half value.
_FLOAT16 = (
    """\
ushort float16_bits(float x) {
  uint b = as_uint(x), sign = (b >> 16) & 0x8000;
  b &= 0x7FFFFFFF;
  if (b > 0x7F800000) return sign | 0x7E00;
  if (b >= 0x477FF000) return sign | 0x7C00;
  if (b < 0x38800000) return sign | (as_uint(as_float(b) + 0.5f) - 0x3F000000);
  return sign | ((b + 0xFFF + ((b >> 13) & 1) - 0x38000000) >> 13);
}""",
    """\
float float16_value(ushort bits) {
  uint sign = (uint)(bits & 0x8000) << 16, exponent = bits & 0x7C00, b = (uint)(bits & 0x7FFF) << 13;
  if (exponent == 0x7C00) return as_float(sign | 0x7F800000 | b);
  if (exponent != 0) return as_float(sign | (b + 0x38000000));
  return as_float(sign | as_uint((bits & 0x3FF) * 0x1p-24f));
}""",
    """\
#ifdef cl_khr_fp16
#pragma OPENCL EXTENSION cl_khr_fp16 : enable
float round_float16(float x) { return convert_float(convert_half_rte(x)); }
#else
float round_float16(float x) { return float16_value(float16_bits(x)); }
#endif""",
    """\
float round_float64_to_float16(double x) {
  float f = convert_float_rtz(x);
  return round_float16((double)f == x ? f : as_float(as_uint(f) | 1));
}""",
)

_SINGLE = """\
uint bfloat16_rounded(uint b) { return (b + 0x7FFF + ((b >> 16) & 1)) >> 16; }
ushort bfloat16_bits(float x) { return isnan(x) ? 0x7FC0 : bfloat16_rounded(as_uint(x)); }
float bfloat16_value(ushort bits) { return as_float((uint)bits << 16); }
float round_bfloat16(float x) { return bfloat16_value(bfloat16_bits(x)); }
int floor_quotient_int(int x, int y) { return x >= 0 ? x / y : -1 - (-1 - x) / y; }
long floor_quotient_long(long x, long y) { return x >= 0 ? x / y : -1 - (-1 - x) / y; }
int floor_remainder_int(int x, int y) { int r = x % y; return r < 0 ? r + y : r; }
long floor_remainder_long(long x, long y) { long r = x % y; return r < 0 ? r + y : r; }""".splitlines()

# Threefry-2x32 with 20 rounds; the rotations are in pairs of four, as in ops/source.py.
_THREEFRY = """ulong threefry(ulong counter, ulong key) {
  const uint rotations[8] = {13, 15, 26, 6, 17, 29, 16, 24};
  uint keys[3] = {(uint)key, (uint)(key >> 32), (uint)key ^ (uint)(key >> 32) ^ 0x1BD11BDAu};
  uint x0 = (uint)counter + keys[0], x1 = (uint)(counter >> 32) + keys[1];
  #pragma unroll
  for (uint block = 0; block < 5; block++) {
    #pragma unroll
    for (uint r = 0; r < 4; r++) {
      x0 += x1;
      x1 = rotate(x1, rotations[4 * (block % 2) + r]) ^ x0;
    }
    x0 += keys[(block + 1) % 3];
    x1 += keys[(block + 2) % 3] + block + 1;
  }
  return ((ulong)x1 << 32) | x0;
}"""

_NAME = re.compile(r"\b(\w+)\(")


def _all_helpers() -> dict[str, str]:
    texts = [*_SINGLE, *_FLOAT16, _THREEFRY]
    for d in dtypes.ALL:
        if d.kind == "float" and d is not dtypes.bfloat16:
            texts += _float(d)
        elif d.is_integer:
            texts += _integer(d)
    return {_NAME.search(text).group(1): text for text in texts}  # type: ignore[union-attr]


HELPERS = _all_helpers()


def helpers_for(text: str, own: dict[str, str]) -> list[str]:
    """The helper functions that `text` calls and those that they call, callees first;
    `own` adds to HELPERS."""
    found: dict[str, str] = {}

    def visit(text: str) -> None:
        for name in _NAME.findall(text):
            body = own.get(name) or HELPERS.get(name)
            if body is not None and name not in found:
                found[name] = ""
                visit(body)
                found[name] = found.pop(name) or body  # after what it calls

    visit(text)
    return list(found.values())


# How rows are spelled


def convert(text: str, source: DType, target: DType) -> str:
    """An expression of one dtype as another: floats round,
    floats to integers as `ops.elementwise.convert` has it."""
    if source == target:
        return text
    if target.kind == "bool":
        return f"({text} != 0)"
    c = C_TYPE[target.name]
    if target.is_integer and source.kind == "float":
        t = "float64" if source.itemsize == 8 else "float32"
        middle = C_TYPE["uint64" if target is dtypes.uint64 else signed_between(target).name]
        whole = f"{t}_to_{middle}({text})"
        return whole if middle == c else f"({c}){whole}"
    if target is dtypes.float16 and source is dtypes.float64:
        return f"round_float64_to_float16({text})"
    if is_short_float(target):
        return (
            f"round_{target.name}({text})"
            if source.itemsize == 2 and source.kind == "float"
            else (f"round_{target.name}({text if source is dtypes.float32 else f'(float){text}'})")
        )
    return text if C_TYPE[source.name] == c else f"({c}){text}"


def _reinterpret(text: str, source: DType, target: DType) -> str:
    if source.kind == "float":
        text = f"{source.name}_bits({text})"
    if target.kind == "float":
        return f"{target.name}_value({text})"
    return f"({text} != 0)" if target.kind == "bool" else f"({C_TYPE[target.name]}){text}"


_BOOLEAN = {
    "add": "({0} || {1})",
    "mul": "({0} && {1})",
    "maximum": "({0} || {1})",
    "minimum": "({0} && {1})",
    "bitand": "({0} && {1})",
    "bitor": "({0} || {1})",
    "bitxor": "({0} != {1})",
    "bitnot": "(!{0})",
    "lt": "(!{0} && {1})",
    "le": "(!{0} || {1})",
}
_CONVERSIONS: dict[str, Callable[[str, DType, DType], str]] = {"cast": convert, "bitcast": _reinterpret}


def spell(op: str, operand: DType, result: DType, *args: str) -> str:
    """A row applied to expressions, as an expression of `result` in brackets or a call."""
    if op in _CONVERSIONS:
        return f"({_CONVERSIONS[op](args[0], operand, result)})"
    column = OPS[op].opencl
    assert column is not None, op
    name = operand.name
    if operand.kind == "bool":
        column = _BOOLEAN.get(op, column)
    elif operand.is_integer and (op in _WRAPPING or op == "neg") and operand.name not in ("uint32", "uint64"):
        column = f"{op}_{{t}}({', '.join(f'{{{i}}}' for i in range(len(args)))})"
    elif is_short_float(operand):
        name = "float32"
    text = column.format(*args, t=name)
    return f"round_{result.name}({text})" if is_short_float(result) and op not in EXACT else text
