"""What files may name, and what it becomes here: the functions with which PyTorch puts tensors together, its
types, and plain containers.

Each function checks what it is given: a file can call it with anything.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from lazygrad import dtypes
from lazygrad.dtypes import DType
from lazygrad.errors import DTypeError, FileFormatError, UnsafeFileError
from lazygrad.missing import NAMED, MissingType
from lazygrad.nn.parameter import Parameter
from lazygrad.serialization.pickle_reader import Names, attributes_of, checked_key
from lazygrad.tensors import Size, Tensor, device
from lazygrad.tensors.conversion import own_attributes
from lazygrad.tensors.storage import UntypedStorage, strided_tensor
from lazygrad.tensors.typed_storage import TypedStorage, typed_storage

STORAGES = {f"{name}Storage": dtype for name, dtype in dtypes.LEGACY_NAMES.items()}
STORAGE_NAMES = {dtype: name for name, dtype in STORAGES.items()}

# what PyTorch has and lazygrad has not
_MISSING_STORAGES = ("ComplexDoubleStorage", "ComplexFloatStorage", "QUInt8Storage", "QInt8Storage",
                     "QInt32Storage", "QUInt4x2Storage", "QUInt2x4Storage")
_MISSING_KINDS = {
    "_rebuild_sparse_tensor": "sparse",
    "_rebuild_qtensor": "quantized",
    "_rebuild_nested_tensor": "nested",
    "_rebuild_meta_tensor_no_storage": "meta",
    "_rebuild_wrapper_subclass": "wrapper subclass",
}


class StorageKind:
    """What the name of a storage class stands for in a persistent id: its type, None for bytes."""

    def __init__(self, dtype: DType | None, missing: str | None = None) -> None:
        self._dtype, self._missing = dtype, missing

    @property
    def dtype(self) -> DType | None:
        """The type of the elements. Raises DTypeError for one that lazygrad lacks."""
        if self._missing is not None:
            raise DTypeError(
                f"[load] the file holds a {self._missing}: lazygrad has no elements of that type; convert it "
                "where it was saved"
            )
        return self._dtype


def rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any) -> Tensor:
    """A tensor over a storage of the file. Raises FileFormatError for what is none, ShapeError for numbers
    that lead out of it."""
    if not isinstance(storage, TypedStorage) or not _is_sizes(size) or not _is_sizes(stride):
        raise FileFormatError(f"[load] no tensor can be made of a {type(storage).__name__} and these sizes")
    return _over(storage, storage.dtype, offset, size, stride)


def _over(storage: TypedStorage, dtype: DType, offset: Any, size: Any, stride: Any) -> Tensor:
    if type(offset) is int:
        offset += storage.first * storage.dtype.itemsize // dtype.itemsize
    return strided_tensor(storage.untyped(), dtype, tuple(size), tuple(stride), offset)


def _is_sizes(value: Any) -> bool:
    return isinstance(value, tuple | list)


def rebuild_tensor_v2(
    storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any = False, hooks: Any = None,
    metadata: Any = None,
) -> Tensor:
    """`rebuild_tensor`, a leaf that requires a gradient where the file says so."""
    if metadata:
        raise DTypeError("[load] the file holds a conjugated or negated view: resolve it where it was saved")
    return _leaf(rebuild_tensor(storage, offset, size, stride), requires_grad)


def rebuild_tensor_v3(
    storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any, dtype: Any,
    metadata: Any = None,
) -> Tensor:
    """A tensor of a type over a storage of bytes."""
    if isinstance(dtype, MissingType):
        raise DTypeError(f"[load] the file holds a tensor of {dtype.name}, which lazygrad lacks")
    known = isinstance(storage, TypedStorage | UntypedStorage) and isinstance(dtype, DType)
    if not known or not _is_sizes(size) or not _is_sizes(stride):
        raise FileFormatError(f"[load] no tensor can be made of a {type(storage).__name__} and these sizes")
    typed = storage if isinstance(storage, TypedStorage) else typed_storage(storage, dtypes.uint8)
    return _leaf(_over(typed, dtype, offset, size, stride), requires_grad)


def _leaf(x: Tensor, requires_grad: Any) -> Tensor:
    return x.requires_grad_() if requires_grad is True else x


def rebuild_parameter(data: Any, requires_grad: Any = True, hooks: Any = None) -> Parameter:
    """A parameter that shares the storage of a tensor."""
    if not isinstance(data, Tensor):
        raise FileFormatError(f"[load] no parameter can be made of a {type(data).__name__}")
    return Parameter(data.detach(), requires_grad is True and data.dtype.kind == "float")


def rebuild_parameter_with_state(data: Any, requires_grad: Any, hooks: Any, state: Any) -> Parameter:
    """`rebuild_parameter` with attributes."""
    return _with_attributes(rebuild_parameter(data, requires_grad, hooks), state)


def _with_attributes(made: Any, state: Any) -> Any:
    for part in state if isinstance(state, tuple) else (state,):
        for name, value in attributes_of(part or {}).items():
            if name in own_attributes or hasattr(type(made), name):
                raise UnsafeFileError(f"[load] the attribute {name[:40]!r} is not the file's to set")
            made.__dict__[name] = value
    return made


def rebuild_from_type(function: Any, kind: Any, args: Any, state: Any) -> Any:
    """A tensor with attributes. Raises UnsafeFileError for another class than Tensor and Parameter, and for
    functions that rebuild no tensor."""
    rebuild = _REBUILDERS.get(getattr(function, "__name__", ""))
    if rebuild is None or rebuild is not function or type(args) is not tuple:
        raise UnsafeFileError("[load] a tensor can only be rebuilt by the functions that rebuild tensors")
    if kind not in (Tensor, Parameter):
        name = getattr(kind, "__qualname__", type(kind).__name__)
        raise UnsafeFileError(f"[load] a tensor of the class {name} is refused with weights_only=True")
    made = function(*args)
    if type(made) is not kind:
        made = Tensor._make_subclass(kind, made, made.requires_grad)
    return _with_attributes(made, state)


def rebuild_on_device(data: Any, dtype: Any, where: Any, requires_grad: Any) -> Tensor:
    """A tensor of another type, that was saved from a device without storages of its own."""
    if not isinstance(data, Tensor) or not isinstance(dtype, DType):
        raise FileFormatError(f"[load] no tensor can be made of a {type(data).__name__}")
    return _leaf(data.detach().to(dtype), requires_grad)


_REBUILDERS: dict[str, Callable[..., Any]] = {
    f.__name__: f
    for f in (rebuild_tensor, rebuild_tensor_v2, rebuild_tensor_v3, rebuild_parameter,
              rebuild_parameter_with_state, rebuild_on_device)
}


def _refused_kind(kind: str) -> Callable[..., Any]:
    def refuse(*_: Any) -> Any:
        raise DTypeError(f"[load] the file holds a {kind} tensor, which lazygrad lacks: save a dense one")

    return refuse


# Plain containers and values, with the arguments that pickles give them


def _ordered(items: Any = ()) -> OrderedDict[Any, Any]:
    pairs = items.items() if isinstance(items, Mapping) else items
    return OrderedDict((checked_key(key), value) for key, value in pairs)


def _counter(items: Any = ()) -> Counter[Any]:
    made: Counter[Any] = Counter()
    for key, value in items.items() if isinstance(items, dict) else ((item, 1) for item in items):
        made[checked_key(key)] += value
    return made


def _set(items: Any = ()) -> set[Any]:
    return set(map(checked_key, items if isinstance(items, list | tuple | set | frozenset) else ()))


def _bytearray(data: Any = b"", encoding: Any = None) -> bytearray:
    return bytearray(_encoded(data, encoding) if encoding is not None else bytes(_bytes(data)))


def _bytes(data: Any) -> bytes:
    if not isinstance(data, bytes | bytearray):
        raise FileFormatError(f"[load] expected bytes, not {type(data).__name__}")
    return bytes(data)


def _encoded(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1", "ascii", "utf-8", "utf8"):
        raise UnsafeFileError(f"[load] the encoding {str(encoding)[:40]!r} is refused")
    return text.encode(encoding)


def _size(items: Any = ()) -> Size:
    if not _is_sizes(items) or not all(type(n) is int for n in items):
        raise FileFormatError("[load] a Size is made of integers")
    return Size(items)


def _device(kind: Any, index: Any = None) -> Any:
    """A device as the file names it; the name alone where there is no such device here."""
    name = kind if index is None else f"{kind}:{index}"
    if not isinstance(name, str) or len(name) > 40:
        raise FileFormatError("[load] a device is named by a string")
    return device(name)


def _complex(real: Any = 0, imaginary: Any = 0) -> complex:
    return complex(float(real), float(imaginary))


def _layout(name: Any) -> Any:
    found = NAMED.get(name.rpartition(".")[2]) if isinstance(name, str) else None
    if found is None:
        raise FileFormatError(f"[load] no layout is called {str(name)[:40]!r}")
    return found


def _table() -> Names:
    functions: dict[str, Callable[..., Any]] = {
        "torch._utils._rebuild_tensor": rebuild_tensor,
        "torch._utils._rebuild_tensor_v2": rebuild_tensor_v2,
        "torch._utils._rebuild_tensor_v3": rebuild_tensor_v3,
        "torch._utils._rebuild_parameter": rebuild_parameter,
        "torch._utils._rebuild_parameter_with_state": rebuild_parameter_with_state,
        "torch._utils._rebuild_device_tensor_from_cpu_tensor": rebuild_on_device,
        "torch._tensor._rebuild_from_type_v2": rebuild_from_type,
        "torch.serialization._get_layout": _layout,
        "_codecs.encode": _encoded,
    }
    functions.update({f"torch._utils.{name}": _refused_kind(k) for name, k in _MISSING_KINDS.items()})
    classes: dict[str, tuple[Any, Callable[..., Any]]] = {
        "collections.OrderedDict": (OrderedDict, _ordered),
        "collections.Counter": (Counter, _counter),
        "builtins.set": (set, _set),
        "builtins.bytearray": (bytearray, _bytearray),
        "builtins.complex": (complex, _complex),
        "torch.Size": (Size, _size),
        "torch.device": (device, _device),
        "torch.nn.parameter.Parameter": (Parameter, rebuild_parameter),
    }
    names = Names({}, {id(function): function for function in functions.values()})
    names.values.update(functions)
    for path, (kind, make) in classes.items():
        names.values[path] = kind
        names.calls[id(kind)] = make
    names.values["torch.Tensor"] = Tensor
    names.values["torch._C._TensorBase"] = names.values["torch._C.TensorBase"] = Tensor
    names.values.update({f"torch.{d.name}": d for d in dtypes.ALL})
    names.values.update({f"torch.{name}": v for name, v in NAMED.items() if isinstance(v, MissingType)})
    storages = {name: StorageKind(dtype) for name, dtype in STORAGES.items()}
    storages.update({name: StorageKind(None, name) for name in _MISSING_STORAGES})
    storages["UntypedStorage"] = StorageKind(None)
    for name, stored in storages.items():
        for module in ("torch", "torch.cuda", "torch.storage"):
            names.values[f"{module}.{name}"] = stored
    return names


NAMES = _table()
