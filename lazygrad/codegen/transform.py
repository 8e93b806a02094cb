"""Transforms: pure functions from nest to nest. A recipe is a list of them,
and each adds its words to `nest.recipe`.

Loops are named by their variable. Transforms check what they can (a loop exists, loops are nested directly in
each other); that iterations may be reordered is the recipe's knowledge: `domain` and `reduce` loops may,
`serial` ones not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from lazygrad import expr
from lazygrad.codegen.loopnest import (
    Accumulate,
    Array,
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
    statement_values,
    substitute,
    walk,
)
from lazygrad.expr import Atom, Dynamic, Expr, Guard, Var
from lazygrad.helpers import ceil_div

Body = tuple[Statement, ...]


def noted(nest: LoopNest, body: Iterable[Statement], words: str) -> LoopNest:
    """The nest with a new body, and the words added to its recipe."""
    return replace(nest, body=tuple(body), recipe=(*nest.recipe, words))


def find_loop(body: Iterable[Statement], name: str) -> Loop:
    """The loop over the variable of this name."""
    for s in walk(body):
        if isinstance(s, Loop) and s.var.name == name:
            return s
    raise AssertionError(f"no loop over {name}")


def rewrite_loop(body: Iterable[Statement], name: str, change: Callable[[Loop], Body]) -> Body:
    """The statements with the loop over `name` replaced by what `change` makes of it."""
    result: list[Statement] = []
    for s in body:
        if isinstance(s, Loop) and s.var.name == name:
            result += change(s)
        elif isinstance(s, Loop | If):
            result.append(replace(s, body=rewrite_loop(s.body, name, change)))
        else:
            result.append(s)
    return tuple(result)


def split(nest: LoopNest, name: str, factor: int, extent: int | None = None) -> LoopNest:
    """    for i in 10: f(i)   ->   for i_o in 3: for i_i in 4:      (factor 4)
                                 if 4*i_o + i_i < 10: f(4*i_o + i_i)
    With an extent, only loops of that extent: parts of one kernel may have others of the same name."""

    def change(loop: Loop) -> Body:
        if extent not in (None, loop.var.extent):
            return (replace(loop, body=rewrite_loop(loop.body, name, change)),)
        outer = Var(f"{name}_o", ceil_div(loop.var.extent, factor))
        inner = Var(f"{name}_i", factor)
        whole = expr.var(outer.name, outer.extent) * factor + expr.var(inner.name, inner.extent)
        body = substitute(loop.body, {loop.var: whole})
        guard = Guard(whole, 0, loop.var.extent)
        if not guard.always:
            body = (If((guard,), body),)
        return (replace(loop, var=outer, body=(replace(loop, var=inner, body=body),)),)

    return noted(nest, rewrite_loop(nest.body, name, change), f"split({name},{factor})")


def interchange(nest: LoopNest, outer: str, inner: str) -> LoopNest:
    """    for i: for j: f   ->   for j: for i: f        (loops directly inside each other)"""

    def change(loop: Loop) -> Body:
        assert len(loop.body) == 1 and isinstance(loop.body[0],
                                                  Loop), f"{inner} is not directly inside {outer}"
        below = loop.body[0]
        assert below.var.name == inner, (outer, inner, below.var.name)
        return (replace(below, body=(replace(loop, body=below.body),)),)

    return noted(nest, rewrite_loop(nest.body, outer, change), f"interchange({outer},{inner})")


def collapse(nest: LoopNest, outer: str, inner: str) -> LoopNest:
    """    for i in 3: for j in 4: f(i, j)   ->   for i_j in 12: f(i_j // 4, i_j % 4)"""

    def change(loop: Loop) -> Body:
        assert len(loop.body) == 1 and isinstance(loop.body[0],
                                                  Loop), f"{inner} is not directly inside {outer}"
        below = loop.body[0]
        assert below.var.name == inner, (outer, inner, below.var.name)
        both = Var(f"{outer}_{inner}", loop.var.extent * below.var.extent)
        index = expr.var(both.name, both.extent)
        values: dict[Atom, Expr] = {loop.var: index // below.var.extent, below.var: index % below.var.extent}
        return (replace(loop, var=both, body=substitute(below.body, values)),)

    return noted(nest, rewrite_loop(nest.body, outer, change), f"collapse({outer},{inner})")


def mark(nest: LoopNest, name: str, kind: str, lanes: int = 1, unroll: int = 1, grain: int = 1) -> LoopNest:
    """Map a loop: to workers ("parallel"), vector lanes ("vector"),
    work-items ("item") or copies ("unroll")."""
    detail = f",{lanes}" + (f"x{unroll}" if unroll > 1 else "") if kind == "vector" else ""
    words = f"{_MARKS.get(kind, kind)}({name}{detail})"
    body = rewrite_loop(nest.body, name, lambda loop: (
        replace(loop, kind=kind, lanes=lanes, unroll=unroll, grain=grain),))
    return noted(nest, body, words)


_MARKS = {"vector": "vectorize", "parallel": "parallelize", "item": "items"}


# Merging sibling loops


def merge_loops(nest: LoopNest) -> LoopNest:
    """    for i: a += x[i]          for i:
    for j: b *= x[j]   ->       t = x[i]; a += t; b *= t
    The loops have the same extent, and neither needs the other's result."""
    body, count = _merge_siblings(nest.body)
    return noted(nest, body, f"merge({count} loops)") if count else nest


def _merge_siblings(body: Iterable[Statement]) -> tuple[Body, int]:
    statements, count = [], 0
    for s in body:
        if isinstance(s, Loop | If):
            inner, merged = _merge_siblings(s.body)
            s, count = replace(s, body=inner), count + merged
        statements.append(s)
    position = 0
    while position < len(statements):
        first = statements[position]
        partner = _partner(statements, position) if isinstance(first, Loop) else None
        if partner is None or not isinstance(first, Loop):
            position += 1
            continue
        second = statements[partner]
        assert isinstance(second, Loop)
        between = statements[position + 1:partner]
        early = _needed_by(between, second)
        late = [s for s in between if s not in early]
        both = first.body + substitute(second.body, {second.var: expr.var(first.var.name, first.var.extent)})
        merged_body, more = _merge_siblings(share_values(both))
        count += 1 + more
        statements[position:partner + 1] = [*early, replace(first, body=merged_body), *late]
        position += len(early)
    return tuple(statements), count


def _partner(statements: Sequence[Statement], position: int) -> int | None:
    """The number of a later loop that may run together with the one at `position`."""
    first = statements[position]
    assert isinstance(first, Loop)
    for number in range(position + 1, len(statements)):
        second = statements[number]
        if not isinstance(second, Loop):
            continue
        same = (second.var.extent == first.var.extent and second.kind == first.kind
                and first.kind in ("domain", "reduce"))
        if same and _independent(first, statements[position + 1:number], second):
            return number
    return None


def _independent(first: Loop, between: Sequence[Statement], second: Loop) -> bool:
    """Whether `second` can run along with `first`: what it needs from `between` must not need `first`."""
    after_first = written(first.body)
    tainted_names: set[str] = set()
    tainted_arrays = set(after_first)
    for s in between:
        names, loads = reads((s,))
        if names & tainted_names or loads & tainted_arrays:
            if isinstance(s, Let):
                tainted_names.add(s.name)
            tainted_arrays |= written((s,))
        elif isinstance(s, Loop):
            return False
    names, loads = reads((second,))
    stored = written((second,))
    return not (names & tainted_names or (loads | stored) & tainted_arrays or reads((first,))[1] & stored)


def _needed_by(between: Sequence[Statement], loop: Loop) -> list[Statement]:
    """The statements that a loop depends on, directly or through each other, in order."""
    names, loads = reads((loop,))
    arrays = loads | written((loop,))
    needed: list[Statement] = []
    for s in reversed(between):
        if (isinstance(s, Let) and s.name in names) or written((s,)) & arrays:
            needed.append(s)
            more_names, more_loads = reads((s,))
            names, arrays = names | more_names, arrays | more_loads
    return needed[::-1]


def reads(body: Iterable[Statement]) -> tuple[set[str], set[Array]]:
    """Names (of Lets) and arrays that statements read."""
    names: set[str] = set()
    loads: set[Array] = set()
    for s in walk(body):
        for v in statement_values(s):
            if isinstance(v, Read):
                names.add(v.name)
            if isinstance(v, Load):
                loads.add(v.array)
        if isinstance(s, Accumulate):
            loads.add(s.array)
        for e in _expressions(s):
            names |= {v.name for v in expr.variables(e) if isinstance(v, Dynamic)}
    return names, loads


def written(body: Iterable[Statement]) -> set[Array]:
    """Arrays that statements store to."""
    return {s.array for s in walk(body) if isinstance(s, Store | Accumulate)}


def share_values(body: Iterable[Statement]) -> Body:
    """Straight code in which a value that is bound twice is bound once (loads from arrays that the code
    stores stay)."""
    body = tuple(body)
    stored = written(body)
    seen: dict[Value, Read] = {}
    names: dict[str, Read] = {}
    result: list[Statement] = []
    for s in body:
        s = _renamed(s, names)
        if isinstance(s, Let):
            fixed = not any(isinstance(v, Load) and v.array in stored for v in statement_values(s))
            if fixed and s.value in seen:
                names[s.name] = seen[s.value]
                continue
            if fixed:
                seen[s.value] = Read(s.name, s.value.dtype)
        result.append(s)
    return tuple(result)


def _renamed(s: Statement, names: Mapping[str, Read]) -> Statement:
    """A statement that reads other names; index expressions follow."""
    if not names:
        return s

    def visit(v: Value) -> Value:
        return names.get(v.name, v) if isinstance(v, Read) else v

    if isinstance(s, Let | Store | Accumulate):
        s = replace(s, value=map_value(s.value, visit))
    elif isinstance(s, Loop | If):
        s = replace(s, body=tuple(_renamed(inner, names) for inner in s.body))
    atoms = {a for a in _dynamic_atoms(s) if a.name in names}
    renamed: dict[expr.Atom, Expr] = {
        a: Expr(((replace(a, name=names[a.name].name), 1),)) for a in atoms}
    return substitute((s,), renamed)[0] if renamed else s


def _dynamic_atoms(s: Statement) -> set[Dynamic]:
    return {v for inner in walk((s,)) for e in _expressions(inner)
            for v in expr.variables(e) if isinstance(v, Dynamic)}


def split_divisions(nest: LoopNest) -> LoopNest:
    """    for i in 12: x[i // 4, i % 4]   ->   for i_o in 3: for i_i in 4: x[i_o, i_i]"""
    for _ in range(16):
        found = _division(nest.body)
        if found is None:
            return nest
        nest = split(nest, *found)
    return nest


def _division(body: Iterable[Statement]) -> tuple[str, int, int] | None:
    """A loop whose variable is divided by a divisor of its extent, that divisor, and the extent."""
    for s in walk(body):
        if not (isinstance(s, Loop) and s.kind in ("domain", "reduce")):
            continue
        for inner in walk(s.body):
            for e in _expressions(inner):
                for atom in expr.atoms(e):
                    if isinstance(atom, expr.Quotient | expr.Remainder):
                        factor = dict(atom.base.terms).get(s.var)
                        if factor is not None and atom.divisor % abs(factor) == 0:
                            step = atom.divisor // abs(factor)
                            if 1 < step < s.var.extent and s.var.extent % step == 0:
                                return s.var.name, step, s.var.extent
    return None


def _expressions(s: Statement) -> Iterable[Expr]:
    """Every index expression that a statement itself (not its body) evaluates."""
    if isinstance(s, Store | Accumulate):
        yield s.index
    if isinstance(s, Store | Accumulate | If):
        yield from (g.e for g in s.guards)
    if isinstance(s, Loop) and s.span is not None:
        yield from s.span
    for v in statement_values(s):
        if isinstance(v, Load):
            yield v.index
        if isinstance(v, IndexValue):
            yield v.e
        if isinstance(v, Load | Select):
            yield from (g.e for g in v.guards)
