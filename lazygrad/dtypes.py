"""Element types and PyTorch's promotion rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lazygrad.errors import DTypeError

shown_package = "lazygrad"  # under which types and shapes print; `as_torch` makes it "torch"


@dataclass(frozen=True, eq=False)
class DType:
    """One element type, compared by identity. `kind` is "bool", "uint", "int" or "float";
    `itemsize` is in bytes."""

    name: str
    kind: str
    itemsize: int

    def __repr__(self) -> str:
        return f"{shown_package}.{self.name}"

    def __reduce__(self) -> tuple[Callable[[str], DType], tuple[str]]:
        return by_name, (self.name,)  # copies and pickles are the type itself

    @property
    def is_floating_point(self) -> bool:
        return self.kind == "float"

    @property
    def is_complex(self) -> bool:
        return False

    def to_real(self) -> DType:
        """The type itself: all are real."""
        return self

    @property
    def is_signed(self) -> bool:
        return self.kind in ("int", "float")

    @property
    def is_integer(self) -> bool:
        """True for signed and unsigned integers, not for bool."""
        return self.kind in ("int", "uint")

    @property
    def bits(self) -> int:
        return 8 * self.itemsize

    @property
    def numpy(self) -> np.dtype:
        """The NumPy type that holds values of this type while they are computed (bfloat16 lives in
        float32)."""
        return np.dtype("float32" if self is bfloat16 else self.name)

    @property
    def storage(self) -> np.dtype:
        """The NumPy type of the bits in memory (bfloat16 is stored as uint16)."""
        return np.dtype("uint16" if self is bfloat16 else self.name)

    @property
    def min(self) -> int | float | bool:
        """The least value; -inf for floats."""
        if self.kind == "float":
            return float("-inf")
        return False if self.kind == "bool" else int(np.iinfo(self.name).min)

    @property
    def max(self) -> int | float | bool:
        """The greatest value; inf for floats."""
        if self.kind == "float":
            return float("inf")
        return True if self.kind == "bool" else int(np.iinfo(self.name).max)

    @property
    def accumulator(self) -> DType:
        """The type that sums of this type are kept in: float32 for the 16-bit floats."""
        return float32 if self.kind == "float" and self.itemsize == 2 else self


del DType.__dataclass_fields__  # programs that walk through dataclasses meet a leaf, as PyTorch's types are


bool_ = DType("bool", "bool", 1)
uint8, uint16, uint32, uint64 = (DType(f"uint{n}", "uint", n // 8) for n in (8, 16, 32, 64))
int8, int16, int32, int64 = (DType(f"int{n}", "int", n // 8) for n in (8, 16, 32, 64))
float16, bfloat16 = DType("float16", "float", 2), DType("bfloat16", "float", 2)
float32, float64 = DType("float32", "float", 4), DType("float64", "float", 8)

ALL = (bool_, uint8, uint16, uint32, uint64, int8, int16, int32, int64, float16, bfloat16, float32, float64)
BY_NAME = {d.name: d for d in ALL}
# what PyTorch's older names begin with: torch.FloatTensor, torch.LongStorage
LEGACY_NAMES = {
    "Float": float32, "Double": float64, "Half": float16, "BFloat16": bfloat16, "Long": int64, "Int": int32,
    "Short": int16, "Char": int8, "Byte": uint8, "Bool": bool_,
}  # fmt: skip


def by_name(name: str) -> DType:
    """The type with this name."""
    return BY_NAME[name]


FLOATS = tuple(d for d in ALL if d.kind == "float")
INTEGERS = tuple(d for d in ALL if d.is_integer)

_CATEGORY = {"bool": 0, "uint": 1, "int": 1, "float": 2}


def category(d: DType) -> int:
    """0 for bool, 1 for integers, 2 for floats: the order in which PyTorch lets a category win."""
    return _CATEGORY[d.kind]


_PYTORCH_NAMES = {
    "bool": "Bool", "uint8": "Byte", "int8": "Char", "int16": "Short", "int32": "Int", "int64": "Long",
    "float16": "Half", "bfloat16": "BFloat16", "float32": "Float", "float64": "Double", "uint16": "UInt16",
    "uint32": "UInt32", "uint64": "UInt64",
}  # fmt: skip


def pytorch_name(d: DType) -> str:
    """A type as PyTorch's messages call it: Float, Long, ..."""
    return _PYTORCH_NAMES[d.name]


def promote(a: DType, b: DType) -> DType:
    """PyTorch's result type of two tensors of these types that have dimensions. Raises DTypeError for
    uint16, uint32 and uint64 beside bool and other integers."""
    if a == b:
        return a
    if any(d.kind == "uint" and d is not uint8 for d in (a, b)) and "float" not in (a.kind, b.kind):
        raise DTypeError(
            "[promote_types] Promotion for uint16, uint32, uint64 types is not supported, attempted to "
            f"promote {pytorch_name(a)} and {pytorch_name(b)}: convert one of them with .to(dtype)"
        )
    if category(a) != category(b):
        return a if category(a) > category(b) else b
    if a.kind == "float":
        if a.itemsize == b.itemsize:  # float16 with bfloat16
            return float32
        return a if a.itemsize > b.itemsize else b
    if a.kind == b.kind:
        return a if a.itemsize > b.itemsize else b
    unsigned, signed = (a, b) if a.kind == "uint" else (b, a)
    if signed.itemsize > unsigned.itemsize:
        return signed
    return BY_NAME[f"int{min(64, 2 * unsigned.bits)}"]


def from_numpy(d: np.dtype) -> DType | None:
    """The lazygrad type of a NumPy type, None where there is none (complex, object, strings)."""
    return BY_NAME.get(np.dtype(d).name)


def round_to(values: np.ndarray, d: DType) -> np.ndarray:
    """`values` as the NumPy type that computes `d`, rounded to what `d` can hold."""
    if d is not bfloat16:
        with np.errstate(over="ignore", invalid="ignore"):  # too large for d is infinite, as on every device
            return values.astype(d.numpy, copy=False)
    return bfloat16_from_bits(bfloat16_bits(values.astype(np.float32, copy=False)))


def bfloat16_bits(values: np.ndarray) -> np.ndarray:
    """float32 values to bfloat16 bits (uint16), to nearest even; NaN stays NaN."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32).reshape(np.shape(values))
    rounded = (bits + (np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))) >> np.uint32(16)
    return np.where(np.isnan(values), np.uint32(0x7FC0), rounded).astype(np.uint16)


def bfloat16_from_bits(bits: np.ndarray) -> np.ndarray:
    """bfloat16 bits (uint16) to float32 values."""
    wide = np.ascontiguousarray(bits.astype(np.uint32) << np.uint32(16))
    return wide.view(np.float32).reshape(np.shape(bits))


def to_storage(values: np.ndarray, d: DType) -> np.ndarray:
    """Computed values to the contiguous bits that memory holds, in the same shape."""
    bits = bfloat16_bits(values) if d is bfloat16 else values.astype(d.storage, copy=False)
    return np.ascontiguousarray(bits).reshape(values.shape)  # which makes a single number one-dimensional


def from_storage(bits: np.ndarray, d: DType) -> np.ndarray:
    """The bits in memory to values that NumPy can compute with."""
    return bfloat16_from_bits(bits) if d is bfloat16 else bits
