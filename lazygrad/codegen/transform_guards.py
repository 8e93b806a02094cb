"""What guards tell: divisions that are needless, guards that nothing depends on, turns that do nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from lazygrad import expr
from lazygrad.codegen.loopnest import (
    Accumulate,
    Compute,
    Constant,
    If,
    IndexValue,
    Let,
    Load,
    Loop,
    LoopNest,
    Read,
    Select,
    Statement,
    Store,
    Value,
    map_value,
    substitute,
    walk,
)
from lazygrad.codegen.transform import Body, noted, rewrite_loop
from lazygrad.expr import Atom, Dynamic, Expr, Guard, Quotient, Remainder, Var
from lazygrad.helpers import ceil_div


def use_guards(nest: LoopNest) -> LoopNest:
    """Simpler loads: what a guard promises is used in the index, and a guard that is asked for again later is
    dropped where the load stays within its array without it.

        v = x[(i - k) % 4] if 0 <= i - k < 4 else 0         v = x[i - k] if 0 <= i - k < 4 else 0
        w = b[k] if 0 <= i - k < 4 else 0              ->   w = b[k]
        s += v * w if 0 <= i - k < 4 else 0                 s += v * w if 0 <= i - k < 4 else 0
    """
    observed = _observed(nest.body)
    body = _simpler(nest.body, observed)
    return nest if body == nest.body else noted(nest, body, "use_guards")


Observed = dict[str, frozenset[Guard]]


def _observed(body: Iterable[Statement]) -> Observed:
    """For every Let the guards outside which nobody looks at its value."""
    observed: Observed = {}

    def see(value: Value, guards: frozenset[Guard]) -> None:
        if isinstance(value, Read):
            observed[value.name] = observed.get(value.name, guards) & guards
        elif isinstance(value, Select):
            see(value.value, guards | set(value.guards))
            see(value.otherwise, guards)
        elif isinstance(value, Compute):
            for argument in value.args:
                see(argument, guards)
        for e in value_indices(value):
            observed.update((a.name, frozenset()) for a in expr.variables(e) if isinstance(a, Dynamic))

    for s in reversed(list(walk(body))):
        if isinstance(s, Let):
            see(s.value, observed.get(s.name, frozenset()))
        elif isinstance(s, Store | Accumulate):
            see(s.value, frozenset(s.guards))
        if isinstance(s, Store | Accumulate | If):
            indices = [g.e for g in s.guards] + ([] if isinstance(s, If) else [s.index])
            names = {a.name for e in indices for a in expr.variables(e) if isinstance(a, Dynamic)}
            observed.update((name, frozenset()) for name in names)
    return observed


def value_indices(value: Value) -> list[Expr]:
    """Index expressions and guards of one value, without those of the values inside it."""
    found = [value.index] if isinstance(value, Load) else [value.e] if isinstance(value, IndexValue) else []
    return found + [g.e for g in value.guards] if isinstance(value, Load | Select) else found


def _simpler(body: Iterable[Statement], observed: Observed) -> Body:
    result: list[Statement] = []
    for s in body:
        if isinstance(s, Loop | If):
            s = replace(s, body=_simpler(s.body, observed))
        elif isinstance(s, Let) and isinstance(s.value, Load) and s.value.guards:
            s = replace(s, value=_simpler_load(s.value, observed.get(s.name, frozenset())))
        result.append(s)
    return tuple(result)


def _simpler_load(load: Load, asked_later: frozenset[Guard]) -> Load:
    index = load.index
    values: dict[Atom, Expr] = {}
    for atom in expr.atoms(index):
        if isinstance(atom, Quotient | Remainder):
            inside = any(g.e == atom.base and g.low >= 0 and g.high <= atom.divisor for g in load.guards)
            if inside:
                values[atom] = atom.base if isinstance(atom, Remainder) else expr.ZERO
    index = expr.substitute(index, values) if values else index
    low, high = index.bounds
    needed = low < 0 or high >= load.array.size
    guards = tuple(g for g in load.guards if needed or g not in asked_later)
    return replace(load, index=index, guards=guards)


def solve_guards(nest: LoopNest) -> LoopNest:
    """A sum of which a guard `(e - k) % d == 0` keeps every d-th term runs over those terms alone.

        for k in 2: a += x[(i - k)//2, k] if (i - k) % 2 == 0 else 0   ->   a += x[i//2, i % 2]
    """
    body, names = _solved(nest.body)
    return noted(nest, body, f"solve({','.join(names)})") if names else nest


def split_residues(given: LoopNest) -> list[LoopNest]:
    """The nests of which each computes the elements of one residue, where a guard keeps every d-th term of a
    sum and which terms depends on the element's residue by d: each has fewer terms, and no such guard.

        for i in 6: for k in 3:                            -> for i in 3: y[2*i] = x[i]*w[0] + x[i - 1]*w[2]
            y[i] += x[(i - k)//2]*w[k] if (i - k)%2 == 0      for i in 3: y[2*i + 1] = x[i]*w[1]
    """
    waiting, done = [given], []
    while waiting:
        nest = waiting.pop()
        found = _residues(nest.body)
        if found is None:
            done.append(solve_guards(nest) if nest.recipe != given.recipe else nest)
            continue
        var, divisor = found
        for residue in range(min(divisor, var.extent)):
            part = Var(var.name, ceil_div(var.extent - residue, divisor))
            value = expr.var(part.name, part.extent) * divisor + residue

            def change(loop: Loop, part: Var = part, value: Expr = value) -> Body:
                return (replace(loop, var=part, body=substitute(loop.body, {loop.var: value})),)

            words = f"residue({var.name}%{divisor}={residue})"
            waiting.append(noted(nest, rewrite_loop(nest.body, var.name, change), words))
    return done[::-1]


def _residues(body: Iterable[Statement]) -> tuple[Var, int] | None:
    """A domain variable whose residue by a divisor decides which terms of a sum count, and the divisor."""
    domain = [s.var for s in walk(body) if isinstance(s, Loop) and s.kind == "domain"]
    for s in walk(body):
        if not isinstance(s, Loop) or s.kind != "reduce":
            continue
        guard = _divisibility(s)
        if guard is not None:
            atom = guard.e.terms[0][0]
            assert isinstance(atom, Remainder)
            factors = dict(atom.base.terms)
            found = [v for v in domain if abs(factors.get(v, 0)) == 1]
            if found and depends_on(atom.base, found[0], s.var):
                return found[0], atom.divisor
    return None


def depends_on(e: Expr, first: Var, second: Var) -> bool:
    """Whether an expression depends on two variables alone."""
    return expr.variables(e) == {first, second}


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
    first = rest % d
    before = first.constant if first.is_constant else 0
    turns = Var(f"{loop.var.name}_t", max(ceil_div(loop.var.extent - before, d), 0))
    t = expr.var(turns.name, turns.extent)
    k = first + t * d
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
