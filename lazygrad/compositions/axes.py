"""Axes, broadcasting and small moves of nodes: the words in which the other compositions are written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from lazygrad import dtypes, ops
from lazygrad.dtypes import DType
from lazygrad.errors import AxisError, DTypeError, ShapeError
from lazygrad.graph import Node, Shape


def wrap_axis(op: str, axis: int, ndim: int) -> int:
    """A possibly negative axis as 0 <= axis < ndim (a 0-d tensor counts as 1-d); AxisError outside."""
    n = max(ndim, 1)
    if not -n <= axis < n:
        raise AxisError(f"[{op}] Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got "
                        f"{axis})")
    return axis % n


def wrap_axes(op: str, axes: Sequence[int], ndim: int) -> tuple[int, ...]:
    """Axes wrapped one by one; ShapeError where one is named twice."""
    wrapped = tuple(wrap_axis(op, a, ndim) for a in axes)
    if len(set(wrapped)) != len(wrapped):
        raise ShapeError(f"[{op}] dim {tuple(axes)} names a dimension more than once")
    return wrapped


def broadcast_shape(op: str, *shapes: Shape) -> Shape:
    """The shape that all shapes grow to; ShapeError where two sizes differ and neither is 1."""
    if shapes and all(s == shapes[0] for s in shapes[1:]):
        return tuple(shapes[0])
    ndim = max((len(s) for s in shapes), default=0)
    result = [1] * ndim
    for shape in shapes:
        for i, size in enumerate(shape, ndim - len(shape)):
            if size != 1 and result[i] not in (1, size):
                known = " with ".join(str(tuple(s)) for s in shapes)
                raise ShapeError(f"[{op}] {known}: The size of tensor a ({result[i]}) must match the size of "
                                 f"tensor b ({size}) at non-singleton dimension {i}")
            result[i] = size if size != 1 else result[i]
    return tuple(result)


def broadcast(x: Node, shape: Shape, op: str = "expand") -> Node:
    """x with axes of size 1 in front where it lacks some, then grown to `shape`; ShapeError where it does not
    fit."""
    if x.shape == shape:
        return x
    if x.ndim > len(shape) or broadcast_shape(op, x.shape, shape) != shape:
        raise ShapeError(f"[{op}] shape {x.shape} cannot be broadcast to {shape}")
    padded = (1,) * (len(shape) - x.ndim) + x.shape
    return expand(reshape(x, padded), shape)


def reshape(x: Node, shape: Shape) -> Node:
    """x with another shape of as many elements."""
    if x.op.name == "const":
        return ops.const(x.arg.value, x.dtype, shape)
    return x if x.shape == shape else ops.reshape(x, arg=shape)


def expand(x: Node, shape: Shape) -> Node:
    """x with its axes of size 1 grown to `shape`."""
    if x.op.name == "const":
        return ops.const(x.arg.value, x.dtype, shape)
    return x if x.shape == shape else ops.expand(x, arg=shape)


def permute(x: Node, order: Sequence[int]) -> Node:
    """x with its axes in another order."""
    return x if tuple(order) == tuple(range(x.ndim)) else ops.permute(x, arg=tuple(order))


def cast(x: Node, dtype: DType) -> Node:
    """x as another dtype."""
    return x if x.dtype == dtype else ops.cast(x, arg=dtype)


def precise(build: Callable[..., Node]) -> Callable[..., Node]:
    """A builder of several steps that takes 16-bit floats to float32 and rounds once, at the end. Nodes of
    different dtypes are left to the builder's own checks."""

    @wraps(build)
    def run(*args: Any) -> Node:
        found = {a.dtype for a in args if isinstance(a, Node)}
        if len(found) != 1 or found == {dtype.accumulator for dtype in found}:
            return build(*args)
        (dtype,) = found
        return cast(build(*(cast(a, dtype.accumulator) if isinstance(a, Node) else a for a in args)), dtype)

    return run


def insert_axis(x: Node, axis: int) -> Node:
    """x with a new axis of size 1 at place `axis` of the result."""
    axis = axis % (x.ndim + 1)
    return reshape(x, (*x.shape[:axis], 1, *x.shape[axis:]))


def drop_axes(x: Node, axes: Sequence[int]) -> Node:
    """x without the given axes, each of size 1."""
    return reshape(x, tuple(n for i, n in enumerate(x.shape) if i not in axes))


def move_axis(x: Node, source: int, target: int) -> Node:
    """x with one axis moved to place `target` of the result."""
    order = [i for i in range(x.ndim) if i != source]
    order.insert(target, source)
    return permute(x, order)


def shrink_axis(x: Node, axis: int, begin: int, end: int) -> Node:
    """x[..., begin:end, ...] along one axis."""
    if (begin, end) == (0, x.shape[axis]):
        return x
    return ops.shrink(x, arg=tuple((begin, end) if i == axis else (0, n) for i, n in enumerate(x.shape)))


def pad_axis(x: Node, axis: int, before: int, after: int, fill: bool | int | float = 0) -> Node:
    """x with `fill` before and after along one axis."""
    if not before and not after:
        return x
    return ops.pad(
        x, arg=ops.pad_arg(tuple((before, after) if i == axis else (0, 0) for i in range(x.ndim)), fill)
    )


def counter(size: int, dtype: DType = dtypes.int64) -> Node:
    """0, 1, ..., size - 1 as any dtype."""
    return ops.iota(size, dtype) if dtype.is_integer else ops.cast(ops.iota(size), arg=dtype)


def places(shape: Shape, axis: int, dtype: DType = dtypes.int64) -> Node:
    """The index along one axis, at every element of `shape`."""
    row = tuple(n if i == axis else 1 for i, n in enumerate(shape))
    return expand(reshape(counter(shape[axis], dtype), row), shape)


def full(value: bool | int | float, like: Node, dtype: DType | None = None) -> Node:
    """A constant of the shape (and, unless told, the dtype) of a node."""
    return ops.const(value, dtype or like.dtype, like.shape)


def total(x: Node, axes: Sequence[int], keep: bool = False) -> Node:
    """The sum over axes, which go unless `keep`; in the dtype of x."""
    if not axes:
        return x
    result = ops.sum_(x, arg=tuple(sorted(axes)))
    return result if keep else drop_axes(result, axes)


def diagonal(x: Node, offset: int = 0, a: int = 0, b: int = 1) -> Node:
    """The elements x[.., i, .., i + offset, ..] of axes a and b; the new axis is the last."""
    rows, columns = x.shape[a], x.shape[b]
    size = max(min(rows + min(offset, 0), columns - max(offset, 0)), 0)
    rest = tuple(i for i in range(x.ndim) if i not in (a, b))
    x = permute(x, (*rest, a, b))
    lead = x.shape[:-2]
    if size == 0:
        return reshape(shrink_axis(x, x.ndim - 1, 0, 0), (*lead, 0)) if rows else \
            reshape(x, (*lead, 0))
    x = shrink_axis(x, x.ndim - 2, max(-offset, 0), max(-offset, 0) + size)
    x = shrink_axis(x, x.ndim - 1, max(offset, 0), max(offset, 0) + size)
    # rows one longer than they are wide: the diagonal becomes a column
    x = reshape(x, (*lead, size * size))
    x = pad_axis(x, x.ndim - 1, 0, size)
    x = reshape(x, (*lead, size, size + 1))
    return reshape(shrink_axis(x, x.ndim - 1, 0, 1), (*lead, size))


def require_same_dtype(op: str, *nodes: Node | None) -> None:
    """DTypeError unless all nodes have one dtype, as PyTorch's contractions ask."""
    first, *others = (n for n in nodes if n is not None)
    for other in others:
        if other.dtype != first.dtype:
            raise DTypeError(f"[{op}] expected one dtype for all operands, got {first.dtype.name} and "
                             f"{other.dtype.name}; convert one with .to()")


def require_float(op: str, x: Node) -> None:
    """DTypeError unless x is floating point."""
    if x.dtype.kind != "float":
        raise DTypeError(f"[{op}] needs a floating point tensor, got {x.dtype.name}; convert it with "
                         ".float()")
