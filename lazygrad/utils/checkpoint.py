"""Checkpointing: what happens inside a function is not kept for the backward pass, which runs it again.

The results are computed at once and only they are kept, unless a recording of `lazygrad.jit` is on, which
computes nothing. The second run draws the same random numbers.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from lazygrad import ops
from lazygrad.autograd.function import Function, attach
from lazygrad.differentiation import differentiable_inputs, gradient
from lazygrad.errors import ArgumentError, GradientError
from lazygrad.graph import Node, topological
from lazygrad.tensors.autocasting import autocast_as, state
from lazygrad.tensors.autograd import backward, hooks_and_calls, running
from lazygrad.tensors.cell import History, Token
from lazygrad.tensors.core import Tensor
from lazygrad.tensors.modes import enable_grad, mode
from lazygrad.tensors.random.generator import Drawn
from lazygrad.tensors.realization import realize_cells
from lazygrad.tree import flatten
from lazygrad.utils.checkpoint_policy import check_backward_validity

Contexts = tuple[AbstractContextManager[Any], AbstractContextManager[Any]]


def noop_context_fn() -> Contexts:
    """No context for the first run and none for the second."""
    return nullcontext(), nullcontext()


class CheckpointError(GradientError):
    """A second run that is another one than the first."""


def _tensors(value: Any) -> list[Tensor]:
    """The tensors in a nested value."""
    return [leaf for leaf in flatten(value)[0] if isinstance(leaf, Tensor)]


class _Region:
    """A checkpointed call in the graph: its inputs are everything that it reads and gradients may reach."""

    saves = True

    def __init__(
        self, run: Callable[[], Any], again: Callable[[], AbstractContextManager[Any]], inputs: list[Tensor]
    ):
        self.run: Callable[[], Any] | None = run
        self.again, self.inputs = again, inputs
        self.places: list[int] = []  # which of the tensors that the function returns are results

    def release(self) -> None:
        """Forget the function: no backward pass may walk here again."""
        self.run = None

    def backward(self, node: Node, parts: dict[int, Node], create_graph: bool) -> list[Node | None]:
        """Run the function again and differentiate it."""
        assert self.run is not None
        with enable_grad(), self.again():
            results = _tensors(self.run())
        if len(results) <= max(self.places):
            raise CheckpointError(
                "[checkpoint] A different number of tensors was saved during the "
                "original forward and recomputation."
            )
        roots, seeds = [], []
        for number, g in parts.items():
            result = results[self.places[number]]
            if result._shape != g.shape or result._dtype is not g.dtype:
                raise CheckpointError(
                    "[checkpoint] Recomputed values have different metadata than during "
                    f"the forward pass: {list(result._shape)} of {result._dtype!r}, "
                    f"before {list(g.shape)} of {g.dtype!r}."
                )
            if result.requires_grad:
                roots.append(result.graph_node())
                seeds.append(g)
        order = topological(roots, differentiable_inputs)
        now = [_standing_for(x, order) for x in node.inputs]
        wanted = [place for places in now for place in places]
        visit = hooks_and_calls(create_graph, running.all_leaves)
        shares = iter(gradient(roots, seeds, wanted, visit, partial=True))
        found: list[Node | None] = []
        for places in now:
            total: Node | None = None
            for _ in places:
                share = next(shares)
                if share is not None:
                    total = share if total is None else ops.add(total, share)
            found.append(total)
        return found


def _standing_for(x: Node, order: list[Node]) -> list[Node]:
    """The nodes of a graph that are what x is: itself, or the same leaf in other memory."""
    if x.op.name != "leaf":
        return [x]
    return [n for n in order if n is x or (n.op.name == "leaf" and n.arg is x.arg)]


def _without_reentrance(
    function: Callable[..., Any],
    preserve: bool,
    context_fn: Callable[[], Contexts],
    args: tuple[Any, ...],
    options: dict[str, Any],
) -> Any:
    first, second = context_fn()
    drawn, autocast = Drawn() if preserve else None, state.active
    inputs = [x for x in _tensors((args, options)) if x.requires_grad]
    with first:
        output = function(*args, **options)
    if not mode.enabled:
        return output

    @contextlib.contextmanager
    def again() -> Any:
        with second, autocast_as(autocast), nullcontext() if drawn is None else drawn.again():
            yield

    before = {x._history for x in inputs}
    region = _Region(lambda: function(*args, **options), again, inputs)
    results = []
    for place, result in enumerate(_tensors(output)):
        if result.requires_grad and result._history not in before and result._history.token is None:
            region.places.append(place)
            results.append(result)
    if not results:
        return output
    stops = {x.graph_node() for x in inputs}
    roots = [r.graph_node() for r in results]
    below = topological(roots, lambda n: () if n in stops else differentiable_inputs(n))
    reached = tuple(n for n in below if n in stops or (n.op.name == "leaf" and isinstance(n.arg, Token)))
    names = [r._made_by for r in results]
    for result in results:  # without their histories nothing of the inside is kept
        result._history, result._chain = History(result.cell), result._history.prefix + result._chain
    realize_cells([r.cell for r in results])
    call = ops.call(region, reached)
    for number, (result, made_by) in enumerate(zip(results, names, strict=True)):
        attach(result, call, number, made_by)
    return output


class CheckpointFunction(Function):
    """The form that differentiates the second run by a backward pass of its own, inside the first."""

    @staticmethod
    def forward(
        ctx: Any, run_function: Callable[..., Any], preserve_rng_state: bool, *args: Any
    ) -> Any:
        check_backward_validity(args)
        ctx.run_function, ctx.drawn = run_function, Drawn() if preserve_rng_state else None
        ctx.autocast = state.active
        ctx.args = [None if isinstance(a, Tensor) else a for a in args]
        ctx.places = [i for i, a in enumerate(args) if isinstance(a, Tensor)]
        ctx.save_for_backward(*(a for a in args if isinstance(a, Tensor)))
        outputs = run_function(*args)
        realize_cells([y.cell for y in _tensors(outputs)])
        return outputs

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        if not running.all_leaves:
            raise GradientError(
                "[checkpoint] When use_reentrant=True, torch.utils.checkpoint is incompatible with .grad() "
                "or passing an `inputs` parameter to .backward(). To resolve this error, you can either "
                "set use_reentrant=False, or call .backward() without passing the `inputs` argument."
            )
        inputs = list(ctx.args)
        for place, saved in zip(ctx.places, ctx.saved_tensors, strict=True):
            inputs[place] = saved.detach()
            if saved.requires_grad:
                inputs[place].requires_grad_()
        drawn = nullcontext() if ctx.drawn is None else ctx.drawn.again()
        with enable_grad(), autocast_as(ctx.autocast), drawn:
            outputs = ctx.run_function(*inputs)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        pairs = [
            (y, g) for y, g in zip(outputs, grads, strict=True) if isinstance(y, Tensor) and y.requires_grad
        ]
        if not pairs:
            raise GradientError(
                "[checkpoint] none of output has requires_grad=True, this checkpoint() is not necessary"
            )
        backward([y for y, _ in pairs], [g for _, g in pairs])
        return (None, None, *(x.grad if isinstance(x, Tensor) else None for x in inputs))


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Callable[[], Contexts] = noop_context_fn,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    **kwargs: Any,
) -> Any:
    """`function(*args, **kwargs)`, of which the inside is computed again in the backward pass and not kept.

    `use_reentrant=False` works with `autograd.grad`, nested values and keyword arguments; True (the default,
    with a warning, as in PyTorch) runs a backward pass inside the backward pass. `preserve_rng_state` draws
    the same random numbers again. Raises ArgumentError for options of the other form.
    """
    if use_reentrant is None:
        warnings.warn(
            "torch.utils.checkpoint: the use_reentrant parameter should be passed explicitly. "
            "Starting in PyTorch 2.9, calling checkpoint without use_reentrant will raise an "
            "exception. use_reentrant=False is recommended, but if you need to preserve the "
            "current default behavior, you can pass use_reentrant=True. Refer to docs for more "
            "details on the differences between the two variants.",
            stacklevel=2,
        )
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if not use_reentrant:
        return _without_reentrance(function, preserve, context_fn, args, kwargs)
    if kwargs:
        raise ArgumentError(f"[checkpoint] Unexpected keyword arguments: {','.join(kwargs)}")
    if context_fn is not noop_context_fn or debug:
        raise ArgumentError(
            "[checkpoint] Passing `context_fn` or `debug` is only supported when use_reentrant=False."
        )
    return CheckpointFunction.apply(function, preserve, *args)


def checkpoint_sequential(
    functions: Any, segments: int, input: Any, use_reentrant: bool | None = None, **kwargs: Any
) -> Any:
    """The functions one after the other in `segments` parts, all but the last of them checkpointed."""
    if use_reentrant is None:
        warnings.warn(
            "torch.utils.checkpoint.checkpoint_sequential: the use_reentrant parameter should be "
            "passed explicitly. use_reentrant=False is recommended.",
            stacklevel=2,
        )
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if kwargs:
        raise ArgumentError(f"[checkpoint_sequential] Unexpected keyword arguments: {','.join(kwargs)}")
    steps = list(functions.children()) if hasattr(functions, "children") else list(functions)

    def part(start: int, end: int) -> Callable[[Any], Any]:
        def run(x: Any) -> Any:
            for step in steps[start:end]:
                x = step(x)
            return x

        return run

    size = len(steps) // segments
    end = 0
    for start in range(0, size * (segments - 1), size):
        end = start + size
        input = checkpoint(part(start, end), input, use_reentrant=use_reentrant, preserve_rng_state=preserve)
    return part(end, len(steps))(input)


def get_device_states(*args: Any) -> tuple[list[int], list[Tensor]]:
    """The states of the generators of the arguments' devices: none, since all devices draw from one."""
    return [], []


def set_device_states(
    devices: Iterable[int], states: Iterable[Tensor], *, device_type: str | None = None
) -> None:
    """Continue the generators of devices from states: there are none beside the default one."""


@contextlib.contextmanager
def set_checkpoint_early_stop(enable: bool) -> Any:
    """Changes nothing: the second run computes what gradients need, and no more."""
    yield


@contextlib.contextmanager
def set_checkpoint_debug_enabled(enabled: bool | None) -> Any:
    """Changes nothing."""
    yield


class DefaultDeviceType:
    """The kind of device whose generators are kept: there is one generator for all."""

    @staticmethod
    def set_device_type(device: str = "cuda") -> None:
        """Changes nothing."""

    @staticmethod
    def get_device_type() -> str:
        """The kind of the default device."""
        return "cpu"
