"""Functions of every float16 and every bfloat16 value, against float64, and numbers beside them as PyTorch.

Functions are computed in float32 and rounded once, so that little more than half a unit in the last place is
lost.
"""

import operator

import numpy as np
import pytest
from test_vector_math import LIBRARY

import lazygrad
from lazygrad.dtypes import bfloat16, float16
from lazygrad.nn import functional
from lazygrad.ops import OPS

FUNCTIONS = [
    name
    for name, row in OPS.items()
    if row.kind == "elementwise" and row.arity == 1 and name not in ("cast", "bitcast", "bitnot")
]
FORMATS = {
    float16: (10, -14),
    bfloat16: (7, -126),
}  # digits of the mantissa, least exponent of normal numbers
EVERY_VALUE = np.arange(1 << 16, dtype=np.uint16)


def exact(name: str, x: np.ndarray) -> np.ndarray:
    """In float64."""
    if name in ("erf", "erfc"):
        wide = lazygrad.tensor(x)
        with np.errstate(all="ignore"):
            return getattr(lazygrad, name)(wide).numpy()
    with np.errstate(all="ignore"):
        own = {
            "neg": np.negative,
            "rsqrt": lambda x: 1 / np.sqrt(x),
            "sign": lambda x: np.where(np.isnan(x), 0.0, np.sign(x)),
        }
        return (own.get(name) or getattr(np, LIBRARY.get(name, name)))(x)


def units_off(got: np.ndarray, expected: np.ndarray, digits: int, least: int) -> np.ndarray:
    """Errors in units in the last place of a format; infinite where NaN, infinity or the sign is wrong."""
    with np.errstate(all="ignore"):
        _, exponent = np.frexp(expected)
        error = np.abs(got - expected) / 2.0 ** (np.maximum(exponent - 1, least) - digits)
    largest = 2.0 ** (1 - least) * (2 - 2.0**-digits)
    overflow = np.isinf(got) & (np.abs(expected) >= largest * (1 + 2.0 ** -(digits + 2)))
    same = (np.isnan(got) & np.isnan(expected)) | overflow | (got == expected)
    error = np.where(same, 0, np.where(np.isfinite(got) & np.isfinite(expected), error, np.inf))
    return np.where((np.signbit(got) != np.signbit(expected)) & ~np.isnan(expected), np.inf, error)


@pytest.mark.parametrize("dtype", FORMATS, ids=lambda d: d.name)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_value(name, dtype, compiling_device):
    x = lazygrad.tensor(EVERY_VALUE.view(np.int16), device=compiling_device).view(dtype)
    got = getattr(lazygrad, name)(x).to(lazygrad.float64).numpy()
    values = x.to(lazygrad.float64).numpy()
    expected = exact(name, values)
    error = units_off(got, expected, *FORMATS[dtype])
    k = int(np.argmax(error))
    assert error[k] <= 0.501, f"{name}({values[k]!r}) = {got[k]!r}, not {expected[k]!r}: {error[k]} ulp"


COMPOSITIONS = {
    "sigmoid": lazygrad.sigmoid,
    "logit": lazygrad.logit,
    "sinc": lazygrad.sinc,
    "deg2rad": lazygrad.deg2rad,
    "hypot": lambda x: lazygrad.hypot(x, x.flip(0)),
    "logaddexp": lambda x: lazygrad.logaddexp(x, x.flip(0)),
    "lerp": lambda x: lazygrad.lerp(x, x.flip(0), 0.3),
    "addcmul": lambda x: lazygrad.addcmul(x, x, x.flip(0), value=1 / 3),
    "addcdiv": lambda x: lazygrad.addcdiv(x, x, x.flip(0), value=1 / 3),
    "norm": lambda x: x.reshape(-1, 2).norm(2, 1),
    "std": lambda x: x.reshape(-1, 2).std(1),
    "gelu of tanh": lambda x: functional.gelu(x, "tanh"),
    "softplus": lambda x: functional.softplus(x, 0.7),
    "elu": lambda x: functional.elu(x, 0.7),
    "celu": lambda x: functional.celu(x, 0.7),
    "leaky_relu": lambda x: functional.leaky_relu(x, 0.3),
    "glu": lambda x: functional.glu(x, 0),
    "huber_loss": lambda x: functional.huber_loss(x, x.flip(0), reduction="none", delta=0.7),
    "smooth_l1_loss": lambda x: functional.smooth_l1_loss(x, x.flip(0), reduction="none"),
}
COMPOSITIONS |= {
    name: getattr(functional, name)
    for name in ("gelu", "silu", "mish", "selu", "logsigmoid", "hardsigmoid", "hardswish")
}


@pytest.mark.parametrize("dtype", FORMATS, ids=lambda d: d.name)
@pytest.mark.parametrize("name", COMPOSITIONS)
def test_compositions_round_once(name, dtype, device):
    """Beside float64. Where float32 cancels, in tails, what is left of it has an absolute error alone."""
    x = lazygrad.tensor(EVERY_VALUE.view(np.int16), device=device).view(dtype)
    x = x[x.abs() < 200]  # beyond, squares and exponentials of two formats overflow apart
    got = COMPOSITIONS[name](x).to(lazygrad.float64).numpy()
    expected = COMPOSITIONS[name](x.to(lazygrad.float64)).numpy()
    error = units_off(got, expected, *FORMATS[dtype])
    with np.errstate(invalid="ignore"):
        error[np.abs(got - expected) < 2e-6] = 0
    k = int(np.argmax(error))
    assert error[k] <= 0.51, f"{name} at {k}: {got[k]!r}, not {expected[k]!r}: {error[k]} ulp"


# (sizes of the inputs, call): what is added to a sum of products is added before it is rounded
SUMS = {
    "linear": (((9, 20), (7, 20), (7,)), functional.linear),
    "addmm": (((9, 7), (9, 20), (20, 7)), lazygrad.addmm),
    "addmm alpha": (((7,), (9, 20), (20, 7)), lambda *x: lazygrad.addmm(*x, alpha=1 / 3, beta=0.7)),
    "addmv": (((9,), (9, 20), (20,)), lazygrad.addmv),
    "baddbmm": (((2, 1, 7), (2, 9, 20), (2, 20, 7)), lazygrad.baddbmm),
    "addbmm": (((9, 7), (2, 9, 20), (2, 20, 7)), lazygrad.addbmm),
    "conv1d": (((2, 3, 20), (4, 3, 5), (4,)), functional.conv1d),
    "conv2d": (((2, 3, 8, 9), (4, 3, 3, 3), (4,)), functional.conv2d),
    "conv_transpose2d": (((2, 3, 5, 4), (3, 4, 2, 2), (4,)), functional.conv_transpose2d),
}


@pytest.mark.parametrize("dtype", FORMATS, ids=lambda d: d.name)
@pytest.mark.parametrize("name", SUMS)
def test_sums_of_products_round_once(name, dtype, device):
    """Beside float64; the sums in float32 have an absolute error of their own."""
    sizes, call = SUMS[name]
    rng = np.random.default_rng(0)
    inputs = [lazygrad.tensor(rng.standard_normal(s), device=device).to(dtype) for s in sizes]
    got = call(*inputs).to(lazygrad.float64).numpy()
    expected = call(*(x.to(lazygrad.float64) for x in inputs)).numpy()
    error = units_off(got, expected, *FORMATS[dtype])
    error[np.abs(got - expected) < 2e-6] = 0
    assert error.max() <= 0.51
    other = [*inputs[:2], inputs[2].to(lazygrad.float64)]
    with pytest.raises(RuntimeError):
        call(*other)


THIRD = 1 / 3
# a product or quotient takes the number as it is, all others round it to the tensor's type first
WITH_NUMBERS = {
    "x * number": lambda m, x: x * THIRD,
    "number * x": lambda m, x: THIRD * x,
    "x / number": lambda m, x: x / THIRD,
    "number / x": lambda m, x: THIRD / x,
    "1 / x": lambda m, x: 1 / x,
    "x + number": lambda m, x: x + THIRD,
    "x - number": lambda m, x: x - THIRD,
    "number - x": lambda m, x: THIRD - x,
    "x * integer": lambda m, x: x * 6147,
    "x * scalar": lambda m, x: x * m.tensor(THIRD, device=x.device),
    "scalar * x": lambda m, x: m.tensor(THIRD, device=x.device) * x,
    "x / scalar": lambda m, x: x / m.tensor(THIRD, device=x.device),
    "scalar / x": lambda m, x: m.tensor(THIRD, device=x.device) / x,
    "x * float64": lambda m, x: x * m.tensor(THIRD, dtype=m.float64, device=x.device),
    "x.mul_": lambda m, x: x.clone().mul_(THIRD),
    "x.div_": lambda m, x: x.clone().div_(THIRD),
    "x /= number": lambda m, x: operator.itruediv(x.clone(), THIRD),
    "add alpha": lambda m, x: m.add(x, x.flip(0), alpha=THIRD),
    "sub alpha": lambda m, x: m.sub(x, x.flip(0), alpha=THIRD),
    "add alpha to a number": lambda m, x: m.add(x, 1, alpha=THIRD),
    "add_ alpha": lambda m, x: x.clone().add_(x.flip(0), alpha=-0.01),
    "truncated": lambda m, x: m.div(x, THIRD, rounding_mode="trunc"),
    "x % number": lambda m, x: x % THIRD,
}
WITH_NUMBERS |= {
    compare.__name__: lambda m, x, compare=compare: compare(x, THIRD)
    for compare in (operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne)
}


@pytest.mark.parametrize("dtype", FORMATS, ids=lambda d: d.name)
@pytest.mark.parametrize("name", WITH_NUMBERS)
def test_numbers_keep_the_digits_that_pytorch_keeps(name, dtype, device):
    torch = pytest.importorskip("torch")
    theirs = torch.tensor(EVERY_VALUE.view(np.int16)).view(getattr(torch, dtype.name))
    theirs = theirs[theirs.abs() < 1e4]
    ours = lazygrad.tensor(EVERY_VALUE.view(np.int16), device=device).view(dtype)
    ours = ours[ours.abs() < 1e4]
    got, want = WITH_NUMBERS[name](lazygrad, ours), WITH_NUMBERS[name](torch, theirs)
    assert got.dtype.name == str(want.dtype).removeprefix("torch.")
    np.testing.assert_array_equal(got.double().numpy(), want.double().numpy())


@pytest.mark.parametrize("name", ["x * number", "x / number", "number / x", "add alpha"])
def test_gradients_beside_numbers(name):
    torch = pytest.importorskip("torch")
    values = np.linspace(-3, 3, 100)
    grads = []
    for m in (lazygrad, torch):
        x = m.tensor(values).to(m.float16).requires_grad_()
        WITH_NUMBERS[name](m, x).sum().backward()
        grads.append(x.grad.double().numpy())
    np.testing.assert_allclose(*grads, rtol=2e-3)
