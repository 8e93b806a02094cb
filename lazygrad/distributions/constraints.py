"""Constraints: which values a parameter may have, and a distribution give. `check(x)` is a bool tensor, over
the batch where a constraint speaks of whole vectors. A kind is a class, that of a user too: it says `check`,
`is_discrete` and `event_dim`; names in lower case are kinds that take arguments, or the one constraint of its
kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import lazygrad
from lazygrad.errors import ArgumentError, MissingError
from lazygrad.tensors import Tensor
from lazygrad.tensors.guards import Guarded

__all__ = [
    "Constraint",
    "MixtureSameFamilyConstraint",
    "boolean",
    "cat",
    "corr_cholesky",
    "dependent",
    "dependent_property",
    "greater_than",
    "greater_than_eq",
    "half_open_interval",
    "independent",
    "integer_interval",
    "interval",
    "is_dependent",
    "less_than",
    "lower_cholesky",
    "lower_triangular",
    "multinomial",
    "nonnegative",
    "nonnegative_integer",
    "one_hot",
    "positive",
    "positive_definite",
    "positive_integer",
    "positive_semidefinite",
    "positive_vector",
    "real",
    "real_vector",
    "simplex",
    "square",
    "stack",
    "symmetric",
    "unit_interval",
]


class Constraint(Guarded):
    """A region of tensors. `is_discrete`: of whole numbers; `event_dim`: how many dimensions on the right
    make one value."""

    is_discrete: Any = False
    event_dim: Any = 0
    _guarded = ("__init__", "check")
    shown: tuple[str, ...] = ()  # attributes that repr names

    def check(self, value: Tensor) -> Tensor:
        """Whether each value is inside."""
        raise MissingError(f"[distributions] {type(self).__name__} has no check")

    def __repr__(self) -> str:
        name = type(self).__name__.removeprefix("_")
        return f"{name}({', '.join(f'{key}={getattr(self, key)}' for key in self.shown)})"


class _Dependent(Constraint):
    """A region that depends on other parameters. Raises MissingError where a fact was not told."""

    def __init__(self, *, is_discrete: Any = NotImplemented, event_dim: Any = NotImplemented) -> None:
        self._told: dict[str, Any] = {"is_discrete": is_discrete, "event_dim": event_dim}
        super().__init__()

    def _fact(self, name: str) -> Any:
        if self._told[name] is NotImplemented:
            raise MissingError(f"[distributions] .{name} cannot be determined statically: ask an instance")
        return self._told[name]

    @property
    def is_discrete(self) -> bool:
        """Of whole numbers."""
        return self._fact("is_discrete")

    @property
    def event_dim(self) -> int:
        """How many dimensions on the right make one value."""
        return self._fact("event_dim")

    def __call__(self, *, is_discrete: Any = NotImplemented, event_dim: Any = NotImplemented
                 ) -> _Dependent:
        """The same with other facts."""
        told: dict[str, Any] = {"is_discrete": is_discrete, "event_dim": event_dim}
        return _Dependent(**{
            key: old if told[key] is NotImplemented else told[key] for key, old in self._told.items()
        })

    def check(self, value: Tensor) -> Tensor:
        raise ArgumentError("[distributions] Cannot determine validity of dependent constraint")


class _DependentProperty(property, _Dependent):
    """A property of distributions that is a constraint; asked of the class, one that depends."""

    def __init__(self, fn: Callable[..., Any] | None = None, *, is_discrete: Any = NotImplemented,
                 event_dim: Any = NotImplemented) -> None:
        super().__init__(fn)
        self._told: dict[str, Any] = {"is_discrete": is_discrete, "event_dim": event_dim}

    def __call__(self, fn: Callable[..., Any]) -> _DependentProperty:  # type: ignore[override]
        """As a decorator that has been told facts."""
        return _DependentProperty(fn, **self._told)


class _IndependentConstraint(Constraint):
    """Values of `reinterpreted_batch_ndims` more dimensions, each element inside `base_constraint`."""

    def __init__(self, base_constraint: Constraint, reinterpreted_batch_ndims: int) -> None:
        self.base_constraint, self.reinterpreted_batch_ndims = base_constraint, reinterpreted_batch_ndims

    @property
    def is_discrete(self) -> bool:
        """Of whole numbers."""
        return self.base_constraint.is_discrete

    @property
    def event_dim(self) -> int:
        """The base's, and the added dimensions."""
        return self.base_constraint.event_dim + self.reinterpreted_batch_ndims

    def check(self, value: Tensor) -> Tensor:
        inside = self.base_constraint.check(value)
        if inside.ndim < self.reinterpreted_batch_ndims:
            raise ArgumentError(f"[distributions] Expected value.dim() >= {self.event_dim} but got "
                                f"{value.ndim}")
        return inside.reshape(*inside.shape[: inside.ndim - self.reinterpreted_batch_ndims], -1).all(-1)

    def __repr__(self) -> str:
        return f"IndependentConstraint({self.base_constraint!r}, {self.reinterpreted_batch_ndims})"


class MixtureSameFamilyConstraint(Constraint):
    """Values of a mixture: inside what its parts allow, in a dimension less."""

    shown = ("base_constraint",)

    def __init__(self, base_constraint: Constraint) -> None:
        self.base_constraint = base_constraint

    @property
    def is_discrete(self) -> bool:
        """Of whole numbers."""
        return self.base_constraint.is_discrete

    @property
    def event_dim(self) -> int:
        """The base's."""
        return self.base_constraint.event_dim

    def check(self, value: Tensor) -> Tensor:
        inside = self.base_constraint.check(value.unsqueeze(-1 - self.event_dim))
        kept = value.ndim - self.event_dim
        return inside.reshape(*inside.shape[:kept], -1).all(-1)


class _Boolean(Constraint):
    """0 or 1."""

    is_discrete = True

    def check(self, value: Tensor) -> Tensor:
        return (value == 0) | (value == 1)


class _OneHot(Constraint):
    """Vectors with a single 1."""

    is_discrete = True
    event_dim = 1

    def check(self, value: Tensor) -> Tensor:
        return ((value == 0) | (value == 1)).all(-1) & (value.sum(-1) == 1)


class _Real(Constraint):
    """All but NaN."""

    def check(self, value: Tensor) -> Tensor:
        return value == value


class _Above(Constraint):
    """Numbers on the upper side of a bound, which may be a tensor."""

    shown = ("lower_bound",)

    def __init__(self, lower_bound: Any) -> None:
        self.lower_bound = lower_bound


class _Below(Constraint):
    """Numbers on the lower side of a bound, which may be a tensor."""

    shown = ("upper_bound",)

    def __init__(self, upper_bound: Any) -> None:
        self.upper_bound = upper_bound


class _Between(Constraint):
    """Numbers between bounds, which may be tensors."""

    shown = ("lower_bound", "upper_bound")

    def __init__(self, lower_bound: Any, upper_bound: Any) -> None:
        self.lower_bound, self.upper_bound = lower_bound, upper_bound


class _GreaterThan(_Above):
    """Above a bound."""

    def check(self, value: Tensor) -> Tensor:
        return value > self.lower_bound


class _GreaterThanEq(_Above):
    """At a bound or above it."""

    def check(self, value: Tensor) -> Tensor:
        return value >= self.lower_bound


class _LessThan(_Below):
    """Below a bound."""

    def check(self, value: Tensor) -> Tensor:
        return value < self.upper_bound


class _Interval(_Between):
    """From a bound to another, both included."""

    def check(self, value: Tensor) -> Tensor:
        return (value >= self.lower_bound) & (value <= self.upper_bound)


class _HalfOpenInterval(_Between):
    """From a bound, included, to another, left out."""

    def check(self, value: Tensor) -> Tensor:
        return (value >= self.lower_bound) & (value < self.upper_bound)


class _IntegerInterval(_Interval):
    """Whole numbers from a bound to another, both included."""

    is_discrete = True

    def check(self, value: Tensor) -> Tensor:
        return (value % 1 == 0) & super().check(value)


class _IntegerLessThan(_Below):
    """Whole numbers up to a bound."""

    is_discrete = True

    def check(self, value: Tensor) -> Tensor:
        return (value % 1 == 0) & (value <= self.upper_bound)


class _IntegerGreaterThan(_GreaterThanEq):
    """Whole numbers from a bound on."""

    is_discrete = True

    def check(self, value: Tensor) -> Tensor:
        return (value % 1 == 0) & super().check(value)


class _Simplex(Constraint):
    """Vectors of numbers not below 0 that sum to 1."""

    event_dim = 1

    def check(self, value: Tensor) -> Tensor:
        return (value >= 0).all(-1) & ((value.sum(-1) - 1).abs() < 1e-6)


class _Multinomial(Constraint):
    """Counts that sum to at most a total."""

    is_discrete = True
    event_dim = 1

    def __init__(self, upper_bound: Any) -> None:
        self.upper_bound = upper_bound

    def check(self, x: Tensor) -> Tensor:
        return (x >= 0).all(-1) & (x.sum(-1) <= self.upper_bound)


class _Matrix(Constraint):
    """Matrices in the last two dimensions."""

    event_dim = 2


class _LowerTriangular(_Matrix):
    """Nothing above the diagonal."""

    def check(self, value: Tensor) -> Tensor:
        return (value.tril() == value).flatten(-2).all(-1)


class _LowerCholesky(_LowerTriangular):
    """Lower triangular, and positive on the diagonal."""

    def check(self, value: Tensor) -> Tensor:
        return super().check(value) & (value.diagonal(dim1=-2, dim2=-1) > 0).all(-1)


class _CorrCholesky(_LowerCholesky):
    """Cholesky's factors of correlation matrices: rows of length 1."""

    def check(self, value: Tensor) -> Tensor:
        room = lazygrad.finfo(value.dtype).eps * value.shape[-1] * 10
        return super().check(value) & ((lazygrad.linalg.norm(value, dim=-1) - 1).abs() <= room).all(-1)


class _Square(_Matrix):
    """As many rows as columns."""

    def check(self, value: Tensor) -> Tensor:
        return lazygrad.full(value.shape[:-2], value.shape[-1] == value.shape[-2], device=value.device)


class _Symmetric(_Square):
    """Equal to the transposed matrix."""

    def check(self, value: Tensor) -> Tensor:
        return ((value - value.mT).abs() <= 1e-6).flatten(-2).all(-1)


class _PositiveSemidefinite(_Symmetric):
    """Symmetric, without eigenvalues below 0."""

    def check(self, value: Tensor) -> Tensor:
        return super().check(value) & (lazygrad.linalg.eigvalsh(value) >= -1e-6).all(-1)


class _PositiveDefinite(_Symmetric):
    """Symmetric, with eigenvalues above 0."""

    def check(self, value: Tensor) -> Tensor:
        return super().check(value) & (lazygrad.linalg.cholesky_ex(value).info == 0)


class _Parts(Constraint):
    """Parts along a dimension, each inside its own constraint."""

    cseq: list[Constraint]

    @property
    def is_discrete(self) -> bool:
        """Whether any part is of whole numbers."""
        return any(c.is_discrete for c in self.cseq)


class _Cat(_Parts):
    """Pieces of `lengths` (1 each unless told) along a dimension."""

    def __init__(self, cseq: Sequence[Constraint], dim: int = 0, lengths: Sequence[int] | None = None
                 ) -> None:
        self.cseq, self.dim = list(cseq), dim
        self.lengths = [1] * len(self.cseq) if lengths is None else list(lengths)

    @property
    def event_dim(self) -> int:
        """The most that a part has."""
        return max(c.event_dim for c in self.cseq)

    def check(self, value: Tensor) -> Tensor:
        pieces = value.split(self.lengths, self.dim)
        return lazygrad.cat([c.check(v) for c, v in zip(self.cseq, pieces, strict=True)], self.dim)


class _Stack(_Parts):
    """Slices along a dimension."""

    def __init__(self, cseq: Sequence[Constraint], dim: int = 0) -> None:
        self.cseq, self.dim = list(cseq), dim

    @property
    def event_dim(self) -> int:
        """The most that a part has, and the dimension itself where it stands among those."""
        events = max(c.event_dim for c in self.cseq)
        return events + (self.dim + events < 0)

    def check(self, value: Tensor) -> Tensor:
        slices = [value.select(self.dim, i) for i in range(len(self.cseq))]
        return lazygrad.stack([c.check(v) for c, v in zip(self.cseq, slices, strict=True)], self.dim)


def widened(constraint: Constraint, count: int) -> Constraint:
    """The constraint over `count` more dimensions; itself for none."""
    return _IndependentConstraint(constraint, count) if count else constraint


def is_dependent(constraint: Any) -> bool:
    """Whether what is allowed depends on other parameters."""
    return isinstance(constraint, _Dependent)


dependent_property = _DependentProperty
independent = _IndependentConstraint
greater_than, greater_than_eq, less_than = _GreaterThan, _GreaterThanEq, _LessThan
interval, half_open_interval, integer_interval = _Interval, _HalfOpenInterval, _IntegerInterval
multinomial, cat, stack = _Multinomial, _Cat, _Stack

dependent = _Dependent()
boolean, one_hot, real, simplex = _Boolean(), _OneHot(), _Real(), _Simplex()
nonnegative_integer, positive_integer = _IntegerGreaterThan(0), _IntegerGreaterThan(1)
positive, nonnegative, unit_interval = _GreaterThan(0.0), _GreaterThanEq(0.0), _Interval(0.0, 1.0)
real_vector, positive_vector = independent(real, 1), independent(positive, 1)
lower_triangular, lower_cholesky, corr_cholesky = _LowerTriangular(), _LowerCholesky(), _CorrCholesky()
square, symmetric = _Square(), _Symmetric()
positive_semidefinite, positive_definite = _PositiveSemidefinite(), _PositiveDefinite()
