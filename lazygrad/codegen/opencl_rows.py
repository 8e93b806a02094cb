"""Rows on a GPU: independent iterations spread over work-items, and rows whose loops a work-group shares.

A domain nest is read as `Rows`: outer loops, each iteration of which (a row) runs a body of straight code,
reduces and inner domain loops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from lazygrad import expr
from lazygrad.codegen.loopnest import (
    Accumulate,
    Array,
    Barrier,
    If,
    Let,
    Load,
    Loop,
    Statement,
    Store,
    Value,
    map_value,
    statement_values,
    substitute,
    walk,
)
from lazygrad.codegen.transform import Body, reads, written
from lazygrad.expr import Atom, Expr, Guard, Var
from lazygrad.helpers import ceil_div, product

GROUP_ITEMS = 256  # work-items of a group, where the work is large enough
LEAF = 16  # partial results that one item folds


@dataclass(frozen=True)
class Rows:
    """for every index of `variables`: body."""

    variables: tuple[Var, ...]
    body: Body

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(v.extent for v in self.variables)

    @property
    def count(self) -> int:
        return product(self.shape)

    def at(self, row: Expr) -> dict[Atom, Expr]:
        """The variables as parts of a flat row number (the first one runs on where the number does)."""
        parts: dict[Atom, Expr] = {}
        for v in reversed(self.variables):
            is_first = len(parts) == len(self.variables) - 1
            parts[v] = row if is_first else row % max(1, v.extent)
            row = row // max(1, v.extent)
        return parts

    @property
    def number(self) -> Expr:
        """The flat row number of the variables."""
        return expr.flatten((expr.var(v.name, v.extent) for v in self.variables), self.shape)


def open_chain(loop: Loop) -> Rows:
    """for i: t = f(i); for j: g(t, i, j)   ->   for i, j: t = f(i); g(t, i, j)

    Loops of one kind directly inside each other, as one; lets between them move to the innermost.
    """
    variables: list[Var] = []
    lets: list[Statement] = []
    while True:
        variables.append(loop.var)
        body = (*lets, *loop.body)
        deeper = [s for s in body if not isinstance(s, Let)]
        inner = deeper[0] if len(deeper) == 1 else None
        if not isinstance(inner, Loop) or inner.kind != loop.kind:
            return Rows(tuple(variables), body)
        before = body[: body.index(inner)]
        if reads(before)[1] & written((inner,)):
            return Rows(tuple(variables), body)
        lets, loop = list(before), inner


def power_of_two(n: int) -> int:
    """The least power of two that is not below n."""
    return 1 << max(0, n - 1).bit_length()


def spread(rows: Rows, most_items: int) -> tuple[Statement, str]:
    """for i, j: f(i, j)   ->   parallel group: item t: r = 256*group + t;
                               if r < rows: f(r // J, r % J)"""
    items = min(most_items, power_of_two(rows.count))
    group, item = Var("group", ceil_div(rows.count, items)), Var("item", items)
    row = expr.var("group", group.extent) * items + expr.var("item", items)
    body = guarded_body(unless_always(Guard(row, 0, rows.count)), substitute(rows.body, rows.at(row)))
    return (
        Loop(group, (Loop(item, body, "item"),), "parallel"),
        f"spread({_names(rows.variables)} over {group.extent}x{items} items)",
    )


def _names(variables: Iterable[Var]) -> str:
    return ",".join(v.name for v in variables) or "all"


def unless_always(*guards: Guard) -> tuple[Guard, ...]:
    """The guards that do not hold always."""
    return tuple(g for g in guards if not g.always)


def guarded_body(guards: tuple[Guard, ...], body: Body) -> Body:
    """The body where the guards hold."""
    return (If(guards, body),) if guards else body


def rewrite_values(body: Body, change: Callable[[Value], Value]) -> Body:
    """The statements with `change` applied to every value, inner values first."""
    result: list[Statement] = []
    for s in body:
        if isinstance(s, Let | Store | Accumulate):
            s = replace(s, value=map_value(s.value, change))
        elif isinstance(s, Loop | If):
            s = replace(s, body=rewrite_values(s.body, change))
        result.append(s)
    return tuple(result)


# Loops that work-items can share


def accumulators(loop: Loop) -> dict[Array, str] | None:
    """The registers that a reduce loop folds into and with what;
    None where items cannot fold on their own."""
    inside = {s.array for s in walk(loop.body) if isinstance(s, Store)}
    found: dict[Array, str] = {}
    for s in walk(loop.body):
        if isinstance(s, Store) and s.array.space != "register":
            return None
        if isinstance(s, Accumulate) and s.array not in inside:
            if (
                s.array.space != "register"
                or s.array.size != 1
                or found.setdefault(s.array, s.combine) != s.combine
            ):
                return None
    outer_stores = inside & set(found)
    loads = {v.array for s in walk(loop.body) for v in statement_values(s) if isinstance(v, Load)}
    return None if outer_stores or loads & set(found) else found


def is_shared(s: Statement) -> bool:
    """True for a loop whose iterations the items of a group can divide among themselves."""
    if not isinstance(s, Loop):
        return False
    return s.kind == "domain" or s.kind == "reduce" and accumulators(s) is not None


def trips(loop: Loop) -> int:
    """Iterations of a loop and those directly inside it."""
    return open_chain(loop).count


# A work-group for one or several rows


@dataclass(frozen=True)
class Team:
    """How the items of a group stand to its rows: `rows` rows, `columns` items for each.

    across: neighbouring items differ in the row, else in the column
    blocks: an item's steps are neighbours in memory, as suits a processor's cache; else those of neighbouring
            items, as suits a GPU
    """

    rows: int
    columns: int
    across: bool
    blocks: bool = False

    @property
    def items(self) -> int:
        return self.rows * self.columns

    def place(self, item: Expr) -> tuple[Expr, Expr]:
        """(row within the group, column) of an item."""
        if self.across:
            return item % self.rows, item // self.rows
        return item // self.columns, item % self.columns

    @property
    def stride(self) -> int:
        """How far apart the items of neighbouring columns are."""
        return self.rows if self.across else 1


def share_rows(rows: Rows, team: Team) -> tuple[Statement, str]:
    """for i: a = 0; for k in K: a += f(i, k); out[i] = a   ->
    parallel group: item t: (i, c) = row and column of t
        a = 0; for s: if 64*s + c < K: a += f(i, 64*s + c)
        shared[t] = a; a = fold of the row's 64 places in shared
        if c == 0: out[i] = a
    """
    groups = ceil_div(rows.count, team.rows)
    group, item = expr.var("group", groups), expr.var("item", team.items)
    inner, column = team.place(item)
    row = group * team.rows + inner
    sharing = _Sharing(team, item, column, unless_always(Guard(row, 0, rows.count)))
    body = sharing.body(substitute(rows.body, rows.at(row)))
    words = f"share({_names(rows.variables)}: {groups} groups of {team.rows} rows x {team.columns} items)"
    return Loop(Var("group", groups), (Loop(Var("item", team.items), body, "item"),), "parallel"), words


@dataclass
class _Sharing:
    """The body of rows, as one item of a team runs it. `inside`: guards of items that have a row."""

    team: Team
    item: Expr
    column: Expr
    inside: tuple[Guard, ...]
    steps: int = 0

    def body(self, statements: Sequence[Statement]) -> Body:
        result: list[Statement] = []
        for position, s in enumerate(statements):
            if is_shared(s):
                assert isinstance(s, Loop)
                result += self.loop(s)
                if reads(statements[position + 1 :])[1] & written((s,)) - set(accumulators(s) or ()):
                    result.append(Barrier())  # what the other items stored
            else:
                result.append(self.alone(s))
        return tuple(result)

    def alone(self, s: Statement) -> Statement:
        """Code of a whole row: every item runs it, the first one of the row stores."""
        if isinstance(s, Loop | If):
            return replace(s, body=tuple(self.alone(inner) for inner in s.body))
        if isinstance(s, Let | Store | Accumulate) and self.inside:
            s = replace(s, value=map_value(s.value, self.guarded))
        if isinstance(s, Store | Accumulate) and s.array.space != "register":
            s = replace(s, guards=(*s.guards, *self.inside, *unless_always(Guard(self.column, 0, 1))))
        return s

    def guarded(self, value: Value) -> Value:
        if isinstance(value, Load) and value.array.space != "register":
            return replace(value, guards=(*value.guards, *self.inside))
        return value

    def loop(self, loop: Loop) -> list[Statement]:
        """for k in K: f(k)   ->   for s in K/64: if 64*s + c < K: f(64*s + c)
        and the fold of a reduce"""
        chain, columns = open_chain(loop), self.team.columns
        self.steps += 1
        step = Var(f"step{self.steps}", ceil_div(chain.count, columns))
        k = expr.var(step.name, step.extent) * columns + self.column
        if self.team.blocks:
            k = self.column * step.extent + expr.var(step.name, step.extent)
        body = guarded_body(
            (*self.inside, *unless_always(Guard(k, 0, chain.count))), substitute(chain.body, chain.at(k))
        )
        shared: list[Statement] = [Loop(step, body, "serial" if loop.kind == "domain" else "reduce")]
        found = accumulators(loop) if loop.kind == "reduce" else None
        return shared + self.fold(found) if found else shared

    def fold(self, found: dict[Array, str]) -> list[Statement]:
        """shared[t] = a; barrier
        if c < 16: for j in columns/16 - 1: shared[t] += shared[t + 16*(j + 1)]
        barrier; a = shared[first of the row]; for j in 15: a += shared[first + j + 1]
        """
        arrays = {a: Array(f"shared_{a.name}", a.dtype, self.team.items, "local") for a in found}
        stride, columns = self.team.stride, min(self.team.columns, LEAF)
        first = self.item - self.column * stride
        result: list[Statement] = [Store(arrays[a], self.item, Load(a, expr.ZERO)) for a in found]
        if self.team.columns > LEAF:
            far = Var(f"far{self.steps}", self.team.columns // LEAF - 1)
            place = self.item + (expr.var(far.name, far.extent) + 1) * (LEAF * stride)
            body = tuple(
                Accumulate(arrays[a], self.item, how, Load(arrays[a], place)) for a, how in found.items()
            )
            result += [Barrier(), If((Guard(self.column, 0, LEAF),), (Loop(far, body),))]
        near = Var(f"near{self.steps}", columns - 1)
        place = first + (expr.var(near.name, near.extent) + 1) * stride
        body = tuple(Accumulate(a, expr.ZERO, how, Load(arrays[a], place)) for a, how in found.items())
        return [
            *result,
            Barrier(),
            *(Store(a, expr.ZERO, Load(arrays[a], first)) for a in found),
            Loop(near, body),
        ]


# Long rows, too few to give every compute unit work


def divide_rows(rows: Rows, parts_wanted: int, long: int, steps: int) -> list[Rows]:
    """for i: a = 0; for k in K: a += f(k); out[i] = g(a)   ->
    for i: for p in P: a = 0; for k in K/P: a += f(p*K/P + k); partial[p, i] = a
    for i: a = 0; for p in P: a += partial[p, i]; out[i] = g(a)

    The same for every loop of at least `long` iterations, domain loops too: each becomes a phase of its own,
    which repeats what it needs of the code before. A part has at least `steps` iterations.
    """
    before: list[Statement] = []
    phases: list[Rows] = []
    for number, s in enumerate(rows.body):
        if not (isinstance(s, Loop) and is_shared(s) and trips(s) >= long):
            before.append(s)
            continue
        chain = open_chain(s)
        parts = min(parts_wanted, ceil_div(chain.count, steps))
        size = ceil_div(chain.count, parts)
        part, within = Var(f"part{number}", parts), Var(f"within{number}", size)
        p = expr.var(part.name, parts)
        k = p * size + expr.var(within.name, size)
        inner = guarded_body(unless_always(Guard(k, 0, chain.count)), substitute(chain.body, chain.at(k)))
        loop = Loop(within, inner, s.kind)
        found = accumulators(s) if s.kind == "reduce" else None
        stores, folds = [], []
        for a, combine in (found or {}).items():
            partial = Array(f"partial_{a.name}", a.dtype, rows.count * parts, "temporary")
            place = p * rows.count + rows.number
            stores.append(Store(partial, place, Load(a, expr.ZERO)))
            folds.append(Accumulate(a, expr.ZERO, combine, Load(partial, place)))
        phases.append(Rows((*rows.variables, part), (*needed(before, (loop, *stores)), loop, *stores)))
        if folds:
            before.append(Loop(part, tuple(folds), "reduce"))
    if any(a.space != "register" for a in written(before)):
        phases.append(Rows(rows.variables, tuple(before)))
    return phases


def needed(before: Sequence[Statement], after: Sequence[Statement]) -> Body:
    """The statements of `before` whose values `after` reads; stores to memory stay behind."""
    names, arrays = reads(after)
    kept: list[Statement] = []
    for s in reversed(before):
        stored = written((s,))
        if (isinstance(s, Let) and s.name in names) or stored & arrays:
            kept.append(s)
            more = reads((s,))
            names, arrays = names | more[0], arrays | more[1]
    return tuple(reversed(kept))


def can_divide(body: Body) -> bool:
    """True where no statement reads memory that another one of the body writes."""
    stored = {a for a in written(body) if a.space != "register"}
    return not reads(body)[1] & stored
