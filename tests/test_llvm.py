"""Hand-built nests through the LLVM renderer, compared with NumPy."""

import numpy as np
import pytest
from llvm_support import array, at, element, kernel, run, vector
from op_cases import EXACT

from lazygrad import dtypes, expr, ops
from lazygrad.codegen.llvm import render
from lazygrad.codegen.loopnest import (
    Accumulate,
    Compute,
    Constant,
    If,
    IndexValue,
    Let,
    Load,
    Loop,
    Read,
    Select,
    Store,
)
from lazygrad.dtypes import ALL, float16, float32, float64, int8, int32, int64, uint8
from lazygrad.expr import Guard, Var
from lazygrad.interpret import run_node
from lazygrad.ops import OPS
from lazygrad.runtime.cpu import cpu_device

ELEMENTWISE = [
    row for row in OPS.values() if row.kind == "elementwise" and row.name not in ("cast", "bitcast")
]


def samples(d: dtypes.DType, count: int = 45) -> np.ndarray:
    """Special values and random ones of a dtype."""
    rng = np.random.default_rng(5)
    if d.kind == "bool":
        return rng.random(count) < 0.5
    if d.is_integer:
        special = [0, 1, 2, 3, 7, d.bits - 1, d.bits, d.max, d.max - 1, d.min, d.min + 1]
        special += [-1, -2, -7] if d.is_signed else []
        return np.array([*special, *rng.integers(d.min, d.max, count, dtype=d.numpy)][:count], d.numpy)
    special = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        -0.5,
        1.5,
        2.5,
        -2.5,
        100.0,
        -100.0,
        1e-6,
        np.inf,
        -np.inf,
        np.nan,
        3e-39,
        6e4,
    ]
    return dtypes.round_to(np.array([*special, *(rng.standard_normal(count) * 4)][:count], d.numpy), d)


def check(name: str, got: np.ndarray, want: np.ndarray, d: dtypes.DType) -> None:
    if name in EXACT or d.kind != "float":
        np.testing.assert_array_equal(got, want)
    else:
        epsilon = {"float16": 1e-3, "bfloat16": 8e-3, "float32": 6e-7, "float64": 2e-15}[d.name]
        tiny = {"float16": 1e-7, "bfloat16": 1e-38, "float32": 1e-38, "float64": 1e-307}[d.name]
        np.testing.assert_allclose(got, want, rtol=epsilon, atol=tiny)


def elementwise(row: ops.Op, d: dtypes.DType, lanes: int) -> None:
    inputs = [d] * row.arity if row.name != "where" else [dtypes.bool_, d, d]
    one = samples(d)
    values = [np.repeat(one, len(one)), np.tile(one, len(one))] if row.arity > 1 else [one]
    if row.name == "where":
        values = [np.arange(values[0].size) % 3 == 0, *values]
    size = values[0].size
    nodes = [ops.buffer(f"{row.name}{i}", k, (size,)) for i, k in enumerate(inputs)]
    node = row(*nodes)
    parameters = {f"read_{i}": array(f"x{i}", k, size) for i, k in enumerate(inputs)}
    y, i = array("y", node.dtype, size), Var("i", size)
    value = Compute(row.name, tuple(Load(x, at(i)) for x in parameters.values()), node.dtype)
    body = (
        vector(i, Store(y, at(i), value), lanes=lanes, unroll=2)
        if lanes
        else Loop(i, (Store(y, at(i), value),))
    )
    got = run(
        kernel(body, f"{row.name}_{d.name}", **parameters, write_y=y),
        {f"x{k}": v for k, v in enumerate(values)},
    )["y"]
    with np.errstate(all="ignore"):
        check(row.name, got, run_node(node, values), d)


@pytest.mark.parametrize("row", ELEMENTWISE, ids=lambda row: row.name)
def test_elementwise_matches_the_reference(row: ops.Op) -> None:
    for d in ALL:
        if d.kind in row.dtypes and (row.name != "threefry" or d is dtypes.uint64):
            for lanes in (0, 8):
                elementwise(row, d, lanes)


@pytest.mark.parametrize("source", ALL, ids=lambda d: d.name)
def test_casts_match_the_reference(source: dtypes.DType) -> None:
    values = samples(source)
    if source.kind == "float":
        big = np.array(
            [3e9, -3e9, 2.0**63, -(2.0**63), 1.5 * 2.0**63, 2.0**64, 255.5, 256.5, -1.5], np.float64
        )
        with np.errstate(all="ignore"):
            values = np.concatenate([values, dtypes.round_to(big.astype(source.numpy), source)])
    size = values.size
    x = array("x", source, size)
    for lanes in (0, 8):
        for op in ("cast", "bitcast"):
            targets = [d for d in ALL if op == "cast" or d.itemsize == source.itemsize and d.kind != "bool"]
            outputs = {f"write_{d.name}": array(d.name, d, size) for d in targets}
            i = Var("i", size)
            body = tuple(Store(y, at(i), Compute(op, (Load(x, at(i)),), y.dtype)) for y in outputs.values())
            loop = vector(i, *body, lanes=lanes) if lanes else Loop(i, body)
            got = run(kernel(loop, **{"read_x": x, **outputs}), {"x": values})
            node = ops.buffer("x", source, (size,))
            for d in targets:
                with np.errstate(all="ignore"):
                    want = run_node(OPS[op](node, arg=d), [values])
                np.testing.assert_array_equal(got[d.name], want, err_msg=f"{op} {source.name} to {d.name}")


def test_plain_compute_is_not_contracted() -> None:
    rng = np.random.default_rng(1)
    values = {n: rng.standard_normal(100).astype(np.float32) for n in "abc"}
    a, b, c, y = (array(n, float32, 100) for n in "abcy")
    i = Var("i", 100)
    product = Compute("mul", (Load(a, at(i)), Load(b, at(i))), float32)
    body = vector(i, Store(y, at(i), Compute("add", (product, Load(c, at(i))), float32)))
    got = run(kernel(body, read_a=a, read_b=b, read_c=c, write_y=y), values)["y"]
    np.testing.assert_array_equal(got, values["a"] * values["b"] + values["c"])


# Memory


@pytest.mark.parametrize("extent", [1, 7, 16, 33, 100])
@pytest.mark.parametrize(
    "d", [float32, float64, int8, float16, dtypes.bool_, dtypes.bfloat16], ids=lambda d: d.name
)
@pytest.mark.parametrize("stride", [1, -1, 2, 3, 4, 5, -2])
def test_strided_loads_and_stores(stride: int, d: dtypes.DType, extent: int) -> None:
    size = abs(stride) * (extent - 1) + 3
    x, y, z = array("x", d, size), array("y", d, extent), array("z", d, size)
    values = np.random.default_rng(0).integers(0, 100, size).astype(d.numpy)
    i = Var("i", extent)
    index = at(i) * stride + (1 if stride > 0 else size - 2)
    body = vector(i, Store(y, at(i), Load(x, index)), Store(z, index, Load(x, index)), unroll=2)
    got = run(kernel(body, read_x=x, write_y=y, readwrite_z=z), {"x": values, "z": np.zeros(size, d.numpy)})
    rows = (1 if stride > 0 else size - 2) + stride * np.arange(extent)
    np.testing.assert_array_equal(got["y"], values[rows])
    want = np.zeros_like(values)
    want[rows] = values[rows]
    np.testing.assert_array_equal(got["z"], want)


@pytest.mark.parametrize("extent", [12, 48, 96, 100])
def test_quotients_and_remainders(extent: int) -> None:
    i = Var("i", extent)
    cases = [
        at(i) // 16,
        at(i) % 16,
        at(i) // 5,
        at(i) % 7,
        at(i) // 32 * 32 + at(i) % 32,
        (at(i) - 20) // 3 + 7,
        (at(i) - 50) % 6,
        (at(i) * 3 + 1) // 4,
        (at(i) // 3) % 4,
        (at(i) * 2) // 32,
    ]
    x = array("x", int32, 400)
    outputs = {f"write_{k}": array(f"y{k}", int32, extent) for k in range(len(cases))}
    body = tuple(Store(y, at(i), Load(x, e)) for y, e in zip(outputs.values(), cases, strict=True))
    indices = {
        f"write_index{k}": array(f"z{k}", d, extent) for k, d in enumerate((int64, float32, uint8, float64))
    }
    body += tuple(
        Store(z, at(i), IndexValue(at(i) % 7 - 3, z.dtype)) for z in indices.values() if z.dtype.is_signed
    )
    values = np.random.default_rng(0).integers(0, 1000, 400).astype(np.int32)
    for loop in (vector(i, *body, unroll=3), Loop(i, body), Loop(i, body, "unroll")):
        got = run(kernel(loop, **{"read_x": x, **outputs, **indices}), {"x": values})
        n = np.arange(extent)
        rows = [
            n // 16,
            n % 16,
            n // 5,
            n % 7,
            n,
            (n - 20) // 3 + 7,
            (n - 50) % 6,
            (n * 3 + 1) // 4,
            n // 3 % 4,
            n * 2 // 32,
        ]
        for k, row in enumerate(rows):
            np.testing.assert_array_equal(got[f"y{k}"], values[row], err_msg=str(cases[k]))
        for z in indices.values():
            if z.dtype.is_signed:
                np.testing.assert_array_equal(got[z.name], (n % 7 - 3).astype(z.dtype.numpy))


@pytest.mark.parametrize("lanes", [0, 4, 16])
def test_guards_touch_nothing_outside(lanes: int) -> None:
    """Shifted copies with padding; the page before and after the array would fault far away, so shift by a
    lot."""
    size, shift = 50, 1 << 20
    x = array("x", float32, size)
    values = np.arange(1, size + 1, dtype=np.float32)
    i = Var("i", 3 * size)
    index = at(i) - size
    guards = (Guard(index, 0, size),)
    far = (at(i) - size) * shift
    far_guard = (Guard(at(i) - size, 0, 1),)
    y, z, w = (array(n, float32, 3 * size) for n in "yzw")
    stored = array("stored", float32, size)
    body = (
        Store(y, at(i), Load(x, index, guards)),
        Store(z, at(i), Load(x, far, far_guard)),
        Store(w, at(i), Select(guards, Constant(2.0, float32), Constant(3.0, float32))),
        Store(stored, index, Constant(7.0, float32), guards),
    )
    loop = vector(i, *body, lanes=lanes, unroll=2) if lanes else Loop(i, body)
    got = run(kernel(loop, read_x=x, write_y=y, write_z=z, write_w=w, write_stored=stored), {"x": values})
    inside = np.pad(np.ones(size), size) > 0
    np.testing.assert_array_equal(got["y"], np.pad(values, size))
    np.testing.assert_array_equal(got["z"], np.where(np.arange(3 * size) == size, values[0], 0))
    np.testing.assert_array_equal(got["w"], np.where(inside, 2, 3))
    np.testing.assert_array_equal(got["stored"], np.full(size, 7.0))


@pytest.mark.parametrize("bounds", [(0, 2), (3, 7), (14, 40), (0, 40), (50, 60)])
@pytest.mark.parametrize("lanes", [4, 16])
def test_stores_of_all_lanes_to_one_element_keep_the_last_that_holds(
    bounds: tuple[int, int], lanes: int
) -> None:
    x, y = array("x", float32, 40), array("y", float32, 1)
    i = Var("i", 40)
    guards = (Guard(at(i), *bounds),)
    body = vector(i, Store(y, at(i) * 0, Load(x, at(i), guards), guards), lanes=lanes)
    values = np.arange(1, 41, dtype=np.float32)
    once = Var("once", 1)
    both = Loop(once, (Store(y, at(once), Constant(-1, float32)), body))
    got = run(kernel(both, read_x=x, write_y=y), {"x": values})["y"]
    low, high = bounds[0], min(bounds[1], 40)
    assert got[0] == (high if low < high else -1)


def test_same_element_under_varying_guards() -> None:
    x, y = array("x", float32, 4), array("y", float32, 40)
    i, k = Var("i", 40), Var("k", 4)
    guards = (Guard(at(i) * 3 - at(k) * 20, 0, 31),)
    inner = Loop(k, (Accumulate(y, at(i), "add", Load(x, at(k), guards)),))
    values = np.arange(1, 5, dtype=np.float32)
    got = run(
        kernel(vector(i, Store(y, at(i), Constant(0, float32)), inner), read_x=x, write_y=y), {"x": values}
    )["y"]
    n = np.arange(40)[:, None] * 3 - np.arange(4) * 20
    np.testing.assert_array_equal(got, (((n >= 0) & (n < 31)) * values).sum(1))


@pytest.mark.parametrize("lanes", [0, 8])
def test_integer_tensors_as_indices(lanes: int) -> None:
    x, p, y = array("x", float32, 200), array("p", dtypes.int16, 30), array("y", float32, 30)
    total, count = array("total", float32, 5), array("count", int32, 5)
    i = Var("i", 30)
    place = expr.dynamic("row", 0, 4)
    body = (
        Let("row", Load(p, at(i))),
        Let("v", Load(x, place * 40 + at(i) % 3)),
        Store(y, at(i), Read("v", float32)),
        Accumulate(total, place, "add", Read("v", float32)),
        Accumulate(count, place, "add", Constant(1, int32), atomic=True),
    )
    rows = np.random.default_rng(3).integers(0, 5, 30).astype(np.int16)
    values = np.random.default_rng(4).integers(0, 9, 200).astype(np.float32)
    loop = vector(i, *body, lanes=lanes, unroll=2) if lanes else Loop(i, body)
    got = run(
        kernel(loop, read_x=x, read_p=p, write_y=y, readwrite_t=total, readwrite_c=count),
        {"x": values, "p": rows, "total": np.zeros(5, np.float32), "count": np.zeros(5, np.int32)},
    )
    want = values[rows * 40 + np.arange(30) % 3]
    np.testing.assert_array_equal(got["y"], want)
    np.testing.assert_array_equal(got["total"], np.bincount(rows, want, 5))
    np.testing.assert_array_equal(got["count"], np.bincount(rows, minlength=5))


# Reductions

REDUCES = [("add", "sum"), ("mul", "prod"), ("maximum", "max"), ("minimum", "min")]


@pytest.mark.parametrize("extent", [0, 1, 7, 16, 33, 1000])
@pytest.mark.parametrize("combine,method", REDUCES)
@pytest.mark.parametrize("d", [float32, float64, int32, uint8, dtypes.bool_], ids=lambda d: d.name)
def test_reductions(d: dtypes.DType, combine: str, method: str, extent: int) -> None:
    rng = np.random.default_rng(extent)
    values = (
        (rng.random(extent) + 0.5).astype(d.numpy)
        if d.kind == "float"
        else rng.integers(0, 5, extent).astype(d.numpy)
    )
    identity = OPS[method].identity(d)
    want = np.asarray(
        ops.OPS[combine].numpy
        and getattr(np, {"add": "add", "mul": "multiply"}.get(combine, combine)).reduce(
            values.astype(d.numpy), initial=identity, dtype=d.numpy
        )
    )
    x, y, acc = array("x", d, extent), array("y", d, 1), array("acc", d, 1, "register")
    i = Var("i", extent)
    step = Accumulate(acc, expr.ZERO, combine, Load(x, at(i)))
    for loop in (Loop(i, (step,), "reduce"), vector(i, step, lanes=8), vector(i, step, lanes=16, unroll=4)):
        body = (Store(acc, expr.ZERO, Constant(identity, d)), loop, Store(y, expr.ZERO, element(acc)))
        got = run(kernel(body, read_x=x, write_y=y), {"x": values})["y"][0]
        np.testing.assert_allclose(got, want, rtol=1e-5 if d.kind == "float" else 0)


@pytest.mark.parametrize("combine", ["maximum", "minimum", "add"])
def test_reductions_propagate_nan(combine: str) -> None:
    x, y, acc = array("x", float32, 100), array("y", float32, 1), array("acc", float32, 1, "register")
    i = Var("i", 100)
    body = (
        Store(acc, expr.ZERO, Constant(0.0, float32)),
        vector(i, Accumulate(acc, expr.ZERO, combine, Load(x, at(i))), unroll=2),
        Store(y, expr.ZERO, element(acc)),
    )
    for place in (0, 17, 63, 64, 99):
        values = np.ones(100, np.float32)
        values[place] = np.nan
        assert np.isnan(run(kernel(body, read_x=x, write_y=y), {"x": values})["y"][0])


@pytest.mark.parametrize("columns", [1, 5, 16, 40, 100])
def test_private_accumulators_of_a_vectorized_domain(columns: int) -> None:
    """Sums along the first axis, the second one in lanes: each lane has its own accumulator."""
    rows = 9
    x, y, acc = (
        array("x", float32, rows * columns),
        array("y", float32, columns),
        array("acc", float32, 1, "register"),
    )
    i, j = Var("i", rows), Var("j", columns)
    body = vector(
        j,
        Store(acc, expr.ZERO, Constant(0.0, float32)),
        Loop(i, (Accumulate(acc, expr.ZERO, "add", Load(x, at(i) * columns + at(j))),), "reduce"),
        Store(y, at(j), element(acc)),
        unroll=2,
    )
    values = np.random.default_rng(0).integers(0, 100, (rows, columns)).astype(np.float32)
    got = run(kernel(body, read_x=x, write_y=y), {"x": values})["y"]
    np.testing.assert_array_equal(got, values.sum(0))


@pytest.mark.parametrize("shape", [(4, 32, 10), (3, 20, 7), (5, 16, 1), (2, 7, 3)])
def test_register_tiles(shape: tuple[int, int, int]) -> None:
    m, n, k = shape
    a, b, c = array("a", float32, m * k), array("b", float32, k * n), array("c", float32, m * n)
    tile = array("tile", float32, m * n, "register")
    i, j, p = Var("i", m), Var("j", n), Var("p", k)
    place = at(i) * n + at(j)

    def tiled(s: Store | Accumulate) -> Loop:
        return Loop(i, (vector(j, s),), "unroll")

    product = Compute("mul", (Load(a, at(i) * k + at(p)), Load(b, at(p) * n + at(j))), float32)
    body = (
        tiled(Store(tile, place, Constant(0.0, float32))),
        Loop(p, (tiled(Accumulate(tile, place, "add", product)),), "reduce"),
        tiled(Store(c, place, Load(tile, place))),
    )
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 9, (m, k)).astype(np.float32), rng.integers(0, 9, (k, n)).astype(np.float32)
    nest = kernel(body, read_a=a, read_b=b, write_c=c)
    np.testing.assert_array_equal(run(nest, {"a": x, "b": y})["c"].reshape(m, n), x @ y)
    optimized = cpu_device().load(render(nest, cpu_device().target)).optimized_ir()
    assert "alloca" not in optimized or n == 20


def test_register_arrays_with_indices_known_at_run_time() -> None:
    x, y, held = array("x", float32, 60), array("y", float32, 60), array("held", float32, 60, "register")
    i = Var("i", 60)
    reverse = at(i) * -1 + 59
    body = (Loop(i, (Store(held, at(i), Load(x, at(i))),)), vector(i, Store(y, at(i), Load(held, reverse))))
    values = np.arange(60, dtype=np.float32)
    np.testing.assert_array_equal(run(kernel(body, read_x=x, write_y=y), {"x": values})["y"], values[::-1])


# Phases and control


def test_parallel_phases_temporaries_and_scratch() -> None:
    """Row sums of squares into a temporary by many workers, then their total; a row of scratch per worker."""
    rows, columns = 200, 50
    x, y = array("x", float32, rows * columns), array("y", float64, 1)
    partial, row = array("partial", float64, rows, "temporary"), array("row", float32, columns, "scratch")
    acc = array("acc", float64, 1, "register")
    i, j, k = Var("i", rows), Var("j", columns), Var("k", rows)
    zero = Store(acc, expr.ZERO, Constant(0.0, float64))
    square = Compute("mul", (Load(row, at(j)), Load(row, at(j))), float32)
    first = Loop(
        i,
        (
            vector(j, Store(row, at(j), Load(x, at(i) * columns + at(j)))),
            zero,
            vector(j, Accumulate(acc, expr.ZERO, "add", Compute("cast", (square,), float64))),
            Store(partial, at(i), element(acc)),
        ),
        "parallel",
        grain=7,
    )
    then = (
        zero,
        vector(k, Accumulate(acc, expr.ZERO, "add", Load(partial, at(k))), lanes=8),
        Let("total", element(acc)),
        Store(y, expr.ZERO, Read("total", float64)),
    )
    values = np.random.default_rng(0).integers(0, 9, rows * columns).astype(np.float32)
    nest = kernel((first, *then), read_x=x, write_y=y)
    source = render(nest, cpu_device().target)
    assert [(p.count, p.grain) for p in source.phases] == [(rows, 7), (1, 1)]
    assert source.temporaries == (rows * 8,) and source.scratch == 256
    assert run(nest, {"x": values})["y"][0] == (values * values).sum()


def test_top_level_lets_reach_every_phase() -> None:
    x, y, z = array("x", float32, 1), array("y", float32, 100), array("z", float32, 100)
    i, j = Var("i", 100), Var("j", 100)
    double = Compute("add", (Read("a", float32), Read("a", float32)), float32)
    body = (
        Let("a", element(x)),
        Let("b", double),
        Loop(i, (Store(y, at(i), Read("b", float32)),), "parallel"),
        Loop(j, (Store(z, at(j), Read("b", float32)),), "parallel"),
    )
    got = run(kernel(body, read_x=x, write_y=y, write_z=z), {"x": np.array([4], np.float32)})
    assert (got["y"] == 8).all() and (got["z"] == 8).all()


def test_if_and_empty_loops() -> None:
    y = array("y", float32, 40)
    i, j, none = Var("i", 10), Var("j", 4), Var("none", 0)
    body = Loop(
        i,
        (
            vector(j, Store(y, at(i) * 4 + at(j), Constant(0, float32)), lanes=4),
            If(
                (Guard(at(i), 3, 6),),
                (
                    Let("v", IndexValue(at(i), float32)),
                    vector(j, Store(y, at(i) * 4 + at(j), Read("v", float32)), lanes=4),
                ),
            ),
            *(
                Loop(none, (Store(y, at(none), Constant(9, float32)),), kind)
                for kind in ("serial", "vector", "unroll")
            ),
        ),
    )
    got = run(kernel(body, write_y=y), {})["y"].reshape(10, 4)
    n = np.arange(10)[:, None]
    np.testing.assert_array_equal(got, np.where((n >= 3) & (n < 6), n, 0) * np.ones((1, 4)))


def test_a_parameter_read_and_written() -> None:
    x, i = array("x", float32, 1000), Var("i", 1000)
    body = vector(
        i, Store(x, at(i), Compute("add", (Load(x, at(i)), Constant(1, float32)), float32)), unroll=4
    )
    values = np.arange(1000, dtype=np.float32)
    np.testing.assert_array_equal(run(kernel(body, readwrite_x=x), {"x": values})["x"], values + 1)


def test_long_straight_code_renders_in_linear_time() -> None:
    x, y, i = array("x", float32, 64), array("y", float32, 64), Var("i", 64)
    body: list = [Let("v0", Load(x, at(i)))]
    one = Constant(1.0, float32)
    for n in range(1, 3000):
        body.append(Let(f"v{n}", Compute("add", (Read(f"v{n - 1}", float32), one), float32)))
    deep: object = Read("v2999", float32)
    for _ in range(200):
        deep = Compute("neg", (deep,), float32)
    body.append(Store(y, at(i), deep))
    got = run(kernel(vector(i, *body), read_x=x, write_y=y), {"x": np.zeros(64, np.float32)})["y"]
    assert (got == 2999).all()


def test_the_text_is_stable() -> None:
    x, y, i = array("x", float32, 64), array("y", float32, 64), Var("i", 64)
    nest = kernel(vector(i, Store(y, at(i), Load(x, at(i)))), "copy 64", read_x=x, write_y=y)
    first, again = (render(nest, cpu_device().target) for _ in range(2))
    assert first == again and "define void @copy_64(ptr %buffers" in first.text
