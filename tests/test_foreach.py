"""`_foreach_*`: functions over lists of tensors, beside PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from torch_support import check, outcome, pytorch

import lazygrad
from lazygrad.tensors.foreach import _ELEMENTWISE

SHAPES = ((2, 3), (), (0,), (4,))
OF_TWO = ("add", "sub", "mul", "div", "pow", "clamp_min", "clamp_max", "maximum", "minimum")
OF_ONE = sorted(set(_ELEMENTWISE) - set(OF_TWO) - {"lerp"})


def lists(m: Any, count: int) -> list[list[Any]]:
    """Lists of tensors with the same values in both libraries, all between 0.2 and 0.8."""
    rng = np.random.default_rng(3)
    return [[m.tensor(rng.uniform(0.2, 0.8, shape).astype(np.float32)) for shape in SHAPES]
            for _ in range(count)]


def compared(call: Callable[..., Any], count: int = 1) -> None:
    """The results of a call, and what it has written to its lists."""
    ours, theirs = ([call(m, *inputs), inputs] for m in (lazygrad, pytorch())
                    for inputs in [lists(m, count)])
    assert type(ours[0]) is type(theirs[0])
    assert (ours[0] is ours[1][0]) == (theirs[0] is theirs[1][0])
    check(ours, theirs, 2e-5, 1e-6)


@pytest.mark.parametrize("name", [*OF_ONE, *(f"{name}_" for name in OF_ONE), "zero_", "clone"])
def test_functions_of_one_list(name: str) -> None:
    compared(lambda t, x: getattr(t, f"_foreach_{name}")(x))


@pytest.mark.parametrize("name", [*OF_TWO, *(f"{name}_" for name in OF_TWO)])
def test_the_second_operand_is_a_list_of_tensors_or_of_numbers_or_one_number(name: str) -> None:
    compared(lambda t, x, y: getattr(t, f"_foreach_{name}")(x, y), 2)
    compared(lambda t, x: getattr(t, f"_foreach_{name}")(x, [0.5, 1, 2.0, 3]))
    compared(lambda t, x: getattr(t, f"_foreach_{name}")(x, 0.4))


CASES: dict[str, tuple[int, Callable[..., Any]]] = {
    "alpha": (2, lambda t, x, y: t._foreach_add_(x, y, alpha=-3)),
    "one tensor": (1, lambda t, x: t._foreach_mul_(x, t.tensor(3.0))),
    "by name": (2, lambda t, x, y: t._foreach_sub(x, other=y, alpha=2)),
    "copy_": (2, lambda t, x, y: t._foreach_copy_(x, y, non_blocking=True)),
    "lerp": (2, lambda t, x, y: t._foreach_lerp(x, y, weight=0.3)),
    "lerp_": (2, lambda t, x, y: t._foreach_lerp_(x, y, 0.9)),
    "lerp_ of lists": (3, lambda t, x, y, w: t._foreach_lerp_(x, y, w)),
    "addcmul": (3, lambda t, x, y, z: t._foreach_addcmul(x, y, z, value=0.1)),
    "addcdiv_": (3, lambda t, x, y, z: t._foreach_addcdiv_(x, y, z, value=-0.1)),
    "addcdiv_ with numbers": (3, lambda t, x, y, z: t._foreach_addcdiv_(x, y, z, [1.0, 2.0, 3.0, 4.0])),
    "addcmul_ with a tensor": (
        3, lambda t, x, y, z: t._foreach_addcmul_(x, y, z, scalars=t.tensor([1.0, 2.0, 3.0, 4.0]))),
    "a number to a power": (1, lambda t, x: t._foreach_pow(2.0, x)),
    "norm": (1, lambda t, x: (t._foreach_norm(x), t._foreach_norm(x, 1), t._foreach_norm(x, ord=3.0))),
    "norm inf": (1, lambda t, x: t._foreach_norm([x[0], x[3]], float("inf"))),
    "norm dtype": (1, lambda t, x: t._foreach_norm(x, 2, dtype=t.float64)),
    "powsum": (1, lambda t, x: (t._foreach_powsum(x), t._foreach_powsum(x, 3))),
    "max": (1, lambda t, x: t._foreach_max([x[0], x[3]])),
    "mm": (2, lambda t, x, y: t._foreach_mm(x[:1], [y[0].T])),
    "types": (1, lambda t, x: t._foreach_add([x[0], x[0].long()], [1, 1.5])),
}


@pytest.mark.parametrize("name", CASES)
def test_cases(name: str) -> None:
    count, call = CASES[name]
    compared(call, count)


@pytest.mark.parametrize("call", [
    lambda t, x: t._foreach_add([], 1),
    lambda t, x: t._foreach_add(x, x[:1]),
    lambda t, x: t._foreach_sqrt(x[0]),
    lambda t, x: t._foreach_neg([1]),
    lambda t, x: t._foreach_norm([x[0].long()], dtype=t.float64),
    lambda t, x: t._foreach_norm([x[0].double()], dtype=t.float32),
    lambda t, x: t._foreach_norm(x[:1], dtype=t.int64),
    lambda t, x: t._foreach_norm(x, -1),
    lambda t, x: t._foreach_norm(x, float("inf")),
])
def test_mistakes_are_pytorchs_errors(call: Callable[..., Any]) -> None:
    ours, theirs = (outcome(lambda m=m: call(m, lists(m, 1)[0])) for m in (lazygrad, pytorch()))
    assert isinstance(theirs, Exception) and isinstance(ours, type(theirs)), (ours, theirs)


def test_gradients() -> None:
    def gradients(m: Any) -> list[Any]:
        x = [part.requires_grad_() for part in lists(m, 1)[0]]
        sum(part.sum() for part in m._foreach_mul(m._foreach_sqrt(x), x)).backward()
        return [part.grad for part in x]

    check(gradients(lazygrad), gradients(pytorch()))


def test_every_function_of_pytorch_is_there() -> None:
    assert {n for n in dir(pytorch()) if n.startswith("_foreach_")} <= set(dir(lazygrad))
