"""Runs AArch64 object code in this process, in the emulator unicorn, on this process's own memory."""

import struct
from pathlib import Path

import unicorn
from unicorn import arm64_const as arm

PAGE = 4096
CODE, CODE_BYTES = 0x100000, 1 << 20
STACK, STACK_BYTES = 0x400000, 1 << 20
RETURN = CODE + CODE_BYTES - PAGE  # where functions return to: the emulation ends there
MASK = (1 << 64) - 1
READ_AND_WRITE = unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE


class Sections:
    """The parts of an ELF object file: loaded bytes, relocations, symbols."""

    def __init__(self, content: bytes) -> None:
        start, entry, count = (struct.unpack_from(form, content, at)[0]
                               for form, at in (("<Q", 0x28), ("<H", 0x3A), ("<H", 0x3C)))
        self.content = content
        self.headers = [struct.unpack_from("<IIQQQQIIQQ", content, start + entry * n) for n in range(count)]
        self.places: dict[int, int] = {}  # of sections that are loaded
        end = CODE
        for number, (_, kind, flags, _, _, size, _, _, align, _) in enumerate(self.headers):
            if flags & 2 and kind != 8:  # allocated, with bytes in the file
                self.places[number] = end = -(-end // max(align, 1)) * max(align, 1)
                end += size
        self.symbols = self._symbols()

    def _symbols(self) -> list[tuple[str, int, int]]:
        """Name, section and address of each symbol."""
        found = []
        for _, kind, _, _, at, size, link, _, _, _ in self.headers:
            for offset in range(at, at + size, 24) if kind == 2 else ():
                name, _, _, section, value, _ = struct.unpack_from("<IBBHQQ", self.content, offset)
                names = self.headers[link][4]
                text = self.content[names + name : self.content.index(b"\0", names + name)].decode()
                found.append((text, section, self.places.get(section, 0) + value))
        return found

    def loaded(self) -> bytes:
        """All loaded sections, with their relocations done."""
        image = bytearray(CODE_BYTES)
        for number, place in self.places.items():
            at, size = self.headers[number][4:6]
            image[place - CODE : place - CODE + size] = self.content[at : at + size]
        for _, kind, _, _, at, size, _, section, _, _ in self.headers:
            for offset in range(at, at + size, 24) if kind == 4 and section in self.places else ():
                where, info, addend = struct.unpack_from("<QQq", self.content, offset)
                name, defined, address = self.symbols[info >> 32]
                assert defined, f"{name} is not in the object file"
                place = self.places[section] + where
                word = struct.unpack_from("<I", image, place - CODE)[0]
                word = RELOCATIONS[info & 0xFFFFFFFF](word, address + addend, place)
                struct.pack_into("<I", image, place - CODE, word & 0xFFFFFFFF)
        return bytes(image)


def _page(word: int, target: int, place: int) -> int:
    pages = (target >> 12) - (place >> 12)
    return word | (pages & 3) << 29 | (pages >> 2 & 0x7FFFF) << 5


# R_AARCH64_...: ADR_PREL_PG_HI21, ADD_ABS_LO12_NC, LDST8 to LDST128, CALL26, JUMP26
RELOCATIONS = {275: _page, 277: lambda word, target, place: word | (target & 0xFFF) << 10}
RELOCATIONS |= {kind: lambda word, target, place, shift=shift: word | (target & 0xFFF) >> shift << 10
                for kind, shift in ((278, 0), (284, 1), (285, 2), (286, 3), (299, 4))}
RELOCATIONS |= {kind: lambda word, target, place: word | (target - place >> 2) & 0x3FFFFFF
                for kind in (282, 283)}


class Emulator:
    """One object file, ready to be called."""

    def __init__(self, object_code: bytes) -> None:
        sections = Sections(object_code)
        self.functions = {name: address for name, section, address in sections.symbols if section}
        self.machine = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
        self.machine.ctl_set_cpu_model(arm.UC_CPU_ARM64_MAX)
        self.machine.mem_map(CODE, CODE_BYTES)
        self.machine.mem_write(CODE, sections.loaded())
        self.machine.mem_map(STACK, STACK_BYTES)
        self.machine.reg_write(arm.UC_ARM64_REG_CPACR_EL1, 3 << 20)  # vector registers are not trapped
        self.machine.hook_add(unicorn.UC_HOOK_MEM_UNMAPPED, self._lend)

    def _lend(
        self, machine: unicorn.Uc, access: int, address: int, size: int, value: int, data: object
    ) -> bool:
        """A page of this process at its own address; false where there is none."""
        for page in range(address // PAGE, (address + max(size, 1) - 1) // PAGE + 1):
            if not _is_ours(page * PAGE):
                return False
            try:
                machine.mem_map_ptr(page * PAGE, PAGE, READ_AND_WRITE, page * PAGE)
            except unicorn.UcError:  # the first of two pages is there already
                pass
        return True

    def call(self, function: str, *arguments: int) -> None:
        for number, argument in enumerate(arguments):
            self.machine.reg_write(arm.UC_ARM64_REG_X0 + number, argument & MASK)
        self.machine.reg_write(arm.UC_ARM64_REG_SP, STACK + STACK_BYTES - 64)
        self.machine.reg_write(arm.UC_ARM64_REG_X30, RETURN)
        self.machine.emu_start(self.functions[function], RETURN)


def _is_ours(address: int) -> bool:
    for line in Path("/proc/self/maps").read_text().splitlines():
        first, last = (int(end, 16) for end in line.split()[0].split("-"))
        if first <= address < last:
            return True
    return False
