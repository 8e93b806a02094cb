"""`Module`: the base class of everything with parameters."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import lazygrad
from lazygrad.errors import ArgumentError, ArgumentTypeError, MissingError
from lazygrad.hooks import hook_table
from lazygrad.missing import check_type
from lazygrad.nn import module_hooks as hooks
from lazygrad.nn.module_backward import BackwardHooks
from lazygrad.nn.module_hooks import HookMethods
from lazygrad.nn.module_state import StateMethods
from lazygrad.nn.module_tree import TreeMethods
from lazygrad.nn.parameter import Buffer, Parameter
from lazygrad.tensors import Tensor
from lazygrad.tensors.guards import Guarded, explain
from lazygrad.tensors.signatures import INSIDE

_TABLES = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)


class Module(TreeMethods, StateMethods, HookMethods, Guarded):
    """Holds parameters, buffers and submodules under the names they are assigned to; subclasses define
    `forward`.

    Calling a module runs its hooks and its forward.
    """

    dump_patches: bool = False
    call_super_init: bool = False
    training: bool

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kind = type(self).__name__
        if not self.call_super_init and kwargs:
            raise ArgumentTypeError(
                f"[Module] {kind}.__init__() got an unexpected keyword argument '{next(iter(kwargs))}'"
            )
        if not self.call_super_init and args:
            raise ArgumentTypeError(
                f"[Module] {kind}.__init__() takes 1 positional argument but {len(args) + 1} were given"
            )
        # straight into __dict__: __setattr__ below looks these up
        state = self.__dict__
        state.update(
            training=True, _parameters={}, _buffers={}, _non_persistent_buffers_set=set(), _modules={}
        )
        for name in _TABLES:
            state[name] = hook_table()
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    def forward(self, *input: Any) -> Any:
        """Computes the module's output; every subclass defines it."""
        raise MissingError(f'Module [{type(self).__name__}] is missing the required "forward" function')

    # Registration

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that moves and is saved with the module; `persistent=False` keeps it out of the state
        dict."""
        self._check_new_name("buffer", name, self._buffers if "_buffers" in self.__dict__ else None)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise ArgumentTypeError(f"[Module] cannot assign '{_typename(tensor)}' object to buffer '{name}' "
                                    "(torch Tensor or None required)")
        for hook in hooks.global_buffer_registration_hooks.values():
            result = hook(self, name, tensor)
            tensor = tensor if result is None else result
        self._buffers[name] = tensor
        (self._non_persistent_buffers_set.discard if persistent else self._non_persistent_buffers_set.add)(
            name
        )

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter; None keeps the name without a tensor."""
        self._check_new_name("parameter", name, self._parameters if "_parameters" in self.__dict__ else None)
        if param is not None and not isinstance(param, Parameter):
            raise ArgumentTypeError(f"[Module] cannot assign '{_typename(param)}' object to parameter "
                                    f"'{name}' "
                                    "(torch.nn.Parameter or None required)")
        if param is not None and not param.is_leaf:
            raise ArgumentError(
                f"[Module] Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be "
                f"created explicitly. To express '{name}' as a function of another Tensor, compute "
                "the value in the forward() method."
            )
        if param is not None:
            for hook in hooks.global_parameter_registration_hooks.values():
                result = hook(self, name, param)
                param = param if result is None else result
        self._parameters[name] = param

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a submodule; None keeps the name without a module."""
        if module is not None and not isinstance(module, Module):
            raise ArgumentTypeError(f"[Module] {_typename(module)} is not a Module subclass")
        if isinstance(name, str) and "." in name:
            raise KeyError(f'module name can\'t contain ".", got: {name}')
        self._check_new_name("module", name, self._modules)
        self._put_module(name, module)

    def _put_module(self, name: str, module: Module | None) -> None:
        for hook in hooks.global_module_registration_hooks.values():
            result = hook(self, name, module)
            module = module if result is None else result
        self._modules[name] = module

    def register_module(self, name: str, module: Module | None) -> None:
        """The same as add_module."""
        self.add_module(name, module)

    def _check_new_name(self, kind: str, name: str, table: dict[str, Any] | None) -> None:
        if table is None:
            raise AttributeError(f"cannot assign {kind} before Module.__init__() call")
        if not isinstance(name, str):
            raise ArgumentTypeError(f"[Module] {kind} name should be a string. Got {_typename(name)}")
        if "." in name:
            raise KeyError(f'{kind} name can\'t contain "."')
        if name == "":
            raise KeyError(f'{kind} name can\'t be empty string ""')
        if hasattr(self, name) and name not in table:
            raise KeyError(f"attribute '{name}' already exists")

    # Attributes

    def __getattr__(self, name: str) -> Any:
        # only reached for names that are not plain attributes
        for table in ("_parameters", "_buffers", "_modules"):
            entries = self.__dict__.get(table)
            if entries is not None and name in entries:
                return entries[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        state = self.__dict__
        params, modules, buffers = state.get("_parameters"), state.get("_modules"), state.get("_buffers")
        if isinstance(value, Parameter):
            if params is None:
                raise AttributeError("cannot assign parameters before Module.__init__() call")
            self._forget(name, state, buffers, modules)
            self.register_parameter(name, value)
        elif params is not None and name in params:
            if value is not None:
                raise ArgumentTypeError(f"[Module] cannot assign '{_typename(value)}' as parameter '{name}' "
                                        "(torch.nn.Parameter or None expected)")
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            if modules is None:
                raise AttributeError("cannot assign module before Module.__init__() call")
            self._forget(name, state, params, buffers)
            self._put_module(name, value)  # a method may have this name: the method is what is found
        elif modules is not None and name in modules:
            if value is not None:
                raise ArgumentTypeError(f"[Module] cannot assign '{_typename(value)}' as child module "
                                        f"'{name}' "
                                        "(torch.nn.Module or None expected)")
            self._put_module(name, value)
        elif isinstance(value, Tensor) and (
            isinstance(value, Buffer) or (buffers is not None and name in buffers)
        ):
            if buffers is None:
                raise AttributeError("cannot assign buffer before Module.__init__() call")
            known = name in buffers
            persistent = name not in self._non_persistent_buffers_set if known else value.persistent
            self._forget(name, state, params, modules)
            self.register_buffer(name, value, persistent)
        elif buffers is not None and name in buffers:
            if value is not None:
                raise ArgumentTypeError(f"[Module] cannot assign '{_typename(value)}' as buffer '{name}' "
                                        "(torch.nn.Buffer, torch.Tensor or None expected)")
            buffers[name] = None
        else:
            super().__setattr__(name, value)

    def _forget(self, name: str, *tables: dict[str, Any] | None) -> None:
        for table in tables:
            if table is not None:
                table.pop(name, None)
        self._non_persistent_buffers_set.discard(name)

    def __delattr__(self, name: str) -> None:
        for table in (self._parameters, self._buffers, self._modules):
            if name in table:
                del table[name]
                self._non_persistent_buffers_set.discard(name)
                return
        super().__delattr__(name)

    def __dir__(self) -> list[str]:
        names = {*dir(type(self)), *self.__dict__, *self._parameters, *self._modules, *self._buffers}
        return sorted(name for name in names if not name[:1].isdigit())

    # Changes to the whole tree

    def apply(self, fn: Callable[[Module], Any]) -> Any:
        """Call `fn` on every module below, then on this one; returns self."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Replace the data of every parameter, gradient and buffer by `fn` of it; parameters stay the same
        objects."""
        if recurse:
            for module in self.children():
                module._apply(fn)
        with lazygrad.no_grad():
            for param in self._parameters.values():
                if param is None:
                    continue
                grad = param.grad
                param.data = fn(param.data)
                if grad is not None:
                    param.grad = fn(grad)
            for name, buffer in self._buffers.items():
                if buffer is not None:
                    self._buffers[name] = fn(buffer)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """Move to a device and/or a floating dtype: `to(device)`, `to(dtype)`, `to(device, dtype)`,
        `to(tensor)`.

        Only floating-point parameters and buffers change dtype. Works in place and returns self.
        """
        device, dtype = parse_to(args, kwargs)
        check_type("Module.to", dtype)
        if dtype is not None and not dtype.is_floating_point:
            raise ArgumentTypeError("[Module] nn.Module.to only accepts floating point or complex dtypes, "
                                    f"but got desired dtype={dtype}")

        def convert(x: Tensor) -> Tensor:
            x = x if device is None else x.to(device)
            return x if dtype is None or not x.is_floating_point() else x.to(dtype)

        return self._apply(convert)

    def type(self, dst_type: Any) -> Any:
        """Cast all parameters and buffers to a dtype."""
        return self._apply(lambda x: x.type(dst_type))

    def _cast_floats(self, dtype: Any) -> Any:
        return self._apply(lambda x: x.to(dtype) if x.is_floating_point() else x)

    def float(self) -> Any:
        """Cast floating-point parameters and buffers to float32."""
        return self._cast_floats(lazygrad.float32)

    def double(self) -> Any:
        """Cast floating-point parameters and buffers to float64."""
        return self._cast_floats(lazygrad.float64)

    def half(self) -> Any:
        """Cast floating-point parameters and buffers to float16."""
        return self._cast_floats(lazygrad.float16)

    def bfloat16(self) -> Any:
        """Cast floating-point parameters and buffers to bfloat16."""
        return self._cast_floats(lazygrad.bfloat16)

    def cpu(self) -> Any:
        """Move to the CPU."""
        return self._apply(lambda x: x.cpu())

    def cuda(self, device: Any = None) -> Any:
        """Move to an OpenCL device, which is what "cuda" means here. Raises DeviceError without one."""
        return self._apply(lambda x: x.cuda(device))

    def xpu(self, device: Any = None) -> Any:
        """Raises DeviceError: there is no such device here."""
        return self._apply(lambda x: x.xpu(device))

    ipu = mtia = xpu

    def to_empty(self, *, device: Any, recurse: bool = True) -> Any:
        """Move to a device without copying the values."""
        return self._apply(lambda x: lazygrad.empty_like(x, device=device), recurse)

    def train(self, mode: bool = True) -> Any:
        """Set training mode (dropout acts, batch norm uses the batch) here and below; returns self."""
        if not isinstance(mode, bool):
            raise ArgumentError("[Module] training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self) -> Any:
        """train(False)."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        """Set requires_grad of all parameters; returns self."""
        for param in self.parameters():
            param.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or set them to zero."""
        for param in self.parameters():
            if param.grad is not None:
                param.grad = None if set_to_none else lazygrad.zeros_like(param.grad)

    def share_memory(self) -> Any:
        """Move parameters and buffers into memory that processes forked from this one share."""
        for x in (*self.parameters(), *self.buffers()):
            x.share_memory_()
        return self

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Accepted; everything is compiled already."""

    # Calls

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            if not (
                self._forward_hooks
                or self._forward_pre_hooks
                or self._backward_hooks
                or self._backward_pre_hooks
                or hooks.global_forward_hooks
                or hooks.global_forward_pre_hooks
                or hooks.global_backward_hooks
                or hooks.global_backward_pre_hooks
            ):
                return self.forward(*args, **kwargs)
            return self._call_with_hooks(args, kwargs)
        except INSIDE as problem:
            error = explain(problem, type(self).forward, (self, *args), kwargs)
            if error is problem:
                raise
            raise error from problem

    _call_impl = _wrapped_call_impl = __call__
    _compiled_call_impl = None  # what programs of PyTorch's ask for

    def _call_with_hooks(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        called: set[int] = set()
        result = None
        try:
            args, kwargs = self._run_pre_hooks(args, kwargs)
            backward = self._backward_watch()
            args = args if backward is None else backward.watch_inputs(args)
            result = self.forward(*args, **kwargs)
            for key, call in self._forward_hook_calls():
                called.add(key)
                replaced = call(args, kwargs, result)
                result = result if replaced is None else replaced
            return result if backward is None else backward.watch_outputs(result)
        except Exception:
            always = (hooks.global_forward_hooks_always_called, self._forward_hooks_always_called)
            for key, call in self._forward_hook_calls():
                if key in called or not any(key in table for table in always):
                    continue
                try:
                    replaced = call(args, kwargs, result)
                    result = result if replaced is None else replaced
                except Exception as error:
                    warnings.warn(
                        "module forward hook with ``always_call=True`` raised an exception "
                        f"that was silenced as another error was raised in forward: {error}",
                        stacklevel=2,
                    )
            raise

    def _run_pre_hooks(self, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        for key, hook in (*hooks.global_forward_pre_hooks.items(), *self._forward_pre_hooks.items()):
            if key in self._forward_pre_hooks_with_kwargs:
                result = hook(self, args, kwargs)
                if result is None:
                    continue
                if not (isinstance(result, tuple) and len(result) == 2):
                    raise ArgumentError(
                        "[Module] forward pre-hook must return None or a tuple of (new_args, new_kwargs), "
                        f"but got {result}."
                    )
                args, kwargs = result
            else:
                result = hook(self, args)
                if result is not None:
                    args = result if isinstance(result, tuple) else (result,)
        return args, kwargs

    # PyTorch's names, which loops that call forward themselves ask

    def _slow_forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    def _get_backward_hooks(self) -> tuple[list[Callable], list[Callable]]:
        return [*hooks.global_backward_hooks.values(), *self._backward_hooks.values()], []

    def _get_backward_pre_hooks(self) -> list[Callable]:
        return [*hooks.global_backward_pre_hooks.values(), *self._backward_pre_hooks.values()]

    def _backward_watch(self) -> BackwardHooks | None:
        """What watches this call's gradients; None without backward hooks."""
        after = (*hooks.global_backward_hooks.values(), *self._backward_hooks.values())
        before = (*hooks.global_backward_pre_hooks.values(), *self._backward_pre_hooks.values())
        return BackwardHooks(self, after, before) if after or before else None

    def _forward_hook_calls(self) -> Iterator[tuple[int, Callable]]:
        """(id, function of args, kwargs and output) of each forward hook in order."""
        with_kwargs = (*hooks.global_forward_hooks_with_kwargs, *self._forward_hooks_with_kwargs)
        for key, hook in (*hooks.global_forward_hooks.items(), *self._forward_hooks.items()):
            if key in with_kwargs:
                yield key, lambda args, kwargs, result, hook=hook: hook(self, args, kwargs, result)
            else:
                yield key, lambda args, kwargs, result, hook=hook: hook(self, args, result)

    # Copies and printing

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__.copy()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for name in _TABLES:
            self.__dict__.setdefault(name, hook_table())

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """What repr prints between the parentheses of this module; subclasses override it."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        below = [f"({name}): {_indented(repr(module))}" for name, module in self._modules.items()]
        body = lines + below
        if len(lines) == 1 and not below:
            return f"{self._get_name()}({lines[0]})"
        return f"{self._get_name()}(" + ("\n  " + "\n  ".join(body) + "\n" if body else "") + ")"


def _indented(text: str) -> str:
    first, *rest = text.split("\n")
    return "\n".join([first, *("  " + line for line in rest)])


def _typename(value: object) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


_SETTINGS_OF_TO = frozenset(("device", "dtype", "tensor", "non_blocking", "copy", "memory_format"))


def parse_to(args: tuple, kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """(device, dtype) of a call of `to`, each None where it is not given. Raises ArgumentTypeError for names
    that it does not take."""
    if unknown := kwargs.keys() - _SETTINGS_OF_TO:
        raise ArgumentTypeError(f"[to] to() got unexpected keyword arguments: {', '.join(sorted(unknown))}")
    if len(args) > 4:
        raise ArgumentTypeError(f"[to] to() takes at most 4 positional arguments, but got {len(args)}")
    device, dtype = kwargs.get("device"), kwargs.get("dtype")
    values = (*args, kwargs["tensor"]) if "tensor" in kwargs else args
    for value in values:
        if isinstance(value, Tensor):
            device, dtype = value.device, value.dtype
        elif hasattr(value, "is_floating_point"):
            dtype = value
        elif value is not None and not isinstance(value, bool):
            device = value
    return device, dtype
