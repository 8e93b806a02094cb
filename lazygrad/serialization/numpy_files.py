"""NumPy's `.npy` and `.npz` files (NEP 1), without the pickles that they may hold."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from tokenize import TokenError
from typing import Any

import numpy as np

from lazygrad.errors import ArgumentTypeError, FileFormatError, UnsafeFileError
from lazygrad.serialization.sources import Source
from lazygrad.serialization.targets import check_target, write_all
from lazygrad.serialization.zip_reader import ZipReader
from lazygrad.tensors import Tensor
from lazygrad.tensors.exchange import from_numpy

_MAGIC = b"\x93NUMPY"
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def is_npy(source: Source) -> bool:
    """Whether a source begins as one array does."""
    return source.size >= len(_MAGIC) and source.read(0, len(_MAGIC)) == _MAGIC


def is_npz(archive: ZipReader) -> bool:
    """Whether an archive holds arrays and nothing else."""
    return bool(archive.records) and all(name.endswith(".npy") for name in archive.records)


def read_npy(source: Source, device: Any) -> Tensor:
    """The array of a `.npy` file."""
    return _tensor(source.name, bytes(source.read(0, source.size)), device)


def read_npz(source: Source, archive: ZipReader, device: Any) -> dict[str, Tensor]:
    """The arrays of a `.npz` file by name."""
    return {
        name.removesuffix(".npy"): _tensor(f"{source.name}: {name[:80]!r}", archive.bytes(name), device)
        for name in archive.records
    }


def save_npz(tensors: Mapping[str, Tensor], f: Any) -> None:
    """Save tensors to a path or an object with `write`, as numpy.savez does. Realizes. A file of that name is
    replaced only when the new one is whole. Raises ArgumentTypeError for types that NumPy lacks."""
    check_target(f)
    for name, value in tensors.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ArgumentTypeError(
                f"[save_npz] expected tensors by name, not {type(value).__name__} by {name!r}"
            )
    packed = io.BytesIO()
    np.savez(packed, **{name: value.detach().cpu().numpy() for name, value in tensors.items()})
    write_all(f, [packed.getvalue()])


def _tensor(name: str, data: bytes, device: Any) -> Tensor:
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        if version not in _HEADERS:
            raise FileFormatError(f"[load] {name} is in version {version} of NumPy's format")
        shape, by_columns, dtype = _HEADERS[version](stream)
    except (ValueError, EOFError, SyntaxError, TokenError, TypeError, RecursionError, MemoryError) as problem:
        raise FileFormatError(f"[load] {name} is damaged: {problem}") from problem
    if dtype.hasobject:
        raise UnsafeFileError(f"[load] {name} holds Python objects, whose reading runs code: refused")
    count = math.prod(shape)
    if min(shape, default=0) < 0 or len(data) - stream.tell() != count * dtype.itemsize:
        raise FileFormatError(f"[load] {name} does not hold the {count} elements of {dtype} that it promises")
    found = np.frombuffer(data, dtype, count, stream.tell()).reshape(shape, order="F" if by_columns else "C")
    # an array of its own, in the byte order of this machine
    return from_numpy(found.astype(dtype.newbyteorder("="), order="C")).to(device)
