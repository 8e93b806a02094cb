"""Transforms of scans: rows side by side in the lanes of square tiles, long rows in blocks.

Each keeps the order in which a row is folded, so that NaN, infinities and overflow are where the naive nest
has them; only blocks add up apart what stands before them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from lazygrad import expr
from lazygrad.codegen.loop_cost import values_in
from lazygrad.codegen.loopnest import (
    Array,
    Compute,
    Constant,
    Let,
    Load,
    Loop,
    LoopNest,
    Read,
    Select,
    Statement,
    Store,
    Value,
    children,
    map_value,
    statement_values,
    substitute,
)
from lazygrad.codegen.transform import Body, noted, reads, rewrite_loop
from lazygrad.codegen.transform_columns import expanded
from lazygrad.dtypes import DType
from lazygrad.expr import Expr, Var
from lazygrad.helpers import product

EXPENSIVE = 16.0  # instructions of an element that are not written out for every row of a tile
_BLOCKED = ("add", "mul", "maximum", "minimum")


@dataclass(frozen=True)
class Scan:
    """A row that is folded step by step, recognised in the body of the loops around it.

    a = f(i)                                    lets
    state = 0                                   start
    for j: serial: x = g(i, j)                  free: needs no state
                   s = state + x; state = s     chain, and what it keeps
                   y[i, j] = h(s, a)            stores
    total[i] = state                            after
    """

    lets: tuple[Let, ...]
    start: Store
    loop: Loop
    after: tuple[Store, ...]

    @property
    def state(self) -> Array:
        return self.start.array

    @property
    def chain(self) -> tuple[Let, ...]:
        """The Lets of a step that depend on the state."""
        found: dict[str, Let] = {}
        for s in self.loop.body:
            if isinstance(s, Let) and self._depends(s, found):
                found[s.name] = s
        return tuple(found.values())

    def _depends(self, s: Let, chain: Iterable[str]) -> bool:
        return self.state in reads((s,))[1] or not reads((s,))[0].isdisjoint(chain)

    @property
    def free(self) -> tuple[Let, ...]:
        chain = self.chain
        return tuple(s for s in self.loop.body if isinstance(s, Let) and s not in chain)

    @property
    def keep(self) -> Store:
        return next(s for s in self.loop.body if isinstance(s, Store) and s.array == self.state)

    @property
    def stores(self) -> tuple[Store, ...]:
        return tuple(s for s in self.loop.body if isinstance(s, Store) and s.array != self.state)

    @property
    def combine(self) -> str | None:
        """The row that folds, where parts of a row may be folded apart. Products of floats may not: a zero
        before and an infinity after it would meet."""
        if len(self.chain) != 1 or not isinstance(self.chain[0].value, Compute):
            return None
        op, args = self.chain[0].value.op, self.chain[0].value.args
        folds = args[0] == Load(self.state, expr.ZERO) and self.keep.value == Read(
            self.chain[0].name, self.state.dtype
        )
        safe = op in _BLOCKED and not (op == "mul" and self.state.dtype.kind == "float")
        return op if folds and safe and self.state not in reads((Let("", args[-1]),))[1] else None


def find_scan(body: Iterable[Statement]) -> Scan | None:
    """The scan that straight code around one serial loop is, if it is one."""
    body = tuple(body)
    loops = [s for s in body if isinstance(s, Loop)]
    if len(loops) != 1 or loops[0].kind != "serial" or loops[0].var.extent < 2:
        return None
    loop, place = loops[0], body.index(loops[0])
    before, after = body[:place], body[place + 1 :]
    lets = tuple(s for s in before if isinstance(s, Let))
    starts = [s for s in before if isinstance(s, Store)]
    plain = len(lets) + len(starts) == len(before) and all(isinstance(s, Let | Store) for s in loop.body)
    if not plain or len(starts) != 1 or starts[0].array.space != "register" or starts[0].array.size != 1:
        return None
    kept = [s for s in loop.body if isinstance(s, Store) and s.array == starts[0].array]
    stored = [s for s in after if isinstance(s, Store)]
    guarded = any(s.guards for s in (*kept, *starts))
    if len(kept) != 1 or guarded or len(stored) != len(after):
        return None
    if any(s.array == kept[0].array for s in stored):
        return None
    # the state that a step reads is the one before it
    late = loop.body[loop.body.index(kept[0]) :]
    if any(isinstance(v, Load) and v.array == kept[0].array for s in late for v in statement_values(s)):
        return None
    return Scan(lets, starts[0], loop, tuple(stored))


def needed(lets: Iterable[Let], *users: Statement) -> Body:
    """The Lets that statements depend on, directly or through each other, in order."""
    names = reads(users)[0]
    found: list[Let] = []
    for s in reversed(list(lets)):
        if s.name in names:
            found.append(s)
            names |= reads((s,))[0]
    return tuple(reversed(found))


def _at(var: Var) -> Expr:
    return expr.var(var.name, var.extent)


# Rows in tiles


def tile_scan(nest: LoopNest, name: str, lanes: int) -> LoopNest:
    """Rows of a scan side by side: tiles are read along the rows, folded across them, stored along them.

        for i in 16:              for i: vector: states[i] = 0
            state = 0             for j_o: for i: unroll: for j: vector: tile[16*i + j] = x[i, 16*j_o + j]
            for j: ...       ->            for j: unroll: for i: vector: s = states[i] + tile[16*i + j]
                                               states[i] = s; after[16*j + i] = s
                                           for i: unroll: for j: vector: y[i, 16*j_o + j] = after[16*j + i]

    The loop over `name` has 2 to `lanes` turns.
    """
    words = f"tile_scan({name},{lanes})"
    return noted(nest, rewrite_loop(nest.body, name, lambda row: _tiles(row, lanes)), words)


def _tiles(row: Loop, lanes: int) -> Body:
    scan = find_scan(row.body)
    assert scan is not None and 2 <= row.var.extent <= lanes
    states = Array(f"{scan.state.name}s", scan.state.dtype, lanes, "register")

    def across(*body: Statement) -> Loop:
        inner = (*needed(scan.lets, *body), *body)
        return Loop(row.var, expanded(inner, {scan.state: states}, _at(row.var)), "vector", lanes)

    whole, rest = divmod(scan.loop.var.extent, lanes)
    result: list[Statement] = [across(scan.start)]
    step, column = Var(f"{scan.loop.var.name}_o", whole), Var(f"{scan.loop.var.name}_i", lanes)
    if whole:
        part = _steps(scan, _at(step) * lanes + _at(column), column)
        result.append(Loop(step, _one_tile(part, row.var, states, lanes, ""), "serial"))
    if rest:
        column = Var(f"{scan.loop.var.name}_rest", rest)
        part = _steps(scan, _at(column) + whole * lanes, column)
        result += _one_tile(part, row.var, states, lanes, "rest_") if rest > 1 else [across(*part.loop.body)]
    return (*result, *((across(*scan.after),) if scan.after else ()))


def _steps(scan: Scan, index: Expr, column: Var) -> Scan:
    """A scan over a few of its steps: those that `index` names as `column` runs."""
    return replace(
        scan, loop=replace(scan.loop, var=column, body=substitute(scan.loop.body, {scan.loop.var: index}))
    )


def _one_tile(scan: Scan, row: Var, states: Array, lanes: int, prefix: str) -> Body:
    column = scan.loop.var
    i, j = _at(row), _at(column)
    tiles: dict[Value, Array] = {}
    dependent = {s.name for s in scan.chain}

    def waits(v: Value) -> bool:
        return isinstance(v, Read) and v.name in dependent or isinstance(v, Load) and v.array == scan.state

    def lifted(v: Value) -> Value:
        """A value of the chain, with what needs no state read from tiles."""
        if isinstance(v, Constant):
            return v
        if not any(waits(w) for w in _inside(v)):
            if v not in tiles:
                tiles[v] = Array(f"{prefix}tile{len(tiles)}", v.dtype, lanes * lanes, "register")
            return Load(tiles[v], i * lanes + j)
        if isinstance(v, Compute):
            return replace(v, args=tuple(lifted(a) for a in v.args))
        assert not isinstance(v, Select)
        return v

    chain = tuple(replace(s, value=lifted(s.value)) for s in scan.chain)
    keep = replace(scan.keep, value=lifted(scan.keep.value))
    seen = reads(scan.stores)[0]
    outs = {
        s.name: Array(f"{prefix}out_{s.name}", s.value.dtype, lanes * lanes, "register")
        for s in chain
        if s.name in seen
    }
    kept = tuple(Store(array, j * lanes + i, Read(name, array.dtype)) for name, array in outs.items())
    fold = expanded((*chain, keep, *kept), {scan.state: states}, i)

    lets = (*scan.lets, *scan.free)
    fill = _filled(lets, tiles, row, column, lanes, prefix)
    found = tuple(Let(name, Load(array, j * lanes + i)) for name, array in outs.items())
    store = (*needed((*lets, *found), *scan.stores), *scan.stores)
    # rows and columns that a tile lacks, so that all of it is known
    clear = [*_missing(tiles.values(), row, column, lanes), *_missing(outs.values(), column, row, lanes)]
    return (
        *clear,
        *fill,
        Loop(column, (Loop(row, fold, "vector", lanes),), "unroll"),
        *((Loop(row, (Loop(column, store, "vector", lanes),), "unroll"),) if scan.stores else ()),
    )


def _inside(v: Value) -> Iterable[Value]:
    stack = [v]
    while stack:
        v = stack.pop()
        yield v
        stack.extend(children(v))


def _filled(
    lets: Iterable[Let], tiles: dict[Value, Array], row: Var, column: Var, lanes: int, prefix: str
) -> Body:
    """The loops that compute tiles; what is long to write out is computed row by row in memory before."""
    i, j = _at(row), _at(column)
    fills = tuple(Store(tile, i * lanes + j, v) for v, tile in tiles.items())
    compute = (*needed(lets, *fills), *fills)
    if values_in(compute) <= EXPENSIVE:
        return (Loop(row, (Loop(column, compute, "vector", lanes),), "unroll"),)
    stages = {
        tile: Array(f"{prefix}stage{n}", tile.dtype, lanes * lanes, "scratch")
        for n, tile in enumerate(tiles.values())
    }
    ahead = tuple(replace(s, array=stages[s.array]) if isinstance(s, Store) else s for s in compute)
    read = tuple(replace(s, value=Load(stages[s.array], s.index)) for s in fills)
    return (
        Loop(row, (Loop(column, ahead, "vector", lanes),), "serial"),
        Loop(row, (Loop(column, read, "vector", lanes),), "unroll"),
    )


def _missing(tiles: Iterable[Array], outer: Var, inner: Var, lanes: int) -> list[Statement]:
    """Zeros in the rows of tiles from `outer.extent` on."""
    if outer.extent == lanes:
        return []
    rest = Var(f"{outer.name}_none", lanes - outer.extent)
    place = (_at(rest) + outer.extent) * lanes + _at(inner)
    zeros = tuple(Store(tile, place, Constant(_zero(tile.dtype), tile.dtype)) for tile in tiles)
    return [Loop(rest, (Loop(inner, zeros, "vector", lanes),), "unroll")]


def _zero(d: DType) -> bool | int | float:
    return False if d.kind == "bool" else 0.0 if d.kind == "float" else 0


# Long rows in blocks


def block_scan(nest: LoopNest, size: int) -> LoopNest:
    """A scan in blocks of `size` steps that workers share: what each folds to, what stands before each, and
    the scan of each with that in front.

        for i:                       for i: for b: state = 0; for j: state += x[i, b, j]
            state = 0                              total[i, b] = state
            for j: s = state + x     for i: state = 0; for b: before[i, b] = state; state += total[i, b]
                   state = s      -> for i: for b: state = 0; for j: s = state + x[i, b, j]; state = s
                   y[i, j] = s                                       y[i, b, j] = before[i, b] + s
                                     for i: state = before[i, end]; for j_rest: ...
    """
    chain: list[Loop] = []
    body = nest.body
    while len(body) == 1 and isinstance(body[0], Loop) and body[0].kind == "domain":
        chain.append(body[0])
        body = body[0].body
    scan = find_scan(body)
    assert scan is not None and scan.combine is not None and not scan.after
    loop, state, combine, kind = scan.loop, scan.state, scan.combine, scan.state.dtype
    count, rest = divmod(loop.var.extent, size)
    rows = product(outer.var.extent for outer in chain)
    row = expr.flatten((_at(outer.var) for outer in chain), (outer.var.extent for outer in chain))
    block, step = Var(f"{loop.var.name}_b", count), Var(f"{loop.var.name}_s", size)
    total = Array("block_total", kind, rows * count, "temporary")
    before = Array("block_before", kind, rows * (count + 1), "temporary")
    steps = substitute(loop.body, {loop.var: _at(block) * size + _at(step)})
    first = replace(
        loop,
        var=step,
        body=tuple(s for s in steps if isinstance(s, Let) or isinstance(s, Store) and s.array == state),
    )
    used = (scan.start, first)
    fold: Body = (
        *needed(scan.lets, *used),
        *used,
        Store(total, row * count + _at(block), Load(state, expr.ZERO)),
    )

    carried, folded = Read("carried", kind), Read("folded", kind)
    place = row * (count + 1) + _at(block)
    between = (
        Let("carried", Load(state, expr.ZERO)),
        Store(before, place, carried),
        Let("folded", Compute(combine, (carried, Load(total, row * count + _at(block))), kind)),
        Store(state, expr.ZERO, folded),
    )
    ends = Store(before, row * (count + 1) + count, Load(state, expr.ZERO))
    carry: Body = (scan.start, Loop(block, between, "serial"), ends)

    name = scan.chain[0].name
    whole = Compute(combine, (Read("ahead", kind), Read(name, kind)), kind)

    def joined(v: Value) -> Value:
        return whole if v == Read(name, kind) else v

    joins = tuple(
        replace(s, value=map_value(s.value, joined)) if isinstance(s, Store) and s.array != state else s
        for s in steps
    )
    ahead = Let("ahead", Load(before, place))
    last: Body = (*scan.lets, ahead, scan.start, replace(loop, var=step, body=joins))
    phases = [(*chain, Loop(block, fold, "domain")), (*chain,), (*chain, Loop(block, last, "domain"))]
    bodies = [fold, carry, last]
    if rest:
        tail = Var(f"{loop.var.name}_rest", rest)
        remaining = substitute(loop.body, {loop.var: _at(tail) + count * size})
        start = replace(scan.start, value=Load(before, row * (count + 1) + count))
        phases.append((*chain,))
        bodies.append((*scan.lets, start, replace(loop, var=tail, body=remaining)))
    result: list[Statement] = []
    for loops, inner in zip(phases, bodies, strict=True):
        for outer in reversed(loops):
            inner = (replace(outer, body=inner),)
        result += inner
    return noted(nest, result, f"block_scan({loop.var.name},{size})")
