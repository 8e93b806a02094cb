"""Random numbers as PyTorch draws them on the CPU (`RNG=torch`): made on the host at the call, since each
depends on how many were drawn before it, and given to the device as data.

Inside `lazygrad.jit` they are drawn again before each replay. The same methods as `CounterDraws`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lazygrad import dtypes, ops
from lazygrad.compositions import axes, bounds
from lazygrad.compositions.randomness import greatest_exact
from lazygrad.dtypes import DType
from lazygrad.graph import Node
from lazygrad.helpers import product
from lazygrad.tensors.core import Tensor, apply, from_node
from lazygrad.tensors.examples import drawing_runs
from lazygrad.tensors.random import torch_numbers as numbers
from lazygrad.tensors.random import torch_rejection as rejection
from lazygrad.tensors.random.counter_draws import found_columns, race
from lazygrad.tensors.random.generator import Generator
from lazygrad.tensors.random.mersenne import Mersenne
from lazygrad.tensors.random.placing import Place
from lazygrad.tensors.recording import host_array
from lazygrad.tensors.values import read


class TorchDraws:
    """Draws from a generator's Mersenne twister."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator

    def _drawn(self, place: Place, dtype: DType, make: Callable[[Mersenne, int], np.ndarray],
               limits: tuple[int, int] | None = None) -> Node:
        """What `make` gives of a source and a count, in the order of drawing, as data. `limits`: the least
        and the greatest integer."""
        runs = drawing_runs()
        copies = tuple([run.size for run in runs])

        def compute() -> np.ndarray:
            values = make(self._generator.twister(), product(copies) * place.count)
            return place.arranged(numbers.as_dtype(values, dtype), copies)

        node = host_array(compute, dtype, place.device)
        if limits is not None and dtype.is_integer:
            bounds.record(node, *limits)
        for run in runs:
            node = ops.example(node, arg=run)
        return node

    def uniform(self, place: Place, dtype: DType, low: float = 0.0, high: float = 1.0) -> Node:
        """Uniform numbers of [low, high)."""
        return self._drawn(place, dtype, lambda source, n: numbers.uniform(source, n, dtype, low, high))

    def normal(self, place: Place, dtype: DType, mean: float = 0.0, std: float = 1.0) -> Node:
        """Normal numbers."""
        return self._drawn(place, dtype,
                           lambda source, n: numbers.normal(source, n, dtype, mean, std, place.dense))

    def truncated_normal(self, place: Place, dtype: DType, mean: float, std: float, low: float, high: float
                         ) -> Node:
        """Normal numbers of [low, high]: those outside are drawn again."""
        return self._drawn(place, dtype, lambda source, n: rejection.truncated_normal(
            source, n, dtype, mean, std, low, high, place.dense))

    def exponential(self, place: Place, dtype: DType, rate: float = 1.0) -> Node:
        """Exponentially distributed numbers."""
        return self._drawn(place, dtype, lambda source, n: numbers.exponential(source, n, dtype, rate))

    def cauchy(self, place: Place, dtype: DType, median: float, sigma: float) -> Node:
        """Numbers of Cauchy's distribution."""
        return self._drawn(place, dtype, lambda source, n: numbers.cauchy(source, n, dtype, median, sigma))

    def log_normal(self, place: Place, dtype: DType, mean: float, std: float) -> Node:
        """Exponentials of normal numbers."""
        return self._drawn(place, dtype, lambda source, n: numbers.log_normal(source, n, dtype, mean, std))

    def geometric(self, place: Place, dtype: DType, p: float) -> Node:
        """How many tries of chance p it takes."""
        return self._drawn(place, dtype, lambda source, n: numbers.geometric(source, n, dtype, p))

    def chance(self, place: Place, p: float) -> Node:
        """Bools that are true with probability p."""
        return self._drawn(place, dtypes.bool_, lambda source, n: numbers.doubles(source, n) < p)

    def slopes(self, x: Tensor, place: Place, low: float, high: float) -> Node:
        """Uniform numbers of [low, high) for the elements of x that are not positive, 1 for the others."""
        falls = read(x).reshape(-1) <= 0
        low, high = (float(v.astype(x._dtype.accumulator.numpy)) for v in (np.array(low), np.array(high)))

        def make(source: Mersenne, count: int) -> np.ndarray:
            chosen = np.tile(falls, count // max(falls.size, 1))
            values = np.ones(count)
            values[chosen] = numbers.doubles(source, int(chosen.sum())) * (high - low) + low
            return numbers.rounded(values, x._dtype)

        return self._drawn(Place(place.shape, place.device), x._dtype, make)

    def integers(self, place: Place, dtype: DType, low: int, high: int) -> Node:
        """Integers of [low, high)."""
        if dtype.kind == "float" and high - low < 1 << 64:
            low, high = numbers.exact_bounds(low, high, dtype)
        return self._drawn(place, dtype, lambda source, n: numbers.integers(source, n, low, high),
                           (low, high - 1))

    def whole_range(self, place: Place, dtype: DType) -> Node:
        """Integers from 0 to the greatest up to which dtype holds all."""
        return self._drawn(place, dtype, lambda source, n: numbers.whole_range(source, n, dtype),
                           (0, greatest_exact(dtype)))

    def permutation(self, n: int, dtype: DType, device: str) -> Node:
        """0 .. n-1 in random order."""

        def make(source: Mersenne, count: int) -> np.ndarray:
            orders = [numbers.permutation(source, n) for _ in range(count // max(n, 1))]
            return np.concatenate([np.empty(0, np.int64), *orders])

        return self._drawn(Place((n,), device), dtype, make, (0, max(n - 1, 0)))

    def columns(self, weights: Tensor, count: int, replacement: bool, values: np.ndarray | None) -> Tensor:
        """int64 (..., count): columns drawn with the weights of each row; `values`: the weights, where they
        can be read. Without, sums are rounded as the device adds."""
        device, dtype = weights.cell.device, weights._dtype
        if not replacement or count == 1:  # PyTorch draws a single column in one way
            noise = self.exponential(Place(tuple(weights._shape), device), dtype)
            return apply("multinomial", lambda x: race(x, noise, count), weights)
        place = Place((*weights._shape[:-1], count), device)
        if values is not None:
            node = self._drawn(place, dtypes.int64, lambda source, n: numbers.columns(source, n, values),
                               (0, values.shape[-1] - 1))
            return from_node(node, device)
        number = self.uniform(place, dtypes.float64)
        return apply("multinomial", lambda x: found_columns(axes.cast(x, dtypes.float64), number), weights)

    def gamma(self, shape: Tensor) -> Tensor:
        """Gamma distributed numbers of rate 1. Reads the parameters."""
        place, values = Place(tuple(shape._shape), shape.cell.device), read(shape)

        def make(source: Mersenne, count: int) -> np.ndarray:
            found = rejection.gamma(source, np.tile(values.reshape(-1), count // max(values.size, 1)))
            return numbers.rounded(found, shape._dtype)

        return from_node(self._drawn(place, shape._dtype, make), place.device)

    def counts(self, rates: Tensor, values: np.ndarray) -> Tensor:
        """Counts of Poisson's distribution with given rates, whose values are known."""
        place = Place(tuple(rates._shape), rates.cell.device)

        def make(source: Mersenne, count: int) -> np.ndarray:
            found = rejection.poisson(source, np.tile(values.reshape(-1), count // max(values.size, 1)))
            return numbers.rounded(found, rates._dtype)

        return from_node(self._drawn(place, rates._dtype, make), place.device)

    def successes(self, tries: Tensor, chance: Tensor, values: np.ndarray) -> Tensor:
        """How many of some tries succeed, each with a chance, which is read; `values`: the numbers of
        tries."""
        place, chances = Place(tuple(tries._shape), tries.cell.device), read(chance)

        def make(source: Mersenne, count: int) -> np.ndarray:
            copies = count // max(values.size, 1)
            found = rejection.binomial(source, np.tile(values.reshape(-1), copies),
                                       np.tile(chances.reshape(-1), copies))
            return numbers.rounded(found, tries._dtype)

        return from_node(self._drawn(place, tries._dtype, make), place.device)

    def angles(self, k: Tensor, r: Tensor) -> Tensor:
        """Angles of von Mises' distribution of concentration k, with the parameter r of the rejection. Reads
        both."""
        place, given = Place(tuple(k._shape), k.cell.device), [read(x).reshape(-1) for x in (k, r)]

        def make(source: Mersenne, count: int) -> np.ndarray:
            return rejection.angles(source, *(np.tile(x, count // max(x.size, 1)) for x in given))

        return from_node(self._drawn(place, k._dtype, make), place.device)
