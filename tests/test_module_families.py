"""Private classes of torch.nn.modules that users derive modules from or ask for: losses, poolings, dropouts,
padding, layers of a Transformer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch_support import pytorch

import lazygrad
from lazygrad import nn

RNG = np.random.default_rng(6)


def test_a_loss_of_ones_own() -> None:
    class Apart(nn.modules.loss._Loss):
        def __init__(self, power: int) -> None:
            super().__init__()
            self.power = power

        def forward(self, a: Any, b: Any) -> Any:
            return (a - b).abs().pow(self.power).mean()

    class Weighted(nn.modules.loss._WeightedLoss):
        def forward(self, a: Any) -> Any:
            return (a * self.weight).sum()

    assert Apart(3)(lazygrad.tensor([3.0]), lazygrad.tensor([1.0])).item() == 8
    assert Apart(3).reduction == "mean" and nn.modules.loss._Loss(reduction="sum").reduction == "sum"
    assert nn.modules.loss._Loss(size_average=False).reduction == "sum"
    made = Weighted(lazygrad.tensor([1.0, 2.0]))
    assert made(lazygrad.tensor([3.0, 4.0])).item() == 11 and list(made.state_dict()) == ["weight"]
    assert isinstance(nn.CrossEntropyLoss(), nn.modules.loss._WeightedLoss)


# each class, its arguments, and a module of torch.nn.modules with a private class above it
FAMILIES: dict[str, tuple[tuple[Any, ...], str]] = {
    "MaxPool2d": ((2,), "pooling._MaxPoolNd"), "AvgPool1d": ((2,), "pooling._AvgPoolNd"),
    "AvgPool3d": ((2,), "pooling._AvgPoolNd"), "LPPool2d": ((2, 3), "pooling._LPPoolNd"),
    "AdaptiveAvgPool2d": ((1,), "pooling._AdaptiveAvgPoolNd"),
    "AdaptiveMaxPool1d": ((1,), "pooling._AdaptiveMaxPoolNd"), "MaxUnpool2d": ((2,), "pooling._MaxUnpoolNd"),
    "Dropout": ((0.3,), "dropout._DropoutNd"), "AlphaDropout": ((0.3,), "dropout._DropoutNd"),
    "ConstantPad1d": ((1, 2.0), "padding._ConstantPadNd"),
    "ReflectionPad2d": ((1,), "padding._ReflectionPadNd"),
    "ReplicationPad3d": ((1,), "padding._ReplicationPadNd"),
    "CircularPad1d": ((1,), "padding._CircularPadNd"),
    "ConvTranspose2d": ((2, 3, 2), "conv._ConvTransposeNd"), "NLLLoss": ((), "loss._WeightedLoss"),
    "MSELoss": ((), "loss._Loss"),
}


@pytest.mark.parametrize("name", list(FAMILIES))
def test_the_class_above(name: str) -> None:
    args, above = FAMILIES[name]
    for package in (nn, pytorch().nn):
        file, _, kind = above.partition(".")
        base = getattr(getattr(package.modules, file), kind)
        made = getattr(package, name)(*args)
        assert isinstance(made, base)
    assert repr(getattr(nn, name)(*args)) == repr(made)


@pytest.mark.parametrize("norm_first", [False, True])
def test_layers_of_a_transformer_in_parts(norm_first: bool) -> None:
    """A layer derived from PyTorch's that calls its blocks, and one that replaces a block."""
    x, memory = RNG.standard_normal((2, 5, 8)), RNG.standard_normal((2, 3, 8))
    state: dict[str, Any] = {}

    def value(T: Any) -> Any:
        class Scaled(T.nn.TransformerEncoderLayer):
            def forward(self, src: Any, src_mask: Any = None, src_key_padding_mask: Any = None,
                        is_causal: bool = False) -> Any:
                src = src + 0.5 * self._sa_block(self.norm1(src), src_mask, src_key_padding_mask)
                return src + 0.25 * self._ff_block(self.norm2(src))

        class Doubled(T.nn.TransformerDecoderLayer):
            def _mha_block(self, *args: Any, **options: Any) -> Any:
                return 2 * super()._mha_block(*args, **options)

            def _ff_block(self, x: Any) -> Any:
                return 3 * super()._ff_block(x)

        out = []
        for kind, given in ((Scaled, (x,)), (Doubled, (x, memory))):
            layer = kind(8, 2, 16, 0.0, batch_first=True, norm_first=norm_first, dtype=T.float64)
            values = state.setdefault(kind.__name__, {k: RNG.standard_normal(v.shape)
                                                      for k, v in layer.state_dict().items()})
            layer.load_state_dict({k: T.tensor(v) for k, v in values.items()})
            out.append(layer(*map(T.tensor, given)))
        return np.stack([o.detach().numpy() for o in out])

    np.testing.assert_allclose(value(lazygrad), value(pytorch()), rtol=1e-9, atol=1e-10)


def test_names_of_loaders_and_futures() -> None:
    from lazygrad.utils.data._utils.collate import default_collate, default_convert
    from lazygrad.utils.data._utils.pin_memory import pin_memory

    assert default_collate([1, 2]).tolist() == [1, 2] and default_convert(3) == 3
    x = lazygrad.ones(2)
    assert pin_memory(x) is x
    assert lazygrad.Future[int] is lazygrad.Future  # annotations name what it holds
    assert lazygrad._C._is_tracing() is False
