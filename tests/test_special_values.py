"""Values and gradients at NaN, infinities, signed zeros and kinks beside PyTorch's: every activation, every
elementwise function of one tensor, powers, conversions to integers, divisions of 16-bit floats.

Where we differ on purpose:
- The sign of a zero is free: PyTorch's relu(-0.0) is -0.0, ours 0.0.
- `gelu(inf)` is inf; PyTorch's is NaN where it computes several float32 or bfloat16 at once.
- A NaN cotangent stays out of elements that `nan_to_num` replaces; PyTorch multiplies it by 0.
- `(-inf) ** -0.5` is NaN and so is its derivative, which PyTorch takes from the general power.
- `hardsigmoid` has the derivative 1 / 6 in float64; PyTorch's is the nearest float32.
- What PyTorch rounds away in float32 (sigmoid(-100), the derivative of sigmoid(20)) we keep.
- The quotient of two 16-bit floats is cut before it is rounded, as PyTorch does with one number as divisor;
  between two tensors PyTorch rounds it first, so that 1.5 / 0.3 is 5 and not 4.
- Floats outside the range of uint32 wrap from int64, as PyTorch converts single numbers; many at once it
  converts otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np
import pytest

import lazygrad
from lazygrad import dtypes
from lazygrad.dtypes import DType
from lazygrad.nn import functional
from lazygrad.nn.functional import activation
from lazygrad.ops import OPS

torch = pytest.importorskip("torch")

SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 0.25, 2.0, -2.0, 2.9, -2.9, 3.0, -3.0,
           5.5, 6.0, -6.0, 20.0, -20.0, 90.0, -90.0]
COTANGENTS = [0.0, 1.0, np.nan, -2.0]
X, G = (a.ravel() for a in np.meshgrid(SPECIAL, COTANGENTS, indexing="ij"))
TOLERANCE = {"float32": 4e-6, "float64": 1e-13}
Function = Callable[[Any, Any, Any], Any]  # of a library, its nn.functional and a tensor

OF_THE_LIBRARY = (
    "abs acos acosh asin asinh atan atanh ceil cos cosh deg2rad erf erfc exp exp2 expm1 floor frac log log10"
    " log1p log2 logit nan_to_num neg positive rad2deg reciprocal relu round rsqrt sigmoid sign sin sinc sinh"
    " sqrt square tan tanh trunc"
).split()
ACTIVATIONS = (
    "celu elu gelu hardshrink hardsigmoid hardswish hardtanh leaky_relu logsigmoid mish relu6 rrelu selu silu"
    " softplus softshrink softsign tanhshrink"
).split()
POWERS = [-2, -1, -0.5, 0, 0.5, 1, 2, 2.5, 3]


def _of_the_library(name: str) -> Function:
    return lambda library, f, x: getattr(library, name)(x)


def _activation(name: str) -> Function:
    return lambda library, f, x: getattr(f, name)(x)


def _power(exponent: float) -> Function:
    return lambda library, f, x: x**exponent


def _exponential(base: float) -> Function:
    return lambda library, f, x: base**x


FUNCTIONS: dict[str, Function] = {
    **{name: _of_the_library(name) for name in OF_THE_LIBRARY},
    **{name: _activation(name) for name in ACTIVATIONS},
    **{f"x ** {p}": _power(p) for p in POWERS},
    **{f"{b} ** x": _exponential(b) for b in (0.5, 2.0, -1.0)},
    "3 / x": lambda library, f, x: 3.0 / x,
    "celu(2)": lambda library, f, x: f.celu(x, 2.0),
    "clamp": lambda library, f, x: x.clamp(-1, 2),
    "clamp below": lambda library, f, x: x.clamp(min=0),
    "elu(2)": lambda library, f, x: f.elu(x, 2.0),
    "gelu tanh": lambda library, f, x: f.gelu(x, approximate="tanh"),
    "leaky_relu(-0.5)": lambda library, f, x: f.leaky_relu(x, -0.5),
    "logit(eps)": lambda library, f, x: library.logit(x, 1e-3),
    "prelu": lambda library, f, x: f.prelu(x, x[12:13].detach() + 0.25),  # X[12] is 0
    "round(1)": lambda library, f, x: x.round(decimals=1),
    "softplus(2, 10)": lambda library, f, x: f.softplus(x, 2.0, 10.0),
    "threshold": lambda library, f, x: f.threshold(x, 1.0, 7.0),
}
# inputs, or where it matters what the cotangent is, that the docstring above leaves out
ON_PURPOSE = {
    "gelu": X == np.inf,
    "nan_to_num": ~np.isfinite(X) & np.isnan(G),
    "x ** -0.5": X == -np.inf,
}


NOT_BY_ELEMENT = {"glu", "softmax", "softmin", "log_softmax", "softmax2d", "gumbel_softmax"}


def test_nothing_is_left_out() -> None:
    """Every row of the op table with one float operand, and every activation."""
    rows = {r.name for r in OPS.values() if r.kind == "elementwise" and r.arity == 1 and "float" in r.dtypes}
    assert rows - {"cast", "bitcast"} <= set(OF_THE_LIBRARY)
    published = {name for name, f in vars(activation).items() if f.__class__ is FunctionType
                 and f.__module__ == activation.__name__ and name.strip("_") == name}
    assert published - NOT_BY_ELEMENT == {name.partition("(")[0] for name in FUNCTIONS} & published


def values_of(function: Function, d: DType, device: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Values at X, and the gradient there of each with its cotangent."""
    x = lazygrad.tensor(X, dtype=d, device=device, requires_grad=True)
    y = function(lazygrad, functional, x)
    y.backward(lazygrad.tensor(G, dtype=d, device=device))
    return y.detach().double().numpy(), x.grad.double().numpy()


def values_in_torch(function: Function, d: DType) -> tuple[np.ndarray, np.ndarray]:
    x = torch.tensor(X, dtype=getattr(torch, d.name), requires_grad=True)
    y = function(torch, torch.nn.functional, x)
    y.backward(torch.tensor(G, dtype=x.dtype))
    return y.detach().double().numpy(), x.grad.double().numpy(force=True)


def check(name: str, what: str, d: DType, got: np.ndarray, want: np.ndarray) -> None:
    tolerance = 1e-7 if name == "hardsigmoid" else TOLERANCE[d.name]
    with np.errstate(invalid="ignore"):
        close = np.abs(got - want) <= tolerance * (1 + np.abs(want))
    same = (got == want) | (np.isnan(got) & np.isnan(want)) | close | ON_PURPOSE.get(name, False)
    assert same.all(), f"{d.name} {what} of {name}: " + ", ".join(
        f"at {X[i]} with cotangent {G[i]} {got[i]}, PyTorch {want[i]}" for i in np.flatnonzero(~same)[:5]
    )


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("d", [dtypes.float32, dtypes.float64], ids=lambda d: d.name)
def test_a_function_and_its_gradient(device: str, name: str, d: DType) -> None:
    """Every special value with every cotangent."""
    got, want = values_of(FUNCTIONS[name], d, device), values_in_torch(FUNCTIONS[name], d)
    check(name, "value", d, got[0], want[0])
    check(name, "gradient", d, got[1], want[1])


def test_all_activations_in_one_graph(compiling_device: str) -> None:
    """A device that compiles gives the same, for values and gradients together."""
    x = lazygrad.tensor(X, dtype=dtypes.float32, device=compiling_device, requires_grad=True)
    g = lazygrad.tensor(G, dtype=dtypes.float32, device=compiling_device)
    names = [*ACTIVATIONS, "gelu tanh", "sigmoid", "tanh", "logit", "sinc", "clamp", "x ** -2"]
    ours = []
    for name in names:
        y = FUNCTIONS[name](lazygrad, functional, x)
        ours += [y, *lazygrad.autograd.grad(y, x, g)]
    together = lazygrad.stack(ours).detach().double().numpy()
    for i, name in enumerate(names):
        value, gradient = values_in_torch(FUNCTIONS[name], dtypes.float32)
        check(name, "value", dtypes.float32, together[2 * i], value)
        check(name, "gradient", dtypes.float32, together[2 * i + 1], gradient)


FAR = [np.nan, np.inf, -np.inf, 2.0**31, -(2.0**31), 2.0**31 + 300, -(2.0**31) - 300, 2.0**32, 2.0**32 + 5e3,
       -(2.0**32), 3e9, -3e9, 2.0**40 + 2**20, -(2.0**40), 2.0**63, -(2.0**63), 1.8e19, 2.0**64, 1e30, -1e30,
       300.7, -300.7, 40000.0, -40000.0, 70000.0, -70000.0, 65519.0, -1.0, -0.5, 128.0, -129.0, 255.0, 256.0]


@pytest.mark.parametrize("d", dtypes.FLOATS, ids=lambda d: d.name)
def test_conversions_to_integers(compiling_device: str, d: DType) -> None:
    """NaN, infinities and what is out of range become what PyTorch makes of single numbers."""
    given = torch.tensor(FAR, dtype=getattr(torch, d.name))
    exact = given.double().numpy()
    for where in ("NUMPY", compiling_device):
        x = lazygrad.tensor(exact, dtype=d, device=where)
        for t in (t for t in dtypes.ALL if t.is_integer):
            want = [v.to(getattr(torch, t.name)).item() for v in given]
            assert x.to(t).tolist() == want, (where, t)


@pytest.mark.parametrize("d", [dtypes.float16, dtypes.bfloat16], ids=lambda d: d.name)
def test_divisions_of_16_bit_floats(compiling_device: str, d: DType) -> None:
    """Remainders equal PyTorch's bit for bit; quotients do too: with one number as divisor they are cut and
    rounded once, with two tensors rounded and then cut."""
    rng = np.random.default_rng(5)
    plain = [0.0, -0.0, 1.0, -1.0, 0.5, 1.5, -2.5, 3.0, -7.25, 88.0, 300.0, np.nan, np.inf, -np.inf]
    x, y = (a.ravel() for a in np.meshgrid(plain, plain, indexing="ij"))
    x = np.concatenate([x, rng.normal(0, 100, 900), np.round(rng.normal(0, 100, 300))])
    y = np.concatenate([y, rng.normal(0, 3, 900), np.round(rng.normal(0, 10, 300))])
    a, b = (torch.tensor(v, dtype=torch.float32).to(getattr(torch, d.name)) for v in (x, y))
    def results(library: Any, p: Any, q: Any) -> list[Any]:
        by_number = [p.div(n, rounding_mode=mode) for n in (3.0, -7.0, 0.5) for mode in ("trunc", "floor")]
        return [p.remainder(q), p.fmod(q), *by_number]

    want = torch.stack([*results(torch, a, b), a.div(b, rounding_mode="trunc")]).float().numpy()
    for where in ("NUMPY", compiling_device):
        p, q = (lazygrad.tensor(t.float().numpy(), dtype=d, device=where) for t in (a, b))
        got = lazygrad.stack([*results(lazygrad, p, q), p.div(q, rounding_mode="trunc")])
        np.testing.assert_array_equal(got.float().numpy(), want)


@pytest.mark.parametrize("name", ["softplus", "mish", "logsigmoid", "sigmoid", "silu"])
def test_no_activation_overflows_float16(device: str, name: str) -> None:
    x = np.array([8.0, 11.0, 12.0, 15.0, 19.5, 20.0, 21.0, 500.0])
    x = np.concatenate([x, -x])
    theirs = torch.tensor(x, dtype=torch.float16, requires_grad=True)
    want = FUNCTIONS[name](torch, torch.nn.functional, theirs)
    want.sum().backward()
    ours = lazygrad.tensor(x, dtype=dtypes.float16, device=device, requires_grad=True)
    got = FUNCTIONS[name](lazygrad, functional, ours)
    got.sum().backward()
    for mine, other in ((got, want), (ours.grad, theirs.grad)):
        np.testing.assert_allclose(mine.detach().float().numpy(), other.detach().float().numpy(), 2e-3, 2e-4)


def test_xlog1py_with_a_number_keeps_the_type(device: str) -> None:
    x = [0.0, 1.0, 3.0, float("inf"), float("nan")]
    for name in ("bfloat16", "float16", "float64"):
        ours, theirs = (T.tensor(x, dtype=getattr(T, name)) for T in (lazygrad, torch))
        ours = ours.to(device)
        for call in (lambda T, v: T.special.xlog1py(v, 3.6875), lambda T, v: T.special.xlog1py(2.0, v)):
            found, want = call(lazygrad, ours), call(torch, theirs)
            assert found.dtype is getattr(lazygrad, name)
            np.testing.assert_allclose(found.double().numpy(), want.double().numpy(), rtol=1e-2)
