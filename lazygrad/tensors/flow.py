"""What a backward pass frees of the graph of tensors, and what it may therefore no longer walk."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from lazygrad.differentiation import differentiable_inputs
from lazygrad.errors import GradientError
from lazygrad.graph import Node
from lazygrad.tensors.cell import SPENT, History, Mark, tracked_histories
from lazygrad.tensors.core import Tensor

_LINEAR = frozenset({"add", "sub", "neg", "sum", "cumsum", "cast", "copy"})
_LINEAR |= {"leaf", "detach", "part", "surrogate"}
_FLAT = frozenset({"sign", "floor", "ceil", "trunc", "round"})
_WITH_NUMBERS = frozenset({"mul", "div", "remainder", "fmod"})
_FEW = 64  # nodes that the making of a mask may take


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


def free(order: Sequence[Node], outputs: Sequence[Tensor], ends: Collection[Node] | None = None) -> None:
    """Mark the histories of the graph below outputs as spent: their memory goes when their values are
    realized. As in PyTorch, what was computed without any saved value can be differentiated again; here also
    what was multiplied with or divided by numbers, and a tensor that was computed in just the same way as an
    output: its nodes are the same. `ends`: where the pass ended, if not at all leaves; nothing below them is
    spent."""
    differentiated = {x._history for x in outputs}
    twins = {history.node for history in differentiated}
    saves: dict[Node, bool] = {}
    reached: set[Node] = set()  # from where gradients go on to a leaf: what lies beside saves nothing
    for node in order:
        of_leaf = node.op.name == "leaf" and not isinstance(node.arg, Mark)
        if of_leaf if ends is None else node in ends:
            reached.add(node)
        below = [] if of_leaf else [i for i in differentiable_inputs(node) if i in reached]
        if below:
            reached.add(node)
            saves[node] = _saves(node) or any(saves.get(i, False) for i in below)
    for history in list(tracked_histories):
        if history.node in twins and history not in differentiated:
            continue
        if history.token is None and history.node is not None and saves.get(history.node):
            history.spent = True
            if history.cell.is_realized:
                history.forget()
    for node in order:
        if node.op.name == "call" and (ends is None or node in reached):
            node.arg.release()


def _saves(node: Node) -> bool:
    """Whether PyTorch would keep a value for the derivative of this node."""
    if node.op.name == "call":
        return node.arg.saves
    name = node.op.name
    if node.op.kind in ("source", "movement") or name in _LINEAR or name in _FLAT:
        return False
    if name == "where":
        return not _is_made_of_numbers(node.inputs[0])
    return not (name in _WITH_NUMBERS and any(i.op.name == "const" for i in node.inputs[-2:]))


def _is_made_of_numbers(mask: Node) -> bool:
    """Whether a mask holds no data, as that of a triangle: it can be made again."""
    seen, waiting = {mask}, [mask]
    while waiting and len(seen) <= _FEW:
        node = waiting.pop()
        if node.op.kind in ("source", "annotation") and node.op.name not in ("const", "iota"):
            return False
        new = [i for i in node.inputs if i not in seen]
        seen.update(new)
        waiting += new
    return not waiting
