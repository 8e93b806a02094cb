"""Gradients of tensors: `backward`, `grad`, hooks. The graph rewrite itself is `lazygrad/gradient.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lazygrad import ops
from lazygrad.errors import GradientError, ShapeError
from lazygrad.gradient import differentiable_inputs, gradient
from lazygrad.graph import Node, topological
from lazygrad.tensors.cell import Token, check_not_spent, tracked_histories
from lazygrad.tensors.core import Tensor, from_node, method
from lazygrad.tensors.modes import no_grad


def _listed(value: Any) -> list[Any]:
    return [value] if value is None or isinstance(value, Tensor) else list(value)


def _seeds(name: str, outputs: Sequence[Tensor], cotangents: Sequence[Any], create_graph: bool) -> list[Node]:
    """The node of each output's cotangent: 1 where none is given. Raises GradientError for what cannot have one."""
    seeds = []
    if len(cotangents) != len(outputs):
        raise GradientError(f"[{name}] got {len(outputs)} tensors and {len(cotangents)} gradients")
    for output, given in zip(outputs, cotangents, strict=True):
        if not output.requires_grad:
            raise GradientError(f"[{name}] element 0 of tensors does not require grad and does not have a grad_fn: no leaf "
                                f"it was computed from has requires_grad=True")
        if given is None:
            if output._shape.numel() != 1:
                raise GradientError(f"[{name}] grad can be implicitly created only for scalar outputs, not for shape "
                                    f"{tuple(output._shape)}: pass a gradient of that shape")
            seeds.append(ops.const(1, output._dtype, output._shape))
            continue
        if given._shape != output._shape:
            raise ShapeError(f"[{name}] Mismatch in shape: grad_output[0] has a shape of {given._shape!r} and output[0] has "
                             f"a shape of {output._shape!r}.")
        given = given if given._dtype is output._dtype else given.to(output._dtype)
        seeds.append(given.graph_node() if create_graph and given.requires_grad else given.plain_node())
    return seeds


def _walk(outputs: Sequence[Tensor]) -> tuple[list[Node], list[Node]]:
    """The outputs' nodes and all nodes that gradients may reach from them."""
    roots = [o.graph_node() for o in outputs]
    order = topological(roots, differentiable_inputs)
    check_not_spent(order)
    return roots, order


def _free(order: list[Node]) -> None:
    """Mark the histories of a graph as spent: their memory goes when their values are realized."""
    reached = set(order)
    for history in list(tracked_histories):
        if history.token is None and history.node in reached:
            history.spent = True
            if history.cell.is_realized:
                history.forget()


def _wrap(node: Node, like: Tensor, create_graph: bool) -> Tensor:
    return from_node(node, like.cell.device, tracked=create_graph, tainted=True)


def backward(tensors: Any, grad_tensors: Any = None, retain_graph: bool | None = None, create_graph: bool = False,
             inputs: Any = None) -> None:
    """Add the gradient of tensors to `.grad` of every leaf they were computed from (or of `inputs` alone).

    Raises GradientError for tensors that require no gradient, for others than scalars without a given gradient, and
    where an earlier backward pass has freed the graph.
    """
    outputs = _listed(tensors)
    cotangents = [None] * len(outputs) if grad_tensors is None else _listed(grad_tensors)
    seeds = _seeds("backward", outputs, cotangents, create_graph)
    roots, order = _walk(outputs)
    leaves = [n for n in order if n.op.name == "leaf" and isinstance(n.arg, Token)]
    wanted = None if inputs is None else {id(t) for t in _listed(inputs)}
    found: dict[int, tuple[Tensor, Node]] = {}
    for leaf, g in zip(leaves, gradient(roots, seeds, leaves), strict=True):
        tensor = leaf.arg.tensor()
        if g is None or tensor is None or (wanted is not None and id(tensor) not in wanted):
            continue
        before = found.get(id(tensor))
        found[id(tensor)] = (tensor, g if before is None else ops.add(before[1], g))
    for tensor, g in found.values():
        _accumulate(tensor, g, create_graph)
    if not (create_graph if retain_graph is None else retain_graph):
        _free(order)


def _accumulate(tensor: Tensor, g: Node, create_graph: bool) -> None:
    new = _wrap(g, tensor, create_graph)
    if tensor._grad is None:
        tensor._grad = new
    elif create_graph:
        tensor._grad = tensor._grad + new
    else:
        with no_grad():
            tensor._grad.add_(new)


def grad(outputs: Any, inputs: Any, grad_outputs: Any = None, retain_graph: bool | None = None,
         create_graph: bool = False, only_inputs: bool = True, allow_unused: bool | None = None,
         is_grads_batched: bool = False, materialize_grads: bool = False) -> tuple[Tensor | None, ...]:
    """The gradients of outputs with respect to inputs, one each; `.grad` stays as it is.

    Raises GradientError as `backward` does, and for an input that the outputs do not depend on unless
    `allow_unused` (then None) or `materialize_grads` (then zeros).
    """
    outputs, inputs = _listed(outputs), _listed(inputs)
    cotangents = [None] * len(outputs) if grad_outputs is None else _listed(grad_outputs)
    seeds = _seeds("grad", outputs, cotangents, create_graph)
    for x in inputs:
        if not x.requires_grad:
            raise GradientError("[grad] One of the differentiated Tensors does not require grad: call "
                                "requires_grad_() on it before computing with it")
    roots, order = _walk(outputs)
    nodes = [x.graph_node() for x in inputs]
    results: list[Tensor | None] = []
    for x, g in zip(inputs, gradient(roots, seeds, nodes), strict=True):
        if g is None and materialize_grads:
            g = ops.const(0, x._dtype, x._shape)
        if g is None and not allow_unused:
            raise GradientError("[grad] One of the differentiated Tensors appears to not have been used in the graph. Set "
                                "allow_unused=True if this is the desired behavior.")
        results.append(None if g is None else _wrap(g, x, create_graph))
    if not (create_graph if retain_graph is None else retain_graph):
        _free(order)
    return tuple(results)


@method("backward")
def _backward(x: Tensor, gradient: Tensor | None = None, retain_graph: bool | None = None,
              create_graph: bool = False, inputs: Any = None) -> None:
    """Add the gradient of this tensor to `.grad` of every leaf it was computed from."""
    backward(x, None if gradient is None else [gradient], retain_graph, create_graph, inputs)


def _get_grad(x: Tensor) -> Tensor | None:
    return x._grad


def _set_grad(x: Tensor, value: Tensor | None) -> None:
    if value is not None and (not isinstance(value, Tensor) or value._shape != x._shape):
        got = tuple(value._shape) if isinstance(value, Tensor) else type(value).__name__
        raise GradientError(f"[grad] assigned grad has data of a different size: {got} for a tensor of {tuple(x._shape)}")
    x._grad = value


Tensor.grad = property(_get_grad, _set_grad, doc="What backward passes have added up for this leaf; None at first.")  # type: ignore[attr-defined]


@method("detach_")
def detach_(x: Tensor) -> Tensor:
    """Forget the gradient history, in place. Raises GradientError for views."""
    if x._chain:
        raise GradientError("[detach_] Can't detach views in-place. Use detach() instead.")
    x._own_history(leaf=False)
    return x
