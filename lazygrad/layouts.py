"""Layouts, memory formats, types that there are not, and the legacy classes of tensors (`FloatTensor`
...)."""

from __future__ import annotations

from typing import Any

from lazygrad import dtypes
from lazygrad.dtypes import DType
from lazygrad.tensors.core import Tensor


class _Named:
    """A thing of which nothing but the name matters."""

    def __init__(self, name: str):
        self.name = name

    def __repr__(self) -> str:
        return f"{dtypes.shown_package}.{self.name}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _of_name, (self.name,)


class layout(_Named):
    """How a tensor's elements are stored: all are `strided`."""


class memory_format(_Named):
    """An order of elements in memory that code may wish for; lazygrad chooses its own."""


class MissingType(_Named):
    """A type of PyTorch's that no tensor has here: it can be compared with, not computed with."""

    is_floating_point = is_complex = is_signed = False
    itemsize = 0


_LAYOUTS = {
    n: layout(n)
    for n in ("strided", "sparse_coo", "sparse_csr", "sparse_csc", "sparse_bsr", "jagged", "_mkldnn")
}
_FORMATS = {
    n: memory_format(n) for n in ("contiguous_format", "preserve_format", "channels_last", "channels_last_3d")
}
_TYPES = {
    n: MissingType(n)
    for n in (
        "complex32",
        "complex64",
        "complex128",
        "qint8",
        "quint8",
        "qint32",
        "quint4x2",
        "float8_e4m3fn",
        "float8_e5m2",
        "float8_e4m3fnuz",
        "float8_e5m2fnuz",
        "float8_e8m0fnu",
        "uint4",
        "int4",
        "bits8",
    )
}
_TYPES |= {"chalf": _TYPES["complex32"], "cfloat": _TYPES["complex64"], "cdouble": _TYPES["complex128"]}
NAMED: dict[str, Any] = {**_LAYOUTS, **_FORMATS, **_TYPES}


def _of_name(name: str) -> Any:
    return NAMED[name]


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


NAMED |= legacy_types(None)


def __getattr__(name: str) -> Any:
    if name in NAMED:
        return NAMED[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
