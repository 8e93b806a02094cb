"""Distributions made of others: dimensions of a batch as one value, and values sent through transforms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lazygrad.distributions import constraints
from lazygrad.distributions.constraints import Constraint
from lazygrad.distributions.continuous import Normal
from lazygrad.distributions.distribution import Distribution
from lazygrad.distributions.transforms import (
    ComposeTransform,
    ExpTransform,
    StickBreakingTransform,
    Transform,
)
from lazygrad.distributions.utils import sum_last
from lazygrad.errors import ArgumentError
from lazygrad.tensors import Size, Tensor
from lazygrad.tensors.modes import no_grad


class Independent(Distribution):
    """The last dimensions of a distribution's batch as dimensions of one value."""

    def __init__(self, base_distribution: Distribution, reinterpreted_batch_ndims: int,
                 validate_args: bool | None = None) -> None:
        count, batch = reinterpreted_batch_ndims, base_distribution.batch_shape
        if count > len(batch):
            raise ArgumentError("[distributions] Expected reinterpreted_batch_ndims <= "
                                f"len(base_distribution.batch_shape), actual {count} vs {len(batch)}")
        self.base_dist, self.reinterpreted_batch_ndims = base_distribution, count
        keep = len(batch) - count
        super().__init__(batch[:keep], batch[keep:] + base_distribution.event_shape, validate_args)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        """Whether samples can carry gradients."""
        return self.base_dist.has_rsample

    @constraints.dependent_property
    def support(self) -> Constraint:
        return constraints.widened(self.base_dist.support, self.reinterpreted_batch_ndims)

    @property
    def mean(self) -> Tensor:
        return self.base_dist.mean

    @property
    def mode(self) -> Tensor:
        return self.base_dist.mode

    @property
    def variance(self) -> Tensor:
        return self.base_dist.variance

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return self.base_dist.sample(sample_shape)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.base_dist.rsample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        return sum_last(self.base_dist.log_prob(value), self.reinterpreted_batch_ndims)

    def entropy(self) -> Tensor:
        return sum_last(self.base_dist.entropy(), self.reinterpreted_batch_ndims)

    def _expanded(self, shape: Size) -> dict[str, Any]:
        whole = shape + self.event_shape[: self.reinterpreted_batch_ndims]
        return vars(Independent(self.base_dist.expand(whole), self.reinterpreted_batch_ndims, False))

    def __repr__(self) -> str:
        return f"Independent({self.base_dist}, {self.reinterpreted_batch_ndims})"


class TransformedDistribution(Distribution):
    """f(x) for x of a base distribution, f one transform after the other."""

    def __init__(self, base_distribution: Distribution, transforms: Transform | Sequence[Transform],
                 validate_args: bool | None = None) -> None:
        self.transforms = [transforms] if isinstance(transforms, Transform) else list(transforms)
        whole = ComposeTransform(self.transforms)
        events = len(base_distribution.event_shape)
        shape = whole.forward_shape(base_distribution.batch_shape + base_distribution.event_shape)
        needed = whole.inverse_shape(shape)
        if needed != base_distribution.batch_shape + base_distribution.event_shape:
            base_distribution = base_distribution.expand(needed[: len(needed) - events])
        extra = whole.domain.event_dim - events
        self.base_dist = Independent(base_distribution, extra) if extra > 0 else base_distribution
        after = whole.codomain.event_dim
        cut = len(shape) - max(after, events + after - whole.domain.event_dim)
        super().__init__(shape[:cut], shape[cut:], validate_args)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        """Whether samples can carry gradients."""
        return self.base_dist.has_rsample

    @constraints.dependent_property
    def support(self) -> Constraint:
        if not self.transforms:
            return self.base_dist.support
        last = self.transforms[-1].codomain
        return constraints.widened(last, len(self.event_shape) - last.event_dim)

    def _sent(self, x: Tensor) -> Tensor:
        for transform in self.transforms:
            x = transform(x)
        return x

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with no_grad():
            return self._sent(self.base_dist.sample(sample_shape))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self._sent(self.base_dist.rsample(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        events = len(self.event_shape)
        total: Any = 0.0
        y = value
        for transform in reversed(self.transforms):
            x = transform._inv_call(y)
            events += transform.domain.event_dim - transform.codomain.event_dim
            total = total - sum_last(transform.log_abs_det_jacobian(x, y), events - transform.event_dim)
            y = x
        return total + sum_last(self.base_dist.log_prob(y), events - len(self.base_dist.event_shape))

    def _sign(self) -> Any:
        sign: Any = 1
        for transform in self.transforms:
            sign = sign * transform.sign
        return sign

    def cdf(self, value: Tensor) -> Tensor:
        y = value
        for transform in reversed(self.transforms):
            y = transform._inv_call(y)
        sign = self._sign()
        return sign * (self.base_dist.cdf(y) - 0.5) + 0.5

    def icdf(self, value: Tensor) -> Tensor:
        sign = self._sign()
        return self._sent(self.base_dist.icdf(sign * (value - 0.5) + 0.5))

    def _expanded(self, shape: Size) -> dict[str, Any]:
        whole = shape + self.event_shape
        for transform in reversed(self.transforms):
            whole = transform.inverse_shape(whole)
        base = self.base_dist.expand(whole[: len(whole) - len(self.base_dist.event_shape)])
        return vars(TransformedDistribution(base, self.transforms, False))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_dist}, {self.transforms})"


class LogNormal(TransformedDistribution):
    """exp(x), x normal with mean `loc` and standard deviation `scale`."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    base_dist: Normal

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        super().__init__(Normal(loc, scale, validate_args), ExpTransform(), validate_args)

    support = constraints.positive

    @property
    def loc(self) -> Tensor:
        """The mean of the logarithm."""
        return self.base_dist.loc

    @property
    def scale(self) -> Tensor:
        """The standard deviation of the logarithm."""
        return self.base_dist.scale

    @property
    def mean(self) -> Tensor:
        return (self.loc + self.scale.pow(2) / 2).exp()

    @property
    def mode(self) -> Tensor:
        return (self.loc - self.scale.square()).exp()

    @property
    def variance(self) -> Tensor:
        square = self.scale.pow(2)
        return square.expm1() * (2 * self.loc + square).exp()

    def entropy(self) -> Tensor:
        return self.base_dist.entropy() + self.loc


class LogisticNormal(TransformedDistribution):
    """Points of the simplex (n + 1 numbers) made by breaking sticks from n normal numbers of mean `loc` and
    standard deviation `scale`, (..., n)."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    base_dist: Independent

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        base = Normal(loc, scale, validate_args)
        super().__init__(base if base.batch_shape else base.expand((1,)), StickBreakingTransform(),
                         validate_args)

    @property
    def loc(self) -> Tensor:
        """The means of the normal numbers."""
        return self.base_dist.base_dist.loc  # type: ignore[attr-defined]

    @property
    def scale(self) -> Tensor:
        """Their standard deviations."""
        return self.base_dist.base_dist.scale  # type: ignore[attr-defined]
