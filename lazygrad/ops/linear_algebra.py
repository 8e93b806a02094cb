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
