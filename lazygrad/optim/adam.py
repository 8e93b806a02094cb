"""Adam and its relatives: steps scaled by running means of the gradient and of its square."""

from __future__ import annotations

from typing import Any

import lazygrad
from lazygrad.errors import ArgumentError
from lazygrad.optim.optimizer import (
    ElementwiseOptimizer,
    Numbers,
    ParameterwiseOptimizer,
    Value,
    decayed,
    is_set,
    keep_number,
    kept_or_zeros,
    lerp,
    next_step,
)
from lazygrad.optim.settings import checked_settings, plain, settings
from lazygrad.optim.term import Term
from lazygrad.tensors import Tensor

Betas = tuple[float | Tensor, float | Tensor]


def _first(betas: Any) -> float:
    return plain(betas[0])


def _second(betas: Any) -> float:
    return plain(betas[1])


def _rest_of_first(betas: Any) -> float:
    return 1 - plain(betas[0])


def _rest_of_second(betas: Any) -> float:
    return 1 - plain(betas[1])


def _is_slow(betas: Any) -> bool:
    return 1 - plain(betas[0]) < 0.5


def _mean(mean: Value, grad: Value, group: dict[str, Any], number: Numbers[Value]) -> Value:
    """The next running mean of the gradient."""
    weight, keep = number.of(group, "betas", _rest_of_first), number.of(group, "betas", _first)
    return lerp(mean, grad, weight, keep, is_set(group, "betas", _is_slow))


def _moments(
    grad: Value, state: dict[str, Any], group: dict[str, Any], number: Numbers[Value]
) -> tuple[Value, Value]:
    """The new running means of the gradient and of its square, kept in the state."""
    mean, square = (kept_or_zeros(state, key, grad) for key in ("exp_avg", "exp_avg_sq"))
    state["exp_avg"] = _mean(mean, grad, group, number)
    beta2, weight = number.of(group, "betas", _second), number.of(group, "betas", _rest_of_second)
    state["exp_avg_sq"] = square * beta2 + weight * grad * grad
    return state["exp_avg"], state["exp_avg_sq"]


def _penalized(
    param: Term, grad: Term, group: dict[str, Any], number: Numbers[Term]
) -> tuple[Term, Term]:
    """Parameter and gradient, of which one has been made smaller by weight decay."""
    if not group.get("decoupled_weight_decay"):
        return param, decayed(param, grad, group, number)
    if not is_set(group, "weight_decay"):
        return param, grad
    (kept,) = number.all(lambda: (1 - plain(group["lr"]) * plain(group["weight_decay"]),))
    return param * kept, grad


class Adam(ElementwiseOptimizer):
    """Adam (Kingma and Ba, 2014), with AMSGrad and decoupled weight decay.

    `foreach`, `capturable`, `differentiable` and `fused` are accepted: the compiler decides how kernels are
    formed.
    """

    order = ("lr betas eps weight_decay amsgrad "
             "maximize foreach capturable differentiable fused decoupled_weight_decay")

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
        found = checked_settings(locals())
        kinds = [isinstance(beta, Tensor) for beta in betas]
        if not all(kinds) and not all(isinstance(beta, float) for beta in betas):
            raise ArgumentError(f"[optimizer] betas must be either both floats or both Tensors: {betas}")
        for name, is_tensor in (("lr", isinstance(lr, Tensor)), ("betas[0]", kinds[0])):
            if is_tensor and foreach and not capturable:
                raise ArgumentError(
                    f"[optimizer] {name} as a Tensor is not supported for capturable=False and foreach=True"
                )
        super().__init__(params, found)

    def update(
        self, param: Term, grad: Term, state: dict[str, Any], group: dict[str, Any], number: Numbers[Term]
    ) -> Term:
        """One step; the state holds `step`, `exp_avg`, `exp_avg_sq` and, for AMSGrad, `max_exp_avg_sq`."""

        def numbers() -> tuple[float, float]:
            # corrections in double precision on the host, as PyTorch computes them
            step, (beta1, beta2) = next_step(state), (plain(b) for b in group["betas"])
            return (1 - beta2**step) ** 0.5, -plain(group["lr"]) / (1 - beta1**step)

        root, rate = number.all(numbers)
        param, grad = _penalized(param, grad, group, number)
        mean, square = _moments(grad, state, group, number)
        if group["amsgrad"]:
            square = kept_or_zeros(state, "max_exp_avg_sq", grad).maximum(square)
            state["max_exp_avg_sq"] = square
        below = square.sqrt() / root + number.of(group, "eps")
        return param + rate * mean / below


class AdamW(Adam):
    """Adam whose weight decay acts on the weights themselves (Loshchilov and Hutter, 2017)."""

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(params, **settings(locals()), decoupled_weight_decay=True)


class NAdam(ElementwiseOptimizer):
    """Adam with Nesterov momentum (Dozat, 2016)."""

    order = ("lr betas eps weight_decay momentum_decay "
             "decoupled_weight_decay maximize foreach capturable differentiable")

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
        self, param: Term, grad: Term, state: dict[str, Any], group: dict[str, Any], number: Numbers[Term]
    ) -> Term:
        """One step; the state holds `step`, `mu_product`, `exp_avg` and `exp_avg_sq`."""

        def numbers() -> tuple[float, float, float]:
            step, lr = next_step(state), plain(group["lr"])
            beta1, beta2 = (plain(b) for b in group["betas"])
            now, following = (
                beta1 * (1.0 - 0.5 * 0.96 ** (n * group["momentum_decay"])) for n in (step, step + 1)
            )
            before = plain(state["mu_product"]) if "mu_product" in state else 1.0
            keep_number(state, "mu_product", before * now)
            product = plain(state["mu_product"])
            return (
                1 - beta2**step,
                -lr * (1.0 - now) / (1.0 - product),
                -lr * following / (1.0 - product * following),
            )

        correction, rate, following_rate = number.all(numbers)
        param, grad = _penalized(param, grad, group, number)
        mean, square = _moments(grad, state, group, number)
        below = (square / correction).sqrt() + number.of(group, "eps")
        return param + rate * grad / below + following_rate * mean / below


class RAdam(ElementwiseOptimizer):
    """Adam with a rectified adaptive learning rate (Liu et al., 2019)."""

    order = "lr betas eps weight_decay maximize foreach capturable decoupled_weight_decay differentiable"

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
        self, param: Term, grad: Term, state: dict[str, Any], group: dict[str, Any], number: Numbers[Term]
    ) -> Term:
        """One step; the state holds `step`, `exp_avg` and `exp_avg_sq`."""

        def numbers() -> tuple[float, float, float, float, float]:
            step, (beta1, beta2) = next_step(state), (plain(b) for b in group["betas"])
            correction2, longest = 1 - beta2**step, 2 / (1 - beta2) - 1
            length = longest - 2 * step * beta2**step / correction2
            ratio = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
            rectified = ratio**0.5 if length > 5.0 else 1.0
            return plain(group["lr"]), 1 - beta1**step, correction2**0.5, rectified, float(length > 5.0)

        lr, correction1, root, rectified, is_long = number.all(numbers)
        param, grad = _penalized(param, grad, group, number)
        mean, square = _moments(grad, state, group, number)
        # the first steps, whose variance is not known yet, are not adapted
        adaptive = (root / (square.sqrt() + number.of(group, "eps"))).where(is_long > 0, number(1.0))
        return param + mean / correction1 * lr * adaptive * rectified * number(-1.0)


class Adamax(ElementwiseOptimizer):
    """Adam with the largest gradient in place of the mean square (Kingma and Ba, 2014)."""

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 2e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        super().__init__(params, checked_settings(locals()))

    def update(
        self, param: Term, grad: Term, state: dict[str, Any], group: dict[str, Any], number: Numbers[Term]
    ) -> Term:
        """One step; the state holds `step`, `exp_avg` and `exp_inf`."""

        def numbers() -> tuple[float]:
            step = next_step(state)
            return (-plain(group["lr"]) / (1 - _first(group["betas"]) ** step),)

        (rate,) = number.all(numbers)
        grad = decayed(param, grad, group, number)
        mean, largest = (kept_or_zeros(state, key, grad) for key in ("exp_avg", "exp_inf"))
        mean = state["exp_avg"] = _mean(mean, grad, group, number)
        size = grad.abs() + number.of(group, "eps")
        largest = state["exp_inf"] = (largest * number.of(group, "betas", _second)).maximum(size)
        return param + rate * mean / largest


class SparseAdam(ParameterwiseOptimizer):
    """Adam for embeddings of which a step names few rows: rows without a gradient, and what is remembered of
    them, stay as they are. Gradients are dense here; a row of zeros counts as one without a gradient."""

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, checked_settings(locals()))

    def update(
        self, param: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any],
        number: Numbers[Tensor]
    ) -> Tensor:
        """One step; the state holds `step`, `exp_avg` and `exp_avg_sq`."""
        before = {key: kept_or_zeros(state, key, grad) for key in ("exp_avg", "exp_avg_sq")}

        def numbers() -> tuple[float]:
            step, (beta1, beta2) = next_step(state), (plain(b) for b in group["betas"])
            return (-plain(group["lr"]) * (1 - beta2**step) ** 0.5 / (1 - beta1**step),)

        (rate,) = number.all(numbers)
        state.update(before)
        mean, square = _moments(grad, state, group, number)
        named = grad != 0
        named = named.flatten(1).any(1).reshape(-1, *[1] * (grad.ndim - 1)) if grad.ndim > 1 else named
        for key, old in before.items():
            state[key] = state[key].where(named, old)
        return lazygrad.where(named, param + rate * mean / (square.sqrt() + number.of(group, "eps")), param)
