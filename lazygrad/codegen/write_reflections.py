"""Nests of Householder reflections I - tau v v^T, over the columns of a matrix, which lie as rows in memory:
the QR factorization, and products of reflections."""

from __future__ import annotations

from collections.abc import Sequence

from lazygrad.codegen.nest_writer import Grid, Matrices, NestWriter, Number, guarded, number, where
from lazygrad.expr import Expr, Guard
from lazygrad.graph import Node
from lazygrad.helpers import ceil_div

TOGETHER = 4  # columns that are reflected at once
_FAR = 1 << 40


def from_(i: Expr, first: Expr) -> tuple[Guard, ...]:
    """i >= first."""
    return (Guard(i - first, 0, _FAR),)


def reflect_into(w: NestWriter, source: Grid, v: Grid, length: int, first: Expr) -> tuple[Number, Number]:
    """The reflection that turns the part of `source` from `first` on into (beta, 0, ...): writes v, which is
    1 at `first` and 0 before, and returns (tau, beta). tau is 0 where there is nothing to do."""
    kind = source.array.dtype
    zero = number(0.0, kind)
    greatest, squares = w.total(kind), w.total(kind)
    for i in w.folding(length, begin=first + 1):
        w.increase(greatest, (), guarded(from_(i, first + 1), abs(source[i]), zero), "maximum")
    alpha = w.let(source.where((Guard(first, 0, length),), first))
    size = w.held(greatest)
    w.increase(greatest, (), abs(alpha), "maximum")
    scale = w.held(greatest)  # so that squares neither overflow nor vanish
    unit = w.let(where(scale.equals(0.0), number(1.0, kind), scale))
    for i in w.folding(length, begin=first):
        part = guarded(from_(i, first), source[i] / unit, zero)
        w.increase(squares, (), part * part)
    norm = w.let(scale * w.held(squares).sqrt())
    done = w.let(size.equals(0.0))
    beta = w.let(where(done, alpha, where(alpha < 0.0, norm, -norm)))
    tau = w.let(where(done, zero, (beta - alpha) / where(done, number(1.0, kind), beta)))
    divisor = w.let(where(done, number(1.0, kind), alpha - beta))
    for i in w.free(length, begin=first):
        inside = guarded(from_(i, first + 1), source[i] / divisor, zero)
        w.set(v, i, guarded((Guard(i - first, 0, 1),), number(1.0, kind), inside))
    return tau, beta


def apply_reflection(w: NestWriter, lines: Grid, v: Grid, tau: Number, length: int, first: Expr, blocks: int,
                     begin: Expr) -> None:
    """line -= tau (v . line) v for the lines from `begin` on; v is 0 before `first`."""
    kind = v.array.dtype
    for block in w.serial(blocks, begin=begin // TOGETHER):
        rows = [block * TOGETHER + r for r in range(TOGETHER)]
        totals = [w.total(kind) for _ in rows]
        for i in w.folding(length, begin=first):
            for j, total in zip(rows, totals, strict=True):
                w.increase(total, (), lines[j, i] * v[i])
        factors = [w.let(guarded(from_(j, begin), -tau * w.held(total), number(0.0, kind)))
                   for j, total in zip(rows, totals, strict=True)]
        for i in w.free(length, begin=first):
            for j, factor in zip(rows, factors, strict=True):
                w.increase(lines, (j, i), factor * v[i])


def lines_of(w: NestWriter, name: str, a: Grid, m: int, n: int, kind) -> Grid:
    """The columns of an m by n matrix as rows in memory, with zeros behind and below."""
    length, count = w.padded(m), ceil_div(n, TOGETHER) * TOGETHER
    lines = w.grid(name, kind, count, length)
    for j in w.serial(count):
        for i in w.free(length):
            w.set(lines, (j, i), a.where((Guard(i, 0, m), Guard(j, 0, n)), i, j).cast(kind))
    return lines


def write_reflected(w: NestWriter, node: Node, inputs: Sequence[Matrices], out: Matrices) -> None:
    """QR: column after column becomes (beta, 0, ...), its reflection is applied to all columns behind."""
    m, n = node.inputs[0].shape[-2:]
    kind, length, blocks = node.dtype.accumulator, w.padded(m), ceil_div(n, TOGETHER)
    for b in w.examples(out.count):
        result = out.at(b)
        lines, v = lines_of(w, "lines", inputs[0].at(b), m, n, kind), w.grid("v", kind, length)
        for j in w.free(n):
            w.set(result, (m, j), number(0.0, kind))
        for k in w.serial(min(m, n)):
            tau, beta = reflect_into(w, lines.row(k), v, length, k)
            w.set(result, (m, k), tau)
            apply_reflection(w, lines, v, tau, length, k, blocks, k + 1)
            for i in w.free(length, begin=k):
                kept = guarded(from_(i, k + 1), v[i], lines[k, i])
                w.set(lines, (k, i), guarded((Guard(i - k, 0, 1),), beta, kept))
        for i in w.serial(m):
            for j in w.free(n):
                w.set(result, (i, j), lines[j, i])


def write_product(w: NestWriter, node: Node, inputs: Sequence[Matrices], out: Matrices) -> None:
    """The first columns of the identity, reflected by one v after the other, the last one first."""
    m, n = node.shape[-2:]
    kind, length, blocks = node.dtype.accumulator, w.padded(m), ceil_div(n, TOGETHER)
    for b in w.examples(out.count):
        packed, result = inputs[0].at(b), out.at(b)
        lines, v = w.grid("lines", kind, blocks * TOGETHER, length), w.grid("v", kind, length)
        unit_lines(w, lines, blocks * TOGETHER, length)
        for back in w.serial(n):
            k = -back + (n - 1)
            for i in w.free(length, begin=k):
                inside = packed.where((*from_(i, k + 1), Guard(i, 0, m)), i, k).cast(kind)
                w.set(v, i, guarded((Guard(i - k, 0, 1),), number(1.0, kind), inside))
            apply_reflection(w, lines, v, w.let(packed[m, k].cast(kind)), length, k, blocks, k)
        for i in w.serial(m):
            for j in w.free(n):
                w.set(result, (i, j), lines[j, i])


def unit_lines(w: NestWriter, lines: Grid, count: int, length: int) -> None:
    """Ones on the diagonal, zeros elsewhere."""
    kind = lines.array.dtype
    for j in w.serial(count):
        for i in w.free(length):
            w.set(lines, (j, i), guarded((Guard(i - j, 0, 1),), number(1.0, kind), number(0.0, kind)))
