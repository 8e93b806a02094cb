"""PyTorch's `fft` namespace: frequencies and shifts, which are real; transforms say what to do instead."""

from __future__ import annotations

from typing import Any

from lazygrad.errors import ArgumentError, ShapeError
from lazygrad.inert import names_of
from lazygrad.tensors import FUNCTIONS, Tensor
from lazygrad.tensors.signatures import check_all

__getattr__ = names_of(__name__)


def _frequencies(name: str, n: int, d: float, low: int, high: int, options: dict[str, Any]) -> Tensor:
    if n == 0:
        raise ArgumentError(f"[{name}] n must not be 0")
    options["dtype"] = options.get("dtype") or FUNCTIONS["get_default_dtype"]()
    places: Tensor = FUNCTIONS["arange"](low, high, **options)
    return places * (1.0 / (n * d))


def fftfreq(n: int, d: float = 1.0, **options: Any) -> Tensor:
    """The frequencies of a transform of n samples at distance d: first those from 0 on, then the negative
    ones, (n,). `options`: those of `arange`."""
    found = _frequencies("fftfreq", n, d, -(n // 2), n - n // 2, options)
    return ifftshift(found)


def rfftfreq(n: int, d: float = 1.0, **options: Any) -> Tensor:
    """The frequencies of a transform of n real samples at distance d, (n // 2 + 1,)."""
    return _frequencies("rfftfreq", n, d, 0, n // 2 + 1, options)


def _rolled(input: Tensor, dim: Any, forward: bool) -> Tensor:
    dims = range(input.ndim) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    if not dims:
        raise ShapeError("[fftshift] `shifts` required: input has no dimensions, or dim names none")
    shifts = [n // 2 if forward else (n + 1) // 2 for n in (input.shape[d] for d in dims)]
    return input.roll(shifts, tuple(dims))


def fftshift(input: Tensor, dim: Any = None) -> Tensor:
    """input with its second half before its first, along all dimensions or some."""
    return _rolled(input, dim, True)


def ifftshift(input: Tensor, dim: Any = None) -> Tensor:
    """What undoes `fftshift`."""
    return _rolled(input, dim, False)


check_all(globals())
