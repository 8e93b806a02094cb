"""Numbers as integers and exponents: gcd, lcm, ldexp, frexp, nextafter, hash_tensor, and positions as
coordinates."""

from __future__ import annotations

import math
from typing import Any

from lazygrad import dtypes, ops
from lazygrad.dtypes import DType
from lazygrad.errors import ArgumentError, ArgumentTypeError, AxisError, DTypeError, ShapeError
from lazygrad.graph import Node
from lazygrad.helpers import product
from lazygrad.tensors.arithmetic import with_in_place
from lazygrad.tensors.axes import axes_of, sizes_of
from lazygrad.tensors.core import FUNCTIONS, Tensor, apply, function
from lazygrad.tensors.grad_fn import as_operation
from lazygrad.tensors.promotion import (
    check_tensor,
    converted,
    elementwise,
    get_default_dtype,
    result_type,
    rounded_once,
)
from lazygrad.tensors.return_types import return_type


def _integers(name: str, input: Any, other: Any) -> tuple[Tensor, Tensor]:
    x, y = check_tensor(name, input, "input", 1), check_tensor(name, other, "other", 2)
    kind = result_type(x, y)
    if not kind.is_integer:
        raise DTypeError(f"[{name}] not implemented for {kind}: both must be integers")
    return x, y


def _gcd(x: Node, y: Node) -> Node:
    a, b = ops.abs_(x), ops.abs_(y)
    if x.dtype.kind == "uint":
        a, b = x, y
    # Euclid's algorithm; as many steps as two neighbours of Fibonacci's numbers need
    zero, one = ops.like(0, a), ops.like(1, a)
    for _ in range(int(x.dtype.bits * 1.45) + 1):
        done = ops.eq(b, zero)
        rest = ops.fmod(a, ops.where(done, one, b))
        a, b = ops.where(done, a, b), ops.where(done, zero, rest)
    return a


@with_in_place("gcd")
def gcd(input: Tensor, other: Tensor) -> Tensor:
    """The greatest common divisors of integers, not negative; gcd(0, 0) = 0."""
    return elementwise("gcd", _gcd, _integers("gcd", input, other))


def _lcm(x: Node, y: Node) -> Node:
    divisor = _gcd(x, y)
    safe = ops.where(ops.eq(divisor, ops.like(0, divisor)), ops.like(1, divisor), divisor)
    # products of narrow types have all their digits, as in C, when their signs are dropped
    wide = max(x.dtype, dtypes.int32, key=lambda d: d.bits)
    value = ops.mul(ops.truncdiv(converted(x, wide), converted(safe, wide)), converted(y, wide))
    return converted(ops.abs_(value) if wide.kind == "int" else value, x.dtype)


@with_in_place("lcm")
def lcm(input: Tensor, other: Tensor) -> Tensor:
    """The least common multiples of integers, not negative."""
    return elementwise("lcm", _lcm, _integers("lcm", input, other))


@with_in_place("ldexp")
def ldexp(input: Tensor, other: Tensor) -> Tensor:
    """input * 2**other, in the float type that both have together; integers give the default one."""
    x, y = check_tensor("ldexp", input, "input", 1), check_tensor("ldexp", other, "other", 2)
    is_float = "float" in (x._dtype.kind, y._dtype.kind)
    dtype = result_type(x, y) if is_float else get_default_dtype()
    made = rounded_once("ldexp", lambda a, b: ops.mul(a, ops.pow_(ops.like(2, b), b)), (x, y), dtype)
    return as_operation(made, "MulBackward0", x, y)


# dtype -> (unsigned type of the same width, bits of the mantissa, bias of the exponent)
_LAYOUT: dict[DType, tuple[DType, int, int]] = {
    dtypes.float16: (dtypes.uint16, 10, 15),
    dtypes.bfloat16: (dtypes.uint16, 7, 127),
    dtypes.float32: (dtypes.uint32, 23, 127),
    dtypes.float64: (dtypes.uint64, 52, 1023),
}


def _check_float(name: str, x: Tensor) -> None:
    if x.dtype not in _LAYOUT:
        raise DTypeError(f"[{name}] only supports floating-point dtypes, got {x.dtype}")


def _exponent(x: Node) -> Node:
    """floor(log2 |x|) of numbers that are finite, not 0, and not subnormal: int32."""
    unsigned, mantissa, bias = _LAYOUT[x.dtype]
    bits = ops.bitcast(x, arg=unsigned)
    field = ops.shr(bits, ops.like(mantissa, bits))
    field = ops.bitand(field, ops.like(2 * bias + 1, bits))
    return ops.sub(ops.cast(field, arg=dtypes.int32), ops.const(bias, dtypes.int32, x.shape))


def _power_of_two(exponent: Node, dtype: DType) -> Node:
    """2**exponent where that is a normal number."""
    unsigned, mantissa, bias = _LAYOUT[dtype]
    field = ops.cast(ops.add(exponent, ops.like(bias, exponent)), arg=unsigned)
    return ops.bitcast(ops.shl(field, ops.like(mantissa, field)), arg=dtype)


def _frexp(x: Node) -> tuple[Node, Node]:
    _, mantissa, bias = _LAYOUT[x.dtype]
    zero = ops.like(0, x)
    smallest = ops.like(2.0 ** (1 - bias), x)
    finite = ops.lt(ops.abs_(x), ops.like(float("inf"), x))
    ordinary = ops.bitand(finite, ops.ne(x, zero))
    # subnormals are lifted into the normal numbers first
    tiny = ops.lt(ops.abs_(x), smallest)
    lifted = ops.where(tiny, ops.mul(x, ops.like(2.0 ** (mantissa + 1), x)), x)
    safe = ops.where(ordinary, lifted, ops.like(1, x))
    up = ops.add(_exponent(safe), ops.const(1, dtypes.int32, x.shape))
    # x / 2**up in two steps: 2**-up alone can be subnormal
    half = ops.truncdiv(up, ops.like(2, up))
    value = ops.mul(ops.mul(safe, _power_of_two(ops.neg(half), x.dtype)),
                    _power_of_two(ops.sub(half, up), x.dtype))
    exponent = ops.sub(up, ops.cast(ops.where(tiny, ops.like(mantissa + 1, x), zero), arg=dtypes.int32))
    return ops.where(ordinary, value, x), ops.where(ordinary, exponent, ops.like(0, exponent))


def _frexp_gradient(g: Node, value: Node, x: Node) -> tuple[Node]:
    # 0, infinities and NaN have the exponent 0
    zero, infinite = ops.like(0, x), ops.like(math.inf, x)
    scaled = ops.bitand(ops.lt(zero, ops.abs_(x)), ops.lt(ops.abs_(x), infinite))
    scale = ops.where(scaled, ops.div(value, ops.where(scaled, x, ops.like(1, x))), ops.like(1, x))
    return (ops.mul(g, ops.detach(scale)),)


_frexp_result = return_type("frexp", "mantissa", "exponent")


@function("frexp")
def frexp(input: Tensor) -> Any:
    """(mantissa, exponent), int32 exponents: input = mantissa * 2**exponent with 1/2 <= |mantissa| < 1."""
    _check_float("frexp", input)
    mantissa = apply(
        "frexp", lambda x: ops.surrogate(_frexp(ops.detach(x))[0], x, arg=_frexp_gradient), input)
    return _frexp_result(mantissa, apply("frexp", lambda x: _frexp(x)[1], input.detach()))


def _next(x: Node, y: Node) -> Node:
    unsigned, _, _ = _LAYOUT[x.dtype]
    bits = ops.bitcast(x, arg=unsigned)
    one = ops.like(1, bits)
    zero = ops.like(0, x)
    grows = ops.eq(ops.lt(x, y), ops.lt(zero, x))  # away from 0
    moved = ops.where(grows, ops.add(bits, one), ops.sub(bits, one))
    sign = ops.like(1 << (unsigned.bits - 1), bits)
    from_zero = ops.where(ops.lt(zero, y), one, ops.bitor(sign, one))
    result = ops.bitcast(ops.where(ops.eq(x, zero), from_zero, moved), arg=x.dtype)
    result = ops.where(ops.eq(x, y), y, result)
    unordered = ops.bitor(ops.ne(x, x), ops.ne(y, y))
    return ops.where(unordered, ops.add(x, y), result)


def _next_gradient(g: Node, value: Node, x: Node, y: Node) -> tuple[Node, None]:
    return ops.where(ops.eq(x, y), ops.like(0, g), g), None


@with_in_place("nextafter")
def nextafter(input: Tensor, other: Tensor) -> Tensor:
    """The next floating point number after input in the direction of other."""
    x, y = check_tensor("nextafter", input, "input", 1), check_tensor("nextafter", other, "other", 2)
    dtype = result_type(x, y)
    if dtype.kind != "float":
        raise DTypeError(f"[nextafter] not implemented for {dtype!r}: convert one of them with .float()")

    def build(x: Node, y: Node) -> Node:
        return ops.surrogate(_next(ops.detach(x), ops.detach(y)), x, y, arg=_next_gradient)

    return elementwise("nextafter", build, (x, y), dtype)


@function("unravel_index")
def unravel_index(indices: Tensor, shape: Any) -> tuple[Tensor, ...]:
    """The coordinates, one tensor for each dimension of a shape, of positions in row-major order."""
    if not indices.dtype.is_integer or indices.dtype is dtypes.bool_:
        raise ArgumentTypeError("[unravel_index] expected 'indices' to be integer dtype, but got "
                                f"{indices.dtype}: convert it with .long()")
    sizes = sizes_of("unravel_index", (shape,))
    if any(n < 0 for n in sizes):
        raise ShapeError(f"[unravel_index] 'shape' cannot have negative values, but got {sizes}")
    found, rest = [], indices.long() % max(product(sizes), 1)
    for n in reversed(sizes):
        found.append(rest % n)
        rest = rest // n
    return tuple(reversed(found))


@function("hash_tensor")
def hash_tensor(input: Tensor, dim: Any = (), keepdim: bool = False, *, mode: int = 0) -> Tensor:
    """The exclusive or of the bits of all elements, or of those along dimensions: of integers as int64, of
    others as float64; uint64. Mode 0 is the only one. Raises AxisError for dimensions without elements."""
    name = "hash_tensor"
    if mode:
        raise ArgumentError(f"[{name}] Unknown hash_tensor mode: {mode}")
    x = input.detach()
    x = x.double().view(dtypes.int64) if x.is_floating_point() else x.long()
    dims = range(x.ndim) if dim is None or dim == () else axes_of(name, dim, x.ndim)
    for d in dims:
        if not x._shape[d]:
            raise AxisError(f"[{name}] Expected reduction dim {d} to have non-zero size.")
    for d in dims:
        while x._shape[d] > 1:  # one half with the other; a middle one waits
            half = x._shape[d] // 2
            both = x.narrow(d, 0, half) ^ x.narrow(d, half, half)
            rest = x.narrow(d, 2 * half, x._shape[d] - 2 * half)
            x = FUNCTIONS["cat"]([both, rest], d) if rest._shape[d] else both
    kept = x if keepdim else x.reshape([n for d, n in enumerate(x._shape) if d not in dims])
    return kept.view(dtypes.uint64)
