"""Connectionist temporal classification (Graves et al., 2006): sequences of labels without an alignment."""

from __future__ import annotations

import math
from typing import Any

import lazygrad
from lazygrad.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError
from lazygrad.tensors import Tensor
from lazygrad.tensors.axes import integer


def _log_sum(parts: list[Tensor]) -> Tensor:
    """log of the sum of exponentials, -inf where all are, with a gradient that is 0 there."""
    greatest = parts[0].detach()
    for part in parts[1:]:
        greatest = greatest.maximum(part.detach())
    nothing = greatest == -math.inf
    base = greatest.masked_fill(nothing, 0.0)
    total: Any = sum((part - base).exp() for part in parts)
    return (total.masked_fill(nothing, 1.0).log() + base).masked_fill(nothing, -math.inf)


def _shifted(x: Tensor, by: int) -> Tensor:
    """Columns moved to the right, -inf where none came from."""
    return lazygrad.pad(x, (by, 0), value=-math.inf)[:, : x.shape[1]]


def _lengths(given: Any, count: int, name: str, device: Any) -> Tensor:
    if isinstance(given, Tensor):
        if not given.dtype.is_integer or given.dtype is lazygrad.bool:
            raise DTypeError(f"[ctc_loss] {name} must be integral, got {given.dtype!r}")
        result = given
    else:
        result = lazygrad.tensor([integer("ctc_loss", name, n) for n in given], dtype=lazygrad.int64)
    if result.numel() != count:
        raise ArgumentError(
            f"[ctc_loss] {name} must be of size batch_size: {result.numel()} and {count}"
        )
    return result.reshape(-1).long().to(device)


def _padded(targets: Tensor, lengths: Tensor) -> Tensor:
    """Targets one after the other as (N, longest); reads the lengths."""
    listed = lengths.tolist()
    if sum(listed) != targets.numel():
        raise ArgumentError(
            f"[ctc_loss] target_lengths sum to {sum(listed)}, but there are {targets.numel()} targets"
        )
    starts = [sum(listed[:n]) for n in range(len(listed))]
    longest = max(listed, default=0)
    places = [
        [start + k if k < length else 0 for k in range(longest)]
        for start, length in zip(starts, listed, strict=True)
    ]
    if not longest:
        return targets.new_zeros(len(listed), 0)
    return targets[lazygrad.tensor(places, dtype=lazygrad.int64, device=targets.device)]


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Minus the log probability of target sequences, summed over all their alignments with the inputs.

    log_probs (T, N, C) or (T, C); targets (N, S), or one after the other; lengths (N,). `reduction` "mean"
    divides each loss by its target's length first. `zero_infinity`: targets too long for their input cost
    nothing.
    """
    if reduction not in ("none", "mean", "sum"):
        raise ArgumentError(f"[ctc_loss] {reduction} is not a valid value for reduction")
    if log_probs.ndim not in (2, 3):
        raise ShapeError(f"[ctc_loss] log_probs must be (T, N, C) or (T, C), got {tuple(log_probs.shape)}")
    batched = log_probs.ndim == 3
    lp = log_probs if batched else log_probs.unsqueeze(1)
    steps, batch, classes = lp.shape
    if not 0 <= blank < classes:
        raise ArgumentError(f"[ctc_loss] blank must be in label range: {blank} of {classes} classes")
    if isinstance(input_lengths, Tensor) != isinstance(target_lengths, Tensor):
        raise ArgumentTypeError("[ctc_loss] input_lengths and target_lengths must both be tensors, or both "
                                "be tuples of ints")
    lengths = _lengths(target_lengths, batch, "target_lengths", lp.device)
    ends = _lengths(input_lengths, batch, "input_lengths", lp.device)
    for n in () if isinstance(input_lengths, Tensor) else input_lengths:
        if not 0 <= n <= steps:
            raise ArgumentError(f"[ctc_loss] Expected input_lengths to have value between 0 and {steps}, the "
                                f"number of steps, but got value {n}")
    if not steps:
        raise ShapeError("[ctc_loss] log_probs has no steps")
    targets = targets.long().to(lp.device)
    labels = targets if targets.ndim == 2 else _padded(targets, lengths)
    loss = -_log_likelihood(lp, labels, lengths, ends, blank)
    # nothing in value; in the gradient what makes it that of log_softmax's input, as PyTorch has it
    alive = lazygrad.arange(steps, device=lp.device).unsqueeze(1) < ends
    total = lazygrad.where(alive.unsqueeze(2), lp.exp(), 0.0).sum((0, 2))
    loss = loss + (total - total.detach())
    if zero_infinity:
        loss = lazygrad.where(loss.detach() == math.inf, 0.0, loss)
    if reduction == "none":
        return loss if batched else loss.squeeze(0)
    if reduction == "sum":
        return loss.sum()
    return (loss / lengths.clamp(min=1).to(loss.dtype)).mean()


def _log_likelihood(lp: Tensor, labels: Tensor, lengths: Tensor, ends: Tensor, blank: int) -> Tensor:
    """(N,): the log probability of the first `lengths` of labels (N, S) in the first `ends` steps of
    lp (T, N, C), summed over alignments by the forward algorithm (Graves et al., 2006)."""
    steps, batch, _ = lp.shape
    states, skips = _states(labels, lengths, blank)
    size = states.shape[1]
    seen = lp.gather(2, states.unsqueeze(0).expand(steps, batch, size)).unbind(0)
    places = lazygrad.arange(size, device=lp.device)
    first = (places == 0) | ((places == 1) & (lengths > 0).unsqueeze(1))
    alpha = lazygrad.where(first, seen[0], -math.inf)
    for t in range(1, steps):
        skipped = _shifted(alpha, 2).masked_fill(~skips, -math.inf)
        after = _log_sum([alpha, _shifted(alpha, 1), skipped]) + seen[t]
        alpha = lazygrad.where((ends > t).unsqueeze(1), after, alpha)
    last = (2 * lengths).unsqueeze(1)
    final = alpha.gather(1, last)
    inner = alpha.gather(1, (last - 1).clamp(min=0)).masked_fill((lengths == 0).unsqueeze(1), -math.inf)
    return _log_sum([final, inner]).squeeze(1)


def _states(labels: Tensor, lengths: Tensor, blank: int) -> tuple[Tensor, Tensor]:
    """(N, 2 S + 1): the labels with blanks around them; and which of these may follow the label before the
    blank before it."""
    batch, size = labels.shape
    inside = lazygrad.arange(size, device=labels.device) < lengths.unsqueeze(1)
    states = labels.new_full((batch, 2 * size + 1), blank)
    states[:, 1::2] = lazygrad.where(inside, labels, blank)
    before = lazygrad.pad(states, (2, 0), value=blank)[:, : 2 * size + 1]
    places = lazygrad.arange(2 * size + 1, device=labels.device)
    return states, (states != blank) & (states != before) & (places > 1)
