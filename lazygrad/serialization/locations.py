"""`map_location`: to which device the storages of a file go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lazygrad.errors import ArgumentTypeError, DeviceError
from lazygrad.tensors import device
from lazygrad.tensors.devices import usable_device
from lazygrad.tensors.storage import UntypedStorage
from lazygrad.tensors.typed_storage import TypedStorage

Restore = Callable[[UntypedStorage, str], UntypedStorage]


def location_tag(storage: Any) -> str:
    """What a file says of where a storage is: PyTorch's name of the device."""
    return name_of_device(storage.device)


def name_of_device(where: device) -> str:
    """PyTorch's name of a device."""
    return f"cuda:{where.index or 0}" if where.name.startswith("CL") else "cpu"


def default_restore_location(storage: UntypedStorage, location: str) -> UntypedStorage:
    """The storage on the device that a location names. Raises DeviceError where there is none such."""
    if location == "cpu":
        return storage.to(_host())
    try:
        return storage.to(location)
    except (DeviceError, ArgumentTypeError) as problem:
        raise DeviceError(
            f"[load] Attempting to deserialize object on the device {location!r}, which is not here. If "
            "you are running on a CPU-only machine, please use lazygrad.load with "
            f"map_location=lazygrad.device('cpu') to map your storages to the CPU. ({problem})"
        ) from None


def _host() -> str:
    """The device whose memory is the host's: the default one where it is such."""
    default = usable_device(None)
    return "CPU" if default.startswith("CL") else default


def restorer(map_location: Any) -> Restore:
    """The function that brings a storage where `map_location` (None, a device or its name, a dictionary of
    locations, or a function of a storage and its location) wants it. Raises ArgumentTypeError."""
    if map_location is None:
        return default_restore_location
    if isinstance(map_location, dict):
        table = {str(key): str(value) for key, value in map_location.items()}
        return lambda storage, location: default_restore_location(storage, table.get(location, location))
    if isinstance(map_location, str | bytes | device):
        name = map_location.decode() if isinstance(map_location, bytes) else str(map_location)
        return lambda storage, location: default_restore_location(storage, name)
    if not callable(map_location):
        raise ArgumentTypeError(
            f"[load] map_location must be a device, its name, a dict or a function, not "
            f"{type(map_location).__name__}"
        )

    def restore(storage: UntypedStorage, location: str) -> UntypedStorage:
        got = map_location(storage, location)
        if got is None:
            return default_restore_location(storage, location)
        if isinstance(got, TypedStorage):
            return got.untyped()
        if not isinstance(got, UntypedStorage):
            raise ArgumentTypeError(
                "[load] map_location must return the storage, moved or not, or None; not "
                f"{type(got).__name__}"
            )
        return got

    return restore
