"""Random numbers that PyTorch draws again until they fit, one after the other, as it does: how many words
each takes depends on what was drawn."""

from __future__ import annotations

import math

import numpy as np

from lazygrad import dtypes
from lazygrad.dtypes import DType
from lazygrad.tensors.random import torch_numbers as numbers
from lazygrad.tensors.random.mersenne import Mersenne


def truncated_normal(source: Mersenne, count: int, dtype: DType, mean: float, std: float, low: float,
                     high: float, dense: bool) -> np.ndarray:
    """Normal numbers of [low, high]."""
    if _below((high - mean) / std) - _below((low - mean) / std) <= 0.3:
        return _truncated_tail(source, count, dtype, mean, std, low, high)
    low, high = (float(numbers.rounded(np.array(v), dtype)) for v in (low, high))
    values = numbers.normal(source, count, dtype, mean, std, dense)
    while (outside := (values < low) | (values > high)).any():
        values = np.where(outside, numbers.normal(source, count, dtype, mean, std, dense), values)
    return values


def _below(x: float) -> float:
    return (1.0 + math.erf(x / math.sqrt(2.0))) / 2.0


def _truncated_tail(source: Mersenne, count: int, dtype: DType, mean: float, std: float, low: float,
                    high: float) -> np.ndarray:
    """The same where bounds leave little: uniform numbers, taken with the density's chance."""
    peak = -0.5 * ((max(low, min(mean, high)) - mean) / std) ** 2
    values, pending = np.empty(0), np.ones(count, bool)
    while not values.size or pending.any():
        candidates = numbers.uniform(source, count, dtype, low, high)
        values = np.where(pending, candidates, values) if values.size else candidates
        with np.errstate(divide="ignore"):
            taken = np.log(numbers.uniform(source, count, dtype, 0.0, 1.0))
        distance = numbers.rounded(numbers.rounded(candidates - mean, dtype) / std, dtype)
        pending &= taken > numbers.rounded(numbers.rounded(distance * distance, dtype) * -0.5, dtype) - peak
        if not count:
            break
    return values


_THIRD, _SQUEEZE = np.float32(1) / np.float32(3), float(np.float32(0.0331))


def gamma(source: Mersenne, shapes: np.ndarray) -> np.ndarray:
    """Gamma distributed numbers by Marsaglia and Tsang's method (2000), as doubles, flat."""
    return np.array([_gamma(source, shape) for shape in shapes.reshape(-1)], np.float64)


def _gamma(source: Mersenne, shape: np.floating) -> float:
    if shape == 0:
        return 0.0
    scale, one = 1.0, shape.dtype.type(1)
    if shape < 1:
        scale = (1 - _uniform(source)) ** float(one / shape)
        shape = shape + one
    depth = float(shape - shape.dtype.type(_THIRD))
    width = 1.0 / math.sqrt(9.0 * depth)
    while True:
        root = 0.0
        while root <= 0:
            z = float(numbers.normal(source, 1, dtypes.float64, 0.0, 1.0, True)[0])
            root = 1.0 + width * z
        cube, u, square = root * root * root, 1 - _uniform(source), z * z
        if u < 1.0 - _SQUEEZE * square * square:
            break
        if math.log(u) < 0.5 * square + depth * (1.0 - cube + math.log(cube)):
            break
    return max(scale * depth * cube, float(np.finfo(shape.dtype).tiny))


def poisson(source: Mersenne, rates: np.ndarray) -> np.ndarray:
    """Counts with the given rates, as doubles, flat."""
    return np.array([_count(source, rate) for rate in rates.reshape(-1).tolist()], np.float64)


def _uniform(source: Mersenne) -> float:
    return float(numbers.doubles(source, 1)[0])


def _count(source: Mersenne, rate: float) -> int:
    if rate == 0:
        return 0
    if rate >= 10:
        return _large_count(source, rate)
    limit, product, count = math.exp(-rate), 1.0, 0
    while (product := product * _uniform(source)) > limit:
        count += 1
    return count


def _large_count(source: Mersenne, rate: float) -> int:
    """Transformed rejection (Hoermann, 1993)."""
    b = 0.931 + 2.53 * math.sqrt(rate)
    a = -0.059 + 0.02483 * b
    inverse = 1.1239 + 1.1328 / (b - 3.4)
    ratio = 0.9277 - 3.6224 / (b - 2)
    log_rate = math.log(rate)
    while True:
        u, v = _uniform(source) - 0.5, _uniform(source)
        room = 0.5 - abs(u)
        count = math.floor((2 * a / room + b) * u + rate + 0.43)
        if room >= 0.07 and v <= ratio:
            return count
        if count < 0 or (room < 0.013 and v > room):
            continue
        left = math.log(v) + math.log(inverse) - math.log(a / (room * room) + b)
        if left <= -rate + count * log_rate - math.lgamma(count + 1):
            return count
