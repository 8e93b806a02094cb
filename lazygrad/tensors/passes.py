"""What of backward passes drawing needs: where they began, and with which gradients.

A backward pass frees the graph that it walked, and the values in it go when they are realized. A graph small
enough to be drawn is kept a little longer: while the tensor lives that `backward()` was called on, and while
its pass is among the last few.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any
from weakref import ref

from lazygrad.graph import Node
from lazygrad.tensors.recording import now

KEPT_PASSES = 16
KEPT_NODES = 2_000
KEPT_ELEMENTS = 10_000


class Pass:
    """A backward pass: where it began, what had made that (`records`), and with which gradients. `kept` holds
    the graph, while it does."""

    __slots__ = ("__weakref__", "_roots", "_seeds", "kept", "records")

    def __init__(self, roots: Sequence[Node], seeds: Sequence[Node], records: Sequence[Any], keep: bool):
        self.records = records
        self._roots: list[Callable[[], Node | None]] = [ref(n) for n in roots]
        # a number is not kept alive by anything else
        self._seeds: list[Callable[[], Node | None]] = [
            (lambda n=n: n) if n.op.name == "const" else ref(n) for n in seeds  # type: ignore[misc]
        ]
        self.kept = [*roots, *seeds] if keep else None

    def parts(self) -> tuple[list[Node], list[Node]]:
        """Roots that are still there, and the gradient that each was given."""
        pairs = [(root(), seed()) for root, seed in zip(self._roots, self._seeds, strict=True)]
        there = [(root, seed) for root, seed in pairs if root is not None and seed is not None]
        return [root for root, _ in there], [seed for _, seed in there]


_recent: deque[Callable[[], Pass | None]] = deque()


def recent_passes() -> list[Pass]:
    """The last passes whose tensors live, oldest first."""
    return [found for kept in _recent if (found := kept()) is not None]


def note_pass(outputs: Sequence[Any], roots: Sequence[Node], seeds: Sequence[Node],
              order: Sequence[Node]) -> None:
    """Remember a backward pass from tensors over the nodes of `order` while one of them lives."""
    if now.recorder is not None:
        return
    made = Pass(roots, seeds, [o._made_by for o in outputs], _is_small(order))
    for output in outputs:
        history = output._history
        history.passes = (*getattr(history, "passes", ())[1 - KEPT_PASSES:], made)
    _recent.append(ref(made))
    if len(_recent) > KEPT_PASSES:
        oldest = _recent.popleft()()
        if oldest is not None:
            oldest.kept = None


def _is_small(order: Sequence[Node]) -> bool:
    if len(order) > KEPT_NODES:
        return False
    elements = 0
    for node in order:
        elements += node.size if node.shape else 1
        if elements > KEPT_ELEMENTS:
            return False
    return True
