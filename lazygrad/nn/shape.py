"""Modules that rearrange: Flatten, Unflatten, Upsample, PixelShuffle and their kin; and distances."""

from __future__ import annotations

from functools import partial
from typing import Any

from lazygrad.nn import functional as F
from lazygrad.nn.function_module import REQUIRED, FunctionModule
from lazygrad.nn.function_module import define as _define
from lazygrad.nn.module import Module
from lazygrad.tensors import Tensor

_row = partial(_define, module=__name__)


class _Distance(FunctionModule):
    p: float

    @property
    def norm(self) -> float:
        """The p of the norm, under PyTorch's name."""
        return self.p


class Flatten(Module):
    """Axes start_dim to end_dim as one."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: Tensor) -> Tensor:
        """The flattened input."""
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Axis dim as axes of the sizes unflattened_size."""

    def __init__(self, dim: Any, unflattened_size: Any) -> None:
        super().__init__()
        self.dim, self.unflattened_size = dim, unflattened_size

    def forward(self, input: Tensor) -> Tensor:
        """The unflattened input."""
        return input.unflatten(self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


class Upsample(Module):
    """The input resized to `size` or by `scale_factor`."""

    def __init__(
        self,
        size: Any = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        self.name = type(self).__name__
        self.size = size
        many = isinstance(scale_factor, tuple)
        self.scale_factor = (
            tuple(float(f) for f in scale_factor) if many else scale_factor and float(scale_factor)
        )
        self.mode, self.align_corners, self.recompute_scale_factor = (
            mode,
            align_corners,
            recompute_scale_factor,
        )

    def forward(self, input: Tensor) -> Tensor:
        """The resized input."""
        return F.interpolate(
            input,
            self.size,
            self.scale_factor,
            self.mode,
            self.align_corners,
            recompute_scale_factor=self.recompute_scale_factor,
        )

    def extra_repr(self) -> str:
        first = f"size={self.size}" if self.scale_factor is None else f"scale_factor={self.scale_factor}"
        return f"{first}, mode='{self.mode}'"


class UpsamplingNearest2d(Upsample):
    """Upsample by nearest neighbours."""

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """Upsample by bilinear interpolation with aligned corners."""

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)


PixelShuffle = _row(
    "PixelShuffle",
    F.pixel_shuffle,
    "(..., C * r * r, H, W) to (..., C, H * r, W * r).",
    shown=("upscale_factor",),
    upscale_factor=REQUIRED,
)
PixelUnshuffle = _row(
    "PixelUnshuffle",
    F.pixel_unshuffle,
    "(..., C, H * r, W * r) to (..., C * r * r, H, W).",
    shown=("downscale_factor",),
    downscale_factor=REQUIRED,
)
ChannelShuffle = _row(
    "ChannelShuffle", F.channel_shuffle, "Channels dealt out over groups.", shown=("groups",), groups=REQUIRED
)
CosineSimilarity = _row(
    "CosineSimilarity", F.cosine_similarity, "The cosine of the angle along dim.", dim=1, eps=1e-8
)
PairwiseDistance = _row(
    "PairwiseDistance", F.pairwise_distance, "The p-norm of the difference.", base=_Distance, p=2.0, eps=1e-6,
    keepdim=False,
)
Unfold = _row(
    "Unfold",
    F.unfold,
    "Windows of (N, C, H, W) as columns: (N, C * window, windows).",
    shown=("kernel_size", "dilation", "padding", "stride"),
    kernel_size=REQUIRED,
    dilation=1,
    padding=0,
    stride=1,
)
Fold = _row(
    "Fold",
    F.fold,
    "The sum of windows put back at their places: the reverse of Unfold.",
    shown=("output_size", "kernel_size", "dilation", "padding", "stride"),
    output_size=REQUIRED,
    kernel_size=REQUIRED,
    dilation=1,
    padding=0,
    stride=1,
)
