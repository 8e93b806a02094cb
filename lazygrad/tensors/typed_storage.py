"""`TypedStorage`: the elements that tensors share; and the legacy classes of one type each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from lazygrad import dtypes
from lazygrad.dtypes import DType
from lazygrad.errors import ArgumentError, ArgumentTypeError, OutOfBoundsError
from lazygrad.tensors.conversion import legacy_name
from lazygrad.tensors.core import Tensor, method
from lazygrad.tensors.creation import tensor
from lazygrad.tensors.devices import device as device_type
from lazygrad.tensors.promotion import get_default_dtype
from lazygrad.tensors.storage import UntypedStorage, storage_of_cell, strided_tensor

_FORMS = "no arguments, (int size), (Sequence data), or (*, wrap_storage)"


class TypedStorage:
    """The elements that tensors share: an UntypedStorage and the type of its elements. Made of a number of
    new elements, of a sequence of them, or by `wrap_storage=` over bytes that there are."""

    first = 0  # the element at which it begins
    is_sparse = False
    filename = None  # of a file whose memory it would be

    def __init__(self, *args: Any, device: Any = None, dtype: DType | None = None,
                 wrap_storage: UntypedStorage | None = None):
        """Raises ArgumentError for other forms, ArgumentTypeError for values of other types."""
        if wrap_storage is not None:
            if args or dtype is None or device is not None:
                raise ArgumentError("[TypedStorage] with 'wrap_storage' give 'dtype', no size, no "
                                           "data and no device")
            _check_bytes("TypedStorage", wrap_storage)
            self._begin(wrap_storage, dtype, 0, None)
            return
        dtype = get_default_dtype() if dtype is None else dtype
        self._begin(_new_bytes("TypedStorage", args, dtype, device), dtype, 0, None)

    def _begin(self, untyped: UntypedStorage, dtype: DType, first: int, size: int | None) -> None:
        self._untyped_storage, self.dtype, self.first = untyped, dtype, first
        self._numel = size

    @property
    def device(self) -> device_type:
        """Where the elements are."""
        return self._untyped_storage.device

    @property
    def is_cuda(self) -> bool:
        """Whether the elements are in the memory of a device of its own."""
        return self._untyped_storage.is_cuda

    def untyped(self) -> UntypedStorage:
        """The bytes."""
        return self._untyped_storage

    def size(self) -> int:
        """The number of elements."""
        if self._numel is not None:
            return self._numel
        return self._untyped_storage.nbytes() // self.dtype.itemsize - self.first

    __len__ = _size = size

    def element_size(self) -> int:
        """Bytes of one element."""
        return self.dtype.itemsize

    def nbytes(self) -> int:
        """The number of bytes."""
        return self.size() * self.dtype.itemsize

    def __sizeof__(self) -> int:
        """The object and its bytes, as `sys.getsizeof` tells them."""
        return object.__sizeof__(self) + self.nbytes()

    def data_ptr(self) -> int:
        """A number that two storages share exactly if they begin at the same place."""
        return self._untyped_storage.data_ptr() + self.first * self.dtype.itemsize

    @property
    def _cdata(self) -> int:
        return self._untyped_storage._cdata

    def tensor(self) -> Tensor:
        """The elements as a tensor of one dimension, which shares them."""
        return strided_tensor(self._untyped_storage, self.dtype, (self.size(),), (1,), self.first)

    def tolist(self) -> list[Any]:
        """The elements as Python numbers."""
        return self.tensor().tolist()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.tolist())

    def __getitem__(self, index: Any) -> Any:
        """Raises ArgumentError for a slice, OutOfBoundsError for an element that there is not."""
        if isinstance(index, slice):
            raise ArgumentError("[TypedStorage] slices are only supported in "
                                       "UntypedStorage.__getitem__: use a tensor")
        if not isinstance(index, int):
            raise ArgumentError(f"[TypedStorage] can't index a {type(self)} with {type(index)}")
        if not -self.size() <= index < self.size():
            raise OutOfBoundsError(f"[TypedStorage] index {index} out of range for storage of size "
                                   f"{self.size()}")
        return self.tensor()[index].item()

    def __setitem__(self, index: Any, value: Any) -> None:
        self.tensor()[index] = value

    def fill_(self, value: Any) -> TypedStorage:
        """Every element becomes `value`."""
        self.tensor().fill_(value)
        return self

    def copy_(self, source: Any, non_blocking: bool | None = None) -> TypedStorage:
        """The bytes of another storage. Raises ShapeError for another number of them."""
        self._untyped_storage.copy_(source, non_blocking)
        return self

    def resize_(self, size: int) -> TypedStorage:
        """As many elements as asked for; see UntypedStorage.resize_."""
        self._untyped_storage.resize_(size * self.dtype.itemsize)
        return self

    def to(self, *, device: Any, non_blocking: bool = False) -> TypedStorage:
        """The elements on a device; itself where they are there."""
        moved = self._untyped_storage.to(device)
        return self if moved is self._untyped_storage else typed_storage(moved, self.dtype, self.first)

    def cpu(self) -> TypedStorage:
        """The elements on the CPU."""
        return self.to(device="CPU")

    def cuda(self, device: Any = None, non_blocking: bool = False) -> TypedStorage:
        """The elements on an accelerator. Raises DeviceError where there is none."""
        return self.to(device="cuda" if device is None else device)

    def clone(self) -> TypedStorage:
        """A copy."""
        return typed_storage(self._untyped_storage.clone(), self.dtype, self.first, self._numel)

    __copy__ = clone

    def get_device(self) -> int | None:
        """The number of its device, None for the CPU."""
        return self._untyped_storage.get_device()

    def is_shared(self) -> bool:
        """Whether other processes see the memory."""
        return self._untyped_storage.is_shared()

    def is_pinned(self, device: Any = None) -> bool:
        """False: memory is not pinned."""
        return False

    def pin_memory(self, device: Any = None) -> TypedStorage:
        """Itself: copies to a device need no pinned memory."""
        return self

    def resizable(self) -> bool:
        """Whether `resize_` may change its size."""
        return self._untyped_storage.resizable()

    def pickle_storage_type(self) -> str:
        """The name of the legacy class of its type: "FloatStorage"."""
        return legacy_name(self.dtype, "Storage")

    def type(self, dtype: Any = None, non_blocking: bool = False) -> Any:
        """The name of its legacy class, or the elements as those of another."""
        if dtype is None:
            return f"{dtypes.shown_package}.{self.pickle_storage_type()}"
        name = dtype.rpartition(".")[2] if isinstance(dtype, str) else dtype.__name__
        return _converted(self, LEGACY_STORAGES[name].dtype)

    def __repr__(self) -> str:
        values = "\n ".join(map(str, self))
        return (f" {values}\n[{dtypes.shown_package}.storage.TypedStorage(dtype={self.dtype}, "
                f"device={self.device}) of size {self.size()}]")


def typed_storage(
    untyped: UntypedStorage, dtype: DType, first: int = 0, size: int | None = None
) -> TypedStorage:
    """Elements of a type over bytes that there are, from one element on; as many as there are, or `size`."""
    made = object.__new__(TypedStorage)
    made._begin(untyped, dtype, first, size)
    return made


def _check_bytes(name: str, value: Any) -> None:
    if not isinstance(value, UntypedStorage):
        raise ArgumentTypeError(f"[{name}] Argument 'wrap_storage' must be UntypedStorage, but got "
                                f"{type(value)}")


def _new_bytes(name: str, args: tuple[Any, ...], dtype: DType, device: Any) -> UntypedStorage:
    if len(args) > 1:
        raise ArgumentError(f"[{name}] Too many positional arguments: expected {_FORMS}")
    given = args[0] if args else 0
    if isinstance(given, int):
        return UntypedStorage(given * dtype.itemsize, device=device)
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise ArgumentTypeError(f"[{name}] Argument type not recognized: {type(given)}; expected {_FORMS}")
    return storage_of_cell(tensor(list(given), dtype=dtype, device=device).cell)


def _converted(storage: TypedStorage | UntypedStorage, dtype: DType) -> TypedStorage:
    """The elements, or the bytes, as numbers of another type."""
    if isinstance(storage, UntypedStorage):
        raw: Any = tensor(np.array(storage.host_bytes()), device=storage.device)
    else:
        raw = storage.tensor()
    return typed_storage(storage_of_cell(raw.to(dtype, copy=True).cell), dtype)


def _converting(name: str, dtype: DType) -> Callable[..., TypedStorage]:
    def convert(storage: TypedStorage | UntypedStorage) -> TypedStorage:
        return _converted(storage, dtype)

    convert.__name__, convert.__doc__ = name, f"The elements as {dtype.name}, in new memory."
    return convert


for _name, _dtype in dtypes.LEGACY_NAMES.items():
    for _kind in (UntypedStorage, TypedStorage):
        setattr(_kind, _name.lower(), _converting(_name.lower(), _dtype))


class _LegacyKind(type):
    """The type of the legacy classes: calling one makes a TypedStorage, and being an instance means having
    its type of elements."""

    dtype: DType
    place: str | None

    def __call__(cls, *args: Any, wrap_storage: Any = None, device: Any = None, dtype: Any = None) -> Any:
        """Raises ArgumentError for a device or a dtype, which the class has."""
        for name, value in (("device", device), ("dtype", dtype)):
            if value is not None:
                raise ArgumentError(f"[{cls.__name__}] Keyword argument {name!r} cannot be specified")
        if wrap_storage is None:
            return typed_storage(_new_bytes(cls.__name__, args, cls.dtype, cls.place), cls.dtype)
        if args:
            raise ArgumentError(f"[{cls.__name__}] No positional arguments should be given when using "
                                       "'wrap_storage'")
        _check_bytes(cls.__name__, wrap_storage)
        return typed_storage(wrap_storage, cls.dtype)

    def __instancecheck__(cls, value: Any) -> bool:
        there = type(value) is TypedStorage and value.dtype is cls.dtype
        return there and (value.device.type == "cl") == (cls.place is not None)

    def __repr__(cls) -> str:
        return f"<class '{dtypes.shown_package}.{cls.__name__}'>"

    def from_buffer(cls, buffer: Any, byte_order: str | None = None, count: int = -1, offset: int = 0, *,
                    dtype: Any = None) -> TypedStorage:
        """Elements copied from an object with bytes, which are in this order ("native", "little", "big")."""
        order = {"big": ">", "little": "<"}.get(byte_order or "native", "=")
        raw = np.frombuffer(buffer, f"{order}u{cls.dtype.itemsize}", count, offset)
        return typed_storage(UntypedStorage(raw.astype(f"=u{cls.dtype.itemsize}").view(np.uint8)), cls.dtype)


def legacy_storages(place: str | None) -> dict[str, Any]:
    """The legacy classes of storages on the CPU, or on another device."""
    return {
        name: _LegacyKind(name, (TypedStorage,), {
            "dtype": dtype, "place": place, "__doc__": f"Makes storages of {dtype.name}."})
        for name, dtype in ((f"{n}Storage", d) for n, d in dtypes.LEGACY_NAMES.items())
    }


LEGACY_STORAGES = legacy_storages(None)


@method("storage_type")
def storage_type(x: Tensor) -> Any:
    """The legacy class of its storage. Raises DTypeError for types that are younger than these classes."""
    return LEGACY_STORAGES[legacy_name(x._dtype, "Storage")]


@method("storage", "_typed_storage")
def storage(x: Tensor) -> TypedStorage:
    """The elements that the tensor and its views share."""
    return typed_storage(storage_of_cell(x.cell), x._dtype)
