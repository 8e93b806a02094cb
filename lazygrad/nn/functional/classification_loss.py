"""Losses against classes and probabilities: cross entropy, negative log likelihood, binary cross entropy, KL.

`reduction` is "none", "mean" or "sum"; `size_average` and `reduce` are its old spelling.
"""

from __future__ import annotations

import warnings

import lazygrad
from lazygrad.dtypes import pytorch_name
from lazygrad.errors import ArgumentError, DTypeError, ShapeError
from lazygrad.nn.functional.activation import logsigmoid
from lazygrad.nn.functional.norm import wide
from lazygrad.tensors import Tensor
from lazygrad.tensors.grad_fn import as_operation, one_operation
from lazygrad.tensors.promotion import check_same_type


def reduction_of_flags(size_average: bool | None, reduce: bool | None) -> str:
    """PyTorch's reading of the two old arguments."""
    return "none" if reduce is False else "sum" if size_average is False else "mean"


def warn_of_flags(reduction: str, stacklevel: int = 4) -> None:
    """Warn that there are newer words for the two old arguments."""
    warnings.warn(f"size_average and reduce args will be deprecated, please use reduction={reduction!r} "
                  "instead.", stacklevel=stacklevel)


def chosen_reduction(reduction: str, size_average: bool | None, reduce: bool | None) -> str:
    """The reduction to use: the two old arguments count where one is given."""
    if size_average is not None or reduce is not None:
        reduction = reduction_of_flags(size_average, reduce)
        warn_of_flags(reduction)
    if reduction not in ("none", "mean", "sum"):
        raise ArgumentError(f"[reduction] {reduction} is not a valid value for reduction")
    return reduction


def reduced(loss: Tensor, reduction: str) -> Tensor:
    """The loss of each element as it is, its mean or its sum."""
    return loss if reduction == "none" else loss.mean() if reduction == "mean" else loss.sum()


def _check_classes(name: str, target: Tensor) -> None:
    if target.dtype not in (lazygrad.int64, lazygrad.uint8):
        raise DTypeError(
            f"[{name}] expected target dtype to be Long or Byte, but got {target.dtype!r}: target classes "
            "must be integers, convert them with .long()"
        )


def _class_axis(name: str, input: Tensor, target: Tensor) -> int:
    axis = 0 if input.ndim == 1 else 1
    expected = tuple(n for i, n in enumerate(input.shape) if i != axis)
    if input.ndim == 0:
        raise ShapeError(f"[{name}] expected an input with a class axis, got a 0-d tensor")
    if tuple(target.shape) == expected:
        return axis
    if target.ndim and input.ndim > 1 and target.shape[0] != input.shape[0]:
        raise ArgumentError(f"[{name}] Expected input batch_size ({input.shape[0]}) to match target "
                            f"batch_size ({target.shape[0]}).")
    raise ShapeError(f"[{name}] Expected target size {list(expected)}, got {list(target.shape)} "
                     f"for input {list(input.shape)}")


def _picked(x: Tensor, target: Tensor, axis: int) -> Tensor:
    """x[..., target, ...]: one indexed load for each target."""
    return x.gather(axis, target.unsqueeze(axis)).squeeze(axis)


def _over_targets(
    loss: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str
) -> Tensor:
    """Losses of single targets weighted by class, zero where ignored, and reduced; the mean is a weighted
    one."""
    ignored = target == ignore_index
    if weight is None:
        loss = lazygrad.where(ignored, 0.0, loss)
        count = lazygrad.where(ignored, 0.0, lazygrad.ones_like(loss))
    else:
        count = lazygrad.where(ignored, 0.0, weight[lazygrad.where(ignored, 0, target)])
        loss = lazygrad.where(ignored, 0.0, loss * count)
    if reduction == "mean":
        return loss.sum() / count.sum()
    return reduced(loss, reduction)


def _check_weight(name: str, weight: Tensor | None, classes: int) -> None:
    if weight is not None and tuple(weight.shape) != (classes,):
        raise ShapeError(
            f"[{name}] weight tensor should be defined either for all {classes} classes or no classes "
            f"but got weight tensor of shape: {list(weight.shape)}"
        )


def _nll_name(input: Tensor, reduction: str) -> str:
    """What PyTorch calls the loss: beyond matrices another kernel, and a view where it reshapes."""
    if input.ndim <= 2:
        return "nll_loss"
    return "view" if reduction == "none" and input.ndim != 4 else "NllLoss2DBackward0"


def nll_loss(input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: bool | None = None,
             ignore_index: int = -100, reduce: bool | None = None, reduction: str = "mean") -> Tensor:
    """Minus the entry of `input` (log probabilities, (C,) or (N, C, ...)) at each target class ((), (N,
    ...)).

    The mean weighs each target by its class's weight; ignored targets count for nothing.
    """
    reduction = chosen_reduction(reduction, size_average, reduce)
    axis = _class_axis("nll_loss", input, target)
    _check_weight("nll_loss", weight, input.shape[axis])
    _check_classes("nll_loss", target)
    check_same_type("nll_loss", input=input, weight=weight)
    if not input.is_floating_point():
        raise DTypeError(f"[nll_loss] not implemented for {input.dtype!r}: convert it with .float()")
    safe = lazygrad.where(target == ignore_index, 0, target).long()
    result = _over_targets(-_picked(input, safe, axis), target, weight, ignore_index, reduction)
    return as_operation(result, _nll_name(input, reduction), input)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross entropy of logits (C,) or (N, C, ...) with classes ((), (N, ...)) or probabilities (the input's
    shape)."""
    reduction = chosen_reduction(reduction, size_average, reduce)
    if not 0.0 <= label_smoothing <= 1.0:
        raise ArgumentError(
            f"[cross_entropy] label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}"
        )
    axis = 0 if input.ndim == 1 else 1
    if input.ndim:
        _check_weight("cross_entropy", weight, input.shape[axis])
    if tuple(target.shape) == tuple(input.shape) and input.ndim:
        if ignore_index >= 0:
            raise ArgumentError(
                "[cross_entropy] ignore_index is not supported for floating point target: it is "
                f"{ignore_index}"
            )
        return _soft_cross_entropy(input, target, weight, reduction, label_smoothing, axis)
    if target.is_floating_point():
        if input.ndim > 1 and target.ndim and input.shape[0] != target.shape[0]:
            raise ArgumentError(
                f"[cross_entropy] Expected input batch_size ({input.shape[0]}) to match target batch_size "
                f"({target.shape[0]})."
            )
        raise ShapeError(
            f"[cross_entropy] target classes must be integers, got {target.dtype}; probabilities need "
            f"the input's shape {list(input.shape)}, got {list(target.shape)}"
        )
    axis = _class_axis("cross_entropy", input, target)
    _check_classes("cross_entropy", target)
    check_same_type("cross_entropy", input=input, weight=weight)
    x = wide(input)
    # log-sum-exp of x - max, less the target's own logit: no log-softmax of all classes is stored
    top = x.detach().amax(axis, keepdim=True)
    total = (x - top).exp().sum(axis).log()
    safe = lazygrad.where(target == ignore_index, 0, target).long()
    loss = total - (_picked(x, safe, axis) - top.squeeze(axis))
    result = _over_targets(loss, target, weight, ignore_index, reduction)
    if label_smoothing > 0:
        smooth = _smooth_loss(x - top - total.unsqueeze(axis), target, weight, ignore_index, reduction, axis)
        result = (1 - label_smoothing) * result + (label_smoothing / input.shape[axis]) * smooth
        return as_operation(result.to(input.dtype), "add", input)
    return as_operation(result.to(input.dtype), _nll_name(input, reduction), input)


def _smooth_loss(log_prob: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str,
                 axis: int) -> Tensor:
    """The loss against all classes alike, reduced as the loss against the target is."""
    ignored = target == ignore_index
    weighted = log_prob if weight is None else log_prob * _along(weight, axis, log_prob.ndim)
    loss = lazygrad.where(ignored, 0.0, -weighted.sum(axis))
    if reduction != "mean":
        return reduced(loss, reduction)
    one = lazygrad.ones_like(loss) if weight is None else weight[lazygrad.where(ignored, 0, target)]
    return loss.sum() / lazygrad.where(ignored, 0.0, one).sum()


def _along(weight: Tensor, axis: int, ndim: int) -> Tensor:
    return weight.reshape([-1 if i == axis else 1 for i in range(ndim)])


def _soft_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None, reduction: str, label_smoothing: float, axis: int
) -> Tensor:
    if not target.is_floating_point():
        raise DTypeError(f"[cross_entropy] Expected floating point type for target with class probabilities, "
                         f"got {target.dtype}")
    classes = input.shape[axis]
    if label_smoothing > 0:
        target = target * (1 - label_smoothing) + label_smoothing / classes
    product = wide(input).log_softmax(axis) * target
    if weight is not None:
        product = product * _along(weight, axis, input.ndim)
    if reduction == "none":
        return -product.sum(axis).to(input.dtype)
    total = -product.sum()
    count = input.numel() // max(classes, 1)
    if reduction == "mean":
        return as_operation((total / count).to(input.dtype), "DivBackward1", input, target)
    return total.to(input.dtype)


@one_operation("binary_cross_entropy")
def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-(target * log(input) + (1 - target) * log(1 - input)), each logarithm at least -100; shapes are
    equal."""
    reduction = chosen_reduction(reduction, size_average, reduce)
    if tuple(target.shape) != tuple(input.shape):
        raise ArgumentError(f"[binary_cross_entropy] Using a target size ({target.size()}) that is "
                            f"different to the input size "
                            f"({input.size()}) is deprecated. Please ensure they have the same size.")
    check_same_type("binary_cross_entropy", input=input, target=target)
    if not input.is_floating_point():
        raise DTypeError(
            f"[binary_cross_entropy] not implemented for {input.dtype!r}: convert it with .float()"
        )
    x, t = wide(input), wide(target)
    loss = (t - 1) * _bounded_log(1 - x) - t * _bounded_log(x)
    return reduced(loss if weight is None else loss * weight, reduction).to(input.dtype)


def _bounded_log(x: Tensor) -> Tensor:
    """log(x), at least -100; the log of 0 is taken of 1 instead, whose derivative is finite."""
    zero = x <= 0
    return lazygrad.where(zero, -100.0, lazygrad.where(zero, 1.0, x).log().clamp(min=-100.0))


@one_operation("binary_cross_entropy_with_logits")
def binary_cross_entropy_with_logits(input: Tensor, target: Tensor, weight: Tensor | None = None,
                                     size_average: bool | None = None, reduce: bool | None = None,
                                     reduction: str = "mean", pos_weight: Tensor | None = None) -> Tensor:
    """binary_cross_entropy of sigmoid(input), without overflow; pos_weight weighs the positive class."""
    reduction = chosen_reduction(reduction, size_average, reduce)
    if tuple(target.shape) != tuple(input.shape):
        raise ArgumentError(f"[binary_cross_entropy_with_logits] Target size ({target.size()}) must be "
                            f"the same as input size ({input.size()})")
    if not target.is_floating_point():
        raise DTypeError(
            f"[binary_cross_entropy_with_logits] result type {pytorch_name(input.dtype)} can't be cast to "
            f"the desired output type {pytorch_name(target.dtype)}: convert the target with .to(input.dtype)"
        )
    x, t = wide(input), wide(target)
    logs = logsigmoid(x)
    if pos_weight is not None:
        logs = logs * ((pos_weight - 1) * t + 1)
    loss = (1 - t) * x - logs
    result = reduced(loss if weight is None else loss * weight, reduction)
    return result.to(target.dtype)


def kl_div(input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None,
           reduction: str = "mean", log_target: bool = False) -> Tensor:
    """target * (log(target) - input) for log probabilities `input`; "batchmean" divides the sum by the
    batch."""
    if reduction == "batchmean":
        total = kl_div(input, target, reduction="sum", log_target=log_target)
        return total / input.shape[0] if input.ndim else total
    if not (input.is_floating_point() and target.is_floating_point()):
        raise DTypeError("[kl_div] kl_div: Integral inputs not supported: convert them with .float()")
    reduction = chosen_reduction(reduction, size_average, reduce)
    if log_target:
        return reduced(target.exp() * (target - input), reduction)
    zero = target == 0
    own = lazygrad.where(zero, 0.0, target * lazygrad.where(zero, 1.0, target).log())
    return reduced(own - target * input, reduction)
