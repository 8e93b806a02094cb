"""The nest of the exponential of a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from lazygrad import dtypes
from lazygrad.codegen.nest_writer import Grid, Matrices, NestWriter, counted, guarded, number, where
from lazygrad.dtypes import int32
from lazygrad.expr import Guard
from lazygrad.graph import Node
from lazygrad.helpers import ceil_div

TOGETHER = 4  # rows of a product that are computed at once
TERMS = {dtypes.float32: 9, dtypes.float64: 15}  # what is left of the series, of norms up to 1/2
MOST_SQUARINGS = {dtypes.float32: 130, dtypes.float64: 1030}


def write_exponential(w: NestWriter, node: Node, inputs: Sequence[Matrices], out: Matrices) -> None:
    """The series of x / 2^s, by Horner's scheme, then squared s times."""
    n, kind = node.shape[-1], node.dtype.accumulator
    width, blocks = w.padded(n), ceil_div(n, TOGETHER)
    rows = blocks * TOGETHER
    for b in w.examples(out.count):
        a, result = inputs[0].at(b), out.at(b)
        x, now, then = (w.grid(name, kind, rows, width) for name in ("x", "now", "then"))
        for i in w.serial(rows):
            for j in w.free(width):
                w.set(x, (i, j), a.where((Guard(i, 0, n), Guard(j, 0, n)), i, j).cast(kind))
        norm = w.total(kind)
        for i in w.serial(n):
            size = w.total(kind)
            for j in w.folding(width):
                w.increase(size, (), abs(x[i, j]))
            found = w.held(size)
            w.set(norm, (), where(found <= norm[()], norm[()], found))  # NaN stays
        scale, squarings = w.register(number(1.0, kind)), w.register(number(0, int32))
        for _ in w.serial(MOST_SQUARINGS[kind]):
            scaled = w.let(norm[()] * scale[()])
            with w.when((number(0.5, kind) < scaled) & (scaled < inf)):
                w.set(scale, (), scale[()] * 0.5)
                w.set(squarings, (), squarings[()] + 1)
        factor = w.held(scale)
        for i in w.serial(rows):
            for j in w.free(width):
                w.set(x, (i, j), x[i, j] * factor)
                w.set(now, (i, j), guarded((Guard(i - j, 0, 1),), number(1.0, kind), number(0.0, kind)))
        for back in w.serial(TERMS[kind]):
            # now = 1 + x now / k
            k = -back + TERMS[kind]
            _multiply(w, x, now, then, n, blocks, width)
            inverse = w.let(number(1.0, kind) / counted(k, kind))
            for i in w.serial(rows):
                for j in w.free(width):
                    one = guarded((Guard(i - j, 0, 1),), number(1.0, kind), number(0.0, kind))
                    w.set(now, (i, j), one + then[i, j] * inverse)
        times = w.whole(w.held(squarings), 0, MOST_SQUARINGS[kind])
        for _ in w.serial(MOST_SQUARINGS[kind], end=times):
            _multiply(w, now, now, then, n, blocks, width)
            for i in w.serial(rows):
                for j in w.free(width):
                    w.set(now, (i, j), then[i, j])
        for i in w.serial(n):
            for j in w.free(n):
                w.set(result, (i, j), now[i, j])


def _multiply(w: NestWriter, x: Grid, y: Grid, out: Grid, n: int, blocks: int, width: int) -> None:
    """out = x y"""
    kind = out.array.dtype
    for block in w.serial(blocks):
        rows = [block * TOGETHER + r for r in range(TOGETHER)]
        for j in w.free(width):
            for i in rows:
                w.set(out, (i, j), number(0.0, kind))
        for t in w.serial(n):
            factors = [w.let(x[i, t]) for i in rows]
            for j in w.free(width):
                for i, factor in zip(rows, factors, strict=True):
                    w.increase(out, (i, j), factor * y[t, j])
