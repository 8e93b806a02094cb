"""RMSprop, Adagrad and Adadelta: steps scaled by the size of past gradients."""

from __future__ import annotations

from typing import Any

import lazygrad
from lazygrad.errors import ArgumentError
from lazygrad.optim.optimizer import (
    ElementwiseOptimizer,
    Numbers,
    decayed,
    is_set,
    kept_or_zeros,
    lerp,
    next_step,
)
from lazygrad.optim.settings import checked_settings, negative, plain, rest
from lazygrad.optim.term import Term
from lazygrad.tensors import Tensor
from lazygrad.tensors.realization import settle_constant
from lazygrad.tensors.recording import at_each_run


def _is_slow(alpha: Any) -> bool:
    return 1 - alpha < 0.5


class RMSprop(ElementwiseOptimizer):
    """Divide gradients by the root of a running mean of their squares (Hinton's lecture), optionally
    centered."""

    order = "lr momentum alpha eps centered weight_decay capturable foreach maximize differentiable"

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
        self, param: Term, grad: Term, state: dict[str, Any], group: dict[str, Any], number: Numbers[Term]
    ) -> Term:
        """One step; the state holds `step`, `square_avg` and, if asked for, `momentum_buffer` and
        `grad_avg`."""
        at_each_run(lambda: next_step(state))
        alpha, weight = number.of(group, "alpha"), number.of(group, "alpha", rest)
        grad = decayed(param, grad, group, number)
        square = kept_or_zeros(state, "square_avg", grad) * alpha + weight * grad * grad
        state["square_avg"] = square
        if is_set(group, "momentum"):
            state.setdefault("momentum_buffer", None)
        if group["centered"]:
            mean = state["grad_avg"] = lerp(kept_or_zeros(state, "grad_avg", grad), grad, weight, alpha,
                                            is_set(group, "alpha", _is_slow))
            square = square + number(-1.0) * mean * mean
        below, rate = square.sqrt() + number.of(group, "eps"), number.of(group, "lr", negative)
        if not is_set(group, "momentum"):
            return param + rate * grad / below
        buffer = kept_or_zeros(state, "momentum_buffer", grad) * number.of(group, "momentum") + grad / below
        state["momentum_buffer"] = buffer
        return param + rate * buffer


class Adagrad(ElementwiseOptimizer):
    """Divide gradients by the root of the sum of all their squares so far (Duchi et al., 2011)."""

    order = "lr lr_decay eps weight_decay initial_accumulator_value foreach maximize differentiable fused"

    def __init__(self, params: Any, lr: float | Tensor = 1e-2, lr_decay: float = 0, weight_decay: float = 0,
                 initial_accumulator_value: float = 0, eps: float = 1e-10, foreach: bool | None = None, *,
                 maximize: bool = False, differentiable: bool = False, fused: bool | None = None) -> None:
        super().__init__(params, checked_settings(locals()))
        for group in self.param_groups:
            for param in group["params"]:
                self.state[param]["step"] = lazygrad.tensor(0.0, dtype=lazygrad.float32, device="cpu")
                total = lazygrad.full_like(param.detach(), initial_accumulator_value)
                settle_constant(total.cell)
                self.state[param]["sum"] = total

    def share_memory(self) -> None:
        """Accepted; tensors are not shared between processes."""

    def update(
        self, param: Term, grad: Term, state: dict[str, Any], group: dict[str, Any], number: Numbers[Term]
    ) -> Term:
        """One step; the state holds `step` and `sum`."""

        def numbers() -> tuple[float]:
            step = next_step(state)
            return (-plain(group["lr"]) / (1 + (step - 1) * group["lr_decay"]),)

        (rate,) = number.all(numbers)
        grad = decayed(param, grad, group, number)
        total = state["sum"] = kept_or_zeros(state, "sum", grad) + grad * grad
        return param + rate * grad / (total.sqrt() + number.of(group, "eps"))


class Adadelta(ElementwiseOptimizer):
    """Scale gradients by the ratio of past updates to past gradients (Zeiler, 2012)."""

    order = "lr rho eps weight_decay maximize capturable foreach differentiable"

    def __init__(self, params: Any, lr: float | Tensor = 1.0, rho: float = 0.9, eps: float = 1e-6,
                 weight_decay: float = 0, foreach: bool | None = None, *, capturable: bool = False,
                 maximize: bool = False, differentiable: bool = False) -> None:
        if not 0.0 <= rho <= 1.0:
            raise ArgumentError(f"[Adadelta] Invalid rho value: {rho}")
        super().__init__(params, checked_settings(locals()))

    def update(
        self, param: Term, grad: Term, state: dict[str, Any], group: dict[str, Any], number: Numbers[Term]
    ) -> Term:
        """One step; the state holds `step`, `square_avg` and `acc_delta`."""
        at_each_run(lambda: next_step(state))
        rho, weight, eps = number.of(group, "rho"), number.of(group, "rho", rest), number.of(group, "eps")
        grad = decayed(param, grad, group, number)
        square = state["square_avg"] = (kept_or_zeros(state, "square_avg", grad) * rho
                                        + weight * grad * grad)
        updates = kept_or_zeros(state, "acc_delta", grad)
        delta = (updates + eps).sqrt() / (square + eps).sqrt() * grad
        state["acc_delta"] = updates * rho + weight * delta * delta
        return param + number.of(group, "lr", negative) * delta
