"""`lobpcg`: the greatest or least eigenvalues of symmetric matrices, and their vectors."""

from __future__ import annotations

from typing import Any

from lazygrad.errors import ArgumentError
from lazygrad.tensors.core import FUNCTIONS, Tensor, function
from lazygrad.tensors.linalg.common import check_square
from lazygrad.tensors.linalg.orthogonal import eigh
from lazygrad.tensors.linalg.triangular import cholesky, linalg_solve_triangular


@function("lobpcg")
def lobpcg(
    A: Tensor, k: int | None = None, B: Tensor | None = None, X: Tensor | None = None, n: int | None = None,
    iK: Tensor | None = None, niter: int | None = None, tol: float | None = None,
    largest: bool | None = None, method: str | None = None, tracker: Any = None,
    ortho_iparams: dict[str, int] | None = None, ortho_fparams: dict[str, float] | None = None,
    ortho_bparams: dict[str, bool] | None = None,
) -> tuple[Tensor, Tensor]:
    """(E, X): the k greatest eigenvalues (..., k) of A (..., m, m), or the least without `largest`, outermost
    first, and vectors (..., m, k) with A X = B X E. All eigenvalues are found, so what steers PyTorch's
    iteration (a guess `X`, which tells k, `iK`, `niter`, `tol`, `method`) changes nothing. Raises
    ArgumentError where m is less than 3 k, as PyTorch does."""
    check_square("lobpcg", A)
    if k is None:
        k = 1 if X is None else X.shape[-1]
    rows = A.shape[-1]
    if rows < 3 * k:
        raise ArgumentError(
            f"[lobpcg] LPBPCG algorithm is not applicable when the number of A rows (={rows}) is smaller "
            f"than 3 x the number of requested eigenpairs (={k}): linalg.eigh finds all"
        )
    whole = A
    if B is not None:
        lower = cholesky(B)
        half = linalg_solve_triangular(lower, A, upper=False)
        whole = linalg_solve_triangular(lower, half.mT, upper=False)
    values, vectors = eigh(whole)
    if largest is None or largest:
        values, vectors = (FUNCTIONS["flip"](x, (-1,)) for x in (values, vectors))
    values, vectors = values[..., :k], vectors[..., :k]
    if B is not None:
        vectors = linalg_solve_triangular(lower.mT, vectors, upper=True)
    return values, vectors
