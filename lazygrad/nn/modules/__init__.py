"""PyTorch's paths of modules, `lazygrad.nn.modules.conv` and the rest: other names of the files here."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from lazygrad import nn
from lazygrad.nn import (
    activation,
    adaptive,
    containers,
    conv,
    dropout,
    embedding,
    lazy,
    linear,
    linear_loss,
    loss,
    module,
    module_state,
    multihead,
    norm,
    padding,
    parameter,
    pooling,
    recurrent,
    shape,
    sizes,
    transformer,
)
from lazygrad.nn.functional import linear_loss as options_of_linear_loss

# each path of PyTorch's, and the files that hold its names
_PATHS: dict[str, tuple[ModuleType, ...]] = {
    "activation": (activation, multihead),
    "adaptive": (adaptive,),
    "batchnorm": (norm, lazy),
    "channelshuffle": (shape,),
    "container": (containers,),
    "conv": (conv, lazy),
    "distance": (shape,),
    "dropout": (dropout,),
    "flatten": (shape,),
    "fold": (shape,),
    "instancenorm": (norm, lazy),
    "lazy": (lazy,),
    "linear": (linear, lazy),
    "linear_cross_entropy_options": (options_of_linear_loss,),
    "loss": (loss, linear_loss),
    "module": (module, parameter, module_state),
    "normalization": (norm,),
    "padding": (padding,),
    "pixelshuffle": (shape,),
    "pooling": (pooling,),
    "rnn": (recurrent,),
    "sparse": (embedding,),
    "transformer": (transformer,),
    "upsampling": (shape,),
    "utils": (sizes,),
}


def _named(path: str, files: tuple[ModuleType, ...]) -> ModuleType:
    """A module with the names of some files."""
    made = ModuleType(f"{__name__}.{path}", files[0].__doc__)
    for file in files:
        vars(made).update({name: value for name, value in vars(file).items() if not name.startswith("__")})
    sys.modules[made.__name__] = made
    return made


globals().update({path: _named(path, files) for path, files in _PATHS.items()})
__all__ = sorted({name for name in nn.__all__ if isinstance(getattr(nn, name), type)})  # noqa: PLE0605
globals().update({name: getattr(nn, name) for name in __all__})


def __getattr__(name: str) -> Any:
    raise AttributeError(f"module 'lazygrad.nn.modules' has no attribute {name!r}")
