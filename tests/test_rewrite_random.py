"""Random graphs keep every bit when they are rewritten by the exact rules."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from op_cases import Values
from same_bits import bits_equal

from lazygrad import dtypes, ops
from lazygrad.graph import Node
from lazygrad.ops import OPS
from lazygrad.rewrite import rewrite
from lazygrad.simplify import RULES, simplify
from lazygrad.verify import verify

_SHAPES = [(), (0,), (1,), (3,), (1, 4), (3, 1), (3, 4), (2, 0)]
_DTYPES = [dtypes.float32, dtypes.float16, dtypes.int8, dtypes.uint32, dtypes.bool_]
_CONSTANTS = [0, 1, -0.0, -1, 2, 3, float("nan"), float("inf")]
# every op here is exact on the small values below, so that any order of evaluation gives the same bits
_BINARY = [
    "add",
    "sub",
    "mul",
    "maximum",
    "minimum",
    "bitand",
    "bitor",
    "bitxor",
    "lt",
    "le",
    "eq",
    "ne",
    "floordiv",
]
_UNARY = ["neg", "abs", "sign", "bitnot", "floor"]


@st.composite
def graphs(draw):
    """A graph of up to 14 nodes over buffers of special values, and those values."""
    values = Values()
    shape, d = draw(st.sampled_from(_SHAPES)), draw(st.sampled_from(_DTYPES))
    pool: list[Node] = []
    for _ in range(2):
        size = int(np.prod(shape))
        data = draw(
            st.lists(
                st.sampled_from(
                    [0.0, -0.0, 1.0, 2.0, 0.5, float("nan"), float("inf")]
                    if d.kind == "float"
                    else [0, 1, 2, 5]
                ),
                min_size=size,
                max_size=size,
            )
        )
        pool.append(values.put(np.array(data, d.numpy).reshape(shape), d))
    for _ in range(draw(st.integers(1, 12))):
        x = draw(st.sampled_from(pool[-4:]))
        pool.append(_next(draw, x, pool))
    return values, pool


def _next(draw, x: Node, pool: list[Node]) -> Node:
    kind = draw(
        st.sampled_from(["binary", "const", "unary", "cast", "move", "reduce", "where", "annotate", "scan"])
    )
    if kind in ("binary", "const"):
        row = OPS[draw(st.sampled_from([n for n in _BINARY if x.dtype.kind in OPS[n].dtypes]))]
        same = [n for n in pool if n.shape == x.shape and n.dtype is x.dtype]
        value = draw(st.sampled_from(_CONSTANTS[:6] if x.dtype.kind != "float" else _CONSTANTS))
        y = ops.like(value, x) if kind == "const" else draw(st.sampled_from(same))
        return row(*draw(st.permutations([x, y])))
    if kind == "unary":
        choices = [n for n in _UNARY if x.dtype.kind in OPS[n].dtypes]
        return OPS[draw(st.sampled_from(choices))](x) if choices else x
    if kind == "cast":
        return ops.cast(x, arg=draw(st.sampled_from(_DTYPES)))
    if kind == "where":
        other = ops.like(draw(st.sampled_from(_CONSTANTS[:6])), x)
        return ops.where(ops.cast(x, arg=dtypes.bool_), *draw(st.permutations([x, other])))
    if kind == "annotate":
        return draw(st.sampled_from([ops.detach(x), ops.leaf(x, arg=0), ops.surrogate(x, x)]))
    if kind == "reduce" or (kind == "scan" and x.ndim == 0):
        axes = tuple(sorted(draw(st.sets(st.sampled_from(range(x.ndim)))))) if x.ndim else ()
        return OPS[draw(st.sampled_from(["sum", "max", "min"]))](x, arg=axes)
    if kind == "scan":
        return (
            ops.flip(x, arg=(draw(st.integers(0, x.ndim - 1)),))
            if x.dtype.kind == "bool"
            else ops.cumsum(x, arg=draw(st.integers(0, x.ndim - 1)))
        )
    return _moved(draw, x)


def _moved(draw, x: Node) -> Node:
    kind = draw(st.sampled_from(["reshape", "permute", "expand", "pad", "shrink", "flip", "cat"]))
    if kind == "reshape":
        sizes = [(x.size,), (1, x.size), (x.size, 1)] + (
            [tuple(n for n in x.shape if n != 1)] if x.size else []
        )
        return ops.reshape(x, arg=draw(st.sampled_from(sizes)))
    if kind == "permute":
        return ops.permute(x, arg=tuple(draw(st.permutations(range(x.ndim)))))
    if kind == "expand":
        return ops.expand(x, arg=tuple(draw(st.sampled_from([1, 2, 0])) if n == 1 else n for n in x.shape))
    if kind == "pad":
        pads = tuple((draw(st.integers(0, 1)), draw(st.integers(0, 2))) for _ in x.shape)
        return ops.pad(x, arg=ops.pad_arg(pads, draw(st.sampled_from([0, 0.0, 1]))))
    if kind == "shrink":
        return ops.shrink(
            x, arg=tuple(tuple(sorted((draw(st.integers(0, n)), draw(st.integers(0, n))))) for n in x.shape)
        )
    if kind == "flip":
        return ops.flip(x, arg=tuple(sorted(draw(st.sets(st.sampled_from(range(x.ndim)))))) if x.ndim else ())
    return ops.cat(x, x, arg=draw(st.integers(0, x.ndim - 1))) if x.ndim else x


@settings(max_examples=300, deadline=None)
@given(graphs())
def test_random_graphs_keep_every_bit(graph):
    values, pool = graph
    targets = pool[-3:]
    rewritten = rewrite(targets, [rule for rule in RULES if rule.exact])
    verify(rewritten.values())
    for target, before, after in zip(
        targets, values.run(targets), values.run([rewritten[t] for t in targets]), strict=True
    ):
        assert bits_equal(before, after), (target, before, after)
    clean, _ = simplify(targets)
    verify(clean, simplified=True)
    for before, after in zip(values.run(targets), values.run(clean), strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-2)
