"""Chains of contractions in blocks of rows: what one makes of a block stays in scratch for the next.

    for o: for i:                                              parallel over o and parts of i:
        for j: row[j] = epilogue(sum q(i, k) * b(k, j))            pack all of b and c
        row steps                                         ->       for block of rows:
        for e: out[i, e] = sum row[j] * c(j, e)                        rows[i, j] = tiles of q @ b
                                                                       row steps, row by row
                                                                       out = tiles of rows @ c

The micro-kernel reads the rows where they are: neighbours along k, one stream for each row of a tile.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from lazygrad import expr
from lazygrad.codegen.contraction import Contraction, recognise, unflattened
from lazygrad.codegen.contraction_mask import masks, vanishes
from lazygrad.codegen.contraction_pack import Panel, guarded
from lazygrad.codegen.contraction_tiles import Depth, choose_depth, index, unless
from lazygrad.codegen.cpu_phase import mark_inner
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
    substitute,
    walk,
)
from lazygrad.codegen.transform import reads
from lazygrad.codegen.transform_cpu import coalesce
from lazygrad.codegen.transform_rows import keep_rows
from lazygrad.expr import Atom, Expr, Guard, Var
from lazygrad.helpers import ceil_div, product, round_up
from lazygrad.source import Target

APART = 16  # elements between rows, so that rows do not meet in one cache set
TASKS = 2  # for each worker
STREAMED = 4  # tiles of rows for which panels beyond the second cache are read once
BLOCK_SHARE = 16  # a block of rows takes this part of the second cache: little is computed beyond a mask


@dataclass(frozen=True)
class Stage:
    """A contraction whose results a block of rows keeps or stores."""

    found: Contraction
    depth: Depth


Segment = Stage | tuple[Statement, ...]  # a contraction, or what is done row by row


def block_rows(nest: LoopNest, target: Target) -> LoopNest | None:
    """A nest that keeps rows, in blocks of rows; None where they are not made by contractions alone."""
    parsed = _parse(nest, target)
    if parsed is None:
        return None
    built = _Blocks(nest, parsed, target)
    words = [f"rows({built.row.name}/{built.count})", f"tile({built.rows},{built.columns})", "pack(b)",
             f"vectorize(n,{built.lanes})", *(["skip(masked)"] if built.span else []),
             f"parallelize({built.tasks})"]
    return replace(nest, body=(built.body(),), recipe=(*nest.recipe, *words))


def stores_rows(nest: LoopNest) -> bool:
    """Whether a naive nest keeps rows in scratch: turns of the loops around them are no lanes then."""
    return any(a.space == "scratch" for a in _stored(nest.body))


def _stored(body: Iterable[Statement]) -> list[Array]:
    return [s.array for s in walk(body) if isinstance(s, Store)]


@dataclass(frozen=True)
class Parsed:
    """The loops down to the row, what is done for a row, all bindings outside of it; and the rows, of which
    every one has a place of its own now, `pitch` elements after the last."""

    loops: tuple[Var, ...]
    segments: tuple[Segment, ...]
    lets: dict[str, Let]
    pitch: dict[Array, int]


def _parse(nest: LoopNest, target: Target) -> Parsed | None:
    loops: list[Var] = []
    lets: dict[str, Let] = {}
    body = nest.body
    while True:
        inner = [s for s in body if isinstance(s, Loop)]
        if len(inner) != 1 or inner[0].kind != "domain" or not all(isinstance(s, Let | Loop) for s in body):
            break
        lets |= {s.name: s for s in body if isinstance(s, Let)}
        loops.append(inner[0].var)
        body = inner[0].body
    # the loops lie directly in each other: whichever goes along the rows may be the innermost
    orders = [[*(v for v in loops if v is not row), row] for row in reversed(loops)]
    return next((p for order in orders for p in [_along(body, order, lets, target)] if p is not None), None)


def _along(body: Sequence[Statement], loops: list[Var], lets: dict[str, Let],
           target: Target) -> Parsed | None:
    """What is done for a row where the last of the loops goes from row to row."""
    pitch: dict[Array, int] = {}
    apart: dict[Array, tuple[Array, Expr]] = {}
    for a in dict.fromkeys(_stored(body)):
        if a.space == "scratch":
            step = round_up(a.size, 2 * max(target.vector_bytes // a.dtype.itemsize, 1)) + APART
            rows = replace(a, size=loops[-1].extent * step)
            pitch[rows], apart[a] = step, (rows, index(loops[-1]) * step)
    segments = _segments(_moved(body, apart), loops, lets)
    enough = sum(isinstance(s, Stage) for s in segments) > 1
    return Parsed(tuple(loops), tuple(segments), lets, pitch) if enough else None


def _moved(body: Iterable[Statement], places: Mapping[Array, tuple[Array, Expr]]) -> tuple[Statement, ...]:
    """Statements with arrays replaced by others, in which the elements begin at another index."""
    def visit(v: Value) -> Value:
        if not isinstance(v, Load) or v.array not in places:
            return v
        array, start = places[v.array]
        return replace(v, array=array, index=start + v.index)

    result: list[Statement] = []
    for s in body:
        if isinstance(s, Loop | If):
            s = replace(s, body=_moved(s.body, places))
        elif isinstance(s, Let | Store | Accumulate):
            s = replace(s, value=map_value(s.value, visit))
            if isinstance(s, Store | Accumulate) and s.array in places:
                array, start = places[s.array]
                s = replace(s, array=array, index=start + s.index)
        result.append(s)
    return tuple(result)


def _segments(body: Sequence[Statement], loops: list[Var], lets: dict[str, Let]) -> list[Segment]:
    """What is done for a row, cut into contractions and the steps between; a contraction comes before steps
    on which it does not depend."""
    pure = dict(lets)
    segments: list[Segment] = []
    steps: list[Statement] = []
    for s in body:
        if isinstance(s, Let) and not _is_folded(s.value):
            pure[s.name] = s
        found = _stage(s, loops, pure) if isinstance(s, Loop) else None
        if found is None:
            steps.append(s)
            continue
        names, arrays = reads((s,))
        made = {t.name for t in steps if isinstance(t, Let) and t.name not in pure}
        if names & made or arrays & set(_stored(steps)):
            segments.append(tuple(steps))
            steps = [t for t in steps if isinstance(t, Let) and t.name in pure]
        segments.append(found)
    return [*segments, tuple(steps)] if any(not isinstance(t, Let) for t in steps) else segments


def _is_folded(value: Value) -> bool:
    """Whether a value is the result of a reduction over the row."""
    return isinstance(value, Load) and value.array.space == "register"


def _stage(s: Loop, loops: list[Var], pure: dict[str, Let]) -> Stage | None:
    """The contraction that a loop within a row is, its rows along the last of the outer loops."""
    body: tuple[Statement, ...] = (*pure.values(), s)
    for v in reversed(loops):
        body = (Loop(v, body, "domain"),)
    found = recognise(LoopNest("stage", (), (), body))
    inner = {t.var for t in walk((s,)) if isinstance(t, Loop)}
    if found is None or loops[-1] not in found.m or not inner.intersection(found.n):
        return None
    columns = tuple(v for v in found.n if v in inner)
    found = replace(found, m=(loops[-1],), n=columns, outer=tuple(loops[:-1]))
    return Stage(found, choose_depth(found.k, product(v.extent for v in found.k)))


class _Blocks:
    """Builds the blocks of one chain."""

    def __init__(self, nest: LoopNest, parsed: Parsed, target: Target):
        self.nest, self.segments, self.lets, self.target = nest, parsed.segments, parsed.lets, target
        *outer, self.row = parsed.loops
        stages = [s for s in parsed.segments if isinstance(s, Stage)]
        itemsize = max(s.found.accumulator.dtype.itemsize for s in stages)
        self.lanes = max(target.vector_bytes // itemsize, 1)
        self.columns = 2 * self.lanes
        most = (target.registers - 4) // 2
        bytes_of_row = sum(step * a.dtype.itemsize for a, step in parsed.pitch.items())
        room = max(target.l2_bytes // BLOCK_SHARE // bytes_of_row, 1)
        panels = sum(s.found.sizes[1] * s.found.sizes[2] for s in stages) * itemsize
        least = STREAMED if panels > target.l2_bytes else 1
        tiles = min(ceil_div(self.row.extent, most), max(room // most, least))
        self.rows = min(most, ceil_div(self.row.extent, tiles))
        self.tiles = tiles
        self.count = self.rows * tiles
        self.blocks = ceil_div(self.row.extent, self.count)
        heads = product(v.extent for v in outer)
        self.parts = min(self.blocks, max(1, ceil_div(TASKS * target.threads, heads)))
        self.tasks = heads * self.parts
        self.in_part = ceil_div(self.blocks, self.parts)
        self.task, self.block = Var("task", self.tasks), Var("rb", self.in_part)
        self.values = unflattened(index(self.task) // self.parts, outer)
        self.number = index(self.task) % self.parts * self.in_part + index(self.block)
        self.base = self.number * self.count
        self.step = 4 * self.lanes  # of the part of a row that is needed: what the widest vector loop takes
        self.span = self.find_span(stages)
        # a block has room for its own rows
        self.places = {a: (replace(a, size=self.count * step), self.base * -step)
                       for a, step in parsed.pitch.items()}
        self.blocked = {array for array, _ in self.places.values()}

    def find_span(self, stages: Sequence[Stage]) -> tuple[Expr, Expr] | None:
        """The part of its rows that a block needs, where a mask leaves less than all."""
        *first, last = stages
        factor, length = _row_of(last.found), last.found.sizes[2]
        if factor is None or len(last.found.k) != 1 or any(s.found.sizes[1] != length for s in first):
            return None
        steps = [s for segment in self.segments if not isinstance(segment, Stage) for s in segment]
        ends: list[tuple[Sequence[Statement], str]] = []
        for stage in first:
            known = frozenset((stage.found.result,))
            lets = stage.found.needed([s.value for s in stage.found.stores], known)
            ends.append(((*lets, *stage.found.stores), stage.found.result))
        found = masks((*(s for body, _ in ends for s in body), *steps), self.row)
        for mask in sorted(found, key=lambda m: (m.behind, m.offset)):
            if vanishes(mask, ends, steps, self.row, factor.array):
                return mask.span(self.base, self.count, length, self.step)
        return None

    def spanned(self, body: Sequence[Statement]) -> tuple[Statement, ...]:
        """Loops along the rows over the needed part alone."""
        length = next(s for s in reversed(self.segments) if isinstance(s, Stage)).found.sizes[2]
        return tuple(replace(s, span=self.span, unroll=min(s.unroll, self.step // s.lanes))
                     if self.span and isinstance(s, Loop) and s.var.extent == length else s for s in body)

    def body(self) -> Statement:
        packs: list[Statement] = []
        work: list[Statement] = []
        for number, segment in enumerate(self.segments):
            if isinstance(segment, Stage):
                stage = _Tiles(self, segment, number)
                packs += stage.pack_b()
                work += stage.body()
            else:
                work.append(self.steps(segment, number))
        inside = unless(self.base, self.row.extent)
        block = Loop(self.block, (If(inside, tuple(work)),) if inside else tuple(work))
        return Loop(self.task, (*packs, block), "parallel", grain=1)

    def steps(self, body: Sequence[Statement], number: int) -> Statement:
        """What is done row by row, the loops along a row in lanes."""
        i = Var(f"row{number}", self.count)
        row = self.base + index(i)
        body = (*self.needed(body), *body)
        moved = substitute(_moved(body, self.places), {**self.values, self.row: row})
        nest = replace(self.nest, body=(Loop(i, tuple(moved), "domain"),))
        nest = mark_inner(keep_rows(coalesce(nest), i.name, self.target.l2_bytes // 4), self.target)
        loop = nest.body[0]
        assert isinstance(loop, Loop)
        inner = self.spanned(loop.body)
        inside = unless(row, self.row.extent)
        return replace(loop, kind="serial", body=(If(inside, inner),) if inside else inner)

    def needed(self, body: Sequence[Statement]) -> list[Let]:
        """The bindings outside the row that its steps depend on."""
        found: dict[str, Let] = {}
        stack = [name for name in reads(tuple(body))[0] if name in self.lets]
        while stack:
            name = stack.pop()
            if name not in found:
                found[name] = self.lets[name]
                stack.extend(n for n in reads((self.lets[name],))[0] if n in self.lets)
        return [self.lets[name] for name in self.lets if name in found]


def _row_of(found: Contraction) -> Load | None:
    """The load that a contraction's first factor is, if it is no more than that."""
    value = found.a
    while isinstance(value, Read):
        value = found.lets[value.name].value
    return value if isinstance(value, Load) else None


class _Tiles:
    """Builds one contraction within a block of rows."""

    def __init__(self, blocks: _Blocks, stage: Stage, number: int):
        self.blocks, self.number, self.depth = blocks, number, stage.depth
        found = stage.found
        self.kind = found.accumulator.dtype
        lets = {let.name: let for let in _moved(found.lets.values(), blocks.places) if isinstance(let, Let)}
        stores = tuple(s for s in _moved(found.stores, blocks.places) if isinstance(s, Store))
        self.found = replace(found, lets=lets, stores=stores)
        self.n = found.sizes[1]
        self.column_tiles = ceil_div(self.n, blocks.columns)
        size_a, size_b = blocks.count * self.depth.size, self.column_tiles * self.depth.size * blocks.columns
        self.panel_a = Array(f"panel_a{number}", self.kind, size_a, "scratch")
        self.panel_b = Array(f"panel_b{number}", self.kind, size_b, "scratch")
        self.acc = Array(f"tile{number}", self.kind, blocks.rows * blocks.columns, "register")

    def name(self, word: str) -> str:
        return f"{word}{self.number}"

    def pack_b(self) -> tuple[Statement, ...]:
        """All of b, once for all blocks of rows."""
        b, tile = self.blocks, Var(self.name("bt"), self.column_tiles)
        panel = Panel(self.found, self.found.b, self.found.n, b.columns, b.lanes, self.depth, self.panel_b,
                      self.name("pb"))
        start = index(tile) * (self.depth.size * b.columns)
        return (Loop(tile, panel.pack(b.values, index(tile), expr.ZERO, start)),)

    def body(self) -> tuple[Statement, ...]:
        b = self.blocks
        row = self.in_rows()
        packs = () if row else self.pack_a()
        if b.span is None or row:
            return (*packs, self.columns("ct", 0, self.column_tiles, row))
        # the part of a row that a mask leaves; what lies beyond a multiple of the step is always computed
        begin, end = b.span
        whole = self.n // b.step * (b.step // b.columns)
        some = self.columns("ct", 0, whole, row)
        at = index(some.var) * b.columns
        guards = tuple(g for g in (Guard(end - at, 1, end.bounds[1] + 1),
                                   Guard(at + b.columns - begin, 1, self.n + b.columns + 1)) if not g.always)
        some = replace(some, body=(If(guards, some.body),))
        return (*packs, some, self.columns("cr", whole, self.column_tiles - whole, row))

    def columns(self, name: str, first: int, count: int, row: Load | None) -> Loop:
        """Some of the column tiles, for all row tiles of the block."""
        tile, column = Var(self.name("rt"), self.blocks.tiles), Var(self.name(name), count)
        at = index(column) + first
        inside = (self.clear(), self.multiply(index(tile), at, row), self.finish(index(tile), at))
        return Loop(column, (Loop(tile, inside),))

    def in_rows(self) -> Load | None:
        """The load of the factor where it lies in the block, its neighbours along k next to each other."""
        value = _row_of(self.found)
        whole = expr.flatten((index(v) for v in self.found.k), (v.extent for v in self.found.k))
        if value is not None and value.array in self.blocks.blocked and not value.guards:
            start = value.index - whole
            if not any(v in expr.variables(start) for v in self.found.k):
                return value
        return None

    def pack_a(self) -> tuple[Statement, ...]:
        b, tile = self.blocks, Var(self.name("at"), self.blocks.tiles)
        panel = Panel(self.found, self.found.a, (b.row,), b.rows, b.lanes, self.depth, self.panel_a,
                      self.name("pa"))
        start = index(tile) * (self.depth.size * b.rows)
        body = panel.pack(b.values, b.number * b.tiles + index(tile), expr.ZERO, start)
        return (Loop(tile, body),)

    def over_tile(self, i: Var, j: Var, body: tuple[Statement, ...]) -> Statement:
        b = self.blocks
        return Loop(i, (Loop(j, body, "vector", lanes=b.lanes, unroll=b.columns // b.lanes),), "unroll")

    def slot(self, i: Var, j: Var) -> Expr:
        return index(i) * self.blocks.columns + index(j)

    def clear(self) -> Statement:
        i, j = Var(self.name("ci"), self.blocks.rows), Var(self.name("cj"), self.blocks.columns)
        return self.over_tile(i, j, (Store(self.acc, self.slot(i, j), Constant(0.0, self.kind)),))

    def multiply(self, tile: Expr, column: Expr, row: Load | None) -> Statement:
        """The micro-kernel: acc[i, j] += a[i, k] * panel_b[k, j]."""
        b = self.blocks
        k, i, j = (Var(self.name("k"), self.depth.size), Var(self.name("i"), b.rows),
                   Var(self.name("j"), b.columns))
        if row is None:
            a = Load(self.panel_a, (tile * self.depth.size + index(k)) * b.rows + index(i))
        else:
            at_k: dict[Atom, Expr] = unflattened(index(k), self.found.k)
            at = expr.substitute(row.index, {**b.values, **at_k, b.row: b.base + tile * b.rows + index(i)})
            a = replace(row, index=at)
        at_b = (column * self.depth.size + index(k)) * b.columns + index(j)
        product_ = Compute("mul", (a, Load(self.panel_b, at_b)), self.kind)
        body = (self.over_tile(i, j, (Accumulate(self.acc, self.slot(i, j), "add", product_),)),)
        return Loop(k, body, span=b.span if row else None)

    def finish(self, tile: Expr, column: Expr) -> Statement:
        """The epilogue on one tile, from registers to the block or to memory."""
        b = self.blocks
        i, j = Var(self.name("ei"), b.rows), Var(self.name("ej"), b.columns)
        row, at = b.base + tile * b.rows + index(i), column * b.columns + index(j)
        values = {**b.values, b.row: row, **unflattened(at, self.found.n)}
        lets = self.found.needed([s.value for s in self.found.stores], frozenset((self.found.result,)))
        source = Let(self.found.result, Load(self.acc, self.slot(i, j)))
        body = guarded((source, *substitute((*lets, *self.found.stores), values)), unless(at, self.n))
        below: tuple[Statement, ...] = (Loop(j, body, "vector", lanes=b.lanes,
                                             unroll=b.columns // b.lanes),)
        inside = unless(row, b.row.extent)
        return Loop(i, (If(inside, below),) if inside else below, "unroll")
