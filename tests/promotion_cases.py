"""Calls whose result types are compared with PyTorch's, over every pair of element types.

A row of the table is one call with one kind of operands; its pattern has a letter for each pair of types (or
for each type), in the order of TYPES: which type the result has, or what was raised.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

TYPES = {
    "bool": "b", "uint8": "B", "uint16": "H", "uint32": "U", "uint64": "Q", "int8": "c", "int16": "s",
    "int32": "i", "int64": "l", "float16": "h", "bfloat16": "e", "float32": "f", "float64": "d",
}  # fmt: skip
FREE = "?"  # PyTorch has no kernel for these types: lazygrad may do what it likes
ERRORS = (
    (IndexError, "I"), (TypeError, "T"), (RuntimeError, "!"), (ValueError, "V"), (ZeroDivisionError, "Z"),
)  # fmt: skip
NUMBERS = {"True": True, "2": 2, "2.5": 2.5}

Call = Callable[..., Any]


def _named(names: str) -> dict[str, Call]:
    return {name: lambda t, x, y, name=name: getattr(t, name)(x, y) for name in names.split()}


ELEMENTWISE: dict[str, Call] = {
    **_named(
        "add sub subtract rsub mul multiply div divide true_divide floor_divide remainder fmod pow "
        "float_power atan2 arctan2 maximum minimum fmax fmin hypot logaddexp logaddexp2 xlogy "
        "copysign nextafter ldexp gcd lcm heaviside eq ne lt le gt ge not_equal greater greater_equal "
        "less less_equal isclose logical_and logical_or logical_xor bitwise_and bitwise_or "
        "bitwise_xor bitwise_left_shift bitwise_right_shift result_type isin"
    ),
    "max": lambda t, x, y: t.max(x, y),
    "min": lambda t, x, y: t.min(x, y),
    "div trunc": lambda t, x, y: t.div(x, y, rounding_mode="trunc"),
    "div floor": lambda t, x, y: t.div(x, y, rounding_mode="floor"),
    "add alpha 2": lambda t, x, y: t.add(x, y, alpha=2),
    "sub alpha 2.5": lambda t, x, y: t.sub(x, y, alpha=2.5),
    "where": lambda t, x, y: t.where(t.tensor([True, False]), x, y),
    "lerp": lambda t, x, y: t.lerp(x, y, 0.5),
    "lerp weight": lambda t, x, y: t.lerp(x, x, y),
    "addcmul": lambda t, x, y: t.addcmul(x, y, y),
    "addcmul value": lambda t, x, y: t.addcmul(x, x, y, value=2.5),
    "addcdiv": lambda t, x, y: t.addcdiv(x, y, y),
    "clamp min": lambda t, x, y: t.clamp(x, min=y),
    "clamp both": lambda t, x, y: t.clamp(x, y, y),
    "clip max": lambda t, x, y: t.clip(x, max=y),
    "masked_fill": lambda t, x, y: t.masked_fill(x, t.tensor([True, False]), y),
    "full_like": lambda t, x, y: t.full_like(x, 2) + y,
    "+": lambda t, x, y: x + y,
    "-": lambda t, x, y: x - y,
    "*": lambda t, x, y: x * y,
    "/": lambda t, x, y: x / y,
    "//": lambda t, x, y: x // y,
    "%": lambda t, x, y: x % y,
    "**": lambda t, x, y: x**y,
    "&": lambda t, x, y: x & y,
    "|": lambda t, x, y: x | y,
    "^": lambda t, x, y: x ^ y,
    "<<": lambda t, x, y: x << y,
    ">>": lambda t, x, y: x >> y,
    "==": lambda t, x, y: x == y,
    "<": lambda t, x, y: x < y,
    ">=": lambda t, x, y: x >= y,
}


def _in_place(names: str) -> dict[str, Call]:
    return {name: lambda t, x, y, name=name: getattr(x, name)(y) for name in names.split()}


def _mask(t: Any) -> Any:
    return t.tensor([True, False])


def _assigned(t: Any, x: Any, y: Any) -> Any:
    x[0:2] = y
    return x


IN_PLACE: dict[str, Call] = {
    **_in_place(
        "add_ sub_ mul_ div_ true_divide_ floor_divide_ remainder_ fmod_ pow_ float_power_ atan2_ "
        "hypot_ xlogy_ copysign_ nextafter_ ldexp_ gcd_ lcm_ heaviside_ eq_ ne_ lt_ le_ gt_ ge_ "
        "logical_and_ logical_or_ logical_xor_ bitwise_and_ bitwise_or_ bitwise_xor_ "
        "bitwise_left_shift_ bitwise_right_shift_ copy_ __iadd__ __isub__ __imul__ __itruediv__ "
        "__ifloordiv__ __imod__ __iand__ __ior__ __ixor__ __ilshift__ __irshift__ clamp_ clamp_min_ "
        "clamp_max_"
    ),
    "**=": lambda t, x, y: x.__ipow__(y),
    "add_ alpha": lambda t, x, y: x.add_(y, alpha=2.5),
    "div_ trunc": lambda t, x, y: x.div_(y, rounding_mode="trunc"),
    "lerp_": lambda t, x, y: x.lerp_(y, 0.5),
    "addcmul_": lambda t, x, y: x.addcmul_(y, y),
    "addcdiv_": lambda t, x, y: x.addcdiv_(y, y),
    "masked_fill_": lambda t, x, y: x.masked_fill_(_mask(t), y),
    "fill_": lambda t, x, y: x.fill_(y),
    "x[0:2] = y": _assigned,
    "add out": lambda t, x, y: t.add(y, y, out=x),
    "div out": lambda t, x, y: t.div(y, y, out=x),
    "eq out": lambda t, x, y: t.eq(y, y, out=x),
}

# (2, 2) matrices, and vectors made of them: types of which most have to agree
PAIRED: dict[str, Call] = {
    **_named("matmul mm inner kron dist cdist tensordot allclose equal"),
    "outer": lambda t, x, y: t.outer(x[0], y[0]),
    "cat": lambda t, x, y: t.cat([x, y]),
    "stack": lambda t, x, y: t.stack([x, y]),
    "hstack": lambda t, x, y: t.hstack([x, y]),
    "mv": lambda t, x, y: t.mv(x, y[0]),
    "dot": lambda t, x, y: t.dot(x[0], y[0]),
    "vdot": lambda t, x, y: t.vdot(x[0], y[0]),
    "bmm": lambda t, x, y: t.bmm(x[None], y[None]),
    "addmm": lambda t, x, y: t.addmm(x, y, y),
    "addmv": lambda t, x, y: t.addmv(x[0], y, y[0]),
    "baddbmm": lambda t, x, y: t.baddbmm(x[None], y[None], y[None]),
    "einsum": lambda t, x, y: t.einsum("ij,jk", x, y),
    "linear": lambda t, x, y: t.nn.functional.linear(x, y),
    "linear bias": lambda t, x, y: t.nn.functional.linear(x, x, y[0]),
    "cross": lambda t, x, y: t.cross(t.cat([x, x], 1)[:, :3], t.cat([y, y], 1)[:, :3], dim=1),
    "index_add": lambda t, x, y: x.index_add(0, t.tensor([0, 1]), y),
    "index_copy": lambda t, x, y: x.index_copy(0, t.tensor([0, 1]), y),
    "index_fill": lambda t, x, y: x.index_fill(0, t.tensor([0]), y[0, 0]),
    "index_put": lambda t, x, y: x.index_put((t.tensor([0, 1]),), y),
    "scatter": lambda t, x, y: x.scatter(0, t.tensor([[0, 1]]), y),
    "scatter_add": lambda t, x, y: x.scatter_add(0, t.tensor([[0, 1]]), y),
    "scatter_reduce": lambda t, x, y: x.scatter_reduce(0, t.tensor([[0, 1]]), y, "amax"),
    "masked_scatter": lambda t, x, y: x.masked_scatter(x == x, y),
    "gather index": lambda t, x, y: t.gather(x, 0, t.zeros_like(y)),
    "index": lambda t, x, y: x[y],
    "index_select": lambda t, x, y: t.index_select(x, 0, t.zeros_like(y)[0]),
    "take": lambda t, x, y: t.take(x, y),
    "put": lambda t, x, y: x.put(t.zeros_like(y), x),
    "scatter index": lambda t, x, y: x.scatter(0, t.zeros_like(y)[:1], x),
    "scatter_add index": lambda t, x, y: x.scatter_add(0, t.zeros_like(y)[:1], x),
    "index_add index": lambda t, x, y: x.index_add(0, t.zeros_like(y)[0], x),
    "index_copy index": lambda t, x, y: x.index_copy(0, t.zeros_like(y)[0], x),
    "index_fill index": lambda t, x, y: x.index_fill(0, t.zeros_like(y)[0], 1),
    "index_put index": lambda t, x, y: x.index_put((t.zeros_like(y)[0],), x),
    "take_along_dim": lambda t, x, y: t.take_along_dim(x, t.zeros_like(y), 0),
    "nll_loss weight": lambda t, x, y: t.nn.functional.nll_loss(x, t.tensor([0, 1]), y[0]),
    "group_norm": lambda t, x, y: t.nn.functional.group_norm(x, 1, y[0], y[0]),
    "batch_norm": lambda t, x, y: t.nn.functional.batch_norm(x, y[0], y[0], y[0], y[0]),
    "rms_norm": lambda t, x, y: t.nn.functional.rms_norm(x, (2,), y[0]),
    "poisson_nll_loss": lambda t, x, y: t.nn.functional.poisson_nll_loss(x, y),
    "soft_margin_loss": lambda t, x, y: t.nn.functional.soft_margin_loss(x, y),
    "repeat_interleave": lambda t, x, y: t.repeat_interleave(x, y[0], 0),
    "bilinear": lambda t, x, y: t.nn.functional.bilinear(x, x, y[None]),
    "conv_transpose1d": lambda t, x, y: t.nn.functional.conv_transpose1d(x[None], y[:, :, None]),
    "attention": lambda t, x, y: t.nn.functional.scaled_dot_product_attention(x[None], x[None], y[None]),
    "attention mask": lambda t, x, y: t.nn.functional.scaled_dot_product_attention(
        x[None], x[None], x[None], y
    ),
    "embedding": lambda t, x, y: t.nn.functional.embedding(t.zeros_like(y), x),
    "searchsorted": lambda t, x, y: t.searchsorted(x[0], y),
    "bucketize": lambda t, x, y: t.bucketize(x, y[0]),
    "mse_loss": lambda t, x, y: t.nn.functional.mse_loss(x, y),
    "l1_loss": lambda t, x, y: t.nn.functional.l1_loss(x, y),
    "smooth_l1_loss": lambda t, x, y: t.nn.functional.smooth_l1_loss(x, y),
    "huber_loss": lambda t, x, y: t.nn.functional.huber_loss(x, y),
    "cross_entropy": lambda t, x, y: t.nn.functional.cross_entropy(x, t.zeros_like(y)[0]),
    "nll_loss": lambda t, x, y: t.nn.functional.nll_loss(x, t.zeros_like(y)[0]),
    "binary_cross_entropy": lambda t, x, y: t.nn.functional.binary_cross_entropy(x, y),
    "bce_with_logits": lambda t, x, y: t.nn.functional.binary_cross_entropy_with_logits(x, y),
    "kl_div": lambda t, x, y: t.nn.functional.kl_div(x, y, reduction="sum"),
    "cosine_similarity": lambda t, x, y: t.nn.functional.cosine_similarity(x, y),
    "prelu": lambda t, x, y: t.nn.functional.prelu(x, y[0]),
    "layer_norm": lambda t, x, y: t.nn.functional.layer_norm(x, (2,), y[0], y[0]),
    "conv1d": lambda t, x, y: t.nn.functional.conv1d(x[None], y[:, :, None]),
    "type_as": lambda t, x, y: x.type_as(y),
    "promote_types": lambda t, x, y: t.promote_types(x.dtype, y.dtype),
    "can_cast": lambda t, x, y: t.can_cast(x.dtype, y.dtype),
    "sum dtype": lambda t, x, y: t.sum(x, 0, dtype=y.dtype),
    "prod dtype": lambda t, x, y: t.prod(x, dtype=y.dtype),
    "mean dtype": lambda t, x, y: t.mean(x, dtype=y.dtype),
    "cumsum dtype": lambda t, x, y: t.cumsum(x, 0, dtype=y.dtype),
    "softmax dtype": lambda t, x, y: t.softmax(x, 0, dtype=y.dtype),
    "to": lambda t, x, y: x.to(y.dtype),
    "zeros_like": lambda t, x, y: t.zeros_like(x, dtype=y.dtype),
    "where number": lambda t, x, y: t.where(x == x, x, 2.5) + y,
}

UNARY: dict[str, Call] = {
    **{
        name: lambda t, x, name=name: getattr(t, name)(x)
        for name in (
            "abs acos acosh angle asin asinh atan atanh bitwise_not ceil clone cos cosh deg2rad "
            "digamma erf erfc erfinv exp exp2 expm1 floor frac frexp isfinite isinf isnan isneginf "
            "isposinf isreal lgamma log log10 log1p log2 logical_not logit nan_to_num neg negative "
            "positive rad2deg reciprocal relu round rsqrt sigmoid sgn sign signbit sin sinc sinh sqrt "
            "square tan tanh trunc fix conj real zeros_like ones_like sum nansum mean nanmean prod "
            "max min amax amin aminmax argmax argmin any all var std median nanmedian mode "
            "count_nonzero nonzero sort argsort msort unique unique_consecutive trace diag tril triu "
            "norm corrcoef cov var_mean std_mean numel is_floating_point"
        ).split()
    },
    "logsumexp": lambda t, x: t.logsumexp(x, 0),
    "cumsum": lambda t, x: t.cumsum(x, 0),
    "cumprod": lambda t, x: t.cumprod(x, 0),
    "cummax": lambda t, x: t.cummax(x, 0),
    "cummin": lambda t, x: t.cummin(x, 1),
    "logcumsumexp": lambda t, x: t.logcumsumexp(x, 0),
    "softmax": lambda t, x: t.softmax(x, 0),
    "log_softmax": lambda t, x: t.log_softmax(x, 1),
    "sum dim": lambda t, x: t.sum(x, (0, 1)),
    "sum none": lambda t, x: t.sum(x, ()),
    "mean dim": lambda t, x: t.mean(x, 0),
    "prod dim": lambda t, x: t.prod(x, 1),
    "max dim": lambda t, x: t.max(x, 0),
    "min dim": lambda t, x: t.min(x, 1),
    "any dim": lambda t, x: t.any(x, 0),
    "all dim": lambda t, x: t.all(x, 1),
    "norm 1": lambda t, x: t.norm(x, 1),
    "norm dim": lambda t, x: t.norm(x, 2, 0),
    "median dim": lambda t, x: t.median(x, 0),
    "kthvalue": lambda t, x: t.kthvalue(x, 1),
    "topk": lambda t, x: t.topk(x, 1),
    "quantile": lambda t, x: t.quantile(x, 0.5),
    "diff": lambda t, x: t.diff(x),
    "histc": lambda t, x: t.histc(x, 3),
    "bincount": lambda t, x: t.bincount(x[0]),
    "renorm": lambda t, x: t.renorm(x, 2, 0, 1),
    "flip": lambda t, x: t.flip(x, (0,)),
    "round decimals": lambda t, x: t.round(x, decimals=1),
    "clamp": lambda t, x: t.clamp(x, 0, 1),
    "clamp to floats": lambda t, x: t.clamp(x, 0.5, 1.5),
    "logit eps": lambda t, x: t.logit(x, 0.1),
    "pow 2": lambda t, x: t.pow(x, 2),
    "pow 0.5": lambda t, x: t.pow(x, 0.5),
    "2 ** x": lambda t, x: t.pow(2, x),
    "polygamma": lambda t, x: t.polygamma(1, x),
    "one_hot": lambda t, x: t.nn.functional.one_hot(x, 3),
    "arange": lambda t, x: t.arange(3, dtype=x.dtype),
    "linspace": lambda t, x: t.linspace(0, 1, 3, dtype=x.dtype),
    "eye": lambda t, x: t.eye(2, dtype=x.dtype),
    "full": lambda t, x: t.full((2,), 1, dtype=x.dtype),
    "new_full": lambda t, x: x.new_full((2,), 1.5),
    "unary minus": lambda t, x: -x,
    "inverted": lambda t, x: ~x,
    **{
        f"F.{name}": lambda t, x, name=name: getattr(t.nn.functional, name)(x)
        for name in (
            "celu elu gelu hardsigmoid hardswish hardtanh leaky_relu logsigmoid mish relu6 selu silu "
            "softplus softsign tanhshrink hardshrink softshrink normalize"
        ).split()
    },
    "F.threshold": lambda t, x: t.nn.functional.threshold(x, 1, 2),
    "F.glu": lambda t, x: t.nn.functional.glu(x),
    "F.dropout": lambda t, x: t.nn.functional.dropout(x, 0.5),
    "F.pad": lambda t, x: t.nn.functional.pad(x, (1, 1)),
    "F.max_pool1d": lambda t, x: t.nn.functional.max_pool1d(x, 2),
    "F.avg_pool1d": lambda t, x: t.nn.functional.avg_pool1d(x, 2),
    "F.interpolate": lambda t, x: t.nn.functional.interpolate(x[None], scale_factor=2),
}
UNARY |= {
    name + "_": lambda t, x, name=name: getattr(x, name + "_")()
    for name in (
        "abs acos acosh asin asinh atan atanh bitwise_not ceil cos cosh deg2rad digamma erf erfc "
        "erfinv exp exp2 expm1 floor frac lgamma log log10 log1p log2 logical_not logit nan_to_num "
        "neg rad2deg reciprocal relu round rsqrt sigmoid sgn sign sin sinc sinh sqrt square tan tanh "
        "trunc zero"
    ).split()
}


def letter(run: Callable[[], Any]) -> str:
    """What a call gives: the letter of its result's type, "o" for what is no tensor, or an error's letter."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = run()
    except (AttributeError, AssertionError):
        raise
    except Exception as problem:
        text = str(problem)
        kinds = [kind.__name__ for kind in type(problem).__mro__]
        if "not implemented for" in text or any(name.startswith("NotImplemented") for name in kinds):
            return FREE
        return next(mark for kind, mark in ERRORS if isinstance(problem, kind))
    if isinstance(result, tuple | list):
        result = result[0]
    dtype = getattr(result, "dtype", result)
    return TYPES.get(str(dtype).rpartition(".")[2], "o")


def rows() -> Iterator[tuple[str, Callable[[Any], str]]]:
    """Each row's name, and the function that makes its pattern with a library."""

    def ones(t: Any, name: str, shape: tuple[int, ...]) -> Any:
        return t.ones(shape, dtype=getattr(t, name))

    def paired(call: Call, s: tuple[int, ...], r: tuple[int, ...]) -> Callable[[Any], str]:
        return lambda t: "".join(
            letter(lambda: call(t, ones(t, a, s), ones(t, b, r))) for a in TYPES for b in TYPES  # noqa: B023
        )

    def beside(call: Call, s: tuple[int, ...], value: Any, first: bool) -> Callable[[Any], str]:
        def one(t: Any, a: Any) -> Any:
            return call(t, value, ones(t, a, s)) if first else call(t, ones(t, a, s), value)

        return lambda t: "".join(letter(lambda: one(t, a)) for a in TYPES)  # noqa: B023

    for name, call in ELEMENTWISE.items():
        for s, r in (((2,), (2,)), ((2,), ()), ((), (2,)), ((), ())):
            yield f"{name} {s} {r}", paired(call, s, r)
        for shown, value in NUMBERS.items():
            for s in ((2,), ()):
                yield f"{name} {s} {shown}", beside(call, s, value, False)
                yield f"{name} {shown} {s}", beside(call, s, value, True)
    for name, call in IN_PLACE.items():
        for s, r in (((2,), (2,)), ((2,), ()), ((), ())):
            yield f"{name} {s} {r}", paired(call, s, r)
        for shown, value in NUMBERS.items():
            yield f"{name} (2,) {shown}", beside(call, (2,), value, False)
    for name, call in PAIRED.items():
        yield name, paired(call, (2, 2), (2, 2))
    def alone(call: Call) -> Callable[[Any], str]:
        return lambda t: "".join(letter(lambda: call(t, ones(t, a, (2, 2)))) for a in TYPES)  # noqa: B023

    for name, call in UNARY.items():
        yield name, alone(call)
