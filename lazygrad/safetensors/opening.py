"""`safe_open`: the tensors of a safetensors file one by one, and parts of them, read when they are used."""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np

from lazygrad.dtypes import bfloat16_from_bits
from lazygrad.errors import ArgumentError
from lazygrad.safetensors.layout import Entry, SafetensorError, read_header
from lazygrad.serialization.sources import MappedSource, Source, aligned
from lazygrad.tensors.devices import usable_device
from lazygrad.tensors.storage import UntypedStorage, row_strides_of, strided_tensor

_PYTORCH = ("pt", "torch", "pytorch")
_NUMPY = ("np", "numpy")


class safe_open:
    """A safetensors file whose tensors are made when they are asked for; best used in a `with`.

    `framework`: "pt" for tensors, "np" for arrays. On the CPU a tensor is a part of the mapped file: its
    pages are read when they are used, and writing to the tensor leaves the file as it is. `backend="pread"`
    reads instead of mapping. Raises SafetensorError for files that are damaged, FileNotFoundError,
    DeviceError.
    """

    def __init__(
        self, filename: Any, framework: str = "pt", device: Any = "cpu", *, backend: str = "mmap"
    ) -> None:
        if framework not in (*_PYTORCH, *_NUMPY):
            raise SafetensorError(f"[safe_open] framework {framework!r} is invalid: there are 'pt' and 'np'")
        if backend not in ("mmap", "pread"):
            raise ArgumentError(f"[safe_open] backend must be 'mmap' or 'pread', not {backend!r}")
        self.framework, self._device = framework, usable_device("cpu" if device is None else device)
        if not os.path.exists(filename):
            raise FileNotFoundError(f"No such file or directory: {os.fspath(filename)}")
        self._file = open(filename, "rb")
        name = os.fspath(filename)
        try:
            self._source = (MappedSource if backend == "mmap" else Source)(self._file, name)
            self._entries, self._metadata = read_header(self._source)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> safe_open:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()  # what is mapped stays mapped for the tensors that are parts of it

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()

    def metadata(self) -> dict[str, str] | None:
        """The strings that were saved with the tensors."""
        return self._metadata

    def keys(self) -> list[str]:
        """The names of the tensors."""
        return sorted(self._entries)

    def offset_keys(self) -> list[str]:
        """The names of the tensors in the order of their bytes."""
        return list(self._entries)

    def _entry(self, name: str) -> Entry:
        if name not in self._entries:
            raise SafetensorError(f"[safe_open] File does not contain tensor {name}")
        return self._entries[name]

    def get_tensor(self, name: str) -> Any:
        """A tensor of the file, an array with framework="np". Raises SafetensorError where there is none."""
        return made_of(self._source, self._entry(name), self._device, self.framework in _NUMPY)

    def get_tensors(self) -> dict[str, Any]:
        """All tensors by name."""
        return {name: self.get_tensor(name) for name in self._entries}

    def get_slice(self, name: str) -> PySafeSlice:
        """A tensor of which only what is indexed is read. Raises SafetensorError where there is none."""
        return PySafeSlice(self, name)


class PySafeSlice:
    """A tensor of a file before it is read."""

    def __init__(self, opened: safe_open, name: str) -> None:
        self._opened, self._name, self._entry = opened, name, opened._entry(name)

    def get_shape(self) -> list[int]:
        """Its sizes."""
        return list(self._entry.shape)

    def get_dtype(self) -> str:
        """The code of its type, such as "F32"."""
        return self._entry.code

    def __getitem__(self, index: Any) -> Any:
        got = self._opened.get_tensor(self._name)[index]
        return got.copy() if isinstance(got, np.ndarray) else got.clone()


def made_of(source: Source, entry: Entry, where: str, as_array: bool = False) -> Any:
    """A tensor (or array) of an entry's bytes. Raises DTypeError."""
    dtype = entry.dtype
    raw = source.array(entry.offset, entry.nbytes, "a tensor")
    if raw.ctypes.data % dtype.itemsize:  # a file need not place its tensors at multiples of their elements
        moved = aligned(raw.nbytes)
        moved[:] = raw
        raw = moved
    storage = UntypedStorage(raw, where)
    if sys.byteorder == "big" and dtype.itemsize > 1:
        storage.byteswap(dtype)
    if as_array:
        if dtype.name == "bfloat16":
            return bfloat16_from_bits(storage.host_bytes().view(np.uint16)).reshape(entry.shape)
        return storage.host_bytes().view(dtype.storage).reshape(entry.shape)
    return strided_tensor(storage, dtype, entry.shape, row_strides_of(entry.shape), 0)
