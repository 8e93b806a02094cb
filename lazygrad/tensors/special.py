"""Special functions under the names of PyTorch: of the gamma function, the normal distribution, of Bessel."""

from __future__ import annotations

import math
from typing import Any

from lazygrad import dtypes, ops
from lazygrad.compositions import axes, bessel, incomplete_gamma, special
from lazygrad.errors import ArgumentError, ArgumentTypeError, DTypeError
from lazygrad.graph import Node
from lazygrad.tensors.arithmetic import check_operands, check_tensor, elementwise, in_place, with_in_place
from lazygrad.tensors.core import Tensor, apply, creator, function, method
from lazygrad.tensors.elementwise import unary
from lazygrad.tensors.promotion import converted, get_default_dtype, result_type

# published under torch.special's own names alone
SPECIAL: dict[str, Any] = {}


def _special(name: str, build: Any) -> Any:
    """A function of torch.special that is no method of tensors."""

    def evaluate(input: Tensor) -> Tensor:
        if not isinstance(input, Tensor):
            raise ArgumentTypeError(f"[special.{name}] expected a Tensor, got {type(input).__name__}")
        target = input.dtype if input.is_floating_point() else get_default_dtype()
        return apply(f"special_{name}", lambda n: build(converted(n, target)), input)

    evaluate.__name__ = evaluate.__qualname__ = name
    evaluate.__doc__ = f"Elementwise `{name}`."
    SPECIAL[name] = evaluate
    return evaluate


lgamma = unary("lgamma", special.lgamma)
digamma = unary("digamma", special.digamma)
erfinv = unary("erfinv", special.erfinv)


def polygamma(n: int, input: Tensor) -> Tensor:
    """The n-th derivative of digamma at every element; n is an int, 0 or more."""
    if not isinstance(n, int) or isinstance(n, bool):
        raise ArgumentTypeError(f"[polygamma] n must be an int, got {type(n).__name__}")
    if n < 0:
        raise ArgumentError("[polygamma] polygamma(n, x) does not support negative n.")
    target = input.dtype if input.is_floating_point() else get_default_dtype()
    build = special.polygamma(n)
    return apply("polygamma", lambda x: build(converted(x, target)), input)


creator("polygamma")(polygamma)
method("polygamma")(lambda self, n: polygamma(n, self))  # as a method, the tensor comes first
in_place("polygamma_", lambda self, n: polygamma(n, self))


@function("mvlgamma", "multigammaln")
def mvlgamma(input: Tensor, p: int) -> Tensor:
    """The logarithm of the multivariate gamma function of dimension p >= 1, elementwise."""
    if not isinstance(p, int) or p < 1:
        raise ArgumentError(f"[mvlgamma] p has to be greater than or equal to 1, got {p!r}")
    if input.dtype is dtypes.bool_:
        raise DTypeError("[mvlgamma] The input tensor may not be a boolean tensor: convert it with .float()")
    total = lgamma(input)
    for j in range(1, p):
        total = total + lgamma(input - j / 2)
    return total + p * (p - 1) / 4 * math.log(math.pi)


def _entr(x: Node) -> Node:
    # -x log x; 0 at 0, minus infinity left of it
    zero = ops.like(0, x)
    inside = ops.lt(zero, x)
    value = ops.neg(ops.mul(x, ops.log(ops.where(inside, x, ops.like(1, x)))))
    outside = ops.where(ops.eq(x, zero), zero, ops.where(ops.lt(x, zero), ops.like(-math.inf, x), x))
    return ops.surrogate(ops.where(inside, value, outside), x, arg=_entr_gradient)


def _entr_gradient(g: Node, value: Node, x: Node) -> tuple[Node]:
    return (ops.neg(ops.mul(g, ops.add(ops.like(1, x), ops.log(x)))),)


def _ndtr(x: Node) -> Node:
    return ops.mul(ops.like(0.5, x), ops.erfc(ops.mul(x, ops.like(-math.sqrt(0.5), x))))


def _log_ndtr(x: Node) -> Node:
    # erfc keeps its digits down to where it becomes 0; below -10, its asymptotic series (DLMF 7.12.1)
    low = ops.lt(x, ops.like(-10, x))
    near = ops.log(_ndtr(ops.where(low, ops.like(0, x), x)))
    z = ops.where(low, x, ops.like(-10, x))
    inverse = ops.reciprocal(ops.mul(z, z))
    series, term = ops.like(1, x), ops.like(1, x)
    for k in range(1, 9):
        term = ops.mul(term, ops.mul(inverse, ops.like(-(2 * k - 1), x)))
        series = ops.add(series, term)
    far = ops.sub(ops.mul(ops.mul(z, z), ops.like(-0.5, x)), ops.log(ops.neg(z)))
    far = ops.add(ops.add(far, ops.log(series)), ops.like(-0.5 * math.log(2 * math.pi), x))
    # right of 0 the value is close to -0: by the other end
    high = ops.lt(ops.like(0, x), x)
    right = ops.log1p(ops.neg(_ndtr(ops.where(high, ops.neg(x), ops.like(0, x)))))
    return ops.where(low, far, ops.where(high, right, near))


entr, ndtr = _special("entr", _entr), _special("ndtr", _ndtr)
ndtri, log_ndtr = _special("ndtri", special.ndtri), _special("log_ndtr", _log_ndtr)


# Bessel's functions and others

i0 = SPECIAL["i0"] = unary("i0", bessel.i0)
for _name, _build in {
    "i0e": bessel.i0e, "i1": bessel.i1, "i1e": bessel.i1e, "bessel_j0": bessel.j0, "bessel_j1": bessel.j1,
    "bessel_y0": bessel.y0, "bessel_y1": bessel.y1, "modified_bessel_i0": bessel.i0,
    "modified_bessel_i1": bessel.i1, "modified_bessel_k0": bessel.k0, "modified_bessel_k1": bessel.k1,
    "scaled_modified_bessel_k0": bessel.k0e, "scaled_modified_bessel_k1": bessel.k1e,
    "spherical_bessel_j0": bessel.spherical_j0, "airy_ai": bessel.airy_ai, "erfcx": bessel.erfcx,
}.items():
    _special(_name, _build)


def _of_two(name: str, build: Any, what: str, takes_numbers: bool = False) -> Any:
    """A function of two tensors that broadcast; of those that take numbers, one may be a number."""

    def evaluate(input: Any, other: Any) -> Tensor:
        x, y = check_operands(name, input, other)
        if not takes_numbers:
            x, y = check_tensor(name, x, "input", 1), check_tensor(name, y, "other", 2)
        dtype = result_type(x, y)
        return elementwise(name, build, (x, y), dtype if dtype.kind == "float" else get_default_dtype())

    evaluate.__name__ = evaluate.__qualname__ = name
    evaluate.__doc__ = what
    return evaluate


@axes.precise
def _xlog1py(x: Node, y: Node) -> Node:
    zero = ops.like(0, x)
    # the derivative by x is log1p(y) at 0 too, where that is finite
    ends = ops.bitor(ops.le(y, ops.like(-1, y)), ops.eq(y, ops.like(math.inf, y)))
    endless = ops.bitand(ops.eq(x, zero), ends)
    return ops.where(endless, zero, ops.mul(x, ops.log1p(ops.where(endless, zero, y))))


igamma = _of_two("igamma", incomplete_gamma.gammainc,
                 "The part of the gamma function's integral that lies below other, for the exponent input.")
igammac = _of_two("igammac", incomplete_gamma.gammaincc,
                  "The part of the gamma function's integral that lies above other, for the exponent input.")
zeta = _of_two("zeta", special.zeta,
               "Hurwitz's zeta function: the sum over k >= 0 of (other + k) ** -input.", takes_numbers=True)
with_in_place("igamma")(igamma)
with_in_place("igammac")(igammac)
xlog1py = _of_two("xlog1py", _xlog1py, "input * log1p(other), 0 where input is 0 and other is no NaN.",
                  takes_numbers=True)
SPECIAL.update(gammainc=igamma, gammaincc=igammac, zeta=zeta, xlog1py=xlog1py)
in_place("mvlgamma_", mvlgamma)
