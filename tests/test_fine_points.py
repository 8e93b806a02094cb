"""Fine points of PyTorch's behaviour that code rarely meets, beside PyTorch."""

import copy
import warnings
from typing import Any

import numpy as np
import pytest
from torch_support import check, pytorch

import lazygrad


def data(m: Any, *shape: int, seed: int = 0) -> Any:
    return m.tensor(np.random.RandomState(seed).randn(*shape).astype("float32"))


def outcome(run: Any) -> Any:
    """The result, or the error."""
    try:
        return run()
    except Exception as problem:
        return problem


def power_pools(m: Any) -> Any:
    found = []
    for rank, size in ((1, (7,)), (2, (7, 5)), (3, (4, 5, 3))):
        for ceil_mode in (True, False):
            x = data(m, 2, 3, *size).requires_grad_()
            y = getattr(m.nn.functional, f"lp_pool{rank}d")(x, 2, 3, 2, ceil_mode)
            y.sum().backward()
            found += [y, x.grad]
    return found


def nearest_grids(m: Any) -> Any:
    x, grid = data(m, 1, 1, 3, 3).requires_grad_(), data(m, 1, 2, 2, 2).requires_grad_()
    y = m.nn.functional.grid_sample(x, grid, "nearest", align_corners=False)
    return m.autograd.grad((y * y).sum(), [x, grid])


def grids_without_places(m: Any) -> Any:
    found = []
    for mode in ("bilinear", "nearest", "bicubic"):
        for padding in ("zeros", "border", "reflection"):
            for value in (float("nan"), float("inf"), -float("inf")):
                grid = m.zeros(1, 2, 2, 2)
                grid[0, 0, 0, 0] = value
                found.append(m.nn.functional.grid_sample(data(m, 1, 1, 3, 3), grid, mode, padding, True))
    return found


def copied_parameters(m: Any) -> Any:
    p = m.nn.Parameter(m.ones(2))
    p.grad, p.tag = m.ones(2), 1
    first, second = copy.deepcopy([p, p])
    return first, first is second, first.grad, hasattr(first, "tag"), p.tag, p.grad


def paths(m: Any) -> Any:
    hooks = m.nn.modules.module
    names = [f"register_module_{n}" for n in ("forward_hook", "forward_pre_hook", "full_backward_hook")]
    return [callable(getattr(hooks, n)) for n in names], callable(m.nn.utils.stateless.functional_call)




def wrong_replacements(m: Any) -> Any:
    layer, x = m.nn.Sequential(m.nn.Linear(2, 2)), m.ones(1, 2)
    wrong = [{"0.weight": 3}, {"": m.ones(1)}, {"0": m.ones(1)}, [1], {"0.zz": m.ones(1)}]
    return [outcome(lambda w=w: m.func.functional_call(layer, w, x).shape) for w in wrong]


def functions_by_name(m: Any) -> Any:
    class Scaled(m.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, y: Any, k: int = 3) -> Any:
            ctx.k = k
            return x * k + y

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * ctx.k, g, *(None,) * (len(ctx.needs_input_grad) - 2)

    class Bare(m.autograd.Function):
        @staticmethod
        def forward(x: Any, k: int = 2) -> Any:
            return x * k

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.k = inputs[1]

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * ctx.k, None

    class Lacking(m.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

    class Wrong(Lacking):
        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return 3

    x = m.tensor([1.0, 2.0], requires_grad=True)
    y = m.tensor([5.0, 7.0], requires_grad=True)
    found = [m.autograd.grad(Scaled.apply(x, y=y, k=4).sum(), [x, y]), Scaled.apply(x, k=2, y=y)]
    found += [m.autograd.grad(Bare.apply(x).sum(), x), Bare.apply(k=5, x=x)]
    found += [outcome(lambda: Scaled.apply(x, y, z=1)), outcome(lambda: Lacking.apply(x).sum().backward())]
    return [*found, outcome(lambda: Wrong.apply(x).sum().backward())]


def calls_of_grad(m: Any) -> Any:
    x, y = m.tensor([1.0, 2.0], requires_grad=True), m.tensor(1.0, requires_grad=True)
    z = (x * x).sum()
    found = [outcome(lambda: m.autograd.grad(z, [x, y], materialize_grads=True, allow_unused=False)),
             outcome(lambda: m.autograd.grad(z, [])), outcome(lambda: z.backward(inputs=[])),
             outcome(lambda: setattr(x, "grad", x))]
    z.backward()
    del x.grad
    return [*found, x.grad]


def jacobians(m: Any) -> Any:
    jacobian, x = m.autograd.functional.jacobian, m.tensor([1.0, 2.0])
    options = [{"strategy": "sideways"}, {"strategy": "forward-mode"}, {"strict": True, "vectorize": True}]
    return [outcome(lambda o=o: jacobian(lambda a: a * 2, x, **o)) for o in options]


def transformations(m: Any) -> Any:
    f, x = m.func, m.arange(6.0).reshape(3, 2)
    found = [f.vmap(lambda a: (a * 2, m.ones(2), 7), out_dims=(0, None, None))(x)]
    calls: list[Any] = [
        lambda: f.vmap(lambda a: a, out_dims=None)(x), lambda: f.vmap(lambda a: 3)(x),
        lambda: f.vmap(lambda a: a, in_dims=2)(x), lambda: f.vmap(lambda a: a, in_dims="x")(x),
        lambda: f.vmap(lambda a: a, out_dims=5)(x), lambda: f.grad(lambda a: 3)(x),
        lambda: f.grad(lambda a: a.sum(), argnums="a")(x), lambda: f.grad(lambda a: (a.sum(),))(x),
        lambda: f.grad(lambda a: a)(x), lambda: f.grad(lambda a: a)(3.0),
        lambda: f.grad(lambda a: a.sum(), has_aux=True)(x), lambda: f.jacrev(lambda a: 3)(x),
        lambda: f.jacfwd(lambda a: a)(m.tensor([1])), lambda: f.jvp(lambda a: a, x, x),
        lambda: f.jvp(lambda a: a, (x,), (x, x)), lambda: f.vjp(lambda a: (a, a), x)[1](x)]
    return [*found, *map(outcome, calls)]


CASES = [
    functions_by_name, calls_of_grad, jacobians, transformations, power_pools, nearest_grids,
    grids_without_places, copied_parameters, paths, wrong_replacements,
]


def compare(ours: Any, theirs: Any) -> None:
    """As `check`, and errors are of the types that PyTorch raises."""
    if isinstance(theirs, tuple | list):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            compare(a, b)
    elif isinstance(theirs, Exception):
        assert isinstance(ours, type(theirs)), (ours, theirs)
    else:
        assert not isinstance(ours, Exception), (ours, theirs)
        check(ours, theirs)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_as_in_pytorch(case: Any) -> None:
    torch = pytorch()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compare(case(lazygrad), case(torch))
