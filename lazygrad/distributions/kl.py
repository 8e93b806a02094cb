"""The Kullback-Leibler divergence of pairs of distributions: a row a pair, looked up by classes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import lazygrad
from lazygrad.distributions.continuous import Exponential, Laplace, Normal, Uniform
from lazygrad.distributions.derived import Independent
from lazygrad.distributions.discrete import Bernoulli, Categorical, Geometric, Poisson
from lazygrad.distributions.distribution import Distribution, sum_last
from lazygrad.errors import MissingError
from lazygrad.tensors import Tensor

Rule = Callable[[Any, Any], Tensor]
_RULES: dict[tuple[type, type], Rule] = {}


def register_kl(type_p: type, type_q: type) -> Callable[[Rule], Rule]:
    """Publish a function (p, q) -> divergence for two classes."""

    def register(rule: Rule) -> Rule:
        _RULES[type_p, type_q] = rule
        return rule

    return register


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """The expected value under p of log p - log q, in nats. Raises MissingError for pairs without a rule."""
    found = [(type(p).__mro__.index(a) + type(q).__mro__.index(b), rule) for (a, b), rule in _RULES.items()
             if isinstance(p, a) and isinstance(q, b)]
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
def _categorical(p: Categorical, q: Categorical) -> Tensor:
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
