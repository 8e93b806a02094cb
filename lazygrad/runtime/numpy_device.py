"""The device NUMPY: buffers are arrays in host memory;
the engine interprets graphs on it instead of compiling them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from lazygrad.errors import OutOfMemoryError
from lazygrad.runtime.device import Buffer, Device, MemoryStats, byte_view
from lazygrad.source import Target


class NumpyDevice(Device):
    """Host memory as NumPy gives it; no kernels."""

    name = "NUMPY"

    def __init__(self) -> None:
        self.stats = MemoryStats()

    @property
    def target(self) -> Target:
        return Target("NUMPY", "numpy")

    @property
    def description(self) -> str:
        return f"NUMPY: the reference interpreter, NumPy {np.__version__}"

    def allocate(self, nbytes: int) -> Buffer:
        try:
            memory = np.empty(nbytes, np.uint8)
        except (MemoryError, ValueError):
            raise OutOfMemoryError(
                f"[allocate] NUMPY: {nbytes} bytes asked, {self.stats.in_use} in use by buffers: "
                                   "use smaller tensors or delete some") from None
        self.stats.take(nbytes)
        return Buffer(self, nbytes, memory)

    def borrow(self, memory: np.ndarray) -> Buffer:
        self.stats.take(memory.nbytes)
        return Buffer(self, memory.nbytes, memory)

    def free(self, buffer: Buffer) -> None:
        self.stats.in_use -= buffer.nbytes

    def copy_in(self, buffer: Buffer, data: Any) -> None:
        values = byte_view(data)
        buffer.handle[buffer.offset:buffer.offset + values.size] = values

    def copy_out(self, buffer: Buffer, into: np.ndarray | None = None) -> bytes | np.ndarray:
        values = buffer.handle[buffer.offset:buffer.offset + buffer.nbytes]
        if into is None:
            return values.tobytes()
        byte_view(into)[...] = values[:into.nbytes]
        return into

    def synchronize(self) -> None:
        """Nothing runs in the background."""


@lru_cache(maxsize=1)
def numpy_device() -> NumpyDevice:
    """The one NUMPY device of this process."""
    return NumpyDevice()
