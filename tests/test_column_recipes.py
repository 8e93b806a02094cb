"""CPU recipes that go over columns row by row: reductions along outer axes, once or several times."""

import pytest
from test_recipes import check, leaf, optimized

from lazygrad import dtypes, ops
from lazygrad.graph import Node


def spread(x: Node, axis: int, size: int) -> Node:
    return ops.expand(x, arg=tuple(size if i == axis else n for i, n in enumerate(x.shape)))


def softmax(x: Node, axis: int) -> Node:
    size = x.shape[axis]
    e = ops.exp(ops.sub(x, spread(ops.max_(x, arg=(axis,)), axis, size)))
    return ops.div(e, spread(ops.sum_(e, arg=(axis,)), axis, size))


def variance(x: Node, axis: int) -> Node:
    mean = ops.mul(ops.sum_(x, arg=(axis,)), ops.const(1 / x.shape[axis], x.dtype, (1, *x.shape[1:])))
    apart = ops.sub(x, spread(mean, axis, x.shape[axis]))
    return ops.sum_(ops.mul(apart, apart), arg=(axis,))


def recipe(node: Node) -> str:
    return " ".join(words for nest in optimized(node) for words in nest.recipe)


@pytest.mark.parametrize("shape", [(70, 300), (130, 1001), (300, 129), (64, 5000)])
@pytest.mark.parametrize("name", ["float32", "float64", "float16"])
def test_passes_over_columns(shape: tuple[int, int], name: str) -> None:
    x = leaf("x", *shape, dtype=dtypes.by_name(name))
    tolerance = 3e-2 if name == "float16" else 1e-3
    for node in (softmax(x, 0), variance(x, 0)):
        check(node, tolerance)
        assert name == "float16" or "widen" in recipe(node)


def test_middle_axes_and_several_results() -> None:
    x = leaf("x", 3, 90, 260)
    check(softmax(x, 1), 1e-3)
    assert "widen" in recipe(softmax(x, 1))
    check(ops.add(ops.max_(x, arg=(1,)), ops.min_(x, arg=(1,))))
    check(ops.sum_(leaf("y", 2, 40, 5, 300), arg=(1, 2)), 1e-3)


def test_what_is_read_before_the_rows() -> None:
    x, scale = leaf("x", 80, 300), leaf("scale", 1, 300)
    check(softmax(ops.mul(x, ops.expand(scale, arg=x.shape)), 0), 1e-3)


@pytest.mark.parametrize("d", ["int8", "int64", "bool", "bfloat16"])
def test_other_types(d: str) -> None:
    x = leaf("x", 100, 700, dtype=dtypes.by_name(d))
    check(ops.max_(x, arg=(0,)) if d != "bool" else ops.bitnot(ops.max_(x, arg=(0,))))


def test_short_columns_stay_in_registers() -> None:
    assert "widen" not in recipe(softmax(leaf("x", 8, 4000), 0))
