"""Special functions, statistics, integers and windows, against PyTorch: values, gradients, types, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch_support import check, outcome, pytorch

import lazygrad
from lazygrad.errors import LazygradError

RNG = np.random.default_rng(11)
REALS = np.concatenate([RNG.uniform(0.01, 30, 200), RNG.uniform(-9, 0, 100), 10.0 ** RNG.uniform(-5, 20, 50),
                        [1, 2, 0, -0.0, -1, -2, np.inf, np.nan, 0.5, -0.5]])
UNIT = np.concatenate([RNG.uniform(0, 1, 300), 10.0 ** -RNG.uniform(0, 30, 100), [0, 1, 2, -1, 0.5, np.nan]])
ONES = np.concatenate([RNG.uniform(-1, 1, 300), [0, -0.0, 1, -1, 2, -3, np.nan, 1 - 1e-9, 1e-12]])
M, N = RNG.standard_normal((4, 5)), RNG.standard_normal((4, 5))
COUNTS, OTHERS = RNG.integers(-40, 40, (6, 7)), RNG.integers(-40, 40, (6, 7))
# every pair of ends: ties, signed zeros, infinities, NaN
ENDS = tuple(v.ravel() for v in np.meshgrid(*[[0, -0.0, 1, -1, 2.5, np.inf, -np.inf, np.nan]] * 2))

# name -> (call of (module, *tensors), arrays): values, types and gradients are compared
FLOATS: dict[str, tuple[Any, tuple[np.ndarray, ...]]] = {
    "lgamma": (lambda T, x: T.lgamma(x), (REALS,)),
    "digamma": (lambda T, x: T.digamma(x), (REALS[(REALS > -2.5) & (REALS != np.floor(REALS))],)),
    "polygamma 0": (lambda T, x: T.polygamma(0, x), (REALS[:200],)),
    "polygamma 1": (lambda T, x: T.polygamma(1, x), (REALS[:200],)),
    "polygamma 3": (lambda T, x: x.polygamma(3), (REALS[:200],)),
    "mvlgamma": (lambda T, x: T.mvlgamma(x + 2, 3), (REALS[:200],)),
    "erfinv": (lambda T, x: x.erfinv(), (ONES,)),
    "erfinv_": (lambda T, x: x.clone().erfinv_(), (ONES,)),
    "ndtri": (lambda T, x: T.special.ndtri(x), (UNIT,)),
    "ndtr": (lambda T, x: T.special.ndtr(x), (REALS,)),
    "log_ndtr": (lambda T, x: T.special.log_ndtr(x), (np.linspace(-60, 9, 400),)),
    "entr": (lambda T, x: T.special.entr(x), (UNIT,)),
    "xlog1py": (lambda T, x, y: T.special.xlog1py(x, y),
                (np.array([0, 0, 2, -1.0]), np.array([-0.5, 3, 2, 1e-9]))),
    "expit": (lambda T, x: T.special.expit(x), (M,)),
    "gammaln": (lambda T, x: T.special.gammaln(x), (UNIT,)),
    "cov": (lambda T, x: T.cov(x), (M,)),
    "cov of one": (lambda T, x: T.cov(x[0], correction=0), (M,)),
    "cov weighted": (lambda T, x, w: x.cov(fweights=T.tensor([1, 2, 0, 3, 1]), aweights=w.detach()),
                     (M, np.abs(N[0]))),
    "corrcoef": (lambda T, x: T.corrcoef(x), (M,)),
    "trapezoid": (lambda T, y, x: T.trapezoid(y, x), (M, N)),
    "trapezoid dx": (lambda T, y: T.trapz(y, dx=0.5, dim=0), (M,)),
    "trapezoid of a line": (lambda T, y, x: T.trapezoid(y, x[0]), (M, N)),
    "cumulative_trapezoid": (lambda T, y, x: T.cumulative_trapezoid(y, x, dim=0), (M, N)),
    "dist": (lambda T, x, y: T.dist(x, y, 3), (M, N)),
    "pdist": (lambda T, x: T.pdist(x), (M,)),
    "renorm": (lambda T, x: T.renorm(x, 2, 0, 1.5), (M,)),
    "vander": (lambda T, x: T.vander(x[0].detach(), 4, increasing=True), (M,)),
    "cross": (lambda T, x, y: T.cross(x[:, :3], y[:, :3], dim=1), (M, N)),
    "histogram": (lambda T, x: tuple(T.histogram(x.detach(), 7, range=(-1.0, 2.0), density=True)), (M,)),
    "histogram of edges": (lambda T, x: tuple(T.histogram(
        x.detach(), T.tensor([-1.0, 0.0, 2.0], dtype=x.dtype))), (M,)),
    "frexp": (lambda T, x: tuple(T.frexp(x)), (np.array([0, 1, -3, 1e-9, 1e30, 0.1]),)),
    "frexp far out": (lambda T, x: tuple(T.frexp(x.detach())), (np.array([1e-310, 1e-40, 1e308, np.inf]),)),
    "ldexp": (lambda T, x: T.ldexp(x.detach(), T.tensor([1, -2, 3, 0, 5])), (M,)),
    "nextafter": (lambda T, x, y: T.nextafter(x.detach(), y.detach()),
                  (np.array([0, 0, 1, -1, 3, np.nan, np.inf]), np.array([1, -1, 2, -2, 3, 1, 0.0]))),
    "slice_scatter": (lambda T, x, y: T.slice_scatter(x, y[:2], 0, 1, 4, 2), (M, N)),
    "select_scatter": (lambda T, x, y: x.select_scatter(y[0], 0, -1), (M, N)),
    "diagonal_scatter": (lambda T, x, y: T.diagonal_scatter(x, y[0, :4], 1), (M, N)),
    "as_strided_scatter": (lambda T, x, y: T.as_strided_scatter(
        x.detach(), y[:2, :2].detach(), (2, 2), (3, 2), 1), (M, N)),
    "fmax": (lambda T, x, y: T.fmax(x, y), ENDS),
    "fmin": (lambda T, x, y: T.fmin(x, y), ENDS),
    "clamp by tensors": (lambda T, x, y: T.clamp(x, min=y, max=y + 1), ENDS),
    "clamp_min by a tensor": (lambda T, x, y: x.clamp_min(y), ENDS),
    "clamp_max by a tensor": (lambda T, x, y: T.clamp(x, max=y), ENDS),
    "atan2": (lambda T, x, y: T.atan2(x, y), ENDS),
    "max of NaN": (lambda T, x: T.max(x), (np.array([1, np.nan, 3, np.nan]),)),
    "min of ties": (lambda T, x: x.min(), (np.array([1.0, 3, 1, 2]),)),
    "xlogy": (lambda T, x, y: T.xlogy(x, y), ENDS),
    "logaddexp": (lambda T, x, y: T.logaddexp(x, y), ENDS),
    "logaddexp2": (lambda T, x, y: T.logaddexp2(x, y), ENDS),
    "huber_loss": (lambda T, x, y: T.nn.functional.huber_loss(x, y, reduction="none"), ENDS),
    "smooth_l1_loss": (lambda T, x, y: T.nn.functional.smooth_l1_loss(x, y, reduction="none"), ENDS),
    "copysign": (lambda T, x, y: T.copysign(x, y), ENDS),
    "frexp of ends": (lambda T, x, y: tuple(T.frexp(x)), ENDS),
    "sum_to_size": (lambda T, x: x.sum_to_size(4, 1), (M,)),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", FLOATS)
def test_as_pytorch(name: str, dtype: str) -> None:
    torch = pytorch()
    call, arrays = FLOATS[name]
    found = []
    for T in (lazygrad, torch):
        xs = [T.tensor(a, dtype=getattr(T, dtype), requires_grad=True) for a in arrays]
        results = call(T, *xs)
        results = list(results) if isinstance(results, tuple) else [results]
        grads = []
        flowing = [r for r in results if r.requires_grad]
        if flowing:
            weights = [T.linspace(1, 2, max(r.numel(), 1), dtype=r.dtype).reshape(r.shape) for r in flowing]
            sum((r * w).sum() for r, w in zip(flowing, weights, strict=True)).backward()
            grads = [x.grad for x in xs if x.grad is not None]
        found.append((results, grads))
    exact = dtype == "float64"
    for ours, theirs in zip(found[0][0], found[1][0], strict=True):
        assert ours.requires_grad == theirs.requires_grad
        # PyTorch's own trigamma is right to 1e-9
        check(ours, theirs, 2e-9 if exact else 2e-5, 1e-13 if exact else 2e-6)
    for ours, theirs in zip(found[0][1], found[1][1], strict=True):
        check(ours, theirs, 2e-9 if exact else 5e-4, 1e-11 if exact else 1e-5)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "int64"])
@pytest.mark.parametrize("name", ["gcd", "lcm"])
def test_integers(name: str, dtype: str) -> None:
    torch = pytorch()
    a, b = (np.abs(v) if dtype == "uint8" else v for v in (COUNTS, OTHERS))
    both = [getattr(T, name)(*(T.tensor(v, dtype=getattr(T, dtype)) for v in (a % 12, b % 11)))
            for T in (lazygrad, torch)]
    check(*both)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16"])
@pytest.mark.parametrize("name", ["gcd", "lcm"])
def test_all_pairs_of_narrow_integers(name: str, dtype: str) -> None:
    steps = np.arange(0, 256) if dtype == "uint8" else np.arange(-128, 128)
    steps = steps * (256 if dtype == "int16" else 1)
    both = [getattr(T, name)(x[:, None], x)
            for T in (lazygrad, pytorch()) for x in [T.tensor(steps, dtype=getattr(T, dtype))]]
    check(*both)


def test_gcd_of_large_numbers(device: str) -> None:
    fibonacci = [1, 1]
    while fibonacci[-1] + fibonacci[-2] < 2**63:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    x, y = (lazygrad.tensor(v, device=device) for v in ([fibonacci[-1], 2**62], [fibonacci[-2], 6]))
    assert lazygrad.gcd(x, y).tolist() == [1, 2]


@pytest.mark.parametrize("length", [0, 1, 2, 7, 16])
@pytest.mark.parametrize("name", ["hann", "hamming", "blackman", "bartlett", "kaiser"])
def test_windows(name: str, length: int) -> None:
    torch = pytorch()
    for options in ({}, {"periodic": False}, {"dtype": "float64"}):
        results = []
        for T in (lazygrad, torch):
            named = {k: getattr(T, v) if k == "dtype" else v for k, v in options.items()}
            results.append(getattr(T, f"{name}_window")(length, **named))
        check(*results, 1e-5, 1e-6)


def test_unravel_index() -> None:
    torch = pytorch()
    for T in (lazygrad, torch):
        got = T.unravel_index(T.tensor([[0, 5], [-1, 23]]), (2, 3, 4))
        assert [g.tolist() for g in got] == [[[0, 0], [1, 1]], [[0, 1], [2, 2]], [[0, 1], [3, 3]]]


@pytest.mark.parametrize("call", [
    lambda T: T.polygamma(-1, T.ones(2)),
    lambda T: T.mvlgamma(T.ones(2), 0),
    lambda T: T.gcd(T.ones(2), T.ones(2)),
    lambda T: T.cov(T.ones(2, 2, 2)),
    lambda T: T.cross(T.ones(2, 4), T.ones(2, 4), dim=1),
    lambda T: T.select_scatter(T.ones(3, 4), T.ones(3), 0, 1),
    lambda T: T.hann_window(-1),
    lambda T: T.renorm(T.ones(3), 2, 0, 1),
    lambda T: T.ones(2, 3).sum_to_size(4),
    lambda T: T.pdist(T.ones(3)),
])
def test_mistakes(call: Any) -> None:
    torch = pytorch()
    ours, theirs = outcome(lambda: call(lazygrad)), outcome(lambda: call(torch))
    assert isinstance(theirs, Exception) and isinstance(ours, LazygradError)


def test_a_bound_that_is_nan_is_taken_everywhere(device: str) -> None:
    x = lazygrad.tensor([-1.0, 2.0, np.inf], device=device)
    for bounds in ({"min": np.nan}, {"max": np.nan}, {"min": 0.0, "max": np.nan}):
        assert x.clamp(**bounds).isnan().all()


def test_slopes_of_xlogy_at_its_ends() -> None:
    values = np.array([0.0, 1.0, -2.0, np.inf, np.nan])
    x, y, g = (v.ravel() for v in np.meshgrid(values, values, [0.0, 1.0]))
    found = []
    for m in (lazygrad, pytorch()):
        a, b = (m.tensor(v, requires_grad=True) for v in (x, y))
        m.xlogy(a, b).backward(m.tensor(g))
        found.append((a.grad.numpy(), b.grad.numpy()))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_truth_over_no_dimension() -> None:
    for m in (lazygrad, pytorch()):
        x = m.tensor([[1, 0], [0, 2]])
        for test in (m.any, m.all):
            assert test(x, dim=()).tolist() == [[True, False], [False, True]]
            assert test(x, dim=None).shape == ()


def test_slope_of_sinc_near_zero() -> None:
    x = lazygrad.tensor([0.0, 1e-6, 1e-3, 0.1, 0.16, -1e-3], requires_grad=True, device="NUMPY")
    x.sinc().sum().backward()
    a = np.pi * x.detach().numpy().astype(np.float64)
    right = np.pi * (-a / 3 + a**3 / 30 - a**5 / 840 + a**7 / 45360 - a**9 / 3991680)
    np.testing.assert_allclose(x.grad.numpy(), right, rtol=1e-6)


def test_second_derivatives() -> None:
    torch = pytorch()
    for name in ("lgamma", "erfinv", "digamma"):
        found = []
        for T in (lazygrad, torch):
            x = T.tensor([0.3, 0.7, 0.9], dtype=T.float64, requires_grad=True)
            (g,) = T.autograd.grad(getattr(T, name)(x).sum(), x, create_graph=True)
            found.append(T.autograd.grad(g.sum(), x)[0])
        check(*found, 1e-9, 1e-12)


def test_on_devices(device: str) -> None:
    x = np.array([0.1, 0.4, 0.9])
    want = [[2.252712651734206, 0.7966778177017837, 0.06637623973474295],
            [0.08885599049425769, 0.37080715859355784, 1.1630871536766743]]
    for name, values in zip(("lgamma", "erfinv"), want, strict=True):
        got = getattr(lazygrad, name)(lazygrad.tensor(x, device=device))
        np.testing.assert_allclose(got.numpy(), values, rtol=1e-13)
