"""PyTorch's `cuda` namespace. "cuda" names the OpenCL devices here: `is_available` says whether one of them
is a GPU, and `"cuda"` may be given wherever a device is asked for, if there is any OpenCL device."""

from __future__ import annotations

import importlib
import time
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any

from lazygrad.errors import DeviceError, OutOfMemoryError
from lazygrad.inert import names_of
from lazygrad.inert.kinds import Nothing
from lazygrad.layouts import legacy_types
from lazygrad.runtime import cl_platform
from lazygrad.runtime.registry import opened
from lazygrad.tensors.devices import device as device_type
from lazygrad.tensors.random.generator import default_generator
from lazygrad.tensors.typed_storage import legacy_storages

_initialized = False
_lacks = names_of(__name__)
_CLASSES = legacy_types("cuda") | legacy_storages("cuda")
has_half = True
default_generators: tuple[Any, ...] = ()


@cache
def _gpus() -> list[tuple[int, Any]]:
    """The OpenCL devices that are GPUs, with their numbers."""
    try:
        found = cl_platform.find_devices()
    except DeviceError:
        return []
    gpu = cl_platform.import_pyopencl().device_type.GPU
    return [(number, raw) for number, raw in enumerate(found) if raw.type & gpu]


def is_available() -> bool:
    """Whether an OpenCL device is a GPU. (OpenCL on the processor, such as PoCL, is no reason to leave the
    CPU; `device="cl"` uses it.)"""
    return bool(_gpus())


def is_initialized() -> bool:
    """Whether a GPU can be used, which needs no preparation."""
    return is_available()


def init() -> None:
    """Needs no doing."""


def device_count() -> int:
    """How many OpenCL devices are GPUs."""
    return len(_gpus())


def current_device() -> int:
    """0. Raises DeviceError where there is no GPU."""
    _gpu(0)
    return 0


def _gpu(device: Any) -> Any:
    index = (
        device if isinstance(device, int) else (device_type(device).index or 0 if device is not None else 0)
    )
    if index >= len(_gpus()):
        raise DeviceError(
            f"[cuda] no GPU {index}: OpenCL finds {len(_gpus())}; `python -m lazygrad` lists the devices"
        )
    return _gpus()[index][1]


def set_device(device: Any) -> None:
    """Accepted: devices are named where tensors are made."""


def get_device_name(device: Any = None) -> str:
    """What the driver calls it."""
    return _gpu(device).name.strip()


@dataclass
class DeviceProperties:
    """Facts about a GPU, as far as OpenCL tells them."""

    name: str
    total_memory: int
    multi_processor_count: int
    major: int = 0
    minor: int = 0


def get_device_properties(device: Any = None) -> DeviceProperties:
    """Facts about a GPU. Raises DeviceError where there is none."""
    raw = _gpu(device)
    return DeviceProperties(raw.name.strip(), raw.global_mem_size, raw.max_compute_units)


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """(0, 0): OpenCL has no such numbers. Raises DeviceError where there is no GPU."""
    _gpu(device)
    return 0, 0


def get_arch_list() -> list[str]:
    """Empty: kernels are compiled when they are needed."""
    return []


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether there is a GPU: every device stores bfloat16, and computes with it in float32."""
    return is_available()


def synchronize(device: Any = None) -> None:
    """Wait for what has been launched on all devices."""
    for each in opened():
        each.synchronize()


def manual_seed(seed: int) -> None:
    """Seed the generator, one for all devices; nothing where there is no GPU, as in PyTorch."""
    if is_available():
        default_generator.manual_seed(int(seed))


manual_seed_all = manual_seed
seed = seed_all = default_generator.seed
initial_seed = default_generator.initial_seed


def get_rng_state(device: Any = "cuda") -> Any:
    """The state of the generator, one for all devices."""
    return default_generator.get_state()


def set_rng_state(new_state: Any, device: Any = "cuda") -> None:
    """Continue the generator from a state."""
    default_generator.set_state(new_state)


def get_rng_state_all() -> list[Any]:
    """A state for each GPU."""
    return [default_generator.get_state() for _ in _gpus()]


def set_rng_state_all(new_states: Any) -> None:
    """Continue the generator from the first of the states."""
    for state in list(new_states)[:1]:
        default_generator.set_state(state)


# Memory


def empty_cache() -> None:
    """Give memory that waits for another use back to the drivers."""
    for each in opened():
        release = getattr(getattr(each, "memory", None), "release", None)
        if release is not None:
            release()


def _stat(name: str) -> int:
    return sum(int(getattr(each.stats, name, 0)) for each in opened() if each.name.startswith("CL"))


def memory_allocated(device: Any = None) -> int:
    """Bytes of buffers in use on OpenCL devices."""
    return _stat("in_use")


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes that were in use at once."""
    return _stat("peak")


def memory_reserved(device: Any = None) -> int:
    """Bytes in use, or waiting for another use."""
    return _stat("in_use") + _stat("pooled")


max_memory_reserved = memory_cached = memory_reserved


def reset_peak_memory_stats(device: Any = None) -> None:
    """Count the peak from now on."""
    for each in opened():
        if hasattr(each.stats, "peak"):
            each.stats.peak = each.stats.in_use


reset_max_memory_allocated = reset_max_memory_cached = reset_peak_memory_stats


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """(bytes that are free, bytes that there are) of a GPU."""
    total = _gpu(device).global_mem_size
    return total - memory_allocated(), total


def memory_summary(device: Any = None, abbreviated: bool = False) -> str:
    """A line about memory."""
    return f"{memory_allocated()} bytes in use, at most {max_memory_allocated()}"


def memory_stats(device: Any = None) -> dict[str, int]:
    """Numbers about memory."""
    return {
        "allocated_bytes.all.current": memory_allocated(),
        "allocated_bytes.all.peak": max_memory_allocated(),
    }


# Queues: each device has one


class Stream(Nothing):
    """The one queue of a device: waiting for it is waiting for the device."""

    def synchronize(self) -> None:
        """Wait for all devices."""
        synchronize()

    def wait_stream(self, stream: Any) -> None:
        """Needs no waiting."""

    wait_event = record_event = wait_stream

    def query(self) -> bool:
        """True."""
        return True


class Event(Nothing):
    """A moment, taken when all that was launched before it is done."""

    def record(self, stream: Any = None) -> None:
        """Note the time."""
        synchronize()
        self.time = time.perf_counter()

    def elapsed_time(self, end: Event) -> float:
        """Milliseconds to a later event."""
        return (end.time - self.time) * 1000

    def synchronize(self) -> None:
        """It has happened already."""

    wait = synchronize

    def query(self) -> bool:
        """True."""
        return True


class device(nullcontext[None]):
    """A block of code for a device; devices are named where tensors are made."""

    def __init__(self, device: Any = None):
        super().__init__()


def current_stream(device: Any = None) -> Stream:
    """The one queue of a device."""
    return Stream()


default_stream = current_stream


def stream(stream: Any) -> nullcontext[None]:
    """A block of code on a queue: on the only one."""
    return nullcontext()


set_stream = set_device
device_of = device


def __getattr__(name: str) -> Any:
    if name == "amp":
        return importlib.import_module("lazygrad.cuda.amp")
    return _CLASSES[name] if name in _CLASSES else _lacks(name)


__all__ = ["OutOfMemoryError", "is_available"]
