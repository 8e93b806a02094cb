"""Activation functions. Every one takes a floating-point tensor of any shape and returns that shape and
dtype.

`inplace=True` writes the result into the input and returns the input.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import lazygrad
from lazygrad import ops
from lazygrad.errors import ArgumentError, DTypeError, ShapeError
from lazygrad.nn.functional.norm import wide
from lazygrad.tensors import Tensor
from lazygrad.tensors.arithmetic import store
from lazygrad.tensors.core import apply, method
from lazygrad.tensors.grad_fn import as_operation
from lazygrad.tensors.promotion import check_same_type
from lazygrad.tensors.random.creators import slopes

_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946


def _finish(name: str, input: Tensor, result: Tensor, inplace: bool = False, weight: Any = None) -> Tensor:
    """The result as made by one operation, in the input's float type, and in the input where it is wanted
    there."""
    result = result.to(input.dtype) if input.is_floating_point() else result
    if not inplace:
        return as_operation(result, name, input, weight)
    return store(name, input, as_operation(result, f"{name}_", input))


def _derived_from(name: str, value: Tensor, other: Tensor) -> Tensor:
    """The numbers of `value` with the derivative of `other`."""
    return apply(name, ops.surrogate, value, other)


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0); the derivative at 0 is 0."""
    return _finish("relu", input, input.relu(), True) if inplace else input.relu()


def relu_(input: Tensor) -> Tensor:
    """relu in place."""
    return relu(input, inplace=True)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """x limited to [min_val, max_val]; the derivative at and outside the limits, and at NaN, is 0."""
    if input.dtype.kind == "bool":
        raise DTypeError("[hardtanh] Bool inputs not supported for hardtanh: convert it with .float()")
    if min_val > max_val:
        raise ArgumentError(f"[hardtanh] min_val cannot be greater than max_val, got {min_val} and {max_val}")
    if input.dtype.is_integer:
        if input.dtype.kind == "uint" and min_val < 0:
            raise DTypeError("[hardtanh] cannot do hardtanh on an unsigned type with negative limits")
        return _finish("hardtanh", input, input.clamp(int(min_val), int(max_val)), inplace)
    # not clamp, whose derivative at the limits is 1
    above = lazygrad.where(input <= min_val, min_val, input)
    value = lazygrad.where(input >= max_val, max_val, above)
    inside = lazygrad.where((input > min_val) & (input < max_val), input, 0.0)
    return _finish("hardtanh", input, _derived_from("hardtanh", value, inside), inplace)


def hardtanh_(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """hardtanh in place."""
    return hardtanh(input, min_val, max_val, inplace=True)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """x limited to [0, 6]."""
    return hardtanh(input, 0.0, 6.0, inplace)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """(x + 3) / 6 limited to [0, 1]."""
    return _finish("hardsigmoid", input, hardtanh(wide(input) + 3.0, 0.0, 6.0) / 6.0, inplace)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x * hardsigmoid(x)."""
    x = wide(input)
    value = x * hardtanh(x + 3.0, 0.0, 6.0) / 6.0
    # up to -3 it is flat: no cotangent passes, not even NaN
    flat_below = lazygrad.where(x <= -3.0, 0.0, value)
    return _finish("hardswish", input, _derived_from("hardswish", value, flat_below), inplace)


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + exp(-x))."""
    return input.sigmoid()


def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return input.tanh()


def _above(input: Tensor, bound: float, value: float, inplace: bool) -> Tensor:
    if input.dtype.is_integer:
        bound, value = int(bound), int(value)
    return _finish("threshold", input, lazygrad.where(input <= bound, value, input), inplace)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x where it is above `threshold`, else `value`; of integers, both without their fractions."""
    return _above(input, threshold, value, inplace)


def threshold_(input: Tensor, threshold: float, value: float) -> Tensor:
    """threshold in place."""
    return _above(input, threshold, value, True)


def _sloped(x: Tensor, slope: Any) -> Tensor:
    return lazygrad.where(x > 0, x, x * slope)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where positive, else negative_slope * x."""
    return _finish("leaky_relu", input, _sloped(input, negative_slope), inplace)


def leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """leaky_relu in place."""
    return leaky_relu(input, negative_slope, inplace=True)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x where positive, else weight * x; weight has one value, or one for each channel (axis 1)."""
    check_same_type("prelu", input=input, weight=weight)
    channels = input.shape[1] if input.ndim > 1 else 1
    if weight.ndim > 1:
        raise ShapeError(
            f"[prelu] Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight.ndim}"
        )
    if weight.numel() not in (1, channels):
        raise ShapeError(
            f"[prelu] {weight.numel()} weights for {channels} channels of input {tuple(input.shape)}: "
            "give one weight or one for each channel"
        )
    slope = weight.reshape((-1, *(1,) * (input.ndim - 2)) if input.ndim > 1 else (1,) * input.ndim)
    # zeros in place of positive inputs, so that an infinite one does not make the weight's gradient NaN
    low = lazygrad.where(input > 0, 0.0, input)
    return _finish("prelu", input, lazygrad.where(input > 0, input, slope * low), weight=weight)


def rrelu(input: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False,
          inplace: bool = False) -> Tensor:
    """leaky_relu with a slope drawn from [lower, upper] for each element, or the middle one outside
    training."""
    if lower > upper:
        raise ArgumentError(
            f"[rrelu] Lower bound should be less than or equal to the upper bound, got {lower} and {upper}"
        )
    if not training:
        return _finish("rrelu", input, _sloped(input, (lower + upper) / 2), inplace)
    return _finish("rrelu", input, _sloped(input, slopes(input, lower, upper)), inplace)


def rrelu_(input: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False) -> Tensor:
    """rrelu in place."""
    return rrelu(input, lower, upper, training, inplace=True)


def _rise(name: str, x: Tensor) -> Tensor:
    """exp(x) - 1 where x is not positive, else 0, with the derivative exp(x): 1 + (exp(x) - 1) has lost its
    digits where x is far below 0."""
    # zeros keep exp, and with it the gradient, finite on the branch that is not taken
    low = lazygrad.where(x > 0, 0.0, x)
    return _derived_from(name, low.expm1(), low.exp())


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where positive, else alpha * (exp(x) - 1)."""
    x = wide(input)
    return _finish("elu", input, lazygrad.where(x > 0, x, _rise("elu", x) * alpha), inplace)


def elu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """elu in place."""
    return elu(input, alpha, inplace=True)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """The self-normalizing ELU: scale * elu(x, alpha) with fixed numbers."""
    x = wide(input)
    negative = _rise("selu", x) * (_SELU_SCALE * _SELU_ALPHA)
    return _finish("selu", input, lazygrad.where(x > 0, x * _SELU_SCALE, negative), inplace)


def selu_(input: Tensor) -> Tensor:
    """selu in place."""
    return selu(input, inplace=True)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where positive, else alpha * (exp(x / alpha) - 1)."""
    if alpha == 0:
        raise ShapeError("[celu] ZeroDivisionError: alpha cannot be 0 for CELU")
    # the sign of x, not of x / alpha, tells the branch
    x = wide(input)
    negative = _rise("celu", lazygrad.where(x > 0, 0.0, x) * (1.0 / alpha)) * alpha
    return _finish("celu", input, lazygrad.where(x > 0, x, negative), inplace)


def celu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """celu in place."""
    return celu(input, alpha, inplace=True)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x times the normal distribution's integral up to x; `approximate="tanh"` uses tanh in place of erf."""
    x = wide(input)
    if approximate == "none":
        return _finish("gelu", input, x * 0.5 * (1.0 + (x * math.sqrt(0.5)).erf()))
    if approximate == "tanh":
        inner = math.sqrt(2.0 / math.pi) * (x + 0.044715 * (x * x * x))
        return _finish("gelu", input, 0.5 * x * (1.0 + inner.tanh()))
    raise ShapeError(f"[gelu] approximate argument must be either none or tanh, got {approximate!r}")


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x * sigmoid(x)."""
    return _finish("silu", input, wide(input) * wide(input).sigmoid(), inplace)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta * x)) / beta; x itself where beta * x is above `threshold`."""
    x = wide(input)
    scaled = x * beta
    positive = scaled > 0  # the exponential of -|x| alone, which does not overflow
    rest = lazygrad.where(positive, -scaled, scaled).exp().log1p()
    curved = (lazygrad.where(positive, scaled, 0.0) + rest) / beta
    return _finish("softplus", input, lazygrad.where(scaled > threshold, x, curved))


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x * tanh(softplus(x))."""
    return _finish("mish", input, wide(input) * softplus(wide(input)).tanh(), inplace)


def logsigmoid(input: Tensor) -> Tensor:
    """log(sigmoid(x)), without overflow for any x."""
    x = wide(input)
    negative = x <= 0  # not abs and minimum: at 0 they have a derivative of their own choice
    result = lazygrad.where(negative, x, 0.0) - lazygrad.where(negative, x, -x).exp().log1p()
    return _finish("LogSigmoidBackward0", input, result)


def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|)."""
    return input / (input.abs() + 1)


def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh(x)."""
    return input - input.tanh()


def _beyond(input: Tensor, lambd: float) -> Tensor:
    """x where |x| > lambd, else 0, which has no derivative at NaN either."""
    return lazygrad.where((input > lambd) | (input < -lambd), input, 0.0)


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x, but 0 where |x| <= lambd."""
    value = lazygrad.where(input.abs() <= lambd, 0.0, input)
    return _derived_from("hardshrink", value, _beyond(input, lambd))


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x moved towards 0 by lambd, 0 where |x| <= lambd."""
    if lambd < 0:
        raise ShapeError(f"[softshrink] lambda must be greater or equal to 0, but found to be {lambd}")
    moved = lazygrad.where(input > lambd, input - lambd, input + lambd)
    value = lazygrad.where(input.abs() <= lambd, 0.0, moved)
    return _derived_from("softshrink", value, _beyond(input, lambd))


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """The first half along `dim` times the sigmoid of the second; the size of `dim` must be even."""
    if input.ndim == 0:
        raise ShapeError("[glu] glu does not support 0-dimensional tensors")
    if input.shape[dim] % 2:
        raise ShapeError(
            f"[glu] Halving dimension must be even, but dimension {dim} is size {input.shape[dim]}"
        )
    first, second = wide(input).chunk(2, dim)
    return _finish("glu", input, first * second.sigmoid())


def _implicit_dim(name: str, ndim: int) -> int:
    warnings.warn(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an "
        "argument.",
        stacklevel=3,
    )
    return 0 if ndim in (0, 1, 3) else 1


def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """exp(x) divided by its sum along `dim`; the input is cast to `dtype` first."""
    dim = _implicit_dim("softmax", input.ndim) if dim is None else dim
    return input.softmax(dim) if dtype is None else input.softmax(dim, dtype=dtype)


def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """softmax(-x)."""
    dim = _implicit_dim("softmin", input.ndim) if dim is None else dim
    return softmax(-input, dim, dtype=dtype)


def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """The logarithm of softmax, without overflow."""
    dim = _implicit_dim("log_softmax", input.ndim) if dim is None else dim
    return input.log_softmax(dim) if dtype is None else input.log_softmax(dim, dtype=dtype)


def softmax2d(input: Tensor) -> Tensor:
    """softmax over the channels of a (N, C, H, W) or (C, H, W) tensor."""
    if input.ndim not in (3, 4):
        raise ArgumentError(f"[softmax2d] expected input to be 3D or 4D, got {input.ndim}D instead")
    return softmax(input, -3)


def gumbel_softmax(
    logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """A sample of the Gumbel-softmax distribution; with `hard`, one-hot with the gradient of the soft
    sample."""
    exponential = lazygrad.empty_like(logits.detach()).exponential_()
    # the smallest normal number of every float type but float16 is far smaller
    gumbels = -exponential.clamp(min=6.2e-05 if logits.dtype == lazygrad.float16 else 1.2e-38).log()
    soft = ((logits + gumbels) / tau).softmax(dim)
    if not hard:
        return soft
    index = soft.argmax(dim, keepdim=True)
    one = lazygrad.zeros_like(logits).detach().scatter(dim, index, 1.0)
    return one - soft.detach() + soft


method("hardshrink")(hardshrink)
method("prelu")(prelu)
