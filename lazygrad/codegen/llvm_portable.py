"""What a processor lacks, made of what it has: each method is one instruction where `Abilities` says so.

x86-64 has fused multiply-adds and conversions of float16 since AVX2's time only, rounding to whole numbers
since SSE4.1; LLVM would call a C library for each lane.
"""

from __future__ import annotations

from lazygrad.codegen.llvm_instructions import Instructions
from lazygrad.codegen.llvm_values import Number, Value

_DIGITS = {"float": 23, "double": 52}
_SPLITTER = 2.0**27 + 1  # cuts a double in two of half the digits


class Portable(Instructions):
    """Instructions that every processor has in one form or another."""

    # ---- multiply-adds

    def fma(self, x: Value, y: Value | Number, z: Value | Number, name: str = "") -> Value:
        """x * y + z, rounded once where the processor can, else twice."""
        if self.abilities.fuses:
            return super().fma(x, y, z, name=name)
        return self.fadd(self.fmul(x, y), z, name)

    def fused(self, x: Value, y: Value | Number, z: Value | Number) -> Value:
        """x * y + z rounded once, on all processors: the error of a product is fused(x, y, -product)."""
        if self.abilities.fuses:
            return super().fma(x, y, z)
        y, z = self.like(x, y), self.like(x, z)
        if x.type == "float":  # a double holds the product of two floats
            wide, by, plus = (self.fpext(v, "double") for v in (x, y, z))
            return self.fptrunc(self.fadd(self.fmul(wide, by), plus), "float")
        product, lost = self._whole_product(x, y)
        total = self.fadd(product, z)
        shift = self.fsub(total, product)
        rest = self.fadd(self.fsub(product, self.fsub(total, shift)), self.fsub(z, shift))
        return self.fadd(total, self.fadd(rest, lost))

    def _whole_product(self, x: Value, y: Value) -> tuple[Value, Value]:
        """x * y as a sum of two doubles (Dekker); neither factor may be beyond 2^996."""
        product = self.fmul(x, y)
        (a, b), (c, d) = self._halves(x), self._halves(y)
        lost = self.fsub(self.fmul(a, c), product)
        lost = self.fadd(self.fadd(lost, self.fmul(a, d)), self.fmul(b, c))
        return product, self.fadd(lost, self.fmul(b, d))

    def _halves(self, x: Value) -> tuple[Value, Value]:
        scaled = self.fmul(x, _SPLITTER)
        high = self.fsub(scaled, self.fsub(scaled, x))
        return high, self.fsub(x, high)

    # ---- whole numbers

    def roundeven(self, x: Value, name: str = "") -> Value:
        """The nearest whole number, ties to even."""
        return super().roundeven(x, name=name) if self.abilities.rounds else self._with_sign(x, self._near(x))

    def trunc(self, x: Value, name: str = "") -> Value:
        """The next whole number towards zero."""
        if self.abilities.rounds:
            return super().trunc(x, name=name)
        a, near = self.fabs(x), self._near(x)
        return self._with_sign(x, self.select(self.fcmp("ogt", near, a), self.fsub(near, 1.0), near))

    def floor(self, x: Value, name: str = "") -> Value:
        """The next whole number below."""
        if self.abilities.rounds:
            return super().floor(x, name=name)
        near = self._with_sign(x, self._near(x))
        return self._with_sign(x, self.select(self.fcmp("ogt", near, x), self.fsub(near, 1.0), near))

    def ceil(self, x: Value, name: str = "") -> Value:
        """The next whole number above."""
        if self.abilities.rounds:
            return super().ceil(x, name=name)
        near = self._with_sign(x, self._near(x))
        return self._with_sign(x, self.select(self.fcmp("olt", near, x), self.fadd(near, 1.0), near))

    def _near(self, x: Value) -> Value:
        """|x| rounded to a whole number, by a sum that has no digits behind the point."""
        a, end = self.fabs(x), 2.0 ** _DIGITS[x.type]
        return self.select(self.fcmp("olt", a, end), self.fsub(self.fadd(a, end), end), a)

    def _with_sign(self, x: Value, result: Value) -> Value:
        return self.copysign(result, x)

    # ---- float16

    def fpext(self, x: Value, type_: str, name: str = "") -> Value:
        """A float as a wider float type."""
        if x.type != "half" or self.abilities.halves:
            return super().fpext(x, type_, name)
        bits = self.zext(self.bitcast(x, "i16"), "i32")
        sign = self.shl(self.and_(bits, 0x8000), 16)
        moved = self.shl(self.and_(bits, 0x7FFF), 13)
        exponent = self.and_(moved, 0x1F << 23)
        normal = self.add(moved, (127 - 15) << 23)
        # infinities and NaN; and numbers below the normal ones, which count units of 2^-24
        large = self.add(moved, (255 - 31) << 23)
        least = self.bitcast(self.const("i32", (127 - 14) << 23, x.lanes), "float")
        small = self.bits(self.fsub(self.bitcast(self.add(normal, 1 << 23), "float"), least))
        whole = self.select(self.icmp("eq", exponent, 0x1F << 23), large,
                            self.select(self.icmp("eq", exponent, 0), small, normal))
        result = self.bitcast(self.or_(whole, sign), "float", name)
        return result if type_ == "float" else super().fpext(result, type_)

    def fptrunc(self, x: Value, type_: str, name: str = "") -> Value:
        """A float rounded to a narrower float type."""
        if type_ != "half" or self.abilities.halves:
            return super().fptrunc(x, type_, name)
        assert x.type == "float", x
        bits = self.bits(x)
        sign, a = self.lshr(self.and_(bits, -1 << 31), 16), self.and_(bits, 0x7FFFFFFF)
        odd = self.and_(self.lshr(a, 13), 1)
        normal = self.lshr(self.add(self.add(a, odd), ((15 - 127) << 23) + 0xFFF), 13)
        # numbers below the normal ones of float16 are rounded by a sum whose last digit is theirs
        magic = (127 - 15 + 23 - 10 + 1) << 23
        rounder = self.bitcast(self.const("i32", magic, x.lanes), "float")
        small = self.sub(self.bits(self.fadd(self.bitcast(a, "float"), rounder)), magic)
        nan = self.or_(self.and_(self.lshr(a, 13), 0x3FF), 0x7E00)
        large = self.select(self.icmp("sgt", a, 0xFF << 23), nan, 0x7C00)
        result = self.select(self.icmp("slt", a, (127 - 14) << 23), small, normal)
        result = self.select(self.icmp("sge", a, (127 + 16) << 23), large, result)
        return self.bitcast(self.truncate(self.or_(result, sign), "i16"), "half", name)
