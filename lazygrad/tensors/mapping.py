"""Functions of Python's on elements: `apply_`, `map_` and `map2_`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lazygrad.errors import ArgumentError
from lazygrad.tensors.core import Tensor, method
from lazygrad.tensors.creation import tensor
from lazygrad.tensors.values import read


def _mapped(name: str, x: Tensor, call: Callable[..., Any], *others: Tensor) -> Tensor:
    if any(t.requires_grad for t in (x, *others)):
        raise ArgumentError(f"[{name}] can't use {name} on tensors that require a gradient")
    columns = [read(t.expand(x._shape)).reshape(-1).tolist() for t in (x, *others)]
    values = [call(*row) for row in zip(*columns, strict=True)]
    made = tensor(np.asarray(values, x._dtype.numpy), device=x.device).to(x._dtype)
    return x.copy_(made.reshape(tuple(x._shape)))


@method("apply_")
def apply_(x: Tensor, callable: Callable[[Any], Any]) -> Tensor:
    """Each element replaced by what a Python function makes of it: slow, and realizes."""
    return _mapped("apply_", x, callable)


@method("map_")
def map_(x: Tensor, tensor: Tensor, callable: Callable[[Any, Any], Any]) -> Tensor:
    """Each element replaced by what a Python function makes of it and of another tensor's."""
    return _mapped("map_", x, callable, tensor)


@method("map2_")
def map2_(x: Tensor, x2: Tensor, y: Tensor, callable: Callable[[Any, Any, Any], Any]) -> Tensor:
    """Each element replaced by what a Python function makes of it and of two other tensors'."""
    return _mapped("map2_", x, callable, x2, y)
