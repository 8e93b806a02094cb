"""When two arrays of results are the same in every bit."""

import numpy as np


def bits_equal(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal in every bit, but that one NaN is as good as another."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.dtype.kind != "f":
        return bool(np.array_equal(a, b))
    return bool(np.array_equal(a, b, equal_nan=True)) and bool(
        (np.signbit(a) == np.signbit(b))[~np.isnan(a)].all()
    )
