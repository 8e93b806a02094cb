"""`Place`: where random numbers go, and in which order a place is filled.

PyTorch fills the elements of a tensor in the order of memory: the dimension with the smallest stride runs
fastest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lazygrad.graph import Shape
from lazygrad.helpers import product
from lazygrad.tensors.core import Tensor


@dataclass(frozen=True)
class Place:
    """A shape on a device. `order`: its dimensions, the one that runs fastest last; None where that is their
    own order. `dense`: whether the elements stand in memory one after the other, in the order of
    dimensions."""

    shape: Shape
    device: str
    order: tuple[int, ...] | None = None
    dense: bool = True

    @property
    def count(self) -> int:
        """How many elements."""
        return product(self.shape)

    def arranged(self, values: np.ndarray, copies: tuple[int, ...]) -> np.ndarray:
        """Values in the order of drawing as (*copies, *shape)."""
        if self.order is None:
            return values.reshape((*copies, *self.shape))
        first = len(copies)
        drawn = values.reshape((*copies, *(self.shape[i] for i in self.order)))
        back = np.argsort(self.order) + first
        return np.ascontiguousarray(drawn.transpose(*range(first), *back.tolist()))


def place_of(x: Tensor) -> Place:
    """A tensor's own elements, to be filled in place."""
    return Place(tuple(x._shape), x.cell.device, _order(x._shape, x.stride()), x.is_contiguous())


def place_like(x: Tensor, device: str | None = None) -> Place:
    """A new tensor that is laid out as x is, without gaps."""
    order = _order(x._shape, x.stride())
    return Place(tuple(x._shape), x.cell.device if device is None else device, order, order is None)


def _order(shape: Sequence[int], strides: Sequence[int]) -> tuple[int, ...] | None:
    """Dimensions by falling strides, by insertion: one of stride 0 goes nowhere and nothing passes it for its
    sake. None where all stay where they are."""
    order: list[int] = []
    for i, stride in enumerate(strides):
        at = len(order)
        for place in range(len(order) - 1, -1, -1):
            before = order[place]
            if shape[before] == 1 or shape[i] == 1 or 0 in (stride, strides[before]):
                continue
            if strides[before] >= stride:
                break
            at = place
        order.insert(at, i)
    return None if order == list(range(len(order))) else tuple(order)
