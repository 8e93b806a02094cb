"""Small tensor programs as lists of instructions, and the machine that runs them with any library of
PyTorch's names.

A program is data, so that a failing one prints as a few readable lines and shrinks well. `run`
interprets it with lazygrad on some device or with PyTorch; equal programs must give equal arrays, up to
the error that each instruction was allowed when the program was made (see random_steps.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import lazygrad
from lazygrad import config

Array = np.ndarray


@dataclass(frozen=True)
class Step:
    """One instruction: the operation, the numbers of the values that it takes, and what else it needs."""

    op: str
    inputs: tuple[int, ...] = ()
    params: tuple[Any, ...] = ()

    def __repr__(self) -> str:
        return f"Step({self.op!r}, {self.inputs}, {self.params})"


@dataclass(frozen=True)
class Program:
    """Steps in order; `keep`: the values that are read at the end, each with its error bound; `leaves`: the
    values whose gradients are compared, each with the error that a gradient near 1 may have."""

    steps: tuple[Step, ...]
    keep: tuple[tuple[int, float], ...]
    leaves: tuple[tuple[int, float], ...] = ()

    def __repr__(self) -> str:
        lines = "".join(f"    {step!r},\n" for step in self.steps)
        return f"Program((\n{lines}), keep={self.keep}, leaves={self.leaves})"


# Values of leaves


def leaf_values(shape: tuple[int, ...], dtype: str, kind: str, seed: int) -> Array:
    """Values that computations on them keep exact for long: halves for floats, small integers."""
    rng = np.random.default_rng(seed)
    if dtype == "bool":
        return rng.random(shape) < 0.5
    if dtype.startswith(("int", "uint")):
        low = 0 if dtype.startswith("u") else -5
        if kind == "wide":
            limits = np.iinfo(dtype)
            return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
        return rng.integers(low, 6, shape).astype(dtype)
    values = rng.integers(-8, 9, shape) / 2
    if kind == "special":
        odd = rng.choice(np.array([np.nan, np.inf, -np.inf, -0.0]), shape)
        values = np.where(rng.random(shape) < 0.25, odd, values)
    return np.asarray(values, np.float32 if dtype in ("bfloat16", "float16", "float32") else np.float64)


def make_leaf(lib: Any, shape: tuple[int, ...], dtype: str, kind: str, seed: int, grad: bool) -> Any:
    made = lib.tensor(leaf_values(shape, dtype, kind, seed), dtype=getattr(lib, dtype))
    return made.requires_grad_() if grad else made


# Operations that are not a method or function of one name

INFIX: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "iadd": lambda a, b: a.add_(b),
    "imul": lambda a, b: a.mul_(b),
    "isub": lambda a, b: a.sub_(b),
}


def key_of(spec: tuple[Any, ...], tensors: Sequence[Any]) -> Any:
    """An index from its description: numbers, (begin, end, step), "None", "...", or "t", the next tensor."""
    rest = iter(tensors)
    items: list[Any] = []
    for s in spec:
        if isinstance(s, tuple):
            items.append(slice(*s))
        elif s == "t":
            items.append(next(rest))
        else:
            items.append({"None": None, "...": Ellipsis}.get(s, s))
    return tuple(items)


def in_range(index: Any, size: int) -> Any:
    """Integers made indices of an axis."""
    return index.long() % size


def assign(lib: Any, x: Any, spec: tuple[Any, ...], value: Any, *index: Any) -> None:
    x[key_of(spec, index)] = value


def layer_norm(lib: Any, x: Any) -> Any:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1).sqrt()


def attention(lib: Any, x: Any) -> Any:
    return lib.softmax(x @ x.transpose(-1, -2) * 0.125, -1) @ x


SPECIAL: dict[str, Callable[..., Any]] = {
    "leaf": make_leaf,
    "arange": lambda lib, n, dtype: lib.arange(n, dtype=getattr(lib, dtype)),
    "full": lambda lib, shape, value, dtype: lib.full(shape, value, dtype=getattr(lib, dtype)),
    "infix": lambda lib, a, b, name: INFIX[name](a, b),
    "scalar_infix": lambda lib, a, name, number: INFIX[name](a, number),
    "number_first": lambda lib, a, name, number: INFIX[name](number, a),
    "safe_div": lambda lib, a, b: a / lib.where(b == 0, lib.ones_like(b), b),
    "safe_floordiv": lambda lib, a, b: a // lib.where(b == 0, lib.ones_like(b), b),
    "safe_remainder": lambda lib, a, b: a % lib.where(b == 0, lib.ones_like(b), b),
    "safe_fmod": lambda lib, a, b: lib.fmod(a, lib.where(b == 0, lib.ones_like(b), b)),
    "sqrt1": lambda lib, x: (x.abs() + 1).sqrt(),
    "log1": lambda lib, x: (x.abs() + 1).log(),
    "rsqrt1": lambda lib, x: (x.square() + 1).rsqrt(),
    "reciprocal1": lambda lib, x: 1 / (x.square() + 1),
    "gelu": lambda lib, x: lib.nn.functional.gelu(x),
    "silu": lambda lib, x: lib.nn.functional.silu(x),
    "cast": lambda lib, x, dtype: x.to(getattr(lib, dtype)),
    "reduce": lambda lib, x, name, axes, keep: getattr(x, name)(axes, keepdim=keep),
    "reduce_all": lambda lib, x, name: getattr(x, name)(),
    "extreme": lambda lib, x, name, axis, keep: tuple(getattr(x, name)(axis, keepdim=keep)),
    "scan": lambda lib, x, name, axis: getattr(lib, name)(x, axis),
    "extreme_scan": lambda lib, x, name, axis: getattr(lib, name)(x, axis)[0],
    "softmax": lambda lib, x, name, axis: getattr(lib, name)(x, axis),
    "layer_norm": layer_norm,
    "attention": attention,
    "sort": lambda lib, x, axis, down: tuple(lib.sort(x, dim=axis, descending=down, stable=True)),
    "argsort": lambda lib, x, axis, down: lib.argsort(x, dim=axis, descending=down, stable=True),
    "topk": lambda lib, x, k, axis, largest: lib.topk(x, k, axis, largest)[0],
    "index_select": lambda lib, x, i, axis: lib.index_select(x, axis, in_range(i, x.shape[axis])),
    "gather": lambda lib, x, i, axis: lib.gather(x, axis, in_range(i, x.shape[axis])),
    "advanced": lambda lib, x, i, axis: x[(slice(None),) * axis + (in_range(i, x.shape[axis]),)],
    "advanced_pair": lambda lib, x, i: x[in_range(i, x.shape[0]), ..., in_range(i, x.shape[-1])],
    "scatter_add": lambda lib, x, i, v, axis: x.scatter_add(axis, in_range(i, x.shape[axis]), v),
    "index_add": lambda lib, x, i, v, axis: x.index_add(axis, in_range(i, x.shape[axis]), v),
    "embedding": lambda lib, x, i: lib.nn.functional.embedding(in_range(i, x.shape[0]), x),
    "unfold": lambda lib, x, *how: x.unfold(*how),
    "item": lambda lib, x, spec: x[key_of(spec, ())],
    "cat": lambda lib, *rest: lib.cat(list(rest[:-1]), rest[-1]),
    "stack": lambda lib, *rest: lib.stack(list(rest[:-1]), rest[-1]),
    "pad": lambda lib, x, pads, value: lib.nn.functional.pad(x, list(pads), value=value),
    "einsum": lambda lib, a, b, text: lib.einsum(text, a, b),
    "conv1d": lambda lib, x, w, *how: lib.nn.functional.conv1d(x, w, None, *how),
    "conv2d": lambda lib, x, w, *how: lib.nn.functional.conv2d(x, w, None, *how),
    "conv_transpose2d": lambda lib, x, w, *how: lib.nn.functional.conv_transpose2d(x, w, None, *how),
    "max_pool2d": lambda lib, x, *how: lib.nn.functional.max_pool2d(x, *how),
    "avg_pool2d": lambda lib, x, *how: lib.nn.functional.avg_pool2d(x, *how),
    "write": lambda lib, x, b, name: INFIX[name](x, b),
    "write_number": lambda lib, x, name, number: INFIX[name](x, number),
    "assign": lambda lib, x, value, spec: assign(lib, x, spec, value),
    "assign_number": lambda lib, x, spec, number: assign(lib, x, spec, number),
    "assign_rows": lambda lib, x, i, number: assign(lib, x, ("t",), number, in_range(i, x.shape[0])),
    "masked_write": lambda lib, x, mask, number: x.masked_fill_(mask, number),
    "copy": lambda lib, x, value: x.copy_(value),
    "accumulate_rows": lambda lib, x, i, v: x.index_add_(0, in_range(i, x.shape[0]), v),
}
_SILENT = frozenset(
    (
        "write",
        "write_number",
        "assign",
        "assign_number",
        "assign_rows",
        "masked_write",
        "copy",
        "accumulate_rows",
        "zero_",
    )
)


def apply(lib: Any, step: Step, inputs: Sequence[Any]) -> tuple[Any, ...]:
    """The results of one step that computes."""
    if step.op in SPECIAL:
        result = SPECIAL[step.op](lib, *inputs, *step.params)
    elif hasattr(lib, step.op):
        result = getattr(lib, step.op)(*inputs, *step.params)
    else:
        result = getattr(inputs[0], step.op)(*inputs[1:], *step.params)
    if step.op in _SILENT:
        return ()
    return result if isinstance(result, tuple) else (result,)


def array_of(x: Any) -> Array:
    """The values of a tensor of either library."""
    x = x.detach()
    if str(x.dtype).endswith("bfloat16"):
        x = x.to(x.float().dtype)
    return np.array(x.numpy())


def run(program: Program, lib: Any) -> list[tuple[str, Array, float]]:
    """What the program reads, in order: a name for each, its values, and the error that it may have."""
    values: list[Any] = []
    seen: list[tuple[str, Array, float]] = []
    for step in program.steps:
        if step.op == "read":
            seen.append((f"value {step.inputs[0]} read", array_of(values[step.inputs[0]]), step.params[0]))
        elif step.op == "drop":
            values[step.inputs[0]] = None
        else:
            values.extend(apply(lib, step, [values[i] for i in step.inputs]))
    kept = [(number, values[number], error) for number, error in program.keep]
    leaves = [(number, values[number], error) for number, error in program.leaves]
    values.clear()
    terms = [x.double().sum() * (1 + 0.25 * i) for i, (_, x, _) in enumerate(kept) if x.requires_grad]
    if terms and leaves:
        sum(terms).backward()
        del terms
        for number, leaf, error in leaves:
            if leaf.grad is not None:
                seen.append((f"gradient {number}", array_of(leaf.grad), error))
    while kept:
        number, value, error = kept.pop(0)
        seen.append((f"value {number}", array_of(value), error))
        del value
    return seen


def assert_equal(
    got: Sequence[tuple[str, Array, float]], want: Sequence[tuple[str, Array, float]], who: str
) -> None:
    """Assert equal arrays: within their errors, NaN where NaN is; gradients relative to their greatest."""
    theirs = {name: (array, i) for i, (name, array, _) in enumerate(want)}
    for name, array, error in got:
        if name.startswith("gradient") and name not in theirs:
            assert not array.any(), f"{who}: {name} should be missing"
            continue
        other, _ = theirs[name]
        assert array.dtype == other.dtype, f"{who}: {name} is {array.dtype}, should be {other.dtype}"
        assert array.shape == other.shape, f"{who}: {name} is {array.shape}, should be {other.shape}"
        if name.startswith("gradient"):
            finite = np.abs(other[np.isfinite(other)])
            error *= max(1.0, float(finite.max(initial=0)))
        if array.dtype.kind != "f":
            wrong = array != other
        else:
            a, b = array.astype(np.float64), other.astype(np.float64)
            with np.errstate(all="ignore"):
                near = np.abs(a - b) <= error
            wrong = ~(near | (a == b) | (np.isnan(a) & np.isnan(b)))
        if wrong.any():
            at = tuple(int(i) for i in np.argwhere(wrong)[0])
            raise AssertionError(
                f"{who}: {name} {array.dtype}{list(array.shape)} differs at {int(wrong.sum())} places, "
                f"first at {at}: {array[at]!r}, should be {other[at]!r} within {error:.3g}"
            )


# Running one program in every way

MODES: dict[str, dict[str, Any]] = {
    "NUMPY": {"DEVICE": "NUMPY"},
    "CPU": {"DEVICE": "CPU"},
    "CPU NOOPT": {"DEVICE": "CPU", "NOOPT": True},
    "CL": {"DEVICE": "CL"},
    "CL NOOPT": {"DEVICE": "CL", "NOOPT": True},
}
# what PyTorch refuses, or leaves out, and lazygrad need not
_REFUSALS = ("modified by an inplace operation", "not implemented for", "single memory location")


def run_mode(program: Program, mode: str) -> list[tuple[str, Array, float]]:
    with config.override(**MODES[mode]), np.errstate(all="ignore"):
        return run(program, lazygrad)


def reseeded(program: Program) -> Program:
    """The same program on other data."""
    steps = (
        replace(s, params=(*s.params[:3], s.params[3] + 100, s.params[4])) if s.op == "leaf" else s
        for s in program.steps
    )
    return replace(program, steps=tuple(steps))


def check_modes(program: Program, *modes: str) -> None:
    """Assert that the modes give what the reference gives; then once more with other data, by the plans that
    are there already."""
    for data in (program, reseeded(program)):
        want = run_mode(data, "NUMPY")
        for mode in modes:
            assert_equal(run_mode(data, mode), want, f"{mode} against NUMPY")


def check_pytorch(program: Program, torch: Any) -> bool:
    """Assert that the reference gives what PyTorch gives; False where PyTorch refuses the program."""
    try:
        theirs = run(program, torch)
    except RuntimeError as refusal:
        if any(words in str(refusal) for words in _REFUSALS):
            return False
        raise
    assert_equal(run_mode(program, "NUMPY"), theirs, "NUMPY against PyTorch")
    return True
