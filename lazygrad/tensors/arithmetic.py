"""Arithmetic: operators with their reflected and in-place forms, comparison, logic and bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lazygrad import dtypes, ops
from lazygrad.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError
from lazygrad.graph import Node
from lazygrad.tensors import promotion
from lazygrad.tensors.core import FUNCTIONS, Tensor, function, method
from lazygrad.tensors.grad_fn import as_operation, with_number
from lazygrad.tensors.promotion import (
    NUMBERS,
    by_number,
    check_castable,
    check_operand,
    check_operands,
    check_tensor,
    elementwise,
    result_type,
    rounded_once,
)
from lazygrad.tensors.views import check_apart

Binary = Callable[..., Tensor]


def store(name: str, x: Tensor, result: Tensor) -> Tensor:
    """Put the result of an operation into x, in place: it must have x's shape and a type that x can take."""
    if result._shape != x._shape:
        raise ShapeError(
            f"[{name}] output with shape {list(x._shape)} doesn't match the broadcast shape "
            f"{list(result._shape)}"
        )
    if result._dtype is not x._dtype:
        check_castable(name, result._dtype, x._dtype)
        result = result.to(x._dtype)
    return x.write(result, name)


# whose forms in place read all that they need before they write
_OVERLAPPING = ("masked_fill", "index_fill", "addmm", "addmv", "addbmm", "baddbmm")


def in_place(name: str, definition: Binary) -> Binary:
    """The in-place form `name` (ending in an underscore) of a function whose first argument is the target."""

    def changed(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if not name.startswith(_OVERLAPPING):
            check_apart(name, x, [v for v in (*args, *kwargs.values()) if isinstance(v, Tensor)])
        return store(name, x, definition(x, *args, **kwargs))

    changed.__name__ = changed.__qualname__ = name
    changed.__wrapped__ = definition  # type: ignore[attr-defined]  # whose signature help() shows
    changed.__doc__ = f"`{name.rstrip('_')}`, stored in the tensor itself. Raises GradientError for leaves."
    method(name)(changed)
    FUNCTIONS.setdefault(name, changed)
    return changed


def with_in_place(*names: str) -> Callable[[Binary], Binary]:
    """Publish a function, as method too, under its names, together with the in-place form of each."""

    def decorate(definition: Binary) -> Binary:
        function(*names)(definition)
        for name in names:
            in_place(name + "_", definition)
        return definition

    return decorate


def _check_no_bool(x: Any, y: Any) -> None:
    kinds = [o._dtype is dtypes.bool_ if isinstance(o, Tensor) else isinstance(o, bool) for o in (x, y)]
    if all(kinds):
        raise DTypeError(
            "[sub] Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or "
            "`logical_xor()` operator instead."
        )
    if any(kinds):
        raise DTypeError(
            "[sub] Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to "
            "invert a mask, use the `~` or `logical_not()` operator instead."
        )


def _sum(name: str, row: Callable[..., Node], x: Any, y: Any, alpha: Any) -> Tensor:
    """row(x, alpha * y); of 16-bit floats in float32 with alpha rounded first, as PyTorch computes it."""
    if alpha == 1 and not isinstance(alpha, Tensor):
        return elementwise(name, row, (x, y))
    dtype = result_type(x, y)
    if isinstance(alpha, Tensor):
        return elementwise(name, row, (x, mul(y, alpha)), dtype)
    if isinstance(alpha, float) and dtype.kind != "float":
        raise DTypeError(
            f"[{name}] For integral input tensors, argument alpha must not be a floating point "
            f"number, but it is {alpha}"
        )
    if isinstance(alpha, bool) and dtype.kind != "bool":
        raise DTypeError(f"[{name}] Boolean alpha only supported for Boolean results, not for {dtype!r}")

    def build(a: Node, b: Node) -> Node:
        return row(a, ops.mul(b, ops.cast(ops.const(alpha, dtype, b.shape), arg=b.dtype)))

    return rounded_once(name, build, (x, y), dtype)


@with_in_place("add")
def add(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """input + alpha * other, elementwise."""
    x, y = check_operand("add", input), check_operand("add", other)
    return _sum("add", ops.add, x, y, alpha)


@with_in_place("sub", "subtract")
def sub(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """input - alpha * other, elementwise. Raises DTypeError for bool."""
    x, y = check_operand("sub", input), check_operand("sub", other)
    _check_no_bool(x, y)
    result = _sum("sub", ops.sub, x, y, alpha)
    return result if isinstance(x, Tensor) else as_operation(result, "RsubBackward1", y)


@function("rsub")
def rsub(input: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
    """other - alpha * input."""
    return sub(other, check_tensor("rsub", input, "input", 1), alpha=alpha)


@with_in_place("mul", "multiply")
def mul(input: Any, other: Any) -> Tensor:
    """input * other, elementwise."""
    x, y = check_operand("mul", input), check_operand("mul", other)
    return by_number("mul", ops.mul, (x, y))


_ROUNDED = {"floor": ops.floordiv, "trunc": ops.truncdiv}
_QUOTIENTS = tuple(_ROUNDED.values())


@with_in_place("div", "divide")
def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """input / other, elementwise; integers give the default float type. `rounding_mode` "floor" or "trunc"
    keeps integers. Raises ArgumentError for another mode, ZeroDivisionError for an integer divided by the
    number 0."""
    x, y = check_operand("div", input), check_operand("div", other)
    dtype = result_type(x, y)
    if rounding_mode is None:
        target = dtype if dtype.kind == "float" else promotion.get_default_dtype()
        return by_number("div", ops.div, (x, y), target)
    if rounding_mode not in _ROUNDED:
        raise ArgumentError(
            f"[div] expected rounding_mode to be one of None, 'trunc', or 'floor' but found {rounding_mode!r}"
        )
    by_many = isinstance(other, Tensor) and other.ndim > 0
    if rounding_mode == "trunc" and dtype.kind == "float" and dtype.itemsize == 2 and by_many:
        # of the quotient as it is rounded; one number as divisor is rounded once
        result = FUNCTIONS["trunc"](by_number("div", ops.div, (x, y), dtype))
    else:
        result = _integer_or_float("div", _ROUNDED[rounding_mode], x, y)
    return as_operation(result, "DivBackward2", x, y)


def _integer_or_float(name: str, row: Callable[..., Node], x: Any, y: Any) -> Tensor:
    dtype = result_type(x, y)
    if dtype.kind == "bool":
        raise DTypeError(
            f"[{name}] not implemented for 'Bool': convert one side to an integer or float type first"
        )
    if dtype.kind != "float" and not isinstance(y, Tensor) and y == 0:
        raise _ZeroDivision(f"[{name}] ZeroDivisionError: integer division by zero")
    return (by_number if row in _QUOTIENTS else elementwise)(name, row, (x, y))


class _ZeroDivision(DTypeError, ZeroDivisionError):
    """An integer tensor divided by the number 0."""


@with_in_place("true_divide")
def true_divide(input: Any, other: Any) -> Tensor:
    """input / other, elementwise."""
    return div(input, other)


@with_in_place("floor_divide")
def floor_divide(input: Any, other: Any) -> Tensor:
    """The quotient rounded down."""
    return _integer_or_float(
        "floor_divide",
        ops.floordiv,
        check_operand("floor_divide", input),
        check_operand("floor_divide", other),
    )


@with_in_place("remainder")
def remainder(input: Any, other: Any) -> Tensor:
    """The remainder with the divisor's sign, as Python's %."""
    return _integer_or_float(
        "remainder", ops.remainder, *check_operands("remainder", input, other)
    )


@with_in_place("fmod")
def fmod(input: Any, other: Any) -> Tensor:
    """The remainder with the dividend's sign, as C's fmod."""
    x, y = check_tensor("fmod", input, "input", 1), check_operand("fmod", other)
    return _integer_or_float("fmod", ops.fmod, x, y)


# Powers that are cheaper and exact as something else; PyTorch has the same cases.
_POWERS: dict[float, Callable[[Tensor], Tensor]] = {
    2: lambda x: elementwise("pow", ops.mul, (x, x)),
    3: lambda x: elementwise("pow", ops.mul, (elementwise("pow", ops.mul, (x, x)), x)),
}
_FLOAT_POWERS: dict[float, Callable[[Tensor], Tensor]] = {
    0.5: lambda x: FUNCTIONS["sqrt"](x),
    -0.5: lambda x: FUNCTIONS["rsqrt"](x),
    -1: lambda x: FUNCTIONS["reciprocal"](x),
    -2: lambda x: elementwise("pow", _inverse_square, (x,)),
}


def _inverse_square(x: Node) -> Node:
    # the square of the inverse has a derivative at 0 and at infinity too
    inverse = ops.reciprocal(x)
    return ops.surrogate(ops.reciprocal(ops.mul(x, x)), ops.mul(inverse, inverse))


@with_in_place("pow")
def pow(input: Any, exponent: Any) -> Tensor:
    """input raised to exponent, elementwise. Raises DTypeError for integers to a negative integer."""
    x, y = check_operands("pow", input, exponent)
    dtype = result_type(x, y)
    if not isinstance(y, Tensor):
        if dtype.kind != "float" and y < 0:
            raise DTypeError(
                "[pow] Integers to negative integer powers are not allowed: convert to a float type first"
            )
        if isinstance(x, Tensor) and x._dtype is dtype and dtype.kind != "bool":
            special = _POWERS.get(y) or (_FLOAT_POWERS.get(y) if dtype.kind == "float" else None)
            if special:
                return with_number(as_operation(special(x), "pow", x), y)
    if dtype.kind == "bool":
        return elementwise("pow", lambda a, b: ops.bitor(a, ops.bitnot(b)), (x, y))
    name = "pow" if not isinstance(y, Tensor) else "PowBackward1" if isinstance(x, Tensor) else "PowBackward2"
    made = as_operation(elementwise("pow", ops.pow_, (x, y)), name, x, y)
    return made if isinstance(y, Tensor) else with_number(made, y)


@function("float_power")
def float_power(input: Any, exponent: Any) -> Tensor:
    """`pow` computed in float64."""
    operands = check_operands("float_power", input, exponent)
    return pow(*(v.to(dtypes.float64) if isinstance(v, Tensor) else float(v) for v in operands))


@method("float_power_")
def float_power_(x: Tensor, exponent: Any) -> Tensor:
    """`float_power`, stored in a float64 tensor itself."""
    if x._dtype is not dtypes.float64:
        raise DTypeError(f"[float_power_] needs a float64 tensor to store its result in, got {x._dtype!r}")
    return store("float_power_", x, float_power(x, exponent))


# Comparison


def comparison(name: str, row: Callable[[Node, Node], Node]) -> Binary:
    """A published comparison: bool results; NaN is unequal to everything."""

    def compare(input: Any, other: Any) -> Tensor:
        x, y = check_tensor(name, input, "input", 1), check_operand(name, other)
        return elementwise(name, row, (x, y))

    compare.__name__ = compare.__qualname__ = name
    compare.__doc__ = f"Elementwise `{name}`: a bool tensor of the broadcast shape."
    return with_in_place(name, *_COMPARISON_ALIASES.get(name, ()))(compare)


_COMPARISON_ALIASES = {
    "ne": ("not_equal",),
    "lt": ("less",),
    "le": ("less_equal",),
    "gt": ("greater",),
    "ge": ("greater_equal",),
}
eq, ne = comparison("eq", ops.eq), comparison("ne", ops.ne)
lt, le = comparison("lt", ops.lt), comparison("le", ops.le)
gt, ge = comparison("gt", lambda a, b: ops.lt(b, a)), comparison("ge", lambda a, b: ops.le(b, a))


# Bits and logic


def _bitwise(name: str, row: Callable[..., Node], refused: tuple[str, ...] = ("float",)) -> Binary:
    def combine(input: Any, other: Any) -> Tensor:
        x, y = check_operands(name, input, other)
        dtype = result_type(x, y)
        if dtype.kind in refused:
            raise DTypeError(
                f'[{name}] "{name}_cpu" not implemented for '
                f"'{promotion.pytorch_name(dtype)}': "
                f"bits exist for {'integers only' if 'bool' in refused else 'bool and integers only'}"
            )
        return elementwise(name, row, (x, y))

    combine.__name__ = combine.__qualname__ = name
    combine.__doc__ = f"Elementwise `{name}` of bool or integer tensors. Raises DTypeError for floats."
    return with_in_place(name)(combine)


bitwise_and, bitwise_or = _bitwise("bitwise_and", ops.bitand), _bitwise("bitwise_or", ops.bitor)
bitwise_xor = _bitwise("bitwise_xor", ops.bitxor)
bitwise_left_shift = _bitwise("bitwise_left_shift", ops.shl, ("float", "bool"))
bitwise_right_shift = _bitwise("bitwise_right_shift", ops.shr, ("float", "bool"))


@with_in_place("bitwise_not")
def bitwise_not(input: Tensor) -> Tensor:
    """Every bit inverted; `not` for bool. Raises ArgumentTypeError for floats."""
    if input._dtype.kind == "float":
        raise ArgumentTypeError(
            "[bitwise_not] ~ (operator.invert) is only implemented on integer and Boolean-type "
            "tensors, "
            f"not on {input._dtype!r}"
        )
    return elementwise("bitwise_not", ops.bitnot, (input,))


def truth(x: Any) -> Any:
    """A tensor as bool: whether each element differs from 0."""
    return x if not isinstance(x, Tensor) or x._dtype is dtypes.bool_ else elementwise("bool", _nonzero, (x,))


def _nonzero(x: Node) -> Node:
    return ops.ne(x, ops.like(0, x))


def _logical(name: str, row: Callable[..., Node]) -> Binary:
    def combine(input: Tensor, other: Tensor) -> Tensor:
        x, y = check_tensor(name, input, "input", 1), check_tensor(name, other, "other", 2)
        result_type(x, y)  # which raises for types that do not mix
        return elementwise(name, row, (truth(x), truth(y)), dtypes.bool_)

    combine.__name__ = combine.__qualname__ = name
    combine.__doc__ = f"Elementwise `{name}` of truth values: a bool tensor."
    return with_in_place(name)(combine)


logical_and, logical_or = _logical("logical_and", ops.bitand), _logical("logical_or", ops.bitor)
logical_xor = _logical("logical_xor", ops.bitxor)


@with_in_place("logical_not")
def logical_not(input: Tensor) -> Tensor:
    """Whether each element is 0: a bool tensor."""
    return elementwise("logical_not", lambda x: ops.eq(x, ops.like(0, x)), (input,))


# Operators


def _divided_into(x: Any, y: Any) -> Tensor:
    """x / y; a number divided by a tensor is the number times the inverse, as in PyTorch."""
    if isinstance(x, Tensor | np.ndarray):
        return div(x, y)
    inverse = FUNCTIONS["reciprocal"](y)
    return as_operation(mul(inverse, x), "rdiv", inverse)


_REFLECTED = {"truediv": _divided_into}


def _operator(name: str, definition: Binary) -> None:
    from_right = _REFLECTED.get(name, definition)

    def forward(x: Tensor, y: Any) -> Any:
        return definition(x, y) if isinstance(y, _OPERANDS) else NotImplemented

    def reflected(x: Tensor, y: Any) -> Any:
        return from_right(y, x) if isinstance(y, _OPERANDS) else NotImplemented

    def changed(x: Tensor, y: Any) -> Any:
        if not isinstance(y, _OPERANDS):
            return NotImplemented
        if isinstance(y, Tensor):
            check_apart(definition.__name__ + "_", x, [y])
        return store(definition.__name__ + "_", x, definition(x, y))

    setattr(Tensor, f"__{name}__", forward)
    setattr(Tensor, f"__r{name}__", reflected)
    setattr(Tensor, f"__i{name}__", changed)


_OPERANDS = (Tensor, *NUMBERS, np.ndarray)
for _name, _definition in {
    "add": add,
    "sub": sub,
    "mul": mul,
    "truediv": div,
    "floordiv": floor_divide,
    "mod": remainder,
    "pow": pow,
    "and": bitwise_and,
    "or": bitwise_or,
    "xor": bitwise_xor,
    "lshift": bitwise_left_shift,
    "rshift": bitwise_right_shift,
}.items():
    _operator(_name, _definition)


def _compare(name: str, definition: Binary) -> None:
    def forward(x: Tensor, y: Any) -> Any:
        return definition(x, y) if isinstance(y, _OPERANDS) else NotImplemented

    setattr(Tensor, f"__{name}__", forward)


for _name, _definition in {"eq": eq, "ne": ne, "lt": lt, "le": le, "gt": gt, "ge": ge}.items():
    _compare(_name, _definition)


@method("__neg__")
def _neg(x: Tensor) -> Tensor:
    return FUNCTIONS["neg"](x)


@method("__pos__")
def _pos(x: Tensor) -> Tensor:
    return FUNCTIONS["positive"](x)


@method("__abs__")
def _abs(x: Tensor) -> Tensor:
    return FUNCTIONS["abs"](x)


method("__invert__")(bitwise_not)


def require_tensor(name: str, x: Any) -> Tensor:
    """x itself. Raises ArgumentTypeError unless it is a Tensor."""
    if not isinstance(x, Tensor):
        raise ArgumentTypeError(
            f"[{name}] {name}(): argument 'input' (position 1) must be Tensor, not {type(x).__name__}"
        )
    return x
