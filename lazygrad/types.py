"""PyTorch's `types` namespace: types for annotations."""

from __future__ import annotations

import os
from typing import IO, Any

from lazygrad.dtypes import DType
from lazygrad.missing import layout
from lazygrad.tensors import Size, Tensor
from lazygrad.tensors.devices import device

Number = int | float | bool
Device = device | str | int | None
FileLike = str | os.PathLike[str] | IO[bytes]
IntLikeType, FloatLikeType, BoolLikeType = int, float, bool
py_sym_types: tuple[Any, ...] = ()
Storage = Any
# as PyTorch's own annotations name them
_int, _float, _bool, _complex = int, float, bool, complex
_dtype, _device, _layout = DType, device, layout
_size = Size | list[int] | tuple[int, ...]

__all__ = [
    "BoolLikeType", "Device", "FileLike", "FloatLikeType", "IntLikeType", "Number", "Size", "Storage",
    "Tensor", "py_sym_types",
]  # fmt: skip
