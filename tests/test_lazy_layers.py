"""Layers that learn their sizes, wrappers of modules, and PyTorch's paths of modules."""

import copy
import importlib
from typing import Any

import numpy as np
import pytest
from module_support import compare, same_weights
from torch_support import pytorch

import lazygrad
from lazygrad import nn


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("LazyLinear(3)", (2, 4)),
        ("LazyLinear(3, bias=False)", (5,)),
        ("LazyConv1d(4, 2)", (1, 3, 5)),
        ("LazyConv2d(4, 3, 1, 1, groups=2)", (1, 2, 5, 5)),
        ("LazyConv3d(2, 2, bias=False)", (1, 3, 3, 3, 3)),
        ("LazyConvTranspose2d(4, 3, 2, 1, output_padding=1)", (1, 2, 3, 3)),
        ("LazyBatchNorm1d()", (4, 3)),
        ("LazyBatchNorm2d(affine=False)", (2, 3, 2, 2)),
        ("LazyInstanceNorm1d(affine=True)", (2, 3, 4)),
        ("LazyConvTranspose1d(2, 2)", (1, 2, 4)),
        ("LazyBatchNorm3d(track_running_stats=False)", (2, 1, 2, 2, 2)),
    ],
)
def test_lazy_layers_agree_with_torch(text: str, shape: tuple) -> None:
    torch = pytorch()
    theirs = eval(f"nn.{text}", {"nn": torch.nn})
    ours = eval(f"nn.{text}", {"nn": nn})
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [nn.lazy.is_lazy(p) for p in ours.parameters()] == [True] * len(list(theirs.parameters()))
    x = np.random.default_rng(0).standard_normal(shape).astype("f4")
    ours(lazygrad.tensor(x)), theirs(torch.tensor(x))
    assert type(ours).__name__ == type(theirs).__name__
    assert "Lazy" not in type(ours).__name__
    assert repr(ours) == repr(theirs)
    assert all(type(p) is nn.Parameter for p in ours.parameters())
    same_weights(ours, theirs)
    compare([ours(lazygrad.tensor(x))], [theirs(torch.tensor(x))], "float32")


def test_lazy_layers_load_and_copy() -> None:
    ready = nn.Linear(4, 3)
    lazy = nn.Sequential(nn.LazyLinear(3))
    again = copy.deepcopy(lazy)
    lazy.load_state_dict({"0.weight": ready.weight, "0.bias": ready.bias})
    x = lazygrad.ones(2, 4)
    assert lazy(x).tolist() == ready(x).tolist()
    assert type(lazy[0]) is nn.Linear
    assert again(lazygrad.ones(2, 5)).shape == (2, 3)
    with pytest.raises(RuntimeError, match="Can't access the shape"):
        nn.LazyLinear(3).weight.shape  # noqa: B018


def test_parameters_train_after_they_are_known() -> None:
    layer = nn.LazyLinear(2)
    optimizer = lazygrad.optim.SGD(layer.parameters(), lr=1.0)
    layer(lazygrad.ones(1, 3)).sum().backward()
    before = layer.bias.tolist()
    optimizer.step()
    np.testing.assert_allclose(layer.bias.tolist(), [b - 1 for b in before], rtol=1e-5)


@pytest.mark.parametrize("wrapper", [nn.DataParallel, nn.parallel.DistributedDataParallel])
def test_wrappers_are_transparent(wrapper: Any) -> None:
    layer = nn.Linear(2, 2)
    wrapped = wrapper(layer)
    x = lazygrad.ones(1, 2)
    assert wrapped(x).tolist() == layer(x).tolist()
    assert wrapped.module is layer
    assert list(wrapped.state_dict()) == ["module.weight", "module.bias"]
    state = dict(wrapped.state_dict())
    nn.modules.utils.consume_prefix_in_state_dict_if_present(state, "module.")
    assert list(state) == ["weight", "bias"]
    if wrapper is not nn.DataParallel:
        with wrapped.no_sync():
            assert wrapped(x).shape == (1, 2)
    assert nn.parallel.data_parallel(layer, x).shape == (1, 2)


PATHS = [
    "activation",
    "adaptive",
    "batchnorm",
    "channelshuffle",
    "container",
    "conv",
    "distance",
    "dropout",
    "flatten",
    "fold",
    "instancenorm",
    "lazy",
    "linear",
    "loss",
    "module",
    "normalization",
    "padding",
    "pixelshuffle",
    "pooling",
    "rnn",
    "sparse",
    "transformer",
    "upsampling",
    "utils",
]


@pytest.mark.parametrize("path", PATHS)
def test_paths_of_modules(path: str) -> None:
    """Every public name of PyTorch's file is there, and is the class that nn has."""
    ours = importlib.import_module(f"lazygrad.nn.modules.{path}")
    torch = pytorch()
    theirs = importlib.import_module(f"torch.nn.modules.{path}")
    for name in getattr(theirs, "__all__", []):
        if hasattr(torch.nn, name) and "LinearCrossEntropy" not in name:
            assert getattr(ours, name) is getattr(nn, name)


def test_base_classes_and_tuples() -> None:
    from lazygrad.nn.modules.batchnorm import _BatchNorm, _NormBase
    from lazygrad.nn.modules.conv import _ConvNd
    from lazygrad.nn.modules.instancenorm import _InstanceNorm
    from lazygrad.nn.modules.linear import NonDynamicallyQuantizableLinear
    from lazygrad.nn.modules.utils import _ntuple, _pair, _reverse_repeat_tuple, _single, _triple

    assert issubclass(nn.BatchNorm2d, _BatchNorm)
    assert issubclass(_BatchNorm, _NormBase)
    assert issubclass(nn.InstanceNorm1d, _InstanceNorm)
    assert issubclass(nn.ConvTranspose1d, _ConvNd)
    assert isinstance(nn.MultiheadAttention(2, 1).out_proj, NonDynamicallyQuantizableLinear)
    assert (_single(1), _pair(2), _triple([1, 2, 3]), _ntuple(4)(0)) == (
        (1,),
        (2, 2),
        (1, 2, 3),
        (0, 0, 0, 0),
    )
    assert _reverse_repeat_tuple((1, 2), 2) == (2, 2, 1, 1)


def test_names_of_functions_and_settings() -> None:
    """What PyTorch's other files of nn offer."""
    torch = pytorch()
    rng = np.random.default_rng(1)
    x, w, b = rng.standard_normal((5, 2, 3)), rng.standard_normal((2, 3, 4)), rng.standard_normal(4)
    F, G = nn.functional, torch.nn.functional
    ours, theirs = [lazygrad.tensor(t) for t in (x, w, b)], [torch.tensor(t) for t in (x, w, b)]
    compare([F.conv_tbc(*ours, 1)], [torch.conv_tbc(*theirs, 1)], "float64")
    compare(
        list(F.adaptive_max_pool1d_with_indices(ours[0], 2)),
        list(G.adaptive_max_pool1d_with_indices(theirs[0], 2)),
        "float64",
    )
    target = [0, 2]
    mine = F.linear_cross_entropy(
        ours[0][0], ours[1][0].t(), lazygrad.tensor(target), linear_bias=ours[2], label_smoothing=0.1
    )
    yours = G.cross_entropy(
        G.linear(theirs[0][0], theirs[1][0].t(), theirs[2]), torch.tensor(target), label_smoothing=0.1
    )
    compare([mine], [yours], "float64")
    image, kernel = rng.standard_normal((1, 2, 5, 5)), rng.standard_normal((3, 2, 2, 2))
    for name, first, out in (("conv2d_input", (1, 2, 5, 5), kernel), ("conv2d_weight", image, (3, 2, 2, 2))):
        g = rng.standard_normal((1, 3, 2, 2))
        args = [[first, out, g]] * 2
        results = [
            getattr(library.nn.grad, name)(
                *[library.tensor(a) if isinstance(a, np.ndarray) else a for a in args[0]], stride=2
            )
            for library in (lazygrad, torch)
        ]
        compare([results[0]], [results[1]], "float64")
    with pytest.warns(UserWarning, match="deprecated"):
        assert F.upsample_nearest(lazygrad.ones(1, 1, 2, 2), scale_factor=2).shape == (1, 1, 4, 4)
    with pytest.warns(UserWarning, match="deprecated"):
        assert F.upsample_bilinear(lazygrad.ones(1, 1, 2, 2), (3, 3)).shape == (1, 1, 3, 3)
    assert [nn._reduction.get_enum(r) for r in ("none", "mean", "sum")] == [0, 1, 2]
    assert F.native_channel_shuffle(lazygrad.ones(1, 4, 2), 2).shape == (1, 4, 2)
    assert nn.common_types._size_2_t == int | tuple[int, int]


def test_older_names_of_limits() -> None:
    with pytest.warns(FutureWarning, match="min_value"):
        layer = nn.Hardtanh(min_value=-3)
    assert (layer.min_val, layer.max_val) == (-3, 1.0)
    assert layer(lazygrad.tensor([-5.0, 5.0])).tolist() == [-3.0, 1.0]
    with pytest.raises(AssertionError, match="larger than"):
        nn.Hardtanh(2, 1)


def test_arguments_that_a_lazy_convolution_does_not_take() -> None:
    with pytest.raises(TypeError, match=r"\[LazyConv1d\] got 'kernel_size' twice"):
        nn.LazyConv1d(3, 1, kernel_size=2)
    with pytest.raises(TypeError, match=r"\[LazyConv1d\] got too many arguments"):
        nn.LazyConv1d(3, 1, 1, 0, 1, 1, True, "zeros", None, None, None)
