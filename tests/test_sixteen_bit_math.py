"""Functions of one argument over every float16 and every bfloat16 value, against float64.

They are computed in float32 and rounded once, so that little more than half a unit in the last place is lost.
"""

import numpy as np
import pytest
from test_vector_math import LIBRARY

import lazygrad
from lazygrad.dtypes import bfloat16, float16
from lazygrad.ops import OPS

FUNCTIONS = [
    name
    for name, row in OPS.items()
    if row.kind == "elementwise" and row.arity == 1 and name not in ("cast", "bitcast", "bitnot")
]
FORMATS = {
    float16: (10, -14),
    bfloat16: (7, -126),
}  # digits of the mantissa, least exponent of normal numbers
EVERY_VALUE = np.arange(1 << 16, dtype=np.uint16)


def exact(name: str, x: np.ndarray) -> np.ndarray:
    """In float64."""
    if name in ("erf", "erfc"):
        wide = lazygrad.tensor(x)
        with np.errstate(all="ignore"):
            return getattr(lazygrad, name)(wide).numpy()
    with np.errstate(all="ignore"):
        own = {
            "neg": np.negative,
            "rsqrt": lambda x: 1 / np.sqrt(x),
            "sign": lambda x: np.where(np.isnan(x), 0.0, np.sign(x)),
        }
        return (own.get(name) or getattr(np, LIBRARY.get(name, name)))(x)


def units_off(got: np.ndarray, expected: np.ndarray, digits: int, least: int) -> np.ndarray:
    """Errors in units in the last place of a format; infinite where NaN, infinity or the sign is wrong."""
    with np.errstate(all="ignore"):
        _, exponent = np.frexp(expected)
        error = np.abs(got - expected) / 2.0 ** (np.maximum(exponent - 1, least) - digits)
    largest = 2.0 ** (1 - least) * (2 - 2.0**-digits)
    overflow = np.isinf(got) & (np.abs(expected) >= largest * (1 + 2.0 ** -(digits + 2)))
    same = (np.isnan(got) & np.isnan(expected)) | overflow | (got == expected)
    error = np.where(same, 0, np.where(np.isfinite(got) & np.isfinite(expected), error, np.inf))
    return np.where((np.signbit(got) != np.signbit(expected)) & ~np.isnan(expected), np.inf, error)


@pytest.mark.parametrize("dtype", FORMATS, ids=lambda d: d.name)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_value(name, dtype, compiling_device):
    x = lazygrad.tensor(EVERY_VALUE.view(np.int16), device=compiling_device).view(dtype)
    got = getattr(lazygrad, name)(x).to(lazygrad.float64).numpy()
    values = x.to(lazygrad.float64).numpy()
    expected = exact(name, values)
    error = units_off(got, expected, *FORMATS[dtype])
    k = int(np.argmax(error))
    assert error[k] <= 0.501, f"{name}({values[k]!r}) = {got[k]!r}, not {expected[k]!r}: {error[k]} ulp"
