"""Storages as objects: `UntypedStorage` (the bytes that tensors share), and tensors over them.

A storage is a cell, or bytes on the host whose element type the first tensor over them decides: so a file is
read before its tensors are known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from lazygrad import dtypes, ops
from lazygrad.dtypes import DType
from lazygrad.errors import ArgumentError, ShapeError
from lazygrad.graph import Node
from lazygrad.helpers import inverse_permutation, product
from lazygrad.missing import refuse
from lazygrad.runtime.registry import open_device
from lazygrad.tensors.cell import Cell, History
from lazygrad.tensors.core import Tensor, assemble, method, row_strides_of
from lazygrad.tensors.devices import device as device_type
from lazygrad.tensors.devices import usable_device
from lazygrad.tensors.realization import realize_cells
from lazygrad.tensors.views import Chain, is_packed, whole_row

MOST_AXES = 64  # of an array of NumPy
_of_cells: WeakValueDictionary[int, UntypedStorage] = WeakValueDictionary()


class UntypedStorage:
    """The bytes that tensors share: `Tensor.untyped_storage()`, bytes of the host, or a number of new bytes.
    `lend`: the bytes stay somebody else's; it is told the cell that is made over them."""

    def __init__(
        self,
        raw: Any = 0,
        where: str = "CPU",
        cell: Cell | None = None,
        lend: Callable[[Cell, np.ndarray], None] | None = None,
        *,
        device: Any = None,
    ) -> None:
        """Raises ArgumentError for a sequence of anything but whole numbers."""
        self._where = where if device is None else usable_device(device)
        self._cell, self._lend = cell, lend
        self._raw: np.ndarray | None = None
        if isinstance(raw, list | tuple | str) and not all(isinstance(b, int) for b in raw):
            raise ArgumentError("[UntypedStorage] tried to construct a storage from a sequence of "
                                       "which some items are no whole numbers: bytes are from 0 to 255")
        if cell is None:
            self._raw = np.zeros(raw, np.uint8) if isinstance(raw, int) else np.asarray(raw, np.uint8)

    @property
    def device(self) -> device_type:
        """Where the bytes are."""
        return device_type(self._where if self._cell is None else self._cell.device)

    @property
    def is_cuda(self) -> bool:
        """Whether the bytes are in the memory of a device of its own."""
        return self.device.name.startswith("CL")

    def nbytes(self) -> int:
        """The number of bytes."""
        if self._cell is None:
            assert self._raw is not None
            return self._raw.nbytes
        return self._cell.node.size * self._cell.node.dtype.itemsize

    size = __len__ = nbytes

    def __sizeof__(self) -> int:
        """The object and its bytes, as `sys.getsizeof` tells them."""
        return object.__sizeof__(self) + self.nbytes()

    is_sparse = is_sparse_csr = False
    filename = None  # of a file whose memory it would be

    def element_size(self) -> int:
        """1: elements are bytes."""
        return 1

    @property
    def _cdata(self) -> int:
        return id(self if self._cell is None else self._cell)

    def data_ptr(self) -> int:
        """A number that two storages share exactly if they are the same."""
        return self._cdata if self._cell is None else pointer(self._cell)

    def host_bytes(self) -> np.ndarray:
        """The bytes in memory of the host: the storage's own where it has them there, else a copy."""
        if self._cell is None:
            assert self._raw is not None
            return self._raw
        return bytes_of(self._cell)

    def tolist(self) -> list[int]:
        """The bytes as numbers."""
        return self.host_bytes().tolist()

    def __iter__(self) -> Iterator[int]:
        return iter(self.tolist())

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return UntypedStorage(self.host_bytes()[index].copy(), self.device.name)
        return int(self.host_bytes()[index])

    def __setitem__(self, index: Any, value: Any) -> None:
        raw = np.array(self.host_bytes())
        raw[index] = value
        self._take(raw)

    def _take(self, raw: np.ndarray) -> None:
        """Take other bytes, as many as there are, as a write that every tensor over them sees."""
        if self._cell is None:
            assert self._raw is not None
            if self._raw.flags.writeable:  # which may be somebody else's memory
                self._raw[...] = raw
            else:
                self._raw = raw
        else:
            node = self._cell.node
            self._cell.write(cell_of_bytes(raw, node.dtype, node.shape, self._cell.device).node)

    def fill_(self, value: int) -> UntypedStorage:
        """Every byte becomes `value`."""
        self._take(np.full(self.nbytes(), value, np.uint8))
        return self

    def copy_(self, source: Any, non_blocking: bool | None = None) -> UntypedStorage:
        """The bytes of another storage. Raises ShapeError for another number of them."""
        source = source.untyped()
        if source.nbytes() != self.nbytes():
            raise ShapeError(f"[copy_] size does not match, self was {self.nbytes()} bytes but src was "
                             f"{source.nbytes()} bytes")
        self._take(np.array(source.host_bytes()))
        return self

    def resize_(self, size: int) -> UntypedStorage:
        """As many bytes as asked for; new ones are 0. Raises UnsupportedError once tensors stand over it."""
        if size != self.nbytes():
            if self._raw is None:
                refuse("resize_", "tensors stand over this storage: use tensor.resize_, or make another "
                       "storage")
            self._raw = np.resize(self._raw, size) if size <= self._raw.size else np.pad(
                self._raw, (0, size - self._raw.size))
        return self

    def clone(self) -> UntypedStorage:
        """A copy."""
        return UntypedStorage(self.host_bytes().copy(), self.device.name)

    __copy__ = clone

    def new(self) -> UntypedStorage:
        """A storage of no bytes."""
        return UntypedStorage()

    def untyped(self) -> UntypedStorage:
        """Itself."""
        return self

    def get_device(self) -> int | None:
        """The number of its device, None for the CPU."""
        return self.device.index

    def is_shared(self) -> bool:
        """Whether other processes see the memory."""
        return self._cell is not None and self._cell.shared is not None

    def is_pinned(self, device: Any = None) -> bool:
        """False: memory is not pinned."""
        return False

    def resizable(self) -> bool:
        """Whether `resize_` may change its size: before there are tensors over it."""
        return self._cell is None

    def pin_memory(self, device: Any = None) -> UntypedStorage:
        """Itself: copies to a device need no pinned memory."""
        return self

    def to(self, device: Any = None, non_blocking: bool = False) -> UntypedStorage:
        """The bytes on a device; itself where they are there."""
        target = usable_device(device)
        if target == self.device.name:
            return self
        if self._cell is None:
            return UntypedStorage(self._raw, target)
        return UntypedStorage(self.host_bytes().copy(), target)

    def cpu(self) -> UntypedStorage:
        """The bytes on the CPU."""
        return self.to("CPU")

    def cuda(self, device: Any = None, non_blocking: bool = False) -> UntypedStorage:
        """The bytes on an accelerator. Raises DeviceError where there is none."""
        return self.to("cuda" if device is None else device)

    def fill(self, raw: np.ndarray) -> None:
        """Take other bytes, as many as there are, without telling anybody: while a file is read."""
        assert raw.nbytes == self.nbytes()
        if self._cell is None:
            self._raw = raw
        else:
            node = self._cell.node
            self._cell.settle(cell_of_bytes(raw, node.dtype, node.shape, self._cell.device).node)

    def byteswap(self, dtype: DType) -> None:
        """Turn the bytes of each element of a type around. Only before there are tensors."""
        assert self._raw is not None
        self._raw = self._raw.view(f"V{dtype.itemsize}").view(f"u{dtype.itemsize}").byteswap().view(np.uint8)

    def cell(self, dtype: DType, shape: Sequence[int] | None = None) -> Cell:
        """The cell; made now, of this type and shape, where there is none."""
        if self._cell is None:
            assert self._raw is not None
            self._cell = cell_of_bytes(self._raw, dtype, shape, self._where, self._lend is not None)
            if self._lend is not None:
                self._lend(self._cell, self._raw)
            self._raw = None
            _of_cells[id(self._cell)] = self
        return self._cell

    def __repr__(self) -> str:
        values = "\n ".join(map(str, self))
        name = f"{dtypes.shown_package}.storage.UntypedStorage"
        return f" {values}\n[{name}(device={self.device}) of size {self.nbytes()}]"

    def type(self, dtype: Any = None, non_blocking: bool = False) -> str:
        """The name of its class."""
        return f"{dtypes.shown_package}.storage.UntypedStorage"

    def __deepcopy__(self, memo: dict[int, Any]) -> UntypedStorage:
        # nodes are immutable: a new cell over the same node is a copy
        cell = self._cell
        made = self.clone() if cell is None else storage_of_cell(Cell(cell.plain(), cell.device))
        memo[id(self)] = made
        return made

    def __reduce__(self) -> Any:
        return _storage_of_bytes, (np.array(self.host_bytes()), self.device.name)


def _storage_of_bytes(raw: np.ndarray, where: str) -> UntypedStorage:
    """What unpickling calls."""
    return UntypedStorage(raw, usable_device(where))


def storage_of_cell(cell: Cell) -> UntypedStorage:
    """The one object that stands for a cell."""
    made = _of_cells.get(id(cell))
    if made is None or made._cell is not cell:
        made = _of_cells[id(cell)] = UntypedStorage(cell=cell)
    return made


def cell_of_bytes(
    raw: np.ndarray, dtype: DType, shape: Sequence[int] | None, where: str, lent: bool = False
) -> Cell:
    """A cell whose elements have these bytes, in a row or in a shape; it takes the memory where the device
    can compute in it. `lent`: the memory stays somebody else's, and is sound."""
    if dtype is dtypes.bool_ and not lent:
        raw = (raw != 0).view(np.uint8)  # other bytes than 0 and 1 are no bools
    count = raw.nbytes // dtype.itemsize
    sound = raw.flags.writeable and raw.flags.c_contiguous and raw.ctypes.data % dtype.itemsize == 0
    if not lent and not sound:
        raw = np.array(raw)
    buffer = open_device(where).borrow(raw)
    shape = (count,) if shape is None or product(shape) != count else tuple(shape)
    return Cell(ops.buffer(buffer, dtype, shape), where)


def bytes_of(cell: Cell) -> np.ndarray:
    """The bytes of a cell's value in a row, on the host: the device's own memory where it is there, not to be
    written; else a copy. Realizes it."""
    realize_cells([cell])
    node = cell.value()
    if node.op.name == "scalar":
        value = np.full((), node.arg.value, node.dtype.numpy)
        return dtypes.to_storage(value, node.dtype).reshape(1).view(np.uint8)
    nbytes = node.size * node.dtype.itemsize
    if hasattr(node.arg, "as_array"):
        return node.arg.as_array(np.uint8, (nbytes,))
    bits = np.empty(nbytes, np.uint8)
    node.arg.device.copy_out(node.arg, bits)
    return bits


def pointer(cell: Cell) -> int:
    """The address of memory that others share, else a number that names the storage."""
    return id(cell) if cell.shared is None else cell.shared.memory.ctypes.data


def strided_tensor(
    storage: UntypedStorage, dtype: DType, shape: Sequence[int], strides: Sequence[int], offset: int
) -> Tensor:
    """A tensor of this shape that walks a storage with these strides, from element `offset` on; it shares the
    storage. Raises ShapeError for numbers that are none of a tensor, or that lead out of the storage."""
    shape, strides = tuple(shape), tuple(strides)
    check_extent(shape, strides, offset, dtype.itemsize, storage.nbytes())
    packed = is_packed(shape, strides)
    whole = packed and product(shape) * dtype.itemsize == storage.nbytes()
    cell = storage.cell(dtype, shape if whole else None)
    chain = _walk(cell.node, dtype, shape, strides, offset)
    told = None if strides == row_strides_of(shape) else strides
    return assemble(Tensor, History(cell), chain, shape, dtype, told, offset)


def check_extent(shape: Any, strides: Any, offset: Any, itemsize: int, nbytes: int) -> None:
    """Raises ShapeError unless these are the sizes, strides and offset of a tensor within `nbytes`."""
    numbers = (*shape, *strides, offset)
    plain = all(type(n) is int and 0 <= n < 1 << 63 for n in numbers)
    fitting = len(shape) == len(strides) and len(shape) <= MOST_AXES
    if not plain or not fitting or math.prod(max(n, 1) for n in shape) >= 1 << 62:
        raise ShapeError(
            f"[set_] no sizes, strides and offset of a tensor: {_short(shape)}, {_short(strides)}, "
            f"{_short(offset)}"
        )
    if 0 in shape:
        return
    needed = (offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) + 1) * itemsize
    if needed > nbytes:
        raise ShapeError(
            f"[set_] setStorage: sizes {_short(list(shape))}, strides {_short(list(strides))}, storage "
            f"offset {offset}, and itemsize {itemsize} requiring a storage size of {needed} are out of "
            f"bounds for storage of size {nbytes}"
        )


def _short(value: Any) -> str:
    if not isinstance(value, list | tuple):
        return str(value) if isinstance(value, int) and abs(value) < 1 << 80 else type(value).__name__
    text = ", ".join(_short(v) for v in value[:8])
    return f"[{text}{', ...' if len(value) > 8 else ''}]"


def _walk(
    node: Node, dtype: DType, shape: tuple[int, ...], strides: tuple[int, ...], offset: int
) -> Chain:
    """The movements that read a storage with these strides: moves of whole axes where there are such."""
    flat, size = whole_row(node, dtype)
    count = product(shape)
    order = sorted(range(len(shape)), key=lambda axis: (-strides[axis], axis))
    ordered = tuple(shape[axis] for axis in order)
    if not is_packed(shape, strides) and not is_packed(ordered, [strides[axis] for axis in order]):
        return (*flat, ("strided", (shape, strides, offset)))
    first = offset if count else 0
    if dtype is node.dtype and node.shape == shape and is_packed(shape, strides):
        return ()
    chain = flat if count == size else (*flat, ("shrink", ((first, first + count),)))
    if is_packed(shape, strides):
        return chain if shape == (count,) else (*chain, ("reshape", shape))
    return (*chain, ("reshape", ordered), ("permute", inverse_permutation(order)))


@method("untyped_storage")
def untyped_storage(x: Tensor) -> UntypedStorage:
    """The bytes that the tensor and its views share."""
    return storage_of_cell(x.cell)
