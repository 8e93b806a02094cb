"""Bessel's and Airy's functions, the incomplete gamma functions, zeta and orthogonal polynomials: beside
mpmath's values and PyTorch's, gradients, ends and types."""

from __future__ import annotations

import numpy as np
import pytest

import lazygrad as lg

mp = pytest.importorskip("mpmath")
POSITIVE = np.concatenate([np.linspace(0.05, 25, 30), [1e-8, 7.999, 8.001, 100.0]])
ALL = np.concatenate([-POSITIVE, [0.0], POSITIVE])
SHAPES = np.array([0.05, 0.5, 1, 2.5, 9.9, 30, 59.9, 60.1, 400])
RATIOS = np.array([0.01, 0.3, 0.32, 0.9, 1, 1.01, 1.9, 2.2, 2.4, 6])

# function -> mpmath's, where, allowed relative error, allowed error
VALUES = {
    "i0": (lambda x: mp.besseli(0, x), ALL, 2e-15, 0),
    "i1": (lambda x: mp.besseli(1, x), ALL, 4e-15, 0),
    "i0e": (lambda x: mp.besseli(0, x) * mp.exp(-abs(x)), ALL, 2e-15, 0),
    "i1e": (lambda x: mp.besseli(1, x) * mp.exp(-abs(x)), ALL, 4e-15, 0),
    "modified_bessel_k0": (lambda x: mp.besselk(0, x), POSITIVE, 4e-15, 0),
    "modified_bessel_k1": (lambda x: mp.besselk(1, x), POSITIVE, 4e-15, 0),
    "scaled_modified_bessel_k0": (lambda x: mp.besselk(0, x) * mp.exp(x), POSITIVE, 4e-15, 0),
    "scaled_modified_bessel_k1": (lambda x: mp.besselk(1, x) * mp.exp(x), POSITIVE, 4e-15, 0),
    "bessel_j0": (lambda x: mp.besselj(0, x), ALL, 0, 2e-15),
    "bessel_j1": (lambda x: mp.besselj(1, x), ALL, 0, 2e-15),
    "bessel_y0": (lambda x: mp.bessely(0, x), POSITIVE, 1e-15, 4e-15),
    "bessel_y1": (lambda x: mp.bessely(1, x), POSITIVE, 4e-15, 4e-15),
    "spherical_bessel_j0": (lambda x: mp.sin(x) / x if x else mp.mpf(1), ALL, 2e-15, 1e-16),
    "airy_ai": (mp.airyai, ALL[np.abs(ALL) < 26], 1e-13, 2e-14),
    "erfcx": (lambda x: mp.exp(x * x) * mp.erfc(x), ALL[ALL > -8], 3e-14, 0),
}


@pytest.fixture(autouse=True)
def _digits():
    with mp.workdps(40):
        yield


@pytest.mark.parametrize("name", VALUES)
def test_values(name, device):
    want, x, relative, absolute = VALUES[name]
    wanted = np.array([float(want(mp.mpf(float(v)))) for v in x])
    found = getattr(lg.special, name)(lg.tensor(x, device=device)).numpy()
    np.testing.assert_allclose(found, wanted, rtol=relative, atol=absolute)
    single = getattr(lg.special, name)(lg.tensor(x, dtype=lg.float32, device=device))
    assert single.dtype is lg.float32


@pytest.mark.parametrize("name", VALUES)
def test_slopes(name):
    want, x, _, _ = VALUES[name]
    x = x[(np.abs(x) > 0.1) & (np.abs(x) < 12)]
    leaf = lg.tensor(x, requires_grad=True)
    getattr(lg.special, name)(leaf).sum().backward()
    slopes = np.array([float(mp.diff(want, mp.mpf(float(v)))) for v in x])
    np.testing.assert_allclose(leaf.grad.numpy(), slopes, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", VALUES)
def test_ends(name):
    torch = pytest.importorskip("torch")
    x = [0.0, -0.0, np.inf, -np.inf, np.nan, -3.0]
    found = getattr(lg.special, name)(lg.tensor(x, dtype=lg.float64)).numpy()
    wanted = getattr(torch.special, name)(torch.tensor(x, dtype=torch.float64)).numpy()
    # PyTorch gives NaN for some limits at infinity
    compared = ~np.isnan(wanted) | ~np.isinf(x)
    np.testing.assert_allclose(found[compared], wanted[compared], rtol=1e-7, atol=1e-13)


@pytest.mark.parametrize("upper", [False, True])
def test_incomplete_gamma(upper, device):
    a, ratio = (v.ravel() for v in np.meshgrid(SHAPES, RATIOS))
    x = a * ratio
    name = "gammaincc" if upper else "gammainc"

    def want(b, y):
        return mp.gammainc(b, *((y, mp.inf) if upper else (0, y)), regularized=True)

    wanted = np.array([float(want(mp.mpf(float(b)), mp.mpf(float(y)))) for b, y in zip(a, x, strict=True)])
    left, right = lg.tensor(a, device=device), lg.tensor(x, device=device)
    found = getattr(lg.special, name)(left, right).numpy()
    np.testing.assert_allclose(found, wanted, rtol=4e-13, atol=1e-15)
    single = (lg.igammac if upper else lg.igamma)(left.float(), right.float())
    np.testing.assert_allclose(single.numpy(), wanted, rtol=1e-4, atol=1e-6)


def test_incomplete_gamma_slopes():
    a, ratio = (v.ravel() for v in np.meshgrid(SHAPES[1:], [0.5, 0.9, 1.0, 1.2]))
    left, right = (lg.tensor(v, requires_grad=True) for v in (a, a * ratio))
    lg.igamma(left, right).sum().backward()

    def want(b, y):
        return mp.gammainc(b, 0, y, regularized=True)

    small = mp.mpf(10) ** -12
    by_a = [float((want(b + small, y) - want(b - small, y)) / (2 * small)) for b, y in _pairs(a, a * ratio)]
    by_x = [float(y ** (b - 1) * mp.exp(-y) / mp.gamma(b)) for b, y in _pairs(a, a * ratio)]
    np.testing.assert_allclose(left.grad.numpy(), by_a, rtol=1e-11)
    np.testing.assert_allclose(right.grad.numpy(), by_x, rtol=1e-11)


def _pairs(*arrays):
    return [tuple(mp.mpf(float(v)) for v in pair) for pair in zip(*arrays, strict=True)]


def test_ends_of_functions_of_two():
    torch = pytest.importorskip("torch")
    numbers = [0, 1, 2, np.inf, -1, -np.inf, np.nan]
    a, x = (v.ravel() for v in np.meshgrid(numbers, numbers))
    s = [1.5, 2, 3, 3.7, 10, 1, 0.5, 2, 2, 3, 3, 2.5, 2.5, np.nan, 2]
    q = [0.3, 1, 2.5, 100, 0.01, 2, 2, -0.5, -3.3, -7.25, -2, -1.5, -2, 1, np.nan]
    whole = [np.inf, np.nan, 1, 0.5, 2, 3, 40, 2000, 1e30]
    ends = np.stack(np.meshgrid(whole, [-np.inf, np.nan, -3, -1, 0, -0.0, 0.5, 1, 2, 1e30])).reshape(2, -1)
    ends = ends[:, ~((ends[0] > 1e9) & (ends[1] > 1))]  # 0, where PyTorch's are NaN
    for name, left, right in (("gammainc", a, x), ("gammaincc", a, x), ("zeta", s, q), ("zeta", *ends)):
        ours, theirs = (getattr(m.special, name)(*(m.tensor(v, dtype=m.float64) for v in (left, right)))
                        for m in (lg, torch))
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-13)
    assert lg.igamma(lg.tensor([1, 2]), lg.tensor([1, 2])).dtype is lg.float32
    assert lg.special.zeta(3.0, lg.ones(2)).tolist() == lg.special.zeta(lg.full((2,), 3.0), 1.0).tolist()
    changed = lg.tensor([1.0])
    assert changed.igamma_(lg.tensor([2.0])) is changed and abs(changed.item() - 0.86466) < 1e-5
    z = lg.tensor([1.5], dtype=lg.float64, requires_grad=True)
    lg.special.zeta(2.5, z).backward()
    assert abs(z.grad.item() - float(-2.5 * mp.zeta(3.5, 1.5))) < 1e-13


def test_polygamma_beside_pytorch():
    torch = pytest.importorskip("torch")
    x = [-2.5, -7.3, 1e-300, 1e-9, 0.5, 3, 1e5, 1e20, 1e200, np.inf, -np.inf, np.nan, 0.0, -0.0]
    for n in (1, 2, 3, 6, 11):
        ours, theirs = (m.polygamma(n, m.tensor(x, dtype=m.float64)) for m in (lg, torch))
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-9)


def test_gamma_family_left_of_zero():
    x = np.array([-1e-30, -1e-9, -0.3, -0.5, -0.7, -1 - 1e-9, -1.5, -2 + 1e-9, -2.25])
    t = lg.tensor(x, dtype=lg.float64)
    wanted = {
        "lgamma": (t.lgamma(), lambda v: mp.log(abs(mp.gamma(v)))),
        "digamma": (t.digamma(), mp.digamma),
        "trigamma": (lg.polygamma(1, t), lambda v: mp.zeta(2, v)),
        "zeta": (lg.special.zeta(3.0, t), lambda v: mp.zeta(3, v)),
    }
    for name, (ours, function) in wanted.items():
        right = [float(function(mp.mpf(float(v)))) for v in x]
        np.testing.assert_allclose(ours.numpy(), right, rtol=2e-14, err_msg=name)


def test_polygamma_takes_no_powers():
    """A power of a whole order is a few products: as `pow` it took seconds to compile."""
    x = lg.rand(3, device="CPU") + 0.5
    assert "pow" not in str(lg.explain(lg.polygamma(4, x)))


def test_zeta_of_large_numbers_is_its_first_term():
    s = lg.tensor([99.0, 999.0, 1500.0, 1e30, np.inf], dtype=lg.float64)
    np.testing.assert_allclose(lg.special.zeta(s, 2.0).numpy(), 2.0 ** -s.numpy(), rtol=1e-14, atol=0)


def test_all_of_the_gamma_functions_integral_lies_above_0():
    a = lg.tensor([0.5, np.inf, np.nan])
    assert lg.igamma(a, lg.zeros(3)).tolist() == [0, 0, 0]
    assert lg.igammac(a, lg.zeros(3)).tolist() == [1, 1, 1]


NAMES = [f"{shift}chebyshev_polynomial_{kind}" for shift in ("", "shifted_") for kind in "tuvw"]


@pytest.mark.parametrize("name", [*NAMES, "hermite_polynomial_h", "hermite_polynomial_he",
                                  "laguerre_polynomial_l", "legendre_polynomial_p"])
def test_polynomials(name):
    torch = pytest.importorskip("torch")
    x = np.array([-2.0, -1.0, -0.3, 0.0, 0.5, 0.99, 1.0, 3.0])
    for n in (-1, 0, 1, 2, 5, 9):
        ours, theirs = (getattr(m.special, name)(m.tensor(x), n).numpy() for m in (lg, torch))
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10)
    n = np.array([[0], [3], [7], [-2]])
    ours, theirs = (getattr(m.special, name)(m.tensor(x), m.tensor(n)).numpy() for m in (lg, torch))
    np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10)
    leaf = lg.tensor(x, requires_grad=True)
    getattr(lg.special, name)(leaf, 2).sum().backward()
    step = 1e-5
    near = [getattr(lg.special, name)(lg.tensor(x + d), 2).numpy() for d in (step, -step)]
    np.testing.assert_allclose(leaf.grad.numpy(), (near[0] - near[1]) / (2 * step), atol=1e-7)
