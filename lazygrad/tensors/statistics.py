"""Measures of samples and vectors: covariance, distances, integrals over samples, cross products, bins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lazygrad import dtypes
from lazygrad.dtypes import pytorch_name
from lazygrad.errors import ArgumentError, DTypeError, ShapeError
from lazygrad.tensors.arithmetic import div, mul, sub
from lazygrad.tensors.axes import axis_of
from lazygrad.tensors.core import Tensor, creator, function
from lazygrad.tensors.creation import arange, full, tensor
from lazygrad.tensors.elementwise import clamp, where
from lazygrad.tensors.joining import stack
from lazygrad.tensors.linear import matmul
from lazygrad.tensors.lookup import index_select
from lazygrad.tensors.movement import narrow
from lazygrad.tensors.promotion import broadcast, check_same_type, get_default_dtype
from lazygrad.tensors.reduction import norm
from lazygrad.tensors.return_types import return_type
from lazygrad.tensors.scans import cumsum
from lazygrad.tensors.sorting import searchsorted


@function("cov")
def cov(input: Tensor, *, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None
        ) -> Tensor:
    """The covariances of variables (rows) over observations (columns), (n, n); 0-d for one variable. fweights
    count observations, aweights weigh them."""
    if input.ndim > 2:
        raise ShapeError(f"[cov] expected input to have two or fewer dimensions but got {input.ndim}")
    if input.dtype.kind == "bool":
        raise DTypeError("[cov] bool dtype is not supported for input: convert it with .float()")
    x = (input.reshape(1, -1) if input.ndim < 2 else input)
    x = x if x.is_floating_point() else x.to(get_default_dtype())
    count = x.shape[1]
    weights = None
    for given, kind in ((fweights, "fweights"), (aweights, "aweights")):
        if given is not None:
            if given.ndim > 1 or given.numel() != count:
                raise ShapeError(f"[cov] expected {kind} to have one number for each of {count} "
                                 f"observations, got {list(given.shape)}")
            fits = given.dtype.is_integer if kind == "fweights" else given.dtype.is_floating_point
            if not fits:
                wanted = "integral" if kind == "fweights" else "floating point"
                raise DTypeError(f"[cov] expected {kind} to have {wanted} dtype, got {given.dtype!r}")
            if bool((given < 0).any()):
                raise ArgumentError(f"[cov] {kind} cannot be negative")
            weights = given if weights is None else weights * given
    if weights is None:
        factor: Any = max(count - correction, 0)
        x = x - x.mean(1, keepdim=True) if count else x
        left = x
    else:
        total = weights.sum()
        x = x - (x * weights).sum(1, keepdim=True) / total
        left = x * weights
        if aweights is None:
            factor = total - correction
        else:
            factor = total - correction * (weights * aweights).sum() / total
        factor = clamp(factor, min=0)
    result = div(matmul(left, x.t()), factor)
    return result.squeeze() if result.shape[0] == 1 else result


@function("corrcoef")
def corrcoef(input: Tensor) -> Tensor:
    """The correlations of variables (rows) over observations (columns), in [-1, 1]."""
    c = cov(input)
    if not c.ndim:
        return c / c
    deviation = c.diagonal().sqrt()
    return clamp(c / deviation.unsqueeze(1) / deviation.unsqueeze(0), -1, 1)


def _steps(name: str, y: Tensor, x: Tensor | None, dx: Any, dim: int) -> tuple[Any, int]:
    """The widths between samples along a dimension."""
    axis = axis_of(name, dim, y.ndim)
    if any(t is not None and t._dtype is dtypes.bool_ for t in (y, x)) and (y.ndim and y.shape[axis]):
        raise DTypeError(f"[{name}] received a bool input, but bool is not supported: convert it with .int()")
    if x is None:
        return dx, axis
    if x.ndim == 1:
        if x.shape[0] != y.shape[axis]:
            raise ShapeError(f"[{name}] There must be one `x` value for each sample point, got {x.shape[0]} "
                             f"and {y.shape[axis]}")
        x = x.reshape([-1 if i == axis else 1 for i in range(y.ndim)])
    x = x.reshape((*(1,) * (y.ndim - x.ndim), *x.shape))
    n = x.shape[axis]
    return (narrow(x, axis, 1, n - 1) - narrow(x, axis, 0, n - 1) if n else x), axis


def _areas(name: str, y: Tensor, x: Tensor | None, dx: Any, dim: int) -> tuple[Tensor, int]:
    widths, axis = _steps(name, y, x, dx, dim)
    n = y.shape[axis]
    if not n:
        return y * 1.0, axis
    heights = narrow(y, axis, 1, n - 1) + narrow(y, axis, 0, n - 1)
    return heights * widths / 2, axis


@function("trapezoid", "trapz")
def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Any = 1, dim: int = -1) -> Tensor:
    """The integral of samples y along a dimension by the trapezoidal rule, at places x or at distance dx."""
    areas, axis = _areas("trapezoid", y, x, dx, dim)
    return areas.sum(axis - y.ndim)


@function("cumulative_trapezoid")
def cumulative_trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Any = 1, dim: int = -1) -> Tensor:
    """The integrals from the first sample to each of the others."""
    areas, axis = _areas("cumulative_trapezoid", y, x, dx, dim)
    return cumsum(areas, axis - y.ndim)


@function("dist")
def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The p-norm of the difference."""
    return norm(sub(input, other), p)


@function("pdist")
def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """The p-norm distances between all pairs of rows i < j, (n (n - 1) / 2)."""
    if input.ndim != 2:
        raise ShapeError(f"[pdist] pdist only supports 2D tensors, got: {input.ndim}D")
    if p < 0:
        raise ArgumentError("[pdist] pdist only supports non-negative p values")
    i, j = np.triu_indices(input.shape[0], 1)
    rows = [index_select(input, 0, tensor(k, device=input.device)) for k in (i, j)]
    return norm(rows[0] - rows[1], p, 1)


@function("renorm")
def renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """input with every part along a dimension whose p-norm is above maxnorm scaled down to it."""
    if p <= 0 or maxnorm < 0:
        raise ArgumentError(f"[renorm] expected p > 0 and maxnorm >= 0, got {p} and {maxnorm}")
    if input.ndim < 2:
        raise ShapeError(f"[renorm] input needs at least 2 dimensions, got {input.ndim}")
    axis = axis_of("renorm", dim, input.ndim)
    size = norm(input, p, [i for i in range(input.ndim) if i != axis], True)
    scale = where(size > maxnorm, maxnorm / (size + 1e-7), 1.0)
    return mul(input, scale.to(input.dtype))


@function("vander")
def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """The powers of each element of x, (n, N), the highest first unless `increasing`."""
    if x.ndim != 1:
        raise ShapeError(f"[vander] x must be a one-dimensional tensor, got {x.ndim} dimensions")
    count = x.shape[0] if N is None else N
    if count < 0:
        raise ArgumentError("[vander] N must be non-negative.")
    powers = arange(count, device=x.device)
    powers = powers if increasing else powers.flip(0)
    base = x.long() if not x.is_floating_point() else x
    return base.unsqueeze(1) ** powers.unsqueeze(0)


@function("cross")
def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """The cross products of vectors of size 3 along a dimension (the first of that size where none is
    given)."""
    if dim is None:
        found = [i for i, n in enumerate(input.shape) if n == 3]
        if not found:
            raise ShapeError("[cross] no dimension of size 3 in input")
        dim = found[0]
    return vectors_crossed("cross", input, other, dim)


def vectors_crossed(name: str, input: Tensor, other: Tensor, dim: int) -> Tensor:
    """The cross products along a dimension, broadcast."""
    if input.ndim != other.ndim:
        raise ShapeError(f"[{name}] inputs must have the same number of dimensions, got "
                         f"{tuple(input.shape)} and {tuple(other.shape)}")
    axis = axis_of(name, dim, input.ndim)
    if not input.ndim or input.shape[axis] != 3 or other.shape[axis] != 3:
        sizes = " and ".join(str(t.shape[axis]) if t.ndim else "none" for t in (input, other))
        raise ShapeError(f"[{name}] inputs dimension {dim} must have length 3. Got {sizes}")
    shape = broadcast(name, input.shape, other.shape)
    check_same_type(name, input=input, other=other)
    a, b = (t.expand(shape).unbind(axis) for t in (input, other))
    return stack([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]], axis)


_histogram_result = return_type("histogram", "hist", "bin_edges")
_histogramdd_result = return_type("histogramdd", "hist", "bin_edges")


def _edges(name: str, x: Tensor, bins: Any, bounds: Any) -> Tensor:
    """The edges of bins: the ones given, or those of a number of equal ones between two bounds, or from the
    least to the greatest element."""
    if isinstance(bins, Tensor):
        return bins
    if bins < 1:
        raise ArgumentError(f"[{name}] bins must be > 0, but got {bins}")
    low, high = bounds if bounds is not None else (
        (x.min().item(), x.max().item()) if x.numel() else (0.0, 1.0))
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ArgumentError(f"[{name}] range of [{low}, {high}] is not finite or not increasing")
    low, high = (low - 0.5, high + 0.5) if low == high else (low, high)
    return tensor(np.linspace(low, high, bins + 1), dtype=x.dtype, device=x.device)


def _filled_bins(samples: Sequence[Tensor], edges: Sequence[Tensor], weight: Tensor | None,
                 density: bool) -> Tensor:
    """How much weight lies in each bin, the last one closed: a dimension for each of the samples' numbers."""
    shape = [e.shape[0] - 1 for e in edges]
    place, inside = full((), 0, device=samples[0].device), full((), True, device=samples[0].device)
    for x, e, count in zip(samples, edges, shape, strict=True):
        inside = inside & (x >= e[0]) & (x <= e[-1])
        place = place * count + clamp(searchsorted(e, x, right=True) - 1, 0, count - 1)
    dtype = samples[0].dtype
    for what, t in (*((f"bins for dimension {i}", e) for i, e in enumerate(edges)), ("weight", weight)):
        if t is not None and t._dtype is not dtype:
            raise DTypeError(f"[histogramdd] input and {what} should have the same dtype, but got "
                             f"{pytorch_name(dtype)} and {pytorch_name(t._dtype)}: convert one of them")
    weights = where(inside, 1.0 if weight is None else weight.reshape(-1), 0.0).to(dtype)
    empty = full((math.prod(shape),), 0.0, dtype=dtype, device=samples[0].device)
    counts = empty.scatter_add(0, place.expand(weights.shape), weights).reshape(shape)
    if density:
        counts = counts / counts.sum()
        for axis, e in enumerate(edges):
            counts = counts / (e[1:] - e[:-1]).reshape((-1, *(1,) * (len(edges) - 1 - axis)))
    return counts


def _check_floats(name: str, input: Tensor) -> None:
    if not input.is_floating_point():
        raise DTypeError(f"[{name}] not implemented for {input.dtype}: convert it with .float()")


@function("histogram")
def histogram(input: Tensor, bins: int | Tensor, *, range: Any = None, weight: Tensor | None = None,
              density: bool = False) -> Any:
    """(counts, edges): how many elements (or how much weight) lie in each bin, the last one closed. bins: a
    number of equal ones, over `range` or from the least to the greatest element, or the edges."""
    _check_floats("histogram", input)
    flat = input.reshape(-1)
    edges = _edges("histogram", flat, bins, range)
    return _histogram_result(_filled_bins([flat], [edges], weight, density), edges)


@creator("histogramdd")
def histogramdd(input: Tensor, bins: int | Sequence[int] | Sequence[Tensor], range: Any = None,
                weight: Tensor | None = None, density: bool = False) -> Any:
    """(counts, edges): how many of the points (..., D) lie in each box of D dimensions. bins: a number for
    all dimensions, or one for each, or the edges of each; range: two bounds for each dimension, in a row."""
    if input.ndim < 2:
        raise ShapeError("[histogramdd] input tensor should have at least 2 dimensions, but it has "
                         f"{input.ndim}")
    _check_floats("histogramdd", input)
    size = input.shape[-1]
    listed = [bins] * size if isinstance(bins, int) else list(bins)
    if len(listed) != size:
        raise ShapeError(f"[histogramdd] The size of bins must be equal to the innermost dimension of the "
                         f"input: {len(listed)} for {tuple(input.shape)}")
    if range is not None and len(range) != 2 * size:
        raise ShapeError(f"[histogramdd] for a {size}-dimensional histogram range should have {2 * size} "
                         f"elements, but got {len(range)}")
    if weight is not None and (tuple(weight.shape) or (1,)) != tuple(input.shape[:-1]):
        raise ShapeError(f"[histogramdd] weight should have the shape of the input but for its innermost "
                         f"dimension, {tuple(input.shape[:-1])}, got {tuple(weight.shape)}")
    samples = list(input.reshape(-1, size).unbind(1))
    bounds = [None if range is None else range[2 * i : 2 * i + 2] for i, _ in enumerate(listed)]
    edges = [_edges("histogramdd", *given) for given in zip(samples, listed, bounds, strict=True)]
    return _histogramdd_result(_filled_bins(samples, edges, weight, density), tuple(edges))
