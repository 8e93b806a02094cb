"""lazygrad.distributions against PyTorch's: probabilities, moments, gradients; samples by statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch_support import check, pytorch

import lazygrad
from lazygrad.errors import ArgumentError, LazygradError

RNG = np.random.default_rng(2)
A, B, P = RNG.standard_normal((3, 4)), RNG.uniform(0.3, 2, (3, 4)), RNG.uniform(0.1, 0.9, (3, 4))
# name -> (make of (module, location, positive, probability), a value)
CASES: dict[str, tuple[Any, Any]] = {
    "Normal": (lambda T, a, b, p: T.distributions.Normal(a, b), A),
    "Normal of numbers": (lambda T, a, b, p: T.distributions.Normal(0.0, 2), A),
    "Laplace": (lambda T, a, b, p: T.distributions.Laplace(a, b), B),
    "Gumbel": (lambda T, a, b, p: T.distributions.Gumbel(a, b), A),
    "Cauchy": (lambda T, a, b, p: T.distributions.Cauchy(a, b), A),
    "Uniform": (lambda T, a, b, p: T.distributions.Uniform(a, a + b), A + B / 3),
    "Exponential": (lambda T, a, b, p: T.distributions.Exponential(b), B),
    "LogNormal": (lambda T, a, b, p: T.distributions.LogNormal(a, b), B),
    "Bernoulli": (lambda T, a, b, p: T.distributions.Bernoulli(p), (P > 0.5) * 1.0),
    "Bernoulli of logits": (lambda T, a, b, p: T.distributions.Bernoulli(logits=a), (P > 0.5) * 1.0),
    "Geometric": (lambda T, a, b, p: T.distributions.Geometric(p), np.floor(B * 3)),
    "Poisson": (lambda T, a, b, p: T.distributions.Poisson(b * 3), np.floor(B * 3)),
    "Categorical": (lambda T, a, b, p: T.distributions.Categorical(p), np.array([0, 3, 1])),
    "Categorical of logits": (lambda T, a, b, p: T.distributions.Categorical(logits=a),
                              np.array([[0, 3, 1]] * 2)),
    "OneHotCategorical": (lambda T, a, b, p: T.distributions.OneHotCategorical(p), np.eye(4)[[0, 3, 1]]),
    "Independent": (lambda T, a, b, p: T.distributions.Independent(T.distributions.Normal(a, b), 1), A + 1),
    "tanh of a normal": (lambda T, a, b, p: T.distributions.TransformedDistribution(
        T.distributions.Independent(T.distributions.Normal(a, b), 1),
        [T.distributions.transforms.TanhTransform()]), P - 0.5),
    "logistic": (lambda T, a, b, p: T.distributions.TransformedDistribution(
        T.distributions.Uniform(p * 0, p * 0 + 1), [T.distributions.transforms.SigmoidTransform().inv,
                                                  T.distributions.transforms.AffineTransform(a, b)]), A),
    "power": (lambda T, a, b, p: T.distributions.TransformedDistribution(
        T.distributions.Exponential(b), T.distributions.transforms.PowerTransform(T.ones_like(b) * 2)), B),
}


def made(T: Any, name: str) -> tuple[Any, list[Any]]:
    given = [T.tensor(v, requires_grad=True) for v in (A, B, P)]
    return CASES[name][0](T, *given), given


def answers(T: Any, name: str) -> list[Any]:
    d, given = made(T, name)
    value = T.tensor(CASES[name][1])
    results = [d.log_prob(value)]
    for ask in (lambda: d.entropy(), lambda: d.mean, lambda: d.variance, lambda: d.stddev, lambda: d.mode,
                lambda: d.cdf(value), lambda: d.icdf(T.tensor(P)), lambda: d.enumerate_support()):
        try:
            results.append(ask())
        except RuntimeError:  # of which PyTorch's type for what is missing is one
            results.append(None)
    if results[0].requires_grad:
        d.log_prob(value).sum().backward()
    shapes = [T.tensor(tuple(s)) for s in (d.batch_shape, d.event_shape)]
    return [*results, *(x.grad for x in given), *shapes, T.tensor([d.has_rsample])]


@pytest.mark.parametrize("name", CASES)
def test_as_pytorch(name: str) -> None:
    for i, (ours, theirs) in enumerate(zip(answers(lazygrad, name), answers(pytorch(), name), strict=True)):
        assert (ours is None) == (theirs is None), i
        if ours is not None:
            check(ours, theirs, 1e-8, 1e-10)


@pytest.mark.parametrize("name", CASES)
def test_samples(name: str, device: str) -> None:
    if device != "CPU" and name not in ("Normal", "Categorical", "Bernoulli"):
        return
    lazygrad.manual_seed(0)
    given = [lazygrad.tensor(v, device=device) for v in (A, B, P)]
    d = CASES[name][0](lazygrad, *given)
    drawn = d.sample((4000,))
    assert drawn.shape == (4000, *d.batch_shape, *d.event_shape) and not drawn.requires_grad
    assert bool(d.support.check(drawn).all())
    try:
        mean, deviation = d.mean, d.stddev
    except LazygradError:
        return
    if bool(mean.isfinite().all()) and bool(deviation.isfinite().all()):
        error = (drawn.mean(0) - mean).abs() / (deviation + 1e-9)
        assert error.max().item() < 6 / 4000**0.5


def test_reparameterized_samples_are_differentiable() -> None:
    for name in CASES:
        d, given = made(lazygrad, name)
        if d.has_rsample and "numbers" not in name:
            d.rsample((5,)).sum().backward()
            assert any(x.grad is not None for x in given)
    p = lazygrad.tensor(P, requires_grad=True)
    d = lazygrad.distributions.OneHotCategoricalStraightThrough(probs=p)
    (d.rsample() * lazygrad.tensor(A)).sum().backward()
    assert p.grad.abs().sum().item() > 0


KL = ["Normal", "Laplace", "Exponential", "Bernoulli", "Geometric", "Poisson", "Categorical", "Independent"]


@pytest.mark.parametrize("name", KL)
def test_divergence(name: str) -> None:
    torch = pytorch()
    found = []
    for T in (lazygrad, torch):
        p = CASES[name][0](T, *(T.tensor(v) for v in (A, B, P)))
        q = CASES[name][0](T, *(T.tensor(v) for v in (A * 0.5, B + 0.2, P * 0.9)))
        found.append(T.distributions.kl_divergence(p, q))
    check(*found, 1e-9, 1e-11)


def test_expand() -> None:
    torch = pytorch()
    for name in ("Normal", "Bernoulli", "Categorical", "Independent", "LogNormal"):
        found = []
        for T in (lazygrad, torch):
            d, _ = made(T, name)
            e = d.expand((2, *d.batch_shape))
            assert tuple(e.batch_shape) == (2, *d.batch_shape)
            found.append(e.log_prob(T.tensor(CASES[name][1])))
        check(*found, 1e-9, 1e-11)


@pytest.mark.parametrize("call", [
    lambda D, T: D.Normal(T.tensor(0.0), T.tensor(-1.0)),
    lambda D, T: D.Normal(T.zeros(2), T.ones(2)).log_prob(T.zeros(3)),
    lambda D, T: D.Bernoulli(T.tensor(1.5)),
    lambda D, T: D.Bernoulli(),
    lambda D, T: D.Categorical(T.tensor(0.5)),
    lambda D, T: D.Categorical(T.ones(3)).log_prob(T.tensor(3)),
    lambda D, T: D.Uniform(T.tensor(1.0), T.tensor(0.0)),
    lambda D, T: D.Exponential(T.tensor(1.0)).log_prob(T.tensor(-1.0)),
    lambda D, T: D.Independent(D.Normal(T.zeros(2), T.ones(2)), 2),
    lambda D, T: D.kl_divergence(D.Normal(T.zeros(2), T.ones(2)), D.Bernoulli(T.zeros(2))),
])
def test_mistakes(call: Any) -> None:
    torch = pytorch()
    with pytest.raises((ValueError, RuntimeError)):
        call(torch.distributions, torch)
    with pytest.raises((ArgumentError, LazygradError)):
        call(lazygrad.distributions, lazygrad)


def test_unchecked() -> None:
    d = lazygrad.distributions.Normal(lazygrad.tensor(0.0), lazygrad.tensor(-1.0), validate_args=False)
    assert d.mean.item() == 0
