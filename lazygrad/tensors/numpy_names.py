"""NumPy's names of arguments, which PyTorch takes everywhere: `axis` for `dim`, `keepdims` for `keepdim`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

_NAMES = {"axis": "dim", "keepdims": "keepdim"}


def with_numpy_names(definition: Callable[..., Any]) -> Callable[..., Any]:
    """A definition that has such arguments, taking them under both names; others as they are."""
    own = inspect.signature(definition).parameters
    names = {other: name for other, name in _NAMES.items() if name in own and other not in own}
    if not names:
        return definition

    @functools.wraps(definition)
    def call(*args: Any, **named: Any) -> Any:
        if named:
            named = {names.get(name, name): value for name, value in named.items()}
        return definition(*args, **named)

    return call
