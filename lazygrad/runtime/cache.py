"""Compiled programs on disk: safe against crashes, corrupt files and other processes.

An entry is written to a temporary file and renamed, so that a reader sees all of it or nothing; it starts
with a digest of its payload, so that a damaged file reads as absent and is written anew.
"""

import hashlib
import os
import tempfile
import warnings
from pathlib import Path

from lazygrad import config


def digest(*parts: str) -> str:
    """A file name for everything that a compiled program depends on."""
    state = hashlib.sha256()
    for part in parts:
        state.update(f"{len(part)}:".encode())
        state.update(part.encode())
    return state.hexdigest()


def entry_path(kind: str, key: str) -> Path | None:
    """Where an entry lives; None if the setting CACHE_DIR is off."""
    folder = config.get("CACHE_DIR")
    return None if folder is None else Path(folder) / kind / key[:2] / key


def read(kind: str, key: str) -> bytes | None:
    """An entry's payload; None if it is absent or damaged."""
    path = entry_path(kind, key)
    try:
        content = path.read_bytes() if path else b""
    except OSError:
        return None
    head, payload = content[:32], content[32:]
    return payload if payload and hashlib.sha256(payload).digest() == head else None


def write(kind: str, key: str, payload: bytes) -> None:
    """Keep an entry; a folder that cannot be written warns and costs nothing but the next compilation."""
    path = entry_path(kind, key)
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
        with os.fdopen(number, "wb") as file:
            file.write(hashlib.sha256(payload).digest() + payload)
        os.replace(name, path)
    except OSError as error:
        warnings.warn(f"compiled kernels are not kept: {error}", RuntimeWarning, stacklevel=2)
