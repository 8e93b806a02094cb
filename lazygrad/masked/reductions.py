"""Functions of those elements of a tensor where a mask is True: the others become what changes no result.
Where a mask is nowhere True along the reduced dimensions, the result is that of no elements."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import lazygrad
from lazygrad.dtypes import DType, int64
from lazygrad.errors import ArgumentError, AxisError, UnsupportedError
from lazygrad.tensors import Tensor
from lazygrad.tensors.axes import axes_of, axis_of
from lazygrad.tensors.signatures import check_all

Dims = int | Sequence[int] | None


def _axes(name: str, dim: Dims, ndim: int) -> tuple[int, ...]:
    """The dimensions in ascending order: all for None and for ()."""
    return axes_of(f"masked.{name}", dim, ndim)


def _axis(name: str, dim: int, input: Tensor) -> int:
    return axis_of(f"masked.{name}", dim, input.ndim)


def _whole_mask(name: str, input: Tensor, mask: Tensor) -> Tensor:
    """A mask of the input's shape."""
    if mask.ndim > input.ndim:
        raise AxisError(f"[masked.{name}] expected broadcastable mask, but the mask {tuple(mask.shape)} has "
                        f"more dimensions than the input {tuple(input.shape)}")
    return mask.to(lazygrad.bool).broadcast_to(input.shape)


def _least(x: Tensor) -> float:
    return x.dtype.min


def _greatest(x: Tensor) -> float:
    return x.dtype.max


def _filled(name: str, input: Tensor, mask: Tensor | None,
            value: float | Callable[[Tensor], float]) -> Tensor:
    """The input with a value where the mask is False. Raises UnsupportedError for a bool tensor and an
    extreme of its type."""
    if mask is None:
        return input
    if callable(value):
        if input.dtype is lazygrad.bool:
            raise UnsupportedError(f"[masked.{name}] identity of {name} on {input.dtype} input: convert it "
                                   "with .int()")
        value = value(input)
    other = lazygrad.full((), value, dtype=input.dtype, device=input.device)
    return lazygrad.where(_whole_mask(name, input, mask), input, other)


def _total_type(input: Tensor, dtype: DType | None) -> DType:
    return dtype or (input.dtype if input.is_floating_point() else int64)


def sum(input: Tensor, dim: Dims = None, *, keepdim: bool | None = False, dtype: DType | None = None,
        mask: Tensor | None = None) -> Tensor:
    """The sum along dimensions, 0 where nothing is chosen; of integers int64."""
    chosen = _filled("sum", input, mask, 0)
    axes = _axes("sum", dim, input.ndim)
    return chosen.sum(axes, bool(keepdim), dtype=_total_type(input, dtype))


def prod(input: Tensor, dim: Dims = None, *, keepdim: bool | None = False, dtype: DType | None = None,
         mask: Tensor | None = None) -> Tensor:
    """The product along dimensions, 1 where nothing is chosen; of integers int64."""
    found = _filled("prod", input, mask, 1).to(_total_type(input, dtype))
    for axis in reversed(_axes("prod", dim, input.ndim)):
        found = found.prod(axis, bool(keepdim))
    return found


def cumsum(input: Tensor, dim: int, *, dtype: DType | None = None, mask: Tensor | None = None) -> Tensor:
    """Running sums along a dimension, in the input's type."""
    dtype = dtype or input.dtype
    return _filled("cumsum", input, mask, 0).cumsum(_axis("cumsum", dim, input), dtype=dtype)


def cumprod(input: Tensor, dim: int, *, dtype: DType | None = None, mask: Tensor | None = None) -> Tensor:
    """Running products along a dimension, in the input's type."""
    dtype = dtype or input.dtype
    return _filled("cumprod", input, mask, 1).cumprod(_axis("cumprod", dim, input), dtype=dtype)


def amax(input: Tensor, dim: Dims = None, *, keepdim: bool | None = False, dtype: DType | None = None,
         mask: Tensor | None = None) -> Tensor:
    """The greatest element along dimensions; the least number of the type where nothing is chosen."""
    chosen = _filled("amax", input, mask, _least)
    return chosen.amax(_axes("amax", dim, input.ndim), bool(keepdim)).to(dtype or input.dtype)


def amin(input: Tensor, dim: Dims = None, *, keepdim: bool | None = False, dtype: DType | None = None,
         mask: Tensor | None = None) -> Tensor:
    """The least element along dimensions; the greatest number of the type where nothing is chosen."""
    chosen = _filled("amin", input, mask, _greatest)
    return chosen.amin(_axes("amin", dim, input.ndim), bool(keepdim)).to(dtype or input.dtype)


def argmax(input: Tensor, dim: int | None = None, *, keepdim: bool | None = False,
           dtype: DType | None = None, mask: Tensor | None = None) -> Tensor:
    """The place of the greatest element, in the input's type as in PyTorch; give dtype=int64."""
    chosen = _filled("argmax", input, mask, _least)
    return chosen.argmax(dim, bool(keepdim)).to(dtype or input.dtype)


def argmin(input: Tensor, dim: int | None = None, *, keepdim: bool | None = False,
           dtype: DType | None = None, mask: Tensor | None = None) -> Tensor:
    """The place of the least element, in the input's type as in PyTorch; give dtype=int64."""
    chosen = _filled("argmin", input, mask, _greatest)
    return chosen.argmin(dim, bool(keepdim)).to(dtype or input.dtype)


def _count(name: str, input: Tensor, axes: tuple[int, ...], keepdim: bool, mask: Tensor | None) -> Tensor:
    chosen = lazygrad.ones(input.shape, dtype=int64, device=input.device)
    chosen = chosen if mask is None else _whole_mask(name, input, mask)
    return chosen.sum(axes, keepdim)


def mean(input: Tensor, dim: Dims = None, *, keepdim: bool | None = False, dtype: DType | None = None,
         mask: Tensor | None = None) -> Tensor:
    """The mean along dimensions, NaN where nothing is chosen. Raises ArgumentError for a type of integers."""
    kind = dtype or input.dtype
    if not kind.is_floating_point:
        source = "Input" if dtype is None else "Optional"
        raise ArgumentError(f"[masked.mean] Could not infer output dtype. {source} dtype must be either a "
                            f"floating point or complex dtype. Got: {kind}")
    count = _count("mean", input, _axes("mean", dim, input.ndim), bool(keepdim), mask)
    return sum(input, dim, keepdim=keepdim, dtype=kind, mask=mask) / count


def median(input: Tensor, dim: int = -1, *, keepdim: bool = False, dtype: DType | None = None,
           mask: Tensor | None = None) -> Tensor:
    """The lower median along a dimension, NaN where nothing is chosen; for integers that is an
    ArgumentError."""
    axis = _axis("median", dim, input)
    x = input if input.is_floating_point() else input.to(lazygrad.float32)
    found = _filled("median", x, mask, float("nan")).nanmedian(axis, keepdim).values
    if input.is_floating_point():
        return found
    if found.isnan().any():
        raise ArgumentError("[masked.median] masked median expects no fully masked out rows if dtype is not "
                            "floating point: convert the input with .float()")
    return found.to(dtype or input.dtype)


def logsumexp(input: Tensor, dim: Dims = None, *, keepdim: bool = False, dtype: DType | None = None,
              mask: Tensor | None = None) -> Tensor:
    """log of the sum of exponentials along dimensions, -inf where nothing is chosen."""
    chosen = _filled("logsumexp", input, mask, _least)
    return chosen.logsumexp(_axes("logsumexp", dim, input.ndim), keepdim).to(dtype or input.dtype)


def logaddexp(input: Tensor, other: Tensor, *, dtype: DType | None = None, input_mask: Tensor | None = None,
              other_mask: Tensor | None = None) -> Tensor:
    """log(exp(input) + exp(other)), of each only what its mask chooses."""
    x, y = _filled("logaddexp", input, input_mask, _least), _filled("logaddexp", other, other_mask, _least)
    return lazygrad.logaddexp(x, y).to(dtype or input.dtype)


def norm(input: Tensor, ord: float | None = 2.0, dim: Dims = None, *, keepdim: bool | None = False,
         dtype: DType | None = None, mask: Tensor | None = None) -> Tensor:
    """The vector norm along dimensions, 0 where nothing is chosen (inf for ord=-inf)."""
    none = float("inf") if ord == float("-inf") else 0.0
    chosen = _filled("norm", input, mask, none)
    return lazygrad.linalg.vector_norm(
        chosen, 2.0 if ord is None else ord, _axes("norm", dim, input.ndim), bool(keepdim),
        dtype=dtype or input.dtype)


def var(input: Tensor, dim: Dims = None, unbiased: bool | None = None, *, correction: float | None = None,
        keepdim: bool | None = False, dtype: DType | None = None, mask: Tensor | None = None) -> Tensor:
    """The variance along dimensions, divided by the number of chosen elements less `correction` (1)."""
    if unbiased is not None and correction is not None:
        raise ArgumentError("[masked.var] Only one of unbiased and correction may be given")
    less = (1.0 if unbiased in (None, True) else 0.0) if correction is None else float(correction)
    kind = dtype or (input.dtype if input.is_floating_point() else lazygrad.float32)
    wide = kind if kind.is_floating_point else lazygrad.float32
    axes = _axes("var", dim, input.ndim)
    count = _count("var", input, axes, True, mask)
    middle = sum(input, axes, keepdim=True, dtype=kind, mask=mask) / count
    apart = input - middle
    total = sum(apart * apart, axes, keepdim=keepdim, dtype=wide, mask=mask)
    count = count if keepdim else count.reshape(total.shape)
    return (total / (count if less == 0 else (count.to(wide) - less).clamp(min=0))).to(kind)


def std(input: Tensor, dim: Dims = None, unbiased: bool | None = None, *, correction: float | None = None,
        keepdim: bool | None = False, dtype: DType | None = None, mask: Tensor | None = None) -> Tensor:
    """The square root of var."""
    return var(input, dim, unbiased, correction=correction, keepdim=keepdim, dtype=dtype, mask=mask).sqrt()


def softmax(input: Tensor, dim: int, *, dtype: DType | None = None, mask: Tensor | None = None) -> Tensor:
    """softmax along a dimension over what is chosen, 0 elsewhere; NaN where nothing is chosen."""
    chosen = _filled("softmax", input, mask, _least)
    return chosen.softmax(_axis("softmax", dim, input), dtype=dtype or input.dtype)


def log_softmax(input: Tensor, dim: int, *, dtype: DType | None = None, mask: Tensor | None = None) -> Tensor:
    """The logarithm of softmax: -inf where nothing is chosen."""
    chosen = _filled("log_softmax", input, mask, _least)
    return chosen.log_softmax(_axis("log_softmax", dim, input), dtype=dtype or input.dtype)


def softmin(input: Tensor, dim: int, *, dtype: DType | None = None, mask: Tensor | None = None) -> Tensor:
    """softmax(-x) along a dimension over what is chosen, 0 elsewhere."""
    chosen = _filled("softmin", input, mask, _greatest)
    return (-chosen).softmax(_axis("softmin", dim, input), dtype=dtype or input.dtype)


def normalize(input: Tensor, ord: float, dim: int, *, eps: float = 1e-12, dtype: DType | None = None,
              mask: Tensor | None = None) -> Tensor:
    """What is chosen divided by its norm along a dimension, or by eps where that is greater; 0 elsewhere."""
    size = norm(input, ord, dim, keepdim=True, dtype=dtype, mask=mask)
    return _filled("normalize", input, mask, 0) / lazygrad.maximum(size, size.new_full((), eps))


check_all(globals())
