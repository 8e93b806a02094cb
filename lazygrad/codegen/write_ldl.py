"""Nests of symmetric matrices that need not be positive: Bunch and Kaufman's factorization, and solving."""

from __future__ import annotations

from collections.abc import Sequence

from lazygrad.codegen.nest_writer import Grid, Matrices, NestWriter, Number, counted, guarded, number, where
from lazygrad.codegen.write_eigen import mirrored
from lazygrad.codegen.write_elimination import TOGETHER, exchange, first_greatest
from lazygrad.codegen.write_reflections import from_
from lazygrad.dtypes import int32
from lazygrad.expr import Expr, Guard
from lazygrad.graph import Node
from lazygrad.helpers import ceil_div
from lazygrad.ops.linear_algebra import LEAST_SHARE


def write_ldl(w: NestWriter, node: Node, inputs: Sequence[Matrices], out: Matrices) -> None:
    """Bunch and Kaufman's method. The rest of the matrix is kept in both halves, so that a column can be read
    as a row, which runs in lanes; L's columns stand as rows, too, until the end, when they go to the lower
    half. `inside_pair`: the row was taken together with the one before it."""
    n = node.shape[-2]
    kind, blocks, width = node.dtype.accumulator, ceil_div(n, TOGETHER), w.padded(n)
    for b in w.examples(out.count):
        result = out.at(b)
        full = mirrored(w, inputs[0].at(b), n, blocks * TOGETHER, kind)
        sizes, rows = w.grid("sizes", kind, width), w.grid("rows", kind, 2, width)
        factors = w.grid("factors", kind, 2, width)
        inside_pair = w.register(number(0, int32))
        for k in w.serial(n):
            passed = w.held(inside_pair)
            w.set(inside_pair, (), number(0, int32))
            with w.when(passed.equals(0)):
                pair, place, regular = _pivot(w, full, sizes, k, n)
                w.set(inside_pair, (), pair.cast(int32))
                last = _last(w, k, pair, n)
                for j in w.free(width):
                    exchange(w, full, (last, j), (place, j))
                for i in w.serial(n, begin=k):
                    exchange(w, full, (i, last), (i, place))
                found = w.let(counted(place + 1, int32))
                w.set(result, (k, n), where(pair, -found, found).cast(kind))
                with w.when(pair):
                    w.set(result, (last, n), (-found).cast(kind))
                    _two_factors(w, full, rows, factors, k, last, width)
                    _eliminate(w, full, rows, factors, (0, 1), last, n)
                with w.when(~pair):
                    _one_factor(w, full, rows, factors, k, regular, width)
                    _eliminate(w, full, rows, factors, (0,), k, n)
        for i in w.serial(n):
            for j in w.free(n):
                lower = full.where((Guard(i - j, 0, n), Guard(j, 0, n)), j, i)
                w.set(result, (i, j), lower)


def _last(w: NestWriter, k: Expr, pair: Number, n: int) -> Expr:
    """The last row of the block that begins with row k."""
    return w.whole(where(pair, counted(k + 1, int32), counted(k, int32)), 0, n - 1)


def _pivot(w: NestWriter, full: Grid, sizes: Grid, k: Expr, n: int) -> tuple[Number, Expr, Number]:
    """Whether rows k and k + 1 are a block, the row to swap with the block's last one, and whether there is
    anything but 0 to divide by."""
    kind = full.array.dtype
    for i in w.free(n, begin=k):
        behind = guarded(from_(i, k + 1), abs(full[k, i]), number(-1.0, kind))
        w.set(sizes, i, guarded((Guard(i, 0, n),), behind, number(-1.0, kind)))
    most, far = first_greatest(w, sizes, n, k, w.whole(_clamped(counted(k + 1, int32), n), 0, n - 1))
    beside = w.total(kind)
    for i in w.folding(n, begin=k):
        other = where(counted(i, int32).equals(counted(far, int32)), number(0.0, kind), abs(full[far, i]))
        w.increase(beside, (), guarded((*from_(i, k), Guard(i, 0, n)), other, number(0.0, kind)), "maximum")
    size, around = w.let(abs(full[k, k])), w.held(beside)
    share = w.let(most * LEAST_SHARE)
    nothing = w.let(most.equals(0.0) & ~(number(0.0, kind) < size))
    stays = w.let(nothing | (share <= size) | (share * (most / around) <= size))
    alone = w.let(stays | (around * LEAST_SHARE <= abs(full[far, far])))
    place = w.whole(where(stays, counted(k, int32), counted(far, int32)), 0, n - 1)
    return w.let(~alone), place, ~nothing


def _clamped(place: Number, n: int) -> Number:
    """A row's number, moved inside [0, n)."""
    return where(place < 0, number(0, place.dtype), where(place < n, place, n - 1))


def _one_factor(w: NestWriter, full: Grid, rows: Grid, factors: Grid, k: Expr, regular: Number,
                width: int) -> None:
    """The row behind the pivot k, divided by it; 0 unless `regular`."""
    zero = number(0.0, full.array.dtype)
    pivot = w.let(full[k, k])
    for j in w.free(width, begin=k):
        row = w.let(guarded(from_(j, k + 1), full[k, j], zero))
        factor = w.let(where(regular, row / pivot, zero))
        w.set(rows, (0, j), row)
        w.set(factors, (0, j), factor)
        w.set(full, (k, j), guarded(from_(j, k + 1), factor, full[k, j]))


def _two_factors(w: NestWriter, full: Grid, rows: Grid, factors: Grid, k: Expr, last: Expr,
                 width: int) -> None:
    """The rows k and `last` behind their block, multiplied by its inverse."""
    zero = number(0.0, full.array.dtype)
    beside = w.let(full[k, last])
    first, second = w.let(full[last, last] / beside), w.let(full[k, k] / beside)
    scale = w.let(number(1.0, full.array.dtype) / (first * second - 1.0) / beside)
    for j in w.free(width, begin=k):
        behind = from_(j, last + 1)
        pair = [w.let(guarded(behind, full[i, j], zero)) for i in (k, last)]
        found = (w.let(scale * (first * pair[0] - pair[1])), w.let(scale * (second * pair[1] - pair[0])))
        for r, (i, row, factor) in enumerate(zip((k, last), pair, found, strict=True)):
            w.set(rows, (r, j), row)
            w.set(factors, (r, j), factor)
            w.set(full, (i, j), guarded(behind, factor, full[i, j]))


def _eliminate(w: NestWriter, full: Grid, rows: Grid, factors: Grid, which: Sequence[int], last: Expr,
               n: int) -> None:
    """From every row behind `last`, its factors times the block's rows."""
    for block in w.serial(ceil_div(n, TOGETHER), begin=(last + 1) // TOGETHER):
        lines = [block * TOGETHER + r for r in range(TOGETHER)]
        shares = [[w.let(-factors.where((*from_(i, last + 1), Guard(i, 0, n)), r, i)) for r in which]
                  for i in lines]
        for j in w.free(w.padded(n), begin=last + 1):
            for i, line in zip(lines, shares, strict=True):
                for r, share in zip(which, line, strict=True):
                    w.increase(full, (i, j), share * rows[r, j])


def write_ldl_solve(w: NestWriter, node: Node, inputs: Sequence[Matrices], out: Matrices) -> None:
    """Forward through L and D, back through L^T; the right-hand sides of a row go in lanes."""
    n, columns = node.shape[-2:]
    kind = node.dtype.accumulator
    for b in w.examples(out.count):
        a, right, result = inputs[0].at(b), inputs[1].at(b), out.at(b)
        x = w.grid("solved", kind, n, columns)
        for i in w.serial(n):
            for c in w.free(columns):
                w.set(x, (i, c), right[i, c].cast(kind))
        inside_pair = w.register(number(0, int32))
        for k in w.serial(n):
            passed = w.held(inside_pair)
            w.set(inside_pair, (), number(0, int32))
            with w.when(passed.equals(0)):
                _forward(w, a, x, k, n, columns, inside_pair)
        w.set(inside_pair, (), number(0, int32))
        for turn in w.serial(n):
            k = -turn + (n - 1)
            passed = w.held(inside_pair)
            w.set(inside_pair, (), number(0, int32))
            with w.when(passed.equals(0)):
                _back(w, a, x, k, n, columns, inside_pair)
        for i in w.serial(n):
            for c in w.free(columns):
                w.set(result, (i, c), x[i, c])


def _place(w: NestWriter, a: Grid, k: Expr, n: int) -> tuple[Number, Expr]:
    """Whether row k is one of two in a block, and the row that was swapped with the block's last one."""
    found = w.let(a[k, n].cast(int32))
    place = where(found < 0, -found, found) - 1
    return w.let(found < 0), w.whole(_clamped(place, n), 0, n - 1)


def _swap(w: NestWriter, x: Grid, one: Expr, other: Expr, columns: int) -> None:
    for c in w.free(columns):
        exchange(w, x, (one, c), (other, c))


def _subtract(w: NestWriter, x: Grid, to: Expr, factor: Number, source: Expr, columns: int) -> None:
    """x[to] -= factor * x[source]"""
    share = w.let(-factor.cast(x.array.dtype))
    for c in w.free(columns):
        w.increase(x, (to, c), share * x[source, c])


def _forward(w: NestWriter, a: Grid, x: Grid, k: Expr, n: int, columns: int, inside_pair: Grid) -> None:
    """Solve for the block that begins with row k, and take it from the rows behind."""
    kind = x.array.dtype
    pair, place = _place(w, a, k, n)
    pair = w.let(pair & (counted(k, int32) < n - 1))
    w.set(inside_pair, (), pair.cast(int32))
    last = _last(w, k, pair, n)
    _swap(w, x, last, place, columns)
    with w.when(~pair):
        for i in w.serial(n, begin=k + 1):
            _subtract(w, x, i, a[i, k], k, columns)
        pivot = w.let(a[k, k].cast(kind))
        for c in w.free(columns):
            w.set(x, (k, c), x[k, c] / pivot)
    with w.when(pair):
        for i in w.serial(n, begin=last + 1):
            _subtract(w, x, i, a[i, k], k, columns)
            _subtract(w, x, i, a[i, last], last, columns)
        beside = w.let(a[last, k].cast(kind))
        first, second = w.let(a[k, k].cast(kind) / beside), w.let(a[last, last].cast(kind) / beside)
        determinant = w.let(first * second - 1.0)
        for c in w.free(columns):
            one, other = w.let(x[k, c] / beside), w.let(x[last, c] / beside)
            w.set(x, (k, c), (second * one - other) / determinant)
            w.set(x, (last, c), (first * other - one) / determinant)


def _back(w: NestWriter, a: Grid, x: Grid, k: Expr, n: int, columns: int, inside_pair: Grid) -> None:
    """From the block that ends with row k, take what the rows behind have in it."""
    pair, place = _place(w, a, k, n)
    pair = w.let(pair & (number(0, int32) < counted(k, int32)))
    w.set(inside_pair, (), pair.cast(int32))
    first = w.whole(where(pair, counted(k, int32) - 1, counted(k, int32)), 0, n - 1)
    for i in w.serial(n, begin=k + 1):
        _subtract(w, x, k, a[i, k], i, columns)
    with w.when(pair):
        for i in w.serial(n, begin=k + 1):
            _subtract(w, x, first, a[i, first], i, columns)
    _swap(w, x, k, place, columns)
