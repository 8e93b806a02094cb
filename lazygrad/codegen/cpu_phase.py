"""One phase of a CPU kernel: its chain and its core, what its loops cost in lanes, and how workers share it.

A phase is one top-level loop. Its directly nested domain loops are the *chain*, what the innermost holds is
the *core*. Either a chain loop runs in vector lanes, with one accumulator a lane, or the loops within the
core do; the cheaper by `loop_cost` is taken. The rest of the chain is shared among workers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from lazygrad.codegen.loop_cost import (
    Vectors,
    cost,
    lanes_of,
    moves,
    stride,
    values_in,
    varying_names,
    vector_cost,
)
from lazygrad.codegen.loopnest import (
    Accumulate,
    If,
    Let,
    Load,
    Loop,
    LoopNest,
    Statement,
    Store,
    statement_values,
    walk,
)
from lazygrad.codegen.transform import collapse, find_loop, interchange, mark
from lazygrad.codegen.transform_columns import can_widen, widen
from lazygrad.codegen.transform_cpu import FREE, divide
from lazygrad.codegen.transform_rows import keep_rows
from lazygrad.expr import Var
from lazygrad.helpers import ceil_div, product, round_up
from lazygrad.source import Target

CYCLES_PER_BYTE = 0.25  # of memory traffic, for one core
WORTH_SHARING = 40_000.0  # cycles of a phase below which one worker does it all
WORTH_HANDING = 20_000.0  # cycles of a chunk that a worker takes at once
CHUNKS = 8  # per worker: enough for an even end
BLOCK_BYTES = 16 << 10  # of an array, in one block of a long vector loop
WINDOW = 160.0  # the same, of a window around which another loop runs in lanes
SMALL = 40.0  # instructions in all turns of a loop that is written out
STREAM = 6.0  # instructions in a turn of straight code that leave a core waiting for memory
HALVED = 32  # bytes of a vector: memory streams faster into vectors of this size than into larger ones
LONG_COLUMN = 64  # rows that are worth going over block by block of columns
BUSY = 12.0  # instructions in a turn that keep the processor busy without several vectors together


@dataclass(frozen=True)
class Phase:
    """A top-level loop nest: the directly nested domain loops, and the body of the innermost."""

    chain: tuple[Loop, ...]
    core: tuple[Statement, ...]

    @property
    def is_straight(self) -> bool:
        return not any(isinstance(s, Loop) for s in walk(self.core))


def phase_of(nest: LoopNest) -> Phase:
    """The chain and the core of a nest of one top-level statement."""
    chain: list[Loop] = []
    body = nest.body
    while len(body) == 1 and isinstance(body[0], Loop) and body[0].kind == "domain":
        chain.append(body[0])
        body = body[0].body
    return Phase(tuple(chain), body)


# In lanes


def run_in_lanes(nest: LoopNest, phase: Phase, target: Target, axis: int | None = None) -> LoopNest:
    """The cheapest loops in lanes, the outer ones shared. `axis`: see Choice."""
    nest = unroll_windows(nest, phase)
    phase = phase_of(nest)
    best, least = None, inner_cost(phase, target)
    for loop in () if has_scratch(phase.core) else phase.chain:  # a worker has one scratch for all lanes
        price = chain_cost(phase, loop, target)
        if price < least or price == least and best is not None:  # of equals the innermost
            best, least = loop.var, price
    if axis is not None and axis <= len(phase.chain) and not has_scratch(phase.core):
        best = phase.chain[-axis].var if axis else None
    if best is None:
        nest = keep_rows(nest, phase.chain[-1].var.name, target.l2_bytes // 2)
        return share(mark_inner(nest, target), target, None)
    nest = unroll_small(innermost(nest, phase, best))
    return share(nest, target, best)


def has_scratch(core: Sequence[Statement]) -> bool:
    """Whether statements store into memory of the worker that runs them."""
    return any(isinstance(s, Store | Accumulate) and s.array.space == "scratch" for s in walk(core))


def inner_cost(phase: Phase, target: Target) -> float:
    """Cycles if the loops within the core run in lanes; without such loops, everything runs one by one."""
    return product_of(phase.chain) * body_cost(phase.core, target)


def body_cost(body: Sequence[Statement], target: Target) -> float:
    """Cycles of statements, each free loop of straight code in lanes where that is cheaper."""
    total = 0.0
    for s in body:
        if isinstance(s, Loop):
            best = best_inner(s, target)
            scalar = s.var.extent * (body_cost(s.body, target) + 1.0)
            total += min(vector_cost(s, lanes_of(s.body, target.vector_bytes)), scalar) if best else scalar
        elif isinstance(s, If):
            total += body_cost(s.body, target)
        else:
            total += cost((s,), None)
    return total


def best_inner(loop: Loop, target: Target) -> bool:
    """Whether a loop can run in lanes itself: free, and with straight code inside."""
    straight = not any(isinstance(s, Loop) and s.kind != "unroll" for s in walk(loop.body))
    return loop.kind in ("domain", "reduce") and straight


def chain_cost(phase: Phase, loop: Loop, target: Target) -> float:
    """Cycles if a loop of the chain runs in lanes."""
    lanes = lanes_of(phase.core, target.vector_bytes)
    vectors = Vectors(loop.var, lanes, varying_names(phase.core, loop.var))
    others = product_of([other for other in phase.chain if other is not loop])
    return others * ceil_div(loop.var.extent, lanes) * cost(phase.core, vectors)


def product_of(loops: Sequence[Loop]) -> int:
    """Turns of all the loops together."""
    return product(loop.var.extent for loop in loops)


def innermost(nest: LoopNest, phase: Phase, var: Var) -> LoopNest:
    """The nest with a loop of the chain moved to its end."""
    names = [loop.var.name for loop in phase.chain]
    for inner in names[names.index(var.name) + 1 :]:
        nest = interchange(nest, var.name, inner)
    return nest


def sink(nest: LoopNest, name: str) -> LoopNest:
    """A loop moved inside all loops that are nested directly in it."""
    while True:
        body = find_loop(nest.body, name).body
        if len(body) != 1 or not isinstance(body[0], Loop):
            return nest
        nest = interchange(nest, name, body[0].var.name)


def unroll_windows(nest: LoopNest, phase: Phase) -> LoopNest:
    """Short reductions within domain loops of the core written out, so that those loops can run in lanes."""
    for loop in [s for s in walk(phase.core) if isinstance(s, Loop) and s.kind == "domain"]:
        for s in [s for s in walk(loop.body) if isinstance(s, Loop) and s.kind == "reduce"]:
            if written_out(s) <= WINDOW:
                nest = mark(nest, s.var.name, "unroll")
    return nest


def unroll_small(nest: LoopNest) -> LoopNest:
    """Short loops inside the chain written out: their indices become constants, neighbours share loads."""
    for s in list(walk(phase_of(nest).core)):
        if isinstance(s, Loop) and s.kind in FREE and written_out(s) <= SMALL:
            nest = mark(nest, s.var.name, "unroll")
    return nest


def written_out(loop: Loop) -> float:
    """Instructions of all turns of a loop and its inner loops; no end if one of those must stay a loop."""
    inner = sum(written_out(s) for s in loop.body if isinstance(s, Loop))
    fixed = any(isinstance(s, Loop) and s.kind not in (*FREE, "unroll") for s in walk(loop.body))
    straight = values_in([s for s in loop.body if not isinstance(s, Loop)])
    return float("inf") if fixed else loop.var.extent * (inner + straight)


def mark_inner(nest: LoopNest, target: Target) -> LoopNest:
    """Every free loop with straight code inside, in lanes."""
    for s in list(walk(nest.body)):
        if isinstance(s, Loop) and best_inner(s, target) and s.var.extent > 1:
            nest = vectorize(nest, s, target)
    return nest


def vectorize(nest: LoopNest, loop: Loop, target: Target) -> LoopNest:
    """A loop in lanes, with as many vectors together as suit it."""
    lanes = lanes_of(loop.body, target.vector_bytes)
    if streams(loop.body) and target.vector_bytes > HALVED and loop.var.extent >= lanes:
        lanes //= 2
    return mark(nest, loop.var.name, "vector", lanes, together(loop.body, loop.var.extent, lanes))


def streams(body: Sequence[Statement]) -> bool:
    """Whether statements do little but read and write memory, a register full at a time."""
    held = [v.array for s in body for v in statement_values(s) if isinstance(v, Load)]
    held += [s.array for s in body if isinstance(s, Store | Accumulate)]
    straight = all(isinstance(s, Let | Store | Accumulate) for s in body)
    wide = moves(body) or all(a.dtype.itemsize >= 4 for a in held)
    return straight and values_in(body) <= STREAM and wide


def together(body: Sequence[Statement], extent: int, lanes: int) -> int:
    """How many vectors a turn takes: several, until it holds enough independent instructions. Turns of
    straight code are independent anyway."""
    work, straight = values_in(body), all(isinstance(s, Let | Store) for s in body)
    most = 4 if work <= BUSY and not straight else 2 if work <= 4 * BUSY else 1
    return max(1, min(most, extent // lanes))


def runs_along(loop: Loop, chain: Loop, lanes: int) -> bool:
    """Whether a reduce loop holds straight code whose loads are contiguous along a chain loop, or
    constant."""
    vectors = Vectors(chain.var, lanes, varying_names(loop.body, chain.var))
    loads = [v for s in walk(loop.body) for v in statement_values(s) if isinstance(v, Load)]
    straight = not any(isinstance(s, Loop) for s in walk(loop.body))
    return straight and all(stride(v.index, vectors) in (0, 1) for v in loads)


# Columns in lanes, row by row


def columns(nest: LoopNest, phase: Phase, target: Target) -> LoopNest | None:
    """A phase that goes over long columns more than once, or over many: neighbours in memory in lanes."""
    if has_scratch(phase.core) or not can_widen(phase.core):
        return None
    loops = [s for s in phase.core if isinstance(s, Loop)]
    if not loops or any(s.kind not in FREE for s in loops) or max(map(rows_in, loops)) < LONG_COLUMN:
        return None
    lanes = lanes_of(phase.core, target.vector_bytes)
    best = min(phase.chain, key=lambda loop: (chain_cost(phase, loop, target), -phase.chain.index(loop)))
    if chain_cost(phase, best, target) >= inner_cost(phase, target) or best.var.extent < 8 * lanes:
        return None
    if not all(runs_along(innermost_of(loop), best, lanes) for loop in loops):
        return None
    states = {s.array for s in walk(phase.core) if isinstance(s, Store | Accumulate)}
    held = sum(a.dtype.itemsize for a in states if a.space == "register")
    read = [v.array for s in walk(phase.core) for v in statement_values(s) if isinstance(v, Load)]
    element = max((a.dtype.itemsize for a in read if a.space != "register"), default=0)
    # what a column keeps is read and written for every row: more than that costs more than order saves
    return in_columns(nest, phase, best.var, held, target) if 0 < held <= 2 * element else None


def innermost_of(loop: Loop) -> Loop:
    """The last of loops directly inside each other."""
    while len(loop.body) == 1 and isinstance(loop.body[0], Loop):
        loop = loop.body[0]
    return loop


def rows_in(loop: Loop) -> int:
    """Turns of loops directly inside each other."""
    inner = loop.body[0]
    own = loop.var.extent
    return own * rows_in(inner) if len(loop.body) == 1 and isinstance(inner, Loop) else own


def in_columns(nest: LoopNest, phase: Phase, column: Var, held: int, target: Target) -> LoopNest:
    """Neighbours in memory in lanes, step by step over the rows of a block of columns, each of which keeps
    `held` bytes."""
    workers = min(workers_wanted(phase, target), target.threads)
    wanted = ceil_div(workers, product_of(phase.chain) // column.extent)
    lanes = lanes_of(phase.core, target.vector_bytes)
    width = max(round_up(ceil_div(column.extent, wanted), lanes), 4 * lanes)
    width = min(width, BLOCK_BYTES // held // lanes * lanes)
    nest = divide(innermost(nest, phase, column), column.name, min(width, column.extent))

    def widened(part: LoopNest) -> LoopNest:
        inside = phase_of(part)
        wanted, cycles = workers_wanted(inside, target), total_cycles(inside.chain[0], target)
        part = mark_inner(widen(part, inside.chain[-1].var.name), target)
        outer = [loop.var for loop in inside.chain[:-1]]
        return spread(part, outer, wanted, cycles) if wanted > 1 and outer else part

    return each_phase(nest, widened)


# Sharing among workers


def total_cycles(loop: Loop, target: Target) -> float:
    """About how long a loop takes one core."""
    one_by_one = any(isinstance(s, Loop) and s.kind == "serial" for s in walk(loop.body))
    lanes = 1 if one_by_one else lanes_of(loop.body, target.vector_bytes)
    arithmetic = loop.var.extent * cost(loop.body, None) / lanes
    return max(arithmetic, CYCLES_PER_BYTE * traffic(loop))


def traffic(loop: Loop) -> float:
    """Bytes that a loop touches, each access counted by its own turns."""
    total, stack = 0.0, [(loop, loop.var.extent)]
    while stack:
        outer, turns = stack.pop()
        for s in outer.body:
            if isinstance(s, Loop):
                stack.append((s, turns * s.var.extent))
                continue
            for inner in walk((s,)):
                arrays = [v.array for v in statement_values(inner) if isinstance(v, Load)]
                arrays += [inner.array] if isinstance(inner, Store) else []
                total += sum(turns * a.dtype.itemsize for a in arrays if a.space == "parameter")
    return total


def share(nest: LoopNest, target: Target, vector: Var | None) -> LoopNest:
    """Outer chain loops to the workers; a vector loop, the innermost of the chain, in blocks where the
    others are few."""
    phase = phase_of(nest)
    if vector is not None:
        loop = phase.chain[-1]
        size = block_size(loop, phase, product_of(phase.chain[:-1]), workers_wanted(phase, target), target)
        if size < loop.var.extent:
            nest = divide(nest, vector.name, size)
    return each_phase(nest, lambda part: share_part(part, target, vector is not None))


def each_phase(nest: LoopNest, change: Callable[[LoopNest], LoopNest]) -> LoopNest:
    """The nest with every top-level statement changed on its own (names of loops may come twice)."""
    parts = [change(replace(nest, body=(s,), recipe=())) for s in nest.body]
    words = dict.fromkeys(word for part in parts for word in part.recipe)
    return replace(nest, body=tuple(s for part in parts for s in part.body), recipe=(*nest.recipe, *words))


def share_part(nest: LoopNest, target: Target, vector: bool) -> LoopNest:
    """One phase with its vector loop marked and its other chain loops shared."""
    phase = phase_of(nest)
    if not phase.chain:
        return nest
    outer = [loop.var for loop in (phase.chain[:-1] if vector else phase.chain)]
    wanted, cycles = workers_wanted(phase, target), total_cycles(phase.chain[0], target)
    if vector and phase.chain[-1].var.extent > 1:
        nest = vectorize(nest, phase.chain[-1], target)
    return spread(nest, outer, wanted, cycles) if wanted > 1 and outer else nest


def workers_wanted(phase: Phase, target: Target) -> int:
    """Into how many chunks a phase is worth cutting; 1: it stays on one thread."""
    cycles = total_cycles(phase.chain[0], target)
    if target.threads == 1 or cycles < WORTH_SHARING:
        return 1
    return min(CHUNKS * target.threads, int(cycles / WORTH_HANDING))


def block_size(loop: Loop, phase: Phase, others: int, wanted: int, target: Target) -> int:
    """Turns of a vector loop in one block: few enough for the workers, and for accumulators to stay in
    registers."""
    lanes = lanes_of(phase.core, target.vector_bytes)
    vectors = lanes * together(loop.body, loop.var.extent, lanes)
    blocks = ceil_div(wanted, others)
    if phase.is_straight:
        size = round_up(ceil_div(loop.var.extent, blocks), vectors) if blocks > 1 else loop.var.extent
        return min(size, loop.var.extent)
    return min(max(vectors, lanes), loop.var.extent)


def spread(nest: LoopNest, outer: Sequence[Var], wanted: int, cycles: float) -> LoopNest:
    """The outermost loops collapsed until they are enough for the workers, and made parallel."""
    first, *rest = [v for v in outer if v.extent > 1] or list(outer)
    count, name = first.extent, first.name
    for var in rest:
        if count >= 4 * wanted:
            break
        nest = collapse(nest, name, var.name)
        name, count = f"{name}_{var.name}", count * var.extent
    grain = max(1, min(int(count * WORTH_HANDING / cycles), ceil_div(count, wanted)))
    return mark(nest, name, "parallel", grain=grain)
