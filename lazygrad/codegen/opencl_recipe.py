"""The recipe of OpenCL kernels: from a naive nest to work-groups, work-items and local memory.

Each top-level loop nest is a phase with a kernel function of its own, and is read as rows (see opencl_rows):
straight bodies are spread over work-items, the loops of long rows are shared by a work-group, sums of
products become tiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lazygrad.codegen.choice import UNTUNED, Choice
from lazygrad.codegen.loopnest import (
    Accumulate,
    Let,
    Load,
    Loop,
    LoopNest,
    Statement,
    says_its_turns,
    statement_values,
    walk,
)
from lazygrad.codegen.opencl_blocks import block, fits_blocks, is_processor
from lazygrad.codegen.opencl_contraction import find_contraction, tile
from lazygrad.codegen.opencl_rows import (
    GROUP_ITEMS,
    LEAF,
    Rows,
    Team,
    can_divide,
    divide_rows,
    is_shared,
    open_chain,
    power_of_two,
    share_rows,
    spread,
    trips,
)
from lazygrad.codegen.transform import Body, merge_loops, reads
from lazygrad.expr import Expr, Var
from lazygrad.helpers import ceil_div
from lazygrad.source import Target

SHORT = 32  # iterations that an item does alone
ALONE_ITEMS = 32  # in a group of items that have much to do each
GROUPS_PER_UNIT = 8  # work-groups that keep a compute unit busy
# Loops of `long` iterations are divided where there are few rows, into parts of `steps` or more.
ROW_PARTS, TILE_PARTS = (8192, 2048), (512, 128)


def optimize(nest: LoopNest, target: Target, choice: Choice = UNTUNED) -> LoopNest:
    """The nest with its loops mapped to work-groups and work-items, by this choice; `recipe` says how."""
    if says_its_turns(nest.body):
        return each_alone(nest, target)
    nest = merge_loops(nest)
    body: list[Statement] = []
    words = list(nest.recipe)
    for s in nest.body if _is_phases(nest.body) else (Rows((), nest.body),):
        if isinstance(s, Let):
            body.append(s)
            continue
        found = map_rows(s if isinstance(s, Rows) else _rows_of(s, target), target, choice)
        body += [phase for phase, _ in found]
        words += [text for _, text in found]
    return replace(nest, body=tuple(body), recipe=tuple(words))


def each_alone(nest: LoopNest, target: Target) -> LoopNest:
    """Every turn of the outermost loops as one work-item."""
    found = [spread(open_chain(s), min(target.max_group_items, ALONE_ITEMS))
             for s in nest.body if isinstance(s, Loop)]
    lets = tuple(s for s in nest.body if isinstance(s, Let))
    words = tuple(dict.fromkeys(text for _, text in found))
    return replace(nest, body=(*lets, *(phase for phase, _ in found)), recipe=(*nest.recipe, *words))


def candidates(fast: LoopNest, target: Target) -> tuple[Choice, ...]:
    """Choices that may beat the nest that the recipe makes by itself; some of them change nothing."""
    kinds = {word.partition("(")[0] for word in fast.recipe}
    found: list[Choice] = []
    if "block" in kinds:
        found += [Choice(block=32), Choice(block=128), Choice(depth=32), Choice(depth=128), Choice(depth=256)]
        found += [Choice(rows=8, vectors=1), Choice(rows=4, vectors=4), Choice(rows=8, vectors=2)]
    if "tile" in kinds:
        found += [Choice(block=32), Choice(block=128), Choice(depth=8), Choice(depth=32)]
        found += [Choice(rows=2), Choice(rows=8)]
    if kinds & {"spread", "share"}:
        found += [Choice(items=n) for n in (16, 64, 128, 512, 1024) if n <= target.max_group_items]
        found += [Choice(plain=1)]
    if "share" in kinds:
        found += [Choice(columns=n) for n in (1, 4, 16, 64, 256) if n <= target.max_group_items]
    return tuple(found)


def _is_phases(body: Sequence[Statement]) -> bool:
    """True where the top level is lets and loops that are phases; where it folds a reduce,
    all of it is one row."""
    return all(isinstance(s, Let) or (isinstance(s, Loop) and s.kind in ("domain", "serial")) for s in body)


def _rows_of(s: Statement, target: Target) -> Rows:
    assert isinstance(s, Loop), s
    s = with_atomics(s, target)
    return open_chain(s) if s.kind == "domain" else Rows((), (s,))


def map_rows(
    rows: Rows, target: Target, choice: Choice = UNTUNED, divided: bool = False
) -> list[tuple[Statement, str]]:
    """The phases that compute rows, each with the words of its recipe."""
    most = min(target.max_group_items, choice.items or GROUP_ITEMS)
    contraction = find_contraction(rows, target, choice) if choice.contract != 0 else None
    shared = [s for s in rows.body if isinstance(s, Loop) and is_shared(s)]
    longest = max((trips(s) for s in shared), default=1)
    long, steps = TILE_PARTS if contraction else ROW_PARTS
    if not (divided or choice.plain) and longest >= long and can_divide(rows.body):
        groups = contraction.groups if contraction else rows.count
        wanted = ceil_div(GROUPS_PER_UNIT * target.threads, max(1, groups))
        if wanted > 1 and rows.count:
            phases = divide_rows(rows, wanted, long, steps)
            return [found for phase in phases for found in map_rows(phase, target, choice, divided=True)]
    if contraction:
        blocks = fits_blocks(contraction, target)
        return [block(contraction, target, choice) if blocks else tile(contraction)]
    team = choose_team(rows, shared, longest, target, choice)
    return [spread(rows, most) if team is None else share_rows(rows, team)]


def choose_team(
    rows: Rows, shared: Sequence[Loop], longest: int, target: Target, choice: Choice
) -> Team | None:
    """How many rows a group takes and how many items share a row; None: an item for each row."""
    processor = is_processor(target)
    most = min(LEAF if processor else GROUP_ITEMS, target.max_group_items)
    most = 1 << (most.bit_length() - 1)
    across = bool(shared) and _rows_are_neighbours(rows, shared)
    if choice.columns is not None:
        return _team(rows, min(choice.columns, most, power_of_two(longest)), most, across, processor)
    if longest < SHORT or (processor and rows.count >= GROUPS_PER_UNIT * target.threads):
        return None
    enough = target.threads * GROUP_ITEMS * (1 if across else 4)  # items that fill the device
    columns = 1
    while columns < most and columns * 4 <= longest:
        if rows.count * columns >= enough and (across or columns * 8 > longest):
            break
        columns *= 2
    return _team(rows, columns, most, across, processor)


def _team(rows: Rows, columns: int, most: int, across: bool, processor: bool) -> Team | None:
    if columns == 1:
        return None
    return Team(max(1, min(most // columns, power_of_two(rows.count))), columns, across, blocks=processor)


def _rows_are_neighbours(rows: Rows, shared: Sequence[Loop]) -> bool:
    """True where neighbouring rows, not the steps of the shared loops, are neighbours in memory."""
    votes = 0
    last = next((v for v in reversed(rows.variables) if v.extent > 1), None)
    for loop in shared:
        inner = next((v for v in reversed(open_chain(loop).variables) if v.extent > 1), None)
        for s in walk(loop.body):
            indices = [
                v.index for v in statement_values(s) if isinstance(v, Load) and v.array.space == "parameter"
            ]
            for index in indices:
                votes += (_stride(index, last) == 1) - (_stride(index, inner) == 1)
    return votes > 0


def _stride(index: Expr, v: Var | None) -> int:
    return next((abs(factor) for atom, factor in index.terms if atom == v), 0)


def with_atomics(loop: Loop, target: Target) -> Loop:
    """for j: for i in order: out[f(i), j] += v   ->   for j: for i: atomic out[f(i), j] += v

    Where the loops around are too short to fill the device, and the device has the atomic operation.
    """
    rows = open_chain(loop) if loop.kind == "domain" else Rows((), (loop,))
    inner = [s for s in rows.body if not isinstance(s, Let)]
    if len(inner) != 1 or not isinstance(inner[0], Loop) or inner[0].kind != "serial":
        return loop
    ordered = open_chain(inner[0])
    lets, last = ordered.body[:-1], ordered.body[-1]
    if (
        not isinstance(last, Accumulate)
        or last.array.space != "parameter"
        or not all(isinstance(s, Let) for s in lets)
    ):
        return loop
    if last.array in reads((*rows.body[:-1], *lets, Let("added", last.value)))[1]:
        return loop
    missing = last.array.dtype.itemsize == 8 and "cl_khr_int64_base_atomics" not in target.features
    if rows.count >= target.threads * GROUP_ITEMS or missing:
        return loop
    body: Body = (*(s for s in rows.body if isinstance(s, Let)), *lets, replace(last, atomic=True))
    for v in reversed((*rows.variables, *ordered.variables)):
        body = (Loop(v, body, "domain"),)
    return body[0] if isinstance(body[0], Loop) else loop
