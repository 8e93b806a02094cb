"""Constraints: which values a parameter may have, and a distribution give. `check(x)` is a bool tensor, over
the batch where a constraint speaks of whole vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
