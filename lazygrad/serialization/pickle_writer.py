"""Pickles that PyTorch reads: tensors under the names of its functions, their bytes left to storages.

Names are written as text: neither PyTorch nor a module of its name need be there.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from functools import cache
from types import FunctionType
from typing import Any, BinaryIO

import numpy as np

from lazygrad.dtypes import DType
from lazygrad.errors import ArgumentError, DTypeError
from lazygrad.missing import MissingType, layout
from lazygrad.nn.module import Module
from lazygrad.nn.parameter import Parameter
from lazygrad.serialization.locations import location_tag, name_of_device
from lazygrad.serialization.rebuild import STORAGE_NAMES
from lazygrad.tensors import Size, Tensor, device
from lazygrad.tensors.conversion import own_attributes
from lazygrad.tensors.realization import realize_cells
from lazygrad.tensors.storage import UntypedStorage, storage_of_cell
from lazygrad.tensors.typed_storage import TypedStorage, typed_storage
from lazygrad.torch_classes import torch_path


class PyTorchName:
    """A class or function of PyTorch, written as its name alone."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def __call__(self, *_: Any) -> Any:
        raise AssertionError("a name is written, not called")


torch_name = cache(PyTorchName)
_BYTES = torch_name("torch.storage", "UntypedStorage")


def _name_of(value: Any) -> PyTorchName | None:
    """What PyTorch calls a value that has a name there."""
    if isinstance(value, PyTorchName):
        return value
    if isinstance(value, DType | MissingType):
        return torch_name("torch", value.name)
    path = torch_path(value) if isinstance(value, type | FunctionType) else None
    return torch_name(*path) if path else None


# what PyTorch's modules keep as attributes and classes of ours know: files hold it, PyTorch's would lack it
_KNOWN = ("_is_full_backward_hook", "transposed", "_flat_weights", "_flat_weights_names", "min_val",
          "max_val", "norm", "value")


def _reduced_module(module: Module, protocol: int) -> Any:
    reduced: Any = module.__reduce_ex__(protocol)
    made, args, *rest = reduced
    if rest and isinstance(rest[0], dict):
        known = {name: getattr(module, name) for name in _KNOWN if _is_ours(type(module), name)}
        rest[0] = {**known, **rest[0]}
    return made, args, *rest


def _is_ours(kind: type, name: str) -> bool:
    """Whether a class of lazygrad's has an attribute, and no user's class has it in another way."""
    owner = next((base.__module__ for base in kind.__mro__ if name in vars(base)), "")
    return owner.partition(".")[0] in ("lazygrad", "torch")


_PythonPickler: Any = getattr(pickle, "_Pickler")  # noqa: B009  the one whose parts can be replaced


class PickleWriter(_PythonPickler):
    """Writes one object. Afterwards `storages` holds what it named, by key and in order, each with the type
    of its elements (None: bytes). `legacy`: persistent ids as the older format has them."""

    def __init__(self, file: BinaryIO, protocol: int | None, legacy: bool = False) -> None:
        super().__init__(file, protocol)
        self.legacy = legacy
        self.storages: dict[str, tuple[UntypedStorage, DType | None]] = {}
        self._keys: dict[int, str] = {}

    def reducer_override(self, value: Any) -> Any:
        """How PyTorch makes tensors, sizes and devices again; all else as pickle has it."""
        if isinstance(value, Tensor):
            return _reduced(value)
        if isinstance(value, Size):
            return torch_name("torch", "Size"), (tuple(value),)
        if isinstance(value, device):
            kind, _, index = name_of_device(value).partition(":")
            return torch_name("torch", "device"), (kind, int(index)) if index else (kind,)
        if isinstance(value, Module):
            return _reduced_module(value, self.proto)
        if isinstance(value, layout):
            return torch_name("torch.serialization", "_get_layout"), (f"torch.{value.name}",)
        return NotImplemented

    def save(self, value: Any, save_persistent_id: bool = True) -> Any:
        """Write one value, or the name that PyTorch has for it."""
        name = _name_of(value)
        if name is None:
            return super().save(value, save_persistent_id)
        if id(name) in self.memo:
            return self.write(self.get(self.memo[id(name)][0]))
        if self.proto >= 4:
            self.save(name.module)
            self.save(name.name)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f"{name.module}\n{name.name}\n".encode())
        self.memoize(name)

    def persistent_id(self, value: Any) -> Any:
        """The id of a storage, None for anything else. Raises DTypeError where one storage has two types."""
        if isinstance(value, TypedStorage):
            return self._id(value.untyped(), value.dtype)
        return self._id(value, None) if isinstance(value, UntypedStorage) else None

    def _id(self, storage: UntypedStorage, dtype: DType | None) -> tuple[Any, ...]:
        dtype = dtype if dtype in STORAGE_NAMES else None
        key = self._keys.setdefault(storage._cdata, str(len(self._keys)))
        known = self.storages.setdefault(key, (storage, dtype))
        if known[1] is not dtype:
            raise DTypeError(
                "[save] Cannot save multiple tensors or storages that view the same data as different types"
            )
        # the older format knows no storage without a type
        kind = _BYTES if dtype is None else torch_name("torch", STORAGE_NAMES[dtype])
        kind = torch_name("torch", "ByteStorage") if self.legacy and dtype is None else kind
        count = storage.nbytes() // (dtype.itemsize if dtype else 1)
        saved = ("storage", kind, key, location_tag(storage), count)
        return (*saved, None) if self.legacy else saved


def _reduced(x: Tensor) -> tuple[Any, ...]:
    attributes = {k: v for k, v in x.__dict__.items() if k not in own_attributes}
    kind = type(x)
    if kind is Parameter:
        args: tuple[Any, ...] = (x.detach(), x.requires_grad, OrderedDict())
        if attributes:
            return torch_name("torch._utils", "_rebuild_parameter_with_state"), (*args, attributes)
        return torch_name("torch._utils", "_rebuild_parameter"), args
    rebuild, args = _rebuilt(x)
    if kind is Tensor and not attributes:
        return rebuild, args
    return torch_name("torch._tensor", "_rebuild_from_type_v2"), (rebuild, kind, args, attributes)


def _rebuilt(x: Tensor) -> tuple[PyTorchName, tuple[Any, ...]]:
    storage = storage_of_cell(x.cell)
    walk = (x.storage_offset(), tuple(x.shape), tuple(x.stride()))
    place: tuple[Any, ...] = (*walk, x.requires_grad, OrderedDict())
    if x.dtype in STORAGE_NAMES:
        return torch_name("torch._utils", "_rebuild_tensor_v2"), (typed_storage(storage, x.dtype), *place)
    return torch_name("torch._utils", "_rebuild_tensor_v3"), (storage, *place, x.dtype)


class Pickled:
    """The pickle of an object, and the storages that it names: their bytes by key, in order, and the sizes of
    their elements. All is computed: nothing but writing can fail afterwards."""

    def __init__(self, value: Any, protocol: int | None, legacy: bool = False) -> None:
        file = io.BytesIO()
        if protocol == 0:
            raise ArgumentError("[save] pickle_protocol=0 can name no storages: use 2, the default")
        writer = PickleWriter(file, protocol, legacy)
        writer.dump(value)
        storages = writer.storages
        realize_cells([storage._cell for storage, _ in storages.values() if storage._cell is not None])
        self.pickle = file.getvalue()
        self.bytes: dict[str, np.ndarray] = {key: s.host_bytes() for key, (s, _) in storages.items()}
        self.itemsizes = {key: dtype.itemsize if dtype else 1 for key, (_, dtype) in storages.items()}
