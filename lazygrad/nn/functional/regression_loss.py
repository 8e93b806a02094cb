"""Losses against numbers: squared, absolute, Huber, Poisson and Gaussian.

`reduction` is "none", "mean" or "sum"; `size_average` and `reduce` are its old spelling.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable

import lazygrad
from lazygrad.errors import ArgumentError, DTypeError
from lazygrad.nn.functional.classification_loss import chosen_reduction, reduced
from lazygrad.nn.functional.norm import wide
from lazygrad.tensors import Tensor
from lazygrad.tensors.grad_fn import one_operation
from lazygrad.tensors.promotion import check_castable


def promoted(input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Both in the type that they have together, in which bool too can be subtracted."""
    both = lazygrad.result_type(input, target)
    return input.to(both), target.to(both)


def _warn_of_broadcast(input: Tensor, target: Tensor) -> None:
    if tuple(input.shape) != tuple(target.shape):
        warnings.warn(
            f"Using a target size ({target.size()}) that is different to the input size ({input.size()}). "
            "This will likely lead to incorrect results due to broadcasting. "
            "Please ensure they have the same size.",
            stacklevel=3,
        )


@one_operation("mse_loss")
def mse_loss(input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None,
             reduction: str = "mean", weight: Tensor | None = None) -> Tensor:
    """(input - target) ** 2; with `weight`, the mean is a weighted one."""
    reduction = chosen_reduction(reduction, size_average, reduce)
    _warn_of_broadcast(input, target)
    input, target = promoted(input, target)
    difference = input - target
    return _weighted(difference * difference, weight, reduction)


def _weighted(loss: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    if weight is None:
        return reduced(loss, reduction)
    loss = loss * weight
    return loss.sum() / weight.expand_as(loss).sum() if reduction == "mean" else reduced(loss, reduction)


def l1_loss(input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None,
            reduction: str = "mean", weight: Tensor | None = None) -> Tensor:
    """|input - target|."""
    reduction = chosen_reduction(reduction, size_average, reduce)
    _warn_of_broadcast(input, target)
    return _weighted((input - target).abs(), weight, reduction)


@one_operation("SmoothL1LossBackward0")
def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """d * d / (2 * beta) where d = |input - target| is below beta, else d - beta / 2."""
    if beta < 0:
        raise ArgumentError(f"[smooth_l1_loss] smooth_l1_loss does not support negative values for beta, "
                            f"got {beta}")
    if beta == 0:
        return l1_loss(input, target, size_average, reduce, reduction)
    reduction = chosen_reduction(reduction, size_average, reduce)
    _warn_of_broadcast(input, target)
    input, target = promoted(input, target)
    distance = (wide(input) - wide(target)).abs()
    far = distance >= beta
    near = lazygrad.where(far, 0, distance)  # the derivative of an infinite square is NaN
    loss = lazygrad.where(far, distance - 0.5 * beta, 0.5 * near * near / beta)
    return reduced(loss, reduction).to(lazygrad.result_type(input, target))


@one_operation("huber_loss")
def huber_loss(input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0,
               weight: Tensor | None = None) -> Tensor:
    """d * d / 2 where d = |input - target| is below delta, else delta * (d - delta / 2)."""
    reduction = chosen_reduction(reduction, None, None)
    if delta <= 0:
        raise ArgumentError(
            f"[huber_loss] huber_loss does not support non-positive values for delta, got {delta}"
        )
    _warn_of_broadcast(input, target)
    kept = input.dtype
    input, target = promoted(input, target)
    check_castable("huber_loss", input.dtype, kept)
    distance = (wide(input) - wide(target)).abs()
    far = distance >= delta
    near = lazygrad.where(far, 0, distance)  # the derivative of an infinite square is NaN
    loss = lazygrad.where(far, delta * (distance - 0.5 * delta), 0.5 * near * near)
    return _weighted(loss, weight, reduction).to(kept)


def poisson_nll_loss(input: Tensor, target: Tensor, log_input: bool = True, full: bool = False,
                     size_average: bool | None = None, eps: float = 1e-8, reduce: bool | None = None,
                     reduction: str = "mean") -> Tensor:
    """Minus the log likelihood of counts under a Poisson rate (`log_input`: its logarithm).

    `full` adds Stirling's approximation of the constant term.
    """
    reduction = chosen_reduction(reduction, size_average, reduce)
    if full and target.dtype is lazygrad.bool:
        raise DTypeError("[poisson_nll_loss] a bool target is not supported with full=True: convert it with "
                         ".int()")
    loss = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        large = target > 1
        safe = lazygrad.where(large, target, 1.0)
        loss = loss + lazygrad.where(large, safe * safe.log() - safe + 0.5 * (2 * math.pi * safe).log(), 0.0)
    return reduced(loss, reduction)


def _unlike(sizes: Iterable[int], others: Iterable[int]) -> list[int]:
    """The sizes that are not those of another shape."""
    return [size for size, other in zip(sizes, others, strict=True) if size != other]


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """Minus the log likelihood of `target` under normal distributions with mean `input` and variance `var`.

    `var` has the input's shape, or lacks its last axis, or has size 1 along one axis. ValueError for a
    negative `var`.
    """
    reduction = chosen_reduction(reduction, None, None)
    variance: Tensor = var if isinstance(var, Tensor) else lazygrad.full_like(input, var)
    shape = tuple(input.shape)
    if tuple(variance.shape) != shape:
        if tuple(variance.shape) == shape[:-1]:
            variance = variance.unsqueeze(-1)
        elif variance.ndim != len(shape) or sum(_unlike(variance.shape, shape)) != 1:
            raise ArgumentError("[gaussian_nll_loss] var is of incorrect size")
    if bool((variance < 0).any()):
        raise ArgumentError("[gaussian_nll_loss] var has negative entry/entries")
    check_castable("gaussian_nll_loss", lazygrad.get_default_dtype(), variance.dtype)  # eps may become one
    # the lower bound of the variance passes the gradient as if it were not there
    bounded = variance + (variance.clamp(min=eps) - variance).detach()
    difference = input - target
    loss = 0.5 * (bounded.log() + difference * difference / bounded)
    return reduced(loss + 0.5 * math.log(2 * math.pi) if full else loss, reduction)
