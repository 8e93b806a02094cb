"""What programs seldom ask of a tensor: what it is, its subclass, its hooks."""

from __future__ import annotations

from typing import Any

from lazygrad.errors import ArgumentTypeError
from lazygrad.tensors.core import Tensor, creator, function, method
from lazygrad.tensors.movement import as_strided


@creator("is_nonzero")
def is_nonzero(input: Tensor) -> bool:
    """Whether a tensor of one element is not 0. Realizes."""
    return bool(input)


@function("is_inference")
def is_inference(input: Tensor) -> bool:
    """False: a tensor made in inference mode is a tensor like others."""
    return False


@method("_is_view")
def _is_view(x: Tensor) -> bool:
    """Whether the tensor was made as a view of another one."""
    return x._base is not None


@method("_is_all_true")
def _is_all_true(x: Tensor) -> Tensor:
    """Whether all elements are True."""
    return x.all()


@method("_is_any_true")
def _is_any_true(x: Tensor) -> Tensor:
    """Whether any element is True."""
    return x.any()


@method("as_subclass")
def as_subclass(x: Tensor, cls: type) -> Any:
    """The same storage and history under a subclass of Tensor."""
    if not (isinstance(cls, type) and issubclass(cls, Tensor)):
        raise ArgumentTypeError(f"[as_subclass] expected a subclass of Tensor, not {cls!r}")
    made = x.view(tuple(x._shape)) if x.is_contiguous() else as_strided(x, x._shape, x.stride())
    made.__class__ = cls
    return made


@method("record_stream")
def record_stream(x: Tensor, stream: Any) -> None:
    """Accepted: memory is freed when nothing reads it any more."""


@method("module_load")
def module_load(x: Tensor, other: Tensor, assign: bool = False) -> Tensor:
    """What load_state_dict puts in place of this tensor: the other one's values, or itself."""
    return other.detach() if assign else x.detach().copy_(other)


@method("__reversed__")
def _reversed(x: Tensor) -> Tensor:
    """The elements in reverse order along the first dimension."""
    return x.flip(0) if x.ndim else x


@method("xpu", "mtia", "ipu")
def _missing_device(x: Tensor, device: Any = None, *args: Any, **options: Any) -> Tensor:
    """Raises DeviceError: there are no such devices here."""
    return x.to("xpu" if device is None else device)


def _torch_function(cls: type, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
    """What subclasses that override it call: the function itself, which nothing overrides here."""
    return func(*args, **(kwargs or {}))


for _name, _value in {
    "__torch_function__": classmethod(_torch_function),
    "_backward_hooks": property(lambda x: x._hooks, doc="The hooks of a leaf's gradient."),
    "grad_dtype": property(lambda x: x._dtype, doc="The type of the gradient: the tensor's own."),
}.items():
    setattr(Tensor, _name, _value)
