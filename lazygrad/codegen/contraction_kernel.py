"""Contractions tiled for registers and caches over packed panels.

With register tiles of rows x columns (14 x 32 with 512-bit vectors),

    parallel over row tiles of a:      panel_a[tile, k, i] = a(tile*rows + i, k)
    parallel over column blocks of b:  panel_b[tile, k, j] = b(k, tile*columns + j)        (this worker's own)
        for row tile: for column tile:
            acc[rows, columns] = 0     (registers)
            for k: acc[i, j] += panel_a[tile, k, i] * panel_b[tile, k, j]
            out = epilogue(acc)

After Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from lazygrad import expr
from lazygrad.codegen.contraction import Contraction, recognise, unflattened
from lazygrad.codegen.contraction_pack import Panel, guarded
from lazygrad.codegen.contraction_stage import stage
from lazygrad.codegen.contraction_tiles import Tiles, choose_tiles, index, unless
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
)
from lazygrad.codegen.transform_guards import split_residues
from lazygrad.dtypes import DType
from lazygrad.expr import Atom, Expr, Var
from lazygrad.helpers import ceil_div, product
from lazygrad.source import Target

MIN_WORK = 1 << 14  # multiply-adds below which packing costs more than it saves


def contract(nest: LoopNest, target: Target) -> LoopNest | None:
    """The tiled nest, or None where the nest is no contraction or too small to gain."""
    parts = [_contracted(part, target) for part in split_residues(nest)]
    whole = [part for part in parts if part is not None]
    if len(whole) < len(parts):
        return None
    words = dict.fromkeys(word for part in whole for word in part.recipe)
    return replace(nest, body=tuple(s for part in whole for s in part.body), recipe=tuple(words))


def _contracted(nest: LoopNest, target: Target) -> LoopNest | None:
    found = recognise(nest)
    if found is None:
        return None
    m, n, k = found.sizes
    if m * n * k * product(v.extent for v in found.outer) < MIN_WORK or m < 2 or n < 2 or k < 4:
        return None
    tiles = choose_tiles(found, target)
    phases, words = [], []
    made_a, made_b = stage(found, found.a, "a", tiles.lanes), stage(found, found.b, "b", tiles.lanes)
    if made_a is not None:
        found = replace(found, a=made_a[1])
        phases, words = [made_a[0]], ["stage(a)"]
    if made_b is not None:
        found = replace(found, b=made_b[1])
        phases, words = [*phases, made_b[0]], [*words, "stage(b)"]
    axes = (f"{letter}={'*'.join(v.name for v in group)}"
            for letter, group in zip("mnk", (found.m, found.n, found.k), strict=True))
    words = [f"contract({' '.join(axes)})", *words, f"tile({tiles.rows},{tiles.columns})", "pack(a)",
             "pack(b)", f"vectorize(n,{tiles.lanes})", f"block(k,{tiles.depth.size})",
             f"parallelize(n/{tiles.column_tiles * tiles.columns})"]
    body = (*phases, *_Builder(found, tiles).body())
    return replace(nest, body=body, recipe=(*nest.recipe, *words))


class _Builder:
    """Builds the phases of one tiled contraction."""

    def __init__(self, found: Contraction, tiles: Tiles):
        self.found, self.tiles = found, tiles
        self.m, self.n, _ = found.sizes
        self.kind: DType = found.accumulator.dtype
        self.row_tiles = ceil_div(self.m, tiles.rows)
        self.depth, self.k_blocks = tiles.depth.size, tiles.depth.blocks
        in_a = found.variables(found.a)
        self.outer_a = tuple(v for v in found.outer if v in in_a)
        size_a = product(v.extent for v in self.outer_a) * self.row_tiles * self.k_blocks
        self.panel_a = Array("panel_a", self.kind, size_a * self.depth * tiles.rows, "temporary")
        self.panel_b = Array("panel_b", self.kind, tiles.column_tiles * self.depth * tiles.columns, "scratch")
        self.acc = Array("tile", self.kind, tiles.rows * tiles.columns, "register")
        self.part_tiles = ceil_div(self.row_tiles, tiles.row_parts)
        self.partial = Array("partial", self.kind,
                             self.part_tiles * tiles.rows * tiles.column_tiles * tiles.columns, "scratch")

    def body(self) -> tuple[Statement, ...]:
        return self.pack_a(), self.compute()

    # Packing

    def pack_a(self) -> Statement:
        t, found = self.tiles, self.found
        task = Var("pack", product(v.extent for v in self.outer_a) * self.row_tiles)
        block = Var("pack_k", self.k_blocks)
        outer, tile = _divmod(index(task), self.row_tiles)
        panel = Panel(found, found.a, found.m, t.rows, t.lanes, t.depth, self.panel_a, "pa")
        start = (index(task) * self.k_blocks + index(block)) * (self.depth * t.rows)
        body = panel.pack(unflattened(outer, self.outer_a), tile, index(block), start)
        return Loop(task, body if self.k_blocks == 1 else (Loop(block, body),), "parallel", grain=1)

    def pack_b(self, values: dict[Atom, Expr], first_tile: Expr, block: Expr) -> Statement:
        t, found = self.tiles, self.found
        tile = Var("bt", t.column_tiles)
        panel = Panel(found, found.b, found.n, t.columns, t.lanes, t.depth, self.panel_b, "pb")
        start = index(tile) * (self.depth * t.columns)
        return Loop(tile, panel.pack(values, first_tile + index(tile), block, start))

    # Multiplying

    def compute(self) -> Statement:
        t = self.tiles
        blocks = ceil_div(ceil_div(self.n, t.columns), t.column_tiles)
        task = Var("task", product(v.extent for v in self.found.outer) * blocks * t.row_parts)
        rest, part = _divmod(index(task), t.row_parts)
        outer, block = _divmod(rest, blocks)
        values = unflattened(outer, self.found.outer)
        outer_a = expr.flatten((values[v] for v in self.outer_a), (v.extent for v in self.outer_a))
        first_tile = block * t.column_tiles
        if self.k_blocks == 1:
            body: tuple[Statement, ...] = (
                self.pack_b(values, first_tile, expr.ZERO),
                self.tiles_loop(outer_a, part, first_tile, lambda rt, ct: (
                    *self.clear(), self.multiply(outer_a, rt, ct, expr.ZERO),
                    self.finish(values, rt, first_tile + ct, None))))
        else:
            body = self.blocked(values, outer_a, part, first_tile)
        return Loop(task, body, "parallel", grain=1)

    def blocked(self, values: dict[Atom, Expr], outer_a: Expr, part: Expr,
                first_tile: Expr) -> tuple[Statement, ...]:
        """Blocks of k one after another, the sums waiting in `partial` between."""
        t = self.tiles
        block, zero = Var("kb", self.k_blocks), Var("z", self.partial.size)
        clear = Loop(zero, (Store(self.partial, index(zero), Constant(0.0, self.kind)),), "vector",
                     lanes=t.lanes)
        step = self.tiles_loop(outer_a, part, first_tile, lambda rt, ct: (
            self.tile_copy(self.acc, self.partial, rt - part * self.part_tiles, ct, True),
            self.multiply(outer_a, rt, ct, index(block)),
            self.tile_copy(self.acc, self.partial, rt - part * self.part_tiles, ct, False)))
        run = Loop(block, (self.pack_b(values, first_tile, index(block)), step))
        finish = self.tiles_loop(outer_a, part, first_tile, lambda rt, ct: (
            self.finish(values, rt, first_tile + ct, self.partialindex(rt - part * self.part_tiles, ct)),))
        return clear, run, finish

    def tiles_loop(self, outer_a: Expr, part: Expr, first_tile: Expr,
                   body: Callable[[Expr, Expr], Iterable[Statement]]) -> Statement:
        """For each row tile of this task, for each of its column tiles that exist."""
        t = self.tiles
        row, column = Var("rt", self.part_tiles), Var("ct", t.column_tiles)
        row_tile = part * self.part_tiles + index(row)
        guards = (unless((first_tile + index(column)) * t.columns, self.n)
                  + unless(row_tile, self.row_tiles))
        inside = tuple(body(row_tile, index(column)))
        return Loop(row, (Loop(column, (If(guards, inside),) if guards else inside),))

    def clear(self) -> tuple[Statement, ...]:
        i, j = Var("ci", self.tiles.rows), Var("cj", self.tiles.columns)
        store = Store(self.acc, self.slot(i, j), Constant(0.0, self.kind))
        return (self.over_tile(i, j, (store,)),)

    def slot(self, i: Var, j: Var) -> Expr:
        return index(i) * self.tiles.columns + index(j)

    def over_tile(self, i: Var, j: Var, body: tuple[Statement, ...]) -> Statement:
        t = self.tiles
        return Loop(i, (Loop(j, body, "vector", lanes=t.lanes, unroll=t.columns // t.lanes),), "unroll")

    def multiply(self, outer_a: Expr, row_tile: Expr, column_tile: Expr, block: Expr) -> Statement:
        """The micro-kernel: acc[i, j] += panel_a[k, i] * panel_b[k, j]."""
        t = self.tiles
        k, i, j = Var("k", self.depth), Var("i", t.rows), Var("j", t.columns)
        block = (outer_a * self.row_tiles + row_tile) * self.k_blocks + block
        at_a = (block * self.depth + index(k)) * t.rows + index(i)
        at_b = (column_tile * self.depth + index(k)) * t.columns + index(j)
        product_ = Compute("mul", (Load(self.panel_a, at_a), Load(self.panel_b, at_b)), self.kind)
        return Loop(k, (self.over_tile(i, j, (Accumulate(self.acc, self.slot(i, j), "add", product_),)),))

    def partialindex(self, row_tile: Expr, column_tile: Expr) -> Expr:
        t = self.tiles
        return (row_tile * t.column_tiles + column_tile) * (t.rows * t.columns)

    def tile_copy(self, acc: Array, partial: Array, row_tile: Expr, column_tile: Expr,
                  load: bool) -> Statement:
        prefix = "l" if load else "s"
        i, j = Var(f"{prefix}i", self.tiles.rows), Var(f"{prefix}j", self.tiles.columns)
        slot, place = self.slot(i, j), self.partialindex(row_tile, column_tile) + self.slot(i, j)
        store = Store(acc, slot, Load(partial, place)) if load else Store(partial, place, Load(acc, slot))
        return self.over_tile(i, j, (store,))

    def finish(self, values: dict[Atom, Expr], row_tile: Expr, column_tile: Expr,
               partial: Expr | None) -> Statement:
        """The epilogue on one tile, from registers or from `partial`."""
        t = self.tiles
        i, j = Var("ei", t.rows), Var("ej", t.columns)
        row, column = row_tile * t.rows + index(i), column_tile * t.columns + index(j)
        values = {**values, **unflattened(row, self.found.m), **unflattened(column, self.found.n)}
        source = (Load(self.acc, self.slot(i, j)) if partial is None
                  else Load(self.partial, partial + self.slot(i, j)))
        known = frozenset((self.found.result,))
        lets = self.found.needed([s.value for s in self.found.stores], known)
        statements = (Let(self.found.result, source), *substitute((*lets, *self.found.stores), values))
        body = guarded(statements, unless(column, self.n))
        below: tuple[Statement, ...] = (Loop(j, body, "vector", lanes=t.lanes, unroll=t.columns // t.lanes),)
        rows = unless(row, self.m)
        return Loop(i, (If(rows, below),) if rows else below, "unroll")


def _divmod(e: Expr, divisor: int) -> tuple[Expr, Expr]:
    return e // divisor, e % divisor
