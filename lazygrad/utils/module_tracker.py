"""PyTorch's `utils.module_tracker`: in which modules a program is at the moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from lazygrad.autograd.graph import register_multi_grad_hook
from lazygrad.nn.module import Module
from lazygrad.nn.module_hooks import register_module_forward_hook, register_module_forward_pre_hook
from lazygrad.tensors import Tensor
from lazygrad.tensors.autograd import running
from lazygrad.tree import flatten


class ModuleTracker:
    """A block that knows, in `parents`, the names of the modules whose forward or backward runs: "Global",
    the class of the outermost module, and the path from there."""

    def __init__(self) -> None:
        self.parents = {"Global"}
        self._names: WeakKeyDictionary[Module, str] = WeakKeyDictionary()
        self._handles: list[Any] = []

    @property
    def is_bw(self) -> bool:
        """Whether a backward pass runs."""
        return running.now is not None

    def _name(self, module: Module) -> str:
        if module not in self._names:
            for path, inner in module.named_modules():
                start = type(module).__name__
                self._names.setdefault(inner, f"{start}.{path}" if path else start)
        return self._names[module]

    def _at_gradients(self, values: Any, call: Callable[[str], None], name: str) -> None:
        tensors = [x for x in flatten(values)[0] if isinstance(x, Tensor) and x.requires_grad]
        if tensors:
            self._handles.append(register_multi_grad_hook(tensors, lambda grads: call(name)))

    def _before(self, module: Module, inputs: Any) -> None:
        name = self._name(module)
        self.parents.add(name)
        self._at_gradients(inputs, self.parents.discard, name)

    def _after(self, module: Module, inputs: Any, output: Any) -> None:
        name = self._name(module)
        self.parents.discard(name)
        self._at_gradients(output, self._enter_backward, name)

    def _enter_backward(self, name: str) -> None:
        self.parents.add(name)
        now = running.now
        if now is not None:
            now.at_end.setdefault(id(self), self._leave_all)

    def _leave_all(self) -> None:
        self.parents = {"Global"}

    def __enter__(self) -> ModuleTracker:
        self._handles += [register_module_forward_pre_hook(self._before),
                          register_module_forward_hook(self._after)]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
