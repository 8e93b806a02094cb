"""Values brought to mean 0 and variance 1, or to size 1, over axes."""

from __future__ import annotations

from collections.abc import Sequence

from lazygrad import ops
from lazygrad.compositions import axes
from lazygrad.graph import Node
from lazygrad.helpers import product


def mean(x: Node, over: Sequence[int]) -> Node:
    """The mean over axes, which keep the size 1."""
    shape = tuple([1 if i in over else n for i, n in enumerate(x.shape)])
    total = axes.reshape(ops.sum_(x, arg=tuple(over)), shape)
    return ops.div(total, ops.like(float(product(x.shape[i] for i in over)), total))


def centered(x: Node, over: Sequence[int]) -> Node:
    """x - mean."""
    return ops.sub(x, axes.expand(mean(x, over), x.shape))


def mean_square(x: Node, over: Sequence[int]) -> Node:
    """The mean of squares over axes, which keep the size 1; of what is centered, the biased variance."""
    return mean(ops.mul(x, x), over)


def standardized(x: Node, over: Sequence[int], eps: float) -> Node:
    """x - mean over the root of (biased) variance + eps."""
    return root_mean_square_one(centered(x, over), over, eps)


def root_mean_square_one(x: Node, over: Sequence[int], eps: float) -> Node:
    """x over the root of the mean square + eps (Zhang and Sennrich, Root Mean Square Layer Normalization,
    2019)."""
    square = mean_square(x, over)
    scale = ops.rsqrt(ops.add(square, ops.like(eps, square)))
    return ops.mul(x, axes.expand(scale, x.shape))


def affine(x: Node, weight: Node | None, bias: Node | None) -> Node:
    """x * weight + bias, where they are there; they grow to x's shape and take its type."""
    for row, other in ((ops.mul, weight), (ops.add, bias)):
        if other is not None:
            x = row(x, axes.broadcast(axes.cast(other, x.dtype), x.shape))
    return x
