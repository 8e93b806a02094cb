"""One framework in one process: takes commands as lines of JSON, answers each with a line of JSON.

    {"do": "load", "row": NAME}                  -> {"loaded": true}, or false where it has no such program
    {"do": "first"}                              -> {"ms": the first call, waited for}
    {"do": "time", "seconds": S, "most": N}      -> {"ms": [each of the calls that fit, after one untimed]}
    {"do": "check", "file": F}                   -> {"peak_mb": most memory so far}; results into F (npz)

An answer may be {"error": text} instead. `python -m benchmarks.worker FRAMEWORK THREADS`, by the conductor.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from benchmarks.frameworks import ALL, Framework
from benchmarks.rows import ROWS, Row

CHECKED_CALLS = 3  # of a program with a state: its results depend on all that it did before


def peak_megabytes() -> float:
    """The most memory that this process ever held."""
    try:  # the kernel carries ru_maxrss of the parent over into a new program, but not this
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    except (OSError, StopIteration):
        unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def as_list(outputs: Any) -> Sequence[Any]:
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]


class Worker:
    def __init__(self, framework: Framework, rows: dict[str, Row]) -> None:
        self.framework, self.rows = framework, rows

    def load(self, row: str) -> dict[str, Any]:
        self.row = self.rows[row]
        self.kept: list[Any] = []
        self.work = self.framework.call(self.row)
        return {"loaded": self.work is not None}

    def call(self) -> float:
        """Do the work once; the milliseconds until its results are there."""
        start = time.perf_counter()
        outputs = as_list(self.work())
        self.framework.finish(outputs)
        passed = (time.perf_counter() - start) * 1e3
        if self.row.stateful and len(self.kept) < CHECKED_CALLS:
            self.kept += outputs
        return passed

    def first(self) -> dict[str, Any]:
        return {"ms": self.call()}

    def time(self, seconds: float, most: int) -> dict[str, Any]:
        self.call()
        end, found = time.perf_counter() + seconds, [self.call()]
        while time.perf_counter() < end and len(found) < most:
            found.append(self.call())
        return {"ms": found}

    def check(self, file: str) -> dict[str, Any]:
        peak = peak_megabytes()
        if self.row.stateful:
            while len(self.kept) < CHECKED_CALLS:
                self.call()
            outputs = self.kept
        else:  # those of a new call: the first ones may come from other code than the later ones
            outputs = as_list(self.work())
        np.savez(file, *(self.framework.numpy(output) for output in outputs))
        return {"peak_mb": peak}

    def answer(self, command: dict[str, Any]) -> dict[str, Any]:
        commands = {"load": self.load, "first": self.first, "time": self.time, "check": self.check}
        do = commands[command.pop("do")]
        try:
            return do(**command)
        except Exception as error:  # whatever a framework raises belongs in the report
            lines = str(error).strip().splitlines() or [""]
            return {"error": f"{type(error).__name__}: {lines[0]}"}


def private_output() -> TextIO:
    """Standard output for answers alone: what a framework prints goes to standard error."""
    own = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(own, "w", buffering=1)


def serve(framework: str, threads: int, rows: Sequence[Row] = ROWS) -> None:
    """Answer commands until standard input ends."""
    answers = private_output()
    if hasattr(os, "sched_setaffinity"):  # every framework counts these cores
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    worker = Worker(ALL[framework](threads), {row.name: row for row in rows})
    print(json.dumps({"ready": framework}), file=answers)
    for line in sys.stdin:
        print(json.dumps(worker.answer(json.loads(line))), file=answers)
    # a framework's own threads may not end; nothing is left to be saved
    os._exit(0)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
