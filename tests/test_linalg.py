"""Linear algebra: that factors are what they say, errors, transforms, views."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from linalg_inputs import matrix as _matrix
from linalg_inputs import positive as _positive

import lazygrad as lazy
from lazygrad.errors import UnsupportedError
from lazygrad.func import grad, vmap
from lazygrad.linalg import LinAlgError

# What factors are


def _close(x: lazy.Tensor, y: lazy.Tensor, dtype: lazy.DType) -> None:
    bound = 2e-4 if dtype is lazy.float32 else 1e-11
    assert (x - y).abs().max().item() <= bound * max(1.0, y.abs().max().item())


def _eye(n: int, like: lazy.Tensor) -> lazy.Tensor:
    return lazy.eye(n, dtype=like.dtype, device=like.device)


FACTORS: dict[str, Callable[[lazy.Tensor], tuple[lazy.Tensor, lazy.Tensor]]] = {}


def _factors(check: Callable[[lazy.Tensor], Any]) -> Callable[[lazy.Tensor], Any]:
    FACTORS[check.__name__.strip("_")] = check
    return check


@_factors
def _cholesky(x):
    x = x @ x.mT + _eye(x.shape[-2], x)
    factor = lazy.linalg.cholesky(x)
    assert (factor.triu(1) == 0).all()
    return [(factor @ factor.mT, x), (lazy.linalg.cholesky(x, upper=True).mT, factor)]


@_factors
def _lu(x):
    p, left, right = lazy.linalg.lu(x)
    assert (left.triu(1) == 0).all() and (right.tril(-1) == 0).all() and (left.abs() <= 1).all()
    return [(p @ left @ right, x), (p @ p.mT, _eye(x.shape[-2], x).expand(p.shape))]


@_factors
def _qr(x):
    q, r = lazy.linalg.qr(x)
    whole, tall = lazy.linalg.qr(x, "complete")
    assert (r.tril(-1) == 0).all()
    return [
        (q @ r, x),
        (q.mT @ q, _eye(q.shape[-1], x).expand(*x.shape[:-2], *q.shape[-1:] * 2)),
        (whole @ tall, x),
        (whole.mT @ whole, _eye(x.shape[-2], x).expand(whole.shape)),
    ]


@_factors
def _eigh(x):
    x = x @ x.mT
    values, vectors = lazy.linalg.eigh(x)
    assert (values[..., 1:] >= values[..., :-1]).all()
    return [
        ((vectors * values.unsqueeze(-2)) @ vectors.mT, x),
        (lazy.linalg.eigvalsh(x), values),
        (vectors.mT @ vectors, _eye(x.shape[-1], x).expand(x.shape)),
    ]


@_factors
def _svd(x):
    u, s, vh = lazy.linalg.svd(x, full_matrices=False)
    whole_u, _, whole_vh = lazy.linalg.svd(x)
    assert (s[..., 1:] <= s[..., :-1]).all() and (s >= 0).all()
    return [
        ((u * s.unsqueeze(-2)) @ vh, x),
        (lazy.linalg.svdvals(x), s),
        (whole_u.mT @ whole_u, _eye(x.shape[-2], x).expand(whole_u.shape)),
        (whole_vh @ whole_vh.mT, _eye(x.shape[-1], x).expand(whole_vh.shape)),
        (whole_u[..., : s.shape[-1]], u),
        (whole_vh[..., : s.shape[-1], :], vh),
    ]


@_factors
def _inverse(x):
    x = x @ x.mT + _eye(x.shape[-2], x)
    return [
        (x @ lazy.linalg.inv(x), _eye(x.shape[-1], x).expand(x.shape)),
        (x @ lazy.linalg.solve(x, x.mT), x.mT),
        (
            lazy.linalg.matrix_exp(x * 0.1) @ lazy.linalg.matrix_exp(x * -0.1),
            _eye(x.shape[-1], x).expand(x.shape),
        ),
    ]


@pytest.mark.parametrize("name", FACTORS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 1), (4, 4), (3, 5, 3), (2, 3, 20)], ids=str)
def test_factors(name: str, dtype: str, shape: tuple[int, ...], device: str) -> None:
    x = lazy.tensor(_matrix(shape), dtype=getattr(lazy, dtype), device=device)
    for found, wanted in FACTORS[name](x):
        _close(found, wanted, x.dtype)


@pytest.mark.parametrize("name", FACTORS)
@pytest.mark.parametrize("size", [65, 130])
def test_factors_of_large_matrices(name: str, size: int) -> None:
    x = lazy.tensor(_matrix((size, size)) / math.sqrt(size), dtype=lazy.float64)
    for found, wanted in FACTORS[name](x):
        _close(found, wanted, x.dtype)


def test_what_is_hard_to_factor() -> None:
    steep = 10.0 ** -np.arange(12.0)
    for x in (
        np.zeros((5, 5)),
        np.ones((6, 6)),
        np.eye(7),
        np.diag([0.0, 1, 0, 2]),
        np.triu(np.ones((9, 9))),
        np.diag(steep) + np.diag(steep[:-1], 1),
        np.outer(steep, steep),
        1e-200 * _matrix((4, 4)),
        1e150 * _matrix((4, 4)),
        np.kron(np.eye(3), np.ones((2, 2))),
        np.diag(np.ones(7), 1),
    ):
        scale = max(np.abs(x).max(), 1e-300)
        u, s, vh = (t.numpy() for t in lazy.linalg.svd(lazy.tensor(x)))
        np.testing.assert_allclose((u * s) @ vh / scale, x / scale, atol=1e-13)
        np.testing.assert_allclose(u @ u.T, np.eye(len(x)), atol=1e-13)
        np.testing.assert_allclose(s / scale, np.linalg.svd(x)[1] / scale, atol=1e-13)
        symmetric = np.tril(x) + np.tril(x, -1).T
        values, vectors = (t.numpy() for t in lazy.linalg.eigh(lazy.tensor(x)))
        np.testing.assert_allclose((vectors * values) @ vectors.T / scale, symmetric / scale, atol=1e-13)
        np.testing.assert_allclose(vectors.T @ vectors, np.eye(len(x)), atol=1e-13)
        q, r = (t.numpy() for t in lazy.linalg.qr(lazy.tensor(x)))
        np.testing.assert_allclose(q @ r / scale, x / scale, atol=1e-13)
        p, left, right = (t.numpy() for t in lazy.linalg.lu(lazy.tensor(x)))
        np.testing.assert_allclose(p @ left @ right / scale, x / scale, atol=1e-13)


def test_what_is_not_finite() -> None:
    x = lazy.eye(3).repeat(2, 1, 1)
    x[1, 0, 0] = math.nan
    values, vectors = lazy.linalg.eigh(x)
    assert values[0].isfinite().all() and values[1].isnan().all() and vectors[1].isnan().all()
    with pytest.raises(LinAlgError, match=r"\(Batch element 1\): The algorithm failed to converge"):
        lazy.linalg.svd(x)


# Errors


def test_errors_that_depend_on_values() -> None:
    x = lazy.tensor([[1.0, 2.0], [2.0, 1.0]])
    message = (
        r"The factorization could not be completed because the input is not positive-definite \(the "
        r"leading minor of order 2 is not positive-definite\)"
    )
    with pytest.raises(LinAlgError, match=f"linalg.cholesky: {message}"):
        lazy.linalg.cholesky(x)
    with pytest.raises(RuntimeError, match=rf"\(Batch element 1\): {message}"):
        lazy.linalg.cholesky(lazy.stack([lazy.eye(2), x]))
    assert lazy.linalg.cholesky_ex(lazy.stack([lazy.eye(2), x])).info.tolist() == [0, 2]
    none = lazy.zeros(2, 2)
    with pytest.raises(LinAlgError, match="linalg.inv: The diagonal element 1 is zero, the inversion could"):
        lazy.linalg.inv(none)
    with pytest.raises(
        LinAlgError, match=r"linalg.solve: The solver failed because the input matrix is sing"
    ):
        lazy.linalg.solve(none, lazy.ones(2))
    with pytest.raises(LinAlgError, match=r"U\[1,1\] is zero and using it on lu_solve would result"):
        lazy.linalg.lu_factor(none)
    assert lazy.linalg.inv_ex(none).info.item() == lazy.linalg.solve_ex(none, lazy.ones(2)).info.item() == 1
    with pytest.raises(LinAlgError, match="diagonal element 1 is zero"):
        lazy.cholesky_inverse(none)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda t: t.linalg.cholesky(t.ones(2, 2).long()),
            "Expected a floating point or complex tensor as input",
        ),
        (lambda t: t.linalg.cholesky(t.ones(3)), "The input tensor A must have at least 2 dimensions"),
        (
            lambda t: t.linalg.inv(t.ones(2, 3)),
            "A must be batches of square matrices, but they are 2 by 3 matrices",
        ),
        (lambda t: t.linalg.solve(t.eye(2), t.ones(3)), r"for the equation AX = B \(2x2 and 3x1\)"),
        (
            lambda t: t.linalg.solve(t.eye(2), t.ones(2).double()),
            "but found A of type Float and B of type Double",
        ),
        (lambda t: t.linalg.solve_triangular(t.eye(2), t.ones(3, 1), upper=True), r"AX = B \(2x2 and 3x1\)"),
        (
            lambda t: t.linalg.qr(t.eye(2), "foo"),
            "qr received unrecognized mode 'foo' but expected one of 'reduced'",
        ),
        (lambda t: t.linalg.matrix_norm(t.eye(2), 3), "linalg.matrix_norm: Order 3 not supported"),
        (lambda t: t.linalg.matrix_norm(t.eye(2), dim=(0, 0)), r"dims must be different. Got \(0, 0\)"),
        (lambda t: t.linalg.norm(t.ones(2, 2, 2), 2), "the input must be 1D or 2D. Got 3D"),
        (
            lambda t: t.linalg.vector_norm(t.ones(0), -1),
            "norm on an empty tensor because the operation does not have",
        ),
        (lambda t: t.linalg.multi_dot([t.eye(2), t.eye(3)]), "tensors 0 and 1 with shapes"),
        (lambda t: t.linalg.cross(t.ones(3), t.ones(2)), "must have length 3. Got 3 and 2"),
        (lambda t: t.linalg.cross(t.ones(2, 3), t.ones(3)), "inputs must have the same number of dimensions"),
        (
            lambda t: t.linalg.lstsq(t.ones(3, 2), t.ones(4, 1)),
            r"input.size\(-2\) should match other.size\(-2\)",
        ),
        (
            lambda t: t.linalg.householder_product(t.ones(2, 3), t.ones(2)),
            "must be greater than or equal to input",
        ),
        (lambda t: t.linalg.eigh(t.eye(2), "x"), "Expected UPLO argument to be 'L' or 'U', but got x"),
        (lambda t: t.linalg.cond(t.ones(2, 3), 1), "A must be batches of square matrices"),
        (lambda t: t.solve(t.ones(2, 1), t.eye(2)), "deprecated since version 1.9 and is now removed"),
    ],
)
def test_errors_of_arguments(call: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        call(lazy)
    torch = pytest.importorskip("torch")
    with pytest.raises(RuntimeError, match=message):
        call(torch)


def test_complex_results_are_refused() -> None:
    for name in ("eig", "eigvals"):
        with pytest.raises(UnsupportedError, match="complex numbers"):
            getattr(lazy.linalg, name)(lazy.eye(2))


def test_determinant_of_singular_matrices_has_a_derivative() -> None:
    x = lazy.tensor([[1.0, 2.0], [2.0, 4.0]], dtype=lazy.float64, requires_grad=True)
    x.det().backward()
    np.testing.assert_allclose(x.grad.numpy(), [[4.0, -2.0], [-2.0, 1.0]], atol=1e-12)


def test_vmap_and_transforms() -> None:
    x = lazy.tensor(_positive((3, 4, 4)), dtype=lazy.float64)
    for f in (
        lazy.linalg.cholesky,
        lazy.linalg.inv,
        lazy.linalg.det,
        lazy.linalg.svdvals,
        lambda a: lazy.linalg.solve(a, a[0]),
        lambda a: lazy.linalg.eigh(a).eigenvalues,
    ):

        def one(a: lazy.Tensor, f: Callable[[lazy.Tensor], lazy.Tensor] = f) -> lazy.Tensor:
            return f(a).sin().sum()

        for g in (f, grad(one)):
            every = np.stack([g(a).numpy() for a in x])
            np.testing.assert_allclose(vmap(g)(x).numpy(), every, atol=1e-10)
    with pytest.raises(LinAlgError, match=r"\(Batch element 2\)"):
        vmap(lazy.linalg.cholesky)(lazy.stack([x[0], x[1], -x[2]]))


def test_few_columns_and_views() -> None:
    x = _matrix((6, 8))
    whole = lazy.tensor(x)
    for part, array in ((whole[1:5, 2:6], x[1:5, 2:6]), (whole.T[::2, 1:5], x.T[::2, 1:5])):
        np.testing.assert_allclose(lazy.linalg.inv(part).numpy(), np.linalg.inv(array), atol=1e-10)
        np.testing.assert_allclose(lazy.linalg.svdvals(part).numpy(), np.linalg.svd(array)[1], atol=1e-12)


def test_low_rank() -> None:
    lazy.manual_seed(0)
    x = lazy.tensor(_matrix((20, 4)) @ _matrix((4, 12), 1))
    u, s, v = lazy.svd_lowrank(x, q=6)
    np.testing.assert_allclose(((u * s) @ v.mT).numpy(), x.numpy(), atol=1e-10)
    u, s, v = lazy.pca_lowrank(x.T, q=5)
    centered = x.T - x.T.mean(0)
    np.testing.assert_allclose(((u * s) @ v.mT).numpy(), centered.numpy(), atol=1e-10)
