"""Symmetric matrices that need not be positive: their factorization, and what is solved by it."""

from __future__ import annotations

from typing import Any

from lazygrad import dtypes, ops
from lazygrad.compositions import axes
from lazygrad.compositions import matrices as m
from lazygrad.compositions import symmetric as factor
from lazygrad.errors import DTypeError, ShapeError
from lazygrad.graph import Node
from lazygrad.tensors.core import Tensor
from lazygrad.tensors.linalg.common import (
    check_float,
    check_matrices,
    check_square,
    grown,
    linalg,
    made,
    one_batch,
    raise_where,
)
from lazygrad.tensors.promotion import pytorch_name
from lazygrad.tensors.return_types import return_type

_Factor = return_type("linalg_ldl_factor", "LD", "pivots")
_FactorEx = return_type("linalg_ldl_factor_ex", "LD", "pivots", "info")


def _factor_ex(name: str, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    check_square(name, x)
    constant = x.detach()
    return (made("linalg_ldl_factor_ex", factor.ldl, x), made(name, factor.pivots, constant),
            made(name, factor.zero_block, constant))


def _nothing_to_divide_by(number: int) -> str:
    return (f"D[{number},{number}] is zero and using it on ldl_solve would result in a division by zero. If "
            "you still want to perform the factorization, consider calling linalg.ldl_factor_ex(A)")


@linalg("ldl_factor_ex")
def ldl_factor_ex(A: Tensor, *, hermitian: bool = False, check_errors: bool = False) -> Any:
    """(LD, pivots, info) of symmetric matrices (..., n, n), of which the lower halves are read, by Bunch and
    Kaufman's method in LAPACK's form (sytrf): L below the blocks of D, of one row or two, that stand on the
    diagonal; the row, from 1, that each block was swapped with (int32; negative in blocks of two rows); and
    the number of the first row of D that is 0, or 0. `hermitian` is the same for real numbers. No derivative.
    Raises LinAlgError only with `check_errors`."""
    found = _factor_ex("linalg.ldl_factor_ex", A)
    if check_errors:
        raise_where("linalg.ldl_factor_ex", found[2], _nothing_to_divide_by)
    return _FactorEx(*found)


@linalg("ldl_factor")
def ldl_factor(A: Tensor, *, hermitian: bool = False) -> Any:
    """(LD, pivots) as `ldl_factor_ex`; raises LinAlgError where D has a row of 0."""
    packed, pivots, info = _factor_ex("linalg.ldl_factor", A)
    raise_where("linalg.ldl_factor", info, _nothing_to_divide_by)
    return _Factor(packed, pivots)


def _beyond(places: Node, n: int) -> Node:
    """For each matrix 1 where a pivot is no row of it, else 0."""
    none = ops.lt(ops.const(n, places.dtype, places.shape), ops.abs_(places))
    return m.first_zero(axes.cast(ops.bitnot(none), dtypes.float32))


@linalg("ldl_solve")
def ldl_solve(LD: Tensor, pivots: Tensor, B: Tensor, *, hermitian: bool = False) -> Tensor:
    """The X (..., n, k) with A X = B, given what `ldl_factor` made of A (..., n, n); batches of LD and B
    broadcast. `hermitian` is the same for real numbers. No derivative.

    Raises DTypeError for pivots that are no integers, ShapeError where shapes do not fit, LinAlgError for
    pivots that are no rows of LD.
    """
    name = "linalg.ldl_solve"
    check_square(name, LD)
    check_matrices(name, B, what="B")
    check_float(name, LD, B)
    if LD.shape[-1] != B.shape[-2]:
        raise ShapeError(f"[{name}] Incompatible matrix sizes for {name}: each A matrix is {LD.shape[-1]} by "
                         f"{LD.shape[-1]} but each b matrix is {B.shape[-2]} by {B.shape[-1]}")
    if LD.shape[:-1] != pivots.shape:
        raise ShapeError(f"[{name}] {name}: Expected LD.shape[:-1] and pivots.shape to be the same, but got "
                         f"pivots with shape {tuple(pivots.shape)} instead of {tuple(LD.shape[:-1])}")
    if pivots.dtype.kind not in ("int", "uint"):
        raise DTypeError(f"[{name}] {name}: Expected pivots to be integers. Got {pytorch_name(pivots.dtype)}")
    raise_where(name, made(name, lambda n: _beyond(n, LD.shape[-1]), pivots), _no_row)

    def build(packed: Node, places: Node, b: Node) -> Node:
        packed, b = one_batch(name, packed, b)
        return factor.solve_by_ldl(packed, grown(places, packed.shape[:-2], 1), b)

    return made(name, build, LD, pivots, B)


def _no_row(_: int) -> str:
    return ("Pivots given to ldl_solve must all satisfy |pivot| <= LD.size(-2). Did you properly pass the "
            "result of ldl_factor?")
