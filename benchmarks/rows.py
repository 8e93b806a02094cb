"""The table of what is measured: one row for each piece of work, the same for every framework.

A row names a method of the program classes (programs_torch, programs_jax, programs_tinygrad) and says how its
inputs are made. A framework whose class has no such method is not compared in that row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]
SEED = 7


@dataclass(frozen=True)
class Row:
    """One piece of work.

    `wrt`: the inputs to differentiate; the work is then forward and backward, from the cotangent `g`.
    `stateful`: the program advances its own state (parameters) with each call, and its losses are compared.
    `process`: "warm" times repeated calls in one process; "cold" and "second" time the first call of a new
    process, without and with what an earlier process left in the caches on disk.
    `tolerance`: largest |x - reference|, as a part of |reference| + its root mean square.
    """

    name: str
    group: str  # forward, backward, training, inference or start-up
    program: str
    inputs: Callable[[np.random.Generator], Arrays]
    options: Mapping[str, Any] = field(default_factory=dict)
    wrt: tuple[str, ...] = ()
    stateful: bool = False
    process: str = "warm"
    tolerance: float = 1e-4

    def make_inputs(self) -> Arrays:
        """The same arrays in every process."""
        return self.inputs(np.random.default_rng(SEED))


def normal(**shapes: tuple[int, ...]) -> Callable[[np.random.Generator], Arrays]:
    """Inputs of normally distributed float32."""
    return lambda rng: {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}


def labelled(classes: int, count: int, **shapes: tuple[int, ...]) -> Callable[[np.random.Generator], Arrays]:
    """Normal inputs, and `y`: the class of each of `count` examples."""
    return lambda rng: normal(**shapes)(rng) | {"y": rng.integers(0, classes, count)}


def tokens(vocabulary: int, *shape: int) -> Callable[[np.random.Generator], Arrays]:
    """Tokens `x`, and `y`: those that follow them."""

    def make(rng: np.random.Generator) -> Arrays:
        text = rng.integers(0, vocabulary, (*shape[:-1], shape[-1] + 1))
        return {"x": text[..., :-1].copy(), "y": text[..., 1:].copy()}

    return make


def embedding_inputs(count: int, vocabulary: int, width: int) -> Callable[[np.random.Generator], Arrays]:
    def make(rng: np.random.Generator) -> Arrays:
        drawn = normal(table=(vocabulary, width), head=(width, vocabulary))(rng)
        drawn["head"] /= np.float32(width**0.5)
        pairs = {name: rng.integers(0, vocabulary, count) for name in ("tokens", "targets")}
        return drawn | pairs | {"g": np.ones((), np.float32)}

    return make


def matmul(m: int, n: int, k: int) -> Callable[[np.random.Generator], Arrays]:
    return normal(a=(m, k), b=(k, n))


CONVOLUTIONS = {
    "conv 3x3 8x64x56x56 to 64": ((8, 64, 56, 56), (64, 64, 3, 3), (8, 64, 56, 56), {"padding": 1}),
    "conv 7x7 stride 2 8x3x224x224 to 64": (
        (8, 3, 224, 224),
        (64, 3, 7, 7),
        (8, 64, 112, 112),
        {"padding": 3, "stride": 2},
    ),
    "depthwise 3x3 8x128x56x56": (
        (8, 128, 56, 56),
        (128, 1, 3, 3),
        (8, 128, 56, 56),
        {"padding": 1, "groups": 128},
    ),
}
ATTENTIONS = {
    "causal attention 4x8x512x64": (4, 8, 512, 64),
    "causal attention 1x8x2048x64": (1, 8, 2048, 64),
}
NORM_SHAPES = {"x": (4096, 1024), "weight": (1024,), "bias": (1024,)}
MLP = labelled(10, 128, x=(128, 784))
DIGITS = labelled(10, 128, x=(128, 1, 28, 28))
PICTURES = labelled(10, 32, x=(32, 3, 32, 32))
TEXT = tokens(256, 8, 128)

FORWARD = (
    *(Row(f"matmul {n}", "forward", "matmul", matmul(n, n, n)) for n in (64, 256, 512, 1024, 2048)),
    Row("matmul 1000x777x333", "forward", "matmul", matmul(1000, 777, 333)),
    Row("a.T @ b 1024", "forward", "matmul_first_transposed", matmul(1024, 1024, 1024)),
    Row("a @ b.T 1024", "forward", "matmul_second_transposed", matmul(1024, 1024, 1024)),
    Row("1x4096 @ 4096x4096", "forward", "matmul", matmul(1, 4096, 4096)),
    Row("32x4096 @ 4096x4096", "forward", "matmul", matmul(32, 4096, 4096)),
    Row("64 batches 128x64x128", "forward", "matmul", normal(a=(64, 128, 64), b=(64, 64, 128))),
    Row(
        "gelu(512x768 @ 768x3072 + b)",
        "forward",
        "linear_gelu",
        normal(x=(512, 768), weight=(768, 3072), bias=(3072,)),
    ),
    Row("elementwise chain 16M", "forward", "chain", normal(x=(1 << 24,), y=(1 << 24,))),
    Row("gelu 4M", "forward", "gelu", normal(x=(1 << 22,))),
    Row("softmax 4096x1024", "forward", "softmax", normal(x=(4096, 1024))),
    Row("layer norm 4096x1024", "forward", "layer_norm", normal(**NORM_SHAPES)),
    Row("sum 4096x4096", "forward", "total", normal(x=(4096, 4096)), tolerance=1e-3),
    Row("sum 4096x4096 axis 0", "forward", "total", normal(x=(4096, 4096)), {"axis": 0}),
    Row("sum 4096x4096 axis 1", "forward", "total", normal(x=(4096, 4096)), {"axis": 1}),
    Row("x.T + y 4096x4096", "forward", "transposed_sum", normal(x=(4096, 4096), y=(4096, 4096))),
    *(
        Row(name, "forward", "convolution", normal(x=x, weight=weight), options)
        for name, (x, weight, _, options) in CONVOLUTIONS.items()
    ),
    *(
        Row(name, "forward", "attention", normal(q=shape, k=shape, v=shape))
        for name, shape in ATTENTIONS.items()
    ),
    Row("cumsum 1024x4096 axis 1", "forward", "running_sum", normal(x=(1024, 4096)), tolerance=1e-3),
    Row("argmax 4096x4096 axis 1", "forward", "position_of_largest", normal(x=(4096, 4096)), tolerance=0),
)

BACKWARD = (
    Row(
        "matmul 1024, backward",
        "backward",
        "matmul",
        normal(a=(1024, 1024), b=(1024, 1024), g=(1024, 1024)),
        wrt=("a", "b"),
    ),
    *(
        Row(
            f"{name}, backward",
            "backward",
            "convolution",
            normal(x=x, weight=weight, g=out),
            options,
            # the first layer of a network does not need the gradient of its pictures
            wrt=("weight",) if x[1] == 3 else ("x", "weight"),
            tolerance=5e-4,
        )
        for name, (x, weight, out, options) in CONVOLUTIONS.items()
    ),
    *(
        Row(
            f"{name}, backward",
            "backward",
            "attention",
            normal(q=shape, k=shape, v=shape, g=shape),
            wrt=("q", "k", "v"),
        )
        for name, shape in ATTENTIONS.items()
    ),
    Row(
        "layer norm 4096x1024, backward",
        "backward",
        "layer_norm",
        normal(**NORM_SHAPES, g=(4096, 1024)),
        wrt=("x", "weight", "bias"),
        tolerance=5e-4,
    ),
    Row(
        "embedding, cross-entropy 1024 of 8192, backward",
        "backward",
        "embedding_loss",
        embedding_inputs(1024, 8192, 256),
        wrt=("table", "head"),
    ),
)


def _model_row(name: str, group: str, program: str, inputs: Any, tolerance: float = 1e-3) -> Row:
    return Row(name, group, program, inputs, stateful=group != "inference", tolerance=tolerance)


TRAINING = (
    _model_row("MLP 2-16-16-1 step, SGD", "training", "train_small_mlp", normal(x=(100, 2), y=(100, 1))),
    _model_row("MLP 784-512-512-10 step, Adam", "training", "train_mlp", MLP),
    _model_row("CNN step, Adam", "training", "train_cnn", DIGITS),
    _model_row("GPT step, AdamW", "training", "train_gpt", TEXT),
    # 18 layers in float32: the loss after two steps is good to about three digits in any framework
    _model_row("ResNet-18 step, SGD", "training", "train_resnet", PICTURES, 5e-3),
)

INFERENCE = (
    _model_row("MLP inference", "inference", "infer_mlp", MLP),
    _model_row("CNN inference", "inference", "infer_cnn", DIGITS),
    _model_row("GPT inference", "inference", "infer_gpt", TEXT),
    _model_row("ResNet-18 inference", "inference", "infer_resnet", PICTURES),
)

START = (
    Row("first MLP step, cold", "start-up", "train_mlp", MLP, stateful=True, process="cold", tolerance=1e-3),
    Row("first MLP step, second process", "start-up", "train_mlp", MLP, stateful=True, process="second",
        tolerance=1e-3),
    Row("a new shape", "start-up", "new_shape", normal(x=(8192,)), stateful=True),
    Row("x + 1", "start-up", "add_one", normal(x=(1000,))),
)  # fmt: skip

ROWS = (*FORWARD, *BACKWARD, *TRAINING, *INFERENCE, *START)
GROUPS = ("forward", "backward", "training", "inference", "start-up")


def _means(name: str, row: Row) -> bool:
    """Whether a word from the command line means this row."""
    return name == row.group if name in GROUPS else name.lower() in row.name.lower()


def chosen(names: list[str]) -> list[Row]:
    """The rows of these groups, or whose names contain these words; all for no names. Raises ValueError."""
    if not names:
        return list(ROWS)
    for name in names:
        if not any(_means(name, row) for row in ROWS):
            raise ValueError(f"no row {name!r}: see --list")
    return [row for row in ROWS if any(_means(name, row) for name in names)]
