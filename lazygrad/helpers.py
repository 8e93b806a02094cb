"""Small functions that several floors need and that know nothing of tensors."""

import gc
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager


def product(sizes: Iterable[int]) -> int:
    """The product of sizes; 1 for none."""
    result = 1
    for size in sizes:
        result *= size
    return result


def ceil_div(a: int, b: int) -> int:
    """The quotient rounded up, for positive b."""
    return -(-a // b)


def round_up(a: int, multiple: int) -> int:
    """The least multiple of `multiple` that is not below a."""
    return ceil_div(a, multiple) * multiple


def row_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Elements between neighbours along each axis of a contiguous row-major array."""
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


def inverse_permutation(order: Sequence[int]) -> tuple[int, ...]:
    """The permutation that undoes `order`."""
    inverse = [0] * len(order)
    for position, axis in enumerate(order):
        inverse[axis] = position
    return tuple(inverse)


@contextmanager
def collector_paused() -> Iterator[None]:
    """No cycle collection while a block makes many nodes, which form no cycles: it would double the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
