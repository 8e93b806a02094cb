"""Dropout and its relatives: elements or whole channels set to zero at random while training."""

from __future__ import annotations

import math

import lazygrad
from lazygrad.errors import ArgumentError, ShapeError
from lazygrad.tensors import Tensor
from lazygrad.tensors.promotion import check_castable
from lazygrad.tensors.random import kept

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
    return _feature_dropout("dropout1d", input, p, training, inplace, (2, 3))


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero whole channels of a (N, C, H, W) tensor; three axes count as (N, C, L)."""
    return _feature_dropout("dropout2d", input, p, training, inplace, (3, 4))


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero whole channels of a (N, C, D, H, W) or (C, D, H, W) tensor."""
    return _feature_dropout("dropout3d", input, p, training, inplace, (4, 5))


def _feature_dropout(
    name: str, input: Tensor, p: float, training: bool, inplace: bool, ndims: tuple[int, ...]
) -> Tensor:
    _check(name, p)
    if input.ndim not in ndims:
        raise ShapeError(f"[{name}] expected {ndims[0]} or {ndims[1]} axes, got input {tuple(input.shape)}")
    if not training or p == 0:
        return input
    # PyTorch counts three axes as a batch in dropout2d, and as unbatched where the smaller number is expected
    # elsewhere
    channel_axis = 0 if input.ndim == ndims[0] and name != "dropout2d" else 1
    return _dropped(input, _channel_shape(input, channel_axis), p, inplace)


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
    return _alpha(input, _channel_shape(input, 1), p, inplace) if training and p > 0 else input
