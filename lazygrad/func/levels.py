"""Levels of differentiation: leaves that belong to one run of a transform, over the graph around it.

Inside a level the arguments are leaves of its own, so gradients are found without touching any `.grad`; a
leaf lets gradients through, so a transform inside another one is differentiated like any other function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lazygrad import ops
from lazygrad.differentiation import differentiable_inputs, gradient
from lazygrad.errors import GradientError, TransformError
from lazygrad.graph import Node
from lazygrad.tensors import Tensor
from lazygrad.tensors.core import from_node
from lazygrad.tensors.modes import enable_grad, mode
from lazygrad.tree import Tree, flatten


class _Place:
    """Names one leaf of a level in the graph."""

    def __init__(self, level: Level) -> None:
        self.level = level


class Level:
    """One run of a function whose arguments are differentiated."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.runs = False

    def leaf(self, x: Any) -> Tensor:
        """x as a leaf of this level. Raises TransformError and GradientError for what cannot be one."""
        if not isinstance(x, Tensor):
            raise TransformError(f"[{self.name}] expected tensors to differentiate by, got "
                                    f"{type(x).__name__}: make it one with lazygrad.tensor()")
        if not x.is_floating_point():
            raise TransformError(f"[{self.name}] expected floating point tensors to differentiate by, got "
                                 f"{x.dtype}: convert it with .float()")
        return from_node(ops.leaf(x.node(), arg=_Place(self)), x.cell.device, tracked=True)

    def leave(self, x: Any) -> Any:
        """A result as the code around this level sees it: differentiable by the leaves around it alone.
        What is no tensor stays as it is."""
        if not isinstance(x, Tensor):
            return x
        node = x.graph_node() if x.requires_grad else x.plain_node()
        return self.made(node, x.cell.device)

    def made(self, node: Node, device: str) -> Tensor:
        """A node that this level made as a tensor of the code around it."""
        return from_node(node, device, mode.enabled and _is_differentiable(node), tainted=True)


class Stub:
    """Names a leaf that stands for a cotangent to come."""


def _is_differentiable(node: Node) -> bool:
    """Whether a leaf of the user's, or of a level that still runs, leads to the node."""
    stack, seen = [node], {node}
    while stack:
        node = stack.pop()
        if node.op.name == "leaf" and _is_live(node.arg):
            return True
        below = node.inputs if node.op.name == "example" else differentiable_inputs(node)
        stack += [i for i in below if i not in seen]
        seen.update(below)
    return False


def _is_live(token: Any) -> bool:
    return token.level.runs if isinstance(token, _Place) else not isinstance(token, Stub)


# what makes a tensor one value rather than another
_PARTS = ("_history", "_chain", "_strides", "_offset", "_made_by")


@contextmanager
def _standing_for(name: str, captured: Sequence[Tensor], leaves: Sequence[Tensor]) -> Iterator[None]:
    """Tensors that a function reads from its closure are leaves of a level while it runs. Raises
    GradientError where it writes to one of them, which would be lost."""
    before = [[getattr(x, part) for part in _PARTS] for x in captured]
    versions = [leaf._version for leaf in leaves]

    def become(x: Tensor, parts: Sequence[Any]) -> None:
        for part, value in zip(_PARTS, parts, strict=True):
            setattr(x, part, value)
        x._plain_base = x._graph_root = None

    try:
        for x, leaf in zip(captured, leaves, strict=True):
            become(x, [getattr(leaf, part) for part in _PARTS])
        yield
        if any(x._history is not leaf._history or leaf._version != version
               for x, leaf, version in zip(captured, leaves, versions, strict=True)):
            raise GradientError(f"[{name}] the function wrote to a captured tensor: work on a copy, or pass "
                                "it as an argument")
    finally:
        for x, parts in zip(captured, before, strict=True):
            become(x, parts)


class Run:
    """A function run inside a level: its arguments as leaves, and its results inside and outside. `captured`:
    tensors, in containers, that the function reads from its closure; they come after the arguments."""

    def __init__(self, name: str, function: Callable[..., Any], args: Sequence[Any], has_aux: bool,
                 kwargs: dict[str, Any], argnums: Sequence[int], captured: Any = None) -> None:
        self.level = Level(name)
        self.name = name
        self.inputs: list[Tensor] = []
        self.trees: list[Tree] = []
        inside = list(args)
        for i in argnums:
            values, tree = flatten(args[i])
            leaves = [self.level.leaf(x) for x in values]
            inside[i] = tree.unflatten(leaves)
            self.inputs += leaves
            self.trees.append(tree)
        own: dict[int, tuple[Tensor, Tensor]] = {}
        if captured is not None:
            values, tree = flatten(captured)
            self.inputs += [own.setdefault(id(x), (x, self.level.leaf(x)))[1] for x in values]
            self.trees.append(tree)
        # before the function can write to them
        self.leaves = [x.graph_node() for x in self.inputs]
        self.level.runs = True
        try:
            with enable_grad(), _standing_for(name, [x for x, _ in own.values()],
                                              [leaf for _, leaf in own.values()]):
                result = function(*inside, **kwargs)
        finally:
            self.level.runs = False
        self.aux: Any = None
        if has_aux:
            if not isinstance(result, tuple) or len(result) != 2:
                raise TransformError(f"[{name}] has_aux=True: expected the function to return "
                                        "(output, aux)")
            result, aux = result
            self.aux = _outside(self.level, aux)
        self.outputs, self.tree = flatten(result)
        for x in self.outputs:
            if not isinstance(x, Tensor):
                raise TransformError(f"[{name}] expected the function to return only tensors, got "
                                        f"{type(x).__name__}")

    def value(self) -> Any:
        """What the function returned, for the code around."""
        return self.tree.unflatten([self.level.leave(x) for x in self.outputs])

    def output_nodes(self) -> list[Node]:
        """The differentiable values of the outputs."""
        return [x.graph_node() if x.requires_grad else x.plain_node() for x in self.outputs]

    def pull(self, cotangents: Sequence[Node]) -> list[Node]:
        """The cotangents of the inputs, zeros where nothing flows."""
        found = gradient(self.output_nodes(), cotangents, self.leaves)
        return [ops.const(0, x.dtype, x.shape) if g is None else g
                for x, g in zip(self.leaves, found, strict=True)]

    def per_input(self, nodes: Sequence[Node]) -> list[Any]:
        """Nodes, one for each leaf of the inputs, as tensors in the shape of the arguments."""
        tensors = [self.level.made(n, x.cell.device) for n, x in zip(nodes, self.inputs, strict=True)]
        return self.split(tensors)

    def split(self, leaves: Sequence[Any]) -> list[Any]:
        """Values, one for each leaf of the inputs, in the shape of the arguments."""
        found, at = [], 0
        for tree in self.trees:
            found.append(tree.unflatten(leaves[at : at + tree.count]))
            at += tree.count
        return found


def _outside(level: Level, value: Any) -> Any:
    leaves, tree = flatten(value)
    return tree.unflatten([level.leave(x) for x in leaves])
