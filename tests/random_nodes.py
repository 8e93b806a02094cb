"""Random graphs of the language itself: rows of the op table called directly, also in ways the surface
does not reach.

A graph is a list of calls. While one is drawn, the reference computes every node, so that a call whose
result would hang on the last bit of its inputs is not written down.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from random_programs import leaf_values

from lazygrad import dtypes, ops
from lazygrad.engine import download, realize, upload
from lazygrad.graph import Node
from lazygrad.interpret import interpret
from lazygrad.ops import OPS

MAX_SIZE = 6000


@dataclass(frozen=True)
class Call:
    """A row called on earlier results; "leaf" (shape, dtype, kind, seed), "const", "iota" and "scalar" make
    sources."""

    row: str
    inputs: tuple[int, ...] = ()
    arg: Any = None


@dataclass(frozen=True)
class Graph:
    """Calls in order, and which results are wanted, each with the error that it may have."""

    calls: tuple[Call, ...]
    wanted: tuple[tuple[int, float], ...]

    def __repr__(self) -> str:
        return "Graph((\n" + "".join(f"    {c!r},\n" for c in self.calls) + f"), {self.wanted})"


def build_call(call: Call, inputs: list[Node], device: str) -> Node:
    arg = call.arg
    if call.row == "leaf":
        shape, dtype, kind, seed = arg
        return upload(leaf_values(shape, dtype, kind, seed), dtypes.by_name(dtype), device)
    if call.row == "const":
        return ops.const(arg[0], dtypes.by_name(arg[1]), arg[2])
    if call.row == "scalar":
        return ops.scalar(arg[0], dtypes.by_name(arg[1]))
    if call.row == "iota":
        return ops.iota(arg[0], dtypes.by_name(arg[1]))
    if call.row in ("cast", "bitcast"):
        arg = dtypes.by_name(arg)
    if call.row == "pad":
        arg = ops.pad_arg(*arg)
    return OPS[call.row](*inputs, arg=arg)


def build(graph: Graph, device: str) -> list[Node]:
    """The wanted nodes, with their leaves on a device."""
    nodes: list[Node] = []
    for call in graph.calls:
        nodes.append(build_call(call, [nodes[i] for i in call.inputs], device))
    return [nodes[i] for i, _ in graph.wanted]


def run_graph(graph: Graph, device: str) -> list[np.ndarray]:
    """The wanted values as a device computes them; NUMPY interprets."""
    with np.errstate(all="ignore"):
        if device == "NUMPY":
            return interpret(build(graph, device), download)
        return [download(n) for n in realize(build(graph, device), device)]


# Rows whose results move smoothly with their inputs: they may take what is not exact
CONTINUOUS = frozenset(
    (
        "add",
        "sub",
        "mul",
        "neg",
        "abs",
        "maximum",
        "minimum",
        "tanh",
        "sin",
        "cos",
        "erf",
        "atan",
        "sum",
        "max",
        "min",
        "cumsum",
        "cummax",
        "cummin",
        "gather",
        "scatter",
        "where",
        "detach",
        "leaf",
    )
)
SIZES = st.sampled_from([2, 1, 3, 4, 5, 7, 8, 1, 2, 3, 13, 16, 17, 33, 64, 0])
TYPES = [d.name for d in dtypes.ALL]
WINDOW = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))


class Writer:
    """A graph as it is drawn, with the value of every node and the error that it may have."""

    def __init__(self, draw: Callable[[Any], Any]):
        self.draw = draw
        self.calls: list[Call] = []
        self.nodes: list[Node] = []
        self.values: list[np.ndarray] = []
        self.errors: list[float] = []

    def number(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def pick(self, want: Callable[[Node], bool] = lambda n: True, exact: bool = False) -> int | None:
        found = [i for i, n in enumerate(self.nodes) if want(n) and not (exact and self.errors[i])]
        return self.draw(st.sampled_from(found[::-1])) if found else None

    def add(self, row: str, inputs: tuple[int, ...] = (), arg: Any = None) -> int | None:
        """Append a call, if its result is well behaved."""
        fuzzy = max((self.errors[i] for i in inputs), default=0.0)
        if fuzzy and row not in CONTINUOUS and OPS[row].kind != "movement":
            return None
        call = Call(row, inputs, arg)
        node = build_call(call, [self.nodes[i] for i in inputs], "NUMPY")
        if node.size > MAX_SIZE:
            return None
        known = {self.nodes[i]: self.values[i] for i in inputs}
        with np.errstate(all="ignore"):
            if row in ("leaf", "const", "scalar", "iota"):
                value = interpret([node], download)[0]
            else:
                assert node.op.numpy is not None
                value = np.asarray(node.op.numpy(node, *(known[i] for i in node.inputs)))
        error = self.error(row, node, inputs, value, fuzzy)
        if error is None:
            return None
        self.calls.append(call)
        self.nodes.append(node)
        self.values.append(value)
        self.errors.append(error)
        return len(self.nodes) - 1

    def error(
        self, row: str, node: Node, inputs: tuple[int, ...], value: np.ndarray, fuzzy: float
    ) -> float | None:
        """How far a device may be off; None where that would be too far."""
        if node.dtype.kind != "float":
            return 0.0
        arrays = [value, *(self.values[i] for i in inputs if self.nodes[i].dtype.kind == "float")]
        finite = [np.abs(a[np.isfinite(a)].astype(np.float64)) for a in arrays]
        top = max((float(a.max(initial=0)) for a in finite), default=0.0)
        if top > 1e4:
            return None
        on_grid = all(not (a * 16 % 1).any() for a in finite)
        eps = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}[
            node.dtype.name
        ]
        folded = self.nodes[inputs[0]].size if node.op.kind in ("reduce", "scan", "index") and inputs else 1
        if node.op.kind in ("movement", "annotation") or row in ("where", "gather", "leaf", "neg", "abs"):
            return fuzzy
        if not fuzzy and (
            row in ("max", "min", "maximum", "minimum", "cummax", "cummin", "cast", "iota", "const", "scalar")
        ):
            return 0.0
        if not fuzzy and on_grid and top * 16 * folded < 1 / eps:
            return 0.0
        spread = folded if row in ("sum", "cumsum", "scatter", "prod", "cumprod", "recurrence") else 1
        grown = fuzzy * (spread * (2 * top + 2)) + eps * max(top, 1.0) * (16 + 4 * spread) * (1 + top)
        return grown if grown < 0.05 else None


MAKERS: dict[str, Callable[[Writer], None]] = {}


def maker(function: Callable[[Writer], None]) -> Callable[[Writer], None]:
    MAKERS[function.__name__] = function
    return function


def leaf(w: Writer, shape: tuple[int, ...] | None = None, dtype: str | None = None) -> int | None:
    if shape is None:
        shape = tuple(w.draw(st.lists(SIZES, max_size=4)))
        while math.prod(shape) > MAX_SIZE:
            shape = shape[1:]
    if dtype is None:
        dtype = w.draw(st.sampled_from(["float32", "float32", "int64", *TYPES]))
    kind = w.draw(st.sampled_from(["plain", "plain", "plain", "special", "wide"]))
    return w.add("leaf", (), (shape, dtype, kind, w.number(0, 99)))


@maker
def source(w: Writer) -> None:
    kind = w.number(0, 3)
    if kind == 0:
        w.add("iota", (), (w.draw(SIZES), w.draw(st.sampled_from(["int64", "int32", "uint8"]))))
    elif kind == 1:
        dtype = w.draw(st.sampled_from(TYPES))
        w.add("scalar", (), (w.draw(st.sampled_from([0, 1, 2, 3])), dtype))
    elif kind == 2:
        shape = tuple(w.draw(st.lists(SIZES, max_size=2)))
        w.add(
            "const",
            (),
            (w.draw(st.sampled_from([0, 1, 2, 0.5])), w.draw(st.sampled_from(["float32", "float64"])), shape),
        )
    else:
        leaf(w)


def matching(w: Writer, a: int, dtype: str) -> int | None:
    """A node of a's shape: one that is there, a new leaf, or a smaller one expanded."""
    shape = w.nodes[a].shape
    found = w.pick(lambda n: n.shape == shape and n.dtype.name == dtype)
    kind = w.number(0, 2)
    if found is not None and kind == 0:
        return found
    if kind == 1 and shape:
        small = leaf(w, tuple(1 if w.number(0, 1) else n for n in shape), dtype)
        return None if small is None else w.add("expand", (small,), shape)
    return leaf(w, shape, dtype)


_UNARY = [
    r.name
    for r in OPS.values()
    if r.kind == "elementwise" and r.arity == 1 and r.name not in ("cast", "bitcast")
]
_BINARY = [r.name for r in OPS.values() if r.kind == "elementwise" and r.arity == 2 and r.name != "threefry"]


@maker
def unary(w: Writer) -> None:
    row = OPS[w.draw(st.sampled_from(_UNARY))]
    a = w.pick(lambda n: n.dtype.kind in row.dtypes, exact=row.name not in CONTINUOUS)
    if a is not None:
        w.add(row.name, (a,))


@maker
def binary(w: Writer) -> None:
    row = OPS[w.draw(st.sampled_from(["add", "mul", "sub", *_BINARY]))]
    a = w.pick(lambda n: n.dtype.kind in row.dtypes, exact=row.name not in CONTINUOUS)
    if a is not None:
        b = matching(w, a, w.nodes[a].dtype.name)
        if b is not None:
            w.add(row.name, (a, b) if w.number(0, 1) else (b, a))


@maker
def where(w: Writer) -> None:
    a = w.pick()
    if a is not None:
        c, b = matching(w, a, "bool"), matching(w, a, w.nodes[a].dtype.name)
        if c is not None and b is not None:
            w.add("where", (c, a, b))


@maker
def cast(w: Writer) -> None:
    to = dtypes.by_name(w.draw(st.sampled_from(TYPES)))
    a = w.pick(exact=True)
    if a is None:
        return
    value = w.values[a]
    if to.is_integer and w.nodes[a].dtype.kind == "float":
        wide = value.astype(np.float64)
        fits = (np.abs(wide) <= min(float(to.max), 2**31)) & (wide >= float(to.min))
        if not fits.all():
            return
    w.add("cast", (a,), to.name)


@maker
def bitcast(w: Writer) -> None:
    a = w.pick(lambda n: n.dtype.name in ("int32", "uint32", "int64", "uint64", "int8", "uint8"), exact=True)
    if a is not None:
        name = w.nodes[a].dtype.name
        w.add("bitcast", (a,), name[1:] if name.startswith("u") else "u" + name)


@maker
def reduce(w: Writer) -> None:
    row = w.draw(st.sampled_from(["sum", "max", "min", "sum", "prod"]))
    a = w.pick(
        lambda n: bool(n.shape) and (n.dtype.kind != "bool" or row in ("max", "min")), exact=row == "prod"
    )
    if a is not None:
        axes = tuple(i for i in range(w.nodes[a].ndim) if w.number(0, 1))
        r = w.add(row, (a,), axes)
        if r is not None and w.number(0, 1):
            w.add("expand", (r,), w.nodes[a].shape)


@maker
def contraction(w: Writer) -> None:
    a = w.pick(lambda n: bool(n.shape))
    if a is not None:
        b = matching(w, a, w.nodes[a].dtype.name)
        p = w.add("mul", (a, b)) if b is not None else None
        if p is not None:
            w.add("sum", (p,), tuple(i for i in range(w.nodes[a].ndim) if w.number(0, 1)))


@maker
def scan(w: Writer) -> None:
    row = w.draw(st.sampled_from(["cumsum", "cummax", "cummin", "cumprod", "recurrence"]))
    a = w.pick(
        lambda n: bool(n.shape) and n.dtype.kind in OPS[row].dtypes and n.dtype.kind != "bool",
        exact=row in ("cumprod", "recurrence"),
    )
    if a is not None:
        axis = w.number(0, w.nodes[a].ndim - 1)
        b = matching(w, a, w.nodes[a].dtype.name) if row == "recurrence" else None
        if row != "recurrence":
            w.add(row, (a,), axis)
        elif b is not None:
            w.add(row, (a, b), axis)


@maker
def argsort(w: Writer) -> None:
    a = w.pick(lambda n: bool(n.shape), exact=True)
    if a is not None:
        axis, descending = w.number(0, w.nodes[a].ndim - 1), bool(w.number(0, 1))
        size = w.nodes[a].shape[axis]
        if size and w.number(0, 1):
            w.add("argtop", (a,), (axis, descending, w.number(1, size)))
        else:
            w.add("argsort", (a,), (axis, descending))


@maker
def moved(w: Writer) -> None:
    a = w.pick()
    if a is None:
        return
    shape = w.nodes[a].shape
    row = w.draw(
        st.sampled_from(["permute", "flip", "pad", "shrink", "expand", "reshape", "window", "spread", "cat"])
    )
    make = _ARGS.get(row)
    if row == "cat":
        if shape:
            axis = w.number(0, len(shape) - 1)
            b = leaf(
                w,
                tuple(w.number(0, 3) if i == axis else n for i, n in enumerate(shape)),
                w.nodes[a].dtype.name,
            )
            if b is not None:
                w.add("cat", (a, b, a) if w.number(0, 1) else (b, a), axis)
    elif make is not None:
        arg = make(w, shape)
        if arg is not None:
            w.add(row, (a,), arg)


def _pads(w: Writer, shape: tuple[int, ...]) -> Any:
    return tuple((w.number(0, 2), w.number(0, 2)) if w.number(0, 1) else (0, 0) for _ in shape), w.number(
        0, 1
    )


def _bounds(w: Writer, shape: tuple[int, ...]) -> Any:
    begins = [w.number(0, n) if w.number(0, 1) else 0 for n in shape]
    return tuple((b, w.number(b, n) if w.number(0, 1) else n) for b, n in zip(begins, shape, strict=True))


def _split(w: Writer, shape: tuple[int, ...]) -> Any:
    rest, sizes = math.prod(shape), []
    if not rest:
        return tuple(reversed(shape))
    while rest > 1 and len(sizes) < 4:
        sizes.append(
            w.draw(
                st.sampled_from([d for d in range(2, rest + 1) if rest % d == 0 and (d < 40 or d == rest)])
            )
        )
        rest //= sizes[-1]
    if rest > 1:
        sizes[-1] *= rest
    if w.number(0, 1):
        sizes.insert(w.number(0, len(sizes)), 1)
    return tuple(sizes)


def _windows(w: Writer, shape: tuple[int, ...]) -> Any:
    found = []
    for axis, n in enumerate(shape):
        size, stride, dilation = w.draw(WINDOW)
        if n >= dilation * (size - 1) + 1 and w.number(0, 1) and math.prod(shape) * size <= MAX_SIZE:
            found.append((axis, size, stride, dilation))
    return tuple(found) or None


def _spreads(w: Writer, shape: tuple[int, ...]) -> Any:
    if len(shape) < 2:
        return None
    axis, count, size = w.number(0, len(shape) - 2), 0, shape[-1]
    count, stride, dilation = shape[axis], w.number(1, 3), w.number(1, 3)
    least = stride * max(count - 1, 0) + dilation * max(size - 1, 0) + 1
    return ((axis, least + w.number(0, 2), stride, dilation),)


_ARGS: dict[str, Callable[[Writer, tuple[int, ...]], Any]] = {
    "permute": lambda w, s: tuple(w.draw(st.permutations(range(len(s))))),
    "flip": lambda w, s: tuple(i for i in range(len(s)) if w.number(0, 1)),
    "expand": lambda w, s: tuple(w.number(0, 4) if n == 1 else n for n in s),
    "pad": _pads,
    "shrink": _bounds,
    "reshape": _split,
    "window": _windows,
    "spread": _spreads,
}


def _index(w: Writer, shape: tuple[int, ...], size: int) -> int | None:
    """An index tensor for an axis: read from memory, or computed."""
    raw = leaf(w, shape, w.draw(st.sampled_from(["int64", "int32", "uint8"])))
    if raw is None:
        return None
    whole = w.nodes[raw].dtype.name
    limit = w.add("const", (), (size, whole, shape))
    return None if limit is None else w.add("remainder", (raw, limit))


@maker
def gather(w: Writer) -> None:
    a = w.pick(lambda n: n.ndim > 0 and n.size > 0)
    if a is None:
        return
    shape = w.nodes[a].shape
    axes = tuple(w.draw(st.permutations(range(len(shape)))))[: w.number(1, min(2, len(shape)))]
    places = tuple(w.number(0, 5) for _ in range(w.number(0, 2)))
    indices = [_index(w, places, shape[axis]) for axis in axes]
    if None not in indices:
        w.add("gather", (a, *(i for i in indices if i is not None)), axes)


@maker
def scatter(w: Writer) -> None:
    a = w.pick(lambda n: n.ndim > 0 and n.size > 0 and n.dtype.kind != "bool")
    if a is None:
        return
    shape, dtype = w.nodes[a].shape, w.nodes[a].dtype.name
    mode = w.draw(st.sampled_from(["add", "set", "maximum", "minimum", "multiply"]))
    if mode == "multiply" and w.errors[a]:
        return
    axes = tuple(w.draw(st.permutations(range(len(shape)))))[: w.number(1, min(2, len(shape)))]
    places = tuple(w.number(0, 4) for _ in range(w.number(0, 2)))
    indices = [_index(w, places, shape[axis]) for axis in axes]
    values = leaf(w, (*places, *(n for i, n in enumerate(shape) if i not in axes)), dtype)
    if None not in indices and values is not None:
        w.add("scatter", (a, *(i for i in indices if i is not None), values), (axes, mode))


@maker
def random_bits(w: Writer) -> None:
    a = w.pick(lambda n: n.dtype.name == "uint64", exact=True)
    if a is not None:
        b = matching(w, a, "uint64")
        if b is not None:
            w.add("threefry", (a, b))


@st.composite
def graphs(draw: Any, most: int = 16) -> Graph:
    """Random graphs with one to four wanted nodes."""
    w = Writer(draw)
    leaf(w)
    for _ in range(draw(st.integers(1, most))):
        MAKERS[draw(st.sampled_from(list(MAKERS)))](w)
    last = len(w.nodes) - 1
    others = draw(st.lists(st.integers(0, last), max_size=3))
    return Graph(tuple(w.calls), tuple((i, w.errors[i]) for i in [last, *others]))


def check_graph(graph: Graph, *modes: tuple[str, Callable[[], list[np.ndarray]]]) -> None:
    """Assert that each mode's values are the reference's."""
    want = run_graph(graph, "NUMPY")
    for who, compute in modes:
        for (number, error), a, b in zip(graph.wanted, compute(), want, strict=True):
            assert a.dtype == b.dtype and a.shape == b.shape, f"{who}: node {number} is {a.dtype}{a.shape}"
            wrong = a != b
            if a.dtype.kind == "f":
                x, y = a.astype(np.float64), b.astype(np.float64)
                with np.errstate(all="ignore"):
                    wrong &= ~(np.abs(x - y) <= error) & ~(np.isnan(x) & np.isnan(y))
            if wrong.any():
                at = tuple(int(i) for i in np.argwhere(wrong)[0])
                raise AssertionError(
                    f"{who}: node {number} {a.dtype}{list(a.shape)} differs at {int(wrong.sum())} places, "
                    f"first at {at}: {a[at]!r}, should be {b[at]!r} within {error:.3g}"
                )
