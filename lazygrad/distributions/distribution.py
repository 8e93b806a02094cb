"""`Distribution`: what all distributions share: shapes, checks of parameters and values, sampling."""

from __future__ import annotations

from typing import Any

from lazygrad.distributions import constraints
from lazygrad.distributions.constraints import Constraint
from lazygrad.distributions.utils import LazyProperty
from lazygrad.errors import ArgumentError, MissingError, ShapeError
from lazygrad.tensors import Size, Tensor
from lazygrad.tensors.guards import Guarded
from lazygrad.tensors.modes import no_grad


class Distribution(Guarded):
    """A distribution of tensors of shape `event_shape`, one for each element of `batch_shape`. Parameters and
    values are checked unless `validate_args` is False: ArgumentError names the constraint."""

    arg_constraints: Any = {}
    has_rsample = False
    has_enumerate_support = False
    _validate_args = True
    _guarded = tuple(
        "__init__ log_prob cdf icdf sample rsample sample_n expand entropy enumerate_support".split()
    )

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Whether distributions check by default."""
        if value not in (True, False):
            raise ArgumentError(f"[distributions] expected True or False, got {value!r}")
        Distribution._validate_args = value

    def __init__(self, batch_shape: Any = (), event_shape: Any = (), validate_args: bool | None = None
                 ) -> None:
        self._batch_shape, self._event_shape = Size(batch_shape), Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if self._validate_args:
            self._check_arguments()
        super().__init__()  # of what a class is derived from besides

    def _check_arguments(self) -> None:
        for name, constraint in self.arg_constraints.items():
            # what is derived from another parameter is not checked
            derived = name not in self.__dict__ and isinstance(getattr(type(self), name, None), LazyProperty)
            if derived or constraints.is_dependent(constraint):
                continue
            value = getattr(self, name)
            if not bool(constraint.check(value).all()):
                raise ArgumentError(f"[distributions] Expected parameter {name} ({type(value).__name__} of "
                                    f"shape {tuple(value.shape)}) of distribution {type(self).__name__} to "
                                    f"satisfy the constraint {constraint}, but found invalid values:\n"
                                    f"{value}")

    @property
    def batch_shape(self) -> Size:
        """The shape of the parameters, without the dimensions of one value."""
        return self._batch_shape

    @property
    def event_shape(self) -> Size:
        """The shape of one value."""
        return self._event_shape

    @constraints.dependent_property
    def support(self) -> Constraint:
        """The values that have a probability."""
        raise self._missing("support")

    @property
    def mean(self) -> Tensor:
        """The expected value."""
        raise self._missing("mean")

    @property
    def mode(self) -> Tensor:
        """The most likely value."""
        raise self._missing("mode")

    @property
    def variance(self) -> Tensor:
        """The expected squared distance from the mean."""
        raise self._missing("variance")

    @property
    def stddev(self) -> Tensor:
        """The root of the variance."""
        return self.variance.sqrt()

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Values (*sample_shape, *batch_shape, *event_shape) that are differentiable functions of the
        parameters."""
        raise self._missing("rsample")

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Values (*sample_shape, *batch_shape, *event_shape), without gradient."""
        with no_grad():
            return self.rsample(sample_shape)

    def sample_n(self, n: int) -> Tensor:
        """n samples."""
        return self.sample((n,))

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the probability (density) of each value."""
        raise self._missing("log_prob")

    def cdf(self, value: Tensor) -> Tensor:
        """The probability of all up to a value."""
        raise self._missing("cdf")

    def icdf(self, value: Tensor) -> Tensor:
        """The value up to which lies a probability."""
        raise self._missing("icdf")

    def entropy(self) -> Tensor:
        """The expected value of -log_prob, in nats."""
        raise self._missing("entropy")

    def perplexity(self) -> Tensor:
        """exp(entropy)."""
        return self.entropy().exp()

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All values of a discrete distribution along a new first dimension."""
        raise self._missing("enumerate_support")

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distribution for a larger batch, in a new object of its class, or in `_instance`."""
        made = self._get_checked_instance(type(self), _instance)
        changed = self._expanded(Size(batch_shape))
        changed.pop("_validate_args", None)
        # what was computed of the smaller batch is computed anew
        kept = {name: value for name, value in self.__dict__.items()
                if not isinstance(getattr(type(self), name, None), LazyProperty)}
        for name, value in (kept | changed).items():
            setattr(made, name, value)
        return made

    def _expanded(self, shape: Size) -> dict[str, Any]:
        """The attributes that are other ones for a batch of a shape."""
        events = len(self._batch_shape)
        own = {name: self.__dict__[name] for name in self.arg_constraints if name in self.__dict__}
        return {"_batch_shape": shape,
                **{name: value.expand(shape + value.shape[events:]) for name, value in own.items()}}

    def _get_checked_instance(self, cls: type, _instance: Any = None) -> Any:
        """The object that a larger batch is written to: `_instance`, or an empty one of this class."""
        return type(self).__new__(type(self)) if _instance is None else _instance

    def _missing(self, what: str) -> Exception:
        return MissingError(f"[distributions] {type(self).__name__} has no {what}")

    def _extended_shape(self, sample_shape: Any = ()) -> Size:
        return Size(sample_shape) + self._batch_shape + self._event_shape

    def _validate_sample(self, value: Any) -> None:
        """Raises where a value cannot be one of this distribution."""
        if not self._validate_args:
            return
        if not isinstance(value, Tensor):
            raise ArgumentError("[distributions] The value argument to log_prob must be a Tensor")
        events = len(self._event_shape)
        if events and tuple(value.shape[value.ndim - events:]) != tuple(self._event_shape):
            raise ShapeError("[distributions] The right-most size of value must match event_shape: "
                             f"{tuple(value.shape)} vs {tuple(self._event_shape)}.")
        expected = self._batch_shape + self._event_shape
        for a, b in zip(reversed(value.shape), reversed(expected), strict=False):
            if a != 1 and b != 1 and a != b:
                raise ShapeError("[distributions] Value is not broadcastable with batch_shape+event_shape: "
                                 f"{tuple(value.shape)} vs {tuple(expected)}.")
        if not bool(self.support.check(value).all()):
            raise ArgumentError(f"[distributions] Expected value argument ({type(value).__name__} of shape "
                                f"{tuple(value.shape)}) to be within the support ({self.support}) of the "
                                f"distribution {type(self).__name__}, but found invalid values:\n{value}")

    def __repr__(self) -> str:
        names = [n for n in self.arg_constraints if n in self.__dict__]
        parts = [f"{n}: {self.__dict__[n] if self.__dict__[n].numel() == 1 else self.__dict__[n].size()}"
                 for n in names]
        return f"{type(self).__name__}({', '.join(parts)})"
