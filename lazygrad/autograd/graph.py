"""PyTorch's `autograd.graph` namespace: hooks on several gradients at once, edges, what is saved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from lazygrad.autograd.saved import (
    allow_mutation_on_saved_tensors,
    disable_saved_tensors_hooks,
    same_value,
    save_on_cpu,
    saved_tensors_hooks,
)
from lazygrad.errors import ArgumentError, GradientError
from lazygrad.tensors.autograd import GradientEdge, Pass, arrival_of, running
from lazygrad.tensors.core import Tensor
from lazygrad.tensors.grad_fn import GradFn, made_by

Node = GradFn
__all__ = [
    "GradientEdge",
    "Node",
    "allow_mutation_on_saved_tensors",
    "disable_saved_tensors_hooks",
    "get_gradient_edge",
    "increment_version",
    "register_multi_grad_hook",
    "save_on_cpu",
    "saved_tensors_hooks",
]


class MultiHandle:
    """What a hook on several tensors is taken away by: `remove()`. Also a context manager."""

    def __init__(self, handles: Sequence[Any]):
        self.handles = tuple(handles)

    def remove(self) -> None:
        """Take the hook away."""
        for handle in self.handles:
            handle.remove()

    def __enter__(self) -> MultiHandle:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def register_multi_grad_hook(
    tensors: Sequence[Tensor], fn: Callable[..., Any], *, mode: str = "all"
) -> MultiHandle:
    """Call `fn` in each backward pass: with mode "all" when it has computed them all, with the list of
    the tensors' gradients, None for those that it does not compute; with "any" with the first gradient of
    them that it computes.

    Raises ArgumentError for another mode, GradientError for a tensor that requires no gradient.
    """
    if mode not in ("all", "any"):
        raise ArgumentError("[register_multi_grad_hook] Expects mode to be one of ('all', 'any') but got "
                            f"{mode}")
    key = object()

    def of(place: int) -> Callable[[Tensor], None]:
        def hook(grad: Tensor) -> None:
            now = running.now
            assert now is not None, "a hook outside of a backward pass"
            collected = now.at_end.get(key)
            if collected is None:
                collected = now.at_end[key] = _Collected(fn, len(tensors), now, arrivals, mode)
            assert isinstance(collected, _Collected)
            collected.add(place, grad)

        return hook

    wanted = [(i, t) for i, t in enumerate(tensors) if mode == "all" or t.requires_grad]
    handles = [t.register_hook(of(i)) for i, t in wanted]
    arrivals = [arrival_of(t) for _, t in wanted]
    return MultiHandle(handles)


class _Collected:
    """The gradients that one pass has computed for a hook on several; the hook is called once."""

    def __init__(self, fn: Callable[..., Any], count: int, now: Pass, arrivals: Sequence[Any], mode: str):
        self.fn, self.grads, self.mode, self.called = fn, [None] * count, mode, False
        there = now.arrivals() if mode == "all" else set()
        self.missing = sum(arrival in there for arrival in arrivals)

    def add(self, place: int, grad: Any) -> None:
        """One more gradient."""
        self.grads[place] = grad
        self.missing -= 1
        if self.mode == "any" and not self.called:
            self.called = True
            self.fn(grad)
        elif self.mode == "all" and self.missing <= 0:
            self()

    def __call__(self) -> None:
        """Tell all gradients, if that was not done."""
        if not self.called:
            self.called = True
            self.fn(self.grads)


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """Where the gradient of a tensor is computed: `autograd.grad` takes it in the tensor's place. Raises
    GradientError for a tensor that requires no gradient."""
    if not tensor.requires_grad:
        raise GradientError("[get_gradient_edge] It is not possible to get the gradient edge for a Tensor "
                            "that does not require gradients")
    leaf = made_by("view", [tensor]).next_functions[0][0] if tensor.is_leaf else None
    if leaf is not None:
        return GradientEdge(leaf, 0)
    return GradientEdge(tensor.grad_fn, tensor.output_nr, same_value(tensor))


def increment_version(tensor: Tensor | Iterable[Tensor]) -> None:
    """Count a write of which lazygrad does not know."""
    for each in (tensor,) if isinstance(tensor, Tensor) else tensor:
        each.cell.version += 1
