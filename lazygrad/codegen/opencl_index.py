"""Names and index expressions of a kernel in OpenCL C."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from lazygrad import expr
from lazygrad.codegen.opencl_prelude import HELPERS
from lazygrad.expr import Atom, Dynamic, Expr, Guard, Quotient, Remainder, Var
from lazygrad.ops.table import OPS

INT_LIMIT = 1 << 31
_KEYWORDS = """
    auto break case char const constant continue default do double else enum event_t extern float for global
    goto half if image2d_t inline int kernel local long pipe private read_only read_write register restrict
    return sampler_t short signed sizeof size_t static struct switch typedef uchar uint ulong union unsigned
    ushort void volatile while write_only barrier bool true false rint fabs isnan copysign fma rotate min max
    select
"""
# Words that a kernel may not use as a name of its own: keywords, types, and functions that expressions call.
_RESERVED = frozenset((*OPS, *HELPERS, *_KEYWORDS.split()))


class Names:
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


def _fits_int(e: Expr) -> bool:
    """True where e and all its partial sums and products fit 32 bits."""
    total = abs(e.constant)
    for atom, factor in e.terms:
        total += abs(factor) * max(1, abs(atom.bounds[0]), abs(atom.bounds[1]))
    return total < INT_LIMIT


class IndexText:
    """Writes index expressions and guards; `known` are guards that hold where it writes."""

    def __init__(self) -> None:
        self.names = Names()
        self.known: frozenset[Guard] = frozenset()

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
            fits = max(abs(b) for b in atom.bounds) < INT_LIMIT
            return f"({'long' if wide or not fits else 'int'}){self.names.of('value', atom.name)}"
        base = self.expression(atom.base)
        kind = "int" if _fits_int(atom.base) and atom.divisor < INT_LIMIT else "long"
        return (
            f"(long){self.division(atom, base, kind)}"
            if wide and kind == "int"
            else self.division(atom, base, kind)
        )

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
