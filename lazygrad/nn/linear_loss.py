"""LinearCrossEntropyLoss: a linear layer and the cross entropy of its outputs."""

from __future__ import annotations

from typing import Any

from lazygrad.errors import ArgumentError
from lazygrad.helpers import product
from lazygrad.nn import functional as F
from lazygrad.nn.functional.linear_loss import LinearCrossEntropyOptions
from lazygrad.nn.linear import Linear
from lazygrad.nn.module import Module
from lazygrad.tensors import Tensor


class LinearCrossEntropyLoss(Module):
    """Cross entropy of a linear layer's outputs (N, num_classes, *out_features).

    The layer's parameters stand flat in `linear`. RuntimeError for a `weight` that is not (num_classes,) and
    for a smoothing outside [0, 1].
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        out_features: tuple[int, ...] = (),
        bias: bool = False,
        device: Any = None,
        dtype: Any = None,
        reduction: str = "mean",
        weight: Tensor | None = None,
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        options: LinearCrossEntropyOptions | None = None,
    ) -> None:
        if weight is not None and tuple(weight.shape) != (num_classes,):
            raise ArgumentError(
                f"[LinearCrossEntropyLoss] expected weight shape to be {(num_classes,)}, got "
                f"{tuple(weight.shape)}"
            )
        if not 0 <= label_smoothing <= 1:
            raise ArgumentError(
                "[LinearCrossEntropyLoss] expected label_smoothing to be in range [0, 1], got "
                f"{label_smoothing}"
            )
        super().__init__()
        self.register_buffer("weight", weight)
        self.reduction = reduction
        self.num_classes, self.out_features = num_classes, out_features
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing
        self.linear = Linear(in_features, num_classes * product(out_features), bias, device, dtype)
        self.options = options

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss of inputs (N, in_features) or (in_features,)."""
        outputs = self.num_classes, *self.out_features
        bias = self.linear.bias
        return F.linear_cross_entropy(
            input,
            self.linear.weight.reshape(*outputs, self.linear.in_features),
            target,
            linear_bias=None if bias is None else bias.reshape(outputs),
            weight=self.weight,
            reduction=self.reduction,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            options=self.options,
        )

    def extra_repr(self) -> str:
        """The settings."""
        return (
            f"in_features={self.linear.in_features}, num_classes={self.num_classes}, "
            f"out_features={self.out_features}, bias={self.linear.bias is not None}, "
            f"reduction={self.reduction}, ignore_index={self.ignore_index}, "
            f"label_smoothing={self.label_smoothing}, options={self.options}"
        )
