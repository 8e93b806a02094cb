"""The tables of seldom called names that can be ignored: what other devices and compilers can be asked and
told."""

from __future__ import annotations

import types
from collections import namedtuple
from enum import Enum
from typing import Any

from lazygrad.amp.autocast_mode import set_autocast_dtype, set_autocast_enabled
from lazygrad.dtypes import bfloat16, float16
from lazygrad.inert.kinds import each, ignored, nothing, same
from lazygrad.tensors import Tensor
from lazygrad.tensors.random.generator import default_generator

_COMPILER: dict[str, Any] = {
    "assume_static_by_default": True, "automatic_dynamic_shapes": True, "capture_scalar_outputs": False,
    "capture_dynamic_output_shape_ops": False, "dynamic_shapes": True, "fail_on_recompile_limit_hit": False,
    "force_disable_caches": False, "job_id": None, "recompile_limit": 8, "accumulated_recompile_limit": 256,
    "verbose": False, "log_file_name": None, "allow_unspec_int_on_nn_module": False,
    "enable_cpp_symbolic_shape_guards": True, "reorderable_logging_functions": set(),
    "skip_tensor_guards_with_matching_dict_tags": True, "wrap_top_frame": False,
}  # fmt: skip
_RANDOM = {  # there is one generator
    "get_rng_state": lambda device=None: default_generator.get_state(),
    "set_rng_state": lambda new_state, device=None: default_generator.set_state(new_state),
    "get_rng_state_all": ignored([]),
    "initial_seed": lambda: default_generator.initial_seed(),
    **each("set_rng_state_all seed seed_all manual_seed manual_seed_all", ignored),
}
_NO_QUEUES = {
    **each("set_stream set_device init synchronize empty_cache reset_peak_memory_stats "
           "reset_accumulated_memory_stats set_per_process_memory_fraction snapshot record_memory_history "
           "attach_out_of_memory_observer", ignored),
    **each("memory_allocated memory_reserved max_memory_allocated max_memory_reserved memory_usage "
           "utilization temperature power_draw clock_rate device_memory_used current_device", ignored, 0),
    **each("is_initialized is_bf16_supported is_tf32_supported is_current_stream_capturing "
           "can_device_access_peer", ignored, False),
    **each("memory_stats memory_stats_as_nested_dict memory_snapshot", lambda: ignored({})),
    **{name: nothing(name) for name in ("device", "device_of", "stream", "Stream", "StreamContext", "Event",
                                        "MemPool", "use_mem_pool")},
    "get_arch_list": ignored([]),
    "get_gencode_flags": ignored(""),
}
_TUNABLE = (
    "set_max_tuning_duration set_max_tuning_iterations set_numerical_check_tolerances "
    "set_rotating_buffer_size read_file record_untuned_enable tune_gemm_in_file mgpu_tune_gemm_in_file"
)


_OF_CUDA = "memory_stats_as_nested_dict device_memory_used get_gencode_flags MemPool use_mem_pool".split()


class DeviceType(Enum):
    """Kinds of devices that a profile names."""

    CPU, CUDA, XPU, MTIA, HPU, PrivateUse1 = range(6)


def _is_of_tensor(function: Any) -> bool:
    """Whether it is a method or property of tensors."""
    return function in (getattr(Tensor, name, None) for name in dir(Tensor))


ACCEPTED: dict[str, dict[str, Any]] = {
    "lazygrad": {
        "set_autocast_cpu_enabled": lambda enabled: set_autocast_enabled("cpu", enabled),
        "set_autocast_cpu_dtype": lambda dtype: set_autocast_dtype("cpu", dtype),
        "set_autocast_gpu_dtype": lambda dtype: set_autocast_dtype("cuda", dtype),
        **each("is_autocast_ipu_enabled is_autocast_xla_enabled", ignored, False),
        "get_autocast_ipu_dtype": ignored(float16),
        "get_autocast_xla_dtype": ignored(bfloat16),
        **each("set_autocast_ipu_dtype set_autocast_ipu_enabled set_autocast_xla_dtype "
               "set_autocast_xla_enabled", ignored),
        "thread_safe_generator": ignored(None),
    },
    "lazygrad.random": {"thread_safe_generator": ignored(None)},
    "lazygrad.amp.autocast_mode": {"autocast_decorator": lambda autocast, function: autocast(function)},
    "lazygrad.amp.grad_scaler": {"OptState": Enum("OptState", ["READY", "UNSCALED", "STEPPED"], start=0)},
    "lazygrad.cuda": {
        **{key: value for key, value in _NO_QUEUES.items() if key in _OF_CUDA},
        **each("caching_allocator_enable reset_accumulated_host_memory_stats reset_peak_host_memory_stats "
               "check_error caching_allocator_delete", ignored),
        "max_memory_cached": ignored(0),
        "get_per_process_memory_fraction": ignored(1.0),
        "get_allocator_backend": ignored("native"),
        "list_gpu_processes": ignored("no processes are known"),
        **each("host_memory_stats host_memory_stats_as_nested_dict", lambda: ignored({})),
        "caching_allocator_disabled": nothing("caching_allocator_disabled"),
    },
    "lazygrad.cuda.profiler": {**each("start stop", ignored), "profile": nothing("profile")},
    "lazygrad.cuda.tunable": {
        **each(_TUNABLE, ignored),
        **each("is_enabled tuning_is_enabled record_untuned_is_enabled", ignored, False),
        **each("get_max_tuning_duration get_max_tuning_iterations get_rotating_buffer_size", ignored, 0),
        "get_filename": ignored(""),
        **each("get_results get_validators", lambda: ignored(())),
    },
    "lazygrad.xpu": {**_NO_QUEUES, **_RANDOM, "current_stream": ignored(None), "default_generators": ()},
    "lazygrad.mtia": {**_NO_QUEUES, **_RANDOM, **each("current_stream default_stream", ignored)},
    "lazygrad.mps": {
        "get_rng_state": _RANDOM["get_rng_state"],
        "set_rng_state": _RANDOM["set_rng_state"],
        "recommended_max_memory": ignored(0),
        "Event": nothing("Event", synchronize=None, record=None, wait=None, query=True, elapsed_time=0.0),
    },
    "lazygrad.mps.event": {"Event": nothing("Event")},
    "lazygrad.mps.profiler": {
        **each("start stop", ignored),
        **each("is_capturing_metal is_metal_capture_enabled", ignored, False),
        **{name: nothing(name) for name in ("profile", "metal_capture")},
    },
    "lazygrad.cpu": {
        "Event": nothing("Event"), "StreamContext": nothing("StreamContext"), "get_capabilities": ignored({}),
    },
    "lazygrad.accelerator": {
        **each("empty_host_cache reset_accumulated_memory_stats", ignored),
        "max_memory_reserved": ignored(0),
        "memory_stats": ignored({}),
    },
    "lazygrad.backends.nnpack": {
        "is_available": ignored(False), "set_flags": ignored(None), "flags": nothing("flags"),
    },
    "lazygrad.backends.mha": {"get_fastpath_enabled": ignored(False), "set_fastpath_enabled": ignored(None)},
    "lazygrad.backends.kleidiai": {"is_available": ignored(False)},
    "lazygrad.backends.cusparselt": {"is_available": ignored(False), "version": ignored(None)},
    "lazygrad.backends.mkl": {"VERBOSE_OFF": 0, "VERBOSE_ON": 1, "verbose": nothing("verbose")},
    "lazygrad.backends.mps": {
        **each("is_macos13_or_newer is_macos_or_newer", ignored, False),
        "get_core_count": ignored(0), "get_name": ignored(""),
    },
    "lazygrad.backends.cuda": {
        **each("can_use_cudnn_attention is_flash_attention_available is_ck_sdpa_available "
               "fp16_bf16_reduction_math_sdp_allowed", ignored, False),
        **each("allow_fp16_bf16_reduction_math_sdp preferred_rocm_fa_library", ignored),
    },
    "lazygrad.compiler": each(
        "keep_portable_guards_unsafe keep_tensor_guards_unsafe skip_all_guards_unsafe "
        "skip_guard_on_all_nn_modules_unsafe skip_guard_on_globals_unsafe "
        "skip_guard_on_inbuilt_nn_modules_unsafe", ignored),
    "lazygrad.compiler.config": dict(_COMPILER),
    "lazygrad._dynamo": {
        **each("nonstrict_trace dont_skip_tracing register_backend", lambda: same),
        **each("reset_code_caches reset_recompile_user_contexts set_recursion_limit skip_frame "
               "graph_break", ignored),
        **{name: nothing(name) for name in (
            "set_stance", "error_on_graph_break", "patch_dynamo_config", "disable_nested_graph_breaks")},
        "list_backends": ignored(["lazygrad"]),
        "get_recursion_limit": ignored(-1),
        "is_dynamo_disable_recursive": ignored(None),
    },
    "lazygrad.fx.traceback": {
        **{name: nothing(name) for name in ("annotate", "preserve_node_meta", "set_current_meta")},
        "annotate_fn": lambda annotation: same,
        "has_preserved_node_meta": ignored(False),
        "get_current_meta": ignored({}),
        **each("set_stack_trace set_grad_fn_seq_nr reset_grad_fn_seq_nr", ignored),
        "format_stack": ignored([]),
    },
    "lazygrad.jit": {
        "onednn_fusion_enabled": ignored(False),
        "Error": RuntimeError,
        "Attribute": namedtuple("Attribute", "value type"),
    },
    "lazygrad.overrides": {
        "get_ignored_functions": ignored(set()),
        **each("get_overridable_functions get_testing_overrides", lambda: ignored({})),
        "get_default_nowrap_functions": ignored(set()),
        "is_tensor_method_or_property": _is_of_tensor,
        "resolve_name": lambda function: getattr(function, "__qualname__", None),
        "wrap_torch_function": lambda dispatcher: same,
        "enable_reentrant_dispatch": nothing("enable_reentrant_dispatch"),
        "BaseTorchFunctionMode": nothing("BaseTorchFunctionMode"),
    },
    "lazygrad.utils._python_dispatch": each(
        "is_traceable_wrapper_subclass_type any_torch_dispatch_mode_on_stack", ignored, False),
    "lazygrad.utils.hooks": {"warn_if_has_hooks": ignored(None)},
    "lazygrad.utils": each("get_cpp_backtrace", ignored, ""),
    "lazygrad.utils.serialization": {},
    "lazygrad.utils.serialization.config": {
        "load": types.SimpleNamespace(mmap=False, endianness=None, calculate_storage_offsets=False),
        "save": types.SimpleNamespace(
            compute_crc32=True, use_pinned_memory_for_d2h=False, storage_alignment=64),
    },
    "lazygrad.serialization": {
        "SourceChangeWarning": type("SourceChangeWarning", (Warning,), {"__doc__": "Nothing gives it."}),
        "register_package": ignored(None),
    },
    "lazygrad.profiler": {
        "DeviceType": DeviceType, "ExecutionTraceObserver": nothing("ExecutionTraceObserver"),
    },
    "lazygrad.profiler.itt": {
        "is_available": ignored(False), "range": nothing("range"),
        **each("mark range_push range_pop", ignored),
    },
    "lazygrad.autograd.profiler": {
        "KinetoStepTracker": nothing("KinetoStepTracker", init_step_count=None, increment_step=0),
    },
    "lazygrad.nn.attention": {
        "WARN_FOR_UNFUSED_KERNELS": False,
        **each("activate_flash_attention_impl register_flash_attention_impl restore_flash_attention_impl "
               "current_flash_attention_impl", ignored),
        "list_flash_attention_impls": ignored([]),
    },
    "lazygrad.monitor": each("log_event unregister_event_handler", ignored),
    "lazygrad.utils.data": {"runtime_validation_disabled": nothing("runtime_validation_disabled")},
}
