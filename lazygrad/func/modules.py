"""Modules as functions of their parameters."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import lazygrad
from lazygrad.errors import ArgumentError, ArgumentTypeError, NoSuchKeyError
from lazygrad.nn.module import Module
from lazygrad.nn.norm import _BatchNorm
from lazygrad.tensors import Tensor


def replace_all_batch_norm_modules_(root: Module) -> Module:
    """Let batch norms keep no running statistics, which writes inside vmap could not change. In place."""
    for module in root.modules():
        if isinstance(module, _BatchNorm):
            module.running_mean = module.running_var = module.num_batches_tracked = None
            module.track_running_stats = False
    return root


def _check_replacement(module: Module, name: str, value: Any, is_known: bool) -> None:
    """Raises ArgumentTypeError where something else than a tensor would take a tensor's place, or a tensor
    that of a module."""
    path, _, key = name.rpartition(".")
    if not key:
        raise NoSuchKeyError('[functional_call] tensor name can\'t be empty string ""')
    owner = module.get_submodule(path)
    if not is_known and not isinstance(getattr(owner, key, value), Tensor | None):
        raise ArgumentTypeError(f"[functional_call] attribute `{key}`: {getattr(owner, key)} is not an "
                                "instance of torch.Tensor")
    if value is not None and not isinstance(value, Tensor):
        raise ArgumentTypeError(f"[functional_call] {value} is not an instance of torch.Tensor")


@contextlib.contextmanager
def _replaced(module: Module, values: Mapping[str, Tensor], tie_weights: bool, strict: bool
              ) -> Iterator[None]:
    """Let parameters and buffers of a module be other tensors for a while."""
    own: dict[str, Any] = {**dict(module.named_parameters(remove_duplicate=False)),
                           **dict(module.named_buffers(remove_duplicate=False))}
    for name, value in values.items():
        _check_replacement(module, name, value, name in own)
    unexpected, missing = [k for k in values if k not in own], [k for k in own if k not in values]
    wanted = dict(values)
    if tie_weights:
        by_tensor: dict[int, list[str]] = {}
        for name, tensor in own.items():
            by_tensor.setdefault(id(tensor), []).append(name)
        for names in by_tensor.values():
            given = {id(values[n]): values[n] for n in names if n in values}
            if len(given) > 1:
                raise ArgumentError(f"[functional_call] got several different values for {names}, which are "
                                    "tied: give one, or tie_weights=False")
            for value in given.values():
                wanted.update(dict.fromkeys(names, value))
                missing = [n for n in missing if n not in names]
    if strict and (unexpected or missing):
        raise ArgumentError(f"[functional_call] strict=True: unexpected keys {unexpected}, missing keys "
                            f"{missing}")
    swapped: list[tuple[dict[str, Any], str, Any]] = []
    try:
        for name, value in wanted.items():
            path, _, key = name.rpartition(".")
            owner = module.get_submodule(path) if name in own else module
            for table in (owner._parameters, owner._buffers):
                if key in table:
                    swapped.append((table, key, table[key]))
                    table[key] = value
        yield
    finally:
        for table, key, before in reversed(swapped):
            table[key] = before


def functional_call(module: Module, parameter_and_buffer_dicts: Any, args: Any = None,
                    kwargs: Mapping[str, Any] | None = None, *, tie_weights: bool = True,
                    strict: bool = False) -> Any:
    """module(*args, **kwargs) with the tensors of a dict (or of several) in place of its own parameters and
    buffers of these dotted names. Names that the module shares get the same tensor unless `tie_weights` is
    False; `strict`: exactly the module's names must be given."""
    if isinstance(parameter_and_buffer_dicts, Mapping):
        values = dict(parameter_and_buffer_dicts)
    else:
        values = {}
        for part in parameter_and_buffer_dicts:
            if not isinstance(part, Mapping):
                raise ArgumentError("[functional_call] Expected all elements of parameter_and_buffer_dicts "
                                    f"to be dictionaries, got {type(part).__name__}")
            twice = [k for k in part if k in values]
            if twice:
                raise ArgumentError(f"[functional_call] {twice} appear in more than one dictionary")
            values.update(part)
    given = () if args is None else args if isinstance(args, tuple) else (args,)
    with _replaced(module, values, tie_weights, strict):
        return module(*given, **dict(kwargs or {}))


def stack_module_state(models: Sequence[Module]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(parameters, buffers) of models of one architecture, each stacked along a new first dimension, for vmap
    over functional_call."""
    if not models:
        raise ArgumentError("[stack_module_state] Expected at least one model, got 0.")
    if len({type(m) for m in models}) > 1:
        raise ArgumentError("[stack_module_state] Expected all models to be of the same class.")
    if len({m.training for m in models}) > 1:
        raise ArgumentError("[stack_module_state] Expected all models to be in the same training/eval mode.")

    def stacked(tables: list[dict[str, Tensor]], requires_grad: bool) -> dict[str, Tensor]:
        made = {}
        for name, first in tables[0].items():
            value = lazygrad.stack([table[name].detach() for table in tables])
            made[name] = value.requires_grad_(requires_grad and first.requires_grad)
        return made

    parameters = stacked([dict(m.named_parameters()) for m in models], True)
    return parameters, stacked([dict(m.named_buffers()) for m in models], False)
