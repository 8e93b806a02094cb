"""The part of Module that saves and loads: `state_dict` and `load_state_dict`."""

from __future__ import annotations

import warnings
from collections import OrderedDict, namedtuple
from collections.abc import Mapping
from typing import Any

import lazygrad
from lazygrad.errors import ArgumentError, ArgumentTypeError, MissingError
from lazygrad.hooks import HookTable
from lazygrad.nn.parameter import Parameter
from lazygrad.tensors import Tensor
from lazygrad.tensors.guards import Guarded

_EXTRA_STATE = "_extra_state"


class _IncompatibleKeys(namedtuple("_IncompatibleKeys", ["missing_keys", "unexpected_keys"])):
    __slots__ = ()

    def __repr__(self) -> str:
        return (
            super().__repr__()
            if self.missing_keys or self.unexpected_keys
            else "<All keys matched successfully>"
        )

    __str__ = __repr__


def _quoted(keys: list[str]) -> str:
    return ", ".join(f'"{key}"' for key in keys)


class StateMethods(Guarded):
    """Saving and loading parameters, persistent buffers and extra state by their dotted names."""

    _guarded: tuple[str, ...] = ("load_state_dict", "state_dict")
    _version: int = 1
    _parameters: dict[str, Any]
    _buffers: dict[str, Any]
    _modules: dict[str, Any]
    _non_persistent_buffers_set: set[str]
    _state_dict_hooks: HookTable
    _state_dict_pre_hooks: HookTable
    _load_state_dict_pre_hooks: HookTable
    _load_state_dict_post_hooks: HookTable

    def get_extra_state(self) -> Any:
        """What state_dict stores beside tensors; overridden together with set_extra_state."""
        raise MissingError(f"[state_dict] {type(self).__name__} has no extra state: override get_extra_state")

    def set_extra_state(self, state: Any) -> None:
        """Take back what get_extra_state returned; overridden together with it."""
        raise MissingError(f"[state_dict] {type(self).__name__} has no extra state: override set_extra_state")

    def _has_own(self, method: str) -> bool:
        return getattr(type(self), method) is not getattr(StateMethods, method)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        persistent = {k: v for k, v in self._buffers.items() if k not in self._non_persistent_buffers_set}
        for name, value in (*self._parameters.items(), *persistent.items()):
            if value is not None:
                destination[prefix + name] = value if keep_vars else value.detach()
        if self._has_own("get_extra_state"):
            destination[prefix + _EXTRA_STATE] = self.get_extra_state()

    def state_dict(
        self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False
    ) -> Any:
        """All parameters and persistent buffers by dotted name, in an OrderedDict.

        The tensors share storage with the module and are detached, unless `keep_vars`.
        """
        # the positional form state_dict(destination, prefix, keep_vars) is old but still met
        given = (*args, *(destination, prefix, keep_vars)[len(args):])
        destination, prefix, keep_vars = given
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()
        local_metadata = {"version": self._version}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = local_metadata
        for hook in self._state_dict_pre_hooks.values():
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(destination=destination, prefix=prefix + name + ".", keep_vars=keep_vars)
        for hook in self._state_dict_hooks.values():
            result = hook(self, destination, prefix, local_metadata)
            if getattr(hook, "_from_public_api", False):
                if result is not None:
                    raise ArgumentError("[state_dict] state_dict post-hook must return None")
            elif result is not None:
                destination = result
        return destination

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Take this module's own entries (not its children's) out of `state_dict`; problems go into the
        lists."""
        for hook in self._load_state_dict_pre_hooks.values():
            hook(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        persistent = {k: v for k, v in self._buffers.items() if k not in self._non_persistent_buffers_set}
        local = {k: v for k, v in (*self._parameters.items(), *persistent.items()) if v is not None}
        assign = local_metadata.get("assign_to_params_buffers", False)
        for name, target in local.items():
            key = prefix + name
            if key in state_dict:
                self._load_one(name, key, target, state_dict[key], assign, error_msgs)
            elif strict:
                missing_keys.append(key)
        extra = prefix + _EXTRA_STATE
        if self._has_own("set_extra_state"):
            if extra in state_dict:
                self.set_extra_state(state_dict[extra])
            elif strict:
                missing_keys.append(extra)
        elif strict and extra in state_dict:
            unexpected_keys.append(extra)
        if strict:
            known = {*self._modules, *local}
            for key in state_dict:
                if key.startswith(prefix) and key != extra:
                    first, dot, _ = key[len(prefix):].partition(".")
                    if first not in (self._modules if dot else local) or first not in known:
                        unexpected_keys.append(key)

    def _load_one(
        self, name: str, key: str, target: Any, value: Any, assign: bool, error_msgs: list[str]
    ) -> None:
        if not isinstance(value, Tensor):
            error_msgs.append(
                f'While copying the parameter named "{key}", expected torch.Tensor or Tensor-like object '
                f"from checkpoint but received {type(value)}"
            )
            return
        if target.ndim == 0 and tuple(value.shape) == (1,):
            value = value[0]  # files older than 0-d tensors
        if value.shape != target.shape:
            error_msgs.append(
                f"size mismatch for {key}: copying a param with shape {value.shape} from checkpoint, "
                f"the shape in current model is {target.shape}."
            )
            return
        if target.is_meta and not value.is_meta and not assign:
            warnings.warn(
                f"for {key}: copying from a non-meta parameter in the checkpoint to a meta parameter in "
                "the current model, which is a no-op. (Did you mean to pass `assign=True` to assign items in "
                "the state dictionary to their corresponding key in the module instead of copying them in "
                "place?)",
                stacklevel=2,
            )
        try:
            with lazygrad.no_grad():
                if not assign:
                    target.copy_(value)
                elif isinstance(target, Parameter) and not isinstance(value, Parameter):
                    setattr(self, name, Parameter(value, requires_grad=target.requires_grad))
                else:
                    setattr(self, name, value.requires_grad_(target.requires_grad))
        except Exception as error:
            error_msgs.append(f'While copying the parameter named "{key}", whose dimensions in the model are '
                              f"{target.size()} and whose dimensions in the checkpoint are {value.size()}, "
                              f"an exception occurred : {error.args}.")

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> _IncompatibleKeys:
        """Copy a state dict into the parameters and buffers (`assign`: take its tensors instead of copying).

        Returns (missing_keys, unexpected_keys). With `strict`, either kind raises a RuntimeError that names
        them, and a tensor of another shape always does.
        """
        if not isinstance(state_dict, Mapping):
            raise ArgumentTypeError(f"[load_state_dict] Expected state_dict to be dict-like, got "
                                    f"{type(state_dict)}.")
        metadata = getattr(state_dict, "_metadata", None)
        # a copy, since _load_from_state_dict of old modules renames keys in it
        copied: Any = OrderedDict(state_dict)
        if metadata is not None:
            copied._metadata = metadata
        missing: list[str] = []
        unexpected: list[str] = []
        errors: list[str] = []
        self._load_tree(copied, "", metadata, assign, (missing, unexpected, errors))
        if strict and unexpected:
            errors.insert(0, f"Unexpected key(s) in state_dict: {_quoted(unexpected)}. ")
        if strict and missing:
            errors.insert(0, f"Missing key(s) in state_dict: {_quoted(missing)}. ")
        if errors:
            raise ArgumentError("Error(s) in loading state_dict for {}:\n\t{}".format(type(self).__name__,
                                                                                  "\n\t".join(errors)))
        return _IncompatibleKeys(missing, unexpected)

    def _load_tree(self, state_dict: Any, prefix: str, metadata: Any, assign: bool,
                   found: tuple[list[str], list[str], list[str]]) -> None:
        local_metadata = {} if metadata is None else metadata.get(prefix[:-1], {})
        if assign:
            local_metadata["assign_to_params_buffers"] = assign
        self._load_from_state_dict(state_dict, prefix, local_metadata, True, *found)
        for name, child in self._modules.items():
            if child is not None:
                inner = prefix + name + "."
                own = OrderedDict((k, v) for k, v in state_dict.items() if k.startswith(inner))
                child._load_tree(own, inner, metadata, assign, found)
        for hook in self._load_state_dict_post_hooks.values():
            assert hook(self, _IncompatibleKeys(found[0], found[1])) is None, \
                "a load_state_dict post hook changes the lists of incompatible keys in place and returns None"
