"""Whole plans on disk, so that a second process need not simplify, fuse, schedule and generate code again.

A plan is found by the structure of its graph, the facts of its device and what lazygrad's own files are. What
is kept is data alone: the source of each kernel and the layout of its memory. The compiled form of a source
is kept by the device. Files that are damaged, or that another version wrote, are made anew.
"""

from __future__ import annotations

import pickle
import time
import zlib
from collections.abc import Hashable
from dataclasses import fields
from typing import Any

import numpy as np

from lazygrad import config
from lazygrad.engine import fingerprint
from lazygrad.engine.backend import Kernel
from lazygrad.engine.plan import Plan, Step
from lazygrad.errors import LazygradError
from lazygrad.runtime import cache as disk
from lazygrad.runtime.device import Device

_LEFT_OUT = ("device", "steps", "seconds", "compiled", "from_disk", "repeats")
_LAYOUT = tuple(f.name for f in fields(Plan) if f.name not in _LEFT_OUT)


def read_plan(structure: Hashable, device: Device) -> Plan | None:
    """The plan of a graph's structure as an earlier process left it; None where there is none."""
    start = time.perf_counter()
    payload = disk.read("plan", _name(structure, device)) if config.get("CACHE_DIR") is not None else None
    if payload is None:
        return None
    try:
        layout, steps = pickle.loads(zlib.decompress(payload))
        made = tuple([_step(row, device) for row in steps])
        seconds = time.perf_counter() - start, 0.0
        return Plan(device=device, steps=made, seconds=seconds, compiled=0, from_disk=True, **layout)
    except (LazygradError, zlib.error, pickle.UnpicklingError, EOFError, TypeError, ValueError, LookupError,
            AttributeError):
        return None  # whole, but not a plan of this version


def write_plan(structure: Hashable, plan: Plan) -> None:
    """Leave a plan for later processes."""
    if config.get("CACHE_DIR") is None:
        return
    device = plan.device
    steps = []
    for step in plan.steps:
        made, contents = step.kernel, [device.copy_out(table) for table in step.tables]
        steps.append((made.program.source, made.slots, made.legend, made.tuning, step.memory, contents))
    layout = {name: getattr(plan, name) for name in _LAYOUT}
    record = pickle.dumps((layout, steps), pickle.HIGHEST_PROTOCOL)
    disk.write("plan", _name(structure, device), zlib.compress(record, 1))


def _step(row: Any, device: Device) -> Step:
    source, slots, legend, tuning, memory, contents = row
    kernel = Kernel(device.load(source), None, None, slots, legend, 0.0, tuning)
    tables = []
    for content in contents:
        tables.append(device.allocate(len(content)))
        device.copy_in(tables[-1], np.frombuffer(content, np.uint8))
    return Step(kernel, memory, tuple(tables))


def _name(structure: Hashable, device: Device) -> str:
    return disk.digest(repr(structure), repr(fingerprint.facts(device)), fingerprint.package())
