"""The OpenCL renderer: every elementwise row over all its dtypes, and every kind of statement,
against NumPy."""

import numpy as np
import pytest
from opencl_support import device_target, run_nest

from lazygrad import dtypes, expr, ops
from lazygrad.codegen.loopnest import (
    Accumulate,
    Array,
    Barrier,
    Compute,
    Constant,
    If,
    IndexValue,
    Let,
    Load,
    Loop,
    LoopNest,
    Read,
    Select,
    Store,
)
from lazygrad.codegen.opencl import render
from lazygrad.dtypes import DType, bool_, float16, float32, float64, int32, int64, uint64
from lazygrad.errors import DTypeError
from lazygrad.expr import Guard, Var
from lazygrad.ops import OPS
from lazygrad.source import Target

SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, -1.5, 2.5, 3.0, -3.0, 7.25, -7.25, 0.1, 10.0, 88.0, -104.0,
           1e-3, 12345.0, np.inf, -np.inf, np.nan, 3.4e38, 1e-30, 0.99, -0.99]


def parameter(name: str, dtype: DType, size: int) -> Array:
    return Array(name, dtype, size, "parameter")


Case = tuple[str, list[DType], DType]  # a row, its operands' dtypes, its result's


def elementwise_nest(cases: list[Case], size: int) -> LoopNest:
    """out<k>[i] = row k of the inputs; the inputs are called <position>_<dtype>."""
    arrays: dict[Array, str] = {}
    body = []
    i = expr.var("i", size)
    for k, (op, inputs, result) in enumerate(cases):
        read = [parameter(f"x{place}_{d.name}", d, size) for place, d in enumerate(inputs)]
        out = parameter(f"out{k}", result, size)
        arrays |= dict.fromkeys(read, "read") | {out: "write"}
        body.append(Store(out, i, Compute(op, tuple(Load(a, i) for a in read), result)))
    name = f"{cases[0][0]}_{cases[0][1][-1].name}"
    return LoopNest(name, tuple(arrays), tuple(arrays.values()), (Loop(Var("i", size), tuple(body)),))


def samples(d: DType) -> np.ndarray:
    if d is bool_:
        return np.array([False, True])
    if d.kind == "float":
        with np.errstate(all="ignore"):
            return dtypes.round_to(np.array(SPECIAL), d)
    edges = [d.min, d.min + 1, d.max, d.max - 1, d.max // 2, 0, 1, 2, 3, 5, 7, 8, 31, 33, 63, 64, 100]
    return np.array(edges + ([-1, -2, -3, -7, -64] if d.kind == "int" else []), dtype=d.numpy)


def grid(values: list[np.ndarray]) -> list[np.ndarray]:
    return [g.reshape(-1).copy() for g in np.meshgrid(*values, indexing="ij")]


def reference(op: str, inputs: list[DType], result: DType, arrays: list[np.ndarray]) -> np.ndarray:
    nodes = [ops.buffer(("test", i), d, a.shape) for i, (d, a) in enumerate(zip(inputs, arrays, strict=True))]
    node = OPS[op](*nodes, arg=result if op in ("cast", "bitcast") else None)
    assert node.dtype is result
    with np.errstate(all="ignore"):
        return dtypes.round_to(np.asarray(OPS[op].numpy(node, *arrays)), result)


def assert_same(op: str, got: np.ndarray, want: np.ndarray, d: DType, exact: bool,
                inputs: list[np.ndarray]) -> None:
    if d.kind != "float":
        wrong = got != want
    else:
        ulps = {"float16": 1e-3, "bfloat16": 8e-3, "float32": 4e-6, "float64": 1e-14}[d.name]
        with np.errstate(all="ignore"):
            close = (np.abs(got.astype(np.float64) - want) <= ulps * np.abs(want)
                     + (0 if exact else ulps * 0.1))
        wrong = ~((got == want) | (np.isnan(got) & np.isnan(want)) | (close & (not exact)))
    assert not wrong.any(), (op, d, [(*(i[k] for i in inputs), "got", got[k], "want", want[k])
                                     for k in np.flatnonzero(wrong)[:8]])


ROWS = [op for op in OPS.values() if op.kind == "elementwise" and op.name not in ("cast", "bitcast")]
APPROXIMATE = {"exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin", "acos",
               "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc", "pow", "atan2"}


def run_cases(cases: list[Case], arrays: dict[str, np.ndarray]) -> None:
    """Run the rows in one kernel and compare each with its NumPy column."""
    got = run_nest(elementwise_nest(cases, next(iter(arrays.values())).size), **arrays)
    for k, (op, inputs, result) in enumerate(cases):
        given = [arrays[f"x{place}_{d.name}"] for place, d in enumerate(inputs)]
        want = reference(op, inputs, result, given)
        exact = not (inputs[-1].kind == "float" and op in APPROXIMATE)
        keep = np.ones(want.shape, bool)
        if op in ("sin", "cos", "tan"):  # NumPy's own reduction of huge angles differs
            keep = ~(np.abs(given[0].astype(np.float64)) > 1e9)
        if op == "bitcast" and inputs[0].kind == "float":  # any NaN is as good as another
            keep = ~np.isnan(given[0])
        assert_same(op, got[f"out{k}"][keep], want[keep], result, exact, [g[keep] for g in given])


def operands(op: str, d: DType) -> list[DType]:
    if op == "where":  # the condition comes first
        return [bool_, d, d]
    arity = OPS[op].arity
    assert arity is not None
    return [d] * arity


@pytest.mark.parametrize("d", dtypes.ALL, ids=lambda d: d.name)
def test_rows_equal_numpy(d: DType) -> None:
    rows = [op for op in ROWS if d.kind in op.dtypes and (op.name != "threefry" or d is uint64)]
    cases = [(op.name, operands(op.name, d), bool_ if op.name in ("lt", "le", "eq", "ne") else d)
             for op in rows]
    x0, x1, condition = grid([samples(d), samples(d), samples(bool_)])
    run_cases(cases, {f"x0_{d.name}": x0, f"x1_{d.name}": x1, f"x2_{d.name}": x0[::-1].copy()}
              | ({"x0_bool": condition} if d is not bool_ else {}))


@pytest.mark.parametrize("source", dtypes.ALL, ids=lambda d: d.name)
def test_conversions_equal_numpy(source: DType) -> None:
    x = samples(source)
    if source.kind == "float":
        more = [2.0**31, -2.0**31, 2.0**63, -2.0**63, 1.8e19, 300.7, -300.7, 65519.0, 65520.0, 1.0009765625,
                1.00048828125, 1.00390625]
        with np.errstate(all="ignore"):
            x = np.concatenate([x, dtypes.round_to(np.array(more), source)])
    cases: list[Case] = [("cast", [source], target) for target in dtypes.ALL]
    cases += [("bitcast", [source], target) for target in dtypes.ALL
              if target.itemsize == source.itemsize and (target is not bool_ or source is bool_)]
    run_cases(cases, {f"x0_{source.name}": x})


# Statements


def test_index_arithmetic_is_floor_division() -> None:
    """Quotients and remainders of negative bases, by powers of two and by other numbers, narrow and wide."""
    n, out = 40, parameter("out", int64, 40 * 5)
    i = expr.var("i", n)
    wide = (i - 20) * (1 << 40)
    forms = [(i - 20) // 3, (i - 20) % 3, (i - 20) // 8, (i - 20) % 8, (wide + i) // 7]
    nest = LoopNest("floors", (out,), ("write",), (Loop(Var("i", n), tuple(
        Store(out, i * 5 + k, IndexValue(e, int64)) for k, e in enumerate(forms))),))
    k = np.arange(n) - 20
    want = np.stack([k // 3, k % 3, k // 8, k % 8, (k * (1 << 40) + k + 20) // 7], 1).reshape(-1)
    assert np.array_equal(run_nest(nest)["out"], want)


def test_guarded_load_reads_nothing_outside() -> None:
    x, out = parameter("x", float32, 4), parameter("out", float32, 12)
    i = expr.var("i", 12)
    nest = LoopNest("pad", (x, out), ("read", "write"), (Loop(Var("i", 12), (
        Let("v", Load(x, i - 4, (Guard(i, 4, 8),))),
        Store(out, i, Select((Guard(i, 4, 8),), Read("v", float32), Constant(-1.0, float32)))), "parallel"),))
    got = run_nest(nest, x=np.arange(1, 5, dtype=np.float32))["out"]
    assert np.array_equal(got, [-1] * 4 + [1, 2, 3, 4] + [-1] * 4)


@pytest.mark.parametrize("d", dtypes.ALL, ids=lambda d: d.name)
@pytest.mark.parametrize("space", ["register", "scratch", "local", "temporary"])
def test_arrays_of_every_space_keep_every_dtype(d: DType, space: str) -> None:
    values = samples(d)
    n = values.size
    x, out, held = parameter("x", d, n), parameter("out", d, n), Array("held", d, n, space)
    i, j = expr.var("i", n), expr.var("j", n)
    nest = LoopNest("through", (x, out), ("read", "write"), (
        Loop(Var("i", n), (Store(held, i, Load(x, i)),), "vector", lanes=4),
        Loop(Var("j", n), (Store(out, j, Load(held, j)),), "unroll")))
    got = run_nest(nest, x=values)["out"]
    assert np.array_equal(got, values, equal_nan=d.kind == "float")
    if d.kind == "float":
        assert np.array_equal(np.signbit(got), np.signbit(values))


def test_group_sum_in_local_memory() -> None:
    """One group per row, strided partial sums per item, a tree in local memory,
    the result stored by one item."""
    rows, columns, items = 5, 1000, 64
    x, out = parameter("x", float32, rows * columns), parameter("out", float32, rows)
    shared, own = Array("shared", float32, items, "local"), Array("own", float32, 1, "register")
    row, item, step = expr.var("row", rows), expr.var("item", items), expr.var("step", 16)
    place = step * items + item
    body = [
        Loop(Var("item", items), (
            Store(own, expr.ZERO, Constant(0.0, float32)),
            Loop(Var("step", 16), (Accumulate(own, expr.ZERO, "add", Load(x, row * columns + place,
                                                                         (Guard(place, 0, columns),))),),
                 "reduce"),
            Store(shared, item, Load(own, expr.ZERO))), "item"), Barrier()]
    half = items // 2
    while half:
        body += [Loop(Var("item", items), (If((Guard(item, 0, half),), (
            Accumulate(shared, item, "add", Load(shared, item + half)),)),), "item"), Barrier()]
        half //= 2
    body.append(Store(out, row, Load(shared, expr.ZERO)))
    nest = LoopNest("row_sum", (x, out), ("read", "write"),
                    (Loop(Var("row", rows), tuple(body), "parallel"),))
    values = np.random.default_rng(0).normal(size=(rows, columns)).astype(np.float32)
    np.testing.assert_allclose(run_nest(nest, x=values)["out"], values.sum(1), rtol=1e-4, atol=1e-4)
    source = render(nest, device_target())
    assert [(p.count, p.items) for p in source.phases] == [(rows, items)]


def test_phases_share_a_temporary_and_repeat_lets() -> None:
    n, groups = 1024, 8
    x, scale, out = parameter("x", float32, n), parameter("scale", float32, 1), parameter("out", float32, 1)
    partial = Array("partial", float32, groups, "temporary")
    g, k, j = expr.var("g", groups), expr.var("k", n // groups), expr.var("j", groups)
    nest = LoopNest("sum", (x, scale, out), ("read", "read", "write"), (
        Let("s", Load(scale, expr.ZERO)),
        Loop(Var("g", groups), (
            Store(partial, g, Constant(0.0, float32)),
            Loop(Var("k", n // groups), (Accumulate(partial, g, "add", Compute("mul", (
                Load(x, g * (n // groups) + k), Read("s", float32)), float32)),), "reduce")), "parallel"),
        Store(out, expr.ZERO, Constant(0.0, float32)),
        Loop(Var("j", groups), (Accumulate(out, expr.ZERO, "add", Load(partial, j)),), "reduce")))
    source = render(nest, device_target())
    assert len(source.phases) == 2 and source.temporaries == (4 * groups,)
    got = run_nest(nest, x=np.arange(n, dtype=np.float32), scale=np.array([2.0], np.float32))["out"]
    assert got[0] == n * (n - 1)


def test_dynamic_index() -> None:
    table, index, out = parameter("table", float32, 30), parameter("index", int64,
                                                                   7), parameter("out", float32, 21)
    i, j = expr.var("i", 7), expr.var("j", 3)
    row = expr.dynamic("row", 0, 9)
    nest = LoopNest("embedding", (table, index, out), ("read", "read", "write"), (Loop(Var("i", 7), (
        Let("row", Load(index, i)),
        Loop(Var("j", 3), (Store(out, i * 3 + j, Load(table, row * 3 + j)),))), "parallel"),))
    values, places = np.arange(30, dtype=np.float32), np.array([3, 9, 0, 3, 5, 1, 2])
    assert np.array_equal(run_nest(nest, table=values, index=places)["out"],
                          values.reshape(10, 3)[places].reshape(-1))


@pytest.mark.parametrize("combine", ["add", "mul", "maximum", "minimum"])
@pytest.mark.parametrize("d", [d for d in dtypes.ALL if d is not bool_], ids=lambda d: d.name)
def test_atomic_accumulate(d: DType, combine: str) -> None:
    n, places = 200, 3
    x, out = parameter("x", d, n), parameter("out", d, places)
    i = expr.var("i", n)
    nest = LoopNest("scatter", (x, out), ("read", "readwrite"), (Loop(Var("i", n), (
        Accumulate(out, i % places, combine, Load(x, i), atomic=True),), "parallel"),))
    values = np.random.default_rng(1).integers(0, 2, n).astype(d.numpy)
    values[values == 0] = 1 if combine == "mul" else 0
    start = np.ones(places, d.numpy)
    fold = {"add": np.add, "mul": np.multiply, "maximum": np.maximum, "minimum": np.minimum}[combine]
    want = start.copy()
    fold.at(want, np.arange(n) % places, values)
    assert np.array_equal(run_nest(nest, x=values, out=start)["out"], want)


def test_loops_that_run_never_or_once() -> None:
    out = parameter("out", int32, 3)
    store = Store(out, expr.const(1), Constant(5, int32))
    for kind in ("serial", "reduce", "vector", "unroll", "item", "parallel"):
        nest = LoopNest("never", (out,), ("write",), (Store(out, expr.ZERO, Constant(7, int32)),
                                                      Loop(Var("i", 0), (store,), kind)))
        assert run_nest(nest)["out"].tolist() == [7, 0, 0], kind


def test_empty_nest_and_empty_arrays() -> None:
    out = parameter("out", float32, 0)
    nest = LoopNest("empty", (out,), ("write",), (Loop(Var("i", 0), (
        Store(out, expr.Expr(((Var("i", 0), 1),)), Constant(1.0, float32)),)),))
    assert run_nest(nest)["out"].size == 0
    render(LoopNest("nothing", (out,), ("write",), ()), device_target())


def test_names_that_c_reserves() -> None:
    x, out = parameter("half", float32, 2), parameter("exp", float32, 2)
    i = expr.var("int", 2)
    nest = LoopNest("float", (x, out), ("read", "write"), (Loop(Var("int", 2), (
        Let("half", Load(x, i)), Store(out, i, Compute("exp", (Read("half", float32),), float32)))),))
    got = run_nest(nest, half=np.array([0, 1], np.float32))["exp"]
    np.testing.assert_allclose(got, [1, np.e], rtol=1e-6)


def test_many_lets_render_in_linear_time_and_stay_the_same() -> None:
    x, out = parameter("x", float32, 1), parameter("out", float32, 1)
    lets = [Let("v0", Load(x, expr.ZERO))]
    lets += [Let(f"v{k}", Compute("add", (Read(f"v{k - 1}", float32), Constant(1.0, float32)), float32))
             for k in range(1, 5000)]
    nest = LoopNest("chain", (x, out), ("read", "write"),
                    (*lets, Store(out, expr.ZERO, Read("v4999", float32))))
    source = render(nest, device_target())
    assert len(source.text) < 5000 * 60 and source.text == render(nest, device_target()).text
    assert run_nest(nest, x=np.zeros(1, np.float32))["out"][0] == 4999


def test_a_missing_dtype_is_an_error() -> None:
    target = Target("CL", "opencl", cpu="A small GPU", dtypes=frozenset({"float32", "int64"}))
    with pytest.raises(DTypeError, match=r"CL \(A small GPU\) has no float64: convert to float32"):
        render(elementwise_nest([("exp", [float64], float64)], 2), target)
    out = parameter("out", int64, 1)
    atomic = LoopNest("scatter", (out,), ("readwrite",), (
        Accumulate(out, expr.ZERO, "add", Constant(1, int64), atomic=True),))
    with pytest.raises(DTypeError, match="no 64-bit atomic"):
        render(atomic, target)


def test_source_reads_well() -> None:
    """The whole text of a small kernel: legend, helpers, names."""
    nest = elementwise_nest([("maximum", [float16, float16], float16)], 3)
    assert render(nest, device_target()).text == """\
// maximum_float16
//   read      x0_float16  float16[3]
//   read      x1_float16  float16[3]
//   write     out0        float16[3]

#pragma OPENCL FP_CONTRACT OFF

float maximum_float32(float x, float y) { return x >= y || isnan(x) ? x : y; }

__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void maximum_float16_(
    __global const half *restrict x0_float16,
    __global const half *restrict x1_float16,
    __global half *restrict out0
) {
  for (int i = 0; i < 3; i++) {
    vstore_half_rte(maximum_float32(vload_half(i, x0_float16), vload_half(i, x1_float16)), i, out0);
  }
}
"""
