"""Inputs in pieces, one for each of several devices, and outputs put together from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lazygrad
from lazygrad.tensors import Tensor


def is_namedtuple(obj: Any) -> bool:
    """Whether a value is a named tuple."""
    return isinstance(obj, tuple) and hasattr(obj, "_asdict") and hasattr(obj, "_fields")


def scatter(inputs: Any, target_gpus: Sequence[Any], dim: int = 0) -> list[Any]:
    """A piece of the inputs for each target: tensors in containers are cut along `dim`, all else is repeated.
    There may be fewer pieces than targets."""
    count = len(target_gpus)
    if isinstance(inputs, Tensor):
        return list(inputs.chunk(count, dim))
    if isinstance(inputs, tuple | list | dict) and inputs:
        items = inputs.items() if isinstance(inputs, dict) else inputs
        parts = zip(*(scatter(x, target_gpus, dim) for x in items), strict=False)
        return [_remade(inputs, part) for part in parts]
    return [inputs for _ in target_gpus]


def _remade(container: Any, parts: Any) -> Any:
    """A container of the same type."""
    kind: Any = type(container)
    return kind._make(parts) if is_namedtuple(container) else kind(parts)


def scatter_kwargs(inputs: tuple[Any, ...] | None, kwargs: dict[str, Any] | None, target_gpus: Sequence[Any],
                   dim: int = 0) -> tuple[tuple[Any, ...], tuple[dict[str, Any], ...]]:
    """scatter of positional and keyword arguments, as many pieces of both."""
    args, named = (scatter(given, target_gpus, dim) if given else [] for given in (inputs, kwargs))
    most = max(len(args), len(named))
    return (*args, *[()] * (most - len(args))), (*named, *[{}] * (most - len(named)))


def gather(outputs: Any, target_device: Any, dim: int = 0) -> Any:
    """The pieces of outputs put together: tensors in containers one after the other along `dim`."""
    first = outputs[0]
    if isinstance(first, Tensor):
        if all(t.ndim == 0 for t in outputs) and dim == 0:
            return lazygrad.stack(list(outputs))
        return lazygrad.cat(list(outputs), dim)
    if first is None:
        return None
    if isinstance(first, dict):
        return type(first)((key, gather([d[key] for d in outputs], target_device, dim)) for key in first)
    return _remade(first, (gather(part, target_device, dim) for part in zip(*outputs, strict=True)))
