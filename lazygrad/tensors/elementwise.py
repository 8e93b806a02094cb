"""Elementwise functions of one tensor and compositions of several."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from lazygrad import dtypes, ops
from lazygrad.compositions.axes import precise
from lazygrad.compositions.special import polynomial
from lazygrad.dtypes import DType
from lazygrad.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError
from lazygrad.graph import Node
from lazygrad.tensors import promotion
from lazygrad.tensors.arithmetic import div, mul, require_tensor, sub, truth, with_in_place
from lazygrad.tensors.arithmetic import pow as power
from lazygrad.tensors.core import Tensor, apply, function, method
from lazygrad.tensors.grad_fn import as_operation, one_operation
from lazygrad.tensors.limits import finfo
from lazygrad.tensors.promotion import (
    broadcast,
    check_operand,
    check_operands,
    check_same_type,
    check_tensor,
    constant,
    converted,
    elementwise,
    result_type,
    stretch,
)


def unary(
    name: str, build: Callable[[Node], Node], *aliases: str, dtype: str = "float"
) -> Callable[..., Tensor]:
    """Publish a function of one tensor. `dtype`: "float" converts integers to the default float type,
    "number" refuses bool, "same" takes all, "whole" returns integers as they are."""

    def evaluate(input: Tensor) -> Tensor:
        x = require_tensor(name, input)
        kind = x._dtype.kind
        if dtype == "whole" and kind != "float":
            return x.clone()
        if dtype == "number" and kind == "bool":
            raise DTypeError(
                f"[{name}] not supported for bool tensors: convert with .int(), or use ~ to invert a mask"
            )
        if dtype == "float" and kind != "float":
            target = promotion.get_default_dtype()
            return apply(name, lambda n: build(converted(n, target)), x)
        return apply(name, build, x)

    evaluate.__name__ = evaluate.__qualname__ = name
    evaluate.__doc__ = f"Elementwise `{name}`."
    return with_in_place(name, *aliases)(evaluate)


def _scale(factor: float) -> Callable[[Node], Node]:
    return precise(lambda x: ops.mul(x, ops.like(factor, x)))


@precise
def _sigmoid(x: Node) -> Node:
    # the exponential of -|x| alone: that of -x is infinite for small x, and infinity times 0 no derivative
    right = ops.le(ops.like(0, x), x)
    small = ops.exp(ops.where(right, ops.neg(x), x))
    value = ops.reciprocal(ops.add(ops.like(1, x), small))
    return ops.where(right, value, ops.mul(small, value))


def _relu(x: Node) -> Node:
    # not maximum: the derivative at 0 is 0, and NaN stays
    return ops.where(ops.le(x, ops.like(0, x)), ops.like(0, x), x)


@precise
def _logit(x: Node) -> Node:
    zero, one = ops.like(0, x), ops.like(1, x)
    value = ops.log(ops.div(x, ops.sub(one, x)))
    # the derivative is infinite at 0 and 1, and NaN beyond them
    outside = ops.bitor(ops.lt(x, zero), ops.lt(one, x))
    within = ops.mul(x, ops.where(outside, ops.like(math.nan, x), one))
    return ops.surrogate(value, ops.sub(ops.log(within), ops.log1p(ops.neg(within))))


# (-1)**k / (2k + 1)!, the highest first: sin(a) / a as powers of a**2, to 1e-18 for |a| < 1/2
_SINC = [(-1) ** k / math.factorial(2 * k + 1) for k in range(7, -1, -1)]


@precise
def _sinc(x: Node) -> Node:
    angle, one = _scale(math.pi)(x), ops.like(1, x)
    square = ops.mul(angle, angle)
    # near 0 the terms of the quotient's derivative cancel
    near = ops.lt(square, ops.like(0.25, x))
    series = polynomial(ops.where(near, square, ops.like(0, x)), _SINC)
    safe = ops.where(near, one, angle)
    value = ops.where(near, series, ops.div(ops.sin(safe), safe))
    return ops.where(ops.eq(x, ops.like(0, x)), one, value)  # no cotangent passes at 0, not even NaN


for _row in (
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "cos",
    "cosh",
    "erf",
    "erfc",
    "exp",
    "exp2",
    "expm1",
    "log",
    "log10",
    "log1p",
    "log2",
    "reciprocal",
    "rsqrt",
    "sin",
    "sinh",
    "sqrt",
    "tan",
    "tanh",
):
    unary(_row, ops.OPS[_row], *(("arc" + _row[1:],) if _row[0] == "a" else ()))
sigmoid = unary("sigmoid", _sigmoid)
unary("neg", ops.neg, "negative", dtype="number")
unary("abs", ops.abs_, "absolute", dtype="number")
unary("sign", lambda x: x if x.dtype.kind == "bool" else ops.sign(x), "sgn", dtype="same")
unary("floor", ops.floor, dtype="whole")
unary("ceil", ops.ceil, dtype="whole")
unary("trunc", ops.trunc, "fix", dtype="whole")
relu = unary("relu", _relu, dtype="number")
unary("deg2rad", _scale(math.pi / 180))
unary("rad2deg", _scale(180 / math.pi))
unary("sinc", _sinc)


@with_in_place("round")
def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """To the nearest integer, ties to even; to `decimals` places. Integers stay as they are."""
    if input._dtype.kind != "float":
        return input.clone()
    if not decimals:
        return apply("round", ops.round_, input)
    factor = 10.0 ** abs(decimals)
    scaled = mul(input, factor) if decimals > 0 else div(input, factor)
    whole = apply("round", ops.round_, scaled)
    return div(whole, factor) if decimals > 0 else mul(whole, factor)


@with_in_place("square")
def square(input: Tensor) -> Tensor:
    """input * input; bool gives int64."""
    return power(input, 2)


@with_in_place("frac")
@one_operation("frac")
def frac(input: Tensor) -> Tensor:
    """The part after the point, with the sign of the whole."""
    return sub(input, input.trunc())


@with_in_place("logit")
def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)), with x clamped to [eps, 1 - eps] where eps is given."""
    x = input if input._dtype.kind == "float" else input.to(promotion.get_default_dtype())
    return apply("logit", _logit, x if eps is None else clamp(x, eps, 1 - eps))


@function("positive")
def positive(input: Tensor) -> Tensor:
    """The tensor itself. Raises DTypeError for bool."""
    if input._dtype.kind == "bool":
        raise DTypeError("[positive] The `+` operator, on a bool tensor is not supported.")
    return input


# Tests of floats


def _test(name: str, build: Callable[[Node], Node], otherwise: bool) -> None:
    def test(input: Tensor) -> Tensor:
        if input._dtype.kind != "float":
            return apply(name, lambda x: ops.const(otherwise, dtypes.bool_, x.shape), input)
        return apply(name, build, input)

    test.__name__ = test.__qualname__ = name
    test.__doc__ = f"Elementwise `{name}`: a bool tensor."
    function(name)(test)


def _is_infinite(x: Node) -> Node:
    return ops.eq(ops.abs_(x), ops.like(math.inf, x))


_test("isnan", lambda x: ops.ne(x, x), False)
_test("isinf", _is_infinite, False)
_test("isfinite", lambda x: ops.lt(ops.abs_(x), ops.like(math.inf, x)), True)
_test("isposinf", lambda x: ops.eq(x, ops.like(math.inf, x)), False)
_test("isneginf", lambda x: ops.eq(x, ops.like(-math.inf, x)), False)


@function("signbit")
def signbit(input: Tensor) -> Tensor:
    """Whether the sign is negative, -0.0 included: a bool tensor."""
    if input._dtype.kind != "float":
        return input < 0
    return apply("signbit", _sign_bit, input)


def _sign_bit(x: Node) -> Node:
    bits = {2: dtypes.int16, 4: dtypes.int32, 8: dtypes.int64}[x.dtype.itemsize]
    as_integer = ops.bitcast(x, arg=bits)
    return ops.lt(as_integer, ops.like(0, as_integer))


# Of two tensors


def _binary(
    name: str, build: Callable[..., Node], floats_only: bool, *aliases: str, numbers: str = ""
) -> Callable[..., Tensor]:
    """Publish a function of two tensors; of `numbers`, "input" and "other", each may be a number."""

    def combine(input: Any, other: Any) -> Tensor:
        x, y = (
            check_operand(name, value) if argument in numbers else check_tensor(name, value, argument, place)
            for place, (argument, value) in enumerate((("input", input), ("other", other)), 1)
        )
        check_operands(name, x, y)
        dtype = result_type(x, y)
        if floats_only and dtype.kind != "float":
            dtype = promotion.get_default_dtype()
        return elementwise(name, build, (x, y), dtype)

    combine.__name__ = combine.__qualname__ = name
    combine.__doc__ = f"Elementwise `{name}` of two tensors{', or a tensor and a number' if numbers else ''}."
    return with_in_place(name, *aliases)(combine)


def _log_add(scale: float) -> Callable[[Node, Node], Node]:
    def gradient(g: Node, value: Node, x: Node, y: Node) -> tuple[Node, Node]:
        apart = _scale(scale)(ops.sub(x, y))
        return ops.mul(g, _sigmoid(apart)), ops.mul(g, _sigmoid(ops.neg(apart)))

    @precise
    def build(x: Node, y: Node) -> Node:
        a, b = ops.detach(x), ops.detach(y)
        high, low = ops.maximum(a, b), ops.minimum(a, b)
        # equal infinities would give inf - inf
        gap = ops.where(ops.eq(a, b), ops.like(0, a), ops.sub(low, high))
        value = ops.add(high, _scale(1 / scale)(ops.log1p(ops.exp(_scale(scale)(gap)))))
        return ops.surrogate(value, x, y, arg=gradient)

    return build


def _xlogy(x: Node, y: Node) -> Node:
    """x * log(y), 0 where x is; there the derivative by x is log(y), but 0 where that is no finite number."""
    a, b, zero = ops.detach(x), ops.detach(y), ops.like(0, x)
    product = ops.mul(a, ops.log(b))
    value = ops.where(ops.ne(b, b), b, ops.where(ops.eq(a, zero), zero, product))
    return ops.surrogate(value, x, y, arg=_xlogy_gradient)


def _xlogy_gradient(g: Node, value: Node, x: Node, y: Node) -> tuple[Node, Node]:
    zero = ops.like(0, x)
    flat = ops.bitand(ops.eq(x, zero), ops.le(y, zero))
    flat = ops.bitor(flat, ops.bitand(ops.eq(g, zero), ops.eq(y, y)))  # no 0 * infinity
    by_x = ops.where(flat, zero, ops.mul(g, ops.log(ops.where(flat, ops.like(1, y), y))))
    return by_x, ops.div(ops.mul(g, x), y)


def _copysign(x: Node, y: Node) -> Node:
    size = ops.abs_(ops.detach(x))
    value = ops.where(_sign_bit(ops.detach(y)), ops.neg(size), size)
    return ops.surrogate(value, x, y, arg=_copysign_gradient)


def _copysign_gradient(g: Node, value: Node, x: Node, y: Node) -> tuple[Node, Node]:
    # PyTorch's quotient: NaN at infinities too
    at_zero = ops.eq(x, ops.like(0, x))
    turned = ops.detach(ops.div(value, ops.where(at_zero, ops.like(1, x), x)))
    return ops.where(at_zero, ops.like(0, g), ops.mul(g, turned)), ops.like(0, g)


def _heaviside(x: Node, y: Node) -> Node:
    zero = ops.like(0, x)
    return ops.where(ops.eq(x, zero), y, ops.cast(ops.lt(zero, x), arg=x.dtype))


@precise
def _hypot(x: Node, y: Node) -> Node:
    # the squares of x and y may overflow or vanish: those of their quotient do not
    a, b = ops.abs_(x), ops.abs_(y)
    high, low = ops.maximum(a, b), ops.minimum(a, b)
    infinite = ops.bitor(_is_infinite(x), _is_infinite(y))
    safe = ops.where(ops.bitor(infinite, ops.eq(high, ops.like(0, x))), ops.like(1, x), high)
    share = ops.div(ops.where(infinite, ops.like(0, x), low), safe)
    value = ops.mul(high, ops.sqrt(ops.add(ops.mul(share, share), ops.like(1, x))))
    value = ops.where(infinite, ops.like(math.inf, x), value)
    return ops.surrogate(value, ops.sqrt(ops.add(ops.mul(x, x), ops.mul(y, y))))


def _fmax(x: Node, y: Node) -> Node:
    return ops.where(ops.bitor(ops.le(y, x), ops.ne(y, y)), x, y)  # of equals x, which takes the gradient


def _fmin(x: Node, y: Node) -> Node:
    return ops.where(ops.bitor(ops.le(x, y), ops.ne(y, y)), x, y)


maximum = _binary("maximum", ops.maximum, False)
minimum = _binary("minimum", ops.minimum, False)
_binary("fmax", _fmax, False)
_binary("fmin", _fmin, False)
_binary("atan2", ops.atan2, True, "arctan2")
_binary("hypot", _hypot, True)
_binary("logaddexp", _log_add(1.0), True)
_binary("logaddexp2", _log_add(math.log(2)), True)
_binary("xlogy", _xlogy, True, numbers="input other")
_binary("copysign", _copysign, True, numbers="other")


@with_in_place("heaviside")
def heaviside(input: Tensor, values: Tensor) -> Tensor:
    """0 below 0, 1 above it, and at 0 what `values` says. Raises DTypeError for different types."""
    x, y = check_tensor("heaviside", input, "input", 1), check_tensor("heaviside", values, "values", 2)
    check_same_type("heaviside", input=x, values=y)
    return elementwise("heaviside", _heaviside, (x, y))


# Choices and bounds


@function("where")
def where(condition: Tensor, input: Any = None, other: Any = None) -> Any:
    """`input` where condition holds, else `other`; both may be numbers. With the condition alone: the indices
    of nonzero elements. Raises DTypeError unless the condition is bool (or uint8)."""
    if input is None and other is None:
        return condition.nonzero(as_tuple=True)
    if not isinstance(condition, Tensor) and isinstance(input, Tensor) and isinstance(other, Tensor):
        condition, input, other = input, condition, other  # x.where(condition, y) as a method
    if condition._dtype is dtypes.uint8:
        condition = truth(condition)
    if condition._dtype is not dtypes.bool_:
        raise DTypeError(
            f"[where] expected condition to be a boolean tensor, but got a tensor with dtype "
            f"{promotion.pytorch_name(condition._dtype)}: compare it, as in (c != 0)"
        )
    x, y = check_operand("where", input), check_operand("where", other)
    return choose("where", condition, x, y, result_type(x, y))


def choose(name: str, condition: Tensor, x: Any, y: Any, dtype: DType) -> Tensor:
    """x where condition holds, else y, in `dtype`."""
    operands = (condition, x, y)
    tensors = [o for o in operands if isinstance(o, Tensor)]
    shape = broadcast(name, *[t._shape for t in tensors])

    def build(mask: Node, *nodes: Node) -> Node:
        rest = iter(nodes)
        branches = [
            stretch(converted(next(rest), dtype), shape)
            if isinstance(o, Tensor)
            else constant(name, o, dtype, shape)
            for o in operands[1:]
        ]
        return ops.where(stretch(mask, shape), *branches)

    return apply(name, build, *tensors)


@method("where")
def _where_method(x: Tensor, condition: Tensor, other: Any) -> Tensor:
    """x where condition holds, else other."""
    return where(condition, x, other)


@with_in_place("masked_fill")
def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """`value` (a number or 0-d tensor) where the mask holds, else input; input's type stays."""
    require_tensor("masked_fill", input)
    value = check_operand("masked_fill", value)
    if isinstance(value, Tensor) and value.ndim:
        raise ShapeError(
            f"[masked_fill] masked_fill_ only supports a 0-dimensional value tensor, but got tensor with "
            f"{value.ndim} dimension(s)"
        )
    if mask._dtype is not dtypes.bool_:
        raise DTypeError(
            f"[masked_fill] masked_fill_ only supports boolean masks, but got mask with dtype {mask._dtype!r}"
        )
    return choose("masked_fill", mask, value, input, input._dtype)


@with_in_place("clamp", "clip")
def clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """input held within [min, max], numbers or tensors. Raises ArgumentError without any bound."""
    if min is None and max is None:
        raise ArgumentError("[clamp] At least one of 'min' or 'max' must not be None")
    require_tensor("clamp", input)
    low, high = (None if b is None else check_operand("clamp", b) for b in (min, max))
    bounds = [b for b in (low, high) if b is not None]
    dtype = result_type(input, *bounds)
    tensors = isinstance(bounds[0], Tensor)
    if isinstance(bounds[-1], Tensor) is not tensors:
        raise ArgumentTypeError(f"[clamp] min and max must both be tensors or both numbers, got "
                                f"{type(min).__name__} and {type(max).__name__}")
    result = input.to(dtype)
    if tensors and low is not None and high is not None:
        return elementwise("clamp", _between, (result, low, high), dtype)
    if low is not None:
        result = elementwise("clamp", _raised if tensors else _at_least, (result, low), dtype)
    if high is not None:
        result = elementwise("clamp", _lowered if tensors else _at_most, (result, high), dtype)
    return result


def _taken(beyond: Node, bound: Node) -> Node:
    """Where a number as bound is taken: where x lies beyond it, and everywhere if it is NaN."""
    is_nan = bound.op.name == "const" and bound.arg.value != bound.arg.value
    return ops.const(True, dtypes.bool_, beyond.shape) if is_nan else beyond


def _at_least(x: Node, low: Node) -> Node:
    below = _taken(ops.lt(x, low), low)
    return _bounded(ops.where(below, low, x), x, ops.le(low, x), (below, low))


def _at_most(x: Node, high: Node) -> Node:
    above = _taken(ops.lt(high, x), high)
    return _bounded(ops.where(above, high, x), x, ops.le(x, high), (above, high))


def _raised(x: Node, low: Node) -> Node:
    return _bounded(ops.maximum(x, low), x, ops.le(low, x), (ops.lt(x, low), low))


def _lowered(x: Node, high: Node) -> Node:
    return _bounded(ops.minimum(x, high), x, ops.le(x, high), (ops.lt(high, x), high))


def _between(x: Node, low: Node, high: Node) -> Node:
    inside = ops.bitand(ops.le(low, x), ops.le(x, high))
    below = ops.bitand(ops.lt(x, low), ops.lt(low, high))
    above = ops.bitor(ops.lt(high, x), ops.lt(high, low))
    return _bounded(ops.minimum(ops.maximum(x, low), high), x, inside, (below, low), (above, high))


def _bounded(value: Node, x: Node, inside: Node, *bounds: tuple[Node, Node]) -> Node:
    # the whole gradient goes to x at the bound; NaN stays and has no gradient
    if x.dtype.kind != "float":
        return value
    source = ops.like(0, x)
    for beyond, bound in bounds:
        source = ops.where(beyond, bound, source)
    return ops.surrogate(value, ops.where(inside, x, source))


@with_in_place("clamp_min")
def clamp_min(input: Tensor, min: float | Tensor) -> Tensor:
    """No element below min."""
    return as_operation(clamp(input, min=min), f"ClampMinBackward{int(isinstance(min, Tensor))}", input, min)


@with_in_place("clamp_max")
def clamp_max(input: Tensor, max: float | Tensor) -> Tensor:
    """No element above max."""
    return as_operation(clamp(input, max=max), f"ClampMaxBackward{int(isinstance(max, Tensor))}", input, max)


@with_in_place("nan_to_num")
def nan_to_num(
    input: Tensor, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """NaN and the infinities replaced; by the greatest and least finite values where none are given."""
    if input._dtype.kind != "float":
        return input.clone()
    limit = finfo(input._dtype).max

    def build(x: Node) -> Node:
        high, low = (limit if posinf is None else posinf), (-limit if neginf is None else neginf)
        x = ops.where(ops.ne(x, x), ops.like(nan, x), x)
        x = ops.where(ops.eq(x, ops.like(math.inf, x)), ops.like(high, x), x)
        return ops.where(ops.eq(x, ops.like(-math.inf, x)), ops.like(low, x), x)

    return apply("nan_to_num", build, input)
