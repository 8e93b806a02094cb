"""Large graphs of single numbers as data: a tape of instructions that one small kernel runs.

A scalar network is tens of thousands of operations on single numbers. As straight code they would take the
compiler far longer than the work they do. So they become rows of an integer table, `(operation, result, x, y,
z)`, over one array that holds every number; the kernel depends only on which operations occur, and is
compiled once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from lazygrad.dtypes import DType, bool_, float32, float64
from lazygrad.graph import Node
from lazygrad.helpers import row_strides
from lazygrad.scheduler import access
from lazygrad.scheduler.group import Group

COLUMNS = 5  # of an instruction
_SAME_NUMBER = frozenset(("reshape", "expand", "permute", "flip", "shrink"))


@dataclass(frozen=True, eq=False)
class TapeGroup(Group):
    """A group that runs as a tape. All numbers are of `dtype`; truths are 0 and 1.

    `operations`: (row name, whether its inputs are truths) by instruction number. `instructions`: int32,
    COLUMNS each. The array of numbers begins with `constants`, then the `reads` (an input, which of its
    elements), then the results.
    `output_places`: where in it the outputs stand.
    """

    dtype: DType = float32
    operations: tuple[tuple[str, bool], ...] = ()
    instructions: np.ndarray = field(default_factory=lambda: np.zeros((0, COLUMNS), np.int32))
    constants: np.ndarray = field(default_factory=lambda: np.zeros(0))
    reads: tuple[tuple[Node, int], ...] = ()
    output_places: tuple[int, ...] = ()

    @property
    def numbers(self) -> int:
        """The length of the array of numbers."""
        return len(self.constants) + len(self.reads) + len(self.instructions)


def make_tape(order: Sequence[Node], targets: Sequence[Node], in_memory: frozenset[Node],
              copies: Mapping[Node, Node]) -> TapeGroup | None:
    """The tape of a graph of single numbers and elements of what is in memory (`order`: inputs before users);
    None where it has types that no tape holds. `copies`: of what is in memory, copies to read instead."""
    kinds = {n.dtype for n in order} - {bool_}
    inputs = [n for n in order if n in in_memory]
    if kinds not in ({float32}, {float64}) or any(n.dtype is bool_ for n in inputs):
        return None
    constants = [n for n in order if n.op.name == "const"]
    read = {n: (copies.get(n, n), 0) for n in inputs if n.size == 1}
    read |= {n: (n.inputs[0], _element(n)) for n in order if n not in in_memory and n.op.name == "shrink"
             and n.inputs[0].size > 1}
    place = {n: i for i, n in enumerate((*constants, *read))}
    operations: dict[tuple[str, bool], int] = {}
    rows: list[tuple[int, ...]] = []
    for n in order:
        if n in place or n in in_memory:
            continue
        if n.op.name in _SAME_NUMBER or (n.op.name == "cast" and n.dtype is not bool_):
            place[n] = place[n.inputs[0]]
        elif n.op.kind == "elementwise" and len(n.inputs) <= 3:
            number = operations.setdefault((n.op.name, n.inputs[-1].dtype is bool_), len(operations))
            places = [place[i] for i in n.inputs]
            place[n] = len(constants) + len(read) + len(rows)
            rows.append((number, place[n], *places, *[0] * (3 - len(places))))
        else:
            return None
    outputs = tuple(dict.fromkeys(targets))
    kind = next(iter(kinds))
    return TapeGroup(
        outputs, tuple(copies.get(n, n) for n in inputs), (), access.first_elements(outputs), frozenset(), (),
        kind, tuple(operations), np.asarray(rows, np.int32).reshape(-1, COLUMNS),
        np.asarray([float(n.arg.value) for n in constants], kind.numpy), tuple(read.values()),
        tuple(place[n] for n in outputs))


def _element(node: Node) -> int:
    """Which element of its input a shrink to a single number is."""
    return sum(begin * s for (begin, _), s in zip(node.arg, row_strides(node.inputs[0].shape), strict=True))
