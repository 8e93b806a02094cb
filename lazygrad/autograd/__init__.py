"""PyTorch's `autograd` namespace."""

from lazygrad.autograd.function import Function
from lazygrad.tensors.autograd import backward, grad
from lazygrad.tensors.core import Tensor
from lazygrad.tensors.modes import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled

Variable = Tensor

__all__ = [
    "Function",
    "Variable",
    "backward",
    "enable_grad",
    "grad",
    "inference_mode",
    "is_grad_enabled",
    "no_grad",
    "set_grad_enabled",
]
