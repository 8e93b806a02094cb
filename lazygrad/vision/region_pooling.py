"""The greatest value, and the mean, of the whole pixels in the bins of regions: RoIPool."""

from __future__ import annotations

from collections.abc import Sequence

import lazygrad
from lazygrad.tensors import Tensor
from lazygrad.vision.checks import channels_by_bin, of_one_type, require_regions
from lazygrad.vision.regions import boxes_of, channel_of_bin


@of_one_type(2)
def roi_pool(
    input: Tensor, rois: Tensor, spatial_scale: float, pooled_height: int, pooled_width: int
) -> tuple[Tensor, Tensor]:
    """The greatest pixel of input (N, C, H, W) in each bin of each region of rois (K, 5), an image's number
    and x1, y1, x2, y2 in pixels / spatial_scale: (K, C, pooled_height, pooled_width), 0 where a bin is empty;
    and which pixel it is, int32, or -1. Reads values of rois. Raises ShapeError, DTypeError."""
    bins = (pooled_height, pooled_width)
    require_regions("roi_pool", input, rois, bins)
    image, low, high = _bounds(rois, spatial_scale, bins, 1, input.shape[2:])
    down, across, inside = _pixels(low, high, input.shape[2:])
    columns = input.shape[3]
    with lazygrad.no_grad():
        taken = input[image[:, None, None, None, None], :, down, across].movedim(-1, 1)
        taken = taken.movedim(-2, -3).flatten(-2)  # (K, C, bins, bins, pixels)
        least = lazygrad.finfo(lazygrad.float32).min  # whatever the type
        found = inside.movedim(-2, -3).flatten(-2)[:, None] & (taken > least)
        best = lazygrad.where(found, taken, -lazygrad.inf).argmax(-1, keepdim=True)
        some = found.any(-1)
        address = (down * columns + across).movedim(-2, -3).flatten(-2)[:, None]
        address = address.expand(taken.shape).gather(-1, best)[..., 0]
        is_empty = ~inside.any(4).any(2)[:, None]
    channel = lazygrad.arange(input.shape[1], device=input.device)[:, None, None]
    pooled = input.flatten(2)[image[:, None, None, None], channel, address]
    pooled = lazygrad.where(some, pooled, lazygrad.where(is_empty, 0.0, least))
    return pooled, lazygrad.where(some, address, -1).to(lazygrad.int32)


@of_one_type(2)
def ps_roi_pool(
    input: Tensor, rois: Tensor, spatial_scale: float, pooled_height: int, pooled_width: int
) -> tuple[Tensor, Tensor]:
    """The mean pixel of each bin of each region of rois (K, 5), where each bin reads channels of its own:
    input (N, C * bins, H, W) gives (K, C, pooled_height, pooled_width), 0 where a bin is empty, and the
    channels that were read, int32. An image's last row and column are never read. Reads values of rois.
    Raises ShapeError, DTypeError."""
    op, bins = "ps_roi_pool", (pooled_height, pooled_width)
    require_regions(op, input, rois, bins)
    planes = channels_by_bin(op, input, bins)
    image, low, high = _bounds(rois, spatial_scale, bins, 0, [n - 1 for n in input.shape[2:]])
    down, across, inside = _pixels(low, high, input.shape[2:])
    row = lazygrad.arange(pooled_height, device=input.device)[:, None, None, None]
    column = lazygrad.arange(pooled_width, device=input.device)[:, None]
    taken = planes[image[:, None, None, None, None], :, row, column, down, across]
    total = lazygrad.where(inside[..., None], taken, 0).sum((2, 4)).permute(0, 3, 1, 2)
    area = inside.sum((2, 4))[:, None].clamp(min=1)
    return total / area, channel_of_bin(len(rois), input, bins)


def _bounds(
    rois: Tensor, scale: float, bins: tuple[int, int], more: int, ends: Sequence[int]
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """The images' numbers (K,), and down and across the first pixel of each bin and the one after its last
    (K, bins): regions begin and end at whole pixels, are `more` pixels longer, and at least one, and stop at
    `ends`."""
    image, start, size = boxes_of(rois, scale)
    first, last = _rounded(start), _rounded(start + size)
    length = (last - first + more).clamp(min=1)
    low, high = [], []
    for axis, end in enumerate(ends):
        bin_ = lazygrad.arange(bins[axis], device=rois.device)
        step = (length[:, axis] / bins[axis])[:, None]
        begin = first[:, axis, None]
        low.append((begin + (bin_ * step).floor()).clamp(0, end).to(lazygrad.int64))
        high.append((begin + ((bin_ + 1) * step).ceil()).clamp(0, end).to(lazygrad.int64))
    return image, low, high


def _rounded(x: Tensor) -> Tensor:
    """The nearest whole numbers, halves away from 0."""
    return (x.abs() + 0.5).floor() * x.sign()


def _pixels(low: list[Tensor], high: list[Tensor], image: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """The pixels of the largest bin, for every bin: rows, columns, and whether they belong to the bin; each
    broadcasts to (K, bins down, rows, bins across, columns)."""
    found = []
    for begin, end, size in zip(low, high, image, strict=True):
        most = int((end - begin).max()) if begin.numel() else 0
        at = begin[..., None] + lazygrad.arange(max(most, 1), device=begin.device)
        found.append((at.clamp(max=size - 1), at < end[..., None]))
    (rows, in_rows), (columns, in_columns) = found
    inside = in_rows[..., None, None] & in_columns[:, None, None]
    return rows[..., None, None], columns[:, None, None], inside
