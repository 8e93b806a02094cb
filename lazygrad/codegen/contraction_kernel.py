"""Contractions tiled for registers and caches over packed panels.

With register tiles of rows x columns (14 x 32 with 512-bit vectors),

    parallel over row tiles of a:      panel_a[tile, k, i] = a(tile*rows + i, k)
    parallel over column blocks of b:  panel_b[tile, k, j] = b(k, tile*columns + j)        (this worker's own)
        for row tile: for column tile:
            acc[rows, columns] = 0     (registers)
            for k: acc[i, j] += panel_a[tile, k, i] * panel_b[tile, k, j]
            out = epilogue(acc)

Where few rows use an element of b and its neighbours lie along the tile, it is read where it stands, without
a panel (`Panel.is_direct`). After Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication",
2008.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from lazygrad import expr
from lazygrad.codegen.choice import UNTUNED, Choice
from lazygrad.codegen.contraction import Contraction, recognise, unflattened
from lazygrad.codegen.contraction_lanes import lay_out
from lazygrad.codegen.contraction_pack import Panel, guarded, nested
from lazygrad.codegen.contraction_skip import Skip, with_skip
from lazygrad.codegen.contraction_stage import stage
from lazygrad.codegen.contraction_tiles import Tiles, choose_tiles, index, unless
from lazygrad.codegen.loop_cost import vector_cost
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
    Statement,
    Store,
    substitute,
    walk,
)
from lazygrad.codegen.transform import split_divisions
from lazygrad.codegen.transform_guards import split_residues
from lazygrad.dtypes import DType
from lazygrad.expr import Atom, Expr, Guard, Var
from lazygrad.helpers import ceil_div, product
from lazygrad.source import Target

ROOM_PERCENT = 60  # of the second cache, for what a block of k reads where b is laid out
DEEP = 512  # turns of k in a block, where sums wait in memory while all columns have their turn
MOST_WRITTEN_OUT = 200  # cycles of an epilogue on a whole tile
MIN_WORK = 1 << 14  # multiply-adds below which packing costs more than it saves


def contract(nest: LoopNest, target: Target, choice: Choice = UNTUNED) -> LoopNest | None:
    """The tiled nest, or None where the nest is no contraction or too small to gain."""
    parts = [_contracted(part, target, choice) for part in split_residues(nest)]
    whole = [part for part in parts if part is not None]
    if len(whole) < len(parts):
        return None
    words = dict.fromkeys(word for part in whole for word in part.recipe)
    return replace(nest, body=tuple(s for part in whole for s in part.body), recipe=tuple(words))


def _contracted(nest: LoopNest, target: Target, choice: Choice) -> LoopNest | None:
    found = recognise(nest)
    if found is None:  # an axis of which a quotient belongs to both factors, such as groups of channels
        nest = split_divisions(nest)
        found = recognise(nest)
    if found is None:
        return None
    m, n, k = found.sizes
    if m * n * k * product(v.extent for v in found.outer) < MIN_WORK or m < 2 or n < 2 or k < 4:
        return None
    tiles = choose_tiles(found, target, choice)
    found, skip = with_skip(found, tiles.columns)
    if skip is not None:
        tiles = choose_tiles(found, target, choice)
    phases, words = [], []
    laid = _laid_out(found, tiles, target, choice) if skip is None else None
    if laid is not None:
        phases, words, found, tiles = [laid[0]], ["lay_out(b)"], laid[1], laid[2]
    made_a = stage(found, found.a, "a", tiles.lanes)
    made_b = stage(found, found.b, "b", tiles.lanes) if laid is None else None
    if made_a is not None:
        found = replace(found, a=made_a[1])
        phases, words = [*phases, made_a[0]], [*words, "stage(a)"]
    if made_b is not None:
        found = replace(found, b=made_b[1])
        phases, words = [*phases, made_b[0]], [*words, "stage(b)"]
    axes = (f"{letter}={'*'.join(v.name for v in group)}"
            for letter, group in zip("mnk", (found.m, found.n, found.k), strict=True))
    words = [f"contract({' '.join(axes)})", *words, f"tile({tiles.rows},{tiles.columns})", "pack(a)",
             "pack(b)", f"vectorize(n,{tiles.lanes})", f"block(k,{tiles.depth.size})",
             f"parallelize(n/{tiles.column_tiles * tiles.columns})",
             *([f"parts(k,{tiles.k_parts})"] if tiles.k_parts > 1 else []),
             *([f"skip({skip.term.name},{skip.share:.0%})"] if skip is not None else [])]
    builder = _Builder(found, tiles, skip, target.masks, laid is not None)
    if builder.direct:
        words[words.index("pack(b)")] = "direct(b)"
    body = (*phases, *builder.body())
    return replace(nest, body=body, recipe=(*nest.recipe, *words))


def _laid_out(found: Contraction, tiles: Tiles, target: Target,
              choice: Choice) -> tuple[Statement, Contraction, Tiles] | None:
    """The phase that lays b out for lanes, the contraction that reads from there, and its tiles; None where
    that is not worth it, or what is laid out can't be read where it stands."""
    laid = lay_out(found, tiles.lanes)
    if laid is None:
        return None
    phase, found, elements = laid
    # one task takes all columns, so that what a block of k reads stays in the second cache for all of them
    room = target.l2_bytes * ROOM_PERCENT // 100 // found.accumulator.dtype.itemsize
    m, n, k = found.sizes
    most = max(room // (elements // k + m), 1)
    tiles = choose_tiles(found, target, replace(choice, tiles=choice.tiles or n, depth=choice.depth or most))
    panel = Panel(found, found.b, found.n, tiles.columns, tiles.lanes, tiles.depth, found.accumulator, "pb")
    fits = tiles.depth.size >= DEEP and panel.is_direct(1, target.masks)
    return (phase, found, tiles) if fits else None


@dataclass(frozen=True)
class _Task:
    """What a worker does at once: column tiles from `first_tile` on, at one value of the outer variables
    (`outer_a`: their index in panel_a), and of these what belongs to a part; `number` counts without
    parts."""

    values: dict[Atom, Expr]
    outer_a: Expr
    first_tile: Expr
    part: Expr
    number: Expr


class _Builder:
    """Builds the phases of one tiled contraction."""

    def __init__(self, found: Contraction, tiles: Tiles, skip: Skip | None, masks: bool, laid: bool):
        self.found, self.tiles, self.skip = found, tiles, skip
        self.m, self.n, _ = found.sizes
        self.kind: DType = found.accumulator.dtype
        self.row_tiles = ceil_div(self.m, tiles.rows)
        self.depth, self.k_blocks = tiles.depth.size, tiles.depth.blocks
        in_a = found.variables(found.a)
        self.outer_a = tuple(v for v in found.outer if v in in_a)
        size_a = product(v.extent for v in self.outer_a) * self.row_tiles * self.k_blocks
        self.panel_a = Array("panel_a", self.kind, size_a * self.depth * tiles.rows, "temporary")
        self.panel_b = Array("panel_b", self.kind, tiles.column_tiles * self.depth * tiles.columns, "scratch")
        self.row = Array("row", self.kind, tiles.columns, "register")
        self.b = Panel(found, found.b, found.n, tiles.columns, tiles.lanes, tiles.depth, self.panel_b, "pb")
        self.direct = laid or self.b.is_direct(self.m, masks)
        self.acc = Array("tile", self.kind, tiles.rows * tiles.columns, "register")
        self.part_tiles = ceil_div(self.row_tiles, tiles.row_parts)
        self.part_size = self.part_tiles * tiles.rows * tiles.column_tiles * tiles.columns
        count = self.tasks("task", tiles.k_parts)[0].extent if tiles.k_parts > 1 else 1
        space = "temporary" if tiles.k_parts > 1 else "scratch"
        self.partial = Array("partial", self.kind, count * self.part_size, space)

    def body(self) -> tuple[Statement, ...]:
        return self.pack_a(), *self.compute()

    # Packing

    def pack_a(self) -> Statement:
        t, found = self.tiles, self.found
        task = Var("pack", product(v.extent for v in self.outer_a) * self.row_tiles * self.k_blocks)
        rest, block = _divmod(index(task), self.k_blocks)
        outer, tile = _divmod(rest, self.row_tiles)
        panel = Panel(found, found.a, found.m, t.rows, t.lanes, t.depth, self.panel_a, "pa")
        start = index(task) * (self.depth * t.rows)
        return Loop(task, panel.pack(unflattened(outer, self.outer_a), tile, block, start), "parallel")

    def pack_b(self, task: _Task, block: Expr) -> tuple[Statement, ...]:
        if self.direct:
            return ()
        tile = Var("bt", self.tiles.column_tiles)
        start = index(tile) * (self.depth * self.tiles.columns)
        return (Loop(tile, self.b.pack(task.values, task.first_tile + index(tile), block, start)),)

    # Multiplying

    def compute(self) -> tuple[Statement, ...]:
        if self.tiles.k_parts > 1:
            return self.sum_parts(), self.add_parts()
        var, task = self.tasks("task", self.tiles.row_parts)
        if self.k_blocks > 1:
            return (Loop(var, self.sum_blocks(task), "parallel"),)
        body = (*self.pack_b(task, expr.ZERO),
                self.tiles_loop(task, lambda rt, ct: (
                    *self.clear(), self.multiply(task, rt, ct, expr.ZERO), *self.finish(task, rt, ct))))
        return (Loop(var, body, "parallel"),)

    def tasks(self, name: str, parts: int) -> tuple[Var, _Task]:
        """A loop over all tasks, and the task of a turn; `parts` work on the same columns."""
        blocks = ceil_div(ceil_div(self.n, self.tiles.columns), self.tiles.column_tiles)
        var = Var(name, product(v.extent for v in self.found.outer) * blocks * parts)
        rest, part = _divmod(index(var), parts)
        outer, block = _divmod(rest, blocks)
        values = unflattened(outer, self.found.outer)
        outer_a = expr.flatten((values[v] for v in self.outer_a), (v.extent for v in self.outer_a))
        return var, _Task(values, outer_a, block * self.tiles.column_tiles, part, rest)

    def sum_blocks(self, task: _Task) -> tuple[Statement, ...]:
        """Blocks of k one after another, the sums waiting in `partial` between."""
        block, first = Var("kb", self.k_blocks), task.part * self.part_tiles
        finish = self.tiles_loop(task, lambda rt, ct: (
            self.epilogue(task, rt, ct, self.partial, self.partial_index(rt - first, ct)),))
        step = self.add_block(task, index(block), lambda rt, ct: self.partial_index(rt - first, ct))
        return self.clear_partial(expr.ZERO), Loop(block, step), finish

    def sum_parts(self) -> Statement:
        """Parts of k, each with sums of its own."""
        var, task = self.tasks("task", self.tiles.k_parts)
        turns = ceil_div(self.k_blocks, self.tiles.k_parts)
        turn, place = Var("kb", turns), index(var) * self.part_size
        block = task.part * turns + index(turn)
        step = self.add_block(replace(task, part=expr.ZERO), block,
                              lambda rt, ct: place + self.partial_index(rt, ct))
        guards = unless(block, self.k_blocks)
        return Loop(var, (self.clear_partial(place), Loop(turn, (If(guards, step),) if guards else step)),
                    "parallel")

    def add_parts(self) -> Statement:
        """The sums of all parts of k added up, a row tile a task."""
        var, task = self.tasks("sum", self.row_tiles)
        column, i, j = Var("ct", self.tiles.column_tiles), Var("ai", self.tiles.rows), self.over_columns("aj")
        place = self.partial_index(task.part, index(column)) + self.slot(i, j)
        parts = [task.number * self.tiles.k_parts + p for p in range(self.tiles.k_parts)]
        first, *others = (Load(self.partial, part * self.part_size + place) for part in parts)
        added = [Accumulate(self.acc, self.slot(i, j), "add", other) for other in others]
        body = (self.over_tile(i, j, (Store(self.acc, self.slot(i, j), first),)),
                *(self.over_tile(i, j, (s,)) for s in added),
                *self.finish(task, task.part, index(column)))
        guards = unless((task.first_tile + index(column)) * self.tiles.columns, self.n)
        return Loop(var, (Loop(column, (If(guards, body),) if guards else body),), "parallel")

    def add_block(self, task: _Task, block: Expr,
                  place: Callable[[Expr, Expr], Expr]) -> tuple[Statement, ...]:
        """One block of k added to the sums that wait at `place`."""
        return *self.pack_b(task, block), self.tiles_loop(task, lambda rt, ct: (
            self.tile_copy(self.partial, place(rt, ct), True), self.multiply(task, rt, ct, block),
            self.tile_copy(self.partial, place(rt, ct), False)))

    def clear_partial(self, place: Expr) -> Statement:
        zero = Var("z", self.part_size)
        return Loop(zero, (Store(self.partial, place + index(zero), Constant(0.0, self.kind)),), "vector",
                    lanes=self.tiles.lanes)

    def tiles_loop(self, task: _Task, body: Callable[[Expr, Expr], Iterable[Statement]]) -> Statement:
        """For each row tile of this task, for each of its column tiles that exist."""
        t = self.tiles
        row, column = Var("rt", self.part_tiles), Var("ct", t.column_tiles)
        row_tile = task.part * self.part_tiles + index(row)
        guards = (unless((task.first_tile + index(column)) * t.columns, self.n)
                  + unless(row_tile, self.row_tiles))
        inside = tuple(body(row_tile, index(column)))
        return Loop(row, (Loop(column, (If(guards, inside),) if guards else inside),))

    def clear(self) -> tuple[Statement, ...]:
        i, j = Var("ci", self.tiles.rows), self.over_columns("cj")
        store = Store(self.acc, self.slot(i, j), Constant(0.0, self.kind))
        return (self.over_tile(i, j, (store,)),)

    def slot(self, i: Var, j: Var) -> Expr:
        return index(i) * self.tiles.columns + index(j)

    def over_columns(self, name: str) -> Var:
        return Var(name, self.tiles.columns)

    def over_tile(self, i: Var, j: Var, body: tuple[Statement, ...]) -> Statement:
        t = self.tiles
        return Loop(i, (Loop(j, body, "vector", lanes=t.lanes, unroll=t.columns // t.lanes),), "unroll")

    def multiply(self, task: _Task, row_tile: Expr, column_tile: Expr, block: Expr) -> Statement:
        """The micro-kernel: acc[i, j] += panel_a[k, i] * panel_b[k, j], or b where it stands."""
        t = self.tiles
        i, j = Var("i", t.rows), self.over_columns("j")
        tile, before = task.first_tile + column_tile, list[Statement]()
        if self.direct:
            loops, depth, bring = self.b.read(task.values, tile, block, self.row)
            b, before = Load(self.row, index(j)), [bring]
        else:
            loops = [Var("k", self.depth)]
            if self.skip is not None and self.skip.term == t.depth.cut:
                loops = [Var("kt", t.depth.chunk), Var("k", self.depth // t.depth.chunk)]
            depth = expr.flatten((index(v) for v in loops), (v.extent for v in loops))
            b = Load(self.panel_b, (column_tile * self.depth + depth) * t.columns + index(j))
        panel = (task.outer_a * self.row_tiles + row_tile) * self.k_blocks + block
        a = Load(self.panel_a, (panel * self.depth + depth) * t.rows + index(i))
        product_ = Compute("mul", (a, b), self.kind)
        step = self.over_tile(i, j, (Accumulate(self.acc, self.slot(i, j), "add", product_),))
        (whole,) = nested(loops, (*before, step))
        assert isinstance(whole, Loop)
        return self.without_absent(whole, tile * t.columns, block)

    def without_absent(self, whole: Loop, first: Expr, block: Expr) -> Statement:
        """The loop over a block of k without the terms that count for none of the columns from `first` on."""
        if self.skip is None:
            return whole
        depth, term = self.tiles.depth, self.skip.term
        begin, end = self.skip.turns(first)
        if term == depth.cut:
            start = block % depth.cuts * depth.chunk
            return replace(whole, span=(begin - start, end - start))
        at = unflattened(block // depth.cuts, depth.outer)[term]
        guards = (Guard(at - begin, 0, 1 << 60), Guard(end - at, 1, 1 << 60))
        return If(guards, (whole,))

    def partial_index(self, row_tile: Expr, column_tile: Expr) -> Expr:
        t = self.tiles
        return (row_tile * t.column_tiles + column_tile) * (t.rows * t.columns)

    def tile_copy(self, memory: Array, place: Expr, load: bool) -> Statement:
        """A tile from memory to registers, or back."""
        prefix = "l" if load else "s"
        i, j = Var(f"{prefix}i", self.tiles.rows), self.over_columns(f"{prefix}j")
        slot, place = self.slot(i, j), place + self.slot(i, j)
        to, source = (self.acc, Load(memory, place)) if load else (memory, Load(self.acc, slot))
        return self.over_tile(i, j, (Store(to, slot if load else place, source),))

    def finish(self, task: _Task, row_tile: Expr, column_tile: Expr) -> tuple[Statement, ...]:
        """The epilogue on a tile in registers. A long one would fill the caches of instructions if it were
        written out for every row, and take long to compile: it reads the tile from memory, in a loop."""
        short = self.epilogue(task, row_tile, column_tile, self.acc, expr.ZERO)
        (row,) = (s for s in walk((short,)) if isinstance(s, Loop) and s.kind == "vector")
        if self.tiles.rows * vector_cost(row, self.tiles.lanes) <= MOST_WRITTEN_OUT:
            return (short,)
        sums = Array("sums", self.kind, self.tiles.rows * self.tiles.columns, "scratch")
        return (self.tile_copy(sums, expr.ZERO, False),
                self.epilogue(task, row_tile, column_tile, sums, expr.ZERO))

    def epilogue(self, task: _Task, row_tile: Expr, column_tile: Expr, sums: Array, place: Expr) -> Statement:
        """What becomes of one tile, whose sums stand at a place of an array."""
        t = self.tiles
        i, j = Var("ei", t.rows), self.over_columns("ej")
        row = row_tile * t.rows + index(i)
        column = (task.first_tile + column_tile) * t.columns + index(j)
        values = {**task.values, **unflattened(row, self.found.m), **unflattened(column, self.found.n)}
        known = frozenset((self.found.result,))
        lets = self.found.needed([s.value for s in self.found.stores], known)
        statements = (Let(self.found.result, Load(sums, place + self.slot(i, j))),
                      *substitute((*lets, *self.found.stores), values))
        body = guarded(statements, unless(column, self.n))
        below: tuple[Statement, ...] = (Loop(j, body, "vector", lanes=t.lanes, unroll=t.columns // t.lanes),)
        rows = unless(row, self.m)
        kind = "unroll" if sums.space == "register" else "serial"
        return Loop(i, (If(rows, below),) if rows else below, kind)


def _divmod(e: Expr, divisor: int) -> tuple[Expr, Expr]:
    return e // divisor, e % divisor
