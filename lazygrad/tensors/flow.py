"""How gradients flow through the graph of tensors: marks, hooks, and what an earlier backward pass has
freed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lazygrad import ops
from lazygrad.errors import GradientError
from lazygrad.gradient import differentiable_inputs, gradient
from lazygrad.graph import Node, intern
from lazygrad.tensors.cell import SPENT, History, Mark, tracked_histories

# what a hook does to a gradient: (mark, g) -> g
ThroughHooks = Callable[[Mark, Node], Node]
_LINEAR = frozenset({"add", "sub", "neg", "sum", "cast", "leaf", "detach", "copy"})


def check_not_spent(order: Sequence[Node], roots: Sequence[History]) -> None:
    """Raises GradientError where a graph needs a history that an earlier backward pass freed."""
    freed = any(node.op.name == "leaf" and node.arg is SPENT for node in order)
    if freed or any(history.spent for history in roots):
        raise GradientError(
            "[backward] Trying to backward through the graph a second time (or directly access saved tensors "
            "after they have already been freed). Saved intermediate values of the graph are freed when you "
            "call .backward() or autograd.grad(). Specify retain_graph=True if you need to backward through "
            "the graph a second time or if you need to access saved tensors after calling backward."
        )


def free(order: Sequence[Node]) -> None:
    """Mark the histories of a graph as spent: their memory goes when their values are realized. As in
    PyTorch, what was computed without any saved value can be differentiated again."""
    saves: dict[Node, bool] = {}
    for node in order:
        saves[node] = _saves(node) or any(saves.get(i, False) for i in differentiable_inputs(node))
    for history in list(tracked_histories):
        if history.token is None and history.node is not None and saves.get(history.node):
            history.spent = True
            if history.cell.is_realized:
                history.forget()


def _saves(node: Node) -> bool:
    """Whether PyTorch would keep a value for the derivative of this node."""
    if node.op.kind in ("source", "movement") or node.op.name in _LINEAR:
        return False
    return not (node.op.name in ("mul", "div") and any(i.op.name == "const" for i in node.inputs[-2:]))


def marks_of(order: Sequence[Node]) -> list[Node]:
    """The marked nodes of a graph, in its order."""
    return [n for n in order if n.op.name == "leaf" and isinstance(n.arg, Mark)]


def flow(
    roots: Sequence[Node],
    seeds: Sequence[Node],
    wanted: Sequence[Node],
    order: Sequence[Node],
    through_hooks: ThroughHooks,
) -> list[Node | None]:
    """The gradients of `wanted`, with hooks applied on the way: at each hooked mark the graph is cut in two,
    so that what flows on is what the hooks return."""
    hooked = [n for n in marks_of(order) if n.arg.hooks]
    if not hooked:
        return gradient(roots, seeds, wanted)
    new = _cut(order, hooked)
    stubs = [new[mark] for mark in hooked]
    asked = list(dict.fromkeys([new.get(w, w) for w in wanted] + stubs))
    totals: dict[Node, Node] = {}

    def add(outputs: Sequence[Node], cotangents: Sequence[Node]) -> None:
        for node, g in zip(asked, gradient(outputs, cotangents, asked), strict=True):
            if g is not None:
                totals[node] = g if node not in totals else ops.add(totals[node], g)

    add([new.get(r, r) for r in roots], seeds)
    for mark, stub in reversed(list(zip(hooked, stubs, strict=True))):
        if stub in totals:
            totals[stub] = through_hooks(mark.arg, totals[stub])
            before = mark.inputs[0]
            add([new.get(before, before)], [totals[stub]])
    return [totals.get(new.get(w, w)) for w in wanted]


def _cut(order: Sequence[Node], hooked: Sequence[Node]) -> dict[Node, Node]:
    """The nodes above hooked marks rebuilt over stubs: the same values, but no gradient passes a stub."""
    marked = set(hooked)
    new: dict[Node, Node] = {}
    for node in order:
        if node in marked:
            new[node] = ops.leaf(ops.detach(node.inputs[0]), arg=node.arg)
            continue
        inputs = tuple(new.get(i, i) for i in node.inputs)
        if inputs != node.inputs:
            new[node] = intern(node.op, node.dtype, node.shape, inputs, node.arg)
    return new
