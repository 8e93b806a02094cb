"""PyTorch's `amp` namespace: `autocast` and `GradScaler`."""

from lazygrad.amp import autocast_mode, grad_scaler
from lazygrad.amp.autocast_mode import (
    autocast,
    custom_bwd,
    custom_fwd,
    is_autocast_available,
)
from lazygrad.amp.grad_scaler import GradScaler

__all__ = [
    "GradScaler",
    "autocast",
    "autocast_mode",
    "custom_bwd",
    "custom_fwd",
    "grad_scaler",
    "is_autocast_available",
]
