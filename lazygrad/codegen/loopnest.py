"""`LoopNest`, the representation of one kernel: loops, loads, stores and local arrays. It prints as code.

A nest is a tuple of statements, each a top-level loop or straight code: a *phase*. Phases run in order with a
barrier between; the first loop of a phase may be `parallel`. Values are small expression trees over named
temporaries: lowering binds everything that is used twice with `Let`, at the loop level that its indices need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from lazygrad import expr
from lazygrad.dtypes import DType
from lazygrad.expr import Atom, Expr, Guard, Var
from lazygrad.graph import Scalar


@dataclass(frozen=True)
class Array:
    """Memory that a nest reads or writes; `size` in elements.

    space: "parameter"  a buffer of the kernel, in the order of LoopNest.parameters
           "temporary"  shared by all workers, lives for one launch, uninitialised (packed panels, partial
           sums)
           "scratch"    private to one worker (CPU stack or scratch area, OpenCL __private), uninitialised
           "local"      shared by a work-group (OpenCL __local)
           "register"   private; every index is constant once `unroll` and `vector` loops are expanded
    """

    name: str
    dtype: DType
    size: int
    space: str


# Values


@dataclass(frozen=True)
class Constant:
    """A literal."""

    value: Scalar
    dtype: DType


@dataclass(frozen=True)
class Read:
    """The value bound by `Let(name, ...)` in an enclosing scope."""

    name: str
    dtype: DType


@dataclass(frozen=True)
class IndexValue:
    """An index expression as a number of `dtype`."""

    e: Expr
    dtype: DType


@dataclass(frozen=True)
class Load:
    """array[index], as `dtype` (that of the array). Where a guard fails nothing is read and the value is 0.

    Integer tensors as indices: an `expr.Dynamic` atom inside `index` whose name is that of a Let in scope.
    """

    array: Array
    index: Expr
    guards: tuple[Guard, ...] = ()

    @property
    def dtype(self) -> DType:
        return self.array.dtype


@dataclass(frozen=True)
class Compute:
    """An elementwise row applied to values; dtype is the result's (a comparison's is bool)."""

    op: str
    args: tuple[Value, ...]
    dtype: DType


@dataclass(frozen=True)
class Select:
    """`value` where every guard holds, else `otherwise`. Both are evaluated: loads carry their own guards."""

    guards: tuple[Guard, ...]
    value: Value
    otherwise: Value

    @property
    def dtype(self) -> DType:
        return self.value.dtype


Value = Constant | Read | IndexValue | Load | Compute | Select


# Statements


class Evaluation:
    """What statements share that evaluate a value."""

    value: Value

    @cached_property
    def values(self) -> tuple[Value, ...]:
        """The value and all values inside it: every transform and every estimate of a cost asks for them."""
        return tuple(walk_values(self.value))


@dataclass(frozen=True)
class Let(Evaluation):
    """Binds a name to a value until the end of the enclosing body."""

    name: str
    value: Value


@dataclass(frozen=True)
class Store(Evaluation):
    """array[index] = value where every guard holds."""

    array: Array
    index: Expr
    value: Value
    guards: tuple[Guard, ...] = ()


@dataclass(frozen=True)
class Accumulate(Evaluation):
    """array[index] = combine(array[index], value): one step of a reduction, whose order may be changed.

    `combine` is the name of an elementwise row (add, mul, maximum, minimum). `atomic`: other workers may
    write the same element at the same time.
    """

    array: Array
    index: Expr
    combine: str
    value: Value
    guards: tuple[Guard, ...] = ()
    atomic: bool = False


@dataclass(frozen=True)
class Loop:
    """body for var in [0, var.extent).

    kind: "serial"    in order
          "domain"    iterations are independent; no recipe has mapped it yet, so it runs in order
          "reduce"    in any order; accumulates only
          "parallel"  iterations are independent: over workers (CPU) or work-groups (OpenCL)
          "item"      iterations are independent: over the work-items of a group (OpenCL)
          "vector"    iterations are independent, or accumulate: `lanes` at a time in vector registers, the
          rest masked;
                      `unroll` vectors together (independent accumulators in reductions)
          "unroll"    the body written out extent times, var a constant in each
    grain: parallel loops: how many iterations are worth handing to a worker at once.
    span: of all but parallel loops, the turns [begin, end) that run (a begin below 0 is 0, an end
          beyond the extent is the extent). In a vector loop both are multiples of lanes * unroll; what it has
          beyond a multiple of that always runs.
    """

    var: Var
    body: tuple[Statement, ...]
    kind: str = "serial"
    lanes: int = 1
    unroll: int = 1
    grain: int = 1
    span: tuple[Expr, Expr] | None = None


@dataclass(frozen=True)
class If:
    """body where every guard holds (guards must not depend on a vector loop's variable)."""

    guards: tuple[Guard, ...]
    body: tuple[Statement, ...]


@dataclass(frozen=True)
class Barrier:
    """All work-items of a group wait here, their writes to local and parameter arrays become visible to each
    other."""


Statement = Let | Store | Accumulate | Loop | If | Barrier


@dataclass(frozen=True)
class LoopNest:
    """One kernel. `recipe` lists the transforms that made it from the naive nest, in words."""

    name: str
    parameters: tuple[Array, ...]
    access: tuple[str, ...]  # of each parameter: "read", "write" or "readwrite"
    body: tuple[Statement, ...]
    recipe: tuple[str, ...] = ()
    flops: int = field(default=0, compare=False)
    bytes_moved: int = field(default=0, compare=False)

    def __str__(self) -> str:
        return show(self)


# Walking


def children(value: Value) -> tuple[Value, ...]:
    """The values directly inside a value."""
    if isinstance(value, Compute):
        return value.args
    return (value.value, value.otherwise) if isinstance(value, Select) else ()


def walk_values(value: Value) -> Iterator[Value]:
    """A value and all values inside it."""
    stack = [value]
    while stack:
        value = stack.pop()
        yield value
        stack.extend(children(value))


def walk(body: Iterable[Statement]) -> Iterator[Statement]:
    """All statements, outer before inner, in order."""
    for s in body:
        yield s
        if isinstance(s, Loop | If):
            yield from walk(s.body)


def says_its_turns(body: Iterable[Statement]) -> bool:
    """Whether some loop has a span."""
    return any(isinstance(s, Loop) and s.span is not None for s in walk(body))


def statement_values(s: Statement) -> tuple[Value, ...]:
    """Every value that a statement itself (not its body) evaluates."""
    return s.values if isinstance(s, Evaluation) else ()


def arrays(body: Iterable[Statement]) -> dict[Array, None]:
    """Every array that the statements read or write, in order of appearance."""
    found: dict[Array, None] = {}
    for s in walk(body):
        for v in statement_values(s):
            if isinstance(v, Load):
                found[v.array] = None
        if isinstance(s, Store | Accumulate):
            found[s.array] = None
    return found


def map_value(value: Value, f: Callable[[Value], Value]) -> Value:
    """f applied to every value of a tree, inner values first."""
    if isinstance(value, Compute):
        value = replace(value, args=tuple(map_value(a, f) for a in value.args))
    elif isinstance(value, Select):
        value = replace(value, value=map_value(value.value, f), otherwise=map_value(value.otherwise, f))
    return f(value)


def substitute_guards(guards: tuple[Guard, ...], values: Mapping[Atom, Expr]) -> tuple[Guard, ...]:
    """Guards with variables replaced; those that always hold are dropped."""
    replaced = (replace(g, e=expr.substitute(g.e, values)) for g in guards)
    return tuple(g for g in replaced if not g.always)


def substitute_value(value: Value, values: Mapping[Atom, Expr]) -> Value:
    """A value with index variables replaced."""

    def visit(v: Value) -> Value:
        if isinstance(v, IndexValue):
            return replace(v, e=expr.substitute(v.e, values))
        if isinstance(v, Load):
            return replace(v, index=expr.substitute(v.index, values),
                           guards=substitute_guards(v.guards, values))
        if isinstance(v, Select):
            return replace(v, guards=substitute_guards(v.guards, values))
        return v

    return map_value(value, visit)


def substitute(body: Iterable[Statement], values: Mapping[Atom, Expr]) -> tuple[Statement, ...]:
    """Statements with index variables replaced."""
    result: list[Statement] = []
    for s in body:
        if isinstance(s, Let):
            result.append(replace(s, value=substitute_value(s.value, values)))
        elif isinstance(s, Store | Accumulate):
            result.append(replace(s, index=expr.substitute(s.index, values),
                                  value=substitute_value(s.value, values),
                                  guards=substitute_guards(s.guards, values)))
        elif isinstance(s, Loop):
            span = s.span and (expr.substitute(s.span[0], values), expr.substitute(s.span[1], values))
            result.append(replace(s, body=substitute(s.body, values), span=span))
        elif isinstance(s, If):
            result.append(replace(s, guards=substitute_guards(s.guards, values),
                                  body=substitute(s.body, values)))
        else:
            result.append(s)
    return tuple(result)


# Printing

_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", "lt": "<", "le": "<=", "eq": "==", "ne": "!=",
          "bitand": "&", "bitor": "|", "bitxor": "^"}


def show_guards(guards: tuple[Guard, ...]) -> str:
    return " and ".join(str(g) for g in guards)


def show_value(value: Value) -> str:
    """A value as code."""
    match value:
        case Constant():
            return repr(value.value)
        case Read():
            return value.name
        case IndexValue():
            return f"{value.dtype.name}({value.e})"
        case Load():
            text = f"{value.array.name}[{value.index}]"
            return f"({text} if {show_guards(value.guards)} else 0)" if value.guards else text
        case Select():
            inside, otherwise = show_value(value.value), show_value(value.otherwise)
            return f"({inside} if {show_guards(value.guards)} else {otherwise})"
        case Compute(op, args, dtype):
            if op in _INFIX:
                return f"({show_value(args[0])} {_INFIX[op]} {show_value(args[1])})"
            name = dtype.name if op == "cast" else op
            return f"{name}({', '.join(show_value(a) for a in args)})"


def show_body(body: Iterable[Statement], indent: int) -> Iterator[str]:
    """The lines of statements."""
    pad = "  " * indent
    for s in body:
        match s:
            case Let():
                yield f"{pad}{s.name} = {show_value(s.value)}"
            case Store():
                guard = f" if {show_guards(s.guards)}" if s.guards else ""
                yield f"{pad}{s.array.name}[{s.index}] = {show_value(s.value)}{guard}"
            case Accumulate():
                guard = f" if {show_guards(s.guards)}" if s.guards else ""
                atomic = "atomic " if s.atomic else ""
                yield f"{pad}{atomic}{s.array.name}[{s.index}] {s.combine}= {show_value(s.value)}{guard}"
            case Loop():
                detail = f" lanes={s.lanes} unroll={s.unroll}" if s.kind == "vector" else ""
                detail += f" from {s.span[0]} to {s.span[1]}" if s.span else ""
                yield f"{pad}for {s.var.name} in {s.var.extent}: {s.kind}{detail}"
                yield from show_body(s.body, indent + 1)
            case If():
                yield f"{pad}if {show_guards(s.guards)}:"
                yield from show_body(s.body, indent + 1)
            case Barrier():
                yield f"{pad}barrier"


def show(nest: LoopNest) -> str:
    """The nest as code: its parameters, its local arrays, its loops."""
    lines = [f"kernel {nest.name}"]
    lines += [f"  {use} {a.name}: {a.dtype.name}[{a.size}]"
              for a, use in zip(nest.parameters, nest.access, strict=True)]
    lines += [f"  {a.space} {a.name}: {a.dtype.name}[{a.size}]"
              for a in arrays(nest.body) if a.space != "parameter"]
    return "\n".join([*lines, *show_body(nest.body, 1)])
