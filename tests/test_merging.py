"""Loops that are merged share values: who reads a value that was dropped reads the one that stays."""

from lazygrad import expr
from lazygrad.codegen.loopnest import Array, IndexValue, Let, Load, Loop, Select, Store, Value
from lazygrad.codegen.transform import reads, share_values
from lazygrad.dtypes import int64
from lazygrad.expr import Dynamic, Expr, Guard, Var

IN, OUT = Array("in0", int64, 4, "parameter"), Array("out0", int64, 4, "parameter")
ZERO = expr.const(0)


def place(name: str) -> Expr:
    """The integer that a Let binds, as an index."""
    return Expr(((Dynamic(name, 0, 3), 1),))


def readers(name: str) -> list[Value]:
    """A value for every way to read an integer by its name."""
    e = place(name)
    guards = (Guard(e, 1, 2),)
    load = Load(IN, ZERO, guards)
    return [IndexValue(e, int64), Load(IN, e), load, Select(guards, load, Load(IN, ZERO))]


def test_whoever_reads_a_value_that_is_bound_twice_reads_the_first() -> None:
    for mine, theirs in zip(readers("a"), readers("b"), strict=True):
        twice = (Let("a", Load(IN, ZERO)), Let("b", Load(IN, ZERO)), Store(OUT, ZERO, theirs))
        assert share_values(twice) == (twice[0], Store(OUT, ZERO, mine))


def test_names_that_statements_read() -> None:
    for value in readers("a"):
        assert reads((Store(OUT, ZERO, value),))[0] == {"a"}
    turns = Loop(Var("i", 4), (), span=(ZERO, place("a")))
    assert reads((turns,))[0] == {"a"}
