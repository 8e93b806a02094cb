"""What the rows do, in PyTorch's words: for PyTorch, torch.compile, lazygrad and the float64 reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks import models
from benchmarks.rows import Arrays

Call = Callable[[], Any]


class Operators:
    """Programs that Python's operators spell: the same text for every framework."""

    def matmul(self, a: Any, b: Any) -> Any:
        return a @ b

    def matmul_first_transposed(self, a: Any, b: Any) -> Any:
        return a.T @ b

    def matmul_second_transposed(self, a: Any, b: Any) -> Any:
        return a @ b.T

    def transposed_sum(self, x: Any, y: Any) -> Any:
        return x.T + y

    def add_one(self, x: Any) -> Any:
        return x + 1


class TorchPrograms(Operators):
    """`torch`: the module; `tensor`: ndarray to tensor; `compiled`: prepares a function for many calls,
    `compiled_whole` one that differentiates and steps an optimizer (lazygrad.jit does)."""

    def __init__(self, torch: Any, tensor: Callable[..., Any], compiled: Callable[[Any], Any],
                 compiled_whole: Callable[[Any], Any], dtype: Any) -> None:
        self.torch, self.tensor, self.dtype = torch, tensor, dtype
        self.compiled, self.compiled_whole = compiled, compiled_whole
        self.functional = torch.nn.functional

    # ---- functions of their inputs

    def linear_gelu(self, x: Any, weight: Any, bias: Any) -> Any:
        return self.functional.gelu(x @ weight + bias)

    def chain(self, x: Any, y: Any) -> Any:
        return ((x * y + 1).relu() * 0.5 + x.sigmoid() * y).tanh()

    def gelu(self, x: Any) -> Any:
        return self.functional.gelu(x)

    def softmax(self, x: Any) -> Any:
        return x.softmax(-1)

    def layer_norm(self, x: Any, weight: Any, bias: Any) -> Any:
        return self.functional.layer_norm(x, x.shape[-1:], weight, bias)

    def total(self, x: Any, axis: int | None = None) -> Any:
        return x.sum() if axis is None else x.sum(axis)

    def convolution(self, x: Any, weight: Any, **options: int) -> Any:
        return self.functional.conv2d(x, weight, **options)

    def attention(self, q: Any, k: Any, v: Any) -> Any:
        return self.functional.scaled_dot_product_attention(q, k, v, is_causal=True)

    def running_sum(self, x: Any) -> Any:
        return x.cumsum(1)

    def position_of_largest(self, x: Any) -> Any:
        return x.argmax(1)

    def embedding_loss(self, table: Any, head: Any, tokens: Any, targets: Any) -> Any:
        return self.functional.cross_entropy(self.functional.embedding(tokens, table) @ head, targets)

    # ---- programs with a state: from arrays to a call

    def train_small_mlp(self, arrays: Arrays) -> Call:
        model = self._model(models.mlp(self.torch, 2, 16, 16, 1))
        optimizer = self.torch.optim.SGD(model.parameters(), lr=0.01)
        return self._training(model, optimizer, self.functional.mse_loss, arrays)

    def train_mlp(self, arrays: Arrays) -> Call:
        model = self._model(models.mlp(self.torch, 784, 512, 512, 10))
        optimizer = self.torch.optim.Adam(model.parameters(), lr=1e-3)
        return self._training(model, optimizer, self.functional.cross_entropy, arrays)

    def train_cnn(self, arrays: Arrays) -> Call:
        model = self._model(models.cnn(self.torch))
        optimizer = self.torch.optim.Adam(model.parameters(), lr=1e-3)
        return self._training(model, optimizer, self.functional.cross_entropy, arrays)

    def train_gpt(self, arrays: Arrays) -> Call:
        model = self._model(models.gpt(self.torch))
        optimizer = self.torch.optim.AdamW(model.parameters(), lr=1e-3)

        def loss_of(logits: Any, targets: Any) -> Any:
            return self.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())

        return self._training(model, optimizer, loss_of, arrays)

    def train_resnet(self, arrays: Arrays) -> Call:
        model = self._model(models.resnet18(self.torch))
        optimizer = self.torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        return self._training(model, optimizer, self.functional.cross_entropy, arrays)

    def infer_mlp(self, arrays: Arrays) -> Call:
        return self._inference(models.mlp(self.torch, 784, 512, 512, 10), arrays)

    def infer_cnn(self, arrays: Arrays) -> Call:
        return self._inference(models.cnn(self.torch), arrays)

    def infer_gpt(self, arrays: Arrays) -> Call:
        return self._inference(models.gpt(self.torch), arrays)

    def infer_resnet(self, arrays: Arrays) -> Call:
        return self._inference(models.resnet18(self.torch), arrays)

    def new_shape(self, arrays: Arrays) -> Call:
        sizes = iter(range(len(arrays["x"]), 0, -1))
        work = self.compiled(lambda x: x * 2 + 1)
        return lambda: work(self.tensor(arrays["x"][: next(sizes)]))

    # ---- parts

    def _model(self, model: Any) -> Any:
        """The model with the parameters that all frameworks start from."""
        found = {name: tuple(p.shape) for name, p in model.named_parameters()}
        values = models.initial_values(found)
        with self.torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(self.tensor(values[name]))
        return model.to(self.dtype)

    def _training(self, model: Any, optimizer: Any, loss_of: Callable[..., Any], arrays: Arrays) -> Call:
        x, y = self.tensor(arrays["x"]), self.tensor(arrays["y"])
        forward = self.compiled(lambda x, y: loss_of(model(x), y))

        def step() -> Any:
            optimizer.zero_grad()
            loss = forward(x, y)
            loss.backward()
            optimizer.step()
            return loss.detach()

        return self.compiled_whole(step)

    def _inference(self, model: Any, arrays: Arrays) -> Call:
        model = self._model(model).eval()
        x = self.tensor(arrays["x"])
        forward = self.compiled(model)

        def infer() -> Any:
            with self.torch.no_grad():
                return forward(x)

        return infer
