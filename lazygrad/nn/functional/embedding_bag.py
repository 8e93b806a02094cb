"""Sums, means and maxima of rows of a table."""

from __future__ import annotations

import math
from typing import Any

import lazygrad
from lazygrad.errors import ArgumentError
from lazygrad.nn.functional.embedding import embedding
from lazygrad.tensors import Tensor


def _check(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None,
    mode: str,
    scale_grad_by_freq: bool,
    sparse: bool,
    per_sample_weights: Tensor | None,
) -> None:
    if per_sample_weights is not None and input.shape != per_sample_weights.shape:
        raise ArgumentError(
            f"[embedding_bag] embedding_bag: If per_sample_weights ({per_sample_weights.shape}) is "
            f"not None, then it must have the same shape as the input ({input.shape})"
        )
    if weight.ndim != 2:
        raise ArgumentError(
            f"[embedding_bag] weight has to be a 2D Tensor, but got Tensor of dimension {weight.ndim}"
        )
    if input.ndim not in (1, 2):
        raise ArgumentError(
            f"[embedding_bag] input has to be 1D or 2D Tensor, but got Tensor of dimension {input.ndim}"
        )
    if input.ndim == 2 and offsets is not None:
        raise ArgumentError(
            "[embedding_bag] if input is 2D, then offsets has to be None, as input is treated is a "
            f"mini-batch of fixed length sequences. However, found offsets of type {type(offsets)}"
        )
    if input.ndim == 1 and (offsets is None or offsets.ndim != 1):
        raise ArgumentError(
            "[embedding_bag] offsets has to be a 1D Tensor" + (" but got None" if offsets is None else "")
        )
    if mode not in ("sum", "mean", "max"):
        raise ArgumentError("[embedding_bag] mode has to be one of sum, mean or max")
    if mode == "max" and (scale_grad_by_freq or sparse):
        raise ArgumentError(
            "[embedding_bag] max mode does not support scaling the gradient by the frequency, nor "
            "sparse weights"
        )
    if per_sample_weights is not None and mode != "sum":
        raise ArgumentError(
            "[embedding_bag] per_sample_weights was not None. per_sample_weights is only "
            f"supported for mode='sum' (got mode='{mode}')."
        )


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """The sum, mean or maximum over each bag of rows of `weight`: (bags, size).

    input (bags, rows), or (n,) with `offsets` (bags,), where bags begin (`include_last_offset`: and the last
    ends). Rows `padding_idx` count for nothing; empty bags are 0. `per_sample_weights` scale rows of sums.
    """
    _check(input, weight, offsets, mode, scale_grad_by_freq, sparse, per_sample_weights)
    rows = embedding(input, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.unsqueeze(-1)
    counted: Any = lazygrad.ones(input.shape, dtype=lazygrad.bool, device=input.device)
    if padding_idx is not None:
        counted = input != padding_idx % weight.shape[0]
    if offsets is not None:
        bag, inside, bags = bag_of_each(input.shape[0], offsets, include_last_offset)
        counted = counted & inside
    rows = rows.masked_fill(~counted.unsqueeze(-1), -math.inf if mode == "max" else 0.0)
    if offsets is None:
        return _of_rows(rows, counted, mode)
    if not bags:
        return rows[:0]
    shape, where = (bags, weight.shape[1]), bag.unsqueeze(1).expand(rows.shape)
    if mode == "max":
        found = rows.new_full(shape, -math.inf).scatter_reduce(0, where, rows, "amax", include_self=True)
        return found.masked_fill(found.detach() == -math.inf, 0.0)
    total = rows.new_zeros(shape).scatter_add(0, where, rows)
    if mode == "sum":
        return total
    counts = rows.new_zeros(bags).scatter_add(0, bag, counted.to(rows.dtype))
    return total / counts.clamp(min=1).unsqueeze(1)


def bag_of_each(count: int, offsets: Tensor, include_last_offset: bool) -> tuple[Tensor, Tensor, int]:
    """Which bag each of `count` rows is in, whether it comes before the end of the last one, each (count,),
    and the number of bags."""
    places = lazygrad.arange(count, dtype=offsets.dtype, device=offsets.device)
    if not include_last_offset:
        starts, inside = offsets, lazygrad.ones_like(places, dtype=lazygrad.bool)
    elif offsets.shape[0]:
        starts, inside = offsets[:-1], places < offsets[-1]
    else:
        raise ArgumentError("[embedding_bag] include_last_offset: number of offset should be at least 1")
    return lazygrad.searchsorted(starts, places, right=True) - 1, inside, starts.shape[0]


def _of_rows(rows: Tensor, counted: Tensor, mode: str) -> Tensor:
    """Bags of equal numbers of rows (bags, rows, size)."""
    if mode == "max":
        if not rows.shape[1]:
            return rows.sum(1)
        found = rows.max(1)[0]
        return found.masked_fill(found.detach() == -math.inf, 0.0)
    total = rows.sum(1)
    return total if mode == "sum" else total / counted.sum(1, keepdim=True).clamp(min=1).to(rows.dtype)
