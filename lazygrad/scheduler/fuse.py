"""Fusion: which nodes become one kernel, decided by what is legal and by what it costs,
each boundary with a reason.

Nodes are visited users first. A node joins the cluster of its users where that is legal (`Cluster.refuse`
gives the reason where it is not) and worth it; otherwise it is stored and starts a cluster of its own.
Clusters that share a node merge into one kernel with several outputs where they loop over the same domain. A
node that is cheap to compute again may stand in several clusters.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from itertools import combinations

from lazygrad import expr
from lazygrad.expr import Dynamic, Var
from lazygrad.graph import Node, Shape, consumers, topological
from lazygrad.helpers import product
from lazygrad.scheduler import access
from lazygrad.scheduler.access import Use
from lazygrad.scheduler.chain import Chain, find_chains
from lazygrad.scheduler.cluster import FREE, Cluster, evaluations, head_uses, nested, reaches, waits
from lazygrad.scheduler.fusion_cost import Prices, weight
from lazygrad.scheduler.group import (
    IN_MEMORY,
    READS_MEMORY,
    Group,
    inputs_in_plan,
    is_contraction,
    is_special,
)
from lazygrad.scheduler.number_parts import MAX_NODES, Part, find_parts, number_groups
from lazygrad.source import Target

MAX_MERGED = 16  # kernels that share a node: more are not tried for merging
MAX_USES = 4  # different elements of one node that a kernel may evaluate at each point
PARALLEL_WORK = 1 << 15  # elements above which a kernel must have parallel iterations
FEW_ROWS = 8  # fewer parallel iterations may leave cores without work


class Fusion:
    """The state of one fusion: which cluster each node is in, and why the others were stored. `given`: what
    other parts of the graph store."""

    def __init__(self, targets: Sequence[Node], target: Target, given: frozenset[Node] = frozenset()):
        self.target, self.given = target, given
        self.targets = set(targets)
        self.chains: dict[Node, Chain] = {}
        order = topological(targets, self.inputs)
        users = consumers(order, self.inputs)
        self.prices = Prices(order, users, self.targets, target, given)
        # beside other parts there are none: a chain could reach beyond what those store
        chains = () if given else find_chains(order, users, self.targets, self.prices, target)
        self.chains = {node: chain for chain in chains for node in chain.outputs}
        self.order = topological(targets, self.inputs)
        self.users = consumers(self.order, self.inputs)
        self.links: dict[Cluster, Chain] = {}  # the clusters that are chains
        self.homes: dict[Node, list[Cluster]] = {}  # the clusters that evaluate a node
        self.stored: dict[Node, Cluster] = {}
        self.reasons: dict[Node, str] = {}

    def inputs(self, node: Node) -> tuple[Node, ...]:
        """What must be computed before a node: a chain reads its inputs only, its other outputs come with
        it."""
        if node in self.given:
            return ()
        chain = self.chains.get(node)
        if chain is None:
            return inputs_in_plan(node)
        return chain.inputs if node is chain.top else (chain.top,)

    def run(self) -> list[Cluster]:
        for node in reversed(self.order):
            kept = any(user.op.kind in READS_MEMORY for user in self.users[node])
            if (node.op.name in IN_MEMORY or node in self.given
                or (node.op.name in FREE and node not in self.targets and not kept)):
                continue
            self.visit(node)
        return list(dict.fromkeys(self.stored.values()))

    def visit(self, node: Node) -> None:
        homes = list(dict.fromkeys(c for user in self.users[node] for c in self.homes.get(user, ())))
        if node in self.chains:
            self.store_with_chain(node, homes)
            return
        readers = [c for c in homes if c in self.links]  # they read memory
        homes = [c for c in homes if c not in readers]
        if readers and (is_special(node) or not homes):
            self.store(node, [*homes, *readers], "a chain of contractions reads it")
            return
        must = node in self.targets or is_special(node) or bool(readers)
        if not homes or is_special(node) or any(u.op.kind in READS_MEMORY for u in self.users[node]):
            self.store(node, homes,
                       "an output" if node in self.targets else f"{node.op.name} has loops of its own")
            return
        cluster, reason = self.merged(node, homes)
        if cluster is not None:
            homes = [cluster]
            uses = cluster.wanted(node, self.users[node])
            reason = self.refuse(cluster, node, uses, must)
            if not reason and not any(waits(cluster, r) for r in readers):
                self.join(cluster, node, uses, must)
                cluster.feeds(readers)
                return
        elif not must and self.duplicate(node, homes):
            return
        if not self.store_inside(node, homes, readers, reason):
            self.store(node, [*homes, *readers], reason)

    def store_inside(self, node: Node, homes: list[Cluster], readers: list[Cluster], reason: str) -> bool:
        """Store the node from a kernel that computes it for its own use;
        its other users, and `readers`, read it from there."""
        for home in homes:
            if home.contraction is not None and self.prices.ends_reduction(node):
                continue  # the reduction would be stored as well: better there than here
            others = [c for c in homes if c is not home] + readers
            uses = home.wanted(node, self.users[node])
            if (others and not self.refuse(home, node, uses, True)
                and not any(waits(home, c) for c in others)):
                self.join(home, node, uses, stored=True)
                self.reasons[node] = reason
                home.feeds(others)
                return True
        return False

    # Joining

    def join(self, cluster: Cluster, node: Node, uses: tuple[Use, ...], stored: bool) -> None:
        """The node becomes part of a cluster; where it is `stored` too, the loops reach all its elements."""
        if stored:
            if not any(access.is_own_element(u, cluster.domain) for u in uses):
                cluster.domain = access.domain_of(node.shape)
                uses = (*uses, access.at(node, access.loop_variables(node.shape)))
            cluster.outputs.append(node)
            self.stored[node] = cluster
        cluster.add(node, uses)
        self.homes[node] = [cluster]

    def can_store(self, cluster: Cluster, node: Node, uses: tuple[Use, ...]) -> bool:
        """Whether a cluster that reads the uses of a node may store it: its loops visit the elements one by
        one, or can be deepened from the rows to the elements."""
        if cluster.special:
            return False
        own = next((u for u in uses if access.is_own_element(u, cluster.domain)), None)
        if own is not None:
            return self.is_visited_once(cluster, own)
        return (cluster.contraction is None and cluster.reads_by_row(uses)
                and self.can_deepen(cluster, access.domain_of(node.shape)))

    def is_visited_once(self, cluster: Cluster, own: Use) -> bool:
        """Whether the loops around an element are the outermost, so that it is computed once: those over rows
        that the kernel reduces are put there."""
        variables = access.variables_of(own)
        order = [e.terms[0][0] in variables for e in access.loop_variables(cluster.domain)]
        rows = (access.variables_of(u) & variables for n in cluster.reduces for u in cluster.uses[n])
        return order == sorted(order, reverse=True) or any(r == variables for r in rows)

    def can_deepen(self, cluster: Cluster, domain: Shape) -> bool:
        """Whether a cluster's loops over rows may go on along the rows: the rows are enough for every core,
        and what the first pass over a row computes is still in a cache at the second."""
        rows, inside = product(cluster.domain), domain[len(cluster.domain):]
        widest = max((n.dtype.itemsize for n in cluster.outputs), default=8)
        return (cluster.domain == domain[:len(cluster.domain)]
                and (rows >= FEW_ROWS or product(domain) <= PARALLEL_WORK)
                and product(inside) * widest <= self.target.l2_bytes // 2)

    def refuse(self, cluster: Cluster, node: Node, uses: tuple[Use, ...], must: bool) -> str:
        """Why a node may not join a cluster, or an empty string."""
        grown = cluster.parameters() + sum(i not in cluster.frontier for i in node.inputs)
        if len(cluster.uses) >= MAX_NODES:
            return f"the kernel has {MAX_NODES} nodes already"
        if grown > self.target.max_parameters:
            return f"the kernel would take more than {self.target.max_parameters} buffers"
        if must and not self.can_store(cluster, node, uses):
            return "it is an output, and the kernel does not visit its elements one by one"
        if len(uses) > MAX_USES and self.prices.prices[node].reads != frozenset((node,)):
            return f"the kernel would evaluate it at {len(uses)} places"
        if node.op.kind == "reduce":
            return self._refuse_reduce(cluster, node, uses)
        if node.op.kind == "movement" and len(node.inputs) == 1:
            return ""  # it computes nothing: whether its input is computed again is asked of that
        if len(uses) > 1 and self.prices.ends_reduction(node):
            return "it is the last step of a reduction that must be stored otherwise"
        return self.prices.too_often(node, self.evaluations(cluster, node, uses))

    def evaluations(self, cluster: Cluster, node: Node, uses: tuple[Use, ...]) -> int:
        """How many elements of a node a cluster computes. The second pass over a row finds what the first one
        has computed, where a row stays in a cache."""
        loops = access.loop_variables(cluster.domain)
        depths = {u: access.row_depth(u, loops) for u in uses}
        rows = [d for d in depths.values() if d is not None]
        row = product(access.domain_of(node.shape)[min(rows, default=0):]) * node.dtype.itemsize
        kept = [u for u in uses if depths[u] is not None][1:] if row <= self.target.l2_bytes // 2 else []
        return evaluations(u for u in uses if u not in kept)

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
        if not all(nested(variables & domain, access.variables_of(u) & domain)
                   for other in cluster.reduces for u in cluster.uses[other]):
            return "the kernel reduces along other axes already"
        if product(cluster.domain) > PARALLEL_WORK and not _in_order(variables & domain, cluster.domain):
            return "its rows are apart in memory: neither the outermost loops nor neighbours in lanes"
        rows = product(v.extent for v in variables if isinstance(v, Var))
        if rows < FEW_ROWS and rows * folded > PARALLEL_WORK and (variables & domain) != domain:
            return "too few rows to keep every core busy"
        return ""

    # Several users

    def merged(self, node: Node, homes: list[Cluster]) -> tuple[Cluster | None, str]:
        """The one cluster of all users, merging theirs where that is legal."""
        if len(homes) > MAX_MERGED:
            return None, f"it has users in {len(homes)} kernels"
        for a, b in combinations(homes, 2):
            reason = self.refuse_merge(a, b, node)
            if reason:
                return None, reason
        first, *others = homes
        for other in others:
            self.merge(first, other)
        return first, ""

    def refuse_merge(self, a: Cluster, b: Cluster, node: Node) -> str:
        """Why two clusters that read a node may not become one, or an empty string."""
        if a.special or b.special:
            return "its users are different kernels, one with loops of its own"
        low, high = sorted((a, b), key=lambda c: len(c.domain))
        if low.domain != high.domain:
            reads = [c.wanted(node, self.users[node]) for c in (low, high)]
            if (a.contraction or b.contraction or not self.can_deepen(low, high.domain)
                or not all(low.reads_by_row(uses) for uses in reads)):
                return f"its users loop over {list(a.domain)} and {list(b.domain)}"
        if a.contraction is not None and b.contraction is not None:
            return "its users are two contractions"
        if (a.contraction and b.reduces) or (b.contraction and a.reduces):
            return "its users are a contraction and another reduction"
        if len(a.uses) + len(b.uses) > MAX_NODES:
            return f"its users together would have more than {MAX_NODES} nodes"
        if a.parameters() + b.parameters() > self.target.max_parameters:
            return f"its users together would take more than {self.target.max_parameters} buffers"
        domain = {v for e in access.loop_variables(high.domain) for v in expr.variables(e)}
        rows = [access.variables_of(u) & domain for c in (a, b) for n in c.reduces for u in c.uses[n]]
        if not all(nested(x, y) for x in rows for y in rows):
            return "its users reduce along different axes"
        if reaches(a, b) or reaches(b, a):
            return "one of its users waits for another through a third kernel"
        return ""

    def merge(self, a: Cluster, b: Cluster) -> None:
        """Make b part of a."""
        a.domain = max(a.domain, b.domain, key=len)
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

    def duplicate(self, node: Node, homes: list[Cluster]) -> bool:
        """Let every user compute the node itself, where all may and that costs less than storing it."""
        wanted = [(c, c.wanted(node, self.users[node])) for c in homes]
        computed = sum(self.evaluations(c, node, uses) for c, uses in wanted)
        launch = not any(self.can_store(c, node, uses) for c, uses in wanted)
        if not self.prices.worth_repeating(node, len(homes), computed, launch):
            return False
        if any(self.refuse(c, node, uses, False) for c, uses in wanted):
            return False
        for c, uses in wanted:
            c.add(node, uses)
        self.homes[node] = homes
        return True

    def store_with_chain(self, node: Node, homes: list[Cluster]) -> None:
        """The node is an output of a chain, which is one kernel."""
        chain = self.chains[node]
        cluster = next((c for c, link in self.links.items() if link is chain), None)
        if cluster is None:
            cluster = Cluster(list(chain.outputs), access.domain_of(chain.top.shape), special=True)
            cluster.frontier.update(chain.inputs)
            cluster.uses[chain.top] = ()
            self.links[cluster] = chain
        self.stored[node] = cluster
        self.homes[node] = [cluster]
        self.reasons[node] = "contractions are chained row by row"
        cluster.feeds(homes)

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
            cluster.frontier.update(i for i in node.inputs if i.op.name not in FREE)
        else:
            cluster.add(node, (access.at(node, access.loop_variables(node.shape)),))


def _in_order(variables: Collection[Var | Dynamic], domain: Shape) -> bool:
    """Whether the loops over rows are the outermost ones, or the innermost is among them."""
    rows = [e.terms[0][0] in variables for e in access.loop_variables(domain)]
    return not rows or rows[-1] or rows == sorted(rows, reverse=True)


def fuse(targets: Sequence[Node], target: Target) -> tuple[list[Group], dict[Node, str]]:
    """The kernels that compute the targets on a device, in no particular order, and why each stored node was
    stored."""
    groups: list[Group] = []
    reasons: dict[Node, str] = {}
    for part in find_parts(targets):
        if part.of_numbers:
            groups += number_groups(part, target.max_parameters)
        else:
            found, why = _fuse_part(part, target)
            groups += found
            reasons |= why
    return groups, reasons


def _fuse_part(part: Part, target: Target) -> tuple[list[Group], dict[Node, str]]:
    fusion = Fusion(part.targets, target, part.given)
    clusters = fusion.run()
    stored = {*fusion.stored, *part.given}
    groups = []
    for cluster in clusters:
        inner_inputs = partial(_inner_inputs, outputs=cluster.outputs, stored=stored)
        inside = topological(cluster.outputs, inner_inputs)
        inputs = [n for n in inside if n.op.name in IN_MEMORY or (n in stored and n not in cluster.outputs)]
        users = consumers(inside, inner_inputs)
        own = frozenset(u for n in inputs for u in _own_read(cluster, n, users[n]))
        chain = fusion.links.get(cluster)
        elements = (chain.elements if chain else
                    tuple(cluster.own_element(n) or Use(n, ()) for n in cluster.outputs))
        groups.append(Group(tuple(cluster.outputs), tuple(inputs), cluster.domain, elements, own,
                            chain.staged if chain else ()))
    return groups, fusion.reasons


def _own_read(cluster: Cluster, node: Node, users: Sequence[Node]) -> tuple[Use, ...]:
    """The one element of an input that an iteration reads, where no other iteration reads it too."""
    uses = cluster.wanted(node, users)
    whole = not cluster.special and node.size == product(cluster.domain)
    return uses if whole and len(uses) == 1 and access.is_own_element(uses[0], cluster.domain) else ()


def _inner_inputs(node: Node, outputs: Collection[Node], stored: set[Node]) -> tuple[Node, ...]:
    if node in stored and node not in outputs:
        return ()
    return inputs_in_plan(node)
