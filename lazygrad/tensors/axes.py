"""Dimensions as users name them: negative, tuples, absent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lazygrad.compositions.axes import wrap_axis
from lazygrad.errors import ArgumentTypeError, ShapeError


def integer(name: str, what: str, value: Any) -> int:
    """A Python int of an integer: also of NumPy's, and of a tensor with one element, which is read. Raises
    ArgumentTypeError for what is none, and for bools."""
    if type(value) is int:
        return value
    if not hasattr(value, "__index__") or isinstance(value, bool):
        raise ArgumentTypeError(f"[{name}] {what} must be an int, not {type(value).__name__} ({value!r})")
    return value.__index__()


def axis_of(name: str, dim: Any, ndim: int) -> int:
    """A dimension counted from 0. Raises AxisError outside [-ndim, ndim - 1] (0-d tensors take 0 and -1)."""
    if not hasattr(dim, "__index__") or isinstance(dim, bool):
        raise ArgumentTypeError(f"[{name}] dim must be an int, not {type(dim).__name__}")
    return wrap_axis(name, dim.__index__(), ndim)


def axes_of(name: str, dim: Any, ndim: int) -> tuple[int, ...]:
    """Dimensions in ascending order: all for None or an empty tuple. Raises ShapeError for repeated ones."""
    if dim is None or (isinstance(dim, Sequence) and not len(dim)):
        return tuple(range(ndim))
    dims = list(dim) if isinstance(dim, Sequence) else [dim]
    axes = [axis_of(name, d, ndim) for d in dims]
    if len(set(axes)) != len(axes):
        raise ShapeError(f"[{name}] dim {axes[-1]} appears multiple times in the list of dims {tuple(dims)}")
    return tuple(sorted(a for a in axes if a < ndim))


def sizes_of(name: str, sizes: Sequence[Any], given: Any = None) -> tuple[int, ...]:
    """Sizes given one by one or as one tuple or list, or as a tuple or list by name (`given`). Raises
    ArgumentTypeError where one is no integer."""
    if given is None and not sizes:
        raise ArgumentTypeError(f"[{name}] {name}() missing 1 required argument: sizes, as numbers or as one "
                                "tuple, which may be ()")
    if given is not None and sizes:
        raise ArgumentTypeError(f"[{name}] {name}() got its sizes twice: {tuple(sizes)} by place and "
                                f"{given!r} by name")
    if given is not None and not isinstance(given, tuple | list):
        raise ArgumentTypeError(f"[{name}] {name}(): sizes or dims by name must be a tuple of ints, not "
                                f"{type(given).__name__}: write ({given},)")
    if given is not None:
        sizes = given
    elif len(sizes) == 1 and isinstance(sizes[0], tuple | list):
        sizes = sizes[0]
    return tuple(integer(name, "sizes", n) for n in sizes)
