"""Rows without a computation: constants, buffers and counters, and annotations that simplification
removes."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from ctypes import c_float
from typing import Any

import numpy as np

from lazygrad import dtypes
from lazygrad.dtypes import DType
from lazygrad.graph import Literal, Node, Scalar, Shape, intern
from lazygrad.ops.table import Op, same_dtype, same_shape


def _explicit(*_: object) -> Any:
    raise AssertionError("this row is made by a function of its own")


def _source(name: str, numpy: Callable[..., Any] | None) -> Op:
    return Op(name, "source", 0, shape=_explicit, dtype=_explicit, numpy=numpy)


_const: Op = _source("const", lambda n: np.full(n.shape, n.arg.value, n.dtype.numpy))
_scalar: Op = _source("scalar", lambda n: np.full(n.shape, n.arg.value, n.dtype.numpy))
_buffer: Op = _source("buffer", None)  # the device reads it
_iota: Op = _source("iota", lambda n: np.arange(n.shape[0], dtype=n.dtype.numpy))


def canonical(value: Scalar, dtype: DType) -> Scalar:
    """A Python scalar as `dtype` holds it: floats rounded, integers wrapped."""
    if dtype.kind == "bool":
        return bool(value)
    if dtype.kind == "float":
        if dtype is dtypes.float32:
            return c_float(value).value
        if dtype is dtypes.float64:
            return float(value)
        with np.errstate(all="ignore"):
            return float(dtypes.round_to(np.asarray(float(value)), dtype))
    value = int(value)
    wrapped = value & ((1 << dtype.bits) - 1)
    return wrapped - (1 << dtype.bits) if dtype.kind == "int" and wrapped >> (dtype.bits - 1) else wrapped


def const(value: Scalar, dtype: DType, shape: Shape = ()) -> Node:
    """A tensor filled with one value that is part of the program: folded, and baked into kernels."""
    return intern(_const, dtype, shape, (), Literal(canonical(value, dtype)))


def scalar(value: Scalar, dtype: DType) -> Node:
    """A 0-d value that is data: never folded, passed to kernels when they run."""
    return intern(_scalar, dtype, (), (), Literal(canonical(value, dtype)))


def entry(number: Hashable, dtype: DType) -> Node:
    """A 0-d value of a plan that each run fills in: a scalar known by its number, or another name, alone."""
    return intern(_scalar, dtype, (), (), number)


def buffer(handle: Hashable, dtype: DType, shape: Shape) -> Node:
    """Contiguous elements that a device holds; `handle` is the runtime's Buffer."""
    return intern(_buffer, dtype, shape, (), handle)


def iota(size: int, dtype: DType = dtypes.int64) -> Node:
    """The integers 0 .. size-1."""
    return intern(_iota, dtype, (size,), (), None)


def _first_input(node: Node, x: np.ndarray, *_: np.ndarray) -> np.ndarray:
    return x


def _annotation(
    name: str,
    arity: int | None,
    gradient: Callable[..., Any] | None,
    numpy: Callable[..., Any] | None = _first_input,
) -> Op:
    shape, dtype = lambda i, _: i[0].shape, lambda i, _: i[0].dtype
    return Op(name, "annotation", arity, shape, dtype, numpy, gradient)


# A differentiable leaf; arg is a token of its own, so that two leaves of equal value stay two.
leaf: Op = _annotation("leaf", 1, lambda g, n, x: (g,))
# The value of x; no gradient passes.
detach: Op = _annotation("detach", 1, None)


def _surrogate_gradient(g: Node, n: Node, value: Node, *inputs: Node) -> tuple[Node | None, ...]:
    return (None, g) if n.arg is None else (None, *n.arg(g, n, *inputs))


# The value of the first input with the derivative of the second; or, with a function as arg, of the others:
# arg(cotangent, the surrogate, *others) -> a cotangent, or None, for each.
surrogate: Op = _annotation("surrogate", None, _surrogate_gradient)
# The value is in the buffer arg already; the input is kept as its history, for gradients alone.
saved: Op = _annotation("saved", 1, lambda g, n, x: (g,), numpy=None)
# One of the examples along x's first axis, of shape x.shape[1:]; which one, only a rewrite of the graph
# decides (batching.py). arg is the token of whoever named the examples.
example: Op = Op("example", "annotation", 1, lambda i, _: i[0].shape[1:], lambda i, _: i[0].dtype, None)
_call: Op = Op("call", "annotation", None, shape=_explicit, dtype=_explicit, numpy=None, gradient=_explicit)
_part: Op = _annotation("part", 1, _explicit, numpy=None)


def call(function: Hashable, inputs: tuple[Node, ...], shape: Shape = ()) -> Node:
    """A call of a function with a derivative of its own, and the float inputs that gradients flow to. It has
    no value; what its results are worth stands in the `surrogate` of each of its parts."""
    return intern(_call, dtypes.float32, shape, inputs, function)


def part(of: Node, number: int, dtype: DType, shape: Shape) -> Node:
    """One result of a call, without a value: where its gradient arrives."""
    return intern(_part, dtype, shape, (of,), number)


# arg = (source device, destination device).
copy: Op = _annotation("copy", 1, lambda g, n, x: (copy(g, arg=(n.arg[1], n.arg[0])),))

# Philox and threefry are stateless: equal counters and keys give equal bits on every device.
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def _threefry_numpy(node: Node, counter: np.ndarray, key: np.ndarray) -> np.ndarray:
    low32 = np.uint64(0xFFFFFFFF)
    halves = [(v & low32).astype(np.uint32) for v in (counter, counter >> np.uint64(32))]
    keys = [(v & low32).astype(np.uint32) for v in (key, key >> np.uint64(32))]
    keys.append(keys[0] ^ keys[1] ^ np.uint32(0x1BD11BDA))
    x0, x1 = halves[0] + keys[0], halves[1] + keys[1]
    for block in range(5):
        for r in _ROTATIONS[block % 2]:
            x0 = x0 + x1
            x1 = (x1 << np.uint32(r)) | (x1 >> np.uint32(32 - r))
            x1 = x1 ^ x0
        x0 = x0 + keys[(block + 1) % 3]
        x1 = x1 + keys[(block + 2) % 3] + np.uint32(block + 1)
    return (x1.astype(np.uint64) << np.uint64(32)) | x0.astype(np.uint64)


# Random bits: Threefry-2x32 with 20 rounds (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3",
# 2011), the low word of counter, key and result first. uint64 counter, uint64 key -> uint64 bits.
threefry: Op = Op(
    "threefry",
    "elementwise",
    2,
    same_shape,
    same_dtype,
    _threefry_numpy,
    opencl="threefry({0}, {1})",
    llvm="threefry",
    dtypes=("uint",),
)
