"""Linear maps and tables: linear, bilinear, embedding, one_hot."""

from __future__ import annotations

import lazygrad
from lazygrad.errors import ArgumentError, ShapeError
from lazygrad.nn.functional.distance import vector_norm
from lazygrad.tensors import Tensor


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input @ weight.T + bias: (..., in) with weight (out, in) gives (..., out); weight (in,) gives (...)."""
    if input.ndim == 0 or input.shape[-1] != weight.shape[-1]:
        raise ShapeError(f"[linear] input {tuple(input.shape)} and weight {tuple(weight.shape)} cannot be multiplied: "
                         f"the input's last axis must be {weight.shape[-1]}")
    product = input.matmul(weight.t() if weight.ndim == 2 else weight)
    return product if bias is None else product + bias


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """out[..., o] = input1[..., i] * weight[o, i, j] * input2[..., j], summed over i and j, plus bias[o]."""
    if tuple(input1.shape[:-1]) != tuple(input2.shape[:-1]):
        raise ShapeError(f"[bilinear] batch axes differ: input1 {tuple(input1.shape)}, input2 {tuple(input2.shape)}")
    if (input1.shape[-1], input2.shape[-1]) != tuple(weight.shape[1:]):
        raise ShapeError(f"[bilinear] weight {tuple(weight.shape)} does not fit input1 {tuple(input1.shape)} "
                         f"and input2 {tuple(input2.shape)}")
    outputs, first, second = weight.shape
    # (..., i) @ (i, o*j) gives every output's row vector; then a dot product with input2
    rows = input1.matmul(weight.permute(1, 0, 2).reshape(first, outputs * second))
    rows = rows.reshape(*input1.shape[:-1], outputs, second)
    result = (rows * input2.unsqueeze(-2)).sum(-1)
    return result if bias is None else result + bias


def embedding(input: Tensor, weight: Tensor, padding_idx: int | None = None, max_norm: float | None = None,
              norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False) -> Tensor:
    """The rows of `weight` (rows, size) named by an integer tensor: (..., size).

    Row `padding_idx` gets no gradient. `max_norm` first shortens the named rows to that norm, in place. IndexError for
    a row that does not exist. `sparse` is accepted: gradients are dense.
    """
    rows = weight.shape[0]
    if padding_idx is not None:
        if not -rows <= padding_idx < rows:
            raise ShapeError(f"[embedding] padding_idx {padding_idx} must be within the {rows} rows")
        padding_idx %= rows
    if max_norm is not None:
        _shorten_rows(weight, input, max_norm, norm_type)
    result = weight[input]
    if scale_grad_by_freq:
        counts = lazygrad.zeros(rows, device=weight.device).scatter_add(
            0, input.reshape(-1), lazygrad.ones(input.numel(), device=weight.device))
        share = (1.0 / counts[input]).unsqueeze(-1).to(weight.dtype)
        # the value of the row with the gradient of a part of it
        result = result.detach() + (result - result.detach()) * share
    if padding_idx is not None:
        result = lazygrad.where((input == padding_idx).unsqueeze(-1), result.detach(), result)
    return result


def _shorten_rows(weight: Tensor, input: Tensor, max_norm: float, norm_type: float) -> None:
    with lazygrad.no_grad():
        named = lazygrad.zeros(weight.shape[0], device=weight.device).scatter(
            0, input.reshape(-1), 1.0)
        norms = vector_norm(weight.detach(), norm_type, 1)
        factor = lazygrad.where((named > 0) & (norms > max_norm), max_norm / (norms + 1e-7), 1.0)
        weight.copy_(weight * factor.unsqueeze(1).to(weight.dtype))


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """int64 tensor with one more axis: 1 at each class of `tensor`, else 0; -1 classes: one more than the largest."""
    if tensor.dtype != lazygrad.int64:
        raise ShapeError(f"[one_hot] one_hot is only applicable to index tensor of type LongTensor, got {tensor.dtype}")
    if tensor.numel() == 0:
        if num_classes <= 0:
            raise ShapeError("[one_hot] Can not infer total number of classes from empty tensor.")
    else:
        if int(tensor.min()) < 0:
            raise ShapeError("[one_hot] Class values must be non-negative.")
        largest = int(tensor.max())
        if num_classes == -1:
            num_classes = largest + 1
        elif num_classes < 1:
            raise ArgumentError(f"[one_hot] num_classes should be positive, got {num_classes}")
        elif num_classes <= largest:
            raise ShapeError("[one_hot] Class values must be smaller than num_classes.")
    return (tensor.unsqueeze(-1) == lazygrad.arange(num_classes, device=tensor.device)).long()
