"""Solving guards: where a divisibility guard lets only one in a few turns pass, the loop runs over those."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from lazygrad import expr
from lazygrad.codegen.loopnest import (
    Accumulate,
    Constant,
    If,
    Let,
    Load,
    Loop,
    LoopNest,
    Read,
    Select,
    Statement,
    Value,
    map_value,
    substitute,
    walk,
)
from lazygrad.codegen.transform import Body, noted
from lazygrad.expr import Atom, Expr, Guard, Quotient, Remainder, Var
from lazygrad.helpers import ceil_div


def solve_guards(nest: LoopNest) -> LoopNest:
    """A sum of which a guard `(e - k) % d == 0` keeps every d-th term runs over those terms alone.

        for k in 2: a += x[(i - k)//2, k] if (i - k) % 2 == 0 else 0   ->   a += x[i//2, i % 2]
    """
    body, names = _solved(nest.body)
    return noted(nest, body, f"solve({','.join(names)})") if names else nest


def _solved(body: Iterable[Statement]) -> tuple[Body, list[str]]:
    result: list[Statement] = []
    names: list[str] = []
    for s in body:
        if isinstance(s, Loop):
            guard = _divisibility(s) if s.kind == "reduce" else None
            statements = _every(s, guard) if guard is not None else None
            if statements is not None:
                inner, more = _solved(statements)
                result, names = [*result, *inner], [*names, s.var.name, *more]
                continue
        if isinstance(s, Loop | If):
            inner, more = _solved(s.body)
            s, names = replace(s, body=inner), [*names, *more]
        result.append(s)
    return tuple(result), names


def _divisibility(loop: Loop) -> Guard | None:
    """A guard `(... - k) % d == 0` without which no turn of a loop over k adds anything."""
    lets = {s.name: s.value for s in walk(loop.body) if isinstance(s, Let)}
    sums = [s for s in walk(loop.body) if isinstance(s, Accumulate)]
    if not sums or any(s.combine != "add" for s in sums):
        return None
    common: set[Guard] | None = None
    for s in sums:
        needed = set(s.guards) | _needed(s.value, lets)
        common = needed if common is None else common & needed
    found = [g for g in common or () if _solvable(g, loop.var)]
    return min(found, key=str) if found else None


def _needed(value: Value, lets: dict[str, Value]) -> set[Guard]:
    """Guards without which a value is zero."""
    while isinstance(value, Read) and value.name in lets:
        value = lets[value.name]
    if isinstance(value, Select) and isinstance(value.otherwise, Constant) and value.otherwise.value == 0:
        return set(value.guards) | _needed(value.value, lets)
    return set(value.guards) if isinstance(value, Load) else set()


def _solvable(guard: Guard, var: Var) -> bool:
    if len(guard.e.terms) != 1 or guard.e.constant or guard.low > 0 or guard.high != 1:
        return False
    atom, factor = guard.e.terms[0]
    if factor != 1 or not isinstance(atom, Remainder):
        return False
    base = dict(atom.base.terms)
    return base.get(var) == -1 and not any(
        var in expr.variables(Expr(((a, 1),))) for a in base if isinstance(a, Quotient | Remainder)
    )


def _every(loop: Loop, guard: Guard) -> Body | None:
    """The turns of a loop that pass its guard: k = e % d + d*t."""
    atom = guard.e.terms[0][0]
    assert isinstance(atom, Remainder)
    rest, d = atom.base + expr.var(loop.var.name, loop.var.extent), atom.divisor
    turns = Var(f"{loop.var.name}_t", ceil_div(loop.var.extent, d))
    t = expr.var(turns.name, turns.extent)
    k = rest % d + t * d
    values: dict[Atom, Expr] = {loop.var: k, atom: expr.ZERO, Quotient(atom.base, d): rest // d - t}
    within = Guard(k, 0, loop.var.extent)
    body = substitute(loop.body, values)
    body = body if within.always else _guarded(body, within)
    return body if turns.extent == 1 else (replace(loop, var=turns, body=body),)


def _guarded(body: Iterable[Statement], guard: Guard) -> Body:
    """Statements that load and add only where a guard holds."""

    def visit(v: Value) -> Value:
        return replace(v, guards=(*v.guards, guard)) if isinstance(v, Load) else v

    result: list[Statement] = []
    for s in body:
        if isinstance(s, Loop | If):
            s = replace(s, body=_guarded(s.body, guard))
        elif isinstance(s, Let | Accumulate):
            s = replace(s, value=map_value(s.value, visit))
        if isinstance(s, Accumulate):
            s = replace(s, guards=(*s.guards, guard))
        result.append(s)
    return tuple(result)
