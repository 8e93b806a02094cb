"""Which kernels attention may use: accepted, the compiler has one way for all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

from lazygrad.errors import ArgumentError, ArgumentTypeError
from lazygrad.nn.attention import flex_attention

__all__ = ["SDPBackend", "flex_attention", "sdpa_kernel"]


class SDPBackend(IntEnum):
    """The kernels that PyTorch has for attention."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4


_allowed: list[SDPBackend] = [
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
    SDPBackend.CUDNN_ATTENTION,
]


def _cur_sdpa_kernel_backends(with_priority: bool = False) -> list[SDPBackend]:
    """The kernels that are allowed at present."""
    return list(_allowed)


@contextmanager
def sdpa_kernel(backends: Any, set_priority: bool = False) -> Iterator[dict]:
    """Allow attention these kernels within the context: one or a list. What attention computes stays the
    same."""
    given = [backends] if isinstance(backends, SDPBackend) else backends
    if not isinstance(given, list):
        raise ArgumentTypeError(
            "[sdpa_kernel] backends must be an instance of SDPBackend or a list of SDPBackend "
            f"instances, not {type(backends).__name__}"
        )
    given = list(dict.fromkeys(given))
    if not given:
        raise ArgumentError("[sdpa_kernel] sdpa_kernel expects at least one backend")
    before = list(_allowed)
    _allowed[:] = given
    try:
        yield {}
    finally:
        _allowed[:] = before
