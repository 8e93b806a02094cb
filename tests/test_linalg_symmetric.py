"""Bunch and Kaufman's factorization of symmetric matrices: that factors are what LAPACK says they are, that
they solve, beside PyTorch to the pivot, errors, batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from linalg_inputs import matrix

import lazygrad as lazy
from lazygrad.errors import GradientError
from lazygrad.func import vmap
from lazygrad.linalg import LinAlgError


def _symmetric(x: np.ndarray) -> np.ndarray:
    return np.tril(x) + np.tril(x, -1).swapaxes(-1, -2)


def _hollow(shape: tuple[int, ...]) -> np.ndarray:
    """Zeros on the diagonal: every block of D has two rows at first."""
    return matrix(shape) * (1 - np.eye(shape[-1]))


def _sparse(shape: tuple[int, ...]) -> np.ndarray:
    """Few whole numbers: equal sizes, and pivots of 0."""
    rng = np.random.default_rng(3)
    return np.round(rng.standard_normal(shape)) * (rng.random(shape) < 0.5)


def _positive(shape: tuple[int, ...]) -> np.ndarray:
    x = matrix(shape)
    return x @ x.swapaxes(-1, -2) + np.eye(shape[-1])


MATRICES = {"any": matrix, "hollow": _hollow, "sparse": _sparse, "positive": _positive}
SHAPES = [(1, 1), (2, 2), (3, 3), (4, 4), (5, 3, 3), (2, 3, 7, 7), (3, 17, 17), (2, 0, 0), (0, 3, 3)]
PRECISE = {"float32": 3e-4, "float64": 1e-10}


def _product(packed: np.ndarray, pivots: np.ndarray) -> np.ndarray:
    """The matrix whose factors, in the form of LAPACK's sytrf, these are."""
    n, k = len(packed), 0
    left, middle = np.eye(n), np.zeros((n, n))
    while k < n:
        end = k + 1 if pivots[k] > 0 else k + 2
        middle[k:end, k:end] = _symmetric(packed[k:end, k:end])
        swap = np.eye(n)
        rows = [end - 1, abs(pivots[k]) - 1]
        swap[rows] = swap[rows[::-1]]
        step = np.eye(n)
        step[end:, k:end] = packed[end:, k:end]
        left = left @ swap @ step
        k = end
    return left @ middle @ left.T


@pytest.mark.parametrize("kind", MATRICES)
@pytest.mark.parametrize("dtype", PRECISE)
def test_factors(kind: str, dtype: str, device: str) -> None:
    for shape in SHAPES:
        x = _symmetric(MATRICES[kind](shape)).astype(dtype)
        bound = PRECISE[dtype] * max(1.0, np.abs(x).max(initial=0))
        upper_differs = lazy.tensor(x, device=device) + lazy.ones(shape[-1], shape[-1], device=device).triu(1)
        found = lazy.linalg.ldl_factor_ex(upper_differs.to(getattr(lazy, dtype)), hermitian=True)
        assert found.LD.dtype is getattr(lazy, dtype) and found.pivots.dtype is found.info.dtype is lazy.int32
        assert tuple(found.pivots.shape) == shape[:-1] and tuple(found.info.shape) == shape[:-2]
        packed, pivots, info = (t.numpy() for t in found)
        assert (np.triu(packed, 1) == 0).all()
        for place in np.ndindex(shape[:-2]):
            np.testing.assert_allclose(_product(packed[place], pivots[place]), x[place], atol=bound)
            alone = np.diagonal(packed[place])[pivots[place] > 0]
            assert (info[place] == 0) == (alone != 0).all()
        right = matrix((*shape[:-1], 3), 1).astype(dtype)
        if not (kind == "sparse" or kind == "hollow" and shape[-1] == 1):
            right_here = lazy.tensor(right, device=device)
            solution = lazy.linalg.ldl_solve(found.LD, found.pivots, right_here).numpy()
            scale = max(1.0, np.abs(solution).max(initial=0))
            np.testing.assert_allclose(x @ solution, right, atol=bound * scale)


@pytest.mark.parametrize("dtype", PRECISE)
def test_beside_torch(dtype: str, device: str) -> None:
    torch = pytest.importorskip("torch")
    for kind, make in MATRICES.items():
        for shape in [*SHAPES, (40, 40)]:
            if kind == "sparse" and shape[-1] > 7:
                continue  # equal sizes, after rounding: which is greater is chance
            x = make(shape).astype(dtype)
            wanted = torch.linalg.ldl_factor_ex(torch.tensor(x))
            found = lazy.linalg.ldl_factor_ex(lazy.tensor(x, device=device))
            assert found.pivots.tolist() == wanted.pivots.tolist(), (kind, shape)
            assert found.info.tolist() == wanted.info.tolist(), (kind, shape)
            bound = PRECISE[dtype]
            np.testing.assert_allclose(found.LD.numpy(), wanted.LD.numpy(), rtol=bound, atol=bound)
            if wanted.info.any() or not x.size:
                continue
            right = matrix((*shape[:-1], 2), 1).astype(dtype)
            solved = torch.linalg.ldl_solve(wanted.LD, wanted.pivots, torch.tensor(right)).numpy()
            mine = [lazy.tensor(t, device=device) for t in (wanted.LD.numpy(), wanted.pivots.numpy(), right)]
            bound *= 10 * max(1.0, np.abs(solved).max())
            np.testing.assert_allclose(lazy.linalg.ldl_solve(*mine).numpy(), solved, rtol=bound, atol=bound)


def test_large_matrices() -> None:
    for size in (130, 257):
        x = _symmetric(matrix((size, size)))
        packed, pivots = lazy.linalg.ldl_factor(lazy.tensor(x))
        assert (pivots < 0).any()
        np.testing.assert_allclose(_product(packed.numpy(), pivots.numpy()), x, atol=1e-10)
        right = matrix((size, 40))
        found = lazy.linalg.ldl_solve(packed, pivots, lazy.tensor(right)).numpy()
        np.testing.assert_allclose(x @ found, right, atol=1e-9)


def test_what_has_nothing_to_divide_by(device: str) -> None:
    x = np.stack([np.eye(3), np.zeros((3, 3)), np.diag([1.0, 0, 2]), np.ones((3, 3)), np.eye(3)])
    x[4, 1:, 1:] = [[0, 5], [5, 0]]
    found = lazy.linalg.ldl_factor_ex(lazy.tensor(x, device=device))
    assert found.info.tolist() == [0, 1, 2, 2, 0]
    assert found.pivots.tolist() == [[1, 2, 3]] * 4 + [[1, -3, -3]]
    assert found.LD[4].tolist() == [[1.0, 0, 0], [0, 0, 0], [0, 5, 0]]
    message = r"linalg.ldl_factor(_ex)?: \(Batch element 1\): D\[1,1\] is zero"
    with pytest.raises(LinAlgError, match=message):
        lazy.linalg.ldl_factor(lazy.tensor(x, device=device))
    with pytest.raises(RuntimeError, match=message):
        lazy.linalg.ldl_factor_ex(lazy.tensor(x, device=device), check_errors=True)


def test_what_is_not_a_number(device: str) -> None:
    found = lazy.linalg.ldl_factor_ex(lazy.full((3, 3), float("nan"), device=device))
    assert found.pivots.tolist() == [-2, -2, 3] and found.info.item() == 3
    assert found.LD.isnan().tolist() == np.tril(np.ones((3, 3), bool)).tolist()


def test_batches_broadcast(device: str) -> None:
    x, right = _symmetric(matrix((4, 1, 5, 5))), matrix((3, 5, 2), 1)
    packed, pivots = lazy.linalg.ldl_factor(lazy.tensor(x, device=device))
    for places in (pivots, pivots.long()):
        found = lazy.linalg.ldl_solve(packed, places, lazy.tensor(right, device=device))
        assert found.shape == (4, 3, 5, 2)
        np.testing.assert_allclose(x @ found.numpy(), np.broadcast_to(right, (4, 3, 5, 2)), atol=1e-10)
    none = lazy.ones(5, 0, device=device).double()
    assert lazy.linalg.ldl_solve(packed, pivots, none).shape == (4, 1, 5, 0)
    every = vmap(lambda a, b: lazy.linalg.ldl_solve(*lazy.linalg.ldl_factor(a), b))
    one_each = every(lazy.tensor(x[:3, 0], device=device), lazy.tensor(right, device=device))
    np.testing.assert_allclose(x[:3, 0] @ one_each.numpy(), right, atol=1e-10)


def test_results_where_they_are_told() -> None:
    x, right = _symmetric(matrix((3, 3))), lazy.tensor(matrix((3, 2)))
    out = lazy.empty(0).double(), lazy.empty(0).int()
    found = lazy.linalg.ldl_factor(lazy.tensor(x), out=out)
    assert found[0] is out[0] and found[1] is out[1]
    wanted = x @ right.numpy()
    lazy.linalg.ldl_solve(*out, lazy.tensor(wanted), out=right)
    np.testing.assert_allclose(x @ right.numpy(), wanted, atol=1e-12)


@pytest.mark.parametrize("shift", [-5, 0, 100])
def test_pivots_from_elsewhere(shift: int, device: str) -> None:
    x = lazy.linalg.ldl_factor(lazy.tensor(_hollow((4, 4)), device=device)).LD
    pivots, right = lazy.tensor([shift, -4, -1, -4], device=device), lazy.ones(4, 2, device=device).double()
    if abs(shift) > 4:
        with pytest.raises(RuntimeError, match=r"must all satisfy \|pivot\| <= LD.size\(-2\)"):
            lazy.linalg.ldl_solve(x, pivots, right)
    else:
        assert lazy.linalg.ldl_solve(x, pivots, right).numpy().shape == (4, 2)


def test_no_derivative() -> None:
    x = lazy.tensor(_positive((3, 3)), requires_grad=True)
    for made in (lazy.linalg.ldl_factor(x).LD,
                 lazy.linalg.ldl_solve(lazy.eye(3).double(), lazy.tensor([1, 2, 3]), x)):
        with pytest.raises(GradientError, match="has no derivative"):
            made.sum().backward()


MISTAKES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "not square": (lambda t: t.linalg.ldl_factor(t.ones(2, 3)), "must be batches of square matrices"),
    "one dimension": (lambda t: t.linalg.ldl_factor(t.ones(3)), "must have at least 2 dimensions"),
    "whole numbers": (lambda t: t.linalg.ldl_factor(t.ones(3, 3).int()), "Expected a floating point"),
    "pivots of floats": (
        lambda t: t.linalg.ldl_solve(t.eye(2), t.ones(2), t.eye(2)),
        "Expected pivots to be integers. Got Float",
    ),
    "few pivots": (
        lambda t: t.linalg.ldl_solve(t.eye(2), t.ones(1).int(), t.eye(2)),
        r"Expected LD.shape\[:-1\] and pivots.shape to be the same",
    ),
    "other size": (
        lambda t: t.linalg.ldl_solve(t.eye(2), t.ones(2).int(), t.ones(3, 1)),
        "each A matrix is 2 by 2 but each b matrix is 3 by 1",
    ),
    "beyond": (
        lambda t: t.linalg.ldl_solve(t.eye(2), t.tensor([1, 3]).int(), t.ones(2, 1)),
        r"must all satisfy \|pivot\| <= LD.size\(-2\)",
    ),
    "other dtype": (
        lambda t: t.linalg.ldl_solve(t.eye(2), t.ones(2).int(), t.eye(2).double()),
        "to have the same dtype",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(name: str) -> None:
    call, message = MISTAKES[name]
    with pytest.raises(RuntimeError, match=message):
        call(lazy)
    torch: Any = pytest.importorskip("torch")
    with pytest.raises(RuntimeError, match=message):
        call(torch)
