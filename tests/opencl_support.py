"""Runs a LoopNest through the OpenCL renderer and pyopencl, for tests of code generation alone."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from lazygrad import dtypes
from lazygrad.codegen.loopnest import LoopNest
from lazygrad.codegen.opencl import render
from lazygrad.dtypes import DType
from lazygrad.source import Source, Target

cl = pytest.importorskip("pyopencl", reason="pyopencl is not installed")


@functools.cache
def queue():
    """A queue on the first OpenCL device; skips where there is none."""
    try:
        devices = [d for p in cl.get_platforms() for d in p.get_devices()]
    except cl.Error as error:
        pytest.skip(f"no OpenCL platform: {error}")
    return cl.CommandQueue(cl.Context(devices[:1]))


@functools.cache
def device_target() -> Target:
    """The facts of that device, as far as the renderer and the recipes ask."""
    d = queue().device
    names = {t.name for t in dtypes.ALL if t is not dtypes.float64 or "cl_khr_fp64" in d.extensions}
    return Target(
        "CL",
        "opencl",
        d.name,
        d.extensions,
        threads=d.max_compute_units,
        dtypes=frozenset(names),
        max_parameters=d.max_parameter_size // 8,
        max_group_items=d.max_work_group_size,
        local_bytes=d.local_mem_size,
    )


@functools.cache
def build(source: Source):
    """The kernels of a source, in order."""
    program = cl.Program(queue().context, source.text).build()
    return [cl.Kernel(program, phase.name) for phase in source.phases]


def run_source(source: Source, arrays: dict[str, np.ndarray | None]) -> dict[str, np.ndarray]:
    """The contents of every buffer after the kernel; values of a dtype in, values out. None:
    not initialised."""
    flags = cl.mem_flags.READ_WRITE
    buffers = []
    for use in source.uses:
        data = arrays.get(use.name)
        bits = np.zeros(use.size, use.dtype.storage) if data is None else to_storage(data, use.dtype)
        assert bits.size == use.size, (use, bits.size)
        padded = np.concatenate([bits.reshape(-1).view(np.uint8), np.zeros(64, np.uint8)])
        buffers.append(cl.Buffer(queue().context, flags | cl.mem_flags.COPY_HOST_PTR, hostbuf=padded))
    buffers += [cl.Buffer(queue().context, flags, size) for size in source.temporaries]
    for kernel, phase in zip(build(source), source.phases, strict=True):
        if phase.count:
            kernel(queue(), (phase.count * phase.items,), (phase.items,), *buffers)
    results = {}
    for use, buffer in zip(source.uses, buffers, strict=False):
        bits = np.empty(use.size, use.dtype.storage)
        if use.size:
            cl.enqueue_copy(queue(), bits, buffer)
        results[use.name] = dtypes.from_storage(bits, use.dtype)
    return results


def run_nest(nest: LoopNest, **arrays: np.ndarray | None) -> dict[str, np.ndarray]:
    """run_source of the rendered nest."""
    return run_source(render(nest, device_target()), arrays)


def to_storage(values: np.ndarray, d: DType) -> np.ndarray:
    return dtypes.to_storage(np.asarray(values).reshape(-1), d)
