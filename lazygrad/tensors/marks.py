"""Tensors in the middle of graphs whose gradients somebody wants to see: by a hook, or in `.grad`.

A mark is a `leaf` node over the tensor's node: uses from then on go through it. Uses from before name the
node itself; a backward pass leads what they give through the mark as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary, ref

from lazygrad import ops
from lazygrad.differentiation import aim, differentiable_inputs
from lazygrad.graph import Node, topological
from lazygrad.tensors.cell import Mark
from lazygrad.tensors.core import Tensor
from lazygrad.tensors.grad_fn import GradFn

# marks by the node that was used before it had one, each with the record of what made its tensor
_late: WeakKeyDictionary[Node, list[tuple[Mark, Callable[[], Any] | None]]] = WeakKeyDictionary()
_marked: WeakValueDictionary[int, Tensor] = WeakValueDictionary()  # by id: == compares elements
_retaining: WeakValueDictionary[int, Tensor] = WeakValueDictionary()


def mark_of(x: Tensor) -> Mark:
    """The mark of a tensor in the middle of a graph, made where there is none."""
    made = x._made_by
    was_used = made is None or made._node is not None
    node = x.graph_node()
    if node.op.name == "leaf" and isinstance(node.arg, Mark) and node.arg.tensor() is x:
        return node.arg
    mark = Mark(x)
    marked = ops.leaf(node, arg=mark)
    if not x._chain:
        for view in list(_marked.values()):  # keeps its mark
            if view._graph_root is node and view._history is x._history:
                view._graph_root = marked
        x._history.node = x._graph_root = marked
    x._graph = marked
    _marked[id(x)] = x
    if was_used:
        _late.setdefault(node, []).append((mark, None if made is None else ref(made)))
    return mark


def _behind(outputs: Sequence[Tensor]) -> set[Any] | None:
    """The records of all operations that results were made by; None where some are not known, as those of
    gradients."""
    seen: set[Any] = set()
    waiting: list[Any] = [o._made_by for o in outputs]
    while waiting:
        here = waiting.pop()
        if here is None or (isinstance(here, GradFn) and not here._sources):
            return None
        if isinstance(here, GradFn) and here not in seen:
            seen.add(here)
            waiting += here._sources
    return seen


def with_late_marks(outputs: Sequence[Tensor], roots: Sequence[Node],
                    order: Sequence[Node]) -> tuple[Sequence[Node], Mapping[Node, Node]]:
    """The nodes of a pass with the marks of those that were used before they had one; and, for each of these,
    the mark that gets what its users give. A tensor that was computed in just the same way has the same node:
    the records of operations tell which of the two was used."""
    waiting = [node for node in order if node in _late] if _late else []
    if not waiting:
        return order, {}
    records = _behind(outputs)
    through: dict[Node, Node] = {}
    while waiting:
        node = waiting.pop()
        marks = [mark for mark, record in _late[node]
                 if records is None or record is None or record() in records]
        if marks:
            through[node] = ops.leaf(node, arg=marks[-1])
            waiting += [through[node]] if through[node] in _late else []

    def below(node: Node) -> list[Node]:
        return [aim(through, node, i) for i in differentiable_inputs(node)]

    return (topological(roots, below), through) if through else (order, through)


def retain(x: Tensor) -> None:
    """Let backward passes keep the gradient of a tensor in the middle of a graph."""
    mark_of(x)
    _retaining[id(x)] = x


def retains(x: Tensor) -> bool:
    """Whether backward passes keep its gradient, which no leaf needs."""
    return _retaining.get(id(x)) is x and x.requires_grad and not x.is_leaf


def retained(order: Sequence[Node]) -> list[tuple[Tensor, Node]]:
    """The tensors whose gradients a pass keeps although they are no leaves, each with its node."""
    if not _retaining:
        return []
    there = set(order)
    asked = [(x, x.graph_node()) for x in list(_retaining.values()) if retains(x)]
    return [(x, node) for x, node in asked if node in there]
