"""PyTorch's `accelerator` namespace: an OpenCL device that is a GPU, where there is one."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from lazygrad import cuda
from lazygrad.tensors.devices import device

device_count = cuda.device_count
is_available = cuda.is_available
synchronize = cuda.synchronize
empty_cache = cuda.empty_cache
memory_allocated = cuda.memory_allocated
max_memory_allocated = cuda.max_memory_allocated
memory_reserved = cuda.memory_reserved
reset_peak_memory_stats = cuda.reset_peak_memory_stats
set_device_index = cuda.set_device
set_device_idx = cuda.set_device
current_device_index = cuda.current_device
current_device_idx = cuda.current_device


def current_accelerator(check_available: bool = False) -> device | None:
    """The device that a program would best use beside the CPU; None where there is none."""
    return device("cl") if is_available() else None


def current_stream(device: Any = None) -> cuda.Stream:
    """The one queue of a device."""
    return cuda.Stream()


def set_stream(stream: Any) -> None:
    """Changes nothing: a device has one queue."""


def device_index(index: Any) -> nullcontext[None]:
    """A block of code; devices are named where tensors are made."""
    return nullcontext()
