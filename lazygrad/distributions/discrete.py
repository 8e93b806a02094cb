"""Distributions over whole numbers and classes, given by probabilities or by logits."""

from __future__ import annotations

from typing import Any

import lazygrad
import lazygrad.nn.functional as F
from lazygrad.distributions import constraints
from lazygrad.distributions.constraints import Constraint
from lazygrad.distributions.distribution import Distribution
from lazygrad.distributions.utils import as_tensors, lazy_property, logits_to_probs, probs_to_logits
from lazygrad.errors import ArgumentError
from lazygrad.tensors import Size, Tensor


def one_of(name: str, probs: Any, logits: Any) -> None:
    if (probs is None) == (logits is None):
        raise ArgumentError(f"[distributions] {name}: Either `probs` or `logits` must be specified, but not "
                            "both.")


class BernoulliFamily(Distribution):
    """A distribution given by the probability of success, as `probs` or as `logits`, log(p / (1 - p))."""

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        one_of(type(self).__name__, probs, logits)
        if probs is not None:
            (self.probs,) = as_tensors(probs)
            self._param = self.probs
        else:
            (self.logits,) = as_tensors(logits)
            self._param = self.logits
        super().__init__(self._param.shape, (), validate_args)

    @lazy_property
    def probs(self) -> Tensor:
        """The chance of 1."""
        return logits_to_probs(self.logits, True)

    @lazy_property
    def logits(self) -> Tensor:
        """log(p / (1 - p))."""
        return probs_to_logits(self.probs, True)

    @property
    def param_shape(self) -> Size:
        """The shape of the parameter."""
        return self._param.size()

    def _expanded(self, shape: Size) -> dict[str, Any]:
        return {**super()._expanded(shape), "_param": self._param.expand(shape)}


class Bernoulli(BernoulliFamily):
    """1 with probability `probs`, else 0; or with the probability sigmoid(`logits`)."""

    has_enumerate_support = True
    support = constraints.boolean

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def mode(self) -> Tensor:
        likely = (self.probs >= 0.5).to(self.probs.dtype)
        return lazygrad.where(self.probs == 0.5, float("nan"), likely)

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with lazygrad.no_grad():
            return lazygrad.bernoulli(self.probs.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        logits, value = lazygrad.broadcast_tensors(self.logits, value)
        return -F.binary_cross_entropy_with_logits(logits, value.to(logits.dtype), reduction="none")

    def entropy(self) -> Tensor:
        return F.binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none")

    def enumerate_support(self, expand: bool = True) -> Tensor:
        values = lazygrad.arange(2, dtype=self._param.dtype, device=self._param.device)
        values = values.view((-1,) + (1,) * len(self._batch_shape))
        return values.expand((-1, *self._batch_shape)) if expand else values


class Geometric(Distribution):
    """How often `probs` fails before it first succeeds: probs (1 - probs)^k."""

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        one_of("Geometric", probs, logits)
        (given,) = as_tensors(logits if probs is None else probs)
        self.probs = given.sigmoid() if probs is None else given
        self.logits = given if probs is None else probs_to_logits(given, True)
        super().__init__(given.shape, (), validate_args)
        if self._validate_args and not bool((self.probs > 0).all()):
            raise ArgumentError("[distributions] Geometric: expected probs greater than 0")

    support = constraints.nonnegative_integer

    @property
    def mean(self) -> Tensor:
        return 1 / self.probs - 1

    @property
    def mode(self) -> Tensor:
        return lazygrad.zeros_like(self.probs)

    @property
    def variance(self) -> Tensor:
        return (1 / self.probs - 1) / self.probs

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with lazygrad.no_grad():
            shape = self._extended_shape(sample_shape)
            u = lazygrad.rand(shape, dtype=self.probs.dtype, device=self.probs.device)
            tiny = lazygrad.finfo(self.probs.dtype).tiny
            return (u.clamp(min=tiny).log() / (-self.probs).log1p()).floor()

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        value, probs = lazygrad.broadcast_tensors(value, self.probs)
        certain = (probs == 1) & (value == 0)
        probs = lazygrad.where(certain, 0.0, probs)
        return value * (-probs).log1p() + self.probs.log()

    def entropy(self) -> Tensor:
        return F.binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none") / self.probs


class Poisson(Distribution):
    """Events of a given `rate`: rate^k exp(-rate) / k!."""

    arg_constraints = {"rate": constraints.nonnegative}

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        (self.rate,) = as_tensors(rate)
        super().__init__(self.rate.shape, (), validate_args)

    support = constraints.nonnegative_integer

    @property
    def mean(self) -> Tensor:
        return self.rate

    @property
    def mode(self) -> Tensor:
        return self.rate.floor()

    @property
    def variance(self) -> Tensor:
        return self.rate

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with lazygrad.no_grad():
            return lazygrad.poisson(self.rate.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        rate, value = lazygrad.broadcast_tensors(self.rate, value)
        return lazygrad.xlogy(value, rate) - rate - lazygrad.lgamma(value + 1)


class Categorical(Distribution):
    """One of n classes, (*batch, n) probabilities or logits, neither of which need be normalized."""

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    has_enumerate_support = True

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        one_of(type(self).__name__, probs, logits)
        given = logits if probs is None else probs
        if given.ndim < 1:
            raise ArgumentError("[distributions] `probs` or `logits` must be at least one-dimensional.")
        if probs is not None:
            self.probs = probs / probs.sum(-1, keepdim=True)
        else:
            self.logits = logits - logits.logsumexp(-1, keepdim=True)
        self._param = given
        self._num_events = given.shape[-1]
        super().__init__(given.shape[:-1], self._event(), validate_args)

    def _event(self) -> tuple[int, ...]:
        return ()

    @lazy_property
    def probs(self) -> Tensor:
        """The chance of each class."""
        return logits_to_probs(self.logits)

    @lazy_property
    def logits(self) -> Tensor:
        """The logarithms of the chances."""
        return probs_to_logits(self.probs)

    @property
    def param_shape(self) -> Size:
        """The shape of the parameter."""
        return self._param.size()

    @constraints.dependent_property
    def support(self) -> Constraint:
        return constraints.integer_interval(0, self._num_events - 1)

    @property
    def mean(self) -> Tensor:
        return lazygrad.full_like(self.probs[..., 0], float("nan"))

    variance = mean

    @property
    def mode(self) -> Tensor:
        return self.probs.argmax(-1)

    def _classes(self, sample_shape: Any) -> Tensor:
        shape = Size(sample_shape)
        rows = self.probs.reshape(-1, self._num_events)
        drawn = lazygrad.multinomial(rows, max(shape.numel(), 1), True).t()[: shape.numel()]
        return drawn.reshape(shape + self._batch_shape)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with lazygrad.no_grad():
            return self._classes(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        index = value.long().unsqueeze(-1)
        shape = lazygrad.broadcast_shapes(index.shape[:-1], self.logits.shape[:-1])
        logits = self.logits.expand(*shape, self._num_events)
        return logits.gather(-1, index.expand(*shape, 1)).squeeze(-1)

    def entropy(self) -> Tensor:
        # of a class that cannot be, 0
        low = lazygrad.finfo(self.logits.dtype).min
        return -(self.logits.clamp(min=low) * self.probs).sum(-1)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        values = lazygrad.arange(self._num_events, device=self._param.device)
        values = values.view((-1,) + (1,) * len(self._batch_shape))
        return values.expand((-1, *self._batch_shape)) if expand else values

    def _expanded(self, shape: Size) -> dict[str, Any]:
        return {**super()._expanded(shape), "_param": self._param.expand(shape + self._param.shape[-1:])}


class OverClasses(Distribution):
    """A distribution of vectors with a number for each class of a categorical one."""

    def __init__(self, probs: Tensor | None, logits: Tensor | None, validate_args: bool | None) -> None:
        self._classes = Categorical(probs=probs, logits=logits, validate_args=validate_args)
        super().__init__(self._classes.batch_shape, self._classes.probs.shape[-1:], validate_args)

    @property
    def probs(self) -> Tensor:
        """The chance of each class."""
        return self._classes.probs

    @property
    def logits(self) -> Tensor:
        """The logarithms of the chances."""
        return self._classes.logits


class OneHotCategorical(Categorical):
    """As Categorical; values are vectors of n with a single 1."""

    def _event(self) -> tuple[int, ...]:
        return (self._num_events,)

    support = constraints.one_hot

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    @property
    def mode(self) -> Tensor:
        return F.one_hot(self.probs.argmax(-1), self._num_events).to(self.probs.dtype)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with lazygrad.no_grad():
            return F.one_hot(self._classes(sample_shape), self._num_events).to(self._param.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return (value * self.logits).sum(-1)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        values = lazygrad.eye(self._num_events, dtype=self._param.dtype, device=self._param.device)
        values = values.view(self._num_events, *(1 for _ in self._batch_shape), self._num_events)
        return values.expand(-1, *self._batch_shape, -1) if expand else values


class OneHotCategoricalStraightThrough(OneHotCategorical):
    """As OneHotCategorical; samples pass their gradient to the probabilities (Bengio et al., 2013)."""

    has_rsample = True

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        drawn = self.sample(sample_shape)
        return drawn + (self.probs - self.probs.detach())
