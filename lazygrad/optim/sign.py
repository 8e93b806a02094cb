"""Rprop and Lion: steps by the sign of gradients; ASGD: averaged steps."""

from __future__ import annotations

from typing import Any

from lazygrad.errors import ArgumentError
from lazygrad.optim.optimizer import (
    ElementwiseOptimizer,
    Numbers,
    decayed,
    keep_number,
    kept_or_zeros,
    next_step,
)
from lazygrad.optim.settings import checked_settings, plain, settings
from lazygrad.optim.term import Term
from lazygrad.tensors import Tensor
from lazygrad.tensors.recording import at_each_run


class Rprop(ElementwiseOptimizer):
    """Resilient backpropagation (Riedmiller and Braun, 1993): a step of its own for each element, which grows
    while the gradient keeps its sign and shrinks when it changes."""

    order = "lr etas step_sizes foreach maximize differentiable capturable"

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        found = checked_settings(locals())
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ArgumentError(f"[optimizer] Invalid eta values: {etas[0]}, {etas[1]}")
        super().__init__(params, found)

    def update(
        self, param: Term, grad: Term, state: dict[str, Any], group: dict[str, Any], number: Numbers[Term]
    ) -> Term:
        """One step; the state holds `step`, `prev` and `step_size`."""
        at_each_run(lambda: next_step(state))
        minus, plus = number.all(lambda: tuple(group["etas"]))
        least, most, first = number.all(lambda: (*group["step_sizes"], plain(group["lr"])))
        size = kept_or_zeros(state, "step_size", grad)
        size = size if "step_size" in state else size + first
        turn = grad * kept_or_zeros(state, "prev", grad)
        factor = plus.where(turn > 0, minus.where(turn < 0, number(1.0)))
        state.setdefault("prev", None)
        state["step_size"] = size = (size * factor).maximum(least).minimum(most)
        state["prev"] = grad = number(0.0).where(turn < 0, grad)
        return param - grad.sign() * size


class Lion(ElementwiseOptimizer):
    """Steps by the sign of a momentum (Chen et al., Symbolic Discovery of Optimization Algorithms, 2023),
    with the decay of weights beside them. PyTorch has none; the arguments are those of the authors' program.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, checked_settings(locals()))

    def update(
        self, param: Term, grad: Term, state: dict[str, Any], group: dict[str, Any], number: Numbers[Term]
    ) -> Term:
        """One step; the state holds `exp_avg`."""

        def numbers() -> tuple[float, ...]:
            rate, (now, later) = plain(group["lr"]), group["betas"]
            return rate, 1 - rate * group["weight_decay"], now, 1 - now, later, 1 - later

        rate, keep, now, fresh, later, new = number.all(numbers)
        average = kept_or_zeros(state, "exp_avg", grad)
        state["exp_avg"] = average * later + grad * new
        return param * keep - (average * now + grad * fresh).sign() * rate


class ASGD(ElementwiseOptimizer):
    """Averaged stochastic gradient descent (Polyak and Juditsky, 1992): the state's `ax` is the average."""

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        found = settings(locals())
        for name, words in (("lr", "learning rate"), ("weight_decay", "weight_decay value")):
            if not plain(found[name]) >= 0.0:
                raise ArgumentError(f"[optimizer] Invalid {words}: {found[name]}")
        super().__init__(params, found)

    def update(
        self, param: Term, grad: Term, state: dict[str, Any], group: dict[str, Any], number: Numbers[Term]
    ) -> Term:
        """One step; the state holds `step`, `eta`, `mu` and `ax`."""
        grad = decayed(param, grad, group, number)
        before = kept_or_zeros(state, "ax", grad)

        def numbers() -> tuple[float, float, float]:
            lr, step = plain(group["lr"]), next_step(state)
            for key, first in (("eta", lr), ("mu", 1.0)):
                if key not in state:
                    keep_number(state, key, first)
            eta, mu = plain(state["eta"]), plain(state["mu"])
            keep_number(state, "eta", lr / (1 + group["lambd"] * lr * step) ** group["alpha"])
            keep_number(state, "mu", 1 / max(1.0, step - group["t0"]))
            return 1 - group["lambd"] * eta, eta, mu

        keep, rate, weight = number.all(numbers)
        after = param * keep - grad * rate
        # a weight of 1 takes the new value as it is
        state["ax"] = after.where(weight == 1.0, before + (after - before) * weight)
        return after
