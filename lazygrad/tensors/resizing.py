"""Padding with every mode, interpolation, and sampling by a grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lazygrad import dtypes, ops
from lazygrad.compositions import axes, resampling, sampling, windows
from lazygrad.errors import ArgumentError, ShapeError
from lazygrad.graph import Node
from lazygrad.tensors.byte_images import resized_bytes
from lazygrad.tensors.convolution import spread_sizes
from lazygrad.tensors.core import FUNCTIONS, Tensor, apply, creator
from lazygrad.tensors.grad_fn import as_operation
from lazygrad.tensors.indexing import number_node

# Padding


def _reflected(x: Node, axis: int, before: int, behind: int) -> Node:
    size = x.shape[axis]
    front = ops.flip(axes.shrink_axis(x, axis, 1, before + 1), arg=(axis,))
    back = ops.flip(axes.shrink_axis(x, axis, size - behind - 1, size - 1), arg=(axis,))
    return ops.cat(front, x, back, arg=axis)


def _replicated(x: Node, axis: int, before: int, behind: int) -> Node:
    size = x.shape[axis]

    def edge(at: int, count: int) -> Node:
        return axes.expand(
            axes.shrink_axis(x, axis, at, at + 1),
            tuple(count if i == axis else n for i, n in enumerate(x.shape)),
        )

    return ops.cat(edge(0, before), x, edge(size - 1, behind), arg=axis)


def _circular(x: Node, axis: int, before: int, behind: int) -> Node:
    size = x.shape[axis]
    return ops.cat(
        axes.shrink_axis(x, axis, size - before, size), x, axes.shrink_axis(x, axis, 0, behind), arg=axis
    )


_PAD_MODES = {"reflect": (_reflected, 1), "replicate": (_replicated, None), "circular": (_circular, 0)}


@creator("pad")
def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: Any = None) -> Tensor:
    """Amounts (before, behind) for the last dimension, then the one before it, ...; negative amounts crop.

    Modes: "constant" (with value), "reflect", "replicate", "circular". Raises ShapeError where the amounts do
    not fit.
    """
    amounts = [int(p) for p in pad]
    if len(amounts) % 2:
        raise ShapeError(f"[pad] Padding length must be divisible by 2, got {amounts}")
    if len(amounts) // 2 > input.ndim:
        raise ShapeError("[pad] Padding length should be less than or equal to two times the input dimension "
                         f"but got padding length {len(amounts)} and input of dimension {input.ndim}")
    pairs = tuple(zip(amounts[0::2], amounts[1::2], strict=True))[::-1]
    sizes = input._shape[input.ndim - len(pairs):]
    for n, (a, b) in zip(sizes, pairs, strict=True):
        if n + min(a, 0) < 0 or n + min(b, 0) < 0 or n + a + b < 0:
            raise ShapeError(f"[pad] The input size {n}, plus negative padding {a} and {b}, resulted in a "
                             f"negative output size; input {tuple(input._shape)}, padding {amounts}")
    if mode == "constant":
        fill = number_node("pad", 0 if value is None else value, input._dtype)
        kind = bool if input._dtype.kind == "bool" else int
        number = fill.arg.value if fill.op.name == "const" else kind(value)
        return apply("pad", lambda x: windows.pad_spatial(x, pairs, number) if pairs else x, input)
    if mode not in _PAD_MODES:
        raise ArgumentError(f"[pad] Unrecognised padding mode {mode!r}: there are constant, reflect, "
                            "replicate, circular")
    if value:
        raise ArgumentError(f"[pad] Padding mode {mode!r} doesn't take in value argument, got {value}")
    return _pad_by(input, mode, pairs, amounts)


def _pad_by(x: Tensor, mode: str, pairs: windows.Pads, amounts: list[int]) -> Tensor:
    build, reserve = _PAD_MODES[mode]
    lead = x.ndim - len(pairs)
    if lead not in (1, 2) or len(pairs) not in (1, 2, 3):
        raise ShapeError(f"[pad] mode {mode!r} pads the last 1 to 3 dimensions of a tensor with a channel "
                         f"dimension and at most one before it; got padding {amounts} for {tuple(x._shape)}")
    if 0 in x._shape[lead - 1:] and mode != "circular":
        raise ShapeError("[pad] Expected a tensor with possibly 0 batch size and other non-zero dimensions, "
                         f"got {tuple(x._shape)} for mode {mode!r}")
    for n, (a, b) in zip(x._shape[lead:], pairs, strict=True):
        if (reserve is not None and max(a, b) > n - reserve) or n == 0:
            raise ShapeError("[pad] Padding size should be less than the corresponding input dimension, but "
                             "got: padding "
                             f"({a}, {b}) at a dimension of size {n} of {tuple(x._shape)}, mode {mode!r}")

    def padded(node: Node) -> Node:
        for axis, (a, b) in enumerate(pairs, lead):
            grow, crop = (max(a, 0), max(b, 0)), (max(-a, 0), max(-b, 0))
            if mode == "circular":  # PyTorch wraps what the crop has left
                node, crop = axes.shrink_axis(node, axis, crop[0], node.shape[axis] - crop[1]), (0, 0)
            node = build(node, axis, *grow) if any(grow) else node
            node = axes.shrink_axis(node, axis, crop[0], node.shape[axis] - crop[1])
        return node

    name = {"reflect": "ReflectionPad", "replicate": "ReplicationPad"}.get(mode)
    return apply("CopySlices" if name is None else f"{name}{len(pairs)}DBackward0", padded, x)


# Interpolation

_RANKS = {
    "nearest": (1, 2, 3),
    "nearest-exact": (1, 2, 3),
    "area": (1, 2, 3),
    "linear": (1,),
    "bilinear": (2,),
    "bicubic": (2,),
    "trilinear": (3,),
}
_ALIGNABLE = ("linear", "bilinear", "bicubic", "trilinear")


@creator("constant_pad_nd")
def constant_pad_nd(input: Tensor, pad: Sequence[int], value: Any = 0) -> Tensor:
    """`pad` with a constant."""
    return FUNCTIONS["pad"](input, pad, "constant", value)


@creator("interpolate")
def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Spatial dimensions of (N, C, ...) resized to `size`, or by `scale_factor`.

    Modes: nearest, nearest-exact, area; linear (3-d input), bilinear and bicubic (4-d), trilinear (5-d).
    """
    op = "interpolate"
    rank = input.ndim - 2
    if mode not in _RANKS or rank not in _RANKS[mode]:
        fitting = [m for m, ranks in _RANKS.items() if rank in ranks]
        raise ArgumentError(f"[{op}] mode {mode!r} does not fit an input of {input.ndim} dimensions; those "
                            f"that do: {', '.join(fitting) or 'none, it needs 3 to 5'}")
    if align_corners is not None and mode not in _ALIGNABLE:
        raise ArgumentError(f"[{op}] align_corners option can only be set with the interpolating modes: "
                            f"{' | '.join(_ALIGNABLE)}")
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ArgumentError(f"[{op}] antialias is for bilinear and bicubic, not {mode!r}")
    plane = tuple(input._shape[2:])
    out, scales = _target(op, plane, size, scale_factor, recompute_scale_factor)
    if 0 in plane or 0 in out:
        raise ShapeError(f"[{op}] Input and output sizes should be greater than 0, but got input {plane} and "
                         f"output {out}")
    if mode == "area":
        return FUNCTIONS[f"adaptive_avg_pool{rank}d"](input, out)
    if input._dtype is dtypes.uint8 and mode in ("bilinear", "bicubic"):
        return resized_bytes(input, out, scales, bool(align_corners), mode == "bicubic", antialias)

    def build(x: Node) -> Node:
        if mode in _ALIGNABLE:
            axes.require_float(op, x)
        return resampling.resample(x, mode, out, scales, bool(align_corners), antialias)

    name = "".join(word.capitalize() for word in mode.split("-"))
    return apply(f"Upsample{name}{rank}DBackward0", build, input)


def _target(op: str, plane: tuple[int, ...], size: Any, scale_factor: Any,
            recompute: bool | None) -> tuple[tuple[int, ...], tuple[float | None, ...]]:
    """The output size, and the scales that coordinates use (None: the ratio of sizes)."""
    rank = len(plane)
    if (size is None) == (scale_factor is None):
        raise ArgumentError(f"[{op}] only one of size or scale_factor should be defined, got {size} and "
                            f"{scale_factor}")
    if size is not None:
        if recompute:
            raise ArgumentError(f"[{op}] recompute_scale_factor is not meaningful with an explicit size.")
        return spread_sizes(op, "size", size, rank, 0, one_for_all=False), (None,) * rank
    scales = (
        tuple(float(s) for s in scale_factor)
        if isinstance(scale_factor, Sequence)
        else (float(scale_factor),) * rank
    )
    if len(scales) != rank or any(s <= 0 for s in scales):
        raise ArgumentError(f"[{op}] scale_factor must be {rank} positive numbers or one, got "
                            f"{scale_factor!r}")
    out = tuple(math.floor(n * s) for n, s in zip(plane, scales, strict=True))
    return out, (None,) * rank if recompute else scales


@creator("upsample")
def upsample(input: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
             align_corners: bool | None = None) -> Tensor:
    """The older name of interpolate."""
    return interpolate(input, size, scale_factor, mode, align_corners)


# Grids


@creator("grid_sample")
def grid_sample(input: Tensor, grid: Tensor, mode: str = "bilinear", padding_mode: str = "zeros",
                align_corners: bool | None = None) -> Tensor:
    """input (N, C, in...) read at grid (N, out..., 2 or 3), numbers from -1 to 1 that name the last axis
    first: (N, C, out...). Modes: bilinear, nearest, bicubic (4-d only); padding_mode: zeros, border,
    reflection."""
    op = "grid_sample"
    rank = input.ndim - 2
    paddings = ("zeros", "border", "reflection")
    if mode not in ("bilinear", "nearest", "bicubic") or padding_mode not in paddings:
        raise ArgumentError(f"[{op}] mode must be bilinear, nearest or bicubic and padding_mode zeros, "
                            f"border or reflection, got {mode!r} and {padding_mode!r}")
    if rank not in (2, 3) or grid.ndim != input.ndim or grid._shape[-1] != rank \
            or grid._shape[0] != input._shape[0] or (mode == "bicubic" and rank == 3):
        raise ShapeError(f"[{op}] input {tuple(input._shape)} needs a grid of its batch size, with as many "
                         f"dimensions and {max(rank, 2)} numbers in the last; got {tuple(grid._shape)} for "
                         f"{mode}")
    if 0 in input._shape[2:]:
        raise ShapeError(f"[{op}] expected input to have non-empty spatial dimensions, got "
                         f"{tuple(input._shape)}")

    def build(x: Node, g: Node) -> Node:
        axes.require_same_dtype(op, x, g)
        axes.require_float(op, x)
        return sampling.grid_sample(x, g, mode, padding_mode, bool(align_corners))

    return as_operation(apply(op, build, input, grid), f"GridSampler{rank}DBackward0", input, grid)


@creator("affine_grid")
def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """The grid (N, out..., 2 or 3) for grid_sample of affine maps theta (N, 2, 3) or (N, 3, 4); size is (N,
    C, out...).
    """
    op = "affine_grid"
    rank = len(size) - 2
    if rank not in (2, 3) or tuple(theta._shape) != (size[0], rank, rank + 1):
        raise ShapeError(f"[{op}] Expected a batch of 2D affine matrices of shape Nx2x3 for size (N, C, H, "
                         "W), or of 3D ones Nx3x4 for (N, C, D, H, W), got "
                         f"{tuple(theta._shape)} and {tuple(size)}")
    out = tuple(int(n) for n in size[2:])

    def build(t: Node) -> Node:
        axes.require_float(op, t)
        return sampling.affine_grid(t, out, bool(align_corners))

    return as_operation(apply(op, build, theta), "AffineGridGeneratorBackward0", theta)
