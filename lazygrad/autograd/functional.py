"""Derivatives of functions of tensors, under the names of torch.autograd.functional.

Each calls a function once on views of its inputs, differentiates what it returns, and leaves `.grad` alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lazygrad.errors import ArgumentTypeError, ConditionError, GradientError, MissingError
from lazygrad.tensors import FUNCTIONS
from lazygrad.tensors.autograd import grad
from lazygrad.tensors.core import Tensor
from lazygrad.tensors.modes import enable_grad, is_grad_enabled, set_grad_enabled

Tensors = tuple[Tensor, ...]

_zeros_like: Callable[..., Tensor] = FUNCTIONS["zeros_like"]
_stack: Callable[..., Tensor] = FUNCTIONS["stack"]


def _tuple(value: Any, what: str, function: str) -> tuple[bool, Tensors]:
    """Whether a value was a tuple, and its tensors."""
    was_tuple = isinstance(value, tuple)
    tensors = value if was_tuple else (value,)
    for i, x in enumerate(tensors):
        if not isinstance(x, Tensor):
            which = f"value at index {i}" if was_tuple else f"given {what}"
            raise ArgumentTypeError(f"[{function}] The {what} given to {function} must be either a Tensor "
                                    f"or a tuple of Tensors but the {which} has type {type(x)}.")
    return was_tuple, tensors


def _views(inputs: Tensors, create_graph: bool) -> Tensors:
    """The inputs as tensors of their own that require a gradient, connected to them under create_graph."""
    if create_graph:
        return tuple(x.view_as(x) if x.requires_grad else x.detach().requires_grad_() for x in inputs)
    return tuple(x.detach().requires_grad_() for x in inputs)


def _cut(tensors: Any, create_graph: bool) -> Any:
    """Results, without history unless the caller wants to differentiate them."""
    if isinstance(tensors, tuple):
        return tuple(_cut(t, create_graph) for t in tensors)
    return tensors if create_graph else tensors.detach()


def _called(name: str, func: Callable[..., Any], inputs: Any,
            create_graph: bool) -> tuple[bool, Tensors, bool, Tensors]:
    """Whether the inputs were a tuple, the views of them, whether the outputs are a tuple, the outputs."""
    inputs_tuple, given = _tuple(inputs, "inputs", name)
    views = _views(given, create_graph)
    result = func(*views)
    result_tuple, outputs = _tuple(result, "outputs of the user-provided function", name)
    return inputs_tuple, views, result_tuple, outputs


def _check_vector(name: str, v: Any, like: Tensors, was_tuple: bool) -> Tensors:
    """The vectors of a product, in the shapes of what they multiply; ones for a single number."""
    if v is None:
        if len(like) != 1 or like[0]._shape.numel() != 1:
            raise GradientError(f"[{name}] The vector v can only be None if the user-provided function "
                                "returns a single Tensor with a single element.")
        return (FUNCTIONS["ones_like"](like[0]),)
    _, vectors = _tuple(v, "v", name)
    if len(vectors) != len(like):
        if was_tuple:
            raise GradientError(f"[{name}] v is a tuple of invalid length: should be {len(like)} but got "
                                f"{len(vectors)}.")
        raise GradientError(f"[{name}] The given v should contain a single Tensor.")
    for i, (a, b) in enumerate(zip(vectors, like, strict=True)):
        if a._shape != b._shape:
            prefix = f"Entry {i} in " if len(vectors) > 1 else ""
            raise GradientError(f"[{name}] {prefix}v has invalid size: should be {b._shape!r} but got "
                                f"{a._shape!r}.")
    return vectors


def _check_dependent(name: str, outputs: Tensors, strict: bool) -> None:
    for i, y in enumerate(outputs):
        if strict and not y.requires_grad:
            raise GradientError(f"[{name}] Output {i} of the user-provided function does not require "
                                "gradients. The outputs must be computed in a differentiable manner from "
                                "the input when running in strict mode.")


def _gradients(outputs: Tensors, inputs: Tensors, vectors: Any,
               create_graph: bool) -> tuple[Tensor | None, ...]:
    """Like grad, with None everywhere where no output depends on anything, and for vectors that are None."""
    pairs = [(y, v) for y, v in zip(outputs, vectors, strict=True) if y is not None and y.requires_grad
             and v is not None]
    if not pairs:
        return (None,) * len(inputs)
    return grad([y for y, _ in pairs], inputs, [v for _, v in pairs], retain_graph=True,
                create_graph=create_graph, allow_unused=True)


def _filled(name: str, grads: Any, like: Tensors, strict: bool, create_graph: bool, what: str) -> Tensors:
    """Zeros for the gradients that are None. Under strict they are errors."""
    filled = []
    for i, (g, x) in enumerate(zip(grads, like, strict=True)):
        if g is None:
            if strict:
                raise GradientError(f"[{name}] {what.format(i=i)}")
            g = _zeros_like(x)
        elif strict and create_graph and not g.requires_grad:
            raise GradientError(f"[{name}] The jacobian of the user-provided function is independent of "
                                f"input {i}. This is not allowed in strict mode when create_graph=True.")
        filled.append(g)
    return tuple(filled)


_INDEPENDENT = (
    "The output of the user-provided function is independent of input {i}. This is not allowed in strict "
    "mode."
)


def _plural(tensors: Any, was_tuple: bool) -> Any:
    return tuple(tensors) if was_tuple else tensors[0]


def vjp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False,
        strict: bool = False) -> tuple[Any, Any]:
    """(func(*inputs), v^T J) with v in the shapes of the outputs."""
    with enable_grad():
        inputs_tuple, views, result_tuple, outputs = _called("vjp", func, inputs, create_graph)
        _check_dependent("vjp", outputs, strict)
        vectors = _check_vector("vjp", v, outputs, result_tuple)
    with set_grad_enabled(create_graph or is_grad_enabled()):
        grads = _gradients(outputs, views, vectors, create_graph)
        products = _filled("vjp", grads, views, strict, create_graph, _INDEPENDENT)
    return (_plural(_cut(outputs, create_graph), result_tuple),
            _plural(_cut(products, create_graph), inputs_tuple))


def jvp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False,
        strict: bool = False) -> tuple[Any, Any]:
    """(func(*inputs), J v) with v in the shapes of the inputs, by two backward passes."""
    with enable_grad():
        inputs_tuple, views, result_tuple, outputs = _called("jvp", func, inputs, create_graph)
        vectors = _check_vector("jvp", v, views, inputs_tuple)
        _check_dependent("jvp", outputs, strict)
        # the derivative of v^T J by v is J; it does not depend on v
        dummies = tuple(_zeros_like(y).requires_grad_() for y in outputs)
        grads = _gradients(outputs, views, dummies, True)
        first = _filled("jvp", grads, views, strict, create_graph, _INDEPENDENT)
        forward = _gradients(first, dummies, vectors, create_graph)
        products = _filled("jvp", forward, outputs, strict, create_graph, _INDEPENDENT)
    return (_plural(_cut(outputs, create_graph), result_tuple),
            _plural(_cut(products, create_graph), result_tuple))


def jacobian(func: Callable[..., Any], inputs: Any, create_graph: bool = False, strict: bool = False,
             vectorize: bool = False, strategy: str = "reverse-mode") -> Any:
    """The derivatives of every element of the outputs by every element of the inputs: for each pair a tensor
    of shape (*output, *input); tuples where outputs, or inputs, are tuples. `vectorize` and `strategy` change
    nothing: all rows are one graph, computed together."""
    if strategy not in ("reverse-mode", "forward-mode"):
        raise ConditionError('[jacobian] Expected strategy to be either "forward-mode" or "reverse-mode". '
                             'Hint: If your function has more outputs than inputs, "forward-mode" tends to '
                             'be more performant.')
    if strategy == "forward-mode" and not vectorize:
        raise MissingError("[jacobian] Computing Jacobian with strategy=\"forward-mode\" requires "
                           "vectorize=True")
    if vectorize and strict:
        raise GradientError("[jacobian] `strict=True` and `vectorized=True` are not supported together. "
                            "Please either set `strict=False` or `vectorize=False`.")
    with enable_grad():
        inputs_tuple, views, result_tuple, outputs = _called("jacobian", func, inputs, create_graph)
        _check_dependent("jacobian", outputs, strict)
        rows_of_all = []
        for i, y in enumerate(outputs):
            rows: list[Tensors] = []
            for j in range(y._shape.numel()):
                grads = _gradients((y.reshape(-1)[j],), views, (_one(y),), create_graph)
                what = (f"Output {i} of the user-provided function is independent of input {{i}}. This is "
                        "not allowed in strict mode.")
                rows.append(_filled("jacobian", grads, views, strict, create_graph, what))
            rows_of_all.append(tuple(
                _stack([row[k] for row in rows]).reshape((*y._shape, *x._shape)) if rows
                else FUNCTIONS["zeros"]((*y._shape, *x._shape), dtype=x._dtype, device=x.device)
                for k, x in enumerate(views)))
    cut = _cut(tuple(rows_of_all), create_graph)
    return _plural([_plural(row, inputs_tuple) for row in cut], result_tuple)


def _one(y: Tensor) -> Tensor:
    return FUNCTIONS["ones"]((), dtype=y._dtype, device=y.device)


def _single(name: str, func: Callable[..., Any]) -> Callable[..., Any]:
    """func, which must return one number."""

    def run(*inputs: Tensor) -> Tensor:
        y = func(*inputs)
        result_tuple, outputs = _tuple(y, "outputs of the user-provided function", name)
        if result_tuple or len(outputs) != 1:
            raise GradientError(f"[{name}] The function given to {name} should return a single Tensor")
        if outputs[0]._shape.numel() != 1:
            raise GradientError(f"[{name}] The Tensor returned by the function given to {name} should "
                                "contain a single element")
        return outputs[0].reshape(())

    return run


def hessian(func: Callable[..., Any], inputs: Any, create_graph: bool = False, strict: bool = False,
            vectorize: bool = False, outer_jacobian_strategy: str = "reverse-mode") -> Any:
    """The second derivatives of a function with one number as its result: for each pair of inputs a tensor of
    shape (*first, *second)."""
    if outer_jacobian_strategy not in ("reverse-mode", "forward-mode"):
        raise ConditionError('[hessian] Expected strategy to be either "reverse-mode" or "forward-mode".')
    inputs_tuple, _ = _tuple(inputs, "inputs", "hessian")
    single = _single("hessian", func)

    def first(*views: Tensor) -> Any:
        found = jacobian(single, views, create_graph=True, strict=strict)
        return _plural(found, inputs_tuple)

    return jacobian(first, inputs, create_graph=create_graph, strict=strict)


def _times_hessian(name: str, func: Callable[..., Any], inputs: Any, v: Any, create_graph: bool,
                   strict: bool) -> tuple[Any, Any]:
    inputs_tuple, given = _tuple(inputs, "inputs", name)
    with enable_grad():
        views = _views(given, create_graph)
        if v is None and (len(given) != 1 or given[0]._shape.numel() != 1):
            raise GradientError(f"[{name}] The vector v can only be None if the input to the user-provided "
                                "function is a single Tensor with a single element.")
        vectors = _check_vector(name, v, views, inputs_tuple)
        y = _single(name, func)(*views)
        _check_dependent(name, (y,), strict)
        grads = _gradients((y,), views, (_one(y),), True)
        first = _filled(name, grads, views, strict, create_graph, _INDEPENDENT)
        grads = _gradients(first, views, vectors, create_graph)
        products = _filled(name, grads, views, strict, create_graph, _INDEPENDENT)
    return _cut(y, create_graph), _plural(_cut(products, create_graph), inputs_tuple)


def vhp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False,
        strict: bool = False) -> tuple[Any, Any]:
    """(func(*inputs), v^T H) of a function with one number as its result."""
    return _times_hessian("vhp", func, inputs, v, create_graph, strict)


def hvp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False,
        strict: bool = False) -> tuple[Any, Any]:
    """(func(*inputs), H v) of a function with one number as its result; H is symmetric, so it is `vhp`."""
    return _times_hessian("hvp", func, inputs, v, create_graph, strict)
