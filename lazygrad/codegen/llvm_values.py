"""LLVM types and values as text, and how each dtype is held.

A `Value` is an SSA name or a constant with its scalar LLVM type and its lanes (0: not a vector). A dtype
has a form in registers and one in memory (`register_type`, `memory_type`): bool is i1 and i8; bfloat16 is a
float that bfloat16 can hold, and i16; float16 is half in both.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from lazygrad.dtypes import DType, bfloat16, bool_

_FLOAT_TYPES = {"float16": "half", "bfloat16": "float", "float32": "float", "float64": "double"}
TYPE_BYTES = {"i1": 1, "i8": 1, "i16": 2, "half": 2, "i32": 4, "float": 4, "i64": 8, "double": 8, "ptr": 8}
_MANGLED = {"half": "f16", "float": "f32", "double": "f64", "ptr": "p0"}
Number = int | float | bool


def register_type(d: DType) -> str:
    """The LLVM type that values of `d` have in registers."""
    return "i1" if d is bool_ else _FLOAT_TYPES.get(d.name) or f"i{d.bits}"


def memory_type(d: DType) -> str:
    """The LLVM type that values of `d` have in memory."""
    return "i8" if d is bool_ else "i16" if d is bfloat16 else register_type(d)


def integer_type(type_: str) -> str:
    """The integer type as wide as a float type."""
    return f"i{8 * TYPE_BYTES[type_]}"


def is_float(type_: str) -> bool:
    return type_ in ("half", "float", "double")


@dataclass(frozen=True)
class Value:
    """An SSA name or constant. `type` is the scalar LLVM type, `lanes` the vector's length (0: scalar)."""

    name: str
    type: str
    lanes: int = 0

    @property
    def text(self) -> str:
        """The full LLVM type."""
        return type_text(self.type, self.lanes)

    def __str__(self) -> str:
        return f"{self.text} {self.name}"


def type_text(type_: str, lanes: int = 0) -> str:
    return f"<{lanes} x {type_}>" if lanes else type_


def mangled(type_: str, lanes: int = 0) -> str:
    """A type as intrinsic names spell it: v16f32."""
    return (f"v{lanes}" if lanes else "") + _MANGLED.get(type_, type_)


def scalar_text(type_: str, number: Number) -> str:
    """A constant as LLVM reads it back bit for bit (floats in hexadecimal)."""
    if type_ == "i1":
        return "true" if number else "false"
    if type_ == "ptr":
        assert number == 0
        return "null"
    if not is_float(type_):
        bits = int(type_[1:])
        return str((int(number) + (1 << (bits - 1))) % (1 << bits) - (1 << (bits - 1)))
    if type_ == "half":
        return f"0xH{struct.unpack('<H', _packed('<e', number))[0]:04X}"
    wide = struct.unpack("<f", _packed("<f", number))[0] if type_ == "float" else float(number)
    return f"0x{struct.unpack('<Q', struct.pack('<d', wide))[0]:016X}"


def _packed(layout: str, number: Number) -> bytes:
    try:
        return struct.pack(layout, number)
    except OverflowError:  # struct refuses what rounds to infinity
        return struct.pack(layout, float("inf") if number > 0 else float("-inf"))


def constant(type_: str, number: Number, lanes: int = 0) -> Value:
    """A constant, the same in every lane."""
    text = scalar_text(type_, number)
    return Value(f"splat ({type_} {text})" if lanes else text, type_, lanes)


def constant_vector(type_: str, numbers: Sequence[Number]) -> Value:
    """A constant vector, one number a lane."""
    return Value(f"<{', '.join(f'{type_} {scalar_text(type_, n)}' for n in numbers)}>", type_, len(numbers))
