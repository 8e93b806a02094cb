"""Adafactor and Muon: steps for matrices, by the sizes of their rows and columns, or made orthogonal."""

from __future__ import annotations

import math
from typing import Any

import lazygrad
from lazygrad.errors import ArgumentError
from lazygrad.optim.optimizer import Numbers, ParameterwiseOptimizer, is_set, kept_or_zeros, next_step
from lazygrad.optim.settings import plain, settings
from lazygrad.tensors import Tensor


def _at_least(name: str, value: Any, least: float, words: str) -> None:
    if not plain(value) >= least:
        raise ArgumentError(f"[optimizer] {words.format(name)} should be >= {least:g} but is: {value}")


class Adafactor(ParameterwiseOptimizer):
    """Adafactor (Shazeer and Stern, 2018): the squares of a matrix's gradient kept as a row and a column."""

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        found = settings(locals())
        _at_least("Learning rate", lr, 0, "{}")
        _at_least("epsilon1", 0.0 if eps[0] is None else eps[0], 0, "{}")
        _at_least("epsilon2", eps[1], 0, "{}")
        _at_least("d", d, 1, "Clipping threshold {}")
        _at_least("weight_decay", weight_decay, 0, "{}")
        if beta2_decay > 0:
            raise ArgumentError(f"[optimizer] beta2_decay should be <= 0 but is: {beta2_decay}")
        super().__init__(params, found)

    def update(
        self, param: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any], number: Numbers
    ) -> Tensor:
        """One step; the state holds `step` and, for matrices, `row_var` and `col_var`, else `variance`."""

        def numbers() -> tuple[float, ...]:
            step, lr = next_step(state), plain(group["lr"])
            return step ** group["beta2_decay"], min(lr, 1 / step**0.5), 1 - lr * group["weight_decay"]

        weight, rate, keep = number.all(numbers)
        least = lazygrad.finfo(param.dtype).eps if group["eps"][0] is None else group["eps"][0]
        alpha = (param.norm(2) / number(param.numel() ** 0.5)).maximum(number(group["eps"][1])) * rate
        param = param * keep if is_set(group, "weight_decay") else param
        if grad.ndim > 1:
            sides = {}
            for key, axis in (("row_var", -1), ("col_var", -2)):
                mean = (grad * grad).mean(axis, keepdim=True)
                before = kept_or_zeros(state, key, mean)
                sides[key] = state[key] = before + weight * (mean - before)
            rows = sides["row_var"]
            square = rows.matmul(sides["col_var"]) / rows.mean(-2, keepdim=True).clamp(min=least)
        else:
            before = kept_or_zeros(state, "variance", grad)
            square = state["variance"] = before + weight * (grad * grad - before)
        change = square.clamp(min=least * least).rsqrt() * grad
        size = change.norm(2) / number(change.numel() ** 0.5 * group["d"])
        return param - change * (alpha / size.maximum(number(1.0)))


def _orthogonalized(grad: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """A matrix near the orthogonal one with grad's singular vectors, in bfloat16 (Newton and Schulz)."""
    a, b, c = coefficients
    x = grad.to(lazygrad.bfloat16)
    tall = grad.shape[0] > grad.shape[1]
    x = x.mT if tall else x
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x.matmul(x.mT)
        x = lazygrad.addmm(x, lazygrad.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class Muon(ParameterwiseOptimizer):
    """Momentum orthogonalized (Jordan, 2024), for matrices only."""

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        found = settings(locals())
        _at_least("Learning rate", lr, 0, "{}")
        _at_least("momentum", momentum, 0, "{}")
        _at_least("weight decay", weight_decay, 0, "{}")
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ArgumentError(f"[optimizer] Adjust learning rate function {adjust_lr_fn} is not supported")
        if ns_steps >= 100:
            raise ArgumentError(
                "[optimizer] Number of steps must be less than 100 for computational efficiency"
            )
        super().__init__(params, found)
        for group in self.param_groups:
            for p in group["params"]:
                if p.ndim != 2:
                    raise ArgumentError(
                        "[optimizer] Muon only supports 2D parameters whereas we found a parameter "
                        f"with size: {p.size()}"
                    )

    def update(
        self, param: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any], number: Numbers
    ) -> Tensor:
        """One step; the state holds `momentum_buffer`."""
        rows, columns = param.shape
        ratio = (
            0.2 * math.sqrt(max(rows, columns))
            if group["adjust_lr_fn"] == "match_rms_adamw"
            else math.sqrt(max(1, rows / columns))
        )

        def numbers() -> tuple[float, ...]:
            lr = plain(group["lr"])
            return 1 - group["momentum"], group["momentum"], 1 - lr * group["weight_decay"], lr * ratio

        weight, momentum, keep, rate = number.all(numbers)
        before = kept_or_zeros(state, "momentum_buffer", grad)
        mean = state["momentum_buffer"] = before + weight * (grad - before)
        change = grad + momentum * (mean - grad) if group["nesterov"] else mean
        change = _orthogonalized(change, group["ns_coefficients"], group["ns_steps"], group["eps"])
        return param * keep - change.to(param.dtype) * rate
