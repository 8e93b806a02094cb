"""Functions that differentiate functions: grad, vjp, jvp, linearize, and the matrices made of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import lazygrad
from lazygrad import ops
from lazygrad.differentiation import gradient
from lazygrad.errors import ArgumentError, GradientError, ShapeError, TransformError
from lazygrad.func.levels import Run, Stub
from lazygrad.func.vectorized import RANDOMNESS, vmap
from lazygrad.graph import Node
from lazygrad.tensors import Tensor
from lazygrad.tensors.core import from_node
from lazygrad.tree import Tree, flatten

Argnums = int | tuple[int, ...] | None


def _numbers(name: str, argnums: Argnums, count: int, captured: Any = None) -> tuple[int, ...]:
    """Which arguments to differentiate by, from 0: the first one where nothing is said. Raises ArgumentError
    for one that is not there."""
    if argnums is None:
        if captured is not None:
            return ()
        argnums = 0
    listed = argnums if isinstance(argnums, tuple) else (argnums,)
    for i in listed:
        if not isinstance(i, int) or isinstance(i, bool):
            raise TransformError(f"[{name}] argnums must be an int or a tuple of ints, got {argnums!r}")
        if not -count <= i < count:
            raise ArgumentError(f"[{name}] Got argnum={i}, but only {count} positional inputs")
    wrapped = tuple(i % count for i in listed)
    if not wrapped or len(set(wrapped)) < len(wrapped):
        raise ArgumentError(f"[{name}] argnums must be different ones and at least one, got {argnums!r}")
    return wrapped


def _chosen(argnums: Argnums, found: Sequence[Any], captured: Any = None) -> Any:
    """What belongs to the arguments; that of captured tensors; or both, as (arguments', captured's)."""
    if captured is not None and argnums is None:
        return found[-1]
    by_argument = found if captured is None else found[:-1]
    chosen = tuple(by_argument) if isinstance(argnums, tuple) else by_argument[0]
    return chosen if captured is None else (chosen, found[-1])


def _graded(name: str, func: Callable[..., Any], argnums: Argnums, has_aux: bool, args: tuple[Any, ...],
            kwargs: dict[str, Any], captured: Any) -> tuple[Any, Run]:
    run = Run(name, func, args, has_aux, kwargs, _numbers(name, argnums, len(args), captured), captured)
    if run.tree.kind is not None:
        raise TransformError(f"[{name}] Expected f(*args) to return a single tensor, got "
                                f"{run.tree.kind.__name__}")
    (output,) = run.outputs
    if output.ndim:
        raise ShapeError(f"[{name}] Expected f(*args) to return a scalar tensor, got tensor with "
                         f"{output.ndim} dims: use vjp or jacrev, or sum the output")
    grads = run.per_input(run.pull([ops.const(1, output.dtype, output.shape)]))
    return _chosen(argnums, grads, captured), run


def grad(func: Callable[..., Any], argnums: Argnums = None, has_aux: bool = False, *,
         captured: Any = None) -> Callable[..., Any]:
    """The function that returns the gradient of func's 0-d result by argument `argnums` (a tuple of them for
    a tuple; the first one by default), in the shape of the argument: tensors in dicts, lists, tuples and
    dataclasses. With `has_aux`, func returns (result, aux), and (gradient, aux) is returned. No `.grad`
    changes.

    `captured`: tensors, in such containers too, that func reads from its closure or from a module instead of
    taking them as arguments, whether they require a gradient or not. The gradient is then by these, in their
    shape, or, with `argnums` too, the pair (by the arguments, by these). Views of them that were made before
    are other tensors. Raises GradientError where func writes to one of them.
    """

    @functools.wraps(func)
    def gradients(*args: Any, **kwargs: Any) -> Any:
        found, run = _graded("grad", func, argnums, has_aux, args, kwargs, captured)
        return (found, run.aux) if has_aux else found

    return gradients


def grad_and_value(func: Callable[..., Any], argnums: Argnums = None, has_aux: bool = False, *,
                   captured: Any = None) -> Callable[..., Any]:
    """As `grad`, but the function returns (gradient, value), or (gradient, (value, aux))."""

    @functools.wraps(func)
    def gradients(*args: Any, **kwargs: Any) -> Any:
        found, run = _graded("grad_and_value", func, argnums, has_aux, args, kwargs, captured)
        return found, (run.value(), run.aux) if has_aux else run.value()

    return gradients


def value_and_grad(func: Callable[..., Any], argnums: Argnums = None, has_aux: bool = False, *,
                   captured: Any = None) -> Callable[..., Any]:
    """As `grad_and_value`, in the other order: (value, gradient), or ((value, aux), gradient)."""
    both = grad_and_value(func, argnums, has_aux, captured=captured)

    @functools.wraps(func)
    def values(*args: Any, **kwargs: Any) -> Any:
        found, value = both(*args, **kwargs)
        return value, found

    return values


def _matching(name: str, given: Any, tensors: Sequence[Tensor], tree: Tree, what: str) -> list[Node]:
    """The nodes of tangents or cotangents, one for each tensor. Raises where they do not fit."""
    leaves, shape = flatten(given)
    if shape != tree:
        raise TransformError(f"[{name}] Expected {what} to have the same structure as what they belong "
                                f"to: {len(tensors)} tensors, got {len(leaves)} in another structure")
    nodes = []
    for value, x in zip(leaves, tensors, strict=True):
        if not isinstance(value, Tensor):
            raise TransformError(f"[{name}] Expected {what} to be tensors, got {type(value).__name__}")
        if value.shape != x.shape:
            raise ShapeError(f"[{name}] Expected {what} of shape {tuple(x.shape)}, got {tuple(value.shape)}")
        nodes.append(value.to(x.device, x.dtype).node())
    return nodes


def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False, captured: Any = None
        ) -> tuple[Any, ...]:
    """func(*primals), and its pullback: a function from cotangents (in the structure of the result) to the
    cotangents of the primals (a tuple, also of one). It can be called again and again; no `.grad`
    changes. With `has_aux`: (result, pullback, aux). `captured`: tensors that func reads from its closure
    (see `grad`); their cotangents follow those of the primals."""
    if not primals and captured is None:
        raise ArgumentError("[vjp] needs at least one primal, or captured tensors, to differentiate by")
    run = Run("vjp", func, primals, has_aux, {}, range(len(primals)), captured)

    def pullback(*cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> Any:
        given = cotangents[0] if len(cotangents) == 1 else cotangents
        found = run.per_input(run.pull(_matching("vjp", given, run.outputs, run.tree, "cotangents")))
        return tuple(found) if primals else found[0]

    return (run.value(), pullback, run.aux) if has_aux else (run.value(), pullback)


def _pushed(run: Run, tangents: Sequence[Node]) -> list[Node]:
    """The tangents of the outputs. The pullback is linear in its cotangents; its own pullback pushes tangents
    forward."""
    outputs = run.output_nodes()
    stubs = [ops.leaf(ops.const(0, n.dtype, n.shape), arg=Stub()) for n in outputs]
    pulled = gradient(outputs, stubs, run.leaves)
    flowing = [(g, t) for g, t in zip(pulled, tangents, strict=True) if g is not None]
    found = gradient([g for g, _ in flowing], [t for _, t in flowing], stubs)
    return [ops.const(0, n.dtype, n.shape) if f is None else f for n, f in zip(outputs, found, strict=True)]


def jvp(func: Callable[..., Any], primals: Any, tangents: Any, *, strict: bool = False,
        has_aux: bool = False) -> tuple[Any, ...]:
    """func(*primals), and the derivative of the result in the direction of the tangents. `strict`: raise
    GradientError for a result that does not depend on the primals, instead of zeros."""
    for value, what in ((primals, "primals"), (tangents, "tangents")):
        if not isinstance(value, tuple | list) or not value:
            raise TransformError(f"[jvp] Expected {what} to be a tuple of at least one, got "
                                    f"{type(value).__name__}")
    run = Run("jvp", func, primals, has_aux, {}, range(len(primals)))
    if strict and not all(x.requires_grad for x in run.outputs):
        raise GradientError("[jvp] strict=True: the result does not depend on the primals")
    _, tree = flatten(tuple(primals))
    directions = _matching("jvp", tuple(tangents), run.inputs, tree, "tangents")
    pushed = _results(run, _pushed(run, directions))
    return (run.value(), pushed, run.aux) if has_aux else (run.value(), pushed)


def _results(run: Run, nodes: Sequence[Node]) -> Any:
    return run.tree.unflatten([run.level.made(n, x.cell.device)
                               for n, x in zip(nodes, run.outputs, strict=True)])


def linearize(func: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """func(*primals), and the function from tangents (one for each primal) to the result's tangent there."""
    run = Run("linearize", func, primals, False, {}, range(len(primals)))
    _, tree = flatten(primals)

    def push(*tangents: Any) -> Any:
        return _results(run, _pushed(run, _matching("linearize", tangents, run.inputs, tree, "tangents")))

    return run.value(), push


def _basis(x: Tensor) -> Tensor:
    """The unit tensors of x's shape: (numel, *shape)."""
    n = x.numel()
    return lazygrad.eye(n, dtype=x.dtype, device=x.device).reshape(n, *x.shape)


def _zeros(x: Tensor) -> Tensor:
    return from_node(ops.const(0, x.dtype, tuple(x.shape)), x.cell.device)


def jacrev(func: Callable[..., Any], argnums: Argnums = None, *, has_aux: bool = False,
           chunk_size: int | None = None, captured: Any = None) -> Callable[..., Any]:
    """The function that returns the Jacobian of func by argument `argnums`, (*output shape, *input shape),
    row by row in reverse mode: for each output, in its structure, what each input has. `chunk_size`: how many
    rows at once. `captured`: tensors that func reads from its closure (see `grad`)."""

    @functools.wraps(func)
    def matrix(*args: Any, **kwargs: Any) -> Any:
        numbers = _numbers("jacrev", argnums, len(args), captured)
        run = Run("jacrev", func, args, has_aux, kwargs, numbers, captured)
        rows = []
        for k, output in enumerate(run.outputs):

            def pull(seed: Tensor, k: int = k) -> list[Tensor]:
                seeds = [seed if i == k else _zeros(x) for i, x in enumerate(run.outputs)]
                pulled = run.pull([s.node() for s in seeds])
                return [run.level.made(n, x.cell.device) for n, x in zip(pulled, run.inputs, strict=True)]

            found = vmap(pull, chunk_size=chunk_size, randomness="same")(_basis(output))
            shaped = [g.reshape((*output.shape, *x.shape)) for g, x in zip(found, run.inputs, strict=True)]
            rows.append(_chosen(argnums, run.split(shaped), captured))
        result = run.tree.unflatten(rows)
        return (result, run.aux) if has_aux else result

    return matrix


jacobian = jacrev


def jacfwd(func: Callable[..., Any], argnums: int | tuple[int, ...] = 0, has_aux: bool = False, *,
           randomness: str = "error", chunk_size: int | None = None) -> Callable[..., Any]:
    """As `jacrev`, column by column in forward mode."""
    if randomness not in RANDOMNESS:
        raise ArgumentError(f"[jacfwd] randomness must be one of {', '.join(RANDOMNESS)}, got {randomness!r}")

    @functools.wraps(func)
    def matrix(*args: Any, **kwargs: Any) -> Any:
        run = Run("jacfwd", func, args, has_aux, kwargs, _numbers("jacfwd", argnums, len(args)))
        columns: list[list[Tensor]] = []
        for k, x in enumerate(run.inputs):

            def push(tangent: Tensor, k: int = k) -> list[Tensor]:
                tangents = [tangent if i == k else _zeros(y) for i, y in enumerate(run.inputs)]
                pushed = _pushed(run, [t.node() for t in tangents])
                return [run.level.made(n, y.cell.device) for n, y in zip(pushed, run.outputs, strict=True)]

            found = vmap(push, chunk_size=chunk_size, randomness=randomness)(_basis(x))
            columns.append([t.movedim(0, -1).reshape((*y.shape, *x.shape))
                            for t, y in zip(found, run.outputs, strict=True)])
        rows = [_chosen(argnums, run.split([column[i] for column in columns]))
                for i in range(len(run.outputs))]
        result = run.tree.unflatten(rows)
        return (result, run.aux) if has_aux else result

    return matrix


def hessian(func: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """The function that returns the second derivatives of func by argument `argnums`: the Jacobian, in
    forward mode, of the Jacobian."""
    return jacfwd(jacrev(func, argnums), argnums)
