"""gather, scatter and their relatives: reading and writing at places that an integer tensor names."""

from __future__ import annotations

from typing import Any

from lazygrad import dtypes, ops
from lazygrad.compositions import axes
from lazygrad.compositions import indexing as places
from lazygrad.dtypes import DType
from lazygrad.errors import (
    ArgumentError,
    ArgumentTypeError,
    DTypeError,
    LazygradError,
    OutOfBoundsError,
    ShapeError,
)
from lazygrad.graph import Node
from lazygrad.tensors.arithmetic import with_in_place
from lazygrad.tensors.axes import axis_of
from lazygrad.tensors.core import Tensor, apply, creator, function
from lazygrad.tensors.elementwise import where
from lazygrad.tensors.grad_fn import as_operation
from lazygrad.tensors.indexing import check_index, number_node

_WIDE, _EITHER = (dtypes.int64,), (dtypes.int32, dtypes.int64)


def _check_integer(
    op: str, index: Any, allowed: tuple[DType, ...] = _EITHER, error: type[LazygradError] = DTypeError
) -> None:
    if not isinstance(index, Tensor):
        raise ArgumentTypeError(f"[{op}] index must be a Tensor, not {type(index).__name__}")
    if index._dtype not in allowed:
        names = "/".join(d.name for d in allowed)
        raise error(f"[{op}] Expected dtype {names} for index, got {index._dtype!r}; convert it with .long()")


def _check_along(op: str, x: Tensor, dim: Any, index: Tensor, source: Tensor | None = None) -> int:
    """The axis; raises where the shapes or indices of a gather or scatter along it do not fit."""
    axis = axis_of(op, dim, x.ndim)
    if isinstance(index, Tensor) and not index._shape.numel():
        return axis
    _check_integer(op, index)
    for other, what in ((x, "input"), (source, "src")):
        if other is None:
            continue
        if max(other.ndim, 1) != max(index.ndim, 1):
            raise ShapeError(f"[{op}] Index tensor must have the same number of dimensions as {what} tensor: "
                             f"{tuple(index._shape)} and {tuple(other._shape)}")
        for i, (n, limit) in enumerate(zip(index._shape, other._shape, strict=False)):
            if n > limit and (what == "src" or i != axis):
                raise ShapeError(f"[{op}] Expected index {list(index._shape)} to be no larger than {what} "
                                 f"{list(other._shape)}" + ("" if what == "src" else " apart from dimension "
                                                                                     f"{axis}"))
    check_index(op, index, x._shape[axis] if x.ndim else 1, axis, negative=False)
    return axis


@function("gather")
def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """input[..., index[..., j, ...], ...]: the shape of index, which is no larger than input but along
    dim."""
    axis = _check_along("gather", input, dim, index)
    if not index._shape.numel():
        return apply("gather", lambda x: ops.const(0, x.dtype, tuple(index._shape)), input)
    return apply("gather", lambda x, i: places.take_along("gather", x, i, axis), input, index)


@function("take_along_dim")
def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """Like gather, after input and indices are broadcast together along the other dimensions."""
    op = "take_along_dim"
    _check_integer(op, indices, _WIDE)
    if dim is None:
        indices = indices.reshape(-1)
        return gather(input.reshape(-1), 0, where(indices < 0, indices + input.numel(), indices))
    if input.ndim != indices.ndim:
        raise ShapeError(f"[{op}] input and indices should have the same number of dimensions, but got "
                         f"{input.ndim} dimensions for input, and {indices.ndim} dimensions for indices")
    axis = axis_of(op, dim, input.ndim)
    rest = [axes.broadcast_shape(op, (1,) * (i == axis) or (a,), (1,) * (i == axis) or (b,))[0]
            for i, (a, b) in enumerate(zip(input._shape, indices._shape, strict=True))]
    shapes = [[t._shape[axis] if i == axis else n for i, n in enumerate(rest)] for t in (input, indices)]
    size = input._shape[axis]
    places_ = where(indices < 0, indices + size, indices).expand(shapes[1])
    return gather(input.expand(shapes[0]), axis, places_)


_SCATTER_REDUCE = {None: "set", "add": "add", "multiply": "multiply"}


def _written(op: str, input: Tensor, dim: int, index: Tensor, src: Any, mode: str) -> Tensor:
    """`src` is a tensor of values, or a tuple of one value for all."""
    source, src = (src, src) if isinstance(src, Tensor) else (None, src[0])
    axis = _check_along(op, input, dim, index, source)
    if isinstance(src, Tensor) and src._dtype is not input._dtype:
        raise DTypeError(f"[{op}] Expected self.dtype to be equal to src.dtype, got {input._dtype!r} and "
                         f"{src._dtype!r}")
    if not index._shape.numel():
        return input.clone()
    shape = tuple(index._shape)

    def build(x: Node, i: Node, *given: Node) -> Node:
        values = given[0] if given else number_node(op, src, x.dtype)
        values = values if source is not None else axes.broadcast(values, shape)
        return places.put_along(op, x, i, values, axis, mode)

    return apply(op, build, input, index, *([src] if isinstance(src, Tensor) else []))


@with_in_place("scatter")
def scatter(input: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None,
            reduce: str | None = None) -> Tensor:
    """input with src[..., j, ...] (a tensor or number) written to [..., index[..., j, ...], ...]; reduce
    "add" or "multiply" combines it with what is there."""
    if reduce not in _SCATTER_REDUCE:
        raise ArgumentError(f"[scatter] reduce argument must be either add or multiply, got {reduce!r}")
    given = src if isinstance(src, Tensor) else (value if src is None else src,)
    if src is None and value is None:
        raise ArgumentTypeError("[scatter] needs src, a tensor, or value, a number")
    result = _written("scatter", input, dim, index, given, _SCATTER_REDUCE[reduce])
    return result if isinstance(src, Tensor) else as_operation(result, "ScatterBackward1", input)


@with_in_place("scatter_add")
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """input with src[..., j, ...] added at [..., index[..., j, ...], ...]."""
    return _written("scatter_add", input, dim, index, src, "add")


@with_in_place("scatter_reduce")
def scatter_reduce(input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *,
                   include_self: bool = True) -> Tensor:
    """src folded by "sum", "prod", "mean", "amax" or "amin" into the places that index names."""
    op = "scatter_reduce"
    if reduce not in places.REDUCTIONS:
        raise ArgumentError(f"[{op}] reduce argument must be one of {', '.join(places.REDUCTIONS)}, got "
                            f"{reduce!r}")
    axis = _check_along(op, input, dim, index, src)
    if src._dtype is not input._dtype:
        raise DTypeError(f"[{op}] Expected self.dtype to be equal to src.dtype, got {input._dtype!r} and "
                         f"{src._dtype!r}")
    if not index._shape.numel():
        return input.clone()
    return apply(
        op, lambda x, i, s: places.reduce_along(op, x, i, s, axis, reduce, include_self), input, index, src
    )


# A 1-d index along one dimension


def _check_row_index(
    op: str, x: Tensor, dim: Any, index: Tensor, allowed: tuple[DType, ...] = _EITHER,
    error: type[LazygradError] = DTypeError, negative: bool = False,
) -> tuple[int, Tensor]:
    """The axis, and the index in one dimension. Raises `error` for an index of another type."""
    axis = axis_of(op, dim, x.ndim)
    _check_integer(op, index, allowed, error)
    if index.ndim > 1:
        raise OutOfBoundsError(f"[{op}] Index is supposed to be a vector, but got dim: {index.ndim}")
    check_index(op, index, x._shape[axis] if x.ndim else 1, axis, negative)
    return axis, index if index.ndim else index.reshape(1)


@function("index_select")
def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The slices of input along dim that a 1-d index names: a copy."""
    axis, index = _check_row_index("index_select", input, dim, index)
    if not input.ndim and index._shape[0] != 1:
        raise ShapeError("[index_select] Index to scalar can have only 1 value, got "
                         f"{index._shape[0]} value(s)")

    def build(x: Node, i: Node) -> Node:
        if not x.ndim:
            return x
        return places.take_axis("index_select", x, axis, i)

    return apply("index_select", build, input, index)


def _check_rows(
    op: str, x: Tensor, axis: int, index: Tensor, source: Tensor, number_or_row: bool = False
) -> Tensor:
    """The source, with as many dimensions as x; `number_or_row`: of one element, one dimension may stand for
    none, and none for one. Raises where it does not fit."""
    if source._dtype is not x._dtype:
        raise DTypeError(f"[{op}] self and source expected to have the same dtype, got {x._dtype!r} and "
                         f"{source._dtype!r}")
    want = tuple(index._shape[0] if i == axis else n for i, n in enumerate(x._shape))
    given = tuple(source._shape)
    if number_or_row and x.ndim + source.ndim == 1 and index._shape[0] == source.numel() == 1:
        given = want
    if given != want or (not source.ndim and index._shape[0] != 1):
        raise ShapeError(f"[{op}] source {tuple(source._shape)} does not fit: index of {index._shape[0]} "
                         f"elements along dim {axis} of {tuple(x._shape)} needs {want}")
    return source if tuple(source._shape) == given else source.reshape(given)


@with_in_place("index_add")
def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
    """input with alpha times the slices of source added to those that a 1-d index names."""
    axis, index = _check_row_index("index_add", input, dim, index)
    source = _check_rows("index_add", input, axis, index, source)

    def build(x: Node, i: Node, s: Node) -> Node:
        s = s if alpha == 1 else ops.mul(s, axes.full(alpha, s))
        return places.put_axis("index_add", x, axis, i, s, "add")

    return apply("index_add", build, input, index, source)


@with_in_place("index_copy")
def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """input with the slices that a 1-d index names replaced by those of source."""
    axis, index = _check_row_index("index_copy", input, dim, index, _WIDE)
    source = _check_rows("index_copy", input, axis, index, source, number_or_row=True)
    return apply(
        "index_copy",
        lambda x, i, s: places.put_axis("index_copy", x, axis, i, s, "set"),
        input,
        index,
        source,
    )


@with_in_place("index_fill")
def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """input with the slices that a 1-d index names filled with a number or a 0-d tensor."""
    op = "index_fill"
    axis, index = _check_row_index(op, input, dim, index, _WIDE, OutOfBoundsError, negative=True)
    if isinstance(value, Tensor) and value.ndim:
        raise ShapeError(f"[{op}] only supports a 0-dimensional value tensor, but got tensor with "
                         f"{value.ndim} dimension(s).")

    def build(x: Node, i: Node, *rest: Node) -> Node:
        filling = axes.cast(rest[0], x.dtype) if rest else number_node(op, value, x.dtype)
        if not x.ndim:
            return filling if i.size else x
        size, row = x.shape[axis], tuple(n if a == axis else 1 for a, n in enumerate(x.shape))
        # a place that is named twice takes the value once, and so does its gradient
        named = places.put_axis(op, ops.const(False, dtypes.bool_, (size,)), 0, i,
                                ops.const(True, dtypes.bool_, i.shape), "set")
        named = axes.broadcast(axes.reshape(named, row), x.shape)
        return ops.where(named, axes.broadcast(filling, x.shape), x)

    return apply(op, build, input, index, *([value] if isinstance(value, Tensor) else []))


@with_in_place("index_reduce")
def index_reduce(input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *,
                 include_self: bool = True) -> Tensor:
    """The slices of source folded by "prod", "mean", "amax" or "amin" into those that a 1-d index names."""
    op = "index_reduce"
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise ArgumentError(f"[{op}] reduce argument must be one of prod, mean, amax, amin, got {reduce!r}")
    axis, index = _check_row_index(op, input, dim, index)
    source = _check_rows(op, input, axis, index, source)

    def build(x: Node, i: Node, s: Node) -> Node:
        row = axes.reshape(i, tuple(i.size if a == axis else 1 for a in range(x.ndim)))
        return places.reduce_along(op, x, axes.expand(row, s.shape), s, axis, reduce, include_self)

    return apply(op, build, input, index, source)


# Flat places


@function("take")
def take(input: Tensor, index: Tensor) -> Tensor:
    """The elements of the flattened input at index: the shape of index. Negative indices count from the
    end."""
    _check_integer("take", index, _WIDE)
    count = input._shape.numel()
    check_index("take", index, count, 0)
    return apply("take", lambda x, i: places.take("take", axes.reshape(x, (count,)), [i]), input, index)


@with_in_place("put")
def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """input with the elements of source written (or added) at flat places."""
    _check_integer("put", index, _WIDE)
    if source._dtype is not input._dtype:
        raise DTypeError(f"[put] self and source expected to have the same dtype, got {input._dtype!r} and "
                         f"{source._dtype!r}")
    count = input._shape.numel()
    if index._shape.numel() != source._shape.numel():
        raise ShapeError(f"[put] expected source and index to have the same number of elements, but got "
                         f"{source._shape.numel()} and {index._shape.numel()}")
    check_index("put", index, count, 0)

    def build(x: Node, i: Node, s: Node) -> Node:
        flat = [axes.reshape(v, (v.size,)) for v in (x, i, s)]
        mode = "add" if accumulate else "set"
        return axes.reshape(places.put("put", flat[0], [flat[1]], flat[2], mode), x.shape)

    return apply("put", build, input, index, source)


@creator("embedding")
def embedding(weight: Tensor, indices: Tensor, padding_idx: int = -1, scale_grad_by_freq: bool = False,
              sparse: bool = False) -> Tensor:
    """The rows of weight (n, ...) that indices name: (*indices.shape, ...). Rows of `padding_idx` (where not
    negative) get no gradient. Only the rows that are named are read."""
    op = "embedding"
    _check_integer(op, indices)
    check_index(op, indices, weight._shape[0], 0, negative=False)

    def build(w: Node, i: Node) -> Node:
        taken = ops.gather(w, places.wrapped(i, w.shape[0]), arg=(0,))
        if padding_idx < 0:
            return taken
        is_padding = ops.eq(i, axes.full(padding_idx, i))
        is_padding = axes.broadcast(
            axes.reshape(is_padding, i.shape + (1,) * (taken.ndim - i.ndim)), taken.shape
        )
        return ops.surrogate(taken, ops.where(is_padding, axes.full(0, taken), taken))

    return apply(op, build, weight, indices)
