"""Integer expressions of loop indices and sizes, kept in one canonical form.

An `Expr` is a sum of integer multiples of atoms plus a constant. An atom is a loop variable, a value read
from an integer tensor, a quotient, a remainder or a product. Every atom has bounds, and arithmetic simplifies
with them: `(6*i + j) // 6` is `i` where `0 <= j < 6`. Sizes of shapes are `Size`: today a plain int, the
constant case of an `Expr`; code that computes with sizes uses `+ - * // %` only, so that symbolic sizes can
take their place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import gcd

Size = int
_INFINITE = 1 << 62


@dataclass(frozen=True)
class Var:
    """An index that runs over [0, extent)."""

    name: str
    extent: Size

    @property
    def bounds(self) -> tuple[int, int]:
        return 0, max(self.extent - 1, 0)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Dynamic:
    """An integer that is only known when the kernel runs, such as an index read from a tensor; bounds
    inclusive.

    `value` is whatever the floor above wants to find again: the computation that yields the integer.
    """

    name: str
    low: int
    high: int
    value: object = None

    @property
    def bounds(self) -> tuple[int, int]:
        return self.low, self.high

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Quotient:
    """Floor division of an expression by a positive constant."""

    base: Expr
    divisor: int

    @property
    def bounds(self) -> tuple[int, int]:
        low, high = self.base.bounds
        return low // self.divisor, high // self.divisor

    def __str__(self) -> str:
        return f"({self.base})//{self.divisor}"


@dataclass(frozen=True)
class Remainder:
    """The non-negative remainder of an expression by a positive constant."""

    base: Expr
    divisor: int

    @property
    def bounds(self) -> tuple[int, int]:
        return 0, self.divisor - 1

    def __str__(self) -> str:
        return f"({self.base})%{self.divisor}"


Atom = Var | Dynamic | Quotient | Remainder


class Expr:
    """A linear combination of atoms plus a constant; immutable, hashable, printable as code."""

    __slots__ = ("_bounds", "_hash", "_variables", "constant", "terms")
    terms: tuple[tuple[Atom, int], ...]
    constant: int

    def __init__(self, terms: tuple[tuple[Atom, int], ...] = (), constant: int = 0):
        self.terms, self.constant = terms, constant
        self._bounds: tuple[int, int] | None = None
        self._hash: int | None = None
        self._variables: frozenset[Var | Dynamic] | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expr) and self.constant == other.constant and self.terms == other.terms

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash((self.terms, self.constant))
        return self._hash

    @property
    def bounds(self) -> tuple[int, int]:
        """The least and the greatest value, inclusive."""
        if self._bounds is None:
            low = high = self.constant
            for atom, factor in self.terms:
                a, b = atom.bounds
                low += factor * (a if factor > 0 else b)
                high += factor * (b if factor > 0 else a)
            self._bounds = low, high
        return self._bounds

    @property
    def is_constant(self) -> bool:
        return not self.terms

    def __add__(self, other: Expr | int) -> Expr:
        if isinstance(other, int):
            return Expr(self.terms, self.constant + other) if other else self
        if not other.terms:
            return self + other.constant
        if not self.terms:
            return other + self.constant
        return _collect((*self.terms, *other.terms), self.constant + other.constant)

    __radd__ = __add__

    def __mul__(self, factor: int) -> Expr:
        if factor == 1:
            return self
        if factor == 0:
            return ZERO
        return Expr(tuple((atom, f * factor) for atom, f in self.terms), self.constant * factor)

    __rmul__ = __mul__

    def __neg__(self) -> Expr:
        return self * -1

    def __sub__(self, other: Expr | int) -> Expr:
        return self + (-other)

    def __rsub__(self, other: int) -> Expr:
        return -self + other

    def __floordiv__(self, divisor: int) -> Expr:
        assert divisor > 0, divisor
        if divisor == 1:
            return self
        multiple, rest = _split_multiples(self, divisor)
        return multiple + _quotient(rest, divisor)

    def __mod__(self, divisor: int) -> Expr:
        assert divisor > 0, divisor
        if divisor == 1:
            return ZERO
        _, rest = _split_multiples(self, divisor)
        return _remainder(rest, divisor)

    def __str__(self) -> str:
        parts = [str(atom) if f == 1 else f"{f}*{atom}" for atom, f in self.terms]
        if self.constant or not parts:
            parts.append(str(self.constant))
        return " + ".join(parts).replace("+ -", "- ")

    __repr__ = __str__


ZERO = Expr()


def const(value: int) -> Expr:
    """The expression of a constant."""
    return Expr((), value)


def var(name: str, extent: Size) -> Expr:
    """The expression of a loop index over [0, extent); the constant 0 where the loop runs once."""
    return Expr(((Var(name, extent), 1),)) if extent != 1 else ZERO


def dynamic(name: str, low: int, high: int, value: object = None) -> Expr:
    """The expression of an integer known only at run time, within [low, high]."""
    return Expr(((Dynamic(name, low, high, value), 1),))


def _order(term: tuple[Atom, int]) -> tuple[int, str]:
    return -abs(term[1]), str(term[0])


def _collect(terms: Iterable[tuple[Atom, int]], constant: int) -> Expr:
    """Sum like atoms, and put together again what one division took apart."""
    factors: dict[Atom, int] = {}
    for atom, factor in terms:
        factors[atom] = factors.get(atom, 0) + factor
    for atom, factor in factors.items():
        if isinstance(atom, Remainder) and factor:
            joined = _join_quotient(atom, factor, factors) or _join_remainder(atom, factor, factors)
            if joined is not None:
                partner, whole = joined
                rest = [(a, f) for a, f in factors.items() if a not in (atom, partner)]
                return _collect([*rest, *whole.terms], constant + whole.constant)
    return Expr(tuple(sorted(((a, f) for a, f in factors.items() if f), key=_order)), constant)


def _join_quotient(r: Remainder, factor: int, factors: Mapping[Atom, int]) -> tuple[Atom, Expr] | None:
    """c*(e//c) + e%c is e: the partner of r among the terms, and what both are together."""
    quotient = r.base // r.divisor
    if len(quotient.terms) != 1 or quotient.terms[0][1] != 1:
        return None
    partner = quotient.terms[0][0]
    if factors.get(partner) != factor * r.divisor:
        return None
    return partner, (r.base - quotient.constant * r.divisor) * factor


def _join_remainder(r: Remainder, factor: int, factors: Mapping[Atom, int]) -> tuple[Atom, Expr] | None:
    """c*((e//c)%d) + e%c is e%(c*d): the partner of r among the terms, and what both are together."""
    for partner, f in factors.items():
        if isinstance(partner, Remainder) and f == factor * r.divisor and partner is not r:
            quotient = r.base // r.divisor  # e//c may be this plus m, where r.base left out the multiple c*m
            if quotient.terms and set(quotient.terms) <= set(partner.base.terms):
                e = (partner.base - quotient) * r.divisor + r.base
                return partner, e % (r.divisor * partner.divisor) * factor
    return None


def _split_multiples(e: Expr, divisor: int) -> tuple[Expr, Expr]:
    """e as (m, r) with e == divisor*m + r, where r holds what is no multiple."""
    multiple, rest = [], []
    for atom, factor in e.terms:
        q, r = divmod(factor, divisor)
        if r == 0:
            multiple.append((atom, q))
        else:
            rest.append((atom, factor))
    q, r = divmod(e.constant, divisor)
    whole, remaining = Expr(tuple(multiple), q), Expr(tuple(rest), r)
    low, high = remaining.bounds
    if low < 0 and high < divisor and low // divisor == high // divisor:
        shift = low // divisor
        return whole + shift, remaining - shift * divisor
    return whole, remaining


def _common_factor(e: Expr, divisor: int) -> int:
    g = divisor
    for _, factor in e.terms:
        g = gcd(g, factor)
    return g


def _quotient(e: Expr, divisor: int) -> Expr:
    low, high = e.bounds
    if low // divisor == high // divisor:
        return const(low // divisor)
    g = _common_factor(e, divisor)
    if g > 1:  # (g*x + c) // (g*d) is (x + c//g) // d
        e, divisor = Expr(tuple((a, f // g) for a, f in e.terms), e.constant // g), divisor // g
        return e // divisor
    inner = e.terms[0][0]
    if len(e.terms) == 1 and e.terms[0][1] == 1:
        if isinstance(inner, Quotient):  # (x//c + k) // d is (x + c*k) // (c*d)
            return (inner.base + inner.divisor * e.constant) // (inner.divisor * divisor)
        if isinstance(inner, Remainder) and e.constant == 0 and inner.divisor % divisor == 0:
            return inner.base // divisor % (inner.divisor // divisor)  # (x%(c*d)) // c is (x//c) % d
    return Expr(((Quotient(e, divisor), 1),))


def _remainder(e: Expr, divisor: int) -> Expr:
    low, high = e.bounds
    if low // divisor == high // divisor:
        return e - low // divisor * divisor
    g = _common_factor(e, divisor)
    if g > 1:  # (g*x + c) % (g*d) is g*((x + c//g) % d) + c%g
        inner = Expr(tuple((a, f // g) for a, f in e.terms), e.constant // g) % (divisor // g)
        return inner * g + e.constant % g
    if len(e.terms) == 1 and e.constant == 0 and e.terms[0][1] == 1 and isinstance(e.terms[0][0], Remainder):
        inner_atom = e.terms[0][0]
        if inner_atom.divisor % divisor == 0:
            return inner_atom.base % divisor
    return Expr(((Remainder(e, divisor), 1),))


def atoms(e: Expr) -> Iterable[Atom]:
    """Every atom of e, those inside quotients and remainders too."""
    stack = [e]
    while stack:
        for atom, _ in stack.pop().terms:
            yield atom
            if isinstance(atom, Quotient | Remainder):
                stack.append(atom.base)


def variables(e: Expr) -> frozenset[Var | Dynamic]:
    """The loop variables and run-time integers that e depends on."""
    if e._variables is None:
        e._variables = frozenset([a for a in atoms(e) if isinstance(a, Var | Dynamic)])
    return e._variables


def substitute(e: Expr, values: Mapping[Atom, Expr]) -> Expr:
    """e with variables replaced, simplified again."""
    result = const(e.constant)
    for atom, factor in e.terms:
        result = result + _substitute_atom(atom, values) * factor
    return result


def _substitute_atom(atom: Atom, values: Mapping[Atom, Expr]) -> Expr:
    if atom in values:
        return values[atom]
    if isinstance(atom, Quotient):
        return substitute(atom.base, values) // atom.divisor
    if isinstance(atom, Remainder):
        return substitute(atom.base, values) % atom.divisor
    return Expr(((atom, 1),))


def flatten(index: Iterable[Expr], shape: Iterable[Size]) -> Expr:
    """The row-major offset of an index within a shape."""
    result = ZERO
    for i, size in zip(index, shape, strict=True):
        result = result * size + i
    return result


def unflatten(offset: Expr, shape: tuple[Size, ...]) -> tuple[Expr, ...]:
    """The index within a shape of a row-major offset."""
    result: list[Expr] = []
    for size in reversed(shape):
        result.append(offset % size if size > 0 else ZERO)
        offset = offset // size if size > 0 else ZERO
    return tuple(reversed(result))


@dataclass(frozen=True)
class Guard:
    """A condition low <= e < high."""

    e: Expr
    low: int
    high: int

    @property
    def always(self) -> bool:
        a, b = self.e.bounds
        return self.low <= a and b < self.high

    @property
    def never(self) -> bool:
        a, b = self.e.bounds
        return b < self.low or a >= self.high

    def __str__(self) -> str:
        return f"{self.low} <= {self.e} < {self.high}"
