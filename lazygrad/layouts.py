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

    def __call__(cls, *args: Any, device: Any = None) -> Tensor:
        made = Tensor.__new__(Tensor, *args, device=device, dtype=cls.dtype)  # type: ignore[call-arg]
        return made if cls.place is None else made.to(cls.place)

    def __instancecheck__(cls, value: Any) -> bool:
        if not isinstance(value, Tensor) or value.dtype is not cls.dtype:
            return False
        return (value.device.type == "cl") == (cls.place is not None)

    def __repr__(cls) -> str:
        return f"<class '{dtypes.shown_package}.{cls.__name__}'>"


_LEGACY = {
    "FloatTensor": dtypes.float32, "DoubleTensor": dtypes.float64, "HalfTensor": dtypes.float16,
    "BFloat16Tensor": dtypes.bfloat16, "LongTensor": dtypes.int64, "IntTensor": dtypes.int32,
    "ShortTensor": dtypes.int16, "CharTensor": dtypes.int8, "ByteTensor": dtypes.uint8,
    "BoolTensor": dtypes.bool_,
}  # fmt: skip


def legacy_types(place: str | None) -> dict[str, Any]:
    """The legacy classes of tensors on the default device, or on another one."""
    return {
        name: tensortype(
            name, (), {"dtype": dtype, "place": place, "__doc__": f"Makes tensors of {dtype.name}."}
        )
        for name, dtype in _LEGACY.items()
    }


NAMED: dict[str, Any] = {**missing.NAMED, **legacy_types(None)}
layout, memory_format = missing.layout, missing.memory_format


def __getattr__(name: str) -> Any:
    if name in NAMED:
        return NAMED[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
