"""Gradients of convolutions as functions: with respect to the input, and to the weight."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lazygrad
from lazygrad.tensors import FUNCTIONS, Tensor
from lazygrad.tensors.autograd import grad


def _pulled(rank: int, x: Tensor, weight: Tensor, wanted: Tensor, grad_output: Tensor, settings: Any
            ) -> Tensor:
    """The gradient of x or of weight, whichever is wanted."""
    with lazygrad.enable_grad():
        (found,) = grad(FUNCTIONS[f"conv{rank}d"](x, weight, None, *settings), wanted, grad_output)
    assert found is not None
    return found


def _of_input(rank: int) -> Callable[..., Tensor]:
    def conv_input(
        input_size: Any,
        weight: Tensor,
        grad_output: Tensor,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        """The gradient of a convolution's input, of size input_size."""
        x = grad_output.new_zeros(tuple(input_size)).requires_grad_()
        return _pulled(rank, x, weight, x, grad_output, (stride, padding, dilation, groups))

    conv_input.__name__ = f"conv{rank}d_input"
    return conv_input


def _of_weight(rank: int) -> Callable[..., Tensor]:
    def conv_weight(
        input: Tensor,
        weight_size: Any,
        grad_output: Tensor,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        """The gradient of a convolution's weight, of size weight_size."""
        weight = grad_output.new_zeros(tuple(weight_size)).requires_grad_()
        return _pulled(rank, input, weight, weight, grad_output, (stride, padding, dilation, groups))

    conv_weight.__name__ = f"conv{rank}d_weight"
    return conv_weight


conv1d_input, conv2d_input, conv3d_input = (_of_input(rank) for rank in (1, 2, 3))
conv1d_weight, conv2d_weight, conv3d_weight = (_of_weight(rank) for rank in (1, 2, 3))
