"""What the rows do, in JAX's words."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import models
from benchmarks.programs_torch import Operators
from benchmarks.rows import Arrays

Call = Callable[[], Any]
LAYOUT = ("NCHW", "OIHW", "NCHW")


def cross_entropy(logits: Any, targets: Any) -> Any:
    picked = jnp.take_along_axis(jax.nn.log_softmax(logits), targets[:, None], 1)
    return -picked.mean()


def mlp(p: dict[str, Any], x: Any) -> Any:
    layers = len(p) // 2
    for layer in range(layers):
        x = x @ p[f"{2 * layer}.weight"].T + p[f"{2 * layer}.bias"]
        x = jax.nn.relu(x) if layer < layers - 1 else x
    return x


def pool(x: Any) -> Any:
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")


def conv(p: dict[str, Any], name: str, x: Any) -> Any:
    y = jax.lax.conv_general_dilated(x, p[f"{name}.weight"], (1, 1), "VALID", dimension_numbers=LAYOUT)
    return y + p[f"{name}.bias"][:, None, None]


def cnn(p: dict[str, Any], running: dict[str, Any], x: Any, training: bool) -> tuple[Any, dict[str, Any]]:
    """Logits, and the running means and variances after this batch."""
    after = {}
    for number, (first, second) in enumerate((("conv1", "conv2"), ("conv3", "conv4")), 1):
        x = jax.nn.relu(conv(p, second, jax.nn.relu(conv(p, first, x))))
        mean, var = running[f"mean{number}"], running[f"var{number}"]
        if training:
            count = x.size // x.shape[1]
            mean_now, var_now = x.mean((0, 2, 3)), x.var((0, 2, 3))
            after[f"mean{number}"] = 0.9 * mean + 0.1 * mean_now
            after[f"var{number}"] = 0.9 * var + 0.1 * var_now * count / (count - 1)
            mean, var = mean_now, var_now
        scale = p[f"norm{number}.weight"] * jax.lax.rsqrt(var + 1e-5)
        x = pool((x - mean[:, None, None]) * scale[:, None, None] + p[f"norm{number}.bias"][:, None, None])
    return x.reshape(x.shape[0], -1) @ p["head.weight"].T + p["head.bias"], after


def first_statistics() -> dict[str, Any]:
    shapes = {"mean1": 32, "var1": 32, "mean2": 64, "var2": 64}
    return {name: jnp.full(size, float(name.startswith("var")), jnp.float32) for name, size in shapes.items()}


class JaxPrograms(Operators):
    def linear_gelu(self, x: Any, weight: Any, bias: Any) -> Any:
        return jax.nn.gelu(x @ weight + bias, approximate=False)

    def chain(self, x: Any, y: Any) -> Any:
        return jnp.tanh(jax.nn.relu(x * y + 1) * 0.5 + jax.nn.sigmoid(x) * y)

    def gelu(self, x: Any) -> Any:
        return jax.nn.gelu(x, approximate=False)

    def softmax(self, x: Any) -> Any:
        return jax.nn.softmax(x, -1)

    def layer_norm(self, x: Any, weight: Any, bias: Any) -> Any:
        centred = x - x.mean(-1, keepdims=True)
        return centred * jax.lax.rsqrt((centred * centred).mean(-1, keepdims=True) + 1e-5) * weight + bias

    def total(self, x: Any, axis: int | None = None) -> Any:
        return x.sum(axis)

    def convolution(self, x: Any, weight: Any, padding: int = 0, stride: int = 1, groups: int = 1) -> Any:
        return jax.lax.conv_general_dilated(
            x, weight, (stride, stride), [(padding, padding)] * 2, dimension_numbers=LAYOUT,
            feature_group_count=groups,
        )  # fmt: skip

    def attention(self, q: Any, k: Any, v: Any) -> Any:
        n = q.shape[-2]
        scores = jnp.einsum("bhqd,bhkd->bhqk", q, k) / q.shape[-1] ** 0.5
        scores = jnp.where(jnp.tril(jnp.ones((n, n), bool)), scores, -jnp.inf)
        return jnp.einsum("bhqk,bhkd->bhqd", jax.nn.softmax(scores, -1), v)

    def running_sum(self, x: Any) -> Any:
        return jnp.cumsum(x, 1)

    def position_of_largest(self, x: Any) -> Any:
        return jnp.argmax(x, 1)

    def embedding_loss(self, table: Any, head: Any, tokens: Any, targets: Any) -> Any:
        return cross_entropy(table[tokens] @ head, targets)

    def new_shape(self, arrays: Arrays) -> Call:
        sizes = iter(range(len(arrays["x"]), 0, -1))
        work = jax.jit(lambda x: x * 2 + 1)
        return lambda: work(jnp.asarray(arrays["x"][: next(sizes)]))

    def train_small_mlp(self, arrays: Arrays) -> Call:
        p = self._parameters(models.mlp_shapes(2, 16, 16, 1))
        x, y = jnp.asarray(arrays["x"]), jnp.asarray(arrays["y"])

        @partial(jax.jit, donate_argnums=0)
        def sgd(p: Any) -> Any:
            loss, g = jax.value_and_grad(lambda p: ((mlp(p, x) - y) ** 2).mean())(p)
            return jax.tree.map(lambda value, g: value - 0.01 * g, p, g), loss

        def step() -> Any:
            nonlocal p
            p, loss = sgd(p)
            return loss

        return step

    def train_mlp(self, arrays: Arrays) -> Call:
        def loss_of(p: Any, extra: Any, x: Any, y: Any) -> Any:
            return cross_entropy(mlp(p, x), y), extra

        return self._adam(self._parameters(models.mlp_shapes(784, 512, 512, 10)), {}, loss_of, arrays)

    def train_cnn(self, arrays: Arrays) -> Call:
        def loss_of(p: Any, running: Any, x: Any, y: Any) -> Any:
            logits, after = cnn(p, running, x, True)
            return cross_entropy(logits, y), after

        return self._adam(self._parameters(models.CNN_SHAPES), first_statistics(), loss_of, arrays)

    def infer_mlp(self, arrays: Arrays) -> Call:
        p, x = self._parameters(models.mlp_shapes(784, 512, 512, 10)), jnp.asarray(arrays["x"])
        return partial(jax.jit(mlp), p, x)

    def infer_cnn(self, arrays: Arrays) -> Call:
        p, x = self._parameters(models.CNN_SHAPES), jnp.asarray(arrays["x"])
        return partial(jax.jit(lambda p, running, x: cnn(p, running, x, False)[0]), p, first_statistics(), x)

    def _parameters(self, shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
        return {name: jnp.asarray(value) for name, value in models.initial_values(shapes).items()}

    def _adam(self, p: Any, extra: Any, loss_of: Callable[..., Any], arrays: Arrays) -> Call:
        """Adam with PyTorch's defaults; `extra` is what the loss passes on from step to step."""
        x, y = jnp.asarray(arrays["x"]), jnp.asarray(arrays["y"])

        @partial(jax.jit, donate_argnums=0)
        def adam(state: Any, x: Any, y: Any) -> Any:
            p, m, v, count, extra = state
            (loss, extra), g = jax.value_and_grad(loss_of, has_aux=True)(p, extra, x, y)
            count = count + 1
            m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
            v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)

            def moved(value: Any, m: Any, v: Any) -> Any:
                return value - 1e-3 * (m / (1 - 0.9**count)) / (jnp.sqrt(v / (1 - 0.999**count)) + 1e-8)

            return (jax.tree.map(moved, p, m, v), m, v, count, extra), loss

        zeros = {name: jnp.zeros_like(value) for name, value in p.items()}
        state = (p, zeros, dict(jax.tree.map(jnp.copy, zeros)), jnp.asarray(np.float32(0)), extra)

        def step() -> Any:
            nonlocal state
            state, loss = adam(state, x, y)
            return loss

        return step
