"""Batch norms of evaluation folded into the layer before them."""

from __future__ import annotations

import copy
from typing import Any

import lazygrad
from lazygrad.nn.functional.multi_head import ExpectationError
from lazygrad.nn.parameter import Parameter
from lazygrad.tensors import Tensor
from lazygrad.tensors.signatures import check_all


def _folded(
    weight: Tensor,
    bias: Tensor | None,
    shape: list[int],
    mean: Tensor,
    var: Tensor,
    eps: float,
    scale: Tensor | None,
    shift: Tensor | None,
) -> tuple[Parameter, Parameter]:
    """Weight and bias of a layer whose outputs, `shape` of its weight, are normalized after it."""
    factor = (var + eps).rsqrt()
    factor = factor if scale is None else factor * scale
    before = lazygrad.zeros_like(mean) if bias is None else bias
    after = (before - mean) * factor
    after = after if shift is None else after + shift
    dtype = weight.dtype if bias is None else bias.dtype
    return (
        Parameter((weight * factor.reshape(shape)).to(weight.dtype).detach(), weight.requires_grad),
        Parameter(after.to(dtype).detach(), before.requires_grad),
    )


def fuse_conv_bn_weights(
    conv_w: Tensor,
    conv_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
    transpose: bool = False,
) -> tuple[Parameter, Parameter]:
    """Weight and bias of a convolution with the batch norm after it in them."""
    shape = [1, -1] if transpose else [-1, 1]
    return _folded(conv_w, conv_b, shape + [1] * (conv_w.ndim - 2), bn_rm, bn_rv, bn_eps, bn_w, bn_b)


def fuse_linear_bn_weights(
    linear_w: Tensor,
    linear_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor,
    bn_b: Tensor,
) -> tuple[Parameter, Parameter]:
    """Weight and bias of a linear layer with the batch norm after it in them."""
    return _folded(linear_w, linear_b, [-1, 1], bn_rm, bn_rv, bn_eps, bn_w, bn_b)


def _copied(layer: Any, bn: Any) -> Any:
    if layer.training or bn.training:
        raise ExpectationError("[fuse] Fusion only for eval!")
    if bn.running_mean is None or bn.running_var is None:
        raise ExpectationError("[fuse] bn.running_mean and bn.running_var must not be None")
    return copy.deepcopy(layer)


def fuse_conv_bn_eval(conv: Any, bn: Any, transpose: bool = False) -> Any:
    """A copy of a convolution that computes what it and the batch norm after it compute in evaluation."""
    fused = _copied(conv, bn)
    fused.weight, fused.bias = fuse_conv_bn_weights(
        fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias, transpose
    )
    return fused


def fuse_linear_bn_eval(linear: Any, bn: Any) -> Any:
    """A copy of a linear layer that computes what it and the batch norm after it compute in evaluation."""
    fused = _copied(linear, bn)
    if linear.out_features != bn.num_features and bn.num_features != 1:
        raise ExpectationError(
            "[fuse_linear_bn_eval] To fuse, linear.out_features == bn.num_features or bn.num_features "
            "== 1, got "
            f"linear.out_features={linear.out_features} and bn.num_features={bn.num_features}"
        )
    fused.weight, fused.bias = fuse_linear_bn_weights(
        fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
    )
    return fused


check_all(globals())
