"""Writing a nest statement by statement, for rows whose loops depend on each other's turns.

A loop of the nest is a loop of the writer, `for i in w.serial(n):`, and numbers have operators. A loop runs
the turns [begin, end) of its extent, which may depend on the loops around it. Free loops and folds also run
some turns beside these, up to multiples of `w.align`, so that they can go in lanes without masks: whoever
writes one sees to it that those turns do no harm.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lazygrad import expr
from lazygrad.codegen.loopnest import (
    Accumulate,
    Array,
    Compute,
    Constant,
    If,
    IndexValue,
    Let,
    Load,
    Loop,
    Read,
    Select,
    Statement,
    Store,
    Value,
)
from lazygrad.dtypes import DType, bool_, int64
from lazygrad.expr import Expr, Guard, Var
from lazygrad.helpers import product, round_up


@dataclass(frozen=True)
class Number:
    """A value with operators; plain numbers beside it take its dtype."""

    value: Value

    @property
    def dtype(self) -> DType:
        return self.value.dtype

    def with_(self, op: str, other: Operand, dtype: DType | None = None) -> Number:
        right = other.value if isinstance(other, Number) else Constant(
            float(other) if self.dtype.kind == "float" else other, self.dtype)
        return Number(Compute(op, (self.value, right), dtype or self.dtype))

    def apply(self, op: str) -> Number:
        return Number(Compute(op, (self.value,), self.dtype))

    def __add__(self, other: Operand) -> Number:
        return self.with_("add", other)

    def __sub__(self, other: Operand) -> Number:
        return self.with_("sub", other)

    def __mul__(self, other: Operand) -> Number:
        return self.with_("mul", other)

    def __truediv__(self, other: Operand) -> Number:
        return self.with_("div", other)

    def __neg__(self) -> Number:
        return self.apply("neg")

    def __abs__(self) -> Number:
        return self.apply("abs")

    def __lt__(self, other: Operand) -> Number:
        return self.with_("lt", other, bool_)

    def __le__(self, other: Operand) -> Number:
        return self.with_("le", other, bool_)

    def equals(self, other: Operand) -> Number:
        return self.with_("eq", other, bool_)

    def __and__(self, other: Number) -> Number:
        return self.with_("bitand", other)

    def __or__(self, other: Number) -> Number:
        return self.with_("bitor", other)

    def __invert__(self) -> Number:
        return self.apply("bitnot")

    def sqrt(self) -> Number:
        return self.apply("sqrt")

    def cast(self, dtype: DType) -> Number:
        return self if self.dtype == dtype else Number(Compute("cast", (self.value,), dtype))


Operand = Number | int | float


def where(condition: Number, yes: Number, no: Operand) -> Number:
    """yes where the condition holds, else no."""
    other = no.value if isinstance(no, Number) else Constant(
        float(no) if yes.dtype.kind == "float" else no, yes.dtype)
    return Number(Compute("where", (condition.value, yes.value, other), yes.dtype))


def number(value: float, dtype: DType) -> Number:
    """A literal."""
    return Number(Constant(value, dtype))


def counted(e: Expr, dtype: DType = int64) -> Number:
    """An index expression as a number."""
    return Number(IndexValue(e, dtype))


@dataclass(frozen=True)
class Grid:
    """Part of an array with indices: `at(i, j)` is base + i * strides[0] + j * strides[1]."""

    array: Array
    base: Expr
    strides: tuple[int, ...]

    def at(self, *index: Expr | int) -> Expr:
        total = self.base
        for i, stride in zip(index, self.strides, strict=True):
            total = total + i * stride
        return total

    def __getitem__(self, index: Expr | int | tuple[Expr | int, ...]) -> Number:
        where = index if isinstance(index, tuple) else (index,)
        return Number(Load(self.array, self.at(*where)))

    def where(self, guards: tuple[Guard, ...], *index: Expr | int) -> Number:
        """The element where the guards hold, else 0; nothing is read there."""
        return Number(Load(self.array, self.at(*index), tuple(g for g in guards if not g.always)))

    def row(self, i: Expr) -> Grid:
        """One row of two indices, with one index."""
        return Grid(self.array, self.base + i * self.strides[0], self.strides[1:])

    @property
    def flat(self) -> Grid:
        """The same memory with one index."""
        return Grid(self.array, self.base, (1,))

    def transposed(self) -> Grid:
        """The same elements by swapped indices."""
        return Grid(self.array, self.base, self.strides[::-1])


@dataclass(frozen=True)
class Matrices:
    """The matrices of all examples, one after the other: `at(b)` is that of example b."""

    array: Array
    first: Expr
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        return product(self.shape[:-2])

    def at(self, b: Expr) -> Grid:
        rows, columns = self.shape[-2:]
        return Grid(self.array, self.first + b * (rows * columns), (columns, 1))


class NestWriter:
    """The statements of a nest in the making.

    private   whether each worker has memory of its own to work in; else all examples' lies side by side
    align     free loops and folds begin and end at multiples of it
    """

    def __init__(self, private: bool = False, align: int = 1):
        self.bodies: list[list[Statement]] = [[]]
        self.private, self.align = private, align
        self.outer: list[Var] = []
        self.count = 0

    def fresh(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    def add(self, statement: Statement) -> None:
        self.bodies[-1].append(statement)

    # Memory

    def padded(self, n: int) -> int:
        """The length of a row of n elements that free loops may run over."""
        return n if n <= self.align else round_up(n, self.align)

    def grid(self, name: str, dtype: DType, *shape: int) -> Grid:
        """Memory of this example's own, uninitialised; rows follow each other."""
        strides, size = [], 1
        for n in reversed(shape):
            strides.append(size)
            size *= n
        extents = [v.extent for v in self.outer]
        number = expr.flatten([expr.var(v.name, v.extent) for v in self.outer], extents)
        base, space = (expr.ZERO, "scratch") if self.private else (number * size, "temporary")
        array = Array(self.fresh(name), dtype, size if self.private else size * product(extents), space)
        return Grid(array, base, tuple(reversed(strides)))

    def register(self, start: Number) -> Grid:
        """A register with a first value, by index ()."""
        found = Grid(Array(self.fresh("held"), start.dtype, 1, "register"), expr.ZERO, ())
        self.set(found, (), start)
        return found

    def total(self, dtype: DType) -> Grid:
        """A register that holds 0."""
        return self.register(number(0.0, dtype))

    def held(self, register: Grid) -> Number:
        """What a register holds now."""
        return self.let(register[()])

    def set(self, grid: Grid, index: Expr | int | tuple[Expr | int, ...], value: Number) -> None:
        where = index if isinstance(index, tuple) else (index,)
        self.add(Store(grid.array, grid.at(*where), value.cast(grid.array.dtype).value))

    def increase(self, grid: Grid, index: Expr | int | tuple[Expr | int, ...], value: Number,
                 combine: str = "add") -> None:
        """grid[index] += value; a product is added by one instruction."""
        where = index if isinstance(index, tuple) else (index,)
        self.add(Accumulate(grid.array, grid.at(*where), combine, value.value))

    # Values

    def let(self, value: Number) -> Number:
        """A value, computed here once."""
        if isinstance(value.value, Constant | Read | IndexValue):
            return value
        name = self.fresh("v")
        self.add(Let(name, value.value))
        return Number(Read(name, value.dtype))

    def whole(self, value: Number, low: int, high: int) -> Expr:
        """An integer known when the kernel runs, low <= value <= high, for indices and bounds of loops."""
        name = self.fresh("n")
        self.add(Let(name, value.cast(int64).value))
        return expr.dynamic(name, low, high)

    # Control

    @contextmanager
    def _loop(self, kind: str, extent: int, begin: Expr | int, end: Expr | int | None) -> Iterator[Expr]:
        var = Var(self.fresh("i"), extent)
        self.bodies.append([])
        yield expr.var(var.name, extent)
        body = tuple(self.bodies.pop())
        first = begin if isinstance(begin, Expr) else expr.const(begin)
        last = end if isinstance(end, Expr) else expr.const(extent if end is None else end)
        if kind != "serial":
            first = first // self.align * self.align
            last = (last + (self.align - 1)) // self.align * self.align
        if extent and body:
            self.add(Loop(var, body, kind, span=(first, last)))

    def serial(self, extent: int, begin: Expr | int = 0, end: Expr | int | None = None) -> Iterator[Expr]:
        """A loop over [begin, end) within [0, extent), in order."""
        with self._loop("serial", extent, begin, end) as i:
            yield i

    def free(self, extent: int, begin: Expr | int = 0, end: Expr | int | None = None) -> Iterator[Expr]:
        """A rounded loop whose turns are independent."""
        with self._loop("domain", extent, begin, end) as i:
            yield i

    def folding(self, extent: int, begin: Expr | int = 0, end: Expr | int | None = None) -> Iterator[Expr]:
        """A rounded loop, in any order, that only increases registers which were set before it."""
        with self._loop("reduce", extent, begin, end) as i:
            yield i

    def examples(self, extent: int) -> Iterator[Expr]:
        """An outermost loop, over examples or columns that have nothing to do with each other."""
        var = Var(self.fresh("b"), extent)
        self.bodies.append([])
        self.outer.append(var)
        yield expr.var(var.name, extent)
        self.outer.pop()
        self.add(Loop(var, tuple(self.bodies.pop()), "domain"))

    @contextmanager
    def when(self, condition: Number) -> Iterator[None]:
        """Statements that run where a condition holds."""
        e = self.whole(condition, 0, 1)
        with self.inside(Guard(e, 1, 2)):
            yield

    @contextmanager
    def inside(self, *guards: Guard) -> Iterator[None]:
        """Statements that run where guards hold."""
        self.bodies.append([])
        yield
        body = tuple(self.bodies.pop())
        self.add(If(guards, body))


def guarded(guards: tuple[Guard, ...], value: Number, otherwise: Number) -> Number:
    """value where guards hold, else otherwise; both are computed."""
    return Number(Select(guards, value.value, otherwise.value))
