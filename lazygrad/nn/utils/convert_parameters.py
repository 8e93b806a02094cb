"""All parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

import lazygrad
from lazygrad.errors import ArgumentTypeError
from lazygrad.tensors import Tensor
from lazygrad.tensors.signatures import check_all


def _on_one_device(parameters: Iterable[Tensor]) -> list[Tensor]:
    listed = list(parameters)
    if any(p.device != listed[0].device for p in listed):
        raise ArgumentTypeError(
            "[parameters_to_vector] Found two parameters on different devices, this is "
            f"currently not supported: {sorted({str(p.device) for p in listed})}"
        )
    return listed


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """The elements of all parameters one after the other."""
    return lazygrad.cat([p.reshape(-1) for p in _on_one_device(parameters)])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Give the parameters, in order, the elements of a vector; they share its storage."""
    if not isinstance(vec, Tensor):
        raise ArgumentTypeError(
            f"[vector_to_parameters] expected torch.Tensor, but got: {type(vec).__name__}"
        )
    start = 0
    for p in _on_one_device(parameters):
        p.data = vec[start : start + p.numel()].view_as(p).data
        start += p.numel()


check_all(globals())
