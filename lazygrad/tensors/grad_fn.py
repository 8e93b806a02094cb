"""`grad_fn`: which operation made a differentiable tensor, under PyTorch's names, and from what.

It is a record to look at: gradients are computed from nodes (`differentiation.py`), which know nothing of it.
A record refers to the records of its inputs and, weakly, to leaves, to tensors without gradients and to the
node of its result; never to values, so it keeps none alive. `lazygrad.viz` draws from it what the user wrote.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec
from weakref import WeakKeyDictionary, WeakSet, ref

from lazygrad.graph import Node
from lazygrad.hooks import RemovableHandle, hook_table, register
from lazygrad.tensors.cell import Token
from lazygrad.tensors.modes import mode

P = ParamSpec("P")

# where PyTorch's name is not the operation's in camel case with "Backward0"
_NAMES = {
    "clamp": "ClampBackward1",
    "contiguous": "CloneBackward0",
    "celu_": "CeluBackward1",
    "cosine_similarity": "SumBackward1",
    "copy_": "CopyBackwards",
    "elu_": "EluBackward1",
    "fill_": "FillBackward2",
    "fold": "Col2ImBackward0",
    "kron": "UnsafeViewBackward0",
    "leaky_relu_": "LeakyReluBackward1",
    "lp_pool1d": "PowBackward0",
    "lp_pool2d": "PowBackward0",
    "lp_pool3d": "PowBackward0",
    "norm": "LinalgVectorNormBackward0",
    "pad": "ConstantPadNdBackward0",
    "pairwise_distance": "NormBackward1",
    "prelu": "PreluKernelBackward0",
    "rdiv": "MulBackward0",
    "reshape": "UnsafeViewBackward0",
    "rrelu": "RreluWithNoiseBackward0",
    "rrelu_": "RreluWithNoiseBackward1",
    "selu": "EluBackward0",
    "selu_": "EluBackward1",
    "setitem": "IndexPutBackward0",
    "threshold_": "ThresholdBackward1",
    "tensordot": "ViewBackward0",
    "to": "ToCopyBackward0",
}
_NAMES |= {
    f"{name}{rank}d": "ConvolutionBackward0" for name in ("conv", "conv_transpose") for rank in (1, 2, 3)
}
_NAMES |= {f"max_pool{rank}d": f"MaxPool{rank}DWithIndicesBackward0" for rank in (2, 3)}
# over one axis PyTorch pools as over two, and takes the other one away
_NAMES |= {f"{name}_pool1d": "SqueezeBackward1" for name in ("max", "avg", "adaptive_max", "adaptive_avg")}


class Label:
    """What the user calls a tensor that no gradient flows to; operations on it refer to it by this."""

    __slots__ = ("__weakref__", "tensor", "text")

    def __init__(self, tensor: Any, text: Any):
        self.tensor: Callable[[], Any] = ref(tensor)
        self.text = text
        labels.add(self)


labels: WeakSet[Label] = WeakSet()


# what a record refers to: what made an input, or the leaf that it is; a label, or weakly the tensor, of an
# input without gradients
Source = Any


class OperationHooks:
    """The hooks of one operation, in the order in which they were registered."""

    def __init__(self) -> None:
        self.before, self.after = hook_table(), hook_table()


class GradFn:
    """The operation that made a tensor. The class is named as PyTorch names it: `MulBackward0`.

    `_node`: weakly, the node of the result, from its first use on. `_label`: what the user calls the result.
    `_number`: an exponent that is no tensor.
    """

    __slots__ = ("__weakref__", "_label", "_node", "_number", "_sources")
    operation = ""  # our name of it
    _label: Any
    _number: Any

    def __init__(self, sources: tuple[Source, ...]):
        self._sources = sources
        self._node: Callable[[], Node | None] | None = None

    def name(self) -> str:
        """PyTorch's name of the operation."""
        return type(self).__name__

    @property
    def next_functions(self) -> tuple[tuple[GradFn | None, int], ...]:
        """For each tensor that it was computed from the operation that made it, `AccumulateGrad` for a leaf
        that requires a gradient, None for one that gradients do not reach; and 0."""
        return tuple((_function_of(s), 0) for s in self._sources)

    requires_grad = True

    @property
    def metadata(self) -> dict[Any, Any]:
        """Whatever the user wants to note of the operation."""
        return _metadata.setdefault(self, {})

    def register_hook(self, fn: Callable[..., Any]) -> RemovableHandle:
        """Call `fn(grad_inputs, grad_outputs)`, two tuples, when a backward pass has computed the gradients
        of what `next_functions` names; a tuple that it returns takes the place of the first. Where an
        operation of several steps was given a tensor twice, all of its gradient stands at the first place."""
        return register(hooks_of.setdefault(self, OperationHooks()).after, fn)

    def register_prehook(self, fn: Callable[..., Any]) -> RemovableHandle:
        """Call `fn(grad_outputs)` when a backward pass has computed the gradient of the result; a tuple that
        it returns takes its place."""
        return register(hooks_of.setdefault(self, OperationHooks()).before, fn)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} object at {id(self):#x}>"


class AccumulateGrad(GradFn):
    """Where the gradient of a leaf arrives; `variable` is the leaf, None once it is gone."""

    __slots__ = ("_leaf",)

    def __init__(self, leaf: Any):
        super().__init__(())
        self._leaf: Callable[[], Any] = ref(leaf)

    def name(self) -> str:
        """PyTorch's name, with its namespace."""
        return "torch::autograd::AccumulateGrad"

    @property
    def variable(self) -> Any:
        """The leaf, None once it is gone."""
        return self._leaf()


hooks_of: WeakKeyDictionary[GradFn, OperationHooks] = WeakKeyDictionary()
_metadata: WeakKeyDictionary[GradFn, dict[Any, Any]] = WeakKeyDictionary()
_leaves: WeakKeyDictionary[Token, AccumulateGrad] = WeakKeyDictionary()
_classes: dict[str, type[GradFn]] = {}


def _of_leaf(token: Token) -> AccumulateGrad | None:
    leaf = token.tensor()
    if leaf is not None and token not in _leaves:
        _leaves[token] = AccumulateGrad(leaf)
    return _leaves.get(token)


def _function_of(source: Source) -> GradFn | None:
    if isinstance(source, Token):
        return _of_leaf(source)
    return source if isinstance(source, GradFn) else None


def _class_of(operation: str) -> type[GradFn]:
    name = _NAMES.get(operation, operation)
    if "Backward" not in name and name != "CopySlices":
        name = re.sub(r"(?:^|_+|(?<=\d))([a-z])", lambda found: found[1].upper(), name.strip("_"))
        name += "Backward0"
    parts = {"__slots__": (), "__doc__": f"`{operation}`.", "operation": operation}
    made = _classes[operation] = type(name, (GradFn,), parts)
    return made


def made_by(operation: str, tensors: Sequence[Any]) -> GradFn:
    """The record of an operation: its name, ours ("mul") or PyTorch's ("MulBackward0"), and its inputs."""
    kind = _classes.get(operation) or _class_of(operation)
    sources: list[Source] = []
    for t in tensors:
        history = t._history
        sources.append((t._made_by or history.token) if history.requires_grad else (t._label or ref(t)))
    return kind(tuple(sources))


def one_operation(operation: str) -> Callable[[Callable[P, Any]], Callable[P, Any]]:
    """A function made of other operations whose result counts as made by one."""

    def decorate(definition: Callable[P, Any]) -> Callable[P, Any]:
        @functools.wraps(definition)
        def run(*args: P.args, **options: P.kwargs) -> Any:
            return as_operation(definition(*args, **options), operation, *args, *options.values())

        return run

    return decorate


def as_operation(result: Any, operation: str, *inputs: Any) -> Any:
    """`result` as made by one operation from those of the inputs that are tensors."""
    made: Any
    for made in result if isinstance(result, tuple) else (result,):
        if made._history.requires_grad and mode.enabled and not any(made is i for i in inputs):
            before = made._made_by
            made._made_by = made_by(operation, [i for i in inputs if hasattr(i, "_made_by")])
            made._made_by._node = None if before is None else before._node
    return result


def with_number(result: Any, number: Any) -> Any:
    """`result`, whose record says with which number it was made."""
    if result._made_by is not None and not hasattr(number, "_made_by"):
        result._made_by._number = number
    return result
