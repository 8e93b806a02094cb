"""Recipes for CPUs: which transforms make a naive nest fast. Contractions go to `contraction`, scans to
`scan_recipe`, all else is here.

A nest is brought into plain form (divisions split away, loops over one row merged, contiguous loops
coalesced); then each top-level loop is a phase of its own, see `cpu_phase`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lazygrad.codegen.choice import ALONE, UNTUNED, Choice, resized, shared
from lazygrad.codegen.contraction_kernel import contract
from lazygrad.codegen.contraction_rows import block_rows, stores_rows
from lazygrad.codegen.cpu_phase import (
    CHUNKS,
    HALVED,
    WORTH_HANDING,
    WORTH_SHARING,
    Phase,
    chain_cost,
    columns,
    each_phase,
    inner_cost,
    innermost,
    mark_inner,
    phase_of,
    product_of,
    run_in_lanes,
    runs_along,
    share,
    share_part,
    sink,
    spread,
    total_cycles,
    traffic,
    workers_wanted,
)
from lazygrad.codegen.loop_cost import lanes_of
from lazygrad.codegen.loopnest import (
    Load,
    Loop,
    LoopNest,
    Statement,
    Store,
    says_its_turns,
    statement_values,
)
from lazygrad.codegen.matrix_recipe import run_matrices
from lazygrad.codegen.scan_recipe import scan, scan_in_blocks
from lazygrad.codegen.transform import find_loop, mark, merge_loops, split, split_divisions
from lazygrad.codegen.transform_cpu import (
    accumulators,
    chunk_reduction,
    chunk_rows,
    coalesce,
    divide,
    is_transposed,
    publish,
    squares,
    transpose_tiles,
)
from lazygrad.codegen.transform_guards import solve_guards, use_guards
from lazygrad.codegen.transform_scan import find_scan
from lazygrad.helpers import ceil_div, round_up
from lazygrad.source import Target

STREAMED = 4  # rows that are added together before the sums go back to memory
LEAST_TILE = 4
MOST_ROWS = 24  # of a register tile of one vector: more rows make long code and save few reads
ONE_WORKER = 1 << 20  # bytes that a kernel moves up to which a worker may be faster alone
LEFT_TO_LOOPS = 1 << 26  # operations of a sum of products up to which plain loops are tried
TILES_TOGETHER = 8  # along each side of a square of transposed tiles


def optimize(nest: LoopNest, target: Target, choice: Choice = UNTUNED) -> LoopNest:
    """The nest as fast as we know how to make it for this target, by this choice."""
    return shared(_optimized(nest, choice.machine(target), choice), choice)


def candidates(fast: LoopNest, target: Target) -> tuple[Choice, ...]:
    """Choices that may beat the nest that the recipe makes by itself; some of them change nothing."""
    if any(word.startswith("contract(") for word in fast.recipe):
        room = target.registers - 4
        tiles = [Choice(rows=max(2, min(room // v, MOST_ROWS)), vectors=v) for v in (1, 2, 3, 4)]
        blocks = [Choice(depth=depth) for depth in (128, 256, 512)] + [Choice(tiles=n) for n in (1, 4, 16)]
        loops = [Choice(contract=0)] if fast.flops <= LEFT_TO_LOOPS else []
        return (*tiles, Choice(rows=max(2, room // 4), vectors=2), *blocks, *loops)
    shares = (0.25, 4.0, ALONE) if fast.bytes_moved <= ONE_WORKER else (0.25, 4.0)
    return (*(Choice(together=n) for n in (1, 2, 4, 8)), Choice(width=HALVED), Choice(plain=1),
            *(Choice(axis=n) for n in (0, 1, 2)), *(Choice(share=s) for s in shares))


def _optimized(nest: LoopNest, target: Target, choice: Choice) -> LoopNest:
    if says_its_turns(nest.body):
        return run_matrices(nest, target)
    nest = use_guards(nest)
    if stores_rows(nest):
        return block_rows(nest, target) or each_phase(
            nest, lambda part: share_part(mark_inner(part, target), target, vector=False)
        )
    contracted = contract(nest, target, choice) if choice.contract != 0 else None
    if contracted is not None:
        return contracted
    nest = coalesce(merge_loops(split_divisions(solve_guards(nest))))
    if not choice.plain:
        nest = share_reductions(nest, target)
        if find_scan(nest.body) is not None:
            nest = scan_in_blocks(nest, Phase((), nest.body), target) or nest

    def optimized(part: LoopNest) -> LoopNest:
        return optimize_phase(part, target, choice) if isinstance(part.body[0], Loop) else part

    return resized(each_phase(nest, optimized), choice)


# Reductions without a loop around them


def share_reductions(nest: LoopNest, target: Target) -> LoopNest:
    """Cut long top-level reductions into chunks for the workers."""
    shared = False
    for s in nest.body:
        if not isinstance(s, Loop) or s.kind != "reduce" or total_cycles(s, target) < WORTH_SHARING:
            continue
        found = accumulators(s)
        if s.var.extent < 2 or not found or any(a.size != 1 or a.space != "register" for a in found):
            continue
        lanes = lanes_of(s.body, target.vector_bytes)
        wanted = min(CHUNKS * target.threads, max(int(total_cycles(s, target) / WORTH_HANDING), 2))
        size = ceil_div(s.var.extent, wanted)
        size = min(round_up(size, 4 * lanes), s.var.extent) if size > 4 * lanes else size
        nest = chunk_reduction(nest, s.var.name, size)
        shared = True
    parallel = shared or any(isinstance(s, Loop) and s.kind == "domain" for s in nest.body)
    return publish_scalars(nest) if parallel else nest


def publish_scalars(nest: LoopNest) -> LoopNest:
    """Scalars that one phase folds and a later one reads go through memory."""
    folded = [a for s in nest.body if isinstance(s, Loop) and s.kind == "reduce" for a in accumulators(s)]
    for array in dict.fromkeys(folded):
        if array.space == "register" and any(
            isinstance(s, Loop) and s.kind == "domain" for s in after(nest, Store)
        ):
            nest = publish(nest, array)
    return nest


def after(nest: LoopNest, kind: type) -> Sequence[Statement]:
    """The top-level statements from the first of a kind on."""
    first = next((i for i, s in enumerate(nest.body) if isinstance(s, kind)), len(nest.body))
    return nest.body[first:]


# One phase


def optimize_phase(nest: LoopNest, target: Target, choice: Choice) -> LoopNest:
    """One top-level loop with its vector loops marked and its outer loops shared."""
    phase = phase_of(nest)
    if not phase.chain:
        return mark_inner(nest, target)
    if choice.plain:
        return run_in_lanes(nest, phase, target, choice.axis)
    blocked = scan_in_blocks(nest, phase, target)
    if blocked is not None:
        return each_phase(blocked, lambda part: optimize_phase(part, target, choice))
    other = scan(nest, phase, target) or transpose(nest, phase, target) or chunk(nest, phase, target)
    other = other or columns(nest, phase, target)
    if other is not None:
        return other
    return run_in_lanes(nest, phase, target, choice.axis)


# Reductions with few loops around them, or with long rows around them


def chunk(nest: LoopNest, phase: Phase, target: Target) -> LoopNest | None:
    """A phase with one long reduction cut in chunks, where the chain has too few turns for the workers; or
    where
    neighbours in memory lie along the chain: then rows are read in order and the sums wait in memory."""
    loops = [s for s in phase.core if isinstance(s, Loop)]
    if len(loops) != 1 or loops[0].kind != "reduce":
        return None
    loop, found = loops[0], accumulators(loops[0])
    if not found or any(a.size != 1 or a.space != "register" for a in found):
        return None
    wanted = workers_wanted(phase, target)
    columns, last = product_of(phase.chain), phase.chain[-1]
    lanes = lanes_of(phase.core, target.vector_bytes)
    in_lanes = chain_cost(phase, last, target) < inner_cost(phase, target)
    turns = columns // min(last.var.extent, 4 * lanes) if in_lanes else columns
    wide = last.var.extent >= 8 * lanes and traffic(phase.chain[0]) > 4 * target.l2_bytes
    stream = wide and loop.var.extent >= 16 * STREAMED and runs_along(loop, last, lanes)
    chunks = min(wanted, loop.var.extent // (STREAMED if stream else 2))
    if wanted < 2 or chunks < 2 or not (stream or turns < 2 * target.threads):
        return None
    if chunks * columns * 4 > columns * loop.var.extent:
        return None
    size = ceil_div(loop.var.extent, chunks)
    size = round_up(size, STREAMED) if stream else size
    nest = chunk_rows(nest, loop.var.name, size, stream)
    if not stream:
        return each_phase(nest, lambda part: run_in_lanes(part, phase_of(part), target))
    name = f"{loop.var.name}_i"
    nest = split(nest, name, STREAMED)
    nest = mark(sink(nest, f"{name}_i"), f"{name}_i", "unroll")
    first, *others = nest.body
    head = share(mark_inner(replace(nest, body=(first,)), target), target, None)
    tail = each_phase(
        replace(nest, body=tuple(others), recipe=()), lambda part: run_in_lanes(part, phase_of(part), target)
    )
    return replace(head, body=(*head.body, *tail.body), recipe=(*head.recipe, *tail.recipe))


# Transposes


def transpose(nest: LoopNest, phase: Phase, target: Target) -> LoopNest | None:
    """Square tiles for straight code that reads some array along one chain loop and writes along another."""
    if not phase.is_straight or len(phase.chain) < 2:
        return None
    inner = phase.chain[-1].var
    lanes = lanes_of(phase.core, target.vector_bytes)
    loads = [v for s in phase.core for v in statement_values(s) if isinstance(v, Load)]
    for loop in phase.chain[:-1]:
        outer = loop.var
        found = [v for v in loads if is_transposed(v, outer, inner)]
        size = 1 << min(lanes, target.registers, outer.extent, inner.extent).bit_length() - 1
        if found and size >= LEAST_TILE:
            return _tiled(nest, outer.name, inner.name, size, target)
    return None


def _tiled(nest: LoopNest, outer: str, inner: str, size: int, target: Target) -> LoopNest:
    """Both loops in blocks of `size`; what is left over runs in plain lanes."""
    nest = divide(divide(nest, outer, size), inner, size)
    return each_phase(nest, lambda part: _tile(part, outer, inner, size, target))


def _tile(nest: LoopNest, outer: str, inner: str, size: int, target: Target) -> LoopNest:
    """A part with whole blocks along both loops becomes tiles. Where there are many, squares of them are
    visited
    together, so that a page of memory is touched once for several."""
    phase = phase_of(nest)
    if not {f"{outer}_i", f"{inner}_i"} <= {loop.var.name for loop in phase.chain}:
        return run_in_lanes(nest, phase, target)
    blocks = [f"{outer}_o", f"{inner}_o"]
    many = min(find_loop(nest.body, name).var.extent for name in blocks) >= 4 * TILES_TOGETHER
    for name in (*(blocks if many else ()), f"{outer}_i", f"{inner}_i"):
        nest = innermost(nest, phase_of(nest), find_loop(nest.body, name).var)
    wanted, cycles = workers_wanted(phase, target), total_cycles(phase.chain[0], target)
    nest = transpose_tiles(nest, f"{outer}_i", f"{inner}_i", size)
    if many:
        nest = squares(nest, blocks[0], blocks[1], TILES_TOGETHER)
    shared = [loop.var for loop in phase_of(nest).chain][: len(phase.chain) - 2]
    return spread(nest, shared, wanted, cycles) if wanted > 1 and shared else nest
