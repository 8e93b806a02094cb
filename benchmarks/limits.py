"""What this machine can do at most: multiply-adds in registers, and bytes moved between memory and cores.

The loops are LLVM IR made by lazygrad's own builder and run by its own CPU device, so that a kernel is
compared with what its own tools could reach. `python -m benchmarks.limits` prints them.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lazygrad import config
from lazygrad.codegen.llvm import abilities
from lazygrad.codegen.llvm_builder import Builder, Module
from lazygrad.dtypes import float32
from lazygrad.runtime.cpu import CpuDevice, cpu_device
from lazygrad.runtime.cpu_target import usable_cores
from lazygrad.source import BufferUse, Phase, Source, Target

CHAINS = 12  # independent sums: more than the latency of a multiply-add times those begun in a cycle
TURNS = 20_000  # of the innermost loop: one chunk of work takes far longer than to hand it out
CHUNKS = 32
ARRAY_BYTES = 256 << 20  # far larger than the caches
BLOCK_FLOATS = 1 << 16  # of an array, one chunk of work
STREAMS = 8  # vectors read in one turn
PARAMETERS = [("buffers", "ptr"), ("begin", "i64"), ("end", "i64"), ("scratch", "ptr")]


@dataclass(frozen=True)
class Limits:
    """float32 GFLOPS on one thread and on all; GB/s of reading, and of copying (bytes read plus written)."""

    processor: str
    system: str
    threads: int
    one_thread_gflops: float
    all_threads_gflops: float
    read_gbs: float
    copy_gbs: float

    def lines(self) -> list[str]:
        return [
            f"{self.processor}; {self.system}",
            f"multiply-adds, float32: {self.one_thread_gflops:.0f} GFLOPS on 1 thread,"
            f" {self.all_threads_gflops:.0f} on {self.threads}",
            f"memory, {self.threads} threads: {self.read_gbs:.1f} GB/s reading, {self.copy_gbs:.1f} copying",
        ]


def processor_name() -> str:
    """The processor as its system calls it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def memory_gigabytes() -> str:
    try:
        line = Path("/proc/meminfo").read_text().splitlines()[0]
        return f"{int(line.split()[1]) / (1 << 20):.0f} GiB of memory, "
    except (OSError, ValueError, IndexError):
        return ""


def _source(name: str, module: Module, uses: Sequence[BufferUse], chunks: int) -> Source:
    return Source("llvm", name, module.text(), tuple(uses), (Phase(name, chunks),))


def _module(target: Target) -> Module:
    width = target.vector_bytes * 8
    attributes = f'nounwind "prefer-vector-width"="{width}" "min-legal-vector-width"="{width}"'
    return Module("", attributes, abilities(target))


def _pointers(b: Builder, count: int) -> list:
    buffers = b.parameters[0]
    return [b.emit(f"load ptr, ptr {b.element(buffers, 'ptr', n).name}", "ptr") for n in range(count)]


def multiply_adds(target: Target, chunks: int) -> tuple[Source, int]:
    """A kernel of `chunks` times TURNS rounds over independent sums in registers, and its operations."""
    lanes = target.vector_bytes // 4
    module = _module(target)
    b = module.function("multiply_adds", PARAMETERS)
    (numbers,) = _pointers(b, 1)
    scale, shift = (
        b.load(b.element(numbers, "float", n * lanes), float32, lanes, name=name)
        for n, name in enumerate(("scale", "shift"))
    )
    _, begin, end, _ = b.parameters
    chunk = b.begin_loop("chunk", begin, end)
    starts = [b.fadd(shift, float(n)) for n in range(CHAINS)]
    turn = b.begin_loop("turn", 0, TURNS, carried=starts, names=["sum"] * CHAINS)
    sums = b.end_loop(turn, [b.fma(value, scale, shift) for value in turn.carried])
    total = sums[0]
    for value in sums[1:]:
        total = b.fadd(total, value)
    b.store(total, b.element(numbers, "float", b.mul(b.add(chunk.index, 2), lanes)), float32)
    b.end_loop(chunk)
    b.ret()
    uses = [BufferUse("numbers", float32, (chunks + 2) * lanes, "readwrite")]
    return _source("multiply_adds", module, uses, chunks), 2 * lanes * CHAINS * TURNS * chunks


def stream(target: Target, floats: int, copies: bool) -> tuple[Source, int]:
    """A kernel that reads an array of `floats`, and writes it to another or adds it up; and its bytes."""
    lanes = target.vector_bytes // 4
    name = "copy" if copies else "read"
    module = _module(target)
    b = module.function(name, PARAMETERS)
    source, out = _pointers(b, 2)
    _, begin, end, _ = b.parameters
    block = b.begin_loop("block", begin, end)
    first = b.mul(block.index, BLOCK_FLOATS)
    zero = b.const("float", 0.0, lanes)
    turn = b.begin_loop("i", 0, BLOCK_FLOATS, STREAMS * lanes, [] if copies else [zero] * STREAMS)
    at = b.add(first, turn.index)
    places = [b.add(at, n * lanes) for n in range(STREAMS)]
    rows = [b.load(b.element(source, "float", place), float32, lanes) for place in places]
    if copies:
        for row, place in zip(rows, places, strict=True):
            b.store(row, b.element(out, "float", place), float32)
        b.end_loop(turn)
    else:
        total, *others = b.end_loop(turn, [b.fadd(x, row) for x, row in zip(turn.carried, rows, strict=True)])
        for other in others:
            total = b.fadd(total, other)
        b.store(total, b.element(out, "float", b.mul(block.index, lanes)), float32)
    b.end_loop(block)
    b.ret()
    blocks = floats // BLOCK_FLOATS
    written = floats if copies else blocks * lanes
    uses = [BufferUse("source", float32, floats, "read"), BufferUse("out", float32, written, "write")]
    return _source(name, module, uses, blocks), 4 * (floats + written)


def _best_rate(device: CpuDevice, kernel: tuple[Source, int], runs: int) -> float:
    """The most work a second, in 1e9, over some runs; all memory is touched before."""
    source, work = kernel
    buffers = [device.allocate(use.size * use.dtype.itemsize) for use in source.uses]
    for buffer, use in zip(buffers, source.uses, strict=True):
        buffer.as_array(np.float32, (use.size,))[:] = 0.5
    program = device.load(source)
    device.timed_launch(program, buffers)
    return work / min(device.timed_launch(program, buffers) for _ in range(runs)) / 1e9


def measure(threads: int = 0, runs: int = 10, array_bytes: int = ARRAY_BYTES) -> Limits:
    """The limits of this machine on so many threads (0: all usable cores)."""
    threads = threads or usable_cores()
    device, floats = cpu_device(), array_bytes // 4 // BLOCK_FLOATS * BLOCK_FLOATS
    with config.override(THREADS=1):
        one = _best_rate(device, multiply_adds(device.target, CHUNKS), runs)
    with config.override(THREADS=threads):
        target = device.target
        every = _best_rate(device, multiply_adds(target, CHUNKS * threads), runs)
        read, copy = (_best_rate(device, stream(target, floats, copies), runs) for copies in (False, True))
        description = device.description
    processor = f"{processor_name()} ({description})"
    system = f"{memory_gigabytes()}{platform.system()}, Python {platform.python_version()}"
    return Limits(processor, system, threads, one, every, read, copy)


if __name__ == "__main__":
    print("\n".join(measure().lines()))
