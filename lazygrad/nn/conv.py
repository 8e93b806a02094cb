"""Convolutions and transposed convolutions over one, two and three spatial axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import lazygrad
from lazygrad.errors import ArgumentError, ArgumentTypeError
from lazygrad.nn import functional as F
from lazygrad.nn import init
from lazygrad.nn.module import Module
from lazygrad.nn.parameter import Parameter, parameter_if
from lazygrad.nn.sizes import per_axis
from lazygrad.tensors import Tensor

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _ConvNd(Module):
    """What all convolutions share: settings, weight, bias, and how they print."""

    rank: int
    transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        output_padding: Any,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any,
        dtype: Any,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if groups <= 0:
            raise ArgumentError(f"[{name}] groups must be a positive integer")
        if in_channels % groups:
            raise ArgumentError(f"[{name}] in_channels must be divisible by groups")
        if out_channels % groups:
            raise ArgumentError(f"[{name}] out_channels must be divisible by groups")
        if isinstance(padding, str) and padding not in ("same", "valid"):
            raise ArgumentError(f"[{name}] Invalid padding string {padding!r}, should be one of "
                                f"{{'same', 'valid'}}")
        if padding == "same" and any(s != 1 for s in per_axis(stride, self.rank)):
            raise ArgumentError(f"[{name}] padding='same' is not supported for strided convolutions")
        if padding_mode not in _PADDING_MODES:
            raise ArgumentError(f"[{name}] padding_mode must be one of {set(_PADDING_MODES)}, but got "
                                f"padding_mode='{padding_mode}'")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride = per_axis(kernel_size, self.rank), per_axis(stride, self.rank)
        self.padding: Any = padding if isinstance(padding, str) else per_axis(padding, self.rank)
        self.dilation, self.output_padding = (
            per_axis(dilation, self.rank),
            per_axis(output_padding, self.rank),
        )
        self.groups, self.padding_mode = groups, padding_mode
        self._reversed_padding_repeated_twice = self._edges()  # programs read it, and pad by it themselves
        first, second = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        self.weight = Parameter(
            lazygrad.empty(first, second // groups, *self.kernel_size, device=device, dtype=dtype)
        )
        self.register_parameter("bias", parameter_if(bias, (out_channels,), device, dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias uniformly from +-1 / sqrt(fan_in)."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in, _ = init._calculate_fan_in_and_fan_out(self.weight)
            if fan_in:
                bound = 1 / math.sqrt(fan_in)
                init.uniform_(self.bias, -bound, bound)

    def _edges(self) -> Sequence[int]:
        """How much to pad before and after each axis, the last axis first, as F.pad takes it."""
        if self.padding == "valid":
            return [0] * (2 * self.rank)
        if self.padding != "same":
            return tuple(self.padding[i] for i in reversed(range(self.rank)) for _ in range(2))
        edges: list[int] = []
        for i in reversed(range(self.rank)):
            total = self.dilation[i] * (self.kernel_size[i] - 1)
            edges += [total // 2, total - total // 2]
        return edges

    def extra_repr(self) -> str:
        text = (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        )
        shown = (("padding", self.padding, (0,) * self.rank), ("dilation", self.dilation, (1,) * self.rank),
                 ("output_padding", self.output_padding, (0,) * self.rank), ("groups", self.groups, 1))
        text += "".join(f", {name}={value}" for name, value, default in shown if value != default)
        text += ", bias=False" if self.bias is None else ""
        return text + (f", padding_mode={self.padding_mode}" if self.padding_mode != "zeros" else "")


class _Convolution(_ConvNd):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, 0, groups, bias,
                         padding_mode, device, dtype)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        convolve = getattr(F, f"conv{self.rank}d")
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            input = F.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode)
            padding = 0
        return convolve(input, weight, bias, self.stride, padding, self.dilation, self.groups)

    def forward(self, input: Tensor) -> Tensor:
        """(N, in_channels, ...) or (in_channels, ...) to out_channels and the spatial sizes that fit."""
        return self._conv_forward(input, self.weight, self.bias)


class Conv1d(_Convolution):
    """Convolution of (N, C, L) or (C, L) with a weight (out_channels, in_channels / groups, k)."""

    rank = 1


class Conv2d(_Convolution):
    """Convolution of (N, C, H, W) or (C, H, W) with a weight (out_channels, in_channels / groups, kh, kw)."""

    rank = 2


class Conv3d(_Convolution):
    """Convolution of (N, C, D, H, W) or (C, D, H, W) with a weight (out_channels, in_channels / groups, kd,
    kh, kw)."""

    rank = 3


class _ConvTransposeNd(_ConvNd):
    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if padding_mode != "zeros":
            name = type(self).__name__
            raise ArgumentError(f'[{name}] Only "zeros" padding mode is supported for {name}')
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            output_padding,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def _output_padding(self, input: Tensor, output_size: Any) -> tuple[int, ...]:
        """The output padding that gives `output_size`; ValueError where none does."""
        if output_size is None:
            return self.output_padding
        rank = self.rank
        wanted = tuple(output_size)
        wanted = wanted[-rank:] if len(wanted) == input.ndim else wanted
        if len(wanted) != rank:
            raise ArgumentError(
                f"[{type(self).__name__}] ConvTranspose{rank}D: for {input.ndim}D input, output_size must "
                f"have {rank} or {input.ndim} elements (got {len(wanted)})"
            )
        smallest = [(input.shape[i - rank] - 1) * self.stride[i] - 2 * self.padding[i]
                    + self.dilation[i] * (self.kernel_size[i] - 1) + 1 for i in range(rank)]
        largest = [low + stride - 1 for low, stride in zip(smallest, self.stride, strict=True)]
        if any(not low <= size <= high for size, low, high in zip(wanted, smallest, largest, strict=True)):
            raise ArgumentError(
                f"[{type(self).__name__}] requested an output size of {list(wanted)}, but valid sizes "
                f"range from {smallest} to {largest} (for an input of {input.size()[2:]})"
            )
        return tuple(size - low for size, low in zip(wanted, smallest, strict=True))

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        """(N, in_channels, ...) or (in_channels, ...) to out_channels and larger spatial sizes."""
        if isinstance(self.padding, str):
            raise ArgumentTypeError(f"[conv_transpose] padding must be numbers, not {self.padding!r}")
        convolve = getattr(F, f"conv_transpose{self.rank}d")
        return convolve(input, self.weight, self.bias, self.stride, self.padding,
                        self._output_padding(input, output_size), self.groups, self.dilation)


class _ConvTransposeMixin(_ConvTransposeNd):
    """PyTorch's older base of transposed convolutions, which code still names."""


class ConvTranspose1d(_ConvTransposeNd):
    """The gradient of Conv1d as a layer; weight (in_channels, out_channels / groups, k)."""

    rank = 1


class ConvTranspose2d(_ConvTransposeNd):
    """The gradient of Conv2d as a layer; weight (in_channels, out_channels / groups, kh, kw)."""

    rank = 2


class ConvTranspose3d(_ConvTransposeNd):
    """The gradient of Conv3d as a layer; weight (in_channels, out_channels / groups, kd, kh, kw)."""

    rank = 3
