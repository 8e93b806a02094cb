"""Processors other than this one: named by the setting CPU, and run here where this one can do what they do;
of ARM, code is made and read, and run where the emulator unicorn is installed."""

import os
import platform
import re
import subprocess
import sys
from dataclasses import replace
from functools import cache

import llvmlite.binding as llvm
import numpy as np
import pytest

import lazygrad as lg
import lazygrad.nn.functional as F
from lazygrad import config
from lazygrad.codegen.llvm import abilities
from lazygrad.errors import SettingError
from lazygrad.runtime import jit
from lazygrad.runtime.cpu import CpuDevice, cpu_device
from lazygrad.runtime.cpu_target import cpu_target, host_features, processor_features
from lazygrad.runtime.pool import ThreadPool, aligned_bytes, pool_ir
from lazygrad.source import Source, Target

X86, ARM = "x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"
LEVELS = {"x86-64": set(), "x86-64-v2": {"sse4.2"}, "x86-64-v3": {"avx2", "fma", "f16c"}}
ON_X86 = platform.machine() == "x86_64"
RUNNABLE = [cpu for cpu, needed in LEVELS.items() if ON_X86 and needed <= host_features()]
on_x86 = pytest.mark.skipif(not ON_X86, reason="names of processors of x86-64")


def values(*shape: int, dtype=lg.float32, device: str = "CPU") -> lg.Tensor:
    rng = np.random.default_rng(sum(shape))
    numbers = rng.normal(size=shape).astype(np.float32) * (1 if dtype.is_floating_point else 50)
    numbers = numbers if dtype.is_floating_point else np.abs(numbers).astype(np.int64)
    return lg.tensor(numbers, device=device).to(dtype)


# one for each kind of nest and of instruction that processors differ in
CASES = {
    "matmul of odd sizes": lambda t: t(67, 61) @ t(61, 75),
    "matmul of doubles": lambda t: t(40, 50, dtype=lg.float64) @ t(50, 60, dtype=lg.float64),
    "convolution": lambda t: F.conv2d(t(2, 8, 13, 13), t(6, 8, 3, 3), padding=1),
    "convolution without padding": lambda t: F.conv2d(t(2, 8, 15, 15), t(6, 8, 3, 3)),
    "attention": lambda t: F.scaled_dot_product_attention(*(t(2, 37, 16),) * 3, is_causal=True),
    "softmax": lambda t: t(5, 77).softmax(1),
    "gelu": lambda t: F.gelu(t(1003)),
    "exp, log and sin": lambda t: t(1003).exp() + t(1003).abs().log() * (t(1003) * 1000).sin(),
    "pow of doubles": lambda t: t(303, dtype=lg.float64).abs() ** t(303, dtype=lg.float64),
    "rounding": lambda t: t(1003).floor() + (t(1003) * 9).round() + (t(1003) * 5).ceil() * t(1003).trunc(),
    "float16": lambda t: t(1003, dtype=lg.float16) * 3 + t(1003, dtype=lg.float16),
    "matmul of float16": lambda t: t(33, 35, dtype=lg.float16) @ t(35, 37, dtype=lg.float16),
    "bfloat16": lambda t: t(1003, dtype=lg.bfloat16) * 3 + 1,
    "float16 to others": lambda t: (t(103).half() > 0).float() + t(103, dtype=lg.float64).half().double(),
    "padded bytes": lambda t: F.pad(t(9, 37, dtype=lg.uint8), (3, 5, 1, 2)) + 1,
    "division of integers": lambda t: t(1003, dtype=lg.int32) // (t(1003, dtype=lg.int32) - 20),
    "transpose": lambda t: t(67, 45).t().contiguous() * 2,
    "strides": lambda t: t(20, 90)[:, ::3] + t(20, 90)[:, 1::3].flip(1),
    "gather": lambda t: t(50, 33)[t(40, dtype=lg.int64) % 50],
    "scatter": lambda t: t(50, 33).index_add(0, t(40, dtype=lg.int64) % 50, t(40, 33)),
    "sum": lambda t: t(33, 1001).sum(1) + t(33, 1001).amax(1),
    "scan": lambda t: t(20, 101).cumsum(1),
    "sort": lambda t: t(6, 200).sort(1)[0],
    "random numbers": lambda t: lg.rand(1003, device=t(1).device),
}
BRIEF = ("matmul of odd sizes", "rounding", "float16", "gelu")  # what tells x86-64-v2 from the others


def made(case: str, device: str = "CPU") -> lg.Tensor:
    lg.manual_seed(4)
    return CASES[case](lambda *shape, **named: values(*shape, **named, device=device))


@cache
def reference(case: str) -> np.ndarray:
    return made(case, "NUMPY").cpu().double().numpy()


@pytest.mark.parametrize("cpu,case", [
    (cpu, case) for cpu in RUNNABLE for case in (BRIEF if cpu == "x86-64-v2" else CASES)
])
def test_kernels_for_older_processors_compute_the_same(cpu, case):
    with config.override(CPU=cpu):
        got = made(case).realize().double().numpy()
    tolerance = 1e-2 if "16" in case else 2e-5
    np.testing.assert_allclose(got, reference(case), rtol=tolerance, atol=tolerance)


# ---- the setting


def run_with(cpu: str) -> subprocess.CompletedProcess:
    program = "import lazygrad as lg; print((lg.ones(3) + 1).sum().item())"
    return subprocess.run([sys.executable, "-c", program], env={**os.environ, "CPU": cpu},
                          capture_output=True, text=True, timeout=100)


@pytest.mark.parametrize("cpu,told", [
    ("nonsense", "CPU='nonsense': LLVM knows no such processor: host is this one"),
    ("x86 64", "CPU='x86 64': expected host, or a processor's name"),
])
def test_names_that_are_wrong_are_errors(cpu, told):
    found = run_with(cpu)
    assert found.returncode == 1 and f"SettingError: [setting] {told}" in found.stderr


@on_x86
@pytest.mark.skipif("avx512fp16" in host_features(), reason="this processor has all that is asked")
def test_a_processor_that_can_more_than_the_host_is_an_error():
    told = "it has .*avx512fp16.*choose host"
    with config.override(CPU="sapphirerapids"), pytest.raises(SettingError, match=told):
        _ = cpu_device().target
    assert cpu_device().target.cpu == cpu_target().cpu


@on_x86
def test_a_named_processor_is_another_target():
    with config.override(CPU="x86-64"):
        target = cpu_device().target
        assert (target.cpu, target.vector_bytes, target.registers) == ("x86-64", 16, 16)
        assert "CPU x86-64: 128-bit vectors" in cpu_device().description
        source = lg.explain(values(67, 61) @ values(61, 75))
    assert "tile(6,8)" in source and "<4 x float>" in source and "<8 x float>" not in source


@pytest.mark.parametrize("cpu,triple,has,lacks", [
    ("x86-64", X86, {"sse2", "cmov"}, {"sse4.1", "avx"}),
    ("x86-64-v2", X86, {"sse4.2", "popcnt"}, {"avx", "fma"}),
    ("x86-64-v3", X86, {"avx2", "fma", "f16c", "bmi2"}, {"avx512f"}),
    ("sandybridge", X86, {"avx"}, {"avx2", "fma", "f16c"}),
    ("neoverse-n1", ARM, {"neon", "fullfp16", "lse"}, {"sve"}),
    ("cortex-a53", ARM, {"neon", "crc"}, {"fullfp16", "lse"}),
])
def test_features_are_asked_of_llvm(every_back_end, cpu, triple, has, lacks):
    if triple == X86 and not ON_X86:
        pytest.skip("LLVM tells the names of the features of its own processors only")
    found = processor_features(cpu, triple)
    assert has <= found and not lacks & found
    assert not processor_features("nonsense", triple)


# ---- processors of which there is none here: code is made, and read


@pytest.fixture(scope="session")
def every_back_end() -> None:
    try:
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
        llvm.Target.from_triple(ARM)
    except RuntimeError:
        pytest.skip("this llvmlite makes no code for ARM")


def sources(case: str, target: Target, monkeypatch: pytest.MonkeyPatch) -> list[Source]:
    """The kernels of a case for a processor, generated and not run."""
    found: list[Source] = []
    load = CpuDevice.load

    def keep(self: CpuDevice, source: Source):
        found.append(source)
        parameters = "ptr %a, i64 %b, i64 %c, ptr %d"
        empty = [f"define void @{phase.name}({parameters}) {{ ret void }}" for phase in source.phases]
        return load(self, replace(source, text="\n".join(empty)))

    with monkeypatch.context() as patch, config.override(CACHE_DIR="off"):
        patch.setattr("lazygrad.engine.backend._kernels", {})
        patch.setattr("lazygrad.engine.backend._kernels_of_nests", {})
        result = made(case)
        patch.setattr(CpuDevice, "target", property(lambda self: target))
        patch.setattr(CpuDevice, "load", keep)
        lg.explain(result)
    assert found, case
    return found


@pytest.mark.parametrize("case", CASES)
def test_kernels_for_arm_compile_and_call_no_library(every_back_end, monkeypatch, case):
    target = replace(cpu_target("neoverse-n1", ARM), threads=4)
    for source in sources(case, target, monkeypatch):
        text = jit.assembly(source.text, target)
        called = re.findall(r"^\s+bl\s+(\w+)", text, re.M)
        assert {name for name in called if not re.search("_body$|_of_huge|^memset$", name)} == set()


# LLVM may call it for loops that clear memory; on ARM the C library has it
MEMSET = """
define ptr @memset(ptr %to, i32 %value, i64 %n) nounwind noinline optnone "no-builtins" {
entry:
  %byte = trunc i32 %value to i8
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %more, %one ]
  %some = icmp ult i64 %i, %n
  br i1 %some, label %one, label %done
one:
  %at = getelementptr i8, ptr %to, i64 %i
  store i8 %byte, ptr %at
  %more = add i64 %i, 1
  br label %next
done:
  ret ptr %to
}
"""


@pytest.fixture
def emulated(every_back_end, monkeypatch) -> None:
    """The device CPU as an ARM processor: its kernels run in the emulator, on one thread."""
    emulator = pytest.importorskip("arm_emulator", exc_type=ImportError)
    target, load, kernels = replace(cpu_target("neoverse-n1", ARM), threads=2), CpuDevice.load, {}
    parameters = "ptr %a, i64 %b, i64 %c, ptr %d"

    def load_for_arm(self: CpuDevice, source: Source):
        stubs = [f"define void @{phase.name}({parameters}) {{ ret void }}" for phase in source.phases]
        program = load(self, replace(source, text=f"; {len(kernels)}\n" + "\n".join(stubs)))
        machine = emulator.Emulator(jit.object_code(source.text + MEMSET, target))
        for phase in source.phases:
            kernels[program.library.addresses[phase.name]] = machine, phase.name, program
        return program

    def run(self: ThreadPool, records, n: int, threads: int, scratch: int) -> None:
        own = aligned_bytes(max(scratch, 64))
        for record in records[:n]:
            machine, name, _ = kernels[record.function]
            half = record.count // 2
            for begin, end in ((0, half), (half, record.count)):
                if begin < end:  # a phase that is no loop does not look at them
                    machine.call(name, record.buffers, begin, end, own.ctypes.data)

    monkeypatch.setattr("lazygrad.engine.backend._kernels", {})
    monkeypatch.setattr("lazygrad.engine.backend._kernels_of_nests", {})
    monkeypatch.setattr("lazygrad.engine._plans", {})
    monkeypatch.setattr(CpuDevice, "target", property(lambda self: target))
    monkeypatch.setattr(CpuDevice, "load", load_for_arm)
    monkeypatch.setattr(ThreadPool, "run", run)
    with config.override(CACHE_DIR="off"):
        yield


@pytest.mark.parametrize("case", CASES)
def test_kernels_for_arm_compute_the_same(emulated, case):
    expected = reference(case)
    got = made(case).realize().double().numpy()
    tolerance = 1e-2 if "16" in case else 2e-5
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


def innermost(text: str, word: str) -> list[str]:
    """The shortest loop of an assembly text in which a word comes at least eight times."""
    lines, labels, loops = text.splitlines(), {}, []
    for number, line in enumerate(lines):
        if label := re.match(r"(\.?L\w+):", line):
            labels[label[1]] = number
        jump = re.match(r"\s+(?:j\w+|b\.\w+|cbn?z|tbn?z)\s+.*?(\.?L\w+)", line)
        if jump and jump[1] in labels:
            loop = lines[labels[jump[1]] + 1 : number]
            loops += [loop] if sum(word in one for one in loop) >= 8 else []
    return min(loops, key=len)


@pytest.mark.parametrize("cpu,word,stack,tile", [
    ("neoverse-n1", "fmla", "[sp", 24),
    ("apple-m1", "fmla", "[sp", 24),
    ("x86-64-v3", "vfmadd", "(%rsp)", 12),
    ("x86-64-v2", "mulps", "(%rsp)", 12),
])
def test_register_tiles_of_matmul_stay_in_registers(every_back_end, monkeypatch, cpu, word, stack, tile):
    if cpu.startswith("x86") and cpu not in RUNNABLE:
        pytest.skip("not a processor that this one can stand for")
    target = replace(cpu_target(cpu, "" if cpu.startswith("x86") else ARM), threads=1)
    monkeypatch.setitem(CASES, "square", lambda t: t(240, 240) @ t(240, 240))
    (source,) = sources("square", target, monkeypatch)
    loop = innermost(jit.assembly(source.text, target), word)
    assert sum(word in line for line in loop) >= tile
    assert not any(stack in line for line in loop), "\n".join(loop)


@pytest.mark.parametrize("cpu,word", [("generic", "ldaxr"), ("neoverse-n1", "ldadd")])
def test_the_pool_compiles_for_arm(every_back_end, cpu, word):
    text = jit.assembly(pool_ir(ARM), cpu_target(cpu, ARM))
    assert word in text and re.search(r"^\s+yield$", text, re.M) and "ldar" in text


def test_arm_needs_nothing_made_of_other_instructions(every_back_end):
    can = abilities(cpu_target("generic", ARM))
    assert can.fuses and can.rounds and can.halves and not can.scales and not can.narrows
