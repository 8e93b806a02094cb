"""Scratch memory on which a kernel can be tried: as large as its own, with values that are safe for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lazygrad.dtypes import from_storage, to_storage
from lazygrad.graph import Node, topological
from lazygrad.interpret import run_node
from lazygrad.runtime.device import Buffer, Device
from lazygrad.scheduler.group import Group, nbytes

RANDOM = 1 << 20  # different values of an input; a larger one repeats them
UNWRITTEN = 0x7F  # of each byte of an output: a huge number in every type
LARGEST_INTEGER = 100


@dataclass(frozen=True)
class Layout:
    """Where a kernel's nodes are: for each its memory and byte offset, and the bytes of each memory."""

    places: Mapping[Node, tuple[int, int]]
    extents: Sequence[int]


class Scratch:
    """Buffers for one kernel. `changed`: memories in which a run writes over what the next run would read."""

    def __init__(self, device: Device, group: Group, layout: Layout, values: Mapping[Node, np.ndarray]):
        self.device, self.group, self.outputs, self.places = device, group, group.outputs, layout.places
        self.images = [np.zeros(size, np.uint8) for size in layout.extents]
        for node in group.outputs:
            self._part(self.images, node)[:] = UNWRITTEN
        for node, value in values.items():
            bits = to_storage(value, node.dtype).reshape(-1)
            self._part(self.images, node)[:] = bits.view(np.uint8)
        self.buffers: list[Buffer] = [device.allocate(max(size, 1)) for size in layout.extents]
        written = {self.places[node][0] for node in group.outputs}
        self.changed = sorted(written & {self.places[node][0] for node in group.inputs})
        self.restore(range(len(self.buffers)))

    def _part(self, memories: Sequence[np.ndarray], node: Node) -> np.ndarray:
        slot, offset = self.places[node]
        return memories[slot][offset:offset + nbytes(node)]

    def is_safe(self) -> bool:
        """Whether every index of the group is within what it indexes: parts of one memory may lie over each
        other, so that an input need not hold the values that it was given."""
        bits = {n: self._part(self.images, n).copy().view(n.dtype.storage) for n in self.group.inputs}
        values = {n: from_storage(found.reshape(n.shape), n.dtype) for n, found in bits.items()}
        indices = indices_of(self.group)
        found = _evaluated([node for node, _ in indices], values)
        return all(found[n].size == 0 or found[n].min() >= 0 and found[n].max() < end for n, end in indices)

    def restore(self, slots: Sequence[int]) -> None:
        """Give memories the contents that they had at first."""
        for slot in slots:
            self.device.copy_in(self.buffers[slot], self.images[slot])

    def forget(self) -> None:
        """Bring the memories of outputs to a state that no result has."""
        self.restore(sorted({self.places[node][0] for node in self.outputs}))

    def results(self) -> list[np.ndarray]:
        """What is in the outputs now."""
        found = {}
        for slot in {self.places[node][0] for node in self.outputs}:
            found[slot] = np.empty(len(self.images[slot]), np.uint8)
            self.device.copy_out(self.buffers[slot], found[slot])
        bits = []
        for node in self.outputs:
            slot, offset = self.places[node]
            part = found[slot][offset:offset + nbytes(node)].copy()
            bits.append(from_storage(part.view(node.dtype.storage).reshape(node.shape), node.dtype))
        return bits


def random_values(group: Group, least: float) -> dict[Node, np.ndarray]:
    """A value for each input of a group: floats in [least, least + 2), small integers, and where an index is
    computed from integers, such as are within what is indexed."""
    indices = indices_of(group)
    stop, bounds = frozenset(group.inputs), dict[Node, int]()
    for node, extent in indices:
        for below in topological((node,), lambda n: () if n in stop else n.inputs):
            if below in stop and below.dtype.is_integer:
                bounds[below] = min(bounds.get(below, extent), extent)
    random = np.random.default_rng(0)
    return {node: _random_value(random, node, bounds.get(node), least) for node in group.inputs}


def indices_of(group: Group) -> list[tuple[Node, int]]:
    """Every index tensor of a group, and the size of the axis that it indexes."""
    found = []
    for node in group.nodes():
        if node.op.name in ("gather", "scatter"):
            axes = node.arg if node.op.name == "gather" else node.arg[0]
            found += [(i, node.inputs[0].shape[a]) for i, a in zip(node.inputs[1:], axes, strict=False)]
    return found


def _random_value(random: np.random.Generator, node: Node, bound: int | None, least: float) -> np.ndarray:
    count, dtype = min(node.size, RANDOM), node.dtype
    some: np.ndarray
    if bound is not None:
        some = random.integers(0, max(1, min(bound, int(dtype.max))), count)
    elif dtype.kind == "float":
        some = random.random(count) * 2 + least
    elif dtype.kind == "bool":
        some = random.random(count) < 0.5
    else:
        some = random.integers(1, min(LARGEST_INTEGER, int(dtype.max)), count)
    return np.resize(some.astype(dtype.numpy), node.shape) if node.size else np.empty(node.shape, dtype.numpy)


def _evaluated(targets: Sequence[Node], values: Mapping[Node, np.ndarray]) -> dict[Node, np.ndarray]:
    """The values of nodes that are computed from a group's inputs."""
    found = dict(values)
    with np.errstate(all="ignore"):
        for node in topological(targets, lambda n: () if n in values else n.inputs):
            if node not in found:
                found[node] = run_node(node, [found[i] for i in node.inputs])
    return found
