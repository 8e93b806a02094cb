"""Recipes of scans on CPUs: rows side by side in tiles, columns in lanes, few long rows in blocks."""

from __future__ import annotations

from lazygrad.codegen.cpu_phase import (
    WORTH_SHARING,
    Phase,
    chain_cost,
    each_phase,
    in_columns,
    innermost,
    phase_of,
    product_of,
    runs_along,
    spread,
    total_cycles,
    workers_wanted,
)
from lazygrad.codegen.loop_cost import Vectors, cost, varying_names
from lazygrad.codegen.loopnest import Loop, LoopNest
from lazygrad.codegen.transform_columns import can_widen
from lazygrad.codegen.transform_cpu import divide
from lazygrad.codegen.transform_scan import Scan, block_scan, find_scan, tile_scan
from lazygrad.expr import Var
from lazygrad.helpers import ceil_div, round_up
from lazygrad.source import Target


def scan(nest: LoopNest, phase: Phase, target: Target) -> LoopNest | None:
    """A phase whose rows are folded step by step: rows side by side in tiles, or columns in lanes; None
    where it runs as any other phase."""
    found = find_scan(phase.core)
    if found is None:
        return None
    lanes = target.vector_bytes // max(4, found.state.dtype.itemsize)
    best = min(phase.chain, key=lambda loop: (chain_cost(phase, loop, target), -phase.chain.index(loop)))
    row = max(phase.chain, key=lambda loop: (filled(loop.var.extent, lanes), phase.chain.index(loop)))
    if tile_cost(phase, found, row, lanes) < chain_cost(phase, best, target):
        return scan_rows(nest, phase, row.var, lanes, target)
    if best.var.extent < 4 * lanes or not can_widen(phase.core) or not runs_along(found.loop, best, lanes):
        return None
    return in_columns(nest, phase, best.var, found.state.dtype.itemsize, target)


def filled(extent: int, lanes: int) -> float:
    """The share of lanes in use where a loop runs in lanes."""
    return extent / round_up(extent, lanes)


def tile_cost(phase: Phase, found: Scan, row: Loop, lanes: int) -> float:
    """Cycles of a scan with the turns of a chain loop side by side in tiles."""
    along = Vectors(found.loop.var, lanes, varying_names(found.loop.body, found.loop.var))
    tile = lanes * cost(found.loop.body, along) + 4.0 * lanes * lanes.bit_length()
    others = product_of(phase.chain) // row.var.extent
    return others * ceil_div(row.var.extent, lanes) * ceil_div(found.loop.var.extent, lanes) * tile


def scan_rows(nest: LoopNest, phase: Phase, row: Var, lanes: int, target: Target) -> LoopNest:
    """The rows of a chain loop in tiles, those that are left over in smaller ones; one row step by step."""
    nest = divide(innermost(nest, phase, row), row.name, min(lanes, row.extent))

    def tiled(part: LoopNest) -> LoopNest:
        inside = phase_of(part)
        wanted, cycles = workers_wanted(inside, target), total_cycles(inside.chain[0], target)
        last = inside.chain[-1].var
        if last.extent > 1:
            part = tile_scan(part, last.name, lanes)
        outer = [loop.var for loop in inside.chain[:-1]]
        return spread(part, outer, wanted, cycles) if wanted > 1 and outer else part

    return each_phase(nest, tiled)


def scan_in_blocks(nest: LoopNest, phase: Phase, target: Target) -> LoopNest | None:
    """The rows of a scan in blocks, where there are too few to fill the lanes of all workers."""
    found = find_scan(phase.core)
    if found is None or found.combine is None or found.after:
        return None
    lanes = target.vector_bytes // max(4, found.state.dtype.itemsize)
    rows, steps = product_of(phase.chain), found.loop.var.extent
    threads = target.threads if rows * steps >= WORTH_SHARING else 1
    blocks = ceil_div(round_up(4 * lanes * threads, lanes), rows)
    size = steps // blocks // lanes * lanes
    if 2 * rows > lanes * threads or size < 4 * lanes:
        return None
    return block_scan(nest, size)
