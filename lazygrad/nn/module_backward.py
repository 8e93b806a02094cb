"""Backward hooks of modules, by hooks on the gradients of a module's inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lazygrad.errors import ArgumentError
from lazygrad.tensors import Tensor


class BackwardHooks:
    """One call of a module whose gradients are watched.

    The hooks run when the last gradient arrives; of several inputs (outputs) a hook can replace the gradient
    of the last one alone.
    """

    def __init__(self, module: Any, hooks: Sequence[Callable], pre_hooks: Sequence[Callable]) -> None:
        self.module, self.hooks, self.pre_hooks = module, hooks, pre_hooks
        self.grad_output: tuple[Tensor | None, ...] = ()
        self.has_inputs = False
        # a tensor's hooks run while the tensor lives, and nobody else holds these
        self.views: list[Tensor] = []

    def watch_inputs(self, args: tuple) -> tuple:
        """The positional arguments, watched where they require a gradient."""
        self.has_inputs = any(map(_is_watched, args))
        return self._watch(args, self._inputs_arrived)

    def watch_outputs(self, result: Any) -> Any:
        """The output, a tensor or a tuple of them, watched where it requires a gradient."""
        if isinstance(result, Tensor):
            return self._watch((result,), self._outputs_arrived)[0]
        return self._watch(result, self._outputs_arrived) if isinstance(result, tuple) else result

    def _watch(self, values: tuple, arrived: Callable) -> tuple:
        waiting = {i for i, v in enumerate(values) if _is_watched(v)}
        grads: list[Tensor | None] = [None] * len(values)
        expected = frozenset(waiting)

        def hook_of(place: int) -> Callable[[Tensor], Tensor | None]:
            def hook(grad: Tensor) -> Tensor | None:
                grads[place] = grad
                waiting.discard(place)
                if waiting:
                    return None
                found = tuple(grads)
                # ready for another backward pass over a retained graph
                waiting.update(expected)
                return arrived(found)[place]

            return hook

        def watched(place: int, value: Any) -> Any:
            if place not in expected:
                return value
            # a tensor of its own, so that other uses of the value are not counted
            view = value.view_as(value)
            view.register_hook(hook_of(place))
            self.views.append(view)
            return view

        return tuple(watched(i, v) for i, v in enumerate(values))

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
