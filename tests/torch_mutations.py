"""Wrong calls, made of right ones: each changes one thing about a sample of PyTorch's table of operations."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Iterator
from pathlib import Path
from re import fullmatch
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from torch_calls import Calls, exactly, has_same_values
from torch_samples import (
    OPS,
    Absent,
    Counterparts,
    attempt,
    copied,
    first_dtype,
    last_word,
    leaves,
    samples,
    title,
    torch,
)

import lazygrad
from lazygrad.errors import ArgumentTypeError, DTypeError, LazygradError, ShapeError, UnsupportedError

# what a program may catch by its type: for others of PyTorch's errors (an AttributeError from inside) any of
# these will do
CAUGHT = (TypeError, ValueError, IndexError, RuntimeError)
NO_KERNEL = DTypeError.__bases__[1]  # what PyTorch raises where it has none
# lazygrad's error, PyTorch's, and why they may differ
DIFFERENT = (
    (ArgumentTypeError, CAUGHT, "a wrong kind of argument is a TypeError, however late PyTorch finds it"),
    (ShapeError, IndexError, "a wrong shape is named, where PyTorch's code runs past its end"),
    (LazygradError, NO_KERNEL, "PyTorch has no kernel for a type, and asks nothing before"),
)
# kinds of arguments that lazygrad refuses and PyTorch does not look at, or takes for their truth
WRONG_KINDS = ("a text", "None", "a float", "a bool", "2", "a number", "a list", "no list", "one more")

# PyTorch itself runs past the end of memory, or is called by its insides
NOT_CALLED = ("nn.functional.embedding_bag", "lu_unpack", "max_pool2d_with_indices_backward")
CALLED = [op for op in OPS if op.name not in NOT_CALLED and first_dtype(op) is not None]


class OnPurpose(NamedTuple):
    """What stays different: how, in which calls (patterns of whole names of operations, or titles of objects'
    calls, and of what describes the mutant), and why."""

    how: str
    names: str
    words: str
    reason: str


REFUSES, ACCEPTS, OTHER_ERROR, OTHER_VALUE = "refused here", "accepted here", "other error", "other value"
SHAPES = ".*(axis|axes|flat|empty|longer).*"
ON_PURPOSE = (
    OnPurpose(
        ACCEPTS,
        "broadcast_shapes|split|masked.*|nn.functional.adaptive_.*",
        ".*NumPy's",
        "NumPy's are numbers, which PyTorch's Python code forgets",
    ),
    OnPurpose(
        REFUSES,
        "native_batch_norm",
        f"[1-4]: {SHAPES}|0: two axes more|7: below zero",
        "PyTorch reads past the ends of memory: its batch_norm checks before",
    ),
    OnPurpose(REFUSES, "native_group_norm", f"0: {SHAPES}", "PyTorch reads by the sizes that stand beside"),
    OnPurpose(
        REFUSES, "nn.functional.linear_cross_entropy.*", "(0|1|2|weight): .*", "PyTorch's pieces ask nothing"
    ),
    OnPurpose(
        OTHER_ERROR,
        "nn.functional.linear_cross_entropy.*",
        "0: (int64|bool)",
        "PyTorch names an option of its pieces",
    ),
    OnPurpose(
        REFUSES,
        "nn.functional.conv(3d|_transpose[12]d)",
        "2: (float64|int64|bool)",
        "a bias of another type, which PyTorch takes in some of its ways to convolve",
    ),
    OnPurpose(
        REFUSES,
        "linalg.solve_triangular",
        ".*: (float64|int64|bool)",
        "PyTorch reads one type's memory as another's",
    ),
    OnPurpose(REFUSES, "grid_sampler_[23]d", "[23]: far .*", "no mode: PyTorch returns memory as it is"),
    OnPurpose(
        REFUSES, "nn.functional.fractional_max_pool[23]d", "1: far below.*", "a kernel of negative size"
    ),
    OnPurpose(
        REFUSES,
        "nn.functional.(max_unpool|fractional_max_pool).*",
        ".*: .*twice",
        "more sizes than dimensions, which PyTorch passes over",
    ),
    OnPurpose(
        ACCEPTS,
        "nn.functional.fractional_max_pool.*",
        "output_ratio: a float",
        "one for all: PyTorch asks a number for its length",
    ),
    OnPurpose(
        REFUSES,
        "nn.functional.scaled_dot_product_attention",
        "2: empty",
        "PyTorch reads past the end of the values",
    ),
    OnPurpose(
        ".*",
        "nn.functional.scaled_dot_product_attention",
        "attn_mask: (no axis|one axis less)|dropout_p: below zero",
        "PyTorch's ways to compute it ask different things",
    ),
    OnPurpose(REFUSES, "diff", "2: far .*", "PyTorch asks nothing of dim where n is 0"),
    OnPurpose(
        REFUSES, "new_empty_strided", "2: far below.*", "negative strides, where there are no elements"
    ),
    OnPurpose(REFUSES, "linalg.lu_factor", "0: .* longer", "whether a last pivot is exactly 0 is rounding"),
    OnPurpose(OTHER_VALUE, "lu", "0: .* longer", "whether a last pivot is exactly 0 is rounding"),
    OnPurpose(REFUSES, "signal.windows.general_cosine", "a: empty", "PyTorch asks where there are elements"),
    OnPurpose(
        ACCEPTS, "(std|var)(_mean)?", "dim: a bool", "a flag in the place of dim is `unbiased`, also by name"
    ),
    OnPurpose(ACCEPTS, "linalg.(matrix_rank|pinv)", "one more", "None by names of another form of it"),
    OnPurpose(OTHER_ERROR, "narrow_copy", "0: flat|1: far above", "PyTorch's assertion about its insides"),
    OnPurpose(OTHER_ERROR, "tensordot", "0: flat", "of two faults PyTorch names the size"),
    OnPurpose(OTHER_ERROR, "arange", "1: None", "None is no bound; the other lies the wrong way"),
    OnPurpose(OTHER_VALUE, "addmv", "1: empty", "PyTorch returns before it broadcasts"),
    OnPurpose(OTHER_VALUE, ".*polygamma.*", "1: far above", "PyTorch's infinity times 0 is NaN"),
    OnPurpose(OTHER_VALUE, "linalg.lstsq.*", "0: one axis more", "PyTorch takes rows of B for a batch"),
    OnPurpose(OTHER_VALUE, "nn.functional.ctc_loss", "one more", "targets that hold the blank"),
    OnPurpose(OTHER_VALUE, "svd_lowrank", "q: far above", "signs of singular vectors"),
)


def is_meant(row: OnPurpose, op: Any, words: str) -> bool:
    return bool(fullmatch(row.names, title(op)) and fullmatch(row.words, words))


def is_on_purpose(op: Any, words: str, how: str) -> bool:
    return any(fullmatch(row.how, how) and is_meant(row, op, words) for row in ON_PURPOSE)


Call = tuple[list[Any], dict[str, Any]]  # arguments by place, and by name


def mutants(call: Call) -> Iterator[tuple[str, Call]]:
    """Calls that differ from a right one in one thing, and what it is."""
    args, named = call
    for k in range(len(args)):
        yield f"without the last {k + 1}", (args[: len(args) - k - 1], named)
    for key in named:
        yield f"without {key}", (args, {k: v for k, v in named.items() if k != key})
    yield "an unknown keyword", (args, named | {"unknown": 1})
    yield "one more", ([*args, 1], named)
    yield "twenty more", ([*args, *[None] * 20], named)
    for key in (*range(len(args)), *named):
        value = args[key] if isinstance(key, int) else named[key]
        for words, other in others(value):
            yield f"{key}: {words}", replaced(call, key, other)


def is_about_kinds(words: str) -> bool:
    """Whether a mutant has another number of arguments, or one of another kind."""
    return words.partition(": ")[2].startswith(WRONG_KINDS) or ": " not in words


def replaced(call: Call, key: Any, value: Any) -> Call:
    args, named = call
    if isinstance(key, int):
        return [*args[:key], value, *args[key + 1 :]], named
    return args, named | {key: value}


def others(value: Any) -> Iterator[tuple[str, Any]]:
    """Other values in the place of one, most of them wrong."""
    if isinstance(value, torch.Tensor):
        yield from other_tensors(value)
    elif isinstance(value, bool):
        yield from (("a text", "text"), ("2", 2), ("None", None), ("a float", 0.5))
    elif isinstance(value, int):
        yield from (("a text", "text"), ("None", None), ("a float", value + 0.5), ("a bool", True))
        yield from (("far above", value + 100), ("far below", value - 100), ("twice", (value, value)))
        yield "NumPy's", np.int64(value)
    elif isinstance(value, float):
        yield from (("a text", "text"), ("None", None), ("a list", [value]), ("below zero", -abs(value) - 1))
        yield "above one", abs(value) + 1.5
    elif isinstance(value, str):
        yield from (("no such word", "no_such_word"), ("None", None), ("a number", 3))
    elif isinstance(value, list | tuple):
        yield from other_lists(value)
    elif isinstance(value, torch.dtype):
        yield from (("a text", "float32"), ("a number", 3))
    elif value is None:
        yield "a text", "text"


def other_tensors(x: Any) -> Iterator[tuple[str, Any]]:
    yield from (("a text", "text"), ("None", None), ("a number", 2.5), ("a list", [x]), ("no list", []))
    yield "one axis more", x.detach().unsqueeze(0)
    yield "two axes more", x.detach()[None, None]
    if x.ndim:
        yield "one axis less", x.detach().select(0, 0) if x.shape[0] else x.detach().reshape(-1)[:0]
        yield "flat", x.detach().reshape(-1)
        yield "no axis", torch.ones((), dtype=x.dtype)
        for axis in {0, x.ndim - 1}:
            yield (
                f"axis {axis} longer",
                torch.cat([x.detach(), x.detach().narrow(axis, 0, 1)], axis)
                if (x.shape[axis])
                else x.detach(),
            )
        yield "empty", x.detach()[:0]
    for other in (torch.float32, torch.float64, torch.int64, torch.bool):
        if x.dtype is not other:
            yield str(other).removeprefix("torch."), x.detach().to(other)


def other_lists(value: Any) -> Iterator[tuple[str, Any]]:
    kind = list if isinstance(value, list) else tuple
    yield from (("a text", "text"), ("None", None), ("a float", 0.5), ("empty", kind()))
    for place in {0, len(value) - 1} if value else ():
        rest = list(value)
        for words, other in others(value[place]):
            if "axis" in words or "text" in words or "far" in words or "None" in words or "float" in words:
                yield f"{words} at {place}", kind([*rest[:place], other, *rest[place + 1 :]])
    if value:
        yield "one less", kind(value[:-1])
        yield "the last twice", kind([*value, value[-1]])


def compared(op: Any, words: str, call: Call, process: Any, device: str = "NUMPY") -> str:
    """How lazygrad's answer to a call, which `words` describe, differs from PyTorch's, in words, unless on
    purpose. `process` makes of results what is compared."""
    how, what = difference(op, words, call, process, device)
    return "" if what and is_on_purpose(op, words, how) else what


def difference(op: Any, words: str, call: Call, process: Any, device: str = "NUMPY") -> tuple[str, str]:
    """How, and in words: another type of error, an unclear one, none, or another value. None stands for an
    argument that was left out, and what PyTorch has no kernel for may be computed."""
    form, inputs = op.op, copied([list(call[0]), call[1]])
    one = Counterparts(device)
    ours = one.of(inputs)
    torch.manual_seed(1)
    want, refused = attempt(form, *inputs[0], **inputs[1])
    lazygrad.manual_seed(1)

    def run() -> Any:
        made = one.function(form)(*ours[0], **ours[1])
        lazygrad.realize(*(r for r in leaves(made) if isinstance(r, lazygrad.Tensor)))
        return made

    got, problem = attempt(run)
    if isinstance(problem, UnsupportedError | Absent):
        return "", ""
    if refused is None and problem is None:
        return OTHER_VALUE, unlike(op, call, process, one, (want, got))
    if refused is None:
        about_kinds = isinstance(problem, ArgumentTypeError) and is_about_kinds(words)
        return REFUSES, "" if about_kinds else f"{said(problem)} where PyTorch accepts it"
    builtin = next(k for k in type(refused).__mro__ if k.__module__ == "builtins")
    if problem is None:
        left_out = builtin is TypeError and words.startswith("without") or words.endswith(": None")
        fine = left_out or builtin is NO_KERNEL
        return ACCEPTS, "" if fine else f"nothing raised for {said(refused)}"
    wanted: Any = builtin if issubclass(builtin, CAUGHT) else (builtin, *CAUGHT)
    if any(isinstance(problem, ours) and issubclass(builtin, theirs) for ours, theirs, _ in DIFFERENT):
        return "", ""
    if not isinstance(problem, wanted):
        return OTHER_ERROR, f"{said(problem)} for {said(refused)}"
    if not from_inside(problem):  # Python's own, about a call of a function
        return "", ""
    clear = isinstance(problem, LazygradError) and str(problem).startswith("[")
    return OTHER_ERROR, "" if clear else f"unclear: {said(problem)} for {said(refused)}"


def unlike(op: Any, call: Call, process: Any, one: Counterparts, results: tuple[Any, Any]) -> str:
    """How the results of a call, PyTorch's and lazygrad's, differ in words."""
    if not call[0]:
        return ""
    start, *args = call[0]
    sample = SimpleNamespace(input=start, args=args, kwargs=call[1], output_process_fn_grad=process)
    inputs = start, args, call[1]
    tensors = [t for t in leaves([inputs, results[0]]) if isinstance(t, torch.Tensor)]
    calls = Calls(one.device, all(has_same_values(op, t.dtype) for t in tensors))
    exact = functools.cache(lambda: exactly(op.op, sample, False))
    calls.add(op, "values", sample, (inputs, one.of(inputs)), results, one, exact)
    calls.pairs = [(label, *narrowed(tensors, g, w), *rest) for label, g, w, *rest in calls.pairs]
    calls.find_problems()
    return "; ".join(calls.problems)


def narrowed(inputs: list[Any], got: Any, want: Any) -> tuple[Any, Any]:
    """Two results, of the narrowest float type among the inputs where both are of one wider one: of what was
    computed in float32 on the way to float64 not all digits are one's own."""
    floats = [t.dtype for t in inputs if t.is_floating_point()]
    if not (isinstance(want, torch.Tensor) and want.is_floating_point() and isinstance(got, lazygrad.Tensor)):
        return got, want
    least = min(floats, key=lambda d: torch.finfo(d).bits, default=want.dtype)
    same = last_word(got.dtype) == last_word(want.dtype)
    return (got.to(getattr(lazygrad, last_word(least))), want.to(least)) if same else (got, want)


def from_inside(problem: Exception) -> bool:
    """Whether an error was raised in lazygrad's own code."""
    if "got multiple values" in str(problem):
        return False
    place = traceback.extract_tb(problem.__traceback__)[-1].filename
    return place.startswith(str(Path(lazygrad.__file__).parent))


def said(problem: Exception) -> str:
    return f"{type(problem).__name__}: {str(problem)[:200]!r}"


def different_samples(op: Any) -> Iterator[Any]:
    """Up to three samples without empty tensors, with arguments of different kinds."""
    seen: set[Any] = set()
    for dtype in {first_dtype(op): 0, torch.int64: 0} if torch.int64 in op.dtypes else [first_dtype(op)]:
        for sample in samples(op, dtype, False):
            values = [sample.input, *sample.args]
            key = tuple(map(_kind, values)), tuple((k, _kind(v)) for k, v in sample.kwargs.items())
            empty = any(isinstance(t, torch.Tensor) and not t.numel() for t in leaves(values))
            if not empty and key not in seen and len(seen) < 3:
                seen.add(key)
                yield sample


def _kind(value: Any) -> Any:
    return type(value).__name__, isinstance(value, torch.Tensor) and value.ndim > 0
