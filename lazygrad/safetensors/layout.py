"""The safetensors format: a header that names tensors, then their bytes. Read and checked here, and written.

The header is the length of a JSON text, as 8 bytes, and that text: for each tensor its type, shape, and where
its bytes begin and end. The bytes of all tensors together fill the file without gaps.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lazygrad import dtypes
from lazygrad.dtypes import DType
from lazygrad.errors import ArgumentTypeError, DTypeError, FileFormatError
from lazygrad.serialization.sources import Source

LONGEST_HEADER = 100_000_000
DTYPES: dict[str, DType] = {
    "BOOL": dtypes.bool_,
    "U8": dtypes.uint8,
    "I8": dtypes.int8,
    "I16": dtypes.int16,
    "U16": dtypes.uint16,
    "F16": dtypes.float16,
    "BF16": dtypes.bfloat16,
    "I32": dtypes.int32,
    "U32": dtypes.uint32,
    "F32": dtypes.float32,
    "F64": dtypes.float64,
    "I64": dtypes.int64,
    "U64": dtypes.uint64,
}
CODES = {dtype: code for code, dtype in DTYPES.items()}
_ORDER = {code: place for place, code in enumerate(DTYPES)}
# bits of an element of the types that lazygrad lacks
_OTHERS = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8,
           "F8_E5M2FNUZ": 8, "C64": 64, "C128": 128}
_BITS = {**{code: dtype.bits for code, dtype in DTYPES.items()}, **_OTHERS}


class SafetensorError(FileFormatError):
    """A safetensors file that is damaged, or a tensor that it has not."""


@dataclass(frozen=True)
class Entry:
    """A tensor of a file: the code of its type, its shape, and the offset of its bytes in the file."""

    code: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int

    @property
    def dtype(self) -> DType:
        """Raises DTypeError for a type that lazygrad lacks."""
        if self.code not in DTYPES:
            raise DTypeError(f"[safetensors] lazygrad has no elements of the type {self.code}")
        return DTYPES[self.code]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise SafetensorError("[safetensors] a name stands twice in the header")
    return made


def read_header(source: Source) -> tuple[dict[str, Entry], dict[str, str] | None]:
    """The tensors of a file by name, in the order of their bytes, and its metadata. Raises SafetensorError
    unless the header is sound and the tensors fill the file."""
    if source.size < 8:
        raise SafetensorError(f"[safetensors] {source.name} is too short for a header")
    length = int.from_bytes(source.read(0, 8), "little")
    if length > LONGEST_HEADER:
        raise SafetensorError(f"[safetensors] {source.name}: a header of {length} bytes is too large")
    if 8 + length > source.size:
        raise SafetensorError(f"[safetensors] {source.name}: its header of {length} bytes is cut short")
    try:
        table = json.loads(source.read(8, length).decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as problem:
        raise SafetensorError(f"[safetensors] {source.name}: its header is no JSON: {problem}") from problem
    if not isinstance(table, dict):
        raise SafetensorError(f"[safetensors] {source.name}: its header is no table")
    metadata = table.pop("__metadata__", None)
    if metadata is not None and not (
        isinstance(metadata, dict) and all(isinstance(v, str) for v in metadata.values())
    ):
        raise SafetensorError(f"[safetensors] {source.name}: its metadata are no strings")
    entries = [(name, _entry(source.name, name, told, 8 + length)) for name, told in table.items()]
    entries.sort(key=lambda pair: (pair[1].offset, pair[1].nbytes))
    end = 8 + length
    for name, entry in entries:
        if entry.offset != end:
            raise SafetensorError(
                f"[safetensors] {source.name}: the bytes of {name[:80]!r} overlap or leave a gap"
            )
        end += entry.nbytes
    if end != source.size:
        raise SafetensorError(
            f"[safetensors] {source.name}: its tensors fill {end} bytes, but the file has {source.size}"
        )
    return dict(entries), metadata


def _entry(file: str, name: str, told: Any, begin: int) -> Entry:
    if not isinstance(told, dict) or set(told) != {"dtype", "shape", "data_offsets"}:
        raise SafetensorError(f"[safetensors] {file}: the entry of {name[:80]!r} is damaged")
    code, shape, offsets = told["dtype"], told["shape"], told["data_offsets"]
    bits = _BITS.get(code) if isinstance(code, str) else None
    numbers = isinstance(shape, list) and isinstance(offsets, list) and len(offsets) == 2 and len(shape) <= 64
    if bits is None or not numbers or not all(type(n) is int and 0 <= n < 1 << 63 for n in shape + offsets):
        raise SafetensorError(f"[safetensors] {file}: the entry of {name[:80]!r} is damaged")
    nbytes = math.prod(shape) * bits / 8 if math.prod(shape) < 1 << 50 else -1
    if offsets[1] - offsets[0] != nbytes:
        raise SafetensorError(
            f"[safetensors] {file}: {name[:80]!r} of {code} {shape[:8]} does not take the bytes {offsets}"
        )
    return Entry(code, tuple(shape), begin + offsets[0], offsets[1] - offsets[0])


def laid_out(
    tensors: Iterable[tuple[str, DType, tuple[int, ...]]], metadata: dict[str, str] | None
) -> tuple[bytes, list[str]]:
    """The header of a file, and the names of its tensors in the order of their bytes: those of large elements
    first. Raises ArgumentTypeError for metadata that are no strings."""
    told: dict[str, Any] = {}
    if metadata is not None:
        if not all(isinstance(part, str) for pair in metadata.items() for part in pair):
            raise ArgumentTypeError("[safetensors] metadata must be strings by strings")
        told["__metadata__"] = dict(metadata)
    ordered = sorted(tensors, key=lambda t: (-_ORDER[CODES[t[1]]], t[0]))
    end = 0
    for name, dtype, shape in ordered:
        begin, end = end, end + math.prod(shape) * dtype.itemsize
        told[name] = {"dtype": CODES[dtype], "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(told, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, [name for name, _, _ in ordered]
