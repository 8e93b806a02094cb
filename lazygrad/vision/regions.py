"""Means of images over the bins of regions, read between pixels: RoIAlign."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import lazygrad
from lazygrad.tensors import Tensor
from lazygrad.vision.checks import channels_by_bin, of_one_type, require_regions


@of_one_type(2)
def roi_align(
    input: Tensor,
    rois: Tensor,
    spatial_scale: float,
    pooled_height: int,
    pooled_width: int,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """input (N, C, H, W) averaged over the bins of each region of rois (K, 5), an image's number and x1, y1,
    x2, y2 in pixels / spatial_scale: (K, C, pooled_height, pooled_width). A bin is read at sampling_ratio
    places each way; where that is not positive, at one for each pixel that it covers (which reads values of
    rois). `aligned` counts from the middles of pixels. Raises ShapeError, DTypeError."""
    bins = (pooled_height, pooled_width)
    require_regions("roi_align", input, rois, bins)
    image, start, size = boxes_of(rois, spatial_scale, 0.5 if aligned else 0.0)
    if not aligned:
        size = size.clamp(min=1)
    down, across = _places(start, size, bins, sampling_ratio, input.shape[2:])
    taken = input[image[:, *_EACH_PLACE], :, down.pixels, across.pixels]
    return _sums(taken, down, across) / (down.each * across.each).clamp(min=1)[:, None, None, None]


@of_one_type(2)
def ps_roi_align(
    input: Tensor,
    rois: Tensor,
    spatial_scale: float,
    pooled_height: int,
    pooled_width: int,
    sampling_ratio: int,
) -> tuple[Tensor, Tensor]:
    """As roi_align with `aligned`, but each bin reads channels of its own: input (N, C * bins, H, W) gives
    (K, C, pooled_height, pooled_width), and the channels that were read, int32. Raises ShapeError,
    DTypeError."""
    op, bins = "ps_roi_align", (pooled_height, pooled_width)
    require_regions(op, input, rois, bins)
    planes = channels_by_bin(op, input, bins)
    image, start, size = boxes_of(rois, spatial_scale, 0.5)
    down, across = _places(start, size, bins, sampling_ratio, input.shape[2:])
    row = lazygrad.arange(pooled_height, device=input.device)[:, None, None, None]
    column = lazygrad.arange(pooled_width, device=input.device)[:, None]
    taken = planes[image[:, *_EACH_PLACE], :, row, column, down.pixels, across.pixels]
    count = (down.each * across.each)[:, None, None, None]
    return _sums(taken, down, across) / count, channel_of_bin(len(rois), input, bins)


def channel_of_bin(count: int, input: Tensor, bins: tuple[int, int]) -> Tensor:
    """Which channel of input each bin of `count` regions reads: (count, C, *bins), int32."""
    channels = lazygrad.arange(input.shape[1], dtype=lazygrad.int32, device=input.device)
    return channels.reshape(1, -1, *bins).expand(count, -1, -1, -1).contiguous()


def boxes_of(rois: Tensor, scale: float, offset: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    """Of regions (K, 5): the images' numbers (K,), where they begin and how long they are (K, 2), y first."""
    rois = rois.detach()
    low, high = (rois[:, [first + 1, first]] * scale - offset for first in (1, 3))
    return rois[:, 0].to(lazygrad.int64), low, high - low


class _Axis(NamedTuple):
    """What bins read along one axis, as (K, bins down, places down, bins across, places across)."""

    pixels: Tensor
    weights: Tensor
    each: Tensor  # (K,): places of each bin


_EACH_PLACE = (None,) * 4
_LAYOUT = ((slice(None),) * 3 + (None, None), (slice(None), None, None, slice(None), slice(None)))


def _places(
    start: Tensor, size: Tensor, bins: tuple[int, int], ratio: int, image: Sequence[int]
) -> list[_Axis]:
    """The pixels that the bins of regions read, two for each place, along both axes of an image."""
    found = []
    for axis, layout in enumerate(_LAYOUT):
        length = (size[:, axis] / bins[axis])[:, None, None]
        count = lazygrad.full_like(length, ratio) if ratio > 0 else length.ceil()
        most = ratio if ratio > 0 else int(count.max()) if len(count) else 0
        place = lazygrad.arange(max(most, 1), device=size.device)
        bin_ = lazygrad.arange(bins[axis], device=size.device)[:, None]
        at = start[:, axis, None, None] + bin_ * length + (place + 0.5) * length / count.clamp(min=1)
        inside = (place < count) & (at >= -1) & (at <= image[axis])
        last = image[axis] - 1
        at = lazygrad.where(inside, at, 0).clamp(min=0, max=last)
        low = at.floor()
        part = at - low
        weights = lazygrad.stack((1 - part, part), -1) * inside[..., None]
        pixels = lazygrad.stack((low, (low + 1).clamp(max=last)), -1).to(lazygrad.int64)
        found.append(_Axis(pixels.flatten(2)[layout], weights.flatten(2)[layout], count[:, 0, 0]))
    return found


def _sums(taken: Tensor, down: _Axis, across: _Axis) -> Tensor:
    """Pixels (K, bins, places, bins, places, C) by their weights: (K, C, bins, bins)."""
    weights = (down.weights * across.weights)[..., None]
    return (taken * weights).sum((2, 4)).permute(0, 3, 1, 2)
