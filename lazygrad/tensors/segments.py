"""Reductions of the segments of a dimension, which lengths or offsets name."""

from __future__ import annotations

from collections.abc import Sequence

from lazygrad import dtypes
from lazygrad.errors import ArgumentError, DTypeError, MissingError, ShapeError
from lazygrad.tensors.axes import axis_of
from lazygrad.tensors.core import Tensor, creator
from lazygrad.tensors.creation import arange, full
from lazygrad.tensors.elementwise import where
from lazygrad.tensors.values import read

# what a reduction is called in scatter_reduce, and its value of no elements
_FOLDS = {
    "sum": ("sum", 0.0), "mean": ("sum", 0.0), "prod": ("prod", 1.0), "max": ("amax", float("-inf")),
    "min": ("amin", float("inf")), "amax": ("amax", float("-inf")), "amin": ("amin", float("inf")),
}  # fmt: skip


@creator("segment_reduce")
def segment_reduce(
    data: Tensor,
    reduce: str,
    *,
    lengths: Tensor | None = None,
    indices: Tensor | None = None,
    offsets: Tensor | None = None,
    axis: int = 0,
    unsafe: bool = False,
    initial: float | None = None,
) -> Tensor:
    """The sum, mean, prod, max or min of each segment along `axis`: segments follow one another, with these
    lengths (..., S), or from each of the offsets (..., S + 1) to the next; `...` are the dimensions before
    axis. Of a segment without elements it is `initial`, or 0, NaN, 1, -inf, inf.

    Raises ArgumentError for another reduction, ShapeError for lengths that do not add up to the size
    of the axis, unless `unsafe`.
    """
    if reduce not in _FOLDS:
        raise ArgumentError("[segment_reduce] reduce argument must be either sum, prod, mean, amax or "
                                   f"amin, got {reduce}")
    if indices is not None:
        raise MissingError("[segment_reduce] indices are not supported: give lengths or offsets")
    if lengths is None and offsets is None:
        raise ArgumentError("[segment_reduce] Either lengths or offsets must be defined.")
    if not data.is_floating_point():
        raise DTypeError(f"[segment_reduce] not implemented for {data.dtype}: convert it with .float()")
    given = lengths if lengths is not None else offsets
    assert given is not None
    axis = axis_of("segment_reduce", axis, data.ndim)
    if given.ndim != axis + 1 or given.shape[:-1] != data.shape[:axis]:
        raise ShapeError("[segment_reduce] Expected axis to be the last dimension of lengths but got "
                         f"{axis}: lengths or offsets {tuple(given.shape)}, data {tuple(data.shape)}")
    if lengths is not None:
        sizes, ends = lengths, lengths.cumsum(-1)
        start = sizes.new_zeros((*sizes.shape[:-1], 1))
        if not unsafe:
            _check_lengths(lengths, data.shape[axis])
    else:
        sizes, ends, start = given[..., 1:] - given[..., :-1], given[..., 1:], given[..., :1]
    place = arange(data.shape[axis], device=data.device)
    # the number of segments that have ended; what is before the first or after the last is of none
    segment = (place[:, None] >= ends[..., None, :]).sum(-1)
    segment = where(place < start, sizes.shape[-1], segment)
    return _folded(data, segment, sizes, axis, reduce, initial)


def _check_lengths(lengths: Tensor, size: int) -> None:
    found = read(lengths)
    if (found < 0).any():
        raise ShapeError("[segment_reduce] lengths contains negative value!")
    if (found.sum(-1) != size).any():
        raise ShapeError("[segment_reduce] Expected all rows of lengths along axis to sum to "
                         f"data.size(lengths.dim()-1) = {size} when !unsafe.")


def _folded(
    data: Tensor, segment: Tensor, sizes: Tensor, axis: int, reduce: str, initial: float | None
) -> Tensor:
    fold, nothing = _FOLDS[reduce]
    trailing: Sequence[int] = data.shape[axis + 1 :]
    spread = (*segment.shape, *(1,) * len(trailing))
    shape = (*data.shape[:axis], sizes.shape[-1] + 1, *trailing)
    begin = full(shape, nothing if initial is None else initial, dtype=data.dtype, device=data.device)
    index = segment.to(dtypes.int64).reshape(spread).expand(data.shape)
    found = begin.scatter_reduce(axis, index, data, fold).narrow(axis, 0, sizes.shape[-1])
    if reduce != "mean":
        return found
    count = sizes.reshape((*sizes.shape, *(1,) * len(trailing))).to(data.dtype)
    return found / count if initial is None else where(count > 0, found / count.clamp(min=1), found)
