"""`Plan`: all launches of a graph, and how they are bound to memory and run."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np

from lazygrad import config, ops
from lazygrad.dtypes import DType, to_storage
from lazygrad.engine import report
from lazygrad.engine.backend import SCALARS, Kernel
from lazygrad.graph import Node
from lazygrad.helpers import product
from lazygrad.runtime.device import Buffer, Device, Part, Program, Replay
from lazygrad.scheduler.schedule import Slot


def pack(packed: np.ndarray, value: Any, dtype: DType, offset: int) -> None:
    """Put a number into bytes as memory holds it."""
    bits = to_storage(np.asarray(value, dtype.numpy), dtype).reshape(1)
    packed[offset:offset + dtype.itemsize] = bits.view(np.uint8)


@dataclass(frozen=True)
class Step:
    """One launch of a plan: its kernel, and for each of its parameters the memory (a name in the run's
    table)."""

    kernel: Kernel
    memory: tuple[Hashable, ...]
    tables: tuple[Buffer, ...] = ()  # the last parameters, filled when the plan was made


class Repeats:
    """How often a plan has run, and from the second run on its launches as one, if the device has that."""

    def __init__(self) -> None:
        self.lock = Lock()  # one thread at a time binds memory and runs
        self.runs = 0
        self.replay: Replay | None = None


@dataclass(frozen=True)
class Plan:
    """All launches of a graph; it holds no nodes, so that it keeps nobody's buffers alive.

    `targets`: per target (slot, byte offset, dtype, shape); the slot is a number where it is that source's
    memory.
    """

    device: Device
    steps: tuple[Step, ...]
    slab: int  # bytes of all small results
    small: int  # bytes of all small intermediates
    results: tuple[int, ...]  # bytes of each other result
    blocks: tuple[int, ...]  # bytes of each block that intermediates share
    scalars: tuple[tuple[int, DType, int], ...]  # (number among sources, dtype, byte offset)
    # parts of buffers whose start is data: (number among sources, place of the start among the int64 scalars)
    starts: tuple[tuple[int, int], ...]
    roots: tuple[int, ...]  # sources that are parts, but whose whole buffer is given to kernels
    parts: tuple[Part, ...]  # of memory that the plan allocates
    scalar_bytes: int
    targets: tuple[tuple[Slot | int, int, DType, tuple[int, ...]], ...]
    donated: tuple[int, ...]  # numbers of the sources whose memory results are written over
    seconds: tuple[float, float]  # to plan and to compile
    compiled: int  # kernels compiled for this plan
    from_disk: bool = False  # an earlier process made it
    repeats: Repeats = field(default_factory=Repeats, repr=False, compare=False)

    def run(self, sources: Sequence[Node]) -> list[Node]:
        """Bind the sources' buffers, run every launch, return the targets as buffer nodes."""
        memory = self._memory(sources)
        if config.get("DEBUG") >= 2:
            report.run_timed(self.device, [step.kernel for step in self.steps], self._launches(memory))
        elif not self._run_at_once(memory):
            for program, buffers in self._launches(memory):
                self.device.launch(program, buffers)
        return [self._result(slot, offset, dtype, shape, memory, sources)
                for slot, offset, dtype, shape in self.targets]

    def _launches(self, memory: dict[Hashable, Buffer]) -> list[tuple[Program, list[Buffer]]]:
        return [(step.kernel.program, [*(memory[m] for m in step.memory), *step.tables])
                for step in self.steps]

    def _run_at_once(self, memory: dict[Hashable, Buffer]) -> bool:
        """Run all launches as one; False where they must run one by one: at first, when a kernel may still be
        compiled while those before it run, and where the device gains nothing."""
        repeats = self.repeats
        with repeats.lock:
            repeats.runs += 1
            if repeats.runs == 2 and len(self.steps) > 1:
                launches = [(step.kernel.program, (*step.memory, *step.tables)) for step in self.steps]
                repeats.replay = self.device.prepare_often(launches)
            if repeats.replay is None:
                return False
            for name in repeats.replay.least:
                if name in memory:
                    repeats.replay.bind(name, memory[name])
            repeats.replay.run()
        return True

    def _memory(self, sources: Sequence[Node]) -> dict[Hashable, Buffer]:
        device = self.device
        memory: dict[Hashable, Buffer] = {}
        for number, node in enumerate(sources):
            if node.op.name not in ("scalar", "const"):
                memory["source", number] = node.arg
        for number in self.roots:
            memory["root", number] = sources[number].arg.storage
        if self.scalar_bytes:
            memory[SCALARS] = device.allocate(self.scalar_bytes)
            device.copy_in(memory[SCALARS], self._packed(sources))
        for kind, size in (("slab", self.slab), ("small", self.small)):
            if size:
                memory[kind, 0] = device.allocate(size)
        for kind, sizes in (("result", self.results), ("block", self.blocks)):
            for number, size in enumerate(sizes):
                memory[kind, number] = device.allocate(size)
        for part in self.parts:
            memory[part] = part.of(memory[part.name])
        return memory

    def _packed(self, sources: Sequence[Node]) -> np.ndarray:
        packed = np.zeros(self.scalar_bytes, np.uint8)
        for number, dtype, offset in self.scalars:
            pack(packed, sources[number].arg.value, dtype, offset)
        for number, place in self.starts:
            source = sources[number]
            packed.view(np.int64)[place] = source.arg.offset // source.dtype.itemsize
        return packed

    def _result(self, slot: Slot | int, offset: int, dtype: DType, shape: tuple[int, ...],
                memory: dict[Hashable, Buffer], sources: Sequence[Node]) -> Node:
        if isinstance(slot, int):
            return sources[slot]
        if slot.kind == "donated":
            old = sources[self.donated[slot.number]].arg
            # the same memory under a new name: what was known of the old value is void
            buffer = old.slice(0, old.nbytes)
        else:
            buffer = memory[slot.kind, slot.number]
            if slot.kind == "slab":
                buffer = buffer.slice(offset, dtype.itemsize * product(shape))
        return ops.buffer(buffer, dtype, shape)
