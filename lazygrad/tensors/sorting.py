"""Sorting, order statistics, searching and counting."""

from __future__ import annotations

from typing import Any

import numpy as np

from lazygrad import dtypes, ops
from lazygrad.compositions import axes, ordering
from lazygrad.errors import ArgumentError, AxisError, DTypeError, ShapeError
from lazygrad.graph import Node
from lazygrad.tensors.axes import axis_of, integer
from lazygrad.tensors.core import Tensor, apply, creator, from_node, function, method
from lazygrad.tensors.creation import full
from lazygrad.tensors.grad_fn import as_operation
from lazygrad.tensors.indexing import nonzero
from lazygrad.tensors.promotion import check_operand, check_operands, result_type
from lazygrad.tensors.return_types import pair_type
from lazygrad.tensors.values import read

_sort_result, _topk_result, _kth_result, _mode_result = map(pair_type, ("sort", "topk", "kthvalue", "mode"))
_medians = {name: pair_type(name) for name in ("median", "nanmedian")}


def _pair(op: str, result: Any, build: Any, x: Tensor) -> Any:
    return result(*(apply(op, lambda n, i=i: build(n)[i], x) for i in (0, 1)))


@function("sort")
def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Any:
    """(values, indices) in ascending or descending order along dim, always stable; NaN counts as the
    greatest."""
    axis = axis_of("sort", dim, input.ndim)
    return _pair("sort", _sort_result, lambda n: ordering.sort(n, axis, descending), input)


@function("argsort")
def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """The int64 indices that sort input along dim."""
    axis = axis_of("argsort", dim, input.ndim)
    return apply("argsort", lambda n: ordering.sort(n, axis, descending)[1], input)


@function("msort")
def msort(input: Tensor) -> Tensor:
    """input sorted along its first dimension."""
    return sort(input, 0).values


@function("topk")
def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """The k greatest (or least) elements along dim and their indices, in order."""
    axis = axis_of("topk", dim, input.ndim)
    size = input._shape[axis] if input.ndim else 1
    if input._dtype is dtypes.bool_:
        raise DTypeError("[topk] topk does not support bool dtypes: convert it with .int()")
    k = integer("topk", "k", k)
    if not 0 <= k <= size:
        raise ShapeError(f"[topk] selected index k out of range: {k} of dimension {axis} with size {size}")
    return _pair("topk", _topk_result, lambda n: ordering.first_of_order(n, axis, k, largest), input)


def _squeezed(node: Node, axis: int, keepdim: bool) -> Node:
    return node if keepdim else axes.drop_axes(node, (axis,))


@function("kthvalue")
def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """The k-th least element (from 1) along dim and its index."""
    axis = axis_of("kthvalue", dim, input.ndim)
    size, k = input._shape[axis] if input.ndim else 1, integer("kthvalue", "k", k)
    if not 1 <= k <= size:
        raise ShapeError(f"[kthvalue] selected number k out of range for dimension {axis}: {k} of size "
                         f"{size}")

    def build(n: Node) -> tuple[Node, ...]:
        if not n.ndim:
            return n, axes.full(0, n, dtypes.int64)
        order = ops.argsort(n, arg=(axis, False))
        place = axes.shrink_axis(order, axis, k - 1, k)
        return tuple(_squeezed(v, axis, keepdim) for v in (ordering.take_along(n, place, axis), place))

    return _pair("kthvalue", _kth_result, build, input)


def _median(op: str, x: Tensor, dim: int | None, keepdim: bool, skip_nan: bool) -> Any:
    if x._dtype.kind == "bool":
        raise DTypeError(f"[{op}] is not implemented for bool tensors; convert with .int()")
    if dim is None:
        return _median_of_all(op, x.reshape(-1), skip_nan)
    axis = axis_of(op, dim, x.ndim)
    if x.ndim and not x._shape[axis]:
        raise AxisError(f"[{op}] Expected reduction dim {axis} to have non-zero size.")

    def build(n: Node) -> tuple[Node, ...]:
        if not n.ndim:
            return n, axes.full(0, n, dtypes.int64)
        return tuple(_squeezed(v, axis, keepdim) for v in ordering.median(n, axis, skip_nan))

    return as_operation(_pair(op, _medians[op], build, x), f"{op.capitalize()}Backward1", x)


def _median_of_all(op: str, x: Tensor, skip_nan: bool) -> Tensor:
    """The median of a 1-d tensor; its gradient is shared evenly among all elements that are equal to it."""

    def build(n: Node) -> Node:
        if not n.shape[0]:
            if n.dtype.kind != "float":
                raise ShapeError(f"[{op}] the median of no elements is no integer")
            return ops.const(float("nan"), n.dtype)
        value, _ = ordering.median(n, 0, skip_nan)
        if n.dtype.kind == "float":
            same = ops.eq(n, axes.expand(value, n.shape))
            nan = ops.ne(n, n)
            same = same if skip_nan else ops.bitor(same, nan)
            count = ops.sum_(axes.cast(same, n.dtype), arg=(0,))
            shared = ops.sum_(ops.where(same, n, axes.full(0, n)), arg=(0,))
            value = ops.surrogate(value, ops.div(shared, count))
        return axes.reshape(value, ())

    return apply(op, build, x)


@function("median")
def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The lower median of all elements, or (values, indices) along dim. NaN where there is one."""
    return _median("median", input, dim, keepdim, False)


@function("nanmedian")
def nanmedian(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The lower median of the elements that are not NaN, of all or along dim."""
    return _median("nanmedian", input, dim, keepdim, True)


@function("mode")
def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> Any:
    """The value that occurs most often along dim (the least of those) and the last index at which it does."""
    axis = axis_of("mode", dim, input.ndim)
    if input.ndim and not input._shape[axis]:
        raise AxisError(f"[mode] Expected reduction dim {axis} to have non-zero size.")

    def build(n: Node) -> tuple[Node, ...]:
        if not n.ndim:
            return n, axes.full(0, n, dtypes.int64)
        values, order = ordering.sort(n, axis, False)
        shape = n.shape
        place = axes.places(shape, axis)
        # the length of the run of equal elements that ends at each place
        before = axes.shrink_axis(values, axis, 0, shape[axis] - 1)
        after = axes.shrink_axis(values, axis, 1, shape[axis])
        begins = axes.pad_axis(ops.ne(before, after), axis, 1, 0, True)
        start = ops.cummax(ops.where(begins, place, axes.full(0, place)), arg=axis)
        length = ops.sub(place, start)
        most = axes.expand(ops.max_(length, arg=(axis,)), shape)
        end = ops.min_(ops.where(ops.eq(length, most), place, axes.full(shape[axis], place)), arg=(axis,))
        end = ops.minimum(end, axes.full(shape[axis] - 1, end))
        index = ordering.take_along(order, end, axis)
        return tuple(_squeezed(v, axis, keepdim) for v in (ordering.take_along(n, index, axis), index))

    return _pair("mode", _mode_result, build, input)


# Quantiles

_INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")
_ONE_PLACE = {"lower": ops.floor, "higher": ops.ceil, "nearest": ops.round_}  # of those that blend no two


def _quantile(
    op: str, x: Tensor, q: Any, dim: int | None, keepdim: bool, interpolation: str, skip_nan: bool
) -> Tensor:
    quantiles = _checked_quantiles(op, x, q, interpolation)
    kept = (1,) * x.ndim if dim is None else None
    flat = x.reshape(-1) if dim is None else x
    axis = axis_of(op, 0 if dim is None else dim, flat.ndim)
    keepdim = keepdim and (x.ndim > 0)
    flat = flat if flat.ndim else flat.reshape(1)
    if not flat._shape[axis]:
        raise ShapeError(f"[{op}] input tensor must be non-empty")

    def build(n: Node, *variable: Node) -> Node:
        each: list[Node | None] = [None] * quantiles.size
        if variable:
            flat_q = axes.reshape(variable[0], (quantiles.size,))
            each = [axes.reshape(axes.shrink_axis(flat_q, 0, i, i + 1), ()) for i in range(quantiles.size)]
        parts = [_one_quantile(n, axis, float(at), q_i, interpolation, skip_nan)
                 for at, q_i in zip(quantiles.reshape(-1), each, strict=True)]
        parts = [
            axes.reshape(p, kept) if keepdim and kept is not None else _squeezed(p, axis, keepdim)
            for p in parts
        ]
        if not quantiles.ndim:
            return parts[0]
        return ops.cat(*(axes.insert_axis(p, 0) for p in parts), arg=0)

    # only a weight between two elements changes with q
    return apply(op, build, flat, *([q] if isinstance(q, Tensor) and interpolation == "linear" else []))


def _checked_quantiles(op: str, x: Tensor, q: Any, interpolation: str) -> np.ndarray:
    """The values of q, (count,) or (). Raises ArgumentError, DTypeError."""
    if interpolation not in _INTERPOLATIONS:
        raise ArgumentError(f"[{op}] interpolation must be one of {', '.join(_INTERPOLATIONS)}, got "
                            f"{interpolation!r}")
    if x._dtype not in (dtypes.float32, dtypes.float64):
        raise DTypeError(f"[{op}] {op}() input tensor must be either float or double dtype, got "
                         f"{x._dtype!r}; convert it with .float()")
    quantiles = read(q) if isinstance(q, Tensor) else np.asarray(float(q))
    if isinstance(q, Tensor) and (q._dtype is not x._dtype or q.ndim > 1):
        raise DTypeError(f"[{op}] q must be a scalar or 1D tensor of the input's dtype, got "
                         f"{tuple(q._shape)} of {q._dtype!r}")
    if not ((quantiles >= 0) & (quantiles <= 1)).all():
        raise ArgumentError(f"[{op}] q values must be in the range [0, 1], got {quantiles.tolist()}")
    return quantiles


def _one_quantile(n: Node, axis: int, at: float, variable: Node | None, interpolation: str, skip_nan: bool
                  ) -> Node:
    """A quantile along an axis, which stays with size 1. `variable`: q as a node, for its derivative."""
    size = n.shape[axis]
    values, _ = ordering.sort(n, axis, False)
    nans = ordering.nan_count(n, axis)
    count = ops.sub(axes.full(size, nans), nans) if skip_nan else axes.full(size, nans)
    last = axes.cast(ops.maximum(ops.sub(count, axes.full(1, count)), axes.full(0, count)), dtypes.float64)
    rank = ops.mul(last, axes.full(at, last))
    if not skip_nan:  # a NaN anywhere is the result: the last in order is one then
        rank = ops.where(ops.lt(axes.full(0, nans), nans), axes.full(size - 1, rank), rank)

    def element(place: Node) -> Node:
        inside = ops.minimum(axes.cast(place, dtypes.int64), axes.full(size - 1, nans))
        return ordering.take_along(values, inside, axis)

    if interpolation in _ONE_PLACE:
        return element(_ONE_PLACE[interpolation](rank))
    low = ops.floor(rank)
    weight = axes.cast(axes.full(0.5, rank) if interpolation == "midpoint" else ops.sub(rank, low), n.dtype)
    if variable is not None:
        slope = ops.mul(axes.cast(last, n.dtype), axes.broadcast(variable, weight.shape))
        weight = ops.surrogate(weight, slope)
    a, b = element(low), element(ops.ceil(rank))
    return ops.add(a, ops.mul(weight, ops.sub(b, a)))


@function("quantile")
def quantile(input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *,
             interpolation: str = "linear") -> Tensor:
    """The q-th quantiles of all elements or along dim; a 1-d q puts its dimension in front. NaN where there
    is one."""
    return _quantile("quantile", input, q, dim, keepdim, interpolation, False)


@function("nanquantile")
def nanquantile(input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *,
                interpolation: str = "linear") -> Tensor:
    """The q-th quantiles of the elements that are not NaN."""
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation, True)


# Searching


@function("nonzero_static")
def nonzero_static(input: Tensor, *, size: int, fill_value: int = -1) -> Tensor:
    """The indices of the first `size` elements that are not 0, (size, ndim); rows without one hold
    fill_value."""
    if size < 0:
        raise ArgumentError(f"[nonzero_static] size must be non-negative, got {size}")
    found = nonzero(input)[:size]
    made = full((size, input.ndim), fill_value, dtype=dtypes.int64, device=input.device)
    made[: found.shape[0]] = found
    return made


def _beside(x: Tensor, number: bool | int | float) -> Tensor:
    """A number as a tensor without dimensions, in the type that it has together with x."""
    return from_node(ops.const(number, result_type(x, number)), x.cell.device)


@creator("searchsorted")
def searchsorted(
    sorted_sequence: Tensor,
    input: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """Where input goes in the ascending innermost rows of sorted_sequence: before equal elements, or after
    them with right. sorted_sequence is 1-d, or has the leading dimensions of input."""
    op = "searchsorted"
    if side not in (None, "left", "right"):
        raise ArgumentError(f"[{op}] side can only be 'left' or 'right' but got {side!r}")
    if side == "left" and right:
        raise ArgumentError(f"[{op}] side and right can't be set to opposites, got side of left while right "
                            "was True")
    right = right or side == "right"
    given = check_operand(op, input)
    values = given if isinstance(given, Tensor) else _beside(sorted_sequence, given)
    if values._dtype is not sorted_sequence._dtype:
        wide = dtypes.promote(values._dtype, sorted_sequence._dtype)
        values, sorted_sequence = values.to(wide), sorted_sequence.to(wide)
    if sorter is not None and sorter._shape != sorted_sequence._shape:
        raise ShapeError(f"[{op}] boundary and sorter must have the same size, but got boundary tensor "
                         f"{tuple(sorted_sequence._shape)} and sorter tensor {tuple(sorter._shape)}")
    rows = sorted_sequence if sorter is None else sorted_sequence.gather(-1, sorter)
    if not rows.ndim or (rows.ndim > 1 and rows._shape[:-1] != values._shape[:-1]):
        raise ShapeError(f"[{op}] boundaries tensor should be 1 dimension or the first N-1 dimensions of "
                         "boundaries tensor and input value tensor must match, but we got boundaries tensor "
                         f"{tuple(rows._shape)} and input value tensor {tuple(values._shape)}")

    def build(r: Node, v: Node) -> Node:
        flat = axes.reshape(v, (v.size,)) if r.ndim == 1 else v
        found = axes.reshape(ordering.search(r, flat, right), v.shape)
        return axes.cast(found, dtypes.int32 if out_int32 else dtypes.int64)

    return apply(op, build, rows.detach(), values.detach())


@creator("bucketize")
def bucketize(input: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """Which bucket between 1-d ascending boundaries each element falls in."""
    if boundaries.ndim != 1:
        raise ShapeError("[bucketize] boundaries tensor must be 1 dimension, but got "
                         f"{tuple(boundaries._shape)}")
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


@method("bucketize")
def _bucketize_method(
    x: Tensor, boundaries: Tensor, *, out_int32: bool = False, right: bool = False
) -> Tensor:
    """Which bucket between boundaries each element falls in."""
    return bucketize(x, boundaries, out_int32=out_int32, right=right)


# Counting


@function("bincount")
def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each number from 0 on occurs in a 1-d integer tensor, or the sum of its weights. Realizes
    input."""
    op = "bincount"
    if input.ndim != 1 or input._dtype.kind in ("float", "bool"):
        raise ShapeError(f"[{op}] bincount only supports 1-d non-negative integral inputs, got "
                         f"{tuple(input._shape)} of {input._dtype!r}")
    if minlength < 0:
        raise ArgumentError(f"[{op}] minlength should be >= 0, got {minlength}")
    if weights is not None and weights._shape != input._shape and input.numel():
        raise ShapeError(f"[{op}] weights should be 1-d and have the same length as input, got "
                         f"{tuple(weights._shape)} for {tuple(input._shape)}")
    weights = weights if input.numel() else None
    values = read(input)
    if values.size and values.min() < 0:
        raise ArgumentError(f"[{op}] bincount only supports non-negative inputs, got {int(values.min())}")
    size = max(minlength, int(values.max()) + 1 if values.size else 0)
    if weights is None:
        dtype = dtypes.int64
    else:
        dtype = weights._dtype if weights._dtype is dtypes.float32 else dtypes.float64

    def build(x: Node, *rest: Node) -> Node:
        what = axes.cast(rest[0], dtype) if rest else axes.full(1, x, dtype)
        return ops.scatter(ops.const(0, dtype, (size,)), x, what, arg=((0,), "add"))

    return apply(op, build, input, *([] if weights is None else [weights.detach()]))


@function("histc")
def histc(input: Tensor, bins: int = 100, min: Any = 0, max: Any = 0) -> Tensor:
    """How many elements fall in each of `bins` equal intervals of [min, max] (of the data's range where both
    are equal).
    """
    op = "histc"
    axes.require_float(op, input.plain_node())
    if bins <= 0:
        raise ArgumentError(f"[{op}] bins must be > 0, got {bins}")
    low, high = float(min), float(max)
    if low == high and input._shape.numel():
        values = read(input)
        low, high = float(values.min()), float(values.max())
    if low == high:
        low, high = low - 1, high + 1
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ArgumentError(f"[{op}] range of [{low}, {high}] is not finite or max is less than min")

    def build(x: Node) -> Node:
        x = axes.reshape(x, (x.size,))
        inside = ops.bitand(ops.le(axes.full(low, x), x), ops.le(x, axes.full(high, x)))
        place = ops.floor(
            ops.div(ops.mul(ops.sub(x, axes.full(low, x)), axes.full(bins, x)), axes.full(high - low, x))
        )
        place = axes.cast(ops.where(inside, place, axes.full(0, place)), dtypes.int64)
        place = ops.maximum(ops.minimum(place, axes.full(bins - 1, place)), axes.full(0, place))
        return ops.scatter(
            ops.const(0, x.dtype, (bins,)), place, axes.cast(inside, x.dtype), arg=((0,), "add")
        )

    return apply(op, build, input.detach())


# Membership


@creator("isin")
def isin(elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Which elements are among test_elements."""
    given = check_operands("isin", elements, test_elements)
    beside = next(v for v in given if isinstance(v, Tensor))
    x, among = (v if isinstance(v, Tensor) else _beside(beside, v) for v in given)
    if any(isinstance(v, bool) or (isinstance(v, Tensor) and v._dtype is dtypes.bool_) for v in given):
        raise DTypeError("[isin] Unsupported input type encountered for isin(): Bool; convert it with .int()")
    dtype = result_type(x, among)

    def build(a: Node, b: Node) -> Node:
        if not b.size:
            return axes.full(invert, a, dtypes.bool_)
        rows = axes.reshape(axes.cast(b, dtype), (b.size,))
        rows, _ = ordering.sort(rows, 0, False)
        flat = axes.reshape(axes.cast(a, dtype), (a.size,))
        place = ordering.search(rows, flat, False)
        found = ops.gather(rows, ops.minimum(place, axes.full(b.size - 1, place)), arg=(0,))
        same = axes.reshape(ops.eq(found, flat), a.shape)
        return ops.bitnot(same) if invert else same

    return apply("isin", build, x.detach(), among.detach())
