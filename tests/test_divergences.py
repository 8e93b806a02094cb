"""The Kullback-Leibler divergence of every pair of distributions for which PyTorch has a rule."""

import math

import pytest
from torch_support import check, outcome, pytorch

import lazygrad

# arguments of two distributions of each kind, row by row
KINDS = {
    "Bernoulli": [[0.2, 0.7]],
    "Beta": [[0.7, 2.0, 3.0], [1.5, 0.8, 2.0]],
    "Binomial": [[4.0, 4.0], [0.3, 0.8]],
    "Cauchy": [[0.5, -1.0], [1.0, 2.0]],
    "Categorical": [[[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]]],
    "ContinuousBernoulli": [[0.2, 0.499, 0.9]],
    "Dirichlet": [[[0.5, 1.0, 3.0], [2.0, 0.7, 1.1]]],
    "Exponential": [[0.4, 2.5, 1.0]],
    "Gamma": [[0.6, 2.0, 3.5], [1.5, 0.4, 2.0]],
    "Geometric": [[0.2, 0.7]],
    "Gumbel": [[0.5, -1.0, 2.0], [0.7, 2.0, 1.3]],
    "HalfNormal": [[0.4, 2.0]],
    "Laplace": [[0.5, -1.0, 2.0], [0.7, 2.0, 1.3]],
    "LowRankMultivariateNormal": [[0.5, -1.0], [[0.3], [0.8]], [0.5, 0.9]],
    "MultivariateNormal": [[0.1, 0.4], [[1.2, 0.3], [0.3, 0.8]]],
    "Normal": [[0.5, -1.0, 2.0], [0.7, 2.0, 1.3]],
    "OneHotCategorical": [[[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]]],
    "Pareto": [[0.7, 1.2, 0.3], [0.8, 1.5, 3.0]],
    "Poisson": [[0.4, 2.5]],
    "Uniform": [[0.1, -0.5, 0.4], [0.8, 0.5, 1.5]],
}
WITHIN = ("Independent", "TransformedDistribution", "ExponentialFamily")


def pairs():
    torch = pytorch()
    registry = torch.distributions.kl._KL_REGISTRY
    named = {(p.__name__, q.__name__) for p, q in registry}
    return sorted(pair for pair in named if not set(pair) & set(WITHIN))


def made(m, name, factor=1.0):
    # the formulas are tried, not the kernels: nothing is compiled for them
    where = "NUMPY" if m is lazygrad else "cpu"
    given = [(m.tensor(v, dtype=m.float64, device=where) * (1.0 if k else factor)).requires_grad_()
             for k, v in enumerate(KINDS[name])]
    if name == "Binomial":
        return m.distributions.Binomial(given[0].detach().round(), given[1]), given[1:]
    return getattr(m.distributions, name)(*given), given


def test_the_registry_is_whole():
    registry = pytorch().distributions.kl._KL_REGISTRY
    ours = {(p.__name__, q.__name__) for p, q in lazygrad.distributions.kl._KL_REGISTRY}
    missing = {(p.__name__, q.__name__) for p, q in registry} - ours
    assert not missing


def test_every_pair():
    wrong = []
    for p_name, q_name in pairs():
        found = []
        for m in (lazygrad, pytorch()):
            (p, mine), (q, theirs) = made(m, p_name), made(m, q_name, 0.9)
            result = m.distributions.kl_divergence(p, q)
            inputs = [*mine, *theirs]
            finite = m.where(result.isfinite(), result, m.zeros_like(result)).sum()
            grads = m.autograd.grad(finite, inputs, allow_unused=True) if finite.requires_grad else []
            # at values without a finite result, slopes say nothing
            whole = bool(result.isfinite().all())
            found.append([result.detach(), [m.zeros_like(x) if g is None else g
                                            for x, g in zip(inputs, grads, strict=False)] if whole else []])
        try:
            check(*found, 1e-9, 1e-9)
        except AssertionError as problem:
            wrong.append(f"{p_name}, {q_name}: {problem}")
    assert not wrong, "\n".join(wrong)


def test_where_supports_differ():
    for m in (lazygrad, pytorch()):
        D, t = m.distributions, lambda *v, m=m: m.tensor(v, dtype=m.float64)
        uniform = D.Uniform(t(-0.5, 0.2, 0.2, 0.6), t(0.5, 0.8, 1.4, 0.9))
        half = D.Pareto(t(0.5).expand(4), t(2.0))
        found = [
            D.kl_divergence(uniform, D.Beta(t(2.0), t(3.0))), D.kl_divergence(uniform, D.Exponential(t(1.0))),
            D.kl_divergence(uniform, half), D.kl_divergence(uniform, D.ContinuousBernoulli(t(0.3))),
            D.kl_divergence(D.Beta(t(2.0), t(3.0)), D.Uniform(t(-1, 0.1, -0.1, 0.5), t(2.0, 2.0, 0.9, 0.8))),
        ]
        assert [[math.isinf(v) for v in f.tolist()] for f in found] == [
            [True, False, True, False], [True, False, False, False], [True, True, True, False],
            [True, False, True, False], [False, True, True, True]]


def own_family(m):
    """Exponential distributions as a user would write them."""

    class Waiting(m.distributions.ExponentialFamily):
        def __init__(self, rate):
            self.rate = rate
            super().__init__(rate.shape, validate_args=False)

        @property
        def _natural_params(self):
            return (-self.rate,)

        def _log_normalizer(self, x):
            return -(-x).log()

        _mean_carrier_measure = 0

    return Waiting


def test_families_of_users_and_what_is_made_of_others():
    results = []
    for m in (lazygrad, pytorch()):
        D, t = m.distributions, lambda *v, m=m: m.tensor(v, dtype=m.float64)
        Waiting = own_family(m)
        p, q = Waiting(t(0.5, 2.0)), Waiting(t(1.5, 0.2))
        independent = [D.Independent(D.Exponential(t(0.5, rate)), 1) for rate in (2.0, 0.3)]
        moved = [D.TransformedDistribution(D.Normal(t(loc), t(2.0)), [D.transforms.ExpTransform()])
                 for loc in (0.1, 0.7)]
        results.append([D.kl_divergence(p, q), D.kl_divergence(*independent), D.kl_divergence(*moved)])
        other = own_family(m)(t(1.0))
        unlike = outcome(lambda D=D, p=p, other=other: D.kl_divergence(p, other))
        assert isinstance(unlike, RuntimeError)
        assert isinstance(outcome(lambda D=D, t=t: D.kl_divergence(D.Normal(t(0.0), t(1.0)),
                                                                   D.StudentT(t(3.0)))), RuntimeError)
    check(*results, 1e-9)


def test_transforms_with_other_settings_are_not_compared():
    for m in (lazygrad, pytorch()):
        D = m.distributions
        moved = [D.TransformedDistribution(D.Normal(0.0, 1.0), [D.AffineTransform(loc, 2.0)])
                 for loc in (0.0, 0.0, 5.0)]
        assert float(D.kl_divergence(moved[0], moved[1])) == 0
        assert isinstance(outcome(lambda D=D, moved=moved: D.kl_divergence(moved[0], moved[2])), RuntimeError)


def test_a_continuous_bernoulli_checks_its_chance_before_it_is_limited():
    for m in (lazygrad, pytorch()):
        made = m.distributions.ContinuousBernoulli
        assert float(made(1.5).probs) <= 1
        assert isinstance(outcome(lambda made=made: made(1.5, validate_args=True)), ValueError)


def test_a_continuous_bernoullis_probability_is_checked_when_told_anything_of_checks() -> None:
    for m in (lazygrad, pytorch()):
        probs = m.tensor([0.5, 1.5])
        for told in (True, False):
            with pytest.raises(ValueError, match="probs has invalid values"):
                m.distributions.ContinuousBernoulli(probs, validate_args=told)
        assert m.distributions.ContinuousBernoulli(probs).probs[1] < 1
