"""Tensors whose dimensions stand in memory in an order of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lazygrad.errors import ShapeError
from lazygrad.helpers import product
from lazygrad.tensors.core import Tensor, creator, method
from lazygrad.tensors.creation import full
from lazygrad.tensors.movement import as_strided


@creator("empty_strided")
def empty_strided(
    size: Sequence[int], stride: Sequence[int], *, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:
    """A tensor of these sizes and strides over a storage of its own; zeros."""
    if len(size) != len(stride):
        raise ShapeError(
            f"[empty_strided] dimensionality of sizes ({len(size)}) must match strides ({len(stride)})"
        )
    if any(n < 0 for n in size):
        raise ShapeError(f"[empty_strided] cannot create a tensor with a negative dimension: {list(size)}")
    count = 1 + sum((n - 1) * s for n, s in zip(size, stride, strict=True)) if product(size) else 0
    made = as_strided(full((count,), 0.0, dtype=dtype, device=device), size, stride, 0)
    return made.requires_grad_() if requires_grad else made


@creator("empty_permuted")
def empty_permuted(
    size: Sequence[int], physical_layout: Sequence[int], *, requires_grad: bool = False, **options: Any
) -> Tensor:
    """A tensor of these sizes whose dimensions stand in memory in another order; zeros."""
    if sorted(physical_layout) != list(range(len(size))):
        raise ShapeError(f"[empty_permuted] physical_layout must name each of the {len(size)} dimensions "
                         f"once, got {tuple(physical_layout)}")
    strides, step = [0] * len(size), 1
    for axis in reversed(list(physical_layout)):
        strides[axis], step = step, step * size[axis]
    return empty_strided(size, strides, requires_grad=requires_grad, **options)


@method("new_empty_strided")
def new_empty_strided(
    x: Tensor, size: Sequence[int], stride: Sequence[int], dtype: Any = None, device: Any = None,
    **options: Any,
) -> Tensor:
    """`empty_strided` of this tensor's type and device."""
    where = x.device if device is None else device
    return empty_strided(size, stride, dtype=dtype or x._dtype, device=where, **options)


@method("dim_order")
def dim_order(x: Tensor, *, ambiguity_check: Any = False) -> tuple[int, ...]:
    """The dimensions from the one with the longest strides to that with the shortest."""
    return tuple(sorted(range(x.ndim), key=lambda i: -x.stride(i)))
