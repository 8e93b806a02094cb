"""Cross entropy of a linear layer's outputs: `linear` and `cross_entropy` in one call."""

from __future__ import annotations

import dataclasses
import warnings

from lazygrad.dtypes import DType
from lazygrad.errors import ArgumentError, ShapeError
from lazygrad.helpers import product
from lazygrad.nn.functional.classification_loss import cross_entropy
from lazygrad.tensors import Tensor
from lazygrad.tensors.linear import linear

_POLICIES = ("auto", "accurate", "balanced", "compact")


def _is_method(text: str) -> bool:
    """Whether a text is "aspect_ratio" or "aspect_ratio:N"."""
    name, colon, factor = text.partition(":")
    return name == "aspect_ratio" and (not colon or factor.isdigit() and int(factor) > 0)


@dataclasses.dataclass(slots=True, frozen=True)
class LinearCrossEntropyOptions:
    """How PyTorch cuts the batch into pieces: checked as it checks them, and without effect here, where the
    compiler decides what is stored. ValueError for a value that PyTorch does not know."""

    allow_retain_graph: bool = False
    batch_chunk_size: int | None = None
    chunking_method: str | None = "auto"
    acc_policy: str = "auto"
    acc_dtype: DType | None = None

    def __post_init__(self) -> None:
        if self.acc_policy not in _POLICIES:
            raise ArgumentError(f"[linear_cross_entropy] invalid acc_policy: {self.acc_policy!r}")
        if self.chunking_method not in (None, "auto") and not _is_method(str(self.chunking_method)):
            raise ArgumentError(f"[linear_cross_entropy] invalid chunking_method: {self.chunking_method!r}")
        size = self.batch_chunk_size
        if size is not None and not (isinstance(size, int) and size > 0):
            raise ArgumentError(
                f"[linear_cross_entropy] batch_chunk_size must be positive int or None, got {size!r}"
            )
        if self.acc_dtype is not None and not self.acc_dtype.is_floating_point:
            raise ArgumentError(
                "[linear_cross_entropy] acc_dtype must be one of {None, torch.float16, torch.bfloat16, "
                f"torch.float32, torch.float64}}, got {self.acc_dtype!r}. Pass acc_dtype=None to let the op "
                "pick automatically."
            )

    def check(self, batch: int, features: int, classes: int) -> None:
        """ValueError where the method gives other pieces than the size asked for."""
        method, size = self.chunking_method, self.batch_chunk_size
        if size is None or method in (None, "auto"):
            return
        factor = int(str(method).partition(":")[2] or 1)
        whole = -(-batch // -(-classes // features))
        found = min((1 << (whole - 1).bit_length()) // factor, batch)
        if found != size:
            raise ArgumentError(
                f"[linear_cross_entropy] batch_chunk_size (={size}) and chunking_method ('{method}') give "
                f"different chunk sizes ({size} vs {found}); pass only one."
            )


def _check(input: Tensor, linear_weight: Tensor, linear_bias: Tensor | None) -> None:
    op = "[linear_cross_entropy]"
    if not 1 <= input.ndim <= 2:
        raise ShapeError(f"{op} expected input with dimensionality 1 or 2, got {input.ndim}")
    if linear_weight.ndim < 2:
        raise ShapeError(
            f"{op} expected linear_weight with dimensionality at least 2, got {linear_weight.ndim}"
        )
    features = input.shape[-1]
    if features != linear_weight.shape[-1]:
        raise ShapeError(
            f"{op} expected equal input and linear_weight last dimensions (in_features), got {features} and "
            f"{linear_weight.shape[-1]}, respectively"
        )
    wanted = tuple(linear_weight.shape[:-1])
    if linear_bias is not None and tuple(linear_bias.shape) != wanted:
        raise ShapeError(f"{op} expected linear_bias shape {wanted}, got {tuple(linear_bias.shape)}")
    if linear_weight.ndim > 2 and input.ndim == 1:
        raise ShapeError(
            f"{op} K-dimensional loss defined by linear_weight shape {tuple(linear_weight.shape)} requires "
            f"batched input, (N, {features}), got unbatched input with shape {tuple(input.shape)}"
        )


def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: LinearCrossEntropyOptions | None = None,
) -> Tensor:
    """The cross entropy of `linear(input, linear_weight, linear_bias)` with a target.

    input (N, features) or (features,); linear_weight (C, ..., features); target as `cross_entropy` takes it,
    for logits (N, C, ...) or (C,). RuntimeError for other shapes, and for `ignore_index` beside
    probabilities.
    """
    _check(input, linear_weight, linear_bias)
    batch, features = tuple(input.shape[:-1]), input.shape[-1]
    outputs = tuple(linear_weight.shape[:-1])
    if tuple(target.shape) == (*batch, *outputs) and ignore_index is not None:
        raise ArgumentError(
            "[linear_cross_entropy] ignore_index cannot be specified when target contains probabilities"
        )
    if options is not None:
        in_pieces = (
            reduction in ("mean", "sum", "none")
            and label_smoothing == 0.0
            and len(outputs) == 1
            and not target.is_floating_point()
        )
        if in_pieces:
            options.check(batch[0] if batch else 1, features, outputs[0])
        else:
            warnings.warn(
                "linear_cross_entropy: ``options`` ignored; chunked path needs reduction in "
                "{'mean','sum','none'}, label_smoothing == 0, target.dtype == int64, out_features == (). Got "
                f"reduction={reduction!r}, label_smoothing={label_smoothing}, target.dtype={target.dtype}, "
                f"out_features={outputs[1:]}",
                stacklevel=2,
            )
    flat_bias = None if linear_bias is None else linear_bias.reshape(-1)
    logits = linear(input, linear_weight.reshape(product(outputs), features), flat_bias)
    return cross_entropy(
        logits.reshape((*batch, *outputs)),
        target,
        weight=weight,
        ignore_index=-100 if ignore_index is None else ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )
