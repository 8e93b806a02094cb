"""The class Tensor as a constructor, by itself and under the names of the legacy classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from lazygrad.dtypes import DType
from lazygrad.errors import ArgumentError, ArgumentTypeError, DTypeError
from lazygrad.tensors import promotion
from lazygrad.tensors.axes import sizes_of
from lazygrad.tensors.core import Size, Tensor, view_of
from lazygrad.tensors.creation import filled, tensor
from lazygrad.tensors.storage import strided_tensor


def _new(cls: type, *args: Any, device: Any = None, dtype: DType | None = None, **named: Any) -> Tensor:
    """`Tensor(2, 3)`: an empty tensor of a shape; `Tensor([1, 2])`: these numbers; both of the default float
    type. `Tensor(tensor)`: a view of it; `Tensor(storage)`: its elements. Raises ArgumentTypeError for one
    number that is no size, and for a tensor of another type than a legacy class has; ArgumentError
    for a tensor with a device."""
    if named:
        args = _named(args, named)
    if len(args) == 1 and isinstance(args[0], Tensor):
        return _view_as(cls, args[0], device, dtype)
    dtype = dtype or promotion.get_default_dtype()
    if len(args) == 1 and hasattr(args[0], "untyped"):
        return Tensor._make_subclass(cls, _over(args[0], dtype))
    if len(args) == 1 and (args[0] is None or isinstance(args[0], bool | float | dict)):
        raise ArgumentTypeError(f"[Tensor] data must be a sequence (got {type(args[0]).__name__}): "
                                "tensor(...) takes one number")
    if len(args) == 1 and (isinstance(args[0], np.ndarray) or not hasattr(args[0], "__index__")):
        if isinstance(args[0], Size):
            return Tensor._make_subclass(cls, filled("Tensor", args[0], 0, dtype, device, False))
        return Tensor._make_subclass(cls, tensor(args[0], dtype=dtype, device=device))
    shape = sizes_of("Tensor", args or (0,))
    return Tensor._make_subclass(cls, filled("Tensor", shape, 0, dtype, device, False))


def _named(args: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
    """What was given by one of the names of the only argument."""
    name, value = next(iter(named.items()))
    if args or len(named) > 1 or name not in ("data", "size", "other", "storage"):
        raise ArgumentTypeError("[Tensor] received an invalid combination of arguments - got "
                                f"{len(args)} and {', '.join(named)}: expected sizes, or one of data, size, "
                                "other, storage")
    return (Size(value),) if name == "size" else (value,)


def _over(storage: Any, dtype: DType) -> Tensor:
    kind = getattr(storage, "dtype", dtype)
    if kind is not dtype:
        raise DTypeError(f"[Tensor] Expected a Storage of {dtype!r} or an UntypedStorage, but got type "
                         f"{kind!r}: use the legacy class of that type")
    untyped = storage.untyped()
    return strided_tensor(untyped, dtype, (untyped.nbytes() // dtype.itemsize,), (1,), 0)


def _view_as(cls: type, x: Tensor, device: Any, dtype: DType | None) -> Tensor:
    if device is not None:
        raise ArgumentError(
            "[Tensor] Legacy tensor constructor of the form Tensor(tensor, device=device) is not supported: "
            "use x.to(device), tensor(...) or as_tensor(...)"
        )
    if dtype is not None and dtype is not x._dtype:
        raise ArgumentTypeError(f"[Tensor] expected a tensor of {dtype!r}, but got one of {x._dtype!r}: "
                                "convert it with .to()")
    return view_of(x, [], x._shape, x._strides) if cls is Tensor else Tensor._make_subclass(cls, x)


Tensor.__new__ = _new  # type: ignore[method-assign,assignment]
