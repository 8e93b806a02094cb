"""Simplification: the list of named rules and passes that a graph goes through before it is scheduled.

`RULES` at the end is the whole list. Every rule keeps each bit of a value (IEEE: x*0, x+0 and x-x stay),
except those marked `exact=False`, which only reassociate a reduction or leave out a rounding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from lazygrad import ops
from lazygrad.graph import Node, topological
from lazygrad.ops import OPS
from lazygrad.rewrite import Rule, rewrite
from lazygrad.simplify import elementwise, movement, reduction


def simplify(
    targets: Sequence[Node], fired: Counter[str] | None = None
) -> tuple[list[Node], dict[Node, Node]]:
    """Targets of the same values in fewer and cheaper nodes, without annotations (but `copy`), and the map
    from every node that was visited to what it became. `fired` counts the rules that fired, by name."""
    first = rewrite(targets, RULES, fired)
    current = [first[t] for t in targets]
    if not any(node.op.kind == "reduce" or node.op.name == "scatter" for node in first.values()):
        return current, first
    second = rewrite(current, reduction.reduce_merging_rules(topological(current), current), fired)
    merged = {old: second.get(new, new) for old, new in first.items()}
    return [second[t] for t in current], merged


def strip_annotation(node: Node) -> Node | None:
    """leaf(x), detach(x), surrogate(x, y) -> x"""
    return node.inputs[0]


def read_saved(node: Node) -> Node | None:
    """saved(history) -> the buffer that holds its value"""
    return ops.buffer(node.arg, node.dtype, node.shape)


def empty_is_const(node: Node) -> Node | None:
    """no elements -> const"""
    return ops.const(0, node.dtype, node.shape) if 0 in node.shape else None


def reduce_of_nothing(node: Node) -> Node | None:
    """reduce over no elements -> its identity"""
    assert node.op.identity is not None
    return (
        ops.const(node.op.identity(node.dtype), node.dtype, node.shape) if 0 in node.inputs[0].shape else None
    )


def drop_copy(node: Node) -> Node | None:
    """copy(const) -> const, copy within one device -> x"""
    return node.inputs[0] if elementwise.is_const(node.inputs[0]) or node.arg[0] == node.arg[1] else None


def iota_of_one(node: Node) -> Node | None:
    """iota(1) -> 0"""
    return ops.const(0, node.dtype, (1,)) if node.shape == (1,) else None


def _rows(*kinds: str) -> tuple[str, ...]:
    return tuple(name for name, row in OPS.items() if row.kind in kinds)


_ANY = tuple(name for name in OPS if name not in ("buffer", "const", "scalar"))
RULES = (
    Rule("strip_annotation", ("leaf", "detach", "surrogate"), strip_annotation, early=True),
    Rule("read_saved", ("saved",), read_saved, early=True),
    Rule("empty_is_const", _ANY, empty_is_const, early=True),
    Rule("reduce_of_nothing", _rows("reduce"), reduce_of_nothing, early=True),
    Rule("drop_copy", ("copy",), drop_copy),
    Rule("iota_of_one", ("iota",), iota_of_one),
    Rule("cast_to_same", ("cast", "bitcast"), elementwise.cast_to_same),
    Rule(
        "identity_operand", tuple(elementwise.RIGHT_IDENTITY), elementwise.identity_operand, needs=("const",)
    ),
    Rule(
        "deciding_operand", tuple(elementwise.RIGHT_DECIDES), elementwise.deciding_operand, needs=("const",)
    ),
    Rule("fold_constants", _rows("elementwise"), elementwise.fold_constants, needs=("const",)),
    Rule("double_inverse", ("neg", "bitnot"), elementwise.double_inverse, needs=("neg", "bitnot")),
    Rule("add_of_negative", ("add",), elementwise.add_of_negative, needs=("neg",)),
    Rule("subtract_negative", ("sub",), elementwise.subtract_negative, needs=("neg",)),
    Rule("divide_by_power_of_two", ("div",), elementwise.divide_by_power_of_two, needs=("const",)),
    Rule("square", ("pow",), elementwise.square, needs=("const",), exact=False),
    Rule("choose", ("where",), elementwise.choose),
    Rule("cast_of_cast", ("cast",), elementwise.cast_of_cast, needs=("cast",)),
    Rule("bitcast_of_bitcast", ("bitcast",), elementwise.bitcast_of_bitcast, needs=("bitcast",)),
    Rule(
        "move_constant",
        ("reshape", "permute", "expand", "shrink", "flip", "window"),
        movement.move_constant,
        needs=("const",),
    ),
    Rule("pad_constant", ("pad", "spread"), movement.pad_constant),
    Rule("fill_in_dtype", ("pad",), movement.fill_in_dtype),
    Rule("movement_to_itself", tuple(movement.MOVES_NOTHING), movement.movement_to_itself),
    Rule("flip_of_ones", ("flip",), movement.flip_of_ones),
    Rule("reshape_of_reshape", ("reshape",), movement.reshape_of_reshape, needs=("reshape",)),
    Rule("permute_of_ones", ("permute",), movement.permute_of_ones),
    Rule("permute_of_permute", ("permute",), movement.permute_of_permute, needs=("permute",)),
    Rule("expand_of_expand", ("expand",), movement.expand_of_expand, needs=("expand",)),
    Rule("shrink_of_shrink", ("shrink",), movement.shrink_of_shrink, needs=("shrink",)),
    Rule("shrink_of_pad", ("shrink",), movement.shrink_of_pad, needs=("pad",)),
    Rule("shrink_of_cat", ("shrink",), movement.shrink_of_cat, needs=("cat",)),
    Rule("pad_of_pad", ("pad",), movement.pad_of_pad, needs=("pad",)),
    Rule("flip_of_flip", ("flip",), movement.flip_of_flip, needs=("flip",)),
    Rule("cat_of_few", ("cat",), movement.cat_of_few),
    Rule("reduce_over_ones", _rows("reduce"), reduction.reduce_over_ones),
    Rule("reduce_constant", _rows("reduce"), reduction.reduce_constant, needs=("const",)),
    Rule("reduce_broadcast", ("max", "min"), reduction.reduce_broadcast, needs=("expand",)),
    Rule("sum_broadcast_integers", ("sum",), reduction.sum_broadcast_integers, needs=("expand",)),
    Rule("sum_broadcast_floats", ("sum",), reduction.sum_broadcast_floats, needs=("expand",), exact=False),
    Rule("scan_of_one", ("cumsum", "cumprod", "cummax", "cummin"), reduction.scan_of_one),
    Rule("sort_of_one", ("argsort", "argtop"), reduction.sort_of_one),
    Rule("gather_constant", ("gather",), movement.gather_constant, needs=("const",)),
    Rule("scatter_nothing", ("scatter",), movement.scatter_nothing),
)
