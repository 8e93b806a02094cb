"""`explain`: what realizing a tensor would run, as text, without running it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lazygrad import config, ops
from lazygrad.engine import report, tell_plan
from lazygrad.engine.capture import Promised
from lazygrad.graph import Node, intern, topological
from lazygrad.tensors import realization
from lazygrad.tensors.cell import Cell
from lazygrad.tensors.core import Tensor, creator
from lazygrad.tensors.lifetimes import kept_for_gradients

_LEVEL = 6  # of DEBUG: graph, fusion with reasons, recipes, nests, source


@creator()
def explain(x: Tensor) -> str:
    """What realizing a tensor would run: the graph before and after simplification; for each kernel what it
    fuses and why it ends there, its recipe, its loop nest before and after, and its source.

    Kernels are generated and compiled, nothing is printed, and nothing is launched but, under TUNE=1, what is
    tried on memory of its own, with a time for each choice. Raises what realizing would raise
    before its first launch (DeviceError, DTypeError).
    """
    title = f"{x.dtype.name}{list(x.shape)} on {x.device}"
    if x.cell.is_realized:
        return f"{title}: in memory already, nothing would run"
    if realization.is_single_number(x.cell):
        return f"{title}: exact arithmetic of single numbers, done in Python without a kernel"
    parts = [title]
    with config.override(DEBUG=0, NO_COLOR=True):
        for title, targets, device in _programs([x.cell]):
            parts += [f"{title}, on {device}", _program_text(targets, device)]
    return "\n".join(parts)


def _program_text(targets: Sequence[Node], device: str) -> str:
    if device == "NUMPY":
        return f"graph, interpreted node by node:\n{report.graph_text(targets)}"
    return report.story_text(tell_plan(targets, device), _LEVEL)


def _programs(cells: list[Cell]) -> list[tuple[str, list[Node], str]]:
    """The graphs that realizing cells would run, in order: why, targets, device."""
    found: list[tuple[str, list[Node], str]] = []
    by_device: dict[str, list[Cell]] = {}
    for cell in realization.connected(cells):
        by_device.setdefault(cell.device, []).append(cell)
    promised: dict[Node, Node] = {}
    for device, group in by_device.items():
        targets = [cell.node for cell in group] + kept_for_gradients(group, realization.needed_inputs)
        for batch in realization.stages(topological(targets, realization.needed_inputs)):
            for node in (n for n in batch if n not in promised):
                where = realization.device_of_stage(node)
                why = (
                    f"to copy to {node.arg[1]}" if node.op.name == "copy" else "a leaf that the program reads"
                )
                found.append((why, _replaced(node.inputs, promised, where), where))
                promised[node] = _promise(node)
        found.append(("the program", _replaced(targets, promised, device), device))
        promised.update({cell.node: _promise(cell.node) for cell in group})
    work = [
        (why, list(dict.fromkeys(n for n in nodes if realization.is_work(n))), device)
        for why, nodes, device in found
    ]
    return [program for program in work if program[1]]


def _promise(node: Node) -> Node:
    return ops.buffer(Promised(max(node.size * node.dtype.itemsize, 1)), node.dtype, node.shape)


def _replaced(targets: Sequence[Node], promised: Mapping[Node, Node], device: str) -> list[Node]:
    """The targets with everything that has been or would have been computed before replaced by its buffer."""

    def known(node: Node) -> Node | None:
        return promised.get(node) or realization.known_value(node, device)

    new: dict[Node, Node] = {}
    for node in topological(targets, lambda n: () if known(n) else realization.values_read(n)):
        value = known(node)
        if value is not None:
            new[node] = value
            continue
        inputs = tuple(new.get(i, i) for i in node.inputs)
        if node.op.name == "surrogate":
            new[node] = inputs[0]
        elif any(a is not b for a, b in zip(inputs, node.inputs, strict=True)):
            new[node] = intern(node.op, node.dtype, node.shape, inputs, node.arg)
    return [new.get(t, t) for t in targets]
