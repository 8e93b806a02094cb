"""Schedules that follow one formula: by steps, linear, polynomial, exponential, cosine, or a function of the
user's."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from lazygrad.errors import ArgumentError, ArgumentTypeError
from lazygrad.optim.lr_scheduler.base import LRScheduler, restore_functions, saved_functions
from lazygrad.optim.optimizer import Optimizer

Rate = Callable[[int], float]


class _FunctionLR(LRScheduler):
    def __init__(self, optimizer: Optimizer, lr_lambda: Rate | list[Rate], last_epoch: int = -1) -> None:
        groups = len(optimizer.param_groups)
        if not isinstance(lr_lambda, list | tuple):
            self.lr_lambdas = [lr_lambda] * groups
        elif len(lr_lambda) != groups:
            raise ArgumentError(f"[{type(self).__name__}] Expected {groups} lr_lambdas, but got "
                                f"{len(lr_lambda)}")
        else:
            self.lr_lambdas = list(lr_lambda)
        for function in self.lr_lambdas:
            if not callable(function):
                raise ArgumentTypeError(f"[{type(self).__name__}] lr_lambda should be a function, but got "
                                        f"{type(function).__name__}")
        super().__init__(optimizer, last_epoch)

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer and plain functions."""
        state = super().state_dict()
        state.pop("lr_lambdas")
        return {**state, "lr_lambdas": saved_functions(self.lr_lambdas)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what state_dict returned; the functions stay."""
        state = dict(state_dict)
        restore_functions(self.lr_lambdas, state.pop("lr_lambdas"))
        super().load_state_dict(state)


class LambdaLR(_FunctionLR):
    """The initial rate times lr_lambda(epoch); one function for all groups or one for each."""

    def get_lr(self) -> list[Any]:
        """The rates at `last_epoch`."""
        return [base * f(self.last_epoch) for f, base in zip(self.lr_lambdas, self.base_lrs, strict=True)]


class MultiplicativeLR(_FunctionLR):
    """The rate before times lr_lambda(epoch)."""

    def get_lr(self) -> list[Any]:
        """The rates at `last_epoch`."""
        groups = self.optimizer.param_groups
        if self._is_initial:
            return [group["lr"] for group in groups]
        return [group["lr"] * f(self.last_epoch) for f, group in zip(self.lr_lambdas, groups, strict=True)]


class StepLR(LRScheduler):
    """Times gamma every step_size epochs."""

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def next_lr(self, group: dict[str, Any], base_lr: float) -> float:
        """The rate at `last_epoch`."""
        drop = self.last_epoch != 0 and self.last_epoch % self.step_size == 0
        return group["lr"] * self.gamma if drop else group["lr"]

    def lr_at(self, epoch: int, base_lr: float) -> float:
        """The rate at any epoch."""
        return base_lr * self.gamma ** (epoch // self.step_size)


class MultiStepLR(LRScheduler):
    """Times gamma at each milestone."""

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones, self.gamma = Counter(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def next_lr(self, group: dict[str, Any], base_lr: float) -> float:
        """The rate at `last_epoch`."""
        times = self.milestones[self.last_epoch]
        return group["lr"] * self.gamma**times if times else group["lr"]

    def lr_at(self, epoch: int, base_lr: float) -> float:
        """The rate at any epoch."""
        return base_lr * self.gamma ** bisect_right(sorted(self.milestones.elements()), epoch)


class ConstantLR(LRScheduler):
    """Times `factor` for the first total_iters epochs."""

    def __init__(
        self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1
    ) -> None:
        if not 0 <= factor <= 1:
            raise ArgumentError("[ConstantLR] Constant multiplicative factor expected to be between 0 and 1.")
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def next_lr(self, group: dict[str, Any], base_lr: float) -> float:
        """The rate at `last_epoch`."""
        if self.last_epoch == 0:
            return group["lr"] * self.factor
        return group["lr"] * (1.0 / self.factor) if self.last_epoch == self.total_iters else group["lr"]

    def lr_at(self, epoch: int, base_lr: float) -> float:
        """The rate at any epoch."""
        return base_lr * (self.factor + (epoch >= self.total_iters) * (1 - self.factor))


class LinearLR(LRScheduler):
    """A factor that goes from start_factor to end_factor in total_iters epochs."""

    def __init__(self, optimizer: Optimizer, start_factor: float = 1.0 / 3, end_factor: float = 1.0,
                 total_iters: int = 5, last_epoch: int = -1) -> None:
        if not 0 < start_factor <= 1:
            raise ArgumentError(
                "[LinearLR] Starting multiplicative factor expected to be greater than 0 and less or "
                "equal to 1."
            )
        if not 0 <= end_factor <= 1:
            raise ArgumentError("[LinearLR] Ending multiplicative factor expected to be between 0 and 1.")
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch)

    def next_lr(self, group: dict[str, Any], base_lr: float) -> float:
        """The rate at `last_epoch`."""
        if self.last_epoch == 0:
            return group["lr"] * self.start_factor
        if self._is_initial or self.last_epoch > self.total_iters:
            return group["lr"]
        rise = self.end_factor - self.start_factor
        return group["lr"] * (
            1.0 + rise / (self.total_iters * self.start_factor + (self.last_epoch - 1) * rise)
        )

    def lr_at(self, epoch: int, base_lr: float) -> float:
        """The rate at any epoch."""
        part = min(self.total_iters, epoch) / self.total_iters
        return base_lr * (self.start_factor + (self.end_factor - self.start_factor) * part)


class ExponentialLR(LRScheduler):
    """Times gamma every epoch."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def next_lr(self, group: dict[str, Any], base_lr: float) -> float:
        """The rate at `last_epoch`."""
        return group["lr"] if self._is_initial else group["lr"] * self.gamma

    def lr_at(self, epoch: int, base_lr: float) -> float:
        """The rate at any epoch."""
        return base_lr * self.gamma**epoch


class PolynomialLR(LRScheduler):
    """The initial rate times (1 - epoch / total_iters) ** power."""

    def __init__(
        self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1
    ) -> None:
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer, last_epoch)

    def next_lr(self, group: dict[str, Any], base_lr: float) -> float:
        """The rate at `last_epoch`."""
        if self._is_initial or self.last_epoch > self.total_iters:
            return group["lr"]
        left = (1.0 - self.last_epoch / self.total_iters) / (1.0 - (self.last_epoch - 1) / self.total_iters)
        return group["lr"] * left**self.power

    def lr_at(self, epoch: int, base_lr: float) -> float:
        """The rate at any epoch."""
        return base_lr * (1.0 - min(self.total_iters, epoch) / self.total_iters) ** self.power


class CosineAnnealingLR(LRScheduler):
    """Half a cosine from the initial rate to eta_min in T_max epochs, and back again after."""

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def next_lr(self, group: dict[str, Any], base_lr: float) -> float:
        """The rate at `last_epoch`."""
        epoch, period, low = self.last_epoch, self.T_max, self.eta_min
        if self._is_initial:
            return group["lr"]
        if self._step_count == 1 and epoch > 0:
            return low + (base_lr - low) * (1 + math.cos(epoch * math.pi / period)) / 2
        if (epoch - 1 - period) % (2 * period) == 0:
            return group["lr"] + (base_lr - low) * (1 - math.cos(math.pi / period)) / 2
        ratio = (1 + math.cos(math.pi * epoch / period)) / (1 + math.cos(math.pi * (epoch - 1) / period))
        return ratio * (group["lr"] - low) + low

    def lr_at(self, epoch: int, base_lr: float) -> float:
        """The rate at any epoch."""
        return self.eta_min + (base_lr - self.eta_min) * (1 + math.cos(math.pi * epoch / self.T_max)) / 2
