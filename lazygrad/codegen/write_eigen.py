"""The nest of the symmetric eigenvalue problem: reflections make the matrix tridiagonal, rotations diagonal.

The rotations are those of the implicit QL method (Golub and Van Loan, "Matrix Computations", 8.3). Vectors
lie as rows in memory, so that a rotation of two of them goes along it.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import nan

from lazygrad import dtypes
from lazygrad.codegen.nest_writer import Grid, Matrices, NestWriter, Number, counted, guarded, number, where
from lazygrad.codegen.write_reflections import TOGETHER, apply_reflection, from_, reflect_into, unit_lines
from lazygrad.dtypes import DType, int32
from lazygrad.expr import Expr, Guard
from lazygrad.graph import Node
from lazygrad.helpers import ceil_div

STEPS = 30  # for one eigenvalue; two are enough as a rule


def epsilon(kind: DType) -> float:
    """The distance from 1 to the next number."""
    return 2.0 ** -52 if kind is dtypes.float64 else 2.0 ** -23


def rotate(w: NestWriter, lines: Grid, i: Expr, j: Expr, c: Number, s: Number, length: int) -> None:
    """(x_i, x_j) = (c x_i + s x_j, c x_j - s x_i)"""
    for t in w.free(length):
        x, y = w.let(lines[i, t]), w.let(lines[j, t])
        w.set(lines, (i, t), c * x + s * y)
        w.set(lines, (j, t), c * y - s * x)


def hypotenuse(w: NestWriter, x: Number, y: Number) -> Number:
    """sqrt(x*x + y*y), without overflow."""
    a, b = w.let(abs(x)), w.let(abs(y))
    high = w.let(where(a < b, b, a))
    low = where(a < b, a, b)
    ratio = w.let(low / where(high.equals(0.0), number(1.0, high.dtype), high))
    return w.let(high * (ratio * ratio + 1.0).sqrt())


def is_finite(w: NestWriter, a: Grid, rows: int, columns: int, kind: DType) -> Number:
    """Whether a matrix holds neither NaN nor infinity."""
    total = w.total(kind)
    for i in w.serial(rows):
        for j in w.folding(columns):
            x = a.where((Guard(j, 0, columns),), i, j).cast(kind)
            w.increase(total, (), x - x)
    return w.held(total).equals(0.0)


def ranks(w: NestWriter, values: Grid, j: Expr, n: int, descending: bool = False) -> Expr:
    """The place of values[j] in their order; NaN last, of equals the first one first."""
    before, mine = w.register(number(0, int32)), w.let(values[j])
    for t in w.folding(n):
        other = values[t]
        less = mine < other if descending else other < mine
        less = less | (other.equals(other) & ~mine.equals(mine))
        more = other < mine if descending else mine < other
        more = more | (mine.equals(mine) & ~other.equals(other))
        first = ~(less | more) & (counted(t, int32) < counted(j, int32))
        w.increase(before, (), (less | first).cast(int32))
    return w.whole(w.held(before), 0, n - 1)


def mirrored(w: NestWriter, a: Grid, n: int, rows: int, kind: DType) -> Grid:
    """The symmetric matrix whose lower half a has, with zeros behind and below."""
    length = w.padded(n)
    full = w.grid("full", kind, rows, length)
    for i in w.serial(rows):
        for j in w.free(length):
            inside = (Guard(i, 0, n), Guard(j, 0, n))
            lower = a.where((Guard(i - j, 0, n), *inside), i, j).cast(kind)
            upper = a.where((Guard(j - i, 1, n), *inside), j, i).cast(kind)
            w.set(full, (i, j), guarded((Guard(i - j, 0, n),), lower, upper))
    return full


def write_eigh(w: NestWriter, node: Node, inputs: Sequence[Matrices], out: Matrices) -> None:
    """Of a symmetric matrix, whose lower half is read."""
    n, kind = node.shape[-1], node.dtype.accumulator
    length, blocks = w.padded(n), ceil_div(n, TOGETHER)
    vectors = node.arg
    for b in w.examples(out.count):
        a, result = inputs[0].at(b), out.at(b)
        full = mirrored(w, a, n, n, kind)
        diagonal, beside = w.grid("diagonal", kind, length), w.grid("beside", kind, length)
        reflections, taus = w.grid("reflections", kind, n, length), w.grid("taus", kind, length)
        finite = is_finite(w, full, n, length, kind)
        _tridiagonal(w, full, diagonal, beside, reflections, taus, n)
        lines = full  # no longer needed: it becomes the vectors
        if vectors:
            lines = w.grid("vectors", kind, blocks * TOGETHER, length)
            unit_lines(w, lines, blocks * TOGETHER, length)
            for back in w.serial(max(n - 2, 0)):
                k = -back + (n - 3)
                apply_reflection(w, lines, reflections.row(k), w.let(taus[k]), length, k + 1, blocks, k + 1)
        with w.when(finite):
            _diagonal(w, diagonal, beside, lines if vectors else None, n, length)
        for j in w.free(n):
            w.set(diagonal, j, where(finite, diagonal[j], nan))
        for j in w.serial(n):
            place = ranks(w, diagonal, j, n)
            w.set(result, (node.shape[-2] - 1, place), diagonal[j])
            if vectors:
                for i in w.free(n):
                    w.set(result, (i, place), where(finite, lines[j, i], nan))


def _tridiagonal(w: NestWriter, a: Grid, diagonal: Grid, beside: Grid, reflections: Grid, taus: Grid,
                 n: int) -> None:
    """a = Q T Q^T: from both sides, reflections that leave the rows before as they are."""
    kind, length = diagonal.array.dtype, w.padded(n)
    product = w.grid("product", kind, length)
    for i in w.free(length):
        w.set(product, i, number(0.0, kind))
    for k in w.serial(max(n - 2, 0)):
        v = reflections.row(k)
        for i in w.free(length):
            w.set(v, i, number(0.0, kind))
        tau, beta = reflect_into(w, a.row(k), v, length, k + 1)
        w.set(diagonal, k, a[k, k])
        w.set(beside, k, beta)
        w.set(taus, k, tau)
        # p = tau a v; what is taken from a is v q^T + q v^T with q = p - (tau / 2) (p . v) v
        for i in w.serial(n, begin=k + 1):
            total = w.total(kind)
            for t in w.folding(length, begin=k + 1):
                w.increase(total, (), a[i, t] * v[t])
            w.set(product, i, w.held(total) * tau)
        overlap = w.total(kind)
        for t in w.folding(length, begin=k + 1):
            w.increase(overlap, (), guarded(from_(t, k + 1), product[t], number(0.0, kind)) * v[t])
        half = w.let(-w.held(overlap) * tau * 0.5)
        for t in w.free(length, begin=k + 1):
            q = guarded(from_(t, k + 1), product[t] + half * v[t], number(0.0, kind))
            w.set(product, t, q)
        for i in w.serial(n, begin=k + 1):
            one, other = w.let(-v[i]), w.let(-product[i])
            for t in w.free(length, begin=k + 1):
                w.increase(a, (i, t), one * product[t])
                w.increase(a, (i, t), other * v[t])
    for k in w.serial(n, begin=max(n - 2, 0)):
        w.set(diagonal, k, a[k, k])
        w.set(beside, k, a.where((Guard(k, 0, n - 1),), k, k + 1))


def _diagonal(w: NestWriter, d: Grid, e: Grid, lines: Grid | None, n: int, length: int) -> None:
    """QL steps for each eigenvalue, until nothing of size stands beside it."""
    kind = d.array.dtype
    for left in w.serial(n - 1):
        open_ = w.register(number(1, int32))
        for _ in w.serial(STEPS + 1):
            with w.when(w.held(open_).equals(1)):
                found = w.register(number(n - 1, int32))
                for t in w.folding(n - 1, begin=left):
                    small = abs(e[t]) <= (abs(d[t]) + abs(d[t + 1])) * epsilon(kind)
                    end = number(n - 1, int32)
                    here = guarded(from_(t, left), where(small, counted(t, int32), end), end)
                    w.increase(found, (), here, "minimum")
                last = w.whole(w.held(found), 0, n - 1)
                w.set(open_, (), where(counted(last).equals(counted(left)), number(0, int32), 1))
                with w.when(w.held(open_).equals(1)):
                    _step(w, d, e, lines, left, last, n, length)
        with w.when(w.held(open_).equals(1)):
            w.set(d, left, number(nan, kind))


def _step(w: NestWriter, d: Grid, e: Grid, lines: Grid | None, left: Expr, last: Expr, n: int,
          length: int) -> None:
    """One implicit QL step of the block [left, last]."""
    kind = d.array.dtype
    zero, one = number(0.0, kind), number(1.0, kind)
    e_left = w.let(e[left])
    shift = w.let((d[left + 1] - d[left]) / (e_left * 2.0))
    root = hypotenuse(w, shift, one)
    start = d[last] - d[left] + e_left / (shift + where(shift < 0.0, -root, root))
    g, s, c, p = w.register(w.let(start)), w.register(one), w.register(one), w.total(kind)
    going = w.register(number(1, int32))
    for back in w.serial(n - 1, end=last - left):
        i = last - back - 1
        with w.when(w.held(going).equals(1)):
            f, b = w.let(w.held(s) * e[i]), w.let(w.held(c) * e[i])
            radius = hypotenuse(w, f, w.held(g))
            w.set(e, i + 1, radius)
            vanished = w.let(radius.equals(0.0))
            safe = where(vanished, one, radius)
            sine, cosine = w.let(f / safe), w.let(w.held(g) / safe)
            behind = w.let(d[i + 1] - w.held(p))
            r = w.let((d[i] - behind) * sine + cosine * b * 2.0)
            step = w.let(where(vanished, zero, sine * r))
            w.set(d, i + 1, behind + step)
            w.set(s, (), sine)
            w.set(c, (), cosine)
            w.set(p, (), step)
            w.set(g, (), cosine * r - b)
            w.set(going, (), where(vanished, number(0, int32), 1))
            if lines is not None:
                with w.when(~vanished):
                    rotate(w, lines, i + 1, i, cosine, sine, length)
    with w.when(w.held(going).equals(1)):
        w.set(d, left, d[left] - w.held(p))
        w.set(e, left, w.held(g))
    w.set(e, last, zero)
