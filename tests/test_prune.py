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
    lambda p, f: p.global_unstructured([(f, "weight")], p.LnStructured, amount=1, n=2),
    lambda p, f: p.global_unstructured(3, p.L1Unstructured, amount=1),
    lambda p, f: p.global_unstructured([(f, "weight")], p.L1Unstructured, [1], amount=1),
    lambda p, f: p.ln_structured(f, "bias", 1, 2, 0),
    lambda p, f: p.random_structured(f, "weight", 1, 2),
    lambda p, f: p.PruningContainer().add_pruning_method(3),
    lambda p, f: p.PruningContainer(p.l1_unstructured(f, "weight", 1)._forward_pre_hooks.popitem()[1])
    .add_pruning_method(p.identity(f, "bias")._forward_pre_hooks.popitem()[1]),
    lambda p, f: p.BasePruningMethod(),
])
def test_mistakes(call: Any) -> None:
    theirs = pytorch().nn.utils.prune
    with pytest.raises((ValueError, TypeError, IndexError)) as expected:
        call(theirs, linear(pytorch()))
    abstract = "abstract" in str(expected.value)  # which Python itself says
    with pytest.raises(expected.type, match="abstract" if abstract else r"^\[[a-z0-9_]+\] "):
        call(prune, linear(lazygrad))


def own_methods(m: Any, p: Any) -> tuple[Any, ...]:
    """Ways of pruning as users write them."""

    class EveryOther(p.BasePruningMethod):
        PRUNING_TYPE = "unstructured"

        def compute_mask(self, t: Any, default_mask: Any) -> Any:
            mask = default_mask.clone()
            mask.view(-1)[::2] = 0
            return mask

    class Threshold(p.BasePruningMethod):
        PRUNING_TYPE = "global"

        def __init__(self, least: float):
            self.least = least

        def compute_mask(self, t: Any, default_mask: Any) -> Any:
            return default_mask * (t.abs() > self.least)

    class FirstRow(p.BasePruningMethod):
        PRUNING_TYPE = "structured"
        dim = 0

        def compute_mask(self, t: Any, default_mask: Any) -> Any:
            mask = default_mask.clone()
            mask[0] = 0
            return mask

    return EveryOther, Threshold, FirstRow


OWN: dict[str, Any] = {
    "a subclass": lambda p, f, own: own[0].apply(f, "weight"),
    "with arguments": lambda p, f, own: own[1].apply(f, "weight", 0.5),
    "by keyword, then a row": lambda p, f, own: (
        own[1].apply(f, "weight", least=0.2), own[2].apply(f, "weight")),
    "rows": lambda p, f, own: (own[2].apply(f, "weight"), own[2].apply(f, "weight")),
    "elements, then all": lambda p, f, own: (
        p.l1_unstructured(f, "weight", 3), own[0].apply(f, "weight"), own[1].apply(f, "weight", 0.9)),
    "of all parameters": lambda p, f, own: p.global_unstructured([(f, "weight"), (f, "bias")], own[0]),
    "removed": lambda p, f, own: (
        own[0].apply(f, "weight"), own[2].apply(f, "weight"), p.remove(f, "weight")),
}


@pytest.mark.parametrize("name", OWN)
def test_subclasses(name: str) -> None:
    found = []
    for m in (lazygrad, pytorch()):
        p, layer = m.nn.utils.prune, linear(m)
        OWN[name](p, layer, own_methods(m, p))
        layer(m.tensor(X)).square().sum().backward()
        hooks = [h for h in layer._forward_pre_hooks.values() if isinstance(h, p.PruningContainer)]
        grads = [q.grad for q in layer.parameters()]
        found.append(([n for n, _ in layer.named_buffers()], [type(h).__name__ for c in hooks for h in c],
                      [layer.weight.detach(), layer(m.tensor(X)).detach(), *grads]))
    assert found[0][:2] == found[1][:2]
    check(found[0][2], found[1][2], 1e-10, 1e-10)


def test_masks_of_no_module() -> None:
    for dim in (0, -1):
        ours, theirs = (
            [m.nn.utils.prune.LnStructured(2, 1, dim).prune(m.tensor(W)),
             m.nn.utils.prune.L1Unstructured(0.4).prune(
                 m.tensor(W), importance_scores=m.tensor(W[::-1].copy())),
             m.nn.utils.prune.CustomFromMask(m.tensor(W) > 0).compute_mask(m.tensor(W), m.ones(4, 6)),
             m.nn.utils.prune.Identity().prune(m.tensor(W), default_mask=m.tensor(W) < 0)]
            for m in (lazygrad, pytorch()))
        check(ours, theirs, 1e-12, 1e-12)


def test_a_mistake_leaves_the_module_as_it_was() -> None:
    layer = linear(lazygrad)
    with pytest.raises(ValueError):
        prune.l1_unstructured(layer, "weight", 25)
    assert isinstance(layer.weight, lazygrad.nn.Parameter) and not prune.is_pruned(layer)
