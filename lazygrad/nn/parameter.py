"""`Parameter` and `Buffer`: tensors that a module registers when they are assigned to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lazygrad
from lazygrad.tensors import Tensor


class Parameter(Tensor):
    """A tensor that belongs to a module's parameters; it shares the storage of `data`.

    `data` is any tensor (None: an empty one). Only floating-point data can require a gradient.
    """

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Parameter:
        return Tensor._make_subclass(cls, lazygrad.empty(0) if data is None else data, requires_grad)

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True) -> None:
        # __new__ made the whole tensor; the base class must not set it up again
        pass

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()

    __str__ = __repr__


def parameter_if(wanted: bool, shape: Sequence[int], device: Any, dtype: Any) -> Parameter | None:
    """A parameter of a shape whose values are still to be set, or None where it is not wanted."""
    return Parameter(lazygrad.empty(shape, device=device, dtype=dtype)) if wanted else None


class _BufferType(type(Tensor)):  # type: ignore[misc]
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, Tensor) and getattr(instance, "_is_buffer", False)


class Buffer(Tensor, metaclass=_BufferType):
    """A tensor that belongs to a module's state without being trained.

    Returns a plain tensor that shares the storage of `data` and is registered as a buffer when it is assigned
    to a module; `persistent=False` keeps it out of the state dict.
    """

    def __new__(cls, data: Tensor | None = None, *, persistent: bool = True) -> Any:
        shown = (lazygrad.empty(0) if data is None else data).detach()
        result: Any = shown.requires_grad_(data is not None and data.requires_grad)
        result.persistent = persistent
        result._is_buffer = True
        return result
