"""PyTorch's `testing` namespace: `assert_close`, with PyTorch's tolerances and messages."""

from __future__ import annotations

import cmath
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lazygrad import dtypes
from lazygrad.dtypes import DType
from lazygrad.errors import ArgumentError, ArgumentTypeError
from lazygrad.helpers import product
from lazygrad.tensors import FUNCTIONS
from lazygrad.tensors.core import Tensor
from lazygrad.tensors.limits import finfo
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
                "[assert_close] Both 'rtol' and 'atol' must be either specified or omitted, but got no "
                f"{missing}."
            )
        for name, given in (("rtol", self.rtol), ("atol", self.atol)):
            if given is not None and given < 0:
                raise ArgumentError(f"[assert_close] {name} must be greater than or equal to zero, but got "
                                    f"{given}")
        if self.rtol is None or self.atol is None:
            return default_tolerances(*types)
        return self.rtol, self.atol

    def fail(self, text: str, place: tuple[Any, ...], structural: bool = False) -> None:
        if place:
            text += f"\n\nThe failure occurred for item {_item(place)}"
        if structural:
            pass  # which PyTorch says in its own words
        elif callable(self.msg):
            text = self.msg(text)
        elif self.msg is not None:
            text = self.msg
        raise AssertionError(text)


def _item(place: tuple[Any, ...]) -> str:
    return "".join(f"[{p!r}]" for p in place)


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


_NUMBERS = int | float | complex | np.number
_TRUTHS = bool | np.bool_


def _compare(a: Any, b: Any, options: _Options, place: tuple[Any, ...]) -> None:
    text = str | bytes
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        _mappings(a, b, options, place)
    elif all(isinstance(v, Sequence) and not isinstance(v, text) for v in (a, b)):
        _sequences(a, b, options, place)
    elif a is None or b is None:
        if a is not b:
            options.fail(f"None mismatch: {a} is not {b}", place)
    elif isinstance(a, _TRUTHS) and isinstance(b, _TRUTHS):
        if bool(a) is not bool(b):
            options.fail(f"Booleans mismatch: {bool(a)} is not {bool(b)}", place)
    elif isinstance(a, _NUMBERS) and isinstance(b, _NUMBERS):
        _numbers(a, b, options, place)
    else:
        related = isinstance(a, type(b)) or isinstance(b, type(a))
        x, y = (_tensor(v) if related else None for v in (a, b))
        if x is None or y is None or (type(a) is not type(b) and not options.allow_subclasses):
            at = f"\n\nThe failure occurred for item {_item(place)}" if place else ""
            raise ArgumentTypeError("[assert_close] No comparison pair was able to handle inputs of type "
                                    f"{type(a)} and {type(b)}.{at}")
        _tensors(x, y, options, place)


def _mappings(a: Any, b: Any, options: _Options, place: tuple[Any, ...]) -> None:
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


def _sequences(a: Any, b: Any, options: _Options, place: tuple[Any, ...]) -> None:
    if len(a) != len(b):
        options.fail(f"The length of the sequences mismatch: {len(a)} != {len(b)}", place, structural=True)
    for i, (x, y) in enumerate(zip(a, b, strict=True)):
        _compare(x, y, options, (*place, i))


def _tensor(value: Any) -> Tensor | None:
    """What a tensor can be made of, as one; None for anything else."""
    if isinstance(value, Tensor):
        return value
    try:
        return FUNCTIONS["as_tensor"](value)
    except (TypeError, ValueError, RuntimeError):
        return None


def _numbers(a: Any, b: Any, options: _Options, place: tuple[Any, ...]) -> None:
    kinds = {bool: dtypes.bool_, int: dtypes.int64, float: dtypes.float64}
    a, b = (x.item() if isinstance(x, np.generic) else x for x in (a, b))
    if options.flags["dtype"] and type(a) is not type(b):
        options.fail(f"The (d)types do not match: {type(a)} != {type(b)}.", place)
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
    if x.is_meta or y.is_meta:  # which have no values
        return
    x, y = (t.detach().cpu() if x.device != y.device else t.detach() for t in (x, y))
    if x.dtype is not y.dtype:
        wide = dtypes.promote(x.dtype, y.dtype)
        x, y = x.to(wide), y.to(wide)
    if x.dtype.kind != "float":
        x, y = x.to(dtypes.int64), y.to(dtypes.int64)
    difference = (x - y).abs()
    a, b, apart = (_wide(t) for t in (x, y, difference))
    with np.errstate(all="ignore"):
        near = (a == b) | (np.isfinite(apart) & (apart <= atol + rtol * np.abs(b)))
        if options.equal_nan and a.dtype.kind == "f":
            near |= np.isnan(a) & np.isnan(b)
    if not near.all():
        with np.errstate(all="ignore"):  # of more than one number in the type that was compared, as there
            relative = _wide(difference / y.abs()) if near.ndim else apart / np.abs(b)
        _fail_with_numbers((a, b), near, apart, relative, rtol, atol, options, place)


def _wide(x: Tensor) -> np.ndarray:
    """The values, floats as float64."""
    found = read(x)
    return found.astype(np.float64) if found.dtype.kind != "i" else found


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
    """Random values of [low, high) in a shape: floats of [-9, 9) and integers of [-9, 10), as far as their
    type has them, unless told. `noncontiguous`: every second element of a row twice as long; `exclude_zero`:
    zeros become 1, of floats the least normal number. Raises ArgumentError for an empty range, for integers
    that require a gradient and for a memory format beside `noncontiguous`."""
    is_float = dtype.kind == "float"
    sizes = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], Sequence) else shape
    if noncontiguous and memory_format is not None:
        raise ArgumentError("[make_tensor] `noncontiguous` and `memory_format` are mutually exclusive")
    if requires_grad and not is_float:
        raise ArgumentError(f"[make_tensor] `requires_grad=True` is not supported for {dtype!r}")
    if dtype.kind == "bool":
        least, greatest = 0, 2
    else:
        least, greatest = 0 if dtype.kind == "uint" else -9, 9 if is_float else 10
    low, high = least if low is None else low, greatest if high is None else high
    if not low < high:
        raise ArgumentError(f"[make_tensor] `low` must be less than `high`, but got {low} >= {high}")
    noncontiguous = noncontiguous and product(sizes) > 1
    if noncontiguous:
        sizes = (*sizes[:-1], 2 * sizes[-1])
    if is_float:
        made = (FUNCTIONS["rand"](sizes, device=device) * (high - low) + low).to(dtype)
    else:
        low, high = math.ceil(low), math.ceil(high)
        made = FUNCTIONS["randint"](low, high, sizes, dtype=dtypes.int64, device=device).to(dtype)
    if exclude_zero:
        made = made.masked_fill(made == 0, finfo(dtype).tiny if is_float else 1)
    if noncontiguous:
        made = made[..., ::2]
    return made.requires_grad_() if requires_grad else made
