"""Putting tensors together, repeating them, and matrices with a pattern: cat, stack, repeat, tril, diag,
meshgrid, ..."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lazygrad import dtypes, ops
from lazygrad.compositions import axes
from lazygrad.dtypes import DType
from lazygrad.errors import (
    ArgumentError,
    ArgumentTypeError,
    AxisError,
    DTypeError,
    ShapeError,
)
from lazygrad.graph import Node
from lazygrad.tensors import promotion
from lazygrad.tensors.arithmetic import with_in_place
from lazygrad.tensors.axes import axis_of, integer, sizes_of
from lazygrad.tensors.core import Tensor, apply, creator, from_node, function, method
from lazygrad.tensors.devices import usable_device
from lazygrad.tensors.grad_fn import as_operation, one_operation
from lazygrad.tensors.indexing import check_index, getitem, index_tensor
from lazygrad.tensors.lookup import index_select
from lazygrad.tensors.movement import as_strided, atleast_1d, atleast_2d, atleast_3d, tensor_split
from lazygrad.tensors.movement import diagonal as diagonal_view
from lazygrad.tensors.shapes import unsqueeze
from lazygrad.tensors.values import read

# Joining


def _tensors(op: str, tensors: Any) -> list[Tensor]:
    if isinstance(tensors, Tensor):
        raise ArgumentTypeError(f"[{op}] expected a tuple or list of tensors, not one Tensor")
    result = list(tensors)
    if not result:
        raise ArgumentError(f"[{op}] expected a non-empty list of Tensors")
    for i, t in enumerate(result):
        if not isinstance(t, Tensor):
            raise ArgumentTypeError(f"[{op}] expected Tensor as element {i}, but got {type(t).__name__}")
    return result


@creator("cat", "concat", "concatenate")
def cat(tensors: Any, dim: int = 0) -> Tensor:
    """Tensors one after the other along a dimension; types promote. Raises ShapeError where other sizes
    differ."""
    given = _tensors("cat", tensors)
    dtype = given[0]._dtype
    for t in given[1:]:
        dtype = dtype if t._dtype is dtype else dtypes.promote(dtype, t._dtype)
    if any(not t.ndim for t in given):
        place = next(i for i, t in enumerate(given) if not t.ndim)
        raise ShapeError(f"[cat] zero-dimensional tensor (at position {place}) cannot be concatenated; use "
                         "stack")
    # a tensor of shape (0,) fits everything, as it always has in PyTorch
    kept = [t for t in given if t._shape != (0,)] or given[:1]
    first = kept[0]
    along = axis_of("cat", dim, first.ndim)
    for i, t in enumerate(kept):
        if t.ndim != first.ndim:
            raise ShapeError(f"[cat] Tensors must have same number of dimensions: got {first.ndim} and "
                             f"{t.ndim}, {tuple(first._shape)} and {tuple(t._shape)}")
        for d, (a, b) in enumerate(zip(first._shape, t._shape, strict=True)):
            if a != b and d != along:
                raise ShapeError(f"[cat] Sizes of tensors must match except in dimension {along}. Expected "
                                 f"size {a} but got size "
                                 f"{b} for tensor number {i} in the list: {tuple(first._shape)} and "
                                 f"{tuple(t._shape)}")

    def build(*nodes: Node) -> Node:
        parts = [axes.cast(n, dtype) for n in nodes]
        return parts[0] if len(parts) == 1 else ops.cat(*parts, arg=along)

    return apply("cat", build, *kept)


@creator("stack")
def stack(tensors: Any, dim: int = 0) -> Tensor:
    """Tensors of one shape side by side along a new dimension."""
    given = _tensors("stack", tensors)
    along = axis_of("stack", dim, given[0].ndim + 1)
    for i, t in enumerate(given):
        if t._shape != given[0]._shape:
            raise ShapeError("[stack] stack expects each tensor to be equal size, but got "
                             f"{list(given[0]._shape)} at entry 0 and {list(t._shape)} at entry {i}")
    return as_operation(cat([unsqueeze(t, along) for t in given], along), "stack", *given)


def _stacker(
    name: str, *aliases: str, prepare: Callable[[Tensor], Tensor], dim: Callable[[Tensor], int], doc: str
) -> None:
    def stacked(tensors: Any) -> Tensor:
        given = [prepare(t) for t in _tensors(name, tensors)]
        return cat(given, dim(given[0]))

    stacked.__name__, stacked.__doc__ = name, doc
    creator(name, *aliases)(stacked)


_stacker("hstack", prepare=atleast_1d, dim=lambda x: 0 if x.ndim == 1 else 1, doc="Tensors side by side: "
                                                                                  "along dim 1.")
_stacker("vstack", "row_stack", prepare=atleast_2d, dim=lambda x: 0, doc="Tensors below each other: along "
                                                                         "dim 0.")
_stacker("dstack", prepare=atleast_3d, dim=lambda x: 2, doc="Tensors behind each other: along dim 2.")
_stacker("column_stack", prepare=lambda x: x.reshape(-1, 1) if x.ndim < 2 else x, dim=lambda x: 1,
         doc="Vectors as columns, matrices side by side.")


def _axis_split(name: str, least: int, dim: Callable[[int], int]) -> None:
    def pieces(input: Tensor, indices_or_sections: int | Sequence[int]) -> tuple[Tensor, ...]:
        """Pieces along one dimension: views. Raises ShapeError where a number of sections does not divide its
        size."""
        if input.ndim < least:
            raise ShapeError(f"[{name}] requires a tensor with at least {least} dimension(s), but got "
                             f"{input.ndim}")
        axis = dim(input.ndim)
        if isinstance(indices_or_sections, int) and input._shape[axis] % max(indices_or_sections, 1):
            raise ShapeError(f"[{name}] dimension {axis} of size {input._shape[axis]} is not divisible by "
                             f"{indices_or_sections}")
        return tensor_split(input, indices_or_sections, axis)

    pieces.__name__ = name
    function(name)(pieces)


_axis_split("hsplit", 1, lambda ndim: 0 if ndim == 1 else 1)
_axis_split("vsplit", 2, lambda ndim: 0)
_axis_split("dsplit", 3, lambda ndim: 2)

# Repeating


@function("tile")
def tile(input: Tensor, *counts: Any, dims: Any = None) -> Tensor:
    """The tensor laid out counts[i] times along each dimension; missing counts are 1."""
    counts = sizes_of("tile", counts, dims)
    return repeat(input, (1,) * (input.ndim - len(counts)) + counts)


@method("repeat")
def repeat(x: Tensor, *counts: Any, repeats: Any = None) -> Tensor:
    """The tensor laid out counts[i] times along each dimension; as many counts as dimensions, or more."""
    counts = sizes_of("repeat", counts, repeats)
    if len(counts) < x.ndim:
        raise ShapeError(f"[repeat] Number of dimensions of repeat dims ({len(counts)}) can not be smaller "
                         f"than number of dimensions of tensor ({x.ndim})")
    if any(n < 0 for n in counts):
        raise ShapeError(f"[repeat] repeats must be at least 0, got {counts}")

    def build(node: Node) -> Node:
        shape = (1,) * (len(counts) - node.ndim) + node.shape
        apart = axes.reshape(node, tuple(m for n in shape for m in (1, n)))
        grown = axes.expand(apart, tuple(m for c, n in zip(counts, shape, strict=True) for m in (c, n)))
        return axes.reshape(grown, tuple(c * n for c, n in zip(counts, shape, strict=True)))

    return apply("repeat", build, x)


@function("repeat_interleave")
def repeat_interleave(input: Tensor, repeats: int | Tensor | None = None, dim: int | None = None, *,
                      output_size: int | None = None) -> Tensor:
    """Every slice along dim (the flattened tensor without one) repeats[i] times in a row. A tensor of repeats
    is realized, as the size depends on it. With repeats alone: which index each repetition has."""
    op = "repeat_interleave"
    if repeats is None:
        if dim is not None or input.ndim != 1:
            raise ArgumentTypeError(f"[{op}] needs repeats, or a 1-d tensor of them alone, got a tensor of "
                                    f"shape {tuple(input._shape)} and dim {dim}")
        return repeat_interleave(from_node(ops.iota(input._shape[0]), input.cell.device), input, 0)
    x = input.reshape(-1) if dim is None else input
    axis = axis_of(op, 0 if dim is None else dim, x.ndim)
    if isinstance(repeats, Tensor) and repeats._shape.numel() == 1:
        repeats = int(repeats)
    if isinstance(repeats, int):
        if repeats < 0:
            raise ShapeError(f"[{op}] repeats can not be negative: {repeats}")

        def build(node: Node) -> Node:
            wide = axes.insert_axis(node, axis + 1)
            shape = node.shape
            wide = axes.expand(wide, (*shape[:axis + 1], repeats, *shape[axis + 1:]))
            return axes.reshape(wide, (*shape[:axis], shape[axis] * repeats, *shape[axis + 1:]))

        return apply(op, build, x)
    if repeats.ndim != 1 or repeats._shape[0] != x._shape[axis] or not repeats._dtype.is_integer:
        raise ShapeError(f"[{op}] repeats must be integers of shape ({x._shape[axis]},), the size of dim "
                         f"{axis}, got {tuple(repeats._shape)} of {repeats._dtype!r}")
    counts = read(repeats)
    if (counts < 0).any():
        raise ShapeError(f"[{op}] repeats can not be negative: {int(counts.min())}")
    if output_size not in (None, int(counts.sum())):
        raise ShapeError(f"[{op}] allocated size does not match required size: output_size is {output_size}, "
                         f"but the repeats sum to {int(counts.sum())}")
    return index_select(x, axis, index_tensor(np.repeat(np.arange(len(counts)), counts), x.cell.device))


@function("roll")
@one_operation("roll")
def roll(input: Tensor, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None) -> Tensor:
    """The elements moved along dims (of the flattened tensor without any); what leaves one end enters the
    other."""
    if dims is None or dims == ():
        return roll(input.reshape(-1), shifts, 0).reshape(tuple(input._shape))
    shifts, dims = ([integer("roll", "shifts and dims", n) for n in (v if isinstance(v, Sequence) else (v,))]
                    for v in (shifts, dims))
    if len(shifts) != len(dims):
        raise ShapeError(f"[roll] shifts and dimensions must align. shifts: {len(shifts)}, dims: {len(dims)}")
    if not input.ndim:
        raise AxisError(f"[roll] Dimension specified as {dims[0]} but tensor has no dimensions")
    moves = [(axis_of("roll", d, input.ndim), s) for s, d in zip(shifts, dims, strict=True)]

    def build(node: Node) -> Node:
        for axis, shift in moves:
            size = node.shape[axis] if node.ndim else 0
            cut = size - shift % size if size else 0
            if cut not in (0, size):
                node = ops.cat(
                    axes.shrink_axis(node, axis, cut, size), axes.shrink_axis(node, axis, 0, cut), arg=axis
                )
        return node

    return apply("roll", build, input)


@function("rot90")
def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """The plane of two dimensions turned by k quarters, from the first towards the second."""
    if len(dims) != 2 or input.ndim < 2:
        raise ShapeError("[rot90] expected two rotation dims and a tensor of two dimensions or more, got "
                         f"{tuple(dims)} and {tuple(input._shape)}")
    a, b = (axis_of("rot90", d, input.ndim) for d in dims)
    if a == b:
        raise ShapeError(f"[rot90] expected rotation dims to be different, but got dim0 = {dims[0]} and dim1 "
                         f"= {dims[1]}")
    reversed_axes = ((), (b,), (a, b), (a,))[k % 4]
    order = [{a: b, b: a}.get(i, i) if k % 2 else i for i in range(input.ndim)]
    return apply("rot90", lambda x: axes.permute(ops.flip(x, arg=reversed_axes), order), input)


# Grids and products of sets


def _check_one_dtype(name: str, tensors: Sequence[Tensor]) -> None:
    kinds = list(dict.fromkeys(t._dtype for t in tensors))
    if len(kinds) > 1:
        raise DTypeError(f"[{name}] {name} expects all tensors to have the same dtype, got "
                         f"{' and '.join(map(repr, kinds))}: convert them with .to(dtype)")


@creator("meshgrid")
def meshgrid(*tensors: Any, indexing: str | None = None) -> tuple[Tensor, ...]:
    """The coordinates of a grid from its 1-d axes; indexing "xy" exchanges the first two dimensions, "ij"
    (None) does not. Views."""
    given = list(tensors[0]) if len(tensors) == 1 and not isinstance(tensors[0], Tensor) else list(tensors)
    if not given:
        raise ArgumentError("[meshgrid] meshgrid expects a non-empty TensorList: give one tensor or more")
    _check_one_dtype("meshgrid", given)
    if indexing not in (None, "ij", "xy"):
        raise ArgumentError(f"[meshgrid] indexing must be 'ij' or 'xy', got {indexing!r}")
    if any(t.ndim > 1 for t in given):
        raise ShapeError(f"[meshgrid] expected scalar or 1D tensors, got {[tuple(t._shape) for t in given]}")
    swapped = indexing == "xy" and len(given) > 1
    order = [given[1], given[0], *given[2:]] if swapped else given
    shape = [t._shape.numel() for t in order]
    grids = [t.reshape(tuple(n if i == j else 1 for j, n in enumerate(shape))).expand(shape)
             for i, t in enumerate(order)]
    return tuple([grids[1], grids[0], *grids[2:]] if swapped else grids)


@creator("cartesian_prod")
def cartesian_prod(*tensors: Tensor) -> Tensor:
    """All combinations of elements of 1-d tensors, one a row."""
    if any(t.ndim != 1 for t in tensors):
        raise ShapeError(f"[cartesian_prod] expected 1D tensors, got {[tuple(t._shape) for t in tensors]}")
    if len(tensors) == 1:
        return tensors[0]
    return stack([g.reshape(-1) for g in meshgrid(*tensors)], 1)


@function("combinations")
def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All choices of r elements of a 1-d tensor, in order, one a row."""
    if input.ndim != 1 or r < 0:
        raise ShapeError("[combinations] expected a 1D tensor and r of at least 0, got "
                         f"{tuple(input._shape)} and {r}")
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = list(choose(range(input._shape[0]), r))
    if not r or not rows:
        return apply("combinations", lambda x: ops.const(0, x.dtype, (0, r) if r else (0,)), input)
    return getitem(input, index_tensor(rows, input.cell.device))


# Triangles and diagonals


def _is_below(shape: Sequence[int], offset: int) -> Node:
    """True where column - row <= offset."""
    rows, columns = axes.places(tuple(shape), len(shape) - 2), axes.places(tuple(shape), len(shape) - 1)
    return ops.le(ops.sub(columns, rows), axes.full(offset, rows))


def _triangle(op: str, x: Tensor, build: Callable[[Node, Node], Node], offset: int) -> Tensor:
    if x.ndim < 2:
        raise ShapeError(f"[{op}] input tensor must have at least 2 dimensions, got {tuple(x._shape)}")
    return apply(op, lambda n: build(_is_below(n.shape, offset), n), x)


@with_in_place("tril")
def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """The matrix on and below a diagonal, 0 above."""
    return _triangle("tril", input, lambda below, x: ops.where(below, x, axes.full(0, x)), diagonal)


@with_in_place("triu")
def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """The matrix on and above a diagonal, 0 below."""
    return _triangle("triu", input, lambda below, x: ops.where(below, axes.full(0, x), x), diagonal - 1)


def _triangle_indices(name: str, lower: bool) -> None:
    def indices(
        row: int, col: int, offset: int = 0, *, dtype: DType = dtypes.int64, device: Any = None
    ) -> Tensor:
        """The row and column numbers (2, count) of a triangle's elements, row by row."""
        if row < 0 or col < 0:
            raise ArgumentError(f"[{name}] row and col must be non-negative, got {row} and {col}")
        below = np.tri(row, col, offset if lower else offset - 1, dtype=bool)
        found = index_tensor(np.nonzero(below if lower else ~below), usable_device(device))
        return found if dtype is dtypes.int64 else found.to(dtype)

    indices.__name__ = name
    creator(name)(indices)


_triangle_indices("tril_indices", True)
_triangle_indices("triu_indices", False)


@function("diag_embed")
def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Square matrices with the last dimension of input on a diagonal, and 0 elsewhere."""
    if not input.ndim:
        raise ShapeError("[diag_embed] needs a tensor of one dimension or more")
    a, b = axis_of("diag_embed", dim1, input.ndim + 1), axis_of("diag_embed", dim2, input.ndim + 1)
    if a == b:
        raise ShapeError(f"[diag_embed] diagonal dimensions cannot be identical {dim1}, {dim2}")
    count = input._shape[-1]

    def build(x: Node) -> Node:
        size = count + abs(offset)
        shape = (*x.shape[:-1], size, size)
        along = axes.pad_axis(x, x.ndim - 1, max(offset, 0), max(-offset, 0))  # by column
        wide = axes.expand(axes.insert_axis(along, x.ndim - 1), shape)
        rows, columns = axes.places(shape, x.ndim - 1), axes.places(shape, x.ndim)
        on = ops.eq(ops.sub(columns, rows), axes.full(offset, rows))
        matrix = ops.where(on, wide, axes.full(0, wide))
        order = list(range(x.ndim - 1))
        for place, source in sorted(((a, x.ndim - 1), (b, x.ndim))):
            order.insert(place, source)
        return axes.permute(matrix, order)

    return apply("diag_embed", build, input)


@function("diag")
def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """A matrix with a vector on a diagonal, or a matrix's diagonal as a vector."""
    if input.ndim not in (1, 2):
        raise ShapeError(f"[diag] Supports 1D or 2D tensors. Got {input.ndim}D")
    return diag_embed(input, diagonal) if input.ndim == 1 else diagonal_view(input, diagonal).clone()


@method("fill_diagonal_")
def fill_diagonal_(x: Tensor, fill_value: Any, wrap: bool = False) -> Tensor:
    """Every element whose indices are all equal becomes a value; `wrap`: a tall matrix's diagonal begins
    again below. Raises ShapeError for less than two dimensions, or more of unequal sizes."""
    if x.ndim < 2 or (x.ndim > 2 and len(set(x._shape)) > 1):
        raise ShapeError(f"[fill_diagonal_] needs a matrix, or dimensions of equal length, got "
                         f"{tuple(x._shape)}")
    count, step = min(x._shape), sum(x.stride())
    if wrap and x.ndim == 2 and x._shape[0] > x._shape[1]:
        count = -(-x._shape[0] * x._shape[1] // (x._shape[1] + 1))
    as_strided(x, (count,), (step,), x._offset).fill_(fill_value)
    return x


@function("diagflat")
def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """A matrix with all elements of input on a diagonal."""
    return diag_embed(input.reshape(-1), offset)


@creator("block_diag")
def block_diag(*tensors: Tensor) -> Tensor:
    """Matrices along the diagonal of one matrix, 0 elsewhere; (1, 0) without any."""
    if not tensors:
        return from_node(ops.const(0.0, promotion.get_default_dtype(), (1, 0)), usable_device(None))
    blocks = [atleast_2d(t) for t in tensors]
    if any(t.ndim > 2 for t in blocks):
        raise ShapeError("[block_diag] Input tensors must have 2 or fewer dimensions, got "
                         f"{[t.ndim for t in tensors]}")
    width = sum(t._shape[1] for t in blocks)
    rows, begin = [], 0
    for t in blocks:
        before, behind = begin, width - begin - t._shape[1]
        rows.append(apply("block_diag", lambda x, p=(before, behind): axes.pad_axis(x, 1, *p), t))
        begin += t._shape[1]
    return cat(rows, 0)


@creator("one_hot")
def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """int64 (*, num_classes): 1 at the class that tensor names, 0 elsewhere. -1 finds the number of classes:
    it realizes."""
    if tensor._dtype is not dtypes.int64:
        raise DTypeError("[one_hot] one_hot is only applicable to index tensor of type int64, got "
                         f"{tensor._dtype!r}")
    if num_classes == -1:
        if not tensor._shape.numel():
            raise ShapeError("[one_hot] Can not infer total number of classes from empty tensor.")
        num_classes = int(read(tensor).max()) + 1
    if (num_classes < 1 and tensor._shape.numel() == 0) or num_classes < 0:
        raise ArgumentError(f"[one_hot] num_classes should be positive, got {num_classes}")
    num_classes = integer("one_hot", "num_classes", num_classes)
    check_index("one_hot", tensor, num_classes, tensor.ndim, negative=False)

    def build(x: Node) -> Node:
        shape = (*x.shape, num_classes)
        same = ops.eq(axes.expand(axes.insert_axis(x, x.ndim), shape), axes.places(shape, x.ndim))
        return axes.cast(same, dtypes.int64)

    return apply("one_hot", build, tensor)
