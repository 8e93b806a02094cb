"""The LLVM text builder: casts between dtypes, masked and indexed memory, loops, constants."""

import ctypes

import numpy as np
import pytest

from lazygrad import dtypes as dt
from lazygrad.codegen.llvm import abilities
from lazygrad.codegen.llvm_builder import Module
from lazygrad.codegen.llvm_values import constant_vector, memory_type, scalar_text
from lazygrad.runtime import jit
from lazygrad.runtime.cpu_target import chosen_target

CASTS = [(a, b) for a in dt.ALL for b in dt.ALL if a.kind != "float" or not b.is_integer]


def run(module: Module, name: str, *arguments) -> None:
    library, _ = jit.load(module.text(), [name], chosen_target())
    values = [a.ctypes.data if isinstance(a, np.ndarray) else a for a in arguments]
    kinds = [ctypes.c_void_p if isinstance(a, np.ndarray) else ctypes.c_int64 for a in arguments]
    ctypes.CFUNCTYPE(None, *kinds)(library.addresses[name])(*values)


def sample(d: dt.DType) -> np.ndarray:
    rng = np.random.default_rng(3)
    values = rng.normal(size=128) * rng.choice([1.0, 10, 1e3, 1e5, 1e10, 1e-8, 1e-40], 128)
    if d.kind == "float":
        values[:10] = [
            np.nan,
            np.inf,
            -np.inf,
            -0.0,
            0,
            1e-45,
            3e38,
            65519.99,
            65520,
            1 + 2.0**-11 + 2.0**-40,
        ]
        with np.errstate(all="ignore"):
            return dt.round_to(values, d)
    if d is dt.bool_:
        return values > 0
    ends = np.array([d.min, d.max], d.name)
    return np.concatenate([rng.integers(d.min, d.max, 126, d.name, endpoint=True), ends])


@pytest.mark.parametrize("lanes", [0, 8])
def test_casts_between_all_dtypes(lanes):
    module = Module(abilities=abilities(chosen_target()))
    for source, to in CASTS:
        b = module.function(f"cast_{source.name}_{to.name}", [("x", "ptr"), ("out", "ptr")])
        x, out = b.parameters
        loop = b.begin_loop("i", 0, 128, max(lanes, 1))
        value = b.load(b.element(x, memory_type(source), loop.index), source, lanes)
        b.store(b.convert(value, source, to), b.element(out, memory_type(to), loop.index), to)
        b.end_loop(loop)
        b.ret()
    library, _ = jit.load(module.text(), [f"cast_{a.name}_{b.name}" for a, b in CASTS], chosen_target())
    for source, to in CASTS:
        values = sample(source)
        bits, out = dt.to_storage(values, source), np.zeros(128, to.storage)
        with np.errstate(all="ignore"):
            expected = dt.round_to(values.astype(to.numpy), to)
        function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
        function(library.addresses[f"cast_{source.name}_{to.name}"])(bits.ctypes.data, out.ctypes.data)
        if source.kind in ("int", "uint") and to.bits == 16 and to.kind == "float":
            # an integer is rounded to float32 first: at most one unit in the last place from NumPy's
            np.testing.assert_allclose(dt.from_storage(out, to), expected, rtol=2.0**-7)
            continue
        np.testing.assert_array_equal(dt.from_storage(out, to), expected, f"{source} to {to}")


def test_masked_and_indexed_memory_touch_only_what_they_name():
    module = Module()
    b = module.function("work", [("x", "ptr"), ("out", "ptr"), ("n", "i64")])
    x, out, n = b.parameters
    lanes = b.lane_numbers("i64", 8)
    mask = b.icmp("slt", lanes, b.splat(n, 8))
    row = b.load(x, dt.bfloat16, 8, mask=mask)
    backwards = b.load(b.element(x, "i16", b.sub(b.like(lanes, 7), lanes)), dt.bfloat16)
    b.store(b.fadd(row, backwards), out, dt.float32, mask=mask)
    b.store(row, b.element(out, "float", b.add(lanes, 8)), dt.float32, mask=b.not_(mask))
    b.ret()
    values = np.arange(1, 9, dtype=np.float32)
    result = np.full(16, -1, np.float32)
    run(module, "work", dt.bfloat16_bits(values), result, 5)
    np.testing.assert_array_equal(result, [9, 9, 9, 9, 9, *[-1] * 8, 0, 0, 0])


def test_a_loop_carries_values_and_folds_lanes():
    module = Module(header="a legend\nof two lines")
    b = module.function("total", [("x", "ptr noalias"), ("out", "ptr noalias"), ("n", "i64")])
    x, out, n = b.parameters
    outer = b.begin_loop("i", 0, n, 8, carried=[b.const("float", 0, 8)], names=["sum"])
    row = b.load(b.element(x, "float", outer.index), dt.float32, 8, name="row")
    inner = b.begin_loop("k", 0, 2, carried=outer.carried, unroll=True)
    (twice,) = b.end_loop(inner, [b.fadd(inner.carried[0], row)])
    (total,) = b.end_loop(outer, [twice])
    b.store(b.fold_lanes(b.fadd, total), out, dt.float32)
    b.ret()
    text = module.text()
    assert text.startswith("; a legend\n; of two lines\n") and "%sum" in text and "%row" in text
    values, result = np.arange(64, dtype=np.float32), np.zeros(1, np.float32)
    run(module, "total", values, result, 64)
    assert result[0] == 2 * values.sum()


def test_constants_keep_their_bits():
    module = Module()
    b = module.function("store", [("out", "ptr")])
    numbers = [0.1, -0.0, float("inf"), float("nan"), 1e-45, 3.4e38, 1e39, 2.0]
    b.store(constant_vector("float", numbers), b.parameters[0], dt.float32)
    b.ret()
    result = np.zeros(8, np.float32)
    run(module, "store", result)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(result, np.array(numbers, np.float32))
    assert np.signbit(result[1])
    assert scalar_text("i8", 255) == "-1" and scalar_text("i64", 1 << 63) == str(-(1 << 63))
    assert scalar_text("half", 1.0) == "0xH3C00" and scalar_text("i1", 2) == "true"


def test_parts_abreast_take_turns() -> None:
    module = Module()
    b = module.function("kernel", [("x", "ptr")])
    x = [b.load(b.element(b.parameters[0], "float", k), dt.float32, name=f"x{k}") for k in range(2)]
    start = len(b.lines)
    results = b.abreast([lambda v=v: b.fadd(b.fmul(v, 2.0), 1.0) for v in x])
    steps = [line.split("= ")[1].split()[0] for line in b.lines[start:]]
    assert steps == ["fmul", "fmul", "fadd", "fadd"]
    assert [r.name for r in results] == [line.split()[0] for line in b.lines[-2:]]
