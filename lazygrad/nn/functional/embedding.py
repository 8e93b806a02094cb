"""Rows of a table."""

from __future__ import annotations

import lazygrad
from lazygrad.errors import ShapeError
from lazygrad.tensors import Tensor


def embedding(input: Tensor, weight: Tensor, padding_idx: int | None = None, max_norm: float | None = None,
              norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False) -> Tensor:
    """The rows of `weight` (rows, size) named by an integer tensor: (..., size).

    Row `padding_idx` gets no gradient. `max_norm` first shortens the named rows to that norm, in place.
    `scale_grad_by_freq` divides a row's gradient by how often it is named. IndexError for a row that does not
    exist.
    `sparse` is accepted: gradients are dense.
    """
    if weight.ndim != 2:
        raise ShapeError(f"[embedding] 'weight' must be 2-D, (rows, size), got shape {tuple(weight.shape)}")
    rows = weight.shape[0]
    if padding_idx is not None:
        if not -rows <= padding_idx < rows:
            raise ShapeError(f"[embedding] padding_idx {padding_idx} must be within the {rows} rows")
        padding_idx %= rows
    if max_norm is not None:
        _shorten_rows(weight, input, max_norm, norm_type)
    result = lazygrad.embedding(weight, input, -1 if padding_idx is None else padding_idx)
    if not scale_grad_by_freq:
        return result
    share = (1.0 / _counts(weight, input)[input]).unsqueeze(-1).to(weight.dtype)
    # the value of the row with the gradient of a part of it
    return result.detach() + (result - result.detach()) * share


def _counts(weight: Tensor, input: Tensor) -> Tensor:
    """How often each row is named."""
    names = input.reshape(-1).long()
    zeros = lazygrad.zeros(weight.shape[0], device=weight.device)
    return zeros.scatter_add(0, names, lazygrad.ones(names.numel(), device=weight.device))


def _shorten_rows(weight: Tensor, input: Tensor, max_norm: float, norm_type: float) -> None:
    with lazygrad.no_grad():
        norms = weight.detach().norm(norm_type, 1)
        long = (_counts(weight, input) > 0) & (norms > max_norm)
        factor = lazygrad.where(long, max_norm / (norms + 1e-7), 1.0)
        weight.copy_(weight * factor.unsqueeze(1).to(weight.dtype))
