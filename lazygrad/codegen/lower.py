"""Lowering: a fusion group becomes the naive `LoopNest` that computes it,
by pushing loop indices through the graph.

Each output opens a loop per axis; then every node is evaluated at the index at which its user wants it: a
movement rewrites the index, an elementwise node passes it on, a reduce adds loops, an input becomes a load.
An element is evaluated once for each loop level that its index depends on, and at that level, so a row's sum
lands outside the loop over the row. The nest is correct as it is; recipes make it fast.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

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
    Read,
    Select,
    Statement,
    Store,
    Value,
)
from lazygrad.dtypes import DType
from lazygrad.expr import Expr, Var
from lazygrad.graph import Literal, Node
from lazygrad.helpers import product
from lazygrad.ops import OPS
from lazygrad.scheduler import access
from lazygrad.scheduler.access import Use

FARTHEST = 1 << 40  # elements from the beginning of a storage


RowKey = tuple[Node, tuple[Expr | None, ...]]  # a node, and its index but for where it runs along a row


@dataclass
class Scope:
    """An open loop (or the top level): its variable, the statements so far,
    and the elements already evaluated."""

    var: Var | None = None
    body: list[Statement] = field(default_factory=list)
    values: dict[Use, Value] = field(default_factory=dict)
    rows: dict[RowKey, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """Where the elements of an input or output live: an array and the offset of the first one."""

    array: Array
    offset: int = 0
    start: tuple[Array, int] | None = None  # where to read what is added to the offset when the kernel runs


class Lowering:
    """Evaluates elements of nodes into statements; `inputs` says where nodes that are in memory live.

    `phase` begins every name, so that bodies that stand one after the other name their values apart. Of a
    node in `staged` a row is computed into scratch before one of its elements is read.
    """

    def __init__(self, inputs: Mapping[Node, Place], phase: str = "", staged: Collection[Node] = ()):
        self.inputs = inputs
        self.phase = phase
        self.staged = staged
        self.domain: set[str] = set()  # names of the loops over the outputs
        self.filling: list[RowKey] = []
        self.scopes = [Scope()]
        self.levels: dict[str, int] = {}  # of run-time integers, by name
        self.bound: dict[str, int] = {}  # the level of each value that has a name
        self.count = 0

    def fresh(self, prefix: str) -> str:
        self.count += 1
        return f"{self.phase}{prefix}{self.count}"

    def first_element(self, place: Place) -> Expr:
        """The offset of a place's first element; where it is data, it is read before all loops."""
        if place.start is None:
            return expr.const(place.offset)
        array, number = place.start
        name = f"{self.phase}start{number}"
        if name not in self.levels:
            self.levels[name] = 0
            self.scopes[0].body.insert(0, Let(name, Load(array, expr.const(number))))
        return expr.dynamic(name, 0, FARTHEST) + place.offset

    # Levels

    def level(self, use: Use) -> int:
        """The innermost open loop that an element depends on."""
        names = {v.name for v in access.variables_of(use)}
        found = max((self.levels.get(name, 0) for name in names), default=0)
        for depth in range(len(self.scopes) - 1, found, -1):
            var = self.scopes[depth].var
            if var is not None and var.name in names:
                return depth
        return found

    def find(self, use: Use) -> Value | None:
        for scope in reversed(self.scopes):
            if use in scope.values:
                return scope.values[use]
        return None

    def bind(self, value: Value, level: int, prefix: str = "v") -> Value:
        """A name for a value at a loop level; constants and index expressions need none."""
        if isinstance(value, Constant | IndexValue | Read):
            return value
        name = self.fresh(prefix)
        self.bound[name] = level
        self.scopes[level].body.append(Let(name, value))
        return Read(name, value.dtype)

    # Loops

    def open_domain(self, variables: list[Var]) -> None:
        """Open the loops over the outputs."""
        self.domain |= {v.name for v in variables}
        self.open(variables)

    def open(self, variables: list[Var]) -> None:
        self.scopes.extend(Scope(v) for v in variables)

    def close(self, count: int, kind: str) -> None:
        """Close the innermost loops and put them into the body around them."""
        for _ in range(count):
            scope = self.scopes.pop()
            assert scope.var is not None
            self.scopes[-1].body.append(Loop(scope.var, tuple(scope.body), kind))

    # Evaluation

    def value(self, wanted: Use) -> Value:
        """The value of an element, evaluating what it needs first; iterative, for long chains."""
        stack = [wanted]
        while stack:
            use = stack[-1]
            if self.find(use) is not None:
                stack.pop()
                continue
            needs = self.needs(use)
            missing = [n for n in needs if self.find(n) is None]
            if missing:
                stack.extend(reversed(missing))
                continue
            level = self.level(use)
            self.scopes[level].values[use] = self.define(use, needs, level)
            stack.pop()
        found = self.find(wanted)
        assert found is not None
        return found

    def needs(self, use: Use) -> list[Use]:
        """The elements to evaluate before this one (a reduce evaluates its own, inside its loops)."""
        node = use.node
        if node in self.inputs or node.op.kind in ("source", "reduce") or self.is_row(use):
            return []
        if node.op.kind == "movement":
            return [u for u in access.movement_uses(use) if not any(g.never for g in u.guards)]
        if node.op.name == "gather":
            indices = [Use(i, use.index[:i.ndim], use.guards) for i in node.inputs[1:]]
            return (indices if any(self.find(u) is None for u in indices)
                    else access.gather_uses(use, self.place))
        assert node.op.kind == "elementwise", (
            f"{node} cannot be evaluated inside a kernel; fusion must store it")
        return access.elementwise_uses(use)

    def place(self, use: Use, size: int) -> Expr:
        """The value of an index tensor's element as an index expression."""
        value = self.find(use)
        assert value is not None
        if isinstance(value, IndexValue):
            return value.e
        if isinstance(value, Constant):
            return expr.const(int(value.value))
        assert isinstance(value, Read), value
        self.levels[value.name] = self.bound[value.name]  # which may lie outside what the element depends on
        return expr.dynamic(value.name, 0, size - 1)

    def define(self, use: Use, needs: list[Use], level: int) -> Value:
        """The value of an element whose needs are evaluated."""
        node = use.node
        if node in self.inputs:
            place = self.inputs[node]
            index = expr.flatten(use.index, node.shape) + self.first_element(place)
            return self.bind(Load(place.array, index, use.guards), level, "x")
        if self.is_row(use):
            return self.bind(self.from_row(use), level, "w")
        if node.op.kind == "source":
            return IndexValue(use.index[0], node.dtype) if node.op.name == "iota" else self.constant(node)
        if node.op.kind == "reduce":
            return self.reduce(use, level)
        found = {need: self.find(need) for need in needs}
        values = [v for v in (found[need] for need in needs) if v is not None]
        if node.op.kind == "movement":
            return self.moved(use, found, level)
        if node.op.name == "gather":
            return values[-1]
        return self.bind(fold_index(node, values), level)

    def constant(self, node: Node) -> Value:
        assert isinstance(node.arg, Literal) and node.op.name == "const", node
        return Constant(node.arg.value, node.dtype)

    def moved(self, use: Use, found: Mapping[Use, Value | None], level: int) -> Value:
        """The input's element, or the fill where the guards that this movement adds do not hold."""
        node = use.node
        fill = node.arg[1].value if node.op.name == "pad" else 0
        result: Value = Constant(type(fill)(fill) if node.dtype.kind != "bool" else bool(fill), node.dtype)
        for source in reversed(access.movement_uses(use)):
            added = source.guards[len(use.guards):]
            if any(g.never for g in added):
                continue
            value = found[source]
            assert value is not None
            result = self.bind(Select(added, value, result), level) if added else value
        return result

    def reduce(self, use: Use, level: int) -> Value:
        """Loops over the folded axes into an accumulator, at the level where the result is wanted."""
        node = use.node
        name = self.fresh("r")
        kind = node.dtype.accumulator
        accumulator = Array(f"acc_{name}", kind, 1, "register")
        identity, combine = OPS[node.op.name].identity, OPS[node.op.name].combine
        assert identity is not None and combine is not None
        suspended, self.scopes = self.scopes[level + 1:], self.scopes[:level + 1]
        self.scopes[level].body.append(Store(accumulator, expr.ZERO, Constant(identity(node.dtype), kind)))
        variables = access.reduce_variables(node, f"{name}_")
        loops = [v for e in variables.values() for v in expr.variables(e) if isinstance(v, Var)]
        self.open(loops)
        value = self.value(access.reduce_use(use, variables))
        self.scopes[-1].body.append(Accumulate(accumulator, expr.ZERO, combine, as_dtype(value, kind)))
        self.close(len(loops), "reduce")
        self.scopes += suspended
        return self.bind(as_dtype(Load(accumulator, expr.ZERO), node.dtype), level, name + "_")

    # Rows

    def row_key(self, use: Use) -> RowKey:
        return use.node, tuple(None if self.runs(e) else e for e in use.index)

    def runs(self, e: Expr) -> bool:
        """Whether an index goes along a row: it moves with a loop that is none over the outputs."""
        return any(v.name not in self.domain for v in expr.variables(e))

    def is_row(self, use: Use) -> bool:
        """Whether an element is read from a row in scratch."""
        return use.node in self.staged and self.row_key(use) not in self.filling

    def from_row(self, use: Use) -> Value:
        """An element of a staged node, whose row is computed first if it has not been."""
        key = self.row_key(use)
        sizes = [n for n, fixed in zip(use.node.shape, key[1], strict=True) if fixed is None]
        place = expr.flatten([e for e, fixed in zip(use.index, key[1], strict=True) if fixed is None], sizes)
        rows = next((s.rows for s in reversed(self.scopes) if key in s.rows), None)
        if rows is None:
            rows = self.fill_row(use, key, sizes)
        return Load(rows[key], place)

    def fill_row(self, use: Use, key: RowKey, sizes: list[int]) -> dict[RowKey, Array]:
        """Loops along a row that compute it into scratch, at the level where the row is wanted."""
        level = self.level(Use(use.node, tuple(e for e in key[1] if e is not None)))
        name = self.fresh("row")
        row = Array(name, use.node.dtype, product(sizes), "scratch")
        suspended, self.scopes = self.scopes[level + 1:], self.scopes[:level + 1]
        variables = [Var(f"{name}_{i}", n) for i, n in enumerate(sizes)]
        along = [expr.var(v.name, v.extent) for v in variables]
        places = iter(along)
        index = tuple(next(places) if e is None else e for e in key[1])
        self.filling.append(key)
        self.open(variables)
        value = self.value(Use(use.node, index))
        self.scopes[-1].body.append(Store(row, expr.flatten(along, sizes), value))
        self.close(len(variables), "domain")
        self.filling.pop()
        self.scopes[level].rows[key] = row
        rows = self.scopes[level].rows
        self.scopes += suspended
        return rows

    # Outputs

    def store(self, use: Use, place: Place) -> None:
        """Evaluate an output's element and store it at the level of its loops."""
        value = self.value(use)
        index = expr.flatten(use.index, use.node.shape) + place.offset
        self.scopes[self.level(use)].body.append(Store(place.array, index, value))


def as_dtype(value: Value, dtype: DType) -> Value:
    """A value cast where its dtype differs."""
    return value if value.dtype == dtype else Compute("cast", (value,), dtype)


def fold_index(node: Node, values: list[Value]) -> Value:
    """An elementwise node as a Compute; integer arithmetic on loop indices stays an index expression."""
    plain = Compute(node.op.name, tuple(values), node.dtype)
    if not node.dtype.is_integer or not any(isinstance(v, IndexValue) for v in values):
        return plain
    terms = [index_of(v) for v in values]
    if any(t is None for t in terms):
        return plain
    e = _fold(node.op.name, [t for t in terms if t is not None])
    if e is None or not (int(node.dtype.min) <= e.bounds[0] and e.bounds[1] <= int(node.dtype.max)):
        return plain
    return IndexValue(e, node.dtype)


def index_of(value: Value) -> Expr | None:
    """A value as an index expression, where it is one."""
    if isinstance(value, IndexValue):
        return value.e
    return expr.const(int(value.value)) if isinstance(value, Constant) and value.dtype.is_integer else None


def _fold(op: str, terms: list[Expr]) -> Expr | None:
    match op, terms:
        case "cast", [x]:
            return x
        case "neg", [x]:
            return -x
        case "add", [x, y]:
            return x + y
        case "sub", [x, y]:
            return x - y
        case "mul", [x, y] if x.is_constant or y.is_constant:
            return x * y.constant if y.is_constant else y * x.constant
        case "floordiv", [x, y] if y.is_constant and y.constant > 0:
            return x // y.constant
        case "remainder", [x, y] if y.is_constant and y.constant > 0:
            return x % y.constant
    return None


