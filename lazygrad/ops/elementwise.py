"""Elementwise rows. All inputs have one shape; all but `where`'s condition have one dtype.

Integer division and remainder by zero give 0, and shifts outside the width give 0 (or the sign), on every
device.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lazygrad import dtypes
from lazygrad.dtypes import DType
from lazygrad.graph import Node, Scalar
from lazygrad.ops.source import const
from lazygrad.ops.table import Op, same_dtype, same_shape

FLOAT, NUMBER, INTEGRAL = ("float",), ("uint", "int", "float"), ("bool", "uint", "int")


def _row(
    name: str,
    arity: int,
    numpy: Callable[..., Any],
    gradient: Callable[..., Any] | None = None,
    opencl: str = "",
    llvm: str = "",
    **columns: Any,
) -> Op:
    columns.setdefault("shape", same_shape)
    columns.setdefault("dtype", same_dtype)
    by_node = columns.pop("by_node", lambda node, *arrays: np.asarray(numpy(*arrays)))
    return Op(
        name,
        "elementwise",
        arity,
        gradient=gradient,
        numpy=by_node,
        opencl=opencl or f"{name}({{0}})",
        llvm=llvm or name,
        **columns,
    )


def like(value: Scalar, x: Node) -> Node:
    """A constant of x's shape and dtype."""
    return const(value, x.dtype, x.shape)


def _through_double(f: Callable[[float], float]) -> Callable[[np.ndarray], np.ndarray]:
    """A function that NumPy lacks, one element at a time in double precision."""
    return lambda x: (
        np.asarray([f(v) for v in np.asarray(x, np.float64).ravel()]).reshape(x.shape).astype(x.dtype)
    )


def _unary(
    name: str,
    numpy: Callable[..., Any],
    derivative: Callable[[Node, Node], Node] | None,
    opencl: str = "",
    **columns: Any,
) -> Op:
    gradient = None if derivative is None else lambda g, n, x: (mul(g, derivative(n, x)),)
    columns.setdefault("dtypes", FLOAT)
    return _row(name, 1, numpy, gradient, opencl, **columns)


# Arithmetic

add: Op = _row("add", 2, np.add, lambda g, n, x, y: (g, g), "({0} + {1})")
sub: Op = _row("sub", 2, np.subtract, lambda g, n, x, y: (g, neg(g)), "({0} - {1})", dtypes=NUMBER)
mul: Op = _row("mul", 2, np.multiply, lambda g, n, x, y: (mul(g, y), mul(g, x)), "({0} * {1})")
div: Op = _row(
    "div",
    2,
    np.divide,
    lambda g, n, x, y: (div(g, y), neg(div(mul(g, n), y))),
    "({0} / {1})",
    dtypes=FLOAT,
    domain=(0.5, 3.0),
)
neg: Op = _row("neg", 1, np.negative, lambda g, n, x: (neg(g),), "(-{0})", dtypes=NUMBER)
abs_: Op = _row("abs", 1, np.abs, lambda g, n, x: (mul(g, sign(x)),), "abs_{t}({0})", dtypes=NUMBER)
sign: Op = _row(
    "sign",
    1,
    lambda x: np.where(np.isnan(x), 0, np.sign(x)).astype(x.dtype),
    lambda g, n, x: (like(0, g),),
    "sign_{t}({0})",
    dtypes=NUMBER,
)
reciprocal: Op = _unary(
    "reciprocal",
    lambda x: (1 / x).astype(x.dtype),
    lambda n, x: neg(mul(n, n)),
    "(1 / {0})",
    domain=(0.5, 3.0),
)


def _integer_or_float(on_float: Callable[..., Any], on_integer: Callable[..., Any]) -> Callable[..., Any]:
    def numpy(node: Node, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        # a quotient of 16-bit floats is cut before it is rounded, as in PyTorch for one number as divisor
        if node.dtype.kind == "float":
            wide = node.dtype.accumulator.numpy
            return np.asarray(on_float(x.astype(wide, copy=False), y.astype(wide, copy=False)))
        safe = np.where(y == 0, np.ones_like(y), y)
        return np.where(y == 0, np.zeros_like(x), on_integer(x, safe))

    return numpy


def _python_remainder(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    # PyTorch's rule: fmod, plus y where the signs differ
    r = np.fmod(x, y)
    return np.where((r != 0) & ((r < 0) != (y < 0)), r + y, r)


def _floor_quotient(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    # PyTorch's div_floor_floating: exact where x/y rounds up to an integer it has not reached
    r = np.fmod(x, y)
    q = (x - r) / y
    q = np.where((r != 0) & ((y < 0) != (r < 0)), q - 1, q)
    floor = np.floor(q)
    floor = np.where(q - floor > 0.5, floor + 1, floor)
    floor = np.where(q == 0, np.copysign(np.zeros_like(q), x / y), floor)
    return np.where(y == 0, x / y, floor).astype(x.dtype)


floordiv: Op = _row(
    "floordiv",
    2,
    np.floor_divide,
    lambda g, n, x, y: (like(0, g), like(0, g)),
    "floordiv_{t}({0}, {1})",
    by_node=_integer_or_float(_floor_quotient, np.floor_divide),
    dtypes=NUMBER,
    domain=(0.5, 3.0),
)
truncdiv: Op = _row(
    "truncdiv",
    2,
    np.fix,
    lambda g, n, x, y: (like(0, g), like(0, g)),
    "truncdiv_{t}({0}, {1})",
    by_node=_integer_or_float(
        lambda x, y: np.trunc(x / y), lambda x, y: np.floor_divide(x - np.fmod(x, y), y)
    ),
    dtypes=NUMBER,
    domain=(0.5, 3.0),
)
remainder: Op = _row(
    "remainder",
    2,
    np.mod,
    lambda g, n, x, y: (g, neg(mul(g, floordiv(x, y)))),
    "remainder_{t}({0}, {1})",
    by_node=_integer_or_float(_python_remainder, np.mod),
    dtypes=NUMBER,
    domain=(0.5, 3.0),
)
fmod: Op = _row(
    "fmod",
    2,
    np.fmod,
    lambda g, n, x, y: (g, neg(mul(g, truncdiv(x, y)))),
    "fmod_{t}({0}, {1})",
    by_node=_integer_or_float(np.fmod, np.fmod),
    dtypes=NUMBER,
    domain=(0.5, 3.0),
)


def _half_at_ties(g: Node, loses: Node, ties: Node) -> Node:
    # as PyTorch has it: beside a NaN, neither operand loses and both take the gradient
    return where(ties, mul(g, like(0.5, g)), where(loses, like(0, g), g))


maximum: Op = _row(
    "maximum",
    2,
    np.maximum,
    lambda g, n, x, y: (_half_at_ties(g, lt(x, y), eq(x, y)), _half_at_ties(g, lt(y, x), eq(x, y))),
    "maximum_{t}({0}, {1})",
)
minimum: Op = _row(
    "minimum",
    2,
    np.minimum,
    lambda g, n, x, y: (_half_at_ties(g, lt(y, x), eq(x, y)), _half_at_ties(g, lt(x, y), eq(x, y))),
    "minimum_{t}({0}, {1})",
)


def _integer_power(node: Node, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if node.dtype.kind == "float":
        return np.asarray(np.power(x, y))
    # a negative exponent is 0, but for bases 1 and -1
    positive = np.power(x, np.where(y < 0, np.zeros_like(y), y))
    odd = (y & 1) == 1
    unit = np.where(x == 1, 1, np.where(x == np.array(-1).astype(x.dtype), np.where(odd, x, 1), 0))
    return np.where(y < 0, unit.astype(x.dtype), positive).astype(x.dtype)


def _power_gradient(g: Node, n: Node, x: Node, y: Node) -> tuple[Node, Node]:
    # a safe base stands where x**(y-1) or log(x) would be no number, so that zeros stay zeros in every order
    zero, one = like(0, g), like(1, g)
    no_sign = bitnot(bitor(lt(x, zero), lt(zero, x)))
    base = where(bitand(eq(y, zero), no_sign), one, x)
    dx = where(eq(y, zero), zero, mul(g, mul(y, pow_(base, sub(y, one)))))
    dy = mul(g, mul(n, log(where(bitand(eq(x, zero), le(zero, y)), one, x))))
    return dx, dy


pow_: Op = _row(
    "pow",
    2,
    np.power,
    _power_gradient,
    "pow_{t}({0}, {1})",
    by_node=_integer_power,
    dtypes=NUMBER,
    domain=(0.5, 2.0),
)


def _atan2_gradient(g: Node, n: Node, y: Node, x: Node) -> tuple[Node, Node]:
    square = add(mul(x, x), mul(y, y))
    square = where(eq(square, like(0, x)), like(math.inf, x), square)  # no gradient at the origin
    return mul(g, div(x, square)), neg(mul(g, div(y, square)))


atan2: Op = _row(
    "atan2",
    2,
    np.arctan2,
    _atan2_gradient,
    "atan2({0}, {1})",
    dtypes=FLOAT,
    domain=(0.5, 3.0),
)

# Exponentials and their inverses

exp: Op = _unary("exp", np.exp, lambda n, x: n)
exp2: Op = _unary("exp2", np.exp2, lambda n, x: mul(n, like(math.log(2), x)))
expm1: Op = _unary("expm1", np.expm1, lambda n, x: add(n, like(1, x)))
log: Op = _unary("log", np.log, lambda n, x: reciprocal(x), domain=(0.1, 3.0))
log2: Op = _unary("log2", np.log2, lambda n, x: reciprocal(mul(x, like(math.log(2), x))), domain=(0.1, 3.0))
log10: Op = _unary(
    "log10", np.log10, lambda n, x: reciprocal(mul(x, like(math.log(10), x))), domain=(0.1, 3.0)
)
log1p: Op = _unary("log1p", np.log1p, lambda n, x: reciprocal(add(x, like(1, x))), domain=(-0.9, 3.0))
sqrt: Op = _unary("sqrt", np.sqrt, lambda n, x: div(like(0.5, x), n), domain=(0.1, 3.0))
rsqrt: Op = _unary(
    "rsqrt",
    lambda x: (1 / np.sqrt(x, dtype=np.promote_types(x.dtype, np.float32))).astype(x.dtype),
    lambda n, x: mul(like(-0.5, x), mul(n, mul(n, n))),
    "(1 / sqrt({0}))",
    domain=(0.1, 3.0),
)

# Trigonometry


def _one_minus_square(x: Node) -> Node:
    return sub(like(1, x), mul(x, x))


def _one_plus_square(x: Node) -> Node:
    return add(like(1, x), mul(x, x))


sin: Op = _unary("sin", np.sin, lambda n, x: cos(x))
cos: Op = _unary("cos", np.cos, lambda n, x: neg(sin(x)))
tan: Op = _unary("tan", np.tan, lambda n, x: _one_plus_square(n), domain=(-1.2, 1.2))
asin: Op = _unary("asin", np.arcsin, lambda n, x: rsqrt(_one_minus_square(x)), domain=(-0.9, 0.9))
acos: Op = _unary("acos", np.arccos, lambda n, x: neg(rsqrt(_one_minus_square(x))), domain=(-0.9, 0.9))
atan: Op = _unary("atan", np.arctan, lambda n, x: reciprocal(_one_plus_square(x)))
sinh: Op = _unary("sinh", np.sinh, lambda n, x: cosh(x))
cosh: Op = _unary("cosh", np.cosh, lambda n, x: sinh(x))
tanh: Op = _unary("tanh", np.tanh, lambda n, x: _one_minus_square(n), "tanh_{t}({0})")
asinh: Op = _unary("asinh", np.arcsinh, lambda n, x: rsqrt(_one_plus_square(x)))
acosh: Op = _unary("acosh", np.arccosh, lambda n, x: rsqrt(sub(mul(x, x), like(1, x))), domain=(1.1, 3.0))
atanh: Op = _unary("atanh", np.arctanh, lambda n, x: reciprocal(_one_minus_square(x)), domain=(-0.9, 0.9))


def _gauss(x: Node) -> Node:
    return mul(like(2 / math.sqrt(math.pi), x), exp(neg(mul(x, x))))


erf: Op = _unary("erf", _through_double(math.erf), lambda n, x: _gauss(x))
erfc: Op = _unary("erfc", _through_double(math.erfc), lambda n, x: neg(_gauss(x)))

# Rounding


def _steps(name: str, numpy: Callable[..., Any], opencl: str = "") -> Op:
    return _row(name, 1, numpy, lambda g, n, x: (like(0, g),), opencl, dtypes=FLOAT)


floor, ceil, trunc = _steps("floor", np.floor), _steps("ceil", np.ceil), _steps("trunc", np.trunc)
round_ = _steps("round", np.rint, "rint({0})")

# Bits

bitand: Op = _row("bitand", 2, np.bitwise_and, None, "({0} & {1})", dtypes=INTEGRAL)
bitor: Op = _row("bitor", 2, np.bitwise_or, None, "({0} | {1})", dtypes=INTEGRAL)
bitxor: Op = _row("bitxor", 2, np.bitwise_xor, None, "({0} ^ {1})", dtypes=INTEGRAL)
bitnot: Op = _row("bitnot", 1, np.invert, None, "bitnot_{t}({0})", dtypes=INTEGRAL)


def _shift(shift: Callable[..., Any], left: bool) -> Callable[..., Any]:
    def numpy(node: Node, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        width = node.dtype.bits
        inside = (y >= 0) & (y < width)
        shifted = shift(x, np.where(inside, y, np.zeros_like(y)))
        beyond = np.zeros_like(x) if left else np.where(x < 0, np.array(-1).astype(x.dtype), np.zeros_like(x))
        return np.where(inside, shifted, beyond)

    return numpy


shl: Op = _row(
    "shl",
    2,
    np.left_shift,
    None,
    "shl_{t}({0}, {1})",
    by_node=_shift(np.left_shift, True),
    dtypes=("uint", "int"),
)
shr: Op = _row(
    "shr",
    2,
    np.right_shift,
    None,
    "shr_{t}({0}, {1})",
    by_node=_shift(np.right_shift, False),
    dtypes=("uint", "int"),
)

# Comparison and choice


def _comparison(name: str, numpy: Callable[..., Any], symbol: str) -> Op:
    return _row(name, 2, numpy, None, f"({{0}} {symbol} {{1}})", dtype=lambda i, _: dtypes.bool_)


lt: Op = _comparison("lt", np.less, "<")
le: Op = _comparison("le", np.less_equal, "<=")
eq: Op = _comparison("eq", np.equal, "==")
ne: Op = _comparison("ne", np.not_equal, "!=")


def _choice_dtype(inputs: tuple[Node, ...], arg: Any) -> DType:
    assert inputs[0].dtype == dtypes.bool_, inputs
    return same_dtype(inputs[1:], arg)


where: Op = _row(
    "where",
    3,
    np.where,
    lambda g, n, c, x, y: (None, where(c, g, like(0, g)), where(c, like(0, g), g)),
    "({0} ? {1} : {2})",
    dtype=_choice_dtype,
)

# Conversion


def signed_between(target: DType) -> DType:
    """The signed type through which a float becomes an integer of type `target`, as x86 and PyTorch have it:
    NaN and what is out of its range become its least value, then it wraps."""
    return dtypes.int32 if target.name in ("int8", "int16", "int32", "uint16") else dtypes.int64


def convert(values: np.ndarray, source: DType, target: DType) -> np.ndarray:
    """`values` of `source` as `target`: floats round, floats to integers are cut and go through
    `signed_between`, integers wrap. Floats from 2**63 on have a uint64 of their own, or become 0."""
    if target.kind == "bool":
        return values != 0
    if source.kind == "float" and target.is_integer:
        wide, middle = values.astype(np.float64), signed_between(target)
        limit = 2.0 ** (middle.bits - 1)
        inside = (wide >= -limit) & (wide < limit)
        whole = np.where(inside, np.where(inside, wide, 0.0).astype(np.int64), np.int64(middle.min))
        if target is dtypes.uint64:
            upper = (wide >= limit) & (wide < 2 * limit)
            high = np.where(upper, np.where(upper, wide, 0.0).astype(np.uint64), np.uint64(0))
            return np.where(wide >= limit, high, whole.astype(np.uint64))
        return whole.astype(target.numpy)
    return dtypes.round_to(values, target)


cast: Op = _row(
    "cast",
    1,
    np.asarray,
    lambda g, n, x: (cast(g, arg=x.dtype) if x.dtype.kind == "float" and n.dtype.kind == "float" else None,),
    "cast_{t}({0})",
    dtype=lambda i, target: target,
    by_node=lambda node, x: convert(x, node.inputs[0].dtype, node.dtype),
)


def _bitcast(node: Node, x: np.ndarray) -> np.ndarray:
    bits = dtypes.to_storage(x, node.inputs[0].dtype).reshape(-1).view(node.dtype.storage).reshape(x.shape)
    return dtypes.from_storage(bits, node.dtype)


bitcast: Op = _row(
    "bitcast", 1, np.asarray, None, "as_{t}({0})", dtype=lambda i, target: target, by_node=_bitcast
)
