"""Nests of triangular matrices: Cholesky's factor, and solving."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import nan

from lazygrad.codegen.nest_writer import Grid, Matrices, NestWriter, Number, guarded, number, where
from lazygrad.expr import Expr, Guard
from lazygrad.graph import Node
from lazygrad.helpers import ceil_div

TOGETHER = 4  # rows that are summed at once: what they share is read once
FEW = 8  # right-hand sides, below which each is worked on alone


def write_cholesky(w: NestWriter, node: Node, inputs: Sequence[Matrices], out: Matrices) -> None:
    """Column by column: l[i, j] = (a[i, j] - l[i, :j] . l[j, :j]) / l[j, j]."""
    n, kind = node.shape[-1], node.dtype.accumulator
    width, blocks = w.padded(n), ceil_div(n, TOGETHER)
    for b in w.examples(out.count):
        a, result = inputs[0].at(b), out.at(b)
        lower = w.grid("lower", kind, blocks * TOGETHER, width)
        for i in w.free(blocks * TOGETHER * width):
            w.set(lower.flat, i, number(0.0, kind))
        for j in w.serial(n):
            # right of column j there are zeros still, in its row and in those below
            square = w.total(kind)
            for t in w.folding(width, end=j):
                w.increase(square, (), lower[j, t] * lower[j, t])
            pivot = w.let(a[j, j].cast(kind) - w.held(square))
            root = w.let(where(number(0.0, kind) < pivot, pivot.sqrt(), nan))
            for block in w.serial(blocks, begin=j // TOGETHER):
                rows = [block * TOGETHER + r for r in range(TOGETHER)]
                totals = [w.total(kind) for _ in rows]
                for t in w.folding(width, end=j):
                    for i, total in zip(rows, totals, strict=True):
                        w.increase(total, (), lower[i, t] * lower[j, t])
                for i, total in zip(rows, totals, strict=True):
                    there = a.where((Guard(i, 0, n),), i, j).cast(kind)
                    w.set(lower, (i, j), (there - w.held(total)) / root)
            w.set(lower, (j, j), root)
        for i in w.serial(n):
            for j in w.free(n):
                zero = number(0.0, kind)
                w.set(result, (i, j), guarded((Guard(i - j, 0, n),), lower[i, j], zero))


def write_solve(w: NestWriter, node: Node, inputs: Sequence[Matrices], out: Matrices) -> None:
    """Row by row: x[i] = (b[i] - a[i, known] . x[known]) / a[i, i], from the row that knows all it needs."""
    write = _solve_many if node.shape[-1] >= FEW else _solve_few
    write(w, node, inputs, out)


def _rows(w: NestWriter, n: int, upper: bool) -> Iterator[Expr]:
    return (i if not upper else -i + (n - 1) for i in w.serial(n))


def _known(i: Expr, upper: bool) -> dict[str, Expr]:
    return {"begin": i + 1} if upper else {"end": i}


def _quotient(total: Number, a: Grid, i: Expr, unit: bool) -> Number:
    return total if unit else total / a[i, i].cast(total.dtype)


def _solve_many(w: NestWriter, node: Node, inputs: Sequence[Matrices], out: Matrices) -> None:
    """Each column of the right-hand side for itself; neighbours go side by side in lanes."""
    n, columns = node.shape[-2:]
    (upper, unit), kind = node.arg, node.dtype.accumulator
    for b in w.examples(out.count):
        a, right, x = inputs[0].at(b), inputs[1].at(b), out.at(b)
        for c in w.examples(columns):
            for i in _rows(w, n, upper):
                total = w.register(right[i, c].cast(kind))
                for t in w.serial(n, **_known(i, upper)):
                    w.increase(total, (), -a[i, t].cast(kind) * x[t, c].cast(kind))
                w.set(x, (i, c), _quotient(total[()], a, i, unit))


def _solve_few(w: NestWriter, node: Node, inputs: Sequence[Matrices], out: Matrices) -> None:
    """One column after the other; the sum along a row of a goes in lanes."""
    n, columns = node.shape[-2:]
    (upper, unit), kind = node.arg, node.dtype.accumulator
    for b in w.examples(out.count):
        a, right, x = inputs[0].at(b), inputs[1].at(b), out.at(b)
        solved = w.grid("solved", kind, w.padded(n))
        for c in w.serial(columns):
            for i in w.free(w.padded(n)):
                w.set(solved, i, number(0.0, kind))
            for i in _rows(w, n, upper):
                known = w.total(kind)
                for t in w.folding(w.padded(n), **_known(i, upper)):
                    inside = Guard(t - i if upper else i - t, 1, n)
                    w.increase(known, (), a.where((inside, Guard(t, 0, n)), i, t).cast(kind) * solved[t])
                value = w.let(_quotient(right[i, c].cast(kind) - w.held(known), a, i, unit))
                w.set(solved, i, value)
                w.set(x, (i, c), value)
