"""Views: shapes, dimensions and basic slices. Each shares storage with its tensor wherever PyTorch's would."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lazygrad import ops
from lazygrad.dtype import DType
from lazygrad.errors import AxisError, DTypeError, OutOfBoundsError, ShapeError
from lazygrad.helpers import product
from lazygrad.tensors.axes import axes_of, axis_of, sizes_of
from lazygrad.tensors.core import Tensor, apply, creator, function, method, row_strides_of, storage_of, view_of
from lazygrad.tensors.promotion import broadcast


def _filled_in(name: str, x: Tensor, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape with its -1 worked out. Raises ShapeError where it does not fit x."""
    count = x._shape.numel()
    if sizes.count(-1) > 1:
        raise ShapeError(f"[{name}] only one dimension can be inferred, not two: {list(sizes)}")
    if any(n < -1 for n in sizes):
        raise ShapeError(f"[{name}] invalid shape dimension in {list(sizes)}: sizes are at least 0, or -1")
    rest = product(n for n in sizes if n != -1)
    if -1 in sizes:
        if rest == 0:
            raise ShapeError(f"[{name}] cannot reshape tensor of {count} elements into shape {list(sizes)} because the "
                             f"unspecified dimension size -1 can be any value and is ambiguous")
        if count % rest == 0:
            return tuple(count // rest if n == -1 else n for n in sizes)
    elif rest == count:
        return sizes
    raise ShapeError(f"[{name}] shape '{list(sizes)}' is invalid for input of size {count}: the tensor has the shape "
                     f"{tuple(x._shape)}")


def view_strides(old: Sequence[int], strides: Sequence[int], new: Sequence[int]) -> tuple[int, ...] | None:
    """The strides with which `new` walks the same storage, None where no strides can."""
    if product(old) == 0:
        return row_strides_of(new)
    # runs of old dimensions that are walked in one even pace may be cut anew; others may not
    result = [0] * len(new)
    position = len(new) - 1
    pace = strides[-1] if old else 1
    run = 1
    for i in range(len(old) - 1, -1, -1):
        run *= old[i]
        ends = i == 0 or (old[i - 1] != 1 and strides[i - 1] != run * pace)
        if ends:
            taken = 1
            while position >= 0 and (taken < run or new[position] == 1):
                result[position] = taken * pace
                taken *= new[position]
                position -= 1
            if taken != run:
                return None
            if i:
                pace, run = strides[i - 1], 1
    while position >= 0 and not old:
        result[position] = 1
        position -= 1
    return tuple(result) if position < 0 else None


def reshaped_view(x: Tensor, shape: tuple[int, ...]) -> Tensor | None:
    """x in another shape as a view, None where PyTorch would have to copy."""
    if x._strides is None:
        return view_of(x, ("reshape", shape), shape, None)
    strides = view_strides(x._shape, x._strides, shape)
    return None if strides is None else view_of(x, ("reshape", shape), shape, strides)


@method("view")
def view(x: Tensor, *shape: Any) -> Tensor:
    """Another shape over the same storage, or another dtype of the same width. Raises ShapeError where only a copy
    could have the shape."""
    if len(shape) == 1 and isinstance(shape[0], DType):
        return _view_bits(x, shape[0])
    sizes = _filled_in("view", x, sizes_of("view", shape))
    result = reshaped_view(x, sizes)
    if result is None:
        raise ShapeError(f"[view] view size is not compatible with input tensor's size and stride (at least one dimension "
                         f"spans across two contiguous subspaces): {tuple(x._shape)} with strides {x.stride()} to "
                         f"{sizes}. Use .reshape(...) instead.")
    return result


def _view_bits(x: Tensor, dtype: DType) -> Tensor:
    if dtype is x._dtype:
        return view_of(x, (), x._shape, x._strides)
    if dtype.itemsize != x._dtype.itemsize:
        raise DTypeError(f"[view] {x._dtype!r} has {x._dtype.itemsize} bytes and {dtype!r} has {dtype.itemsize}: a view "
                         f"as another dtype needs equal widths")
    result = view_of(x.detach(), ("bitcast", dtype), x._shape, x._strides)
    result._dtype = dtype
    return result


@function("reshape")
def reshape(input: Tensor, *shape: Any) -> Tensor:
    """Another shape: a view where one exists, else a copy."""
    sizes = _filled_in("reshape", input, sizes_of("reshape", shape))
    result = reshaped_view(input, sizes)
    return apply("reshape", lambda x: ops.reshape(x, arg=sizes), input) if result is None else result


@method("view_as")
def view_as(x: Tensor, other: Tensor) -> Tensor:
    """A view in the shape of other."""
    return view(x, other._shape)


@method("reshape_as")
def reshape_as(x: Tensor, other: Tensor) -> Tensor:
    """x in the shape of other."""
    return reshape(x, other._shape)


@function("permute")
def permute(input: Tensor, *dims: Any) -> Tensor:
    """The dimensions in another order: a view."""
    order = sizes_of("permute", dims)
    if len(order) != input.ndim:
        raise ShapeError(f"[permute] number of dimensions in the tensor input does not match the length of the desired "
                         f"ordering of dimensions i.e. input.dim() = {input.ndim} is not equal to len(dims) = {len(order)}")
    axes = tuple(axis_of("permute", d, input.ndim) for d in order)
    if len(set(axes)) != len(axes):
        raise ShapeError(f"[permute] duplicate dims are not allowed: {order}")
    strides = input.stride()
    return view_of(input, ("permute", axes), [input._shape[a] for a in axes], [strides[a] for a in axes])


@function("transpose", "swapaxes", "swapdims")
def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two dimensions exchanged: a view."""
    a, b = axis_of("transpose", dim0, input.ndim), axis_of("transpose", dim1, input.ndim)
    order = list(range(input.ndim))
    if order:
        order[a], order[b] = order[b], order[a]
    return permute(input, order)


@function("t")
def t(input: Tensor) -> Tensor:
    """A matrix transposed. Raises ShapeError beyond two dimensions."""
    if input.ndim > 2:
        raise ShapeError(f"[t] t() expects a tensor with <= 2 dimensions, but self is {input.ndim}D")
    return permute(input, tuple(range(input.ndim))[::-1])


def _matrix_transpose(x: Tensor) -> Tensor:
    if x.ndim < 2:
        raise ShapeError(f"[mT] tensor.mT is only supported on matrices or batches of matrices. Got {x.ndim}-D tensor.")
    return transpose(x, -1, -2)


Tensor.T = property(lambda x: permute(x, tuple(range(x.ndim))[::-1]), doc="All dimensions in reverse order.")  # type: ignore[attr-defined]
Tensor.mT = property(_matrix_transpose, doc="The last two dimensions exchanged.")  # type: ignore[attr-defined]
Tensor.H = Tensor.T  # type: ignore[attr-defined]
Tensor.mH = Tensor.mT  # type: ignore[attr-defined]


@function("adjoint")
def adjoint(input: Tensor) -> Tensor:
    """The last two dimensions exchanged."""
    return _matrix_transpose(input)


@function("movedim", "moveaxis")
def movedim(input: Tensor, source: Any, destination: Any) -> Tensor:
    """Dimensions moved to other places; the others keep their order."""
    sources = [source] if isinstance(source, int) else list(source)
    targets = [destination] if isinstance(destination, int) else list(destination)
    if len(sources) != len(targets):
        raise ShapeError(f"[movedim] Invalid source or destination dims: source ({sources} dims) should contain the same "
                         f"number of dims as destination ({targets} dims)")
    sources = [axis_of("movedim", d, input.ndim) for d in sources]
    targets = [axis_of("movedim", d, input.ndim) for d in targets]
    if len(set(sources)) != len(sources) or len(set(targets)) != len(targets):
        raise ShapeError(f"[movedim] repeated dim in source {sources} or destination {targets}")
    rest = iter(i for i in range(input.ndim) if i not in sources)
    places = dict(zip(targets, sources, strict=True))
    return permute(input, [places[i] if i in places else next(rest) for i in range(input.ndim)])


def _with_sizes(x: Tensor, kept: Sequence[tuple[int, int]]) -> Tensor:
    """A view with other dimensions of size 1: `kept` lists (size, stride) of the result."""
    shape = tuple(n for n, _ in kept)
    return view_of(x, ("reshape", shape), shape, [s for _, s in kept])


@function("squeeze")
def squeeze(input: Tensor, dim: Any = None) -> Tensor:
    """Without its dimensions of size 1, or without those of `dim` that have size 1: a view."""
    axes = axes_of("squeeze", dim, input.ndim)
    return _with_sizes(input, [(n, s) for i, (n, s) in enumerate(zip(input._shape, input.stride(), strict=True))
                               if not (n == 1 and i in axes)])


@function("unsqueeze")
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """A dimension of size 1 inserted before `dim`: a view."""
    axis = axis_of("unsqueeze", dim, input.ndim + 1)
    sizes = list(zip(input._shape, input.stride(), strict=True))
    stride = sizes[axis][0] * sizes[axis][1] if axis < len(sizes) else 1
    return _with_sizes(input, [*sizes[:axis], (1, stride), *sizes[axis:]])


@method("expand")
def expand(x: Tensor, *sizes: Any) -> Tensor:
    """Dimensions of size 1 grown without copying, and new ones in front; -1 keeps a size: a view."""
    wanted = sizes_of("expand", sizes)
    new = len(wanted) - x.ndim
    if new < 0:
        raise ShapeError(f"[expand] the number of sizes provided ({len(wanted)}) must be greater or equal to the number of "
                         f"dimensions in the tensor ({x.ndim}): {list(wanted)} for the shape {list(x._shape)}")
    old = (1,) * new + tuple(x._shape)
    strides = (0,) * new + x.stride()
    shape = []
    for i, (want, have) in enumerate(zip(wanted, old, strict=True)):
        if want == -1 and i >= new:
            want = have
        elif want < 0:
            raise ShapeError(f"[expand] The expanded size of the tensor ({want}) isn't allowed in a leading, non-existing "
                             f"dimension {i}")
        elif have not in (1, want):
            raise ShapeError(f"[expand] The expanded size of the tensor ({want}) must match the existing size ({have}) at "
                             f"non-singleton dimension {i}.  Target sizes: {list(wanted)}.  Tensor sizes: {list(x._shape)}")
        shape.append(want)
    walked = [0 if want != have else s for want, have, s in zip(shape, old, strides, strict=True)]
    chain = [("reshape", old)] if new else []
    if tuple(shape) != old:
        chain.append(("expand", tuple(shape)))
    return view_of(x, chain, shape, walked)


@method("expand_as")
def expand_as(x: Tensor, other: Tensor) -> Tensor:
    """x expanded to the shape of other."""
    return expand(x, other._shape)


@function("broadcast_to")
def broadcast_to(input: Tensor, size: Any) -> Tensor:
    """x expanded to a shape."""
    return expand(input, size)


@creator("broadcast_tensors")
def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """All tensors expanded to their common shape."""
    shape = broadcast("broadcast_tensors", *[x._shape for x in tensors])
    return tuple(expand(x, shape) for x in tensors)


# Slices

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
    return view_of(x, chain, shape, strides, offset)


def selected(x: Tensor, axis: int, index: int) -> Tensor:
    """The slice at an index in range, without its axis: a view."""
    strides = x.stride()
    bounds = tuple((index, index + 1) if i == axis else (0, n) for i, n in enumerate(x._shape))
    shape = tuple(n for i, n in enumerate(x._shape) if i != axis)
    return view_of(x, [("shrink", bounds), ("reshape", shape)], shape,
                   [s for i, s in enumerate(strides) if i != axis], x._offset + index * strides[axis])


@function("select")
def select(input: Tensor, dim: int, index: Any) -> Tensor:
    """The slice at an index along a dimension: a view. Raises OutOfBoundsError."""
    if not input.ndim:
        raise AxisError("[select] select() cannot be applied to a 0-dim tensor.")
    axis, index = axis_of("select", dim, input.ndim), int(index)
    size = input._shape[axis]
    if not -size <= index < size:
        raise OutOfBoundsError(f"[select] index {index} is out of bounds for dimension {axis} with size {size}")
    return selected(input, axis, index % size)


@function("narrow")
def narrow(input: Tensor, dim: int, start: Any, length: int) -> Tensor:
    """`length` elements from `start` on along a dimension: a view."""
    if not input.ndim:
        raise ShapeError("[narrow] narrow() cannot be applied to a 0-dim tensor.")
    axis, start = axis_of("narrow", dim, input.ndim), int(start)
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
    if isinstance(split_size_or_sections, int):
        step = split_size_or_sections
        if step < 0 or (step == 0 and size):
            raise ShapeError(f"[split] split_size can only be 0 if dimension size is 0, and not below, but got {step} for "
                             f"dimension size {size}")
        parts = [min(step, size - i) for i in range(0, size, step)] if size else [0]
    else:
        parts = [int(n) for n in split_size_or_sections]
        if sum(parts) != size or any(n < 0 for n in parts):
            raise ShapeError(f"[split] split_with_sizes expects split_sizes to sum exactly to {size} (input tensor's size at "
                             f"dimension {axis}), but got split_sizes={parts}")
    pieces, begin = [], 0
    for n in parts:
        pieces.append(sliced(tensor, axis, begin, begin + n))
        begin += n
    return tuple(pieces)


@function("split_with_sizes")
def split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Pieces of listed sizes along a dimension: views."""
    return split(input, list(split_sizes), dim)


@function("chunk")
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most `chunks` pieces of equal size (the last may be smaller) along a dimension: views."""
    if chunks <= 0:
        raise ShapeError(f"[chunk] chunk expects `chunks` to be greater than 0, got: {chunks}")
    if not input.ndim:
        raise ShapeError("[chunk] chunk expects at least a 1-dimensional tensor")
    axis = axis_of("chunk", dim, input.ndim)
    size = input._shape[axis]
    return split(input, -(-size // chunks), axis) if size else split(input, [0] * chunks, axis)


@function("tensor_split")
def tensor_split(input: Tensor, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Pieces between indices, or a number of pieces as equal as can be, along a dimension: views."""
    axis = axis_of("tensor_split", dim, input.ndim)
    size = input._shape[axis]
    if isinstance(indices_or_sections, Tensor):
        indices_or_sections = indices_or_sections.tolist()
    if isinstance(indices_or_sections, int):
        n = indices_or_sections
        if n <= 0:
            raise ShapeError(f"[tensor_split] number of sections must be larger than 0, got {n}")
        ends = [(i + 1) * (size // n) + min(i + 1, size % n) for i in range(n)]
    else:
        ends = [slice(None, i).indices(size)[1] for i in indices_or_sections] + [size]
    return tuple(sliced(input, axis, min(a, size), max(a, b)) for a, b in zip([0, *ends[:-1]], ends, strict=True))


@function("unbind")
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """All slices along a dimension: views."""
    if not input.ndim:
        raise AxisError("[unbind] Dimension specified as 0 but tensor has no dimensions")
    axis = axis_of("unbind", dim, input.ndim)
    return tuple(selected(input, axis, i) for i in range(input._shape[axis]))


# Dimensions merged and cut

@function("flatten")
def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Dimensions start_dim to end_dim merged into one."""
    a, b = axis_of("flatten", start_dim, input.ndim), axis_of("flatten", end_dim, input.ndim)
    if a > b:
        raise ShapeError("[flatten] flatten() has invalid args: start_dim cannot come after end_dim")
    if not input.ndim:
        return reshape(input, 1)
    if a == b:
        return input
    return reshape(input, (*input._shape[:a], product(input._shape[a:b + 1]), *input._shape[b + 1:]))


@function("ravel")
def ravel(input: Tensor) -> Tensor:
    """One dimension."""
    return reshape(input, -1)


@function("unflatten")
def unflatten(input: Tensor, dim: int, sizes: Any) -> Tensor:
    """One dimension cut into several; one size may be -1."""
    axis = axis_of("unflatten", dim, input.ndim)
    sizes = sizes_of("unflatten", (sizes,))
    known = product(n for n in sizes if n != -1)
    size = input._shape[axis]
    whole = tuple(size // known if n == -1 and known else n for n in sizes)
    if product(whole) != size:
        raise ShapeError(f"[unflatten] Provided sizes {list(sizes)} don't multiply up to the size of dim {axis} ({size}) "
                         f"in the input tensor")
    return reshape(input, (*input._shape[:axis], *whole, *input._shape[axis + 1:]))


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
    return view_of(input, chain, (*lead, count), walked, input._offset + top * strides[a] + left * strides[b])


@method("unfold")
def unfold(x: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """All windows of `size` elements, `step` apart, along a dimension; the windows' elements become the last
    dimension: a view."""
    axis = axis_of("unfold", dimension, x.ndim)
    length = x._shape[axis] if x.ndim else 1
    if size > length or size < 0:
        raise ShapeError(f"[unfold] maximum size for tensor at dimension {axis} is {length} but size is {size}")
    if step <= 0:
        raise ShapeError(f"[unfold] step is {step} but must be > 0")
    if not x.ndim:
        return reshape(x, 1) if size else sliced(reshape(x, 1), 0, 0, 0)
    strides = list(x.stride())
    count = (length - size) // step + 1
    shape = (*x._shape[:axis], count, *x._shape[axis + 1:], size)
    walked = [*strides, strides[axis]]
    walked[axis] *= step
    if 0 in shape:
        return view_of(x, ("strided", (shape, tuple(walked), 0)), shape, walked)
    return view_of(x, ("window", ((axis, size, step, 1),)), shape, walked)


@function("as_strided")
def as_strided(input: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """The storage walked with any sizes and strides: a view. Raises ShapeError beyond the storage's end."""
    shape, strides = tuple(size), tuple(stride)
    offset = input._offset if storage_offset is None else storage_offset
    base = storage_of(input)
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) if 0 not in shape else 0
    if last >= max(base._shape[0], 1) or offset < 0:
        raise ShapeError(f"[as_strided] setStorage: sizes {list(shape)}, strides {list(strides)}, storage offset {offset} are "
                         f"out of bounds for storage of {base._shape[0]} elements")
    return view_of(base, ("strided", (shape, strides, offset)), shape, strides, offset)


@function("atleast_1d")
def atleast_1d(input: Tensor) -> Tensor:
    """With one dimension at least."""
    return input if input.ndim else reshape(input, 1)


@function("atleast_2d")
def atleast_2d(input: Tensor) -> Tensor:
    """With two dimensions at least, new ones in front."""
    return input if input.ndim >= 2 else unsqueeze(atleast_1d(input), 0)


@function("atleast_3d")
def atleast_3d(input: Tensor) -> Tensor:
    """With three dimensions at least, the third at the end."""
    return input if input.ndim >= 3 else unsqueeze(atleast_2d(input), -1)


# Copies in another order

@function("flip")
def flip(input: Tensor, *dims: Any) -> Tensor:
    """The elements in reverse order along dimensions: a copy."""
    axes = axes_of("flip", sizes_of("flip", dims), input.ndim) if dims != ((),) and dims else ()
    return apply("flip", lambda x: ops.flip(x, arg=axes) if axes else x, input)


@function("fliplr")
def fliplr(input: Tensor) -> Tensor:
    """Columns in reverse order."""
    return flip(input, 1)


@function("flipud")
def flipud(input: Tensor) -> Tensor:
    """Rows in reverse order."""
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
