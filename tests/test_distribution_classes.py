"""Distributions, constraints and transforms as classes that users derive from, against PyTorch's."""

from __future__ import annotations

import copy
import importlib
import pkgutil
from typing import Any

import numpy as np
import pytest
from torch_support import pytorch

import lazygrad
from lazygrad import config
from lazygrad.errors import LazygradError

RNG = np.random.default_rng(4)
A, B = RNG.standard_normal((3, 4)), RNG.uniform(0.3, 2, (3, 4))


def both(function: Any) -> None:
    """The function of the module gives the same array, text or plain value under both."""
    ours = function(lazygrad)
    theirs = function(pytorch())
    if hasattr(ours, "numpy"):
        np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-6, atol=1e-7)
        assert tuple(ours.shape) == tuple(theirs.shape)
    else:
        assert ours == theirs


def test_every_path_and_name_of_the_package() -> None:
    theirs = importlib.import_module("torch.distributions", pytorch().__name__)
    for found in pkgutil.iter_modules(theirs.__path__):
        ours = importlib.import_module(f"lazygrad.distributions.{found.name}")
        module = importlib.import_module(f"torch.distributions.{found.name}")
        for name in getattr(module, "__all__", ()):
            assert hasattr(ours, name), f"{found.name}.{name}"
    for path in ("adamw", "adamax", "adadelta", "adagrad", "rmsprop", "asgd", "rprop", "nadam", "radam"):
        for name in importlib.import_module(f"torch.optim.{path}").__all__:
            if name[0].isupper():
                assert hasattr(importlib.import_module(f"lazygrad.optim.{path}"), name)


CONSTRAINTS = ["boolean", "one_hot", "real", "simplex", "nonnegative_integer", "positive_integer", "positive",
               "nonnegative", "unit_interval", "real_vector", "lower_triangular", "lower_cholesky",
               "corr_cholesky", "square", "symmetric", "positive_semidefinite", "positive_definite"]


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_constraint(name: str) -> None:
    def facts(T: Any) -> Any:
        c = getattr(T.distributions.constraints, name)
        return repr(c), type(c).__name__, c.is_discrete, c.event_dim

    def checked(T: Any) -> Any:
        x = T.tensor(np.stack([A[:, :3], np.eye(3), np.eye(3) + 0.1]))
        return getattr(T.distributions.constraints, name).check(x)

    both(facts)
    both(checked)


MADE: list[Any] = [
    lambda c: c.interval(0, 1), lambda c: c.half_open_interval(lower_bound=0.0, upper_bound=2),
    lambda c: c.integer_interval(-1, 3), lambda c: c.greater_than(1), lambda c: c.greater_than_eq(1),
    lambda c: c.less_than(0.5), lambda c: c.multinomial(3), lambda c: c.independent(c.positive, 1),
    lambda c: c.cat([c.real, c.positive], -1, [1, 3]), lambda c: c.stack([c.real, c.positive, c.boolean], 0),
    lambda c: c.MixtureSameFamilyConstraint(c.positive),
]


@pytest.mark.parametrize("make", MADE)
def test_constraint_with_arguments(make: Any) -> None:
    both(lambda T: make(T.distributions.constraints).check(T.tensor(A)))
    both(lambda T: [getattr(make(T.distributions.constraints), key) for key in ("is_discrete", "event_dim")])


def test_classes_ask_for_supports() -> None:
    def answers(T: Any) -> Any:
        d, c = T.distributions, T.distributions.constraints
        out = [c.is_dependent(d.Uniform.support), c.is_dependent(d.Normal.support), repr(d.Normal.support),
               isinstance(d.Beta.support, c._Interval), c.is_dependent(c.dependent)]
        told = c.dependent_property(is_discrete=True, event_dim=1)(lambda self: c.one_hot)
        return [*out, told.is_discrete, told.event_dim, repr(d.Categorical(T.ones(3)).support)]

    both(answers)
    with pytest.raises(LazygradError):
        _ = lazygrad.distributions.constraints.dependent.event_dim


def test_a_constraint_of_ones_own_and_its_transform() -> None:
    def value(T: Any) -> Any:
        class Ordered(T.distributions.constraints.Constraint):
            event_dim = 1

            def check(self, value: Any) -> Any:
                return (value[..., 1:] > value[..., :-1]).all(-1)

        class OrderedTransform(T.distributions.Transform):
            domain, codomain = T.distributions.constraints.real_vector, Ordered()
            bijective = True

            def _call(self, x: Any) -> Any:
                return T.cat([x[..., :1], x[..., 1:].exp()], -1).cumsum(-1)

            def _inverse(self, y: Any) -> Any:
                return T.cat([y[..., :1], (y[..., 1:] - y[..., :-1]).log()], -1)

            def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
                return x[..., 1:].sum(-1)

        @T.distributions.biject_to.register(Ordered)
        def _made(constraint: Any) -> Any:
            return OrderedTransform()

        transform = T.distributions.biject_to(Ordered())
        base = T.distributions.Normal(T.zeros(4, dtype=T.float64), 1.0).expand([4])
        whole = T.distributions.TransformedDistribution(base, [transform])
        assert whole.event_shape == (4,) and bool(whole.support.check(transform(T.tensor(A))).all())
        return whole.log_prob(transform(T.tensor(A))) + transform.inv(transform(T.tensor(A))).sum()

    both(value)


def subclasses(T: Any) -> dict[str, Any]:
    d, a, b = T.distributions, T.tensor(A), T.tensor(B)
    spread = T.eye(4, dtype=T.float64) + 0.2
    given = {
        "Normal": (d.Normal, (a, b)), "Chi2": (d.Chi2, (b,)), "Categorical": (d.Categorical, (b,)),
        "LogNormal": (d.LogNormal, (a, b)), "Independent": (d.Independent, (d.Normal(a, b), 1)),
        "MultivariateNormal": (d.MultivariateNormal, (a, spread)), "Multinomial": (d.Multinomial, (3, b)),
        "Wishart": (d.Wishart, (T.tensor([5.0, 6.0, 7.0], dtype=T.float64), spread)),
        "LowRank": (d.LowRankMultivariateNormal, (a, a.unsqueeze(-1), b)), "Beta": (d.Beta, (b, b)),
        "MixtureSameFamily": (d.MixtureSameFamily, (d.Categorical(b), d.Normal(a, b))),
    }
    return {name: type(name, (base,), {"kept": property(lambda self: 7)})(*args)
            for name, (base, args) in given.items()}


@pytest.mark.parametrize("name", list(subclasses(lazygrad)))
def test_a_larger_batch_of_a_subclass(name: str) -> None:
    def value(T: Any) -> Any:
        made = subclasses(T)[name]
        made.note = "kept"
        batch = (2, *made.batch_shape)
        wide = made.expand(batch)
        assert type(wide) is type(made) and wide.kept == 7 and wide.batch_shape == batch
        assert wide._validate_args is made._validate_args
        empty = type(made).__new__(type(made))
        assert made.expand(batch, empty) is empty and empty.batch_shape == batch
        x = T.eye(4, dtype=T.float64) if name == "Wishart" else T.full(made.batch_shape, 0.5, dtype=T.float64)
        if name == "Multinomial":
            x = T.tensor([1.0, 2, 0, 0], dtype=T.float64)
        if len(made.event_shape) == 1 and name != "Multinomial":
            x = T.tensor(B[0])
        if name == "Categorical":
            x = T.tensor([0, 3, 1])
        return wide.log_prob(x)

    both(value)


def test_what_was_computed_of_the_smaller_batch_is_computed_anew() -> None:
    def value(T: Any) -> Any:
        d = T.distributions.MultivariateNormal(T.tensor(A), T.eye(4, dtype=T.float64) * 2)
        assert tuple(d.precision_matrix.shape) == (3, 4, 4)
        wide = d.expand((5, 3))
        matrices = wide.precision_matrix, wide.covariance_matrix, wide.scale_tril, wide.variance
        return T.cat([matrix.flatten() for matrix in matrices])

    both(value)


def test_a_normal_vector_that_brings_its_own_factor() -> None:
    def value(T: Any) -> Any:
        lazy = T.distributions.utils.lazy_property

        class ByDiagonal(T.distributions.MultivariateNormal):
            calls = 0

            def __init__(self, loc: Any, diagonal: Any) -> None:
                self.loc, self.diagonal = loc, diagonal
                above = super(T.distributions.MultivariateNormal, self)
                above.__init__(loc.shape[:-1], loc.shape[-1:], False)

            @lazy
            def _unbroadcasted_scale_tril(self) -> Any:
                ByDiagonal.calls += 1
                return self.diagonal.sqrt().diag_embed()

        made = ByDiagonal(T.tensor(A), T.tensor(B))
        total = made.log_prob(T.tensor(A) + 1).sum() + made.entropy().sum() + made.covariance_matrix.sum()
        assert ByDiagonal.calls == 1
        assert isinstance(ByDiagonal._unbroadcasted_scale_tril, (lazy, property))
        return total

    both(value)


def test_caches_of_transforms() -> None:
    def facts(T: Any) -> Any:
        t = T.distributions.transforms
        x = T.tensor([20.0])
        plain, kept = t.TanhTransform(), t.TanhTransform(cache_size=1)
        whole = t.ComposeTransform([t.ExpTransform(), t.AffineTransform(1.0, 2.0)]).with_cache()
        y = whole(x)
        return [bool(plain.inv(plain(x)) == x), kept.inv(kept(x)) is x, kept.inv.inv is kept,
                whole.inv(y) is x, whole.inv.inv is whole, kept.with_cache(1) is kept,
                t.ExpTransform() == t.ExpTransform(), t.ExpTransform() == t.TanhTransform(),
                t.AffineTransform(1, 2) == t.AffineTransform(1, 2), t.AffineTransform(1, 2).inv.sign,
                copy.deepcopy(whole).inv(y).item() == pytest.approx(20.0), plain.bijective,
                t.SoftmaxTransform().bijective, t.LowerCholeskyTransform().bijective,
                isinstance(plain.inv, t._InverseTransform), whole.bijective, whole.sign]

    both(facts)


@pytest.mark.parametrize("function", [
    lambda u, T: u.broadcast_all(1.0, T.tensor(A))[0],
    lambda u, T: u.logits_to_probs(T.tensor(A)),
    lambda u, T: u.logits_to_probs(T.tensor(A), is_binary=True),
    lambda u, T: u.probs_to_logits(T.tensor(B / 3), is_binary=True),
    lambda u, T: u.probs_to_logits(T.tensor(B / 3)),
    lambda u, T: u.clamp_probs(T.tensor([0.0, 0.5, 1.0])),
    lambda u, T: u._sum_rightmost(T.tensor(A), 1),
    lambda u, T: u.tril_matrix_to_vec(T.tensor(A[:, :3]), -1),
    lambda u, T: u.vec_to_tril_matrix(T.tensor(A[:, :3])),
    lambda u, T: u.vec_to_tril_matrix(T.tensor(A[:, :3]), -1),
])
def test_utils(function: Any) -> None:
    both(lambda T: function(T.distributions.utils, T))


def test_a_transform_that_is_a_module() -> None:
    class Scaling(lazygrad.distributions.Transform, lazygrad.nn.Module):
        domain = codomain = lazygrad.distributions.constraints.real
        bijective = True

        def __init__(self) -> None:
            super().__init__(cache_size=1)
            self.scale = lazygrad.nn.Parameter(lazygrad.tensor(2.0))

        def _call(self, x: Any) -> Any:
            return self.scale * x

        __hash__ = lazygrad.nn.Module.__hash__

    assert [name for name, _ in Scaling().named_parameters()] == ["scale"]
    assert Scaling()(lazygrad.tensor(3.0)).item() == 6.0


DRAWN: dict[str, Any] = {
    "Cauchy": lambda d, a, b, p: d.Cauchy(a, b), "HalfCauchy": lambda d, a, b, p: d.HalfCauchy(b),
    "Pareto": lambda d, a, b, p: d.Pareto(b, p), "Weibull": lambda d, a, b, p: d.Weibull(b, p),
    "Kumaraswamy": lambda d, a, b, p: d.Kumaraswamy(b, p),
    "Multinomial": lambda d, a, b, p: d.Multinomial(6, p),
    "Categorical": lambda d, a, b, p: d.Categorical(p), "Beta": lambda d, a, b, p: d.Beta(b, p),
    "StudentT": lambda d, a, b, p: d.StudentT(b + 3, a, b),
    "LKJCholesky": lambda d, a, b, p: d.LKJCholesky(3, b),
    "MultivariateNormal": lambda d, a, b, p: d.MultivariateNormal(a, b[0].diag()),
    "RelaxedBernoulli": lambda d, a, b, p: d.RelaxedBernoulli(b, p),
    "RelaxedOneHotCategorical": lambda d, a, b, p: d.RelaxedOneHotCategorical(b[0, 0], p),
}


@pytest.mark.parametrize("name", list(DRAWN))
def test_draws_are_pytorchs(name: str) -> None:
    def value(T: Any) -> Any:
        T.manual_seed(5)
        drawn = DRAWN[name](T.distributions, T.tensor(A), T.tensor(B), T.tensor(B / 3)).sample((2,))
        return T.cat([drawn.flatten(), T.rand(1)])

    with config.override(RNG="torch"):
        both(value)
