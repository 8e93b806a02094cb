"""Fits the polynomials of vector_math and prints `vector_math_tables.py`; needs mpmath, nothing imports it.

Each row says: the function q(z) to fit, the interval of z, the weight that turns an error of q into a
relative error of the result, and the degree for float and double. Fitting: weighted least squares at
Chebyshev nodes, the weights raised where the error is large (Lawson), the coefficients rounded to the type
one by one, lowest first, with the rest fitted again after each.

    python -m lazygrad.codegen.vector_math_fit > lazygrad/codegen/vector_math_tables.py
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass

import mpmath as mp

mp.mp.prec = 240
LN2 = mp.log(2)
ERFC_CENTER, ERFC_END = 4.0, 27.4
ERF_SLOPE = 2 / mp.sqrt(mp.pi)  # of erf at 0


@dataclass(frozen=True)
class Row:
    """One polynomial q; `degrees` by type."""

    name: str
    formula: str
    q: Callable[..., mp.mpf]
    weight: Callable[..., mp.mpf]
    low: float
    high: float
    degrees: dict[str, int]


def erfcx_at(u: mp.mpf) -> mp.mpf:
    x = ERFC_CENTER * (1 + u) / (1 - u)
    return (1 + 2 * x) * mp.exp(x * x) * mp.erfc(x)


def over_cube(f: Callable[[mp.mpf], mp.mpf]) -> Callable[[mp.mpf], mp.mpf]:
    """q of f(x) = x + x^3 q(x^2)."""
    return lambda z: (f(mp.sqrt(z)) - mp.sqrt(z)) / mp.sqrt(z) ** 3


def cube_weight(f: Callable[[mp.mpf], mp.mpf]) -> Callable[[mp.mpf], mp.mpf]:
    return lambda z: mp.sqrt(z) ** 3 / f(mp.sqrt(z))


def log_series(z: mp.mpf) -> mp.mpf:
    s = mp.sqrt(z)
    return (2 * mp.atanh(s) - 2 * s) / s**3


PI = mp.pi
ROWS = (
    Row(
        "exp", "exp(r) = 1 + r + r^2 q(r)",
        lambda r: (mp.exp(r) - 1 - r) / r**2, lambda r: r**2 / mp.exp(r),
        -1.002 * LN2, 1.002 * LN2, {"float": 6, "double": 12},
    ),
    Row(
        "exp_near", "exp(r) = 1 + r + r^2 q(r), to log(2)/2",
        lambda r: (mp.exp(r) - 1 - r) / r**2, lambda r: r**2 / mp.exp(r),
        -0.502 * LN2, 0.502 * LN2, {"float": 4},
    ),
    Row(
        "expm1", "exp(r) - 1 = r + r^2 q(r)",
        lambda r: (mp.expm1(r) - r) / r**2, lambda r: r**2 / mp.expm1(r),
        -0.502 * LN2, 0.502 * LN2, {"float": 5, "double": 10},
    ),
    Row(
        "exp2", "2^r = 1 + r q(r)",
        lambda r: (mp.mpf(2) ** r - 1) / r, lambda r: r / mp.mpf(2) ** r,
        -1.001, 1.001, {"float": 7, "double": 13},
    ),
    Row(
        "log", "log(1 + f) = f - f^2/2 + f^3 q(f)",
        lambda f: (mp.log1p(f) - f + f**2 / 2) / f**3, lambda f: f**3 / mp.log1p(f),
        mp.sqrt(0.5) - 1.001, mp.sqrt(2) - 0.999, {"float": 8},
    ),
    Row(
        "log_series", "2 atanh(s) = 2 s + s^3 q(s^2)",
        log_series, lambda z: mp.sqrt(z) ** 2 / 2,
        0, 0.02955, {"double": 6},
    ),
    Row(
        "log_short", "2 atanh(s) = 2 s + s^3 q(s^2), enough for float results",
        log_series, lambda z: mp.sqrt(z) ** 2 / 2,
        0, 0.02955, {"double": 4},
    ),
    Row(
        "exp2_short", "2^r = 1 + r q(r), enough for float results",
        lambda r: (mp.mpf(2) ** r - 1) / r, lambda r: r / mp.mpf(2) ** r,
        -0.501, 0.501, {"double": 7},
    ),
    Row(
        "log_pair", "2 atanh(s) = 2 s + 2/3 s^3 + s^5 q(s^2)",
        lambda z: (2 * mp.atanh(mp.sqrt(z)) - 2 * mp.sqrt(z)) / mp.sqrt(z) ** 5 - mp.mpf(2) / 3 / z,
        lambda z: z**2 / 2, 0, 0.02955, {"double": 8},
    ),
    Row(
        "sin", "sin(r) = r + r^3 q(r^2), to pi/2",
        over_cube(mp.sin), cube_weight(mp.sin), 0, (PI / 2 * 1.0005) ** 2, {"float": 4, "double": 9},
    ),
    Row(
        "sin_eighth", "sin(r) = r + r^3 q(r^2), to pi/4",
        over_cube(mp.sin), cube_weight(mp.sin), 0, (PI / 4 * 1.0005) ** 2, {"double": 6},
    ),
    Row(
        "cos_eighth", "cos(r) = 1 - r^2/2 + r^4 q(r^2), to pi/4",
        lambda z: (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z**2, lambda z: z**2 / mp.cos(mp.sqrt(z)),
        0, (PI / 4 * 1.0005) ** 2, {"double": 6},
    ),
    Row(
        "tan", "tan(r) = r + r^3 q(r^2), to pi/4",
        over_cube(mp.tan), cube_weight(mp.tan), 0, (PI / 4 * 1.0005) ** 2, {"float": 6},
    ),
    Row(
        "atan", "atan(a) = a + a^3 q(a^2), to 1",
        over_cube(mp.atan), cube_weight(mp.atan), 0, 1, {"float": 8, "double": 20},
    ),
    Row(
        "asin", "asin(x) = x + x^3 q(x^2), to 1/2",
        over_cube(mp.asin), cube_weight(mp.asin), 0, 0.25, {"float": 5, "double": 12},
    ),
    Row(
        "sinh", "sinh(x) = x + x^3 q(x^2), to 1",
        over_cube(mp.sinh), cube_weight(mp.sinh), 0, 1, {"float": 3, "double": 7},
    ),
    Row(
        "erf", "erf(x) = x + x q(x^2), to 1",
        lambda z: mp.erf(mp.sqrt(z)) / mp.sqrt(z) - 1, lambda z: mp.sqrt(z) / mp.erf(mp.sqrt(z)),
        0, 1, {"double": 15},
    ),
    Row(
        "erf_log", "log(erfc(t)) = t q(t) - t 2/sqrt(pi), the last factor a float, to 3.93",
        lambda t: mp.log(mp.erfc(t)) / t + rounded(ERF_SLOPE, "float"),
        lambda t: t * mp.erfc(t) / mp.erf(t),
        1e-9, 3.93, {"float": 8},
    ),
    Row(
        "erfcx", "erfc(x) = exp(-x^2) / (1 + 2 x) q((x - K) / (x + K))",
        erfcx_at, lambda u: 1 / erfcx_at(u),
        -1, (ERFC_END - ERFC_CENTER) / (ERFC_END + ERFC_CENTER), {"double": 24},
    ),
)  # fmt: skip


def rounded(number: mp.mpf, type_: str) -> mp.mpf:
    value = float(number)
    return mp.mpf(struct.unpack("<f", struct.pack("<f", value))[0] if type_ == "float" else value)


def solve(nodes: list, targets: list, weights: list, powers: range) -> list[mp.mpf]:
    """Weighted least squares: the coefficients of the powers."""
    matrix = mp.matrix(len(nodes), len(powers))
    right = mp.matrix(len(nodes), 1)
    for i, z in enumerate(nodes):
        for j, power in enumerate(powers):
            matrix[i, j] = weights[i] * z**power
        right[i] = weights[i] * targets[i]
    transposed = matrix.T
    return list(mp.lu_solve(transposed * matrix, transposed * right))


def fit(row: Row, type_: str) -> tuple[list[mp.mpf], float]:
    """The coefficients, lowest first, and the largest weighted error."""
    low, high, degree = mp.mpf(row.low), mp.mpf(row.high), row.degrees[type_]
    count = 6 * (degree + 1) + 1  # odd offsets keep the nodes off zero, where q is 0/0
    nodes = [
        (low + high) / 2 + (high - low) / 2 * mp.cos(PI * (i + mp.mpf("0.37")) / count) for i in range(count)
    ]
    values, scale = [row.q(z) for z in nodes], [abs(row.weight(z)) for z in nodes]
    lawson = [mp.mpf(1)] * count
    for _ in range(12):
        weights = [s * mp.sqrt(w) for s, w in zip(scale, lawson, strict=True)]
        coefficients = solve(nodes, values, weights, range(degree + 1))
        errors = [
            s * abs(v - mp.polyval(coefficients[::-1], z))
            for s, v, z in zip(scale, values, nodes, strict=True)
        ]
        mean = mp.fsum(errors) / count
        lawson = [w * (e / mean + mp.mpf("0.05")) for w, e in zip(lawson, errors, strict=True)]
    done: list[mp.mpf] = []
    for power in range(degree + 1):
        rest = [v - mp.polyval(done[::-1], z) if done else v for v, z in zip(values, nodes, strict=True)]
        done.append(rounded(solve(nodes, rest, weights, range(power, degree + 1))[0], type_))
    errors = [s * abs(v - mp.polyval(done[::-1], z)) for s, v, z in zip(scale, values, nodes, strict=True)]
    return done, float(max(errors))


CONSTANTS = (
    ("ln2", LN2, 2),
    ("log2e", 1 / LN2, 2),
    ("log10e", 1 / mp.log(10), 2),
    ("log10_2", mp.log10(2), 2),
    ("two_thirds", mp.mpf(2) / 3, 2),
    ("erf_slope", ERF_SLOPE, 1),
    ("pi", PI, 3),
    ("half_pi", PI / 2, 3),
    ("two_pi", 2 * PI, 2),
)


def parts(number: mp.mpf, type_: str, count: int) -> list[float]:
    """A constant as a sum of numbers of the type, the largest first."""
    found = []
    for _ in range(count):
        found.append(float(rounded(number, type_)))
        number -= found[-1]
    return found


def bits_of_turn(words: int) -> list[int]:
    """The fraction bits of 1/(2 pi) as 32-bit words, the highest first, after two words of zero."""
    with mp.workprec(32 * words + 64):
        number = int(mp.floor(mp.mpf(2) ** (32 * words) / (2 * mp.pi)))
    return [0, 0] + [(number >> (32 * (words - 1 - k))) & 0xFFFFFFFF for k in range(words)]


def main() -> None:
    """Print the file of tables."""
    print('"""Coefficients of vector_math, lowest power first; made by vector_math_fit.py, do not edit."""\n')
    print(f"ERFC_CENTER = {ERFC_CENTER}\n")
    print("POLYNOMIALS: dict[str, dict[str, tuple[float, ...]]] = {")
    for row in ROWS:
        print(f'    # {row.formula}\n    "{row.name}": {{')
        for type_ in row.degrees:
            coefficients, error = fit(row, type_)
            print(row.name, type_, f"2^{float(mp.log(error, 2)):.1f}", file=sys.stderr)
            print(f'        "{type_}": (')
            for coefficient in coefficients:
                print(f"            {float(coefficient)!r},")
            print("        ),")
        print("    },")
    print("}\n\n# constants as sums of numbers of the type, the largest first")
    print("PARTS: dict[str, dict[str, tuple[float, ...]]] = {")
    for name, number, count in CONSTANTS:
        print(f'    "{name}": {{')
        for type_ in ("float", "double"):
            print(f'        "{type_}": {tuple(parts(number, type_, count))!r},')
        print("    },")
    print("}\n\n# the binary digits of 1/(2 pi), 32 a word, after two words of zero\nTURN_WORDS = (")
    words = bits_of_turn(40)
    for start in range(0, len(words), 6):
        print("    " + " ".join(f"0x{word:08X}," for word in words[start : start + 6]))
    print(")")


if __name__ == "__main__":
    main()
