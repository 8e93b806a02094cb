"""How many kernels common work becomes, what they read, and that training runs each of them once."""

import numpy as np
import pytest

import lazygrad
import lazygrad.nn as nn
import lazygrad.nn.functional as F
from lazygrad import engine, optim
from lazygrad.runtime.registry import open_device


@pytest.fixture(autouse=True)
def _on_cpu(monkeypatch):
    from lazygrad import config

    with config.override(DEVICE="CPU"):
        yield


@pytest.fixture
def kernels(monkeypatch):
    """The nests that ran, in order."""
    ran = []
    run = engine.Plan.run

    def recorded(plan, sources):
        ran.extend(step.kernel.nest for step in plan.steps)
        return run(plan, sources)

    monkeypatch.setattr(engine.Plan, "run", recorded)
    return ran


def data(*shape):
    return lazygrad.tensor(np.random.default_rng(0).standard_normal(shape).astype(np.float32)).realize()


def labels(count, classes):
    return lazygrad.tensor(np.random.default_rng(1).integers(0, classes, count))


ONE_KERNEL = {
    "softmax": lambda: F.softmax(data(16, 20), -1),
    "softmax of columns": lambda: F.softmax(data(16, 20), 0),
    "log softmax": lambda: F.log_softmax(data(16, 20), -1),
    "layer norm": lambda: F.layer_norm(data(16, 20), (20,), data(20), data(20)),
    "cross entropy": lambda: F.cross_entropy(data(16, 20), labels(16, 20)),
    "gelu of a linear layer": lambda: F.gelu(data(16, 20) @ data(20, 24) + data(24)),
    "tanh gelu": lambda: F.gelu(data(16, 20) @ data(20, 24) + data(24), approximate="tanh"),
    "relu of a convolution": lambda: F.relu(F.conv2d(data(2, 3, 9, 9), data(4, 3, 3, 3), data(4), padding=1)),
    "max pool": lambda: F.max_pool2d(data(2, 3, 8, 8), 2),
    "variance": lambda: data(16, 20).var(0),
    "standardised rows": lambda: (lambda x: (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True))(
        data(16, 20)),
    "elementwise chain": lambda: ((data(100) * 2 + 1).relu() * data(100).sigmoid()).tanh(),
    "embedding": lambda: F.embedding(labels(16, 20), data(20, 8)),
}


@pytest.mark.parametrize("name", ONE_KERNEL)
def test_one_kernel(name, kernels):
    result = ONE_KERNEL[name]()
    kernels.clear()
    result.realize()
    assert len(kernels) == 1, [nest.name for nest in kernels]


ONE_KERNEL_FOR_ALL = {
    "powers and their row sums": lambda e: (e, e.sum(1)),
    "row sums and extremes": lambda e: (e.sum(1).sqrt(), e / e.max(1, keepdim=True)[0]),
    "a value, and rows standardised by it": lambda e: (e - e.mean(1, keepdim=True), e.var(1)),
    "a value and the sum of all, in small": lambda e: (e, e.sum()),
}


@pytest.mark.parametrize("name", ONE_KERNEL_FOR_ALL)
def test_what_is_stored_in_full_and_folded_along_rows_is_one_kernel(name, kernels):
    x = data(64, 50)
    results = ONE_KERNEL_FOR_ALL[name](x.exp())
    kernels.clear()
    results[0].realize()
    assert len(kernels) == 1, [nest.name for nest in kernels]
    with lazygrad.config.override(DEVICE="NUMPY"):
        expected = ONE_KERNEL_FOR_ALL[name](lazygrad.tensor(x.numpy()).exp())
    for result, value in zip(results, expected, strict=True):
        np.testing.assert_allclose(result.numpy(), value.numpy(), rtol=2e-5, atol=1e-6)


def test_a_layer_norm_that_trains_is_one_kernel_forward(kernels):
    x = data(32, 40).requires_grad_()
    norm = nn.LayerNorm(40)
    for parameter in norm.parameters():
        parameter.realize()
    y = norm(x)
    kernels.clear()
    y.realize()
    assert len(kernels) == 1, [nest.name for nest in kernels]


@pytest.mark.parametrize("device", ["CPU", "CL"])
def test_attention_is_few_kernels(kernels, device):
    q, k, v = (data(2, 3, 64, 16).to(device).realize() for _ in range(3))
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    kernels.clear()
    y.realize()
    # OpenCL: scores; rows; values
    assert len(kernels) == {"CPU": 1, "CL": 3}[device], [nest.name for nest in kernels]


def test_adam_takes_no_kernel_of_its_own_per_parameter(kernels):
    model = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 5))
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    for parameter in model.parameters():
        parameter.realize()
    for _ in range(3):
        for parameter in model.parameters():
            parameter.grad = data(*parameter.shape)
        kernels.clear()
        optimizer.step()
        assert len(kernels) <= len(list(model.parameters())), [nest.name for nest in kernels]


def test_reading_the_loss_after_the_step_costs_no_kernel(kernels):
    model = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 5))
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    x, y = data(16, 20), labels(16, 5)
    losses, counts = [], []
    for _ in range(4):
        logits = model(x)
        loss = F.cross_entropy(logits, y)
        optimizer.zero_grad()
        loss.backward()
        kernels.clear()
        optimizer.step()
        counts.append(len(kernels))
        names = [nest.name for nest in kernels]
        losses.append(loss.item())
        assert len(kernels) == counts[-1], "the loss ran again"
        assert sum("matmul" in n for n in names) <= 5, names  # two forward, three backward: none twice
    assert losses == sorted(losses, reverse=True)


def test_sum_of_many_elements_has_work_for_every_core(kernels):
    x = lazygrad.ones(1 << 24).realize()
    kernels.clear()
    assert x.sum().item() == 1 << 24
    threads = open_device("CPU").target.threads
    phases = [s for nest in kernels for s in nest.body if getattr(s, "kind", "") == "parallel"]
    assert max(loop.var.extent for loop in phases) >= threads


@pytest.mark.parametrize("function", [
    lambda vocabulary: F.embedding(labels(16, 20), data(vocabulary, 8)),
    lambda vocabulary: F.nll_loss(data(16, vocabulary), labels(16, 20)),
    lambda vocabulary: data(16, vocabulary).gather(1, labels(16, 20).unsqueeze(1)),
], ids=["embedding", "nll_loss", "gather"])
def test_indexed_reads_do_not_grow_with_the_vocabulary(function, kernels):
    moved = []
    for vocabulary in (50, 5000):
        result = function(vocabulary)
        kernels.clear()
        result.realize()
        moved.append(sum(nest.bytes_moved for nest in kernels))
    assert moved[0] == moved[1]


def test_a_loop_over_batches_runs_one_plan(kernels, monkeypatch):
    plans = []
    make = engine.make_plan
    monkeypatch.setattr(engine, "make_plan", lambda *a, **k: (plans.append(1), make(*a, **k))[1])
    x, y = data(120, 6), labels(120, 3)
    model = nn.Linear(6, 3)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    counts, losses = [], []
    for start in range(0, 120, 20):
        loss = F.cross_entropy(model(x[start:start + 20]), y[start:start + 20])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        counts.append(len(plans))
    assert counts[-1] == counts[2], "a batch further on was planned anew"
    assert len(set(losses)) == len(losses)
    np.testing.assert_array_equal(x[40:60].numpy(), x.numpy()[40:60])
    np.testing.assert_allclose((x[7] * 2 + x[119]).numpy(), x.numpy()[7] * 2 + x.numpy()[119])


def kinds(kernels):
    return len(set(map(id, kernels)))


@pytest.mark.parametrize("layer", [nn.LSTM, nn.GRU], ids=lambda layer: layer.__name__)
def test_steps_of_a_recurrence_are_one_kernel(kernels, layer, compiling_device):
    """The steps read one stored tensor, the projected inputs, each at a place of its own."""
    x = data(12, 3, 4).to(compiling_device)
    model = layer(4, 6).to(compiling_device)
    loss = model(x)[0].square().mean()
    loss.backward()
    grads = [p.grad for p in model.parameters()]
    lazygrad.realize(loss, *grads)
    # on OpenCL kernels take whole memories, in which what a step reads and writes may lie otherwise each time
    assert kinds(kernels) < len(kernels) * (0.66 if compiling_device == "CPU" else 0.9)
    twin = layer(4, 6)
    twin.load_state_dict(model.state_dict())
    with lazygrad.config.override(DEVICE="NUMPY"):
        twin = twin.to("NUMPY")
        twin(x.to("NUMPY"))[0].square().mean().backward()
        for grad, p in zip(grads, twin.parameters(), strict=True):
            np.testing.assert_allclose(grad.numpy(), p.grad.numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [lazygrad.int64, lazygrad.int32], ids=str)
def test_steps_under_masks_by_their_number_are_one_kernel(kernels, dtype, compiling_device):
    ends = lazygrad.tensor([3, 9, 20, 0], dtype=dtype, device=compiling_device)
    x, weight = data(15, 4, 5).to(compiling_device).tanh(), data(5, 5).to(compiling_device)
    projected = x @ weight  # stored, so that the steps read it at places of their own
    state, values = lazygrad.zeros(4, 5, device=compiling_device), np.zeros((4, 5), np.float32)
    for t in range(15):
        state = lazygrad.where((ends > t).unsqueeze(1), (projected[t] + state @ weight).tanh(), state)
    lazygrad.realize(state, projected)
    assert len(kernels) >= 15 and kinds(kernels) < 8
    alone, projected = weight.numpy(), projected.numpy()
    for t in range(15):
        after = np.tanh(projected[t] + values @ alone)
        values = np.where((np.array([3, 9, 20, 0]) > t)[:, None], after, values)
    np.testing.assert_allclose(state.numpy(), values, rtol=1e-4, atol=1e-5)


def test_what_moves_in_a_stored_tensor_is_one_kernel(kernels, compiling_device):
    x = data(7, 5, 6).to(compiling_device)
    stored = (x @ data(6, 6).to(compiling_device)).tanh()
    found = [stored[t, 1:4].flip(0).cumsum(1) * F.pad(stored[t, :3], (1, 1))[:, 1:7] for t in range(7)]
    found += [stored[t, :, 2].take(lazygrad.tensor([4, 0, 2], device=compiling_device)) for t in range(7)]
    lazygrad.realize(stored, *found)
    assert kinds(kernels) < len(kernels)
    values = stored.numpy()
    for t in range(7):
        want = values[t, 1:4][::-1].cumsum(1) * values[t, :3]
        np.testing.assert_allclose(found[t].numpy(), want, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(found[7 + t].numpy(), values[t, :, 2][[4, 0, 2]])
