"""CPU recipes: the optimised nest computes what the naive one does, and what the interpreter says."""

import math

import numpy as np
import pytest
from llvm_support import run

from lazygrad import dtypes, ops
from lazygrad.codegen.cpu_recipe import optimize
from lazygrad.codegen.loopnest import Array, Loop, LoopNest, walk
from lazygrad.codegen.lower import Place
from lazygrad.codegen.lower_group import lower
from lazygrad.differentiation import gradient
from lazygrad.dtypes import DType, float32
from lazygrad.graph import Node, topological
from lazygrad.interpret import interpret
from lazygrad.runtime.cpu import cpu_device
from lazygrad.scheduler.fuse import fuse
from lazygrad.scheduler.group import Group
from lazygrad.scheduler.order import order_groups
from lazygrad.simplify import simplify
from lazygrad.source import Target


def leaf(name: str, *shape: int, dtype: DType = float32) -> Node:
    return ops.buffer(name, dtype, shape)


def naive_nests(node: Node) -> list[tuple[Group, LoopNest]]:
    groups, _ = fuse([node], Target("CPU", "llvm"))
    result = []
    for group in order_groups(groups):
        places = {
            n: Place(Array(f"{prefix}{k}", n.dtype, n.size, "parameter"))
            for prefix, nodes in (("x", group.inputs), ("y", group.outputs))
            for k, n in enumerate(nodes)
        }
        result.append((group, lower(group, places)))
    return result


def optimized(node: Node) -> list[LoopNest]:
    return [optimize(nest, cpu_device().target) for _, nest in naive_nests(simplify([node])[0][0])]


def check(node: Node, tolerance: float = 1e-4) -> None:
    """Every nest of a graph, naive and optimised, against the interpreter."""
    target = simplify([node])[0][0]
    rng = np.random.default_rng(0)
    values: dict[Node, np.ndarray] = {}
    for n in topological([target]):
        if n.op.name == "buffer":
            made = rng.standard_normal(n.shape) if n.dtype.kind == "float" else rng.integers(0, 5, n.shape)
            values[n] = dtypes.round_to(made.astype(n.dtype.numpy), n.dtype)
    want = interpret([target], lambda n: values[n])[0]
    for group, nest in naive_nests(target):
        given = {f"x{k}": values[n].reshape(-1) for k, n in enumerate(group.inputs)}
        naive, fast = run(nest, given), run(optimize(nest, cpu_device().target), given)
        for k, n in enumerate(group.outputs):
            np.testing.assert_allclose(
                fast[f"y{k}"], naive[f"y{k}"], rtol=tolerance, atol=tolerance, err_msg=nest.name
            )
            values[n] = naive[f"y{k}"].reshape(n.shape)
    np.testing.assert_allclose(values[target], want, rtol=tolerance, atol=tolerance)


def spread(x: Node, axis: int, size: int) -> Node:
    return ops.expand(x, arg=tuple(size if i == axis else n for i, n in enumerate(x.shape)))


def softmax(x: Node, axis: int) -> Node:
    size = x.shape[axis]
    e = ops.exp(ops.sub(x, spread(ops.max_(x, arg=(axis,)), axis, size)))
    return ops.div(e, spread(ops.sum_(e, arg=(axis,)), axis, size))


def layer_norm(x: Node) -> Node:
    size = x.shape[-1]
    axis = len(x.shape) - 1

    def mean(v: Node) -> Node:
        total = ops.sum_(v, arg=(axis,))
        return ops.mul(total, ops.like(1 / size, total))

    centred = ops.sub(x, spread(mean(x), axis, size))
    variance = mean(ops.mul(centred, centred))
    return ops.mul(centred, spread(ops.rsqrt(ops.add(variance, ops.like(1e-5, variance))), axis, size))


SHAPES = [
    (64, 32),
    (33, 17),
    (1, 5),
    (5, 1),
    (2000, 3),
    (3, 2000),
    (300, 500),
    (7, 60000),
    (60000, 7),
    (200, 130),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_matrices(shape: tuple[int, int]) -> None:
    m, n = shape
    x, y = leaf("x", m, n), leaf("y", n, m)
    turned = ops.permute(x, arg=(1, 0))
    cases = [
        ops.add(ops.mul(x, x), ops.exp(x)),
        ops.add(turned, y),
        ops.mul(turned, turned),
        ops.add(ops.mul(turned, y), ops.expand(leaf("b", 1, m), arg=(n, m))),
        ops.add(x, ops.expand(leaf("row", 1, n), arg=shape)),
        ops.add(x, ops.expand(leaf("column", m, 1), arg=shape)),
        softmax(x, 1),
        softmax(x, 0),
        layer_norm(x),
        ops.cumsum(x, arg=0),
        ops.cumsum(x, arg=1),
    ]
    cases += [reduce(x, arg=axes) for reduce in (ops.sum_, ops.max_) for axes in ((0,), (1,), (0, 1))]
    for case in cases:
        check(case, 2e-3 if case.op.name == "cumsum" else 1e-4)


CUBES = [(20, 30, 40), (4, 3, 70), (70, 3, 4), (2, 100, 100)]


@pytest.mark.parametrize("shape", CUBES, ids=str)
def test_three_axes(shape: tuple[int, int, int]) -> None:
    x = leaf("x", *shape)
    for order in ((0, 2, 1), (1, 0, 2), (2, 0, 1), (2, 1, 0)):
        check(ops.exp(ops.permute(x, arg=order)))
        check(ops.sum_(ops.permute(x, arg=order), arg=(1,)))
    for axes in ((0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)):
        check(ops.sum_(x, arg=axes))
        check(ops.min_(x, arg=axes))


@pytest.mark.parametrize("size", [1, 7, 1000, 100_003])
@pytest.mark.parametrize("d", [d for d in dtypes.ALL if d.kind != "bool"], ids=lambda d: d.name)
def test_rows_of_every_dtype(d: DType, size: int) -> None:
    x, y = leaf("x", size, dtype=d), leaf("y", size, dtype=d)
    check(ops.add(ops.mul(x, y), x), 1e-2 if d.itemsize == 2 else 1e-5)
    check(ops.max_(x, arg=(0,)))
    if d.is_integer or d.itemsize > 2:
        check(ops.sum_(x, arg=(0,)), 1e-2)
    check(ops.cast(x, arg=float32), 1e-2)


def test_long_rows_without_a_loop_around_them() -> None:
    check(softmax(leaf("x", 1, 200_000), 1))
    check(layer_norm(leaf("x", 1, 200_000)))
    x = leaf("x", 100_000)
    check(ops.div(ops.sum_(ops.mul(x, x), arg=(0,)), ops.max_(x, arg=(0,))))


def test_movements() -> None:
    x = leaf("x", 6, 50)
    check(ops.add(ops.flip(x, arg=(1,)), x))
    check(ops.exp(ops.shrink(x, arg=((1, 5), (3, 40)))))
    check(ops.cat(x, x, arg=1))
    check(ops.gather(x, leaf("i", 10, dtype=dtypes.int64), arg=(0,)))
    check(ops.reshape(ops.permute(x, arg=(1, 0)), arg=(100, 3)))


def recipe_words(node: Node) -> str:
    return " ".join(word for nest in optimized(node) for word in nest.recipe)


def test_a_large_sum_uses_every_core() -> None:
    (nest,) = optimized(ops.sum_(leaf("x", 1 << 24), arg=(0,)))
    parallel = [s for s in walk(nest.body) if isinstance(s, Loop) and s.kind == "parallel"]
    assert parallel and math.ceil(parallel[0].var.extent / parallel[0].grain) >= cpu_device().target.threads
    assert "chunk_reduction" in " ".join(nest.recipe)


def test_small_work_stays_on_one_thread() -> None:
    x = leaf("x", 1000)
    for node in (ops.add(x, x), ops.sum_(x, arg=(0,)), softmax(leaf("m", 4, 50), 1)):
        assert "parallelize" not in recipe_words(node)


def test_the_contiguous_axis_runs_in_lanes() -> None:
    x = leaf("x", 500, 700)
    assert "vectorize(i" in recipe_words(ops.sum_(x, arg=(0,)))
    assert "vectorize(r" in recipe_words(ops.sum_(x, arg=(1,)))
    assert "transpose" in recipe_words(ops.add(ops.permute(x, arg=(1, 0)), leaf("y", 700, 500)))


@pytest.mark.parametrize("shape", [(530, 600), (512, 512), (9, 5), (8, 1000)], ids=str)
def test_transposes_in_squares_of_tiles(shape: tuple[int, int]) -> None:
    check(ops.add(ops.permute(leaf("x", *shape), arg=(1, 0)), leaf("y", *shape[::-1])))


@pytest.mark.parametrize("shape", [(3000, 900), (50_000, 8), (100_000, 3), (5, 70_000)], ids=str)
def test_reductions_in_chunks_of_rows(shape: tuple[int, int]) -> None:
    check(ops.sum_(leaf("x", *shape), arg=(0,)), 1e-3)
    check(ops.max_(ops.exp(leaf("x", *shape)), arg=(0,)))


def test_a_row_of_exponentials_is_computed_once() -> None:
    x = leaf("x", 100, 300)
    assert "keep(row0)" in recipe_words(softmax(x, 1))
    (nest,) = optimized(softmax(x, 1))
    assert str(nest).count("exp(") == 1
    assert "keep" not in recipe_words(layer_norm(x))


@pytest.mark.parametrize("length,size,stride", [(14, 2, 2), (15, 2, 2), (13, 3, 2), (9, 2, 3), (17, 5, 2)])
def test_windows_and_their_gradient(length: int, size: int, stride: int) -> None:
    x = leaf("x", 3, 4, length, length)
    windows = ops.window(x, arg=((2, size, stride, 1), (3, size, stride, 1)))
    check(ops.max_(windows, arg=(4, 5)))
    back = gradient([windows], [leaf("g", *windows.shape)], [x])[0]
    assert back is not None
    check(ops.mul(back, x))
    assert "solve(" in recipe_words(back)


@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_of_convolutions(stride: int) -> None:
    """Products within a sum over overlapping windows: guards on both factors."""
    x, w = leaf("x", 2, 3, 1, 12, 12), leaf("w", 1, 3, 4, 1, 1, 3, 3)
    windows = ops.window(x, arg=((3, 3, stride, 1), (4, 3, stride, 1)))
    shape = (2, 3, 4, *windows.shape[3:])
    y = ops.sum_(ops.mul(ops.expand(windows, arg=shape), ops.expand(w, arg=shape)), arg=(1, 5, 6))
    for back in gradient([y], [leaf("g", *y.shape)], [x, w]):
        assert back is not None
        check(back, 1e-3)


def test_short_windows_are_written_out_and_the_loop_over_places_runs_in_lanes():
    # what belongs to a channel stands between the loops: without writing out, lanes would go from channel to
    # channel, far apart in memory
    x, shift = leaf("x", 4, 24, 20, 20), leaf("shift", 1, 24, 1, 1)
    moved = ops.sub(x, ops.expand(ops.exp(shift), arg=x.shape))
    windows = ops.window(moved, arg=((2, 2, 2, 1), (3, 2, 2, 1)))
    node = ops.max_(windows, arg=(4, 5))
    check(node)
    (nest,) = optimized(node)
    assert [s.var.name for s in walk(nest.body) if isinstance(s, Loop) and s.kind == "vector"] == ["i3"]
