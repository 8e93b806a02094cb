"""The engine's door: graphs in, buffers out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lazygrad import ops
from lazygrad.dtype import DType, from_storage, to_storage
from lazygrad.graph import Node
from lazygrad.interpret import interpret


class HostBuffer:
    """Stand-in for the runtime's Buffer until the engine holds real devices."""

    def __init__(self, bits: np.ndarray, device: str):
        self.bits, self.device = bits, device


def upload(values: np.ndarray, dtype: DType, device: str) -> Node:
    """A buffer node with a copy of `values` (NumPy values; bfloat16 given as float32) on `device`."""
    return ops.buffer(HostBuffer(to_storage(values, dtype).copy(), device), dtype, values.shape)


def download(node: Node) -> np.ndarray:
    """A fresh array with the values of a buffer or saved node; bfloat16 comes as float32."""
    return np.array(from_storage(node.arg.bits, node.dtype).reshape(node.shape))


def realize(targets: Sequence[Node], device: str) -> list[Node]:
    """Run what the targets need and return one buffer node for each, in order."""
    values = interpret(targets, download)
    return [upload(v, n.dtype, device) for v, n in zip(values, targets, strict=True)]
