"""Sorting, order statistics, searching and counting against PyTorch."""

import numpy as np
import pytest
from torch_compare import assert_same, compare, lazy, lazy_of, torch

rng = np.random.default_rng(0)


def some(shape, nan=False):
    """Small whole numbers, so that there are ties."""
    x = rng.integers(-3, 4, shape).astype(np.float64)
    if nan:
        x.reshape(-1)[::4] = np.nan
    return x


@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("descending", [False, True])
def test_sort(dim, descending, device):
    for x in (some((4, 5)), some((4, 5), nan=True), rng.integers(0, 5, (4, 5)), rng.random((4, 5)) > 0.5):
        compare(device, lambda t, x: tuple(t.sort(x, dim=dim, descending=descending, stable=True)), x)
        compare(device, lambda t, x: t.argsort(x, dim, descending, stable=True) if t is lazy else
                t.argsort(x, dim=dim, descending=descending, stable=True), x)
    compare(device, lambda t, x: t.msort(x), some((4, 5)))
    compare(device, lambda t, x: tuple(t.sort(x)), np.asarray(3.0))
    compare(device, lambda t, x: tuple(t.sort(x)), np.zeros((0, 3)))


def test_topk_and_kth(device):
    x = rng.permutation(20).reshape(4, 5).astype(np.float64)
    for k in (0, 1, 3, 4):
        compare(device, lambda t, x, k=k: tuple(t.topk(x, k, 0)), x)
        compare(device, lambda t, x, k=k: tuple(x.topk(k, largest=False)), x)
    compare(device, lambda t, x: tuple(t.kthvalue(x, 2)), x)
    compare(device, lambda t, x: tuple(t.kthvalue(x, 3, 0, True)), x)
    result = lazy_of(x, device).topk(2)
    assert result.values.shape == result.indices.shape == (4, 2)
    with pytest.raises(RuntimeError, match="out of range"):
        lazy.topk(lazy_of(x, device), 6)
    with pytest.raises(RuntimeError, match="out of range"):
        lazy.kthvalue(lazy_of(x, device), 0)


@pytest.mark.parametrize("nan", [False, True])
@pytest.mark.parametrize("shape", [(4, 5), (4, 6)])
def test_median(nan, shape, device):
    x = some(shape, nan)
    for name in ("median", "nanmedian"):
        compare(device, lambda t, x, f=name: getattr(t, f)(x), x)
        for dim in (0, 1):
            want = getattr(torch, name)(torch.tensor(x), dim)
            got = getattr(lazy, name)(lazy_of(x, device), dim)
            assert_same(got.values, want.values)
            picked = np.take_along_axis(x, np.expand_dims(got.indices.numpy(), dim), dim).squeeze(dim)
            np.testing.assert_array_equal(picked, want.values.numpy())
    compare(device, lambda t, x: t.median(x), rng.integers(0, 9, 7))


def test_mode(device):
    x = rng.integers(0, 3, (5, 8))
    for dim in (0, 1):
        want, got = torch.mode(torch.tensor(x), dim), lazy.mode(lazy_of(x, device), dim)
        assert_same(got.values, want.values)
        picked = np.take_along_axis(x, np.expand_dims(got.indices.numpy(), dim), dim).squeeze(dim)
        np.testing.assert_array_equal(picked, want.values.numpy())


@pytest.mark.parametrize("interpolation", ["linear", "lower", "higher", "midpoint", "nearest"])
def test_quantile(interpolation, device):
    x, q = rng.standard_normal((4, 5)), np.array([0.0, 0.3, 0.5, 1.0])
    for dim, keepdim in ((None, False), (0, True), (1, False), (None, True)):
        options = {"interpolation": interpolation, "keepdim": keepdim}
        compare(device, lambda t, x, d=dim, o=options: t.quantile(x, 0.37, d, **o), x)
        compare(device, lambda t, x, q, d=dim, o=options: t.quantile(x, q.detach(), d, **o), x, q)
    x = some((4, 5), nan=True)
    compare(device, lambda t, x: t.quantile(x, 0.4, 1, interpolation=interpolation), x, gradients=False)
    compare(device, lambda t, x: t.nanquantile(x, 0.4, 1, interpolation=interpolation), x, gradients=False)


def test_searching_what_does_not_ascend(device):
    """The middle of what is left is asked, from both ends."""
    rows = lazy.tensor([4.0, 1.0, 3.0, 0.0, 2.0], device=device)
    found = lazy.searchsorted(rows, lazy.tensor([0.5, 1.5, 2.5, 3.5, 4.5], device=device))
    assert found.tolist() == [0, 2, 2, 5, 5]
    rows = np.random.default_rng(0).permuted(np.tile(np.arange(13.0), (6, 1)), axis=1)
    for right in (False, True):
        values = rows[::-1] + 0.5 * right
        compare(device, lambda t, r, x, right=right: t.searchsorted(r, x, right=right), rows, values)


@pytest.mark.parametrize("right", [False, True])
def test_searchsorted(right, device):
    rows, x = np.sort(some((3, 7))), some((3, 4), nan=True)
    compare(device, lambda t, r, x: t.searchsorted(r, x, right=right), rows, x)
    compare(device, lambda t, r, x: t.searchsorted(r[0], x, right=right, out_int32=True), rows, x)
    compare(device, lambda t, r, x: t.bucketize(x, r[0], right=right), rows, x)
    compare(device, lambda t, r: t.searchsorted(r[0], 0.0, right=right), rows)
    for n in (0, 1, 2, 3, 4, 8, 9):
        compare(device, lambda t, r, x: t.searchsorted(r, x, right=right), np.arange(n), np.arange(-1, 11))
    compare(device, lambda t, r, x: t.searchsorted(r, x), rows, x.astype(np.float32))
    compare(device, lambda t, r, x: t.searchsorted(r[0], x), rows, np.array([-3, 0, 2]))


def test_counting(device):
    x = np.array([3, 0, 3, 1])
    compare(device, lambda t, x: t.bincount(x), x)
    compare(device, lambda t, x: t.bincount(x, minlength=6), x)
    compare(device, lambda t, x, w: t.bincount(x, w), x, rng.standard_normal(4), gradients=False)
    compare(device, lambda t, x: t.bincount(x), np.zeros(0, np.int64))
    compare(device, lambda t, x, w: t.bincount(x, w, 2), np.zeros(0, np.int64), np.ones(3), gradients=False)
    y = rng.standard_normal(50)
    compare(device, lambda t, y: t.histc(y, 7), y, gradients=False)
    compare(device, lambda t, y: t.histc(y, 5, -1, 1), y, gradients=False)
    compare(device, lambda t, x, y: t.isin(x, y), x, np.array([3, 9]))
    with pytest.raises(ValueError, match="non-negative"):
        lazy.bincount(lazy_of(-x, device))


def test_unique(device):
    for x in (rng.integers(0, 4, (3, 4)), some(9), np.zeros(0)):
        compare(device, lambda t, x: t.unique(x), x, gradients=False)
        compare(device, lambda t, x: t.unique(x, return_inverse=True, return_counts=True), x, gradients=False)
        compare(
            device,
            lambda t, x: t.unique_consecutive(x, return_inverse=True, return_counts=True),
            x,
            gradients=False,
        )
    rows = rng.integers(0, 2, (6, 2))
    for dim in (0, 1):
        compare(device, lambda t, x, d=dim: t.unique(x, dim=d, return_inverse=True, return_counts=True), rows)
