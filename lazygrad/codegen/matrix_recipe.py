"""The recipe of nests whose loops say themselves which of their turns run: on a CPU, free loops inside go in
lanes, where there are none the last of the outermost ones; the outermost ones are shared."""

from __future__ import annotations

from dataclasses import replace
from math import gcd

from lazygrad.codegen.cpu_phase import best_inner, each_phase, phase_of, share, share_part, together
from lazygrad.codegen.loop_cost import lanes_of
from lazygrad.codegen.loopnest import Loop, LoopNest, walk
from lazygrad.codegen.transform import mark, rewrite_loop
from lazygrad.expr import Expr
from lazygrad.source import Target


def run_matrices(nest: LoopNest, target: Target) -> LoopNest:
    """The nest with its loops in lanes and shared among workers."""
    return each_phase(nest, lambda part: _run_phase(part, target))


def _run_phase(nest: LoopNest, target: Target) -> LoopNest:
    if not isinstance(nest.body[0], Loop):
        return nest
    free = [s for s in walk(phase_of(nest).core) if isinstance(s, Loop) and best_inner(s, target)]
    if not free:
        return share(nest, target, phase_of(nest).chain[-1].var)
    for loop in free:
        nest = _in_lanes(nest, loop, target)
    return share_part(nest, target, vector=False)


def _in_lanes(nest: LoopNest, loop: Loop, target: Target) -> LoopNest:
    extent, name = loop.var.extent, loop.var.name
    lanes = min(lanes_of(loop.body, target.vector_bytes), 1 << (extent - 1).bit_length())
    most = together(loop.body, extent, lanes) if lanes > 1 else 1
    if loop.span is not None:
        begin, end = loop.span
        if begin.bounds[1] <= 0 and end.bounds[0] >= extent:
            # all of its turns
            nest = replace(nest, body=rewrite_loop(nest.body, name, lambda s: (replace(s, span=None),)))
        else:
            step = gcd(_divisor(begin), _divisor(end))
            if step % lanes:
                return nest
            while step % (lanes * most):
                most //= 2
    return mark(nest, name, "vector", lanes, most) if lanes > 1 else nest


def _divisor(e: Expr) -> int:
    """What every value of an index expression is a multiple of; 0 for the constant 0."""
    return gcd(e.constant, *(factor for _, factor in e.terms))
