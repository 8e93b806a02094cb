"""What fusion decides by: the arithmetic of computing elements again, against the bytes of storing them.

Both are counted in arithmetic operations. A byte to or from memory takes as long as `Target.ops_per_byte` of
them, a byte that stays in a cache a fraction of that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from lazygrad.graph import Node
from lazygrad.helpers import product
from lazygrad.scheduler.group import IN_MEMORY, inputs_in_plan, is_special, nbytes
from lazygrad.source import Target

CACHED = 4  # how many times as fast as memory a cache is
LAUNCH = 1 << 16  # bytes from memory that take as long as launching a kernel
LONGEST = 64  # operations of one element: longer code is not repeated in a second kernel
MANY = 6  # buffers: what is computed from more is taken to read too many to count
_MOST = 1 << 40

_WEIGHTS = {"exp": 16, "exp2": 16, "expm1": 20, "log": 16, "log2": 16, "log10": 16, "log1p": 20, "sin": 20,
            "cos": 20, "tan": 24, "asin": 24, "acos": 24, "atan": 24, "sinh": 24, "cosh": 24, "tanh": 20,
            "asinh": 30, "acosh": 30, "atanh": 30, "erf": 24, "erfc": 30, "pow": 40, "atan2": 30,
            "threefry": 100, "div": 4, "sqrt": 4, "rsqrt": 6, "reciprocal": 4, "floordiv": 8, "remainder": 8,
            "fmod": 8, "truncdiv": 8, "gather": 4}


@dataclass(frozen=True)
class Price:
    """One element of a node: `flops` operations on what `reads` names (stored nodes;
    None if they are many)."""

    flops: int
    reads: frozenset[Node] | None


def weight(node: Node) -> int:
    """Arithmetic operations of one element of a node, its inputs not counted."""
    if node.op.kind == "reduce":
        return product(node.inputs[0].shape[axis] for axis in node.arg)
    return _WEIGHTS.get(node.op.name, 1 if node.op.kind == "elementwise" else 0)


class Prices:
    """The price of every node of a graph, counted from what is in memory and from what will most likely be
    stored: targets, reductions, and what has several users and is dear. `given` is stored before."""

    def __init__(self, order: Sequence[Node], users: Mapping[Node, Sequence[Node]], targets: Collection[Node],
                 target: Target, given: Collection[Node] = ()):
        self.users, self.targets, self.target = users, targets, target
        self.prices: dict[Node, Price] = {}
        seen_by_users: dict[Node, Price] = {}
        for node in order:
            if node.op.name in IN_MEMORY or node in given:
                price = Price(0, frozenset((node,)))
            else:
                price = _joined(node, [seen_by_users[i] for i in inputs_in_plan(node)])
            self.prices[node] = price
            dear = (price.flops > self.bytes_price(node, 2 * node.dtype.itemsize)
                    or self.ends_reduction(node))
            stored = (node in targets or is_special(node) or node.op.kind == "reduce"
                      or (len(users[node]) > 1 and dear))
            seen_by_users[node] = Price(0, frozenset((node,))) if stored else price

    def bytes_price(self, node: Node, count: float) -> float:
        """Operations that take as long as moving bytes of a node."""
        in_cache = nbytes(node) <= self.target.l2_bytes
        return count * self.target.ops_per_byte / (CACHED if in_cache else 1)

    def _for_this_alone(self, source: Node) -> bool:
        """Whether a reduction would be stored only because its one user is computed in several kernels."""
        return source.op.kind == "reduce" and source not in self.targets and len(self.users[source]) == 1

    def ends_reduction(self, node: Node) -> bool:
        """Whether storing a node costs no more than storing the reduction of which it is the last step."""
        reads = self.prices[node].reads or ()
        return any(self._for_this_alone(s) and nbytes(s) >= nbytes(node) for s in reads if s is not node)

    def worth_repeating(self, node: Node, kernels: int, evaluations: int, launch: bool) -> bool:
        """Whether `kernels` kernels should compute the node themselves, `evaluations` elements in all,
        instead of one that stores it (one more `launch`, or one of them) and all that load it."""
        price = self.prices[node]
        if node.op.kind == "movement" and len(node.inputs) == 1 and node.size >= node.inputs[0].size:
            return True  # its input has no more elements: storing that costs less
        if node.op.kind == "reduce" or price.reads is None or price.flops > LONGEST:
            return False
        arithmetic = price.flops * max(evaluations - node.size, 0)
        moved = 0
        for source in price.reads:
            one = min(nbytes(source), node.size * source.dtype.itemsize)
            moved += one * (kernels - 1)
            moved += 2 * one if self._for_this_alone(source) else 0
        saved = nbytes(node) * (1 + kernels) + (LAUNCH if launch else 0) - moved
        return arithmetic < self.bytes_price(node, saved)

    def too_often(self, node: Node, evaluations: int) -> str:
        """Why a node should not be computed that many times by one kernel, or an empty string."""
        arithmetic = self.prices[node].flops * (evaluations - node.size)
        if arithmetic <= self.bytes_price(node, 2 * nbytes(node) + LAUNCH):
            return ""
        times = evaluations / max(node.size, 1)
        return f"it would be computed {times:.0f} times over, {self.prices[node].flops} operations each"


def _joined(node: Node, inputs: Iterable[Price]) -> Price:
    flops, reads = weight(node), frozenset[Node]()
    many = False
    scale = flops if node.op.kind == "reduce" else 1
    for price in inputs:
        flops += scale * price.flops
        many = many or price.reads is None
        reads |= price.reads or frozenset()
    return Price(min(flops, _MOST), None if many or len(reads) > MANY else reads)
