"""Random numbers as PyTorch's CPU functions make them of mt19937, bit for bit: NumPy arrays in the order of
drawing.

Where PyTorch's compiled code multiplies and adds in one instruction, so does `_fma` here. Elementary
functions of doubles are those of Python's own C library, which PyTorch calls too; single ones of the normal
distribution are PyTorch's vectors' (Cephes). What PyTorch does on processors that are not Intel's is taken:
on Intel's, its `bernoulli_` with a number as probability asks MKL instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from lazygrad import dtypes
from lazygrad.compositions.randomness import greatest_exact
from lazygrad.dtypes import DType
from lazygrad.errors import ArgumentError
from lazygrad.tensors.random.mersenne import Mersenne

_Factor = np.ndarray | np.floating | float
_SINGLE, _DOUBLE = np.float32, np.float64
_BLOCK = 1 << 14  # numbers at a time, so that what is between stays in cache
_LONG_RANGE = 1 << 28  # from here on random_ takes two words for a number
_PERMUTED = (1 << 32) // 20  # from here on randperm goes another way


def _mapped(function: Callable[[float], float], x: np.ndarray) -> np.ndarray:
    """A function of the C library for all elements."""
    return np.fromiter(map(function, x.reshape(-1).tolist()), _DOUBLE, x.size).reshape(x.shape)


def _split(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scaled = 134217729.0 * x  # 2**27 + 1
    high = scaled - (scaled - x)
    return high, x - high


def _toward_sum(total: np.ndarray, product: np.ndarray, addend: _Factor) -> np.ndarray:
    """The rounded sum moved by a bit to the side on which the exact sum lies."""
    back = total - product
    error = (product - (total - back)) + (addend - back)
    step = np.where(error == 0, 0, np.where((error > 0) == (total > 0), 1, -1))
    return (total.view(np.int64) + step).view(_DOUBLE)


def _fma(a: np.ndarray, b: _Factor, c: _Factor) -> np.ndarray:
    """a * b + c, rounded once, for finite values without overflow."""
    if a.dtype == _SINGLE:
        # the product is exact in double; only a sum that lies halfway between floats may be rounded wrongly
        product = a.astype(_DOUBLE)
        product *= b
        total = product + c
        halfway = total.view(np.int64) & 0x1FFFFFFF == 0x10000000
        if halfway.any():
            total = np.where(halfway, _toward_sum(total, product, c), total)
        return total.astype(_SINGLE)
    b = np.broadcast_to(np.asarray(b, _DOUBLE), a.shape)
    product = a * b
    (a1, a2), (b1, b2) = _split(a), _split(b)
    low = ((a1 * b1 - product) + a1 * b2 + a2 * b1) + a2 * b2
    total = product + c
    back = total - product
    return total + ((product - (total - back)) + (c - back) + low)


def rounded(x: np.ndarray, dtype: DType) -> np.ndarray:
    """Values of a float dtype: bfloat16 in float32."""
    if dtype.itemsize > 2:
        return x.astype(dtype.numpy, copy=False)
    with np.errstate(over="ignore"):
        return dtypes.from_storage(dtypes.to_storage(x.astype(_SINGLE), dtype), dtype)


def as_dtype(values: np.ndarray, dtype: DType) -> np.ndarray:
    """Integers as values of any dtype, as C converts them; what is a float already stays as it is."""
    if dtype.kind != "float":
        return values.astype(dtype.numpy, copy=False)
    if dtype is dtypes.float64:
        return values.astype(_DOUBLE, copy=False)
    return rounded(values.astype(_SINGLE), dtype) if values.dtype.kind != "f" else values


def _work(dtype: DType) -> type[np.floating]:
    return _DOUBLE if dtype is dtypes.float64 else _SINGLE


def fractions(source: Mersenne, count: int, dtype: DType) -> np.ndarray:
    """Uniform numbers of [0, 1): float64, or float32 for smaller types too."""
    digits, work = (53, _DOUBLE) if dtype is dtypes.float64 else (24, _SINGLE)
    words = source.long_words(count) if digits == 53 else source.words(count)
    return (words & words.dtype.type((1 << digits) - 1)).astype(work) * work(2.0**-digits)


def doubles(source: Mersenne, count: int) -> np.ndarray:
    """Uniform doubles of [0, 1)."""
    return fractions(source, count, dtypes.float64)


def uniform(source: Mersenne, count: int, dtype: DType, low: float, high: float) -> np.ndarray:
    """Uniform numbers of [low, high)."""
    work = _work(dtype)
    begin, end = work(low), work(high)
    first, last = (rounded(np.array(v), dtype) for v in (begin, end))
    result = np.empty(count, first.dtype)
    for at in range(0, count, _BLOCK):
        part = fractions(source, min(_BLOCK, count - at), dtype)
        part = part if (low, high) == (0, 1) else _fma(part, end - begin, begin)
        part = rounded(part, dtype)
        result[at:at + _BLOCK] = np.where(part == last, first, part)  # rounding may have reached the end
    return result


# Normal numbers


def normal(source: Mersenne, count: int, dtype: DType, mean: float, std: float, dense: bool) -> np.ndarray:
    """Normal numbers; 16 and more that stand densely in memory are made in blocks, others one after the
    other."""
    if count < 16 or not dense:
        return rounded(_fma(_normal_pairs(source, count), std, mean), dtype)
    block = _double_block if dtype is dtypes.float64 else _single_block
    whole = count - count % 16
    uniforms = fractions(source, whole if dtype.itemsize == 2 else count, dtype)
    result = np.empty(count, uniforms.dtype)
    result[:whole] = block(uniforms[:whole], mean, std)
    if whole != count:
        # the last 16 are drawn anew, over some that were there before
        result[-16:] = block(fractions(source, 16, dtype), mean, std)
    return rounded(result, dtype)


def _normal_pairs(source: Mersenne, count: int) -> np.ndarray:
    """Standard normal doubles by Box and Muller's method, two at a time; one that is left is kept for the
    next call."""
    first = [] if source.spare_normal is None or not count else [source.spare_normal]
    if not count:
        return np.empty(0)
    source.spare_normal = None
    pairs = (count - len(first) + 1) // 2
    turns = doubles(source, 2 * pairs).reshape(pairs, 2)
    radius = np.sqrt(-2.0 * _mapped(math.log1p, -turns[:, 1]))
    angle = 2.0 * math.pi * turns[:, 0]
    both = np.stack([radius * _mapped(math.cos, angle), radius * _mapped(math.sin, angle)], 1).reshape(-1)
    values = np.concatenate([first, both])
    if len(values) > count:
        source.spare_normal = float(values[-1])
    return values[:count]


def _double_block(uniforms: np.ndarray, mean: float, std: float) -> np.ndarray:
    halves = uniforms.reshape(-1, 2, 8)
    radius = np.sqrt(-2.0 * _mapped(math.log, 1.0 - halves[:, 0]))
    angle = 2.0 * math.pi * halves[:, 1]
    values = [_fma(radius * _mapped(wave, angle), std, mean) for wave in (math.cos, math.sin)]
    return np.stack(values, 1).reshape(-1)


# Moshier's Cephes library, in float32: log and sin/cos as vectors of multiply-adds
_LOG = (7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
        -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1)
_LOG_OF_2 = (0.693359375, -2.12194440e-4)
_SINE = (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
_COSINE = (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)
_EIGHTH_TURN = (-0.78515625, -2.4187564849853515625e-4, -3.77489497744594108e-8)


def _single(value: float) -> float:
    return float(_SINGLE(value))


def _horner(x: np.ndarray, coefficients: tuple[float, ...]) -> np.ndarray:
    value = np.full_like(x, coefficients[0])
    for c in coefficients[1:]:
        value = _fma(value, x, _single(c))
    return value


def _single_log(x: np.ndarray) -> np.ndarray:
    """The logarithm of normal positive numbers."""
    mantissa, exponent = np.frexp(x)
    low = mantissa < _SINGLE(0.707106781186547524)
    power = exponent.astype(_SINGLE) - low
    part = (mantissa - _SINGLE(1)) + np.where(low, mantissa, _SINGLE(0))
    square = part * part
    value = _fma(_horner(part, _LOG) * part, square, power * _SINGLE(_LOG_OF_2[1]))
    value = _fma(square, -0.5, value)
    return _fma(power, _LOG_OF_2[0], part + value)


def _single_waves(angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine of angles of [0, 2 pi)."""
    octant = ((angle * _SINGLE(1.27323954473516)).astype(np.int32) + 1) & ~1
    turned = octant.astype(_SINGLE)
    for part in _EIGHTH_TURN:
        angle = _fma(turned, _single(part), angle)
    square = angle * angle
    cosine = _fma(_horner(square, _COSINE) * square, square, -(square * _SINGLE(0.5))) + _SINGLE(1)
    sine = _fma(_horner(square, _SINE) * square, angle, angle)
    straight = octant & 2 == 0
    waves = np.where(straight, cosine, sine), np.where(straight, sine, cosine)
    signs = (octant - 2) & 4 == 0, octant & 4 != 0
    cos, sin = (np.where(sign, -wave, wave) for sign, wave in zip(signs, waves, strict=True))
    return cos, sin


def _single_block(uniforms: np.ndarray, mean: float, std: float) -> np.ndarray:
    result = np.empty_like(uniforms)
    for begin in range(0, len(uniforms), _BLOCK):
        halves = uniforms[begin:begin + _BLOCK].reshape(-1, 2, 8)
        radius = np.sqrt(_SINGLE(-2) * _single_log(_SINGLE(1) - halves[:, 0]))
        waves = _single_waves(_SINGLE(2 * math.pi) * halves[:, 1])
        values = [_fma(radius * wave, _single(std), _single(mean)) for wave in waves]
        result[begin:begin + _BLOCK] = np.stack(values, 1).reshape(-1)
    return result


# Other distributions: one double for each number


def exponential(source: Mersenne, count: int, dtype: DType, rate: float) -> np.ndarray:
    """Exponentially distributed numbers."""
    return rounded(-1.0 / rate * _mapped(math.log1p, -doubles(source, count)), dtype)


def cauchy(source: Mersenne, count: int, dtype: DType, median: float, sigma: float) -> np.ndarray:
    """Numbers of Cauchy's distribution."""
    angle = math.pi * (doubles(source, count) - 0.5)
    return rounded(_fma(_mapped(math.tan, angle), sigma, median), dtype)


def log_normal(source: Mersenne, count: int, dtype: DType, mean: float, std: float) -> np.ndarray:
    """Exponentials of normal numbers."""
    return rounded(_mapped(math.exp, _fma(_normal_pairs(source, count), std, mean)), dtype)


def geometric(source: Mersenne, count: int, dtype: DType, p: float) -> np.ndarray:
    """How many tries of chance p it takes."""
    tries = np.ceil(_mapped(_log_or_infinity, doubles(source, count)) / math.log1p(-p))
    return rounded(tries, dtype) if dtype.kind == "float" else tries


def _log_or_infinity(x: float) -> float:
    return math.log(x) if x else -math.inf


# Integers


def exact_bounds(low: int, high: int, dtype: DType) -> tuple[int, int]:
    """The bounds that random_ takes for a float dtype, which cannot hold all integers."""
    digits = greatest_exact(dtype).bit_length() - 1
    first, last = (int(rounded(np.array(float(v)), dtype)) for v in (low + 1, high - 1))
    if first < low:
        low = first + (1 << abs(low + 1).bit_length() - digits)
    if last >= high:
        high = last - (1 << abs(high - 1).bit_length() - digits)
    return low, high


def integers(source: Mersenne, count: int, low: int, high: int) -> np.ndarray:
    """Integers of [low, high), of at most 64 bits: int64, or uint64 where they are greater."""
    span = high - low
    if span >= _LONG_RANGE:
        words = source.long_words(count)
        if span >= 1 << 64:
            return words.view(np.int64)
        words = words % np.uint64(span)
    else:
        words = source.words(count).astype(np.uint64) % np.uint64(span)
    moved = words + np.uint64(low & (1 << 64) - 1)
    return moved if high > 1 << 63 else moved.view(np.int64)


def whole_range(source: Mersenne, count: int, dtype: DType) -> np.ndarray:
    """random_() without bounds: what dtype holds exactly, from 0 on."""
    if dtype.kind == "bool":
        return source.words(count) & np.uint32(1) != 0
    high = greatest_exact(dtype) + 1
    words = source.long_words(count) if dtype.itemsize == 8 else source.words(count)
    return words % words.dtype.type(high) if high < 1 << 8 * words.dtype.itemsize else words


def permutation(source: Mersenne, n: int) -> np.ndarray:
    """0 .. n-1 shuffled by Fisher and Yates."""
    if n >= _PERMUTED:
        raise ArgumentError(f"[randperm] RNG=torch shuffles fewer than {_PERMUTED} numbers, got {n}: "
                                   "take RNG=counter")
    if n < 2:
        return np.arange(n)
    steps = source.words(n - 1).astype(np.int64) % np.arange(n, 1, -1) + np.arange(n - 1)
    order = list(range(n))
    for i, j in enumerate(steps.tolist()):
        order[i], order[j] = order[j], order[i]
    return np.array(order)


def columns(source: Mersenne, count: int, weights: np.ndarray) -> np.ndarray:
    """Columns drawn with the weights of each row, all draws of a row before those of the next: int64
    (count,)."""
    rows = np.atleast_2d(weights)
    rows = rows if rows.dtype == _DOUBLE else rows.astype(_SINGLE)
    each = count // max(len(rows), 1)
    found = []
    for row in rows:
        summed = np.add.accumulate(row)  # one after the other, in their own precision
        summed = summed / summed[-1]
        summed[-1] = 1
        found.append(np.searchsorted(summed.astype(_DOUBLE), doubles(source, each)))
    return np.concatenate(found) if found else np.empty(0, np.int64)
