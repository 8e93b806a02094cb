"""PyTorch's `ops`: operators under the names of aten, whichever overload is asked for, and operators that
packages have compiled for PyTorch and that are written here."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from lazygrad.errors import UnsupportedError


def _slice(self: Any, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Any:
    return self[(slice(None),) * (dim % max(self.ndim, 1)) + (slice(start, end, step),)]


def _native_dropout_backward(grad_output: Any, mask: Any, scale: float) -> Any:
    return grad_output * (mask.to(grad_output.dtype) * scale)


def _max_pool2d_with_indices_backward(
    grad_output: Any, self: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool,
    indices: Any,
) -> Any:
    shape = (*self.shape[:-2], self.shape[-2] * self.shape[-1])
    zeros = self.new_zeros(shape)
    return zeros.scatter_add(-1, indices.flatten(-2), grad_output.flatten(-2)).reshape(self.shape)


# operators that stand in `ops.aten` alone
_ONLY_HERE: dict[str, Callable[..., Any]] = {
    "slice": _slice,
    "native_dropout_backward": _native_dropout_backward,
    "max_pool2d_with_indices_backward": _max_pool2d_with_indices_backward,
}


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
        function = _ONLY_HERE.get(self._opname) or getattr(lazygrad, self._opname, None)
        function = function or getattr(lazygrad.Tensor, self._opname, None)
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


class BuiltIn:
    """An operator that a package has compiled for PyTorch, written here: a function of tensors with
    derivatives."""

    def __init__(self, space: str, function: Callable[..., Any]):
        functools.update_wrapper(self, function)
        self._opname = function.__name__
        self.space, self.function = space, function

    @property
    def default(self) -> BuiltIn:
        """The only overload: the operator itself."""
        return self

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self.function(*args, **options)

    def __repr__(self) -> str:
        return f"<operator {self}>"

    def __str__(self) -> str:
        return f"{self.space}.{self._opname}"
