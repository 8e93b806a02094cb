"""Numbers and nested lists as elements of tensors: their shape, their type, and whether it holds them."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lazygrad import dtypes
from lazygrad.dtypes import DType
from lazygrad.errors import ArgumentError, ArgumentTypeError
from lazygrad.missing import NO_COMPLEX, refuse
from lazygrad.tensors import promotion
from lazygrad.tensors.core import Tensor
from lazygrad.tensors.promotion import known_dtype
from lazygrad.tensors.values import read


def fitting(name: str, value: Any, dtype: DType) -> Any:
    """A number as one that an integer type holds, as PyTorch converts it: floats without what is behind the
    point, negative numbers in unsigned types counted from above. Raises ArgumentError for others."""
    if not dtype.is_integer:
        return value
    low = dtype.min if dtype.is_signed or isinstance(value, float) else -dtype.max
    if isinstance(value, float) and math.isfinite(value):
        value = math.trunc(value)
    if isinstance(value, float) or not low <= value <= dtype.max:
        raise ArgumentError(
            f"[{name}] value cannot be converted to type {dtype.name} without overflow: {value}, it holds "
            f"{dtype.min} to {dtype.max}"
        )
    return value if value >= dtype.min else value + dtype.max + 1


def array_of(name: str, data: Any, dtype: DType | None) -> np.ndarray:
    """Nested sequences of numbers, arrays and tensors of one element as an array of the type they infer.

    Raises ArgumentTypeError for other data, ArgumentError for lists of unequal lengths, tensors of several
    elements, and numbers that the type cannot hold.
    """
    if isinstance(data, range):
        data = list(data)
    if hasattr(data, "__array__") and not isinstance(data, Sequence):
        return np.asarray(data)
    if isinstance(data, complex):
        refuse(name, NO_COMPLEX)
    if not isinstance(data, Sequence) or isinstance(data, str | bytes):
        raise ArgumentTypeError(
            f"[{name}] could not infer dtype of {type(data).__name__}: expected numbers, lists or arrays"
        )
    leaves: list[Any] = []
    kinds: set[Any] = set()
    shape = _measure(name, data, leaves, kinds)
    kind = dtype or _inferred(name, leaves, kinds)
    if kind.is_integer and any(isinstance(v, float) for v in leaves):
        leaves = [fitting(name, v, kind) for v in leaves]
    try:
        with np.errstate(over="ignore"):
            flat = np.asarray(leaves, kind.numpy) if leaves else np.zeros(0, kind.numpy)
    except OverflowError as problem:
        if not kind.is_integer:
            raise ArgumentError(f"[{name}] {problem}") from None
        flat = np.asarray([fitting(name, v, kind) for v in leaves], kind.numpy)
    except (TypeError, ValueError) as problem:
        if any(isinstance(v, complex) for v in leaves):
            refuse(name, NO_COMPLEX)
        raise ArgumentTypeError(f"[{name}] {problem}") from None
    return flat.reshape(shape)


def _measure(
    name: str, data: Any, leaves: list[Any], kinds: set[Any], beside_rows: bool = False
) -> tuple[int, ...]:
    """The shape of nested data, whose numbers are appended to `leaves` in order; `kinds` gathers what they
    are: types of Python, and dtypes of arrays and tensors. A tensor is a number, whatever its dimensions,
    unless it stands behind lists or arrays (`beside_rows`)."""
    if isinstance(data, Tensor) and beside_rows:
        kinds.add(data._dtype)
        leaves.extend(read(data).reshape(-1).tolist())
        return tuple(data.shape)
    if isinstance(data, Tensor):
        if data.numel() != 1:
            raise ArgumentError(
                f"[{name}] only one element tensors can be converted to Python scalars, not one of the shape "
                f"{tuple(data.shape)}: stack or cat puts tensors together"
            )
        kinds.add(data._dtype)
        leaves.append(read(data).item())
        return ()
    if isinstance(data, np.ndarray | np.generic):
        kinds.add(known_dtype(name, np.asarray(data)))
        leaves.extend(np.asarray(data).reshape(-1).tolist())
        return np.shape(data)
    if not isinstance(data, Sequence) or isinstance(data, str):
        leaves.append(data)
        kinds.add(type(data))
        return ()
    if data and all(type(v) in (int, float, bool) for v in data):
        leaves.extend(data)
        kinds.update(map(type, data))
        return (len(data),)
    shapes: list[tuple[int, ...]] = []
    for v in data:
        shapes.append(_measure(name, v, leaves, kinds, bool(shapes and shapes[0])))
    for i, shape in enumerate(shapes):
        if shape != shapes[0]:
            a, b = (shapes[0] or ("a number",))[0], (shape or ("a number",))[0]
            raise ArgumentError(
                f"[{name}] expected sequence of length {a} at dim 1 (got {b}): element {i} "
                "has the shape "
                f"{shape}, the first has {shapes[0]}"
            )
    return (len(data), *(shapes[0] if shapes else ()))


def _inferred(name: str, leaves: list[Any], kinds: set[Any]) -> DType:
    """The type that all numbers promote to."""
    if not leaves:
        return promotion.get_default_dtype()
    known = {bool: dtypes.bool_, int: dtypes.int64, float: promotion.get_default_dtype()}
    if any(not isinstance(kind, DType) and kind not in known for kind in kinds):
        odd = next(v for v in leaves if type(v) not in known)
        if isinstance(odd, complex):
            refuse(name, NO_COMPLEX)
        raise ArgumentTypeError(f"[{name}] could not infer dtype of {type(odd).__name__} ({odd!r})")
    return functools.reduce(dtypes.promote, [known.get(kind, kind) for kind in kinds])
