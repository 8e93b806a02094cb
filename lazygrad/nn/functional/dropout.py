"""Dropout and its relatives: elements or whole channels set to zero at random while training."""

from __future__ import annotations

import math
import warnings

import lazygrad
from lazygrad.errors import ArgumentError, ShapeError
from lazygrad.tensors import Tensor
from lazygrad.tensors.promotion import check_castable
from lazygrad.tensors.random.creators import kept

# -selu(-infinity): what alpha dropout drops to
_ALPHA = 1.7580993408473766


def _check(name: str, p: float) -> None:
    if not 0.0 <= p <= 1.0:
        raise ArgumentError(f"[{name}] dropout probability has to be between 0 and 1, but got {p}")


def _dropped(input: Tensor, shape: tuple[int, ...], p: float, inplace: bool) -> Tensor:
    noise = (
        kept(input, shape, 1 - p) / (1 - p)
        if p < 1
        else lazygrad.zeros(shape, dtype=input.dtype, device=input.device)
    )
    if not input.is_floating_point():
        check_castable("dropout", lazygrad.get_default_dtype(), input.dtype)
    result = input * noise
    return input.copy_(result) if inplace else result


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero each element with probability p and scale the others by 1 / (1 - p); outside training, the
    input."""
    _check("dropout", p)
    return _dropped(input, tuple(input.shape), p, inplace) if training and p > 0 else input


def _channel_shape(input: Tensor, channel_axis: int) -> tuple[int, ...]:
    return tuple(n if i <= channel_axis else 1 for i, n in enumerate(input.shape))


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero whole channels of a (N, C, L) or (C, L) tensor."""
    _check("dropout1d", p)
    if input.ndim not in (2, 3):
        raise ShapeError(f"[dropout1d] Expected 2D or 3D input, but received {tuple(input.shape)}")
    return feature_dropout("dropout1d", input, p, training, inplace, input.ndim - 2)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero whole channels of a (N, C, H, W) tensor. Others are taken, too, with a warning: axis 1 has their
    channels."""
    _warn_of_axes("dropout2d", input, (4,))
    return feature_dropout("dropout2d", input, p, training, inplace, 1)


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero whole channels of a (N, C, D, H, W) or (C, D, H, W) tensor. Others are taken, too, with a warning:
    axis 0 has their channels."""
    _warn_of_axes("dropout3d", input, (4, 5))
    return feature_dropout("dropout3d", input, p, training, inplace, int(input.ndim == 5))


def _warn_of_axes(name: str, input: Tensor, usual: tuple[int, ...]) -> None:
    if input.ndim not in usual:
        warnings.warn(
            f"{name}: Received a {input.ndim}-D input, which is deprecated and will result in an error in a "
            f"future release: it expects {' or '.join(f'{n}-D' for n in usual)} ones; use dropout, or "
            "dropout1d, instead",
            stacklevel=3,
        )


def feature_dropout(
    name: str, input: Tensor, p: float, training: bool, inplace: bool, channel_axis: int
) -> Tensor:
    _check(name, p)
    if not training or p == 0:
        return input
    _check_channels(name, input, channel_axis)
    return _dropped(input, _channel_shape(input, channel_axis), p, inplace)


def _check_channels(name: str, input: Tensor, channel_axis: int) -> None:
    if input.ndim <= channel_axis:
        raise ShapeError(f"[{name}] needs {channel_axis + 1} dimensions or more, got {tuple(input.shape)}")


def _alpha(input: Tensor, shape: tuple[int, ...], p: float, inplace: bool) -> Tensor:
    if p == 1:
        result = input * 0.0
    else:
        scale = 1.0 / math.sqrt((_ALPHA * _ALPHA * p + 1) * (1 - p))
        noise = kept(input, shape, 1 - p)
        shift = (noise - 1) * (_ALPHA * scale) + _ALPHA * scale * p
        result = input * (noise * scale) + shift
    return input.copy_(result) if inplace else result


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Dropout that keeps mean and variance of SELU activations."""
    _check("alpha_dropout", p)
    return _alpha(input, tuple(input.shape), p, inplace) if training and p > 0 else input


def feature_alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """alpha_dropout of whole channels (axis 1)."""
    _check("feature_alpha_dropout", p)
    if not training or p == 0:
        return input
    _check_channels("feature_alpha_dropout", input, 1)
    return _alpha(input, _channel_shape(input, 1), p, inplace)
