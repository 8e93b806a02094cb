"""What a replay knows of tensors: where each stands, its storage, and where results are put.

A *stand* is a place where a tensor stands (an argument, a module's parameter, a gradient): a replay takes the
tensor that stands there now. A *storage* is a cell that the function reads or writes. An *output* is a place
where each replay puts a tensor.

Memory that nobody else holds is written in place. Whether anybody does is asked of Python's reference
counts: they are noted when a replay has just made a tensor, and as long as they are not higher, it is the
only holder.
"""

from __future__ import annotations

import sys
from operator import is_not
from typing import Any

import numpy as np

from lazygrad import ops
from lazygrad.compositions.bounds import interval_of
from lazygrad.engine import download, upload
from lazygrad.engine.capture import copied
from lazygrad.graph import Node
from lazygrad.interpret import interpret
from lazygrad.tensors.cell import Cell
from lazygrad.tensors.core import Tensor
from lazygrad.tensors.jit.blueprint import Blueprint
from lazygrad.tensors.jit.reachable import Arguments
from lazygrad.tensors.realization import realize_cells

_count = sys.getrefcount


def signature(x: Tensor) -> tuple[Any, ...]:
    """What must be the same of a tensor that takes another one's stand."""
    history = x._history
    node = history.cell.node
    return (type(x), x._shape, x._dtype, history.cell.device, node.shape, node.dtype,
            history.prefix + x._chain, x._strides, x._offset, x.requires_grad, history.token is None)


def buffer_node(cell: Cell) -> Node:
    """The buffer node of a cell, whose number is uploaded where it is one."""
    if not cell.is_realized:
        realize_cells([cell])
    if cell.shared is not None:
        return cell.shared.node(cell)  # as it is now: the memory itself may be written at any time
    if cell.node.op.name == "scalar":
        cell.settle(upload(download(cell.node), cell.node.dtype, cell.device))
    return cell.node


class Stand:
    """A place, and the tensor that stood there last."""

    __slots__ = ("chain", "container", "history", "key", "kind", "part", "storage", "tensor")

    def __init__(self, container: Any, key: Any, tensor: Tensor) -> None:
        self.container, self.key = container, key
        self.part = isinstance(container, Arguments) and container.parts[key]
        self.kind = None if self.part else signature(tensor)
        self.storage: Storage | None = None
        self._take(tensor)

    def _take(self, tensor: Tensor) -> None:
        self.tensor, self.history, self.chain = tensor, tensor._history, tensor._chain

    def is_same(self) -> bool:
        """Whether the tensor is what it was when it came to stand here."""
        return self.tensor._history is self.history and self.tensor._chain is self.chain

    def accept(self, tensor: Tensor) -> bool:
        """Let another tensor of the same kind, or the same one changed from outside, stand here."""
        if not isinstance(tensor, Tensor) or (not self.part and signature(tensor) != self.kind):
            return False
        if tensor is not self.tensor and tensor.requires_grad and not isinstance(self.container, Arguments):
            return False  # gradients are known by the tensor itself
        self._take(tensor)
        return True


class Storage:
    """A cell that the function reads or writes; `stands`: those whose tensors it belongs to, none for a cell
    that only the recording knows. `part`: it is a run of elements in the cell."""

    __slots__ = ("buffer", "cell", "counts", "limits", "node", "output", "overwritten", "part", "promise",
                 "stands")

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.stands: list[Stand] = []
        self.promise: Node | None = None
        self.part = self.overwritten = False
        self.limits: tuple[int, int] | None = None
        self.node: Node | None = None
        self.buffer: Any = None
        self.counts: tuple[int, ...] | None = None
        self.output: Output | None = None

    def bring(self) -> None:
        """Have the value of the cell in a buffer of its own."""
        if self.part and self.cell.shared is not None:
            self.node = self.cell.shared.run_of(self.cell, self.stands[0].tensor)
            self.buffer = self.node.arg
            return
        node = buffer_node(self.cell)
        if self.part:
            x = self.stands[0].tensor
            size = x._dtype.itemsize
            part = node.arg.slice(x._offset * size, x._shape.numel() * size)
            self.node, self.buffer = node, part
            return
        if not node.arg.is_whole:
            whole = copied(node.arg, node.size * node.dtype.itemsize)
            self.cell.settle(ops.buffer(whole, node.dtype, node.shape))
            node = self.cell.node
        self.node, self.buffer, self.counts = node, node.arg, None

    def hold(self) -> None:
        """Know the buffer of a cell that has just got it; one that is no whole one is still to be brought."""
        node = self.cell.node
        known = node.arg.is_whole and self.cell.shared is None
        self.node, self.buffer, self.counts = node if known else None, node.arg, None

    def note(self) -> None:
        """Nobody but the cell holds the buffer now."""
        self.counts = self._counts()

    def _counts(self) -> tuple[int, ...]:
        return _count(self.node), _count(self.buffer)

    @property
    def nbytes(self) -> int:
        """The size of what is read."""
        assert self.promise is not None
        return self.promise.size * self.promise.dtype.itemsize

    def is_free(self) -> bool:
        """Whether nobody will see that the buffer is written over."""
        if self.output is not None:
            return self.output.stays
        counts = self.counts
        return counts is not None and _count(self.node) <= counts[0] and _count(self.buffer) <= counts[1]

    def is_inside(self) -> bool:
        """Whether the integers lie where the recording needs them."""
        if self.limits is None:
            return True
        low, high = interval_of(self._read_node(), download)
        return self.limits[0] <= low and high <= self.limits[1]

    def values(self) -> np.ndarray:
        """What is read."""
        return download(self._read_node())

    def _read_node(self) -> Node:
        assert self.node is not None and self.promise is not None
        return ops.buffer(self.buffer, self.node.dtype, self.promise.shape) if self.part else self.node


class Condition:
    """An index computed from integers in storages, which must lie in `limits`: looked at where one of them
    holds something else than the last time."""

    def __init__(self, index: Node, limits: tuple[int, int], storages: dict[Node, Storage]) -> None:
        self.index, self.limits, self.storages = index, limits, storages
        self._held: list[Node | None] = []

    def holds(self) -> bool:
        """Whether every index lies inside."""
        held = [storage.node for storage in self.storages.values()]
        if len(held) != len(self._held) or any(map(is_not, held, self._held)):
            values = interpret([self.index], lambda promise: self.storages[promise].values())[0]
            if values.size and not (self.limits[0] <= values.min() and values.max() <= self.limits[1]):
                return False
            self._held = held
        return True


class Output:
    """A place where each replay puts a tensor; the last one stays there where nobody else holds it."""

    __slots__ = ("blueprint", "container", "counts", "key", "stand", "stays", "storage", "tensor")

    def __init__(self, container: Any, key: Any, blueprint: Blueprint) -> None:
        self.container, self.key, self.blueprint = container, key, blueprint
        self.tensor: Tensor | None = None
        self.counts: tuple[int, ...] | None = None
        self.stand: Stand | None = None  # of the tensor that is replaced here, if the function saw it
        self.storage: Storage | None = None  # which is read, and then replaced here
        self.stays = False

    def put(self, tensor: Tensor) -> None:
        """Let a new tensor stand here."""
        self.tensor = self.container[self.key] = tensor
        self.counts = None
        if self.stand is not None and self.stand.accept(tensor) and self.storage is not None:
            self.storage.cell = tensor._history.cell
            self.storage.hold()

    def note(self) -> None:
        """Nobody but the place holds the tensor now."""
        self.counts = self._counts()

    def _counts(self) -> tuple[int, ...]:
        history = self.tensor._history  # type: ignore[union-attr]
        cell = history.cell
        node = cell.node
        return (_count(self.tensor), _count(history), _count(cell), _count(node), _count(node.arg),
                _count(node.arg.storage))

    def is_sole(self) -> bool:
        """Whether the tensor still stands at its place, is what it was made, and nobody else holds it."""
        counts = self.counts
        if counts is None or self.container[self.key] is not self.tensor:
            return False
        if not self.tensor._history.cell.is_realized:
            return False
        return all(map(int.__le__, self._counts(), counts))
