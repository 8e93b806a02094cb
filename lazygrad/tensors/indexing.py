"""`x[...]` and `x[...] = y` with everything that PyTorch and NumPy take as an index, and reading masks.

Ints, slices, None and ... make views. Integer tensors, lists and arrays gather; masks realize themselves,
because the shape of the result depends on their values. An index outside its dimension raises
OutOfBoundsError at the call: where the graph of an index proves its bounds nothing is computed for that, else
the index (or, better, the data it comes from, once per buffer) is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lazygrad import dtypes, ops
from lazygrad.compositions import axes
from lazygrad.compositions import indexing as places
from lazygrad.compositions.bounds import bounds, record, unmeasured
from lazygrad.compositions.ordering import positions_of
from lazygrad.dtypes import DType
from lazygrad.engine import download, upload
from lazygrad.errors import ArgumentError, ArgumentTypeError, DTypeError, OutOfBoundsError, ShapeError
from lazygrad.graph import Node
from lazygrad.helpers import product
from lazygrad.tensors.arithmetic import ne
from lazygrad.tensors.core import Tensor, apply, from_node, function, method, view_of
from lazygrad.tensors.elements import fitting
from lazygrad.tensors.examples import of_all_examples
from lazygrad.tensors.grad_fn import one_operation
from lazygrad.tensors.movement import selected, sliced
from lazygrad.tensors.promotion import check_operand
from lazygrad.tensors.realization import realize_cells
from lazygrad.tensors.recording import now
from lazygrad.tensors.shapes import unsqueeze
from lazygrad.tensors.values import read
from lazygrad.tensors.views import check_apart

# the places in a mask up to this size are found on the host: cheaper than two kernels and a wait
_SMALL = 1 << 14

# Indices from the host, and checks


def index_tensor(values: Any, device: str) -> Tensor:
    """Integers as an int64 tensor whose bounds are known."""
    values = np.asarray(values, np.int64)
    node = upload(values, dtypes.int64, device)
    if values.size:
        record(node, int(values.min()), int(values.max()))
    return from_node(node, device)


def check_index(op: str, index: Tensor, size: int, dim: int, negative: bool = True) -> None:
    """Raises OutOfBoundsError unless every index lies in [-size, size) ([0, size) where `negative` is not
    allowed)."""
    if not index._shape.numel() or _is_inside(index.plain_node(), size, negative):
        return
    if now.recorder is not None:
        return now.recorder.check_index(op, index, size, negative)
    for node in unmeasured(index.plain_node()):
        _measure(node, download(node))
    if _is_inside(index.plain_node(), size, negative):
        return
    values = read(of_all_examples(index))
    lowest = -size if negative else 0
    wrong = values[(values < lowest) | (values >= size)]
    if wrong.size:
        raise OutOfBoundsError(f"[{op}] index {int(wrong.flat[0])} is out of bounds for dimension {dim} with "
                               f"size {size}")
    _measure(index.plain_node(), values)


def _is_inside(node: Node, size: int, negative: bool) -> bool:
    low, high = bounds(node)
    return (-size if negative else 0) <= low and high < size


def _measure(node: Node, values: np.ndarray) -> None:
    record(node, int(values.min()) if values.size else 0, int(values.max()) if values.size else 0)


def mask_places(mask: Tensor) -> Tensor:
    """The places of True in the flattened mask, ascending: int64 (count,). Realizes the mask."""
    device = mask.cell.device
    if mask._shape.numel() <= _SMALL:
        return index_tensor(np.flatnonzero(read(mask)), device)
    flat = axes.reshape(mask.plain_node(), (mask._shape.numel(),))
    count, written = (from_node(n, device, tainted=True) for n in positions_of(flat))
    realize_cells([count.cell, written.cell, mask.cell])
    found = int(read(count)[0])
    record(written.cell.node, 0, max(mask._shape.numel() - 1, 0))
    return sliced(written, 0, 0, found)


# What an index says


_INDEX_TYPES = (dtypes.int64, dtypes.int32, dtypes.uint8, dtypes.bool_)


def _checked(op: str, item: Tensor) -> Tensor:
    if item._dtype not in _INDEX_TYPES:
        raise OutOfBoundsError(f"[{op}] tensors used as indices must be long, int, byte or bool tensors, not "
                               f"{item._dtype!r}: convert it with .long()")
    return item


def _index_item(item: Any, device: str) -> Any:
    """An int, slice, bool, None, ... or Tensor."""
    if item is None or item is Ellipsis or isinstance(item, bool | slice):
        return item
    if isinstance(item, Tensor):
        _checked("index", item)
        if not item.ndim:
            if item._dtype in (dtypes.bool_, dtypes.uint8):
                return bool(item)
            # a number that differs between examples is looked up like any other tensor
            return int(item) if of_all_examples(item) is item else item
        if item.cell.device != device:
            item = item.to(device)
        return ne(item, 0) if item._dtype is dtypes.uint8 else item
    if isinstance(item, np.bool_):
        return bool(item)
    if isinstance(item, np.ndarray | Sequence) and not isinstance(item, str):
        return _index_array(item, device)
    if hasattr(item, "__index__"):
        return item.__index__()
    if isinstance(item, str):
        raise ArgumentTypeError(f"[index] a tensor has no part named {item!r}: index by numbers")
    raise OutOfBoundsError("[index] only integers, slices (`:`), ellipsis (`...`), None and integer or bool "
                           f"tensors, lists and arrays are valid indices (got {type(item).__name__})")


def _index_array(item: Any, device: str) -> Any:
    if isinstance(item, list | tuple):
        item = [i.tolist() if isinstance(i, Tensor) else i for i in item]
    try:
        values = np.asarray(item)
    except ValueError as e:
        raise ArgumentError(f"[index] a list used as an index must be rectangular: {e}") from None
    if values.size == 0 and values.dtype != np.bool_:
        values = values.astype(np.int64)
    if values.dtype == np.bool_:
        return bool(values) if not values.ndim else from_node(upload(values, dtypes.bool_, device), device)
    if values.dtype.kind not in "iu":
        raise OutOfBoundsError("[index] arrays used as indices must be integers or bools, not "
                               f"{values.dtype}")
    return index_tensor(values, device) if values.ndim else int(values)


def _taken_axes(item: Any) -> int:
    """How many dimensions an item of an index uses up."""
    if item is None or item is Ellipsis or isinstance(item, bool):
        return 0
    return item.ndim if isinstance(item, Tensor) and item._dtype is dtypes.bool_ else 1


def _items(x: Tensor, index: Any) -> list[Any]:
    """The items of an index, one for each dimension that it uses; ... becomes as many full slices as are
    missing."""
    if not isinstance(index, tuple):
        # a short list of anything but numbers stands for a tuple, as in PyTorch and old NumPy
        is_tuple = isinstance(index, list) and len(index) < 32 and any(
            i is None or i is Ellipsis or isinstance(i, slice | Tensor | Sequence) for i in index
        )
        index = tuple(index) if is_tuple else (index,)
    items = [_index_item(i, x.cell.device) for i in index]
    free = x.ndim - sum(map(_taken_axes, items))
    if free < 0:
        if not x.ndim and any(isinstance(i, slice) for i in items):
            raise OutOfBoundsError("[index] slice() cannot be applied to a 0-dim tensor.")
        if not x.ndim and len(items) == 1 and isinstance(items[0], int):
            raise OutOfBoundsError("[index] invalid index of a 0-dim tensor. Use `tensor.item()` to convert "
                                   "it to a number")
        raise OutOfBoundsError(f"[index] too many indices for tensor of dimension {x.ndim}: {x.ndim - free}")
    result: list[Any] = []
    for item in items:
        # a second ... stands for nothing, as in PyTorch
        result.extend([slice(None)] * free if item is Ellipsis else [item])
        free = 0 if item is Ellipsis else free
    return result


def _basic(x: Tensor, index: Any) -> tuple[Tensor, dict[int, Tensor]]:
    """The view that the basic items of an index give, and the tensors that index its dimensions."""
    axis, view = 0, x
    advanced: dict[int, Tensor] = {}
    for item in _items(x, index):
        if item is None or isinstance(item, bool):
            view = unsqueeze(view, axis)
            if item is not None:
                advanced[axis] = index_tensor([0] if item else [], x.cell.device)
            axis += 1
        elif isinstance(item, slice):
            view = _slice(view, axis, item)
            axis += 1
        elif isinstance(item, Tensor):
            advanced[axis] = item
            axis += _taken_axes(item)
        else:
            size = view._shape[axis]
            if not -size <= item < size:
                raise OutOfBoundsError(f"[index] index {item} is out of bounds for dimension {axis} with "
                                       f"size {size}")
            view = selected(view, axis, item % size)
    return view, advanced


def _slice(x: Tensor, axis: int, item: slice) -> Tensor:
    step = 1 if item.step is None else item.step.__index__()
    if step <= 0:
        raise ArgumentError(f"[index] slice step must be greater than zero, got {step}; reverse with .flip()")
    try:
        begin, end, step = item.indices(x._shape[axis])
    except TypeError:
        raise ArgumentTypeError(f"[index] slice indices must be integers or None, got {item}") from None
    return x if (begin, end, step) == (0, x._shape[axis], 1) else sliced(x, axis, begin, end, step)


def _plan(
    op: str, x: Tensor, advanced: dict[int, Tensor]
) -> tuple[list[int], list[Tensor | None], list[Tensor]]:
    """How x's dimensions merge (each mask flattens those it covers), the index of each merged one, all
    indices."""
    counts: list[int] = []
    indices: list[Tensor | None] = []
    axis = 0
    while axis < x.ndim:
        index = advanced.get(axis)
        covered = 1
        if index is not None and index._dtype is dtypes.bool_:
            covered = index.ndim
            for i, (have, want) in enumerate(zip(index._shape, x._shape[axis:axis + covered], strict=True)):
                if have != want:
                    raise OutOfBoundsError(f"[{op}] The shape of the mask {list(index._shape)} at index {i} "
                                           "does not match the shape of the indexed tensor "
                                           f"{list(x._shape)} at index {axis + i}")
            index = mask_places(index)
        elif index is not None:
            check_index(op, index, x._shape[axis], axis)
        counts.append(covered)
        indices.append(index)
        axis += covered
    return counts, indices, [i for i in indices if i is not None]


def _filled(indices: list[Tensor | None], nodes: Sequence[Node]) -> list[Node | None]:
    rest = iter(nodes)
    return [None if i is None else next(rest) for i in indices]


@method("__getitem__")
def getitem(x: Tensor, index: Any) -> Tensor:
    """`x[index]`: a view for ints, slices, None and ...; a copy where tensors, lists, arrays or masks take
    part.

    Raises OutOfBoundsError for an index outside its dimension, whatever it is made of.
    """
    view, advanced = _basic(x, index)
    if not advanced:
        return view if view is not x else view_of(x, [], x._shape, x._strides)
    counts, indices, given = _plan("index", view, advanced)

    def build(node: Node, *nodes: Node) -> Node:
        return places.take("index", places.merge_axes(node, counts), _filled(indices, nodes))

    return apply("index", build, view, *given)


# Assignment


def number_node(op: str, value: Any, dtype: DType) -> Node:
    """A Python number as a 0-d constant. Raises ArgumentError where an integer type cannot hold it."""
    value = fitting(op, value, dtype)
    if isinstance(value, float) and dtype.kind != "float":
        return ops.cast(ops.const(value, dtypes.float64), arg=dtype)
    return ops.const(value, dtype)


def _as_value(op: str, value: Any, x: Tensor) -> Any:
    """What is assigned: a tensor on x's device, or a number."""
    if isinstance(value, list | tuple):
        raise ArgumentTypeError(f"[{op}] can't assign a {type(value).__name__} to a tensor: make it a tensor "
                                "first")
    value = check_operand(op, value)
    if isinstance(value, Tensor) and value.cell.device != x.cell.device and value.ndim:
        value = value.to(x.device)
    return value


def _fitted(op: str, node: Node, dtype: DType, shape: Sequence[int]) -> Node:
    """A node as `dtype`, broadcast to a shape; sizes of 1 in front of it go."""
    node = axes.cast(node, dtype)
    while node.ndim > len(shape) and node.shape[0] == 1:
        node = axes.reshape(node, node.shape[1:])
    return axes.broadcast(node, tuple(shape), op)


@method("__delitem__")
def delitem(x: Tensor, index: Any) -> None:
    """Raises ArgumentTypeError: a tensor keeps all its elements."""
    raise ArgumentTypeError("[del] Tensor does not support deleting items: index those that stay")


@method("__setitem__")
def setitem(x: Tensor, index: Any, value: Any) -> None:
    """`x[index] = value` for a number or a tensor that broadcasts to `x[index]`; every alias of x sees it.

    Raises OutOfBoundsError as reading does, ShapeError where the value does not fit.
    """
    value = _as_value("setitem", value, x)
    view, advanced = _basic(x, index)
    if advanced:
        _check_same_dtype("setitem", view, advanced, value)
        if isinstance(value, Tensor) and not (value.ndim == 0 and _masks_alone(advanced)):
            check_apart("setitem", view, [value])
        _put("setitem", view, advanced, value, "set")
    elif isinstance(value, Tensor):
        if value._history is view._history and value.plain_node() is view.plain_node():
            return  # `x[i] += 1` ends by assigning to a part what it is already
        if value.ndim:
            check_apart("setitem", view, [value])
        fitted = apply("setitem", lambda n: _fitted("setitem", n, view._dtype, view._shape), value)
        view.write(fitted, "setitem", replaces=True)
    else:
        number = number_node("setitem", value, view._dtype)
        view.write(_fitted("setitem", number, view._dtype, view._shape), "setitem", replaces=True)


def _masks_alone(advanced: dict[int, Tensor]) -> bool:
    return all(index._dtype is dtypes.bool_ for index in advanced.values())


def _check_same_dtype(op: str, x: Tensor, advanced: dict[int, Tensor], value: Any) -> None:
    """As in PyTorch, indices take tensors of x's own type only, except one number for all that a mask
    picks."""
    if isinstance(value, Tensor) and value._dtype is not x._dtype:
        if value.ndim or not _masks_alone(advanced):
            raise DTypeError(f"[{op}] Index put requires the source and destination dtypes match, got "
                             f"{x._dtype!r} for the destination and {value._dtype!r} for the source: convert "
                             "the value with .to(x.dtype)")


def _put(op: str, x: Tensor, advanced: dict[int, Tensor], value: Any, mode: str) -> None:
    values = [value] if isinstance(value, Tensor) else []

    def value_node(nodes: Sequence[Node]) -> Node:
        return axes.cast(nodes[0], x._dtype) if values else number_node(op, value, x._dtype)

    if mode == "set" and len(advanced) == 1 and _needs_no_places(x, advanced, value):
        (axis, mask), = advanced.items()

        def choose(node: Node, condition: Node, *rest: Node) -> Node:
            condition = axes.reshape(condition, condition.shape + (1,) * (x.ndim - axis - mask.ndim))
            return ops.where(
                axes.broadcast(condition, node.shape),
                _fitted(op, value_node(rest), x._dtype, node.shape),
                node,
            )

        x.write(apply(op, choose, x, mask, *values), op)
        return
    counts, indices, given = _plan(op, x, advanced)

    def build(node: Node, *nodes: Node) -> Node:
        index = _filled(indices, nodes[len(values):])
        merged = places.merge_axes(node, counts)
        return axes.reshape(places.put(op, merged, index, value_node(nodes), mode), node.shape)

    x.write(apply(op, build, x, *values, *given), op)


def _needs_no_places(x: Tensor, advanced: dict[int, Tensor], value: Any) -> bool:
    """True for a single mask and a value that is the same wherever the mask holds."""
    (axis, mask), = advanced.items()
    if mask._dtype is not dtypes.bool_ or tuple(mask._shape) != tuple(x._shape[axis:axis + mask.ndim]):
        return False
    if not isinstance(value, Tensor):
        return True
    behind = tuple(x._shape[axis + mask.ndim:])
    shape = tuple(value._shape)
    return len(shape) <= len(behind) and all(
        n in (1, m) for n, m in zip(reversed(shape), reversed(behind), strict=False)
    )


def _indices_of(op: str, x: Tensor, indices: Any) -> dict[int, Tensor]:
    """The advanced indices that a tuple of tensors (or None) means."""
    if isinstance(indices, Tensor):
        raise ArgumentTypeError(f"[{op}] indices must be a tuple of tensors, not one Tensor")
    advanced: dict[int, Tensor] = {}
    axis = 0
    for item in indices:
        if item is not None and not isinstance(item, Tensor):
            raise ArgumentTypeError(f"[{op}] indices must be tensors, not {type(item).__name__}")
        if item is not None:
            item = ne(_checked(op, item), 0) if item._dtype is dtypes.uint8 else _checked(op, item)
            advanced[axis] = item
        axis += item.ndim if item is not None and item._dtype is dtypes.bool_ else 1
    if not advanced:
        raise ArgumentTypeError(f"[{op}] needs one index tensor or more, got {indices!r}")
    if axis > x.ndim:
        raise OutOfBoundsError(f"[{op}] too many indices for tensor of dimension {x.ndim} (got {axis})")
    return advanced


@method("index_put_")
def index_put_(
    x: Tensor, indices: Sequence[Tensor], values: Tensor, accumulate: bool = False
) -> Tensor:
    """x[indices] = values for a tuple of index tensors; with `accumulate` values are added, repeated places
    too."""
    values = _as_value("index_put_", values, x)
    if isinstance(values, Tensor) and values._dtype is not x._dtype:
        raise DTypeError("[index_put_] Index put requires the source and destination dtypes match, got "
                         f"{x._dtype!r} for the destination and {values._dtype!r} for the source.")
    advanced = _indices_of("index_put_", x, indices)
    taken = sum(i.ndim if i._dtype is dtypes.bool_ else 1 for i in advanced.values())
    added = max(1 if i._dtype is dtypes.bool_ else i.ndim for i in advanced.values())
    if values.ndim > x.ndim - taken + added:
        raise ShapeError(f"[index_put_] shape mismatch: value tensor of shape {list(values._shape)} cannot "
                         f"be broadcast to indexing result of {x.ndim - taken + added} dimension(s)")
    _put("index_put_", x, advanced, values, "add" if accumulate else "set")
    return x


@function("index_put")
def index_put(input: Tensor, indices: Sequence[Tensor], values: Tensor, accumulate: bool = False) -> Tensor:
    """A copy of input with values put at a tuple of index tensors."""
    return index_put_(input.clone(), indices, values, accumulate)


# Masks and positions


@function("nonzero", "argwhere")
def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """The indices of elements that are not 0: int64 (count, ndim), or one (count,) per dimension as a tuple.
    Realizes."""
    if as_tuple and not input.ndim:
        input = input.reshape(1)
    mask = input if input._dtype is dtypes.bool_ else ne(input, 0)
    flat = mask_places(mask)
    if as_tuple:
        return tuple(
            apply("nonzero", lambda n, a=axis: _coordinate(n, input._shape, a), flat)
            for axis in range(input.ndim)
        )

    def build(node: Node) -> Node:
        columns = [axes.insert_axis(_coordinate(node, input._shape, axis), 1) for axis in range(input.ndim)]
        return ops.cat(*columns, arg=1) if columns else ops.const(0, dtypes.int64, (node.shape[0], 0))

    return apply("nonzero", build, flat)


def _coordinate(flat: Node, shape: Sequence[int], axis: int) -> Node:
    behind = product(shape[axis + 1:])
    place = ops.floordiv(flat, axes.full(max(behind, 1), flat))
    return ops.remainder(place, axes.full(max(shape[axis], 1), flat))


@function("masked_select")
@one_operation("masked_select")
def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements of input, broadcast with the mask, where the mask holds: (count,). Realizes the mask."""
    if mask._dtype is not dtypes.bool_:
        raise DTypeError(f"[masked_select] expected BoolTensor for mask, got {mask._dtype!r}")
    shape = axes.broadcast_shape("masked_select", input._shape, mask._shape)
    if mask._shape != input._shape or not shape:
        input, mask = (v.expand(shape).reshape(shape or (1,)) for v in (input, mask))
    return getitem(input, mask)


@function("masked_scatter")
def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """input with the elements of source, in order, where the mask holds. Raises ShapeError where source has
    too few."""
    op = "masked_scatter"
    if mask._dtype is not dtypes.bool_ or input._dtype is not source._dtype:
        raise DTypeError(f"[{op}] needs a bool mask and a source of the input's dtype, got {mask._dtype!r}, "
                         f"{source._dtype!r} for {input._dtype!r}")
    shape = axes.broadcast_shape(op, input._shape, mask._shape)
    count = product(shape)
    have = source._shape.numel()
    if have < count:
        wanted = int(mask.expand(shape).sum())
        if have < wanted:
            raise ShapeError(f"[{op}] Number of elements of source < number of ones in mask: {have} < "
                             f"{wanted}")
    if not have:
        return input.expand(shape).clone()

    def build(x: Node, m: Node, s: Node) -> Node:
        chosen = axes.broadcast(m, shape, op)
        flags = axes.cast(axes.reshape(chosen, (count,)), dtypes.int64)
        rank = ops.sub(ops.cumsum(flags, arg=0), axes.full(1, flags))
        rank = ops.minimum(ops.maximum(rank, axes.full(0, rank)), axes.full(have - 1, rank))
        taken = ops.gather(axes.reshape(s, (have,)), rank, arg=(0,))
        return ops.where(chosen, axes.reshape(taken, shape), axes.broadcast(x, shape, op))

    return apply(op, build, input, mask, source)


@method("masked_scatter_")
def masked_scatter_(x: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """`masked_scatter`, stored in the tensor itself."""
    if axes.broadcast_shape("masked_scatter_", x._shape, mask._shape) != x._shape:
        raise ShapeError(f"[masked_scatter_] mask {tuple(mask._shape)} does not broadcast to "
                         f"{tuple(x._shape)}")
    return x.write(masked_scatter(x, mask, source), "masked_scatter_")
