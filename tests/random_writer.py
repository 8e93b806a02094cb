"""What writes random programs: legal ones, whose results have known error bounds.

Every value carries what is known of it: no element is greater than `mag`, all are multiples of `grid`
(0: nothing known), and devices may differ by `err`. Sums and products of grid values are exact until
they outgrow their dtype, so steps that jump (floor, comparisons, sorting, integers as indices) are
offered for exact values alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st
from random_programs import Step, apply

import lazygrad

MANTISSA = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}
FLOATS = tuple(MANTISSA)
INTEGERS = ("int8", "uint8", "int16", "int32", "int64")
SIZES = st.sampled_from([2, 1, 3, 4, 5, 7, 8, 1, 2, 3, 13, 16, 17, 33, 64, 100, 0])
MAX_SIZE = 12_000


@dataclass
class Known:
    """What is known of a storage's elements."""

    mag: float
    err: float = 0.0
    grid: float = 0.0
    special: bool = False  # may hold NaN and infinities

    @property
    def exact(self) -> bool:
        return self.err == 0


@dataclass
class Value:
    """A value of the program: the tensor that drawing made of it (never realized), and what is known."""

    tensor: Any
    known: Known
    shared: bool = False  # elements overlap, or it is a leaf of gradients: not to be written

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.tensor.shape)

    @property
    def dtype(self) -> str:
        return self.tensor.dtype.name

    @property
    def is_float(self) -> bool:
        return self.dtype in MANTISSA

    @property
    def is_integer(self) -> bool:
        return self.dtype in INTEGERS


class Writer:
    """A program as it is drawn."""

    def __init__(self, draw: Callable[[Any], Any], grad: bool, special: bool):
        self.draw, self.grad, self.special = draw, grad, special
        self.steps: list[Step] = []
        self.values: list[Value | None] = []
        self.dtypes: set[str] = set()

    def one_of(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def chance(self) -> bool:
        return self.draw(st.booleans())

    def number(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def bounded(self, dtype: str, known: Known) -> Known | None:
        """What is left of `known` in a dtype after rounding; None where it may overflow."""
        if dtype not in MANTISSA:
            top = 1.0 if dtype == "bool" else float(np.iinfo(dtype).max)
            return Known(min(known.mag, top), 0.0, 1.0)
        if known.mag > (2e4 if dtype == "float16" else 1e9):
            return None
        if known.exact and known.grid and known.mag / known.grid <= 2 ** MANTISSA[dtype]:
            return replace(known)
        error = known.err + known.mag * 4 * 2.0 ** -MANTISSA[dtype]
        return None if error > 0.25 * known.mag + 1e-30 else replace(known, err=error, grid=0.0)

    def emit(
        self,
        op: str,
        inputs: tuple[int, ...],
        params: tuple[Any, ...],
        *known: Known | None,
        view_of: int | None = None,
        shared: bool = False,
    ) -> list[int]:
        """Append a step; the numbers of its results. Nothing where a result could overflow."""
        step = Step(op, inputs, params)
        results = apply(lazygrad, step, [self.values[i].tensor for i in inputs])
        fitted: list[Value] = []
        for result, k in zip(results, known, strict=False):
            if view_of is not None:
                origin = self.values[view_of]
                fitted.append(Value(result, origin.known, origin.shared or shared))
                continue
            kept = self.bounded(result.dtype.name, k) if k is not None else None
            if kept is None or (op != "leaf" and result.numel() > MAX_SIZE):
                return []
            fitted.append(Value(result, kept, shared))
        self.steps.append(step)
        self.dtypes.update(v.dtype for v in fitted)
        first = len(self.values)
        self.values.extend(fitted)
        return list(range(first, len(self.values)))

    def pick(self, want: Callable[[Value], bool] = lambda v: True) -> int | None:
        found = [i for i, v in enumerate(self.values) if v is not None and want(v)]
        return self.draw(st.sampled_from(found[::-1])) if found else None

    def leaf(self, shape: tuple[int, ...] | None = None, dtype: str | None = None) -> int:
        if shape is None:
            shape = tuple(self.draw(st.lists(SIZES, max_size=4)))
            while math.prod(shape) > MAX_SIZE:
                shape = shape[1:]
        if dtype is None:
            dtype = (
                self.one_of(
                    "float32",
                    "float32",
                    "int64",
                    "bool",
                    "float64",
                    "int32",
                    "float16",
                    "bfloat16",
                    "uint8",
                    "int8",
                    "int16",
                )
                if not self.grad
                else self.one_of("float32", "float64", "int64")
            )
        kind = (
            "wide" if dtype in INTEGERS and self.number(0, 4) == 4 else "special" if self.special else "plain"
        )
        grad = self.grad and dtype in ("float32", "float64")
        known = Known(4.0, 0.0, 0.5, self.special) if dtype in MANTISSA else Known(5.0, 0.0, 1.0)
        if kind == "wide":
            known = Known(float(np.iinfo(dtype).max), 0.0, 1.0)
        return self.emit("leaf", (), (shape, dtype, kind, self.number(0, 99), grad), known, shared=grad)[0]

    def smooth(self, v: Value) -> bool:
        """Whether a kink may be applied: nobody is in doubt on which side of it a value is."""
        return not self.grad or v.known.exact

    def partner(self, a: int, dtype: str | None = None) -> int:
        """A value that broadcasts with value a, there already or a new leaf."""
        shape = self.values[a].shape
        dtype = dtype or self.values[a].dtype
        if self.chance():
            found = self.pick(lambda v: v.dtype == dtype and broadcasts(v.shape, shape))
            if found is not None:
                return found
        trimmed = shape[self.number(0, len(shape)) :]
        return self.leaf(tuple(1 if self.number(0, 3) == 3 else n for n in trimmed), dtype)

    def axis(self, v: Value) -> int:
        return self.number(0, len(v.shape) - 1)


def broadcasts(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    if any(m != n and 1 not in (m, n) for m, n in zip(a[::-1], b[::-1], strict=False)):
        return False
    return math.prod(np.broadcast_shapes(a, b)) <= MAX_SIZE


# Offers: each draws one step, or does nothing where no value fits

OFFERS: dict[str, Callable[[Writer], None]] = {}


def offer(function: Callable[[Writer], None]) -> Callable[[Writer], None]:
    OFFERS[function.__name__] = function
    return function


def combined(name: str, a: Known, b: Known) -> Known:
    special = a.special or b.special
    if name == "mul":
        return Known(a.mag * b.mag, a.mag * b.err + b.mag * a.err + a.err * b.err, a.grid * b.grid, special)
    if name in ("add", "sub"):
        return Known(a.mag + b.mag, a.err + b.err, min(a.grid, b.grid), special)
    return Known(max(a.mag, b.mag), max(a.err, b.err), min(a.grid, b.grid), special)
