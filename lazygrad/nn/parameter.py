"""`Parameter` and `Buffer`: tensors that a module registers when they are assigned to it; and both before
their shape is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lazygrad
from lazygrad.errors import ArgumentError, WrongObjectError
from lazygrad.tensors import Tensor
from lazygrad.tensors.conversion import deep_copy, own_attributes


def _check_tensor(name: str, data: Any) -> None:
    if data is not None and not isinstance(data, Tensor):
        kind = type(data).__name__
        raise WrongObjectError(
            f"[{name}] data must be Tensor or None, not {kind}: make one with tensor(data)"
        )


class Parameter(Tensor):
    """A tensor that belongs to a module's parameters; it shares the storage of `data`.

    `data` is any tensor (None: an empty one). Only floating-point data can require a gradient.
    """

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Parameter:
        _check_tensor("Parameter", data)
        return Tensor._make_subclass(cls, lazygrad.empty(0) if data is None else data, requires_grad)

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True) -> None:
        # __new__ made the whole tensor; the base class must not set it up again
        pass

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        known = id(self) in memo
        made = deep_copy(self, memo)
        if not known:  # of a parameter PyTorch copies the values alone
            made._grad = None
            for name in made.__dict__.keys() - own_attributes:
                del made.__dict__[name]
        return made

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
        _check_tensor("Buffer", data)
        shown = (lazygrad.empty(0) if data is None else data).detach()
        result: Any = shown.requires_grad_(data is not None and data.requires_grad)
        result.persistent = persistent
        result._is_buffer = True
        return result


class UninitializedTensorMixin:
    """A tensor whose shape is not known yet."""

    _final: type = Tensor

    def materialize(self: Any, shape: Any, device: Any = None, dtype: Any = None) -> None:
        """Give the tensor a shape; its values are still to be set."""
        self.data = lazygrad.empty(shape, device=device or self.device, dtype=dtype or self.dtype)
        self.__class__ = self._final

    @property
    def shape(self) -> Any:
        """RuntimeError: it is not known."""
        raise ArgumentError(
            "[lazy] Can't access the shape of an uninitialized parameter or buffer. This error usually "
            "happens in "
            "`load_state_dict` when trying to load an uninitialized parameter into an initialized one. "
            "Call `forward` "
            "to initialize the parameters before accessing their attributes."
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    __str__ = __repr__


class UninitializedParameter(UninitializedTensorMixin, Parameter):
    """A parameter whose shape is not known yet; `materialize` makes it a Parameter."""

    _final = Parameter

    def __new__(cls, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> Any:
        return Tensor._make_subclass(cls, lazygrad.empty(0, device=device, dtype=dtype), requires_grad)

    def __init__(self, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> None:
        # __new__ made the whole tensor
        pass

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        made = type(self)(self.requires_grad, self.device, self.dtype)
        memo[id(self)] = made
        return made


class UninitializedBuffer(UninitializedTensorMixin, Tensor):
    """A buffer whose shape is not known yet; `materialize` makes it a Tensor."""

    def __new__(
        cls, requires_grad: bool = False, device: Any = None, dtype: Any = None, persistent: bool = True
    ) -> Any:
        made = Tensor._make_subclass(cls, lazygrad.empty(0, device=device, dtype=dtype), requires_grad)
        made.persistent, made._is_buffer = persistent, True
        return made

    def __init__(
        self, requires_grad: bool = False, device: Any = None, dtype: Any = None, persistent: bool = True
    ) -> None:
        # __new__ made the whole tensor
        pass


def is_lazy(param: Any) -> bool:
    """Whether a parameter or buffer has no shape yet."""
    return isinstance(param, UninitializedTensorMixin)
