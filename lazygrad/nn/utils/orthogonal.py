"""Matrices with orthonormal columns from plain ones, differentiably; batches of them."""

from __future__ import annotations

import lazygrad
from lazygrad.tensors import Tensor

_SQUARINGS = 16  # enough for norms up to 2 ** 16
_TERMS = 18  # of the exponential series: below the rounding of float64 for norms up to 1


def _eye(like: Tensor, size: int) -> Tensor:
    return lazygrad.eye(size, dtype=like.dtype, device=like.device)


def matrix_exp(a: Tensor) -> Tensor:
    """exp of matrices (..., n, n): the series of a scaled one, squared as often as it was halved."""
    norm = a.detach().abs().sum(-2, keepdim=True).amax(-1, keepdim=True)
    halvings = norm.clamp(min=1.0).log2().ceil()
    scaled = a * (-halvings).exp2()
    result = _eye(a, a.shape[-1]).expand(a.shape)
    for k in range(_TERMS, 0, -1):
        result = _eye(a, a.shape[-1]) + scaled.matmul(result) / k
    for k in range(_SQUARINGS):
        result = lazygrad.where(halvings > k, result.matmul(result), result)
    return result


def cayley(a: Tensor) -> Tensor:
    """(I - a / 2)^-1 (I + a / 2) of skew matrices (..., n, n), by elimination: no pivot can be small."""
    size = a.shape[-1]
    one = _eye(a, size)
    rows = lazygrad.cat([one - 0.5 * a, (one + 0.5 * a).expand(a.shape)], -1)
    for k in range(size):
        pivot = rows[..., k : k + 1, :] / rows[..., k : k + 1, k : k + 1]
        is_pivot = (lazygrad.arange(size, device=a.device) == k).unsqueeze(-1)
        rows = lazygrad.where(is_pivot, pivot, rows - rows[..., :, k : k + 1] * pivot)
    return rows[..., size:]


def householder_product(a: Tensor, tau: Tensor) -> Tensor:
    """The first columns of the product of reflections I - tau v v^T: v is a column of (..., n, k) `a` below
    its diagonal, with 1 on the diagonal."""
    n, k = a.shape[-2:]
    result = _eye(a, n)[:, :k].expand(a.shape)
    below = a.tril(-1) + _eye(a, n)[:, :k]
    for i in reversed(range(k)):
        v = below[..., i : i + 1]
        result = result - tau[..., i, None, None] * v.matmul(v.mT.matmul(result))
    return result


def geqrf(a: Tensor) -> tuple[Tensor, Tensor]:
    """The QR decomposition (..., n, k) as reflections: R on and above the diagonal, what householder_product
    takes below it, and tau (..., k)."""
    n, k = a.shape[-2:]
    places = lazygrad.arange(n, device=a.device).unsqueeze(-1)
    taus = []
    for i in range(min(n, k)):
        column = a[..., i : i + 1]
        first = column[..., i : i + 1, :]
        rest = lazygrad.where(places > i, column, 0.0)
        squares = (rest * rest).sum(-2, keepdim=True)
        sign = lazygrad.where(first >= 0, 1.0, -1.0).to(a.dtype)
        new = lazygrad.where(squares > 0, -sign * (first * first + squares).sqrt(), first)
        turned = squares > 0
        tau = lazygrad.where(turned, (new - first) / lazygrad.where(turned, new, 1.0), 0.0)
        scaled = rest / lazygrad.where(turned, first - new, 1.0)
        v = scaled + (places == i).to(a.dtype)
        reflected = a - tau * v.matmul(v.mT.matmul(a))
        columns = lazygrad.arange(k, device=a.device)
        settled = lazygrad.where(places > i, scaled, lazygrad.where(places == i, new, column))
        a = lazygrad.where(columns < i, a, lazygrad.where(columns == i, settled, reflected))
        taus.append(tau[..., 0, 0])
    return a, lazygrad.stack(taus, -1)


def orthonormal(a: Tensor) -> Tensor:
    """The Q of a QR decomposition with a positive diagonal of R."""
    x, tau = geqrf(a)
    return householder_product(x, tau) * x.diagonal(dim1=-2, dim2=-1).sgn().unsqueeze(-2)


def is_orthogonal(q: Tensor) -> bool:
    """Whether the columns of every matrix are orthonormal, nearly."""
    near = 10.0 * q.shape[-2] * lazygrad.finfo(q.dtype).eps
    return bool(
        lazygrad.allclose(q.mT.matmul(q), _eye(q, q.shape[-1]).expand(q.mT.matmul(q).shape), atol=near)
    )
