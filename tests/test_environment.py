"""Names about the machine, the process and other backends: what is accepted, what says what to do instead."""

from __future__ import annotations

import dataclasses
import importlib
import struct
import typing
from typing import Any

import numpy as np
import pytest
from torch_support import outcome, pytorch

import lazygrad
from lazygrad.errors import MissingError, UnsupportedError
from lazygrad.inert import tables
from lazygrad.inert.kinds import OTHERS, Nothing

CLOSE = {
    "equal": lambda m: (m.ones(2), m.ones(2)),
    "near": lambda m: (m.ones(2), m.ones(2) + 1e-7),
    "far": lambda m: (m.tensor([1.0, 2.0, 4.0]), m.tensor([1.0, 2.5, 4.0])),
    "far in a matrix": lambda m: (m.ones(2, 2), m.tensor([[1.0, 2.0], [3.0, 1.0]])),
    "integers": lambda m: (m.tensor([1, 2]), m.tensor([1, 4])),
    "truths": lambda m: (m.tensor([True, False]), m.tensor([True, True])),
    "number": lambda m: (1.0, 2.0),
    "whole numbers": lambda m: (1, 3),
    "near numbers": lambda m: (1.0, 1.0 + 1e-9),
    "0-d": lambda m: (m.tensor(1.0), m.tensor(3.0)),
    "shape": lambda m: (m.ones(2), m.ones(3)),
    "dtype": lambda m: (m.ones(2), m.ones(2, dtype=m.float64)),
    "nan": lambda m: (m.tensor([float("nan")]), m.tensor([float("nan")])),
    "inf": lambda m: (m.tensor([float("inf"), 1.0]), m.tensor([float("inf"), 1.0])),
    "list": lambda m: ([m.ones(2), m.zeros(2)], [m.ones(2), m.ones(2)]),
    "lengths": lambda m: ([m.ones(2)], [m.ones(2), m.ones(2)]),
    "dict": lambda m: ({"a": {"b": m.ones(1)}}, {"a": {"b": m.zeros(1)}}),
    "keys": lambda m: ({"a": 1, "c": 2}, {"a": 1, "b": 2}),
    "half": lambda m: (m.ones(2, dtype=m.float16), m.ones(2, dtype=m.float16) * 1.0005),
    "bfloat16": lambda m: (m.ones(2, dtype=m.bfloat16), m.ones(2, dtype=m.bfloat16) * 1.01),
    "arrays": lambda m: (np.ones(2), np.ones(2)),
    "nothing": lambda m: (None, None),
    "types": lambda m: ("a", "b"),
    "empty": lambda m: (m.ones(0), m.ones(0)),
}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"equal_nan": True},
        {"rtol": 0, "atol": 0},
        {"rtol": 0.5, "atol": 0.6},
        {"check_dtype": False},
        {"msg": "mine"},
        {"msg": lambda text: text + "!"},
        {"rtol": 1},
    ],
)
@pytest.mark.parametrize("name", CLOSE)
def test_assert_close(name: str, options: dict[str, Any]) -> None:
    if "rtol" in options and "atol" not in options and name in ("shape", "dtype"):
        pytest.skip("two mistakes at once")

    def run(m: Any) -> Any:
        try:
            return m.testing.assert_close(*CLOSE[name](m), **options)
        except AssertionError as error:
            return error
        except (TypeError, ValueError) as error:
            return type(error)

    ours, theirs = run(lazygrad), run(pytorch())
    if isinstance(theirs, type):
        assert isinstance(ours, type) and issubclass(ours, theirs)
        return
    assert type(ours) is type(theirs), (ours, theirs)
    text, other = str(ours).replace("lazygrad.", "torch."), str(theirs)
    # the last digits may differ
    text, other = (t.split("Greatest relative" if "e-" not in t else "Greatest")[0] for t in (text, other))
    assert text.split("\nTo ")[0] == other.split("\nTo ")[0]


def test_legacy_classes() -> None:
    for m in (lazygrad, pytorch()):
        assert m.FloatTensor([1, 2]).dtype == m.float32 and m.LongTensor([1.0, 2.0]).tolist() == [1, 2]
        assert m.ByteTensor(2, 3).shape == (2, 3) and m.DoubleTensor().shape == (0,)
        assert isinstance(m.ones(1), m.FloatTensor) and not isinstance(m.ones(1), m.LongTensor)
        assert m.ones(2).type(m.LongTensor).dtype == m.int64 and m.FloatTensor.dtype == m.float32
        assert m.typename(m.ones(1)) == "torch.FloatTensor" and m.typename(3) == "int"


def test_layouts_and_missing_types() -> None:
    assert lazygrad.strided is lazygrad.strided and repr(lazygrad.channels_last).endswith(".channels_last")
    assert lazygrad.float32 != lazygrad.complex64 and not isinstance(lazygrad.complex64, lazygrad.dtype)
    assert isinstance(lazygrad.jagged, lazygrad.layout)
    with pytest.raises(RuntimeError, match="no complex tensors"):
        lazygrad.zeros(2, dtype=lazygrad.complex64)


def test_switches() -> None:
    for m in (lazygrad, pytorch()):
        threads = m.get_num_threads()
        m.set_num_threads(1)
        assert m.get_num_threads() == 1
        m.set_num_threads(threads)
        m.use_deterministic_algorithms(True, warn_only=True)
        assert m.are_deterministic_algorithms_enabled() and m.get_deterministic_debug_mode() == 1
        m.set_deterministic_debug_mode("default")
        assert not m.are_deterministic_algorithms_enabled()
        m.set_float32_matmul_precision("high")
        assert m.get_float32_matmul_precision() == "high"
        m.set_float32_matmul_precision("highest")
        m._assert(True, "x")
        with pytest.raises(AssertionError, match="broken"):
            m._assert(False, "broken")
        with pytest.raises(RuntimeError, match="broken"):
            m._check(False, lambda: "broken")
        for name, error in (("index", IndexError), ("value", ValueError), ("type", TypeError),
                            ("not_implemented", MissingError.__bases__[1])):
            getattr(m, f"_check_{name}")(True)
            with pytest.raises(error, match="broken"):
                getattr(m, f"_check_{name}")(False, lambda: "broken")
        m._check_with(KeyError, True, lambda: "broken")
        with pytest.raises(KeyError, match="broken"):
            m._check_with(KeyError, False, lambda: "broken")
        with pytest.raises(RuntimeError, match="broken"):
            m._check_tensor_all(m.tensor([True, False]), lambda: "broken")
        assert m._shape_as_tensor(m.ones(2, 3)).tolist() == [2, 3]
        with m.device("cpu"):
            assert m.ones(1).device.type == "cpu"
        assert isinstance(outcome(lambda m=m: m.set_num_threads(0)), RuntimeError)


def test_compile_and_jit_give_functions_back() -> None:
    def double(x: Any) -> Any:
        return x * 2

    model = lazygrad.nn.Linear(2, 2)
    assert lazygrad.compile(model) is model and lazygrad.compile(double, mode="max-autotune") is double
    assert lazygrad.compile(fullgraph=True)(double) is double
    jit = lazygrad.jit
    assert jit.script(double) is jit.ignore(double) is jit.unused(double) is jit.export(double) is double
    assert jit.ignore(drop=True)(double) is double and not jit.is_scripting() and not jit.is_tracing()
    assert jit.trace(model, lazygrad.ones(1, 2)) is model
    with pytest.raises(UnsupportedError, match=r"\[jit.save\].*state_dict"):
        jit.save(model, "x")
    recorded = lazygrad.jit(double)
    assert [recorded(lazygrad.ones(2) * k).tolist() for k in range(4)] == [[2.0 * k] * 2 for k in range(4)]


def test_every_table_is_a_module_and_says_what_to_do() -> None:
    for module, names in tables.TABLES.items():
        found = importlib.import_module(module)
        for name in names:
            value = getattr(found, name)
            if (
                callable(value)
                and getattr(value, "__name__", "") == name
                and value.__module__.endswith("kinds")
                and not (isinstance(value, type) and issubclass(value, Nothing))
            ):
                with pytest.raises(UnsupportedError, match=r"^\[[\w.]+\] \w.*"):
                    value().__enter__()  # modes are refused here, all else is at the call
        if OTHERS not in names:  # settings of compilers have any name
            with pytest.raises(AttributeError, match="lazygrad lacks torch"):
                _ = found.surely_not_there


def test_settings_are_remembered() -> None:
    import lazygrad.backends.cudnn as cudnn

    assert lazygrad.backends.cudnn is cudnn and not cudnn.is_available()
    lazygrad.backends.cudnn.benchmark = True
    assert cudnn.benchmark
    cudnn.benchmark = False
    lazygrad.backends.cuda.matmul.allow_tf32 = True
    assert lazygrad.backends.cuda.matmul.allow_tf32
    lazygrad.backends.cuda.matmul.allow_tf32 = False
    with lazygrad.backends.cuda.sdp_kernel(enable_flash=False), lazygrad.profiler.record_function("x"):
        pass


def test_cuda_without_a_gpu() -> None:
    if lazygrad.cuda.is_available():
        pytest.skip("a GPU")
    cuda = lazygrad.cuda
    assert (cuda.device_count(), cuda.is_initialized(), cuda.is_bf16_supported()) == (0, False, False)
    assert lazygrad.accelerator.current_accelerator() is None and not lazygrad.accelerator.is_available()
    cuda.manual_seed_all(3)
    cuda.synchronize()
    cuda.empty_cache()
    assert (
        cuda.memory_allocated() >= 0 and not lazygrad.mps.is_available() and not lazygrad.xpu.is_available()
    )
    for call in (cuda.current_device, cuda.get_device_name, cuda.get_device_properties, cuda.mem_get_info):
        with pytest.raises(RuntimeError, match="no GPU"):
            call()
    start, end = cuda.Event(enable_timing=True), cuda.Event()
    start.record()
    end.record()
    assert start.elapsed_time(end) >= 0


def test_distributed_in_one_process() -> None:
    dist = lazygrad.distributed
    assert dist.is_available() and not dist.is_initialized()
    with pytest.raises(ValueError, match="Default process group has not been initialized"):
        dist.get_rank()
    kept = [lazygrad.zeros(2)]
    with pytest.raises(ValueError, match="Default process group has not been initialized"):
        dist.all_gather(kept, lazygrad.ones(2))
    assert kept[0].tolist() == [0.0, 0.0]
    with pytest.raises(UnsupportedError, match="one process, not in 4"):
        dist.init_process_group("gloo", rank=0, world_size=4)
    dist.init_process_group("gloo", rank=0, world_size=1)
    try:
        from lazygrad.distributed import nn as collectives

        x = lazygrad.tensor([1.0, 2.0])
        assert dist.all_reduce(x, dist.ReduceOp.SUM) is None and x.tolist() == [1.0, 2.0]
        assert (
            dist.all_reduce(x, async_op=True).wait() and dist.get_world_size() == 1 and dist.get_rank() == 0
        )
        out = [lazygrad.zeros(2)]
        dist.all_gather(out, x)
        dist.barrier()
        assert out[0].tolist() == [1.0, 2.0] and dist.get_backend() == "gloo"
        assert_collectives_return_copies_with_derivatives(collectives, x.requires_grad_())
    finally:
        dist.destroy_process_group()
    assert not dist.is_initialized()


def assert_collectives_return_copies_with_derivatives(collectives: Any, x: Any) -> None:
    results = [collectives.all_reduce(x), collectives.reduce(x, 0), collectives.broadcast(x, 0)]
    results += [*collectives.all_gather(x), *collectives.gather(x), collectives.scatter([x])]
    results += [collectives.reduce_scatter(lazygrad.empty(2), [x]), collectives.all_to_all_single(x, x)]
    results += [*collectives.functional.all_to_all([lazygrad.empty(2)], [x])]
    assert all(each.tolist() == x.tolist() and each.data_ptr() != x.data_ptr() for each in results)
    sum(results).sum().backward()
    assert x.grad.tolist() == [9.0, 9.0]


def test_custom_operators_are_functions_with_derivatives() -> None:
    @lazygrad.library.custom_op("mine::square", mutates_args=())
    def square(x: Any) -> Any:
        return x * x

    @square.register_fake
    def _(x: Any) -> Any:
        return x

    x = lazygrad.tensor([3.0], requires_grad=True)
    lazygrad.library.register_autograd(
        "mine::square",
        lambda ctx, g: g * 10 * ctx.x,
        setup_context=lambda ctx, inputs, output: setattr(ctx, "x", inputs[0]),
    )
    square(x).backward()
    square(x=x).backward()
    assert x.grad.item() == 60.0
    with pytest.raises(UnsupportedError, match="library.custom_op"):
        lazygrad.library.register_autograd("elsewhere::nms", lambda: None)


def test_an_operator_is_the_function_for_a_device_whatever_else_is_given_for_it() -> None:
    library = lazygrad.library.Library("of_a_test", "DEF")
    library.define("thrice(Tensor x) -> Tensor")
    library.impl("thrice", lambda x: x * 3, "CompositeExplicitAutograd")
    for key in ("Meta", "AutocastCPU", "AutogradCPU"):
        library.impl("thrice", lambda x: x.new_empty(x.shape), key)
    lazygrad.library.Library("of_a_test", "IMPL", "Meta").impl("thrice", lambda x: None)
    assert lazygrad.torch_ops.of_a_test.thrice(lazygrad.tensor(2)).item() == 6
    library.impl("thrice", lambda x: x * 4)
    assert lazygrad.torch_ops.of_a_test.thrice(lazygrad.tensor(2)).item() == 8


def test_packages_with_libraries_of_their_own_can_be_imported() -> None:
    """What torchvision, timm and others do when they are imported; they go on without their libraries."""
    for load in (tables.TABLES["lazygrad.torch_ops"]["load_library"], lazygrad.classes.load_library):
        with pytest.raises(OSError, match="write it with tensor operations") as caught:
            load("image.so")
        assert isinstance(caught.value, UnsupportedError)
    keys = lazygrad._C.DispatchKey
    assert lazygrad._C.DispatchKeySet(keys.CPU) | lazygrad._C.DispatchKeySet(keys.CUDA) is not None
    lazygrad.onnx.register_custom_op_symbolic("package::nms", lambda graph: graph, 11)
    assert "USE_MKL=OFF" not in lazygrad.__config__.show()
    from lazygrad.jit.annotations import List, Optional

    from lazygrad.hub import HASH_REGEX
    from lazygrad.utils.model_zoo import tqdm

    assert HASH_REGEX.search("resnet18-f37072fd.pth")
    assert List[int] == typing.List[int] and Optional is typing.Optional  # noqa: UP006
    with tqdm(range(3), disable=True) as bar:
        assert list(bar) == [0, 1, 2]


def test_names_that_packages_of_models_ask_for() -> None:
    """What kornia, torch_geometric and pytorch_lightning use of PyTorch's inner names."""
    from lazygrad._tensor_str import PRINT_OPTS, _add_suffixes, _tensor_str
    from lazygrad.nn.modules.module import _IncompatibleKeys
    from lazygrad.utils.hooks import RemovableHandle

    from lazygrad.amp.autocast_mode import is_autocast_enabled
    from lazygrad.utils.data import dataloader

    x = lazygrad.tensor([[1.5, 2.0], [3.0, 4.0]])
    assert _tensor_str(x, 0) == "[[1.5000, 2.0000],\n [3.0000, 4.0000]]" and PRINT_OPTS.precision == 4
    assert _add_suffixes("f(1", ["a=2"], 2, force_newline=True) == "f(1,\n  a=2)"
    assert _IncompatibleKeys([], []) == ([], [])
    assert isinstance(lazygrad.nn.Linear(1, 1).register_forward_hook(print), RemovableHandle)
    assert isinstance(iter(dataloader.DataLoader([1, 2])), dataloader._BaseDataLoaderIter)
    assert lazygrad.distributed.ReduceOp.RedOpType is lazygrad.distributed.reduce_op
    assert lazygrad.distributed.rpc.api._require_initialized(len) is len
    assert tuple(lazygrad.autograd.forward_ad.unpack_dual(x)) == (x, None)
    assert lazygrad._C._disabled_torch_function_impl(divmod, (), (7, 2)) == (3, 1)
    assert lazygrad._C._get_default_device() == "cpu" and isinstance(type(x), lazygrad._C._TensorMeta)
    assert lazygrad._C._nn._parse_to("cpu", lazygrad.half)[:2] == (lazygrad.device("cpu"), lazygrad.half)
    assert not is_autocast_enabled("mps") and not lazygrad.profiler.kineto_available()
    assert not dataclasses.is_dataclass(lazygrad.float32)  # or walks through dataclasses would open it
    counter = lazygrad.utils.flop_counter.FlopCounterMode(display=False)
    assert counter.get_total_flops() == 0 and not counter.get_flop_counts()
    with pytest.raises(UnsupportedError, match="perf_counter"), counter:
        pass

    class Counting(lazygrad.utils._python_dispatch.TorchDispatchMode):
        """As programs derive from it, without calling the making above."""

        def __init__(self) -> None:
            self.count = 0

        def __enter__(self) -> Any:
            return super().__enter__()

        def __exit__(self, *error: Any) -> None: ...

    with pytest.raises(UnsupportedError, match="TorchDispatchMode"), Counting():
        pass

    class Seeing(lazygrad.overrides.TorchFunctionMode):
        def __torch_function__(self, func: Any, kinds: Any, args: Any = (), kwargs: Any = None) -> Any:
            return func(*args, **(kwargs or {}))

    seeing = Seeing()  # made, perhaps never entered
    with pytest.raises(UnsupportedError, match="replace the functions themselves"), seeing:
        pass
    lazygrad._assert_async(lazygrad.tensor(True))
    with pytest.raises(RuntimeError, match="not so"):
        lazygrad._assert_async(lazygrad.tensor(0), "not so")


def test_hub_keeps_what_it_fetches(tmp_path: Any) -> None:
    source = tmp_path / "weights-0123.bin"
    source.write_bytes(b"abc")
    target = tmp_path / "copy"
    lazygrad.hub.download_url_to_file(source.as_uri(), str(target))
    assert target.read_bytes() == b"abc"
    with pytest.raises(ValueError, match="invalid hash value"):
        lazygrad.hub.download_url_to_file(source.as_uri(), str(tmp_path / "other"), hash_prefix="0123")
    assert not (tmp_path / "other").exists() and len(list(tmp_path.iterdir())) == 2
    with pytest.raises(UnsupportedError, match=r"\[hub.load\].*fetch the repository"):
        lazygrad.hub.load("a/b", "c")


def test_summary_writer_writes_records(tmp_path: Any) -> None:
    from lazygrad.utils.tensorboard import SummaryWriter, masked_crc

    assert masked_crc(b"123456789") == ((0xE3069283 >> 15 | 0xE3069283 << 17) + 0xA282EAD8) & 0xFFFFFFFF
    with SummaryWriter(tmp_path) as writer:
        writer.add_scalar("loss", lazygrad.tensor(0.5), 3)
        writer.add_text("note", "hello")
    (file,) = tmp_path.iterdir()
    data, records = file.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        body = data[12 : 12 + length]
        assert struct.unpack("<I", data[8:12])[0] == masked_crc(data[:8])
        assert struct.unpack("<I", data[12 + length : 16 + length])[0] == masked_crc(body)
        records.append(body)
        data = data[16 + length :]
    assert b"brain.Event:2" in records[0] and b"loss" in records[1] and struct.pack("<f", 0.5) in records[1]
    assert b"hello" in records[2]


def double_in_a_process(i: int, queue: Any) -> None:
    queue.put(i * 2)


def fail_in_a_process(i: int) -> None:
    raise ValueError(f"process {i} fails")


def test_processes() -> None:
    mp = lazygrad.multiprocessing
    queue = mp.get_context("fork").Queue()
    mp.start_processes(double_in_a_process, (queue,), 2, start_method="fork")
    assert sorted(queue.get(timeout=20) for _ in range(2)) == [0, 2]
    with pytest.raises(mp.ProcessRaisedException, match="(?s)Process 0 terminated.*process 0 fails"):
        mp.start_processes(fail_in_a_process, (), 1, start_method="fork")


def test_strategies_of_sharing() -> None:
    from lazygrad import multiprocessing as mp

    assert mp.get_sharing_strategy() in mp.get_all_sharing_strategies()
    with pytest.raises(AssertionError, match="'pigeons' is none of file_descriptor, file_system"):
        mp.set_sharing_strategy("pigeons")


def test_inference_mode_tells() -> None:
    for m in (lazygrad, pytorch()):
        assert not m.is_inference_mode_enabled()
        with m.inference_mode():
            assert m.is_inference_mode_enabled() and not m.is_grad_enabled()
        with m.inference_mode(False):
            assert not m.is_inference_mode_enabled() and m.is_grad_enabled()
        with m.inference_mode():
            with m.inference_mode(False):
                assert not m.is_inference_mode_enabled() and m.is_grad_enabled()
            assert m.is_inference_mode_enabled() and not m.is_grad_enabled()
        assert m.inference_mode()(m.is_inference_mode_enabled)() and not m.is_inference_mode_enabled()
        assert m.inference_mode(m.is_inference_mode_enabled)()


def test_operators_by_their_dispatcher_names() -> None:
    aten = importlib.import_module("lazygrad.torch_ops").aten
    x = lazygrad.tensor([1.0, 2.0])
    assert aten.add.Tensor(x, x).tolist() == aten.add(x, x).tolist() == [2.0, 4.0]
    assert {aten.clone.default: 1}[aten.clone.default] == 1 and aten.clone is not aten.clone.default
    assert str(aten.add.Tensor) == "aten.add.Tensor"
    with pytest.raises(UnsupportedError, match="ops.aten.no_such"):
        aten.no_such.default(x)


def test_names_for_many_processes_are_there_and_refuse() -> None:
    import lazygrad.distributed.fsdp.wrap as wrap
    from lazygrad.distributed.elastic.multiprocessing.errors import record
    from lazygrad.distributed.tensor import DTensor, distribute_tensor

    assert not isinstance(lazygrad.ones(1), DTensor)
    assert record(len) is len
    for use in (DTensor, distribute_tensor, wrap.anything):
        with pytest.raises(RuntimeError, match="one process"):
            use()
    with pytest.raises(AttributeError):
        _ = lazygrad.distributed.no_such_name


def test_custom_operators_stand_in_their_namespace() -> None:
    @lazygrad.library.custom_op("of_a_test::twice", mutates_args=())
    def twice(x: Any) -> Any:
        return x * 2

    space = importlib.import_module("lazygrad.torch_ops").of_a_test
    assert space.twice(lazygrad.tensor([2.0])).tolist() == [4.0]
    assert space.twice.default is twice


def test_inner_names_that_packages_import() -> None:
    """What monai, fvcore, timm and torchvision's tensors of images take from PyTorch's inside."""
    from lazygrad._C import DisableTorchFunctionSubclass
    from lazygrad.utils.data._utils import collate

    from lazygrad.jit import _get_trace_graph
    from lazygrad.optim.optimizer import _get_capturable_supported_devices
    from lazygrad.types import _device, _dtype, _size

    with DisableTorchFunctionSubclass():
        assert isinstance(lazygrad.float32, _dtype) and isinstance(lazygrad.device("cpu"), _device)
    assert lazygrad.Size in typing.get_args(_size) and "cpu" not in _get_capturable_supported_devices()
    with pytest.raises(UnsupportedError, match="jit"):
        _get_trace_graph(None, ())
    assert collate.np_str_obj_array_pattern.search("<U3")
    rows = collate.collate_tensor_fn([lazygrad.ones(2), lazygrad.zeros(2)])
    assert rows.tolist() == [[1, 1], [0, 0]]
    with pytest.raises(TypeError, match=collate.default_collate_err_msg_format[:20]):
        collate.collate_numpy_array_fn([np.array(["a"])])
