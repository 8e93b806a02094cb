"""The OpenCL devices, with hand-written kernels: memory, launches, limits, the cache of binaries, errors."""

import gc
import subprocess
import sys
import threading

import numpy as np
import pytest

from lazygrad import config
from lazygrad.dtypes import bfloat16, float16, float32, float64, int32
from lazygrad.errors import DeviceError, DTypeError, OutOfMemoryError
from lazygrad.source import BufferUse, Phase, Source

pytest.importorskip("pyopencl", reason="pyopencl is not installed")

from lazygrad.runtime import cl


def no_opencl() -> str:
    try:
        cl.find_devices()
    except DeviceError as error:
        return str(error)
    return ""


pytestmark = pytest.mark.skipif(bool(no_opencl()), reason=f"no OpenCL device: {no_opencl()}")


@pytest.fixture(autouse=True)
def own_cache(tmp_path):
    with config.override(CACHE_DIR=str(tmp_path)):
        yield tmp_path


@pytest.fixture
def device():
    """A device of its own, so that no program is loaded yet and all counts start at 0."""
    return cl.ClDevice("CL", cl.find_devices()[0])


def upload(device, values):
    buffer = device.allocate(values.nbytes)
    device.copy_in(buffer, values)
    return buffer


def download(device, buffer, dtype):
    return np.frombuffer(device.copy_out(buffer), dtype)


def use(name, dtype, size, access="read"):
    return BufferUse(name, dtype, size, access)


def saxpy(n, factor=3.0, begin=0):
    text = f"""
__kernel void saxpy(__global const float* x, __global float* y) {{
    int i = get_global_id(0);
    if (i < {n}) y[i] = {factor}f * x[i + {begin}] + y[i];
}}"""
    uses = (use("x", float32, n), use("y", float32, n, "readwrite"))
    return Source("opencl", f"saxpy_{n}", text, uses, (Phase("saxpy", -(-n // 32), items=32),))


def test_saxpy(device):
    x, y = np.arange(1000, dtype=np.float32), np.ones(1000, np.float32)
    a, b = upload(device, x), upload(device, y)
    program = device.load(saxpy(1000))
    device.launch(program, [a, b])
    device.launch(program, [a, b])
    np.testing.assert_array_equal(download(device, b, np.float32), 6 * x + 1)
    into = np.zeros((10, 100), np.float32)
    assert device.copy_out(b, into) is into
    np.testing.assert_array_equal(into.reshape(-1), 6 * x + 1)


def test_slice_copies_at_its_offset_and_passes_its_root(device):
    whole = upload(device, np.arange(64, dtype=np.float32))
    part = whole.slice(64, 128).slice(64, 64)
    assert part.storage is whole and part.offset == 128
    np.testing.assert_array_equal(download(device, part, np.float32), np.arange(32, 48))
    device.copy_in(part, np.zeros(16, np.float32))
    y = upload(device, np.zeros(16, np.float32))
    device.launch(device.load(saxpy(16, 1.0, begin=16)), [whole.slice(64, 64), y])
    np.testing.assert_array_equal(download(device, y, np.float32), np.arange(16, 32))
    expected = np.arange(64, dtype=np.float32)
    expected[32:48] = 0
    np.testing.assert_array_equal(download(device, whole, np.float32), expected)


def test_local_memory_and_phases_with_temporary(device):
    text = """
__kernel void rows(__global const float* x, __global float* y, __global float* sums) {
    __local float part[64];
    int i = get_local_id(0);
    part[i] = x[get_global_id(0)];
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int half_size = 32; half_size; half_size /= 2) {
        if (i < half_size) part[i] += part[i + half_size];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    if (i == 0) sums[get_group_id(0)] = part[0];
}
__kernel void total(__global const float* x, __global float* y, __global const float* sums) {
    float sum = 0;
    for (int i = 0; i < 16; ++i) sum += sums[i];
    y[0] = sum;
}"""
    uses = (use("x", float32, 1024), use("y", float32, 1, "write"))
    phases = (Phase("rows", 16, items=64), Phase("total", 1))
    program = device.load(Source("opencl", "sum_1024", text, uses, phases, temporaries=(64,)))
    y = device.allocate(4)
    x = upload(device, np.arange(1024, dtype=np.float32))
    device.launch(program, [x, y])
    assert download(device, y, np.float32)[0] == 1023 * 512
    assert device.timed_launch(program, [x, y]) > 0
    replay = device.prepare([(program, [x, y]), (device.load(saxpy(1)), [y, y])])
    for _ in range(3):
        replay.run()
        assert download(device, y, np.float32)[0] == 4 * 1023 * 512


def test_half_and_bfloat16_are_stored_without_half_arithmetic(device):
    assert {"float16", "bfloat16", "float32", "int64", "bool"} <= device.target.dtypes
    text = """
__kernel void twice(__global half* h, __global ushort* b) {
    int i = get_global_id(0);
    vstore_half_rte(vload_half(i, h) * 2.0f, i, h);
    b[i] = as_uint(as_float((uint)b[i] << 16) * 2.0f) >> 16;
}"""
    values = np.array([0.0, -0.0, 1.5, 65504.0, 6e-8, -3e-5, np.inf, np.nan, 1 / 3], np.float16)
    bits = (np.arange(9, dtype=np.float32).view(np.uint32) >> 16).astype(np.uint16)
    uses = (use("h", float16, 9, "readwrite"), use("b", bfloat16, 9, "readwrite"))
    h, b = upload(device, values), upload(device, bits)
    device.launch(device.load(Source("opencl", "twice", text, uses, (Phase("twice", 9),))), [h, b])
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(download(device, h, np.float16), values * np.float16(2))
    doubled = (download(device, b, np.uint16).astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(doubled, 2 * np.arange(9, dtype=np.float32))


def test_division_and_square_root_are_rounded_as_numpy_rounds_them(device):
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0.1, 9, (2, 4096)).astype(np.float32)
    text = """
__kernel void divide(__global const float* x, __global float* y) {
    int i = get_global_id(0);
    y[i] = sqrt(x[i]) / y[i];
}"""
    uses = (use("x", float32, 4096), use("y", float32, 4096, "readwrite"))
    b = upload(device, y)
    program = device.load(Source("opencl", "divide", text, uses, (Phase("divide", 64, items=64),)))
    device.launch(program, [upload(device, x), b])
    np.testing.assert_array_equal(download(device, b, np.float32), np.sqrt(x) / y)


def entries(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_driver_with_a_cache_of_its_own_is_asked_for_no_binary(own_cache, monkeypatch):
    raw = cl.find_devices()[0]
    monkeypatch.setattr(cl, "keeps_own_binaries", lambda raw: True)
    assert not cl.ClDevice("CL", raw).load(saxpy(50)).from_cache and not entries(own_cache)


def test_binaries_are_cached_and_damaged_ones_rebuilt(own_cache, monkeypatch):
    monkeypatch.setattr(cl, "keeps_own_binaries", lambda raw: False)
    device = cl.ClDevice("CL", cl.find_devices()[0])
    assert not device.load(saxpy(100)).from_cache
    (entry,) = entries(own_cache)
    again = cl.ClDevice("CL", device.raw)
    assert again.load(saxpy(100)).from_cache
    content = entry.read_bytes()
    for damaged in (b"", content[: len(content) // 2], content[:-9] + b"rubbish!!"):
        entry.write_bytes(damaged)
        rebuilt = cl.ClDevice("CL", device.raw).load(saxpy(100))
        assert not rebuilt.from_cache and entry.read_bytes() == content
    x, y = upload(again, np.ones(100, np.float32)), upload(again, np.ones(100, np.float32))
    again.launch(again.load(saxpy(100)), [x, y])
    np.testing.assert_array_equal(download(again, y, np.float32), np.full(100, 4, np.float32))


def test_cache_off_writes_nothing(device, own_cache):
    with config.override(CACHE_DIR="off"):
        assert not device.load(saxpy(10)).from_cache
    assert not entries(own_cache)


def test_no_such_platform():
    with config.override(CL_PLATFORM="nothing"), pytest.raises(DeviceError) as caught:
        cl.cl_device()
    message = str(caught.value)
    assert message.startswith("[device] CL: CL_PLATFORM='nothing'")
    assert cl.find_devices()[0].platform.name in message


def test_no_platform_and_no_pyopencl_say_what_to_install(monkeypatch):
    import sys

    import pyopencl

    monkeypatch.setattr(pyopencl, "get_platforms", list)
    with pytest.raises(DeviceError, match=r"no OpenCL platform.*pip install 'lazygrad\[opencl\]'"):
        cl.find_devices()
    monkeypatch.setitem(sys.modules, "pyopencl", None)
    with pytest.raises(DeviceError, match=r"pyopencl cannot be imported.*pip install 'lazygrad\[opencl\]'"):
        cl.find_devices()


def test_device_number_out_of_range_names_the_devices():
    with pytest.raises(DeviceError, match=r"\[device\] CL:99: no such device, there are \d+: CL:0 is"):
        cl.cl_device(99)
    assert cl.cl_device() is cl.cl_device(0) and cl.cl_device().name == "CL"


def test_target_facts(device):
    target = device.target
    assert target.language == "opencl" and target.threads >= 1 and target.max_group_items >= 1
    assert target.max_parameters == device.raw.max_parameter_size // 8 and target.local_bytes >= 1 << 14
    assert ("float64" in target.dtypes) == ("cl_khr_fp64" in device.raw.extensions)
    assert target.features.split()[0] in ("cpu", "gpu") and device.raw.name.strip() in device.description


def test_out_of_memory(device):
    with pytest.raises(
        OutOfMemoryError, match=r"\[allocate\] CL: \d+ bytes asked, 0 in use by buffers, one buffer"
    ):
        device.allocate(device.raw.max_mem_alloc_size + 1)
    device.memory.limit = 1 << 20
    kept = device.allocate(800_000)
    with pytest.raises(OutOfMemoryError, match="the device has 1048576"):
        device.allocate(800_000)
    del kept
    assert device.allocate(900_000).nbytes == 900_000  # the waiting block was given back to make room
    assert device.stats.in_use == 0 and device.stats.peak >= 900_000


def test_memory_is_reused_when_a_buffer_and_its_slices_are_gone(device):
    buffer = device.allocate(1000)
    handle, part = buffer.handle, buffer.slice(0, 64)
    del buffer
    assert device.allocate(1000).handle is not handle
    del part
    handles = {id(device.memory.take(1000)) for _ in range(2)}
    assert id(handle) in handles
    assert cl.block_bytes(0) == 64 and cl.block_bytes(1 << 20) == 1 << 20
    assert all(n <= cl.block_bytes(n) <= max(n + 64, n * 1.126) for n in range(1, 70000, 97))


def test_zero_bytes(device):
    empty = device.allocate(0)
    device.copy_in(empty, np.zeros(0, np.float32))
    assert device.copy_out(empty) == b""
    assert device.copy_out(empty, np.zeros((0, 3), np.float32)).shape == (0, 3)
    assert device.copy_out(device.allocate(64).slice(64, 0)) == b""
    device.launch(device.load(saxpy(0)), [empty, empty])  # a phase of no work-groups
    device.synchronize()
    assert download(device, upload(device, np.array(7, np.int32)), np.int32)[0] == 7


def test_build_error_shows_log_and_lines(device, own_cache):
    text = "__kernel void f(__global float* x) {\n    int i = get_global_id(0);\n    x[i] = missing;\n}\n"
    with pytest.raises(DeviceError) as caught:
        device.load(Source("opencl", "broken_4", text, (use("x", float32, 4, "write"),), (Phase("f", 4),)))
    message = str(caught.value)
    assert (
        message.startswith("[load] CL: kernel broken_4 cannot be built:\n")
        and "undeclared identifier" in message
    )
    assert ">    3 |     x[i] = missing;" in message and "     2 |     int i" in message
    assert not entries(own_cache)


def many_parameters(count):
    names = [f"x{n}" for n in range(count)]
    body = " ".join(f"{name}[0] = {n};" for n, name in enumerate(names))
    text = f"__kernel void fill({', '.join(f'__global int* {name}' for name in names)}) {{ {body} }}"
    return Source(
        "opencl", "fill", text, tuple(use(name, int32, 1, "write") for name in names), (Phase("fill", 1),)
    )


def test_parameters_up_to_the_limit_and_no_more(device):
    most = device.target.max_parameters
    with pytest.raises(
        DeviceError, match=rf"takes {most + 2} buffers, the device at most {most} .*split the kernel"
    ):
        device.load(many_parameters(most + 2))
    if most > 1024:
        return
    buffers = [device.allocate(4) for _ in range(most)]
    device.launch(device.load(many_parameters(most)), buffers)
    assert [download(device, buffer, np.int32)[0] for buffer in buffers] == list(range(most))


def test_groups_and_dtypes_that_the_device_has_not(device):
    text = "__kernel void f(__global int* x) { x[0] = 1; }"
    items = 2 * device.target.max_group_items
    source = Source("opencl", "wide", text, (use("x", int32, 1, "write"),), (Phase("f", 1, items=items),))
    with pytest.raises(
        DeviceError, match=rf"work-groups of {items} items, the device can run it with at most"
    ):
        device.load(source)
    from dataclasses import replace

    device._target = replace(device.target, dtypes=frozenset({"int32"}))
    doubles = Source("opencl", "doubles", text, (use("x", float64, 1, "write"),), (Phase("f", 1),))
    with pytest.raises(DTypeError, match=r"uses float64 for x, the device has int32"):
        device.load(doubles)


def test_buffers_freed_in_flight_are_safe(device):
    program = device.load(saxpy(4096, 1.0))
    y = upload(device, np.zeros(4096, np.float32))
    for step in range(200):
        x = np.full(4096, step, np.float32)
        device.launch(program, [upload(device, x), y])
        x[:] = -1  # the upload was copied aside
    np.testing.assert_array_equal(download(device, y, np.float32), np.full(4096, 199 * 100, np.float32))


def test_threads_share_a_device(device):
    program, failures = device.load(saxpy(256, 1.0)), []

    def work(value):
        x, y = upload(device, np.full(256, value, np.float32)), upload(device, np.zeros(256, np.float32))
        for _ in range(100):
            device.launch(program, [x, y])
        if not (download(device, y, np.float32) == 100 * value).all():
            failures.append(value)

    threads = [threading.Thread(target=work, args=(value,)) for value in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()
    assert not failures and device.stats.in_use == 0


AT_EXIT = """
import atexit
import lazygrad
from lazygrad.runtime.cl import cl_device

def report():  # handlers run in reverse: after the device's
    print("done" if marker.command_execution_status == device.opencl.command_execution_status.COMPLETE
          else "under way")

atexit.register(report)
device = cl_device()
y = lazygrad.rand(300, 300, device="CL").sort().values.realize()
marker = device.opencl.enqueue_marker(device.queue)
raise ValueError
"""


def test_a_process_ends_after_its_kernels():
    # a driver that still compiled one in a thread of its own would fail in it
    ended = subprocess.run([sys.executable, "-c", AT_EXIT], capture_output=True, text=True)
    assert ended.returncode == 1 and ended.stderr.endswith("ValueError\n"), ended.stderr
    assert ended.stdout == "done\n"
