"""Fits the series of special functions and prints `special_tables.py`; needs mpmath, nothing imports it.

Every table is a Chebyshev series of a function over an interval, to about 1e-17 of its greatest value.

    python -m lazygrad.compositions.special_fit > lazygrad/compositions/special_tables.py
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

import mpmath as mp

mp.mp.dps = 60
SMALLEST = mp.mpf(10) ** -17


def chebyshev(function: Callable[[Any], Any], low: float, high: float, points: int = 70) -> list[float]:
    """The coefficients of a function's Chebyshev series over [low, high], without those that are small."""
    low, high = mp.mpf(low), mp.mpf(high)
    places = [mp.cos(mp.pi * (2 * j + 1) / (2 * points)) for j in range(points)]
    values = [function((low + high) / 2 + (high - low) / 2 * place) for place in places]
    found = []
    for k in range(points):
        turn = [mp.cos(mp.pi * k * (2 * j + 1) / (2 * points)) for j in range(points)]
        total = mp.fsum(v * c for v, c in zip(values, turn, strict=True)) * 2 / points
        found.append(total / 2 if k == 0 else total)
    greatest = max(abs(c) for c in found)
    while abs(found[-1]) < SMALLEST * greatest:
        found.pop()
    return [float(c) for c in found]


def _waves(order: int, part: int) -> Callable[[Any], Any]:
    """sqrt(pi x / 2) times the even (0) or odd (1) amplitude of J and Y at x = 8 / sqrt(t), the odd over
    8 / x."""

    def amplitude(t: Any) -> Any:
        x = 8 / mp.sqrt(t) if t else mp.mpf(10) ** 25
        angle = x - mp.pi / 4 - order * mp.pi / 2
        scale = mp.sqrt(mp.pi * x / 2)
        j, y = mp.besselj(order, x) * scale, mp.bessely(order, x) * scale
        cos, sin = mp.cos(angle), mp.sin(angle)
        return j * cos + y * sin if part == 0 else (y * cos - j * sin) * x / 8

    return amplitude


def _airy_waves(part: int) -> Callable[[Any], Any]:
    """The amplitudes of Ai(-x) sqrt(pi) x**(1/4) at zeta = 1 / t: of sin and of -cos(zeta + pi / 4)."""

    def amplitude(t: Any) -> Any:
        x = mp.cbrt((mp.mpf(3) / (2 * t)) ** 2)
        scale = mp.sqrt(mp.pi) * mp.sqrt(mp.sqrt(x))
        ai, bi = mp.airyai(-x) * scale, mp.airybi(-x) * scale
        angle = 1 / t + mp.pi / 4
        cos, sin = mp.cos(angle), mp.sin(angle)
        return ai * sin + bi * cos if part == 0 else (bi * sin - ai * cos) / t

    return amplitude


def _airy_tail(t: Any) -> Any:
    x = mp.cbrt((mp.mpf(3) / (2 * t)) ** 2)
    return mp.airyai(x) * mp.exp(1 / t) * 2 * mp.sqrt(mp.pi) * mp.sqrt(mp.sqrt(x))


def _airy_slope_waves(part: int) -> Callable[[Any], Any]:
    """The same of Ai'(-x) sqrt(pi) / x**(1/4): of -cos and of sin."""

    def amplitude(t: Any) -> Any:
        x = mp.cbrt((mp.mpf(3) / (2 * t)) ** 2)
        scale = mp.sqrt(mp.pi) / mp.sqrt(mp.sqrt(x))
        ai, bi = mp.airyai(-x, derivative=1) * scale, mp.airybi(-x, derivative=1) * scale
        angle = 1 / t + mp.pi / 4
        cos, sin = mp.cos(angle), mp.sin(angle)
        return bi * sin - ai * cos if part == 0 else (ai * sin + bi * cos) / t

    return amplitude


def _airy_slope_tail(t: Any) -> Any:
    x = mp.cbrt((mp.mpf(3) / (2 * t)) ** 2)
    return -mp.airyai(x, derivative=1) * mp.exp(1 / t) * 2 * mp.sqrt(mp.pi) / mp.sqrt(mp.sqrt(x))


def _erfcx(t: Any) -> Any:
    """exp(x**2) erfc(x) (x + 4) / 4 at x = 4 / t - 4; far out by its asymptotic series."""
    x = 4 / t - 4
    if x < 1000:
        return mp.exp(x * x) * mp.erfc(x) / t
    half = 1 / (2 * x * x)
    return (1 - half * (1 - 3 * half * (1 - 5 * half * (1 - 7 * half)))) / (mp.sqrt(mp.pi) * x * t)


def _k0_rest(t: Any) -> Any:
    x = mp.sqrt(t)
    return mp.besselk(0, x) + mp.log(x / 2) * mp.besseli(0, x) if t else -mp.euler


def _k1_rest(t: Any) -> Any:
    x = mp.sqrt(t)
    return x * (mp.besselk(1, x) - mp.log(x / 2) * mp.besseli(1, x)) if t else mp.mpf(1)


def _y0_rest(t: Any) -> Any:
    x = mp.sqrt(t)
    return mp.bessely(0, x) - 2 / mp.pi * mp.log(x) * mp.besselj(0, x)


def _y1_rest(t: Any) -> Any:
    x = mp.sqrt(t)
    return (mp.bessely(1, x) - 2 / mp.pi * (mp.log(x) * mp.besselj(1, x) - 1 / x)) / x


ROWS: dict[str, tuple[Callable[[Any], Any], float, float]] = {
    "I0_NEAR": (lambda x: mp.exp(-x) * mp.besseli(0, x), 0, 8),
    "I0_FAR": (lambda t: mp.sqrt(8 / t) * mp.exp(-8 / t) * mp.besseli(0, 8 / t), 1e-20, 1),
    "I1_NEAR": (lambda x: mp.exp(-x) * mp.besseli(1, x) / x, 1e-20, 8),
    "I1_FAR": (lambda t: mp.sqrt(8 / t) * mp.exp(-8 / t) * mp.besseli(1, 8 / t), 1e-20, 1),
    "K0_NEAR": (_k0_rest, 1e-20, 4),
    "K0_FAR": (lambda t: mp.sqrt(2 / t) * mp.exp(2 / t) * mp.besselk(0, 2 / t), 1e-20, 1),
    "K1_NEAR": (_k1_rest, 1e-20, 4),
    "K1_FAR": (lambda t: mp.sqrt(2 / t) * mp.exp(2 / t) * mp.besselk(1, 2 / t), 1e-20, 1),
    "J0_NEAR": (lambda t: mp.besselj(0, mp.sqrt(t)), 0, 64),
    "J1_NEAR": (lambda t: mp.besselj(1, mp.sqrt(t)) / mp.sqrt(t), 1e-20, 64),
    "Y0_NEAR": (_y0_rest, 1e-20, 64),
    "Y1_NEAR": (_y1_rest, 1e-20, 64),
    "EVEN0": (_waves(0, 0), 1e-20, 1),
    "ODD0": (_waves(0, 1), 1e-20, 1),
    "EVEN1": (_waves(1, 0), 1e-20, 1),
    "ODD1": (_waves(1, 1), 1e-20, 1),
    "AIRY_NEAR": (lambda x: mp.airyai(x), -4, 2),
    "AIRY_SLOPE_NEAR": (lambda x: mp.airyai(x, derivative=1), -4, 2),
    "AIRY_TAIL": (_airy_tail, 1e-20, 0.55),
    "AIRY_EVEN": (_airy_waves(0), 1e-20, 0.19),
    "AIRY_ODD": (_airy_waves(1), 1e-20, 0.19),
    "AIRY_SLOPE_TAIL": (_airy_slope_tail, 1e-20, 0.55),
    "AIRY_SLOPE_EVEN": (_airy_slope_waves(0), 1e-20, 0.19),
    "AIRY_SLOPE_ODD": (_airy_slope_waves(1), 1e-20, 0.19),
    "ERFCX": (_erfcx, 1e-20, 1),
}


def uniform_gamma(orders: int, terms: int) -> list[list[float]]:
    """The power series in eta of the coefficients of Temme's expansion (DLMF 8.12.9 to 8.12.11)."""
    count = terms + 2 * orders + 4
    # mu with mu - log(1 + mu) = eta**2 / 2: from mu' = eta (1 + mu) / mu, power by power
    mu = [mp.mpf(0), mp.mpf(1)]
    for n in range(2, count + 2):
        # sum over i of mu[i] (n + 1 - i) mu[n + 1 - i] = mu[n - 1]
        rest = mp.fsum(mu[i] * (n + 1 - i) * mu[n + 1 - i] for i in range(2, n))
        mu.append((mu[n - 1] - rest) / (n + 1))
    shifted = mu[1:]  # mu / eta
    inverse = [1 / shifted[0]]
    for n in range(1, count):
        inverse.append(-mp.fsum(shifted[i] * inverse[n - i] for i in range(1, n + 1)) / shifted[0])
    # 1 / mu = inverse / eta; the coefficients of gamma's scaled form, from those of its logarithm
    logs = [mp.mpf(0)] * (orders + 1)
    for k in range(1, orders + 1):
        if k % 2:
            logs[k] = mp.bernoulli(k + 1) / (k * (k + 1))
    scaled = [mp.mpf(1)]
    for n in range(1, orders + 1):
        scaled.append(mp.fsum(i * logs[i] * scaled[n - i] for i in range(1, n + 1)) / n)
    rows = [inverse[1:]]
    for k in range(1, orders):
        before, factor = rows[-1], (-1) ** k * scaled[k]
        # (c' + factor eta / mu) / eta, whose lowest power falls away
        slope = [(i + 1) * before[i + 1] for i in range(len(before) - 1)]
        total = [s + factor * v for s, v in zip(slope, inverse, strict=False)]
        assert abs(total[0]) < SMALLEST
        rows.append(total[1:])
    return [[float(c) for c in row[:terms]] for row in rows]


def main() -> None:
    """Print the tables."""
    print('"""Series of special functions; made by special_fit, do not edit."""\n')
    for name, (function, low, high) in ROWS.items():
        text = ", ".join(repr(c) for c in chebyshev(function, low, high))
        print("\n".join(textwrap.wrap(f"{name} = ({text})", 106, subsequent_indent="    ")))
    rows = ",\n".join(f"({', '.join(repr(c) for c in row)})" for row in uniform_gamma(9, 34))
    print("UNIFORM_GAMMA = (")
    print("\n".join(textwrap.fill(row, 106, initial_indent="    ", subsequent_indent="     ")
                    for row in rows.split("\n")) + ",\n)")


if __name__ == "__main__":
    main()
