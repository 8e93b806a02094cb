"""`draw_dot`: the graph behind a tensor in the language of Graphviz, drawn as micrograd draws it."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Any

from lazygrad.errors import ArgumentError, ArgumentTypeError, MissingPackageError
from lazygrad.tensors import Tensor
from lazygrad.viz.history import Value, values_of
from lazygrad.viz.text import shown, sized

Colour = Callable[[Value], str | None]

DIRECTIONS = ("LR", "TB", "RL", "BT")


def dot_source(tensor: Tensor, rankdir: str = "LR", color: Colour | None = None) -> str:
    """The drawing of `draw_dot` as DOT text; needs no package."""
    lines = ["digraph {", f"\tgraph [rankdir={_direction(rankdir)}]"]
    nodes, edges = _drawing(tensor, color)
    for name, attributes in nodes:
        listed = " ".join(f"{k}={_quoted(v)}" for k, v in attributes.items())
        lines.append(f"\t{name} [{listed}]")
    lines += [f"\t{a} -> {b}" for a, b in edges]
    return "\n".join([*lines, "}", ""])


def draw_dot(tensor: Tensor, format: str = "svg", rankdir: str = "LR", color: Colour | None = None) -> Any:
    """The graph behind a tensor as a `graphviz.Digraph`, which notebooks show and `.render()` writes to a
    file of the format; `.source` is its text.

    A value is a record `label | data | grad`, an operation an oval, as the user wrote them. Labels are what
    `tensor.label` is set to; of a tensor with more than 8 elements the record shows type, shape, and least ..
    mean .. greatest element. `rankdir`: "LR", "TB", "RL" or "BT". `color(value)`: the fill of a value's
    record (a name or "#rrggbb"), or None. Data and gradients are computed when they are drawn. Raises
    ArgumentTypeError for what is no tensor, MissingPackageError without the package graphviz (`dot_source`
    needs none).
    """
    direction = _direction(rankdir)
    try:
        graphviz = importlib.import_module("graphviz")
    except ImportError:
        raise MissingPackageError(
            "[draw_dot] needs the package graphviz: pip install 'lazygrad[viz]'; or take the text of the "
            "drawing from lazygrad.viz.dot_source(tensor), which needs no package"
        ) from None
    drawing = graphviz.Digraph(format=format, graph_attr={"rankdir": direction})
    nodes, edges = _drawing(tensor, color)
    for name, attributes in nodes:
        drawing.node(name, **attributes)
    for a, b in edges:
        drawing.edge(a, b)
    return drawing


def _direction(rankdir: str) -> str:
    if rankdir not in DIRECTIONS:
        raise ArgumentError(f"[draw_dot] rankdir must be one of {', '.join(DIRECTIONS)}, got {rankdir!r}")
    return rankdir


def _drawing(tensor: Tensor, color: Colour | None) -> tuple[list[tuple[str, dict[str, str]]],
                                                            list[tuple[str, str]]]:
    """Nodes with their attributes and edges, operands first, named by number: equal programs, equal text."""
    values = values_of(tensor)
    name = {value: f"v{i}" for i, value in enumerate(values)}
    nodes: list[tuple[str, dict[str, str]]] = []
    edges: list[tuple[str, str]] = []
    for value in values:
        attributes = {"label": _record(value), "shape": "record"}
        fill = None if color is None else color(value)
        if fill is not None:
            if not isinstance(fill, str):
                raise ArgumentTypeError(f"[draw_dot] color must return a str or None, got {fill!r}")
            attributes |= {"style": "filled", "fillcolor": fill}
        nodes.append((name[value], attributes))
        if value.operation is not None:
            made = name[value] + "op"
            nodes.append((made, {"label": value.operation}))
            edges.append((made, name[value]))
            edges += [(name[operand], made) for operand in value.operands]
    return nodes, edges


def _record(value: Value) -> str:
    fields = [value.label, sized(value)] if sized(value) else [value.label]
    fields.append(f"data {shown(value.data, 4)}" if value.data is not None else "data freed")
    if value.requires_grad:
        fields.append(f"grad {shown(value.grad, 4)}")
    return "{ " + " | ".join(_escaped(f) for f in fields) + " }"


def _escaped(text: str) -> str:
    """Text without what means something in a record."""
    return re.sub(r"([{}|<>\\])", r"\\\1", text).replace("\n", r"\n")


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '\\"') + '"'
