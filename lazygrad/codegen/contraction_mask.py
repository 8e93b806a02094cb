"""Which part of its rows a block of a chain needs: masked scores weigh nothing.

Under a causal mask (`where(row < place, -inf, score)`) the weights behind the diagonal are exp(-inf) = 0,
whatever the scores: for a block of rows they need not be computed, and nothing need be added for them. That
is read off the nest: with the condition true, every step along the row is evaluated, other values taken for
finite; where each reduction gets what changes nothing, and the last contraction gets zeros, those places are
left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lazygrad import expr
from lazygrad.codegen.loopnest import (
    Accumulate,
    Array,
    Compute,
    Constant,
    IndexValue,
    Let,
    Load,
    Loop,
    Read,
    Statement,
    Store,
    Value,
    statement_values,
    walk,
)
from lazygrad.expr import Expr, Var
from lazygrad.helpers import round_up
from lazygrad.ops import OPS

Known = float | None  # None: some finite number

# x op y as sign * (y - x) >= least
_ORDER = {"lt": (1, 1), "le": (1, 0), "gt": (-1, 1), "ge": (-1, 0)}


@dataclass(frozen=True)
class Mask:
    """True where place - row >= offset (`behind`), or where place - row <= offset (not `behind`)."""

    behind: bool
    offset: int

    def span(self, base: Expr, rows: int, length: int, step: int) -> tuple[Expr, Expr] | None:
        """The places that rows from `base` on need, [begin, end), in multiples of `step`; the end may lie
        beyond the length. None where a block may need none."""
        if self.behind:
            begin, end = expr.ZERO, (base + (rows - 1 + self.offset + step - 1)) // step * step
        else:
            begin, end = (base + (self.offset + 1)) // step * step, expr.const(round_up(length, step))
        return (begin, end) if begin.bounds[0] >= 0 and end.bounds[0] >= 0 else None


def masks(body: Iterable[Statement], row: Var) -> set[Mask]:
    """The masks along the rows that conditions of `where` are."""
    found: set[Mask] = set()
    lets = {s.name: s.value for s in walk(tuple(body)) if isinstance(s, Let)}
    for s in walk(tuple(body)):
        for v in statement_values(s):
            if isinstance(v, Compute) and v.op == "where":
                mask = mask_of(v.args[0], lets, row)
                if mask is not None:
                    found.add(mask)
    return found


def mask_of(value: Value, lets: Mapping[str, Value], row: Var) -> Mask | None:
    """The mask that a condition is: a comparison of the row's number and a place along it."""
    while isinstance(value, Read) and value.name in lets:
        value = lets[value.name]
    if not isinstance(value, Compute) or value.op not in _ORDER:
        return None
    sign, least = _ORDER[value.op]
    sides = [lets.get(v.name, v) if isinstance(v, Read) else v for v in value.args]
    x, y = (_place(v) for v in sides)
    if x is None or y is None:
        return None
    difference = (y - x) * sign - least  # not negative where the mask is true
    factors = dict(difference.terms)
    others = [v for v in factors if v != row]
    if len(others) != 1 or not isinstance(others[0], Var) or factors.get(row) != -factors[others[0]]:
        return None
    if factors[row] == -1:
        return Mask(True, -difference.constant)
    return Mask(False, difference.constant) if factors[row] == 1 else None


def _place(v: Value) -> Expr | None:
    if isinstance(v, IndexValue):
        return v.e
    return expr.const(int(v.value)) if isinstance(v, Constant) else None


def vanishes(mask: Mask, stages: Sequence[tuple[Sequence[Statement], str]], steps: Sequence[Statement],
             row: Var, factor: Array) -> bool:
    """Whether nothing behind a mask counts. `stages`: what follows each contraction, and the name of its
    result; `steps`: what is done along the rows after them; `factor`: the rows that the last contraction
    multiplies."""
    known: dict[Array, Known] = {}
    for body, result in stages:
        _Evaluation(mask, row, known, {result: None}).run(body)
    walked = _Evaluation(mask, row, known, {})
    walked.run(steps)
    return walked.neutral and known.get(factor) == 0.0


class _Evaluation:
    """Values along a row where a mask is true; what is not known is taken for finite."""

    def __init__(self, mask: Mask, row: Var, arrays: dict[Array, Known], names: dict[str, Known]):
        self.mask, self.row, self.arrays, self.names = mask, row, arrays, names
        self.lets: dict[str, Value] = {}
        self.neutral = True  # nothing is folded that changes a result

    def run(self, body: Iterable[Statement]) -> None:
        for s in body:
            match s:
                case Let():
                    self.lets[s.name] = s.value
                    if s.name not in self.names:
                        self.names[s.name] = self.value(s.value)
                case Store():
                    if s.array.space == "scratch":
                        self.arrays[s.array] = self.value(s.value)
                case Accumulate():
                    identity = _identity(s)
                    self.neutral &= not s.guards and self.value(s.value) == identity
                case Loop():
                    self.run(s.body)
                case _:
                    self.neutral = False

    def value(self, v: Value) -> Known:
        match v:
            case Constant():
                return float(v.value)
            case Read():
                return self.names.get(v.name)
            case Load():
                return self.arrays.get(v.array) if not v.guards else None
            case Compute():
                if v.op == "where" and mask_of(v.args[0], self.lets, self.row) == self.mask:
                    return self.value(v.args[1])
                return _computed(v.op, [self.value(a) for a in v.args])
            case _:
                return None


def _computed(op: str, args: Sequence[Known]) -> Known:
    """A row of the op table where some arguments are known."""
    known = [a for a in args if a is not None]
    if len(known) == len(args) and op in _EVALUATED:
        with np.errstate(all="ignore"):
            return float(_EVALUATED[op](*known))
    if op == "mul" and 0.0 in known:
        return 0.0
    if op in ("add", "sub") and any(math.isinf(a) for a in known):
        return known[0] if op == "add" or args[0] is not None else -known[0]
    return None


def _identity(s: Accumulate) -> float:
    """What changes nothing when it is folded."""
    row = next(op for op in OPS.values() if op.kind == "reduce" and op.combine == s.combine)
    assert row.identity is not None
    return float(row.identity(s.array.dtype))


_EVALUATED: dict[str, Callable[..., Any]] = {
    "exp": np.exp, "exp2": np.exp2, "neg": np.negative, "add": np.add, "sub": np.subtract,
    "mul": np.multiply, "cast": np.asarray, "maximum": np.maximum, "minimum": np.minimum}
