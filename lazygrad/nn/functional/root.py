"""Functions of nn.functional under the names and argument orders that they have in PyTorch's root."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import lazygrad
from lazygrad.errors import ArgumentError, ShapeError, UnsupportedError
from lazygrad.nn import functional as F
from lazygrad.nn.functional import recurrence
from lazygrad.nn.functional.dropout import feature_dropout as channels_dropped
from lazygrad.nn.functional.embedding_bag import bag_of_each
from lazygrad.nn.functional.recurrence import MODES, Weights
from lazygrad.tensors import Tensor
from lazygrad.tensors.outputs import with_out
from lazygrad.tensors.signatures import check_all, checked

_REDUCTIONS = ("none", "mean", "sum")


def _reduction(value: int | str) -> str:
    return _REDUCTIONS[value] if isinstance(value, int) else value


celu, celu_, hardshrink, prelu, rrelu, rrelu_, selu, selu_, threshold, threshold_ = (
    F.celu, F.celu_, F.hardshrink, F.prelu, F.rrelu, F.rrelu_, F.selu, F.selu_, F.threshold, F.threshold_,
)  # fmt: skip
threshold = with_out("threshold", threshold)
rms_norm = F.rms_norm
conv_tbc, native_channel_shuffle = F.conv_tbc, F.native_channel_shuffle


# Dropout


_channels_dropped = partial(channels_dropped, "feature_dropout", channel_axis=1)


def _dropping(name: str, function: Callable[..., Tensor], inplace: bool) -> Callable[..., Tensor]:
    def drop(input: Tensor, p: float, train: bool) -> Tensor:
        return function(input, p, train, inplace)

    drop.__name__, drop.__doc__ = name, f"Dropout: `{name}`."
    return drop


dropout, alpha_dropout, feature_dropout, feature_alpha_dropout = (
    _dropping(name, function, False)
    for name, function in (
        ("dropout", F.dropout), ("alpha_dropout", F.alpha_dropout), ("feature_dropout", _channels_dropped),
        ("feature_alpha_dropout", F.feature_alpha_dropout),
    )
)  # fmt: skip
dropout_, alpha_dropout_, feature_dropout_, feature_alpha_dropout_ = (
    _dropping(name, function, True)
    for name, function in (
        ("dropout_", F.dropout), ("alpha_dropout_", F.alpha_dropout), ("feature_dropout_", _channels_dropped),
        ("feature_alpha_dropout_", F.feature_alpha_dropout),
    )
)  # fmt: skip


def native_dropout(input: Tensor, p: float, train: bool | None) -> tuple[Tensor, Tensor]:
    """(dropout, which elements were kept)."""
    if train is not None and not train:
        return input, lazygrad.ones_like(input, dtype=lazygrad.bool)
    kept = F.dropout(lazygrad.ones_like(input.detach()), p)
    return input * kept, kept != 0


# Normalization


def layer_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, bias: Tensor | None = None,
    eps: float = 1e-5, cudnn_enable: bool = True,
) -> Tensor:
    """nn.functional.layer_norm."""
    return F.layer_norm(input, normalized_shape, weight, bias, eps)


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None,
    eps: float = 1e-5, cudnn_enabled: bool = True,
) -> Tensor:
    """nn.functional.group_norm."""
    return F.group_norm(input, num_groups, weight, bias, eps)


def batch_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None,
    running_var: Tensor | None, training: bool, momentum: float, eps: float, cudnn_enabled: bool = True,
) -> Tensor:
    """nn.functional.batch_norm."""
    return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


def instance_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None,
    running_var: Tensor | None, use_input_stats: bool, momentum: float, eps: float,
    cudnn_enabled: bool = True,
) -> Tensor:
    """nn.functional.instance_norm."""
    return F.instance_norm(
        input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps
    )


def _moments(x: Tensor, axes: Sequence[int], eps: float) -> tuple[Tensor, Tensor]:
    wide = x.to(x.dtype.accumulator)
    mean = wide.mean(axes, keepdim=True)
    inverse = ((wide - mean).square().mean(axes, keepdim=True) + eps).rsqrt()
    return mean.to(x.dtype), inverse.to(x.dtype)


def native_layer_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """(layer_norm, mean, 1 / deviation); no gradient flows through the last two."""
    axes = list(range(input.ndim - len(normalized_shape), input.ndim))
    return F.layer_norm(input, normalized_shape, weight, bias, eps), *_moments(input.detach(), axes, eps)


def native_group_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, N: int, C: int, HxW: int, group: int,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """(group_norm, mean and 1 / deviation of each group, (N, groups))."""
    mean, inverse = _moments(input.reshape(N, group, C // group * HxW), [2], eps)
    return F.group_norm(input, group, weight, bias, eps), mean.squeeze(2), inverse.squeeze(2)


def native_batch_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None,
    running_var: Tensor | None, training: bool, momentum: float, eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """(batch_norm, mean and 1 / deviation of each channel; both empty outside training)."""
    if not input.numel():
        raise ShapeError(f"[native_batch_norm] input must have one element or more, got {tuple(input.shape)}")
    result = F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    if not training:
        return result, input.new_empty(0), input.new_empty(0)
    mean, inverse = _moments(input.detach(), [i for i in range(input.ndim) if i != 1], eps)
    return result, mean.reshape(-1), inverse.reshape(-1)


native_batch_norm = with_out(
    "native_batch_norm", checked("native_batch_norm", native_batch_norm), same_type=True
)


def norm_except_dim(v: Tensor, pow: int = 2, dim: int = 0) -> Tensor:
    """The norms over all dimensions but `dim`, which stay with size 1; over all of them, 0-d, for dim -1."""
    if dim == -1:
        return v.norm(pow)
    others = [d for d in range(v.ndim) if d != dim % v.ndim]
    return v.norm(pow, others, keepdim=True) if others else v.abs()


# Losses, whose reductions are numbers here: 0 none (where PyTorch takes it for left out, too), 1 mean, 2 sum


def binary_cross_entropy_with_logits(
    input: Tensor, target: Tensor, weight: Tensor | None = None, pos_weight: Tensor | None = None,
    reduction: int = 0,
) -> Tensor:
    """nn.functional.binary_cross_entropy_with_logits."""
    return F.binary_cross_entropy_with_logits(
        input, target, weight, reduction=_reduction(reduction), pos_weight=pos_weight
    )


def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: int = 0
) -> Tensor:
    """nn.functional.cosine_embedding_loss."""
    return F.cosine_embedding_loss(input1, input2, target, margin, reduction=_reduction(reduction))


def ctc_loss(
    log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any, blank: int = 0,
    reduction: int = 0, zero_infinity: bool = False,
) -> Tensor:
    """nn.functional.ctc_loss."""
    return F.ctc_loss(
        log_probs, targets, input_lengths, target_lengths, blank, _reduction(reduction), zero_infinity
    )


def hinge_embedding_loss(input: Tensor, target: Tensor, margin: float = 1.0, reduction: int = 0) -> Tensor:
    """nn.functional.hinge_embedding_loss."""
    return F.hinge_embedding_loss(input, target, margin, reduction=_reduction(reduction))


def kl_div(input: Tensor, target: Tensor, reduction: int = 0, *, log_target: bool = False) -> Tensor:
    """nn.functional.kl_div."""
    return F.kl_div(input, target, reduction=_reduction(reduction), log_target=log_target)


def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: int = 0
) -> Tensor:
    """nn.functional.margin_ranking_loss."""
    return F.margin_ranking_loss(input1, input2, target, margin, reduction=_reduction(reduction))


def poisson_nll_loss(
    input: Tensor, target: Tensor, log_input: bool, full: bool, eps: float, reduction: int
) -> Tensor:
    """nn.functional.poisson_nll_loss."""
    return F.poisson_nll_loss(input, target, log_input, full, eps=eps, reduction=_reduction(reduction))


def triplet_margin_loss(
    anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 1.0, p: float = 2.0,
    eps: float = 1e-6, swap: bool = False, reduction: int = 0,
) -> Tensor:
    """nn.functional.triplet_margin_loss."""
    return F.triplet_margin_loss(
        anchor, positive, negative, margin, p, eps, swap, reduction=_reduction(reduction)
    )


# Convolutions and grids


def convolution(
    input: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int], padding: Sequence[int],
    dilation: Sequence[int], transposed: bool, output_padding: Sequence[int], groups: int,
) -> Tensor:
    """The convolution, or its transpose, of as many spatial axes as the weight has."""
    rank = weight.ndim - 2
    sides, steps = (tuple(stride), tuple(padding)), tuple(dilation)
    if transposed:
        run = getattr(F, f"conv_transpose{rank}d")
        return run(input, weight, bias, *sides, tuple(output_padding), groups, steps)
    return getattr(F, f"conv{rank}d")(input, weight, bias, *sides, steps, groups)


def affine_grid_generator(theta: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """nn.functional.affine_grid."""
    return F.affine_grid(theta, list(size), align_corners)


_MODES, _PADDINGS = ("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection")


def grid_sampler(
    input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Tensor:
    """nn.functional.grid_sample, whose modes are numbers here."""
    for what, number in (("interpolation_mode", interpolation_mode), ("padding_mode", padding_mode)):
        if not 0 <= number < 3:
            raise ArgumentError(f"[grid_sampler] {what} must be 0, 1 or 2, got {number}")
    return F.grid_sample(input, grid, _MODES[interpolation_mode], _PADDINGS[padding_mode], align_corners)


grid_sampler_2d = grid_sampler_3d = grid_sampler


def embedding_renorm_(weight: Tensor, indices: Tensor, max_norm: float, norm_type: float) -> Tensor:
    """The rows that indices name shortened in place to a norm."""
    F.embedding(indices, weight, max_norm=max_norm, norm_type=norm_type)
    return weight


def embedding_bag(
    weight: Tensor, indices: Tensor, offsets: Tensor, scale_grad_by_freq: bool = False, mode: int = 0,
    sparse: bool = False, per_sample_weights: Tensor | None = None, include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(bags (bags, size), the bag of each index, the number of rows in each bag but for `padding_idx`, the
    same again). mode: 0 sums, 1 means, 2 maxima. What PyTorch returns after the bags is its own kernels'
    working space, which differs between modes; which row was the largest is not told here."""
    if mode not in (0, 1, 2):
        raise ArgumentError(f"[embedding_bag] mode has to be one of 0 (sum), 1 (mean) or 2 (max), not {mode}")
    bags = F.embedding_bag(
        indices, weight, offsets, scale_grad_by_freq=scale_grad_by_freq, mode=("sum", "mean", "max")[mode],
        sparse=sparse, per_sample_weights=per_sample_weights, include_last_offset=include_last_offset,
        padding_idx=padding_idx)
    bag, counted, count = bag_of_each(indices.shape[0], offsets, include_last_offset)
    if padding_idx is not None:
        counted = counted & (indices != padding_idx % weight.shape[0])
    sizes = bag.new_zeros(count)
    sizes = sizes.scatter_add(0, bag, counted.to(bag.dtype)) if count else sizes
    return bags, bag, sizes, sizes


# Recurrences


def _layers(
    mode: str, params: Sequence[Tensor], has_biases: bool, num_layers: int, bidirectional: bool
) -> list[list[Weights]]:
    each = 4 if has_biases else 2
    count, directions = num_layers * (2 if bidirectional else 1), 2 if bidirectional else 1
    projected = len(params) == count * (each + 1)
    if len(params) not in (count * each, count * (each + 1)):
        raise ArgumentError(f"[{mode}] {len(params)} parameters for {num_layers} layers and {directions} "
                            f"directions: expected {count * each}")
    size = each + projected
    weights = []
    for i in range(count):
        own = list(params[i * size : (i + 1) * size])
        bias_ih, bias_hh = own[2:4] if has_biases else (None, None)
        weights.append(Weights(own[0], own[1], bias_ih, bias_hh, own[-1] if projected else None))
    return [weights[i : i + directions] for i in range(0, count, directions)]


def _recurrent(name: str, mode: str) -> Callable[..., Any]:
    def run(
        input: Tensor, hx: Any, params: Any, has_biases: Any, num_layers: Any, dropout: Any, train: Any,
        bidirectional: Any, batch_first: Any = False,
    ) -> Any:
        if isinstance(has_biases, list | tuple):
            raise UnsupportedError(f"[{name}] packed sequences: call nn.{mode} on the PackedSequence")
        x = input.transpose(0, 1) if batch_first else input
        state = tuple(hx) if isinstance(hx, list | tuple) else (hx,)
        layers = _layers(name, params, has_biases, num_layers, bidirectional)
        output, last = recurrence.run_layers(MODES[mode], x, state, layers, None, dropout if train else 0.0)
        return (output.transpose(0, 1) if batch_first else output), *last

    run.__name__, run.__doc__ = name, f"What nn.{mode} computes: (output, last states)."
    return run


def _cell(name: str, mode: str) -> Callable[..., Any]:
    def run(
        input: Tensor, hx: Any, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None,
        b_hh: Tensor | None = None,
    ) -> Any:
        state = tuple(hx) if isinstance(hx, list | tuple) else (hx,)
        after = recurrence.step(MODES[mode], input, state, Weights(w_ih, w_hh, b_ih, b_hh))
        return after if len(after) > 1 else after[0]

    run.__name__, run.__doc__ = name, f"One step of nn.{mode}."
    return run


lstm, gru = _recurrent("lstm", "LSTM"), _recurrent("gru", "GRU")
rnn_tanh, rnn_relu = _recurrent("rnn_tanh", "RNN_TANH"), _recurrent("rnn_relu", "RNN_RELU")
lstm_cell, gru_cell = _cell("lstm_cell", "LSTM"), _cell("gru_cell", "GRU")
rnn_tanh_cell, rnn_relu_cell = _cell("rnn_tanh_cell", "RNN_TANH"), _cell("rnn_relu_cell", "RNN_RELU")


# What quantizing would do to numbers, on floats


def _rounded(input: Tensor, scale: Any, zero_point: Any, low: int, high: int) -> Tensor:
    places = (input / scale + zero_point).detach().round()
    inside = (places >= low) & (places <= high)
    value = (places.clamp(low, high) - zero_point) * scale
    passed = lazygrad.where(inside, input, 0.0)
    return value.to(input.dtype) + (passed - passed.detach())


def fake_quantize_per_tensor_affine(
    input: Tensor, scale: Any, zero_point: Any, quant_min: int, quant_max: int
) -> Tensor:
    """input rounded to whole steps of scale within [quant_min, quant_max]; gradients pass within."""
    return _rounded(input, scale, zero_point, quant_min, quant_max)


def fake_quantize_per_channel_affine(
    input: Tensor, scale: Tensor, zero_point: Tensor, axis: int, quant_min: int, quant_max: int
) -> Tensor:
    """The same, with a step and a zero for each channel."""
    shape = [-1 if i == axis % input.ndim else 1 for i in range(input.ndim)]
    return _rounded(input, scale.reshape(shape), zero_point.reshape(shape), quant_min, quant_max)


check_all(globals())
