"""The processor that kernels are compiled for: this one, or the one that the setting CPU names.

What a named processor can do is LLVM's own knowledge, which llvmlite does not show. But LLVM inlines a
function only into one whose processor has all features that it uses, so what it inlines tells the features.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import llvmlite.binding as llvm

from lazygrad import config
from lazygrad.dtypes import ALL
from lazygrad.errors import SettingError
from lazygrad.source import Target

HOST = "host"
# (feature, bytes of a vector register, number of them), the widest first
_VECTOR_UNITS = (("avx512f", 64, 32), ("avx", 32, 16), ("neon", 16, 32), ("sse2", 16, 16))
# what code may use of a processor; a host without it would stop at an illegal instruction
_INSTRUCTIONS = re.compile(
    r"(avx|sse|ssse|fma|f16c|bmi|popcnt|lzcnt|movbe|xop|tbm|amx|gfni|neon|sve|fullfp16|fp16fml|bf16|lse|"
    r"dotprod|i8mm|rcpc|rdm|crc)"
)
_ARM_FEATURES = (
    "neon", "fp-armv8", "fullfp16", "fp16fml", "bf16", "i8mm", "dotprod", "lse", "rcpc", "rdm", "crc",
    "sve", "sve2", "perfmon",
)  # fmt: skip
_EXAMPLES = {"x86_64": "x86-64, x86-64-v2, x86-64-v3, x86-64-v4, haswell", "aarch64": "generic, neoverse-n1"}


@lru_cache(maxsize=1)
def machine_target() -> llvm.Target:
    """LLVM's back end for the architecture of this machine."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_native_asmparser()  # a register may be hidden from LLVM by empty assembly
    return llvm.Target.from_triple(llvm.get_process_triple())


def is_arm(triple: str) -> bool:
    """Whether a triple names 64-bit ARM."""
    return triple.startswith(("aarch64", "arm64"))


@lru_cache(maxsize=64)
def processor_features(cpu: str, triple: str) -> frozenset[str]:
    """The features of a processor as LLVM names them; empty if LLVM does not know it (and says so)."""
    common, first, names = "fp-armv8", "", _ARM_FEATURES
    if not is_arm(triple):
        # without 64bit LLVM would end the process at a name that it does not know
        common, first, names = "cmov", "+64bit", tuple(sorted(llvm.get_host_cpu_features()))
    if not _inlined(cpu, triple, (common,), first):
        return frozenset()
    return _inlined(cpu, triple, names, first)


def _inlined(cpu: str, triple: str, names: Sequence[str], first: str) -> frozenset[str]:
    """Which of these features, in a function beside those of the processor, do not hinder inlining."""
    own = f'"target-cpu"="{cpu}" "target-features"="{first}'
    lines = [f'target triple = "{triple}"', "@used = external global i32"]
    for number, name in enumerate(names):
        lines.append(f'define internal void @has{number}() {own}{"," if first else ""}+{name}" {{')
        lines += [f"  store volatile i32 {number}, ptr @used", "  ret void", "}"]
    lines += [f'define void @all() {own}" {{', *(f"  call void @has{n}()" for n in range(len(names)))]
    module = llvm.parse_assembly("\n".join([*lines, "  ret void", "}"]))
    machine = llvm.Target.from_triple(triple).create_target_machine()
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=2))
    builder.getModulePassManager().run(module, builder)
    called = {int(number) for number in re.findall(r"call .*@has(\d+)\(\)", str(module))}
    return frozenset(name for number, name in enumerate(names) if number not in called)


@lru_cache(maxsize=1)
def host_features() -> frozenset[str]:
    """The features of this processor; on ARM also what its name implies, as systems tell a part only."""
    machine_target()
    found = frozenset(name for name, has in llvm.get_host_cpu_features().items() if has)
    triple = llvm.get_process_triple()
    return found | processor_features(llvm.get_host_cpu_name(), triple) if is_arm(triple) else found


def cpu_target(cpu: str = HOST, triple: str = "") -> Target:
    """A processor as a target, with this machine's caches and, as `threads`, its usable cores.

    `triple` names another architecture, for which code can be made, but not run. Raises SettingError for a
    name that LLVM does not know, and for a processor of this architecture that can do what the host cannot.
    """
    machine_target()
    cpu = cpu or HOST
    own = llvm.get_process_triple()
    triple = triple or own
    name = llvm.get_host_cpu_name() if cpu == HOST else cpu
    features = host_features() if cpu == HOST else processor_features(name, triple)
    if not features:
        examples = _EXAMPLES.get(platform.machine(), "")
        raise SettingError(f"[setting] CPU={cpu!r}: LLVM knows no such processor: host is this one"
                           + (f", others are {examples}" if examples else ""))
    if triple == own:
        missing = sorted(feature for feature in features - host_features() if _INSTRUCTIONS.match(feature))
        if missing:
            raise SettingError(f"[setting] CPU={cpu!r}: it has {', '.join(missing)}, and this processor"
                               f" ({llvm.get_host_cpu_name()}) has not: choose host, or an older one")
        features &= host_features()
    vector_bytes, registers = next((b, n) for unit, b, n in _VECTOR_UNITS if unit in features)
    return Target(
        name="CPU",
        language="llvm",
        cpu=name,
        features=",".join(sorted(_told(features, llvm.get_host_cpu_features() if triple == own else ()))),
        triple=triple,
        vector_bytes=vector_bytes,
        registers=registers,
        l1_bytes=cache_bytes(1, 32 << 10),
        l2_bytes=cache_bytes(2, 512 << 10),
        threads=usable_cores(),
        dtypes=frozenset(d.name for d in ALL),
        parts=True,
    )


def _told(features: Iterable[str], others: Iterable[str]) -> list[str]:
    """LLVM's words for having features, and for not having others."""
    names = set(features)
    return [f"+{name}" for name in names] + [f"-{name}" for name in others if name not in names]


@lru_cache(maxsize=16)
def _named_target(cpu: str) -> Target:
    return cpu_target(cpu)


def chosen_target() -> Target:
    """The target that the setting CPU names."""
    return _named_target(config.get("CPU"))


# ---- cores and caches


def usable_cores() -> int:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@lru_cache(maxsize=4)
def cache_bytes(level: int, default: int) -> int:
    """A core's share of the data cache of a level: its size over the cores that have it together."""
    if platform.system() == "Darwin":
        return _darwin_cache_bytes(level, default)
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            facts = {name: (folder / name).read_text().strip() for name in ("level", "type", "size")}
        except OSError:
            continue
        size = re.fullmatch(r"(\d+)([KM]?)", facts["size"])
        if facts["level"] == str(level) and facts["type"] != "Instruction" and size:
            return (int(size[1]) << {"": 0, "K": 10, "M": 20}[size[2]]) // _sharers(folder)
    return default


def _sharers(folder: Path) -> int:
    """How many of the cores that this process may use have a cache together; at least one."""
    try:
        text = (folder / "shared_cpu_list").read_text().strip()
        ends = [[int(n) for n in part.split("-")] for part in text.split(",")]
    except (OSError, ValueError):
        return 1
    cores = {core for part in ends for core in range(part[0], part[-1] + 1)}
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else cores
    return max(1, len(cores & set(usable)))


def _darwin_cache_bytes(level: int, default: int) -> int:
    """As above, of the fast cores."""

    def fact(name: str) -> int:
        value, size = ctypes.c_int64(), ctypes.c_size_t(8)
        places = ctypes.byref(value), ctypes.byref(size)
        failed = ctypes.CDLL(None).sysctlbyname(name.encode(), *places, None, 0)
        return 0 if failed else value.value & ((1 << 8 * size.value) - 1)

    cache = {1: "l1dcachesize", 2: "l2cachesize"}[level]
    found = fact(f"hw.perflevel0.{cache}") or fact(f"hw.{cache}")
    return found // max(1, fact("hw.perflevel0.cpusperl2") if level == 2 else 1) or default
