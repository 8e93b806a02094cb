"""A loop nest as LLVM IR: one function for each phase, with explicit vectors and masks."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import count

from lazygrad import expr
from lazygrad.codegen.llvm_body import Body
from lazygrad.codegen.llvm_builder import Builder, Module
from lazygrad.codegen.llvm_instructions import Abilities
from lazygrad.codegen.llvm_memory import NeedsMemory
from lazygrad.codegen.llvm_values import Value, memory_type
from lazygrad.codegen.loopnest import (
    Accumulate,
    Array,
    Barrier,
    If,
    IndexValue,
    Let,
    Load,
    Loop,
    LoopNest,
    Read,
    Select,
    Statement,
    Store,
    arrays,
    statement_values,
    walk,
)
from lazygrad.expr import Dynamic, Expr
from lazygrad.helpers import round_up
from lazygrad.source import BufferUse, Phase, Source, Target

ALIGNMENT = 64
Group = tuple[Statement, ...]


def render(nest: LoopNest, target: Target) -> Source:
    """The nest as LLVM IR for a target; how the functions are called is told in `source.Phase`."""
    on_stack: frozenset[Array] = frozenset()
    for attempt in count():
        try:
            return _render(nest, target, on_stack)
        except NeedsMemory as need:
            assert attempt < 1000 and need.array not in on_stack, need.array
            on_stack |= {need.array}
    raise AssertionError


def _render(nest: LoopNest, target: Target, on_stack: frozenset[Array]) -> Source:
    name = identifier(nest.name)
    width = target.vector_bytes * 8
    attributes = f'nounwind "prefer-vector-width"="{width}" "min-legal-vector-width"="{width}"'
    module = Module(legend(nest), attributes, abilities(target))
    found = arrays(nest.body)
    temporaries = [a for a in found if a.space == "temporary"]
    scratch, scratch_bytes = place_scratch(a for a in found if a.space in ("scratch", "local"))
    slots = {a: i for i, a in enumerate((*nest.parameters, *temporaries))}
    groups = split_phases(nest.body)
    phases = []
    for i, group in enumerate(groups):
        phase_name = name if len(groups) == 1 else f"{name}_phase{i + 1}"
        _function(module, phase_name, group, slots, scratch, on_stack)
        loop = parallel_loop(group)
        phases.append(Phase(phase_name, loop.var.extent, loop.grain) if loop else Phase(phase_name, 1))
    uses = tuple(
        BufferUse(a.name, a.dtype, a.size, use) for a, use in zip(nest.parameters, nest.access, strict=True)
    )
    sizes = tuple(a.size * a.dtype.itemsize for a in temporaries)
    return Source(
        "llvm",
        nest.name,
        module.text(),
        uses,
        tuple(phases),
        sizes,
        scratch_bytes,
        nest.flops,
        nest.bytes_moved,
    )


def abilities(target: Target) -> Abilities:
    """What a processor does in one instruction, by its features."""
    has = frozenset(target.features.split(","))
    arm = "+neon" in has
    return Abilities(
        fuses=arm or "+fma" in has,
        rounds=arm or "+sse4.1" in has,
        halves=arm or "+f16c" in has,
        scales={"+avx512f", "+avx512vl"} <= has,
        narrows="+avx512vl" in has,
    )


def identifier(name: str) -> str:
    """A name that LLVM takes without quotes."""
    return re.sub(r"[^A-Za-z0-9_.]", "_", name)


def legend(nest: LoopNest) -> str:
    """What the text computes, for its reader."""
    lines = [f"kernel {nest.name}"]
    lines += [
        f"  {use} {a.name}: {a.dtype.name}[{a.size}]"
        for a, use in zip(nest.parameters, nest.access, strict=True)
    ]
    if nest.recipe:
        lines.append(f"recipe: {' '.join(nest.recipe)}")
    return "\n".join(lines)


def place_scratch(found: Iterable[Array]) -> tuple[dict[Array, int], int]:
    """The byte offset of every private array in a worker's scratch area, and the size of the area."""
    offsets, end = {}, 0
    for array in found:
        offsets[array] = end
        end += round_up(array.size * array.dtype.itemsize, ALIGNMENT)
    return offsets, end


# Phases


def parallel_loop(group: Group) -> Loop | None:
    """The parallel loop that is a phase of its own (Lets may stand before it)."""
    last = group[-1]
    return last if isinstance(last, Loop) and last.kind == "parallel" else None


def split_phases(body: Iterable[Statement]) -> list[Group]:
    """The statements of each phase: a parallel loop, or straight code; with the Lets of earlier phases that
    it reads."""
    groups: list[list[Statement]] = []
    fresh = True
    for s in body:
        parallel = isinstance(s, Loop) and s.kind == "parallel"
        if isinstance(s, Barrier):
            fresh = True
            continue
        if parallel or fresh:
            groups.append([])
        groups[-1].append(s)
        fresh = parallel
    phases: list[Group] = []
    lets: dict[str, Let] = {}
    for group in groups:
        if not all(isinstance(s, Let) for s in group):
            phases.append((*_needed(group, lets), *group))
        lets.update((s.name, s) for s in group if isinstance(s, Let))
    return phases


def _needed(group: Iterable[Statement], lets: dict[str, Let]) -> list[Let]:
    """The top-level Lets that a group depends on, in their order."""
    wanted: set[str] = set()
    stack = list(_names(group)) if lets else []
    while stack:
        name = stack.pop()
        if name in lets and name not in wanted:
            wanted.add(name)
            stack.extend(_names((lets[name],)))
    return [s for name, s in lets.items() if name in wanted]


def _names(body: Iterable[Statement]) -> set[str]:
    """Every Let that statements read, as a value or within an index."""
    names: set[str] = set()

    def see(*expressions: Expr) -> None:
        for e in expressions:
            names.update(a.name for a in expr.variables(e) if isinstance(a, Dynamic))

    for s in walk(body):
        if isinstance(s, Store | Accumulate):
            see(s.index)
        if isinstance(s, Store | Accumulate | If):
            see(*(g.e for g in s.guards))
        for v in statement_values(s):
            if isinstance(v, Read):
                names.add(v.name)
            elif isinstance(v, IndexValue):
                see(v.e)
            elif isinstance(v, Load):
                see(v.index)
            if isinstance(v, Load | Select):
                see(*(g.e for g in v.guards))
    return names


# Functions


def _function(
    module: Module,
    name: str,
    group: Group,
    slots: dict[Array, int],
    scratch: dict[Array, int],
    on_stack: frozenset[Array],
) -> None:
    """A phase: a body that takes its arrays as pointers of which none overlaps another, and the entry that
    the pool
    calls, which reads the pointers. (LLVM believes `noalias` of parameters only.)"""
    found = arrays(group)
    used = [a for a in found if a in slots]
    private = [a for a in found if a in scratch]
    names = {a: identifier(a.name) for a in used}
    parameters = [(f"{names[a]}", "ptr noalias") for a in used]
    parameters += [("begin", "i64"), ("end", "i64"), ("scratch", "ptr noalias")]
    body = module.function(f"{name}_body", parameters, "internal void", "noinline")
    pointers = dict(zip(used, body.parameters, strict=False))
    for array in private:
        pointers[array] = body.element(body.parameters[-1], "i8", scratch[array], identifier(array.name))
    for array in found:
        if array in on_stack:
            pointers[array] = body.alloca(
                memory_type(array.dtype), max(array.size, 1), ALIGNMENT, identifier(array.name)
            )
    renderer = Body(body, pointers)
    loop = parallel_loop(group)
    renderer.statements(group[:-1] if loop else group)
    if loop:
        renderer.counted(loop, *body.parameters[-3:-1])
    body.ret()
    _entry(module, name, [slots[a] for a in used], [names[a] for a in used])


def _entry(module: Module, name: str, slots: list[int], names: list[str]) -> None:
    parameters = (("buffers", "ptr"), ("begin", "i64"), ("end", "i64"), ("scratch", "ptr"))
    entry: Builder = module.function(name, parameters)
    buffers, *rest = entry.parameters
    arguments: list[Value] = []
    for slot, array in zip(slots, names, strict=True):
        arguments.append(entry.load_raw(entry.element(buffers, "ptr", slot), "ptr", name=array))
    entry.call(f"{name}_body", "void", [*arguments, *rest])
    entry.ret()
