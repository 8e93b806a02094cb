"""Wrong calls, made of right ones: each changes one thing about a sample of PyTorch's table of operations."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch_samples import (
    OPS,
    Absent,
    Counterparts,
    attempt,
    copied,
    first_dtype,
    leaves,
    samples,
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
CALLED = [op for op in OPS if op.name not in NOT_CALLED]
# operations that check some sizes, types or values of arguments otherwise than PyTorch: they accept more, or
# raise the other kind of error; what is missing, too much or unknown they refuse alike
OTHERWISE = frozenset(
    """
    H addr arange as_strided as_strided_copy as_strided_scatter bincount block_diag broadcast_shapes
    broadcast_tensors cartesian_prod cdist cholesky clamp clamp_max clamp_min cov cross cumulative_trapezoid
    diff dsplit einsum empty_permuted fft.fftshift fft.ifftshift flip grid_sampler_2d grid_sampler_3d
    histogram histogramdd hsplit index_add index_copy index_put index_reduce linalg.lstsq linalg.lu_factor
    linalg.lu_solve linalg.matrix_norm linalg.matrix_rank linalg.norm linalg.pinv linalg.solve_triangular
    linalg.vander linalg.vecdot linalg.vector_norm linspace logspace lu_solve mH mT masked.cumprod
    masked.cumsum masked.log_softmax masked.median masked.normalize masked.softmax masked.softmin meshgrid
    mvlgamma narrow_copy native_batch_norm native_group_norm new_empty_strided
    nn.functional.adaptive_avg_pool1d nn.functional.adaptive_avg_pool2d nn.functional.adaptive_avg_pool3d
    nn.functional.adaptive_max_pool2d nn.functional.bilinear nn.functional.conv1d nn.functional.conv3d
    nn.functional.conv_transpose1d nn.functional.conv_transpose2d nn.functional.cosine_embedding_loss
    nn.functional.cosine_similarity nn.functional.ctc_loss nn.functional.dropout2d nn.functional.dropout3d
    nn.functional.fractional_max_pool2d nn.functional.fractional_max_pool3d nn.functional.gaussian_nll_loss
    nn.functional.hinge_embedding_loss nn.functional.instance_norm nn.functional.interpolate
    nn.functional.linear nn.functional.linear_cross_entropy nn.functional.max_unpool1d
    nn.functional.max_unpool2d nn.functional.max_unpool3d nn.functional.multi_head_attention_forward
    nn.functional.multi_margin_loss nn.functional.multilabel_margin_loss
    nn.functional.multilabel_soft_margin_loss nn.functional.pad nn.functional.poisson_nll_loss
    nn.functional.scaled_dot_product_attention nn.functional.soft_margin_loss
    nn.functional.triplet_margin_loss nn.functional.triplet_margin_with_distance_loss nn.functional.unfold
    nn.functional.upsample_bilinear nn.functional.upsample_nearest normal ormqr randint randint_like
    repeat_interleave resize_ roll scatter scatter_add searchsorted select signal.windows.general_cosine
    slice_scatter squeeze_copy sum_to_size tensor_split to trapezoid tril_indices triu_indices unique
    unravel_index var_mean vsplit
    """.split()
)

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
            yield f"axis {axis} longer", torch.cat([x.detach(), x.detach().narrow(axis, 0, 1)], axis) if (
                x.shape[axis]
            ) else x.detach()
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


def compared(op: Any, words: str, call: Call, device: str = "NUMPY") -> str:
    """How lazygrad's answer to a call, which `words` describe, differs from PyTorch's, in words: another type
    of error, an unclear one, or none. None stands for an argument that was left out, and what PyTorch has no
    kernel for may be computed."""
    if op.name in OTHERWISE and (": " in words or words == "one more"):
        return ""
    form, args, named = op.op, *copied([list(call[0]), call[1]])
    one = Counterparts(device)
    ours = one.of([args, named])
    torch.manual_seed(1)
    _, refused = attempt(form, *args, **named)
    lazygrad.manual_seed(1)

    def run() -> Any:
        made = one.function(form)(*ours[0], **ours[1])
        lazygrad.realize(*(r for r in leaves(made) if isinstance(r, lazygrad.Tensor)))
        return made

    _, problem = attempt(run)
    if isinstance(problem, UnsupportedError | Absent):
        return ""
    if refused is None:
        if isinstance(problem, ArgumentTypeError) and is_about_kinds(words):
            return ""
        return "" if problem is None else f"{said(problem)} where PyTorch accepts it"
    builtin = next(k for k in type(refused).__mro__ if k.__module__ == "builtins")
    wanted: Any = builtin if issubclass(builtin, CAUGHT) else (builtin, *CAUGHT)
    if problem is None:
        left_out = builtin is TypeError and words.startswith("without") or words.endswith(": None")
        return "" if left_out or builtin is NO_KERNEL else f"nothing raised for {said(refused)}"
    if any(isinstance(problem, ours) and issubclass(builtin, theirs) for ours, theirs, _ in DIFFERENT):
        return ""
    if not isinstance(problem, wanted):
        return f"{said(problem)} for {said(refused)}"
    if not from_inside(problem):  # Python's own, about a call of a function
        return ""
    clear = isinstance(problem, LazygradError) and str(problem).startswith("[")
    return "" if clear else f"unclear: {said(problem)} for {said(refused)}"


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
