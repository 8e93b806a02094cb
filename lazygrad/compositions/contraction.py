"""Sums of products: matmul, einsum and their relatives, all as expand, multiply and sum.

Code generation recognises a contraction by the axes that each operand and the output use, so nothing is
transposed or copied here. The 16-bit floats are multiplied and summed in float32 and rounded once.
"""

from __future__ import annotations

from collections.abc import Sequence

from lazygrad import ops
from lazygrad.compositions import axes
from lazygrad.dtypes import bool_, int64
from lazygrad.errors import ArgumentError, DTypeError, ShapeError
from lazygrad.graph import Node, Shape

Names = list[int | str]  # of axes: letters, or numbers where nobody named them


def product_sum(x: Node, y: Node, summed: Sequence[int]) -> Node:
    """The sum over axes of x*y, broadcast together (equally many axes); the summed axes go."""
    dtype = x.dtype
    shape = axes.broadcast_shape("mul", x.shape, y.shape)
    wide = [axes.expand(axes.cast(v, dtype.accumulator), shape) for v in (x, y)]
    return axes.cast(axes.total(ops.mul(*wide), summed), dtype)


def _check_pair(op: str, x: Node, y: Node) -> None:
    axes.require_same_dtype(op, x, y)
    if x.dtype == bool_:
        raise DTypeError(f"[{op}] has no product of bool tensors; convert them with .int() or .float()")


def matmul(x: Node, y: Node, op: str = "matmul") -> Node:
    """x @ y by PyTorch's rules: (k)@(k) is 0-d, (m,k)@(k), (k)@(k,n), (..., m, k)@(..., k, n) with broadcast
    batches."""
    if not x.ndim or not y.ndim:
        raise ShapeError(f"[{op}] {x.shape} @ {y.shape}: both arguments need to be at least 1D; use * with a "
                         "scalar")
    _check_pair(op, x, y)
    inner, other = x.shape[-1], y.shape[-2 if y.ndim > 1 else -1]
    if inner != other:
        raise ShapeError(f"[{op}] {x.shape} @ {y.shape}: inner sizes differ, {inner} and {other}")
    if x.ndim == 1 and y.ndim == 1:
        return product_sum(x, y, (0,))
    if y.ndim == 1:
        return product_sum(x, axes.reshape(y, (1,) * (x.ndim - 1) + y.shape), (x.ndim - 1,))
    if x.ndim == 1:
        return product_sum(axes.reshape(x, (1,) * (y.ndim - 2) + (inner, 1)), y, (y.ndim - 2,))
    batch = axes.broadcast_shape(op, x.shape[:-2], y.shape[:-2])
    left = axes.reshape(x, (1,) * (len(batch) + 2 - x.ndim) + x.shape + (1,))
    right = axes.reshape(y, (1,) * (len(batch) + 2 - y.ndim) + y.shape[:-2] + (1,) + y.shape[-2:])
    return product_sum(left, right, (len(batch) + 1,))


@axes.precise
def linear(x: Node, weight: Node, bias: Node | None = None) -> Node:
    """x (..., in) @ weight (out, in) transposed, plus bias (out): (..., out); a 1-d weight (in) gives
    (...)."""
    op = "linear"
    axes.require_same_dtype(op, x, weight, bias)
    if weight.ndim not in (1, 2) or not x.ndim:
        raise ShapeError(f"[{op}] needs an input of one axis or more and a weight of one or two, got "
                         f"{x.shape} and {weight.shape}")
    if x.shape[-1] != weight.shape[-1]:
        raise ShapeError(f"[{op}] input {x.shape} has {x.shape[-1]} features, weight {weight.shape} takes "
                         f"{weight.shape[-1]}")
    if weight.ndim == 1:
        result = matmul(x, weight, op)
    else:
        left = axes.insert_axis(x, x.ndim - 1)
        result = product_sum(left, axes.reshape(weight, (1,) * (x.ndim - 1) + weight.shape), (x.ndim,))
    if bias is None:
        return result
    if bias.ndim > 2:
        raise ShapeError(f"[{op}] bias {bias.shape} does not fit: it needs shape ({weight.shape[0]},)")
    if x.ndim == 1 and bias.ndim == 2 and bias.shape[0] == 1:  # as PyTorch has it for one vector
        bias = axes.drop_axes(bias, (0,))
    return ops.add(result, axes.broadcast(bias, result.shape, op))


def bilinear(x: Node, y: Node, weight: Node, bias: Node | None = None) -> Node:
    """x (..., a) and y (..., b) with weight (out, a, b): (..., out)."""
    op = "bilinear"
    axes.require_same_dtype(op, x, y, weight, bias)
    if weight.ndim != 3 or x.shape[:-1] != y.shape[:-1] or (x.shape[-1], y.shape[-1]) != weight.shape[1:]:
        raise ShapeError(f"[{op}] inputs {x.shape} and {y.shape} do not fit weight {weight.shape} (out, in1, "
                         "in2)")
    result = einsum("...a,oab,...b->...o", [x, weight, y])
    return result if bias is None else ops.add(result, axes.broadcast(bias, result.shape, op))


def tensordot(x: Node, y: Node, left: Sequence[int], right: Sequence[int]) -> Node:
    """The sum over pairs of axes; the result has x's other axes, then y's."""
    op = "tensordot"
    _check_pair(op, x, y)
    left, right = axes.wrap_axes(op, left, x.ndim), axes.wrap_axes(op, right, y.ndim)
    if len(left) != len(right):
        raise ShapeError(f"[{op}] both dims need equal length, got {len(left)} and {len(right)}")
    for a, b in zip(left, right, strict=True):
        if x.shape[a] != y.shape[b] and 1 not in (x.shape[a], y.shape[b]):
            raise ShapeError(f"[{op}] {x.shape} and {y.shape}: contracted sizes differ, {x.shape[a]} in dim "
                             f"{a} and {y.shape[b]} in dim {b}")
    names_x: Names = list(range(x.ndim))
    names_y: Names = list(range(x.ndim, x.ndim + y.ndim))
    for a, b in zip(left, right, strict=True):
        names_y[b] = names_x[a]
    kept = [n for n in (*names_x, *names_y) if (n in names_x) != (n in names_y)]
    return contract([x, y], [names_x, names_y], kept, op)


# einsum


def einsum(equation: str, operands: Sequence[Node]) -> Node:
    """PyTorch's einsum of an equation: repeated letters take diagonals, `...` broadcasts, the output may be
    implied."""
    op = "einsum"
    text = equation.replace(" ", "")
    terms, arrow, output = text.partition("->")
    parts = terms.split(",")
    if len(parts) != len(operands):
        raise ArgumentError(f"[{op}] {equation!r} names {len(parts)} operands, {len(operands)} were "
                                   "given")
    named = [_names(op, equation, part, x.shape) for part, x in zip(parts, operands, strict=True)]
    dots = max((sum(isinstance(n, int) for n in names) for names in named), default=0)
    # `...` axes are numbered from the right, so that those of operands with fewer line up
    ellipsis: Names = list(range(dots - 1, -1, -1))
    letters: Names = [n for names in named for n in names if isinstance(n, str)]
    if arrow:
        result = _output(op, equation, output, ellipsis, letters)
    else:
        result = [*ellipsis, *sorted((n for n in set(letters) if letters.count(n) == 1), key=str)]
    whole = all(x.dtype.kind != "float" for x in operands)
    if whole and any(_summed_alone(i, named, result, operands) for i in range(len(operands))):
        operands = [ops.cast(x, arg=int64) for x in operands]
    return contract(list(operands), named, result, op)


def _summed_alone(place: int, named: Sequence[Names], result: Names, operands: Sequence[Node]) -> bool:
    """Whether an axis of one operand is summed before it is multiplied: a sum of integers is an int64."""
    elsewhere = {n for i, names in enumerate(named) if i != place for n in names}.union(result)
    sizes = zip(named[place], operands[place].shape, strict=True)
    return any(n not in elsewhere and (size != 1 or len(named) == 1) for n, size in sizes)


def _names(op: str, equation: str, part: str, shape: Shape) -> Names:
    """One name per axis: a letter, or a number counted from the right for the axes of `...`."""
    before, dots, after = part.partition("...")
    letters = before + after
    if not all(c.isascii() and c.isalpha() for c in letters):
        raise ArgumentError(f"[{op}] {equation!r}: {part!r} may hold letters and one '...' only")
    free = len(shape) - len(letters)
    if free < 0 or (free and not dots):
        raise ShapeError(f"[{op}] {equation!r}: {part!r} names {len(letters)} axes, its operand {shape} has "
                         f"{len(shape)}")
    return [*before, *range(free - 1, -1, -1), *after]


def _output(op: str, equation: str, output: str, ellipsis: Names, letters: Names) -> Names:
    before, dots, after = output.partition("...")
    for c in before + after:
        if c not in letters:
            raise ArgumentError(f"[{op}] {equation!r}: the output names {c!r}, which no operand has")
        if (before + after).count(c) > 1:
            raise ArgumentError(f"[{op}] {equation!r}: the output names {c!r} more than once")
    return [*before, *(ellipsis if dots else []), *after]


def contract(operands: list[Node], named: list[Names], result: Names, op: str) -> Node:
    """Einsum on axes that have names already; operands are taken in pairs from the left."""
    axes.require_same_dtype(op, *operands)
    sizes = _sizes(op, operands, named)
    pairs = [_take_diagonals(x, names) for x, names in zip(operands, named, strict=True)]
    x, names = pairs[0]
    if len(pairs) == 1:
        return _to_order(*_sum_unused(x, names, set(result)), result, sizes)
    for position in range(1, len(pairs)):
        later = {n for _, others in pairs[position + 1:] for n in others} | set(result)
        y, other = pairs[position]
        x, names = _sum_unused(x, names, later | set(other))
        y, other = _sum_unused(y, other, later | set(names))
        last = position == len(pairs) - 1
        kept = result if last else [n for n in dict.fromkeys((*names, *other)) if n in later]
        summed = [n for n in dict.fromkeys((*names, *other)) if n not in kept]
        order = [*kept, *summed]
        x = product_sum(_aligned(x, names, order), _aligned(y, other, order), range(len(kept), len(order)))
        names = kept
    return axes.expand(x, tuple(sizes[n] for n in result))


def _sizes(op: str, operands: list[Node], named: list[Names]) -> dict[int | str, int]:
    sizes: dict[int | str, int] = {}
    for x, names in zip(operands, named, strict=True):
        for name, size in zip(names, x.shape, strict=True):
            known = sizes.setdefault(name, size)
            if size != known and 1 not in (size, known):
                shapes = " and ".join(str(v.shape) for v in operands)
                raise ShapeError(f"[{op}] {shapes}: subscript {name} has size {known} in one place and "
                                 f"{size} in another")
            sizes[name] = size if known == 1 else known
    return sizes


def _take_diagonals(x: Node, names: Names) -> tuple[Node, Names]:
    names = list(names)
    for name in [n for n in dict.fromkeys(names) if names.count(n) > 1]:
        while names.count(name) > 1:
            a = names.index(name)
            b = names.index(name, a + 1)
            if x.shape[a] != x.shape[b]:
                size = max(x.shape[a], x.shape[b])
                x = axes.expand(x, tuple(size if i in (a, b) else n for i, n in enumerate(x.shape)))
            x = axes.diagonal(x, 0, a, b)
            names = [n for i, n in enumerate(names) if i not in (a, b)] + [name]
    return x, names


def _sum_unused(x: Node, names: Names, used: set) -> tuple[Node, Names]:
    gone = [i for i, n in enumerate(names) if n not in used]
    return axes.total(x, gone), [n for n in names if n in used]


def _aligned(x: Node, names: Names, order: Names) -> Node:
    """x with its axes in `order`, and axes of size 1 for names that it lacks."""
    x = axes.permute(x, [names.index(n) for n in order if n in names])
    present = iter(x.shape)
    return axes.reshape(x, tuple(next(present) if n in names else 1 for n in order))


def _to_order(x: Node, names: Names, result: Names, sizes: dict[int | str, int]) -> Node:
    return axes.expand(_aligned(x, names, result), tuple(sizes[n] for n in result))
