"""Windows laid out for lanes: a factor whose columns are short windows, overlapping along k, is first copied
into an array in which another variable of n runs fastest.

    b(k, n) = x[c, i + k]        (c in 64, i in 3 of n)

becomes, with t = i + k,

    for t: for c: laid[t, c] = x[c, t]
    b(k, n) = laid[i + k, c]     (i, c of n)

so that a vector of columns is a vector of memory: the micro-kernel reads it where it stands. What is stored
is scattered then, which sums of many terms can bear. Gradients of weights are such sums.
"""

from __future__ import annotations

from dataclasses import replace

from lazygrad import expr
from lazygrad.codegen.contraction import Contraction, substituted
from lazygrad.codegen.contraction_pack import Panel
from lazygrad.codegen.contraction_stage import Axis, overlapping
from lazygrad.codegen.contraction_tiles import Depth, index
from lazygrad.codegen.loopnest import Array, Load, Loop, Statement, walk_values
from lazygrad.expr import Atom, Expr, Var
from lazygrad.helpers import product

SCATTERED = 1000  # terms of a sum that take as long as 20 accesses of its result, each in a line of its own


def lay_out(found: Contraction, lanes: int) -> tuple[Statement, Contraction, int] | None:
    """The phase that copies b, the contraction that reads from there, and how many elements that are; None
    where lanes have neighbours already, or sums are too short."""
    axes = overlapping(found, found.b)
    windows = next((axis for axis in axes if found.n[-1] in dict(axis.factors)), None)
    if windows is None or len(windows.factors) == 1 or found.n[-1].extent >= lanes:
        return None
    plain = [axis for axis in axes if _plain(axis, found.n) and axis.size % lanes == 0]
    if not plain or found.sizes[2] < SCATTERED * _accesses(found):
        return None
    fastest = max(plain, key=lambda axis: axis.size)
    others = [axis for axis in axes if axis is not fastest]
    if not others:
        return None
    variable = fastest.factors[0][0]
    places = {axis: Var(f"lay_{number}", axis.size) for number, axis in enumerate((*others, fastest))}
    shape = [axis.size for axis in places]
    array = Array("laid_b", found.accumulator.dtype, product(shape), "temporary")
    at = expr.flatten([axis.position for axis in places], shape)
    n = (*(v for v in found.n if v != variable), variable)
    return _copied(found, places, array, lanes), replace(found, n=n, b=Load(array, at)), array.size


def _plain(axis: Axis, columns: tuple[Var, ...]) -> bool:
    """Whether an axis is a variable of n alone."""
    return len(axis.factors) == 1 and axis.factors[0][0] in columns


def _accesses(found: Contraction) -> int:
    """How often memory is read or written for a result, once its sum is made."""
    known = frozenset((found.result,))
    stored = [s.value for s in found.stores]
    values = [*stored, *(let.value for let in found.needed(stored, known))]
    loads = [x for value in values for x in walk_values(value) if isinstance(x, Load)]
    return len(stored) + sum(x.array.space == "parameter" for x in loads)


def _copied(found: Contraction, places: dict[Axis, Var], array: Array, lanes: int) -> Statement:
    """for every place but the last two axes: array[place] = the transposed square of those"""
    values: dict[Atom, Expr] = {}
    for axis, place in places.items():
        values |= axis.values(index(place))
    *outer, row, column = places.values()
    copied = replace(substituted(found, values), n=(column,), k=(*outer, row))
    task = Var("lay", product(v.extent for v in outer))
    panel = Panel(copied, copied.b, (column,), column.extent, lanes, Depth(tuple(outer), row, row.extent, ()),
                  array, "lb")
    size = row.extent * column.extent
    body = panel.pack({}, expr.ZERO, index(task), index(task) * size)
    return Loop(task, body, "parallel", grain=max(1, 4096 // size))
