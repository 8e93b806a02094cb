"""Parametrizations in common use: weight_norm, spectral_norm, orthogonal."""

from __future__ import annotations

from enum import Enum, auto
from typing import Any

import lazygrad
from lazygrad import linalg
from lazygrad.errors import ArgumentError, AxisError
from lazygrad.nn import functional as F
from lazygrad.nn.functional.root import norm_except_dim
from lazygrad.nn.module import Module
from lazygrad.nn.utils.parametrize import _LACKING, register_parametrization
from lazygrad.nn.utils.spectral_norm import as_matrix, power_iterations, rows_of
from lazygrad.nn.utils.weight_norm import weight_of
from lazygrad.tensors import Tensor
from lazygrad.tensors.signatures import check_all


def _tensor_of(module: Module, name: str) -> Tensor:
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ArgumentError(f"[parametrize] Module '{module}' has no parameter or buffer with name '{name}'")
    return weight


class _OrthMaps(Enum):
    matrix_exp = auto()
    cayley = auto()
    householder = auto()


class _Orthogonal(Module):
    """Orthonormal columns, or rows where there are fewer of them."""

    base: Tensor | None

    def __init__(self, weight: Tensor, orthogonal_map: _OrthMaps, *, use_trivialization: bool = True) -> None:
        super().__init__()
        self.shape, self.orthogonal_map = weight.shape, orthogonal_map
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, X: Tensor) -> Tensor:
        """The orthogonal matrix."""
        across = X.shape[-2] < X.shape[-1]
        x = X.mT if across else X
        n, k = x.shape[-2:]
        if self.orthogonal_map is _OrthMaps.householder:
            below = x.tril(-1)
            tau = 2.0 / (1.0 + (below * below).sum(-2))
            q = linalg.householder_product(below, tau)
            # the diagonal holds signs, which are not learned
            q = q * x.diagonal(dim1=-2, dim2=-1).int().unsqueeze(-2)
        else:
            x = x.tril()
            if n != k:
                x = lazygrad.cat([x, x.new_zeros(*x.shape[:-1], n - k)], -1)
            skew = x - x.mT
            q = (linalg.matrix_exp if self.orthogonal_map is _OrthMaps.matrix_exp else _cayley)(skew)[..., :k]
        if hasattr(self, "base"):
            assert self.base is not None
            q = self.base.matmul(q)
        return q.mT if across else q

    @lazygrad.no_grad()
    def right_inverse(self, Q: Tensor) -> Tensor:
        """What gives an orthogonal matrix near Q, which becomes the base where there is one."""
        if Q.shape != self.shape:
            raise ArgumentError(
                f"[orthogonal] Expected a matrix or batch of matrices of shape {self.shape}. Got a "
                f"tensor of shape {Q.shape}."
            )
        across = Q.shape[-2] < Q.shape[-1]
        q = Q.mT if across else Q
        n, k = q.shape[-2:]
        if not hasattr(self, "base"):
            if self.orthogonal_map is not _OrthMaps.householder:
                raise _LACKING(
                    "It is not possible to assign to the matrix exponential or the Cayley "
                    "parametrizations when use_trivialization=False."
                )
            a, tau = lazygrad.geqrf(q)
            signs = a.diagonal(dim1=-2, dim2=-1).sign()
            signs = lazygrad.where(tau == 0.0, -signs, signs)
            a = _with_diagonal(a, signs)
            return a.mT if across else a
        if n == k:
            q = q.clone() if _is_orthogonal(q) else _orthonormal(q)
        else:
            noise = lazygrad.randn(*q.shape[:-2], n, n - k, dtype=q.dtype, device=q.device)
            q = _orthonormal(lazygrad.cat([q, noise], -1))
        self.base = q
        return _with_diagonal(lazygrad.zeros_like(Q), -lazygrad.ones_like(Q.diagonal(dim1=-2, dim2=-1)))


def _eye(like: Tensor, size: int) -> Tensor:
    return lazygrad.eye(size, dtype=like.dtype, device=like.device)


def _cayley(a: Tensor) -> Tensor:
    """(I - a / 2)^-1 (I + a / 2) of skew matrices (..., n, n)."""
    one = _eye(a, a.shape[-1])
    return linalg.solve(one - 0.5 * a, one + 0.5 * a)


def _orthonormal(a: Tensor) -> Tensor:
    """The Q of a QR decomposition with a positive diagonal of R."""
    q, r = linalg.qr(a)
    return q * r.diagonal(dim1=-2, dim2=-1).sgn().unsqueeze(-2)


def _is_orthogonal(q: Tensor) -> bool:
    """Whether the columns of every matrix are orthonormal, nearly."""
    near = 10.0 * q.shape[-2] * lazygrad.finfo(q.dtype).eps
    product = q.mT.matmul(q)
    return bool(lazygrad.allclose(product, _eye(q, q.shape[-1]).expand(product.shape), atol=near))


def _with_diagonal(a: Tensor, values: Tensor) -> Tensor:
    """Matrices with other values on their diagonals."""
    result = a.clone()
    result.diagonal(dim1=-2, dim2=-1).copy_(values)
    return result


def orthogonal(
    module: Any, name: str = "weight", orthogonal_map: str | None = None, *, use_trivialization: bool = True
) -> Any:
    """Keep a matrix orthogonal: by "matrix_exp" (square ones, unless said otherwise), "cayley" or
    "householder". `use_trivialization` keeps a base, so that any orthogonal matrix can be assigned."""
    weight = _tensor_of(module, name)
    if weight.ndim < 2:
        raise ArgumentError(
            f"[orthogonal] Expected a matrix or batch of matrices. Got a tensor of {weight.ndim} dimensions."
        )
    if orthogonal_map is None:
        orthogonal_map = "matrix_exp" if weight.shape[-2] == weight.shape[-1] else "householder"
    if orthogonal_map not in _OrthMaps.__members__:
        raise ArgumentError(
            '[orthogonal] orthogonal_map has to be one of "matrix_exp", "cayley", "householder". '
            f"Got: {orthogonal_map}"
        )
    made = _Orthogonal(weight, _OrthMaps[orthogonal_map], use_trivialization=use_trivialization)
    return register_parametrization(module, name, made, unsafe=True)


class _WeightNorm(Module):
    """A weight from its lengths (original0) and its direction (original1)."""

    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        """The weight."""
        return weight_of(weight_v, weight_g, self.dim)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Lengths and direction of a weight."""
        return norm_except_dim(weight, 2, self.dim), weight


def weight_norm(module: Any, name: str = "weight", dim: int | None = 0) -> Any:
    """Learn the lengths along `dim` and the direction of a weight apart; loads the state of the older
    form."""
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def rename(state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
        old = f"{prefix}{name}_g", f"{prefix}{name}_v"
        if all(key in state_dict for key in old):
            for k, key in enumerate(old):
                state_dict[f"{prefix}parametrizations.{name}.original{k}"] = state_dict.pop(key)

    module._register_load_state_dict_pre_hook(rename)
    return module


class _SpectralNorm(Module):
    """A weight divided by its greatest singular value, which power iteration in training follows."""

    def __init__(self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        super().__init__()
        ndim = weight.ndim
        if not -ndim <= dim < ndim:
            raise AxisError(
                f"[spectral_norm] Dimension out of range (expected to be in range of [-{ndim}, "
                f"{ndim - 1}] but got {dim})"
            )
        if n_power_iterations <= 0:
            raise ArgumentError(
                "[spectral_norm] Expected n_power_iterations to be positive, but got "
                f"n_power_iterations={n_power_iterations}"
            )
        self.dim, self.eps = dim % ndim, eps
        if ndim > 1:
            self.n_power_iterations = n_power_iterations
            matrix = as_matrix(weight, self.dim).detach()
            for name, size in zip(("_u", "_v"), matrix.shape, strict=True):
                start = matrix.new_empty(size).normal_(0, 1)
                self.register_buffer(name, F.normalize(start, dim=0, eps=eps))
            power_iterations(matrix, self._u, self._v, 15, eps, "u")

    def forward(self, weight: Tensor) -> Tensor:
        """The divided weight."""
        if weight.ndim == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix = as_matrix(weight, self.dim)
        if self.training:
            power_iterations(matrix, self._u, self._v, self.n_power_iterations, self.eps, "u")
        return weight / self._u.clone().dot(matrix.mv(self._v.clone()))

    def right_inverse(self, value: Tensor) -> Tensor:
        """The value: it is taken for divided already."""
        return value


def spectral_norm(
    module: Any, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Any:
    """Divide a weight by its greatest singular value."""
    made = _SpectralNorm(_tensor_of(module, name), n_power_iterations, rows_of(module, dim), eps)
    return register_parametrization(module, name, made)


check_all(globals())
