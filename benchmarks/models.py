"""The models of the training and inference rows, in PyTorch's words; `torch` is PyTorch or lazygrad.

The values of parameters are drawn here, by name and shape, so that every framework starts from the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

PARAMETER_SEED = 11


def initial_values(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """float32 values of parameters, in the order of their names in `shapes`."""
    rng = np.random.default_rng(PARAMETER_SEED)
    values = {}
    for name, shape in shapes.items():
        drawn = rng.standard_normal(shape, np.float32)
        if len(shape) > 1:
            fan_in = shape[1] if "embed" in name else int(np.prod(shape[1:]))
            values[name] = drawn / np.float32(fan_in**0.5)
        else:
            values[name] = np.float32("norm" in name and name.endswith("weight")) + np.float32(0.1) * drawn
    return values


def mlp_shapes(*widths: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the parameters of `mlp(torch, *widths)`."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, (inner, outer) in enumerate(pairwise(widths)):
        shapes |= {f"{2 * layer}.weight": (outer, inner), f"{2 * layer}.bias": (outer,)}
    return shapes


CNN_SHAPES = {
    "conv1.weight": (32, 1, 5, 5),
    "conv1.bias": (32,),
    "conv2.weight": (32, 32, 5, 5),
    "conv2.bias": (32,),
    "norm1.weight": (32,),
    "norm1.bias": (32,),
    "conv3.weight": (64, 32, 3, 3),
    "conv3.bias": (64,),
    "conv4.weight": (64, 64, 3, 3),
    "conv4.bias": (64,),
    "norm2.weight": (64,),
    "norm2.bias": (64,),
    "head.weight": (10, 576),
    "head.bias": (10,),
}


def mlp(torch: Any, *widths: int) -> Any:
    """Linear layers with relu between them."""
    layers: list[Any] = []
    for inner, outer in pairwise(widths):
        layers += [torch.nn.Linear(inner, outer), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def cnn(torch: Any) -> Any:
    """A digit classifier for (n, 1, 28, 28)."""
    nn, F = torch.nn, torch.nn.functional

    class Cnn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(1, 32, 5)
            self.conv2 = nn.Conv2d(32, 32, 5)
            self.norm1 = nn.BatchNorm2d(32)
            self.conv3 = nn.Conv2d(32, 64, 3)
            self.conv4 = nn.Conv2d(64, 64, 3)
            self.norm2 = nn.BatchNorm2d(64)
            self.head = nn.Linear(576, 10)

        def forward(self, x: Any) -> Any:
            x = self.conv2(F.relu(self.conv1(x)))
            x = F.max_pool2d(self.norm1(F.relu(x)), 2)
            x = self.conv4(F.relu(self.conv3(x)))
            x = F.max_pool2d(self.norm2(F.relu(x)), 2)
            return self.head(torch.flatten(x, 1))

    return Cnn()


def gpt(
    torch: Any, layers: int = 4, width: int = 256, heads: int = 4, length: int = 128, words: int = 256
) -> Any:
    """A decoder of (batch, length) tokens to (batch, length, words) logits."""
    nn, F = torch.nn, torch.nn.functional

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x: Any) -> Any:
            b, n, _ = x.shape
            qkv = self.qkv(self.norm1(x)).view(b, n, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
            seen = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], is_causal=True)
            x = x + self.out(seen.transpose(1, 2).reshape(b, n, width))
            return x + self.down(F.gelu(self.up(self.norm2(x))))

    class Gpt(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed_token, self.embed_place = nn.Embedding(words, width), nn.Embedding(length, width)
            self.blocks = nn.Sequential(*(Block() for _ in range(layers)))
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, words)

        def forward(self, x: Any) -> Any:
            places = torch.arange(x.shape[1])
            return self.head(self.norm(self.blocks(self.embed_token(x) + self.embed_place(places))))

    return Gpt()


def resnet18(torch: Any, classes: int = 10) -> Any:
    """ResNet-18 with a 3x3 first convolution, for (n, 3, 32, 32)."""
    nn, F = torch.nn, torch.nn.functional

    class Block(nn.Module):
        def __init__(self, inner: int, outer: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(inner, outer, 3, stride, 1, bias=False)
            self.norm1 = nn.BatchNorm2d(outer)
            self.conv2 = nn.Conv2d(outer, outer, 3, 1, 1, bias=False)
            self.norm2 = nn.BatchNorm2d(outer)
            self.changes = stride > 1 or inner != outer
            if self.changes:
                self.conv_short = nn.Conv2d(inner, outer, 1, stride, bias=False)
                self.norm_short = nn.BatchNorm2d(outer)

        def forward(self, x: Any) -> Any:
            short = self.norm_short(self.conv_short(x)) if self.changes else x
            return F.relu(self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x))))) + short)

    class ResNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64)
            widths = [(64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)]
            blocks = [b for i, o, s in widths for b in (Block(i, o, s), Block(o, o, 1))]
            self.blocks, self.head = nn.Sequential(*blocks), nn.Linear(512, classes)

        def forward(self, x: Any) -> Any:
            x = self.blocks(F.relu(self.norm(self.conv(x))))
            return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))

    return ResNet()
