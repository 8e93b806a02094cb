"""What files of PyTorch's two formats hold: a pickle, and the storages that it names.

The zip format has a record for each storage; the format before it has all storages after the pickle, so that
what the pickle names is filled in when it has been read.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from lazygrad import dtypes
from lazygrad.dtypes import DType
from lazygrad.errors import FileFormatError, UnsafeFileError
from lazygrad.serialization import trust
from lazygrad.serialization.locations import Restore
from lazygrad.serialization.pickle_reader import Names, PickleReader
from lazygrad.serialization.rebuild import NAMES, StorageKind
from lazygrad.serialization.sources import Cursor, Source
from lazygrad.serialization.zip_reader import ZipReader
from lazygrad.tensors.shared_memory import lend
from lazygrad.tensors.storage import UntypedStorage
from lazygrad.tensors.typed_storage import TypedStorage, typed_storage

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL_VERSION = 1001
LEGACY_SIZE_BYTES = 8  # before each storage, its number of elements

# how a pickle is read: from a cursor, with a function for persistent ids
Unpickle = Callable[[Cursor, Callable[[Any], Any]], Any]


def safely(encoding: str = "utf-8") -> Unpickle:
    """Reading that makes plain data, and refuses all else that the user has not said is safe."""
    names = Names(NAMES.values, NAMES.calls)
    names.trusted = trust.by_path()
    return lambda cursor, persistent: PickleReader(cursor, names, persistent, encoding).load()


class _Storages:
    """The storages of one file by their keys; `fetch` gives the bytes of a key."""

    def __init__(self, restore: Restore, swapped: bool, is_lent: bool = False) -> None:
        self.restore, self.swapped, self.lend = restore, swapped, lend if is_lent else None
        self.found: dict[str, UntypedStorage] = {}

    def identify(self, saved: Any, length: int) -> tuple[DType | None, str, str, int, Any]:
        """Type, key, location, number of elements and rest of a persistent id. Raises UnsafeFileError for one
        that names no storage."""
        if type(saved) is not tuple or len(saved) < length or _text(saved[0]) != "storage":
            raise UnsafeFileError("[load] Only persistent_load of storage is allowed")
        kind, key, location, count = saved[1:5]
        key, location = _text(key), _text(location)
        sound = isinstance(kind, StorageKind) and isinstance(key, str) and isinstance(location, str)
        if not sound or type(count) is not int or not 0 <= count < 1 << 60:
            raise FileFormatError("[load] the description of a storage is damaged")
        return kind.dtype, key, location, count, saved[5:]

    def add(self, key: str, raw: np.ndarray, dtype: DType | None, location: str) -> UntypedStorage:
        """Bytes of the file where they are wanted."""
        storage = UntypedStorage(raw, lend=self.lend)
        if self.swapped and dtype is not None and dtype.itemsize > 1:
            storage.byteswap(dtype)
        made = self.found[key] = self.restore(storage, location)
        if made.nbytes() != raw.nbytes:
            raise FileFormatError("[load] map_location returned a storage of another size")
        return made


def _text(value: Any) -> Any:
    return value.decode("ascii") if isinstance(value, bytes) else value


def _typed(storage: UntypedStorage, dtype: DType | None, count: int) -> Any:
    if dtype is None:
        return typed_storage(storage, dtypes.uint8, 0, count)
    if count * dtype.itemsize > storage.nbytes():
        raise FileFormatError("[load] a storage is smaller than what the file says of it")
    return typed_storage(storage, dtype, 0, count)


def read_zip(source: Source, restore: Restore, unpickle: Unpickle) -> Any:
    """The object in an archive. Raises FileFormatError, UnsafeFileError, DTypeError."""
    archive = ZipReader(source)
    if "constants.pkl" in archive:
        raise UnsafeFileError(
            f"[load] {source.name} is a TorchScript archive, which is code: save its state_dict() instead"
        )
    if "data.pkl" not in archive:
        raise FileFormatError(f"[load] {source.name} is a zip archive, but not one of lazygrad or PyTorch")
    order = archive.bytes("byteorder") if "byteorder" in archive else trust.default_byte_order()
    if order not in (b"little", b"big"):
        raise FileFormatError(f"[load] {source.name}: Unknown endianness type: {order[:20]!r}")
    storages = _Storages(restore, order.decode() != sys.byteorder, source.is_lent)

    def persistent(saved: Any) -> TypedStorage:
        dtype, key, location, count, _ = storages.identify(saved, 5)
        storage = storages.found.get(key)
        if storage is None:
            nbytes, name = count * (dtype.itemsize if dtype else 1), f"data/{key}"
            if archive.size(name) != nbytes:
                raise FileFormatError(
                    f"[load] {source.name}: the record {name[:80]!r} has {archive.size(name)} bytes, but its "
                    f"storage should have {nbytes}"
                )
            storage = storages.add(key, archive.array(name), dtype, location)
        return _typed(storage, dtype, count)

    pickled = _Bytes(archive.bytes("data.pkl"), source.name)
    return unpickle(Cursor(pickled), persistent)


class _Bytes(Source):
    """A source over bytes in memory."""

    def __init__(self, data: bytes, name: str) -> None:
        self.data, self.name, self.size = data, name, len(data)

    def read(self, offset: int, count: int, what: str = "a part") -> bytes:
        self.check(offset, count, what)
        return self.data[offset : offset + count]


def read_legacy(source: Source, restore: Restore, unpickle: Unpickle) -> Any:
    """The object in a file of the older format, and the offset of the byte after it. Raises
    FileFormatError, UnsafeFileError, DTypeError."""
    cursor = Cursor(source)
    plain = safely()

    def nothing(_: Any) -> Any:
        raise UnsafeFileError("[load] a persistent id where there can be none")

    if source.size > 512 and source.read(257, 5) == b"ustar":
        raise FileFormatError(
            f"[load] {source.name} has the .tar format of PyTorch before 0.1.10: load and save it again "
            "with a PyTorch that reads it"
        )
    if plain(cursor, nothing) != MAGIC_NUMBER:
        raise FileFormatError(f"[load] {source.name}: Invalid magic number; corrupt file?")
    version = plain(cursor, nothing)
    if version != PROTOCOL_VERSION:
        raise FileFormatError(f"[load] {source.name}: Invalid protocol version: {str(version)[:20]}")
    facts = plain(cursor, nothing)
    is_big = isinstance(facts, dict) and not facts.get("little_endian", True)
    order: Literal["little", "big"] = "big" if is_big else "little"
    storages = _Storages(restore, order != sys.byteorder)
    waiting: dict[str, tuple[UntypedStorage, DType | None, int]] = {}

    def persistent(saved: Any) -> Any:
        if type(saved) is tuple and len(saved) == 4 and _text(saved[0]) == "module":
            return saved[1]  # a class, found by its name as any other; the rest is its source as it was
        dtype, key, location, count, rest = storages.identify(saved, 5)
        view = rest[0] if rest else None
        if key not in storages.found:
            nbytes = count * (dtype.itemsize if dtype else 1)
            if nbytes > source.size:  # no more memory is taken than the file can fill
                raise FileFormatError(f"[load] {source.name} is too small for a storage of {nbytes} bytes")
            raw = np.zeros(nbytes, np.uint8)
            made = storages.restore(UntypedStorage(raw), location)
            storages.found[key] = made
            waiting[key] = made, dtype, count
        typed = _typed(storages.found[key], dtype, count)
        if view is None:
            return typed
        if type(view) is not tuple or len(view) != 3 or not all(type(n) is int for n in view[1:]):
            raise FileFormatError("[load] the description of a part of a storage is damaged")
        _, first, size = view
        if not (0 <= first and 0 <= size and first + size <= count):
            raise FileFormatError("[load] a part of a storage leads out of it")
        return typed_storage(typed.untyped(), typed.dtype, first, size)

    made = unpickle(cursor, persistent)
    keys = plain(cursor, nothing)
    if not isinstance(keys, list) or len(keys) != len(waiting) or set(map(str, keys)) != set(waiting):
        raise FileFormatError(f"[load] {source.name}: its list of storages is not that of its pickle")
    in_order = [waiting[str(key)] for key in keys]
    return made, _fill_all(in_order, source, cursor.position, order, storages.swapped)


def _fill_all(waiting: Sequence[tuple[UntypedStorage, DType | None, int]], source: Source, position: int,
              order: Literal["little", "big"], swapped: bool) -> int:
    """Give storages their bytes, one after the other from a position on; the position after them."""
    for storage, dtype, count in waiting:
        told = int.from_bytes(source.read(position, LEGACY_SIZE_BYTES, "a storage's size"), order)
        if told != count:
            raise FileFormatError(f"[load] {source.name}: a storage of {count} elements says it has {told}")
        itemsize = dtype.itemsize if dtype else 1
        raw = source.array(position + LEGACY_SIZE_BYTES, count * itemsize, "a storage")
        fill(storage, raw, dtype if swapped else None)
        position += LEGACY_SIZE_BYTES + raw.nbytes
    return position


def fill(storage: UntypedStorage, raw: np.ndarray, swapped: DType | None) -> None:
    """Give a storage, which tensors share already, its bytes; turned around if of another byte order."""
    made = UntypedStorage(raw)
    if swapped is not None and swapped.itemsize > 1:
        made.byteswap(swapped)
    storage.fill(made.host_bytes())
