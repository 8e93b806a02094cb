"""Functions of matrices made of others: powers, chains of products, pseudoinverses, least squares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lazygrad import dtypes
from lazygrad.compositions import matrices as m
from lazygrad.compositions import orthogonal
from lazygrad.dtypes import pytorch_name
from lazygrad.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError
from lazygrad.tensors.arithmetic import mul, sub
from lazygrad.tensors.core import FUNCTIONS, Tensor, creator, function
from lazygrad.tensors.limits import finfo
from lazygrad.tensors.linalg.common import (
    are_vectors,
    check_float,
    check_matrices,
    check_square,
    linalg,
    made,
)
from lazygrad.tensors.linalg.orthogonal import eigvalsh, svdvals
from lazygrad.tensors.linalg.solving import inv
from lazygrad.tensors.linear import matmul
from lazygrad.tensors.promotion import broadcast, check_same_type
from lazygrad.tensors.return_types import return_type
from lazygrad.tensors.statistics import vectors_crossed

_Lstsq = return_type("linalg_lstsq", "solution", "residuals", "rank", "singular_values")

# Products


def _power(name: str, x: Tensor, n: int) -> Tensor:
    if not isinstance(n, int) or isinstance(n, bool):
        raise ArgumentTypeError(f"[{name}] argument 'n' must be int, not {type(n).__name__}")
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ShapeError(f"[{name}] {name}: A must be batches of square matrices, but they are "
                         f"{' by '.join(map(str, x.shape[-2:]))} matrices")
    square = inv(x) if n < 0 else x
    left, result = abs(n), None
    while left:
        if left & 1:
            result = square if result is None else matmul(result, square)
        left >>= 1
        square = matmul(square, square) if left else square
    if result is None:
        return made(name, lambda node: m.eye(node, node.shape[-1]), x)
    return x.clone() if result is x else result


@linalg("matrix_power")
def linalg_matrix_power(A: Tensor, n: int) -> Tensor:
    """Square matrices times themselves n times, by repeated squaring; for n below 0, their inverses. Raises
    LinAlgError for singular ones then."""
    return _power("linalg.matrix_power", A, n)


@function("matrix_power")
def matrix_power(input: Tensor, n: int) -> Tensor:
    """As `linalg.matrix_power`."""
    return _power("linalg.matrix_power", input, n)


def _best_cuts(sizes: Sequence[int]) -> list[list[int]]:
    """For each run [i, j] of matrices where to cut it for the fewest multiplications."""
    count = len(sizes) - 1
    price = [[0] * count for _ in range(count)]
    cuts = [[0] * count for _ in range(count)]
    for length in range(2, count + 1):
        for i in range(count - length + 1):
            j = i + length - 1
            price[i][j], cuts[i][j] = min(
                (price[i][k] + price[k + 1][j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k)
                for k in range(i, j))
    return cuts


@linalg("multi_dot")
def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """The product of two or more matrices, in the order of the fewest multiplications; the first and the last
    may be vectors."""
    found = list(tensors)
    if len(found) < 2:
        raise ShapeError(f"[linalg.multi_dot] multi_dot(): expected at least 2 tensors but got {len(found)}")
    for place, x in ((0, found[0]), (len(found) - 1, found[-1])):
        if x.ndim not in (1, 2):
            which = "last" if place else "first"
            raise ShapeError(f"[linalg.multi_dot] multi_dot(): the {which} tensor must be 1D or 2D but got "
                             f"{x.ndim}D")
    for place, x in enumerate(found[1:-1], 1):
        if x.ndim != 2:
            raise ShapeError(f"[linalg.multi_dot] multi_dot(): tensor {place} must be 2D but got {x.ndim}D")
    row, column = found[0].ndim == 1, found[-1].ndim == 1
    if row:
        found[0] = found[0].unsqueeze(0)
    if column:
        found[-1] = found[-1].unsqueeze(-1)
    for place, (x, y) in enumerate(zip(found, found[1:], strict=False)):
        if x.shape[-1] != y.shape[0]:
            raise ShapeError(f"[linalg.multi_dot] multi_dot(): tensors {place} and {place + 1} with shapes "
                             f"{list(x.shape)} and {list(y.shape)} cannot be multiplied")
    cuts = _best_cuts([x.shape[0] for x in found] + [found[-1].shape[-1]])

    def product(i: int, j: int) -> Tensor:
        return found[i] if i == j else matmul(product(i, cuts[i][j]), product(cuts[i][j] + 1, j))

    result = product(0, len(found) - 1)
    result = result.squeeze(-1) if column else result
    return result.squeeze(0) if row else result


@creator("chain_matmul")
def chain_matmul(*matrices: Tensor) -> Tensor:
    """The product of one or more matrices, in the order of the fewest multiplications."""
    for x in matrices:
        if x.ndim != 2:
            raise ShapeError(f"[chain_matmul] Tensor dimension is {x.ndim}, expected 2 instead.")
    return matrices[0] if len(matrices) == 1 else multi_dot(matrices)


@linalg("matmul")
def linalg_matmul(input: Tensor, other: Tensor) -> Tensor:
    """As `matmul`."""
    return matmul(input, other)


@linalg("vecdot")
def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """The sums of products along a dimension, broadcast; two vectors have one size."""
    if x.dtype.kind != "float":
        raise DTypeError("[linalg.vecdot] Expected a floating point tensor as input. Got "
                         f"{pytorch_name(x.dtype)}: convert it with .float()")
    check_same_type("linalg.vecdot", x=x, y=y)
    return FUNCTIONS["vdot"](x, y) if x.ndim == y.ndim == 1 else mul(x, y).sum(dim)


@linalg("cross")
def cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The cross products of vectors of size 3 along a dimension, broadcast."""
    return vectors_crossed("linalg.cross", input, other, dim)


@linalg("diagonal")
def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The diagonals of matrices, a view."""
    return FUNCTIONS["diagonal"](A, offset, dim1, dim2)


@linalg("vander")
def vander(x: Tensor, *, N: int | None = None) -> Tensor:
    """The powers x**0 to x**(N - 1) of vectors (..., n): (..., n, N), N = n by default."""
    if x.dtype is dtypes.bool_:
        raise DTypeError("[linalg.vander] supports floating point and integer tensors, but got Bool: "
                         "convert it with .long()")
    count = x.shape[-1] if N is None and x.ndim else N if N is not None else 1
    if count <= 1:
        raise ShapeError(f"[linalg.vander] N must be greater than 1, got {count}")
    x = x if x.ndim else x.unsqueeze(0)
    powers = x.unsqueeze(-1).expand(*x.shape, count - 1).cumprod(-1)
    return FUNCTIONS["cat"]([FUNCTIONS["ones_like"](powers[..., :1]), powers], -1)


# Singular values that count


def _least(x: Tensor, greatest: Tensor, atol: Any, rtol: Any) -> Tensor:
    """max(atol, rtol * greatest) for each matrix, by PyTorch's defaults."""
    default = max(x.shape[-2:]) * finfo(x.dtype).eps

    def given(value: Any) -> Tensor:
        return value.to(x.dtype) if isinstance(value, Tensor) else x.new_full((), float(value))

    absolute = given(0.0 if atol is None else atol)
    if rtol is not None:
        relative = given(rtol)
    elif isinstance(atol, Tensor):
        relative = FUNCTIONS["where"](absolute > 0.0, 0.0, given(default))
    else:
        relative = given(0.0 if atol is not None and atol > 0 else default)
    return FUNCTIONS["maximum"](absolute, relative * greatest)


def _check_one_form(name: str, older: str, given: Any, atol: Any, rtol: Any) -> None:
    if given is not None and (atol is not None or rtol is not None):
        raise ArgumentTypeError(f"[{name}] takes {older}, or atol and rtol, not both")


@linalg("matrix_rank")
def matrix_rank(A: Tensor, tol: Any = None, hermitian: bool = False, *, atol: Any = None,
                rtol: Any = None) -> Tensor:
    """How many singular values (sizes of eigenvalues, if `hermitian`) of matrices lie above
    max(atol, rtol * the greatest one); int64. `tol` is an older name of atol, with rtol 0."""
    _check_one_form("linalg.matrix_rank", "tol", tol, atol, rtol)
    if tol is not None:
        atol, rtol = tol, 0.0
    check_matrices("linalg.matrix_rank", A)
    if not A.numel():
        return A.new_zeros(A.shape[:-2], dtype=dtypes.int64)
    if hermitian:
        check_square("linalg.matrix_rank", A)
    values = eigvalsh(A.detach()).abs() if hermitian else svdvals(A.detach())
    least = _least(A, values.amax(-1), atol, rtol)
    return (values > least.unsqueeze(-1)).sum(-1)


def _pinv(name: str, x: Tensor, atol: Any, rtol: Any, hermitian: bool) -> Tensor:
    check_matrices(name, x)
    if not x.numel():
        return made(name, m.transposed, x)
    if hermitian:
        check_square(name, x)
    constant = x.detach()
    values = eigvalsh(constant).abs().amax(-1) if hermitian else svdvals(constant)[..., 0]
    least = _least(x, values, atol, rtol)
    batch = broadcast(name, x.shape[:-2], least.shape)
    x, least = x.expand(*batch, *x.shape[-2:]), least.expand(batch).unsqueeze(-1)
    return made("linalg_pinv", lambda n, low: orthogonal.pinv(n, low, hermitian), x, least)


@linalg("pinv")
def pinv(A: Tensor, rcond: Any = None, hermitian: bool = False, *, atol: Any = None,
         rtol: Any = None) -> Tensor:
    """The pseudoinverses (..., n, m) of matrices (..., m, n); singular values up to max(atol, rtol * the
    greatest one) count as 0. `rcond` is an older name of rtol."""
    _check_one_form("linalg.pinv", "rcond", rcond, atol, rtol)
    return _pinv("linalg.pinv", A, atol, rtol if rcond is None else rcond, hermitian)


@function("pinverse")
def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """As `linalg.pinv` with rtol = rcond."""
    return _pinv("linalg.pinv", input, None, rcond, False)


# Least squares

_DRIVERS = ("gels", "gelsy", "gelsd", "gelss")


@linalg("lstsq")
def lstsq(A: Tensor, B: Tensor, rcond: float | None = None, *, driver: str | None = None) -> Any:
    """(solution, residuals, rank, singular_values): the X for which A X is nearest to B, the smallest where
    there are several; A (..., m, n), B (..., m, k) or vectors (..., m).

    Singular values up to rcond times the greatest one (by default the distance from 1 to the next number,
    times the greater size) count as 0, but "gels" asks for no rcond. Which of the other three results are not
    empty follows the driver: "gelsy" (the default) has the rank, "gelsd" and "gelss" all, "gels" the
    residuals. Residuals are given for matrices of full rank with more rows than columns.
    """
    name = "torch.linalg.lstsq"
    check_float(name, A, B)
    if driver is not None and driver not in _DRIVERS:
        raise ArgumentError(f"[{name}] {name}: parameter `driver` should be one of "
                                   "(gels, gelsy, gelsd, gelss)")
    for x, what, least in ((A, "input", 2), (B, "other", 1)):
        if x.ndim < least:
            raise ShapeError(f"[{name}] {name}: {what} must have at least {least} dimensions.")
    if not 0 <= A.ndim - B.ndim <= 1:
        raise ShapeError(f"[{name}] {name}: input.dim() must be greater or equal to other.dim() and "
                         f"(input.dim() - other.dim()) <= 1, got {tuple(A.shape)} and {tuple(B.shape)}")
    vectors = are_vectors(A, B)
    right = B.unsqueeze(-1) if vectors else B
    if A.shape[-2] != right.shape[-2]:
        raise ShapeError(f"[{name}] {name}: input.size(-2) should match other.size(-2)")
    driver = driver or "gelsy"
    rcond = None if driver == "gels" else rcond  # which takes all for matrices of full rank
    solution = matmul(_pinv(name, A, None, rcond, False), right)
    rank = matrix_rank(A, rtol=rcond)
    rows, columns = A.shape[-2:]
    residuals, none = solution.reshape(-1)[:0], A.new_empty(0)
    if driver != "gelsy" and rows > columns and bool((rank == columns).all()):
        off = sub(matmul(A, solution), right)
        residuals = mul(off, off).sum(-2)
    return _Lstsq(
        solution.squeeze(-1) if vectors else solution,
        residuals,
        rank if driver != "gels" else rank.new_empty(0),
        svdvals(A.detach()) if driver in ("gelsd", "gelss") else none,
    )


