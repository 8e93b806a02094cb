"""Autotuning: what wins computes the same, is kept on disk, and touches nobody's memory."""

import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import COMPILING

import lazygrad as lg
from lazygrad import config, dtypes, engine, ops
from lazygrad.codegen.choice import UNTUNED, Choice, read_choice
from lazygrad.codegen.loopnest import Compute, If, Loop, Store
from lazygrad.codegen.opencl_rows import rewrite_values
from lazygrad.engine import backend, plan_store, tune
from lazygrad.engine.scratch import Layout, Scratch, random_values
from lazygrad.expr import Guard
from lazygrad.nn import functional as F
from lazygrad.runtime.registry import open_device
from lazygrad.scheduler.group import Group

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def tuning(tmp_path, monkeypatch):
    """Every kernel is tuned, however short, and nothing is known from before."""
    monkeypatch.setattr(tune, "_known", {})
    monkeypatch.setattr(backend, "_kernels", {})
    monkeypatch.setattr(engine, "_plans", {})
    monkeypatch.setattr(tune, "SHORT", 0.0)
    monkeypatch.setattr(tune, "SECONDS", 0.0)
    monkeypatch.setattr(tune, "FEWEST", 2)
    with config.override(TUNE=True, CACHE_DIR=tmp_path):
        yield


@pytest.fixture
def any_wins(monkeypatch):
    """The best candidate wins, be it slower than the untuned kernel."""
    monkeypatch.setattr(tune, "MARGIN", 1e9)
    monkeypatch.setattr(tune, "HOPELESS", 1e9)


def tunings():
    """What was found for each kernel so far."""
    return [kernel.tuning for kernel in backend._kernels.values()]


def array(*shape, dtype=np.float32, seed=0):
    values = np.random.default_rng(seed).standard_normal(shape)
    return values.astype(dtype) if np.dtype(dtype).kind == "f" else (values * 30).astype(dtype)


X, Y, Z = array(70, 65), array(65, 90, seed=1), array(3, 5, 20, 21)
INDEX = np.random.default_rng(2).integers(0, 70, 300)


def conv(t):
    return F.conv2d(t(Z), t(array(16, 5, 3, 3)), padding=1).relu()


def scattered(t, dtype=np.float32):
    return t(array(70, 9, dtype=dtype)).index_add(0, t(INDEX), t(array(300, 9, dtype=dtype, seed=3)))


def attention(t):
    return F.scaled_dot_product_attention(*(t(array(2, 3, 40, 16, seed=s)) for s in range(3)), is_causal=True)


WORK = {
    "elementwise": lambda t: (t(X).sigmoid() * 3 + t(X)).tanh(),
    "logarithm": lambda t: t(np.abs(X)).log().sqrt(),
    "int": lambda t: t(array(5000, dtype=np.int32)) // 7 * 3 - 1,
    "bool": lambda t: (t(X) > 0) ^ (t(X) < 1),
    "broadcast": lambda t: t(X)[:, :, None] + t(X)[:, None, :7],
    "sum": lambda t: t(array(100_000)).sum(),
    "rows": lambda t: t(X).softmax(1),
    "columns": lambda t: t(array(300, 40)).var(0),
    "argmax": lambda t: t(X).argmax(1),
    "int_sum": lambda t: t(array(60, 50, dtype=np.int64)).sum(0),
    "transpose": lambda t: t(array(200, 130)).t().contiguous() * 2,
    "matmul": lambda t: F.gelu(t(X) @ t(Y) + t(Y[0])),
    "vector": lambda t: t(array(300, 400)) @ t(array(400)),
    "batched": lambda t: t(array(4, 30, 31)) @ t(array(4, 31, 33)),
    "long": lambda t: t(array(20, 3000)) @ t(array(3000, 20)),
    "half": lambda t: t(array(64, 64, dtype=np.float16)) @ t(array(64, 64, dtype=np.float16)),
    "double": lambda t: t(array(64, 65, dtype=np.float64)) @ t(array(65, 40, dtype=np.float64)),
    "conv": conv,
    "pool": lambda t: F.max_pool2d(t(Z), 3, 2),
    "attention": attention,
    "cumsum": lambda t: t(X).cumsum(1),
    "sort": lambda t: t(X).sort(1).values,
    "argsort": lambda t: t(array(90, 40, dtype=np.int32)).argsort(0, stable=True),
    "topk": lambda t: t(X).topk(5, 1).values,
    "gather": lambda t: t(X)[t(INDEX)] * 2,
    "scatter": scattered,
    "int_scatter": lambda t: scattered(t, np.int32),
    "random": lambda t: lg.rand(999, device=t(X).device, generator=lg.Generator().manual_seed(3)) + 1,
}


ON_CL = ("elementwise", "sum", "rows", "int_sum", "matmul", "conv", "cumsum", "sort", "gather", "scatter")


@pytest.mark.parametrize("name", WORK)
def test_values_are_right_whatever_wins(name, any_wins, device="CPU"):
    expected = WORK[name](lambda x: lg.tensor(x, device="NUMPY")).numpy()
    found = WORK[name](lambda x: lg.tensor(x, device=device)).cpu().numpy()
    eps = {"float16": 4e-3, "float32": 1e-5, "float64": 1e-12}.get(str(found.dtype), 0)
    np.testing.assert_allclose(found, expected, rtol=eps, atol=eps * 50)
    made = tunings()
    assert made and not any(tuning.note for tuning in made), [t.note for t in made]
    assert not [trial for tuning in made for trial in tuning.trials if trial.refused]
    assert any(tuning.choice != UNTUNED for tuning in made)


@pytest.mark.skipif("CL" not in COMPILING, reason="no OpenCL")
@pytest.mark.parametrize("name", ON_CL)
def test_values_are_right_on_opencl(name, any_wins):
    test_values_are_right_whatever_wins(name, any_wins, "CL")


def test_gradients_and_updates_in_place(any_wins):
    """Kernels that write over what they read: they are tried on scratch memory, not on the parameters."""

    def trained(tune_it):
        with config.override(TUNE=tune_it):
            lg.manual_seed(0)
            model = lg.nn.Sequential(lg.nn.Linear(20, 30), lg.nn.ReLU(), lg.nn.Linear(30, 5))
            optimizer = lg.optim.Adam(model.parameters(), 0.01)
            x = lg.tensor(array(16, 20))
            for _ in range(4):
                optimizer.zero_grad()
                F.cross_entropy(model(x), lg.arange(16) % 5).backward()
                optimizer.step()
            return [p.detach().numpy() for p in model.parameters()]

    for found, expected in zip(trained(True), trained(False), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert any(tuning.choice != UNTUNED for tuning in tunings() if tuning)


def test_in_jitted_functions(compiling_device, any_wins):
    @lg.jit
    def step(x, i):
        return (x @ x.t()).relu()[i].cumsum(1)

    for seed in range(4):
        x, i = array(40, 50, seed=seed), INDEX[seed:seed + 30] % 40
        found = step(lg.tensor(x, device=compiling_device), lg.tensor(i, device=compiling_device))
        expected = np.maximum(x @ x.T, 0)[i].cumsum(1)
        np.testing.assert_allclose(found.cpu().numpy(), expected, rtol=1e-4, atol=1e-3)
    assert any(tuning.choice != UNTUNED for tuning in tunings())


# What is refused


def subtracting(nest):
    def change(v):
        return replace(v, op="sub") if isinstance(v, Compute) and v.op == "add" else v

    return replace(nest, body=rewrite_values(nest.body, change))


def leaving_out(nest):
    """The last element of the output is not written."""

    def visit(body):
        for s in body:
            if isinstance(s, Loop | If):
                yield replace(s, body=tuple(visit(s.body)))
            elif isinstance(s, Store) and s.array.space == "parameter":
                yield replace(s, guards=(*s.guards, Guard(s.index, 0, s.array.size - 1)))
            else:
                yield s

    return replace(nest, body=tuple(visit(nest.body)))


def failing(nest):
    raise AssertionError("no such tile")


CASES = [(subtracting, np.float32), (subtracting, np.int64), (leaving_out, np.float32), (failing, np.float32)]


@pytest.mark.parametrize("wrong,dtype", CASES)
def test_a_wrong_candidate_is_refused(wrong, dtype, monkeypatch, any_wins, compiling_device):
    language = open_device(compiling_device).target.language
    right = backend.BACKENDS[language]

    def optimize(nest, target, choice):
        made = right.optimize(nest, target, UNTUNED)
        return wrong(made) if choice.rows == 77 else made

    made = backend.Backend(optimize, lambda nest, target: [Choice(rows=77)], right.render)
    monkeypatch.setitem(backend.BACKENDS, language, made)
    x, y = array(3000, dtype=dtype), array(3000, dtype=dtype, seed=1)
    found = lg.tensor(x, device=compiling_device) + lg.tensor(y, device=compiling_device)
    np.testing.assert_array_equal(found.cpu().numpy(), x + y)
    (tuning,) = tunings()
    assert tuning.choice == UNTUNED and len(tuning.trials) == 2
    assert ("cannot be made" if wrong is failing else "its output is another") in tuning.trials[1].refused


def test_equal_up_to_the_order_of_sums_alone():
    sums = np.linspace(-50, 50, 1000, dtype=np.float32)
    near, far = sums + np.float32(2e-5), sums + np.float32(2e-3)
    assert tune.agrees(near, sums, dtypes.float32, 1000) and not tune.agrees(far, sums, dtypes.float32, 1000)
    assert not tune.agrees(near, sums, dtypes.float64, 1000)
    special = np.array([np.nan, np.inf, -np.inf, 1], np.float32)
    assert tune.agrees(special, special, dtypes.float32, 1)
    assert not tune.agrees(special[[1, 1, 2, 3]], special, dtypes.float32, 1)
    assert not tune.agrees(special[[0, 2, 1, 3]], special, dtypes.float32, 1)
    assert not tune.agrees(np.array([1, 2, 4]), np.array([1, 2, 3]), dtypes.int64, 1e9)


# Indices


def leaf(name, *shape, dtype=dtypes.float32):
    device = open_device("CPU")
    size = int(np.prod(shape)) * dtype.itemsize
    return ops.buffer(device.allocate(size), dtype, shape)


def group_of(output, *inputs):
    return Group((output,), inputs, output.shape, ())


def scratch_of(group, places=None):
    """Memory for a group, by default a memory of its own for each of its nodes; and the values in it."""
    nodes = (*group.inputs, *group.outputs)
    places = places or {node: (slot, 0) for slot, node in enumerate(nodes)}
    extents = [0] * (1 + max(slot for slot, _ in places.values()))
    for node, (slot, offset) in places.items():
        extents[slot] = max(extents[slot], offset + node.size * node.dtype.itemsize)
    values = random_values(group, -1.0)
    return Scratch(open_device("CPU"), group, Layout(places, extents), values), values


def test_indices_stay_within_what_they_index():
    x, i, j = leaf("x", 7, 300), leaf("i", 1000, dtype=dtypes.int64), leaf("j", 1000, dtype=dtypes.uint8)
    scratch, values = scratch_of(group_of(ops.gather(x, i, j, arg=(0, 1)), x, i, j))
    assert scratch.is_safe()
    assert values[i].min() == 0 and values[i].max() == 6
    assert values[j].min() == 0 and values[j].max() > 200
    both = ops.mul(ops.gather(x, i, j, arg=(0, 1)), ops.gather(x, j, i, arg=(0, 1)))
    scratch, values = scratch_of(group_of(both, x, i, j))
    assert values[j].max() == 6 and scratch.is_safe()


def test_computed_indices_are_computed_before_they_are_trusted():
    x, i = leaf("x", 20), leaf("i", 500, dtype=dtypes.int64)
    twice = ops.gather(x, ops.add(i, i), arg=(0,))
    assert not scratch_of(group_of(twice, x, i))[0].is_safe()
    last = ops.gather(x, ops.sub(ops.const(19, dtypes.int64, (500,)), i), arg=(0,))
    assert scratch_of(group_of(last, x, i))[0].is_safe()


def test_indices_that_lie_over_each_other_are_checked_where_they_are():
    """Where a slice begins is data, and is 0 in scratch memory: then parts of one memory overlap there."""
    x, y, i, j = leaf("x", 5), leaf("y", 500), *(leaf(n, 100, dtype=dtypes.int64) for n in "ij")
    node = ops.add(ops.gather(x, i, arg=(0,)), ops.gather(y, j, arg=(0,)))
    group = group_of(node, x, y, i, j)
    assert scratch_of(group)[0].is_safe()
    assert not scratch_of(group, {x: (0, 0), y: (1, 0), i: (2, 0), j: (2, 0), node: (3, 0)})[0].is_safe()


def test_a_kernel_without_safe_indices_is_not_tuned_and_says_so(capfd, compiling_device):
    device = open_device(compiling_device)
    x = engine.upload(array(20), dtypes.float32, compiling_device)
    places = engine.upload(np.full(500, 7.5, np.float32), dtypes.float32, compiling_device)
    index = ops.cast(ops.mul(places, places), arg=dtypes.int64)
    small = ops.mod(index, ops.const(20, dtypes.int64, (500,))) if hasattr(ops, "mod") else index
    node = ops.gather(x, ops.sub(small, ops.const(40, dtypes.int64, (500,))), arg=(0,))
    capfd.readouterr()
    with config.override(DEBUG=2):
        (found,) = engine.realize([node], compiling_device)
    assert device and found.shape == (500,)
    assert "not tuned: no inputs are known to keep its indices within bounds" in capfd.readouterr().err


# On disk

PROGRAM = """
import sys
import lazygrad as lg
from lazygrad.engine import tune
tune.SHORT = 0.0
if "must know" in sys.argv:
    tune._measured = None
x = lg.arange(30000, dtype=lg.float32).reshape(100, 300) / 1000
print((x @ x.t()).tolist()[3][5], x.exp().sum().item())
"""


def process(folder, device, *words, **settings):
    """What a process prints, and what it says of its kernels."""
    ours = {"CACHE_DIR": str(folder), "DEVICE": device, "TUNE": "1", "DEBUG": "3"}
    environment = {**os.environ, **ours, **settings}
    done = subprocess.run([sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True,
                          env=environment, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout, [line for line in done.stderr.splitlines() if line.endswith(("tried", "from before"))]


def test_a_second_process_times_nothing_again(tmp_path, compiling_device):
    values, first = process(tmp_path, compiling_device)
    assert first and any(line.endswith("tried") for line in first)
    again, second = process(tmp_path, compiling_device, "must know")
    assert again == values
    assert len(second) == len(first) and all(line.endswith("known from before") for line in second)


def test_other_threads_and_no_tuning_are_other_keys(tmp_path):
    process(tmp_path, "CPU", THREADS="2")
    _, lines = process(tmp_path, "CPU", THREADS="1")
    assert any(line.endswith("tried") for line in lines)
    assert process(tmp_path, "CPU", TUNE="0")[1] == []


def test_damaged_files_are_ignored_and_made_again(tmp_path):
    values, first = process(tmp_path, "CPU")
    files = [path for path in (tmp_path / "tuned").rglob("*") if path.is_file()]
    assert files
    for number, path in enumerate(files):
        content = path.read_bytes()
        path.write_bytes((content[:-9], b"", content[:40] + b"!" + content[41:])[number % 3])
    again, second = process(tmp_path, "CPU")
    assert len(second) == len(first) and second[0].endswith("tried")
    third, lines = process(tmp_path, "CPU", "must know")
    assert third == again and all(line.endswith("from before") for line in lines)


def row(choice, trials=()):
    return json.dumps({"choice": choice, "trials": trials, "gain": 1, "note": ""}).encode()


NO_CHOICE = [b"", b"no JSON", b"[]", b"{}", b"\xff\xfe", row([]), row({"rows": "8"}), row({"height": 8}),
             row({"rows": -8}), row({"rows": 8.5}), row({"rows": True}), row({}, [3]),
             row({}, [[{}, "x", ""]])]


@pytest.mark.parametrize("payload", NO_CHOICE)
def test_whole_files_that_hold_no_choice_are_absent(payload):
    from lazygrad.runtime import cache

    cache.write("tuned", "ab" * 32, payload)
    assert tune._read("ab" * 32) is None


def test_what_is_written_is_read():
    trials = (tune.Trial(UNTUNED, 0.25), tune.Trial(Choice(share=0.25, rows=8), 0.125),
              tune.Trial(Choice(axis=0), float("inf"), "no"))
    written = tune.Tuning(trials[1].choice, trials, 2.0)
    tune._write("cd" * 32, written)
    assert tune._read("cd" * 32) == replace(written, known=True)
    assert read_choice(json.loads(json.dumps(trials[1].choice.settled()))) == trials[1].choice


def test_without_a_folder_winners_live_in_memory(monkeypatch):
    x = lg.tensor(X)
    with config.override(CACHE_DIR="off"):
        (x * 3 + 1).realize()
        backend._kernels.clear()
        engine._plans.clear()
        monkeypatch.setattr(tune, "_measured", None)
        (x * 3 + 1).realize()
    assert [tuning.known for tuning in tunings()] == [True]


# Beside untuned kernels


def test_without_the_setting_nothing_is_tuned_or_looked_up(monkeypatch, tmp_path, any_wins):
    x = lg.tensor(X)
    with config.override(TUNE=False):
        before = (x @ x.t()).numpy()
        assert tunings() == [None] and not (tmp_path / "tuned").exists()
    (x @ x.t()).realize()
    assert [t.choice != UNTUNED for t in tunings() if t] == [True]
    monkeypatch.setattr(tune, "tune", None)
    with config.override(TUNE=False):
        np.testing.assert_array_equal((x @ x.t()).numpy(), before)
    sources = {step.kernel.program.source for plan in engine._plans.values() for step in plan.steps}
    assert len(sources) == 2, "a tuned plan and an untuned one"
    with config.override(NOOPT=True):
        (x @ x.t()).realize()


def test_plans_on_disk_keep_what_was_chosen(any_wins, monkeypatch):
    monkeypatch.setattr(engine, "read_plan", plan_store.read_plan)
    monkeypatch.setattr(engine, "write_plan", plan_store.write_plan)
    x = lg.tensor(X)
    (x * 2 - 1).exp().realize()
    (made,) = tunings()
    engine._plans.clear()
    (x * 2 - 1).exp().realize()
    ((step,),) = [plan.steps for plan in engine._plans.values() if plan.from_disk]
    assert step.kernel.tuning == made


def test_a_tape_is_left_as_it_is():
    numbers = [lg.tensor(float(n)) for n in range(300)]
    total = numbers[0]
    for n in numbers[1:]:
        total = total * 0.5 + n
    assert total.item() == pytest.approx(597.0, abs=1)


def test_several_threads(any_wins):
    inputs = [array(50, 60, seed=s) for s in range(4)]
    found = {}

    def work(number):
        x = lg.tensor(inputs[number])
        found[number] = ((x @ x.t()).sum(1).numpy(), x.sort(1).values.numpy())

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, x in enumerate(inputs):
        np.testing.assert_allclose(found[number][0], (x @ x.T).sum(1), rtol=1e-4, atol=1e-3)
        np.testing.assert_array_equal(found[number][1], np.sort(x, 1))


# What is told


def test_debug_and_explain_tell_the_choices(capfd, compiling_device, any_wins):
    x = lg.tensor(X, device=compiling_device)
    capfd.readouterr()
    with config.override(DEBUG=2):
        (x @ x.t()).realize()
    lines = capfd.readouterr().err.splitlines()
    (tuning,) = tunings()
    (line,) = [line for line in lines if line.endswith("tried")]
    assert f"matmul_70x70x65: {tuning.choice}, " in line and "times as fast" in line
    assert any("100%  tuned  " in line for line in lines)
    text = lg.explain(x @ x.t())
    told = [line.split() for line in text.splitlines() if line.startswith("  tuned ")]
    assert len(told) == len(tuning.trials) > 2
    assert told[0][1] == "untuned" and sum("chosen" in words for words in told) == 1
    with config.override(TUNE=False):
        assert "  tuned " not in lg.explain(x @ x.t())


def test_a_choice_in_words():
    assert str(UNTUNED) == "untuned"
    assert str(Choice(rows=8, share=0.25)) == "share=0.25 rows=8"
    assert Choice(rows=8).joined(Choice(depth=4)) == Choice(rows=8, depth=4)
    assert Choice(rows=8).joined(Choice(rows=4, depth=4)) is None
