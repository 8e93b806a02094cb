"""What optimizers are made with: settings as numbers, and those that are refused."""

from __future__ import annotations

from typing import Any

from lazygrad.errors import ArgumentError, OutOfBoundsError
from lazygrad.tensors import Tensor


def plain(value: Any) -> float:
    """A setting as a Python number; a learning rate may be a 0-d tensor."""
    return value.item() if isinstance(value, Tensor) else value


def negative(value: Any) -> float:
    """Minus a setting."""
    return -plain(value)


def rest(value: Any) -> float:
    """What a setting leaves of 1."""
    return 1 - plain(value)


# settings that may not be negative, in the words of PyTorch's messages
_AT_LEAST_ZERO = {"lr": "learning rate", "eps": "epsilon value"} | {
    name: f"{name} value"
    for name in (
        "lr_decay",
        "momentum",
        "weight_decay",
        "momentum_decay",
        "alpha",
        "initial_accumulator_value",
    )
}


def settings(arguments: dict[str, Any]) -> dict[str, Any]:
    """What an optimizer was made with, all but its parameters: from the `locals()` of its constructor, taken
    before it has others than its arguments. Raises ValueError for a rate of several elements, RuntimeError
    for ways of stepping that exclude each other."""
    found = {name: value for name, value in arguments.items() if name not in ("self", "params", "__class__")}
    if isinstance(found["lr"], Tensor) and found["lr"].numel() != 1:
        raise ArgumentError(f"[optimizer] Tensor lr must be 1-element, it has {found['lr'].numel()}")
    if found.get("fused") and found["differentiable"]:
        raise ArgumentError("[optimizer] `fused` does not support `differentiable`")
    if found.get("fused") and found["foreach"]:
        raise ArgumentError("[optimizer] `fused` and `foreach` cannot be `True` together.")
    return found


def checked_settings(arguments: dict[str, Any]) -> dict[str, Any]:
    """`settings` as the defaults of parameter groups. Raises ValueError, in PyTorch's words, for a negative
    rate and for a beta outside [0, 1)."""
    found = settings(arguments)
    for name, value in found.items():
        if name in _AT_LEAST_ZERO and not plain(value) >= 0.0:
            raise ArgumentError(f"[optimizer] Invalid {_AT_LEAST_ZERO[name]}: {value}")
    if len(found.get("betas", (0, 0))) < 2:
        raise OutOfBoundsError(f"[optimizer] betas must be two numbers, got {found['betas']}")
    for place, beta in enumerate(found.get("betas", ())):
        if not 0.0 <= plain(beta) < 1.0:
            raise ArgumentError(f"[optimizer] Invalid beta parameter at index {place}: {beta}")
    return found
