"""The nest of the singular value decomposition of square matrices: reflections from both sides leave two
diagonals, rotations one.

The rotations are those of Golub and Kahan's method, its cases as LINPACK's dsvdc tells them apart. What is
rotated lies as rows in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

from lazygrad.codegen.nest_writer import Grid, Matrices, NestWriter, Number, counted, guarded, number, where
from lazygrad.codegen.write_eigen import STEPS, epsilon, hypotenuse, is_finite, ranks, rotate
from lazygrad.codegen.write_reflections import (
    TOGETHER,
    apply_reflection,
    from_,
    lines_of,
    reflect_into,
    unit_lines,
)
from lazygrad.dtypes import DType, int32
from lazygrad.expr import Expr, Guard
from lazygrad.graph import Node
from lazygrad.helpers import ceil_div


@dataclass(frozen=True)
class _Work:
    """What the decomposition of one matrix works on: the diagonal d, what stands right of it, e, and the
    vectors of both sides as rows, None where nobody asked for them."""

    d: Grid
    e: Grid
    left: Grid | None
    right: Grid | None
    n: int
    length: int

    @property
    def kind(self) -> DType:
        return self.d.array.dtype


def write_svd(w: NestWriter, node: Node, inputs: Sequence[Matrices], out: Matrices) -> None:
    """Of a square matrix."""
    n, kind, vectors = node.shape[-1], node.dtype.accumulator, node.arg
    length, blocks = w.padded(n), ceil_div(n, TOGETHER)
    for b in w.examples(out.count):
        result = out.at(b)
        lines = lines_of(w, "lines", inputs[0].at(b), n, n, kind)
        d, e = w.grid("d", kind, length), w.grid("e", kind, length)
        lefts, rights = (w.grid(name, kind, n, length) for name in ("lefts", "rights"))
        taus = w.grid("taus", kind, 2, length)
        finite = is_finite(w, lines, n, length, kind)
        _bidiagonal(w, lines, d, e, lefts, rights, taus, n)
        sides: list[Grid | None] = [None, None]
        if vectors:
            for side, (reflections, behind) in enumerate(((lefts, 0), (rights, 1))):
                made = w.grid("side", kind, blocks * TOGETHER, length)
                unit_lines(w, made, blocks * TOGETHER, length)
                for back in w.serial(max(n - 2 * behind, 0)):
                    k = -back + (n - 1 - 2 * behind)
                    tau, first = w.let(taus[side, k]), k + behind
                    apply_reflection(w, made, reflections.row(k), tau, length, first, blocks, first)
                sides[side] = made
        work = _Work(d, e, sides[0], sides[1], n, length)
        with w.when(finite):
            _diagonal(w, work)
        for j in w.free(n):
            w.set(d, j, where(finite, d[j], nan))
        for j in w.serial(n):
            place = ranks(w, d, j, n, descending=True)
            w.set(result, (node.shape[-2] - 1, place), d[j])
            for at, side_lines in enumerate(sides):
                if side_lines is not None:
                    for i in w.free(n):
                        w.set(result, (i + at * n, place), where(finite, side_lines[j, i], nan))


def _bidiagonal(w: NestWriter, lines: Grid, d: Grid, e: Grid, lefts: Grid, rights: Grid, taus: Grid,
                n: int) -> None:
    """lines (the columns) = U B V^T: a reflection from the left makes a column, one from the right a row."""
    kind, length, blocks = d.array.dtype, w.padded(n), ceil_div(n, TOGETHER)
    zero = number(0.0, kind)
    across, sums = w.grid("across", kind, length), w.grid("sums", kind, length)
    for i in w.free(length):
        w.set(across, i, zero)
        w.set(e, i, zero)
    for k in w.serial(n):
        for side in (lefts, rights):
            for i in w.free(length):
                w.set(side, (k, i), zero)
        tau, beta = reflect_into(w, lines.row(k), lefts.row(k), length, k)
        w.set(d, k, beta)
        w.set(taus, (0, k), tau)
        apply_reflection(w, lines, lefts.row(k), tau, length, k, blocks, k + 1)
        with w.inside(Guard(k, 0, n - 2)):
            for j in w.serial(n, begin=k + 1):
                w.set(across, j, lines[j, k])
            v = rights.row(k)
            tau, beta = reflect_into(w, across, v, length, k + 1)
            w.set(e, k, beta)
            w.set(taus, (1, k), tau)
            for i in w.free(length, begin=k + 1):
                w.set(sums, i, zero)
            for j in w.serial(n, begin=k + 1):
                factor = w.let(v[j])
                for i in w.free(length, begin=k + 1):
                    w.increase(sums, i, factor * lines[j, i])
            for j in w.serial(n, begin=k + 1):
                factor = w.let(-tau * v[j])
                for i in w.free(length, begin=k + 1):
                    w.increase(lines, (j, i), factor * sums[i])
        with w.inside(Guard(k, n - 2, n - 1)):
            w.set(e, k, lines.where((Guard(k, 0, n - 1),), k + 1, k))


def _diagonal(w: NestWriter, work: _Work) -> None:
    """Steps on the block that ends before `end`, until it has one element; then on the block before it."""
    d, e, n, kind = work.d, work.e, work.n, work.kind
    zero, one = number(0, int32), number(1, int32)
    end = w.register(number(n, int32))
    for _ in w.serial(STEPS * n):
        with w.when(zero < w.held(end)):
            size = w.whole(w.held(end), 1, n)
            # the last place before which nothing of size stands beside the diagonal
            begin, none = w.register(zero), w.register(zero)
            for t in w.folding(n - 1):
                inside = (Guard(size - t, 2, n + 1),)
                beside = abs(e[t]) <= (abs(d[t]) + abs(d[t + 1])) * epsilon(kind)
                here = guarded(inside, where(beside, counted(t + 1, int32), 0), zero)
                w.increase(begin, (), here, "maximum")
            first = w.whole(w.held(begin), 0, n - 1)
            with w.inside(Guard(first, 1, n)):
                w.set(e, first - 1, number(0.0, kind))
            # the last that is nothing on the diagonal, as its place + 1
            for t in w.folding(n):
                within = (*from_(t, first), Guard(size - t, 1, n + 1))
                beside = abs(e[t]) + abs(e.where((Guard(t, 1, n),), t - 1))
                nothing = abs(d[t]) <= beside * epsilon(kind)
                here = guarded(within, where(nothing, counted(t + 1, int32), 0), zero)
                w.increase(none, (), here, "maximum")
            empty, last = w.whole(w.held(none), 0, n), size - 1
            alone = w.let(counted(first).equals(counted(last)))
            with w.when(alone):
                _converged(w, work, first)
                w.set(end, (), w.held(end) - one)
            with w.when(~alone):
                with w.inside(Guard(empty, 0, 1)):
                    _step(w, work, first, last)
                with w.inside(Guard(empty, 1, n + 1)):
                    at_end = w.let(counted(empty).equals(counted(size)))
                    with w.when(at_end):
                        _deflate_last(w, work, first, last)
                    with w.when(~at_end):
                        _split(w, work, empty - 1, last)
    with w.when(zero < w.held(end)):
        w.set(d, 0, number(nan, kind))


def _rotation(w: NestWriter, f: Number, g: Number) -> tuple[Number, Number, Number]:
    """(r, c, s) with c f + s g = r and c g - s f = 0."""
    radius, zero = hypotenuse(w, f, g), number(0.0, f.dtype)
    nothing = w.let(radius.equals(0.0))
    safe = w.let(where(nothing, number(1.0, f.dtype), radius))
    cosine = w.let(where(nothing, number(1.0, f.dtype), f / safe))
    return radius, cosine, w.let(where(nothing, zero, g / safe))


def _turn(w: NestWriter, lines: Grid | None, i: Expr, j: Expr, c: Number, s: Number, length: int) -> None:
    if lines is not None:
        rotate(w, lines, i, j, c, s, length)


def _converged(w: NestWriter, work: _Work, k: Expr) -> None:
    """A singular value is not negative: else its right vector changes its sign."""
    value = w.let(work.d[k])
    with w.when(value < 0.0):
        w.set(work.d, k, -value)
        if work.right is not None:
            for t in w.free(work.length):
                w.set(work.right, (k, t), -work.right[k, t])


def _deflate_last(w: NestWriter, work: _Work, first: Expr, last: Expr) -> None:
    """d[last] is nothing: what stands above it is turned away, to the left."""
    d, e, kind = work.d, work.e, work.kind
    f = w.register(w.let(e[last - 1]))
    w.set(d, last, number(0.0, kind))
    w.set(e, last - 1, number(0.0, kind))
    for back in w.serial(work.n - 1, end=last - first):
        j = last - back - 1
        r, c, s = _rotation(w, w.let(d[j]), w.held(f))
        w.set(d, j, r)
        with w.inside(Guard(j - first, 1, work.n)):
            before = w.let(e[j - 1])
            w.set(f, (), -s * before)
            w.set(e, j - 1, c * before)
        _turn(w, work.right, j, last, c, s, work.length)


def _split(w: NestWriter, work: _Work, zero_at: Expr, last: Expr) -> None:
    """d[zero_at] is nothing: what stands right of it is turned away, downwards."""
    d, e, kind = work.d, work.e, work.kind
    f = w.register(w.let(e[zero_at]))
    w.set(d, zero_at, number(0.0, kind))
    w.set(e, zero_at, number(0.0, kind))
    for j in w.serial(work.n, begin=zero_at + 1, end=last + 1):
        r, c, s = _rotation(w, w.let(d[j]), w.held(f))
        w.set(d, j, r)
        beside = w.let(e[j])
        w.set(f, (), -s * beside)
        w.set(e, j, c * beside)
        _turn(w, work.left, j, zero_at, c, s, work.length)


def _shift(w: NestWriter, work: _Work, first: Expr, last: Expr) -> tuple[Number, Number]:
    """What the first rotation of a step turns away, by the lower end of the block."""
    d, e, kind = work.d, work.e, work.kind
    ends = [w.let(x) for x in (d[last], d[last - 1], e[last - 1], d[first], e[first])]
    scale = abs(ends[0])
    for x in ends[1:]:
        scale = w.let(where(scale < abs(x), abs(x), scale))
    low, before, beside, high, next_ = (w.let(x / scale) for x in ends)
    half = w.let(((before + low) * (before - low) + beside * beside) * 0.5)
    square = w.let((low * beside) * (low * beside))
    root = w.let((half * half + square).sqrt())
    both = w.let(half + where(half < 0.0, -root, root))
    zero = number(0.0, kind)
    shift = where(both.equals(0.0), zero, square / where(both.equals(0.0), number(1.0, kind), both))
    return w.let((high + low) * (high - low) + shift), w.let(high * next_)


def _step(w: NestWriter, work: _Work, first: Expr, last: Expr) -> None:
    """One implicit QR step of the block [first, last]."""
    d, e = work.d, work.e
    f, g = (w.register(x) for x in _shift(w, work, first, last))
    for j in w.serial(work.n - 1, begin=first, end=last):
        r, c, s = _rotation(w, w.held(f), w.held(g))
        with w.inside(Guard(j - first, 1, work.n)):
            w.set(e, j - 1, r)
        here, beside, below = w.let(d[j]), w.let(e[j]), w.let(d[j + 1])
        f_next, beside = w.let(c * here + s * beside), w.let(c * beside - s * here)
        g_next, below = w.let(s * below), w.let(c * below)
        _turn(w, work.right, j, j + 1, c, s, work.length)
        r, c, s = _rotation(w, f_next, g_next)
        w.set(d, j, r)
        w.set(f, (), c * beside + s * below)
        w.set(d, j + 1, c * below - s * beside)
        # a step ends inside of the block: what stands right of its end is 0
        after = w.let(e[j + 1])
        w.set(g, (), s * after)
        w.set(e, j + 1, c * after)
        _turn(w, work.left, j, j + 1, c, s, work.length)
    w.set(e, last - 1, w.held(f))
