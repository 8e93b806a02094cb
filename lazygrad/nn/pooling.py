"""Pooling modules: one row for each function."""

from __future__ import annotations

from functools import partial
from typing import Any

from lazygrad.nn import functional as F
from lazygrad.nn.function_module import REQUIRED, FunctionModule
from lazygrad.nn.function_module import define as _define
from lazygrad.nn.sizes import per_axis


class _Pooling(FunctionModule):
    """A stride that is not given is the size of the window."""

    def _take(self, settings: dict[str, Any]) -> None:
        if settings.get("stride", 0) is None:
            settings["stride"] = settings["kernel_size"]
        super()._take(settings)


_row = partial(_define, base=_Pooling, module=__name__)
_max = partial(
    _row,
    shown=("kernel_size", "stride", "padding", "dilation", "ceil_mode"),
    kernel_size=REQUIRED,
    stride=None,
    padding=0,
    dilation=1,
    return_indices=False,
    ceil_mode=False,
)
_average = partial(
    _row,
    shown=("kernel_size", "stride", "padding"),
    kernel_size=REQUIRED,
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
)
# their stride stays None, and the function knows what that means
_power = partial(
    _define,
    module=__name__,
    shown=("norm_type", "kernel_size", "stride", "ceil_mode"),
    norm_type=REQUIRED,
    kernel_size=REQUIRED,
    stride=None,
    ceil_mode=False,
)
_adaptive = partial(_row, shown=("output_size",), output_size=REQUIRED)
_adaptive_max = partial(_adaptive, return_indices=False)


class _Line(_Pooling):
    """AvgPool1d keeps its sizes as tuples of one."""

    def _take(self, settings: dict[str, Any]) -> None:
        super()._take(settings)
        for name in ("kernel_size", "stride", "padding"):
            setattr(self, name, per_axis(getattr(self, name), 1))


MaxPool1d = _max("MaxPool1d", F.max_pool1d, "The greatest of each window of (N, C, L).")
MaxPool2d = _max("MaxPool2d", F.max_pool2d, "The greatest of each window of (N, C, H, W).")
MaxPool3d = _max("MaxPool3d", F.max_pool3d, "The greatest of each window of (N, C, D, H, W).")
AvgPool1d = _average("AvgPool1d", F.avg_pool1d, "The mean of each window of (N, C, L).", base=_Line)
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
