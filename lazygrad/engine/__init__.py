"""The engine: graphs in, buffers out.

A graph is planned once: simplified, fused, scheduled, compiled. Plans are kept by the structure of the graph,
so a repeated training step only binds its buffers and launches.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

import numpy as np

from lazygrad import config, ops
from lazygrad.codegen.loopnest import LoopNest
from lazygrad.dtypes import DType, from_storage, int64, to_storage
from lazygrad.engine import report
from lazygrad.engine.backend import SCALARS, Memory, compile_group, tables_of
from lazygrad.engine.plan import Plan, Step
from lazygrad.engine.plan_store import read_plan, write_plan
from lazygrad.engine.report import Story
from lazygrad.errors import OutOfMemoryError
from lazygrad.graph import Node, intern, topological
from lazygrad.helpers import round_up, row_strides
from lazygrad.interpret import interpret
from lazygrad.runtime.device import Buffer, Device, Part
from lazygrad.runtime.registry import open_device
from lazygrad.scheduler.fuse import fuse
from lazygrad.scheduler.group import inputs_in_plan
from lazygrad.scheduler.number_parts import MANY_NUMBERS
from lazygrad.scheduler.order import order_groups
from lazygrad.scheduler.schedule import ALIGN, Schedule, Slot, plan_memory
from lazygrad.simplify import simplify
from lazygrad.source import Target

# buffers that results may be written over, each with the number of the only target that may take it, None for
# any
Gifts = Mapping[Buffer, int | None]
_ANONYMOUS = frozenset(("buffer", "saved", "scalar", "leaf"))  # nodes whose arg is no part of a plan


def upload(values: np.ndarray, dtype: DType, device: str) -> Node:
    """A buffer node with a copy of `values` (NumPy values; bfloat16 given as float32) on `device`."""
    opened = open_device(device)
    return ops.buffer(uploaded(to_storage(values, dtype), opened), dtype, values.shape)


def uploaded(bits: np.ndarray, device: Device) -> Buffer:
    """A buffer with a copy of an array's bytes."""
    buffer = device.allocate(bits.nbytes)
    device.copy_in(buffer, bits)
    return buffer


def download(node: Node) -> np.ndarray:
    """A fresh array with the values of a buffer, saved or scalar node; bfloat16 comes as float32."""
    if node.op.name == "scalar":
        return np.full((), node.arg.value, node.dtype.numpy)
    bits = np.empty(node.shape, node.dtype.storage)
    node.arg.device.copy_out(node.arg, bits)
    return from_storage(bits, node.dtype)


def realize(targets: Sequence[Node], device: str, donate: Iterable[Buffer] = (),
            order: Sequence[Node] | None = None, known: Mapping[Node, Node] | None = None) -> list[Node]:
    """Run what the targets need and return one buffer node for each, in order.

    `donate`: buffers that nobody needs afterwards; results may be written over them. `order`: all nodes that
    the targets need, in topological order, where the caller has it. `known`: nodes in whose place others are
    taken, which stand before them in the order or are data. Raises DeviceError and its kin.
    """
    opened = open_device(device)
    report.opened(opened)
    order = topological(targets, inputs_in_plan) if order is None else order
    known = dict(known or {})
    if device == "NUMPY":
        start = time.perf_counter()
        try:
            values = interpret(replaced(targets, order, known), download)
        except MemoryError as error:
            raise OutOfMemoryError(f"[allocate] NUMPY: {error}: use smaller tensors or delete some") from None
        report.interpreted(opened, targets, time.perf_counter() - start)
        return [upload(v, n.dtype, device) for v, n in zip(values, targets, strict=True)]
    given = dict.fromkeys(donate)
    order = take_slices(targets, order, known, given)
    plan, sources, fresh = find_plan(targets, opened, given, order, known)
    results = plan.run(sources)
    report.schedule_line(opened, [step.kernel for step in plan.steps], plan.seconds if fresh else None,
                         plan.compiled, plan.from_disk)
    return results


_plans: dict[Hashable, Plan] = {}


def find_plan(targets: Sequence[Node], device: Device, donate: Gifts, order: Sequence[Node],
              known: Mapping[Node, Node]) -> tuple[Plan, list[Node], bool]:
    """The plan of a graph, the sources (data) of this graph in the plan's order,
    and whether it was made just now."""
    key, sources = _structure(order, targets, device, donate, known)
    plan = _plans.get(key)
    fresh = plan is None
    if plan is None:
        # whoever asks how a plan came about wants to see it made
        plan = read_plan(key, device) if config.get("DEBUG") < 3 else None
        if plan is None:
            plan = make_plan(replaced(targets, order, known), sources, device, donate)
            write_plan(key, plan)
        _plans[key] = plan
    return plan, sources, fresh


def _structure(order: Sequence[Node], targets: Sequence[Node], device: Device, donate: Gifts,
               known: Mapping[Node, Node]) -> tuple[Hashable, list[Node]]:
    """What makes two graphs run by the same plan: structure, and which sources share memory.
    Where a part of a memory begins is data."""
    number: dict[Node, int] = {}
    memories: dict[Hashable, int] = {}
    parts = device.target.parts
    sources: list[Node] = []
    rows: list[Hashable] = []
    for node in order:
        if node in known:
            value = known[node]
            if value in number:
                number[node] = number[value]
                continue
            number[node] = len(rows)
            node = value
        number[node] = len(rows)
        name = node.op.name
        if name in ("buffer", "saved"):
            sources.append(node)
            memory = memories.setdefault(_memory_of(node.arg, parts), len(memories))
            rows.append((node.dtype.name, node.shape, memory, donate.get(node.arg, "kept")))
        elif name == "scalar" or (name == "const" and is_data(node)):
            sources.append(node)
            rows.append((name, node.dtype.name, node.shape))
        else:
            arg = None if name in _ANONYMOUS else node.arg
            rows.append((node.op, node.dtype.name, node.shape, arg, tuple([number[i] for i in node.inputs])))
    told = [(n, memories.setdefault(sources[n].arg.storage, len(memories)))
            for n in _told_starts(sources, device.target)]
    key = (tuple(rows), tuple(told), tuple([number[t] for t in targets]), device.name, config.get("CPU"),
           config.get("NOOPT"), config.get("TUNE"))
    return key, sources


def _memory_of(buffer: Buffer, parts: bool) -> Hashable:
    """What is one memory to a kernel: a buffer; or all that it is a part of, where kernels take no parts."""
    return (buffer.storage, buffer.offset, buffer.nbytes) if parts else buffer.storage


def is_data(node: Node) -> bool:
    """Whether a constant is more likely a rate or a coefficient than part of the program:
    then kernels take it as data, and a schedule that changes it every step compiles nothing."""
    value = node.arg.value
    if node.dtype.kind != "float" or not math.isfinite(value):
        return False
    return abs(value) > 1024 or not float(value * 256).is_integer()


def _with_data(targets: Sequence[Node], sources: Sequence[Node]) -> tuple[list[Node], dict[Node, int]]:
    """The targets with constants that are data replaced by scalars, and the number of every source."""
    numbers: dict[Node, int] = {}
    constants: dict[Node, Node] = {}
    for number, node in enumerate(sources):
        if node.op.name == "const":
            entry = ops.entry(number, node.dtype)
            numbers[entry] = number
            ones = ops.reshape(entry, arg=(1,) * node.ndim) if node.ndim else entry
            constants[node] = ops.expand(ones, arg=node.shape) if node.size != 1 else ones
        else:
            numbers.setdefault(_as_buffer(node), number)
    order = topological(targets, inputs_in_plan) if constants else ()
    return replaced(targets, order, constants), numbers


def make_plan(targets: Sequence[Node], sources: Sequence[Node], device: Device, donate: Gifts,
              tell: Callable[[Story], None] = report.planned) -> Plan:
    """Simplify, fuse, schedule and compile a graph; `tell` gets the story of how it went."""
    start = time.perf_counter()
    lifted, numbers = _with_data(targets, sources)
    simplified, _ = simplify(lifted)
    todo = [t for t in dict.fromkeys(simplified) if t not in numbers or t.op.name == "scalar"]
    groups, reasons = fuse(todo, device.target)
    gifts = [n for n in numbers if n.op.name == "buffer" and n.arg in donate and n not in simplified]
    takers = [donate[n.arg] for n in gifts]
    donated = {n: None if t is None else simplified[t] for n, t in zip(gifts, takers, strict=True)}
    schedule = plan_memory(order_groups(groups, todo, donated), todo, donated)
    planned = time.perf_counter()
    scalars, starts, scalar_bytes = _lay_out_scalars(sources, device.target)
    memory = _find_memory(schedule, numbers, scalars, starts, device.target.parts)
    steps, compiled = _compile_all(schedule, memory, device)
    gifts = [slot.node
             for slot, _ in schedule.places.values() if slot.kind == "donated" and slot.node is not None]
    gift_number = {gift: i for i, gift in enumerate(gifts)}
    found: list[tuple[Slot | int, int, DType, tuple[int, ...]]] = []
    for target, node in zip(targets, simplified, strict=True):
        if node in schedule.places:
            slot, offset = schedule.places[node]
            if slot.node is not None:
                slot = Slot("donated", gift_number[slot.node])
            found.append((slot, offset, target.dtype, target.shape))
        else:
            found.append((numbers[node], 0, target.dtype, target.shape))
    names = dict.fromkeys(name for step in steps for name in step.memory)
    roots = [name[1] for name in names if isinstance(name, tuple) and name[0] == "root"]
    parts = [name for name in names if isinstance(name, Part)]
    seconds = planned - start, time.perf_counter() - planned
    tell(Story(targets, simplified, schedule, [step.kernel for step in steps], reasons))
    return Plan(device, tuple(steps), schedule.slab, schedule.small, schedule.results, schedule.blocks,
                tuple(scalars), tuple(starts), tuple(roots), tuple(parts), scalar_bytes, tuple(found),
                tuple(numbers[g] for g in gifts), seconds, compiled)


def tell_plan(targets: Sequence[Node], device: str) -> Story:
    """The story of how a graph would be planned and compiled on a device that has kernels;
    nothing is launched."""
    opened = open_device(device)
    _, sources = _structure(topological(targets, inputs_in_plan), targets, opened, {}, {})
    stories: list[Story] = []
    make_plan(targets, sources, opened, {}, stories.append)
    return stories[0]


def _as_buffer(node: Node) -> Node:
    """A source as simplification leaves it."""
    return ops.buffer(node.arg, node.dtype, node.shape) if node.op.name == "saved" else node


def _lay_out_scalars(sources: Sequence[Node], target: Target) -> tuple[
        list[tuple[int, DType, int]], list[tuple[int, int]], int]:
    """Where each scalar stands in the one buffer that carries them to the device,
    the starts of slices first."""
    starts = [(number, place) for place, number in enumerate(_told_starts(sources, target))]
    rows: list[tuple[int, DType, int]] = []
    offset = len(starts) * int64.itemsize
    for number, node in sorted(enumerate(sources), key=lambda pair: -pair[1].dtype.itemsize):
        if node.op.name in ("scalar", "const"):
            rows.append((number, node.dtype, offset))
            offset += node.dtype.itemsize
    return rows, starts, round_up(offset, ALIGN)


def _told_starts(sources: Sequence[Node], target: Target) -> list[int]:
    """The numbers of the sources of which kernels are told where in a larger memory they begin: all parts, or
    where kernels take parts only those that a tape may read with many others from one memory."""
    slices = [i for i, n in enumerate(sources) if n.op.name in ("buffer", "saved") and not n.arg.is_whole]
    if not target.parts:
        return slices
    slices = [i for i in slices if sources[i].size == 1]
    together = Counter(sources[i].arg.storage for i in slices)
    return [i for i in slices if together[sources[i].arg.storage] > MANY_NUMBERS]


def take_slices(targets: Sequence[Node], order: Sequence[Node], known: dict[Node, Node],
                donate: Gifts) -> Sequence[Node]:
    """Let rows that are cut from a buffer be known as a slice of its memory: where it begins is then data, so
    that a loop over batches runs one plan. Returns what the targets need then, in order."""
    found = False
    for node in order:
        if node.op.name not in ("shrink", "reshape") or node in known:
            continue
        whole = known.get(node.inputs[0], node.inputs[0])
        if node.op.name == "reshape":
            # a row without its axis of size 1, as a row that has memory of its own
            if found and whole.op.name == "buffer" and _drops_ones(node):
                known[node] = ops.buffer(whole.arg, node.dtype, node.shape)
        elif whole.op.name == "buffer" and whole.arg not in donate:
            first = _first_of_run(node)
            if first is not None:
                size = node.dtype.itemsize
                part = whole.arg.slice(first * size, node.size * size)
                known[node], found = ops.buffer(part, node.dtype, node.shape), True
    return topological(targets, lambda n: needed(n, known)) if found else order


def needed(node: Node, known: Mapping[Node, Node]) -> tuple[Node, ...]:
    """The inputs that a plan must compute, with others in place of known nodes."""
    value = known.get(node)
    return inputs_in_plan(node) if value is None else () if value.op.kind == "source" else (value,)


def _drops_ones(node: Node) -> bool:
    """Whether a reshape of a shrink leaves axes of size 1 out in front."""
    shape = node.inputs[0].shape
    return node.inputs[0].op.name == "shrink" and node.shape == shape[len(shape) - node.ndim:]


def _first_of_run(node: Node) -> int | None:
    """The offset of the first element of a shrink whose elements stand one after another in its input,
    else None."""
    shape, strides = node.inputs[0].shape, row_strides(node.inputs[0].shape)
    cut = [axis for axis, (n, (a, b)) in enumerate(zip(shape, node.arg, strict=True)) if b - a != n]
    if not cut or 0 in node.shape or any(b - a != 1 for a, b in node.arg[:cut[-1]]):
        return None
    return sum(a * stride for (a, _), stride in zip(node.arg, strides, strict=True))


def replaced(targets: Sequence[Node], order: Sequence[Node], known: Mapping[Node, Node]) -> list[Node]:
    """The targets with others in place of known nodes, and everything above them made anew."""
    new: dict[Node, Node] = {}
    for node in order:
        if node in known:
            new[node] = new.get(known[node], known[node])
        elif any(i in new for i in inputs_in_plan(node)):
            inputs = tuple([new.get(i, i) for i in node.inputs])
            new[node] = intern(node.op, node.dtype, node.shape, inputs, node.arg)
    return [new.get(t, t) for t in targets]


def _find_memory(schedule: Schedule, numbers: dict[Node, int], scalars: Sequence[tuple[int, DType, int]],
                 starts: Sequence[tuple[int, int]], parts: bool) -> Memory:
    """Where every node that is stored lives."""
    storages: dict[Node, tuple[Hashable, int]] = {}
    names: dict[Hashable, Hashable] = {}
    roots: dict[Buffer, Hashable] = {}
    found: dict[Node, tuple[Hashable, int]] = {}
    offsets, first = {number: offset for number, _, offset in scalars}, dict(starts)
    for node, number in numbers.items():
        if node.op.name == "buffer":
            root = roots.setdefault(node.arg.storage, ("root", number))
            own = ("source", number) if parts else root
            storages[node] = names.setdefault(_memory_of(node.arg, parts), own), 0
            if number in first:
                found[node] = root, first[number]
        elif node.op.name == "scalar":
            storages[node] = SCALARS, offsets[number]
    for node, (slot, offset) in schedule.places.items():
        if slot.node is not None:
            storages[node] = storages[slot.node]
            continue
        storages[node] = (slot.kind, slot.number), offset
    return Memory(storages, found, parts)


def _compile_all(schedule: Schedule, memory: Memory, device: Device) -> tuple[list[Step], int]:
    """A step per group; how many kernels were compiled for it."""
    steps, compiled = [], 0
    seen: set[LoopNest] = set()
    for group in schedule.groups:
        if all(0 in node.shape for node in group.outputs):
            continue  # nothing to compute
        kernel, names, fresh = compile_group(group, memory, device, seen)
        compiled += fresh
        if fresh:
            report.tuned(device, kernel)
        tables = tuple(uploaded(values, device) for values in tables_of(group, memory, kernel))
        steps.append(Step(kernel, tuple(names), tables))
    for step in reversed(steps):  # helpers began with the first
        step.kernel.program.finish()
    return steps, compiled


