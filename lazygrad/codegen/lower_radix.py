"""Argsort by digits: for devices whose workers each have scratch memory, a row after the other.

Elements become unsigned keys of the same order. Digit by digit, the least first, all keys are counted and
moved to their bucket, which keeps the order of equal ones; a digit that all keys share is passed over. Long
rows that are few are cut into blocks that workers count and move, each into its own part of every bucket. In
a short row each key counts the keys before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lazygrad import expr
from lazygrad.codegen.loopnest import (
    Accumulate,
    Array,
    Compute,
    Constant,
    If,
    IndexValue,
    Let,
    Load,
    Loop,
    Read,
    Select,
    Statement,
    Store,
    Value,
)
from lazygrad.codegen.lower import FARTHEST, Place
from lazygrad.dtypes import BY_NAME, bool_, int64, uint32, uint64
from lazygrad.expr import Expr, Guard, Var
from lazygrad.graph import Node
from lazygrad.helpers import ceil_div
from lazygrad.scheduler import access

DIGIT_BITS = 8
BUCKETS = 1 << DIGIT_BITS
SHORT = 96  # elements of a row up to which counting what stands before each is faster than moving
LONG = 1 << 16  # elements of a row that are worth several workers
MOST = 1 << 31  # elements of a row, so that places fit in half a word
Body = tuple[Statement, ...]


def radix_phases(node: Node, source: Place, out: Place, threads: int) -> Body:
    """The nest of an argsort of the array at `source`, which has the node's shape; rows of at most MOST
    elements."""
    rows = node.size // node.shape[node.arg[0]]
    sort = RowSort(node, source, out)
    if node.shape[node.arg[0]] <= SHORT:
        return sort.first_element() + _by_rank(sort)
    long = node.shape[node.arg[0]] >= LONG and rows < 2 * threads
    return sort.first_element() + (
        _in_blocks(sort, ceil_div(8 * threads, rows)) if long else _row_by_row(sort)
    )


def in_scope(name: str, high: int) -> Expr:
    return expr.dynamic(name, 0, high)


def _at(var: Var) -> Expr:
    return expr.var(var.name, var.extent)


def binary(op: str, x: Value, y: Value) -> Value:
    return Compute(op, (x, y), x.dtype)


def truth(op: str, x: Value, y: Value) -> Value:
    return Compute(op, (x, y), bool_)


@dataclass(frozen=True)
class RowSort:
    """What is sorted, and how its elements look as words: the key above the place where both fit in 64 bits,
    else the key alone, with the place in a second array."""

    node: Node
    source: Place
    out: Place

    @property
    def axis(self) -> int:
        return int(self.node.arg[0])

    @property
    def length(self) -> int:
        return self.node.shape[self.axis]

    @property
    def bits(self) -> int:
        return 8 if self.node.inputs[0].dtype is bool_ else self.node.inputs[0].dtype.bits

    @property
    def digits(self) -> int:
        return self.bits // DIGIT_BITS

    @property
    def packed(self) -> bool:
        return self.bits <= 32

    @property
    def shift(self) -> int:
        """Where in a word the key begins."""
        return 32 if self.packed else 0

    @property
    def others(self) -> tuple[Var, ...]:
        """The loops over rows."""
        variables = [v for e in access.loop_variables(self.node.shape) for v in expr.variables(e)]
        own = set(expr.variables(access.loop_variables(self.node.shape)[self.axis]))
        return tuple(v for v in variables if isinstance(v, Var) and v not in own)

    @property
    def row(self) -> Expr:
        """The number of a row."""
        return expr.flatten((_at(v) for v in self.others), (v.extent for v in self.others))

    def first_element(self) -> Body:
        start = self.source.start
        return (Let("begin", Load(start[0], expr.const(start[1]))),) if start else ()

    def index(self, position: Expr, place: Place, shape: tuple[int, ...] = ()) -> Expr:
        """Where a position of this row is in an array of the node's shape, or of another one."""
        where = [
            position if a == self.axis else v for a, v in enumerate(access.loop_variables(self.node.shape))
        ]
        return expr.flatten(where, shape or self.node.shape) + place.offset

    def arrays(self, rows: int, space: str) -> tuple[Array, ...]:
        """The words (and places) of rows, twice: each move goes from one half to the other."""
        size = 2 * self.length * rows
        return (
            Array("words", uint64, size, space),
            *(() if self.packed else (Array("places", uint32, size, space),)),
        )

    def key(self, position: Expr) -> tuple[Body, Value]:
        """An element as an unsigned number: Lets, and the value."""
        d = self.node.inputs[0].dtype
        held = BY_NAME[f"uint{self.bits}"]
        where = self.index(position, self.source)
        if self.source.start is not None:
            where = where + expr.dynamic("begin", 0, FARTHEST)
        x: Value = Read("x", d)
        lets: list[Statement] = [Let("x", Load(self.source.array, where))]
        top = Constant(1 << (self.bits - 1), held)
        ones = Constant((1 << self.bits) - 1, held)
        if d.kind == "float":
            zero = Constant(0.0, d)
            lets.append(
                Let("same", Compute("where", (truth("eq", x, zero), zero, x), d))
            )  # one zero for both
            lets.append(Let("bits", Compute("bitcast", (Read("same", d),), held)))
            bits = Read("bits", held)
            flip = Compute("where", (truth("lt", bits, top), top, ones), held)
            ordered = Compute("where", (truth("eq", x, x), binary("bitxor", bits, flip), ones), held)
        elif d.kind == "int":
            ordered = Compute("bitxor", (Compute("bitcast", (x,), held), top), held)
        else:
            ordered = Compute("cast", (x,), held)
        lets.append(Let("ordered", ordered))
        value: Value = Read("ordered", held)
        return tuple(lets), binary("bitxor", value, ones) if self.node.arg[1] else value

    def fill(self, arrays: Sequence[Array], position: Expr, base: Expr) -> Body:
        """Stores that make the word of an element."""
        lets, key = self.key(position)
        key = key if key.dtype == uint64 else Compute("cast", (key,), uint64)
        place = IndexValue(position, uint64)
        if not self.packed:
            places = Store(arrays[1], base + position, IndexValue(position, uint32))
            return (*lets, Store(arrays[0], base + position, key), places)
        word = binary("bitor", binary("shl", key, Constant(32, uint64)), place)
        return (*lets, Store(arrays[0], base + position, word))

    def digit(self, word: Value, number: Expr) -> Value:
        """The digit of a word, as an integer below BUCKETS."""
        shift = IndexValue(number * DIGIT_BITS + self.shift, uint64)
        return binary("bitand", binary("shr", word, shift), Constant(BUCKETS - 1, uint64))

    def move(self, arrays: Sequence[Array], source: Expr, target: Expr) -> Body:
        """A word (its Let is there already) and its place to another half."""
        words = (Store(arrays[0], target, Read("word", uint64)),)
        return words if self.packed else (*words, Store(arrays[1], target, Load(arrays[1], source)))

    def finish(self, arrays: Sequence[Array], at: Expr, position: Expr) -> Store:
        """The place of the word at `at` as the result."""
        place: Value = Load(arrays[-1], at)
        if self.packed:
            place = binary("bitand", place, Constant((1 << 32) - 1, uint64))
        return Store(self.out.array, self.index(position, self.out), Compute("cast", (place,), int64))


def over_rows(sort: RowSort, body: Body, *more: Var) -> Statement:
    """Loops over all rows (at least one) and more around a body."""
    loops = [*sort.others, *more] or [Var("row", 1)]
    for var in reversed(loops):
        body = (Loop(var, body, "domain"),)
    return body[0]


# Short rows


def _by_rank(sort: RowSort) -> Body:
    """out[how many words are less] = place."""
    n, arrays = sort.length, sort.arrays(1, "scratch")
    j, k, t = Var("j", n), Var("k", n), Var("t", n)
    rank = Array("rank", uint32, 1, "register")
    mine, theirs = Load(arrays[0], _at(k)), Load(arrays[0], _at(t))
    before = truth("lt", theirs, mine)
    if not sort.packed:
        earlier = truth("lt", IndexValue(_at(t), int64), IndexValue(_at(k), int64))
        before = truth("bitor", before, truth("bitand", truth("eq", theirs, mine), earlier))
    counted = Loop(t, (Accumulate(rank, expr.ZERO, "add", Compute("cast", (before,), uint32)),), "reduce")
    place = sort.index(in_scope("ranked", n - 1), sort.out)
    body: Body = (
        Loop(j, sort.fill(arrays, _at(j), expr.ZERO), "domain"),
        Loop(
            k,
            (
                Store(rank, expr.ZERO, Constant(0, uint32)),
                counted,
                Let("ranked", Load(rank, expr.ZERO)),
                Store(sort.out.array, place, IndexValue(_at(k), int64)),
            ),
            "domain",
        ),
    )
    return (over_rows(sort, body),)


# Rows one by one


def _row_by_row(sort: RowSort) -> Body:
    n, arrays = sort.length, sort.arrays(1, "scratch")
    counts = Array("counts", uint32, BUCKETS * sort.digits, "scratch")
    side = Array("side", uint32, 1, "scratch")
    j, k, z, digit = Var("j", n), Var("k", n), Var("z", counts.size), Var("digit", sort.digits)
    one = Constant(1, uint32)
    clear = Loop(z, (Store(counts, _at(z), Constant(0, uint32)),), "domain")
    fill = Loop(j, sort.fill(arrays, _at(j), expr.ZERO), "domain")
    count: list[Statement] = [Let("word", Load(arrays[0], _at(k)))]
    for number in range(sort.digits):
        name = f"digit{number}"
        count += [
            Let(name, sort.digit(Read("word", uint64), expr.const(number))),
            Accumulate(counts, in_scope(name, BUCKETS - 1) + number * BUCKETS, "add", one),
        ]
    this = in_scope("half", 1) * n
    first = sort.digit(Load(arrays[0], this), _at(digit))
    shared = Load(counts, in_scope("first", BUCKETS - 1) + _at(digit) * BUCKETS)
    scan = _starts(counts, Var("bucket", BUCKETS), _at(digit) * BUCKETS)
    there = in_scope("half", 1) * -n + n
    moves = Loop(
        k, _bucket(sort, arrays, counts, this + _at(k), _at(digit), _at(digit) * BUCKETS, there), "serial"
    )
    flip = Store(side, expr.ZERO, binary("sub", one, Read("half", uint32)))
    turn: Body = (
        Let("half", Load(side, expr.ZERO)),
        Let("first", first),
        Let("shared", shared),
        If((Guard(in_scope("shared", n), 0, n),), (*scan, moves, flip)),
    )
    body: Body = (
        clear,
        fill,
        Loop(k, tuple(count), "serial"),
        Store(side, expr.ZERO, Constant(0, uint32)),
        Loop(digit, turn, "serial"),
        Let("sorted", Load(side, expr.ZERO)),
        Loop(j, (sort.finish(arrays, in_scope("sorted", 1) * n + _at(j), _at(j)),), "domain"),
    )
    return (over_rows(sort, body),)


def _starts(counts: Array, bucket: Var, base: Expr) -> Body:
    """Counts become what stands before them."""
    total = Array("total", uint32, 1, "register")
    here = Load(counts, base + _at(bucket))
    step: Body = (
        Let("counted", here),
        Let("before", Load(total, expr.ZERO)),
        Store(counts, base + _at(bucket), Read("before", uint32)),
        Let("after", binary("add", Read("before", uint32), Read("counted", uint32))),
        Store(total, expr.ZERO, Read("after", uint32)),
    )
    return Store(total, expr.ZERO, Constant(0, uint32)), Loop(bucket, step, "serial")


def _bucket(
    sort: RowSort, arrays: Sequence[Array], starts: Array, source: Expr, digit: Expr, base: Expr, there: Expr
) -> Body:
    """A word to the next place of its bucket in the other half."""
    start = in_scope("bucket_of", BUCKETS - 1) + base
    return (
        Let("word", Load(arrays[0], source)),
        Let("bucket_of", sort.digit(Read("word", uint64), digit)),
        Let("next", Load(starts, start)),
        Store(starts, start, binary("add", Read("next", uint32), Constant(1, uint32))),
        *sort.move(arrays, source, there + in_scope("next", sort.length - 1)),
    )


# Long rows in blocks


def _in_blocks(sort: RowSort, blocks: int) -> Body:
    n, rows = sort.length, sort.node.size // sort.length
    arrays = sort.arrays(rows, "temporary")
    size = ceil_div(n, blocks)
    counts = Array("counts", uint32, rows * BUCKETS * blocks, "temporary")
    side = Array("side", uint32, rows * (sort.digits + 1), "temporary")
    j, row = Var("j", n), sort.row
    own = row * (2 * n)
    clear = over_rows(sort, (Store(side, row * (sort.digits + 1), Constant(0, uint32)),))
    phases: list[Statement] = [over_rows(sort, sort.fill(arrays, _at(j), own), j), clear]
    for number in range(sort.digits):
        phases += _digit_in_blocks(sort, arrays, counts, side, number, blocks, size)
    last = Let("sorted", Load(side, row * (sort.digits + 1) + sort.digits))
    result = sort.finish(arrays, own + in_scope("sorted", 1) * n + _at(j), _at(j))
    return (
        *phases,
        over_rows(
            sort,
            (last, Loop(j, (result,), "domain")) if sort.others else (last, result),
            *(() if sort.others else (j,)),
        ),
    )


def _digit_in_blocks(
    sort: RowSort, arrays: Sequence[Array], counts: Array, side: Array, number: int, blocks: int, size: int
) -> Body:
    """Count each block's digits, find where each block's part of each bucket begins, move the words."""
    n, row = sort.length, sort.row
    block, i, bucket = Var("block", blocks), Var("i", size), Var("bucket", BUCKETS)
    own = Array(f"own{number}", uint32, BUCKETS, "scratch")
    place = row * (sort.digits + 1) + number
    now, digit = Load(side, place), expr.const(number)
    position = _at(block) * size + _at(i)
    inside = tuple(g for g in (Guard(position, 0, n),) if not g.always)
    this = row * (2 * n) + in_scope("half", 1) * n
    there = row * (2 * n) + n + in_scope("half", 1) * -n
    part = (row * BUCKETS + _at(bucket)) * blocks + _at(block)

    def each(*body: Statement) -> Statement:
        return Loop(i, (If(inside, body),) if inside else body, "serial")

    word = sort.digit(Load(arrays[0], this + position), digit)
    count: Body = (
        Let("half", now),
        Loop(bucket, (Store(own, _at(bucket), Constant(0, uint32)),), "domain"),
        each(
            Let("bucket_of", word),
            Accumulate(own, in_scope("bucket_of", BUCKETS - 1), "add", Constant(1, uint32)),
        ),
        Loop(bucket, (Store(counts, part, Load(own, _at(bucket))),), "domain"),
    )

    z = Var("z", BUCKETS * blocks)
    base = row * (BUCKETS * blocks)
    first = in_scope("first", BUCKETS - 1)
    ends = Guard(first, 0, BUCKETS - 1)
    begin = Load(counts, base + first * blocks)
    end = Select((ends,), Load(counts, base + first * blocks + blocks, (ends,)), Constant(n, uint32))
    shared = truth("eq", binary("sub", Read("end", uint32), Read("start", uint32)), Constant(n, uint32))
    half = Read("half", uint32)
    turned = Compute("where", (Read("shared", bool_), half, binary("sub", Constant(1, uint32), half)), uint32)
    scan: Body = (
        Let("half", now),
        Let("first", sort.digit(Load(arrays[0], this), digit)),
        *_starts(counts, z, base),
        Let("start", begin),
        Let("end", end),
        Let("shared", shared),
        Store(side, place + 1, turned),
    )

    moves: Body = (
        Loop(bucket, (Store(own, _at(bucket), Load(counts, part)),), "domain"),
        each(*_bucket(sort, arrays, own, this + position, digit, expr.ZERO, there)),
    )
    move: Body = (
        Let("half", now),
        Let("turned", Load(side, place + 1)),
        If((Guard(in_scope("half", 1) + in_scope("turned", 1), 1, 2),), moves),
    )
    return over_rows(sort, count, block), over_rows(sort, scan), over_rows(sort, move, block)
