"""What DEBUG prints, one function a level: graph, fusion with reasons, loop nest, source, machine code, timings.

Everything goes to standard error, so that a program's own output stays clean.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lazygrad import config
from lazygrad.graph import Node, topological
from lazygrad.group import Group
from lazygrad.runtime.device import Buffer, Device, Program
from lazygrad.schedule import Schedule

if TYPE_CHECKING:
    from lazygrad.backend import Kernel

_PACKAGE = str(Path(__file__).parent)
_COLORS = {"name": "\033[36m", "slow": "\033[33m", "dim": "\033[2m", "head": "\033[1m"}
_announced: set[str] = set()
_run_count = 0


def paint(text: str, color: str) -> str:
    """Text in a colour, where standard error is a terminal and NO_COLOR is off."""
    plain = config.get("NO_COLOR") or not sys.stderr.isatty()
    return text if plain else f"{_COLORS[color]}{text}\033[0m"


def emit(*lines: str) -> None:
    """Print lines to standard error."""
    print(*lines, sep="\n", file=sys.stderr, flush=True)


def user_line() -> str:
    """file:line of the innermost caller outside this package."""
    frame: Any = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}" if frame is not None else "?"


def size_text(nbytes: int) -> str:
    """A number of bytes for people."""
    amount, unit = float(nbytes), "B"
    for larger in ("KiB", "MiB", "GiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"


def time_text(seconds: float) -> str:
    """A duration for people."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.1f} us"
    return f"{seconds * 1e3:.2f} ms" if seconds < 1 else f"{seconds:.2f} s"


# Text of each representation


def graph_text(targets: Sequence[Node]) -> str:
    """A graph, one node a line: number, dtype[shape], op, arg, numbers of inputs."""
    number: dict[Node, int] = {}
    lines = []
    for node in topological(targets):
        number[node] = len(number)
        arg = "" if node.arg is None or node.op.name in ("buffer", "saved", "leaf") else f" {node.arg}"
        inputs = ", ".join(f"%{number[i]}" for i in node.inputs)
        mark = "  <- wanted" if node in targets else ""
        lines.append(f"  %{number[node]} = {node.op.name}({inputs}){arg} : {node.dtype.name}{list(node.shape)}{mark}")
    return "\n".join(lines)


def group_text(group: Group, number: int, kernel: Kernel, reasons: Mapping[Node, str]) -> str:
    """A fusion group: what it stores and why it ends there, what it reads, the recipe of its kernel."""
    lines = [f"  group {number}: {paint(kernel.nest.name, 'name')}, {len(group.nodes())} nodes"]
    for node in group.outputs:
        lines.append(f"    stores {node}: {reasons.get(node, 'an output of the same loops')}")
    lines += [f"    reads  {node}" for node in group.inputs]
    lines.append(f"    recipe: {' '.join(kernel.nest.recipe) or 'naive nest'}")
    return "\n".join(lines)


# What is printed when a plan is made


def opened(device: Device) -> None:
    """Level 1: a device that is used for the first time."""
    if config.get("DEBUG") >= 1 and device.name not in _announced:
        _announced.add(device.name)
        emit(paint(f"lazygrad: device {device.description}", "head"))


def planned(targets: Sequence[Node], simplified: Sequence[Node], groups: Sequence[tuple[Group, Kernel]],
            reasons: Mapping[Node, str], schedule: Schedule) -> None:
    """Levels 3 to 7, once per plan."""
    level = config.get("DEBUG")
    if level >= 6:
        emit("graph:", graph_text(targets), "simplified:", graph_text(simplified))
    if level >= 7:
        emit(memory_text(schedule))
    if level < 3:
        return
    for number, (group, kernel) in enumerate(groups):
        emit(group_text(group, number, kernel, reasons))
        if level >= 5:
            emit("  naive nest:", str(kernel.naive), "  after its recipe:", str(kernel.nest))
        if level >= 4:
            emit("  source:", kernel.program.source.text)
        if level >= 7:
            emit("  optimised:", kernel.program.optimized_ir(), "  machine code:", kernel.program.assembly())


def schedule_line(device: Device, kernels: int, seconds: tuple[float, float] | None, compiled: int) -> None:
    """Level 1: one line per schedule. `seconds`: to plan and to compile, None where the plan was cached."""
    if config.get("DEBUG") < 1:
        return
    how = "cached plan" if seconds is None else (
        f"planned in {time_text(seconds[0])}, {compiled} compiled in {time_text(seconds[1])}, {kernels - compiled} cached")
    emit(f"{device.name}: {kernels} kernel{'s' * (kernels != 1)}, {how}, peak memory {size_text(device.stats.peak)}  "
         + paint(user_line(), "dim"))


def run_timed(device: Device, kernels: Sequence[Kernel], launches: Iterable[tuple[Program, Sequence[Buffer]]]) -> None:
    """Level 2: run each launch alone and print a line for it."""
    global _run_count
    where = user_line()
    rows = []
    for kernel, (program, buffers) in zip(kernels, launches, strict=True):
        device.synchronize()
        start = time.perf_counter()
        device.launch(program, buffers)
        device.synchronize()
        rows.append((kernel, time.perf_counter() - start, len(buffers)))
    total = sum(seconds for _, seconds, _ in rows) or 1.0
    for kernel, seconds, buffers_count in rows:
        _run_count += 1
        rate = f"{kernel.nest.flops / seconds / 1e9:8.2f} GFLOPS {kernel.nest.bytes_moved / seconds / 1e9:7.2f} GB/s"
        emit(f"{device.name} {_run_count:5d} {paint(f'{kernel.nest.name:40}', 'name')} {buffers_count:3d} buffers "
             f"{size_text(kernel.nest.bytes_moved):>10} {time_text(seconds):>10} {rate} {seconds / total:4.0%}  "
             + paint(where, "dim"))


def memory_text(schedule: Schedule) -> str:
    """Level 7: what a schedule allocates."""
    return (f"  memory: {len(schedule.results)} results {size_text(sum(schedule.results))}, {len(schedule.blocks)} blocks "
            f"{size_text(sum(schedule.blocks))}, small results {size_text(schedule.slab)}, "
            f"{sum(slot.kind == 'donated' for slot, _ in schedule.places.values())} written over donated buffers")
