"""Index pushing: at which index of each input a node reads, when one of its own elements is wanted.

This is the one place that knows how indices travel through a graph; fusion asks it what a group would read,
lowering follows it to build loops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import NamedTuple

from lazygrad import expr
from lazygrad.expr import Expr, Guard, Var
from lazygrad.graph import Node


class Use(NamedTuple):
    """An element of a node: its index, and the guards under which it is wanted (elsewhere its value is not
    read)."""

    node: Node
    index: tuple[Expr, ...]  # type: ignore[assignment]  # hides tuple.index, which nobody asks of a use
    guards: tuple[Guard, ...] = ()


def at(node: Node, variables: tuple[Expr, ...]) -> Use:
    """The element of a node at the given index, 0 along axes of size 1."""
    return Use(node, tuple(expr.ZERO if n == 1 else v for n, v in zip(node.shape, variables, strict=True)))


def first_elements(nodes: Iterable[Node]) -> tuple[Use, ...]:
    """The first element of each node."""
    return tuple(at(n, (expr.ZERO,) * n.ndim) for n in nodes)


def movement_uses(use: Use) -> list[Use]:
    """What a movement node reads, one use per input,
    each with the guards under which the input has the element."""
    node, index, guards = use
    assert node.op.index is not None, node
    result = []
    for source, (moved, added) in zip(node.inputs, node.op.index(node, index), strict=True):
        kept = tuple(g for g in added if not g.always and g not in guards)
        moved = tuple(expr.ZERO if n == 1 else i for n, i in zip(source.shape, moved, strict=True))
        result.append(Use(source, moved, (*guards, *kept)))
    return result


def elementwise_uses(use: Use) -> list[Use]:
    """What an elementwise node reads: every input at the same index."""
    return [Use(source, use.index, use.guards) for source in use.node.inputs]


def reduce_use(use: Use, variables: dict[int, Expr]) -> Use:
    """What a reduce reads, with a loop variable for each axis that it folds."""
    node, index, guards = use
    return Use(node.inputs[0], tuple(variables.get(axis, i) for axis, i in enumerate(index)), guards)


def gather_uses(use: Use, place: Callable[[Use, int], Expr]) -> list[Use]:
    """What a gather reads: its index tensors, then x at the places that they name.

    `place(use, size)` gives the value of one index tensor's element as an expression within [0, size).
    """
    node, index, guards = use
    x, *indices = node.inputs
    lead = indices[0].ndim
    wanted = [Use(i, index[:lead], guards) for i in indices]
    rest = iter(index[lead:])
    named = {axis: place(w, x.shape[axis]) for axis, w in zip(node.arg, wanted, strict=True)}
    places = tuple(named[axis] if axis in named else next(rest) for axis in range(x.ndim))
    places = tuple(expr.ZERO if n == 1 else i for n, i in zip(x.shape, places, strict=True))
    return [*wanted, Use(x, places, guards)]


@lru_cache(maxsize=1024)
def loop_variables(shape: tuple[int, ...], prefix: str = "i") -> tuple[Expr, ...]:
    """One loop variable per axis, the constant 0 where the axis has size 1.

    Axes of size 1 are not counted in the names, so that shapes that differ by them have the same loops.
    """
    numbers = iter(range(len(shape)))
    return tuple(expr.ZERO if n == 1 else expr.var(f"{prefix}{next(numbers)}", n) for n in shape)


def domain_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The extents of the loops over a shape: its axes without those of size 1."""
    return tuple(n for n in shape if n != 1)


def is_own_element(use: Use, domain: tuple[int, ...]) -> bool:
    """Whether the loops over a domain visit each element of a node on their way,
    and this use is that element."""
    loops = {v for e in loop_variables(domain) for v in expr.variables(e)}
    found = []
    for size, index in zip(use.node.shape, use.index, strict=True):
        if size == 1:
            continue
        if len(index.terms) != 1 or index.constant or index.terms[0][1] != 1:
            return False
        found.append(index.terms[0][0])
    sizes = [n for n in use.node.shape if n != 1]
    plain = len(set(found)) == len(found) and all(v in loops and isinstance(v, Var) and v.extent == n
                                                  for v, n in zip(found, sizes, strict=True))
    return plain and not use.guards


def row_depth(use: Use, loops: tuple[Expr, ...]) -> int | None:
    """How many of the loops, from the outermost, a use goes along with axis by axis, where all its other axes
    run along whole loops of their own: an iteration of those loops reads a row of its own. Else None."""
    axes = [(e, size) for e, size in zip(use.index, use.node.shape, strict=True) if size != 1]
    depth = 0
    while depth < min(len(axes), len(loops)) and axes[depth][0] == loops[depth]:
        depth += 1
    taken = {v for e in loops for v in expr.variables(e)}
    for e, size in axes[depth:]:
        v = e.terms[0][0] if len(e.terms) == 1 and not e.constant and e.terms[0][1] == 1 else None
        if not isinstance(v, Var) or v in taken or v.extent != size:
            return None
        taken.add(v)
    return None if use.guards else depth


def reduce_variables(node: Node, prefix: str) -> dict[int, Expr]:
    """A loop variable for each folded axis of a reduce."""
    return {axis: expr.var(f"{prefix}{axis}", node.inputs[0].shape[axis]) for axis in node.arg}


def variables_of(use: Use) -> frozenset[Var | expr.Dynamic]:
    """The loop variables and run-time integers that an element depends on."""
    found: frozenset[Var | expr.Dynamic] = frozenset()
    for i in use.index:
        found |= expr.variables(i)
    for g in use.guards:
        found |= expr.variables(g.e)
    return found
