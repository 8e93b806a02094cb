"""The device CPU: pooled host memory, kernels compiled in this process, launches on native threads."""

from __future__ import annotations

import atexit
import ctypes
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from lazygrad import config
from lazygrad.errors import OutOfMemoryError
from lazygrad.runtime import jit
from lazygrad.runtime.cpu_target import chosen_target, cpu_target, usable_cores
from lazygrad.runtime.device import (
    Buffer,
    Device,
    MemoryStats,
    Part,
    Program,
    Replay,
    byte_view,
    total_bytes,
)
from lazygrad.runtime.errands import Errand, Errands
from lazygrad.runtime.pool import LaunchRecord, ThreadPool, aligned_bytes
from lazygrad.source import Source, Target

ALIGN = 64
STEPS_PER_OCTAVE = 8  # size classes between a size and its double: at most 1/8 of a block is wasted
CLASSES_ABOVE = 4  # a free block this many classes too large is still taken: touched pages beat fresh ones
KEPT_BYTES = 256 << 20  # free blocks may hold this much more than the buffers ever did
CHECKED_BYTES = 16 << 20  # from here on, ask the system for its free memory before taking some
MOST_HELPERS = 7  # threads that compile while another one makes the next kernel's text
SMALL_TEMPORARIES = 1 << 16  # bytes that launches prepared for one plan may keep
CHUNKS_PER_THREAD = 64  # more chunks than this cost more hand-outs than they save waiting


class CpuBuffer(Buffer):
    """A buffer in host memory; `address` is its first byte, 64-byte aligned if it is a root."""

    __slots__ = ("address",)

    def __init__(
        self, device: Device, nbytes: int, handle: Any, storage: Buffer | None = None, offset: int = 0
    ) -> None:
        # what the base class does, without the call: buffers are made with every small result
        self.device, self.nbytes, self.handle, self.offset = device, nbytes, handle, offset
        self._root = storage
        self.address: int = handle + offset

    def as_array(self, storage_dtype: Any, shape: Sequence[int]) -> np.ndarray:
        """The memory itself as an array of this type and shape; the array keeps the buffer alive."""
        dtype = np.dtype(storage_dtype)
        count = 1
        for size in shape:
            count *= size
        assert count * dtype.itemsize <= self.nbytes, (dtype, shape, self.nbytes)
        return np.asarray(_Exposed(self, dtype, tuple(shape)))


class BorrowedBuffer(CpuBuffer):
    """A buffer over memory of somebody else, whom it keeps alive."""

    __slots__ = ("owner",)

    def __init__(self, device: Device, memory: np.ndarray) -> None:
        super().__init__(device, memory.nbytes, memory.ctypes.data)
        self.owner = memory


class _Exposed:
    """NumPy's way to see foreign memory; it becomes the base of the array."""

    def __init__(self, buffer: CpuBuffer, dtype: np.dtype, shape: tuple[int, ...]) -> None:
        self.buffer = buffer
        self.__array_interface__ = {
            "data": (buffer.address, False),
            "typestr": dtype.str,
            "shape": shape,
            "version": 3,
        }


@lru_cache(maxsize=4096)
def size_class(nbytes: int) -> int:
    """The number of the smallest class whose blocks hold `nbytes`."""
    nbytes = max(nbytes, ALIGN)
    octave = (nbytes - 1).bit_length() - 1  # 2**octave < nbytes <= 2**(octave + 1)
    step = -(-((nbytes << 3) - (8 << octave)) >> octave)  # eighths above 2**octave, rounded up
    return octave * STEPS_PER_OCTAVE + step


@cache
def class_bytes(number: int) -> int:
    """The size of the blocks of a class, a multiple of 64."""
    octave, step = divmod(number - 1, STEPS_PER_OCTAVE)
    size = ((STEPS_PER_OCTAVE + step + 1) << octave) >> 3
    return -(-size // ALIGN) * ALIGN


class CpuMemory:
    """Blocks of host memory by size class; a freed block waits for the next buffer of about its size."""

    def __init__(self, stats: MemoryStats) -> None:
        self.stats = stats
        self._free: dict[int, list[int]] = {}
        self._blocks: dict[int, tuple[np.ndarray, int]] = {}  # address -> the memory, its class

    def take(self, nbytes: int) -> int:
        """The address of at least `nbytes`. Raises OutOfMemoryError."""
        wanted = size_class(nbytes)
        for number in range(wanted, wanted + CLASSES_ABOVE + 1):
            blocks = self._free.get(number)
            if blocks:
                size, stats = class_bytes(number), self.stats
                stats.pooled -= size
                stats.in_use += size
                if stats.in_use > stats.peak:
                    stats.peak = stats.in_use
                return blocks.pop()  # the last freed: its bytes may still be in a cache
        return self._fresh(nbytes, wanted)

    def _fresh(self, nbytes: int, number: int) -> int:
        size = class_bytes(number)
        if size >= CHECKED_BYTES and size > available_bytes():
            self.release()
            if size > available_bytes():
                raise self._failure(nbytes)
        try:
            block = aligned_bytes(size)
        except (MemoryError, ValueError):
            self.release()
            try:
                block = aligned_bytes(size)
            except (MemoryError, ValueError):
                raise self._failure(nbytes) from None
        address = block.ctypes.data
        self._blocks[address] = (block, number)
        self.stats.take(size)
        return address

    def _failure(self, nbytes: int) -> OutOfMemoryError:
        used, free = self.stats.in_use, available_bytes()
        return OutOfMemoryError(
            f"[allocate] CPU: {nbytes} bytes asked, {used} in use by buffers, {free} free in the system:"
            " use smaller tensors or delete some"
        )

    def give(self, address: int) -> None:
        """Take a block back for reuse."""
        number = self._blocks[address][1]
        size = class_bytes(number)
        self.stats.in_use -= size
        self.stats.pooled += size
        self._free.setdefault(number, []).append(address)
        if self.stats.pooled > self.stats.peak + KEPT_BYTES:
            self.release()

    def release(self) -> None:
        """Return all waiting blocks to the system."""
        for number, blocks in self._free.items():
            while blocks:
                del self._blocks[blocks.pop()]
                self.stats.pooled -= class_bytes(number)


def available_bytes() -> int:
    """Memory that the system can still give: free pages, within the limit of a container; huge if unknown."""
    found = [1 << 62]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        found += [int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable")]
    except OSError:
        if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
            found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    limits = (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    )
    for limit, usage in limits:
        try:
            bound, used = ((Path("/sys/fs/cgroup") / name).read_text().strip() for name in (limit, usage))
        except OSError:
            continue
        if bound.isdigit() and used.isdigit():
            found.append(max(0, int(bound) - int(used)))
    return min(found)


class CpuProgram(Program):
    """A kernel's machine code, which may still be on its way, and the addresses of its phases."""

    def __init__(
        self, source: Source, made: jit.Library | Errand[bytes], target: Target, seconds: float
    ) -> None:
        super().__init__(source, isinstance(made, jit.Library), seconds)
        self._made, self.target = made, target
        self.least_bytes = [use.size * use.dtype.itemsize for use in source.uses]
        self.temporary_bytes, self.temporary_offsets = total_bytes(source.temporaries, ALIGN)
        self.pointer_count = len(source.uses) + len(source.temporaries)

    @property
    def library(self) -> jit.Library:
        if isinstance(self._made, Errand):
            start = time.perf_counter()
            self._made = jit.Library(self._made.result(), _symbols(self.source))
            self.seconds += time.perf_counter() - start
        return self._made

    @cached_property
    def phases(self) -> list[tuple[int, int, int]]:
        """Of each phase that has work: the address of its function, its iterations, and their grain."""
        addresses = self.library.addresses
        return [(addresses[p.name], p.count, p.grain) for p in self.source.phases if p.count > 0]

    def finish(self) -> None:
        assert self.phases is not None

    def fill(self, records: ctypes.Array[LaunchRecord], start: int, pointers: int, threads: int) -> None:
        """Write a record per phase from number `start` on; `pointers`: the address of the buffer pointers."""
        for number, (function, count, grain) in enumerate(self.phases, start):
            record = records[number]
            record.function, record.buffers, record.count = function, pointers, count
            record.grain = max(grain, 1, -(-count // (threads * CHUNKS_PER_THREAD)))

    def optimized_ir(self) -> str:
        return jit.optimized_ir(self.source.text, self.target)

    def assembly(self) -> str:
        return jit.assembly(self.source.text, self.target)


def _symbols(source: Source) -> list[str]:
    return [phase.name for phase in source.phases]


class CpuReplay(Replay):
    """Launches as one array of records: `run` is a single native call."""

    def __init__(self, device: CpuDevice, launches: Sequence[tuple[Program, Sequence[Any]]]) -> None:
        super().__init__(device, launches)
        programs = [program for program, _ in self.launches if isinstance(program, CpuProgram)]
        assert len(programs) == len(self.launches), "a replay on CPU runs programs of the CPU"
        self.cpu, self.pool = device, device.pool
        self.count = sum(len(program.phases) for program in programs)
        self.scratch = max((program.source.scratch for program in programs), default=0)
        self.records = (LaunchRecord * (self.count + 1))()  # the last one has no function
        # the launches run one after another, so all can use the same temporaries
        self.temporaries = device.allocate(max((program.temporary_bytes for program in programs), default=0))
        self.pointers = (ctypes.c_void_p * max(1, sum(program.pointer_count for program in programs)))()
        # which pointers are a memory, and how far into it they point
        self.places: dict[Any, list[tuple[int, int]]] = {name: [] for name in self.least}
        self.programs = programs
        self._fill(device.threads)
        pointer = 0
        for program, (_, names) in zip(programs, self.launches, strict=True):
            for place, name in enumerate(names, pointer):
                whole, further = (name.name, name.offset) if isinstance(name, Part) else (name, 0)
                self.places[whole].append((place, further))
            for place, offset in enumerate(program.temporary_offsets, pointer + len(names)):
                self.pointers[place] = self.temporaries.address + offset
            pointer += program.pointer_count
        self.bind_own()

    def _fill(self, threads: int) -> None:
        """Write the records, for a number of threads."""
        self.threads = threads
        pointers, record = ctypes.addressof(self.pointers), 0
        for program in self.programs:
            program.fill(self.records, record, pointers, threads)
            pointers, record = pointers + 8 * program.pointer_count, record + len(program.phases)

    def launcher(self) -> Callable[[], None]:
        shared = self.scratch or any(record.count > record.grain for record in self.records[:self.count])
        return self.run if shared else self.pool.run_small(self.records) or self.run

    def bind(self, name: Any, buffer: Buffer, begin: int = 0) -> None:
        assert isinstance(buffer, CpuBuffer) and buffer.nbytes >= begin + self.least[name], (name, buffer)
        address, pointers = buffer.address + begin, self.pointers
        for place, further in self.places[name]:
            pointers[place] = address + further

    def run(self) -> None:
        if self.cpu.threads != self.threads:
            self._fill(self.cpu.threads)
        self.pool.run(self.records, self.count, self.threads, self.scratch)


class CpuDevice(Device):
    """The processor that runs Python. Launches are finished when `launch` returns."""

    def __init__(self) -> None:
        self.name = "CPU"
        self.stats = MemoryStats()
        self.memory = CpuMemory(self.stats)
        self.pool = ThreadPool(cpu_target())
        self.errands = Errands()
        self._programs: dict[tuple[Source, str, str], CpuProgram] = {}
        self._targets: dict[tuple[str, int], Target] = {}
        atexit.register(self.pool.stop)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.pool.forget_threads)
            os.register_at_fork(after_in_child=self.errands.forget)

    @property
    def threads(self) -> int:
        """Threads that share a launch: the setting THREADS, by default one per usable core."""
        return 1 if self.pool.note else config.get("THREADS") or usable_cores()

    @property
    def target(self) -> Target:
        threads = self.threads
        key = (config.get("CPU"), threads)
        if key not in self._targets:
            self._targets[key] = replace(chosen_target(), threads=threads)
        return self._targets[key]

    @property
    def description(self) -> str:
        target = self.target
        threads = self.pool.note or f"{target.threads} threads"
        vectors = f"{8 * target.vector_bytes}-bit vectors, {target.registers} registers"
        caches = f"{target.l1_bytes >> 10} KiB L1, {target.l2_bytes >> 10} KiB L2"
        return f"CPU {target.cpu}: {vectors}, {caches}, {threads}"

    def allocate(self, nbytes: int) -> CpuBuffer:
        return CpuBuffer(self, nbytes, self.memory.take(nbytes))

    def free(self, buffer: Buffer) -> None:
        if not isinstance(buffer, BorrowedBuffer):
            self.memory.give(buffer.handle)

    def borrow(self, memory: np.ndarray) -> CpuBuffer:
        return BorrowedBuffer(self, memory)

    def slice(self, storage: Buffer, offset: int, nbytes: int) -> CpuBuffer:
        return CpuBuffer(self, nbytes, storage.handle, storage, offset)

    def copy_in(self, buffer: Buffer, data: Any) -> None:
        view = byte_view(data)
        assert isinstance(buffer, CpuBuffer) and view.size <= buffer.nbytes, (buffer, view.size)
        ctypes.memmove(buffer.address, view.ctypes.data, view.size)

    def copy_out(self, buffer: Buffer, into: np.ndarray | None = None) -> bytes | np.ndarray:
        assert isinstance(buffer, CpuBuffer)
        if into is None:
            return ctypes.string_at(buffer.address, buffer.nbytes)
        assert into.flags.c_contiguous and into.nbytes <= buffer.nbytes, (into.shape, into.nbytes, buffer)
        ctypes.memmove(into.ctypes.data, buffer.address, into.nbytes)
        return into

    def load(self, source: Source) -> CpuProgram:
        assert source.language == "llvm", source.language
        target = chosen_target()
        key = (source, target.cpu, target.features)
        program = self._programs.get(key)
        if program is None:
            start = time.perf_counter()
            made: jit.Library | Errand[bytes] | None = jit.find(source.text, _symbols(source), target)
            if made is None:
                helpers = min(self.threads - 1, MOST_HELPERS)
                made = self.errands.give(partial(jit.compiled, source.text, target), helpers)
            program = self._programs[key] = CpuProgram(source, made, target, time.perf_counter() - start)
        return program

    def addresses(
        self, program: CpuProgram, buffers: Sequence[Buffer], temporaries: CpuBuffer | None
    ) -> list[int]:
        """The pointers that a kernel takes: its buffers, then its temporaries."""
        assert len(buffers) == len(program.least_bytes), (program.source.name, len(buffers))
        found = []
        for buffer, least in zip(buffers, program.least_bytes, strict=True):
            assert isinstance(buffer, CpuBuffer) and buffer.nbytes >= least, (
                program.source.name,
                buffer,
                least,
            )
            found.append(buffer.address)
        if temporaries is not None:
            found += [temporaries.address + offset for offset in program.temporary_offsets]
        return found

    def launch(self, program: Program, buffers: Sequence[Buffer]) -> None:
        assert isinstance(program, CpuProgram)
        temporaries = self.allocate(program.temporary_bytes) if program.temporary_bytes else None
        addresses = self.addresses(program, buffers, temporaries)
        pointers = (ctypes.c_void_p * max(1, len(addresses)))(*addresses)
        records = (LaunchRecord * max(1, len(program.phases)))()
        threads = self.threads
        program.fill(records, 0, ctypes.addressof(pointers), threads)
        self.pool.run(records, len(program.phases), threads, program.source.scratch)

    def copy(self, target: Buffer, source: Buffer, nbytes: int) -> None:
        assert isinstance(target, CpuBuffer) and isinstance(source, CpuBuffer)
        assert nbytes <= target.nbytes and nbytes <= source.nbytes, (target, source, nbytes)
        ctypes.memmove(target.address, source.address, nbytes)

    def prepare(self, launches: Sequence[tuple[Program, Sequence[Any]]]) -> CpuReplay:
        return CpuReplay(self, launches)

    def prepare_often(self, launches: Sequence[tuple[Program, Sequence[Any]]]) -> CpuReplay | None:
        least = max([p.temporary_bytes for p, _ in launches if isinstance(p, CpuProgram)], default=0)
        return CpuReplay(self, launches) if least <= SMALL_TEMPORARIES else None


@lru_cache(maxsize=1)
def cpu_device() -> CpuDevice:
    """The one CPU device of this process."""
    return CpuDevice()
