"""Invertible functions with the logarithm of their derivative's size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import lazygrad
import lazygrad.nn.functional as F
from lazygrad.distributions.distribution import sum_last
from lazygrad.errors import MissingError
from lazygrad.tensors import Tensor


class Transform:
    """y = f(x). `event_dim`: how many dimensions on the right make one value. `bijective`: it has an
    inverse."""

    bijective = True
    event_dim = 0
    sign: Any = 1

    def __init__(self, cache_size: int = 0) -> None:
        self._last: tuple[Any, Any] = (None, None)

    def __call__(self, x: Tensor) -> Tensor:
        y = self._call(x)
        self._last = x, y
        return y

    def backward_of(self, y: Tensor) -> Tensor:
        """x with f(x) = y; the very x where y has just been made of it."""
        x, last = self._last
        return x if last is y else self._inverse(y)

    @property
    def inv(self) -> Transform:
        """The inverse transform."""
        return _Inverse(self)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """log |dy / dx|."""
        raise MissingError(f"[distributions] {type(self).__name__} has no log_abs_det_jacobian")

    def _call(self, x: Tensor) -> Tensor:
        raise MissingError(f"[distributions] {type(self).__name__} has no forward function")

    def _inverse(self, y: Tensor) -> Tensor:
        raise MissingError(f"[distributions] {type(self).__name__} has no inverse")

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class _Inverse(Transform):
    def __init__(self, base: Transform) -> None:
        super().__init__()
        self._base = base
        self.bijective, self.event_dim, self.sign = base.bijective, base.event_dim, base.sign

    @property
    def inv(self) -> Transform:
        return self._base

    def _call(self, x: Tensor) -> Tensor:
        return self._base.backward_of(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return self._base(y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return -self._base.log_abs_det_jacobian(y, x)


class ExpTransform(Transform):
    """y = exp(x)."""

    def _call(self, x: Tensor) -> Tensor:
        return x.exp()

    def _inverse(self, y: Tensor) -> Tensor:
        return y.log()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return x


class SigmoidTransform(Transform):
    """y = 1 / (1 + exp(-x))."""

    def _call(self, x: Tensor) -> Tensor:
        info = lazygrad.finfo(x.dtype)
        return x.sigmoid().clamp(info.tiny, 1 - info.eps)

    def _inverse(self, y: Tensor) -> Tensor:
        info = lazygrad.finfo(y.dtype)
        y = y.clamp(info.tiny, 1 - info.eps)
        return y.log() - (-y).log1p()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return -F.softplus(-x) - F.softplus(x)


class TanhTransform(Transform):
    """y = tanh(x)."""

    def _call(self, x: Tensor) -> Tensor:
        return x.tanh()

    def _inverse(self, y: Tensor) -> Tensor:
        return y.atanh()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        # log(1 - tanh(x)^2) without the difference
        return 2 * (math.log(2) - x - F.softplus(-2 * x))


class SoftplusTransform(Transform):
    """y = log(1 + exp(x))."""

    def _call(self, x: Tensor) -> Tensor:
        return F.softplus(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return (-lazygrad.expm1(-y)).log() + y

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return -F.softplus(-x)


class AffineTransform(Transform):
    """y = loc + scale * x."""

    def __init__(self, loc: Any, scale: Any, event_dim: int = 0, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.loc, self.scale, self.event_dim = loc, scale, event_dim

    @property
    def sign(self) -> Any:
        """1 where it grows, -1 where it falls."""
        return self.scale.sign() if isinstance(self.scale, Tensor) else (self.scale > 0) - (self.scale < 0)

    def _call(self, x: Tensor) -> Tensor:
        return self.loc + self.scale * x

    def _inverse(self, y: Tensor) -> Tensor:
        return (y - self.loc) / self.scale

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        scale = self.scale
        size = scale.abs().log() if isinstance(scale, Tensor) else lazygrad.full_like(x, math.log(abs(scale)))
        size = size.expand(x.shape) if size.shape != x.shape else size
        return sum_last(size, self.event_dim)


class PowerTransform(Transform):
    """y = x ** exponent, for x > 0."""

    def __init__(self, exponent: Any, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.exponent = exponent

    def _call(self, x: Tensor) -> Tensor:
        return x.pow(self.exponent)

    def _inverse(self, y: Tensor) -> Tensor:
        return y.pow(1 / self.exponent)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return (self.exponent * y / x).abs().log()


class ComposeTransform(Transform):
    """One transform after the other."""

    def __init__(self, parts: Sequence[Transform], cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.parts = list(parts)
        self.bijective = all(p.bijective for p in self.parts)
        self.event_dim = max((p.event_dim for p in self.parts), default=0)

    def _call(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = part(x)
        return x

    def _inverse(self, y: Tensor) -> Tensor:
        for part in reversed(self.parts):
            y = part.backward_of(y)
        return y

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        total: Any = 0
        for part in self.parts:
            after = part(x)
            term = part.log_abs_det_jacobian(x, after)
            total = total + sum_last(term, self.event_dim - part.event_dim)
            x = after
        return total
