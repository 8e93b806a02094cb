"""`ExponentialFamily`: distributions whose entropy follows from one function of their natural parameters."""

from __future__ import annotations

import lazygrad
from lazygrad.distributions.distribution import Distribution
from lazygrad.tensors import Tensor


class ExponentialFamily(Distribution):
    """Densities exp(t(x) . theta - F(theta) + k(x)). A subclass gives `_natural_params` (theta),
    `_log_normalizer` (F) and `_mean_carrier_measure` (the mean of k)."""

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        raise self._missing("_natural_params")

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        raise self._missing("_log_normalizer")

    @property
    def _mean_carrier_measure(self) -> float:
        raise self._missing("_mean_carrier_measure")

    def entropy(self) -> Tensor:
        """F(theta) - theta . F'(theta) - the mean of k, by differentiation of F."""
        result: Tensor = -lazygrad.as_tensor(self._mean_carrier_measure)
        theta = [p.detach().requires_grad_() for p in self._natural_params]
        size = self._log_normalizer(*theta)
        slopes = lazygrad.autograd.grad(size.sum(), theta, create_graph=True)
        result = result + size
        for parameter, slope in zip(theta, slopes, strict=True):
            part = parameter * slope
            result = result - part.reshape(*self._batch_shape, -1).sum(-1)
        return result
