"""Where bytes go: a file that is replaced in one step when all is written, or an object with `write`."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from typing import Any

from lazygrad.errors import ArgumentTypeError, FileFormatError
from lazygrad.serialization.sources import is_path


class NotAFileError(ArgumentTypeError, AttributeError):
    """Something to be written to that has no `write`."""


class MissingFolderError(FileFormatError, FileNotFoundError):
    """A file that is to be written into a folder that is not there."""


def check_target(f: Any) -> None:
    """Raises NotAFileError for what nothing can be written to."""
    if not is_path(f) and not hasattr(f, "write"):
        raise NotAFileError(
            "[save] expected 'f' to be string, path, or a file-like object with a 'write' attribute, not "
            f"{type(f).__name__}"
        )


def write_all(f: Any, pieces: Iterable[Any]) -> None:
    """Write pieces one after another. A file of that name stays what it was until all is written. Raises
    MissingFolderError, and what the system says."""
    if not is_path(f):
        for piece in pieces:
            f.write(piece)
        if hasattr(f, "flush"):
            f.flush()
        return
    path = os.path.realpath(os.fspath(f))
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise MissingFolderError(f"[save] Parent directory {folder} does not exist.")
    if os.path.exists(path) and not os.path.isfile(path):  # a pipe or a device: it is not replaced
        with open(path, "wb") as file:
            file.writelines(pieces)
        return
    temporary = os.path.join(folder, f".{os.path.basename(path)[:100]}.{secrets.token_hex(6)}.tmp")
    try:
        with open(temporary, "xb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        if os.path.exists(path):
            os.chmod(temporary, os.stat(path).st_mode & 0o7777)
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
