"""`Cluster`: a kernel in the making, with every element that it evaluates.

Two clusters whose loops differ only in how deep they go may still be one kernel: a row's sum needs the loop
over rows alone, what is stored in full needs the loop along the row too. So the loops of a cluster may be
*deepened* from the rows to all elements of a node that it reads row by row.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from lazygrad import expr
from lazygrad.expr import Dynamic, Expr, Guard, Var
from lazygrad.graph import Node, Shape
from lazygrad.helpers import product
from lazygrad.scheduler import access
from lazygrad.scheduler.access import Use
from lazygrad.scheduler.group import is_contraction

FREE = frozenset(("const", "iota"))  # sources that are computed where they are needed


@dataclass(eq=False)
class Cluster:
    """A kernel in the making: its outputs, and every element of its nodes that it evaluates."""

    outputs: list[Node]
    domain: Shape
    uses: dict[Node, tuple[Use, ...]] = field(default_factory=dict)
    reduces: list[Node] = field(default_factory=list)
    contraction: Node | None = None
    special: bool = False
    heads: dict[Node, tuple[Use, ...]] = field(default_factory=dict)  # what a special node's own loops read
    frontier: set[Node] = field(default_factory=set)  # nodes that are read but not (yet) part of the kernel
    readers: set[Cluster] = field(default_factory=set)  # clusters that read an output of this one
    sources: set[Cluster] = field(default_factory=set)  # clusters whose outputs this one reads

    def feeds(self, readers: Iterable[Cluster]) -> None:
        """Outputs of this cluster are read by others."""
        for reader in readers:
            self.readers.add(reader)
            reader.sources.add(self)

    def wanted(self, node: Node, users: Iterable[Node]) -> tuple[Use, ...]:
        """The elements of a node that the cluster's nodes read."""
        found: dict[Use, None] = dict.fromkeys(self.heads.get(node, ()))
        for user in users:
            for use in self.uses.get(user, ()):
                for read in pushed(use):
                    if read.node is node:
                        found[read] = None
        return tuple(found)

    def add(self, node: Node, uses: tuple[Use, ...]) -> None:
        self.uses[node] = uses
        self.frontier.discard(node)
        self.frontier.update(i for i in node.inputs if i not in self.uses and i.op.name not in FREE)
        if node.op.kind == "reduce":
            self.reduces.append(node)
            if is_contraction(node):
                self.contraction = node

    def parameters(self) -> int:
        return len(self.outputs) + sum(n.op.name != "scalar" for n in self.frontier)

    def own_element(self, node: Node) -> Use | None:
        """The element of a node that belongs to an iteration, where the cluster evaluates that."""
        return next((u for u in self.uses.get(node, ()) if access.is_own_element(u, self.domain)), None)

    def reads_by_row(self, uses: Iterable[Use]) -> bool:
        """Whether one of the uses is the row that belongs to an iteration, or an element of it."""
        loops = access.loop_variables(self.domain)
        return any(access.row_depth(u, loops) == len(loops) for u in uses)


def pushed(use: Use) -> list[Use]:
    """The elements that one element of a node reads."""
    node = use.node
    if node.op.kind == "source":
        return []
    if node.op.kind == "movement":
        return [u for u in access.movement_uses(use) if not any(g.never for g in u.guards)]
    if node.op.kind == "reduce":
        # the same element of the same reduce has the same loops, other reduces have others
        tag = f"{id(node):x}_" + "_".join(str(i) for i in use.index)
        return [access.reduce_use(use, access.reduce_variables(node, tag))]
    if node.op.name == "gather":
        return access.gather_uses(use, _some_place)
    return access.elementwise_uses(use)


def _some_place(use: Use, size: int) -> Expr:
    """An index that is read from a tensor; a moved counter stays the expression that it is."""
    counter = _counter(use)
    names = ",".join(sorted(v.name for v in access.variables_of(use)))
    return counter if counter is not None else expr.dynamic(f"{id(use.node):x}[{names}]", 0, size - 1, use)


def _counter(use: Use) -> Expr | None:
    while use.node.op.kind == "movement":
        uses = access.movement_uses(use)
        if len(uses) != 1:
            return None
        use = uses[0]
    return use.index[0] if use.node.op.name == "iota" else None


def head_uses(node: Node) -> dict[Node, tuple[Use, ...]]:
    """The elements that a special node's loops read of each input."""
    if node.op.name == "scatter":
        *indices, values = node.inputs[1:]
        variables = access.loop_variables(values.shape)
        result: dict[Node, tuple[Use, ...]] = {i: (access.at(i, variables[:i.ndim]),) for i in indices}
        result[values] = (access.at(values, variables),)
        result[node.inputs[0]] = (access.at(node.inputs[0], access.loop_variables(node.shape, "b")),)
        return result
    if node.op.name == "cat":
        result = {}
        for number, i in enumerate(node.inputs):
            result[i] = (*result.get(i, ()), access.at(i, access.loop_variables(i.shape, f"p{number}_")))
        return result
    return {i: (access.at(i, access.loop_variables(node.shape)),) for i in node.inputs}



def evaluations(uses: Iterable[Use]) -> int:
    """How many elements the uses name, over all iterations of the loops that they depend on,
    where guards hold."""
    total = 0.0
    for use in uses:
        variables: set[Var] = set()
        for v in access.variables_of(use):
            inner = (access.variables_of(v.value) if isinstance(v, Dynamic) and isinstance(v.value, Use)
                     else (v,))
            variables.update(w for w in inner if isinstance(w, Var))
        total += product(v.extent for v in variables) * math.prod(_held(g) for g in use.guards)
    return round(total)


def _held(guard: Guard) -> float:
    """The part of all iterations in which a guard holds, each value of its expression taken for as likely."""
    low, high = guard.e.bounds
    return max(0, min(guard.high, high + 1) - max(guard.low, low)) / max(1, high + 1 - low)


def nested(a: frozenset, b: frozenset) -> bool:
    return a <= b or b <= a


def waits(a: Cluster, b: Cluster) -> bool:
    """Whether a must wait for b, directly or through others."""
    return a in b.readers or reaches(b, a)


def reaches(a: Cluster, b: Cluster) -> bool:
    """Whether b must wait for a through another cluster."""
    stack = [c for c in a.readers if c is not b]
    seen: set[Cluster] = set()
    while stack:
        c = stack.pop()
        if c is b:
            return True
        if c not in seen:
            seen.add(c)
            stack.extend(c.readers)
    return False


