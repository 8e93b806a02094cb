"""Products of matrices and other sums of products: matmul, einsum, linear, ... Every one is a contraction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lazygrad import ops
from lazygrad.compositions import axes, contraction
from lazygrad.dtypes import promote
from lazygrad.errors import ArgumentError, ArgumentTypeError, AxisError, DTypeError, ShapeError
from lazygrad.graph import Node
from lazygrad.tensors.arithmetic import add, mul, require_tensor, store, sub, with_in_place
from lazygrad.tensors.axes import axis_of
from lazygrad.tensors.core import Tensor, apply, creator, function, method
from lazygrad.tensors.grad_fn import as_operation, one_operation
from lazygrad.tensors.promotion import result_type


def _ranks(op: str, wanted: Sequence[int], *tensors: Tensor) -> None:
    for place, (t, rank) in enumerate(zip(tensors, wanted, strict=True), 1):
        if require_tensor(op, t).ndim != rank:
            raise ShapeError(f"[{op}] argument {place} must have {rank} dimension(s), got {tuple(t._shape)}")


# what PyTorch computes a product of these numbers of dimensions by; others it reshapes to and fro
_PRODUCTS = {(1, 1): "dot", (2, 1): "mv", (2, 2): "mm"}


@function("matmul")
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """The matrix product of the last two dimensions, others broadcast; 1-d tensors are vectors.

    Raises ShapeError where inner sizes differ, DTypeError for different types.
    """
    x, y = require_tensor("matmul", input), require_tensor("matmul", other)
    name = _PRODUCTS.get((x.ndim, y.ndim), "UnsafeViewBackward0")
    return as_operation(apply("matmul", contraction.matmul, x, y), name, x, y)


@method("__matmul__")
def _matmul_operator(x: Tensor, other: Any) -> Any:
    return matmul(x, other) if isinstance(other, Tensor) else NotImplemented


@method("__rmatmul__")
def _matmul_reflected(x: Tensor, other: Any) -> Any:
    return matmul(other, x) if isinstance(other, Tensor) else NotImplemented


@method("__imatmul__")
def _matmul_in_place(x: Tensor, other: Tensor) -> Tensor:
    return store("matmul", x, matmul(x, other))


def _check_product(name: str, x: Tensor, y: Tensor, ranks: tuple[int, int]) -> None:
    _ranks(name, ranks, x, y)
    if name == "bmm" and x._shape[0] != y._shape[0]:
        raise ShapeError(f"[bmm] {tuple(x._shape)} @ {tuple(y._shape)}: batch sizes differ, "
                         f"{x._shape[0]} and {y._shape[0]}")


def _product(name: str, x: Tensor, y: Tensor, ranks: tuple[int, int]) -> Tensor:
    _check_product(name, x, y, ranks)
    return apply(name, lambda a, b: contraction.matmul(a, b, name), x, y)


@function("mm")
def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """The product of two matrices (n, k) and (k, m)."""
    return _product("mm", input, mat2, (2, 2))


@function("bmm")
def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """The products of matrices (b, n, k) and (b, k, m)."""
    return _product("bmm", input, mat2, (3, 3))


@function("mv")
def mv(input: Tensor, vec: Tensor) -> Tensor:
    """The product of a matrix (n, k) and a vector (k)."""
    return _product("mv", input, vec, (2, 1))


@function("dot")
def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """The sum of products of two vectors."""
    return _product("dot", input, tensor, (1, 1))


@function("vdot")
def vdot(input: Tensor, other: Tensor) -> Tensor:
    """The sum of products of two vectors."""
    return _product("vdot", input, other, (1, 1))


@function("inner")
def inner(input: Tensor, other: Tensor) -> Tensor:
    """The sums of products over the last dimensions: (*a, k) and (*b, k) to (*a, *b)."""
    if not input.ndim or not other.ndim:
        return mul(input, other)
    if input._shape[-1] != other._shape[-1]:
        raise ShapeError(f"[inner] {tuple(input._shape)} and {tuple(other._shape)}: the size of the last "
                         f"dimension must match, got {input._shape[-1]} and {other._shape[-1]}")
    return apply("inner", lambda x, y: contraction.tensordot(x, y, (-1,), (-1,)), input, other)


@function("outer", "ger")
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """All products of two vectors' elements: (n, m)."""
    _ranks("outer", (1, 1), input, vec2)
    return mul(input.reshape(-1, 1), vec2)


def _scaled_sum(op: str, x: Tensor, product: Tensor, beta: Any, alpha: Any) -> Tensor:
    """beta * x + alpha * product; x counts not at all, NaN or not, where beta is 0."""
    _check_dtypes(op, x, product)
    return apply(op, lambda a, p: _scaled(op, a, p, beta, alpha), x, product)


def _check_dtypes(op: str, x: Tensor, product: Tensor) -> None:
    if x._dtype is not product._dtype:
        raise DTypeError(f"[{op}] expected input and product to have one dtype, got {x._dtype!r} and "
                         f"{product._dtype!r}")


def _scaled(op: str, a: Node, p: Node, beta: Any, alpha: Any) -> Node:
    p = p if alpha == 1 else ops.mul(p, axes.full(alpha, p))
    if beta == 0:
        return p
    a = axes.broadcast(a, p.shape, op)
    return ops.add(a if beta == 1 else ops.mul(a, axes.full(beta, a)), p)


def _plus_product(op: str, x: Tensor, left: Tensor, right: Tensor, ranks: tuple[int, int], beta: Any,
                  alpha: Any, summed: Sequence[int] = ()) -> Tensor:
    """beta * x + alpha * (left @ right), the product summed over some axes."""
    product = "bmm" if ranks == (3, 3) else op
    _check_product(product, left, right, ranks)
    _check_dtypes(op, x, left)

    @axes.precise
    def build(n: Node, a: Node, b: Node) -> Node:
        return _scaled(op, n, axes.total(contraction.matmul(a, b, product), summed), beta, alpha)

    return apply(op, build, x, left, right)


@with_in_place("addmm")
def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * (mat1 @ mat2)."""
    return _plus_product("addmm", input, mat1, mat2, (2, 2), beta, alpha)


@with_in_place("addmv")
def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * (mat @ vec)."""
    return _plus_product("addmv", input, mat, vec, (2, 1), beta, alpha)


@with_in_place("baddbmm")
def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * (batch1 @ batch2), matrix by matrix."""
    return _plus_product("baddbmm", input, batch1, batch2, (3, 3), beta, alpha)


@with_in_place("addbmm")
def addbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * the sum of all products of matrices batch1 @ batch2."""
    return _plus_product("addbmm", input, batch1, batch2, (3, 3), beta, alpha, (0,))


@with_in_place("addr")
def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * outer(vec1, vec2)."""
    dtype = promote(promote(input._dtype, vec1._dtype), vec2._dtype)
    return _scaled_sum("addr", input.to(dtype), outer(vec1.to(dtype), vec2.to(dtype)), beta, alpha)


@creator("einsum")
def einsum(equation: Any, *operands: Any) -> Tensor:
    """Sums of products by named axes: einsum("bij,bjk->bik", x, y). Repeated letters take diagonals, `...`
    broadcasts, a missing output is the letters that appear once, in order. The form einsum(x, [0, 1], y, [1,
    2], [0, 2]) works too.
    """
    if not isinstance(equation, str):
        if not isinstance(equation, Tensor):
            raise ArgumentTypeError("[einsum] einsum(): argument 'equation' (position 1) must be str, or a "
                                    "Tensor before its list of dimensions, not "
                                    f"{type(equation).__name__}")
        equation, operands = _equation_of_lists((equation, *operands))
    elif len(operands) == 1 and isinstance(operands[0], list | tuple):
        operands = tuple(operands[0])
    if not operands:
        raise ArgumentError("[einsum] must provide at least one operand")
    tensors = [require_tensor("einsum", t) for t in operands]
    return apply("einsum", lambda *nodes: contraction.einsum(equation, nodes), *tensors)


_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def _equation_of_lists(given: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
    """The equation and operands of the form (operand, subscripts, ..., [subscripts of the output])."""
    pairs, rest = given[:len(given) // 2 * 2], given[len(given) // 2 * 2:]

    def text(subscripts: Any) -> str:
        if any(s is not Ellipsis and not 0 <= s < len(_LETTERS) for s in subscripts):
            raise ArgumentError(f"[einsum] subscripts must be in the range [0, {len(_LETTERS)}), got "
                                f"{list(subscripts)}")
        return "".join("..." if s is Ellipsis else _LETTERS[s] for s in subscripts)

    equation = ",".join(map(text, pairs[1::2]))
    return equation + ("->" + text(rest[0]) if rest else ""), pairs[0::2]


@creator("tensordot")
def tensordot(a: Tensor, b: Tensor, dims: Any = 2) -> Tensor:
    """Sums of products over pairs of dimensions: the last `dims` of a with the first of b, or two lists of
    dimensions."""
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        if dims < 0 or dims > min(a.ndim, b.ndim):
            raise ShapeError(f"[tensordot] dims={dims} needs tensors of at least as many dimensions: "
                             f"{tuple(a._shape)} and {tuple(b._shape)}")
        dims = (range(a.ndim - dims, a.ndim), range(dims))
    if len(dims) != 2 or any(isinstance(d, int) for d in dims):
        raise ArgumentTypeError("[tensordot] dims must be an int or two tuples of ints, one for each tensor, "
                                f"not {dims!r}")
    left, right = (list(d) for d in dims)
    return apply("tensordot", lambda x, y: contraction.tensordot(x, y, left, right), a, b)


@creator("linear")
def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input (..., in) times weight (out, in) transposed, plus bias (out): (..., out)."""
    given = [input, weight] if bias is None else [input, weight, bias]
    flat = "mm" if bias is None else "addmm"
    name = flat if input.ndim == 2 else "UnsafeViewBackward0" if bias is None else "view"
    if input.ndim == 1 and bias is None:
        name = "SqueezeBackward4"
    return as_operation(apply("linear", contraction.linear, *given), name, *given)


@creator("bilinear")
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input1 (..., a) and input2 (..., b) through weight (out, a, b), plus bias (out): (..., out)."""
    if bias is not None and not bias.ndim:
        raise AxisError("[bilinear] bias must have a dimension of out_features, but has none")
    given = [input1, input2, weight, *([] if bias is None else [bias])]
    result = apply("bilinear", contraction.bilinear, *given)
    return as_operation(result, "view" if bias is None else "add", *given)


@function("trace")
@one_operation("trace")
def trace(input: Tensor) -> Tensor:
    """The sum of a matrix's diagonal; integers sum in int64."""
    _ranks("trace", (2,), input)
    return input.diagonal().sum()


@function("kron")
def kron(input: Tensor, other: Tensor) -> Tensor:
    """The Kronecker product: every element of input times all of other, as blocks."""
    dtype = result_type(input, other)
    rank = max(input.ndim, other.ndim)

    def build(x: Node, y: Node) -> Node:
        left, right = ((1,) * (rank - n.ndim) + n.shape for n in (x, y))
        shape = tuple(m for pair in zip(left, right, strict=True) for m in pair)
        x = axes.reshape(axes.cast(x, dtype), tuple(m for n in left for m in (n, 1)))
        y = axes.reshape(axes.cast(y, dtype), tuple(m for n in right for m in (1, n)))
        product = ops.mul(axes.expand(x, shape), axes.expand(y, shape))
        return axes.reshape(product, tuple(a * b for a, b in zip(left, right, strict=True)))

    return apply("kron", build, input, other)


# by which PyTorch chooses a formula: there is one here
_DISTANCE_MODES = (
    "use_mm_for_euclid_dist_if_necessary", "use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist",
)


@creator("cdist")
def cdist(
    x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str = "use_mm_for_euclid_dist_if_necessary"
) -> Tensor:
    """The p-norms of differences between all rows: (..., n, d) and (..., m, d) to (..., n, m)."""
    op = "cdist"
    if x1.ndim < 2 or x2.ndim < 2 or x1._shape[-1] != x2._shape[-1]:
        raise ShapeError(f"[{op}] needs two tensors of rows of one length, got {tuple(x1._shape)} and "
                         f"{tuple(x2._shape)}")
    if p < 0:
        raise ArgumentError(f"[{op}] only supports non-negative p values, got {p}")
    if compute_mode not in _DISTANCE_MODES:
        raise ArgumentError(f"[{op}] {compute_mode} is not a valid value for compute_mode: there are "
                            f"{', '.join(_DISTANCE_MODES)}")
    batch = axes.broadcast_shape(op, tuple(x1._shape[:-2]), tuple(x2._shape[:-2]))
    shape = (*batch, x1._shape[-2], x2._shape[-2], x1._shape[-1])

    def build(x: Node, y: Node) -> Node:
        axes.require_same_dtype(op, x, y)
        axes.require_float(op, x)
        x = axes.broadcast(axes.insert_axis(x, x.ndim - 1), shape, op)
        y = axes.broadcast(axes.insert_axis(y, y.ndim - 2), shape, op)
        return _norm_of(ops.sub(x, y), p)

    return apply(op, build, x1, x2)


def _norm_of(d: Node, p: float) -> Node:
    """The p-norm over the last axis; its gradient at 0 is 0, as PyTorch's."""
    last = (d.ndim - 1,)
    size = ops.abs_(d)
    if p == 0:
        return axes.total(axes.cast(ops.ne(d, axes.full(0, d)), d.dtype), last)
    if p == 1:
        return axes.total(size, last)
    if p == float("inf"):
        return axes.drop_axes(ops.max_(size, arg=last), last) if d.shape[-1] else axes.total(size, last)
    power = ops.mul(d, d) if p == 2 else ops.pow_(size, axes.full(p, size))
    summed = axes.total(power, last)
    is_zero = ops.eq(summed, axes.full(0, summed))
    safe = ops.where(is_zero, axes.full(1, summed), summed)
    root = ops.sqrt(safe) if p == 2 else ops.pow_(safe, axes.full(1 / p, safe))
    return ops.where(is_zero, axes.full(0, root), root)


@creator("pairwise_distance")
def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """The p-norm of add(sub(x1, x2), eps) over the last dimension."""
    result = apply("pairwise_distance", lambda d: _norm_of(d, p), add(sub(x1, x2), eps))
    return result.unsqueeze(-1) if keepdim else result


@creator("cosine_similarity")
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x1 . x2 / (|x1| |x2|) over a dimension, norms no less than eps."""
    shape = axes.broadcast_shape("cosine_similarity", tuple(x1._shape), tuple(x2._shape))
    dtype = result_type(x1, x2)
    if dtype.kind != "float":
        raise DTypeError(
            f"[cosine_similarity] expected common dtype to be floating point, yet common dtype is {dtype!r}: "
            "convert one of them with .float()"
        )
    if eps < 0:
        raise ArgumentError(f"[cosine_similarity] eps must be non-negative, got: {eps}")
    axis = axis_of("cosine_similarity", dim, len(shape))
    x1, x2 = (x.to(dtype).broadcast_to(shape or (1,)) for x in (x1, x2))

    def normalized(x: Node) -> Node:
        last = axes.move_axis(x, axis, x.ndim - 1)
        norm = _norm_of(last, 2)
        norm = ops.maximum(norm, axes.full(eps, norm))
        return ops.div(last, axes.expand(axes.insert_axis(norm, norm.ndim), last.shape))

    def build(x: Node, y: Node) -> Node:
        return axes.total(ops.mul(normalized(x), normalized(y)), (x.ndim - 1,))

    return apply("cosine_similarity", build, x1, x2)
