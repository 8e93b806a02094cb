"""Chains: contractions whose factor is made, row by row, from other contractions, as one kernel.

    for each row of the result:  row = q[i] @ k.T;  row = softmax(row);  result[i] = row @ v

Only rows live, in scratch; the matrix of all rows never exists. Attention and its gradients are chains:
memory grows with the length of a sequence and not with its square. What several chains need of it (the
scores) each computes for itself; what belongs to a whole row (a softmax's extremes and sums) is stored by the
first chain that computes it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from lazygrad import expr
from lazygrad.expr import Atom, Expr, Var
from lazygrad.graph import Node, topological
from lazygrad.helpers import product
from lazygrad.scheduler import access
from lazygrad.scheduler.access import Use
from lazygrad.scheduler.cluster import pushed
from lazygrad.scheduler.fusion_cost import LONGEST, Prices
from lazygrad.scheduler.group import IN_MEMORY, inputs_in_plan, is_contraction
from lazygrad.source import Target

LEAST_ROWS = 16  # rows, and elements of a row: of fewer, whole matrices are stored
_INSIDE = frozenset(("elementwise", "movement"))
_COMMON = "along"  # names the place in a row, whichever loop runs along it


@dataclass(eq=False)
class Chain:
    """A contraction (`head`), the nodes of which it keeps a row (`staged`, in the order of computing them;
    the last is the head's factor), every node computed on the way, and what all that reads from memory.

    `full`: nodes with an element for each row and place in the row; `stats`: nodes with an element for each
    row, and which element.
    """

    head: Node
    top: Node  # what is stored of the head: its last step
    staged: tuple[Node, ...]
    full: frozenset[Node]
    stats: dict[Node, Use]
    inputs: tuple[Node, ...]
    outputs: list[Node] = field(default_factory=list)  # the top, and stats that others read

    @property
    def elements(self) -> tuple[Use, ...]:
        """For each output, the element that an iteration of the loops over the first one stores."""
        top = access.at(self.top, access.loop_variables(self.top.shape))
        return (top, *(self.stats[n] for n in self.outputs[1:]))


class _Refused(Exception):
    """The nodes around a contraction are no chain."""


def find_chains(order: Sequence[Node], users: Mapping[Node, Sequence[Node]], targets: Collection[Node],
                prices: Prices, target: Target) -> list[Chain]:
    """The chains of a graph, none of which needs a matrix that something else needs in memory."""
    if target.language != "llvm":
        return []
    reaches = _made_of_contractions(order)
    heads = [n for n in order if is_contraction(n)]
    tops = {head: _top_of(head, users, targets) for head in heads}
    while True:
        chains = _chains_of(tops, reaches, frozenset(), prices, target)
        chains = _without_outside_users(chains, users, targets)
        shared = _share_stats(chains, order, users, targets)
        # again, with what other chains store taken from memory: longer steps stay in one piece
        found = []
        for chain in chains:
            others = frozenset(n for n, owner in shared.items() if owner is not chain)
            again = _chains_of({chain.head: chain.top}, reaches, others, prices, target)
            found += [replace(c, outputs=chain.outputs) for c in again]
        if len(_without_outside_users(found, users, targets)) == len(chains):
            return found
        tops = {c.head: c.top for c in _without_outside_users(found, users, targets)}


def _top_of(head: Node, users: Mapping[Node, Sequence[Node]], targets: Collection[Node]) -> Node:
    """The last of the steps that follow a contraction alone and need nothing else."""
    top = head
    while top not in targets and len(users[top]) == 1:
        user = users[top][0]
        alone = user.op.kind in _INSIDE and all(i is top or i.op.name == "const" for i in user.inputs)
        use = _down_to(head, access.at(user, access.loop_variables(user.shape))) if alone else None
        plain = use is not None and all(len(e.terms) <= 1 and all(isinstance(v, Var) and factor == 1
                                                                for v, factor in e.terms) for e in use.index)
        if user.size != head.size or not plain:
            break
        top = user
    return top


def _down_to(head: Node, use: Use) -> Use | None:
    """The element of a node from which an element of a later step is made; None where it may be guarded."""
    while use.node is not head:
        found = [u for u in pushed(use) if u.node.op.name != "const"]
        if len(found) != 1 or found[0].guards:
            return None
        use = found[0]
    return use


def _chains_of(tops: Mapping[Node, Node], reaches: set[Node], stored: frozenset[Node], prices: Prices,
               target: Target) -> list[Chain]:
    found = (_chain_of(head, top, reaches, stored, prices, target) for head, top in tops.items())
    return [c for c in found if c is not None]


def _without_outside_users(found: list[Chain], users: Mapping[Node, Sequence[Node]],
                           targets: Collection[Node]) -> list[Chain]:
    """The chains of which nothing but chains needs the matrices."""
    while True:
        heads = {c.head for c in found}
        matrices = {c: {*c.full, *_between(c)} - {c.head} for c in found}
        inside = heads.union(*matrices.values(), *(c.stats for c in found))
        kept = [c for c in found if heads.isdisjoint(c.full)
                and not any(n in targets or not inside.issuperset(users[n]) for n in matrices[c])]
        if len(kept) == len(found):
            return found
        found = kept


def _between(chain: Chain) -> set[Node]:
    """The head, its product, and the movements between that and the factor."""
    factor = chain.staged[-1]

    def inputs(node: Node) -> tuple[Node, ...]:
        passed = node is chain.head or node.op.kind == "movement" or node.op.name in ("mul", "cast")
        return node.inputs if passed and node is not factor else ()

    found: set[Node] = set()
    for node in topological([chain.head], inputs):
        if any(i is factor or i in found for i in inputs(node)):
            found.add(node)
    return found


def _made_of_contractions(order: Sequence[Node]) -> set[Node]:
    """The nodes that are made of results of contractions by elementwise steps, movements and reductions."""
    found: set[Node] = set()
    for node in order:
        if is_contraction(node) or (node.op.kind in (*_INSIDE, "reduce")
                                    and any(i in found for i in inputs_in_plan(node))):
            found.add(node)
    return found


def _chain_of(head: Node, top: Node, reaches: set[Node], stored: frozenset[Node], prices: Prices,
              target: Target) -> Chain | None:
    element = _down_to(head, access.at(top, access.loop_variables(top.shape)))
    along = access.reduce_variables(head, "k")
    assert element is not None
    factors = [access.reduce_use(element, along)]
    while len(factors) == 1:
        if factors[0].guards or factors[0].node in IN_MEMORY:
            return None
        factors = pushed(factors[0])
    factors = [_moved(f) for f in factors]
    for factor, other in (factors, factors[::-1]):
        if factor.node in reaches:
            try:
                walk = _Walk(factor, other, tuple(along.values()), reaches, stored, prices, target)
                return walk.chain(head, top)
            except _Refused:
                continue
    return None


def _moved(use: Use) -> Use:
    """The element that movements take an element from."""
    while use.node.op.kind == "movement" and len(use.node.inputs) == 1:
        found = pushed(use)
        if len(found) != 1:
            break
        use = found[0]
    return use


class _Walk:
    """Follows a contraction's factor down to the contractions that it is made of."""

    def __init__(self, factor: Use, other: Use, along: tuple[Expr, ...], reaches: set[Node],
                 stored: frozenset[Node], prices: Prices, target: Target):
        self.factor, self.other, self.along = factor, other, along
        self.reaches, self.stored, self.prices, self.target = reaches, stored, prices, target
        self.run = _variables(along)
        mine, others = access.variables_of(factor), access.variables_of(other)
        self.rows = frozenset(v for v in mine - others if isinstance(v, Var))
        if not self.rows or not self.run <= mine or not others - mine or factor.guards:
            raise _Refused
        self.full: dict[Node, Use] = {}
        self.stats: dict[Node, Use] = {}
        self.inputs: dict[Node, None] = {}
        self.elements: set[Use] = set()  # that were read: each once, however many steps share it
        self.contractions: list[Node] = []
        self.panels = 0  # bytes of what is read for all rows

    def chain(self, head: Node, top: Node) -> Chain:
        stack = [(self.factor, self.along)]
        taken: set[tuple[Use, tuple[Expr, ...]]] = set()  # steps share what they are made of
        self._read_for_all(self.other)
        while stack:
            step = stack.pop()
            if step not in taken:
                taken.add(step)
                stack.extend(self._step(*step))
        rows, run = product(v.extent for v in self.rows), product(_extents(self.run))
        outer = product(v.extent for v in self._outer() if isinstance(v, Var))
        if not self.contractions or rows < LEAST_ROWS or run < LEAST_ROWS:
            raise _Refused
        staged = self._staged()
        # what is read for all rows is packed once a task: that must pay by the matrices that are not stored
        packed = self.panels * max(outer, 2 * self.target.threads)
        if packed > sum(outer * rows * run * n.dtype.itemsize for n in staged):
            raise _Refused
        return Chain(head, top, staged, frozenset(self.full), self.stats, tuple(self.inputs))

    def _step(self, use: Use, along: tuple[Expr, ...]) -> list[tuple[Use, tuple[Expr, ...]]]:
        """Take one element into the chain, or as an input of it; what it is made of is to be taken next."""
        node, variables = use.node, access.variables_of(use)
        if use.guards or not all(isinstance(v, Var) for v in variables):
            raise _Refused
        in_row = bool(variables & _variables(along))
        if node not in self.reaches or node in self.stored:
            self._read(use)
            return []
        if in_row and not variables & self.rows:  # one element for all rows: another kernel stores it
            self._store(node)
            return []
        if in_row:
            return self._take_full(use, along)
        if node.op.kind == "reduce" and not is_contraction(node):
            inner = access.reduce_variables(node, f"r{len(self.stats)}_")
            read = access.reduce_use(use, inner)
            places = tuple(inner.values())
            if sorted(_extents(_variables(places))) == sorted(_extents(self.run)):
                self.stats[node] = use
                return [(read, places)]
        elif node.op.kind in _INSIDE:
            self.stats[node] = use
            return [(u, along) for u in pushed(use)]
        self._store(node)
        return []

    def _store(self, node: Node) -> None:
        """The node comes from memory; what a movement moves is stored in its place."""
        while node.op.kind == "movement" and len(node.inputs) == 1 and node not in self.stored:
            node = node.inputs[0]
        self.inputs[node] = None

    def _take_full(self, use: Use, along: tuple[Expr, ...]) -> list[tuple[Use, tuple[Expr, ...]]]:
        node = use.node
        common: dict[Atom, Expr] = {v: expr.var(f"{_COMMON}{i}", v.extent)
                                    for i, e in enumerate(along) for v in _variables((e,))}
        canonical = Use(node, tuple(expr.substitute(e, common) for e in use.index))
        if node in self.full:
            if self.full[node] != canonical:
                raise _Refused  # two different elements of one matrix at a time
            return []
        self.full[node] = canonical
        if is_contraction(node):
            if not _runs_once(canonical):
                raise _Refused
            self.contractions.append(node)
            inner = [access.reduce_use(use, access.reduce_variables(node, f"c{len(self.contractions)}_"))]
            while len(inner) == 1:
                inner = pushed(inner[0])
            for factor in map(_moved, inner):
                if access.variables_of(factor) & self.rows:
                    self._read(factor)
                else:
                    self._read_for_all(factor)
            return []
        if node.op.kind not in _INSIDE:
            raise _Refused
        return [(u, along) for u in pushed(use)]

    def _read_for_all(self, use: Use) -> None:
        self.panels += product(_extents(access.variables_of(use) - self._outer())) * use.node.dtype.itemsize
        self._read(use)

    def _outer(self) -> frozenset:
        return access.variables_of(self.factor) & access.variables_of(self.other) - self.run

    def _read(self, use: Use) -> None:
        """What an element is made of outside the chain: movements and light arithmetic are computed on the
        way, all else comes from memory."""
        stack = [use]
        while stack:
            use = stack.pop()
            if use in self.elements:
                continue
            self.elements.add(use)
            node = use.node
            price = self.prices.prices[node]
            light = (node.op.kind == "movement" if node in self.reaches
                     else node.op.kind in _INSIDE and price.flops <= LONGEST)
            stored = node.op.name in IN_MEMORY or node in self.stored
            if stored or (node.op.kind != "source" and not light):
                self.inputs[node] = None
            else:
                stack.extend(pushed(use))

    def _staged(self) -> tuple[Node, ...]:
        """Each contraction with the elementwise steps that follow it alone; then the head's factor."""
        inside: dict[Node, list[Node]] = {}
        for node in (*self.full, *self.stats):
            for i in node.inputs:
                if i in self.full and node not in inside.get(i, ()):
                    inside.setdefault(i, []).append(node)
        staged: list[Node] = []
        for node in reversed(self.contractions):
            while node is not self.factor.node:
                following = inside.get(node, [])
                if len(following) != 1 or following[0] not in self.full:
                    break
                others = [i for i in following[0].inputs if i is not node]
                if any((i in self.full and i not in staged) or i in self.stats for i in others):
                    break
                node = following[0]
            if node not in staged:
                staged.append(node)
        if self.factor.node not in staged:
            staged.append(self.factor.node)
        if not all(_runs_once(self.full[node]) for node in staged):
            raise _Refused
        return tuple(staged)


def _runs_once(canonical: Use) -> bool:
    """Whether each axis of an element goes along the row as a whole, or not at all."""
    found = 0
    for e in canonical.index:
        places = [v for v in expr.variables(e) if v.name.startswith(_COMMON)]
        if places and (len(e.terms) != 1 or e.constant or e.terms[0][1] != 1):
            return False
        found += len(places)
    return found == len({v for v in access.variables_of(canonical) if v.name.startswith(_COMMON)})


def _variables(index: Sequence[Expr]) -> frozenset:
    return frozenset(v for e in index for v in expr.variables(e))


def _extents(variables: Collection) -> list[int]:
    return [v.extent for v in variables]


def _share_stats(chains: Sequence[Chain], order: Sequence[Node], users: Mapping[Node, Sequence[Node]],
                 targets: Collection[Node]) -> dict[Node, Chain]:
    """What others read of a row is stored by the first chain that computes it; which, for each such node."""
    position = {node: i for i, node in enumerate(order)}
    wanted = {n for c in chains for n in c.inputs}
    owner: dict[Node, Chain] = {}
    for chain in sorted(chains, key=lambda c: position[c.head]):
        chain.outputs = [chain.top]
        for node in sorted(chain.stats, key=lambda n: position[n]):
            outside = node in wanted or node in targets or any(
                u not in chain.stats and u not in chain.full for u in users[node])
            if outside and node not in owner and not _depends(chain.inputs, node):
                chain.outputs.append(node)
                owner[node] = chain
    return owner


def _depends(nodes: Sequence[Node], on: Node) -> bool:
    """Whether one of the nodes is made of another."""
    seen: set[Node] = set()
    stack = list(nodes)
    while stack:
        node = stack.pop()
        if node is on:
            return True
        if node not in seen:
            seen.add(node)
            stack.extend(inputs_in_plan(node))
    return False
