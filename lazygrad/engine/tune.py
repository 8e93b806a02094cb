"""Autotuning (`TUNE=1`): a kernel's recipe is run with a few other choices, and the fastest one is kept.

Every candidate runs on scratch memory with random values and must give what the untuned kernel gives: equal
bits for integers and truth values, floats within what another order of summing explains. All take turns, so
that a noisy machine disturbs all alike. A candidate wins by a margin, or the recipe keeps its own choice.
Which one was best is kept on disk by loop nest, device and version of code generation.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lazygrad.codegen.choice import UNTUNED, Choice, read_choice
from lazygrad.codegen.loopnest import If, Loop, LoopNest, Statement
from lazygrad.dtypes import DType
from lazygrad.engine import fingerprint
from lazygrad.engine.scratch import Layout, Scratch, random_values
from lazygrad.errors import LazygradError, OutOfMemoryError
from lazygrad.runtime import cache as disk
from lazygrad.runtime.device import Buffer, Device, Program, Replay
from lazygrad.scheduler.group import Group
from lazygrad.simplify.elementwise import MANTISSA

MARGIN = 0.95  # a choice must take less than this share of the untuned kernel's time
HOPELESS = 1.5  # times the untuned kernel's time: a choice whose first run took longer is dropped
LARGEST = 1 << 30  # bytes: kernels of more memory are not tuned; trying and comparing take as much each
SHORT = 10e-6  # seconds: kernels that take less are not tuned
LONG = 0.1  # seconds: the first run of a kernel that takes longer tells enough
TURN = 200e-6  # seconds of launches that are timed together, as one turn
SECONDS, FEWEST, MOST = 0.5, 5, 15  # for timing all choices of a kernel; turns of each choice
FINAL = 3  # the better choices are timed again, for so many times as long
Build = Callable[[Choice], Program]


@dataclass(frozen=True)
class Trial:
    """One choice and its time; `refused`: why it is no candidate."""

    choice: Choice
    seconds: float
    refused: str = ""


@dataclass(frozen=True)
class Tuning:
    """The choice for a kernel, how many times faster it is than untuned, and what was tried, the untuned
    kernel first. `note`: why nothing was tried."""

    choice: Choice
    trials: tuple[Trial, ...]
    gain: float = 1.0
    note: str = ""
    known: bool = False  # found by an earlier kernel or process, not timed now


@dataclass(frozen=True)
class Kernel:
    """What is tuned: a kernel's naive nest, the group that it computes and its memory: `slots` tells which
    memory each parameter is. `build` makes the program of a choice."""

    naive: LoopNest
    group: Group
    layout: Layout
    slots: tuple[int, ...]
    build: Build


_known: dict[str, Tuning] = {}
_turn = threading.Lock()  # one kernel is measured at a time


def tune(kernel: Kernel, candidates: Sequence[Choice], device: Device) -> Tuning:
    """The best choice for a kernel: known from before, or measured now and kept."""
    key = disk.digest(str(kernel.naive), repr(fingerprint.facts(device)), fingerprint.code_generation())
    with _turn:
        found = _known.get(key) or _read(key)
        if found is None:
            found = _measured(kernel, candidates, device)
            _write(key, found)
        _known[key] = replace(found, known=True)
    return found


# On disk


def _read(key: str) -> Tuning | None:
    """What an earlier process found; None where there is nothing, or nothing that makes sense."""
    payload = disk.read("tuned", key)
    if payload is None:
        return None
    try:
        row = json.loads(payload)
        trials = tuple([Trial(read_choice(settled), float(seconds), str(refused))
                        for settled, seconds, refused in row["trials"]])
        return Tuning(read_choice(row["choice"]), trials, float(row["gain"]), str(row["note"]), known=True)
    except (ValueError, TypeError, LookupError, AttributeError):
        return None


def _write(key: str, tuning: Tuning) -> None:
    trials = [(t.choice.settled(), t.seconds, t.refused) for t in tuning.trials]
    row = {"choice": tuning.choice.settled(), "trials": trials, "gain": tuning.gain, "note": tuning.note}
    disk.write("tuned", key, json.dumps(row).encode())


# Measuring


def _measured(kernel: Kernel, candidates: Sequence[Choice], device: Device) -> Tuning:
    if sum(kernel.layout.extents) > LARGEST:
        return Tuning(UNTUNED, (), note="it works on too much memory")
    try:
        for least in (-1.0, 0.5):  # roots and logarithms of negative numbers are all NaN
            values = random_values(kernel.group, least)
            scratch = Scratch(device, kernel.group, kernel.layout, values)
            if not scratch.is_safe():
                return Tuning(UNTUNED, (), note="no inputs are known to keep its indices within bounds")
            contest = _Contest(kernel, scratch, device)
            if contest.tells_much():
                break
        return contest.decide(candidates)
    except (OutOfMemoryError, MemoryError):
        return Tuning(UNTUNED, (), note="there is no memory to try it in")


class _Contender:
    """One program and its times."""

    def __init__(self, choice: Choice, program: Program, buffers: Sequence[Buffer]) -> None:
        self.choice, self.program, self.buffers = choice, program, buffers
        self.first = math.inf  # seconds of a launch when it was new
        self.replay: Replay | None = None
        self.times: list[float] = []

    @property
    def trial(self) -> Trial:
        return Trial(self.choice, float(np.median(self.times)) if self.times else self.first)


class _Contest:
    """The untuned kernel against candidates, all on the same scratch memory."""

    def __init__(self, kernel: Kernel, scratch: Scratch, device: Device) -> None:
        self.kernel, self.scratch, self.device = kernel, scratch, device
        self.buffers = [scratch.buffers[slot] for slot in kernel.slots]
        self.untuned = _Contender(UNTUNED, kernel.build(UNTUNED), self.buffers)
        self.expected = self.run(self.untuned)
        self.sources = {self.untuned.program.source}
        self.repeat = 1 if scratch.changed else max(1, min(64, int(TURN / max(self.untuned.first, 1e-9))))

    def tells_much(self) -> bool:
        """Whether most of what the kernel computes are numbers."""
        floats = [x for x in self.expected if x.dtype.kind == "f"]
        return sum(int(np.isfinite(x).sum()) for x in floats) >= sum(x.size for x in floats) / 2

    def run(self, contender: _Contender) -> list[np.ndarray]:
        """What a program computes; and how long one launch takes it."""
        self.scratch.forget()
        contender.first = self.device.timed_launch(contender.program, self.buffers)
        found = self.scratch.results()
        for _ in range(2):
            if contender.first < LONG:
                self.scratch.restore(self.scratch.changed)
                seconds = self.device.timed_launch(contender.program, self.buffers)
                contender.first = min(contender.first, seconds)
        return found

    def decide(self, candidates: Sequence[Choice]) -> Tuning:
        if self.untuned.first < SHORT:
            return Tuning(UNTUNED, (self.untuned.trial,), note="it is too short to gain by it")
        if not candidates:
            return Tuning(UNTUNED, (self.untuned.trial,), note="its recipe has no other choice")
        tried = [found for choice in candidates if (found := self.enter(choice)) is not None]
        rivals = [c for c in tried if isinstance(c, _Contender)]
        self.take_turns(rivals)
        finalists = sorted(rivals, key=self.ratio)[:2]
        both = finalists[0].choice.joined(finalists[1].choice) if len(finalists) == 2 else None
        if both is not None and self.ratio(finalists[1]) < MARGIN:
            joined = self.enter(both)
            if joined is not None:
                tried.append(joined)
            if isinstance(joined, _Contender):
                finalists.append(joined)
        finalists = [c for c in finalists if not c.times or self.ratio(c) < MARGIN]
        self.take_turns(finalists, FINAL)
        best = min(finalists, key=self.ratio, default=self.untuned)
        best = best if self.ratio(best) < MARGIN else self.untuned
        trials = [c.trial if isinstance(c, _Contender) else c for c in (self.untuned, *tried)]
        return Tuning(best.choice, tuple(trials), 1 / self.ratio(best) if best is not self.untuned else 1.0)

    def enter(self, choice: Choice) -> _Contender | Trial | None:
        """A contender that computes the same; a refused trial; None where the choice changes no code."""
        try:
            program = self.kernel.build(choice)
            if program.source in self.sources:
                return None
            self.sources.add(program.source)
            contender = _Contender(choice, program, self.buffers)
            found = self.run(contender)
        except (LazygradError, AssertionError) as error:
            return Trial(choice, math.inf, f"it cannot be made: {error}")
        terms = _terms(self.kernel.naive.body)
        for node, now, expected in zip(self.kernel.group.outputs, found, self.expected, strict=True):
            if not agrees(now, expected, node.dtype, terms):
                return Trial(choice, contender.first, "its output is another than the untuned kernel's")
        return contender

    def take_turns(self, rivals: Sequence[_Contender], times: int = 1) -> None:
        """Time the untuned kernel and its rivals one after another, a few times over."""
        running = [self.untuned, *(c for c in rivals if c.first < HOPELESS * self.untuned.first)]
        if len(running) == 1:
            return
        turns = int(SECONDS * times / sum(c.first * self.repeat for c in running))
        for contender in running:
            if contender.replay is None:
                contender.replay = self.device.prepare([(contender.program, self.buffers)] * self.repeat)
            contender.times = []
        for _ in range(max(FEWEST, min(MOST * times, turns))):
            for contender in running:
                contender.times.append(self.timed(contender))

    def timed(self, contender: _Contender) -> float:
        """Seconds of a launch, of several in a row where that disturbs none of them."""
        self.scratch.restore(self.scratch.changed)
        assert contender.replay is not None
        self.device.synchronize()
        start = time.perf_counter()
        contender.replay.run()
        self.device.synchronize()
        return (time.perf_counter() - start) / self.repeat

    def ratio(self, contender: _Contender) -> float:
        """A contender's time beside the untuned kernel's, the worse of two: what most turns say, and the
        best turns of both, which nothing else disturbed. Infinite where it had no turn."""
        if not contender.times:
            return math.inf
        pairs = zip(contender.times, self.untuned.times, strict=False)
        usual = float(np.median([mine / untuned for mine, untuned in pairs]))
        return max(usual, min(contender.times) / min(self.untuned.times))


def _terms(body: Sequence[Statement]) -> int:
    """The most turns of loops inside each other that fold."""
    most = 1
    for s in body:
        if isinstance(s, Loop):
            turns = s.var.extent if s.kind in ("reduce", "serial") else 1
            most = max(most, turns * _terms(s.body))
        elif isinstance(s, If):
            most = max(most, _terms(s.body))
    return most


def agrees(found: np.ndarray, expected: np.ndarray, dtype: DType, terms: float) -> bool:
    """Whether two results of one computation are equal, floats up to what another order of summing about so
    many terms may change, beside the largest of them."""
    if dtype.kind != "float":
        return bool(np.array_equal(found, expected))
    finite = np.isfinite(expected)
    if not np.array_equal(found[~finite], expected[~finite], equal_nan=True):
        return False
    one, other = found[finite].astype(np.float64), expected[finite].astype(np.float64)
    largest = float(np.abs(other).max(initial=0.0))
    bound = 2.0 ** -MANTISSA[dtype.name] * (16 + 2 * math.sqrt(max(terms, 0))) * largest
    return bool(np.all(np.abs(one - other) <= bound))
