"""Windows for spectra: the curves that they follow, and those under the names of the root."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lazygrad.errors import ArgumentError
from lazygrad.tensors.core import Tensor, creator
from lazygrad.tensors.creation import tensor
from lazygrad.tensors.promotion import get_default_dtype

Curve = Callable[[np.ndarray, int], np.ndarray]  # of places 0, 1, ... and the number of steps in a period


def window(name: str, length: int, periodic: bool, curve: Curve, dtype: Any, device: Any, requires_grad: bool
           ) -> Tensor:
    """(length,) numbers of a curve whose period has as many steps, or one less unless `periodic`; 1 at a
    single place. Raises ArgumentError for a negative length."""
    if length < 0:
        raise ArgumentError(f"[{name}] {name} requires non-negative window length, got {length}")
    steps = length if periodic else length - 1
    values = np.ones(length) if length < 2 else np.broadcast_to(curve(np.arange(length), steps), (length,))
    made = tensor(np.array(values), dtype=dtype or get_default_dtype(), device=device)
    return made.requires_grad_() if requires_grad else made


def cosines(terms: Sequence[float]) -> Curve:
    """terms[0] - terms[1] cos t + terms[2] cos 2t - ..., t over a period."""

    def curve(k: np.ndarray, steps: int) -> np.ndarray:
        return sum((-1) ** i * a * np.cos(2 * np.pi * i * k / steps) for i, a in enumerate(terms))

    return curve


def triangle(k: np.ndarray, steps: int) -> np.ndarray:
    """From 0 to 1 and back."""
    return 1 - np.abs(2 * k / steps - 1)


def kaiser(beta: float) -> Curve:
    """i0(beta sqrt(1 - r^2)) / i0(beta), r from -1 to 1."""

    def curve(k: np.ndarray, steps: int) -> np.ndarray:
        return np.i0(beta * np.sqrt(np.maximum(1 - (2 * k / steps - 1) ** 2, 0))) / np.i0(beta)

    return curve


def _published(name: str, curve: Curve, what: str) -> None:
    def make(window_length: int, periodic: bool = True, *, dtype: Any = None, layout: Any = None,
             device: Any = None, requires_grad: bool = False) -> Tensor:
        return window(name, window_length, periodic, curve, dtype, device, requires_grad)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"{what} of (window_length,) numbers; `periodic`: a period of a longer one, for spectra."
    creator(name)(make)


_published("hann_window", cosines((0.5, 0.5)), "Hann's window")
_published("blackman_window", cosines((0.42, 0.5, 0.08)), "Blackman's window")
_published("bartlett_window", triangle, "A triangle from 0 to 1 and back")


@creator("hamming_window")
def hamming_window(window_length: int, periodic: bool = True, alpha: float = 0.54, beta: float = 0.46, *,
                   dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False
                   ) -> Tensor:
    """alpha - beta cos t, (window_length,) numbers, t over a period."""
    curve = cosines((alpha, beta))
    return window("hamming_window", window_length, periodic, curve, dtype, device, requires_grad)


@creator("kaiser_window")
def kaiser_window(window_length: int, periodic: bool = True, beta: float = 12.0, *, dtype: Any = None,
                  layout: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Kaiser's window of (window_length,) numbers: i0(beta sqrt(1 - r^2)) / i0(beta), r from -1 to 1."""
    return window("kaiser_window", window_length, periodic, kaiser(beta), dtype, device, requires_grad)
