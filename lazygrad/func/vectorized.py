"""vmap: a function of one example as a function of all examples, by a rewrite of its graph."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import lazygrad
from lazygrad.errors import ArgumentError, AxisError, ShapeError, TransformError
from lazygrad.tensors import Tensor
from lazygrad.tensors.examples import RANDOMNESS, Examples, running
from lazygrad.tree import LEAF, Tree, flatten, spread


def vmap(func: Callable[..., Any], in_dims: Any = 0, out_dims: Any = 0, randomness: str = "error", *,
         chunk_size: int | None = None) -> Callable[..., Any]:
    """func over the slices of its arguments along `in_dims` (an int, None for an argument that all share, or
    a nested structure of them), its results stacked along `out_dims`. func runs once, on tensors that stand
    for all slices: their values cannot be read in it.

    `randomness`: random numbers in func are an "error", "different" for each slice, or the "same".
    `chunk_size`: how many slices at once. Raises ShapeError for different sizes along in_dims, BatchError
    where func asks for the value of one example.
    """
    if randomness not in RANDOMNESS:
        raise ArgumentError(f"[vmap] randomness must be one of {', '.join(RANDOMNESS)}, got {randomness!r}")
    if chunk_size is not None and (not isinstance(chunk_size, int) or chunk_size < 1):
        raise ArgumentError(f"[vmap] chunk_size must be None or a positive int, got {chunk_size!r}")

    @functools.wraps(func)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        leaves, tree = flatten(args)
        dims = _in_dims(in_dims, args, leaves, tree)
        size = _size(leaves, dims)
        fronted = [x if d is None else x.movedim(d, 0) for x, d in zip(leaves, dims, strict=True)]
        if chunk_size is None or size <= chunk_size:
            return _run(func, fronted, dims, tree, size, out_dims, randomness, kwargs)[0]
        parts: list[list[Any]] = []
        dims_out: tuple[int | None, ...] = ()
        tree_out = LEAF
        for begin in range(0, size, chunk_size):
            end = min(begin + chunk_size, size)
            chunk = [x if d is None else x[begin:end] for x, d in zip(fronted, dims, strict=True)]
            value, dims_out, tree_out = _run(func, chunk, dims, tree, end - begin, out_dims, randomness,
                                             kwargs)
            parts.append(flatten(value)[0])
        pieces = [list(p) for p in zip(*parts, strict=True)]
        return tree_out.unflatten([p[0] if d is None else lazygrad.cat(p, d)
                                   for p, d in zip(pieces, dims_out, strict=True)])

    return mapped


def _in_dims(in_dims: Any, args: tuple[Any, ...], leaves: Sequence[Any], tree: Tree) -> list[int | None]:
    """The dimension of each leaf of the arguments. Raises where it cannot be."""
    if not args:
        raise ArgumentError("[vmap] got no inputs: the function must be called with at least one positional "
                            "argument")
    if not isinstance(in_dims, int | tuple | list):
        raise TransformError(f"[vmap] expected in_dims to be int or a (potentially nested) tuple matching "
                                f"the structure of the inputs, got {in_dims!r}")
    found = spread(in_dims, tree)
    if found is None:
        raise ArgumentError(f"[vmap] in_dims={in_dims!r} is not compatible with the structure of the inputs: "
                            f"{len(args)} arguments, {len(leaves)} tensors")
    dims: list[int | None] = []
    for x, d in zip(leaves, found, strict=True):
        if d is None:
            dims.append(None)
            continue
        if not isinstance(d, int) or isinstance(d, bool):
            raise TransformError(f"[vmap] expected in_dim to be an int or None, got {d!r}")
        if not isinstance(x, Tensor):
            if isinstance(in_dims, int):  # one number for all: what is no tensor is shared
                dims.append(None)
                continue
            raise TransformError(f"[vmap] got in_dim={d} for an input of type {type(x).__name__}: only "
                                    "tensors have dimensions; use None")
        if not -x.ndim <= d < x.ndim:
            raise TransformError(f"[vmap] got in_dim={d} for a tensor of dimensionality {x.ndim}: expected "
                                 f"in_dim to satisfy -{x.ndim} <= in_dim < {x.ndim}")
        dims.append(d % x.ndim)
    return dims


def _size(leaves: Sequence[Any], dims: Sequence[int | None]) -> int:
    sizes = [x.shape[d] for x, d in zip(leaves, dims, strict=True) if d is not None]
    if not sizes:
        raise ArgumentError("[vmap] at least one input must be mapped over: all in_dims are None or no input "
                            "is a tensor")
    if len(set(sizes)) > 1:
        raise ShapeError("[vmap] Expected all tensors to have the same size in the mapped dimension, got "
                         f"sizes {sizes} for the mapped dimension")
    return sizes[0]


def _run(func: Callable[..., Any], fronted: Sequence[Any], dims: Sequence[int | None], tree: Tree, size: int,
         out_dims: Any, randomness: str, kwargs: dict[str, Any]) -> tuple[Any, tuple[int | None, ...], Tree]:
    """The results for all examples, the dimension of the examples in each (None: without), and their
    structure."""
    examples = Examples(size, randomness)
    inside = [x if d is None else examples.one(x) for x, d in zip(fronted, dims, strict=True)]
    with running(examples):
        result = func(*tree.unflatten(inside), **kwargs)
    for whole, one, d in zip(fronted, inside, dims, strict=True):
        if d is not None and one._version:  # written in place: so is what it stands for
            whole.write(examples.all(one), "vmap", replaces=True)
    outputs, shape = flatten(result)
    found = spread(out_dims, shape)
    if found is None:
        raise ArgumentError(f"[vmap] out_dims={out_dims!r} is not compatible with the structure of the "
                            "outputs")
    stacked: list[Any] = []
    places: list[int | None] = []
    for x, d in zip(outputs, found, strict=True):
        if d is None:  # the same for all examples
            if isinstance(x, Tensor) and examples.depends(x):
                raise TransformError("[vmap] the function can not return a tensor that depends on the "
                                     "example where out_dim is None")
            stacked.append(x)
            places.append(d)
            continue
        if not isinstance(x, Tensor):
            raise TransformError("[vmap] expected the function to return only tensors, got "
                                 f"{type(x).__name__}: out_dims=None lets something else pass")
        if not isinstance(d, int) or not -x.ndim - 1 <= d <= x.ndim:
            raise AxisError(f"[vmap] got out_dim={d!r} for an output of {x.ndim} dimensions (and one more "
                            "for the examples)")
        stacked.append(examples.all(x).movedim(0, d))
        places.append(d)
    return shape.unflatten(stacked), tuple(places), shape
