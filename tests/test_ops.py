"""The op table: complete rows, gradients against finite differences, references against PyTorch."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from op_cases import CASES, Case, Values

from lazygrad import dtypes, expr, ops
from lazygrad.differentiation import gradient
from lazygrad.graph import Node
from lazygrad.ops import OPS

# the columns that a row of each kind must fill, and the rows that are excused
REQUIRED = {
    "elementwise": {"numpy", "opencl", "llvm"},
    "reduce": {"numpy", "gradient", "identity", "combine"},
    "scan": {"numpy", "gradient", "identity"},
    "movement": {"numpy", "gradient", "index"},
    "index": {"numpy", "gradient"},
    "sort": {"numpy"},
    "matrix": {"numpy"},
    "source": {"numpy"},
    "annotation": {"numpy"},
}
EXCUSED = {(name, "numpy") for name in ("buffer", "saved", "call", "part", "example")}
NO_GRADIENT_CASE = {"saved", "detach", "call", "part", "example"}


@pytest.mark.parametrize("row", OPS.values(), ids=str)
def test_row_is_complete(row):
    missing = {c for c in REQUIRED[row.kind] if getattr(row, c) is None and (row.name, c) not in EXCUSED}
    assert not missing
    assert row.domain[0] < row.domain[1]
    assert set(row.dtypes) <= {"bool", "uint", "int", "float"}
    if row.kind == "elementwise" and row.dtypes == ("float",):
        assert row.gradient is not None
    if row.combine is not None:
        assert OPS[row.combine].kind == "elementwise"


def test_every_row_with_a_gradient_is_checked():
    tested = {case.op for case in CASES}
    assert {name for name, row in OPS.items() if row.gradient is not None} - tested <= NO_GRADIENT_CASE


def _inputs(case: Case, values: Values, seed: int = 7) -> tuple[list[Node], list[Node]]:
    rng = np.random.default_rng(seed)
    floats = [values.put(rng.uniform(*case.domain, shape)) for shape in case.shapes]
    return floats, [values.put(i) for i in case.indices]


def _finite_difference(
    values: Values, output: Node, x: Node, weight: np.ndarray, step: float = 1e-5
) -> np.ndarray:
    """d sum(weight * output) / dx by central differences."""
    array, result = values.read(x), np.zeros(x.shape)
    for place in np.ndindex(x.shape):
        before = array[place]
        sides = []
        for side in (before + step, before - step):
            array[place] = side
            sides.append(values.run([output])[0])
        array[place] = before
        result[place] = ((sides[0] - sides[1]) * weight).sum() / (2 * step)
    return result


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradient_and_second_order(case):
    values = Values()
    floats, indices = _inputs(case, values)
    output = case.build(*floats, *indices)
    rng = np.random.default_rng(1)
    weight = values.put(rng.uniform(0.5, 1.5, output.shape))
    first = gradient([output], [weight], floats)
    for x, found in zip(floats, first, strict=True):
        assert found.shape == x.shape and found.dtype is x.dtype
        expected = _finite_difference(values, output, x, values.read(weight))
        np.testing.assert_allclose(values.run([found])[0], expected, rtol=1e-6, atol=1e-7)
    for found in first:
        projection = values.put(rng.uniform(0.5, 1.5, found.shape))
        second = gradient([found], [projection], [*floats, weight])
        for x, again in zip([*floats, weight], second, strict=True):
            expected = _finite_difference(values, found, x, values.read(projection))
            got = np.zeros(x.shape) if again is None else values.run([again])[0]
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


ON_FLOATS = [
    n
    for n, row in OPS.items()
    if row.kind == "elementwise" and "float" in row.dtypes and n not in ("cast", "bitcast", "where")
]
FOLDED = [
    (n, d)
    for n, row in OPS.items()
    if row.kind in ("reduce", "scan")
    for d in ("float32", "float16", "bfloat16", "int8", "uint64", "bool")
    if dtypes.by_name(d).kind in row.dtypes and (d != "bool" or n not in ("cumsum", "cumprod"))
]


@pytest.mark.parametrize("shape", [(), (0,), (1, 1), (2, 0, 3)], ids=str)
@pytest.mark.parametrize("name", ON_FLOATS)
def test_elementwise_on_odd_shapes(name, shape):
    row, values = OPS[name], Values()
    inputs = [values.put(np.full(shape, 0.75)) for _ in range(row.arity)]
    output = row(*inputs)
    assert values.run([output])[0].shape == shape
    if row.gradient is not None:
        for g in gradient([output], [ops.like(1, output)], inputs):
            assert values.run([g])[0].shape == shape


@pytest.mark.parametrize("name,dtype", FOLDED)
def test_folding_nothing_and_one(name, dtype):
    row, d = OPS[name], dtypes.by_name(dtype)
    for shape in ((0,), (2, 0), (0, 3), (1, 1)):
        values = Values()
        axis = len(shape) - 1
        inputs = [values.put(np.ones(shape, d.numpy), d) for _ in range(row.arity)]
        output = row(*inputs, arg=(axis,) if row.kind == "reduce" else axis)
        result = values.run([output])[0]
        assert result.shape == output.shape
        if row.kind == "reduce" and shape[axis] == 0 and result.size:
            assert (result == np.asarray(row.identity(d)).astype(result.dtype)).all()
        if d.kind == "float":
            (g,) = gradient([output], [ops.like(1, output)], inputs[:1])
            assert values.run([g])[0].shape == shape


@pytest.mark.parametrize("case", [c for c in CASES if OPS[c.op].kind == "movement"], ids=str)
def test_index_column_agrees_with_numpy(case):
    """Reading each output element where the index column says gives what the NumPy column gives."""
    values = Values()
    floats, _ = _inputs(case, values)
    node = case.build(*floats)
    fill = node.arg[1].value if case.op == "pad" else 0.0
    result = np.empty(node.shape)
    variables = [expr.var(f"i{axis}", max(size, 1)) for axis, size in enumerate(node.shape)]
    reads = node.op.index(node, tuple(variables)) if 0 not in node.shape else []
    names = [v.terms[0][0] if v.terms else None for v in variables]
    for place in np.ndindex(node.shape):
        at = {name: expr.const(i) for name, i in zip(names, place, strict=True) if name is not None}
        found = [
            x_index
            for x_index in enumerate(reads)
            if all(g.low <= expr.substitute(g.e, at).constant < g.high for g in x_index[1][1])
        ]
        assert len(found) <= 1
        if not found:
            result[place] = fill
        for position, (index, _) in found:
            where = tuple(expr.substitute(e, at) for e in index)
            assert all(e.is_constant for e in where)
            result[place] = values.read(floats[position])[tuple(e.constant for e in where)]
    np.testing.assert_array_equal(values.run([node])[0], result)


def test_scatter_product_gradient_beside_zeros():
    values = Values()
    base = values.put(np.array([0.0, 2.0, 3.0, 0.0]))
    given = values.put(np.array([5.0, 0.0, 7.0, 0.0]))
    index = values.put(np.array([0, 1, 1, 3]))
    output = ops.scatter(base, index, given, arg=((0,), "multiply"))
    found = values.run(gradient([output], [ops.like(1, output)], [base, given]))
    np.testing.assert_array_equal(found[0], [5.0, 0.0, 1.0, 0.0])
    np.testing.assert_array_equal(found[1], [0.0, 14.0, 0.0, 0.0])


def test_products_beside_zeros():
    values = Values()
    x = values.put(np.array([[2.0, 0.0, 3.0], [0.0, 0.0, 4.0]]))
    for row, arg in ((ops.prod, (1,)), (ops.cumprod, 1)):
        output = row(x, arg=arg)
        weight = ops.like(1, output)
        (found,) = gradient([output], [weight], [x])
        expected = _finite_difference(values, output, x, np.ones(output.shape))
        np.testing.assert_allclose(values.run([found])[0], expected, atol=1e-6)


def test_powers_at_zero():
    values = Values()
    x = values.put(np.array([0.0, 0.0, 0.0, -2.0]))
    y = values.put(np.array([0.0, 1.0, 2.0, 3.0]))
    output = ops.pow_(x, y)
    dx, dy = gradient([output], [ops.like(1, output)], [x, y])
    (second,) = gradient([dx], [ops.like(1, dx)], [x])
    np.testing.assert_array_equal(values.run([dx])[0], [0.0, 1.0, 0.0, 12.0])
    np.testing.assert_array_equal(values.run([second])[0], [0.0, 0.0, 2.0, -12.0])
    np.testing.assert_array_equal(values.run([dy])[0][:3], [0.0, 0.0, 0.0])


SPECIAL = [float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 1.0, -1.0, 2.5, -2.5, 0.5, 1e30, 1e-40]
TORCH_NAMES = {"floordiv": "floor_divide"}
SIGN_OF_ZERO_IS_FREE = {"maximum", "minimum"}
# PyTorch's vector code divides by a subnormal here and gives NaN, its scalar code and NumPy do not
WRONG_AT_SUBNORMALS = {"fmod", "remainder"}


@pytest.mark.parametrize("name", [n for n in ON_FLOATS if n != "truncdiv"])
def test_special_values_as_in_pytorch(name):
    torch = pytest.importorskip("torch")
    row, values = OPS[name], Values()
    special = SPECIAL[:-1] if name in WRONG_AT_SUBNORMALS else SPECIAL
    arrays = [
        np.array(v, np.float32) for v in zip(*itertools.product(special, repeat=row.arity), strict=True)
    ]
    result = values.run([row(*(values.put(a) for a in arrays))])[0]
    function = getattr(torch, TORCH_NAMES.get(name, name))
    expected = function(*(torch.from_numpy(a) for a in arrays)).numpy()
    np.testing.assert_allclose(result, expected, rtol=3e-7, atol=1e-45)
    if result.dtype.kind == "f" and name not in SIGN_OF_ZERO_IS_FREE:
        zero = (expected == 0) & (result == 0)
        np.testing.assert_array_equal(np.signbit(result[zero]), np.signbit(expected[zero]))


@pytest.mark.parametrize(
    "name,torch_name",
    [
        ("sum", "sum"),
        ("prod", "prod"),
        ("max", "amax"),
        ("min", "amin"),
        ("cumsum", "cumsum"),
        ("cumprod", "cumprod"),
        ("cummax", "cummax"),
        ("cummin", "cummin"),
    ],
)
def test_folds_and_their_gradients_of_special_values_as_in_pytorch(name, torch_name):
    torch = pytest.importorskip("torch")
    nan, inf = float("nan"), float("inf")
    rows = [
        [1.0, nan, 2.0, nan, 3.0],
        [inf, -inf, 1.0, 0.0, 2.0],
        [-0.0, -0.0, 0.0, -0.0, -0.0],
        [2.0, 2.0, 1.0, 3.0, 3.0],
        [0.0, 3.0, 0.0, 1.0, inf],
    ]
    for row in rows:
        values = Values()
        x = values.put(np.array(row))
        output = OPS[name](x, arg=(0,) if OPS[name].kind == "reduce" else 0)
        (found,) = gradient([output], [ops.like(1, output)], [x])
        result, slope = values.run([output, found])
        t = torch.tensor(row, dtype=torch.float64, requires_grad=True)
        expected = getattr(torch, torch_name)(t, 0)
        expected = expected if isinstance(expected, torch.Tensor) else expected[0]
        expected.sum().backward()
        np.testing.assert_array_equal(result.ravel(), expected.detach().numpy().ravel())
        if not (name in ("prod", "cumprod") and not np.isfinite(row).all()):  # inf * 0 depends on the order
            np.testing.assert_allclose(slope, t.grad.numpy())


@pytest.mark.parametrize("name", ["maximum", "minimum", "pow", "abs", "remainder", "fmod"])
def test_gradients_at_special_values_as_in_pytorch(name):
    torch = pytest.importorskip("torch")
    points = [float("nan"), 0.0, 1.0, -1.0, 2.0]
    arrays = [np.array(v) for v in zip(*itertools.product(points, repeat=OPS[name].arity), strict=True)]
    values = Values()
    inputs = [values.put(a) for a in arrays]
    output = OPS[name](*inputs)
    found = values.run(gradient([output], [ops.like(1, output)], inputs))
    leaves = [torch.tensor(a, requires_grad=True) for a in arrays]
    getattr(torch, name)(*leaves).sum().backward()
    for mine, leaf in zip(found, leaves, strict=True):
        np.testing.assert_allclose(mine, leaf.grad.numpy())


@pytest.mark.parametrize("dtype", [d.name for d in dtypes.INTEGERS])
@pytest.mark.parametrize("name", ["floordiv", "truncdiv", "remainder", "fmod"])
def test_integer_division_everywhere(name, dtype):
    d = dtypes.by_name(dtype)
    edge = [d.min, d.min + 1, 0, 1, 2, 7, d.max - 1, d.max] + ([-1, -2, -7] if d.kind == "int" else [])
    pairs = list(itertools.product(edge, repeat=2))
    values = Values()
    x, y = (values.put(np.array(v, d.numpy)) for v in zip(*pairs, strict=True))
    result = values.run([OPS[name](x, y)])[0]
    for (a, b), got in zip(pairs, result.tolist(), strict=True):
        truncated = 0 if b == 0 else abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
        expected = {
            "floordiv": a // b if b else 0,
            "truncdiv": truncated,
            "remainder": a % b if b else 0,
            "fmod": a - truncated * b if b else 0,
        }[name]
        assert got == ops.canonical(expected, d), (a, b)
