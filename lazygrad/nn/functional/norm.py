"""Normalization over batches, layers, groups, instances and vectors.

Statistics of 16-bit inputs are computed in float32; results have the input's shape and dtype.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

import lazygrad
from lazygrad.compositions import axes
from lazygrad.compositions.normalization import (
    affine,
    centered,
    mean,
    mean_square,
    root_mean_square_one,
    standardized,
)
from lazygrad.dtypes import pytorch_name
from lazygrad.errors import ArgumentError, DTypeError, OutOfBoundsError, ShapeError
from lazygrad.graph import Node
from lazygrad.tensors import Tensor
from lazygrad.tensors.core import apply
from lazygrad.tensors.grad_fn import one_operation


def wide(x: Tensor) -> Tensor:
    """x in float32 if it is a 16-bit float."""
    return x.to(x.dtype.accumulator)


def _per_channel(x: Tensor, ndim: int) -> Tensor:
    """A (C,) tensor to multiply with a (N, C, ...) tensor of `ndim` axes."""
    return x.reshape(1, -1, *(1,) * (ndim - 2))


def _standardized(x: Tensor, over: Sequence[int], eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """(x with mean 0 and variance 1 over the axes, mean, biased variance), the last two with size 1 on the
    axes."""
    return (
        apply("mul", lambda n: standardized(n, over, eps), x),
        apply("mean", lambda n: mean(n, over), x),
        apply("var", lambda n: mean_square(centered(n, over), over), x),
    )


def _check_types(name: str, input: Tensor, *parameters: Tensor | None) -> None:
    """Raises DTypeError unless the input is of floats and parameters have its type, or float32 beside a
    16-bit one."""
    if input.dtype.kind != "float":
        kind = pytorch_name(input.dtype)
        raise DTypeError(f"[{name}] not implemented for {kind!r}: convert the input with .float()")
    for value in parameters:
        if value is not None and value.dtype not in (input.dtype, input.dtype.accumulator):
            raise DTypeError(
                f"[{name}] mixed dtype: expect parameter to have scalar type of {pytorch_name(input.dtype)}, "
                f"but it has {pytorch_name(value.dtype)}: convert one of them with .to(dtype)"
            )


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def _blend(running: Tensor, fresh: Tensor, momentum: float | Tensor) -> None:
    """Move a running statistic towards a fresh one, in place and outside the graph."""
    with lazygrad.no_grad():
        fresh = fresh.detach().to(running.dtype)
        running.copy_(fresh * momentum + running * (1 - momentum))


def _check_channels(name: str, channels: int, any_shape: bool = False, **values: Tensor | None) -> None:
    """Raises ShapeError unless each has a number for each channel."""
    for what, value in values.items():
        if value is None or tuple(value.shape) == (channels,):
            continue
        if not any_shape or value.numel() != channels:
            raise ShapeError(f"[{name}] {what} should contain {channels} elements in one dimension, not "
                             f"{value.numel()} in shape {tuple(value.shape)}")


def _check_both(name: str, running_mean: Tensor | None, running_var: Tensor | None) -> None:
    if (running_mean is None) != (running_var is None):
        raise ArgumentError(f"[{name}] running_mean and running_var must either both be None or neither be "
                            "None")


@one_operation("native_batch_norm")
def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float | Tensor = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalize each channel (axis 1) of a (N, C, ...) tensor, by the batch in training, else by running
    statistics.

    In training the running statistics move towards the batch's by `momentum`, in place (the variance
    unbiased).
    ValueError for a batch with one value per channel.
    """
    if input.ndim < 2 and input.numel():
        raise ShapeError(f"[batch_norm] expected at least 2 axes, got input {tuple(input.shape)}")
    ndim, channels = input.ndim, input.shape[1] if input.ndim > 1 else 0
    _check_types("batch_norm", input, running_mean, running_var, weight, bias)
    _check_both("batch_norm", running_mean, running_var)
    if training and eps <= 0:
        raise ArgumentError(f"[batch_norm] batch_norm eps must be positive during training, but got {eps}")
    _check_channels("batch_norm", channels, running_mean=running_mean, running_var=running_var)
    _check_channels("batch_norm", channels, any_shape=True, weight=weight, bias=bias)
    if ndim < 2:
        return input.clone()
    scale = None if weight is None else _per_channel(weight, ndim)
    shift = None if bias is None else _per_channel(bias, ndim)
    x = wide(input)
    if not training:
        if running_mean is None or running_var is None:
            raise ShapeError(
                "[batch_norm] Expected running_mean and running_var to be defined when training=False"
            )
        inverse = (_per_channel(running_var, ndim) + eps).rsqrt()
        return _affine((x - _per_channel(running_mean, ndim)) * inverse, scale, shift).to(input.dtype)
    count = input.numel() // max(channels, 1)
    if count == 1:
        raise ArgumentError("[batch_norm] Expected more than 1 value per channel when training, "
                            f"got input size {input.size()}")
    result, center, variance = _standardized(x, [i for i in range(ndim) if i != 1], eps)
    # nothing to learn from a batch without elements
    if running_mean is not None and count:
        _blend(running_mean, center.reshape(-1), momentum)
    if running_var is not None and count:
        _blend(running_var, variance.reshape(-1) * (count / (count - 1)), momentum)
    return _affine(result, scale, shift).to(input.dtype)


@one_operation("view")
def instance_norm(input: Tensor, running_mean: Tensor | None = None, running_var: Tensor | None = None,
                  weight: Tensor | None = None, bias: Tensor | None = None, use_input_stats: bool = True,
                  momentum: float = 0.1, eps: float = 1e-5) -> Tensor:
    """Normalize each channel of each sample of a (N, C, ...) tensor; running statistics average over
    samples."""
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    _check_types("instance_norm", input, running_var, weight, bias)
    _check_both("instance_norm", running_mean, running_var)
    if input.ndim > 1:
        _check_channels("instance_norm", input.shape[1], running_mean=running_mean, running_var=running_var,
                        weight=weight, bias=bias)
    if input.ndim and not input.shape[0]:
        raise OutOfBoundsError(f"[instance_norm] expected a sample or more, got {tuple(input.shape)}")
    ndim, over = input.ndim, list(range(2, input.ndim))
    count = 1
    for size in input.shape[2:]:
        count *= size
    if count == 1:
        raise ArgumentError("[instance_norm] Expected more than 1 spatial element when training, "
                            f"got input size {input.size()}")
    result, center, variance = _standardized(wide(input), over, eps)
    if running_mean is not None:
        _blend(running_mean, center.flatten(1).mean(0), momentum)
    if running_var is not None:
        _blend(running_var, (variance.flatten(1) * (count / max(count - 1, 1))).mean(0), momentum)
    return _affine(result, None if weight is None else _per_channel(weight, ndim),
                   None if bias is None else _per_channel(bias, ndim)).to(input.dtype)


def _normalized_axes(name: str, input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None,
                     bias: Tensor | None = None) -> list[int]:
    shape = tuple(normalized_shape)
    for what, value in (("weight", weight), ("bias", bias)):
        if value is not None and tuple(value.shape) != shape:
            raise ShapeError(
                f"[{name}] Expected {what} to be of same shape as normalized_shape, but got {what} of "
                f"shape {list(value.shape)} and normalized_shape = {list(shape)}"
            )
    if not shape or tuple(input.shape[-len(shape):]) != shape or input.ndim < len(shape):
        expected = ", ".join(str(n) for n in shape)
        raise ShapeError(
            f"[{name}] Given normalized_shape={list(shape)}, expected input with shape [*, {expected}], "
            f"but got input of size{list(input.shape)}"
        )
    return list(range(input.ndim - len(shape), input.ndim))


def _normalized(name: str, normalize: Callable[[Node], Node], input: Tensor, weight: Tensor | None,
                bias: Tensor | None, per_channel: bool = False) -> Tensor:
    """`normalize` of the input, times the weight and plus the bias; all of it in the wider type."""
    dtype = input.dtype

    def build(x: Node, *parameters: Node) -> Node:
        given = (axes.reshape(p, (1, p.size, *(1,) * (x.ndim - 2))) if per_channel else p for p in parameters)
        scale, shift = (None if p is None else next(given) for p in (weight, bias))
        return axes.cast(affine(normalize(axes.cast(x, dtype.accumulator)), scale, shift), dtype)

    return apply(name, build, *[t for t in (input, weight, bias) if t is not None])


def layer_norm(input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None,
               bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Normalize over the last axes, whose sizes are `normalized_shape`."""
    over = _normalized_axes("layer_norm", input, normalized_shape, weight, bias)
    _check_types("layer_norm", input, weight, bias)
    return _normalized("native_layer_norm", lambda x: standardized(x, over, eps), input, weight, bias)


def rms_norm(input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None,
             eps: float | None = None) -> Tensor:
    """Divide by the root of the mean square over the last axes; eps defaults to the dtype's machine
    epsilon."""
    over = _normalized_axes("rms_norm", input, normalized_shape, weight)
    _check_types("rms_norm", input)
    least = float(np.finfo(input.dtype.accumulator.numpy).eps) if eps is None else eps
    return _normalized("mul", lambda x: root_mean_square_one(x, over, least), input, weight, None)


def group_norm(input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None,
               eps: float = 1e-5) -> Tensor:
    """Normalize each of `num_groups` groups of channels of each sample of a (N, C, ...) tensor."""
    if input.ndim < 2:
        raise ShapeError(
            f"[group_norm] Expected at least 2 dimensions for input tensor but received {input.ndim}"
        )
    samples, channels = input.shape[:2]
    if num_groups <= 0 or channels % num_groups:
        raise ShapeError(
            "[group_norm] Expected number of channels in input to be divisible by num_groups, but got "
            f"input of shape {list(input.shape)} and num_groups={num_groups}"
        )
    _check_channels("group_norm", channels, weight=weight, bias=bias)
    _check_types("group_norm", input, weight, bias)
    grouped = samples, num_groups, channels // num_groups, *input.shape[2:]

    def normalize(x: Node) -> Node:
        result = standardized(axes.reshape(x, grouped), range(2, len(grouped)), eps)
        return axes.reshape(result, x.shape)

    return _normalized("native_group_norm", normalize, input, weight, bias, per_channel=True)


def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """Divide by (k + alpha * mean of squares over `size` neighbouring channels) ** beta."""
    if input.ndim < 3:
        raise ArgumentError(
            f"[local_response_norm] Expected 3D or higher dimensionality                          input "
            f"(got {input.ndim} "
            "dimensions)"
        )
    if not input.numel():
        return input
    before, after = size // 2, (size - 1) // 2
    squares = input * input
    shape = (input.shape[0], before + input.shape[1] + after, *input.shape[2:])
    edge = [
        lazygrad.zeros((shape[0], n, *shape[2:]), dtype=input.dtype, device=input.device)
        for n in (before, after)
    ]
    padded = lazygrad.cat([edge[0], squares, edge[1]], 1)
    windows = padded.unfold(1, size, 1)
    whole = not input.is_floating_point()  # an average of integers is cut off to one
    mean = windows.sum(-1, dtype=input.dtype).div(size, rounding_mode="trunc") if whole else windows.mean(-1)
    return input / (mean * alpha + k) ** beta
