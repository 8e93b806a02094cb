"""Hooks: tables of functions that are called at some event, and the handles that take one out again."""

from __future__ import annotations

import itertools
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

HookTable = OrderedDict[int, Any]  # hooks by id, in the order in which they run
_next_id = itertools.count()


def _reference(table: Any) -> Callable[[], Any]:
    """A weak reference; of a plain dict, which has none, one that keeps it."""
    return (lambda: table) if type(table) is dict else weakref.ref(table)


class RemovableHandle:
    """What registering a hook returns; `remove()` takes the hook out again. Works as a context manager."""

    def __init__(self, hooks_dict: Any, *, extra_dict: Any = None) -> None:
        extra = extra_dict if isinstance(extra_dict, list) else [] if extra_dict is None else [extra_dict]
        self.id = next(_next_id)
        self._tables = tuple(_reference(table) for table in (hooks_dict, *extra))

    def remove(self) -> None:
        for reference in self._tables:
            table = reference()
            if table is not None:
                table.pop(self.id, None)

    def __getstate__(self) -> tuple[int, tuple]:
        return self.id, tuple(reference() for reference in self._tables)

    def __setstate__(self, state: tuple[int, tuple]) -> None:
        self.id = state[0]
        self._tables = tuple(_reference(OrderedDict() if t is None else t) for t in state[1])

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def hook_table() -> HookTable:
    """A table without hooks: a plain OrderedDict, as programs that take all hooks away put in its place."""
    return OrderedDict()


def register(
    hooks: HookTable, hook: Callable, prepend: bool = False, flags: tuple[tuple[HookTable, bool], ...] = ()
) -> RemovableHandle:
    """Add `hook` to a table; each of `flags` is (table, whether to note this hook in it)."""
    handle = RemovableHandle(hooks, extra_dict=[table for table, _ in flags])
    hooks[handle.id] = hook
    for table, wanted in flags:
        if wanted:
            table[handle.id] = True
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle
