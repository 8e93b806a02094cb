"""Rows over whole matrices as nests: each turn of the outermost loops works on one matrix (or one column of
it), in memory of its own; the loops inside go along rows that are contiguous there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from lazygrad import expr
from lazygrad.codegen.loopnest import Let, Load, Statement
from lazygrad.codegen.lower import FARTHEST, Place
from lazygrad.codegen.nest_writer import Matrices, NestWriter
from lazygrad.codegen.write_eigen import write_eigh
from lazygrad.codegen.write_elimination import write_lu
from lazygrad.codegen.write_exponential import write_exponential
from lazygrad.codegen.write_ldl import write_ldl, write_ldl_solve
from lazygrad.codegen.write_reflections import write_product, write_reflected
from lazygrad.codegen.write_svd import write_svd
from lazygrad.codegen.write_triangular import write_cholesky, write_solve
from lazygrad.graph import Node
from lazygrad.source import Target

LONG = 256  # elements of a row from which on several registers go together
ALIGN, ALIGN_LONG = 16, 64

_WRITE: dict[str, Callable[[NestWriter, Node, Sequence[Matrices], Matrices], None]] = {
    "cholesky": write_cholesky,
    "eigh": write_eigh,
    "ldl": write_ldl,
    "ldl_solve": write_ldl_solve,
    "lu": write_lu,
    "matrix_exp": write_exponential,
    "reflected": write_reflected,
    "reflection_product": write_product,
    "solve_triangular": write_solve,
    "svd": write_svd,
}


def matrix_phases(
    node: Node, inputs: Mapping[Node, Place], out: Place, target: Target | None
) -> tuple[Statement, ...]:
    """The nest of a row over whole matrices; without a target one that every device can run."""
    private = target is not None and target.language == "llvm"
    w = NestWriter(private, ALIGN if max(node.inputs[0].shape[-2:]) < LONG else ALIGN_LONG)
    starts: dict[int, Statement] = {}
    sources = []
    for source in node.inputs:
        place = inputs[source]
        first = expr.const(place.offset)
        if place.start is not None:
            array, number = place.start
            starts[number] = Let(f"start{number}", Load(array, expr.const(number)))
            first = first + expr.dynamic(f"start{number}", 0, FARTHEST)
        sources.append(Matrices(place.array, first, source.shape))
    _WRITE[node.op.name](w, node, sources, Matrices(out.array, expr.const(out.offset), node.shape))
    return (*starts.values(), *w.bodies[0])
