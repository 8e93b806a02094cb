"""Storage: `Cell`, the current value that all aliases share, and `History`, what gradients know of it.

A cell holds a Node and changes by taking another one. Tensors that share storage share the cell; tensors that
also share their gradient history (a tensor and its differentiable views) share a `History`. `detach()` and
views made under `no_grad` get a history of their own over the same cell, as in PyTorch.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any
from weakref import ref

from lazygrad import ops
from lazygrad.graph import Node
from lazygrad.helpers import Living
from lazygrad.hooks import hook_table
from lazygrad.tensors.recording import now
from lazygrad.tensors.views import Chain, read_through, write_back

_REALIZED = (ops.OPS["buffer"], ops.OPS["scalar"])
live_cells: Living[Cell] = Living()
_enter, _leave = live_cells.enter, live_cells.leave
pending_cells: Living[Cell] = Living()
_serials = itertools.count()
tracked_histories: Living[History] = Living()


class Token:
    """Names one differentiable leaf in graphs: the argument of its `leaf` nodes. `label`: what the user calls
    the leaf, once it is called something."""

    __slots__ = ("__weakref__", "cell", "label", "tensor")
    is_end = True  # no gradient flows into a leaf's value

    def __init__(self, tensor: Any, cell: Cell):
        self.tensor: Callable[[], Any] = ref(tensor)
        self.cell: Callable[[], Cell | None] = ref(cell)
        self.label: Any


class Mark:
    """Names one tensor in the middle of a graph whose gradient somebody wants to see: the argument of a
    `leaf` node that lets the gradient through. `hooks` may change it, even when the tensor is gone."""

    __slots__ = ("__weakref__", "device", "hooks", "tensor")

    def __init__(self, tensor: Any):
        self.tensor: Callable[[], Any] = ref(tensor)
        self.device: str = tensor.cell.device
        self.hooks = hook_table()


class Spent:
    """The token of a value whose history a backward pass has freed."""


SPENT = Spent()


class Cell:
    """One storage. `node` is its value now; `tainted` says that the node's graph holds leaves, so that
    whoever must not receive gradients reads it through `detach`. `version` counts writes. `shared`: memory
    that others may write, a SharedMemory, over which `node` stands; graphs read what it gives."""

    __slots__ = ("__weakref__", "device", "node", "serial", "shared", "tainted", "version")

    def __init__(self, node: Node, device: str, tainted: bool = False):
        self.node, self.device, self.version, self.tainted, self.serial = node, device, 0, tainted, 0
        self.shared: Any = None
        _enter(ref(self, _leave))
        if node.op not in _REALIZED:
            self._wait()

    def _wait(self) -> None:
        # in order of their last change, so that equal programs hand the engine equal lists
        self.serial = next(_serials)
        pending_cells.add(self)

    @property
    def is_realized(self) -> bool:
        """True where the value is data already: in a buffer, or a number."""
        return self.node.op in _REALIZED

    def plain(self) -> Node:
        """The value, with no gradient flowing into it."""
        if now.recorder is not None:
            now.recorder.touch(self)
        elif self.shared is not None:
            return self.shared.node(self)
        return ops.detach(self.node) if self.tainted else self.node

    def write(self, node: Node, tainted: bool = False) -> None:
        """Take a new value."""
        assert node.shape == self.node.shape and node.dtype == self.node.dtype, (self.node, node)
        if now.recorder is not None:
            now.recorder.check_writable(self)
        self.node, self.tainted = node, tainted
        self.version += 1
        if node.op not in _REALIZED:
            self._wait()
        if self.shared is not None:
            self.shared.written(self)

    def settle(self, node: Node) -> None:
        """The same value, now in a buffer."""
        self.node, self.tainted = node, False
        pending_cells.discard(self)
        if self.shared is not None:
            self.shared.settled(self)

    def value(self) -> Node:
        """What names the value now: another node when it has become another one."""
        return self.node if self.shared is None or now.recorder is not None else self.shared.node(self)


class History:
    """What gradients know of a root (the part of a cell at the end of `prefix`) and of the views of it.

    Without `requires_grad` there is nothing to know. With a token the root is a leaf. Otherwise `node` is the
    differentiable graph of the root as of `version` of the cell; if the cell was written since by someone who
    is not recorded, the value is the cell's and the derivative stays that of `node`. `over_leaf`: the root is
    a storage that some leaf is a part of. `passes`: the backward
    passes that began here, where there was one.
    """

    __slots__ = (
        "__weakref__",
        "base",
        "cell",
        "node",
        "over_leaf",
        "passes",
        "prefix",
        "requires_grad",
        "spent",
        "token",
        "version",
    )

    def __init__(self, cell: Cell, node: Node | None = None, prefix: Chain = (), token: Token | None = None):
        self.cell, self.prefix, self.token = cell, prefix, token
        self.node, self.version = node, cell.version
        self.base: Node | None = None  # of a leaf: the value that `node` reads
        self.passes: Any
        self.requires_grad = node is not None or token is not None
        self.spent = self.over_leaf = False
        if node is not None:
            tracked_histories.add(self)

    def root(self) -> Node:
        """The differentiable node of the root."""
        cell = self.cell
        if now.recorder is not None:
            now.recorder.touch_root(self)
        if self.token is not None:
            base = cell.node if cell.shared is None else cell.value()
            if self.node is None or self.base is not base:
                self.node = ops.leaf(read_through(cell.plain(), self.prefix), arg=self.token)
                self.base = base
            return self.node
        moved = self.version != cell.version
        if cell.shared is not None and now.recorder is None and self.base is not (value := cell.value()):
            self.base, moved = value, True  # somebody else has written
        if self.spent and cell.is_realized:
            if self.node is None or moved:
                self.node = ops.leaf(read_through(cell.plain(), self.prefix), arg=SPENT)
                self.version = cell.version
        elif moved:
            assert self.node is not None
            self.node = ops.surrogate(read_through(cell.plain(), self.prefix), self.node)
            self.version = cell.version
        assert self.node is not None
        return self.node

    def forget(self) -> None:
        """Free the graph of a spent history whose value is realized."""
        if self.spent and self.token is None:
            self.node = None

    def write(self, chain: Chain, new: Node, tracked: bool) -> None:
        """The view at the end of `chain` (from the root) becomes `new`; `tracked`: `new` is
        differentiable."""
        cell = self.cell
        if not tracked:
            cell.write(write_back(cell.plain(), self.prefix + chain, new) if self.prefix or chain else new)
            return
        assert self.token is None
        if chain:
            before = self.root() if self.requires_grad else read_through(cell.plain(), self.prefix)
            new = write_back(before, chain, new)
        base = write_back(cell.plain(), self.prefix, ops.detach(new)) if self.prefix else new
        cell.write(base, tainted=True)
        self.node, self.version, self.requires_grad, self.spent = new, cell.version, True, False
        tracked_histories.add(self)
