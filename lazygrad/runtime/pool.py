"""The native thread pool: LLVM IR that runs a list of launches over the cores without Python in between.

How it works. All threads share one block of memory, the *state*. The caller opens a launch by writing its
fields and then the `gate`: (launch number << 32) + open bit + how many helpers are inside. A helper that
sees an open gate with a new number enters by adding one to it (compare-and-swap), takes chunks from the
counter `next` until none is left, and leaves by subtracting one. The caller takes chunks too, then closes
the gate and waits until nobody is inside. So a helper that is late or asleep is never waited for unless it
holds a chunk. Helpers spin for about 20 us between launches, then sleep on a condition variable; the caller
signals it only if somebody sleeps.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from lazygrad.errors import DeviceError
from lazygrad.helpers import round_up
from lazygrad.runtime.jit import Library, load
from lazygrad.source import Target

# byte offsets in the state; what different threads write is on different cache lines
GATE, NEXT, SLEEPERS, STOP, LAUNCH, SPIN, LIMIT, SCRATCH, MUTEX, CONDITION = (
    0, 64, 128, 192, 256, 320, 328, 336, 384, 512,
)  # fmt: skip
STATE_BYTES = 1024
SPIN_SECONDS = 20e-6
OPEN = 1 << 31


class LaunchRecord(ctypes.Structure):
    """One parallel loop: `function(buffers, begin, end, scratch)` over [0, count) in chunks of `grain`."""

    _fields_ = (
        ("function", ctypes.c_void_p),
        ("buffers", ctypes.c_void_p),
        ("count", ctypes.c_int64),
        ("grain", ctypes.c_int64),
    )


# what tells a processor that it waits in a loop
_X86_PAUSE, _ARM_YIELD = "@llvm.x86.sse2.pause()", "@llvm.aarch64.hint(i32 1)"
_PAUSE = {"x86_64": _X86_PAUSE, "i686": _X86_PAUSE, "aarch64": _ARM_YIELD, "arm64": _ARM_YIELD}

_IR = """
; take chunks of the open launch until none is left
define internal void @chunks(ptr %state, i64 %worker) {
entry:
  %launch = getelementptr i8, ptr %state, i64 {LAUNCH}
  %buffers.at = getelementptr i8, ptr %launch, i64 8
  %count.at = getelementptr i8, ptr %launch, i64 16
  %grain.at = getelementptr i8, ptr %launch, i64 24
  %function = load ptr, ptr %launch
  %buffers = load ptr, ptr %buffers.at
  %count = load i64, ptr %count.at
  %grain = load i64, ptr %grain.at
  %scratches.at = getelementptr i8, ptr %state, i64 {SCRATCH}
  %scratches = load ptr, ptr %scratches.at
  %scratch.at = getelementptr ptr, ptr %scratches, i64 %worker
  %scratch = load ptr, ptr %scratch.at
  %next = getelementptr i8, ptr %state, i64 {NEXT}
  br label %take
take:
  %begin = atomicrmw add ptr %next, i64 %grain monotonic
  %some = icmp slt i64 %begin, %count
  br i1 %some, label %work, label %done
work:
  %full = add i64 %begin, %grain
  %end = call i64 @llvm.smin.i64(i64 %full, i64 %count)
  call void %function(ptr %buffers, i64 %begin, i64 %end, ptr %scratch)
  br label %take
done:
  ret void
}

; a helper thread: argument points to {state, worker number}
define ptr @helper(ptr %argument) {
entry:
  %state = load ptr, ptr %argument
  %worker.at = getelementptr i8, ptr %argument, i64 8
  %worker = load i64, ptr %worker.at
  %gate.at = getelementptr i8, ptr %state, i64 {GATE}
  %stop.at = getelementptr i8, ptr %state, i64 {STOP}
  %sleepers.at = getelementptr i8, ptr %state, i64 {SLEEPERS}
  %limit.at = getelementptr i8, ptr %state, i64 {LIMIT}
  %spin.at = getelementptr i8, ptr %state, i64 {SPIN}
  %mutex = getelementptr i8, ptr %state, i64 {MUTEX}
  %condition = getelementptr i8, ptr %state, i64 {CONDITION}
  %patience = load i64, ptr %spin.at
  br label %look
look:
  %seen = phi i64 [ -1, %entry ], [ %number, %inside ], [ %seen, %spin ], [ %seen, %awake ], [ %seen, %enter ]
  %spun = phi i64 [ 0, %entry ], [ 0, %inside ], [ %spun.more, %spin ], [ 0, %awake ], [ %spun, %enter ]
  %stop = load atomic i64, ptr %stop.at acquire, align 8
  %stopping = icmp ne i64 %stop, 0
  br i1 %stopping, label %leave, label %read
read:
  %gate = load atomic i64, ptr %gate.at acquire, align 8
  %number = lshr i64 %gate, 32
  %open.bit = and i64 %gate, {OPEN}
  %open = icmp ne i64 %open.bit, 0
  %new = icmp ne i64 %number, %seen
  %inside.now = and i64 %gate, {INSIDE}
  %limit = load atomic i64, ptr %limit.at monotonic, align 8
  %room = icmp slt i64 %inside.now, %limit
  %may = and i1 %open, %new
  %may.enter = and i1 %may, %room
  br i1 %may.enter, label %enter, label %wait
enter:
  %entered = add i64 %gate, 1
  %swap = cmpxchg ptr %gate.at, i64 %gate, i64 %entered acq_rel monotonic
  %in = extractvalue { i64, i1 } %swap, 1
  br i1 %in, label %inside, label %look
inside:
  call void @chunks(ptr %state, i64 %worker)
  %left = atomicrmw sub ptr %gate.at, i64 1 release
  br label %look
wait:
  %spun.more = add i64 %spun, 1
  %tired = icmp sgt i64 %spun.more, %patience
  br i1 %tired, label %sleep, label %spin
spin:
  call void {PAUSE}
  br label %look
sleep:
  ; count ourselves before the last look: the caller opens the gate before it reads the count, so that
  ; one of us sees the other
  %lock = call i32 @pthread_mutex_lock(ptr %mutex)
  %counted = atomicrmw add ptr %sleepers.at, i64 1 seq_cst
  %last = load atomic i64, ptr %gate.at seq_cst, align 8
  %last.number = lshr i64 %last, 32
  %last.open = and i64 %last, {OPEN}
  %is.open = icmp ne i64 %last.open, 0
  %is.new = icmp ne i64 %last.number, %seen
  %work.now = and i1 %is.open, %is.new
  %stop.now = load atomic i64, ptr %stop.at seq_cst, align 8
  %is.stop = icmp ne i64 %stop.now, 0
  %stay = or i1 %work.now, %is.stop
  br i1 %stay, label %awake, label %doze
doze:
  %dozed = call i32 @pthread_cond_wait(ptr %condition, ptr %mutex)
  br label %awake
awake:
  %uncounted = atomicrmw sub ptr %sleepers.at, i64 1 seq_cst
  %unlock = call i32 @pthread_mutex_unlock(ptr %mutex)
  br label %look
leave:
  ret ptr null
}

; run n launches in order, the calling thread taking part
define void @run(ptr %state, ptr %list, i64 %n) {
entry:
  %gate.at = getelementptr i8, ptr %state, i64 {GATE}
  %next = getelementptr i8, ptr %state, i64 {NEXT}
  %sleepers.at = getelementptr i8, ptr %state, i64 {SLEEPERS}
  %limit.at = getelementptr i8, ptr %state, i64 {LIMIT}
  %launch = getelementptr i8, ptr %state, i64 {LAUNCH}
  %mutex = getelementptr i8, ptr %state, i64 {MUTEX}
  %condition = getelementptr i8, ptr %state, i64 {CONDITION}
  %scratches.at = getelementptr i8, ptr %state, i64 {SCRATCH}
  %scratches = load ptr, ptr %scratches.at
  %scratch = load ptr, ptr %scratches
  %limit = load atomic i64, ptr %limit.at monotonic, align 8
  %alone = icmp eq i64 %limit, 0
  br label %head
head:
  %k = phi i64 [ 0, %entry ], [ %k.next, %following ]
  %more = icmp slt i64 %k, %n
  br i1 %more, label %begin, label %done
begin:
  %record = getelementptr [4 x i64], ptr %list, i64 %k
  %count.at = getelementptr i8, ptr %record, i64 16
  %grain.at = getelementptr i8, ptr %record, i64 24
  %count = load i64, ptr %count.at
  %grain = load i64, ptr %grain.at
  %one.chunk = icmp sle i64 %count, %grain
  %inline = or i1 %one.chunk, %alone
  br i1 %inline, label %by.caller, label %open
by.caller:
  %function = load ptr, ptr %record
  %buffers.at = getelementptr i8, ptr %record, i64 8
  %buffers = load ptr, ptr %buffers.at
  call void %function(ptr %buffers, i64 0, i64 %count, ptr %scratch)
  br label %following
open:
  call void @llvm.memcpy.p0.p0.i64(ptr align 64 %launch, ptr align 8 %record, i64 32, i1 false)
  store i64 0, ptr %next
  %old = load atomic i64, ptr %gate.at monotonic, align 8
  %old.number = lshr i64 %old, 32
  %number = add i64 %old.number, 1
  %shifted = shl i64 %number, 32
  %opened = or i64 %shifted, {OPEN}
  store atomic i64 %opened, ptr %gate.at seq_cst, align 8
  %sleepers = load atomic i64, ptr %sleepers.at seq_cst, align 8
  %somebody = icmp sgt i64 %sleepers, 0
  br i1 %somebody, label %wake, label %work
wake:
  ; taking the mutex orders us after a sleeper's last look
  %lock = call i32 @pthread_mutex_lock(ptr %mutex)
  %unlock = call i32 @pthread_mutex_unlock(ptr %mutex)
  %wanted = udiv i64 %count, %grain
  %least = call i64 @llvm.smin.i64(i64 %wanted, i64 %limit)
  br label %signal
signal:
  %woken = phi i64 [ 0, %wake ], [ %woken.more, %signal ]
  %signalled = call i32 @pthread_cond_signal(ptr %condition)
  %woken.more = add i64 %woken, 1
  %again = icmp slt i64 %woken.more, %least
  br i1 %again, label %signal, label %work
work:
  call void @chunks(ptr %state, i64 0)
  %closed = atomicrmw and ptr %gate.at, i64 {NOT_OPEN} acq_rel
  br label %barrier
barrier:
  %waited = phi i64 [ 0, %work ], [ %waited.more, %pause ], [ %waited.more, %yield ]
  %gate = load atomic i64, ptr %gate.at acquire, align 8
  %inside = and i64 %gate, {INSIDE}
  %empty = icmp eq i64 %inside, 0
  br i1 %empty, label %following, label %linger
linger:
  ; a helper that lost its core needs ours
  %waited.more = add i64 %waited, 1
  %long = icmp sgt i64 %waited.more, 2000
  br i1 %long, label %yield, label %pause
pause:
  call void {PAUSE}
  br label %barrier
yield:
  %yielded = call i32 @sched_yield()
  br label %barrier
following:
  %k.next = add i64 %k, 1
  br label %head
done:
  ret void
}

; run launches in order up to one without a function, on the calling thread alone and without scratch
define void @alone(ptr %list) {
entry:
  br label %head
head:
  %record = phi ptr [ %list, %entry ], [ %record.next, %body ]
  %function = load ptr, ptr %record
  %more = icmp ne ptr %function, null
  br i1 %more, label %body, label %done
body:
  %buffers.at = getelementptr i8, ptr %record, i64 8
  %count.at = getelementptr i8, ptr %record, i64 16
  %buffers = load ptr, ptr %buffers.at
  %count = load i64, ptr %count.at
  call void %function(ptr %buffers, i64 0, i64 %count, ptr null)
  %record.next = getelementptr i8, ptr %record, i64 32
  br label %head
done:
  ret void
}

; n pauses, to learn how long one takes
define void @spin(i64 %n) {
entry:
  br label %head
head:
  %k = phi i64 [ 0, %entry ], [ %k.next, %body ]
  %more = icmp slt i64 %k, %n
  br i1 %more, label %body, label %done
body:
  call void {PAUSE}
  %k.next = add i64 %k, 1
  br label %head
done:
  ret void
}

declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_signal(ptr)
declare i32 @sched_yield()
declare void {PAUSE_DECLARED}
declare i64 @llvm.smin.i64(i64, i64)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
"""


def pool_ir(triple: str) -> str:
    """The pool's LLVM IR for a processor."""
    numbers = {
        name: globals()[name] for name in ("GATE", "NEXT", "SLEEPERS", "STOP", "LAUNCH", "SPIN", "LIMIT")
    }
    numbers |= {"SCRATCH": SCRATCH, "MUTEX": MUTEX, "CONDITION": CONDITION, "OPEN": OPEN, "INSIDE": OPEN - 1}
    pause = _PAUSE.get(triple.split("-")[0], "@llvm.donothing()")
    numbers |= {"NOT_OPEN": ~OPEN, "PAUSE": pause, "PAUSE_DECLARED": pause.replace("i32 1", "i32")}
    text = _IR
    for name, value in numbers.items():
        text = text.replace("{" + name + "}", str(value))
    return text


def aligned_bytes(nbytes: int, align: int = 64) -> np.ndarray:
    """Uninitialised bytes that begin at a multiple of `align`."""
    block = np.empty(nbytes + align, np.uint8)
    start = -block.ctypes.data % align
    return block[start : start + nbytes]


class ThreadPool:
    """Helpers that share the work of launches with the thread that calls `run`.

    Threads start with the first run, and again after a fork or a request for more.
    Where the system has no POSIX threads, `note` says so and the caller works alone.
    """

    def __init__(self, target: Target) -> None:
        symbols = ("run", "alone", "helper", "spin")
        self._libc = ctypes.CDLL(None) if os.name == "posix" else None
        self.note = "" if self._libc is not None else "one thread: this system has no POSIX threads"
        self._library: Library | None = None
        if self._libc is not None:
            self._library, _ = load(pool_ir(target.triple), symbols, target)
            addresses = self._library.addresses
            pointer, number = ctypes.c_void_p, ctypes.c_int64
            self._run = ctypes.CFUNCTYPE(None, pointer, pointer, number)(addresses["run"])
            self._alone = ctypes.CFUNCTYPE(None, pointer)(addresses["alone"])
            self._spin = ctypes.CFUNCTYPE(None, number)(addresses["spin"])
        self.lock = threading.RLock()
        self._reset()
        self._patience = self._spins_of(SPIN_SECONDS) if self._library else 0

    def _reset(self) -> None:
        """A new state without helpers."""
        self._sharing = 0  # threads that share launches now
        self._threads: list[int] = []
        self._arguments: list[np.ndarray] = []
        self._state = aligned_bytes(STATE_BYTES)
        self._state[:] = 0
        self._address = self._state.ctypes.data
        self._scratches: list[np.ndarray] = []
        self._scratch_bytes = 0
        self._scratch_table = np.zeros(0, np.uint64)
        if self._libc is not None:
            for name, offset in (("pthread_mutex_init", MUTEX), ("pthread_cond_init", CONDITION)):
                getattr(self._libc, name)(ctypes.c_void_p(self._address + offset), None)

    def _spins_of(self, seconds: float) -> int:
        count = 1000
        best = min(_seconds_of(lambda: self._spin(count)) for _ in range(5))
        return max(10, int(count * seconds / max(best, 1e-9)))

    def _field(self, offset: int, value: int) -> None:
        self._state[offset : offset + 8].view(np.int64)[0] = value

    def run(self, records: ctypes.Array[LaunchRecord], n: int, threads: int, scratch: int) -> None:
        """Run n launches in order, each by up to `threads` threads with `scratch` bytes for each.

        The GIL is not held meanwhile; calls from several Python threads take turns.
        """
        with self.lock:
            if self._library is None:
                self._grow_scratch(max(scratch, self._scratch_bytes))
                return _run_alone(records[:n], self._scratches[0].ctypes.data)
            if threads != self._sharing:
                self._set_threads(threads)
            if scratch > self._scratch_bytes:
                self._grow_scratch(scratch)
            self._run(self._address, ctypes.addressof(records), n)

    def run_small(self, records: ctypes.Array[LaunchRecord]) -> Callable[[], None] | None:
        """A function that runs launches in order up to one without a function, on the thread that calls it:
        no lock, no helper, no scratch. None where this system has no native code for it."""
        if self._library is None:
            return None
        return partial(self._alone, ctypes.c_void_p(ctypes.addressof(records)))

    def _set_threads(self, threads: int) -> None:
        """Let `threads` threads share launches, starting the ones that do not exist yet."""
        self._field(SPIN, self._patience)
        while len(self._threads) < threads - 1:
            argument = np.array([self._address, len(self._threads) + 1], np.uint64)
            self._arguments.append(argument)
            self._threads.append(self._start(argument))
        self._grow_scratch(self._scratch_bytes)
        self._field(LIMIT, threads - 1)
        self._sharing = threads

    def _start(self, argument: np.ndarray) -> int:
        """A new helper thread, with all signals blocked: they are for Python's own threads."""
        assert self._libc is not None and self._library is not None
        thread = ctypes.c_size_t()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            failed = self._libc.pthread_create(
                ctypes.byref(thread),
                None,
                ctypes.c_void_p(self._library.addresses["helper"]),
                ctypes.c_void_p(argument.ctypes.data),
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if failed:
            raise DeviceError(f"[device] CPU: the system refused a worker thread: {os.strerror(failed)}")
        return thread.value

    def _grow_scratch(self, nbytes: int) -> None:
        """Give every thread at least `nbytes` of scratch; helpers read the table only inside a launch."""
        workers = len(self._threads) + 1
        if nbytes > self._scratch_bytes:
            self._scratches = []
        while len(self._scratches) < workers:
            self._scratches.append(aligned_bytes(round_up(max(nbytes, 64), 64)))
        self._scratch_bytes = nbytes
        self._scratch_table = np.array([block.ctypes.data for block in self._scratches], np.uint64)
        self._field(SCRATCH, self._scratch_table.ctypes.data)

    def stop(self) -> None:
        """End the helpers and wait for them; a later launch starts new ones."""
        with self.lock:
            if not self._threads:
                return
            assert self._libc is not None
            self._field(STOP, 1)
            mutex, condition = (ctypes.c_void_p(self._address + offset) for offset in (MUTEX, CONDITION))
            self._libc.pthread_mutex_lock(mutex)
            self._libc.pthread_cond_broadcast(condition)
            self._libc.pthread_mutex_unlock(mutex)
            for thread in self._threads:
                self._libc.pthread_join(ctypes.c_size_t(thread), None)
            self._reset()

    def forget_threads(self) -> None:
        """In the child of a fork: no helper came along, and the lock may be held by nobody who lives."""
        self.lock = threading.RLock()
        self._parents = self._state  # the memory of the parent's condition variable is never reused
        self._reset()


def _seconds_of(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _run_alone(records: Sequence[LaunchRecord], scratch: int) -> None:
    """Launches one after another from Python, for systems without POSIX threads."""
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    for record in records:
        function = ctypes.CFUNCTYPE(None, pointer, number, number, pointer)(record.function)
        function(record.buffers, 0, record.count, scratch)
