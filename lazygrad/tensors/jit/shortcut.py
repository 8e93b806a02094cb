"""The shortcut of a replay that only computes: a repeated call asks by identity alone whether all is as it
was, runs the launches, and makes its results.

Small results are computed into memory that this replay has given before, once nobody holds it any more: then
nothing is allocated, bound or named anew. Reference counts tell, as in `stands.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from lazygrad import config, ops
from lazygrad.dtypes import DType
from lazygrad.engine.capture import PlannedGraph
from lazygrad.graph import Node
from lazygrad.tensors.cell import Cell, History
from lazygrad.tensors.core import Size, assemble
from lazygrad.tensors.jit.replay import MISS, Replay

RECYCLED_BYTES = 1 << 20  # a larger result takes so long that its memory is better given to whoever needs it
RECYCLED = 2  # results of one call that are kept: in `y = f(x)` the last y lives until there is the next one

_count = sys.getrefcount


def shortcut(replay: Replay) -> Callable[[], Any] | None:
    """A function that replays with the tensors that stand everywhere now, or gives MISS where one has been
    exchanged. None for a recording that does more than compute, or while DEBUG tells of each run."""
    graph = replay.graph
    blueprints = replay.results
    idle = not (replay.outputs or replay.written or replay.moved or replay.cleared or replay.graphs
                or replay.hosts or replay.choices)
    if not idle or not isinstance(graph, PlannedGraph) or not graph.results_alone() or config.get("DEBUG"):
        return None
    if any(b.source[0] != "target" or b.gradient != "none" or b.grad is not None for b in blueprints):
        return None
    return _Shortcut(replay, graph).run


class _Shortcut:
    """What `shortcut` returns the `run` of."""

    def __init__(self, replay: Replay, graph: PlannedGraph) -> None:
        assert replay.device is not None
        self.certain, self.holds = replay.before.is_certain(), replay.before.holds
        self.arguments = [(s.tensor, s.history, s.chain) for s in replay.argument_stands]
        arguments = set(replay.argument_stands)
        self.placed = [(s.container, s.key, s.tensor, s.history, s.chain)
                       for s in replay.stands if s not in arguments]
        self.reads = [(s.cell, s.node) for s in replay.reads]
        self.device, self.launch = replay.device, graph.launch
        self.memory = [_Memory(graph, k, t.dtype, t.shape) for k, t in enumerate(replay.targets)]
        self.blueprints = [(b.source[1], b.kind, b.chain, Size(b.shape), b.dtype, b.strides, b.offset)
                           for b in replay.results]
        self.make_result = replay.make_result

    def run(self) -> Any:
        """The function's result, or MISS."""
        for x, history, chain in self.arguments:
            if x._history is not history or x._chain is not chain:
                return MISS
        for cell, node in self.reads:
            if cell.node is not node:
                return MISS
        if self.placed and not self._all_stand() or not (self.certain or self.holds()):
            return MISS
        cells = []
        for memory in self.memory:
            cells.append(Cell(memory.next(), self.device))
        self.launch()
        made = []
        for k, kind, chain, shape, dtype, strides, offset in self.blueprints:
            made.append(assemble(kind, History(cells[k]), chain, shape, dtype, strides, offset))
        return self.make_result(made)

    def _all_stand(self) -> bool:
        """Whether the tensors that are no arguments are at their places."""
        try:
            for container, key, x, history, chain in self.placed:
                if container[key] is not x or x._history is not history or x._chain is not chain:
                    return False
        except (KeyError, IndexError, AttributeError, ValueError):
            return False
        return True


class _Memory:
    """Where one result is put, call after call."""

    def __init__(self, graph: PlannedGraph, number: int, dtype: DType, shape: Sequence[int]) -> None:
        self.graph, self.number = graph, number
        self.dtype, self.shape = dtype, tuple(shape)
        _, _, self.nbytes = graph.places[number]
        # of integers, what has been proven of the values in a buffer would outlive them
        self.recycles = dtype.kind == "float" and self.nbytes <= RECYCLED_BYTES
        self.given: list[Node] = []
        self.counts = 0, 0
        self.bound = 0  # the id of the node that is bound: a reference would be counted

    def next(self) -> Node:
        """A buffer that nobody else knows, bound as this result's memory."""
        node_count, buffer_count = self.counts
        for node in self.given:
            if _count(node) <= node_count and _count(node.arg) <= buffer_count:
                if id(node) != self.bound:
                    self.graph.bind_result(self.number, node.arg)
                    self.bound = id(node)
                return node
        return self._new()

    def _new(self) -> Node:
        graph = self.graph
        buffer = graph.device.allocate(self.nbytes)
        graph.bind_result(self.number, buffer)
        made = ops.buffer(buffer, self.dtype, self.shape)
        if self.recycles:
            self.given = [made, *self.given[:RECYCLED - 1]]
            self.bound = id(made)
            del buffer
            if not self.counts[0]:
                # `made` and the name that walks the list are two; in `next` there is the latter alone
                self.counts = next((_count(node) - 1, _count(node.arg)) for node in self.given)
        return made
