"""`finfo` and `iinfo`: what a type can hold."""

from __future__ import annotations

from lazygrad.dtypes import DType
from lazygrad.errors import ArgumentTypeError
from lazygrad.tensors import promotion
from lazygrad.tensors.core import creator

# (digits of the fraction, least exponent of a normal number, greatest finite value)
_FLOATS = {
    "float16": (10, -14, 65504.0),
    "bfloat16": (7, -126, 3.3895313892515355e38),
    "float32": (23, -126, 3.4028234663852886e38),
    "float64": (52, -1022, 1.7976931348623157e308),
}


@creator("finfo")
class finfo:
    """Limits of a float type, the default one where none is given. Raises ArgumentTypeError for other
    types."""

    def __init__(self, type: DType | None = None):
        d = type or promotion.get_default_dtype()
        if d.name not in _FLOATS:
            raise ArgumentTypeError(
                f"[finfo] finfo requires a floating point input type, not {d!r}. Use iinfo instead"
            )
        fraction, exponent, self.max = _FLOATS[d.name]
        self.dtype, self.bits, self.min = d.name, d.bits, -self.max
        self.eps = 2.0**-fraction
        self.tiny = self.smallest_normal = 2.0**exponent
        self.resolution = {10: 1e-3, 7: 1e-2, 23: 1e-6, 52: 1e-15}[fraction]

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
