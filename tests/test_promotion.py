"""Result types: every pair of dtypes, with dimensions, 0-d and Python numbers, against PyTorch."""

# ruff: noqa: B023 (every lambda runs where it stands)
from __future__ import annotations

import itertools
import operator

import numpy as np
import pytest
from torch_support import outcome, pytorch

import lazygrad

NAMES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64")
OPERATORS = {
    name: getattr(operator, name)
    for name in (
        "add",
        "sub",
        "mul",
        "truediv",
        "floordiv",
        "mod",
        "pow",
        "eq",
        "lt",
        "ge",
        "and_",
        "or_",
        "xor",
    )
}
SHAPES = ((2,), ())
NUMBERS = (True, 2, 2.5)


def _pair(torch, name, shape):
    return (
        lazygrad.ones(shape, dtype=getattr(lazygrad, name)),
        torch.ones(shape, dtype=getattr(torch, name)),
    )


def _same(ours, theirs, what):
    if isinstance(theirs, Exception):
        if "not implemented for" in str(theirs):
            return  # a kernel that PyTorch lacks, not a rule
        assert isinstance(ours, Exception), (what, ours, theirs)
        kinds = (RuntimeError, TypeError, ValueError, IndexError)
        assert [isinstance(ours, k) for k in kinds] == [isinstance(theirs, k) for k in kinds], (
            what,
            ours,
            theirs,
        )
        return
    assert not isinstance(ours, Exception), (what, ours, theirs)
    assert str(ours.dtype).split(".")[1] == str(theirs.dtype).split(".")[1], (what, ours.dtype, theirs.dtype)


@pytest.mark.parametrize("name", OPERATORS)
def test_operator_on_every_pair_of_types(name):
    torch, f = pytorch(), OPERATORS[name]
    for a, b, s, t in itertools.product(NAMES, NAMES, SHAPES, SHAPES):
        (x, x_), (y, y_) = _pair(torch, a, s), _pair(torch, b, t)
        _same(outcome(lambda: f(x, y)), outcome(lambda: f(x_, y_)), (name, a, s, b, t))


@pytest.mark.parametrize("name", OPERATORS)
def test_operator_with_numbers_on_both_sides(name):
    torch, f = pytorch(), OPERATORS[name]
    for a, s, number in itertools.product(NAMES, SHAPES, NUMBERS):
        x, x_ = _pair(torch, a, s)
        _same(outcome(lambda: f(x, number)), outcome(lambda: f(x_, number)), (name, a, s, number))
        _same(outcome(lambda: f(number, x)), outcome(lambda: f(number, x_)), (name, number, a, s))


@pytest.mark.parametrize("name", ("iadd", "isub", "imul", "itruediv", "ifloordiv", "iand", "ipow"))
def test_in_place_result_must_be_castable(name):
    torch, f = pytorch(), getattr(operator, name)
    for a, b, s in itertools.product(NAMES, NAMES, SHAPES):
        (x, x_), (y, y_) = _pair(torch, a, (2,)), _pair(torch, b, s)
        _same(outcome(lambda: f(x, y)), outcome(lambda: f(x_, y_)), (name, a, b, s))


@pytest.mark.parametrize(
    "name",
    (
        "maximum",
        "minimum",
        "atan2",
        "logical_and",
        "fmod",
        "hypot",
        "logaddexp",
        "xlogy",
        "true_divide",
        "floor_divide",
        "bitwise_and",
    ),
)
def test_functions_of_two(name):
    torch = pytorch()
    for a, b in itertools.product(NAMES, NAMES):
        if name in ("hypot", "logaddexp") and not {a, b} & {"float32", "float64"}:
            continue  # PyTorch has them for floats only, by kernel
        (x, x_), (y, y_) = _pair(torch, a, (2,)), _pair(torch, b, (2,))
        theirs = outcome(lambda: getattr(torch, name)(x_, y_))
        _same(outcome(lambda: getattr(lazygrad, name)(x, y)), theirs, (name, a, b))


def test_where_mixes_tensors_and_numbers():
    torch = pytorch()
    c, c_ = lazygrad.tensor([True, False]), torch.tensor([True, False])
    for a, b in itertools.product(NAMES, NAMES):
        (x, x_), (y, y_) = _pair(torch, a, (2,)), _pair(torch, b, ())
        _same(outcome(lambda: lazygrad.where(c, x, y)), outcome(lambda: torch.where(c_, x_, y_)), (a, b))
    for a, number in itertools.product(NAMES, NUMBERS):
        x, x_ = _pair(torch, a, (2,))
        _same(
            outcome(lambda: lazygrad.where(c, x, number)),
            outcome(lambda: torch.where(c_, x_, number)),
            (a, number),
        )
        _same(
            outcome(lambda: lazygrad.where(c, number, x)),
            outcome(lambda: torch.where(c_, number, x_)),
            (number, a),
        )
    _same(lazygrad.where(c, 1, 2.0), torch.where(c_, 1, 2.0), "numbers")


UNARY = (
    "exp",
    "sin",
    "sqrt",
    "neg",
    "abs",
    "sign",
    "floor",
    "round",
    "trunc",
    "reciprocal",
    "isnan",
    "logical_not",
    "bitwise_not",
    "square",
    "sigmoid",
    "tanh",
    "relu",
    "isfinite",
    "signbit",
    "log1p",
    "rsqrt",
    "erf",
    "sgn",
)


@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one(name):
    torch = pytorch()
    for a in NAMES:
        x, x_ = _pair(torch, a, (2,))
        theirs = outcome(lambda: getattr(torch, name)(x_))
        _same(outcome(lambda: getattr(lazygrad, name)(x)), theirs, (name, a))


REDUCTIONS = (
    "sum",
    "mean",
    "prod",
    "amax",
    "argmax",
    "any",
    "all",
    "var",
    "std",
    "logsumexp",
    "cumsum",
    "cumprod",
    "count_nonzero",
    "softmax",
    "norm",
)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name):
    torch = pytorch()
    needs_dim = name in ("logsumexp", "cumsum", "cumprod", "softmax")
    for a in NAMES:
        x, x_ = _pair(torch, a, (2, 3))
        args = (0,) if needs_dim else ()
        _same(outcome(lambda: getattr(x, name)(*args)), outcome(lambda: getattr(x_, name)(*args)), (name, a))


def test_numpy_scalars_and_arrays_on_the_left():
    w = lazygrad.tensor([1.0, 2.0])
    for number in (np.int64(3), np.float64(3), np.float32(3), 3):
        for f in (operator.add, operator.mul, operator.sub, operator.truediv):
            got = f(number, w)
            assert isinstance(got, lazygrad.Tensor)
            assert got.dtype == lazygrad.float32
            assert got.tolist() == [f(3, 1.0), f(3, 2.0)]
    assert sum([w, w, w]).tolist() == [3.0, 6.0]
    assert isinstance(np.ones(2, np.float32) * w, lazygrad.Tensor)


def test_default_dtype():
    torch = pytorch()
    for module in (lazygrad, torch):
        before = module.get_default_dtype()
        try:
            module.set_default_dtype(module.float64)
            assert module.tensor(1.5).dtype == module.float64
            assert (module.tensor([1, 2]) / 2).dtype == module.float64
            assert module.zeros(2).dtype == module.float64
        finally:
            module.set_default_dtype(before)


def test_bool_subtraction_names_the_cure():
    x = lazygrad.tensor([True])
    with pytest.raises(
        RuntimeError, match="Subtraction, the `-` operator, with two bool tensors is not supported"
    ):
        x - x
    with pytest.raises(RuntimeError, match="invert a mask"):
        1 - x
    with pytest.raises(RuntimeError, match="result type Float can't be cast to the desired output type Long"):
        lazygrad.tensor([1]).add_(0.5)
