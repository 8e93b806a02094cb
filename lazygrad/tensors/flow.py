"""What a backward pass frees of the graph of tensors, and what it may therefore no longer walk."""

from __future__ import annotations

from collections.abc import Sequence

from lazygrad.errors import GradientError
from lazygrad.gradient import differentiable_inputs
from lazygrad.graph import Node
from lazygrad.tensors.cell import SPENT, History, tracked_histories

_LINEAR = frozenset({"add", "sub", "neg", "sum", "cast", "leaf", "detach", "copy", "part", "surrogate"})


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
    for node in order:
        if node.op.name == "call":
            node.arg.release()


def _saves(node: Node) -> bool:
    """Whether PyTorch would keep a value for the derivative of this node."""
    if node.op.name == "call":
        return node.arg.saves
    if node.op.kind in ("source", "movement") or node.op.name in _LINEAR:
        return False
    return not (node.op.name in ("mul", "div") and any(i.op.name == "const" for i in node.inputs[-2:]))
