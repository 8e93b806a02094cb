"""Forms that older public code uses: factors before what they multiply, optimizers that wrap others."""

from __future__ import annotations

from typing import Any

import pytest
from torch_support import pytorch

import lazygrad
from lazygrad.errors import ArgumentTypeError

FORMS: dict[str, Any] = {
    "add_": lambda T, x, y: x.clone().add_(2.0, y), "add": lambda T, x, y: x.add(3, y),
    "torch.add": lambda T, x, y: T.add(x, 2, y), "sub": lambda T, x, y: x.sub(2, y),
    "sub_": lambda T, x, y: x.clone().sub_(0.5, y), "addcmul": lambda T, x, y: x.addcmul(2, y, y),
    "addcmul_": lambda T, x, y: x.clone().addcmul_(0.5, y, y + 1),
    "addcdiv_": lambda T, x, y: x.clone().addcdiv_(-0.5, y, x),
    "torch.addcdiv": lambda T, x, y: T.addcdiv(x, 0.5, y, x + 1),
}
VALUES = {"add_": [1, 3, 5], "add": [1, 4, 7], "torch.add": [1, 3, 5], "sub": [1, -1, -3],
          "sub_": [1, 0.5, 0], "addcmul": [1, 3, 9], "addcmul_": [1, 2, 4], "addcdiv_": [1, 0.5, 0],
          "torch.addcdiv": [1, 1.25, 1.5]}

PRODUCTS: dict[str, Any] = {
    "addmm, beta": lambda T, v, a: T.addmm(2, a, a, a + 1),
    "addmm": lambda T, v, a: T.addmm(2, a, 3, a, a + 1),
    "x.addmm, beta": lambda T, v, a: a.addmm(3, a, a + 1),
    "x.addmm": lambda T, v, a: a.addmm(2, 3, a, a + 1),
    "addmm_": lambda T, v, a: a.clone().addmm_(0.5, 3, a, a + 1),
    "addmv": lambda T, v, a: T.addmv(2, v, 3, a, v),
    "x.addmv": lambda T, v, a: v.addmv(2, a, v), "addr": lambda T, v, a: T.addr(2, a, 3, v, v + 1),
    "x.addr": lambda T, v, a: a.addr(2, 3, v, v + 1),
    "addbmm": lambda T, v, a: T.addbmm(2, a, a[None], a[None]),
    "baddbmm": lambda T, v, a: T.baddbmm(2, a[None], 3, a[None], a[None] + 1),
}


@pytest.mark.filterwarnings("ignore:This overload")
@pytest.mark.parametrize("name", list(PRODUCTS))
def test_factors_before_sums_with_products(name: str) -> None:
    def value(T: Any) -> Any:
        return PRODUCTS[name](T, T.arange(3.0), T.arange(9.0).reshape(3, 3)).tolist()

    assert value(lazygrad) == value(pytorch())


def test_factors_stand_first_or_by_name() -> None:
    x = lazygrad.ones(2, 2)
    with pytest.warns(UserWarning, match="This overload of addmm is deprecated"):
        lazygrad.addmm(2, x, x, x)
    for wrong in ((x, x, x, 2), (x, 2, x, 3, x), (2, 3, x, x, x), (2, x, x, x, x)):
        with pytest.raises(ArgumentTypeError, match="takes 3 positional arguments"):
            lazygrad.addmm(*wrong)


@pytest.mark.filterwarnings("ignore:This overload")
@pytest.mark.parametrize("name", list(FORMS))
def test_a_factor_before_what_it_multiplies(name: str) -> None:
    def value(T: Any) -> Any:
        return FORMS[name](T, T.ones(3), T.arange(3.0)).tolist()

    assert value(lazygrad) == VALUES[name]


@pytest.mark.filterwarnings("ignore:This overload")
@pytest.mark.parametrize("name", list(FORMS))
def test_it_is_as_in_pytorch(name: str) -> None:
    torch = pytorch()
    assert FORMS[name](torch, torch.ones(3), torch.arange(3.0)).tolist() == VALUES[name]


def test_too_many_arguments_are_refused() -> None:
    x = lazygrad.ones(2)
    for args in ((x, x), (1, 2, 3)):
        with pytest.raises(ArgumentTypeError):
            x.add_(*args)


def test_an_optimizer_around_another() -> None:
    class Around(lazygrad.optim.Optimizer):
        def __init__(self, inner: Any) -> None:
            self.inner = inner  # as accelerate does: without the constructor above

        @property
        def param_groups(self) -> Any:
            return self.inner.param_groups

        def step(self, closure: Any = None) -> None:
            self.inner.step(closure)

    w = lazygrad.ones(2, requires_grad=True)
    optimizer = Around(lazygrad.optim.SGD([w], 0.5))
    w.sum().backward()
    optimizer.step()
    assert w.tolist() == [0.5, 0.5]


def test_the_path_of_the_summary_writer() -> None:
    from lazygrad.utils.tensorboard.writer import SummaryWriter

    assert SummaryWriter is lazygrad.utils.tensorboard.SummaryWriter
