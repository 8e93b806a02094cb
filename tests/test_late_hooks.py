"""Hooks and kept gradients of tensors that were used before, and of tensors that are written afterwards."""

from typing import Any

import pytest
from torch_support import check, pytorch

import lazygrad


def kept_after_use(m: Any, x: Any) -> Any:
    y = x * 2
    z = (y * y).sum()
    y.retain_grad()
    z.backward()
    return y.grad, x.grad, y.retains_grad


def changed_after_use(m: Any, x: Any) -> Any:
    y = x * 2
    early = (y * y).sum()
    y.register_hook(lambda g: g * 10)
    (early + y.sum()).backward()
    return x.grad


def seen_once(m: Any, x: Any) -> Any:
    seen = []
    y = x * 2
    early = (y * y).sum()
    y.register_hook(lambda g: seen.append(g.clone()))
    grads = m.autograd.grad(early + (y * 3).sum(), [y, x])
    return seen, grads


def of_a_view(m: Any, x: Any) -> Any:
    y = x * 2
    v = y[:2]
    z = (v * v).sum() + y.sum()
    v.retain_grad()
    y.retain_grad()
    z.backward()
    return v.grad, y.grad, x.grad


def of_parts(m: Any, x: Any) -> Any:
    a, b = (x * 2).split([1, 2])
    z = (a * a).sum() + b.sum()
    a.register_hook(lambda g: g * 10)
    b.retain_grad()
    z.backward()
    return b.grad, x.grad


def of_features(m: Any, x: Any) -> Any:
    layers = m.nn.Sequential(m.nn.Linear(3, 4), m.nn.ReLU(), m.nn.Linear(4, 1))
    with m.no_grad():
        for p in layers.parameters():
            p.copy_(m.linspace(-1, 1.5, p.numel()).reshape(p.shape))
    features = layers[:2](x)
    score = layers[2](features).sum()
    got = []
    features.register_hook(got.append)
    features.retain_grad()
    score.backward()
    return got, features.grad


def not_of_its_twin(m: Any, x: Any) -> Any:
    seen = []
    for k in range(2):
        y = x * 2
        z = (y * y).sum()
        y.register_hook(lambda g, k=k: seen.append((k, g.clone())))
        z.backward()
    other = x * 2
    (other * other).sum().backward()
    return seen, x.grad


def several_at_once(m: Any, x: Any) -> Any:
    a, b = x * 2, x.exp()
    z = (a * b).sum()
    seen = []
    m.autograd.graph.register_multi_grad_hook([a, b], seen.extend)
    z.backward()
    return seen


def twice(m: Any, x: Any) -> Any:
    y = x * 2
    z = (y**3).sum()
    y.register_hook(lambda g: g * g)
    (g,) = m.autograd.grad(z, x, create_graph=True)
    return g, m.autograd.grad(g.sum(), x)


def written_after(m: Any, x: Any) -> Any:
    y = x * 1
    y.retain_grad()
    y.register_hook(lambda g: g * 10)
    y.mul_(2)
    y.sum().backward()
    return y.grad, x.grad, y.retains_grad


def written_through_the_base(m: Any, x: Any) -> Any:
    y = x * 1
    v = y[0:2]
    v.retain_grad()
    y.mul_(2)
    (v * v).sum().backward()
    return v.grad, x.grad


CASES = [kept_after_use, changed_after_use, seen_once, of_a_view, of_parts, of_features, not_of_its_twin,
         several_at_once, twice, written_after, written_through_the_base]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_as_in_pytorch(case: Any) -> None:
    results = []
    for m in (lazygrad, pytorch()):
        x = m.tensor([1.0, -2.0, 0.5], requires_grad=True)
        results.append(case(m, x))
    check(*results)


def test_what_was_marked_is_freed() -> None:
    from lazygrad.tensors import marks

    before = len(marks._late), len(marks._retaining)
    x = lazygrad.tensor([0.25, 0.75], requires_grad=True)
    y = x.exp()
    z = (y * y).sum()
    y.retain_grad()
    z.backward()
    assert y.grad.tolist() == pytest.approx((2 * y).tolist())
    assert len(marks._retaining) == before[1] + 1
    del y, z
    assert (len(marks._late), len(marks._retaining)) == before
