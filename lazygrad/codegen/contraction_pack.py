"""Packing: a factor of a contraction in panels, in the order in which the micro-kernel reads it.

    panel[tile, k, j] = factor(tile*width + j, k)

Guards, casts and elementwise prologues are evaluated here. Where neighbours in memory lie along the tile,
vectors are copied; where they lie along k, squares of lanes x lanes are transposed in registers:

    for k by lanes: for j: square[j, :] = factor(j, k:k+lanes)
                    for i in lanes: panel[tile, k + i, :] = square[:, i]
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from lazygrad import expr
from lazygrad.codegen.contraction import Contraction, unflattened
from lazygrad.codegen.contraction_tiles import Depth, index, unless
from lazygrad.codegen.llvm_index import lane_runs, lane_stride
from lazygrad.codegen.loopnest import (
    Array,
    Constant,
    Let,
    Load,
    Loop,
    Read,
    Select,
    Statement,
    Store,
    Value,
    map_value,
    substitute,
    substitute_guards,
    walk_values,
)
from lazygrad.expr import Atom, Expr, Guard, Quotient, Remainder, Var
from lazygrad.helpers import product

DIRECT_ROWS = 96  # above that, packing an element costs little beside its multiplications
LINE_BYTES = 64
PAGES = 128  # that a tile may lie in, to be read where it stands
PAGE_BYTES = 4096
SET_BYTES, SET_LINES = 1024, 16  # more lines so far apart push each other out of the first cache
NEAR = 4  # strides up to here are picked from whole runs of memory


@dataclass(frozen=True)
class Panel:
    """A factor of a contraction and the array that it is packed into, `width` elements of `along` a tile."""

    found: Contraction
    value: Value
    along: tuple[Var, ...]
    width: int
    lanes: int
    depth: Depth
    array: Array
    prefix: str

    def pack(self, values: dict[Atom, Expr], tile: Expr, block: Expr, start: Expr) -> tuple[Statement, ...]:
        """One tile of one block of k, into the panel from element `start` on. `values`: of outer
        variables."""
        loops, at_k, within = self.depth.walk(block, self.prefix)
        depth = expr.flatten((index(v) for v in loops), (v.extent for v in loops))
        loops, joins = self._joined(loops, bool(within))
        values = {**values, **{v: expr.substitute(e, joins) for v, e in at_k.items()}}
        depth = expr.substitute(depth, joins)
        place = start + depth * self.width
        if self._run_along_k(loops[-1].extent) > self._run_along_tile():
            return self._transposed(values, tile, place, loops, within)
        j = Var(f"{self.prefix}_j", self.width)
        body = self._element(values, tile, index(j), within, self.array, place + index(j))
        lanes = min(self.lanes, 1 << (self.width - 1).bit_length())
        return nested(loops, (Loop(j, body, "vector", lanes=lanes),))

    def is_direct(self, rows: int, masks: bool) -> bool:
        """Whether the micro-kernel may read the factor where it stands, for so many rows at each element:
        plain memory, neighbours along the tile (in one run or, where `masks` are free, two), and no more
        pages or lines of one cache set than stay at hand."""
        value = self.found.lets[self.value.name].value if isinstance(self.value, Read) else self.value
        if not isinstance(value, Load) or value.guards or value.dtype != self.array.dtype:
            return False
        if rows > DIRECT_ROWS or self.depth.cut.extent % self.depth.chunk:
            return False
        tile, j = Var("direct_tile", 1 << 20), Var("direct_j", self.width)
        at = unflattened(index(tile) * self.width + index(j), self.along)
        place = expr.substitute(value.index, at)
        runs = lane_runs(place, j, self.lanes)
        if lane_stride(place, j, self.lanes) != 1 and (
            not masks or runs is None or runs.count > 2 or runs.stride != 1
        ):
            return False
        loops = (Var(self.depth.cut.name, self.depth.chunk), *self.depth.inner)
        pages, near, line = 1, 0, LINE_BYTES // self.array.dtype.itemsize
        steps = [s for original in (*self.along, *self.found.outer, *self.depth.outer, self.depth.cut,
                                    *self.depth.inner) for s in self._steps(original) or (1,)]
        whole_lines = not self.width % line and all(s in (0, 1) or not s % line for s in steps)
        for v, original in zip(loops, (self.depth.cut, *self.depth.inner), strict=True):
            step = self._steps(original)
            if step is None:
                return False
            nbytes = abs(step[0]) * self.array.dtype.itemsize
            if nbytes % SET_BYTES == 0 and v.extent > SET_LINES and not whole_lines:
                return False
            pages *= v.extent if nbytes >= PAGE_BYTES else 1
            near += nbytes * (v.extent - 1) if nbytes < PAGE_BYTES else 0
        return pages * (near // PAGE_BYTES + 1) <= PAGES

    def read(self, values: dict[Atom, Expr], tile: Expr, block: Expr,
             row: Array) -> tuple[list[Var], Expr, Statement]:
        """Loops over one block of k, the depth in them, and the statement that brings a row of a tile into
        registers."""
        loops, at_k, within = self.depth.walk(block, self.prefix)
        assert not within, "a block of k that is not whole must be packed"
        depth = expr.flatten((index(v) for v in loops), (v.extent for v in loops))
        j = Var(f"{self.prefix}_j", self.width)
        body = self._element({**values, **at_k}, tile, index(j), (), row, index(j))
        return loops, depth, Loop(j, body, "vector", lanes=self.lanes, unroll=self.width // self.lanes)

    def _element(self, values: dict[Atom, Expr], tile: Expr, j: Expr, within: tuple[Guard, ...],
                 array: Array, place: Expr) -> tuple[Statement, ...]:
        """The statements that evaluate one element of the factor and store it."""
        position = tile * self.width + j
        values = {**values, **unflattened(position, self.along)}
        inside = unless(position, product(v.extent for v in self.along)) + within
        bound, value = guarded_value(self.found, self.value, values, inside)
        if within:  # beyond the end of k the product must vanish, whatever the prologue makes of a zero
            value = Select(within, value, Constant(0.0, self.array.dtype))
        return (*bound, Store(array, place, value))

    def _transposed(self, values: dict[Atom, Expr], tile: Expr, place: Expr, loops: list[Var],
                    within: tuple[Guard, ...]) -> tuple[Statement, ...]:
        """All loops, the last of which runs along neighbours, in squares of lanes x lanes: those that are
        whole along the tile, and what is left."""

        def columns(first: Expr, high: int) -> tuple[Statement, ...]:
            return nested(loops[:-1], self._squares(values, tile, place, loops[-1], within, first, high))

        whole, left = divmod(self.width, self.lanes)
        number = Var(f"{self.prefix}_h", whole)
        body = columns(index(number) * self.lanes, self.lanes) if whole else ()
        body = (Loop(number, body),) if whole > 1 else body
        return (*body, *(columns(expr.const(whole * self.lanes), left) if left else ()))

    def _squares(self, values: dict[Atom, Expr], tile: Expr, place: Expr, last: Var,
                 within: tuple[Guard, ...], first: Expr, high: int) -> tuple[Statement, ...]:
        """The loop over `last` for `high` elements of the tile: whole squares, and what is left."""
        whole, rest = divmod(last.extent, self.lanes)
        block = Var(f"{last.name}_o", whole)
        result: tuple[Statement, ...] = ()
        if whole:
            body = self._square(values, tile, place, last, index(block) * self.lanes, self.lanes, within,
                                first, high)
            result = (Loop(block, body),)
        if rest:
            at = expr.const(whole * self.lanes)
            result += self._square(values, tile, place, last, at, rest, within, first, high)
        return result

    def _square(self, values: dict[Atom, Expr], tile: Expr, place: Expr, last: Var, at: Expr, count: int,
                within: tuple[Guard, ...], first: Expr, high: int) -> tuple[Statement, ...]:
        """`count` turns of `last` for `high` elements along the tile from `first` on."""
        lanes = self.lanes
        if count == 1:  # a column of its own: as part of a square it would be no vector
            i = Var(f"{self.prefix}_i", high)
            here = {v: expr.substitute(e, {last: at}) for v, e in values.items()}
            to = expr.substitute(place, {last: at}) + first + index(i)
            body = self._element(here, tile, first + index(i), substitute_guards(within, {last: at}),
                                 self.array, to)
            return (Loop(i, body, "vector", lanes=lanes),)
        square = Array(f"square_{self.prefix}", self.array.dtype, lanes * lanes, "register")
        along, down = Var(f"{self.prefix}_u", count), Var(f"{self.prefix}_t", count)
        i, blank = Var(f"{self.prefix}_i", high), Var(f"{self.prefix}_z", lanes - high)
        moved: dict[Atom, Expr] = {last: at + index(along)}
        here = {v: expr.substitute(e, moved) for v, e in values.items()}
        body = self._element(here, tile, first + index(i), substitute_guards(within, moved), square,
                             index(i) * lanes + index(along))
        result = [Loop(i, (Loop(along, body, "vector", lanes=lanes),), "unroll")]
        if blank.extent:
            zero = Store(square, (index(blank) + high) * lanes + index(along), Constant(0.0, square.dtype))
            result.append(Loop(blank, (Loop(along, (zero,), "vector", lanes=lanes),), "unroll"))
        to = expr.substitute(place, {last: at + index(down)}) + first + index(i)
        store = Store(self.array, to, Load(square, index(i) * lanes + index(down)))
        result.append(Loop(down, (Loop(i, (store,), "vector", lanes=lanes),), "unroll"))
        return tuple(result)

    def _joined(self, loops: list[Var], fixed_first: bool) -> tuple[list[Var], dict[Atom, Expr]]:
        """Loops with those joined that walk memory as one would, and the values of those that are gone."""
        steps = [self._steps(v) for v in (self.depth.cut, *self.depth.inner)]
        joins: dict[Atom, Expr] = {}
        result, last = [loops[-1]], steps[-1]
        for number in range(len(loops) - 2, -1, -1):
            outer, inner, step = loops[number], result[0], steps[number]
            follows = (last is not None and step == tuple(s * inner.extent for s in last)
                       and not (fixed_first and number == 0))
            if follows:
                both = Var(inner.name, inner.extent * outer.extent)
                joins = {v: expr.substitute(e, {inner: index(both)}) for v, e in joins.items()}
                joins |= {outer: expr.ZERO, inner: index(both)}
                result[0] = both
            else:
                result.insert(0, outer)
                last = step
        return result, joins

    def _steps(self, v: Var) -> tuple[int, ...] | None:
        """By how much every index and guard grows with a variable; None if not evenly."""
        expressions = self.found.expressions(self.value)
        if any(_divides(e, v) for e in expressions):
            return None
        return tuple(dict(e.terms).get(v, 0) for e in expressions)

    def _run_along_k(self, extent: int) -> int:
        """How many neighbours in memory a vector along the innermost loop over k finds."""
        v = self.depth.inner[-1] if self.depth.inner else self.depth.cut
        return self._run(v, extent)

    def _run_along_tile(self) -> int:
        """How many neighbours in memory a vector along the tile finds."""
        run, step = 1, None
        for v in reversed(self.along):
            steps = self._steps(v)
            if step is not None and (steps is None or steps != tuple(s * run for s in step)):
                break
            if step is None:
                step = steps
                if step is None or not any(step):
                    break
            run *= v.extent
        return self._run(self.along[-1], run)

    def _run(self, v: Var, extent: int) -> int:
        values = [let.value for let in self.found.needed([self.value])] + [self.value]
        indices = [x.index for value in values for x in walk_values(value) if isinstance(x, Load)]
        shortest = self.lanes
        for e in indices:
            if _divides(e, v):
                return 1
            step = abs(dict(e.terms).get(v, 0))
            shortest = min(shortest, self.lanes if step == 0 else extent // step if step <= NEAR else 1)
        return max(shortest, 1)


def _divides(e: Expr, v: Var) -> bool:
    return any(isinstance(a, Quotient | Remainder) and v in expr.variables(a.base) for a in expr.atoms(e))


def guarded_value(found: Contraction, value: Value, values: dict[Atom, Expr],
                  guards: tuple[Guard, ...]) -> tuple[tuple[Statement, ...], Value]:
    """The bindings of a factor at some values of its variables, and the factor itself; memory is read only
    where the guards hold."""
    *bound, last = guarded(substitute((*found.needed([value]), Let("packed", value)), values), guards)
    assert isinstance(last, Let)
    return tuple(bound), last.value


def guarded(body: Iterable[Statement], guards: tuple[Guard, ...]) -> tuple[Statement, ...]:
    """Statements whose loads and stores of memory happen only where the guards hold."""
    if not guards:
        return tuple(body)
    shared = ("parameter", "temporary")

    def visit(v: Value) -> Value:
        if isinstance(v, Load) and v.array.space in shared:
            return replace(v, guards=(*v.guards, *guards))
        return v

    result: list[Statement] = []
    for s in body:
        assert isinstance(s, Let | Store), s
        s = replace(s, value=map_value(s.value, visit))
        if isinstance(s, Store) and s.array.space in shared:
            s = replace(s, guards=(*s.guards, *guards))
        result.append(s)
    return tuple(result)


def nested(loops: Sequence[Var], body: tuple[Statement, ...]) -> tuple[Statement, ...]:
    """Serial loops in each other around statements."""
    for v in reversed(loops):
        body = (Loop(v, body),)
    return body
