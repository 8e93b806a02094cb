"""lazygrad.distributions.transforms, constraints, biject_to and transform_to beside PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch_support import check, pytorch

import lazygrad
from lazygrad.errors import ArgumentError, MissingError

RNG = np.random.default_rng(3)
X = RNG.standard_normal((2, 4, 6))
SQUARE = RNG.standard_normal((3, 4, 4))
# name -> (make of torch.distributions, an input, whether x comes back)
TRANSFORMS: dict[str, tuple[Any, np.ndarray, bool]] = {
    "abs": (lambda d: d.AbsTransform(), X, False),
    "cdf": (lambda d: d.CumulativeDistributionTransform(d.Normal(0.5, 2.0)), X, True),
    "softmax": (lambda d: d.SoftmaxTransform(), X, False),
    "stick breaking": (lambda d: d.StickBreakingTransform(), X, True),
    "its inverse": (lambda d: d.StickBreakingTransform().inv, RNG.dirichlet(np.ones(5), 3), True),
    "lower": (lambda d: d.LowerCholeskyTransform(), SQUARE, False),
    "definite": (lambda d: d.PositiveDefiniteTransform(), SQUARE, False),
    "correlations": (lambda d: d.CorrCholeskyTransform(), X, True),
    "independent": (lambda d: d.IndependentTransform(d.ExpTransform(), 2), X, True),
    "reshape": (lambda d: d.ReshapeTransform((4, 6), (2, 12)), X, True),
    "stack": (lambda d: d.StackTransform([d.ExpTransform(), d.AffineTransform(1.0, 2.0)], 0), X, True),
    "cat": (lambda d: d.CatTransform([d.ExpTransform(), d.TanhTransform()], -1, [2, 4]), X, True),
    "cat of a dim from the left": (
        lambda d: d.CatTransform([d.ExpTransform(), d.SigmoidTransform()], 1, [1, 3]), X, True),
    "cat of vectors": (
        lambda d: d.CatTransform([
            d.AffineTransform(0.0, 2.0, event_dim=1), d.AffineTransform(1.0, 3.0, event_dim=1)], 1, [1, 3]),
        X, True),
    "one by one": (lambda d: d.CatTransform([d.ExpTransform(), d.SigmoidTransform()]), X, True),
    "power": (lambda d: d.PowerTransform(3.0), abs(X), True),
    "composed": (lambda d: d.ComposeTransform(
        [d.AffineTransform(0.1, 2.0), d.CorrCholeskyTransform(), d.ReshapeTransform((4, 4), (16,))]),
        X, True),
    "identity": (lambda d: d.identity_transform, X, True),
}


def sent(m: Any, name: str) -> list[Any]:
    make, given, _ = TRANSFORMS[name]
    transform, x = make(m.distributions), m.tensor(given, requires_grad=True)
    y = transform(x)
    back = transform.inv(y * 1)
    results = [y, back]
    try:
        results.append(transform.log_abs_det_jacobian(x, y))
    except RuntimeError:  # of which PyTorch's type for what is missing is one
        results.append(None)
    sum((r * r).sum() for r in results if r is not None and r.requires_grad).backward()
    facts = [transform.domain.event_dim, transform.codomain.event_dim, transform.bijective,
             *transform.forward_shape(x.shape), *transform.inverse_shape(y.shape)]
    inside = transform.codomain.check(y)
    return [*results, x.grad, m.tensor([int(f) for f in facts]), inside]


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms(name: str) -> None:
    ours, theirs = sent(lazygrad, name), sent(pytorch(), name)
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine is None) == (other is None)
        if mine is not None:
            check(mine, other, 1e-7, 1e-7)
    if TRANSFORMS[name][2]:
        np.testing.assert_allclose(ours[1].detach().numpy(), TRANSFORMS[name][1], 1e-6, 1e-6)


CONSTRAINTS: dict[str, tuple[Any, np.ndarray]] = {
    "real": (lambda c: c.real, X),
    "positive": (lambda c: c.positive, X),
    "nonnegative": (lambda c: c.nonnegative, X),
    "greater_than": (lambda c: c.greater_than(2.0), X),
    "less_than": (lambda c: c.less_than(-1.0), X),
    "unit_interval": (lambda c: c.unit_interval, X),
    "interval": (lambda c: c.interval(-1.0, 3.0), X),
    "half_open_interval": (lambda c: c.half_open_interval(-1.0, 3.0), X),
    "real_vector": (lambda c: c.real_vector, X),
    "independent": (lambda c: c.independent(c.positive, 2), X),
    "simplex": (lambda c: c.simplex, X),
    "lower_cholesky": (lambda c: c.lower_cholesky, SQUARE),
    "positive_definite": (lambda c: c.positive_definite, SQUARE),
    "positive_semidefinite": (lambda c: c.positive_semidefinite, SQUARE),
    "corr_cholesky": (lambda c: c.corr_cholesky, X),
    "cat": (lambda c: c.cat([c.positive, c.unit_interval], -1, [2, 4]), X),
    "stack": (lambda c: c.stack([c.positive, c.interval(2.0, 4.0)], 0), X),
}


@pytest.mark.parametrize("name", CONSTRAINTS)
@pytest.mark.parametrize("registry", ["biject_to", "transform_to"])
def test_registries(registry: str, name: str) -> None:
    made: list[Any] = []
    for m in (lazygrad, pytorch()):
        constraint = CONSTRAINTS[name][0](m.distributions.constraints)
        try:
            y = getattr(m.distributions, registry)(constraint)(m.tensor(CONSTRAINTS[name][1]))
        except RuntimeError:  # of which PyTorch's type for what is missing is one
            made.append(None)
            continue
        assert bool(constraint.check(y).all())
        made.append((y, constraint.check(m.tensor(CONSTRAINTS[name][1]))))
    assert (made[0] is None) == (made[1] is None)
    if made[0] is not None:
        check(made[0], made[1], 1e-8, 1e-9)


def test_what_has_no_transform() -> None:
    d = lazygrad.distributions
    with pytest.raises(MissingError, match="Cannot transform"):
        d.biject_to(d.constraints.boolean)
    registry = d.constraint_registry.ConstraintRegistry()
    registry.register(d.constraints.boolean)(lambda c: d.SigmoidTransform())
    assert isinstance(registry(d.constraints.boolean), d.SigmoidTransform)
    registry.register(d.constraints.less_than, lambda c: d.ExpTransform())
    assert isinstance(registry(d.constraints.less_than(3)), d.ExpTransform)


@pytest.mark.parametrize("call", [
    lambda d: d.ReshapeTransform((2, 3), (5,)),
    lambda d: d.ReshapeTransform((2, 3), (6,)).forward_shape((3, 2)),
    lambda d: d.CorrCholeskyTransform().forward_shape((4,)),
    lambda d: d.CorrCholeskyTransform().inverse_shape((2, 3)),
    lambda d: d.LKJCholesky(1),
])
def test_mistakes(call: Any) -> None:
    with pytest.raises(ValueError):
        call(pytorch().distributions)
    with pytest.raises(ArgumentError, match=r"^\[distributions\] "):
        call(lazygrad.distributions)


def test_entropy_of_an_exponential_family() -> None:
    def entropy(m: Any) -> Any:
        class Laws(m.distributions.ExponentialFamily):
            _mean_carrier_measure = 0

            def __init__(self, rate: Any) -> None:
                self.rate = rate
                super().__init__(rate.shape, (), validate_args=False)

            @property
            def _natural_params(self) -> Any:
                return (-self.rate,)

            def _log_normalizer(self, x: Any) -> Any:
                return -(-x).log()

        return Laws(m.tensor([0.5, 2.0, 3.0])).entropy()

    check(entropy(lazygrad), entropy(pytorch()), 1e-6, 1e-6)
    known = lazygrad.distributions.Exponential(lazygrad.tensor([0.5, 2.0, 3.0])).entropy()
    assert lazygrad.allclose(entropy(lazygrad), known)


def test_the_last_pair_is_kept() -> None:
    for m in (lazygrad, pytorch()):
        transform = m.distributions.ExpTransform(cache_size=1)
        x, y = m.tensor(2.0), m.tensor(5.0)
        assert transform.inv(transform(x)) is x
        assert transform(transform.inv(y)) is y
        assert transform(x) is not y
