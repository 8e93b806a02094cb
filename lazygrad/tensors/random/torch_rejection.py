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
            taken = numbers.rounded(np.log(numbers.uniform(source, count, dtype, 0.0, 1.0)), dtype)
        distance = numbers.rounded(numbers.rounded(candidates - mean, dtype) / std, dtype)
        density = numbers.rounded(numbers.rounded(distance * distance, dtype) * -0.5, dtype)
        pending &= taken > numbers.rounded(density - peak, dtype)
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


def binomial(source: Mersenne, tries: np.ndarray, chances: np.ndarray) -> np.ndarray:
    """How many of some tries succeed, each with a chance, as doubles, flat."""
    pairs = zip(tries.reshape(-1).tolist(), chances.reshape(-1).tolist(), strict=True)
    return np.array([_successes(source, n, p) for n, p in pairs], np.float64)


def _successes(source: Mersenne, n: float, p: float) -> float:
    if n <= 0 or p <= 0:
        return 0.0
    if p >= 1:
        return n
    if math.isnan(p):
        return math.nan
    rare = p if p <= 0.5 else 1.0 - p
    found = _many_successes(source, n, rare) if n * rare >= 10 else _few_successes(source, n, rare)
    return found if p <= 0.5 else n - found


def _few_successes(source: Mersenne, n: float, p: float) -> float:
    """By how many tries there are from one success to the next."""
    found, passed, log_miss = 0, 0.0, math.log1p(-p)
    while True:
        u = _uniform(source)
        passed += math.ceil(math.log(u) / log_miss) if u else math.inf
        if passed > n:
            return float(found)
        found += 1


def _many_successes(source: Mersenne, n: float, p: float) -> float:
    """Transformed rejection with squeeze (Hoermann, 1993)."""
    deviation = math.sqrt(n * p * (1 - p))
    b = 1.15 + 2.53 * deviation
    a = -0.0873 + 0.0248 * b + 0.01 * p
    center, sure, odds = n * p + 0.5, 0.92 - 4.2 / b, p / (1 - p)
    alpha, mode = (2.83 + 5.1 / b) * deviation, math.floor((n + 1) * p)
    while True:
        u, v = _uniform(source) - 0.5, _uniform(source)
        room = 0.5 - abs(u)
        found = math.floor((2 * a / room + b) * u + center) if room else -1
        if found < 0 or found > n:
            continue
        if room >= 0.07 and v <= sure:
            return float(found)
        left = math.log(v * alpha / (a / (room * room) + b)) if v else -math.inf
        right = ((mode + 0.5) * math.log((mode + 1) / (odds * (n - mode + 1)))
                 + (n + 1) * math.log((n - mode + 1) / (n - found + 1))
                 + (found + 0.5) * math.log(odds * (n - found + 1) / (found + 1))
                 + _stirling_rest(mode) + _stirling_rest(n - mode)
                 - _stirling_rest(found) - _stirling_rest(n - found))
        if left <= right:
            return float(found)


def _stirling_rest(k: float) -> float:
    """What Stirling's formula leaves of log(k!): exactly for small k, else by its series."""
    after = k + 1
    if k < 10:
        return math.lgamma(after) - (k + 0.5) * math.log(after) + after - 0.5 * math.log(2 * math.pi)
    square = after * after
    return (1 / 12 - (1 / 360 - 1 / 1260 / square) / square) / after


def angles(source: Mersenne, k: np.ndarray, r: np.ndarray) -> np.ndarray:
    """Angles of von Mises' distribution by Best and Fisher's method (1979): all are tried until each was
    accepted once, and the last one that was accepted counts."""
    found, done = np.zeros(k.size), np.zeros(k.size, bool)
    while not done.all():
        turn, chance, side = numbers.doubles(source, 3 * k.size).reshape(3, -1)
        z = np.cos(math.pi * turn)
        f = (1 + r * z) / (r + z)
        c = k * (r - f)
        with np.errstate(divide="ignore", invalid="ignore"):
            taken = (c * (2 - c) - chance > 0) | (np.log(c / chance) + 1 - c >= 0)
            found = np.where(taken, np.sign(side - 0.5) * np.arccos(f), found)
        done |= taken
    return found
