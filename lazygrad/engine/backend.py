"""The engine's compiler: a fusion group becomes a loaded Program,
through code generation and the device's runtime."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from lazygrad import config
from lazygrad.codegen import cpu_recipe, llvm, opencl, opencl_recipe
from lazygrad.codegen.choice import UNTUNED, Choice
from lazygrad.codegen.loopnest import Array, LoopNest
from lazygrad.codegen.lower import Place
from lazygrad.codegen.lower_group import lower
from lazygrad.codegen.lower_tape import lower_tape, tape_tables
from lazygrad.codegen.rebase import rebased, told
from lazygrad.dtypes import int64
from lazygrad.graph import Node
from lazygrad.runtime.device import Device, Part, Program
from lazygrad.scheduler.group import Group, group_key, nbytes
from lazygrad.scheduler.tape import TapeGroup
from lazygrad.source import Source, Target

if TYPE_CHECKING:
    from lazygrad.engine.tune import Tuning


@dataclass(frozen=True)
class Backend:
    """How one language is generated: the recipe that makes a naive nest fast by a choice, the choices that
    may be better than its own, and the text of a nest."""

    optimize: Callable[[LoopNest, Target, Choice], LoopNest]
    candidates: Callable[[LoopNest, Target], Sequence[Choice]]
    render: Callable[[LoopNest, Target], Source]


BACKENDS = {"llvm": Backend(cpu_recipe.optimize, cpu_recipe.candidates, llvm.render),
            "opencl": Backend(opencl_recipe.optimize, opencl_recipe.candidates, opencl.render)}


@dataclass(frozen=True)
class Kernel:
    """A compiled group: its program, the nests that it came from (None where an earlier process compiled it),
    and which memory each parameter is.

    `slots`: numbers of the memories (as `storages` numbered them at compile time) in parameter order.
    `begins`: how many bytes into that memory each parameter begins; nothing where all begin with it.
    `told`: the numbers in the last parameter, of a kernel that has such a one.
    `legend`: a line for each parameter, what it holds. `tuning`: how its recipe was chosen, under TUNE=1.
    """

    program: Program
    naive: LoopNest | None
    nest: LoopNest | None
    slots: tuple[int, ...]
    legend: tuple[str, ...]
    seconds: float
    tuning: Tuning | None = None
    begins: tuple[int, ...] = ()
    told: tuple[int, ...] = ()


ALONE_FLOPS = 3 << 20  # a contraction of fewer (about 30 us of one thread) is not divided among workers
_kernels: dict[Hashable, Kernel] = {}
_kernels_of_nests: dict[Hashable, Kernel] = {}  # other groups, too, may become the same nest


@dataclass(frozen=True)
class Memory:
    """Where the nodes of a plan live, in memories that go by any name.

    `storages`: for every node its memory and byte offset in it. `starts`: for nodes that a kernel may have to
    find in a larger memory, that memory, and the number of the int64 in the memory SCALARS that tells their
    first element. `parts`: whether kernels take a memory that begins where the node does; but a tape takes
    few memories, and finds by its table what it reads there.
    """

    storages: Mapping[Node, tuple[Hashable, int]]
    starts: Mapping[Node, tuple[Hashable, int]]
    parts: bool

    def of(self, group: Group) -> tuple[list[Hashable], dict[Node, tuple[int, int]], dict[Node, int]]:
        """The memories that a group touches, each node's (number among them, offset), and its starts."""
        nodes = (*group.inputs, *group.outputs)
        if self.parts and not isinstance(group, TapeGroup):
            starts = {}
            homes = {n: (Part(name, offset) if offset else name, 0)
                     for n, (name, offset) in ((n, self.storages[n]) for n in nodes)}
        else:
            starts = {n: self.starts[n][1] for n in nodes if n in self.starts}
            homes = {n: (self.starts[n][0], 0) if n in starts else self.storages[n] for n in nodes}
        names = list(dict.fromkeys([homes[n][0] for n in nodes] + [SCALARS] * bool(starts)))
        number = {name: i for i, name in enumerate(names)}
        return names, {n: (number[homes[n][0]], homes[n][1]) for n in nodes}, starts

    def extents(self, group: Group) -> tuple[int, ...]:
        """The bytes of each memory that a group touches, up to its last byte there: a kernel that knew more
        of a memory than it needs would be another kernel wherever that memory has another size."""
        names, places, starts = self.of(group)
        ends = [0] * len(names)
        for node, (slot, offset) in places.items():
            ends[slot] = max(ends[slot], offset + nbytes(node))
        if starts:
            scalars = names.index(SCALARS)
            ends[scalars] = max(ends[scalars], (max(starts.values()) + 1) * int64.itemsize)
        return tuple(ends)

    def placed(self, group: Group) -> dict[Node, Place]:
        """The arrays of a group's nodes, one per memory and dtype."""
        names, places, starts = self.of(group)
        extents = self.extents(group)
        arrays = _arrays(group, places, extents)
        found = {}
        for node, (slot, offset) in places.items():
            start = None
            if node in starts:
                scalars = names.index(SCALARS)
                shared = Array("starts", int64, extents[scalars] // int64.itemsize, "parameter")
                start = arrays.setdefault((scalars, int64.name), shared), starts[node]
            found[node] = Place(arrays[slot, node.dtype.name], offset // node.dtype.itemsize, start)
        return found


SCALARS = "scalars"


def compile_group(group: Group, memory: Memory, device: Device,
                  seen: set[LoopNest]) -> tuple[Kernel, list[Hashable], bool]:
    """The kernel of a group, the memory of each of its parameters, and whether it was compiled just now.

    `seen`: the nests of the plan so far, with their numbers told: one that comes again takes them as data.
    """
    names, places, starts = memory.of(group)
    structure = _structure(group, places), tuple(starts.get(n) for n in group.inputs)
    settings = tuple([config.get(name) for name in ("CPU", "NOOPT", "TUNE")])
    key = (structure, memory.extents(group), device.name, settings)
    kernel, fresh = _kernels.get(key), False
    if kernel is None:
        kernel, fresh = _compile(group, memory, device, seen)
        if not kernel.told:
            _kernels[key] = kernel
    return kernel, _parameters(kernel, names), fresh


def _parameters(kernel: Kernel, names: Sequence[Hashable]) -> list[Hashable]:
    """The memory of each of a kernel's parameters, of the memories that its group touches."""
    found = [names[slot] for slot in kernel.slots]
    for number, begin in enumerate(kernel.begins):
        if begin:
            name = found[number]
            whole, offset = (name.name, name.offset) if isinstance(name, Part) else (name, 0)
            found[number] = Part(whole, offset + begin)
    return found


def _structure(group: Group, places: Mapping[Node, tuple[int, int]]) -> Hashable:
    """What makes two groups the same kernel. A tape's places are in its tables, not in its code."""
    if not isinstance(group, TapeGroup):
        return group_key(group, places)
    read = [node for node, _ in group.reads]
    slots = tuple((places[n][0], n.dtype.name) for n in (*read, *group.outputs))
    return group.operations, group.dtype.name, len(group.instructions), len(group.constants), slots


def tables_of(group: Group, memory: Memory, kernel: Kernel) -> list[np.ndarray]:
    """The contents of the parameters that a kernel takes after its group's inputs and outputs."""
    if isinstance(group, TapeGroup):
        return list(tape_tables(group, memory.placed(group)).values())
    return [np.array(kernel.told, np.int64)] if kernel.told else []


def _compile(group: Group, memory: Memory, device: Device, seen: set[LoopNest]) -> tuple[Kernel, bool]:
    """The kernel of a group, and whether it is another one than those that there are."""
    start = time.perf_counter()
    placed = memory.placed(group)
    naive = lower_tape(group, placed) if isinstance(group, TapeGroup) else lower(group, placed, device.target)
    backend = BACKENDS[device.target.language]
    names, places, _ = memory.of(group)
    slot_of = {placed[node].array: slot for node, (slot, _) in places.items()}
    slot_of |= {place.start[0]: names.index(SCALARS) for place in placed.values() if place.start is not None}
    arrays = naive.parameters
    slots = tuple(slot_of[a] for a in arrays if a in slot_of)
    shared = not isinstance(group, TapeGroup) and not config.get("TUNE")
    begins: tuple[int, ...] = ()
    numbers: tuple[int, ...] = ()
    if shared:
        settings = device.name, config.get("CPU"), config.get("NOOPT")
        if device.target.parts:
            naive, shifts = rebased(naive)
            begins = tuple([n * a.dtype.itemsize for a, n in zip(arrays, shifts, strict=True)])
        if (naive, settings) not in _kernels_of_nests:
            naive, numbers = _told_if_seen(naive, device.target, seen)
            arrays = (*arrays, *naive.parameters[len(arrays):])
        known = _kernels_of_nests.get((naive, settings))
        if known is not None:
            return replace(known, slots=slots, begins=begins, told=numbers), False

    def made(choice: Choice) -> tuple[LoopNest, Program]:
        nest = naive if config.get("NOOPT") else backend.optimize(naive, device.target, choice)
        assert nest.parameters == naive.parameters, nest.name
        return nest, device.load(_undivided(backend.render(nest, device.target), nest, choice))

    nest, program = made(UNTUNED)
    tuning = None
    if config.get("TUNE") and not config.get("NOOPT") and not isinstance(group, TapeGroup):
        from lazygrad.engine import tune  # here, so that only those who tune wait for its imports

        layout = tune.Layout(places, memory.extents(group))
        tuned = tune.Kernel(naive, group, layout, slots, lambda choice: made(choice)[1])
        tuning = tune.tune(tuned, backend.candidates(nest, device.target), device)
        nest, program = made(tuning.choice)
    legend = _legend(nest, arrays, placed)
    kernel = Kernel(program, naive, nest, slots, legend, time.perf_counter() - start, tuning, begins, numbers)
    if shared:
        _kernels_of_nests[naive, settings] = kernel
    return kernel, True


def _told_if_seen(naive: LoopNest, target: Target, seen: set[LoopNest]) -> tuple[LoopNest, tuple[int, ...]]:
    """The nest; or if the plan has had it with other numbers, the nest that is told them, and its numbers."""
    general, numbers = told(naive, target.parts)
    if numbers and general in seen and len(general.parameters) <= target.max_parameters // 2:
        return general, numbers
    seen.add(general)
    return naive, ()


def _undivided(source: Source, nest: LoopNest, choice: Choice) -> Source:
    """The source of a small contraction with each phase in one piece: waking a thread takes longer."""
    contracts = any("contract(" in step for step in nest.recipe)
    if source.language != "llvm" or nest.flops > ALONE_FLOPS or not contracts or choice.share is not None:
        return source
    return replace(source, phases=tuple([replace(phase, grain=phase.count) for phase in source.phases]))


def _legend(nest: LoopNest, arrays: Sequence[Array], placed: Mapping[Node, Place]) -> tuple[str, ...]:
    """For each parameter, how the kernel uses it and what stands in the array that it is, or is a part of."""
    held: dict[Array, list[str]] = {array: [] for array in arrays}
    for node, place in placed.items():
        at = f" at element {place.offset}" if place.offset else ""
        held.setdefault(place.array, []).append(f"{node.op.name} {list(node.shape)}{at}")
    for array in {place.start[0] for place in placed.values() if place.start}:
        held.setdefault(array, []).append("first elements of slices")
    return tuple(f"{array.name}: {access}, {array.size} x {array.dtype.name}: "
                 f"{', '.join(dict.fromkeys(held[whole]))}"
                 for array, whole, access in zip(nest.parameters, arrays, nest.access, strict=True))


def _arrays(group: Group, places: Mapping[Node, tuple[int, int]],
            extents: Sequence[int]) -> dict[tuple[int, str], Array]:
    """One array per memory and dtype, named by what it is to the kernel."""
    arrays: dict[tuple[int, str], Array] = {}
    for prefix, nodes in (("in", group.inputs), ("out", group.outputs)):
        before = len(arrays)
        for node in nodes:
            slot = places[node][0]
            if (slot, node.dtype.name) not in arrays:
                number = len(arrays) - before
                size = extents[slot] // node.dtype.itemsize
                arrays[slot, node.dtype.name] = Array(f"{prefix}{number}", node.dtype, size, "parameter")
    return arrays
