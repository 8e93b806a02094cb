"""Rows over whole matrices: factorizations and what is solved with them. They have loops of their own.

The last two axes of an input are its matrices, those before count examples. A factorization of several parts
is one array: what does not fit in the matrix stands in rows or columns after it, numbers of rows as floats.
No row raises for a matrix that has no such factorization: the result holds NaN where that was seen. The
references are the textbook algorithms (Golub and Van Loan, "Matrix Computations"), for all examples at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lazygrad import dtypes
from lazygrad.graph import Node, Shape
from lazygrad.ops.table import Op, same_dtype


def _square(inputs: tuple[Node, ...], arg: Any) -> Shape:
    shape = inputs[0].shape
    assert len(shape) >= 2 and shape[-1] == shape[-2], shape
    return shape


def _wide(x: np.ndarray) -> np.ndarray:
    """A copy in the type that is computed with."""
    return np.array(x, dtype=np.float64 if x.dtype == np.float64 else np.float32)


def _matrix(name: str, arity: int, shape: Any, numpy: Any) -> Op:
    def reference(node: Node, *arrays: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return dtypes.round_to(numpy(node, *map(_wide, arrays)), node.dtype)

    return Op(name, "matrix", arity, shape, same_dtype, reference, dtypes=("float",))


def _cholesky(node: Node, x: np.ndarray) -> np.ndarray:
    out = np.zeros_like(x)
    for j in range(x.shape[-1]):
        done = out[..., j:, :j]
        column = x[..., j:, j] - (done @ out[..., j, :j, None])[..., 0]
        pivot = np.where(column[..., :1] > 0, column[..., :1], np.nan)
        out[..., j:, j] = column / np.sqrt(pivot)
    return out


# The lower L with x = L L^T of symmetric x, of which the lower half is read; from the first column on whose
# leading minor is not positive, NaN.
cholesky: Op = _matrix("cholesky", 1, _square, _cholesky)


def _solved_shape(inputs: tuple[Node, ...], arg: Any) -> Shape:
    a, b = inputs
    assert a.shape[:-2] == b.shape[:-2] and a.shape[-1] == a.shape[-2] == b.shape[-2], (a, b)
    return b.shape


def _solve_triangular(node: Node, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    upper, unit = node.arg
    n = a.shape[-1]
    for i in range(n - 1, -1, -1) if upper else range(n):
        known = slice(i + 1, n) if upper else slice(0, i)
        b[..., i, :] -= (a[..., i, None, known] @ b[..., known, :])[..., 0, :]
        if not unit:
            b[..., i, :] /= a[..., i, i, None]
    return b


# The x with a x = b, for triangular a; arg = (upper, unit): whether the upper half of a is read, else the
# lower one, and whether its diagonal counts as 1.
solve_triangular: Op = _matrix("solve_triangular", 2, _solved_shape, _solve_triangular)


def _lu_shape(inputs: tuple[Node, ...], arg: Any) -> Shape:
    *batch, m, n = inputs[0].shape
    return (*batch, m, n + 2)


def _lu(node: Node, x: np.ndarray) -> np.ndarray:
    m, n = x.shape[-2:]
    pivots = np.broadcast_to(np.arange(m, dtype=x.dtype), x.shape[:-1])[..., None]
    out = np.concatenate([x, pivots, pivots], -1)
    for k in range(min(m, n)):
        place = k + np.argmax(np.abs(out[..., k:, k]), -1)
        there = np.broadcast_to(place[..., None, None], (*x.shape[:-2], 1, n + 2))
        row = np.take_along_axis(out, there, -2)
        row[..., n] = out[..., k, None, n]
        found = out[..., k, :].copy()
        found[..., n] = np.take_along_axis(out, there, -2)[..., 0, n]
        np.put_along_axis(out, there, found[..., None, :], -2)
        out[..., k, :] = row[..., 0, :]
        out[..., k, n] = place
        pivot = out[..., k, None, k]
        factors = out[..., k + 1 :, k] / np.where(pivot == 0, 1, pivot)
        out[..., k + 1 :, k] = factors
        out[..., k + 1 :, k + 1 : n] -= factors[..., None] * out[..., k, None, k + 1 : n]
    return out


# x (m, n) with its rows in another order is L U: L, without its ones, below the diagonal of the first n
# columns, U on and above it; then a column of the row that each step swapped its own with, and one of the
# rows' numbers in their new order.
lu: Op = _matrix("lu", 1, _lu_shape, _lu)


def _ldl_shape(inputs: tuple[Node, ...], arg: Any) -> Shape:
    *batch, n, _ = _square(inputs, None)
    return (*batch, n, n + 1)


# of the greatest element beside it: a smaller one is no pivot; by this share elements grow least
LEAST_SHARE = (1 + 17**0.5) / 8


def _greatest(sizes: np.ndarray) -> tuple[Any, int]:
    """The greatest of numbers that are not negative, and where it is first; 0 where there are none."""
    if not len(sizes):
        return 0, 0
    return sizes.max(), int(np.argmax(sizes == sizes.max()))


def _symmetric_pivot(rest: np.ndarray) -> tuple[int, int, bool]:
    """(rows to take together, the row to swap with the last of them, whether there is anything but 0)."""
    size, (most, place) = abs(rest[0, 0]), _greatest(np.abs(rest[0, 1:]))
    if most == 0 and not size > 0:
        return 1, 0, False
    far = place + 1
    if size >= LEAST_SHARE * most:
        return 1, 0, True
    beside, _ = _greatest(np.abs(np.delete(rest[far], far)))
    if size >= LEAST_SHARE * most * (most / beside):
        return 1, 0, True
    return (1 if abs(rest[far, far]) >= LEAST_SHARE * beside else 2), far, True


def _ldl(node: Node, x: np.ndarray) -> np.ndarray:
    out = np.zeros(node.shape, x.dtype)
    for place in np.ndindex(x.shape[:-2]):
        _factor_symmetric(np.tril(x[place]) + np.tril(x[place], -1).T, out[place])
    return out


def _factor_symmetric(a: np.ndarray, out: np.ndarray) -> None:
    n, k = len(a), 0
    while k < n:
        rest = a[k:, k:]
        together, swapped, regular = _symmetric_pivot(rest)
        rows, last = slice(k, k + together), together - 1
        rest[[last, swapped]] = rest[[swapped, last]]
        rest[:, [last, swapped]] = rest[:, [swapped, last]]
        behind = rest[together:, :together]
        if together == 2:
            beside = rest[1, 0]
            first, second = rest[1, 1] / beside, rest[0, 0] / beside
            scale = (1 / (first * second - 1)) / beside
            factors = scale * (behind * [first, second] - behind[:, ::-1])
        else:
            factors = behind / rest[0, 0] if regular else behind
        out[rows, rows] = np.tril(rest[:together, :together])
        out[k + together :, rows] = factors
        out[rows, n] = (1 if together == 1 else -1) * (k + swapped + 1)
        rest[together:, together:] -= factors @ behind.T
        k += together


# Symmetric x, of which the lower half is read, with rows and columns in another order, is L D L^T (Bunch and
# Kaufman's diagonal pivoting): L without its ones below the diagonal blocks of D, of which each has one row
# or two, in the first n columns; then a column of the row, from 1, that each block's last row was swapped
# with, negative where the block has two rows. L's earlier columns are not swapped with the later ones.
ldl: Op = _matrix("ldl", 1, _ldl_shape, _ldl)


def _ldl_solved_shape(inputs: tuple[Node, ...], arg: Any) -> Shape:
    packed, b = inputs
    n = b.shape[-2]
    assert packed.shape == (*b.shape[:-2], n, n + 1), (packed, b)
    return b.shape


def _ldl_solve(node: Node, packed: np.ndarray, b: np.ndarray) -> np.ndarray:
    for place in np.ndindex(b.shape[:-2]):
        _solve_symmetric(packed[place], b[place])
    return b


def _solve_symmetric(a: np.ndarray, x: np.ndarray) -> None:
    n, k = len(a), 0
    places = np.clip(np.abs(a[:, n]) - 1, 0, n - 1).astype(np.int64)
    blocks = []
    while k < n:
        end = k + 2 if a[k, n] < 0 and k + 1 < n else k + 1
        swap = [end - 1, places[k]]
        x[swap] = x[swap[::-1]]
        x[end:] -= a[end:, k:end] @ x[k:end]
        if end == k + 2:
            beside = a[k + 1, k]
            first, second = a[k, k] / beside, a[k + 1, k + 1] / beside
            one, other = x[k] / beside, x[k + 1] / beside
            determinant = first * second - 1
            x[k] = (second * one - other) / determinant
            x[k + 1] = (first * other - one) / determinant
        else:
            x[k] /= a[k, k]
        blocks.append((k, end, swap))
        k = end
    for k, end, swap in reversed(blocks):
        x[k:end] -= a[end:, k:end].T @ x[end:]
        x[swap] = x[swap[::-1]]


# The x with a x = b, given what `ldl` made of a.
ldl_solve: Op = _matrix("ldl_solve", 2, _ldl_solved_shape, _ldl_solve)


def _reflected_shape(inputs: tuple[Node, ...], arg: Any) -> Shape:
    *batch, m, n = inputs[0].shape
    return (*batch, m + 1, n)


def _reflected(node: Node, x: np.ndarray) -> np.ndarray:
    m, n = x.shape[-2:]
    out = np.concatenate([x, np.zeros_like(x[..., :1, :])], -2)
    for k in range(min(m, n)):
        alpha, rest = out[..., k, k], out[..., k + 1 : m, k]
        done = np.all(rest == 0, -1)
        unit = np.maximum(np.max(np.abs(rest), -1, initial=0), np.abs(alpha))
        unit = np.where(unit == 0, 1, unit)
        norm = unit * np.sqrt((alpha / unit) ** 2 + np.sum((rest / unit[..., None]) ** 2, -1))
        beta = np.where(done, alpha, np.where(alpha < 0, norm, -norm))
        tau = np.where(done, 0, (beta - alpha) / np.where(done, 1, beta))
        v = np.ones_like(out[..., k:m, k])
        v[..., 1:] = rest / np.where(done, 1, alpha - beta)[..., None]
        behind = out[..., k:m, k + 1 :]
        behind -= (tau[..., None] * v)[..., None] * (v[..., None, :] @ behind)
        out[..., k, k] = beta
        out[..., k + 1 : m, k] = v[..., 1:]
        out[..., m, k] = tau
    return out


# The QR factorization of x (m, n) by Householder's reflections: R on and above the diagonal, below it the v
# of each reflection I - tau v v^T without its first 1; then a row of tau.
reflected: Op = _matrix("reflected", 1, _reflected_shape, _reflected)


def _product_shape(inputs: tuple[Node, ...], arg: Any) -> Shape:
    *batch, m, n = inputs[0].shape
    assert n <= m - 1, inputs
    return (*batch, m - 1, n)


def _reflection_product(node: Node, x: np.ndarray) -> np.ndarray:
    m, n = node.shape[-2:]
    out = np.broadcast_to(np.eye(m, n, dtype=x.dtype), node.shape).copy()
    for k in range(n - 1, -1, -1):
        v = x[..., k:m, k].copy()
        v[..., 0] = 1
        rest = out[..., k:, k:]
        rest -= (x[..., m, k, None] * v)[..., None] * (v[..., None, :] @ rest)
    return out


# The first n columns (m, n) of the product of n reflections, given as `reflected` gives them.
reflection_product: Op = _matrix("reflection_product", 1, _product_shape, _reflection_product)


def _eigh_shape(inputs: tuple[Node, ...], vectors: bool) -> Shape:
    *batch, n, _ = _square(inputs, None)
    return (*batch, n + 1 if vectors else 1, n)


def _finite(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which matrices are finite, (..., 1, 1), and x with zeros for the others."""
    finite = np.isfinite(x).all((-1, -2), keepdims=True)
    return finite, np.where(finite, x, 0)


def _eigh(node: Node, x: np.ndarray) -> np.ndarray:
    finite, lower = _finite(np.tril(x))
    values, vectors = np.linalg.eigh(lower, "L")
    found = np.concatenate([vectors, values[..., None, :]], -2)
    return np.where(finite, found if node.arg else found[..., -1:, :], np.nan)


# The eigenvalues of symmetric x, of which the lower half is read, in a last row, ascending; above them, where
# arg is true, the eigenvectors as columns.
eigh: Op = _matrix("eigh", 1, _eigh_shape, _eigh)


def _svd_shape(inputs: tuple[Node, ...], vectors: bool) -> Shape:
    *batch, n, _ = _square(inputs, None)
    return (*batch, 2 * n + 1 if vectors else 1, n)


def _svd(node: Node, x: np.ndarray) -> np.ndarray:
    finite, x = _finite(x)
    u, s, v = np.linalg.svd(x)
    found = [s[..., None, :]]
    if node.arg:
        found = [u, v.swapaxes(-1, -2), *found]
    return np.where(finite, np.concatenate(found, -2), np.nan)


# The singular values of square x in a last row, descending; above them, where arg is true, U and V with
# x = U diag(values) V^T.
svd: Op = _matrix("svd", 1, _svd_shape, _svd)


def _matrix_exp(node: Node, x: np.ndarray) -> np.ndarray:
    norm = np.abs(x).sum(-1).max(-1)[..., None, None]
    squarings = np.where(np.isfinite(norm) & (norm > 0.5), np.frexp(norm)[1] + 1, 0)
    x = x * np.exp2(-squarings).astype(x.dtype)
    one = np.eye(x.shape[-1], dtype=x.dtype)
    out = np.broadcast_to(one, x.shape)
    for k in range(18, 0, -1):
        out = one + x @ out / k
    for k in range(squarings.max(initial=0)):
        out = np.where(k < squarings, out @ out, out)
    return out


# The exponential of square x.
matrix_exp: Op = _matrix("matrix_exp", 1, _square, _matrix_exp)
