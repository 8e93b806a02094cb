"""lazygrad: PyTorch's surface over a lazy graph compiler. `import lazygrad as torch` is the way in."""

from __future__ import annotations

import importlib
import sys
from math import e, inf, nan, pi
from types import FunctionType
from typing import Any

from lazygrad.dtypes import (
    DType,
    bfloat16,
    bool_,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from lazygrad.einops_backend import watch as _watch_for_einops
from lazygrad.errors import LazygradError
from lazygrad.helpers import named_in
from lazygrad.inert import InertFinder, OwnFinder, names_of
from lazygrad.later import MODULE_OF, MODULES
from lazygrad.tensors import (
    FUNCTIONS,
    Size,
    Tensor,
    device,
    enable_grad,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)

__version__ = "0.1.0"

# the names that PyTorch gives to types
half, float, double = float16, float32, float64
short, int, long = int16, int32, int64
bool = bool_
dtype = DType
newaxis = None
globals().update(FUNCTIONS)
# so that pickles find them, aliases too; methods first: most are the functions of these names
for _owner, _found in (("Tensor", vars(Tensor)), ("", FUNCTIONS)):
    named_in(__name__, {name: f for name, f in _found.items() if isinstance(f, FunctionType)}, _owner)
del _owner, _found
_watch_for_einops()
sys.meta_path.insert(0, OwnFinder())
sys.meta_path.append(InertFinder())
jit = importlib.import_module("lazygrad.jit")  # the function, and PyTorch's namespace of that name
_inert = names_of(__name__)



def __getattr__(name: str) -> Any:
    if name in MODULES:
        return importlib.import_module(f"lazygrad.{name}")
    if name in MODULE_OF:
        value = getattr(importlib.import_module(f"lazygrad.{MODULE_OF[name]}"), name)
        globals()[name] = value
        return value
    return _inert(name)


__all__ = [
    "DType",
    "LazygradError",
    "Size",
    "Tensor",
    "bfloat16",
    "bool",
    "device",
    "double",
    "dtype",
    "e",
    "enable_grad",
    "float",
    "float16",
    "float32",
    "float64",
    "half",
    "inf",
    "inference_mode",
    "int",
    "int16",
    "int32",
    "int64",
    "int8",
    "is_grad_enabled",
    "long",
    "nan",
    "newaxis",
    "no_grad",
    "pi",
    "set_grad_enabled",
    "short",
    "uint16",
    "uint32",
    "uint64",
    "uint8",
    *FUNCTIONS,
]
