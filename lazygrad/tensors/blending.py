"""Tensors blended (lerp, addcmul, addcdiv), and how close two are."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from lazygrad import dtypes, ops
from lazygrad.errors import ArgumentError, DTypeError
from lazygrad.graph import Node
from lazygrad.tensors.arithmetic import with_in_place
from lazygrad.tensors.core import Tensor, function
from lazygrad.tensors.grad_fn import as_operation, one_operation
from lazygrad.tensors.promotion import (
    check_operand,
    check_same_type,
    check_tensor,
    elementwise,
    result_type,
    rounded_once,
)

# Multiply and add


@with_in_place("lerp")
def lerp(input: Tensor, end: Tensor, weight: Any) -> Tensor:
    """input + weight * (end - input), from the nearer end as PyTorch computes it. Raises DTypeError for
    integers and for different types."""
    x, y = check_tensor("lerp", input, "input", 1), check_tensor("lerp", end, "end", 2)
    w = check_operand("lerp", weight)
    check_same_type("lerp", input=x, end=y, **({"weight": w} if isinstance(w, Tensor) and w.ndim else {}))
    if result_type(x, w if isinstance(w, Tensor) else x).kind != "float":
        raise DTypeError(f"[lerp] not implemented for {x._dtype!r}: convert it with .float()")

    def build(x: Node, y: Node, w: Node) -> Node:
        gap = ops.sub(y, x)
        near_start = ops.add(x, ops.mul(w, gap))
        near_end = ops.sub(y, ops.mul(gap, ops.sub(ops.like(1, w), w)))
        return ops.where(ops.lt(ops.abs_(w), ops.like(0.5, w)), near_start, near_end)

    name = "LerpBackward1" if isinstance(w, Tensor) else "LerpBackward0"
    return as_operation(rounded_once("lerp", build, (x, y, w)), name, x, y, w)


@with_in_place("addcmul")
@one_operation("addcmul")
def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    """input + value * tensor1 * tensor2."""
    return _plus_scaled("addcmul", ops.mul, input, tensor1, tensor2, value)


@with_in_place("addcdiv")
@one_operation("addcdiv")
def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    """input + value * tensor1 / tensor2. Raises DTypeError for integers."""
    _tensors_of("addcdiv", input, tensor1, tensor2)
    if result_type(tensor1, tensor2).kind != "float":
        raise DTypeError(
            "[addcdiv] Integer division with addcdiv is no longer supported: convert one side to float"
        )
    return _plus_scaled("addcdiv", ops.div, input, tensor1, tensor2, value)


def _tensors_of(name: str, *operands: Any) -> list[Tensor]:
    names = ("input", "tensor1", "tensor2")
    return [
        check_tensor(name, value, argument, place)
        for place, (argument, value) in enumerate(zip(names, operands, strict=True), 1)
    ]


def _plus_scaled(name: str, row: Callable[..., Node], x: Tensor, y: Tensor, z: Tensor, value: Any) -> Tensor:
    """x + row(value * y, z), rounded once."""
    x, y, z = _tensors_of(name, x, y, z)
    dtype = result_type(x, y, z)
    if dtype.kind != "float" and isinstance(value, float):
        value = int(value)

    def build(a: Node, b: Node, c: Node, factor: Node | None = None) -> Node:
        return ops.add(a, row(b if factor is None else ops.mul(factor, b), c))

    return rounded_once(name, build, (x, y, z) if value == 1 else (x, y, z, value), dtype)


# Closeness


@function("isclose")
def isclose(
    input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    """Whether |input - other| <= atol + rtol * |other|, elementwise. Raises DTypeError for unequal types."""
    input, other = check_tensor("isclose", input, "input", 1), check_tensor("isclose", other, "other", 2)
    for bound, value in (("rtol", rtol), ("atol", atol)):
        if value < 0:
            raise ArgumentError(f"[isclose] {bound} must be at least zero, but got {value}")
    if input._dtype is not other._dtype:
        raise DTypeError(
            f"[isclose] {input._dtype.name} did not match {other._dtype.name}: convert one of them"
        )

    def build(x: Node, y: Node) -> Node:
        same = ops.eq(x, y)
        if x.dtype.kind != "float":
            wide = dtypes.float64
            x, y = ops.cast(x, arg=wide), ops.cast(y, arg=wide)
        bound = ops.add(ops.like(atol, y), ops.abs_(ops.mul(ops.like(rtol, y), y)))
        gap = ops.abs_(ops.sub(x, y))
        close = ops.bitand(ops.le(gap, bound), ops.lt(gap, ops.like(math.inf, gap)))
        result = ops.bitor(same, close)
        return ops.bitor(result, ops.bitand(ops.ne(x, x), ops.ne(y, y))) if equal_nan else result

    return elementwise("isclose", build, (input, other))


@function("allclose")
def allclose(
    input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> bool:
    """Whether all elements are close. Realizes."""
    return bool(isclose(input, other, rtol, atol, equal_nan).all())


@function("equal")
def equal(input: Tensor, other: Tensor) -> bool:
    """Whether shapes and all elements are equal. Realizes."""
    return input._shape == other._shape and bool((input == other).all())
