"""What the tests of lazygrad.jit share."""

import numpy as np


def arrays(*shapes, seed=0):
    """float32 arrays of shapes."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


def same(a, b):
    """Two values are equal, elements and shape."""
    np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
