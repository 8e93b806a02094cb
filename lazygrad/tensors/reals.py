"""What real tensors, the only ones there are, answer where code asks about complex numbers."""

from __future__ import annotations

import math
from typing import Any

from lazygrad import dtypes, ops
from lazygrad.errors import UnsupportedError
from lazygrad.graph import Node
from lazygrad.missing import NO_COMPLEX, refuse
from lazygrad.tensors.core import Tensor, apply, creator, function, method
from lazygrad.tensors.elementwise import unary


@function("conj", "conj_physical", "resolve_conj", "resolve_neg")
def conj(input: Tensor) -> Tensor:
    """The tensor itself: real numbers are their own conjugates."""
    return input


@function("conj_physical_")
def conj_physical_(x: Tensor) -> Tensor:
    """The tensor itself."""
    return x


@function("is_conj", "is_neg")
def is_conj(input: Tensor) -> bool:
    """False: no tensor is another one's conjugate or negative, read without a copy."""
    return False


@creator("real")
def real(input: Tensor) -> Tensor:
    """The tensor itself."""
    return input


@creator("imag")
def imag(input: Tensor) -> Tensor:
    """Raises UnsupportedError, as PyTorch does for real tensors."""
    raise UnsupportedError(
        "[imag] imag is not implemented for tensors with non-complex dtypes: it is 0 everywhere"
    )


Tensor.real, Tensor.imag = property(real), property(imag)


@function("isreal")
def isreal(input: Tensor) -> Tensor:
    """True for every element."""
    return apply("isreal", lambda x: ops.const(True, dtypes.bool_, x.shape), input)


def _angle(x: Node) -> Node:
    flat = ops.detach(x)
    turned = ops.where(ops.lt(flat, ops.like(0, flat)), ops.like(math.pi, flat), ops.like(0, flat))
    value = ops.where(ops.ne(flat, flat), flat, turned)
    return ops.surrogate(value, x, arg=lambda g, value, x: (ops.like(0, g),))


unary("angle", _angle)


@method("cfloat", "cdouble", "chalf")
def cfloat(x: Tensor, memory_format: Any = None) -> Tensor:
    """Raises UnsupportedError."""
    refuse("cfloat", NO_COMPLEX)


@creator("complex", "polar", "view_as_complex", "view_as_complex_copy")
def complex_(*parts: Any, **options: Any) -> Tensor:
    """Raises UnsupportedError: real and imaginary parts stay in two tensors."""
    refuse("complex", NO_COMPLEX)


@creator("view_as_real", "view_as_real_copy")
def view_as_real(input: Tensor) -> Tensor:
    """Raises UnsupportedError, as PyTorch does for real tensors."""
    refuse("view_as_real", f"view_as_real is only supported for complex tensors: {NO_COMPLEX}")
