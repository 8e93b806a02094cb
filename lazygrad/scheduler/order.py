"""The order of kernels: each after those whose outputs it reads, and otherwise so that little memory is held.

    as fusion finds them    conv1 conv2 loss grad2 grad1 weight2 weight1    all from conv1 to grad1 is held
    sooner                  conv1 conv2 loss weight2 grad2 weight1 grad1    what conv2 made goes with grad2
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from heapq import heappop, heappush

from lazygrad.graph import Node
from lazygrad.scheduler.group import Group, nbytes

SMALL_PART = 16  # a kernel that makes so many times less than it reads works towards freeing what it reads


def order_groups(groups: Sequence[Group], targets: Collection[Node] = (),
                 donated: Mapping[Node, Node | None] | None = None) -> list[Group]:
    """Groups so that each comes after those whose outputs it reads: depth first from the first target on, but
    a group that frees memory, or folds what must be held to something small, comes as soon as it can.

    `donated`: buffers that targets may be written over, each with the only target that may take it.
    """
    return _Sooner(_depth_first(groups), frozenset(targets), donated or {}).run()


def _depth_first(groups: Sequence[Group]) -> list[Group]:
    """Each group after those whose outputs it reads; otherwise in the given order reversed, since fusion
    finds the groups users first."""
    writer = {node: group for group in groups for node in group.outputs}
    order: list[Group] = []
    done: set[int] = set()
    for start in reversed(groups):
        stack = [(start, False)]
        while stack:
            group, ready = stack.pop()
            if ready:
                order.append(group)
            elif id(group) not in done:
                done.add(id(group))
                stack.append((group, True))
                stack.extend((writer[i], False) for i in group.inputs if i in writer)
    return order


class _Sooner:
    """The state of one ordering. Groups are numbered as they come; `cost` is what running one now would add
    to the memory that is held, in bytes."""

    def __init__(self, groups: Sequence[Group], targets: frozenset[Node],
                 donated: Mapping[Node, Node | None]) -> None:
        self.groups, self.targets, self.donated = groups, targets, donated
        writer = {node: i for i, group in enumerate(groups) for node in group.outputs}
        self.held = {node for node in writer if node not in targets} | donated.keys()  # until the last read
        self.readers: dict[Node, set[int]] = {}
        for i, group in enumerate(groups):
            for node in group.inputs:
                self.readers.setdefault(node, set()).add(i)
        waits = [{writer[node] for node in group.inputs if node in writer} for group in groups]
        self.missing = [len(found) for found in waits]
        self.followers: list[list[int]] = [[] for _ in groups]
        for i, found in enumerate(waits):
            for source in found:
                self.followers[source].append(i)
        self.cost = [self._first_cost(group) for group in groups]
        self.part = [sum(nbytes(n) for n in {*g.inputs} & self.held - donated.keys()) // SMALL_PART
                     for g in groups]
        self.ready: list[int] = []  # heaps of numbers, the second of those that should come soon
        self.eager: list[int] = []
        self.done: set[int] = set()

    def _first_cost(self, group: Group) -> int:
        gifts = [node for node in group.inputs if node in self.donated]
        made = sum(nbytes(node) for node in group.outputs
                   if node not in self.targets or any(self._fits(gift, node) for gift in gifts))
        return made - sum(nbytes(n) for n in {*group.inputs} & self.held if len(self.readers[n]) == 1)

    def _fits(self, gift: Node, target: Node) -> bool:
        """Whether a target would be written over a gift, were the gift free: other targets have memory of
        their own from the beginning."""
        same = gift.shape == target.shape and gift.dtype is target.dtype
        return same and self.donated[gift] in (None, target)

    def run(self) -> list[Group]:
        for i in range(len(self.groups)):
            self._offer(i)
        order = []
        while self.ready:
            i = heappop(self.eager or self.ready)
            if i not in self.done:
                self.done.add(i)
                order.append(self.groups[i])
                self._finish(i)
        assert len(order) == len(self.groups), "groups wait for each other"
        return order

    def _offer(self, i: int) -> None:
        if not self.missing[i] and i not in self.done:
            heappush(self.ready, i)
            if self.cost[i] <= self.part[i]:
                heappush(self.eager, i)

    def _finish(self, i: int) -> None:
        for follower in self.followers[i]:
            self.missing[follower] -= 1
            self._offer(follower)
        for node in {*self.groups[i].inputs} & self.held:
            left = self.readers[node]
            left.discard(i)
            if len(left) == 1:  # which frees it
                last = next(iter(left))
                self.cost[last] -= nbytes(node)
                self._offer(last)
