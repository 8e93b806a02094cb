"""`out=`: tensors that take the results of functions, and tensors that take another size in place."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from lazygrad import dtypes
from lazygrad.dtypes import pytorch_name
from lazygrad.errors import ArgumentTypeError, DTypeError, GradientError, ShapeError
from lazygrad.helpers import product
from lazygrad.tensors import copies, integers, linalg, parts, reals, special, statistics
from lazygrad.tensors.axes import sizes_of
from lazygrad.tensors.core import FUNCTIONS, Tensor, function, method, row_strides_of, storage_of
from lazygrad.tensors.creation import full
from lazygrad.tensors.linalg.common import LINALG
from lazygrad.tensors.modes import mode
from lazygrad.tensors.movement import as_strided
from lazygrad.tensors.promotion import check_castable
from lazygrad.tensors.random import creators
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


@method("resize_")
def resize_(x: Tensor, *sizes: Any, memory_format: Any = None) -> Tensor:
    """Another size for the same storage, in row-major order; a storage that is too small is replaced by a
    longer one with the old elements in front (tensors that shared the old one keep it). Raises GradientError
    for tensors that require a gradient."""
    if x.requires_grad:
        raise GradientError("[resize_] cannot resize variables that require grad: resize x.data, or a copy")
    shape = sizes_of("resize_", sizes)
    if any(n < 0 for n in shape):
        raise ShapeError(f"[resize_] sizes must not be negative, got {list(shape)}")
    return _resize(x, shape)


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


def _take(name: str, out: Tensor, result: Tensor, same_type: bool) -> None:
    bytes_of_truth = name in _TRUTH_AS_BYTES and out._dtype is dtypes.uint8
    if result._dtype is not out._dtype and not bytes_of_truth:
        if same_type:
            raise DTypeError(
                f"[{name}] Expected out tensor to have dtype {pytorch_name(result._dtype)}, but got "
                f"{pytorch_name(out._dtype)} instead"
            )
        check_castable(name, result._dtype, out._dtype)
    _resize_output(out, tuple(result._shape))
    out.write(result.to(out._dtype), "out")


@method("_resize_output_")
def _resize_output(x: Tensor, shape: Sequence[int], device: Any = None) -> Tensor:
    """`resize_` of what is given as `out`, with a warning where it had elements."""
    if x._shape != shape and x.numel():
        warnings.warn(
            "An output with one or more elements was resized since it had shape "
            f"{list(x._shape)}, which does not match the required output shape {list(shape)}. "
            "Give an empty out, or one of the right shape.",
            stacklevel=4,
        )
    return _resize(x, tuple(shape))


def with_out(name: str, definition: Callable[..., Any], same_type: bool = False) -> Callable[..., Any]:
    """A function that takes `out`, a tensor or as many as it returns, and returns what it was given there.
    `same_type`: out must have the type of the result; else the result is cast to it."""
    same_type = same_type or name in _SAME_TYPE or name in _CREATORS

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
            if one._is_expanded():
                raise ShapeError(
                    f"[{name}] unsupported operation: more than one element of the written-to tensor refers "
                    f"to a single memory location: out {tuple(one._shape)} is expanded. Please clone() it"
                )
        if mode.enabled and any(t.requires_grad for t in (*outs, *operands)):
            raise GradientError(
                f"[{name}] {name}(): functions with out=... arguments don't support automatic "
                "differentiation, but one of the arguments requires grad."
            )
        if name in _TYPED_BY_OUT or name in _CREATORS:
            named["dtype"] = named.get("dtype") or outs[0]._dtype
        if name in _CREATORS:
            named["device"] = named.get("device") or outs[0].device
        result = definition(*args, **named)
        results = (result,) if isinstance(result, Tensor) else tuple(result)
        if len(results) != len(outs):
            raise ArgumentTypeError(f"[{name}] {name}() returns {len(results)} tensors, out has {len(outs)}")
        for one, value in zip(outs, results, strict=True):
            _take(name, one, value, same_type)
        if isinstance(result, Tensor):
            return out.requires_grad_() if named.get("requires_grad") else out
        return type(result)(*outs) if hasattr(result, "_fields") else outs

    call.takes_out = True  # type: ignore[attr-defined]
    return call


_NAMES = """
    abs absolute acos acosh add addbmm addcdiv addcmul addmm addmv addr alias_copy all amax amin aminmax
    angle any arccos arccosh arcsin arcsinh arctan arctan2 arctanh argmax argmin argsort as_strided_copy
    asin asinh atan atan2 atanh baddbmm bitwise_and bitwise_left_shift bitwise_not bitwise_or
    bitwise_right_shift bitwise_xor bmm bucketize cat ceil chain_matmul cholesky cholesky_inverse
    cholesky_solve clamp clamp_max clamp_min clip column_stack concat concatenate conj_physical copysign
    cos cosh cross cummax cummin cumprod cumsum deg2rad detach_copy diag diagonal_copy diff digamma div
    divide dot dstack eq erf erfc erfinv exp exp2 expand_copy expm1 fix float_power floor
    floor_divide fmax fmin fmod frac frexp frobenius_norm gather gcd ge geqrf ger greater greater_equal
    gt hash_tensor heaviside histc histogram hstack hypot i0 igamma igammac index_add index_copy index_reduce
    index_select inner inverse isin isneginf isposinf kron kthvalue lcm ldexp le lerp less less_equal
    lgamma log log10 log1p log2 log_softmax logaddexp logaddexp2 logcumsumexp logical_and
    logical_not logical_or logical_xor logit logsumexp lt lu lu_solve lu_unpack masked_select
    matmul matrix_power max maximum mean median min minimum mm mode msort mul multiply mv mvlgamma
    nan_to_num nanmean nanmedian nanquantile nansum narrow_copy ne neg negative nextafter nonzero
    nonzero_static norm not_equal nuclear_norm orgqr ormqr outer permute_copy polygamma pow prod qr
    quantile rad2deg reciprocal remainder renorm repeat_interleave round row_stack rsqrt scatter
    scatter_add scatter_reduce searchsorted select_copy sgn sigmoid sign signbit sin sinc sinh slice_copy
    slice_scatter slogdet softmax sort split_copy split_with_sizes_copy sqrt square squeeze_copy stack
    std sub subtract sum svd t_copy take take_along_dim tan tanh tensordot topk transpose_copy
    triangular_solve tril triu true_divide trunc unbind_copy unfold_copy unsqueeze_copy var vdot
    view_as_real_copy view_copy vstack where xlogy
""".split()
_SAME_TYPE = frozenset(
    """
    abs absolute addbmm addmm addmv alias_copy all amax amin aminmax any argmax argmin argsort as_strided_copy
    baddbmm bitwise_not bmm bucketize ceil chain_matmul conj_physical cross cummax cummin detach_copy
    diag diagonal_copy diff dot expand_copy fix float_power floor frac frexp gather hash_tensor heaviside
    histc histogram index_add index_copy index_reduce index_select inner inverse isin isneginf isposinf
    kthvalue log_softmax logcumsumexp lu_solve lu_unpack masked_select matmul matrix_power max median min
    mm mode msort multinomial mv nan_to_num nanmedian nanquantile narrow_copy neg negative nonzero norm
    orgqr ormqr permute_copy qr quantile renorm repeat_interleave round scatter scatter_add scatter_reduce
    searchsorted select_copy sgn sign signbit slice_copy slice_scatter slogdet softmax sort split_copy
    split_with_sizes_copy squeeze_copy svd t_copy take take_along_dim tensordot topk transpose_copy
    triangular_solve tril triu trunc unbind_copy unfold_copy unsqueeze_copy vdot view_as_real_copy
    view_copy where
    """.split()
)
_CAST = frozenset(  # the functions of torch.linalg whose out may have another type
    "cond householder_product lstsq matrix_power matrix_rank pinv tensorinv tensorsolve".split()
)
_TYPED_BY_OUT = frozenset("cumprod cumsum nansum prod sum".split())  # computed in its type
_CREATORS = frozenset("arange empty eye full linspace logspace ones randperm range zeros".split())
_TRUTH_AS_BYTES = frozenset("all any".split())
_DEFINED_IN = (  # and in what these import
    copies, creators, integers, linalg, parts, reals, special, statistics,
)
for _name in (*_NAMES, *_CREATORS, "bernoulli", "multinomial"):
    FUNCTIONS[_name] = with_out(_name, FUNCTIONS[_name])
for _name, _definition in LINALG.items():
    LINALG[_name] = with_out(f"linalg.{_name}", _definition, _name not in _CAST)
