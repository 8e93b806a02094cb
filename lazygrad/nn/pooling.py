"""Pooling modules: one row for each function."""

from __future__ import annotations

from functools import partial
from typing import Any

from lazygrad.errors import ArgumentError
from lazygrad.nn import functional as F
from lazygrad.nn.function_module import REQUIRED, FunctionModule, signature_of
from lazygrad.nn.function_module import define as _define
from lazygrad.nn.module import Module
from lazygrad.nn.sizes import per_axis
from lazygrad.tensors import Tensor


class _Pooling(FunctionModule):
    """A stride that is not given is the size of the window."""

    def _take(self, settings: dict[str, Any]) -> None:
        if settings.get("stride", 0) is None:
            settings["stride"] = settings["kernel_size"]
        super()._take(settings)


def _family(name: str, doc: str, shown: str, base: type = _Pooling, **settings: Any) -> Any:
    """A class from which a family of pooling modules is derived, and whose __init__ is theirs."""
    own = {"__doc__": doc, "__module__": __name__, "_settings": signature_of(settings),
           "_passed": tuple(settings), "_shown": tuple(shown.split())}
    return type(name, (base,), own)


def _row(base: type, name: str, function: Any, doc: str, **more: Any) -> Any:
    settings = {key: given.default
                for key, given in base._settings.parameters.items()}  # type: ignore[attr-defined]
    shown = base._shown  # type: ignore[attr-defined]
    return _define(name, function, doc, base=base, module=__name__, shown=shown, **settings, **more)


_window: dict[str, Any] = {"kernel_size": REQUIRED, "stride": None, "padding": 0}
_MaxPoolNd = _family("_MaxPoolNd", "Maxima of windows.", "kernel_size stride padding dilation ceil_mode",
                     **_window, dilation=1, return_indices=False, ceil_mode=False)
_AvgPoolNd = _family("_AvgPoolNd", "Means of windows.", "kernel_size stride padding", **_window,
                     ceil_mode=False, count_include_pad=True)
# its stride stays None, and the function knows what that means
_LPPoolNd = _family("_LPPoolNd", "Norms of windows.", "norm_type kernel_size stride ceil_mode",
                    FunctionModule, norm_type=REQUIRED, kernel_size=REQUIRED, stride=None, ceil_mode=False)
_AdaptiveAvgPoolNd = _family("_AdaptiveAvgPoolNd", "Means of some windows.", "output_size",
                             output_size=REQUIRED)
_AdaptiveMaxPoolNd = _family("_AdaptiveMaxPoolNd", "Maxima of some windows.", "output_size",
                             output_size=REQUIRED, return_indices=False)
_max, _average, _power = partial(_row, _MaxPoolNd), partial(_row, _AvgPoolNd), partial(_row, _LPPoolNd)
_adaptive, _adaptive_max = partial(_row, _AdaptiveAvgPoolNd), partial(_row, _AdaptiveMaxPoolNd)


class _Line(_AvgPoolNd):  # type: ignore[valid-type,misc]
    """AvgPool1d keeps its sizes as tuples of one."""

    def _take(self, settings: dict[str, Any]) -> None:
        super()._take(settings)
        for name in ("kernel_size", "stride", "padding"):
            setattr(self, name, per_axis(getattr(self, name), 1))


MaxPool1d = _max("MaxPool1d", F.max_pool1d, "The greatest of each window of (N, C, L).")
MaxPool2d = _max("MaxPool2d", F.max_pool2d, "The greatest of each window of (N, C, H, W).")
MaxPool3d = _max("MaxPool3d", F.max_pool3d, "The greatest of each window of (N, C, D, H, W).")
AvgPool1d = _row(_Line, "AvgPool1d", F.avg_pool1d, "The mean of each window of (N, C, L).")
AvgPool2d = _average(
    "AvgPool2d", F.avg_pool2d, "The mean of each window of (N, C, H, W).", divisor_override=None
)
AvgPool3d = _average(
    "AvgPool3d", F.avg_pool3d, "The mean of each window of (N, C, D, H, W).", divisor_override=None
)
LPPool1d = _power("LPPool1d", F.lp_pool1d, "The p-norm of each window of (N, C, L).")
LPPool2d = _power("LPPool2d", F.lp_pool2d, "The p-norm of each window of (N, C, H, W).")
LPPool3d = _power("LPPool3d", F.lp_pool3d, "The p-norm of each window of (N, C, D, H, W).")
AdaptiveAvgPool1d = _adaptive("AdaptiveAvgPool1d", F.adaptive_avg_pool1d, "Means over a number of windows.")
AdaptiveAvgPool2d = _adaptive("AdaptiveAvgPool2d", F.adaptive_avg_pool2d, "Means over a grid of windows.")
AdaptiveAvgPool3d = _adaptive("AdaptiveAvgPool3d", F.adaptive_avg_pool3d, "Means over a grid of windows.")
AdaptiveMaxPool1d = _adaptive_max(
    "AdaptiveMaxPool1d", F.adaptive_max_pool1d, "Maxima over a number of windows."
)
AdaptiveMaxPool2d = _adaptive_max(
    "AdaptiveMaxPool2d", F.adaptive_max_pool2d, "Maxima over a grid of windows."
)
AdaptiveMaxPool3d = _adaptive_max(
    "AdaptiveMaxPool3d", F.adaptive_max_pool3d, "Maxima over a grid of windows."
)


class _MaxUnpoolNd(Module):
    """The inverse of max pooling: values back at their places, 0 elsewhere."""

    rank: int

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        super().__init__()
        self.kernel_size = per_axis(kernel_size, self.rank)
        self.stride = per_axis(kernel_size if stride is None else stride, self.rank)
        self.padding = per_axis(padding, self.rank)

    def forward(self, input: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        """(N, C, ...) and indices of the same shape to larger spatial sizes."""
        unpool = getattr(F, f"max_unpool{self.rank}d")
        return unpool(input, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpoolNd):
    """The inverse of MaxPool1d with indices."""

    rank = 1


class MaxUnpool2d(_MaxUnpoolNd):
    """The inverse of MaxPool2d with indices."""

    rank = 2


class MaxUnpool3d(_MaxUnpoolNd):
    """The inverse of MaxPool3d with indices."""

    rank = 3


class _FractionalMaxPool(Module):
    """Maxima of windows at random places."""

    rank: int

    def __init__(
        self,
        kernel_size: Any,
        output_size: Any = None,
        output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.kernel_size = per_axis(kernel_size, self.rank)
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)
        self.output_size = None if output_size is None else per_axis(output_size, self.rank)
        self.output_ratio = None if output_ratio is None else per_axis(output_ratio, self.rank)
        if output_size is None and output_ratio is None:
            raise ArgumentError(
                f"[{name}] {name} requires specifying either an output size, or a pooling ratio"
            )
        if output_size is not None and output_ratio is not None:
            raise ArgumentError(f"[{name}] only one of output_size and output_ratio may be specified")
        if self.output_ratio is not None and not all(0 < ratio < 1 for ratio in self.output_ratio):
            raise ArgumentError(f"[{name}] output_ratio must be between 0 and 1 (got {output_ratio})")

    def forward(self, input: Tensor) -> Any:
        """The maxima, and their places with return_indices."""
        pool = getattr(F, f"fractional_max_pool{self.rank}d")
        return pool(
            input,
            self.kernel_size,
            self.output_size,
            self.output_ratio,
            self.return_indices,
            self._random_samples,
        )


class FractionalMaxPool2d(_FractionalMaxPool):
    """Maxima over a grid of windows at random places of (N, C, H, W)."""

    rank = 2


class FractionalMaxPool3d(_FractionalMaxPool):
    """Maxima over a grid of windows at random places of (N, C, D, H, W)."""

    rank = 3
