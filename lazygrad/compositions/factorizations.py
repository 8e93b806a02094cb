"""Factorizations of matrices and triangular systems, with their derivatives.

The derivatives are those of Giles, "Collected Matrix Derivative Results" (2008), Seeger and others,
"Auto-Differentiating Linear Algebra" (2017), and Murray, "Differentiation of the Cholesky decomposition"
(2016), as PyTorch has them; each is made of rows that have derivatives themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from lazygrad import dtypes, ops
from lazygrad.compositions import axes
from lazygrad.compositions import matrices as m
from lazygrad.compositions.ordering import take_along
from lazygrad.graph import Node

# Triangular systems


@cache
def _solve_triangular_gradient(upper: bool, unit: bool) -> Callable[..., tuple[Node, Node]]:
    def gradient(g: Node, x: Node, a: Node, b: Node) -> tuple[Node, Node]:
        to_b = solve_triangular(m.transposed(a), g, not upper, unit)
        to_a = ops.neg(m.times(to_b, m.transposed(x)))
        offset = 1 if unit else 0
        return (m.upper(to_a, offset) if upper else m.lower(to_a, -offset)), to_b

    return gradient


def solve_triangular(a: Node, b: Node, upper: bool, unit: bool = False) -> Node:
    """The x with a x = b for triangular matrices a (..., n, n) and b (..., n, k) of one batch."""
    if not b.size:
        return b
    x = ops.solve_triangular(ops.detach(a), ops.detach(b), arg=(upper, unit))
    return ops.surrogate(x, a, b, arg=_solve_triangular_gradient(upper, unit))


def solve_triangular_right(a: Node, b: Node, upper: bool, unit: bool = False) -> Node:
    """The x with x a = b."""
    return m.transposed(solve_triangular(m.transposed(a), m.transposed(b), not upper, unit))


# Cholesky


def _cholesky_gradient(g: Node, factor: Node, x: Node) -> tuple[Node]:
    inner = m.lower(m.times(m.transposed(factor), g))
    both = ops.add(inner, m.transposed(m.lower(inner, -1)))
    left = solve_triangular(m.transposed(factor), both, True)
    return (ops.mul(solve_triangular_right(factor, left, False), axes.full(0.5, x)),)


def cholesky(x: Node) -> Node:
    """The lower triangular L with x = L L^T of symmetric matrices (..., n, n), of which the lower halves are
    read; NaN on the diagonal of L from the first place on where x is seen not to be positive definite."""
    if not x.size:
        return x
    return ops.surrogate(ops.cholesky(ops.detach(x)), x, arg=_cholesky_gradient)


# Elimination


def _eliminated(x: Node) -> Node:
    return ops.lu(ops.detach(x))


def pivots(x: Node) -> Node:
    """The rows, from 1, that the steps of `lu` swapped theirs with, (..., k) int32."""
    k = min(x.shape[-2:])
    if not x.size:
        return m.empty(x, (*x.shape[:-2], k), dtypes.int32)
    found = m.rows(m.columns(_eliminated(x), x.shape[-1], x.shape[-1] + 1), 0, k)
    found = axes.cast(axes.drop_axes(found, (x.ndim - 1,)), dtypes.int32)
    return ops.add(found, axes.full(1, found))


def order(x: Node) -> Node:
    """The order of x's rows in which x is the product of `lu`'s factors, (..., m) int64."""
    if not x.size:
        return axes.places(x.shape[:-1], x.ndim - 2)
    found = m.columns(_eliminated(x), x.shape[-1] + 1, x.shape[-1] + 2)
    return axes.cast(axes.drop_axes(found, (x.ndim - 1,)), dtypes.int64)


def ordered_rows(x: Node, places: Node) -> Node:
    """Row i is row places[..., i] of x."""
    shape = (*x.shape[:-2], places.shape[-1], x.shape[-1])
    return take_along(x, axes.expand(m.as_column(places), shape), x.ndim - 2) if x.size else x


def inverse_order(places: Node) -> Node:
    """Where each row comes from, if they went to `places`."""
    return ops.argsort(places, arg=(places.ndim - 1, False)) if places.size else places


def _lu_gradient(g: Node, packed: Node, x: Node) -> tuple[Node]:
    rows, columns = x.shape[-2:]
    k = min(rows, columns)
    left, right = m.lower(m.columns(packed, 0, k), -1), m.upper(m.rows(packed, 0, k))
    left = ops.add(left, m.eye(x, rows, k))
    to_left, to_right = m.lower(m.columns(g, 0, k), -1), m.upper(m.rows(g, 0, k))
    square, triangle = m.rows(left, 0, k), m.columns(right, 0, k)
    by_left = m.times(m.transposed(left), to_left)
    by_right = m.times(to_right, m.transposed(right))
    if rows >= columns:
        # [L^-T triu(gU U^T - L^T gL); 0] + [gL] , times U^-T
        inner = solve_triangular(m.transposed(square), m.upper(ops.sub(by_right, by_left)), True, True)
        whole = ops.add(axes.pad_axis(inner, x.ndim - 2, 0, rows - k), to_left)
        total = solve_triangular_right(m.transposed(triangle), whole, False)
    else:
        inner = solve_triangular_right(m.transposed(triangle), m.lower(ops.sub(by_left, by_right), -1), False)
        whole = ops.add(axes.pad_axis(inner, x.ndim - 1, 0, columns - k), to_right)
        total = solve_triangular(m.transposed(square), whole, True, True)
    return (ordered_rows(total, inverse_order(order(x))),)


def lu(x: Node) -> Node:
    """L, without its ones, below the diagonal and U on and above it, (..., m, n): x's rows in the order of
    `order` are L U. A column without any element but 0 to divide by leaves 0 on the diagonal of U."""
    if not x.size:
        return x
    return ops.surrogate(m.columns(_eliminated(x), 0, x.shape[-1]), x, arg=_lu_gradient)


def triangles(packed: Node) -> tuple[Node, Node]:
    """L (..., m, k) and U (..., k, n) of what `lu` gives."""
    rows, columns = packed.shape[-2:]
    k = min(rows, columns)
    left = ops.add(m.lower(m.columns(packed, 0, k), -1), m.eye(packed, rows, k))
    return left, m.upper(m.rows(packed, 0, k))


def solve_by_lu(packed: Node, places: Node, b: Node, adjoint: bool) -> Node:
    """The x with a x = b, or with a^T x = b, given `lu` and `order` of a; one batch."""
    if not b.size:
        return b
    if adjoint:
        inner = solve_triangular(m.transposed(packed), b, False)
        inner = solve_triangular(m.transposed(packed), inner, True, True)
        return ordered_rows(inner, inverse_order(places))
    inner = solve_triangular(packed, ordered_rows(b, places), False, True)
    return solve_triangular(packed, inner, True)


@cache
def _solve_gradient(adjoint: bool) -> Callable[..., tuple[Node, Node]]:
    def gradient(g: Node, x: Node, a: Node, b: Node) -> tuple[Node, Node]:
        to_b = solve(a, g, not adjoint)
        left, right = (x, to_b) if adjoint else (to_b, x)
        return ops.neg(m.times(left, m.transposed(right))), to_b

    return gradient


def solve(a: Node, b: Node, adjoint: bool = False) -> Node:
    """The x (..., n, k) with a x = b, or with a^T x = b; one batch. Singular matrices give inf and NaN."""
    if not b.size:
        return b
    constant = ops.detach(a)
    x = solve_by_lu(lu(constant), order(constant), ops.detach(b), adjoint)
    return ops.surrogate(x, a, b, arg=_solve_gradient(adjoint))


def inverse(x: Node) -> Node:
    """The inverses of matrices (..., n, n)."""
    return solve(x, m.eye(x, x.shape[-1]))


def sign_of_order(x: Node) -> Node:
    """1 where `lu` swapped rows an even number of times, else -1: (...)."""
    steps = ops.sub(pivots(x), ops.const(1, dtypes.int32, (*x.shape[:-2], x.shape[-1])))
    swapped = ops.ne(steps, axes.places(steps.shape, steps.ndim - 1, dtypes.int32))
    sign = ops.where(swapped, ops.const(-1, x.dtype, steps.shape), ops.const(1, x.dtype, steps.shape))
    return product(sign)


def product(x: Node) -> Node:
    """The products of vectors (..., n)."""
    if not x.shape[-1]:
        return ops.const(1, x.dtype, x.shape[:-1])
    return axes.drop_axes(ops.prod(x, arg=(x.ndim - 1,)), (x.ndim - 1,))


def _det_gradient(g: Node, det: Node, x: Node) -> tuple[Node]:
    # g * det * x^-T. Of a singular matrix: with the least number in place of each zero pivot, which the
    # product of both leaves no trace of
    constant = ops.detach(x)
    packed = lu(constant)
    pivot = m.diagonal(packed)
    least = ops.where(ops.eq(pivot, axes.full(0, pivot)), axes.full(m.epsilon(x), pivot), axes.full(0, pivot))
    packed = ops.add(packed, m.scaled_columns(m.eye(x, x.shape[-1]), least))
    one = m.eye(x, x.shape[-1])
    cofactors = solve_by_lu(packed, order(constant), one, True)
    size = ops.mul(product(m.diagonal(packed)), sign_of_order(constant))
    cofactors = ops.mul(cofactors, axes.expand(m.as_column(m.as_column(size)), x.shape))
    smooth = ops.mul(solve(x, one, True), axes.expand(m.as_column(m.as_column(determinant(x))), x.shape))
    whole = axes.expand(m.as_column(m.as_column(g)), x.shape)
    return (ops.mul(whole, ops.surrogate(cofactors, smooth)),)


def determinant(x: Node) -> Node:
    """The determinants (...) of matrices (..., n, n)."""
    if not x.size:
        return ops.const(1, x.dtype, x.shape[:-2])
    constant = ops.detach(x)
    value = ops.mul(product(m.diagonal(lu(constant))), sign_of_order(constant))
    return ops.surrogate(value, x, arg=_det_gradient)


def _log_gradient(g: Node, value: Node, x: Node) -> tuple[Node]:
    whole = axes.expand(m.as_column(m.as_column(g)), x.shape)
    return (ops.mul(whole, solve(x, m.eye(x, x.shape[-1]), True)),)


def sign_and_log(x: Node) -> tuple[Node, Node]:
    """The signs and the logarithms of the sizes of determinants."""
    if not x.size:
        return ops.const(1, x.dtype, x.shape[:-2]), ops.const(0, x.dtype, x.shape[:-2])
    constant = ops.detach(x)
    pivot = m.diagonal(lu(constant))
    sign = ops.mul(product(ops.sign(pivot)), sign_of_order(constant))
    value = axes.total(ops.log(ops.abs_(pivot)), (x.ndim - 2,))
    return sign, ops.surrogate(value, x, arg=_log_gradient)
