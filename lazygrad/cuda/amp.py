"""`cuda.amp`, PyTorch's older names of what is in `amp`."""

from __future__ import annotations

import warnings
from typing import Any

from lazygrad import dtypes
from lazygrad.amp import GradScaler as GeneralGradScaler
from lazygrad.amp import autocast as general_autocast
from lazygrad.amp import custom_bwd as general_custom_bwd
from lazygrad.amp import custom_fwd as general_custom_fwd


class autocast(general_autocast):
    """`amp.autocast("cuda", ...)`."""

    def __init__(self, enabled: bool = True, dtype: Any = dtypes.float16, cache_enabled: bool = True):
        super().__init__("cuda", enabled=enabled, dtype=dtype, cache_enabled=cache_enabled)


class GradScaler(GeneralGradScaler):
    """`amp.GradScaler("cuda", ...)`."""

    def __init__(
        self,
        init_scale: float = 65536.0,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ):
        super().__init__("cuda", init_scale, growth_factor, backoff_factor, growth_interval, enabled)


def _of_cuda(name: str, function: Any, given: Any, **options: Any) -> Any:
    warnings.warn(
        f"`torch.cuda.amp.{name}(args...)` is deprecated. Please use `torch.amp.{name}(args..., "
        "device_type='cuda')` instead.",
        FutureWarning,
        stacklevel=3,
    )
    return function(given, device_type="cuda", **options)


def custom_fwd(fwd: Any = None, *, cast_inputs: Any = None) -> Any:
    """`amp.custom_fwd(fwd, device_type="cuda", ...)`."""
    return _of_cuda("custom_fwd", general_custom_fwd, fwd, cast_inputs=cast_inputs)


def custom_bwd(bwd: Any) -> Any:
    """`amp.custom_bwd(bwd, device_type="cuda")`."""
    return _of_cuda("custom_bwd", general_custom_bwd, bwd)
