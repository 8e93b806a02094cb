"""nn.functional beside PyTorch: values and gradients of the inputs; and what needs no PyTorch to be
checked."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from torch_support import pytorch

import lazygrad
from lazygrad.nn import functional

rng = np.random.default_rng(7)


def normal(*shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def positive(*shape: int) -> np.ndarray:
    return (rng.random(shape) + 0.1).astype(np.float32)


def probabilities(*shape: int) -> np.ndarray:
    return (rng.random(shape) * 0.9 + 0.05).astype(np.float32)


def signs(*shape: int) -> np.ndarray:
    return (rng.integers(0, 2, shape) * 2 - 1).astype(np.float32)


def classes(count: int, *shape: int) -> np.ndarray:
    return rng.integers(0, count, shape)


def compare(name: str, arrays: tuple[Any, ...], options: dict[str, Any], device: str, rtol: float = 2e-5,
            atol: float = 2e-6, differentiable: int = 9) -> None:
    """The function of both libraries on the same values, and the gradients of the first `differentiable`
    inputs.

    Arrays among the options become tensors too.
    """
    torch = pytest.importorskip("torch")
    results = []
    for library, f in ((lazygrad, getattr(functional, name)), (torch, getattr(torch.nn.functional, name))):
        place = {"device": device} if library is lazygrad else {}

        def make(value: Any, tracked: bool, library: Any = library, place: dict[str, str] = place) -> Any:
            if not isinstance(value, np.ndarray):
                return value
            return library.tensor(value, requires_grad=tracked and value.dtype.kind == "f", **place)

        inputs = [make(a, place_of < differentiable) for place_of, a in enumerate(arrays)]
        output = f(*inputs, **{key: make(value, False) for key, value in options.items()})
        grads = []
        if output.requires_grad:
            weights = library.tensor(
                np.cos(np.arange(output.numel())).astype(np.float32).reshape(tuple(output.shape)), **place
            )
            (output * weights).sum().backward()
            grads = [
                np.asarray(i.grad.tolist())
                for i in inputs
                if isinstance(i, library.Tensor) and i.grad is not None
            ]
        results.append(
            (str(output.dtype).split(".")[-1], tuple(output.shape), np.asarray(output.tolist()), grads)
        )
    ours, theirs = results
    assert ours[:2] == theirs[:2]
    np.testing.assert_allclose(ours[2], theirs[2], rtol=rtol, atol=atol)
    assert len(ours[3]) == len(theirs[3])
    for a, b in zip(ours[3], theirs[3], strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=10 * atol)


EDGES = np.array(
    [[-80.0, -20.5, -6.0, -3.0, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 3.0, 6.0, 20.5, 200.0]], np.float32
)
ACTIVATIONS = [
    ("relu", {}),
    ("relu6", {}),
    ("elu", {}),
    ("elu", {"alpha": 0.5}),
    ("selu", {}),
    ("celu", {"alpha": 2.0}),
    ("gelu", {}),
    ("gelu", {"approximate": "tanh"}),
    ("silu", {}),
    ("mish", {}),
    ("softplus", {}),
    ("softplus", {"beta": 3.0, "threshold": 5.0}),
    ("softsign", {}),
    ("logsigmoid", {}),
    ("sigmoid", {}),
    ("tanh", {}),
    ("hardtanh", {"min_val": -0.5, "max_val": 2.0}),
    ("hardsigmoid", {}),
    ("hardswish", {}),
    ("leaky_relu", {}),
    ("leaky_relu", {"negative_slope": 0.3}),
    ("rrelu", {}),
    ("tanhshrink", {}),
    ("hardshrink", {}),
    ("softshrink", {}),
    ("threshold", {"threshold": 0.5, "value": -7.0}),
    ("glu", {}),
    ("softmax", {"dim": 1}),
    ("log_softmax", {"dim": -1}),
    ("softmin", {"dim": 0}),
]


@pytest.mark.parametrize(("name", "options"), ACTIVATIONS)
def test_activations(name: str, options: dict, device: str) -> None:
    compare(name, (normal(3, 4) * 3,), options, device)
    compare(name, (EDGES,), options, device, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["relu", "elu", "leaky_relu", "hardtanh", "silu"])
def test_in_place_activations(name: str) -> None:
    x = lazygrad.tensor([-2.0, 3.0])
    expected = getattr(functional, name)(x).tolist()
    assert getattr(functional, name)(x, inplace=True) is x
    assert x.tolist() == expected


def test_prelu_has_one_weight_or_one_for_each_channel(device: str) -> None:
    compare("prelu", (normal(2, 3, 4), normal(3)), {}, device)
    compare("prelu", (normal(2, 3, 4), normal(1)), {}, device)
    with pytest.raises(RuntimeError, match=r"\[prelu\] 2 weights for 3 channels"):
        functional.prelu(lazygrad.ones(2, 3), lazygrad.ones(2))


@pytest.mark.parametrize("g", [1.0, math.inf, math.nan])
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 0.0, -1.0])
def test_gradients_of_prelu_at_special_values(value: float, g: float) -> None:
    torch = pytest.importorskip("torch")
    gradients = []
    for library in (torch, lazygrad):
        x, w = (library.tensor([v], requires_grad=True) for v in (value, 0.25))
        library.nn.functional.prelu(x, w).backward(library.tensor([g]))
        gradients.append((x.grad.tolist(), w.grad.tolist()))
    np.testing.assert_array_equal(*gradients)


LOSSES: list[tuple[str, tuple, dict]] = [
    ("mse_loss", (normal(3, 4), normal(3, 4)), {}),
    ("l1_loss", (normal(3, 4), normal(3, 4)), {}),
    ("smooth_l1_loss", (normal(3, 4) * 2, normal(3, 4)), {"beta": 0.7}),
    ("huber_loss", (normal(3, 4) * 2, normal(3, 4)), {"delta": 0.7}),
    ("binary_cross_entropy", (probabilities(3, 4), probabilities(3, 4)), {}),
    ("binary_cross_entropy_with_logits", (normal(3, 4) * 5, probabilities(3, 4)), {}),
    (
        "binary_cross_entropy_with_logits",
        (normal(3, 4), probabilities(3, 4)),
        {"pos_weight": positive(4), "weight": positive(3, 4)},
    ),
    ("kl_div", (normal(3, 4), probabilities(3, 4)), {}),
    ("kl_div", (normal(3, 4), normal(3, 4)), {"log_target": True}),
    ("hinge_embedding_loss", (normal(3, 4), signs(3, 4)), {"margin": 0.5}),
    ("margin_ranking_loss", (normal(5), normal(5), signs(5)), {"margin": 0.2}),
    ("soft_margin_loss", (normal(3, 4), signs(3, 4)), {}),
    ("multilabel_soft_margin_loss", (normal(3, 4), (signs(3, 4) + 1) / 2), {"weight": positive(4)}),
    ("multilabel_soft_margin_loss", (normal(3, 4), (signs(3, 4) + 1) / 2),
     {"weight": positive(2, 3, 4), "reduction": "none"}),
    ("multi_margin_loss", (normal(3, 4), classes(4, 3)), {}),
    ("multi_margin_loss", (normal(3, 4), classes(4, 3)), {"p": 2, "margin": 0.7, "weight": positive(4)}),
    ("multilabel_margin_loss", (normal(2, 4), np.array([[3, 0, -1, 1], [1, -1, -1, -1]])), {}),
    ("gaussian_nll_loss", (normal(3, 4), normal(3, 4), positive(3, 4)), {"full": True}),
    ("gaussian_nll_loss", (normal(3, 4), normal(3, 4), positive(3, 1)), {}),
    ("poisson_nll_loss", (normal(3, 4), positive(3, 4) * 3), {"full": True}),
    ("poisson_nll_loss", (positive(3, 4), positive(3, 4)), {"log_input": False}),
    ("cosine_embedding_loss", (normal(3, 4), normal(3, 4), signs(3)), {"margin": 0.1}),
    ("triplet_margin_loss", (normal(3, 4), normal(3, 4), normal(3, 4)), {}),
    ("triplet_margin_loss", (normal(3, 4), normal(3, 4), normal(3, 4)), {"swap": True, "p": 1.0}),
    ("nll_loss", (normal(3, 4), classes(4, 3)), {}),
    ("nll_loss", (normal(3, 4, 2, 2), classes(4, 3, 2, 2)), {"weight": positive(4), "ignore_index": 1}),
    ("cross_entropy", (normal(5, 4) * 9, classes(4, 5)), {}),
    ("cross_entropy", (normal(4), np.array(2)), {}),
    ("cross_entropy", (normal(5, 4), classes(4, 5)), {"weight": positive(4), "ignore_index": 2}),
    ("cross_entropy", (normal(5, 4), classes(4, 5)), {"label_smoothing": 0.1}),
    (
        "cross_entropy",
        (normal(5, 4), classes(4, 5)),
        {"label_smoothing": 0.1, "weight": positive(4), "ignore_index": 2},
    ),
    ("cross_entropy", (normal(2, 4, 3, 2), classes(4, 2, 3, 2)), {"label_smoothing": 0.3}),
    ("cross_entropy", (normal(5, 4), probabilities(5, 4)), {}),
    (
        "cross_entropy",
        (normal(2, 4, 3), probabilities(2, 4, 3)),
        {"weight": positive(4), "label_smoothing": 0.2},
    ),
]


# PyTorch differentiates most losses with respect to the input alone
DIFFERENTIABLE = {"mse_loss": 2, "l1_loss": 2, "smooth_l1_loss": 2, "huber_loss": 2, "kl_div": 2,
                  "binary_cross_entropy_with_logits": 2, "margin_ranking_loss": 2, "cosine_embedding_loss": 2,
                  "gaussian_nll_loss": 3, "triplet_margin_loss": 3}


@pytest.mark.filterwarnings("ignore:reduction")
@pytest.mark.parametrize(("name", "arrays", "options"), LOSSES)
def test_losses(name: str, arrays: tuple, options: dict, device: str) -> None:
    for reduction in ("none", "mean", "sum"):
        compare(name, arrays, {**options, "reduction": reduction}, device,
                differentiable=DIFFERENTIABLE.get(name, 1))


def test_cross_entropy_of_extreme_logits() -> None:
    logits = lazygrad.tensor([[1e4, -1e4, 0.0], [-math.inf, 0.0, 0.0]], requires_grad=True)
    loss = functional.cross_entropy(logits, lazygrad.tensor([0, 1]), reduction="none")
    assert loss.tolist() == pytest.approx([0.0, math.log(2)])
    loss.sum().backward()
    assert np.isfinite(logits.grad.numpy()).all()


def test_margins_are_floats_beside_whole_numbers() -> None:
    a, b, y = lazygrad.tensor([1, 2]), lazygrad.tensor([3, 1]), lazygrad.tensor([1, -1])
    loss = functional.margin_ranking_loss(a, b, y, reduction="sum")
    assert loss.dtype is lazygrad.float32 and loss.item() == 3.0


def test_ignored_targets_count_for_nothing() -> None:
    logits = lazygrad.tensor([[1.0, 2.0], [math.nan, 0.0]], requires_grad=True)
    loss = functional.cross_entropy(logits, lazygrad.tensor([1, -100]))
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1)))
    nothing = functional.cross_entropy(lazygrad.ones(2, 2), lazygrad.tensor([-100, -100]))
    assert math.isnan(nothing.item())


def test_cross_entropy_of_half_precision() -> None:
    x = lazygrad.tensor([[1.0, 2.0, 3.0]], dtype=lazygrad.float16)
    assert functional.cross_entropy(x, lazygrad.tensor([2])).dtype == lazygrad.float16


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (
            lambda: functional.cross_entropy(lazygrad.ones(3, 4), lazygrad.tensor([0, 1])),
            ValueError,
            r"Expected input batch_size \(3\) to match target batch_size \(2\)",
        ),
        (
            lambda: functional.cross_entropy(lazygrad.ones(2, 3), lazygrad.tensor([0, 3])).item(),
            IndexError,
            "3",
        ),
        (
            lambda: functional.cross_entropy(lazygrad.ones(2, 3), lazygrad.ones(2)),
            RuntimeError,
            "must be integers",
        ),
        (
            lambda: functional.nll_loss(
                lazygrad.ones(2, 3), lazygrad.tensor([0, 1]), weight=lazygrad.ones(2)
            ),
            RuntimeError,
            "weight tensor should be defined either for all 3 classes",
        ),
        (
            lambda: functional.binary_cross_entropy_with_logits(lazygrad.ones(2), lazygrad.ones(3)),
            ValueError,
            "must be the same as input size",
        ),
        (
            lambda: functional.mse_loss(lazygrad.ones(2), lazygrad.ones(2), reduction="average"),
            ValueError,
            "average is not a valid value for reduction",
        ),
        (lambda: functional.gelu(lazygrad.ones(2), approximate="fast"), RuntimeError, "either none or tanh"),
        (lambda: functional.dropout(lazygrad.ones(2), p=1.5), ValueError, "between 0 and 1, but got 1.5"),
        (
            lambda: functional.layer_norm(lazygrad.ones(2, 3), (4,)),
            RuntimeError,
            r"Given normalized_shape=\[4\], expected input with shape \[\*, 4\], but got .* size\[2, 3\]",
        ),
        (
            lambda: functional.batch_norm(lazygrad.ones(1, 3), None, None, training=True),
            ValueError,
            "Expected more than 1 value per channel when training",
        ),
        (lambda: functional.group_norm(lazygrad.ones(1, 3, 2), 2), RuntimeError, "divisible by num_groups"),
        (lambda: functional.glu(lazygrad.ones(2, 3)), RuntimeError, "Halving dimension must be even"),
        (
            lambda: functional.gaussian_nll_loss(lazygrad.ones(2), lazygrad.ones(2), -lazygrad.ones(2)),
            ValueError,
            "var has negative entry",
        ),
        (
            lambda: functional.triplet_margin_loss(*[lazygrad.ones(2, 2)] * 3, margin=0),
            ValueError,
            "greater than 0",
        ),
    ],
)
def test_mistakes(make: Callable[[], Any], kind: type, message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        make()
    assert isinstance(caught.value, lazygrad.LazygradError)


NORMS: list[tuple[str, tuple, dict]] = [
    ("layer_norm", (normal(2, 3, 4), (3, 4), normal(3, 4), normal(3, 4)), {}),
    ("layer_norm", (normal(2, 3, 4),), {"normalized_shape": (4,)}),
    ("rms_norm", (normal(2, 3, 4), (4,), normal(4)), {}),
    ("group_norm", (normal(2, 6, 4), 3, normal(6), normal(6)), {}),
    ("instance_norm", (normal(2, 3, 5), None, None, normal(3), normal(3)), {}),
    ("batch_norm", (normal(4, 3, 5), None, None, normal(3), normal(3)), {"training": True}),
    ("local_response_norm", (normal(2, 5, 4),), {"size": 3, "alpha": 0.5}),
    ("local_response_norm", (normal(2, 5, 4, 2),), {"size": 2}),
    ("normalize", (normal(3, 4),), {}),
    ("normalize", (normal(3, 4),), {"p": 3.0, "dim": -1}),
    ("cosine_similarity", (normal(3, 4), normal(3, 4)), {}),
    ("pairwise_distance", (normal(3, 4), normal(3, 4)), {"p": 1.0, "keepdim": True}),
    ("pdist", (normal(4, 3),), {}),
]


@pytest.mark.parametrize(("name", "arrays", "options"), NORMS)
def test_norms_and_distances(name: str, arrays: tuple, options: dict, device: str) -> None:
    compare(name, arrays, options, device, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["batch_norm", "instance_norm"])
def test_running_statistics(name: str, device: str) -> None:
    torch = pytest.importorskip("torch")
    x = normal(4, 3, 5) * 2 + 1
    found = []
    for library, f in ((lazygrad, getattr(functional, name)), (torch, getattr(torch.nn.functional, name))):
        place = {"device": device} if library is lazygrad else {}
        mean, var = library.zeros(3, **place), library.ones(3, **place)
        options = {"training": True} if name == "batch_norm" else {}
        for _ in range(2):
            f(library.tensor(x, **place), mean, var, momentum=0.3, **options)
        evaluated = f(
            library.tensor(x, **place), mean, var, **({} if options else {"use_input_stats": False})
        )
        found.append([np.asarray(t.tolist()) for t in (mean, var, evaluated)])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


ATTENTION = [
    ({}, (2, 3, 4, 8), (2, 3, 5, 8)),
    ({"is_causal": True}, (2, 3, 5, 8), (2, 3, 5, 8)),
    ({"is_causal": True, "scale": 0.3}, (3, 4, 8), (3, 6, 8)),
    ({"attn_mask": normal(4, 5)}, (2, 4, 8), (2, 5, 8)),
    ({"attn_mask": np.array([[True, False, True], [False, False, False]])}, (2, 2, 8), (2, 3, 8)),
    ({"enable_gqa": True}, (2, 4, 3, 8), (2, 2, 5, 8)),
]


@pytest.mark.parametrize(("options", "query", "key"), ATTENTION)
def test_attention(options: dict, query: tuple, key: tuple, device: str) -> None:
    arrays = (normal(*query), normal(*key), normal(*key))
    compare("scaled_dot_product_attention", arrays, options, device, rtol=1e-4, atol=1e-5)


REARRANGED: list[tuple[str, tuple, dict]] = [
    ("linear", (normal(2, 3, 4), normal(5, 4), normal(5)), {}),
    ("linear", (normal(4), normal(5, 4), normal(1, 5)), {}),
    ("bilinear", (normal(3, 4), normal(3, 2), normal(5, 4, 2), normal(5)), {}),
    ("embedding", (classes(6, 2, 3), normal(6, 4)), {}),
    ("embedding", (np.array([[0, 1, 0], [1, 1, 2]]), normal(6, 4)), {"padding_idx": 1}),
    ("embedding", (np.array([0, 1, 0, 2]), normal(6, 4)), {"scale_grad_by_freq": True}),
    ("pixel_shuffle", (normal(2, 8, 3, 2), 2), {}),
    ("pixel_unshuffle", (normal(2, 2, 4, 6), 2), {}),
    ("pad", (normal(2, 3, 4), (1, 2)), {}),
    ("pad", (normal(2, 3, 4), (1, 2)), {"mode": "reflect"}),
    ("interpolate", (normal(1, 2, 4, 4),), {"scale_factor": 2.0}),
    ("interpolate", (normal(1, 2, 4, 4),), {"size": (3, 7), "mode": "bilinear"}),
    ("conv2d", (normal(2, 4, 6, 6), normal(6, 2, 3, 3), normal(6)), {"stride": 2, "padding": 1, "groups": 2}),
    ("max_pool2d", (normal(2, 3, 6, 6), 2), {}),
    ("avg_pool2d", (normal(2, 3, 6, 6), 3), {"padding": 1, "stride": 2}),
    ("adaptive_avg_pool2d", (normal(2, 3, 7, 5), (3, 2)), {}),
]


@pytest.mark.parametrize(("name", "arrays", "options"), REARRANGED)
def test_linear_maps_tables_and_spaces(name: str, arrays: tuple, options: dict, device: str) -> None:
    compare(name, arrays, options, device, rtol=1e-4, atol=1e-5)


def test_max_norm_shortens_the_named_rows_in_place() -> None:
    weight = lazygrad.tensor([[3.0, 4.0], [3.0, 4.0], [0.3, 0.4]])
    rows = functional.embedding(lazygrad.tensor([0, 2]), weight, max_norm=1.0)
    np.testing.assert_allclose(rows.numpy(), [[0.6, 0.8], [0.3, 0.4]], rtol=1e-5)
    np.testing.assert_allclose(weight.numpy(), [[0.6, 0.8], [3.0, 4.0], [0.3, 0.4]], rtol=1e-5)


def test_dropout_keeps_the_mean_and_zeroes_its_share(device: str) -> None:
    lazygrad.manual_seed(0)
    x = lazygrad.ones(100, 100, device=device)
    y = functional.dropout(x, 0.25).numpy(force=True)
    assert set(np.unique(y)) == {0.0, np.float32(1 / 0.75)}
    assert abs((y == 0).mean() - 0.25) < 0.02
    assert functional.dropout(x, 0.25, training=False) is x
    assert functional.dropout(x, 1.0).sum().item() == 0.0


def test_channel_dropout_zeroes_whole_channels() -> None:
    for name, shape in (
        ("dropout1d", (4, 50, 3)),
        ("dropout2d", (4, 50, 3, 2)),
        ("dropout3d", (4, 50, 2, 2, 2)),
    ):
        y = getattr(functional, name)(lazygrad.ones(*shape), 0.5).numpy().reshape(4, 50, -1)
        assert ((y == 0).all(-1) | (y == 2).all(-1)).all()
        assert 0.3 < (y[..., 0] == 0).mean() < 0.7


def test_alpha_dropout_keeps_mean_and_variance() -> None:
    lazygrad.manual_seed(1)
    y = functional.alpha_dropout(lazygrad.randn(200, 200), 0.3, training=True)
    assert abs(y.mean().item()) < 0.03
    assert abs(y.std().item() - 1) < 0.03


def test_gumbel_softmax() -> None:
    lazygrad.manual_seed(2)
    logits = lazygrad.tensor([[0.0, math.log(3.0)]], requires_grad=True)
    hard = functional.gumbel_softmax(logits.expand(4000, 2), hard=True)
    values = hard.detach().numpy()
    assert set(np.unique(values.round(6))) == {0.0, 1.0}
    assert abs(values[:, 1].mean() - 0.75) < 0.03
    hard[:, 0].sum().backward()
    assert logits.grad.abs().sum().item() > 0


def test_embedding_bags_end_where_the_last_offset_says() -> None:
    # of float64 PyTorch takes what follows the last offset into the last bag
    weight, input = np.arange(6, dtype=np.float32).reshape(3, 2) - 2, [0, 1, 1, 2, 0]
    for offsets in ([0, 2, 2, 4], [0, 5], [0]):
        found = [
            m.nn.functional.embedding_bag(
                m.tensor(input), m.tensor(weight), m.tensor(offsets), mode="sum", include_last_offset=True
            )
            for m in (lazygrad, pytorch())
        ]
        np.testing.assert_array_equal(found[0].numpy(), found[1].numpy())
    rows = functional.embedding_bag(lazygrad.tensor(input), lazygrad.tensor(weight),
                                    lazygrad.tensor([], dtype=lazygrad.int64))
    assert rows.shape == (0, 2)


def test_old_flags_of_losses_are_read_and_warned_of_by_name() -> None:
    for m in (lazygrad, pytorch()):
        flags = m.nn._reduction.legacy_get_string
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert [flags(a, r, emit_warning=False) for a in (None, False) for r in (None, False)] == [
                "mean", "none", "sum", "none"]
        with pytest.warns(UserWarning, match="please use reduction='sum' instead"):
            m.nn.functional.l1_loss(m.ones(2), m.ones(2), size_average=False)


def test_heads_that_do_not_divide_are_refused() -> None:
    one, four = lazygrad.ones(1, 1, 2, 4), lazygrad.ones(1, 4, 2, 4)
    with pytest.raises(RuntimeError, match="must divide that of query: 4 and 4 for 1"):
        functional.scaled_dot_product_attention(one, four, four, enable_gqa=True)


def test_norms_but_for_one_dimension() -> None:
    for shape in ((3,), (2, 3), (2, 3, 4)):
        v = rng.standard_normal(shape)
        for dim in (0, -1, len(shape) - 1):
            ours, theirs = (m.norm_except_dim(m.tensor(v), 2, dim) for m in (lazygrad, pytorch()))
            np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-12)
