"""What the user wrote, as values and the operations between them: read from `grad_fn` where gradients flow,
from the lazy graph where they do not.

Nothing is recorded for this but what `grad_fn` needs anyway, and names of nodes: what an operation in the
middle was worth is computed when it is looked at, and its gradient is found again from the backward passes
that began above it (`tensors/passes.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import ReferenceType

import numpy as np

from lazygrad import ops
from lazygrad.differentiation import gradient
from lazygrad.dtypes import DType
from lazygrad.errors import ArgumentTypeError
from lazygrad.graph import Node, intern, topological
from lazygrad.tensors import Tensor
from lazygrad.tensors.cell import Token
from lazygrad.tensors.devices import canonical_device
from lazygrad.tensors.grad_fn import GradFn, Label, labels
from lazygrad.tensors.passes import Pass, recent_passes
from lazygrad.tensors.recording import check_no_recording
from lazygrad.tensors.values import read, read_nodes

SYMBOLS = {
    "add": "+", "sub": "-", "RsubBackward1": "-", "mul": "*", "div": "/", "rdiv": "/",
    "pow": "**", "PowBackward1": "**", "PowBackward2": "**", "remainder": "%", "floordiv": "//",
    "matmul": "@", "mm": "@", "bmm": "@", "mv": "@", "dot": "@",
}
_TWO_OPERANDS = frozenset(("add", "sub", "RsubBackward1", "mul", "div", "PowBackward1", "PowBackward2"))
_SEEN_THROUGH = frozenset(("detach", "saved", "copy", "surrogate"))


@dataclass(eq=False)
class Value:
    """One value of a drawing. `data` and `grad` are arrays, None where they are not known (any more);
    `operation` is what made it, None for leaves, numbers and data; `operands` what it was made of."""

    label: str = ""
    shape: tuple[int, ...] | None = None
    dtype: DType | None = None
    operation: str | None = None
    operands: list[Value] = field(default_factory=list)
    data: np.ndarray | None = None
    grad: np.ndarray | None = None
    is_number: bool = False
    requires_grad: bool = False

    _node: Node | None = field(default=None, repr=False)
    _tensor: Tensor | None = field(default=None, repr=False)


def values_of(tensor: Tensor) -> list[Value]:
    """What a tensor was computed from, operands before what is made of them, the tensor last. Realizes what
    it shows. Raises ArgumentTypeError for what is no tensor, CaptureError inside a recorded function."""
    if not isinstance(tensor, Tensor):
        raise ArgumentTypeError(f"[viz] expected a Tensor to draw, got {type(tensor).__name__}")
    check_no_recording("drawing a graph")
    reader = _Reader()
    root = reader.read(reader.origin(tensor))
    root._tensor, root.label = tensor, str(tensor.label) or root.label
    drawn = list(reader.found.values())
    began = [(made, reader.read_all(made.records)) for made in recent_passes()]
    gradients = _gradients(reader, began)
    _fill(drawn, gradients)
    return drawn


class _Reader:
    """Reads records into values, each once; `found` keeps them in order, operands first."""

    def __init__(self) -> None:
        self.found: dict[Any, Value] = {}
        self.records: dict[Any, GradFn | Token] = {}
        self.keys: dict[Value, Any] = {}
        # tensors without gradients that the user has named, by what they are worth
        self.named = {t.plain_node(): t for label in labels if (t := label.tensor()) is not None
                      and not t.requires_grad}

    def origin(self, x: Tensor) -> Any:
        """Where a tensor comes from: its record, the leaf that it is, or itself."""
        if not x.requires_grad:
            return x
        if x.is_leaf:
            return x._history.token
        record = x.grad_fn
        x.graph_node()  # which the record remembers
        return record

    def read_all(self, things: Sequence[Any]) -> list[Value]:
        return [self.read(thing) for thing in things if thing is not None]

    def read(self, thing: Any) -> Value:
        """The value of a thing; all that it was made of is read before it."""
        made: dict[Any, Value] = self.found
        stack = [(thing, False)]
        while stack:
            current, ready = stack.pop()
            if _key(current) in made:
                continue
            operands = _operands(current, self)
            if ready or not operands:
                value = _VALUES[_kind(current)](current)
                value.operands = [made[_key(o)] for o in operands]
                made[_key(current)] = value
                self.keys[value] = current
            else:
                stack.append((current, True))
                stack += [(o, False) for o in reversed(operands)]
        return made[_key(thing)]


class _Number:
    """A number that the user wrote beside a tensor: another one at each place."""

    def __init__(self, node: Node, of: Any):
        self.node, self.of = node, of


def _key(thing: Any) -> Any:
    return (id(thing.of), thing.node) if isinstance(thing, _Number) else thing if isinstance(thing, Node) \
        else id(thing)


def _kind(thing: Any) -> type:
    return next(kind for kind in _VALUES if isinstance(thing, kind))


def _operands(thing: Any, reader: _Reader) -> list[Any]:
    if isinstance(thing, GradFn):
        return _operands_of_record(thing, reader)
    if isinstance(thing, Tensor):
        node = thing.plain_node()
        node = _seen_through(node)
        return [] if isinstance(node, Token) else _operands_of_node(node, reader)
    return _operands_of_node(thing, reader) if isinstance(thing, Node) else []


def _operands_of_record(record: GradFn, reader: _Reader) -> list[Any]:
    sources = [_source(s) for s in record._sources]
    node = _node_of(record)
    if record.operation == "rdiv" and isinstance(record._sources[0], GradFn):
        inverse = record._sources[0]
        numbers = [i for i in node.inputs if i.op.name == "const"] if node is not None else []
        return [_Number(n, record) for n in numbers[:1]] + [_source(s) for s in inverse._sources]
    if (node is not None and len(sources) == 1 and len(node.inputs) == 2
            and record.operation in _TWO_OPERANDS and not hasattr(record, "_number")):
        return [_Number(i, record) if i.op.name == "const" else sources[0] for i in node.inputs]
    if node is not None and len(sources) == len(node.inputs):  # of what is gone, the node is still known
        sources = [_beneath(i, record, reader) if isinstance(s, ReferenceType) else s
                   for s, i in zip(sources, node.inputs, strict=True)]
    return [s for s in sources if s is not None]


def _source(source: Any) -> Any:
    """What a record refers to, as it is now: a tensor without gradients may have become a leaf since."""
    tensor = None
    if isinstance(source, Label):
        tensor = source.tensor()
        if tensor is None:
            return source
    elif isinstance(source, ReferenceType):
        tensor = source()
        if tensor is None:
            return source
    else:
        return source
    if not tensor.requires_grad:
        return tensor
    return tensor._history.token if tensor.is_leaf else source


def _operands_of_node(node: Node, reader: _Reader) -> list[Any]:
    return [] if node.op.kind == "source" else [_beneath(i, node, reader) for i in node.inputs]


def _beneath(node: Node, user: Any, reader: _Reader) -> Any:
    named = reader.named.get(node)
    if named is not None:
        return named
    found = _seen_through(node)
    if isinstance(found, Node) and found.op.name == "const":
        return _Number(found, user)
    return found


def _seen_through(node: Node) -> Any:
    """A node without the annotations around it; the token where it is a leaf."""
    while node.op.name in _SEEN_THROUGH or node.op.name == "leaf":
        if node.op.name == "leaf" and isinstance(node.arg, Token):
            return node.arg
        node = node.inputs[0]
    return node


def _node_of(record: GradFn) -> Node | None:
    return None if record._node is None else record._node()


# Values of things


def _value_of_record(record: GradFn) -> Value:
    node = _node_of(record)
    name = record.operation or record.name()
    symbol = SYMBOLS.get(name) or _plain_name(name)
    number = getattr(record, "_number", None)
    value = _sized(Value(str(getattr(record, "_label", "")), requires_grad=True), node)
    value.operation = symbol if number is None else f"{symbol}{number:g}"
    return value


def _plain_name(name: str) -> str:
    """`relu_` and `SoftmaxBackward0` as `relu` and `softmax`."""
    head, backward, _ = name.partition("Backward")
    plain = "".join("_" + c.lower() if c.isupper() else c for c in head) if backward else head
    return plain.strip("_")


def _value_of_leaf(token: Token) -> Value:
    x = token.tensor()
    if x is None:
        return Value(str(getattr(token, "label", "")), requires_grad=True)
    return Value(str(x.label), tuple(x.shape), x.dtype, requires_grad=True, _tensor=x)


def _value_of_tensor(x: Tensor) -> Value:
    value = Value(str(x.label), tuple(x.shape), x.dtype, _tensor=x)
    node = _seen_through(x.plain_node())
    if isinstance(node, Node) and node.op.kind != "source":
        value.operation = SYMBOLS.get(node.op.name, node.op.name)
    return value


def _value_of_node(node: Node) -> Value:
    name = node.op.name
    operation = None if node.op.kind == "source" else SYMBOLS.get(name, name)
    return _sized(Value(operation=operation), node)


def _value_of_number(number: _Number) -> Value:
    node = number.node
    return Value("", (), node.dtype, data=np.asarray(node.arg.value), is_number=True)


def _value_of_lost(source: Any) -> Value:
    return Value(str(source.text) if isinstance(source, Label) else "")


def _sized(value: Value, node: Node | None) -> Value:
    if node is not None:
        value.shape, value.dtype, value._node = tuple(node.shape), node.dtype, node
    return value


_VALUES: dict[type, Callable[[Any], Value]] = {
    GradFn: _value_of_record,
    Token: _value_of_leaf,
    Tensor: _value_of_tensor,
    Node: _value_of_node,
    _Number: _value_of_number,
    Label: _value_of_lost,
    ReferenceType: _value_of_lost,
}


# Gradients


class _Place:
    """Names the place of one value in a graph, so that equal values at two places have gradients of their
    own."""


def _gradients(reader: _Reader, began: Sequence[tuple[Pass, list[Value]]]) -> dict[Value, Node]:
    """The node of each value's gradient: what the backward passes from `began` brought to it."""
    places = _places(reader)
    totals: dict[Value, Node] = {}
    for made, roots in began:
        nodes, seeds = made.parts()
        by_node = {root._node: places[root] for root in roots if root in places}
        pairs = [(by_node[n], seed) for n, seed in zip(nodes, seeds, strict=True) if n in by_node]
        outputs, given = [p[0] for p in pairs], [p[1] for p in pairs]
        if not pairs or any(n.op.name == "call" for n in topological(outputs)):
            continue  # what a function of the user's computes is not computed again
        wanted = list(places)
        for value, g in zip(wanted, gradient(outputs, given, [places[v] for v in wanted]), strict=True):
            if g is not None:
                totals[value] = g if value not in totals else ops.add(totals[value], g)
    return totals


def _places(reader: _Reader) -> dict[Value, Node]:
    """A node of its own for each value that gradients flow to, over the nodes of its operands' places."""
    places: dict[Value, Node] = {}
    leaves: dict[Token, Node] = {}
    for value in reader.found.values():
        thing = reader.keys[value]
        if not isinstance(thing, GradFn) or value._node is None:
            continue
        inner = {o._node: places[o] for o in _nearest(value, places) if o._node is not None}
        places[value] = ops.leaf(_over(value._node, inner, [places.get(o) for o in value.operands]),
                                 arg=_Place())
        for node in topological([value._node], _down_to(inner)):
            if node.op.name == "leaf" and isinstance(node.arg, Token):
                leaves[node.arg] = node
    for value in reader.found.values():
        thing = reader.keys[value]
        if isinstance(thing, Token) and thing in leaves and value._tensor is None:
            _sized(value, leaves[thing])
            places[value] = leaves[thing]
    return places


def _nearest(value: Value, places: Container[Value]) -> list[Value]:
    """The operands that have a place, or theirs where the node of one is gone, as of a view of a view."""
    found: list[Value] = []
    waiting = list(value.operands)
    while waiting:
        operand = waiting.pop()
        if operand in places:
            found.append(operand)
        elif operand._node is None:
            waiting += operand.operands
    return found


def _down_to(known: Container[Node]) -> Callable[[Node], Sequence[Node]]:
    return lambda n: () if n in known else n.inputs


def _over(node: Node, inner: dict[Node, Node], operands: Sequence[Node | None]) -> Node:
    """A node computed from the places of its operands."""
    if len(node.inputs) == 2 and node.inputs[0] is node.inputs[1] in inner and None not in operands:
        a, b = operands[0], operands[-1]
        if a is not None and b is not None:
            return intern(node.op, node.dtype, node.shape, (a, b), node.arg)
    new = dict(inner)
    for n in topological([node], _down_to(inner)):
        inputs = tuple([new.get(i, i) for i in n.inputs])
        if n not in new and inputs != n.inputs:
            new[n] = intern(n.op, n.dtype, n.shape, inputs, n.arg)
    return new.get(node, node)


# Numbers


def _fill(values: Sequence[Value], gradients: dict[Value, Node]) -> None:
    """Compute the data and gradients of values, all that is unknown at once."""
    waiting: list[tuple[Value, str, Node]] = []
    for value in values:
        x = value._tensor
        if x is not None:
            value.shape, value.dtype, value.data = tuple(x.shape), x.dtype, read(x)
            value.grad = None if x._grad is None else read(x._grad)
        elif value._node is not None and value.data is None:
            waiting.append((value, "data", value._node))
        if value.grad is None and value in gradients:
            waiting.append((value, "grad", gradients[value]))
    by_device: dict[str, list[tuple[Value, str, Node]]] = {}
    for entry in waiting:
        by_device.setdefault(_device_of(entry[2]), []).append(entry)
    for device, entries in by_device.items():
        arrays = read_nodes([node for _, _, node in entries], device)
        for (value, name, _), array in zip(entries, arrays, strict=True):
            setattr(value, name, array)


def _device_of(node: Node) -> str:
    """The device that a node's data are on."""
    where: dict[Node, str | None] = {}
    for n in topological([node]):
        if n.op.name == "buffer":
            where[n] = n.arg.device.name
        elif n.op.name == "copy":
            where[n] = n.arg[1]
        else:
            where[n] = next((where[i] for i in n.inputs if where[i] is not None), None)
    return where[node] or canonical_device(None)
