"""What a nest costs: arithmetic operations, and bytes that must cross memory at least once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from lazygrad import expr
from lazygrad.codegen.loopnest import (
    Accumulate,
    Array,
    Compute,
    If,
    Let,
    Load,
    Loop,
    LoopNest,
    Statement,
    Store,
    statement_values,
)
from lazygrad.expr import Dynamic, Expr, Var
from lazygrad.helpers import product


def count_work(nest: LoopNest) -> LoopNest:
    """The nest with `flops` and `bytes_moved` filled in.

    bytes: for each parameter the elements that its loads and stores can name, each counted once; a load at an
    index read from a tensor names as many elements as that index takes values, not the whole array.
    """
    touched: dict[Array, int] = {}
    extents: dict[str, tuple[Var, ...]] = {}
    flops = _count(nest.body, 1, (), touched, extents)
    moved = sum(min(n, a.size) * a.dtype.itemsize for a, n in touched.items() if a.space == "parameter")
    return replace(nest, flops=flops, bytes_moved=moved)


def _count(body: Iterable[Statement], trips: int, loops: tuple[Var, ...], touched: dict[Array, int],
           lets: dict[str, tuple[Var, ...]]) -> int:
    flops = 0
    for s in body:
        if isinstance(s, Loop):
            flops += _count(s.body, trips * s.var.extent, (*loops, s.var), touched, lets)
            continue
        if isinstance(s, If):
            flops += _count(s.body, trips, loops, touched, lets)
            continue
        if isinstance(s, Let):
            lets[s.name] = loops
        for v in statement_values(s):
            if isinstance(v, Compute) and v.dtype.kind == "float" and v.op != "cast":
                flops += trips
            elif isinstance(v, Load):
                _touch(v.array, v.index, touched, lets)
        if isinstance(s, Store | Accumulate):
            flops += trips if isinstance(s, Accumulate) else 0
            _touch(s.array, s.index, touched, lets)
    return flops


def _touch(array: Array, index: Expr, touched: dict[Array, int], lets: dict[str, tuple[Var, ...]]) -> None:
    if array.space != "parameter":
        return
    variables: set[Var] = set()
    for v in expr.variables(index):
        variables.update(lets.get(v.name, ()) if isinstance(v, Dynamic) else (v,))
    elements = min(product(v.extent for v in variables), array.size)
    touched[array] = max(touched.get(array, 0), elements)
