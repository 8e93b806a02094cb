"""PyTorch's `multiprocessing` namespace: Python's own, with `spawn`; tensors are sent by value."""

from __future__ import annotations

import multiprocessing
from multiprocessing import *  # noqa: F403
from typing import Any

from lazygrad.errors import ArgumentError, ConditionError

get_context = multiprocessing.get_context
_sharing = ["file_system"]


class ProcessRaisedException(Exception):
    """An exception in a process that spawn has started."""


class ProcessExitedException(Exception):
    """A process that spawn has started and that has ended with an exit code."""


class ProcessContext:
    """The processes that spawn has started."""

    def __init__(self, processes: list[Any], errors: list[Any]):
        self.processes, self.errors = processes, errors

    def pids(self) -> list[int]:
        """Their numbers."""
        return [p.pid for p in self.processes]

    def join(self, timeout: float | None = None, grace_period: float | None = None) -> bool:
        """Wait for all. Raises what one of them raised, after ending the others."""
        for index, process in enumerate(self.processes):
            process.join(timeout)
            if process.exitcode not in (None, 0):
                for other in self.processes:
                    other.terminate()
                if not self.errors[index].empty():
                    raise ProcessRaisedException(
                        f"\n\n-- Process {index} terminated with the following "
                        f"error:\n{self.errors[index].get()}"
                    )
                raise ProcessExitedException(f"process {index} terminated with exit code {process.exitcode}")
        return all(p.exitcode is not None for p in self.processes)


def _started(function: Any, index: int, args: tuple[Any, ...], errors: Any) -> None:
    import sys
    import traceback

    try:
        function(index, *args)
    except KeyboardInterrupt:
        pass
    except Exception:
        errors.put(traceback.format_exc())
        sys.exit(1)


def start_processes(
    fn: Any,
    args: tuple[Any, ...] = (),
    nprocs: int = 1,
    join: bool = True,
    daemon: bool = False,
    start_method: str = "spawn",
) -> ProcessContext | None:
    """Run `fn(i, *args)` in nprocs processes, and wait for them if `join`."""
    if nprocs < 1:
        raise ArgumentError(f"[start_processes] nprocs must be at least 1, not {nprocs}")
    context: Any = get_context(start_method)
    errors = [context.SimpleQueue() for _ in range(nprocs)]
    processes = [
        context.Process(target=_started, args=(fn, i, args, errors[i]), daemon=daemon)
        for i in range(nprocs)
    ]
    for process in processes:
        process.start()
    started = ProcessContext(processes, errors)
    if not join:
        return started
    while not started.join():
        pass
    return None


def spawn(
    fn: Any,
    args: tuple[Any, ...] = (),
    nprocs: int = 1,
    join: bool = True,
    daemon: bool = False,
    start_method: str = "spawn",
) -> ProcessContext | None:
    """Run `fn(i, *args)` in nprocs new processes, and wait for them if `join`. Raises what one of them
    raised."""
    return start_processes(fn, args, nprocs, join, daemon, start_method)


def get_sharing_strategy() -> str:
    """What set_sharing_strategy was told: tensors are sent by value either way."""
    return _sharing[0]


def get_all_sharing_strategies() -> set[str]:
    """The names that set_sharing_strategy takes."""
    return {"file_descriptor", "file_system"}


def set_sharing_strategy(new_strategy: str) -> None:
    """Remembered. Raises ConditionError (an AssertionError, as in PyTorch) for a name that there is not."""
    if new_strategy not in get_all_sharing_strategies():
        raise ConditionError(f"[set_sharing_strategy] {new_strategy!r} is none of "
                             f"{', '.join(sorted(get_all_sharing_strategies()))}")
    _sharing[0] = new_strategy
