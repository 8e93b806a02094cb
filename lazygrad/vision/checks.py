"""What operators on images and boxes ask of their arguments, and in which type they compute."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from lazygrad import dtypes
from lazygrad.errors import ArgumentTypeError, DTypeError, ShapeError
from lazygrad.tensors import Tensor, autocasting

_NARROW = (dtypes.float16, dtypes.bfloat16)


def of_one_type(count: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator: the first `count` arguments are tensors of one floating point type, any while autocast
    is on. 16-bit floats are too coarse for coordinates: the function gets float32 in their place, and its
    floating point results are given in the first argument's type. Raises ArgumentTypeError, DTypeError."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        signature, op = inspect.signature(function), function.__name__

        @functools.wraps(function)
        def run(*args: Any, **options: Any) -> Any:
            given = signature.bind(*args, **options)
            given.apply_defaults()
            names = list(given.arguments)[:count]
            dtype = _one_type(op, {name: given.arguments[name] for name in names})
            narrow = dtype in _NARROW or bool(autocasting.state.active)
            for name in names:
                tensor = given.arguments[name]
                if narrow and tensor.dtype != dtypes.float64:
                    given.arguments[name] = tensor.to(dtypes.float32)
            with autocasting.autocast_as({}):
                result = function(*given.args, **given.kwargs)
            parts = result if isinstance(result, tuple) else (result,)
            parts = tuple(part.to(dtype) if part.is_floating_point() else part for part in parts)
            return parts if isinstance(result, tuple) else parts[0]

        return run

    return decorate


def _one_type(op: str, tensors: dict[str, Any]) -> Any:
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise ArgumentTypeError(f"[{op}] {name} must be a Tensor, not {type(tensor).__name__}")
    (name, first), *rest = tensors.items()
    if not all(t.is_floating_point() for t in tensors.values()):
        kinds = ", ".join(f"{n} of {t.dtype}" for n, t in tensors.items())
        raise DTypeError(f"[{op}] needs floating point numbers, got {kinds}")
    for other, tensor in rest:
        if tensor.dtype != first.dtype and not autocasting.state.active:
            raise DTypeError(f"[{op}] expected {name} and {other} to have the same type, got {first.dtype} "
                             f"and {tensor.dtype}: convert one with .to()")
    return first.dtype


def require_regions(op: str, input: Tensor, rois: Tensor, bins: tuple[int, int]) -> None:
    """input (N, C, H, W) with pixels; rois (K, 5): an image's number, then x1, y1, x2, y2; bins of a region.
    Raises ShapeError."""
    if input.ndim != 4 or 0 in input.shape[2:]:
        raise ShapeError(f"[{op}] input must be (N, C, H, W) with at least one pixel, got "
                         f"{tuple(input.shape)}")
    if rois.ndim != 2 or rois.shape[1] != 5:
        raise ShapeError(f"[{op}] rois must be (K, 5): an image's number and x1, y1, x2, y2; got "
                         f"{tuple(rois.shape)}")
    if rois.shape[0] and not input.shape[0]:
        raise ShapeError(f"[{op}] {rois.shape[0]} regions of an input without images, "
                         f"{tuple(input.shape)}")
    if min(bins) < 1:
        raise ShapeError(f"[{op}] a region has at least one bin each way, got {bins}")


def channels_by_bin(op: str, input: Tensor, bins: tuple[int, int]) -> Tensor:
    """Channels as position-sensitive operators use them, a plane for each bin: (N, C, *bins, H, W). Raises
    ShapeError."""
    if input.shape[1] % (bins[0] * bins[1]):
        raise ShapeError(f"[{op}] input channels must be a multiple of {bins[0]} x {bins[1]} bins, got "
                         f"{input.shape[1]}")
    return input.unflatten(1, (input.shape[1] // (bins[0] * bins[1]), *bins))
