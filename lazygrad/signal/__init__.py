"""PyTorch's `signal` namespace."""

from lazygrad.signal import windows

__all__ = ["windows"]
