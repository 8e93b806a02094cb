"""Linear algebra beside PyTorch: values, derivatives of first and second order, empty matrices, the names and
types of results."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from linalg_inputs import matrix as M
from linalg_inputs import positive as P
from linalg_inputs import regular as R

import lazygrad as lazy


@pytest.fixture
def torch() -> Any:
    """PyTorch, where it is installed."""
    return pytest.importorskip("torch")


# Beside PyTorch: (name, inputs, call); what is not determined by its sign enters by its square or its size


def _solve_lu(t, a, b):
    packed, pivots = t.linalg.lu_factor(a)
    return t.linalg.lu_solve(packed, pivots, b), t.linalg.lu_solve(packed, pivots, b, adjoint=True)


CASES: dict[str, tuple[tuple[Callable[..., np.ndarray], ...], tuple[tuple[int, int], ...], Callable]] = {
    "cholesky": ((P,), ((4, 4),), lambda t, a: t.linalg.cholesky((a + a.mT) / 2)),
    "cholesky upper": ((P,), ((3, 3),), lambda t, a: t.cholesky((a + a.mT) / 2, upper=True)),
    "cholesky_solve": (
        (P, M),
        ((3, 3), (3, 2)),
        lambda t, a, b: t.cholesky_solve(b, t.linalg.cholesky(a @ a.mT)),
    ),
    "cholesky_inverse": ((P,), ((3, 3),), lambda t, a: t.cholesky_inverse(t.linalg.cholesky(a @ a.mT))),
    "solve_triangular": (
        (R, M),
        ((3, 3), (3, 4)),
        lambda t, a, b: t.linalg.solve_triangular(a, b, upper=True),
    ),
    "solve_triangular lower": (
        (R, M),
        ((3, 3), (3, 12)),
        lambda t, a, b: t.linalg.solve_triangular(a, b, upper=False),
    ),
    "solve_triangular right": (
        (R, M),
        ((3, 3), (2, 3)),
        lambda t, a, b: t.linalg.solve_triangular(a, b, upper=False, left=False, unitriangular=True),
    ),
    "triangular_solve": (
        (R, M),
        ((3, 3), (3, 2)),
        lambda t, a, b: t.triangular_solve(b, a, transpose=True)[0],
    ),
    "lu": ((R,), ((4, 4),), lambda t, a: t.linalg.lu(a)),
    "lu tall": ((M,), ((5, 3),), lambda t, a: t.linalg.lu(a)),
    "lu wide": ((M,), ((3, 5),), lambda t, a: t.linalg.lu(a)),
    "lu_factor": (
        (R,),
        ((4, 4),),
        lambda t, a: (t.linalg.lu_factor(a).LU, t.lu_unpack(*t.linalg.lu_factor(a))[1]),
    ),
    "lu_solve": ((R, M), ((3, 3), (3, 2)), _solve_lu),
    "solve": ((R, M), ((3, 3), (3, 2)), lambda t, a, b: t.linalg.solve(a, b)),
    "solve right": ((R, M), ((3, 3), (2, 3)), lambda t, a, b: t.linalg.solve(a, b, left=False)),
    "solve vectors": ((R, M), ((3, 3), (3, 2)), lambda t, a, b: t.linalg.solve(a, b[..., 0])),
    "inv": ((R,), ((4, 4),), lambda t, a: t.linalg.inv(a)),
    "inverse": ((R,), ((2, 2),), lambda t, a: a.inverse()),
    "det": ((R,), ((4, 4),), lambda t, a: (t.linalg.det(a), a.det())),
    "slogdet": ((M,), ((4, 4),), lambda t, a: t.linalg.slogdet(a)),
    "logdet": ((P,), ((3, 3),), lambda t, a: a.logdet()),
    "qr": ((M,), ((4, 4),), lambda t, a: t.linalg.qr(a)),
    "qr tall": ((M,), ((5, 3),), lambda t, a: t.linalg.qr(a)),
    "qr wide": ((M,), ((3, 5),), lambda t, a: t.linalg.qr(a)),
    "qr r": ((M,), ((5, 3),), lambda t, a: t.linalg.qr(a).R),
    "householder_product": (
        (M, M),
        ((4, 3), (1, 3)),
        lambda t, a, b: t.linalg.householder_product(a, b[..., 0, :]),
    ),
    "householder_product of one tensor": (
        (M,),
        ((4, 3),),
        lambda t, a: t.linalg.householder_product(a.tril(-1), 2.0 / (1.0 + (a.tril(-1) ** 2).sum(-2))),
    ),
    "ormqr": (
        (M, M),
        ((4, 3), (4, 2)),
        lambda t, a, b: (
            t.ormqr(*t.geqrf(a.detach()), b),
            t.ormqr(*t.geqrf(a.detach()), b.mT, left=False, transpose=True),
        ),
    ),
    "eigh": (
        (P,),
        ((4, 4),),
        lambda t, a: (t.linalg.eigh(a).eigenvalues, t.linalg.eigh(a).eigenvectors ** 2),
    ),
    "eigh upper": ((P,), ((3, 3),), lambda t, a: t.linalg.eigh(a + 1.0, UPLO="U").eigenvectors.abs()),
    "eigvalsh": ((P,), ((4, 4),), lambda t, a: t.linalg.eigvalsh(a)),
    "svd": ((M,), ((4, 4),), lambda t, a: [x**2 for x in t.linalg.svd(a, full_matrices=False)]),
    "svd tall": ((M,), ((5, 3),), lambda t, a: [x**2 for x in t.linalg.svd(a, full_matrices=False)]),
    "svd wide": ((M,), ((3, 5),), lambda t, a: [x.abs() for x in t.svd(a)]),
    "svdvals": ((M,), ((3, 5),), lambda t, a: t.linalg.svdvals(a)),
    "pinv": ((M,), ((5, 3),), lambda t, a: t.linalg.pinv(a)),
    "pinv wide": ((M,), ((3, 5),), lambda t, a: a.pinverse()),
    "pinv hermitian": ((P,), ((3, 3),), lambda t, a: t.linalg.pinv((a + a.mT) / 2, hermitian=True)),
    "lstsq": ((M, M), ((5, 3), (5, 2)), lambda t, a, b: t.linalg.lstsq(a, b).solution),
    "matrix_exp": ((M,), ((4, 4),), lambda t, a: (t.linalg.matrix_exp(a), (a * 3).matrix_exp())),
    "matrix_power": (
        (R,),
        ((3, 3),),
        lambda t, a: (t.linalg.matrix_power(a, 5), t.matrix_power(a, -2), t.linalg.matrix_power(a, 0)),
    ),
    "norms": (
        (M,),
        ((3, 5),),
        lambda t, a: [t.linalg.matrix_norm(a, p) for p in ("fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf)],
    ),
    "norm keepdim": (
        (M,),
        ((4, 3),),
        lambda t, a: (
            t.linalg.norm(a, "nuc", dim=(-1, -2), keepdim=True),
            t.linalg.norm(a, 3, dim=-1),
            t.linalg.vector_norm(a, 0.5, dim=(-1,)),
            t.linalg.norm(a),
            t.nuclear_norm(a, (-2, -1)),
        ),
    ),
    "cond": (
        (R,),
        ((3, 3),),
        lambda t, a: [
            *(t.linalg.cond(a, p) for p in (None, 2, -2)),  # PyTorch's own derivative of the others fails
            *(t.linalg.cond(a.detach(), p) for p in ("fro", "nuc", 1, -1, math.inf, -math.inf)),
        ],
    ),
    "multi_dot": (
        (M, M),
        ((3, 5), (5, 2)),
        lambda t, a, b: t.linalg.multi_dot(
            [
                a.reshape(-1, 5)[:3],
                b.reshape(5, -1)[:, :2],
                b.reshape(5, -1)[:, :2].mT,
                b.reshape(5, -1)[:, 0],
            ]
        ),
    ),
    "vander": ((M,), ((2, 3),), lambda t, a: (t.linalg.vander(a), t.linalg.vander(a, N=5))),
    "vecdot": (
        (M, M),
        ((3, 4), (1, 4)),
        lambda t, a, b: (
            t.linalg.vecdot(a, b),
            t.linalg.cross(a[..., :3], b[..., :3]),
            t.linalg.diagonal(a, offset=1),
        ),
    ),
    "tensorinv": (
        (M,),
        ((24, 24),),
        lambda t, a: t.linalg.tensorinv(a.reshape(-1, 24)[:24].reshape(4, 6, 8, 3)),
    ),
    "tensorsolve": (
        (M, M),
        ((6, 6), (2, 3)),
        lambda t, a, b: t.linalg.tensorsolve(a.reshape(-1, 6)[:6].reshape(2, 3, 6), b.reshape(-1, 3)[:2]),
    ),
}
FIRST_ORDER = {"tensorinv", "norm keepdim"}  # large, or with second derivatives that are the same elsewhere


def _leaves(result: Any) -> list[Any]:
    return list(result) if isinstance(result, tuple | list) else [result]


def _everything(t: Any, name: str, arrays: list[np.ndarray], orders: int, **where: Any) -> list[np.ndarray]:
    inputs = [t.tensor(a, requires_grad=True, **where) for a in arrays]
    outputs = _leaves(CASES[name][2](t, *inputs))
    found = list(outputs)
    total = sum(
        (o.sin() * t.linspace(0.3, 2, o.numel(), dtype=t.float64, **where).reshape(o.shape)).sum()
        for o in outputs
        if o.requires_grad
    )
    for order in range(orders):
        grads = t.autograd.grad(total, inputs, create_graph=order + 1 < orders, allow_unused=True)
        grads = [g for g in grads if g is not None]
        found += grads
        total = sum((g * g).sum() for g in grads if g.requires_grad)
        if not isinstance(total, t.Tensor):
            break
    return [x.detach().cpu().numpy() for x in found]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("batch", [(), (2,)], ids=str)
def test_beside_torch(name: str, batch: tuple[int, ...], device: str, torch: Any) -> None:
    makers, shapes, _ = CASES[name]
    arrays = [make((*batch, *s), i + 1) for i, (make, s) in enumerate(zip(makers, shapes, strict=True))]
    orders = 1 if name in FIRST_ORDER or device != "NUMPY" else 2
    wanted = _everything(torch, name, arrays, orders)
    found = _everything(lazy, name, arrays, orders, device=device)
    assert len(found) == len(wanted)
    for x, y in zip(found, wanted, strict=True):
        assert x.shape == y.shape and x.dtype == y.dtype
        np.testing.assert_allclose(x, y, rtol=1e-7, atol=1e-8 * max(1.0, np.abs(y).max(initial=0.0)))


EMPTY: list[Callable[[Any, Any], Any]] = [
    lambda t, x: t.linalg.svd(x),
    lambda t, x: t.linalg.svd(x, full_matrices=False),
    lambda t, x: t.linalg.qr(x),
    lambda t, x: t.linalg.qr(x, "complete"),
    lambda t, x: t.linalg.lu(x),
    lambda t, x: t.linalg.lu_factor_ex(x),
    lambda t, x: t.linalg.svdvals(x),
    lambda t, x: t.linalg.pinv(x),
    lambda t, x: t.linalg.matrix_rank(x),
    lambda t, x: t.linalg.matrix_norm(x),
    lambda t, x: t.linalg.cond(x),
    lambda t, x: t.geqrf(x),
]
SQUARE_EMPTY: list[Callable[[Any, Any], Any]] = [
    lambda t, x: t.linalg.cholesky_ex(x),
    lambda t, x: t.linalg.inv_ex(x),
    lambda t, x: t.linalg.det(x),
    lambda t, x: t.linalg.slogdet(x),
    lambda t, x: t.linalg.eigh(x),
    lambda t, x: t.linalg.solve_ex(x, x),
    lambda t, x: t.linalg.matrix_exp(x),
    lambda t, x: t.linalg.matrix_power(x, -2),
    lambda t, x: t.linalg.cholesky(x),
    lambda t, x: t.linalg.eigvalsh(x),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0), (0, 2, 2), (2, 0, 0), (2, 0, 3)], ids=str)
def test_empty(shape: tuple[int, ...], torch: Any) -> None:
    for call in EMPTY + (SQUARE_EMPTY if shape[-1] == shape[-2] else []):
        outcomes: list[Any] = []
        for t in (torch, lazy):
            try:
                outcomes.append([x.detach().numpy() for x in _leaves(call(t, t.zeros(*shape)))])
            except (RuntimeError, IndexError) as error:
                outcomes.append(error)
        if isinstance(outcomes[0], Exception):
            continue
        assert not isinstance(outcomes[1], Exception), (call, outcomes[1])
        for x, y in zip(*outcomes, strict=True):
            assert x.shape == y.shape and x.dtype == y.dtype
            np.testing.assert_array_equal(x, y)


@pytest.mark.filterwarnings("ignore")
def test_results_have_the_names_and_types_of_torch(torch: Any) -> None:
    for call in (
        lambda t, x: t.linalg.cholesky_ex(x),
        lambda t, x: t.linalg.eigh(x),
        lambda t, x: t.linalg.svd(x),
        lambda t, x: t.linalg.qr(x),
        lambda t, x: t.linalg.lu(x),
        lambda t, x: t.linalg.lu_factor(x),
        lambda t, x: t.linalg.lu_factor_ex(x),
        lambda t, x: t.linalg.inv_ex(x),
        lambda t, x: t.svd(x),
        lambda t, x: t.linalg.solve_ex(x, x),
        lambda t, x: t.linalg.slogdet(x),
        lambda t, x: t.qr(x),
        lambda t, x: t.linalg.lstsq(x, x),
        lambda t, x: t.linalg.lstsq(x, x, driver="gelsd"),
        lambda t, x: t.slogdet(x),
        lambda t, x: t.geqrf(x),
    ):
        a, b = (call(t, t.eye(3)) for t in (torch, lazy))
        assert type(a).__name__ == type(b).__name__
        names = repr(a).split("=")[0].rpartition("\n")[2]
        assert names in repr(b) and repr(b).startswith(f"lazygrad.return_types.{type(a).__name__}(")
        for x, y in zip(a, b, strict=True):
            assert str(x.dtype).partition(".")[2] == str(y.dtype).partition(".")[2]
            assert tuple(x.shape) == tuple(y.shape)


@pytest.mark.filterwarnings("ignore")
def test_graphs_have_the_names_of_torch(torch: Any) -> None:
    for call in (
        lambda t, x: t.linalg.cholesky(x),
        lambda t, x: t.cholesky(x),
        lambda t, x: t.linalg.inv(x),
        lambda t, x: x.inverse(),
        lambda t, x: t.linalg.solve(x, x),
        lambda t, x: x.det(),
        lambda t, x: t.linalg.slogdet(x)[1],
        lambda t, x: t.linalg.qr(x)[0],
        lambda t, x: t.linalg.eigh(x)[0],
        lambda t, x: t.linalg.eigvalsh(x),
        lambda t, x: t.linalg.svdvals(x),
        lambda t, x: t.linalg.lu(x)[1],
        lambda t, x: t.linalg.lu_factor(x)[0],
        lambda t, x: t.linalg.pinv(x),
        lambda t, x: t.linalg.matrix_exp(x),
        lambda t, x: t.linalg.solve_triangular(x, x, upper=True),
        lambda t, x: t.linalg.householder_product(x, x[0]),
    ):
        names = [call(t, t.eye(3).requires_grad_()).grad_fn.name() for t in (torch, lazy)]
        assert names[0] == names[1]


@pytest.mark.filterwarnings("ignore")
def test_least_squares(torch: Any) -> None:
    for shape, right in (((6, 3), (6, 2)), ((3, 6), (3, 2)), ((2, 6, 3), (2, 6)), ((5, 3), (5,))):
        a, b = M(shape), M(right, 1)
        for driver in (None, "gels", "gelsd", "gelss"):
            wanted = torch.linalg.lstsq(torch.tensor(a), torch.tensor(b), driver=driver)
            found = lazy.linalg.lstsq(lazy.tensor(a), lazy.tensor(b), driver=driver)
            for x, y in zip(found, wanted, strict=True):
                np.testing.assert_allclose(x.numpy(), y.numpy(), atol=1e-10)


def test_ranks(torch: Any) -> None:
    x = M((2, 5, 3)) @ np.diag([1.0, 1e-3, 0]) @ M((2, 3, 4))
    for options in ({}, {"atol": 1e-2}, {"rtol": 1e-1}, {"atol": 1e-9, "rtol": 1e-2}, {"tol": 0.5}):
        calls = [t.linalg.matrix_rank(t.tensor(x), **options).tolist() for t in (torch, lazy)]
        assert calls[0] == calls[1]
    bounds = np.array([1e-9, 1e2])
    calls = [t.linalg.matrix_rank(t.tensor(x), atol=t.tensor(bounds)).tolist() for t in (torch, lazy)]
    assert calls[0] == calls[1]
