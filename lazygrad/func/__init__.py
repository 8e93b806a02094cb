"""Functions that transform functions, under the names of torch.func: each takes a function of tensors and
returns another. They nest in any order, and touch no `.grad`."""

from collections.abc import Callable
from typing import Any

from lazygrad.func.derivatives import (
    grad,
    grad_and_value,
    hessian,
    jacfwd,
    jacobian,
    jacrev,
    jvp,
    linearize,
    value_and_grad,
    vjp,
)
from lazygrad.func.modules import functional_call, replace_all_batch_norm_modules_, stack_module_state
from lazygrad.func.vectorized import vmap


def functionalize(func: Callable[..., Any], *, remove: str = "mutations") -> Callable[..., Any]:
    """func itself: writes in place are no part of lazygrad's graphs."""
    return func


__all__ = [
    "functional_call",
    "functionalize",
    "replace_all_batch_norm_modules_",
    "grad",
    "grad_and_value",
    "hessian",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jvp",
    "linearize",
    "stack_module_state",
    "value_and_grad",
    "vjp",
    "vmap",
]
