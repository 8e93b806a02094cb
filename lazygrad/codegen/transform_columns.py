"""Columns side by side: their loop goes inside the loops over rows, so that memory is read in order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from lazygrad import expr
from lazygrad.codegen.loopnest import (
    Accumulate,
    Array,
    Let,
    Load,
    Loop,
    LoopNest,
    Read,
    Statement,
    Store,
    Value,
    map_value,
    substitute,
    walk,
)
from lazygrad.codegen.transform import Body, noted, reads, rewrite_loop
from lazygrad.expr import Expr, Var

_STRAIGHT = Let | Store | Accumulate


def can_widen(body: Iterable[Statement]) -> bool:
    """Whether statements are straight code, and loops directly inside each other around straight code, that
    fold into single registers."""
    body = tuple(body)
    for s in body:
        inner: Body = (s,)
        while len(inner) == 1 and isinstance(inner[0], Loop):
            inner = inner[0].body
        if not all(isinstance(t, _STRAIGHT) for t in inner):
            return False
    found = [s.array for s in walk(body) if isinstance(s, Store | Accumulate)]
    return all(a.size == 1 or a.space == "parameter" for a in found)


def widen(nest: LoopNest, name: str) -> LoopNest:
    """The loop over `name` in each statement that it holds; what a column keeps in registers is an array.

    for j in 64:                    for j in 64: domain: as[j] = 0
        a = 0                       for i: serial: for j in 64: domain: as[j] += x[i, j]
        for i: a += x[i, j]    ->   for j in 64: domain: b = f(as[j]); bs[j] = b
        b = f(a)                    for i: serial: for j in 64: domain: b = bs[j]; y[i, j] = x[i, j] * b
        for i: y[i, j] = x[i, j] * b
    """
    return noted(nest, rewrite_loop(nest.body, name, _widened), f"widen({name})")


def _widened(column: Loop) -> Body:
    assert can_widen(column.body)
    registers = {
        s.array
        for s in walk(column.body)
        if isinstance(s, Store | Accumulate) and s.array.space == "register"
    }
    size = column.var.extent
    wide = {a: Array(f"{a.name}s", a.dtype, size, "scratch") for a in registers}
    kept: dict[str, Array] = {}
    result: list[Statement] = []
    groups = _groups(column.body)
    for number, group in enumerate(groups):
        # each loop has a name of its own, so that each gets lanes that suit it
        var = Var(f"{column.var.name}_{number}", size)
        index = expr.var(var.name, size)
        later = {name for g in groups[number + 1 :] for name in reads(g)[0]}
        found = {
            s.name: Array(f"{s.name}s", s.value.dtype, size, "scratch")
            for s in group
            if isinstance(s, Let) and s.name in later
        }
        stores = tuple(Store(array, index, Read(name, array.dtype)) for name, array in found.items())
        body = substitute(group, {column.var: index})
        result.append(_across(body, var, kept, wide, stores))
        kept |= found
    return tuple(result)


def _groups(body: Iterable[Statement]) -> list[tuple[Statement, ...]]:
    """Runs of straight code, and loops."""
    groups: list[list[Statement]] = []
    for s in body:
        if isinstance(s, Loop) or not groups or isinstance(groups[-1][0], Loop):
            groups.append([])
        groups[-1].append(s)
    return [tuple(g) for g in groups]


def _across(
    group: Sequence[Statement], column: Var, kept: dict[str, Array], wide: dict[Array, Array], stores: Body
) -> Statement:
    """A group for all columns: its loops as they were, the columns innermost."""
    first = group[0]
    if isinstance(first, Loop):
        return replace(first, kind="serial", body=(_across(first.body, column, kept, wide, stores),))
    names, index = reads(group)[0], expr.var(column.name, column.extent)
    loads = tuple(Let(name, Load(array, index)) for name, array in kept.items() if name in names)
    return Loop(column, (*loads, *expanded(group, wide, index), *stores), "domain")


def expanded(body: Iterable[Statement], wide: dict[Array, Array], index: Expr) -> Body:
    """Straight code with single registers as elements of arrays."""

    def visit(v: Value) -> Value:
        return Load(wide[v.array], index) if isinstance(v, Load) and v.array in wide else v

    result: list[Statement] = []
    for s in body:
        assert isinstance(s, _STRAIGHT)
        s = replace(s, value=map_value(s.value, visit))
        if isinstance(s, Store | Accumulate) and s.array in wide:
            s = replace(s, array=wide[s.array], index=index)
        result.append(s)
    return tuple(result)
