"""Pinned memory, which there is none of here: what would be pinned is given back."""

from typing import Any


def pin_memory(data: Any, device: Any = None) -> Any:
    """`data` itself."""
    return data
