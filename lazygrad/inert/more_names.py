"""The tables of names that programs seldom call: symbolic numbers, graphs of other kinds, builds, flags, and
what PyTorch's tools measure."""

from __future__ import annotations

import math
from typing import Any

from lazygrad import __version__
from lazygrad.inert.kinds import each, each_named, ignored, kind, mode, nothing, refused, same
from lazygrad.version import TORCH_VERSION, TorchVersion

_NO_SYMBOLS = "sizes are plain Python integers here"
NO_DISPATCH = (
    "operations are not dispatched here: there is no place to step between; hooks of modules "
    "(register_forward_hook) and tensors see values and gradients, lazygrad.explain(x) the kernels"
)
NO_OVERRIDES = (
    "calls of functions are not overridden here: replace the functions themselves, use hooks of modules "
    "(register_forward_hook), or set what the mode would change (set_default_device, set_default_dtype)"
)
_NO_GRAPHS = "steps are replayed by lazygrad.jit(function), which needs no capturing by hand"
NO_TOOL = (
    "time calls with time.perf_counter() around .realize(); DEBUG=2 prints what each kernel takes, its "
    "GFLOPS and GB/s"
)
NO_SCRIPT = (
    "there are no scripted modules here: keep the model's code in Python, save its state_dict(), and speed "
    "up a step with lazygrad.jit"
)
_NO_ARCHIVE = "lazygrad.load(path, mmap=True) reads of a file what is used, and lazygrad.save writes one"
_NO_FUTURES = "tensors are computed when they are used, in one process: concurrent.futures has Python's own"
_ENVIRONMENT = f"lazygrad {__version__}: python -m lazygrad prints devices and settings"
_NO_VENDOR = "kernels of other libraries are not called here: use the function without the prefix"
_VENDOR = (
    "cudnn_affine_grid_generator cudnn_batch_norm cudnn_convolution cudnn_convolution_add_relu "
    "cudnn_convolution_relu cudnn_convolution_transpose cudnn_grid_sampler miopen_batch_norm "
    "miopen_convolution miopen_convolution_add_relu miopen_convolution_relu miopen_convolution_transpose "
    "miopen_ctc_loss miopen_depthwise_convolution miopen_rnn mkldnn_adaptive_avg_pool2d "
    "mkldnn_convolution mkldnn_linear_backward_weights mkldnn_max_pool2d mkldnn_max_pool3d "
    "mkldnn_rnn_layer fbgemm_linear_fp16_weight fbgemm_linear_int8_weight fbgemm_pack_gemm_matrix_fp16 "
    "fbgemm_pack_quantized_matrix fbgemm_linear_quantize_weight batch_norm_stats batch_norm_elemt "
    "batch_norm_gather_stats batch_norm_gather_stats_with_counts batch_norm_update_stats "
    "batch_norm_backward_reduce batch_norm_backward_elemt"
)


class _FlopCounter:
    """Has counted nothing as long as it is not used."""

    def __init__(self, *args: Any, **options: Any):
        self.flop_counts: dict[str, Any] = {}

    __enter__ = refused("utils.flop_counter.FlopCounterMode", NO_TOOL)

    def __exit__(self, *_: object) -> None:
        return None

    def get_total_flops(self) -> int:
        """0."""
        return 0

    def get_flop_counts(self) -> dict[str, Any]:
        """None."""
        return self.flop_counts


def _sym_sum(values: Any) -> Any:
    return sum(values)


_FUTURES = each_named("futures", "Future collect_all wait_all", kind, _NO_FUTURES)
MORE_NAMES: dict[str, dict[str, Any]] = {
    "lazygrad": {
        **each_named("torch", "SymInt SymFloat SymBool", kind, _NO_SYMBOLS),
        "sym_int": int,
        "sym_float": float,
        "sym_max": max,
        "sym_min": min,
        "sym_sum": _sym_sum,
        "sym_not": lambda a: not a,
        "sym_sqrt": lambda a: math.sqrt(a),
        "sym_ite": lambda b, t, f: t if b else f,
        **each_named("torch", _VENDOR, refused, _NO_VENDOR),
        **each_named("torch", "ScriptModule ScriptFunction CompilationUnit", kind, NO_SCRIPT),
        **each_named("torch", "PyTorchFileReader PyTorchFileWriter", kind, _NO_ARCHIVE),
        **each("has_mkl has_lapack has_openmp has_spectral", lambda: False),
        **each("is_vulkan_available is_anomaly_check_nan_enabled cudnn_is_acceptable", ignored, False),
        **each("init_num_threads autocast_increment_nesting autocast_decrement_nesting", ignored, 0),
        **each("set_anomaly_enabled prepare_multiprocessing_environment", ignored),
        "Future": _FUTURES["Future"],
        "Stream": nothing("Stream", synchronize=None, wait_stream=None, record_event=None, query=True),
        "Event": nothing("Event", synchronize=None, record=None, wait=None, query=True, elapsed_time=0.0),
    },
    "lazygrad.futures": _FUTURES,
    "lazygrad.torch_version": {"TorchVersion": TorchVersion, "internal_version": str(TORCH_VERSION)},
    "lazygrad.utils._python_dispatch": {
        **each_named("utils._python_dispatch", "TorchDispatchMode", mode, NO_DISPATCH),
        **each("is_traceable_wrapper_subclass is_in_torch_dispatch_mode", ignored, False),
    },
    "lazygrad.utils.benchmark": each_named(
        "utils.benchmark", "Timer Measurement Compare Fuzzer CallgrindStats", kind, NO_TOOL
    ),
    "lazygrad.utils.flop_counter": {"FlopCounterMode": _FlopCounter},
    "lazygrad.utils.bottleneck": {},
    "lazygrad.utils.collect_env": {
        "get_pretty_env_info": ignored(_ENVIRONMENT),
        "main": lambda: print(_ENVIRONMENT),
    },
    "lazygrad.utils.deterministic": {"fill_uninitialized_memory": True},
    "lazygrad.utils.mobile_optimizer": each_named(
        "utils.mobile_optimizer", "optimize_for_mobile generate_mobile_module_lints", refused, NO_SCRIPT
    ),
    "lazygrad.utils": {
        **each("rename_privateuse1_backend generate_methods_for_privateuse1_backend", ignored),
        "set_module": same,
        "ThroughputBenchmark": kind("utils.ThroughputBenchmark", NO_TOOL),
    },
    "lazygrad.package": each_named(
        "package", "PackageExporter PackageImporter", kind,
        "save the weights (lazygrad.save) and keep the code in files of Python",
    ),
    "lazygrad.jit": {
        **each_named("jit", "ScriptFunction ScriptModule CompilationUnit TracedModule", kind, NO_SCRIPT),
        "TracerWarning": type("TracerWarning", (UserWarning,), {"__doc__": "Nothing gives it."}),
        "strict_fusion": nothing("strict_fusion"),
        "optimized_execution": nothing("optimized_execution"),
        **each_named("jit", "last_executed_optimized_graph _get_trace_graph", refused, NO_SCRIPT),
        "fork": lambda function, *args, **options: function(*args, **options),
        "wait": lambda value: value,
    },
    "lazygrad.cuda": {
        "CUDAGraph": kind("cuda.CUDAGraph", _NO_GRAPHS),
        **each_named("cuda", "graph make_graphed_callables graph_pool_handle", refused, _NO_GRAPHS),
        **each(
            "ipc_collect reset_accumulated_memory_stats set_sync_debug_mode set_per_process_memory_fraction",
            ignored,
        ),
        **each("is_current_stream_capturing is_tf32_supported can_device_access_peer", ignored, False),
        **each("get_sync_debug_mode utilization memory_usage temperature power_draw clock_rate", ignored, 0),
        "memory_snapshot": ignored([]),
        "StreamContext": nothing("StreamContext"),
        "has_magma": False,
    },
    "lazygrad.cuda.comm": each_named(
        "cuda.comm", "broadcast broadcast_coalesced gather reduce_add reduce_add_coalesced scatter", refused,
        "there is one device for a program: move tensors with .to(device)",
    ),
    "lazygrad.cuda.nccl": {"is_available": ignored(False), "version": ignored(0)},
    "lazygrad.cuda.graphs": {
        "CUDAGraph": kind("cuda.CUDAGraph", _NO_GRAPHS),
        "graph": refused("cuda.graph", _NO_GRAPHS),
    },
    "lazygrad.autograd": {
        "is_multithreading_enabled": ignored(False),
        "is_view_replay_enabled": ignored(False),
        "kineto_available": ignored(False),
        "enforce_grad_layout_policy": ignored(None),
    },
    "lazygrad.compiler": {
        "nested_compile_region": same,
        "substitute_in_graph": lambda original, **options: same,
        "wrap_numpy": same,
        "get_default_backend": ignored("lazygrad"),
        **each("set_default_backend save_cache_artifacts load_cache_artifacts set_enable_guard_collectives",
               ignored),
    },
    "lazygrad.compiler.config": {},
}
