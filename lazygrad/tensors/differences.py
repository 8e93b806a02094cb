"""`gradient`: estimates of derivatives from neighbouring samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lazygrad import ops
from lazygrad.errors import ArgumentError, ArgumentTypeError, ShapeError
from lazygrad.tensors.axes import axis_of
from lazygrad.tensors.core import Tensor, apply, function
from lazygrad.tensors.movement import narrow, reshape
from lazygrad.tensors.scans import diff

Weights = tuple[Any, Any, Any]


def _middle(p: Any, q: Any) -> Weights:
    """Weights of three neighbours for the derivative at the middle one, with steps p and q between."""
    return -q / (p * (p + q)), (q - p) / (p * q), p / (q * (p + q))


def _first(p: Any, q: Any) -> Weights:
    """The same for the derivative at the first of the three."""
    return -(2.0 * p + q) / (p * (p + q)), (p + q) / (p * q), -p / (q * (p + q))


def _last(p: Any, q: Any) -> Weights:
    """The same for the derivative at the last of the three."""
    return q / (p * (p + q)), -(p + q) / (p * q), (2.0 * q + p) / (q * (p + q))


def _along(x: Tensor, axis: int, spacing: Any, edge_order: int) -> Tensor:
    """The estimates along one dimension."""
    size = x.shape[axis]

    def part(start: int, length: int) -> Tensor:
        return narrow(x, axis, start, length)

    def weighted(weights: Weights, start: int, length: int) -> Tensor:
        a, b, c = weights
        return a * part(start, length) + b * part(start + 1, length) + c * part(start + 2, length)

    if isinstance(spacing, Tensor):
        steps, shape = diff(spacing, 1, 0), [1] * x.ndim
        shape[axis] = size - 2
        p, q = (reshape(narrow(steps, 0, start, size - 2), shape) for start in (0, 1))
        center, before, after = weighted(_middle(p, q), 0, size - 2), steps[0], steps[-1]
    else:
        center, before, after = (part(2, size - 2) - part(0, size - 2)) / (2 * spacing), spacing, spacing
    if edge_order == 1:
        ends = (part(1, 1) - part(0, 1)) / before, (part(size - 1, 1) - part(size - 2, 1)) / after
    else:
        pairs = ((steps[0], steps[1]), (steps[-2], steps[-1])) if isinstance(spacing, Tensor) else (
            (spacing, spacing),) * 2
        ends = weighted(_first(*pairs[0]), 0, 1), weighted(_last(*pairs[1]), size - 3, 1)
    return apply("gradient", lambda *n: ops.cat(*n, arg=axis), ends[0], center, ends[1])


@function("gradient")
def gradient(input: Tensor, *, spacing: Any = 1, dim: Any = None, edge_order: int = 1) -> tuple[Tensor, ...]:
    """Estimates of the derivatives of sampled values along each dimension, or those of `dim`: central
    differences, at the edges one-sided ones of order 1 or 2. `spacing` is the distance of samples, a number
    or one for each dimension, or the coordinates along each dimension as tensors. Each result has input's
    shape, and is real where input is of whole numbers.
    Raises ArgumentError, or ShapeError where a dimension has fewer than edge_order + 1 samples."""
    if input._dtype.name == "uint8":
        raise ArgumentError("[gradient] torch.gradient does not support uint8 input.")
    several = isinstance(dim, Sequence)
    dims = list(range(input.ndim)) if dim is None else list(dim) if several else [dim]
    if isinstance(spacing, Tensor) and not spacing.ndim:
        spacing = spacing.item()
    elif spacing is None:
        spacing = 1
    if isinstance(spacing, str) or not isinstance(spacing, Sequence | int | float | complex):
        raise ArgumentTypeError("[gradient] spacing must be a number, or a list of numbers or of tensors, "
                                f"one for each dimension, not {type(spacing).__name__}")
    given = list(spacing) if isinstance(spacing, Sequence) else [spacing] * len(dims)
    if len(given) != len(dims):
        raise ArgumentError(
            "[gradient] torch.gradient expected spacing to be unspecified, a scalar, or a list of the length "
            f"of its dimensions, which is {len(dims)}, but got a list of length {len(given)}")
    if edge_order not in (1, 2):
        raise ArgumentError("[gradient] torch.gradient only supports edge_order=1 and edge_order=2, "
                                   f"not {edge_order}")
    axes = [axis_of("gradient", d, input.ndim) for d in dims]
    if len(set(axes)) != len(axes):
        raise ArgumentError(f"[gradient] a dim appears multiple times in the list {tuple(dims)}")
    for axis, distance in zip(axes, given, strict=True):
        size = input.shape[axis] if input.ndim else 0
        if size < edge_order + 1:
            raise ShapeError("[gradient] torch.gradient expected each dimension size to be at least "
                             f"edge_order+1, {edge_order + 1}, but dimension {axis} has {size}")
        if isinstance(distance, Tensor) and tuple(distance.shape) != (size,):
            raise ShapeError(f"[gradient] the coordinates of dimension {axis} must have the shape ({size},), "
                             f"not {tuple(distance.shape)}")
    return tuple(_along(input, a, s, edge_order) for a, s in zip(axes, given, strict=True))
