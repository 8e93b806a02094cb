"""Norms of vectors and matrices, and condition numbers."""

from __future__ import annotations

import math
from typing import Any

from lazygrad import ops
from lazygrad.compositions.axes import wrap_axis
from lazygrad.dtypes import DType
from lazygrad.errors import ArgumentTypeError, DTypeError, ShapeError
from lazygrad.tensors.axes import axes_of
from lazygrad.tensors.core import FUNCTIONS, Tensor, apply, creator
from lazygrad.tensors.linalg.common import check_square, linalg
from lazygrad.tensors.linalg.orthogonal import svdvals
from lazygrad.tensors.linalg.solving import inv_ex
from lazygrad.tensors.promotion import pytorch_name


def _widened(name: str, x: Any, dtype: DType | None) -> Tensor:
    if not isinstance(x, Tensor):
        raise ArgumentTypeError(f"[{name}] expected a Tensor, got {type(x).__name__}")
    if x.dtype.kind != "float":
        raise DTypeError(f"[{name}] {name}: Expected a floating point or complex tensor as input. Got "
                         f"{pytorch_name(x.dtype)}")
    return x if dtype is None else x.to(dtype)


@linalg("vector_norm")
def vector_norm(x: Tensor, ord: float = 2, dim: Any = None, keepdim: bool = False, *,
                dtype: DType | None = None) -> Tensor:
    """The norm of order `ord`, any number or infinity, over dimensions, of all elements by default."""
    name = "linalg.vector_norm"
    ord = float(ord)
    wide = _widened(name, x, dtype)
    dims = None if dim is None or dim == () else dim
    axes = axes_of(name, dims, x.ndim)
    if 0 in [x.shape[d] for d in axes] and (ord < 0 or ord == math.inf):
        raise ShapeError(f"[{name}] {name} cannot compute the {ord} norm on an empty tensor because the "
                         "operation does not have an identity")
    return FUNCTIONS["norm"](wide, ord, dims, keepdim)


def _two_dims(name: str, x: Tensor, dim: Any) -> tuple[int, int]:
    if not isinstance(dim, tuple | list) or len(dim) != 2:
        raise ShapeError(f"[{name}] {name}: dim must be a 2-tuple. Got {dim}")
    first, second = (wrap_axis(name, d, x.ndim) for d in dim)
    if first == second:
        raise ShapeError(f"[{name}] {name}: dims must be different. Got ({dim[0]}, {dim[1]})")
    return first, second


def _of_values(ord: Any, x: Tensor) -> Tensor:
    """The norms that are made of singular values: their sum, the greatest or the least one."""
    values = svdvals(x)
    if ord == "nuc" or not values.shape[-1]:
        return values.sum(-1)
    return values.amax(-1) if ord > 0 else values.amin(-1)  # equal ones share the gradient


def _of_sums(ord: float, x: Tensor) -> Tensor:
    """The greatest or the least sum of sizes, of rows (infinity) or columns (1)."""
    sums = x.abs().sum(-1 if abs(ord) == math.inf else -2)
    if not sums.shape[-1] and ord > 0:
        return sums.sum(-1)
    return sums.amax(-1) if ord > 0 else sums.amin(-1)


@linalg("matrix_norm")
def matrix_norm(A: Tensor, ord: float | str = "fro", dim: Any = (-2, -1), keepdim: bool = False, *,
                dtype: DType | None = None) -> Tensor:
    """The norm of matrices: "fro" (Frobenius), "nuc" (nuclear), or of order 1, -1, 2, -2, inf or -inf."""
    name = "linalg.matrix_norm"
    x = _widened(name, A, dtype)
    if x.ndim < 2:
        raise ShapeError(f"[{name}] {name}: The input tensor A must have at least 2 dimensions.")
    first, second = _two_dims(name, x, dim)
    if ord not in ("fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf):
        raise ShapeError(f"[{name}] {name}: Order {ord} not supported.")
    if ord == "fro":
        return vector_norm(x, 2, (first, second), keepdim)
    last = x.movedim((first, second), (-2, -1))
    found = _of_values(ord, last) if isinstance(ord, str) or abs(ord) == 2 else _of_sums(ord, last)
    if keepdim:
        for d in sorted((first, second)):
            found = found.unsqueeze(d)
    return found


@linalg("norm")
def norm(A: Tensor, ord: float | str | None = None, dim: Any = None, keepdim: bool = False, *,
         dtype: DType | None = None) -> Tensor:
    """`vector_norm` or `matrix_norm`: of matrices where two dimensions are named, or where an order is given
    for a tensor of two dimensions."""
    named = (dim,) if isinstance(dim, int) else dim
    if ord is None or (named is not None and len(named) == 1 and not isinstance(ord, str)):
        return vector_norm(A, 2 if ord is None else ord, named, keepdim, dtype=dtype)
    if named is None:
        if A.ndim not in (1, 2):
            raise ShapeError("[linalg.norm] linalg.norm: If dim is not specified but ord is, the input must "
                             f"be 1D or 2D. Got {A.ndim}D.")
        if A.ndim == 1:
            return vector_norm(A, ord, None, keepdim, dtype=dtype)
        named = (0, 1)
    return matrix_norm(A, ord, dim if isinstance(dim, int) else named, keepdim, dtype=dtype)


@creator("nuclear_norm")
def nuclear_norm(input: Tensor, dim: Any = (-2, -1), keepdim: bool = False) -> Tensor:
    """The sums of the singular values of matrices."""
    return matrix_norm(input, "nuc", dim, keepdim)


@creator("frobenius_norm")
def frobenius_norm(input: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """The square root of the sum of squares over dimensions."""
    return vector_norm(input, 2, dim, keepdim)


@linalg("cond")
def cond(A: Tensor, p: Any = None) -> Tensor:
    """The condition number of matrices (..., m, n), norm(A) * norm(inverse of A); infinite for singular ones.
    p: an order of `matrix_norm`, 2 by default; all but 2 and -2 ask for square matrices."""
    if p in (None, 2, -2):
        values = svdvals(A)
        if not values.shape[-1]:
            return values.sum(-1)
        high, low = values[..., 0], values[..., -1]
        return low / high if p == -2 else high / low
    check_square(f"linalg.cond(ord={p})", A)
    if not A.numel():
        return A.new_zeros(A.shape[:-2])
    inverse, info = inv_ex(A)
    found = matrix_norm(A, p) * matrix_norm(FUNCTIONS["where"](info[..., None, None] == 0, inverse, 0.0), p)

    def endless(n: Any, number: Any) -> Any:
        return ops.where(ops.eq(number, ops.like(0, number)), n, ops.like(math.inf, n))

    return apply("linalg_cond", endless, found, info)


