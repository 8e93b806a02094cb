"""The CPU's elementary functions against wider references: special values, and samples of every binade.

As a script, it takes every float32 value through the functions of one argument and prints the largest errors:

    python tests/test_vector_math.py exp log               # some minutes each; no names: all functions
    python tests/test_vector_math.py --state sweep.json    # goes on where it was interrupted
"""

import argparse
import ctypes
import json
import os
import re
import time
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from lazygrad.codegen.llvm import abilities
from lazygrad.codegen.llvm_builder import Module
from lazygrad.codegen.llvm_compute import EXPANSIONS
from lazygrad.codegen.llvm_instructions import Abilities
from lazygrad.codegen.vector_math import FUNCTIONS
from lazygrad.dtypes import BY_NAME
from lazygrad.runtime import jit
from lazygrad.runtime.cpu_target import chosen_target

# the largest error in units in the last place, with fused multiply-adds and without: float32, float64
MAX_ULP = {
    "sqrt": (0.51, 0.51),
    "rsqrt": (1.5, 1.5),
    "reciprocal": (0.51, 0.51),
    "floor": (0, 0),
    "ceil": (0, 0),
    "trunc": (0, 0),
    "round": (0, 0),
    "exp": (1.6, 0.8),
    "exp2": (1.2, 1.2),
    "expm1": (1.5, 1.9),
    "log": (0.9, 0.9),
    "log2": (1.1, 1.0),
    "log10": (1.0, 0.9),
    "log1p": (1.5, 1.3),
    "sin": (2.0, 2.2),
    "cos": (2.1, 2.2),
    "tan": (2.0, 3.6),
    "asin": (1.9, 2.1),
    "acos": (1.3, 1.4),
    "atan": (1.5, 1.6),
    "atan2": (1.6, 1.6),
    "sinh": (1.9, 1.8),
    "cosh": (1.5, 1.3),
    "tanh": (2.5, 2.7),
    "asinh": (0.51, 2.2),
    "acosh": (0.51, 2.4),
    "atanh": (0.51, 2.0),
    "erf": (1.7, 1.2),
    "erfc": (0.51, 3.0),
    "pow": (0.51, 0.8),
}
LIBRARY = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh", "acosh": "arccosh"}
LIBRARY |= {"atanh": "arctanh", "pow": "power", "atan2": "arctan2", "round": "rint"}
TWO_ARGUMENTS = ("pow", "atan2")
ALL = (*FUNCTIONS, "rsqrt", "reciprocal")
LLVM_TYPES = {"float32": "float", "float64": "double"}
SAMPLES = 1 << 15
OWN = abilities(chosen_target())
LEAST = Abilities(fuses=False, rounds=False, halves=False)  # of any processor
ABILITIES = {"own": OWN, "least": LEAST}
LONG_DOUBLES = np.finfo(np.longdouble).nmant >= 63


@cache
def kernel_text(name: str, dtype: str, lanes: int, can: Abilities = OWN, times: int = 1) -> str:
    """A loop over arrays: void kernel(x, y, out, n). The function is applied to x, then to its result, ..."""
    d, type_ = BY_NAME[dtype], LLVM_TYPES[dtype]
    attributes = 'nounwind "prefer-vector-width"="512" "min-legal-vector-width"="512"'
    module = Module(function_attributes=attributes, abilities=can)
    b = module.function("kernel", [("x", "ptr"), ("y", "ptr"), ("out", "ptr"), ("n", "i64")])
    x, y, out, n = b.parameters
    loop = b.begin_loop("i", 0, n, max(lanes, 1))
    inputs = (x, y) if name in TWO_ARGUMENTS else (x,)
    result, *others = [b.load(b.element(p, type_, loop.index), d, lanes) for p in inputs]
    for _ in range(times):
        result = EXPANSIONS[name](b, d, result, *others)
    b.store(result, b.element(out, type_, loop.index), d)
    b.end_loop(loop)
    b.ret()
    return module.text()


@cache
def loaded(name: str, dtype: str, lanes: int, can: Abilities = OWN, times: int = 1):
    library, _ = jit.load(kernel_text(name, dtype, lanes, can, times), ["kernel"], chosen_target())
    pointer = ctypes.c_void_p
    signature = ctypes.CFUNCTYPE(None, pointer, pointer, pointer, ctypes.c_int64)
    return library, signature(library.addresses["kernel"])


def computed(
    name: str,
    x: np.ndarray,
    y: np.ndarray | None = None,
    lanes: int | None = None,
    can: Abilities = OWN,
    times: int = 1,
) -> np.ndarray:
    """Our function over arrays of float32 or float64."""
    lanes = (16 if x.dtype == np.float32 else 8) if lanes is None else lanes
    padded = -(-x.size // 16) * 16
    inputs = [np.resize(v, padded) for v in (x, x if y is None else y)]
    out = np.empty_like(inputs[0])
    _, function = loaded(name, x.dtype.name, lanes, can, times)
    function(inputs[0].ctypes.data, inputs[1].ctypes.data, out.ctypes.data, padded)
    return out[: x.size]


def reference(name: str, *inputs: np.ndarray) -> np.ndarray:
    """The value in the next wider type; for erf and erfc our own in float64, which mpmath checks below."""
    wide = np.float64 if inputs[0].dtype == np.float32 else np.longdouble
    with np.errstate(all="ignore"):
        if name in ("erf", "erfc"):
            return computed(name, inputs[0].astype(np.float64))
        if name == "rsqrt":
            return 1 / np.sqrt(inputs[0].astype(wide))
        return getattr(np, LIBRARY.get(name, name))(*(v.astype(wide) for v in inputs))


def ulps(got: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Errors in units in the last place; infinite where NaN, infinity or the sign is wrong."""
    with np.errstate(all="ignore"):
        near = expected.astype(got.dtype)
        error = np.abs(got.astype(expected.dtype) - expected) / np.spacing(np.abs(near)).astype(
            expected.dtype
        )
        # what rounds up to infinity, or just below it, is half a unit away
        edge = np.isinf(got) != np.isinf(near)
        largest = np.finfo(got.dtype).max
        close = np.minimum(np.abs(got), largest) == np.minimum(np.abs(near), largest)
        error = np.where(edge, np.where(close & (np.sign(got) == np.sign(near)), 0.5, np.inf), error)
        same = (got == near) & (np.isinf(near) | (got == 0))
        error = np.where(same | (np.isnan(got) & np.isnan(near)), 0, error)
        error = np.where(np.isnan(got) != np.isnan(near), np.inf, error)
    return np.where((np.signbit(got) != np.signbit(near)) & ~np.isnan(near), np.inf, error)


def special_values(dtype: type) -> np.ndarray:
    info = np.finfo(dtype)
    positive = [
        0,
        info.smallest_subnormal,
        3 * info.smallest_subnormal,
        info.tiny,
        info.eps,
        1e-5,
        1 / 3,
        0.5,
    ]
    positive += [
        1 - info.epsneg,
        1,
        1 + info.eps,
        1.5,
        2,
        np.pi / 2,
        np.pi,
        3,
        4,
        7,
        10,
        1000,
        1e5,
        2.0**24 + 1,
    ]
    positive += [2.0**53 - 1, np.sqrt(info.max), info.max, np.inf, np.nan]
    return np.array(positive + [-v for v in positive], dtype)


def samples(dtype: type) -> np.ndarray:
    """All binades evenly, and dense intervals where functions have their knees."""
    rng = np.random.default_rng(8)
    bits = np.uint32 if dtype is np.float32 else np.uint64
    spread = rng.integers(0, np.iinfo(bits).max, SAMPLES, dtype=bits, endpoint=True).view(dtype)
    dense = [rng.uniform(-r, r, SAMPLES).astype(dtype) for r in (1, 4, 20, 110, 760, 2e5)]
    near_one = (1 + rng.normal(size=SAMPLES) * 10.0 ** rng.integers(-8, 0, SAMPLES)).astype(dtype)
    whole = rng.integers(-40, 41, 1000).astype(dtype)
    return np.concatenate([special_values(dtype), spread, *dense, near_one, whole])


def arguments(name: str, dtype: type) -> tuple[np.ndarray, ...]:
    x = samples(dtype)
    if name not in TWO_ARGUMENTS:
        return (x,)
    rng = np.random.default_rng(9)
    special = special_values(dtype)
    pairs = np.array(np.meshgrid(special, special), dtype).reshape(2, -1)
    first, second = np.concatenate([x, x]), np.concatenate([rng.permutation(x), rng.permutation(x)])
    return np.concatenate([first, pairs[0]]), np.concatenate([second, pairs[1]])


def assert_close(name: str, inputs: tuple[np.ndarray, ...], got: np.ndarray, expected: np.ndarray) -> None:
    errors = ulps(got, expected)
    worst = int(np.argmax(errors))
    limit = MAX_ULP[name][0 if got.dtype == np.float32 else 1]
    told = f"{name}{tuple(v[worst] for v in inputs)} = {got[worst]!r}, not {expected[worst]!r}"
    assert errors[worst] <= limit, f"{told}: {errors[worst]} ulp"


@pytest.mark.parametrize("can", ABILITIES)
@pytest.mark.parametrize("name", ALL)
def test_float32(name, can):
    inputs = arguments(name, np.float32)
    assert_close(name, inputs, computed(name, *inputs, can=ABILITIES[can]), reference(name, *inputs))


def test_exp_without_scaling_in_hardware():
    """As on processors that lack the instruction, which this one may have."""
    without = replace(OWN, scales=False)
    inputs = arguments("exp", np.float32)
    assert_close("exp", inputs, computed("exp", *inputs, can=without), reference("exp", *inputs))
    assert "ldexp" not in kernel_text("exp", "float32", 16, without)
    assert "ldexp" in kernel_text("exp", "float32", 16, replace(OWN, scales=True))


@pytest.mark.skipif(not LONG_DOUBLES, reason="no type with more digits than float64")
@pytest.mark.parametrize("can", ABILITIES)
@pytest.mark.parametrize("name", [name for name in ALL if name not in ("erf", "erfc")])
def test_float64(name, can):
    inputs = arguments(name, np.float64)
    assert_close(name, inputs, computed(name, *inputs, can=ABILITIES[can]), reference(name, *inputs))


@pytest.mark.parametrize("name", ["erf", "erfc"])
def test_error_functions_in_float64(name):
    mpmath = pytest.importorskip("mpmath")
    rng = np.random.default_rng(10)
    tiny = 10.0 ** -rng.uniform(0, 300, 100)
    x = np.concatenate([rng.uniform(-1, 1, 600), rng.uniform(-6, 6, 900), rng.uniform(5, 27.5, 500), tiny])
    got = computed(name, x)
    for value, ours in zip(x, got, strict=True):
        exact = getattr(mpmath, name)(mpmath.mpf(float(value)))
        error = abs(mpmath.mpf(float(ours)) - exact) / float(np.spacing(abs(float(exact))))
        assert error <= MAX_ULP[name][1], (name, value, ours, exact)
    ends = computed(name, np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 30, -30, 5e-324]))
    expected = {"erf": [0, -0.0, 1, -1, np.nan, 1, -1, 5e-324], "erfc": [1, 1, 0, 2, np.nan, 0, 2, 1]}[name]
    np.testing.assert_array_equal(ends, expected)
    np.testing.assert_array_equal(np.signbit(ends[:2]), np.signbit(expected[:2]))


@pytest.mark.parametrize("name", ["exp", "log", "tanh", "sin", "tan", "pow", "erf", "log1p", "atan2"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scalars_and_other_widths_give_the_same_bits(name, dtype):
    inputs = tuple(v[:4000] for v in arguments(name, dtype))
    expected = computed(name, *inputs)
    for lanes in (0, 4):
        np.testing.assert_array_equal(computed(name, *inputs, lanes=lanes), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ALL)
def test_no_library_is_called(name, dtype):
    text = kernel_text(name, dtype, 16 if dtype == "float32" else 8)
    called = re.findall(r"^\s+(?:callq?|bl|jmp)\s+([A-Za-z_]\w*)", jit.assembly(text, chosen_target()), re.M)
    assert [function for function in called if "_of_huge" not in function] == []


@pytest.mark.parametrize("name, lanes", [("pow", 8), ("pow", 0), ("atan2", 8), ("sin", 8), ("erf", 4)])
def test_what_is_taken_often_is_called(name, lanes):
    """A body of so many functions took LLVM seconds; the bits are the same."""
    inputs = tuple(v[:4000] for v in arguments(name, np.float64))
    expected = inputs[0]
    for _ in range(100):
        expected = computed(name, expected, *inputs[1:], lanes=lanes)
    np.testing.assert_array_equal(computed(name, *inputs, lanes=lanes, times=100), expected)
    once, often = (len(kernel_text(name, "float64", lanes, times=n).splitlines()) for n in (1, 100))
    assert often < 30 * once + 500


def test_whole_powers_and_logarithms_are_whole():
    for dtype, top in ((np.float32, 38), (np.float64, 300)):
        tens = np.array([float(f"1e{k}") for k in range(top + 1)], dtype)
        np.testing.assert_array_equal(computed("log10", tens), np.arange(top + 1, dtype=dtype))
        twos = np.arange(-30, 31).astype(dtype)
        np.testing.assert_array_equal(computed("exp2", twos), np.exp2(twos))
        np.testing.assert_array_equal(computed("log2", np.exp2(twos)), twos)
        base, power = (v.ravel().astype(dtype) for v in np.meshgrid(np.arange(-12, 13), np.arange(7)))
        np.testing.assert_array_equal(computed("pow", base, power), base**power)


# ---- every float32 value

BLOCK = 1 << 14  # small enough for the cache
SIGN, INFINITY = np.uint32(1 << 31), np.uint32(0x7F800000)
# what changes in the result where the argument changes its sign
MIRRORED = dict.fromkeys(("sin", "tan", "asin", "atan", "sinh", "tanh", "asinh", "atanh", "erf"), SIGN)
MIRRORED |= dict.fromkeys(("cos", "cosh"), np.uint32(0))
STEP = 1 << 27  # between two lines of progress


def is_mirrored(name: str, bits: np.ndarray) -> bool:
    """Whether f(x) is bit for bit f(-x) or -f(-x), whichever it should be: then it is as exact as f(-x)."""
    got = computed(name, bits.view(np.float32)).view(np.uint32)
    mirrored = computed(name, (bits ^ SIGN).view(np.float32)).view(np.uint32) ^ MIRRORED[name]
    neither = ((got & ~SIGN) > INFINITY) & ((mirrored & ~SIGN) > INFINITY)
    return bool(((got == mirrored) | neither).all())


def worst_of(name: str, first: int, last: int) -> tuple[float, int]:
    """The largest error among the float32 values with bits first to last - 1, and its argument's bits."""
    worst, at = 0.5, first  # of what is rounded right, which is left out
    for start in range(first, last, BLOCK):
        bits = np.arange(start, start + BLOCK, dtype=np.uint32)
        if name in MIRRORED and start >= SIGN and is_mirrored(name, bits):
            continue
        got, expected = computed(name, bits.view(np.float32)), reference(name, bits.view(np.float32))
        with np.errstate(all="ignore"):
            nearest = expected.astype(np.float32)
        differ = (got.view(np.uint32) != nearest.view(np.uint32)) & ~(np.isnan(got) & np.isnan(nearest))
        wrong = np.flatnonzero(differ)
        if wrong.size:
            errors = ulps(got[wrong], expected[wrong])
            k = int(np.argmax(errors))
            if errors[k] > worst:
                worst, at = float(errors[k]), int(bits[wrong[k]])
    return worst, at


def exhaustive(names: list[str], state: str | None) -> None:
    """Sweeps functions; the state is a file of what is done: name -> [next bits, error, where, seconds]."""
    done = {}
    if state and os.path.exists(state):
        with open(state) as file:
            done = json.load(file)
    for name in names:
        first, worst, at, seconds = done.get(name, [0, 0.5, 0, 0.0])
        while first < 1 << 32:
            began = time.process_time()
            error, where = worst_of(name, first, first + STEP)
            if error > worst:
                worst, at = error, where
            first, seconds = first + STEP, seconds + time.process_time() - began
            print(f"{name}: {first / 2**32:.0%}, {worst:.3f} ulp so far, {seconds:.0f} s", flush=True)
            done[name] = [first, worst, at, seconds]
            if state:
                with open(f"{state}.new", "w") as file:
                    json.dump(done, file)
                os.replace(f"{state}.new", state)
        x = np.array([at], np.uint32).view(np.float32)
        got, exact = computed(name, x)[0], reference(name, x)[0]
        print(f"{name}: {worst:.3f} ulp at {x[0]!r} ({at:#010x}): {got!r}, not {exact!r}", flush=True)


if __name__ == "__main__":
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("names", nargs="*", help="functions of one argument")
    parser.add_argument("--state", help="a file that remembers what is done")
    given = parser.parse_args()
    exhaustive(given.names or [name for name in ALL if name not in TWO_ARGUMENTS], given.state)
