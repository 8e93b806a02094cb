"""Atomic updates in OpenCL C: native, or by exchanging a word until nobody else came between."""

from __future__ import annotations

from lazygrad import dtypes
from lazygrad.codegen.opencl_prelude import C_TYPE, MEMORY_TYPE, spell
from lazygrad.dtypes import DType

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
        setup = (
            f"  volatile {space} {unsigned} *element = (volatile {space} {unsigned} *)array + index;\n"
            f"  const uint shift = 8 * ((size_t)element & 3);\n"
        )
        address = f"(volatile {space} uint *)((size_t)element & ~(size_t)3)"
        old_bits, shift = f"({unsigned})(seen >> shift)", " << shift"
    unsigned_type = dtypes.BY_NAME[f"uint{d.bits}"]
    new = spell(combine, d, d, spell("bitcast", unsigned_type, d, old_bits), "value")
    bits = spell("bitcast", d, unsigned_type, new)
    if d.itemsize < 4:
        mask = f"{(1 << d.bits) - 1}u << shift"
        bits = f"(seen & ~({mask})) | ((uint){bits}{shift})"
    return (
        head
        + setup
        + f"""  volatile {space} {word} *word = {address};
  {word} seen = *word, expected;
  do {{
    expected = seen;
    seen = {exchange}(word, expected, {bits});
  }} while (seen != expected);
}}"""
    )
