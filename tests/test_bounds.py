"""Interval analysis: what is proven of an integer node holds for its values."""

import numpy as np
import pytest

from lazygrad import dtypes, ops
from lazygrad.compositions.bounds import bounds, record, unmeasured
from lazygrad.engine import download, upload
from lazygrad.interpret import interpret

BINARY = (
    "add",
    "sub",
    "mul",
    "maximum",
    "minimum",
    "floordiv",
    "truncdiv",
    "remainder",
    "fmod",
    "bitand",
    "bitxor",
)
UNARY = ("neg", "abs", "sign")


def random_node(rng, depth):
    """A random int64 node of shape (3, 4)."""
    if not depth:
        if rng.random() < 0.5:
            return ops.const(int(rng.integers(-6, 7)), dtypes.int64, (3, 4))
        return ops.expand(ops.reshape(ops.iota(4), arg=(1, 4)), arg=(3, 4))
    kind = rng.choice(["binary", "unary", "where", "reduce", "scan", "move", "cast", "cat", "gather"])
    x, y = random_node(rng, depth - 1), random_node(rng, depth - 1)
    if kind == "unary":
        return ops.OPS[rng.choice(UNARY)](x)
    if kind == "where":
        return ops.where(ops.lt(x, y), x, y)
    if kind == "reduce":
        axis = int(rng.integers(2))
        return ops.expand(ops.OPS[rng.choice(["sum", "max", "min"])](x, arg=(axis,)), arg=(3, 4))
    if kind == "scan":
        return ops.OPS[rng.choice(["cumsum", "cummax", "cummin"])](x, arg=int(rng.integers(2)))
    if kind == "move":
        padded = ops.pad(
            ops.shrink(x, arg=((0, 3), (1, 3))), arg=ops.pad_arg(((0, 0), (1, 1)), int(rng.integers(-9, 9)))
        )
        return ops.flip(padded, arg=(1,))
    if kind == "cast":
        small = rng.choice([dtypes.int8, dtypes.uint8, dtypes.int32])
        return ops.cast(ops.cast(x, arg=small), arg=dtypes.int64)
    if kind == "cat":
        return ops.cat(ops.shrink(x, arg=((0, 1), (0, 4))), ops.shrink(y, arg=((0, 2), (0, 4))), arg=0)
    if kind == "gather":
        order = ops.argsort(x, arg=(1, False))
        rows = ops.expand(ops.reshape(ops.iota(3), arg=(3, 1)), arg=(3, 4))
        return ops.gather(y, rows, order, arg=(0, 1))
    return ops.OPS[rng.choice(BINARY)](x, y)


@pytest.mark.parametrize("seed", range(100))
def test_values_lie_in_their_bounds(seed):
    node = random_node(np.random.default_rng(seed), 4)
    values, = interpret([node], download)
    low, high = bounds(node)
    assert low <= values.min() and values.max() <= high


def test_what_is_proven():
    rows = ops.iota(10)
    assert bounds(rows) == (0, 9)
    assert bounds(ops.remainder(ops.mul(rows, ops.like(7, rows)), ops.like(4, rows))) == (0, 3)
    assert bounds(ops.argsort(ops.cast(rows, arg=dtypes.float32), arg=(0, True))) == (0, 9)
    # a product that may wrap proves nothing but the type's range
    assert bounds(ops.mul(ops.like(2**62, rows), rows)) == (-(2**63), 2**63 - 1)
    assert bounds(ops.cast(ops.cast(rows, arg=dtypes.float32), arg=dtypes.int64)) == (-(2**63), 2**63 - 1)


def test_measured_buffers():
    data = upload(np.array([3, 5, 4]), dtypes.int64, "NUMPY")
    shifted = ops.sub(data, ops.like(3, data))
    assert bounds(shifted)[0] < 0 and unmeasured(shifted) == [data]
    record(data, 3, 5)
    assert bounds(shifted) == (0, 2) and unmeasured(shifted) == []


def test_a_long_chain_is_walked():
    node = ops.iota(3)
    for _ in range(20000):
        node = ops.sub(ops.add(node, ops.like(1, node)), ops.like(1, node))
    assert bounds(node) == (0, 2)
