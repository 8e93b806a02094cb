"""Distances between all rows, and vectors of length one."""

from __future__ import annotations

import lazygrad
from lazygrad.errors import ArgumentError, ShapeError
from lazygrad.tensors import Tensor
from lazygrad.tensors.grad_fn import one_operation


def normalize(input: Tensor, p: float = 2.0, dim: int | tuple[int, ...] = 1, eps: float = 1e-12) -> Tensor:
    """Divide by the p-norm along `dim`, or by eps if that is larger."""
    return input / input.norm(p, dim, keepdim=True).clamp(min=eps)


@one_operation("pdist")
def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """The p-norm distances between all pairs of rows i < j of a (N, M) tensor: (N * (N - 1) / 2,)."""
    if input.ndim != 2:
        raise ShapeError(f"[pdist] pdist only supports 2D tensors, (N, M), got shape {tuple(input.shape)}")
    if p < 0:
        raise ArgumentError(f"[pdist] pdist only supports non-negative p values, got {p}")
    first, second = lazygrad.triu_indices(input.shape[0], input.shape[0], 1, device=input.device)
    return (input[first] - input[second]).norm(p, -1)
