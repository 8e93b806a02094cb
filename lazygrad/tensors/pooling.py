"""Pooling over windows: max, average, power-average, and adaptive ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lazygrad import dtypes, ops
from lazygrad.compositions import axes, windows
from lazygrad.errors import ArgumentError, ArgumentTypeError, ShapeError
from lazygrad.graph import Node
from lazygrad.helpers import product
from lazygrad.tensors.axes import integer
from lazygrad.tensors.convolution import batched, spread_sizes, with_batch
from lazygrad.tensors.core import Tensor, apply, creator
from lazygrad.tensors.modes import mode


def _settings(
    op: str, rank: int, kernel_size: Any, stride: Any, padding: Any, dilation: Any = 1,
    one_for_all: bool = True,
) -> tuple[tuple[int, ...], ...]:
    """kernel, stride (the kernel's where absent), padding, dilation: one entry per spatial axis."""
    kernel = spread_sizes(op, "kernel_size", kernel_size, rank, one_for_all=one_for_all)
    none = stride is None or stride == () and one_for_all
    return (
        kernel,
        kernel if none else spread_sizes(op, "stride", stride, rank, one_for_all=one_for_all),
        spread_sizes(op, "padding", padding, rank, 0, one_for_all),
        spread_sizes(op, "dilation", dilation, rank),
    )


def _check_not_empty(op: str, x: Tensor, rank: int, channels: bool = True) -> bool:
    """Whether there is a batch. Raises ShapeError for a plane without elements, or with `channels` without
    channels."""
    is_batched = batched(op, x, rank)
    if 0 in x._shape[-rank - channels :]:
        raise ShapeError(
            f"[{op}] Expected input with non-zero sizes for its non-batch dimensions, got {tuple(x._shape)}"
        )
    return is_batched


def _maxima(
    op: str, build: Callable[[Node], windows.Maxima], x: Tensor, is_batched: bool, return_indices: bool
) -> Any:
    differentiable = mode.enabled and x.requires_grad

    def values(node: Node) -> Node:
        found = build(node)
        return found.differentiable() if differentiable else found.values()

    result = apply(op, lambda n: with_batch(is_batched, n, values), x)
    if not return_indices:
        return result
    return result, apply(op, lambda n: with_batch(is_batched, n, lambda m: build(m).places()), x)


def _max_pool(rank: int) -> None:
    op = f"max_pool{rank}d"

    def max_pool(
        input: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Any:
        """The greatest element of each window of (N, C, ...) or (C, ...); with indices, also its place in the
        flattened spatial dimensions. NaN wins; the gradient goes to the first maximum."""
        kernel, steps, pads, dilations = _settings(op, rank, kernel_size, stride, padding, dilation)
        is_batched = _check_not_empty(op, input, rank)

        def build(x: Node) -> windows.Maxima:
            return windows.max_pool(op, x, kernel, steps, pads, dilations, ceil_mode)

        return _maxima(op, build, input, is_batched, return_indices)

    def with_indices(*args: Any, **options: Any) -> Any:
        """The same, always with indices."""
        return max_pool(*args, **{**options, "return_indices": True})

    max_pool.__name__ = op
    creator(op)(max_pool)
    creator(f"{op}_with_indices")(with_indices)


def _average_pool(rank: int) -> None:
    op = f"avg_pool{rank}d"

    def average_pool(
        input: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Tensor:
        """The mean of each window of (N, C, ...) or (C, ...). Padding counts unless count_include_pad is
        False; divisor_override replaces the number of elements."""
        kernel, steps, pads, _ = _settings(op, rank, kernel_size, stride, padding)
        is_batched = _check_not_empty(op, input, rank)
        if divisor_override == 0:
            raise ArgumentError(f"[{op}] divisor must be not zero")

        def build(x: Node) -> Node:
            if x.dtype is dtypes.int64:  # PyTorch has the means of this integer type too, rounded towards 0
                return axes.cast(build(axes.cast(x, dtypes.float64)), x.dtype)
            axes.require_float(op, x)
            return windows.average_pool(
                op, x, kernel, steps, pads, ceil_mode, count_include_pad, divisor_override
            )

        return apply(op, lambda x: with_batch(is_batched, x, build), input)

    average_pool.__name__ = op
    creator(op)(average_pool)


def _power_pool(rank: int) -> None:
    op = f"lp_pool{rank}d"

    def power_pool(
        input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
    ) -> Tensor:
        """The norm_type-th root of the sum of powers of each window: NaN for an odd norm_type where that sum
        is negative. A window that ceil_mode lets reach over the end counts as if its part inside were
        repeated."""
        kernel, steps, pads, _ = _settings(op, rank, kernel_size, stride, 0)
        is_batched = _check_not_empty(op, input, rank)
        p = float(norm_type)

        def build(x: Node) -> Node:
            axes.require_float(op, x)
            power = ops.pow_(x, axes.full(p, x))
            divisor = None if ceil_mode else 1
            summed = windows.average_pool(op, power, kernel, steps, pads, ceil_mode, True, divisor)
            if ceil_mode:
                summed = ops.mul(summed, axes.full(product(kernel), summed))
            is_zero = ops.eq(summed, axes.full(0, summed))
            safe = ops.where(is_zero, axes.full(1, summed), summed)
            return ops.where(is_zero, summed, ops.pow_(safe, axes.full(1 / p, safe)))

        return apply(op, lambda x: with_batch(is_batched, x, build), input)

    power_pool.__name__ = op
    creator(op)(power_pool)


def _adaptive_sizes(op: str, x: Tensor, rank: int, output_size: Any) -> tuple[int, ...]:
    if rank > 1 and x.ndim <= rank:
        raise ArgumentError(f"[{op}] Input dimension should be at least {rank + 1}, got {tuple(x._shape)}")
    if rank == 1 and isinstance(output_size, tuple | list) and None in output_size:
        raise ArgumentTypeError(f"[{op}] output_size must be ints for one dimension, not {output_size!r}")
    given = list(output_size) if isinstance(output_size, tuple | list) else [output_size] * rank
    if any(isinstance(n, bool) for n in given):
        raise ArgumentTypeError(
            f"[{op}] {op}(): argument 'output_size' must be tuple of ints, not {output_size!r}"
        )
    given = (
        [n if size is None else size for size, n in zip(given, x._shape[-rank:], strict=True)]
        if len(given) == rank
        else given
    )
    return spread_sizes(op, "output_size", given, rank, 0, one_for_all=False)


def _adaptive_pools(rank: int) -> None:
    average, greatest = f"adaptive_avg_pool{rank}d", f"adaptive_max_pool{rank}d"

    def average_pool(input: Tensor, output_size: Any) -> Tensor:
        """The means of windows whose number along each dimension is output_size (None keeps a size)."""
        out = _adaptive_sizes(average, input, rank, output_size)
        is_batched = _check_not_empty(average, input, rank, channels=False)

        def build(x: Node) -> Node:
            axes.require_float(average, x)
            return windows.adaptive_average_pool(x, out)

        return apply(average, lambda x: with_batch(is_batched, x, build), input)

    def max_pool(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
        """The maxima of windows whose number along each dimension is output_size (None keeps a size)."""
        out = _adaptive_sizes(greatest, input, rank, output_size)
        is_batched = _check_not_empty(greatest, input, rank)
        return _maxima(
            greatest, lambda x: windows.adaptive_max_pool(x, out), input, is_batched, return_indices
        )

    average_pool.__name__, max_pool.__name__ = average, greatest
    creator(average)(average_pool)
    creator(greatest)(max_pool)


for _rank in (1, 2, 3):
    _max_pool(_rank)
    _average_pool(_rank)
    _power_pool(_rank)
    _adaptive_pools(_rank)


def _unpooled(
    op: str, wanted: tuple[int, ...], plane: tuple[int, ...], steps: tuple[int, ...]
) -> tuple[int, ...]:
    """The size that is asked for, which one more step of the windows must exceed."""
    rank = len(plane)
    sizes = wanted[2:] if len(wanted) == rank + 2 else wanted
    if len(sizes) != rank:
        raise ArgumentError(
            f"[{op}] output_size should be a sequence containing {rank} or {rank + 2} elements, but it has a "
            f"length of '{len(wanted)}'"
        )
    for d, (size, usual, step) in enumerate(zip(sizes, plane, steps, strict=True)):
        if not usual - step < size < usual + step:
            raise ArgumentError(
                f'[{op}] invalid output_size "{wanted}" (dim {d} must be between {usual - step} and '
                f"{usual + step})"
            )
    return sizes


def _unpool(rank: int) -> None:
    op = f"max_unpool{rank}d"

    def unpool(
        input: Tensor,
        indices: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        output_size: Any = None,
    ) -> Tensor:
        """The values of a max pooling put back at their indices, 0 elsewhere."""
        kernel, steps, pads, _ = _settings(op, rank, kernel_size, stride, padding, one_for_all=False)
        batched(op, input, rank)
        plane = tuple(
            (n - 1) * s - 2 * p + k
            for n, s, p, k in zip(input._shape[-rank:], steps, pads, kernel, strict=True)
        )
        if output_size is not None:
            wanted = tuple(integer(op, "output_size", n) for n in output_size)
            plane = _unpooled(op, wanted, plane, steps)
        if input._shape != indices._shape:
            raise ShapeError(
                f"[{op}] Expected shape of indices to be same as that of the input tensor "
                f"({tuple(input._shape)}), but got {tuple(indices._shape)}"
            )
        lead = tuple(input._shape[:-rank])
        flat = apply(op, lambda x: ops.const(0, x.dtype, (*lead, product(plane))), input)
        return flat.scatter(-1, indices.reshape((*lead, -1)), input.reshape((*lead, -1))).reshape(
            (*lead, *plane)
        )

    unpool.__name__ = op
    creator(op)(unpool)


for _rank in (1, 2, 3):
    _unpool(_rank)
