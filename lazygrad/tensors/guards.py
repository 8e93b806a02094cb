"""Errors of objects: what Python raises inside lazygrad's own constructors and methods becomes an error that
names the class, the method and the argument that does not fit. What user code raises passes as it is."""

from __future__ import annotations

import functools
import inspect
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import FunctionType, TracebackType
from typing import Any

import numpy as np

from lazygrad.errors import (
    ArgumentError,
    ArgumentTypeError,
    LazygradError,
    NoSuchKeyError,
    OutOfBoundsError,
    WrongObjectError,
)
from lazygrad.tensors.signatures import INSIDE, told, wanted_kind

_PACKAGE = str(Path(__file__).parent.parent)
_OURS = (_PACKAGE, str(Path(np.__file__).parent), sysconfig.get_path("stdlib"))


def _is_of_the_user(trace: TracebackType | None) -> bool:
    """Whether code outside of lazygrad, NumPy and Python has a part in an error, or it is a __getattr__'s
    answer that there is no such attribute."""
    frame = ""
    while trace is not None:
        place, frame = trace.tb_frame.f_code.co_filename, trace.tb_frame.f_code.co_name
        if "site-packages" in place.removeprefix(_OURS[1]) or not place.startswith((*_OURS, "<frozen")):
            return True
        trace = trace.tb_next
    return frame == "__getattr__"


def explain(
    problem: Exception, call: Any, args: tuple[Any, ...], named: dict[str, Any]
) -> Exception:
    """What to raise for an error that came out of a method, `args` with its object: itself, or for one of
    Python's own out of lazygrad's code one that says which argument is wrong."""
    owner = type(args[0])
    ours = call.__module__.startswith("lazygrad.") and not isinstance(problem, LazygradError)
    if not ours or _is_of_the_user(problem.__traceback__):
        return problem
    error: type[LazygradError] = ArgumentError
    if isinstance(problem, AttributeError):
        error = WrongObjectError
    elif isinstance(problem, TypeError):
        error = ArgumentTypeError
    elif isinstance(problem, LookupError):
        error = NoSuchKeyError if isinstance(problem, KeyError) else OutOfBoundsError
    title = owner.__name__ if call.__name__ == "__init__" else f"{owner.__name__}.{call.__name__}"
    return error(f"[{owner.__name__}] {title}(): {_reason(problem, call, args, named)}")


def _reason(problem: Exception, call: Any, args: tuple[Any, ...], named: dict[str, Any]) -> str:
    shown = inspect.signature(call)
    try:
        given = shown.bind(*args, **named).arguments
    except TypeError as mismatch:
        return f"{mismatch}: it takes {', '.join(list(shown.parameters)[1:]) or 'nothing'}"
    values = dict(list(given.items())[1:])
    for name, value in values.items():
        wanted = wanted_kind(shown.parameters[name], value)
        if wanted:
            return f"argument '{name}' must be {wanted}, not {told(value)}"
    together = ", ".join(f"{k}={told(v)}" for k, v in values.items())
    return f"cannot take these arguments together: {together} ({type(problem).__name__}: {problem})"


def guarded(call: Callable[..., Any]) -> Callable[..., Any]:
    """The method with its errors explained; its signature stays what it was."""

    @functools.wraps(call)
    def run(self: Any, *args: Any, **named: Any) -> Any:
        try:
            return call(self, *args, **named)
        except INSIDE as problem:
            error = explain(problem, call, (self, *args), named)
            if error is problem:
                raise
            raise error from problem

    return run


class Guarded:
    """A base for families of classes: those in lazygrad, the first one too, have the methods guarded that
    `_guarded` names; those of users stay as they are."""

    _guarded: tuple[str, ...] = ("__init__",)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.__module__.startswith("lazygrad."):
            for name in cls._guarded:
                own = cls.__dict__.get(name)
                if isinstance(own, FunctionType):
                    setattr(cls, name, guarded(own))
