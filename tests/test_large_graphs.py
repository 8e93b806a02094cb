"""Graphs as large as scalar networks and long loops make them."""

import numpy as np
import pytest

import lazygrad
from lazygrad import config, dtypes, engine, graph, ops
from lazygrad.graph import topological
from lazygrad.tensors import realization


@pytest.fixture(autouse=True)
def _on_cpu():
    with config.override(DEVICE="CPU"):
        yield


def skip_without(device):
    if device == "CL":
        pytest.importorskip("pyopencl")


@pytest.mark.parametrize("shape, turns", [((), 50_000), ((3,), 20_000)], ids=["number", "vector"])
def test_a_chain_of_100_000_operations_builds_differentiates_and_runs(shape, turns):
    x = lazygrad.full(shape, 0.5, dtype=lazygrad.float64).requires_grad_()
    y = x
    for _ in range(turns):
        y = y * 0.9999 + 0.0001
    y.sum().backward()
    factor = 0.9999**turns
    np.testing.assert_allclose(y.detach().numpy(), np.full(shape, 1 - 0.5 * factor), rtol=1e-9)
    np.testing.assert_allclose(x.grad.numpy(), np.full(shape, factor), rtol=1e-9)


def scalar_network(points, sizes=(2, 16, 16, 1)):
    """micrograd's two moons: every weight, input and activation a 0-d tensor;
    the leaves and a function to the loss."""
    rng = np.random.default_rng(0)

    def number(value, grad=False):
        return lazygrad.tensor(float(value), dtype=lazygrad.float64, requires_grad=grad)

    layers = [([[number(w, True) for w in row] for row in rng.uniform(-1, 1, (out, size))],
               [number(0.0, True) for _ in range(out)]) for size, out in zip(sizes, sizes[1:], strict=False)]
    parameters = [p for rows, biases in layers for p in (*(w for row in rows for w in row), *biases)]
    data = rng.standard_normal((points, 2))
    labels = np.where(data[:, 0] > 0, 1.0, -1.0)

    def loss():
        total = number(0.0)
        for point, label in zip(data, labels, strict=True):
            values = [number(v) for v in point]
            for depth, (rows, biases) in enumerate(layers):
                values = [sum((w * v for w, v in zip(row, values, strict=True)), b)
                          for row, b in zip(rows, biases, strict=True)]
                values = [v.relu() for v in values] if depth < 2 else values
            total = total + (1 - number(label) * values[0]).relu()
        return total * (1 / points) + 1e-4 * sum(p * p for p in parameters)

    arrays = [(np.array([[w.item() for w in row] for row in rows]), np.zeros(len(biases)))
              for rows, biases in layers]
    return parameters, loss, arrays, data, labels


def reference_loss(arrays, data, labels):
    values = data
    for depth, (weights, biases) in enumerate(arrays):
        values = values @ weights.T + biases
        values = np.maximum(values, 0) if depth < 2 else values
    penalty = sum((w**2).sum() + (b**2).sum() for w, b in arrays)
    return np.maximum(1 - labels * values[:, 0], 0).mean() + 1e-4 * penalty


@pytest.mark.parametrize("device", ["CPU", "CL"])
def test_a_scalar_network_runs_as_one_kernel_that_holds_no_leaf_values(device, monkeypatch):
    skip_without(device)
    ran = []
    run = engine.Plan.run
    monkeypatch.setattr(engine.Plan, "run", lambda plan, sources: (ran.append(plan), run(plan, sources))[1])
    with config.override(DEVICE=device):
        parameters, loss, arrays, data, labels = scalar_network(100 if device == "CPU" else 10)
        losses = []
        zero = lazygrad.tensor(0.0, dtype=lazygrad.float64)
        for step in range(3):
            value = loss() * zero.exp()  # which takes a kernel
            if step == 0 and device == "CPU":
                assert len(topological([value.graph_node()])) > 65_000
            for p in parameters:
                p.grad = None
            value.backward()
            with lazygrad.no_grad():
                for p in parameters:
                    p -= (0.01 - 0.001 * step) * p.grad
            losses.append(value.item())
    np.testing.assert_allclose(losses[0], reference_loss(arrays, data, labels), rtol=1e-12)
    assert losses == sorted(losses, reverse=True)
    last = ran[-1]
    assert len(last.steps) == 1
    text = last.steps[0].kernel.program.source.text
    assert len(text) < 100_000, "the graph is in the source"


def test_exact_arithmetic_of_single_numbers_takes_no_kernel(monkeypatch):
    ran = []
    run = engine.Plan.run
    monkeypatch.setattr(engine.Plan, "run", lambda plan, sources: (ran.append(plan), run(plan, sources))[1])
    parameters, loss, arrays, data, labels = scalar_network(10)
    value = loss()
    value.backward()
    np.testing.assert_allclose(value.item(), reference_loss(arrays, data, labels), rtol=1e-12)
    assert not ran and all(p.grad.cell.is_realized for p in parameters)
    assert "without a kernel" in lazygrad.explain(loss())
    assert parameters[0].exp().item() == pytest.approx(np.exp(parameters[0].item())) and len(ran) == 1


@pytest.mark.parametrize("dtype", [lazygrad.float32, lazygrad.float64], ids=str)
def test_exact_arithmetic_gives_the_bits_of_kernels(dtype):
    special = [0.0, -0.0, 1.0, -2.5, 1e-40, 3e38, float("inf"), -float("inf"), float("nan"), 0.1]
    steps = (lambda x, y: x + y, lambda x, y: x - y, lambda x, y: x * y, lambda x, y: x / y,
             lambda x, y: 1 / x - (-y), lambda x, y: (x + y).relu() * abs(y),
             lambda x, y: (x < y) == (x != y),
             lambda x, y: lazygrad.where(x <= y, x, y) * 3, lambda x, y: x.double() * y.float())
    many = [lazygrad.tensor(v, dtype=dtype) for v in (np.repeat(special, 10), np.tile(special, 10))]
    for step in steps:
        want = step(*many).numpy().reshape(10, 10)
        for i, a in enumerate(special):
            for j, b in enumerate(special):
                got = step(lazygrad.tensor(a, dtype=dtype), lazygrad.tensor(b, dtype=dtype)).numpy()
                assert got.dtype == want.dtype
                np.testing.assert_array_equal(got, want[i, j], err_msg=f"{a} {b}")
                assert got.dtype.kind != "f" or got != 0 or np.signbit(got) == np.signbit(want[i, j])


def test_a_loop_that_nobody_reads_stays_small(monkeypatch):
    monkeypatch.setattr(realization._Pressure, "limit", None)  # whatever lived before
    x, y = (lazygrad.tensor(v, dtype=lazygrad.float64) for v in (2.0, 4.0))
    w = lazygrad.tensor(0.4, dtype=lazygrad.float64, requires_grad=True)
    start, most = graph.alive(), 0
    for _ in range(9000):  # whose graph would have 13 nodes for each turn
        loss = (w * x - y) ** 2
        loss.backward()
        with lazygrad.no_grad():
            w -= 0.1 * w.grad
        w.grad = None
        most = max(most, graph.alive())
    assert most < 2 * start + 30_000 and w.item() == 2 and loss.item() == 0


def test_numbers_of_every_kind_on_a_tape():
    rng = np.random.default_rng(0)
    names = ("exp", "tanh", "sin", "sqrt", "log", "erf", "floor", "reciprocal", "neg", "abs", "sign")
    values = [ops.scalar(v, dtypes.float64) for v in rng.uniform(0.1, 2, 50)]
    for i in range(1200):
        x, y = values[rng.integers(len(values))], values[rng.integers(len(values))]
        match i % 5:
            case 0:
                new = ops.OPS[names[rng.integers(len(names))]](ops.abs_(x))
            case 1:
                new = ops.where(ops.bitand(ops.lt(x, y), ops.ne(x, ops.const(0.5, dtypes.float64))), x,
                                ops.neg(y))
            case 2:
                new = ops.cast(ops.bitor(ops.bitnot(ops.le(x, y)), ops.eq(x, y)), arg=dtypes.float64)
            case 3:
                new = ops.reshape(ops.tanh(ops.mul(x, y)), arg=())
            case _:
                new = ops.maximum(ops.sub(x, y), ops.const(0.25, dtypes.float64))
        values.append(ops.tanh(new))
    truths = [ops.lt(values[-1], values[-2]), ops.eq(values[3], values[3])]
    targets = [*values[-40:], *truths]
    got = engine.realize(targets, "CPU")
    for node, want in zip(got, engine.interpret(targets, engine.download), strict=True):
        np.testing.assert_allclose(engine.download(node), want, rtol=1e-12)


@pytest.mark.parametrize("device", ["CPU", "CL"])
def test_jit_of_a_scalar_network_of_more_parameters_than_a_kernel_takes(device):
    skip_without(device)
    with config.override(DEVICE=device):
        histories = []
        for recorded in (False, True):
            parameters, loss, *_ = scalar_network(2, (2, 8, 16, 1))
            assert len(parameters) > 128

            def step(rate, parameters=parameters, loss=loss):
                value = loss()
                for p in parameters:
                    p.grad = None
                value.backward()
                with lazygrad.no_grad():
                    for p in parameters:
                        p -= rate * p.grad
                return value

            run = lazygrad.jit(step) if recorded else step
            rates = [lazygrad.tensor(0.02 - 0.002 * k, dtype=lazygrad.float64) for k in range(5)]
            histories.append([*(run(rate).item() for rate in rates), *(p.item() for p in parameters)])
    np.testing.assert_allclose(histories[1], histories[0], rtol=1e-12)


@pytest.mark.parametrize("device", ["CPU", "CL"])
@pytest.mark.parametrize("dtype", [dtypes.float64, dtypes.int32], ids=str)  # a tape; pieces
def test_numbers_in_many_buffers(dtype, device):
    skip_without(device)
    rng = np.random.default_rng(0)
    start = rng.integers(1, 3, 300).astype(dtype.numpy)
    values = [engine.upload(np.asarray(v), dtype, device) for v in start]
    for i in range(1200):
        x, y = values[i % len(values)], values[rng.integers(len(values))]
        values.append(ops.maximum(ops.sub(x, y), ops.minimum(y, values[i % 300])))
    targets = values[-150:]
    for group in engine.tell_plan(targets, "CL").schedule.groups if device == "CL" else ():
        assert sum(n.op.name == "buffer" for n in group.inputs) <= 64
    got = engine.realize(targets, device)
    for node, want in zip(got, engine.interpret(targets, engine.download), strict=True):
        np.testing.assert_allclose(engine.download(node), want, rtol=1e-12)


@pytest.mark.parametrize("device", ["CPU", "CL"])
@pytest.mark.parametrize("through", [False, True], ids=["beside", "through"])
def test_a_stack_of_numbers_leaves_the_others_on_a_tape(through, device, monkeypatch):
    """The gradients of a loss that is made of a stack, or beside one, of 60 scores."""
    skip_without(device)
    ran = []
    run = engine.Plan.run
    monkeypatch.setattr(engine.Plan, "run", lambda plan, sources: (ran.append(plan), run(plan, sources))[1])
    rng = np.random.default_rng(0)
    w, x = rng.uniform(-1, 1, 21), rng.standard_normal((60, 20))
    with config.override(DEVICE=device):
        weights = [lazygrad.tensor(v, dtype=lazygrad.float64, requires_grad=True) for v in w]
        scores = [sum((p * v for p, v in zip(weights, row.tolist(), strict=False)), weights[20].exp()).tanh()
                  for row in x]
        stacked = lazygrad.stack(scores)
        loss = (1 - stacked).square().mean() if through else sum((1 - s) * (1 - s) for s in scores) / 60
        loss.backward()
        accuracy = (stacked > 0).double().mean()
        gradients = [p.grad for p in weights]
        results = [loss.detach(), accuracy, stacked.detach(), *gradients]
        got = [t.numpy() for t in results]
    names = [step.kernel.program.source.name for plan in ran for step in plan.steps]
    assert sum(name.startswith("tape") for name in names) == 1 + through and len(names) <= 5, names
    score = np.tanh(x @ w[:20] + np.exp(w[20]))
    inner = -2 * (1 - score) / 60 * (1 - score**2)
    np.testing.assert_allclose(got[0], np.square(1 - score).mean(), rtol=1e-12)
    assert got[1] == (score > 0).mean()
    np.testing.assert_allclose(got[2], score, rtol=1e-12)
    np.testing.assert_allclose(got[3:23], inner @ x, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(got[23], inner.sum() * np.exp(w[20]), rtol=1e-9)
