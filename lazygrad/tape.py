"""Large graphs of single numbers as data: a tape of instructions that one small kernel runs.

A scalar network is tens of thousands of operations on single numbers. As straight code they would take the
compiler far longer than the work they do. So they become rows of an integer table, `(operation, result, x, y,
z)`, over one array that holds every number; the kernel depends only on which operations occur, and is
compiled once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from lazygrad import access, expr
from lazygrad.dtypes import DType, bool_, float32, float64
from lazygrad.graph import Node
from lazygrad.group import Group

COLUMNS = 5  # of an instruction
_SAME_NUMBER = frozenset(("reshape", "expand", "permute", "flip", "shrink"))


@dataclass(frozen=True, eq=False)
class TapeGroup(Group):
    """A group that runs as a tape. All numbers are of `dtype`; truths are 0 and 1.

    `operations`: (row name, whether its inputs are truths) by instruction number. `instructions`: int32,
    COLUMNS each. The array of numbers begins with `constants`, then the inputs, then the results.
    `output_places`: where in it the outputs stand.
    """

    dtype: DType = float32
    operations: tuple[tuple[str, bool], ...] = ()
    instructions: np.ndarray = field(default_factory=lambda: np.zeros((0, COLUMNS), np.int32))
    constants: np.ndarray = field(default_factory=lambda: np.zeros(0))
    output_places: tuple[int, ...] = ()

    @property
    def numbers(self) -> int:
        """The length of the array of numbers."""
        return len(self.constants) + len(self.inputs) + len(self.instructions)


def make_tape(order: Sequence[Node], targets: Sequence[Node], in_memory: frozenset[str]) -> TapeGroup | None:
    """The tape of a graph of single numbers (`order`: inputs before users);
    None where it has types that no tape holds."""
    kinds = {n.dtype for n in order} - {bool_}
    inputs = [n for n in order if n.op.name in in_memory]
    if kinds not in ({float32}, {float64}) or any(n.dtype is bool_ for n in inputs):
        return None
    constants = [n for n in order if n.op.name == "const"]
    place = {n: i for i, n in enumerate((*constants, *inputs))}
    operations: dict[tuple[str, bool], int] = {}
    rows: list[tuple[int, ...]] = []
    for n in order:
        if n in place:
            continue
        if n.op.name in _SAME_NUMBER or (n.op.name == "cast" and n.dtype is not bool_):
            place[n] = place[n.inputs[0]]
        elif n.op.kind == "elementwise" and len(n.inputs) <= 3:
            number = operations.setdefault((n.op.name, n.inputs[-1].dtype is bool_), len(operations))
            places = [place[i] for i in n.inputs]
            place[n] = len(constants) + len(inputs) + len(rows)
            rows.append((number, place[n], *places, *[0] * (3 - len(places))))
        else:
            return None
    outputs = tuple(dict.fromkeys(targets))
    kind = next(iter(kinds))
    return TapeGroup(
        outputs, tuple(inputs), (), tuple(access.at(n, (expr.ZERO,) * n.ndim) for n in outputs), frozenset(),
        (), kind, tuple(operations), np.asarray(rows, np.int32).reshape(-1, COLUMNS),
        np.asarray([float(n.arg.value) for n in constants], kind.numpy), tuple(place[n] for n in outputs))
