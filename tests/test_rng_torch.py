"""`RNG=torch`: the numbers of PyTorch's CPU generator. Known values, and bits beside PyTorch's where it is
there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import config
from lazygrad.tensors.random.mersenne import Mersenne

FLOATS = ("float32", "float64", "float16", "bfloat16")
SIZES = (0, 1, 15, 16, 17, 31, 100, 10000)


@pytest.fixture(autouse=True)
def _as_torch():
    with config.override(RNG="torch"):
        yield


@pytest.fixture
def torch():
    found = pytest.importorskip("torch")
    if "Intel" in _processor():
        pytest.skip("on Intel's processors PyTorch asks MKL for some of these numbers")
    return found


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            return next((line for line in lines if line.startswith("vendor_id")), "")
    except OSError:
        return ""


def values(x: Any) -> np.ndarray:
    x = x.detach()
    return (x.float() if str(x.dtype).endswith("bfloat16") else x).numpy()


def alike(run: Any, torch: Any, seed: int = 0) -> None:
    """The same results and the same state afterwards; `run` takes the module."""
    lg.manual_seed(seed)
    torch.manual_seed(seed)
    ours, theirs = run(lg), run(torch)
    ours, theirs = (x if isinstance(x, tuple | list) else (x,) for x in (ours, theirs))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(values(a), values(b))
    assert lg.get_rng_state().tolist() == torch.get_rng_state().tolist()


# Without PyTorch


def test_words():
    # the reference implementation of Matsumoto and Nishimura, seeded with 5489: its 1st and 10000th number
    source = Mersenne(5489)
    words = source.words(10000)
    assert int(words[0]) == 3499211612 and int(words[-1]) == 4123659995
    assert int(Mersenne(5489).long_words(1)[0]) == 3499211612 << 32 | 581869302


def test_known_values(device):
    lg.manual_seed(0)
    known = [0.49625658988952637, 0.7682217955589294, 0.08847743272781372, 0.13203048706054688]
    assert lg.rand(4, device=device).tolist() == known
    lg.manual_seed(0)
    known = [1.5409960746765137, -0.293428897857666, -2.1787893772125244]
    assert lg.randn(3, device=device).tolist() == known
    lg.manual_seed(0)
    assert lg.randn(20, device=device)[:2].tolist() == [-1.1258398294448853, -1.1523602008819580]
    lg.manual_seed(0)
    assert lg.randperm(8, device=device).tolist() == PERMUTED
    lg.manual_seed(0)
    assert lg.randint(10, (8,), device=device).tolist() == [4, 9, 3, 0, 3, 9, 7, 3]
    lg.manual_seed(0)
    assert lg.nn.functional.dropout(lg.ones(8, device=device), 0.5).tolist() == DROPPED


PERMUTED = [4, 0, 7, 3, 2, 5, 1, 6]
DROPPED = [0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 2.0, 2.0]


def test_state_moves_on():
    lg.manual_seed(2**40 + 3)
    state = lg.get_rng_state()
    assert state.shape == (5056,) and lg.initial_seed() == 2**40 + 3
    first = lg.randn(3).tolist()  # leaves a number for the next call
    middle = lg.get_rng_state()
    second = lg.randn(700).tolist()
    lg.set_rng_state(middle)
    assert lg.randn(700).tolist() == second
    lg.set_rng_state(state)
    assert lg.randn(3).tolist() == first
    with lg.fork_rng():
        inside = lg.rand(5).tolist()
    assert lg.rand(5).tolist() == inside
    own = lg.Generator().manual_seed(2**40 + 3)
    twin = own.clone_state()
    assert lg.randn(3, generator=own).tolist() == lg.randn(3, generator=twin).tolist() == first
    with pytest.raises(RuntimeError, match="5056"):
        lg.set_rng_state(lg.zeros(16, dtype=lg.uint8))
    with pytest.raises(ValueError, match="Invalid"):
        lg.set_rng_state(lg.zeros(5056, dtype=lg.uint8))


def test_the_method_is_a_setting():
    lg.manual_seed(4)
    drawn = lg.rand(3).tolist()
    with config.override(RNG="counter"):
        lg.manual_seed(4)
        assert lg.rand(3).tolist() != drawn
    assert lg.rand(3).tolist() == drawn  # both are seeded alike
    with pytest.raises(ValueError, match="counter or torch"), config.override(RNG="mt"):
        pass


def test_replays_draw_anew(device):
    def drawn(x):
        noise = lg.rand(3, device=device)
        return x + noise, noise, lg.nn.functional.dropout(x, 0.5), lg.randint(3, (2,), device=device)

    recorded, x = lg.jit(drawn), lg.ones(3, device=device)
    lg.manual_seed(1)
    plain = [[part.tolist() for part in drawn(x)] for _ in range(5)]
    lg.manual_seed(1)
    kept = [recorded(x) for _ in range(5)]  # looked at when later calls have drawn
    assert [[part.tolist() for part in parts] for parts in kept] == plain
    assert len({str(parts) for parts in plain}) == 5
    with config.override(RNG="counter"):
        other = [recorded(x)[0].tolist() for _ in range(3)]
    assert other[0] != other[1] != other[2]


def test_drawn_indices_in_replays():
    table = lg.arange(12.0).reshape(6, 2)
    rows = lg.jit(lambda t: t[lg.randperm(6)])
    lg.manual_seed(3)
    found = [rows(table)[:, 0].tolist() for _ in range(4)]
    lg.manual_seed(3)
    assert found == [table[lg.randperm(6)][:, 0].tolist() for _ in range(4)]


def test_examples_of_vmap():
    lg.manual_seed(0)
    found = lg.vmap(lambda x: x + lg.rand(2), randomness="different")(lg.zeros(3, 2))
    lg.manual_seed(0)
    assert found.tolist() == lg.rand(3, 2).tolist()
    same = lg.vmap(lambda x: x + lg.rand(2), randomness="same")(lg.zeros(3, 2))
    assert same[0].tolist() == same[2].tolist()
    with pytest.raises(RuntimeError, match="randomness"):
        lg.vmap(lambda x: x + lg.rand(2))(lg.zeros(3, 2))


# Beside PyTorch


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("size", SIZES)
def test_floats(size, dtype, torch):
    def run(t):
        kind = getattr(t, dtype)
        made = [t.rand(size, dtype=kind), t.randn(size, dtype=kind)]
        for name, *args in [("uniform_", -0.3, 0.7), ("normal_", 0.3, 1.7), ("exponential_", 2.7),
                            ("cauchy_", 0.5, 2.3), ("log_normal_", 0.3, 0.6), ("geometric_", 0.1),
                            ("bernoulli_", 0.3), ("random_",), ("random_", 7), ("random_", -3, 2**30)]:
            if args != [-3, 2**30] or dtype == "float64":
                made.append(getattr(t.empty(size, dtype=kind), name)(*args))
        return [*made, t.rand(3)]

    alike(run, torch, size)


@pytest.mark.parametrize("dtype", ["int64", "int32", "int16", "int8", "uint8", "bool"])
def test_integers(dtype, torch):
    def run(t):
        made, kind = [], getattr(t, dtype)
        for size in SIZES:
            empty = t.empty(size, dtype=kind)
            made += [t.randint(0, 2, (size,), dtype=kind), empty.clone().random_(),
                     empty.clone().bernoulli_(0.7)]
            if dtype != "bool":
                made += [t.randint(-5 if kind.is_signed else 0, 100, (size,), dtype=kind),
                         empty.clone().geometric_(0.2), empty.clone().random_(3, None),
                         t.randperm(100, dtype=kind)]
            if dtype in ("int64", "int32"):
                made += [empty.clone().random_(0, 2**28 - 1), empty.clone().random_(2**29)]
            if dtype == "int64":
                made += [empty.clone().random_(-(2**63), None), empty.clone().random_(-(2**40), 2**50),
                         t.randperm(size)]
        return made

    alike(run, torch)


@pytest.mark.parametrize("seed", [0, 1, 2**32 + 1, 2**63 + 5, -1])
def test_mixed_calls(seed, torch):
    def run(t):
        made, some = [], t.zeros(3, 4)
        for i in range(12):
            made += [t.randn(i), t.rand(i, 3), t.randn(2, i, 5, dtype=t.float64), t.randperm(i), t.randn(7),
                     t.randint(9, (i,)), t.randn_like(some), t.rand_like(some), t.randint_like(some, 5),
                     t.bernoulli(t.full((i,), 0.4)), t.bernoulli(t.full((i,), 0.4, dtype=t.float64)),
                     t.normal(1.0, 2.0, (i,)), t.normal(t.arange(3.0), 0.5)]
        return made

    alike(run, torch, seed)


def test_order_of_memory(torch):
    def run(t):
        made = [t.empty(4, 5, 6).permute(2, 0, 1).uniform_(), t.empty(6, 9).t().normal_(),
                t.empty(8, 10)[:, ::2].normal_(), t.empty(8, 10)[:, :1].random_(),
                t.empty(3, 1, 7).transpose(0, 2).bernoulli_(0.5), t.rand_like(t.empty(4, 5).t()),
                t.randn_like(t.empty(7, 5, 3).transpose(0, 1)), t.randint_like(t.empty(4, 3).t(), 50),
                t.nn.functional.dropout(t.ones(4, 6).t(), 0.4),
                t.empty(5, 4).t().bernoulli_(t.full((4, 1), 0.3)),
                t.rand(5, 4, out=t.empty(4, 5).t())]
        storage = t.zeros(6, 6)
        storage[1:4, 2:5].normal_()
        return [*made, storage]

    alike(run, torch)


@pytest.mark.parametrize("dtype", FLOATS)
def test_choices(dtype, torch):
    def run(t):
        kind = getattr(t, dtype)
        weights = t.tensor([[0.1, 0.5, 0.0, 0.4, 2.0], [1.0, 1.5, 2.5, 0.0, 0.5]], dtype=kind)
        made = [t.multinomial(weights, 40, True), t.multinomial(weights[0], 7, True),
                t.multinomial(weights, 1), t.multinomial(weights, 1, True), t.rand(1)]
        if dtype in ("float32", "float64"):  # those of 16 bits are often equal, in no certain order
            made += [t.multinomial(weights, 3), t.multinomial(weights[1], 4)]
        return [*made, t.poisson(t.tensor([[0.0, 0.5, 3.0], [9.9, 12.0, 200.0]], dtype=kind))]

    for seed in range(5):
        alike(run, torch, seed)


def test_gamma_numbers(torch):
    def run(t):
        shapes = t.tensor([[0.05, 0.5, 1.0], [2.5, 30.0, 4000.0]], dtype=t.float64)
        return t._standard_gamma(shapes.repeat(5, 1))

    def rows(t):
        return t._sample_dirichlet(t.tensor([[0.05, 0.5, 1.0], [2.5, 30.0, 4000.0]]))

    lg.manual_seed(2), torch.manual_seed(2)
    np.testing.assert_allclose(values(run(lg)), values(run(torch)), rtol=1e-12)
    np.testing.assert_allclose(values(rows(lg)), values(rows(torch)), rtol=1e-6)
    assert lg.get_rng_state().tolist() == torch.get_rng_state().tolist()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_successes_of_tries(dtype, torch):
    def run(t):
        kind = getattr(t, dtype)
        few, many = t.full((300,), 10.0, dtype=kind), t.arange(300).to(kind) * 7
        chances = (t.arange(300) % 23).to(kind) / 22
        return [t.binomial(few, chances), t.binomial(many, chances), t.binomial(many[:, None], chances[1:4]),
                t.binomial(few, chances * t.nan),
                t.distributions.Binomial(25, t.tensor([0.1, 0.9])).sample((40,))]

    alike(run, torch, 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_distributions_with_rejections(dtype, torch):
    def run(t):
        kind, d = getattr(t, dtype), t.distributions
        v = [t.tensor(x, dtype=kind) for x in ([0.5, 2.0, -3.0], [1e-6, 2.0, 100.0], 5.0)]
        matrix = t.eye(3, dtype=kind) * 2 + 0.3
        return [d.VonMises(v[0], v[1]).sample((200,)), d.Wishart(v[2], matrix).sample((7,)),
                d.Wishart(v[1] + 2.5, matrix).sample((2,)), d.Laplace(v[0], v[1]).sample((90,)),
                d.Gumbel(v[0], v[1]).sample((90,)), d.LKJCholesky(4, v[2]).sample((9,)),
                d.StudentT(v[1]).sample((9,)), d.Dirichlet(v[1]).sample((9,)),
                d.RelaxedBernoulli(v[2], v[1] / 100).sample((9,))]

    lg.manual_seed(3), torch.manual_seed(3)
    with pytest.warns(UserWarning, match="Singular"):  # PyTorch says so of every regular matrix
        wanted = run(torch)
    for ours, theirs in zip(run(lg), wanted, strict=True):
        rtol = 1e-13 if dtype == "float64" else 2e-6
        np.testing.assert_allclose(values(ours), values(theirs), rtol=rtol, atol=10 * rtol)
    assert lg.get_rng_state().tolist() == torch.get_rng_state().tolist()


@pytest.mark.parametrize("dtype", FLOATS)
def test_normal_numbers_of_tensors(dtype, torch):
    def run(t):
        kind = getattr(t, dtype)
        means, stds = (t.arange(30) % 7).to(kind), (t.arange(30) % 5 + 0.3).to(kind)
        return [t.normal(means, 1.7), t.normal(0.7, stds), t.normal(means, stds), t.normal(means[:9], 1.7),
                t.normal(means, stds.double()), t.normal(means.view(6, 5).t(), 0.3),
                t.normal(1.0, 2.0, (20,), out=t.empty(20, dtype=kind)),
                t.randint(9, (20,), out=t.empty(20, dtype=kind))]

    alike(run, torch, 8)


def test_functions_of_nn(torch):
    def run(t):
        f, x = t.nn.functional, t.ones(3, 8, 5)
        return [f.dropout(x, 0.3), f.dropout1d(x, 0.5), f.dropout2d(t.ones(2, 5, 3, 3), 0.3),
                f.dropout3d(t.ones(2, 5, 3, 3, 1), 0.3), f.alpha_dropout(x, 0.3, True),
                f.feature_alpha_dropout(x, 0.4, True), f.dropout(x.double(), 0.25),
                *t.native_dropout(x, 0.3, True), *t.native_dropout(x, 0.3, None),
                *t.native_dropout(x, 0.3, False), f.rrelu(-3 * x, training=True),
                f.rrelu(t.arange(90.0, dtype=t.float64) - 70, training=True),
                f.fractional_max_pool2d(t.arange(128.0).reshape(1, 2, 8, 8), 2, output_size=3)]

    alike(run, torch)
    lg.manual_seed(5), torch.manual_seed(5)
    for name, args in (("gumbel_softmax", ()), ("rrelu", (0.1, 0.3, True))):
        found, wanted = (getattr(t.nn.functional, name)(1 - t.arange(12.0).reshape(3, 4) % 5, *args)
                         for t in (lg, torch))
        np.testing.assert_allclose(values(found), values(wanted), rtol=1e-5)


def test_initial_values(torch):
    def run(t):
        n = t.nn
        layers = [n.Linear(5, 7), n.Linear(3, 2, bias=False), n.Bilinear(3, 4, 5), n.Conv1d(3, 4, 3),
                  n.Conv2d(4, 6, 3, groups=2), n.Conv3d(2, 3, 2), n.ConvTranspose2d(3, 4, 3),
                  n.Embedding(11, 5), n.EmbeddingBag(9, 4), n.RNN(4, 5), n.LSTM(4, 5, 2, bidirectional=True),
                  n.GRU(3, 4), n.LSTMCell(3, 4), n.GRUCell(3, 4), n.MultiheadAttention(8, 2),
                  n.BatchNorm2d(4), n.PReLU(),
                  n.MultiheadAttention(8, 2, kdim=4, vdim=6), n.TransformerEncoderLayer(8, 2, 16),
                  n.Transformer(8, 2, 1, 1, 16), n.AdaptiveLogSoftmaxWithLoss(8, 20, [5, 10])]
        return [p for layer in layers for p in layer.state_dict().values()]

    alike(run, torch)


def test_initialisers(torch):
    def run(t):
        init, made = t.nn.init, []
        for name, *args in [("uniform_", -1, 2), ("normal_", 1, 3), ("xavier_uniform_",), ("xavier_normal_",),
                            ("kaiming_uniform_",), ("kaiming_normal_",), ("trunc_normal_",),
                            ("sparse_", 0.3),
                            ("trunc_normal_", 0.5, 2.0, -1.0, 0.3), ("trunc_normal_", 0.0, 1.0, 2.0, 3.0)]:
            made += [getattr(init, name)(t.empty(shape, dtype=getattr(t, dtype)), *args)
                     for shape in ((13, 7), (3, 2), (1, 5)) for dtype in FLOATS]
        return made

    alike(run, torch)


def test_states_are_interchangeable(torch):
    for count in (0, 1, 3, 623, 624, 625, 5000):
        torch.manual_seed(9)
        torch.rand(count), torch.randn(1 + 2 * (count % 2))
        lg.set_rng_state(lg.tensor(torch.get_rng_state().numpy()))
        assert lg.randn(9).tolist() == torch.randn(9).tolist() and lg.initial_seed() == 9
        torch.set_rng_state(torch.tensor(lg.get_rng_state().numpy()))
        assert lg.rand(700).tolist() == torch.rand(700).tolist()


def test_order_of_data(torch):
    def run(t):
        data = t.utils.data
        made = []
        for settings in ({}, {"generator": t.Generator().manual_seed(8)}):
            loader = data.DataLoader(list(range(50)), batch_size=7, shuffle=True, **settings)
            made += [batch for _ in range(2) for batch in loader]
        weighted = data.WeightedRandomSampler([0.1, 0.7, 0.2, 0.0], 20)
        replaced = data.RandomSampler(range(9), replacement=True, num_samples=70)
        subset = data.SubsetRandomSampler([4, 8, 2, 6])
        parts = data.random_split(range(20), [12, 8])
        spread = data.DistributedSampler(range(17), num_replicas=3, rank=1, seed=5)
        orders = weighted, replaced, subset, *(p.indices for p in parts), spread
        return made + [t.tensor(list(order)) for order in orders]

    alike(run, torch)


def _program(t: Any) -> list[str]:
    t.manual_seed(42)
    x, y = t.randn(64, 10), t.randint(0, 3, (64,))
    model = t.nn.Sequential(t.nn.Linear(10, 32), t.nn.ReLU(), t.nn.Dropout(0.3), t.nn.Linear(32, 3))
    optimizer = t.optim.Adam(model.parameters(), lr=0.01)
    loader = t.utils.data.DataLoader(t.utils.data.TensorDataset(x, y), batch_size=16, shuffle=True)
    lines = []
    for epoch in range(4):
        for inputs, labels in loader:
            optimizer.zero_grad()
            loss = t.nn.functional.cross_entropy(model(inputs), labels)
            loss.backward()
            optimizer.step()
            lines.append(f"{epoch} {loss.item():.4f}")
    return lines


def test_a_program_prints_the_same_losses(torch):
    assert _program(lg) == _program(torch)


def test_samples_of_distributions(torch):
    def run(t):
        d, a = t.distributions, t.arange(1.0, 7.0).reshape(2, 3)
        return [d.Normal(a, a / 2).sample((5,)), d.Uniform(a, a + 2).sample((4,)),
                d.Exponential(a).sample((7,)), d.Bernoulli(a / 7).sample((3,)),
                d.Categorical(a).sample((9,)), d.Poisson(a).sample((3,)),
                d.OneHotCategorical(a).sample((2,))]

    alike(run, torch, 6)
