"""A loop nest as OpenCL C: one kernel function per phase,
a helper function for each row that C has no word for.

A top-level `parallel` loop becomes work-groups, `item` loops become work-items, every other loop a `for`.
What a phase does outside its item loops, every work-item does, but stores to shared memory only the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from lazygrad import dtypes
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
from lazygrad.codegen.opencl_atomics import atomic_helper
from lazygrad.codegen.opencl_index import INT_LIMIT, IndexText
from lazygrad.codegen.opencl_phases import item_count, phase_bodies
from lazygrad.codegen.opencl_prelude import (
    C_TYPE,
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
from lazygrad.expr import Var
from lazygrad.source import BufferUse, Phase, Source, Target

_SHARED = ("parameter", "temporary", "local")
_ADDRESS_SPACE = {"parameter": "__global", "temporary": "__global", "local": "__local"}

class _Renderer(IndexText):
    def __init__(self, nest: LoopNest, target: Target):
        super().__init__()
        self.nest, self.target = nest, target
        self.lines: list[str] = []
        self.depth = 1
        self.own_helpers: dict[str, str] = {}
        self.items = 1
        self.inside_items = False
        self.vectors: dict[Array, int] = {}
        self.arrays = dict.fromkeys(nest.parameters) | loopnest.arrays(nest.body)
        self.temporaries = [a for a in self.arrays if a.space == "temporary"]
        for a in self.arrays:
            self.names.of("array", a.name)

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
        value = _bare(self.value(s.value))
        self.line(f"const {C_TYPE[s.value.dtype.name]} {self.names.of('value', s.name)} = {value};")

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
        begin, end = "0", f"{s.var.extent}{'L' if kind == 'long' else ''}"
        if s.span is not None:
            begin, last = (f"({kind})({self.expression(e)})" for e in s.span)
            begin = f"max({begin}, ({kind})0)" if s.span[0].bounds[0] < 0 else begin
            end = f"min({last}, ({kind}){end})" if s.span[1].bounds[1] > s.var.extent else last
        with self.block(f"for ({kind} {name} = {begin}; {name} < {end}; {name}++)"):
            self.body(s.body)
        return None

    def vector_loop(self, s: Loop) -> None:
        """for v in 16: a[v] += b[v]   ->   for v in 0, 8: a8[v / 8] += vload8(0, b + v)"""
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
            return (
                f"{name}[({index}) / {lanes}]"
                if x.array in self.vectors
                else f"vload{lanes}(0, {name} + {index})"
            )
        return f"(({C_TYPE[x.dtype.name]}{lanes})({self.value(x)}))"

    def item_loop(self, s: Loop) -> None:
        """The body once, as work-item number var; where a group has more work-items, the others skip it."""
        assert not self.inside_items, f"{self.nest.name}: an item loop inside another"
        assert s.var.extent == self.items or not any(isinstance(b, Barrier) for b in loopnest.walk(s.body)), (
            s.var
        )
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
                f"adding {d.name} at repeated indices needs: use 32-bit elements or DEVICE=CPU"
            )
        name = f"atomic_{combine}_{d.name}_{space[2:]}"
        self.own_helpers[name] = atomic_helper(name, combine, d, space)
        return name

    # Functions

    def phase(self, name: str, body: tuple[Statement, ...]) -> Phase:
        """One kernel function."""
        self.items, self.inside_items = item_count(body), False
        assert self.items <= max(1, self.target.max_group_items), (
            self.nest.name,
            self.items,
            self.target.name,
        )
        parameters = [*self.nest.parameters, *self.temporaries]
        access = [*self.nest.access, *("readwrite" for _ in self.temporaries)]
        self.lines.append(f"__kernel __attribute__((reqd_work_group_size({self.items}, 1, 1)))")
        self.lines.append(f"void {name}(")
        for a, use in zip(parameters, access, strict=True):
            const = "const " if use == "read" else ""
            comma = "" if a is parameters[-1] else ","
            self.lines.append(
                f"    __global {const}{MEMORY_TYPE[a.dtype.name]} *restrict "
                f"{self.names.of('array', a.name)}{comma}"
            )
        self.lines.append(") {")
        self.vectors = vector_registers(body)
        for a in loopnest.arrays(body):
            self.declare(a)
        count = 1
        for position, s in enumerate(body):
            if (
                self.items > 1
                and position
                and not isinstance(s, Let)
                and not isinstance(body[position - 1], Let)
            ):
                self.barrier(Barrier())
            if isinstance(s, Loop) and s.kind == "parallel":
                count = s.var.extent
                self.line(
                    f"const {_index_type(s.var)} {self.names.of('variable', s.var.name)} = get_group_id(0);"
                )
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
        return [
            f"// {self.nest.name}",
            *(
                f"//   {use:9} {name:{width}}  {a.dtype.name}[{a.size}]"
                for use, name, a in zip(uses, names, arrays, strict=True)
            ),
        ]

    def source(self) -> Source:
        bodies = phase_bodies(self.nest.body)
        name = self.names.of("kernel", self.nest.name)
        names = [name] if len(bodies) == 1 else [f"{name}_phase_{i + 1}" for i in range(len(bodies))]
        phases = tuple(self.phase(n, body) for n, body in zip(names, bodies, strict=True))
        functions = "\n".join(self.lines)
        helpers = helpers_for(functions, self.own_helpers)
        extensions = [
            f"#pragma OPENCL EXTENSION {name} : enable"
            for name, wanted in (
                ("cl_khr_fp64", any(d is dtypes.float64 for d in used_dtypes(self.nest))),
                ("cl_khr_int64_base_atomics", any("atom_" in h for h in self.own_helpers.values())),
            )
            if wanted
        ]
        text = "\n".join(
            [
                *self.legend(),
                "",
                *extensions,
                "#pragma OPENCL FP_CONTRACT OFF",
                "",
                *helpers,
                *([""] if helpers else []),
                functions,
            ]
        )
        uses = tuple(
            BufferUse(a.name, a.dtype, a.size, access)
            for a, access in zip(self.nest.parameters, self.nest.access, strict=True)
        )
        temporaries = tuple(max(1, a.size) * a.dtype.itemsize for a in self.temporaries)
        return Source(
            "opencl",
            self.nest.name,
            text,
            uses,
            phases,
            temporaries,
            flops=self.nest.flops,
            bytes_moved=self.nest.bytes_moved,
        )


_STATEMENTS = {
    Let: "let",
    Store: "store",
    Accumulate: "accumulate",
    Loop: "loop",
    If: "branch",
    Barrier: "barrier",
}


def _index_type(v: Var) -> str:
    return "int" if v.extent < INT_LIMIT else "long"


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
    count, most = len(nest.parameters), target.max_parameters
    assert count <= most, f"{nest.name} takes {count} buffers, {device_name(target)} at most {most}"
    for d in used_dtypes(nest):
        if target.dtypes and d.name not in target.dtypes:
            raise DTypeError(
                f"[{nest.name}] {device_name(target)} has no {d.name}: convert to "
                f"{_INSTEAD.get(d.name, 'int32')} before, or use DEVICE=CPU"
            )


def render(nest: LoopNest, target: Target) -> Source:
    """A nest as OpenCL C. Raises DTypeError where the device lacks a dtype or an atomic operation of the
    nest."""
    check(nest, target)
    return _Renderer(nest, target).source()
