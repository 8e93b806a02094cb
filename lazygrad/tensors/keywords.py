"""Keywords that many functions share: NumPy's names, `axis` for `dim` and `keepdims` for `keepdim`, which
PyTorch takes everywhere; and types and layouts that there are not, which are refused."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from lazygrad.missing import check_layout, check_type

_NAMES = {"axis": "dim", "keepdims": "keepdim"}


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
            check_type(name, named.get("dtype"))
            check_layout(name, named.get("layout"))
        return definition(*args, **named)

    return call
