"""`out=`: tensors that take the results of functions, and tensors that take another size in place."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from lazygrad.dtypes import pytorch_name
from lazygrad.errors import ArgumentTypeError, DTypeError, GradientError
from lazygrad.helpers import product
from lazygrad.tensors import indexing, integers, special, statistics
from lazygrad.tensors.axes import sizes_of
from lazygrad.tensors.core import FUNCTIONS, Tensor, function, method, row_strides_of, storage_of
from lazygrad.tensors.creation import full
from lazygrad.tensors.modes import mode
from lazygrad.tensors.movement import as_strided
from lazygrad.tensors.promotion import check_castable
from lazygrad.tensors.views import check_apart


def _resize(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    if tuple(x._shape) == shape:
        return x
    whole, end = storage_of(x).detach(), x._offset + product(shape)
    if end > whole.numel():
        kept = whole[:end]
        whole = full((end,), 0, dtype=x._dtype, device=x.device)
        whole[: kept.numel()] = kept
    x.data = as_strided(whole, shape, row_strides_of(shape), x._offset)
    return x


@method("resize_", "_resize_output_")
def resize_(x: Tensor, *sizes: Any, memory_format: Any = None) -> Tensor:
    """Another size for the same storage, in row-major order; a storage that is too small is replaced by a
    longer one with the old elements in front (tensors that shared the old one keep it). Raises GradientError
    for tensors that require a gradient."""
    if x.requires_grad:
        raise GradientError("[resize_] cannot resize variables that require grad: resize x.data, or a copy")
    return _resize(x, sizes_of("resize_", sizes))


@function("resize_as_")
def resize_as_(input: Tensor, the_template: Tensor, *, memory_format: Any = None) -> Tensor:
    """`resize_` to the size of another tensor."""
    return resize_(input, tuple(the_template._shape))


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from (v for v in value if isinstance(v, Tensor))


def _take(name: str, out: Tensor, result: Tensor) -> None:
    if result._dtype is not out._dtype:
        if name in _SAME_TYPE:
            raise DTypeError(
                f"[{name}] Expected out tensor to have dtype {pytorch_name(result._dtype)}, but got "
                f"{pytorch_name(out._dtype)} instead"
            )
        check_castable(name, result._dtype, out._dtype)
    if out._shape != result._shape:
        if out.numel():
            warnings.warn(
                "An output with one or more elements was resized since it had shape "
                f"{list(out._shape)}, which does not match the required output shape {list(result._shape)}. "
                "Give an empty out, or one of the right shape.",
                stacklevel=4,
            )
        _resize(out, tuple(result._shape))
    out.write(result.to(out._dtype), "out")


def with_out(name: str, definition: Callable[..., Any]) -> Callable[..., Any]:
    """A function that takes `out`, a tensor or as many as it returns, and returns what it was given there."""

    @functools.wraps(definition)
    def call(*args: Any, out: Any = None, **named: Any) -> Any:
        if out is None:
            return definition(*args, **named)
        outs = tuple(out) if isinstance(out, tuple | list) else (out,)
        operands = list(_tensors((*args, *named.values())))
        for one in outs:
            if not isinstance(one, Tensor):
                kind = type(one).__name__
                raise ArgumentTypeError(f"[{name}] {name}(): argument 'out' must be Tensor, not {kind}")
            check_apart(name, one, operands)
        if mode.enabled and any(t.requires_grad for t in (*outs, *operands)):
            raise GradientError(
                f"[{name}] {name}(): functions with out=... arguments don't support automatic "
                "differentiation, but one of the arguments requires grad."
            )
        if name in _TYPED_BY_OUT:
            named.setdefault("dtype", outs[0]._dtype)
        result = definition(*args, **named)
        results = (result,) if isinstance(result, Tensor) else tuple(result)
        if len(results) != len(outs):
            raise ArgumentTypeError(f"[{name}] {name}() returns {len(results)} tensors, out has {len(outs)}")
        for one, value in zip(outs, results, strict=True):
            _take(name, one, value)
        if isinstance(result, Tensor):
            return out
        return type(result)(*outs) if hasattr(result, "_fields") else outs

    return call


_NAMES = """
    abs absolute acos acosh add addbmm addcdiv addcmul addmm addmv addr all amax amin aminmax any arccos
    arccosh arcsin arcsinh arctan arctan2 arctanh argmax argmin argsort asin asinh atan atan2 atanh baddbmm
    bitwise_and bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor bmm bucketize cat
    ceil chain_matmul clamp clamp_max clamp_min clip column_stack concat concatenate copysign cos cosh cross
    cummax cummin cumprod cumsum deg2rad diag diff digamma div divide dot dstack eq erf erfc erfinv exp exp2
    expm1 fix float_power floor floor_divide fmax fmin fmod frac frexp gather gcd ge ger greater greater_equal
    gt heaviside histc histogram hstack hypot index_add index_copy index_reduce index_select inner isin
    isneginf isposinf kron kthvalue lcm ldexp le lerp less less_equal lgamma log log10 log1p log2 log_softmax
    logaddexp logaddexp2 logcumsumexp logical_and logical_not logical_or logical_xor logit logsumexp lt
    masked_select matmul matrix_power max maximum mean median min minimum mm mode msort mul multiply mv
    mvlgamma nan_to_num nanmean nanmedian nanquantile nansum ne neg negative nextafter nonzero norm not_equal
    outer polygamma pow prod quantile rad2deg reciprocal remainder renorm repeat_interleave round row_stack
    rsqrt scatter scatter_add scatter_reduce searchsorted sgn sigmoid sign signbit sin sinc sinh softmax sort
    sqrt square stack std sub subtract sum take take_along_dim tan tanh tensordot topk tril triu true_divide
    trunc var vdot vstack where xlogy
""".split()
_SAME_TYPE = frozenset(
    """
    abs absolute addbmm addmm addmv all amax amin aminmax any argmax argmin argsort baddbmm bmm bucketize ceil
    cross cummax cummin diag diff dot fix floor frac frexp gather heaviside histc histogram index_add
    index_copy index_reduce index_select inner isin isneginf isposinf kthvalue log_softmax logcumsumexp
    masked_select matmul matrix_power max median min mm mode msort mv nan_to_num nanmedian nanquantile neg
    negative nonzero norm quantile renorm repeat_interleave round scatter scatter_add scatter_reduce
    searchsorted sgn sign signbit softmax sort take take_along_dim tensordot topk tril triu trunc vdot where
    """.split()
)

_TYPED_BY_OUT = frozenset("sum nansum prod cumsum cumprod".split())  # computed in its type
_DEFINED_IN = (indexing, integers, special, statistics)  # and in what these import
for _name in _NAMES:
    FUNCTIONS[_name] = with_out(_name, FUNCTIONS[_name])
