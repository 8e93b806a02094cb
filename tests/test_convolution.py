"""Convolution, pooling, padding and interpolation against PyTorch, with gradients; and against plain
loops."""

import inspect
import itertools

import numpy as np
import pytest
from torch_compare import compare, lazy, lazy_of, torch

import lazygrad
from lazygrad.tensors.autograd import grad as lazy_grad

rng = np.random.default_rng(0)


def f(t):
    """Where a library keeps its functions."""
    return torch.nn.functional if t is torch else t


def arrays(*shapes):
    return [rng.standard_normal(s) for s in shapes]


@pytest.mark.parametrize("stride, padding, dilation, groups", [
    (1, 0, 1, 1), (2, 1, 1, 1), (1, 2, 2, 1), (3, 1, 2, 2), ((1, 2), (0, 3), (2, 1), 1), (2, 2, 1, 4)])
def test_conv2d(stride, padding, dilation, groups, device):
    x, w, b = arrays((2, 4, 7, 9), (8, 4 // groups, 3, 2), (8,))
    compare(device, lambda t, x, w, b: f(t).conv2d(x, w, b, stride, padding, dilation, groups), x, w, b)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_convolutions_show_their_arguments(rank):
    names = ["input", "weight", "bias", "stride", "padding"]
    for name, rest in ((f"conv{rank}d", ["dilation", "groups"]),
                       (f"conv_transpose{rank}d", ["output_padding", "groups", "dilation"])):
        assert list(inspect.signature(getattr(lazy, name)).parameters) == names + rest
        assert getattr(lazy, name).__name__ == name and "weight (C" in \
            " ".join(getattr(lazy, name).__doc__.split())


def test_conv2d_against_loops(device):
    x, w = arrays((2, 3, 5, 6), (4, 3, 2, 3))
    want = np.zeros((2, 4, 4, 4))
    for n, o, i, j in itertools.product(*map(range, want.shape)):
        want[n, o, i, j] = (x[n, :, i:i + 2, j:j + 3] * w[o]).sum()
    np.testing.assert_allclose(lazy.conv2d(lazy_of(x, device), lazy_of(w, device)).numpy(), want)


@pytest.mark.parametrize("rank", [1, 3])
def test_conv_other_ranks(rank, device):
    x, w, b = arrays((2, 4, *(6, 5, 4)[:rank]), (6, 2, *(3, 2, 2)[:rank]), (6,))
    compare(device, lambda t, x, w, b: getattr(f(t), f"conv{rank}d")(x, w, b, 2, 1, 1, 2), x, w, b)
    compare(device, lambda t, x, w: getattr(f(t), f"conv{rank}d")(x[0], w, padding="same", groups=2), x, w)
    w, b = arrays((4, 3, *(3, 2, 2)[:rank]), (6,))
    compare(device, lambda t, x, w, b: getattr(f(t), f"conv_transpose{rank}d")(x, w, b, 2, 1, 1, 2), x, w, b)


@pytest.mark.parametrize(
    "stride, padding, extra, groups, dilation",
    [
        (1, 0, 0, 1, 1),
        (2, 1, 1, 1, 1),
        (3, 0, 2, 2, 1),
        (2, 1, 1, 1, 2),
        ((1, 2), (0, 1), (0, 1), 4, 1),
        (1, 3, 0, 1, 3),
    ],
)
def test_conv_transpose2d(stride, padding, extra, groups, dilation, device):
    x, w, b = arrays((2, 4, 4, 5), (4, 3, 3, 2), (3 * groups,))
    compare(
        device,
        lambda t, x, w, b: f(t).conv_transpose2d(x, w, b, stride, padding, extra, groups, dilation),
        x,
        w,
        b,
    )


def test_conv_half(device):
    x, w = (a.astype(np.float16) for a in arrays((1, 4, 6, 6), (4, 4, 3, 3)))
    compare(device, lambda t, x, w: f(t).conv2d(x, w), x, w, tolerance=2e-2, gradients=False)


def test_second_order(device):
    x, w = arrays((1, 2, 5, 5), (2, 2, 3, 3))

    def penalty(t, x, w):
        y = f(t).conv2d(x, w, padding=1)
        grad = t.autograd.grad if t is torch else lazy_grad
        return (grad((y ** 3).sum(), x, create_graph=True)[0] ** 2).sum()

    compare(device, penalty, x, w)


def test_conv_errors(device):
    x = lazy.zeros(1, 3, 4, 4, device=device)
    with pytest.raises(RuntimeError, match="channels"):
        lazy.conv2d(x, lazy.zeros(2, 4, 3, 3, device=device))
    with pytest.raises(RuntimeError, match="Kernel size can't be greater"):
        lazy.conv2d(x, lazy.zeros(2, 3, 5, 5, device=device))
    with pytest.raises(RuntimeError, match="unbatched"):
        lazy.conv2d(x[0, 0], lazy.zeros(2, 3, 3, 3, device=device))
    with pytest.raises(RuntimeError, match="bias"):
        lazy.conv2d(x, lazy.zeros(2, 3, 3, 3, device=device), lazy.zeros(3, device=device))
    with pytest.raises(RuntimeError, match="strided"):
        lazy.conv2d(x, lazy.zeros(2, 3, 3, 3, device=device), padding="same", stride=2)
    with pytest.raises(ValueError, match="stride"):
        lazy.conv2d(x, lazy.zeros(2, 3, 3, 3, device=device), stride=0)
    with pytest.raises(RuntimeError, match="output padding"):
        lazy.conv_transpose2d(x, lazy.zeros(3, 2, 3, 3, device=device), output_padding=1)
    with pytest.raises(RuntimeError, match="half of kernel"):
        lazy.max_pool2d(x, 2, padding=2)
    with pytest.raises(RuntimeError, match="does not fit"):
        lazy.max_pool2d(x, 5)


POOLS = [
    (2, None, 0, 1, False),
    (3, 2, 1, 1, False),
    (3, 2, 1, 1, True),
    (2, 3, 1, 2, True),
    ((2, 3), (1, 2), (1, 0), 1, True),
    (2, 3, 0, 1, True),
]


@pytest.mark.parametrize("kernel, stride, padding, dilation, ceil", POOLS)
def test_max_pool2d(kernel, stride, padding, dilation, ceil, device):
    x, = arrays((2, 3, 7, 8))
    x = np.round(x)  # ties: the first takes the gradient
    compare(device, lambda t, x: f(t).max_pool2d(x, kernel, stride, padding, dilation, ceil, True), x)


def test_max_pool_special(device):
    x, = arrays((1, 1, 4, 4))
    x[0, 0, 1, 1], x[0, 0, 2:, 2:] = np.nan, -np.inf
    compare(device, lambda t, x: f(t).max_pool2d(x, 2, return_indices=True), x, gradients=False)
    compare(device, lambda t, x: f(t).max_pool2d(x, 3, 1, 1, return_indices=True), x, gradients=False)
    compare(device, lambda t, x: f(t).max_pool2d(x, 2), rng.integers(-9, 9, (1, 2, 4, 4)))
    compare(device, lambda t, x: f(t).max_pool1d(x[0], 2), arrays((2, 3, 7))[0])
    compare(device, lambda t, x: f(t).max_pool3d(x, 2, padding=1), arrays((2, 3, 5, 4, 4))[0])


@pytest.mark.parametrize("kernel, stride, padding, dilation, ceil", [p for p in POOLS if p[3] == 1])
@pytest.mark.parametrize("include, divisor", [(True, None), (False, None), (True, 3)])
def test_avg_pool2d(kernel, stride, padding, dilation, ceil, include, divisor, device):
    x, = arrays((2, 3, 7, 8))
    compare(device, lambda t, x: f(t).avg_pool2d(x, kernel, stride, padding, ceil, include, divisor), x)


def test_other_pools(device):
    x, y = arrays((2, 3, 7), (2, 3, 5, 4, 4))
    compare(device, lambda t, x: f(t).avg_pool1d(x, 3, 2, 1), x)
    compare(device, lambda t, x: f(t).avg_pool3d(x, 2, padding=1), y)
    compare(device, lambda t, x: f(t).lp_pool1d(x, 2, 3), x)
    compare(device, lambda t, x: f(t).lp_pool2d(x, 2, 2), y[0])
    for size in (1, 3, 7, 9):
        compare(device, lambda t, x, n=size: f(t).adaptive_avg_pool1d(x, n), x)
        compare(device, lambda t, x, n=size: f(t).adaptive_max_pool1d(x, n, return_indices=True), x)
    compare(device, lambda t, x: f(t).adaptive_avg_pool2d(x, (3, None)), y[0])
    compare(device, lambda t, x: f(t).adaptive_max_pool2d(x, (3, 2), return_indices=True), y[0])
    compare(device, lambda t, x: f(t).adaptive_avg_pool3d(x, (2, 4, 3)), y)
    compare(
        device,
        lambda t, x: f(t).max_unpool2d(*f(t).max_pool2d(x, 2, return_indices=True), 2),
        arrays((1, 2, 4, 4))[0],
    )


def test_folding(device):
    x, = arrays((2, 3, 6, 7))
    compare(device, lambda t, x: f(t).unfold(x, (2, 3), 2, 1, (1, 2)), x)
    compare(
        device, lambda t, x: f(t).fold(f(t).unfold(x, (2, 3), 2, 1, (1, 2)), (6, 7), (2, 3), 2, 1, (1, 2)), x
    )
    y, = arrays((2, 8, 3, 4))
    compare(device, lambda t, x: f(t).pixel_shuffle(x, 2), y)
    compare(device, lambda t, x: f(t).pixel_unshuffle(x, 2), arrays((2, 2, 6, 4))[0])
    compare(device, lambda t, x: f(t).channel_shuffle(x, 2) if t is lazy else torch.channel_shuffle(x, 2), y)


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_pad(mode, device):
    x, = arrays((2, 3, 4, 5))
    compare(device, lambda t, x: f(t).pad(x, (1, 3, 2, 0), mode), x)
    compare(device, lambda t, x: f(t).pad(x, (-1, 2, 1, -2), mode), x)
    compare(device, lambda t, x: f(t).pad(x[0], (2, 1), mode), x[0])
    with pytest.raises(RuntimeError):
        lazy.pad(lazy_of(x, device), (1,), mode)
    with pytest.raises(RuntimeError):
        lazy.pad(lazy_of(x, device), (-9, 1), mode)
    if mode == "constant":
        compare(device, lambda t, x: f(t).pad(x, (1, 0, 0, 0, 2, 1), value=-1.5), x)
        compare(device, lambda t, x: f(t).pad(x, (1, 0), value=7), np.arange(6).reshape(2, 3))


@pytest.mark.parametrize(
    "mode, rank",
    [
        ("nearest", 1),
        ("nearest", 2),
        ("nearest", 3),
        ("nearest-exact", 2),
        ("linear", 1),
        ("bilinear", 2),
        ("bicubic", 2),
        ("trilinear", 3),
        ("area", 2),
    ],
)
def test_interpolate(mode, rank, device):
    x, = arrays((2, 3, *(5, 7, 4)[:rank]))
    aligns = (None, False, True) if "linear" in mode or "cubic" in mode else (None,)
    for align in aligns:
        for size in (3, 8, 10):
            compare(
                device, lambda t, x, n=size, a=align: f(t).interpolate(x, n, mode=mode, align_corners=a), x
            )
        for scale in (2, 0.6, 1.7):
            compare(
                device,
                lambda t, x, s=scale, a=align: f(t).interpolate(
                    x, scale_factor=s, mode=mode, align_corners=a
                ),
                x,
            )
    if mode in ("bilinear", "bicubic"):
        for size in (3, 9):
            compare(device, lambda t, x, n=size: f(t).interpolate(x, n, mode=mode, antialias=True), x)


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("align", [False, True])
def test_grid_sample(padding, align, device):
    x, grid = rng.standard_normal((2, 3, 4, 5)), rng.uniform(-1.6, 1.6, (2, 3, 6, 2))
    for mode in ("bilinear", "nearest", "bicubic"):
        compare(device, lambda t, x, g, m=mode: f(t).grid_sample(x, g, m, padding, align), x, grid)
    x, grid = rng.standard_normal((1, 2, 3, 4, 5)), rng.uniform(-1.6, 1.6, (1, 2, 3, 2, 3))
    compare(device, lambda t, x, g: f(t).grid_sample(x, g, "bilinear", padding, align), x, grid)
    compare(device, lambda t, x: f(t).affine_grid(x, (2, 1, 4, 5), align), rng.standard_normal((2, 2, 3)))
    compare(device, lambda t, x: f(t).affine_grid(x, (2, 1, 3, 4, 1), align), rng.standard_normal((2, 3, 4)))


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("options", [{}, {"align_corners": True}, {"antialias": True}], ids=str)
def test_images_of_bytes_are_resized_bit_for_bit(mode, options):
    images = np.random.default_rng(3).integers(0, 256, (2, 3, 13, 9), dtype=np.uint8)
    for size in ((5, 20), (26, 4), (1, 3), (13, 7)):
        ours, theirs = (
            m.nn.functional.interpolate(m.tensor(images), size, mode=mode, **options)
            for m in (lazygrad, torch)
        )
        assert np.array_equal(ours.numpy(), theirs.numpy()), size
