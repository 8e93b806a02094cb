"""PyTorch's `testing` namespace: `assert_close`, with PyTorch's tolerances and messages."""

from __future__ import annotations

import cmath
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lazygrad import dtypes
from lazygrad.dtypes import DType
from lazygrad.errors import ArgumentError, ArgumentTypeError
from lazygrad.tensors import FUNCTIONS
from lazygrad.tensors.core import Tensor
from lazygrad.tensors.values import read

_TOLERANCES: dict[DType, tuple[float, float]] = {
    dtypes.float16: (1e-3, 1e-5), dtypes.bfloat16: (1.6e-2, 1e-5),
    dtypes.float32: (1.3e-6, 1e-5), dtypes.float64: (1e-7, 1e-7),
}  # fmt: skip
Message = str | Callable[[str], str] | None


def default_tolerances(*inputs: Any, **_: Any) -> tuple[float, float]:
    """(rtol, atol) of tensors or types: the widest of theirs."""
    types = [x.dtype if isinstance(x, Tensor) else x for x in inputs]
    found = [_TOLERANCES.get(t, (0.0, 0.0)) for t in types]
    return max(r for r, _ in found), max(a for _, a in found)


class _Options:
    """What assert_close was told, and how it fails."""

    def __init__(
        self,
        allow_subclasses: bool,
        rtol: float | None,
        atol: float | None,
        equal_nan: bool,
        flags: dict[str, bool],
        msg: Message,
    ):
        self.allow_subclasses, self.rtol, self.atol, self.equal_nan = allow_subclasses, rtol, atol, equal_nan
        self.flags, self.msg = flags, msg

    def tolerances(self, *types: Any) -> tuple[float, float]:
        if (self.rtol is None) != (self.atol is None):
            missing = "rtol" if self.rtol is None else "atol"
            raise ArgumentError(
                "[assert_close] Both 'rtol' and 'atol' must be either specified or unspecified, but got no "
                f"{missing}."
            )
        if self.rtol is None or self.atol is None:
            return default_tolerances(*types)
        return self.rtol, self.atol

    def fail(self, text: str, place: tuple[Any, ...], structural: bool = False) -> None:
        if place:
            text += f"\n\nThe failure occurred for item {''.join(f'[{p!r}]' for p in place)}"
        if structural:
            pass  # which PyTorch says in its own words
        elif callable(self.msg):
            text = self.msg(text)
        elif self.msg is not None:
            text = self.msg
        raise AssertionError(text)


def assert_close(
    actual: Any,
    expected: Any,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: Message = None,
) -> None:
    """Raises AssertionError unless |actual - expected| <= atol + rtol * |expected| for all elements, and
    shapes, devices and dtypes are equal (the last two where asked). Sequences and mappings are compared part
    by part. The tolerances follow from the dtypes unless both are given. Raises ArgumentTypeError for what
    is no tensor, array, number or container of these."""
    flags = {"device": check_device, "dtype": check_dtype, "stride": check_stride}
    _compare(actual, expected, _Options(allow_subclasses, rtol, atol, equal_nan, flags, msg), ())


def _is_number(x: Any) -> bool:
    return isinstance(x, bool | int | float | complex | np.number | np.bool_)


def _compare(a: Any, b: Any, options: _Options, place: tuple[Any, ...]) -> None:
    if _is_number(a) and _is_number(b):
        return _numbers(a, b, options, place)
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        if a.keys() != b.keys():
            missing, more = sorted(b.keys() - a.keys(), key=str), sorted(a.keys() - b.keys(), key=str)
            options.fail(
                "The keys of the mappings do not match:\nMissing keys in the actual mapping: "
                f"{missing}\nAdditional keys in the actual mapping: {more}",
                place,
                structural=True,
            )
        for key in sorted(a, key=str):
            _compare(a[key], b[key], options, (*place, key))
        return None
    text = str | bytes
    if all(isinstance(v, Sequence) and not isinstance(v, text) for v in (a, b)):
        if len(a) != len(b):
            options.fail(
                f"The length of the sequences mismatch: {len(a)} != {len(b)}", place, structural=True
            )
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            _compare(x, y, options, (*place, i))
        return None
    if a is None or b is None:
        if a is not b:
            options.fail(f"None mismatch: {a} is not {b}", place)
        return None
    x, y = _tensor(a), _tensor(b)
    if x is None or y is None or (type(a) is not type(b) and not options.allow_subclasses):
        raise ArgumentTypeError(
            f"[assert_close] No comparison pair was able to handle inputs of type {type(a)} and {type(b)}."
        )
    return _tensors(x, y, options, place)


def _tensor(value: Any) -> Tensor | None:
    if isinstance(value, Tensor):
        return value
    return FUNCTIONS["as_tensor"](value) if isinstance(value, np.ndarray | np.generic | int | float) else None


def _numbers(a: Any, b: Any, options: _Options, place: tuple[Any, ...]) -> None:
    kinds = {bool: dtypes.bool_, int: dtypes.int64, float: dtypes.float64}
    a, b = (x.item() if isinstance(x, np.generic) else x for x in (a, b))
    rtol, atol = options.tolerances(kinds.get(type(a), dtypes.float64), kinds.get(type(b), dtypes.float64))
    apart = abs(a - b)
    near = cmath.isfinite(apart) and apart <= atol + rtol * abs(b)
    if a == b or near or (options.equal_nan and a != a and b != b):
        return
    text = "Scalars are not close!" if rtol or atol else "Scalars are not equal!"
    text += f"\n\nExpected {b} but got {a}.\nAbsolute difference: {apart}"
    relative = apart / abs(b) if b else float("inf")
    allowed = (f" (up to {atol} allowed)", f" (up to {rtol} allowed)") if rtol or atol else ("", "")
    options.fail(f"{text}{allowed[0]}\nRelative difference: {relative}{allowed[1]}", place)


def _tensors(x: Tensor, y: Tensor, options: _Options, place: tuple[Any, ...]) -> None:
    def same(name: str, a: Any, b: Any) -> None:
        if a != b:
            options.fail(f"The values for attribute '{name}' do not match: {a} != {b}.", place)

    same("shape", x.shape, y.shape)
    if options.flags["device"]:
        same("device", str(x.device), str(y.device))
    if options.flags["dtype"]:
        same("dtype", x.dtype, y.dtype)
    if options.flags["stride"]:
        same("stride()", x.stride(), y.stride())
    rtol, atol = options.tolerances(x, y)
    a, b = (read(t.detach()) for t in (x, y))
    if x.dtype is not y.dtype:
        wide = dtypes.promote(x.dtype, y.dtype).numpy
        a, b = a.astype(wide), b.astype(wide)
    if a.dtype != np.bool_ and a.dtype.kind == "f" and a.dtype.itemsize < 8:
        a, b = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(all="ignore"):
        wide_a, wide_b = (
            v.astype(np.int64) if v.dtype.kind in "bu" and v.dtype.itemsize < 8 else v for v in (a, b)
        )
        apart = np.abs(wide_a - wide_b)
        near = (a == b) | (np.isfinite(apart) & (apart <= atol + rtol * np.abs(wide_b)))
        if options.equal_nan and a.dtype.kind == "f":
            near |= np.isnan(a) & np.isnan(b)
        if near.all():
            return
        relative = apart / np.abs(wide_b)
    _fail_with_numbers((a, b), near, apart, relative, rtol, atol, options, place)


def _fail_with_numbers(
    values: tuple[np.ndarray, np.ndarray],
    near: np.ndarray,
    apart: np.ndarray,
    relative: np.ndarray,
    rtol: float,
    atol: float,
    options: _Options,
    place: tuple[Any, ...],
) -> None:
    kind = "Tensor-likes" if near.ndim else "Scalars"
    text = f"{kind} are not {'close' if rtol or atol else 'equal'}!\n\n"
    wrong = ~near

    def greatest(of: np.ndarray) -> tuple[Any, tuple[int, ...]]:
        places = np.where(wrong, of, 0)
        flat = np.isnan(places).argmax() if np.isnan(places).any() else places.argmax()
        index = np.unravel_index(int(flat), of.shape)
        return of[index].item(), tuple(int(i) for i in index)

    if near.ndim:
        share = wrong.sum() / wrong.size
        text += f"Mismatched elements: {wrong.sum()} / {wrong.size} ({share:.1%})\n"
    found = [(greatest(apart), atol), (greatest(relative), rtol)]
    lines = []
    for name, ((value, index), allowed) in zip(("absolute", "relative"), found, strict=True):
        word = f"Greatest {name}" if near.ndim else name.capitalize()
        line = f"{word} difference: {value}"
        line += f" at index {index}" if near.ndim else ""
        lines.append(line + (f" (up to {allowed} allowed)" if rtol or atol else ""))
    if not near.ndim:
        text += f"Expected {values[1]} but got {values[0]}.\n"
    options.fail(text + "\n".join(lines), place)


def assert_allclose(
    actual: Any,
    expected: Any,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = True,
    msg: str = "",
) -> None:
    """assert_close of what are made tensors, whatever their devices and dtypes. PyTorch's older name."""
    warnings.warn(
        "`torch.testing.assert_allclose()` is deprecated since 1.12 and will be removed in a "
        "future release. Please use `torch.testing.assert_close()` instead.",
        FutureWarning,
        stacklevel=2,
    )
    x, y = (v if isinstance(v, Tensor) else FUNCTIONS["tensor"](v) for v in (actual, expected))
    assert_close(
        x,
        y,
        rtol=rtol,
        atol=atol,
        equal_nan=equal_nan,
        check_device=True,
        check_dtype=False,
        check_stride=False,
        msg=msg or None,
    )


def make_tensor(
    *shape: Any,
    dtype: DType,
    device: Any,
    low: float | None = None,
    high: float | None = None,
    requires_grad: bool = False,
    noncontiguous: bool = False,
    exclude_zero: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Random values of [low, high), [-9, 9) unless given, in a shape."""
    sizes = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], Sequence) else shape
    if dtype.kind == "bool":
        return FUNCTIONS["randint"](0, 2, sizes, device=device).to(dtype)
    low = (0 if dtype.kind == "uint" else -9) if low is None else low
    high = 10 if high is None else high
    if dtype.kind != "float":
        made = FUNCTIONS["randint"](int(low), int(high), sizes, dtype=dtype, device=device)
    else:
        made = (FUNCTIONS["rand"](*sizes, device=device) * (high - low) + low).to(dtype)
    if exclude_zero:
        made = FUNCTIONS["where"](made == 0, FUNCTIONS["ones_like"](made), made)
    return made.requires_grad_() if requires_grad else made
