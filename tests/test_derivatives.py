"""`autograd.functional`, `gradcheck` and `gradgradcheck` against PyTorch: values, shapes, errors."""

from __future__ import annotations

from typing import Any

import pytest
from torch_support import both, check, outcome, pytorch

import lazygrad


def cubes(x: Any) -> Any:
    return (x**3).sum(-1)


def mixed(x: Any, y: Any) -> Any:
    return x * y.sum(), (x**2).sum() * y


def number(x: Any) -> Any:
    return (x**3).sum() + x[0] * x[1]


def pair(x: Any, y: Any) -> Any:
    return ((x**2) * y.exp().sum()).sum()


def linear(x: Any) -> Any:
    return x.sum() * 2


X, Y = [[0.5, -1.0, 2.0], [1.5, 0.0, -0.5]], [0.25, -2.0]
CASES = {
    "jacobian": ("jacobian", cubes, [X], None, {}),
    "jacobian of two": ("jacobian", mixed, [X, Y], None, {}),
    "jacobian with graph": ("jacobian", mixed, [X, Y], None, {"create_graph": True}),
    "jacobian vectorized": ("jacobian", mixed, [X, Y], None, {"vectorize": True}),
    "hessian": ("hessian", number, [Y], None, {}),
    "hessian of two": ("hessian", pair, [X, Y], None, {}),
    "hessian with graph": ("hessian", pair, [X, Y], None, {"create_graph": True}),
    "hessian of a linear one": ("hessian", linear, [Y], None, {}),
    "hessian of a linear one, strict": ("hessian", linear, [Y], None, {"strict": True}),
    "vjp": ("vjp", cubes, [X], [[1.0, 2.0]], {}),
    "vjp of two": ("vjp", mixed, [X, Y], [X, Y], {"create_graph": True}),
    "vjp of a number": ("vjp", number, [Y], None, {}),
    "vjp without a vector": ("vjp", cubes, [X], None, {}),
    "vjp with too many": ("vjp", cubes, [X], [[1.0, 2.0], [1.0]], {}),
    "vjp with another shape": ("vjp", cubes, [X], [[1.0, 2.0, 3.0]], {}),
    "vjp independent": ("vjp", lambda x: x.detach().sum(), [Y], None, {}),
    "vjp independent, strict": ("vjp", lambda x: x.detach().sum(), [Y], None, {"strict": True}),
    "jvp": ("jvp", cubes, [X], [X], {}),
    "jvp of two": ("jvp", mixed, [X, Y], [X, Y], {"create_graph": True}),
    "jvp of a linear one": ("jvp", linear, [Y], [Y], {}),
    "vhp": ("vhp", number, [Y], [Y], {}),
    "vhp of two": ("vhp", pair, [X, Y], [X, Y], {}),
    "hvp": ("hvp", number, [Y], [Y], {"create_graph": True}),
    "hvp of two": ("hvp", pair, [X, Y], [X, Y], {}),
    "hvp of a vector": ("hvp", cubes, [X], [X], {}),
    "no tensor": ("jacobian", lambda x: 3.0, [X], None, {}),
    "no tensors": ("jacobian", lambda x: (x, 3), [X], None, {}),
}


@pytest.mark.parametrize("name", CASES)
def test_functional(name: str) -> None:
    what, func, inputs, vectors, options = CASES[name]

    def run(m: Any, place: int) -> Any:
        given = tuple(both(x, requires_grad=True)[place] for x in inputs)
        v = None if vectors is None else tuple(both(x)[place] for x in vectors)
        v = v[0] if v is not None and len(v) == 1 else v
        arguments = [given if len(given) > 1 else given[0], *([] if v is None else [v])]
        got = getattr(m.autograd.functional, what)(func, *arguments, **options)
        flat: list[Any] = []
        collect(got, flat)
        assert all(x.grad is None for x in given)
        return got, [t.requires_grad for t in flat]

    ours, theirs = (outcome(lambda m=m, i=i: run(m, i)) for i, m in enumerate((lazygrad, pytorch())))
    if isinstance(theirs, Exception):
        assert isinstance(ours, type(theirs)), (ours, theirs)
        said = str(ours).replace("lazygrad.", "torch.")
        assert what == "hessian" or str(theirs).split(".")[0][:70] in said, (ours, theirs)
        return
    assert not isinstance(ours, Exception), ours
    compare(ours[0], theirs[0])
    assert ours[1] == theirs[1]


def collect(value: Any, into: list[Any]) -> None:
    if isinstance(value, tuple):
        for v in value:
            collect(v, into)
    else:
        into.append(value)


def compare(a: Any, b: Any) -> None:
    assert isinstance(a, tuple) == isinstance(b, tuple)
    check(a, b)


def test_gradcheck() -> None:
    check_ours, check_twice = lazygrad.autograd.gradcheck, lazygrad.autograd.gradgradcheck
    x = lazygrad.randn(3, 2, dtype=lazygrad.float64, requires_grad=True)
    y = lazygrad.randn(2, dtype=lazygrad.float64, requires_grad=True)
    assert check_ours(lambda x, y: (x.sin() * y, (x @ y).exp()), (x, y))
    assert check_twice(lambda x, y: x.sin() * y, (x, y))
    assert check_ours(lazygrad.nn.functional.linear, (x, x.detach(), None)) is True

    class Wrong(lazygrad.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            return g * ctx.saved_tensors[0]

    with pytest.raises(lazygrad.autograd.GradcheckError, match="Jacobian mismatch for output 0"):
        check_ours(Wrong.apply, (x,))
    assert check_ours(Wrong.apply, (x,), raise_exception=False) is False
    with pytest.raises(ValueError, match="at least one input tensor to require gradient"):
        check_ours(lambda x: x * 2, (x.detach(),))
    with pytest.warns(UserWarning, match="Input #0 requires gradient and is not a double precision"):
        assert check_ours(lambda x: x * 2, (x.detach().float().requires_grad_(),), eps=1e-2, atol=1e-2)


def test_a_leaf_is_found_again_when_its_values_are_in_other_memory() -> None:
    x = lazygrad.randn(3, requires_grad=True)
    (g,) = lazygrad.autograd.grad(x.sin().sum(), x, create_graph=True)
    (before,) = lazygrad.autograd.grad(g.sum(), x, retain_graph=True)
    expected = (-x.detach().sin()).tolist()  # which puts x into memory
    (after,) = lazygrad.autograd.grad(g.sum(), x)
    assert before.tolist() == after.tolist() == pytest.approx(expected, rel=1e-6)
