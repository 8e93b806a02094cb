"""`lazygrad.jit(function)`, and PyTorch's `jit` namespace in the same place.

Scripting is accepted and changes nothing, since modules run as Python here; files of scripted modules are
neither written nor read.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, Final

from lazygrad.inert import names_of
from lazygrad.inert.kinds import ignored, refused, same
from lazygrad.tensors.jit.jitted import jit as _record

_NO_FILES = (
    "there are no scripted modules here: save the state_dict() (lazygrad.save, or safetensors), and build "
    "the model from its Python class"
)
script = ignore = unused = export = interface = freeze = optimize_for_inference = script_method = same
script_if_tracing = _script_if_tracing = _overload = _overload_method = same
is_scripting = is_tracing = ignored(False)
save, load = refused("jit.save", _NO_FILES), refused("jit.load", _NO_FILES)
set_fusion_strategy = enable_onednn_fusion = ignored(None)
__getattr__ = names_of(__name__)

__path__: list[str] = []  # `jit.annotations` is below

__all__ = ["Final"]


def isinstance(obj: Any, target_type: Any) -> bool:
    """Python's own."""
    import builtins

    return builtins.isinstance(obj, target_type)


def annotate(the_type: Any, the_value: Any) -> Any:
    """The value."""
    return the_value


def trace(func: Any, *args: Any, **options: Any) -> Any:
    """func itself: it runs as Python. `lazygrad.jit` records it."""
    return func


def trace_module(mod: Any, inputs: Any, **options: Any) -> Any:
    """The module itself."""
    return mod


class _CallableModule(ModuleType):
    """A module that is also the function `lazygrad.jit`."""

    def __call__(self, function: Any = None) -> Any:
        return _record(function)


sys.modules[__name__].__class__ = _CallableModule
