"""Statements of a nest as the instructions of one LLVM function."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from lazygrad import dtypes, expr
from lazygrad.codegen.llvm_builder import Builder
from lazygrad.codegen.llvm_compute import combine, compute, identity
from lazygrad.codegen.llvm_index import Indices, Lanes, Rendered
from lazygrad.codegen.llvm_memory import Memory, alloca
from lazygrad.codegen.llvm_values import Value as LlvmValue
from lazygrad.codegen.llvm_values import constant, integer_type, memory_type, register_type
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
    children,
    show_body,
    statement_values,
    walk,
)
from lazygrad.dtypes import DType
from lazygrad.expr import Expr
from lazygrad.helpers import ceil_div
from lazygrad.ops.source import canonical

MOST_VECTORS = 4  # of a vector loop that is written out
MOST_STATEMENTS = 64  # in a vector loop that is written out
UNROLLED_BY_LLVM = 16  # innermost loops of at most so many turns may be unrolled


class Body:
    """Renders statements into `builder`; `pointers` holds the arrays that have an address."""

    def __init__(self, builder: Builder, pointers: Mapping[Array, LlvmValue]):
        self.builder = builder
        self.indices = Indices(builder)
        self.memory = Memory(self.indices, pointers)
        self.products: dict[
            str, tuple[LlvmValue, LlvmValue]
        ] = {}  # factors of each product, by its LLVM name
        self.reductions: dict[
            tuple[Array, int, str], list[LlvmValue]
        ] = {}  # accumulators of the open vector loop

    def statements(self, body: Iterable[Statement]) -> None:
        for s in body:
            if not isinstance(s, Loop | If | Barrier) and not self.indices.fixed:
                self.builder.comment("".join(show_body((s,), 0))[:200])
            _STATEMENTS[type(s)](self, s)

    def scoped(self, body: Iterable[Statement]) -> None:
        """Statements whose Lets and index values end with them."""
        outer = self.indices.open()
        self.statements(body)
        self.indices.close(outer)

    # ---- values

    def value(self, root: Value, name: str = "") -> Rendered:
        """A value tree, inner values first; `name` is a hint for a load at its root."""
        done: dict[int, Rendered] = {}
        stack = [(root, False)]
        while stack:
            v, ready = stack.pop()
            if id(v) in done:
                continue
            inner = children(v)
            if ready or not inner:
                done[id(v)] = _VALUES[type(v)](
                    self, v, [done[id(c)] for c in inner], name if v is root else ""
                )
            else:
                stack.append((v, True))
                stack.extend((c, False) for c in inner)
        return done[id(root)]

    def constant(self, v: Constant, args: list[Rendered], name: str) -> Rendered:
        return constant(register_type(v.dtype), canonical(v.value, v.dtype))

    def read(self, v: Read, args: list[Rendered], name: str) -> Rendered:
        return self.indices.scope.let(v.name)[0]

    def load(self, v: Load, args: list[Rendered], name: str) -> Rendered:
        return self.memory.load(v.array, v.index, v.guards, name or v.array.name)

    def index_value(self, v: IndexValue, args: list[Rendered], name: str) -> Rendered:
        e, b = self.indices.resolve(v.e), self.builder
        if not self.indices.varies(e):
            return b.convert(self.indices.scalar(e), dtypes.int64, v.dtype)
        assert self.indices.lanes is not None
        vectors = (self.indices.vector(e, part) for part in range(self.indices.lanes.parts))
        return [b.convert(x, dtypes.BY_NAME[f"int{x.type[1:]}"], v.dtype) for x in vectors]

    def select(self, v: Select, args: list[Rendered], name: str) -> Rendered:
        b, (x, y) = self.builder, args
        guards = [g for g in v.guards if not g.always]
        varies = any(self.indices.varies(self.indices.resolve(g.e)) for g in guards)
        if not varies and isinstance(x, LlvmValue) and isinstance(y, LlvmValue):
            holds = self.indices.holds(guards)
            return x if holds is None else b.select(holds, x, y)
        pairs = zip(self.indices.splat(x), self.indices.splat(y), strict=True)
        chosen = []
        for part, (yes, no) in enumerate(pairs):
            holds = self.indices.holds(guards, part)
            chosen.append(yes if holds is None else b.select(holds, yes, no))
        return chosen

    def compute(self, v: Compute, args: list[Rendered], name: str) -> Rendered:
        inputs = [a.dtype for a in v.args]
        if all(isinstance(a, LlvmValue) for a in args):
            return self._compute(v, args, inputs)  # type: ignore[arg-type]
        by_part = zip(*(self.indices.splat(a) for a in args), strict=True)
        return self.builder.abreast([partial(self._compute, v, list(part), inputs) for part in by_part])

    def _compute(self, v: Compute, args: list[LlvmValue], inputs: list[DType]) -> LlvmValue:
        result = compute(self.builder, v.op, args, inputs, v.dtype)
        if v.op == "mul" and v.dtype in (dtypes.float32, dtypes.float64):
            self.products[result.name] = (args[0], args[1])
        return result

    # ---- statements

    def let(self, s: Let) -> None:
        self.indices.scope.lets[s.name] = (self.value(s.value, s.name), s.value.dtype)

    def store(self, s: Store) -> None:
        self.memory.store(s.array, s.index, self.value(s.value), s.guards)

    def if_(self, s: If) -> None:
        holds = self.indices.holds(s.guards)
        assert holds is None or not holds.lanes, "the guards of an If depend on a vector loop's variable"
        if holds is None:
            self.scoped(s.body)
        else:
            self.memory.branch(holds, lambda: self.statements(s.body))

    def barrier(self, s: Barrier) -> None:
        """One worker runs the whole body: there is nobody to wait for."""

    # ---- accumulation

    def accumulate(self, s: Accumulate) -> None:
        value, index, memory = self.value(s.value), self.indices.resolve(s.index), self.memory
        lanes = self.indices.lanes
        if memory.in_slots(s.array):
            if lanes is not None and s.array not in memory.private and not self.indices.varies(index):
                self._accumulate_lanes(s, index, self.indices.splat(value))
            else:
                self._accumulate_slots(s, memory.slots(s.array, index), value)
        elif lanes is None:
            assert isinstance(value, LlvmValue)
            scalar, holds = self.indices.scalar(index), self.indices.holds(s.guards)
            memory.branch(holds, lambda: self._update(s, scalar, value))
        else:
            stride = None if s.atomic else self.indices.stride(index)
            update = (
                self._fold_into_memory
                if stride == 0
                else self._by_lane
                if stride is None
                else self._by_vector
            )
            for part, x in enumerate(self.indices.splat(value)):
                update(s, index, x, part)

    def step(self, s: Accumulate, old: LlvmValue, x: LlvmValue) -> LlvmValue:
        """old combined with x; a product is added by one multiply-add."""
        if s.combine == "add" and self.builder.abilities.fuses and x.name in self.products:
            a, b = self.products[x.name]
            return self.builder.fma(a, b, old)
        return combine(self.builder, s.combine, old, x, s.array.dtype)

    def _accumulate_slots(self, s: Accumulate, found: LlvmValue | list[LlvmValue], value: Rendered) -> None:
        slots = found if isinstance(found, list) else [found]
        vectors = self.indices.splat(value) if isinstance(found, list) else [value]
        for part, (slot, x) in enumerate(zip(slots, vectors, strict=True)):
            assert isinstance(x, LlvmValue)
            old = self.memory.load_slot(s.array, slot, x.lanes, s.array.name)
            holds, new = self.indices.holds(s.guards, part), self.step(s, old, x)
            self.memory.update_slot(slot, new if holds is None else self.builder.select(holds, new, old))

    def _accumulate_lanes(self, s: Accumulate, index: Expr, vectors: list[LlvmValue]) -> None:
        """Into vectors of their own, one for each part; `_finish_reductions` adds them up after the loop."""
        self.memory.slots(s.array, index)
        accumulators = self.reductions.setdefault((s.array, index.constant, s.combine), [])
        for part, x in enumerate(vectors):
            if part == len(accumulators):
                accumulators.append(alloca(self.builder, s.array, x.lanes, f"{s.array.name}.lanes"))
            slot = accumulators[part]
            old = self.memory.load_slot(s.array, slot, x.lanes, s.array.name)
            mask, new = self.indices.mask_of(self.indices.holds(s.guards, part), part), self.step(s, old, x)
            self.memory.update_slot(slot, new if mask is None else self.builder.select(mask, new, old))

    def _finish_reductions(self, lanes: int) -> list[str]:
        """Combine the lanes of every accumulator into its element; the lines that must set them up before
        the loop."""
        before = []
        for (array, offset, op), accumulators in self.reductions.items():
            start = identity(op, array.dtype, lanes)
            before += [f"  store {start}, {slot}" for slot in accumulators]
            fold = partial(_fold, self.builder, op, array.dtype)
            vectors = [self.memory.load_slot(array, slot, lanes, array.name) for slot in accumulators]
            while len(vectors) > 1:
                pairs = [vectors[i : i + 2] for i in range(0, len(vectors), 2)]
                vectors = [fold(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
            total = self.builder.fold_lanes(fold, vectors[0])
            slot = self.memory.slot(array, offset)
            old = self.memory.load_slot(array, slot, 0, array.name)
            self.memory.update_slot(slot, fold(old, total))
        self.reductions = {}
        return before

    def _fold_into_memory(self, s: Accumulate, index: Expr, x: LlvmValue, part: int) -> None:
        """All lanes into one element of memory."""
        mask = self.indices.mask_of(self.indices.holds(s.guards, part), part)
        if mask is not None:
            x = self.builder.select(mask, x, identity(s.combine, s.array.dtype, x.lanes))
        total = self.builder.fold_lanes(partial(_fold, self.builder, s.combine, s.array.dtype), x)
        holds = self.indices.holds(s.guards, part)
        if holds is not None and holds.lanes:
            holds = self.builder.intrinsic("vector.reduce.or", "i1", 0, (holds,), f"v{x.lanes}i1")
        scalar = self.indices.scalar(index, part)
        self.memory.branch(holds, lambda: self._update(s, scalar, total))

    def _by_vector(self, s: Accumulate, index: Expr, x: LlvmValue, part: int) -> None:
        """Lane after lane into different elements of memory, evenly spaced."""
        b, stride = self.builder, self.indices.stride(index)
        holds = self.indices.holds(s.guards, part)
        mask = self.indices.mask_of(holds, part)
        if stride == 1:
            pointer = self.memory.address(s.array, self.indices.scalar(index, part), mask is not None)
            old = b.load(pointer, s.array.dtype, x.lanes, mask, name=s.array.name)
        else:
            pointers = self.memory.lane_addresses(s.array, index, part, mask is not None)
            old = b.load(pointers, s.array.dtype, mask=mask, name=s.array.name)
        self.memory.store_lanes(s.array, index, self.step(s, old, x), holds, part)

    def _by_lane(self, s: Accumulate, index: Expr, x: LlvmValue, part: int) -> None:
        """One lane after another, for elements that may be the same."""
        b, lanes = self.builder, self.indices.lanes
        assert lanes is not None
        where, holds = self.indices.vector(index, part), self.indices.holds(s.guards, part)
        loop = b.begin_loop("lane", 0, lanes.valid(part))
        some = b.extract(holds, loop.index) if holds is not None and holds.lanes else holds
        element = b.resize(b.extract(where, loop.index), "i64")
        self.memory.branch(some, lambda: self._update(s, element, b.extract(x, loop.index)))
        b.end_loop(loop)

    def _update(self, s: Accumulate, index: LlvmValue, x: LlvmValue) -> None:
        """One element of memory combined with a scalar."""
        pointer = self.memory.address(s.array, index, False)
        if s.atomic:
            self._update_atomically(s, pointer, x)
        else:
            old = self.builder.load(pointer, s.array.dtype, name=s.array.name)
            self.builder.store(self.step(s, old, x), pointer, s.array.dtype)

    def _update_atomically(self, s: Accumulate, pointer: LlvmValue, x: LlvmValue) -> None:
        """Try again until no other worker has written between our read and our write."""
        b, d = self.builder, s.array.dtype
        held = memory_type(d)
        bits = held if held.startswith("i") else integer_type(held)
        first = b.load_raw(pointer, bits)
        attempt, written, before = b.label("attempt"), b.label("written"), b.block
        b.branch(attempt)
        b.place(attempt)
        line = len(b.lines)
        seen = b.phi([(first, before)], "seen")
        old = b.from_memory(seen if bits == held else b.bitcast(seen, held), d)
        new = b.to_memory(self.step(s, old, x), d)
        new = new if bits == held else b.bitcast(new, bits)
        text = f"cmpxchg {pointer}, {seen}, {new} monotonic monotonic"
        swap = b.emit(text, f"{{ {bits}, i1 }}")
        found = b.emit(f"extractvalue {swap}, 0", bits)
        done = b.emit(f"extractvalue {swap}, 1", "i1")
        b.lines[line] += f", [ {found.name}, %{b.block.name} ]"
        b.branch_if(done, written, attempt)
        b.place(written)

    # ---- loops

    def loop(self, s: Loop) -> None:
        if s.var.extent == 0:
            return
        if s.kind == "unroll" or (s.var.extent == 1 and s.span is None):
            self._unrolled(s)
        elif s.kind == "vector" and s.lanes > 1 and self.indices.lanes is None:
            self._vector(s)
        else:
            self.counted(s, *self._bounds(s, s.var.extent))

    def _bounds(self, s: Loop, end: int) -> tuple[LlvmValue | int, LlvmValue | int]:
        """The turns of a loop that run, of those before `end`."""
        if s.span is None:
            return 0, end
        b = self.builder
        first, last = (self.indices.scalar(e) for e in s.span)
        if s.span[0].bounds[0] < 0:
            first = b.select(b.icmp("sgt", first, 0), first, 0)
        return first, b.select(b.icmp("slt", last, end), last, end)

    def counted(self, s: Loop, begin: LlvmValue | int, end: LlvmValue | int) -> None:
        """A loop of its own, over [begin, end)."""
        small = s.var.extent <= UNROLLED_BY_LLVM and not any(isinstance(inner, Loop) for inner in s.body)
        loop = self.builder.begin_loop(s.var.name, begin, end, unroll=small)
        outer = self.indices.open()
        self.indices.scope.variables[s.var] = loop.index
        self.statements(s.body)
        self.indices.close(outer)
        self.builder.end_loop(loop)

    def _unrolled(self, s: Loop) -> None:
        for i in range(s.var.extent):
            self.indices.fixed[s.var] = expr.const(i)
            self.scoped(s.body)
        del self.indices.fixed[s.var]

    def _vector(self, s: Loop) -> None:
        """`unroll` vectors a turn, then what remains: whole vectors, and the last one masked."""
        private, spread = _register_use(s)
        if any(not self.memory.in_slots(a) for a in private):
            self.counted(s, *self._bounds(s, s.var.extent))
            return
        vectors = ceil_div(s.var.extent, s.lanes)
        # a few vectors need no loop: their indices are constants, which LLVM can move out of the loops around
        short = vectors <= MOST_VECTORS and vectors * len(s.body) <= MOST_STATEMENTS
        parts = vectors if spread or (short and s.span is None) else min(s.unroll, vectors)
        turns = s.var.extent // (parts * s.lanes)
        b, outer_private = self.builder, self.memory.private
        self.memory.private = private
        setup = len(b.lines)
        b.comment(f"{s.var.name}: {s.lanes} lanes, {parts} vectors together")
        done = turns * parts * s.lanes
        if turns == 1 and s.span is None:
            self._lanes(s, Lanes(s.var, s.lanes, parts, 0, s.lanes))
        elif turns:
            loop = b.begin_loop(s.var.name, *self._bounds(s, done), parts * s.lanes)
            self._lanes(s, Lanes(s.var, s.lanes, parts, loop.index, s.lanes))
            b.end_loop(loop)
        if done < s.var.extent:
            rest = ceil_div(s.var.extent - done, s.lanes)
            last = s.var.extent - done - (rest - 1) * s.lanes
            self._lanes(s, Lanes(s.var, s.lanes, rest, done, last))
        self.memory.private = outer_private
        b.lines[setup] = "\n".join([b.lines[setup], *self._finish_reductions(s.lanes)])

    def _lanes(self, s: Loop, lanes: Lanes) -> None:
        outer = self.indices.open()
        self.indices.set_lanes(lanes)
        self.statements(s.body)
        self.indices.close(outer)
        self.indices.set_lanes(None)


def _fold(b: Builder, op: str, dtype: DType, x: LlvmValue, y: LlvmValue) -> LlvmValue:
    return combine(b, op, x, y, dtype)


def _register_use(s: Loop) -> tuple[frozenset[Array], bool]:
    """The register arrays of which every turn of a vector loop has its own element (those that it stores to,
    at an index
    that is the same in every lane), and whether the loop's variable picks elements of register arrays."""
    private: set[Array] = set()
    spread = False
    for inner in walk(s.body):
        accesses = [(v.array, v.index) for v in statement_values(inner) if isinstance(v, Load)]
        if isinstance(inner, Store | Accumulate):
            accesses.append((inner.array, inner.index))
        for array, index in accesses:
            if array.space == "register":
                varies = s.var in expr.variables(index)
                spread = spread or varies
                if isinstance(inner, Store) and (array, index) == accesses[-1] and not varies:
                    private.add(array)
    return frozenset(private), spread


_VALUES: dict[type, Callable[..., Rendered]] = {
    Constant: Body.constant,
    Read: Body.read,
    IndexValue: Body.index_value,
    Load: Body.load,
    Compute: Body.compute,
    Select: Body.select,
}

_STATEMENTS: dict[type, Callable[..., None]] = {
    Let: Body.let,
    Store: Body.store,
    Accumulate: Body.accumulate,
    Loop: Body.loop,
    If: Body.if_,
    Barrier: Body.barrier,
}
