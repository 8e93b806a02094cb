"""What a legal graph is."""

from __future__ import annotations

from collections.abc import Iterable

from lazygrad.dtypes import ALL
from lazygrad.graph import HostNumber, Literal, Node, intern, topological
from lazygrad.ops import OPS, canonical

# made by functions of their own, without inputs to derive a shape and dtype from
_SOURCES = frozenset(("const", "scalar", "buffer", "iota"))
# the annotations that simplification leaves: a transfer between devices is work
_KEPT = frozenset(("copy",))


def verify(roots: Iterable[Node], simplified: bool = False) -> None:
    """Assert that every node below the roots is legal: it stands in the table and is interned, its inputs
    have dtypes that its row takes, its shape and dtype follow from its row. A simplified graph holds no
    annotation but `copy`."""
    for node in topological(roots):
        op = node.op
        assert OPS.get(op.name) is op, f"{node!r}: no row of the op table"
        assert node.dtype in ALL, f"{node!r}: unknown dtype"
        assert isinstance(node.shape, tuple) and all(type(n) is int and n >= 0 for n in node.shape), (
            f"{node!r}: shape"
        )
        assert op.arity is None or len(node.inputs) == op.arity, f"{node!r}: {len(node.inputs)} inputs"
        assert op.arity is not None or node.inputs, f"{node!r}: no inputs"
        assert all(i.dtype.kind in op.dtypes for i in node.inputs), f"{node!r}: dtypes of {node.inputs}"
        assert intern(op, node.dtype, node.shape, node.inputs, node.arg) is node, f"{node!r}: not interned"
        if op.name in _SOURCES:
            _verify_source(node)
        else:
            assert op.shape(node.inputs, node.arg) == node.shape, (
                f"{node!r}: shape does not follow from {node.inputs}"
            )
            assert op.dtype(node.inputs, node.arg) is node.dtype, (
                f"{node!r}: dtype does not follow from {node.inputs}"
            )
        if simplified:
            assert op.kind != "annotation" or op.name in _KEPT, f"{node!r}: annotation after simplification"


def _verify_source(node: Node) -> None:
    if node.op.name in ("const", "scalar"):
        if isinstance(node.arg, Literal):
            canonical_value = Literal(canonical(node.arg.value, node.dtype))
            assert canonical_value == node.arg, f"{node!r}: not a value of its dtype"
        else:  # a scalar that a plan fills in is known by its number, or as one that Python sets
            filled_in = isinstance(node.arg, int | HostNumber)
            assert node.op.name == "scalar" and filled_in, f"{node!r}: no literal"
        assert node.op.name == "const" or node.shape == (), f"{node!r}: a scalar has no dimensions"
    if node.op.name == "iota":
        assert len(node.shape) == 1 and node.dtype.is_integer, f"{node!r}: a counter is a row of integers"
