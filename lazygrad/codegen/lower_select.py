"""The first places of a sorted row without sorting it: for devices whose workers each have scratch memory.

Keys are those of `lower_radix`. Digit by digit, the highest first, the keys that begin as the last wanted one
does are counted, until few enough are left: these, and all that are less, are candidates. Each candidate then
counts the candidates before it.
"""

from __future__ import annotations

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
    Statement,
    Store,
    Value,
    substitute,
)
from lazygrad.codegen.lower import Place
from lazygrad.codegen.lower_radix import BUCKETS, DIGIT_BITS, RowSort, binary, in_scope, over_rows, truth
from lazygrad.dtypes import DType, bool_, int64, uint32, uint64
from lazygrad.expr import Expr, Guard, Var
from lazygrad.graph import Node
from lazygrad.helpers import round_up

MOST_WANTED = 256  # of which candidates count each other quickly
FEWEST_FOLD = 8  # elements of a row for each wanted one
COUNTERS = 4  # of each bucket, in turn: one alone would wait for itself where neighbours are alike
BLOCK = 16  # keys that are looked at together
LONGEST = 1 << 31  # elements of a row, so that places fit in 32 bits
K = Var("place", LONGEST)  # stands for a place within `near`
Body = tuple[Statement, ...]


def selects(length: int, wanted: int) -> bool:
    """Whether choosing the first `wanted` of a row is faster than sorting it."""
    return wanted <= MOST_WANTED and FEWEST_FOLD * wanted <= length < LONGEST


def selection_phases(order: Node, wanted: int, source: Place, out: Place) -> Body:
    """The first `wanted` places of the argsort `order` of the array at `source`."""
    sort = RowSort(order, source, out)
    return sort.first_element() + (over_rows(sort, _Selection(sort, wanted).body()),)


def _at(var: Var) -> Expr:
    return expr.var(var.name, var.extent)


def _scalar(name: str, dtype: DType) -> Array:
    return Array(name, dtype, 1, "register")


def _now(array: Array) -> Load:
    return Load(array, expr.ZERO)


def _number(value: int) -> Constant:
    return Constant(value, uint32)


def _as(value: Value, dtype: DType) -> Value:
    return value if value.dtype == dtype else Compute("cast", (value,), dtype)


class _Selection:
    """The statements that find the first places of one row."""

    def __init__(self, sort: RowSort, wanted: int):
        self.sort, self.wanted, self.n = sort, wanted, sort.length
        # candidates that are left to count each other
        self.most = min(2 * wanted + 32 + self.n // 64, self.n)
        self.key = uint64 if sort.bits > 32 else uint32
        self.keys = Array("keys", self.key, round_up(self.n, BLOCK), "scratch")
        self.counts = Array("counts", uint32, COUNTERS * BUCKETS, "scratch")
        self.head = _scalar("head", self.key)  # the digits so far of the last wanted key
        self.known = _scalar("known", uint32)  # how many digits these are
        self.ahead = _scalar("ahead", uint32)  # keys that are less
        self.left = _scalar("left", uint32)  # keys that are less or begin like it
        self.candidates = Array("candidates", self.key, self.most + 1, "scratch")
        self.places = Array("places", uint32, self.most + 1, "scratch")

    def body(self) -> Body:
        j = Var("j", self.n)
        lets, key = self.sort.key(_at(j))
        fill = Loop(j, (*lets, Store(self.keys, _at(j), _as(key, self.key))), "domain")
        start = (
            Store(self.head, expr.ZERO, Constant(0, self.key)),
            Store(self.known, expr.ZERO, _number(0)),
            Store(self.ahead, expr.ZERO, _number(0)),
            Store(self.left, expr.ZERO, _number(self.n)),
        )
        none = Var("none", self.keys.size - self.n)
        pad = Store(self.keys, _at(none) + self.n, Constant(int(self.key.max), self.key))
        rest = (Loop(none, (pad,), "domain"),) if none.extent else ()
        return (fill, *rest, *start, *self.narrow(), *self.collect(), *self.rank())

    def shift(self, value: Value, digits: Value, less: int) -> Value:
        """A key without all digits after the first `digits` + `less`."""
        bits = binary("mul", digits, _number(DIGIT_BITS))
        count = binary("sub", _number(self.sort.bits - DIGIT_BITS * less), bits)
        return binary("shr", value, _as(count, self.key))

    def near(self, known: Value, head: Value, body: Body) -> Statement:
        """The body for each place K of the blocks in which some key begins like `head` or is less."""
        block, one, all_ = Var("block", self.keys.size // BLOCK), Var("one", BLOCK), Var("all", BLOCK)
        where = _at(block) * BLOCK + _at(one)
        least = _scalar("least", self.key)
        key = Load(self.keys, _at(block) * BLOCK + _at(all_))
        fold = Loop(all_, (Accumulate(least, expr.ZERO, "minimum", key),), "reduce")
        some = truth("le", self.shift(_now(least), known, 0), head)
        inside = Guard(where, 0, self.n)
        each = body if inside.always else (If((inside,), body),)
        return Loop(
            block,
            (
                Store(least, expr.ZERO, Constant(int(self.key.max), self.key)),
                fold,
                Let("some", _as(some, uint32)),
                If((Guard(in_scope("some", 1), 1, 2),), (Loop(one, substitute(each, {K: where}), "serial"),)),
            ),
            "serial",
        )

    def count(self, k: Expr, digit: Value) -> Body:
        """One more key with this digit."""
        slot = in_scope("slot", BUCKETS - 1) + k % COUNTERS * BUCKETS
        return Let("slot", digit), Accumulate(self.counts, slot, "add", _number(1))

    def narrow(self) -> Body:
        """The first digit of the last wanted key, and one digit more while too many keys begin like it."""
        z, k = Var("z", COUNTERS * BUCKETS), Var("k", self.n)
        clear = Loop(z, (Store(self.counts, _at(z), _number(0)),), "domain")
        whole = Constant(BUCKETS - 1, self.key)
        highest = binary("shr", Load(self.keys, _at(k)), Constant(self.sort.bits - DIGIT_BITS, self.key))
        first: Body = (
            clear,
            Loop(k, self.count(_at(k), binary("bitand", highest, whole)), "serial"),
            Let("head", Constant(0, self.key)),
            *self.choose(),
            Store(self.known, expr.ZERO, _number(1)),
        )
        if self.sort.digits == 1:
            return first
        known, head, top = Read("known", uint32), Read("head", self.key), Read("top", self.key)
        begins = truth("eq", binary("shr", top, Constant(DIGIT_BITS, self.key)), head)
        here = expr.var(K.name, K.extent)
        each: Body = (
            Let("top", self.shift(Load(self.keys, here), known, 1)),
            Let("begins", _as(begins, uint32)),
            If((Guard(in_scope("begins", 1), 1, 2),), self.count(here, binary("bitand", top, whole))),
        )
        step: Body = (
            Let("known", _now(self.known)),
            Let("head", _now(self.head)),
            clear,
            self.near(known, head, each),
            *self.choose(),
            Store(self.known, expr.ZERO, binary("add", known, _number(1))),
        )
        many = Guard(in_scope("left", self.n), self.most + 1, self.n + 1)
        level = Var("level", self.sort.digits - 1)
        return (*first, Loop(level, (Let("left", _now(self.left)), If((many,), step)), "serial"))

    def choose(self) -> Body:
        """The digit of the last wanted key: where the counts from the least digit on reach what is wanted."""
        bucket, total = Var("bucket", BUCKETS), _scalar("total", uint32)
        here: Value = Load(self.counts, _at(bucket))
        for turn in range(1, COUNTERS):
            here = binary("add", here, Load(self.counts, _at(bucket) + turn * BUCKETS))
        before, after, wanted = Read("before", uint32), Read("after", uint32), _number(self.wanted)
        crosses = truth("bitand", truth("lt", before, wanted), truth("le", wanted, after))
        longer = binary(
            "bitor",
            binary("shl", Read("head", self.key), Constant(DIGIT_BITS, self.key)),
            IndexValue(_at(bucket), self.key),
        )
        found: Body = (
            Store(self.head, expr.ZERO, longer),
            Store(self.ahead, expr.ZERO, before),
            Store(self.left, expr.ZERO, after),
        )
        each: Body = (
            Let("before", _now(total)),
            Let("after", binary("add", before, here)),
            Store(total, expr.ZERO, after),
            Let("crosses", _as(crosses, uint32)),
            If((Guard(in_scope("crosses", 1), 1, 2),), found),
        )
        return Store(total, expr.ZERO, _now(self.ahead)), Loop(bucket, each, "serial")

    def collect(self) -> Body:
        """The candidates in the order of their places. Where all digits are known, equal keys are as good as
        each other, and the first of them fill up what is wanted."""
        here, z = expr.var(K.name, K.extent), Var("z", self.most + 1)
        count = _scalar("count", uint32)
        room = _scalar("room", uint32)
        word, known, head = Read("word", self.key), Read("known", uint32), Read("head", self.key)
        full = truth("eq", known, _number(self.sort.digits))
        rest = binary("sub", _number(self.wanted), _now(self.ahead))
        clear = Loop(z, (Store(self.candidates, _at(z), Constant(int(self.key.max), self.key)),), "domain")
        top, where = Read("top", self.key), in_scope("next", self.most)
        equal = truth("eq", top, head)
        chosen = truth("bitor", truth("lt", top, head), truth("lt", _number(0), Read("roomy", uint32)))
        # one that is not chosen is written over by the next
        take: Body = (
            Let("roomy", _now(room)),
            Let("next", _now(count)),
            Let("chosen", chosen),
            Store(self.candidates, where, word),
            Store(self.places, where, IndexValue(here, uint32)),
            Store(count, expr.ZERO, binary("add", Read("next", uint32), _as(Read("chosen", bool_), uint32))),
            Let("taken", truth("bitand", equal, Read("chosen", bool_))),
            Store(room, expr.ZERO, binary("sub", Read("roomy", uint32), _as(Read("taken", bool_), uint32))),
        )
        step: Body = (
            Let("word", Load(self.keys, here)),
            Let("top", self.shift(word, known, 0)),
            Let("within", _as(truth("le", top, head), uint32)),
            If((Guard(in_scope("within", 1), 1, 2),), take),
        )
        last = Let("found", _now(count))
        end = Store(self.candidates, in_scope("found", self.most), Constant(int(self.key.max), self.key))
        return (
            clear,
            Let("known", _now(self.known)),
            Let("head", _now(self.head)),
            Store(count, expr.ZERO, _number(0)),
            Store(room, expr.ZERO, Compute("where", (full, rest, _number(self.n)), uint32)),
            self.near(known, head, step),
            last,
            end,
        )

    def rank(self) -> Body:
        """out[how many candidates stand before] = place."""
        i, t = Var("i", self.most), Var("t", self.most)
        rank = Array("rank", uint32, 1, "register")
        mine, theirs = Load(self.candidates, _at(i)), Load(self.candidates, _at(t))
        earlier = truth("lt", IndexValue(_at(t), uint32), IndexValue(_at(i), uint32))
        tie = truth("bitand", truth("eq", theirs, mine), earlier)
        before = truth("bitor", truth("lt", theirs, mine), tie)
        counted = Loop(t, (Accumulate(rank, expr.ZERO, "add", _as(before, uint32)),), "reduce")
        ranked = in_scope("ranked", self.most)
        candidate = Guard(_at(i) + in_scope("found", self.most) * -1, -self.most, 0)
        first = Guard(ranked, 0, self.wanted)
        place = Compute("cast", (Load(self.places, _at(i)),), int64)
        shape = tuple(self.wanted if a == self.sort.axis else e for a, e in enumerate(self.sort.node.shape))
        store = Store(self.sort.out.array, self.sort.index(ranked, self.sort.out, shape), place, (first,))
        body: Body = (Store(rank, expr.ZERO, _number(0)), counted, Let("ranked", _now(rank)), store)
        return (Loop(i, (If((candidate,), body),), "serial"),)
