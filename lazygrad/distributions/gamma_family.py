"""Distributions that are sampled by gamma distributed numbers; samples carry gradients by the shapes too."""

from __future__ import annotations

import math
from typing import Any

import lazygrad
from lazygrad.distributions import constraints
from lazygrad.distributions.distribution import Distribution
from lazygrad.distributions.utils import as_tensors
from lazygrad.errors import ArgumentError
from lazygrad.tensors import Size, Tensor
from lazygrad.tensors.random.creators import sample_dirichlet, standard_gamma


def _positive(x: Tensor) -> Tensor:
    """x, not below the smallest normal number."""
    return x + (x.detach().clamp(min=lazygrad.finfo(x.dtype).tiny) - x.detach())


class Gamma(Distribution):
    """rate^c x^(c-1) exp(-rate x) / gamma(c), c the `concentration`."""

    arg_constraints = {"concentration": constraints.positive, "rate": constraints.positive}
    has_rsample = True
    concentration: Tensor
    rate: Tensor

    def __init__(self, concentration: Any, rate: Any, validate_args: bool | None = None) -> None:
        self.concentration, self.rate = as_tensors(concentration, rate)
        super().__init__(self.rate.shape, (), validate_args)

    support = constraints.nonnegative

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.rate

    @property
    def mode(self) -> Tensor:
        return ((self.concentration - 1) / self.rate).clamp(min=0)

    @property
    def variance(self) -> Tensor:
        return self.concentration / self.rate.pow(2)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        return _positive(standard_gamma(self.concentration.expand(shape)) / self.rate.expand(shape))

    def log_prob(self, value: Tensor) -> Tensor:
        value = lazygrad.as_tensor(value, dtype=self.rate.dtype, device=self.rate.device)
        self._validate_sample(value)
        c = self.concentration
        return lazygrad.xlogy(c, self.rate) + lazygrad.xlogy(c - 1, value) - self.rate * value - c.lgamma()

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return lazygrad.igamma(self.concentration, self.rate * value)

    def entropy(self) -> Tensor:
        c = self.concentration
        return c - self.rate.log() + c.lgamma() + (1 - c) * c.digamma()


class Chi2(Gamma):
    """The sum of `df` squared normal numbers."""

    arg_constraints = {"df": constraints.positive}

    def __init__(self, df: Any, validate_args: bool | None = None) -> None:
        (df,) = as_tensors(df)
        super().__init__(0.5 * df, 0.5, validate_args)

    @property
    def df(self) -> Tensor:
        """How many."""
        return self.concentration * 2

    def _expanded(self, shape: Size) -> dict[str, Any]:
        return vars(Chi2(self.df.expand(shape), validate_args=False))


class InverseGamma(Distribution):
    """1 / x for a gamma distributed x."""

    arg_constraints = {"concentration": constraints.positive, "rate": constraints.positive}
    has_rsample = True

    def __init__(self, concentration: Any, rate: Any, validate_args: bool | None = None) -> None:
        self.concentration, self.rate = as_tensors(concentration, rate)
        super().__init__(self.rate.shape, (), validate_args)

    support = constraints.positive

    @property
    def mean(self) -> Tensor:
        return lazygrad.where(self.concentration > 1, self.rate / (self.concentration - 1), math.inf)

    @property
    def mode(self) -> Tensor:
        return self.rate / (self.concentration + 1)

    @property
    def variance(self) -> Tensor:
        c = self.concentration
        return lazygrad.where(c > 2, self.rate.square() / ((c - 1).square() * (c - 2)), math.inf)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return Gamma(self.concentration, self.rate, False).rsample(sample_shape).reciprocal()

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return Gamma(self.concentration, self.rate, False).log_prob(value.reciprocal()) - 2 * value.log()

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return lazygrad.igammac(self.concentration, self.rate / value)

    def entropy(self) -> Tensor:
        c = self.concentration
        return c + self.rate.log() + c.lgamma() - (1 + c) * c.digamma()


class Dirichlet(Distribution):
    """Probabilities: proportional to x_1^(c_1 - 1) x_2^(c_2 - 1) ..., c the `concentration` (..., k)."""

    arg_constraints = {"concentration": constraints.positive_vector}
    has_rsample = True

    def __init__(self, concentration: Tensor, validate_args: bool | None = None) -> None:
        if concentration.ndim < 1:
            raise ArgumentError("[distributions] `concentration` parameter must be at least one-dimensional.")
        self.concentration = concentration
        super().__init__(concentration.shape[:-1], concentration.shape[-1:], validate_args)

    support = constraints.simplex

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.concentration.sum(-1, True)

    @property
    def mode(self) -> Tensor:
        less = (self.concentration - 1).clamp(min=0.0)
        mode = less / less.sum(-1, True)
        flat = (self.concentration < 1).all(-1, True)
        peak = lazygrad.nn.functional.one_hot(self.concentration.argmax(-1), self.concentration.shape[-1])
        return lazygrad.where(flat, peak.to(mode.dtype), mode)

    @property
    def variance(self) -> Tensor:
        total = self.concentration.sum(-1, True)
        return self.concentration * (total - self.concentration) / (total.pow(2) * (total + 1))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return sample_dirichlet(self.concentration.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        c = self.concentration
        return lazygrad.xlogy(c - 1, value).sum(-1) + c.sum(-1).lgamma() - c.lgamma().sum(-1)

    def entropy(self) -> Tensor:
        c, k = self.concentration, self.concentration.shape[-1]
        total = c.sum(-1)
        return (c.lgamma().sum(-1) - total.lgamma() - (k - total) * total.digamma()
                - ((c - 1) * c.digamma()).sum(-1))


class Beta(Distribution):
    """Proportional to x^(c1 - 1) (1 - x)^(c0 - 1)."""

    arg_constraints = {"concentration1": constraints.positive, "concentration0": constraints.positive}
    has_rsample = True

    def __init__(self, concentration1: Any, concentration0: Any, validate_args: bool | None = None) -> None:
        self.concentration1, self.concentration0 = as_tensors(concentration1, concentration0)
        super().__init__(self.concentration0.shape, (), validate_args)

    @property
    def _dirichlet(self) -> Dirichlet:
        return Dirichlet(lazygrad.stack([self.concentration1, self.concentration0], -1), False)

    support = constraints.unit_interval

    @property
    def mean(self) -> Tensor:
        return self.concentration1 / (self.concentration1 + self.concentration0)

    @property
    def mode(self) -> Tensor:
        return self._dirichlet.mode[..., 0]

    @property
    def variance(self) -> Tensor:
        total = self.concentration1 + self.concentration0
        return self.concentration1 * self.concentration0 / (total.pow(2) * (total + 1))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self._dirichlet.rsample(sample_shape)[..., 0]

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return self._dirichlet.log_prob(lazygrad.stack([value, 1.0 - value], -1))

    def entropy(self) -> Tensor:
        return self._dirichlet.entropy()


class StudentT(Distribution):
    """loc + scale * z sqrt(df / y), z normal and y a sum of `df` squares of such."""

    arg_constraints = {"df": constraints.positive, "loc": constraints.real, "scale": constraints.positive}
    has_rsample = True

    def __init__(self, df: Any, loc: Any = 0.0, scale: Any = 1.0, validate_args: bool | None = None) -> None:
        self.df, self.loc, self.scale = as_tensors(df, loc, scale)
        super().__init__(self.df.shape, (), validate_args)

    support = constraints.real

    @property
    def mean(self) -> Tensor:
        return lazygrad.where(self.df <= 1, math.nan, self.loc)

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        finite = self.scale.pow(2) * self.df / (self.df - 2)
        wide = lazygrad.where(self.df > 2, finite, math.inf)
        return lazygrad.where(self.df <= 1, math.nan, wide)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        z = lazygrad.randn(shape, dtype=self.df.dtype, device=self.df.device)
        return self.loc + self.scale * z * (Chi2(self.df, False).rsample(sample_shape) / self.df).rsqrt()

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        y, df = (value - self.loc) / self.scale, self.df
        norm = (self.scale.log() + 0.5 * df.log() + 0.5 * math.log(math.pi) + (0.5 * df).lgamma()
                - (0.5 * (df + 1)).lgamma())
        return -0.5 * (df + 1) * (y**2 / df).log1p() - norm

    def entropy(self) -> Tensor:
        df = self.df
        beta = (0.5 * df).lgamma() + math.lgamma(0.5) - (0.5 * (df + 1)).lgamma()
        slope = (0.5 * (df + 1)).digamma() - (0.5 * df).digamma()
        return self.scale.log() + 0.5 * (df + 1) * slope + 0.5 * df.log() + beta


class FisherSnedecor(Distribution):
    """The ratio of two means of `df1` and of `df2` squared normal numbers."""

    arg_constraints = {"df1": constraints.positive, "df2": constraints.positive}
    has_rsample = True

    def __init__(self, df1: Any, df2: Any, validate_args: bool | None = None) -> None:
        self.df1, self.df2 = as_tensors(df1, df2)
        super().__init__(self.df1.shape, (), validate_args)

    support = constraints.positive

    @property
    def mean(self) -> Tensor:
        return lazygrad.where(self.df2 > 2, self.df2 / (self.df2 - 2), math.nan)

    @property
    def mode(self) -> Tensor:
        mode = (self.df1 - 2) / self.df1 * self.df2 / (self.df2 + 2)
        return lazygrad.where(self.df1 <= 2, math.nan, mode)

    @property
    def variance(self) -> Tensor:
        df2 = lazygrad.where(self.df2 <= 4, math.nan, self.df2)
        return 2 * df2.pow(2) * (self.df1 + df2 - 2) / (self.df1 * (df2 - 2).pow(2) * (df2 - 4))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        above = Gamma(self.df1 * 0.5, self.df1, False).rsample(sample_shape)
        below = Gamma(self.df2 * 0.5, self.df2, False).rsample(sample_shape)
        return _positive(above / below)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        half1, half2, ratio = self.df1 * 0.5, self.df2 * 0.5, self.df1 / self.df2
        beta = (half1 + half2).lgamma() - half1.lgamma() - half2.lgamma()
        shape = half1 * ratio.log() + (half1 - 1) * value.log()
        return beta + shape - (half1 + half2) * (ratio * value).log1p()
