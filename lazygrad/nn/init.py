"""Initial values of parameters, in place, by the formulas and distributions of torch.nn.init.

Every function takes the tensor to fill, works outside the graph, and returns the tensor.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import lazygrad
from lazygrad.errors import ArgumentError
from lazygrad.tensors import Tensor
from lazygrad.tensors.signatures import check_all

_GAINS: dict[str, Callable[[float], float]] = {
    **dict.fromkeys(
        (
            "linear",
            "identity",
            "conv1d",
            "conv2d",
            "conv3d",
            "conv_transpose1d",
            "conv_transpose2d",
            "conv_transpose3d",
            "sigmoid",
        ),
        lambda _: 1.0,
    ),
    "tanh": lambda _: 5.0 / 3,
    "relu": lambda _: math.sqrt(2.0),
    "leaky_relu": lambda slope: math.sqrt(2.0 / (1 + slope**2)),
    "selu": lambda _: 3.0 / 4,
}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which a nonlinearity wants its weights' standard deviation scaled; `param`: leaky_relu's
    slope."""
    if nonlinearity not in _GAINS:
        raise ArgumentError(f"[calculate_gain] Unsupported nonlinearity {nonlinearity}")
    if param is not None and (isinstance(param, bool) or not isinstance(param, int | float)):
        raise ArgumentError(f"[calculate_gain] negative_slope {param} not a valid number")
    return _GAINS[nonlinearity](0.01 if param is None else param)


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    """The inputs and outputs that one element of a weight (out, in, kernel...) touches."""
    if tensor.ndim < 2:
        raise ArgumentError("[init] Fan in and fan out can not be computed for tensor with fewer than 2 "
                            "dimensions")
    field = 1
    for size in tensor.shape[2:]:
        field *= size
    return tensor.shape[1] * field, tensor.shape[0] * field


def _calculate_correct_fan(tensor: Tensor, mode: str) -> int:
    mode = mode.lower()
    if mode not in ("fan_in", "fan_out"):
        raise ArgumentError(f"[init] Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    return _calculate_fan_in_and_fan_out(tensor)[mode == "fan_out"]


def _fill(tensor: Tensor, values: Tensor) -> Tensor:
    with lazygrad.no_grad():
        tensor.copy_(values)
    return tensor


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform in [a, b)."""
    with lazygrad.no_grad():
        tensor.uniform_(a, b, generator=generator)
    return tensor


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Normal."""
    with lazygrad.no_grad():
        tensor.normal_(mean, std, generator=generator)
    return tensor


def constant_(tensor: Tensor, val: float) -> Tensor:
    """One value."""
    with lazygrad.no_grad():
        tensor.fill_(val)
    return tensor


def ones_(tensor: Tensor) -> Tensor:
    """Ones."""
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Zeros."""
    return constant_(tensor, 0.0)


def trunc_normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0,
                  generator: Any = None) -> Tensor:
    """Normal, limited to [a, b]."""
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. The distribution of values may be "
            "incorrect.",
            stacklevel=2,
        )
    with lazygrad.no_grad():
        tensor.trunc_normal_(mean, std, a, b, generator=generator)
    return tensor


def eye_(tensor: Tensor) -> Tensor:
    """Ones on the diagonal of a matrix."""
    if tensor.ndim != 2:
        raise ArgumentError("[eye_] Only tensors with 2 dimensions are supported")
    return _fill(tensor, lazygrad.eye(*tensor.shape, dtype=tensor.dtype, device=tensor.device))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """A convolution weight (3 to 5 axes) that passes channel i of each group on as it is."""
    if tensor.ndim not in (3, 4, 5):
        raise ArgumentError("[dirac_] Only tensors with 3, 4, or 5 dimensions are supported")
    outputs, inputs, *kernel = tensor.shape
    if outputs % groups:
        raise ArgumentError("[dirac_] dim 0 must be divisible by groups")
    per_group = outputs // groups
    channels = lazygrad.arange(outputs, device=tensor.device) % per_group
    hit = channels.reshape(-1, 1) == lazygrad.arange(inputs, device=tensor.device)
    for size in kernel:
        middle = lazygrad.arange(size, device=tensor.device) == size // 2
        hit = hit.unsqueeze(-1) & middle
    return _fill(tensor, hit.to(tensor.dtype))


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform with the variance gain**2 * 2 / (fan_in + fan_out) (Glorot and Bengio, 2010)."""
    std = gain * math.sqrt(2.0 / float(sum(_calculate_fan_in_and_fan_out(tensor))))
    bound = math.sqrt(3.0) * std
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Normal with the variance gain**2 * 2 / (fan_in + fan_out)."""
    return normal_(
        tensor, 0.0, gain * math.sqrt(2.0 / float(sum(_calculate_fan_in_and_fan_out(tensor)))), generator
    )


def kaiming_uniform_(tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu",
                     generator: Any = None) -> Tensor:
    """Uniform with the variance gain**2 / fan (He et al., 2015); `a` is leaky_relu's slope."""
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=2)
        return tensor
    std = calculate_gain(nonlinearity, a) / math.sqrt(_calculate_correct_fan(tensor, mode))
    bound = math.sqrt(3.0) * std
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu",
                    generator: Any = None) -> Tensor:
    """Normal with the variance gain**2 / fan."""
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=2)
        return tensor
    std = calculate_gain(nonlinearity, a) / math.sqrt(_calculate_correct_fan(tensor, mode))
    return normal_(tensor, 0.0, std, generator)


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Any = None) -> Tensor:
    """Rows (or columns, whichever are fewer) orthonormal, times gain; axes after the first count as one."""
    if tensor.ndim < 2:
        raise ArgumentError("[orthogonal_] Only tensors with 2 or more dimensions are supported")
    if tensor.numel() == 0:
        return tensor
    rows, columns = tensor.shape[0], tensor.numel() // tensor.shape[0]
    dtype = tensor.dtype if tensor.dtype.itemsize >= 4 else lazygrad.float32
    values = lazygrad.empty(rows, columns, dtype=dtype, device=tensor.device).normal_(
        0, 1, generator=generator
    )
    q, r = lazygrad.linalg.qr(values.t() if rows < columns else values)
    basis = q * r.diagonal().sign()
    basis = basis.t() if rows < columns else basis
    return _fill(tensor, (basis * gain).reshape(tensor.shape).to(tensor.dtype))


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Any = None) -> Tensor:
    """Normal, with a part `sparsity` of each column of a matrix set to zero."""
    if tensor.ndim != 2:
        raise ArgumentError("[sparse_] Only tensors with 2 dimensions are supported")
    rows, columns = tensor.shape
    zeros = math.ceil(sparsity * rows)
    normal_(tensor, 0, std, generator)
    orders = [lazygrad.randperm(rows, device=tensor.device) for _ in range(columns)]
    return _fill(tensor, tensor.detach().scatter(0, lazygrad.stack(orders, 1)[:zeros], 0.0))


check_all(globals())


def _deprecated(name: str, replacement: Callable) -> Callable:
    def old(*args: Any, **kwargs: Any) -> Tensor:
        warnings.warn(
            f"`nn.init.{name}` is now deprecated in favor of `nn.init.{name}_`.", FutureWarning, stacklevel=2
        )
        return replacement(*args, **kwargs)

    old.__name__ = old.__qualname__ = name
    old.__doc__ = f"The same as {name}_."
    return old


uniform = _deprecated("uniform", uniform_)
normal = _deprecated("normal", normal_)
constant = _deprecated("constant", constant_)
eye = _deprecated("eye", eye_)
dirac = _deprecated("dirac", dirac_)
xavier_uniform = _deprecated("xavier_uniform", xavier_uniform_)
xavier_normal = _deprecated("xavier_normal", xavier_normal_)
kaiming_uniform = _deprecated("kaiming_uniform", kaiming_uniform_)
kaiming_normal = _deprecated("kaiming_normal", kaiming_normal_)
orthogonal = _deprecated("orthogonal", orthogonal_)
sparse = _deprecated("sparse", sparse_)
