"""Activation modules: one row for each function of `functional.activation`."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import lazygrad
from lazygrad.errors import ArgumentError
from lazygrad.nn import functional as F
from lazygrad.nn.function_module import REQUIRED, FunctionModule
from lazygrad.nn.function_module import define as _define
from lazygrad.nn.functional.multi_head import ExpectationError
from lazygrad.nn.module import Module
from lazygrad.nn.parameter import Parameter
from lazygrad.tensors import Tensor

_row = partial(_define, module=__name__)

ReLU = _row("ReLU", F.relu, "max(x, 0).", inplace=False)


class _Limited(FunctionModule):
    """`min_value` and `max_value` are older names of the limits."""

    def _take(self, settings: dict[str, Any]) -> None:
        for old, new in (("min_value", "min_val"), ("max_value", "max_val")):
            value = settings.pop(old)
            if value is not None:
                warnings.warn(
                    f"keyword argument `{old}` is deprecated and rename to `{new}`",
                    FutureWarning,
                    stacklevel=4,
                )
                settings[new] = value
        if settings["max_val"] <= settings["min_val"]:
            raise ExpectationError(
                "[Hardtanh] max_val must be larger than min_val: "
                f"{settings['max_val']} and {settings['min_val']}"
            )
        super()._take(settings)


class _UpToSix(FunctionModule):
    min_val, max_val = 0.0, 6.0


Hardtanh = _row(
    "Hardtanh",
    F.hardtanh,
    "x limited to [min_val, max_val].",
    base=_Limited,
    shown=("min_val", "max_val"),
    passed=("min_val", "max_val", "inplace"),
    min_val=-1.0,
    max_val=1.0,
    inplace=False,
    min_value=None,
    max_value=None,
)
ReLU6 = _row("ReLU6", F.relu6, "x limited to [0, 6].", base=_UpToSix, inplace=False)
Sigmoid = _row("Sigmoid", F.sigmoid, "1 / (1 + exp(-x)).")
Tanh = _row("Tanh", F.tanh, "The hyperbolic tangent.")


class _Hard(FunctionModule):
    """Prints without settings, as PyTorch's."""

    def extra_repr(self) -> str:
        return ""


_hard = partial(_row, base=_Hard, inplace=False)
Hardsigmoid = _hard("Hardsigmoid", F.hardsigmoid, "(x + 3) / 6 limited to [0, 1].")
Hardswish = _hard("Hardswish", F.hardswish, "x * hardsigmoid(x).")
SiLU = _row("SiLU", F.silu, "x * sigmoid(x).", inplace=False)
Mish = _row("Mish", F.mish, "x * tanh(softplus(x)).", inplace=False)
ELU = _row(
    "ELU", F.elu, "x, or alpha * (exp(x) - 1) where negative.", shown=("alpha",), alpha=1.0, inplace=False
)
CELU = _row(
    "CELU",
    F.celu,
    "x, or alpha * (exp(x / alpha) - 1) where negative.",
    shown=("alpha",),
    alpha=1.0,
    inplace=False,
)
SELU = _row("SELU", F.selu, "The self-normalizing ELU.", inplace=False)
GELU = _row(
    "GELU",
    F.gelu,
    "x times the normal distribution's integral up to x.",
    shown=("approximate",),
    approximate="none",
)
LeakyReLU = _row(
    "LeakyReLU",
    F.leaky_relu,
    "x, or negative_slope * x where negative.",
    shown=("negative_slope",),
    negative_slope=0.01,
    inplace=False,
)
LogSigmoid = _row("LogSigmoid", F.logsigmoid, "log(sigmoid(x)).")
Softplus = _row(
    "Softplus",
    F.softplus,
    "log(1 + exp(beta * x)) / beta.",
    shown=("beta", "threshold"),
    beta=1.0,
    threshold=20.0,
)
Softsign = _row("Softsign", F.softsign, "x / (1 + |x|).")
Tanhshrink = _row("Tanhshrink", F.tanhshrink, "x - tanh(x).")
Hardshrink = _row("Hardshrink", F.hardshrink, "x, but 0 where |x| <= lambd.", shown=("lambd",), lambd=0.5)
Softshrink = _row("Softshrink", F.softshrink, "x moved towards 0 by lambd.", shown=("lambd",), lambd=0.5)
Threshold = _row(
    "Threshold",
    F.threshold,
    "x where above threshold, else value.",
    shown=("threshold", "value"),
    threshold=REQUIRED,
    value=REQUIRED,
    inplace=False,
)
GLU = _row("GLU", F.glu, "The first half along dim times the sigmoid of the second.", shown=("dim",), dim=-1)
Softmax = _row("Softmax", F.softmax, "exp(x) divided by its sum along dim.", shown=("dim",), dim=None)
Softmin = _row("Softmin", F.softmin, "Softmax of -x.", shown=("dim",), dim=None)
LogSoftmax = _row("LogSoftmax", F.log_softmax, "The logarithm of Softmax.", shown=("dim",), dim=None)
Softmax2d = _row("Softmax2d", F.softmax2d, "Softmax over the channels of (N, C, H, W) or (C, H, W).")


class _RandomSlope(FunctionModule):
    def _take(self, settings: dict[str, Any]) -> None:
        super()._take(settings)
        if self.lower > self.upper:
            raise ArgumentError(f"[RReLU] lower {self.lower} is greater than upper {self.upper}")

    def forward(self, input: Tensor) -> Tensor:
        """The input with random slopes in training, the middle slope else."""
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)


RReLU = _row(
    "RReLU",
    F.rrelu,
    "LeakyReLU with random slopes in training.",
    base=_RandomSlope,
    shown=("lower", "upper"),
    lower=1.0 / 8,
    upper=1.0 / 3,
    inplace=False,
)


class PReLU(Module):
    """x, or weight * x where negative; the weight is learned, one for all or one for each channel."""

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.num_parameters, self.init = num_parameters, init
        self.weight = Parameter(
            lazygrad.full(
                (num_parameters,), init, device=device, dtype=lazygrad.float32 if dtype is None else dtype
            )
        )

    def reset_parameters(self) -> None:
        """All slopes as given at first."""
        with lazygrad.no_grad():
            self.weight.fill_(self.init)

    def forward(self, input: Tensor) -> Tensor:
        """The activated input."""
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"
