"""Factorizations of matrices and triangular systems, with their derivatives.

The derivatives are those of Giles, "Collected Matrix Derivative Results" (2008), Seeger and others,
"Auto-Differentiating Linear Algebra" (2017), and Murray, "Differentiation of the Cholesky decomposition"
(2016), as PyTorch has them; each is made of rows that have derivatives themselves.
"""

from __future__ import annotations

from functools import cache

from lazygrad import ops
from lazygrad.compositions import axes
from lazygrad.compositions import matrices as m
from lazygrad.graph import Node


@cache
def _solve_triangular_gradient(upper: bool, unit: bool):
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
