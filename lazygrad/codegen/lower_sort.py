"""Argsort as a nest: blocks sorted by counting, then runs merged by rank.

Every element finds its own place: within a block, by counting the block's elements that belong before it;
then, as the runs double, by a binary search for its rank among the sibling run. Each pass is one loop over
independent elements, so it runs on every worker and on every device; O(n log^2 n) in all. Ties keep their
order; NaN is the greatest value.
"""

from __future__ import annotations

from collections.abc import Sequence

from lazygrad import expr
from lazygrad.codegen.loopnest import (
    Accumulate,
    Array,
    Compute,
    Constant,
    IndexValue,
    Load,
    Read,
    Select,
    Statement,
    Store,
    Value,
)
from lazygrad.codegen.lower import Lowering, Place
from lazygrad.codegen.lower_radix import MOST, radix_phases
from lazygrad.codegen.lower_select import selection_phases, selects
from lazygrad.dtypes import DType, bool_, int64
from lazygrad.expr import Expr, Guard, Var
from lazygrad.graph import Node
from lazygrad.ops import argsort
from lazygrad.scheduler import access
from lazygrad.source import Target

BLOCK = 32
SHORT = 7  # elements of a row up to which rows side by side are fastest
_FAR = 1 << 60


def argsort_phases(node: Node, source: Place, out: Place, target: Target | None) -> tuple[Statement, ...]:
    """The passes of an argsort of the array at `source`, which has the node's shape; without a target those
    that every device can run."""
    axis, _ = node.arg
    length = node.shape[axis]
    if length == 1:
        return _fill_zero(node, out)
    if target is not None and target.language == "llvm" and SHORT < length < MOST:
        return radix_phases(node, source, out, target.threads)
    widths = []
    width = BLOCK
    while width < length:
        widths.append(width)
        width *= 2
    # passes alternate between two arrays; the last one writes the output
    runs = [Place(Array(f"run{i % 2}", int64, node.size, "temporary")) for i in range(len(widths))] + [out]
    phases = _pass(node, source, None, runs[0], 0)
    for width, (before, after) in zip(widths, zip(runs, runs[1:], strict=False), strict=True):
        phases += _pass(node, source, before, after, width)
    return phases


def argtop_phases(node: Node, source: Place, out: Place, target: Target | None) -> tuple[Statement, ...]:
    """The passes of an argtop of the array at `source`, which has the shape of the node's input."""
    axis, descending, count = node.arg
    order = argsort(node.inputs[0], arg=(axis, descending))
    length = order.shape[axis]
    if target is not None and target.language == "llvm" and selects(length, count):
        return selection_phases(order, count, source, out)
    whole = Place(Array("order", int64, order.size, "temporary"))
    lowering = Lowering({})
    variables = access.loop_variables(node.shape)
    loops = [v for e in variables for v in expr.variables(e) if isinstance(v, Var)]
    lowering.open(loops)
    first = Load(whole.array, expr.flatten(variables, order.shape))
    lowering.scopes[-1].body.append(Store(out.array, expr.flatten(variables, node.shape) + out.offset, first))
    lowering.close(len(loops), "domain")
    return (*argsort_phases(order, source, whole, target), *lowering.scopes[0].body)


def _fill_zero(node: Node, out: Place) -> tuple[Statement, ...]:
    lowering = Lowering({})
    variables = access.loop_variables(node.shape)
    loops = [v for e in variables for v in expr.variables(e) if isinstance(v, Var)]
    lowering.open(loops)
    lowering.scopes[-1].body.append(Store(out.array, expr.flatten(variables, node.shape) + out.offset,
                                          Constant(0, int64)))
    lowering.close(len(loops), "domain")
    return tuple(lowering.scopes[0].body)


class _Row:
    """One pass: the loops over all elements, and how to address one row."""

    def __init__(self, node: Node, source: Place):
        self.node, self.source = node, source
        self.axis, self.descending = node.arg
        self.variables = list(access.loop_variables(node.shape))
        self.position = self.variables[self.axis]
        self.lowering = Lowering({})
        self.loops = [v for e in self.variables for v in expr.variables(e) if isinstance(v, Var)]
        self.lowering.open(self.loops)

    def let(self, value: Value) -> Value:
        return self.lowering.bind(value, len(self.lowering.scopes) - 1)

    def index(self, position: Expr, place: Place) -> Expr:
        """The offset of a position of this row in an array of the node's shape."""
        where = [position if axis == self.axis else v for axis, v in enumerate(self.variables)]
        return expr.flatten(where, self.node.shape) + place.offset

    def key(self, position: Expr, guards: tuple[Guard, ...] = ()) -> Value:
        where = self.index(position, Place(self.source.array)) + self.lowering.first_element(self.source)
        return self.let(Load(self.source.array, where, guards))

    def number(self, value: Value, high: int) -> Expr:
        """An integer value as an index expression in [0, high]."""
        if isinstance(value, IndexValue):
            return value.e
        assert isinstance(value, Read)
        return expr.dynamic(value.name, 0, high)

    def less(self, x: Value, y: Value) -> Value:
        """Whether x belongs before y, ties aside."""
        small, great = (y, x) if self.descending else (x, y)
        first = self._truth("lt", small, great)
        if x.dtype.kind != "float":
            return self.let(first)
        number, nan = self._truth("eq", small, small), self._truth("ne", great, great)
        return self.let(self._truth("bitor", first, self._truth("bitand", number, nan)))

    @staticmethod
    def _truth(op: str, x: Value, y: Value) -> Value:
        return Compute(op, (x, y), bool_)

    def finish(self, out: Place, position: Expr, value: Value) -> tuple[Statement, ...]:
        """Store the row's value at a position and close the loops."""
        self.lowering.scopes[-1].body.append(Store(out.array, self.index(position, out), value))
        self.lowering.close(len(self.loops), "domain")
        return tuple(self.lowering.scopes[0].body)


def _as(value: Value, dtype: DType) -> Value:
    return Compute("cast", (value,), dtype)


def _pass(node: Node, source: Place, before: Place | None, after: Place, width: int) -> tuple[Statement, ...]:
    return (_block_pass(node, source, after) if before is None
            else _merge_pass(node, source, before, after, width))


def _block_pass(node: Node, source: Place, after: Place) -> tuple[Statement, ...]:
    """after[begin of block + rank within the block] = position."""
    row = _Row(node, source)
    length = node.shape[row.axis]
    begin = row.position // BLOCK * BLOCK
    mine = row.key(row.position)
    rank = Array("rank", int64, 1, "register")
    t = Var("t", min(BLOCK, length))
    other = begin + Expr(((t, 1),))
    inside = tuple(g for g in (Guard(other, 0, length),) if not g.always)
    body: list[Statement] = row.lowering.scopes[-1].body
    body.append(Store(rank, expr.ZERO, Constant(0, int64)))
    row.lowering.open([t])
    theirs = row.key(other, inside)
    wins, loses = row.less(theirs, mine), row.less(mine, theirs)
    earlier = row.let(Compute("lt", (IndexValue(other, int64), IndexValue(row.position, int64)), bool_))
    tie = Compute("bitand", (Compute("bitnot", (loses,), bool_), earlier), bool_)
    first = _as(Compute("bitor", (wins, tie), bool_), int64)
    row.lowering.scopes[-1].body.append(Accumulate(rank, expr.ZERO, "add", row.let(first), inside))
    row.lowering.close(1, "reduce")
    place = begin + row.number(row.let(Load(rank, expr.ZERO)), BLOCK - 1)
    return row.finish(after, place, IndexValue(row.position, int64))


def _merge_pass(node: Node, source: Place, before: Place, after: Place, width: int) -> tuple[Statement, ...]:
    """after[begin of the pair + own place in its run + rank in the sibling run] = before[position]."""
    row = _Row(node, source)
    length = node.shape[row.axis]
    p = row.position
    mine_at = row.let(Load(before.array, row.index(p, before)))
    mine = row.key(row.number(mine_at, length - 1))
    pair = p // (2 * width) * (2 * width)
    right = p // width % 2
    sibling = pair + width - right * width
    rank: Value = Constant(0, int64)
    step = width
    while step:
        rank = _search_step(row, before, sibling, right, rank, step, mine, width)
        step //= 2
    place = pair + p % width + row.number(rank, width)
    return row.finish(after, place, mine_at)


def _search_step(row: _Row, before: Place, sibling: Expr, right: Expr, rank: Value, step: int, mine: Value,
                 width: int) -> Value:
    """rank + step where the sibling run's element that many places up still belongs before mine."""
    length = row.node.shape[row.axis]
    so_far = row.number(rank, width) if not isinstance(rank, Constant) else expr.ZERO
    probe = sibling + so_far + (step - 1)
    guards = tuple(g for g in (Guard(probe, 0, length), Guard(so_far + step, 0, width + 1)) if not g.always)
    theirs_at = row.let(Load(before.array, row.index(probe, before), guards))
    theirs = row.key(row.number(theirs_at, length - 1), guards)
    # ties: the left run's element goes first
    strictly, not_after = row.less(theirs, mine), row.let(Compute("bitnot", (row.less(mine, theirs),), bool_))
    from_right = row.let(Compute("eq", (IndexValue(right, int64), Constant(1, int64)), bool_))
    goes_first = Compute("where", (from_right, not_after, strictly), bool_)
    moved = Compute("where", (goes_first, Constant(step, int64), Constant(0, int64)), int64)
    allowed = row.let(_guarded(guards, moved))
    return row.let(Compute("add", (rank, allowed), int64))


def _guarded(guards: Sequence[Guard], value: Value) -> Value:
    return Select(tuple(guards), value, Constant(0, int64)) if guards else value

