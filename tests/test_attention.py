"""Attention: its values and gradients on every path, and that no matrix of all scores is ever in memory."""

import numpy as np
import pytest

import lazygrad
import lazygrad.nn.functional as F
from lazygrad import config, engine
from lazygrad.runtime import pool
from lazygrad.runtime.registry import open_device

TOLERANCE = {"float32": 2e-5, "float64": 1e-12, "float16": 2e-2, "bfloat16": 1e-1}
SHAPES = {  # leading axes of queries, of keys; length of queries, of keys; width of keys, of values
    "square": ((2, 3), (2, 3), 64, 64, 32, 32),
    "odd": ((2, 3), (2, 3), 37, 53, 20, 17),
    "narrow": ((2,), (2,), 100, 33, 8, 40),
    "single width": ((2, 3), (2, 3), 20, 20, 1, 1),
    "more than a block": ((1, 2), (1, 2), 129, 201, 24, 40),
    "no heads": ((), (), 70, 80, 16, 24),
    "few rows": ((2, 2), (2, 2), 3, 300, 16, 16),
    "empty": ((2, 0), (2, 0), 5, 6, 4, 4),
}
OPTIONS = {
    "plain": {},
    "causal": {"is_causal": True},
    "bool mask": {"attn_mask": "bool"},
    "float mask": {"attn_mask": "float"},
    "learned mask": {"attn_mask": "learned"},
    "dropout": {"dropout_p": 0.3},
    "scale": {"scale": 0.3},
}


def results(device, shape, options, dtype="float32", apart=False):
    """The output and every gradient, as float64 arrays."""
    lead, key_lead, rows, places, width, values = shape
    rng = np.random.default_rng(0)

    def drawn(*sizes):
        values = lazygrad.tensor(rng.standard_normal(sizes)).to(getattr(lazygrad, dtype)).to(device)
        return values.realize().requires_grad_()

    q, k, v = drawn(*lead, rows, width), drawn(*key_lead, places, width), drawn(*key_lead, places, values)
    wrt, options = [q, k, v], dict(options)
    mask = options.get("attn_mask")
    if mask == "bool":
        options["attn_mask"] = lazygrad.tensor(rng.random((rows, places)) < 0.6).to(device)
    elif mask is not None:
        options["attn_mask"] = drawn(rows, places)
        if mask == "learned":
            wrt.append(options["attn_mask"])
        else:
            options["attn_mask"] = options["attn_mask"].detach()
    lazygrad.manual_seed(3)
    y = F.scaled_dot_product_attention(q, k, v, **options)
    if apart:
        y.realize()
    gradients = lazygrad.autograd.grad(y, wrt, drawn(*y.shape).detach())
    return [x.detach().to(lazygrad.float64).numpy() for x in (y, *gradients)]


def assert_close(got, expected, dtype="float32"):
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_attention_and_its_gradients(shape, option):
    case = SHAPES[shape], OPTIONS[option]
    assert_close(results("CPU", *case), results("NUMPY", *case))


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
@pytest.mark.parametrize("option", ["plain", "causal"])
@pytest.mark.parametrize("shape", ["square", "odd"])
def test_attention_in_other_types(shape, option, dtype):
    case = SHAPES[shape], OPTIONS[option], dtype
    assert_close(results("CPU", *case), results("NUMPY", *case), dtype)


@pytest.mark.parametrize("option", ["plain", "causal", "dropout"])
def test_attention_without_optimisation_and_on_opencl(option):
    case = SHAPES["odd"], OPTIONS[option]
    expected = results("NUMPY", *case)
    with config.override(NOOPT=1):
        assert_close(results("CPU", *case), expected)
    pytest.importorskip("pyopencl")
    assert_close(results("CL", *case), expected)


def test_key_and_value_heads_shared_by_runs_of_query_heads():
    case = ((2, 6), (2, 2), 40, 40, 16, 16), {"enable_gqa": True, "is_causal": True}
    assert_close(results("CPU", *case), results("NUMPY", *case))


@pytest.mark.parametrize("option", ["plain", "causal"])
def test_what_is_left_in_scratch_never_counts(option, monkeypatch):
    run = pool.ThreadPool.run

    def poisoned(self, records, count, threads, scratch):
        self._grow_scratch(max(scratch, self._scratch_bytes))
        for memory in self._scratches:
            memory[:] = 0xFF  # NaN, whatever the type
        return run(self, records, count, threads, scratch)

    case = SHAPES["more than a block"], OPTIONS[option]
    expected = results("NUMPY", *case)
    monkeypatch.setattr(pool.ThreadPool, "run", poisoned)
    assert_close(results("CPU", *case), expected)


@pytest.mark.parametrize("apart", [False, True], ids=["with the backward pass", "before it"])
def test_memory_grows_with_the_length_and_not_with_its_square(apart, monkeypatch):
    largest = []
    allocate = type(open_device("CPU")).allocate

    def counted(self, nbytes):
        largest.append(nbytes)
        return allocate(self, nbytes)

    monkeypatch.setattr(type(open_device("CPU")), "allocate", counted)
    peaks = []
    for length in (256, 512):
        largest.clear()
        shape = (1, 2), (1, 2), length, length, 64, 64
        results("CPU", shape, OPTIONS["causal"], apart=apart)
        peaks.append(max(largest))
    assert peaks[1] <= 2 * peaks[0], peaks
    assert peaks[1] < 2 * 512 * 512 * 4


def test_training_attention_is_four_kernels(monkeypatch):
    ran = []
    run = engine.Plan.run
    monkeypatch.setattr(engine.Plan, "run", lambda plan, *rest: (ran.extend(plan.steps), run(plan, *rest))[1])
    x = [lazygrad.randn(2, 2, 64, 32).realize().requires_grad_() for _ in range(3)]
    g = lazygrad.randn(2, 2, 64, 32).realize()
    ran.clear()
    y = F.scaled_dot_product_attention(*x, is_causal=True)
    gradients = lazygrad.autograd.grad(y, x, g)
    gradients[0].realize()
    assert len(ran) == 4, [step.kernel.nest.name for step in ran]


def test_a_matrix_of_weights_that_is_wanted_is_stored():
    q, k, v = (lazygrad.randn(2, 40, 24).realize() for _ in range(3))
    weights = (q @ k.transpose(1, 2)).softmax(-1)
    y = weights @ v
    y.realize()
    expected = weights.numpy() @ v.numpy()
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_large_scores_of_16_bits_are_not_rounded(dtype):
    rng = np.random.default_rng(3)
    q, k, v = (
        lazygrad.tensor(6 * rng.standard_normal((2, n, 8)), device="NUMPY").to(getattr(lazygrad, dtype))
        for n in (5, 7, 7)
    )
    got = F.scaled_dot_product_attention(q, k, v)
    want = F.scaled_dot_product_attention(*(t.double() for t in (q, k, v)))
    assert got.dtype is q.dtype
    np.testing.assert_allclose(got.double().numpy(), want.numpy(), rtol=1e-2, atol=5e-2)


@pytest.mark.parametrize("of", ["a row", "all rows"])
def test_steps_that_use_one_value_twice_are_followed_once(of):
    """Forty of them have 2**40 paths."""
    results = []
    for device in ("CPU", "NUMPY"):
        rng = np.random.default_rng(1)
        q, k, v, b = (lazygrad.tensor(rng.random((40, 40), np.float32), device=device) for _ in range(4))
        scores = q @ k.T
        value = scores.amax(-1, keepdim=True) if of == "a row" else b
        for _ in range(40):
            value = value * value.sigmoid()
        results.append(((scores - value).softmax(-1) @ v).numpy())
    np.testing.assert_allclose(*results, rtol=1e-5)
