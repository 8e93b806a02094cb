"""Steps of random programs that compute: elementwise, folding axes, and at computed places."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from random_writer import MANTISSA, Known, Writer, broadcasts, combined, offer

# name: (greatest argument, then magnitude, slope of the function on [-m, m])
SMOOTH: dict[str, tuple[float, Callable[[float], float], Callable[[float], float]]] = {
    "exp": (6, math.exp, math.exp),
    "expm1": (6, math.exp, math.exp),
    "exp2": (8, lambda m: 2**m, lambda m: 2**m),
    "sin": (1e3, lambda m: 1, lambda m: 1),
    "cos": (1e3, lambda m: 1, lambda m: 1),
    "tanh": (1e6, lambda m: 1, lambda m: 1),
    "sigmoid": (1e6, lambda m: 1, lambda m: 1),
    "erf": (1e6, lambda m: 1, lambda m: 1.2),
    "atan": (1e6, lambda m: 1.6, lambda m: 1),
    "asinh": (1e6, lambda m: math.log(2 * m + 2), lambda m: 1),
    "sqrt1": (1e6, lambda m: math.sqrt(m + 1), lambda m: 1),
    "log1": (1e6, lambda m: math.log(m + 2), lambda m: 1),
    "rsqrt1": (1e6, lambda m: 1, lambda m: 1 + m),
    "reciprocal1": (1e6, lambda m: 1, lambda m: 1 + m),
    "gelu": (1e3, lambda m: m + 1, lambda m: 1.2),
    "silu": (1e3, lambda m: m + 1, lambda m: 1.2),
}
KINKS = ("abs", "relu", "neg")
JUMPS = ("floor", "ceil", "round", "trunc", "sign")


@offer
def smooth_function(w: Writer) -> None:
    name = w.one_of(*SMOOTH)
    limit, mag, slope = SMOOTH[name]
    a = w.pick(lambda v: v.is_float and v.known.mag <= limit and (w.smooth(v) or "1" not in name))
    if a is not None:
        k = w.values[a].known
        factor = 1 + k.mag if w.values[a].dtype in ("float16", "bfloat16") else 4
        extra = factor * mag(k.mag) * 2.0 ** -MANTISSA[w.values[a].dtype]
        w.emit(name, (a,), (), Known(mag(k.mag), k.err * slope(k.mag) + extra, 0, k.special))


@offer
def unary(w: Writer) -> None:
    name = w.one_of(*KINKS, *JUMPS, "square", "isnan", "logical_not", "bitwise_not", "clamp")
    if name == "bitwise_not":
        a = w.pick(lambda v: not v.is_float)
        params: tuple[Any, ...] = ()
    else:
        jumps = name in JUMPS or name in ("isnan", "logical_not")
        a = w.pick(lambda v: v.dtype != "bool" and (not jumps or v.known.exact) and w.smooth(v))
        params = (-1.5, 2.5) if name == "clamp" and a is not None and w.values[a].is_float else ()
        if name == "clamp" and not params:
            params = (1, 3)
    if a is None:
        return
    k = w.values[a].known
    if name == "square":
        w.emit(name, (a,), (), Known(k.mag**2, 2 * k.mag * k.err, k.grid**2, k.special))
    elif name in ("isnan", "logical_not"):
        w.emit(name, (a,), (), Known(1, 0, 1))
    elif name == "bitwise_not":
        w.emit(name, (a,), (), Known(k.mag + 1, 0, 1))
    else:
        w.emit(
            name, (a,), params, replace(k, mag=max(k.mag, 3) if name == "clamp" else k.mag + (name in JUMPS))
        )


@offer
def binary(w: Writer) -> None:
    name = w.one_of("add", "mul", "sub", "maximum", "minimum")
    a = w.pick(lambda v: v.dtype != "bool" and (w.smooth(v) or name in ("add", "mul", "sub")))
    if a is None:
        return
    b = w.partner(a)
    if name in ("maximum", "minimum") and not w.smooth(w.values[b]):
        return
    known = combined(name, w.values[a].known, w.values[b].known)
    pair = (a, b) if w.chance() else (b, a)
    if name in ("maximum", "minimum"):
        w.emit(name, pair, (), known)
    else:
        w.emit("infix", pair, (name,), known)


@offer
def mixed(w: Writer) -> None:
    a = w.pick()
    b = w.pick() if a is not None else None
    if b is None or not broadcasts(w.values[a].shape, w.values[b].shape):
        return
    name = w.one_of("add", "mul")
    w.emit("infix", (a, b), (name,), combined(name, w.values[a].known, w.values[b].known))


@offer
def division(w: Writer) -> None:
    name = w.one_of("safe_div", "safe_floordiv", "safe_remainder", "safe_fmod")
    jumps = name != "safe_div"
    a = w.pick(
        lambda v: (
            v.dtype != "bool" and (not jumps or (v.known.exact and v.known.grid > 0 and not v.known.special))
        )
    )
    if a is None:
        return
    b = w.partner(a)
    ka, kb = w.values[a].known, w.values[b].known
    if not kb.exact or not kb.grid or (jumps and kb.special) or (jumps and w.grad and w.values[a].is_float):
        return
    known = Known(ka.mag / min(kb.grid, 1), ka.err / min(kb.grid, 1), 0, ka.special or kb.special)
    if name == "safe_floordiv":
        known = Known(known.mag + 1, 0, 1)
    elif jumps:
        known = Known(kb.mag, 0, min(ka.grid, kb.grid))
    w.emit(name, (a, b), (), known)


@offer
def scalar(w: Writer) -> None:
    a = w.pick(lambda v: v.dtype != "bool")
    if a is None:
        return
    whole = not w.values[a].is_float
    number = w.number(-3, 3) if whole else w.one_of(0.5, -1.5, 2.0, 0.1, 0.0)
    grid = 1.0 if whole else 0.5 if number != 0.1 else 0.0
    name = w.one_of("add", "mul", "sub")
    known = combined(name, w.values[a].known, Known(abs(number), 0, grid))
    if number == 0.1:
        known.err += known.mag * 2.0 ** -MANTISSA[w.values[a].dtype]
    w.emit(w.one_of("scalar_infix", "number_first"), (a,), (name, number), known)


@offer
def compare(w: Writer) -> None:
    name = w.one_of("lt", "le", "gt", "ge", "eq", "ne")
    a = w.pick(lambda v: v.known.exact)
    if a is not None:
        b = w.partner(a)
        if w.values[b].known.exact:
            w.emit("infix", (a, b), (name,), Known(1, 0, 1))


@offer
def bits(w: Writer) -> None:
    a = w.pick(lambda v: not v.is_float)
    if a is not None:
        b = w.partner(a)
        top = max(w.values[a].known.mag, w.values[b].known.mag)
        w.emit("infix", (a, b), (w.one_of("and", "or", "xor"),), Known(2 * top + 1, 0, 1))


@offer
def choose(w: Writer) -> None:
    a = w.pick()
    if a is None:
        return
    c = w.partner(a, "bool")
    b = w.partner(a)
    if broadcasts(np.broadcast_shapes(w.values[a].shape, w.values[b].shape), w.values[c].shape):
        w.emit("where", (c, a, b), (), combined("where", w.values[a].known, w.values[b].known))


@offer
def cast(w: Writer) -> None:
    to = w.one_of("float32", "int64", "bool", "float64", "int32", "float16", "bfloat16", "uint8", "int8")
    whole = to not in MANTISSA
    a = w.pick(lambda v: v.dtype != to and (not whole or (v.known.exact and not v.known.special)))
    if a is None:
        return
    k = w.values[a].known
    if whole and w.values[a].is_float and to != "bool" and k.mag > (0 if to == "uint8" else np.iinfo(to).max):
        return
    w.emit("cast", (a,), (to,), replace(k, grid=1) if whole else replace(k))


# Folding axes


@offer
def reduction(w: Writer) -> None:
    name = w.one_of("sum", "mean", "amax", "amin", "sum", "var", "logsumexp", "all", "any")
    if name in ("all", "any"):
        a = w.pick(lambda v: v.known.exact)
    elif name in ("mean", "var", "logsumexp"):
        a = w.pick(lambda v: v.is_float)
    else:
        a = w.pick(lambda v: (v.dtype != "bool" or name == "sum") and (name == "sum" or w.smooth(v)))
    if a is None:
        return
    v = w.values[a]
    axes = tuple(i for i in range(len(v.shape)) if w.chance())
    if not axes and v.shape:
        axes = (w.axis(v),)
    n = math.prod(v.shape[i] for i in axes)
    if (n == 0 and name in ("amax", "amin", "mean", "var", "logsumexp")) or (n < 2 and name == "var"):
        return
    k = v.known
    eps = 2.0 ** -MANTISSA.get(v.dtype, 53)
    known = {
        "sum": Known(
            k.mag * n,
            k.err * n + (0 if k.exact and k.grid else k.mag * n * eps * max(4, n / 4)),
            k.grid,
            k.special,
        ),
        "mean": Known(k.mag, k.err + k.mag * eps * max(4, n / 4), 0, k.special),
        "var": Known(2 * k.mag**2, 8 * k.mag * (k.err + k.mag * eps * (8 + n / 4)), 0, k.special),
        "logsumexp": Known(k.mag + math.log(n + 1), k.err + (k.mag + 4) * eps * (16 + n / 4), 0, k.special),
        "all": Known(1, 0, 1),
        "any": Known(1, 0, 1),
    }.get(name, replace(k))
    keep = w.chance()
    if not v.shape or (len(axes) == len(v.shape) and w.chance() and name != "logsumexp"):
        if name != "logsumexp":
            w.emit("reduce_all", (a,), (name,), known)
    elif name in ("all", "any"):
        w.emit("reduce", (a,), (name, axes[0], keep), known)
    else:
        w.emit("reduce", (a,), (name, axes, keep), known)


@offer
def product(w: Writer) -> None:
    a = w.pick(lambda v: v.dtype != "bool" and v.shape and v.known.mag <= 8 and max(v.shape) < 6)
    if a is not None:
        v = w.values[a]
        axis = w.axis(v)
        n, k = v.shape[axis], v.known
        mag = max(1.0, k.mag) ** n
        w.emit("reduce", (a,), ("prod", axis, w.chance()), Known(mag, n * mag * k.err, k.grid**n, k.special))


@offer
def extreme(w: Writer) -> None:
    a = w.pick(lambda v: v.known.exact and v.shape and 0 not in v.shape and v.dtype != "bool")
    if a is not None:
        v = w.values[a]
        axis = w.axis(v)
        w.emit(
            "extreme",
            (a,),
            (w.one_of("max", "min"), axis, w.chance()),
            replace(v.known),
            Known(v.shape[axis], 0, 1),
        )


@offer
def argmax(w: Writer) -> None:
    a = w.pick(lambda v: v.known.exact and v.shape and 0 not in v.shape and v.dtype != "bool")
    if a is not None:
        axis = w.axis(w.values[a])
        w.emit(
            "reduce",
            (a,),
            (w.one_of("argmax", "argmin"), axis, w.chance()),
            Known(w.values[a].shape[axis], 0, 1),
        )


@offer
def row_chain(w: Writer) -> None:
    name = w.one_of("softmax", "log_softmax", "layer_norm", "attention")
    a = w.pick(lambda v: v.is_float and v.shape and v.known.mag < 100)
    if a is None:
        return
    v, k = w.values[a], w.values[a].known
    eps = 2.0 ** -MANTISSA[v.dtype]
    n = max(v.shape)
    if name == "attention":
        if (
            len(v.shape) >= 2
            and 0 not in v.shape
            and k.mag**2 * v.shape[-1] < 200
            and v.dtype in ("float32", "float64")
        ):
            score = k.mag**2 * v.shape[-1] / 8
            error = 2 * (k.err * k.mag * v.shape[-1] + score * eps * n) + eps * (16 + n)
            w.emit("attention", (a,), (), Known(k.mag, k.err + k.mag * error * 4, 0, k.special))
    elif name == "layer_norm":
        if v.shape[-1]:
            error = (k.err + k.mag * eps * (8 + n / 4)) * 4
            w.emit(name, (a,), (), Known(2 * k.mag, error * (1 + 2 * k.mag), 0, k.special))
    elif 0 not in v.shape:
        error = (k.err + (k.mag + 4) * eps * (16 + n / 4)) * 4
        mag = 1.0 if name == "softmax" else 2 * k.mag + math.log(n + 1)
        w.emit("softmax", (a,), (name, w.axis(v)), Known(mag, error, 0, k.special))


@offer
def scan(w: Writer) -> None:
    name = w.one_of("cumsum", "cumprod", "cummax", "cummin", "logcumsumexp")
    a = w.pick(
        lambda v: (
            v.shape
            and v.dtype != "bool"
            and (name == "cumsum" or w.smooth(v))
            and (name != "logcumsumexp" or v.is_float)
            and (name != "cumprod" or max(v.shape) < 8)
        )
    )
    if a is None:
        return
    v, k = w.values[a], w.values[a].known
    axis = w.axis(v)
    n, eps = v.shape[axis], 2.0 ** -MANTISSA.get(v.dtype, 53)
    if name == "cumsum":
        extra = 0 if k.exact and k.grid else k.mag * n * eps * n
        w.emit("scan", (a,), (name, axis), Known(k.mag * n, k.err * n + extra, k.grid, k.special))
    elif name == "cumprod":
        mag = max(1.0, k.mag) ** n
        w.emit("scan", (a,), (name, axis), Known(mag, n * mag * k.err, k.grid**n, k.special))
    elif name == "logcumsumexp":
        error = (k.err + (k.mag + 4) * eps * (16 + n)) * 2
        w.emit("scan", (a,), (name, axis), Known(k.mag + math.log(n + 1), error, 0, k.special))
    elif k.exact and 0 not in v.shape:
        w.emit("extreme_scan", (a,), (name, axis), replace(k))


@offer
def order(w: Writer) -> None:
    name = w.one_of("sort", "argsort", "topk")
    a = w.pick(lambda v: v.shape and v.known.exact and 0 not in v.shape)
    if a is None:
        return
    v = w.values[a]
    axis = w.axis(v)
    places = Known(v.shape[axis], 0, 1)
    if name == "sort":
        w.emit("sort", (a,), (axis, w.chance()), replace(v.known), places)
    elif name == "argsort":
        w.emit("argsort", (a,), (axis, w.chance()), places)
    elif v.dtype != "bool":
        w.emit("topk", (a,), (w.number(0, v.shape[axis]), axis, w.chance()), replace(v.known))


# At computed places


@offer
def gathered(w: Writer) -> None:
    a = w.pick(lambda v: v.shape and 0 not in v.shape)
    if a is None:
        return
    v = w.values[a]
    axis = w.axis(v)
    name = w.one_of("index_select", "gather", "advanced", "embedding", "advanced_pair")
    if name == "gather":
        i = w.leaf(tuple(w.number(0, n) for n in v.shape), "int64")
        w.emit(name, (a, i), (axis,), replace(v.known))
        return
    i = w.pick(
        lambda u: (
            u.is_integer and (len(u.shape) == 1 or name not in ("index_select",)) and math.prod(u.shape) <= 60
        )
    )
    if i is None or w.chance():
        i = w.leaf(
            (w.number(0, 6),) if w.chance() or name == "index_select" else (2, w.number(1, 3)), "int64"
        )
    if name == "embedding":
        if len(v.shape) == 2:
            w.emit(name, (a, i), (), replace(v.known))
    elif name == "advanced_pair":
        if len(v.shape) >= 2:
            w.emit(name, (a, i), (), replace(v.known))
    else:
        w.emit(name, (a, i), (axis,), replace(v.known))


@offer
def scattered(w: Writer) -> None:
    a = w.pick(lambda v: v.shape and 0 not in v.shape and v.dtype != "bool")
    if a is None:
        return
    v = w.values[a]
    axis = w.axis(v)
    count = w.number(0, 9)
    if w.chance():
        shape = tuple(count if i == axis else n for i, n in enumerate(v.shape))
        source, i = w.leaf(shape, v.dtype), w.leaf((count,), "int64")
        name = "index_add"
    else:
        shape = tuple(count if i == axis else w.number(0, n) for i, n in enumerate(v.shape))
        source, i = w.leaf(shape, v.dtype), w.leaf(shape, "int64")
        name = "scatter_add"
    k, ks = v.known, w.values[source].known
    w.emit(
        name,
        (a, i, source),
        (axis,),
        Known(k.mag + count * ks.mag, k.err + count * ks.err, min(k.grid, ks.grid), k.special or ks.special),
    )
