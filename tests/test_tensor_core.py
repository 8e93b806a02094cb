"""Tensors beside PyTorch: creation, values, elementwise functions on special values, reductions, printing,
errors."""

# ruff: noqa: B023 (every lambda runs where it stands)
from __future__ import annotations

import copy
import gc
import math
import pickle
import weakref

import numpy as np
import pytest
from torch_support import both, check, outcome, pytorch

import lazygrad

SPECIAL = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -2.5,
    1.5,
    2.5,
    math.inf,
    -math.inf,
    math.nan,
    1e-30,
    88.0,
    -104.0,
    3.7,
    -0.3,
]
INTEGERS = [0, 1, -1, 5, -7, 100, -128, 127]
UNARY = (
    "exp",
    "log",
    "sqrt",
    "rsqrt",
    "sin",
    "cos",
    "tan",
    "tanh",
    "sigmoid",
    "abs",
    "neg",
    "sign",
    "floor",
    "ceil",
    "round",
    "trunc",
    "frac",
    "reciprocal",
    "square",
    "isnan",
    "isinf",
    "isfinite",
    "signbit",
    "relu",
    "expm1",
    "log1p",
    "log2",
    "log10",
    "exp2",
    "erf",
    "erfc",
    "asin",
    "acos",
    "atan",
    "sinh",
    "cosh",
    "asinh",
    "acosh",
    "atanh",
    "logit",
    "deg2rad",
    "rad2deg",
    "sgn",
    "isposinf",
    "isneginf",
    "nan_to_num",
    "logical_not",
    "sinc",
)
BINARY = (
    "add",
    "sub",
    "mul",
    "div",
    "floor_divide",
    "remainder",
    "fmod",
    "pow",
    "maximum",
    "minimum",
    "fmax",
    "fmin",
    "atan2",
    "hypot",
    "logaddexp",
    "logaddexp2",
    "xlogy",
    "copysign",
    "heaviside",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "logical_and",
    "logical_or",
    "logical_xor",
)


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("dtype", ("float32", "float64", "int64", "int8", "bool"))
def test_functions_of_one_on_special_values(name, dtype):
    torch = pytorch()
    x, y = both(SPECIAL if "float" in dtype else INTEGERS, dtype=dtype)
    theirs = outcome(lambda: getattr(torch, name)(y))
    if isinstance(theirs, Exception):
        assert "not implemented for" in str(theirs) or isinstance(
            outcome(lambda: getattr(lazygrad, name)(x)), Exception
        )
        return
    check(getattr(lazygrad, name)(x), theirs, 1e-5, 1e-30)
    check(getattr(x, name)(), theirs, 1e-5, 1e-30)


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("dtype", ("float32", "int64", "uint8"))
def test_functions_of_two_on_special_values(name, dtype):
    torch = pytorch()
    numbers = SPECIAL if dtype == "float32" else [n for n in INTEGERS if dtype != "uint8" or n >= 0]
    (x, x_), (y, y_) = both([[n] for n in numbers], dtype=dtype), both(numbers, dtype=dtype)
    if dtype != "float32" and name in ("floor_divide", "remainder", "fmod"):
        y, y_ = (
            y.masked_fill(y == 0, 3),
            y_.masked_fill(y_ == 0, 3),
        )  # PyTorch raises for a zero among integers
    if dtype != "float32" and name == "pow":
        y, y_ = y.abs() % 5, y_.abs() % 5
    theirs = outcome(lambda: getattr(torch, name)(x_, y_))
    if isinstance(theirs, Exception):
        assert "not implemented for" in str(theirs) or "expects" in str(theirs)
        return
    check(getattr(lazygrad, name)(x, y), theirs, 2e-5, 1e-7 if name == "logaddexp2" else 1e-30)


REDUCTIONS = (
    "sum",
    "mean",
    "prod",
    "amax",
    "amin",
    "argmax",
    "argmin",
    "any",
    "all",
    "var",
    "std",
    "logsumexp",
    "norm",
    "count_nonzero",
    "nansum",
    "max",
    "min",
    "var_mean",
    "std_mean",
    "cumsum",
    "cumprod",
    "cummax",
    "cummin",
    "softmax",
    "log_softmax",
    "logcumsumexp",
    "aminmax",
    "nanmean",
    "diff",
)
NO_KEEPDIM = (
    "count_nonzero",
    "cumsum",
    "cumprod",
    "cummax",
    "cummin",
    "softmax",
    "log_softmax",
    "logcumsumexp",
    "diff",
)


def _reduce(module, name, x, dim, keepdim):
    options = {} if keepdim is None or name in NO_KEEPDIM else {"keepdim": keepdim}
    if dim is not None:
        options["dim"] = dim
    got = getattr(module, name)(x, **options)
    return tuple(got) if isinstance(got, tuple) else got


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name):
    torch = pytorch()
    rng = np.random.default_rng(1)
    cases = [
        rng.standard_normal((3, 4)).astype(np.float32),
        rng.integers(0, 3, (2, 3, 4)),
        np.float32(2.5),
        np.array([1.0, np.nan, 3.0], np.float32),
        np.array([[1, 1], [0, 1]], bool),
        np.zeros((2, 0), np.float32),
        np.array([[2.0, 2.0, -np.inf], [np.inf, 1.0, 1.0]], np.float64),
        rng.standard_normal((1, 5, 1)).astype(np.float32),
    ]
    if name in ("var_mean", "std_mean"):
        del cases[6]  # PyTorch's running mean of infinities is NaN there
    for array in cases:
        x, y = lazygrad.tensor(array), torch.tensor(array)
        for dim in (None, 0, -1, 1, (0, 1)):
            for keepdim in (None, True):
                if keepdim and dim is None:
                    continue
                theirs = outcome(lambda: _reduce(torch, name, y, dim, keepdim))
                ours = outcome(lambda: _reduce(lazygrad, name, x, dim, keepdim))
                if isinstance(theirs, Exception):
                    kernel = "not implemented for" in str(theirs)
                    assert kernel or isinstance(ours, Exception), (name, array, dim, ours, theirs)
                else:
                    assert not isinstance(ours, Exception), (name, array, dim, ours, theirs)
                    check(ours, theirs, 1e-4, 1e-5)


CREATION = {
    "zeros": lambda m: m.zeros(2, 3),
    "ones": lambda m: m.ones((2, 1), dtype=m.int32),
    "full": lambda m: m.full((2,), 3),
    "full float": lambda m: m.full((2, 2), 2.5),
    "arange": lambda m: m.arange(5),
    "arange step": lambda m: m.arange(1, 2, 0.3),
    "arange down": lambda m: m.arange(5, 0, -2),
    "arange float": lambda m: m.arange(3.0),
    "linspace": lambda m: m.linspace(0, 1, 7),
    "linspace one": lambda m: m.linspace(2, 5, 1),
    "logspace": lambda m: m.logspace(0, 2, 3),
    "eye": lambda m: m.eye(3, 4),
    "nested": lambda m: m.tensor([[1, 2], [3, 4]]),
    "mixed": lambda m: m.tensor([1, 2.5, True]),
    "bools": lambda m: m.tensor([True]),
    "empty list": lambda m: m.tensor([]),
    "of tensors": lambda m: m.tensor([m.tensor(1), m.tensor(2)]),
    "numpy": lambda m: m.tensor(np.arange(3, dtype=np.int16)),
    "typed": lambda m: m.tensor([1.7, -1.7], dtype=m.int64),
    "zeros_like": lambda m: m.zeros_like(m.ones(2, dtype=m.float64)),
    "full_like": lambda m: m.full_like(m.ones(2), 3),
    "new_zeros": lambda m: m.ones(2, dtype=m.int8).new_zeros(3),
    "new_tensor": lambda m: m.ones(2).new_tensor([1, 2]),
    "Tensor": lambda m: m.Tensor([1, 2]),
    "Tensor shape": lambda m: m.Tensor(2, 3).fill_(1),
    "scalar": lambda m: m.tensor(3),
    "half": lambda m: m.tensor([1.1, 2.2], dtype=m.float16),
    "bfloat16": lambda m: m.tensor([1.1, 2.2], dtype=m.bfloat16),
    "as_tensor": lambda m: m.as_tensor([1, 2]),
    "from_numpy": lambda m: m.from_numpy(np.ones(3)),
    "range": lambda m: m.arange(0, 1, 0.1, dtype=m.float64),
    "large": lambda m: m.tensor(2**62),
}


@pytest.mark.parametrize("name", CREATION)
def test_creation(name):
    check(CREATION[name](lazygrad), CREATION[name](pytorch()), 1e-6)


def test_the_class_shows_a_tensor_as_it_is():
    x = lazygrad.ones(2, 3, dtype=lazygrad.float64, requires_grad=True)
    y = lazygrad.Tensor(x)
    assert y.dtype is x.dtype and y.grad_fn.name() == "AliasBackward0"
    (y * 3).sum().backward()
    assert x.grad.tolist() == [[3.0] * 3] * 2
    whole = lazygrad.tensor([1, 2])
    lazygrad.Tensor(whole)[0] = 5
    assert whole.tolist() == [5, 2]


def test_what_the_class_refuses():
    """As PyTorch does, in the same words."""
    for m in (lazygrad, pytorch()):
        with pytest.raises(RuntimeError, match=r"Tensor\(tensor, device=device\) is not supported"):
            m.Tensor(m.ones(2), device="cpu")
        for value in (1.5, None, True, {1: 2}):
            with pytest.raises(TypeError, match=f"data must be a sequence .got {type(value).__name__}"):
                m.Tensor(value)


CONVERSIONS = ("float", "double", "half", "bfloat16", "long", "int", "short", "char", "byte", "bool")


@pytest.mark.parametrize("name", CONVERSIONS)
def test_conversions(name):
    for dtype in ("float32", "int64", "bool", "uint8", "float16"):
        x, y = both([0, 1, 2, 100], dtype=dtype)
        check(getattr(x, name)(), getattr(y, name)())
        assert x.type() == y.type()
    assert lazygrad.ones(2).type("torch.LongTensor").dtype == lazygrad.int64
    x = lazygrad.ones(2)
    assert x.to(lazygrad.float32) is x
    assert x.to(x.device) is x
    assert x.to(x.long()).dtype == lazygrad.int64


def test_reading_values():
    x = lazygrad.tensor([[1.5, 2.0], [3.0, 4.0]])
    assert x.tolist() == [[1.5, 2.0], [3.0, 4.0]]
    assert len(x) == 2
    assert [row.tolist() for row in x] == [[1.5, 2.0], [3.0, 4.0]]
    assert 3.0 in x
    assert f"{x[0, 0]:.3f}" == "1.500"
    assert float(x[0, 0]) == 1.5
    assert int(x[1, 0]) == 3
    assert [10, 20, 30][lazygrad.tensor(1)] == 20
    assert bool(lazygrad.tensor([0.0])) is False
    assert np.asarray(x).dtype == np.float32
    assert np.exp(lazygrad.zeros(2)).tolist() == [1, 1]
    assert x.size() == (2, 2)
    assert x.size(-1) == 2
    assert x.shape.numel() == x.numel() == x.nelement() == 4
    assert {x: 1}[x] == 1
    assert x.sum().item() == 10.5
    values = x.numpy()
    values[:] = 0
    assert x.sum().item() == 0.0  # it is the memory of the tensor


def test_errors_of_reading():
    x = lazygrad.ones(2)
    for read, kind in (
        (lambda: x.item(), RuntimeError),
        (lambda: bool(x), RuntimeError),
        (lambda: float(x), RuntimeError),
        (lambda: len(lazygrad.tensor(1)), TypeError),
        (lambda: iter(lazygrad.tensor(1)), TypeError),
        (lambda: [1][x], TypeError),
        (lambda: lazygrad.ones(1).bfloat16().numpy(), TypeError),
    ):
        with pytest.raises(kind, match=r"^\["):
            read()


ERRORS = {
    "shapes": (lambda m: m.ones(2, 3) + m.ones(4), RuntimeError),
    "mean of integers": (lambda m: m.arange(3).mean(), RuntimeError),
    "bad axis": (lambda m: m.ones(2, 3).sum(2), IndexError),
    "axis twice": (lambda m: m.ones(2, 3).sum((0, 0)), RuntimeError),
    "max of nothing": (lambda m: m.ones(0).max(), RuntimeError),
    "argmax of nothing": (lambda m: m.ones(2, 0).argmax(1), IndexError),
    "ragged": (lambda m: m.tensor([[1, 2], [3]]), ValueError),
    "object": (lambda m: m.tensor(object()), RuntimeError),
    "negative size": (lambda m: m.zeros(-1), RuntimeError),
    "integer by zero": (lambda m: m.tensor([1]) // 0, RuntimeError),
    "clamp": (lambda m: m.ones(2).clamp(), ValueError),
    "string operand": (lambda m: m.ones(2) + "a", TypeError),
    "rounding mode": (lambda m: m.div(m.ones(2), 2, rounding_mode="up"), RuntimeError),
    "negative power": (lambda m: m.tensor([2]) ** -1, RuntimeError),
    "broadcast in place": (lambda m: m.ones(2).add_(m.ones(3, 2)), RuntimeError),
    "item": (lambda m: m.ones(2).item(), RuntimeError),
    "softmax of integers": (lambda m: m.arange(3).softmax(0), RuntimeError),
    "squeeze": (lambda m: m.ones(2).squeeze(3), IndexError),
    "chunk": (lambda m: m.ones(2).chunk(0), RuntimeError),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    run, _ = ERRORS[name]
    theirs, ours = outcome(lambda: run(pytorch())), outcome(lambda: run(lazygrad))
    assert isinstance(theirs, Exception)
    assert isinstance(ours, Exception), name
    if type(theirs) in (RuntimeError, IndexError, ValueError) and name not in (
        "clamp",
        "object",
        "rounding mode",
    ):
        assert isinstance(ours, type(theirs)), (type(ours), type(theirs))


def test_messages_show_both_sides():
    with pytest.raises(
        RuntimeError,
        match=r"\[add\] \(2, 3\) with \(4,\): The size of tensor a \(3\) must "
        r"match",
    ):
        lazygrad.ones(2, 3) + lazygrad.ones(4)
    with pytest.raises(RuntimeError, match=r"\[device\] unknown device 'tpu': there are cpu, cl"):
        lazygrad.ones(2).to("tpu")


PRINTED = [
    np.array(3.5, "f"),
    np.array(7),
    np.zeros((2, 0), "f"),
    np.array([1.0, np.nan, np.inf], "f"),
    np.arange(10),
    np.array([True, False]),
    np.array([1e-9, 1.0], "f"),
    np.arange(2000.0).astype("f").reshape(2, 1000),
    np.zeros(0, "i8"),
    np.array([1e10, 2.0], "f"),
    np.random.default_rng(0).standard_normal((3, 4)),
    np.arange(6, dtype="i4"),
    np.random.default_rng(0).standard_normal((30, 40, 2)).astype("f") * 1000,
    np.array([0.0, -0.0, np.nan], "f"),
]


@pytest.mark.parametrize("array", PRINTED, ids=lambda a: f"{a.dtype}{list(a.shape)}")
def test_printing(array):
    assert repr(lazygrad.tensor(array)).replace("lazygrad.", "torch.") == repr(pytorch().tensor(array))


def test_printing_of_gradients_and_devices():
    assert repr(lazygrad.ones(2, requires_grad=True)) == "tensor([1., 1.], requires_grad=True)"
    assert repr(lazygrad.device("cl:1")) == "device(type='cl', index=1)"
    assert lazygrad.device("CPU") == "cpu"
    assert repr(lazygrad.ones(2, 3).shape) == "lazygrad.Size([2, 3])"


def test_copies_and_pickles():
    x = lazygrad.tensor([1.0, 2.0], requires_grad=True)
    x.note = "kept"
    (x * 2).sum().backward()
    for twin in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert twin.tolist() == [1, 2]
        assert twin.requires_grad
        assert twin.is_leaf
        assert twin.note == "kept"
        with lazygrad.no_grad():
            twin += 1
        assert x.tolist() == [1, 2]
    assert copy.deepcopy(x).grad.tolist() == [2, 2]


def test_devices_mix_only_in_numbers():
    x, y = lazygrad.ones(2, device="numpy"), lazygrad.ones(2, device="cpu")
    assert str(x.device) == "numpy"
    with pytest.raises(
        RuntimeError, match="Expected all tensors to be on the same device, but found at least two devices"
    ):
        x + y
    assert (x + lazygrad.tensor(2.0)).tolist() == [3, 3]
    assert (x + lazygrad.ones(3, device="cpu").sum()).tolist() == [4, 4]
    moved = (x * 3).to("cpu") + y
    assert moved.device == lazygrad.device("cpu")
    assert moved.tolist() == [4, 4]
    w = lazygrad.ones(2, device="numpy", requires_grad=True)
    (w * 2).to("cpu").mul(y).sum().backward()
    assert w.grad.device == "numpy"
    assert w.grad.tolist() == [2, 2]


def test_closeness_and_equality():
    x, y = both([1.0, float("nan"), float("inf"), 2.0])
    torch = pytorch()
    check(lazygrad.isclose(x, x + 1e-9, equal_nan=True), torch.isclose(y, y + 1e-9, equal_nan=True))
    check(lazygrad.isclose(x, x), torch.isclose(y, y))
    assert lazygrad.equal(lazygrad.ones(2), lazygrad.ones(2))
    assert not lazygrad.equal(lazygrad.ones(2), lazygrad.ones(3))
    assert lazygrad.allclose(lazygrad.ones(2), lazygrad.ones(2) + 1e-9)


def test_integer_arithmetic_wraps():
    for name in ("int8", "uint8", "int32", "int64"):
        top = getattr(lazygrad, name).max
        x, y = both([top, 1], dtype=name)
        check(x + 1, y + 1)
        check(x * 3, y * 3)
        check(x.sum(), y.sum())


def test_scalars_are_data_and_lists_are_uploaded_once():
    x = lazygrad.tensor(2.0)
    assert x.cell.node.op.name == "scalar"
    assert (x + 1).item() == 3
    assert lazygrad.tensor([1.0]).cell.node.op.name == "buffer"


def test_a_realized_tensor_keeps_nothing_of_its_graph():
    x = lazygrad.ones(4).realize()
    y = (x * 3).exp()
    node, memory = weakref.ref(y.cell.node), weakref.ref(x.cell.node)
    y.realize()
    del x
    gc.collect()
    assert node() is None and memory() is None
