"""Rewrite rules of elementwise nodes, and the questions that all rules ask; `simplify.RULES` lists the
rules."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from lazygrad import ops
from lazygrad.dtypes import DType
from lazygrad.graph import Literal, Node, Scalar, Shape
from lazygrad.interpret import run_node
from lazygrad.ops.elementwise import signed_between

# Questions that rules ask


def is_const(node: Node) -> bool:
    return node.op.name == "const"


def has_value(node: Node, value: Scalar | None) -> bool:
    """Is the node a constant of exactly this value (the sign of zero counts)?"""
    return (
        value is not None
        and node.op.name == "const"
        and node.arg == Literal(ops.canonical(value, node.dtype))
    )


def refill(node: Node, shape: Shape) -> Node:
    """A constant in another shape."""
    return ops.const(node.arg.value, node.dtype, shape)


def holds_exactly(source: DType, target: DType) -> bool:
    """Does every value of `source` survive a cast to `target` and back?"""
    if source is target or source.kind == "bool":
        return True
    if target.kind == "bool":
        return False
    if source.kind == "float":
        return (
            target.kind == "float"
            and MANTISSA[source.name] <= MANTISSA[target.name]
            and (_EXPONENT[source.name] <= _EXPONENT[target.name])
        )
    value_bits = source.bits - (source.kind == "int")
    if target.kind == "float":
        return value_bits <= MANTISSA[target.name]
    if source.kind == "int" and target.kind == "uint":
        return False
    return value_bits <= target.bits - (target.kind == "int")


MANTISSA = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}
_EXPONENT = {"float16": 5, "bfloat16": 8, "float32": 8, "float64": 11}

# Rules


def fold_constants(node: Node) -> Node | None:
    """f(const, ...) -> const, by the row's NumPy reference"""
    for i in node.inputs:
        if not is_const(i):
            return None
    with np.errstate(all="ignore"):
        value = run_node(
            _one_element(node), [np.full((1,), i.arg.value, i.dtype.numpy) for i in node.inputs]
        )[0].item()
    if node.op.name == "bitcast" and math.isnan(value):
        return None  # a Python float does not keep all bits of a NaN
    return ops.const(value, node.dtype, node.shape)


def _one_element(node: Node) -> Node:
    return node if node.shape == (1,) else node.op(*(refill(i, (1,)) for i in node.inputs), arg=node.arg)


def _unless_float(value: Scalar) -> Callable[[DType], Scalar | None]:
    return lambda d: None if d.kind == "float" else value


def _zero(d: DType) -> Scalar:
    return 0


# op: dtype -> the second operand that leaves the first as it is. NaN operands propagate through all of these.
RIGHT_IDENTITY: dict[str, Callable[[DType], Scalar | None]] = {
    "add": lambda d: -0.0 if d.kind == "float" else 0,
    "sub": lambda d: 0.0 if d.kind == "float" else 0,
    "mul": lambda d: 1,
    "div": lambda d: 1,
    "pow": lambda d: 1,
    "floordiv": _unless_float(1),
    "truncdiv": _unless_float(1),
    "maximum": lambda d: d.min,
    "minimum": lambda d: d.max,
    "bitand": lambda d: d.max if d.kind == "uint" else (True if d.kind == "bool" else -1),
    "bitor": _zero,
    "bitxor": _zero,
    "shl": _zero,
    "shr": _zero,
}
# op: dtype -> the second operand that decides the result, and the result.
RIGHT_DECIDES: dict[str, Callable[[DType], tuple[Scalar | None, Scalar]]] = {
    "mul": lambda d: (None if d.kind == "float" else 0, 0),
    "maximum": lambda d: (None if d.kind == "float" else d.max, d.max),
    "minimum": lambda d: (None if d.kind == "float" else d.min, d.min),
    "bitand": lambda d: (0, 0),
    "bitor": lambda d: (d.max, d.max) if d.kind != "int" else (-1, -1),
    "remainder": lambda d: (None if d.kind == "float" else 1, 0),
    "fmod": lambda d: (None if d.kind == "float" else 1, 0),
    "pow": lambda d: (0, 1),
}
COMMUTATIVE = frozenset(("add", "mul", "maximum", "minimum", "bitand", "bitor", "bitxor"))


def identity_operand(node: Node) -> Node | None:
    """x*1, x+(-0.0), x-0, x/1, x&-1, max(x, least) ... -> x"""
    x, y = node.inputs
    if is_const(y) and has_value(y, RIGHT_IDENTITY[node.op.name](y.dtype)):
        return x
    if is_const(x) and node.op.name in COMMUTATIVE and has_value(x, RIGHT_IDENTITY[node.op.name](x.dtype)):
        return y
    return None


def deciding_operand(node: Node) -> Node | None:
    """integers: x*0 -> 0, x&0 -> 0, x%1 -> 0, max(x, greatest) -> greatest ...; x**0 -> 1"""
    x, y = node.inputs
    for operand in (x, y) if node.op.name in COMMUTATIVE else (y,):
        if is_const(operand):
            decisive, result = RIGHT_DECIDES[node.op.name](operand.dtype)
            if has_value(operand, decisive):
                return ops.const(result, node.dtype, node.shape)
    return None


def double_inverse(node: Node) -> Node | None:
    """-(-x) -> x, ~~x -> x"""
    inner = node.inputs[0]
    return inner.inputs[0] if inner.op is node.op else None


def add_of_negative(node: Node) -> Node | None:
    """x + (-y) -> x - y"""
    x, y = node.inputs
    if y.op.name == "neg":
        return ops.sub(x, y.inputs[0])
    return ops.sub(y, x.inputs[0]) if x.op.name == "neg" else None


def subtract_negative(node: Node) -> Node | None:
    """x - (-y) -> x + y"""
    x, y = node.inputs
    return ops.add(x, y.inputs[0]) if y.op.name == "neg" else None


def divide_by_power_of_two(node: Node) -> Node | None:
    """x / 2**k -> x * 2**-k"""
    x, y = node.inputs
    if not is_const(y) or not math.isfinite(y.arg.value):
        return None
    fraction, exponent = math.frexp(y.arg.value)
    limit = {"float16": 14, "bfloat16": 126, "float32": 126, "float64": 1022}[node.dtype.name]
    if abs(fraction) != 0.5 or abs(exponent) >= limit:
        return None
    return ops.mul(x, ops.like(1 / y.arg.value, y))


def square(node: Node) -> Node | None:
    """x ** 2 -> x * x"""
    x, y = node.inputs
    return ops.mul(x, x) if has_value(y, 2) else None


def choose(node: Node) -> Node | None:
    """where(const, x, y) -> x or y; where(c, x, x) -> x; where(~c, x, y) -> where(c, y, x)"""
    condition, x, y = node.inputs
    if x is y:
        return x
    if condition.op.name == "bitnot":
        return ops.where(condition.inputs[0], y, x)
    return (x if condition.arg.value else y) if is_const(condition) else None


def cast_to_same(node: Node) -> Node | None:
    """cast or bitcast to the type that x has -> x"""
    return node.inputs[0] if node.inputs[0].dtype is node.dtype else None


def cast_of_cast(node: Node) -> Node | None:
    """cast(cast(x)) -> cast(x), where the inner one loses nothing"""
    inner = node.inputs[0]
    if inner.op.name != "cast":
        return None
    x = inner.inputs[0]
    if not holds_exactly(x.dtype, inner.dtype):
        return None
    narrow = node.dtype.kind == "float" and node.dtype.itemsize == 2
    if narrow and x.dtype.is_integer and not holds_exactly(x.dtype, node.dtype):
        return None  # an integer may be rounded twice on its way to a 16-bit float
    from_float = inner.dtype.kind == "float" and x.dtype.is_integer and node.dtype.is_integer
    if from_float and not holds_exactly(x.dtype, signed_between(node.dtype)):
        return None  # the integer wraps, the float is out of range
    return ops.cast(x, arg=node.dtype)


def bitcast_of_bitcast(node: Node) -> Node | None:
    """bitcast(bitcast(x)) -> bitcast(x)"""
    inner = node.inputs[0]
    return ops.bitcast(inner.inputs[0], arg=node.dtype) if inner.op is node.op else None
