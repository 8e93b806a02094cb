"""When and with what a cell is realized.

Reading a value realizes its cell together with every live pending cell that shares unrealized work with it,
since PyTorch would have computed them too: so a training loop runs each kernel once, wherever it reads its
loss.

What has been realized is remembered by node: `_values` maps a node to its buffer for as long as some graph
still refers to the node (a history kept for gradients, another pending result), so nothing is computed twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from weakref import WeakKeyDictionary, ref

import numpy as np

from lazygrad import ops
from lazygrad.engine import download, needed, replaced, upload
from lazygrad.engine import realize as compute
from lazygrad.errors import BatchError
from lazygrad.graph import Node, alive, topological
from lazygrad.ops import OPS
from lazygrad.runtime.meta_device import no_values
from lazygrad.runtime.registry import open_device
from lazygrad.single import run_single_numbers
from lazygrad.tensors.cell import Cell, pending_cells, tracked_histories
from lazygrad.tensors.lifetimes import donated_buffers, kept_for_gradients
from lazygrad.tensors.recording import now

UPLOADED_BYTES = 1 << 18  # constants up to here are copied from the host: sooner done than compiling a kernel
_EXAMPLE = OPS["example"]


class _Values(WeakKeyDictionary[Node, Node]):
    data: dict[Any, Node]  # keyed by references: asking it directly costs a third


_values = _Values()


def needed_inputs(node: Node) -> tuple[Node, ...]:
    """The inputs that computing a node needs; none for what is remembered."""
    if ref(node) in _values.data:
        return ()
    return values_read(node)


def values_read(node: Node) -> tuple[Node, ...]:
    """The inputs whose values make a node's value."""
    return node.inputs[:1] if node.op.name == "surrogate" else node.inputs


def realize_cells(cells: Iterable[Cell]) -> None:
    """Put the values of cells, and of all live cells that share unrealized work with them, into buffers.
    Nothing happens in a recording: all that it needs is computed after it."""
    if now.recorder is not None:
        return
    wanted = [cell for cell in cells if not cell.is_realized]
    if not wanted:
        return
    if _realize_single_numbers(wanted):
        return
    by_device: dict[str, list[Cell]] = {}
    for cell in connected(wanted):
        by_device.setdefault(cell.device, []).append(cell)
    for device, group in by_device.items():
        todo = [cell for cell in group if not cell.is_realized]
        kept = kept_for_gradients(todo, needed_inputs)
        # with work on several devices another one may still need what this one reads
        last = todo if len(by_device) == 1 else None
        buffers = _run([cell.node for cell in todo] + kept, device, last)
        _settle(todo, buffers)
        _values.update(zip(kept, buffers[len(todo) :], strict=True))
    _forget_spent()


def _realize_single_numbers(wanted: Sequence[Cell]) -> bool:
    """Realize cells and, with them, all others, where each is one number on the CPU by exact arithmetic: who
    shares work with whom takes longer to find."""
    cells = list(dict.fromkeys([*wanted, *pending_cells]))
    if any(cell.node.shape or cell.device != "CPU" for cell in cells):
        return False
    numbers = _single_numbers([cell.node for cell in cells])
    if numbers is None:
        return False
    _settle(cells, numbers)
    _forget_spent()
    return True


def is_single_number(cell: Cell) -> bool:
    """Whether a cell is realized without a kernel."""
    return not cell.node.shape and cell.device == "CPU" and _single_numbers([cell.node]) is not None


def _forget_spent() -> None:
    for history in list(tracked_histories):
        if history.spent and history.cell.is_realized:
            history.forget()


_LEAST = 20_000


class _Pressure:
    limit: int | None = None  # of nodes that live; None: to be found


def relieve(cells: Iterable[Cell]) -> None:
    """Realize cells where far more nodes live than after the last time: a loop that nobody reads would
    otherwise let its graph grow for ever."""
    if _Pressure.limit is None:  # what was realized is gone by now
        _Pressure.limit = max(_LEAST, 2 * alive())
    if alive() > _Pressure.limit and now.recorder is None:
        realize_cells(cells)
        _Pressure.limit = None


def realize_node(node: Node, device: str) -> Node:
    """The buffer of one node, for a reader that does not want its whole cell."""
    return realize_nodes([node], device)[0]


def realize_nodes(nodes: Sequence[Node], device: str) -> list[Node]:
    """The buffers of nodes; what cells are worth stays unrealized."""
    return _run(nodes, device)


def with_known_values(nodes: Sequence[Node], device: str) -> list[Node]:
    """Nodes over the buffers of what is known below them."""
    known, order = _known_values(nodes, device, None)
    return replaced(nodes, order, known)


def realize_alone(cell: Cell) -> None:
    """Put the value of a cell into a buffer, and nothing that shares work with it."""
    _settle([cell], _run([cell.node], cell.device))


def settle_constant(cell: Cell) -> None:
    """Put a constant into memory, without a kernel: where every step replaces a state that begins with it,
    the first step is then the same program as the others. Not in a recording, where each run makes it."""
    if cell.node.op.name == "const" and now.recorder is None:
        cell.settle(_data(cell.node, cell.device))


def _settle(cells: Sequence[Cell], buffers: Sequence[Node]) -> None:
    for cell, buffer in zip(cells, buffers, strict=False):
        if cell.node.op.kind != "source":
            _values[cell.node] = buffer
        cell.settle(buffer)


def connected(wanted: list[Cell]) -> list[Cell]:
    """The wanted cells and the live pending cells whose graphs meet theirs in an unrealized computation."""
    asked = set(wanted)
    live = (cell for cell in list(pending_cells) if cell not in asked and cell.device != "META")
    others = sorted(live, key=lambda cell: cell.serial)
    if not others:
        return wanted
    owner: dict[Node, int] = {}
    valueless: set[int] = set()
    parent = list(range(len(wanted) + len(others)))

    def find(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, cell in enumerate(wanted + others):
        stack = [cell.node]
        while stack:
            node = stack.pop()
            below = needed_inputs(node)
            if not below:  # data, or remembered
                continue
            if node.op is _EXAMPLE:
                valueless.add(i)
                break
            if node in owner:
                parent[find(i)] = find(owner[node])
                continue
            moves_data = node.op.kind in ("annotation", "movement") and node.inputs[0].op.kind == "source"
            if not moves_data:
                owner[node] = i
            stack += below
    groups = {find(i) for i in range(len(wanted))}
    joined = (cell for i, cell in enumerate(others, len(wanted)) if find(i) in groups and i not in valueless)
    return wanted + list(joined)


def _run(targets: Sequence[Node], device: str, last: Sequence[Cell] | None = None) -> list[Node]:
    """One buffer per target. Leaves and transfers between devices are realized first, each on its own device.

    `last`: the cells that these targets are the values of, if nothing else of the same realization runs after
    them.
    """
    if device == "CPU" and (numbers := _single_numbers(targets)) is not None:
        return numbers
    order = topological(targets, needed_inputs)
    batches = stages(order)
    for batch in batches:
        by_device: dict[str, list[Node]] = {}
        for node in batch:
            by_device.setdefault(device_of_stage(node), []).append(node)
        for stage_device, nodes in by_device.items():
            for node, value in zip(nodes, _compute([n.inputs[0] for n in nodes], stage_device), strict=True):
                _values[node] = _moved(node, value)
                if node.op.name == "leaf" and node.inputs[0].op.kind != "source":
                    _values[node.inputs[0]] = value  # which an optimizer reads without the leaf
                _settle_leaf(node, value)
    return _compute(targets, device, last, None if batches else order)


def _single_numbers(targets: Sequence[Node]) -> list[Node] | None:
    """The targets as numbers, where exact arithmetic of single numbers is all that they need."""
    if not targets or targets[0].shape:
        return None
    remembered = _values.data
    found = run_single_numbers(targets, lambda n: remembered.get(ref(n)), lambda n: download(n).item())
    if found is None:
        return None
    return [ops.scalar(value, t.dtype) for value, t in zip(found, targets, strict=True)]


def stages(order: list[Node]) -> list[list[Node]]:
    """The leaves that are not data yet and the transfers, in batches that depend on earlier batches alone."""
    if not any(_is_stage(node) for node in order):
        return []
    level: dict[Node, int] = {}
    batches: list[list[Node]] = []
    for node in order:
        level[node] = max((level[i] for i in needed_inputs(node)), default=0)
        if _is_stage(node):
            if level[node] == len(batches):
                batches.append([])
            batches[level[node]].append(node)
            level[node] += 1
    return batches


def _is_stage(node: Node) -> bool:
    # parameters are computed before the program that uses them, so that every training step is the same
    # program
    if node.op.name == "leaf":
        waits = node.inputs[0].op.name not in ("buffer", "scalar")
        return waits and _is_live(node.arg) and node not in _values
    return node.op.name in ("copy", "example") and node not in _values


def _is_live(token: Any) -> bool:
    """True for the token of a leaf tensor that is alive."""
    return getattr(token, "cell", None) is not None and token.cell() is not None


def device_of_stage(node: Node) -> str:
    """The device of a leaf, or of what is copied. Raises BatchError for the value of one example."""
    if node.op.name == "example":
        raise BatchError("[vmap] the value of one example was asked for, inside the function that vmap runs "
                         "(by .item(), .numpy(), printing, `if`, a mask as an index ...) or after it: the "
                         "function runs once for all examples, so none has a value. Use lazygrad.where for "
                         "choices, and return what is to be seen")
    return node.arg[0] if node.op.name == "copy" else node.arg.cell().device


def _moved(node: Node, value: Node) -> Node:
    if node.op.name != "copy":
        return value
    return upload(download(value), node.dtype, node.arg[1])


def _settle_leaf(node: Node, value: Node) -> None:
    cell = node.arg.cell() if node.op.name == "leaf" else None
    if cell is None:
        return
    read = node.inputs[0]
    if cell.node is read or (read.op.name == "detach" and cell.node is read.inputs[0]):
        _settle([cell], [value])


def _compute(targets: Sequence[Node], device: str, last: Sequence[Cell] | None = None,
             order: list[Node] | None = None) -> list[Node]:
    """One buffer per target, whose stages have been realized. `order`: what the targets need, if known.
    Raises MissingError on the device META."""
    if device == "META":
        raise no_values()
    known, order = _known_values(targets, device, order)
    graphs = [known.get(t, t) for t in targets]
    todo = list(dict.fromkeys(g for g in graphs if is_work(g)))
    if len(todo) < len(set(graphs)):  # what is data already is no part of the program
        order = topological(todo, lambda n: needed(n, known))
    read = list(dict.fromkeys([known.get(n, n) for n in order]))
    donate = frozenset() if last is None else donated_buffers(read, last, needed_inputs, _values.get)
    if donate:
        _forget(donate)
    buffers = dict(zip(todo, compute(todo, device, donate, order, known), strict=True)) if todo else {}
    return [buffers.get(g) or _data(g, device) for g in graphs]


def _forget(donated: frozenset[Any]) -> None:
    """Remember no values in memory that takes new ones: an equal graph built later must be computed again."""
    memory = {buffer.storage for buffer in donated}
    for node, value in list(_values.items()):
        if value.op.name == "buffer" and value.arg.storage in memory:
            del _values[node]


def is_work(node: Node) -> bool:
    """Whether a kernel is to be run for a node's value."""
    if node.op.name == "const":
        return node.size * node.dtype.itemsize > UPLOADED_BYTES
    return node.size > 0 and (node.op.kind != "source" or node.op.name == "iota")


def _data(node: Node, device: str) -> Node:
    """The buffer of what needs no kernel: data, or nothing at all."""
    if node.op.name in ("buffer", "scalar"):
        return node
    value = node.arg.value if node.op.name == "const" else 0
    return upload(np.full(node.shape, value, node.dtype.numpy), node.dtype, device)


def known_value(node: Node, device: str) -> Node | None:
    """The remembered value of a node, where it is on this device:
    a graph of numbers and counters alone is the same node on every device."""
    value = _values.get(node)
    if value is None or value.op.name != "buffer" or value.arg.device is open_device(device):
        return value
    return None


def _known_values(targets: Sequence[Node], device: str,
                  order: list[Node] | None) -> tuple[dict[Node, Node], list[Node]]:
    """The nodes below the targets in whose place others are taken: buffers of what is remembered on this
    device, and what stands for a value; and all that the targets need, in order."""
    remembered = _values.data
    if order is None or any(ref(n) in remembered and known_value(n, device) is None for n in order):
        # what is known on another device alone must be computed here
        order = topological(targets, lambda n: () if known_value(n, device) else values_read(n))
    known: dict[Node, Node] = {}
    for node in order:
        value = known_value(node, device) if ref(node) in remembered else None
        if value is not None:
            known[node] = value
        elif node.op.name == "surrogate":
            known[node] = known.get(node.inputs[0], node.inputs[0])
    return known, order
