"""Distributions of real numbers that are sampled by one formula of uniform or normal numbers."""

from __future__ import annotations

import math
from typing import Any

import lazygrad
from lazygrad.distributions import constraints
from lazygrad.distributions.constraints import Constraint
from lazygrad.distributions.distribution import Distribution
from lazygrad.distributions.utils import EULER, as_tensors
from lazygrad.errors import ArgumentError
from lazygrad.tensors import Tensor


class _LocationScale(Distribution):
    """loc + scale * a value of the standard distribution."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    has_rsample = True
    loc: Tensor
    scale: Tensor

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = as_tensors(loc, scale)
        super().__init__(self.loc.shape, (), validate_args)

    support = constraints.real

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        like = {"dtype": self.loc.dtype, "device": self.loc.device}
        return self.loc + self.scale * self._standard(shape, like)

    def _standard(self, shape: Any, like: dict[str, Any]) -> Tensor:
        raise self._missing("rsample")

    def _centered(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return (value - self.loc) / self.scale


def inside(shape: Any, like: dict[str, Any]) -> Tensor:
    """Uniform numbers of (0, 1): the ends would be infinite."""
    tiny = lazygrad.finfo(like["dtype"]).tiny
    return lazygrad.rand(shape, **like).clamp(tiny, 1 - lazygrad.finfo(like["dtype"]).eps / 2)


class Normal(_LocationScale):
    """The normal distribution of mean `loc` and standard deviation `scale`."""

    @property
    def stddev(self) -> Tensor:
        return self.scale

    @property
    def variance(self) -> Tensor:
        return self.scale.pow(2)

    def _standard(self, shape: Any, like: dict[str, Any]) -> Tensor:
        return lazygrad.randn(shape, **like)

    def log_prob(self, value: Tensor) -> Tensor:
        return -self._centered(value).pow(2) / 2 - self.scale.log() - math.log(2 * math.pi) / 2

    def cdf(self, value: Tensor) -> Tensor:
        return 0.5 * (1 + (self._centered(value) / math.sqrt(2)).erf())

    def icdf(self, value: Tensor) -> Tensor:
        return self.loc + self.scale * (2 * value - 1).erfinv() * math.sqrt(2)

    def entropy(self) -> Tensor:
        return 0.5 + 0.5 * math.log(2 * math.pi) + self.scale.log()


class Laplace(_LocationScale):
    """exp(-|x - loc| / scale) / (2 scale)."""

    @property
    def variance(self) -> Tensor:
        return 2 * self.scale.pow(2)

    def _standard(self, shape: Any, like: dict[str, Any]) -> Tensor:
        u = lazygrad.empty(shape, **like).uniform_(lazygrad.finfo(like["dtype"]).eps - 1, 1)
        return -u.sign() * (-u.abs()).log1p()

    def log_prob(self, value: Tensor) -> Tensor:
        return -self._centered(value).abs() - (2 * self.scale).log()

    def cdf(self, value: Tensor) -> Tensor:
        z = self._centered(value)
        return 0.5 - 0.5 * z.sign() * lazygrad.expm1(-z.abs())

    def icdf(self, value: Tensor) -> Tensor:
        term = value - 0.5
        return self.loc - self.scale * term.sign() * lazygrad.log1p(-2 * term.abs())

    def entropy(self) -> Tensor:
        return 1 + (2 * self.scale).log()


class Gumbel(_LocationScale):
    """The distribution of the largest of many: exp(-(z + exp(-z))) / scale, z = (x - loc) / scale."""

    @property
    def mean(self) -> Tensor:
        return self.loc + self.scale * EULER

    @property
    def stddev(self) -> Tensor:
        return math.pi / math.sqrt(6) * self.scale

    @property
    def variance(self) -> Tensor:
        return self.stddev.pow(2)

    def _standard(self, shape: Any, like: dict[str, Any]) -> Tensor:
        limits = lazygrad.finfo(like["dtype"])
        u = limits.tiny + lazygrad.rand(shape, **like) * (1 - limits.eps)
        return -(-u.log()).log()

    def log_prob(self, value: Tensor) -> Tensor:
        z = self._centered(value)
        return -(z + (-z).exp()) - self.scale.log()

    def cdf(self, value: Tensor) -> Tensor:
        return (-(-self._centered(value)).exp()).exp()

    def icdf(self, value: Tensor) -> Tensor:
        return self.loc - self.scale * (-value.log()).log()

    def entropy(self) -> Tensor:
        return self.scale.log() + (1 + EULER)


class Cauchy(_LocationScale):
    """1 / (pi scale (1 + z^2)), z = (x - loc) / scale; it has no mean."""

    @property
    def mean(self) -> Tensor:
        return lazygrad.full_like(self.loc, math.nan)

    @property
    def variance(self) -> Tensor:
        return lazygrad.full_like(self.loc, math.inf)

    def _standard(self, shape: Any, like: dict[str, Any]) -> Tensor:
        return lazygrad.empty(shape, **like).cauchy_()

    def log_prob(self, value: Tensor) -> Tensor:
        return -math.log(math.pi) - self.scale.log() - self._centered(value).pow(2).log1p()

    def cdf(self, value: Tensor) -> Tensor:
        return self._centered(value).atan() / math.pi + 0.5

    def icdf(self, value: Tensor) -> Tensor:
        return lazygrad.tan(math.pi * (value - 0.5)) * self.scale + self.loc

    def entropy(self) -> Tensor:
        return math.log(4 * math.pi) + self.scale.log()


class Uniform(Distribution):
    """Equally likely from `low` to `high`."""

    arg_constraints = {"low": constraints.dependent, "high": constraints.dependent}
    has_rsample = True

    def __init__(self, low: Any, high: Any, validate_args: bool | None = None) -> None:
        self.low, self.high = as_tensors(low, high)
        super().__init__(self.low.shape, (), validate_args)
        if self._validate_args and not bool((self.low < self.high).all()):
            raise ArgumentError("[distributions] Uniform is not defined when low >= high")

    @constraints.dependent_property
    def support(self) -> Constraint:
        return constraints.interval(self.low, self.high)

    @property
    def mean(self) -> Tensor:
        return (self.high + self.low) / 2

    @property
    def mode(self) -> Tensor:
        return lazygrad.full_like(self.low, math.nan)

    @property
    def variance(self) -> Tensor:
        return (self.high - self.low).pow(2) / 12

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        u = lazygrad.rand(self._extended_shape(sample_shape), dtype=self.low.dtype, device=self.low.device)
        return self.low + u * (self.high - self.low)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        inside = (self.low <= value) & (self.high > value)
        return inside.to(self.low.dtype).log() - (self.high - self.low).log()

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return ((value - self.low) / (self.high - self.low)).clamp(0, 1)

    def icdf(self, value: Tensor) -> Tensor:
        return value * (self.high - self.low) + self.low

    def entropy(self) -> Tensor:
        return (self.high - self.low).log()


class Exponential(Distribution):
    """rate * exp(-rate x), x >= 0."""

    arg_constraints = {"rate": constraints.positive}
    has_rsample = True

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        (self.rate,) = as_tensors(rate)
        super().__init__(self.rate.shape, (), validate_args)

    support = constraints.nonnegative

    @property
    def mean(self) -> Tensor:
        return self.rate.reciprocal()

    @property
    def mode(self) -> Tensor:
        return lazygrad.zeros_like(self.rate)

    @property
    def stddev(self) -> Tensor:
        return self.rate.reciprocal()

    @property
    def variance(self) -> Tensor:
        return self.rate.pow(-2)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        drawn = lazygrad.empty(shape, dtype=self.rate.dtype, device=self.rate.device).exponential_()
        return drawn / self.rate

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return self.rate.log() - self.rate * value

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return 1 - (-self.rate * value).exp()

    def icdf(self, value: Tensor) -> Tensor:
        return -(-value).log1p() / self.rate

    def entropy(self) -> Tensor:
        return 1 - self.rate.log()
