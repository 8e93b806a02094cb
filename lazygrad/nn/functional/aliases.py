"""Functions under older or longer names of PyTorch's."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import lazygrad
from lazygrad.errors import ShapeError
from lazygrad.tensors import FUNCTIONS, Tensor


def _with_indices(rank: int) -> Callable[..., tuple[Tensor, Tensor]]:
    pool = FUNCTIONS[f"adaptive_max_pool{rank}d"]

    def with_indices(input: Tensor, output_size: Any, return_indices: bool = False) -> tuple[Tensor, Tensor]:
        """The maxima and their places in the flattened plane."""
        return pool(input, output_size, True)

    with_indices.__name__ = f"adaptive_max_pool{rank}d_with_indices"
    return with_indices


adaptive_max_pool1d_with_indices, adaptive_max_pool2d_with_indices, adaptive_max_pool3d_with_indices = (
    _with_indices(rank) for rank in (1, 2, 3)
)


def _older(name: str, instead: str) -> None:
    warnings.warn(
        f"`nn.functional.{name}` is deprecated. Use `nn.functional.{instead}` instead.", stacklevel=3
    )


def upsample_nearest(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """interpolate with mode "nearest"."""
    _older("upsample_nearest", "interpolate")
    return FUNCTIONS["interpolate"](input, size, scale_factor, mode="nearest")


def upsample_bilinear(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """interpolate with mode "bilinear" and aligned corners."""
    _older("upsample_bilinear", "interpolate")
    return FUNCTIONS["interpolate"](input, size, scale_factor, mode="bilinear", align_corners=True)


def native_channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """channel_shuffle."""
    return FUNCTIONS["channel_shuffle"](input, groups)


def conv_tbc(input: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> Tensor:
    """Convolution of (T, N, C) with a weight (width, C, out): (T + 2 pad - width + 1, N, out)."""
    if input.ndim != 3 or weight.ndim != 3:
        raise ShapeError(
            f"[conv_tbc] input and weight must have 3 dims: {tuple(input.shape)}, {tuple(weight.shape)}"
        )
    result = lazygrad.conv1d(input.permute(1, 2, 0), weight.permute(2, 1, 0), bias, padding=pad)
    return result.permute(2, 0, 1)
