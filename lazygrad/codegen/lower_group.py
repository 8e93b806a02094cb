"""The naive nest of a whole group: which loops its outputs need, in which order,
and the roots with loops of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from lazygrad import expr
from lazygrad.codegen.loopnest import (
    Accumulate,
    Array,
    Compute,
    Constant,
    Load,
    LoopNest,
    Statement,
    Store,
    Value,
)
from lazygrad.codegen.lower import Lowering, Place, as_dtype
from lazygrad.codegen.lower_matrix import matrix_phases
from lazygrad.codegen.lower_sort import argsort_phases, argtop_phases
from lazygrad.codegen.work import count_work
from lazygrad.expr import Expr, Var
from lazygrad.graph import Node
from lazygrad.ops import OPS
from lazygrad.ops.movement import cat_offsets
from lazygrad.scheduler import access
from lazygrad.scheduler.access import Use
from lazygrad.scheduler.group import Group, is_special, name_of
from lazygrad.source import Target

_SCATTER_COMBINE = {"add": "add", "multiply": "mul", "maximum": "maximum", "minimum": "minimum"}


def lower(group: Group, places: Mapping[Node, Place], target: Target | None = None) -> LoopNest:
    """The naive nest of a group, whose inputs and outputs live at `places`; one that every device can run,
    or one that suits a target."""
    inputs = {node: places[node] for node in group.inputs}
    first = group.outputs[0]
    special_builds = _SPECIAL | {
        "sort": partial(_sort, target=target), "matrix": partial(matrix_phases, target=target)}
    build = special_builds.get(first.op.name) or special_builds.get(first.op.kind)
    special = build is not None and not group.elements[0].index and is_special(first)
    body = build(first, inputs, places[first]) if build and special else _domain(group, inputs, places)
    parameters: dict[Array, str] = {}
    for node in group.inputs:
        start = places[node].start
        parameters[places[node].array] = "read"
        if start is not None:
            parameters[start[0]] = "read"
    for node in group.outputs:
        array = places[node].array
        parameters[array] = "readwrite" if array in parameters else "write"
    nest = LoopNest(name_of(group), tuple(parameters), tuple(parameters.values()), body)
    return count_work(nest)


def _domain(group: Group, inputs: Mapping[Node, Place],
            places: Mapping[Node, Place]) -> tuple[Statement, ...]:
    """Loops over the group's domain; each output is stored at the level that its element needs."""
    lowering = Lowering(inputs, staged=group.staged)
    order = loop_order(group.elements, group.domain, inputs)
    lowering.open_domain(order)
    for use in group.elements:  # every load before any store: an output may stand in the memory of an input
        lowering.value(use)
    for use in group.elements:
        lowering.store(use, places[use.node])
    lowering.close(len(order), "domain")
    return tuple(lowering.scopes[0].body)


def loop_order(wanted: Sequence[Use], domain: tuple[int, ...], inputs: Mapping[Node, object]) -> list[Var]:
    """The domain's variables, those that the most reduces depend on outermost:
    a row's reduces run once per row."""
    own = [v for e in access.loop_variables(domain) for v in expr.variables(e) if isinstance(v, Var)]
    needed = dict.fromkeys(own, 0)
    for use in reduce_uses(wanted, inputs):
        for v in access.variables_of(use):
            if isinstance(v, Var) and v in needed:
                needed[v] += 1
    return sorted(own, key=lambda v: -needed[v])


def reduce_uses(wanted: Sequence[Use], inputs: Mapping[Node, object]) -> list[Use]:
    """Every element of a reduce that the wanted elements need, those inside other reduces too."""
    found: list[Use] = []
    seen: set[Use] = set()
    stack = list(wanted)
    while stack:
        use = stack.pop()
        if use in seen or use.node in inputs or use.node.op.kind == "source":
            continue
        seen.add(use)
        if use.node.op.kind == "reduce":
            found.append(use)
            stack.append(access.reduce_use(use, access.reduce_variables(use.node, f"inner{len(found)}_")))
        elif use.node.op.kind == "movement":
            stack.extend(access.movement_uses(use))
        elif use.node.op.name == "gather":
            stack.extend(access.gather_uses(use, _unknown_place))
        else:
            stack.extend(access.elementwise_uses(use))
    return found


def _unknown_place(use: Use, size: int) -> Expr:
    """A stand-in for an index that is read when the kernel runs:
    it depends on what the index element depends on."""
    total = expr.const(0)
    for v in access.variables_of(use):
        total = total + expr.Expr(((v, 1),))
    return total


# Roots with loops of their own


def _scan(node: Node, inputs: Mapping[Node, Place], place: Place) -> tuple[Statement, ...]:
    """state = combine(state, x[..., i, ...]); out[..., i, ...] = state."""
    lowering = Lowering(inputs)
    variables = access.loop_variables(node.shape)
    along = variables[node.arg]
    others = [v for axis, e in enumerate(variables) for v in expr.variables(e) if axis != node.arg]
    lowering.open([v for v in others if isinstance(v, Var)])
    kind = node.dtype.accumulator
    identity = OPS[node.op.name].identity
    assert identity is not None
    state = Array("state", kind, 1, "register")
    lowering.scopes[-1].body.append(Store(state, expr.ZERO, Constant(identity(node.dtype), kind)))
    steps = [v for v in expr.variables(along) if isinstance(v, Var)]
    lowering.open(steps)
    read = [as_dtype(lowering.value(access.at(i, variables)), kind) for i in node.inputs]
    before: Value = Load(state, expr.ZERO)
    if node.op.name == "recurrence":
        after = Compute("add", (Compute("mul", (read[0], before), kind), read[1]), kind)
    else:
        combine = OPS[node.op.name].combine
        assert combine is not None
        after = Compute(combine, (before, read[0]), kind)
    after_name = lowering.bind(after, len(lowering.scopes) - 1, "state_")
    index = expr.flatten(access.at(node, variables).index, node.shape) + place.offset
    lowering.scopes[-1].body += [Store(state, expr.ZERO, after_name),
                                 Store(place.array, index, as_dtype(after_name, node.dtype))]
    lowering.close(len(steps), "serial")
    lowering.close(len(lowering.scopes) - 1, "domain")
    return tuple(lowering.scopes[0].body)


def _scatter(node: Node, inputs: Mapping[Node, Place], place: Place) -> tuple[Statement, ...]:
    """First the base is copied to the output (unless it is there already),
    then each value is written in order."""
    base, *indices, values = node.inputs
    axes, mode = node.arg
    phases = [] if base in inputs and inputs[base] == place else _copy(base, node, inputs, place)
    lowering = Lowering(inputs, "write_" if phases else "")
    lead = indices[0].ndim
    variables = access.loop_variables(values.shape)
    written = [next((v for v in expr.variables(e) if isinstance(v, Var)), None) for e in variables]
    unique = _own_places(indices, variables[:lead])
    first = [v for axis, v in enumerate(written) if v and (axis >= lead or axis in unique)]
    then = [v for axis, v in enumerate(written) if v and v not in first]
    lowering.open(first + then)
    wanted = [access.at(i, (*variables[:lead],)) for i in indices]
    for use in wanted:
        lowering.value(use)
    named = {axis: lowering.place(use, node.shape[axis]) for axis, use in zip(axes, wanted, strict=True)}
    rest = iter(variables[lead:])
    target = (expr.flatten((named[a] if a in named else next(rest) for a in range(node.ndim)),
                           node.shape) + place.offset)
    value = lowering.value(access.at(values, variables))
    if mode == "set":
        write: Statement = Store(place.array, target, value)
    else:
        write = Accumulate(place.array, target, _SCATTER_COMBINE[mode], value)
    lowering.scopes[-1].body.append(write)
    lowering.close(len(then), "serial")
    lowering.close(len(first), "domain")
    return (*phases, *lowering.scopes[0].body)


def _own_places(indices: Sequence[Node], variables: Sequence[Expr]) -> set[int]:
    """The axes of the index tensors along which no two writes can meet:
    some index is that axis's own counter."""
    own: set[int] = set()
    for node in indices:
        e = _counter(node, variables)
        if e is None or len(e.terms) != 1:
            continue
        own |= {axis for axis, v in enumerate(variables) if v.terms and v.terms[0][0] == e.terms[0][0]}
    return own


def _counter(node: Node, variables: Sequence[Expr]) -> Expr | None:
    """The index tensor as an expression of loop variables where it is a moved iota, else None."""
    use = access.at(node, tuple(variables))
    while use.node.op.kind == "movement":
        uses = access.movement_uses(use)
        if len(uses) != 1 or uses[0].guards:
            return None
        use = uses[0]
    return use.index[0] if use.node.op.name == "iota" else None


def _copy(source: Node, node: Node, inputs: Mapping[Node, Place], place: Place) -> list[Statement]:
    variables = access.loop_variables(source.shape)
    return list(_domain(Group((source,), tuple(inputs), access.domain_of(source.shape),
                              (access.at(source, variables),)),
                        inputs, {source: place}))


def _cat(node: Node, inputs: Mapping[Node, Place], place: Place) -> tuple[Statement, ...]:
    """Each input is stored into its part of the output by loops of its own."""
    phases: list[Statement] = []
    for number, (source, offset) in enumerate(zip(node.inputs, cat_offsets(node), strict=True)):
        if source.size == 0:
            continue
        lowering = Lowering(inputs, f"part{number}_" if phases else "")
        variables = access.loop_variables(source.shape)
        order = loop_order([access.at(source, variables)], access.domain_of(source.shape), inputs)
        lowering.open(order)
        value = lowering.value(access.at(source, variables))
        index = tuple(v + offset if axis == node.arg else v for axis, v in enumerate(variables))
        lowering.scopes[-1].body.append(Store(place.array, expr.flatten(index, node.shape) + place.offset,
                                              value))
        lowering.close(len(order), "domain")
        phases += lowering.scopes[0].body
    return tuple(phases)


def _sort(
    node: Node, inputs: Mapping[Node, Place], place: Place, target: Target | None
) -> tuple[Statement, ...]:
    source = inputs[node.inputs[0]]
    phases = argtop_phases if node.op.name == "argtop" else argsort_phases
    return phases(node, source, place, target)


_SPECIAL: dict[str, Callable[[Node, Mapping[Node, Place], Place], tuple[Statement, ...]]] = {
    "scan": _scan, "scatter": _scatter, "cat": _cat}
