"""`repr` of tensors as PyTorch prints them: aligned columns, four digits, long tensors summarised."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lazygrad import dtypes
from lazygrad.errors import ArgumentError
from lazygrad.tensors import promotion
from lazygrad.tensors.core import Tensor, creator, method
from lazygrad.tensors.devices import canonical_device
from lazygrad.tensors.values import read


class Options:
    """What set_printoptions sets."""

    precision, threshold, edgeitems, linewidth = 4, 1000.0, 3, 80
    sci_mode: bool | None = None


_PROFILES = {"default": (4, 1000, 3, 80), "short": (2, 1000, 2, 80), "full": (4, math.inf, 3, 80)}


@creator("set_printoptions")
def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """How tensors print: digits, the size above which they are summarised, elements kept at the edges, line
    width."""
    if profile is not None:
        if profile not in _PROFILES:
            raise ArgumentError(
                f"[set_printoptions] unknown profile {profile!r}: there are {', '.join(_PROFILES)}"
            )
        Options.precision, Options.threshold, Options.edgeitems, Options.linewidth = _PROFILES[profile]
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    for name, value in given.items():
        if value is not None:
            setattr(Options, name, value)
    Options.sci_mode = sci_mode


class _Formatter:
    """How every element of one tensor is written: chosen from all that are shown, so that columns align."""

    def __init__(self, values: np.ndarray, is_float: bool):
        self.is_float, self.whole, self.scientific = is_float, True, False
        shown = values.reshape(-1)
        if is_float:
            # zeros, NaN and infinities do not decide the form, nor the width, as in PyTorch
            shown = shown[np.isfinite(shown) & (shown != 0)].astype(np.float64)
            if shown.size:
                self._choose(shown)
        self.width = max((len(self._text(v)) for v in shown.tolist()), default=1)

    def _choose(self, shown: np.ndarray) -> None:
        sizes = np.abs(shown)
        low, high = float(sizes.min()), float(sizes.max())
        self.whole = bool((shown == np.ceil(shown)).all())
        self.scientific = high / low > 1000.0 or high > 1e8 or low < 1e-4
        if Options.sci_mode is not None:
            self.scientific = Options.sci_mode

    def _text(self, value: Any) -> str:
        if not self.is_float:
            return str(value)
        if self.scientific:
            return f"{value:.{Options.precision}e}"
        if self.whole:
            return f"{value:.0f}" + ("." if math.isfinite(value) else "")
        return f"{value:.{Options.precision}f}"

    def __call__(self, value: Any) -> str:
        return self._text(value).rjust(self.width)


def _lines(values: np.ndarray, indent: int, summarise: bool, form: _Formatter) -> str:
    if not values.ndim:
        return form(values.item())
    edge = Options.edgeitems
    cut = summarise and values.shape[0] > 2 * edge
    if values.ndim == 1:
        return _row(values, indent, cut, form)
    shown = [*values[:edge], None, *values[-edge:]] if cut else list(values)
    parts = ["..." if v is None else _lines(v, indent + 1, summarise, form) for v in shown]
    return "[" + ("," + "\n" * (values.ndim - 1) + " " * (indent + 1)).join(parts) + "]"


def _row(values: np.ndarray, indent: int, cut: bool, form: _Formatter) -> str:
    edge = Options.edgeitems
    per_line = max(1, int((Options.linewidth - indent) // (form.width + 2)))
    if cut:
        texts = [*map(form, values[:edge].tolist()), " ...", *map(form, values[-edge:].tolist())]
    else:
        texts = [form(v) for v in values.tolist()]
    lines = [", ".join(texts[i : i + per_line]) for i in range(0, len(texts), per_line)]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"


def _edges(values: np.ndarray) -> np.ndarray:
    """The elements that a summary shows."""
    for axis, size in enumerate(values.shape):
        if size > 2 * Options.edgeitems:
            values = np.concatenate(
                [
                    np.take(values, range(Options.edgeitems), axis),
                    np.take(values, range(size - Options.edgeitems, size), axis),
                ],
                axis,
            )
    return values


def _suffixes(x: Tensor) -> list[str]:
    inferred = (dtypes.bool_, dtypes.int64, promotion.get_default_dtype())
    empty = x.is_meta or x._shape.numel() == 0
    suffixes = [f"device='{x.device}'"] if x.is_meta or x.cell.device != canonical_device(None) else []
    if (empty and x.ndim != 1) or x.is_meta:
        suffixes.append(f"size={tuple(x._shape)}")
    if x._dtype not in inferred or (empty and x._dtype is not promotion.get_default_dtype()):
        suffixes.append(f"dtype={x._dtype!r}")
    if x.grad_fn is not None:
        suffixes.append(f"grad_fn=<{x.grad_fn.name()}>")
    elif x.requires_grad:
        suffixes.append("requires_grad=True")
    return suffixes


def contents(x: Tensor, indent: int) -> str:
    """The elements alone, which begin in column `indent` of the first line. Realizes."""
    if x.is_meta:
        return "..."
    values = read(x)
    if values.size == 0:
        return "[]"
    summarise = values.size > Options.threshold
    form = _Formatter(_edges(values) if summarise else values, x._dtype.kind == "float")
    return _lines(values, indent, summarise, form)


def with_suffixes(text: str, suffixes: Sequence[str], indent: int, force_newline: bool = False) -> str:
    """What is said after the elements: in the same line where it fits, and at once in the next one with
    `force_newline`."""
    pieces = [text]
    line_length = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if force_newline or line_length + len(suffix) + 2 > Options.linewidth:
            pieces.append(",\n" + " " * indent + suffix)
            line_length, force_newline = indent + len(suffix), False
        else:
            pieces.append(", " + suffix)
            line_length += len(suffix) + 2
    return "".join(pieces) + ")"


@method("__repr__", "__str__")
def to_text(x: Tensor) -> str:
    """The tensor as PyTorch prints it. Realizes."""
    prefix = "tensor("
    return with_suffixes(prefix + contents(x, len(prefix)), _suffixes(x), len(prefix))
