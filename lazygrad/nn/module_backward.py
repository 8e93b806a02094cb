"""Backward hooks of modules, by hooks on the gradients of a module's inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lazygrad.autograd.function import Function
from lazygrad.errors import ArgumentError
from lazygrad.tensors import Tensor

Gradients = tuple[Tensor | None, ...]
Arrived = Callable[[Gradients], Gradients]


class _Watched(Function):
    """Tensors as they are, whose gradients arrive together."""

    @staticmethod
    def forward(ctx: Any, watch: tuple[Arrived, bool], count: int, places: list[int], *tensors: Tensor
                ) -> Any:
        """`watch`: what is called with `count` gradients, those of the tensors at `places`, and whether one
        that has not come is zeros, as PyTorch has it of inputs, or None."""
        ctx.arrived, ctx.count, ctx.places = watch[0], count, places
        ctx.set_materialize_grads(watch[1])
        return tuple(t.view_as(t) for t in tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        """What `arrived` makes of the gradients."""
        found: list[Tensor | None] = [None] * ctx.count
        for place, grad in zip(ctx.places, grads, strict=True):
            found[place] = grad
        changed = ctx.arrived(tuple(found))
        return (None, None, None, *(changed[place] for place in ctx.places))


class BackwardHooks:
    """One call of a module whose gradients are watched: the hooks run when all of its inputs (outputs) have
    theirs."""

    def __init__(self, module: Any, hooks: Sequence[Callable], pre_hooks: Sequence[Callable]) -> None:
        self.module, self.hooks, self.pre_hooks = module, hooks, pre_hooks
        self.grad_output: tuple[Tensor | None, ...] = ()
        self.has_inputs = False

    def watch_inputs(self, args: tuple) -> tuple:
        """The positional arguments, watched where they require a gradient."""
        self.has_inputs = any(map(_is_watched, args))
        return self._watch(args, (self._inputs_arrived, True))

    def watch_outputs(self, result: Any) -> Any:
        """The output, a tensor or a tuple of them, watched where it requires a gradient."""
        if isinstance(result, Tensor):
            return self._watch((result,), (self._outputs_arrived, False))[0]
        return self._watch(result, (self._outputs_arrived, False)) if isinstance(result, tuple) else result

    def _watch(self, values: tuple, watch: tuple[Arrived, bool]) -> tuple:
        places = [i for i, v in enumerate(values) if _is_watched(v)]
        if not places:
            return values
        watched = _Watched.apply(watch, len(values), places, *(values[i] for i in places))
        result = list(values)
        for place, tensor in zip(places, watched, strict=True):
            result[place] = tensor
        return tuple(result)

    def _outputs_arrived(self, grads: tuple) -> tuple:
        for hook in self.pre_hooks:
            grads = _replaced(hook(self.module, grads), grads, "grad_output")
        self.grad_output = grads
        if not self.has_inputs:
            for hook in self.hooks:
                hook(self.module, (None,), grads)
        return grads

    def _inputs_arrived(self, grads: tuple) -> tuple:
        for hook in self.hooks:
            grads = _replaced(hook(self.module, grads, self.grad_output), grads, "grad_input")
        return grads


def _is_watched(value: Any) -> bool:
    return isinstance(value, Tensor) and value.requires_grad


def _replaced(result: Any, grads: tuple, name: str) -> tuple:
    """What a hook returned as a tuple of gradients; the old ones where it returned None."""
    if result is None:
        return grads
    result = result if isinstance(result, tuple) else (result,)
    if len(result) != len(grads):
        raise ArgumentError(
            f"[backward hook] Backward hook returned an invalid number of {name}, got {len(result)}, "
            f"but expected {len(grads)}"
        )
    return result
