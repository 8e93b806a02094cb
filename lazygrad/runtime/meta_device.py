"""The device META: tensors with shapes and types and no values, for models whose weights come later."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from lazygrad.errors import MissingError
from lazygrad.runtime.device import Buffer, Device, MemoryStats
from lazygrad.source import Target


class MetaDevice(Device):
    """No memory and no kernels: what is written is forgotten, and there is nothing to read."""

    name = "META"

    def __init__(self) -> None:
        self.stats = MemoryStats()

    @property
    def target(self) -> Target:
        return Target("META", "meta")

    @property
    def description(self) -> str:
        return "META: shapes and types without values"

    def allocate(self, nbytes: int) -> Buffer:
        return Buffer(self, nbytes, None)

    def free(self, buffer: Buffer) -> None:
        """There is no memory."""

    def copy_in(self, buffer: Buffer, data: Any) -> None:
        """Forgotten."""

    def copy_out(self, buffer: Buffer, into: np.ndarray | None = None) -> bytes | np.ndarray:
        raise no_values()

    def synchronize(self) -> None:
        """Nothing runs here."""


def no_values() -> MissingError:
    """What a reader of values is told."""
    return MissingError(
        "[meta] Cannot copy out of meta tensor; no data! Use Module.to_empty(device=...) to move a module "
        "from meta to another device, or load_state_dict(state, assign=True) to give it its weights."
    )


@lru_cache(maxsize=1)
def meta_device() -> MetaDevice:
    """The one META device of this process."""
    return MetaDevice()
