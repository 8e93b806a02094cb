"""Fusion: which nodes become one kernel, decided by what is legal and by what it costs,
each boundary with a reason.

Nodes are visited users first. A node joins the cluster of its users where that is legal (`Cluster.refuse`
gives the reason where it is not) and worth it; otherwise it is stored and starts a cluster of its own.
Clusters that share a node merge into one kernel with several outputs where they loop over the same domain. A
node that is cheap to compute again may stand in several clusters.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations

from lazygrad import access, expr
from lazygrad.access import Use
from lazygrad.expr import Dynamic, Expr, Var
from lazygrad.graph import Node, Shape, consumers, topological
from lazygrad.group import Group
from lazygrad.helpers import product
from lazygrad.tape import make_tape

MAX_NODES = 800  # per kernel: compile time grows faster than linearly beyond
MAX_MERGED = 16  # kernels that are tried for merging at once
MAX_USES = 4  # different elements of one node that a kernel may evaluate at each point
PARALLEL_WORK = 1 << 15  # elements above which a kernel must have parallel iterations
CHEAP = 8  # arithmetic operations that cost less than storing and loading a float

_WEIGHTS = {"exp": 16, "exp2": 16, "expm1": 20, "log": 16, "log2": 16, "log10": 16, "log1p": 20, "sin": 20,
            "cos": 20, "tan": 24, "asin": 24, "acos": 24, "atan": 24, "sinh": 24, "cosh": 24, "tanh": 20,
            "asinh": 30, "acosh": 30, "atanh": 30, "erf": 24, "erfc": 30, "pow": 40, "atan2": 30,
            "threefry": 100, "div": 4, "sqrt": 4, "rsqrt": 6, "reciprocal": 4, "floordiv": 8, "remainder": 8,
            "fmod": 8, "truncdiv": 8}
IN_MEMORY = frozenset(("buffer", "saved", "scalar"))
_FREE = frozenset(("const", "iota"))
_SPECIAL = frozenset(("scan", "sort"))


def is_special(node: Node) -> bool:
    """Whether a node is lowered by loops of its own,
    so that it must be stored and heads its cluster alone."""
    return (node.op.kind in _SPECIAL or node.op.name == "scatter"
            or (node.op.name == "cat" and len(node.inputs) > 4))


def is_contraction(node: Node) -> bool:
    """Whether a node is a sum of products in which each factor is used for many results."""
    if node.op.name != "sum":
        return False
    source = node.inputs[0]
    while source.op.name in ("cast", "spread", "permute", "reshape"):
        source = source.inputs[0]
    if source.op.name != "mul" or node.dtype.kind != "float":
        return False
    folded = product(node.inputs[0].shape[axis] for axis in node.arg)
    return folded > 1 and all(_repeats(i) for i in source.inputs)


def _repeats(factor: Node) -> bool:
    """Whether a factor of a product is read several times: it comes through an expand,
    a window or a spread."""
    stack = [factor]
    for _ in range(16):
        if not stack:
            return False
        node = stack.pop()
        if node.op.name in ("expand", "window", "spread"):
            return True
        if node.op.kind == "movement" or node.op.name == "cast":
            stack.extend(node.inputs[:1])
    return False


def weight(node: Node) -> int:
    """Arithmetic operations of one element of a node, its inputs not counted."""
    if node.op.kind == "reduce":
        return product(node.inputs[0].shape[axis] for axis in node.arg)
    return _WEIGHTS.get(node.op.name, 1) if node.op.kind == "elementwise" else 0


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
        self.frontier.update(i for i in node.inputs if i not in self.uses and i.op.name not in _FREE)
        if node.op.kind == "reduce":
            self.reduces.append(node)
            if is_contraction(node):
                self.contraction = node

    def parameters(self) -> int:
        return len(self.outputs) + sum(n.op.name != "scalar" for n in self.frontier)



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


class Fusion:
    """The state of one fusion: which cluster each node is in, and why the others were stored."""

    def __init__(self, targets: Sequence[Node], max_parameters: int):
        self.max_parameters = max_parameters
        self.targets = set(targets)
        self.order = topological(targets, inputs_in_plan)
        self.users = consumers(self.order, inputs_in_plan)
        self.chains = self._chain_costs()
        self.homes: dict[Node, list[Cluster]] = {}  # the clusters that evaluate a node
        self.stored: dict[Node, Cluster] = {}
        self.reasons: dict[Node, str] = {}

    def _chain_costs(self) -> dict[Node, tuple[int, int]]:
        """For each node, the operations and the loads of computing one element from what is in memory."""
        costs: dict[Node, tuple[int, int]] = {}
        self.own: dict[Node, tuple[int, int]] = {}
        for node in self.order:
            if node.op.name in IN_MEMORY:
                costs[node] = (0, 1)
                continue
            inputs = [costs[i] for i in inputs_in_plan(node)]
            scale = weight(node) if node.op.kind == "reduce" else 1
            flops = scale * sum(f for f, _ in inputs) + weight(node)
            loads = scale * sum(b for _, b in inputs)
            if len(self.users[node]) > 1 and flops > CHEAP or node in self.targets or is_special(node):
                self.own[node] = min(flops, 1 << 40), min(loads, 1 << 40)
                flops, loads = 0, 1  # users will most likely find it stored
            costs[node] = min(flops, 1 << 40), min(loads, 1 << 40)
        return {**costs, **self.own}

    def run(self) -> list[Cluster]:
        for node in reversed(self.order):
            sorted_by = any(user.op.kind == "sort" for user in self.users[node])  # a sort reads memory
            if (node.op.name in IN_MEMORY
                or (node.op.name in _FREE and node not in self.targets and not sorted_by)):
                continue
            self.visit(node)
        return list(dict.fromkeys(self.stored.values()))

    def visit(self, node: Node) -> None:
        homes = list(dict.fromkeys(c for user in self.users[node] for c in self.homes.get(user, ())))
        must = node in self.targets or is_special(node)
        if not homes or is_special(node) or any(u.op.kind == "sort" for u in self.users[node]):
            self.store(node, homes,
                       "an output" if node in self.targets else f"{node.op.name} has loops of its own")
            return
        cluster, reason = self.merged(node, homes)
        if cluster is not None:
            homes = [cluster]
            uses = cluster.wanted(node, self.users[node])
            reason = self.refuse(cluster, node, uses, must)
            if not reason:
                cluster.add(node, uses)
                self.homes[node] = [cluster]
                if must:
                    cluster.outputs.append(node)
                    self.stored[node] = cluster
                return
        elif not must and self.is_cheap(node) and self.duplicate(node, homes):
            return
        if not self.store_inside(node, homes, reason):
            self.store(node, homes, reason)

    def store_inside(self, node: Node, homes: list[Cluster], reason: str) -> bool:
        """Store the node from a kernel that computes it for its own use;
        its other users read it from there."""
        for home in homes:
            others = [c for c in homes if c is not home]
            uses = home.wanted(node, self.users[node])
            if (others and not self.refuse(home, node, uses, True)
                and not any(_waits(home, c) for c in others)):
                home.add(node, uses)
                home.outputs.append(node)
                self.homes[node] = [home]
                self.stored[node] = home
                self.reasons[node] = reason
                home.feeds(others)
                return True
        return False

    # Joining

    def refuse(self, cluster: Cluster, node: Node, uses: tuple[Use, ...], must: bool) -> str:
        """Why a node may not join a cluster, or an empty string."""
        grown = cluster.parameters() + sum(i not in cluster.frontier for i in node.inputs)
        if len(cluster.uses) >= MAX_NODES:
            return f"the kernel has {MAX_NODES} nodes already"
        if grown > self.max_parameters:
            return f"the kernel would take more than {self.max_parameters} buffers"
        if must and (cluster.special or len(uses) != 1 or not access.is_own_element(uses[0], cluster.domain)):
            return "it is an output, and the kernel does not visit its elements one by one"
        if len(uses) > MAX_USES and self.chains[node] > (0, 1):
            return f"the kernel would evaluate it at {len(uses)} places"
        if node.op.kind == "reduce":
            return self._refuse_reduce(cluster, node, uses)
        if node.op.kind == "movement" and len(node.inputs) == 1:
            return ""  # it computes nothing: whether its input is computed again is asked of that
        flops, _ = self.chains[node]
        again = evaluations(uses) / max(node.size, 1) - 1
        if again > 1 and flops * again > CHEAP * 4 and flops >= CHEAP:
            return f"it would be computed {again + 1:.0f} times over"
        return ""

    def _refuse_reduce(self, cluster: Cluster, node: Node, uses: tuple[Use, ...]) -> str:
        folded = weight(node)
        if cluster.special:
            return f"{cluster.outputs[0].op.name} has loops of its own"
        if len(uses) != 1:
            return f"the reduction would run at {len(uses)} places"
        variables = access.variables_of(uses[0])
        if any(isinstance(v, Dynamic) for v in variables):
            return "the reduction would run at places read from a tensor"
        if evaluations(uses) > node.size:
            return f"the reduction would run {evaluations(uses) // max(node.size, 1)} times over"
        domain = {v for e in access.loop_variables(cluster.domain) for v in expr.variables(e)}
        if is_contraction(node):
            if cluster.reduces:
                return "a contraction is not computed inside another reduction"
            if not variables <= domain or product(cluster.domain) != node.size:
                return "a contraction is not computed inside a larger loop"
            return ""
        if cluster.contraction is not None:
            return "the kernel is a contraction already"
        if not all(_nested(variables & domain, access.variables_of(u) & domain)
                   for other in cluster.reduces for u in cluster.uses[other]):
            return "the kernel reduces along other axes already"
        rows = product(v.extent for v in variables if isinstance(v, Var))
        if rows < 8 and rows * folded > PARALLEL_WORK and (variables & domain) != domain:
            return "too few rows to keep every core busy"
        return ""

    # Several users

    def merged(self, node: Node, homes: list[Cluster]) -> tuple[Cluster | None, str]:
        """The one cluster of all users, merging theirs where that is legal."""
        if len(homes) > MAX_MERGED:
            return None, f"it has users in {len(homes)} kernels"
        for a, b in combinations(homes, 2):
            reason = self.refuse_merge(a, b)
            if reason:
                return None, reason
        first, *others = homes
        for other in others:
            self.merge(first, other)
        return first, ""

    def refuse_merge(self, a: Cluster, b: Cluster) -> str:
        if a.special or b.special:
            return "its users are different kernels, one with loops of its own"
        if a.domain != b.domain:
            return f"its users loop over {list(a.domain)} and {list(b.domain)}"
        if a.contraction is not None and b.contraction is not None:
            return "its users are two contractions"
        if (a.contraction and b.reduces) or (b.contraction and a.reduces):
            return "its users are a contraction and another reduction"
        if len(a.uses) + len(b.uses) > MAX_NODES:
            return f"its users together would have more than {MAX_NODES} nodes"
        if a.parameters() + b.parameters() > self.max_parameters:
            return f"its users together would take more than {self.max_parameters} buffers"
        domain = {v for e in access.loop_variables(a.domain) for v in expr.variables(e)}
        rows = [access.variables_of(u) & domain for c in (a, b) for n in c.reduces for u in c.uses[n]]
        if not all(_nested(x, y) for x in rows for y in rows):
            return "its users reduce along different axes"
        if _reaches(a, b) or _reaches(b, a):
            return "one of its users waits for another through a third kernel"
        return ""

    def merge(self, a: Cluster, b: Cluster) -> None:
        """Make b part of a."""
        for node, uses in b.uses.items():
            a.uses[node] = tuple(dict.fromkeys((*a.uses.get(node, ()), *uses)))
            self.homes[node] = list(dict.fromkeys(a if c is b else c for c in self.homes[node]))
        a.outputs += b.outputs
        a.reduces += [n for n in b.reduces if n not in a.reduces]
        a.contraction = a.contraction or b.contraction
        a.frontier = {n for n in a.frontier | b.frontier if n not in a.uses}
        for node in b.outputs:
            self.stored[node] = a
        for source in b.sources - {a}:
            source.readers.discard(b)
            source.feeds((a,))
        for reader in b.readers - {a}:
            reader.sources.discard(b)
        a.feeds(b.readers - {a})
        a.readers.discard(b)
        a.sources.discard(b)

    def is_cheap(self, node: Node) -> bool:
        """Whether computing a node again costs less than storing and loading it."""
        if node.op.kind == "movement" and len(node.inputs) == 1 and node.size >= node.inputs[0].size:
            return True  # its input has no more elements: storing that costs less
        flops, loads = self.chains[node]
        return flops <= CHEAP and loads <= 2

    def duplicate(self, node: Node, homes: list[Cluster]) -> bool:
        """Let every user compute the node itself, where all of them may."""
        wanted = [(c, c.wanted(node, self.users[node])) for c in homes]
        if any(self.refuse(c, node, uses, False) for c, uses in wanted):
            return False
        for c, uses in wanted:
            c.add(node, uses)
        self.homes[node] = homes
        return True

    def store(self, node: Node, homes: list[Cluster], reason: str) -> None:
        """The node heads a cluster of its own."""
        self.reasons[node] = reason
        cluster = Cluster([node], access.domain_of(node.shape), special=is_special(node))
        self.stored[node] = cluster
        self.homes[node] = [cluster]
        cluster.feeds(homes)
        if cluster.special:
            cluster.uses[node] = ()
            cluster.heads = head_uses(node)
            cluster.frontier.update(i for i in node.inputs if i.op.name not in _FREE)
        else:
            cluster.add(node, (access.at(node, access.loop_variables(node.shape)),))


def inputs_in_plan(node: Node) -> tuple[Node, ...]:
    """The inputs that a plan must compute: what is in memory has none."""
    return () if node.op.name in IN_MEMORY else node.inputs


def evaluations(uses: Iterable[Use]) -> int:
    """How many elements the uses name, over all iterations of the loops that they depend on."""
    total = 0
    for use in uses:
        variables: set[Var] = set()
        for v in access.variables_of(use):
            inner = (access.variables_of(v.value) if isinstance(v, Dynamic) and isinstance(v.value, Use)
                     else (v,))
            variables.update(w for w in inner if isinstance(w, Var))
        total += product(v.extent for v in variables)
    return total


def _nested(a: frozenset, b: frozenset) -> bool:
    return a <= b or b <= a


def _waits(a: Cluster, b: Cluster) -> bool:
    """Whether a must wait for b, directly or through others."""
    return a in b.readers or _reaches(b, a)


def _reaches(a: Cluster, b: Cluster) -> bool:
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


def fuse(targets: Sequence[Node], max_parameters: int) -> tuple[list[Group], dict[Node, str]]:
    """The kernels that compute the targets, in no particular order, and why each stored node was stored.

    `max_parameters` is how many buffers one kernel may take.
    """
    if is_scalar_graph(targets):
        tape = make_tape(topological(targets, inputs_in_plan), targets, IN_MEMORY)
        return [tape] if tape is not None else scalar_groups(targets), {}
    fusion = Fusion(targets, max_parameters)
    clusters = fusion.run()
    stored = set(fusion.stored)
    groups = []
    for cluster in clusters:
        inner_inputs = partial(_inner_inputs, outputs=cluster.outputs, stored=stored)
        inside = topological(cluster.outputs, inner_inputs)
        inputs = [n for n in inside if n.op.name in IN_MEMORY or (n in stored and n not in cluster.outputs)]
        users = consumers(inside, inner_inputs)
        own = frozenset(u for n in inputs for u in _own_read(cluster, n, users[n]))
        elements = tuple(Use(n, ()) if cluster.special else cluster.uses[n][0] for n in cluster.outputs)
        groups.append(Group(tuple(cluster.outputs), tuple(inputs), cluster.domain, elements, own))
    return groups, fusion.reasons


def is_scalar_graph(targets: Sequence[Node]) -> bool:
    """Whether a graph computes single numbers only, and more of them than one kernel holds."""
    order = topological(targets, inputs_in_plan)
    return len(order) > MAX_NODES and all(
        n.op.name in IN_MEMORY or (n.size == 1 and n.op.kind in ("elementwise", "movement", "source"))
        for n in order)


def scalar_groups(targets: Sequence[Node]) -> list[Group]:
    """A graph of single numbers, cut along its topological order:
    kernels can wait for each other only forwards."""
    order = [n for n in topological(targets, inputs_in_plan) if n.op.name not in IN_MEMORY]
    users = consumers(order, inputs_in_plan)
    wanted = set(targets)
    piece = {node: i // MAX_NODES for i, node in enumerate(order)}
    stored = {n for n in order if n in wanted
              or (n.op.name not in _FREE and any(piece[u] != piece[n] for u in users[n]))}
    groups = []
    for number in range(piece[order[-1]] + 1):
        mine = order[number * MAX_NODES:(number + 1) * MAX_NODES]
        outputs = tuple(n for n in mine if n in stored)
        inside = set(outputs)
        read = topological(outputs, partial(_inner_inputs, outputs=inside, stored=stored))
        inputs = tuple(n for n in read if n.op.name in IN_MEMORY or (n in stored and n not in inside))
        groups.append(Group(outputs, inputs, (), tuple(access.at(n, (expr.ZERO,) * n.ndim) for n in outputs)))
    return [g for g in reversed(groups) if g.outputs]


def _own_read(cluster: Cluster, node: Node, users: Sequence[Node]) -> tuple[Use, ...]:
    """The one element of an input that an iteration reads, where no other iteration reads it too."""
    uses = cluster.wanted(node, users)
    whole = not cluster.special and node.size == product(cluster.domain)
    return uses if whole and len(uses) == 1 and access.is_own_element(uses[0], cluster.domain) else ()


def _inner_inputs(node: Node, outputs: Collection[Node], stored: set[Node]) -> tuple[Node, ...]:
    if node in stored and node not in outputs:
        return ()
    return inputs_in_plan(node)
