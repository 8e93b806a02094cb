"""`autograd.Function`: errors as PyTorch's, under jit, on devices, and what lives how long."""

from __future__ import annotations

import gc
from typing import Any
from weakref import ref

import pytest
from test_function import leaf, square
from torch_support import outcome, pytorch

import lazygrad


def bad(m: Any, returned: Any, arguments: int = 1) -> Any:
    class Bad(m.autograd.Function):
        @staticmethod
        def forward(ctx, *x):
            return x[0] * 2

        @staticmethod
        def backward(ctx, g):
            return returned(m, g)

    x = leaf(m, [1.0, 2.0])
    Bad.apply(x, *[3] * (arguments - 1)).sum().backward()


def changed(m: Any) -> Any:
    x = leaf(m, [1.0, 2.0]) * 1
    y = square(m).apply(x)
    x.add_(1)
    y.sum().backward()


def twice(m: Any) -> Any:
    y = square(m).apply(leaf(m, [1.0]))
    y.backward()
    y.backward()


def dirty_leaf(m: Any) -> Any:
    class Add(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            return x.add_(1)

    Add.apply(leaf(m, [1.0]))


def dirty_but_not_returned(m: Any) -> Any:
    class Add(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            return x + 1

    Add.apply(leaf(m, [1.0]) * 1)


def save_a_number(m: Any) -> Any:
    class Save(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(3)
            return x + 1

    Save.apply(leaf(m, [1.0]))


ERRORS = {
    "too few": lambda m: bad(m, lambda m, g: g, 2),
    "too many": lambda m: bad(m, lambda m, g: (g, g)),
    "for a number": lambda m: bad(m, lambda m, g: (g, g), 2),
    "wrong shape": lambda m: bad(m, lambda m, g: m.ones(3)),
    "no tensor": lambda m: bad(m, lambda m, g: 3),
    "changed in place": changed,
    "freed": twice,
    "dirty leaf": dirty_leaf,
    "dirty but not returned": dirty_but_not_returned,
    "save a number": save_a_number,
    "instance": lambda m: square(m)()(m.ones(1)),
    "no forward": lambda m: type("F", (m.autograd.Function,), {}).apply(m.ones(1)),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name: str) -> None:
    ours, theirs = (outcome(lambda m=m: ERRORS[name](m)) for m in (lazygrad, pytorch()))
    assert isinstance(theirs, Exception) and isinstance(ours, Exception)
    assert isinstance(ours, RuntimeError | TypeError)
    core = str(theirs).split("\n")[0].split(" Hint")[0].split(": [")[0]
    if name not in ("no forward", "instance", "dirty leaf"):
        assert core[:60] in str(ours), (ours, theirs)


@pytest.mark.parametrize("graph", [False, True])
def test_under_jit(graph: bool) -> None:
    scaled = square(lazygrad)
    w = lazygrad.tensor([1.0, 2.0], requires_grad=True)

    @lazygrad.jit
    def step(x):
        y = scaled.apply(w * x)
        (g,) = lazygrad.autograd.grad(y.sum(), w, create_graph=graph)
        return g

    for k in range(1, 5):
        assert step(lazygrad.full((2,), float(k))).tolist() == [2.0 * k * k, 4.0 * k * k]


def test_what_was_saved_goes_with_the_result() -> None:
    kept = []

    class Save(lazygrad.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            inner = x * 7
            kept.append(ref(inner.cell))
            y = x.exp()
            kept.append(ref(y.cell))
            ctx.save_for_backward(inner, y)
            return y

        @staticmethod
        def backward(ctx, g):
            return g * ctx.saved_tensors[1]

    x = lazygrad.ones(3, requires_grad=True)
    y = Save.apply(x)
    y.sum().backward()
    gc.disable()
    try:
        assert kept[0]() is None  # freed by the backward pass
        del y
        assert kept[1]() is None
    finally:
        gc.enable()


def test_on_devices(device: str) -> None:
    x = lazygrad.tensor([1.0, 2.0], device=device, requires_grad=True)
    y = square(lazygrad).apply(x)
    y.sum().backward()
    assert x.grad.tolist() == [2.0, 4.0] and x.grad.device == x.device


def test_under_the_transformations_of_func() -> None:
    from lazygrad import func

    scaled = square(lazygrad)
    x = lazygrad.tensor([1.0, 2.0, 3.0])
    assert func.grad(lambda x: scaled.apply(x).sum())(x).tolist() == [2.0, 4.0, 6.0]
    assert func.grad(lambda x: func.grad(lambda x: (scaled.apply(x) * x).sum())(x).sum())(x).tolist() == [
        6.0,
        12.0,
        18.0,
    ]
    assert func.vmap(scaled.apply)(x).tolist() == [1.0, 4.0, 9.0]
    assert func.vmap(func.grad(scaled.apply))(x).tolist() == [2.0, 4.0, 6.0]
    w = lazygrad.ones(3, requires_grad=True)
    with pytest.raises(lazygrad.errors.UnsupportedError, match="inside of vmap has no derivative outside"):
        func.vmap(scaled.apply)(w).sum().backward()


def test_variable_is_a_tensor_over_the_same_storage() -> None:
    for m in (lazygrad, pytorch()):
        data = m.ones(2)
        v = m.autograd.Variable(data, requires_grad=True)
        assert isinstance(v, m.autograd.Variable) and isinstance(data, m.autograd.Variable) and v.is_leaf
        (v * v).sum().backward()
        data.add_(1)
        assert v.grad.tolist() == [2.0, 2.0] and v.tolist() == [2.0, 2.0] and not data.requires_grad
