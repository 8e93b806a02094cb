"""An estimate of what loops cost on a CPU, in cycles, by which recipes choose the vector axis and the share
of a worker."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lazygrad import expr
from lazygrad.codegen.llvm_index import lane_stride
from lazygrad.codegen.llvm_memory import MAX_SHUFFLED_STRIDE, MAX_SPREAD_STRIDE
from lazygrad.codegen.loopnest import (
    Accumulate,
    Compute,
    If,
    IndexValue,
    Let,
    Load,
    Loop,
    Read,
    Select,
    Statement,
    Store,
    Value,
    statement_values,
    walk,
)
from lazygrad.expr import Dynamic, Expr, Var
from lazygrad.helpers import ceil_div

_MATH = 12.0  # a polynomial of a transcendental function
_DIVISION = 5.0
_WEIGHTS = {
    "div": _DIVISION,
    "reciprocal": _DIVISION,
    "sqrt": _DIVISION,
    "rsqrt": 2 * _DIVISION,
    "pow": 3 * _MATH,
    "threefry": 4 * _MATH,
    "cast": 1.0,
} | dict.fromkeys(
    (
        "exp",
        "exp2",
        "log",
        "log2",
        "tanh",
        "erf",
        "erfc",
        "expm1",
        "log1p",
        "log10",
        "sin",
        "cos",
        "tan",
        "asin",
        "acos",
        "atan",
        "atan2",
        "sinh",
        "cosh",
        "asinh",
        "acosh",
        "atanh",
    ),
    _MATH,
)
_ONE_BY_ONE = {"floordiv", "truncdiv", "remainder", "fmod"}  # no vector instructions: a lane after the other
LANE = 1.5  # an element of a gather or scatter


@dataclass(frozen=True)
class Vectors:
    """The vector loop that an estimate assumes: its variable and lanes; `names` are the Lets that vary in
    it."""

    var: Var
    lanes: int
    names: frozenset[str]


def varying_names(body: Iterable[Statement], var: Var) -> frozenset[str]:
    """The Lets whose value depends on a loop's variable, itself or through other Lets."""
    names: set[str] = set()
    for s in walk(body):
        if isinstance(s, Let) and any(_value_varies(v, var, names) for v in statement_values(s)):
            names.add(s.name)
    return frozenset(names)


def _value_varies(v: Value, var: Var, names: set[str]) -> bool:
    if isinstance(v, Read):
        return v.name in names
    if isinstance(v, Load):
        expressions = [v.index, *(g.e for g in v.guards)]
    elif isinstance(v, Select):
        expressions = [g.e for g in v.guards]
    else:
        expressions = [v.e] if isinstance(v, IndexValue) else []
    return any(_varies(e, var, names) for e in expressions)


def _varies(e: Expr, var: Var, names: Iterable[str]) -> bool:
    return any(a == var or isinstance(a, Dynamic) and a.name in names for a in expr.variables(e))


def stride(e: Expr, vectors: Vectors) -> int | None:
    """What an index grows by from lane to lane; None if not evenly."""
    return lane_stride(e, vectors.var, vectors.lanes, lambda a: a.name in vectors.names)


def cost(body: Iterable[Statement], vectors: Vectors | None) -> float:
    """Cycles of one execution of statements, for all lanes of a vector loop around them or for one scalar
    turn."""
    total = 0.0
    for s in body:
        if isinstance(s, Loop):
            total += s.var.extent * cost(s.body, vectors)
        elif isinstance(s, If):
            total += cost(s.body, vectors)
        else:
            total += statement_cost(s, vectors)
    return total


def statement_cost(s: Statement, vectors: Vectors | None) -> float:
    """Cycles of a statement that is no loop."""
    total = 0.0
    for v in statement_values(s):
        if isinstance(v, Load):
            total += 0.0 if v.array.space == "register" else access_cost(v.index, vectors) + len(v.guards)
        elif isinstance(v, Compute):
            total += _compute_cost(v, vectors)
        elif isinstance(v, Select):
            total += 1.0
    if isinstance(s, Store | Accumulate) and s.array.space != "register":
        total += access_cost(s.index, vectors, MAX_SPREAD_STRIDE) * (2 if isinstance(s, Accumulate) else 1)
    return total + (1.0 if isinstance(s, Accumulate) else 0.0)


def _compute_cost(v: Compute, vectors: Vectors | None) -> float:
    if v.op in _ONE_BY_ONE:
        return 10.0 * (vectors.lanes if vectors else 1)
    return _WEIGHTS.get(v.op, 1.0)


def access_cost(e: Expr, vectors: Vectors | None, near: int = MAX_SHUFFLED_STRIDE) -> float:
    """Cycles of a load or store at an index; strides up to `near` are picked from whole runs of memory."""
    if vectors is None:
        return 1.0
    step = stride(e, vectors)
    if step is None:
        return LANE * vectors.lanes + 4 * sum(
            isinstance(a, expr.Quotient | expr.Remainder) for a in expr.atoms(e)
        )
    if step in (0, 1, -1):
        return 1.0
    return float(abs(step)) if abs(step) <= near else LANE * vectors.lanes


def vector_cost(loop: Loop, lanes: int) -> float:
    """Cycles of a whole loop run in lanes; a reduction pays for adding up its lanes at the end."""
    vectors = Vectors(loop.var, lanes, varying_names(loop.body, loop.var))
    folded = sum(
        2.0 * lanes.bit_length()
        for s in walk(loop.body)
        if isinstance(s, Accumulate) and s.array.space == "register" and not _private(loop, s)
    )
    return ceil_div(loop.var.extent, lanes) * cost(loop.body, vectors) + folded


def _private(loop: Loop, s: Accumulate) -> bool:
    return any(isinstance(other, Store) and other.array == s.array for other in walk(loop.body))


def lanes_of(body: Iterable[Statement], vector_bytes: int) -> int:
    """Lanes that suit the dtypes of statements: a register full of the smallest ones that are computed
    with, or of what is only moved."""
    if moves(body):
        held = [v.array for s in body for v in statement_values(s) if isinstance(v, Load)]
        held += [s.array for s in body if isinstance(s, Store)]
        return vector_bytes // max(a.dtype.itemsize for a in held)
    sizes: set[int] = set()
    for s in walk(body):
        for v in statement_values(s):
            if isinstance(v, Load | Compute) and v.dtype.kind != "bool":
                sizes.add(v.dtype.accumulator.itemsize)
        if isinstance(s, Store | Accumulate):
            sizes.add(s.array.dtype.accumulator.itemsize)
    wide = [n for n in sizes if n >= 4]
    return vector_bytes // (min(wide) if wide else max(sizes, default=4))


def moves(body: Iterable[Statement]) -> bool:
    """Whether statements only carry elements from memory to memory."""
    body = tuple(body)
    straight = all(isinstance(s, Let | Store) for s in body) and any(isinstance(s, Store) for s in body)
    return straight and all(isinstance(v, Load | Read) for s in body for v in statement_values(s))


def values_in(body: Iterable[Statement]) -> float:
    """How much a turn of a loop computes: instructions, by weight."""
    return sum(statement_cost(s, None) for s in walk(body) if not isinstance(s, Loop | If))
