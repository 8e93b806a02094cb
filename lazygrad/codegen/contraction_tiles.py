"""Sizes of tiled contractions, from the target's vectors, registers and caches; loops over blocks of k."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lazygrad import expr
from lazygrad.codegen.choice import UNTUNED, Choice
from lazygrad.codegen.contraction import Contraction, unflattened
from lazygrad.expr import Atom, Expr, Guard, Var
from lazygrad.helpers import ceil_div, product
from lazygrad.source import Target

LEAST_ROWS = 6  # of a register tile: fewer sums than that do not hide what a multiply-add takes
PASS = 0.3  # rows that reading a row tile's share of b costs
LEAST_DEPTH = 256  # of a block of k: below that, keeping sums costs too much beside making them
MOST_SINGLE = 15  # vectors along the columns: of more, a half empty tile is a small part
LEAST_SINGLE = 8  # rows: fewer sums in one vector each do not hide what a multiply-add takes
EVEN = 2  # quarters of the most turns that a block should hold at least, to divide k without a rest
TASKS = 4  # of every thread, where there is enough work: one that is held up gives the rest to others


@dataclass(frozen=True)
class Depth:
    """How k is cut into blocks, so that walking a block needs no division:

        for block: for chunk of one variable: for every variable within it          (packing)
        for block: for size                                                         (multiplying)

    `outer`: variables of which a block holds one value; `cut`: the variable of which it holds `chunk`.
    """

    outer: tuple[Var, ...]
    cut: Var
    chunk: int
    inner: tuple[Var, ...]

    @property
    def cuts(self) -> int:
        """Blocks along the cut variable."""
        return ceil_div(self.cut.extent, self.chunk)

    @property
    def blocks(self) -> int:
        return product(v.extent for v in self.outer) * self.cuts

    @property
    def size(self) -> int:
        """Turns of k in one block; the last block along `cut` may hold fewer that count."""
        return self.chunk * product(v.extent for v in self.inner)

    def walk(self, block: Expr, prefix: str) -> tuple[list[Var], dict[Atom, Expr], tuple[Guard, ...]]:
        """Loops over one block, the value of every variable of k in them, and what must hold to be within
        k."""
        first = Var(f"{prefix}_{self.cut.name}", self.chunk)
        loops = [first, *(Var(f"{prefix}_{v.name}", v.extent) for v in self.inner)]
        at = block % self.cuts * self.chunk + index(first)
        values: dict[Atom, Expr] = {v: index(w) for v, w in zip(self.inner, loops[1:], strict=True)}
        values |= unflattened(block // self.cuts, self.outer) | {self.cut: at}
        return loops, values, unless(at, self.cut.extent)


def choose_depth(k: Sequence[Var], most: int) -> Depth:
    """Blocks of at most about `most` turns, of equal size where that costs little, else of nearly equal."""
    inner = 1
    for number in range(len(k) - 1, -1, -1):
        if inner * k[number].extent > most or number == 0:
            chunk = max(1, min(k[number].extent, most // inner))
            even = (c for c in range(chunk, EVEN * chunk // 4, -1) if k[number].extent % c == 0)
            chunk = next(even, ceil_div(k[number].extent, ceil_div(k[number].extent, chunk)))
            return Depth(tuple(k[:number]), k[number], chunk, tuple(k[number + 1:]))
        inner *= k[number].extent
    raise AssertionError("a contraction folds some variable")


@dataclass(frozen=True)
class Tiles:
    """Sizes of a tiling: register tile, tiles per task, blocks of k;
    tasks share the row tiles in `row_parts`, or the blocks of k in `k_parts`."""

    rows: int
    columns: int
    lanes: int
    column_tiles: int  # of one task
    row_parts: int
    k_parts: int  # of k, each summed by tasks of its own, where rows and columns are few
    depth: Depth


def choose_tiles(found: Contraction, target: Target, choice: Choice = UNTUNED) -> Tiles:
    """Sizes from the target's vectors, registers and caches, where the choice tells none."""
    m, n, k = found.sizes
    itemsize = found.accumulator.dtype.itemsize
    lanes = max(target.vector_bytes // itemsize, 1)
    vectors = choice.vectors or vectors_of_tile(m, ceil_div(n, lanes))
    most = (target.registers - 4) // vectors if vectors > 1 else min(target.registers // 2, 16)
    fewest = min(LEAST_ROWS, m, most)
    rows = choice.rows or min(range(fewest, most + 1), key=lambda r: (ceil_div(m, r) * (r + PASS), -r))
    columns = vectors * lanes
    room = max(target.l2_bytes // 2 // itemsize, columns)
    tiles, outer = ceil_div(n, columns), product(v.extent for v in found.outer)
    most = k if k * columns <= room else max(room // columns // 2, 1)
    if tiles * outer < target.threads:  # k may have to be shared
        most = min(most, max(k * tiles * outer // (4 * target.threads), LEAST_DEPTH))
    depth = choose_depth(found.k, min(most, choice.depth or most))
    most_tiles = max(1, min(tiles, room // (depth.size * columns)))
    column_tiles = choice.tiles or shared_evenly(tiles, outer, most_tiles, target.threads)
    column_tiles = min(column_tiles, tiles)
    tasks = outer * ceil_div(tiles, column_tiles)
    missing = ceil_div(target.threads, tasks)
    turns = ceil_div(depth.blocks, 2 * missing)  # of a part: its blocks of k
    k_parts = ceil_div(depth.blocks, turns) if missing > 1 and depth.blocks >= 2 * missing else 1
    row_parts = min(missing, ceil_div(m, rows)) if k_parts == 1 else 1
    return Tiles(rows, columns, lanes, column_tiles, row_parts, k_parts, depth)


def vectors_of_tile(rows: int, vectors: int) -> int:
    """A tile is two vectors wide, or one: where that is all, or where a half empty tile would cost more than
    small tiles do."""
    wasteful = vectors % 2 == 1 and vectors <= MOST_SINGLE and rows >= LEAST_SINGLE
    return 1 if vectors == 1 or wasteful else 2


def shared_evenly(tiles: int, outer: int, most: int, threads: int) -> int:
    """Column tiles of one task: at most so many, enough tasks for every thread to take several, and the
    threads done at about the same time."""
    most = max(1, min(most, tiles * outer // (TASKS * threads)))
    candidates = range(max(1, most // 2), most + 1)
    return min(candidates, key=lambda n: (ceil_div(outer * ceil_div(tiles, n), threads) * n, -n))


def index(v: Var) -> Expr:
    """The expression of a loop variable."""
    return expr.var(v.name, v.extent)


def unless(e: Expr, end: int) -> tuple[Guard, ...]:
    """The guard e < end, none where it always holds."""
    guard = Guard(e, 0, end)
    return () if guard.always else (guard,)
