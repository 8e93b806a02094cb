"""Index expressions against plain integer arithmetic, over every value of their variables."""

from __future__ import annotations

import itertools
from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lazygrad import expr
from lazygrad.expr import Expr, Guard, Quotient, Remainder
from lazygrad.ops.movement import reindex

ROW, COLUMN, DEPTH = expr.var("i", 4), expr.var("j", 6), expr.var("k", 5)
READ = expr.dynamic("d", -3, 4)
NAMES = {"i": range(4), "j": range(6), "k": range(5), "d": range(-3, 5)}


def evaluate(e: Expr, at: dict[str, int]) -> int:
    """The value of an expression, by Python's own arithmetic."""
    total = e.constant
    for atom, factor in e.terms:
        if isinstance(atom, Quotient):
            total += factor * (evaluate(atom.base, at) // atom.divisor)
        elif isinstance(atom, Remainder):
            total += factor * (evaluate(atom.base, at) % atom.divisor)
        else:
            total += factor * at[atom.name]
    return total


def everywhere():
    return [dict(zip(NAMES, values, strict=True)) for values in itertools.product(*NAMES.values())]


EVERYWHERE = everywhere()


@st.composite
def expressions(draw, depth: int = 5):
    """An expression and the function that it must equal."""
    pool = [
        (ROW, lambda at: at["i"]),
        (COLUMN, lambda at: at["j"]),
        (DEPTH, lambda at: at["k"]),
        (READ, lambda at: at["d"]),
    ]
    for _ in range(draw(st.integers(1, depth))):
        e, f = draw(st.sampled_from(pool))
        kind = draw(st.sampled_from(["+", "-", "*", "//", "%", "//", "%", "c", "join"]))
        n = draw(st.integers(1, 12))
        if kind == "+":
            other, h = draw(st.sampled_from(pool))
            pool.append((e + other, lambda at, f=f, h=h: f(at) + h(at)))
        elif kind == "-":
            other, h = draw(st.sampled_from(pool))
            pool.append((e - other * n, lambda at, f=f, h=h, n=n: f(at) - n * h(at)))
        elif kind == "*":
            n = draw(st.integers(-6, 6))
            pool.append((e * n, lambda at, f=f, n=n: f(at) * n))
        elif kind == "join":
            m = draw(st.integers(1, 6))
            pool.append((e // n % m * n + e % n, lambda at, f=f, n=n, m=m: f(at) // n % m * n + f(at) % n))
        elif kind == "//":
            pool.append((e // n, lambda at, f=f, n=n: f(at) // n))
        elif kind == "%":
            pool.append((e % n, lambda at, f=f, n=n: f(at) % n))
        else:
            n = draw(st.integers(-9, 9))
            pool.append((e + n, lambda at, f=f, n=n: f(at) + n))
    return pool[-1]


@settings(max_examples=300, deadline=None)
@given(expressions(), st.integers(1, 9))
def test_arithmetic_keeps_values(pair, n):
    e, f = pair
    low, high = e.bounds
    whole = e // n * n + e % n
    for at in EVERYWHERE[::7]:
        value = f(at)
        assert evaluate(e, at) == value
        assert low <= value <= high
        assert evaluate(whole, at) == value
    assert all(
        evaluate(a.base // a.divisor, EVERYWHERE[1]) == evaluate(Expr(((a, 1),)), EVERYWHERE[1])
        for a in expr.atoms(e)
        if isinstance(a, Quotient)
    )


@settings(max_examples=200, deadline=None)
@given(expressions(), st.integers(0, 3), st.integers(0, 5))
def test_substitution_keeps_values(pair, i, j):
    e, f = pair
    ((vi, _),) = ROW.terms
    ((vj, _),) = COLUMN.terms
    fixed = expr.substitute(e, {vi: expr.const(i), vj: expr.const(j)})
    assert not {v.name for v in expr.variables(fixed)} & {"i", "j"}
    moved = expr.substitute(e, {vi: (COLUMN + i) % 4})
    for at in EVERYWHERE[::11]:
        assert evaluate(fixed, at) == f({**at, "i": i, "j": j})
        assert evaluate(moved, at) == f({**at, "i": (at["j"] + i) % 4})


@settings(max_examples=200, deadline=None)
@given(expressions(), st.integers(-10, 10), st.integers(0, 20))
def test_guards(pair, low, size):
    e, f = pair
    guard = Guard(e, low, low + size)
    truth = [low <= f(at) < low + size for at in EVERYWHERE[::7]]
    assert not guard.always or all(truth)
    assert not guard.never or not any(truth)


def test_canonical_forms():
    assert (ROW * 6 + COLUMN) // 6 == ROW
    assert (ROW * 6 + COLUMN) % 6 == COLUMN
    assert (ROW * 6 + COLUMN) // 3 == ROW * 2 + COLUMN // 3
    assert (ROW * 6 + COLUMN) // 2 % 3 == COLUMN // 2
    assert COLUMN // 2 * 2 + COLUMN % 2 == COLUMN
    assert COLUMN // 4 * 12 + COLUMN % 4 * 3 == COLUMN * 3
    assert COLUMN // 2 // 2 == COLUMN // 4
    assert (COLUMN // 2) % 2 + COLUMN // 4 * 2 == COLUMN // 2
    assert (COLUMN % 4) % 2 == COLUMN % 2
    assert (COLUMN // 2 + 1) // 2 == (COLUMN + 2) // 4
    flat = expr.var("flat", 240)
    assert flat % 12 // 3 == flat // 3 % 4
    assert flat // 3 % 4 * 3 + flat % 3 == flat % 12
    assert flat // 12 * 12 + flat // 3 % 4 * 3 + flat % 3 == flat
    assert (flat + 7) // 3 % 4 * 3 + (flat + 7) % 3 == (flat + 7) % 12
    assert (COLUMN - COLUMN).is_constant and ROW + COLUMN == COLUMN + ROW
    assert (READ + 3) // 100 == expr.ZERO and expr.dynamic("d", -3, 4) // 100 == (READ // 100)
    assert str(ROW * 6 - COLUMN + 2) == "6*i - 1*j + 2" or str(ROW * 6 - COLUMN + 2) == "6*i - j + 2"
    assert expr.var("once", 1) == expr.ZERO


def test_equal_expressions_hash_alike():
    a, b = ROW * 6 + COLUMN * 2 + DEPTH, DEPTH + COLUMN * 2 + ROW * 6
    assert a == b and hash(a) == hash(b)
    a, b = ROW + COLUMN + DEPTH, DEPTH + COLUMN + ROW
    assert a == b and hash(a) == hash(b)


def test_variables_of_nested_expressions():
    e = ((ROW * 7 + COLUMN) // 3) % 5 + READ
    assert {v.name for v in expr.variables(e)} == {"i", "j", "d"}


_SIZES = st.lists(st.sampled_from([1, 2, 3, 4, 6]), min_size=0, max_size=4).map(tuple)


@settings(max_examples=200, deadline=None)
@given(_SIZES, st.randoms())
def test_reindex_is_the_reshape(shape, random):
    factors = [p for n in shape for p in {1: [], 2: [2], 3: [3], 4: [2, 2], 6: [2, 3]}[n]]
    random.shuffle(factors)
    new_shape: list[int] = []
    for p in factors:
        if new_shape and random.random() < 0.5:
            new_shape[-1] *= p
        else:
            new_shape.append(p)
        if random.random() < 0.2:
            new_shape.append(1)
    assert prod(new_shape) == prod(shape)
    index = tuple(expr.var(f"a{axis}", n) for axis, n in enumerate(shape))
    moved = reindex(index, shape, tuple(new_shape))
    assert len(moved) == len(new_shape)
    for count, place in enumerate(itertools.product(*map(range, shape))):
        at = {f"a{axis}": i for axis, i in enumerate(place)}
        flat = 0
        for e, n in zip(moved, new_shape, strict=True):
            value = evaluate(e, at)
            assert 0 <= value < n
            low, high = e.bounds
            assert low >= 0 and high < n
            flat = flat * n + value
        assert flat == count


def test_reindex_keeps_untouched_axes():
    index = (ROW, COLUMN, DEPTH)
    assert reindex(index, (4, 6, 5), (4, 2, 3, 5)) == (ROW, COLUMN // 3, COLUMN % 3, DEPTH)
    assert reindex(index, (4, 6, 5), (24, 5)) == (ROW * 6 + COLUMN, DEPTH)
    assert reindex(index, (4, 6, 5), (1, 4, 1, 6, 5, 1)) == (
        expr.ZERO,
        ROW,
        expr.ZERO,
        COLUMN,
        DEPTH,
        expr.ZERO,
    )
    assert reindex((), (), (1, 1)) == (expr.ZERO, expr.ZERO)


@pytest.mark.parametrize(
    "shape,new_shape", [((0,), (0, 3)), ((2, 0), (0,)), ((3, 0), (0, 5)), ((0, 1), (2, 0))]
)
def test_reindex_of_nothing(shape, new_shape):
    index = tuple(expr.var(f"a{axis}", n) for axis, n in enumerate(shape))
    assert len(reindex(index, shape, new_shape)) == len(new_shape)
