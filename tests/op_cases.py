"""One list of ways to call every row of the op table, for the tests that go over all rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lazygrad import dtypes, ops
from lazygrad.dtypes import DType
from lazygrad.graph import Node
from lazygrad.interpret import interpret
from lazygrad.ops import OPS

# elementwise rows whose results are rounded once at most: the same bits on every device
EXACT = frozenset(
    """
    add sub mul div neg abs sign reciprocal maximum minimum sqrt floor ceil trunc round where lt le eq ne
    remainder fmod floordiv truncdiv cast bitcast
    """.split()
)


@dataclass(frozen=True)
class Case:
    """A call of one row: shapes of its float inputs, integer arrays that follow them, and how to build the
    node."""

    op: str
    shapes: tuple[tuple[int, ...], ...]
    build: Callable[..., Node]
    domain: tuple[float, float] = (-2.0, 2.0)
    indices: tuple[np.ndarray, ...] = ()
    label: str = ""

    def __str__(self) -> str:
        return f"{self.op}-{self.label or 'x'.join(map(str, self.shapes[0]))}"


class Values:
    """Buffers of a graph and the arrays they hold."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}

    def put(self, array: np.ndarray, dtype: DType | None = None) -> Node:
        name = f"b{len(self.arrays)}"
        dtype = dtype or dtypes.from_numpy(array.dtype)
        assert dtype is not None
        self.arrays[name] = dtypes.round_to(array, dtype)
        return ops.buffer((id(self), name), dtype, array.shape)

    def read(self, node: Node) -> np.ndarray:
        return self.arrays[node.arg[1]]

    def run(self, nodes: Sequence[Node]) -> list[np.ndarray]:
        return interpret(nodes, lambda node: self.read(node).copy())


def _elementwise() -> list[Case]:
    rows = [row for row in OPS.values() if row.kind == "elementwise" and "float" in row.dtypes]
    special = ("cast", "bitcast", "where", "lt", "le", "eq", "ne")
    cases = [
        Case(row.name, ((2, 3),) * (row.arity or 1), row, row.domain)
        for row in rows
        if row.name not in special
    ]
    chosen = np.array([[True, False, True], [False, False, True]])
    cases.append(Case("where", ((2, 3), (2, 3)), lambda x, y, c: ops.where(c, x, y), indices=(chosen,)))
    cases.append(Case("cast", ((2, 3),), lambda x: ops.cast(x, arg=dtypes.float64)))
    return cases


def _reduces() -> list[Case]:
    choices = [
        ((2, 3, 4), (1,)),
        ((2, 3, 4), (0, 2)),
        ((2, 3), (0, 1)),
        ((5,), (0,)),
        ((1, 3), (0,)),
        ((3,), ()),
    ]
    return [
        Case(name, (shape,), lambda x, row=OPS[name], axes=axes: row(x, arg=axes), label=f"{shape}{axes}")
        for name in ("sum", "prod", "max", "min")
        for shape, axes in choices
    ]


def _scans() -> list[Case]:
    choices = [((4,), 0), ((2, 5), 1), ((3, 2, 2), 0), ((3, 1), 1)]
    cases = [
        Case(name, (shape,), lambda x, row=OPS[name], axis=axis: row(x, arg=axis), label=f"{shape}{axis}")
        for name in ("cumsum", "cumprod", "cummax", "cummin")
        for shape, axis in choices
    ]
    return cases + [
        Case(
            "recurrence",
            (shape, shape),
            lambda a, b, axis=axis: ops.recurrence(a, b, arg=axis),
            label=f"{shape}{axis}",
        )
        for shape, axis in choices
    ]


def _movements() -> list[Case]:
    args: dict[str, list[tuple[tuple[int, ...], object]]] = {
        "reshape": [
            ((2, 3), (6,)),
            ((2, 3), (3, 1, 2)),
            ((4, 3), (2, 2, 3)),
            ((1,), ()),
            ((), (1, 1)),
            ((2, 6), (3, 4)),
        ],
        "permute": [((2, 3), (1, 0)), ((2, 3, 4), (2, 0, 1)), ((), ()), ((2, 1, 3), (1, 2, 0))],
        "expand": [((1, 3), (4, 3)), ((2, 1, 1), (2, 3, 4)), ((1,), (1,)), ((1, 2), (0, 2)), ((), ())],
        "pad": [
            ((2, 3), ops.pad_arg(((1, 0), (0, 2)))),
            ((3,), ops.pad_arg(((2, 1),), 7.5)),
            ((), ops.pad_arg(())),
            ((2, 2), ops.pad_arg(((0, 0), (0, 0)))),
        ],
        "shrink": [((4, 3), ((1, 3), (0, 3))), ((5,), ((2, 2),)), ((3,), ((0, 3),)), ((), ())],
        "flip": [((3,), (0,)), ((2, 3), (0, 1)), ((2, 3), (1,)), ((2,), ())],
        "window": [
            ((7,), ((0, 3, 1, 1),)),
            ((8,), ((0, 3, 2, 1),)),
            ((9,), ((0, 3, 3, 2),)),
            ((8,), ((0, 2, 4, 3),)),
            ((2, 5, 6), ((1, 2, 1, 2), (2, 3, 2, 1))),
            ((5, 4), ((1, 2, 1, 1), (0, 3, 2, 1))),
            ((3,), ((0, 1, 2, 1),)),
            ((4,), ((0, 4, 1, 1),)),
        ],
        "spread": [
            ((5, 3), ((0, 7, 1, 1),)),
            ((3, 3), ((0, 8, 2, 1),)),
            ((2, 3), ((0, 9, 3, 2),)),
            ((2, 4, 2, 2, 3), ((1, 6, 1, 2), (2, 6, 2, 1))),
            ((2, 1), ((0, 4, 3, 1),)),
        ],
    }
    cases = [
        Case(name, (shape,), lambda x, row=OPS[name], arg=arg: row(x, arg=arg), label=f"{shape}{arg}")
        for name, choices in args.items()
        for shape, arg in choices
    ]
    cats = [(((2, 3), (1, 3)), 0), (((2, 1), (2, 3), (2, 2)), 1), (((3,),), 0), (((0, 2), (2, 2)), 0)]
    return cases + [
        Case("cat", shapes, lambda *xs, axis=axis: ops.cat(*xs, arg=axis), label=f"{shapes}{axis}")
        for shapes, axis in cats
    ]


def _indexed() -> list[Case]:
    rows, wide = np.array([2, 0, 2, 1], np.int64), np.array([[1, 0], [3, 1]], np.int32)
    once = np.array([2, 0], np.uint8)
    none = np.zeros(0, np.int64)
    gathers = [
        ((3, 2), (rows,), (0,)),
        ((2, 4), (wide,), (1,)),
        ((3, 4, 2), (rows, rows), (0, 1)),
        ((3, 2, 3), (once, once), (2, 0)),
        ((3, 2), (none,), (0,)),
    ]
    cases = [
        Case(
            "gather",
            (shape,),
            lambda x, *i, axes=axes: ops.gather(x, *i, arg=axes),
            indices=indices,
            label=f"{shape}{axes}{len(indices[0])}",
        )
        for shape, indices, axes in gathers
    ]
    for mode in ("add", "multiply", "maximum", "minimum", "set"):
        index = once if mode == "set" else rows
        for base, values, axes in (((3, 2), (len(index), 2), (0,)), ((2, 3), (len(index), 2), (1,))):
            cases.append(
                Case(
                    "scatter",
                    (base, values),
                    lambda b, v, i, axes=axes, mode=mode: ops.scatter(b, i, v, arg=(axes, mode)),
                    indices=(index,),
                    label=f"{mode}{base}",
                )
            )
    return cases


def _annotations() -> list[Case]:
    return [
        Case("leaf", ((2, 3),), lambda x: ops.leaf(x, arg="token")),
        Case("copy", ((2, 3),), lambda x: ops.copy(x, arg=("CPU", "CL"))),
        Case("surrogate", ((2, 3),), lambda x: ops.surrogate(ops.mul(x, x), ops.mul(x, x))),
        Case("surrogate", ((2, 3), (2, 3)), lambda x, y: ops.surrogate(
            ops.mul(x, y), x, y, arg=lambda g, value, x, y: (ops.mul(g, y), ops.mul(g, x))), label="by hand"),
    ]


CASES = [*_elementwise(), *_reduces(), *_scans(), *_movements(), *_indexed(), *_annotations()]
