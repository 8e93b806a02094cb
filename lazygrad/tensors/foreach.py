"""PyTorch's `_foreach_*` functions, which optimizers and moving averages call: one function of tensors, over
lists of them. Each row of the table below is that function; the graph fuses what PyTorch's kernels fuse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lazygrad.errors import ArgumentError, ArgumentTypeError
from lazygrad.tensors.core import FUNCTIONS, Tensor, creator

_Row = Callable[..., Tensor]

_ELEMENTWISE = (
    "abs acos add asin atan ceil cos cosh div erf erfc exp expm1 floor frac lerp lgamma log log10 log1p log2 "
    "mul neg pow reciprocal round rsqrt sigmoid sign sin sinh sqrt sub tan tanh trunc clamp_min clamp_max"
).split()
# PyTorch's names of what follows the first list, in the order of their places
_OPERANDS = (
    "tensors1 tensor1 tensor2 other mat2 src scalar scalars exponent weight weights ord non_blocking".split()
)


def _method(name: str) -> _Row:
    """A method, looked up when it is called: other files publish them."""
    return lambda x, *operands, **named: getattr(x, name)(*operands, **named)


def _scaled(name: str) -> _Row:
    """addcmul or addcdiv, whose factor comes by place or by name."""
    return lambda x, y, z, value=1: getattr(x, name)(y, z, value=value)


def _power(x: Any, exponent: Any) -> Tensor:
    return x**exponent  # one of them may be a number


def _norm(x: Tensor, ord: float = 2, dtype: Any = None) -> Tensor:
    return FUNCTIONS["norm"](x, ord, dtype=dtype)


def _power_sum(x: Tensor, ord: float = 2, dtype: Any = None) -> Tensor:
    return (x.abs() ** ord).sum(dtype=dtype)


_MAKING: dict[str, _Row] = {
    **{name: _method(name) for name in (*_ELEMENTWISE, "clone", "mm", "max")},
    "maximum": _method("clamp_min"),  # which takes numbers as well
    "minimum": _method("clamp_max"),
    "addcmul": _scaled("addcmul"),
    "addcdiv": _scaled("addcdiv"),
    "pow": _power,
    "norm": _norm,
    "powsum": _power_sum,
}
_WRITING: dict[str, _Row] = {
    **{f"{name}_": _method(f"{name}_") for name in (*_ELEMENTWISE, "zero", "copy")},
    "maximum_": _method("clamp_min_"),
    "minimum_": _method("clamp_max_"),
    "addcmul_": _scaled("addcmul_"),
    "addcdiv_": _scaled("addcdiv_"),
}


def _calls(name: str, self: Any, operands: Sequence[Any]) -> list[tuple[Any, ...]]:
    """The arguments for each tensor: the next one of every list, and what is no list for all of them."""
    every = [self, *operands]
    if name.startswith("_foreach_addc") and len(every) > 3 and isinstance(every[3], Tensor):
        every[3] = every[3].tolist()  # one factor for each
    lists = [value for value in every if isinstance(value, list | tuple)]
    if not lists or not (every[0] is lists[0] or name == "_foreach_pow"):
        raise ArgumentTypeError(f"[{name}] argument 'self' must be a list of tensors, not {self!r}")
    count = len(lists[0])
    if strange := [value for value in lists[0] if not isinstance(value, Tensor)]:
        raise ArgumentTypeError(f"[{name}] expected tensors in the first list, but got {strange[0]!r}")
    if count == 0:
        raise ArgumentError(f"[{name}] Tensor list must have at least one tensor.")
    for other in lists[1:]:
        if len(other) != count:
            raise ArgumentError(
                f"[{name}] Tensor lists must have the same number of tensors, got {count} and {len(other)}"
            )
    return list(zip(*(v if isinstance(v, list | tuple) else [v] * count for v in every), strict=True))


def _published(name: str, row: _Row, writes: bool) -> None:
    """Publish `_foreach_` + name, which returns the results, or the list that it has written to."""

    def foreach(self: Any, *operands: Any, **named: Any) -> Any:
        places = [named.pop(key) for key in _OPERANDS if key in named]
        results = [row(*one, **named) for one in _calls(foreach.__name__, self, [*operands, *places])]
        return self if writes else tuple(results)

    foreach.__name__ = foreach.__qualname__ = f"_foreach_{name}"
    foreach.__doc__ = f"`{name}` of each tensor of a list; other lists go along, numbers are for all."
    creator(foreach.__name__)(foreach)


for _name, _row in _MAKING.items():
    _published(_name, _row, writes=False)
for _name, _row in _WRITING.items():
    _published(_name, _row, writes=True)
