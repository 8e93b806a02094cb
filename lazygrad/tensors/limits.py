"""`finfo` and `iinfo`: what a type can hold."""

from __future__ import annotations

from typing import Any

from lazygrad.dtypes import DType
from lazygrad.errors import ArgumentTypeError
from lazygrad.tensors import promotion
from lazygrad.tensors.core import creator

# bits, digits of the fraction, least exponent of a normal number, greatest finite value, resolution; types
# that tensors do not have here are among them, because programs ask for their limits all the same
_FLOATS = {
    "float16": (16, 10, -14, 65504.0, 1e-3),
    "bfloat16": (16, 7, -126, 3.3895313892515355e38, 1e-2),
    "float32": (32, 23, -126, 3.4028234663852886e38, 1e-6),
    "float64": (64, 52, -1022, 1.7976931348623157e308, 1e-15),
    "float8_e4m3fn": (8, 3, -6, 448.0, 1.0),
    "float8_e4m3fnuz": (8, 3, -7, 240.0, 1.0),
    "float8_e5m2": (8, 2, -14, 57344.0, 1.0),
    "float8_e5m2fnuz": (8, 3, -15, 57344.0, 1.0),  # this fraction is PyTorch's word
    "float8_e8m0fnu": (8, 0, -127, 2.0**127, 1.0),
}
_PARTS = {"complex32": "float16", "complex64": "float32", "complex128": "float64"}


@creator("finfo")
class finfo:
    """Limits of a float type, the default one where none is given; of a complex type those of its parts.
    Raises ArgumentTypeError for other types."""

    def __init__(self, type: Any = None):
        d = type or promotion.get_default_dtype()
        self.dtype = _PARTS.get(name := getattr(d, "name", ""), name)
        if self.dtype not in _FLOATS:
            raise ArgumentTypeError(
                f"[finfo] finfo requires a floating point input type, not {d!r}. Use iinfo instead"
            )
        self.bits, fraction, exponent, self.max, self.resolution = _FLOATS[self.dtype]
        self.eps = 2.0**-fraction
        self.tiny = self.smallest_normal = 2.0**exponent
        self.min = self.tiny if self.dtype == "float8_e8m0fnu" else -self.max  # that one has no sign

    def __repr__(self) -> str:
        return (
            f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, "
            f"eps={self.eps:g}, "
            f"smallest_normal={self.tiny:g}, tiny={self.tiny:g}, dtype={self.dtype})"
        )


@creator("iinfo")
class iinfo:
    """Limits of an integer type. Raises ArgumentTypeError for other types."""

    def __init__(self, type: DType):
        if not isinstance(type, DType) or not type.is_integer:
            raise ArgumentTypeError(
                f"[iinfo] iinfo requires an integer input type, not {type!r}. Use finfo instead"
            )
        self.dtype, self.bits = type.name, type.bits
        self.min, self.max = type.min, type.max

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"
