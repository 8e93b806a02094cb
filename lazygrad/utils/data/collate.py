"""How samples become a batch."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any

import numpy as np

from lazygrad import dtypes
from lazygrad.errors import ArgumentTypeError, ShapeError
from lazygrad.tensors import FUNCTIONS
from lazygrad.tensors.core import Tensor

_TEXT = re.compile(r"[SaUO]")
_MESSAGE = "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {}"


def _is_named(value: Any) -> bool:
    return isinstance(value, tuple) and hasattr(value, "_fields")


def _remade(value: Any, change: Callable[[Any], Any]) -> Any:
    """A mapping or sequence with changed values, of its own type where that can be made."""
    kind = type(value)
    try:
        if isinstance(value, Mapping):
            new = {key: change(value[key]) for key in value}
            if isinstance(value, MutableMapping):
                clone: Any = copy.copy(value)
                clone.update(new)
                return clone
            return kind(new)
        values = [change(v) for v in value]
        if isinstance(value, MutableSequence):
            clone = copy.copy(value)
            for i, v in enumerate(values):
                clone[i] = v
            return clone
        return kind(values)
    except TypeError:  # no constructor of that kind
        return new if isinstance(value, Mapping) else values


def default_convert(data: Any) -> Any:
    """Arrays as tensors, also inside of containers; all else as it is."""
    if isinstance(data, Tensor):
        return data
    if isinstance(data, np.ndarray | np.generic):
        return data if _TEXT.search(data.dtype.str) else FUNCTIONS["as_tensor"](np.asarray(data))
    if isinstance(data, Mapping):
        return _remade(data, default_convert)
    if _is_named(data):
        return type(data)(*(default_convert(d) for d in data))
    if isinstance(data, tuple):
        return [default_convert(d) for d in data]
    if isinstance(data, Sequence) and not isinstance(data, str | bytes):
        return _remade(data, default_convert)
    return data


def _tensors(batch: Sequence[Any], **_: Any) -> Any:
    return FUNCTIONS["stack"](list(batch), 0)


def _arrays(batch: Sequence[Any], **_: Any) -> Any:
    first = batch[0]
    if _TEXT.search(first.dtype.str):
        raise ArgumentTypeError(f"[default_collate] {_MESSAGE.format(first.dtype)}")
    if any(b.shape != first.shape for b in batch):
        return _tensors([FUNCTIONS["as_tensor"](b) for b in batch])  # which says what is wrong
    return FUNCTIONS["as_tensor"](np.stack(batch))


def _numpy_scalars(batch: Sequence[Any], **_: Any) -> Any:
    return FUNCTIONS["as_tensor"](np.array(batch))


def _floats(batch: Sequence[Any], **_: Any) -> Any:
    return FUNCTIONS["tensor"](list(batch), dtype=dtypes.float64)


def _integers(batch: Sequence[Any], **_: Any) -> Any:
    return FUNCTIONS["tensor"](list(batch))


def _as_it_is(batch: Sequence[Any], **_: Any) -> Any:
    return batch


default_collate_fn_map: dict[Any, Callable[..., Any]] = {
    Tensor: _tensors,
    np.ndarray: _arrays,
    (np.bool_, np.number, np.object_): _numpy_scalars,
    float: _floats,
    int: _integers,
    str: _as_it_is,
    bytes: _as_it_is,
}


def collate(batch: Sequence[Any], *, collate_fn_map: dict[Any, Callable[..., Any]] | None = None) -> Any:
    """Samples as one batch, with a function for each type of sample; containers are collated part by part.

    Raises ArgumentTypeError for a type without a function, ShapeError for lists of unequal lengths.
    """
    first = batch[0]
    kind = type(first)
    table = collate_fn_map or {}
    if kind in table:
        return table[kind](batch, collate_fn_map=table)
    for types, function in table.items():
        if isinstance(first, types):
            return function(batch, collate_fn_map=table)

    def again(values: Sequence[Any]) -> Any:
        return collate(values, collate_fn_map=table)

    if isinstance(first, Mapping):
        columns = {key: again([sample[key] for sample in batch]) for key in first}
        return _rebuilt(first, columns)
    if _is_named(first):
        return kind(*(again(values) for values in zip(*batch, strict=False)))
    if isinstance(first, Sequence):
        if any(len(sample) != len(first) for sample in batch):
            raise ShapeError("[default_collate] each element in list of batch should be of equal size")
        values = [again(column) for column in zip(*batch, strict=True)]
        return values if isinstance(first, tuple) else _remade(first, _next_of(values))
    raise ArgumentTypeError(f"[default_collate] {_MESSAGE.format(kind)}")


def _next_of(values: list[Any]) -> Callable[[Any], Any]:
    taken = iter(values)
    return lambda _: next(taken)


def _rebuilt(first: Mapping[Any, Any], columns: dict[Any, Any]) -> Any:
    if isinstance(first, MutableMapping):
        clone: Any = copy.copy(first)
        clone.update(columns)
        return clone
    try:
        return type(first)(columns)  # type: ignore[call-arg]
    except TypeError:
        return columns


def default_collate(batch: Sequence[Any]) -> Any:
    """Samples as one batch: tensors and arrays stacked, numbers as a tensor, texts as they are, and the parts
    of dicts, named tuples, tuples (as a list) and lists each as a batch. Raises as `collate` does."""
    return collate(batch, collate_fn_map=default_collate_fn_map)
