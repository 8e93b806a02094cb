"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any

from lazygrad.errors import ArgumentError
from lazygrad.optim.optimizer import ElementwiseOptimizer, Numbers, decayed, is_set, kept_or_zeros
from lazygrad.optim.settings import checked_settings, negative, rest
from lazygrad.optim.term import Term
from lazygrad.tensors import Tensor


def _one(dampening: Any) -> float:
    return 1.0


class SGD(ElementwiseOptimizer):
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
        self, param: Term, grad: Term, state: dict[str, Any], group: dict[str, Any], number: Numbers[Term]
    ) -> Term:
        """One step; the state holds `momentum_buffer` where there is momentum."""
        grad = decayed(param, grad, group, number)
        if is_set(group, "momentum"):
            # the first gradient is taken as it is
            weight = number.of(group, "dampening", _one if state.get("momentum_buffer") is None else rest)
            before = kept_or_zeros(state, "momentum_buffer", grad)
            # and in a differentiable step as a number
            fresh = grad.detach() if self._differentiable and state.get("momentum_buffer") is None else grad
            buffer = state["momentum_buffer"] = before * number.of(group, "momentum") + weight * fresh
            grad = grad + number.of(group, "momentum") * buffer if group["nesterov"] else buffer
        return param + number.of(group, "lr", negative) * grad
