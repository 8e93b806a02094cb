"""Memory formats of weights: accepted, tensors have one."""

from __future__ import annotations

from typing import Any


def convert_conv2d_weight_memory_format(module: Any, memory_format: Any) -> Any:
    """The module: how weights lie in memory is the compiler's choice."""
    return module


def convert_conv3d_weight_memory_format(module: Any, memory_format: Any) -> Any:
    """The module: how weights lie in memory is the compiler's choice."""
    return module
