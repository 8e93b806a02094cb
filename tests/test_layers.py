"""Every layer: how it prints, what it computes beside PyTorch's, its initial values, its errors."""

from typing import Any

import numpy as np
import pytest

import lazygrad
from lazygrad import nn

rng = np.random.default_rng(12)


def normal(*shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


REPRS = [
    "Linear(3, 4, bias=False)",
    "Bilinear(2, 3, 4)",
    "Identity(1)",
    "Conv2d(4, 6, 3, padding=1, groups=2)",
    "Conv1d(2, 2, (3,), stride=2, bias=False, padding_mode='circular')",
    "Conv3d(1, 2, 3, dilation=2, padding='same')",
    "ConvTranspose2d(4, 6, 3, stride=2, output_padding=1)",
    "BatchNorm2d(3)",
    "BatchNorm1d(3, momentum=None)",
    "InstanceNorm1d(3)",
    "LayerNorm((3, 4))",
    "LayerNorm(4, elementwise_affine=False)",
    "LayerNorm(4, bias=False)",
    "RMSNorm(4)",
    "GroupNorm(2, 4)",
    "LocalResponseNorm(3)",
    "ReLU()",
    "ReLU(inplace=True)",
    "ReLU6()",
    "ELU()",
    "ELU(0.5, True)",
    "CELU()",
    "SELU()",
    "GELU()",
    "GELU('tanh')",
    "SiLU()",
    "Mish()",
    "LeakyReLU(0.2)",
    "PReLU(3)",
    "RReLU()",
    "Hardtanh(-2, 2)",
    "Hardsigmoid()",
    "Hardswish()",
    "Sigmoid()",
    "LogSigmoid()",
    "Tanh()",
    "Tanhshrink()",
    "Softplus(2)",
    "Softsign()",
    "Softshrink(0.3)",
    "Hardshrink()",
    "Threshold(0.1, 2)",
    "GLU(1)",
    "Softmax(1)",
    "Softmin(1)",
    "LogSoftmax(-1)",
    "Softmax2d()",
    "Dropout(0.3)",
    "Dropout2d()",
    "AlphaDropout()",
    "Embedding(5, 3, padding_idx=-1)",
    "Embedding(5, 3, max_norm=2.0)",
    "Flatten()",
    "Unflatten(1, (2, 3))",
    "Upsample(scale_factor=2)",
    "Upsample(size=(3, 4), mode='bilinear')",
    "UpsamplingBilinear2d(scale_factor=2)",
    "PixelShuffle(2)",
    "PixelUnshuffle(2)",
    "ChannelShuffle(2)",
    "CosineSimilarity()",
    "PairwiseDistance()",
    "MSELoss()",
    "CrossEntropyLoss()",
    "TripletMarginLoss()",
    "MaxPool1d(2)",
    "MaxPool2d(3, 2, 1)",
    "AvgPool1d(2)",
    "AvgPool2d(2)",
    "AvgPool3d(2)",
    "LPPool2d(2, 3)",
    "AdaptiveAvgPool2d((1, None))",
    "AdaptiveMaxPool1d(3)",
    "ZeroPad2d(1)",
    "ConstantPad1d(2, 3.5)",
    "ReflectionPad2d((1, 2, 0, 1))",
    "ReplicationPad3d(1)",
    "CircularPad1d(1)",
    "Sequential(nn.ReLU(), nn.Sequential(nn.Linear(1, 1)))",
    "ModuleList([nn.Linear(2, 2), nn.Linear(2, 2), nn.ReLU()])",
    "ModuleList([])",
    "ModuleDict({'a': nn.ReLU()})",
    "Sequential()",
    "SyncBatchNorm(3)",
    "Hardswish(inplace=True)",
    "Hardsigmoid(True)",
    "TripletMarginWithDistanceLoss()",
    "TripletMarginWithDistanceLoss(distance_function=nn.CosineSimilarity(), swap=True)",
]


@pytest.mark.parametrize("text", REPRS)
def test_modules_print_as_in_torch(text: str) -> None:
    torch = pytest.importorskip("torch")
    ours = eval(f"nn.{text}", {"nn": nn})
    theirs = eval(f"nn.{text}", {"nn": torch.nn})
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [tuple(p.shape) for p in ours.parameters()] == [tuple(p.shape) for p in theirs.parameters()]


LAYERS: list[tuple[str, tuple]] = [
    ("Linear(4, 3)", (2, 5, 4)),
    ("Conv1d(4, 6, 3, stride=2, padding=1)", (2, 4, 9)),
    ("Conv2d(4, 6, 3, padding=1, groups=2)", (2, 4, 5, 6)),
    ("Conv2d(4, 4, 3, padding='same', dilation=2)", (1, 4, 7, 7)),
    ("Conv2d(2, 3, 3, padding=1, padding_mode='reflect')", (2, 2, 5, 5)),
    ("Conv2d(2, 3, 3, padding=(1, 2), padding_mode='circular')", (2, 2, 5, 5)),
    ("Conv2d(2, 3, (1, 2), bias=False)", (2, 4, 4)),
    ("Conv3d(2, 3, 2)", (1, 2, 4, 4, 4)),
    ("ConvTranspose1d(4, 3, 3, stride=2)", (2, 4, 5)),
    ("ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2)", (2, 4, 3, 4)),
    ("BatchNorm1d(4)", (6, 4)),
    ("BatchNorm1d(4)", (3, 4, 5)),
    ("BatchNorm2d(3, momentum=None)", (2, 3, 4, 4)),
    ("BatchNorm2d(3, affine=False, track_running_stats=False)", (2, 3, 4, 4)),
    ("BatchNorm3d(2)", (2, 2, 2, 3, 3)),
    ("InstanceNorm2d(3, affine=True, track_running_stats=True)", (2, 3, 4, 4)),
    ("InstanceNorm1d(3)", (3, 6)),
    ("LayerNorm((3, 4))", (2, 3, 4)),
    ("RMSNorm(4)", (2, 3, 4)),
    ("GroupNorm(2, 4)", (2, 4, 3)),
    ("PReLU(3)", (2, 3, 4)),
    ("GELU()", (3, 4)),
    ("Softmax(-1)", (3, 4)),
    ("GLU()", (3, 4)),
    ("MaxPool2d(2)", (1, 2, 5, 4)),
    ("MaxPool2d(3, stride=2, padding=1, ceil_mode=True)", (1, 2, 6, 6)),
    ("AvgPool2d(3, 2, 1)", (1, 2, 6, 6)),
    ("AvgPool2d(3, 2, 1, count_include_pad=False)", (1, 2, 6, 6)),
    ("AdaptiveAvgPool2d(2)", (1, 2, 5, 7)),
    ("AdaptiveAvgPool2d((3, None))", (1, 2, 5, 7)),
    ("AdaptiveMaxPool1d(3)", (1, 2, 7)),
    ("LPPool2d(2, 2)", (1, 2, 4, 4)),
    ("ZeroPad2d((1, 2, 0, 1))", (1, 2, 3, 3)),
    ("ReflectionPad2d(2)", (1, 2, 4, 4)),
    ("ReplicationPad1d(2)", (1, 2, 4)),
    ("CircularPad2d(1)", (1, 2, 3, 3)),
    ("ConstantPad3d(1, 2.0)", (1, 1, 2, 2, 2)),
    ("Flatten()", (2, 3, 4)),
    ("Unflatten(1, (2, 3))", (2, 6)),
    ("PixelShuffle(2)", (1, 4, 2, 3)),
    ("Upsample(scale_factor=2)", (1, 2, 3, 3)),
    ("Upsample(scale_factor=2, mode='bilinear', align_corners=True)", (1, 2, 3, 3)),
    ("LocalResponseNorm(3)", (2, 4, 3)),
]


@pytest.mark.parametrize(("text", "shape"), LAYERS)
def test_layers_agree_with_torch(text: str, shape: tuple, device: str) -> None:
    """Output, gradients and buffers after two calls in training, then the output of evaluation."""
    torch = pytest.importorskip("torch")
    theirs = eval(f"nn.{text}", {"nn": torch.nn})
    ours = eval(f"nn.{text}", {"nn": nn})
    with torch.no_grad():
        for p in theirs.parameters():
            p.normal_()
    ours.load_state_dict({k: lazygrad.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    ours.to(device)
    x = normal(*shape)
    a = lazygrad.tensor(x, device=device, requires_grad=True)
    b = torch.tensor(x, requires_grad=True)
    for _ in range(2):
        (ours(a) ** 2).sum().backward()
        (theirs(b) ** 2).sum().backward()
    pairs = [(a.grad, b.grad), (ours.eval()(a), theirs.eval()(b))]
    pairs += [(p.grad, q.grad) for p, q in zip(ours.parameters(), theirs.parameters(), strict=True)]
    pairs += list(zip(ours.buffers(), theirs.buffers(), strict=True))
    for mine, other in pairs:
        np.testing.assert_allclose(
            np.asarray(mine.detach().tolist()), other.detach().numpy(), rtol=2e-4, atol=2e-4
        )


def test_embedding_rows() -> None:
    table = nn.Embedding(5, 3, padding_idx=1)
    assert table.weight[1].tolist() == [0.0, 0.0, 0.0]
    table(lazygrad.tensor([[0, 1], [1, 2]])).sum().backward()
    assert table.weight.grad.sum(1).tolist() == [3.0, 0.0, 3.0, 0.0, 0.0]
    with pytest.raises(IndexError):
        table(lazygrad.tensor([5]))
    fixed = nn.Embedding.from_pretrained(lazygrad.ones(2, 2))
    assert not fixed.weight.requires_grad
    with pytest.raises(ValueError, match="Padding_idx must be within num_embeddings"):
        nn.Embedding(3, 2, padding_idx=3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Conv2d(3, 4, 3, groups=2), "in_channels must be divisible by groups"),
        (lambda: nn.Conv2d(4, 4, 3, padding="all"), "Invalid padding string"),
        (lambda: nn.Conv2d(4, 4, 3, padding="same", stride=2), "not supported for strided convolutions"),
        (lambda: nn.Conv2d(4, 4, 3, padding_mode="none"), "padding_mode must be one of"),
        (
            lambda: nn.ConvTranspose2d(4, 4, 3, padding_mode="circular"),
            'Only "zeros" padding mode is supported',
        ),
        (
            lambda: nn.ConvTranspose1d(1, 1, 3, stride=2)(lazygrad.ones(1, 1, 4), output_size=[20]),
            "requested an output size",
        ),
        (lambda: nn.GroupNorm(3, 4), "must be divisible by num_groups"),
        (lambda: nn.BatchNorm2d(3)(lazygrad.ones(2, 3)), r"expected 4D input \(got 2D input\)"),
        (lambda: nn.Dropout(1.5), "dropout probability has to be between 0 and 1, but got 1.5"),
    ],
)
def test_layers_refuse(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert isinstance(caught.value, lazygrad.LazygradError)


def test_dropout_acts_in_training_alone() -> None:
    x = lazygrad.ones(50, 50)
    layer = nn.Dropout(0.5)
    assert 0.3 < (layer(x).numpy() == 0).mean() < 0.7
    assert layer.eval()(x) is x


def test_losses_hold_their_weights() -> None:
    loss = nn.CrossEntropyLoss(weight=lazygrad.tensor([1.0, 3.0]), reduction="sum")
    assert list(loss.state_dict()) == ["weight"]
    value = loss(lazygrad.zeros(2, 2), lazygrad.tensor([0, 1]))
    assert value.item() == pytest.approx(4 * np.log(2))
    with pytest.warns(UserWarning, match="reduction='sum'|reduction="):
        assert nn.MSELoss(size_average=False).reduction == "sum"


# Initial values


@pytest.mark.parametrize(("name", "options", "low", "high", "std"), [
    ("uniform_", {"a": -2.0, "b": 1.0}, -2.0, 1.0, 3 / 12**0.5),
    ("normal_", {"mean": 0.0, "std": 0.5}, -3.0, 3.0, 0.5),
    ("trunc_normal_", {"std": 1.0, "a": -1.0, "b": 1.0}, -1.0, 1.0, 0.5396),
    ("xavier_uniform_", {}, -(6 / 500) ** 0.5, (6 / 500) ** 0.5, (2 / 500) ** 0.5),
    ("xavier_normal_", {"gain": 2.0}, -1.0, 1.0, 2 * (2 / 500) ** 0.5),
    ("kaiming_uniform_", {"a": 5**0.5}, -(1 / 300) ** 0.5, (1 / 300) ** 0.5, (1 / 900) ** 0.5),
    ("kaiming_normal_", {"mode": "fan_out", "nonlinearity": "relu"}, -1.0, 1.0, (2 / 200) ** 0.5),
])
def test_random_initial_values(name: str, options: dict, low: float, high: float, std: float) -> None:
    lazygrad.manual_seed(3)
    weight = nn.Parameter(lazygrad.empty(200, 300))
    assert getattr(nn.init, name)(weight, **options) is weight
    values = weight.detach().numpy()
    assert low <= values.min() < values.max() <= high
    assert abs(values.std() / std - 1) < 0.02
    assert weight.is_leaf
    assert weight.requires_grad


def test_fixed_initial_values() -> None:
    torch = pytest.importorskip("torch")
    assert nn.init.eye_(lazygrad.empty(2, 3)).tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    for shape, groups in (((4, 2, 3), 2), ((3, 5, 3, 4), 1), ((2, 2, 2, 2, 3), 1)):
        ours = nn.init.dirac_(lazygrad.empty(*shape), groups)
        assert ours.tolist() == torch.nn.init.dirac_(torch.empty(*shape), groups).tolist()
    for name in ("linear", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"):
        assert nn.init.calculate_gain(name) == torch.nn.init.calculate_gain(name)
    with pytest.raises(ValueError, match="Unsupported nonlinearity"):
        nn.init.calculate_gain("none")
    with pytest.raises(ValueError, match="fewer than 2 dimensions"):
        nn.init.xavier_uniform_(lazygrad.empty(3))


def test_orthogonal_and_sparse() -> None:
    for shape in ((3, 5), (5, 3), (4, 2, 3)):
        q = nn.init.orthogonal_(lazygrad.empty(*shape), gain=2.0).numpy().reshape(shape[0], -1)
        small = q @ q.T if q.shape[0] <= q.shape[1] else q.T @ q
        np.testing.assert_allclose(small, 4 * np.eye(len(small)), atol=1e-5)
    values = nn.init.sparse_(lazygrad.empty(10, 4), sparsity=0.25).numpy()
    assert ((values == 0).sum(0) == 3).all()
