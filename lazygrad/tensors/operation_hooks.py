"""Hooks of operations, `grad_fn.register_hook` and `register_prehook`: what they see of a backward pass, and
how what they return changes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lazygrad.differentiation import Around, Visit, gradient
from lazygrad.errors import ArgumentTypeError, ShapeError
from lazygrad.graph import Node
from lazygrad.tensors.cell import Mark, Token
from lazygrad.tensors.core import Tensor, from_node
from lazygrad.tensors.grad_fn import AccumulateGrad, GradFn, OperationHooks, hooks_of
from lazygrad.tensors.modes import set_grad_enabled

Grads = tuple[Tensor | None, ...]


class HookedPass:
    """The hooks of operations in one backward pass over nodes in `order`."""

    def __init__(self, outputs: Sequence[Tensor], order: Sequence[Node], create_graph: bool, visit: Visit):
        self.order, self.create_graph, self.visit = order, create_graph, visit
        self.device = outputs[0].cell.device
        self.hooked = _hooked(outputs, order)

    def around(self) -> dict[Node, Around]:
        """What runs in place of the derivative of each node that an operation with hooks made."""
        return {result: self._derivative(made, result, hooks) for result, made, hooks in self.hooked
                if _call_of(result) is None}

    def on_the_way(self, node: Node, given: Any) -> Any:
        """What `visit` does, and for a call (`autograd.Function`) its hooks."""
        hooked = [hooks for result, _, hooks in self.hooked if _call_of(result) is node]
        if not hooked:
            return self.visit(node, given)
        grads: Grads = tuple(self._wrap(given[i]) if i in given else None for i in range(max(given) + 1))
        for hooks in hooked:
            grads = run_prehooks(hooks, grads, self.create_graph)
        shares = self.visit(node, {i: self._node(g) for i, g in enumerate(grads) if g is not None})
        inputs = first = tuple(None if s is None else self._wrap(s) for s in shares)
        for hooks in hooked:
            inputs = run_hooks(hooks, inputs, grads, self.create_graph)
        return shares if inputs is first else [None if g is None else self._node(g) for g in inputs]

    def _derivative(self, made: GradFn, node: Node, hooks: OperationHooks) -> Around:
        """The derivative of the operation that made a node, with its hooks before and after."""

        def run(total: Node) -> tuple[Node, list[tuple[Node, Node | None]] | None]:
            grads = run_prehooks(hooks, (self._wrap(total),), self.create_graph)
            if grads[0] is None:
                return total, []
            total = self._node(grads[0])
            if not hooks.after:
                return total, None
            sources = self._sources(made)
            shares = self._shares(node, total, sources)
            inputs = tuple(None if s is None else self._wrap(s) for s in shares)
            changed = run_hooks(hooks, inputs, grads, self.create_graph)
            if changed is inputs:
                return total, None
            nodes = [None if g is None else self._node(g) for g in changed]
            if node in sources:  # the operation changed no value
                return nodes[sources.index(node)] or total, None
            return total, [(s, n) for s, n in zip(sources, nodes, strict=True) if s is not None]

        return run

    def _wrap(self, node: Node) -> Tensor:
        return from_node(node, self.device, tracked=self.create_graph, tainted=True)

    def _node(self, g: Any) -> Node:
        return g.graph_node() if self.create_graph and g.requires_grad else g.node(False)

    def _sources(self, made: GradFn) -> list[Node | None]:
        """The nodes of what an operation was made from; None where no gradient goes."""
        tokens = {n.arg: n for n in self.order if n.op.name == "leaf" and isinstance(n.arg, Token)}
        marks = {n.inputs[0]: n for n in self.order if n.op.name == "leaf" and isinstance(n.arg, Mark)}
        found: list[Node | None] = []
        for source in made._sources:
            if isinstance(source, Token):
                found.append(tokens.get(source))
            elif isinstance(source, GradFn):
                node = None if source._node is None else source._node()
                found.append(node if node is None else marks.get(node, node))
            else:
                found.append(None)
        return found

    def _shares(self, node: Node, total: Node, sources: Sequence[Node | None]) -> list[Node | None]:
        """What each source receives from this operation alone."""
        direct = len(sources) == len(node.inputs) and node.op.gradient is not None
        if direct and all(s in (None, i) for s, i in zip(sources, node.inputs, strict=True)):
            assert node.op.gradient is not None
            given = node.op.gradient(total, node, *node.inputs)
            return [None if s is None else g for s, g in zip(sources, given, strict=True)]
        wanted = list(dict.fromkeys(s for s in sources if s is not None))

        def visit(inner: Node, given: Any) -> Any:
            # the hooks of tensors see what all operations give them, later
            return self.on_the_way(inner, given) if inner.op.name == "call" else given

        shares = dict(zip(wanted, gradient([node], [total], wanted, visit, partial=True), strict=True))
        return [None if s is None else shares.pop(s, None) for s in sources]


def _hooked(outputs: Sequence[Tensor], order: Sequence[Node]) -> list[tuple[Node, GradFn, OperationHooks]]:
    """The operations with hooks that outputs were made by, each after the node of its result."""
    there, found = set(order), []
    for made in _reached([o._made_by for o in outputs]):
        node = None if made._node is None else made._node()
        if node is not None and node in there:
            found.append((node, made, hooks_of[made]))
    return found


def _call_of(node: Node) -> Node | None:
    """The call whose result a node is."""
    while node.op.name in ("surrogate", "leaf") and node.inputs:
        node = node.inputs[-1]
    return node.inputs[0] if node.op.name == "part" else None


def _reached(made: Sequence[GradFn | None]) -> list[GradFn]:
    """The operations with hooks that results were made by, directly or further back."""
    seen: set[GradFn] = set()
    waiting = [m for m in made if m is not None]
    while waiting:
        here = waiting.pop()
        if here not in seen:
            seen.add(here)
            waiting += [s for s in here._sources if isinstance(s, GradFn)]
    return [m for m in seen if m in hooks_of]


def _checked(hook: Callable[..., Any], changed: Any, before: Grads) -> Grads:
    if not isinstance(changed, tuple):
        raise ArgumentTypeError("[register_hook] expected tuple, but hook returned "
                                f"{type(changed).__name__!r}")
    if len(changed) != len(before):
        name = getattr(hook, "__name__", repr(hook))
        raise ShapeError(f"[register_hook] hook {name!r} has returned an incorrect number of values (got "
                         f"{len(changed)}, but expected {len(before)})")
    return changed


def run_prehooks(hooks: OperationHooks, grads: Grads, create_graph: bool) -> Any:
    """The gradients of an operation's results after its prehooks."""
    with set_grad_enabled(create_graph):
        for hook in list(hooks.before.values()):
            changed = hook(grads)
            grads = grads if changed is None else _checked(hook, changed, grads)
    return grads


def run_hooks(hooks: OperationHooks, inputs: Grads, grads: Grads, create_graph: bool) -> Grads:
    """The gradients of an operation's inputs after its hooks."""
    with set_grad_enabled(create_graph):
        for hook in list(hooks.after.values()):
            changed = hook(inputs, grads)
            inputs = inputs if changed is None else _checked(hook, changed, inputs)
    return inputs


def hooks_of_leaf(x: Tensor) -> OperationHooks | None:
    """The hooks of the place where a leaf's gradient arrives."""
    if not hooks_of:
        return None
    for made, hooks in hooks_of.items():
        if isinstance(made, AccumulateGrad) and made.variable is x:
            return hooks
    return None
