"""Short-time Fourier transforms in real numbers: the real and imaginary parts of a spectrum as the last
dimension, of size 2. They are products with the matrices of cosines and sines."""

from __future__ import annotations

import math

import numpy as np

from lazygrad.errors import ArgumentError, DTypeError, ShapeError
from lazygrad.missing import NO_COMPLEX, refuse
from lazygrad.tensors.convolution import fold
from lazygrad.tensors.core import Tensor, function
from lazygrad.tensors.creation import full, tensor
from lazygrad.tensors.joining import cat
from lazygrad.tensors.linear import matmul
from lazygrad.tensors.movement import unfold
from lazygrad.tensors.resizing import pad

_PAIRS = f"{NO_COMPLEX}. return_complex=False gives both as the last dimension, of size 2"


def _window(
    name: str, x: Tensor, n_fft: int, hop_length: int | None, win_length: int | None, window: Tensor | None
) -> tuple[int, Tensor]:
    """(hop, window of n_fft numbers). Raises ArgumentError where they do not fit."""
    hop = n_fft // 4 if hop_length is None else hop_length
    length = n_fft if win_length is None else win_length
    if n_fft <= 0:
        raise ArgumentError(f"[{name}] expected 0 < n_fft, but got n_fft={n_fft}")
    if hop <= 0:
        raise ArgumentError(f"[{name}] expected hop_length > 0, but got hop_length={hop}")
    if not 0 < length <= n_fft:
        raise ArgumentError(f"[{name}] expected 0 < win_length <= n_fft, but got win_length={length}")
    if window is None:
        window = full((length,), 1.0, dtype=x._dtype, device=x.device)
    elif tuple(window._shape) != (length,):
        raise ShapeError(
            f"[{name}] expected a 1D window tensor of size equal to win_length={length}, but got "
            f"{tuple(window._shape)}"
        )
    left = (n_fft - length) // 2
    return hop, pad(window, (left, n_fft - length - left)) if length < n_fft else window


def _waves(n_fft: int, count: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """cos and sin of 2 pi k n / n_fft: (n_fft, count) each."""
    turns = np.outer(np.arange(n_fft), np.arange(count)) % n_fft * (2 * math.pi / n_fft)
    cosines, sines = (
        tensor(values, dtype=like._dtype, device=like.device) for values in (np.cos(turns), np.sin(turns))
    )
    return cosines, sines


@function("stft")
def stft(
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,
) -> Tensor:
    """The spectra of overlapping windows of signals (length,) or (batch, length), with
    `return_complex=False`: (batch, frequencies, windows, 2). Raises UnsupportedError for return_complex=True.
    """
    if return_complex is None:
        raise ArgumentError(
            "[stft] stft requires the return_complex parameter be given for real inputs: return_complex=False"
        )
    if return_complex:
        refuse("stft", _PAIRS)
    if not input.is_floating_point():
        raise DTypeError(f"[stft] expected a tensor of floating point values, got {input._dtype!r}")
    if input.ndim not in (1, 2):
        raise ShapeError(f"[stft] expected a 1D or 2D tensor, got {tuple(input._shape)}")
    hop, weights = _window("stft", input, n_fft, hop_length, win_length, window)
    x = input if input.ndim == 2 else input.unsqueeze(0)
    if center:
        x = pad(x.unsqueeze(1), (n_fft // 2, n_fft // 2), mode=pad_mode).squeeze(1)
    if n_fft > x._shape[-1]:
        raise ArgumentError(f"[stft] expected 0 < n_fft <= {x._shape[-1]}, but got n_fft={n_fft}")
    count = n_fft // 2 + 1 if onesided is None or onesided else n_fft
    frames = unfold(x, -1, n_fft, hop) * weights
    cosines, sines = _waves(n_fft, count, frames)
    parts = [matmul(frames, waves).transpose(-1, -2).unsqueeze(-1) for waves in (cosines, -sines)]
    spectrum = cat(parts, -1)
    spectrum = spectrum / math.sqrt(n_fft) if normalized else spectrum
    return spectrum if input.ndim == 2 else spectrum.squeeze(0)


@function("istft")
def istft(
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> Tensor:
    """The signals of spectra (batch, frequencies, windows, 2), made by `stft(..., return_complex=False)`:
    (batch, length). Raises ArgumentError where the windows leave places of the signal without weight.
    """
    if return_complex:
        refuse("istft", _PAIRS)
    if input.ndim not in (3, 4) or input._shape[-1] != 2:
        raise ShapeError(
            "[istft] expected spectra (frequencies, windows, 2) or (batch, frequencies, windows, 2) with "
            f"real and imaginary parts last, got {tuple(input._shape)}"
        )
    hop, weights = _window("istft", input, n_fft, hop_length, win_length, window)
    x = input if input.ndim == 4 else input.unsqueeze(0)
    half = n_fft // 2 + 1
    is_half = x._shape[1] != n_fft if onesided is None else onesided
    count = half if is_half else n_fft
    if x._shape[1] != count:
        raise ShapeError(f"[istft] expected {count} frequencies for n_fft={n_fft}, got {x._shape[1]}")
    cosines, sines = _waves(n_fft, count, x)
    if is_half:  # the others are the conjugates of those between the first and the middle one
        twice = np.full(count, 2.0)
        twice[0] = 1.0
        twice[-1] = 1.0 if n_fft % 2 == 0 else twice[-1]
        share = tensor(twice, dtype=x._dtype, device=x.device)
        cosines, sines = cosines * share, sines * share
    real, imaginary = (x.select(-1, i).transpose(-1, -2) for i in (0, 1))
    frames = (matmul(real, cosines.t()) - matmul(imaginary, sines.t())) / n_fft
    frames = frames * math.sqrt(n_fft) if normalized else frames
    windows = x._shape[2]
    size = n_fft + hop * (windows - 1)

    def added(columns: Tensor) -> Tensor:
        return fold(columns, (1, size), (1, n_fft), stride=(1, hop)).reshape(columns._shape[0], size)

    signal = added((frames * weights).transpose(-1, -2))
    weight = added((weights * weights).reshape(1, -1, 1).expand(1, n_fft, windows))
    start = n_fft // 2 if center else 0
    end = size - start if length is None else min(start + length, size)
    signal, weight = signal[:, start:end], weight[:, start:end]
    if bool((weight.abs() < 1e-11).any()):
        raise ArgumentError("[istft] window overlap add min: 0, some places have no weight")
    signal = signal / weight
    if length is not None and length > end - start:
        signal = pad(signal, (0, length - (end - start)))
    return signal if input.ndim == 4 else signal.squeeze(0)
