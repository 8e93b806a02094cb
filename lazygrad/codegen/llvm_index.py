"""Index expressions as LLVM values: scalars, the lanes of a vector loop, and the masks of guards.

Inside a vector loop a value is either uniform (one scalar `Value`) or a list of vectors, one for each part:
`parts`
vectors of `lanes` neighbours are computed together. Expressions are evaluated in lane 0 of a part; `stride`
says how
they go on from lane to lane, and where they do not go on evenly, `vector` computes every lane.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import gcd

from lazygrad import expr
from lazygrad.codegen.llvm_builder import Builder
from lazygrad.codegen.llvm_values import Value, constant, constant_vector
from lazygrad.dtypes import DType
from lazygrad.expr import Atom, Dynamic, Expr, Guard, Quotient, Remainder, Var

Rendered = Value | list[Value]


@dataclass(frozen=True)
class Lanes:
    """An open vector loop. `base` is the variable in lane 0 of part 0, always a multiple of `lanes`; of the
    last part
    only the first `last` lanes exist."""

    var: Var
    lanes: int
    parts: int
    base: Value | int
    last: int

    def valid(self, part: int) -> int:
        """How many lanes of a part exist."""
        return self.last if part == self.parts - 1 else self.lanes

    def mask(self, part: int) -> Value | None:
        """The lanes of a part that exist; None if all do."""
        valid = self.valid(part)
        return None if valid == self.lanes else constant_vector("i1", [t < valid for t in range(self.lanes)])


@dataclass
class Scope:
    """What is known in one body: values of Lets with their dtypes, loop variables, and index values already
    computed."""

    parent: Scope | None = None
    lets: dict[str, tuple[Rendered, DType]] = field(default_factory=dict)
    variables: dict[Var, Value] = field(default_factory=dict)
    indices: dict[tuple[Expr | Atom, int], Value] = field(default_factory=dict)

    def let(self, name: str) -> tuple[Rendered, DType]:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.lets:
                return scope.lets[name]
            scope = scope.parent
        raise AssertionError(f"{name} is read where no Let has bound it")

    def variable(self, var: Var) -> Value:
        scope: Scope | None = self
        while scope is not None:
            if var in scope.variables:
                return scope.variables[var]
            scope = scope.parent
        raise AssertionError(f"{var.name} is used outside its loop")

    def index(self, key: tuple[Expr | Atom, int]) -> Value | None:
        scope: Scope | None = self
        while scope is not None:
            if key in scope.indices:
                return scope.indices[key]
            scope = scope.parent
        return None


def fits_32_bits(e: Expr) -> bool:
    """Whether e and everything inside it stays within 32 bits, factors and shifts to non-negative values
    included."""
    limit = 1 << 30
    low = high = abs(e.constant)
    for atom, factor in e.terms:
        a, b = atom.bounds
        if isinstance(atom, Quotient | Remainder) and not fits_32_bits(atom.base):
            return False
        reach = max(abs(a), abs(b)) * abs(factor)
        low, high = low + reach, high + reach
    return high < limit and low < limit


class Indices:
    """Evaluates index expressions in the current scope of one function."""

    def __init__(self, builder: Builder):
        self.builder = builder
        self.scope = Scope()
        self.lanes: Lanes | None = None
        self.fixed: dict[Atom, Expr] = {}  # variables of expanded loops: constants
        self._varying: dict[Expr, bool] = {}

    # ---- scopes

    def open(self) -> Scope:
        """Enter a body; give the result to `close`."""
        outer, self.scope = self.scope, Scope(self.scope)
        return outer

    def close(self, outer: Scope) -> None:
        self.scope = outer

    def set_lanes(self, lanes: Lanes | None) -> None:
        self.lanes = lanes
        self._varying = {}

    def resolve(self, e: Expr) -> Expr:
        """e with the variables of expanded loops replaced by their numbers."""
        return expr.substitute(e, self.fixed) if self.fixed and e.terms else e

    def splat(self, x: Rendered) -> list[Value]:
        """One vector per part."""
        if isinstance(x, list):
            return x
        assert self.lanes is not None
        return [self.builder.splat(x, self.lanes.lanes)] * self.lanes.parts

    # ---- how an expression varies

    def varies(self, e: Expr) -> bool:
        """Whether e depends on the open vector loop's variable, itself or through a Let."""
        if self.lanes is None:
            return False
        if e not in self._varying:
            self._varying[e] = any(self._atom_varies(a) for a in expr.variables(e))
        return self._varying[e]

    def _atom_varies(self, atom: Atom) -> bool:
        if isinstance(atom, Dynamic):
            return isinstance(self.scope.let(atom.name)[0], list)
        return self.lanes is not None and atom == self.lanes.var

    def stride(self, e: Expr) -> int | None:
        """What e grows by from lane to lane within any part; None if not evenly."""
        if not self.varies(e):
            return 0
        assert self.lanes is not None
        return lane_stride(e, self.lanes.var, self.lanes.lanes, self._dynamic_varies)

    def _dynamic_varies(self, atom: Dynamic) -> bool:
        return isinstance(self.scope.let(atom.name)[0], list)

    def at_part(self, e: Expr, part: int) -> Expr:
        """e in lane 0 of a part, where the loop is expanded (its base is a number)."""
        assert self.lanes is not None and isinstance(self.lanes.base, int)
        return expr.substitute(e, {self.lanes.var: expr.const(self.lanes.base + part * self.lanes.lanes)})

    def runs(self, e: Expr) -> Runs | None:
        """The runs of neighbours that the lanes of a part fall into, where e does not go on evenly."""
        assert self.lanes is not None
        return lane_runs(e, self.lanes.var, self.lanes.lanes, self._dynamic_varies)

    # ---- scalars

    def at_lane(self, e: Expr, part: int, lane: Value) -> Value:
        """e as i64 in one lane of a part, whose number is only known at run time."""
        assert self.lanes is not None
        moved = Var(f"{self.lanes.var.name}_at", self.lanes.var.extent)
        first = self.scalar(Expr(((self.lanes.var, 1),)), part)
        outer, lanes = self.open(), self.lanes
        self.scope.variables[moved] = self.builder.add(first, lane, flags="nsw")
        self.lanes = None
        value = self.scalar(expr.substitute(e, {lanes.var: Expr(((moved, 1),))}))
        self.lanes = lanes
        self.close(outer)
        return value

    def scalar(self, e: Expr, part: int = 0) -> Value:
        """e as i64, in lane 0 of a part."""
        if self.varies(e):
            assert self.lanes is not None
            if isinstance(self.lanes.base, int):
                e, part = self.at_part(e, part), 0
        else:
            part = 0
        if e.is_constant:
            return constant("i64", e.constant)
        found = self.scope.index((e, part))
        if found is None:
            found = self._sum(e, part)
            self.scope.indices[e, part] = found
        return found

    def _sum(self, e: Expr, part: int) -> Value:
        b, total = self.builder, None
        for atom, factor in e.terms:
            x = self._atom(atom, part)
            x = x if factor == 1 else b.mul(x, factor, flags="nsw")
            total = x if total is None else b.add(total, x, flags="nsw")
        assert total is not None
        return b.add(total, e.constant, flags="nsw") if e.constant else total

    def _atom(self, atom: Atom, part: int) -> Value:
        found = self.scope.index((atom, part))
        if found is not None:
            return found
        b = self.builder
        match atom:
            case Var():
                if self.lanes is None or atom != self.lanes.var:
                    return self.scope.variable(atom)
                assert isinstance(self.lanes.base, Value)
                value = self.lanes.base
                if part:
                    value = b.add(value, part * self.lanes.lanes, atom.name, "nuw nsw")
            case Dynamic():
                bound, dtype = self.scope.let(atom.name)
                assert isinstance(bound, Value), f"{atom.name} varies from lane to lane"
                value = b.resize(bound, "i64", dtype.kind == "int")
            case Quotient() | Remainder():
                value = self._division(atom, self.scalar(atom.base, part))
        self.scope.indices[atom, part] = value
        return value

    def _division(self, atom: Quotient | Remainder, base: Value) -> Value:
        """Unsigned division, the base shifted by a multiple of the divisor where it may be negative."""
        b = self.builder
        shift = max(-(atom.base.bounds[0] // atom.divisor), 0)
        if shift:
            base = b.add(base, shift * atom.divisor, flags="nsw")
        if isinstance(atom, Remainder):
            return b.urem(base, atom.divisor)
        quotient = b.udiv(base, atom.divisor)
        return b.sub(quotient, shift, flags="nsw") if shift else quotient

    # ---- lanes

    def vector(self, e: Expr, part: int, type_: str = "") -> Value:
        """e in every lane of a part, as `type_`: by default i32 where all values fit, else i64."""
        assert self.lanes is not None
        b, lanes = self.builder, self.lanes.lanes
        type_ = type_ or ("i32" if fits_32_bits(e) else "i64")
        stride = self.stride(e)
        if stride is not None:
            first = b.splat(b.resize(self.scalar(e, part), type_), lanes)
            return (
                b.add(first, constant_vector(type_, [stride * t for t in range(lanes)])) if stride else first
            )
        even, total = Expr((), e.constant), None
        for atom, factor in e.terms:
            term = Expr(((atom, factor),))
            if self.stride(term) is not None:
                even = even + term
                continue
            x = self._atom_lanes(atom, part, type_)
            x = x if factor == 1 else b.mul(x, factor)
            total = x if total is None else b.add(total, x)
        assert total is not None
        return total if even == expr.ZERO else b.add(total, self.vector(even, part, type_))

    def _atom_lanes(self, atom: Atom, part: int, type_: str) -> Value:
        if isinstance(atom, Dynamic):
            bound, dtype = self.scope.let(atom.name)
            assert isinstance(bound, list)
            return self.builder.resize(bound[part], type_, dtype.kind == "int")
        assert isinstance(atom, Quotient | Remainder)
        return self._division(atom, self.vector(atom.base, part, type_))

    # ---- guards

    def holds(self, guards: Iterable[Guard], part: int = 0) -> Value | None:
        """Whether all guards hold: None if always, a scalar i1 if all lanes of the part agree, else one i1 a
        lane."""
        b, scalar, vector = self.builder, None, None
        for guard in guards:
            guard = Guard(self.resolve(guard.e), guard.low, guard.high)
            if guard.always:
                continue
            if guard.never or guard.high <= guard.low:
                return constant("i1", False)
            if self.stride(guard.e) == 0:
                test = self._within(guard, self.scalar(guard.e, part))
                scalar = test if scalar is None else b.and_(scalar, test)
            else:
                test = self._within(guard, self.vector(guard.e, part))
                vector = test if vector is None else b.and_(vector, test)
        if vector is None or scalar is None:
            return scalar if vector is None else vector
        return b.and_(vector, b.splat(scalar, vector.lanes))

    def _within(self, guard: Guard, x: Value) -> Value:
        b = self.builder
        low, high = guard.e.bounds
        if low >= guard.low:
            return b.icmp("slt", x, guard.high)
        if high < guard.high:
            return b.icmp("sge", x, guard.low)
        x = b.sub(x, guard.low) if guard.low else x
        return b.icmp("ult", x, guard.high - guard.low)

    def mask_of(self, holds: Value | None, part: int) -> Value | None:
        """The lanes of a part that exist and in which a condition holds, as a vector; None if all."""
        assert self.lanes is not None
        exist = self.lanes.mask(part)
        if holds is None:
            return exist
        holds = holds if holds.lanes else self.builder.splat(holds, self.lanes.lanes)
        return holds if exist is None else self.builder.and_(holds, exist)


def lane_stride(e: Expr, var: Var, lanes: int, varies: object = None) -> int | None:
    """What e grows by from lane to lane, if var runs over `lanes` neighbours from a multiple of `lanes` on.

    None if not evenly. A quotient is even if no multiple of its divisor can lie between the first lane and
    the last.
    `varies` tells of a Dynamic whether it differs between lanes.
    """
    total = 0
    for atom, factor in e.terms:
        if isinstance(atom, Var):
            total += factor if atom == var else 0
        elif isinstance(atom, Dynamic):
            if callable(varies) and varies(atom):
                return None
        else:
            inner = lane_stride(atom.base, var, lanes, varies)
            if inner is None or inner and not _stays_within(atom, inner, var, lanes):
                return None
            total += factor * inner if isinstance(atom, Remainder) else 0
    return total


@dataclass(frozen=True)
class Runs:
    """How lanes fall into runs of even steps: a new run begins where `base` is a multiple of `period`;
    there are at most `count`; within one the next lane is `stride` further."""

    base: Expr
    period: int
    count: int
    stride: int = 1


def lane_runs(e: Expr, var: Var, lanes: int, varies: object = None) -> Runs | None:
    """The runs within which e grows evenly from lane to lane; None if it does not go in such runs."""
    breaks: list[tuple[Expr, int]] = []

    def slope(e: Expr) -> int | None:
        total = 0
        for atom, factor in e.terms:
            if isinstance(atom, Var):
                total += factor if atom == var else 0
            elif isinstance(atom, Dynamic):
                if callable(varies) and varies(atom):
                    return None
            else:
                inner = slope(atom.base)
                if inner is None:
                    return None
                if inner and not _stays_within(atom, inner, var, lanes):
                    if inner != 1 or lane_stride(atom.base, var, lanes, varies) is None:
                        return None
                    breaks.append((atom.base, atom.divisor))
                total += factor * inner if isinstance(atom, Remainder) else 0
        return total

    stride = slope(e)
    if not stride or not breaks:
        return None
    base, period = min(breaks, key=lambda pair: pair[1])
    for other, divisor in breaks:  # all of them must fall on multiples of the shortest
        apart = other - base
        if divisor % period or apart.constant % period or any(factor % period for _, factor in apart.terms):
            return None
    step = period  # of the base in lane 0
    for atom, factor in base.terms:
        step = gcd(step, factor * lanes if atom == var else factor)
    return Runs(base, period, 1 + max(0, -(-(lanes - step + base.constant % step) // period)), stride)


def _stays_within(atom: Quotient | Remainder, stride: int, var: Var, lanes: int) -> bool:
    """Whether the lanes of a division's base fall between two multiples of the divisor."""
    period = atom.divisor
    for inner, factor in atom.base.terms:
        period = gcd(period, factor * lanes if inner == var else factor)
    first = atom.base.constant % period
    return 0 <= first + min(stride * (lanes - 1), 0) and first + max(stride * (lanes - 1), 0) < period
