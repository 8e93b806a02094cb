"""Mixtures, relaxed choices, and angles."""

from __future__ import annotations

import math
from typing import Any

import lazygrad
import lazygrad.nn.functional as F
from lazygrad.distributions import constraints
from lazygrad.distributions.constraints import Constraint
from lazygrad.distributions.continuous import inside
from lazygrad.distributions.discrete import Categorical, OverClasses, logits_of, one_of
from lazygrad.distributions.distribution import Distribution, as_tensors
from lazygrad.errors import ArgumentError
from lazygrad.tensors import Tensor


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
        self.mixture_distribution, self.component_distribution = mixture_distribution, component_distribution
        batch = component_distribution.batch_shape
        count = mixture_distribution.probs.shape[-1]
        if not batch or batch[-1] != count:
            raise ArgumentError(f"[distributions] `mixture_distribution` component ({count}) does not equal "
                                f"`component_distribution.batch_shape[-1]` ({tuple(batch)})")
        super().__init__(batch[:-1], component_distribution.event_shape, validate_args)

    @property
    def support(self) -> Constraint:
        return self.component_distribution.support

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

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        each = self.component_distribution.log_prob(self._spread(value))
        return (each + self.mixture_distribution.logits.log_softmax(-1)).logsumexp(-1)

    def cdf(self, value: Tensor) -> Tensor:
        each = self.component_distribution.cdf(self._spread(value))
        return (each * self.mixture_distribution.probs).sum(-1)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with lazygrad.no_grad():
            events, at = len(self._event_shape), len(tuple(sample_shape)) + len(self._batch_shape)
            chosen = self.mixture_distribution.expand(self._batch_shape).sample(sample_shape)
            values = self.component_distribution.sample(sample_shape)
            chosen = chosen.reshape(*chosen.shape, *(1,) * (events + 1))
            chosen = chosen.expand(*chosen.shape[:at], 1, *self._event_shape)
            return values.gather(at, chosen).squeeze(at)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distribution for a larger batch."""
        shape = tuple(batch_shape)
        count = self.component_distribution.batch_shape[-1]
        return MixtureSameFamily(self.mixture_distribution.expand(shape),
                                 self.component_distribution.expand((*shape, count)), False)

    def __repr__(self) -> str:
        return f"MixtureSameFamily(\n  {self.mixture_distribution},\n  {self.component_distribution})"


class RelaxedBernoulli(Distribution):
    """sigmoid((logits + logistic noise) / temperature): numbers of (0, 1), near its ends for low
    temperatures."""

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    has_rsample = True

    def __init__(self, temperature: Any, probs: Any = None, logits: Any = None,
                 validate_args: bool | None = None) -> None:
        one_of("RelaxedBernoulli", probs, logits)
        (given,) = as_tensors(logits if probs is None else probs)
        self.temperature = temperature
        self.probs = given.sigmoid() if probs is None else given
        self.logits = given if probs is None else logits_of(given)
        super().__init__(given.shape, (), validate_args)

    @property
    def support(self) -> Constraint:
        return constraints.unit_interval

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        like = {"dtype": self.logits.dtype, "device": self.logits.device}
        u = inside(self._extended_shape(sample_shape), like)
        drawn = ((u.log() - (-u).log1p() + self.logits) / self.temperature).sigmoid()
        info = lazygrad.finfo(drawn.dtype)
        return drawn.clamp(info.tiny, 1 - info.eps)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        info = lazygrad.finfo(value.dtype)
        value = value.clamp(info.tiny, 1 - info.eps)
        odds = value.log() - (-value).log1p()
        diff = self.logits - odds * self.temperature
        temperature = lazygrad.as_tensor(self.temperature, dtype=diff.dtype, device=diff.device)
        return temperature.log() + diff - 2 * diff.exp().log1p() + F.softplus(-odds) + F.softplus(odds)


class RelaxedOneHotCategorical(OverClasses):
    """softmax((logits + Gumbel noise) / temperature): near one-hot vectors for low temperatures."""

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    has_rsample = True

    def __init__(self, temperature: Any, probs: Tensor | None = None, logits: Tensor | None = None,
                 validate_args: bool | None = None) -> None:
        self.temperature = temperature
        super().__init__(probs, logits, validate_args)

    @property
    def support(self) -> Constraint:
        return constraints.simplex

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        like = {"dtype": self.logits.dtype, "device": self.logits.device}
        u = inside(self._extended_shape(sample_shape), like)
        return ((self.logits - (-u.log()).log()) / self.temperature).softmax(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        k = self._event_shape[0]
        like = {"dtype": self.logits.dtype, "device": self.logits.device}
        temperature = lazygrad.as_tensor(self.temperature, **like)
        scale = math.lgamma(k) + (k - 1) * temperature.log()
        score = (self.logits - value.log() * temperature).log_softmax(-1)
        return (score - value.log()).sum(-1) + scale

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distribution for a larger batch."""
        shape = (*tuple(batch_shape), *self._event_shape)
        logits = self.logits.expand(shape)
        return RelaxedOneHotCategorical(self.temperature, logits=logits, validate_args=False)


_TRIES = 24


class VonMises(Distribution):
    """Angles around `loc`: exp(concentration cos(x - loc)) / (2 pi I0(concentration))."""

    arg_constraints = {"loc": constraints.real, "concentration": constraints.positive}

    def __init__(self, loc: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.loc, self.concentration = as_tensors(loc, concentration)
        super().__init__(self.loc.shape, (), validate_args)

    @property
    def support(self) -> Constraint:
        return constraints.real

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
        """Best and Fisher's rejection method (1979): of 24 tries the first that is accepted; each is with a
        chance of two thirds or more."""
        shape = self._extended_shape(sample_shape)
        with lazygrad.no_grad():
            k, loc = self.concentration.double(), self.loc.double()
            tau = 1 + (1 + 4 * k**2).sqrt()
            rho = (tau - (2 * tau).sqrt()) / (2 * k)
            exact = (1 + rho**2) / (2 * rho)
            r = lazygrad.where(k < 1e-5, 1 / k + k, exact)
            u = inside((3, _TRIES, *shape), {"dtype": lazygrad.float64, "device": self.loc.device})
            z = (math.pi * u[0]).cos()
            f = ((1 + r * z) / (r + z)).clamp(-1, 1)
            c = k * (r - f)
            taken = (c * (2 - c) > u[1]) | ((c / u[1]).log() + 1 >= c)
            first = taken.to(lazygrad.int32).argmax(0, keepdim=True)
            angle = ((u[2] - 0.5).sign() * f.acos()).gather(0, first).squeeze(0)
            whole = (angle + math.pi + loc) % (2 * math.pi) - math.pi
            return whole.to(self.loc.dtype)
