"""The OpenCL devices of this machine, and the facts of each that code generation depends on."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from lazygrad import config
from lazygrad.dtypes import ALL, float64
from lazygrad.errors import DeviceError
from lazygrad.source import Target

INSTALL = (
    "install the driver of your GPU with its OpenCL part, or PoCL, which runs on the processor:"
    " pip install 'lazygrad[opencl]'"
)
FEATURES = (
    "cl_khr_fp64",
    "cl_khr_fp16",
    "cl_khr_int64_base_atomics",
    "cl_khr_int64_extended_atomics",
    "cl_khr_subgroups",
)


def import_pyopencl() -> ModuleType:
    """The pyopencl module. Raises DeviceError where it is not installed."""
    try:
        import pyopencl
    except ImportError as error:
        raise DeviceError(f"[device] CL: pyopencl cannot be imported ({error}): {INSTALL}") from None
    return pyopencl


def find_devices() -> list[Any]:
    """pyopencl's devices in the order of CL, CL:1, ...: GPUs first, then by platform.

    The setting CL_PLATFORM filters by the platform's name. Raises DeviceError where there is none.
    """
    opencl = import_pyopencl()
    try:
        platforms = opencl.get_platforms()
    except opencl.Error as error:  # the loader's way to say that there is none
        raise DeviceError(f"[device] CL: no OpenCL platform on this machine ({error}): {INSTALL}") from None
    wanted = config.get("CL_PLATFORM")
    chosen = [p for p in platforms if wanted.lower() in p.name.lower()]
    names = ", ".join(repr(p.name) for p in platforms)
    if not platforms:
        raise DeviceError(f"[device] CL: no OpenCL platform on this machine: {INSTALL}")
    if not chosen:
        raise DeviceError(
            f"[device] CL: CL_PLATFORM={wanted!r} is part of no platform's name, there are {names}:"
            " set it to part of one of these, or leave it empty"
        )
    found = []
    for platform in sorted(chosen, key=lambda p: (p.name, p.version)):
        try:
            found += platform.get_devices()
        except opencl.Error:  # a platform whose hardware is absent
            continue
    if not found:
        raise DeviceError(f"[device] CL: platforms {names} have no device: {INSTALL}")
    return sorted(found, key=lambda d: not d.type & opencl.device_type.GPU)


def describe(device: Any) -> str:
    """One line about a pyopencl device."""
    memory, local = device.global_mem_size >> 20, device.local_mem_size >> 10
    return (
        f"{device.name.strip()} ({device.platform.name}, {device.version.strip()},"
        f" driver {device.driver_version}): {device.max_compute_units} compute units, {memory} MiB,"
        f" {local} KiB local memory"
    )


def keeps_own_binaries(device: Any) -> bool:
    """Whether the driver finds on disk, by itself, what it has built before, and is slow to give a binary."""
    # PoCL compiles a kernel when it is first launched, and to give its binary compiles it once more
    return device.platform.name == "Portable Computing Language"


def target_of(device: Any) -> Target:
    """The facts of a pyopencl device that code generation depends on."""
    opencl = import_pyopencl()
    extensions = set(device.extensions.split())
    kind = "gpu" if device.type & opencl.device_type.GPU else "cpu"
    names = {d.name for d in ALL if d is not float64 or "cl_khr_fp64" in extensions}
    return Target(
        name="CL",
        language="opencl",
        cpu=f"{device.name.strip()} {device.driver_version.strip()}",
        features=" ".join([kind, *(name for name in FEATURES if name in extensions)]),
        vector_bytes=4 * max(1, device.native_vector_width_float),
        l2_bytes=device.global_mem_cache_size or 512 << 10,
        threads=device.max_compute_units,
        dtypes=frozenset(names),
        max_parameters=device.max_parameter_size // (device.address_bits // 8),
        max_group_items=device.max_work_group_size,
        local_bytes=device.local_mem_size,
    )
