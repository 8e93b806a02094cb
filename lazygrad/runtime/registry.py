"""Devices by name, opened when they are first needed."""

from __future__ import annotations

from lazygrad.errors import DeviceError
from lazygrad.runtime.cpu import cpu_device
from lazygrad.runtime.device import Device
from lazygrad.runtime.meta_device import meta_device
from lazygrad.runtime.numpy_device import numpy_device

_open: dict[str, Device] = {}


def open_device(name: str) -> Device:
    """The device of a name: CPU, NUMPY, META, CL or CL:n. Raises DeviceError where there is none."""
    if name not in _open:
        _open[name] = _make(name)
    return _open[name]


def opened() -> list[Device]:
    """The devices in use so far."""
    return list(_open.values())


def _make(name: str) -> Device:
    kind, _, number = name.partition(":")
    if kind == "CPU":
        return cpu_device()
    if kind == "NUMPY":
        return numpy_device()
    if kind == "META":
        return meta_device()
    if kind == "CL":
        from lazygrad.runtime.cl import cl_device  # pyopencl is an extra: only this device needs it

        return cl_device(int(number or 0))
    raise DeviceError(f"[device] there is no device {name.lower()!r} here: there are cpu, cl, cl:1 ... "
                      "(GPUs, through OpenCL), numpy and meta")
