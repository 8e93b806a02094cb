"""`biject_to` and `transform_to`: a transform from all real numbers to a constraint's region."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lazygrad.distributions import constraints
from lazygrad.distributions import transforms as T
from lazygrad.distributions.constraints import Constraint
from lazygrad.errors import ArgumentTypeError, MissingError

Factory = Callable[[Any], T.Transform]


class ConstraintRegistry:
    """Transforms by kinds of constraints: `registry(constraint)` makes one, `register(constraint, factory)`
    says how, also as a decorator."""

    def __init__(self) -> None:
        self._registry: dict[type, Factory] = {}

    def register(self, constraint: Any, factory: Factory | None = None) -> Any:
        """A constraint, or its class, gets a factory of transforms."""
        if factory is None:
            return lambda f: self.register(constraint, f)
        kind = type(constraint) if isinstance(constraint, Constraint) else constraint
        if not (isinstance(kind, type) and issubclass(kind, Constraint)):
            raise ArgumentTypeError("[distributions] Expected constraint to be either a Constraint subclass "
                                    f"or instance, but got {constraint}")
        self._registry[kind] = factory
        return factory

    def __call__(self, constraint: Constraint) -> T.Transform:
        """A transform to this constraint. Raises MissingError for a kind that has none."""
        factory = self._registry.get(type(constraint))
        if factory is None:
            raise MissingError(f"[distributions] Cannot transform {type(constraint).__name__} constraints")
        return factory(constraint)


def _interval(c: Any) -> T.Transform:
    if isinstance(c.lower_bound, int | float) and (c.lower_bound, c.upper_bound) == (0, 1):
        return T.SigmoidTransform()
    return T.ComposeTransform([T.SigmoidTransform(),
                               T.AffineTransform(c.lower_bound, c.upper_bound - c.lower_bound)])


def _above(c: Any) -> T.Transform:
    return T.ComposeTransform([T.ExpTransform(), T.AffineTransform(c.lower_bound, 1)])


SHARED: dict[Any, Factory] = {
    type(constraints.real): lambda c: T.identity_transform,
    constraints.greater_than: _above,
    constraints.greater_than_eq: _above,
    constraints.less_than: lambda c: T.ComposeTransform(
        [T.ExpTransform(), T.AffineTransform(c.upper_bound, -1)]),
    constraints.interval: _interval,
    constraints.half_open_interval: _interval,
    type(constraints.corr_cholesky): lambda c: T.CorrCholeskyTransform(),
}
# not one to one, as PyTorch counts them: of transform_to alone
ONE_WAY: dict[Any, Factory] = {
    type(constraints.simplex): lambda c: T.SoftmaxTransform(),
    type(constraints.lower_cholesky): lambda c: T.LowerCholeskyTransform(),
    type(constraints.positive_definite): lambda c: T.PositiveDefiniteTransform(),
    type(constraints.positive_semidefinite): lambda c: T.PositiveDefiniteTransform(),
}


def _registry(own: dict[Any, Factory]) -> ConstraintRegistry:
    made = ConstraintRegistry()
    made._registry.update(SHARED | own)
    made._registry[constraints.independent] = lambda c: T.IndependentTransform(
        made(c.base_constraint), c.reinterpreted_batch_ndims)
    made._registry[constraints.cat] = lambda c: T.CatTransform(
        [made(part) for part in c.cseq], c.dim, c.lengths)
    made._registry[constraints.stack] = lambda c: T.StackTransform([made(part) for part in c.cseq], c.dim)
    return made


biject_to = _registry({type(constraints.simplex): lambda c: T.StickBreakingTransform()})
transform_to = _registry(ONE_WAY)
