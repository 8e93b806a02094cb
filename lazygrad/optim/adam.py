"""Adam and its relatives: steps scaled by running means of the gradient and of its square."""

from __future__ import annotations

from typing import Any

import lazygrad
from lazygrad.optim.optimizer import (
    Numbers,
    ParameterwiseOptimizer,
    checked_settings,
    decayed,
    lerp,
    next_step,
    plain,
    settings,
)
from lazygrad.tensors import Tensor

Betas = tuple[float | Tensor, float | Tensor]


def _moments(
    grad: Tensor, state: dict[str, Any], beta1: float, beta2: float, number: Numbers
) -> tuple[Tensor, Tensor]:
    """The new running means of the gradient and of its square, kept in the state."""
    mean = state.get("exp_avg")
    mean = lazygrad.zeros_like(grad) if mean is None else mean.to(grad.dtype)
    square = state.get("exp_avg_sq")
    square = lazygrad.zeros_like(grad) if square is None else square.to(grad.dtype)
    state["exp_avg"] = lerp(mean, grad, 1 - beta1, number)
    state["exp_avg_sq"] = square * number(beta2) + number(1 - beta2) * grad * grad
    return state["exp_avg"], state["exp_avg_sq"]


class Adam(ParameterwiseOptimizer):
    """Adam (Kingma and Ba, 2014), with AMSGrad and decoupled weight decay.

    `foreach`, `capturable`, `differentiable` and `fused` are accepted: the compiler decides how kernels are
    formed.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        super().__init__(params, checked_settings(locals()))

    def update(
        self, param: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any], number: Numbers
    ) -> Tensor:
        """One step; the state holds `step`, `exp_avg`, `exp_avg_sq` and, for AMSGrad, `max_exp_avg_sq`."""
        step = next_step(state)
        lr = plain(group["lr"])
        beta1, beta2 = (plain(b) for b in group["betas"])
        if group.get("decoupled_weight_decay"):
            decay = plain(group["weight_decay"])
            param = param * number(1 - lr * decay) if decay != 0 else param
        else:
            grad = decayed(param, grad, group, number)
        mean, square = _moments(grad, state, beta1, beta2, number)
        if group["amsgrad"]:
            largest = state.get("max_exp_avg_sq")
            square = square if largest is None else lazygrad.maximum(largest.to(square.dtype), square)
            state["max_exp_avg_sq"] = square.clone() if largest is None else square
        # corrections in double precision on the host, as PyTorch computes them
        root = (1 - beta2**step) ** 0.5
        below = square.sqrt() / number(root) + number(group["eps"])
        return param + number(-lr / (1 - beta1**step)) * mean / below


class AdamW(Adam):
    """Adam whose weight decay acts on the weights themselves (Loshchilov and Hutter, 2017)."""

    def __init__(self, params: Any, lr: float | Tensor = 1e-3, betas: Betas = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 1e-2, amsgrad: bool = False, *, maximize: bool = False,
                 foreach: bool | None = None, capturable: bool = False, differentiable: bool = False,
                 fused: bool | None = None) -> None:
        super().__init__(params, **settings(locals()), decoupled_weight_decay=True)


class NAdam(ParameterwiseOptimizer):
    """Adam with Nesterov momentum (Dozat, 2016)."""

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 2e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(params, checked_settings(locals()))

    def update(
        self, param: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any], number: Numbers
    ) -> Tensor:
        """One step; the state holds `step`, `mu_product`, `exp_avg` and `exp_avg_sq`."""
        step = next_step(state)
        lr, momentum_decay = plain(group["lr"]), group["momentum_decay"]
        beta1, beta2 = (plain(b) for b in group["betas"])
        decay = plain(group["weight_decay"])
        if group["decoupled_weight_decay"]:
            param = param * number(1 - lr * decay) if decay != 0 else param
        else:
            grad = decayed(param, grad, group, number)
        now = beta1 * (1.0 - 0.5 * 0.96 ** (step * momentum_decay))
        following = beta1 * (1.0 - 0.5 * 0.96 ** ((step + 1) * momentum_decay))
        before = plain(state["mu_product"]) if "mu_product" in state else 1.0
        state["mu_product"] = lazygrad.tensor(before * now, dtype=lazygrad.float32, device="cpu")
        product = plain(state["mu_product"])
        mean, square = _moments(grad, state, beta1, beta2, number)
        below = (square / number(1 - beta2**step)).sqrt() + number(group["eps"])
        param = param + number(-lr * (1.0 - now) / (1.0 - product)) * grad / below
        return param + number(-lr * following / (1.0 - product * following)) * mean / below


class RAdam(ParameterwiseOptimizer):
    """Adam with a rectified adaptive learning rate (Liu et al., 2019)."""

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(params, checked_settings(locals()))

    def update(
        self, param: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any], number: Numbers
    ) -> Tensor:
        """One step; the state holds `step`, `exp_avg` and `exp_avg_sq`."""
        step = next_step(state)
        lr, decay = plain(group["lr"]), plain(group["weight_decay"])
        beta1, beta2 = (plain(b) for b in group["betas"])
        if group["decoupled_weight_decay"]:
            param = param * number(1 - lr * decay) if decay != 0 else param
        else:
            grad = decayed(param, grad, group, number)
        mean, square = _moments(grad, state, beta1, beta2, number)
        correction2 = 1 - beta2**step
        corrected = mean / number(1 - beta1**step)
        longest = 2 / (1 - beta2) - 1
        length = longest - 2 * step * beta2**step / correction2
        if length <= 5.0:
            return param + corrected * number(lr) * number(-1.0)
        rectified = ((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)) ** 0.5
        adaptive = number(correction2**0.5) / (square.sqrt() + number(group["eps"]))
        return param + corrected * number(lr) * adaptive * number(rectified) * number(-1.0)


class Adamax(ParameterwiseOptimizer):
    """Adam with the largest gradient in place of the mean square (Kingma and Ba, 2014)."""

    def __init__(self, params: Any, lr: float | Tensor = 2e-3, betas: Betas = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0, foreach: bool | None = None, *, maximize: bool = False,
                 differentiable: bool = False, capturable: bool = False) -> None:
        super().__init__(params, checked_settings(locals()))

    def update(
        self, param: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any], number: Numbers
    ) -> Tensor:
        """One step; the state holds `step`, `exp_avg` and `exp_inf`."""
        step = next_step(state)
        beta1, beta2 = (plain(b) for b in group["betas"])
        grad = decayed(param, grad, group, number)
        mean, largest = ((lazygrad.zeros_like(grad) if state.get(k) is None else state[k].to(grad.dtype))
                         for k in ("exp_avg", "exp_inf"))
        mean = state["exp_avg"] = lerp(mean, grad, 1 - beta1, number)
        largest = state["exp_inf"] = lazygrad.maximum(
            largest * number(beta2), grad.abs() + number(group["eps"])
        )
        return param + number(-plain(group["lr"]) / (1 - beta1**step)) * mean / largest
