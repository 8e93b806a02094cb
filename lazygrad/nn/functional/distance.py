"""Norms, distances and similarities of vectors."""

from __future__ import annotations

import math

import lazygrad
from lazygrad.tensors import Tensor


def vector_norm(x: Tensor, p: float, dim: int | tuple[int, ...], keepdim: bool = False) -> Tensor:
    """The p-norm along `dim`; the derivative of the norm 0 is 0."""
    if p == math.inf:
        return x.abs().amax(dim, keepdim=keepdim)
    if p == -math.inf:
        return x.abs().amin(dim, keepdim=keepdim)
    if p == 0:
        return (x != 0).to(x.dtype).sum(dim, keepdim=keepdim)
    if p == 1:
        return x.abs().sum(dim, keepdim=keepdim)
    total = (x * x if p == 2 else x.abs() ** p).sum(dim, keepdim=keepdim)
    # a root has an infinite derivative at 0: take it of 1 there, then put 0 back
    zero = total == 0
    safe = lazygrad.where(zero, 1.0, total)
    return lazygrad.where(zero, 0.0, safe.sqrt() if p == 2 else safe ** (1.0 / p))


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The p-norm of x1 - x2 + eps along the last axis."""
    return vector_norm(x1 - x2 + eps, p, -1, keepdim)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between x1 and x2 along `dim`; norms below eps count as eps."""
    x1, x2 = lazygrad.broadcast_tensors(x1, x2)
    first = x1 / vector_norm(x1, 2.0, dim, keepdim=True).clamp(min=eps)
    second = x2 / vector_norm(x2, 2.0, dim, keepdim=True).clamp(min=eps)
    return (first * second).sum(dim)


def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """The p-norm distances between all pairs of rows i < j of a (N, M) tensor: (N * (N - 1) / 2,)."""
    count = input.shape[0]
    first = [i for i in range(count) for _ in range(i + 1, count)]
    second = [j for i in range(count) for j in range(i + 1, count)]
    if not first:
        return input.new_zeros(0)
    rows = [input[lazygrad.tensor(index, device=input.device)] for index in (first, second)]
    return vector_norm(rows[0] - rows[1], p, -1)
