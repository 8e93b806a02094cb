"""Factorizations with orthogonal factors, and their derivatives: QR, eigenvalues of symmetric matrices,
singular values; and the exponential. The sources are those of `factorizations`."""

from __future__ import annotations

from lazygrad import ops
from lazygrad.compositions import axes
from lazygrad.compositions import matrices as m
from lazygrad.compositions.factorizations import solve_triangular_right
from lazygrad.differentiation import gradient
from lazygrad.graph import Node

# QR


def reflected(x: Node) -> tuple[Node, Node]:
    """(a, tau) as LAPACK's geqrf has them, of matrices (..., m, n): R on and above the diagonal of a, the
    reflections below it; no derivative."""
    rows, columns = x.shape[-2:]
    k = min(rows, columns)
    if not x.size:
        return x, m.empty(x, (*x.shape[:-2], k))
    both = ops.reflected(ops.detach(x))
    tau = axes.drop_axes(m.rows(m.columns(both, 0, k), rows, rows + 1), (x.ndim - 2,))
    return m.rows(both, 0, rows), tau


def _one_by_one(a: Node, tau: Node) -> Node:
    """`product_of` by one reflection after the other, each a product of matrices."""
    rows, n = a.shape[-2:]
    result = m.eye(a, rows, n)
    below = ops.add(m.lower(a, -1), result)
    for k in range(tau.shape[-1] - 1, -1, -1):
        v = m.columns(below, k, k + 1)
        factor = m.as_row(m.columns(tau, k, k + 1))
        scaled = ops.mul(v, axes.expand(factor, v.shape))
        result = ops.sub(result, m.times(scaled, m.times(m.transposed(v), result)))
    return result


def _product_gradient(g: Node, value: Node, a: Node, tau: Node) -> tuple[Node | None, ...]:
    return tuple(gradient([_one_by_one(a, tau)], [g], [a, tau], partial=True))


def product_of(a: Node, tau: Node) -> Node:
    """The first columns (..., m, n) of the product of the reflections in a (..., m, n), n <= m, and tau
    (..., k), k <= n."""
    if not a.size:
        return a
    padded = m.as_row(axes.pad_axis(tau, tau.ndim - 1, 0, a.shape[-1] - tau.shape[-1]))
    value = ops.reflection_product(ops.cat(ops.detach(a), ops.detach(padded), arg=a.ndim - 2))
    return ops.surrogate(value, a, tau, arg=_product_gradient)


def _qr_gradient(g: Node, both: Node, x: Node) -> tuple[Node]:
    rows, n = x.shape[-2:]
    q, r = m.rows(both, 0, rows), m.rows(both, rows, rows + n)
    to_q, to_r = m.rows(g, 0, rows), m.rows(g, rows, rows + n)
    inner = ops.sub(m.times(to_r, m.transposed(r)), m.times(m.transposed(q), to_q))
    inner = m.upper(inner)
    inner = ops.add(inner, m.transposed(m.upper(inner, 1)))
    return (solve_triangular_right(m.transposed(r), ops.add(to_q, m.times(q, inner)), False),)


def qr(x: Node) -> tuple[Node, Node]:
    """The reduced QR: Q (..., m, k) with orthonormal columns and upper triangular R (..., k, n)."""
    rows, columns = x.shape[-2:]
    k = min(rows, columns)
    if not x.size:
        return m.empty(x, (*x.shape[:-2], rows, k)), m.empty(x, (*x.shape[:-2], k, columns))
    if rows < columns:
        # the first columns have Q; the others are Q times what is found
        q, r = qr(m.columns(x, 0, k))
        rest = m.times(m.transposed(q), m.columns(x, k, columns))
        return q, ops.cat(r, rest, arg=x.ndim - 1)
    a, tau = reflected(x)
    both = ops.cat(product_of(a, tau), m.upper(m.rows(a, 0, k)), arg=x.ndim - 2)
    both = ops.surrogate(both, x, arg=_qr_gradient)
    return m.rows(both, 0, rows), m.rows(both, rows, rows + k)


def complete_qr(x: Node) -> tuple[Node, Node]:
    """The complete QR of matrices with more rows than columns: Q (..., m, m) and R (..., m, n)."""
    rows, columns = x.shape[-2:]
    if not x.size:
        return m.eye(x, rows), x
    a, tau = reflected(x)
    q = product_of(axes.pad_axis(a, x.ndim - 1, 0, max(rows - columns, 0)), tau)
    return q, m.upper(a)


def complement(x: Node) -> Node:
    """Orthonormal columns (..., m, m - n) beside those of the Q of matrices (..., m, n), m >= n; no
    derivative."""
    rows, columns = x.shape[-2:]
    return m.columns(complete_qr(ops.detach(x))[0], columns, rows)


# Eigenvalues


def _safe_inverse(differences: Node) -> Node:
    """1 / differences off the diagonal, 0 on it."""
    n = differences.shape[-1]
    return ops.div(ops.sub(axes.full(1, differences), m.eye(differences, n)),
                   ops.add(differences, m.eye(differences, n)))


def _skew(x: Node) -> Node:
    return ops.sub(x, m.transposed(x))


def _differences(values: Node) -> Node:
    """values[k] - values[j] at [j, k]."""
    shape = (*values.shape, values.shape[-1])
    return ops.sub(axes.expand(m.as_row(values), shape), axes.expand(m.as_column(values), shape))


def _on_diagonal(values: Node) -> Node:
    shape = (*values.shape, values.shape[-1])
    return ops.mul(m.eye(ops.const(0, values.dtype, shape), values.shape[-1]),
                   axes.expand(m.as_row(values), shape))


def _last_row(x: Node) -> Node:
    return axes.drop_axes(m.rows(x, x.shape[-2] - 1, x.shape[-2]), (x.ndim - 2,))


def _eigh_gradient(g: Node, both: Node, x: Node) -> tuple[Node]:
    n = x.shape[-1]
    vectors, values = m.rows(both, 0, n), _last_row(both)
    turned = ops.mul(_skew(m.times(m.transposed(vectors), m.rows(g, 0, n))), axes.full(0.5, x))
    inner = ops.add(ops.mul(turned, _safe_inverse(_differences(values))), _on_diagonal(_last_row(g)))
    return (m.times(m.times(vectors, inner), m.transposed(vectors)),)


def eigh(x: Node) -> tuple[Node, Node]:
    """Eigenvalues (..., n), ascending, and eigenvectors as columns (..., n, n) of symmetric matrices, of
    which the lower halves are read; NaN for matrices that are not finite."""
    n = x.shape[-1]
    if not x.size:
        return m.empty(x, x.shape[:-1]), x
    both = ops.surrogate(ops.eigh(ops.detach(x), arg=True), x, arg=_eigh_gradient)
    return _last_row(both), m.rows(both, 0, n)


def _eigvalsh_gradient(g: Node, value: Node, x: Node) -> tuple[Node]:
    _, vectors = eigh(x)
    return (m.times(m.scaled_columns(vectors, g), m.transposed(vectors)),)


def eigvalsh(x: Node) -> Node:
    """The eigenvalues of `eigh`."""
    if not x.size:
        return m.empty(x, x.shape[:-1])
    return ops.surrogate(_last_row(ops.eigh(ops.detach(x), arg=False)), x, arg=_eigvalsh_gradient)


# Singular values


def _svd_gradient(g: Node, whole: Node, x: Node) -> tuple[Node]:
    rows, n = x.shape[-2:]
    u, v, s = m.rows(whole, 0, rows), m.rows(whole, rows, rows + n), _last_row(whole)
    to_u, to_v, to_s = m.rows(g, 0, rows), m.rows(g, rows, rows + n), _last_row(g)
    inverse = _safe_inverse(_differences(ops.mul(s, s)))
    turned_u = ops.mul(_skew(m.times(m.transposed(u), to_u)), inverse)
    turned_v = ops.mul(_skew(m.times(m.transposed(v), to_v)), inverse)
    inner = ops.add(m.scaled_columns(turned_u, s), m.scaled_rows(turned_v, s))
    inner = ops.add(inner, _on_diagonal(to_s))
    left = m.times(u, inner)
    if rows > n:
        outside = ops.sub(to_u, m.times(u, m.times(m.transposed(u), to_u)))
        left = ops.add(left, m.scaled_columns(outside, ops.reciprocal(s)))
    return (m.times(left, m.transposed(v)),)


def svd(x: Node) -> tuple[Node, Node, Node]:
    """The reduced U (..., m, k), singular values (..., k), descending, and V (..., n, k)."""
    rows, n = x.shape[-2:]
    k = min(rows, n)
    batch = x.shape[:-2]
    if not x.size:
        return m.empty(x, (*batch, rows, k)), m.empty(x, (*batch, k)), m.empty(x, (*batch, n, k))
    if rows < n:
        u, s, v = svd(m.transposed(x))
        return v, s, u
    if rows > n:
        q, r = qr(ops.detach(x))
        found = ops.svd(r, arg=True)
        found = ops.cat(m.times(q, m.rows(found, 0, n)), m.rows(found, n, 2 * n + 1), arg=x.ndim - 2)
    else:
        found = ops.svd(ops.detach(x), arg=True)
    whole = ops.surrogate(found, x, arg=_svd_gradient)
    return m.rows(whole, 0, rows), _last_row(whole), m.rows(whole, rows, rows + n)


def _svdvals_gradient(g: Node, value: Node, x: Node) -> tuple[Node]:
    u, _, v = svd(x)
    return (m.times(m.scaled_columns(u, g), m.transposed(v)),)


def svdvals(x: Node) -> Node:
    """The singular values of `svd`."""
    rows, n = x.shape[-2:]
    if not x.size:
        return m.empty(x, (*x.shape[:-2], min(rows, n)))
    small = m.transposed(ops.detach(x)) if rows < n else ops.detach(x)
    square = small if rows == n else m.upper(m.rows(reflected(small)[0], 0, min(rows, n)))
    return ops.surrogate(_last_row(ops.svd(square, arg=False)), x, arg=_svdvals_gradient)


# The pseudoinverse


def _pinv_gradient(g: Node, inverse: Node, x: Node) -> tuple[Node]:
    turned, back = m.transposed(g), m.transposed(inverse)
    if x.shape[-2] <= x.shape[-1]:
        k = m.times(turned, inverse)
        kept = m.times(k, back)
        total = ops.sub(kept, m.transposed(m.times(inverse, k)))
        total = ops.sub(total, m.times(m.times(x, inverse), kept))
        return (ops.add(total, m.times(m.times(back, inverse), ops.sub(turned, m.times(k, x)))),)
    k = m.times(inverse, turned)
    kept = m.times(back, k)
    total = ops.sub(m.times(m.times(ops.sub(turned, m.times(x, k)), inverse), back),
                    m.transposed(m.times(k, inverse)))
    return (ops.add(total, ops.sub(kept, m.times(m.times(kept, inverse), x))),)


def pinv(x: Node, least: Node, hermitian: bool) -> Node:
    """The pseudoinverses (..., n, m) of matrices (..., m, n), from the singular values (of symmetric matrices
    the sizes of eigenvalues) above `least` (..., 1)."""
    if not x.size:
        return m.transposed(x)
    constant = ops.detach(x)
    if hermitian:
        s, u = eigh(constant)
        v = u
    else:
        u, s, v = svd(constant)
    kept = ops.lt(axes.expand(least, s.shape), ops.abs_(s))
    inverse = ops.where(kept, ops.reciprocal(ops.where(kept, s, axes.full(1, s))), axes.full(0, s))
    value = m.times(m.scaled_columns(v, inverse), m.transposed(u))
    return ops.surrogate(value, x, arg=_pinv_gradient)


# The exponential


def _exp_gradient(g: Node, value: Node, x: Node) -> tuple[Node]:
    # exp([[x^T, g], [0, x^T]]) has the derivative in its corner (Mathias 1996)
    n = x.shape[-1]
    turned = m.transposed(x)
    high = ops.cat(turned, g, arg=x.ndim - 1)
    low = axes.pad_axis(turned, x.ndim - 1, n, 0)
    whole = matrix_exp(ops.cat(high, low, arg=x.ndim - 2))
    return (m.columns(m.rows(whole, 0, n), n, 2 * n),)


def matrix_exp(x: Node) -> Node:
    """The exponentials of matrices (..., n, n)."""
    if not x.size:
        return x
    return ops.surrogate(ops.matrix_exp(ops.detach(x)), x, arg=_exp_gradient)
