"""PyTorch's `ops.aten`: the functions and methods of the same names, whichever overload is asked for."""

from __future__ import annotations

import functools
import sys
from typing import Any

from lazygrad.errors import UnsupportedError


class Operator:
    """One operator (`aten.add`) or one of its overloads (`aten.add.Tensor`): the same object each time, so
    that it can be the key of a table."""

    def __init__(self, name: str, overload: str = ""):
        self.__name__ = self._opname = name
        self._overloadname = overload

    def __getattr__(self, overload: str) -> Operator:
        if overload.startswith("__"):
            raise AttributeError(overload)
        return operator(self._opname, overload)

    def __call__(self, *args: Any, **options: Any) -> Any:
        lazygrad = sys.modules["lazygrad"]
        function = getattr(lazygrad, self._opname, None) or getattr(lazygrad.Tensor, self._opname, None)
        if function is None:
            raise UnsupportedError(f"[ops.aten.{self._opname}] there is neither a function nor a method of "
                                   "this name here: write it with tensor operations")
        return function(*args, **options)

    def __repr__(self) -> str:
        return f"<operator {self}>"

    def __str__(self) -> str:
        return ".".join(filter(None, ("aten", self._opname, self._overloadname)))


@functools.cache
def operator(name: str, overload: str = "") -> Operator:
    """The operator of a name."""
    return Operator(name, overload)


class Operators:
    """All operators by name."""

    def __getattr__(self, name: str) -> Operator:
        if name.startswith("__"):
            raise AttributeError(name)
        return operator(name)
