"""Random numbers: known bits, moments, ranges, reproducibility, errors."""

import math

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import dtypes, ops
from lazygrad.compositions import randomness
from lazygrad.engine import download
from lazygrad.interpret import interpret


def word(low, high):
    return low | high << 32


@pytest.mark.parametrize("counter, key, want", [
    # the vectors that Random123 publishes for threefry2x32, 20 rounds
    (word(0, 0), word(0, 0), word(0x6B200159, 0x99BA4EFE)),
    (word(0xFFFFFFFF, 0xFFFFFFFF), word(0xFFFFFFFF, 0xFFFFFFFF), word(0x1CB996FC, 0xBB002BE7)),
    (word(0x243F6A88, 0x85A308D3), word(0x13198A2E, 0x03707344), word(0xC4923A9C, 0x483DF7A0))])
def test_threefry_vectors(counter, key, want, device):
    bits = ops.threefry(ops.scalar(counter, dtypes.uint64), ops.scalar(key, dtypes.uint64))
    value, = interpret([bits], download)
    assert int(value) == want


def test_reproducible(device):
    lg.manual_seed(3)
    a, b = lg.rand(5, device=device), lg.randn(4, device=device)
    lg.manual_seed(3)
    c, d = lg.rand(5, device=device), lg.randn(4, device=device)
    assert d.tolist() == b.tolist() and a.tolist() == c.tolist()  # whatever is computed first
    assert lg.rand(5, device=device).tolist() != a.tolist()
    state = lg.get_rng_state()
    e = lg.rand(3, device=device).tolist()
    lg.set_rng_state(state)
    assert lg.rand(3, device=device).tolist() == e
    assert lg.initial_seed() == 3
    own = lg.Generator().manual_seed(3)
    assert lg.rand(5, generator=own, device=device).tolist() == a.tolist()
    with lg.fork_rng():
        inside = lg.rand(2, device=device).tolist()
    assert lg.rand(2, device=device).tolist() == inside


def test_one_graph_for_every_call():
    first, second = lg.rand(5, device="NUMPY").plain_node(), lg.rand(5, device="NUMPY").plain_node()
    assert first is not second and first.op is second.op
    assert not any(n.op.name == "const" and n.size == 1 for n in (first, second))


@pytest.mark.parametrize("dtype", [lg.float32, lg.float64, lg.float16, lg.bfloat16])
def test_uniform(dtype, device):
    lg.manual_seed(0)
    x = lg.rand(20000, dtype=dtype, device=device).double().numpy()
    assert x.min() >= 0 and x.max() < 1
    assert abs(x.mean() - 0.5) < 0.01 and abs(x.var() - 1 / 12) < 0.01
    assert abs(np.corrcoef(x[1:], x[:-1])[0, 1]) < 0.03


@pytest.mark.parametrize("dtype", [lg.float32, lg.float64])
def test_normal(dtype, device):
    lg.manual_seed(0)
    x = lg.randn(200, 500, dtype=dtype, device=device).double().numpy()
    assert abs(x.mean()) < 0.01 and abs(x.std() - 1) < 0.01
    assert abs((x ** 3).mean()) < 0.05 and abs((x ** 4).mean() - 3) < 0.1
    for limit in (1, 2, 3):
        assert abs((np.abs(x) > limit).mean() - math.erfc(limit / math.sqrt(2))) < 0.004
    assert 3.8 < np.abs(x).max() < 6.7
    y = lg.normal(2.0, 3.0, (50000,), device=device).numpy()
    assert abs(y.mean() - 2) < 0.05 and abs(y.std() - 3) < 0.05
    means = lg.normal(lg.arange(4.0, device=device), 0.001)
    np.testing.assert_allclose(means.numpy(), np.arange(4), atol=0.01)


def test_integers(device):
    lg.manual_seed(0)
    x = lg.randint(-2, 5, (7000,), device=device)
    assert x.dtype is lg.int64
    counts = np.bincount(x.numpy() + 2, minlength=7)
    assert len(counts) == 7 and counts.min() > 850
    assert lg.randint(3, (2, 2), dtype=lg.uint8, device=device).dtype is lg.uint8
    assert lg.randint_like(x, 4).shape == x.shape
    assert sorted(lg.randperm(50, device=device).tolist()) == list(range(50))
    table = lg.zeros(5, 2, device=device)
    index = lg.randint(5, (3,), device=device)
    rows = table[index]
    assert not rows.cell.is_realized and not index.cell.is_realized
    with pytest.raises(ValueError, match="less than"):
        lg.randint(5, 5, (2,), device=device)
    with pytest.raises(ValueError, match="out of bounds"):
        lg.randint(300, (2,), dtype=lg.uint8, device=device)


def test_choices(device):
    lg.manual_seed(0)
    p = lg.tensor([[0.0, 1.0, 3.0], [2.0, 2.0, 0.0]], device=device)
    x = lg.multinomial(p, 4000, replacement=True).numpy()
    assert x.shape == (2, 4000) and not (x[0] == 0).any() and not (x[1] == 2).any()
    assert abs((x[0] == 2).mean() - 0.75) < 0.03 and abs((x[1] == 0).mean() - 0.5) < 0.03
    y = lg.multinomial(p, 2).numpy()
    assert sorted(y[0]) == [1, 2] and sorted(y[1]) == [0, 1]
    for bad in ([-1.0, 2.0], [float("nan"), 1.0], [0.0, 0.0]):
        with pytest.raises(ValueError):
            lg.multinomial(lg.tensor(bad, device=device), 1, True)
    with pytest.raises(RuntimeError, match="without replacement"):
        lg.multinomial(p, 4)
    b = lg.bernoulli(lg.full((9000,), 0.3, device=device))
    assert set(b.tolist()) == {0.0, 1.0} and abs(b.mean().item() - 0.3) < 0.02
    with pytest.raises(ValueError):
        lg.bernoulli(lg.tensor([1.5], device=device))
    rates = lg.tensor([0.0, 0.5, 30.0], device=device).expand(4000, 3)
    counts = lg.poisson(rates).numpy()
    np.testing.assert_allclose(counts.mean(0), [0, 0.5, 30], atol=0.4)
    np.testing.assert_allclose(counts.var(0), [0, 0.5, 30], atol=2.5)


def test_fillers(device):
    lg.manual_seed(0)
    x = lg.empty(20000, device=device)
    alias = x[:]
    x.uniform_(-2, 4)
    assert alias.tolist() == x.tolist()
    assert x.min().item() >= -2 and x.max().item() < 4 and abs(x.mean().item() - 1) < 0.05
    assert abs(x.normal_(1, 2).std().item() - 2) < 0.05
    assert abs(x.exponential_(2.0).mean().item() - 0.5) < 0.02 and x.min().item() > 0
    assert abs(x.geometric_(0.25).mean().item() - 4) < 0.15 and x.min().item() == 1
    assert abs(x.log_normal_(0, 0.5).log().std().item() - 0.5) < 0.02
    assert abs(x.cauchy_(3).median().item() - 3) < 0.1
    assert abs(x.bernoulli_(0.2).mean().item() - 0.2) < 0.02
    x.trunc_normal_(0, 1, -1, 2)
    assert x.min().item() >= -1 and x.max().item() <= 2
    assert abs(x.mean().item() - 0.2296) < 0.03  # of the truncated distribution
    counts = lg.zeros(1000, dtype=lg.uint8, device=device).random_()
    assert counts.max().item() > 200
    assert lg.zeros(1000, dtype=lg.int64, device=device).random_(3).max().item() == 2
    with pytest.raises(RuntimeError):
        lg.zeros(3, dtype=lg.int64, device=device).normal_()
    with pytest.raises(ValueError):
        x.normal_(0, -1)
    leaf = lg.zeros(3, requires_grad=True, device=device)
    with pytest.raises(RuntimeError):
        leaf.normal_()
    with lg.no_grad():
        leaf.normal_()
    assert leaf.requires_grad


@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-15), (np.float32, 3e-7)])
def test_erfinv(dtype, tolerance):
    y = np.concatenate([np.linspace(-4, 4, 401), [1e-20, -1e-8]])
    x = np.array([math.erf(v) for v in y]).astype(dtype)
    value, = interpret([randomness.erfinv(lg.tensor(x, device="NUMPY").plain_node())], download)
    back = np.array([math.erf(v) for v in value.astype(np.float64)])
    tail = np.abs(y) > 2
    np.testing.assert_allclose(value[~tail], y[~tail], rtol=2e-4 if dtype is np.float32 else 1e-12)
    np.testing.assert_allclose(back, x.astype(np.float64), rtol=tolerance, atol=tolerance * 1e-3)
    (special,) = interpret(
        [randomness.erfinv(lg.tensor([1.0, -1.0, 2.0, float("nan")], device="NUMPY").plain_node())], download
    )
    np.testing.assert_array_equal(special, [np.inf, -np.inf, np.nan, np.nan])
