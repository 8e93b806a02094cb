"""Functions of the package and of nn.functional are pickled by their names, and modules that hold them."""

import pickle
from operator import attrgetter
from types import FunctionType

import pytest

import lazygrad
from lazygrad import nn
from lazygrad.nn import functional as F


def _public(space):
    found = vars(attrgetter(space)(lazygrad)).items()
    return {f: None for name, f in found if isinstance(f, FunctionType) and not name.startswith("_")}


@pytest.mark.parametrize(
    "function",
    [
        F.relu,
        F.gelu,
        F.cross_entropy,
        F.conv2d,
        F.softmax,
        lazygrad.tanh,
        lazygrad.matmul,
        lazygrad.relu,
        lazygrad.sum,
        lazygrad.zeros,
        lazygrad.Tensor.add,
        lazygrad.Tensor.backward,
        *_public("linalg"),
        *_public("special"),
        *_public("nn.init"),
        *_public("nn.functional"),
        *_public("signal.windows"),
    ],
    ids=lambda f: f"{f.__module__}.{f.__name__}",
)
def test_functions(function) -> None:
    assert pickle.loads(pickle.dumps(function)) is function


def test_a_module_with_a_function() -> None:
    layer = nn.TransformerEncoderLayer(4, 2, 8, activation=F.gelu).eval()
    x = lazygrad.randn(3, 2, 4)
    other = pickle.loads(pickle.dumps(layer))
    assert other.activation is F.gelu
    assert lazygrad.allclose(layer(x), other(x))
