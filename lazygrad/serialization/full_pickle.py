"""Reading with `weights_only=False`: pickle as Python has it, which can run any code that the file names. For
files that the user made, or trusts as code."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable
from typing import Any

from lazygrad.nn.parameter import Parameter
from lazygrad.serialization.pickle_reader import set_state
from lazygrad.serialization.rebuild import NAMES, rebuild_from_type
from lazygrad.serialization.sources import Cursor
from lazygrad.tensors import Tensor

_RENAMED = {"torch.tensor": "torch._tensor"}
# where a class of PyTorch may be found here, by the beginning of its module's name
_PLACES = (("torch.nn.", "lazygrad.nn"), ("torch.optim.lr_scheduler", "lazygrad.optim.lr_scheduler"),
           ("torch.optim", "lazygrad.optim"), ("torch", "lazygrad"))


def _rebuild_any_type(function: Any, kind: Any, args: Any, state: Any) -> Any:
    if kind in (Tensor, Parameter):
        return rebuild_from_type(function, kind, args, state)
    made = Tensor._make_subclass(kind, function(*args))
    set_state(made, state)
    return made


class _Reader(io.RawIOBase):
    """A cursor as pickle wants to see it."""

    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor

    def read(self, count: int = -1) -> bytes:
        return self.cursor.read(self.cursor.left if count < 0 else count)

    def readinto(self, into: Any) -> int:
        into[:] = self.cursor.read(len(into))
        return len(into)

    def readline(self, size: int | None = -1) -> bytes:
        return self.cursor.line() + b"\n"


def fully(pickle_module: Any, **options: Any) -> Callable[[Cursor, Callable[[Any], Any]], Any]:
    """Reading with the Unpickler of a module (pickle, dill, ...), whose names of PyTorch are lazygrad's."""

    class Reader(pickle_module.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            return _found(_RENAMED.get(module, module), name, super().find_class)

    def read(cursor: Cursor, persistent: Callable[[Any], Any]) -> Any:
        reader: Any = Reader(_Reader(cursor), **options)
        reader.persistent_load = persistent
        return reader.load()

    return read


def _found(module: str, name: str, find: Callable[[str, str], Any]) -> Any:
    path = f"{module}.{name}"
    if path == "torch._tensor._rebuild_from_type_v2":
        return _rebuild_any_type
    if path in NAMES.values and module.partition(".")[0] == "torch":
        return NAMES.values[path]
    places = [f"lazygrad{module.removeprefix('torch')}"] if module.startswith("torch.") else []
    places += [place for beginning, place in _PLACES if f"{module}.".startswith(f"{beginning.rstrip('.')}.")]
    for place in places:
        known = getattr(_imported(place), name, None)
        if known is not None:
            return known
    return find(module, name)


def _imported(path: str) -> Any:
    """A module, or nothing where there is none of that name."""
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        return None


