"""The zip archives of PyTorch: records stored as they are, each beginning at a multiple of 64 bytes, so that
a file can be mapped."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

ALIGNMENT = 64
LIMIT = 0xFFFFFFFF  # what a field of 4 bytes can hold; beyond, the number is in an extra field of 8
_DATE = 33  # 1980-01-01: files of equal content are equal

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")


def archive(folder: str, records: Iterable[tuple[str, Any]], sums: bool = True) -> Iterator[Any]:
    """The pieces of an archive in order; each record is a name and its bytes. `sums`: with check sums."""
    offset, directory = 0, []
    for name, content in records:
        data = memoryview(content).cast("B") if len(content) else b""
        path, size = f"{folder}/{name}".encode(), len(data)
        crc = zlib.crc32(data) if sums else 0
        large = struct.pack("<2H2Q", 1, 16, size, size) if size >= LIMIT else b""
        padding = -(offset + _LOCAL.size + len(path) + len(large) + 4) % ALIGNMENT
        extra = large + struct.pack("<2s1H", b"FB", padding) + b"Z" * padding
        told = min(size, LIMIT)
        version = 45 if large else 20
        yield _LOCAL.pack(b"PK\x03\x04", version, 0x800, 0, 0, _DATE, crc, told, told, len(path), len(extra))
        yield path + extra
        yield data
        directory.append(_entry(path, size, crc, offset))
        offset += _LOCAL.size + len(path) + len(extra) + size
    yield from directory
    yield _ending(len(directory), sum(map(len, directory)), offset)


def _entry(path: bytes, size: int, crc: int, offset: int) -> bytes:
    wide = b"".join(struct.pack("<Q", n) for n in (*((size, size) if size >= LIMIT else ()),
                                                   *((offset,) if offset >= LIMIT else ())))
    extra = struct.pack("<2H", 1, len(wide)) + wide if wide else b""
    version, told = 45 if wide else 20, min(size, LIMIT)
    head = _CENTRAL.pack(b"PK\x01\x02", version, version, 0x800, 0, 0, _DATE, crc, told, told, len(path),
                         len(extra), 0, 0, 0, 0, min(offset, LIMIT))
    return head + path + extra


def _ending(count: int, size: int, offset: int) -> bytes:
    wide = b""
    if count >= 0xFFFF or size >= LIMIT or offset >= LIMIT:
        wide = _END64.pack(b"PK\x06\x06", _END64.size - 12, 45, 45, 0, 0, count, count, size, offset)
        wide += _LOCATOR64.pack(b"PK\x06\x07", 0, offset + size, 1)
    few = min(count, 0xFFFF)
    return wide + _END.pack(b"PK\x05\x06", 0, 0, few, few, min(size, LIMIT), min(offset, LIMIT), 0)
