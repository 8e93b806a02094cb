"""Rewrite rules of reduces, scans and sorts; `simplify.RULES` lists them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lazygrad import ops
from lazygrad.graph import Node, Scalar, consumers
from lazygrad.helpers import product
from lazygrad.rewrite import Rule
from lazygrad.simplify.elementwise import MANTISSA, is_const


def reduce_over_ones(node: Node) -> Node | None:
    """reduce: axes of size 1 drop out; a float sum of one element x -> x + 0, as -0 becomes 0"""
    x = node.inputs[0]
    axes = tuple(a for a in node.arg if x.shape[a] != 1)
    if not axes:
        return ops.add(x, ops.like(0, x)) if node.op.name == "sum" and x.dtype.kind == "float" else x
    return node.op(x, arg=axes) if len(axes) < len(node.arg) else None


def reduce_constant(node: Node) -> Node | None:
    """sum, prod, max or min of a const -> const"""
    x = node.inputs[0]
    if not is_const(x):
        return None
    value, count = x.arg.value, product(x.shape[a] for a in node.arg)
    if node.op.name == "sum":
        return _sum_of_equal(node, value, count)
    if node.op.name == "prod":
        if x.dtype.kind == "float" and value not in (0, 1):
            return None
        value = pow(value, count, 1 << x.dtype.bits) if x.dtype.is_integer else value**count
    return ops.const(value, node.dtype, node.shape)


def _sum_of_equal(node: Node, value: Scalar, count: int) -> Node | None:
    if node.dtype.kind == "bool":
        return ops.const(value, node.dtype, node.shape)
    if node.dtype.kind == "float":
        if not math.isfinite(value):
            return ops.const(value, node.dtype, node.shape)
        limit = 1 << MANTISSA[node.dtype.accumulator.name]
        if abs(value.as_integer_ratio()[0]) * count > limit:
            return None  # not every order of summation gives the same
    return ops.const(value * count + 0, node.dtype, node.shape)


def reduce_broadcast(node: Node) -> Node | None:
    """max and min over a broadcast axis: the axis drops out"""
    x = node.inputs[0]
    if x.op.name != "expand":
        return None
    source = x.inputs[0]
    axes = tuple(a for a in node.arg if x.shape[a] == source.shape[a])
    if len(axes) == len(node.arg):
        return None
    shape = tuple(1 if a in node.arg else n for a, n in enumerate(x.shape))
    kept = tuple(source.shape[a] if a in axes else n for a, n in enumerate(shape))
    return node.op(ops.expand(source, arg=kept), arg=axes) if axes else ops.expand(source, arg=shape)


def sum_broadcast_integers(node: Node) -> Node | None:
    """integers: sum over a broadcast axis -> a sum without it, times its size"""
    return None if node.dtype.kind in ("float", "bool") else _sum_broadcast(node)


def sum_broadcast_floats(node: Node) -> Node | None:
    """floats: sum over a broadcast axis -> a sum without it, times its size; one rounding for many"""
    return _sum_broadcast(node) if node.dtype.kind == "float" else None


def _sum_broadcast(node: Node) -> Node | None:
    x = node.inputs[0]
    if x.op.name != "expand":
        return None
    count = product(n for a, n in enumerate(x.shape) if a in node.arg and x.inputs[0].shape[a] != n)
    less = reduce_broadcast(node)
    if less is None or ops.canonical(count, node.dtype) != count:
        return None
    return ops.mul(less, ops.like(count, less))


def scan_of_one(node: Node) -> Node | None:
    """cumsum, cumprod, cummax, cummin over an axis of size 1 -> x"""
    return node.inputs[0] if node.shape[node.arg] == 1 else None


def sort_of_one(node: Node) -> Node | None:
    """argsort, argtop over an axis of size 1 -> 0"""
    size = node.inputs[0].shape[node.arg[0]]
    return ops.const(0, node.dtype, node.shape) if size == 1 else None


def reduce_merging_rules(order: Sequence[Node], targets: Sequence[Node]) -> list[Rule]:
    """Rules that merge a reduce into the reduce that alone uses it; `order` is the graph, inputs first."""
    uses = {node: len(users) for node, users in consumers(order).items()}
    for target in targets:
        uses[target] += 1

    def merge(node: Node) -> Node | None:
        """sum(sum(x)) -> sum(x), also through a reshape that drops or adds axes of size 1"""
        inner = node.inputs[0]
        reshaped = inner if inner.op.name == "reshape" else None
        if reshaped is not None:
            inner = reshaped.inputs[0]
        single = uses.get(inner, 0) == 1 and (reshaped is None or uses.get(reshaped, 0) == 1)
        if (
            inner.op is not node.op
            or not single
            or (inner.dtype.accumulator is not inner.dtype and node.op.name in _ROUNDS_BETWEEN)
        ):
            return None
        axes = node.arg if reshaped is None else _axes_before(reshaped, node.arg)
        if axes is None:
            return None
        merged = node.op(inner.inputs[0], arg=tuple(sorted({*inner.arg, *axes})))
        return merged if reshaped is None else ops.reshape(merged, arg=node.shape)

    def merge_exactly(node: Node) -> Node | None:
        return merge(node) if _order_is_free(node) else None

    def merge_sums(node: Node) -> Node | None:
        return None if _order_is_free(node) else merge(node)

    def merge_spread(node: Node) -> Node | None:
        """sum(spread(sum(x))) -> sum(spread(x)): the gradient of a convolution stays one contraction"""
        return None if _order_is_free(node) or node.op.name != "sum" else _sum_below(node, uses)

    def shrink_sum(node: Node) -> Node | None:
        """shrink(sum(x)) -> sum(shrink(x)), where nobody needs the rest of the sum"""
        inner = node.inputs[0]
        while inner.op.name == "reshape" and uses.get(inner, 0) == 1:
            inner = inner.inputs[0]
        if inner.op.name != "sum" or uses.get(inner, 0) != 1 or 0 in node.shape:
            return None
        return _shrunk(merge_spread(inner) or inner, node)

    def add_into_scatter(node: Node) -> Node | None:
        """scatter(0, i, v) + y -> scatter(y, i, v): what is added to zeros is added to y at once"""
        for one, other in (node.inputs, reversed(node.inputs)):
            zeros = one.op.name == "scatter" and is_const(one.inputs[0]) and one.inputs[0].arg.value == 0
            if zeros and one.arg[1] == "add" and uses.get(one, 0) == 1 and node.dtype.kind == "float":
                return one.op(other, *one.inputs[1:], arg=one.arg)
        return None

    # early: from the outermost reduce down, so that `uses` still describes what a rule looks at
    return [
        Rule("merge_reduces", ("max", "min", "sum", "prod"), merge_exactly, early=True),
        Rule("merge_float_sums", ("sum", "prod"), merge_sums, early=True, exact=False),
        Rule("merge_spread_sums", ("sum",), merge_spread, early=True, exact=False),
        Rule("shrink_sum", ("shrink",), shrink_sum, early=True, exact=False),
        Rule("add_into_scatter", ("add",), add_into_scatter, early=True, exact=False),
    ]


_ROUNDS_BETWEEN = frozenset(("sum", "prod"))


def _order_is_free(node: Node) -> bool:
    return node.op.name not in _ROUNDS_BETWEEN or node.dtype.kind != "float"


def _axes_before(reshaped: Node, axes: tuple[int, ...]) -> tuple[int, ...] | None:
    """The axes of a reshape's input that `axes` of its output are, if it only drops or adds axes of size
    1."""
    old = [a for a, n in enumerate(reshaped.inputs[0].shape) if n != 1]
    new = [a for a, n in enumerate(reshaped.shape) if n != 1]
    if [reshaped.inputs[0].shape[a] for a in old] != [reshaped.shape[a] for a in new]:
        return None
    place = dict(zip(new, old, strict=True))
    return tuple(place[a] for a in axes if a in place)


def _sum_below(node: Node, uses: Mapping[Node, int]) -> Node | None:
    """The sum with an inner one merged into it that lies below single-use reshapes, permutes and a spread."""
    chain: list[Node] = []
    inner = node.inputs[0]
    while inner.op.name in _LIFTS and uses.get(inner, 0) == 1:
        chain.append(inner)
        inner = inner.inputs[0]
    spreads = any(n.op.name == "spread" for n in chain)
    if (not spreads or inner.op.name != "sum" or uses.get(inner, 0) != 1
        or inner.dtype.accumulator is not inner.dtype):
        return None
    x, folded = inner.inputs[0], inner.arg
    kept = tuple(a for a in range(x.ndim) if a not in folded)
    front, count = tuple(x.shape[a] for a in folded), len(folded)
    lifted = ops.reshape(ops.permute(x, arg=(*folded, *kept)), arg=(*front, *inner.shape))
    for moved in reversed(chain):
        lifted = moved.op(lifted, arg=_LIFTS[moved.op.name](moved.arg, front))
    total = ops.sum_(lifted, arg=(*range(count), *(a + count for a in node.arg)))
    return ops.reshape(total, arg=node.shape)


def _shrunk(total: Node, node: Node) -> Node | None:
    """The part of a sum that a shrink keeps; the shrink may see it through a reshape that drops or adds axes
    of size 1."""
    if total.op.name == "reshape":
        total = total.inputs[0]
    kept = [a for a, n in enumerate(total.shape) if n != 1]
    bounds = [part for part, n in zip(node.arg, node.inputs[0].shape, strict=True) if n != 1]
    if [total.shape[a] for a in kept] != [n for n in node.inputs[0].shape if n != 1]:
        return None
    x = total.inputs[0]
    wanted = dict(zip(kept, bounds, strict=True))
    part = ops.shrink(x, arg=tuple(wanted.get(a, (0, n)) for a, n in enumerate(x.shape)))
    return ops.reshape(ops.sum_(part, arg=total.arg), arg=node.shape)


def _shifted(windows: tuple[tuple[int, ...], ...], front: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    return tuple((axis + len(front), *rest) for axis, *rest in windows)


# the arg of a movement when axes of the sizes `front` are put before all others
_LIFTS: dict[str, Callable[[Any, tuple[int, ...]], Any]] = {
    "reshape": lambda shape, front: (*front, *shape),
    "permute": lambda order, front: (*range(len(front)), *(a + len(front) for a in order)),
    "spread": _shifted,
}
