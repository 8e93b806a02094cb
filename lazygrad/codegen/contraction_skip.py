"""Terms that a guard leaves out for all columns of a tile: the loops over k pass them by.

    for i in 24: for k in 5: out[i] += a[k] * b[i - k] if 0 <= i - k < 20     (i of n, k of k)

n is put in an order in which a tile of columns holds one value of i (of what lies outside of i, as much goes
inside as fills tiles), and k becomes the outermost of its kind, so that what counts is one run of it:
`turns`, here [i - 19, i + 1). What a guard of the product leaves out is no term of the sum; a guard of a
factor alone makes terms that are 0 * x, which count.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import gcd

from lazygrad import expr
from lazygrad.codegen.contraction import Contraction, substituted
from lazygrad.codegen.contraction_tiles import index
from lazygrad.expr import Expr, Guard, Var
from lazygrad.helpers import product

WORTH = 0.03  # of all terms: below that, order in memory is worth more


@dataclass(frozen=True)
class Skip:
    """Terms count where low <= step * column + sign * term + constant < high; `inner`: columns of n at one
    value of `column`."""

    column: Var
    term: Var
    step: int
    sign: int
    constant: int
    low: int
    high: int
    inner: int

    @property
    def share(self) -> float:
        """The part of all terms that do not count."""
        kept = 0
        for i in range(self.column.extent):
            begin, end = self.turns(expr.const(i * self.inner))
            kept += max(0, min(end.constant, self.term.extent) - max(begin.constant, 0))
        return 1 - kept / (self.column.extent * self.term.extent)

    def turns(self, first: Expr) -> tuple[Expr, Expr]:
        """Values of `term` that count in a tile whose first column is the `first` of n: [begin, end), which
        may reach beyond its extent."""
        place = first // self.inner % self.column.extent * self.step + self.constant
        if self.sign > 0:  # low - place <= term < high - place
            return place * -1 + self.low, place * -1 + self.high
        return place + (1 - self.high), place + (1 - self.low)


def with_skip(found: Contraction, width: int) -> tuple[Contraction, Skip | None]:
    """The contraction with its axes in the order that lets tiles of `width` columns pass by most terms."""
    tried = [made for g in found.absent for made in [_ordered(found, g, width)] if made is not None]
    best = max(tried, key=lambda made: made[1].share, default=None)
    return (found, None) if best is None or best[1].share < WORTH else best


def _ordered(found: Contraction, guard: Guard, width: int) -> tuple[Contraction, Skip] | None:
    """The contraction in the order that a guard asks for, where it speaks of a variable of n and one of k."""
    factors = {atom: factor for atom, factor in guard.e.terms if isinstance(atom, Var)}
    columns = [v for v in found.n if v in factors]
    terms = [v for v in found.k if v in factors]
    if not len(columns) == len(terms) == 1 or len(guard.e.terms) != 2 or abs(factors[terms[0]]) != 1:
        return None
    column, term = columns[0], terms[0]
    place = found.n.index(column)
    before, after = found.n[:place], found.n[place + 1:]
    if not after:  # lanes run along it
        return None
    inner = product(v.extent for v in after)
    together = width // gcd(width, inner)
    if together > 1 and before:
        if before[-1].extent % together:
            return None
        found, parts = _split(found, before[-1], together)
        before, after = (*before[:-1], parts[0]), (parts[1], *after)
        inner *= together
    if inner % width:
        return None
    found = replace(found, n=(*before, column, *after), k=(term, *(v for v in found.k if v != term)))
    return found, Skip(column, term, factors[column], factors[term], guard.e.constant, guard.low, guard.high,
                       inner)


def _split(found: Contraction, v: Var, size: int) -> tuple[Contraction, tuple[Var, Var]]:
    """The contraction in which v is size * outer + inner, and the two."""
    outer, inner = Var(f"{v.name}_o", v.extent // size), Var(f"{v.name}_i", size)
    return substituted(found, {v: index(outer) * size + index(inner)}), (outer, inner)
