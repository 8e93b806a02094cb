"""Argsort by digits on the CPU: rows one by one, short rows, long rows in blocks, naive and optimised."""

import numpy as np
import pytest
from llvm_support import run
from test_recipes import leaf

from lazygrad import dtypes, ops
from lazygrad.codegen.cpu_recipe import optimize
from lazygrad.codegen.loopnest import Array, Loop, LoopNest, walk
from lazygrad.codegen.lower import Place
from lazygrad.codegen.lower_group import lower
from lazygrad.codegen.lower_radix import LONG, SHORT
from lazygrad.codegen.lower_select import selects
from lazygrad.dtypes import DType, float32
from lazygrad.graph import Node
from lazygrad.runtime.cpu import cpu_device
from lazygrad.scheduler.fuse import fuse

TARGET = cpu_device().target


def nest_of(node: Node) -> LoopNest:
    (group,), _ = fuse([node], TARGET)
    nodes = {"x": group.inputs, "y": group.outputs}
    places = {
        n: Place(Array(f"{prefix}{k}", n.dtype, n.size, "parameter"))
        for prefix, found in nodes.items()
        for k, n in enumerate(found)
    }
    return lower(group, places, TARGET)


def values(shape: tuple[int, ...], d: DType) -> np.ndarray:
    """Many ties; for floats both zeros, NaN of both signs and infinities; for integers the extremes."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, shape) if d.kind == "bool" else rng.integers(-9, 9, shape) * 7
    x = np.abs(x) if d.kind == "uint" else x
    x = x.astype(d.numpy)
    flat = x.reshape(-1)
    special = [np.nan, -np.nan, -0.0, 0.0, np.inf, -np.inf] if d.kind == "float" else [d.min, d.max]
    for k, v in enumerate(special):
        flat[k::11] = v
    return dtypes.round_to(x, d)


def check(shape: tuple[int, ...], axis: int, d: DType, descending: bool = False) -> LoopNest:
    x = values(shape, d)
    want = ops.argsort.numpy(ops.argsort(leaf("x", *shape, dtype=d), arg=(axis, descending)), x)
    nest = nest_of(ops.argsort(leaf("x", *shape, dtype=d), arg=(axis, descending)))
    fast = optimize(nest, TARGET)
    for n in (nest, fast):
        got = run(n, {"x0": x.reshape(-1)})["y0"].reshape(shape)
        np.testing.assert_array_equal(got, want)
    return fast


@pytest.mark.parametrize("d", dtypes.ALL, ids=lambda d: d.name)
@pytest.mark.parametrize("descending", [False, True])
def test_every_dtype(d: DType, descending: bool) -> None:
    for shape, axis in (
        ((3, SHORT + 1), 1),
        ((5, SHORT), 1),
        ((700,), 0),
        ((300, 3), 0),
        ((8,), 0),
        ((2, 9, 4), 1),
    ):
        check(shape, axis, d, descending)


@pytest.mark.parametrize("name", ["float32", "int64", "bfloat16", "bool"])
@pytest.mark.parametrize("shape, axis", [((LONG + 3,), 0), ((2, LONG), 1), ((LONG, 2), 0)])
def test_long_rows(shape: tuple[int, ...], axis: int, name: str) -> None:
    nest = check(shape, axis, dtypes.by_name(name), name == "int64")
    if TARGET.threads > 1 and len(shape) == 1:
        # A digit of the key is two: all count, then all write; a bool has one digit.
        assert sum(isinstance(s, Loop) and s.kind == "parallel" for s in walk(nest.body)) >= 2


def test_digits_that_all_keys_share() -> None:
    for x in (np.zeros(500, np.int64), np.arange(500)[::-1].copy(), np.full(LONG, 7, np.int64)):
        nest = optimize(nest_of(ops.argsort(leaf("x", x.size, dtype=dtypes.int64), arg=(0, False))), TARGET)
        np.testing.assert_array_equal(run(nest, {"x0": x})["y0"], np.argsort(x, kind="stable"))


def test_workers_do_not_share_their_scratch() -> None:
    x = np.random.default_rng(1).standard_normal((400, 300)).astype(np.float32)
    nest = optimize(nest_of(ops.argsort(leaf("x", *x.shape, dtype=float32), arg=(1, False))), TARGET)
    got = run(nest, {"x0": x.reshape(-1)})["y0"].reshape(x.shape)
    np.testing.assert_array_equal(got, np.argsort(x, 1, kind="stable"))


def check_top(x: np.ndarray, axis: int, d: DType, descending: bool, count: int) -> None:
    node = ops.argtop(leaf("x", *x.shape, dtype=d), arg=(axis, descending, count))
    want = ops.argtop.numpy(node, x)
    nest = nest_of(node)
    for n in (nest, optimize(nest, TARGET)):
        got = run(n, {"x0": x.reshape(-1)})["y0"].reshape(node.shape)
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("d", dtypes.ALL, ids=lambda d: d.name)
@pytest.mark.parametrize("descending", [False, True])
def test_the_first_of_a_row(d: DType, descending: bool) -> None:
    for shape, axis, count in (
        ((3, 700), 1, 5),
        ((640, 3), 0, 80),
        ((2, 50), 1, 1),
        ((4, 60), 1, 50),
        ((9,), 0, 2),
    ):
        check_top(values(shape, d), axis, d, descending, count)
    rng = np.random.default_rng(0)
    spread = dtypes.round_to((rng.standard_normal((3, 2500)) * 40).astype(d.numpy), d)
    check_top(spread, 1, d, descending, 7)


def test_ties_at_the_end_of_what_is_wanted() -> None:
    """More keys are equal to the last wanted one than can count each other."""
    for d in (float32, dtypes.int64):
        x = np.ones((2, 2000), d.numpy)
        x[:, 1500:1503] = 0
        check_top(x, 1, d, False, 9)
        check_top(x, 1, d, True, 9)


def test_when_choosing_is_faster() -> None:
    assert selects(4096, 8) and selects(8, 1) and not selects(100, 50) and not selects(1 << 20, 5000)
