"""CPU recipes of scans: tiles of rows, lanes of columns, long rows in blocks, in the naive nest's order."""

import numpy as np
import pytest
from llvm_support import run
from test_recipes import check, leaf, naive_nests, optimized

from lazygrad import dtypes, ops
from lazygrad.codegen.cpu_recipe import optimize
from lazygrad.codegen.loopnest import Loop, LoopNest, walk
from lazygrad.codegen.transform_scan import find_scan
from lazygrad.graph import Node
from lazygrad.runtime.cpu import cpu_device

SCANS = ("cumsum", "cumprod", "cummax", "cummin")
LANES = cpu_device().target.vector_bytes // 4


def recipe(node: Node) -> str:
    return " ".join(words for nest in optimized(node) for words in nest.recipe)


def loops(nest: LoopNest, kind: str) -> list[Loop]:
    return [s for s in walk(nest.body) if isinstance(s, Loop) and s.kind == kind]


SHAPES = [(LANES, LANES), (33, 35), (17, 100), (2, 5), (1, 300), (48, 1), (7, 33, 17)]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_axis(shape: tuple[int, ...]) -> None:
    for axis in range(len(shape)):
        for name in ("cumsum", "cummax"):
            check(ops.OPS[name](leaf("x", *shape), arg=axis), 1e-3)
        check(ops.recurrence(leaf("a", *shape), leaf("b", *shape), arg=axis), 1e-3)


@pytest.mark.parametrize("d", [d for d in dtypes.ALL if d.kind != "bool"], ids=lambda d: d.name)
def test_every_dtype(d: dtypes.DType) -> None:
    tolerance = {"float16": 2e-2, "bfloat16": 1e-1}.get(d.name, 1e-3)
    for name in SCANS if d.kind != "float" else ("cumsum", "cummax"):
        check(ops.OPS[name](leaf("x", 33, 37, dtype=d), arg=1), tolerance)
        check(ops.OPS[name](leaf("x", 37, 70, dtype=d), arg=0), tolerance)
        check(ops.OPS[name](leaf("x", 2, 9001, dtype=d), arg=1), tolerance)


def test_what_is_computed_before() -> None:
    x = leaf("x", 35, 67)
    top = ops.expand(ops.max_(x, arg=(1,)), arg=x.shape)
    check(ops.cumsum(ops.exp(ops.sub(x, top)), arg=1), 1e-3)
    check(ops.cumsum(ops.flip(x, arg=(1,)), arg=1), 1e-3)
    check(ops.cumsum(ops.mul(leaf("y", 67, 35), ops.permute(x, arg=(1, 0))), arg=1), 1e-3)
    check(ops.cummax(ops.expand(ops.reshape(ops.iota(40), arg=(1, 40)), arg=(20, 40)), arg=1))


@pytest.mark.parametrize(
    "shape, axis, words",
    [
        ((64, 500), 1, "tile_scan"),
        ((500, 640), 0, "widen"),
        ((1 << 20,), 0, "block_scan"),
        ((2, 1 << 19), 1, "block_scan"),
    ],
)
def test_which_recipe(shape: tuple[int, ...], axis: int, words: str) -> None:
    node = ops.cumsum(leaf("x", *shape), arg=axis)
    # four rows side by side gain nothing
    assert words in recipe(node) or (words == "tile_scan" and LANES == 4)
    check(node, 1e-2)


def test_a_long_row_uses_every_worker() -> None:
    nests = optimized(ops.cummax(leaf("x", 1 << 20), arg=0))
    assert len(loops(nests[0], "parallel")) == 2


def test_rows_keep_their_order() -> None:
    """In rows that are folded in order a zero stays a zero, whatever overflows after it."""
    x = np.full((40, 3 * LANES + 1), 1e30, np.float32)
    x[:, 0] = 0
    x[1, 1:3] = np.nan, np.inf
    x[2, 1:4] = -np.inf, 1, np.inf
    for name, row in (("cumprod", np.multiply), ("cummax", np.maximum), ("cumsum", np.add)):
        ((group, nest),) = naive_nests(ops.OPS[name](leaf("x", *x.shape), arg=1))
        fast = run(optimize(nest, cpu_device().target), {"x0": x.reshape(-1)})["y0"].reshape(x.shape)
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(fast, row.accumulate(x, axis=1))


def test_long_products_of_floats_stay_in_order() -> None:
    assert "block_scan" not in recipe(ops.cumprod(leaf("x", 1 << 20), arg=0))
    assert "block_scan" in recipe(ops.cumprod(leaf("x", 1 << 20, dtype=dtypes.int64), arg=0))


def test_growing_sums_never_fall() -> None:
    x = np.random.default_rng(0).random(1 << 20, np.float32)
    ((group, nest),) = naive_nests(ops.cumsum(leaf("x", x.size), arg=0))
    sums = run(optimize(nest, cpu_device().target), {"x0": x})["y0"]
    assert (np.diff(sums) >= 0).all()
    np.testing.assert_allclose(sums, np.cumsum(x.astype(np.float64)), rtol=1e-5)


def test_scans_of_constants() -> None:
    """Nothing is read, so no axis runs along memory: the totals of blocks are no columns in registers."""
    for d in (dtypes.float32, dtypes.int64):
        for shape, axis in (((48384,), 0), ((3, 20000), 1), ((500, 640), 0)):
            check(ops.cumsum(ops.const(1, d, shape), arg=axis))


def test_what_is_no_scan() -> None:
    ((group, nest),) = naive_nests(ops.sum_(leaf("x", 8), arg=(0,)))
    assert find_scan(nest.body) is None
