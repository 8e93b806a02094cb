"""`Function`: an operation whose forward and backward the user writes, and the context that the two share.

In the graph, a call is one node over its differentiable inputs and each result is a part of it, so that its
backward runs once, when the gradients of all results are there, and may be differentiated in turn.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any
from weakref import ref

from lazygrad import ops
from lazygrad.autograd.saved import Kept, saving
from lazygrad.errors import ArgumentTypeError, GradientError, MissingError
from lazygrad.graph import Node
from lazygrad.tensors.cell import History
from lazygrad.tensors.core import Tensor, assemble, from_node
from lazygrad.tensors.grad_fn import GradFn, made_by
from lazygrad.tensors.modes import mode, no_grad, set_grad_enabled


class FunctionCtx:
    """What forward leaves for backward; any other attribute may be set as well."""

    needs_input_grad: tuple[bool, ...] = ()
    materialize_grads = True
    _to_save: tuple[Any, ...] = ()
    _dirty: tuple[Any, ...] = ()
    _without_gradient: tuple[Any, ...] = ()

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep inputs or results (or None) for backward, which finds them in `saved_tensors`."""
        for i, tensor in enumerate(tensors):
            if tensor is not None and not isinstance(tensor, Tensor):
                raise ArgumentTypeError("[save_for_backward] save_for_backward can only save variables, but "
                                        f"argument {i} is of type {type(tensor).__name__}")
        self._to_save = tensors

    def save_for_forward(self, *tensors: Tensor | None) -> None:
        """Keep tensors for `jvp`, which nothing calls here."""

    def mark_dirty(self, *args: Tensor) -> None:
        """Say which inputs forward has changed in place; it must return them."""
        self._dirty = args

    def mark_non_differentiable(self, *args: Tensor) -> None:
        """Say which results have no gradient."""
        self._without_gradient = args

    def set_materialize_grads(self, value: bool) -> None:
        """Whether backward gets zeros (True, at first) or None for results that no gradient arrived for."""
        self.materialize_grads = value

    def mark_shared_storage(self, *pairs: Any) -> None:
        """Needs no saying: storage that is shared is known."""


class _Saved:
    """A tensor that was saved: an input or another as it is, a result (by its number) without its history,
    which would lead back to the call."""

    def __init__(self, tensor: Tensor, number: int | None):
        # a hook sees a result as it is; what is kept without one must not lead back to the call
        self.kept = Kept(tensor if number is None or saving.hooks else tensor.detach())
        self.number = number

    def unpack(self, context: Backward) -> Tensor:
        """The tensor with its place in the graph. Raises GradientError if it was written since."""
        number = self.number
        if self.kept.is_written:
            tensor = self.kept.tensor
            assert tensor is not None
            raise GradientError(
                f"[{context.name()}] one of the variables needed for gradient computation has been "
                f"modified by an inplace operation: [{tensor.type()} {list(tensor._shape)}]"
                + ("" if number is None else f", which is output {number} of {context.name()},")
                + f" is at version {tensor._version}; expected version {self.kept.version} instead. Hint: "
                "clone() it before changing it."
            )
        tensor, call = self.kept.get(), context._call()
        if number is None or call is None:
            return tensor
        tensor = tensor.detach()
        attach(tensor, call, number, context)
        return tensor


class Backward(GradFn, FunctionCtx):
    """The context of one call, and the `grad_fn` of its results. Its class is named after the function's."""

    _function: type[Function]
    _call: Callable[[], Node | None] = staticmethod(lambda: None)
    _kept: list[_Saved | None] | None = None
    _released = False
    _arguments: tuple[Any, ...] = ()  # for each argument its (shape, dtype, device), None where not a tensor
    _results: tuple[Any, ...] = ()

    def __init__(self, sources: tuple[Any, ...] = ()):
        super().__init__(sources)

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        """What save_for_backward kept. Raises GradientError after a backward pass has freed it, and for a
        tensor that was changed in place."""
        if self._released:
            raise GradientError(
                f"[{self.name()}] Trying to backward through the graph a second time (or directly access "
                "saved tensors after they have already been freed). Saved intermediate values of the graph "
                "are freed when you call .backward() or autograd.grad(). Specify retain_graph=True if you "
                "need to backward through the graph a second time or if you need to access saved tensors "
                "after calling backward."
            )
        return tuple(None if saved is None else saved.unpack(self) for saved in self._kept or ())

    @property
    def saved_variables(self) -> tuple[Tensor | None, ...]:
        """The old name of saved_tensors."""
        return self.saved_tensors


class Call:
    """A call as the graph knows it: how the gradients of its results become those of its inputs."""

    def __init__(self, context: Backward):
        self.context = context

    @property
    def saves(self) -> bool:
        """Whether it keeps tensors that a backward pass frees."""
        return bool(self.context._kept)

    def release(self) -> None:
        """Forget the saved tensors."""
        if self.saves:
            self.context._kept, self.context._released = None, True

    def backward(self, node: Node, parts: dict[int, Node], create_graph: bool) -> list[Node | None]:
        """A gradient or None for each input of the node, from those of the results by number."""
        context = self.context
        given = [self._given(i, parts.get(i), create_graph) for i in range(len(context._results))]
        function = context._function
        run = function.backward if function.vjp is Function.vjp else function.vjp
        with set_grad_enabled(create_graph):
            got = run(context, *given)
            return _checked(context, got if isinstance(got, tuple) else (got,), create_graph)

    def _given(self, number: int, g: Node | None, create_graph: bool) -> Tensor | None:
        spec = self.context._results[number]
        if spec is None or (g is None and not self.context.materialize_grads):
            return None
        shape, dtype, device = spec
        if g is None:
            return from_node(ops.const(0, dtype, shape), device)
        return from_node(g, device, tracked=create_graph, tainted=True)


def _checked(context: Backward, got: tuple[Any, ...], create_graph: bool) -> list[Node | None]:
    """The nodes of what backward returned for the inputs that want a gradient."""
    name, arguments = context.name(), context._arguments
    if len(got) < len(arguments) or any(g is not None for g in got[len(arguments) :]):
        raise GradientError(f"[{name}] function {name} returned an incorrect number of gradients (expected "
                            f"{len(arguments)}, got {len(got)})")
    nodes: list[Node | None] = []
    for i, (spec, g, needed) in enumerate(zip(arguments, got, context.needs_input_grad, strict=False)):
        if g is not None and spec is None:
            raise GradientError(f"[{name}] function {name} returned a gradient different than None at "
                                f"position "
                                f"{i + 1}, but the corresponding forward input was not a Variable")
        if g is not None and not isinstance(g, Tensor):
            raise GradientError(f"[{name}] expected Variable or None (got {type(g).__name__})")
        if needed:
            nodes.append(None if g is None else _fitted(name, i, g, spec, create_graph))
    return nodes


def _fitted(name: str, i: int, g: Tensor, spec: Any, create_graph: bool) -> Node:
    shape, dtype, device = spec
    if g._shape != shape:
        missing = g.ndim - len(shape)
        fits = missing >= 0 and all(n in (1, m) for n, m in zip(shape, g._shape[missing:], strict=True))
        if not fits:
            raise GradientError(f"[{name}] Function {name} returned an invalid gradient at index {i} - got "
                                f"{list(g._shape)} but expected shape compatible with {list(shape)}")
        g = g.sum(dim=(*range(missing), *(missing + k for k, n in enumerate(shape) if n == 1)), keepdim=True)
        g = g.reshape(shape)
    if g._dtype is not dtype or g.cell.device != device:
        g = g.to(device, dtype)
    return g.graph_node() if create_graph and g.requires_grad else g.plain_node()


def attach(result: Tensor, call: Node, number: int, made_by: GradFn | None) -> None:
    """Make a tensor the result of a call of this number: its value, and no more of its history."""
    chain = result._history.prefix + result._chain
    part = ops.part(call, number, result._dtype, tuple(result._shape))
    node = ops.surrogate(result.plain_node(), part)
    result._history, result._chain = History(result.cell, node, prefix=chain), ()
    result._graph_root, result._made_by = None, made_by


def _spec(x: Any) -> Any:
    return (tuple(x._shape), x._dtype, x.cell.device) if isinstance(x, Tensor) else None


class Function:
    """An operation with a backward of the user's own: subclass it, define `forward` and `backward` as static
    methods, and call `apply`.

    `forward(ctx, *args)`, or `forward(*args)` with `setup_context(ctx, inputs, output)`, takes tensors and
    anything else, runs without recording, and returns tensors. `backward(ctx, *grads)` takes one gradient for
    each result and returns one, or None, for each argument; under `create_graph` what it does is recorded.
    """

    generate_vmap_rule = False
    _context: type[Backward]

    def __init__(self, *args: Any, **kwargs: Any):
        warnings.warn(f"{type(self)} should not be instantiated. Methods on autograd functions are all "
                      "static, so you should invoke them on the class itself.", DeprecationWarning,
                      stacklevel=2)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Raises GradientError: functions are applied by their class."""
        raise GradientError(f"[{type(self).__name__}] Legacy autograd function with non-static forward "
                            "method is deprecated. Please use new-style autograd function with static "
                            "forward method: call .apply() of the class")

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        name = f"{cls.__name__}Backward"
        about = f"The context of a call of {cls.__name__}."
        cls._context = type(name, (Backward,), {"_function": cls, "__doc__": about})

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """The results. To be defined by subclasses."""
        raise MissingError("[Function] You must implement the forward function for custom "
                           "autograd.Function.")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        """Set up ctx after a forward that does not take it."""
        raise MissingError("[Function] setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """The gradients of the arguments from those of the results. To be defined by subclasses."""
        raise MissingError("[Function] You must implement either the backward or vjp method for your custom "
                           "autograd.Function to use it with backward mode AD.")

    vjp = backward

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Any) -> Any:
        """Forward mode, which nothing asks for here: jvp is made of two backward passes."""
        raise MissingError("[Function] You must implement the jvp function for custom autograd.Function "
                           "to use it with forward mode AD.")

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        """A rule for vmap, which nothing asks for here."""
        raise MissingError("[Function] To use autograd.Function with vmap, override the vmap staticmethod.")

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run forward; its results know of backward if an argument requires a gradient. Arguments by name get
        a gradient as those by place do, in the order of forward's."""
        if kwargs or cls.setup_context is not Function.setup_context:
            args = _bound(cls, args, kwargs)
        context = cls._context()
        context.needs_input_grad = tuple(isinstance(a, Tensor) and a.requires_grad for a in args)
        tracked = mode.enabled and any(context.needs_input_grad)
        differentiable = [a for a, needed in zip(args, context.needs_input_grad, strict=True) if needed]
        before = tuple(a.graph_node() for a in differentiable) if tracked else ()
        context._arguments = tuple(map(_spec, args))
        if tracked:
            context._sources = made_by(cls.__name__, [a for a in args if isinstance(a, Tensor)])._sources
        with no_grad():
            if cls.setup_context is Function.setup_context:
                output = cls.forward(context, *args)
            else:
                output = cls.forward(*args)
                cls.setup_context(context, args, output)
        results = output if isinstance(output, tuple) else (output,)
        finished = _finished(context, args, results, before) if tracked else _aliased(context, args, results)
        return finished if isinstance(output, tuple) else finished[0]


_signature = functools.lru_cache(1024)(inspect.signature)


def _bound(function: type[Function], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """The arguments of forward by place, with its defaults where forward takes no context."""
    with_context = function.setup_context is Function.setup_context
    bound = _signature(function.forward).bind(*((None,) if with_context else ()), *args, **kwargs)
    if not with_context:
        bound.apply_defaults()
    if bound.kwargs:
        raise ArgumentTypeError(f"[{function.__name__}] apply() cannot give forward the arguments "
                                f"{sorted(bound.kwargs)}, which it takes by name alone")
    return bound.args[1:] if with_context else bound.args


def _among(x: Any, others: Any) -> bool:
    return any(x is other for other in others)


def _aliased(context: Backward, args: tuple[Any, ...], results: tuple[Any, ...]) -> tuple[Any, ...]:
    """Results where nothing is recorded: an input that forward returns as it is becomes a view of itself."""
    return tuple(r.detach() if isinstance(r, Tensor) and _among(r, args) and not _among(r, context._dirty)
                 else r for r in results)


def _finished(context: Backward, args: tuple[Any, ...], results: tuple[Any, ...],
              before: tuple[Node, ...]) -> tuple[Any, ...]:
    """The results as parts of the call, and what was saved in its final form."""
    name = context.name()
    if not all(_among(d, results) for d in context._dirty):
        raise GradientError(f"[{name}] Some elements marked as dirty during the forward method were not "
                            f"returned as "
                            "output. The inputs that are modified inplace must all be outputs of the "
                            "Function.")
    call = ops.call(Call(context), before)
    context._call = ref(call)
    context._results = tuple(map(_spec, results))
    finished: list[Any] = []
    for number, result in enumerate(results):
        if isinstance(result, Tensor):
            result = _result(context, call, number, result, args)
        finished.append(result)
    kept: list[_Saved | None] = []
    for tensor in context._to_save:
        number_of = next((i for i, r in enumerate(finished) if r is tensor and r._made_by is context), None)
        kept.append(None if tensor is None else _Saved(tensor, number_of))
    context._kept = kept
    context._to_save = context._dirty = context._without_gradient = ()
    return tuple(finished)


def _result(context: Backward, call: Node, number: int, result: Tensor, args: tuple[Any, ...]) -> Tensor:
    is_input, is_dirty = _among(result, args), _among(result, context._dirty)
    if result._dtype.kind != "float" or _among(result, context._without_gradient):
        return result.detach() if is_input and not is_dirty else result
    if is_dirty and is_input:
        part = ops.part(call, number, result._dtype, tuple(result._shape))
        value = ops.surrogate(result.plain_node(), part)
        result.write(from_node(value, result.cell.device, tracked=True), context._function.__name__)
        result._made_by = context
        return result
    if is_input or result._made_by is context:  # an argument as it is, or the same result again
        history = result._history
        result = assemble(Tensor, History(history.cell), history.prefix + result._chain, result._shape,
                          result._dtype, result._strides, result._offset)
    attach(result, call, number, context)
    return result


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """A backward that is not recorded: differentiating its results raises GradientError."""

    @functools.wraps(backward)
    def run(ctx: Any, *grads: Any) -> Any:
        with no_grad():
            got = backward(ctx, *grads)
        if not mode.enabled or not any(isinstance(g, Tensor) and g.requires_grad for g in grads):
            return got
        results = got if isinstance(got, tuple) else (got,)
        fake = [g for g in grads if isinstance(g, Tensor) and g.requires_grad]
        delayed = tuple(r if r is None else _Twice.apply(r.detach(), *fake) for r in results)
        return delayed if isinstance(got, tuple) else delayed[0]

    return run


class _Twice(Function):
    """The first argument, as something that has no derivative."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, *others: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise GradientError("[once_differentiable] trying to differentiate twice a function that was "
                            "marked with "
                            "@once_differentiable")


Function._context = type("FunctionBackward", (Backward,), {"_function": Function})
InplaceFunction = Function
