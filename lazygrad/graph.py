"""The lazy graph: `Node`, immutable and interned, so that the same computation is the same object."""

from __future__ import annotations

import struct
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any
from weakref import ref

from lazygrad.dtypes import DType
from lazygrad.expr import Size

if TYPE_CHECKING:
    from lazygrad.ops.table import Op

Shape = tuple[Size, ...]
Scalar = bool | int | float


class Node:
    """One operation: `op` applied to `inputs` with a static argument `arg`,
    giving `shape` elements of `dtype`.

    Made by calling a row of the op table (`ops.add(x, y)`), which checks it and interns it. Compared by
    identity.
    """

    __slots__ = ("op", "dtype", "shape", "inputs", "arg", "__weakref__")
    op: Op
    dtype: DType
    shape: Shape
    inputs: tuple[Node, ...]
    arg: Any

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> Size:
        result = 1
        for n in self.shape:
            result *= n
        return result

    def __repr__(self) -> str:
        arg = "" if self.arg is None else f" {self.arg}"
        return f"<{self.op.name}{arg} {self.dtype.name}{list(self.shape)}>"


class Literal:
    """A Python scalar compared by type and bits: True, 1 and 1.0 differ, so do -0.0 and 0.0;
    one NaN equals itself."""

    __slots__ = ("value", "bits")

    def __init__(self, value: Scalar):
        self.value = value
        self.bits = struct.pack("<d", value) if isinstance(value, float) else (type(value).__name__, value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Literal) and self.bits == other.bits

    def __hash__(self) -> int:
        return hash(self.bits)

    def __repr__(self) -> str:
        return repr(self.value)


class HostNumber:
    """The argument of a scalar node whose `value` Python sets before each run."""

    __slots__ = ("value",)

    def __init__(self, value: int | float):
        self.value = value


class _Entry(ref):
    """A weak reference that knows under which key it is interned (a WeakValueDictionary costs twice the
    time)."""

    __slots__ = ("key",)
    key: Hashable


_interned: dict[Hashable, _Entry] = {}


def _forget(entry: _Entry) -> None:
    if _interned.get(entry.key) is entry:
        del _interned[entry.key]


def alive() -> int:
    """How many nodes live."""
    return len(_interned)


def intern(op: Op, dtype: DType, shape: Shape, inputs: tuple[Node, ...], arg: Hashable) -> Node:
    """The one node with these parts."""
    key = (op, dtype, shape, inputs, arg)
    entry = _interned.get(key)
    node = None if entry is None else entry()
    if node is None:
        node = object.__new__(Node)
        node.op, node.dtype, node.shape, node.inputs, node.arg = op, dtype, shape, inputs, arg
        entry = _Entry(node, _forget)
        entry.key = key
        _interned[key] = entry
    return node


def topological(roots: Iterable[Node],
                inputs: Callable[[Node], Sequence[Node]] | None = None) -> list[Node]:
    """Every node that the roots depend on, inputs before users, each once;
    `inputs` may stop the walk early."""
    order: list[Node] = []
    seen: set[Node] = set()
    stack: list[Node | None] = list(roots)
    stack.reverse()
    while stack:
        node = stack.pop()
        if node is None:  # all that stood above this mark is done, so that the node below it is next
            done = stack.pop()
            assert done is not None
            order.append(done)
        elif node not in seen:
            seen.add(node)
            below = node.inputs if inputs is None else inputs(node)
            if below:
                stack += (node, None)
                stack += [i for i in below[::-1] if i not in seen]
            else:
                order.append(node)
    return order


def consumers(order: Iterable[Node],
              inputs: Callable[[Node], Sequence[Node]] = lambda n: n.inputs) -> dict[Node, list[Node]]:
    """For each node of a topological order, the nodes that use it (once per use)."""
    users: dict[Node, list[Node]] = {}
    for node in order:
        users.setdefault(node, [])
        for i in inputs(node):
            users.setdefault(i, []).append(node)
    return users
