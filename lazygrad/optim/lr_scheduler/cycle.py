"""Schedules in cycles: CyclicLR, OneCycleLR, CosineAnnealingWarmRestarts."""

from __future__ import annotations

import math
import types
from collections.abc import Callable
from typing import Any

from lazygrad.errors import ArgumentError
from lazygrad.optim.lr_scheduler.base import LRScheduler, check_optimizer, for_each_group, set_value
from lazygrad.optim.optimizer import Optimizer


def _set_momentum(group: dict[str, Any], momentum: float) -> None:
    if "betas" in group:
        group["betas"] = (momentum, *group["betas"][1:])
    else:
        group["momentum"] = momentum


def _prepare_momentum(
    optimizer: Optimizer, base: Any, largest: Any, last_epoch: int
) -> tuple[list[Any], list[Any]]:
    """Start every group at its largest momentum; returns (base, largest) for each group."""
    if "momentum" not in optimizer.defaults and "betas" not in optimizer.defaults:
        raise ArgumentError("[lr_scheduler] optimizer must support momentum or beta1 with "
                            "`cycle_momentum` option enabled")
    bases = for_each_group("base_momentum", optimizer, base)
    tops = for_each_group("max_momentum", optimizer, largest)
    if last_epoch == -1:
        for group, low, top in zip(optimizer.param_groups, bases, tops, strict=True):
            _set_momentum(group, top)
            group["max_momentum"], group["base_momentum"] = top, low
    return bases, tops


# mode -> (amplitude of a cycle or an iteration, which of the two it counts)
_SCALES: dict[str, tuple[Callable[[float, float], float], str]] = {
    "triangular": (lambda x, gamma: 1.0, "cycle"),
    "triangular2": (lambda x, gamma: 1 / 2.0 ** (x - 1), "cycle"),
    "exp_range": (lambda x, gamma: gamma**x, "iterations"),
}


class CyclicLR(LRScheduler):
    """Up from base_lr to max_lr and down again, over and over (Smith, 2015); step it after every batch."""

    def __init__(self, optimizer: Optimizer, base_lr: Any, max_lr: Any, step_size_up: int = 2000,
                 step_size_down: int | None = None, mode: str = "triangular", gamma: float = 1.0,
                 scale_fn: Callable[[float], float] | None = None, scale_mode: str = "cycle",
                 cycle_momentum: bool = True, base_momentum: float = 0.8, max_momentum: float = 0.9,
                 last_epoch: int = -1) -> None:
        check_optimizer(optimizer)
        base_lrs = for_each_group("base_lr", optimizer, base_lr)
        if last_epoch == -1:
            for lr, group in zip(base_lrs, optimizer.param_groups, strict=True):
                set_value(group, "lr", lr)
        self.max_lrs = for_each_group("max_lr", optimizer, max_lr)
        up = float(step_size_up)
        self.total_size = up + (up if step_size_down is None else float(step_size_down))
        self.step_ratio = up / self.total_size
        if mode not in _SCALES and scale_fn is None:
            raise ArgumentError("[CyclicLR] mode is invalid and scale_fn is None")
        self.mode, self.gamma, self._scale_fn_custom = mode, gamma, scale_fn
        self.scale_mode = scale_mode if scale_fn is not None else _SCALES[mode][1]
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.use_beta1 = "betas" in optimizer.defaults
            self.base_momentums, self.max_momentums = _prepare_momentum(
                optimizer, base_momentum, max_momentum, last_epoch
            )
        super().__init__(optimizer, last_epoch)
        self.base_lrs = base_lrs

    def scale_fn(self, x: float) -> float:
        """The part of the full height in cycle (or iteration) x."""
        return (
            _SCALES[self.mode][0](x, self.gamma)
            if self._scale_fn_custom is None
            else self._scale_fn_custom(x)
        )

    def get_lr(self) -> list[Any]:
        """The rates at `last_epoch`; sets the momentum too."""
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        x = 1.0 + self.last_epoch / self.total_size - cycle
        height = x / self.step_ratio if x <= self.step_ratio else (x - 1) / (self.step_ratio - 1)
        scale = self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.cycle_momentum:
            for group, low, top in zip(
                self.optimizer.param_groups, self.base_momentums, self.max_momentums, strict=True
            ):
                _set_momentum(group, top - (top - low) * height * scale)
        return [
            low + (top - low) * height * scale for low, top in zip(self.base_lrs, self.max_lrs, strict=True)
        ]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer and a plain scale function."""
        state = super().state_dict()
        custom = state.pop("_scale_fn_custom")
        plain_function = custom is None or isinstance(custom, types.FunctionType)
        return {**state, "_scale_fn_custom": None if plain_function else dict(custom.__dict__)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what state_dict returned; the scale function stays."""
        state = dict(state_dict)
        attributes = state.pop("_scale_fn_custom")
        if attributes is not None and self._scale_fn_custom is not None:
            self._scale_fn_custom.__dict__.update(attributes)
        super().load_state_dict(state)


_ANNEAL: dict[str, Callable[[float, float, float], float]] = {
    "cos": lambda start, end, part: end + (start - end) / 2.0 * (math.cos(math.pi * part) + 1),
    "linear": lambda start, end, part: (end - start) * part + start,
}


def _phase(end: float, *settings: str) -> dict[str, Any]:
    """The last step of a phase, and the settings of a group between which rate and momentum go."""
    names = ("start_lr", "end_lr", "start_momentum", "end_momentum")
    return {"end_step": end, **dict(zip(names, settings, strict=True))}


class OneCycleLR(LRScheduler):
    """Up from max_lr / div_factor to max_lr, then down to almost nothing (Smith, 2017); step it after every
    batch."""

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: Any,
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: Any = 0.85,
        max_momentum: Any = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer(optimizer)
        self.total_steps = _total_steps(total_steps, epochs, steps_per_epoch)
        if not isinstance(pct_start, float) or not 0 <= pct_start <= 1:
            raise ArgumentError(f"[OneCycleLR] Expected float between 0 and 1 pct_start, but got {pct_start}")
        if anneal_strategy not in _ANNEAL:
            raise ArgumentError(
                f"[OneCycleLR] anneal_strategy must be one of 'cos' or 'linear', instead got "
                f"{anneal_strategy}"
            )
        rise = float(pct_start * self.total_steps) - 1
        self._schedule_phases = [_phase(rise, "initial_lr", "max_lr", "max_momentum", "base_momentum")]
        if three_phase:
            fall = float(2 * pct_start * self.total_steps) - 2
            self._schedule_phases += [
                _phase(fall, "max_lr", "initial_lr", "base_momentum", "max_momentum"),
                _phase(self.total_steps - 1, "initial_lr", "min_lr", "max_momentum", "max_momentum"),
            ]
        else:
            self._schedule_phases += [
                _phase(self.total_steps - 1, "max_lr", "min_lr", "base_momentum", "max_momentum")
            ]
        self._anneal_func_type = anneal_strategy
        tops = for_each_group("max_lr", optimizer, max_lr)
        if last_epoch == -1:
            for group, top in zip(optimizer.param_groups, tops, strict=True):
                group["initial_lr"], group["max_lr"] = top / div_factor, top
                group["min_lr"] = group["initial_lr"] / final_div_factor
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.use_beta1 = "betas" in optimizer.defaults
            _prepare_momentum(optimizer, base_momentum, max_momentum, last_epoch)
        super().__init__(optimizer, last_epoch)

    def next_lr(self, group: dict[str, Any], base_lr: float) -> float:
        """The rate at `last_epoch`; sets the momentum too. ValueError after the last step."""
        step, start = self.last_epoch, 0.0
        if step > self.total_steps:
            raise ArgumentError(
                f"[OneCycleLR] Tried to step {step} times. The specified number of total steps is "
                f"{self.total_steps}"
            )
        phase = self._schedule_phases[0]
        for phase in self._schedule_phases:
            if step <= phase["end_step"] or phase is self._schedule_phases[-1]:
                break
            start = phase["end_step"]
        part = (step - start) / (phase["end_step"] - start)
        anneal = _ANNEAL[self._anneal_func_type]
        if self.cycle_momentum:
            ends = group[phase["start_momentum"]], group[phase["end_momentum"]]
            _set_momentum(group, anneal(*ends, part))
        return anneal(group[phase["start_lr"]], group[phase["end_lr"]], part)


def _total_steps(total_steps: Any, epochs: Any, steps_per_epoch: Any) -> int:
    if total_steps is None and (epochs is None or steps_per_epoch is None):
        raise ArgumentError("[OneCycleLR] You must define either total_steps OR (epochs AND steps_per_epoch)")
    given = {"total_steps": total_steps} if total_steps is not None else {"epochs": epochs,
                                                                          "steps_per_epoch": steps_per_epoch}
    result = 1
    for name, value in given.items():
        if not isinstance(value, int) or value <= 0:
            raise ArgumentError(f"[OneCycleLR] Expected positive integer {name}, but got {value}")
        result *= value
    return result


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half a cosine from the initial rate to eta_min in T_0 epochs, then again in T_0 * T_mult, and so on."""

    def __init__(self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0,
                 last_epoch: int = -1) -> None:
        if T_0 <= 0 or not isinstance(T_0, int):
            raise ArgumentError(f"[CosineAnnealingWarmRestarts] Expected positive integer T_0, but got {T_0}")
        if T_mult < 1 or not isinstance(T_mult, int):
            raise ArgumentError(f"[CosineAnnealingWarmRestarts] Expected integer T_mult >= 1, but got "
                                f"{T_mult}")
        if not isinstance(eta_min, float | int):
            raise ArgumentError(f"[CosineAnnealingWarmRestarts] Expected float or int eta_min, but got "
                                f"{eta_min} of type {type(eta_min)}")
        self.T_0, self.T_i, self.T_mult, self.eta_min, self.T_cur = (
            T_0,
            T_0,
            T_mult,
            eta_min,
            float(last_epoch),
        )
        super().__init__(optimizer, last_epoch)

    def next_lr(self, group: dict[str, Any], base_lr: float) -> float:
        """The rate at place T_cur of a cycle of T_i epochs."""
        return self.eta_min + (base_lr - self.eta_min) * (1 + math.cos(math.pi * self.T_cur / self.T_i)) / 2

    def step(self, epoch: float | None = None) -> None:
        """Go on to the next epoch, or to any place, such as epoch + batch / batches."""
        if epoch is None and self.last_epoch < 0:
            epoch = 0
        if epoch is None:
            epoch = self.last_epoch + 1
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur %= self.T_i
                self.T_i *= self.T_mult
        elif epoch < 0:
            raise ArgumentError(f"[CosineAnnealingWarmRestarts] Expected non-negative epoch, but got {epoch}")
        else:
            self._place(epoch)
        self._update_lr(math.floor(epoch))

    def _place(self, epoch: float) -> None:
        if epoch < self.T_0:
            self.T_cur, self.T_i = epoch, self.T_0
        elif self.T_mult == 1:
            self.T_cur = epoch % self.T_0
        else:
            cycles = int(math.log(epoch / self.T_0 * (self.T_mult - 1) + 1, self.T_mult))
            self.T_cur = epoch - self.T_0 * (self.T_mult**cycles - 1) / (self.T_mult - 1)
            self.T_i = self.T_0 * self.T_mult**cycles
