"""Batching as a graph rewrite: a graph of one example becomes the graph of all examples, row by row.

An `example` node stands for one of the examples along the first axis of its input. `batched` replaces it by
its input and gives every node above it one more axis, in front; what does not depend on it stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from lazygrad import ops
from lazygrad.errors import UnsupportedError
from lazygrad.graph import Node, topological
from lazygrad.ops import OPS, Op

# (node, its inputs, which of them have got the new axis, its size) -> the node with the new axis
Rule = Callable[[Node, Sequence[Node], Sequence[bool], int], Node]


def batched(targets: Sequence[Node], token: Hashable, size: int) -> list[Node | None]:
    """For each target its values for all `size` examples of the token, (size, *shape); None for a target
    that is the same for every example."""
    new: dict[Node, Node] = {}
    for node in topological(targets):
        if node.op is _EXAMPLE and node.arg is token:
            new[node] = node.inputs[0]
        elif any(i in new for i in node.inputs):
            inputs = [new.get(i, i) for i in node.inputs]
            rule = _BY_NAME.get(node.op.name) or _BY_KIND[node.op.kind]
            new[node] = rule(node, inputs, [i in new for i in node.inputs], size)
            assert new[node].shape == (size, *node.shape), (node, new[node])
    return [new.get(t) for t in targets]


def repeated(x: Node, size: int) -> Node:
    """The same value for each of `size` examples."""
    return ops.expand(ops.reshape(x, arg=(1, *x.shape)), arg=(size, *x.shape))


_EXAMPLE = OPS["example"]


def _all(inputs: Sequence[Node], has_axis: Sequence[bool], size: int) -> list[Node]:
    return [x if has else repeated(x, size) for x, has in zip(inputs, has_axis, strict=True)]


def _with_arg(shift: Callable[[Any, int], Any]) -> Rule:
    """The rule of a row whose inputs all get the axis, and whose arg changes by `shift(arg, size)`."""

    def rule(node: Node, inputs: Sequence[Node], has_axis: Sequence[bool], size: int) -> Node:
        return node.op(*_all(inputs, has_axis, size), arg=shift(node.arg, size))

    return rule


def _later(axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(a + 1 for a in axes)


_same = _with_arg(lambda arg, size: arg)
_later_axis = _with_arg(lambda axis, size: axis + 1)
_later_axes = _with_arg(lambda axes, size: _later(axes))
_later_first = _with_arg(lambda arg, size: (arg[0] + 1, *arg[1:]))
_longer_shape = _with_arg(lambda shape, size: (size, *shape))
_later_windows = _with_arg(lambda windows, size: tuple((axis + 1, *rest) for axis, *rest in windows))


def _example(node: Node, inputs: Sequence[Node], has_axis: Sequence[bool], size: int) -> Node:
    # an example of other examples: theirs stays the first axis
    (x,) = inputs
    return _EXAMPLE(ops.permute(x, arg=(1, 0, *range(2, x.ndim))), arg=node.arg)


def _numbered(indices: Sequence[Node], has_axis: Sequence[bool], size: int) -> list[Node]:
    """Indices with the new axis, and in front of them the number of the example."""
    indices = _all(indices, has_axis, size)
    shape = indices[0].shape
    number = ops.reshape(ops.iota(size), arg=(size, *(1 for _ in shape[1:])))
    return [ops.expand(number, arg=shape), *indices]


def _gather(node: Node, inputs: Sequence[Node], has_axis: Sequence[bool], size: int) -> Node:
    x, *indices = inputs
    if not has_axis[0]:
        return ops.gather(x, *_all(indices, has_axis[1:], size), arg=node.arg)
    if any(has_axis[1:]):
        return ops.gather(x, *_numbered(indices, has_axis[1:], size), arg=(0, *_later(node.arg)))
    # (*places, size, *rest): the same places of every example
    got = ops.gather(x, *indices, arg=_later(node.arg))
    places = indices[0].ndim
    return ops.permute(got, arg=(places, *range(places), *range(places + 1, got.ndim)))


def _scatter(node: Node, inputs: Sequence[Node], has_axis: Sequence[bool], size: int) -> Node:
    axes, mode = node.arg
    base, values = _all((inputs[0], inputs[-1]), (has_axis[0], has_axis[-1]), size)
    return ops.scatter(base, *_numbered(inputs[1:-1], has_axis[1:-1], size), values,
                       arg=((0, *_later(axes)), mode))


class _OneExample:
    """The derivative of a function that the user has written for one example: that of a batch is not
    known."""

    saves = False

    def release(self) -> None:
        """Keeps nothing."""

    def backward(self, *_: Any) -> list[Node | None]:
        """Raises UnsupportedError."""
        raise UnsupportedError(
            "[vmap] an autograd.Function inside of vmap has no derivative outside of it: take the gradient "
            "inside, as in vmap(grad(f)), or write the function with tensor operations"
        )


def _call(node: Node, inputs: Sequence[Node], has_axis: Sequence[bool], size: int) -> Node:
    return ops.call(_OneExample(), tuple(inputs), (size,))


def _part(node: Node, inputs: Sequence[Node], has_axis: Sequence[bool], size: int) -> Node:
    return ops.part(inputs[0], node.arg, node.dtype, (size, *node.shape))


_BY_KIND: dict[str, Rule] = {
    "annotation": _same,
    "matrix": _same,
    "elementwise": _same,
    "reduce": _later_axes,
    "scan": _later_axis,
    "sort": _later_first,
}
_BY_NAME: dict[str, Rule] = {
    "call": _call,
    "example": _example,
    "part": _part,
    "reshape": _longer_shape,
    "expand": _longer_shape,
    "permute": _with_arg(lambda order, size: (0, *_later(order))),
    "pad": _with_arg(lambda arg, size: (((0, 0), *arg[0]), arg[1])),
    "shrink": _with_arg(lambda bounds, size: ((0, size), *bounds)),
    "flip": _later_axes,
    "window": _later_windows,
    "spread": _later_windows,
    "cat": _later_axis,
    "gather": _gather,
    "scatter": _scatter,
}


def rule_names() -> set[str]:
    """The rows that can be batched."""
    return {op.name for op in OPS.values() if _covers(op)}


def _covers(op: Op) -> bool:
    return op.name in _BY_NAME or op.kind in _BY_KIND
