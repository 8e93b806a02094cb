"""Functions that move elements between channels and space."""

from __future__ import annotations

from lazygrad.errors import ShapeError
from lazygrad.tensors import Tensor


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(..., C * r * r, H, W) to (..., C, H * r, W * r)."""
    r = upscale_factor
    if input.ndim < 3 or r <= 0 or input.shape[-3] % (r * r):
        raise ShapeError(f"[pixel_shuffle] pixel_shuffle expects its input's 'channel' dimension to be divisible by the "
                         f"square of upscale_factor, but input {tuple(input.shape)} and upscale_factor={r}")
    *lead, channels, height, width = input.shape
    n = len(lead)
    parts = input.reshape(*lead, channels // (r * r), r, r, height, width)
    moved = parts.permute(*range(n), n, n + 3, n + 1, n + 4, n + 2)
    return moved.reshape(*lead, channels // (r * r), height * r, width * r)


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """(..., C, H * r, W * r) to (..., C * r * r, H, W)."""
    r = downscale_factor
    if input.ndim < 3 or r <= 0 or input.shape[-2] % r or input.shape[-1] % r:
        raise ShapeError(f"[pixel_unshuffle] pixel_unshuffle expects height and width to be divisible by "
                         f"downscale_factor, but input {tuple(input.shape)} and downscale_factor={r}")
    *lead, channels, height, width = input.shape
    n = len(lead)
    parts = input.reshape(*lead, channels, height // r, r, width // r, r)
    moved = parts.permute(*range(n), n, n + 2, n + 4, n + 1, n + 3)
    return moved.reshape(*lead, channels * r * r, height // r, width // r)


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """(N, C, ...): the channels of the groups taken in turn."""
    if input.ndim < 3 or groups <= 0 or input.shape[1] % groups:
        raise ShapeError(f"[channel_shuffle] number of channels must be divisible by groups. Got input "
                         f"{tuple(input.shape)} and {groups} groups.")
    samples, channels, *space = input.shape
    return input.reshape(samples, groups, channels // groups, *space).transpose(1, 2).reshape(input.shape)
