"""Memory that tensors share with others: arrays of NumPy, and whoever takes part in DLPack.

Others may write at any time, and a pending graph must not see it: a graph never reads such memory, it reads a
copy as of now. The copy is made again only when the memory has changed since, and of a small part of a large
storage only that part is copied. A write is computed and stored at once. When nobody but the tensors holds
the memory any more, it is theirs: graphs read it as it is, and nothing is copied.
"""

from __future__ import annotations

import sys
from typing import Any
from weakref import ref

import numpy as np

from lazygrad import ops
from lazygrad.dtypes import DType
from lazygrad.engine import uploaded
from lazygrad.graph import Node
from lazygrad.runtime.registry import open_device
from lazygrad.tensors.cell import Cell
from lazygrad.tensors.core import Tensor, row_strides_of
from lazygrad.tensors.realization import realize_cells
from lazygrad.tensors.recording import now
from lazygrad.tensors.storage import UntypedStorage, bytes_of, strided_tensor
from lazygrad.tensors.views import read_through

HOSTS = ("CPU", "NUMPY")  # devices that compute in the memory of Python
PART = 2  # a view of less than 1 / PART of its storage is copied without the rest
KEPT_BYTES = 1 << 30  # a copy up to this size is kept for the next reader; a larger one while a graph has it
CHUNK = 1 << 18  # bytes that are compared at a time: what differs is found early, and in the cache


class Exposed:
    """What arrays over a tensor's memory hold: while it lives, others may write."""

    def __init__(self, memory: np.ndarray) -> None:
        self.memory = memory
        self.__array_interface__ = memory.__array_interface__


class SharedMemory:
    """The memory of a cell that others may write. `live`: the buffer over it, which no graph may read.

    `foreign`: it came from somebody else, who keeps it as long as he likes.
    """

    def __init__(self, cell: Cell, memory: np.ndarray, foreign: bool) -> None:
        self.memory, self.foreign, self.live = memory, foreign, cell.node
        # kernels read whole elements, and may write where they are told that nobody else looks
        self.usable = memory.flags.writeable and memory.ctypes.data % cell.node.dtype.itemsize == 0
        self._exposed: Any = lambda: None
        self._copy: Any = lambda: None
        self._kept: Cell | None = None  # what cells hold is never given away

    # Who holds it

    def is_own(self) -> bool:
        """Whether nobody but the cell can write."""
        if self._exposed() is not None or not self.usable:
            return False
        return not self.foreign or _holders(self.memory) <= _ALONE

    def array(self, x: Tensor) -> np.ndarray:
        """The elements of a tensor over this memory, as an array over it that others may keep."""
        exposed = self._exposed()
        if exposed is None:
            exposed = Exposed(self.memory)
            self._exposed = ref(exposed)
        return _elements(np.asarray(exposed), x)

    # Reading

    def node(self, cell: Cell, x: Tensor | None = None) -> Node:
        """The value of the cell now, or of a tensor over it, for graphs to read."""
        if cell.node is not self.live:
            realize_cells([cell])
        if x is not None and self._is_small_part(x):
            return self._part(x)
        if self.is_own():
            cell.shared = None
            whole = self.live
        else:
            whole = self._whole(cell)
        return whole if x is None else read_through(whole, x._history.prefix + x._chain)

    def _is_small_part(self, x: Tensor) -> bool:
        fits = x._dtype.itemsize == self.live.dtype.itemsize
        return fits and PART * x._shape.numel() < self.live.size

    def _part(self, x: Tensor) -> Node:
        values = np.ascontiguousarray(_elements(self.memory, x))
        known = x._plain
        if known is not None and known.op.name == "buffer" and _same(known, values):
            return known
        return _uploaded(values, x._dtype, x._shape, self.live)

    def _whole(self, cell: Cell) -> Node:
        known = self._copy()
        if known is not None and _same(known, self.memory):
            return known
        made = _uploaded(self.memory, self.live.dtype, self.live.shape, self.live)
        self._keep(made, cell)
        return made

    def _keep(self, copy: Node, cell: Cell) -> None:
        self._copy = ref(copy)
        self._kept = Cell(copy, cell.device) if self.memory.nbytes <= KEPT_BYTES else None

    def run_of(self, cell: Cell, x: Tensor) -> Node:
        """The elements of a tensor that stand one after another, in a buffer of their own."""
        if cell.node is not self.live:
            realize_cells([cell])
        return _uploaded(np.ascontiguousarray(_elements(self.memory, x)), x._dtype, x._shape, self.live)

    def values(self, x: Tensor) -> np.ndarray:
        """The bits of a tensor's elements, as a fresh array."""
        if x._history.cell.node is not self.live:
            realize_cells([x._history.cell])
        return np.array(_elements(self.memory, x))

    # Writing

    def written(self, cell: Cell) -> None:
        """The cell has taken a new value: compute and store it, unless nobody would see it."""
        if now.recorder is not None:
            return
        if self.is_own() or not self.memory.flags.writeable:
            cell.shared = None
        elif cell.is_realized:
            self.settled(cell)
        else:
            realize_cells([cell])

    def settled(self, cell: Cell) -> None:
        """The cell's value stands in a buffer of its own: store it here."""
        value = cell.node
        if value is self.live:
            return
        cell.shared = None  # while it is read as any other
        self.memory[...] = bytes_of(cell)
        cell.shared, cell.node = self, self.live
        if value.op.name == "buffer":
            self._keep(value, cell)

    def restored(self, cell: Cell) -> None:
        """A recording is over, in which the cell was read through a copy."""
        if cell.node is self._copy():
            cell.node = self.live


def _holders(memory: np.ndarray) -> int:
    """How many references there are to the array that owns the memory; very many if it is none."""
    owner = memory.base
    if type(owner) is not np.ndarray or not owner.flags.owndata:
        return sys.maxsize
    return sys.getrefcount(owner)


def _alone() -> int:
    return _holders(flat_bytes(np.zeros(4)))


def flat_bytes(array: np.ndarray) -> np.ndarray:
    """The bytes from an array's first element to its last, in a row; strides are not negative."""
    count = array.itemsize
    count += sum((n - 1) * s for n, s in zip(array.shape, array.strides, strict=True))
    count = count if array.size else 0
    owner = array if array.base is None else array.base
    if type(owner) is np.ndarray and owner.flags.owndata and owner.flags.forc:
        offset = array.__array_interface__["data"][0] - owner.__array_interface__["data"][0]
        made = np.ndarray((count,), np.uint8, owner, offset if count else 0)
    else:
        made = np.asarray(_Bytes(array, count))
    if not array.flags.writeable:
        made.flags.writeable = False
    return made


class _Bytes:
    """The bytes of an array whose memory belongs to something else."""

    def __init__(self, array: np.ndarray, count: int) -> None:
        self.array = array
        place = array.__array_interface__["data"]
        self.__array_interface__ = {"data": place, "typestr": "|u1", "shape": (count,), "version": 3}


_ALONE = _alone()


def _elements(memory: np.ndarray, x: Tensor) -> np.ndarray:
    """The elements of a tensor in its storage's bytes, as bits of its type."""
    kind = x._dtype.storage
    strides = [s * kind.itemsize for s in x.stride()]
    return np.ndarray(x._shape, kind, memory, x._offset * kind.itemsize if x._shape.numel() else 0, strides)


def _same(node: Node, values: np.ndarray) -> bool:
    bits = node.arg.as_array(np.uint8, (values.nbytes,)) if hasattr(node.arg, "as_array") else None
    if bits is None:
        bits = np.frombuffer(node.arg.device.copy_out(node.arg), np.uint8)[: values.nbytes]
    other = values.reshape(-1).view(np.uint8)
    return all(np.array_equal(bits[at:at + CHUNK], other[at:at + CHUNK]) for at in range(0, bits.size, CHUNK))


def _uploaded(values: np.ndarray, dtype: DType, shape: Any, like: Node) -> Node:
    return ops.buffer(uploaded(values, like.arg.device), dtype, tuple(shape))


def expose(x: Tensor) -> np.ndarray:
    """An array over the memory of a tensor on a device of the host, bfloat16 as its bits: writes to either
    are seen by both."""
    cell = x._history.cell
    if not x._shape.numel():
        return np.zeros(x._shape, x._dtype.storage)
    if cell.shared is None:
        share(cell, np.array(bytes_of(cell)))
    elif cell.node is not cell.shared.live:
        realize_cells([cell])
    return cell.shared.array(x)


def share(cell: Cell, memory: np.ndarray, foreign: bool = False) -> None:
    """Put the value of a realized cell into this memory, which holds it already, as bytes, and let others
    write there."""
    node = cell.node
    cell.settle(ops.buffer(open_device(cell.device).borrow(memory), node.dtype, node.shape))
    cell.shared = SharedMemory(cell, memory, foreign)


def sharing_tensor(array: np.ndarray, dtype: DType, device: str) -> Tensor:
    """A tensor on a device of the host that shares the memory of an array of `dtype`'s bits: any strides but
    negative ones."""
    memory = flat_bytes(array)
    strides = tuple(s // array.itemsize for s in array.strides)
    if not memory.nbytes:  # nothing to share
        empty = UntypedStorage(memory, device)
        return strided_tensor(empty, dtype, array.shape, row_strides_of(array.shape), 0)
    return strided_tensor(UntypedStorage(memory, device, lend=lend), dtype, array.shape, strides, 0)


def lend(cell: Cell, memory: np.ndarray) -> None:
    """Let a cell be over memory that somebody else keeps."""
    if cell.device in HOSTS:
        cell.shared = SharedMemory(cell, memory, True)
