"""Constraints: which values a parameter may have, and a distribution give. `check(x)` is a bool tensor, over
the batch where a constraint speaks of whole vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import lazygrad
from lazygrad.tensors import Tensor


class Constraint:
    """A region of tensors. `event_dim`: how many dimensions on the right make one value."""

    def __init__(self, name: str, check: Callable[[Tensor], Tensor], is_discrete: bool = False,
                 event_dim: int = 0, **facts: Any) -> None:
        self.name, self.check, self.is_discrete, self.event_dim = name, check, is_discrete, event_dim
        self.__dict__.update(facts)  # bounds and parts, under PyTorch's names

    @property
    def kind(self) -> str:
        """The name without what it is given."""
        return self.name.partition("(")[0]

    def __repr__(self) -> str:
        return self.name


def _whole(x: Tensor) -> Tensor:
    return x % 1 == 0


boolean = Constraint("Boolean()", lambda x: (x == 0) | (x == 1), True)
real = Constraint("Real()", lambda x: x == x)
nonnegative_integer = Constraint("IntegerGreaterThan(lower_bound=0)", lambda x: _whole(x) & (x >= 0), True)
simplex = Constraint("Simplex()", lambda x: (x >= 0).all(-1) & ((x.sum(-1) - 1).abs() < 1e-6), event_dim=1)
one_hot = Constraint("OneHot()", lambda x: ((x == 0) | (x == 1)).all(-1) & (x.sum(-1) == 1), True, 1)
dependent = Constraint("Dependent()", lambda x: x == x)


def interval(low: Any, high: Any) -> Constraint:
    """From low to high, both included."""
    return Constraint(f"Interval(lower_bound={low}, upper_bound={high})", lambda x: (x >= low) & (x <= high),
                      lower_bound=low, upper_bound=high)


def half_open_interval(low: Any, high: Any) -> Constraint:
    """From low, included, to high, left out."""
    return Constraint(f"HalfOpenInterval(lower_bound={low}, upper_bound={high})",
                      lambda x: (x >= low) & (x < high), lower_bound=low, upper_bound=high)


def less_than(high: Any) -> Constraint:
    """Below high."""
    return Constraint(f"LessThan(upper_bound={high})", lambda x: x < high, upper_bound=high)


def integer_interval(low: Any, high: Any) -> Constraint:
    """Whole numbers from low to high, both included."""
    return Constraint(f"IntegerInterval(lower_bound={low}, upper_bound={high})",
                      lambda x: _whole(x) & (x >= low) & (x <= high), True,
                      lower_bound=low, upper_bound=high)


def greater_than(low: Any) -> Constraint:
    """Above low."""
    return Constraint(f"GreaterThan(lower_bound={low})", lambda x: x > low, lower_bound=low)


def independent(base: Constraint, count: int) -> Constraint:
    """Values of `count` more dimensions, each element inside `base`; `base` itself for none."""
    if not count:
        return base

    def check(x: Tensor) -> Tensor:
        inside = base.check(x)
        return inside.flatten(inside.ndim - count).all(-1)

    name = f"IndependentConstraint({base}, {count})"
    return Constraint(name, check, base.is_discrete, base.event_dim + count, base_constraint=base,
                      reinterpreted_batch_ndims=count)


def greater_than_eq(low: Any) -> Constraint:
    """low, and above it."""
    return Constraint(f"GreaterThanEq(lower_bound={low})", lambda x: x >= low, lower_bound=low)


def multinomial(total: int) -> Constraint:
    """Counts that sum to at most a total."""
    return Constraint(f"Multinomial(upper_bound={total})",
                      lambda x: (x >= 0).all(-1) & (x.sum(-1) <= total), True, 1)


def _is_lower(x: Tensor) -> Tensor:
    return (x.tril() == x).flatten(-2).all(-1)


def _is_symmetric(x: Tensor) -> Tensor:
    return ((x - x.mT).abs() <= 1e-6).flatten(-2).all(-1)


def _is_positive_definite(x: Tensor) -> Tensor:
    return _is_symmetric(x) & (lazygrad.linalg.cholesky_ex(x).info == 0)


positive_integer = Constraint("IntegerGreaterThan(lower_bound=1)", lambda x: _whole(x) & (x >= 1), True)
lower_triangular = Constraint("LowerTriangular()", _is_lower, event_dim=2)
lower_cholesky = Constraint(
    "LowerCholesky()", lambda x: _is_lower(x) & (x.diagonal(dim1=-2, dim2=-1) > 0).all(-1), event_dim=2)
positive_definite = Constraint("PositiveDefinite()", _is_positive_definite, event_dim=2)
positive, nonnegative, unit_interval = greater_than(0.0), greater_than_eq(0.0), interval(0.0, 1.0)
real_vector, positive_vector = independent(real, 1), independent(positive, 1)
square = Constraint(
    "Square()", lambda x: lazygrad.full(x.shape[:-2], x.shape[-1] == x.shape[-2]), event_dim=2)
symmetric = Constraint("Symmetric()", _is_symmetric, event_dim=2)
positive_semidefinite = Constraint(
    "PositiveSemidefinite()",
    lambda x: _is_symmetric(x) & (lazygrad.linalg.eigvalsh(x) >= -1e-6).all(-1), event_dim=2)


def _is_corr_cholesky(x: Tensor) -> Tensor:
    room = lazygrad.finfo(x.dtype).eps * x.shape[-1] * 10
    unit = ((lazygrad.linalg.norm(x, dim=-1) - 1).abs() <= room).all(-1)
    return lower_cholesky.check(x) & unit


corr_cholesky = Constraint("CorrCholesky()", _is_corr_cholesky, event_dim=2)


def cat(cseq: Sequence[Constraint], dim: int = 0, lengths: Sequence[int] | None = None) -> Constraint:
    """Pieces of `lengths` (1 each unless told) along a dimension, each inside its own constraint."""
    parts = list(cseq)
    sizes = [1] * len(parts) if lengths is None else list(lengths)

    def check(x: Tensor) -> Tensor:
        pieces = x.split(sizes, dim)
        return lazygrad.cat([c.check(v) for c, v in zip(parts, pieces, strict=True)], dim)

    return Constraint("Cat()", check, any(c.is_discrete for c in parts), max(c.event_dim for c in parts),
                      cseq=parts, dim=dim, lengths=sizes)


def stack(cseq: Sequence[Constraint], dim: int = 0) -> Constraint:
    """Slices along a dimension, each inside its own constraint."""
    parts = list(cseq)
    events = max(c.event_dim for c in parts)

    def check(x: Tensor) -> Tensor:
        return lazygrad.stack([c.check(x.select(dim, i)) for i, c in enumerate(parts)], dim)

    return Constraint("Stack()", check, any(c.is_discrete for c in parts), events + (dim + events < 0),
                      cseq=parts, dim=dim)


def is_dependent(constraint: Constraint) -> bool:
    """Whether what is allowed depends on other parameters."""
    return constraint is dependent
