"""`gradcheck` and `gradgradcheck`: derivatives beside the differences that they are the limits of."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lazygrad.errors import ArgumentError, GradientError
from lazygrad.tensors import FUNCTIONS
from lazygrad.tensors.autograd import grad
from lazygrad.tensors.core import Tensor
from lazygrad.tensors.modes import enable_grad, no_grad
from lazygrad.tensors.values import read


class GradcheckError(GradientError):
    """A derivative that is not what the differences say."""


def _listed(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def _differentiable(values: Sequence[Any]) -> list[Tensor]:
    return [v for v in values if isinstance(v, Tensor) and v._dtype.kind == "float"]


def _numerical(func: Callable[..., Any], inputs: Sequence[Any], which: int, eps: float) -> list[np.ndarray]:
    """For each output the derivatives by one input, (input elements, output elements), by differences."""
    x = inputs[which]
    start = read(x).astype(np.float64)
    rows: list[list[np.ndarray]] = []

    def outputs_at(place: int, step: float) -> list[np.ndarray]:
        moved = start.copy()
        moved.reshape(-1)[place] += step
        near = FUNCTIONS["tensor"](moved, dtype=x._dtype, device=x.device).requires_grad_(x.requires_grad)
        with enable_grad():
            results = _differentiable(_listed(func(*inputs[:which], near, *inputs[which + 1 :])))
        return [read(y.detach()).astype(np.float64).reshape(-1) for y in results]

    for place in range(start.size):
        above, below = outputs_at(place, eps), outputs_at(place, -eps)
        rows.append([(a - b) / (2 * eps) for a, b in zip(above, below, strict=True)])
    return [np.array(column) for column in zip(*rows, strict=True)]


def _analytical(y: Tensor, inputs: Sequence[Tensor], check_dtypes: bool) -> list[np.ndarray]:
    """The derivatives of one output by each input, (input elements, output elements), by backward passes."""
    count = y._shape.numel()
    found = [np.zeros((x._shape.numel(), count)) for x in inputs]
    if not y.requires_grad:
        return found
    for place in range(count):
        one = np.zeros(count)
        one[place] = 1
        vector = FUNCTIONS["tensor"](one.reshape(tuple(y._shape)), dtype=y._dtype, device=y.device)
        for i, g in enumerate(grad(y, inputs, vector, retain_graph=True, allow_unused=True)):
            if g is None:
                continue
            if check_dtypes and g._dtype is not inputs[i]._dtype:
                raise GradcheckError(f"[gradcheck] Gradient has dtype {g._dtype!r} for an input of "
                                     f"{inputs[i]._dtype!r}")
            found[i][:, place] = read(g).reshape(-1)
    return found


def _check(func: Callable[..., Any], inputs: Any, eps: float, atol: float, rtol: float, check_dtypes: bool,
           nondet_tol: float) -> None:
    given = _listed(inputs)
    wanted = [i for i, x in enumerate(given) if isinstance(x, Tensor) and x.requires_grad]
    if not wanted:
        raise ArgumentError("[gradcheck] gradcheck expects at least one input tensor to require gradient, "
                            "but none of the them have requires_grad=True.")
    for i in wanted:
        if given[i]._dtype.itemsize < 8:
            warnings.warn(f"Input #{i} requires gradient and is not a double precision floating point. "
                          "This check will likely fail if all the inputs are not of double precision "
                          "floating point.",
                          stacklevel=3)
    with enable_grad():
        outputs = _differentiable(_listed(func(*given)))
        again = _differentiable(_listed(func(*given)))
    tracked = [given[i] for i in wanted]
    with no_grad():
        numerical = [_numerical(func, given, i, eps) for i in wanted]
    for o, y in enumerate(outputs):
        analytical = _analytical(y, tracked, check_dtypes)
        repeated = _analytical(again[o], tracked, check_dtypes)
        for k, i in enumerate(wanted):
            n = numerical[k][o] if numerical[k] else np.zeros_like(analytical[k])
            if not np.allclose(analytical[k], repeated[k], rtol=0, atol=nondet_tol, equal_nan=True):
                raise GradcheckError("[gradcheck] Backward is not reentrant, i.e., running backward with "
                                     "same input and grad_output multiple times gives different values, "
                                     "although analytical gradient matches numerical gradient.")
            if not np.allclose(analytical[k], n, rtol=rtol, atol=atol):
                raise GradcheckError(f"[gradcheck] Jacobian mismatch for output {o} with respect to input "
                                     f"{i},\nnumerical:{n}\nanalytical:{analytical[k]}\n")


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Whether the derivatives of func by the inputs that require a gradient are those that differences of
    `eps` give: |a - n| <= atol + rtol * |n| for every element. The inputs should be float64.

    Raises GradcheckError where they are not (or returns False, without `raise_exception`), and ArgumentError
    where no input requires a gradient. The options about batches, forward mode and `fast_mode` change
    nothing.
    """
    try:
        _check(func, inputs, eps, atol, rtol, check_grad_dtypes, nondet_tol)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """`gradcheck` of the first derivatives, by the inputs and by the vectors that they multiply: random ones
    unless `grad_outputs` are given. Raises as `gradcheck` does."""
    given = _listed(inputs)
    outputs = _differentiable(_listed(func(*given)))
    if grad_outputs is None:
        vectors = tuple(
            FUNCTIONS["randn"](tuple(y._shape), dtype=y._dtype, device=y.device).requires_grad_()
            for y in outputs)
    else:
        vectors = _listed(grad_outputs)
    count = len(vectors)

    def first(*values: Any) -> tuple[Tensor, ...]:
        args, vectors = values[:-count], values[-count:]
        results = _differentiable(_listed(func(*args)))
        wanted = [a for a in args if isinstance(a, Tensor) and a.requires_grad]
        grads = grad(results, wanted, list(vectors), create_graph=True, allow_unused=True)
        return tuple(g for g in grads if g is not None)

    return gradcheck(first, (*given, *vectors), eps=eps, atol=atol, rtol=rtol, nondet_tol=nondet_tol,
                     raise_exception=raise_exception, check_grad_dtypes=check_grad_dtypes)
