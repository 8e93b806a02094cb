"""Cholesky's factorization, triangular systems, and what is solved by them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from lazygrad import ops
from lazygrad.compositions import factorizations as factor
from lazygrad.compositions import matrices as m
from lazygrad.graph import Node
from lazygrad.tensors.core import Tensor, function
from lazygrad.tensors.linalg.common import (
    check_fit,
    check_matrices,
    check_square,
    linalg,
    made,
    one_batch,
    raise_where,
)
from lazygrad.tensors.return_types import return_type

_CholeskyEx = return_type("linalg_cholesky_ex", "L", "info")
_TriangularSolve = return_type("triangular_solve", "solution", "cloned_coefficient")


def _not_positive(order: int) -> str:
    return ("The factorization could not be completed because the input is not positive-definite (the "
            f"leading minor of order {order} is not positive-definite).")


def _cholesky_ex(name: str, x: Tensor, upper: bool) -> tuple[Tensor, Tensor]:
    check_square(name, x)

    def build(n: Node) -> Node:
        found = factor.cholesky(m.transposed(n) if upper else n)
        return m.transposed(found) if upper else found

    result = made(name, build, x)
    return result, made(name, lambda n: m.first_nan(m.diagonal(n)), result.detach())


@linalg("cholesky_ex")
def cholesky_ex(A: Tensor, *, upper: bool = False, check_errors: bool = False) -> Any:
    """(L, info): L as `cholesky` has it, and for each matrix 0, or the order of the first leading minor that
    is not positive (int32); L is NaN from there on. Raises LinAlgError only with `check_errors`."""
    result, info = _cholesky_ex("linalg.cholesky_ex", A, upper)
    if check_errors:
        raise_where("linalg.cholesky_ex", info, _not_positive)
    return _CholeskyEx(result, info)


def _cholesky(name: str, x: Tensor, upper: bool) -> Tensor:
    result, info = _cholesky_ex(name, x, upper)
    raise_where(name, info, _not_positive)
    return result


@linalg("cholesky")
def linalg_cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """The lower triangular L (..., n, n) with A = L L^T, or with `upper` the U with A = U^T U.

    Only that half of A is read. Raises LinAlgError for matrices that are not positive definite.
    """
    return _cholesky("linalg.cholesky", A, upper)


@function("cholesky")
def cholesky(input: Tensor, upper: bool = False) -> Tensor:
    """As `linalg.cholesky`; of no elements, any shape."""
    return _cholesky("cholesky", input, upper) if input.numel() else input.clone()


def _check_sides(name: str, a: Tensor, b: Tensor, left: bool) -> None:
    check_square(name, a)
    check_matrices(name, a, b, what="B")
    check_fit(name, a, b, left)


@linalg("solve_triangular")
def linalg_solve_triangular(A: Tensor, B: Tensor, *, upper: bool, left: bool = True,
                            unitriangular: bool = False) -> Tensor:
    """The X (..., n, k) with A X = B for triangular A (..., n, n), or with `left=False` with X A = B.

    Only that half of A is read. A singular A gives inf or NaN, no error.
    """
    name = "linalg.solve_triangular"
    _check_sides(name, A, B, left)

    def build(a: Node, b: Node) -> Node:
        solve = factor.solve_triangular if left else factor.solve_triangular_right
        return solve(*one_batch(name, a, b), upper, unitriangular)

    return made(name, build, A, B)


@function("triangular_solve")
def triangular_solve(input: Tensor, A: Tensor, upper: bool = True, transpose: bool = False,
                     unitriangular: bool = False) -> Any:
    """(solution, A) of A X = input, or A^T X = input with `transpose`; A (..., n, n) is triangular."""
    _check_sides("triangular_solve", A, input, True)

    def build(b: Node, a: Node) -> Node:
        a, b = one_batch("triangular_solve", a, b)
        return factor.solve_triangular(m.transposed(a) if transpose else a, b, upper != transpose,
                                       unitriangular)

    result = made("triangular_solve", build, input, A)
    return _TriangularSolve(result, A.expand(*result.shape[:-2], *A.shape[-2:]).clone())


@cache
def _solved_by_factor_gradient(upper: bool) -> Callable[..., tuple[Node, Node]]:
    """As PyTorch has it: of the whole factor, though only one half of it is read."""
    def gradient(g: Node, x: Node, factored: Node, b: Node) -> tuple[Node, Node]:
        to_b = _solved_by_factor(factored, g, upper)
        both = m.times(to_b, m.transposed(x))
        both = ops.neg(ops.add(both, m.transposed(both)))
        return (m.times(factored, both) if upper else m.times(both, factored)), to_b

    return gradient


def _solved_by_factor(factored: Node, b: Node, upper: bool) -> Node:
    if not b.size:
        return b
    first = ops.detach(m.transposed(factored) if upper else factored)
    x = factor.solve_triangular(first, ops.detach(b), False)
    x = factor.solve_triangular(m.transposed(first), x, True)
    return ops.surrogate(x, factored, b, arg=_solved_by_factor_gradient(upper))


@function("cholesky_solve")
def cholesky_solve(input: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    """The X with A X = input (..., n, k), given A's Cholesky factor L (..., n, n)."""
    _check_sides("cholesky_solve", L, input, True)

    def build(b: Node, factored: Node) -> Node:
        factored, b = one_batch("cholesky_solve", factored, b)
        return _solved_by_factor(factored, b, upper)

    return made("cholesky_solve", build, input, L)


@function("cholesky_inverse")
def cholesky_inverse(input: Tensor, upper: bool = False) -> Tensor:
    """The inverse of A (..., n, n), given its Cholesky factor. Raises LinAlgError where that has a zero on
    its diagonal."""
    name = "cholesky_inverse"
    check_square(name, input)

    result = made(name, lambda n: _solved_by_factor(n, m.eye(n, n.shape[-1]), upper), input)
    raise_where(name, made(name, lambda n: m.first_zero(m.diagonal(n)), input.detach()), singular)
    return result


def singular(number: int) -> str:
    """Why a matrix has no inverse."""
    return (f"The diagonal element {number} is zero, the inversion could not be completed because the input "
            "matrix is singular.")
