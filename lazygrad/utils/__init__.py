"""PyTorch's `utils` namespace: `data`, `checkpoint` and others, loaded when they are first named."""

from __future__ import annotations

import importlib
from typing import Any

from lazygrad.inert import names_of

_MODULES = (
    "_pytree", "checkpoint", "data", "dlpack", "model_zoo", "module_tracker", "tensorboard", "weak"
)  # fmt: skip
_inert = names_of(__name__)


def __getattr__(name: str) -> Any:
    return importlib.import_module(f"lazygrad.utils.{name}") if name in _MODULES else _inert(name)
