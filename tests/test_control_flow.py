"""Choices, loops and scans over functions."""

import numpy as np
import pytest

import lazygrad as lg
from lazygrad.control_flow import associative_scan, cond, scan, while_loop
from lazygrad.errors import ArgumentError


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 8, 13])
@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("reverse", [False, True])
def test_linear_recurrences_by_associative_scan(count, dim, reverse):
    generator = np.random.default_rng(count)
    shape = [2, 3]
    shape.insert(dim if dim >= 0 else 2, count)
    a, b = (generator.standard_normal(shape).astype(np.float32) for _ in range(2))
    x, y = (lg.tensor(v, requires_grad=True) for v in (a, b))

    def combine(left, right):
        assert left["a"].ndim == 2, "slices have no dim"
        return {"a": left["a"] * right["a"], "b": right["a"] * left["b"] + right["b"]}

    found = associative_scan(combine, {"a": x, "b": y}, dim, reverse=reverse)["b"]
    values, state, steps = np.moveaxis(a, dim, 0), 0.0, []
    for i in reversed(range(count)) if reverse else range(count):
        state = values[i] * state + np.moveaxis(b, dim, 0)[i]
        steps.append(state)
    expected = np.moveaxis(np.stack(steps[::-1] if reverse else steps), 0, dim)
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-4, atol=1e-5)
    found.sum().backward()
    assert (count == 1 or x.grad.shape == x.shape) and bool(y.grad.isfinite().all())


def test_sums_of_one_tensor_with_a_gradient():
    x = lg.arange(5.0).requires_grad_()
    found = associative_scan(lg.add, x, 0)
    assert found.tolist() == [0, 1, 3, 6, 10]
    found.sum().backward()
    assert x.grad.tolist() == [5, 4, 3, 2, 1]
    with pytest.raises(ArgumentError, match="one length"):
        associative_scan(lambda a, b: a, (lg.ones(2), lg.ones(3)), 0)


def test_scans_that_carry():
    carry, found = scan(lambda c, x: (c + x, (c * x, x)), lg.tensor(1.0), lg.tensor([2.0, 3.0]))
    assert carry.item() == 6.0 and [y.tolist() for y in found] == [[2.0, 9.0], [2.0, 3.0]]
    carry, found = scan(lambda c, x: (c + x, c), lg.tensor(1.0), lg.tensor([2.0, 3.0]), reverse=True)
    assert carry.item() == 6.0 and found.tolist() == [4.0, 1.0]


def test_choices_and_loops():
    x = lg.tensor([3.0])
    assert lg.cond(x.sum() > 2, lambda v: v + 1, lambda v: v - 1, (x,)).item() == 4.0
    assert cond(False, lambda v: v + 1, lambda v: v - 1, (x,)).item() == 2.0
    i, total = while_loop(lambda i, s: i < 4, lambda i, s: (i + 1, s + i), (lg.tensor(0), lg.tensor(0)))
    assert (i.item(), total.item()) == (4, 6)
