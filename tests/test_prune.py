"""lazygrad.nn.utils.prune beside PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch_support import check, pytorch

import lazygrad
from lazygrad.nn.utils import prune

W, X = np.random.default_rng(4).standard_normal((4, 6)), np.random.default_rng(5).standard_normal((3, 6))


def linear(m: Any) -> Any:
    layer = m.nn.Linear(6, 4, dtype=m.float64)
    with m.no_grad():
        layer.weight.copy_(m.tensor(W))
        layer.bias.copy_(m.tensor(W[:, 0]))
    return layer


STEPS: dict[str, Any] = {
    "smallest": lambda m, p, f: p.l1_unstructured(f, "weight", 0.3),
    "a count": lambda m, p, f: p.l1_unstructured(f, "weight", amount=5),
    "by scores": lambda m, p, f: p.l1_unstructured(
        f, "weight", 5, importance_scores=m.tensor(W[::-1].copy())),
    "twice": lambda m, p, f: (p.l1_unstructured(f, "weight", 0.3), p.l1_unstructured(f, "weight", 0.5)),
    "rows": lambda m, p, f: p.ln_structured(f, "weight", 0.5, n=2, dim=0),
    "columns, then elements": lambda m, p, f: (
        p.ln_structured(f, "weight", 2, n=1, dim=1), p.l1_unstructured(f, "weight", 0.25)),
    "rows twice": lambda m, p, f: (
        p.ln_structured(f, "weight", 1, n=2, dim=0), p.ln_structured(f, "weight", 1, n=2, dim=0)),
    "a mask": lambda m, p, f: p.custom_from_mask(f, "bias", m.tensor([1, 0, 0, 1])),
    "nothing": lambda m, p, f: p.identity(f, "weight"),
    "all parameters": lambda m, p, f: p.global_unstructured(
        [(f, "weight"), (f, "bias")], pruning_method=p.L1Unstructured, amount=0.4),
    "by a class": lambda m, p, f: p.LnStructured.apply(f, "weight", 0.5, 2, 0),
    "removed": lambda m, p, f: (p.l1_unstructured(f, "weight", 0.3), p.remove(f, "weight")),
}


def answers(m: Any, name: str) -> Any:
    if m is lazygrad:
        p: Any = prune
    else:
        import torch.nn.utils.prune as p  # type: ignore[no-redef]
    layer = linear(m)
    STEPS[name](m, p, layer)
    layer(m.tensor(X)).square().sum().backward()
    with m.no_grad():
        for parameter in layer.parameters():
            parameter -= 0.1 * parameter.grad
    after = layer(m.tensor(X))
    return sorted(layer.state_dict().items()), p.is_pruned(layer), after, layer.weight.detach()


@pytest.mark.parametrize("name", STEPS)
def test_pruning(name: str) -> None:
    (ours, pruned, *values), (theirs, expected, *others) = answers(lazygrad, name), answers(pytorch(), name)
    assert [n for n, _ in ours] == [n for n, _ in theirs] and pruned == expected
    check([v for _, v in ours], [v for _, v in theirs], 1e-10, 1e-10)
    check(values, others, 1e-10, 1e-10)


def test_chance() -> None:
    layer = linear(lazygrad)
    prune.random_unstructured(layer, "weight", 7)
    assert int((layer.weight == 0).sum()) == 7
    prune.random_structured(layer, "weight", 1, dim=0)
    assert bool((layer.weight == 0).all(1).any())
    prune.global_unstructured([(layer, "bias")], prune.RandomUnstructured, amount=0.5)
    assert int((layer.bias == 0).sum()) == 2 and prune.is_pruned(lazygrad.nn.Sequential(layer))


@pytest.mark.parametrize("call", [
    lambda p, f: p.l1_unstructured(f, "weight", 1.5),
    lambda p, f: p.l1_unstructured(f, "weight", -1),
    lambda p, f: p.l1_unstructured(f, "weight", 25),
    lambda p, f: p.l1_unstructured(f, "weight", "x"),
    lambda p, f: p.remove(f, "weight"),
    lambda p, f: p.global_unstructured([(f, "weight")], len, amount=1),
])
def test_mistakes(call: Any) -> None:
    theirs = pytorch().nn.utils.prune
    with pytest.raises((ValueError, TypeError)) as expected:
        call(theirs, linear(pytorch()))
    with pytest.raises(expected.type, match=r"^\[prune\] "):
        call(prune, linear(lazygrad))
