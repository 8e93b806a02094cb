"""Hooks of operations (`grad_fn.register_hook`, `register_prehook`): what they see, change and refuse, as in
PyTorch."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest

import lazygrad


def _values(grads: Any) -> list[Any]:
    return [None if g is None else g.detach().tolist() for g in grads]


def _see(log: list[Any], name: str) -> Callable[..., None]:
    return lambda *grads: log.append((name, *map(_values, grads)))


def _leaves(m: Any) -> tuple[Any, Any]:
    return m.tensor([1.0, 2.0], requires_grad=True), m.tensor([3.0, 4.0], requires_grad=True)


def _seen(m: Any, log: list[Any]) -> Any:
    x, w = _leaves(m)
    y = x * w
    total = (y * 2).sum()  # the hooks come after the use
    y.grad_fn.register_hook(_see(log, "after"))
    y.grad_fn.register_prehook(_see(log, "before"))
    total.backward()
    return _values([x.grad, w.grad])


def _changed(m: Any, log: list[Any]) -> Any:
    x, w = _leaves(m)
    y = x * w
    y.grad_fn.register_hook(lambda inputs, outputs: (inputs[0] * 10, inputs[1]))
    y.grad_fn.register_prehook(lambda outputs: (outputs[0] + 1,))
    (y * 2).sum().backward()
    return _values([x.grad, w.grad])


def _changed_inside(m: Any, log: list[Any]) -> Any:
    x, _ = _leaves(m)
    total = x.softmax(0)[0] * 3
    total.grad_fn.next_functions[0][0].next_functions[0][0].register_hook(
        lambda inputs, outputs: (inputs[0] * 0,)
    )
    total.backward()
    return _values([x.grad])


def _of_a_copy(m: Any, log: list[Any]) -> Any:
    x, _ = _leaves(m)
    y = (x * 2).clone()
    y.grad_fn.register_hook(lambda inputs, outputs: (inputs[0] * 10,))
    (y * 3).sum().backward()
    return _values([x.grad])


def _of_leaf(m: Any, log: list[Any]) -> Any:
    x, _ = _leaves(m)
    place = x.expand_as(x).grad_fn.next_functions[0][0]
    place.register_hook(lambda *grads: log.append((*map(_values, grads), x.grad.tolist())))
    place.register_prehook(_see(log, "before"))
    x.register_hook(lambda g: log.append(g.tolist()))
    x.register_post_accumulate_grad_hook(lambda p: log.append(p.grad.tolist()))
    (x * 3).sum().backward()
    return _values(m.autograd.grad((x * 3).sum(), x))


def _of_leaf_changed(m: Any, log: list[Any]) -> Any:
    x, _ = _leaves(m)
    place = x.expand_as(x).grad_fn.next_functions[0][0]
    handle = place.register_prehook(lambda g: (g[0] * 5,))
    (x * 3).sum().backward()
    handle.remove()
    (x * 3).sum().backward()
    return _values([x.grad])


def _twice_one_tensor(m: Any, log: list[Any]) -> Any:
    x, _ = _leaves(m)
    y = x * x
    y.grad_fn.register_hook(_see(log, "after"))
    (g,) = m.autograd.grad(y.sum(), x, create_graph=True)
    g.sum().backward()
    return _values([x.grad])


def _beside_tensor_hooks(m: Any, log: list[Any]) -> Any:
    x, w = _leaves(m)
    y = x * 3
    y.register_hook(lambda g: g * 2)
    y.grad_fn.register_prehook(_see(log, "before"))
    z = y * w
    z.grad_fn.register_hook(_see(log, "after"))
    z.sum().backward()
    return _values([x.grad, w.grad])


def _the_same_again(m: Any, log: list[Any]) -> Any:
    x, _ = _leaves(m)
    y = x * 3
    y.grad_fn.register_prehook(_see(log, "before"))
    return _values(m.autograd.grad((x * 3).sum(), x))  # another operation


def _captured_before(m: Any, log: list[Any]) -> Any:
    x, _ = _leaves(m)
    y = x * 3
    y.grad_fn.register_prehook(lambda g: (g[0] * 7,))
    return _values(m.autograd.grad((y * 2).sum(), (y, x)))


def _of_functions(m: Any, log: list[Any]) -> Any:
    class Both(m.autograd.Function):
        @staticmethod
        def forward(ctx: Any, a: Any, b: Any) -> Any:
            return a * 2, b * 3

        @staticmethod
        def backward(ctx: Any, a: Any, b: Any) -> Any:
            return a * 2, b * 3

    x, w = _leaves(m)
    p, q = Both.apply(x, w)
    p.grad_fn.register_hook(_see(log, "after"))
    q.grad_fn.register_hook(lambda inputs, outputs: (inputs[0] * 10, inputs[1]))
    (p + q).sum().backward()
    return _values([x.grad, w.grad])


def _once(m: Any, log: list[Any]) -> Any:
    x, _ = _leaves(m)
    y = x * 3

    def hook(inputs: Any, outputs: Any) -> None:
        log.append("once")
        handle.remove()

    handle = y.grad_fn.register_hook(hook)
    y.sum().backward(retain_graph=True)
    y.sum().backward()
    return _values([x.grad])


def _of_modules(m: Any, log: list[Any]) -> Any:
    layer = m.nn.Linear(2, 3)
    m.nn.init.ones_(layer.weight)
    m.nn.init.zeros_(layer.bias)
    y = layer(_leaves(m)[0]).relu()
    y.grad_fn.register_hook(_see(log, "relu"))
    y.sum().backward()
    return _values([layer.weight.grad, layer.bias.grad])


def _stopped(m: Any, log: list[Any]) -> Any:
    x, _ = _leaves(m)
    y = x.exp()
    y.grad_fn.register_prehook(lambda g: (None,))
    y.sum().backward()
    return _values([x.grad])


PROGRAMS = {
    name.strip("_"): run
    for name, run in list(globals().items())
    if name.startswith("_")
    and getattr(run, "__code__", None)
    and run.__code__.co_varnames[:2] == ("m", "log")
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_beside_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    found = []
    for m in (torch, lazygrad):
        log: list[Any] = []
        found.append((PROGRAMS[name](m, log), log))
    assert found[0] == found[1]


def test_what_hooks_see_and_change() -> None:
    log: list[Any] = []
    assert _seen(lazygrad, log) == [[6, 8], [2, 4]]
    assert log == [("before", [[2, 2]]), ("after", [[6, 8], [2, 4]], [[2, 2]])]
    assert _changed(lazygrad, []) == [[90, 120], [3, 6]]


MISTAKES = {
    "no tuple": (
        lambda y: y.grad_fn.register_hook(lambda inputs, outputs: 5),
        "expected tuple, but hook returned",
    ),
    "no tuple before": (lambda y: y.grad_fn.register_prehook(lambda outputs: 5), "expected tuple"),
    "too many": (
        lambda y: y.grad_fn.register_hook(lambda inputs, outputs: (1, 2)),
        r"has returned an incorrect number of values \(got 2, but expected 1\)",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(name: str) -> None:
    register, message = MISTAKES[name]
    for m in (lazygrad, pytest.importorskip("torch")):
        y = _leaves(m)[0].exp()
        register(y)
        with pytest.raises((TypeError, RuntimeError), match=message):
            y.sum().backward()


def test_hooks_go_with_their_operation() -> None:
    from lazygrad.tensors.grad_fn import hooks_of

    gc.collect()
    before = len(hooks_of)
    y = _leaves(lazygrad)[0] * 3
    y.grad_fn.register_hook(print)
    assert len(hooks_of) == before + 1
    del y
    gc.collect()
    assert len(hooks_of) == before
