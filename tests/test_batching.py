"""Batching: every row of the op table, with examples in any of its inputs, against one example after the
other; also its gradient, and nested."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from op_cases import CASES, Case, Values

from lazygrad import dtypes, ops
from lazygrad.batching import batched, rule_names
from lazygrad.compositions.matrices import eye, scaled_rows
from lazygrad.differentiation import gradient
from lazygrad.graph import Node
from lazygrad.ops import OPS
from lazygrad.verify import verify

SIZE = 3


def _nine(x: Node) -> Node:
    return scaled_rows(eye(x, 3), ops.const(9.0, x.dtype, (3,)))


SORTS = [
    Case("argsort", ((2, 4),), lambda x: ops.argsort(x, arg=(1, True))),
    Case("cholesky", ((3, 3),), lambda x: ops.cholesky(ops.add(x, _nine(x)))),
    Case("lu", ((3, 3),), ops.lu),
    Case("ldl", ((3, 3),), ops.ldl),
    Case("ldl_solve", ((3, 4), (3, 2)), ops.ldl_solve),
    Case("reflected", ((3, 2),), ops.reflected),
    Case("reflection_product", ((4, 2),), ops.reflection_product),
    Case("eigh", ((3, 3),), lambda x: ops.eigh(x, arg=False)),
    Case("svd", ((3, 3),), lambda x: ops.svd(x, arg=False)),
    Case("matrix_exp", ((3, 3),), ops.matrix_exp),
    Case("solve_triangular", ((3, 3), (3, 2)), lambda a, b: ops.solve_triangular(a, b, arg=(True, True))),
    Case("argtop", ((5, 2),), lambda x: ops.argtop(x, arg=(0, False, 3))),
    Case("detach", ((2,),), ops.detach),
]


def test_every_row_has_a_rule() -> None:
    without_inputs = {op.name for op in OPS.values() if op.kind == "source"}
    assert rule_names() | without_inputs == set(OPS)
    elementwise = {op.name for op in OPS.values() if op.kind == "elementwise"}  # one rule for all
    untested = {"saved", "example", "call", "part"} | elementwise
    assert {case.op for case in CASES + SORTS} >= rule_names() - untested


def _inputs(case: Case, rng: np.random.Generator, several: bool, which: int) -> np.ndarray:
    if which < len(case.shapes):
        shape = ((SIZE,) if several else ()) + case.shapes[which]
        return rng.uniform(*case.domain, shape)
    index = case.indices[which - len(case.shapes)]
    if not several:
        return index
    # other places in each example, all of them inside
    return np.stack([np.roll(index, i) for i in range(SIZE)])


def _built(case: Case, values: Values, inputs: list[Node], grads: bool) -> list[Node]:
    y = case.build(*inputs)
    if not grads or y.dtype.kind != "float":
        return [y]
    wanted = [x for x in inputs if x.dtype.kind == "float"]
    seed = values.put(np.arange(1.0, y.size + 1).reshape(y.shape), y.dtype)
    return [y, *(g for g in gradient([y], [seed], wanted) if g is not None)]


@pytest.mark.parametrize("case", CASES + SORTS, ids=str)
@pytest.mark.parametrize("grads", [False, True], ids=["value", "gradient"])
def test_row(case: Case, grads: bool) -> None:
    if case.op == "copy" or (grads and case in SORTS):
        return
    rng = np.random.default_rng(5)
    count = len(case.shapes) + len(case.indices)
    for several in product([False, True], repeat=count):
        if not any(several):
            continue
        values, token = Values(), object()
        arrays = [_inputs(case, rng, s, i) for i, s in enumerate(several)]
        nodes = [values.put(a) for a in arrays]
        inputs = [ops.example(n, arg=token) if s else n for n, s in zip(nodes, several, strict=True)]
        targets = _built(case, values, inputs, grads)
        found = batched(targets, token, SIZE)
        whole = [n for n in found if n is not None]
        verify(whole)
        got = iter(values.run(whole))
        wants = []
        for k in range(SIZE):
            one = Values()
            parts = [one.put(a[k] if s else a) for a, s in zip(arrays, several, strict=True)]
            wants.append(one.run(_built(case, one, parts, grads)))
        for i, node in enumerate(found):
            each = [want[i] for want in wants]
            if node is None:
                assert all(np.array_equal(each[0], e, equal_nan=True) for e in each)
            else:
                np.testing.assert_allclose(next(got), np.stack(each), rtol=1e-12)


def test_examples_of_examples() -> None:
    values, outer, inner = Values(), object(), object()
    x = np.arange(24.0).reshape(2, 3, 4)
    node = ops.example(ops.example(values.put(x), arg=outer), arg=inner)
    y = ops.cumsum(ops.mul(node, node), arg=0)
    # from the inside out, and from the outside in, where the inner examples are still to be replaced
    (by_inner,) = batched([y], inner, 3)
    (first,) = batched([by_inner], outer, 2)
    (by_outer,) = batched([y], outer, 2)
    (second,) = batched([by_outer], inner, 3)
    want = np.cumsum(x * x, 2)
    np.testing.assert_array_equal(values.run([first])[0], want)
    np.testing.assert_array_equal(values.run([second])[0], want.transpose(1, 0, 2))


def test_what_no_example_reaches_stays() -> None:
    values, token = Values(), object()
    same = ops.exp(values.put(np.ones(3)))
    x = ops.example(values.put(np.ones((2, 3))), arg=token)
    one, other = batched([same, ops.add(x, same)], token, 2)
    assert one is None
    assert other is not None and other.shape == (2, 3) and other.dtype is dtypes.float64
