"""Constraints: which values a parameter may have, and a distribution give. `check(x)` is a bool tensor, over
the batch where a constraint speaks of whole vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lazygrad
from lazygrad.tensors import Tensor


class Constraint:
    """A region of tensors. `event_dim`: how many dimensions on the right make one value."""

    def __init__(self, name: str, check: Callable[[Tensor], Tensor], is_discrete: bool = False,
                 event_dim: int = 0) -> None:
        self.name, self.check, self.is_discrete, self.event_dim = name, check, is_discrete, event_dim

    def __repr__(self) -> str:
        return self.name


def _whole(x: Tensor) -> Tensor:
    return x % 1 == 0


boolean = Constraint("Boolean()", lambda x: (x == 0) | (x == 1), True)
real = Constraint("Real()", lambda x: x == x)
positive = Constraint("GreaterThan(lower_bound=0.0)", lambda x: x > 0)
nonnegative = Constraint("GreaterThanEq(lower_bound=0.0)", lambda x: x >= 0)
unit_interval = Constraint("Interval(lower_bound=0.0, upper_bound=1.0)", lambda x: (x >= 0) & (x <= 1))
nonnegative_integer = Constraint("IntegerGreaterThan(lower_bound=0)", lambda x: _whole(x) & (x >= 0), True)
real_vector = Constraint("IndependentConstraint(Real(), 1)", lambda x: (x == x).all(-1), event_dim=1)
simplex = Constraint("Simplex()", lambda x: (x >= 0).all(-1) & ((x.sum(-1) - 1).abs() < 1e-6), event_dim=1)
one_hot = Constraint("OneHot()", lambda x: ((x == 0) | (x == 1)).all(-1) & (x.sum(-1) == 1), True, 1)
dependent = Constraint("Dependent()", lambda x: x == x)


def interval(low: Any, high: Any) -> Constraint:
    """From low to high, both included."""
    return Constraint(f"Interval(lower_bound={low}, upper_bound={high})", lambda x: (x >= low) & (x <= high))


def integer_interval(low: Any, high: Any) -> Constraint:
    """Whole numbers from low to high, both included."""
    return Constraint(f"IntegerInterval(lower_bound={low}, upper_bound={high})",
                      lambda x: _whole(x) & (x >= low) & (x <= high), True)


def greater_than(low: Any) -> Constraint:
    """Above low."""
    return Constraint(f"GreaterThan(lower_bound={low})", lambda x: x > low)


def independent(base: Constraint, count: int) -> Constraint:
    """Values of `count` more dimensions, each element inside `base`."""

    def check(x: Tensor) -> Tensor:
        inside = base.check(x)
        return inside.flatten(inside.ndim - count).all(-1) if count else inside

    name = f"IndependentConstraint({base}, {count})"
    return Constraint(name, check, base.is_discrete, base.event_dim + count)


def greater_than_eq(low: Any) -> Constraint:
    """low, and above it."""
    return Constraint(f"GreaterThanEq(lower_bound={low})", lambda x: x >= low)


def multinomial(total: int) -> Constraint:
    """Counts that sum to at most a total."""
    return Constraint(f"Multinomial(upper_bound={total})",
                      lambda x: (x >= 0).all(-1) & (x.sum(-1) <= total), True, 1)


def _is_lower(x: Tensor) -> Tensor:
    return (x.tril() == x).flatten(-2).all(-1)


def _is_positive_definite(x: Tensor) -> Tensor:
    alike = ((x - x.mT).abs() <= 1e-6).flatten(-2).all(-1)
    return alike & (lazygrad.linalg.cholesky_ex(x).info == 0)


positive_integer = Constraint("IntegerGreaterThan(lower_bound=1)", lambda x: _whole(x) & (x >= 1), True)
lower_triangular = Constraint("LowerTriangular()", _is_lower, event_dim=2)
lower_cholesky = Constraint(
    "LowerCholesky()", lambda x: _is_lower(x) & (x.diagonal(dim1=-2, dim2=-1) > 0).all(-1), event_dim=2)
positive_definite = Constraint("PositiveDefinite()", _is_positive_definite, event_dim=2)
positive_vector = Constraint("IndependentConstraint(GreaterThan(lower_bound=0.0), 1)",
                             lambda x: (x > 0).all(-1), event_dim=1)
