"""PyTorch's names that have nothing to do here: the ones that can be ignored are accepted, the others say
what to do instead. `tables.py` has a row for each; this file finds them, and modules under paths that are
PyTorch's alone (`paths.py`).

A module that is in the tables alone exists like any other (`import lazygrad.fx`). A module of lazygrad's own
looks up what it lacks there, by `__getattr__ = names_of(__name__)`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any

from lazygrad.inert.kinds import OTHERS
from lazygrad.inert.paths import PATHS, elsewhere
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
        below = f"{module}.{name}"
        if below in _tables() or below in LOADED or below.removeprefix("lazygrad.") in PATHS:
            return importlib.import_module(below)
        if module.removeprefix("lazygrad.") in PATHS:
            with suppress(AttributeError):
                return elsewhere(module, name)
        if module.startswith(MANY_PROCESSES):
            return of_many_processes(module, name)
        if OTHERS in row:
            return row[OTHERS]
        theirs = module.replace("lazygrad", "torch", 1)
        raise AttributeError(f"module {module!r} has no attribute {name!r}: lazygrad lacks {theirs}.{name}")

    return find


# modules below single files, which are therefore packages too: loading a file loads no tables
_WITH_PARTS = {f"lazygrad.{name.rpartition('.')[0]}" for name in PATHS if "." in name}
_WITH_PARTS |= {"lazygrad.jit", "lazygrad.profiler", "lazygrad.multiprocessing"}


class _OwnLoader(SourceFileLoader):
    """Loads a file of lazygrad's; what the module lacks is looked up in the tables from then on."""

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        vars(module).setdefault("__getattr__", names_of(module.__name__))


class OwnFinder(MetaPathFinder):
    """Finds lazygrad's own files, for modules that say what lazygrad lacks of PyTorch's of that name."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """The spec of a file; None for anything else."""
        if not fullname.startswith("lazygrad.") or fullname.startswith("lazygrad.inert"):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or type(spec.loader) is not SourceFileLoader:
            return None
        spec.loader = _OwnLoader(spec.loader.name, spec.loader.path)
        if spec.submodule_search_locations is None and fullname in _WITH_PARTS:
            spec.submodule_search_locations = []
        return spec


class InertFinder(MetaPathFinder, Loader):
    """Makes the modules that are in the tables alone, and those for many processes."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """The spec of a module of the tables; None for any other."""
        if not fullname.startswith("lazygrad.") or fullname.startswith("lazygrad.inert"):
            return None
        known = fullname.startswith(MANY_PROCESSES) or fullname.removeprefix("lazygrad.") in PATHS
        known = known or fullname in _tables()
        return ModuleSpec(fullname, self, is_package=True) if known else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """An empty module."""
        return ModuleType(spec.name, "Names of PyTorch's that have nothing to do here.")

    def exec_module(self, module: ModuleType) -> None:
        """Give the module its names."""
        module.__path__ = []
        module.__dict__.update(_tables().get(module.__name__, {}))
        module.__dict__["__getattr__"] = names_of(module.__name__)
