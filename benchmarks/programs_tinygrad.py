"""What the rows do, in tinygrad's words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinygrad import Tensor, TinyJit
from tinygrad.helpers import Context
from tinygrad.nn import BatchNorm, optim

from benchmarks import models
from benchmarks.programs_torch import Operators
from benchmarks.rows import Arrays

Call = Callable[[], Any]


def mlp(p: dict[str, Tensor], x: Tensor) -> Tensor:
    layers = len(p) // 2
    for layer in range(layers):
        x = x.linear(p[f"{2 * layer}.weight"].T, p[f"{2 * layer}.bias"])
        x = x.relu() if layer < layers - 1 else x
    return x


class Cnn:
    def __init__(self, p: dict[str, Tensor]) -> None:
        self.p, self.norms = p, [BatchNorm(32), BatchNorm(64)]
        for number, norm in enumerate(self.norms, 1):
            norm.weight, norm.bias = p[f"norm{number}.weight"], p[f"norm{number}.bias"]

    def __call__(self, x: Tensor) -> Tensor:
        p = self.p
        for norm, names in zip(self.norms, (("conv1", "conv2"), ("conv3", "conv4")), strict=True):
            for name in names:
                x = x.conv2d(p[f"{name}.weight"], p[f"{name}.bias"]).relu()
            x = norm(x).max_pool2d()
        return x.flatten(1).linear(p["head.weight"].T, p["head.bias"])


class TinygradPrograms(Operators):
    def linear_gelu(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return self.gelu(x @ weight + bias)

    def chain(self, x: Tensor, y: Tensor) -> Tensor:
        return ((x * y + 1).relu() * 0.5 + x.sigmoid() * y).tanh()

    def gelu(self, x: Tensor) -> Tensor:
        return 0.5 * x * (1 + (x * 0.5**0.5).erf())

    def softmax(self, x: Tensor) -> Tensor:
        return x.softmax(-1)

    def layer_norm(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return x.layernorm() * weight + bias

    def total(self, x: Tensor, axis: int | None = None) -> Tensor:
        return x.sum(axis)

    def convolution(self, x: Tensor, weight: Tensor, **options: int) -> Tensor:
        return x.conv2d(weight, **options)

    def attention(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return q.scaled_dot_product_attention(k, v, is_causal=True)

    def running_sum(self, x: Tensor) -> Tensor:
        return x.cumsum(1)

    def position_of_largest(self, x: Tensor) -> Tensor:
        return x.argmax(1)

    def embedding_loss(self, table: Tensor, head: Tensor, tokens: Tensor, targets: Tensor) -> Tensor:
        return (table[tokens] @ head).sparse_categorical_crossentropy(targets)

    def new_shape(self, arrays: Arrays) -> Call:
        sizes = iter(range(len(arrays["x"]), 0, -1))
        return lambda: Tensor(arrays["x"][: next(sizes)]) * 2 + 1

    def train_small_mlp(self, arrays: Arrays) -> Call:
        p = self._parameters(models.mlp_shapes(2, 16, 16, 1))
        return self._training(p, optim.SGD, 0.01, lambda x, y: (mlp(p, x) - y).square().mean(), arrays)

    def train_mlp(self, arrays: Arrays) -> Call:
        p = self._parameters(models.mlp_shapes(784, 512, 512, 10))
        return self._training(
            p, optim.Adam, 1e-3, lambda x, y: mlp(p, x).sparse_categorical_crossentropy(y), arrays
        )

    def train_cnn(self, arrays: Arrays) -> Call:
        p = self._parameters(models.CNN_SHAPES)
        model = Cnn(p)
        return self._training(
            p, optim.Adam, 1e-3, lambda x, y: model(x).sparse_categorical_crossentropy(y), arrays
        )

    def infer_mlp(self, arrays: Arrays) -> Call:
        p, x = self._parameters(models.mlp_shapes(784, 512, 512, 10)), Tensor(arrays["x"]).realize()
        infer = TinyJit(lambda x: mlp(p, x).realize())
        return lambda: infer(x)

    def infer_cnn(self, arrays: Arrays) -> Call:
        model, x = Cnn(self._parameters(models.CNN_SHAPES)), Tensor(arrays["x"]).realize()
        infer = TinyJit(lambda x: model(x).realize())
        return lambda: infer(x)

    def _parameters(self, shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
        return {name: Tensor(value).realize() for name, value in models.initial_values(shapes).items()}

    def _training(
        self, p: dict[str, Tensor], kind: Any, rate: float, loss_of: Callable[..., Tensor], arrays: Arrays
    ) -> Call:
        x, y = Tensor(arrays["x"]).realize(), Tensor(arrays["y"]).realize()
        optimizer = kind(list(p.values()), lr=rate)

        @TinyJit
        def step(x: Tensor, y: Tensor) -> Tensor:
            with Context(TRAINING=1):
                optimizer.zero_grad()
                loss = loss_of(x, y).backward()
                return loss.realize(*optimizer.schedule_step())

        # the replayed step writes its loss into the same buffer each time
        return lambda: step(x, y).clone()
