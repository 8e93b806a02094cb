"""Kinds of numbers and tensors that PyTorch has and lazygrad has not: what to do instead, and their types,
which can be named and compared with, not computed with."""

from __future__ import annotations

from typing import Any, NoReturn

from lazygrad import dtypes
from lazygrad.errors import DTypeError, UnsupportedError

NO_COMPLEX = "there are no complex tensors here: keep real and imaginary parts in two tensors"
NO_SPARSE = (
    "there are no sparse tensors here: use a dense one (.to_dense()), or indices with scatter_add and "
    "index_select"
)
NO_NESTED = (
    "there are no nested tensors here: pad the parts to one length "
    "(nn.utils.rnn.pad_sequence) and keep a mask"
)
NO_QUANTIZED = "there are no quantized tensors here: compute in float16 or bfloat16"
NO_NARROW = "there are no numbers of 8 bits or fewer here but int8 and uint8: compute in float16 or bfloat16"


def refuse(name: str, instead: str) -> NoReturn:
    """Raises UnsupportedError: what was asked for, and what to do instead."""
    raise UnsupportedError(f"[{name}] {instead}")


class Named:
    """A thing of which nothing but the name matters."""

    def __init__(self, name: str):
        self.name = name

    def __repr__(self) -> str:
        return f"{dtypes.shown_package}.{self.name}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _of_name, (self.name,)


class layout(Named):
    """How a tensor's elements are stored: all are `strided`."""


class memory_format(Named):
    """An order of elements in memory that code may wish for; lazygrad chooses its own."""


class qscheme(Named):
    """A way to quantize, for code that names one."""


_ASKED_OF_TYPES = frozenset("kind bits numpy storage min max accumulator is_integer".split())


class MissingType(Named):
    """A type of PyTorch's that no tensor has here: it can be compared with, not computed with. What asks it
    for more raises UnsupportedError."""

    def __init__(self, name: str, itemsize: int, instead: str):
        super().__init__(name)
        self.itemsize, self.instead = itemsize, instead
        self.is_complex = name.startswith("complex")
        self.is_floating_point = name.startswith("float")
        self.is_signed = not name.startswith(("quint", "uint", "bits", "float8_e8m0"))

    def __getattr__(self, name: str) -> Any:
        if name in _ASKED_OF_TYPES:
            refuse(f"{self!r}", self.instead)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


LAYOUTS = {
    n: layout(n)
    for n in "strided sparse_coo sparse_csr sparse_csc sparse_bsr sparse_bsc jagged _mkldnn".split()
}
FORMATS = {
    n: memory_format(n) for n in "contiguous_format preserve_format channels_last channels_last_3d".split()
}
SCHEMES = {
    n: qscheme(n)
    for n in (
        "per_tensor_affine per_channel_affine per_tensor_symmetric per_channel_symmetric "
        "per_channel_affine_float_qparams"
    ).split()
}
TYPES = {
    **{f"complex{n}": MissingType(f"complex{n}", n // 8, NO_COMPLEX) for n in (32, 64, 128)},
    **{n: MissingType(n, 1, NO_QUANTIZED) for n in "qint8 quint8 quint4x2 quint2x4".split()},
    "qint32": MissingType("qint32", 4, NO_QUANTIZED),
    **{
        n: MissingType(n, 1, NO_NARROW)
        for n in (
            "float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz float8_e8m0fnu float4_e2m1fn_x2 "
            "uint1 uint2 uint3 uint4 uint5 uint6 uint7 int1 int2 int3 int4 int5 int6 int7 "
            "bits1x8 bits2x4 bits4x2 bits8"
        ).split()
    },
    "bits16": MissingType("bits16", 2, NO_NARROW),
}
_COMPLEX_OF = {"float16": "complex32", "float32": "complex64", "float64": "complex128"}
TYPES |= {"chalf": TYPES["complex32"], "cfloat": TYPES["complex64"], "cdouble": TYPES["complex128"]}
NAMED: dict[str, Any] = {**LAYOUTS, **FORMATS, **SCHEMES, **TYPES}


def _of_name(name: str) -> Any:
    return NAMED[name]


def check_type(name: str, dtype: Any) -> None:
    """Raises UnsupportedError for a type that there is not."""
    if isinstance(dtype, MissingType):
        refuse(name, dtype.instead)


def check_layout(name: str, wanted: Any) -> None:
    """Raises UnsupportedError for a layout other than the one that there is."""
    if isinstance(wanted, layout) and wanted is not LAYOUTS["strided"]:
        refuse(name, NO_NESTED if wanted is LAYOUTS["jagged"] else NO_SPARSE)


def _to_complex(dtype: dtypes.DType) -> MissingType:
    """The complex type of as many digits, which can be named. Raises DTypeError for others than floats."""
    if dtype.name not in _COMPLEX_OF:
        raise DTypeError(f"[to_complex] Unknown Complex ScalarType for {dtype!r}: only float types have one")
    return TYPES[_COMPLEX_OF[dtype.name]]


dtypes.DType.to_complex = _to_complex  # type: ignore[attr-defined]
