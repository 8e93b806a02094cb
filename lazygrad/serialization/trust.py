"""What the user has said of files: classes and functions that are safe to call, and the byte order of files
that do not tell theirs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any

from lazygrad.errors import ArgumentError, ArgumentTypeError, UnsafeFileError

_safe: list[Any] = []
BLOCKED = ("sys", "os", "posix", "nt")


def add_safe_globals(safe_globals: Iterable[Callable[..., Any] | tuple[Callable[..., Any], str]]) -> None:
    """Let files that are loaded with `weights_only=True` use these classes and functions, or pairs (one, its
    path in files)."""
    _safe.extend(item for item in safe_globals if item not in _safe)


def get_safe_globals() -> list[Any]:
    """What `add_safe_globals` has been given."""
    return list(_safe)


def clear_safe_globals() -> None:
    """Forget what `add_safe_globals` has been given."""
    _safe.clear()


class safe_globals:
    """`add_safe_globals` for the time of a `with`."""

    def __init__(self, safe_globals: Iterable[Any]) -> None:
        self.safe_globals = list(safe_globals)

    def __enter__(self) -> None:
        add_safe_globals(self.safe_globals)

    def __exit__(self, *_: object) -> None:
        _safe[:] = [item for item in _safe if item not in self.safe_globals]


def by_path() -> dict[str, Any]:
    """The safe globals by their paths in files. Raises ArgumentError, ArgumentTypeError for pairs that are
    none, UnsafeFileError for the modules that nothing may be taken of."""
    found: dict[str, Any] = {}
    for item in _safe:
        if isinstance(item, tuple):
            if len(item) != 2:
                raise ArgumentError(
                    "[load] Expected tuple of length 2 (global, str of callable full path), but got tuple of "
                    f"length: {len(item)}"
                )
            if type(item[1]) is not str:
                raise ArgumentTypeError(
                    "[load] Expected second item in tuple to be str of callable full path, but got: "
                    f"{type(item[1])}"
                )
            value, path = item
        else:
            value, path = item, f"{item.__module__}.{item.__qualname__}"
        if path.partition(".")[0] in BLOCKED:
            raise UnsafeFileError(f"[load] {path} can not be made safe: its module is blocked")
        found[path] = value
    return found


class LoadEndianness(Enum):
    """The byte order of files that do not tell theirs."""

    NATIVE = 1
    LITTLE = 2
    BIG = 3


_endianness: list[LoadEndianness | None] = [None]


def get_default_load_endianness() -> LoadEndianness | None:
    """The byte order that is taken for files that do not tell theirs; None: little."""
    return _endianness[0]


def set_default_load_endianness(endianness: LoadEndianness | None) -> None:
    """Set the byte order of files that do not tell theirs. Raises ArgumentTypeError."""
    if endianness is not None and not isinstance(endianness, LoadEndianness):
        raise ArgumentTypeError("[set_default_load_endianness] Invalid argument type in function")
    _endianness[0] = endianness


def default_byte_order() -> bytes:
    """b"little" or b"big" for a file that does not tell."""
    if _endianness[0] is LoadEndianness.NATIVE:
        return sys.byteorder.encode()
    return b"big" if _endianness[0] is LoadEndianness.BIG else b"little"
