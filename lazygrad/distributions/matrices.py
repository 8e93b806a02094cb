"""Distributions of matrices: `Wishart`, of covariances; `LKJCholesky`, of factors of correlations."""

from __future__ import annotations

import math
from typing import Any

import lazygrad
from lazygrad import config
from lazygrad.distributions import constraints
from lazygrad.distributions.distribution import Distribution
from lazygrad.distributions.gamma_family import Beta, Chi2
from lazygrad.distributions.multivariate import ByCholesky
from lazygrad.distributions.utils import as_tensors
from lazygrad.errors import ArgumentError
from lazygrad.tensors import Size, Tensor


def _log_diagonal(factor: Tensor) -> Tensor:
    """The sum of the logarithms of a factor's diagonal."""
    return factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)


class Wishart(ByCholesky):
    """Sums of outer products of normal vectors: positive definite (..., n, n), with `df` > n - 1 degrees of
    freedom and one of `covariance_matrix`, `precision_matrix` and `scale_tril`, each (..., n, n)."""

    arg_constraints = {"scale_tril": constraints.lower_cholesky}
    has_rsample = True

    def __init__(self, df: Any, covariance_matrix: Tensor | None = None,
                 precision_matrix: Tensor | None = None, scale_tril: Tensor | None = None,
                 validate_args: bool | None = None) -> None:
        if isinstance(df, int | float):
            matrix = next(m for m in (covariance_matrix, precision_matrix, scale_tril) if m is not None)
            df = lazygrad.tensor(df, dtype=matrix.dtype, device=matrix.device)
        self._take(df.shape, covariance_matrix=covariance_matrix, precision_matrix=precision_matrix,
                   scale_tril=scale_tril)
        lower = self._unbroadcasted_scale_tril
        batch, n = lazygrad.broadcast_shapes(df.shape, lower.shape[:-2]), lower.shape[-1]
        self.df = df.expand(batch)
        if bool((self.df <= n - 1).any()):
            raise ArgumentError(f"[distributions] Value of df={df} expected to be greater than ndim - 1 = "
                                f"{n - 1}.")
        super().__init__(batch, (n, n), validate_args)

    support = constraints.positive_definite

    @property
    def mean(self) -> Tensor:
        return self.df[..., None, None] * self.covariance_matrix

    @property
    def mode(self) -> Tensor:
        factor = self.df - self._event_shape[-1] - 1
        return lazygrad.where(factor <= 0, math.nan, factor)[..., None, None] * self.covariance_matrix

    @property
    def variance(self) -> Tensor:
        v = self.covariance_matrix
        diagonal = v.diagonal(dim1=-2, dim2=-1)
        return self.df[..., None, None] * (v.square() + diagonal.unsqueeze(-1) * diagonal.unsqueeze(-2))

    def rsample(self, sample_shape: Any = (), max_try_correction: int | None = None) -> Tensor:
        if config.get("RNG") == "torch":
            self._factored(sample_shape)  # PyTorch draws what is regular twice: it takes it for singular
        return self._factored(sample_shape)

    def _factored(self, sample_shape: Any) -> Tensor:
        shape, n = self._extended_shape(sample_shape), self._event_shape[-1]
        like = {"dtype": self.scale_tril.dtype, "device": self.scale_tril.device}
        # Bartlett: the factor of a sample has roots of chi-squared numbers over normal ones
        freedom = self.df.unsqueeze(-1) - lazygrad.arange(n, **like)
        roots = Chi2(freedom, validate_args=False).rsample(sample_shape).sqrt()
        factor = roots.clamp(min=lazygrad.finfo(roots.dtype).eps).diag_embed()
        rows, columns = lazygrad.tril_indices(n, n, -1)
        # as many normal numbers as there are places below the diagonal
        factor[..., rows, columns] = lazygrad.randn((*shape[:-2], n * (n - 1) // 2), **like)
        factor = self._unbroadcasted_scale_tril @ factor
        return factor @ factor.mT

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        n, half = self._event_shape[-1], self.df / 2
        trace = lazygrad.cholesky_solve(value, self.scale_tril).diagonal(dim1=-2, dim2=-1).sum(-1)
        size = lazygrad.linalg.slogdet(value).logabsdet
        return (-self.df * (n * math.log(2) / 2 + _log_diagonal(self.scale_tril)) - lazygrad.mvlgamma(half, n)
                + (self.df - n - 1) / 2 * size - trace / 2)

    def entropy(self) -> Tensor:
        n, half = self._event_shape[-1], self.df / 2
        steps = lazygrad.arange(n, dtype=self.df.dtype, device=self.df.device) / 2
        slope = (half.unsqueeze(-1) - steps).digamma().sum(-1)
        return ((n + 1) * (n * math.log(2) / 2 + _log_diagonal(self.scale_tril)) + lazygrad.mvlgamma(half, n)
                - (self.df - n - 1) / 2 * slope + self.df * n / 2)

    def _expanded(self, shape: Size) -> dict[str, Any]:
        scale_tril = self.scale_tril.expand(shape + self._event_shape)
        return vars(Wishart(self.df.expand(shape), scale_tril=scale_tril, validate_args=False))


class LKJCholesky(Distribution):
    """Cholesky's factors (..., dim, dim) of correlation matrices M, whose density is proportional to
    det(M)^(concentration - 1)."""

    arg_constraints = {"concentration": constraints.positive}

    def __init__(self, dim: int, concentration: Any = 1.0, validate_args: bool | None = None) -> None:
        if dim < 2:
            raise ArgumentError(f"[distributions] Expected dim to be an integer greater than or equal to 2. "
                                f"Found dim={dim}.")
        self.dim = dim
        (self.concentration,) = as_tensors(concentration)
        super().__init__(self.concentration.shape, (dim, dim), validate_args)

    support = constraints.corr_cholesky

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Row by row: a direction, and how much of the row's length lies below the diagonal."""
        shape = self._extended_shape(sample_shape)
        like = {"dtype": self.concentration.dtype, "device": self.concentration.device}
        with lazygrad.no_grad():
            # the first row, too, has a length drawn for it, which nothing reads
            before = lazygrad.cat([lazygrad.zeros(1, **like), lazygrad.arange(self.dim - 1, **like)])
            rest = (self.concentration + 0.5 * (self.dim - 2)).unsqueeze(-1) - 0.5 * before
            length = Beta((before + 0.5).expand(rest.shape), rest, validate_args=False).sample(sample_shape)
            normal = lazygrad.randn(shape, **like).tril(-1)[..., 1:, :]
            below = length[..., 1:].sqrt().unsqueeze(-1) * normal / normal.norm(dim=-1, keepdim=True)
            below = lazygrad.nn.functional.pad(below, [0, 0, 1, 0])
            diagonal = (1 - below.square().sum(-1)).clamp(min=lazygrad.finfo(below.dtype).tiny).sqrt()
            return below + diagonal.diag_embed()

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        n = self.dim - 1
        diagonal = value.diagonal(dim1=-2, dim2=-1)[..., 1:]
        order = lazygrad.arange(2, self.dim + 1, dtype=value.dtype, device=value.device)
        powers = 2 * (self.concentration - 1).unsqueeze(-1) + self.dim - order
        alpha = self.concentration + 0.5 * n
        size = 0.5 * n * math.log(math.pi) + lazygrad.mvlgamma(alpha - 0.5, n) - alpha.lgamma() * n
        return (powers * diagonal.log()).sum(-1) - size
