"""`cuda.amp`, PyTorch's older names of what is in `amp`."""

from __future__ import annotations

from typing import Any

from lazygrad import dtypes
from lazygrad.amp import GradScaler as GradScaler
from lazygrad.amp import autocast as general_autocast
from lazygrad.amp import custom_bwd as custom_bwd
from lazygrad.amp import custom_fwd as custom_fwd


class autocast(general_autocast):
    """`amp.autocast("cuda", ...)`."""

    def __init__(self, enabled: bool = True, dtype: Any = dtypes.float16, cache_enabled: bool = True):
        super().__init__("cuda", enabled=enabled, dtype=dtype, cache_enabled=cache_enabled)
