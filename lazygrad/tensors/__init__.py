"""Tensors with PyTorch's names and semantics over the lazy graph.

A definition is written once and published by `@function`, `@method` or `@creator` of core.py; `FUNCTIONS`
collects what the package exports as functions. So all files are imported here that define any.
"""

from lazygrad.tensors import (  # noqa: F401
    absent,
    aliases,
    arithmetic,
    attributes,
    autograd,
    blending,
    constructor,
    conversion,
    convolution,
    copies,
    creation,
    differences,
    distinct,
    elementwise,
    exchange,
    explaining,
    foreach,
    indexing,
    integers,
    joining,
    limits,
    linalg,
    linear,
    lookup,
    mapping,
    movement,
    outputs,
    parts,
    pooling,
    printing,
    reals,
    reduction,
    resizing,
    scans,
    segments,
    shapes,
    sorting,
    special,
    spectra,
    statistics,
    storage,
    strided,
    typed_storage,
    values,
    window_functions,
)
from lazygrad.tensors.core import FUNCTIONS, Size, Tensor
from lazygrad.tensors.devices import device
from lazygrad.tensors.jit import jitted  # noqa: F401
from lazygrad.tensors.modes import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled
from lazygrad.tensors.random import creators, generator, in_place  # noqa: F401

__all__ = [
    "FUNCTIONS",
    "Size",
    "Tensor",
    "device",
    "enable_grad",
    "inference_mode",
    "is_grad_enabled",
    "no_grad",
    "set_grad_enabled",
]
