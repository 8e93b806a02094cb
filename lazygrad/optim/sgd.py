"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any

from lazygrad.errors import ArgumentError
from lazygrad.optim.optimizer import (
    Numbers,
    ParameterwiseOptimizer,
    checked_settings,
    decayed,
    is_set,
    negative,
    rest,
)
from lazygrad.tensors import Tensor


class SGD(ParameterwiseOptimizer):
    """param -= lr * gradient, with momentum, Nesterov's form of it, and weight decay.

    `foreach`, `fused` and `differentiable` are accepted: the compiler decides how kernels are formed.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float | Tensor = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ArgumentError("[SGD] Nesterov momentum requires a momentum and zero dampening")
        super().__init__(params, checked_settings(locals()))

    def update(
        self, param: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any], number: Numbers
    ) -> Tensor:
        """One step; the state holds `momentum_buffer` where there is momentum."""
        grad = decayed(param, grad, group, number)
        if is_set(group, "momentum"):
            buffer = state.get("momentum_buffer")
            if buffer is None:
                # a tensor of its own: without decay `grad` may be the parameter's gradient itself
                buffer = grad.clone()
            else:
                buffer = buffer.to(grad.dtype) * number.of(group, "momentum") + (
                    number.of(group, "dampening", rest) * grad)
            state["momentum_buffer"] = buffer
            grad = grad + number.of(group, "momentum") * buffer if group["nesterov"] else buffer
        else:
            state.setdefault("momentum_buffer", None)
        return param + number.of(group, "lr", negative) * grad
