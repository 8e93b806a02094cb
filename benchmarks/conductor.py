"""Runs rows: a process for each framework, all alive at once, of which one works at a time, round by round.

    round 1: lazygrad, torch, jax    round 2: torch, jax, lazygrad    ...

So a machine that slows down or has other guests slows all of them alike.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.frameworks import reference
from benchmarks.rows import Row
from lazygrad import config

ROOT = Path(__file__).parent.parent
MOST_CALLS = 1000  # of one framework in one round
WARM_UP_SECONDS = 0.2
STARTS = 3  # processes for a row that measures processes


class WorkerFailure(Exception):
    """A worker answered with an error, ended, or took too long."""


@dataclass
class Measurement:
    """What one framework did in one row: times in milliseconds, `rounds` holds the median of each round.

    `error` is the largest difference from the reference, as a part of what the row tolerates.
    """

    rounds: list[float] = field(default_factory=list)
    samples: list[float] = field(default_factory=list)
    first_ms: float | None = None
    peak_mb: float | None = None
    error: float | None = None
    failed: str | None = None

    @property
    def wrong(self) -> bool:
        return self.error is not None and not self.error <= 1

    @property
    def ms(self) -> float | None:
        return median(self.samples) if self.samples else None


@dataclass
class Result:
    """A row and what each framework did in it; a framework without this program is absent."""

    row: Row
    measurements: dict[str, Measurement]

    def _right(self) -> dict[str, Measurement]:
        return {n: m for n, m in self.measurements.items() if m.ms and not m.wrong and not m.failed}

    @property
    def best_peer(self) -> str | None:
        peers = {n: m.ms for n, m in self._right().items() if n != "lazygrad" and m.ms}
        return min(peers, key=lambda name: peers[name], default=None)

    @property
    def ratio(self) -> float | None:
        """The best peer's median over lazygrad's: above 1 lazygrad is faster. None without both."""
        mine, peer = self._right().get("lazygrad"), self.best_peer
        if mine is None or peer is None:
            return None
        return (self.measurements[peer].ms or 0) / (mine.ms or 1)

    @property
    def ratio_of_fastest(self) -> float | None:
        """The same of the fastest calls, not of medians: far from `ratio` where the machine was busy."""
        if self.ratio is None:
            return None
        fastest = {name: min(m.samples) for name, m in self._right().items()}
        mine = fastest.pop("lazygrad")
        return min(fastest.values()) / mine

    @property
    def ratio_range(self) -> tuple[float, float] | None:
        """The smallest and the largest ratio of a round."""
        if self.ratio is None or self.best_peer is None:
            return None
        pairs = zip(
            self.measurements[self.best_peer].rounds, self.measurements["lazygrad"].rounds, strict=False
        )
        ratios = [peer / mine for peer, mine in pairs]
        return min(ratios), max(ratios)


class WorkerProcess:
    """A worker as a conversation: `ask` sends a command and waits for its answer."""

    def __init__(self, framework: str, settings: Settings, caches: Path) -> None:
        self.framework, self.limit = framework, settings.limit
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in __exit__
        environment = {name: text for name, text in os.environ.items() if name not in config.BY_NAME}
        environment |= {
            "XDG_CACHE_HOME": str(caches / framework),
            "TORCHINDUCTOR_CACHE_DIR": str(caches / framework / "inductor"),
            "OMP_NUM_THREADS": str(settings.threads),
            "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        }
        if framework in ("lazygrad", "interpreter"):
            environment["THREADS"] = str(settings.threads)
            environment["DEVICE"] = "CPU" if framework == "lazygrad" else "NUMPY"
            environment["TUNE"] = str(int(config.get("TUNE")))
        self.process = subprocess.Popen(
            [sys.executable, "-m", settings.worker_module, framework, str(settings.threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env=environment,
        )

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.kill()
        self.process.communicate()
        self.errors.close()

    def ready(self) -> None:
        """Wait until the framework is imported. Raises WorkerFailure."""
        self._answer()

    def ask(self, do: str, **command: Any) -> dict[str, Any]:
        """The answer to a command. Raises WorkerFailure."""
        assert self.process.stdin
        try:
            self.process.stdin.write(json.dumps({"do": do, **command}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout
        late = threading.Event()
        timer = threading.Timer(self.limit, lambda: (late.set(), self.process.kill()))
        timer.start()
        line = self.process.stdout.readline()
        timer.cancel()
        if late.is_set():
            raise WorkerFailure(f"took more than {self.limit:g} s")
        if not line:
            raise self._ended()
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerFailure(answer["error"])
        return answer

    def _ended(self) -> WorkerFailure:
        code = self.process.wait()
        self.errors.seek(0)
        lines = [line.strip() for line in self.errors if line.strip()]
        return WorkerFailure(f"process ended with {code}: {lines[-1] if lines else 'no message'}")


@dataclass
class Settings:
    """How to run: which frameworks, how many rounds of how many seconds on how many threads.

    `limit`: seconds after which an answer is given up. `worker_module`: what runs as a worker.
    """

    frameworks: Sequence[str]
    rounds: int
    seconds: float
    threads: int
    limit: float = 300.0
    worker_module: str = "benchmarks.worker"


class Conductor:
    """Runs rows under some settings. Close it to end the reference and to remove the caches of the run."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._stack = ExitStack()
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmarks-")))
        # the caches on disk start empty, so that first calls are cold
        self.caches = self.folder / "caches"
        self._reference: WorkerProcess | None = None

    def __enter__(self) -> Conductor:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def run(self, row: Row) -> Result:
        """Measure and check a row in every framework."""
        expected = self._expected(row)
        measure = self._measure_calls if row.process == "warm" else self._measure_processes
        found = measure(row, expected)
        return Result(row, {name: found[name] for name in self.settings.frameworks if name in found})

    def _expected(self, row: Row) -> list[np.ndarray]:
        """The results that are right."""
        if self._reference is None:
            worker = WorkerProcess(reference(), self.settings, self.caches)
            self._reference = self._stack.enter_context(worker)
            worker.ready()
        assert self._reference.ask("load", row=row.name)["loaded"], row.name
        return self._results(self._reference)

    def _results(self, worker: WorkerProcess) -> list[np.ndarray]:
        file = self.folder / "results.npz"
        worker.ask("check", file=str(file))
        return _read(file)

    def _measure_calls(self, row: Row, expected: list[np.ndarray]) -> dict[str, Measurement]:
        """Rounds of calls in processes that stay."""
        found = {name: Measurement() for name in self.settings.frameworks}
        with ExitStack() as stack:
            workers = {n: stack.enter_context(WorkerProcess(n, self.settings, self.caches)) for n in found}
            alive = dict(workers)

            def each(do: Callable[[str, WorkerProcess], None], names: Sequence[str]) -> None:
                for name in names:
                    try:
                        do(name, alive[name])
                    except WorkerFailure as failure:
                        found[name].failed = str(failure)
                        del alive[name]

            def load(name: str, worker: WorkerProcess) -> None:
                if not worker.ask("load", row=row.name)["loaded"]:
                    del alive[name], found[name]

            def first(name: str, worker: WorkerProcess) -> None:
                found[name].first_ms = worker.ask("first")["ms"]
                worker.ask("time", seconds=WARM_UP_SECONDS, most=MOST_CALLS)

            def one_round(name: str, worker: WorkerProcess) -> None:
                answer = worker.ask("time", seconds=self.settings.seconds, most=MOST_CALLS)
                found[name].samples += answer["ms"]
                found[name].rounds.append(median(answer["ms"]))

            def check(name: str, worker: WorkerProcess) -> None:
                self._check(row, worker, found[name], expected)

            each(lambda name, worker: worker.ready(), list(alive))
            each(load, list(alive))
            each(first, list(alive))
            for number in range(self.settings.rounds):
                turn = number % max(1, len(alive))
                each(one_round, [*list(alive)[turn:], *list(alive)[:turn]])
            each(check, list(alive))
        return found

    def _measure_processes(self, row: Row, expected: list[np.ndarray]) -> dict[str, Measurement]:
        """First calls in new processes; the caches on disk are empty ("cold") or filled ("second")."""
        found = {name: Measurement() for name in self.settings.frameworks}
        starts = min(self.settings.rounds, STARTS)
        for number in range(starts + (row.process == "second")):
            for name in list(found):
                caches = self.folder / (f"cold-{number}" if row.process == "cold" else "second")
                try:
                    with WorkerProcess(name, self.settings, caches) as worker:
                        worker.ready()
                        if not worker.ask("load", row=row.name)["loaded"]:
                            del found[name]
                            continue
                        ms = worker.ask("first")["ms"]
                        self._check(row, worker, found[name], expected)
                except WorkerFailure as failure:
                    found[name].failed = str(failure)
                    continue
                if row.process == "second" and number == 0:
                    continue  # this one filled the caches
                found[name].first_ms = ms
                found[name].samples.append(ms)
                found[name].rounds.append(ms)
        return found

    def _check(self, row: Row, worker: WorkerProcess, found: Measurement, expected: list[np.ndarray]) -> None:
        file = self.folder / "results.npz"
        found.peak_mb = worker.ask("check", file=str(file))["peak_mb"]
        found.error = largest_error(_read(file), expected, row.tolerance)


def _read(file: Path) -> list[np.ndarray]:
    with np.load(file) as results:
        return [results[name] for name in results.files]


def largest_error(found: Sequence[np.ndarray], expected: Sequence[np.ndarray], tolerance: float) -> float:
    """The largest |x - r| / (tolerance * (|r| + rms(r))) over all results; infinite where a shape, a NaN or
    an integer differs. At most 1 is right."""
    if [x.shape for x in found] != [r.shape for r in expected]:
        return float("inf")
    worst = 0.0
    for x, right in zip(found, expected, strict=True):
        if right.dtype.kind in "iub":
            worst = max(worst, 0.0 if np.array_equal(x, right) else float("inf"))
            continue
        finite = np.isfinite(right)
        if not np.array_equal(x[~finite], right[~finite], equal_nan=True) or not np.isfinite(x[finite]).all():
            return float("inf")
        r = right[finite]
        if r.size:
            allowed = tolerance * (np.abs(r) + np.sqrt(np.mean(r * r)) + np.finfo(np.float32).tiny)
            worst = max(worst, float((np.abs(x[finite] - r) / allowed).max()))
    return worst
