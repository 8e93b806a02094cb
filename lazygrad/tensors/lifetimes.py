"""What lives on after a realization: buffers that nothing will read again, and values that gradients will
want."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from lazygrad.graph import Node, topological
from lazygrad.scheduler.group import is_contraction
from lazygrad.tensors.cell import Cell, live_cells, pending_cells, tracked_histories
from lazygrad.tensors.passes import recent_passes

Inputs = Callable[[Node], Sequence[Node]]

SHORT_SUM = 256  # multiplications of one element that take no longer than storing and loading it may


def donated_buffers(
    order: Sequence[Node],
    realized_now: Iterable[Cell],
    inputs: Inputs,
    remembered: Callable[[Node], Node | None],
) -> frozenset[Any]:
    """The buffers among these nodes, all of some graphs, that are read for the last time, so that results may
    be written over them.

    No live cell has such a buffer as its value: its cell has been written since, or is gone. It lives on
    where a pending cell that is not being realized now reads it, or a history that gradients may still walk.
    """
    read = [n for n in order if n.op.name == "buffer"]
    # two names of one memory, or of parts of it: the schedule cannot see both
    readers = Counter(node.arg.storage for node in read)
    dead = {n.arg.storage: n.arg for n in read if _can_be_given(n) and readers[n.arg.storage] == 1}
    for cell in list(live_cells):
        if cell.node.op.name == "buffer":
            dead.pop(cell.node.arg.storage, None)
    if not dead:
        return frozenset()
    now = set(realized_now)
    roots = [c.node for c in list(pending_cells) if c not in now]
    _spare(dead, topological(roots, inputs), remembered)
    kept = [h.node for h in list(tracked_histories) if h.node is not None and not h.spent]
    kept += [node for made in recent_passes() if made.kept for node in made.kept]
    _spare(dead, topological(kept), remembered)
    return frozenset(dead.values())


def _can_be_given(node: Node) -> bool:
    # of integers, what has been proven of the values in a buffer would outlive them; a slice of a slab is
    # small, and its slab lives on whatever becomes of it
    return node.dtype.kind == "float" and node.arg.is_whole


def _spare(dead: dict[Any, Any], order: Iterable[Node], remembered: Callable[[Node], Node | None]) -> None:
    for node in order:
        value = node if node.op.name == "buffer" else remembered(node)
        if value is not None and value.op.name == "buffer":
            dead.pop(value.arg.storage, None)


def kept_for_gradients(cells: Sequence[Cell], inputs: Inputs) -> list[Node]:
    """The contractions below cells whose history gradients may still walk: realized along with them, because
    the backward pass would have to compute them again. Everything else is cheap to compute from them.

    A matrix much larger than its factors, such as the scores of attention, costs more memory than time: in
    its place the reductions of its rows are kept.
    """
    now = set(cells)
    walked = [
        h for h in list(tracked_histories) if h.cell in now and not h.spent and h.version == h.cell.version
    ]
    roots = [h.node for h in sorted(walked, key=lambda h: h.cell.serial) if h.node is not None]
    kept: list[Node] = []
    above: set[Node] = set()  # a large matrix, and what is made of it within its rows
    for n in topological(roots, inputs) if roots else ():
        if is_contraction(n):
            if is_outgrown(n):
                above.add(n)
            else:
                kept.append(n)
        elif above.intersection(n.inputs):
            if n.op.kind == "reduce":
                kept.append(n)
            else:
                above.add(n)
    return kept


def is_outgrown(contraction: Node) -> bool:
    """Whether a contraction of short sums has many more elements than its factors."""
    product_, = contraction.inputs
    folded = product_.size // max(contraction.size, 1)
    while product_.op.name != "mul":
        product_ = product_.inputs[0]
    factors = 0
    for factor in product_.inputs:
        while factor.op.kind == "movement" and len(factor.inputs) == 1:
            factor = factor.inputs[0]
        factors += factor.size
    return folded <= SHORT_SUM and contraction.size > 2 * factors
