"""Images of bytes in another size, bit for bit as PyTorch makes them: whole weights of 16 bits, one axis
after the other, each rounded to bytes."""

from __future__ import annotations

import functools

import numpy as np

from lazygrad import dtypes
from lazygrad.compositions.resampling import step_of
from lazygrad.tensors.core import Tensor
from lazygrad.tensors.creation import tensor

_MOST_SHIFT = 22


def _cubic(d: np.ndarray, a: float) -> np.ndarray:
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = (((d - 5) * d + 8) * d - 4) * a
    return np.where(d < 1, near, np.where(d < 2, far, 0.0))


def _triangle(d: np.ndarray) -> np.ndarray:
    return np.maximum(1 - d, 0.0)


def _filtered(length: int, size: int, step: float, cubic: bool) -> tuple[np.ndarray, np.ndarray]:
    """Places and weights (size, taps) of a filter as wide as an output element."""
    widen = max(step, 1.0)
    reach = (2.0 if cubic else 1.0) * widen
    centre = step * (np.arange(size)[:, None] + 0.5)
    low = np.maximum((centre - reach + 0.5).astype(np.int64), 0)
    high = np.minimum((centre + reach + 0.5).astype(np.int64), length)
    places = low + np.arange(max(int((high - low).max()), 1))
    distance = np.abs((places - centre + 0.5) / widen)
    weights = np.where(places < high, _cubic(distance, -0.5) if cubic else _triangle(distance), 0.0)
    return np.minimum(places, length - 1), weights / weights.sum(1, keepdims=True)


def _between(length: int, size: int, step: float, align: bool, cubic: bool) -> tuple[np.ndarray, np.ndarray]:
    """Places and weights (size, taps) of the two or four nearest elements; edges are repeated."""
    row = np.arange(size, dtype=np.float64)
    at = step * row if align else step * (row + 0.5) - 0.5
    at = at if align or cubic else np.maximum(at, 0.0)
    first = np.minimum(np.floor(at).astype(np.int64), length - 1)[:, None]
    part = np.clip(at[:, None] - first, 0.0, 1.0)
    taps = np.arange(-1, 3) if cubic else np.arange(2)
    distance = np.abs(taps - part)
    weights = _cubic(distance, -0.75) if cubic else _triangle(distance)
    places = np.clip(first + taps, 0, length - 1)
    for tap in range(1, len(taps)):  # what falls on one element counts there once, as one weight
        same = places[:, tap] == places[:, tap - 1]
        weights[same, tap] += weights[same, tap - 1]
        weights[same, tap - 1] = 0.0
    return places, weights


@functools.lru_cache(maxsize=64)
def _whole_weights(length: int, size: int, scale: float | None, align: bool, cubic: bool, antialias: bool
                   ) -> tuple[np.ndarray, np.ndarray, int]:
    """Places, weights as whole numbers, and the bits by which sums of them are too large."""
    step = step_of(length, size, scale, align)
    places, weights = (
        _filtered(length, size, step, cubic) if antialias else _between(length, size, step, align, cubic)
    )
    shift = 0
    while shift < _MOST_SHIFT and int(0.5 + weights.max() * (1 << (shift + 1))) < 1 << 15:
        shift += 1
    whole = np.trunc(weights * (1 << shift) + np.where(weights < 0, -0.5, 0.5))
    return places, whole.astype(np.int32), shift


def resized_bytes(x: Tensor, sizes: tuple[int, ...], scales: tuple[float | None, ...], align: bool,
                  cubic: bool, antialias: bool) -> Tensor:
    """A uint8 tensor (..., height, width) in another size, the width first; `cubic` or linear."""
    for axis in (-1, -2):
        length, size = x._shape[axis], sizes[axis]
        places, weights, shift = _whole_weights(length, size, scales[axis], align, cubic, antialias)
        rows = x.movedim(axis, -1).to(dtypes.int32)
        taken = rows.index_select(-1, tensor(places.reshape(-1), device=x.device))
        taken = taken.reshape(*rows._shape[:-1], *places.shape)
        total = (taken * tensor(weights, device=x.device)).sum(-1, dtype=dtypes.int32) + (1 << (shift - 1))
        x = (total >> shift).clamp(0, 255).to(dtypes.uint8).movedim(-1, axis)
    return x
