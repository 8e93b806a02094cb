"""LLVM IR as text: a builder for functions, and a module that collects declarations, tables and attributes.

`Module` holds functions and constants and prints them; `Builder` appends instructions to one function.
`load` and `store` translate between a dtype's forms in memory and in registers (llvm_values).
`convert` casts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, zip_longest

from lazygrad.codegen.llvm_instructions import Abilities
from lazygrad.codegen.llvm_portable import Portable
from lazygrad.codegen.llvm_values import (
    TYPE_BYTES,
    Number,
    Value,
    constant,
    is_float,
    mangled,
    memory_type,
    register_type,
    scalar_text,
    type_text,
)
from lazygrad.dtypes import DType, bfloat16, bool_, float16, float32, float64


@dataclass
class Module:
    """One LLVM module: globals, functions, and what they need declared. `text()` prints it."""

    header: str = ""  # printed first, as comments: the legend
    function_attributes: str = "nounwind"  # e.g. '"prefer-vector-width"="512"' and its sibling
    abilities: Abilities = Abilities()
    inlined: Counter[str] = field(default_factory=Counter)  # lines of what is written where it is used
    _functions: list[Builder] = field(default_factory=list)
    _declarations: dict[str, str] = field(default_factory=dict)
    _globals: dict[str, str] = field(default_factory=dict)
    _loops: list[bool] = field(default_factory=list)  # per loop: may LLVM unroll it

    def function(
        self,
        name: str,
        parameters: Sequence[tuple[str, str]],
        result: str = "void",
        attributes: str = "",
        linkage: str = "",
    ) -> Builder:
        """A new function; `parameters` are (name, LLVM type with attributes, such as "ptr noalias")."""
        builder = Builder(self, name, tuple(parameters), f"{linkage} {result}".strip(), attributes)
        self._functions.append(builder)
        return builder

    def has_function(self, name: str) -> bool:
        return any(function.name == name for function in self._functions)

    def declare(self, name: str, result: str, parameters: Iterable[str]) -> None:
        self._declarations.setdefault(name, f"declare {result} @{name}({', '.join(parameters)})")

    def table(self, name: str, type_: str, numbers: Sequence[Number]) -> Value:
        """A constant array, 64-byte aligned; the pointer to it. The same name must mean the same numbers."""
        cells = ", ".join(f"{type_} {scalar_text(type_, n)}" for n in numbers)
        line = f"@{name} = private unnamed_addr constant [{len(numbers)} x {type_}] [{cells}], align 64"
        assert self._globals.setdefault(name, line) == line, name
        return Value(f"@{name}", "ptr")

    def loop_mark(self, unroll: bool) -> str:
        """Metadata for a back edge: LLVM must not vectorize the loop again, and unroll it only if told."""
        self._loops.append(unroll)
        return f", !llvm.loop !{len(self._loops) + 1}"

    def text(self) -> str:
        parts = [f"; {line}".rstrip() for line in self.header.splitlines()]
        parts += self._globals.values()
        parts += [f"\n{function.text()}" for function in self._functions]
        parts += ["", *self._declarations.values()]
        parts += [f"\nattributes #0 = {{ {self.function_attributes} }}"]
        if self._loops:
            parts += [
                '!0 = !{!"llvm.loop.vectorize.enable", i1 false}',
                '!1 = !{!"llvm.loop.unroll.disable"}',
            ]
        for node, unroll in enumerate(self._loops, 2):
            parts.append(f"!{node} = distinct !{{!{node}, !0{'' if unroll else ', !1'}}}")
        return "\n".join(parts) + "\n"


@dataclass(frozen=True)
class Label:
    """A basic block's name."""

    name: str

    def __str__(self) -> str:
        return f"label %{self.name}"


@dataclass(frozen=True)
class Loop:
    """An open loop: its index and the values carried round it (their last values once it has ended)."""

    index: Value
    carried: tuple[Value, ...]
    head: Label
    exit: Label
    step: Value
    phi_lines: tuple[int, ...]
    unroll: bool


def _parameter(name: str, type_: str) -> Value:
    """The Value of a parameter: "<16 x float>", "i64" or "ptr noalias"."""
    if not type_.startswith("<"):
        return Value(f"%{name}", type_.split()[0])
    lanes, _, scalar = type_[1 : type_.index(">")].split()
    return Value(f"%{name}", scalar, int(lanes))


class Builder(Portable):
    """Appends instructions to one function; every method that computes returns the result's Value."""

    def __init__(
        self, module: Module, name: str, parameters: tuple[tuple[str, str], ...], result: str, attributes: str
    ) -> None:
        super().__init__(module.abilities, module.declare)
        self.module, self.name, self.result, self.attributes = module, name, result, attributes
        self.parameter_texts = [f"{type_} %{parameter}" for parameter, type_ in parameters]
        self.parameters = tuple(_parameter(name, type_) for name, type_ in parameters)
        self.entry_lines: list[str] = []
        self.block = Label("entry")
        self._used |= {parameter: 1 for parameter, _ in parameters}

    def text(self) -> str:
        head = f"define {self.result} @{self.name}({', '.join(self.parameter_texts)}) {self.attributes} #0 {{"
        return "\n".join([head.replace("  ", " "), "entry:", *self.entry_lines, *self.lines, "}"])

    # ---- dtypes

    def convert(self, x: Value, source: DType, to: DType, name: str = "") -> Value:
        """x, a value of dtype `source` in register form, rounded, extended or cut to dtype `to`.

        Not from floats to integers: what happens out of range is a matter of the language, not of LLVM.
        """
        assert source.kind != "float" or not to.is_integer, (source, to)
        if source is to:
            return x
        if to is bool_:
            x = self.fpext(x, "float") if x.type == "half" else x
            return self.fcmp("une", x, 0, name) if is_float(x.type) else self.icmp("ne", x, 0, name)
        if to.kind != "float":
            return self.resize(x, register_type(to), source.kind == "int", name)
        if source.kind != "float":
            x = (self.sitofp if source.kind == "int" else self.uitofp)(
                x, "double" if to is float64 else "float"
            )
        return self._float_to_float(x, to)

    def _float_to_float(self, x: Value, to: DType) -> Value:
        if to is float64:
            x = self.fpext(x, "float") if x.type == "half" else x
            return self.fpext(x, "double") if x.type == "float" else x
        if to is float16 and x.type == "double":
            x = self.round_to_odd(x)
        if x.type == "double":
            x = self.fptrunc(x, "float")
        if x.type == "half":
            x = self.fpext(x, "float")
        return x if to is float32 else self.fptrunc(x, "half") if to is float16 else self.round_bfloat16(x)

    def round_to_odd(self, x: Value) -> Value:
        """A double cut to float's digits, the lost ones folded into the last: rounding again is exact."""
        bits = self.bits(x)
        lost = self.icmp("ne", self.and_(bits, (1 << 29) - 1), 0)
        sticky = self.shl(self.zext(lost, "i64"), 29)
        return self.bitcast(self.or_(self.and_(bits, -1 << 29), sticky), "double")

    def round_bfloat16(self, x: Value) -> Value:
        """A float rounded to the nearest that bfloat16 holds, ties to even; NaN stays NaN."""
        bits = self.bits(x)
        even = self.and_(self.lshr(bits, 16), 1)
        rounded = self.and_(self.add(self.add(bits, 0x7FFF), even), -1 << 16)
        quiet = self.and_(self.or_(bits, 0x400000), -1 << 16)
        return self.bitcast(self.select(self.fcmp("uno", x, x), quiet, rounded), "float")

    def to_memory(self, x: Value, d: DType) -> Value:
        """A value's register form as its memory form."""
        if d is bool_:
            return self.zext(x, "i8")
        return self.truncate(self.lshr(self.bits(self.round_bfloat16(x)), 16), "i16") if d is bfloat16 else x

    def from_memory(self, x: Value, d: DType, name: str = "") -> Value:
        """A value's memory form as its register form."""
        if d is bool_:
            return self.icmp("ne", x, 0, name)
        return self.bitcast(self.shl(self.zext(x, "i32"), 16), "float", name) if d is bfloat16 else x

    # ---- memory

    def element(self, pointer: Value, type_: str, index: Value | int, name: str = "") -> Value:
        """The address of element `index` of an array of `type_`; a vector of them for a vector of indices."""
        index = self.like(Value("", "i64"), index)
        return self.emit(f"getelementptr inbounds {type_}, {pointer}, {index}", "ptr", index.lanes, name)

    def load_raw(self, pointer: Value, type_: str, lanes: int = 0, align: int = 0, name: str = "") -> Value:
        """Load neighbours. `align` in bytes, 0: that of one element."""
        align = align or TYPE_BYTES[type_]
        return self.emit(f"load {type_text(type_, lanes)}, {pointer}, align {align}", type_, lanes, name)

    def store_raw(self, x: Value, pointer: Value, align: int = 0) -> None:
        self.statement(f"store {x}, {pointer}, align {align or TYPE_BYTES[x.type]}")

    def load(
        self,
        pointer: Value,
        d: DType,
        lanes: int = 0,
        mask: Value | None = None,
        align: int = 0,
        name: str = "",
    ) -> Value:
        """`lanes` neighbouring values of `d`; if `pointer` is a vector, one gathered from each address.

        Lanes whose mask is false touch no memory and give zero. A scalar takes no mask: guard it by a branch.
        """
        type_, align = memory_type(d), align or d.itemsize
        lanes = pointer.lanes or lanes
        if pointer.lanes == 0 and mask is None:
            raw = self.load_raw(pointer, type_, lanes, align, name if type_ == register_type(d) else "")
            return self.from_memory(raw, d, name)
        assert lanes, "a masked load is a vector's"
        kind = "masked.gather" if pointer.lanes else "masked.load"
        mangling = f"{mangled(type_, lanes)}.{mangled('ptr', pointer.lanes)}"
        mask = mask or constant("i1", True, lanes)
        arguments = (pointer, constant("i32", align), mask, constant(type_, 0, lanes))
        raw = self.intrinsic(kind, type_, lanes, arguments, mangling)
        return self.from_memory(raw, d, name)

    def store(self, x: Value, pointer: Value, d: DType, mask: Value | None = None, align: int = 0) -> None:
        """Store values of `d` at neighbouring addresses; scatter them if `pointer` is a vector."""
        x, align = self.to_memory(x, d), align or d.itemsize
        if pointer.lanes == 0 and mask is None:
            return self.store_raw(x, pointer, align)
        assert x.lanes, "a masked store is a vector's"
        kind = "masked.scatter" if pointer.lanes else "masked.store"
        mangling = f"{mangled(x.type, x.lanes)}.{mangled('ptr', pointer.lanes)}"
        if self.abilities.narrows and x.type in ("i8", "i16") and not pointer.lanes:
            x = self._apart(x)
        mask = mask or constant("i1", True, x.lanes)
        self.intrinsic(kind, "void", 0, (x, pointer, constant("i32", align), mask), mangling)

    def _apart(self, x: Value) -> Value:
        # truncated out of sight: on Zen 4 a masked vpmovdw wrote the next element back as it had been read
        if (bits := x.lanes * int(x.type[1:])) not in (32, 64, 128, 256, 512):
            return x
        kind, register = (f"i{bits}", "r") if bits <= 64 else (f"<{bits // 32} x i32>", "v")
        whole = self.emit(f"bitcast {x} to {kind}", kind)
        whole = self.emit(f'call {kind} asm "", "={register},0"({whole})', kind)
        return self.emit(f"bitcast {whole} to {x.text}", x.type, x.lanes)

    def alloca(self, type_: str, count: int = 1, align: int = 64, name: str = "local") -> Value:
        """Stack memory for `count` elements, made once in the entry block."""
        value = Value(f"%{self._fresh(name)}", "ptr")
        self.entry_lines.append(f"  {value.name} = alloca [{count} x {type_}], align {align}")
        return value

    # ---- control flow

    def label(self, hint: str = "block") -> Label:
        return Label(self._fresh(hint))

    def abreast(self, parts: Sequence[Callable[[], Value]]) -> list[Value]:
        """What each part gives, their instructions in turn: long chains of one part after the other would
        fill the processor's queues with instructions that wait."""
        first, block = len(self.lines), self.block
        results: list[Value] = []
        bounds = [first]
        for part in parts:
            results.append(part())
            bounds.append(len(self.lines))
        if self.block == block and len(self.lines) - first > len(parts):
            pieces = [self.lines[a:b] for a, b in pairwise(bounds)]
            self.lines[first:] = [line for row in zip_longest(*pieces) for line in row if line is not None]
        return results

    def place(self, label: Label) -> None:
        """Start the block `label`; the block before must have ended in a branch."""
        self.block = label
        self.lines.append(f"{label.name}:")

    def branch(self, label: Label, mark: str = "") -> None:
        self.statement(f"br {label}{mark}")

    def branch_if(self, condition: Value, yes: Label, no: Label) -> None:
        assert condition.lanes == 0, condition
        self.statement(f"br {condition}, {yes}, {no}")

    def phi(self, incoming: Sequence[tuple[Value, Label]], name: str = "") -> Value:
        first = incoming[0][0]
        edges = ", ".join(f"[ {value.name}, %{label.name} ]" for value, label in incoming)
        return self.emit(f"phi {first.text} {edges}", first.type, first.lanes, name)

    def begin_loop(
        self,
        name: str,
        begin: Value | int,
        end: Value | int,
        step: int = 1,
        carried: Sequence[Value] = (),
        names: Sequence[str] = (),
        unroll: bool = False,
    ) -> Loop:
        """Open `for name in range(begin, end, step)` over i64; `carried` go round it (accumulators).

        Use `loop.index` and `loop.carried` in the body and close it with `end_loop`.
        """
        model = Value("", "i64")
        begin, end, before = self.like(model, begin), self.like(model, end), self.block
        head, body, leave = (self.label(f"{name}_{part}") for part in ("loop", "body", "exit"))
        self.branch(head)
        self.place(head)
        phi_lines = tuple(range(len(self.lines), len(self.lines) + 1 + len(carried)))
        hints = list(names) or [f"{name}_carried"] * len(carried)
        index, *values = (
            self.phi([(value, before)], hint)
            for value, hint in zip((begin, *carried), (name, *hints), strict=True)
        )
        self.branch_if(self.icmp("slt", index, end), body, leave)
        self.place(body)
        return Loop(index, tuple(values), head, leave, self.like(model, step), phi_lines, unroll)

    def end_loop(self, loop: Loop, carried: Sequence[Value] = ()) -> tuple[Value, ...]:
        """Close a loop with the values for its next turn; returns the carried values after the last one."""
        following = self.add(loop.index, loop.step, f"{loop.index.name[1:]}.next", "nsw")
        for line, value in zip(loop.phi_lines, (following, *carried), strict=True):
            self.lines[line] += f", [ {value.name}, %{self.block.name} ]"
        self.branch(loop.head, self.module.loop_mark(loop.unroll))
        self.place(loop.exit)
        return loop.carried

    def ret(self, x: Value | None = None) -> None:
        self.statement(f"ret {x}" if x else "ret void")
