"""`utils.checkpoint` against PyTorch: values, gradients, runs of the function, random numbers, memory."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from torch_support import check, outcome, pytorch

import lazygrad
from lazygrad.utils.checkpoint import checkpoint, checkpoint_sequential

WAYS = [True, False]


def layers(m: Any) -> tuple[Any, Any, Any]:
    w = m.arange(12.0).reshape(4, 3).div(10).requires_grad_()
    b = m.tensor([0.1, -0.2, 0.3], requires_grad=True)
    x = m.arange(8.0).reshape(2, 4).sub(3).requires_grad_()
    return w, b, x


def checkpointed(m: Any, *args: Any, **options: Any) -> Any:
    if m is lazygrad:
        return checkpoint(*args, **options)
    from torch.utils import checkpoint as theirs

    return theirs.checkpoint(*args, **options)


@pytest.mark.parametrize("reentrant", WAYS)
def test_gradients_and_runs(reentrant: bool) -> None:
    def run(m: Any) -> list[Any]:
        w, b, x = layers(m)
        calls: list[int] = []
        stats = m.zeros(3)

        def block(x: Any, k: float) -> Any:
            calls.append(1)
            y = (x @ w + b * k).tanh()
            with m.no_grad():
                stats.add_(y.sum(0))
            return y, y.exp() * k

        y, z = checkpointed(m, block, x * 1, 2.0, use_reentrant=reentrant)
        before = len(calls)
        ((y * z).sum() + y.sin().sum()).backward()
        return [y, z, w.grad, b.grad, x.grad, before, len(calls), stats]

    check(run(lazygrad), run(pytorch()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("reentrant", WAYS)
def test_random_numbers_are_drawn_again_the_same(reentrant: bool) -> None:
    def losses(use: bool) -> Any:
        lazygrad.manual_seed(3)
        x = lazygrad.ones(50, requires_grad=True)

        def block(x: Any) -> Any:
            return lazygrad.nn.functional.dropout(x, 0.5) * 2 + lazygrad.rand(50) * x

        y = checkpoint(block, x, use_reentrant=reentrant) if use else block(x)
        y.sum().backward()
        return y.tolist(), x.grad.tolist(), lazygrad.rand(3).tolist()

    assert losses(True) == losses(False)


def test_without_reentrance_grad_orders_nesting_and_keywords() -> None:
    def run(m: Any) -> list[Any]:
        w, b, x = layers(m)
        h = w * 2  # in the closure, and no leaf

        def inner(y: Any) -> Any:
            return (y * b).sin()

        def block(x: Any, *, scale: Any) -> Any:
            return {"y": checkpointed(m, inner, x @ h, use_reentrant=False) * scale, "n": 3}

        out = checkpointed(m, block, x, scale=b.sum(), use_reentrant=False)
        loss = (out["y"] ** 2).sum()
        (g,) = m.autograd.grad(loss, x, create_graph=True)
        g.square().sum().backward()
        return [out["y"], out["n"], g, w.grad, b.grad, x.grad]

    check(run(lazygrad), run(pytorch()), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("reentrant", WAYS)
def test_sequential(reentrant: bool) -> None:
    model = lazygrad.nn.Sequential(*(lazygrad.nn.Linear(4, 4) for _ in range(5)))
    x = lazygrad.randn(2, 4, requires_grad=True)
    model(x).square().sum().backward()
    plain = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    checkpoint_sequential(model, 2, x, use_reentrant=reentrant).square().sum().backward()
    for p, g in zip(model.parameters(), plain, strict=True):
        assert lazygrad.allclose(p.grad, g)


def test_the_inside_is_not_kept() -> None:
    w = lazygrad.randn(200, 200, requires_grad=True)
    x = lazygrad.randn(3, 200)
    from lazygrad.tensors import realization

    def block(x: Any) -> Any:
        for _ in range(4):
            x = (x @ w).tanh()
        return x.sum()

    def kept(run: Any) -> int:
        before = len(realization._values)
        y = run()
        y.item()
        count = len(realization._values) - before
        del y
        return count

    lazygrad.realize(w, x)
    assert kept(lambda: checkpoint(block, x, use_reentrant=False)) < kept(lambda: block(x)) - 2


def test_under_no_grad_and_jit() -> None:
    w, b, x = layers(lazygrad)

    def block(x: Any) -> Any:
        return lazygrad.nn.functional.dropout((x @ w + b).tanh(), 0.5)

    with lazygrad.no_grad():
        assert not checkpoint(block, x, use_reentrant=False).requires_grad

    def step(x: Any) -> Any:
        for p in (w, b):
            p.grad = None
        y = checkpoint(block, x, use_reentrant=False)
        y.sum().backward()
        return y, w.grad.clone(), b.grad.clone()

    def steps(run: Any) -> list[Any]:
        lazygrad.manual_seed(0)
        return [[t.tolist() for t in run(x.detach())] for _ in range(4)]

    assert steps(lazygrad.jit(step)) == steps(step)


ERRORS = {
    "freed": lambda m, x: checkpointed(m, m.exp, x, use_reentrant=False).sum().backward,
    "options": lambda m, x: lambda: checkpointed(m, m.exp, x, use_reentrant=True, scale=3),
    "grad": lambda m, x: lambda: m.autograd.grad(checkpointed(m, m.exp, x, use_reentrant=True).sum(), x),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name: str) -> None:
    def run(m: Any) -> Any:
        call = ERRORS[name](m, m.ones(2, requires_grad=True))
        call()
        return call()

    ours, theirs = outcome(lambda: run(lazygrad)), outcome(lambda: run(pytorch()))
    assert isinstance(theirs, RuntimeError | ValueError), theirs
    assert isinstance(ours, RuntimeError | ValueError), ours
    assert str(theirs)[:60] in str(ours)


def test_the_old_default_warns() -> None:
    x = lazygrad.ones(2, requires_grad=True)
    with pytest.warns(UserWarning, match="the use_reentrant parameter should be passed explicitly"):
        checkpoint(lazygrad.exp, x)
    with (
        warnings.catch_warnings(),
        pytest.warns(UserWarning, match="None of the inputs have requires_grad=True"),
    ):
        checkpoint(lazygrad.exp, x.detach(), use_reentrant=True)


@pytest.mark.parametrize("reentrant", WAYS)
def test_autocast_is_as_it_was(reentrant: bool) -> None:
    layer = lazygrad.nn.Linear(4, 4)
    x = lazygrad.randn(2, 4, requires_grad=True)

    def run(use: bool) -> Any:
        layer.zero_grad()
        with lazygrad.autocast("cpu"):
            h = layer(x)
            y = checkpoint(layer, h, use_reentrant=reentrant) if use else layer(h)
        assert y.dtype is lazygrad.bfloat16
        y.sum().backward()
        return layer.weight.grad.clone()

    assert lazygrad.allclose(run(True), run(False), rtol=0.02, atol=0.02)
