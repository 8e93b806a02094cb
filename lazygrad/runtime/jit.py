"""LLVM IR text to machine code in this process, with the object code kept on disk."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache

import llvmlite
import llvmlite.binding as llvm

from lazygrad.runtime import cache
from lazygrad.runtime.cpu_target import machine_target
from lazygrad.source import Target

SPEED_LEVEL = 2
_library_numbers = itertools.count()


@lru_cache(maxsize=1)
def _linker() -> llvm.LLJIT:
    machine_target()
    return llvm.create_lljit_compiler()


@lru_cache(maxsize=16)
def _machine(triple: str, cpu: str, features: str) -> llvm.TargetMachine:
    machine_target()
    return llvm.Target.from_triple(triple).create_target_machine(
        cpu=cpu, features=features, opt=SPEED_LEVEL, reloc="pic", codemodel="small"
    )


def _optimized(text: str, target: Target) -> llvm.ModuleRef:
    """The module after LLVM's pipeline, without its vectorizers: the text has the vectors we want."""
    machine = _machine(target.triple, target.cpu, target.features)
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
    return _machine(target.triple, target.cpu, target.features).emit_assembly(_optimized(text, target))


def object_code(text: str, target: Target) -> bytes:
    """A module's machine code as an object file."""
    return _machine(target.triple, target.cpu, target.features).emit_object(_optimized(text, target))


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
    made = object_code(text, target)
    cache.write("cpu", key, made)
    return Library(made, symbols), False


def _versions() -> str:
    return f"llvmlite {llvmlite.__version__} LLVM {llvm.llvm_version_info} O{SPEED_LEVEL}"
