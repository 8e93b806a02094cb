"""PyTorch's names that have nothing to do here: the ones that can be ignored are accepted, the others say
what to do instead. `tables.py` has a row for each; this file finds them.

A module that is in the tables alone exists like any other (`import lazygrad.fx`). A module of lazygrad's own
looks up what it lacks there, by `__getattr__ = names_of(__name__)`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from lazygrad.inert.processes import LOADED, MANY_PROCESSES, of_many_processes


def _tables() -> dict[str, dict[str, Any]]:
    return importlib.import_module("lazygrad.inert.tables").TABLES


def names_of(module: str) -> Callable[[str], Any]:
    """The `__getattr__` of a module: what the tables have for it, and modules below it. What is in neither is
    an AttributeError that says that lazygrad lacks it."""

    def find(name: str) -> Any:
        if name.startswith("__") and name != "__config__":  # what Python itself asks of modules
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        row = _tables().get(module, {})
        if name in row:
            value = row[name]
            setattr(sys.modules[module], name, value)
            return value
        if f"{module}.{name}" in _tables():
            return importlib.import_module(f"{module}.{name}")
        if f"{module}.{name}" in LOADED:
            return importlib.import_module(f"{module}.{name}")
        if module.startswith(MANY_PROCESSES):
            return of_many_processes(module, name)
        theirs = module.replace("lazygrad", "torch", 1)
        raise AttributeError(f"module {module!r} has no attribute {name!r}: lazygrad lacks {theirs}.{name}")

    return find


class InertFinder(MetaPathFinder, Loader):
    """Makes the modules that are in the tables alone, and those for many processes."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """The spec of a module of the tables; None for any other."""
        if not fullname.startswith("lazygrad.") or fullname.startswith("lazygrad.inert"):
            return None
        known = fullname.startswith(MANY_PROCESSES) or fullname in _tables()
        return ModuleSpec(fullname, self, is_package=True) if known else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """An empty module."""
        return ModuleType(spec.name, "Names of PyTorch's that have nothing to do here.")

    def exec_module(self, module: ModuleType) -> None:
        """Give the module its names."""
        module.__path__ = []
        module.__dict__.update(_tables().get(module.__name__, {}))
        module.__dict__["__getattr__"] = names_of(module.__name__)
