"""Windows under the names of torch.signal.windows: (M,) numbers each; `sym=False`: a period of M steps."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lazygrad import dtypes
from lazygrad.errors import ArgumentError, ArgumentTypeError
from lazygrad.missing import LAYOUTS
from lazygrad.tensors import Tensor
from lazygrad.tensors.signatures import check_all
from lazygrad.tensors.window_functions import Curve, cosines, triangle, window
from lazygrad.tensors.window_functions import kaiser as kaiser_curve

strided = LAYOUTS["strided"]


def _made(name: str, M: int, sym: bool, curve: Curve, dtype: Any, device: Any, requires_grad: bool) -> Tensor:
    if dtype not in (None, dtypes.float32, dtypes.float64):
        raise ArgumentError(f"[{name}] {name} expects float32 or float64 dtypes, got: {dtype!r}")
    return window(name, M, not sym, curve, dtype, device, requires_grad)


def _check(name: str, condition: bool, what: str) -> None:
    if not condition:
        raise ArgumentError(f"[{name}] {what}")


def bartlett(M: int, *, sym: bool = True, dtype: Any = None, layout: Any = strided, device: Any = None,
             requires_grad: bool = False) -> Tensor:
    """A triangle from 0 to 1 and back."""
    return _made("bartlett", M, sym, triangle, dtype, device, requires_grad)


def cosine(M: int, *, sym: bool = True, dtype: Any = None, layout: Any = strided, device: Any = None,
           requires_grad: bool = False) -> Tensor:
    """Half a period of a sine."""
    def values(k: np.ndarray, n: int) -> np.ndarray:
        return np.sin(np.pi * (k + 0.5) / (n + 1))

    return _made("cosine", M, sym, values, dtype, device, requires_grad)


def exponential(M: int, *, center: float | None = None, tau: float = 1.0, sym: bool = True, dtype: Any = None,
                layout: Any = strided, device: Any = None, requires_grad: bool = False) -> Tensor:
    """exp(-|k - center| / tau)."""
    _check("exponential", tau > 0, f"Tau must be positive, got: {tau} instead.")
    _check("exponential", not sym or center is None, "Center must be None for symmetric windows")

    def values(k: np.ndarray, n: int) -> np.ndarray:
        return np.exp(-np.abs(k - (n / 2 if center is None else center)) / tau)

    return _made("exponential", M, sym, values, dtype, device, requires_grad)


def gaussian(M: int, *, std: float = 1.0, sym: bool = True, dtype: Any = None, layout: Any = strided,
             device: Any = None, requires_grad: bool = False) -> Tensor:
    """exp(-(k - middle)^2 / (2 std^2))."""
    _check("gaussian", std > 0, f"Standard deviation must be positive, got: {std} instead.")

    def values(k: np.ndarray, n: int) -> np.ndarray:
        return np.exp(-(((k - n / 2) / (std * math.sqrt(2))) ** 2))

    return _made("gaussian", M, sym, values, dtype, device, requires_grad)


def kaiser(M: int, *, beta: float = 12.0, sym: bool = True, dtype: Any = None, layout: Any = strided,
           device: Any = None, requires_grad: bool = False) -> Tensor:
    """Kaiser's window: i0(beta sqrt(1 - r^2)) / i0(beta), r from -1 to 1."""
    _check("kaiser", beta >= 0, f"beta must be non-negative, got: {beta} instead.")
    return _made("kaiser", M, sym, kaiser_curve(beta), dtype, device, requires_grad)


def general_cosine(M: int, *, a: Sequence[float], sym: bool = True, dtype: Any = None, layout: Any = strided,
                   device: Any = None, requires_grad: bool = False) -> Tensor:
    """a[0] - a[1] cos t + a[2] cos 2t - ..., t over a period."""
    if not isinstance(a, Sequence):
        raise ArgumentTypeError(f"[general_cosine] Coefficients must be a list/tuple, not {type(a).__name__}")
    _check("general_cosine", bool(a), "Coefficients cannot be empty")
    return _made("general_cosine", M, sym, cosines(a), dtype, device, requires_grad)


def _with_options(window: Any) -> Any:
    """A window whose `**options` are those that all windows have, and which says so when it is inspected."""
    shown = inspect.signature(window)
    own = [p for p in shown.parameters.values() if p.kind is not p.VAR_KEYWORD]
    options = [inspect.signature(general_cosine).parameters[n] for n in _OPTIONS]
    window.__signature__ = shown.replace(parameters=own + options)
    return window


_OPTIONS = "sym dtype layout device requires_grad".split()


@_with_options
def general_hamming(M: int, *, alpha: float = 0.54, **options: Any) -> Tensor:
    """alpha - (1 - alpha) cos t."""
    return general_cosine(M, a=[alpha, 1 - alpha], **options)


@_with_options
def hamming(M: int, **options: Any) -> Tensor:
    """Hamming's window."""
    return general_hamming(M, **options)


@_with_options
def hann(M: int, **options: Any) -> Tensor:
    """Hann's window."""
    return general_hamming(M, alpha=0.5, **options)


@_with_options
def blackman(M: int, **options: Any) -> Tensor:
    """Blackman's window."""
    return general_cosine(M, a=[0.42, 0.5, 0.08], **options)


@_with_options
def nuttall(M: int, **options: Any) -> Tensor:
    """Nuttall's window of least sidelobes."""
    return general_cosine(M, a=[0.3635819, 0.4891775, 0.1365995, 0.0106411], **options)


check_all(globals())
