"""PyTorch's higher-order operators, which take functions: choices and loops that Python runs, and scans over
an associative function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lazygrad.errors import ArgumentError
from lazygrad.func import vmap
from lazygrad.tensors.core import Tensor
from lazygrad.tensors.joining import cat, stack
from lazygrad.tree import flatten


def cond(pred: Any, true_fn: Callable[..., Any], false_fn: Callable[..., Any], operands: Any = ()) -> Any:
    """`true_fn(*operands)` if pred holds, else `false_fn(*operands)`. Realizes pred."""
    return (true_fn if bool(pred) else false_fn)(*operands)


def while_loop(cond_fn: Callable[..., Any], body_fn: Callable[..., Any], carried_inputs: Any) -> Any:
    """`body_fn` of the carried values again and again while `cond_fn` of them holds. Realizes the tests."""
    carried = tuple(carried_inputs)
    while bool(cond_fn(*carried)):
        carried = tuple(body_fn(*carried))
    return carried


def scan(
    combine_fn: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any,
    *,
    dim: int = 0,
    reverse: bool = False,
) -> tuple[Any, Any]:
    """`carry, y = combine_fn(carry, x)` for each slice x of xs along dim: the last carry, and the ys stacked
    along dimension 0."""
    leaves, spec = flatten(xs)
    count = _length("scan", leaves, dim)
    carry, outputs = init, []
    for i in reversed(range(count)) if reverse else range(count):
        carry, y = combine_fn(carry, spec.unflatten([x.select(dim, i) for x in leaves]))
        outputs.append(flatten(y))
    if reverse:
        outputs.reverse()
    if not outputs:
        raise ArgumentError("[scan] expected at least one element along dim")
    stacked = [stack(each) for each in zip(*(y for y, _ in outputs), strict=True)]
    return carry, outputs[0][1].unflatten(stacked)


def associative_scan(
    combine_fn: Callable[[Any, Any], Any],
    xs: Any,
    dim: int,
    reverse: bool = False,
    combine_mode: str = "pointwise",
) -> Any:
    """All prefixes x0, x0.x1, x0.x1.x2, ... of an associative `combine_fn(left, right)` along dim, in as many
    rounds as the length has binary digits (Blelloch, Prefix sums and their applications, 1990). xs is a
    tensor or a nested value of tensors; the function sees slices without dim."""
    leaves, spec = flatten(xs)
    _length("associative_scan", leaves, dim)
    along = [x.movedim(dim, 0) for x in leaves]
    combined = vmap(lambda left, right: flatten(combine_fn(spec.unflatten(left), spec.unflatten(right)))[0])
    if reverse:
        along = [x.flip(0) for x in along]
    found = _prefixes(combined, along)
    if reverse:
        found = [x.flip(0) for x in found]
    return spec.unflatten([x.movedim(0, dim) for x in found])


def _length(name: str, leaves: list[Tensor], dim: int) -> int:
    lengths = {x.shape[dim] for x in leaves}
    if len(lengths) != 1:
        raise ArgumentError(f"[{name}] expected tensors of one length along dim {dim}, not {sorted(lengths)}")
    return lengths.pop()


def _prefixes(combine: Callable[[list[Tensor], list[Tensor]], list[Tensor]],
              xs: list[Tensor]) -> list[Tensor]:
    count = xs[0].shape[0]
    if count < 2:
        return xs
    odd = _prefixes(combine, combine([x[: count - 1 : 2] for x in xs], [x[1::2] for x in xs]))
    if count > 2:
        shorter = [x[: (count - 1) // 2] for x in odd]
        even = [cat([x[:1], y]) for x, y in zip(xs, combine(shorter, [x[2::2] for x in xs]), strict=True)]
    else:
        even = [x[:1] for x in xs]
    return [_interleaved(e, o) for e, o in zip(even, odd, strict=True)]


def _interleaved(even: Tensor, odd: Tensor) -> Tensor:
    pairs = stack([even[: odd.shape[0]], odd], dim=1).flatten(0, 1)
    return pairs if even.shape[0] == odd.shape[0] else cat([pairs, even[-1:]])
