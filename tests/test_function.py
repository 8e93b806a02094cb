"""`autograd.Function` against PyTorch: the same programs in both, their values, gradients, `grad_fn` and
errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch_support import check, outcome, pytorch

import lazygrad

PROGRAMS = {}


def program(run: Any) -> Any:
    """A program over a module `m`, lazygrad or torch, that returns what is compared."""
    PROGRAMS[run.__name__] = run
    return run


def square(m: Any) -> Any:
    class Square(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * 2 * x

    return Square


def leaf(m: Any, values: Any, **options: Any) -> Any:
    return m.tensor(values, requires_grad=True, **options)


@program
def plain(m):
    x = leaf(m, [1.0, 2.0, 3.0])
    y = square(m).apply(x)
    (y * 3).sum().backward()
    return [y, x.grad, y.requires_grad, y.is_leaf, y.grad_fn.name(), type(y.grad_fn).__name__,
            [f[0].name().split(":")[-1] for f in y.grad_fn.next_functions]]


@program
def orders(m):
    x = leaf(m, [1.0, 2.0, 3.0])
    y = square(m).apply(x.exp()).sum()
    (g,) = m.autograd.grad(y, x, create_graph=True)
    (h,) = m.autograd.grad(g.sum(), x, create_graph=True)
    (k,) = m.autograd.grad((h * g).sum(), x)
    return [g, h, k]


@program
def saved_result(m):
    class Exp(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            y = x.exp()
            ctx.save_for_backward(y, None)
            return y

        @staticmethod
        def backward(ctx, g):
            y, nothing = ctx.saved_tensors
            assert nothing is None
            return g * y

    x = leaf(m, [0.5, 1.0])
    (g,) = m.autograd.grad(Exp.apply(x * 2).sum(), x, create_graph=True)
    (h,) = m.autograd.grad(g.sum(), x)
    return [g, h]


@program
def saved_input_is_the_tensor_itself(m):
    seen = []

    class Same(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * 1

        @staticmethod
        def backward(ctx, g):
            seen.append(ctx.saved_tensors[0])
            return g

    x = leaf(m, [1.0])
    Same.apply(x).backward()
    return [seen[0] is x]


@program
def several_arguments_and_results(m):
    class Mix(m.autograd.Function):
        @staticmethod
        def forward(ctx, x, scale, y, name=None):
            ctx.scale = scale
            seen.append(ctx.needs_input_grad)
            ctx.save_for_backward(x, y)
            return x * y * scale, name, (x + y).argmax(), x - y

        @staticmethod
        def backward(ctx, a, b, c, d):
            x, y = ctx.saved_tensors
            seen.append([b is None, None if c is None else c.sum().item()])
            return a * y * ctx.scale + d, None, a * x * ctx.scale - d, None

    seen = []
    x, y = leaf(m, [1.0, 2.0]), leaf(m, [3.0, 4.0])
    p, name, index, q = Mix.apply(x, 2.0, y, "n")
    (p.sum() + (q * q).sum()).backward()
    alone = Mix.apply(x, 2.0, y.detach(), "n")
    alone[3].sum().backward()
    return [p, q, name, index, index.requires_grad, x.grad, y.grad, seen[0], seen[2], p.grad_fn is q.grad_fn,
            seen[1], seen[3]]


@program
def missing_gradients_as_none(m):
    class Pair(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(False)
            return x * 2, x * 3

        @staticmethod
        def backward(ctx, a, b):
            seen.append((a is None, b is None))
            return (a if b is None else b * 3)

    seen = []
    x = leaf(m, [1.0, 2.0])
    Pair.apply(x)[1].sum().backward()
    Pair.apply(x)[0].sum().backward()
    return [seen, x.grad]


@program
def setup_context(m):
    class Cube(m.autograd.Function):
        @staticmethod
        def forward(x, n):
            return x**n

        @staticmethod
        def setup_context(ctx, inputs, output):
            x, ctx.n = inputs
            ctx.save_for_backward(x)

        @staticmethod
        def backward(ctx, g):
            return g * ctx.n * ctx.saved_tensors[0] ** (ctx.n - 1), None

    x = leaf(m, [1.0, 2.0])
    y = Cube.apply(x, 3)
    y.sum().backward()
    return [y, x.grad]


@program
def no_gradient_for_a_result(m):
    class Sort(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            y, i = x.sort()
            other = x * 2
            ctx.mark_non_differentiable(i, other)
            ctx.save_for_backward(i)
            return y, i, other

        @staticmethod
        def backward(ctx, g, *rest):
            seen.append([r.sum().item() for r in rest])
            (i,) = ctx.saved_tensors
            return m.zeros_like(g).index_add(0, i, g)

    seen = []
    x = leaf(m, [3.0, 1.0, 2.0])
    y, i, other = Sort.apply(x)
    (y * m.tensor([1.0, 2.0, 3.0])).sum().backward()
    return [y, i, other.requires_grad, x.grad, seen]


@program
def dirty(m):
    class Double(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            x.mul_(2)
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 2

    x = leaf(m, [1.0, 2.0])
    y = x * 3
    before = y._version
    z = Double.apply(y)
    (z * z).sum().backward()
    base = x * 1
    w = Double.apply(base[:1])
    (base * base).sum().backward()
    return [z is y, z, z.grad_fn.name(), x.grad, y._version - before, base, w]


@program
def an_input_returned(m):
    class Through(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, g):
            return -g

    x = leaf(m, [1.0, 2.0])
    y = Through.apply(x)
    (y * 2).sum().backward()
    with m.no_grad():
        z = Through.apply(x)
    return [y is x, y, y.grad_fn is None, x.grad, x.grad_fn is None, z.requires_grad]


@program
def none_for_an_input(m):
    class Half(m.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            return x + y

        @staticmethod
        def backward(ctx, g):
            return (g, None) if ctx.needs_input_grad[0] else (None, None)

    x, y = leaf(m, [1.0]), leaf(m, [1.0])
    Half.apply(x, y).backward()
    return [x.grad, y.grad is None]


@program
def gradient_is_fitted(m):
    class Wide(m.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            return x + y

        @staticmethod
        def backward(ctx, g):
            return g.double(), g

    x, y = leaf(m, [[1.0], [2.0]]), leaf(m, [1.0, 2.0, 3.0])
    Wide.apply(x, y).sum().backward()
    return [x.grad, y.grad]


@program
def once(m):
    class Square(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @m.autograd.function.once_differentiable
        def backward(ctx, g):
            return g * 2 * ctx.saved_tensors[0]

    x = leaf(m, [1.0, 2.0])
    Square.apply(x).sum().backward()
    scale = leaf(m, [1.0, 1.0])
    (g,) = m.autograd.grad(Square.apply(x) @ scale, x, create_graph=True)
    return [x.grad, g, outcome(lambda: g.sum().backward())]


@program
def backward_through_numpy(m):
    class Sine(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.values = x.detach().numpy()
            return m.from_numpy(np.sin(ctx.values))

        @staticmethod
        def backward(ctx, g):
            return g * m.from_numpy(np.cos(ctx.values))

    x = leaf(m, [[0.1, 0.2]])
    Sine.apply(x).sum().backward()
    return [x.grad]


@program
def hooks_and_retained(m):
    x = leaf(m, [1.0, 2.0])
    y = x * 2
    y.retain_grad()
    y.register_hook(lambda g: g * 10)
    z = square(m).apply(y)
    z.retain_grad()
    z.register_hook(lambda g: g + 1)
    w = square(m).apply(z)
    w.sum().backward()
    return [x.grad, y.grad, z.grad]


@program
def two_results_with_a_hook_on_one_run_backward_once(m):
    class Two(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2, x * 3

        @staticmethod
        def backward(ctx, a, b):
            calls.append(1)
            return 2 * a + 3 * b

    calls = []
    x = leaf(m, [1.0])
    a, b = Two.apply(x)
    a.register_hook(lambda g: g * 5)
    (a * b).backward()
    return [calls, x.grad]


@program
def in_a_deep_chain(m):
    x = leaf(m, [1.0])
    y = x
    for _ in range(300):
        y = square(m).apply(y) if _ < 2 else y * 1.0 + square(m).apply(y * 0)
    y.backward()
    return [x.grad]


@program
def twice_with_retain(m):
    x = leaf(m, [2.0])
    y = square(m).apply(x)
    y.backward(retain_graph=True)
    y.backward()
    return [x.grad]


@program
def the_context_is_the_grad_fn(m):
    x = leaf(m, [2.0])
    y = square(m).apply(x)
    return [y.grad_fn.saved_tensors[0] is x, y.grad_fn.needs_input_grad,
            (y + 1).grad_fn.next_functions[0][0] is y.grad_fn]


@program
def without_recording(m):
    x = leaf(m, [2.0])
    with m.no_grad():
        y = square(m).apply(x)
    z = square(m).apply(m.ones(2))
    return [y, y.requires_grad, y.grad_fn is None, z.requires_grad, z.grad_fn is None]


@program
def a_module_of_its_own(m):
    class Clip(m.autograd.Function):
        @staticmethod
        def forward(ctx, x, low, high):
            ctx.save_for_backward((x >= low) & (x <= high))
            return x.clamp(low, high)

        @staticmethod
        def backward(ctx, g):
            return g * ctx.saved_tensors[0], None, None

    x = leaf(m, [-2.0, 0.5, 2.0])
    layer = m.nn.Linear(3, 1, bias=False)
    with m.no_grad():
        layer.weight.copy_(m.tensor([[1.0, 2.0, 3.0]]))
    layer(Clip.apply(x, -1.0, 1.0)).backward()
    return [x.grad, layer.weight.grad]


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name: str) -> None:
    ours, theirs = PROGRAMS[name](lazygrad), PROGRAMS[name](pytorch())
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        if isinstance(b, Exception):
            assert isinstance(a, RuntimeError) and str(b) in str(a), (a, b)
        elif hasattr(b, "dtype"):
            check(a, b)
        else:
            assert a == b
