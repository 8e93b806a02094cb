"""`GeneralizedPareto`: what exceeds a threshold."""

from __future__ import annotations

import math
from typing import Any

import lazygrad
from lazygrad.distributions import constraints
from lazygrad.distributions.constraints import Constraint
from lazygrad.distributions.distribution import Distribution
from lazygrad.distributions.utils import as_tensors
from lazygrad.tensors import Tensor


class GeneralizedPareto(Distribution):
    """loc + scale ((1 - u)^-concentration - 1) / concentration for u uniform; of the concentration 0, loc +
    scale e for e exponential. Numbers or tensors that broadcast."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive,
                       "concentration": constraints.real}
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale, self.concentration = as_tensors(loc, scale, concentration)
        super().__init__(self.loc.shape, (), validate_args)

    @constraints.dependent_property
    def support(self) -> Constraint:
        top = lazygrad.where(self.concentration < 0, self.loc - self.scale / self.concentration, math.inf)
        return constraints.interval(self.loc, top)

    @property
    def _parts(self) -> tuple[Tensor, Tensor]:
        """Where the concentration is 0, and a concentration to divide by."""
        nothing = lazygrad.isclose(self.concentration, lazygrad.zeros_like(self.concentration))
        return nothing, lazygrad.where(nothing, 1.0, self.concentration)

    @property
    def mean(self) -> Tensor:
        finite = self.concentration < 1
        k = lazygrad.where(finite, self.concentration, 0.5)
        return lazygrad.where(finite, self.loc + self.scale / (1 - k), math.inf)

    @property
    def variance(self) -> Tensor:
        finite = self.concentration < 0.5
        k = lazygrad.where(finite, self.concentration, 0.25)
        return lazygrad.where(finite, self.scale.square() / ((1 - k).square() * (1 - 2 * k)), math.inf)

    @property
    def mode(self) -> Tensor:
        return self.loc

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.icdf(lazygrad.rand(self._extended_shape(sample_shape), dtype=self.loc.dtype,
                                       device=self.loc.device))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        nothing, k = self._parts
        z = (value - self.loc) / self.scale
        power = 1 / k + 1
        exact = lazygrad.where(power == 0, power, power * (k * z).log1p())
        return -self.scale.log() - lazygrad.where(nothing, z, exact)

    def log_survival_function(self, value: Tensor) -> Tensor:
        """The logarithm of the probability of more than a value."""
        self._validate_sample(value)
        nothing, k = self._parts
        z = (value - self.loc) / self.scale
        return -lazygrad.where(nothing, z, (k * z).log1p() / k)

    def log_cdf(self, value: Tensor) -> Tensor:
        """The logarithm of the probability of all up to a value."""
        return (-self.log_survival_function(value).exp()).log1p()

    def cdf(self, value: Tensor) -> Tensor:
        return self.log_cdf(value).exp()

    def icdf(self, value: Tensor) -> Tensor:
        nothing, k = self._parts
        rest = (-value).log1p()
        return lazygrad.where(nothing, self.loc - self.scale * rest,
                              self.loc + self.scale / k * (-k * rest).expm1())

    def entropy(self) -> Tensor:
        return self.scale.log() + self.concentration + 1
