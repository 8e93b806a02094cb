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
from lazygrad.tensors.signatures import check_all

np_str_obj_array_pattern = re.compile(r"[SaUO]")
default_collate_err_msg_format = (
    "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {}"
)


def _is_named(value: Any) -> bool:
    return isinstance(value, tuple) and hasattr(value, "_fields")


def _remade(value: Any, new: dict[Any, Any] | list[Any]) -> Any:
    """A mapping or sequence with new values, of its own type where that can be made."""
    try:
        if not isinstance(value, MutableMapping | MutableSequence):
            return type(value)(new)
        clone: Any = copy.copy(value)
        for place, changed in new.items() if isinstance(new, dict) else enumerate(new):
            clone[place] = changed
        return clone
    except TypeError:  # no constructor of that kind
        return new


def default_convert(data: Any) -> Any:
    """Arrays as tensors, also inside of containers; all else as it is."""
    if isinstance(data, Tensor):
        return data
    if isinstance(data, np.ndarray | np.generic):
        is_text = np_str_obj_array_pattern.search(data.dtype.str)
        return data if is_text else FUNCTIONS["as_tensor"](np.asarray(data))
    if isinstance(data, Mapping):
        return _remade(data, {key: default_convert(data[key]) for key in data})
    if _is_named(data):
        return type(data)(*(default_convert(d) for d in data))
    if isinstance(data, tuple):
        return [default_convert(d) for d in data]
    if isinstance(data, Sequence) and not isinstance(data, str | bytes):
        return _remade(data, [default_convert(d) for d in data])
    return data


def collate_tensor_fn(batch: Sequence[Any], **_: Any) -> Any:
    """Tensors of one shape, stacked."""
    return FUNCTIONS["stack"](list(batch), 0)


def collate_numpy_array_fn(batch: Sequence[Any], **_: Any) -> Any:
    """Arrays of one shape, stacked. Raises ArgumentTypeError for texts and objects."""
    first = batch[0]
    if np_str_obj_array_pattern.search(first.dtype.str):
        raise ArgumentTypeError(f"[default_collate] {default_collate_err_msg_format.format(first.dtype)}")
    if any(b.shape != first.shape for b in batch):
        return collate_tensor_fn([FUNCTIONS["as_tensor"](b) for b in batch])  # which says what is wrong
    return FUNCTIONS["as_tensor"](np.stack(batch))


def collate_numpy_scalar_fn(batch: Sequence[Any], **_: Any) -> Any:
    """NumPy's numbers as a tensor."""
    return FUNCTIONS["as_tensor"](np.array(batch))


def collate_float_fn(batch: Sequence[Any], **_: Any) -> Any:
    """Numbers as a float64 tensor."""
    return FUNCTIONS["tensor"](list(batch), dtype=dtypes.float64)


def collate_int_fn(batch: Sequence[Any], **_: Any) -> Any:
    """Integers as a tensor."""
    return FUNCTIONS["tensor"](list(batch))


def collate_str_fn(batch: Sequence[Any], **_: Any) -> Any:
    """Texts as they are."""
    return batch


default_collate_fn_map: dict[Any, Callable[..., Any]] = {
    Tensor: collate_tensor_fn,
    np.ndarray: collate_numpy_array_fn,
    (np.bool_, np.number, np.object_): collate_numpy_scalar_fn,
    float: collate_float_fn,
    int: collate_int_fn,
    str: collate_str_fn,
    bytes: collate_str_fn,
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
        return _remade(first, {key: again([sample[key] for sample in batch]) for key in first})
    if _is_named(first):
        return kind(*(again(values) for values in zip(*batch, strict=False)))
    if isinstance(first, Sequence):
        if any(len(sample) != len(first) for sample in batch):
            raise ShapeError("[default_collate] each element in list of batch should be of equal size")
        values = [again(column) for column in zip(*batch, strict=True)]
        return values if isinstance(first, tuple) else _remade(first, values)
    raise ArgumentTypeError(f"[default_collate] {default_collate_err_msg_format.format(kind)}")


def default_collate(batch: Sequence[Any]) -> Any:
    """Samples as one batch: tensors and arrays stacked, numbers as a tensor, texts as they are, and the parts
    of dicts, named tuples, tuples (as a list) and lists each as a batch. Raises as `collate` does."""
    return collate(batch, collate_fn_map=default_collate_fn_map)


check_all(globals())
