"""What every device offers: memory as `Buffer`s, kernels as `Program`s, lists of launches as `Replay`s."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lazygrad.source import Source, Target


@dataclass
class MemoryStats:
    """Bytes of a device's memory: held by buffers now, the most ever held, and kept back for reuse."""

    in_use: int = 0
    peak: int = 0
    pooled: int = 0

    def take(self, nbytes: int) -> None:
        self.in_use += nbytes
        self.peak = max(self.peak, self.in_use)


class Buffer:
    """`nbytes` of a device's memory, given back when the last reference to it or to a slice of it goes.

    `handle` is the device's own word for the memory. A slice has the root buffer as `storage` and begins
    `offset` bytes into it.
    """

    __slots__ = ("device", "nbytes", "handle", "offset", "_root", "__weakref__")

    def __init__(
        self, device: Device, nbytes: int, handle: Any, storage: Buffer | None = None, offset: int = 0
    ) -> None:
        self.device, self.nbytes, self.handle, self.offset = device, nbytes, handle, offset
        # a root must not refer to itself: the cycle would keep its memory until the next garbage collection
        self._root = storage

    @property
    def storage(self) -> Buffer:
        """The root buffer, which owns the memory; a root is its own."""
        return self if self._root is None else self._root

    @property
    def is_whole(self) -> bool:
        """Whether this is all of its memory: a root, or another name for one."""
        return self.nbytes == self.storage.nbytes

    def slice(self, offset: int, nbytes: int) -> Buffer:
        """`nbytes` of this buffer from byte `offset` on, sharing its memory."""
        assert 0 <= offset and 0 <= nbytes and offset + nbytes <= self.nbytes, (offset, nbytes, self.nbytes)
        return self.device.slice(self.storage, self.offset + offset, nbytes)

    def __del__(self) -> None:
        if self._root is None:
            self.device.free(self)

    def __repr__(self) -> str:
        return f"<Buffer {self.device.name} {self.nbytes} bytes at {self.offset}>"


@dataclass(frozen=True)
class Part:
    """A word for the memory that begins `offset` bytes into the memory with a name."""

    name: Any
    offset: int

    def of(self, memory: Buffer) -> Buffer:
        """The part of what is there now."""
        return memory.slice(self.offset, memory.nbytes - self.offset)


class Program:
    """A loaded kernel. `from_cache`: its machine code came from the disk; `seconds`: what loading took."""

    def __init__(self, source: Source, from_cache: bool, seconds: float) -> None:
        self.source, self.from_cache, self.seconds = source, from_cache, seconds

    def finish(self) -> None:
        """Return when it can be launched at once: a device may compile it while its caller goes on."""

    def optimized_ir(self) -> str:
        """The kernel after the target's compiler optimised it, where the device can tell; else the source."""
        return self.source.text

    def assembly(self) -> str:
        """The machine code as text, where the device can tell; else empty."""
        return ""


class Replay:
    """Launches that run again and again in order, over memory that may be exchanged between runs.

    A launch names its memory: a Buffer stands for itself and stays alive with the replay; any other name is
    given its buffer by `bind`, which keeps nothing alive: a buffer lives as long as its owner lets it. A Part
    of a name follows what the name is given, on devices whose kernels take parts.
    """

    def __init__(self, device: Device, launches: Sequence[tuple[Program, Sequence[Any]]]) -> None:
        self.device, self.launches = device, [(program, tuple(names)) for program, names in launches]
        self.least: dict[Any, int] = {}  # bytes that the programs need of each memory
        for program, names in self.launches:
            for name, use in zip(names, program.source.uses, strict=True):
                whole, offset = (name.name, name.offset) if isinstance(name, Part) else (name, 0)
                end = offset + use.size * use.dtype.itemsize
                self.least[whole] = max(self.least.get(whole, 0), end)

    def bind(self, name: Any, buffer: Buffer, begin: int = 0) -> None:
        """Let the launches use this buffer, from a byte on, under a name from now on."""
        raise AssertionError(f"{type(self).__name__} cannot bind")

    def bind_own(self) -> None:
        """Bind the names that are buffers."""
        for name in self.least:
            if isinstance(name, Buffer):
                self.bind(name, name)

    def run(self) -> None:
        """Run all launches; every name has its buffer."""
        raise AssertionError(f"{type(self).__name__} cannot run")

    def launcher(self) -> Callable[[], None]:
        """The quickest way to `run`, for as long as this object lives."""
        return self.run


class Device:
    """The protocol of a device. Subclasses set `name` ("CPU", "CL:1") and `stats` and fill in the methods."""

    name: str
    stats: MemoryStats

    @property
    def target(self) -> Target:
        """The facts that code generation depends on."""
        raise AssertionError(f"{type(self).__name__} has no target")

    @property
    def description(self) -> str:
        """One line for people: processor, vector width, threads."""
        return self.name

    def allocate(self, nbytes: int) -> Buffer:
        """An uninitialised buffer. Raises OutOfMemoryError."""
        raise AssertionError(f"{type(self).__name__} cannot allocate")

    def free(self, buffer: Buffer) -> None:
        """Take back the memory of a root buffer: called by Buffer alone."""
        raise AssertionError(f"{type(self).__name__} cannot free")

    def slice(self, storage: Buffer, offset: int, nbytes: int) -> Buffer:
        """Part of a root buffer: called by Buffer alone."""
        return type(storage)(self, nbytes, storage.handle, storage, offset)

    def borrow(self, memory: np.ndarray) -> Buffer:
        """A buffer over bytes of the host (one row of them, writable), which it keeps alive; a copy where the
        device has memory of its own."""
        buffer = self.allocate(memory.nbytes)
        self.copy_in(buffer, memory)
        return buffer

    def copy_in(self, buffer: Buffer, data: Any) -> None:
        """Fill the start of a buffer from a bytes-like object or an ndarray (its elements row by row)."""
        raise AssertionError(f"{type(self).__name__} cannot copy in")

    def copy_out(self, buffer: Buffer, into: np.ndarray | None = None) -> bytes | np.ndarray:
        """The buffer's bytes, or `into` (contiguous, not larger) filled with them; waits for the device."""
        raise AssertionError(f"{type(self).__name__} cannot copy out")

    def load(self, source: Source) -> Program:
        """Compile a kernel, or take it from a cache."""
        raise AssertionError(f"{type(self).__name__} cannot load")

    def launch(self, program: Program, buffers: Sequence[Buffer]) -> None:
        """Run a kernel on one buffer per `source.uses`; the device makes the temporaries itself."""
        raise AssertionError(f"{type(self).__name__} cannot launch")

    def timed_launch(self, program: Program, buffers: Sequence[Buffer]) -> float:
        """Launch, wait, and return the seconds that it took."""
        self.synchronize()
        start = time.perf_counter()
        self.launch(program, buffers)
        self.synchronize()
        return time.perf_counter() - start

    def copy(self, target: Buffer, source: Buffer, nbytes: int) -> None:
        """Copy the first bytes of one buffer of this device to another."""
        self.copy_in(target, np.frombuffer(self.copy_out(source), np.uint8)[:nbytes])

    def prepare(self, launches: Sequence[tuple[Program, Sequence[Any]]]) -> Replay:
        """Launches to be run many times, each with its memory: buffers, or names to be bound."""
        raise AssertionError(f"{type(self).__name__} cannot prepare")

    def prepare_often(self, launches: Sequence[tuple[Program, Sequence[Any]]]) -> Replay | None:
        """Launches to be run many times, with other memory each time. None where launching them one by one
        costs no more, or where they would keep much memory."""
        return None

    def synchronize(self) -> None:
        """Return when all launches have finished."""


def byte_view(data: Any) -> np.ndarray:
    """A bytes-like object or ndarray as one row of bytes, copied only if it is not contiguous."""
    if isinstance(data, np.ndarray):
        return np.ascontiguousarray(data).reshape(-1).view(np.uint8)
    return np.frombuffer(data, np.uint8)


def total_bytes(sizes: Iterable[int], align: int) -> tuple[int, list[int]]:
    """Pieces laid one after another, each aligned: the sum and the offset of each."""
    offsets, end = [], 0
    for size in sizes:
        offsets.append(end)
        end += -(-size // align) * align
    return end, offsets
