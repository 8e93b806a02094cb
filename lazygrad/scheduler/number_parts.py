"""Parts of a graph that are many single numbers: which they are, and the kernels that compute them.

Thousands of operations on single numbers are no work for general fusion. Nodes have levels: a number that is
computed from numbers has the level of its inputs; what is made of numbers but is none (a stack of losses) has
a level above, and so has a number that is read from such a tensor. A level with many numbers is a part of its
own, the levels between two such parts are one part, and what a part reads of an earlier one is stored.

    losses (numbers) -> stack, mean -> gradients of the numbers       three parts: a tape, a kernel, a tape
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from lazygrad import ops
from lazygrad.graph import Node, consumers, topological
from lazygrad.scheduler import access
from lazygrad.scheduler.cluster import FREE
from lazygrad.scheduler.group import IN_MEMORY, Group, inputs_in_plan
from lazygrad.scheduler.tape import make_tape

MAX_NODES = 800  # of one kernel: beyond, compile time grows faster than linearly
MOST_GATHERED = 60  # numbers that one kernel copies together
MANY_NUMBERS = 16  # of one buffer: kernels that read so many take it whole, and the place of each
_KINDS = frozenset(("elementwise", "movement", "source"))


@dataclass(frozen=True)
class Part:
    """What is computed together: `targets`, from what is in memory and from `given`, which other parts
    store."""

    targets: tuple[Node, ...]
    given: frozenset[Node]
    of_numbers: bool


def find_parts(targets: Sequence[Node]) -> list[Part]:
    """The parts of a graph, in no particular order: one, unless many of its nodes are single numbers."""
    order = topological(targets, inputs_in_plan)
    levels = _levels(order) if len(order) > MAX_NODES else {}
    counts = Counter(levels.values())
    many = {level for level, count in counts.items() if level % 2 == 0 and count > MAX_NODES}
    if not many:
        return [Part(tuple(targets), frozenset(), False)]
    ranks: dict[int, int] = {}
    for level in range(max(counts) + 1):
        together = level and level not in many and level - 1 not in many
        ranks[level] = ranks[level - 1] if together else level
    ranked = {node: ranks[level] for node, level in levels.items()}
    stored = dict.fromkeys(targets)
    for node in order:
        stored |= dict.fromkeys(i for i in inputs_in_plan(node)
                                if i in ranked and node in ranked and ranked[i] != ranked[node])
    parts = []
    every = sorted(set(ranked.values()))
    for rank in every:
        # sources that are targets have no level: any part may store them
        mine = tuple(n for n in stored if ranked.get(n, every[0]) == rank)
        if mine:
            parts.append(Part(mine, frozenset(n for n in stored if n in ranked and ranked[n] < rank),
                              rank in many))
    return parts


def _levels(order: Sequence[Node]) -> dict[Node, int]:
    """The level of every node that is computed: even where it is a number made of numbers."""
    levels: dict[Node, int] = {}
    for node in order:
        if node.op.name in IN_MEMORY or node.op.name in FREE:
            continue
        below = max((levels[i] for i in node.inputs if i in levels), default=0)
        levels[node] = below + (below % 2 == _is_number(node))
    return levels


def _is_number(node: Node) -> bool:
    """Whether a node is made of numbers only, or is an element of what another part computes."""
    return node.size == 1 and node.op.kind in _KINDS and all(
        i.size == 1 or (node.op.name == "shrink" and i.op.name not in (*IN_MEMORY, *FREE))
        for i in node.inputs)


def number_groups(part: Part, most_parameters: int) -> list[Group]:
    """The kernels of a part that is many numbers, for a device whose kernels take so many buffers."""
    most = most_parameters // 2  # the rest is for what they store
    inputs = partial(_inputs, given=part.given)
    order = topological(part.targets, inputs)
    in_memory = frozenset(n for n in order if n.op.name in IN_MEMORY or n in part.given)
    gathers = list(_gathers(order, in_memory, most))
    copies = {n: copy for g in gathers for n, copy in zip(g.inputs, g.outputs, strict=True)}
    tape = make_tape(order, part.targets, in_memory, copies)
    return [tape, *gathers] if tape is not None else _pieces(part, order, most)


def _gathers(order: Sequence[Node], in_memory: Collection[Node], most: int) -> Iterator[Group]:
    """Kernels that copy numbers to memory that they share, where they are in more buffers than one kernel
    may take."""
    alone = _alone(in_memory)
    numbers = [n for n in order if n in alone]
    if len(numbers) <= most:
        return
    # a shape that no node of the graph has, so that no copy is one of its nodes
    shape = (1,) * (1 + max(n.ndim for n in order))
    count = min(MOST_GATHERED, most)
    for first in range(0, len(numbers), count):
        mine = numbers[first:first + count]
        copies = [ops.reshape(n, arg=shape) for n in mine]
        yield Group(tuple(copies), tuple(mine), (), access.first_elements(copies))


def _alone(nodes: Collection[Node]) -> set[Node]:
    """Those in memory of their own, or with few others."""
    held = [n for n in nodes if n.op.name in ("buffer", "saved")]
    together = Counter(n.arg.storage for n in held)
    return {n for n in held if together[n.arg.storage] <= MANY_NUMBERS}


def _pieces(part: Part, order: Sequence[Node], most: int) -> list[Group]:
    """The part cut along its topological order: kernels can wait for each other only forwards."""
    given = part.given
    order = [n for n in order if n.op.name not in IN_MEMORY and n not in given]
    users = consumers(order, partial(_inputs, given=given))
    wanted = set(part.targets)
    pieces: list[list[Node]] = [[]]
    read: set[Node] = set()
    for node in order:
        read |= {i for i in inputs_in_plan(node) if i.op.name in IN_MEMORY}
        if len(pieces[-1]) == MAX_NODES or len(read) > most:
            pieces.append([])
            read = {i for i in inputs_in_plan(node) if i.op.name in IN_MEMORY}
        pieces[-1].append(node)
    place = {node: i for i, piece in enumerate(pieces) for node in piece}
    stored = {n for n in order if n in wanted
              or (n.op.name not in FREE and any(place[u] != place[n] for u in users[n]))}
    groups = []
    for piece in pieces:
        outputs = tuple(n for n in piece if n in stored)
        inside = topological(outputs, partial(_inputs, given=(stored | given) - set(outputs)))
        inputs = tuple(n for n in inside if n.op.name in IN_MEMORY
                       or ((n in stored or n in given) and n not in outputs))
        groups.append(Group(outputs, inputs, (), access.first_elements(outputs)))
    return [g for g in reversed(groups) if g.outputs]


def _inputs(node: Node, given: Collection[Node]) -> tuple[Node, ...]:
    return () if node in given else inputs_in_plan(node)
