"""PyTorch's `library` namespace: operators of one's own, which are Python functions here."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

from lazygrad.autograd.function import Function
from lazygrad.errors import UnsupportedError
from lazygrad.inert.kinds import same

_operators: dict[str, CustomOpDef] = {}
_COMPUTING = ("CPU", "CUDA", "Composite")  # what keys of functions that compute values begin with


def _namespace(name: str) -> Any:
    """What `torch.ops.NAME` is: the operators of one namespace."""
    spaces = importlib.import_module("lazygrad.torch_ops")
    if not hasattr(spaces, name):
        setattr(spaces, name, SimpleNamespace())
    return getattr(spaces, name)


class CustomOpDef:
    """A function under a name, and its derivative if `register_autograd` has given one."""

    def __init__(self, name: str, function: Callable[..., Any]):
        self.name, self.function, self.signature = name, function, inspect.signature(function)
        self.derivative: type[Function] | None = None
        self.__doc__ = function.__doc__
        _operators[name] = self
        space, _, short = name.partition("::")
        setattr(_namespace(space), short, self)

    @property
    def default(self) -> CustomOpDef:
        """The only overload: the operator itself."""
        return self

    def __call__(self, *args: Any, **options: Any) -> Any:
        if self.derivative is None:
            return self.function(*args, **options)
        given = self.signature.bind(*args, **options)
        given.apply_defaults()
        return self.derivative.apply(*given.arguments.values())

    register_fake = register_kernel = register_vmap = register_torch_dispatch = staticmethod(same)

    def register_autograd(self, backward: Callable[..., Any], /, *, setup_context: Any = None) -> None:
        """Give the derivative, as an autograd.Function has it."""
        function = self.function
        methods: dict[str, Any] = {
            "forward": staticmethod(lambda *args: function(*args)),
            "backward": staticmethod(backward),
        }
        prepare = setup_context or (lambda ctx, inputs, output: None)
        methods["setup_context"] = staticmethod(lambda ctx, inputs, output: prepare(ctx, inputs, output))
        self.derivative = type(self.name.rpartition("::")[2], (Function,), methods)


def custom_op(
    name: str,
    fn: Any = None,
    /,
    *,
    mutates_args: Any = (),
    device_types: Any = None,
    schema: Any = None,
    **options: Any,
) -> Any:
    """A function as an operator: itself, with `register_autograd`. Also a decorator."""
    return CustomOpDef(name, fn) if fn is not None else lambda function: CustomOpDef(name, function)


triton_op = custom_op


def _known(name: Any) -> CustomOpDef:
    found = name if isinstance(name, CustomOpDef) else _operators.get(str(name))
    if found is None:
        raise UnsupportedError(
            f"[library] there is no operator {name!r} here: operators compiled for "
            "PyTorch cannot run; define it in Python by library.custom_op"
        )
    return found


def _is_written_here(operator: str) -> bool:
    """Whether an operator (`space::name`) is written here, derivative and all: its package adds nothing."""
    space, _, name = operator.partition("::")
    return isinstance(_namespace(space), ModuleType) and hasattr(_namespace(space), name)


def register_autograd(
    op: Any, backward: Callable[..., Any], /, *, setup_context: Any = None, lib: Any = None
) -> None:
    """Give an operator of `custom_op` its derivative; one that is written here has one. Raises
    UnsupportedError for another one."""
    if isinstance(op, CustomOpDef) or not _is_written_here(str(op)):
        _known(op).register_autograd(backward, setup_context=setup_context)


def register_fake(op: Any, func: Any = None, /, *, lib: Any = None, **options: Any) -> Any:
    """Accepted: shapes are known without a second function."""
    return same(func)


register_kernel = impl_abstract = register_vmap = register_fake


def define(qualname: str, schema: Any, **options: Any) -> None:
    """Accepted: the operator begins to exist with its Python function."""


def impl(qualname: Any, types: Any = "", func: Any = None, *, lib: Any = None) -> Any:
    """A function as an operator under a name."""
    return (
        CustomOpDef(qualname, func) if func is not None else lambda function: CustomOpDef(qualname, function)
    )


class Library:
    """A namespace of operators."""

    def __init__(self, ns: str, kind: str, dispatch_key: str = ""):
        self.ns, self.kind, self.dispatch_key = ns, kind, dispatch_key

    def define(self, schema: str, *args: Any, **options: Any) -> str:
        """The name in a schema."""
        return schema.split("(")[0]

    def impl(self, op_name: Any, fn: Any, dispatch_key: str = "", **options: Any) -> None:
        """A function as an operator of this namespace, where the dispatch key is of a device or of all; what
        is for other keys (Meta, AutocastCPU, AutogradCPU, ...) has nothing to do here."""
        key = dispatch_key or self.dispatch_key
        name = f"{self.ns}::{getattr(op_name, '_opname', op_name)}"
        if (not key or key.startswith(_COMPUTING)) and not _is_written_here(name):
            CustomOpDef(name, fn)

    def fallback(self, fn: Any, *args: Any, **options: Any) -> None:
        """Accepted."""
