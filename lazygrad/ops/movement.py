"""Rows that move elements without computing: each says where an output element is read from (`index`).

| row | arg |
|---|---|
| reshape, expand | the new shape (expand: axes of size 1 grow) |
| permute | the order of the input's axes |
| pad | (((before, after), ...), Literal(fill)) |
| shrink | ((begin, end), ...) |
| flip | the axes |
| window | ((axis, size, stride, dilation), ...): each axis becomes their number, the sizes go to the end |
| spread | ((axis, length, stride, dilation), ...): the transpose of window without its sum, see below |
| cat | the axis |
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lazygrad import expr
from lazygrad.expr import Expr, Guard
from lazygrad.graph import Literal, Node, Scalar, Shape
from lazygrad.helpers import inverse_permutation, product
from lazygrad.ops.source import canonical
from lazygrad.ops.table import OPS, IndexRule, Op, same_dtype

Windows = tuple[tuple[int, int, int, int], ...]
Index = tuple[Expr, ...]


def _movement(
    name: str, shape: Any, numpy: Any, index: IndexRule, gradient: Any, arity: int | None = 1
) -> Op:
    return Op(name, "movement", arity, shape, same_dtype, numpy, gradient, index=index)


def _unguarded(index: Index) -> list[tuple[Index, tuple[Guard, ...]]]:
    return [(index, ())]


# reshape, permute, expand


def _reshaped(inputs: tuple[Node, ...], shape: Shape) -> Shape:
    assert product(shape) == inputs[0].size, (inputs[0].shape, shape)
    return shape


def reindex(index: Index, shape: Shape, new_shape: Shape) -> Index:
    """The index in `new_shape` of the element at `index` in `shape`; both hold equally many elements.

    Runs of axes with equal products are converted on their own, so that untouched axes keep their plain
    index.
    """
    result: list[Expr] = []
    i = j = 0
    while i < len(shape) or j < len(new_shape):
        start_i, start_j = i, j
        left = right = 1
        while True:
            if left == right and (i > start_i or j > start_j) and left > 0:
                break
            if left <= right and i < len(shape):
                left, i = left * shape[i], i + 1
            elif j < len(new_shape):
                right, j = right * new_shape[j], j + 1
            elif i < len(shape):
                left, i = left * shape[i], i + 1
            else:
                break
        if shape[start_i:i] == new_shape[start_j:j]:
            result.extend(index[start_i:i])
        else:
            result.extend(
                expr.unflatten(expr.flatten(index[start_i:i], shape[start_i:i]), new_shape[start_j:j])
            )
    return tuple(result)


reshape: Op = _movement(
    "reshape",
    _reshaped,
    lambda n, x: x.reshape(n.shape),
    lambda n, index: _unguarded(reindex(index, n.shape, n.inputs[0].shape)),
    lambda g, n, x: (reshape(g, arg=x.shape),),
)


def _permuted(inputs: tuple[Node, ...], order: tuple[int, ...]) -> Shape:
    assert sorted(order) == list(range(inputs[0].ndim)), (inputs[0].shape, order)
    return tuple(inputs[0].shape[i] for i in order)


permute: Op = _movement(
    "permute",
    _permuted,
    lambda n, x: x.transpose(n.arg),
    lambda n, index: _unguarded(tuple(index[i] for i in inverse_permutation(n.arg))),
    lambda g, n, x: (permute(g, arg=inverse_permutation(n.arg)),),
)


def _expanded(inputs: tuple[Node, ...], shape: Shape) -> Shape:
    assert len(shape) == inputs[0].ndim, (inputs[0].shape, shape)
    assert all(a in (1, b) for a, b in zip(inputs[0].shape, shape, strict=True)), (inputs[0].shape, shape)
    return shape


def _expand_gradient(g: Node, n: Node, x: Node) -> tuple[Node]:
    axes = tuple(i for i, (a, b) in enumerate(zip(x.shape, n.shape, strict=True)) if a != b)
    return (table_row("sum")(g, arg=axes) if axes else g,)


def table_row(name: str) -> Op:
    """A row by name, for gradients that need a row of a file above."""
    return OPS[name]


expand: Op = _movement(
    "expand",
    _expanded,
    lambda n, x: np.broadcast_to(x, n.shape),
    lambda n, index: _unguarded(
        tuple(expr.ZERO if size == 1 else i for i, size in zip(index, n.inputs[0].shape, strict=True))
    ),
    _expand_gradient,
)

# pad, shrink, flip


def _padded(inputs: tuple[Node, ...], arg: Any) -> Shape:
    pads, _ = arg
    assert len(pads) == inputs[0].ndim and all(a >= 0 and b >= 0 for a, b in pads), (inputs[0].shape, arg)
    return tuple(n + a + b for n, (a, b) in zip(inputs[0].shape, pads, strict=True))


def _pad_index(n: Node, index: Index) -> list[tuple[Index, tuple[Guard, ...]]]:
    pads, shape = n.arg[0], n.inputs[0].shape
    moved = tuple(i - a for i, (a, _) in zip(index, pads, strict=True))
    guards = tuple(Guard(i, 0, size) for i, size, (a, b) in zip(moved, shape, pads, strict=True) if a or b)
    return [(moved, guards)]


def pad_arg(pads: tuple[tuple[int, int], ...], fill: Scalar = 0) -> tuple[Any, Literal]:
    """The arg of a pad row."""
    return pads, Literal(fill)


pad: Op = _movement(
    "pad",
    _padded,
    lambda n, x: np.pad(x, n.arg[0], constant_values=canonical(n.arg[1].value, n.dtype)) if n.arg[0] else x,
    _pad_index,
    lambda g, n, x: (
        shrink(g, arg=tuple((a, a + size) for size, (a, _) in zip(x.shape, n.arg[0], strict=True))),
    ),
)


def _shrunk(inputs: tuple[Node, ...], bounds: tuple[tuple[int, int], ...]) -> Shape:
    assert len(bounds) == inputs[0].ndim, (inputs[0].shape, bounds)
    assert all(0 <= a <= b <= n for n, (a, b) in zip(inputs[0].shape, bounds, strict=True)), (
        inputs[0].shape,
        bounds,
    )
    return tuple(b - a for a, b in bounds)


shrink: Op = _movement(
    "shrink",
    _shrunk,
    lambda n, x: x[tuple(slice(a, b) for a, b in n.arg)],
    lambda n, index: _unguarded(tuple(i + a for i, (a, _) in zip(index, n.arg, strict=True))),
    lambda g, n, x: (
        pad(g, arg=pad_arg(tuple((a, size - b) for size, (a, b) in zip(x.shape, n.arg, strict=True)))),
    ),
)


def _flipped(inputs: tuple[Node, ...], axes: tuple[int, ...]) -> Shape:
    assert len(set(axes)) == len(axes) and all(0 <= a < inputs[0].ndim for a in axes), (inputs[0].shape, axes)
    return inputs[0].shape


flip: Op = _movement(
    "flip",
    _flipped,
    lambda n, x: np.flip(x, n.arg),
    lambda n, index: _unguarded(
        tuple(
            -i + (size - 1) if axis in n.arg else i
            for axis, (i, size) in enumerate(zip(index, n.shape, strict=True))
        )
    ),
    lambda g, n, x: (flip(g, arg=n.arg),),
)

# window and spread


def window_count(length: int, size: int, stride: int, dilation: int) -> int:
    """How many windows fit."""
    return (length - dilation * (size - 1) - 1) // stride + 1


def _window_shape(inputs: tuple[Node, ...], windows: Windows) -> Shape:
    shape = list(inputs[0].shape)
    assert len({axis for axis, *_ in windows}) == len(windows), windows
    for axis, size, stride, dilation in windows:
        assert size > 0 and stride > 0 and dilation > 0, windows
        assert shape[axis] >= dilation * (size - 1) + 1, (inputs[0].shape, windows)
        shape[axis] = window_count(shape[axis], size, stride, dilation)
    return (*shape, *(size for _, size, _, _ in windows))


def _window_numpy(n: Node, x: np.ndarray) -> np.ndarray:
    axes = tuple(w[0] for w in n.arg)
    spans = tuple(d * (k - 1) + 1 for _, k, _, d in n.arg)
    view = np.lib.stride_tricks.sliding_window_view(x, spans, axes)
    steps = [slice(None)] * view.ndim
    for position, (axis, _, stride, dilation) in enumerate(n.arg):
        steps[axis] = slice(None, None, stride)
        steps[x.ndim + position] = slice(None, None, dilation)
    return view[tuple(steps)]


def _window_index(n: Node, index: Index) -> list[tuple[Index, tuple[Guard, ...]]]:
    ndim = n.inputs[0].ndim
    result = list(index[:ndim])
    for position, (axis, _, stride, dilation) in enumerate(n.arg):
        result[axis] = index[axis] * stride + index[ndim + position] * dilation
    return _unguarded(tuple(result))


def _window_gradient(g: Node, n: Node, x: Node) -> tuple[Node]:
    placed = spread(
        g, arg=tuple((axis, x.shape[axis], stride, dilation) for axis, _, stride, dilation in n.arg)
    )
    summed = table_row("sum")(placed, arg=tuple(range(x.ndim, placed.ndim)))
    return (reshape(summed, arg=x.shape),)


window: Op = _movement("window", _window_shape, _window_numpy, _window_index, _window_gradient)


def _spread_shape(inputs: tuple[Node, ...], lengths: Windows) -> Shape:
    shape = list(inputs[0].shape)
    first = len(shape) - len(lengths)
    for position, (axis, length, stride, dilation) in enumerate(lengths):
        count, size = shape[axis], shape[first + position]
        assert 0 <= axis < first and stride > 0 and dilation > 0, lengths
        assert 0 in (count, size) or length > stride * (count - 1) + dilation * (size - 1), (shape, lengths)
        shape[axis] = length
    return tuple(shape)


def _spread_index(n: Node, index: Index) -> list[tuple[Index, tuple[Guard, ...]]]:
    # out[i, k] = x[(i - k*dilation) / stride, k] where that is a whole number in range, else 0
    shape = n.inputs[0].shape
    first = len(shape) - len(n.arg)
    result, guards = list(index), []
    for position, (axis, _, stride, dilation) in enumerate(n.arg):
        offset = index[axis] - index[first + position] * dilation
        result[axis] = offset // stride
        guards.append(Guard(result[axis], 0, shape[axis]))
        if stride > 1:
            guards.append(Guard(offset % stride, 0, 1))
    return [(tuple(result), tuple(guards))]


def _spread_numpy(n: Node, x: np.ndarray) -> np.ndarray:
    out = np.zeros(n.shape, x.dtype)
    first = x.ndim - len(n.arg)
    for kernel in np.ndindex(*x.shape[first:]):
        target: list[Any] = [slice(None)] * first + list(kernel)
        for position, (axis, _, stride, dilation) in enumerate(n.arg):
            begin = kernel[position] * dilation
            target[axis] = (
                slice(begin, begin + stride * (x.shape[axis] - 1) + 1, stride) if x.shape[axis] else slice(0)
            )
        out[tuple(target)] = x[(..., *kernel)]
    return out


def _spread_gradient(g: Node, n: Node, x: Node) -> tuple[Node]:
    # x[o, k] went to out[o*stride + k*dilation, k]: skew each row k to the left by k*dilation, then take
    # every stride-th
    first = x.ndim - len(n.arg)
    for position, (axis, _, stride, dilation) in enumerate(n.arg):
        g = _skew(g, first + position, axis, dilation)
        needed = stride * (x.shape[axis] - 1) + 1
        g = shrink(g, arg=tuple((0, needed if i == axis else m) for i, m in enumerate(g.shape)))
        if stride > 1:
            g = window(g, arg=((axis, 1, stride, 1),))
            g = reshape(g, arg=g.shape[:-1])
    return (g,)


def _skew(x: Node, row_axis: int, axis: int, step: int) -> Node:
    """Row k along row_axis moved k*step to the left along axis (what falls off the end wraps into unused
    places)."""
    rows, length = x.shape[row_axis], x.shape[axis]
    if rows == 1 or length == 0:
        return x
    rest = tuple(i for i in range(x.ndim) if i not in (row_axis, axis))
    order = (*rest, row_axis, axis)
    moved = permute(x, arg=order)
    lead = moved.shape[:-2]
    flat = reshape(moved, arg=(*lead, rows * length))
    padded = pad(flat, arg=pad_arg((*(((0, 0),) * len(lead)), (0, rows * step))))
    skewed = reshape(padded, arg=(*lead, rows, length + step))
    kept = shrink(skewed, arg=(*((0, n) for n in lead), (0, rows), (0, length)))
    return permute(kept, arg=inverse_permutation(order))


spread: Op = _movement("spread", _spread_shape, _spread_numpy, _spread_index, _spread_gradient)

# cat


def _cat_shape(inputs: tuple[Node, ...], axis: int) -> Shape:
    first = inputs[0].shape
    assert 0 <= axis < len(first), (first, axis)
    assert all(i.shape[:axis] + i.shape[axis + 1 :] == first[:axis] + first[axis + 1 :] for i in inputs), (
        inputs
    )
    return (*first[:axis], sum(i.shape[axis] for i in inputs), *first[axis + 1 :])


def cat_offsets(n: Node) -> list[int]:
    """Where each input of a cat begins along its axis."""
    offsets, total = [], 0
    for i in n.inputs:
        offsets.append(total)
        total += i.shape[n.arg]
    return offsets


def _cat_index(n: Node, index: Index) -> list[tuple[Index, tuple[Guard, ...]]]:
    result: list[tuple[Index, tuple[Guard, ...]]] = []
    for i, offset in zip(n.inputs, cat_offsets(n), strict=True):
        moved = index[n.arg] - offset
        result.append(((*index[: n.arg], moved, *index[n.arg + 1 :]), (Guard(moved, 0, i.shape[n.arg]),)))
    return result


def _cat_gradient(g: Node, n: Node, *inputs: Node) -> tuple[Node, ...]:
    return tuple(
        shrink(
            g,
            arg=tuple(
                (offset, offset + x.shape[n.arg]) if i == n.arg else (0, size)
                for i, size in enumerate(n.shape)
            ),
        )
        for x, offset in zip(inputs, cat_offsets(n), strict=True)
    )


cat: Op = _movement(
    "cat", _cat_shape, lambda n, *xs: np.concatenate(xs, n.arg), _cat_index, _cat_gradient, arity=None
)
