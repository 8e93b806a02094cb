"""Modules whose parameters are not given initial values."""

from __future__ import annotations

import inspect
from typing import Any

from lazygrad.errors import ArgumentError
from lazygrad.nn.module import Module
from lazygrad.tensors.signatures import check_all


def skip_init(module_cls: Any, *args: Any, **kwargs: Any) -> Any:
    """A module of a class that takes `device`, with parameters of any value."""
    if not issubclass(module_cls, Module):
        raise ArgumentError(f"[skip_init] Expected a Module; got {module_cls}")
    if "device" not in inspect.signature(module_cls).parameters:
        raise ArgumentError("[skip_init] Module must support a 'device' arg to skip initialization")
    # nothing has been computed yet: what initial values would be is forgotten
    return module_cls(*args, **kwargs).to_empty(device=kwargs.get("device", "cpu"))


check_all(globals())
