"""Movements of which views are made: how a view reads its base, and how a write to the view changes the base.

A movement is a tuple (row, argument). A chain is a tuple of movements, applied from left to right to the node
of a cell. `write_back` undoes a chain: it gives the base's new node after the view has taken a new value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lazygrad import dtypes, ops
from lazygrad.dtypes import DType
from lazygrad.errors import ShapeError
from lazygrad.graph import Node
from lazygrad.helpers import inverse_permutation

Movement = tuple[str, Any]
Chain = tuple[Movement, ...]


@dataclass(frozen=True)
class MovementRow:
    """`read(base, arg)` is the view; `write(base, arg, new)` is the base after the view became `new`."""

    read: Callable[[Node, Any], Node]
    write: Callable[[Node, Any, Node], Node]


def _where_written(base: Node, new: Node, place: Callable[[Node], Node]) -> Node:
    mask = place(ops.const(True, dtypes.bool_, new.shape))
    return ops.where(mask, place(new), base)


def _write_region(base: Node, bounds: Any, new: Node) -> Node:
    if new.shape == base.shape:
        return new
    pads = tuple((a, n - b) for n, (a, b) in zip(base.shape, bounds, strict=True))
    return _where_written(
        base, new, lambda x: ops.pad(x, arg=ops.pad_arg(pads, False if x.dtype.kind == "bool" else 0))
    )


def _read_steps(base: Node, arg: tuple[int, int]) -> Node:
    axis, step = arg
    if base.shape[axis] == 0:
        return base
    picked = ops.window(base, arg=((axis, 1, step, 1),))
    return ops.reshape(picked, arg=picked.shape[:-1])


def _write_steps(base: Node, arg: tuple[int, int], new: Node) -> Node:
    axis, step = arg
    if base.shape[axis] == 0:
        return base

    def place(x: Node) -> Node:
        placed = ops.spread(ops.reshape(x, arg=(*x.shape, 1)), arg=((axis, base.shape[axis], step, 1),))
        return ops.reshape(placed, arg=base.shape)

    return _where_written(base, new, place)


def _write_places(base: Node, places: Node, new: Node) -> Node:
    """Write through the flat positions in `base` that the view's elements have."""
    flat = ops.reshape(base, arg=(base.size,))
    count = (new.size,)
    written = ops.scatter(
        flat, ops.reshape(places, arg=count), ops.reshape(new, arg=count), arg=((0,), "set")
    )
    return ops.reshape(written, arg=base.shape)


def _write_windows(base: Node, windows: Any, new: Node) -> Node:
    positions = ops.reshape(ops.iota(base.size), arg=base.shape)
    return _write_places(base, ops.window(positions, arg=windows), new)


def strided_places(arg: tuple[tuple[int, ...], tuple[int, ...], int]) -> Node:
    """The flat positions of a view given by (shape, strides, offset)."""
    shape, strides, offset = arg
    places = ops.const(offset, dtypes.int64, shape)
    for axis, (size, stride) in enumerate(zip(shape, strides, strict=True)):
        steps = ops.mul(ops.iota(size), ops.const(stride, dtypes.int64, (size,)))
        along = ops.reshape(steps, arg=tuple(size if i == axis else 1 for i in range(len(shape))))
        places = ops.add(places, ops.expand(along, arg=shape))
    return places


def _read_strided(base: Node, arg: Any) -> Node:
    return ops.gather(ops.reshape(base, arg=(base.size,)), strided_places(arg), arg=(0,))


_UNSIGNED = {1: dtypes.uint8, 2: dtypes.uint16, 4: dtypes.uint32, 8: dtypes.uint64}


def _as_bits(x: Node, dtype: DType) -> Node:
    """The bits of x as elements of a type; where these are narrower or wider, the last axis grows or shrinks:
    the lowest bits come first, as in the memory of the processors that there are."""
    width, other = x.dtype.itemsize, dtype.itemsize
    if width == other:
        return ops.bitcast(x, arg=dtype)
    bits, ratio = ops.bitcast(x, arg=_UNSIGNED[width]), max(width, other) // min(width, other)
    lead, last = x.shape[:-1], x.shape[-1]
    if other < width:
        parts = ops.expand(ops.reshape(bits, arg=(*x.shape, 1)), arg=(*x.shape, ratio))
        found = ops.cast(ops.shr(parts, _places_of_bits(parts, 8 * other)), arg=_UNSIGNED[other])
        found = ops.reshape(found, arg=(*lead, last * ratio))
        if dtype is dtypes.bool_:
            return ops.ne(found, ops.const(0, found.dtype, found.shape))
        return ops.bitcast(found, arg=dtype)
    parts = ops.reshape(ops.cast(bits, arg=_UNSIGNED[other]), arg=(*lead, last // ratio, ratio))
    whole = ops.sum_(ops.shl(parts, _places_of_bits(parts, 8 * width)), arg=(parts.ndim - 1,))
    return ops.bitcast(ops.reshape(whole, arg=(*lead, last // ratio)), arg=dtype)


def _places_of_bits(parts: Node, step: int) -> Node:
    """How far the last axis' parts are shifted within an element."""
    count = parts.shape[-1]
    steps = ops.mul(ops.iota(count), ops.const(step, dtypes.int64, (count,)))
    row = ops.reshape(ops.cast(steps, arg=parts.dtype), arg=(*(1,) * (parts.ndim - 1), count))
    return ops.expand(row, arg=parts.shape)


def whole_row(node: Node, dtype: DType) -> tuple[Chain, int]:
    """The movements by which all of a storage is a row of elements of a type, and how many these are; bytes
    at its end that make no whole element are left out."""
    size = node.size
    chain: Chain = () if node.shape == (size,) else (("reshape", (size,)),)
    if dtype is node.dtype:
        return chain, size
    count = size * node.dtype.itemsize // dtype.itemsize
    used = count * dtype.itemsize // node.dtype.itemsize
    if used != size:
        chain = (*chain, ("shrink", ((0, used),)))
    return (*chain, ("bitcast", dtype)), count


def _write_expanded(base: Node, shape: Any, new: Node) -> Node:
    assert base.shape == new.shape, "write_back writes through the places of an expanded base"
    return new


MOVEMENTS = {
    "reshape": MovementRow(
        lambda x, arg: ops.reshape(x, arg=arg), lambda x, arg, new: ops.reshape(new, arg=x.shape)
    ),
    "permute": MovementRow(
        lambda x, arg: ops.permute(x, arg=arg),
        lambda x, arg, new: ops.permute(new, arg=inverse_permutation(arg)),
    ),
    "expand": MovementRow(lambda x, arg: ops.expand(x, arg=arg), _write_expanded),
    "shrink": MovementRow(lambda x, arg: ops.shrink(x, arg=arg), _write_region),
    "steps": MovementRow(_read_steps, _write_steps),  # (axis, step): every step-th element
    "window": MovementRow(lambda x, arg: ops.window(x, arg=arg), _write_windows),
    "strided": MovementRow(_read_strided, lambda x, arg, new: _write_places(x, strided_places(arg), new)),
    "bitcast": MovementRow(_as_bits, lambda x, arg, new: _as_bits(new, x.dtype)),
}


def read_through(base: Node, chain: Chain) -> Node:
    """The node of a view of `base`."""
    for name, arg in chain:
        base = MOVEMENTS[name].read(base, arg)
    return base


def write_back(base: Node, chain: Chain, new: Node) -> Node:
    """The base's node after its view through `chain` became `new`.

    Where elements of the base stand in the view more than once, they must all become the same.
    """
    if not chain:
        return new
    bases = [base]
    for name, arg in chain[:-1]:
        bases.append(MOVEMENTS[name].read(bases[-1], arg))
    cast = next((i for i, (name, _) in enumerate(chain) if name == "bitcast"), None)
    if cast is not None:  # what is before it has other elements than what is behind
        new = write_back(_as_bits(bases[cast], chain[cast][1]), chain[cast + 1 :], new)
        return write_back(base, chain[:cast], _as_bits(new, bases[cast].dtype))
    if any(name == "expand" and tuple(arg) != b.shape for (name, arg), b in zip(chain, bases, strict=True)):
        places = read_through(ops.reshape(ops.iota(base.size), arg=base.shape), chain)
        return _write_places(base, places, new)
    for (name, arg), below in zip(reversed(chain), reversed(bases), strict=False):
        new = MOVEMENTS[name].write(below, arg, new)
    return new


# Places in memory, as PyTorch's storage has them


def is_packed(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether elements stand row by row without gaps."""
    step = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1 and stride != step:
            return 0 in shape
        step *= size
    return True


def _dense_bytes(x: Any) -> tuple[int, int] | None:
    """Where a tensor begins and ends in its storage; None where its elements do not fill what is between."""
    step = 1
    for stride, size in sorted(zip(x.stride(), x._shape, strict=True)):
        if size != 1 and stride != step:
            return None
        step *= size
    return x._offset * x._dtype.itemsize, (x._offset + step) * x._dtype.itemsize


def check_apart(name: str, target: Any, sources: Iterable[Any]) -> None:
    """Raises ShapeError where what an operation in place reads shares some memory with what it writes; all of
    it, in the same order, is allowed. As in PyTorch, only tensors without gaps are compared."""
    for source in sources:
        if source is target or source._history.cell is not target._history.cell or 0 in source._shape:
            continue
        ours, theirs = _dense_bytes(target), _dense_bytes(source)
        if ours is None or theirs is None or 0 in target._shape:
            continue
        if ours == theirs and target.stride() == source.stride():
            continue
        if ours[0] < theirs[1] and theirs[0] < ours[1]:
            shapes = f"{tuple(target._shape)} and {tuple(source._shape)}"
            raise ShapeError(
                f"[{name}] unsupported operation: some elements of the input tensor and the written-to "
                f"tensor refer to a single memory location: {shapes} are views of one tensor. "
                "Please clone() the tensor before performing the operation."
            )
