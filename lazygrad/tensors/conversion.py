"""To other types and devices, to copies and pickles, and small questions about a tensor."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from lazygrad import dtypes, ops
from lazygrad.dtypes import DType
from lazygrad.engine import upload
from lazygrad.errors import ArgumentError, ArgumentTypeError, DTypeError, GradientError
from lazygrad.missing import check_layout, check_type
from lazygrad.runtime.meta_device import no_values
from lazygrad.tensors.cell import History
from lazygrad.tensors.core import Tensor, apply, assemble, from_node, function, method
from lazygrad.tensors.devices import device, usable_device
from lazygrad.tensors.promotion import known_dtype
from lazygrad.tensors.signatures import OF_PYTHON
from lazygrad.tensors.storage import UntypedStorage, pointer, storage_of_cell, strided_tensor


@method("to")
def to(
    x: Tensor,
    *args: Any,
    dtype: DType | None = None,
    device: Any = None,
    non_blocking: bool = False,
    copy: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """The tensor as another type, on another device, or as another tensor has both; itself if nothing
    changes."""
    if len(args) == 1 and type(args[0]) is DType:
        dtype = args[0]
    elif args:
        dtype, device, copy = _arguments_of_to(args, dtype, device, copy)
    if dtype is not None and type(dtype) is not DType:
        check_type("to", dtype)
        raise ArgumentTypeError(f"[to] dtype must be a lazygrad dtype, not {type(dtype).__name__}")
    source = x.cell.device
    target = source if device is None else usable_device(device)
    result = x
    if dtype is not None and dtype is not x._dtype:
        result = apply("to", lambda n: ops.cast(n, arg=dtype), x)
    if target != source:
        result = _moved(result, source, target)
    return result.clone() if copy and result is x else result


_DEVICE = device


def _arguments_of_to(args: tuple[Any, ...], dtype: Any, device: Any, copy: bool) -> tuple[Any, Any, bool]:
    """(dtype, device, copy), of which these are given by place: a tensor, a type, or a device and a type;
    then two flags, the second of them `copy`."""
    first, *flags = args
    if isinstance(first, str | _DEVICE) or first is None or type(first) is int:
        device = first
        if flags:
            dtype = OF_PYTHON.get(flags[0], flags[0])
            del flags[0]
    elif isinstance(first, Tensor):
        dtype, device = first._dtype, first.device
    elif isinstance(first, DType) or first in OF_PYTHON:
        dtype = OF_PYTHON.get(first, first)
    else:
        check_type("to", first)
        check_layout("to", first)
        raise ArgumentTypeError(f"[to] expected a dtype, a device or a Tensor, not {type(first).__name__}")
    if flags and (len(flags) > 2 or not all(isinstance(flag, bool) for flag in flags)):
        raise ArgumentTypeError("[to] takes a tensor, a dtype, or a device and a dtype, then non_blocking "
                                f"and copy, got ({', '.join(type(a).__name__ for a in args)})")
    return dtype, device, flags[1] if len(flags) > 1 else copy


def _moved(x: Tensor, source: str, target: str) -> Tensor:
    if source == "META":
        raise no_values()

    def build(node: Any) -> Any:
        if target == "META":
            return ops.const(0, node.dtype, node.shape)
        return node if node.op.name in ("scalar", "const") else ops.copy(node, arg=(source, target))

    made = apply("to", build, x)
    made.cell.device = target
    return made


@method("cpu")
def cpu(x: Tensor) -> Tensor:
    """The tensor on the CPU."""
    return to(x, device="CPU")


@method("cuda")
def cuda(x: Tensor, device: Any = None, non_blocking: bool = False) -> Tensor:
    """The tensor on an OpenCL device, which is what "cuda" means here. Raises DeviceError without one."""
    return to(x, device="cuda" if device is None else device)


def _converter(name: str, dtype: DType) -> None:
    def convert(x: Tensor, memory_format: Any = None) -> Tensor:
        return to(x, dtype)

    convert.__name__ = convert.__qualname__ = name
    convert.__doc__ = f"The tensor as {dtype.name}."
    method(name)(convert)


for _name, _dtype in dtypes.LEGACY_NAMES.items():
    _converter(_name.lower(), _dtype)


def legacy_name(dtype: DType, kind: str) -> str:
    """PyTorch's older name of tensors or storages of a type: "FloatTensor". Raises DTypeError for a type that
    is younger."""
    found = next((name for name, legacy in dtypes.LEGACY_NAMES.items() if legacy is dtype), None)
    if found is None:
        raise DTypeError(f"[type] there is no {kind} of {dtype!r} by name: .dtype tells the type")
    return found + kind


@method("type")
def type_(x: Tensor, dtype: DType | str | type | None = None, non_blocking: bool = False) -> Any:
    """The type's legacy name ("torch.FloatTensor") without an argument, else the tensor as another type."""
    if dtype is None:
        return "torch." + legacy_name(x._dtype, "Tensor")
    if isinstance(dtype, str):
        found = dtypes.LEGACY_NAMES.get(dtype.rpartition(".")[2].removesuffix("Tensor"))
        if found is None or not dtype.endswith("Tensor"):
            there = ", ".join(f"{name}Tensor" for name in dtypes.LEGACY_NAMES)
            raise ArgumentError(f"[type] invalid type: {dtype!r}; there are {there}")
        dtype = found
    return to(x, getattr(dtype, "dtype", dtype))  # of one of the legacy classes


@method("type_as")
def type_as(x: Tensor, other: Tensor) -> Tensor:
    """The tensor as the type of other."""
    return to(x, other._dtype)


@function("numel")
def numel(input: Tensor) -> int:
    """The number of elements."""
    return input._shape.numel()


method("nelement")(numel)


@method("dim", "ndimension")
def dim(x: Tensor) -> int:
    """The number of dimensions."""
    return len(x._shape)


@method("element_size")
def element_size(x: Tensor) -> int:
    """Bytes of one element."""
    return x._dtype.itemsize


@function("is_floating_point")
def is_floating_point(input: Tensor) -> bool:
    """Whether the elements are floats."""
    return input._dtype.kind == "float"


@function("is_signed")
def is_signed(input: Tensor) -> bool:
    """Whether the elements can be negative."""
    return input._dtype.is_signed


@function("is_complex")
def is_complex(input: Tensor) -> bool:
    """False: there are no complex tensors."""
    return False


@function("get_device")
def get_device(input: Tensor) -> int:
    """The index of the device; -1 for the CPU."""
    return -1 if input.cell.device == "CPU" else input.device.index or 0


@method("data_ptr", "const_data_ptr")
def data_ptr(x: Tensor) -> int:
    """A number that two tensors share exactly if they begin at the same place of one storage: the address
    where others share the memory."""
    return pointer(x.cell) + x._offset * x._dtype.itemsize


Tensor.itemsize = property(element_size)
Tensor.nbytes = property(lambda x: numel(x) * element_size(x))
Tensor.is_cuda = property(lambda x: x.cell.device.startswith("CL"))
Tensor.is_meta = property(lambda x: x.cell.device == "META")  # type: ignore[attr-defined]
Tensor.is_cpu = property(lambda x: x.cell.device == "CPU")


# Copies and pickles


@method("__deepcopy__")
def deep_copy(x: Tensor, memo: dict[int, Any]) -> Any:
    """A leaf of its own with the values, the gradient and the attributes of x. Raises GradientError for
    others than leaves."""
    if id(x) in memo:
        return memo[id(x)]
    if not x.is_leaf:
        raise GradientError(
            "[deepcopy] Only Tensors created explicitly by the user (graph leaves) support "
            "the deepcopy "
            "protocol at the moment: detach() it first"
        )
    # tensors that share storage share the copy of it
    cell = copy.deepcopy(storage_of_cell(x.cell), memo).cell(x.cell.node.dtype)
    chain = x._history.prefix + x._chain
    data = assemble(Tensor, History(cell), chain, x._shape, x._dtype, x._strides, x._offset)
    made = Tensor._make_subclass(type(x), data, x.requires_grad)
    memo[id(x)] = made
    made._grad = None if x._grad is None else copy.deepcopy(x._grad, memo)
    for name, value in x.__dict__.items():
        if name not in own_attributes:
            made.__dict__[name] = copy.deepcopy(value, memo)
    return made


@method("__copy__")
def _copy(x: Tensor) -> Tensor:
    made = object.__new__(type(x))
    made.__dict__.update(x.__dict__)
    return made


own_attributes = frozenset(
    {
        "_history",
        "_chain",
        "_shape",
        "_dtype",
        "_strides",
        "_offset",
        "_plain",
        "_plain_base",
        "_graph",
        "_graph_root",
        "_grad",
        "_base",
        "_hooks",
        "_after_grad",
        "_made_by",
        "_label",
    }
)


def rebuild_tensor(
    cls: type,
    storage: UntypedStorage,
    dtype_name: str,
    place: tuple[tuple[int, ...], tuple[int, ...], int],
    requires_grad: bool,
    attributes: dict[str, Any],
) -> Tensor:
    """What unpickling calls: a leaf over a storage, with a shape, strides and an offset."""
    data = strided_tensor(storage, dtypes.BY_NAME[dtype_name], *place)
    made = Tensor._make_subclass(cls, data, requires_grad)
    label = attributes.pop("label", None)
    made.__dict__.update(attributes)
    if label is not None:
        made.label = label
    return made


@method("__reduce_ex__")
def _reduce(x: Tensor, protocol: Any) -> tuple[Any, ...]:
    attributes = {k: v for k, v in x.__dict__.items() if k not in own_attributes}
    if x._label is not None:
        attributes["label"] = x._label.text
    place = tuple(x._shape), tuple(x.stride()), x._offset
    storage = storage_of_cell(x.cell)
    return rebuild_tensor, (type(x), storage, x._dtype.name, place, x.requires_grad, attributes)


@method("__array_wrap__")
def _array_wrap(x: Tensor, array: np.ndarray, context: Any = None, return_scalar: bool = False) -> Tensor:
    """What NumPy calls with the result of its function of a tensor."""
    array = np.asarray(array)
    return from_node(upload(array, known_dtype("numpy", array), x.cell.device), x.cell.device)
