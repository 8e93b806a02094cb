"""Gaussian elimination and what is done with it: systems of equations, inverses, determinants."""

from __future__ import annotations

from typing import Any

from lazygrad import dtypes, ops
from lazygrad.compositions import axes
from lazygrad.compositions import factorizations as factor
from lazygrad.compositions import matrices as m
from lazygrad.errors import DTypeError, ShapeError, UnsupportedError
from lazygrad.graph import Node
from lazygrad.helpers import product
from lazygrad.tensors.core import FUNCTIONS, Tensor, function
from lazygrad.tensors.linalg.common import (
    are_vectors,
    check_fit,
    check_float,
    check_matrices,
    check_square,
    grown,
    linalg,
    made,
    one_batch,
    raise_where,
    several,
)
from lazygrad.tensors.linalg.triangular import singular
from lazygrad.tensors.promotion import pytorch_name
from lazygrad.tensors.return_types import return_type

_LU = return_type("linalg_lu", "P", "L", "U")
_LUUnpack = return_type("lu_unpack", "P", "L", "U")
_LUFactor = return_type("linalg_lu_factor", "LU", "pivots")
_LUFactorEx = return_type("linalg_lu_factor_ex", "LU", "pivots", "info")
_InvEx = return_type("linalg_inv_ex", "inverse", "info")
_SolveEx = return_type("linalg_solve_ex", "result", "info")
_Slogdet = return_type("linalg_slogdet", "sign", "logabsdet")
_OldSlogdet = return_type("slogdet", "sign", "logabsdet")


def _zero_pivot(name: str, x: Tensor) -> Tensor:
    """For each matrix the number, from 1, of the first pivot that is 0, or 0."""
    return made(name, lambda n: m.first_zero(m.diagonal(factor.lu(n))), x.detach())


# LU


def _check_pivot(name: str, pivot: bool) -> None:
    if not pivot:
        raise UnsupportedError(f"[{name}] {name}: LU without pivoting is not implemented: leave pivot=True")


def _permutation(n: Node, like: Node) -> Node:
    """The P with P[order[j], j] = 1."""
    rows = n.shape[-1]
    shape = (*n.shape, rows)
    number = axes.places(shape, len(shape) - 2)
    return axes.cast(ops.eq(number, axes.expand(m.as_row(n), shape)), like.dtype)


def _lu_parts(n: Node) -> tuple[Node, Node, Node]:
    if not n.size:
        k = min(n.shape[-2:])
        return (m.eye(n, n.shape[-2]), m.eye(n, n.shape[-2], k),
                m.empty(n, (*n.shape[:-2], k, n.shape[-1])))
    return (_permutation(factor.order(n), n), *factor.triangles(factor.lu(n)))


@linalg("lu")
def linalg_lu(A: Tensor, *, pivot: bool = True) -> Any:
    """(P, L, U) with A = P L U for matrices (..., m, n): a permutation, L with ones on its diagonal, U."""
    check_matrices("linalg.lu", A)
    _check_pivot("linalg.lu", pivot)
    return several("linalg_lu", _LU, _lu_parts, A)


def _lu_factor_ex(name: str, x: Tensor, pivot: bool) -> tuple[Tensor, Tensor, Tensor]:
    check_matrices(name, x)
    _check_pivot(name, pivot)
    return made(name, factor.lu, x), made(name, factor.pivots, x.detach()), _zero_pivot(name, x)


def _no_division(number: int) -> str:
    return (f"U[{number},{number}] is zero and using it on lu_solve would result in a division by zero. If "
            "you still want to perform the factorization, consider calling linalg.lu(A, pivot) or "
            "linalg.lu_factor_ex(A, pivot)")


@linalg("lu_factor_ex")
def lu_factor_ex(A: Tensor, *, pivot: bool = True, check_errors: bool = False) -> Any:
    """(LU, pivots, info): L and U in one matrix (..., m, n), the row that each step swapped with (int32, from
    1), and the number of the first pivot that is 0, or 0."""
    found = _lu_factor_ex("linalg.lu_factor_ex", A, pivot)
    if check_errors:
        raise_where("linalg.lu_factor_ex", found[2], _no_division)
    return _LUFactorEx(*found)


@linalg("lu_factor")
def lu_factor(A: Tensor, *, pivot: bool = True) -> Any:
    """(LU, pivots) as `lu_factor_ex`; raises LinAlgError where a pivot is 0."""
    packed, pivots, info = _lu_factor_ex("linalg.lu_factor", A, pivot)
    raise_where("linalg.lu_factor", info, _no_division)
    return _LUFactor(packed, pivots)


@function("lu")
def lu(input: Tensor, pivot: bool = True, get_infos: bool = False) -> Any:
    """(LU, pivots) as `linalg.lu_factor`, or with `get_infos` all of `linalg.lu_factor_ex`."""
    found = _lu_factor_ex("linalg.lu_factor", input, pivot)
    if not get_infos:
        raise_where("linalg.lu_factor", found[2], _no_division)
    return found if get_infos else found[:2]


def _order_of(pivots: Tensor, rows: int) -> Tensor:
    """The order of rows that swapping as `pivots` say leads to, int64."""
    order = FUNCTIONS["arange"](rows, device=pivots.device).expand(*pivots.shape[:-1], rows)
    number = FUNCTIONS["arange"](rows, device=pivots.device)
    for step in range(pivots.shape[-1]):
        place = pivots[..., step : step + 1].long() - 1
        here, there = order[..., step : step + 1], order.gather(-1, place)
        order = FUNCTIONS["where"](number == step, there, FUNCTIONS["where"](number == place, here, order))
    return order


@function("lu_unpack")
def lu_unpack(LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True,
              unpack_pivots: bool = True) -> Any:
    """(P, L, U) of what `lu_factor` gave; parts that are not asked for are empty."""
    rows = LU_data.shape[-2]
    empty = LU_data.new_empty(0)
    left = right = places = empty
    if unpack_data:
        left, right = (made("lu_unpack", lambda n, i=i: factor.triangles(n)[i], LU_data) for i in (0, 1))
    if unpack_pivots:
        order = _order_of(LU_pivots, rows)
        places = made("lu_unpack", lambda p, x: _permutation(p, x), order, LU_data.detach())
    return _LUUnpack(places, left, right)


@linalg("lu_solve")
def linalg_lu_solve(LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True,
                    adjoint: bool = False) -> Tensor:
    """The X with A X = B (or X A = B, or with A^T), given what `lu_factor` made of A (..., n, n)."""
    name = "linalg.lu_solve"
    check_square(name, LU, what="LU")
    check_matrices(name, LU, B, what="B")
    if pivots.dtype is not dtypes.int32:
        raise DTypeError(f"[{name}] {name}: pivots should be a Tensor of scalar type int32, got "
                         f"{pivots.dtype!r}")
    check_fit(name, LU, B, left)
    if pivots.shape != LU.shape[:-1]:
        raise ShapeError(f"[{name}] {name}: Expected LU.shape[:-1] and pivots.shape to be the same, but got "
                         f"{tuple(LU.shape)} and {tuple(pivots.shape)}")
    order = _order_of(pivots, LU.shape[-1])

    def build(packed: Node, places: Node, b: Node) -> Node:
        packed, b = one_batch(name, packed, b if left else m.transposed(b))
        places = grown(places, packed.shape[:-2], 1)
        found = factor.solve_by_lu(packed, places, b, adjoint == left)
        return found if left else m.transposed(found)

    return made(name, build, LU, order, B)


@function("lu_solve")
def lu_solve(input: Tensor, LU_data: Tensor, LU_pivots: Tensor) -> Tensor:
    """As `linalg.lu_solve`, the right-hand side first."""
    return linalg_lu_solve(LU_data, LU_pivots, input)


# Systems


def _solve(name: str, a: Tensor, b: Tensor, left: bool) -> Tensor:
    check_square(name, a)
    check_float(name, b)
    if a.dtype is not b.dtype:
        raise DTypeError(f"[{name}] {name}: Expected A and B to have the same dtype, but found A of type "
                         f"{pytorch_name(a.dtype)} and B of type {pytorch_name(b.dtype)} instead")
    vectors = are_vectors(a, b)
    columns = b.unsqueeze(-1) if vectors else b
    if vectors and not left:
        raise ShapeError(f"[{name}] {name}: Vector broadcasting of the left hand side is not supported for "
                         "left=False. In this case linalg.solve is equivalent to B / A.squeeze(-1)")
    check_fit(name, a, columns, left)

    def build(x: Node, y: Node) -> Node:
        x, y = one_batch(name, x, y)
        return factor.solve(x, y) if left else m.transposed(factor.solve(x, m.transposed(y), True))

    found = made(name, build, a, columns)
    return found.squeeze(-1) if vectors else found


def _singular(_: int) -> str:
    return "The solver failed because the input matrix is singular."


@linalg("solve_ex")
def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False) -> Any:
    """(result, info): as `solve`, and for each matrix 0 or the number of its first pivot that is 0."""
    result = _solve("linalg.solve_ex", A, B, left)
    info = _zero_pivot("linalg.solve_ex", A)
    if check_errors:
        raise_where("linalg.solve_ex", info, _singular)
    return _SolveEx(result, info)


@linalg("solve")
def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """The X with A X = B, or with `left=False` X A = B: A (..., n, n), B (..., n, k) or vectors (..., n).

    Raises LinAlgError for singular matrices.
    """
    result = _solve("linalg.solve", A, B, left)
    raise_where("linalg.solve", _zero_pivot("linalg.solve", A), _singular)
    return result


def _inverse(name: str, x: Tensor) -> Tensor:
    check_square(name, x)
    return made(name, factor.inverse, x)


@linalg("inv_ex")
def inv_ex(A: Tensor, *, check_errors: bool = False) -> Any:
    """(inverse, info): as `inv`, and for each matrix 0 or the number of its first pivot that is 0."""
    result, info = _inverse("linalg.inv_ex", A), _zero_pivot("linalg.inv_ex", A)
    if check_errors:
        raise_where("linalg.inv_ex", info, singular)
    return _InvEx(result, info)


@linalg("inv")
def inv(A: Tensor) -> Tensor:
    """The inverses of matrices (..., n, n). Raises LinAlgError for singular ones."""
    result = _inverse("linalg.inv", A)
    raise_where("linalg.inv", _zero_pivot("linalg.inv", A), singular)
    return result


@function("inverse")
def inverse(input: Tensor) -> Tensor:
    """As `linalg.inv`."""
    return inv(input)


# Determinants


@linalg("det")
def linalg_det(A: Tensor) -> Tensor:
    """The determinants (...) of matrices (..., n, n)."""
    check_square("linalg.det", A)
    return made("linalg_det", factor.determinant, A)


@function("det")
def det(input: Tensor) -> Tensor:
    """The determinants (...) of matrices (..., n, n)."""
    return linalg_det(input)


def _slogdet(result: Any, x: Tensor) -> Any:
    check_square("linalg.slogdet", x)
    return several("linalg_slogdet", result, factor.sign_and_log, x)


@linalg("slogdet")
def linalg_slogdet(A: Tensor) -> Any:
    """(sign, logabsdet): signs, and logarithms of the sizes, of determinants; (0, -inf) for singular ones."""
    return _slogdet(_Slogdet, A)


@function("slogdet")
def slogdet(input: Tensor) -> Any:
    """As `linalg.slogdet`."""
    return _slogdet(_OldSlogdet, input)


@function("logdet")
def logdet(input: Tensor) -> Tensor:
    """The logarithms of determinants; NaN for negative ones, -inf for 0."""
    sign, value = _slogdet(_OldSlogdet, input)
    return FUNCTIONS["where"](sign == -1.0, float("nan"), value)


# Tensors as matrices


@linalg("tensorinv")
def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """The inverse of A as a linear map from its last dimensions to its first `ind`."""
    if ind <= 0:
        raise ShapeError("[linalg.tensorinv] Expected a strictly positive integer for 'ind'")
    first, last = A.shape[:ind], A.shape[ind:]
    if product(first) != product(last):
        raise ShapeError("[linalg.tensorinv] Expected self to satisfy the requirement "
                         "prod(self.shape[ind:]) == prod(self.shape[:ind]), but got "
                         f"{product(last)} != {product(first)}")
    found = inv(A.reshape(product(first), product(last)))
    return found.reshape(*last, *first)


@linalg("tensorsolve")
def tensorsolve(A: Tensor, B: Tensor, dims: Any = None) -> Tensor:
    """The X with tensordot(A, X, X.ndim) = B; `dims` of A go to its end first."""
    if dims is not None:
        A = A.movedim(tuple(dims), tuple(range(A.ndim - len(dims), A.ndim)))
    shape = A.shape[B.ndim :]
    if product(shape) != B.numel():
        raise ShapeError("[linalg.tensorsolve] Expected self to satisfy the requirement "
                         "prod(self.shape[other.ndim:]) == prod(self.shape[:other.ndim]), but got "
                         f"{product(shape)} != {B.numel()}")
    return solve(A.reshape(B.numel(), -1), B.flatten()).reshape(shape)


def _without(name: str, reason: str) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise UnsupportedError(f"[linalg.{name}] {reason}")

    refuse.__doc__ = f"Raises UnsupportedError: {reason}."
    linalg(name)(refuse)


_RESULTS = "has complex numbers as its results, which lazygrad lacks: for symmetric matrices use linalg."
_without("eig", _RESULTS + "eigh")
_without("eigvals", _RESULTS + "eigvalsh")


def _removed(name: str, instead: str) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise UnsupportedError(f"[{name}] This function was deprecated since version 1.9 and is now removed: "
                               f"use linalg.{instead}")

    refuse.__name__ = refuse.__qualname__ = name
    refuse.__doc__ = f"Raises UnsupportedError: PyTorch took it away, linalg.{instead} is in its place."
    function(name)(refuse)


for _name, _instead in (("solve", "solve(A, B), with the arguments reversed"), ("symeig", "eigh or eigvalsh"),
                        ("eig", "eig or eigvals"), ("lstsq", "lstsq, with the arguments reversed"),
                        ("matrix_rank", "matrix_rank")):
    _removed(_name, _instead)
