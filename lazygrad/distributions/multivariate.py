"""Normal vectors: by a covariance, a precision or Cholesky's factor, or by a factor of few columns."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import lazygrad
from lazygrad.distributions import constraints
from lazygrad.distributions.distribution import Distribution
from lazygrad.distributions.utils import lazy_property, standard_normal
from lazygrad.errors import ArgumentError
from lazygrad.tensors import Size, Tensor
from lazygrad.tensors.linalg.common import LINALG

cholesky, solve_triangular = LINALG["cholesky"], LINALG["solve_triangular"]


def _squared_length(lower: Tensor, x: Tensor) -> Tensor:
    """The squared length of lower^-1 x, for batches that broadcast: (..., n, n) and (..., n) -> (...)."""
    solved = solve_triangular(
        lower.expand(*x.shape, x.shape[-1]) if lower.ndim <= x.ndim else lower, x.unsqueeze(-1), upper=False)
    return solved.squeeze(-1).pow(2).sum(-1)


def _half_log_det(lower: Tensor) -> Tensor:
    return lower.diagonal(dim1=-2, dim2=-1).log().sum(-1)


class ByCholesky(Distribution):
    """A distribution with a covariance of which `scale_tril` is Cholesky's factor; what was not given of the
    three forms is computed when it is asked for."""

    _unbroadcasted_scale_tril: Tensor

    def _matrix(self, matrix: Tensor) -> Tensor:
        """A matrix for each element of the batch."""
        return matrix.expand(self._batch_shape + matrix.shape[-2:])

    @lazy_property
    def scale_tril(self) -> Tensor:
        """Cholesky's factor of the covariance."""
        return self._matrix(self._unbroadcasted_scale_tril)

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        """The expected products of deviations."""
        lower = self._unbroadcasted_scale_tril
        return self._matrix(lower @ lower.mT)

    @lazy_property
    def precision_matrix(self) -> Tensor:
        """The inverse of the covariance."""
        return self._matrix(lazygrad.cholesky_inverse(self._unbroadcasted_scale_tril))

    def _take(self, batch: Any, **matrices: Tensor | None) -> None:
        """The one matrix that was given, and the factor of the covariance. Raises ArgumentError for another
        number of matrices, or a vector."""
        given = {name: matrix for name, matrix in matrices.items() if matrix is not None}
        if len(given) != 1:
            raise ArgumentError("[distributions] Exactly one of covariance_matrix or precision_matrix or "
                                f"scale_tril may be specified, not {len(given)}.")
        ((name, matrix),) = given.items()
        if matrix.ndim < 2:
            raise ArgumentError(f"[distributions] {name} must be at least two-dimensional, with optional "
                                "leading batch dimensions")
        batch = lazygrad.broadcast_shapes(matrix.shape[:-2], batch)
        setattr(self, name, matrix.expand(batch + matrix.shape[-2:]))
        # a matrix that has no factor is told by the check of the argument, not by the factorization
        self._unbroadcasted_scale_tril = FACTORS[name](matrix)


def _factor_of_inverse(matrix: Tensor) -> Tensor:
    """Cholesky's factor of the inverse of a matrix: from that of the matrix turned around."""
    turned = _factor(matrix.flip(-2, -1)).flip(-2, -1).mT
    eye = lazygrad.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    return solve_triangular(turned, eye.expand(matrix.shape), upper=False)


def _factor(matrix: Tensor) -> Tensor:
    return LINALG["cholesky_ex"](matrix)[0]


FACTORS: dict[str, Callable[[Tensor], Tensor]] = {
    "covariance_matrix": _factor, "precision_matrix": _factor_of_inverse, "scale_tril": lambda matrix: matrix}


class NormalVectors(Distribution):
    """Normal vectors around `loc`."""

    loc: Tensor
    support: Any = constraints.real_vector

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc


class MultivariateNormal(NormalVectors, ByCholesky):
    """Normal vectors of mean `loc` (..., n), by one of `covariance_matrix`, `precision_matrix` and
    `scale_tril` (..., n, n)."""

    arg_constraints = {
        "loc": constraints.real_vector, "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite, "scale_tril": constraints.lower_cholesky}
    has_rsample = True

    def __init__(self, loc: Tensor, covariance_matrix: Tensor | None = None,
                 precision_matrix: Tensor | None = None, scale_tril: Tensor | None = None,
                 validate_args: bool | None = None) -> None:
        if loc.ndim < 1:
            raise ArgumentError("[distributions] loc must be at least one-dimensional.")
        self._take(loc.shape[:-1], covariance_matrix=covariance_matrix, precision_matrix=precision_matrix,
                   scale_tril=scale_tril)
        batch = lazygrad.broadcast_shapes(self._unbroadcasted_scale_tril.shape[:-2], loc.shape[:-1])
        self.loc = loc.expand(*batch, loc.shape[-1])
        super().__init__(batch, loc.shape[-1:], validate_args)

    @property
    def variance(self) -> Tensor:
        return self._unbroadcasted_scale_tril.pow(2).sum(-1).expand(self._batch_shape + self._event_shape)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        z = standard_normal(shape, self.loc.dtype, self.loc.device)
        return self.loc + (self._unbroadcasted_scale_tril @ z.unsqueeze(-1)).squeeze(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        length = _squared_length(self._unbroadcasted_scale_tril, value - self.loc)
        n = self._event_shape[0]
        return -0.5 * (n * math.log(2 * math.pi) + length) - _half_log_det(self._unbroadcasted_scale_tril)

    def entropy(self) -> Tensor:
        n = self._event_shape[0]
        half = _half_log_det(self._unbroadcasted_scale_tril).expand(self._batch_shape)
        return 0.5 * n * (1.0 + math.log(2 * math.pi)) + half

    def _expanded(self, shape: Size) -> dict[str, Any]:
        own = {name: self.__dict__[name] for name in FACTORS if name in self.__dict__}
        return {"_batch_shape": shape, "loc": self.loc.expand(shape + self._event_shape),
                **{name: value.expand(shape + value.shape[-2:]) for name, value in own.items()}}


class LowRankMultivariateNormal(NormalVectors):
    """Normal vectors of mean `loc` (..., n) and covariance W W^T + diagonal D: `cov_factor` W (..., n, k) and
    `cov_diag` D (..., n)."""

    arg_constraints = {"loc": constraints.real_vector, "cov_diag": constraints.positive_vector}
    has_rsample = True

    def __init__(self, loc: Tensor, cov_factor: Tensor, cov_diag: Tensor,
                 validate_args: bool | None = None) -> None:
        if loc.ndim < 1 or cov_factor.ndim < 2:
            raise ArgumentError("[distributions] loc must be at least one-dimensional, cov_factor "
                                "two-dimensional")
        n = loc.shape[-1]
        if cov_factor.shape[-2] != n or cov_diag.shape[-1] != n:
            raise ArgumentError(f"[distributions] cov_factor must be a batch of matrices with shape {n} x m, "
                                f"cov_diag of vectors with shape {n}: got {tuple(cov_factor.shape)} and "
                                f"{tuple(cov_diag.shape)}")
        batch = lazygrad.broadcast_shapes(loc.shape[:-1], cov_factor.shape[:-2], cov_diag.shape[:-1])
        self.loc, self.cov_diag = loc.expand(*batch, n), cov_diag.expand(*batch, n)
        self.cov_factor = cov_factor.expand(*batch, *cov_factor.shape[-2:])
        super().__init__(batch, (n,), validate_args)

    @property
    def _capacitance(self) -> Tensor:
        """Cholesky's factor of 1 + W^T D^-1 W."""
        w = self.cov_factor
        eye = lazygrad.eye(w.shape[-1], dtype=w.dtype, device=w.device)
        return cholesky(eye + (w.mT / self.cov_diag.unsqueeze(-2)) @ w)

    @property
    def covariance_matrix(self) -> Tensor:
        """The expected products of deviations."""
        return self.cov_factor @ self.cov_factor.mT + lazygrad.diag_embed(self.cov_diag)

    @property
    def scale_tril(self) -> Tensor:
        """Cholesky's factor of the covariance."""
        return cholesky(self.covariance_matrix)

    @property
    def variance(self) -> Tensor:
        return self.cov_factor.pow(2).sum(-1) + self.cov_diag

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        like = {"dtype": self.loc.dtype, "device": self.loc.device}
        z = lazygrad.randn((*shape[:-1], self.cov_factor.shape[-1]), **like)
        own = lazygrad.randn(shape, **like)
        return self.loc + (self.cov_factor @ z.unsqueeze(-1)).squeeze(-1) + self.cov_diag.sqrt() * own

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        apart = value - self.loc
        scaled = apart / self.cov_diag
        length = (apart * scaled).sum(-1) - _squared_length(
            self._capacitance, (self.cov_factor.mT @ scaled.unsqueeze(-1)).squeeze(-1))
        return -0.5 * (self._event_shape[0] * math.log(2 * math.pi) + self._log_det() + length)

    def _log_det(self) -> Tensor:
        return 2 * _half_log_det(self._capacitance) + self.cov_diag.log().sum(-1)

    def entropy(self) -> Tensor:
        return 0.5 * (self._event_shape[0] * (1.0 + math.log(2 * math.pi)) + self._log_det())

    def _expanded(self, shape: Size) -> dict[str, Any]:
        loc, diagonal = (v.expand(shape + self._event_shape) for v in (self.loc, self.cov_diag))
        factor = self.cov_factor.expand(shape + self.cov_factor.shape[-2:])
        return vars(LowRankMultivariateNormal(loc, factor, diagonal, False))
