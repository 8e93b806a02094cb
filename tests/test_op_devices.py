"""Every row of the op table on every compiling device beside the NumPy reference: all dtypes, special values,
odd shapes, inputs that are moved, and gradients.

Cases of one kind are realized together, so that one kernel holds many rows. Elementwise rows and conversions
run with every dtype on every device. Of reduces, scans, movement, indexing and gradients, and of elementwise
rows of what has been moved, `share` takes a part for each dtype; `--every-dtype` runs them all.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np
import pytest
from op_cases import CASES, EXACT, Case, Values

from lazygrad import dtypes, engine, ops
from lazygrad.differentiation import gradient
from lazygrad.dtypes import DType, bool_, uint64
from lazygrad.graph import Node
from lazygrad.interpret import interpret
from lazygrad.ops import OPS

T = TypeVar("T")
SIGN_OF_ZERO_IS_FREE = {"maximum", "minimum", "max", "min", "cummax", "cummin"}
RELATIVE = {"float16": 2e-3, "bfloat16": 1.6e-2, "float32": 4e-6, "float64": 1e-14}
LEAST = {"float16": 1e-6, "bfloat16": 1e-38, "float32": 1e-38, "float64": 1e-307}
LENGTH = 529  # of vectors of samples: no multiple of any vector's width
PERIODIC = {"sin", "cos", "tan"}
FOLDS = [row for row in OPS.values() if row.kind in ("reduce", "scan") and row.name != "recurrence"]


class DeviceValues(Values):
    """Buffers of a graph on a device, and the arrays they hold."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = device

    def put(self, array: np.ndarray, dtype: DType | None = None) -> Node:
        dtype = dtype or dtypes.from_numpy(array.dtype)
        assert dtype is not None
        with np.errstate(all="ignore"):
            rounded = dtypes.round_to(array, dtype)
        node = engine.upload(rounded, dtype, self.device)
        self.arrays[node.arg] = rounded
        return node

    def read(self, node: Node) -> np.ndarray:
        return self.arrays[node.arg]

    def check(self, nodes: dict[str, Node], exact: bool | None = False, scale: float = 1.0) -> None:
        """Realize all nodes at once and compare each, by its label, with the interpreter; `exact` None:
        where the node's row is."""
        got = [engine.download(node) for node in engine.realize(list(nodes.values()), self.device)]
        want = interpret(list(nodes.values()), self.read)
        differences = {
            label: difference(node, g, w, node.op.name in EXACT if exact is None else exact, scale)
            for (label, node), g, w in zip(nodes.items(), got, want, strict=True)
        }
        problems = [f"{label}: {problem}" for label, problem in differences.items() if problem]
        assert not problems, "\n".join(problems)


def difference(node: Node, got: np.ndarray, want: np.ndarray, exact: bool, scale: float) -> str:
    """What differs, in words; empty where nothing does."""
    assert got.shape == want.shape == node.shape
    if node.dtype.kind != "float":
        wrong = got != want
    else:
        with np.errstate(all="ignore"):
            wide, near = want.astype(np.float64), got.astype(np.float64)
            allowed = 0.0 if exact else RELATIVE[node.dtype.name] * scale
            close = np.abs(near - wide) <= allowed * np.abs(wide) + (
                0.0 if exact else LEAST[node.dtype.name] * scale
            )
        wrong = ~((wide == near) | (np.isnan(wide) & np.isnan(near)) | close)
        if exact and node.op.name not in SIGN_OF_ZERO_IS_FREE:
            wrong |= (wide == 0) & (near == 0) & (np.signbit(wide) != np.signbit(near))
    if not wrong.any():
        return ""
    places = np.argwhere(wrong)[:4]
    return f"{wrong.sum()} of {wrong.size} differ: " + ", ".join(
        f"{tuple(p.tolist())} {got[tuple(p)]!r} is not {want[tuple(p)]!r}" for p in places
    )


def samples(d: DType) -> np.ndarray:
    """Special values, extremes and plain ones of a dtype."""
    if d is bool_:
        return np.array([False, True, True])
    if d.kind == "float":
        plain = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            0.5,
            -0.5,
            1.5,
            2.5,
            -2.5,
            3.0,
            -7.25,
            0.1,
            0.99,
            88.0,
            -104.0,
            1e-3,
            300.0,
        ]
        widest = {"float16": 65504.0, "bfloat16": 3.3e38, "float32": 3.4e38, "float64": 1.7e308}[d.name]
        return np.array([*plain, np.nan, np.inf, -np.inf, widest, -widest, 1e-7])
    edges = [d.min, d.min + 1, d.max, d.max - 1, d.max // 2, 0, 1, 2, 3, 5, 7, d.bits - 1, d.bits, 100]
    return np.array(edges + ([-1, -2, -7, -64] if d.is_signed else []), d.numpy)


def pairs(d: DType) -> tuple[np.ndarray, np.ndarray]:
    """Every sample beside every sample, as two vectors of an odd length."""
    x, y = np.meshgrid(samples(d), samples(d), indexing="ij")
    return np.resize(x, LENGTH), np.resize(y, LENGTH)


PARTS = {"CPU": 1, "CL": 4}  # an OpenCL kernel takes a fifth of a second to build


class Share(Protocol):
    """The cases that run with a dtype, of those given."""

    def __call__(self, cases: Sequence[T], d: DType, parts: int = 1) -> Sequence[T]: ...


@pytest.fixture
def share(compiling_device: str, request: pytest.FixtureRequest) -> Share:
    """One of `parts`, or of the PARTS of the device if those are more: another one for the next dtype,
    and all cases for float32 and with --every-dtype."""
    every = request.config.getoption("--every-dtype")

    def part(cases: Sequence[T], d: DType, parts: int = 1) -> Sequence[T]:
        count = max(parts, PARTS[compiling_device])
        return cases if every or d is dtypes.float32 else cases[dtypes.ALL.index(d) % count :: count]

    return part


def elementwise_rows(d: DType) -> list[ops.Op]:
    rows = [row for row in OPS.values() if row.kind == "elementwise" and d.kind in row.dtypes]
    return [r for r in rows if r.name not in ("cast", "bitcast") and (r.name != "threefry" or d is uint64)]


def applied(row: ops.Op, x: Node, y: Node, choice: Node) -> Node:
    if row.name == "where":
        return row(choice, x, y)
    return row(x, y) if row.arity == 2 else row(x)


def without_huge_angles(row: ops.Op, x: Node) -> Node:
    # NumPy's reduction of huge angles differs from one build to the next
    if row.name not in PERIODIC:
        return x
    small = ops.lt(ops.abs_(x), ops.like(1e4, x))
    return ops.where(small, x, ops.like(0.75, x))


@pytest.mark.parametrize("d", dtypes.ALL, ids=lambda d: d.name)
def test_elementwise_rows(compiling_device: str, share: Share, d: DType) -> None:
    """Vectors of special values in order, and tables of them permuted, flipped and cut with a stride."""
    values = DeviceValues(compiling_device)
    first, second = pairs(d)
    chosen = np.arange(LENGTH) % 3 == 0
    x, y, choice = values.put(first, d), values.put(second, d), values.put(chosen)
    plain = {
        row.name: applied(row, without_huge_angles(row, x), y, choice)
        for row in elementwise_rows(d)
    }
    values.check(plain, exact=None)
    table = values.put(first.reshape(23, 23), d)
    turned = ops.flip(ops.permute(values.put(second.reshape(23, 23), d), arg=(1, 0)), arg=(0,))
    halves = [ops.reshape(ops.window(t, arg=((1, 1, 2, 1),)), arg=(23, 12)) for t in (table, turned)]
    part = ops.reshape(ops.shrink(choice, arg=((1, 1 + 23 * 12),)), arg=(23, 12))
    values.check(
        {
            f"moved {row.name}": applied(row, without_huge_angles(row, halves[0]), halves[1], part)
            for row in share(elementwise_rows(d), d, 4)
        },
        exact=None,
    )


@pytest.mark.parametrize("d", dtypes.FLOATS, ids=lambda d: d.name)
def test_tanh_ends_at_one(compiling_device: str, d: DType) -> None:
    """Exactly, so that its derivative 1 - tanh(x) ** 2 ends at 0."""
    values = DeviceValues(compiling_device)
    x = values.put(np.array([20.0, -20.0, 45.5, -1e4, np.inf, -np.inf]), d)
    values.check({"tanh": ops.tanh(x)}, exact=True)


@pytest.mark.parametrize("d", dtypes.ALL, ids=lambda d: d.name)
def test_conversions(compiling_device: str, d: DType) -> None:
    values = DeviceValues(compiling_device)
    far = [
        2.0**31,
        -(2.0**31),
        2.0**63,
        -(2.0**63),
        1.8e19,
        300.7,
        -300.7,
        65519.0,
        65520.0,
        1.0009765625,
        1.00390625,
    ]
    given = np.concatenate([samples(d), far]) if d.kind == "float" else samples(d)
    x = values.put(given, d)
    nodes = {f"cast to {t.name}": ops.cast(x, arg=t) for t in dtypes.ALL}
    if d.kind == "float":  # any NaN is as good as another
        x = ops.where(ops.eq(x, x), x, ops.like(1, x))
    same_size = [t for t in dtypes.ALL if t.itemsize == d.itemsize and (t is not bool_ or d is bool_)]
    values.check(nodes | {f"bitcast to {t.name}": ops.bitcast(x, arg=t) for t in same_size}, exact=True)


@pytest.mark.parametrize("shape", [(), (1,), (0,), (1, 1), (2, 0, 3), (3, 1, 5)], ids=str)
def test_elementwise_rows_on_odd_shapes(compiling_device: str, shape: tuple[int, ...]) -> None:
    """In float64, on OpenCL a part of the rows for each shape."""
    values, parts = DeviceValues(compiling_device), PARTS[compiling_device]
    x, y, choice = (values.put(np.full(shape, v)) for v in (0.75, 0.5, True))
    rows = elementwise_rows(dtypes.float64)[sum(shape) % parts :: parts]
    values.check({row.name: applied(row, x, y, choice) for row in rows})


def folded(row: ops.Op, x: Node, axis: int) -> Node:
    return row(x, arg=(axis,) if row.kind == "reduce" else axis)


def is_defined(row: ops.Op, d: DType) -> bool:
    return d.kind in row.dtypes and not (d is bool_ and row.kind == "scan")


@pytest.mark.parametrize("d", dtypes.ALL, ids=lambda d: d.name)
def test_reduces_and_scans(compiling_device: str, share: Share, d: DType) -> None:
    """Along every axis of shapes with 0 and 1, of odd lengths, plain and turned; folds are exact."""
    values = DeviceValues(compiling_device)
    rng = np.random.default_rng(3)
    nodes = {}
    for shape in ((1,), (0, 3), (37,), (5, 19, 3)):
        small = rng.integers(0, 2, shape) if d is bool_ else rng.integers(1, 3, shape)
        x = values.put(np.asarray(small).astype(d.numpy), d)
        turned = ops.flip(ops.permute(x, arg=tuple(reversed(range(x.ndim)))), arg=tuple(range(x.ndim)))
        for row in (r for r in share(FOLDS, d) if is_defined(r, d)):
            for axis in range(x.ndim):
                nodes[f"{row.name} {shape} {axis}"] = folded(row, x, axis)
            if x.ndim == 3:
                nodes[f"{row.name} turned {shape}"] = folded(row, turned, 0)
    nodes |= {f"{row.name} all": row(x, arg=(0, 1, 2)) for row in share(FOLDS, d, 4) if row.kind == "reduce"}
    values.check(nodes, exact=d.kind != "float", scale=4)


@pytest.mark.parametrize("d", dtypes.FLOATS, ids=lambda d: d.name)
def test_reduces_and_scans_of_special_values(compiling_device: str, d: DType) -> None:
    """A NaN, opposite infinities, signed zeros and extremes, at each place of a row."""
    values = DeviceValues(compiling_device)
    special = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0]
    rows = np.full((len(special) * 5 + 1, 19), -0.0)
    for k, (value, place) in enumerate(itertools.product(special, (0, 7, 9, 17, 18))):
        rows[k, place] = value
        rows[k, (place + 5) % 19] = 2.0
    rows[-1, 3:5] = np.inf, -np.inf
    x = values.put(rows, d)
    values.check(
        {row.name: folded(row, x, 1) for row in FOLDS}
        | {f"{row.name} across": folded(row, ops.permute(x, arg=(1, 0)), 0) for row in FOLDS},
        scale=4,
    )


@pytest.mark.parametrize("d", dtypes.ALL, ids=lambda d: d.name)
def test_moving_and_indexing(compiling_device: str, share: Share, d: DType) -> None:
    """Movement and index rows keep every bit of every dtype, alone and after another movement."""
    values, parts = DeviceValues(compiling_device), PARTS[compiling_device]
    nodes = {}
    for case in share([c for c in CASES if OPS[c.op].kind in ("movement", "index")], d, 2 * parts):
        kind = OPS[case.op].kind
        if d is bool_ and kind == "index" and "set" not in str(case):
            continue
        inputs = [values.put(np.resize(samples(d), shape), d) for shape in case.shapes]
        if kind == "index":  # sums of what is not special: their order is free
            inputs = [
                values.put(np.resize(np.arange(1, 4), shape).astype(d.numpy), d) for shape in case.shapes
            ]
        indices = [values.put(i) for i in case.indices]
        nodes[str(case)] = case.build(*inputs, *indices)
        if kind == "movement" and case.op != "cat":
            flipped = ops.flip(inputs[0], arg=tuple(range(inputs[0].ndim)))
            nodes[f"{case} of a flip"] = case.build(flipped)
    values.check(nodes, exact=True)


@pytest.mark.parametrize("d", dtypes.ALL, ids=lambda d: d.name)
def test_sorting(compiling_device: str, d: DType) -> None:
    values = DeviceValues(compiling_device)
    nodes = {}
    for shape in ((1,), (0,), (3, 1), (67,), (3, 19)):
        x = values.put(
            np.random.default_rng(2).permutation(np.resize(samples(d), int(np.prod(shape)))).reshape(shape), d
        )
        for axis, descending in itertools.product(range(x.ndim), (False, True)):
            nodes[f"{shape} {axis} {descending}"] = ops.argsort(x, arg=(axis, descending))
    values.check(nodes)


KIND_OF_CASE = sorted({OPS[case.op].kind for case in CASES} - {"annotation"})


def built(case: Case, values: DeviceValues, d: DType) -> tuple[list[Node], Node]:
    """The float inputs and the output of a case."""
    rng = np.random.default_rng(7)
    floats = [values.put(rng.uniform(*case.domain, shape), d) for shape in case.shapes]
    return floats, case.build(*floats, *(values.put(i) for i in case.indices))


@pytest.mark.parametrize("d", [dtypes.float16, dtypes.float32], ids=lambda d: d.name)
@pytest.mark.parametrize("kind", KIND_OF_CASE)
def test_gradients(compiling_device: str, share: Share, kind: str, d: DType) -> None:
    """First order of every case, and second order on the CPU."""
    values = DeviceValues(compiling_device)
    nodes = {}
    for case in share([c for c in CASES if OPS[c.op].kind == kind and c.op != "cast"], d):
        floats, output = built(case, values, d)
        weight = values.put(
            np.linspace(0.5, 1.5, max(output.size, 1))[: output.size].reshape(output.shape), d
        )
        first = gradient([output], [weight], floats)
        nodes |= {f"{case} by input {i}": g for i, g in enumerate(first) if g is not None}
        if d is dtypes.float32 and compiling_device == "CPU":
            again = [g for f in first if f is not None for g in gradient([f], [ops.like(1, f)], floats)]
            nodes |= {f"{case} again {i}": g for i, g in enumerate(again) if g is not None}
    values.check(nodes, scale=40)


def test_bodies_without_loops_stand_side_by_side(compiling_device: str) -> None:
    """The parts of a cat of single elements, and a scatter of one value, name what they compute apart."""
    values = DeviceValues(compiling_device)
    x, place = values.put(np.array([2.0])), values.put(np.array(3))
    parts = [ops.exp(ops.mul(x, ops.like(i, x))) for i in range(6)]
    single = ops.reshape(ops.log(x), arg=())
    base = ops.expand(ops.sqrt(x), arg=(5,))
    values.check(
        {
            "cat": ops.cat(*parts, arg=0),
            "scatter": ops.scatter(base, ops.add(place, ops.like(1, place)), single, arg=((0,), "add")),
        }
    )
