"""LLVM instructions as methods: each appends a line and returns the Value that it computes.

Where an operation takes two values, a Python number may stand for the second: a constant of the first one's
type. `Instructions` appends lines; blocks, memory and functions are the builder's (llvm_builder).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lazygrad.codegen.llvm_values import (
    Number,
    Value,
    constant,
    constant_vector,
    integer_type,
    mangled,
    type_text,
)


@dataclass(frozen=True)
class Abilities:
    """What a processor does in one instruction; where it does not, other arithmetic stands for it."""

    fuses: bool = True  # multiply-adds that round once
    rounds: bool = True  # floats to whole numbers
    halves: bool = True  # conversions between float16 and float32
    scales: bool = False  # multiplying floats of every vector width by powers of two
    narrows: bool = False  # truncating and storing under a mask


def _binary(op: str) -> Callable[..., Value]:
    def emit(self: Instructions, x: Value, y: Value | Number, name: str = "", flags: str = "") -> Value:
        y = self.like(x, y)
        assert (x.type, x.lanes) == (y.type, y.lanes), (op, x, y)
        return self.emit(f"{op} {flags + ' ' if flags else ''}{x}, {y.name}", x.type, x.lanes, name)

    return emit


def _cast(op: str) -> Callable[..., Value]:
    def emit(self: Instructions, x: Value, type_: str, name: str = "") -> Value:
        return self.emit(f"{op} {x} to {type_text(type_, x.lanes)}", type_, x.lanes, name)

    return emit


def _intrinsic(op: str, extra: str = "") -> Callable[..., Value]:
    def emit(self: Instructions, x: Value, *others: Value | Number, name: str = "") -> Value:
        arguments = (x, *(self.like(x, other) for other in others))
        trailing = (Value(extra, "i1"),) if extra else ()
        return self.intrinsic(op, x.type, x.lanes, (*arguments, *trailing), name=name)

    return emit


class Instructions:
    """Operations on vectors or scalars of one type; `name` is a hint that makes the text readable.

    `declare` takes the name, result type and parameter types of an intrinsic.
    """

    def __init__(self, abilities: Abilities, declare: Callable[[str, str, list[str]], None]) -> None:
        self.abilities, self.declare = abilities, declare
        self.lines: list[str] = []
        self._used: dict[str, int] = {"entry": 1}

    # ---- text

    def _fresh(self, hint: str) -> str:
        hint = hint or "t"
        count = self._used.get(hint, 0)
        self._used[hint] = count + 1
        return f"{hint}.{count}" if count or hint == "t" else hint

    def emit(self, text: str, type_: str, lanes: int = 0, name: str = "") -> Value:
        """Append `%fresh = text`; the escape hatch for what has no method."""
        value = Value(f"%{self._fresh(name)}", type_, lanes)
        self.lines.append(f"  {value.name} = {text}")
        return value

    def statement(self, text: str) -> None:
        self.lines.append(f"  {text}")

    def comment(self, text: str) -> None:
        self.lines.append(f"  ; {text}")

    # ---- constants and lanes

    def const(self, type_: str, number: Number, lanes: int = 0) -> Value:
        return constant(type_, number, lanes)

    def like(self, x: Value, number: Value | Number) -> Value:
        """A number as a constant of x's type and lanes; a Value as it is."""
        return number if isinstance(number, Value) else constant(x.type, number, x.lanes)

    def lane_numbers(self, type_: str, lanes: int) -> Value:
        """The constant vector 0, 1, 2, ..."""
        return constant_vector(type_, range(lanes))

    def splat(self, x: Value, lanes: int, name: str = "") -> Value:
        """A scalar in every lane; x itself for lanes == 0."""
        assert x.lanes == 0, x
        if not lanes:
            return x
        if not x.name.startswith("%"):
            return Value(f"splat ({x.type} {x.name})", x.type, lanes)
        first = self.emit(f"insertelement {type_text(x.type, lanes)} poison, {x}, i64 0", x.type, lanes)
        return self.shuffle(first, first, [0] * lanes, name)

    def extract(self, x: Value, lane: Value | int, name: str = "") -> Value:
        return self.emit(f"extractelement {x}, {self.like(Value('', 'i64'), lane)}", x.type, 0, name)

    def insert(self, x: Value, scalar: Value, lane: Value | int, name: str = "") -> Value:
        lane = self.like(Value("", "i64"), lane)
        return self.emit(f"insertelement {x}, {scalar}, {lane}", x.type, x.lanes, name)

    def shuffle(self, x: Value, y: Value, lanes: Sequence[int], name: str = "") -> Value:
        """Lanes of x (0 ..) and y (x.lanes ..) by number."""
        picks = constant_vector("i32", lanes)
        return self.emit(f"shufflevector {x}, {y}, {picks}", x.type, len(lanes), name)

    def fold_lanes(self, combine: Callable[[Value, Value], Value], x: Value) -> Value:
        """All lanes of x combined into a scalar, in a tree of halves; x itself if it is a scalar."""
        while x.lanes > 1:
            assert x.lanes % 2 == 0, x
            half = x.lanes // 2
            low, high = (self.shuffle(x, x, range(start, start + half)) for start in (0, half))
            x = combine(low, high)
        return self.extract(x, 0) if x.lanes else x

    def any_lane(self, x: Value, name: str = "") -> Value:
        """Whether an i1 is true in any lane, as a scalar."""
        if not x.lanes:
            return x
        return self.intrinsic("vector.reduce.or", "i1", 0, (x,), mangled("i1", x.lanes), name)

    # ---- arithmetic

    fadd, fsub, fmul, fdiv, frem = (_binary(op) for op in ("fadd", "fsub", "fmul", "fdiv", "frem"))
    add, sub, mul, sdiv, udiv = (_binary(op) for op in ("add", "sub", "mul", "sdiv", "udiv"))
    srem, urem, and_, or_, xor = (_binary(op) for op in ("srem", "urem", "and", "or", "xor"))
    shl, lshr, ashr = (_binary(op) for op in ("shl", "lshr", "ashr"))
    fma, sqrt, fabs, copysign = (_intrinsic(op) for op in ("fma", "sqrt", "fabs", "copysign"))
    floor, ceil, trunc, roundeven = (_intrinsic(op) for op in ("floor", "ceil", "trunc", "roundeven"))
    smin, smax, umin, umax = (_intrinsic(op) for op in ("smin", "smax", "umin", "umax"))
    fminimum, fmaximum = (_intrinsic(op) for op in ("minimum", "maximum"))  # NaN wins, -0 < +0
    fminnum, fmaxnum = (_intrinsic(op) for op in ("minnum", "maxnum"))  # numbers win over NaN
    popcount = _intrinsic("ctpop")
    count_leading_zeros, count_trailing_zeros = (_intrinsic(op, "false") for op in ("ctlz", "cttz"))

    def fneg(self, x: Value, name: str = "") -> Value:
        return self.emit(f"fneg {x}", x.type, x.lanes, name)

    def neg(self, x: Value, name: str = "") -> Value:
        return self.emit(f"sub {x.text} {constant(x.type, 0, x.lanes).name}, {x.name}", x.type, x.lanes, name)

    def not_(self, x: Value, name: str = "") -> Value:
        return self.xor(x, 1 if x.type == "i1" else -1, name)

    def fcmp(self, predicate: str, x: Value, y: Value | Number, name: str = "") -> Value:
        """Predicates as LLVM spells them: oeq olt ole ogt oge one ord, and une ult ... uno with NaN true."""
        return self.emit(f"fcmp {predicate} {x}, {self.like(x, y).name}", "i1", x.lanes, name)

    def icmp(self, predicate: str, x: Value, y: Value | Number, name: str = "") -> Value:
        """Predicates: eq ne slt sle sgt sge ult ule ugt uge."""
        return self.emit(f"icmp {predicate} {x}, {self.like(x, y).name}", "i1", x.lanes, name)

    def select(self, condition: Value, x: Value | Number, y: Value | Number, name: str = "") -> Value:
        """x where the condition holds, else y; one of them must be a Value."""
        model = x if isinstance(x, Value) else y
        assert isinstance(model, Value)
        x, y = self.like(model, x), self.like(model, y)
        assert (x.type, x.lanes) == (y.type, y.lanes) and condition.type == "i1", (condition, x, y)
        return self.emit(f"select {condition}, {x}, {y}", x.type, x.lanes, name)

    def freeze(self, x: Value, name: str = "") -> Value:
        return self.emit(f"freeze {x}", x.type, x.lanes, name)

    # ---- casts

    truncate, zext, sext, fptrunc, fpext = (_cast(op) for op in ("trunc", "zext", "sext", "fptrunc", "fpext"))
    fptosi, sitofp, uitofp, bitcast = (_cast(op) for op in ("fptosi", "sitofp", "uitofp", "bitcast"))
    ptrtoint, inttoptr = (_cast(op) for op in ("ptrtoint", "inttoptr"))

    def bits(self, x: Value) -> Value:
        """A float's bits as an integer of its width."""
        return self.bitcast(x, integer_type(x.type))

    def resize(self, x: Value, type_: str, signed: bool = True, name: str = "") -> Value:
        """An integer as another integer type: extended or cut."""
        have, want = int(x.type[1:]), int(type_[1:])
        if have == want:
            return x
        cast = self.truncate if have > want else self.sext if signed else self.zext
        return cast(x, type_, name)

    # ---- calls

    def call(
        self, function: str, result: str, arguments: Sequence[Value], lanes: int = 0, name: str = ""
    ) -> Value:
        """Call a function by name; a void call returns a Value that nobody may use."""
        text = f"call {type_text(result, lanes)} @{function}({', '.join(map(str, arguments))})"
        if result != "void":
            return self.emit(text, result, lanes, name)
        self.statement(text)
        return Value("", "void")

    def intrinsic(
        self, op: str, result: str, lanes: int, arguments: Sequence[Value], mangling: str = "", name: str = ""
    ) -> Value:
        """Call @llvm.op, declared on the module; `mangling` is by default the result's type."""
        function = f"llvm.{op}.{mangling or mangled(result, lanes)}"
        self.declare(function, type_text(result, lanes), [argument.text for argument in arguments])
        return self.call(function, result, arguments, lanes, name)
