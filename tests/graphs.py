"""Graphs of common work, built from rows, for tests of fusion and lowering."""

from lazygrad import ops
from lazygrad.codegen.loopnest import Array
from lazygrad.codegen.lower import Place
from lazygrad.graph import Node
from lazygrad.scheduler.group import Group


def softmax(x: Node, axis: int) -> Node:
    """exp(x - max) / sum."""
    e = ops.exp(ops.sub(x, ops.expand(ops.max_(x, arg=(axis,)), arg=x.shape)))
    return ops.div(e, ops.expand(ops.sum_(e, arg=(axis,)), arg=x.shape))


def contraction(a: Node, b: Node) -> Node:
    """a @ b of matrices."""
    (m, k), n = a.shape, b.shape[1]
    left = ops.expand(ops.reshape(a, arg=(m, 1, k)), arg=(m, n, k))
    right = ops.expand(ops.reshape(ops.permute(b, arg=(1, 0)), arg=(1, n, k)), arg=(m, n, k))
    return ops.reshape(ops.sum_(ops.mul(left, right), arg=(2,)), arg=(m, n))


def convolution(x: Node, w: Node, stride: int) -> Node:
    """conv1d of (batch, channels, length) with (out, channels, size)."""
    out, channels, size = w.shape
    windows = ops.window(x, arg=((2, size, stride, 1),))  # batch, channels, places, size
    batch, _, places, _ = windows.shape
    full = (batch, out, places, channels, size)
    left = ops.reshape(ops.permute(windows, arg=(0, 2, 1, 3)), arg=(batch, 1, places, channels, size))
    product = ops.mul(ops.expand(left, arg=full),
                      ops.expand(ops.reshape(w, arg=(1, out, 1, channels, size)), arg=full))
    return ops.reshape(ops.sum_(product, arg=(3, 4)), arg=full[:3])


def attention_row(scores: Node) -> Node:
    """A causal softmax of scores (heads, queries, keys)."""
    heads, n, _ = scores.shape
    row = ops.expand(ops.reshape(ops.iota(n), arg=(1, n, 1)), arg=scores.shape)
    column = ops.expand(ops.reshape(ops.iota(n), arg=(1, 1, n)), arg=scores.shape)
    return softmax(ops.where(ops.le(column, row), scores, ops.like(float("-inf"), scores)), 2)


def place_group(group: Group) -> dict[Node, Place]:
    """An array of its own for each input and output."""
    names = [(node, f"in{i}") for i, node in enumerate(group.inputs)]
    names += [(node, f"out{i}") for i, node in enumerate(group.outputs)]
    return {node: Place(Array(name, node.dtype, node.size, "parameter")) for node, name in names}
