"""Keywords that many functions share: NumPy's names, `axis` for `dim` and `keepdims` for `keepdim`, which
PyTorch takes everywhere; Python's types for dtypes; and types and layouts that there are not, which are
refused."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from lazygrad import dtypes
from lazygrad.errors import ArgumentTypeError
from lazygrad.missing import check_layout, check_type

_NAMES = {"axis": "dim", "keepdims": "keepdim"}
OF_PYTHON = {bool: dtypes.bool_, int: dtypes.int64, float: dtypes.float64}


def with_shared_keywords(name: str, definition: Callable[..., Any]) -> Callable[..., Any]:
    """A definition that has such arguments, taking them under both names and refusing kinds of tensors that
    there are not; others as they are."""
    own = inspect.signature(definition).parameters
    names = {other: known for other, known in _NAMES.items() if known in own and other not in own}
    if not names and "dtype" not in own and "layout" not in own:
        return definition

    @functools.wraps(definition)
    def call(*args: Any, **named: Any) -> Any:
        if named:
            named = {names.get(key, key): value for key, value in named.items()}
            dtype = named.get("dtype")
            if isinstance(dtype, type | str) and name != "type":
                named["dtype"] = _dtype_of(name, dtype)
            check_type(name, dtype)
            check_layout(name, named.get("layout"))
        return definition(*args, **named)

    return call


def _dtype_of(name: str, given: type | str) -> Any:
    if given not in OF_PYTHON:
        raise ArgumentTypeError(
            f"[{name}] argument 'dtype' must be a dtype such as lazygrad.float32, or bool, int or float, "
            f"not {given!r}"
        )
    return OF_PYTHON[given]
