"""Which statements of a nest become one kernel function, and how many work-items run it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from lazygrad import expr
from lazygrad.codegen import loopnest
from lazygrad.codegen.loopnest import (
    Accumulate,
    Barrier,
    IndexValue,
    Let,
    Load,
    Loop,
    Read,
    Select,
    Statement,
    Store,
)
from lazygrad.expr import Dynamic, Expr, Guard


def phase_bodies(body: Sequence[Statement]) -> list[tuple[Statement, ...]]:
    """The statements of each kernel function: a parallel loop alone, or what stands between two of them.

    A `Let` outside loops is repeated in every later function that reads it.
    """
    runs: list[list[Statement]] = []
    joins = False
    for s in body:
        parallel = isinstance(s, Loop) and s.kind == "parallel"
        if parallel or not joins:
            runs.append([])
        runs[-1].append(s)
        joins = not parallel
    if len(runs) == 1:
        return [tuple(runs[0])]
    lets: dict[str, Let] = {}
    phases = []
    for run in runs:
        if any(not isinstance(s, Let) for s in run):
            phases.append((*_lets_read(run, lets), *run))
        lets |= {s.name: s for s in run if isinstance(s, Let)}
    return phases


def _lets_read(run: Iterable[Statement], lets: dict[str, Let]) -> list[Let]:
    """The earlier lets that statements read, directly or through others, in their order."""
    needed: set[str] = set()
    waiting = [name for s in loopnest.walk(run) for name in _names_read(s) if name in lets]
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += [n for n in _names_read(lets[name]) if n in lets]
    return [let for name, let in lets.items() if name in needed]


def statement_indices(s: Statement) -> Iterator[Expr]:
    """Every index expression in a statement itself (not its body), those of guards too."""
    guards: list[Guard] = [] if isinstance(s, Let | Loop | Barrier) else list(s.guards)
    if isinstance(s, Store | Accumulate):
        yield s.index
    for v in loopnest.statement_values(s):
        if isinstance(v, Load):
            yield v.index
            guards += v.guards
        elif isinstance(v, IndexValue):
            yield v.e
        elif isinstance(v, Select):
            guards += v.guards
    yield from (g.e for g in guards)


def _names_read(s: Statement) -> Iterator[str]:
    for v in loopnest.statement_values(s):
        if isinstance(v, Read):
            yield v.name
    for e in statement_indices(s):
        yield from (a.name for a in expr.atoms(e) if isinstance(a, Dynamic))


def item_count(body: Iterable[Statement]) -> int:
    """The work-items of a phase: the extent of its item loops, 1 where it has none."""
    return max([1, *(s.var.extent for s in loopnest.walk(body) if isinstance(s, Loop) and s.kind == "item")])
