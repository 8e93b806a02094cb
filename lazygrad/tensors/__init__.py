"""Tensors with PyTorch's names and semantics over the lazy graph.

A file imports only from files listed before it: devices, modes, views, recording, cell, lifetimes,
realization, core, storage, promotion, values, conversion, axes, arithmetic, elementwise, shapes, movement,
reduction, scans, creation, limits, printing, flow, autograd; then examples, indexing, lookup, joining,
linear, convolution, pooling, resizing, generator, random, sorting, explaining, reachable, recorder,
blueprint, stands, replay, jit.
A definition is written once and published by `@function`, `@method` or `@creator` of core.py; `FUNCTIONS`
collects what the package exports as functions.
"""

from lazygrad.tensors import (
    arithmetic,
    autograd,
    conversion,
    convolution,
    creation,
    elementwise,
    explaining,
    generator,
    indexing,
    jit,
    joining,
    limits,
    linear,
    lookup,
    movement,
    pooling,
    printing,
    random,
    reduction,
    resizing,
    scans,
    shapes,
    sorting,
    storage,
    values,
)
from lazygrad.tensors.core import FUNCTIONS, Size, Tensor
from lazygrad.tensors.devices import device
from lazygrad.tensors.modes import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled

__all__ = [
    "FUNCTIONS",
    "Size",
    "Tensor",
    "arithmetic",
    "autograd",
    "conversion",
    "convolution",
    "creation",
    "device",
    "elementwise",
    "enable_grad",
    "explaining",
    "generator",
    "indexing",
    "inference_mode",
    "is_grad_enabled",
    "jit",
    "joining",
    "limits",
    "linear",
    "lookup",
    "movement",
    "no_grad",
    "pooling",
    "printing",
    "random",
    "reduction",
    "resizing",
    "scans",
    "set_grad_enabled",
    "shapes",
    "sorting",
    "values",
]
