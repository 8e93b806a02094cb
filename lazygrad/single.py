"""Graphs of single numbers, run in Python: what takes one operation of exact arithmetic a node is done sooner
than a kernel for it is found and launched.

Only rows that IEEE arithmetic determines to the last bit are here, so that it cannot be seen in a value who
computed it; a graph with any other row is left to kernels.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lazygrad.dtypes import bool_, float32, float64
from lazygrad.graph import Node
from lazygrad.ops import OPS


def _divided(x: Any, y: Any) -> Any:
    if y:
        return x / y
    return type(x)(np.divide(x, y))  # where Python raises


def _inverse(x: Any) -> Any:
    return _divided(type(x)(1), x)


def _first(x: Any, *_: Any) -> Any:
    return x


def _cast(x: Any) -> Any:
    return x


def _chosen(condition: bool, x: Any, y: Any) -> Any:
    return x if condition else y


_ROWS: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": _divided,
    "reciprocal": _inverse,
    "neg": operator.neg,
    "abs": abs,
    "lt": operator.lt,
    "le": operator.le,
    "eq": operator.eq,
    "ne": operator.ne,
    "where": _chosen,
    "cast": _cast,
    "leaf": _first,
    "detach": _first,
    "surrogate": _first,
}
_BY_OP = {OPS[name]: function for name, function in _ROWS.items()}
# how a number of a type is held, so that arithmetic rounds as the type does
_HELD: dict[Any, Callable[[Any], Any]] = {float64: float, float32: np.float32, bool_: bool}
_BUFFER = OPS["buffer"]
_SOURCES = (OPS["const"], OPS["scalar"], _BUFFER)

Known = Callable[[Node], Node | None]


def run_single_numbers(targets: Sequence[Node], known: Known,
                       read: Callable[[Node], Any]) -> list[Any] | None:
    """The numbers of targets; None where a node below them is no single float or truth, or takes more than
    exact arithmetic. `known` gives the source that a node's value is in already, `read` the number in a
    buffer."""
    values: dict[Node, Any] = {}
    stack = list(targets)
    with np.errstate(all="ignore"):
        while stack:
            node = stack[-1]
            if node in values:
                stack.pop()
                continue
            function = _BY_OP.get(node.op)
            if node.shape or node.dtype not in _HELD or (function is None and node.op not in _SOURCES):
                return None
            source = node if function is None else known(node)
            if source is not None:
                number = read(source) if source.op is _BUFFER else source.arg.value
                values[node] = _HELD[node.dtype](number)
                continue
            assert function is not None
            inputs = node.inputs[:1] if function is _first else node.inputs
            missing = [i for i in inputs if i not in values]
            if missing:
                stack += missing
            else:
                number = function(*[values[i] for i in inputs])
                values[node] = _HELD[node.dtype](number) if function is _cast else number
    return [values[t] for t in targets]
