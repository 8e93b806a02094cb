"""Softmax over many classes, of which rare ones stand in clusters (Grave et al., 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import lazygrad
from lazygrad.errors import ArgumentError, ShapeError
from lazygrad.nn.containers import ModuleList, Sequential
from lazygrad.nn.linear import Linear
from lazygrad.nn.module import Module
from lazygrad.tensors import Tensor


class _ASMoutput(NamedTuple):
    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """Log probabilities of classes sorted by frequency: the first `cutoffs[0]` in a head, the others in
    clusters, each with a projection `div_value` times smaller than the one before."""

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        cutoffs = list(cutoffs)
        if not cutoffs:
            raise ArgumentError(
                "[AdaptiveLogSoftmaxWithLoss] cutoffs should be a sequence of length larger than 0"
            )
        if (
            cutoffs != sorted(set(cutoffs))
            or min(cutoffs) <= 0
            or max(cutoffs) > n_classes - 1
            or any(int(c) != c for c in cutoffs)
        ):
            raise ArgumentError(
                "[AdaptiveLogSoftmaxWithLoss] cutoffs should be a sequence of unique, positive "
                "integers sorted in an increasing order, where each value is between 1 and "
                f"n_classes-1: got {cutoffs} for {n_classes} classes"
            )
        self.in_features, self.n_classes, self.cutoffs = in_features, n_classes, [*cutoffs, n_classes]
        self.div_value, self.head_bias = div_value, head_bias
        self.shortlist_size, self.n_clusters = cutoffs[0], len(cutoffs)
        self.head_size = self.shortlist_size + self.n_clusters
        where: dict[str, Any] = {"device": device, "dtype": dtype}
        self.head = Linear(in_features, self.head_size, head_bias, **where)
        self.tail = ModuleList()
        for i, (low, high) in enumerate(pairwise(self.cutoffs)):
            hidden = int(in_features // div_value ** (i + 1))
            self.tail.append(
                Sequential(
                    Linear(in_features, hidden, False, **where), Linear(hidden, high - low, False, **where)
                )
            )

    def reset_parameters(self) -> None:
        """Draw all weights as Linear does."""
        self.head.reset_parameters()
        for cluster in self.tail:
            inner, outer = cluster.children()
            inner.reset_parameters()
            outer.reset_parameters()

    def forward(self, input_: Tensor, target_: Tensor) -> _ASMoutput:
        """(log probabilities of the targets (N,), their mean with a minus) of (N, in_features) and (N,); N
        may be absent. RuntimeError for classes that do not exist."""
        _check(input_, target_)
        input, target = (input_, target_) if target_.ndim else (input_.unsqueeze(0), target_.unsqueeze(0))
        output: Any = 0.0
        # a class that does not exist becomes a place that gather refuses
        place = lazygrad.where(target < self.n_classes, target, target + self.head_size)
        for i, (low, high) in enumerate(pairwise(self.cutoffs)):
            here = (target >= low) & (target < high)
            inner = (target - low).clamp(0, high - low - 1).unsqueeze(1)
            share = self.tail[i](input).log_softmax(1).gather(1, inner).squeeze(1)
            output = output + lazygrad.where(here, share, 0.0)
            place = lazygrad.where(here, self.shortlist_size + i, place)
        output = output + self.head(input).log_softmax(1).gather(1, place.unsqueeze(1)).squeeze(1)
        loss = (-output).mean()
        return _ASMoutput(output if target_.ndim else output.squeeze(0), loss)

    def log_prob(self, input: Tensor) -> Tensor:
        """Log probabilities of all classes: (N, n_classes)."""
        head = self.head(input).log_softmax(1)
        parts = [head[:, : self.shortlist_size]]
        for i, cluster in enumerate(self.tail):
            parts.append(cluster(input).log_softmax(1) + head[:, self.shortlist_size + i].unsqueeze(1))
        return lazygrad.cat(parts, 1)

    def predict(self, input: Tensor) -> Tensor:
        """The class that the head prefers, or the most probable of all where the head prefers a cluster:
        (N,)."""
        first = self.head(input).argmax(1)
        return lazygrad.where(first < self.shortlist_size, first, self.log_prob(input).argmax(1))


def _check(input: Tensor, target: Tensor) -> None:
    if target.ndim > 1:
        raise ShapeError(
            "[AdaptiveLogSoftmaxWithLoss] 0D or 1D target tensor expected, multi-target not supported"
        )
    if target.ndim == 1 and input.shape[0] != target.shape[0]:
        raise ShapeError(
            "[AdaptiveLogSoftmaxWithLoss] Input and target should have the same size in the batch "
            f"dimension: {tuple(input.shape)} and {tuple(target.shape)}"
        )
    if input.ndim != target.ndim + 1:
        raise ShapeError(
            f"[AdaptiveLogSoftmaxWithLoss] {target.ndim}D target tensor expects {target.ndim + 1}D input "
            f"tensors, but found inputs with size {tuple(input.shape)}"
        )
