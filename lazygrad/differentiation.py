"""Reverse-mode differentiation as a graph rewrite: the result is ordinary nodes, so higher orders come
free."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lazygrad import ops
from lazygrad.errors import GradientError
from lazygrad.graph import Node, topological
from lazygrad.helpers import collector_paused


def differentiable_inputs(node: Node) -> tuple[Node, ...]:
    """The inputs that a gradient may flow to; an annotation without a derivative (detach) lets none
    through, and neither does a leaf that is an end."""
    op = node.op
    if node.dtype.kind != "float" or (op.kind == "annotation" and (op.gradient is None or _is_end(node))):
        return ()
    inputs = node.inputs
    for i in inputs:
        if i.dtype.kind != "float":
            return tuple([i for i in inputs if i.dtype.kind == "float"])
    return inputs


def _is_end(node: Node) -> bool:
    return node.op is ops.leaf and getattr(node.arg, "is_end", False)


def aim(through: Mapping[Node, Node], node: Node, i: Node) -> Node:
    """Where the share of an input goes: to the last leaf that stands over it for its users, of whom `node` is
    one."""
    while (over := through.get(i)) is not None and over is not node:
        i = over
    return i


# what the floors above do on the way: the gradient of a leaf with hooks becomes what the hooks make of it,
# and the gradients of a call's parts, by number, become one for each of its inputs, or None
Visit = Callable[[Node, Any], Any]
# of a node's cotangent: the one that takes its place; and where that is not None, the shares of nodes below,
# instead of those that the node's derivative would give
Around = Callable[[Node], tuple[Node, Sequence[tuple[Node, Node | None]] | None]]


@collector_paused()
def gradient(
    outputs: Sequence[Node],
    cotangents: Sequence[Node],
    wrt: Sequence[Node],
    visit: Visit | None = None,
    partial: bool = False,
    around: Mapping[Node, Around] | None = None,
    through: Mapping[Node, Node] | None = None,
) -> list[Node | None]:
    """The sum over outputs of `cotangent * d output / d w` for every w of `wrt`, of w's shape and dtype.

    Each cotangent has the shape and dtype of its output. None stands where no differentiable path leads from
    an output to w. `visit` is called once for each hooked leaf and each call on the way, when all of its
    gradient has arrived; without it hooks do not run, and calls are differentiable again.
    `partial`: paths end at the first node of `wrt`, so that none of them is counted below another one.
    `around`: what runs where a node's derivative is asked for. `through`: a leaf over a node that gets what
    the node's other users give. Raises GradientError where a path goes through an op that has no derivative.
    """
    wanted = set(wrt)
    found: dict[Node, Node] = {}
    hooked: set[Node] = set()
    below: dict[Node, tuple[Node, ...]] = {}

    def walk(node: Node) -> tuple[Node, ...]:
        found = () if partial and node in wanted else differentiable_inputs(node)
        below[node] = tuple([aim(through, node, i) for i in found]) if through else found
        return below[node]

    order = topological([o for o in outputs if o.dtype.kind == "float"], walk)
    if visit is not None:
        hooked.update(n for n in order if n.op.name == "leaf" and getattr(n.arg, "hooks", None))
        wanted |= hooked
    on_path = _nodes_above(order, below, wanted)
    calls: dict[Node, dict[int, Node]] = {}
    totals: dict[Node, Node] = {}
    for output, cotangent in zip(outputs, cotangents, strict=True):
        if output in on_path or output in wanted:
            _accumulate(totals, output, cotangent)
    for node in reversed(order):
        pairs: Iterable[tuple[Node, Node | None]]
        if node in calls:
            parts = calls.pop(node)
            shares = node.arg.backward(node, parts, True) if visit is None else visit(node, parts)
            pairs = zip(node.inputs, shares, strict=True)
        else:
            total = totals.pop(node, None)
            if total is None:
                continue
            if node in hooked and visit is not None:
                total = visit(node, total)
            if node in wanted:
                found[node] = total
            if node not in on_path:
                continue
            if node.op.name == "part":
                calls.setdefault(node.inputs[0], {})[node.arg] = total
                continue
            receivers = None
            if around and node in around:
                total, receivers = around[node](total)
            pairs = zip(node.inputs, _shares(node, total), strict=True) if receivers is None else receivers
        for i, share in pairs:
            x = aim(through, node, i) if through else i
            if share is not None and (x in on_path or x in wanted):
                _accumulate(totals, x, share)
    return [found.get(w) for w in wrt]


def _nodes_above(
    order: Sequence[Node], below: dict[Node, tuple[Node, ...]], wanted: set[Node]
) -> set[Node]:
    """The nodes of which some differentiable input is, or leads to, a wanted node."""
    above: set[Node] = set()
    for node in order:
        for i in below[node]:
            if i in wanted or i in above:
                above.add(node)
                break
    return above


def _shares(node: Node, g: Node) -> Sequence[Node | None]:
    """What each input of a node receives of the node's cotangent."""
    if node.op.gradient is None:
        raise GradientError(f"[{node.op.name}] has no derivative, and a gradient was asked for through it: "
                            f"{node!r}; detach its input to treat it as a constant")
    return node.op.gradient(g, node, *node.inputs)


def _accumulate(totals: dict[Node, Node], node: Node, share: Node) -> None:
    """Add a contribution to a node's cotangent, leaving zeros out where there is something else."""
    if node.dtype.kind != "float":
        return
    assert share.shape == node.shape and share.dtype == node.dtype, (node, share)
    before = totals.get(node)
    if before is None or _is_zero(before):
        totals[node] = share
    elif not _is_zero(share):
        totals[node] = ops.add(before, share)


def _is_zero(node: Node) -> bool:
    return node.op.name == "const" and node.arg.value == 0
