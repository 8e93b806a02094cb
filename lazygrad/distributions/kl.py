"""The Kullback-Leibler divergence of pairs of distributions: a row a pair, looked up by classes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import lazygrad
from lazygrad.distributions.continuous import (
    Cauchy,
    Exponential,
    Gumbel,
    Laplace,
    Normal,
    Uniform,
)
from lazygrad.distributions.counting import Binomial
from lazygrad.distributions.derived import Independent, TransformedDistribution
from lazygrad.distributions.discrete import Bernoulli, Categorical, Geometric, Poisson
from lazygrad.distributions.distribution import Distribution
from lazygrad.distributions.gamma_family import Beta, Dirichlet, Gamma
from lazygrad.distributions.multivariate import (
    LowRankMultivariateNormal,
    MultivariateNormal,
    solve_triangular,
)
from lazygrad.distributions.positive import HalfNormal, Pareto
from lazygrad.distributions.utils import EULER, sum_last
from lazygrad.errors import MissingError
from lazygrad.tensors import Tensor

Rule = Callable[[Any, Any], Tensor]
_KL_REGISTRY: dict[tuple[type, type], Rule] = {}


def register_kl(type_p: type, type_q: type) -> Callable[[Rule], Rule]:
    """Publish a function (p, q) -> divergence for two classes."""

    def register(rule: Rule) -> Rule:
        _KL_REGISTRY[type_p, type_q] = rule
        return rule

    return register


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """The expected value under p of log p - log q, in nats. Raises MissingError for pairs without a rule."""
    found = [(type(p).__mro__.index(a) + type(q).__mro__.index(b), rule)
             for (a, b), rule in _KL_REGISTRY.items() if isinstance(p, a) and isinstance(q, b)]
    if not found:
        raise MissingError(f"[kl_divergence] No KL(p || q) is implemented for p type {type(p).__name__} and "
                           f"q type {type(q).__name__}: register_kl adds one")
    return min(found, key=lambda pair: pair[0])[1](p, q)


@register_kl(Normal, Normal)
def _normal(p: Normal, q: Normal) -> Tensor:
    ratio = (p.scale / q.scale).pow(2)
    return 0.5 * (ratio + ((p.loc - q.loc) / q.scale).pow(2) - 1 - ratio.log())


@register_kl(Laplace, Laplace)
def _laplace(p: Laplace, q: Laplace) -> Tensor:
    ratio = p.scale / q.scale
    distance = (p.loc - q.loc).abs()
    return -ratio.log() + distance / q.scale + ratio * (-distance / p.scale).exp() - 1


@register_kl(Uniform, Uniform)
def _uniform(p: Uniform, q: Uniform) -> Tensor:
    result = ((q.high - q.low) / (p.high - p.low)).log()
    return lazygrad.where((q.low > p.low) | (q.high < p.high), math.inf, result)


@register_kl(Exponential, Exponential)
def _exponential(p: Exponential, q: Exponential) -> Tensor:
    ratio = q.rate / p.rate
    return -ratio.log() + ratio - 1


@register_kl(Poisson, Poisson)
def _poisson(p: Poisson, q: Poisson) -> Tensor:
    return p.rate * (p.rate.log() - q.rate.log()) - (p.rate - q.rate)


@register_kl(Geometric, Geometric)
def _geometric(p: Geometric, q: Geometric) -> Tensor:
    return -p.entropy() - (-q.probs).log1p() / p.probs - q.logits


@register_kl(Bernoulli, Bernoulli)
def _bernoulli(p: Bernoulli, q: Bernoulli) -> Tensor:
    softplus = lazygrad.nn.functional.softplus
    yes = p.probs * (softplus(-q.logits) - softplus(-p.logits))
    no = (1 - p.probs) * (softplus(q.logits) - softplus(p.logits))
    yes = lazygrad.where(q.probs == 0, math.inf, yes)
    yes = lazygrad.where(p.probs == 0, 0.0, yes)
    no = lazygrad.where(q.probs == 1, math.inf, no)
    return yes + lazygrad.where(p.probs == 1, 0.0, no)


@register_kl(Categorical, Categorical)
def categorical_divergence(p: Categorical, q: Categorical) -> Tensor:
    terms = p.probs * (p.logits - q.logits)
    terms = lazygrad.where(q.probs == 0, math.inf, terms)
    return lazygrad.where(p.probs == 0, 0.0, terms).sum(-1)


@register_kl(Independent, Independent)
def _independent(p: Independent, q: Independent) -> Tensor:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise MissingError("[kl_divergence] the two Independent distributions have different event "
                           "dimensions")
    each = kl_divergence(p.base_dist, q.base_dist)
    return sum_last(each, p.reinterpreted_batch_ndims)


def log_beta(*parts: Tensor) -> Tensor:
    return sum(p.lgamma() for p in parts) - sum(parts).lgamma()  # type: ignore[union-attr]


@register_kl(Gamma, Gamma)
def _gamma(p: Gamma, q: Gamma) -> Tensor:
    a, b = p.concentration, q.concentration
    by_rate = b * (p.rate / q.rate).log()
    return by_rate + b.lgamma() - a.lgamma() + (a - b) * a.digamma() + (q.rate - p.rate) * (a / p.rate)


@register_kl(Beta, Beta)
def _beta(p: Beta, q: Beta) -> Tensor:
    a1, a0, b1, b0 = p.concentration1, p.concentration0, q.concentration1, q.concentration0
    norm = log_beta(b1, b0) - log_beta(a1, a0)
    total = (b1 + b0 - a1 - a0) * (a1 + a0).digamma()
    return norm + (a1 - b1) * a1.digamma() + (a0 - b0) * a0.digamma() + total


@register_kl(Dirichlet, Dirichlet)
def _dirichlet(p: Dirichlet, q: Dirichlet) -> Tensor:
    a, b = p.concentration, q.concentration
    norm = a.sum(-1).lgamma() - b.sum(-1).lgamma() - (a.lgamma() - b.lgamma()).sum(-1)
    return norm + ((a - b) * (a.digamma() - a.sum(-1, True).digamma())).sum(-1)


@register_kl(HalfNormal, HalfNormal)
def _half_normal(p: HalfNormal, q: HalfNormal) -> Tensor:
    ratio = (p.scale / q.scale).pow(2)
    return 0.5 * (ratio - 1 - ratio.log())


@register_kl(Cauchy, Cauchy)
def _cauchy(p: Cauchy, q: Cauchy) -> Tensor:
    square = (p.scale + q.scale).pow(2) + (p.loc - q.loc).pow(2)
    return square.log() - (4 * p.scale * q.scale).log()


@register_kl(Gumbel, Gumbel)
def _gumbel(p: Gumbel, q: Gumbel) -> Tensor:
    ratio, apart = p.scale / q.scale, (q.loc - p.loc) / q.scale
    return -ratio.log() - apart + ratio * EULER + (apart + (1 + ratio).lgamma()).exp() - (1 + EULER)


@register_kl(Pareto, Pareto)
def _pareto(p: Pareto, q: Pareto) -> Tensor:
    ratio = q.alpha / p.alpha
    result = q.alpha * (p.scale / q.scale).log() - ratio.log() + ratio - 1
    return lazygrad.where(p.scale < q.scale, math.inf, result)


@register_kl(Binomial, Binomial)
def _binomial(p: Binomial, q: Binomial) -> Tensor:
    each = p.total_count * (p.probs * (p.logits - q.logits) + (-p.probs).log1p() - (-q.probs).log1p())
    return lazygrad.where(p.total_count > q.total_count, math.inf, each)


@register_kl(MultivariateNormal, MultivariateNormal)
@register_kl(MultivariateNormal, LowRankMultivariateNormal)
@register_kl(LowRankMultivariateNormal, MultivariateNormal)
@register_kl(LowRankMultivariateNormal, LowRankMultivariateNormal)
def _multivariate_normal(p: Any, q: Any) -> Tensor:
    low, high, n = p.scale_tril, q.scale_tril, p.event_shape[0]
    batch = lazygrad.broadcast_shapes(low.shape[:-2], high.shape[:-2])
    low, high = low.expand(*batch, n, n), high.expand(*batch, n, n)
    logs = [m.diagonal(dim1=-2, dim2=-1).log().sum(-1) for m in (low, high)]
    spread = solve_triangular(high, low, upper=False).pow(2).sum((-2, -1))
    apart = (q.loc - p.loc).expand(*batch, n).unsqueeze(-1)
    moved = solve_triangular(high, apart, upper=False).pow(2).sum((-2, -1))
    return logs[1] - logs[0] + 0.5 * (spread + moved - n)


@register_kl(TransformedDistribution, TransformedDistribution)
def _transformed(p: TransformedDistribution, q: TransformedDistribution) -> Tensor:
    if p.transforms != q.transforms or p.event_shape != q.event_shape:
        raise MissingError("[kl_divergence] the two transformed distributions have different transforms")
    return kl_divergence(p.base_dist, q.base_dist)
