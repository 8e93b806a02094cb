"""The schedule: fusion groups in their order, and the memory of what they store.

Targets get buffers of their own. Intermediates share blocks: a block serves one after another as their
lifetimes allow. Where a kernel has many small ones, these share slabs, since it takes only so many buffers;
but not a few single numbers, since whoever keeps one would keep the whole slab.
A donated buffer becomes a target's memory where the kernel that writes the target is the last one to read it,
each element at its own place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lazygrad.graph import Node
from lazygrad.helpers import round_up
from lazygrad.scheduler.access import Use
from lazygrad.scheduler.group import IN_MEMORY, Group, nbytes

SMALL = 256  # bytes: what is no larger may share a slab
ALIGN = 64
FEW = 32  # small inputs and outputs of one kernel: where one has more, small values share a slab
NUMBER = 8  # bytes of a single number: often a loss, which outlives what was computed with it
FEW_NUMBERS = 8  # so many single numbers of one kernel keep buffers of their own beside a slab


@dataclass(frozen=True)
class Slot:
    """Memory of a schedule.

    kind: "result" (a target's own), "slab" (small targets), "small" (small intermediates), "block", or
    "donated" (`node`'s buffer).
    """

    kind: str
    number: int = 0
    node: Node | None = None


@dataclass(frozen=True)
class Schedule:
    """Groups in the order of running; `places`: (slot, byte offset) of every stored node; sizes in bytes."""

    groups: tuple[Group, ...]
    places: dict[Node, tuple[Slot, int]]
    results: tuple[int, ...]
    blocks: tuple[int, ...]
    slab: int
    small: int


def _is_small(node: Node) -> bool:
    return node.op.name not in IN_MEMORY and nbytes(node) <= SMALL


def plan_memory(groups: Sequence[Group], targets: Iterable[Node],
                donated: Mapping[Node, Node | None]) -> Schedule:
    """Give every stored node its memory. `donated`: buffer nodes whose memory nobody needs after this
    schedule, each with the only target that may take it, None for any."""
    last_read = {node: step for step, group in enumerate(groups) for node in group.inputs}
    wanted = set(targets)
    places: dict[Node, tuple[Slot, int]] = {}
    results: list[int] = []
    blocks: list[int] = []
    free: list[int] = []  # numbers of blocks that nobody uses now
    offered = {node: taker for node, taker in donated.items() if node in last_read}
    slab = small = 0
    crowded = any(sum(_is_small(n) for n in (*g.inputs, *g.outputs)) > FEW for g in groups)
    for step, group in enumerate(groups):
        numbers = [node for node in group.outputs if node in wanted and nbytes(node) <= NUMBER]
        alone = numbers if len(numbers) <= FEW_NUMBERS else ()
        for node in group.outputs:
            if node in wanted and crowded and _is_small(node) and node not in alone:
                # never over a gift: a slab cannot be given, so that a repeated step would offer ever less
                places[node] = Slot("slab"), slab
                slab += round_up(max(nbytes(node), 1), ALIGN if nbytes(node) > 8 else 8)
            elif node in wanted:
                gift = _gift(node, group, step, offered, last_read)
                if gift is not None:
                    del offered[gift]
                    places[node] = Slot("donated", node=gift), 0
                else:
                    places[node] = Slot("result", len(results)), 0
                    results.append(nbytes(node))
            elif crowded and _is_small(node):
                places[node] = Slot("small"), small
                small += round_up(max(nbytes(node), 1), 8)
            else:
                number = _take_block(nbytes(node), blocks, free)
                places[node] = Slot("block", number), 0
        for node in dict.fromkeys((*group.inputs, *group.outputs)):
            if node in places and places[node][0].kind == "block" and last_read.get(node, step) == step:
                free.append(places[node][0].number)
    return Schedule(tuple(groups), places, tuple(results), tuple(blocks), slab, small)


def _gift(node: Node, group: Group, step: int, offered: Mapping[Node, Node | None],
          last_read: dict[Node, int]) -> Node | None:
    """A donated buffer that the node may be written over:
    each of its elements is read where it is written."""
    element = group.elements[group.outputs.index(node)]
    for gift, taker in offered.items():
        same = gift.shape == node.shape and gift.dtype is node.dtype and taker in (None, node)
        if same and last_read[gift] == step and Use(gift, element.index) in group.own_reads:
            return gift
    return None


def _take_block(size: int, blocks: list[int], free: list[int]) -> int:
    """A free block, the smallest that fits, else the largest one grown, else a new one."""
    fitting = [b for b in free if blocks[b] >= size]
    if fitting:
        best = min(fitting, key=lambda b: blocks[b])
    elif free:
        best = max(free, key=lambda b: blocks[b])
        blocks[best] = size
    else:
        blocks.append(size)
        return len(blocks) - 1
    free.remove(best)
    return best
