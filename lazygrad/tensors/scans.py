"""Running results along a dimension: cumsum, cumprod, cummax, cummin, logcumsumexp, diff."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from lazygrad import dtypes, ops
from lazygrad.compositions import axes
from lazygrad.dtypes import DType
from lazygrad.errors import ShapeError
from lazygrad.graph import Node
from lazygrad.tensors import promotion
from lazygrad.tensors.arithmetic import in_place, logical_xor, sub
from lazygrad.tensors.axes import axis_of
from lazygrad.tensors.core import Tensor, apply, function
from lazygrad.tensors.movement import narrow
from lazygrad.tensors.promotion import converted
from lazygrad.tensors.return_types import pair_type


def scan(name: str, build: Callable[[Node, int], Node], x: Tensor, dim: int) -> Tensor:
    """A scan along a dimension; 0-d tensors count as one element."""
    axis = axis_of(name, dim, x.ndim)

    def lifted(n: Node) -> Node:
        return build(n, axis) if n.ndim else ops.reshape(build(ops.reshape(n, arg=(1,)), 0), arg=())

    return apply(name, lifted, x)


def _running(name: str, row: Callable[..., Node]) -> Callable[..., Tensor]:
    def run(input: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
        target = dtype or (input._dtype if input._dtype.kind == "float" else dtypes.int64)
        return scan(name, lambda n, axis: row(converted(n, target), arg=axis), input, dim)

    run.__name__ = run.__qualname__ = name
    run.__doc__ = f"`{name}` along a dimension; bool and integers give int64."
    in_place(name + "_", run)
    return function(name)(run)


cumsum, cumprod = _running("cumsum", ops.cumsum), _running("cumprod", ops.cumprod)


def _last_place(row: Callable[..., Node], n: Node, axis: int) -> Node:
    """Where the running extreme was last attained; NaN counts as the extreme."""
    places = axes.places(n.shape, axis)
    attained = ops.eq(n, row(n, arg=axis))
    if n.dtype.kind == "float":
        attained = ops.bitor(attained, ops.ne(n, n))
    return ops.cummax(ops.where(attained, places, ops.like(0, places)), arg=axis)


def _running_extreme(name: str, row: Callable[..., Node]) -> None:
    result = pair_type(name)

    def run(input: Tensor, dim: int) -> Any:
        values = scan(name, lambda n, axis: row(n, arg=axis), input, dim)
        return result(values, scan(name, lambda n, axis: _last_place(row, n, axis), input.detach(), dim))

    run.__name__ = run.__qualname__ = name
    run.__doc__ = f"The pair (values, indices) of the running {name[3:]}imum along a dimension."
    function(name)(run)


_running_extreme("cummax", ops.cummax)
_running_extreme("cummin", ops.cummin)


@function("logcumsumexp")
def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """log of the running sum of exponentials along a dimension."""
    x = input if input._dtype.kind == "float" else input.to(promotion.get_default_dtype())

    return scan("logcumsumexp", lambda n, axis: axes.precise(lambda wide: _log_sums(wide, axis))(n), x, dim)


def _log_sums(x: Node, axis: int) -> Node:
    """The sums are kept relative to the greatest element so far, and scaled where that grows: each is at
    least 1, and none overflows."""
    if x.shape[axis] == 0:
        return x
    zero = ops.like(0, x)
    greatest = ops.detach(ops.cummax(x, arg=axis))
    shift = ops.where(ops.lt(ops.abs_(greatest), ops.like(math.inf, x)), greatest, zero)
    first = axes.full(0, axes.shrink_axis(x, axis, 0, 1))
    before = ops.cat(first, axes.shrink_axis(shift, axis, 0, x.shape[axis] - 1), arg=axis)
    # of -inf alone the sum is 0, which no shift may make NaN
    nothing = ops.eq(greatest, ops.like(-math.inf, x))
    scale = ops.where(nothing, zero, ops.exp(ops.minimum(ops.sub(before, shift), zero)))
    sums = ops.recurrence(scale, ops.exp(ops.sub(x, shift)), arg=axis)
    logarithms = ops.log(ops.where(nothing, ops.like(1, x), sums))
    return ops.where(nothing, greatest, ops.add(shift, logarithms))


def _check_beside(x: Tensor, other: Tensor, axis: int) -> None:
    """Raises ShapeError unless two shapes differ along one axis alone."""
    alike = all(a == b or i == axis for i, (a, b) in enumerate(zip(x._shape, other._shape, strict=False)))
    if x.ndim != other.ndim or not alike:
        raise ShapeError("[diff] diff expects prepend and append to have the shape of input except along dim "
                         f"{axis}: {tuple(other._shape)} beside {tuple(x._shape)}")


@function("diff")
def diff(
    input: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None
) -> Tensor:
    """Differences of neighbours along a dimension, n times over."""
    axis = axis_of("diff", dim, input.ndim)
    if not input.ndim:
        raise ShapeError("[diff] diff expects input to be at least one-dimensional")
    if n < 0:
        raise ShapeError(f"[diff] order must be non-negative but got {n}")
    for other in (prepend, append):
        if other is not None:
            _check_beside(input, other, axis)
    parts = [p for p in (prepend, input, append) if p is not None] if n else [input]
    x = parts[0] if len(parts) == 1 else apply("diff", lambda *nodes: ops.cat(*nodes, arg=axis), *parts)
    for _ in range(min(n, x._shape[axis])):
        size = x._shape[axis]
        later, earlier = narrow(x, axis, 1, size - 1), narrow(x, axis, 0, size - 1)
        x = logical_xor(later, earlier) if x._dtype.kind == "bool" else sub(later, earlier)
    return x
