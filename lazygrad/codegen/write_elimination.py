"""The nest of Gaussian elimination with partial pivoting."""

from __future__ import annotations

from collections.abc import Sequence

from lazygrad.codegen.nest_writer import (
    Grid,
    Matrices,
    NestWriter,
    Number,
    counted,
    guarded,
    number,
    where,
)
from lazygrad.dtypes import int32, int64
from lazygrad.expr import Expr, Guard
from lazygrad.graph import Node
from lazygrad.helpers import ceil_div

TOGETHER = 4  # rows from which a multiple of the pivot's is taken at once


def write_lu(w: NestWriter, node: Node, inputs: Sequence[Matrices], out: Matrices) -> None:
    """For each column: the greatest element below the diagonal is swapped up, then its row, times a factor,
    taken from every row below; the factors stay where zeros would be."""
    m, n = node.inputs[0].shape[-2:]
    kind, blocks, width = node.dtype.accumulator, ceil_div(m, TOGETHER), w.padded(n)
    for b in w.examples(out.count):
        a, result = inputs[0].at(b), out.at(b)
        work, order = w.grid("work", kind, blocks * TOGETHER, width), w.grid("order", int64, m)
        for i in w.serial(blocks * TOGETHER):
            for j in w.free(width):
                w.set(work, (i, j), a.where((Guard(i, 0, m), Guard(j, 0, n)), i, j).cast(kind))
        for i in w.free(m):
            w.set(order, i, counted(i))
            w.set(result, (i, n), counted(i))
        sizes, pivot_row = w.grid("sizes", kind, w.padded(m)), w.grid("pivot_row", kind, width)
        for k in w.serial(min(m, n)):
            place = _place_of_pivot(w, work, sizes, k, m)
            w.set(result, (k, n), counted(place))
            exchange(w, order, (k,), (place,))
            for j in w.free(width):
                exchange(w, work, (k, j), (place, j))
            pivot = w.let(work[k, k])
            for j in w.free(width, begin=k):
                w.set(pivot_row, j, guarded((Guard(j - k, 1, n + width),), work[k, j], number(0.0, kind)))
            for block in w.serial(blocks, begin=(k + 1) // TOGETHER):
                rows = [block * TOGETHER + r for r in range(TOGETHER)]
                factors = []
                for i in rows:
                    below, before = (Guard(i - k, 1, m + TOGETHER),), w.let(work[i, k])
                    factor = where(pivot.equals(0.0), before, before / pivot)
                    factors.append(w.let(guarded(below, factor, number(0.0, kind))))
                    w.set(work, (i, k), guarded(below, factors[-1], before))
                for j in w.free(width, begin=k + 1):
                    for i, factor in zip(rows, factors, strict=True):
                        w.increase(work, (i, j), -factor * pivot_row[j])
        for i in w.serial(m):
            for j in w.free(n):
                w.set(result, (i, j), work[i, j])
            w.set(result, (i, n + 1), order[i])


def _place_of_pivot(w: NestWriter, work: Grid, sizes: Grid, k: Expr, m: int) -> Expr:
    """The first row from k on whose element in column k is the greatest in size."""
    for i in w.free(m, begin=k):
        w.set(sizes, i, guarded((Guard(i - k, 0, m),), abs(work[i, k]), number(-1.0, sizes.array.dtype)))
    _, place = first_greatest(w, sizes, m, k, k)
    return place


def first_greatest(w: NestWriter, sizes: Grid, n: int, begin: Expr, default: Expr) -> tuple[Number, Expr]:
    """The greatest of sizes[begin:n], or 0, and where it is first; `default` where NaN or nothing is there.
    The sizes between the last multiple of the writer's `align` and begin are negative."""
    greatest, first = w.total(sizes.array.dtype), w.register(number(n, int32))
    for i in w.folding(n, begin=begin):
        w.increase(greatest, (), sizes[i], "maximum")
    size = w.held(greatest)
    for i in w.folding(n, begin=begin):
        w.increase(first, (), where(sizes[i].equals(size), counted(i, int32), n), "minimum")
    found = w.held(first)
    return size, w.whole(where(found < number(n, int32), found, counted(default, int32)), 0, n - 1)


def exchange(w: NestWriter, grid: Grid, one: tuple[Expr, ...], other: tuple[Expr, ...]) -> None:
    x, y = w.let(grid[one]), w.let(grid[other])
    w.set(grid, one, y)
    w.set(grid, other, x)
