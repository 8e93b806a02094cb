"""Drawings of what the user wrote: `draw_dot`, `dot_source`, `describe`, and labels."""

from __future__ import annotations

import gc
import importlib
import pickle
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lazygrad
import lazygrad.nn.functional as F
from lazygrad.errors import ArgumentError, ArgumentTypeError, CaptureError, MissingPackageError
from lazygrad.viz import describe, dot_source, draw_dot, values_of


def single(value: float, label: str = "", gradient: bool = True) -> Any:
    made = lazygrad.tensor(value, dtype=lazygrad.float64, requires_grad=gradient)
    if label:
        made.label = label
    return made


def neuron() -> tuple[Any, list[Any]]:
    """The labelled neuron of the micrograd lecture, whose values in the middle live on in the graph alone."""
    leaves = [single(v, n) for v, n in ((2, "x1"), (0, "x2"), (-3, "w1"), (1, "w2"))]
    leaves.append(single(6.8813735870195432, "b"))
    x1, x2, w1, w2, b = leaves
    x1w1, x2w2 = x1 * w1, x2 * w2
    x1w1.label, x2w2.label = "x1*w1", "x2*w2"
    total = x1w1 + x2w2
    total.label = "x1*w1 + x2*w2"
    n = total + b
    n.label = "n"
    o = n.tanh()
    o.label = "o"
    return o, leaves


NEURON = """
v0 [label="{ x1 | data 2.0000 | grad -1.5000 }" shape="record"]
v1 [label="{ w1 | data -3.0000 | grad 1.0000 }" shape="record"]
v2 [label="{ x1*w1 | data -6.0000 | grad 0.5000 }" shape="record"]
v2op [label="*"]
v3 [label="{ x2 | data 0.0000 | grad 0.5000 }" shape="record"]
v4 [label="{ w2 | data 1.0000 | grad 0.0000 }" shape="record"]
v5 [label="{ x2*w2 | data 0.0000 | grad 0.5000 }" shape="record"]
v5op [label="*"]
v6 [label="{ x1*w1 + x2*w2 | data -6.0000 | grad 0.5000 }" shape="record"]
v6op [label="+"]
v7 [label="{ b | data 6.8814 | grad 0.5000 }" shape="record"]
v8 [label="{ n | data 0.8814 | grad 0.5000 }" shape="record"]
v8op [label="+"]
v9 [label="{ o | data 0.7071 | grad 1.0000 }" shape="record"]
v9op [label="tanh"]
v2op -> v2; v0 -> v2op; v1 -> v2op; v5op -> v5; v3 -> v5op; v4 -> v5op; v6op -> v6; v2 -> v6op; v5 -> v6op
v8op -> v8; v6 -> v8op; v7 -> v8op; v9op -> v9; v8 -> v9op
"""


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.replace(";", "\n").strip().splitlines()]


def test_the_neuron_is_drawn_as_micrograd_draws_it() -> None:
    o, leaves = neuron()
    o.backward()
    for _ in range(2):  # the second drawing of what has been realized and freed
        assert lines(dot_source(o)) == ["digraph {", "graph [rankdir=LR]", *lines(NEURON), "}"]
        assert [x.grad.item() for x in leaves][:1] == pytest.approx([-1.5]) and o.item()
    with lazygrad.no_grad():
        for x in leaves:
            x -= 0.1 * x.grad
    lazygrad.realize(*leaves)
    assert "w1 | data -3.1000 | grad 1.0000" in dot_source(o)  # leaves as they are, the rest as it was
    assert lines(NEURON)[2] in lines(dot_source(o)) and "x2*w2 | data 0.0000 | grad 0.5000" in dot_source(o)


def test_leaves_that_are_gone_are_drawn() -> None:
    o, _ = neuron()
    o.backward()
    del _
    gc.collect()
    assert [line for line in lines(dot_source(o)) if "->" not in line][2:-1] == lines(NEURON)[:15]


def test_the_package_draws_the_same() -> None:
    pytest.importorskip("graphviz")
    o, _ = neuron()
    o.backward()
    drawing = draw_dot(o, format="png", rankdir="TB")
    assert drawing.format == "png" and "rankdir=TB" in drawing.source
    plain = [line.replace('"', "") for line in lines(dot_source(o, rankdir="TB"))]
    assert [line.replace('"', "") for line in lines(drawing.source)] == plain


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "graphviz", None)
    o, _ = neuron()
    with pytest.raises(MissingPackageError, match="dot_source"):
        draw_dot(o)
    assert isinstance(MissingPackageError(), ImportError) and "tanh" in dot_source(o)


def test_operations_are_drawn_as_written() -> None:
    a, b = single(-4, "a"), single(2, "b")

    def made(x: Any) -> str:
        return describe(x).splitlines()[0].split(" gradient=- ")[1][:-1]

    cases = {
        a - b: "-(a=-4.000, b=2.000)", a / b: "/(a=-4.000, b=2.000)", -a: "neg(a=-4.000)",
        a - 1: "-(a=-4.000, 1.000)", 1 - a: "-(1.000, a=-4.000)", 2 * a: "*(2.000, a=-4.000)",
        a / 5: "/(a=-4.000, 5.000)", 10.0 / a: "/(10.000, a=-4.000)", a**3: "**3(a=-4.000)",
        b**0.5: "**0.5(b=2.000)", b**-1: "**-1(b=2.000)", b**2.5: "**2.5(b=2.000)",
        3.0**b: "**(3.000, b=2.000)",
        a**b: "**(a=-4.000, b=2.000)", a.relu(): "relu(a=-4.000)", F.relu(a): "relu(a=-4.000)",
        a.tanh(): "tanh(a=-4.000)", a.sigmoid(): "sigmoid(a=-4.000)", a.exp(): "exp(a=-4.000)",
        b.log(): "log(b=2.000)", a * a: "*(a=-4.000, a=-4.000)",
        lazygrad.stack([a, b]).sum(): "sum([-4.000, 2.000])",
        F.gelu(b): "gelu(b=2.000)", a + b.detach(): "+(a=-4.000, 2.000)", sum([a, b]): "+(-4.000, b=2.000)",
    }
    for x, want in cases.items():
        assert made(x) == want
    m = lazygrad.ones(2, 3, requires_grad=True) @ lazygrad.ones(3, 2)
    assert " @(" in describe(m) and describe(m.mean()).startswith("(3.000 gradient=- mean([[3.000,")


def test_gradients_of_equal_values_are_kept_apart() -> None:
    y = single(3, "y")
    p, q = y * 2, y * 2  # one node
    p.label, q.label = "p", "q"
    loss = p * 5 + q * 3
    loss.backward()
    grads = {v.label: float(v.grad) for v in values_of(loss) if v.label}
    assert grads == {"p": 5, "q": 3, "y": 16}
    square = p * q
    square.backward()
    assert {v.label: float(v.grad) for v in values_of(square) if v.label} == {"p": 5 + 6, "q": 3 + 6, "y": 40}


def test_gradients_as_retain_grad_keeps_them() -> None:
    x, w = lazygrad.randn(4, 5), lazygrad.randn(5, 3, requires_grad=True)
    w.label = "w"
    h = x @ w
    h.retain_grad()
    s = (h.softmax(-1) * 2).sigmoid()
    s.retain_grad()
    loss = (s**2).mean() + h.T[1:].exp().sum()
    turned = x.flip(0).flip(0)  # so that the nodes are others
    turned.label = "x"
    again = turned @ w
    again.label = "h"
    t = (again.softmax(-1) * 2).sigmoid()
    t.label = "s"
    other = (t**2).mean() + again.T[1:].exp().sum()
    loss.backward()
    other.backward(lazygrad.tensor(1.0))
    found = {v.label: v for v in values_of(other)}
    for name, kept in (("h", h), ("s", s)):
        np.testing.assert_allclose(found[name].data, kept.detach().numpy(), rtol=1e-5)
    np.testing.assert_allclose(found["h"].grad, h.grad.numpy(), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(found["s"].grad, s.grad.numpy(), rtol=1e-4, atol=1e-7)
    assert found["x"].grad is None and not found["x"].requires_grad
    np.testing.assert_array_equal(found["w"].grad, w.grad.numpy())  # of both losses


def test_a_value_below_the_loss_shows_what_came_from_above() -> None:
    a = single(3, "a")
    b = a * a
    c = b * 10
    c.backward(lazygrad.tensor(2.0, dtype=lazygrad.float64), retain_graph=True)
    assert describe(b).startswith("(9.000 gradient=20.000 *(a=3.000, a=3.000))")
    c.backward()
    assert describe(b).startswith("(9.000 gradient=30.000 *(")  # both passes
    del c
    assert describe(b).startswith("(9.000 gradient=- *(")  # nobody can ask them any more


def test_labels() -> None:
    x = single(1)
    assert x.label == ""
    y = x * 2
    x.label, y.label = "late", "too"  # after the graph was built
    assert describe(y) == "too(2.000 gradient=- *(late=1.000, 2.000))\n  late(1.000 gradient=-)"
    y += 1
    assert y.label == "too" and describe(y).splitlines()[0] == "too(3.000 gradient=- +(too=2.000, 1.000))"
    z = single(5, gradient=False)
    z.label = "z"
    z.requires_grad_()
    total = y * z
    del z
    assert "z=5.000" in describe(total)
    data = single(7, "data", gradient=False)
    product = single(1, "w") * data
    del data
    assert "data=" in describe(product)
    odd = single(1, 'a|b{c}<d>"e"\\')
    assert '{ a\\|b\\{c\\}\\<d\\>\\"e\\"\\\\ | data' in dot_source(odd)
    assert pickle.loads(pickle.dumps(single(1, "kept"))).label == "kept"


def test_graphs_without_gradients_are_drawn_while_they_are_lazy() -> None:
    x = lazygrad.tensor([1.0, 2.0])
    x.label = "x"
    y = (x - 3) * x
    assert describe(y).splitlines()[0] == "([-2.000, -2.000] float32 2 *([-2.000, -1.000], x=[1.000, 2.000]))"
    y.realize()
    assert describe(y) == "([-2.000, -2.000] float32 2)"


def test_large_tensors_are_summarized() -> None:
    x = lazygrad.arange(12.0).reshape(3, 4).requires_grad_()
    x.label = "x"
    assert "{ x | float32 3x4 | data 0.0000 .. 5.5000 .. 11.0000 | grad - }" in dot_source(x)
    assert "data 5 of 12 true" in dot_source(x.detach() > 6)
    empty = lazygrad.zeros(0, 2, requires_grad=True)
    assert "float32 0x2 | data []" in dot_source(empty * 2)


def test_colours() -> None:
    o, _ = neuron()
    text = dot_source(o, color=lambda v: "#ffcccc" if v.operation == "tanh" else None)
    assert text.count("fillcolor") == 1 and 'style="filled" fillcolor="#ffcccc"' in text
    with pytest.raises(ArgumentTypeError, match="color"):
        dot_source(o, color=lambda v: 3)  # type: ignore[arg-type,return-value]


def test_what_is_freed_is_said() -> None:
    x = lazygrad.ones(200, 100, requires_grad=True)
    loss = (x * 2).exp().sum()
    node = weakref.ref(loss.grad_fn._sources[0]._node())
    loss.backward()
    loss.item()
    gc.collect()
    assert node() is None  # a large graph is not kept
    assert "exp(freed)" in describe(loss) and "data freed" in dot_source(loss)


def test_few_small_graphs_are_kept() -> None:
    losses, nodes = [], []
    for _ in range(20):
        x = single(2.0)
        y = (x * 3).exp()
        loss = y * y
        nodes.append(weakref.ref(y.graph_node()))
        loss.backward()
        loss.item()
        losses.append(loss)
        del x, y, loss
    gc.collect()
    assert [n() is not None for n in nodes] == [False] * 4 + [True] * 16
    losses.clear()
    gc.collect()
    assert not any(n() is not None for n in nodes)


def test_functions_of_the_users() -> None:
    class Double(lazygrad.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * 2

    x = single(3, "x")
    y = Double.apply(x) + 1
    y.backward()
    assert "(6.000 gradient=- double(x=3.000))" in describe(y)  # what the user computes is not run again


def test_long_chains() -> None:
    x = single(1.0)
    y = x
    for _ in range(3000):
        y = y + 1
    values = values_of(y)
    assert len(values) == 6001 and float(values[-1].data) == 3001


def test_mistakes() -> None:
    with pytest.raises(ArgumentTypeError, match="expected a Tensor"):
        describe(3)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="rankdir"):
        dot_source(single(1), rankdir="up")

    @lazygrad.jit
    def step(x: Any) -> Any:
        describe(x * 2)
        return x

    with pytest.raises(CaptureError, match="drawing"):
        for _ in range(2):
            step(lazygrad.ones(2))


def test_plots_of_the_family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(Path(__file__).parent.parent)
    plots = importlib.import_module("examples.family.plots")
    assert plots.file_asked_for("a.png", ["--plot"]) == plots.file_asked_for("b.png", ["--plot", "a.png"])
    assert plots.file_asked_for("a.png", ["--short"]) is None
    points, labels = [[0.0, 0.0], [1.0, 1.0], [0.0, 1.0]], [-1, 1, 1]
    w = lazygrad.tensor([[1.0, 0.0, 2.0], [0.5, 1.0, 0.0]], requires_grad=True)
    line = plots.boundary(lambda p: lazygrad.tensor(p, dtype=lazygrad.float32) @ w[:, 0], points, labels)
    classes = plots.boundary(lambda p: lazygrad.tensor(p, dtype=lazygrad.float32) @ w, points, [0, 1, 2])
    file = tmp_path / "moons.png"
    plots.save(str(file), line, classes, plots.curves(loss=[3.0, 2.0], validation=[3.0, 2.5]))
    assert file.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
