"""LLVM IR text to machine code in this process, with the object code kept on disk."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm

from lazygrad.dtypes import ALL
from lazygrad.runtime import cache
from lazygrad.source import Target

SPEED_LEVEL = 2
_library_numbers = itertools.count()


@lru_cache(maxsize=1)
def _initialized() -> llvm.Target:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_native_asmparser()  # the pool's pause instruction is inline assembly
    return llvm.Target.from_triple(llvm.get_process_triple())


@lru_cache(maxsize=1)
def _linker() -> llvm.LLJIT:
    _initialized()
    return llvm.create_lljit_compiler()


@lru_cache(maxsize=4)
def _machine(cpu: str, features: str) -> llvm.TargetMachine:
    return _initialized().create_target_machine(
        cpu=cpu, features=features, opt=SPEED_LEVEL, reloc="pic", codemodel="small"
    )


def _optimized(text: str, target: Target) -> llvm.ModuleRef:
    """The module after LLVM's pipeline, without its vectorizers: the text has the vectors we want."""
    machine = _machine(target.cpu, target.features)
    module = llvm.parse_assembly(text)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=SPEED_LEVEL)
    options.loop_vectorization = options.slp_vectorization = options.loop_interleaving = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return module


def optimized_ir(text: str, target: Target) -> str:
    return str(_optimized(text, target))


def assembly(text: str, target: Target) -> str:
    return _machine(target.cpu, target.features).emit_assembly(_optimized(text, target))


class Library:
    """Machine code loaded into the process, unloaded with this object; `addresses` maps each symbol."""

    def __init__(self, object_code: bytes, symbols: Sequence[str]) -> None:
        builder = llvm.JITLibraryBuilder().add_object_img(object_code).add_current_process()
        for symbol in symbols:
            builder.export_symbol(symbol)
        self._tracker = builder.link(_linker(), f"lazygrad{next(_library_numbers)}")
        self.addresses = {symbol: self._tracker[symbol] for symbol in symbols}


def load(text: str, symbols: Sequence[str], target: Target) -> tuple[Library, bool]:
    """The library of a module's text, and whether its object code was found on disk."""
    key = cache.digest(text, target.cpu, target.features, target.triple, _versions())
    found = cache.read("cpu", key)
    if found is not None:
        try:
            return Library(found, symbols), True
        except RuntimeError:  # whole, but not an object file that this LLVM can link: made anew below
            pass
    object_code = _machine(target.cpu, target.features).emit_object(_optimized(text, target))
    cache.write("cpu", key, object_code)
    return Library(object_code, symbols), False


def _versions() -> str:
    return f"llvmlite {llvmlite.__version__} LLVM {llvm.llvm_version_info} O{SPEED_LEVEL}"


# ---- the host as a target

# (feature, bytes of a vector register, number of them), the widest first
_VECTOR_UNITS = (("avx512f", 64, 32), ("avx2", 32, 16), ("avx", 32, 16), ("neon", 16, 32), ("sse2", 16, 16))
_HALF_FEATURES = ("f16c", "neon", "fullfp16")


def _cache_bytes(level: int, default: int) -> int:
    """The size of the first core's data cache of a level."""
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            facts = {name: (folder / name).read_text().strip() for name in ("level", "type", "size")}
        except OSError:
            continue
        size = re.fullmatch(r"(\d+)([KM]?)", facts["size"])
        if facts["level"] == str(level) and facts["type"] != "Instruction" and size:
            return int(size[1]) << {"": 0, "K": 10, "M": 20}[size[2]]
    return default


def usable_cores() -> int:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@lru_cache(maxsize=1)
def host_target() -> Target:
    """The facts of the processor that runs us, with `threads` the number of usable cores."""
    _initialized()
    features = llvm.get_host_cpu_features()
    vector_bytes, registers = next(((b, n) for name, b, n in _VECTOR_UNITS if features.get(name)), (16, 16))
    half = any(features.get(name) for name in _HALF_FEATURES)
    return Target(
        name="CPU",
        language="llvm",
        cpu=llvm.get_host_cpu_name(),
        features=features.flatten(),
        triple=llvm.get_process_triple(),
        vector_bytes=vector_bytes,
        registers=registers,
        l1_bytes=_cache_bytes(1, 32 << 10),
        l2_bytes=_cache_bytes(2, 512 << 10),
        threads=usable_cores(),
        dtypes=frozenset(d.name for d in ALL if half or d.name != "float16"),
    )
