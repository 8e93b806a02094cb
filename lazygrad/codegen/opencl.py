"""A loop nest as OpenCL C: one kernel function per phase,
a helper function for each row that C has no word for.

A top-level `parallel` loop becomes work-groups, `item` loops become work-items, every other loop a `for`.
What a phase does outside its item loops, every work-item does, but stores to shared memory only the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from lazygrad import dtypes, expr
from lazygrad.codegen import loopnest
from lazygrad.codegen.loopnest import (
    Accumulate,
    Array,
    Barrier,
    Compute,
    Constant,
    If,
    IndexValue,
    Let,
    Load,
    Loop,
    LoopNest,
    Read,
    Select,
    Statement,
    Store,
    Value,
)
from lazygrad.codegen.opencl_prelude import (
    C_TYPE,
    HELPERS,
    MEMORY_TYPE,
    convert,
    helpers_for,
    is_short_float,
    literal,
    multiply_add,
    spell,
)
from lazygrad.codegen.opencl_vector import OPERATORS, lanes_of, stride, vector_registers
from lazygrad.dtypes import DType
from lazygrad.errors import DTypeError
from lazygrad.expr import Atom, Dynamic, Expr, Guard, Quotient, Remainder, Var
from lazygrad.ops.table import OPS
from lazygrad.source import BufferUse, Phase, Source, Target

_INT_LIMIT = 1 << 31
_SHARED = ("parameter", "temporary", "local")
_ADDRESS_SPACE = {"parameter": "__global", "temporary": "__global", "local": "__local"}
# Words that a kernel may not use as a name of its own: keywords, types, and functions that expressions call.
_RESERVED = frozenset(OPS) | frozenset(HELPERS) | frozenset("""
    auto break case char const constant continue default do double else enum event_t extern float for global goto half
    if image2d_t inline int kernel local long pipe private read_only read_write register restrict return sampler_t
    short signed sizeof size_t static struct switch typedef uchar uint ulong union unsigned ushort void volatile
    while write_only barrier bool true false rint fabs isnan copysign fma rotate min max select
    """.split())

# Index expressions


def _fits_int(e: Expr) -> bool:
    """True where e and all its partial sums and products fit 32 bits."""
    total = abs(e.constant)
    for atom, factor in e.terms:
        total += abs(factor) * max(1, abs(atom.bounds[0]), abs(atom.bounds[1]))
    return total < _INT_LIMIT


class _Names:
    """C identifiers for the names of a nest: no reserved word, and no two kinds of thing with one name."""

    def __init__(self) -> None:
        self._given: dict[tuple[str, str], str] = {}
        self._taken: set[str] = set()

    def of(self, kind: str, name: str) -> str:
        """The identifier of the array, variable or value called `name`."""
        found = self._given.get((kind, name))
        if found is None:
            found = "".join(c if c.isalnum() and c.isascii() else "_" for c in name)
            found = f"_{found}" if found[:1].isdigit() else found
            while found in _RESERVED or found in self._taken:
                found += "_"
            self._given[kind, name] = found
            self._taken.add(found)
        return found


def phase_bodies(body: Sequence[Statement]) -> list[tuple[Statement, ...]]:
    """The statements of each kernel function: a parallel loop alone, or what stands between two of them.

    A `Let` outside loops is repeated in every later function that reads it.
    """
    runs: list[list[Statement]] = []
    joins = False
    for s in body:
        parallel = isinstance(s, Loop) and s.kind == "parallel"
        if parallel or not joins:
            runs.append([])
        runs[-1].append(s)
        joins = not parallel
    if len(runs) == 1:
        return [tuple(runs[0])]
    lets: dict[str, Let] = {}
    phases = []
    for run in runs:
        if any(not isinstance(s, Let) for s in run):
            phases.append((*_lets_read(run, lets), *run))
        lets |= {s.name: s for s in run if isinstance(s, Let)}
    return phases


def _lets_read(run: Iterable[Statement], lets: dict[str, Let]) -> list[Let]:
    """The earlier lets that statements read, directly or through others, in their order."""
    needed: set[str] = set()
    waiting = [name for s in loopnest.walk(run) for name in _names_read(s) if name in lets]
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += [n for n in _names_read(lets[name]) if n in lets]
    return [let for name, let in lets.items() if name in needed]


def statement_indices(s: Statement) -> Iterator[Expr]:
    """Every index expression in a statement itself (not its body), those of guards too."""
    guards: list[Guard] = [] if isinstance(s, Let | Loop | Barrier) else list(s.guards)
    if isinstance(s, Store | Accumulate):
        yield s.index
    for v in loopnest.statement_values(s):
        if isinstance(v, Load):
            yield v.index
            guards += v.guards
        elif isinstance(v, IndexValue):
            yield v.e
        elif isinstance(v, Select):
            guards += v.guards
    yield from (g.e for g in guards)


def _names_read(s: Statement) -> Iterator[str]:
    for v in loopnest.statement_values(s):
        if isinstance(v, Read):
            yield v.name
    for e in statement_indices(s):
        yield from (a.name for a in expr.atoms(e) if isinstance(a, Dynamic))


def item_count(body: Iterable[Statement]) -> int:
    """The work-items of a phase: the extent of its item loops, 1 where it has none."""
    return max([1, *(s.var.extent for s in loopnest.walk(body) if isinstance(s, Loop) and s.kind == "item")])


class _Renderer:
    def __init__(self, nest: LoopNest, target: Target):
        self.nest, self.target = nest, target
        self.names = _Names()
        self.lines: list[str] = []
        self.depth = 1
        self.own_helpers: dict[str, str] = {}
        self.items = 1
        self.inside_items = False
        self.vectors: dict[Array, int] = {}
        self.known: frozenset[Guard] = frozenset()
        self.arrays = {a: None for a in nest.parameters} | loopnest.arrays(nest.body)
        self.temporaries = [a for a in self.arrays if a.space == "temporary"]
        for a in self.arrays:
            self.names.of("array", a.name)

    # Expressions

    def expression(self, e: Expr, wide: bool = False) -> str:
        """e in C, as a long where `wide` or where 32 bits may not hold it, else as an int."""
        wide = wide or not _fits_int(e)
        suffix = "L" if wide else ""
        text = ""
        for atom, factor in e.terms:
            atom_text = self.atom(atom, wide and abs(factor) == 1)
            term = atom_text if abs(factor) == 1 else f"{abs(factor)}{suffix} * {atom_text}"
            sign = (" - " if factor < 0 else " + ") if text else ("-" if factor < 0 else "")
            text += sign + term
        if not text:
            return f"{e.constant}{suffix}" if e.constant > -(1 << 63) else "LONG_MIN"
        if e.constant:
            text += f" {'-' if e.constant < 0 else '+'} {abs(e.constant)}{suffix}"
        return text

    def atom(self, atom: Atom, wide: bool) -> str:
        if isinstance(atom, Var):
            text = self.names.of("variable", atom.name)
            return f"(long){text}" if wide else text
        if isinstance(atom, Dynamic):
            fits = max(abs(b) for b in atom.bounds) < _INT_LIMIT
            return f"({'long' if wide or not fits else 'int'}){self.names.of('value', atom.name)}"
        base = self.expression(atom.base)
        kind = "int" if _fits_int(atom.base) and atom.divisor < _INT_LIMIT else "long"
        return (f"(long){self.division(atom, base, kind)}" if wide and kind == "int"
                else self.division(atom, base, kind))

    def division(self, atom: Quotient | Remainder, base: str, kind: str) -> str:
        quotient, d = isinstance(atom, Quotient), atom.divisor
        bare, base = base, base if base.isidentifier() else f"({base})"
        suffix = "L" if kind == "long" else ""
        if d & (d - 1) == 0:  # a shift and a mask are floor division, for negative numbers too
            return f"({base} >> {d.bit_length() - 1})" if quotient else f"({base} & {d - 1}{suffix})"
        if atom.base.bounds[0] >= 0:
            return f"({base} {'/' if quotient else '%'} {d}{suffix})"
        return f"floor_{'quotient' if quotient else 'remainder'}_{kind}({bare}, {d}{suffix})"

    def condition(self, guards: Iterable[Guard]) -> str:
        """Guards in C; those that always hold, or hold here, are left out. Empty: nothing to ask."""
        parts = []
        for g in dict.fromkeys(guards):
            if g in self.known:
                continue
            if g.never:
                return "false"
            low, high = g.e.bounds
            text = self.expression(g.e)
            plain = len(g.e.terms) == 1 and not g.e.constant and abs(g.e.terms[0][1]) == 1
            text = text if plain else f"({text})"
            if low < g.low:
                parts.append(f"{text} >= {self.expression(expr.const(g.low))}")
            if high >= g.high:
                parts.append(f"{text} < {self.expression(expr.const(g.high))}")
        return " && ".join(parts)

    @contextmanager
    def knowing(self, guards: Iterable[Guard]) -> Iterator[None]:
        """For code that only runs where the guards hold."""
        before, self.known = self.known, self.known | set(guards)
        yield
        self.known = before

    # Values

    def value(self, v: Value) -> str:
        """A value as one C operand: a name, a call, or something in brackets."""
        if isinstance(v, Read):
            return self.names.of("value", v.name)
        if isinstance(v, Constant):
            return literal(v.value, v.dtype)
        if isinstance(v, Compute):
            operand = v.args[-1].dtype
            return spell(v.op, operand, v.dtype, *(self.value(a) for a in v.args))
        if isinstance(v, IndexValue):
            return convert(f"({self.expression(v.e)})", dtypes.int64, v.dtype)
        if isinstance(v, Select):
            condition = self.condition(v.guards)
            with self.knowing(v.guards):
                value = self.value(v.value)
            return f"({condition} ? {value} : {self.value(v.otherwise)})" if condition else value
        text = self.read(v.array, self.expression(v.index))
        condition = self.condition(v.guards)
        return f"({condition} ? {text} : {literal(0, v.dtype)})" if condition else text

    def place(self, array: Array, index: str) -> str:
        """An element of an array; a private array of one element is a plain variable."""
        name = self.names.of("array", array.name)
        return name if array.space not in _SHARED and array.size <= 1 else f"{name}[{index}]"

    def read(self, array: Array, index: str) -> str:
        place = self.place(array, index)
        if array.space not in _SHARED:
            return place
        if array.dtype.kind == "bool":
            return f"({place} != 0)"
        if array.dtype is dtypes.float16:
            return f"vload_half({index}, {self.halves(array, 'const ')})"
        return f"bfloat16_value({place})" if array.dtype is dtypes.bfloat16 else place

    def halves(self, array: Array, const: str = "") -> str:
        # an array of halves cannot be declared without cl_khr_fp16: local ones are ushorts
        name = self.names.of("array", array.name)
        return f"(__local {const}half *){name}" if array.space == "local" else name

    def write(self, array: Array, index: str, value: str) -> str:
        place = self.place(array, index)
        if array.space in _SHARED and array.dtype is dtypes.float16:
            return f"vstore_half_rte({value}, {index}, {self.halves(array)});"
        if array.space in _SHARED and array.dtype is dtypes.bfloat16:
            return f"{place} = bfloat16_bits({value});"
        return f"{place} = {value};"

    # Statements

    def line(self, text: str) -> None:
        self.lines.append("  " * self.depth + text)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        self.line(f"{head} {{" if head else "{")
        self.depth += 1
        yield
        self.depth -= 1
        self.line("}")

    def body(self, statements: Iterable[Statement]) -> None:
        for s in statements:
            getattr(self, _STATEMENTS[type(s)])(s)

    def let(self, s: Let) -> None:
        self.line(
            f"const {C_TYPE[s.value.dtype.name]} {self.names.of('value', s.name)} = {_bare(self.value(s.value))};")

    def write_condition(self, s: Store | Accumulate) -> str:
        """`if (...) ` before a statement that writes, or nothing."""
        condition = self.condition(s.guards)
        if self.items > 1 and not self.inside_items and s.array.space in _SHARED:
            condition = f"get_local_id(0) == 0 && {condition}" if condition else "get_local_id(0) == 0"
        return f"if ({condition}) " if condition else ""

    def store(self, s: Store) -> None:
        assert s.value.dtype == s.array.dtype, s
        with self.knowing(s.guards):
            text = self.write(s.array, self.expression(s.index), _bare(self.value(s.value)))
        self.line(self.write_condition(s) + text)

    def accumulate(self, s: Accumulate) -> None:
        assert s.value.dtype == s.array.dtype, s
        with self.knowing(s.guards):
            text = self.combination(s)
        self.line(self.write_condition(s) + text)

    def combination(self, s: Accumulate) -> str:
        index, d = self.expression(s.index), s.array.dtype
        if s.atomic and s.array.space in _SHARED:
            name = self.atomic(s.combine, s.array)
            array = self.names.of("array", s.array.name)
            return f"{name}({array}, {index}, {self.value(s.value)});"
        old = self.read(s.array, index)
        product = s.value if isinstance(s.value, Compute) and s.value.op == "mul" else None
        if product is not None and s.combine == "add" and d.kind == "float" and not is_short_float(d):
            x, y = (self.value(a) for a in product.args)
            new = f"multiply_add_{d.name}({x}, {y}, {old})"
        else:
            new = spell(s.combine, d, d, old, self.value(s.value))
        return self.write(s.array, index, _bare(new))

    def loop(self, s: Loop) -> None:
        if s.kind == "item":
            return self.item_loop(s)
        if lanes_of(s):
            return self.vector_loop(s)
        if s.kind == "unroll" or s.kind == "vector" and s.var.extent <= 64:
            self.line("#pragma unroll")
        name, kind = self.names.of("variable", s.var.name), _index_type(s.var)
        with self.block(
            f"for ({kind} {name} = 0; {name} < {s.var.extent}{'L' if kind == 'long' else ''}; {name}++)"):
            self.body(s.body)
        return None

    def vector_loop(self, s: Loop) -> None:
        """    for v in 16: a[v] += b[v]   ->   for v in 0, 8: a8[v / 8] += vload8(0, b + v)"""
        name, lanes = self.names.of("variable", s.var.name), s.lanes
        if s.var.extent <= 8 * lanes:
            self.line("#pragma unroll")
        with self.block(f"for (int {name} = 0; {name} < {s.var.extent}; {name} += {lanes})"):
            for statement in s.body:
                assert isinstance(statement, Store | Accumulate)
                array, index = statement.array, self.expression(statement.index)
                value = self.vector(statement.value, s.var, lanes)
                if isinstance(statement, Accumulate):
                    value = self.vector_sum(statement, s.var, lanes)
                if array in self.vectors:
                    self.line(f"{self.names.of('array', array.name)}[({index}) / {lanes}] = {value};")
                else:
                    self.line(f"vstore{lanes}({value}, 0, {self.names.of('array', array.name)} + {index});")

    def vector_sum(self, s: Accumulate, v: Var, lanes: int) -> str:
        old = self.vector(Load(s.array, s.index), v, lanes)
        if not (isinstance(s.value, Compute) and s.value.op == "mul"):
            return f"{old} + {self.vector(s.value, v, lanes)}"
        kind = C_TYPE[s.array.dtype.name]
        name = f"multiply_add_{kind}{lanes}"
        self.own_helpers[name] = multiply_add(name, f"{kind}{lanes}")
        x, y = (self.vector(a, v, lanes) for a in s.value.args)
        return f"{name}({x}, {y}, {old})"

    def vector(self, x: Value, v: Var, lanes: int) -> str:
        """A value of a vector loop as an OpenCL vector."""
        if isinstance(x, Compute):
            left, right = (self.vector(a, v, lanes) for a in x.args)
            return f"({left} {OPERATORS[x.op]} {right})"
        if isinstance(x, Load) and stride(x.index, v) == 1:
            name, index = self.names.of("array", x.array.name), self.expression(x.index)
            return (f"{name}[({index}) / {lanes}]" if x.array in self.vectors
                    else f"vload{lanes}(0, {name} + {index})")
        return f"(({C_TYPE[x.dtype.name]}{lanes})({self.value(x)}))"

    def item_loop(self, s: Loop) -> None:
        """The body once, as work-item number var; where a group has more work-items, the others skip it."""
        assert not self.inside_items, f"{self.nest.name}: an item loop inside another"
        assert s.var.extent == self.items or not any(isinstance(b, Barrier)
                                                     for b in loopnest.walk(s.body)), s.var
        if s.var.extent == 0:
            return
        self.inside_items = True
        name = self.names.of("variable", s.var.name)
        with self.block("" if s.var.extent == self.items else f"if (get_local_id(0) < {s.var.extent})"):
            self.line(f"const int {name} = get_local_id(0);")
            self.body(s.body)
        self.inside_items = False

    def branch(self, s: If) -> None:
        with self.block(f"if ({self.condition(s.guards) or 'true'})"), self.knowing(s.guards):
            self.body(s.body)

    def barrier(self, s: Barrier) -> None:
        if self.items > 1:
            self.line("barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);")

    def atomic(self, combine: str, array: Array) -> str:
        """The name of the helper that combines a value into an element which others may write at the same
        time."""
        space, d = _ADDRESS_SPACE[array.space], array.dtype
        if d.itemsize == 8 and "cl_khr_int64_base_atomics" not in self.target.features:
            raise DTypeError(
                f"[{self.nest.name}] {device_name(self.target)} has no 64-bit atomic operations, which "
                             f"adding {d.name} at repeated indices needs: use 32-bit elements or DEVICE=CPU")
        name = f"atomic_{combine}_{d.name}_{space[2:]}"
        self.own_helpers[name] = atomic_helper(name, combine, d, space)
        return name

    # Functions

    def phase(self, name: str, body: tuple[Statement, ...]) -> Phase:
        """One kernel function."""
        self.items, self.inside_items = item_count(body), False
        assert self.items <= max(1, self.target.max_group_items), (self.nest.name, self.items,
                                                                   self.target.name)
        parameters = [*self.nest.parameters, *self.temporaries]
        access = [*self.nest.access, *("readwrite" for _ in self.temporaries)]
        self.lines.append(f"__kernel __attribute__((reqd_work_group_size({self.items}, 1, 1)))")
        self.lines.append(f"void {name}(")
        for a, use in zip(parameters, access, strict=True):
            const = "const " if use == "read" else ""
            comma = "" if a is parameters[-1] else ","
            self.lines.append(f"    __global {const}{MEMORY_TYPE[a.dtype.name]} *restrict "
                              f"{self.names.of('array', a.name)}{comma}")
        self.lines.append(") {")
        self.vectors = vector_registers(body)
        for a in loopnest.arrays(body):
            self.declare(a)
        count = 1
        for position, s in enumerate(body):
            if (self.items > 1 and position and not isinstance(s, Let)
                and not isinstance(body[position - 1], Let)):
                self.barrier(Barrier())
            if isinstance(s, Loop) and s.kind == "parallel":
                count = s.var.extent
                self.line(
                    f"const {_index_type(s.var)} {self.names.of('variable', s.var.name)} = get_group_id(0);")
                self.body(s.body)
            else:
                self.body((s,))
        self.lines += ["}", ""]
        return Phase(name, count, items=self.items)

    def declare(self, array: Array) -> None:
        name, size = self.names.of("array", array.name), max(1, array.size)
        if array.space == "local":
            kind = "ushort" if is_short_float(array.dtype) else MEMORY_TYPE[array.dtype.name]
            self.line(f"__local {kind} {name}[{size}];")
        elif array in self.vectors:
            lanes = self.vectors[array]
            self.line(f"{C_TYPE[array.dtype.name]}{lanes} {name}[{size // lanes}];")
        elif array.space not in _SHARED:
            self.line(f"{C_TYPE[array.dtype.name]} {name}{f'[{size}]' if size > 1 else ''};")

    def legend(self) -> list[str]:
        uses = [*self.nest.access, *(a.space for a in self.arrays if a.space != "parameter")]
        arrays = [*self.nest.parameters, *(a for a in self.arrays if a.space != "parameter")]
        names = [self.names.of("array", a.name) for a in arrays]
        width = max((len(n) for n in names), default=0)
        return [f"// {self.nest.name}", *(f"//   {use:9} {name:{width}}  {a.dtype.name}[{a.size}]"
                                          for use, name, a in zip(uses, names, arrays, strict=True))]

    def source(self) -> Source:
        bodies = phase_bodies(self.nest.body)
        name = self.names.of("kernel", self.nest.name)
        names = [name] if len(bodies) == 1 else [f"{name}_phase_{i + 1}" for i in range(len(bodies))]
        phases = tuple(self.phase(n, body) for n, body in zip(names, bodies, strict=True))
        functions = "\n".join(self.lines)
        helpers = helpers_for(functions, self.own_helpers)
        extensions = [f"#pragma OPENCL EXTENSION {name} : enable" for name, wanted in (
            ("cl_khr_fp64", any(d is dtypes.float64 for d in used_dtypes(self.nest))),
            ("cl_khr_int64_base_atomics", any("atom_" in h for h in self.own_helpers.values()))) if wanted]
        text = "\n".join([*self.legend(), "", *extensions, "#pragma OPENCL FP_CONTRACT OFF", "", *helpers,
                          *([""] if helpers else []), functions])
        uses = tuple(BufferUse(a.name, a.dtype, a.size, access)
                     for a, access in zip(self.nest.parameters, self.nest.access, strict=True))
        temporaries = tuple(max(1, a.size) * a.dtype.itemsize for a in self.temporaries)
        return Source("opencl", self.nest.name, text, uses, phases, temporaries, flops=self.nest.flops,
                      bytes_moved=self.nest.bytes_moved)


_STATEMENTS = {Let: "let", Store: "store", Accumulate: "accumulate", Loop: "loop", If: "branch",
               Barrier: "barrier"}


def _index_type(v: Var) -> str:
    return "int" if v.extent < _INT_LIMIT else "long"


def _bare(text: str) -> str:
    """An expression without brackets around the whole of it."""
    if not (text.startswith("(") and text.endswith(")")):
        return text
    depth = 0
    for position, c in enumerate(text):
        depth += (c == "(") - (c == ")")
        if depth == 0 and position < len(text) - 1:
            return text
    return text[1:-1]


_NATIVE_ATOMICS = {"add": "add", "maximum": "max", "minimum": "min"}


def atomic_helper(name: str, combine: str, d: DType, space: str) -> str:
    """A function that combines a value into array[index] while others may do the same."""
    memory = MEMORY_TYPE[d.name]
    head = f"void {name}(volatile {space} {memory} *array, long index, {C_TYPE[d.name]} value) {{\n"
    if d.is_integer and d.itemsize == 4 and combine in _NATIVE_ATOMICS:
        return head + f"  atomic_{_NATIVE_ATOMICS[combine]}(array + index, value);\n}}"
    if d.is_integer and d.itemsize == 8 and combine == "add":
        return head + "  atom_add(array + index, value);\n}"
    word, exchange = ("ulong", "atom_cmpxchg") if d.itemsize == 8 else ("uint", "atomic_cmpxchg")
    unsigned = {1: "uchar", 2: "ushort", 4: "uint", 8: "ulong"}[d.itemsize]
    shift, address = "", f"(volatile {space} {word} *)(array + index)"
    setup = ""
    old_bits = "seen"
    if d.itemsize < 4:  # exchange the whole word around a small element
        setup = (f"  volatile {space} {unsigned} *element = (volatile {space} {unsigned} *)array + index;\n"
                 f"  const uint shift = 8 * ((size_t)element & 3);\n")
        address = f"(volatile {space} uint *)((size_t)element & ~(size_t)3)"
        old_bits, shift = f"({unsigned})(seen >> shift)", " << shift"
    unsigned_type = dtypes.BY_NAME[f"uint{d.bits}"]
    new = spell(combine, d, d, spell("bitcast", unsigned_type, d, old_bits), "value")
    bits = spell("bitcast", d, unsigned_type, new)
    if d.itemsize < 4:
        mask = f"{(1 << d.bits) - 1}u << shift"
        bits = f"(seen & ~({mask})) | ((uint){bits}{shift})"
    return head + setup + f"""  volatile {space} {word} *word = {address};
  {word} seen = *word, expected;
  do {{
    expected = seen;
    seen = {exchange}(word, expected, {bits});
  }} while (seen != expected);
}}"""


def device_name(target: Target) -> str:
    """How error messages name a device."""
    return f"{target.name} ({target.cpu})" if target.cpu else target.name


def used_dtypes(nest: LoopNest) -> dict[DType, None]:
    """Every dtype that a nest holds in memory or computes with."""
    found = {a.dtype: None for a in (*nest.parameters, *loopnest.arrays(nest.body))}
    for s in loopnest.walk(nest.body):
        found |= {v.dtype: None for v in loopnest.statement_values(s)}
    return found


_INSTEAD = {"float64": "float32", "float16": "float32", "bfloat16": "float32"}


def check(nest: LoopNest, target: Target) -> None:
    """Raise DTypeError where the device lacks a dtype of the nest."""
    assert len(nest.parameters) <= target.max_parameters, (
        f"{nest.name} takes {len(nest.parameters)} buffers, {device_name(target)} at most {target.max_parameters}")
    for d in used_dtypes(nest):
        if target.dtypes and d.name not in target.dtypes:
            raise DTypeError(f"[{nest.name}] {device_name(target)} has no {d.name}: convert to "
                             f"{_INSTEAD.get(d.name, 'int32')} before, or use DEVICE=CPU")


def render(nest: LoopNest, target: Target) -> Source:
    """A nest as OpenCL C. Raises DTypeError where the device lacks a dtype or an atomic operation of the
    nest."""
    check(nest, target)
    return _Renderer(nest, target).source()
