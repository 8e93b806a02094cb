"""PyTorch's `autograd` namespace."""

from lazygrad.autograd import function, functional, graph
from lazygrad.autograd.function import Function
from lazygrad.autograd.gradcheck import GradcheckError, gradcheck, gradgradcheck
from lazygrad.autograd.variable import Variable
from lazygrad.tensors.autograd import backward, grad
from lazygrad.tensors.modes import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled

__all__ = [
    "Function",
    "GradcheckError",
    "Variable",
    "backward",
    "enable_grad",
    "function",
    "functional",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "graph",
    "inference_mode",
    "is_grad_enabled",
    "no_grad",
    "set_grad_enabled",
]
