"""Views: shapes, dimensions and basic slices. Each shares storage with its tensor wherever PyTorch's
would."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lazygrad import ops
from lazygrad.dtypes import DType, pytorch_name
from lazygrad.errors import ArgumentTypeError, GradientError, ShapeError
from lazygrad.helpers import product
from lazygrad.missing import check_type
from lazygrad.tensors.axes import axes_of, axis_of, sizes_of
from lazygrad.tensors.core import (
    Tensor,
    apply,
    creator,
    function,
    method,
    row_strides_of,
    view_of,
)
from lazygrad.tensors.grad_fn import as_operation
from lazygrad.tensors.modes import mode
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
            raise ShapeError(
                f"[{name}] cannot reshape tensor of {count} elements into shape {list(sizes)} "
                "because the "
                f"unspecified dimension size -1 can be any value and is ambiguous"
            )
        if count % rest == 0:
            return tuple(count // rest if n == -1 else n for n in sizes)
    elif rest == count:
        return sizes
    raise ShapeError(
        f"[{name}] shape '{list(sizes)}' is invalid for input of size {count}: the tensor has "
        "the shape "
        f"{tuple(x._shape)}"
    )


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
        return view_of(x, ("reshape", shape), shape, None, name="view")
    strides = view_strides(x._shape, x._strides, shape)
    return None if strides is None else view_of(x, ("reshape", shape), shape, strides, name="view")


@method("view")
def view(x: Tensor, *shape: Any, size: Any = None, dtype: DType | None = None) -> Tensor:
    """Another shape, or another dtype, over the same storage. Raises ShapeError where only a copy could have
    the shape; and where a dtype of another width, by which the last dimension grows or shrinks, does not fit
    the sizes or strides. A view as another dtype has no gradient."""
    if dtype is None and len(shape) == 1:
        check_type("view", shape[0])
        dtype = shape[0] if isinstance(shape[0], DType) else None
    if dtype is not None:
        return _view_bits(x, dtype)
    sizes = _filled_in("view", x, sizes_of("view", shape, size))
    result = reshaped_view(x, sizes)
    if result is None:
        raise ShapeError(
            "[view] view size is not compatible with input tensor's size and stride (at least "
            "one dimension "
            f"spans across two contiguous subspaces): {tuple(x._shape)} with strides "
            f"{x.stride()} to "
            f"{sizes}. Use .reshape(...) instead."
        )
    return result


def _view_bits(x: Tensor, dtype: DType) -> Tensor:
    if dtype is x._dtype:
        return view_of(x.detach(), [], x._shape, x._strides)
    shape: tuple[int, ...] = x._shape
    strides, offset = x._strides, x._offset
    if dtype.itemsize != x._dtype.itemsize:
        shape, strides, offset = _resized_elements(x, dtype)
    result = view_of(x.detach(), ("bitcast", dtype), shape, strides, offset)
    result._dtype = dtype
    return result


def _resized_elements(x: Tensor, dtype: DType) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """Sizes, strides and offset of x's memory as elements of another width. Raises ShapeError where they do
    not fit."""
    width, other = x._dtype.itemsize, dtype.itemsize
    shape, strides, ratio = tuple(x._shape), x.stride(), max(width, other) // min(width, other)
    as_other = f"to view {pytorch_name(x._dtype)} as {pytorch_name(dtype)} (different element sizes)"
    if not shape:
        raise ShapeError(f"[view] self.dim() cannot be 0 {as_other}")

    def expect(holds: bool, what: str, found: int) -> None:
        if not holds:
            raise ShapeError(f"[view] self.{what} {as_other}, but got {found}")

    wider = other > width
    if wider:
        expect(shape[-1] % ratio == 0, f"size(-1) must be divisible by {ratio}", shape[-1])
        expect(x._offset % ratio == 0, f"storage_offset() must be divisible by {ratio}", x._offset)
    expect(strides[-1] == 1, "stride(-1) must be 1", strides[-1])
    if not wider:
        return (*shape[:-1], shape[-1] * ratio), (*(s * ratio for s in strides[:-1]), 1), x._offset * ratio
    for axis, stride in enumerate(strides[:-1]):
        expect(stride % ratio == 0, f"stride({axis}) must be divisible by {ratio}", stride)
    return (*shape[:-1], shape[-1] // ratio), (*(s // ratio for s in strides[:-1]), 1), x._offset // ratio


@function("reshape")
def reshape(input: Tensor, *sizes: Any, shape: Any = None) -> Tensor:
    """Another shape: a view where one exists, else a copy."""
    full = _filled_in("reshape", input, sizes_of("reshape", sizes, shape))
    result = reshaped_view(input, full)
    return apply("reshape", lambda x: ops.reshape(x, arg=full), input) if result is None else result


@method("view_as")
def view_as(x: Tensor, other: Tensor) -> Tensor:
    """A view in the shape of other."""
    return view(x, other._shape)


@method("reshape_as")
def reshape_as(x: Tensor, other: Tensor) -> Tensor:
    """x in the shape of other."""
    return reshape(x, other._shape)


@function("permute")
def permute(input: Tensor, *order: Any, dims: Any = None) -> Tensor:
    """The dimensions in another order: a view."""
    order = sizes_of("permute", order, dims)
    if len(order) != input.ndim:
        raise ShapeError(
            "[permute] number of dimensions in the tensor input does not match the length of "
            "the desired "
            f"ordering of dimensions i.e. input.dim() = {input.ndim} is not equal to len(dims) "
            f"= {len(order)}"
        )
    axes = tuple(axis_of("permute", d, input.ndim) for d in order)
    if len(set(axes)) != len(axes):
        raise ShapeError(f"[permute] duplicate dims are not allowed: {order}")
    strides = input.stride()
    return view_of(
        input, ("permute", axes), [input._shape[a] for a in axes], [strides[a] for a in axes], name="permute"
    )


@function("transpose", "swapdims")
def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two dimensions exchanged: a view."""
    a, b = axis_of("transpose", dim0, input.ndim), axis_of("transpose", dim1, input.ndim)
    order = list(range(input.ndim))
    if order:
        order[a], order[b] = order[b], order[a]
    return as_operation(permute(input, order), "transpose", input)


@function("swapaxes")
def swapaxes(input: Tensor, axis0: int, axis1: int) -> Tensor:
    """`transpose` under NumPy's name."""
    return transpose(input, axis0, axis1)


@function("t")
def t(input: Tensor) -> Tensor:
    """A matrix transposed. Raises ShapeError beyond two dimensions."""
    if input.ndim > 2:
        raise ShapeError(f"[t] t() expects a tensor with <= 2 dimensions, but self is {input.ndim}D")
    return as_operation(permute(input, tuple(range(input.ndim))[::-1]), "t", input)


def _matrix_transpose(x: Tensor) -> Tensor:
    if x.ndim == 1:
        raise ShapeError(
            f"[mT] tensor.mT is only supported on matrices or batches of matrices. Got {x.ndim}-D tensor."
        )
    return transpose(x, -1, -2) if x.ndim else x


def _conjugate_transpose(x: Tensor) -> Tensor:
    if x.ndim not in (0, 2):
        raise ShapeError(f"[H] tensor.H is only supported on matrices (2-D tensors). Got {x.ndim}-D tensor: "
                         "for batches of matrices use .mH")
    return t(x)


Tensor.T = property(lambda x: permute(x, tuple(range(x.ndim))[::-1]), doc="All dimensions in reverse order.")
Tensor.mT = property(_matrix_transpose, doc="The last two dimensions exchanged.")
Tensor.H = property(_conjugate_transpose, doc="A matrix transposed: all numbers are real.")
Tensor.mH = Tensor.mT


@function("adjoint")
def adjoint(input: Tensor) -> Tensor:
    """The last two dimensions exchanged."""
    return _matrix_transpose(input)


@function("movedim", "moveaxis")
def movedim(input: Tensor, source: Any, destination: Any) -> Tensor:
    """Dimensions moved to other places; the others keep their order."""
    if isinstance(source, int) is not isinstance(destination, int):
        raise ArgumentTypeError(f"[movedim] source and destination must both be ints or tuples, not "
                                f"{source!r} and {destination!r}")
    sources = [source] if isinstance(source, int) else list(source)
    targets = [destination] if isinstance(destination, int) else list(destination)
    if len(sources) != len(targets):
        raise ShapeError(
            f"[movedim] Invalid source or destination dims: source ({sources} dims) should "
            "contain the same "
            f"number of dims as destination ({targets} dims)"
        )
    sources = [axis_of("movedim", d, input.ndim) for d in sources]
    targets = [axis_of("movedim", d, input.ndim) for d in targets]
    if len(set(sources)) != len(sources) or len(set(targets)) != len(targets):
        raise ShapeError(f"[movedim] repeated dim in source {sources} or destination {targets}")
    rest = iter(i for i in range(input.ndim) if i not in sources)
    places = dict(zip(targets, sources, strict=True))
    return permute(input, [places[i] if i in places else next(rest) for i in range(input.ndim)])


def _with_sizes(name: str, x: Tensor, kept: Sequence[tuple[int, int]]) -> Tensor:
    """A view with other dimensions of size 1: `kept` lists (size, stride) of the result."""
    shape = tuple(n for n, _ in kept)
    return view_of(x, ("reshape", shape), shape, [s for _, s in kept], name=name)


@function("squeeze")
def squeeze(input: Tensor, dim: Any = None) -> Tensor:
    """Without its dimensions of size 1, or without those of `dim` that have size 1: a view."""
    axes = () if dim is not None and dim in ((), []) else axes_of("squeeze", dim, input.ndim)
    return _with_sizes(
        "squeeze" if dim is None else "SqueezeBackward1",
        input,
        [
            (n, s)
            for i, (n, s) in enumerate(zip(input._shape, input.stride(), strict=True))
            if not (n == 1 and i in axes)
        ],
    )


@function("unsqueeze")
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """A dimension of size 1 inserted before `dim`: a view."""
    axis = axis_of("unsqueeze", dim, input.ndim + 1)
    sizes = list(zip(input._shape, input.stride(), strict=True))
    stride = sizes[axis][0] * sizes[axis][1] if axis < len(sizes) else 1
    return _with_sizes("unsqueeze", input, [*sizes[:axis], (1, stride), *sizes[axis:]])


@method("expand")
def expand(x: Tensor, *sizes: Any, size: Any = None) -> Tensor:
    """Dimensions of size 1 grown without copying, and new ones in front; -1 keeps a size: a view."""
    wanted = sizes_of("expand", sizes, size)
    new = len(wanted) - x.ndim
    if new < 0:
        raise ShapeError(
            f"[expand] the number of sizes provided ({len(wanted)}) must be greater or equal "
            "to the number of "
            f"dimensions in the tensor ({x.ndim}): {list(wanted)} for the shape "
            f"{list(x._shape)}"
        )
    old = (1,) * new + tuple(x._shape)
    strides = (0,) * new + x.stride()
    shape = []
    for i, (want, have) in enumerate(zip(wanted, old, strict=True)):
        if want == -1 and i >= new:
            want = have
        elif want < 0:
            raise ShapeError(
                f"[expand] The expanded size of the tensor ({want}) isn't allowed in a "
                "leading, non-existing "
                f"dimension {i}"
            )
        elif have not in (1, want):
            raise ShapeError(
                f"[expand] The expanded size of the tensor ({want}) must match the existing "
                f"size ({have}) at "
                f"non-singleton dimension {i}.  Target sizes: {list(wanted)}.  Tensor sizes: "
                f"{list(x._shape)}"
            )
        shape.append(want)
    walked = [0 if want != have else s for want, have, s in zip(shape, old, strides, strict=True)]
    chain = [("reshape", old)] if new else []
    if tuple(shape) != old:
        chain.append(("expand", tuple(shape)))
    return view_of(x, chain, shape, walked, name="expand")


@method("expand_as")
def expand_as(x: Tensor, other: Tensor) -> Tensor:
    """x expanded to the shape of other."""
    return expand(x, other._shape)


@function("broadcast_to")
def broadcast_to(input: Tensor, *sizes: Any, size: Any = None) -> Tensor:
    """x expanded to a shape."""
    return expand(input, *sizes, size=size)


@creator("broadcast_tensors")
def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """All tensors expanded to their common shape."""
    shape = broadcast("broadcast_tensors", (), *[x._shape for x in tensors])
    return tuple(expand(x, shape) for x in tensors)


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
    return reshape(input, (*input._shape[:a], product(input._shape[a : b + 1]), *input._shape[b + 1 :]))


@function("ravel")
def ravel(input: Tensor) -> Tensor:
    """One dimension."""
    return reshape(input, -1)


@function("unflatten")
def unflatten(input: Tensor, dim: int, sizes: Any) -> Tensor:
    """One dimension cut into several; one size may be -1."""
    axis = axis_of("unflatten", dim, input.ndim)
    sizes = sizes_of("unflatten", (), sizes)
    known = product(n for n in sizes if n != -1)
    size = input._shape[axis]
    whole = tuple(size // known if n == -1 and known else n for n in sizes)
    if product(whole) != size:
        raise ShapeError(
            f"[unflatten] Provided sizes {list(sizes)} don't multiply up to the size of dim "
            f"{axis} ({size}) "
            f"in the input tensor"
        )
    return reshape(input, (*input._shape[:axis], *whole, *input._shape[axis + 1 :]))


# In place: the tensor itself becomes the view


def shown_in_place(definition: Callable[..., Tensor], *names: str) -> None:
    """Methods that let a tensor itself be what a function shows of it."""

    def become(x: Tensor, *args: Any, **named: Any) -> Tensor:
        if x.is_leaf:
            if x.requires_grad and mode.enabled:
                raise GradientError(f"[{names[0]}] a leaf Variable that requires grad is being used in an "
                                    "in-place operation: put it under lazygrad.no_grad(), or work on a copy")
            x.data = definition(x.detach(), *args, **named)
            return x
        view = definition(x, *args, **named)
        x._history, x._chain, x._made_by = view._history, view._chain, view._made_by
        x._shape, x._strides, x._offset = view._shape, view._strides, view._offset
        x._plain_base = x._graph_root = None
        return x

    for name in names:
        become.__name__ = become.__qualname__ = name
        become.__doc__ = f"`{name.rstrip('_')}` of the tensor itself: its shape changes, not its storage."
        method(name)(become)


shown_in_place(squeeze, "squeeze_")
shown_in_place(unsqueeze, "unsqueeze_")
shown_in_place(t, "t_")
shown_in_place(transpose, "transpose_", "swapdims_")
shown_in_place(swapaxes, "swapaxes_")
