"""Hooks of modules: those of all modules, and registration on one module."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from lazygrad.errors import GradientError
from lazygrad.hooks import HookTable, RemovableHandle, hook_table, register

global_forward_pre_hooks = hook_table()
global_forward_hooks = hook_table()
global_forward_hooks_always_called = hook_table()
global_forward_hooks_with_kwargs = hook_table()
global_backward_pre_hooks = hook_table()
global_backward_hooks = hook_table()
global_buffer_registration_hooks = hook_table()
global_module_registration_hooks = hook_table()
global_parameter_registration_hooks = hook_table()


def register_module_forward_pre_hook(hook: Callable) -> RemovableHandle:
    """Run `hook(module, args)` before the forward of every module."""
    return register(global_forward_pre_hooks, hook)


def register_module_forward_hook(hook: Callable, *, with_kwargs: bool = False, always_call: bool = False
                                 ) -> RemovableHandle:
    """Run `hook(module, args, output)` after the forward of every module."""
    return register(global_forward_hooks, hook, flags=((global_forward_hooks_with_kwargs, with_kwargs),
                                                       (global_forward_hooks_always_called, always_call)))


def register_module_full_backward_pre_hook(hook: Callable) -> RemovableHandle:
    """Run `hook(module, grad_output)` when gradients arrive at the output of any module."""
    return register(global_backward_pre_hooks, hook)


def register_module_full_backward_hook(hook: Callable) -> RemovableHandle:
    """Run `hook(module, grad_input, grad_output)` when gradients of any module's inputs are known."""
    return register(global_backward_hooks, hook)


def register_module_buffer_registration_hook(hook: Callable) -> RemovableHandle:
    """Run `hook(module, name, buffer)` when any buffer is registered; it may return another buffer."""
    return register(global_buffer_registration_hooks, hook)


def register_module_module_registration_hook(hook: Callable) -> RemovableHandle:
    """Run `hook(module, name, submodule)` when any submodule is registered; it may return another module."""
    return register(global_module_registration_hooks, hook)


def register_module_parameter_registration_hook(hook: Callable) -> RemovableHandle:
    """Run `hook(module, name, param)` when any parameter is registered; it may return another parameter."""
    return register(global_parameter_registration_hooks, hook)


class HookMethods:
    """The part of Module that registers hooks; each method returns a RemovableHandle."""

    _forward_hooks: HookTable
    _forward_hooks_with_kwargs: HookTable
    _forward_hooks_always_called: HookTable
    _forward_pre_hooks: HookTable
    _forward_pre_hooks_with_kwargs: HookTable
    _backward_hooks: HookTable
    _backward_pre_hooks: HookTable
    _state_dict_hooks: HookTable
    _state_dict_pre_hooks: HookTable
    _load_state_dict_pre_hooks: HookTable
    _load_state_dict_post_hooks: HookTable
    _is_full_backward_hook: bool | None = None  # which of the two names took backward hooks

    def register_forward_pre_hook(self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False
                                  ) -> RemovableHandle:
        """Run `hook(module, args)` before forward; it may return new arguments.

        With `with_kwargs`, the hook is called as `hook(module, args, kwargs)` and may return (args, kwargs).
        """
        flags = ((self._forward_pre_hooks_with_kwargs, with_kwargs),)
        return register(self._forward_pre_hooks, hook, prepend, flags)

    def register_forward_hook(self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False,
                              always_call: bool = False) -> RemovableHandle:
        """Run `hook(module, args, output)` after forward; what it returns replaces the output.

        With `with_kwargs`, it is called as `hook(module, args, kwargs, output)`; with `always_call`, also
        when forward raises.
        """
        flags = ((self._forward_hooks_with_kwargs, with_kwargs),
                 (self._forward_hooks_always_called, always_call))
        return register(self._forward_hooks, hook, prepend, flags)

    def register_full_backward_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Run `hook(module, grad_output)` when the output's gradients are known; it may return other ones."""
        return register(self._backward_pre_hooks, hook, prepend)

    def register_full_backward_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Run `hook(module, grad_input, grad_output)`; what it returns replaces grad_input."""
        return self._add_backward_hook(hook, prepend, True)

    def register_backward_hook(self, hook: Callable) -> RemovableHandle:
        """The same as register_full_backward_hook, under PyTorch's older name; a module takes hooks by one of
        the two."""
        return self._add_backward_hook(hook, False, False)

    def _add_backward_hook(self, hook: Callable, prepend: bool, full: bool) -> RemovableHandle:
        if self._is_full_backward_hook is not None and self._is_full_backward_hook != full:
            raise GradientError(
                "[Module] Cannot use both regular backward hooks and full backward hooks on a single Module. "
                "Please use only one of them."
            )
        self._is_full_backward_hook = full
        return register(self._backward_hooks, hook, prepend)

    def register_state_dict_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Run `hook(module, prefix, keep_vars)` before state_dict collects."""
        return register(self._state_dict_pre_hooks, hook)

    def register_state_dict_post_hook(self, hook: Callable) -> RemovableHandle:
        """Run `hook(module, state_dict, prefix, local_metadata)` after state_dict; it changes the dict in
        place."""
        hook._from_public_api = True  # type: ignore[attr-defined]
        return register(self._state_dict_hooks, hook)

    def _register_state_dict_hook(self, hook: Callable) -> RemovableHandle:
        return register(self._state_dict_hooks, hook)

    def register_load_state_dict_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Run `hook(module, state_dict, prefix, local_metadata, strict, missing, unexpected, errors)` before
        loading."""
        return register(self._load_state_dict_pre_hooks, _WithModule(hook, self))

    def _register_load_state_dict_pre_hook(
        self, hook: Callable, with_module: bool = False
    ) -> RemovableHandle:
        return register(self._load_state_dict_pre_hooks, _WithModule(hook, self) if with_module else hook)

    def register_load_state_dict_post_hook(self, hook: Callable) -> RemovableHandle:
        """Run `hook(module, incompatible_keys)` after loading; it may change the two lists in place."""
        return register(self._load_state_dict_post_hooks, hook)


class _WithModule:
    """A hook that gets its module first, without keeping the module alive."""

    def __init__(self, hook: Callable, module: object) -> None:
        self.hook, self.module = hook, weakref.ref(module)

    def __call__(self, *args: Any) -> Any:
        return self.hook(self.module(), *args)

    def __getstate__(self) -> tuple:
        return self.hook, self.module()

    def __setstate__(self, state: tuple) -> None:
        self.hook, self.module = state[0], weakref.ref(state[1])
