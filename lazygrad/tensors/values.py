"""Reading values: what realizes, and what hands Python and NumPy their numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lazygrad import dtypes
from lazygrad.engine import download
from lazygrad.errors import (
    ArgumentError,
    ArgumentTypeError,
    AxisError,
    GradientError,
    ShapeError,
)
from lazygrad.graph import Node, topological
from lazygrad.interpret import interpret
from lazygrad.runtime.meta_device import no_values
from lazygrad.tensors import realization
from lazygrad.tensors.core import Tensor, creator, method
from lazygrad.tensors.realization import realize_cells, realize_node
from lazygrad.tensors.recording import now
from lazygrad.tensors.shared_memory import HOSTS, expose

# a view of a storage up to this size, or of a good part of it, is cut out on the host: cheaper than a kernel
_SMALL = 4096
_FEW = 100_000  # elements of all nodes of a graph


@creator()
def realize(*tensors: Tensor) -> None:
    """Compute tensors now. Nothing needs it; it says where work happens."""
    realize_cells([t.cell for t in tensors])


@method("realize")
def _realize(x: Tensor) -> Tensor:
    """Compute the tensor now, and return it."""
    cell = x._history.cell
    if not cell.is_realized:
        realize_cells([cell])
    return x


def read(x: Tensor) -> np.ndarray:
    """A fresh array with the values (bfloat16 as float32); realizes what it must."""
    if now.recorder is not None:
        return now.recorder.read(x)
    cell = x.cell
    if cell.device == "META":
        raise no_values()
    if not cell.is_realized:
        realize_cells([cell])
    if cell.shared is not None:
        return dtypes.from_storage(cell.shared.values(x), x._dtype)
    node = x.plain_node()
    if node.op.kind == "source":
        return _data(node)
    base = cell.node
    if base.op.name == "scalar" or base.size <= max(_SMALL, 4 * node.size):
        with np.errstate(all="ignore"):
            return np.array(interpret([node], _data)[0])
    return download(realize_node(node, cell.device))


def read_nodes(nodes: Sequence[Node], device: str) -> list[np.ndarray]:
    """Arrays with the values of nodes on a device, for a look at them: tensors stay unrealized, and what
    takes little arithmetic is computed here, so that nothing is compiled for it."""
    known = realization.with_known_values(nodes, device)
    if sum(n.size for n in topological(known)) <= _FEW:
        with np.errstate(all="ignore"):
            return [np.array(found) for found in interpret(known, _data)]
    return [download(found) for found in realization.realize_nodes(nodes, device)]


def _data(node: Node) -> np.ndarray:
    if node.op.name == "buffer":
        return download(node)
    return np.full(node.shape, node.arg.value, node.dtype.numpy)


@method()
def item(x: Tensor) -> bool | int | float:
    """The only element as a Python number. Raises ShapeError unless there is exactly one."""
    if x.shape.numel() != 1:
        raise ShapeError(
            f"[item] a Tensor with {x.shape.numel()} elements cannot be converted to Scalar: "
            f"its shape is {tuple(x.shape)}"
        )
    node = x.cell.node
    if node.op.name == "scalar" and now.recorder is None and x.cell.device != "META":
        return node.arg.value
    return read(x).reshape(-1)[0].item()


@method()
def tolist(x: Tensor) -> Any:
    """Nested lists of Python numbers; one number for a 0-d tensor."""
    return read(x).tolist()


@method()
def numpy(x: Tensor, *, force: bool = False) -> np.ndarray:
    """A NumPy array over the memory of the tensor: writes to either are seen in both. On devices with memory
    of their own a copy. Raises GradientError for tensors that require a gradient, unless `force`."""
    if x.requires_grad and not force:
        raise GradientError(
            "[numpy] Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead."
        )
    if x.dtype is dtypes.bfloat16:
        raise ArgumentTypeError("[numpy] Got unsupported ScalarType BFloat16: convert it with .float() first")
    return expose(x) if now.recorder is None and x.cell.device in HOSTS else read(x)


@method("__array__")
def _array(x: Tensor, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
    values = numpy(x)
    if dtype is not None and np.dtype(dtype) != values.dtype:
        if copy is False:
            raise ArgumentError(f"[array] no array of {np.dtype(dtype)} can share the memory of {x.dtype!r}")
        return values.astype(dtype)
    return values.copy() if copy else values


@method("__len__")
def _len(x: Tensor) -> int:
    if not x.ndim:
        raise ArgumentTypeError("[len] len() of a 0-d tensor")
    return x.shape[0]


@method("__bool__", "is_nonzero")
def _bool(x: Tensor) -> bool:
    count = x.shape.numel()
    if count != 1:
        more = "more than one value" if count else "no values"
        raise ShapeError(f"[bool] Boolean value of Tensor with {more} is ambiguous: use .any() or .all()")
    return bool(item(x))


def _number(x: Tensor, kind: str) -> bool | int | float:
    if x.shape.numel() != 1:
        raise ArgumentError(
            f"[{kind}] only one element tensors can be converted to Python scalars, not shape "
            f"{tuple(x.shape)}"
        )
    return item(x)


@method("__float__")
def _float(x: Tensor) -> float:
    return float(_number(x, "float"))


@method("__int__")
def _int(x: Tensor) -> int:
    return int(_number(x, "int"))


@method("__complex__")
def _complex(x: Tensor) -> complex:
    return complex(_number(x, "complex"))


@method("__index__")
def _index(x: Tensor) -> int:
    if x.dtype.kind == "float" or x.shape.numel() != 1:
        raise ArgumentTypeError(
            "[index] only integer tensors of a single element can be converted to an "
            "index, not "
            f"{tuple(x.shape)} of {x.dtype.name}"
        )
    return int(item(x))


@method("__format__")
def _format(x: Tensor, spec: str) -> str:
    if not x.ndim and type(x) is Tensor:
        return format(item(x), spec)
    return object.__format__(x, spec)


@method("__iter__")
def _iter(x: Tensor) -> Iterator[Tensor]:
    if not x.ndim:
        raise ArgumentTypeError("[iter] iteration over a 0-d tensor")
    return iter(x.unbind(0))


@method("__contains__")
def _contains(x: Tensor, element: Any) -> bool:
    if not isinstance(element, Tensor | bool | int | float | np.generic):
        raise ArgumentTypeError(
            "[contains] Tensor.__contains__ only supports Tensor or scalar, but you "
            "passed in a "
            f"{type(element)}."
        )
    return bool((x == element).any())


@method()
def size(x: Tensor, dim: int | None = None) -> Any:
    """The shape, or the size of one dimension."""
    if dim is None:
        return x.shape
    if not -max(x.ndim, 1) <= dim < max(x.ndim, 1) or not x.ndim:
        raise AxisError(
            f"[size] Dimension out of range (expected to be in range of [{-max(x.ndim, 1)}, "
            f"{max(x.ndim, 1) - 1}], but got {dim})"
        )
    return x.shape[dim]
