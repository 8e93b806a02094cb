"""Safetensors files of tensors, under the names of the module `safetensors.torch`."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from lazygrad.errors import ArgumentError, ArgumentTypeError, DTypeError
from lazygrad.nn.module import Module
from lazygrad.safetensors.layout import CODES, laid_out, read_header
from lazygrad.safetensors.opening import made_of, safe_open
from lazygrad.serialization.sources import Source
from lazygrad.serialization.targets import write_all
from lazygrad.tensors import Tensor
from lazygrad.tensors.realization import realize_cells
from lazygrad.tensors.storage import bytes_of


def load_file(filename: Any, device: Any = "cpu", *, backend: str = "mmap") -> dict[str, Tensor]:
    """The tensors of a file by name. On the CPU they are parts of the mapped file, read when they are used.
    Raises SafetensorError for files that are damaged, DTypeError for elements that lazygrad lacks."""
    with safe_open(filename, "pt", device, backend=backend) as file:
        return file.get_tensors()


def load(data: bytes) -> dict[str, Tensor]:
    """The tensors of a file that is in memory. Raises SafetensorError, DTypeError."""
    if not isinstance(data, bytes | bytearray | memoryview):
        raise ArgumentTypeError(f"[safetensors] expected the bytes of a file, not {type(data).__name__}")
    source = Source(io.BytesIO(data), "the file")
    entries, _ = read_header(source)
    return {name: made_of(source, entry, "CPU") for name, entry in entries.items()}


def save_file(tensors: dict[str, Tensor], filename: Any, metadata: dict[str, str] | None = None) -> None:
    """Write tensors to a file, which is replaced only when the new one is whole. `metadata`: strings that go
    with them. Raises ArgumentError for tensors that are not contiguous and for those that share memory."""
    write_all(filename, _pieces(tensors, metadata))


def save(tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """The bytes of a file of tensors; errors as `save_file`."""
    return b"".join(bytes(piece) for piece in _pieces(tensors, metadata))


def _pieces(tensors: dict[str, Tensor], metadata: dict[str, str] | None) -> Iterator[Any]:
    """The parts of a file, of which nothing but writing can fail."""
    if not isinstance(tensors, dict):
        raise ArgumentTypeError(f"[safetensors] Expected a dict of [str, Tensor] but received "
                                f"{type(tensors)}")
    for name, x in tensors.items():
        if not isinstance(x, Tensor):
            raise ArgumentTypeError(f"[safetensors] Key `{name}` is invalid, expected Tensor but "
                                    f"received {type(x)}")
        if not isinstance(name, str):
            raise ArgumentTypeError(f"[safetensors] the name of a tensor must be a string, not {name!r}")
        if x.dtype not in CODES:
            raise DTypeError(f"[safetensors] {x.dtype!r} has no code in the format")
    shared = [names for names in shared_names(tensors) if len(names) > 1]
    if shared:
        raise ArgumentError(
            "[safetensors] Some tensors share memory, this will lead to duplicate memory on disk and "
            f"potential differences when loading them again: {shared}. A potential way to correctly save "
            "your model is to use `save_model`."
        )
    for name, x in tensors.items():
        if not x.is_contiguous():
            raise ArgumentError(
                f"[safetensors] You are trying to save a non contiguous tensor: `{name}` which is not "
                "allowed. It either means you are trying to save tensors which are reference of each other "
                "in which case it's recommended to save only the full tensors, and reslice at load time, or "
                "simply call `.contiguous()` on your tensor to pack it before saving."
            )
    header, order = laid_out(((name, x.dtype, tuple(x.shape)) for name, x in tensors.items()), metadata)
    plain = {name: _whole(tensors[name].detach()) for name in order}
    realize_cells([x.cell for x in plain.values()])
    return iter([header, *(bytes_of(x.cell).data for x in plain.values())])


def _whole(x: Tensor) -> Tensor:
    """The tensor as all of a storage."""
    x = x.cpu()
    return x if x.cell.node.size == x.numel() else x.clone()


def shared_names(tensors: dict[str, Tensor]) -> list[list[str]]:
    """The names of tensors, those together that overlap in one storage."""
    by_cell: dict[int, list[tuple[int, int, str]]] = defaultdict(list)
    groups: list[list[str]] = []
    for name, x in tensors.items():
        if x.numel():
            reach = sum((n - 1) * s for n, s in zip(x.shape, x.stride(), strict=True)) + 1
            by_cell[id(x.cell)].append((x.storage_offset(), x.storage_offset() + reach, name))
        else:
            groups.append([name])
    for places in by_cell.values():
        end = -1
        for first, last, name in sorted(places):
            if first < end:
                groups[-1].append(name)
            else:
                groups.append([name])
            end = max(end, last)
    return groups


def _duplicates(tensors: dict[str, Tensor], preferred: Iterable[str] = ()) -> dict[str, list[str]]:
    """For each name to keep, the names of tensors that are parts of it. Raises ArgumentError where
    tensors overlap and none is all of their storage."""
    found = {}
    for names in shared_names(tensors):
        if len(names) < 2:
            continue
        complete = sorted(n for n in names if tensors[n].cell.node.size == tensors[n].numel()
                          and tensors[n].is_contiguous())
        if not complete:
            raise ArgumentError(
                f"[save_model] no suitable name to keep for saving amongst {sorted(names)}: none is covering "
                "the entire storage"
            )
        wanted = set(preferred)
        keep = next((n for n in complete if n in wanted), complete[0])
        found[keep] = sorted(n for n in names if n != keep)
    return found


def save_model(
    model: Module, filename: Any, metadata: dict[str, str] | None = None, force_contiguous: bool = True
) -> None:
    """Write the state of a module; of tensors that share memory one, with the names of the others in the
    metadata. Errors as `save_file`, which `force_contiguous` avoids by copies."""
    state = dict(model.state_dict())
    metadata = dict(metadata or {})
    for kept, others in _duplicates(state).items():
        for name in others:
            metadata.setdefault(name, kept)
            del state[name]
    if force_contiguous:
        state = {name: x.contiguous() for name, x in state.items()}
    save_file(state, filename, metadata or None)


def load_model(
    model: Module, filename: Any, strict: bool = True, device: Any = "cpu", *, backend: str = "mmap"
) -> tuple[set[str], list[str]]:
    """Fill a module with the tensors of a file. Returns the names that the file lacks and those that the
    module lacks. Raises ArgumentError where there are any, unless not `strict`."""
    state = load_file(filename, device, backend=backend)
    duplicates = _duplicates(dict(model.state_dict()), state)
    result = model.load_state_dict(state, strict=False)
    missing, unexpected = set(result.missing_keys), list(result.unexpected_keys)
    for names in duplicates.values():
        for name in names:
            if name in missing:
                missing.remove(name)
            else:
                unexpected.append(name)
    if strict and (missing or unexpected):
        text = f"Error(s) in loading state_dict for {type(model).__name__}:"
        for what, names in (("Missing", sorted(missing)), ("Unexpected", sorted(unexpected))):
            if names:
                text += f"\n    {what} key(s) in state_dict: " + ", ".join(f'"{name}"' for name in names)
        raise ArgumentError(text)
    return missing, unexpected


def storage_ptr(tensor: Tensor) -> int:
    """The address of the memory that a tensor is a part of."""
    return tensor.untyped_storage().data_ptr()


def storage_size(tensor: Tensor) -> int:
    """The bytes of the memory that a tensor is a part of."""
    return tensor.untyped_storage().nbytes()


__all__ = ["load", "load_file", "load_model", "save", "save_file", "save_model", "storage_ptr",
           "storage_size"]
