"""The records of a zip archive, with their bounds checked before anything of them is read.

Refused: records that overlap, that lie outside the file, that say they unpack to far more than they hold,
that are encrypted, and names that stand twice. Names are keys, never paths.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from lazygrad.errors import FileFormatError, UnsafeFileError
from lazygrad.serialization.sources import MappedSource, Source, aligned

LOCAL_HEADER = struct.Struct("<4s5H3L2H")
MOST_RECORDS = 1 << 20
ALWAYS_UNPACKED = 1 << 24  # bytes: up to here any ratio is taken
LARGEST_RATIO = 250  # of the bytes after unpacking to those before


class _Window:
    """A source as zipfile wants to see it."""

    def __init__(self, source: Source) -> None:
        self.source, self.at = source, 0

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = 0) -> int:
        at = offset + (0, self.at, self.source.size)[whence]
        if at < 0:
            raise OSError("a place before the file")
        self.at = at
        return at

    def read(self, count: int = -1) -> bytes:
        left = max(self.source.size - self.at, 0)
        count = left if count is None or count < 0 else min(count, left)
        got = self.source.read(self.at, count)
        self.at += count
        return got


@dataclass(frozen=True)
class _Record:
    offset: int  # of the bytes in the file
    stored: int  # bytes in the file
    size: int  # bytes after unpacking
    crc: int
    packed: bool


def is_zip(source: Source) -> bool:
    """Whether a source begins as zip archives do."""
    return source.size >= 4 and source.read(0, 4) == b"PK\x03\x04"


class ZipReader:
    """The records of an archive by name, without the folder that all of them are in. Raises
    FileFormatError, UnsafeFileError for an archive that is none or wants to harm."""

    def __init__(self, source: Source) -> None:
        self.source = source
        try:
            listing: Any = zipfile.ZipFile(_Window(source))
            entries = listing.infolist()
        except (zipfile.BadZipFile, zipfile.LargeZipFile, struct.error, ValueError, LookupError, OSError,
                EOFError, RuntimeError, OverflowError, MemoryError) as problem:
            if isinstance(problem, FileFormatError):
                raise
            raise FileFormatError(f"[load] {source.name} is damaged: {problem}") from problem
        if len(entries) > MOST_RECORDS:
            raise UnsafeFileError(f"[load] {source.name} has {len(entries)} records: too many to be true")
        self.records: dict[str, _Record] = {}
        folders = {entry.filename.partition("/")[0] for entry in entries}
        for entry in entries:
            name = entry.filename
            name = name.partition("/")[2] if len(folders) == 1 and "/" in name else name
            if name in self.records:
                raise FileFormatError(f"[load] {source.name}: the record {name[:80]!r} stands in it twice")
            self.records[name] = self._record(entry)
        self._check_overlaps()

    def _record(self, entry: Any) -> _Record:
        source, name = self.source, entry.filename[:80]
        if entry.flag_bits & 0x1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise FileFormatError(
                f"[load] {source.name}: the record {name!r} is encrypted or packed in an unusual way"
            )
        header = LOCAL_HEADER.unpack(source.read(entry.header_offset, LOCAL_HEADER.size, "a record's header"))
        if header[0] != b"PK\x03\x04":
            raise FileFormatError(f"[load] {source.name}: the record {name!r} has no header")
        offset = entry.header_offset + LOCAL_HEADER.size + header[-2] + header[-1]
        source.check(offset, entry.compress_size, f"the record {name!r}")
        packed = entry.compress_type == zipfile.ZIP_DEFLATED
        if not packed and entry.file_size != entry.compress_size:
            raise FileFormatError(f"[load] {source.name}: the record {name!r} has two sizes")
        if entry.file_size > max(ALWAYS_UNPACKED, LARGEST_RATIO * entry.compress_size):
            raise UnsafeFileError(
                f"[load] {source.name}: the record {name!r} says that {entry.compress_size} bytes unpack to "
                f"{entry.file_size}: refused"
            )
        return _Record(offset, entry.compress_size, entry.file_size, entry.CRC, packed)

    def _check_overlaps(self) -> None:
        end = 0
        for name, record in sorted(self.records.items(), key=lambda pair: (pair[1].offset, pair[1].stored)):
            if record.stored and record.offset < end:
                raise UnsafeFileError(
                    f"[load] {self.source.name}: the record {name[:80]!r} overlaps another one"
                )
            end = max(end, record.offset + record.stored)

    def __contains__(self, name: str) -> bool:
        return name in self.records

    def size(self, name: str) -> int:
        """The bytes of a record. Raises FileFormatError where there is none."""
        return self._find(name).size

    def _find(self, name: str) -> _Record:
        if name not in self.records:
            raise FileFormatError(f"[load] {self.source.name} has no record {name[:80]!r}")
        return self.records[name]

    def array(self, name: str) -> np.ndarray:
        """The bytes of a record. Raises FileFormatError where they are damaged; a mapped file is not read,
        and so not checked."""
        record = self._find(name)
        if not record.packed:
            got = self.source.array(record.offset, record.stored, f"the record {name[:80]!r}")
            mapped = isinstance(self.source, MappedSource)
        else:
            got, mapped = self._unpacked(record, name), False
        # PyTorch can be told to leave the sum out: then it is 0
        if not mapped and record.crc and zlib.crc32(got.data) != record.crc:
            raise self._damaged(name)
        return got

    def _damaged(self, name: str) -> FileFormatError:
        return FileFormatError(f"[load] {self.source.name}: the record {name[:80]!r} is damaged")

    def _unpacked(self, record: _Record, name: str) -> np.ndarray:
        machine = zlib.decompressobj(-15)
        try:
            data = machine.decompress(self.source.read(record.offset, record.stored), record.size)
        except zlib.error as problem:
            raise self._damaged(name) from problem
        if len(data) != record.size:
            raise FileFormatError(f"[load] {self.source.name}: the record {name[:80]!r} has another size")
        made = aligned(record.size)
        made[:] = np.frombuffer(data, np.uint8)
        return made

    def bytes(self, name: str) -> bytes:
        """The bytes of a small record."""
        return self.array(name).tobytes()
