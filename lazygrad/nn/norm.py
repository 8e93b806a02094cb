"""Normalization layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import lazygrad
from lazygrad import ops
from lazygrad.errors import ArgumentError
from lazygrad.nn import functional as F
from lazygrad.nn import init
from lazygrad.nn.module import Module
from lazygrad.nn.parameter import parameter_if
from lazygrad.tensors import Tensor
from lazygrad.tensors.core import apply, from_node
from lazygrad.tensors.realization import settle_constant
from lazygrad.tensors.recording import at_each_run, host_numbers, set_host_value


class _Affine(Module):
    """A module with a weight, 1 at first, and a bias, 0 at first; either may be absent."""

    def _register_affine(self, shape: Sequence[int], weight: bool, bias: bool, device: Any,
                         dtype: Any) -> None:
        self.register_parameter("weight", parameter_if(weight, shape, device, dtype))
        self.register_parameter("bias", parameter_if(weight and bias, shape, device, dtype))

    def reset_parameters(self) -> None:
        """Weight 1, bias 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)


class _NormBase(_Affine):
    """What batch and instance norms share: affine parameters, running statistics, and the check of the
    input's axes."""

    _version = 2
    ndims: tuple[int, ...]

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self._register_affine((num_features,), affine, bias, device, dtype)
        tracked = track_running_stats
        self.register_buffer("running_mean", lazygrad.zeros(num_features, device=device, dtype=dtype)
                             if tracked else None)
        self.register_buffer(
            "running_var", lazygrad.ones(num_features, device=device, dtype=dtype) if tracked else None
        )
        self.register_buffer("num_batches_tracked", lazygrad.tensor(0, dtype=lazygrad.int64, device=device)
                             if tracked else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Forget the running statistics."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Weight 1, bias 0, no running statistics."""
        self.reset_running_stats()
        super().reset_parameters()

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim not in self.ndims:
            expected = " or ".join(f"{n}D" for n in self.ndims)
            raise ArgumentError(f"[BatchNorm] expected {expected} input (got {input.ndim}D input)")

    def extra_repr(self) -> str:
        return (f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
                f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}")

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any],
                              *rest: Any) -> None:
        # files older than version 2 lack the count of batches
        key = prefix + "num_batches_tracked"
        version = local_metadata.get("version")
        if (version is None or version < 2) and self.track_running_stats and key not in state_dict:
            state_dict[key] = lazygrad.tensor(0, dtype=lazygrad.int64)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


class _BatchNorm(_NormBase):
    def _count_batch(self) -> int:
        if self.num_batches_tracked.is_meta:  # no value
            return 1
        # counted on the host: a lazy chain of additions would grow with every batch
        count = int(self.num_batches_tracked) + 1
        set_host_value(self.num_batches_tracked, count)
        return count

    def forward(self, input: Tensor) -> Tensor:
        """The normalized input; in training the running statistics move."""
        self._check_input_dim(input)
        momentum: Any = 0.0 if self.momentum is None else self.momentum
        if self.training and self.track_running_stats:
            settle_constant(self.running_mean.cell)
            settle_constant(self.running_var.cell)
            if self.momentum is None:
                # a cumulative average; a tensor, so that the count is data of one and the same kernel
                (weight,) = host_numbers(lambda: (1.0 / self._count_batch(),), self.running_mean.dtype)
                momentum = from_node(weight, self.running_mean.cell.device)
            else:
                at_each_run(self._count_batch)
        use_batch = self.training or (self.running_mean is None and self.running_var is None)
        keep = not self.training or self.track_running_stats
        return F.batch_norm(input, self.running_mean if keep else None, self.running_var if keep else None,
                            self.weight, self.bias, use_batch, momentum, self.eps)


class BatchNorm1d(_BatchNorm):
    """Batch normalization of (N, C) or (N, C, L)."""

    ndims = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalization of (N, C, H, W)."""

    ndims = (4,)


class BatchNorm3d(_BatchNorm):
    """Batch normalization of (N, C, D, H, W)."""

    ndims = (5,)


class SyncBatchNorm(_BatchNorm):
    """Batch normalization of any (N, C, ...); one process, so nothing to synchronize."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: Any = None,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ArgumentError(f"[SyncBatchNorm] expected at least 2D input (got {input.ndim}D input)")

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: Any = None) -> Module:
        """The module as it is: a batch norm of one process is synchronous."""
        return module


class _InstanceNorm(_NormBase):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        """The normalized input; the smaller number of axes is a sample without a batch."""
        self._check_input_dim(input)
        batched = input.ndim == self.ndims[1]
        channels = input.shape[1 if batched else 0]
        if channels != self.num_features and self.affine:
            raise ArgumentError(f"[InstanceNorm] expected input's size at dim={1 if batched else 0} to "
                                f"match num_features "
                                f"({self.num_features}), but got: {channels}.")
        return self._apply_instance_norm(input) if batched else self._handle_no_batch_input(input)

    # PyTorch's names of the parts, which subclasses call

    def _get_no_batch_dim(self) -> int:
        return self.ndims[0]

    def _handle_no_batch_input(self, input: Tensor) -> Tensor:
        return self._apply_instance_norm(input.unsqueeze(0)).squeeze(0)

    def _apply_instance_norm(self, input: Tensor) -> Tensor:
        return F.instance_norm(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )


class InstanceNorm1d(_InstanceNorm):
    """Instance normalization of (N, C, L) or (C, L)."""

    ndims = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """Instance normalization of (N, C, H, W) or (C, H, W)."""

    ndims = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """Instance normalization of (N, C, D, H, W) or (C, D, H, W)."""

    ndims = (4, 5)


def _as_shape(normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    whole = isinstance(normalized_shape, int | np.integer)
    return (normalized_shape,) if whole else tuple(normalized_shape)  # type: ignore[arg-type,return-value]


class LayerNorm(_Affine):
    """Normalization over the last axes, whose sizes are `normalized_shape`."""

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape, self.eps = _as_shape(normalized_shape), eps
        self.elementwise_affine = elementwise_affine
        self._register_affine(self.normalized_shape, elementwise_affine, bias, device, dtype)
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        """The normalized input."""
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
                f"bias={self.bias is not None}")


class RMSNorm(Module):
    """Division by the root of the mean square over the last axes."""

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape, self.eps = _as_shape(normalized_shape), eps
        self.elementwise_affine = elementwise_affine
        weight = parameter_if(elementwise_affine, self.normalized_shape, device, dtype)
        self.register_parameter("weight", weight)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight 1."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """The normalized input."""
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(_Affine):
    """Normalization of groups of channels of each sample."""

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_channels % num_groups:
            raise ArgumentError(
                f"[GroupNorm] num_channels ({num_channels}) must be divisible by num_groups ({num_groups})"
            )
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        self._register_affine((num_channels,), affine, bias, device, dtype)
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        """The normalized input."""
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
                f"bias={self.bias is not None}")


class LocalResponseNorm(Module):
    """Division by the mean square of neighbouring channels."""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, input: Tensor) -> Tensor:
        """The normalized input."""
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class CrossMapLRN2d(LocalResponseNorm):
    """Division by a power of the mean square of the channels up to `size` / 2 away, as in Lua Torch.

    As PyTorch computes it, slips included: the first channel is never taken out of the running sums, and the
    windows of the gradient stand one channel too low.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1) -> None:
        super().__init__(size, alpha, beta, k)

    def forward(self, input: Tensor) -> Tensor:
        """The normalized input, (N, C, H, W). Raises ArgumentError for other dimensions."""
        if input.ndim != 4:
            raise ArgumentError(f"[CrossMapLRN2d] Expected input to be 4D, got {input.ndim}D instead.")
        squares = input * input
        reach = (self.size - 1) // 2
        sums = _windows(squares.detach(), reach, reach)
        stays = lazygrad.arange(input.shape[1], device=input.device).reshape(-1, 1, 1) > reach
        scale = (sums + squares.detach()[:, :1] * stays) * (self.alpha / self.size) + self.k
        by = scale**-self.beta
        result = input.detach() * by
        later = (self.size + 1) // 2
        around = _windows(squares, self.size - 1 - later, later) * (result / scale)
        slope = input * by - around * (self.alpha * self.beta / self.size)
        return apply("cross_map_lrn2d", ops.surrogate, result, slope)


def _windows(x: Tensor, before: int, after: int) -> Tensor:
    """The sums over channels (axis 1) from `before` ones lower to `after` ones higher."""
    return F.pad(x, (0, 0, 0, 0, before, after)).unfold(1, before + 1 + after, 1).sum(-1)
