"""What a recording of a function (`lazygrad.jit`) must hear of: the doors through which Python computes
numbers for the graph, or changes its own state, at each run. Without a recording they do what they say, at
once.

`now.recorder` is the recording of this thread, None where there is none.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from lazygrad import ops
from lazygrad.dtypes import DType
from lazygrad.engine import upload
from lazygrad.graph import Node


class _Now(threading.local):
    recorder: Any = None


now = _Now()


def host_numbers(compute: Callable[[], Sequence[float]], dtype: DType) -> list[Node]:
    """0-d data that Python computes: `compute` runs now, and again at each replay of a recorded call. It may
    read values and change Python's state."""
    if now.recorder is not None:
        return now.recorder.host_numbers(compute, dtype)
    return [ops.scalar(value, dtype) for value in compute()]


def host_array(compute: Callable[[], np.ndarray], dtype: DType, device: str) -> Node:
    """An array that Python computes, as data on a device: `compute` runs now, and again at each replay of a
    recorded call. It may change Python's state."""
    if now.recorder is not None:
        return now.recorder.host_array(compute, dtype, device)
    return upload(compute(), dtype, device)


def host_choice(key: Hashable, test: Callable[[], bool]) -> bool:
    """A decision that Python makes from its own values; a recorded call is replayed only while it falls the
    same way. Tests of one key are the same test."""
    return test() if now.recorder is None else now.recorder.host_choice(key, test)


def at_each_run(effect: Callable[[], object]) -> None:
    """Change Python's state now, and again at each replay of a recorded call."""
    if now.recorder is not None:
        now.recorder.at_each_run(effect)
    else:
        effect()


def set_host_value(tensor: Any, value: float) -> None:
    """Give a 0-d tensor that Python alone counts its next number; called by what runs at each run."""
    tensor.write(ops.scalar(value, tensor.dtype))


def check_no_recording(what: str) -> None:
    """Raises CaptureError in a recording, for what a replay could not repeat."""
    if now.recorder is not None:
        now.recorder.refuse(what)
