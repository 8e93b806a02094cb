"""Modules applied to inputs of their own, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lazygrad.nn.module import Module


def parallel_apply(modules: Sequence[Module], inputs: Sequence[Any], kwargs_tup: Sequence[dict] | None = None,
                   devices: Sequence[Any] | None = None) -> list[Any]:
    """The output of each module for its inputs, one after the other."""
    kwargs = kwargs_tup or ({},) * len(modules)
    given = [i if isinstance(i, list | tuple) else (i,) for i in inputs]
    return [m(*args, **named) for m, args, named in zip(modules, given, kwargs, strict=True)]
