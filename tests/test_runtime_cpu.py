"""The CPU device: memory, compilation with its disk cache, and the native thread pool,
on hand-written kernels."""

import gc
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from lazygrad import config
from lazygrad.dtypes import float32
from lazygrad.errors import OutOfMemoryError
from lazygrad.runtime import cache, jit
from lazygrad.runtime.cpu import ALIGN, CpuMemory, class_bytes, cpu_device, size_class
from lazygrad.runtime.cpu_target import chosen_target
from lazygrad.runtime.device import MemoryStats
from lazygrad.runtime.errands import Errands
from lazygrad.source import BufferUse, Phase, Source

# y = 2 x + y, then a second phase: y = y * y
SAXPY_SQUARE = """
define void @saxpy(ptr %buffers, i64 %begin, i64 %end, ptr %scratch) {
entry:
  %y.at = getelementptr ptr, ptr %buffers, i64 1
  %x = load ptr, ptr %buffers
  %y = load ptr, ptr %y.at
  br label %head
head:
  %i = phi i64 [ %begin, %entry ], [ %i.next, %body ]
  %more = icmp slt i64 %i, %end
  br i1 %more, label %body, label %done
body:
  %x.i = getelementptr float, ptr %x, i64 %i
  %y.i = getelementptr float, ptr %y, i64 %i
  %a = load float, ptr %x.i
  %b = load float, ptr %y.i
  %twice = fmul float %a, 2.0
  %sum = fadd float %twice, %b
  store float %sum, ptr %y.i
  %i.next = add i64 %i, 1
  br label %head
done:
  ret void
}

define void @square(ptr %buffers, i64 %begin, i64 %end, ptr %scratch) {
entry:
  %y.at = getelementptr ptr, ptr %buffers, i64 1
  %y = load ptr, ptr %y.at
  br label %head
head:
  %i = phi i64 [ %begin, %entry ], [ %i.next, %body ]
  %more = icmp slt i64 %i, %end
  br i1 %more, label %body, label %done
body:
  %y.i = getelementptr float, ptr %y, i64 %i
  %b = load float, ptr %y.i
  %bb = fmul float %b, %b
  store float %bb, ptr %y.i
  %i.next = add i64 %i, 1
  br label %head
done:
  ret void
}
"""

# each worker writes its scratch's address to the chunk's cells, through a temporary, after filling the
# scratch
SCRATCH = """
define void @mark(ptr %buffers, i64 %begin, i64 %end, ptr %scratch) {
entry:
  %temporary.at = getelementptr ptr, ptr %buffers, i64 1
  %temporary = load ptr, ptr %temporary.at
  call void @llvm.memset.p0.i64(ptr %scratch, i8 1, i64 100000, i1 false)
  %address = ptrtoint ptr %scratch to i64
  br label %head
head:
  %i = phi i64 [ %begin, %entry ], [ %i.next, %body ]
  %more = icmp slt i64 %i, %end
  br i1 %more, label %body, label %done
body:
  %cell = getelementptr i64, ptr %temporary, i64 %i
  store i64 %address, ptr %cell
  %i.next = add i64 %i, 1
  br label %head
done:
  ret void
}

define void @copy(ptr %buffers, i64 %begin, i64 %end, ptr %scratch) {
entry:
  %temporary.at = getelementptr ptr, ptr %buffers, i64 1
  %out = load ptr, ptr %buffers
  %temporary = load ptr, ptr %temporary.at
  %from = getelementptr i64, ptr %temporary, i64 %begin
  %to = getelementptr i64, ptr %out, i64 %begin
  %n = sub i64 %end, %begin
  %bytes = mul i64 %n, 8
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %from, i64 %bytes, i1 false)
  ret void
}

declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
"""


def saxpy_source(n: int, grain: int = 64) -> Source:
    uses = (BufferUse("x", float32, n, "read"), BufferUse("y", float32, n, "readwrite"))
    phases = (Phase("saxpy", n, grain), Phase("square", n, grain))
    return Source("llvm", f"saxpy_square_{n}", SAXPY_SQUARE, uses, phases)


def filled(values):
    buffer = cpu_device().allocate(values.nbytes)
    cpu_device().copy_in(buffer, values)
    return buffer


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("n", [0, 1, 63, 64, 65, 100_003])
def test_phases_run_in_order(n, threads):
    device = cpu_device()
    x, y = np.arange(n, dtype=np.float32), np.ones(n, np.float32)
    with config.override(THREADS=threads):
        assert device.target.threads == threads
        buffers = filled(x), filled(y)
        program = device.load(saxpy_source(n))
        device.launch(program, buffers)
        result = device.copy_out(buffers[1], np.empty(n, np.float32))
    np.testing.assert_array_equal(result, (2 * x + 1) ** 2)


def test_replay_runs_every_launch_in_order():
    device = cpu_device()
    n = 4096
    x, y = filled(np.zeros(n, np.float32)), filled(np.full(n, 1.5, np.float32))
    program = device.load(saxpy_source(n, grain=100))
    replay = device.prepare([(program, (x, y))] * 3)
    replay.run()
    np.testing.assert_array_equal(y.as_array(np.float32, (n,)), np.float32(1.5) ** 8)


def test_many_small_launches_from_several_python_threads():
    device = cpu_device()
    n = 256
    program = device.load(saxpy_source(n, grain=16))
    results = []

    def work():
        x, y = filled(np.ones(n, np.float32)), filled(np.zeros(n, np.float32))
        for _ in range(2000):
            y.as_array(np.float32, (n,))[:] = 1
            device.launch(program, (x, y))
        results.append(y.as_array(np.float32, (n,)).copy())

    with config.override(THREADS=3):
        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(results) == 3
    assert all((result == 9).all() for result in results)


def test_every_worker_has_its_own_aligned_scratch_and_temporaries_carry_over_phases():
    device = cpu_device()
    n = 64
    source = Source(
        "llvm",
        "scratch",
        SCRATCH,
        (BufferUse("out", float32, 2 * n, "write"),),
        (Phase("mark", n), Phase("copy", n)),
        temporaries=(8 * n,),
        scratch=100_000,
    )
    out = device.allocate(8 * n)
    with config.override(THREADS=4):
        device.launch(device.load(source), (out,))
    addresses = sorted(set(out.as_array(np.int64, (n,)).tolist()))
    assert 1 <= len(addresses) <= 4
    assert all(address % 64 == 0 for address in addresses)
    assert all(b - a >= 100_000 for a, b in zip(addresses, addresses[1:], strict=False))


def test_a_buffer_is_aligned_pooled_and_reused():
    device = cpu_device()
    buffer = device.allocate(1_000_000)
    address, used = buffer.address, device.stats.in_use
    assert address % ALIGN == 0
    part = buffer.slice(100, 50).slice(10, 5)
    assert (part.storage, part.offset, part.nbytes, part.address) == (buffer, 110, 5, address + 110)
    del buffer
    assert device.stats.in_use == used  # the slice keeps the memory
    del part
    assert device.stats.in_use < used
    again = device.allocate(999_999)
    assert again.address == address


def test_an_array_over_a_buffer_keeps_it_alive():
    device = cpu_device()
    buffer = filled(np.arange(1000, dtype=np.int32))
    view = buffer.as_array(np.int32, (10, 100))
    address = buffer.address
    del buffer
    gc.collect()
    others = [device.allocate(4000) for _ in range(3)]
    assert address not in [other.address for other in others]
    assert view[9, 99] == 999
    view[0, 0] = 7
    assert view.ctypes.data == address


def test_size_classes_waste_little_and_are_stable():
    sizes = [*range(3000), *(2**k + d for k in range(12, 45) for d in (-1, 0, 1))]
    for nbytes in sizes:
        block = class_bytes(size_class(nbytes))
        assert max(nbytes, 1) <= block <= max(ALIGN, 1.125 * nbytes + ALIGN)
        assert block % ALIGN == 0
        assert class_bytes(size_class(block)) == block


def test_waiting_blocks_are_released_when_there_are_too_many():
    memory = CpuMemory(MemoryStats())
    for size in (100 << 20, 200 << 20, 400 << 20, 800 << 20):
        memory.give(memory.take(size))
    assert memory.stats.in_use == 0
    assert memory.stats.pooled <= memory.stats.peak + (256 << 20)


@pytest.mark.parametrize("nbytes", [1 << 46, 1 << 60, 1 << 80])
def test_out_of_memory_is_an_error_with_numbers(nbytes):
    with pytest.raises(OutOfMemoryError, match=rf"^\[allocate\] CPU: {nbytes} bytes asked, \d+ in use"):
        cpu_device().allocate(nbytes)


def test_zero_bytes():
    device = cpu_device()
    buffer = device.allocate(0)
    device.copy_in(buffer, b"")
    assert device.copy_out(buffer) == b""
    assert buffer.as_array(np.float32, (3, 0)).shape == (3, 0)
    assert buffer.slice(0, 0).nbytes == 0


def test_copy_in_takes_bytes_and_strided_arrays():
    device = cpu_device()
    buffer = device.allocate(24)
    device.copy_in(buffer, np.arange(6, dtype=np.int32).reshape(2, 3).T)
    assert device.copy_out(buffer) == np.array([0, 3, 1, 4, 2, 5], np.int32).tobytes()
    device.copy_in(buffer, memoryview(b"abcd"))
    assert device.copy_out(buffer)[:5] == b"abcd\x03"
    with pytest.raises(AssertionError):
        device.copy_in(buffer, bytes(25))


@pytest.fixture
def cache_dir(tmp_path):
    with config.override(CACHE_DIR=str(tmp_path)):
        yield tmp_path


def _value_of(library):
    import ctypes

    return ctypes.CFUNCTYPE(ctypes.c_int64)(library.addresses["number"])()


def test_object_code_is_kept_on_disk_and_damage_is_repaired(cache_dir):
    text = "define i64 @number() {\n  ret i64 42\n}\n"
    target = chosen_target()
    library, found = jit.load(text, ["number"], target)
    assert (found, _value_of(library)) == (False, 42)
    library, found = jit.load(text, ["number"], target)
    assert (found, _value_of(library)) == (True, 42)
    (path,) = (path for path in cache_dir.rglob("*") if path.is_file())
    content = path.read_bytes()
    for damaged in (b"", content[:40], content[:-1], content[:60] + b"x" + content[61:]):
        path.write_bytes(damaged)
        library, found = jit.load(text, ["number"], target)
        assert (found, _value_of(library)) == (False, 42)
        assert path.read_bytes() == content
    cache.write("cpu", path.name, b"sound, but no object file")
    library, found = jit.load(text, ["number"], target)
    assert (found, _value_of(library)) == (False, 42)
    assert [p for p in cache_dir.rglob("*") if p.is_file()] == [path]


def test_a_cache_that_cannot_be_written_warns_and_works(tmp_path):
    occupied = tmp_path / "file"
    occupied.write_text("not a folder")
    with config.override(CACHE_DIR=str(occupied)), pytest.warns(RuntimeWarning, match="not kept"):
        library, found = jit.load("define i64 @number() {\n  ret i64 7\n}\n", ["number"], chosen_target())
    assert (found, _value_of(library)) == (False, 7)


def test_no_cache_when_it_is_off(tmp_path):
    with config.override(CACHE_DIR="off"):
        assert cache.entry_path("cpu", "0" * 64) is None
        _, found = jit.load("define i64 @number() {\n  ret i64 8\n}\n", ["number"], chosen_target())
    assert not found


def test_a_program_shows_its_machine_code():
    program = cpu_device().load(saxpy_source(10))
    assert cpu_device().load(saxpy_source(10)) is program
    assert "define" in program.optimized_ir()
    assert "saxpy:" in program.assembly()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_computes_with_threads_of_its_own():
    device = cpu_device()
    n = 10_000
    with config.override(THREADS=3):
        program = device.load(saxpy_source(n))
        x, y = filled(np.ones(n, np.float32)), filled(np.ones(n, np.float32))
        device.launch(program, (x, y))
        child = os.fork()
        if child == 0:
            try:
                device.launch(program, (x, y))
                right = (y.as_array(np.float32, (n,)) == 121).all()
                device.pool.stop()
                os._exit(0 if right else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        device.launch(program, (x, y))
    assert (y.as_array(np.float32, (n,)) == 121).all()


@pytest.mark.parametrize(
    "ending", ["", "sys.exit(0)", "raise SystemExit", "threading.Thread(target=work).start()"]
)
def test_the_interpreter_ends_cleanly(ending):
    program = (
        "import sys, threading; sys.path.insert(0, 'tests')\n"
        "from test_runtime_cpu import *\n"
        "def work():\n"
        "    x, y = filled(np.ones(5000, np.float32)), filled(np.ones(5000, np.float32))\n"
        "    for _ in range(300):\n"
        "        cpu_device().launch(cpu_device().load(saxpy_source(5000)), (x, y))\n"
        f"work()\nprint('done')\n{ending}\n"
    )
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    environment = os.environ | {"THREADS": "3", "PYTHONPATH": root}
    command = [sys.executable, "-W", "error", "-c", program]
    result = subprocess.run(command, capture_output=True, timeout=60, text=True, cwd=root, env=environment)
    assert (result.returncode, result.stdout, result.stderr) == (0, "done\n", "")


def test_the_host_is_described():
    device = cpu_device()
    target = device.target
    assert target.vector_bytes in (16, 32, 64) and target.registers in (16, 32)
    assert target.l1_bytes < target.l2_bytes
    assert target.cpu in device.description and "threads" in device.description


# Errands


def test_an_errand_is_done_once_by_whoever_comes_first():
    errands, done = Errands(), []
    release = threading.Event()

    def work(number):
        release.wait(10)
        done.append((number, threading.current_thread()))
        return number * number

    given = [errands.give(lambda n=n: work(n), 2) for n in range(20)]
    release.set()
    assert [errand.result() for errand in reversed(given)] == [n * n for n in reversed(range(20))]
    assert sorted(n for n, _ in done) == list(range(20))
    assert len({thread for _, thread in done}) <= 3
    assert all(errand.result() == n * n for n, errand in enumerate(given))


def test_a_single_errand_waits_for_its_caller_and_tells_its_error():
    errands, count = Errands(), threading.active_count()
    for _ in range(3):
        errand = errands.give(lambda: 1 // 0, 2)
        assert threading.active_count() == count and not errand.is_done
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                errand.result()


def test_without_helpers_the_caller_does_all():
    errands, count = Errands(), threading.active_count()
    given = [errands.give(threading.current_thread, 0) for _ in range(5)]
    assert threading.active_count() == count
    assert {errand.result() for errand in given} == {threading.current_thread()}


def test_an_interrupted_errand_is_still_to_be_done():
    outcomes = iter((KeyboardInterrupt(), 5))

    def work():
        found = next(outcomes)
        if isinstance(found, BaseException):
            raise found
        return found

    errand = Errands().give(work, 0)
    with pytest.raises(KeyboardInterrupt):
        errand.result()
    assert errand.result() == 5


def test_several_threads_compile_at_once_what_one_compiles():
    target = chosen_target()
    texts = [saxpy_source(10).text.replace("2.0", f"{n}.0") for n in range(2, 14)]
    assert len(set(texts)) == len(texts)
    alone = [jit.object_code(text, target) for text in texts]
    errands = Errands()
    given = [errands.give(lambda text=text: jit.object_code(text, target), 3) for text in texts]
    assert [errand.result() for errand in given] == alone


def test_a_child_of_a_fork_compiles(cache_dir):
    """With helpers of its own."""
    if not hasattr(os, "fork"):
        pytest.skip("this system does not fork")
    device = cpu_device()
    child = os.fork()
    if child == 0:
        programs = [device.load(saxpy_source(10 + n)) for n in range(4)]
        os._exit(0 if all(program.phases for program in programs) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
