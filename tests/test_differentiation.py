"""The gradient walk: long chains, shared nodes, what stops a gradient, higher orders."""

from __future__ import annotations

import time

import numpy as np
import pytest
from op_cases import Values

from lazygrad import dtypes, ops
from lazygrad.differentiation import gradient
from lazygrad.errors import GradientError
from lazygrad.graph import topological
from lazygrad.interpret import interpret


def _leaf(values: Values, data, token="x"):
    return ops.leaf(values.put(np.asarray(data, np.float64)), arg=token)


def _one(x):
    return ops.like(1, x)


def test_long_chain():
    x = ops.leaf(ops.scalar(0.5, dtypes.float64), arg="x")
    y = x
    for _ in range(100_000):
        y = ops.add(ops.neg(y), x)
    start = time.perf_counter()
    (g,) = gradient([y], [_one(y)], [x])
    assert time.perf_counter() - start < 10  # seconds of a loaded machine; about one on an idle one
    assert len(topological([g])) > 100_000
    assert Values().run([g])[0] == 1.0
    del y, g  # freeing a chain must not overflow the stack


def test_shared_nodes_are_differentiated_once():
    values = Values()
    x = _leaf(values, 1.0)
    y = x
    for _ in range(60):  # 2**60 paths
        y = ops.add(y, y)
    (g,) = gradient([y], [_one(y)], [x])
    assert len(topological([g])) < 200
    assert values.run([g])[0] == 2.0**60


def test_duplicates_outputs_and_intermediates():
    values = Values()
    x = _leaf(values, [2.0, 3.0])
    square = ops.mul(x, x)
    y = ops.mul(square, x)
    one, two = _one(y), ops.like(2, y)
    g = values.run(gradient([y, square, y], [one, one, two], [x, x, square, y]))
    np.testing.assert_array_equal(g[0], [3 * 3 * 4 + 4, 3 * 3 * 9 + 6])
    np.testing.assert_array_equal(g[1], g[0])
    np.testing.assert_array_equal(g[2], [7.0, 10.0])  # 3 * x + 1
    np.testing.assert_array_equal(g[3], [3.0, 3.0])


def test_no_walk_below_wrt():
    values = Values()
    x = _leaf(values, [2.0])
    below = ops.bitcast(ops.bitcast(x, arg=dtypes.int64), arg=dtypes.float64)
    y = ops.mul(below, below)
    (g,) = gradient([y], [_one(y)], [below])
    np.testing.assert_array_equal(values.run([g])[0], [4.0])


def test_none_where_there_is_no_path():
    values = Values()
    x, z = _leaf(values, [1.5], "x"), _leaf(values, [2.5], "z")
    integer = ops.cast(x, arg=dtypes.int64)
    back = ops.cast(integer, arg=dtypes.float64)
    stopped = ops.detach(x)
    compared = ops.where(ops.lt(x, z), z, z)
    for y in (back, stopped):
        assert gradient([y], [_one(y)], [x]) == [None]
    assert gradient([compared], [_one(compared)], [x])[0] is None
    assert gradient([integer], [_one(integer)], [x, integer]) == [None, None]
    assert gradient([x], [_one(x)], [z]) == [None]
    assert gradient([], [], [x]) == [None]


def test_detach_hides_what_has_no_derivative():
    values = Values()
    x = _leaf(values, [1.0])
    bits = ops.bitcast(ops.cast(x, arg=dtypes.float32), arg=dtypes.float32)
    y = ops.cast(bits, arg=dtypes.float64)
    with pytest.raises(GradientError, match=r"^\[bitcast\] has no derivative.*detach"):
        gradient([y], [_one(y)], [x])
    hidden = ops.add(x, ops.detach(y))
    (g,) = gradient([hidden], [_one(hidden)], [x])
    np.testing.assert_array_equal(values.run([g])[0], [1.0])


def test_annotations():
    values = Values()
    x = _leaf(values, [2.0, -1.0])
    other = ops.surrogate(ops.abs_(x), ops.mul(ops.mul(x, x), x))
    y = ops.mul(other, other)
    (g,) = gradient([y], [_one(y)], [x])
    np.testing.assert_array_equal(values.run([g])[0], [2 * 2 * 12, 2 * 1 * 3])  # 2 * |x| * 3 * x * x


def test_history_of_a_saved_value_is_walked():
    values = Values()
    x = _leaf(values, [3.0])
    y = ops.saved(ops.mul(x, x), arg="kept")
    z = ops.mul(y, y)
    (g,) = gradient([z], [_one(z)], [x])
    read = {"kept": np.array([9.0])}
    (result,) = interpret([g], lambda n: read[n.arg] if n.op.name == "saved" else values.read(n))
    np.testing.assert_array_equal(result, [2 * 9 * 2 * 3])


def test_equal_leaves_stay_apart():
    values = Values()
    data = values.put(np.array([2.0]))
    x, z = ops.leaf(data, arg="x"), ops.leaf(data, arg="z")
    y = ops.mul(ops.mul(x, x), z)
    found = values.run(gradient([y], [_one(y)], [x, z]))
    np.testing.assert_array_equal(found, [[8.0], [4.0]])


def test_zeros_are_not_added():
    values = Values()
    x = _leaf(values, [1.25])
    y = ops.add(ops.floor(x), ops.exp(x))
    (g,) = gradient([y], [_one(y)], [x])
    assert not any(n.op.name == "add" for n in topological([g]) if n is not x)
    np.testing.assert_allclose(values.run([g])[0], np.exp([1.25]))


def test_dtypes_of_gradients_follow_their_nodes():
    values = Values()
    x = ops.leaf(values.put(np.array([1.0, 2.0], np.float32)), arg="x")
    half = ops.cast(x, arg=dtypes.float16)
    y = ops.cast(ops.mul(half, half), arg=dtypes.float64)
    g, h = gradient([y], [_one(y)], [x, half])
    assert (g.dtype, h.dtype) == (dtypes.float32, dtypes.float16)
    np.testing.assert_array_equal(values.run([g])[0], [2.0, 4.0])


def test_fifth_order():
    values = Values()
    x = _leaf(values, [0.3, 1.1])
    y = ops.mul(ops.sin(x), ops.exp(x))
    for _ in range(4):
        (y,) = gradient([y], [_one(y)], [x])
    np.testing.assert_allclose(values.run([y])[0], -4 * np.sin([0.3, 1.1]) * np.exp([0.3, 1.1]), rtol=1e-12)
