"""Selective checkpointing: what a policy says of operations is accepted and changes nothing, since values are
those of vanilla checkpointing whatever is kept."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from enum import IntEnum
from typing import Any

from lazygrad.errors import ArgumentError, ArgumentTypeError
from lazygrad.tensors import Tensor


class CheckpointPolicy(IntEnum):
    """What a policy says of an operation: whether its result is kept."""

    MUST_SAVE = 0
    PREFER_SAVE = 1
    MUST_RECOMPUTE = 2
    PREFER_RECOMPUTE = 3
    MUST_CPU_OFFLOAD = 4
    PREFER_CPU_OFFLOAD = 5


class SelectiveCheckpointContext:
    """What a policy is called with: whether this is the second run."""

    def __init__(self, *, is_recompute: bool, op_output: Any = None):
        self.is_recompute, self.op_output = is_recompute, op_output


SAC_IGNORED_OPS: set[Any] = set()


def create_selective_checkpoint_contexts(
    policy_fn_or_list: Any, allow_cache_entry_mutation: bool = False
) -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """A context for the first run and one for the second, which do nothing. Raises ArgumentTypeError for what
    is neither a policy nor a list of operations."""
    if not callable(policy_fn_or_list) and not isinstance(policy_fn_or_list, list):
        raise ArgumentTypeError("[create_selective_checkpoint_contexts] policy_fn_or_list must be either a "
                                "function or a list of ops, not " + type(policy_fn_or_list).__name__)
    return nullcontext(), nullcontext()


def detach_variable(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Tensors without their history that require gradients as before; all else as it is. Raises
    ArgumentError for what is no tuple."""
    if not isinstance(inputs, tuple):
        raise ArgumentError("[checkpoint] Only tuple of tensors is supported. Got Unsupported input "
                                   f"type: {type(inputs).__name__}")
    return tuple(x.detach().requires_grad_(x.requires_grad) if isinstance(x, Tensor) else x for x in inputs)


def check_backward_validity(inputs: Iterable[Any]) -> None:
    """Warns if no tensor requires a gradient."""
    if not any(isinstance(x, Tensor) and x.requires_grad for x in inputs):
        warnings.warn("None of the inputs have requires_grad=True. Gradients will be None", stacklevel=2)
