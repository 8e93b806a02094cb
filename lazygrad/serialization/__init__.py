"""Saving and loading: `save` and `load` with PyTorch's files, and what is safe in them.

`load` reads both formats of PyTorch without PyTorch and, unless `weights_only=False` says otherwise, without
running anything that a file asks for. `save` writes files that PyTorch reads.
"""

from __future__ import annotations

import contextlib
import mmap as mapping
import os
import pickle
import sys
import warnings
from collections.abc import Iterator
from typing import IO, Any

from lazygrad.config import loading_is_forced
from lazygrad.errors import ArgumentError, FileFormatError, TruncatedFileError
from lazygrad.serialization.full_pickle import fully
from lazygrad.serialization.locations import default_restore_location, location_tag, restorer
from lazygrad.serialization.numpy_files import is_npy, is_npz, read_npy, read_npz, save_npz
from lazygrad.serialization.pickle_reader import Names, PickleReader
from lazygrad.serialization.pickle_writer import Pickled
from lazygrad.serialization.reading import MAGIC_NUMBER, PROTOCOL_VERSION, read_legacy, read_zip, safely
from lazygrad.serialization.rebuild import NAMES
from lazygrad.serialization.sources import is_path, opened
from lazygrad.serialization.targets import check_target, write_all
from lazygrad.serialization.trust import (
    LoadEndianness,
    add_safe_globals,
    clear_safe_globals,
    get_default_load_endianness,
    get_safe_globals,
    safe_globals,
    set_default_load_endianness,
)
from lazygrad.serialization.zip_reader import ZipReader, is_zip
from lazygrad.serialization.zip_writer import archive

DEFAULT_PROTOCOL = 2
FILE_LIKE = FileLike = str | os.PathLike | IO[bytes]
MAP_LOCATION = Any


class _Options:
    """What the functions `set_...` of this module set."""

    sums = True
    shared = False


def save(
    obj: Any,
    f: Any,
    pickle_module: Any = pickle,
    pickle_protocol: int | None = DEFAULT_PROTOCOL,
    _use_new_zipfile_serialization: bool = True,
    _disable_byteorder_record: bool = False,
) -> None:
    """Save an object to a path or to an object with `write`, as PyTorch does: tensors that share storage
    share it in the file.

    A file of that name is replaced only when the new one is whole. Raises what pickling raises, DTypeError
    for storages that are viewed as two types, MissingFolderError.
    """
    check_target(f)
    if _use_new_zipfile_serialization:
        made = Pickled(obj, pickle_protocol)
        records: list[tuple[str, Any]] = [("data.pkl", made.pickle)]
        if not _disable_byteorder_record:
            records.append(("byteorder", sys.byteorder.encode()))
        records += [(f"data/{key}", data) for key, data in made.bytes.items()]
        records.append(("version", b"3\n"))
        write_all(f, archive(_folder_name(f), records, _Options.sums))
    else:
        write_all(f, _legacy_pieces(Pickled(obj, pickle_protocol, True), pickle_protocol))


def _folder_name(f: Any) -> str:
    name = os.path.basename(os.fspath(f)) if is_path(f) else "archive"
    name = name.decode(errors="replace") if isinstance(name, bytes) else name
    stem = os.path.splitext(name)[0]
    return stem.replace("/", "_") or "archive"


def _legacy_pieces(made: Pickled, protocol: int | None) -> Iterator[Any]:
    facts = {
        "protocol_version": PROTOCOL_VERSION,
        "little_endian": sys.byteorder == "little",
        "type_sizes": {"short": 2, "int": 4, "long": 4},
    }
    for value in (MAGIC_NUMBER, PROTOCOL_VERSION, facts):
        yield pickle.dumps(value, protocol)
    yield made.pickle
    keys = sorted(made.bytes)
    yield pickle.dumps(keys, protocol)
    for key in keys:
        yield (made.bytes[key].nbytes // made.itemsizes[key]).to_bytes(8, sys.byteorder)
        yield made.bytes[key].data


def load(
    f: Any,
    map_location: Any = None,
    pickle_module: Any = None,
    *,
    weights_only: bool | None = None,
    mmap: bool | None = None,
    **pickle_load_args: Any,
) -> Any:
    """The object that `save`, or PyTorch's, has written to a path or an object with `read` and `seek`; or the
    tensors of a `.safetensors`, `.npz` or `.npy` file.

    `weights_only`, the default: tensors, plain values and containers, and what `add_safe_globals` was given;
    UnsafeFileError names whatever else the file asks for, and nothing of it is run. `weights_only=False` is
    pickle: it runs whatever the file asks for. TORCH_FORCE_WEIGHTS_ONLY_LOAD and
    TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD in the environment decide as in PyTorch. `map_location`: None, a device
    or its name, a dictionary of names, or a function of a storage and the name of its device. `mmap`:
    storages are pages of the file, read when they are used. Raises FileFormatError for damaged files,
    TruncatedFileError for those that are cut short, DeviceError for devices that are not here, DTypeError for
    elements that lazygrad lacks.
    """
    if is_path(f) and os.fspath(f).endswith(".safetensors"):
        return _load_safetensors(f, map_location)
    weights_only = _weights_alone(weights_only, pickle_module)
    if weights_only and pickle_module is not None:
        raise ArgumentError(
            "[load] Can not safely load weights when explicit pickle_module is specified"
        )
    if weights_only and pickle_load_args.keys() - {"encoding"}:
        warnings.warn("pickle_load_args only works if `weights_only=False`.", stacklevel=2)
    options = {"encoding": "utf-8", **pickle_load_args}
    unpickle = safely(options["encoding"]) if weights_only else fully(pickle_module or pickle, **options)
    restore = restorer(map_location)
    with opened(f, bool(mmap), _Options.shared) as source:
        if not source.size:
            raise TruncatedFileError(f"[load] Ran out of input: {source.name} is empty")
        if is_npy(source):
            return read_npy(source, _device("NumPy", map_location))
        if is_zip(source):
            if is_npz(archived := ZipReader(source)):
                return read_npz(source, archived, _device("NumPy", map_location))
            return read_zip(source, restore, unpickle)
        if mmap:
            raise ArgumentError(
                "[load] mmap can only be used with files saved with _use_new_zipfile_serialization=True: "
                "save the checkpoint with this option in order to use mmap"
            )
        made, end = read_legacy(source, restore, unpickle)
        source.file.seek(source.start + end)
        return made


def _weights_alone(asked: bool | None, pickle_module: Any) -> bool:
    """Whether nothing but weights is read, as the call and PyTorch's environment variables have it."""
    always, never = loading_is_forced("WEIGHTS_ONLY"), loading_is_forced("NO_WEIGHTS_ONLY")
    if always and never:
        raise ArgumentError(
            "[load] Only one of `TORCH_FORCE_WEIGHTS_ONLY_LOAD` or `TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD` "
            "should be set, but both were set."
        )
    if always:
        return True
    if asked is not None:
        return asked
    if never:
        warnings.warn("Environment variable TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD detected, since the "
                      "`weights_only` argument was not explicitly passed to `torch.load`, forcing "
                      "weights_only=False.",
                      stacklevel=3)
    return pickle_module is None and not never


def _load_safetensors(f: Any, map_location: Any) -> Any:
    from lazygrad import safetensors  # needs this package itself

    return safetensors.load_file(f, device=_device("safetensors", map_location))


def _device(files: str, map_location: Any) -> Any:
    """The device of a map_location where it can be nothing else."""
    if isinstance(map_location, dict) or callable(map_location):
        kind = "dict" if isinstance(map_location, dict) else "callable"
        raise ArgumentError(
            f"[load] Loading {files} file with {kind} map_location is not supported. Use a device "
            "string or lazygrad.device instead."
        )
    return "cpu" if map_location is None else map_location


def get_unsafe_globals_in_checkpoint(f: Any) -> list[str]:
    """The names in a file that `load` would refuse. Nothing of the file is run or made."""
    found: dict[str, None] = {}

    class Noting(Names):
        def find(self, path: str) -> Any:
            if path not in NAMES.values:
                found[path] = None
            return _anything

        def is_trusted(self, value: Any) -> bool:
            return False

    class Looking(PickleReader):
        def call(self, function: Any, args: Any, named: dict[str, Any] | None = None) -> Any:
            return _anything

        def make(self, kind: Any, args: Any, named: dict[str, Any] | None = None) -> Any:
            return _anything

        def build(self, state: Any) -> None:
            return None

        def put_items(self, items: list[Any]) -> None:
            return None

        extend = add = put_items

    with opened(f) as source:
        if not is_zip(source):
            raise FileFormatError(f"[load] {source.name} was not saved with the zip format")
        read_zip(source, restorer(None), lambda cursor, _: Looking(
            cursor, Noting({}, {}), lambda saved: _anything).load())
    return list(found)


_anything: Any = ()


def get_crc32_options() -> bool:
    """Whether `save` writes check sums."""
    return _Options.sums


def set_crc32_options(compute_crc32: bool) -> None:
    """Set whether `save` writes check sums, which tell `load` of damage."""
    _Options.sums = bool(compute_crc32)


def get_default_mmap_options() -> int:
    """`mmap.MAP_PRIVATE` or `mmap.MAP_SHARED`: how `load(mmap=True)` maps files."""
    return mapping.MAP_SHARED if _Options.shared else mapping.MAP_PRIVATE


class set_default_mmap_options(contextlib.AbstractContextManager["None"]):
    """Set how `load(mmap=True)` maps files, for good or for the time of a `with`: with `mmap.MAP_SHARED`
    writes to tensors go to the file, whose check sums are then wrong for those who do not map it. Raises
    ArgumentError."""

    def __init__(self, flags: int) -> None:
        if flags not in (mapping.MAP_PRIVATE, mapping.MAP_SHARED):
            raise ArgumentError(
                "[set_default_mmap_options] Invalid argument in function set_default_mmap_options, expected "
                f"mmap.MAP_PRIVATE or mmap.MAP_SHARED, but got {flags}"
            )
        self._before = _Options.shared
        _Options.shared = flags == mapping.MAP_SHARED

    def __exit__(self, *_: object) -> None:
        _Options.shared = self._before


__all__ = [
    "LoadEndianness",
    "add_safe_globals",
    "clear_safe_globals",
    "default_restore_location",
    "get_crc32_options",
    "get_default_load_endianness",
    "get_default_mmap_options",
    "get_safe_globals",
    "get_unsafe_globals_in_checkpoint",
    "load",
    "location_tag",
    "safe_globals",
    "save",
    "save_npz",
    "set_crc32_options",
    "set_default_load_endianness",
    "set_default_mmap_options",
]
