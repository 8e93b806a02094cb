"""Maxima of windows whose places are drawn at random (Graham, "Fractional Max-Pooling", 2014)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lazygrad
from lazygrad.errors import ArgumentError, DTypeError, ShapeError
from lazygrad.helpers import product
from lazygrad.nn.sizes import per_axis
from lazygrad.tensors import Tensor
from lazygrad.tensors.convolution import spread_sizes


def _starts(samples: Tensor, size: int, count: int, width: int) -> Tensor:
    """Where the windows along one axis begin: (planes, count) for samples (planes,)."""
    last = lazygrad.full((samples.shape[0], 1), size - width, dtype=lazygrad.int64, device=samples.device)
    if count == 1:
        return last
    step = (size - width) / (count - 1)
    places = lazygrad.arange(count - 1, dtype=samples.dtype, device=samples.device)
    first = (samples.unsqueeze(1) * step).trunc()
    starts = ((places + samples.unsqueeze(1)) * step).trunc() - first
    return lazygrad.cat([starts.long(), last], 1)


def _windows(starts: Sequence[Tensor], kernel: Sequence[int], sizes: Sequence[int]) -> Tensor:
    """The places in the flattened plane of all elements of all windows: (planes, windows, elements)."""
    rank, planes = len(sizes), starts[0].shape[0]
    flat: Any = 0
    for axis, (start, width, size) in enumerate(zip(starts, kernel, sizes, strict=True)):
        offsets = lazygrad.arange(width, device=start.device)
        places = start.unsqueeze(-1) + offsets
        shape = [planes, *[1] * (2 * rank)]
        shape[1 + axis], shape[1 + rank + axis] = places.shape[1:]
        flat = flat * size + places.reshape(shape)
    return flat.reshape(planes, product([s.shape[1] for s in starts]), product(kernel))


def _check_samples(op: str, input: Tensor, samples: Tensor, batch: int, rank: int) -> None:
    if samples.dtype is not input.dtype:
        raise DTypeError(f"[{op}] Expect _random_samples to have the same dtype as input: {samples.dtype} "
                         f"and {input.dtype}")
    if samples.ndim != 3:
        raise ShapeError(f"[{op}] Expect _random_samples to have 3 dimensions, got {samples.ndim}")
    count, channels, axes = samples.shape
    if count < batch:
        raise ShapeError(f"[{op}] Expect _random_samples.size(0) no less then input batch size: {count} and "
                         f"{batch}")
    if channels != input.shape[-rank - 1]:
        raise ShapeError(f"[{op}] Expect _random_samples.size(1) equals to input channel size: {channels} "
                         f"and {input.shape[-rank - 1]}")
    if axes != rank:
        raise ShapeError(f"[{op}] Expect _random_samples.size(2) equals to {rank}; got {axes}.")


def _pool(rank: int, sample_order: Sequence[int]) -> tuple[Any, Any]:
    op = f"fractional_max_pool{rank}d"

    def with_indices(
        input: Tensor,
        kernel_size: Any,
        output_size: Any = None,
        output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The greatest of each window of (N, C, ...) or (C, ...), and its place in the flattened plane."""
        if output_size is None and output_ratio is None:
            raise ArgumentError(f"[{op}] {op} requires specifying either an output_size or an output_ratio")
        if input.ndim not in (rank + 1, rank + 2):
            raise ShapeError(
                f"[{op}] Expected {rank + 1}D or {rank + 2}D tensor, but got {tuple(input.shape)}"
            )
        sizes = tuple(input.shape[-rank:])
        kernel = spread_sizes(op, "kernel_size", kernel_size, rank)
        if output_size is None:
            ratios = per_axis(output_ratio, rank)
            if len(ratios) != rank:
                raise ShapeError(f"[{op}] output_ratio must be a number or {rank} numbers, got {ratios}")
            output_size = [int(n * ratio) for n, ratio in zip(sizes, ratios, strict=True)]
        counts = spread_sizes(op, "output_size", output_size, rank, one_for_all=False)
        for size, count, width in zip(sizes, counts, kernel, strict=True):
            if count + width - 1 > size:
                raise ShapeError(
                    f"[{op}] pool size {width} and output size {count} too large relative to the "
                    f"input's {size}: {tuple(input.shape)}"
                )
        lead = tuple(input.shape[:-rank])
        planes = product(lead)
        batch = 1 if input.ndim == rank + 1 else input.shape[0]
        if _random_samples is None:
            _random_samples = lazygrad.rand(
                batch, input.shape[-rank - 1], rank, dtype=input.dtype, device=input.device
            )
        _check_samples(op, input, _random_samples, batch, rank)
        samples = _random_samples[:batch].reshape(planes, rank)
        starts = [
            _starts(samples[:, sample_order[axis]], sizes[axis], counts[axis], kernel[axis])
            for axis in range(rank)
        ]
        places = _windows(starts, kernel, sizes)
        flat = input.reshape(planes, product(sizes))
        seen = flat.gather(1, places.flatten(1)).reshape(places.shape)
        best = seen.detach().argmax(-1, keepdim=True)
        out = (*lead, *counts)
        return seen.gather(-1, best).reshape(out), places.gather(-1, best).reshape(out)

    def pool(
        input: Tensor,
        kernel_size: Any,
        output_size: int | Sequence[int] | None = None,
        output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> Any:
        """The greatest of each window of (N, C, ...) or (C, ...), whose places are drawn at random; with
        `return_indices` also its place in the flattened plane. `_random_samples` (N, C, rank) in [0, 1)."""
        found = with_indices(input, kernel_size, output_size, output_ratio, True, _random_samples)
        return found if return_indices else found[0]

    pool.__name__, with_indices.__name__ = op, f"{op}_with_indices"
    return pool, with_indices


# PyTorch draws the place along the width first in two dimensions, along the depth first in three
fractional_max_pool2d, fractional_max_pool2d_with_indices = _pool(2, (1, 0))
fractional_max_pool3d, fractional_max_pool3d_with_indices = _pool(3, (0, 1, 2))
