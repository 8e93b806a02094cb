"""RMSprop, Adagrad and Adadelta: steps scaled by the size of past gradients."""

from __future__ import annotations

from typing import Any

import lazygrad
from lazygrad.errors import ArgumentError
from lazygrad.optim.optimizer import (
    Numbers,
    ParameterwiseOptimizer,
    checked_settings,
    decayed,
    lerp,
    next_step,
    plain,
)
from lazygrad.tensors import Tensor


def _kept(state: dict[str, Any], key: str, grad: Tensor) -> Tensor:
    """A tensor of the state in the gradient's dtype; zeros at first."""
    return lazygrad.zeros_like(grad) if state.get(key) is None else state[key].to(grad.dtype)


class RMSprop(ParameterwiseOptimizer):
    """Divide gradients by the root of a running mean of their squares (Hinton's lecture), optionally
    centered."""

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(params, checked_settings(locals()))

    def update(
        self, param: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any], number: Numbers
    ) -> Tensor:
        """One step; the state holds `step`, `square_avg` and, if asked for, `momentum_buffer` and
        `grad_avg`."""
        next_step(state)
        alpha, momentum = group["alpha"], plain(group["momentum"])
        grad = decayed(param, grad, group, number)
        square = _kept(state, "square_avg", grad) * number(alpha) + number(1 - alpha) * grad * grad
        state["square_avg"] = square
        if group["centered"]:
            mean = state["grad_avg"] = lerp(_kept(state, "grad_avg", grad), grad, 1 - alpha, number)
            square = square + number(-1.0) * mean * mean
        below = square.sqrt() + number(group["eps"])
        if momentum == 0:
            return param + number(-plain(group["lr"])) * grad / below
        buffer = _kept(state, "momentum_buffer", grad) * number(momentum) + grad / below
        state["momentum_buffer"] = buffer
        return param + number(-plain(group["lr"])) * buffer


class Adagrad(ParameterwiseOptimizer):
    """Divide gradients by the root of the sum of all their squares so far (Duchi et al., 2011)."""

    def __init__(self, params: Any, lr: float | Tensor = 1e-2, lr_decay: float = 0, weight_decay: float = 0,
                 initial_accumulator_value: float = 0, eps: float = 1e-10, foreach: bool | None = None, *,
                 maximize: bool = False, differentiable: bool = False, fused: bool | None = None) -> None:
        super().__init__(params, checked_settings(locals()))
        for group in self.param_groups:
            for param in group["params"]:
                self.state[param]["step"] = lazygrad.tensor(0.0, dtype=lazygrad.float32, device="cpu")
                self.state[param]["sum"] = lazygrad.full_like(param.detach(), initial_accumulator_value)

    def share_memory(self) -> None:
        """Accepted; tensors are not shared between processes."""

    def update(
        self, param: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any], number: Numbers
    ) -> Tensor:
        """One step; the state holds `step` and `sum`."""
        step = next_step(state)
        grad = decayed(param, grad, group, number)
        rate = plain(group["lr"]) / (1 + (step - 1) * group["lr_decay"])
        total = state["sum"] = _kept(state, "sum", grad) + grad * grad
        return param + number(-rate) * grad / (total.sqrt() + number(group["eps"]))


class Adadelta(ParameterwiseOptimizer):
    """Scale gradients by the ratio of past updates to past gradients (Zeiler, 2012)."""

    def __init__(self, params: Any, lr: float | Tensor = 1.0, rho: float = 0.9, eps: float = 1e-6,
                 weight_decay: float = 0, foreach: bool | None = None, *, capturable: bool = False,
                 maximize: bool = False, differentiable: bool = False) -> None:
        if not 0.0 <= rho <= 1.0:
            raise ArgumentError(f"[Adadelta] Invalid rho value: {rho}")
        super().__init__(params, checked_settings(locals()))

    def update(
        self, param: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any], number: Numbers
    ) -> Tensor:
        """One step; the state holds `step`, `square_avg` and `acc_delta`."""
        next_step(state)
        rho, eps = group["rho"], number(group["eps"])
        grad = decayed(param, grad, group, number)
        square = state["square_avg"] = (_kept(state, "square_avg", grad) * number(rho)
                                        + number(1 - rho) * grad * grad)
        updates = _kept(state, "acc_delta", grad)
        delta = (updates + eps).sqrt() / (square + eps).sqrt() * grad
        state["acc_delta"] = updates * number(rho) + number(1 - rho) * delta * delta
        return param + number(-plain(group["lr"])) * delta
