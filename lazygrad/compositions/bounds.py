"""Interval analysis: the least and greatest value that an integer node can hold, proven from its graph.

`bounds(node)` never reads data; `record(node, low, high)` adds what was measured or is known of a node.
A row of the table is a function (node, bounds of each input) -> (low, high); an op without a row can hold
anything.
"""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary

import numpy as np

from lazygrad.dtypes import DType
from lazygrad.graph import Node, topological
from lazygrad.helpers import product

Interval = tuple[int, int]
_EMPTY = (1, 0)  # of floats: a row that sees it gives up
_measured: WeakKeyDictionary[Node, Interval] = WeakKeyDictionary()
_proven: WeakKeyDictionary[Node, Interval] = WeakKeyDictionary()


def record(node: Node, low: int, high: int) -> None:
    """Remember that every value of `node` lies in [low, high]."""
    _measured[node] = (low, high)
    _proven.clear()  # what was proven with less may be proven tighter now


def unmeasured(node: Node) -> list[Node]:
    """The buffers whose unknown values decide the bounds of `node`."""
    return [n for n in topological([node], _sources)
            if n.op.name in ("buffer", "saved") and n.dtype.is_integer and n not in _measured]


def interval_of(node: Node, read: Callable[[Node], np.ndarray]) -> Interval:
    """The measured interval of a buffer or scalar node; a new one is measured by reading the values."""
    if node not in _measured:
        values = read(node)
        record(node, *((int(values.min()), int(values.max())) if values.size else (0, 0)))
    return _measured[node]


def bounds(node: Node) -> Interval:
    """The least interval that the graph proves for an integer or bool node; inclusive."""
    for n in topological([node], lambda n: () if n in _proven else _sources(n)):
        if n not in _proven:
            _proven[n] = _measured.get(n) or _interval(n)
    return _proven[node]


def _sources(node: Node) -> tuple[Node, ...]:
    """The inputs whose bounds decide those of this node."""
    if node.dtype.kind == "float" or node.op.name not in _ROWS or node in _measured:
        return ()
    first, last = _VALUE_INPUTS.get(node.op.name, (0, len(node.inputs)))
    return node.inputs[first:last]


def _interval(node: Node) -> Interval:
    if node.dtype.kind == "float":
        return _EMPTY
    row = _ROWS.get(node.op.name)
    given = [_proven[i] for i in _sources(node)]
    if row is None or _EMPTY in given:
        return _range(node.dtype)
    low, high = row(node, *given)
    least, greatest = _range(node.dtype)
    return (low, high) if least <= low <= high <= greatest else (least, greatest)


def _range(dtype: DType) -> Interval:
    return int(dtype.min), int(dtype.max)


def _hull(*intervals: Interval) -> Interval:
    return min(low for low, _ in intervals), max(high for _, high in intervals)


def _corners(f: Callable[[int, int], int]) -> Callable[[Node, Interval, Interval], Interval]:
    """The bounds of a function that is monotonic in each argument: they lie at the corners."""

    def row(node: Node, x: Interval, y: Interval) -> Interval:
        values = [f(a, b) for a in x for b in y]
        return min(values), max(values)

    return row


def _quotient(node: Node, x: Interval, y: Interval) -> Interval:
    if y[0] <= 0:
        return _range(node.dtype)
    return _corners(lambda a, b: a // b)(node, x, y)


def _truncated_quotient(node: Node, x: Interval, y: Interval) -> Interval:
    if y[0] <= 0:
        return _range(node.dtype)
    return _corners(lambda a, b: -(-a // b) if a < 0 else a // b)(node, x, y)


def _remainder(node: Node, x: Interval, y: Interval) -> Interval:
    if y[0] < 0:
        return _range(node.dtype)
    return (0, min(max(y[1] - 1, 0), x[1]) if x[0] >= 0 else max(y[1] - 1, 0))


def _truncated_remainder(node: Node, x: Interval, y: Interval) -> Interval:
    if y[0] < 0:
        return _range(node.dtype)
    most = max(y[1] - 1, 0)
    return (0 if x[0] >= 0 else -most), (0 if x[1] <= 0 else min(most, x[1]))


def _bitand(node: Node, x: Interval, y: Interval) -> Interval:
    if x[0] >= 0 and y[0] >= 0:
        return 0, min(x[1], y[1])
    return (0, max(x[1], 0)) if x[0] >= 0 else (0, max(y[1], 0)) if y[0] >= 0 else _range(node.dtype)


def _sum(node: Node, x: Interval) -> Interval:
    count = product(node.inputs[0].shape[axis] for axis in node.arg)
    return x[0] * count, x[1] * count


def _extreme(node: Node, x: Interval) -> Interval:
    return x if node.inputs[0].size or not node.size else _range(node.dtype)


def _cumsum(node: Node, x: Interval) -> Interval:
    n = max(node.shape[node.arg], 1)
    return min(x[0], x[0] * n), max(x[1], x[1] * n)


def _scatter(node: Node, base: Interval, *rest: Interval) -> Interval:
    values, mode = rest[-1], node.arg[1]
    if mode == "add":
        writes = node.inputs[-1].size
        return base[0] + min(values[0], 0) * writes, base[1] + max(values[1], 0) * writes
    return _range(node.dtype) if mode == "multiply" else _hull(base, values)


def _first(node: Node, x: Interval, *rest: Interval) -> Interval:
    return x


def _flags(node: Node, *inputs: Interval) -> Interval:
    return 0, 1


def _constant(node: Node) -> Interval:
    return int(node.arg.value), int(node.arg.value)


_VALUE_INPUTS = {
    "where": (1, 3),
    "gather": (0, 1),
    "surrogate": (0, 1),
    "lt": (0, 0),
    "le": (0, 0),
    "eq": (0, 0),
    "ne": (0, 0),
    "argsort": (0, 0),
    "argtop": (0, 0),
}

_ROWS: dict[str, Callable[..., Interval]] = {
    "const": _constant,
    "scalar": _constant,
    "iota": lambda n: (0, max(n.shape[0] - 1, 0)),
    "argsort": lambda n: (0, max(n.shape[n.arg[0]] - 1, 0)),
    "argtop": lambda n: (0, max(n.inputs[0].shape[n.arg[0]] - 1, 0)),
    **dict.fromkeys(
        (
            "reshape",
            "permute",
            "expand",
            "shrink",
            "flip",
            "window",
            "gather",
            "leaf",
            "detach",
            "example",
            "copy",
            "surrogate",
            "cummax",
            "cummin",
            "cast",
        ),
        _first,
    ),
    "pad": lambda n, x: _hull(x, (int(n.arg[1].value),) * 2),
    "spread": lambda n, x: _hull(x, (0, 0)),
    "cat": lambda n, *xs: _hull(*xs),
    "where": lambda n, x, y: _hull(x, y),
    "add": _corners(lambda a, b: a + b),
    "mul": _corners(lambda a, b: a * b),
    "sub": lambda n, x, y: (x[0] - y[1], x[1] - y[0]),
    "neg": lambda n, x: (-x[1], -x[0]),
    "abs": lambda n, x: (0 if x[0] <= 0 <= x[1] else min(abs(x[0]), abs(x[1])), max(abs(x[0]), abs(x[1]))),
    "sign": lambda n, x: (-1 if x[0] < 0 else 0, 1 if x[1] > 0 else 0),
    "maximum": _corners(max),
    "minimum": _corners(min),
    "floordiv": _quotient,
    "truncdiv": _truncated_quotient,
    "remainder": _remainder,
    "fmod": _truncated_remainder,
    "bitand": _bitand,
    **dict.fromkeys(("lt", "le", "eq", "ne"), _flags),
    "sum": _sum,
    "max": _extreme,
    "min": _extreme,
    "cumsum": _cumsum,
    "scatter": _scatter,
}
