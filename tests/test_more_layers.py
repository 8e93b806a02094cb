"""Pooling with places, bags of rows, clusters of classes, CTC and lazy layers: beside PyTorch's."""

from typing import Any

import numpy as np
import pytest
from module_support import compare, compare_modules, same_weights
from torch_support import pytorch

import lazygrad
from lazygrad import nn
from lazygrad.nn import functional as F

rng = np.random.default_rng(6)


def normal(*shape: int) -> np.ndarray:
    return rng.standard_normal(shape)


def places(high: int, *shape: int) -> np.ndarray:
    return rng.integers(0, high, shape)


MODULES: list[tuple[str, list]] = [
    ("MaxPool1d(2, 1, return_indices=True)", [normal(2, 3, 5)]),
    ("MaxPool2d(3, 2, 1, return_indices=True, ceil_mode=True)", [normal(2, 3, 6, 5)]),
    ("MaxPool2d(2, dilation=2, return_indices=True)", [normal(3, 5, 5)]),
    ("MaxPool3d(2, return_indices=True)", [normal(1, 2, 4, 4, 4)]),
    ("AdaptiveMaxPool1d(3, return_indices=True)", [normal(2, 2, 7)]),
    ("AdaptiveMaxPool2d((2, None), True)", [normal(1, 2, 5, 3)]),
    ("AdaptiveMaxPool3d(2, True)", [normal(1, 2, 3, 4, 5)]),
    ("Unfold(2, padding=1, stride=2)", [normal(2, 3, 4, 5)]),
    ("Unfold((2, 1), dilation=2)", [normal(3, 4, 5)]),
    ("Fold((4, 5), (2, 3))", [normal(2, 12, 9)]),
    ("Bilinear(3, 4, 2)", [normal(5, 3), normal(5, 4)]),
    ("EmbeddingBag(7, 3)", [places(7, 4, 5)]),
    ("EmbeddingBag(7, 3, mode='sum', padding_idx=2)", [places(7, 4, 5)]),
    ("EmbeddingBag(7, 3, mode='max', padding_idx=-1)", [places(7, 2, 4)]),
    ("EmbeddingBag(7, 3, norm_type=3.0)", [places(7, 9), np.array([0, 3, 3, 8])]),
    ("EmbeddingBag(7, 3, mode='sum', include_last_offset=True)", [places(7, 9), np.array([0, 3, 3, 9])]),
    ("EmbeddingBag(7, 3, mode='max')", [places(7, 6), np.array([0, 2, 2])]),
    ("EmbeddingBag(7, 3, mode='sum')", [places(7, 2, 3), None, normal(2, 3)]),
    ("AdaptiveLogSoftmaxWithLoss(8, 10, [3, 6], 2.0)", [normal(6, 8), np.array([0, 2, 3, 5, 6, 9])]),
    ("AdaptiveLogSoftmaxWithLoss(8, 4, [2], head_bias=True)", [normal(8), np.array(3)]),
]


@pytest.mark.parametrize(("text", "inputs"), MODULES, ids=[text for text, _ in MODULES])
def test_modules_agree_with_torch(text: str, inputs: list, device: str) -> None:
    compare_modules(text, inputs, "float64", device)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_unpooling(rank: int, device: str) -> None:
    torch = pytorch()
    x = normal(2, 2, *(5,) * rank)
    results = []
    for library, where in ((lazygrad, {"device": device}), (torch, {})):
        a = library.tensor(x, requires_grad=True, **where)
        pool = getattr(library.nn, f"MaxPool{rank}d")(2, return_indices=True)
        unpool = getattr(library.nn, f"MaxUnpool{rank}d")(2)
        values, indices = pool(a)
        sized = unpool(values, indices, output_size=(5,) * rank)
        whole = unpool(
            *pool(a[..., :4] if rank == 1 else a[..., :4, :4] if rank == 2 else a[..., :4, :4, :4])
        )
        (sized**2).sum().backward()
        results.append((repr(unpool), [whole, sized, a.grad]))
    assert results[0][0] == results[1][0]
    compare(results[0][1], results[1][1], "float64")
    with pytest.raises(ValueError, match="must be between"):
        nn.MaxUnpool1d(2)(lazygrad.ones(1, 1, 2), lazygrad.zeros(1, 1, 2).long(), (9,))


@pytest.mark.parametrize(
    ("rank", "options"),
    [
        (2, {"kernel_size": 2, "output_size": (3, 4)}),
        (2, {"kernel_size": (2, 3), "output_ratio": 0.5}),
        (3, {"kernel_size": 2, "output_size": 2}),
        (2, {"kernel_size": 3, "output_size": 1}),
    ],
)
def test_fractional_pools(rank: int, options: dict, device: str) -> None:
    torch = pytorch()
    x, samples = normal(2, 3, *range(6, 6 + rank)), rng.random((2, 3, rank))
    results = []
    for library, where in ((lazygrad, {"device": device}), (torch, {})):
        a = library.tensor(x, requires_grad=True, **where)
        layer = getattr(library.nn, f"FractionalMaxPool{rank}d")(
            **options, return_indices=True, _random_samples=library.tensor(samples, **where)
        )
        values, indices = layer(a)
        (values**2).sum().backward()
        results.append([values, indices, a.grad])
    compare(*results, "float64")
    layer = getattr(nn, f"FractionalMaxPool{rank}d")(**options)
    assert layer(lazygrad.tensor(x)).shape == results[0][0].shape
    with pytest.raises(ValueError, match="only one of"):
        nn.FractionalMaxPool2d(2, 2, 0.5)


# CTC


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(("joined", "blank"), [(False, 0), (True, 2)])
def test_ctc_agrees_with_torch(reduction: str, joined: bool, blank: int, device: str) -> None:
    torch = pytorch()
    steps, batch, classes = 7, 4, 5
    x = normal(steps, batch, classes)
    lengths, ends = [3, 2, 0, 3], [7, 5, 4, 6]
    labels = np.array([c for c in range(classes) if c != blank])[places(classes - 1, batch, 3)]
    labels[0] = labels[0, 0]  # repeats need blanks between them
    if joined:
        labels = np.concatenate([row[:n] for row, n in zip(labels, lengths, strict=True)])
    results = []
    for library, where in ((lazygrad, {"device": device}), (torch, {})):
        leaf = library.tensor(x, requires_grad=True, **where)
        lp = leaf.log_softmax(2)
        lp.retain_grad()
        loss = library.nn.CTCLoss(blank, reduction)(lp, library.tensor(labels, **where), ends, lengths)
        (loss**2).sum().backward()
        results.append([loss, lp.grad, leaf.grad])
    compare(*results, "float64")


def test_ctc_of_impossible_targets() -> None:
    x = lazygrad.zeros(2, 1, 3).log_softmax(2).requires_grad_()
    loss = F.ctc_loss(x, lazygrad.tensor([[1, 1, 1]]), [2], [3])
    assert loss.item() == np.inf
    loss = F.ctc_loss(x, lazygrad.tensor([[1, 1, 1]]), [2], [3], zero_infinity=True)
    loss.backward()
    assert loss.item() == 0.0
    assert x.grad.abs().sum().item() == 0.0
    single = F.ctc_loss(
        lazygrad.zeros(4, 3).log_softmax(1),
        lazygrad.tensor([1]),
        lazygrad.tensor([4]),
        lazygrad.tensor([1]),
        reduction="none",
    )
    assert single.shape == ()


# Clusters


def test_adaptive_softmax_predicts() -> None:
    torch = pytorch()
    theirs = torch.nn.AdaptiveLogSoftmaxWithLoss(8, 12, [4, 8], 2.0)
    ours = same_weights(nn.AdaptiveLogSoftmaxWithLoss(8, 12, [4, 8], 2.0), theirs)
    x = (normal(20, 8) * 5).astype("f4")
    a, b = lazygrad.tensor(x), torch.tensor(x)
    compare([ours.log_prob(a), ours.predict(a)], [theirs.log_prob(b), theirs.predict(b)], "float32")
    with pytest.raises((RuntimeError, IndexError)):
        ours(a[:2], lazygrad.tensor([0, 12])).loss.item()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.AdaptiveLogSoftmaxWithLoss(4, 5, []), ValueError, "larger than 0"),
        (lambda: nn.AdaptiveLogSoftmaxWithLoss(4, 5, [3, 2]), ValueError, "sorted in an increasing order"),
        (
            lambda: nn.AdaptiveLogSoftmaxWithLoss(4, 5, [2])(lazygrad.ones(2, 4), lazygrad.ones(3).long()),
            RuntimeError,
            "same size in the batch",
        ),
        (lambda: nn.EmbeddingBag(3, 2, padding_idx=3), AssertionError, "padding_idx must be within"),
        (
            lambda: nn.EmbeddingBag(3, 2)(lazygrad.zeros(3).long()),
            ValueError,
            "offsets has to be a 1D Tensor",
        ),
        (
            lambda: nn.EmbeddingBag(3, 2, mode="all")(lazygrad.zeros(3, 1).long()),
            ValueError,
            "one of sum, mean or max",
        ),
        (lambda: F.fractional_max_pool2d(lazygrad.ones(1, 3, 3), 2), ValueError, "requires specifying"),
        (lambda: F.fractional_max_pool2d(lazygrad.ones(1, 3, 3), 2, 3), RuntimeError, "too large"),
        (
            lambda: F.ctc_loss(lazygrad.zeros(2, 1, 3), lazygrad.ones(1, 1).long(), [2], [1], blank=3),
            RuntimeError,
            "blank must be in label range",
        ),
        (
            lambda: F.ctc_loss(lazygrad.zeros(2, 1, 3), lazygrad.ones(1, 1).long(), [2, 2], [1]),
            RuntimeError,
            "must be of size batch_size",
        ),
    ],
)
def test_what_is_refused(call: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        call()
    assert isinstance(caught.value, lazygrad.LazygradError)
