"""Tensors from and for others without a copy: arrays of NumPy, objects with bytes, and DLPack.

Memory is shared on the devices of the host; a device with memory of its own gets a copy.
"""

from __future__ import annotations

import ctypes
import mmap
import warnings
from typing import Any

import numpy as np

from lazygrad import dtypes
from lazygrad.dtypes import DType
from lazygrad.engine import upload
from lazygrad.errors import (
    ArgumentError,
    ArgumentTypeError,
    DTypeError,
    GradientError,
    LazygradError,
)
from lazygrad.tensors.core import Tensor, creator, from_node, method, row_strides_of
from lazygrad.tensors.creation import checked_dtype, tensor
from lazygrad.tensors.devices import usable_device
from lazygrad.tensors.modes import mode
from lazygrad.tensors.promotion import get_default_dtype, known_dtype
from lazygrad.tensors.shared_memory import HOSTS, expose, share, sharing_tensor
from lazygrad.tensors.storage import (
    UntypedStorage,
    bytes_of,
    storage_of_cell,
    strided_tensor,
)

CPU, CUDA, OPENCL = 1, 2, 4  # DLPack's numbers of devices
HOST_KINDS = (CPU, 3)  # memory of the host, pinned or not
BFLOAT = 4  # DLPack's number of bfloat16's kind, which NumPy has not
UINT = 1


class ExchangeError(LazygradError, BufferError):
    """Memory that cannot be handed to others, or taken from them."""


@creator("from_numpy")
def from_numpy(ndarray: np.ndarray) -> Tensor:
    """A tensor over the memory of an array: writes to either are seen in both. A copy where the default
    device has memory of its own. Raises ArgumentTypeError for anything else and for elements that there are
    not, ArgumentError for negative strides and bytes in another order."""
    if not isinstance(ndarray, np.ndarray):
        raise ArgumentTypeError(f"[from_numpy] expected np.ndarray (got {type(ndarray).__name__})")
    return _over_array("from_numpy", ndarray)


def _over_array(name: str, array: np.ndarray) -> Tensor:
    if any(s < 0 for s in array.strides) and array.size:
        raise ArgumentError(
            f"[{name}] At least one stride in the given numpy array is negative, and tensors with negative "
            "strides are not currently supported. (You can probably work around this by making a copy of "
            "your array with array.copy().)"
        )
    dtype = known_dtype(name, array)
    if not array.dtype.isnative:
        raise ArgumentError(
            f"[{name}] given numpy array has byte order different from the native byte order. Conversion "
            "between byte orders is currently not supported."
        )
    if any(s % array.itemsize for s in array.strides):
        raise ArgumentError(
            f"[{name}] given numpy array strides not a multiple of the element byte size. Copy the numpy "
            "array to reallocate the memory."
        )
    if not array.flags.writeable:
        warnings.warn(
            "The given NumPy array is not writable: writing to the tensor will not be seen in the array. You "
            "may want to copy the array before converting it to a tensor.",
            stacklevel=3,
        )
    return _sharing(array, dtype)


def _sharing(array: np.ndarray, dtype: DType) -> Tensor:
    """A tensor over an array of `dtype`'s bits, or a copy on a device with memory of its own."""
    where = usable_device(None)
    if where in HOSTS:
        return sharing_tensor(np.asarray(array), dtype, where)
    return from_node(upload(dtypes.from_storage(np.asarray(array), dtype), dtype, where), where)


@creator("as_tensor")
def as_tensor(data: Any, dtype: DType | None = None, device: Any = None) -> Tensor:
    """`data` itself if it is a Tensor of that type and device already; a tensor over the memory of an array,
    if that need not be converted; else a new tensor."""
    checked_dtype("as_tensor", dtype)
    if isinstance(data, np.ndarray):
        data = _over_array("as_tensor", data)
        device = usable_device(device)
    if isinstance(data, Tensor):
        return data.to(device=data.device if device is None else device, dtype=dtype or data._dtype)
    return tensor(data, dtype=dtype, device=device)


@creator("asarray")
def asarray(
    obj: Any,
    *,
    dtype: DType | None = None,
    device: Any = None,
    copy: bool | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor over the memory of a tensor, an array, an object with DLPack or with bytes; or of numbers.

    `copy`: True for a copy in any case, False for none: then raises ArgumentError where one is needed.
    """
    checked_dtype("asarray", dtype)
    if isinstance(obj, Tensor | np.ndarray):
        made, shares = as_tensor(obj) if isinstance(obj, np.ndarray) else obj, True
    elif hasattr(obj, "__dlpack__"):
        made, shares = from_dlpack(obj), True
    elif _has_bytes(obj):
        made, shares = frombuffer(obj, dtype=dtype or dtypes.float32), True
    else:
        made, shares = tensor(obj, dtype=dtype, device=device), False
    result = made.to(device=made.device if device is None else device, dtype=dtype or made._dtype)
    if copy is False and (not shares or result is not made):
        raise ArgumentError(f"[asarray] can't alias a {type(obj).__name__} as this type on this device")
    if copy and shares and result is made:
        result = result.clone()
    if result.requires_grad and not requires_grad:
        result = result.detach()
    return result.requires_grad_() if requires_grad else result


def _has_bytes(obj: Any) -> bool:
    try:
        memoryview(obj)
    except TypeError:
        return False
    return not isinstance(obj, np.generic)


@creator("frombuffer")
def frombuffer(
    buffer: Any, *, dtype: DType, count: int = -1, offset: int = 0, requires_grad: bool = False
) -> Tensor:
    """A tensor of one dimension over the bytes of an object, `count` elements (all) from byte `offset` on.
    Raises ArgumentError where they are not there."""
    checked_dtype("frombuffer", dtype)
    try:
        view = memoryview(buffer)
    except TypeError as problem:
        raise ArgumentError("[frombuffer] object does not implement Python buffer protocol.") from problem
    memory = np.frombuffer(view, np.uint8) if view.nbytes else np.zeros(0, np.uint8)
    length, size = memory.nbytes, dtype.itemsize
    if not length or not count:
        raise ArgumentError(
            f"[frombuffer] both buffer length ({length}) and count ({count}) must not be 0"
        )
    if not 0 <= offset < length:
        raise ArgumentError(
            f"[frombuffer] offset ({offset} bytes) must be non-negative and no greater than buffer length "
            f"({length} bytes) minus 1"
        )
    if count < 0 and (length - offset) % size:
        raise ArgumentError(
            f"[frombuffer] buffer length ({length - offset} bytes) after offset ({offset} bytes) must be a "
            f"multiple of element size ({size})"
        )
    count = (length - offset) // size if count < 0 else count
    if offset + count * size > length:
        raise ArgumentError(
            f"[frombuffer] requested buffer length ({count} * {size} bytes) after offset ({offset} bytes) "
            f"must not be greater than actual buffer length ({length} bytes)"
        )
    if not memory.flags.writeable:
        warnings.warn(
            "The given buffer is not writable: writing to the tensor will not be seen in it. You may want to "
            "copy the buffer before converting it to a tensor.",
            stacklevel=2,
        )
    part = memory[offset : offset + count * size]
    made = _sharing(np.ndarray((count,), dtype.storage, part), dtype)
    return made.requires_grad_() if requires_grad else made


@creator("from_file")
def from_file(
    filename: Any, shared: bool | None = None, size: int = 0, *, dtype: DType | None = None
) -> Tensor:
    """A tensor of `size` elements over a file that is mapped. `shared`: writes go to the file, which is made
    as large as needed; else they stay in this process. Raises ArgumentError for a file that is too small."""
    dtype = checked_dtype("from_file", dtype) or get_default_dtype()
    count = size * dtype.itemsize
    with open(filename, "a+b" if shared else "rb") as file:
        length = file.seek(0, 2)
        if length < count and shared:
            file.truncate(count)
        elif length < count:
            raise ArgumentError(f"[from_file] {filename} has {length} bytes, {size} elements take {count}")
        if not count:
            return from_node(upload(np.zeros(0, dtype.numpy), dtype, "CPU"), "CPU")
        access = mmap.ACCESS_WRITE if shared else mmap.ACCESS_COPY
        memory = np.frombuffer(mmap.mmap(file.fileno(), count, access=access), dtype.storage)
    return sharing_tensor(memory, dtype, "CPU")


# Storages


@method("set_")
def set_(
    x: Tensor, source: Any = None, storage_offset: int = 0, size: Any = None, stride: Any = None
) -> Tensor:
    """The tensor becomes one over another storage: that of a tensor, as that tensor has it, or a storage
    from an offset on, with a size and strides; without a source an empty one. Raises GradientError for leaves
    that require a gradient, DTypeError for a tensor of another type, ShapeError for sizes beyond the
    storage."""
    if x.is_leaf and x.requires_grad and mode.enabled:
        raise GradientError(
            "[set_] a leaf Variable that requires grad is being used in an in-place operation: put it under "
            "lazygrad.no_grad()"
        )
    if isinstance(source, Tensor):
        if source._dtype is not x._dtype:
            raise DTypeError(
                f"[set_] Could not set tensor of type {source._dtype!r} to a tensor of type {x._dtype!r}"
            )
        if size is None:
            x.data = source.detach()
            return x
        source = storage_of_cell(source.cell)
    if hasattr(source, "untyped"):  # a storage, of bytes or of elements
        source = source.untyped()
    if source is None:
        source, size = UntypedStorage(where=x.cell.device), (0,)
    if not isinstance(source, UntypedStorage):
        raise ArgumentTypeError(f"[set_] expected a tensor or a storage, not {type(source).__name__}")
    if size is None:
        size = (source.nbytes() // x._dtype.itemsize - storage_offset,)
    shape = tuple(size)
    strides = row_strides_of(shape) if stride is None else tuple(stride)
    x.data = strided_tensor(source, x._dtype, shape, strides, storage_offset)
    return x


@method("is_set_to")
def is_set_to(x: Tensor, tensor: Tensor) -> bool:
    """Whether both are the same elements of one storage in the same shape."""
    same = x.cell is tensor.cell and x._offset == tensor._offset
    return same and x._shape == tensor._shape and x.stride() == tensor.stride()


@method("share_memory_")
def share_memory_(x: Tensor) -> Tensor:
    """Move the storage into memory that processes forked from this one share: what one writes, all see. On
    devices with memory of their own nothing happens."""
    cell = x.cell
    if cell.device in HOSTS and cell.node.size and not is_shared(x):
        held = np.frombuffer(mmap.mmap(-1, cell.node.size * cell.node.dtype.itemsize), np.uint8)
        held[...] = bytes_of(cell)
        cell.shared = None
        share(cell, held, foreign=True)
    return x


@method("is_shared")
def is_shared(x: Tensor) -> bool:
    """Whether other processes share the storage."""
    shared = x.cell.shared
    base = None if shared is None else shared.memory.base
    return isinstance(getattr(base, "obj", base), mmap.mmap)


# DLPack: a capsule with a struct that says where elements are


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_kind", ctypes.c_int32),
        ("device_index", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
    ]


_VERSIONED_HEAD = 32  # bytes before the tensor in the newer struct: version, context, deleter, flags
_NAMES = {b"dltensor": 0, b"dltensor_versioned": _VERSIONED_HEAD}

_is_valid = ctypes.pythonapi.PyCapsule_IsValid
_is_valid.restype, _is_valid.argtypes = ctypes.c_int, [ctypes.py_object, ctypes.c_char_p]
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


def _described(capsule: Any) -> _Tensor:
    """The struct in a capsule. Raises ArgumentError for one that is used up, or no capsule."""
    for name, head in _NAMES.items():
        if type(capsule).__name__ == "PyCapsule" and _is_valid(capsule, name):
            return _Tensor.from_address(_pointer(capsule, name) + head)
    raise ArgumentError(
        "[from_dlpack] received an invalid capsule. Note that DLTensor capsules can be consumed only once, "
        "so you might have already constructed a tensor from it once."
    )


@method("__dlpack__")
def _dlpack(
    x: Tensor, *, stream: Any = None, max_version: Any = None, dl_device: Any = None, copy: bool | None = None
) -> Any:
    """A capsule over the tensor's memory. Raises ExchangeError for tensors that require a gradient or are on
    a device with memory of its own."""
    if x.requires_grad:
        raise ExchangeError("[dlpack] Can't export tensors that require gradient, use tensor.detach()")
    if x.cell.device not in HOSTS:
        raise ExchangeError(f"[dlpack] {x.device} has memory of its own: move the tensor with .cpu() first")
    if dl_device is not None and int(dl_device[0]) != CPU:
        raise ExchangeError(f"[dlpack] the tensor is on {x.device}, not on DLPack's device {dl_device}")
    array = expose(x.clone() if copy else x)
    capsule = array.__dlpack__(max_version=max_version) if max_version is not None else array.__dlpack__()
    if x._dtype is dtypes.bfloat16:
        _described(capsule).code = BFLOAT
    return capsule


@method("__dlpack_device__")
def _dlpack_device(x: Tensor) -> tuple[int, int]:
    """DLPack's kind and number of the tensor's device."""
    return (CPU, 0) if x.cell.device in HOSTS else (OPENCL, x.device.index or 0)


class _Holder:
    """A capsule as NumPy wants to have it."""

    def __init__(self, capsule: Any) -> None:
        self.capsule = capsule

    def __dlpack__(self, **_: Any) -> Any:
        return self.capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return CPU, 0


class _Writable:
    """An array, to be written."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, told = array, array.__array_interface__
        self.__array_interface__ = {**told, "data": (told["data"][0], False)}


@creator("from_dlpack")
def from_dlpack(ext_tensor: Any, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor over the memory of an object with `__dlpack__`, or of a capsule. Raises ArgumentError
    for anything else, ExchangeError for memory that is not the host's, DTypeError for elements that there are
    not."""
    capsule = ext_tensor
    if hasattr(ext_tensor, "__dlpack__"):
        kind = ext_tensor.__dlpack_device__()[0] if hasattr(ext_tensor, "__dlpack_device__") else CPU
        if int(kind) not in HOST_KINDS:
            raise ExchangeError(f"[from_dlpack] memory on DLPack's device {int(kind)} is not the host's")
        try:
            capsule = ext_tensor.__dlpack__(max_version=(1, 0))
        except TypeError:  # from before there were versions
            capsule = ext_tensor.__dlpack__()
    told = _described(capsule)
    if told.device_kind not in HOST_KINDS:
        raise ExchangeError(f"[from_dlpack] memory on DLPack's device {told.device_kind} is not the host's")
    unversioned = bool(_is_valid(capsule, b"dltensor"))
    is_bfloat = told.code == BFLOAT and told.bits == 16
    if is_bfloat:
        told.code = UINT
    try:
        array = np.from_dlpack(_Holder(capsule))
    except (BufferError, RuntimeError, ValueError) as problem:
        raise DTypeError(f"[from_dlpack] {problem}: kind {told.code} of {told.bits} bits") from problem
    if unversioned:  # which cannot say that it is read-only, so NumPy assumes that it is
        array = np.asarray(_Writable(array))
    if any(s < 0 for s in array.strides):
        raise ExchangeError("[from_dlpack] tensors with negative strides are not supported: copy it")
    made = _sharing(array, dtypes.bfloat16 if is_bfloat else known_dtype("from_dlpack", array))
    if device is not None and usable_device(device) != made.cell.device:
        return made.to(device)
    return made.clone() if copy else made


@creator("to_dlpack")
def to_dlpack(tensor: Tensor) -> Any:
    """A capsule over a tensor's memory, for those who take no objects."""
    return tensor.__dlpack__()
