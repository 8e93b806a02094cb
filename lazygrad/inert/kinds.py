"""The kinds of rows in the tables of inert names: what is ignored, what gives things back, what refuses."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from lazygrad.errors import UnsupportedError

OTHERS = "*"  # the name of a row that stands for all names that a module's other rows lack


def ignored(result: Any = None) -> Callable[..., Any]:
    """A function that takes anything, does nothing, and returns `result`."""

    def nothing(*args: Any, **options: Any) -> Any:
        return result

    return nothing


def same(value: Any = None, *args: Any, **options: Any) -> Any:
    """What it is given: a decorator, with or without arguments, that changes nothing."""
    return value if callable(value) else lambda decorated: decorated


class Nothing:
    """A context manager, decorator and object to call methods of, which all do nothing."""

    def __init__(self, *args: Any, **options: Any):
        pass

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __or__(self, other: Any) -> Any:
        return self

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*args: Any, **options: Any) -> Any:
            return function(*args, **options)

        return run


def nothing(name: str, **methods: Any) -> type:
    """A class like Nothing, with methods that return these values."""
    return type(
        name,
        (Nothing,),
        {"__doc__": f"Does nothing: {name}.", **{key: ignored(value) for key, value in methods.items()}},
    )


def refused(
    name: str, instead: str, error: type[UnsupportedError] = UnsupportedError
) -> Callable[..., Any]:
    """A function that raises an UnsupportedError, saying what to do instead."""

    def refuse(*args: Any, **options: Any) -> Any:
        raise error(f"[{name}] {instead}")

    refuse.__name__ = name.rpartition(".")[2]
    refuse.instead = instead  # type: ignore[attr-defined]
    return refuse


def kind(name: str, instead: str) -> Any:
    """A class that can be named, asked about and derived from; making one raises UnsupportedError, and so
    does entering one of a derived class as a context."""
    refuse = refused(name, instead)
    rows = {"__init__": refuse, "__enter__": refuse, "__doc__": instead, "instead": instead,
            "__class_getitem__": classmethod(lambda cls, item: cls)}  # annotations may have arguments
    return type(name.rpartition(".")[2], (), rows)


def mode(name: str, instead: str) -> Any:
    """A class of contexts that can be named, derived from and made; entering one raises UnsupportedError."""
    refuse = refused(name, instead)
    rows = {"__enter__": refuse, "__exit__": ignored(None), "__doc__": instead, "instead": instead}
    return type(name.rpartition(".")[2], (), rows)


def each(names: str, make: Callable[..., Any], *args: Any) -> dict[str, Any]:
    """A row for each name of a list, made by a kind that does not ask for it."""
    return {name: make(*args) for name in names.split()}


def each_named(prefix: str, names: str, make: Callable[..., Any], instead: str) -> dict[str, Any]:
    """A row for each name of a list, made by a kind that tells its name."""
    return {name: make(f"{prefix}.{name}", instead) for name in names.split()}
