"""What distributions share, under the names of torch.distributions.utils: parameters of one shape,
probabilities and logits, properties that are computed once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, overload

import lazygrad
from lazygrad.errors import ArgumentError, ArgumentTypeError
from lazygrad.tensors import Tensor
from lazygrad.tensors.modes import enable_grad

EULER = euler_constant = 0.57721566490153286060


def as_tensors(*values: Any) -> tuple[Tensor, ...]:
    """Parameters as tensors of one shape; numbers take the type of the tensors beside them."""
    given = [v for v in values if isinstance(v, Tensor)]
    for v in values:
        if not isinstance(v, Tensor | int | float):
            raise ArgumentTypeError("[distributions] Input arguments must all be instances of Number, "
                                    f"Tensor: got {type(v).__name__}")
    like: dict[str, Any] = {"dtype": given[0].dtype, "device": given[0].device} if given else {
        "dtype": lazygrad.get_default_dtype()}
    made = [v if isinstance(v, Tensor) else lazygrad.tensor(v, **like) for v in values]
    return tuple(lazygrad.broadcast_tensors(*made))


def sum_last(x: Any, count: int) -> Any:
    """x summed over its last `count` dimensions."""
    return x.flatten(x.ndim - count).sum(-1) if count else x


def standard_normal(shape: Any, dtype: Any, device: Any) -> Tensor:
    """Normal numbers of mean 0 and deviation 1."""
    return lazygrad.randn(shape, dtype=dtype, device=device)


def clamp_probs(probs: Tensor) -> Tensor:
    """Probabilities kept away from 0 and 1 by the type's rounding."""
    eps = lazygrad.finfo(probs.dtype).eps
    return probs.clamp(eps, 1 - eps)


def logits_to_probs(logits: Tensor, is_binary: bool = False) -> Tensor:
    """Probabilities of yes (`is_binary`), or of classes along the last dimension."""
    return logits.sigmoid() if is_binary else logits.softmax(-1)


def probs_to_logits(probs: Tensor, is_binary: bool = False) -> Tensor:
    """The logits of probabilities of yes (`is_binary`), or their logarithms for classes."""
    inside = clamp_probs(probs)
    return inside.log() - (-inside).log1p() if is_binary else inside.log()


def tril_matrix_to_vec(mat: Tensor, diag: int = 0) -> Tensor:
    """The elements (..., k) on and below a diagonal of (..., n, n), row by row."""
    n = mat.shape[-1]
    if not -n <= diag < n:
        raise ArgumentError(f"[distributions] diag ({diag}) provided is outside [{-n}, {n - 1}].")
    rows, columns = lazygrad.tril_indices(n, n, diag)
    return mat[..., rows, columns]


def vec_to_tril_matrix(vec: Tensor, diag: int = 0) -> Tensor:
    """Matrices (..., n, n) with the elements (..., k) on and below a diagonal, row by row, and zeros."""
    k = vec.shape[-1]
    n = (-(1 + 2 * diag) + ((1 + 2 * diag) ** 2 + 8 * k + 4 * abs(diag) * (diag + 1)) ** 0.5) / 2
    if round(n) - n > lazygrad.finfo(vec.dtype).eps:
        raise ArgumentError(f"[distributions] The size of last dimension is {k} which cannot be expressed "
                            "as the lower triangular part of a square D x D matrix.")
    size = round(n)
    rows, columns = lazygrad.tril_indices(size, size, diag)
    made = lazygrad.zeros((*vec.shape[:-1], size, size), dtype=vec.dtype, device=vec.device)
    made[..., rows, columns] = vec
    return made


class LazyProperty:
    """A property that is computed when it is first asked for, and then an attribute of the object."""

    def __init__(self, wrapped: Callable[[Any], Any]) -> None:
        self.wrapped = wrapped
        self.__doc__, self.__name__ = wrapped.__doc__, wrapped.__name__

    @overload
    def __get__(self, instance: None, owner: Any = None) -> LazyProperty: ...

    @overload
    def __get__(self, instance: object, owner: Any = None) -> Any: ...

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return LazyPropertyOfClass(self.wrapped)
        with enable_grad():
            value = self.wrapped(instance)
        setattr(instance, self.wrapped.__name__, value)
        return value


class LazyPropertyOfClass(LazyProperty, property):  # type: ignore[misc]
    """What the class answers for such a property: a property, for those who ask which it has."""

    def __init__(self, wrapped: Callable[[Any], Any]) -> None:
        property.__init__(self, wrapped)


# PyTorch's names
broadcast_all, lazy_property = as_tensors, LazyProperty
_sum_rightmost, _standard_normal = sum_last, standard_normal
