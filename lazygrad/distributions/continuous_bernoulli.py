"""`ContinuousBernoulli`: numbers from 0 to 1 whose density is Bernoulli's formula, made to sum to one."""

from __future__ import annotations

import math
from typing import Any

import lazygrad
import lazygrad.nn.functional as F
from lazygrad.distributions import constraints
from lazygrad.distributions.discrete import one_of
from lazygrad.distributions.distribution import Distribution
from lazygrad.distributions.utils import (
    as_tensors,
    clamp_probs,
    lazy_property,
    logits_to_probs,
    probs_to_logits,
)
from lazygrad.errors import ArgumentError
from lazygrad.tensors import Size, Tensor


class ContinuousBernoulli(Distribution):
    """Density proportional to p^x (1 - p)^(1 - x) for x from 0 to 1, p given by `probs` or `logits`. For p
    between `lims`, near 1/2, where the formulas divide 0 by 0, series stand for them."""

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    has_rsample = True

    def __init__(self, probs: Any = None, logits: Any = None, lims: tuple[float, float] = (0.499, 0.501),
                 validate_args: bool | None = None) -> None:
        one_of("ContinuousBernoulli", probs, logits)
        (given,) = as_tensors(logits if probs is None else probs)
        self._lims = lims
        if probs is None:
            self.logits = given
        else:
            # before it is clamped; as in PyTorch where validate_args is False, too
            if validate_args is not None and not bool(constraints.unit_interval.check(given).all()):
                raise ArgumentError("[distributions] ContinuousBernoulli: the parameter probs has invalid "
                                    f"values: {given}")
            self.probs = clamp_probs(given)
        super().__init__(given.shape, (), validate_args)

    @lazy_property
    def probs(self) -> Tensor:
        """The parameter p, of which 1 - p is no 0 either."""
        return clamp_probs(logits_to_probs(self.logits, True))

    @lazy_property
    def logits(self) -> Tensor:
        """log(p / (1 - p))."""
        return probs_to_logits(self.probs, True)

    @property
    def param_shape(self) -> Size:
        """The shape of the parameter."""
        return self.probs.size()

    support = constraints.unit_interval

    @property
    def _far(self) -> Tensor:
        """Where p is not near 1/2."""
        return (self.probs <= self._lims[0]) | (self.probs > self._lims[1])

    @property
    def _cut(self) -> Tensor:
        """p, where it is not near 1/2."""
        return lazygrad.where(self._far, self.probs, self._lims[0])

    def _log_norm(self) -> Tensor:
        """The logarithm of what makes the density sum to one."""
        p = self._cut
        low, high = lazygrad.where(p <= 0.5, p, 0.0), lazygrad.where(p >= 0.5, p, 1.0)
        size = lazygrad.where(p <= 0.5, (-2.0 * low).log1p(), (2.0 * high - 1.0).log())
        exact = ((-p).log1p() - p.log()).abs().log() - size
        x = (self.probs - 0.5).square()
        return lazygrad.where(self._far, exact, math.log(2.0) + (4.0 / 3.0 + 104.0 / 45.0 * x) * x)

    @property
    def mean(self) -> Tensor:
        p, x = self._cut, self.probs - 0.5
        exact = p / (2.0 * p - 1.0) + 1.0 / ((-p).log1p() - p.log())
        return lazygrad.where(self._far, exact, 0.5 + (1.0 / 3.0 + 16.0 / 45.0 * x.square()) * x)

    @property
    def variance(self) -> Tensor:
        p, x = self._cut, (self.probs - 0.5).square()
        exact = p * (p - 1.0) / (1.0 - 2.0 * p).square() + 1.0 / ((-p).log1p() - p.log()).square()
        return lazygrad.where(self._far, exact, 1.0 / 12.0 - (1.0 / 15.0 - 128.0 / 945.0 * x) * x)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        like = {"dtype": self.probs.dtype, "device": self.probs.device}
        return self.icdf(lazygrad.rand(self._extended_shape(sample_shape), **like))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        logits, value = lazygrad.broadcast_tensors(self.logits, value)
        return -F.binary_cross_entropy_with_logits(logits, value, reduction="none") + self._log_norm()

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        p = self._cut
        exact = (p.pow(value) * (1.0 - p).pow(1.0 - value) + p - 1.0) / (2.0 * p - 1.0)
        return lazygrad.where(value <= 0, 0.0, lazygrad.where(
            value >= 1, 1.0, lazygrad.where(self._far, exact, value)))

    def icdf(self, value: Tensor) -> Tensor:
        p = self._cut
        low = (-p).log1p()
        exact = ((-p + value * (2.0 * p - 1.0)).log1p() - low) / (p.log() - low)
        return lazygrad.where(self._far, exact, value)

    def entropy(self) -> Tensor:
        no, yes = (-self.probs).log1p(), self.probs.log()
        return self.mean * (no - yes) - self._log_norm() - no
