"""Run hand-built nests on the CPU device."""

from collections.abc import Mapping

import numpy as np

from lazygrad import expr
from lazygrad.codegen.llvm import render
from lazygrad.codegen.loopnest import Array, Load, Loop, LoopNest, Statement
from lazygrad.dtypes import DType, from_storage, to_storage
from lazygrad.expr import Expr, Var
from lazygrad.runtime.cpu import cpu_device


def array(name: str, dtype: DType, size: int, space: str = "parameter") -> Array:
    return Array(name, dtype, size, space)


def at(variable: Var) -> Expr:
    return Expr(((variable, 1),))


def vector(variable: Var, *body: Statement, lanes: int = 16, unroll: int = 1) -> Loop:
    return Loop(variable, body, "vector", lanes, unroll)


def element(a: Array) -> Load:
    return Load(a, expr.ZERO)


def kernel(body: tuple[Statement, ...] | Statement, name: str = "test", **access: Array) -> LoopNest:
    """A nest whose parameters are given as read_x=..., write_y=..., readwrite_z=..."""
    body = body if isinstance(body, tuple) else (body,)
    return LoopNest(name, tuple(access.values()), tuple(key.split("_")[0] for key in access), body)


def run(nest: LoopNest, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The values of every parameter after the kernel; those not given start as bytes 0xAB."""
    device = cpu_device()
    buffers = []
    for a in nest.parameters:
        buffer = device.allocate(a.size * a.dtype.itemsize)
        start = np.full(a.size * a.dtype.itemsize, 0xAB, np.uint8)
        if a.name in values:
            assert values[a.name].size == a.size, a.name
            start = to_storage(np.asarray(values[a.name]), a.dtype)
        device.copy_in(buffer, start)
        buffers.append(buffer)
    device.launch(device.load(render(nest, device.target)), buffers)
    result = {}
    for a, buffer in zip(nest.parameters, buffers, strict=True):
        bits = np.empty(a.size, a.dtype.storage)
        device.copy_out(buffer, bits)
        result[a.name] = from_storage(bits, a.dtype)
    return result
