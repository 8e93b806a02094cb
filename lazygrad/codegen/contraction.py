"""Contractions: which nests are sums of products, and by which axes each factor and the output vary.

    for m: for n: acc = 0; for k: acc += a(m, k) * b(k, n); out[m, n] = epilogue(acc)

Which axis is what is read off the nest: k is folded, m is used by `a` alone, n by `b` alone, and axes that
both use are outer loops. So every layout of a matrix product, batches, convolutions and their gradients are
one thing to the files that tile them: `contraction_tiles` (sizes), `contraction_stage` (windows read once),
`contraction_pack` (panels) and `contraction_kernel` (the tiled nest).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from lazygrad import expr
from lazygrad.codegen.loopnest import (
    Accumulate,
    Array,
    Compute,
    Constant,
    IndexValue,
    Let,
    Load,
    Loop,
    LoopNest,
    Read,
    Select,
    Store,
    Value,
    map_value,
    substitute,
    walk,
)
from lazygrad.codegen.transform import reads
from lazygrad.expr import Atom, Expr, Guard, Var
from lazygrad.helpers import product


@dataclass(frozen=True)
class Contraction:
    """What a nest contracts. Variables are in loop order; `lets` are all bindings of the nest by name."""

    outer: tuple[Var, ...]
    m: tuple[Var, ...]
    n: tuple[Var, ...]
    k: tuple[Var, ...]
    a: Value
    b: Value
    accumulator: Array
    result: str  # the name that the epilogue reads the sum by
    lets: dict[str, Let]
    stores: tuple[Store, ...]
    absent: tuple[Guard, ...] = ()  # outside these a product is no term of the sum

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Elements of m, n and k."""
        m, n, k = (product(v.extent for v in group) for group in (self.m, self.n, self.k))
        return m, n, k

    def needed(self, values: Iterable[Value], known: frozenset[str] = frozenset()) -> list[Let]:
        """The bindings that values depend on, in an order in which they can be evaluated."""
        order: dict[str, Let] = {}
        stack = [(name, False) for v in values for name in _names(v)]
        while stack:
            name, ready = stack.pop()
            if ready:
                order[name] = self.lets[name]
            elif name not in order and name not in known:
                stack.append((name, True))
                stack.extend((inner, False) for inner in _names(self.lets[name].value))
        return list(order.values())

    def expressions(self, value: Value) -> list[Expr]:
        """Every index and guard on the way to a value."""
        values = [value, *(let.value for let in self.needed([value]))]
        return [e for x in values for e in _value_expressions(x)]

    def variables(self, value: Value) -> set[Var]:
        """Every loop variable that a value depends on."""
        return {v for e in self.expressions(value) for v in expr.variables(e) if isinstance(v, Var)}


def _names(value: Value) -> set[str]:
    return reads((Let("_", value),))[0]


def _value_expressions(value: Value) -> list[Expr]:
    found: list[Expr] = []

    def visit(v: Value) -> Value:
        found.extend(g.e for g in getattr(v, "guards", ()))
        if isinstance(v, Load):
            found.append(v.index)
        elif isinstance(v, IndexValue):
            found.append(v.e)
        return v

    map_value(value, visit)
    return found


def substituted(found: Contraction, values: dict[Atom, Expr]) -> Contraction:
    """The contraction with other values of some variables in its factors, bindings and stores."""
    ends = substitute((Let("a", found.a), Let("b", found.b), *found.stores), values)
    a, b, *stores = ends
    assert isinstance(a, Let) and isinstance(b, Let)
    lets = {let.name: let for let in substitute(found.lets.values(), values) if isinstance(let, Let)}
    return replace(found, a=a.value, b=b.value, lets=lets,
                   stores=tuple(s for s in stores if isinstance(s, Store)))


# Recognition


def recognise(nest: LoopNest) -> Contraction | None:
    """The contraction that a naive nest is, or None."""
    loops = [s for s in nest.body if isinstance(s, Loop)]
    if len(loops) != 1:
        return None
    domain: list[Var] = []
    folded: list[Var] = []
    lets: dict[str, Let] = {}
    stores: list[Store] = []
    sums: list[Accumulate] = []
    for s in walk(nest.body):
        match s:
            case Loop(var, _, "domain"):
                domain.append(var)
            case Loop(var, _, "reduce"):
                folded.append(var)
            case Let():
                lets[s.name] = s
            case Store():
                stores.append(s)
            case Accumulate():
                sums.append(s)
            case _:
                return None
    outputs = tuple(s for s in stores if s.array.space != "register")
    if len(sums) != 1 or sums[0].combine != "add" or not folded or not _is_chain(loops[0]):
        return None
    total = sums[0]
    result = [let.name
              for let in lets.values() if isinstance(let.value, Load) and let.value.array == total.array]
    guards, value = _unguarded(total.value, lets)
    kind = total.array.dtype
    if len(result) != 1 or not isinstance(value, Compute) or value.op != "mul" or value.dtype != kind:
        return None
    first, second = value.args
    found = Contraction(tuple(domain), (), (), tuple(folded), first, second, total.array, result[0],
                        lets, outputs)
    if guards:
        found = _with_guards(found, guards)
    if any(set(_value_variables_deep(found, s)) & set(folded) for s in outputs):
        return None
    return _with_axes(found)


def _unguarded(value: Value, lets: dict[str, Let]) -> tuple[tuple[Guard, ...], Value]:
    """The guards outside which a summand is 0, and the value within them."""
    value = lets[value.name].value if isinstance(value, Read) else value
    if isinstance(value, Select) and isinstance(value.otherwise, Constant) and value.otherwise.value == 0:
        inner = value.value
        return value.guards, lets[inner.name].value if isinstance(inner, Read) else inner
    return (), value


def _with_guards(found: Contraction, guards: tuple[Guard, ...]) -> Contraction:
    """The factor that depends on the guards' variables becomes 0 outside them."""
    needed = {v for g in guards for v in expr.variables(g.e)}
    zero = Constant(0.0, found.accumulator.dtype)
    if needed <= found.variables(found.a):
        return replace(found, a=Select(guards, found.a, zero), absent=guards)
    if needed <= found.variables(found.b):
        return replace(found, b=Select(guards, found.b, zero), absent=guards)
    return replace(found, outer=())  # no factor alone can carry them: no contraction


def _is_chain(loop: Loop) -> bool:
    """Whether domain loops lie directly in each other with one chain of reduce loops in the innermost."""
    inner = [s for s in loop.body if isinstance(s, Loop)]
    return not inner or (len(inner) == 1 and _is_chain(inner[0]))


def _value_variables_deep(found: Contraction, store: Store) -> set[Var]:
    known = frozenset((found.result,))
    values = [store.value, *(let.value for let in found.needed([store.value], known))]
    return {v for x in values for e in _value_expressions(x) for v in expr.variables(e) if isinstance(v, Var)}


def _with_axes(found: Contraction) -> Contraction | None:
    """The contraction with its axes told apart, `b` being the factor that varies along the output's
    contiguous axis."""
    in_a, in_b = found.variables(found.a), found.variables(found.b)
    only_a = [v for v in found.outer if v in in_a and v not in in_b]
    only_b = [v for v in found.outer if v in in_b and v not in in_a]
    strides = _strides(found.stores[0].index)
    nearest = min((v for v in (*only_a, *only_b)), key=lambda v: strides.get(v, 1 << 60), default=None)
    if nearest is None or not only_a or not only_b:
        return None
    a, b = found.a, found.b
    if nearest in only_a:
        a, b, only_a, only_b = b, a, only_b, only_a
    found = replace(found, a=a, b=b)
    n = tuple(sorted(only_b, key=lambda v: -strides.get(v, 1 << 60)))
    outer = tuple(v for v in found.outer if v not in only_a and v not in only_b)
    return replace(found, outer=outer, m=tuple(only_a), n=n)


def _strides(e: Expr) -> dict[Var, int]:
    return {atom: abs(factor) for atom, factor in e.terms if isinstance(atom, Var)}


def unflattened(index: Expr, variables: Sequence[Var]) -> dict[Atom, Expr]:
    """The value of each variable at a row-major index over all of them."""
    values: dict[Atom, Expr] = {}
    for v in reversed(variables[1:]):
        values[v], index = index % v.extent, index // v.extent
    # the outermost may run beyond its extent: guarded
    return {**values, variables[0]: index} if variables else values
