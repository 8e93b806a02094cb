"""Reductions: sums, products, extremes, truth, moments, norms, and the softmax family."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from lazygrad import dtypes, ops
from lazygrad.compositions.axes import places
from lazygrad.dtypes import DType
from lazygrad.errors import AxisError, DTypeError, ShapeError
from lazygrad.graph import Node
from lazygrad.helpers import product
from lazygrad.tensors import promotion
from lazygrad.tensors.arithmetic import div, mul, sub, truth
from lazygrad.tensors.axes import axes_of, axis_of
from lazygrad.tensors.core import FUNCTIONS, Tensor, apply, function
from lazygrad.tensors.elementwise import maximum, minimum
from lazygrad.tensors.grad_fn import as_operation, one_operation
from lazygrad.tensors.promotion import converted, pytorch_name
from lazygrad.tensors.return_types import pair_type, return_type


def reduced_shape(shape: tuple[int, ...], axes: tuple[int, ...], keepdim: bool) -> tuple[int, ...]:
    """The shape after a reduction over axes."""
    if keepdim:
        return tuple(1 if i in axes else n for i, n in enumerate(shape))
    return tuple(n for i, n in enumerate(shape) if i not in axes)


def fold(
    name: str,
    row: Callable[..., Node],
    x: Tensor,
    axes: tuple[int, ...],
    keepdim: bool,
    dtype: DType | None = None,
) -> Tensor:
    """Reduce x by a row over axes, in `dtype` where it is given."""
    shape = reduced_shape(x._shape, axes, keepdim)

    def build(n: Node) -> Node:
        n = n if dtype is None else converted(n, dtype)
        n = row(n, arg=axes) if axes else n
        return n if n.shape == shape else ops.reshape(n, arg=shape)

    return apply(name, build, x)


def _sum_dtype(x: Tensor, dtype: DType | None) -> DType:
    return dtype or (x._dtype if x._dtype.kind == "float" else dtypes.int64)


@function("sum")
def sum_(
    input: Tensor,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
) -> Tensor:
    """The sum over dimensions, all by default; bool and integers give int64."""
    axes = axes_of("sum", dim, input.ndim)
    result = fold("sum", ops.sum_, input, axes, keepdim, _sum_dtype(input, dtype))
    return result if dim is None else as_operation(result, "SumBackward1", input)


@function("nansum")
@one_operation("nansum")
def nansum(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """The sum with NaN counted as 0."""
    x = input.masked_fill(input.isnan(), 0) if input._dtype.kind == "float" else input
    return sum_(x, dim, keepdim, dtype=dtype)


@function("mean")
def mean(
    input: Tensor,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
) -> Tensor:
    """The mean over dimensions, all by default. Raises DTypeError for integers unless a float dtype is
    given."""
    target = dtype or input._dtype
    _require_float("mean", target)
    axes = axes_of("mean", dim, input.ndim)
    count = product(input._shape[a] for a in axes)
    wide = target.accumulator
    total = fold("mean", ops.sum_, input, axes, keepdim, wide)
    result = div(total, float(count)).to(target)
    return as_operation(result, "MeanBackward0" if dim is None else "MeanBackward1", input)


def _require_float(name: str, dtype: DType) -> None:
    if dtype.kind != "float":
        raise DTypeError(
            f"[{name}] {name}(): could not infer output dtype. Input dtype must be either a "
            "floating point or "
            f"complex dtype. Got: {pytorch_name(dtype)}. Convert with .float() first"
        )


@function("nanmean")
def nanmean(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """The mean of what is not NaN. Raises DTypeError for integers."""
    _require_float("nanmean", dtype or input._dtype)
    count = sum_(input.isnan().logical_not(), dim, keepdim)
    return div(nansum(input, dim, keepdim, dtype=dtype), count)


@function("prod")
def prod(
    input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """The product over one dimension, or over all; bool and integers give int64."""
    axes = axes_of("prod", dim, input.ndim)
    result = fold("prod", ops.prod, input, axes, keepdim, _sum_dtype(input, dtype))
    return result if dim is None else as_operation(result, "ProdBackward1", input)


# Truth


def _truth(name: str, row: Callable[..., Node]) -> Callable[..., Tensor]:
    def test(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
        target = dtypes.uint8 if input._dtype is dtypes.uint8 else dtypes.bool_
        none = isinstance(dim, tuple | list) and not dim  # no dimension, where other reductions take all
        axes = () if none else axes_of(name, dim, input.ndim)
        result = fold(name, row, truth(input), axes, keepdim)
        return result if target is dtypes.bool_ else result.to(target)

    test.__name__ = test.__qualname__ = name
    test.__doc__ = f"Whether {name} elements over dimensions are nonzero: a bool tensor."
    return function(name)(test)


any_, all_ = _truth("any", ops.max_), _truth("all", ops.min_)


@function("count_nonzero")
def count_nonzero(input: Tensor, dim: Any = None) -> Tensor:
    """How many elements differ from 0."""
    return sum_(truth(input), dim)


# Extremes


def _check_not_empty(name: str, x: Tensor, axes: tuple[int, ...]) -> None:
    if any(x._shape[a] == 0 for a in axes):
        whole = len(axes) == x.ndim
        cure = (
            "Specify the reduction dim with the 'dim' argument."
            if whole
            else f"Expected reduction dim {axes[0]} to have non-zero size."
        )
        raise _EmptyReduction(
            f"[{name}] {name}(): Expected reduction dim to be specified for input.numel() "
            f"== 0. {cure} "
            f"The shape is {tuple(x._shape)}"
        )


class _EmptyReduction(ShapeError, AxisError):
    """An extreme of no elements."""


def _even(name: str, row: Callable[..., Node]) -> Callable[..., Tensor]:
    def reduce(
        input: Tensor, dim: int | Sequence[int] | None = (), keepdim: bool = False
    ) -> Tensor:
        axes = axes_of(name, dim, input.ndim)
        _check_not_empty(name, input, axes)
        return fold(name, row, input, axes, keepdim)

    reduce.__name__ = reduce.__qualname__ = name
    reduce.__doc__ = (
        f"`{name}` over dimensions; ties share the gradient evenly. Raises ShapeError for nothing."
    )
    return function(name)(reduce)


amax, amin = _even("amax", ops.max_), _even("amin", ops.min_)


_aminmax_result = return_type("aminmax", "min", "max")


@function("aminmax")
@one_operation("aminmax")
def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> Any:
    """The least and the greatest element, of all or along one dimension."""
    if dim is not None:
        axis_of("aminmax", dim, input.ndim)
    axes = () if dim is None else dim
    return _aminmax_result(amin(input, axes, keepdim), amax(input, axes, keepdim))


def first_place(row: Callable[..., Node], x: Node, axis: int) -> Node:
    """Along an axis (kept, size 1), the first place where the extreme stands; NaN counts as the extreme."""
    best = ops.expand(row(x, arg=(axis,)), arg=x.shape)
    there = ops.eq(x, best)
    if x.dtype.kind == "float":
        there = ops.bitor(there, ops.ne(x, x))
    place = places(x.shape, axis)
    return ops.min_(ops.where(there, place, ops.like(x.shape[axis] - 1, place)), arg=(axis,))


def _value_at(row: Callable[..., Node], x: Node, place: Node, axis: int) -> Node:
    """The extreme, with a derivative that goes to the chosen place alone."""
    chosen = ops.eq(places(x.shape, axis), ops.expand(place, arg=x.shape))
    alone = ops.sum_(ops.where(chosen, x, ops.like(0, x)), arg=(axis,))
    value = row(x, arg=(axis,))
    return ops.surrogate(value, alone) if x.dtype.kind == "float" else value


def _shared(row: Callable[..., Node]) -> Callable[..., Node]:
    """The extreme of all, whose gradient goes evenly to all that equal it, or to all NaN."""

    def gradient(g: Node, value: Node, x: Node) -> tuple[Node]:
        best = ops.expand(value, arg=x.shape)
        ties = ops.cast(ops.bitor(ops.eq(x, best), ops.ne(x, x)), arg=g.dtype)  # where x is NaN, so is best
        share = ops.div(g, ops.sum_(ties, arg=tuple(range(x.ndim))))
        return (ops.mul(ties, ops.expand(share, arg=x.shape)),)

    def fold(x: Node, arg: tuple[int, ...]) -> Node:
        if x.dtype.kind != "float":
            return row(x, arg=arg)
        return ops.surrogate(row(ops.detach(x), arg=arg), x, arg=gradient)

    return fold


def _extreme(name: str, row: Callable[..., Node], pair: Callable[..., Tensor]) -> None:
    result = pair_type(name)

    def reduce(input: Tensor, dim: int | Tensor | None = None, keepdim: bool = False) -> Any:
        if isinstance(dim, Tensor):
            return pair(input, dim)
        if dim is None:
            axes = tuple(range(input.ndim))
            _check_not_empty(name, input, axes)
            whole = fold(name, _shared(row), input, axes, False)
            return as_operation(whole, f"{name.capitalize()}Backward1", input)
        place = axis_of(name, dim, input.ndim)
        if not input.ndim:
            return result(input.clone(), apply(name, lambda x: ops.const(0, dtypes.int64), input))
        _check_not_empty(name, input, (place,))
        shape = reduced_shape(input._shape, (place,), keepdim)
        values = apply(
            name,
            lambda x: ops.reshape(_value_at(row, x, first_place(row, x, place), place), arg=shape),
            input,
        )
        return result(values, _place(name, row, input, place, keepdim))

    reduce.__name__ = reduce.__qualname__ = name
    reduce.__doc__ = (
        f"The {name} of all elements; with `dim` the pair (values, indices), the gradient "
        "going to the "
        f"chosen element; with another tensor the elementwise {name}imum."
    )
    function(name)(reduce)


def _place(name: str, row: Callable[..., Node], x: Tensor, axis: int, keepdim: bool) -> Tensor:
    shape = reduced_shape(x._shape, (axis,), keepdim)
    return apply(name, lambda n: ops.reshape(first_place(row, n, axis), arg=shape), x.detach())


_extreme("max", ops.max_, maximum)
_extreme("min", ops.min_, minimum)


def _argument(name: str, row: Callable[..., Node]) -> None:
    def reduce(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
        x = input.detach()
        if x._dtype.kind == "bool":
            raise DTypeError(f"[{name}] \"{name}_cpu\" not implemented for 'Bool': convert with .int() first")
        if dim is None:
            flat = x.reshape(-1)
            _check_not_empty(name, flat, (0,))
            place = _place(name, row, flat, 0, False)
            return place.reshape((1,) * x.ndim) if keepdim else place
        axis = axis_of(name, dim, x.ndim)
        if not x.ndim:
            return apply(name, lambda n: ops.const(0, dtypes.int64), x)
        _check_not_empty(name, x, (axis,))
        return _place(name, row, x, axis, keepdim)

    reduce.__name__ = reduce.__qualname__ = name
    reduce.__doc__ = f"The place of the {name[3:]} along a dimension, or in the flattened tensor: int64."
    function(name)(reduce)


_argument("argmax", ops.max_)
_argument("argmin", ops.min_)


# Moments


def _correction(unbiased: bool | None, correction: Any) -> float:
    if unbiased is not None:
        return 1 if unbiased else 0
    return 1 if correction is None else correction


def _moment_arguments(
    name: str, x: Tensor, dim: Any, unbiased: Any, correction: Any
) -> tuple[tuple[int, ...], float]:
    if isinstance(dim, bool):  # var(x, unbiased)
        dim, unbiased = None, dim
    if x._dtype.kind != "float":
        raise DTypeError(
            f"[{name}] std and var only support floating point and complex dtypes, not {x._dtype!r}"
        )
    return axes_of(name, dim, x.ndim), _correction(unbiased, correction)


def _variance(name: str, x: Tensor, axes: tuple[int, ...], correction: float, keepdim: bool) -> Tensor:
    count = product(x._shape[a] for a in axes)
    wide = x.to(x._dtype.accumulator)
    gap = sub(wide, mean(wide, axes, True)) if axes else sub(wide, wide)
    total = fold(name, ops.sum_, mul(gap, gap), axes, keepdim)
    freedom = max(count - correction, 0)
    return div(total, float(freedom))


def _moment(
    name: str, finish: Callable[[Tensor, Callable[[], Tensor]], Any], what: str
) -> Callable[..., Any]:
    """Publish what `finish` makes of the variance and, on demand, of the mean."""

    def moment(
        input: Tensor,
        dim: bool | int | Sequence[int] | None = None,
        unbiased: bool | None = None,
        keepdim: bool = False,
        *,
        correction: float | None = None,
    ) -> Any:
        axes, freedom = _moment_arguments(name, input, dim, unbiased, correction)
        variance = _variance(name, input, axes, freedom, keepdim)
        made = finish(variance, lambda: mean(input, axes, keepdim))
        made = tuple(m.to(input._dtype) for m in made) if isinstance(made, tuple) else made.to(input._dtype)
        return as_operation(made, name, input)

    moment.__name__ = moment.__qualname__ = name
    moment.__doc__ = what
    return function(name)(moment)


var = _moment("var", lambda variance, _: variance,
              "The variance over dimensions, divided by count - correction (1 by default).")
std = _moment("std", lambda variance, _: _power(variance, 0.5), "The square root of the variance.")
var_mean = _moment("var_mean", lambda variance, average: (variance, average()), "The variance and the mean.")
std_mean = _moment("std_mean", lambda variance, average: (_power(variance, 0.5), average()),
                   "The standard deviation and the mean.")


# Norms


def as_measured(name: str, x: Tensor, dtype: DType | None) -> Tensor:
    """What a norm is taken of: numbers with a fraction, in a dtype that holds all of the input's."""
    if x._dtype.kind != "float":
        raise DTypeError(
            f"[{name}] {name}: Expected a floating point or complex tensor as input. "
            f"Got {pytorch_name(x._dtype)}"
        )
    if dtype is None:
        return x
    if dtype.kind != "float":
        raise DTypeError(
            f"[{name}] {name}: dtype should be floating point or complex, but got {pytorch_name(dtype)}"
        )
    if promotion.promote_types(x._dtype, dtype) is not dtype:
        raise DTypeError(
            f"[{name}] {name}: the dtype of the input ({pytorch_name(x._dtype)}) should be convertible "
            f"without narrowing to the specified dtype ({pytorch_name(dtype)})"
        )
    return x.to(dtype)


@function("norm")
@one_operation("norm")
def norm(
    input: Tensor, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: DType | None = None
) -> Tensor:
    """The p-norm over dimensions, all by default, or the nuclear norm of matrices ("nuc"). Raises DTypeError
    for integers, and for a dtype that cannot hold the input's numbers."""
    x = as_measured(f"linalg.{'matrix' if p == 'nuc' else 'vector'}_norm", input, dtype)
    if p == "nuc":
        return FUNCTIONS["nuclear_norm"](x, tuple(range(x.ndim)) if dim is None else dim, keepdim)
    wide = x._dtype.accumulator
    if x._dtype is not wide:
        return norm(x.to(wide), p, dim, keepdim).to(x._dtype)
    axes = axes_of("norm", dim, x.ndim)
    order = 2.0 if p in ("fro", None) else float(p)
    if 0 in [x._shape[d] for d in axes] and (order < 0 or order == math.inf):
        raise ShapeError(
            f"[norm] linalg.vector_norm cannot compute the {order} norm on an empty tensor because the "
            "operation does not have an identity"
        )
    if abs(order) == math.inf or order and product(x._shape[d] for d in axes) == 1:
        return (amax if order > 0 else amin)(x.abs(), axes, keepdim)
    if order == 0:  # it has a derivative, which is 0 wherever it is anything
        count = sum_(x.detach().ne(0), axes, keepdim).to(x._dtype)
        return apply("norm", ops.surrogate, count, sum_(mul(x, 0.0), axes, keepdim))
    if order == 1:
        return sum_(x.abs(), axes, keepdim)
    if order == 2:
        return _power(fold("norm", ops.sum_, mul(x, x), axes, keepdim), 0.5)
    return _power(sum_(_power(x.abs(), order), axes, keepdim), 1 / order)


def _power(x: Tensor, exponent: float) -> Tensor:
    """x ** exponent for sizes x, with derivative 0 at 0 as PyTorch's norms and deviations have it."""
    at_zero = 0.0 if exponent > 0 else math.inf
    positive = apply("norm", lambda n: ops.where(ops.eq(n, ops.like(0, n)), ops.like(1, n), n), x)

    def build(n: Node, power: Node) -> Node:
        return ops.where(ops.eq(n, ops.like(0, n)), ops.like(at_zero, n), power)

    return apply("norm", build, x.detach(), positive**exponent)


# Exponentials, shifted by the greatest element so that nothing overflows


def _greatest(x: Node, axes: tuple[int, ...]) -> Node:
    return ops.detach(ops.max_(x, arg=axes))


@function("logsumexp")
def logsumexp(input: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    """log of the sum of exponentials over dimensions."""
    axes = axes_of("logsumexp", dim, input.ndim)
    x = input if input._dtype.kind == "float" else input.to(promotion.get_default_dtype())
    shape = reduced_shape(x._shape, axes, keepdim)

    def build(n: Node) -> Node:
        if not axes:
            return n
        top = _greatest(n, axes)
        finite = ops.lt(ops.abs_(top), ops.like(math.inf, top))
        shift = ops.where(finite, top, ops.like(0, top))
        total = ops.sum_(ops.exp(ops.sub(n, ops.expand(shift, arg=n.shape))), arg=axes)
        return ops.reshape(ops.add(ops.log(total), shift), arg=shape)

    return apply("logsumexp", build, x)


def _along(name: str, build: Callable[[Node, tuple[int, ...]], Node]) -> Callable[..., Tensor]:
    def normalize(input: Tensor, dim: int | None, dtype: DType | None = None) -> Tensor:
        x = input if dtype is None else input.to(dtype)
        if x._dtype.kind != "float":
            raise DTypeError(
                f'[{name}] "{name}_lastdim_kernel_impl" not implemented for '
                f"'{pytorch_name(x._dtype)}': convert "
                f"with .float() first"
            )
        if dim is None:
            dim = 0 if x.ndim in (0, 1, 3) else 1
        axis = axis_of(name, dim, x.ndim)

        def computed(n: Node) -> Node:
            lifted = n if n.ndim else ops.reshape(n, arg=(1,))
            if lifted.size == 0:
                return n
            result = converted(build(converted(lifted, n.dtype.accumulator), (axis,)), n.dtype)
            return result if n.ndim else ops.reshape(result, arg=())

        return apply(name, computed, x)

    normalize.__name__ = normalize.__qualname__ = name
    normalize.__doc__ = f"`{name}` along a dimension. Raises DTypeError for integers."
    return function(name)(normalize)


def _softmax(x: Node, axes: tuple[int, ...]) -> Node:
    powers = ops.exp(ops.sub(x, ops.expand(_greatest(x, axes), arg=x.shape)))
    # one division a row: gradients then need the powers and this, and no third value of every element
    return ops.mul(powers, ops.expand(ops.reciprocal(ops.sum_(powers, arg=axes)), arg=x.shape))


def _log_softmax(x: Node, axes: tuple[int, ...]) -> Node:
    shifted = ops.sub(x, ops.expand(_greatest(x, axes), arg=x.shape))
    total = ops.log(ops.sum_(ops.exp(shifted), arg=axes))
    return ops.sub(shifted, ops.expand(total, arg=x.shape))


softmax = _along("softmax", _softmax)
log_softmax = _along("log_softmax", _log_softmax)
softmin = _along("softmin", lambda x, axes: _softmax(ops.neg(x), axes))
