"""The OpenCL recipes: optimised nests equal naive nests and NumPy,
on shapes that divide and shapes that do not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from opencl_support import device_target, run_source

from lazygrad import dtypes, expr, ops
from lazygrad.codegen.loopnest import Array, LoopNest
from lazygrad.codegen.lower import Place
from lazygrad.codegen.lower_group import lower
from lazygrad.codegen.opencl import render
from lazygrad.codegen.opencl_recipe import optimize
from lazygrad.dtypes import DType, float16, float32, int32, int64
from lazygrad.graph import Node
from lazygrad.interpret import interpret
from lazygrad.scheduler import access
from lazygrad.scheduler.access import Use
from lazygrad.scheduler.group import Group, is_special
from lazygrad.source import Target


def leaf(shape: tuple[int, ...], dtype: DType = float32, number: int = 0) -> Node:
    return ops.buffer(("test", number), dtype, shape)


def naive_nest(outputs: list[Node]) -> LoopNest:
    order = {n: None for o in outputs for n in _inputs(o)}
    places = {n: Place(Array(f"in{i}", n.dtype, n.size, "parameter")) for i, n in enumerate(order)}
    places |= {n: Place(Array(f"out{i}", n.dtype, n.size, "parameter")) for i, n in enumerate(outputs)}
    return lower(Group(tuple(outputs), tuple(order), *domain_and_elements(outputs)), places)


def domain_and_elements(outputs: list[Node]) -> tuple[tuple[int, ...], tuple[Use, ...]]:
    """Loops over the first output's axes, and for each output its element at the loops' variables."""
    if is_special(outputs[0]):
        return (), tuple(Use(n, ()) for n in outputs)
    domain = access.domain_of(outputs[0].shape)

    def element(node: Node) -> Use:
        variables = iter(access.loop_variables(domain))
        return Use(node, tuple(expr.ZERO if n == 1 else next(variables) for n in node.shape))

    return domain, tuple(element(n) for n in outputs)


def _inputs(node: Node) -> list[Node]:
    found: dict[Node, None] = {}
    stack, seen = [node], set()
    while stack:
        n = stack.pop()
        if n in seen:
            continue
        seen.add(n)
        if n.op.name == "buffer":
            found[n] = None
        stack.extend(n.inputs)
    return sorted(found, key=lambda n: n.arg[1])


def values_for(node: Node) -> np.ndarray:
    random = np.random.default_rng(node.arg[1])
    if node.dtype.kind == "float":
        return dtypes.round_to(random.normal(size=node.shape), node.dtype)
    return random.integers(0, 5, node.shape).astype(node.dtype.numpy)


def check(*outputs: Node, target: Target | None = None, rtol: float = 2e-4) -> tuple[str, ...]:
    """Run the naive nest and those for a GPU and a processor, compare with the interpreter;
    the GPU recipe's words."""
    target = target or device_target()
    nest = naive_nest(list(outputs))
    fast = optimize(nest, target)
    processor = optimize(
        nest, dataclasses.replace(target, features=f"cpu {target.features}", vector_bytes=32)
    )
    data = {f"in{i}": values_for(n) for i, n in enumerate({n: None for o in outputs for n in _inputs(o)})}
    want = interpret(list(outputs), values_for)
    for version in dict.fromkeys((nest, fast, processor)):
        got = run_source(render(version, target), data)
        for i, w in enumerate(want):
            close = 4e-3 if outputs[i].dtype.itemsize == 2 else rtol
            np.testing.assert_allclose(
                got[f"out{i}"].reshape(w.shape), w, rtol=close, atol=close * 10, err_msg=f"{version.recipe}"
            )
    assert fast.recipe and not nest.recipe
    return fast.recipe


def broadcast(x: Node, shape: tuple[int, ...]) -> Node:
    return ops.expand(x, arg=shape)


def matmul(a: Node, b: Node) -> Node:
    """(..., m, k) @ (..., k, n)."""
    *batch, m, k = a.shape
    n = b.shape[-1]
    whole = (*batch, m, k, n)
    left = broadcast(ops.reshape(a, arg=(*batch, m, k, 1)), whole)
    right = broadcast(ops.reshape(b, arg=(*batch, 1, k, n)), whole)
    return ops.reshape(ops.sum_(ops.mul(left, right), arg=(len(whole) - 2,)), arg=(*batch, m, n))


def transpose(x: Node) -> Node:
    order = (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2)
    return ops.permute(x, arg=order)


@pytest.mark.parametrize(
    "shape", [(), (1,), (7,), (256,), (1000,), (3, 5, 7), (64, 64), (1, 513), (0,), (4, 0, 3)]
)
def test_elementwise(shape: tuple[int, ...]) -> None:
    x, y = leaf(shape), leaf(shape, number=1)
    recipe = check(ops.exp(ops.mul(x, y)), ops.add(x, y))
    assert "spread" in recipe[-1]


def test_elementwise_with_broadcast_rows_and_columns() -> None:
    shape = (37, 65)
    row, column = leaf((37, 1)), leaf((1, 65), number=1)
    check(ops.mul(broadcast(ops.exp(row), shape), broadcast(column, shape)))


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 65, 130), (70, 1, 300), (1, 1, 1), (5, 0, 3), (400, 3, 2)])
def test_sums_along_any_axes(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    check(ops.sum_(leaf(shape), arg=axes))


@pytest.mark.parametrize("d", [float16, dtypes.bfloat16, int32, int64, dtypes.float64, dtypes.uint8])
@pytest.mark.parametrize("reduce", [ops.sum_, ops.max_, ops.min_, ops.prod])
def test_reduces_of_other_dtypes(d: DType, reduce: ops.Op) -> None:
    check(reduce(leaf((9, 301), d), arg=(1,)))


@pytest.mark.parametrize("shape", [(1 << 20,), (3, 100_003), (100_003, 3), (40_000, 1)])
def test_long_sums_take_two_phases(shape: tuple[int, ...]) -> None:
    axis = int(np.argmax(shape))
    target = dataclasses.replace(device_target(), threads=16)
    recipe = check(ops.sum_(leaf(shape), arg=(axis,)), target=target, rtol=1e-3)
    assert len(recipe) == 2 and int(recipe[0].split()[1]) >= 16


def softmax(x: Node) -> Node:
    axis = (x.ndim - 1,)
    e = ops.exp(ops.sub(x, broadcast(ops.max_(x, arg=axis), x.shape)))
    return ops.div(e, broadcast(ops.sum_(e, arg=axis), x.shape))


@pytest.mark.parametrize(
    "shape", [(4, 10), (1, 1), (3, 257), (2, 3, 1000), (300, 33), (1, 50_000), (2, 20_000), (0, 5)]
)
def test_softmax(shape: tuple[int, ...]) -> None:
    check(softmax(leaf(shape)))


def test_softmax_of_few_long_rows_is_divided() -> None:
    target = dataclasses.replace(device_target(), threads=16)
    assert len(check(softmax(leaf((2, 40_000))), target=target)) >= 3


@pytest.mark.parametrize("shape", [(4, 10), (5, 768), (2, 3, 129)])
def test_layer_norm(shape: tuple[int, ...]) -> None:
    x, weight = leaf(shape), leaf((*(1 for _ in shape[:-1]), shape[-1]), number=1)
    axis, n = (x.ndim - 1,), 1.0 / shape[-1]

    def mean(v: Node) -> Node:
        total = ops.sum_(v, arg=axis)
        return broadcast(ops.mul(total, ops.const(n, float32, total.shape)), shape)

    centred = ops.sub(x, mean(x))
    variance = mean(ops.mul(centred, centred))
    scale = ops.rsqrt(ops.add(variance, ops.const(1e-5, float32, shape)))
    check(ops.mul(ops.mul(centred, scale), broadcast(weight, shape)))


SIZES = [
    (64, 64, 64),
    (128, 256, 100),
    (1, 64, 70),
    (70, 64, 1),
    (5, 16, 7),
    (33, 17, 65),
    (100, 1000, 10),
    (3, 3, 3),
    (257, 31, 129),
    (4, 3000, 8),
    (0, 16, 5),
    (5, 0, 16),
    (17, 1, 19),
]


@pytest.mark.parametrize("m, k, n", SIZES)
def test_matmul(m: int, k: int, n: int) -> None:
    recipe = check(matmul(leaf((m, k)), leaf((k, n), number=1)), rtol=1e-3)
    assert "tile" in recipe[0] or min(m, n) < 4 or k < 16


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("right", [False, True])
def test_matmul_transposed_and_batched(left: bool, right: bool) -> None:
    a = leaf((3, 40, 50) if left else (3, 50, 40))
    b = leaf((3, 35, 40) if right else (3, 40, 35), number=1)
    recipe = check(matmul(transpose(a) if left else a, transpose(b) if right else b))
    assert recipe[0].startswith("tile(3x")


def test_matmul_with_prologue_and_epilogue() -> None:
    x, w, bias, mask = (
        leaf((50, 70)),
        leaf((70, 30), number=1),
        leaf((1, 30), number=2),
        leaf((50, 1), number=3),
    )
    product = matmul(ops.exp(ops.mul(x, broadcast(mask, x.shape))), w)
    result = ops.tanh(ops.add(product, broadcast(bias, (50, 30))))
    assert "tile" in check(result)[0]


@pytest.mark.parametrize("d", [float16, dtypes.bfloat16, int32, int64, dtypes.float64, dtypes.uint8])
def test_matmul_of_other_dtypes(d: DType) -> None:
    check(matmul(leaf((20, 33), d), leaf((33, 18), d, number=1)))


def convolution(x: Node, w: Node, stride: int, padding: int) -> Node:
    """x (n, c, h, w), w (o, c, a, b) -> (n, o, ...): window, multiply, sum."""
    n, c, height, width = x.shape
    o, _, a, b = w.shape
    sides = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    padded = ops.pad(x, arg=ops.pad_arg(sides)) if padding else x
    windows = ops.window(padded, arg=((2, a, stride, 1), (3, b, stride, 1)))
    rows, columns = windows.shape[2:4]
    whole = (n, o, rows, columns, c, a, b)
    left = broadcast(
        ops.reshape(ops.permute(windows, arg=(0, 2, 3, 1, 4, 5)), arg=(n, 1, rows, columns, c, a, b)), whole
    )
    right = broadcast(ops.reshape(w, arg=(1, o, 1, 1, c, a, b)), whole)
    return ops.reshape(ops.sum_(ops.mul(left, right), arg=(4, 5, 6)), arg=(n, o, rows, columns))


@pytest.mark.parametrize(
    "size, stride, padding", [((2, 3, 9, 10, 8), 1, 1), ((1, 1, 12, 12, 5), 2, 0), ((3, 4, 7, 7, 6), 2, 2)]
)
def test_convolution(size: tuple[int, ...], stride: int, padding: int) -> None:
    n, c, height, width, o = size
    check(convolution(leaf((n, c, height, width)), leaf((o, c, 3, 3), number=1), stride, padding))


def test_deep_contraction_is_divided() -> None:
    target = dataclasses.replace(device_target(), threads=16)
    recipe = check(matmul(leaf((8, 5000)), leaf((5000, 9), number=1)), target=target, rtol=1e-3)
    assert len(recipe) == 2 and recipe[0].startswith("tile")


def test_small_device() -> None:
    """Work-groups of 32 items and 1 KiB of local memory."""
    target = dataclasses.replace(device_target(), max_group_items=32, local_bytes=1024)
    check(matmul(leaf((65, 40)), leaf((40, 70), number=1)), target=target)
    check(softmax(leaf((5, 1000))), target=target)
    check(ops.exp(leaf((1000,))), target=target)


@pytest.mark.parametrize("n", [5, 1000])
def test_scan_and_sort(n: int) -> None:
    x = leaf((3, n))
    check(ops.cumsum(x, arg=1))
    check(ops.argsort(x, arg=(1, False)))


@pytest.mark.parametrize("d", [float32, int64, float16])
@pytest.mark.parametrize("mode", ["add", "set", "maximum"])
def test_gather_and_scatter(mode: str, d: DType) -> None:
    table, index, values = leaf((10, 6), d), leaf((40,), int64, 1), leaf((40, 6), d, 2)
    check(ops.gather(table, index, arg=(0,)))
    check(ops.scatter(table, index, values, arg=((0,), mode)))
