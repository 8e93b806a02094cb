"""Distributions of counts: how many of several tries succeed, fail, or fall into each class."""

from __future__ import annotations

from typing import Any

import lazygrad
import lazygrad.nn.functional as F
from lazygrad.distributions import constraints
from lazygrad.distributions.constraints import Constraint
from lazygrad.distributions.discrete import OverClasses, one_of
from lazygrad.distributions.distribution import Distribution
from lazygrad.distributions.gamma_family import Gamma
from lazygrad.distributions.utils import as_tensors, probs_to_logits
from lazygrad.errors import ArgumentError, MissingError
from lazygrad.tensors import Size, Tensor


class _OfTries(Distribution):
    """`total_count` and the chance of each try, `probs` or sigmoid(`logits`)."""

    arg_constraints = {"total_count": constraints.nonnegative, "probs": constraints.unit_interval,
                       "logits": constraints.real}

    def __init__(self, total_count: Any = 1, probs: Any = None, logits: Any = None,
                 validate_args: bool | None = None) -> None:
        one_of(type(self).__name__, probs, logits)
        given = logits if probs is None else probs
        count, chance = as_tensors(total_count, given)
        self.total_count = count.to(chance.dtype)
        self.probs = chance.sigmoid() if probs is None else chance
        self.logits = chance if probs is None else probs_to_logits(chance, True)
        super().__init__(chance.shape, (), validate_args)


def _norm(count: Tensor, logits: Tensor) -> Tensor:
    """count * softplus(logits), and no infinity where logits are large."""
    return count * logits.clamp(min=0) + count * (-logits.abs()).exp().log1p()


class Binomial(_OfTries):
    """How many of `total_count` tries succeed. Sampling adds up as many tries."""

    has_enumerate_support = True

    @constraints.dependent_property
    def support(self) -> Constraint:
        return constraints.integer_interval(0, self.total_count)

    @property
    def mean(self) -> Tensor:
        return self.total_count * self.probs

    @property
    def mode(self) -> Tensor:
        return ((self.total_count + 1) * self.probs).floor().clamp(max=self.total_count)

    @property
    def variance(self) -> Tensor:
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        with lazygrad.no_grad():
            count = self.total_count.expand(shape).to(self.probs.dtype)
            return lazygrad.binomial(count, self.probs.expand(shape))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        n = self.total_count
        ways = (n + 1).lgamma() - (value + 1).lgamma() - (n - value + 1).lgamma()
        return value * self.logits + ways - _norm(n, self.logits)

    def entropy(self) -> Tensor:
        log = self.log_prob(self.enumerate_support(False))
        return -(log.exp() * log).sum(0)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        total = self.total_count
        most = int(total.max().item())
        if int(total.min().item()) != most:
            raise MissingError("[distributions] Binomial: Inhomogeneous total count not supported by "
                               "`enumerate_support`.")
        values = lazygrad.arange(1 + most, dtype=total.dtype, device=total.device)
        values = values.view((-1,) + (1,) * len(self._batch_shape))
        return values.expand((-1, *self._batch_shape)) if expand else values


class NegativeBinomial(_OfTries):
    """How many tries succeed, each with chance `probs`, before `total_count` of them have failed."""

    def __init__(self, total_count: Any, probs: Any = None, logits: Any = None,
                 validate_args: bool | None = None) -> None:
        super().__init__(total_count, probs, logits, validate_args)

    support = constraints.nonnegative_integer

    @property
    def mean(self) -> Tensor:
        return self.total_count * self.logits.exp()

    @property
    def mode(self) -> Tensor:
        return ((self.total_count - 1) * self.logits.exp()).floor().clamp(min=0.0)

    @property
    def variance(self) -> Tensor:
        return self.mean / (-self.logits).sigmoid()

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with lazygrad.no_grad():
            rate = Gamma(self.total_count, (-self.logits).exp(), False).sample(sample_shape)
            return lazygrad.poisson(rate)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        n = self.total_count
        weight = n * F.logsigmoid(-self.logits) + value * F.logsigmoid(self.logits)
        ways = (n + value).lgamma() - (1.0 + value).lgamma() - n.lgamma()
        return weight + lazygrad.where(n + value == 0.0, 0.0, ways)


class Multinomial(OverClasses):
    """How many of `total_count` draws fall into each class; `probs` or `logits` (..., classes)."""

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    total_count: int

    def __init__(self, total_count: int = 1, probs: Tensor | None = None, logits: Tensor | None = None,
                 validate_args: bool | None = None) -> None:
        if not isinstance(total_count, int):
            raise ArgumentError("[distributions] Multinomial: inhomogeneous total_count is not supported")
        self.total_count = total_count
        super().__init__(probs, logits, validate_args)

    @constraints.dependent_property
    def support(self) -> Constraint:
        return constraints.multinomial(self.total_count)

    @property
    def mean(self) -> Tensor:
        return self.probs * self.total_count

    @property
    def variance(self) -> Tensor:
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        with lazygrad.no_grad():
            drawn = self._classes.sample((self.total_count, *tuple(sample_shape))).movedim(0, -1)
            counts = lazygrad.zeros(shape, dtype=self.probs.dtype, device=self.probs.device)
            return counts.scatter_add(-1, drawn, lazygrad.ones_like(drawn, dtype=counts.dtype))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        logits, value = lazygrad.broadcast_tensors(self.logits, value)
        ways = (value.sum(-1) + 1).lgamma() - (value + 1).lgamma().sum(-1)
        logits = lazygrad.where((value == 0) & (logits == -float("inf")), 0.0, logits)
        return ways + (logits * value).sum(-1)

    def entropy(self) -> Tensor:
        n = lazygrad.tensor(float(self.total_count), dtype=self.probs.dtype, device=self.probs.device)
        entropy = self._classes.entropy()
        term = n * entropy - (n + 1).lgamma()
        values = lazygrad.arange(1, self.total_count + 1, dtype=n.dtype, device=n.device)
        values = values.view((-1,) + (1,) * (len(self._batch_shape) + 1))
        each = Binomial(self.total_count, probs=self.probs, validate_args=False).log_prob(values).exp()
        return term + (each * (values + 1).lgamma()).sum(0).sum(-1)

    def _expanded(self, shape: Size) -> dict[str, Any]:
        logits = self.logits.expand(shape + self._event_shape)
        return vars(Multinomial(self.total_count, logits=logits, validate_args=False))
