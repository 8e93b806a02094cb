"""What makes the steps of an unrolled recurrence one kernel: they read one stored tensor at a place each, and
compare lengths with the number of the step.

`rebased`: where kernels take parts of memories, parameters begin where a nest begins to read.

    load in0[i + 60]   in0: 80 elements    ->    load in0[i]   in0: 20 elements, given from element 60 on

`told`: whole numbers that a nest compares with or adds are data, and so are the places where it begins to
read if kernels take whole memories.

    v1 = in0[i + 60] < 3    ->    begin0 = told[0]; number1 = told[1]; v1 = in0[i + begin0] < number1
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeGuard, TypeVar

from lazygrad import expr
from lazygrad.codegen.loopnest import (
    Accumulate,
    Array,
    Compute,
    Constant,
    If,
    Let,
    Load,
    Loop,
    LoopNest,
    Read,
    Statement,
    Store,
    Value,
    map_value,
    statement_values,
    walk,
)
from lazygrad.codegen.lower import FARTHEST
from lazygrad.dtypes import int32, int64
from lazygrad.expr import Expr

_Place = TypeVar("_Place", Load, Store, Accumulate)
_COMPARED = ("lt", "le", "eq", "ne", "add", "sub")


def rebased(nest: LoopNest) -> tuple[LoopNest, tuple[int, ...]]:
    """The nest with parameters that are only read beginning at the first element that may be read, and how
    many elements each parameter begins later."""
    shifts = _later(nest, written=False)
    if not shifts:
        return nest, (0,) * len(nest.parameters)
    smaller = _smaller(nest, shifts)

    begins = {array: expr.const(0) for array in shifts}
    parameters = tuple([smaller.get(array, array) for array in nest.parameters])
    body = _moved(nest.body, shifts, smaller, begins)
    return (replace(nest, parameters=parameters, body=body),
            tuple([shifts.get(array, 0) for array in nest.parameters]))


def told(nest: LoopNest, parts: bool) -> tuple[LoopNest, tuple[int, ...]]:
    """The nest with its numbers in one more parameter, and the numbers; `parts`: kernels take parts of
    memories, so that places are none of them."""
    numbers: list[int] = []
    lets: list[Let] = []
    begins: dict[Array, Expr] = {}
    later = {} if parts else _later(nest, written=True)
    smaller = _smaller(nest, later)
    compared = [a for s in walk(nest.body) for v in statement_values(s)
                if isinstance(v, Compute) and v.op in _COMPARED for a in v.args if _is_number(a)]
    table = Array("told", int64, len(later) + len(compared), "parameter")

    def tell(value: int, word: str) -> str:
        name = f"{word}{len(numbers)}"
        lets.append(Let(name, Load(table, expr.const(len(numbers)))))
        numbers.append(value)
        return name

    for array, first in later.items():
        begins[array] = expr.dynamic(tell(first, "begin"), 0, FARTHEST)

    def generalized(v: Value) -> Value:
        if isinstance(v, Compute) and v.op in _COMPARED:
            return replace(v, args=tuple(map(number, v.args)))
        return v

    def number(v: Value) -> Value:
        if not _is_number(v):
            return v
        value = Read(tell(int(v.value), "number"), int64)
        return value if v.dtype is int64 else Compute("cast", (value,), v.dtype)

    body = _mapped(_moved(nest.body, later, smaller, begins), generalized)
    if not numbers:
        return nest, ()
    parameters = [smaller.get(array, array) for array in nest.parameters]
    return replace(nest, parameters=(*parameters, table), access=(*nest.access, "read"),
                   body=(*lets, *body)), tuple(numbers)


def _is_number(v: Value) -> TypeGuard[Constant]:
    return isinstance(v, Constant) and v.dtype in (int64, int32)


def _later(nest: LoopNest, written: bool) -> dict[Array, int]:
    """The first element that is touched of parameters, `written` ones too or not, of which it is not
    the very first."""
    changed = {s.array for s in walk(nest.body) if isinstance(s, Store | Accumulate)}
    return {array: first for array, (first, _) in _touched(nest).items()
            if first > 0 and (written or array not in changed)}


def _smaller(nest: LoopNest, firsts: Mapping[Array, int]) -> dict[Array, Array]:
    """Parameters without what is before their first elements and after those that are touched."""
    touched = _touched(nest) if firsts else {}
    return {array: replace(array, size=min(touched[array][1], array.size) - first)
            for array, first in firsts.items()}


def _touched(nest: LoopNest) -> dict[Array, tuple[int, int]]:
    """For each parameter the first element that may be read or written, and the one after the last."""
    found: dict[Array, tuple[int, int]] = {}
    for statement in walk(nest.body):
        places = [(v.array, v.index) for v in statement_values(statement) if isinstance(v, Load)]
        if isinstance(statement, Store | Accumulate):
            places.append((statement.array, statement.index))
        for array, index in places:
            if array.space == "parameter":
                low, high = index.bounds
                first, end = found.get(array, (low, 0))
                found[array] = min(first, low), max(end, high + 1)
    return found


def _moved(body: tuple[Statement, ...], firsts: Mapping[Array, int], smaller: Mapping[Array, Array],
           begins: Mapping[Array, Expr]) -> tuple[Statement, ...]:
    """The statements with other arrays, whose first elements stand at `begins`."""

    def place(x: _Place) -> _Place:
        if x.array not in firsts:
            return x
        return replace(x, array=smaller[x.array], index=x.index - firsts[x.array] + begins[x.array])

    def changed(s: Statement) -> Statement:
        return place(s) if isinstance(s, Store) else place(s) if isinstance(s, Accumulate) else s

    return _mapped(body, lambda v: place(v) if isinstance(v, Load) else v, changed)


def _mapped(statements: tuple[Statement, ...], change: Callable[[Value], Value],
            change_statement: Callable[[Statement], Statement] = lambda s: s) -> tuple[Statement, ...]:
    """The statements, changed, with all their values changed, in order."""
    found: list[Statement] = []
    for s in statements:
        if isinstance(s, Loop | If):
            found.append(replace(s, body=_mapped(s.body, change, change_statement)))
        elif isinstance(s, Let | Store | Accumulate):
            found.append(change_statement(replace(s, value=map_value(s.value, change))))
        else:
            found.append(s)
    return tuple(found)
