"""`LRScheduler`: what all schedules share."""

from __future__ import annotations

import functools
import types
import warnings
from collections.abc import Callable
from typing import Any

from lazygrad.errors import ArgumentError, ArgumentTypeError, NoSuchKeyError
from lazygrad.optim.optimizer import Optimizer
from lazygrad.optim.settings import plain
from lazygrad.tensors import Tensor
from lazygrad.tensors.guards import Guarded
from lazygrad.tensors.recording import at_each_run

_ORDER = (
    "Detected call of `lr_scheduler.step()` before `optimizer.step()`. You should call them in the opposite "
    "order: `optimizer.step()` before `lr_scheduler.step()`. Failure to do this will result in skipping the "
    "first value of the learning rate schedule."
)
_EPOCH = (
    "The epoch parameter in `scheduler.step()` was not necessary and is being deprecated where possible. "
    "Please use `scheduler.step()` to step the scheduler."
)


def set_value(group: dict[str, Any], key: str, value: float) -> None:
    """Give a group's setting a value; a tensor keeps its identity."""
    if isinstance(group[key], Tensor):
        group[key].fill_(plain(value))
    else:
        group[key] = value


def values_of(optimizer: Optimizer, key: str) -> list[Any]:
    """The setting `key` of each group; tensors are copied."""
    return [
        group[key].clone() if isinstance(group[key], Tensor) else group[key]
        for group in optimizer.param_groups
    ]


def for_each_group(name: str, optimizer: Optimizer, value: Any) -> list[Any]:
    """One value for each group, from one for all or from a list; ValueError for a list of another length."""
    groups = len(optimizer.param_groups)
    if not isinstance(value, list | tuple):
        return [value] * groups
    if len(value) != groups:
        raise ArgumentError(
            f"[lr_scheduler] {name} must have the same length as optimizer.param_groups. {name} has "
            f"{len(value)} values, "
            f"param_groups has {groups}."
        )
    return list(value)


def check_optimizer(optimizer: Any) -> None:
    """Raises TypeError for anything that is no Optimizer."""
    if not isinstance(optimizer, Optimizer):
        raise ArgumentTypeError(f"[lr_scheduler] {type(optimizer).__name__} is not an Optimizer")


def _at_each_run(step: Callable[..., None]) -> Callable[..., None]:
    """`step`, so that replays of a recorded function repeat it."""

    @functools.wraps(step)
    def run(self: Any, *args: Any, **kwargs: Any) -> None:
        at_each_run(lambda: step(self, *args, **kwargs))

    return run


def _closed_form(self: Any) -> list[Any]:
    """The learning rates of the groups at `last_epoch`, of a schedule that has them in closed form."""
    return [self.lr_at(self.last_epoch, base) for base in self.base_lrs]


class LRScheduler(Guarded):
    """Changes the learning rate of every group each time `step` is called.

    Subclasses give `next_lr(group, base_lr)`, the rate after the group's present one, and where there is one
    `lr_at(epoch, base_lr)`, the same in closed form.
    """

    _guarded = ("__init__", "step", "load_state_dict")
    _is_initial = False
    # what state_dict leaves out
    _unsaved: tuple[str, ...] = ("optimizer", "_steps_before")

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        check_optimizer(optimizer)
        self.optimizer = optimizer
        for place, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", plain(group["lr"]))
            elif "initial_lr" not in group:
                raise NoSuchKeyError(
                    f"[lr_scheduler] param 'initial_lr' is not specified in param_groups[{place}] when "
                    f"resuming scheduler with last_epoch >= 0: load the optimizer's state first"
                )
        self.base_lrs = values_of(optimizer, "initial_lr")
        self.last_epoch = last_epoch
        self._initial_step()

    def _initial_step(self) -> None:
        self._step_count = 0
        self._steps_before = self.optimizer._steps_taken
        self._is_initial = True
        self.step()
        self._is_initial = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "lr_at" in cls.__dict__:
            cls._get_closed_form_lr = _closed_form  # type: ignore[attr-defined]
        if "step" in cls.__dict__:
            cls.step = _at_each_run(cls.__dict__["step"])  # type: ignore[method-assign]

    def _replay_structure(self) -> None:
        """A schedule goes on by itself in replays of a recorded step: nothing of it must stay the same."""

    def _replay_places(self) -> list[tuple[Any, Any]]:
        return [(self.__dict__, "optimizer")]

    def next_lr(self, group: dict[str, Any], base_lr: float) -> float:
        """The learning rate of a group at `last_epoch`, from the one before."""
        return group["lr"]

    def get_lr(self) -> list[Any]:
        """The learning rates of the groups at `last_epoch`; users read get_last_lr. Groups that were added to
        the optimizer since begin at the rate that they came with."""
        groups = self.optimizer.param_groups
        self.base_lrs += values_of(self.optimizer, "lr")[len(self.base_lrs) :]
        return [self.next_lr(group, base) for group, base in zip(groups, self.base_lrs, strict=True)]

    def get_last_lr(self) -> list[Any]:
        """The learning rate of each group now."""
        return self._last_lr

    @_at_each_run
    def step(self, epoch: int | None = None) -> None:
        """Go on to the next epoch (or step), or to the one given."""
        if self._step_count == 1 and self.optimizer._steps_taken == self._steps_before:
            warnings.warn(_ORDER, stacklevel=5)
        self._step_count += 1
        if epoch is not None:
            warnings.warn(_EPOCH, stacklevel=5)
        self._update_lr(epoch)

    def _update_lr(self, epoch: int | None = None) -> None:
        # subclasses of users ask whether get_lr is called from here
        self._get_lr_called_within_step = True
        try:
            self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
            # subclasses of users may give a closed form of their own
            closed = None if epoch is None else getattr(self, "_get_closed_form_lr", None)
            self._set_rates(self.get_lr() if closed is None else closed())
        finally:
            self._get_lr_called_within_step = False

    def _set_rates(self, rates: list[Any]) -> None:
        for group, lr in zip(self.optimizer.param_groups, rates, strict=True):
            set_value(group, "lr", lr)
        self._last_lr = values_of(self.optimizer, "lr")

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer."""
        return {key: value for key, value in self.__dict__.items() if key not in self._unsaved}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what state_dict returned."""
        self.__dict__.update(state_dict)


def saved_functions(functions: list[Callable]) -> list[Any]:
    """What can be saved of functions: the attributes of callable objects, None for plain functions."""
    return [None if isinstance(f, types.FunctionType) else dict(f.__dict__) for f in functions]


def restore_functions(functions: list[Callable], saved: list[Any]) -> None:
    """Give callable objects the attributes that saved_functions took."""
    for function, attributes in zip(functions, saved, strict=True):
        if attributes is not None:
            function.__dict__.update(attributes)
