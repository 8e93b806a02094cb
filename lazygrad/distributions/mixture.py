"""Mixtures, relaxed choices, and angles."""

from __future__ import annotations

import math
from typing import Any

import lazygrad
from lazygrad.distributions import constraints
from lazygrad.distributions.constraints import Constraint
from lazygrad.distributions.derived import TransformedDistribution
from lazygrad.distributions.discrete import BernoulliFamily, Categorical, OverClasses
from lazygrad.distributions.distribution import Distribution
from lazygrad.distributions.transforms import ExpTransform, SigmoidTransform
from lazygrad.distributions.utils import (
    as_tensors,
    clamp_probs,
)
from lazygrad.errors import ArgumentError
from lazygrad.tensors import Size, Tensor


class MixtureSameFamily(Distribution):
    """One of the distributions along the last dimension of a batch, chosen by a Categorical."""

    def __init__(self, mixture_distribution: Categorical, component_distribution: Distribution,
                 validate_args: bool | None = None) -> None:
        if not isinstance(mixture_distribution, Categorical):
            raise ArgumentError("[distributions] The Mixture distribution needs to be an instance of "
                                "Categorical")
        if not isinstance(component_distribution, Distribution):
            raise ArgumentError("[distributions] The Component distribution need to be an instance of "
                                "Distribution")
        self._mixture_distribution = mixture_distribution
        self._component_distribution = component_distribution
        batch = component_distribution.batch_shape
        count = mixture_distribution.probs.shape[-1]
        if not batch or batch[-1] != count:
            raise ArgumentError(f"[distributions] `mixture_distribution` component ({count}) does not equal "
                                f"`component_distribution.batch_shape[-1]` ({tuple(batch)})")
        super().__init__(batch[:-1], component_distribution.event_shape, validate_args)

    @property
    def mixture_distribution(self) -> Categorical:
        """Which part is chosen."""
        return self._mixture_distribution

    @property
    def component_distribution(self) -> Distribution:
        """The parts, along the last dimension of its batch."""
        return self._component_distribution

    @constraints.dependent_property
    def support(self) -> Constraint:
        return constraints.MixtureSameFamilyConstraint(self._component_distribution.support)

    def _mixed(self, values: Tensor) -> Tensor:
        events = len(self._event_shape)
        probs = self.mixture_distribution.probs
        probs = probs.reshape(*probs.shape, *(1,) * events)
        return (probs * values).sum(-1 - events)

    @property
    def mean(self) -> Tensor:
        return self._mixed(self.component_distribution.mean)

    @property
    def variance(self) -> Tensor:
        part = self.component_distribution
        center = self.mean.unsqueeze(-1 - len(self._event_shape))
        return self._mixed(part.variance) + self._mixed((part.mean - center).pow(2))

    def _spread(self, value: Tensor) -> Tensor:
        return value.unsqueeze(-1 - len(self._event_shape))

    def log_prob(self, x: Tensor) -> Tensor:
        self._validate_sample(x)
        each = self.component_distribution.log_prob(self._spread(x))
        return (each + self.mixture_distribution.logits.log_softmax(-1)).logsumexp(-1)

    def cdf(self, x: Tensor) -> Tensor:
        each = self.component_distribution.cdf(self._spread(x))
        return (each * self.mixture_distribution.probs).sum(-1)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with lazygrad.no_grad():
            events, at = len(self._event_shape), len(tuple(sample_shape)) + len(self._batch_shape)
            chosen = self.mixture_distribution.expand(self._batch_shape).sample(sample_shape)
            values = self.component_distribution.sample(sample_shape)
            chosen = chosen.reshape(*chosen.shape, *(1,) * (events + 1))
            chosen = chosen.expand(*chosen.shape[:at], 1, *self._event_shape)
            return values.gather(at, chosen).squeeze(at)

    def _expanded(self, shape: Size) -> dict[str, Any]:
        count = self._component_distribution.batch_shape[-1]
        return vars(MixtureSameFamily(self._mixture_distribution.expand(shape),
                                      self._component_distribution.expand((*shape, count)), False))

    def __repr__(self) -> str:
        return f"MixtureSameFamily(\n  {self.mixture_distribution},\n  {self.component_distribution})"


class LogitRelaxedBernoulli(BernoulliFamily):
    """(logits + logistic noise) / temperature: the logits of what RelaxedBernoulli gives."""

    support = constraints.real
    has_rsample = True

    def __init__(self, temperature: Any, probs: Any = None, logits: Any = None,
                 validate_args: bool | None = None) -> None:
        self.temperature = temperature
        super().__init__(probs, logits, validate_args)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        probs = clamp_probs(self.probs.expand(shape))
        u = clamp_probs(lazygrad.rand(shape, dtype=probs.dtype, device=probs.device))
        return (u.log() - (-u).log1p() + probs.log() - (-probs).log1p()) / self.temperature

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        logits, value = as_tensors(self.logits, value)
        diff = logits - value * self.temperature
        return _log(self.temperature, diff) + diff - 2 * diff.exp().log1p()


def _log(temperature: Any, like: Tensor) -> Tensor:
    return lazygrad.as_tensor(temperature, dtype=like.dtype, device=like.device).log()


class _Relaxed(TransformedDistribution):
    """A relaxed choice: another one, of the same temperature and chances, put through a transform."""

    has_rsample = True
    base_dist: Any

    @property
    def temperature(self) -> Any:
        """How near to a choice samples are: the lower, the nearer."""
        return self.base_dist.temperature

    @property
    def logits(self) -> Tensor:
        """The logarithms of the chances, or of their odds."""
        return self.base_dist.logits

    @property
    def probs(self) -> Tensor:
        """The chances."""
        return self.base_dist.probs


class RelaxedBernoulli(_Relaxed):
    """sigmoid((logits + logistic noise) / temperature): numbers of (0, 1), near its ends for low
    temperatures."""

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.unit_interval

    def __init__(self, temperature: Any, probs: Any = None, logits: Any = None,
                 validate_args: bool | None = None) -> None:
        base = LogitRelaxedBernoulli(temperature, probs, logits)
        super().__init__(base, SigmoidTransform(), validate_args=validate_args)


class ExpRelaxedCategorical(OverClasses):
    """The logarithms of what RelaxedOneHotCategorical gives."""

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    support = constraints.real_vector  # their logsumexp is 0
    has_rsample = True

    def __init__(self, temperature: Any, probs: Tensor | None = None, logits: Tensor | None = None,
                 validate_args: bool | None = None) -> None:
        self.temperature = temperature
        super().__init__(probs, logits, validate_args)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        u = clamp_probs(lazygrad.rand(shape, dtype=self.logits.dtype, device=self.logits.device))
        return ((self.logits - (-u.log()).log()) / self.temperature).log_softmax(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        k = self._event_shape[0]
        logits, value = as_tensors(self.logits, value)
        score = (logits - value * self.temperature).log_softmax(-1)
        return score.sum(-1) + math.lgamma(k) + (k - 1) * _log(self.temperature, logits)

    def _expanded(self, shape: Size) -> dict[str, Any]:
        logits = self.logits.expand(shape + self._event_shape)
        return vars(ExpRelaxedCategorical(self.temperature, logits=logits, validate_args=False))


class RelaxedOneHotCategorical(_Relaxed):
    """softmax((logits + Gumbel noise) / temperature): near one-hot vectors for low temperatures."""

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    support = constraints.simplex

    def __init__(self, temperature: Any, probs: Tensor | None = None, logits: Tensor | None = None,
                 validate_args: bool | None = None) -> None:
        base = ExpRelaxedCategorical(temperature, probs, logits, validate_args)
        super().__init__(base, ExpTransform(), validate_args=validate_args)


class VonMises(Distribution):
    """Angles around `loc`: exp(concentration cos(x - loc)) / (2 pi I0(concentration))."""

    arg_constraints = {"loc": constraints.real, "concentration": constraints.positive}

    def __init__(self, loc: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.loc, self.concentration = as_tensors(loc, concentration)
        super().__init__(self.loc.shape, (), validate_args)

    support = constraints.real

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        c = self.concentration
        return 1 - lazygrad.special.i1e(c) / lazygrad.special.i0e(c)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        c = self.concentration
        return c * (value - self.loc).cos() - math.log(2 * math.pi) - (lazygrad.special.i0e(c).log() + c)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        with lazygrad.no_grad():
            angle = lazygrad._von_mises(self.concentration.double().expand(shape))
            whole = (angle + math.pi + self.loc.double()) % (2 * math.pi) - math.pi
            return whole.to(self.loc.dtype)
