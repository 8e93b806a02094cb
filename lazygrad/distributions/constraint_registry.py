"""`biject_to` and `transform_to`: a transform from all real numbers to a constraint's region."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lazygrad.distributions import transforms as T
from lazygrad.distributions.constraints import Constraint
from lazygrad.errors import MissingError

Factory = Callable[[Any], T.Transform]


class ConstraintRegistry:
    """Transforms by kinds of constraints: `registry(constraint)` makes one, `register(constraint, factory)`
    says how, also as a decorator."""

    def __init__(self) -> None:
        self._table: dict[str, Factory] = {}

    def register(self, constraint: Any, factory: Factory | None = None) -> Any:
        """A constraint, or a function that makes constraints, gets a factory of transforms."""
        if factory is None:
            return lambda f: self.register(constraint, f)
        if isinstance(constraint, Constraint):
            kind = constraint.kind
        else:
            kind = "".join(word.capitalize() for word in constraint.__name__.split("_"))
        self._table[kind] = factory
        return factory

    def __call__(self, constraint: Constraint) -> T.Transform:
        """A transform to this constraint. Raises MissingError for a kind that has none."""
        if constraint.kind not in self._table:
            raise MissingError(f"[distributions] Cannot transform {constraint} constraints")
        return self._table[constraint.kind](constraint)


def _interval(c: Any) -> T.Transform:
    if isinstance(c.lower_bound, int | float) and (c.lower_bound, c.upper_bound) == (0, 1):
        return T.SigmoidTransform()
    return T.ComposeTransform([T.SigmoidTransform(),
                               T.AffineTransform(c.lower_bound, c.upper_bound - c.lower_bound)])


def _above(c: Any) -> T.Transform:
    return T.ComposeTransform([T.ExpTransform(), T.AffineTransform(c.lower_bound, 1)])


SHARED: dict[str, Factory] = {
    "Real": lambda c: T.identity_transform,
    "GreaterThan": _above,
    "GreaterThanEq": _above,
    "LessThan": lambda c: T.ComposeTransform([T.ExpTransform(), T.AffineTransform(c.upper_bound, -1)]),
    "Interval": _interval,
    "HalfOpenInterval": _interval,
    "CorrCholesky": lambda c: T.CorrCholeskyTransform(),
}
# not one to one, as PyTorch counts them: of transform_to alone
ONE_WAY: dict[str, Factory] = {
    "Simplex": lambda c: T.SoftmaxTransform(),
    "LowerCholesky": lambda c: T.LowerCholeskyTransform(),
    "PositiveDefinite": lambda c: T.PositiveDefiniteTransform(),
    "PositiveSemidefinite": lambda c: T.PositiveDefiniteTransform(),
}


def _registry(own: dict[str, Factory]) -> ConstraintRegistry:
    made = ConstraintRegistry()
    made._table.update(SHARED | own)
    made._table["IndependentConstraint"] = lambda c: T.IndependentTransform(
        made(c.base_constraint), c.reinterpreted_batch_ndims)
    made._table["Cat"] = lambda c: T.CatTransform([made(part) for part in c.cseq], c.dim, c.lengths)
    made._table["Stack"] = lambda c: T.StackTransform([made(part) for part in c.cseq], c.dim)
    return made


biject_to = _registry({"Simplex": lambda c: T.StickBreakingTransform()})
transform_to = _registry(ONE_WAY)
