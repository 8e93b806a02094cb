"""Gradients cut to a norm or to a range, in place."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from types import GeneratorType
from typing import Any

import lazygrad
from lazygrad.errors import GradientError
from lazygrad.tensors import Tensor
from lazygrad.tensors.signatures import check_all

Tensors = Tensor | Iterable[Tensor]


def _listed(tensors: Tensors) -> list[Tensor]:
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def _gradients(parameters: Tensors) -> list[Tensor]:
    return [p.grad for p in _listed(parameters) if p.grad is not None]


@lazygrad.no_grad()
def get_total_norm(
    tensors: Tensors,
    norm_type: Any = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The norm of all tensors' elements together, 0-d on the first one's device.

    RuntimeError for NaN and infinity with `error_if_nonfinite`, which reads the norm. `foreach` is accepted:
    the compiler decides how kernels are formed.
    """
    given, norm_type = _listed(tensors), float(norm_type)
    if not given:
        return lazygrad.tensor(0.0)
    total = lazygrad.stack([t.norm(norm_type).to(given[0].device) for t in given]).norm(norm_type)
    if error_if_nonfinite and not math.isfinite(total.item()):
        raise GradientError(
            f"[get_total_norm] The total norm of order {norm_type} for gradients from `parameters` is "
            "non-finite, so it cannot be clipped. To disable this error and scale the gradients by the "
            "non-finite norm anyway, set `error_if_nonfinite=False`"
        )
    return total


@lazygrad.no_grad()
def clip_grads_with_norm_(
    parameters: Tensors, max_norm: Any, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Scale gradients, in place, by max_norm / total_norm where that is less than 1."""
    scale = (float(max_norm) / (total_norm + 1e-6)).clamp(max=1.0)
    for grad in _gradients(parameters):
        grad.mul_(scale.to(grad.device))


def clip_grad_norm_(
    parameters: Tensors,
    max_norm: Any,
    norm_type: Any = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale the gradients of parameters, in place, so that their norm is at most max_norm; returns the norm
    that they had."""
    given = _listed(parameters)
    if not given and isinstance(parameters, GeneratorType):
        warnings.warn("`parameters` is an empty generator, no gradient clipping will occur.", stacklevel=2)
    total = get_total_norm(_gradients(given), norm_type, error_if_nonfinite, foreach)
    clip_grads_with_norm_(given, max_norm, total, foreach)
    return total


def clip_grad_norm(
    parameters: Tensors,
    max_norm: Any,
    norm_type: Any = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The old name of clip_grad_norm_."""
    warnings.warn(
        "`torch.nn.utils.clip_grad_norm` is now deprecated in favor of `torch.nn.utils.clip_grad_norm_`.",
        FutureWarning,
        stacklevel=2,
    )
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)


@lazygrad.no_grad()
def clip_grad_value_(parameters: Tensors, clip_value: float, foreach: bool | None = None) -> None:
    """Cut every element of the gradients, in place, to at most clip_value and at least minus it."""
    for grad in _gradients(parameters):
        grad.clamp_(min=-float(clip_value), max=float(clip_value))


check_all(globals())
