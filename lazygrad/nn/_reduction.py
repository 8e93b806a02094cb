"""How losses are reduced: PyTorch's numbers for it, and the older pair of flags."""

from __future__ import annotations

from lazygrad.errors import ArgumentError
from lazygrad.nn.functional.classification_loss import reduction_of_flags, warn_of_flags

_NUMBERS = {"none": 0, "mean": 1, "elementwise_mean": 1, "sum": 2}


def get_enum(reduction: str) -> int:
    """The number of a reduction; ValueError for a name that is none."""
    if reduction not in _NUMBERS:
        raise ArgumentError(f"[reduction] {reduction} is not a valid value for reduction")
    return _NUMBERS[reduction]


def legacy_get_string(size_average: bool | None, reduce: bool | None, emit_warning: bool = True) -> str:
    """The reduction that the older pair of flags means."""
    reduction = reduction_of_flags(size_average, reduce)
    if emit_warning:
        warn_of_flags(reduction, stacklevel=3)
    return reduction


def legacy_get_enum(size_average: bool | None, reduce: bool | None, emit_warning: bool = True) -> int:
    """The number of the reduction that the older pair of flags means."""
    return get_enum(legacy_get_string(size_average, reduce, emit_warning))
