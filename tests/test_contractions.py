"""Tiled contractions on the CPU: odd sizes, every dtype and layout, windows with guards and prologues, and
what recipes say; the interpreter is the reference."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lazygrad
from lazygrad import config, dtypes, explain
from lazygrad.codegen.contraction_skip import Skip
from lazygrad.codegen.contraction_tiles import shared_evenly
from lazygrad.codegen.llvm_index import Runs, lane_runs
from lazygrad.expr import Var, const, var
from lazygrad.helpers import ceil_div
from lazygrad.nn import functional as F
from lazygrad.runtime.cpu import cpu_device

TOLERANCE = {"float64": 1e-12, "float32": 2e-5, "float16": 2e-3, "bfloat16": 2e-2}


def check(f: Callable[..., Any], *shapes: tuple[int, ...], dtype: str = "float32") -> None:
    """f of random tensors on CPU, optimised and not, against the interpreter; gradients too where there are
    any."""
    rng = np.random.default_rng(0)
    is_float = dtypes.BY_NAME[dtype].kind == "float"
    arrays = [rng.standard_normal(s) if is_float else rng.integers(-3, 4, s) for s in shapes]

    def outcome(device: str) -> list[np.ndarray]:
        inputs = [lazygrad.tensor(a, dtype=getattr(lazygrad, dtype), device=device, requires_grad=is_float)
                  for a in arrays]
        y = f(*inputs)
        found = [y]
        if is_float:
            weights = np.cos(np.arange(y.numel())).reshape(y.shape)
            (y * lazygrad.tensor(weights, dtype=y.dtype, device=device)).sum().backward()
            found += [x.grad for x in inputs]
        return [z.detach().to(lazygrad.float64).numpy() for z in found]

    want = outcome("NUMPY")
    for noopt in (0, 1):
        with config.override(NOOPT=noopt):
            for got, right in zip(outcome("CPU"), want, strict=True):
                scale = max(float(np.abs(right).max(initial=0)), 1.0)
                assert np.abs(got - right).max(initial=0) <= TOLERANCE.get(dtype, 0) * scale


@pytest.mark.parametrize("m, k, n", [(33, 17, 65), (2, 700, 2), (31, 100, 15), (7, 4100, 9), (16, 16, 16),
                                     (100, 4, 100), (1, 300, 70), (70, 300, 1), (0, 3, 4), (5, 0, 6)])
def test_layouts_and_odd_sizes(m: int, k: int, n: int) -> None:
    check(lambda a, b: a @ b, (m, k), (k, n))
    check(lambda a, b: a.t() @ b, (k, m), (k, n))
    check(lambda a, b: (a @ b.t()).relu(), (m, k), (n, k))


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16", "int32", "int64"])
def test_dtypes(dtype: str) -> None:
    check(lambda a, b: a @ b, (37, 53), (53, 41), dtype=dtype)
    check(lambda a, b: a @ b.transpose(1, 2), (3, 20, 40), (3, 33, 40), dtype=dtype)


CONVOLUTIONS: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 3, 9, 11), (5, 3, 3, 3), {"padding": 1}),
    ((3, 8, 8, 8), (24, 8, 3, 3), {"padding": 1}),
    ((2, 3, 19, 23), (8, 3, 7, 7), {"stride": 2, "padding": 3}),
    ((2, 8, 14, 13), (16, 8, 1, 1), {"stride": 2}),
    ((2, 8, 16, 15), (6, 8, 3, 3), {"padding": 2, "dilation": 2, "stride": 3}),
    ((2, 4, 10, 10), (6, 4, 2, 3), {"dilation": (3, 2), "padding": (1, 0)}),
    ((2, 16, 10, 10), (32, 4, 3, 3), {"padding": 1, "groups": 4}),
    ((4, 16, 4, 4), (16, 16, 3, 3), {"padding": 1}),
    ((3, 8, 6, 6), (16, 8, 6, 6), {}),
    ((2, 6, 13, 20), (17, 6, 5, 3), {"stride": (3, 2), "padding": (2, 0), "dilation": (1, 2)}),
    ((2, 6, 9, 9), (8, 6, 2, 2), {"stride": 3}),
    ((20, 6, 1, 7), (17, 6, 1, 3), {"padding": (0, 1)}),
    ((16, 40, 4, 4), (40, 40, 3, 3), {"padding": 1}),
    ((8, 9, 12, 12), (7, 9, 5, 5), {}),
    ((8, 200, 6, 8), (130, 200, 3, 1), {"padding": (1, 0)}),
    ((9, 32, 18, 18), (24, 32, 3, 3), {"padding": 1}),
    ((6, 48, 31, 15), (10, 48, 3, 2), {"stride": (2, 1)}),
    ((5, 32, 29, 29), (6, 16, 3, 3), {"groups": 2, "padding": 1, "dilation": 2}),
]


@pytest.mark.parametrize("x, weight, options", CONVOLUTIONS)
def test_convolutions_and_their_gradients(x: tuple[int, ...], weight: tuple[int, ...],
                                          options: dict[str, Any]) -> None:
    check(lambda a, w: F.conv2d(a, w, **options), x, weight)


def test_a_prologue_with_windows() -> None:
    check(lambda x, w, v: F.conv2d(F.relu(F.conv2d(x, w, padding=1)), v, padding=1),
          (2, 4, 10, 10), (8, 4, 3, 3), (8, 8, 3, 3))


@pytest.mark.parametrize("shape", [(2, 8, 50), (2, 8, 33)])
def test_transposed_convolutions(shape: tuple[int, ...]) -> None:
    check(lambda x, w: F.conv_transpose1d(x, w, stride=2, padding=1), shape, (8, 6, 4))


def test_infinities_beyond_the_end_of_k_do_not_spread() -> None:
    """A prologue that makes an infinity of the zero that fills a panel must not reach a sum."""
    rng = np.random.default_rng(0)
    x, w = rng.uniform(1, 2, (20, 4099)), rng.uniform(1, 2, (4099, 40))
    a, b = (lazygrad.tensor(v.astype("float32")) for v in (x, w))
    np.testing.assert_allclose((1 / a @ b.log()).numpy(), (1 / x) @ np.log(w), rtol=1e-4)


def test_squares_are_transposed_without_tables_of_lanes(capfd: pytest.CaptureFixture[str]) -> None:
    """Such tables would stay in registers that the micro-kernel needs for its sums."""
    a, b = lazygrad.rand(130, 512).realize(), lazygrad.rand(130, 512).realize()
    with config.override(DEBUG=7):
        (a @ b.t()).realize()
    text = capfd.readouterr().err
    assert "square_pb" in text and not re.search(r"vpermt2p[sd]\s", text)


@pytest.mark.parametrize("k", [17, 33, 129])
def test_squares_stay_in_registers_where_one_column_is_left(k: int) -> None:
    a, b = lazygrad.rand(34, k).realize(), lazygrad.rand(70, k).realize()
    text = str(explain(a @ b.t()))
    assert "square_pb_slot" in text and not re.search(r"%square_p[ab] = alloca", text)
    np.testing.assert_allclose((a @ b.t()).numpy(), a.numpy() @ b.numpy().T, rtol=1e-4)


def test_windows_are_read_once_where_they_have_guards() -> None:
    x, w = lazygrad.rand(2, 8, 20, 20).realize(), lazygrad.rand(16, 8, 3, 3).realize()
    assert "stage(b)" in str(explain(F.conv2d(x, w, padding=1)))
    assert "stage(b)" in str(explain(F.conv2d(x, w, stride=2)))
    assert "stage" not in str(explain(F.conv2d(x, w)))


def test_windows_are_read_where_they_stand() -> None:
    """But not where rows lie apart by a power of two, nor where blocks of k are not whole, nor where lanes
    begin in one row and end in the next, unless there are masks."""
    masks = cpu_device().target.masks
    x, w = lazygrad.rand(2, 16, 20, 20).realize(), lazygrad.rand(24, 16, 3, 3).realize()
    for padding in (0, 1):
        text = str(explain(F.conv2d(x, w, padding=padding)))
        assert ("direct(b)" in text and "panel_b" not in text) or (not masks and "pack(b)" in text)
    a, b = lazygrad.rand(24, 300).realize(), lazygrad.rand(300, 512).realize()  # rows 2048 bytes apart
    assert "pack(b)" in str(explain(a @ b))


def test_the_gradient_of_a_padded_convolution_computes_no_padding() -> None:
    x, w = lazygrad.rand(2, 8, 20, 20).realize(), lazygrad.rand(16, 8, 3, 3).realize()
    x.requires_grad = True
    F.conv2d(x, w, padding=1).backward(lazygrad.rand(2, 16, 20, 20).realize())
    text = str(explain(x.grad))
    assert "kernel 1 of 1" in text and "22x22" not in text


def test_the_gradient_of_a_strided_convolution_has_no_terms_that_are_zero() -> None:
    x, w = lazygrad.rand(2, 8, 20, 20).realize(), lazygrad.rand(16, 8, 3, 3).realize()
    x.requires_grad = True
    F.conv2d(x, w, padding=1, stride=2).backward(lazygrad.rand(2, 16, 10, 10).realize())
    text = str(explain(x.grad))
    assert "residue(i2%2=1)" in text and "residue(i3%2=1)" in text and text.count("for task") == 4
    for depth in (16, 32, 64):
        assert f"block(k,{depth})" in text


def test_terms_that_are_absent_for_a_whole_tile_are_passed_by() -> None:
    """In gradients of inputs; in a padded convolution they are zeros, and count."""
    x, w = lazygrad.rand(8, 16, 8, 8).realize(), lazygrad.rand(16, 16, 3, 3).realize()
    x.requires_grad = True
    y = F.conv2d(x, w, padding=1)
    assert "skip(" not in str(explain(y))
    y.backward(lazygrad.rand(8, 16, 8, 8).realize())
    text = str(explain(x.grad))
    assert re.search(r"skip\(\w+,8%\)", text) and re.search(r"serial from .* to ", text)


def test_gradients_of_weights_read_channels_in_lanes() -> None:
    """Where sums are long; not where short sums would be scattered."""
    for images, expected in ((12, True), (1, False)):
        x, w = lazygrad.rand(images, 32, 18, 18).realize(), lazygrad.rand(24, 32, 3, 3).realize()
        w.requires_grad = True
        F.conv2d(x, w, padding=1).backward(lazygrad.rand(images, 24, 18, 18).realize())
        text = str(explain(w.grad))
        assert ("lay_out(b)" in text) == ("direct(b)" in text) == expected
    x, w = lazygrad.rand(32, 256, 8, 8).realize(), lazygrad.rand(256, 256, 3, 3).realize()
    assert "lay_out" not in str(explain(F.conv2d(x, w, padding=1)))  # blocks of k would be short


@pytest.mark.parametrize("step, sign", [(1, -1), (1, 1), (-1, -1), (2, 1), (3, -1), (-2, 1)])
def test_turns_that_count(step: int, sign: int) -> None:
    column, term, inner = Var("i", 12), Var("k", 5), 32
    skip = Skip(column, term, step, sign, 1, -3, 9, inner)
    counted = 0
    for i in range(column.extent):
        begin, end = (e.constant for e in skip.turns(const(i * inner + 5 * inner * column.extent)))
        want = [k for k in range(term.extent) if -3 <= step * i + sign * k + 1 < 9]
        assert [k for k in range(term.extent) if begin <= k < end] == want
        counted += len(want)
    assert skip.share == pytest.approx(1 - counted / 60)


@pytest.mark.parametrize("m, k, n", [(20, 40003, 10), (3, 9000, 33), (30, 5000, 16)])
def test_parts_of_k_are_summed_by_several_workers(m: int, k: int, n: int) -> None:
    with config.override(THREADS=7):
        a, b = lazygrad.rand(m, k).realize(), lazygrad.rand(k, n).realize()
        assert "parts(k," in str(explain(a @ b + 1))
        np.testing.assert_allclose((a @ b + 1).numpy(), a.numpy() @ b.numpy() + 1, rtol=1e-4)


@pytest.mark.parametrize("m, k, n", [(33, 17, 65), (7, 4100, 9), (20, 20003, 10)])
def test_long_epilogues(m: int, k: int, n: int) -> None:
    check(lambda a, b: F.gelu(a @ b), (m, k), (k, n))
    check(lambda x, w: F.silu(F.conv1d(x, w, stride=2, padding=1)), (2, 8, n), (m, 8, 3))


def test_a_short_epilogue_is_written_out() -> None:
    a, b = lazygrad.rand(66, 50).realize(), lazygrad.rand(50, 70).realize()
    for epilogue, is_long in ((F.relu, False), (lambda x: x * 2, False), (F.gelu, True), (F.mish, True)):
        assert ("%ei = phi" in str(explain(epilogue(a @ b)))) == is_long


def test_groups_of_channels_are_contractions() -> None:
    x, w = lazygrad.rand(2, 32, 20, 20).realize(), lazygrad.rand(64, 8, 3, 3).realize()
    assert "contract(m=i1_i" in str(explain(F.conv2d(x, w, groups=4)))


@pytest.mark.parametrize("tiles, outer, most", [(8, 1, 8), (11, 1, 5), (729, 1, 7), (5, 64, 5), (1, 1, 1)])
def test_tasks_end_together(tiles: int, outer: int, most: int) -> None:
    for threads in (1, 2, 3, 8):
        size = shared_evenly(tiles, outer, most, threads)
        rounds = ceil_div(outer * ceil_div(tiles, size), threads)
        assert 1 <= size <= most
        assert rounds * size * threads <= max(1.25 * tiles * outer, tiles * outer + threads)


def test_no_tile_of_few_is_half_empty() -> None:
    lanes = cpu_device().target.vector_bytes // 4
    for m, n, vectors in ((20, 3 * lanes, 1), (20, 4 * lanes, 2), (3, 3 * lanes, 2), (20, 40 * lanes, 2)):
        a, b = lazygrad.rand(m, 300).realize(), lazygrad.rand(300, n).realize()
        assert re.search(rf"tile\(\d+,{vectors * lanes}\)", str(explain(a @ b))), (m, n)


def test_runs_of_lanes() -> None:
    i, j = var("i", 10), var("j", 32)
    n = i * 32 + j
    index = n // 20 * 24 + n % 20
    assert lane_runs(index, next(iter(j.terms))[0], 16) == Runs(n, 20, 2)
    assert lane_runs(n // 8 * 24 + n % 8, next(iter(j.terms))[0], 16).count == 2
    assert lane_runs(n // 5 * 24 + n % 5, next(iter(j.terms))[0], 16).count == 4
    assert lane_runs(n // 20 * 24 + n % 20 * 2, next(iter(j.terms))[0], 16).stride == 2
    assert lane_runs(n // 20 * 24 + n % 7, next(iter(j.terms))[0], 16) is None
