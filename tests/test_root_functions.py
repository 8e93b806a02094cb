"""Functions of the root beside PyTorch's: nn.functional's in the root's argument order, views as copies,
`out=`, sizes changed in place, small questions, spectra in real pairs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from torch_support import check, outcome, pytorch

import lazygrad

rng = np.random.default_rng(5)


def floats(*shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def compared(call: Callable[..., Any], *arrays: np.ndarray, tolerance: float = 2e-5) -> None:
    """A call with both libraries: results, and gradients of the float inputs."""
    torch = pytorch()
    results = []
    for m in (lazygrad, torch):
        inputs = [m.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = call(m, *inputs)
        parts = [t for t in (made if isinstance(made, tuple | list) else (made,)) if isinstance(t, m.Tensor)]
        wanted = [t for t in parts if t.requires_grad]
        if wanted:
            sum((t * t.detach().cos()).sum() for t in wanted).backward()
        # no gradient is one of zeros
        grads = [m.zeros_like(t) if t.grad is None else t.grad for t in inputs if t.requires_grad]
        results.append(([*parts], grads))
    (ours, grads), (theirs, their_grads) = results
    check(ours, theirs, tolerance, tolerance)
    check(grads, their_grads, 10 * tolerance, 10 * tolerance)


x, w, b = floats(4, 3), floats(3), floats(3)
images, signs = floats(2, 3, 5, 5), np.sign(floats(4)).astype(np.float32)
steps = [floats(6, 2), floats(6, 2), floats(6), floats(6)]

ROOT: dict[str, tuple[Callable[..., Any], tuple[np.ndarray, ...]]] = {
    "celu": (lambda t, x: t.celu(x, 0.5), (x,)),
    "hardshrink": (lambda t, x: (t.hardshrink(x), x.hardshrink(0.3)), (x,)),
    "prelu": (lambda t, x, w: (t.prelu(x, w), x.prelu(w)), (x, w)),
    "rrelu": (lambda t, x: t.rrelu(x, 0.1, 0.3), (x,)),
    "selu": (lambda t, x: t.selu(x), (x,)),
    "threshold": (lambda t, x: t.threshold(x, 0.1, -2), (x,)),
    "dropout": (lambda t, x: (t.dropout(x, 0.5, False), t.feature_dropout(x, 0.5, False)), (x,)),
    "native_dropout": (lambda t, x: t.native_dropout(x, 0.5, False), (x,)),
    "layer_norm": (lambda t, x, w, b: t.layer_norm(x, (3,), w, b, 1e-5, False), (x, w, b)),
    "native_layer_norm": (lambda t, x, w, b: t.native_layer_norm(x, (3,), w, b, 1e-5)[0], (x, w, b)),
    "native_layer_norm moments": (
        lambda t, x, w, b: [v.detach() for v in t.native_layer_norm(x, (3,), w, b, 1e-5)], (x, w, b)),
    "group_norm": (lambda t, i, w, b: t.group_norm(i, 3, w, b, 1e-5), (images, w, b)),
    "native_group_norm": (
        lambda t, i, w, b: [v.detach() for v in t.native_group_norm(i, w, b, 2, 3, 25, 3, 1e-5)],
        (images, w, b)),
    "batch_norm": (
        lambda t, i, w, b: t.batch_norm(i, w, b, None, None, True, 0.1, 1e-5, False), (images, w, b)),
    "native_batch_norm": (
        lambda t, i, w, b: [v.detach() for v in t.native_batch_norm(i, w, b, None, None, True, 0.1, 1e-5)],
        (images, w, b)),
    "instance_norm": (
        lambda t, i, w, b: t.instance_norm(i, w, b, None, None, True, 0.1, 1e-5, False), (images, w, b)),
    "rms_norm": (lambda t, x, w: t.rms_norm(x, (3,), w, 1e-5), (x, w)),
    "norm_except_dim": (lambda t, i: t.norm_except_dim(i, 2, 1), (images,)),
    "binary_cross_entropy_with_logits": (
        lambda t, x: t.binary_cross_entropy_with_logits(x, t.ones(4, 3), reduction=2), (x,)),
    "embedding_bag": (
        lambda t, x: [t.embedding_bag(x, t.tensor([0, 2, 1, 3, 3]), t.tensor([0, 2, 2]), False, mode)[0]
                      for mode in (0, 1, 2)], (x,)),
    "embedding_bag of weights, without a row": (
        lambda t, x, w: t.embedding_bag(x, t.tensor([0, 2, 3]), t.tensor([0, 2, 3]), False, 0, False, w, True,
                                        3)[0], (x, w)),
    "embedding_bag's sizes": (
        lambda t, x: t.embedding_bag(x.detach(), t.tensor([0, 2, 3]), t.tensor([0, 2]), False, 1, False, None,
                                     False, 3)[1:3], (x,)),
    "cosine_embedding_loss": (
        lambda t, x, s: t.cosine_embedding_loss(x, x * 2 + 1, s.detach(), 0.1, 1), (x, signs)),
    "hinge_embedding_loss": (
        lambda t, s, y: t.hinge_embedding_loss(y, s.detach(), 0.5, 0), (signs, floats(4))),
    "kl_div": (lambda t, x: t.kl_div(x, x.detach().exp(), 2), (x,)),
    "margin_ranking_loss": (
        lambda t, a, s: t.margin_ranking_loss(a, a * 2, s.detach(), 0.2, 1), (floats(4), signs)),
    "poisson_nll_loss": (lambda t, x: t.poisson_nll_loss(x, t.ones(4, 3), True, False, 1e-8, 1), (x,)),
    "triplet_margin_loss": (lambda t, x: t.triplet_margin_loss(x, x + 1, x * 2, reduction=2), (x,)),
    "convolution": (
        lambda t, i, k: t.convolution(i, k, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1),
        (images, floats(4, 3, 3, 3))),
    "convolution transposed": (
        lambda t, i, k: t.convolution(i, k, None, [2, 2], [1, 1], [1, 1], True, [1, 1], 1),
        (images, floats(3, 4, 3, 3))),
    "conv_tbc": (lambda t, i, k, b: t.conv_tbc(i, k, b, 1), (floats(5, 2, 3), floats(3, 3, 4), floats(4))),
    "affine_grid_generator": (
        lambda t, a: t.affine_grid_generator(a, [2, 3, 4, 4], False), (floats(2, 2, 3),)),
    "grid_sampler_2d": (
        lambda t, i, g: t.grid_sampler_2d(i, g.tanh(), 0, 1, True), (images, floats(2, 4, 4, 2))),
    "lstm": (
        lambda t, x, h, *p: t.lstm(x, (h, h * 2), list(p), True, 1, 0.0, False, False, True),
        (floats(3, 4, 2), floats(1, 3, 2), floats(8, 2), floats(8, 2), floats(8), floats(8))),
    "gru": (
        lambda t, x, h, *p: t.gru(x, h, list(p), True, 1, 0.0, False, False, False),
        (floats(4, 3, 2), floats(1, 3, 2), *steps)),
    "rnn_tanh": (
        lambda t, x, h, *p: t.rnn_tanh(x, h, list(p), False, 1, 0.0, False, True, False),
        (floats(4, 3, 2), floats(2, 3, 2), *(floats(2, 2) for _ in range(4)))),
    "gru_cell": (lambda t, x, h, *p: t.gru_cell(x, h, *p), (floats(3, 2), floats(3, 2), *steps)),
    "lstm_cell": (
        lambda t, x, h, *p: t.lstm_cell(x, (h, h + 1), *p),
        (floats(3, 2), floats(3, 2), floats(8, 2), floats(8, 2), floats(8), floats(8))),
    "fake_quantize_per_tensor_affine": (
        lambda t, x: t.fake_quantize_per_tensor_affine(x, 0.1, 3, -8, 7), (x,)),
    "fake_quantize_per_channel_affine": (
        lambda t, x: t.fake_quantize_per_channel_affine(
            x, t.tensor([0.1, 0.2, 0.3]), t.tensor([0, 1, 2], dtype=t.int32), 1, -8, 7), (x,)),
    "embedding_renorm_": (
        lambda t, x: t.embedding_renorm_(x.detach().clone(), t.tensor([0, 2]), 0.5, 2.0), (x,)),
    "angle": (lambda t, x: t.angle(x), (np.array([1.0, -2.0, 0.0, -0.0, np.nan], np.float32),)),
    "spmm": (lambda t, x: t.spmm(x, x.t()), (x,)),
    "interpolate bytes": (
        lambda t, x: t.nn.functional.interpolate(
            (x.detach() * 50 + 128).to(t.uint8).float(), scale_factor=2, mode="nearest"), (images,)),
    "norm of zeros counted": (lambda t, x: t.norm(x, 0), (x,)),
    "ldexp": (lambda t, x: t.ldexp(x, t.tensor([1, 2, 3])), (x,)),
    "constant_pad_nd": (lambda t, x: t.constant_pad_nd(x, (1, 2), 1.5), (x,)),
    "take_along_dim": (lambda t, x: t.take_along_dim(x, t.tensor([[0], [-1], [1], [-3]]), 1), (x,)),
    "multi_margin_loss": (
        lambda t, x: t.nn.functional.multi_margin_loss(x[0], t.tensor([1])), (x,)),
}


@pytest.mark.parametrize("name", ROOT)
def test_function_of_the_root(name):
    call, arrays = ROOT[name]
    compared(call, *arrays)


VIEWS: dict[str, Callable[..., Any]] = {
    "alias_copy": lambda t, x: t.alias_copy(x),
    "as_strided_copy": lambda t, x: t.as_strided_copy(x, (2, 2), (1, 3), 1),
    "detach_copy": lambda t, x: t.detach_copy(x.detach()),
    "diagonal_copy": lambda t, x: t.diagonal_copy(x),
    "expand_copy": lambda t, x: t.expand_copy(x, (2, 4, 3)),
    "narrow_copy": lambda t, x: (t.narrow_copy(x, 0, 1, 2), x.narrow_copy(1, 0, 2)),
    "permute_copy": lambda t, x: t.permute_copy(x, (1, 0)),
    "select_copy": lambda t, x: t.select_copy(x, 1, 2),
    "slice_copy": lambda t, x: t.slice_copy(x, 0, 1, 4, 2),
    "split_copy": lambda t, x: t.split_copy(x, 3),
    "split_with_sizes_copy": lambda t, x: t.split_with_sizes_copy(x, [1, 3]),
    "squeeze_copy": lambda t, x: t.squeeze_copy(x[:, None]),
    "t_copy": lambda t, x: t.t_copy(x),
    "transpose_copy": lambda t, x: t.transpose_copy(x, 0, 1),
    "unbind_copy": lambda t, x: t.unbind_copy(x),
    "unfold_copy": lambda t, x: t.unfold_copy(x, 0, 2, 1),
    "unsqueeze_copy": lambda t, x: t.unsqueeze_copy(x, 1),
    "view_copy": lambda t, x: t.view_copy(x, (2, 6)),
    "unsafe_chunk": lambda t, x: (*t.unsafe_chunk(x, 2), *x.unsafe_chunk(3, 1)),
    "unsafe_split": lambda t, x: t.unsafe_split(x, 3),
    "unsafe_split_with_sizes": lambda t, x: x.unsafe_split_with_sizes([1, 3]),
}


@pytest.mark.parametrize("name", VIEWS)
def test_view_as_a_copy(name):
    compared(VIEWS[name], x)
    if name.endswith("_copy"):
        base = lazygrad.tensor(x)
        made = VIEWS[name](lazygrad, base)
        first = made[0] if isinstance(made, tuple | list) else made
        first.zero_()
        np.testing.assert_array_equal(base.numpy(), x)


OUT: dict[str, Callable[..., Any]] = {
    "add": lambda t, x, out: t.add(x, x, out=out),
    "exp": lambda t, x, out: t.exp(x, out=out),
    "sum": lambda t, x, out: t.sum(x, 0, out=out),
    "mm": lambda t, x, out: t.mm(x, x.t(), out=out),
    "maximum": lambda t, x, out: t.maximum(x, x + 1, out=out),
    "where": lambda t, x, out: t.where(x > 0, x, x, out=out),
    "cat": lambda t, x, out: t.cat([x, x], out=out),
    "cumsum": lambda t, x, out: t.cumsum(x, 1, out=out),
    "gather": lambda t, x, out: t.gather(x, 0, t.zeros(1, 3, dtype=t.int64), out=out),
    "eq": lambda t, x, out: t.eq(x, x, out=out),
    "argmax": lambda t, x, out: t.argmax(x, 1, out=out),
    "tril": lambda t, x, out: t.tril(x, out=out),
    "softmax": lambda t, x, out: t.softmax(x, 0, out=out),
}


@pytest.mark.parametrize("name", OUT)
def test_out_is_resized_cast_and_returned(name):
    torch = pytorch()
    for dtype in ("float32", "float64", "int64", "bool", "float16"):
        for shape in ((0,), (4, 3), (7,)):
            found = []
            for m in (lazygrad, torch):
                out = m.zeros(shape, dtype=getattr(m, dtype))
                with warnings.catch_warnings(record=True) as said:
                    warnings.simplefilter("always")
                    made = outcome(lambda m=m, out=out: OUT[name](m, m.tensor(x), out))
                assert isinstance(made, Exception) or made is out
                found.append((made, bool(said)))
            (ours, warned), (theirs, their_warned) = found
            if "not implemented for" in str(theirs):  # a kernel that PyTorch lacks
                continue
            assert isinstance(ours, Exception) == isinstance(theirs, Exception), (name, dtype, ours, theirs)
            if not isinstance(theirs, Exception):
                check(ours, theirs, 1e-3 if dtype == "float16" else 1e-5)
                assert warned == their_warned, (name, dtype, shape)


MORE_OUT: dict[str, Callable[..., Any]] = {
    "linspace": lambda t, x, out: t.linspace(0, 3, 4, out=out),
    "eye": lambda t, x, out: t.eye(2, 3, out=out),
    "arange": lambda t, x, out: t.arange(4, out=out),
    "zeros": lambda t, x, out: t.zeros(2, 2, out=out),
    "view_copy": lambda t, x, out: t.view_copy(x, (6,), out=out),
    "slice_scatter": lambda t, x, out: t.slice_scatter(x, x[:1], 0, 0, 1, out=out),
    "all": lambda t, x, out: t.all(x > 0, 0, out=out),
    "linalg.det": lambda t, x, out: t.linalg.det(x @ x.T, out=out),
    "linalg.pinv": lambda t, x, out: t.linalg.pinv(x, out=out),
    "special.entr": lambda t, x, out: t.special.entr(x, out=out),
    "softplus": lambda t, x, out: t.nn.functional.softplus(x, out=out),
    "threshold": lambda t, x, out: t.threshold(x, 0.0, 1.0, out=out),
}


@pytest.mark.parametrize("name", MORE_OUT)
def test_out_of_creators_copies_and_namespaces(name):
    torch = pytorch()
    values = np.array([[0.5, 1.0, 2.0], [3.0, -1.0, 0.25]], np.float32)
    for dtype in ("float32", "float64", "uint8"):
        for shape in ((0,), (7,)):
            found = []
            for m in (lazygrad, torch):
                out = m.zeros(shape, dtype=getattr(m, dtype))
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    found.append(outcome(lambda m=m, out=out: MORE_OUT[name](m, m.tensor(values), out)))
                assert isinstance(found[-1], Exception) or found[-1] is out
            ours, theirs = found
            assert isinstance(ours, Exception) == isinstance(theirs, Exception), (dtype, ours, theirs)
            if not isinstance(theirs, Exception):
                check(ours, theirs, 1e-5)


def test_several_outs_and_what_they_refuse():
    for m in (lazygrad, pytorch()):
        values, places = m.empty(0), m.empty(0, dtype=m.int64)
        got = m.max(m.tensor(x), 0, out=(values, places))
        assert got.values is values and places.shape == (3,)
        with pytest.raises(RuntimeError, match="don't support automatic differentiation"):
            m.add(m.ones(2, requires_grad=True), 1, out=m.empty(2))
        with pytest.raises(TypeError, match="out"):
            m.add(m.ones(2), 1, out="x")
        with pytest.raises(RuntimeError, match="can't be cast"):
            m.add(m.ones(2), 1, out=m.empty(2, dtype=m.int32))
        y = m.arange(4.0)
        with pytest.raises(RuntimeError, match="single memory location"):
            m.exp(y[:3], out=y[1:])


def test_resize():
    for m in (lazygrad, pytorch()):
        y = m.arange(6.0)
        z = y[:4]
        assert y.resize_(2, 2) is y and y.tolist() == [[0, 1], [2, 3]]
        z[0] = 9
        assert y[0, 0] == 9  # they share a storage still
        assert y.resize_((3, 2)).tolist() == [[9, 1], [2, 3], [4, 5]]
        assert y.resize_(4, 2)[:3].tolist() == [[9, 1], [2, 3], [4, 5]]
        assert m.ones(3).resize_as_(m.ones(1, 2)).shape == (1, 2)
        with pytest.raises(RuntimeError, match="cannot resize variables that require grad"):
            m.ones(2, requires_grad=True).resize_(1)


def test_small_questions():
    for m in (lazygrad, pytorch()):
        y = m.tensor(x)
        assert y.t().dim_order() == (1, 0) and y.const_data_ptr() == y.data_ptr()
        assert (m.get_device(y), m.is_signed(y), m.is_inference(y), y._is_view()) == (-1, True, False, False)
        assert m.is_nonzero(m.tensor([2])) and y[0]._is_view() and m.detach(y).tolist() == y.tolist()
        assert m.nonzero_static(m.tensor([0, 3, 4]), size=3).tolist() == [[1], [2], [-1]]
        assert m.empty_strided((2, 3), (1, 2)).stride() == (1, 2)
        assert m.empty_permuted((2, 3, 4), (0, 2, 1)).stride() == (12, 1, 3)
        assert y.new_empty_strided((2, 2), (2, 1)).shape == (2, 2)
        assert m.ones(3).apply_(lambda v: v + 2).tolist() == [3, 3, 3]
        assert m.ones(2).map_(m.tensor([1.0, 2.0]), lambda a, c: a - c).tolist() == [0, -1]
        assert m.arange(6.0).as_strided_((2, 2), (1, 2)).tolist() == [[0, 2], [1, 3]]
        assert m.while_loop(lambda i: i < 4, lambda i: (i + 1,), (m.tensor(1),))[0] == 4
    assert lazygrad.cond(lazygrad.tensor(True), lambda v: v + 1, lambda v: v, (lazygrad.ones(1),)) == 2


def test_errors_of_shapes_and_arguments():
    calls: tuple[Callable[[Any], Any], ...] = (
        lambda m: m.arange(float("inf")),
        lambda m: m.diff(m.ones(1, 3), -1),
        lambda m: m.fliplr(m.ones(3)),
        lambda m: m.flipud(m.ones(())),
        lambda m: m.roll(m.ones(()), 0, 0),
        lambda m: m.sum(m.ones(2), True),
        lambda m: m.isclose(m.ones(1), m.ones(1), rtol=-1.0),
        lambda m: m.nn.functional.hardtanh(m.ones(1), 1, -1),
        lambda m: m.nn.functional.prelu(m.ones(2, 4), m.ones(2, 4)),
        lambda m: m.nn.functional.rrelu(m.ones(2), 0.3, 0.1),
        lambda m: m.nn.functional.adaptive_avg_pool2d(m.ones(2, 2), (2, 2)),
        lambda m: m.nn.functional.avg_pool2d(m.ones(3, 3, 3), 2, divisor_override=0),
        lambda m: m.nn.functional.huber_loss(m.ones(2), m.ones(2), delta=0),
        lambda m: m.cov(m.ones(5), fweights=m.ones(5)),
        lambda m: m.cov(m.ones(5), aweights=-m.ones(5)),
        lambda m: m.ones(2).masked_fill(m.tensor([True, False]), m.ones(1)),
        lambda m: m.nn.functional.multi_margin_loss(m.ones(2, 2), m.tensor([0, 1]), weight=m.tensor(1.0)),
    )
    for call in calls:
        ours, theirs = outcome(lambda: call(lazygrad)), outcome(lambda: call(pytorch()))  # noqa: B023
        assert isinstance(ours, lazygrad.LazygradError) and isinstance(theirs, Exception), (ours, theirs)
        assert isinstance(ours, type(theirs)), (ours, theirs)


# Spectra


@pytest.mark.parametrize("options", [
    {},
    {"hop_length": 3, "win_length": 10},
    {"center": False, "normalized": True},
    {"onesided": False, "pad_mode": "constant"},
], ids=str)
def test_short_time_spectra_in_pairs(options):
    size = options.get("win_length", 16)
    compared(lambda t, s, v: t.stft(s, 16, window=v, return_complex=False, **options), floats(2, 50),
             np.hanning(size + 2)[1:-1].astype(np.float32))
    compared(lambda t, s: t.stft(s, 15, return_complex=False, **options), floats(50))


def test_spectra_there_and_back():
    torch = pytorch()
    signal, options = floats(2, 64), {"hop_length": 4, "normalized": True}
    own, window = (m.tensor(np.hanning(18)[1:-1].astype(np.float32)) for m in (lazygrad, torch))
    pairs = lazygrad.stft(lazygrad.tensor(signal), 16, window=own, return_complex=False, **options)
    back = lazygrad.istft(pairs, 16, window=own, length=64, **options)
    np.testing.assert_allclose(back.numpy(), signal, atol=1e-5)
    theirs = torch.istft(torch.view_as_complex(torch.tensor(pairs.numpy())), 16, window=window, **options)
    check(lazygrad.istft(pairs, 16, window=own, **options), theirs, 1e-4, 1e-5)
    with pytest.raises(RuntimeError, match="return_complex=False gives both"):
        lazygrad.stft(lazygrad.ones(64), 16, return_complex=True)
    for m in (lazygrad, torch):
        with pytest.raises(RuntimeError, match="return_complex parameter be given"):
            m.stft(m.ones(64), 16)


def test_frequencies():
    for m in (lazygrad, pytorch()):
        import_fft = m.fft
        assert import_fft.fftfreq(5, 0.5).tolist() == pytest.approx([0.0, 0.4, 0.8, -0.8, -0.4])
        assert import_fft.rfftfreq(4).tolist() == [0.0, 0.25, 0.5]
        y = m.arange(6).reshape(2, 3)
        assert import_fft.fftshift(y).tolist() == [[5, 3, 4], [2, 0, 1]]
        assert import_fft.ifftshift(import_fft.fftshift(y)).tolist() == y.tolist()
        assert import_fft.fftshift(y, 1).tolist() == [[2, 0, 1], [5, 3, 4]]


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_images_as_bytes_are_interpolated(mode):
    torch, pixels = pytorch(), rng.integers(0, 256, (1, 3, 9, 7)).astype(np.uint8)
    choices: tuple[dict[str, Any], ...] = (
        {"scale_factor": 0.5, "antialias": True}, {"size": (5, 11)}, {"size": 4, "align_corners": True})
    for options in choices if mode == "bilinear" else choices[:1]:
        ours, theirs = (
            m.nn.functional.interpolate(m.tensor(pixels), mode=mode, **options) for m in (lazygrad, torch)
        )
        assert ours.dtype == lazygrad.uint8 and tuple(ours.shape) == tuple(theirs.shape)
        # PyTorch weighs with whole numbers
        assert np.abs(ours.numpy().astype(int) - theirs.numpy().astype(int)).max() <= 1


def test_older_names_of_methods():
    for m in (lazygrad, pytorch()):
        y = m.arange(6)
        with pytest.warns(UserWarning, match="non-inplace resize is deprecated"):
            assert y.resize(2, 3).tolist() == [[0, 1, 2], [3, 4, 5]]
        with pytest.raises(RuntimeError, match="elements"), pytest.warns(UserWarning):
            y.resize(4)


WINDOWS: dict[str, dict[str, Any]] = {
    "bartlett": {}, "blackman": {}, "cosine": {}, "exponential": {"tau": 2.0}, "gaussian": {"std": 1.5},
    "general_cosine": {"a": [0.46, 0.23, 0.31]}, "general_hamming": {"alpha": 0.6}, "hamming": {}, "hann": {},
    "kaiser": {"beta": 5.0}, "nuttall": {},
}  # fmt: skip


@pytest.mark.parametrize("name", WINDOWS)
def test_windows(name):
    torch = pytorch()
    for size in (0, 1, 2, 7, 8):
        for sym in (True, False):
            options = {**WINDOWS[name], "sym": sym}
            ours = getattr(lazygrad.signal.windows, name)(size, dtype=lazygrad.float64, **options)
            check(ours, getattr(torch.signal.windows, name)(size, dtype=torch.float64, **options), 1e-7, 1e-9)
    for m in (lazygrad, torch):
        with pytest.raises(ValueError, match="non-negative window length"):
            getattr(m.signal.windows, name)(-1, **WINDOWS[name])


def test_names_that_programs_ask_for():
    assert not isinstance(3, lazygrad.SymInt) and lazygrad.sym_max(2, 3) == 3
    assert lazygrad.jit.wait(lazygrad.jit.fork(lambda a: a + 1, 2)) == 3
    assert lazygrad.functional.einsum is lazygrad.einsum and lazygrad.types.Tensor is lazygrad.Tensor
    assert lazygrad.GradScaler is lazygrad.amp.GradScaler
    with pytest.raises(RuntimeError, match="use the function without the prefix"):
        lazygrad.cudnn_convolution(1)
    with pytest.raises(RuntimeError, match=r"lazygrad.jit\(function\)"):
        lazygrad.cuda.CUDAGraph()


DTYPES_OF_PYTHON: dict[str, Any] = {
    "ones": lambda m, d: m.ones(2, dtype=d),
    "full": lambda m, d: m.full((2,), 1, dtype=d),
    "tensor": lambda m, d: m.tensor([1, 0], dtype=d),
    "as_tensor": lambda m, d: m.as_tensor([1.0], dtype=d),
    "eye": lambda m, d: m.eye(2, dtype=d),
    "zeros_like": lambda m, d: m.zeros_like(m.ones(2), dtype=d),
    "new_zeros": lambda m, d: m.ones(2).new_zeros(2, dtype=d),
    "sum": lambda m, d: m.ones(2).sum(dtype=d),
    "to": lambda m, d: m.ones(2).to(d),
    "to by name": lambda m, d: m.ones(2).to(dtype=d),
}


@pytest.mark.parametrize("name", DTYPES_OF_PYTHON)
@pytest.mark.parametrize("dtype", [bool, int, float])
def test_types_of_python_are_dtypes(name: str, dtype: type) -> None:
    ours, theirs = DTYPES_OF_PYTHON[name](lazygrad, dtype), DTYPES_OF_PYTHON[name](pytorch(), dtype)
    assert repr(ours.dtype).rpartition(".")[2] == str(theirs.dtype).rpartition(".")[2]
    assert ours.tolist() == theirs.tolist()


@pytest.mark.parametrize("dtype", [np.float32, "float32", list])
def test_no_other_types_are_dtypes(dtype: Any) -> None:
    for make in (lazygrad.arange, lazygrad.ones, lazygrad.eye, lazygrad.tensor, lazygrad.randperm):
        with pytest.raises(TypeError, match=r"argument 'dtype' must be a dtype such as"):
            make(3, dtype=dtype)


@pytest.mark.parametrize(
    "values", [np.ones((2, 3)), np.arange(3), np.ones((1, 5), np.float32), np.zeros((0, 2))]
)
def test_the_class_takes_arrays(values: np.ndarray) -> None:
    found = lazygrad.Tensor(values)
    assert found.dtype == lazygrad.float32 and found.shape == values.shape
    np.testing.assert_array_equal(found.numpy(), values)
    assert lazygrad.LongTensor(np.arange(3)).tolist() == [0, 1, 2]


unequal = np.array([0.5, 1.0, 2.5, 3.0], np.float32)
GRADIENTS: dict[str, Callable[..., Any]] = {
    "all": lambda t, x: t.gradient(x),
    "one": lambda t, x: t.gradient(x, dim=-1),
    "some": lambda t, x: t.gradient(x, dim=(1, 0), spacing=0.3, edge_order=2),
    "none": lambda t, x: t.gradient(x, dim=()),
    "each its step": lambda t, x: t.gradient(x, spacing=[2.0, 3]),
    "a step as tensor": lambda t, x: t.gradient(x, spacing=t.tensor(2.0)),
    "spacing is None": lambda t, x: t.gradient(x, spacing=None, edge_order=2),
    "coordinates": lambda t, x: t.gradient(x, spacing=[t.tensor(unequal), t.tensor([0, 1, 5])]),
    "coordinates, second order": lambda t, x: t.gradient(
        x, spacing=(t.tensor(unequal), t.tensor([0.0, 1, 5])), edge_order=2),
    "two samples": lambda t, x: t.gradient(x[:2, 0], spacing=[t.tensor([1.0, 3.0])]),
    "integers": lambda t, x: t.gradient((x * 9).detach().to(t.int64), edge_order=2),
    "whole halves": lambda t, x: t.gradient(x.detach().half(), spacing=2),
    "a number": lambda t, x: t.gradient(x[0, 0]),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradient(name: str) -> None:
    compared(GRADIENTS[name], x)


def test_gradient_of_coordinates() -> None:
    compared(lambda t, x, c: t.gradient(x, spacing=[c], dim=0, edge_order=2), x, unequal)


GRADIENT_MISTAKES: dict[str, Callable[..., Any]] = {
    "few samples": lambda t, x: t.gradient(x[:2], edge_order=2),
    "no samples": lambda t, x: t.gradient(x[:0]),
    "order": lambda t, x: t.gradient(x, edge_order=3),
    "steps": lambda t, x: t.gradient(x, spacing=[1.0]),
    "steps of dim": lambda t, x: t.gradient(x, spacing=[1.0, 2.0], dim=0),
    "a step as vector": lambda t, x: t.gradient(x, spacing=t.ones(4)),
    "a word": lambda t, x: t.gradient(x, spacing="x"),
    "dim": lambda t, x: t.gradient(x, dim=2),
    "dim twice": lambda t, x: t.gradient(x, dim=(0, -2)),
    "coordinates": lambda t, x: t.gradient(x, spacing=[t.ones(1, 4), t.ones(3)]),
    "bytes": lambda t, x: t.gradient(x.to(t.uint8)),
    "truths": lambda t, x: t.gradient(x > 0),
}


@pytest.mark.parametrize("name", GRADIENT_MISTAKES)
def test_mistakes_of_gradient(name: str) -> None:
    call = GRADIENT_MISTAKES[name]
    ours, theirs = (outcome(lambda t=t: call(t, t.tensor(x))) for t in (lazygrad, pytorch()))
    assert isinstance(theirs, Exception) and isinstance(ours, type(theirs))
