"""What works on parameters and modules from outside, under the names of torch.nn.utils."""

import importlib
from typing import Any

from lazygrad.inert import names_of
from lazygrad.nn.utils import parametrizations, parametrize, rnn
from lazygrad.nn.utils.clip_grad import (
    clip_grad_norm,
    clip_grad_norm_,
    clip_grad_value_,
    clip_grads_with_norm_,
    get_total_norm,
)
from lazygrad.nn.utils.convert_parameters import parameters_to_vector, vector_to_parameters
from lazygrad.nn.utils.fusion import (
    fuse_conv_bn_eval,
    fuse_conv_bn_weights,
    fuse_linear_bn_eval,
    fuse_linear_bn_weights,
)
from lazygrad.nn.utils.init import skip_init
from lazygrad.nn.utils.memory_format import (
    convert_conv2d_weight_memory_format,
    convert_conv3d_weight_memory_format,
)
from lazygrad.nn.utils.spectral_norm import remove_spectral_norm, spectral_norm
from lazygrad.nn.utils.weight_norm import remove_weight_norm, weight_norm

__all__ = [
    "clip_grad_norm",
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "convert_conv2d_weight_memory_format",
    "convert_conv3d_weight_memory_format",
    "fuse_conv_bn_eval",
    "fuse_conv_bn_weights",
    "fuse_linear_bn_eval",
    "fuse_linear_bn_weights",
    "get_total_norm",
    "parameters_to_vector",
    "parametrizations",
    "parametrize",
    "remove_spectral_norm",
    "remove_weight_norm",
    "rnn",
    "skip_init",
    "spectral_norm",
    "vector_to_parameters",
    "weight_norm",
]


_inert = names_of(__name__)


def __getattr__(name: str) -> Any:
    if name == "stateless":  # which stands on `func`, and that on modules
        return importlib.import_module("lazygrad.nn.utils.stateless")
    return _inert(name)
