"""Losses that ask for a margin between scores or distances.

`reduction` is "none", "mean" or "sum"; `size_average` and `reduce` are its old spelling.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lazygrad
from lazygrad.errors import ArgumentError, AxisError, DTypeError, ShapeError
from lazygrad.nn.functional.activation import logsigmoid
from lazygrad.nn.functional.classification_loss import chosen_reduction, reduced
from lazygrad.tensors import Tensor
from lazygrad.tensors.grad_fn import one_operation
from lazygrad.tensors.promotion import check_castable

# what PyTorch adds to squared norms in cosine_embedding_loss
_COSINE_EPSILON = 1e-12


def hinge_embedding_loss(input: Tensor, target: Tensor, margin: float = 1.0, size_average: bool | None = None,
                         reduce: bool | None = None, reduction: str = "mean") -> Tensor:
    """input where target is 1, max(0, margin - input) where it is -1."""
    reduction = chosen_reduction(reduction, size_average, reduce)
    gap = lazygrad.full_like(input, margin) - input  # of the input's type, as PyTorch has it
    apart = lazygrad.where(target != 1, gap.clamp(min=0), 0)
    return reduced(apart + lazygrad.where(target != -1, input, 0), reduction)


def margin_ranking_loss(input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0,
                        size_average: bool | None = None, reduce: bool | None = None,
                        reduction: str = "mean") -> Tensor:
    """max(0, -target * (input1 - input2) + margin), target 1 or -1."""
    reduction = chosen_reduction(reduction, size_average, reduce)
    if not input1.ndim == input2.ndim == target.ndim:
        raise ShapeError(
            "[margin_ranking_loss] All input tensors should have same dimension but got sizes: input1: "
            f"{input1.size()}, input2: {input2.size()}, target: {target.size()}"
        )
    return reduced((-target * (input1 - input2) + float(margin)).clamp(min=0), reduction)


@one_operation("soft_margin_loss")
def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """log(1 + exp(-target * input)), target 1 or -1."""
    reduction = chosen_reduction(reduction, size_average, reduce)
    target = target.to(input.dtype) if target.dtype == lazygrad.bool else target
    loss = (-target * input).exp().log1p()
    check_castable("soft_margin_loss", loss.dtype, input.dtype)
    if loss.shape != input.shape:  # PyTorch writes into a tensor of the input's shape
        raise ShapeError(f"[soft_margin_loss] target {tuple(target.shape)} does not broadcast to input "
                         f"{tuple(input.shape)}")
    return reduced(loss, reduction).to(input.dtype)


def multilabel_soft_margin_loss(input: Tensor, target: Tensor, weight: Tensor | None = None,
                                size_average: bool | None = None, reduce: bool | None = None,
                                reduction: str = "mean") -> Tensor:
    """Binary cross entropy of logits, averaged over the classes (the last axis)."""
    reduction = chosen_reduction(reduction, size_average, reduce)
    if not input.ndim:
        raise AxisError("[multilabel_soft_margin_loss] input needs a dimension of classes, but has none")
    loss = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    loss = loss if weight is None else loss * weight  # which may have more dimensions than the input
    return reduced(loss.sum(input.ndim - 1) / input.shape[-1], reduction)


@one_operation("multi_margin_loss")
def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The mean over other classes of max(0, margin - input[target] + input[other]) ** p; p is 1 or 2."""
    reduction = chosen_reduction(reduction, size_average, reduce)
    if p not in (1, 2):
        raise ArgumentError("[multi_margin_loss] only p == 1 and p == 2 supported")
    if weight is not None and weight.ndim != 1:
        raise ArgumentError(f"[multi_margin_loss] weight must be one-dimensional, got {list(weight.shape)}")
    samples = 1 if input.ndim < 2 else input.shape[0]
    if input.ndim > 2 or target.ndim > 1 or target.numel() != samples:
        raise ShapeError("[multi_margin_loss] expected an input (N, C) or (C,) and one target for each "
                         f"sample, got {tuple(input.shape)} and {tuple(target.shape)}")
    shape = tuple(target.shape)  # of the losses, also where one target of a single sample has a dimension
    target = target.reshape(tuple(input.shape[:-1]))
    input = input if input.ndim else input.reshape(1)
    classes = input.shape[-1]
    index = target.unsqueeze(-1)
    loss = (margin - input.gather(-1, index) + input).clamp(min=0)
    loss = loss if p == 1 else loss * loss
    loss = loss if weight is None else loss * weight[index]
    other = lazygrad.arange(classes, device=input.device) != index
    return reduced((lazygrad.where(other, loss, 0.0).sum(-1) / classes).reshape(shape), reduction)


@one_operation("multilabel_margin_loss")
def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The hinge loss between every target class and every other class; each row of targets ends at its first
    -1."""
    reduction = chosen_reduction(reduction, size_average, reduce)
    if target.dtype is not lazygrad.int64:
        raise DTypeError(f"[multilabel_margin_loss] expected target of Long, got {target.dtype!r}: convert "
                         "it with .long()")
    single = max(input.ndim, target.ndim) < 2 and input.numel() == target.numel() == 1
    if tuple(input.shape) != tuple(target.shape) and not single:
        raise ShapeError(f"[multilabel_margin_loss] inconsistent target size: {list(target.shape)} "
                         f"for input of size: {list(input.shape)}")
    if input.ndim > 2 or input.ndim and not input.shape[-1]:
        raise ShapeError("[multilabel_margin_loss] Expected non-empty vector or matrix with optional 0-dim "
                         f"batch size, but got: {list(input.shape)}")
    if single:
        input, target = input.reshape(1), target.reshape(1)
    classes = input.shape[-1]
    valid = (target < 0).long().cumsum(-1) == 0
    safe = lazygrad.where(valid, target, 0)
    all_classes = lazygrad.arange(classes, device=input.device)
    is_target = ((safe.unsqueeze(-1) == all_classes) & valid.unsqueeze(-1)).any(-2)
    # [..., j, k]: the margin of target j over class k
    gaps = (1 - (input.gather(-1, safe).unsqueeze(-1) - input.unsqueeze(-2))).clamp(min=0)
    counted = valid.unsqueeze(-1) & ~is_target.unsqueeze(-2)
    return reduced(lazygrad.where(counted, gaps, 0.0).sum((-2, -1)) / classes, reduction)


def _check_vectors(input1: Tensor, input2: Tensor, target: Tensor) -> None:
    ndim = target.ndim
    if ndim > 1:
        raise ShapeError("[cosine_embedding_loss] 0D or 1D target tensor expected, got "
                         f"{tuple(target.shape)}")
    if not input1.ndim == input2.ndim == ndim + 1:
        raise ShapeError(f"[cosine_embedding_loss] {ndim}D target tensor expects {ndim + 1}D input tensors, "
                         f"but found inputs with sizes {list(input1.shape)} and {list(input2.shape)}.")


def cosine_embedding_loss(input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0,
                          size_average: bool | None = None, reduce: bool | None = None,
                          reduction: str = "mean") -> Tensor:
    """1 - cosine where target is 1, max(0, cosine - margin) where it is -1."""
    reduction = chosen_reduction(reduction, size_average, reduce)
    _check_vectors(input1, input2, target)
    product = (input1 * input2).sum(-1)
    squares = ((input1 * input1).sum(-1) + _COSINE_EPSILON) * ((input2 * input2).sum(-1) + _COSINE_EPSILON)
    cosine = product / squares.sqrt()
    alike = lazygrad.where(target == 1, 1 - cosine, 0.0)
    return reduced(alike + lazygrad.where(target == -1, (cosine - margin).clamp(min=0), 0.0), reduction)


def triplet_margin_loss(anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 1.0, p: float = 2,
                        eps: float = 1e-6, swap: bool = False, size_average: bool | None = None,
                        reduce: bool | None = None, reduction: str = "mean") -> Tensor:
    """max(0, |anchor - positive| - |anchor - negative| + margin); `swap` may measure from the positive
    instead."""
    reduction = chosen_reduction(reduction, size_average, reduce)
    return triplet_margin_with_distance_loss(
        anchor,
        positive,
        negative,
        distance_function=lambda x, y: lazygrad.pairwise_distance(x, y, p, eps),
        margin=margin,
        swap=swap,
        reduction=reduction,
    )


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: Any = False,
    reduction: str = "mean",
) -> Tensor:
    """triplet_margin_loss with any distance."""
    reduction = chosen_reduction(reduction, None, None)
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise ShapeError("[triplet_margin_loss] The anchor, positive, and negative tensors are expected to "
                         f"have the same number of dimensions, but got: {anchor.ndim}D, {positive.ndim}D and "
                         f"{negative.ndim}D")
    if margin <= 0:
        raise ArgumentError(f"[triplet_margin_with_distance_loss] margin must be greater than 0, got "
                            f"{margin}")
    distance = distance_function or lazygrad.pairwise_distance
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = lazygrad.minimum(far, distance(positive, negative))
    return reduced((near - far + margin).clamp(min=0), reduction)
