"""PyTorch's `_utils`: many tensors as one long one and back, and what saved tensors are made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from lazygrad.errors import ArgumentError
from lazygrad.serialization.rebuild import (
    rebuild_parameter as _rebuild_parameter,
)
from lazygrad.serialization.rebuild import (
    rebuild_tensor as _rebuild_tensor,
)
from lazygrad.serialization.rebuild import (
    rebuild_tensor_v2 as _rebuild_tensor_v2,
)
from lazygrad.serialization.rebuild import (
    rebuild_tensor_v3 as _rebuild_tensor_v3,
)
from lazygrad.tensors.core import FUNCTIONS, Tensor

__all__ = [
    "_flatten_dense_tensors",
    "_rebuild_parameter",
    "_rebuild_tensor",
    "_rebuild_tensor_v2",
    "_rebuild_tensor_v3",
    "_reorder_tensors_as",
    "_take_tensors",
    "_unflatten_dense_tensors",
]


def _flatten_dense_tensors(tensors: Sequence[Tensor]) -> Tensor:
    """All elements of tensors of one dtype as one new 1-d tensor; ArgumentError where there are none."""
    if not tensors:
        raise ArgumentError("[_flatten_dense_tensors] there is no tensor to lay out: pass at least one")
    return FUNCTIONS["cat"]([x.reshape(-1) for x in tensors])


def _unflatten_dense_tensors(flat: Tensor, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Views of `flat` one after the other, in the shapes of `tensors`; ShapeError where it is too short."""
    parts, start = [], 0
    for like in tensors:
        parts.append(flat.narrow(0, start, like.numel()).view(like.shape))
        start += like.numel()
    return tuple(parts)


def _take_tensors(tensors: Iterable[Tensor], size_limit: int) -> Iterator[list[Tensor]]:
    """Lists of tensors of one dtype and device, of `size_limit` bytes together at most, or of one tensor."""
    waiting: dict[str, list[Tensor]] = {}
    sizes: dict[str, int] = {}
    for x in tensors:
        key, size = x.type(), x.numel() * x.element_size()
        if waiting.get(key) and 0 < sizes[key] and sizes[key] + size > size_limit:
            yield waiting[key]
            waiting[key], sizes[key] = [], 0
        waiting.setdefault(key, []).append(x)
        sizes[key] = sizes.get(key, 0) + size
    yield from waiting.values()


def _reorder_tensors_as(tensors: Iterable[Tensor], ordered_tensors: Iterable[Tensor]) -> tuple[Any, ...]:
    """The tensors in the order in which `ordered_tensors` have their types."""
    by_type: dict[str, list[Tensor]] = {}
    for x in tensors:
        by_type.setdefault(x.type(), []).append(x)
    rows = {key: iter(values) for key, values in by_type.items()}
    return tuple(next(rows[like.type()]) for like in ordered_tensors)
