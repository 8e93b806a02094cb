"""Functions and methods under older or more careful names, and methods in place as functions."""

from __future__ import annotations

import warnings
from typing import Any

from lazygrad.errors import ShapeError
from lazygrad.helpers import product
from lazygrad.tensors import autograd, creation, indexing, movement
from lazygrad.tensors.arithmetic import in_place
from lazygrad.tensors.axes import sizes_of
from lazygrad.tensors.core import FUNCTIONS, Tensor, creator, function, method
from lazygrad.tensors.movement import as_strided
from lazygrad.tensors.shapes import shown_in_place
from lazygrad.tensors.statistics import renorm

_DEFINED_IN = (autograd, creation, indexing, movement)  # what has other names here


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


@function("unsafe_split")
def unsafe_split(tensor: Tensor, split_size: int, dim: int = 0) -> Any:
    """`split` into pieces of one size."""
    return FUNCTIONS["split"](tensor, split_size, dim)


for _name in ("chunk", "split_with_sizes"):
    function(f"unsafe_{_name}")(getattr(Tensor, _name))
creator("detach")(Tensor.detach)
in_place("renorm_", renorm)
shown_in_place(as_strided, "as_strided_")
for _name in "as_strided_ detach_ fill_ index_put_ zero_".split():
    creator(_name)(getattr(Tensor, _name))
