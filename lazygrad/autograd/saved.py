"""What `Function`s keep for their backward: hooks that pack it, and whether it may be written meanwhile."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

from lazygrad.errors import ArgumentTypeError, GradientError
from lazygrad.tensors.core import Tensor, from_node
from lazygrad.tensors.modes import no_grad

Hooks = tuple[Callable[[Tensor], Any], Callable[[Any], Tensor]]


class _Saving(threading.local):
    hooks: tuple[Hooks, ...] = ()  # of the blocks around, the innermost last
    disabled: str | None = None
    mutation: Any = None  # the block of allow_mutation_on_saved_tensors around


saving = _Saving()


class Kept:
    """A tensor as it is kept: itself, what a hook has made of it, or with its value and history of now where
    it may be written."""

    def __init__(self, tensor: Tensor):
        self.tensor: Tensor | None = tensor
        self.version, self.unpack = tensor._version, None
        self.before: Tensor | None = None
        if saving.hooks:
            pack, self.unpack = saving.hooks[-1]
            with no_grad():
                self.packed, self.tensor = pack(tensor), None
        elif saving.mutation is not None:
            self.before = same_value(tensor)

    @property
    def is_written(self) -> bool:
        """Whether the tensor was written since, and its value of then is not known."""
        return self.tensor is not None and self.before is None and self.tensor._version != self.version

    def get(self) -> Tensor:
        """The tensor. Raises ArgumentTypeError where a hook gives something else."""
        if self.unpack is None:
            assert self.tensor is not None
            written = self.before is not None and self.tensor._version != self.version
            return self.before if written and self.before is not None else self.tensor
        found = self.unpack(self.packed)
        if not isinstance(found, Tensor):
            raise ArgumentTypeError("[saved_tensors_hooks] Output of saved tensor unpack_hook expected to be "
                                    f"a Tensor but got result of type {type(found).__name__}")
        return found


def same_value(tensor: Tensor) -> Tensor:
    """A tensor of the same value and history, which no write to the other changes."""
    tracked = tensor.requires_grad
    node = tensor.graph_node() if tracked else tensor.plain_node()
    return from_node(node, tensor.cell.device, tracked, tracked)


class saved_tensors_hooks:
    """A block in which `pack_hook(tensor)` is kept in place of what a `Function` saves, and
    `unpack_hook(packed)` gives it back. lazygrad's own operations save nothing: they compute again, or keep
    what the compiler chooses."""

    def __init__(self, pack_hook: Callable[[Tensor], Any], unpack_hook: Callable[[Any], Tensor]):
        self.pack_hook, self.unpack_hook = pack_hook, unpack_hook

    def __enter__(self) -> None:
        """Raises GradientError in a block of disable_saved_tensors_hooks."""
        if saving.disabled is not None:
            raise GradientError(f"[saved_tensors_hooks] {saving.disabled}")
        saving.hooks = (*saving.hooks, (self.pack_hook, self.unpack_hook))

    def __exit__(self, *_: object) -> None:
        saving.hooks = saving.hooks[:-1]


class save_on_cpu(saved_tensors_hooks):
    """A block in which what `Function`s save is kept on the CPU."""

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda"):
        super().__init__(lambda x: (x.device, x.cpu()), lambda packed: packed[1].to(packed[0]))


@contextlib.contextmanager
def disable_saved_tensors_hooks(error_message: str) -> Iterator[None]:
    """A block in which hooks of saved tensors raise GradientError with this message."""
    if saving.hooks:
        raise GradientError(f"[disable_saved_tensors_hooks] {error_message}")
    before, saving.disabled = saving.disabled, error_message
    try:
        yield
    finally:
        saving.disabled = before


class MutationAllowed:
    """What allow_mutation_on_saved_tensors gives: nothing is kept in it here."""

    def clear(self) -> None:
        """Nothing to forget."""


@contextlib.contextmanager
def allow_mutation_on_saved_tensors() -> Iterator[MutationAllowed]:
    """A block in which what `Function`s save may be written before their backward, which reads the value of
    before. lazygrad's own operations allow that always. Raises GradientError within another one."""
    if saving.mutation is not None:
        raise GradientError("[allow_mutation_on_saved_tensors] allow_mutation_on_saved_tensors contexts "
                            "cannot be nested")
    saving.mutation = MutationAllowed()
    try:
        yield saving.mutation
    finally:
        saving.mutation = None
