"""Copies with a part replaced: the out-of-place forms of writing to a view."""

from __future__ import annotations

from typing import Any

from lazygrad.errors import AxisError, ShapeError
from lazygrad.tensors.axes import axis_of, sizes_of
from lazygrad.tensors.core import Tensor, function, method, storage_of
from lazygrad.tensors.grad_fn import as_operation
from lazygrad.tensors.movement import as_strided, diagonal, select
from lazygrad.tensors.reduction import sum_


def _replaced(name: str, input: Tensor, made: Tensor, part: Tensor, src: Tensor) -> Tensor:
    """`made` after `src` has been written to `part`, a view of it."""
    if part.shape != src.shape:
        raise ShapeError(f"[{name}] expected src to have a size equal to the slice of self. src size = "
                         f"{list(src.shape)}, slice size = {list(part.shape)}")
    part.copy_(src)
    return as_operation(made, name, input, src)


@function("slice_scatter")
def slice_scatter(input: Tensor, src: Tensor, dim: int = 0, start: int | None = None, end: int | None = None,
                  step: int = 1) -> Tensor:
    """input with src in place of input[start:end:step] along a dimension."""
    if not input.ndim:
        raise AxisError("[slice_scatter] slice_scatter() cannot be applied to a 0-dim tensor.")
    axis = axis_of("slice_scatter", dim, input.ndim)
    made = input.clone()
    index = [slice(None)] * axis + [slice(start, end, step)]
    return _replaced("slice_scatter", input, made, made[tuple(index)], src)


@function("select_scatter")
def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """input with src in place of the elements at one index along a dimension."""
    made = input.clone()
    return _replaced("select_scatter", input, made, select(made, dim, index), src)


@function("diagonal_scatter")
def diagonal_scatter(input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """input with src in place of a diagonal."""
    made = input.clone()
    return _replaced("diagonal_scatter", input, made, diagonal(made, offset, dim1, dim2), src)


@function("as_strided_scatter")
def as_strided_scatter(input: Tensor, src: Tensor, size: Any, stride: Any, storage_offset: int | None = None
                       ) -> Tensor:
    """input with src in place of what as_strided shows, in a copy with input's strides."""
    storage = storage_of(input).clone()
    made = as_strided(storage, input._shape, input.stride(), input._offset)
    part = as_strided(storage, size, stride, input._offset if storage_offset is None else storage_offset)
    return _replaced("as_strided_scatter", input, made, part, src)


@method("sum_to_size")
def sum_to_size(input: Tensor, *sizes: Any, size: Any = None) -> Tensor:
    """The sums that undo a broadcast: input summed to a shape that could be broadcast to its own."""
    shape = sizes_of("sum_to_size", sizes, size)
    if not shape:
        return sum_(input)
    lead = input.ndim - len(shape)
    if lead < 0 or any(n not in (1, m) for n, m in zip(shape, input.shape[lead:], strict=True)):
        raise ShapeError(f"[sum_to_size] size {list(shape)} is not expandable to size {list(input.shape)}.")
    dims = [*range(lead), *(lead + i for i, n in enumerate(shape) if n == 1 and input.shape[lead + i] != 1)]
    return sum_(input, dims, keepdim=True).reshape(shape) if dims else input
