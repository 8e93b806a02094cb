"""Transforms of whole vectors and matrices, and of parts of a tensor each by its own transform."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import lazygrad
import lazygrad.nn.functional as F
from lazygrad.distributions import constraints
from lazygrad.distributions.constraints import Constraint
from lazygrad.distributions.elementwise_transforms import Transform
from lazygrad.distributions.utils import sum_last
from lazygrad.errors import ArgumentError
from lazygrad.tensors import Size, Tensor


class IndependentTransform(Transform):
    """A transform whose last `reinterpreted_batch_ndims` batch dimensions make one value."""

    def __init__(self, base_transform: Transform, reinterpreted_batch_ndims: int, cache_size: int = 0
                 ) -> None:
        super().__init__(cache_size)
        self.base_transform = base_transform.with_cache(cache_size)
        self.reinterpreted_batch_ndims = reinterpreted_batch_ndims

    def with_cache(self, cache_size: int = 1) -> IndependentTransform:
        if self._cache_size == cache_size:
            return self
        return IndependentTransform(self.base_transform, self.reinterpreted_batch_ndims, cache_size)

    @property
    def bijective(self) -> bool:  # type: ignore[override]
        """As the base."""
        return self.base_transform.bijective

    @constraints.dependent_property(is_discrete=False)
    def domain(self) -> Constraint:
        return constraints.widened(self.base_transform.domain, self.reinterpreted_batch_ndims)

    @constraints.dependent_property(is_discrete=False)
    def codomain(self) -> Constraint:
        return constraints.widened(self.base_transform.codomain, self.reinterpreted_batch_ndims)

    @property
    def sign(self) -> Any:
        """As the base's."""
        return self.base_transform.sign

    def _call(self, x: Tensor) -> Tensor:
        return self.base_transform(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return self.base_transform.inv(y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return sum_last(self.base_transform.log_abs_det_jacobian(x, y), self.reinterpreted_batch_ndims)

    def forward_shape(self, shape: Any) -> Size:
        return self.base_transform.forward_shape(shape)

    def inverse_shape(self, shape: Any) -> Size:
        return self.base_transform.inverse_shape(shape)

    def __repr__(self) -> str:
        return f"IndependentTransform({self.base_transform!r}, {self.reinterpreted_batch_ndims})"


class ReshapeTransform(Transform):
    """The last dimensions of shape `in_shape` as dimensions of shape `out_shape`."""

    bijective = True

    def __init__(self, in_shape: Any, out_shape: Any, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.in_shape, self.out_shape = Size(in_shape), Size(out_shape)
        if math.prod(self.in_shape) != math.prod(self.out_shape):
            raise ArgumentError("[distributions] in_shape, out_shape have different numbers of elements: "
                                f"{tuple(self.in_shape)} and {tuple(self.out_shape)}")

    def with_cache(self, cache_size: int = 1) -> ReshapeTransform:
        same = self._cache_size == cache_size
        return self if same else ReshapeTransform(self.in_shape, self.out_shape, cache_size)

    @constraints.dependent_property(is_discrete=False)
    def domain(self) -> Constraint:
        return constraints.widened(constraints.real, len(self.in_shape))

    @constraints.dependent_property(is_discrete=False)
    def codomain(self) -> Constraint:
        return constraints.widened(constraints.real, len(self.out_shape))

    def _call(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[: x.ndim - len(self.in_shape)] + self.out_shape)

    def _inverse(self, y: Tensor) -> Tensor:
        return y.reshape(y.shape[: y.ndim - len(self.out_shape)] + self.in_shape)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return lazygrad.zeros(x.shape[: x.ndim - len(self.in_shape)], dtype=x.dtype, device=x.device)

    def _moved(self, shape: Any, before: Size, after: Size) -> Size:
        shape = Size(shape)
        cut = len(shape) - len(before)
        if cut < 0 or shape[cut:] != before:
            raise ArgumentError(f"[distributions] Shape mismatch: expected {tuple(before)} at the end, got "
                                f"{tuple(shape)}")
        return shape[:cut] + after

    def forward_shape(self, shape: Any) -> Size:
        return self._moved(shape, self.in_shape, self.out_shape)

    def inverse_shape(self, shape: Any) -> Size:
        return self._moved(shape, self.out_shape, self.in_shape)


class _OfVectors(Transform):
    """A transform without settings: two of one class are equal."""

    def __eq__(self, other: Any) -> bool:
        return type(other) is type(self)

    __hash__ = None


class SoftmaxTransform(_OfVectors):
    """Real vectors to the simplex, by softmax; not one to one."""

    domain, codomain = constraints.real_vector, constraints.simplex

    def _call(self, x: Tensor) -> Tensor:
        return x.softmax(-1)

    def _inverse(self, y: Tensor) -> Tensor:
        return y.log()


def _offsets(x: Tensor) -> Tensor:
    """The logarithms of n, n - 1, ..., 1, for the last dimension of x."""
    return lazygrad.arange(x.shape[-1], 0, -1, dtype=x.dtype, device=x.device).log()


class StickBreakingTransform(_OfVectors):
    """Real vectors (..., n) to the simplex (..., n + 1): each number tells the share of the rest to take."""

    bijective = True
    domain, codomain = constraints.real_vector, constraints.simplex

    def _call(self, x: Tensor) -> Tensor:
        share = (x - _offsets(x)).sigmoid()
        left = (1 - share).cumprod(-1)
        return F.pad(share, [0, 1], value=1) * F.pad(left, [1, 0], value=1)

    def _inverse(self, y: Tensor) -> Tensor:
        taken = y[..., :-1]
        left = (1 - taken.cumsum(-1)).clamp(min=lazygrad.finfo(y.dtype).tiny)
        return taken.log() - left.log() + _offsets(taken)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        shifted = x - _offsets(x)
        return (-shifted + F.logsigmoid(shifted) + y[..., :-1].log()).sum(-1)

    def forward_shape(self, shape: Any) -> Size:
        shape = Size(shape)
        return shape[:-1] + Size((shape[-1] + 1,))

    def inverse_shape(self, shape: Any) -> Size:
        shape = Size(shape)
        return shape[:-1] + Size((shape[-1] - 1,))


class LowerCholeskyTransform(_OfVectors):
    """Square matrices to lower triangular ones with a positive diagonal."""

    domain, codomain = constraints.widened(constraints.real, 2), constraints.lower_cholesky

    def _call(self, x: Tensor) -> Tensor:
        return x.tril(-1) + x.diagonal(dim1=-2, dim2=-1).exp().diag_embed()

    def _inverse(self, y: Tensor) -> Tensor:
        return y.tril(-1) + y.diagonal(dim1=-2, dim2=-1).log().diag_embed()


class PositiveDefiniteTransform(_OfVectors):
    """Square matrices to positive definite ones, by Cholesky's factor."""

    domain, codomain = constraints.widened(constraints.real, 2), constraints.positive_definite

    def _call(self, x: Tensor) -> Tensor:
        lower = LowerCholeskyTransform()(x)
        return lower @ lower.mT

    def _inverse(self, y: Tensor) -> Tensor:
        return LowerCholeskyTransform().inv(lazygrad.linalg.cholesky(y))


def _below(y: Tensor, diagonal: int) -> Tensor:
    """The elements on and below a diagonal, row by row, as a vector."""
    rows, columns = lazygrad.tril_indices(y.shape[-2], y.shape[-1], diagonal)
    return y[..., rows, columns]


class CorrCholeskyTransform(_OfVectors):
    """Real vectors (..., n (n - 1) / 2) to Cholesky's factors (..., n, n) of correlation matrices."""

    bijective = True
    domain, codomain = constraints.real_vector, constraints.corr_cholesky

    def _call(self, x: Tensor) -> Tensor:
        eps, n = lazygrad.finfo(x.dtype).eps, self.forward_shape(x.shape)[-1]
        partial = x.tanh().clamp(-1 + eps, 1 - eps)
        places = [[i * (i - 1) // 2 + j if j < i else x.shape[-1] for j in range(n)] for i in range(n)]
        r = F.pad(partial, [0, 1])[..., lazygrad.tensor(places, device=x.device)]
        left = (1 - r * r).sqrt().cumprod(-1)
        r = r + lazygrad.eye(n, dtype=x.dtype, device=x.device)
        return r * F.pad(left[..., :-1], [1, 0], value=1)

    def _inverse(self, y: Tensor) -> Tensor:
        left = F.pad((1 - (y * y).cumsum(-1))[..., :-1], [1, 0], value=1)
        return (_below(y, -1) / _below(left, -1).sqrt()).atanh()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor, intermediates: Any = None) -> Tensor:
        left = _below(1 - (y * y).cumsum(-1), -2)
        return 0.5 * left.log().sum(-1) - 2 * (x + F.softplus(-2 * x) - math.log(2)).sum(-1)

    def forward_shape(self, shape: Any) -> Size:
        shape = Size(shape)
        count = shape[-1]
        n = (1 + math.isqrt(1 + 8 * count)) // 2
        if n * (n - 1) // 2 != count:
            raise ArgumentError(f"[distributions] Input is not a flattened lower-diagonal number: {count}")
        return shape[:-1] + Size((n, n))

    def inverse_shape(self, shape: Any) -> Size:
        shape = Size(shape)
        if len(shape) < 2 or shape[-2] != shape[-1]:
            raise ArgumentError(f"[distributions] Input is not square: {tuple(shape)}")
        return shape[:-2] + Size((shape[-1] * (shape[-1] - 1) // 2,))


class _Parts(Transform):
    """Parts along a dimension, each by its own transform."""

    def __init__(self, tseq: Sequence[Transform], dim: int = 0, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.transforms = [t.with_cache(cache_size) for t in tseq] if cache_size else list(tseq)
        self.dim = dim

    def with_cache(self, cache_size: int = 1) -> Any:
        same = self._cache_size == cache_size
        return self if same else type(self)(self.transforms, self.dim, cache_size=cache_size)

    @property
    def bijective(self) -> bool:  # type: ignore[override]
        """Whether every part is."""
        return all(t.bijective for t in self.transforms)

    def _split(self, x: Tensor) -> list[Tensor]:
        if x.shape[self.dim] != len(self.transforms):
            raise ArgumentError(f"[distributions] {len(self.transforms)} transforms for {x.shape[self.dim]} "
                                "parts")
        return [x.select(self.dim, i) for i in range(len(self.transforms))]

    def _join(self, parts: list[Tensor]) -> Tensor:
        return lazygrad.stack(parts, self.dim)

    def _call(self, x: Tensor) -> Tensor:
        return self._join([t(v) for t, v in zip(self.transforms, self._split(x), strict=True)])

    def _inverse(self, y: Tensor) -> Tensor:
        return self._join([t.inv(v) for t, v in zip(self.transforms, self._split(y), strict=True)])

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        events = max(t.event_dim for t in self.transforms)
        pairs = zip(self.transforms, self._split(x), self._split(y), strict=True)
        return self._join([sum_last(t.log_abs_det_jacobian(v, w), events - t.event_dim) for t, v, w in pairs])


class StackTransform(_Parts):
    """The i-th slice along `dim` is sent through the i-th transform."""

    @constraints.dependent_property(is_discrete=False)
    def domain(self) -> Constraint:
        return constraints.stack([t.domain for t in self.transforms], self.dim)

    @constraints.dependent_property(is_discrete=False)
    def codomain(self) -> Constraint:
        return constraints.stack([t.codomain for t in self.transforms], self.dim)


class CatTransform(_Parts):
    """Pieces of `lengths` along `dim` (of length 1 each unless told) are each sent through a transform."""

    def __init__(self, tseq: Sequence[Transform], dim: int = 0, lengths: Sequence[int] | None = None,
                 cache_size: int = 0) -> None:
        super().__init__(tseq, dim, cache_size)
        self.lengths = [1] * len(self.transforms) if lengths is None else list(lengths)

    def with_cache(self, cache_size: int = 1) -> CatTransform:
        same = self._cache_size == cache_size
        return self if same else CatTransform(self.transforms, self.dim, self.lengths, cache_size)

    @constraints.dependent_property(is_discrete=False)
    def domain(self) -> Constraint:
        return constraints.cat([t.domain for t in self.transforms], self.dim, self.lengths)

    @constraints.dependent_property(is_discrete=False)
    def codomain(self) -> Constraint:
        return constraints.cat([t.codomain for t in self.transforms], self.dim, self.lengths)

    def _split(self, x: Tensor) -> list[Tensor]:
        if x.shape[self.dim] != sum(self.lengths):
            raise ArgumentError(f"[distributions] pieces of lengths {self.lengths} do not make up "
                                f"{x.shape[self.dim]} elements")
        return list(x.split(self.lengths, self.dim))

    def _join(self, parts: list[Tensor]) -> Tensor:
        return lazygrad.cat(parts, self.dim)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        events = max(t.event_dim for t in self.transforms)
        pairs = zip(self.transforms, self._split(x), self._split(y), strict=True)
        parts = [sum_last(t.log_abs_det_jacobian(v, w), events - t.event_dim) for t, v, w in pairs]
        # counted from the right the dimension is another one without those of a value
        dim = (self.dim if self.dim < 0 else self.dim - x.ndim) + events
        return lazygrad.cat(parts, dim) if dim < 0 else sum(parts[1:], parts[0])
