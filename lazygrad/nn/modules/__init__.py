"""PyTorch's paths of modules, `lazygrad.nn.modules.conv` and the rest: other names of the files here."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from lazygrad import nn
from lazygrad.helpers import add_paths
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
    module_hooks,
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
    "module": (module, parameter, module_state, module_hooks),
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


add_paths(__name__, _PATHS)
__all__ = sorted({name for name in nn.__all__ if isinstance(getattr(nn, name), type)})  # noqa: PLE0605
globals().update({name: getattr(nn, name) for name in __all__})


def __getattr__(name: str) -> Any:
    raise AttributeError(f"module 'lazygrad.nn.modules' has no attribute {name!r}")
