"""PyTorch's `profiler` namespace: accepted; what lazygrad measures is printed by DEBUG=2."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

from lazygrad.inert.kinds import Nothing, refused

_INSTEAD = (
    "lazygrad writes no traces: DEBUG=2 prints each kernel with its time, and lazygrad.explain(y) its source"
)


class ProfilerActivity(Enum):
    """Kinds of devices that a profile could look at."""

    CPU, CUDA, XPU, MTIA, HPU, PrivateUse1 = range(6)


class ProfilerAction(Enum):
    """What a schedule asks for in a step."""

    NONE, WARMUP, RECORD, RECORD_AND_SAVE = range(4)


class _Averages(list[Any]):
    """No events."""

    def table(self, *args: Any, **options: Any) -> str:
        """Where to look instead."""
        return f"no events: {_INSTEAD}"

    total_average = table


class profile(Nothing):
    """A block of code, with steps; nothing is noted."""

    def step(self) -> None:
        """The next step begins."""

    start = stop = step

    def key_averages(self, *args: Any, **options: Any) -> _Averages:
        """No events, with a table that says where to look."""
        return _Averages()

    def events(self) -> _Averages:
        """No events."""
        return _Averages()

    export_chrome_trace = staticmethod(refused("profiler.export_chrome_trace", _INSTEAD))
    export_stacks = staticmethod(refused("profiler.export_stacks", _INSTEAD))


class record_function(Nothing):
    """A block of code with a name."""


emit_nvtx = emit_itt = record_function


def schedule(
    *, wait: int = 0, warmup: int = 0, active: int = 1, repeat: int = 0, skip_first: int = 0, **options: Any
) -> Callable[[int], ProfilerAction]:
    """A function from the number of a step to NONE."""
    return lambda step: ProfilerAction.NONE


def tensorboard_trace_handler(dir_name: str, worker_name: str | None = None, use_gzip: bool = False) -> Any:
    """What a profile would call at its end; nothing is written."""
    return lambda profiled: None


def supported_activities() -> set[ProfilerActivity]:
    """The CPU."""
    return {ProfilerActivity.CPU}


def kineto_available() -> bool:
    """False: PyTorch's library of traces is not here."""
    return False
