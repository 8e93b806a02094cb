"""The rewrite engine: named rules, applied from the inputs up until none of them fires."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lazygrad.graph import Node, intern
from lazygrad.helpers import collector_paused

if TYPE_CHECKING:
    from lazygrad.ops.table import Op

# A rule may yield what another rule takes up; a chain of this length means that two rules undo each other.
_LONGEST_CHAIN = 200


@dataclass(frozen=True)
class Rule:
    """One rewriting: `function(node)` gives a node of the same value, shape and dtype, or None where it does
    not apply.

    `ops` are the names of the rows that it is tried on; `needs`, if any, the names of rows of which some
    input must be. An early rule sees a node before its inputs are rewritten, and what it cuts off is never
    visited. `exact` says that not a bit of the value changes; other rules reassociate a reduction, or round
    once where the original rounds twice.
    """

    name: str
    ops: tuple[str, ...]
    function: Callable[[Node], Node | None]
    needs: tuple[str, ...] = ()
    early: bool = False
    exact: bool = True


@collector_paused()
def rewrite(
    roots: Iterable[Node], rules: Sequence[Rule], fired: Counter[str] | None = None
) -> dict[Node, Node]:
    """A map from every node that was visited to its rewritten form, the roots among them.

    Inputs come before users; a node is rewritten until no rule fires. `fired` counts the rules that did.
    """
    early = _Dispatch(rule for rule in rules if rule.early)
    late = _Dispatch(rule for rule in rules if not rule.early)
    done: dict[Node, Node] = {}
    chain: dict[Node, int] = {}
    stack: list[tuple[Node, Node | None]] = [(root, None) for root in roots]
    # (node, None): look at it; (node, node): its inputs are done; (node, other): it becomes what other became
    while stack:
        node, became = stack.pop()
        if became is None:
            if node not in done:
                new = _apply(early, node, chain, fired)
                stack.append((node, new or node))
                stack.extend([(i, None) for i in (node.inputs if new is None else (new,)) if i not in done])
            continue
        if became is not node:
            done[node] = done[became]
            continue
        inputs = tuple([done[i] for i in node.inputs])
        current = node if inputs == node.inputs else intern(node.op, node.dtype, node.shape, inputs, node.arg)
        if current is not node and node in chain:
            chain[current] = max(chain.get(current, 0), chain[node])
        result = done.get(current) or _apply(late, current, chain, fired) or current
        if result is current:
            done[current] = current
        if result in done:
            done[node] = done[current] = done[result]
        else:
            stack += [(node, result), (current, result), (result, None)]
    return done


def _apply(rules: _Dispatch, node: Node, chain: dict[Node, int], fired: Counter[str] | None) -> Node | None:
    """What the first rule that fires makes of a node."""
    for rule in rules.of(node):
        new = rule.function(node)
        if new is not None and new is not node:
            assert new.shape == node.shape and new.dtype is node.dtype, (rule.name, node, new)
            if fired is not None:
                fired[rule.name] += 1
            chain[new] = max(chain.get(new, 0), chain.get(node, 0) + 1)
            assert chain[new] < _LONGEST_CHAIN, f"rule {rule.name} goes round in circles at {node!r}"
            return new
    return None


class _Dispatch:
    """Finds the rules that may fire on a node, by its op and the ops of its inputs."""

    def __init__(self, rules: Iterable[Rule]):
        self.rules = tuple(rules)
        self.found: dict[tuple[Op, ...], tuple[Rule, ...]] = {}

    def of(self, node: Node) -> tuple[Rule, ...]:
        key = (node.op, *[i.op for i in node.inputs])
        found = self.found.get(key)
        if found is None:
            below = {i.op.name for i in node.inputs}
            found = tuple(
                r for r in self.rules if node.op.name in r.ops and not (r.needs and below.isdisjoint(r.needs))
            )
            self.found[key] = found
        return found
