"""Parts of a storage as views (slices, pieces, diagonals, windows), and copies in another order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lazygrad import dtypes, ops
from lazygrad.errors import ArgumentTypeError, AxisError, DTypeError, OutOfBoundsError, ShapeError
from lazygrad.tensors.axes import axes_of, axis_of, integer, sizes_of
from lazygrad.tensors.core import Tensor, apply, function, method, storage_of, view_of
from lazygrad.tensors.grad_fn import as_operation
from lazygrad.tensors.shapes import reshape, unsqueeze


def sliced(x: Tensor, axis: int, begin: int, end: int, step: int = 1) -> Tensor:
    """Elements begin, begin + step, ... below end along an axis, all in range: a view."""
    shape, strides = list(x._shape), list(x.stride())
    offset = x._offset + begin * strides[axis]
    chain: list[Any] = []
    end = max(end, begin)
    if (begin, end) != (0, shape[axis]):
        chain.append(("shrink", tuple((begin, end) if i == axis else (0, n) for i, n in enumerate(shape))))
    if step != 1 and end > begin:
        chain.append(("steps", (axis, step)))
    shape[axis] = -(-(end - begin) // step)
    strides[axis] *= step
    return view_of(x, chain, shape, strides, offset, "slice")


def selected(x: Tensor, axis: int, index: int) -> Tensor:
    """The slice at an index in range, without its axis: a view."""
    strides = x.stride()
    bounds = tuple((index, index + 1) if i == axis else (0, n) for i, n in enumerate(x._shape))
    shape = tuple(n for i, n in enumerate(x._shape) if i != axis)
    return view_of(
        x,
        [("shrink", bounds), ("reshape", shape)],
        shape,
        [s for i, s in enumerate(strides) if i != axis],
        x._offset + index * strides[axis],
        "select",
    )


@function("select")
def select(input: Tensor, dim: int, index: int) -> Tensor:
    """The slice at an index along a dimension: a view. Raises OutOfBoundsError."""
    if not input.ndim:
        raise AxisError("[select] select() cannot be applied to a 0-dim tensor.")
    axis, index = axis_of("select", dim, input.ndim), int(index)
    size = input._shape[axis]
    if not -size <= index < size:
        raise OutOfBoundsError(
            f"[select] index {index} is out of bounds for dimension {axis} with size {size}"
        )
    return selected(input, axis, index % size)


@function("narrow")
def narrow(input: Tensor, dim: int, start: Any, length: int) -> Tensor:
    """`length` elements from `start` on along a dimension: a view."""
    if not input.ndim:
        raise ShapeError("[narrow] narrow() cannot be applied to a 0-dim tensor.")
    if isinstance(start, Tensor) and (start.ndim or not start._dtype.is_integer):
        raise ShapeError("[narrow] start must be an 0-dim integral Tensor, or an int, not a tensor of "
                         f"{start._dtype!r} and shape {tuple(start._shape)}")
    if isinstance(start, bool):
        raise ArgumentTypeError("[narrow] start must be an int, not bool")
    axis, start = axis_of("narrow", dim, input.ndim), integer("narrow", "start", start)
    length = integer("narrow", "length", length)
    size = input._shape[axis]
    if not -size <= start <= size:
        raise OutOfBoundsError(f"[narrow] start ({start}) is out of bounds: dimension {axis} has size {size}")
    start = start + size if start < 0 else start
    if length < 0 or start + length > size:
        raise ShapeError(f"[narrow] start ({start}) + length ({length}) exceeds dimension size ({size}).")
    return sliced(input, axis, start, start + length)


@function("split")
def split(tensor: Tensor, split_size_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Pieces of a size, or of listed sizes, along a dimension: views."""
    if not tensor.ndim:
        raise ShapeError("[split] split expects at least a 1-dimensional tensor")
    axis = axis_of("split", dim, tensor.ndim)
    size = tensor._shape[axis]
    even = not isinstance(split_size_or_sections, Sequence) and not getattr(split_size_or_sections, "ndim", 0)
    if even:
        step = integer("split", "split_size", split_size_or_sections)
        if step < 0 or (step == 0 and size):
            raise ShapeError(
                "[split] split_size can only be 0 if dimension size is 0, and not below, but "
                f"got {step} for "
                f"dimension size {size}"
            )
        parts = [min(step, size - i) for i in range(0, size, step)] if size else [0]
    else:
        parts = [integer("split", "split_sizes", n) for n in split_size_or_sections]
        if sum(parts) != size or any(n < 0 for n in parts):
            raise ShapeError(
                f"[split] split_with_sizes expects split_sizes to sum exactly to {size} (input "
                "tensor's size at "
                f"dimension {axis}), but got split_sizes={parts}"
            )
    pieces, begin = [], 0
    for n in parts:
        pieces.append(sliced(tensor, axis, begin, begin + n))
        begin += n
    return as_operation(tuple(pieces), "split" if even else "split_with_sizes", tensor)


@method("split")
def _split_method(x: Tensor, split_size: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Pieces of a size, or of listed sizes, along a dimension: views. PyTorch's method names its argument
    otherwise than its function does."""
    return split(x, split_size, dim)


@function("split_with_sizes")
def split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Pieces of listed sizes along a dimension: views."""
    return split(input, list(split_sizes), dim)


@function("chunk")
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most `chunks` pieces of equal size (the last may be smaller) along a dimension: views."""
    chunks = integer("chunk", "chunks", chunks)
    if chunks <= 0:
        raise ShapeError(f"[chunk] chunk expects `chunks` to be greater than 0, got: {chunks}")
    if not input.ndim:
        raise ShapeError("[chunk] chunk expects at least a 1-dimensional tensor")
    axis = axis_of("chunk", dim, input.ndim)
    size = input._shape[axis]
    return split(input, -(-size // chunks), axis) if size else split(input, [0] * chunks, axis)


@function("tensor_split")
def tensor_split(
    input: Tensor, indices_or_sections: int | Sequence[int] | Tensor, dim: int = 0
) -> tuple[Tensor, ...]:
    """Pieces between indices, or a number of pieces as equal as can be, along a dimension: views."""
    if not input.ndim:
        raise ShapeError("[tensor_split] expected at least a 1-dimensional tensor, but got one with 0 dims")
    axis = axis_of("tensor_split", dim, input.ndim)
    size = input._shape[axis]
    if isinstance(indices_or_sections, Tensor):
        if indices_or_sections._dtype is not dtypes.int64:
            raise DTypeError("[tensor_split] expected indices_or_sections to have dtype of long, but got "
                             f"{indices_or_sections._dtype!r}: convert it with .long()")
        indices_or_sections = indices_or_sections.tolist()
    if isinstance(indices_or_sections, int):
        n = indices_or_sections
        if n <= 0:
            raise ShapeError(f"[tensor_split] number of sections must be larger than 0, got {n}")
        ends = [(i + 1) * (size // n) + min(i + 1, size % n) for i in range(n)]
    else:
        ends = [slice(None, i).indices(size)[1] for i in indices_or_sections] + [size]
    return tuple(
        sliced(input, axis, min(a, size), max(a, b)) for a, b in zip([0, *ends[:-1]], ends, strict=True)
    )


@function("unbind")
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """All slices along a dimension: views."""
    if not input.ndim:
        raise AxisError("[unbind] Dimension specified as 0 but tensor has no dimensions")
    axis = axis_of("unbind", dim, input.ndim)
    return as_operation(tuple(selected(input, axis, i) for i in range(input._shape[axis])), "unbind", input)


# Other walks over the storage


@function("diagonal")
def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonal of two dimensions, moved to the end: a view."""
    a, b = axis_of("diagonal", dim1, input.ndim), axis_of("diagonal", dim2, input.ndim)
    if a == b:
        raise ShapeError(f"[diagonal] diagonal dimensions cannot be identical {dim1}, {dim2}")
    rows, columns = input._shape[a], input._shape[b]
    top, left = max(-offset, 0), max(offset, 0)
    count = max(min(rows - top, columns - left), 0)
    strides = input.stride()
    order = (*(i for i in range(input.ndim) if i not in (a, b)), a, b)
    lead = tuple(input._shape[i] for i in order[:-2])
    whole = tuple((0, n) for n in lead)
    square = (*whole, (top, top + count), (left, left + count)) if count else (*whole, (0, 0), (0, 0))
    chain: list[Any] = [("permute", order), ("shrink", square), ("reshape", (*lead, count * count))]
    if count > 1:
        chain.append(("steps", (len(lead), count + 1)))
    walked = [*(strides[i] for i in order[:-2]), strides[a] + strides[b]]
    offset = input._offset + top * strides[a] + left * strides[b]
    return view_of(input, chain, (*lead, count), walked, offset, "diagonal")


@method("unfold")
def unfold(x: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """All windows of `size` elements, `step` apart, along a dimension; the windows' elements become the last
    dimension: a view."""
    axis = axis_of("unfold", dimension, x.ndim)
    length = x._shape[axis] if x.ndim else 1
    size, step = integer("unfold", "size", size), integer("unfold", "step", step)
    if size > length or size < 0:
        raise ShapeError(
            f"[unfold] maximum size for tensor at dimension {axis} is {length} but size is {size}"
        )
    if step <= 0:
        raise ShapeError(f"[unfold] step is {step} but must be > 0")
    if not x.ndim:
        return reshape(x, 1) if size else sliced(reshape(x, 1), 0, 0, 0)
    strides = list(x.stride())
    count = (length - size) // step + 1
    shape = (*x._shape[:axis], count, *x._shape[axis + 1 :], size)
    walked = [*strides, strides[axis]]
    walked[axis] *= step
    if 0 in shape:
        return view_of(x, ("strided", (shape, tuple(walked), 0)), shape, walked, name="unfold")
    return view_of(x, ("window", ((axis, size, step, 1),)), shape, walked, name="unfold")


@function("as_strided")
def as_strided(input: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """The storage walked with any sizes and strides: a view. Raises ShapeError beyond the storage's end."""
    shape, strides = (tuple(integer("as_strided", what, n) for n in numbers)
                      for what, numbers in (("size", size), ("stride", stride)))
    offset = input._offset if storage_offset is None else integer("as_strided", "offset", storage_offset)
    if shape and (min(shape) < 0 or min(strides, default=0) < 0):
        raise ShapeError(f"[as_strided] sizes and strides must not be negative, got {list(shape)} and "
                         f"{list(strides)}")
    base = storage_of(input)
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) if 0 not in shape else 0
    if last >= max(base._shape[0], 1) or offset < 0:
        raise ShapeError(
            f"[as_strided] setStorage: sizes {list(shape)}, strides {list(strides)}, storage "
            f"offset {offset} are "
            f"out of bounds for storage of {base._shape[0]} elements"
        )
    view = view_of(base, ("strided", (shape, strides, offset)), shape, strides, offset)
    return as_operation(view, "as_strided", input)


def _one_or_all(name: str, what: str, grow: Callable[[Tensor], Tensor]) -> Callable[..., Any]:
    """Publish `grow` for one tensor, or for several, listed or one by one: a tuple."""

    def grown(*tensors: Any) -> Any:
        if len(tensors) == 1 and isinstance(tensors[0], Tensor):
            return grow(tensors[0])
        given = tensors[0] if len(tensors) == 1 else tensors
        return tuple(grow(t) for t in given)

    grown.__name__ = grown.__qualname__ = name
    grown.__doc__ = what
    return function(name)(grown)


atleast_1d = _one_or_all("atleast_1d", "With one dimension at least.",
                         lambda x: x if x.ndim else reshape(x, 1))
atleast_2d = _one_or_all("atleast_2d", "With two dimensions at least, new ones in front.",
                         lambda x: x if x.ndim >= 2 else unsqueeze(atleast_1d(x), 0))
atleast_3d = _one_or_all("atleast_3d", "With three dimensions at least, the third at the end.",
                         lambda x: x if x.ndim >= 3 else unsqueeze(atleast_2d(x), -1))


# Copies in another order


@function("flip")
def flip(input: Tensor, *axes: Any, dims: Any = None) -> Tensor:
    """The elements in reverse order along dimensions: a copy."""
    listed = sizes_of("flip", axes, dims)
    axes = axes_of("flip", listed, input.ndim) if listed else ()
    return apply("flip", lambda x: ops.flip(x, arg=axes) if axes else x, input)


@function("fliplr")
def fliplr(input: Tensor) -> Tensor:
    """Columns in reverse order."""
    if input.ndim < 2:
        raise ShapeError(f"[fliplr] Input must be >= 2-d, got {input.ndim} dimensions")
    return flip(input, 1)


@function("flipud")
def flipud(input: Tensor) -> Tensor:
    """Rows in reverse order."""
    if not input.ndim:
        raise ShapeError("[flipud] Input must be >= 1-d, got 0 dimensions")
    return flip(input, 0)


@method("contiguous")
def contiguous(x: Tensor, memory_format: Any = None) -> Tensor:
    """The tensor itself where its elements stand in row-major order, else a copy."""
    return x if x.is_contiguous() else apply("contiguous", lambda n: n, x)


@function("clone")
def clone(input: Tensor, *, memory_format: Any = None) -> Tensor:
    """A copy with its own storage; gradients flow back to the original."""
    return apply("clone", lambda x: x, input)


@function("is_same_size")
def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether the shapes are equal."""
    return input._shape == other._shape
