"""The tables of settings of other backends: accepted, remembered, and without effect."""

from __future__ import annotations

from typing import Any

from lazygrad.inert.kinds import each, ignored, nothing, same

_MATMUL: dict[str, Any] = {
    "allow_tf32": False,
    "allow_fp16_reduced_precision_reduction": True,
    "allow_bf16_reduced_precision_reduction": True,
    "allow_fp16_accumulation": False,
    "fp32_precision": "none",
}
_ABSENT = {"is_available": ignored(False), "is_built": ignored(False)}
_FLAGS: dict[str, Any] = {
    "enabled": True,
    "allow_tf32": True,
    "benchmark": False,
    "benchmark_limit": 10,
    "deterministic": False,
    "fp32_precision": "none",
    "version": ignored(None),
    "is_acceptable": ignored(False),
    "flags": nothing("flags"),
    "set_flags": ignored(None),
}
_SDP = "flash_sdp mem_efficient_sdp math_sdp cudnn_sdp"

SETTINGS: dict[str, dict[str, Any]] = {
    "lazygrad.backends": {},
    "lazygrad.backends.cudnn": {**_ABSENT, **_FLAGS},
    "lazygrad.backends.cudnn.rnn": {"fp32_precision": "none"},
    "lazygrad.backends.miopen": {"immediate": False},
    "lazygrad.backends.cuda": {
        "is_built": ignored(False),
        "sdp_kernel": nothing("sdp_kernel"),
        "preferred_linalg_library": ignored(None),
        "preferred_blas_library": ignored(None),
        **{f"enable_{name}": ignored(None) for name in _SDP.split()},
        **{f"{name}_enabled": ignored(name == "math_sdp") for name in _SDP.split()},
        "can_use_flash_attention": ignored(False),
        "can_use_efficient_attention": ignored(False),
    },
    "lazygrad.backends.cuda.matmul": dict(_MATMUL),
    "lazygrad.backends.cuda.cufft_plan_cache": {"max_size": 0, "size": 0, "clear": ignored(None)},
    "lazygrad.backends.mps": dict(_ABSENT),
    "lazygrad.backends.mkl": dict(_ABSENT),
    "lazygrad.backends.mkldnn": {**_ABSENT, "enabled": False, "flags": nothing("flags")},
    "lazygrad.backends.openmp": {"is_available": ignored(False)},
    "lazygrad.backends.cpu": {"get_cpu_capability": ignored("DEFAULT")},
    "lazygrad.backends.opt_einsum": {"enabled": False, "strategy": None, "is_available": ignored(False)},
    "lazygrad.backends.quantized": {"engine": "none", "supported_engines": ["none"]},
    "lazygrad.backends.xeon": {},
    "lazygrad.cuda.nvtx": each("range_push range_pop mark range range_start range_end", ignored),
    "lazygrad.cuda.tunable": each("enable tuning_enable set_filename", ignored),
    "lazygrad.cuda.memory": {},
    "lazygrad.mps": {
        **each("synchronize empty_cache manual_seed seed set_per_process_memory_fraction", ignored),
        **each("current_allocated_memory driver_allocated_memory device_count", ignored, 0),
        "is_available": ignored(False),
    },
    "lazygrad.xpu": {"is_available": ignored(False), "device_count": ignored(0)},
    "lazygrad.mtia": {"is_available": ignored(False), "device_count": ignored(0)},
    "lazygrad.cpu": {
        "is_available": ignored(True),
        "device_count": ignored(1),
        "current_device": ignored("cpu"),
        "synchronize": ignored(None),
        "is_initialized": ignored(True),
        "set_device": ignored(None),
        "stream": nothing("stream"),
        "Stream": nothing("Stream"),
        "current_stream": ignored(None),
    },
    "lazygrad._utils": {"_get_device_index": ignored(0)},
    "lazygrad.optim.optimizer": {"_get_capturable_supported_devices": ignored(["cuda"])},
    "lazygrad.utils.hooks": {"unserializable_hook": same},
}
