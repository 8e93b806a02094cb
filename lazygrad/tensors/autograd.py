"""Gradients of tensors: `backward`, `grad`, hooks. The graph rewrite itself is `differentiation.py`."""

from __future__ import annotations

import contextlib
import functools
import itertools
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from lazygrad import ops
from lazygrad.differentiation import Visit, differentiable_inputs, gradient
from lazygrad.errors import ArgumentError, ArgumentTypeError, GradientError, ShapeError
from lazygrad.graph import Node, topological
from lazygrad.hooks import RemovableHandle, hook_table, register
from lazygrad.tensors.cell import Token
from lazygrad.tensors.core import FUNCTIONS, Tensor, from_node, method
from lazygrad.tensors.flow import check_not_spent, free
from lazygrad.tensors.grad_fn import GradFn, Label, hooks_of, made_by
from lazygrad.tensors.marks import mark_of, retain, retained, retains, with_late_marks
from lazygrad.tensors.modes import no_grad, set_grad_enabled
from lazygrad.tensors.operation_hooks import HookedPass, hooks_of_leaf, run_hooks, run_prehooks
from lazygrad.tensors.passes import note_pass
from lazygrad.tensors.realization import relieve


class GradientEdge(NamedTuple):
    """Where the gradient of a tensor is computed: `node`, its `grad_fn`. `ownership_token`: a tensor of the
    same value and history, which no write to the other one changes; None for a leaf."""

    node: GradFn
    output_nr: int
    ownership_token: Tensor | None = None


def _listed(value: Any) -> list[Any]:
    """A list of what was given, alone or several; edges become the tensors that they lead to."""
    if value is None or isinstance(value, Tensor | GradientEdge):
        value = [value]
    return [_at(edge) if isinstance(edge, GradientEdge) else edge for edge in value]


def _at(edge: GradientEdge) -> Tensor:
    found = edge.ownership_token
    if found is None:
        found = getattr(edge.node, "variable", None)
    if found is None:
        raise GradientError("[GradientEdge] the leaf that this edge leads to is gone, or it was made by "
                            "hand: use autograd.graph.get_gradient_edge(tensor)")
    return found


def _seeds(name: str, outputs: Sequence[Tensor], cotangents: Sequence[Any], create_graph: bool) -> list[Node]:
    """The node of each output's cotangent: 1 where none is given. Raises GradientError for what cannot have
    one."""
    seeds = []
    if len(cotangents) != len(outputs):
        raise GradientError(f"[{name}] got {len(outputs)} tensors and {len(cotangents)} gradients")
    for output, given in zip(outputs, cotangents, strict=True):
        if not output.requires_grad:
            raise GradientError(
                f"[{name}] element 0 of tensors does not require grad and does not have a "
                "grad_fn: no leaf "
                f"it was computed from has requires_grad=True"
            )
        if given is None:
            if output._shape.numel() != 1:
                raise GradientError(
                    f"[{name}] grad can be implicitly created only for scalar outputs, not "
                    "for shape "
                    f"{tuple(output._shape)}: pass a gradient of that shape"
                )
            seeds.append(ops.const(1, output._dtype, output._shape))
            continue
        if given._shape != output._shape:
            raise ShapeError(
                f"[{name}] Mismatch in shape: grad_output[0] has a shape of {given._shape!r} "
                "and output[0] has "
                f"a shape of {output._shape!r}."
            )
        given = given if given._dtype is output._dtype else given.to(output._dtype)
        seeds.append(given.graph_node() if create_graph and given.requires_grad else given.plain_node())
    return seeds


def _walk(outputs: Sequence[Tensor]) -> tuple[list[Node], Sequence[Node], Mapping[Node, Node]]:
    """The outputs' nodes, all nodes that gradients may reach from them, and the marks over some of these."""
    roots = [o.graph_node() for o in outputs]
    order = topological(roots, differentiable_inputs)
    check_not_spent(order, [o._history for o in outputs])
    return roots, *with_late_marks(outputs, roots, order)


def _wrap(node: Node, device: str, create_graph: bool) -> Tensor:
    return from_node(node, device, tracked=create_graph, tainted=True)


class Pass:
    """One backward pass: over which nodes, to which of them; what is called when it ends, each once."""

    def __init__(self, order: Sequence[Node], wanted: Sequence[Node]):
        self.order, self.wanted = order, wanted
        self.at_end: dict[Any, Callable[[], Any]] = {}

    def arrivals(self) -> set[Any]:
        """The tokens and marks of the tensors whose gradients it computes."""
        reached = set(self.wanted)
        for node in self.order:
            if any(i in reached for i in differentiable_inputs(node)):
                reached.add(node)
        return {node.arg for node in reached if node.op.name == "leaf"}


class _Running(threading.local):
    all_leaves = True  # whether the pass that runs now is a backward() to all leaves
    now: Pass | None = None


running = _Running()


@contextlib.contextmanager
def _one_pass(order: Sequence[Node], wanted: Sequence[Node]) -> Iterator[None]:
    before, running.now = running.now, Pass(order, wanted)
    try:
        yield
        for call in list(running.now.at_end.values()):
            call()
    finally:
        running.now = before


def hooks_and_calls(create_graph: bool, all_leaves: bool) -> Visit:
    """What Python does on the way: the hooks of marks, and the derivatives of calls."""

    def visit(node: Node, given: Any) -> Any:
        if node.op.name == "call":
            outer, running.all_leaves = running.all_leaves, all_leaves
            try:
                return node.arg.backward(node, given, create_graph)
            finally:
                running.all_leaves = outer
        return _call_hooks(node.arg.hooks, _wrap(given, node.arg.device, create_graph), create_graph)

    return visit


def _gradient(outputs: Sequence[Tensor], roots: Sequence[Node], seeds: Sequence[Node], order: Sequence[Node],
              through: Mapping[Node, Node], wanted: Sequence[Node], create_graph: bool,
              all_leaves: bool) -> list[Node | None]:
    """The graph rewrite, with all hooks on the way."""
    visit = hooks_and_calls(create_graph, all_leaves)
    if not hooks_of:
        return gradient(roots, seeds, wanted, visit, through=through)
    hooked = HookedPass(outputs, order, create_graph, visit)
    return gradient(roots, seeds, wanted, hooked.on_the_way, around=hooked.around(), through=through)


def _call_hooks(hooks: dict[int, Any], g: Tensor, create_graph: bool) -> Node:
    with set_grad_enabled(create_graph):
        for hook in list(hooks.values()):
            changed = hook(g)
            g = g if changed is None else changed
    return g.graph_node() if create_graph and g.requires_grad else g.node(False)


def _targets(order: Sequence[Node], inputs: Any) -> list[tuple[Tensor, Node]]:
    """The tensors that collect gradients in `.grad`, each with a node of its own in the graph."""
    if inputs is not None:
        listed = _listed(inputs)
        leaves = {id(t) for t in listed if t.is_leaf}
        found = [(t, t.graph_node()) for t in listed if not t.is_leaf]
    else:
        leaves, found = None, []
    for node in order:
        if node.op.name == "leaf" and isinstance(node.arg, Token):
            tensor = node.arg.tensor()
            if tensor is not None and (leaves is None or id(tensor) in leaves):
                found.append((tensor, node))
    return found + [pair for pair in retained(order) if not any(pair[0] is t for t, _ in found)]


def _lost(order: Sequence[Node]) -> list[Node]:
    """The leaves whose tensors are gone, where calls and hooks may have effects on the way to them."""
    if not hooks_of and not any(node.op.name == "call" for node in order):
        return []
    return [n for n in order if n.op.name == "leaf" and isinstance(n.arg, Token) and n.arg.tensor() is None]


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Any = None,
    inputs: Any = None,
) -> None:
    """Add the gradient of tensors to `.grad` of every leaf they were computed from (or of `inputs` alone).

    Raises GradientError for tensors that require no gradient, for others than scalars without a given
    gradient, and where an earlier backward pass has freed the graph.
    """
    if grad_variables is not None:
        warnings.warn(
            "`grad_variables` is deprecated. Use `grad_tensors` instead.", FutureWarning, stacklevel=2
        )
        if grad_tensors is not None:
            raise ArgumentError("[backward] `grad_tensors` and `grad_variables` (deprecated) arguments both "
                                "passed to `backward()`. Please only use `grad_tensors`.")
        grad_tensors = grad_variables
    outputs = _listed(tensors)
    if inputs is not None and not isinstance(inputs, Tensor | GradientEdge) and not len(inputs):
        raise GradientError("[backward] `inputs` argument to `backward()` cannot be empty.")
    cotangents = [None] * len(outputs) if grad_tensors is None else _listed(grad_tensors)
    seeds = _seeds("backward", outputs, cotangents, create_graph)
    roots, order, through = _walk(outputs)
    targets = _targets(order, inputs)
    wanted = [node for _, node in targets] + (_lost(order) if inputs is None else [])
    totals: dict[int, tuple[Tensor, Node]] = {}
    with _one_pass(order, wanted):
        found = _gradient(outputs, roots, seeds, order, through, wanted, create_graph, inputs is None)
        for (tensor, _), g in zip(targets, found, strict=False):
            if g is not None:
                before = totals.get(id(tensor))
                totals[id(tensor)] = (tensor, g if before is None else ops.add(before[1], g))
        # tensors of their own before any hook runs: what a hook realizes must not take what others still read
        made = [(tensor, _wrap(g, tensor.cell.device, create_graph)) for tensor, g in totals.values()]
        for tensor, new in made:
            _accumulate(tensor, new, create_graph)
    note_pass(outputs, roots, seeds, order)
    if not (create_graph if retain_graph is None else retain_graph):
        free(order, outputs)
    relieve([tensor.cell for tensor, _ in targets])


def _accumulate(tensor: Tensor, new: Tensor, create_graph: bool) -> None:
    if tensor.is_leaf and tensor._hooks:
        new = _wrap(_call_hooks(tensor._hooks, new, create_graph), tensor.cell.device, create_graph)
    hooks = hooks_of_leaf(tensor)
    if hooks is not None:
        (new,) = run_prehooks(hooks, (new,), create_graph)
    if tensor._grad is None:
        tensor._grad = new
    elif create_graph:
        tensor._grad = tensor._grad + new
    else:
        with no_grad():
            tensor._grad.add_(new)
    for hook in list((tensor._after_grad or {}).values()):
        if hook(tensor) is not None:
            raise GradientError("[backward] Tensor post accumulate grad hooks should return None.")
    if hooks is not None:
        run_hooks(hooks, (), (new,), create_graph)


def _places(x: Tensor, order: Sequence[Node]) -> list[Node]:
    """The nodes that stand for a tensor in a graph: a leaf has one for each memory that it has been in."""
    token = x._history.token
    if token is None or token.tensor() is not x:
        return [x.graph_node()]
    return [node for node in order if node.op.name == "leaf" and node.arg is token]


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of outputs with respect to inputs, one each; `.grad` stays as it is.

    Raises GradientError as `backward` does, and for an input that the outputs do not depend on unless
    `allow_unused` (then None) or `materialize_grads` (then zeros). `is_grads_batched`: the first dimension of
    `grad_outputs` counts examples, and so does that of the gradients.
    """
    if materialize_grads and allow_unused is False:
        raise ArgumentError("[grad] Expected allow_unused to be True or not passed when "
                            f"materialize_grads=True, but got: allow_unused={allow_unused}.")
    outputs, inputs = _listed(outputs), _listed(inputs)
    if not inputs:
        raise GradientError("[grad] `inputs` argument to `grad()` cannot be empty.")
    cotangents = [None] * len(outputs) if grad_outputs is None else _listed(grad_outputs)
    if is_grads_batched:
        rest = (create_graph, only_inputs, allow_unused, False, materialize_grads)
        return _grad_of_each(outputs, inputs, cotangents, retain_graph, rest)
    seeds = _seeds("grad", outputs, cotangents, create_graph)
    for x in inputs:
        if not x.requires_grad:
            raise GradientError(
                "[grad] One of the differentiated Tensors does not require grad: call "
                "requires_grad_() on it before computing with it"
            )
    roots, order, through = _walk(outputs)
    places = [_places(x, order) for x in inputs]
    wanted = [node for nodes in places for node in nodes]
    totals: list[Node | None] = []
    with _one_pass(order, wanted):
        shares = iter(_gradient(outputs, roots, seeds, order, through, wanted, create_graph, False))
        for x, nodes in zip(inputs, places, strict=True):
            found = [g for g in itertools.islice(shares, len(nodes)) if g is not None]
            g = functools.reduce(ops.add, found) if found else None
            if g is not None and x.is_leaf and x._hooks:
                g = _call_hooks(x._hooks, _wrap(g, x.cell.device, create_graph), create_graph)
            totals.append(g)
    results: list[Tensor | None] = []
    for x, g in zip(inputs, totals, strict=True):
        if g is None and materialize_grads:
            g = ops.const(0, x._dtype, x._shape)
        if g is None and not allow_unused:
            raise GradientError(
                "[grad] One of the differentiated Tensors appears to not have been used in "
                "the graph. Set "
                "allow_unused=True if this is the desired behavior."
            )
        results.append(None if g is None else _wrap(g, x.cell.device, create_graph))
    if not (create_graph if retain_graph is None else retain_graph):
        free(order, outputs, set(wanted))
    return tuple(results)


def _grad_of_each(outputs: Any, inputs: Any, cotangents: Sequence[Any], retain_graph: bool | None,
                  rest: tuple[Any, ...]) -> tuple[Tensor | None, ...]:
    """The gradients for each example of the cotangents, stacked. One graph holds the passes of all."""
    sizes = {len(c) for c in cotangents if c is not None}
    if len(sizes) != 1 or 0 in sizes:
        raise GradientError("[grad] is_grads_batched: grad_outputs must have a first dimension of one size, "
                            f"not 0, got sizes {sorted(sizes)}")
    (count,) = sizes
    passes = [
        grad(outputs, inputs, [None if c is None else c[i] for c in cotangents],
             True if i + 1 < count else retain_graph, *rest)
        for i in range(count)
    ]
    stack = FUNCTIONS["stack"]
    return tuple(None if each[0] is None else stack(list(each)) for each in zip(*passes, strict=True))


@method("backward")
def _backward(
    x: Tensor,
    gradient: Tensor | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Add the gradient of this tensor to `.grad` of every leaf it was computed from."""
    backward(x, None if gradient is None else [gradient], retain_graph, create_graph, inputs=inputs)


def _get_grad(x: Tensor) -> Tensor | None:
    return x._grad


def _set_grad(x: Tensor, value: Tensor | None) -> None:
    if value is not None:
        if not isinstance(value, Tensor):
            raise ArgumentTypeError("[grad] assigned grad expected to be a Tensor or None but got grad of "
                                    f"type {type(value).__name__}")
        if value is x:
            raise GradientError("[grad] can't assign Variable as its own grad")
        if value._shape != x._shape:
            raise GradientError("[grad] assigned grad has data of a different size: "
                                f"{tuple(value._shape)} for a tensor of {tuple(x._shape)}")
        if value._dtype is not x._dtype:
            raise GradientError(f"[grad] attempting to assign a gradient of {value._dtype!r} to a tensor of "
                                f"{x._dtype!r}: convert it with .to()")
    x._grad = value


def _delete_grad(x: Tensor) -> None:
    x._grad = None


Tensor.grad = property(
    _get_grad, _set_grad, _delete_grad, doc="What backward passes have added up for this leaf; None at first."
)


@method("detach_")
def detach_(x: Tensor) -> Tensor:
    """Forget the gradient history, in place. Raises GradientError for views."""
    if x._chain:
        raise GradientError("[detach_] Can't detach views in-place. Use detach() instead.")
    x._own_history(leaf=False)
    return x


# Hooks


def arrival_of(x: Tensor) -> Any:
    """What stands for a tensor with a hook among a pass's arrivals."""
    return x._history.token if x.is_leaf else mark_of(x)


def _check_hookable(name: str, x: Tensor) -> None:
    if not x.requires_grad:
        raise GradientError(f"[{name}] cannot register a hook on a tensor that doesn't require gradient")


@method("register_hook")
def register_hook(x: Tensor, hook: Any) -> RemovableHandle:
    """Call `hook(grad)` whenever the gradient of x is computed; what it returns, unless None, takes its
    place.

    Raises GradientError for a tensor that requires no gradient.
    """
    _check_hookable("register_hook", x)
    if not x.is_leaf:
        return register(mark_of(x).hooks, hook)
    x._hooks = hook_table() if x._hooks is None else x._hooks
    return register(x._hooks, hook)


@method("register_post_accumulate_grad_hook")
def register_post_accumulate_grad_hook(x: Tensor, hook: Any) -> RemovableHandle:
    """Call `hook(x)` after each time that a backward pass has added to `x.grad`. Raises GradientError for
    others than leaves."""
    _check_hookable("register_post_accumulate_grad_hook", x)
    if not x.is_leaf:
        raise GradientError(
            "[register_post_accumulate_grad_hook] post accumulate grad hooks cannot be "
            "registered on "
            "non-leaf tensors"
        )
    x._after_grad = hook_table() if x._after_grad is None else x._after_grad
    return register(x._after_grad, hook)


@method("retain_grad")
def retain_grad(x: Tensor) -> None:
    """Let backward passes keep the gradient of this tensor in `.grad` although it is no leaf."""
    if not x.requires_grad:
        raise GradientError("[retain_grad] can't retain_grad on Tensor that has requires_grad=False")
    if not x.is_leaf:
        retain(x)


Tensor.retains_grad = property(retains, doc="Whether `.grad` is kept although this is no leaf.")


def _grad_fn(x: Tensor) -> GradFn | None:
    if x.is_leaf:
        return None
    if x._made_by is None:  # a view of what became differentiable later, or the result of a backward pass
        base = x._base
        x._made_by = made_by(x.graph_node().op.name, ()) if base is None else made_by("as_strided", [base])
    return x._made_by


Tensor.grad_fn = property(_grad_fn, doc="The operation that made a differentiable result; None for leaves.")
Tensor.output_nr = 0


def _get_label(x: Tensor) -> Any:
    return "" if x._label is None else x._label.text


def _set_label(x: Tensor, text: Any) -> None:
    x._label = Label(x, text)
    if x.requires_grad:
        made = x.grad_fn
        if made is not None:
            made._label = text
        elif x._history.token is not None:
            x._history.token.label = text


Tensor.label = property(
    _get_label, _set_label, doc='What drawings call this tensor; "" at first. A write in place keeps it.'
)
