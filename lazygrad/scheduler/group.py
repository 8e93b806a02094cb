"""`Group`: the nodes that become one kernel, named by what it stores and what it reads from memory."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from lazygrad.expr import Size
from lazygrad.graph import Node, topological
from lazygrad.helpers import product
from lazygrad.scheduler.access import Use

IN_MEMORY = frozenset(("buffer", "saved", "scalar"))
_SPECIAL = frozenset(("scan", "sort", "matrix"))
READS_MEMORY = frozenset(("sort", "matrix"))  # kinds of rows whose inputs must be stored


@dataclass(frozen=True)
class Group:
    """Outputs are stored to memory; inputs are in memory before (buffers, scalars,
    outputs of earlier groups).

    `domain`: the extents of the kernel's loops; `elements`: for each output, its element that an iteration
    stores.
    `staged`: nodes of which only a row exists at a time, in scratch (see chain.py).
    `own_reads`: elements of inputs that one iteration alone reads, and nothing else of that input: an output
    may be written over an input where each iteration stores the element that it reads.
    """

    outputs: tuple[Node, ...]
    inputs: tuple[Node, ...]
    domain: tuple[Size, ...]
    elements: tuple[Use, ...]
    own_reads: frozenset[Use] = frozenset()
    staged: tuple[Node, ...] = ()

    def nodes(self) -> list[Node]:
        """Every node that the kernel evaluates, inputs of users first, without the group's inputs."""
        stop = set(self.inputs)
        order = topological(self.outputs, lambda n: () if n in stop else n.inputs)
        return [n for n in order if n not in stop]


def group_key(group: Group, places: Mapping[Node, tuple[int, int]]) -> Hashable:
    """What makes two groups the same kernel: their structure, and where (slot,
    offset) each input and output lives."""
    number: dict[Node, int] = {}
    rows: list[Hashable] = []
    for node in (*group.inputs, *group.nodes()):
        number[node] = len(number)
        if node in places and node not in group.outputs:
            rows.append((places[node], node.dtype.name, node.shape))
        else:
            rows.append((node.op.name, node.dtype.name, node.shape, node.arg,
                         tuple(number[i] for i in node.inputs)))
    stored = tuple((number[o], places[o], use.index)
                   for o, use in zip(group.outputs, group.elements, strict=True))
    return tuple(rows), stored, group.domain, tuple(number[n] for n in group.staged)


def inputs_in_plan(node: Node) -> tuple[Node, ...]:
    """The inputs that a plan must compute: what is in memory has none."""
    return () if node.op.name in IN_MEMORY else node.inputs


def nbytes(node: Node) -> int:
    """The bytes of a node's elements."""
    return node.size * node.dtype.itemsize


def is_special(node: Node) -> bool:
    """Whether a node is lowered by loops of its own,
    so that it must be stored and heads its kernel alone."""
    return (node.op.kind in _SPECIAL or node.op.name == "scatter"
            or (node.op.name == "cat" and len(node.inputs) > 4))


def is_contraction(node: Node) -> bool:
    """Whether a node is a sum of products in which each factor is used for many results."""
    if node.op.name != "sum":
        return False
    source = node.inputs[0]
    while source.op.name in ("cast", "spread", "permute", "reshape", "shrink"):
        source = source.inputs[0]
    if source.op.name != "mul" or node.dtype.kind != "float":
        return False
    folded = product(node.inputs[0].shape[axis] for axis in node.arg)
    return folded > 1 and all(_repeats(i) for i in source.inputs)


def _repeats(factor: Node) -> bool:
    """Whether a factor of a product is read several times: it comes through an expand,
    a window or a spread."""
    stack = [factor]
    for _ in range(16):
        if not stack:
            return False
        node = stack.pop()
        if node.op.name in ("expand", "window", "spread"):
            return True
        if node.op.kind == "movement" or node.op.name == "cast":
            stack.extend(node.inputs[:1])
    return False


def name_of(group: Group) -> str:
    """A name that tells what a kernel computes: its operations in order and the size of its work."""
    words: list[str] = []
    nodes = group.nodes()
    sizes = "x".join(str(n) for n in group.outputs[0].shape if n != 1) or "1"
    for node in nodes:
        word = _word(node)
        if word and (not words or words[-1] != word):
            words.append(word)
        if is_contraction(node):
            words = [w for w in words[:-1] if w != "mul"] + ["matmul"]
            sizes = "x".join(str(n) for n in (*group.outputs[0].shape, _folded(node)) if n != 1) or "1"
        elif node.op.kind == "reduce":
            sizes = "x".join(str(n) for n in node.inputs[0].shape if n != 1) or "1"
    if not words:
        words = ["fill" if all(n.op.name == "const" for n in nodes) else "copy"]
    if len(words) > 7:
        words = [*words[:5], f"{len(words) - 6}_more", words[-1]]
    return "_".join(words) + "_" + sizes


_QUIET = {"const", "iota", "reshape", "expand", "permute", "shrink", "cast", "pad", "flip", "window",
          "spread"}


def _word(node: Node) -> str:
    return "" if node.op.name in _QUIET else node.op.name


def _folded(node: Node) -> int:
    return product(node.inputs[0].shape[axis] for axis in node.arg)
