"""LLVM IR text to machine code in this process, with the object code kept on disk.

Several threads may compile at once: each text has an LLVM context of its own, each thread a target machine.
"""

from __future__ import annotations

import ctypes
import itertools
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import llvmlite
import llvmlite.binding as llvm
from llvmlite.binding import ffi

from lazygrad.runtime import cache
from lazygrad.runtime.cpu_target import machine_target
from lazygrad.source import Target

SPEED_LEVEL = 2
_library_numbers = itertools.count()


@lru_cache(maxsize=1)
def _linker() -> llvm.LLJIT:
    machine_target()
    return llvm.create_lljit_compiler()


def _machine(target: Target) -> llvm.TargetMachine:
    return _threads_machine(target.triple, target.cpu, target.features, threading.get_ident())


@lru_cache(maxsize=16)
def _threads_machine(triple: str, cpu: str, features: str, thread: int) -> llvm.TargetMachine:
    machine_target()
    return llvm.Target.from_triple(triple).create_target_machine(
        cpu=cpu, features=features, opt=SPEED_LEVEL, reloc="pic", codemodel="small"
    )


def _unlocked(name: str) -> Callable[..., Any]:
    """A function of LLVM's library without the lock that llvmlite puts around each, where it can be had:
    under the lock only one thread compiles at a time."""
    locked = getattr(ffi.lib, name)
    return getattr(locked, "_cfn", locked)


def _optimized(text: str, target: Target) -> llvm.ModuleRef:
    """The module after LLVM's pipeline, without its vectorizers: the text has the vectors we want."""
    machine = _machine(target)
    module = llvm.parse_assembly(text, llvm.create_context())
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=SPEED_LEVEL)
    options.loop_vectorization = options.slp_vectorization = options.loop_interleaving = False
    builder = llvm.create_pass_builder(machine, options)
    _unlocked("LLVMPY_RunNewModulePassManager")(builder.getModulePassManager(), module, builder)
    return module


def optimized_ir(text: str, target: Target) -> str:
    return str(_optimized(text, target))


def assembly(text: str, target: Target) -> str:
    return _machine(target).emit_assembly(_optimized(text, target))


def object_code(text: str, target: Target) -> bytes:
    """A module's machine code as an object file."""
    module = _optimized(text, target)
    with ffi.OutputString() as error:
        memory = _unlocked("LLVMPY_TargetMachineEmitToMemory")(_machine(target), module, 1, error)
        if not memory:
            raise RuntimeError(str(error))
    try:
        return ctypes.string_at(ffi.lib.LLVMPY_GetBufferStart(memory), ffi.lib.LLVMPY_GetBufferSize(memory))
    finally:
        ffi.lib.LLVMPY_DisposeMemoryBuffer(memory)


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
    found = find(text, symbols, target)
    return (found, True) if found is not None else (Library(compiled(text, target), symbols), False)


def find(text: str, symbols: Sequence[str], target: Target) -> Library | None:
    """The library of a module's text, where its object code is on disk."""
    found = cache.read("cpu", _key(text, target))
    if found is not None:
        try:
            return Library(found, symbols)
        except RuntimeError:  # whole, but not an object file that this LLVM can link
            pass
    return None


def compiled(text: str, target: Target) -> bytes:
    """A module's machine code, which is left on disk too."""
    made = object_code(text, target)
    cache.write("cpu", _key(text, target), made)
    return made


def _key(text: str, target: Target) -> str:
    return cache.digest(text, target.cpu, target.features, target.triple, _versions())


def _versions() -> str:
    return f"llvmlite {llvmlite.__version__} LLVM {llvm.llvm_version_info} O{SPEED_LEVEL}"
