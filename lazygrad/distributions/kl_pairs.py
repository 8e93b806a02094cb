"""Divergences between distributions of different kinds: -H(p) less the mean of log q under p, which follows
from a few moments of p; infinite where p reaches outside of q's support."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import lazygrad
from lazygrad.distributions.continuous import Exponential, Gumbel, Laplace, Normal, Uniform
from lazygrad.distributions.continuous_bernoulli import ContinuousBernoulli
from lazygrad.distributions.counting import Binomial
from lazygrad.distributions.discrete import Bernoulli, OneHotCategorical, Poisson
from lazygrad.distributions.distribution import Distribution
from lazygrad.distributions.exp_family import ExponentialFamily
from lazygrad.distributions.gamma_family import Beta, Gamma
from lazygrad.distributions.kl import categorical_divergence, log_beta, register_kl
from lazygrad.distributions.positive import Pareto
from lazygrad.distributions.utils import EULER
from lazygrad.errors import MissingError
from lazygrad.tensors import Tensor


def _mean_log_between(low: Tensor, high: Tensor) -> Tensor:
    """The mean of log x for x spread evenly."""
    return (lazygrad.xlogy(high, high) - lazygrad.xlogy(low, low)) / (high - low) - 1


# of p: the mean of log x, of log(1 - x), and of exp(t x)
_MEAN_LOG: dict[type, Callable[[Any], Tensor]] = {
    Beta: lambda p: p.concentration1.digamma() - (p.concentration1 + p.concentration0).digamma(),
    Exponential: lambda p: -p.rate.log() - EULER,
    Gamma: lambda p: p.concentration.digamma() - p.rate.log(),
    Pareto: lambda p: p.scale.log() + p.alpha.reciprocal(),
    Uniform: lambda p: _mean_log_between(p.low, p.high),
}
_MEAN_LOG_REST: dict[type, Callable[[Any], Tensor]] = {
    Uniform: lambda p: _mean_log_between(1 - p.high, 1 - p.low),
}
_MEAN_EXP: dict[type, Callable[[Any, Tensor], Tensor]] = {
    Exponential: lambda p, t: p.rate / (p.rate - t),
    Gamma: lambda p, t: (p.rate / (p.rate - t)).pow(p.concentration),
    Normal: lambda p, t: (p.loc * t + (p.scale * t).square() / 2).exp(),
    Uniform: lambda p, t: ((p.high * t).exp() - (p.low * t).exp()) / (t * (p.high - p.low)),
}
# the least and the greatest value, where there is one
_BOUNDS: dict[type, Callable[[Any], tuple[Any, Any]]] = {
    Beta: lambda d: (0.0, 1.0),
    ContinuousBernoulli: lambda d: (0.0, 1.0),
    Exponential: lambda d: (0.0, math.inf),
    Gamma: lambda d: (0.0, math.inf),
    Pareto: lambda d: (d.scale, math.inf),
    Uniform: lambda d: (d.low, d.high),
}


def _of(table: dict[type, Any], d: Any) -> Any:
    """What a table has for a distribution's class, or for the class that it is made from."""
    return next((table[kind] for kind in type(d).__mro__ if kind in table), None)


def _log_beta_under(p: Any, q: Beta) -> Tensor:
    a, b = q.concentration1, q.concentration0
    return (a - 1) * _of(_MEAN_LOG, p)(p) + (b - 1) * _of(_MEAN_LOG_REST, p)(p) - log_beta(a, b)


def _log_gamma_under(p: Any, q: Gamma) -> Tensor:
    a, rate = q.concentration, q.rate
    return lazygrad.xlogy(a, rate) - a.lgamma() + (a - 1) * _of(_MEAN_LOG, p)(p) - rate * p.mean


def _log_gumbel_under(p: Any, q: Gumbel) -> Tensor:
    large = (q.loc / q.scale).exp() * _of(_MEAN_EXP, p)(p, -q.scale.reciprocal())
    return -q.scale.log() - (p.mean - q.loc) / q.scale - large


def _log_laplace_under(p: Normal, q: Laplace) -> Tensor:
    apart = (p.loc - q.loc) / p.scale
    distance = math.sqrt(2 / math.pi) * (-apart.square() / 2).exp() + apart * (apart / math.sqrt(2)).erf()
    return -(2 * q.scale).log() - p.scale * distance / q.scale


def _log_normal_under(p: Any, q: Normal) -> Tensor:
    square = (p.variance + (p.mean - q.loc).square()) / q.scale.square()
    return -0.5 * (math.log(2 * math.pi) + square) - q.scale.log()


# the mean of log q under p
_CROSS: dict[type, Callable[[Any, Any], Tensor]] = {
    Beta: _log_beta_under,
    ContinuousBernoulli: lambda p, q: p.mean * q.logits + (-q.probs).log1p() + q._log_norm(),
    Exponential: lambda p, q: q.rate.log() - q.rate * p.mean,
    Gamma: _log_gamma_under,
    Gumbel: _log_gumbel_under,
    Laplace: _log_laplace_under,
    Normal: _log_normal_under,
    Pareto: lambda p, q: q.alpha.log() + q.alpha * q.scale.log() - (q.alpha + 1) * _of(_MEAN_LOG, p)(p),
    Uniform: lambda p, q: -(q.high - q.low).log(),
    Poisson: lambda p, q: p.mean * q.rate.log() - q.rate,  # of p that are 0 or 1, whose factorials are 1
}
_FINITE: dict[type, tuple[type, ...]] = {
    Bernoulli: (Poisson,),
    Beta: (ContinuousBernoulli, Exponential, Gamma, Normal, Uniform),
    ContinuousBernoulli: (ContinuousBernoulli, Exponential, Normal, Uniform),
    Exponential: (Gamma, Gumbel, Normal),
    Gamma: (Exponential, Gumbel, Normal),
    Gumbel: (Normal,),
    Laplace: (Normal,),
    Normal: (Gumbel, Laplace),
    Pareto: (Exponential, Gamma, Normal),
    Uniform: (Beta, ContinuousBernoulli, Exponential, Gamma, Gumbel, Normal, Pareto),
}
_NEVER_NEGATIVE = (Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform)
_INFINITE: dict[type, tuple[type, ...]] = {
    Beta: (Pareto,),
    ContinuousBernoulli: (Pareto,),
    Exponential: (Beta, ContinuousBernoulli, Pareto, Uniform),
    Gamma: (Beta, ContinuousBernoulli, Pareto, Uniform),
    Gumbel: _NEVER_NEGATIVE,
    Laplace: _NEVER_NEGATIVE,
    Normal: _NEVER_NEGATIVE,
    Pareto: (Beta, ContinuousBernoulli, Uniform),
    Poisson: (Bernoulli, Binomial),
}


def _divergence(p: Any, q: Any) -> Tensor:
    result: Tensor = -p.entropy() - _of(_CROSS, q)(p, q)
    mine, theirs = _of(_BOUNDS, p), _of(_BOUNDS, q)
    if mine is None or theirs is None:
        return result
    (low, high), (least, greatest) = mine(p), theirs(q)
    outside = lazygrad.as_tensor(low < least) | lazygrad.as_tensor(high > greatest)
    return lazygrad.where(outside, math.inf, result)


def _infinite(p: Distribution, q: Distribution) -> Tensor:
    return lazygrad.full_like(p.mean.detach(), math.inf)


for _table, _rule in ((_FINITE, _divergence), (_INFINITE, _infinite)):
    for _p, _others in _table.items():
        for _q in _others:
            register_kl(_p, _q)(_rule)
register_kl(OneHotCategorical, OneHotCategorical)(categorical_divergence)


@register_kl(ExponentialFamily, ExponentialFamily)
def _of_one_family(p: ExponentialFamily, q: ExponentialFamily) -> Tensor:
    """The Bregman divergence of the normalizer, between natural parameters of one family."""
    if type(p) is not type(q):
        raise MissingError("[kl_divergence] The cross KL-divergence between different exponential families "
                           f"cannot be computed: {type(p).__name__} and {type(q).__name__}; register_kl adds "
                           "a rule")
    at_p = [x.detach().requires_grad_() for x in p._natural_params]
    at_q = q._natural_params
    size = p._log_normalizer(*at_p)
    slopes = lazygrad.autograd.grad(size.sum(), at_p, create_graph=True)
    result = q._log_normalizer(*at_q) - size
    events = len(q.event_shape)
    for mine, theirs, slope in zip(at_p, at_q, slopes, strict=True):
        part = (theirs - mine) * slope
        result = result - (part.flatten(part.ndim - events).sum(-1) if events else part)
    return result
