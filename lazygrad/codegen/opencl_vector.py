"""Vector loops in OpenCL C: which of them become `float8` arithmetic,
and which registers they keep as vectors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lazygrad import expr
from lazygrad.codegen.loopnest import (
    Accumulate,
    Array,
    Compute,
    Constant,
    If,
    Load,
    Loop,
    Statement,
    Store,
    Value,
    statement_values,
    walk_values,
)
from lazygrad.dtypes import DType
from lazygrad.expr import Expr, Var

WIDTHS = (2, 4, 8, 16)
_DTYPES = ("float32", "float64")
OPERATORS = {"add": "+", "sub": "-", "mul": "*"}


def stride(index: Expr, v: Var) -> int | None:
    """How far an index moves with a variable; None where that differs from step to step."""
    rest = Expr(tuple(t for t in index.terms if t[0] != v), index.constant)
    return None if v in expr.variables(rest) else dict(index.terms).get(v, 0)


def lanes_of(loop: Loop) -> int:
    """The width of a vector loop whose whole body is vector arithmetic; 0 for other loops."""
    if loop.kind != "vector" or loop.lanes not in WIDTHS or loop.var.extent % loop.lanes:
        return 0
    return loop.lanes if all(_is_vector(s, loop.var) for s in loop.body) else 0


def _is_vector(s: Statement, v: Var) -> bool:
    if not isinstance(s, Store | Accumulate) or s.guards or s.array.dtype.name not in _DTYPES:
        return False
    if isinstance(s, Accumulate) and (s.atomic or s.combine != "add"):
        return False
    return stride(s.index, v) == 1 and all(_is_operand(x, v, s.array.dtype) for x in walk_values(s.value))


def _is_operand(x: Value, v: Var, d: DType) -> bool:
    if x.dtype is not d:
        return False
    if isinstance(x, Load):
        return not x.guards and stride(x.index, v) in (0, 1)
    return isinstance(x, Constant) or (isinstance(x, Compute) and x.op in OPERATORS)


def vector_registers(body: Iterable[Statement]) -> dict[Array, int]:
    """Register arrays of which every access is a whole aligned vector, and how wide."""
    found: dict[Array, int] = {}
    for array, index, v, lanes in _accesses(body, None, 0):
        if array.space != "register":
            continue
        whole = v is not None and lanes and stride(index, v) == 1 and array.size % lanes == 0
        aligned = (
            whole and all(f % lanes == 0 for a, f in index.terms if a != v) and index.constant % lanes == 0
        )
        found[array] = lanes if aligned and found.setdefault(array, lanes) == lanes else 0
    return {array: lanes for array, lanes in found.items() if lanes}


def _accesses(
    body: Iterable[Statement], v: Var | None, lanes: int
) -> Iterator[tuple[Array, Expr, Var | None, int]]:
    for s in body:
        if isinstance(s, Loop):
            width = lanes_of(s)
            yield from _accesses(s.body, s.var if width else None, width)
        elif isinstance(s, If):
            yield from _accesses(s.body, None, 0)
        if isinstance(s, Store | Accumulate):
            yield s.array, s.index, v, lanes
        for x in statement_values(s):
            if isinstance(x, Load):
                yield x.array, x.index, v, lanes
