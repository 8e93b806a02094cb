"""Views as copies: `view_copy` and its kin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lazygrad.tensors import autograd, movement, shapes
from lazygrad.tensors.axes import axis_of
from lazygrad.tensors.core import Tensor, creator, method

_DEFINED_IN = (autograd, movement, shapes)
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
