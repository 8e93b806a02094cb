"""The nest of a tape: load the inputs, run the instructions one after another, store the outputs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lazygrad import expr
from lazygrad.codegen.loopnest import (
    Array,
    Compute,
    Constant,
    If,
    Let,
    Load,
    Loop,
    LoopNest,
    Read,
    Statement,
    Store,
    Value,
)
from lazygrad.codegen.lower import FARTHEST, Place
from lazygrad.codegen.work import count_work
from lazygrad.dtypes import DType, bool_, int32
from lazygrad.expr import Expr, Guard, Var
from lazygrad.graph import Node
from lazygrad.ops import OPS
from lazygrad.scheduler.tape import COLUMNS, TapeGroup

# rows on truths, as arithmetic on 0 and 1
_ON_TRUTHS = {"bitand": "mul", "mul": "mul", "minimum": "minimum", "bitor": "maximum", "add": "maximum",
              "maximum": "maximum", "bitxor": "ne", "eq": "eq", "ne": "ne", "lt": "lt", "le": "le"}


def tape_tables(group: TapeGroup, places: Mapping[Node, Place]) -> dict[Array, np.ndarray]:
    """The contents of the kernel's tables: instructions and the places of inputs and outputs;
    then the constants."""
    first = len(group.constants)
    loads = [(_load_entry(places[n], group.reads[i][1]), first + i)
             for i, n in _by_array(_read_nodes(group), places)]
    stores = [(places[n].offset, group.output_places[i]) for i, n in _by_array(group.outputs, places)]
    table = np.concatenate([group.instructions.ravel(),
                            np.asarray(loads + stores, np.int32).ravel()]).astype(np.int32)
    constants = group.constants if len(group.constants) else np.zeros(1, group.dtype.numpy)
    return {Array("tape", int32, len(table), "parameter"): table,
            Array("constants", group.dtype, len(constants), "parameter"): constants}


def _read_nodes(group: TapeGroup) -> tuple[Node, ...]:
    return tuple(node for node, _ in group.reads)


def _load_entry(place: Place, element: int) -> int:
    """What the table says of an input: the offset of an element, or where its first element's number is
    read."""
    assert place.start is None or not element, "only single numbers are found by a number"
    return place.offset + element if place.start is None else place.start[1]


Home = tuple[Array, Array | None]  # the array of numbers, and that of their offsets where those are data


def _home(place: Place) -> Home:
    return place.array, place.start[0] if place.start is not None else None


def _by_array(nodes: tuple[Node, ...], places: Mapping[Node, Place]) -> list[tuple[int, Node]]:
    """The nodes and their numbers, those in the same array together."""
    order = list(_counts(nodes, places))
    return sorted(enumerate(nodes), key=lambda pair: order.index(_home(places[pair[1]])))


def lower_tape(group: TapeGroup, places: Mapping[Node, Place]) -> LoopNest:
    """The nest of a tape whose inputs and outputs live at `places`; the tables are its last parameters."""
    tape, constants = tape_tables(group, places)
    numbers = Array("numbers", group.dtype, group.numbers, "temporary")
    body: list[Statement] = []
    if len(group.constants):
        i = Var("constant", len(group.constants))
        body.append(Loop(i, (Store(numbers, _index(i), Load(constants, _index(i))),)))
    row = len(group.instructions) * COLUMNS
    for home, count in _counts(_read_nodes(group), places).items():
        body.append(_load_inputs(tape, row, home, count, numbers))
        row += 2 * count
    body.append(_run(group, tape, numbers))
    for (array, _), count in _counts(group.outputs, places).items():
        body.append(_store_outputs(tape, row, array, count, numbers))
        row += 2 * count
    parameters: dict[Array, str] = {array: "read" for n in group.inputs
                                    for array in _home(places[n]) if array}
    for n in group.outputs:
        parameters[places[n].array] = "readwrite" if places[n].array in parameters else "write"
    parameters |= {tape: "read", constants: "read"}
    name = f"tape_{len(group.instructions)}"
    return count_work(LoopNest(name, tuple(parameters), tuple(parameters.values()), tuple(body)))


def _counts(nodes: tuple[Node, ...], places: Mapping[Node, Place]) -> dict[Home, int]:
    counts: dict[Home, int] = {}
    for n in nodes:
        counts[_home(places[n])] = counts.get(_home(places[n]), 0) + 1
    return counts


def _index(v: Var) -> Expr:
    return expr.var(v.name, v.extent)


def _entry(tape: Array, at: Expr, name: str, high: int) -> tuple[Let, Expr]:
    """An entry of the table as an index in [0, high]."""
    return Let(name, Load(tape, at)), expr.dynamic(name, 0, high)


def _load_inputs(tape: Array, row: int, home: Home, count: int, numbers: Array) -> Statement:
    array, starts = home
    i = Var(f"load_{array.name}" + "_slices" * (starts is not None), count)
    source, at_source = _entry(tape, _index(i) * 2 + row, "source", FARTHEST)
    place, at_place = _entry(tape, _index(i) * 2 + row + 1, "place", numbers.size - 1)
    lets = [source, place]
    if starts is not None:
        lets.append(Let("start", Load(starts, at_source)))
        at_source = expr.dynamic("start", 0, FARTHEST)
    return Loop(i, (*lets, Store(numbers, at_place, Load(array, at_source))))


def _store_outputs(tape: Array, row: int, array: Array, count: int, numbers: Array) -> Statement:
    i = Var(f"store_{array.name}", count)
    target, at_target = _entry(tape, _index(i) * 2 + row, "target", array.size - 1)
    place, at_place = _entry(tape, _index(i) * 2 + row + 1, "place", numbers.size - 1)
    value: Value = Load(numbers, at_place)
    if array.dtype is bool_:
        value = Compute("ne", (value, Constant(0.0, numbers.dtype)), bool_)
    return Loop(i, (target, place, Store(array, at_target, value)))


def _run(group: TapeGroup, tape: Array, numbers: Array) -> Statement:
    """Each instruction: read its operands, then the one operation that it names."""
    t = Var("t", len(group.instructions))
    row = _index(t) * COLUMNS
    high = numbers.size - 1
    which, operation = _entry(tape, row, "operation", max(len(group.operations) - 1, 1))
    result, at_result = _entry(tape, row + 1, "result", high)
    lets: list[Statement] = [which, result]
    for column, name in enumerate("xyz", 2):
        place, at_place = _entry(tape, row + column, f"at_{name}", high)
        lets += [place, Let(name, Load(numbers, at_place))]
    operands = tuple(Read(name, group.dtype) for name in "xyz")
    cases = [If((Guard(operation, number, number + 1),),
                (Store(numbers, at_result, _case(name, truths, operands, group)),))
             for number, (name, truths) in enumerate(group.operations)]
    return Loop(t, (*lets, *cases))


def _case(name: str, truths: bool, operands: tuple[Value, ...], group: TapeGroup) -> Value:
    """One operation on numbers that stand for truths where the row has them."""
    kind, (x, y, z) = group.dtype, operands
    zero, one = Constant(0.0, kind), Constant(1.0, kind)
    if name == "where":
        return Compute("where", (Compute("ne", (x, zero), bool_), y, z), kind)
    if name == "bitnot":
        return Compute("sub", (one, x), kind)
    if name == "cast":
        return _number(Compute("ne", (x, zero), bool_), kind)
    name = _ON_TRUTHS[name] if truths else name
    if name in ("lt", "le", "eq", "ne"):
        return _number(Compute(name, (x, y), bool_), kind)
    return Compute(name, operands[:OPS[name].arity], kind)


def _number(truth: Value, kind: DType) -> Value:
    return Compute("cast", (truth,), kind)
