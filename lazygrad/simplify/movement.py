"""Rewrite rules of movement nodes, and of gather and scatter; `simplify.RULES` lists them."""

from __future__ import annotations

from collections.abc import Callable

from lazygrad import ops
from lazygrad.graph import Literal, Node, Scalar
from lazygrad.simplify.elementwise import has_value, is_const, refill


def move_constant(node: Node) -> Node | None:
    """reshape, permute, expand, shrink, flip or window of a const -> const"""
    return refill(node.inputs[0], node.shape) if is_const(node.inputs[0]) else None


def pad_constant(node: Node) -> Node | None:
    """pad of a const with its own value, or of nothing -> const; spread of zeros -> zeros"""
    fill = _fill(node)
    if has_value(node.inputs[0], fill) or node.inputs[0].size == 0:
        return ops.const(fill, node.dtype, node.shape)
    return None


def _fill(node: Node) -> Scalar:
    return ops.canonical(node.arg[1].value if node.op.name == "pad" else 0, node.dtype)


def fill_in_dtype(node: Node) -> Node | None:
    """pad: the fill becomes a value of the node's dtype"""
    fill = _fill(node)
    return (
        ops.pad(node.inputs[0], arg=ops.pad_arg(node.arg[0], fill)) if Literal(fill) != node.arg[1] else None
    )


def movement_to_itself(node: Node) -> Node | None:
    """a reshape, permute, expand, pad or shrink that moves nothing -> x"""
    return (
        node.inputs[0] if node.shape == node.inputs[0].shape and MOVES_NOTHING[node.op.name](node) else None
    )


MOVES_NOTHING: dict[str, Callable[[Node], bool]] = {
    "reshape": lambda n: True,
    "permute": lambda n: n.arg == tuple(range(n.ndim)),
    "expand": lambda n: True,
    "pad": lambda n: True,
    "shrink": lambda n: True,
}


def flip_of_ones(node: Node) -> Node | None:
    """flip: axes of size 1 drop out"""
    axes = tuple(a for a in node.arg if node.shape[a] != 1)
    if not axes:
        return node.inputs[0]
    return ops.flip(node.inputs[0], arg=axes) if len(axes) < len(node.arg) else None


def reshape_of_reshape(node: Node) -> Node | None:
    """reshape(reshape(x)) -> reshape(x)"""
    inner = node.inputs[0]
    return ops.reshape(inner.inputs[0], arg=node.arg) if inner.op is node.op else None


def permute_of_ones(node: Node) -> Node | None:
    """a permute that moves only axes of size 1 -> reshape"""
    moved = [a for a in node.arg if node.inputs[0].shape[a] != 1]
    return ops.reshape(node.inputs[0], arg=node.shape) if moved == sorted(moved) else None


def permute_of_permute(node: Node) -> Node | None:
    """permute(permute(x)) -> permute(x)"""
    inner = node.inputs[0]
    return (
        ops.permute(inner.inputs[0], arg=tuple(inner.arg[a] for a in node.arg))
        if inner.op is node.op
        else None
    )


def expand_of_expand(node: Node) -> Node | None:
    """expand(expand(x)) -> expand(x)"""
    inner = node.inputs[0]
    return ops.expand(inner.inputs[0], arg=node.arg) if inner.op is node.op else None


def shrink_of_shrink(node: Node) -> Node | None:
    """shrink(shrink(x)) -> shrink(x)"""
    inner = node.inputs[0]
    if inner.op is not node.op:
        return None
    bounds = tuple((a + begin, b + begin) for (a, b), (begin, _) in zip(node.arg, inner.arg, strict=True))
    return ops.shrink(inner.inputs[0], arg=bounds)


def shrink_of_pad(node: Node) -> Node | None:
    """shrink(pad(x)) -> shrink(x), where none of the padding is left"""
    inner = node.inputs[0]
    if inner.op.name != "pad":
        return None
    x = inner.inputs[0]
    bounds = tuple(
        (a - before, b - before) for (a, b), (before, _) in zip(node.arg, inner.arg[0], strict=True)
    )
    inside = all(0 <= a <= b <= size for (a, b), size in zip(bounds, x.shape, strict=True))
    return ops.shrink(x, arg=bounds) if inside else None


def shrink_of_cat(node: Node) -> Node | None:
    """shrink(cat(x, ...)) -> shrink(x), where it takes from one part only"""
    inner = node.inputs[0]
    if inner.op.name != "cat":
        return None
    begin, end = node.arg[inner.arg]
    offset = 0
    for x in inner.inputs:
        size = x.shape[inner.arg]
        if offset <= begin and end <= offset + size:
            bounds = (*node.arg[: inner.arg], (begin - offset, end - offset), *node.arg[inner.arg + 1 :])
            return ops.shrink(x, arg=bounds)
        offset += size
    return None


def pad_of_pad(node: Node) -> Node | None:
    """pad(pad(x)) -> pad(x), where both fill with one value"""
    inner = node.inputs[0]
    if inner.op is not node.op or Literal(_fill(inner)) != Literal(_fill(node)):
        return None
    pads = tuple((a + c, b + d) for (a, b), (c, d) in zip(node.arg[0], inner.arg[0], strict=True))
    return ops.pad(inner.inputs[0], arg=ops.pad_arg(pads, _fill(node)))


def flip_of_flip(node: Node) -> Node | None:
    """flip(flip(x)) -> flip(x) over the axes that only one of them turns"""
    inner = node.inputs[0]
    if inner.op is not node.op:
        return None
    return ops.flip(inner.inputs[0], arg=tuple(sorted(set(node.arg) ^ set(inner.arg))))


def cat_of_few(node: Node) -> Node | None:
    """cat: parts without elements drop out; cat(x) -> x; all parts the same const -> const"""
    parts = [x for x in node.inputs if x.size]
    if len(parts) == 1:
        return parts[0]
    if all(is_const(x) and x.arg == parts[0].arg for x in parts):
        return refill(parts[0], node.shape)
    return ops.cat(*parts, arg=node.arg) if len(parts) < len(node.inputs) else None


def gather_constant(node: Node) -> Node | None:
    """gather from a const -> const"""
    return refill(node.inputs[0], node.shape) if is_const(node.inputs[0]) else None


def scatter_nothing(node: Node) -> Node | None:
    """scatter of no values -> base"""
    return node.inputs[0] if node.inputs[-1].size == 0 else None
