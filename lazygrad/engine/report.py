"""What DEBUG prints and `explain` returns: graph, fusion with reasons, loop nest, source, machine code,
timings.

Everything is printed to standard error, so that a program's own output stays clean.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lazygrad import config
from lazygrad.codegen.choice import UNTUNED
from lazygrad.engine.backend import Kernel
from lazygrad.graph import Node, topological
from lazygrad.runtime.device import Buffer, Device, Program
from lazygrad.scheduler.group import Group
from lazygrad.scheduler.schedule import Schedule

if TYPE_CHECKING:
    from lazygrad.engine.tune import Tuning

LEVELS = (
    "nothing",
    "devices as they are opened; a line a schedule: kernels, time to plan and compile, cache hits, memory",
    "a line a kernel: name, buffers, bytes, time, GFLOPS, GB/s, share of the schedule, line of your code",
    "what each kernel is made of, why it ends where it ends, and the recipe that made it fast",
    "the source of each kernel, LLVM IR or OpenCL C, with a legend of its buffers",
    "the loop nest of each kernel before and after its recipe",
    "the graph before and after simplification",
    "optimised LLVM IR and machine code of each kernel; memory that the schedule takes",
)

_PACKAGE = str(Path(__file__).parent.parent) + os.sep
_COLORS = {"name": "\033[36m", "slow": "\033[33m", "dim": "\033[2m", "head": "\033[1m"}
_SLOW = 0.5  # share of a schedule's time from which a kernel stands out
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


@dataclass(frozen=True)
class Story:
    """How a plan was made: what was wanted, what simplification left, the schedule, a kernel for each of its
    groups, and why each stored node was stored."""

    targets: Sequence[Node]
    simplified: Sequence[Node]
    schedule: Schedule
    kernels: Sequence[Kernel]
    reasons: Mapping[Node, str]


# Text of each representation


def node_text(node: Node) -> str:
    """A node in a few words: op and argument, dtype, shape."""
    arg = "" if node.arg is None or node.op.name in _UNNAMED else f" {node.arg}"
    return f"{node.op.name}{arg} {node.dtype.name}{list(node.shape)}"


_UNNAMED = ("buffer", "saved", "leaf")  # nodes whose argument tells a reader nothing


def graph_text(targets: Sequence[Node]) -> str:
    """A graph, one node a line: number, op, numbers of inputs, arg, dtype and shape."""
    number: dict[Node, int] = {}
    lines = []
    wanted = set(targets)
    for node in topological(targets):
        number[node] = len(number)
        arg = "" if node.arg is None or node.op.name in _UNNAMED else f" {node.arg}"
        inputs = ", ".join(f"%{number[i]}" for i in node.inputs)
        mark = "  <- wanted" if node in wanted else ""
        lines.append(
            f"  %{number[node]} = {node.op.name}({inputs}){arg} : {node.dtype.name}{list(node.shape)}{mark}"
        )
    return "\n".join(lines)


def simplified_text(story: Story) -> str:
    """The graph before and after simplification."""
    before, after = graph_text(story.targets), graph_text(story.simplified)
    count = len(topological(story.targets)), len(topological(story.simplified))
    second = "simplified: nothing to do" if before == after else f"simplified: {count[1]} nodes\n{after}"
    return f"graph: {count[0]} nodes\n{before}\n{second}"


def group_text(group: Group, title: str, kernel: Kernel, reasons: Mapping[Node, str]) -> str:
    """A fusion group: what it reads, what it stores and why it ends there, the recipe of its kernel."""
    computed = [n.op.name for n in group.nodes() if n.op.kind not in ("source", "movement")]
    assert kernel.nest is not None
    lines = [f"{title}: {paint(kernel.nest.name, 'name')}"]
    lines += [f"  reads   {node_text(node)}" for node in group.inputs]
    lines.append(f"  fuses   {_shortened(computed)}")
    for node in group.outputs:
        lines.append(f"  stores  {node_text(node)}: {reasons.get(node, 'an output of the same loops')}")
    lines.append(f"  recipe  {' '.join(kernel.nest.recipe) or 'none: it runs as its naive nest'}")
    if kernel.tuning is not None:
        lines += [f"  tuned   {line}" for line in tuning_lines(kernel.tuning)]
    return "\n".join(lines)


def tuning_lines(tuning: Tuning) -> list[str]:
    """Every choice that was tried for a kernel, with its time or why it was refused."""
    if tuning.note:
        return [f"not: {tuning.note}"]
    lines = []
    for trial in tuning.trials:
        text = trial.refused and f"refused: {trial.refused}" or time_text(trial.seconds)
        lines.append(f"{trial.choice!s:24} {text}{'  <- chosen' * (trial.choice == tuning.choice)}")
    return lines


def _shortened(words: Sequence[str]) -> str:
    """Words in order, repetitions counted, the middle of many left out."""
    runs: list[list[Any]] = []
    for word in words:
        if runs and runs[-1][0] == word:
            runs[-1][1] += 1
        else:
            runs.append([word, 1])
    shown = [word if count == 1 else f"{word} x{count}" for word, count in runs]
    if len(shown) > 24:
        shown = [*shown[:16], f"... {len(shown) - 20} more ...", *shown[-4:]]
    return ", ".join(shown) or "nothing: it moves or fills"


def nest_text(kernel: Kernel) -> str:
    """The loop nest before and after the recipe."""
    after = "" if kernel.nest is kernel.naive else f"\nnest after its recipe:\n{kernel.nest}"
    return f"naive nest:\n{kernel.naive}{after}"


def source_text(kernel: Kernel) -> str:
    """The generated text of a kernel, under a legend of its buffers."""
    source = kernel.program.source
    legend = "\n".join(f"  {line}" for line in kernel.legend)
    return f"{_LANGUAGES[source.language]} of {source.name}, with\n{legend}\n{source.text.rstrip()}"


_LANGUAGES = {"llvm": "LLVM IR", "opencl": "OpenCL C"}


def machine_text(program: Program) -> str:
    """What the target's own compiler made of a kernel."""
    if program.source.language != "llvm":
        return "machine code: the OpenCL driver keeps it to itself"
    return (
        f"optimised LLVM IR:\n{program.optimized_ir().rstrip()}\nmachine code:\n{program.assembly().rstrip()}"
    )


def memory_text(schedule: Schedule) -> str:
    """What a schedule allocates."""
    gifts = sum(slot.kind == "donated" for slot, _ in schedule.places.values())
    rows = [
        f"{len(schedule.results)} results {size_text(sum(schedule.results))}",
        f"{len(schedule.blocks)} blocks of intermediates {size_text(sum(schedule.blocks))}",
        f"small results {size_text(schedule.slab)}",
        f"{gifts} written over donated buffers",
    ]
    return "memory: " + ", ".join(rows)


def story_text(story: Story, level: int) -> str:
    """Levels 3 to 7 of DEBUG, for one plan."""
    parts = [simplified_text(story)] if level >= 6 else []
    if level >= 7:
        parts.append(memory_text(story.schedule))
    groups = story.schedule.groups
    for number, (group, kernel) in enumerate(zip(groups, story.kernels, strict=True), 1):
        parts.append(group_text(group, f"kernel {number} of {len(groups)}", kernel, story.reasons))
        if level >= 5:
            parts.append(nest_text(kernel))
        if level >= 4:
            parts.append(source_text(kernel))
        if level >= 7:
            parts.append(machine_text(kernel.program))
    return "\n".join(parts)


# What is printed, and when


def opened(device: Device) -> None:
    """Level 1: a device that is used for the first time."""
    if config.get("DEBUG") >= 1 and device.name not in _announced:
        _announced.add(device.name)
        emit(paint(f"lazygrad: device {device.description}", "head"))


def planned(story: Story) -> None:
    """Levels 3 to 7, once per plan."""
    level = config.get("DEBUG")
    if level >= 3 and (story.kernels or level >= 6):
        emit(story_text(story, level))


def tuned(device: Device, kernel: Kernel) -> None:
    """Level 2: one line for a kernel that was tuned just now, or of which the best choice was known."""
    tuning = kernel.tuning
    if config.get("DEBUG") < 2 or tuning is None:
        return
    if tuning.note:
        result = f"not tuned: {tuning.note}"
    elif tuning.choice == UNTUNED:
        result = "nothing better found"
    else:
        result = f"{tuning.choice}, {tuning.gain:.2f} times as fast"
    tried = "known from before" if tuning.known else f"{max(0, len(tuning.trials) - 1)} tried"
    emit(f"{device.name}: {paint(kernel.program.source.name, 'name')}: {result}, {tried}")


def schedule_line(device: Device, kernels: Sequence[Kernel], seconds: tuple[float, float] | None,
                  compiled: int, from_disk: bool) -> None:
    """Level 1: one line per schedule. `seconds`: to plan and to compile, None where the plan was cached."""
    if config.get("DEBUG") < 1:
        return
    count = _kernels(len(kernels))
    if seconds is None:
        how = "plan from the cache"
    elif from_disk:
        how = f"plan from disk in {time_text(seconds[0])}"
    else:
        loaded = sum(kernel.program.from_cache for kernel in dict.fromkeys(kernels))
        how = (
            f"planned in {time_text(seconds[0])}, {_kernels(compiled)} made in {time_text(seconds[1])} "
            f"({min(loaded, compiled)} from disk), {len(kernels) - compiled} from memory"
        )
    emit(
        f"{device.name}: {count}, {how}, peak memory {size_text(device.stats.peak)}  "
        + paint(user_line(), "dim")
    )


def replay_line(device: Device, count: int) -> None:
    """Level 1: one line per replay of a recorded function."""
    emit(f"{device.name}: {_kernels(count)} replayed  " + paint(user_line(), "dim"))


def _kernels(count: int) -> str:
    return f"{count} kernel{'s' * (count != 1)}"


def interpreted(device: Device, targets: Sequence[Node], seconds: float) -> None:
    """Levels 1 and 6 of the reference device, which runs nodes and not kernels."""
    level = config.get("DEBUG")
    if level >= 6:
        emit("graph:", graph_text(targets))
    if level >= 1:
        emit(
            f"{device.name}: {len(topological(targets))} nodes interpreted in "
            f"{time_text(seconds)}, no kernels  "
            + paint(user_line(), "dim")
        )


def run_timed(
    device: Device, kernels: Sequence[Kernel], launches: Iterable[tuple[Program, Sequence[Buffer]]]
) -> None:
    """Level 2: run each launch alone and print a line for it."""
    global _run_count
    where = user_line()
    rows = [
        (kernel, max(device.timed_launch(program, buffers), 1e-9), len(buffers))
        for kernel, (program, buffers) in zip(kernels, launches, strict=True)
    ]
    total = sum(seconds for _, seconds, _ in rows)
    for kernel, seconds, buffers_count in rows:
        _run_count += 1
        emit(
            f"{device.name} {_run_count:5d} {kernel_line(kernel, seconds, buffers_count, total)}  "
            f"{paint(where, 'dim')}"
        )


def kernel_line(kernel: Kernel, seconds: float, buffers: int, total: float) -> str:
    """One run of a kernel: name, buffers, bytes, time, rates, share of the whole."""
    source = kernel.program.source
    share = f"{seconds / total:4.0%}"
    tuned = kernel.tuning is not None and kernel.tuning.choice != UNTUNED
    return (
        f"{paint(f'{source.name:40}', 'name')} {buffers:2d} buffer{'s' if buffers != 1 else ' '} "
        f"{size_text(source.bytes_moved):>10} {time_text(seconds):>9} "
        f"{source.flops / seconds / 1e9:8.2f} GFLOPS "
        f"{source.bytes_moved / seconds / 1e9:7.2f} GB/s "
        f"{paint(share, 'slow') if seconds > _SLOW * total else share}{'  tuned' * tuned}"
    )
