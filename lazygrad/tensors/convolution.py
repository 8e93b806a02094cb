"""Convolution, its transpose, and folding: compositions of windows, products and sums.

Published as `lazygrad.conv2d` and so on; `nn.functional` takes them from here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, ParamSpec

from lazygrad import ops
from lazygrad.compositions import axes, windows
from lazygrad.errors import ArgumentError, ArgumentTypeError, ShapeError
from lazygrad.graph import Node
from lazygrad.helpers import product
from lazygrad.tensors.core import Tensor, apply, creator
from lazygrad.tensors.grad_fn import as_operation


def spread_sizes(
    op: str, what: str, value: Any, rank: int, least: int = 1, one_for_all: bool = True
) -> tuple[int, ...]:
    """One integer for each spatial axis, from one for all or a sequence; `one_for_all`: also from a sequence
    of one. Raises ArgumentError below `least`."""
    single = hasattr(value, "__index__")
    sizes = [value] if single else list(value) if isinstance(value, Sequence) else None
    if sizes is None or not all(hasattr(s, "__index__") for s in sizes):
        raise ArgumentTypeError(f"[{op}] {what} must be an int or {rank} ints, got {value!r}")
    result = tuple(s.__index__() for s in sizes)
    result = result * rank if len(result) == 1 and (single or one_for_all) else result
    if len(result) != rank:
        raise ShapeError(f"[{op}] {what} must be an int or {rank} ints, got {value!r}")
    if any(s < least for s in result):
        raise ArgumentError(f"[{op}] {what} must be at least {least}, got {value!r}")
    return result


def batched(op: str, x: Tensor, rank: int) -> bool:
    """True for (N, C, spatial...), False for (C, spatial...). Raises ShapeError for other ranks."""
    if x.ndim not in (rank + 1, rank + 2):
        raise ShapeError(f"[{op}] Expected {rank + 1}D (unbatched) or {rank + 2}D (batched) input, but got "
                         f"input of size: {list(x._shape)}")
    return x.ndim == rank + 2


def with_batch(is_batched: bool, x: Node, build: Any) -> Node:
    """build(x) where x has a batch axis; else with one put in front and taken away again."""
    if is_batched:
        return build(x)
    return axes.drop_axes(build(axes.insert_axis(x, 0)), (0,))


def _check_weight(op: str, weight: Tensor, rank: int) -> None:
    if weight.ndim != rank + 2:
        raise ShapeError(f"[{op}] weight should have {rank + 2} dimensions, got {tuple(weight._shape)}")


def _same_pads(op: str, weight: Tensor, stride: tuple[int, ...], dilation: tuple[int, ...]) -> windows.Pads:
    if any(s != 1 for s in stride):
        raise ShapeError(f"[{op}] padding='same' is not supported for strided convolutions: stride={stride}")
    totals = [d * (k - 1) for k, d in zip(weight._shape[2:], dilation, strict=True)]
    return tuple((total // 2, total - total // 2) for total in totals)


P = ParamSpec("P")


def _of_rank(rank: int, name: str, general: Callable[Concatenate[str, int, P], Tensor],
             what: str) -> Callable[P, Tensor]:
    """Publish `general` for one number of spatial axes, with a signature of its own."""

    def ranked(*args: P.args, **options: P.kwargs) -> Tensor:
        return general(name, rank, *args, **options)

    shown = inspect.signature(general)
    own = list(shown.parameters.values())[2:]
    ranked.__signature__ = shown.replace(parameters=own)  # type: ignore[attr-defined]
    ranked.__name__ = ranked.__qualname__ = name
    ranked.__doc__ = what
    return creator(name)(ranked)


def convolve(
    op: str,
    rank: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution over `rank` spatial axes; conv1d, conv2d and conv3d say what is what."""
    _check_weight(op, weight, rank)
    is_batched = batched(op, input, rank)
    steps = spread_sizes(op, "stride", stride, rank)
    dilations = spread_sizes(op, "dilation", dilation, rank)
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise ArgumentError(f"[{op}] Invalid padding string {padding!r}: should be one of 'valid', "
                                "'same'")
        pads = _same_pads(op, weight, steps, dilations) if padding == "same" else ((0, 0),) * rank
    else:
        pads = tuple((p, p) for p in spread_sizes(op, "padding", padding, rank, 0))

    def build(x: Node, w: Node, b: Node | None = None) -> Node:
        return with_batch(
            is_batched, x, lambda n: windows.convolution(op, n, w, b, steps, pads, dilations, groups)
        )

    given = [input, weight] if bias is None else [input, weight, bias]
    result = apply(op, build, *given)
    return result if is_batched else as_operation(result, "SqueezeBackward1", *given)


conv1d = _of_rank(1, "conv1d", convolve, """input (N, Ci, L) or (Ci, L) with weight (Co, Ci/groups, k) and
bias (Co): (N, Co, Lo). Padding may be "same" or "valid". Raises ShapeError where channels differ or the
kernel is larger than the padded input.""")
conv2d = _of_rank(2, "conv2d", convolve, """input (N, Ci, H, W) or (Ci, H, W) with weight
(Co, Ci/groups, kh, kw) and bias (Co): (N, Co, Ho, Wo). See conv1d.""")
conv3d = _of_rank(3, "conv3d", convolve, """input (N, Ci, D, H, W) or (Ci, D, H, W) with weight
(Co, Ci/groups, kd, kh, kw) and bias (Co). See conv1d.""")


def convolve_transposed(
    op: str,
    rank: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: int | Sequence[int] = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Transposed convolution over `rank` spatial axes; conv_transpose1d and so on say what is what."""
    _check_weight(op, weight, rank)
    is_batched = batched(op, input, rank)
    steps = spread_sizes(op, "stride", stride, rank)
    dilations = spread_sizes(op, "dilation", dilation, rank)
    pads = spread_sizes(op, "padding", padding, rank, 0)
    extra = spread_sizes(op, "output_padding", output_padding, rank, 0)
    if any(e >= s and e >= d for e, s, d in zip(extra, steps, dilations, strict=True)):
        raise ShapeError(f"[{op}] output padding must be smaller than either stride or dilation, but got "
                         f"output_padding {extra}, stride {steps}, dilation {dilations}")

    def build(x: Node, w: Node, b: Node | None = None) -> Node:
        return with_batch(is_batched, x, lambda n: windows.transposed_convolution(
            op, n, w, b, steps, pads, extra, groups, dilations))

    given = [input, weight] if bias is None else [input, weight, bias]
    result = apply(op, build, *given)
    return result if is_batched else as_operation(result, "SqueezeBackward1", *given)


conv_transpose1d = _of_rank(1, "conv_transpose1d", convolve_transposed, """The transpose of conv1d: input
(N, Ci, L) with weight (Ci, Co/groups, k) and bias (Co): (N, Co, Lo).""")
conv_transpose2d = _of_rank(2, "conv_transpose2d", convolve_transposed, """The transpose of conv2d: input
(N, Ci, H, W) with weight (Ci, Co/groups, kh, kw) and bias (Co).""")
conv_transpose3d = _of_rank(3, "conv_transpose3d", convolve_transposed, """The transpose of conv3d: input
(N, Ci, D, H, W) with weight (Ci, Co/groups, kd, kh, kw) and bias (Co).""")


# Windows as columns


@creator("unfold")
def unfold(input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """The windows of images (N, C, H, W) as columns: (N, C * kh * kw, number of windows)."""
    op = "unfold"
    kernel, dilations, steps = (spread_sizes(op, what, v, 2, one_for_all=False) for what, v in (
        ("kernel_size", kernel_size), ("dilation", dilation), ("stride", stride)))
    pads = spread_sizes(op, "padding", padding, 2, 0, one_for_all=False)
    is_batched = batched(op, input, 2)

    def build(x: Node) -> Node:
        x = windows.pad_spatial(x, tuple((p, p) for p in pads))
        windows.check_kernel(op, x, kernel, dilations)
        seen = windows.windows_of(x, kernel, steps, dilations)
        columns = axes.permute(seen, (0, 1, 4, 5, 2, 3))
        n, c, kh, kw, h, w = columns.shape
        return axes.reshape(columns, (n, c * kh * kw, h * w))

    return apply("Im2ColBackward0", lambda x: with_batch(is_batched, x, build), input)


@creator("fold")
def fold(input: Tensor, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0,
         stride: Any = 1) -> Tensor:
    """Images (N, C, *output_size) from columns (N, C * kh * kw, number of windows), overlapping parts
    added."""
    op = "fold"
    size, kernel, dilations, steps = (
        spread_sizes(op, what, v, 2, one_for_all=False)
        for what, v in (
            ("output_size", output_size),
            ("kernel_size", kernel_size),
            ("dilation", dilation),
            ("stride", stride),
        )
    )
    pads = spread_sizes(op, "padding", padding, 2, 0, one_for_all=False)
    is_batched = batched(op, input, 1)
    padded = tuple(n + 2 * p for n, p in zip(size, pads, strict=True))
    counts = tuple(ops.window_count(*row) for row in zip(padded, kernel, steps, dilations, strict=True))
    if input._shape[-2] % product(kernel) or input._shape[-1] != product(counts) or min(counts) < 1:
        raise ShapeError(f"[{op}] input {tuple(input._shape)} does not fit: kernel {kernel} needs a multiple "
                         "of "
                         f"{product(kernel)} rows, and {counts} windows {product(max(c, 0) for c in counts)} "
                         "columns")

    def build(x: Node) -> Node:
        n, rows, _ = x.shape
        parts = axes.permute(
            axes.reshape(x, (n, rows // product(kernel), *kernel, *counts)), (0, 1, 4, 5, 2, 3)
        )
        summed = windows.add_windows(parts, padded, steps, dilations)
        return windows.pad_spatial(summed, tuple((-p, -p) for p in pads))

    return apply(op, lambda x: with_batch(is_batched, x, build), input)


@creator("pixel_shuffle")
def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(*, C * r * r, H, W) to (*, C, H * r, W * r)."""
    r = upscale_factor
    if input.ndim < 3 or r < 1 or input._shape[-3] % (r * r):
        raise ShapeError("[pixel_shuffle] needs a channel dimension divisible by the square of "
                         f"upscale_factor {r}, got {tuple(input._shape)}")

    def build(x: Node) -> Node:
        *lead, c, h, w = x.shape
        b = len(lead)
        parts = axes.reshape(x, (*lead, c // (r * r), r, r, h, w))
        parts = axes.permute(parts, (*range(b), b, b + 3, b + 1, b + 4, b + 2))
        return axes.reshape(parts, (*lead, c // (r * r), h * r, w * r))

    return apply("pixel_shuffle", build, input)


@creator("pixel_unshuffle")
def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """(*, C, H * r, W * r) to (*, C * r * r, H, W)."""
    r = downscale_factor
    if input.ndim < 3 or r < 1 or input._shape[-1] % r or input._shape[-2] % r:
        raise ShapeError(f"[pixel_unshuffle] needs height and width divisible by downscale_factor {r}, got "
                         f"{tuple(input._shape)}")

    def build(x: Node) -> Node:
        *lead, c, h, w = x.shape
        b = len(lead)
        parts = axes.reshape(x, (*lead, c, h // r, r, w // r, r))
        parts = axes.permute(parts, (*range(b), b, b + 2, b + 4, b + 1, b + 3))
        return axes.reshape(parts, (*lead, c * r * r, h // r, w // r))

    return apply("pixel_unshuffle", build, input)


@creator("channel_shuffle")
def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """The channels (N, C, ...) of groups interleaved."""
    if input.ndim < 3 or groups < 1 or input._shape[1] % groups:
        raise ShapeError("[channel_shuffle] number of channels must be divisible by groups. Got "
                         f"{tuple(input._shape)} and {groups} groups")

    def build(x: Node) -> Node:
        n, c, *rest = x.shape
        parts = axes.reshape(x, (n, groups, c // groups, *rest))
        return axes.reshape(axes.permute(parts, (0, 2, 1, *range(3, parts.ndim))), x.shape)

    return apply("channel_shuffle", build, input)
