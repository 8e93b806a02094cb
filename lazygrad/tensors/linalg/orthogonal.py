"""Factorizations with orthogonal factors as functions of tensors: QR, eigenvalues, singular values."""

from __future__ import annotations

from typing import Any

from lazygrad import ops
from lazygrad.compositions import axes, orthogonal
from lazygrad.compositions import matrices as m
from lazygrad.errors import ArgumentError, ShapeError
from lazygrad.graph import Node
from lazygrad.tensors.arithmetic import sub
from lazygrad.tensors.core import FUNCTIONS, Tensor, function
from lazygrad.tensors.linalg.common import (
    check_float,
    check_matrices,
    check_square,
    linalg,
    made,
    raise_where,
    several,
)
from lazygrad.tensors.return_types import return_type

_QR = return_type("linalg_qr", "Q", "R")
_OldQR = return_type("qr", "Q", "R")
_Geqrf = return_type("geqrf", "a", "tau")
_Eigh = return_type("linalg_eigh", "eigenvalues", "eigenvectors")
_SVD = return_type("linalg_svd", "U", "S", "Vh")
_OldSVD = return_type("svd", "U", "S", "V")


# QR


def _qr(name: str, result: Any, x: Tensor, mode: str) -> Any:
    check_matrices(name, x)
    if mode not in ("reduced", "complete", "r"):
        raise ArgumentError(f"[{name}] qr received unrecognized mode '{mode}' but expected one of "
                                   "'reduced' (default), 'r', or 'complete'")
    if mode == "r":
        return result(x.new_empty(0), made(name, lambda n: orthogonal.qr(n)[1], x))
    tall = mode == "complete" and (x.shape[-2] > x.shape[-1] or not x.numel())
    return several(name, result, orthogonal.complete_qr if tall else orthogonal.qr, x)


@linalg("qr")
def linalg_qr(A: Tensor, mode: str = "reduced") -> Any:
    """(Q, R) with A = Q R for matrices (..., m, n): Q with orthonormal columns, (..., m, k), k = min(m, n),
    or with mode "complete" (..., m, m); R upper triangular. Mode "r" gives an empty Q."""
    return _qr("linalg.qr", _QR, A, mode)


@function("qr")
def qr(input: Tensor, some: bool = True) -> Any:
    """As `linalg.qr`, "complete" unless `some`."""
    return _qr("qr", _OldQR, input, "reduced" if some else "complete")


@function("geqrf")
def geqrf(input: Tensor) -> Any:
    """(a, tau): the QR of matrices (..., m, n) as reflections, in LAPACK's form: R on and above the diagonal
    of a, below it what `linalg.householder_product` takes. No derivative."""
    check_matrices("geqrf", input)
    return several("geqrf", _Geqrf, orthogonal.reflected, input.detach())


def _check_reflections(name: str, a: Tensor, tau: Tensor) -> None:
    check_matrices(name, a)
    check_float(name, a, tau)
    if a.shape[-2] < a.shape[-1]:
        raise ShapeError(f"[{name}] {name}: input.shape[-2] must be greater than or equal to "
                         "input.shape[-1]")
    if tau.shape[-1] > a.shape[-1]:
        raise ShapeError(f"[{name}] {name}: input.shape[-1] must be greater than or equal to "
                         "tau.shape[-1]")
    if tau.shape[:-1] != a.shape[:-2]:
        raise ShapeError(f"[{name}] {name}: Expected batch dimensions of tau to be equal to "
                         f"input.shape[:-2], but got {tuple(tau.shape[:-1])}")


@linalg("householder_product")
def householder_product(A: Tensor, tau: Tensor) -> Tensor:
    """The first columns (..., m, n) of the product of reflections I - tau v v^T, of which v stands in the
    columns of A below the diagonal, after a 1."""
    _check_reflections("linalg.householder_product", A, tau)
    return made("linalg_householder_product", orthogonal.product_of, A, tau)


@function("orgqr")
def orgqr(input: Tensor, tau: Tensor) -> Tensor:
    """As `linalg.householder_product`."""
    return householder_product(input, tau)


@function("ormqr")
def ormqr(input: Tensor, tau: Tensor, other: Tensor, left: bool = True, transpose: bool = False) -> Tensor:
    """Q @ other, or other @ Q unless `left`, with the whole product Q of the reflections or its transpose."""
    check_matrices("ormqr", input, other)
    check_float("ormqr", input, tau)
    rows, count = input.shape[-2], tau.shape[-1] if tau.ndim else 0
    if tau.ndim != input.ndim - 1 or other.ndim != input.ndim:
        raise ShapeError(f"[ormqr] tau must have one dimension less than input, and other as many, got input "
                         f"{tuple(input.shape)}, tau {tuple(tau.shape)} and other {tuple(other.shape)}")
    inner = other.shape[-2 if left else -1]
    if inner != rows or count != min(inner, input.shape[-1]):
        raise ShapeError(f"[ormqr] {'other.shape[-2]' if left else 'other.shape[-1]'} must be equal to "
                         f"input.shape[-2], and tau.shape[-1] to min(input.shape[-2:]), got input "
                         f"{tuple(input.shape)}, tau {tuple(tau.shape)} and other {tuple(other.shape)}")

    def whole(a: Node, t: Node) -> Node:
        reflections = m.columns(a, 0, count)
        return orthogonal.product_of(axes.pad_axis(reflections, a.ndim - 1, 0, rows - count), t)

    q = made("ormqr", whole, input, tau)
    q = q.mT if transpose else q
    return q.matmul(other) if left else other.matmul(q)


# Eigenvalues


def _half(name: str, x: Tensor, uplo: str) -> Tensor:
    check_square(name, x)
    if not isinstance(uplo, str) or uplo.upper() not in ("L", "U"):
        raise ArgumentError(f"[{name}] Expected UPLO argument to be 'L' or 'U', but got {uplo}")
    return x.mT if uplo.upper() == "U" else x


@linalg("eigh")
def eigh(A: Tensor, UPLO: str = "L") -> Any:
    """(eigenvalues, eigenvectors) of symmetric matrices (..., n, n), of which one half is read: ascending,
    and as columns. Matrices with NaN or infinity give NaN."""
    return several("linalg_eigh", _Eigh, orthogonal.eigh, _half("linalg.eigh", A, UPLO))


@linalg("eigvalsh")
def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """The eigenvalues of `eigh`."""
    return made("linalg.eigvalsh", orthogonal.eigvalsh, _half("linalg.eigvalsh", A, UPLO))


# Singular values


def _not_finite(_: int) -> str:
    return "The algorithm failed to converge because the input matrix contained non-finite values."


def _completed(n: Node) -> tuple[Node, Node, Node]:
    """U (..., m, m), S and V (..., n, n)."""
    rows, columns = n.shape[-2:]
    u, s, v = orthogonal.svd(n)
    if not n.size:
        return m.eye(n, rows), s, m.eye(n, columns)
    if rows > columns:
        u = ops.cat(u, orthogonal.complement(n), arg=n.ndim - 1)
    if columns > rows:
        v = ops.cat(v, orthogonal.complement(m.transposed(n)), arg=n.ndim - 1)
    return u, s, v


def _svd(name: str, result: Any, x: Tensor, full: bool, turned: bool) -> Any:
    check_matrices(name, x)
    build = _completed if full else orthogonal.svd

    def parts(n: Node) -> tuple[Node, ...]:
        u, s, v = build(n)
        return u, s, m.transposed(v) if turned else v

    found = several(name, result, parts, x)
    raise_where(name, made(name, m.first_nan, found.S.detach()), _not_finite)
    return found


@linalg("svd")
def linalg_svd(A: Tensor, full_matrices: bool = True, *, driver: Any = None) -> Any:
    """(U, S, Vh) with A = U diag(S) Vh for matrices (..., m, n), S (..., k) descending, k = min(m, n);
    U (..., m, m) and Vh (..., n, n), or without `full_matrices` (..., m, k) and (..., k, n).

    Raises LinAlgError for matrices with NaN or infinity. `driver` is accepted.
    """
    return _svd("linalg.svd", _SVD, A, full_matrices, True)


@function("svd")
def svd(input: Tensor, some: bool = True, compute_uv: bool = True) -> Any:
    """(U, S, V) with input = U diag(S) V^T, reduced if `some`; without `compute_uv` U and V are zero."""
    if compute_uv:
        return _svd("svd", _OldSVD, input, not some, False)
    values = svdvals(input)
    u, v = (input.new_zeros(*input.shape[:-2], n, n) for n in input.shape[-2:])
    return _OldSVD(u, values, v)


@linalg("svdvals")
def svdvals(A: Tensor, *, driver: Any = None) -> Tensor:
    """The singular values (..., k) of matrices (..., m, n), descending."""
    check_matrices("linalg.svdvals", A)
    result = made("linalg.svdvals", orthogonal.svdvals, A)
    raise_where("linalg.svd", made("linalg.svdvals", m.first_nan, result.detach()), _not_finite)
    return result


def _basis(x: Tensor, q: int, steps: int, less: Tensor | None) -> Tensor:
    """Columns (..., m, q) that span about what x does: Halko, Martinsson and Tropp (2011), algorithm 4.4."""

    def times(y: Tensor, turned: bool = False) -> Tensor:
        found = (x.mT if turned else x).matmul(y)
        return found if less is None else sub(found, (less.mT if turned else less).matmul(y))

    start = FUNCTIONS["randn"](x.shape[-1], q, dtype=x.dtype, device=x.device)
    found = linalg_qr(times(start)).Q
    for _ in range(steps):
        found = linalg_qr(times(linalg_qr(times(found, True)).Q)).Q
    return found


@function("svd_lowrank")
def svd_lowrank(A: Tensor, q: int | None = 6, niter: int | None = 2, M: Tensor | None = None) -> Any:
    """(U, S, V), the q greatest singular values of A - M and their vectors, nearly: by a random basis that
    `niter` steps improve."""
    check_matrices("svd_lowrank", A)
    q, niter = 6 if q is None else q, 2 if niter is None else niter
    less = None if M is None else M.expand(A.shape)
    if A.shape[-2] < A.shape[-1]:
        u, s, v = svd_lowrank(A.mT, q, niter, None if less is None else less.mT)
        return v, s, u
    basis = _basis(A, q, niter, less)
    small = basis.mT.matmul(A if less is None else sub(A, less))
    u, s, vh = linalg_svd(small, full_matrices=False)
    return basis.matmul(u), s, vh.mT


@function("pca_lowrank")
def pca_lowrank(A: Tensor, q: int | None = None, center: bool = True, niter: int = 2) -> Any:
    """(U, S, V) of A, with its columns' means taken away if `center`, as `svd_lowrank`; q is 6 or less."""
    check_matrices("pca_lowrank", A)
    rows, columns = A.shape[-2:]
    q = min(6, rows, columns) if q is None else q
    if not 0 <= q <= min(rows, columns):
        raise ArgumentError(f"[pca_lowrank] q(={q}) must be non-negative integer and not greater than "
                            f"min(m, n)={min(rows, columns)}")
    return svd_lowrank(A - A.mean(-2, keepdim=True) if center else A, q, niter)


# The exponential


@linalg("matrix_exp")
def linalg_matrix_exp(A: Tensor) -> Tensor:
    """The exponentials of matrices (..., n, n); those of 16 bits are computed in float32."""
    if isinstance(A, Tensor) and A.dtype.kind == "float" and A.dtype.itemsize == 2:
        return linalg_matrix_exp(A.float()).to(A.dtype)
    check_square("linalg.matrix_exp", A)
    return made("linalg_matrix_exp", orthogonal.matrix_exp, A)


@function("matrix_exp")
def matrix_exp(input: Tensor) -> Tensor:
    """As `linalg.matrix_exp`."""
    return linalg_matrix_exp(input)
