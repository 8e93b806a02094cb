"""Naive nests as text: what each kind of graph becomes before any recipe. `pytest --refresh` rewrites the
golden files."""

from pathlib import Path

import pytest
from graphs import attention_row, contraction, convolution, place_group, softmax

from lazygrad import dtypes, ops
from lazygrad.codegen.loopnest import show
from lazygrad.codegen.lower_group import lower
from lazygrad.differentiation import gradient
from lazygrad.scheduler.fuse import fuse
from lazygrad.simplify import simplify
from lazygrad.source import Target

GOLDEN = Path(__file__).parent / "golden"


def source(name, *shape, dtype=dtypes.float32):
    return ops.buffer(name, dtype, shape)


def input_gradient(stride):
    x, w = source("x", 2, 3, 9), source("w", 4, 3, 3)
    y = convolution(x, w, stride)
    return gradient([y], [source("g", *y.shape)], [x])


X, W, PLACES = source("x", 4, 6), source("w", 6, 5), source("i", 4, dtype=dtypes.int64)
GRAPHS = {
    "softmax": lambda: [softmax(X, 1)],
    "softmax_of_columns": lambda: [softmax(X, 0)],
    "matmul": lambda: [contraction(X, W)],
    "convolution": lambda: [convolution(source("x", 2, 3, 9), source("w", 4, 3, 3), 2)],
    "convolution_input_gradient": lambda: input_gradient(1),
    "strided_convolution_input_gradient": lambda: input_gradient(2),
    "gather_rows": lambda: [ops.gather(X, PLACES, arg=(0,))],
    "pick_one_per_row": lambda: [ops.gather(ops.log(softmax(X, 1)), ops.iota(4), PLACES, arg=(0, 1))],
    "scatter_rows": lambda: [ops.scatter(ops.const(0, dtypes.float32, (9, 6)), PLACES, X, arg=((0,), "add"))],
    "cumsum": lambda: [ops.cumsum(X, arg=1)],
    "recurrence": lambda: [ops.recurrence(X, source("b", 4, 6), arg=0)],
    "pad": lambda: [ops.pad(ops.exp(X), arg=ops.pad_arg(((1, 1), (0, 2)), 5.0))],
    "cat": lambda: [ops.cat(X, ops.exp(X), X, X, X, arg=0)],
    "two_outputs": lambda: [ops.exp(X), ops.max_(ops.exp(X), arg=(1,))],
    "attention_row": lambda: [attention_row(source("s", 2, 5, 5))],
    "half_sum": lambda: [ops.sum_(source("h", 4, 6, dtype=dtypes.float16), arg=(1,))],
}


@pytest.mark.parametrize("name", GRAPHS)
def test_naive_nest(name, request):
    targets, _ = simplify(GRAPHS[name]())
    groups, _ = fuse(targets, Target("CPU", "llvm"))
    text = "\n\n".join(show(lower(group, place_group(group))) for group in reversed(groups)) + "\n"
    path = GOLDEN / f"{name}.txt"
    if request.config.getoption("--refresh"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()
