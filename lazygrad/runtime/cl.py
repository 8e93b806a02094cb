"""The devices CL and CL:n: OpenCL C built by the device's own driver, one in-order queue for each.

float16 and bfloat16 are in `dtypes` of every device: memory holds their bits, and kernels compute in float32
through `vload_half` and `vstore_half_rte` (core OpenCL C, without cl_khr_fp16) and bit shifts. float64 needs
cl_khr_fp64. pyopencl is imported when the first device is opened.

A buffer that is freed while kernels still use it may be handed out again at once: its next user runs on
the same in-order queue, after them.
"""

from __future__ import annotations

import atexit
import os
import re
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from functools import cache as cache_results
from itertools import zip_longest
from typing import Any, NoReturn

import numpy as np

from lazygrad import config
from lazygrad.errors import DeviceError, DTypeError, OutOfMemoryError
from lazygrad.helpers import round_up
from lazygrad.runtime import cache
from lazygrad.runtime.cl_platform import (
    describe,
    find_devices,
    import_pyopencl,
    keeps_own_binaries,
    target_of,
)
from lazygrad.runtime.device import (
    Buffer,
    Device,
    MemoryStats,
    Program,
    Replay,
    byte_view,
)
from lazygrad.source import Source, Target

ALIGN = 64
STAGED_BYTES = 1 << 20  # uploads up to this size are copied aside, so that they need not wait for the queue
STAGED_TOTAL = 32 << 20
OUT_OF_MEMORY = ("MEM_OBJECT_ALLOCATION_FAILURE", "OUT_OF_RESOURCES", "OUT_OF_HOST_MEMORY")


def cl_device(number: int = 0) -> ClDevice:
    """The device CL:`number`, opened once. Raises DeviceError if there is no such device."""
    return _open(config.get("CL_PLATFORM"), number)


@cache_results
def _open(platform: str, number: int) -> ClDevice:
    found = find_devices()
    if number >= len(found):
        names = ", ".join(f"CL:{n} is {device.name.strip()}" for n, device in enumerate(found))
        raise DeviceError(f"[device] CL:{number}: no such device, there are {len(found)}: {names}")
    return ClDevice(f"CL:{number}" if number else "CL", found[number])


def block_bytes(nbytes: int) -> int:
    """The size of the block that holds `nbytes`: eight sizes between a power of two and the next."""
    nbytes = max(nbytes, ALIGN)
    return round_up(nbytes, max(ALIGN, 1 << max(0, (nbytes - 1).bit_length() - 4)))


class ClMemory:
    """Blocks of device memory by size; a freed block waits for the next buffer of its size.

    The garbage collector may call `give` at any moment, even while this thread is inside `take`: so it only
    notes the block, and does the accounts if nobody is at them.
    """

    def __init__(self, name: str, context: Any, raw: Any, stats: MemoryStats) -> None:
        self.name, self.context, self.stats = name, context, stats
        self.opencl = import_pyopencl()
        self.largest, self.limit = raw.max_mem_alloc_size, raw.global_mem_size
        self._free: dict[int, list[Any]] = {}
        self._returned: deque[tuple[int, Any]] = deque()
        self._lock = threading.Lock()

    def take(self, nbytes: int) -> Any:
        """A cl.Buffer of at least `nbytes`. Raises OutOfMemoryError."""
        size = block_bytes(nbytes)
        if size > self.largest:
            size = round_up(nbytes, ALIGN)
        with self._lock:
            self._settle()
            blocks = self._free.get(size)
            if blocks:
                self.stats.pooled -= size
                self.stats.take(size)
                return blocks.pop()
            if nbytes > self.largest:
                raise self._failure(nbytes, f"one buffer can have at most {self.largest}")
            if self.stats.in_use + self.stats.pooled + size > self.limit:
                self._release()
            if self.stats.in_use + size > self.limit:
                raise self._failure(nbytes, f"the device has {self.limit}")
            handle = self._create(size) or self._create(size)
            if handle is None:
                raise self._failure(nbytes, f"the driver refused; the device has {self.limit}")
            self.stats.take(size)
            return handle

    def give(self, handle: Any, nbytes: int) -> None:
        """Take a block back for reuse."""
        self._returned.append((nbytes, handle))
        if self._lock.acquire(blocking=False):
            try:
                self._settle()
            finally:
                self._lock.release()

    def release(self) -> None:
        """Return all waiting blocks to the driver, which keeps them until the kernels in flight are done."""
        with self._lock:
            self._settle()
            self._release()

    def _create(self, size: int) -> Any:
        try:
            return self.opencl.Buffer(self.context, self.opencl.mem_flags.READ_WRITE, size)
        except self.opencl.Error as error:
            if not is_memory_error(error):
                raise DeviceError(f"[allocate] {self.name}: {error}") from error
            self._release()
            return None

    def _settle(self) -> None:
        while self._returned:
            size, handle = self._returned.popleft()
            self.stats.in_use -= size
            self.stats.pooled += size
            self._free.setdefault(size, []).append(handle)

    def _release(self) -> None:
        self._free.clear()
        self.stats.pooled = 0

    def _failure(self, nbytes: int, bound: str) -> OutOfMemoryError:
        return OutOfMemoryError(
            f"[allocate] {self.name}: {nbytes} bytes asked, {self.stats.in_use} in use by buffers, {bound}:"
            " use smaller tensors or delete some"
        )


def is_memory_error(error: Any) -> bool:
    """Whether a pyopencl error says that memory ran out."""
    return any(word in str(error) for word in OUT_OF_MEMORY)


class ClProgram(Program):
    """A kernel's built program; `phases` that have work are (kernel object, global size, local size)."""

    def __init__(
        self, source: Source, built: Any, device: ClDevice, from_cache: bool, seconds: float
    ) -> None:
        super().__init__(source, from_cache, seconds)
        self.built, self.device = built, device
        self.least_bytes = [use.size * use.dtype.itemsize for use in source.uses]
        self.phases = self.make_kernels()

    def make_kernels(self) -> list[tuple[Any, tuple[int], tuple[int]]]:
        """New kernel objects, with arguments of their own. Raises DeviceError if a phase cannot run."""
        opencl, name = self.device.opencl, self.device.name
        info, made = opencl.kernel_work_group_info, []
        for phase in self.source.phases:
            kernel = opencl.Kernel(self.built, phase.name)
            expected = len(self.source.uses) + len(self.source.temporaries)
            assert kernel.num_args == expected, (phase.name, kernel.num_args, expected)
            most = kernel.get_work_group_info(info.WORK_GROUP_SIZE, self.device.raw)
            if phase.items > most:
                raise DeviceError(
                    f"[load] {name}: kernel {phase.name} has work-groups of {phase.items} items, the device"
                    f" can run it with at most {most}: use smaller work-groups, or NOOPT=1"
                )
            local, there = (
                kernel.get_work_group_info(info.LOCAL_MEM_SIZE, self.device.raw),
                self.device.target.local_bytes,
            )
            if local > there:
                raise DeviceError(
                    f"[load] {name}: kernel {phase.name} needs {local} bytes of local memory, the device has"
                    f" {there}: use smaller tiles, or NOOPT=1"
                )
            if phase.count > 0:
                made.append((kernel, (phase.count * phase.items,), (phase.items,)))
        return made


class ClReplay(Replay):
    """Launches with kernel objects of their own, whose arguments stay set: a run only enqueues."""

    def __init__(self, device: ClDevice, launches: Sequence[tuple[Program, Sequence[Any]]]) -> None:
        super().__init__(device, launches)
        self.opened = device
        self.calls = []
        # the launches run one after another, so all can use the same temporaries
        sizes: list[int] = []
        for program, _ in self.launches:
            wanted = program.source.temporaries
            sizes = [max(pair) for pair in zip_longest(sizes, wanted, fillvalue=0)]
        self.temporaries = [device.allocate(size) for size in sizes]
        self.places: dict[Any, list[tuple[Any, int]]] = {name: [] for name in self.least}
        for program, names in self.launches:
            assert isinstance(program, ClProgram)
            for kernel, items, group in program.make_kernels():
                for number, name in enumerate(names):
                    self.places[name].append((kernel, number))
                for number, _ in enumerate(program.source.temporaries):
                    kernel.set_arg(len(names) + number, self.temporaries[number].handle)
                self.calls.append((kernel, items, group))
        self.bind_own()

    def bind(self, name: Any, buffer: Buffer, begin: int = 0) -> None:
        assert buffer.device is self.opened and buffer.nbytes >= self.least[name], (name, buffer)
        assert not begin, (name, begin)  # a kernel takes all of a memory
        for kernel, number in self.places[name]:
            kernel.set_arg(number, buffer.handle)

    def run(self) -> None:
        device = self.opened
        queue, enqueue = device.queue, device.opencl.enqueue_nd_range_kernel
        with device.lock:
            try:
                for kernel, items, group in self.calls:
                    enqueue(queue, kernel, items, group)
                queue.flush()
            except device.opencl.Error as error:
                device.fail("replay", error)


class _LostInFork:
    """Stands for a device's lock in the child of a fork, where the driver's threads and queues are not."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> NoReturn:
        raise DeviceError(
            f"[device] {self.name} does not work in a process that was forked after it was opened: keep "
            "what worker processes read on the CPU, or start them with multiprocessing_context='spawn'"
        )

    def __exit__(self, *_: object) -> None:
        pass


class ClDevice(Device):
    """One OpenCL device. Launches are asynchronous; `copy_out` and `synchronize` wait for them."""

    def __init__(self, name: str, raw: Any) -> None:
        self.opencl = import_pyopencl()
        self.name, self.raw = name, raw
        self.stats = MemoryStats()
        self.lock: Any = threading.RLock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)
        try:
            self.context = self.opencl.Context([raw])
            self.queue = self.opencl.CommandQueue(self.context, raw)
        except self.opencl.Error as error:
            raise DeviceError(f"[device] {name}: {raw.name} cannot be opened: {error}") from error
        self.memory = ClMemory(name, self.context, raw, self.stats)
        self._target = target_of(raw)
        self._caches = not keeps_own_binaries(raw)
        self._options = self._build_options()
        self._programs: dict[Source, ClProgram] = {}
        self._timing_queue: Any = None
        self._staged: list[Any] = []  # uploads in flight, which keep their bytes alive
        self._staged_bytes = 0
        # drivers that compile in threads of their own fail where the process ends under them
        atexit.register(self.synchronize)

    def _forked(self) -> None:
        self.lock = _LostInFork(self.name)
        atexit.unregister(self.synchronize)

    @property
    def target(self) -> Target:
        return self._target

    @property
    def description(self) -> str:
        return f"{self.name} {describe(self.raw)}"

    def _build_options(self) -> str:
        # float32 division and square root as IEEE rounds them, where the device can
        exact = self.raw.single_fp_config & self.opencl.device_fp_config.CORRECTLY_ROUNDED_DIVIDE_SQRT
        return "-cl-std=CL1.2 -w" + (" -cl-fp32-correctly-rounded-divide-sqrt" if exact else "")

    def fail(self, what: str, error: Exception) -> NoReturn:
        """Raise a driver's error as one of ours."""
        if is_memory_error(error):
            self.memory.release()
            raise OutOfMemoryError(
                f"[{what}] {self.name}: the driver has no room ({error}), {self.stats.in_use} bytes in use by"
                " buffers: use smaller tensors or delete some"
            ) from error
        raise DeviceError(f"[{what}] {self.name}: {error}") from error

    # memory

    def allocate(self, nbytes: int) -> Buffer:
        with self.lock:
            pass  # which refuses in the child of a fork
        return Buffer(self, nbytes, self.memory.take(nbytes))

    def free(self, buffer: Buffer) -> None:
        self.memory.give(buffer.handle, buffer.handle.size)

    def copy_in(self, buffer: Buffer, data: Any) -> None:
        view = byte_view(data)
        assert view.size <= buffer.nbytes, (buffer, view.size)
        if not view.size:
            return
        staged = view.size <= STAGED_BYTES
        with self.lock:
            if self._staged_bytes + view.size > STAGED_TOTAL:
                self.synchronize()
            try:
                event = self.opencl.enqueue_copy(
                    self.queue,
                    buffer.handle,
                    view.copy() if staged else view,
                    dst_offset=buffer.offset,
                    is_blocking=not staged,
                )
            except self.opencl.Error as error:
                self.fail("copy", error)
            if staged:
                self._staged.append(event)
                self._staged_bytes += view.size

    def copy_out(self, buffer: Buffer, into: np.ndarray | None = None) -> bytes | np.ndarray:
        assert into is None or (into.flags.c_contiguous and into.nbytes <= buffer.nbytes), (into, buffer)
        rows = np.empty(buffer.nbytes, np.uint8) if into is None else byte_view(into)
        with self.lock:
            try:
                if rows.size:
                    self.opencl.enqueue_copy(
                        self.queue, rows, buffer.handle, src_offset=buffer.offset, is_blocking=True
                    )
            except self.opencl.Error as error:
                self.fail("copy", error)
            self.synchronize()
        return rows.tobytes() if into is None else into

    def synchronize(self) -> None:
        with self.lock:
            try:
                self.queue.finish()
            except self.opencl.Error as error:
                self.fail("synchronize", error)
            self._staged.clear()
            self._staged_bytes = 0

    # programs

    def load(self, source: Source) -> ClProgram:
        """Build a kernel, or take its binary from our cache unless the driver keeps one of its own.

        Raises DeviceError for too many buffers, too large work-groups or a failed build, DTypeError for a
        dtype that the device has not.
        """
        assert source.language == "opencl", source.language
        with self.lock:
            program = self._programs.get(source)
            if program is None:
                self._check(source)
                start = time.perf_counter()
                program = self._program(source, start)
                self._programs[source] = program
            return program

    def _program(self, source: Source, start: float) -> ClProgram:
        try:
            built, from_cache = self._built(source)
            return ClProgram(source, built, self, from_cache, time.perf_counter() - start)
        except self.opencl.LogicError:
            # a driver that was killed while it wrote its own cache can hand out a program without kernels:
            # another text of the same meaning has another entry there
            again = replace(source, text=f"{source.text}\n// built again\n")
            built, from_cache = self._built(again)
            return ClProgram(source, built, self, from_cache, time.perf_counter() - start)

    def _check(self, source: Source) -> None:
        count, most = len(source.uses) + len(source.temporaries), self.target.max_parameters
        if count > most:
            raise DeviceError(
                f"[load] {self.name}: kernel {source.name} takes {count} buffers, the device at most {most}"
                f" (CL_DEVICE_MAX_PARAMETER_SIZE is {self.raw.max_parameter_size} bytes): split the kernel"
            )
        for use in source.uses:
            if use.dtype.name not in self.target.dtypes:
                raise DTypeError(
                    f"[load] {self.name}: kernel {source.name} uses {use.dtype.name} for {use.name},"
                    f" the device has {', '.join(sorted(self.target.dtypes))}: convert to one of these,"
                    " or use another device"
                )

    def _built(self, source: Source) -> tuple[Any, bool]:
        """The built program and whether it came from the disk."""
        # pyopencl's public program class would add a cache and warnings of its own: use the one below it
        low, raw, options = self.opencl._cl, self.raw, self._options.encode()
        device = (
            raw.name,
            raw.vendor,
            raw.version,
            raw.driver_version,
            raw.platform.name,
            raw.platform.version,
        )
        key = cache.digest(source.text, self._options, *device)
        binary = cache.read("opencl", key) if self._caches else None
        if binary is not None:
            try:
                program = low._Program(self.context, [raw], [binary])
                program._build(options, [raw])
                return program, True
            except self.opencl.Error:  # of a driver that changed under the same version: build anew
                pass
        program = low._Program(self.context, source.text)
        try:
            program._build(options, [raw])
        except self.opencl.Error as error:
            log = program.get_build_info(raw, self.opencl.program_build_info.LOG)
            raise DeviceError(build_message(self.name, source, log or str(error))) from error
        if self._caches and config.get("CACHE_DIR") is not None:
            cache.write("opencl", key, bytes(program.get_info(self.opencl.program_info.BINARIES)[0]))
        return program, False

    # launches

    def handles(
        self, program: Program, buffers: Sequence[Buffer], temporaries: Sequence[Buffer]
    ) -> list[Any]:
        """A kernel's arguments. A slice passes its root: the source knows the offsets."""
        assert isinstance(program, ClProgram) and program.device is self, program
        assert len(buffers) == len(program.least_bytes), (program.source.name, len(buffers))
        used = temporaries[: len(program.source.temporaries)]
        return [buffer.handle for buffer in (*buffers, *used)]

    def _enqueue(self, program: Program, buffers: Sequence[Buffer], queue: Any) -> list[Any]:
        assert isinstance(program, ClProgram), program
        temporaries = [self.allocate(size) for size in program.source.temporaries]
        handles = self.handles(program, buffers, temporaries)
        enqueue, events = self.opencl.enqueue_nd_range_kernel, []
        with self.lock:
            try:
                for kernel, items, group in program.phases:
                    for number, handle in enumerate(handles):
                        kernel.set_arg(number, handle)
                    events.append(enqueue(queue, kernel, items, group))
            except self.opencl.Error as error:
                self.fail(f"launch {program.source.name}", error)
        return events

    def launch(self, program: Program, buffers: Sequence[Buffer]) -> None:
        self._enqueue(program, buffers, self.queue)

    def timed_launch(self, program: Program, buffers: Sequence[Buffer]) -> float:
        """Launch, wait, and return the seconds that the device itself counted."""
        with self.lock:
            if self._timing_queue is None:
                properties = self.opencl.command_queue_properties.PROFILING_ENABLE
                self._timing_queue = self.opencl.CommandQueue(self.context, self.raw, properties)
            self.synchronize()
            events = self._enqueue(program, buffers, self._timing_queue)
            self._timing_queue.finish()
            return 1e-9 * sum(event.profile.end - event.profile.start for event in events)

    def copy(self, target: Buffer, source: Buffer, nbytes: int) -> None:
        assert nbytes <= target.nbytes and nbytes <= source.nbytes, (target, source, nbytes)
        if not nbytes:
            return
        with self.lock:
            try:
                self.opencl.enqueue_copy(self.queue, target.handle, source.handle, byte_count=nbytes,
                                         src_offset=source.offset, dst_offset=target.offset)
            except self.opencl.Error as error:
                self.fail("copy", error)

    def prepare(self, launches: Sequence[tuple[Program, Sequence[Any]]]) -> ClReplay:
        return ClReplay(self, launches)


def build_message(device: str, source: Source, log: str) -> str:
    """A failed build: the driver's log, and the numbered lines around the first errors."""
    lines = source.text.splitlines()
    found = re.findall(r":(\d+):\d+: |\bline (\d+)\b|\((\d+)\) ?:|<source>:(\d+)", log)
    marked = sorted(
        {int(number) for match in found for number in match if number} & set(range(1, len(lines) + 1))
    )[:3]
    near = sorted({n for mark in marked for n in range(mark - 2, mark + 3) if 1 <= n <= len(lines)})
    shown = "\n".join(f"{'>' if n in marked else ' '} {n:4} | {lines[n - 1]}" for n in near)
    return f"[load] {device}: kernel {source.name} cannot be built:\n{log.strip()}\n{shown}".rstrip()
