"""Sizes given as one number for all spatial axes or as one for each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def per_axis(value: Any, rank: int) -> tuple[Any, ...]:
    """`value` as a tuple with one entry for each of `rank` axes; an iterable is taken as it is."""
    return tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else (value,) * rank
