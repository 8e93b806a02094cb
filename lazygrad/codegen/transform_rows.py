"""Keeping a row: what one loop over a row computes at some expense, the next loops over the row read back."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

from lazygrad import expr
from lazygrad.codegen.loop_cost import statement_cost
from lazygrad.codegen.loopnest import (
    Array,
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
)
from lazygrad.codegen.transform import Body, noted, reads, rewrite_loop, written
from lazygrad.expr import Dynamic, Expr, Guard, Var
from lazygrad.graph import Literal

WORTH_KEEPING = 8.0  # instructions that it must save to store an element and to load it again
FREE = ("domain", "reduce")


@dataclass(frozen=True)
class Kept:
    """A value that a loop computes for each of its turns: by which Let, at which position among its
    siblings."""

    position: int
    name: str
    value: Value


def keep_rows(nest: LoopNest, name: str, most_bytes: int) -> LoopNest:
    """What a loop over a row computes at some expense is kept for the later loops over the row.

        for i:                                  for i:
            for j: s += exp(x[i, j])                for j: v = exp(x[i, j]); s += v; row[j] = v
            for j: y[i, j] = exp(x[i, j]) / s  ->   for j: y[i, j] = row[j] / s

    For loops directly inside the loop over `name`, of one extent and free order, with straight code. `row` is
    scratch of at most `most_bytes`.
    """
    rows: list[str] = []

    def change(loop: Loop) -> Body:
        body, kept = _keep(loop.body, most_bytes)
        rows.extend(kept)
        return (replace(loop, body=body),)

    body = rewrite_loop(nest.body, name, change)
    return noted(nest, body, f"keep({','.join(rows)})") if rows else nest


def _keep(body: Sequence[Statement], most_bytes: int) -> tuple[Body, list[str]]:
    statements = list(body)
    known: dict[Hashable, Kept] = {}
    arrays: dict[Hashable, Array] = {}
    for position, s in enumerate(statements):
        if (
            not isinstance(s, Loop)
            or s.kind not in FREE
            or any(isinstance(inner, Loop | If) for inner in s.body)
        ):
            continue
        keys = _keys(s)
        found = _latest(s, keys, known, statements, position)
        if found is not None:
            key, kept = found
            if key not in arrays:
                row = Array(f"row{len(arrays)}", kept.value.dtype, s.var.extent, "scratch")
                if row.size * row.dtype.itemsize > most_bytes:
                    continue
                arrays[key] = row
                statements[kept.position] = _storing(statements[kept.position], kept.name, row)
            s = _loading(s, keys, key, arrays[key])
            statements[position] = s
        for let in s.body:
            if isinstance(let, Let) and keys.get(let.name) is not None:
                known.setdefault(keys[let.name], Kept(position, let.name, let.value))
    return tuple(statements), [array.name for array in arrays.values()]


def _latest(
    loop: Loop,
    keys: dict[str, Hashable | None],
    known: dict[Hashable, Kept],
    statements: Sequence[Statement],
    position: int,
) -> tuple[Hashable, Kept] | None:
    """The last value of a loop that an earlier one has computed at some expense, from memory that did not
    change."""
    for let in reversed([s for s in loop.body if isinstance(s, Let)]):
        key = keys[let.name]
        if (
            key is None
            or key not in known
            or isinstance(let.value, Load)
            or _expense(loop, let) < WORTH_KEEPING
        ):
            continue
        kept = known[key]
        changed = written(statements[kept.position : position])
        if not changed & reads(loop.body)[1]:
            return key, kept
    return None


def _expense(loop: Loop, let: Let) -> float:
    """Instructions of a Let and of the Lets in the same loop that it needs."""
    lets = {s.name: s for s in loop.body if isinstance(s, Let)}
    needed: dict[str, Let] = {let.name: let}
    stack = [let]
    while stack:
        for name in reads((stack.pop(),))[0]:
            if name in lets and name not in needed:
                needed[name] = lets[name]
                stack.append(lets[name])
    return sum(statement_cost(s, None) for s in needed.values())


def _storing(s: Statement, name: str, row: Array) -> Statement:
    assert isinstance(s, Loop)
    body: list[Statement] = []
    for inner in s.body:
        body.append(inner)
        if isinstance(inner, Let) and inner.name == name:
            body.append(Store(row, expr.var(s.var.name, s.var.extent), Read(name, row.dtype)))
    return replace(s, body=tuple(body))


def _loading(loop: Loop, keys: dict[str, Hashable | None], key: Hashable, row: Array) -> Loop:
    """The loop with the kept value loaded, without the Lets that nothing needs any more."""
    load = Load(row, expr.var(loop.var.name, loop.var.extent))
    body = [replace(s, value=load) if isinstance(s, Let) and keys[s.name] == key else s for s in loop.body]
    live: list[Statement] = []
    needed: set[str] = set()
    for s in reversed(body):
        if not isinstance(s, Let) or s.name in needed:
            live.append(s)
            needed |= reads((s,))[0]
    return replace(loop, body=tuple(reversed(live)))


# What a value is, apart from the names within its loop


def _keys(loop: Loop) -> dict[str, Hashable | None]:
    """For each Let of a loop a key that equals that of another loop's Let if both compute the same from the
    same."""
    keys: dict[str, Hashable | None] = {}
    for s in loop.body:
        if isinstance(s, Let):
            keys[s.name] = _key(s.value, loop.var, keys)
    return keys


def _key(value: Value, var: Var, keys: dict[str, Hashable | None]) -> Hashable | None:
    """The key of a value; None if it cannot be compared. Equal keys are shared, so that they stay small."""
    match value:
        case Constant():
            return "constant", Literal(value.value), value.dtype.name
        case Read():
            return keys[value.name] if value.name in keys else ("read", value.name)
        case IndexValue():
            e = _plain(value.e, var, keys)
            return None if e is None else ("index", e, value.dtype.name)
        case Load():
            parts = [_plain(e, var, keys) for e in (value.index, *(g.e for g in value.guards))]
            return None if None in parts else ("load", value.array, *parts, *_limits(value.guards))
        case Select():
            inner = [_key(value.value, var, keys), _key(value.otherwise, var, keys)]
            parts = [_plain(g.e, var, keys) for g in value.guards]
            return None if None in (*inner, *parts) else ("select", *inner, *parts, *_limits(value.guards))
        case Compute():
            args = [_key(a, var, keys) for a in value.args]
            return None if None in args else _Shared((value.op, value.dtype.name, *args))


class _Shared:
    """A key that hashes once, however deep; equal ones share their parts, so that they compare once, too."""

    def __init__(self, parts: tuple[Hashable, ...]):
        self.parts, self.hash = parts, hash(parts)

    def __hash__(self) -> int:
        return self.hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Shared) or self.hash != other.hash:
            return False
        if self.parts is not other.parts:
            if self.parts != other.parts:
                return False
            self.parts = other.parts
        return True


def _plain(e: Expr, var: Var, keys: dict[str, Hashable | None]) -> Expr | None:
    """An index with the loop's variable under a common name; None if it depends on a Let of the loop."""
    if any(isinstance(a, Dynamic) and a.name in keys for a in expr.variables(e)):
        return None
    return expr.substitute(e, {var: expr.var("", var.extent)})


def _limits(guards: tuple[Guard, ...]) -> tuple[tuple[int, int], ...]:
    return tuple((g.low, g.high) for g in guards)
