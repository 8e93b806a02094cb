"""Gradients of tensors against PyTorch: leaves, accumulation, hooks, in-place writes, orders, errors,
lifetimes."""

from __future__ import annotations

import gc
import warnings
from typing import Any

import numpy as np
import pytest
from torch_support import both, check, outcome, pytorch

import lazygrad
from lazygrad.errors import GradientError
from lazygrad.tensors import realization

RNG = np.random.default_rng(0)
FUNCTIONS = {
    "products": lambda m, x: (x * x.exp()).sum(),
    "division": lambda m, x: (1 / (x * x + 1)).mean(),
    "powers": lambda m, x: ((x.abs() + 1) ** 1.5 + 2.0**x + x**3).sum(),
    "max": lambda m, x: x.max(1).values.sum() + x.max() + x.amax(0).sum() + x.min(0)[0].sum(),
    "softmax": lambda m, x: (x.softmax(1) * x.log_softmax(0)).sum(),
    "moments": lambda m, x: x.var(0).sum() + x.std() + x.mean(1).square().sum(),
    "norms": lambda m, x: x.norm() + x.norm(p=1, dim=0).sum() + x.norm(p=3, dim=1).sum(),
    "logsumexp": lambda m, x: x.logsumexp((0, 1)) + x.logsumexp(1).sum(),
    "views": lambda m, x: (
        (x.t().reshape(-1)[1::2] * 2).sum() + x[0].expand(4, x.shape[1]).sum() + x.diagonal().sum()
    ),
    "where": lambda m, x: (
        m.where(x > 0, x * 2, x.exp()).sum() + x.clamp(-0.5, 0.5).sum() + x.masked_fill(x < 0, 1).sum()
    ),
    "scans": lambda m, x: (
        (x.cumsum(0) * x.cumprod(1)).sum() + x.cummax(0).values.sum() + x.logcumsumexp(1).sum()
    ),
    "prod": lambda m, x: x.prod(1).sum() + x.prod(),
    "activations": lambda m, x: (x.relu() + x.sigmoid() + x.tanh() + m.lerp(x, x * 2, 0.3)).sum(),
    "maximum": lambda m, x: m.maximum(x, x.flip(0)).sum() + m.minimum(x, m.zeros_like(x)).sum(),
    "round": lambda m, x: (x.round() + x.floor() + x.sign() + x.frac() + x % 0.7).sum(),
    "distances": lambda m, x: (
        m.hypot(x, x + 1).sum() + m.atan2(x, x * x + 1).sum() + m.logaddexp(x, -x).sum()
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", ("float32", "float64"))
def test_first_and_second_order(name, dtype):
    torch, f = pytorch(), FUNCTIONS[name]
    x, y = both(RNG.standard_normal((3, 4)).tolist(), dtype=dtype, requires_grad=True)
    tolerance = 1e-4 if dtype == "float32" else 1e-9
    a, b = f(lazygrad, x), f(torch, y)
    check(a, b, tolerance, tolerance)
    (ga,) = lazygrad.autograd.grad(a, x, create_graph=True)
    (gb,) = torch.autograd.grad(b, y, create_graph=True)
    check(ga, gb, tolerance, tolerance)
    if gb.requires_grad:
        (ga * ga.detach().cos()).sum().backward()
        (gb * gb.detach().cos()).sum().backward()
        if y.grad is not None:
            check(
                lazygrad.zeros_like(x) if x.grad is None else x.grad, y.grad, 10 * tolerance, 10 * tolerance
            )


def test_zero_dimensional_leaf_is_a_leaf_like_any_other():
    x = lazygrad.tensor(2.0, requires_grad=True)
    y = x * x * x
    (g,) = lazygrad.autograd.grad(y, x, create_graph=True)
    (h,) = lazygrad.autograd.grad(g, x, create_graph=True)
    (k,) = lazygrad.autograd.grad(h, x)
    assert [v.item() for v in (y, g, h, k)] == [8, 12, 12, 6]
    other = lazygrad.tensor(2.0, requires_grad=True)
    (x * other).backward()
    assert x.grad.item() == 2
    assert other.grad.item() == 2


def test_accumulation_writes_into_the_same_gradient():
    x = lazygrad.ones(2, requires_grad=True)
    (x * 2).sum().backward()
    alias = x.grad
    (x * 3).sum().backward()
    assert x.grad is alias
    assert alias.tolist() == [5, 5]
    x.grad = None
    x.sum().backward(retain_graph=True)
    assert x.grad.tolist() == [1, 1]
    assert alias.tolist() == [5, 5]


def test_backward_with_gradient_and_inputs():
    x, y = lazygrad.ones(2, requires_grad=True), lazygrad.ones(2, requires_grad=True)
    z = x * y * 3
    z.backward(lazygrad.tensor([1.0, 2.0]), retain_graph=True, inputs=[x])
    assert x.grad.tolist() == [3, 6]
    assert y.grad is None
    z.backward(lazygrad.tensor([1.0, 2.0]), inputs=y)
    assert y.grad.tolist() == [3, 6]


PROGRAMS = {}


def _program(f):
    PROGRAMS[f.__name__] = f
    return f


@_program
def in_place_on_a_result(m):
    x = m.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x * 2
    y += x
    y[0] = 5.0
    y[1:].mul_(x[1:])
    y.exp().sum().backward()
    return [y, x.grad]


@_program
def in_place_through_views(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    b = m.zeros(2, 2)
    row = b[1]
    row.add_(x)
    b[0].copy_(x * 3)
    (b * b).sum().backward()
    return [b, row, m.tensor(row.requires_grad), x.grad]


@_program
def unrecorded_write_keeps_the_derivative(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    with m.no_grad():
        y.add_(1)
    y.detach().mul_(2)
    (y * y).sum().backward()
    return [y, x.grad]


@_program
def detached_values_get_no_gradient(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    with m.no_grad():
        c = x * 2
    d = (x * 3).detach()
    e = (x.argmax() * 1.0) + (x > 1)
    (x * c * d * e).sum().backward()
    return [c, d, e, x.grad]


@_program
def writes_between_uses(m):
    w = m.tensor([1.0, 2.0], requires_grad=True)
    first = (w * 3).sum()
    with m.no_grad():
        w += 1
    second = (w + 1).sum()
    (first + second).backward()
    return [first, second, w, w.grad]


@_program
def hooks(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    seen = []
    y = x * 3
    y.retain_grad()
    handle = y.register_hook(lambda g: g * 2)
    y.register_hook(lambda g: seen.append(g.sum().item()))
    z = (y * y).sum() + x.sum()
    z.backward(retain_graph=True)
    first = x.grad.clone()
    handle.remove()
    x.register_hook(lambda g: g + 10)
    z.backward()
    return [first, x.grad, y.grad, m.tensor(seen)]


@_program
def gradient_of_a_result(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    y = x.exp()
    z = (y * y * x).sum()
    return list(m.autograd.grad(z, [y, x]))


@_program
def several_outputs(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    a, b = x.sum(), x * 2
    m.autograd.backward([a, b], [None, m.tensor([1.0, 3.0])])
    return [x.grad]


@_program
def view_of_a_leaf(m):
    x = m.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    v = x[0]
    with m.no_grad():
        x.mul_(2)
    (v * v).sum().backward()
    return [v, x.grad]


@_program
def leaf_over_a_part_of_a_storage(m):
    base = m.tensor([1.0, 2.0, 3.0])
    part = base[1:].requires_grad_()
    (part * part).sum().backward()
    base.mul_(2)
    return [part.grad, part, base]


@_program
def meta_step(m):
    w = m.tensor([1.0, 2.0], requires_grad=True)
    loss = (w**3).sum()
    (g,) = m.autograd.grad(loss, w, create_graph=True)
    fast = w - 0.1 * g
    (fast**2).sum().backward()
    return [fast, w.grad]


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name):
    check(PROGRAMS[name](lazygrad), PROGRAMS[name](pytorch()))


ERRORS = {
    "leaf in place": lambda m: m.ones(2, requires_grad=True).add_(1),
    "view of a leaf in place": lambda m: m.ones(2, requires_grad=True)[0].add_(1),
    "setitem on a leaf": lambda m: m.ones(2, requires_grad=True).__setitem__(0, 1),
    "no scalar": lambda m: m.ones(2, requires_grad=True).exp().backward(),
    "no gradient": lambda m: m.ones(2).sum().backward(),
    "integer leaf": lambda m: m.ones(2, dtype=m.int64).requires_grad_(),
    "wrong shape": lambda m: (m.ones(2, requires_grad=True) * 2).backward(m.ones(3)),
    "unused input": lambda m: m.autograd.grad(
        m.ones(2, requires_grad=True).sum(), m.ones(2, requires_grad=True)
    ),
    "input without gradient": lambda m: m.autograd.grad(m.ones(2, requires_grad=True).sum(), m.ones(2)),
    "numpy of a tensor with gradient": lambda m: m.ones(2, requires_grad=True).numpy(),
    "requires_grad off on a result": lambda m: (m.ones(2, requires_grad=True) * 2).requires_grad_(False),
    "deepcopy of a result": lambda m: __import__("copy").deepcopy(m.ones(2, requires_grad=True) * 2),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    theirs, ours = outcome(lambda: ERRORS[name](pytorch())), outcome(lambda: ERRORS[name](lazygrad))
    assert isinstance(theirs, RuntimeError)
    assert isinstance(ours, GradientError | RuntimeError)
    assert str(ours).startswith("[")


def test_second_backward_over_a_realized_graph():
    x = lazygrad.ones(2, requires_grad=True)
    y = x.exp().sum()
    y.item()
    y.backward()
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
        y.backward()
    z = (x + 1).sum()  # keeps no values, so PyTorch allows it
    z.item()
    z.backward()
    z.backward()
    assert x.grad.tolist() == pytest.approx([np.e + 2, np.e + 2])


ONCE = """
x * x; x * y; x * c; x / y; 2 / x; x.exp(); x.relu(); x.clamp(0, 1); L.where(x > 0, x, y)
x.masked_fill(c > 1, 0.0); x.prod(); x.amax(0); x.var(); x.softmax(0); x @ c; x ** 2; x.sort()[0]
x.cumprod(0); (x + y).tanh() + 1
"""
AGAIN = """
x + y; x - c; x + c.exp() * c; -x; x.sum(); x.mean(0); x.cumsum(0); x.t(); x[0]; x[:, 1:]; L.cat([x, y])
x.flip(0); x.repeat(2, 1); x.clone(); x.double(); x.diagonal(); x.tril(); x.triu(1); x.floor() + x
x.round(); x.sign(); x % 2; x.expand(2, 3, 3).permute(2, 1, 0).reshape(-1); x + c * c
"""


@pytest.mark.parametrize("cases", [ONCE, AGAIN], ids=["once", "again"])
def test_what_keeps_values_can_be_differentiated_once(cases):
    for case in (c.strip() for line in cases.strip().splitlines() for c in line.split(";")):
        for library in (pytorch(), lazygrad):
            x, y = (library.tensor([[0.1, 0.2, 0.3], [1.1, 0.4, 2.5], [3.1, 0.7, 0.6]]) for _ in range(2))
            x, y, c = x.requires_grad_(), y.requires_grad_(), library.tensor([[1.0, 2.0, 0.5]] * 3)
            result = eval(case, {"L": library, "x": x, "y": y, "c": c})
            result.backward(library.ones_like(result))
            again = outcome(lambda result=result, m=library: result.backward(m.ones_like(result)))
            assert (again is None) == (cases is AGAIN), (case, library.__name__, again)


def test_modes():
    x = lazygrad.ones(2, requires_grad=True)
    with lazygrad.no_grad():
        assert not (x * 2).requires_grad
        with lazygrad.enable_grad():
            assert (x * 2).requires_grad

    @lazygrad.no_grad()
    def frozen():
        return x * 2

    @lazygrad.inference_mode
    def inferred():
        return x * 2

    assert not frozen().requires_grad
    assert not inferred().requires_grad
    assert lazygrad.is_grad_enabled()
    with lazygrad.set_grad_enabled(False):
        assert not lazygrad.is_grad_enabled()
    lazygrad.set_grad_enabled(False)
    assert not lazygrad.is_grad_enabled()
    lazygrad.set_grad_enabled(True)


def _launches(monkeypatch):
    """Counts of (targets, donated buffers) that the engine is asked for."""
    calls = []
    compute = realization.compute

    def counted(targets, device, donate=(), order=None, known=None):
        calls.append((len(targets), len(frozenset(donate))))
        return compute(targets, device, donate, order, known)

    monkeypatch.setattr(realization, "compute", counted)
    return calls


def _step(w, x, read):
    w.grad = None
    loss = ((x @ w).tanh() ** 2).mean()
    value = loss.item() if read == "before" else None
    loss.backward()
    with lazygrad.no_grad():
        w -= 0.5 * w.grad
    value = loss.item() if read == "after" else value
    lazygrad.realize(w)
    return value


def test_loss_read_before_after_and_without_the_step_is_the_same(monkeypatch):
    calls = _launches(monkeypatch)
    start = RNG.standard_normal((64, 48)).astype(np.float32) * np.float32(0.1)
    x = lazygrad.tensor(RNG.standard_normal((5, 64)).astype(np.float32))
    losses, weights = {}, {}
    for read in ("before", "after", "never"):
        w = lazygrad.tensor(start, requires_grad=True)
        calls.clear()
        losses[read] = [_step(w, x, read) for _ in range(3)]
        weights[read] = w.tolist()
        assert len(calls) == (6 if read == "before" else 3)
        assert [d for _, d in calls][-1] >= 1  # the memory of the old weights at least
    assert losses["before"] == pytest.approx(losses["after"])
    np.testing.assert_allclose(weights["before"], weights["after"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(weights["never"], weights["after"], rtol=1e-4, atol=1e-6)


def test_a_buffer_that_somebody_still_needs_is_not_donated(monkeypatch):
    calls = _launches(monkeypatch)
    w = lazygrad.tensor([1.0, 2.0], requires_grad=True)
    older, kept = (w * 10).sum(), w.exp().sum()
    with lazygrad.no_grad():
        w += 1
    w.tolist()
    assert sum(d for _, d in calls) == 0
    kept.backward()
    assert w.grad.tolist() == pytest.approx([np.exp(1), np.exp(2)])
    assert older.item() == 30
    copy = lazygrad.tensor([1.0, 2.0])
    twin = copy.clone()
    copy += 1
    copy.tolist()
    assert twin.tolist() == [1, 2]


def test_values_read_once_are_not_computed_again(monkeypatch):
    calls = _launches(monkeypatch)
    x = lazygrad.tensor(RNG.standard_normal((8, 8)).astype(np.float32), requires_grad=True)
    y = (x @ x).relu()
    y.tolist()
    z = (y @ y).sum()
    z.tolist()
    before = len(calls)
    z.item()
    y.tolist()
    assert len(calls) == before


def test_long_chain_builds_differentiates_and_frees():
    x = lazygrad.tensor(0.5, requires_grad=True)
    y = x
    for _ in range(3000):
        y = y * 0.999 + 0.001
    y.backward()
    assert x.grad.item() == pytest.approx(0.999**3000, rel=1e-3)
    del y
    gc.collect()


def test_gradient_of_views_of_nothing_and_of_integers():
    x = lazygrad.zeros(0, 3, requires_grad=True)
    x.sum().backward()
    assert x.grad.shape == (0, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not (x.detach() > 0).requires_grad


def test_sigmoid_has_finite_derivatives_everywhere(device: str) -> None:
    x = lazygrad.tensor([-1e4, -100.0, 0.0, 100.0], device=device, requires_grad=True)
    for function in (lazygrad.sigmoid, lazygrad.nn.functional.silu, lazygrad.nn.functional.logsigmoid):
        (first,) = lazygrad.autograd.grad(function(x).sum(), x, create_graph=True)
        (second,) = lazygrad.autograd.grad(first.sum(), x)
        assert first.isfinite().all() and second.isfinite().all()
        assert second[2].item() == {"sigmoid": 0.0, "silu": 0.5, "logsigmoid": -0.25}[function.__name__]


def test_a_hook_outlives_its_tensor(device: str) -> None:
    seen = []
    x = lazygrad.ones(2, device=device, requires_grad=True)

    def tripled(x: lazygrad.Tensor) -> lazygrad.Tensor:
        y = x * 2
        y.register_hook(lambda g: seen.append(g.tolist()) or g * 10)
        return y * 3

    tripled(x).sum().backward()
    assert seen == [[3.0, 3.0]]
    assert x.grad.tolist() == [60.0, 60.0]


@pytest.mark.parametrize("overwrite", [
    lambda y: y.zero_(), lambda y: y.fill_(2.0), lambda y: y.normal_(), lambda y: y.copy_(lazygrad.ones(2)),
    lambda y: y.__setitem__(slice(None), 3.0), lambda y: y.view(1, 2).zero_()])
def test_what_was_overwritten_gets_zeros(device: str, overwrite: Any) -> None:
    with lazygrad.config.override(DEVICE=device):
        x = lazygrad.ones(2, requires_grad=True)
        y = x * 2
        overwrite(y)
        y.sum().backward()
        assert x.grad.tolist() == [0.0, 0.0]


def test_what_is_computed_twice_is_differentiated_twice():
    w, x = lazygrad.ones(3, requires_grad=True), lazygrad.tensor([0.0, 1.0, 2.0])
    a, b = (w * x).exp().sum(), (w * x).exp().sum()
    a.backward()
    b.backward()
    np.testing.assert_allclose(w.grad.numpy(), 2 * x.numpy() * np.exp(x.numpy()), rtol=1e-6)
    for spent in (a, b):
        with pytest.raises(GradientError, match="second time"):
            spent.backward()


def test_gradients_for_many_cotangents_at_once():
    torch = pytest.importorskip("torch")

    def run(t):
        x = t.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
        w = t.tensor([0.5, -1.0], requires_grad=True)
        unused = t.tensor(1.0, requires_grad=True)
        y, z = (x * x) @ w, (x * w).sum()
        each = t.autograd.grad((y, z), (x, w, unused), (t.eye(2)[[0, 1, 0]], t.tensor([1.0, 0.0, 2.0])),
                               is_grads_batched=True, allow_unused=True, create_graph=True)
        assert each[2] is None
        second = t.autograd.grad(each[0].sum(), w)[0]
        return [each[0].tolist(), each[1].tolist(), second.tolist()]

    assert run(lazygrad) == run(torch)
    x = lazygrad.ones(2, requires_grad=True)
    with pytest.raises(GradientError):
        lazygrad.autograd.grad(x * 2, x, lazygrad.ones(0, 2), is_grads_batched=True)


def test_a_pass_spends_what_lies_above_its_inputs_alone():
    torch = pytest.importorskip("torch")

    def run(t):
        x = t.tensor([[0.5, -1.0]], requires_grad=True)
        w = t.tensor([[2.0, 0.25], [1.0, -1.0]], requires_grad=True)
        h = x @ w
        y, beside = h.tanh(), h[:, 1]
        total = y.sum()
        out = [t.autograd.grad(total, h)[0].tolist()]
        with pytest.raises(RuntimeError, match="second time"):
            t.autograd.grad(total, h)
        out.append(t.autograd.grad(beside.sum(), x, retain_graph=True)[0].tolist())
        out.append(t.autograd.grad(beside.sum(), [x, w])[0].tolist())
        return out

    for ours, theirs in zip(run(lazygrad), run(torch), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
