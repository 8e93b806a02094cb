"""Where bytes come from: files, buffers and mapped memory behind one small interface, and a cursor over
them."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np

from lazygrad.errors import ArgumentError, ArgumentTypeError, TruncatedFileError

CHUNK = 1 << 16
LONGEST_LINE = 1 << 24  # of a pickle in text


class Source:
    """Bytes at places: `size` of them, counted from `start` of what they are read from. `is_lent`: its arrays
    stay the file's own memory."""

    is_lent = False

    def __init__(self, file: BinaryIO, name: str, start: int = 0) -> None:
        self.file, self.name, self.start = file, name, start
        self.size = max(file.seek(0, os.SEEK_END) - start, 0)

    def check(self, offset: int, count: int, what: str) -> None:
        """Raises TruncatedFileError unless `count` bytes are there from `offset` on."""
        if not (0 <= offset and 0 <= count and offset + count <= self.size):
            raise TruncatedFileError(
                f"[load] {self.name} is cut short: {what} should be {count} bytes at {offset}, "
                f"but there are {self.size} bytes in all"
            )

    def read(self, offset: int, count: int, what: str = "a part") -> bytes:
        """Bytes from `offset` on. Raises TruncatedFileError."""
        self.check(offset, count, what)
        self.file.seek(self.start + offset)
        got = self.file.read(count)
        while len(got) < count:  # a file without a buffer may give less at a time
            more = self.file.read(count - len(got))
            if not more:
                raise TruncatedFileError(f"[load] {self.name} is cut short in {what}")
            got += more
        return got

    def array(self, offset: int, count: int, what: str = "a part") -> np.ndarray:
        """The same as memory that is the caller's own, aligned for vectors."""
        self.check(offset, count, what)
        memory = aligned(count)
        self.file.seek(self.start + offset)
        view, done = memory.data, 0
        readinto = getattr(self.file, "readinto", None)
        while done < count:
            if readinto is None:
                part = self.file.read(min(count - done, 1 << 24))
                view[done : done + len(part)] = part
                got = len(part)
            else:
                got = readinto(view[done:])
            if not got:
                raise TruncatedFileError(f"[load] {self.name} is cut short in {what}")
            done += got
        return memory


class MappedSource(Source):
    """A file in memory as the system maps it: pages are read when they are used, and a write changes this
    process' copy alone (with `shared`: the file)."""

    def __init__(self, file: BinaryIO, name: str, shared: bool = False) -> None:
        super().__init__(file, name)
        self.is_lent = shared
        access = mmap.ACCESS_WRITE if shared else mmap.ACCESS_COPY
        self.memory: np.ndarray | None = None
        if self.size:
            self.memory = np.frombuffer(mmap.mmap(file.fileno(), 0, access=access), np.uint8)

    def array(self, offset: int, count: int, what: str = "a part") -> np.ndarray:
        """The mapped pages themselves."""
        self.check(offset, count, what)
        return aligned(0) if self.memory is None else self.memory[offset : offset + count]


def aligned(count: int) -> np.ndarray:
    """Uninitialised bytes that begin at a multiple of 64."""
    block = np.empty(count + 64, np.uint8)
    start = -block.ctypes.data % 64
    return block[start : start + count]


class Cursor:
    """Reads a source from a place on; what pickles are read through."""

    def __init__(self, source: Source, position: int = 0) -> None:
        self.source, self._chunk, self._at, self._next = source, b"", 0, position

    @property
    def position(self) -> int:
        """The offset of the next byte."""
        return self._next - len(self._chunk) + self._at

    @property
    def left(self) -> int:
        """The number of bytes up to the end."""
        return self.source.size - self.position

    def read(self, count: int) -> bytes:
        """The next bytes. Raises TruncatedFileError."""
        if count < 0:
            raise ValueError("a negative length")
        end = self._at + count
        if end <= len(self._chunk):
            got = self._chunk[self._at : end]
            self._at = end
            return got
        position = self.position
        self.source.check(position, count, "the next part of its pickle")
        self._chunk = self.source.read(position, min(max(count, CHUNK), self.source.size - position))
        self._next, self._at = position + len(self._chunk), count
        return self._chunk[:count]

    def line(self) -> bytes:
        """The next bytes up to a newline, which is read too."""
        parts, total = [], 0
        while total < LONGEST_LINE:
            if self._at == len(self._chunk):
                self.read(min(CHUNK, max(self.left, 1)))
                self._at = 0
            end = self._chunk.find(b"\n", self._at)
            part = self._chunk[self._at : len(self._chunk) if end < 0 else end]
            self._at += len(part) + (end >= 0)
            parts.append(part)
            total += len(part)
            if end >= 0:
                return b"".join(parts)
        raise TruncatedFileError(f"[load] {self.source.name}: a line of its pickle does not end")


def is_path(f: Any) -> bool:
    """Whether an argument names a file."""
    return isinstance(f, str | os.PathLike)


@contextmanager
def opened(f: Any, mapped: bool = False, shared: bool = False) -> Iterator[Source]:
    """A source over a path or an object with `read` and `seek`, from where that stands. Raises
    ArgumentTypeError for anything else, ArgumentError where an object is to be mapped."""
    if is_path(f):
        with open(f, "r+b" if mapped and shared else "rb") as file:
            yield MappedSource(file, os.fspath(f), shared) if mapped else Source(file, os.fspath(f))
        return
    if mapped:
        raise ArgumentError("[load] f must be a file path in order to use the mmap argument")
    if not hasattr(f, "read"):
        raise ArgumentTypeError(
            f"[load] expected a path or an object with read and seek, not {type(f).__name__}"
        )
    if not hasattr(f, "seek") or not hasattr(f, "tell") or not getattr(f, "seekable", lambda: True)():
        raise ArgumentTypeError(
            "[load] You can only lazygrad.load from a file that is seekable. Please pre-load the data into a "
            "buffer like io.BytesIO and try to load from it instead."
        )
    start = f.tell()
    source = Source(f, str(getattr(f, "name", "the file")), start)
    f.seek(start)
    yield source
