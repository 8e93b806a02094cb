"""Layouts, memory formats, types that there are not, and the legacy classes of tensors (`FloatTensor`
...), by name."""

from __future__ import annotations

from typing import Any

from lazygrad import dtypes, missing
from lazygrad.dtypes import DType
from lazygrad.tensors.core import Tensor


class tensortype(type):
    """The type of the legacy classes: calling one makes a Tensor, and being an instance means having its
    dtype."""

    dtype: DType
    place: str | None
    layout = missing.LAYOUTS["strided"]

    @property
    def is_cuda(cls) -> bool:
        """Whether its tensors are on a device of their own."""
        return cls.place is not None

    def __call__(cls, *args: Any, device: Any = None, **named: Any) -> Tensor:
        named |= {"device": device, "dtype": cls.dtype}
        made = Tensor.__new__(Tensor, *args, **named)
        return made if cls.place is None else made.to(cls.place)

    def __instancecheck__(cls, value: Any) -> bool:
        if not isinstance(value, Tensor) or value.dtype is not cls.dtype:
            return False
        return (value.device.type == "cl") == (cls.place is not None)

    def __repr__(cls) -> str:
        return f"<class '{dtypes.shown_package}.{cls.__name__}'>"


def legacy_types(place: str | None) -> dict[str, Any]:
    """The legacy classes of tensors on the default device, or on another one."""
    return {
        f"{name}Tensor": tensortype(
            f"{name}Tensor",
            (),
            {
                "dtype": dtype,
                "place": place,
                "__doc__": f"Makes tensors of {dtype.name}.",
                "__module__": "lazygrad" if place is None else f"lazygrad.{place}",
            },
        )
        for name, dtype in dtypes.LEGACY_NAMES.items()
    }


NAMED: dict[str, Any] = {**missing.NAMED, **legacy_types(None)}
layout, memory_format = missing.layout, missing.memory_format


def __getattr__(name: str) -> Any:
    if name in NAMED:
        return NAMED[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
