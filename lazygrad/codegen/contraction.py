"""Contractions: sums of products, tiled for registers and caches over packed panels.

    for m: for n: acc = 0; for k: acc += a(m, k) * b(k, n); out[m, n] = epilogue(acc)

becomes, with register tiles of rows x columns (14 x 32 with 512-bit vectors),

    parallel over row tiles of a:      panel_a[tile, k, i] = a(tile*rows + i, k)
    parallel over column blocks of b:  panel_b[tile, k, j] = b(k, tile*columns + j)        (this worker's own)
        for row tile: for column tile:
            acc[rows, columns] = 0     (registers)
            for k: acc[i, j] += panel_a[tile, k, i] * panel_b[tile, k, j]
            out = epilogue(acc)

Which axis is what is read off the nest: k is folded, m is used by `a` alone, n by `b` alone, and axes that
both use, or that do not vectorise, are outer loops. So every layout of a matrix product, batches,
convolutions and their gradients take this one path. Guards, casts and elementwise prologues are evaluated
while packing. After Goto and van de Geijn,
"Anatomy of High-Performance Matrix Multiplication", 2008.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from lazygrad import expr
from lazygrad.codegen.loopnest import (
    Accumulate,
    Array,
    Compute,
    Constant,
    If,
    Let,
    Load,
    Loop,
    LoopNest,
    Read,
    Select,
    Statement,
    Store,
    Value,
    map_value,
    substitute,
    walk,
)
from lazygrad.codegen.transform import reads
from lazygrad.dtypes import DType
from lazygrad.expr import Atom, Expr, Guard, Quotient, Remainder, Var
from lazygrad.helpers import ceil_div, product
from lazygrad.source import Target

MIN_WORK = 1 << 14  # multiply-adds below which packing costs more than it saves


@dataclass(frozen=True)
class Contraction:
    """What a nest contracts. Variables are in loop order; `lets` are all bindings of the nest by name."""

    outer: tuple[Var, ...]
    m: tuple[Var, ...]
    n: tuple[Var, ...]
    k: tuple[Var, ...]
    a: Value
    b: Value
    accumulator: Array
    result: str  # the name that the epilogue reads the sum by
    lets: dict[str, Let]
    stores: tuple[Store, ...]

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Elements of m, n and k."""
        m, n, k = (product(v.extent for v in group) for group in (self.m, self.n, self.k))
        return m, n, k

    def needed(self, values: Iterable[Value], known: frozenset[str] = frozenset()) -> list[Let]:
        """The bindings that values depend on, in an order in which they can be evaluated."""
        order: dict[str, Let] = {}
        stack = [(name, False) for v in values for name in _names(v)]
        while stack:
            name, ready = stack.pop()
            if ready:
                order[name] = self.lets[name]
            elif name not in order and name not in known:
                stack.append((name, True))
                stack.extend((inner, False) for inner in _names(self.lets[name].value))
        return list(order.values())

    def variables(self, value: Value) -> set[Var]:
        """Every loop variable that a value depends on."""
        values = [value, *(let.value for let in self.needed([value]))]
        return {v for x in values for v in _value_variables(x)}


def _names(value: Value) -> set[str]:
    return reads((Let("_", value),))[0]


def _value_variables(value: Value) -> set[Var]:
    found: set[Var] = set()

    def visit(v: Value) -> Value:
        expressions = [g.e for g in getattr(v, "guards", ())]
        expressions += [v.index] if isinstance(v, Load) else []
        expressions += [v.e] if hasattr(v, "e") else []
        for e in expressions:
            found.update(x for x in expr.variables(e) if isinstance(x, Var))
        return v

    map_value(value, visit)
    return found


# Recognition


def recognise(nest: LoopNest) -> Contraction | None:
    """The contraction that a naive nest is, or None."""
    loops = [s for s in nest.body if isinstance(s, Loop)]
    if len(loops) != 1:
        return None
    domain: list[Var] = []
    folded: list[Var] = []
    lets: dict[str, Let] = {}
    stores: list[Store] = []
    sums: list[Accumulate] = []
    for s in walk(nest.body):
        match s:
            case Loop(var, _, "domain"):
                domain.append(var)
            case Loop(var, _, "reduce"):
                folded.append(var)
            case Let():
                lets[s.name] = s
            case Store():
                stores.append(s)
            case Accumulate():
                sums.append(s)
            case _:
                return None
    outputs = tuple(s for s in stores if s.array.space == "parameter")
    if len(sums) != 1 or sums[0].combine != "add" or not folded or not _is_chain(loops[0]):
        return None
    total = sums[0]
    result = [let.name
              for let in lets.values() if isinstance(let.value, Load) and let.value.array == total.array]
    guards, value = _unguarded(total.value, lets)
    kind = total.array.dtype
    if len(result) != 1 or not isinstance(value, Compute) or value.op != "mul" or value.dtype != kind:
        return None
    first, second = value.args
    found = Contraction(tuple(domain), (), (), tuple(folded), first, second, total.array, result[0],
                        lets, outputs)
    if guards:
        found = _with_guards(found, guards)
    if any(set(_value_variables_deep(found, s)) & set(folded) for s in outputs):
        return None
    return _with_axes(found)


def _unguarded(value: Value, lets: dict[str, Let]) -> tuple[tuple[Guard, ...], Value]:
    """The guards outside which a summand is 0, and the value within them."""
    value = lets[value.name].value if isinstance(value, Read) else value
    if isinstance(value, Select) and isinstance(value.otherwise, Constant) and value.otherwise.value == 0:
        inner = value.value
        return value.guards, lets[inner.name].value if isinstance(inner, Read) else inner
    return (), value


def _with_guards(found: Contraction, guards: tuple[Guard, ...]) -> Contraction:
    """The factor that depends on the guards' variables becomes 0 outside them."""
    needed = {v for g in guards for v in expr.variables(g.e)}
    zero = Constant(0.0, found.accumulator.dtype)
    if needed <= found.variables(found.a):
        return replace(found, a=Select(guards, found.a, zero))
    if needed <= found.variables(found.b):
        return replace(found, b=Select(guards, found.b, zero))
    return replace(found, outer=())  # no factor alone can carry them: no contraction


def _is_chain(loop: Loop) -> bool:
    """Whether domain loops lie directly in each other with one chain of reduce loops in the innermost."""
    inner = [s for s in loop.body if isinstance(s, Loop)]
    return not inner or (len(inner) == 1 and _is_chain(inner[0]))


def _value_variables_deep(found: Contraction, store: Store) -> set[Var]:
    known = frozenset((found.result,))
    values = [store.value, *(let.value for let in found.needed([store.value], known))]
    return {v for x in values for v in _value_variables(x)}


def _with_axes(found: Contraction) -> Contraction | None:
    """The contraction with its axes told apart, `b` being the factor that varies along the output's
    contiguous axis."""
    in_a, in_b = found.variables(found.a), found.variables(found.b)
    only_a = [v for v in found.outer if v in in_a and v not in in_b]
    only_b = [v for v in found.outer if v in in_b and v not in in_a]
    strides = _strides(found.stores[0].index)
    nearest = min((v for v in (*only_a, *only_b)), key=lambda v: strides.get(v, 1 << 60), default=None)
    if nearest is None or not only_a or not only_b:
        return None
    a, b = found.a, found.b
    if nearest in only_a:
        a, b, only_a, only_b = b, a, only_b, only_a
    found = replace(found, a=a, b=b)
    n = _vector_axes(found, only_b, strides)
    m = tuple(only_a)
    outer = tuple(v for v in found.outer if v not in n and v not in m)
    return replace(found, outer=outer, m=m, n=n)


def _strides(e: Expr) -> dict[Var, int]:
    return {atom: abs(factor) for atom, factor in e.terms if isinstance(atom, Var)}


def _vector_axes(found: Contraction, candidates: Sequence[Var], strides: dict[Var, int]) -> tuple[Var, ...]:
    """The axes that are flattened into n: the contiguous one,
    and those further out while indices stay linear in n, or while n would be shorter than a vector."""
    ordered = sorted(candidates, key=lambda v: strides.get(v, 1 << 60))
    chosen = [ordered[0]]
    for v in ordered[1:]:
        wider = [v, *chosen]
        if product(x.extent for x in chosen) >= 12 and not _linear(found, wider):
            break
        chosen = wider
    return tuple(chosen)


def _linear(found: Contraction, variables: Sequence[Var]) -> bool:
    """Whether loads of b and the stores stay free of divisions when these variables become one."""
    values = unflattened(expr.var("n", product(v.extent for v in variables)), variables)
    loads = [x for let in found.needed([found.b]) for x in (let.value,) if isinstance(x, Load)]
    indices = [load.index for load in loads] + [s.index for s in found.stores]
    guards = [g.e for load in loads for g in load.guards]
    replaced = [expr.substitute(e, values) for e in (*indices, *guards)]
    return not any(isinstance(atom, Quotient | Remainder) for e in replaced for atom in expr.atoms(e))


def unflattened(index: Expr, variables: Sequence[Var]) -> dict[Atom, Expr]:
    """The value of each variable at a row-major index over all of them."""
    values: dict[Atom, Expr] = {}
    for v in reversed(variables[1:]):
        values[v], index = index % v.extent, index // v.extent
    # the outermost may run beyond its extent: guarded
    return {**values, variables[0]: index} if variables else values


# Tiling


@dataclass(frozen=True)
class Tiles:
    """Sizes of a tiling: register tile, tiles per task, block of k;
    tasks share the row tiles in `row_parts`."""

    rows: int
    columns: int
    lanes: int
    column_tiles: int  # of one task
    row_parts: int
    k_block: int


def choose_tiles(found: Contraction, target: Target) -> Tiles:
    """Sizes from the target's vectors, registers and caches."""
    m, n, k = found.sizes
    itemsize = found.accumulator.dtype.itemsize
    lanes = max(target.vector_bytes // itemsize, 1)
    vectors = 2 if n > lanes else 1
    most = (target.registers - 4) // 2 if vectors == 2 else min(target.registers // 2, 16)
    rows = min(range(1, most + 1), key=lambda r: (ceil_div(m, r) * (r + 1.5), -r))
    columns = vectors * lanes
    room = max(target.l2_bytes // 2 // itemsize, columns)
    k_block = k if k * columns <= room else max(room // columns // 2, 1)
    tiles = ceil_div(n, columns)
    outer = product(v.extent for v in found.outer)
    wanted = max(4 * target.threads // max(outer, 1), 1)
    column_tiles = max(1, min(tiles, room // (k_block * columns), ceil_div(tiles, wanted)))
    tasks = outer * ceil_div(tiles, column_tiles)
    row_parts = 1 if tasks >= target.threads else min(ceil_div(target.threads, tasks), ceil_div(m, rows))
    return Tiles(rows, columns, lanes, column_tiles, row_parts, k_block)


def contract(nest: LoopNest, target: Target) -> LoopNest | None:
    """The tiled nest, or None where the nest is no contraction or too small to gain."""
    found = recognise(nest)
    if found is None:
        return None
    m, n, k = found.sizes
    if m * n * k * product(v.extent for v in found.outer) < MIN_WORK or m < 2 or n < 2 or k < 4:
        return None
    tiles = choose_tiles(found, target)
    words = (f"contract(m={'*'.join(v.name for v in found.m)} n={'*'.join(v.name for v in found.n)} "
             f"k={'*'.join(v.name for v in found.k)})", f"tile({tiles.rows},{tiles.columns})", "pack(a)",
             "pack(b)", f"vectorize(n,{tiles.lanes})", f"block(k,{tiles.k_block})",
             f"parallelize(n/{tiles.column_tiles * tiles.columns})")
    return replace(nest, body=_Builder(found, tiles).body(), recipe=(*nest.recipe, *words))


class _Builder:
    """Builds the phases of one tiled contraction."""

    def __init__(self, found: Contraction, tiles: Tiles):
        self.found, self.tiles = found, tiles
        self.m, self.n, self.k = found.sizes
        self.kind: DType = found.accumulator.dtype
        self.row_tiles = ceil_div(self.m, tiles.rows)
        self.k_blocks = ceil_div(self.k, tiles.k_block)
        in_a = found.variables(found.a)
        self.outer_a = tuple(v for v in found.outer if v in in_a)
        size_a = (product(v.extent for v in self.outer_a) * self.row_tiles * self.k_blocks * tiles.k_block
                  * tiles.rows)
        self.panel_a = Array("panel_a", self.kind, size_a, "temporary")
        self.panel_b = Array("panel_b", self.kind, tiles.column_tiles * tiles.k_block * tiles.columns,
                             "scratch")
        self.acc = Array("tile", self.kind, tiles.rows * tiles.columns, "register")
        self.part_tiles = ceil_div(self.row_tiles, tiles.row_parts)
        self.partial = Array("partial", self.kind,
                             self.part_tiles * tiles.rows * tiles.column_tiles * tiles.columns, "scratch")

    def body(self) -> tuple[Statement, ...]:
        return self.pack_a(), self.compute()

    # Packing

    def _packed(self, value: Value, values: dict[Atom, Expr], inside: tuple[Guard, ...],
                in_k: tuple[Guard, ...], array: Array, index: Expr) -> tuple[Statement, ...]:
        """The statements that evaluate one element of a factor and store it in its panel."""
        lets: tuple[Statement, ...] = (*self.found.needed([value]), Store(array, index, value))
        *bound, store = guarded(substitute(lets, values), inside + in_k)
        assert isinstance(store, Store)
        if in_k:  # beyond the end of k the product must vanish, whatever the prologue makes of a zero
            store = replace(store, value=Select(in_k, store.value, Constant(0.0, self.kind)))
        return (*bound, store)

    def pack_a(self) -> Statement:
        t = self.tiles
        task = Var("pack", product(v.extent for v in self.outer_a) * self.row_tiles)
        outer, tile = _divmod(expr.var(task.name, task.extent), self.row_tiles)
        i = Var("pi", t.rows)
        row = tile * t.rows + _index(i)
        depth, at_k, loops = self.k_loops("pa", None)
        values = {**unflattened(outer, self.outer_a), **unflattened(row, self.found.m), **at_k}
        index = (_index(task) * (self.k_blocks * t.k_block) + depth) * t.rows + _index(i)
        body = self._packed(self.found.a, values, _unless(row, self.m), _unless(depth, self.k), self.panel_a,
                            index)
        inner = Loop(i, body, "vector", lanes=min(t.lanes, _power_of_two(t.rows)))
        return Loop(task, _nested(loops, inner), "parallel", grain=1)

    def k_loops(self, prefix: str, start: Expr | None) -> tuple[Expr, dict[Atom, Expr], list[Var]]:
        """Loops over k while packing: the depth in the panel, the value of each variable of k, and the loops.

        The whole of k is walked variable by variable, so that its index needs no division; a block of it
        (`start` is where the block begins; None: all blocks) by one loop.
        """
        if self.k_blocks == 1:
            loops = [Var(f"{prefix}_{v.name}", v.extent) for v in self.found.k]
            depth = expr.flatten((_index(v) for v in loops), (v.extent for v in loops))
            return depth, {v: _index(w) for v, w in zip(self.found.k, loops, strict=True)}, loops
        extent = self.tiles.k_block if start is not None else self.k_blocks * self.tiles.k_block
        k = Var(f"{prefix}_k", extent)
        at = _index(k) if start is None else start + _index(k)
        return _index(k), unflattened(at, self.found.k), [k]

    def pack_b(self, values: dict[Atom, Expr], first_tile: Expr, k_start: Expr) -> Statement:
        t = self.tiles
        tile, j = Var("bt", t.column_tiles), Var("bj", t.columns)
        column = (first_tile + _index(tile)) * t.columns + _index(j)
        depth, at_k, loops = self.k_loops("pb", k_start)
        values = {**values, **unflattened(column, self.found.n), **at_k}
        index = (_index(tile) * t.k_block + depth) * t.columns + _index(j)
        body = self._packed(self.found.b, values, _unless(column, self.n), _unless(k_start + depth, self.k),
                            self.panel_b, index)
        return Loop(tile, _nested(loops, Loop(j, body, "vector", lanes=t.lanes)))

    # Multiplying

    def compute(self) -> Statement:
        t = self.tiles
        blocks = ceil_div(ceil_div(self.n, t.columns), t.column_tiles)
        task = Var("task", product(v.extent for v in self.found.outer) * blocks * t.row_parts)
        rest, part = _divmod(_index(task), t.row_parts)
        outer, block = _divmod(rest, blocks)
        values = unflattened(outer, self.found.outer)
        outer_a = expr.flatten((values[v] for v in self.outer_a), (v.extent for v in self.outer_a))
        first_tile = block * t.column_tiles
        if self.k_blocks == 1:
            body: tuple[Statement, ...] = (
                self.pack_b(values, first_tile, expr.ZERO),
                self.tiles_loop(outer_a, part, first_tile, lambda rt, ct: (
                    *self.clear(), self.multiply(outer_a, rt, ct, expr.ZERO),
                    self.finish(values, rt, first_tile + ct, None))))
        else:
            body = self.blocked(values, outer_a, part, first_tile)
        return Loop(task, body, "parallel", grain=1)

    def blocked(self, values: dict[Atom, Expr], outer_a: Expr, part: Expr,
                first_tile: Expr) -> tuple[Statement, ...]:
        """Blocks of k one after another, the sums waiting in `partial` between."""
        t = self.tiles
        block, zero = Var("kb", self.k_blocks), Var("z", self.partial.size)
        clear = Loop(zero, (Store(self.partial, _index(zero), Constant(0.0, self.kind)),), "vector",
                     lanes=t.lanes)
        step = self.tiles_loop(outer_a, part, first_tile, lambda rt, ct: (
            self.tile_copy(self.acc, self.partial, rt - part * self.part_tiles, ct, True),
            self.multiply(outer_a, rt, ct, _index(block)),
            self.tile_copy(self.acc, self.partial, rt - part * self.part_tiles, ct, False)))
        run = Loop(block, (self.pack_b(values, first_tile, _index(block) * t.k_block), step))
        finish = self.tiles_loop(outer_a, part, first_tile, lambda rt, ct: (
            self.finish(values, rt, first_tile + ct, self.partial_index(rt - part * self.part_tiles, ct)),))
        return clear, run, finish

    def tiles_loop(self, outer_a: Expr, part: Expr, first_tile: Expr,
                   body: Callable[[Expr, Expr], Iterable[Statement]]) -> Statement:
        """For each row tile of this task, for each of its column tiles that exist."""
        t = self.tiles
        row, column = Var("rt", self.part_tiles), Var("ct", t.column_tiles)
        row_tile = part * self.part_tiles + _index(row)
        guards = (_unless((first_tile + _index(column)) * t.columns, self.n)
                  + _unless(row_tile, self.row_tiles))
        inside = tuple(body(row_tile, _index(column)))
        return Loop(row, (Loop(column, (If(guards, inside),) if guards else inside),))

    def clear(self) -> tuple[Statement, ...]:
        i, j = Var("ci", self.tiles.rows), Var("cj", self.tiles.columns)
        store = Store(self.acc, self.slot(i, j), Constant(0.0, self.kind))
        return (self.over_tile(i, j, (store,)),)

    def slot(self, i: Var, j: Var) -> Expr:
        return _index(i) * self.tiles.columns + _index(j)

    def over_tile(self, i: Var, j: Var, body: tuple[Statement, ...]) -> Statement:
        t = self.tiles
        return Loop(i, (Loop(j, body, "vector", lanes=t.lanes, unroll=t.columns // t.lanes),), "unroll")

    def multiply(self, outer_a: Expr, row_tile: Expr, column_tile: Expr, block: Expr) -> Statement:
        """The micro-kernel: acc[i, j] += panel_a[k, i] * panel_b[k, j]."""
        t = self.tiles
        k, i, j = Var("k", t.k_block), Var("i", t.rows), Var("j", t.columns)
        depth = self.k_blocks * t.k_block
        at_a = (((outer_a * self.row_tiles + row_tile) * depth + block * t.k_block + _index(k)) * t.rows
                + _index(i))
        at_b = (column_tile * t.k_block + _index(k)) * t.columns + _index(j)
        product_ = Compute("mul", (Load(self.panel_a, at_a), Load(self.panel_b, at_b)), self.kind)
        return Loop(k, (self.over_tile(i, j, (Accumulate(self.acc, self.slot(i, j), "add", product_),)),))

    def partial_index(self, row_tile: Expr, column_tile: Expr) -> Expr:
        t = self.tiles
        return (row_tile * t.column_tiles + column_tile) * (t.rows * t.columns)

    def tile_copy(self, acc: Array, partial: Array, row_tile: Expr, column_tile: Expr,
                  load: bool) -> Statement:
        prefix = "l" if load else "s"
        i, j = Var(f"{prefix}i", self.tiles.rows), Var(f"{prefix}j", self.tiles.columns)
        slot, place = self.slot(i, j), self.partial_index(row_tile, column_tile) + self.slot(i, j)
        store = Store(acc, slot, Load(partial, place)) if load else Store(partial, place, Load(acc, slot))
        return self.over_tile(i, j, (store,))

    def finish(self, values: dict[Atom, Expr], row_tile: Expr, column_tile: Expr,
               partial: Expr | None) -> Statement:
        """The epilogue on one tile, from registers or from `partial`."""
        t = self.tiles
        i, j = Var("ei", t.rows), Var("ej", t.columns)
        row, column = row_tile * t.rows + _index(i), column_tile * t.columns + _index(j)
        values = {**values, **unflattened(row, self.found.m), **unflattened(column, self.found.n)}
        source = (Load(self.acc, self.slot(i, j)) if partial is None
                  else Load(self.partial, partial + self.slot(i, j)))
        known = frozenset((self.found.result,))
        lets = self.found.needed([s.value for s in self.found.stores], known)
        statements = (Let(self.found.result, source), *substitute((*lets, *self.found.stores), values))
        body = guarded(statements, _unless(column, self.n))
        below: tuple[Statement, ...] = (Loop(j, body, "vector", lanes=t.lanes, unroll=t.columns // t.lanes),)
        rows = _unless(row, self.m)
        return Loop(i, (If(rows, below),) if rows else below, "unroll")


def guarded(body: Iterable[Statement], guards: tuple[Guard, ...]) -> tuple[Statement, ...]:
    """Statements whose loads and stores of parameters happen only where the guards hold."""
    if not guards:
        return tuple(body)

    def visit(v: Value) -> Value:
        return (replace(v, guards=(*v.guards, *guards)) if isinstance(v, Load)
                and v.array.space == "parameter" else v)

    result: list[Statement] = []
    for s in body:
        assert isinstance(s, Let | Store), s
        s = replace(s, value=map_value(s.value, visit))
        if isinstance(s, Store) and s.array.space == "parameter":
            s = replace(s, guards=(*s.guards, *guards))
        result.append(s)
    return tuple(result)


def _nested(loops: Sequence[Var], inner: Statement) -> tuple[Statement, ...]:
    """Serial loops in each other around a statement."""
    for v in reversed(loops):
        inner = Loop(v, (inner,))
    return (inner,)


def _index(v: Var) -> Expr:
    return expr.var(v.name, v.extent)


def _divmod(e: Expr, divisor: int) -> tuple[Expr, Expr]:
    return e // divisor, e % divisor


def _unless(e: Expr, end: int) -> tuple[Guard, ...]:
    """The guard e < end, none where it always holds."""
    guard = Guard(e, 0, end)
    return () if guard.always else (guard,)


def _power_of_two(n: int) -> int:
    return 1 << (n - 1).bit_length()
