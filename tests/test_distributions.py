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
STICKS = RNG.dirichlet(np.ones(5), 3)
CORRELATED = np.linalg.cholesky(np.array([[1.0, 0.2, -0.4], [0.2, 1, 0.3], [-0.4, 0.3, 1]]))
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
    "Gamma": (lambda T, a, b, p: T.distributions.Gamma(b, b + 1), B),
    "Chi2": (lambda T, a, b, p: T.distributions.Chi2(b * 4), B),
    "InverseGamma": (lambda T, a, b, p: T.distributions.InverseGamma(b + 2, b), B),
    "Beta": (lambda T, a, b, p: T.distributions.Beta(b, b + p), P),
    "Dirichlet": (lambda T, a, b, p: T.distributions.Dirichlet(b + 0.5), P / P.sum(-1, keepdims=True)),
    "StudentT": (lambda T, a, b, p: T.distributions.StudentT(b + 3, a, b), A),
    "FisherSnedecor": (lambda T, a, b, p: T.distributions.FisherSnedecor(b + 2.5, b + 9), B),
    "HalfNormal": (lambda T, a, b, p: T.distributions.HalfNormal(b), B),
    "HalfCauchy": (lambda T, a, b, p: T.distributions.HalfCauchy(b), B),
    "Pareto": (lambda T, a, b, p: T.distributions.Pareto(b, p + 3), B + 2),
    "Weibull": (lambda T, a, b, p: T.distributions.Weibull(b, p + 1.2), B),
    "Kumaraswamy": (lambda T, a, b, p: T.distributions.Kumaraswamy(b + 1, p + 1), P),
    "Binomial": (lambda T, a, b, p: T.distributions.Binomial(7, p), np.floor(B * 3)),
    "NegativeBinomial": (lambda T, a, b, p: T.distributions.NegativeBinomial(3, p), np.floor(B * 3)),
    "Multinomial": (lambda T, a, b, p: T.distributions.Multinomial(6, p), np.array([[1.0, 2, 3, 0]] * 3)),
    "RelaxedBernoulli": (lambda T, a, b, p: T.distributions.RelaxedBernoulli(
        T.tensor(0.7, dtype=T.float64), p), P),
    "RelaxedOneHotCategorical": (lambda T, a, b, p: T.distributions.RelaxedOneHotCategorical(
        T.tensor(0.7, dtype=T.float64), p), P / P.sum(-1, keepdims=True)),
    "VonMises": (lambda T, a, b, p: T.distributions.VonMises(a, b), A / 3),
    "MixtureSameFamily": (lambda T, a, b, p: T.distributions.MixtureSameFamily(
        T.distributions.Categorical(p), T.distributions.Normal(a, b)), A[:, 0]),
    "mixture of vectors": (lambda T, a, b, p: T.distributions.MixtureSameFamily(
        T.distributions.Categorical(p[:, 0]), T.distributions.Independent(T.distributions.Normal(a, b), 1)),
        A[0]),
    "MultivariateNormal": (lambda T, a, b, p: T.distributions.MultivariateNormal(
        a, T.diag_embed(b) + p.unsqueeze(-1) * p.unsqueeze(-2)), A + 0.5),
    "MultivariateNormal of precision": (lambda T, a, b, p: T.distributions.MultivariateNormal(
        a, precision_matrix=T.diag_embed(b) + p.unsqueeze(-1) * p.unsqueeze(-2)), A + 0.5),
    "MultivariateNormal of a factor": (lambda T, a, b, p: T.distributions.MultivariateNormal(
        a, scale_tril=(T.diag_embed(b) + p.unsqueeze(-1) * p.unsqueeze(-2)).tril()), A[0]),
    "ContinuousBernoulli": (lambda T, a, b, p: T.distributions.ContinuousBernoulli(p), P),
    "ContinuousBernoulli near a half": (
        lambda T, a, b, p: T.distributions.ContinuousBernoulli(logits=a * 1e-3), P),
    "GeneralizedPareto": (lambda T, a, b, p: T.distributions.GeneralizedPareto(
        a.float(), b.float(), p.float() - 0.5), A + B / 4),
    "GeneralizedPareto, exponential": (
        lambda T, a, b, p: T.distributions.GeneralizedPareto(
            a.float(), b.float(), p.float() * 0), A + B / 4),
    "LogisticNormal": (lambda T, a, b, p: T.distributions.LogisticNormal(a, b), STICKS),
    "Wishart": (lambda T, a, b, p: T.distributions.Wishart(
        b[:, 0] + 6, T.diag_embed(b) + p.unsqueeze(-1) * p.unsqueeze(-2)), np.diag([1.0, 2, 3, 4]) + 0.3),
    "Wishart of a precision": (lambda T, a, b, p: T.distributions.Wishart(
        b[:, 1] + 4, precision_matrix=T.diag_embed(b) + p.unsqueeze(-1) * p.unsqueeze(-2)), np.eye(4) + 0.3),
    "LKJCholesky": (lambda T, a, b, p: T.distributions.LKJCholesky(3, b), CORRELATED),
    "LowRankMultivariateNormal": (lambda T, a, b, p: T.distributions.LowRankMultivariateNormal(
        a, T.stack([p, b], -1), b), A + 0.5),
}


# what PyTorch computes partly in float32, or by rough approximations
ROUGH = {"Multinomial": 1e-6, "VonMises": 1e-6, "GeneralizedPareto": 1e-4,
         "GeneralizedPareto, exponential": 1e-4}


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
        if ours is not None and (name, i) != ("Kumaraswamy", 5):  # PyTorch's mode is NaN
            check(ours, theirs, ROUGH.get(name, 1e-8), 1e-10)


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
    if name == "VonMises":
        turned = (drawn - d.loc).cos().mean(0) - (1 - d.variance)
        assert turned.abs().max().item() < 6 / 4000**0.5
        return
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


def test_gamma_numbers_move_with_their_shape(device: str) -> None:
    lazygrad.manual_seed(0)
    shape = lazygrad.tensor([0.3, 1.0, 4.0, 90.0], dtype=lazygrad.float64, device=device, requires_grad=True)
    drawn = lazygrad.distributions.Gamma(shape, 2.0).rsample((20000,))
    mean, square = drawn.mean(0), (drawn**2).mean(0)
    (by_mean,) = lazygrad.autograd.grad(mean.sum(), shape, retain_graph=True)
    (by_square,) = lazygrad.autograd.grad(square.sum(), shape)
    # the mean is shape / rate, the mean square shape (shape + 1) / rate^2
    np.testing.assert_allclose(by_mean.numpy(), [0.5] * 4, rtol=0.05)
    np.testing.assert_allclose(by_square.numpy(), (2 * shape.detach().numpy() + 1) / 4, rtol=0.08)
    for dtype in (lazygrad.float32, lazygrad.float64):
        tiny = lazygrad._standard_gamma(lazygrad.full((500,), 1e-3, dtype=dtype, device=device))
        assert tiny.min().item() > 0 and bool(tiny.isfinite().all())


KL = ["Normal", "Laplace", "Exponential", "Bernoulli", "Geometric", "Poisson", "Categorical", "Independent",
      "Gamma", "Beta", "Dirichlet", "HalfNormal", "Cauchy", "Gumbel", "Pareto", "Binomial",
      "MultivariateNormal", "LowRankMultivariateNormal", "Chi2", "LogNormal"]


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
    for name in ("Normal", "Bernoulli", "Categorical", "Independent", "LogNormal", "Gamma", "Chi2", "Beta",
                 "Dirichlet", "StudentT", "Weibull", "Binomial", "Multinomial", "MixtureSameFamily",
                 "MultivariateNormal", "LowRankMultivariateNormal"):
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
