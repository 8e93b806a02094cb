"""Contractions on a GPU: sums of products computed tile by tile, the operands' tiles in local memory.

A contraction is recognised by which variables its two factors use: rows (M) only the first, columns (N) only
the second, batch both, and the folded ones (K). So matmul in every layout, batched, convolutions and their
gradients are one case.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lazygrad import expr
from lazygrad.codegen.choice import UNTUNED, Choice
from lazygrad.codegen.loopnest import (
    Accumulate,
    Array,
    Barrier,
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
    map_value,
    substitute,
    substitute_guards,
    substitute_value,
    walk_values,
)
from lazygrad.codegen.opencl_rows import (
    Body,
    Rows,
    guarded_body,
    open_chain,
    power_of_two,
    rewrite_values,
    unless_always,
)
from lazygrad.dtypes import DType
from lazygrad.expr import Atom, Expr, Guard, Var
from lazygrad.helpers import ceil_div, product
from lazygrad.source import Target

LEAST_SIDE, LEAST_DEPTH = 4, 16  # below these a tile holds too little
MOST_VALUES = 100  # of the code that computes a factor


@dataclass(frozen=True)
class Tiles:
    """Sizes: m x n outputs of a group, k steps at a time; each item holds item_m x item_n of them."""

    m: int
    n: int
    k: int
    item_m: int
    item_n: int
    contiguous: bool = False  # an item's columns are neighbours

    @property
    def items(self) -> int:
        return self.m // self.item_m * (self.n // self.item_n)


@dataclass(frozen=True)
class Contraction:
    """acc = sum over k of `product_of(left, right)`; then `epilogue`, for all of batch, m and n.

    `left` uses no variable of n, `right` none of m. `guards`: conditions on k under which a step counts.
    `n` holds the variable along which outputs are neighbours in memory.
    """

    rows: Rows
    batch: Rows
    m: Rows
    n: Rows
    k: Rows
    left: Value
    right: Value
    product: Value  # reads "left" and "right"
    guards: tuple[Guard, ...]
    accumulator: Array
    before: Body
    epilogue: Body
    tiles: Tiles

    @property
    def groups(self) -> int:
        return self.batch.count * ceil_div(self.m.count, self.tiles.m) * ceil_div(self.n.count, self.tiles.n)


# Recognising


def find_contraction(rows: Rows, target: Target, choice: Choice = UNTUNED) -> Contraction | None:
    """The contraction that rows compute, or None where they are none or too small for tiles."""
    loops = [s for s in rows.body if not isinstance(s, Let | Store)]
    if len(loops) != 1 or not isinstance(loops[0], Loop) or loops[0].kind != "reduce":
        return None
    position = rows.body.index(loops[0])
    before, epilogue = rows.body[:position], rows.body[position + 1 :]
    chain = open_chain(loops[0])
    guards, body = _unguarded(chain.body)
    step = body[-1]
    starts = [s for s in before if isinstance(s, Store)]
    if not (
        isinstance(step, Accumulate)
        and step.combine == "add"
        and len(starts) == 1
        and starts[0].array == step.array
        and step.array.space == "register"
        and all(isinstance(s, Let) for s in body[:-1])
    ):
        return None
    value = _inlined(step.value, [s for s in (*before, *body) if isinstance(s, Let)])
    factors = _factors(value) if value is not None else None
    if factors is None or value is None:
        return None
    left, right, whole = factors
    return _sides(
        rows, chain, left, right, whole, (*guards, *step.guards), step.array, before, epilogue, target, choice
    )


def _unguarded(body: Body) -> tuple[tuple[Guard, ...], Body]:
    if len(body) == 1 and isinstance(body[0], If):
        return body[0].guards, body[0].body
    return (), body


def _inlined(value: Value, lets: Sequence[Let]) -> Value | None:
    """A value with the lets that it reads written out;
    None where that is long or indices are read from tensors."""
    found: dict[str, Value] = {}

    def visit(v: Value) -> Value:
        return found.get(v.name, v) if isinstance(v, Read) else v

    size = 0
    for let in lets:
        found[let.name] = map_value(let.value, visit)
        size += sum(1 for _ in walk_values(found[let.name]))
        if size > MOST_VALUES * 4:
            return None
    value = map_value(value, visit)
    if sum(1 for _ in walk_values(value)) > MOST_VALUES or any(
        not isinstance(v, Var) for v in variables_of(value)
    ):
        return None
    return value


def _factors(value: Value) -> tuple[Value, Value, Value] | None:
    """The two factors of a product, and the value with reads of "left" and "right" in their place.

    The product may stand under casts, and under guards outside which it is 0: then one factor becomes 0
    there.
    """
    casts, shared = [], set[Guard]()
    while isinstance(value, Compute) and value.op == "cast" or _is_zero_outside(value):
        if isinstance(value, Compute):
            casts.append(value)
            value = value.args[0]
        else:
            assert isinstance(value, Select)
            shared |= set(value.guards)
            value = value.value
    if not (isinstance(value, Compute) and value.op == "mul"):
        return None
    left, right = value.args
    if shared:
        needed = {v for g in shared for v in expr.variables(g.e)}
        free_left, free_right = _without(left, shared), _without(right, shared)
        if needed <= variables_of(free_left):
            left, right = _zero_outside(left, shared), free_right
        elif needed <= variables_of(free_right):
            left, right = free_left, _zero_outside(right, shared)
        else:
            return None
    whole: Value = replace(value, args=(Read("left", left.dtype), Read("right", right.dtype)))
    for cast in reversed(casts):
        whole = replace(cast, args=(whole,))
    return left, right, whole


def _is_zero_outside(value: Value) -> bool:
    return isinstance(value, Select) and isinstance(value.otherwise, Constant) and value.otherwise.value == 0


def _without(factor: Value, guards: set[Guard]) -> Value:
    """A factor that reads even where `guards` fail, which stays inside its arrays all the same."""

    def visit(v: Value) -> Value:
        if isinstance(v, Load):
            low, high = v.index.bounds
            if low >= 0 and high < v.array.size:
                return replace(v, guards=tuple(g for g in v.guards if g not in guards))
        return v

    return map_value(factor, visit)


def _zero_outside(factor: Value, guards: set[Guard]) -> Value:
    if isinstance(factor, Load) and guards <= set(factor.guards):
        return factor
    ordered = tuple(sorted(guards, key=str))
    return Select(ordered, factor, Constant(0 if factor.dtype.kind != "float" else 0.0, factor.dtype))


def variables_of(value: Value) -> set[Atom]:
    """The loop variables and run-time integers that a value depends on."""
    found: set[Atom] = set()
    for v in walk_values(value):
        parts = [v.index] if isinstance(v, Load) else [v.e] if isinstance(v, IndexValue) else []
        guards = v.guards if isinstance(v, Load | Select) else ()
        for e in (*parts, *(g.e for g in guards)):
            found |= expr.variables(e)
    return found


def _sides(
    rows: Rows,
    chain: Rows,
    left: Value,
    right: Value,
    whole: Value,
    guards: tuple[Guard, ...],
    accumulator: Array,
    before: Body,
    epilogue: Body,
    target: Target,
    choice: Choice,
) -> Contraction | None:
    of_left, of_right = variables_of(left), variables_of(right)
    m = tuple(v for v in rows.variables if v in of_left and v not in of_right)
    n = tuple(v for v in rows.variables if v in of_right and v not in of_left)
    last = next((v for v in reversed(rows.variables) if v.extent > 1), None)
    if last in m:  # outputs that are neighbours in memory go to neighbouring items
        m, n, left, right = n, m, right, left
        whole = map_value(whole, _swap_reads)
    batch = Rows(tuple(v for v in rows.variables if v not in m and v not in n), ())
    sides = Rows(m, ()), Rows(n, ()), Rows(chain.variables, ())
    guarded_by = {v for g in guards for v in expr.variables(g.e)}
    if guarded_by & {*m, *n} or min(s.count for s in sides[:2]) < LEAST_SIDE or sides[2].count < LEAST_DEPTH:
        return None
    bytes_each = max(left.dtype.itemsize, right.dtype.itemsize)
    tiles = choose_tiles(sides[0].count, sides[1].count, sides[2].count, bytes_each, target, choice)
    lets = tuple(s for s in before if isinstance(s, Let))
    return Contraction(rows, batch, *sides, left, right, whole, guards, accumulator, lets, epilogue, tiles)


def _swap_reads(v: Value) -> Value:
    return replace(v, name={"left": "right", "right": "left"}[v.name]) if isinstance(v, Read) else v


def choose_tiles(
    m: int, n: int, k: int, itemsize: int, target: Target, choice: Choice = UNTUNED
) -> Tiles:
    """Tile sizes that fit the device: powers of two, as large as the sides,
    4 x 4 outputs an item where they are and the choice tells nothing else."""
    side, each = choice.block or 64, choice.rows or 4
    tile_m, tile_n = min(side, power_of_two(m)), min(side, power_of_two(n))
    item_m, item_n = max(1, tile_m * each // side), max(1, tile_n * each // side)
    while tile_m // item_m * (tile_n // item_n) > target.max_group_items:
        if tile_m >= tile_n:
            tile_m //= 2
            item_m = min(item_m, tile_m)
        else:
            tile_n //= 2
            item_n = min(item_n, tile_n)
    tile_k = min(choice.depth or 16, power_of_two(k))
    while tile_k > 1 and (tile_m + tile_n + 2) * tile_k * itemsize > target.local_bytes:
        tile_k //= 2
    return Tiles(tile_m, tile_n, tile_k, item_m, item_n)


# Building


def tile(c: Contraction) -> tuple[Statement, str]:
    """for i, j: acc = 0; for k: acc += a[i, k] * b[k, j]; out[i, j] = f(acc)   ->
    parallel group (64 x 64 outputs): item t (16 x 16 of them, 4 x 4 outputs each):
        acc[4, 4] = 0
        for step: left = a[64 rows, 16 k]; right = b[16 k, 64 columns]; barrier      (local memory, each item
        copies a part)
            for k in 16: acc[u, v] += left[k, row + 16*u] * right[k, column + 16*v]
            barrier
        out[i, j] = f(acc[u, v])                                                     (where i and j are
        inside)
    """
    return _Tiling(c).build()


class _Tiling:
    def __init__(self, c: Contraction):
        t = c.tiles
        self.c = c
        shape = c.batch.count, ceil_div(c.m.count, t.m), ceil_div(c.n.count, t.n)
        self.group, self.item = Var("group", product(shape)), Var("item", t.items)
        batch, self.tile_m, self.tile_n = expr.unflatten(_e(self.group), shape)
        self.batch = c.batch.at(batch)
        self.across = t.n // t.item_n  # items side by side along n
        self.row, self.column = _e(self.item) // self.across, _e(self.item) % self.across
        self.step = Var("step", ceil_div(c.k.count, t.k))
        self.accumulators = Array(
            f"{c.accumulator.name}_tile", c.accumulator.dtype, t.item_m * t.item_n, "register"
        )

    def build(self) -> tuple[Statement, str]:
        c, t = self.c, self.c.tiles
        zero = Constant(0 if c.accumulator.dtype.kind != "float" else 0.0, c.accumulator.dtype)
        clear = Var("clear", t.item_m * t.item_n)
        body: Body = (
            Loop(clear, (Store(self.accumulators, _e(clear), zero),), "unroll"),
            Loop(
                self.step,
                (
                    *self.copy("left", c.left, c.m, self.tile_m * t.m, t.m),
                    *self.copy("right", c.right, c.n, self.tile_n * t.n, t.n),
                    Barrier(),
                    *self.multiply(),
                    Barrier(),
                ),
            ),
            self.finish(),
        )
        sizes = "x".join(str(s.count) for s in (c.batch, c.m, c.n, c.k) if s is not c.batch or s.count > 1)
        words = f"tile({sizes} by {t.m}x{t.n}x{t.k}, {t.items} items of {t.item_m}x{t.item_n})"
        return Loop(self.group, (Loop(self.item, body, "item"),), "parallel"), words

    def array(self, name: str, dtype: DType, width: int) -> Array:
        # one column more than the tile has: items that write along k meet no bank twice
        return Array(f"{name}_tile", dtype, (width + 1) * self.c.tiles.k, "local")

    def copy(self, name: str, factor: Value, side: Rows, start: Expr, width: int) -> list[Statement]:
        """left[k, m] = the factor at (m, k), 0 outside; each item copies a part,
        neighbours from memory to neighbours."""
        c, t = self.c, self.c.tiles
        count = Var(f"{name}_copy", ceil_div(width * t.k, t.items))
        place = _e(count) * t.items + _e(self.item)
        along_k = reads_neighbours(factor, c.k) and not reads_neighbours(factor, side)
        inner_k, inner = (place % t.k, place // t.k) if along_k else (place // width, place % width)
        at, k = start + inner, _e(self.step) * t.k + inner_k
        indices = self.batch | side.at(at) | c.k.at(k)
        guards = unless_always(Guard(at, 0, side.count), Guard(k, 0, c.k.count)) + substitute_guards(
            c.guards, indices
        )
        value = guarded_value(substitute_value(factor, indices), guards)
        store = Store(self.array(name, factor.dtype, width), inner_k * (width + 1) + inner, value)
        body = guarded_body(unless_always(Guard(place, 0, width * t.k)), (store,))
        return [Loop(count, body, "unroll")]

    def multiply(self) -> Body:
        """acc[u, v] += left[k, row + 16*u] * right[k, column + 16*v] for every k of the tile."""
        c, t = self.c, self.c.tiles
        k, u, v = Var("k", t.k), Var("u", t.item_m), Var("v", t.item_n)
        left, right = self.array("left", c.left.dtype, t.m), self.array("right", c.right.dtype, t.n)
        held = {
            "left": Array("left_held", c.left.dtype, t.item_m, "register"),
            "right": Array("right_held", c.right.dtype, t.item_n, "register"),
        }
        from_left = _e(k) * (t.m + 1) + self.row + _e(u) * (t.m // t.item_m)
        from_right = _e(k) * (t.n + 1) + self.column_at(_e(v))
        places = {"left": _e(u), "right": _e(v)}

        def read(value: Value) -> Value:
            return Load(held[value.name], places[value.name]) if isinstance(value, Read) else value

        # sums of their own: what lives across barriers may be kept in memory
        sums, every = (
            replace(self.accumulators, name=f"{c.accumulator.name}_sums"),
            Var("every", t.item_m * t.item_n),
        )
        step = Accumulate(sums, _e(u) * t.item_n + _e(v), "add", map_value(c.product, read))
        return (
            Loop(every, (Store(sums, _e(every), Load(self.accumulators, _e(every))),), "unroll"),
            Loop(
                k,
                (
                    Loop(u, (Store(held["left"], _e(u), Load(left, from_left)),), "unroll"),
                    Loop(v, (Store(held["right"], _e(v), Load(right, from_right)),), "unroll"),
                    Loop(u, (Loop(v, (step,), "unroll"),), "unroll"),
                ),
            ),
            Loop(every, (Store(self.accumulators, _e(every), Load(sums, _e(every))),), "unroll"),
        )

    def column_at(self, v: Expr) -> Expr:
        """The column of an item's output number v: neighbours go to neighbouring items, or to one item."""
        if self.c.tiles.contiguous:
            return self.column * self.c.tiles.item_n + v
        return self.column + v * self.across

    def finish(self) -> Loop:
        """The epilogue for each output of an item."""
        c, t = self.c, self.c.tiles
        u, v = Var("u", t.item_m), Var("v", t.item_n)
        m = self.tile_m * t.m + self.row + _e(u) * (t.m // t.item_m)
        n = self.tile_n * t.n + self.column_at(_e(v))
        indices = self.batch | c.m.at(m) | c.n.at(n)
        result = Load(self.accumulators, _e(u) * t.item_n + _e(v))

        def read(value: Value) -> Value:
            return result if isinstance(value, Load) and value.array == c.accumulator else value

        body = rewrite_values(substitute((*c.before, *c.epilogue), indices), read)
        guards = unless_always(Guard(m, 0, c.m.count), Guard(n, 0, c.n.count))
        return Loop(u, (Loop(v, guarded_body(guards, body), "unroll"),), "unroll")


def _e(v: Var) -> Expr:
    return expr.var(v.name, v.extent)


def reads_neighbours(factor: Value, side: Rows) -> bool:
    """True where steps along the last variable of a side read neighbours in memory."""
    last = next((v for v in reversed(side.variables) if v.extent > 1), None)
    strides = [dict(v.index.terms).get(last, 0) for v in walk_values(factor) if isinstance(v, Load) and last]
    return any(abs(s) == 1 for s in strides)


def guarded_value(value: Value, guards: tuple[Guard, ...]) -> Value:
    """A value that is 0, and reads nothing, where guards fail."""
    if not guards:
        return value

    def visit(v: Value) -> Value:
        return replace(v, guards=(*v.guards, *guards)) if isinstance(v, Load) else v

    plain = value
    while isinstance(plain, Compute) and plain.op == "cast":
        plain = plain.args[0]
    zero = Constant(0 if value.dtype.kind != "float" else 0.0, value.dtype)
    guarded = map_value(value, visit)
    return guarded if isinstance(plain, Load) else Select(guards, guarded, zero)
