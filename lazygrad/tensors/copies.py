"""Views as copies (`view_copy` and its kin), functions of PyTorch's under more careful names, functions of
Python's on elements, and small questions."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lazygrad import dtypes
from lazygrad.errors import ArgumentError, ArgumentTypeError, ShapeError
from lazygrad.helpers import product
from lazygrad.tensors.arithmetic import in_place
from lazygrad.tensors.axes import axis_of, sizes_of
from lazygrad.tensors.core import FUNCTIONS, Tensor, creator, function, method
from lazygrad.tensors.creation import full, tensor
from lazygrad.tensors.indexing import nonzero
from lazygrad.tensors.movement import as_strided
from lazygrad.tensors.shapes import shown_in_place
from lazygrad.tensors.statistics import renorm
from lazygrad.tensors.values import read

_VIEWS = (
    "as_strided detach diagonal expand narrow permute select squeeze t transpose unfold unsqueeze view split "
    "split_with_sizes unbind"
).split()


def _copying(name: str) -> Callable[..., Any]:
    view = getattr(Tensor, name)

    def copy(input: Tensor, *args: Any, **options: Any) -> Any:
        made = view(input, *args, **options)
        return made.clone() if isinstance(made, Tensor) else tuple(part.clone() for part in made)

    copy.__name__, copy.__doc__ = f"{name}_copy", f"`{name}`, as a copy."
    return copy


for _name in _VIEWS:
    creator(f"{_name}_copy")(_copying(_name))
method("narrow_copy")(_copying("narrow"))


@creator("alias_copy")
def alias_copy(input: Tensor) -> Tensor:
    """A copy."""
    return input.clone()


@creator("slice_copy")
def slice_copy(
    input: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """input[start:end:step] along a dimension, as a copy."""
    index = [slice(None)] * axis_of("slice_copy", dim, input.ndim) + [slice(start, end, step)]
    return input[tuple(index)].clone()


@function("unsafe_split")
def unsafe_split(tensor: Tensor, split_size: int, dim: int = 0) -> Any:
    """`split` into pieces of one size."""
    return FUNCTIONS["split"](tensor, split_size, dim)


for _name in ("chunk", "split_with_sizes"):
    function(f"unsafe_{_name}")(getattr(Tensor, _name))
creator("detach")(Tensor.detach)
in_place("renorm_", renorm)
shown_in_place(as_strided, "as_strided_")


@function("nonzero_static")
def nonzero_static(input: Tensor, *, size: int, fill_value: int = -1) -> Tensor:
    """The indices of the first `size` elements that are not 0, (size, ndim); rows without one hold
    fill_value."""
    if size < 0:
        raise ArgumentError(f"[nonzero_static] size must be non-negative, got {size}")
    found = nonzero(input)[:size]
    made = full((size, input.ndim), fill_value, dtype=dtypes.int64, device=input.device)
    made[: found.shape[0]] = found
    return made


@creator("empty_strided")
def empty_strided(
    size: Sequence[int], stride: Sequence[int], *, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:
    """A tensor of these sizes and strides over a storage of its own; zeros."""
    if len(size) != len(stride):
        raise ShapeError(
            f"[empty_strided] dimensionality of sizes ({len(size)}) must match strides ({len(stride)})"
        )
    if any(n < 0 for n in size):
        raise ShapeError(f"[empty_strided] cannot create a tensor with a negative dimension: {list(size)}")
    count = 1 + sum((n - 1) * s for n, s in zip(size, stride, strict=True)) if product(size) else 0
    made = as_strided(full((count,), 0.0, dtype=dtype, device=device), size, stride, 0)
    return made.requires_grad_() if requires_grad else made


@creator("empty_permuted")
def empty_permuted(
    size: Sequence[int], physical_layout: Sequence[int], *, requires_grad: bool = False, **options: Any
) -> Tensor:
    """A tensor of these sizes whose dimensions stand in memory in another order; zeros."""
    if sorted(physical_layout) != list(range(len(size))):
        raise ShapeError(f"[empty_permuted] physical_layout must name each of the {len(size)} dimensions "
                         f"once, got {tuple(physical_layout)}")
    strides, step = [0] * len(size), 1
    for axis in reversed(list(physical_layout)):
        strides[axis], step = step, step * size[axis]
    return empty_strided(size, strides, requires_grad=requires_grad, **options)


@method("new_empty_strided")
def new_empty_strided(
    x: Tensor, size: Sequence[int], stride: Sequence[int], dtype: Any = None, device: Any = None,
    **options: Any,
) -> Tensor:
    """`empty_strided` of this tensor's type and device."""
    where = x.device if device is None else device
    return empty_strided(size, stride, dtype=dtype or x._dtype, device=where, **options)


# Functions of Python's, element by element


def _mapped(name: str, x: Tensor, call: Callable[..., Any], *others: Tensor) -> Tensor:
    if any(t.requires_grad for t in (x, *others)):
        raise ArgumentError(f"[{name}] can't use {name} on tensors that require a gradient")
    columns = [read(t.expand(x._shape)).reshape(-1).tolist() for t in (x, *others)]
    values = [call(*row) for row in zip(*columns, strict=True)]
    made = tensor(np.asarray(values, x._dtype.numpy), device=x.device).to(x._dtype)
    return x.copy_(made.reshape(tuple(x._shape)))


@method("apply_")
def apply_(x: Tensor, callable: Callable[[Any], Any]) -> Tensor:
    """Each element replaced by what a Python function makes of it: slow, and realizes."""
    return _mapped("apply_", x, callable)


@method("map_")
def map_(x: Tensor, tensor: Tensor, callable: Callable[[Any, Any], Any]) -> Tensor:
    """Each element replaced by what a Python function makes of it and of another tensor's."""
    return _mapped("map_", x, callable, tensor)


@method("map2_")
def map2_(x: Tensor, x2: Tensor, y: Tensor, callable: Callable[[Any, Any, Any], Any]) -> Tensor:
    """Each element replaced by what a Python function makes of it and of two other tensors'."""
    return _mapped("map2_", x, callable, x2, y)


# Questions


@method("dim_order")
def dim_order(x: Tensor, *, ambiguity_check: Any = False) -> tuple[int, ...]:
    """The dimensions from the one with the longest strides to that with the shortest."""
    return tuple(sorted(range(x.ndim), key=lambda i: -x.stride(i)))


@creator("is_nonzero")
def is_nonzero(input: Tensor) -> bool:
    """Whether a tensor of one element is not 0. Realizes."""
    return bool(input)


@function("is_inference")
def is_inference(input: Tensor) -> bool:
    """False: a tensor made in inference mode is a tensor like others."""
    return False


@method("_is_view")
def _is_view(x: Tensor) -> bool:
    """Whether the tensor was made as a view of another one."""
    return x._base is not None


@method("_is_all_true")
def _is_all_true(x: Tensor) -> Tensor:
    """Whether all elements are True."""
    return x.all()


@method("_is_any_true")
def _is_any_true(x: Tensor) -> Tensor:
    """Whether any element is True."""
    return x.any()


@method("as_subclass")
def as_subclass(x: Tensor, cls: type) -> Any:
    """The same storage and history under a subclass of Tensor."""
    if not (isinstance(cls, type) and issubclass(cls, Tensor)):
        raise ArgumentTypeError(f"[as_subclass] expected a subclass of Tensor, not {cls!r}")
    made = x.view(tuple(x._shape)) if x.is_contiguous() else as_strided(x, x._shape, x.stride())
    made.__class__ = cls
    return made


@method("record_stream")
def record_stream(x: Tensor, stream: Any) -> None:
    """Accepted: memory is freed when nothing reads it any more."""


@method("module_load")
def module_load(x: Tensor, other: Tensor, assign: bool = False) -> Tensor:
    """What load_state_dict puts in place of this tensor: the other one's values, or itself."""
    return other.detach() if assign else x.detach().copy_(other)


@method("index")
def index(x: Tensor, indices: Any) -> Tensor:
    """x[indices] for a tuple or list of index tensors."""
    return x[tuple(indices)]


@method("resize")
def resize(x: Tensor, *sizes: Any) -> Tensor:
    """The elements in another shape of as many: PyTorch's older name of reshape."""
    warnings.warn("non-inplace resize is deprecated", stacklevel=2)
    shape = sizes_of("resize", sizes)
    if product(shape) != x.numel():
        raise ShapeError(
            f"[resize] requested resize to {shape} ({product(shape)} elements in total), but the given "
            f"tensor has a size of {tuple(x._shape)} ({x.numel()} elements): resize can only change the shape"
        )
    return x.reshape(shape)


@method("resize_as")
def resize_as(x: Tensor, tensor: Tensor) -> Tensor:
    """`resize` to the shape of another tensor."""
    return resize(x, *tensor._shape)


@method("__reversed__")
def _reversed(x: Tensor) -> Tensor:
    """The elements in reverse order along the first dimension."""
    return x.flip(0) if x.ndim else x


@method("xpu", "mtia", "ipu")
def _missing_device(x: Tensor, device: Any = None, *args: Any, **options: Any) -> Tensor:
    """Raises DeviceError: there are no such devices here."""
    return x.to("xpu" if device is None else device)


def _torch_function(cls: type, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
    """What subclasses that override it call: the function itself, which nothing overrides here."""
    return func(*args, **(kwargs or {}))


for _name, _value in {
    "__torch_function__": classmethod(_torch_function),
    "_backward_hooks": property(lambda x: x._hooks, doc="The hooks of a leaf's gradient."),
    "grad_dtype": property(lambda x: x._dtype, doc="The type of the gradient: the tensor's own."),
}.items():
    setattr(Tensor, _name, _value)


# in-place methods as functions
for _name in "as_strided_ detach_ fill_ index_put_ zero_".split():
    creator(_name)(getattr(Tensor, _name))
