"""Windows read once: a factor whose elements come again and again, as neighbouring windows overlap, is first
evaluated into an array of its own.

    b(k, n) = f(x[2*i + j]) if 0 <= 2*i + j - 1 < 9 else 0        (i of n, j of k)

becomes, with t = 2*i + j,

    for t: staged[t % 2, t // 2] = f(x[t]) if 0 <= t - 1 < 9 else 0
    b(k, n) = staged[j % 2, i + j // 2]

so that guards and prologues cost once an element, and lanes along i are neighbours again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd

from lazygrad import expr
from lazygrad.codegen.contraction import Contraction
from lazygrad.codegen.contraction_pack import guarded_value
from lazygrad.codegen.contraction_tiles import index, unless
from lazygrad.codegen.loopnest import Array, Compute, Load, Loop, Statement, Store, Value, walk_values
from lazygrad.expr import Atom, Expr, Guard, Quotient, Remainder, Var
from lazygrad.helpers import ceil_div, product

LEAST_READS = 2  # of every element on average, for an array of its own to be worth its traffic


@dataclass(frozen=True)
class Axis:
    """Variables on which a factor depends through one sum alone: sum(factor * variable) - low, in
    [0, size)."""

    factors: tuple[tuple[Var, int], ...]
    low: int
    size: int

    @property
    def step(self) -> int:
        """From lane to lane: an axis that is read in steps of s is laid out as (t % s, t // s)."""
        return abs(max(self.factors, key=lambda pair: pair[0].extent)[1])

    @property
    def position(self) -> Expr:
        total = expr.const(-self.low)
        for v, factor in self.factors:
            total = total + index(v) * factor
        return total

    def values(self, at: Expr) -> dict[Atom, Expr]:
        """Values of the variables at which the sum is at a position."""
        whole = next(v for v, factor in self.factors if abs(factor) == 1)
        sign = dict(self.factors)[whole]
        return {v: (at + self.low) * sign if v == whole else expr.ZERO for v, _ in self.factors}


def stage(found: Contraction, value: Value, name: str, lanes: int) -> tuple[Statement, Value] | None:
    """The phase that evaluates a factor once an element, and the factor that reads from there; None where it
    is not worth it."""
    axes = overlapping(found, value)
    reads = product(v.extent for axis in axes for v, _ in axis.factors)
    if reads < LEAST_READS * product(axis.size for axis in axes):
        return None
    if not _is_costly(found, value) and all(axis.step == 1 for axis in axes):
        return None
    return _Staging(found, value, name, axes, lanes).build()


def _is_costly(found: Contraction, value: Value) -> bool:
    """Whether an element takes more than a load."""
    values = [x for v in (value, *(let.value for let in found.needed([value]))) for x in walk_values(v)]
    return any(isinstance(x, Compute) or getattr(x, "guards", ()) for x in values)


@dataclass(frozen=True)
class _Staging:
    found: Contraction
    value: Value
    name: str
    axes: Sequence[Axis]
    lanes: int

    def build(self) -> tuple[Statement, Value]:
        shape = [n for axis in self.axes for n in (axis.step, ceil_div(axis.size, axis.step))]
        array = Array(f"staged_{self.name}", self.found.accumulator.dtype, product(shape), "temporary")
        at = [e for axis in self.axes for e in (axis.position % axis.step, axis.position // axis.step)]
        return self._loops(array, shape), Load(array, expr.flatten(at, shape))

    def _loops(self, array: Array, shape: Sequence[int]) -> Statement:
        """for row in all but the last axis: for i in lanes: staged[row, i] = value"""
        row = Var(f"stage_{self.name}", product(shape[:-1]))
        i = Var(f"stage_{self.name}_i", shape[-1])
        at = (*expr.unflatten(index(row), tuple(shape[:-1])), index(i))
        values: dict[Atom, Expr] = {}
        inside: list[Guard] = []
        for number, axis in enumerate(self.axes):
            position = at[2 * number + 1] * axis.step + at[2 * number]
            values |= axis.values(position)
            inside += unless(position, axis.size)
        bound, value = guarded_value(self.found, self.value, values, tuple(inside))
        store = Store(array, index(row) * shape[-1] + index(i), value)
        inner = Loop(i, (*bound, store), "vector", lanes=self.lanes)
        return Loop(row, (inner,), "parallel", grain=max(1, 4096 // shape[-1]))


def overlapping(found: Contraction, value: Value) -> list[Axis]:
    """The axes that a factor is a function of, in order of their steps in memory, the shortest last."""
    expressions = list(dict.fromkeys(found.expressions(value)))
    groups: dict[tuple[int, ...] | Var, list[tuple[Var, int]]] = {}
    divided = {v for e in expressions for a in expr.atoms(e) if isinstance(a, Quotient | Remainder)
               for v in expr.variables(a.base)}
    for v in sorted(found.variables(value), key=lambda v: v.name):
        steps = tuple(dict(e.terms).get(v, 0) for e in expressions)
        common = gcd(*steps)
        if v in divided or common == 0:
            groups[v] = [(v, 1)]
            continue
        sign = 1 if next(s for s in steps if s) > 0 else -1
        groups.setdefault(tuple(sign * s // common for s in steps), []).append((v, sign * common))
    loads = [x.index for let in found.needed([value]) for x in walk_values(let.value) if isinstance(x, Load)]
    loads += [x.index for x in walk_values(value) if isinstance(x, Load)]

    def stride(axis: Axis) -> int:
        v, factor = axis.factors[0]
        return max((abs(dict(e.terms).get(v, 0)) // abs(factor) for e in loads), default=0)

    axes = [axis for group in groups.values() for axis in _axes(group)]
    return sorted(axes, key=stride, reverse=True)


def _axes(group: list[tuple[Var, int]]) -> list[Axis]:
    """Axes of variables that all expressions see through one sum: a variable whose steps are longer than the
    whole reach of those before is another digit, an axis of its own."""
    clusters: list[list[tuple[Var, int]]] = []
    reach = -1
    for v, factor in sorted(group, key=lambda pair: abs(pair[1])):
        if reach < abs(factor):
            clusters.append([])
            reach = 0
        clusters[-1].append((v, factor))
        reach += abs(factor) * (v.extent - 1)
    return [axis for cluster in clusters for axis in _axis(cluster)]


def _axis(group: list[tuple[Var, int]]) -> list[Axis]:
    common = gcd(*(factor for _, factor in group))
    factors = tuple((v, factor // common) for v, factor in group)
    if not any(abs(factor) == 1 for _, factor in factors):
        return [Axis(((v, 1),), 0, v.extent) for v, _ in group]
    reach = [factor * (v.extent - 1) for v, factor in factors]
    low = sum(min(r, 0) for r in reach)
    return [Axis(factors, low, sum(max(r, 0) for r in reach) - low + 1)]
