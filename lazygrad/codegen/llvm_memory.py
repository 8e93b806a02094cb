"""Arrays of a nest in LLVM: loads and stores of lanes, and register arrays as slots.

A register array has no memory: each constant index, or each run of lanes, is a *slot*, an alloca that LLVM
turns into an
SSA value. Arrays whose accesses do not fit that (an index known only at run time, runs of lanes that
overlap) live on the
stack instead: `NeedsMemory` asks to render again with the array there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lazygrad.codegen.llvm_builder import Builder, Label
from lazygrad.codegen.llvm_index import Indices, Rendered
from lazygrad.codegen.llvm_values import (
    TYPE_BYTES,
    Value,
    constant,
    constant_vector,
    memory_type,
    register_type,
)
from lazygrad.codegen.loopnest import Array
from lazygrad.dtypes import bfloat16, bool_, int8, int16
from lazygrad.expr import Expr, Guard

Guards = tuple[Guard, ...]
MAX_SPREAD_STRIDE = 4  # up to here lanes are spread out and stored with a mask
MAX_SHUFFLED_STRIDE = 8  # up to here whole runs of memory are loaded and their lanes picked
CHUNK_BYTES = 16  # of vectors: within these, one instruction interleaves runs of lanes
# as which lanes are moved before they become values: bits are slow to move, floats are twice as wide
HELD_AS = {bool_: int8, bfloat16: int16}
MAX_RUNS = 5  # up to here lanes in several runs of neighbours take a load or store each


class NeedsMemory(Exception):
    """A register array that must live on the stack."""

    def __init__(self, array: Array):
        super().__init__(array.name)
        self.array = array


class Memory:
    """Loads and stores at index expressions, in the function that `indices` builds."""

    def __init__(self, indices: Indices, pointers: Mapping[Array, Value]):
        self.indices, self.builder = indices, indices.builder
        self.pointers = dict(pointers)
        self.private: frozenset[Array] = frozenset()  # register arrays of which each lane has its own
        self._slots: dict[tuple[Array, int, int, int], Value] = {}
        self._owners: dict[tuple[Array, int], tuple[int, int]] = {}
        self._columns: dict[
            Array, tuple[Label | None, list[Value]]
        ] = {}  # of tiles, with the block that has them

    # ---- register slots

    def in_slots(self, array: Array) -> bool:
        return array.space == "register" and array not in self.pointers

    def slot(self, array: Array, offset: int, lanes: int = 0, valid: int = 1, part: int = -1) -> Value:
        """The alloca of elements [offset, offset + valid) held as a vector of `lanes`, or of a private
        lane's element."""
        if part < 0:
            for element in range(offset, offset + valid):
                if self._owners.setdefault((array, element), (offset, lanes)) != (offset, lanes):
                    raise NeedsMemory(array)
        key = (array, offset, lanes, part)
        if key not in self._slots:
            self._slots[key] = alloca(self.builder, array, lanes, f"{array.name}_slot{offset}")
        return self._slots[key]

    def slots(self, array: Array, index: Expr) -> Value | list[Value]:
        """Where the element at a resolved index lives: one slot, or one of vectors for each part."""
        lanes = self.indices.lanes
        if lanes is not None and array in self.private:
            if not index.is_constant:
                raise NeedsMemory(array)
            return [self.slot(array, index.constant, lanes.lanes, part=p) for p in range(lanes.parts)]
        if lanes is None or not self.indices.varies(index):
            if not index.is_constant:
                raise NeedsMemory(array)
            return self.slot(array, index.constant)
        if self.indices.stride(index) != 1 or not isinstance(lanes.base, int):
            raise NeedsMemory(array)
        offsets = [self.indices.at_part(index, p) for p in range(lanes.parts)]
        if not all(e.is_constant for e in offsets):
            raise NeedsMemory(array)
        return [self.slot(array, e.constant, lanes.lanes, lanes.valid(p)) for p, e in enumerate(offsets)]

    def _column(self, array: Array, index: Expr) -> Value | None:
        """A column of a square tile whose rows are slots; all columns are made together by swapping
        blocks."""
        lanes = self.indices.lanes
        if lanes is None or lanes.parts > 1 or lanes.base != 0 or array.size != lanes.lanes**2:
            return None
        if array in self.private or self.indices.stride(index) != lanes.lanes:
            return None
        place = self.indices.at_part(index, 0)
        keys = [(array, t * lanes.lanes, lanes.lanes, -1) for t in range(lanes.lanes)]
        if (
            not place.is_constant
            or not 0 <= place.constant < lanes.lanes
            or any(k not in self._slots for k in keys)
        ):
            return None
        block, columns = self._columns.get(array, (None, []))
        if block != self.builder.block:
            rows = [self.load_slot(array, self._slots[k], lanes.lanes, array.name) for k in keys]
            columns = self._transposed(rows)
            self._columns[array] = self.builder.block, columns
        return columns[place.constant]

    def _transposed(self, rows: list[Value]) -> list[Value]:
        """The columns of a square: within chunks of a small register, rows are interleaved, then chunks are
        dealt out. Every step is one instruction that needs no table of lanes, as such tables would stay in
        registers that the loops around need."""
        size = len(rows)
        chunk, step = min(CHUNK_BYTES // TYPE_BYTES[rows[0].type], size), 1
        while step < size:
            for i in (i for i in range(size) if not i & step):
                x, y = rows[i], rows[i + step]
                rows[i], rows[i + step] = (self.builder.shuffle(x, y, picks) for picks in (
                    _halves(size, chunk, step) if step < chunk else _chunks(size, chunk)))
            step *= 2
        bits = chunk.bit_length() - 1
        reversed_ = [sum((j >> bit & 1) << bits - 1 - bit for bit in range(bits)) for j in range(chunk)]
        return [rows[j // chunk * chunk + reversed_[j % chunk]] for j in range(size)]

    def load_slot(self, array: Array, slot: Value, lanes: int, name: str) -> Value:
        type_ = register_type(array.dtype)
        return self.builder.emit(f"load {constant(type_, 0, lanes).text}, {slot}", type_, lanes, name)

    def update_slot(self, slot: Value, x: Value) -> None:
        self.builder.statement(f"store {x}, {slot}")

    # ---- addresses

    def address(self, array: Array, index: Value, guarded: bool) -> Value:
        """A pointer to an element; a guarded one may lie outside the array, so it is not `inbounds`."""
        keyword = "" if guarded else "inbounds "
        pointer, type_ = self.pointers[array], memory_type(array.dtype)
        return self.builder.emit(
            f"getelementptr {keyword}{type_}, {pointer}, {index}", "ptr", index.lanes, f"{array.name}.at"
        )

    def lane_addresses(self, array: Array, index: Expr, part: int, guarded: bool) -> Value:
        """A pointer for every lane."""
        lanes, stride = self.indices.lanes, self.indices.stride(index)
        assert lanes is not None
        if stride is None:
            return self.address(array, self.indices.vector(index, part), guarded)
        first = self.address(array, self.indices.scalar(index, part), guarded)
        steps = constant_vector("i64", [stride * t for t in range(lanes.lanes)])
        return self.builder.emit(
            f"getelementptr {memory_type(array.dtype)}, {first}, {steps}", "ptr", lanes.lanes
        )

    # ---- loads

    def load(self, array: Array, index: Expr, guards: Guards, name: str) -> Rendered:
        """array[index], 0 where a guard fails; a list of vectors where it varies from lane to lane."""
        index = self.indices.resolve(index)
        lanes = self.indices.lanes
        if self.in_slots(array):
            column = self._column(array, index)
            if column is not None:
                return [column]
            found = self.slots(array, index)
            if isinstance(found, Value):
                return self.load_slot(array, found, 0, name)
            assert lanes is not None
            return [self.load_slot(array, slot, lanes.lanes, name) for slot in found]
        varies = self.indices.varies(index) or any(
            self.indices.varies(self.indices.resolve(g.e)) for g in guards
        )
        if lanes is None or not varies:
            return self._load_scalar(array, self.indices.scalar(index), self.indices.holds(guards), name)
        return [self._load_lanes(array, index, guards, part, name) for part in range(lanes.parts)]

    def _load_scalar(self, array: Array, index: Value, holds: Value | None, name: str) -> Value:
        pointer = self.address(array, index, holds is not None)
        if holds is not None:  # where the guard fails, a zero elsewhere is read: no branch
            zero = self.builder.module.table("zero", "i64", [0])
            pointer = self.builder.select(holds, pointer, zero)
        return self.builder.load(pointer, array.dtype, name=name)

    def _load_lanes(self, array: Array, index: Expr, guards: Guards, part: int, name: str) -> Value:
        b, lanes, stride = self.builder, self.indices.lanes, self.indices.stride(index)
        assert lanes is not None
        holds = self.indices.holds(guards, part)
        if stride == 0:
            return self._load_same(array, index, holds, part, name)
        mask, guarded = self.indices.mask_of(holds, part), holds is not None
        if stride in (1, -1):
            first = self.indices.scalar(index if stride == 1 else index - (lanes.lanes - 1), part)
            pointer = self.address(array, first, guarded or mask is not None)
            if stride == 1:
                return b.load(pointer, array.dtype, lanes.lanes, mask, name=name)
            held = HELD_AS.get(array.dtype, array.dtype)
            whole = b.load(pointer, held, lanes.lanes, mask and self._reverse(mask))
            return b.from_memory(self._reverse(whole), array.dtype, name)
        if stride is not None and 2 <= stride <= MAX_SHUFFLED_STRIDE:
            return self._load_spread(array, index, stride, mask, part, name)
        runs = self._runs(array, index, part, mask, 1) if stride is None else []
        if runs:
            whole = b.const(register_type(array.dtype), 0, lanes.lanes)
            for pointer, here, _ in runs:
                whole = b.select(here, b.load(pointer, array.dtype, lanes.lanes, here, name=name), whole)
            return whole
        return b.load(self.lane_addresses(array, index, part, guarded), array.dtype, mask=mask, name=name)

    def _load_spread(
        self, array: Array, index: Expr, stride: int, mask: Value | None, part: int, name: str
    ) -> Value:
        """Every few elements: whole runs of memory are loaded, and the lanes picked from them."""
        b, lanes = self.builder, self.indices.lanes
        assert lanes is not None
        shift = self._run_shift(array, index, stride) if mask is None else None
        pointer = self.address(array, self.indices.scalar(index - (shift or 0), part), shift is None)
        apart = self._spread_mask(mask, stride) if shift is None else None
        wide = b.load(pointer, HELD_AS.get(array.dtype, array.dtype), stride * lanes.lanes, apart)
        picked = b.shuffle(wide, wide, [stride * t + (shift or 0) for t in range(lanes.lanes)], name)
        return b.from_memory(picked, array.dtype, name)

    def _spread_mask(self, mask: Value | None, stride: int) -> Value:
        """Lanes' masks moved `stride` apart, with false between."""
        lanes = self.indices.lanes
        assert lanes is not None
        if mask is None:
            return constant_vector("i1", [t % stride == 0 for t in range(stride * lanes.lanes)])
        return self._spread(mask, constant("i1", False, lanes.lanes), stride)

    def _spread(self, x: Value, between: Value, stride: int) -> Value:
        picks = [t // stride if t % stride == 0 else x.lanes for t in range(stride * x.lanes)]
        return self.builder.shuffle(x, between, picks)

    def _load_same(self, array: Array, index: Expr, holds: Value | None, part: int, name: str) -> Value:
        """One element for all lanes of a part, under a guard that may vary."""
        b, lanes = self.builder, self.indices.lanes
        assert lanes is not None
        first = self.indices.scalar(index, part)
        if holds is None or not holds.lanes:
            return b.splat(self._load_scalar(array, first, holds, name), lanes.lanes)
        some = b.intrinsic("vector.reduce.or", "i1", 0, (holds,), f"v{lanes.lanes}i1")
        loaded = b.splat(self._load_scalar(array, first, some, name), lanes.lanes)
        return b.select(holds, loaded, b.const(loaded.type, 0, lanes.lanes))

    def _run_shift(self, array: Array, index: Expr, stride: int) -> int | None:
        """How far before the first lane a run of memory may begin to stay within the array; None: nowhere."""
        low, high = index.bounds
        shifts = (s for s in range(stride) if low >= s and high - s + stride - 1 < array.size)
        return next(shifts, None)

    def _reverse(self, x: Value, name: str = "") -> Value:
        return self.builder.shuffle(x, x, range(x.lanes - 1, -1, -1), name)

    # ---- stores

    def store(self, array: Array, index: Expr, x: Rendered, guards: Guards) -> None:
        """array[index] = x where the guards hold."""
        index = self.indices.resolve(index)
        if self.in_slots(array):
            found = self.slots(array, index)
            self._store_slots(array, found, x, guards)
        elif self.indices.lanes is None or not self._stored_by_lanes(index, x, guards):
            scalar = self.indices.scalar(index)
            holds = self.indices.holds(guards)
            assert isinstance(x, Value)
            self.branch(holds, lambda: self.builder.store(x, self.address(array, scalar, False), array.dtype))
        else:
            for part, vector in enumerate(self.indices.splat(x)):
                self.store_lanes(array, index, vector, self.indices.holds(guards, part), part)

    def _stored_by_lanes(self, index: Expr, x: Rendered, guards: Guards) -> bool:
        varies = self.indices.varies
        return isinstance(x, list) or varies(index) or any(varies(self.indices.resolve(g.e)) for g in guards)

    def _store_slots(self, array: Array, found: Value | list[Value], x: Rendered, guards: Guards) -> None:
        if isinstance(found, Value):
            assert isinstance(x, Value), f"{array.name} takes a different value from each lane"
            found, vectors = [found], [x]
        else:
            vectors = self.indices.splat(x)
        self._columns.pop(array, None)
        for part, (slot, vector) in enumerate(zip(found, vectors, strict=True)):
            holds = self.indices.holds(guards, part)
            if holds is not None:
                vector = self.builder.select(holds, vector, self.load_slot(array, slot, vector.lanes, ""))
            self.update_slot(slot, vector)

    def store_lanes(self, array: Array, index: Expr, x: Value, holds: Value | None, part: int) -> None:
        """One part's vector to memory, at a resolved index."""
        b, lanes, stride = self.builder, self.indices.lanes, self.indices.stride(index)
        assert lanes is not None
        mask = self.indices.mask_of(holds, part)
        guarded = mask is not None
        if stride == 0:  # every lane writes one element: the last one that holds stays
            at: Value | int = lanes.valid(part) - 1
            some = holds
            if holds is not None and holds.lanes:
                assert mask is not None
                numbers = b.select(mask, b.lane_numbers("i64", lanes.lanes), 0)
                at, some = b.fold_lanes(b.umax, numbers), b.any_lane(mask)
            last, scalar = b.extract(x, at), self.indices.scalar(index, part)
            self.branch(some, lambda: b.store(last, self.address(array, scalar, False), array.dtype))
        elif stride == 1:
            b.store(x, self.address(array, self.indices.scalar(index, part), guarded), array.dtype, mask)
        elif stride == -1:
            pointer = self.address(array, self.indices.scalar(index - (lanes.lanes - 1), part), guarded)
            b.store(self._reverse(x), pointer, array.dtype, mask and self._reverse(mask))
        elif stride is not None and 2 <= stride <= MAX_SPREAD_STRIDE:
            pointer = self.address(array, self.indices.scalar(index, part), True)
            apart = self._spread(x, b.const(x.type, 0, x.lanes), stride)
            b.store(apart, pointer, array.dtype, self._spread_mask(mask, stride))
        else:
            runs = self._runs(array, index, part, mask, MAX_SPREAD_STRIDE) if stride is None else []
            for pointer, here, step in runs:
                if step > 1:
                    apart = self._spread(x, b.const(x.type, 0, x.lanes), step)
                    b.store(apart, pointer, array.dtype, self._spread_mask(here, step))
                else:
                    b.store(x, pointer, array.dtype, here)
            if not runs:
                b.store(x, self.lane_addresses(array, index, part, guarded), array.dtype, mask)

    def _runs(self, array: Array, index: Expr, part: int, mask: Value | None,
              most: int) -> list[tuple[Value, Value, int]]:
        """For each run of even steps that the lanes fall into, the pointer that its lanes count from, which
        lanes they are, and the step; empty if there are too many, or steps longer than `most`. A run that
        would begin beyond the last lane is given that lane, which stands in the same place of the run
        before."""
        b, lanes, runs = self.builder, self.indices.lanes, self.indices.runs(index)
        assert lanes is not None
        if runs is None or runs.count > MAX_RUNS or not 1 <= runs.stride <= most:
            return []
        first = b.sub(b.const("i64", runs.period), self.indices.scalar(runs.base % runs.period, part))
        starts = [b.const("i64", 0)]
        for number in range(runs.count - 1):
            start = b.add(first, number * runs.period) if number else first
            starts.append(b.umin(start, lanes.lanes - 1))
        numbers = b.lane_numbers("i32", lanes.lanes)
        edges = [b.splat(b.resize(start, "i32"), lanes.lanes) for start in starts]
        found = []
        for number, start in enumerate(starts):
            element = b.sub(self.indices.at_lane(index, part, start), b.mul(start, runs.stride))
            here = mask
            for keep in (b.icmp("uge", numbers, edges[number]) if number else None,
                         b.icmp("ult", numbers, edges[number + 1]) if number + 1 < len(edges) else None):
                here = keep if here is None else here if keep is None else b.and_(here, keep)
            assert here is not None
            found.append((self.address(array, element, True), here, runs.stride))
        return found

    # ---- control

    def branch(self, holds: Value | None, body: Callable[[], None]) -> None:
        """body() where a scalar condition holds."""
        if holds is None:
            body()
            return
        b = self.builder
        yes, after = b.label("then"), b.label("after")
        b.branch_if(holds, yes, after)
        b.place(yes)
        outer = self.indices.open()
        body()
        self.indices.close(outer)
        b.branch(after)
        b.place(after)


def _halves(size: int, chunk: int, run: int) -> list[list[int]]:
    """Lanes of two vectors of `size`: runs of x and y in turn, of the lower half of each chunk, and of the
    upper."""
    lower = [start + t // (2 * run) * run + t % run + (size if t // run % 2 else 0)
             for start in range(0, size, chunk) for t in range(chunk)]
    return [lower, [t + chunk // 2 for t in lower]]


def _chunks(size: int, chunk: int) -> list[list[int]]:
    """Lanes of two vectors of `size`: every second chunk, and the others."""
    even = [start + t for start in range(0, 2 * size, 2 * chunk) for t in range(chunk)]
    return [even, [t + chunk for t in even]]


def alloca(builder: Builder, array: Array, lanes: int, name: str) -> Value:
    """A slot in the entry block."""
    type_ = constant(register_type(array.dtype), 0, lanes).text
    return builder.alloca(type_, 1, 64, name)
