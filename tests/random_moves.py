"""More steps of random programs: movements and views, contractions, windows, writes in place, and reads."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import random_steps  # registers its offers
from hypothesis import strategies as st
from random_programs import Program, Step, key_of
from random_writer import MANTISSA, MAX_SIZE, OFFERS, Known, Value, Writer, combined, offer

# Views


def random_key(w: Writer, v: Value) -> tuple[Any, ...]:
    """Numbers, slices, None and an ellipsis for a value's axes."""
    spec: list[Any] = []
    for n in v.shape:
        kind = w.number(0, 3)
        if kind == 3 and n:
            spec.append(w.number(-n, n - 1))
        elif kind >= 1:
            begin = w.number(0, n)
            spec.append((begin, w.number(begin, n), w.number(1, 3)))
        else:
            spec.append((None, None, None))
    if w.number(0, 4) == 4:
        spec.insert(w.number(0, len(spec)), "None")
    if w.number(0, 4) == 4 and spec:
        spec[-1] = "..."
    return tuple(spec)


@offer
def view(w: Writer) -> None:
    name = w.one_of(
        "item", "transpose", "permute", "expand", "unsqueeze", "squeeze", "unfold", "diagonal", "narrow", "T"
    )
    a = w.pick(lambda v: bool(v.shape))
    if a is None:
        return
    v = w.values[a]
    axis, other = w.axis(v), w.axis(v)
    rank = len(v.shape)
    shared = False
    params: tuple[Any, ...] = (axis,)
    if name == "item":
        params = (random_key(w, v),)
    elif name == "transpose":
        params = (axis, other)
    elif name == "permute":
        params = (tuple(w.draw(st.permutations(range(rank)))),)
    elif name == "expand":
        shape = tuple(w.number(2, 4) if n == 1 else n for n in v.shape)
        params, shared = ((w.number(1, 3), *shape) if w.chance() else shape,), True
        if math.prod(params[0]) > MAX_SIZE:
            return
    elif name == "unfold":
        size = w.number(1, max(1, v.shape[axis]))
        if v.shape[axis] < size:
            return
        params, shared = (axis, size, w.number(1, 3)), True
        if math.prod(v.shape) * size > MAX_SIZE:
            return
    elif name == "diagonal":
        if rank < 2 or axis == other:
            return
        params = (w.number(-1, 1), axis, other)
    elif name == "narrow":
        begin = w.number(0, v.shape[axis])
        params = (axis, begin, w.number(0, v.shape[axis] - begin))
    elif name == "T":
        if rank != 2:
            return
        name, params = "t", ()
    w.emit(name, (a,), params, None, view_of=a, shared=shared)


@offer
def reshape(w: Writer) -> None:
    a = w.pick()
    if a is None:
        return
    shape = w.values[a].shape
    if 0 in shape or w.number(0, 3) == 0:
        w.emit("flatten", (a,), (), None, view_of=a)
        return
    factors: list[int] = []
    rest = math.prod(shape)
    while rest > 1 and len(factors) < 4:
        divisors = [d for d in range(2, rest + 1) if rest % d == 0 and (d <= 40 or d == rest)]
        factors.append(w.draw(st.sampled_from(divisors)))
        rest //= factors[-1]
    if rest > 1:
        factors[-1] *= rest
    if w.chance():
        factors.insert(w.number(0, len(factors)), 1)
    w.emit("reshape", (a,), (tuple(factors),), None, view_of=a)


@offer
def rearranged(w: Writer) -> None:
    name = w.one_of("flip", "roll", "tril", "triu", "clone", "pad", "tile", "contiguous")
    a = w.pick(lambda v: bool(v.shape))
    if a is None:
        return
    v = w.values[a]
    axis = w.axis(v)
    if name == "contiguous":
        w.emit(name, (a,), (), None, view_of=a)
        return
    params: tuple[Any, ...] = {"flip": ((axis,),), "roll": (w.number(-3, 3), axis), "clone": ()}.get(name, ())
    if name in ("tril", "triu"):
        if len(v.shape) < 2:
            return
        params = (w.number(-1, 1),)
    elif name == "pad":
        low, high = (
            (w.number(0, 2), w.number(0, 2)) if w.chance() else (w.number(-1, 2) if v.shape[-1] > 1 else 0, 0)
        )
        params = ((low, high), 1 if not v.is_float else 1.5)
        if v.dtype == "bool" or -low > v.shape[-1]:
            return
    elif name == "tile":
        params = ((w.number(1, 2), *(1 for _ in v.shape[1:])),)
    w.emit(name, (a,), params, replace(v.known, mag=max(v.known.mag, 1.5), grid=min(v.known.grid, 0.5)))


@offer
def joined(w: Writer) -> None:
    a = w.pick()
    if a is None:
        return
    v = w.values[a]
    name = "cat" if v.shape and w.chance() else "stack"
    axis = w.number(0, len(v.shape) - (name == "cat"))
    if name == "cat" and w.chance():
        b = w.leaf(tuple(w.number(0, 4) if i == axis else n for i, n in enumerate(v.shape)), v.dtype)
    else:
        b = w.pick(lambda u: u.shape == v.shape and u.dtype == v.dtype)
    k, kb = v.known, w.values[b].known
    pair = (a, b) if w.chance() else (b, a)
    w.emit(
        name,
        pair,
        (axis,),
        Known(max(k.mag, kb.mag), max(k.err, kb.err), min(k.grid, kb.grid), k.special or kb.special),
    )


# Contractions


def contracted(w: Writer, op: str, a: int, b: int, params: tuple[Any, ...], depth: int) -> None:
    k, kb = w.values[a].known, w.values[b].known
    mag = k.mag * kb.mag * max(depth, 1)
    eps = 2.0 ** -MANTISSA.get(w.values[a].dtype, 53)
    exact = (
        k.exact
        and kb.exact
        and k.grid * kb.grid
        and mag / (k.grid * kb.grid) <= 2 ** MANTISSA.get(w.values[a].dtype, 63)
    )
    error = depth * (k.mag * kb.err + kb.mag * k.err) + (0 if exact else mag * eps * max(4, depth / 4))
    w.emit(op, (a, b), params, Known(mag, error, k.grid * kb.grid, k.special or kb.special))


@offer
def matmul(w: Writer) -> None:
    a = w.pick(
        lambda v: v.shape and v.dtype in ("float32", "float64", "int64", "int32", "float16", "bfloat16")
    )
    if a is None:
        return
    v = w.values[a]
    depth = v.shape[-1]
    b = None
    if w.chance():
        b = w.pick(
            lambda u: (
                u.dtype == v.dtype and (u.shape == (depth,) or (len(u.shape) == 2 and u.shape[0] == depth))
            )
        )
    if b is None:
        lead = v.shape[:-2] if len(v.shape) > 2 and w.chance() else ()
        b = w.leaf((*lead, depth, w.number(0, 20)) if w.chance() or lead else (depth,), v.dtype)
    contracted(w, "matmul", a, b, (), depth)


@offer
def einsum(w: Writer) -> None:
    a = w.pick(lambda v: 2 <= len(v.shape) <= 3 and v.is_float)
    if a is None:
        return
    v = w.values[a]
    letters = "ijk"[: len(v.shape)]
    mine = "".join(x for x in letters if w.chance()) + w.one_of("", "m")
    sizes = {**dict(zip(letters, v.shape, strict=True)), "m": 3}
    b = w.leaf(tuple(sizes[x] for x in mine), v.dtype)
    out = "".join(w.draw(st.permutations([x for x in dict.fromkeys(letters + mine) if w.chance()])))
    if math.prod(sizes[x] for x in out) <= MAX_SIZE and math.prod(sizes.values()) <= 100_000:
        depth = math.prod(sizes[x] for x in set(letters + mine) - set(out))
        contracted(w, "einsum", a, b, (f"{letters},{mine}->{out}",), depth)


@offer
def convolution(w: Writer) -> None:
    name = w.one_of("conv1d", "conv2d", "conv_transpose2d")
    rank = 1 if name == "conv1d" else 2
    kinds = ("float32", "float64")
    a = w.pick(
        lambda v: (
            len(v.shape) == rank + 2 and v.dtype in kinds and 0 not in v.shape and math.prod(v.shape) <= 800
        )
    )
    if a is None:
        a = w.leaf((w.number(1, 3), w.number(1, 4), *(w.number(1, 8) for _ in range(rank))), w.one_of(*kinds))
    v = w.values[a]
    if w.special:  # whether padding meets an infinite weight is nobody's promise
        return
    groups = w.one_of(1, 1, v.shape[1])
    channels = groups * w.number(1, 3)
    stride, padding, dilation = w.number(1, 2), w.number(0, 2), w.number(1, 2)
    size = tuple(w.number(1, 3) for _ in range(rank))
    if any(n + 2 * padding < dilation * (k - 1) + 1 for n, k in zip(v.shape[2:], size, strict=True)):
        return
    if name == "conv_transpose2d":
        if any(
            (n - 1) * stride - 2 * padding + dilation * (k - 1) + 1 < 1
            for n, k in zip(v.shape[2:], size, strict=True)
        ):
            return
        weight = w.leaf((v.shape[1], channels // groups, *size), v.dtype)
        params: tuple[Any, ...] = (stride, padding, 0, groups, dilation)
    else:
        weight = w.leaf((channels, v.shape[1] // groups, *size), v.dtype)
        params = (stride, padding, dilation, groups)
    contracted(w, name, a, weight, params, v.shape[1] * math.prod(size))


@offer
def pooling(w: Writer) -> None:
    name = w.one_of("max_pool2d", "avg_pool2d")
    a = w.pick(
        lambda v: (
            len(v.shape) == 4
            and v.dtype in ("float32", "float64")
            and 0 not in v.shape
            and min(v.shape[2:]) >= 2
            and (v.known.exact or name == "avg_pool2d")
        )
    )
    if a is None:
        return
    k = w.values[a].known
    known = replace(k) if name == "max_pool2d" else Known(k.mag, k.err + k.mag * 8 * 2.0**-24, 0, k.special)
    w.emit(name, (a,), (2, w.number(1, 2), w.number(0, 1)), known)


# Writing in place, reading, forgetting


def _written(w: Writer, a: int, *others: Known) -> None:
    """Value a and its aliases were written: what is known is what is known of the old and of the new."""
    k = w.values[a].known
    for other in others:
        k.mag, k.err = max(k.mag, other.mag), max(k.err, other.err)
        k.grid, k.special = min(k.grid, other.grid), k.special or other.special


@offer
def in_place(w: Writer) -> None:
    name = w.one_of(
        "write",
        "write_number",
        "assign",
        "assign_number",
        "assign_rows",
        "masked_write",
        "copy",
        "zero_",
        "accumulate_rows",
    )
    a = w.pick(lambda v: not v.shared and v.dtype != "bool")
    if a is None:
        return
    v = w.values[a]
    whole = not v.is_float
    number = w.number(-2, 2) if whole and v.dtype != "uint8" else 2 if whole else w.one_of(0.5, -1.0, 2.0)
    constant = Known(2, 0, 1 if whole else 0.5)
    if name in ("write", "write_number"):
        kind = w.one_of("iadd", "imul", "isub")
        if name == "write":
            b = w.pick(lambda u: u.dtype == v.dtype and u.shape == v.shape[len(v.shape) - len(u.shape) :])
            if b is None:
                return
            inputs, params, right = (a, b), (kind,), w.values[b].known
        else:
            inputs, params, right = (a,), (kind, number), constant
        made = w.bounded(v.dtype, _combined(kind, v.known, right))
        if made is not None:
            w.emit(name, inputs, params)
            _written(w, a, made)
    elif name == "copy":
        b = w.pick(lambda u: u.dtype == v.dtype and u.shape == v.shape[len(v.shape) - len(u.shape) :])
        if b is not None:
            w.emit("copy", (a, b), ())
            _written(w, a, w.values[b].known)
    elif name == "zero_":
        w.emit("zero_", (a,), ())
    elif name == "masked_write":
        mask = w.partner(a, "bool")
        if _fits(w.values[mask].shape, v.shape):
            w.emit(name, (a, mask), (number,))
            _written(w, a, constant)
    elif name in ("assign_rows", "accumulate_rows"):
        if not v.shape or not v.shape[0]:
            return
        i = w.leaf((w.number(0, 5),), "int64")
        if name == "assign_rows":
            w.emit(name, (a, i), (number,))
            _written(w, a, constant)
            return
        source = w.leaf((w.values[i].shape[0], *v.shape[1:]), v.dtype)
        made = w.bounded(
            v.dtype,
            Known(
                v.known.mag + 5 * w.values[source].known.mag,
                v.known.err,
                min(v.known.grid, 0.5),
                v.known.special or w.values[source].known.special,
            ),
        )
        if made is not None:
            w.emit(name, (a, i, source), ())
            _written(w, a, made)
    else:
        spec = random_key(w, v)
        if name == "assign_number":
            w.emit(name, (a,), (spec, number))
            _written(w, a, constant)
            return
        b = w.leaf((), v.dtype) if w.chance() else w.pick(lambda u: u.dtype == v.dtype)
        target = tuple(v.tensor[key_of(spec, ())].shape)
        if _fits(w.values[b].shape, target):
            w.emit(name, (a, b), (spec,))
            _written(w, a, w.values[b].known)


def _combined(kind: str, a: Known, b: Known) -> Known:
    return combined({"iadd": "add", "isub": "sub", "imul": "mul"}[kind], a, b)


def _fits(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    return len(shape) <= len(target) and all(
        m in (1, n) for m, n in zip(shape[::-1], target[::-1], strict=False)
    )


@offer
def read(w: Writer) -> None:
    a = w.pick()
    if a is not None:
        w.steps.append(Step("read", (a,), (w.values[a].known.err,)))


@offer
def drop(w: Writer) -> None:
    a = w.pick()
    if a is not None and len(w.values) > 2 and a not in leaves_of(w):
        w.steps.append(Step("drop", (a,)))
        w.values[a] = None


def leaves_of(w: Writer) -> list[int]:
    return [
        i for i, v in enumerate(w.values) if v is not None and v.tensor.requires_grad and v.tensor.is_leaf
    ]


@st.composite
def programs(draw: Any, most: int = 14) -> Program:
    """Random programs: float and integer ones, some with special values, some with gradients."""
    assert random_steps.scattered.__name__ in OFFERS
    kind = draw(st.sampled_from(["plain", "plain", "grad", "special"]))
    w = Writer(draw, kind == "grad", kind == "special")
    w.leaf()
    for _ in range(draw(st.integers(1, most))):
        OFFERS[draw(st.sampled_from(list(OFFERS)))](w)
    alive = [i for i, v in enumerate(w.values) if v is not None]
    keep = draw(
        st.permutations(draw(st.lists(st.sampled_from(alive[::-1]), min_size=1, max_size=6, unique=True)))
    )
    coarsest = max((2.0 ** -MANTISSA[d] for d in w.dtypes if d in MANTISSA), default=0.0)
    error = min(coarsest * 2e4, 0.1)  # of a gradient: its kind of rounding, many times over
    return Program(
        tuple(w.steps),
        tuple((i, w.values[i].known.err) for i in keep),
        tuple((i, error) for i in leaves_of(w)),
    )
