"""Random numbers from counters (`RNG=counter`): lazy, fused into what uses them, equal on every device.

The same methods as `TorchDraws`: each gives the node of a place's shape.
"""

from __future__ import annotations

import math

import numpy as np

from lazygrad import dtypes, ops
from lazygrad.compositions import axes
from lazygrad.compositions import randomness as draw
from lazygrad.compositions.ordering import search
from lazygrad.dtypes import DType
from lazygrad.graph import Node, Shape
from lazygrad.helpers import product
from lazygrad.tensors.core import Tensor, apply, from_node
from lazygrad.tensors.random.generator import Generator
from lazygrad.tensors.random.placing import Place


def _scaled(x: Node, scale: float, shift: float) -> Node:
    x = x if scale == 1 else ops.mul(x, axes.full(scale, x))
    return x if shift == 0 else ops.add(x, axes.full(shift, x))


_TRIES, _TURNS = 8, 24


class CounterDraws:
    """Draws from a generator's counters."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator

    def _bits(self, shape: Shape) -> Node:
        return draw.bits(*self._generator.take(product(shape)), shape)

    def _standard_normal(self, place: Place, dtype: DType) -> Node:
        return draw.normal(*self._generator.take(2 * place.count), place.shape, dtype)

    def _inside(self, place: Place, dtype: DType) -> Node:
        """Uniform numbers of the open (0, 1) in the type to compute in."""
        number = draw.uniform(self._bits(place.shape), dtype.accumulator)
        return ops.add(number, axes.full(2.0**-54 if number.dtype is dtypes.float64 else 2.0**-25, number))

    def uniform(self, place: Place, dtype: DType, low: float = 0.0, high: float = 1.0) -> Node:
        """Uniform numbers of [low, high)."""
        return _scaled(draw.uniform(self._bits(place.shape), dtype), high - low, low)

    def normal(self, place: Place, dtype: DType, mean: float = 0.0, std: float = 1.0) -> Node:
        """Normal numbers."""
        return _scaled(self._standard_normal(place, dtype), std, mean)

    def truncated_normal(self, place: Place, dtype: DType, mean: float, std: float, low: float, high: float
                         ) -> Node:
        """Normal numbers of [low, high]: none is thrown away, the distribution is inverted."""
        first, last = (math.erf((v - mean) / (std * math.sqrt(2))) for v in (low, high))
        value = draw.erfinv(_scaled(self._inside(place, dtype), last - first, first))
        value = _scaled(value, std * math.sqrt(2), mean)
        value = ops.minimum(ops.maximum(value, axes.full(low, value)), axes.full(high, value))
        return axes.cast(value, dtype)

    def exponential(self, place: Place, dtype: DType, rate: float = 1.0) -> Node:
        """Exponentially distributed numbers."""
        return _scaled(draw.exponential(self._bits(place.shape), dtype), 1 / rate, 0)

    def cauchy(self, place: Place, dtype: DType, median: float, sigma: float) -> Node:
        """Numbers of Cauchy's distribution."""
        turn = self._inside(place, dtype)
        angle = ops.mul(ops.sub(turn, axes.full(0.5, turn)), axes.full(math.pi, turn))
        return axes.cast(_scaled(ops.tan(angle), sigma, median), dtype)

    def log_normal(self, place: Place, dtype: DType, mean: float, std: float) -> Node:
        """Exponentials of normal numbers."""
        return ops.exp(self.normal(place, dtype, mean, std))

    def geometric(self, place: Place, dtype: DType, p: float) -> Node:
        """How many tries of chance p it takes."""
        work = dtype.accumulator if dtype.kind == "float" else dtypes.float32
        wait = draw.exponential(self._bits(place.shape), work)
        tries = ops.ceil(ops.mul(wait, axes.full(-1 / math.log1p(-p), wait)))
        return axes.cast(ops.maximum(tries, axes.full(1, tries)), dtype)

    def chance(self, place: Place, p: float) -> Node:
        """Bools that are true with probability p."""
        number = draw.uniform(self._bits(place.shape), dtypes.float32)
        return ops.lt(number, axes.full(p, number))

    def slopes(self, x: Tensor, place: Place, low: float, high: float) -> Node:
        """Uniform numbers of [low, high) for the elements of x."""
        return self.uniform(place, x._dtype, low, high)

    def integers(self, place: Place, dtype: DType, low: int, high: int) -> Node:
        """Integers of [low, high)."""
        wide = dtypes.int64 if dtype.kind == "bool" else dtype
        return axes.cast(draw.integers(self._bits(place.shape), low, high, wide), dtype)

    def whole_range(self, place: Place, dtype: DType) -> Node:
        """Integers from 0 to the greatest up to which dtype holds all."""
        return self.integers(place, dtype, 0, draw.greatest_exact(dtype) + 1)

    def permutation(self, n: int, dtype: DType, device: str) -> Node:
        """0 .. n-1 in random order."""
        return axes.cast(ops.argsort(self._bits((n,)), arg=(0, False)), dtype)

    def gamma(self, shape: Tensor) -> Tensor:
        """Gamma distributed numbers of rate 1 by Marsaglia and Tsang's rejection method (2000): of eight
        tries the first that is accepted; all eight fail for fewer than one in 10**10."""
        work, place = shape._dtype.accumulator, Place((_TRIES, *shape._shape), shape.cell.device)
        normal, logs = self._standard_normal(place, work), ops.log(
            draw.open_uniform(self._bits((_TRIES + 1, *shape._shape)), work))

        def build(x: Node) -> Node:
            given = axes.cast(x, work)
            one = axes.full(1, given)
            small = ops.lt(given, one)
            depth = ops.sub(ops.where(small, ops.add(given, one), given), axes.full(1 / 3, given))
            width = ops.reciprocal(ops.sqrt(ops.mul(depth, axes.full(9, given))))
            value = one
            for i in range(_TRIES):
                z = _row(normal, i)
                root = ops.add(one, ops.mul(width, z))
                cube = ops.mul(root, ops.mul(root, root))
                above = ops.lt(axes.full(0, cube), cube)
                bound = ops.add(ops.sub(one, cube), ops.log(ops.where(above, cube, one)))
                bound = ops.add(ops.mul(ops.mul(z, z), axes.full(0.5, z)), ops.mul(depth, bound))
                taken = ops.bitand(ops.lt(axes.full(0, root), root), ops.lt(_row(logs, i), bound))
                value = ops.where(taken, cube, value)
            boost = ops.exp(ops.where(small, ops.div(_row(logs, _TRIES), given), axes.full(0, given)))
            found = ops.mul(ops.mul(depth, value), boost)
            return ops.maximum(axes.cast(found, x.dtype), axes.full(float(np.finfo(np.float32).tiny), x))

        return apply("standard_gamma", build, shape)

    def columns(self, weights: Tensor, count: int, replacement: bool, values: np.ndarray | None) -> Tensor:
        """int64 (..., count): columns drawn with the weights of each row; `values`: the weights, where they
        can be read."""
        work = weights._dtype.accumulator
        if not replacement:
            noise = draw.exponential(self._bits(tuple(weights._shape)), work)
            return apply("multinomial", lambda x: race(axes.cast(x, work), noise, count), weights)
        number = draw.uniform(self._bits((*weights._shape[:-1], count)), work)
        return apply("multinomial", lambda x: found_columns(axes.cast(x, work), number), weights)

    def counts(self, rates: Tensor, values: np.ndarray) -> Tensor:
        """Counts of Poisson's distribution with given rates, whose values are known."""
        most = float(values.max()) if values.size else 0.0
        shape = tuple(rates._shape)
        terms = int(most + 12 * math.sqrt(most) + 24)
        number = draw.uniform(self._bits(shape), dtypes.float64)

        def build(x: Node) -> Node:
            # counts how many of the cumulative probabilities the uniform number has passed
            rate = axes.cast(x, dtypes.float64)
            wide = (*shape, terms)
            count = axes.places(wide, len(shape), dtypes.float64)
            rate = axes.expand(axes.insert_axis(rate, len(shape)), wide)
            step = ops.where(ops.eq(count, axes.full(0, count)), ops.neg(rate),
                             ops.sub(ops.log(ops.maximum(rate, axes.full(1e-300, rate))),
                                     ops.log(ops.maximum(count, axes.full(1, count)))))
            passed = ops.cumsum(ops.exp(ops.cumsum(step, arg=len(shape))), arg=len(shape))
            beyond = ops.le(passed, axes.expand(axes.insert_axis(number, len(shape)), wide))
            return axes.cast(axes.total(axes.cast(beyond, dtypes.float64), (len(shape),)), x.dtype)

        return apply("poisson", build, rates)


    def successes(self, tries: Tensor, chance: Tensor, values: np.ndarray) -> Tensor:
        """How many of some tries succeed, each with a chance; `values`: the numbers of tries, of which the
        greatest says how much is drawn."""
        shape = tuple(tries._shape)
        wide = (*shape, int(values.max(initial=0)))
        work = dtypes.float64 if chance._dtype is dtypes.float64 else dtypes.float32
        number, place = draw.uniform(self._bits(wide), work), axes.places(wide, len(shape), dtypes.float64)

        def build(count: Node, p: Node) -> Node:
            count, p = (axes.expand(axes.insert_axis(axes.cast(x, kind), len(shape)), wide)
                        for x, kind in ((count, dtypes.float64), (p, work)))
            hit = ops.bitand(ops.lt(number, p), ops.lt(place, count))
            return axes.cast(axes.total(axes.cast(hit, dtypes.int64), (len(shape),)), tries._dtype)

        return apply("binomial", build, tries, chance)

    def angles(self, k: Tensor, r: Tensor) -> Tensor:
        """Angles of von Mises' distribution by Best and Fisher's rejection method (1979), of concentration k
        with the parameter r: of 24 tries the first that is accepted; each is with a chance of two thirds or
        more."""
        place = Place((3, _TURNS, *k._shape), k.cell.device)
        u = from_node(self._inside(place, dtypes.float64), place.device)
        z = (math.pi * u[0]).cos()
        f = ((1 + r * z) / (r + z)).clamp(-1, 1)
        c = k * (r - f)
        taken = (c * (2 - c) > u[1]) | ((c / u[1]).log() + 1 >= c)
        first = taken.to(dtypes.int32).argmax(0, keepdim=True)
        return ((u[2] - 0.5).sign() * f.acos()).gather(0, first).squeeze(0)


def _row(x: Node, i: int) -> Node:
    return axes.drop_axes(axes.shrink_axis(x, 0, i, i + 1), (0,))


def race(x: Node, noise: Node, count: int) -> Node:
    """The columns of the `count` greatest x / noise: the order of weights over exponential numbers is that
    of drawing one after the other."""
    axis = x.ndim - 1
    return axes.shrink_axis(ops.argsort(ops.div(x, noise), arg=(axis, True)), axis, 0, count)


def found_columns(x: Node, number: Node) -> Node:
    """The columns at which the weights, summed up, pass a number of [0, 1) of their total."""
    axis = x.ndim - 1
    summed = ops.cumsum(x, arg=axis)
    whole = axes.shrink_axis(summed, axis, x.shape[-1] - 1, x.shape[-1])
    found = search(summed, ops.mul(number, axes.expand(whole, number.shape)), True)
    # rounding may reach the total: the last column with a weight is the greatest that counts
    last = ops.max_(ops.where(ops.lt(axes.full(0, x), x), axes.places(x.shape, axis),
                              axes.full(0, x, dtypes.int64)), arg=(axis,))
    return ops.minimum(found, axes.expand(last, found.shape))
