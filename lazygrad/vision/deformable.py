"""Convolution whose windows read where offsets tell them to: deformable convolution, its second version with
a mask."""

from __future__ import annotations

import lazygrad
from lazygrad.errors import ShapeError
from lazygrad.tensors import Tensor
from lazygrad.vision.checks import of_one_type


@of_one_type(5)
def deform_conv2d(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor,
    bias: Tensor,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    groups: int,
    offset_groups: int,
    use_mask: bool,
) -> Tensor:
    """input (N, C, H, W) convolved with weight (O, C / groups, h, w) and bias (O,): (N, O, outH, outW). Each
    number is read offset (N, 2 * offset_groups * h * w, outH, outW), y before x, away from its place, and
    counts mask (N, offset_groups * h * w, outH, outW) times if use_mask. Raises ShapeError, DTypeError."""
    steps = ((stride_h, pad_h, dilation_h), (stride_w, pad_w, dilation_w))
    out = _checked(input, weight, offset, mask, bias, steps, groups, offset_groups, use_mask)
    n, channels, height, width = input.shape
    window = weight.shape[2:]
    taps = window[0] * window[1]
    shifts = offset.reshape(n, offset_groups, *window, 2, *out)
    places = []
    for axis, (stride, pad, dilation) in enumerate(steps):
        tap = lazygrad.arange(window[axis], device=input.device) * dilation
        at = lazygrad.arange(out[axis], device=input.device) * stride - pad
        grid = tap[:, None] + at  # (taps of this axis, places of this axis)
        grid = grid[:, None, :, None] if axis == 0 else grid[None, :, None, :]
        places.append(grid + shifts[:, :, :, :, axis])  # (N, offset groups, h, w, outH, outW)
    planes = input.reshape(n, offset_groups, channels // offset_groups, height, width)
    columns = _read_between(planes, *places)
    if use_mask:
        columns = columns * mask.reshape(n, offset_groups, *window, *out)[..., None]
    columns = columns.movedim(-1, 2).reshape(n, groups, channels // groups * taps, out[0] * out[1])
    weights = weight.reshape(groups, weight.shape[0] // groups, -1)
    return (weights @ columns).reshape(n, weight.shape[0], *out) + bias[:, None, None]


def _read_between(planes: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """planes (N, G, C, H, W) at the places y and x (N, G, ...), each the blend of the four pixels around it,
    with zeros around the image: (N, G, ..., C)."""
    lead = (slice(None), *(None,) * (y.ndim - 1)), (slice(None), *(None,) * (y.ndim - 2))
    image, group = (
        lazygrad.arange(count, device=y.device)[index]
        for count, index in zip(planes.shape[:2], lead, strict=True)
    )
    near = (y > -1) & (y < planes.shape[3]) & (x > -1) & (x < planes.shape[4])
    total: Tensor | None = None
    rows, columns = (
        _neighbours(lazygrad.where(near, at, 0), size)
        for at, size in zip((y, x), planes.shape[3:], strict=True)
    )
    for row, down, in_rows in rows:
        for column, across, in_columns in columns:
            taken = planes[image, group, :, row, column]
            part = lazygrad.where(near & in_rows & in_columns, down * across, 0)[..., None] * taken
            total = part if total is None else total + part
    assert total is not None
    return total


def _neighbours(at: Tensor, size: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Of places along an axis the pixels before and after: which, how much each counts, and whether there is
    such a pixel."""
    low = at.detach().floor()
    part = at - low
    return [
        (pixel.clamp(0, size - 1).to(lazygrad.int64), share, (pixel >= 0) & (pixel < size))
        for pixel, share in ((low, 1 - part), (low + 1, part))
    ]


def _checked(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor,
    bias: Tensor,
    steps: tuple[tuple[int, int, int], ...],
    groups: int,
    offset_groups: int,
    use_mask: bool,
) -> tuple[int, ...]:
    """The size of the result. Raises ShapeError."""
    op = "deform_conv2d"
    if input.ndim != 4 or weight.ndim != 4:
        raise ShapeError(f"[{op}] input must be (N, C, H, W) and weight (O, C / groups, h, w), got "
                         f"{tuple(input.shape)} and {tuple(weight.shape)}")
    channels, outs, window = input.shape[1], weight.shape[0], weight.shape[2:]
    if groups < 1 or offset_groups < 1 or weight.shape[1] * groups != channels or outs % groups \
            or channels % offset_groups:
        raise ShapeError(f"[{op}] {channels} channels do not go with weight {tuple(weight.shape)} in "
                         f"{groups} groups and offsets in {offset_groups}")
    out = tuple(
        (size + 2 * pad - (dilation * (taps - 1) + 1)) // stride + 1
        for size, taps, (stride, pad, dilation) in zip(input.shape[2:], window, steps, strict=True)
    )
    taps = offset_groups * window[0] * window[1]
    wanted = {"offset": (offset, 2 * taps)} | ({"mask": (mask, taps)} if use_mask else {})
    for name, (tensor, planes) in wanted.items():
        if tuple(tensor.shape) != (input.shape[0], planes, *out):
            raise ShapeError(f"[{op}] {name} must be {(input.shape[0], planes, *out)}, got "
                             f"{tuple(tensor.shape)}")
    if min(out) < 1 or tuple(bias.shape) != (outs,):
        raise ShapeError(f"[{op}] input {tuple(input.shape)} is smaller than the window {tuple(window)}, or "
                         f"bias {tuple(bias.shape)} is not ({outs},)")
    return out
