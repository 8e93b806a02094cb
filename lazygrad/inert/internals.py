"""The tables of names inside PyTorch that libraries import and seldom use: settings of its compilers, what
its tracers and allocators tell, guards of its dispatcher."""

from __future__ import annotations

import types
from typing import Any

from lazygrad.inert.kinds import OTHERS, each, each_named, ignored, kind, nothing, refused
from lazygrad.missing import NO_NESTED
from lazygrad.nn import _reduction
from lazygrad.switches import get_default_device
from lazygrad.tensors import device

_NO_FAKES = "lazygrad.device('meta') has tensors with shapes and without values"
_NO_BATCHES = "tensors are not wrapped here: lazygrad.func's functions rewrite the graph"
_ONE_BY_ONE = "lazygrad.func.vmap(lazygrad.func.grad(loss)) gives the gradient of each sample"
_NO_PASSES = "there is no backward engine here: a gradient is a part of the lazy graph"
_NO_COUNTS = "storages are not counted: a tensor's memory is freed with the last value that needs it"
_NO_ARCHIVE = "lazygrad.save writes files of that form"


class _Switches(types.SimpleNamespace):
    """Settings below a module of settings: None until they are set."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return None


def _settings(**known: Any) -> dict[str, Any]:
    """A module of settings without effect: what is not known is None until it is set."""
    patch = nothing("patch")
    return {
        "patch": lambda *args, **options: patch(),
        **each("save_config get_config_copy shallow_copy_dict", lambda: ignored({})),
        "load_config": ignored(),
        OTHERS: None,
        **known,
    }


_UNWRAPPED = (
    "is_batchedtensor is_functorch_wrapped_tensor is_gradtrackingtensor is_functionaltensor "
    "is_legacy_batchedtensor is_dead_tensor_wrapper"
)
INTERNALS: dict[str, dict[str, Any]] = {
    "lazygrad": {
        **each("has_cuda has_cudnn has_mps has_mkldnn", lambda: False),
        "_nested_tensor_from_mask_left_aligned": ignored(False),  # asked before making one
        "_nested_tensor_from_mask": refused("_nested_tensor_from_mask", NO_NESTED),
    },
    "lazygrad._dynamo.config": _settings(
        suppress_errors=False, cache_size_limit=8, recompile_limit=8, accumulated_cache_size_limit=256,
        capture_scalar_outputs=False, verbose=False, automatic_dynamic_shapes=None, dynamic_shapes=True,
        assume_static_by_default=True, force_parameter_static_shapes=True, optimize_ddp=True,
        compiled_autograd=False, trace_autograd_ops=False, inline_inbuilt_nn_modules=True, disable=False,
    ),
    "lazygrad._inductor.config": _settings(
        coordinate_descent_tuning=False, fx_graph_cache=False, max_autotune=False, epilogue_fusion=True,
        triton=_Switches(cudagraphs=False, unique_kernel_names=True), cpp=_Switches(),
        aot_inductor=_Switches(), trace=_Switches(enabled=False), rocm=_Switches(), cuda=_Switches(),
        compile_threads=1,
    ),
    "lazygrad._functorch.config": _settings(),
    "lazygrad.fx.experimental._config": _settings(),
    "lazygrad._dynamo.utils": {"disable_cache_limit": nothing("disable_cache_limit")},
    "lazygrad._dynamo.exc": each(
        "TensorifyScalarRestartAnalysis RestartAnalysis", lambda: type("Restart", (RuntimeError,), {})
    ),
    "lazygrad._inductor": {"inductor_prims": types.SimpleNamespace()},
    "lazygrad._inductor.cpu_vec_isa": {
        "pick_vec_isa": ignored(None), "valid_vec_isa_list": ignored([]),
    },
    "lazygrad._inductor.runtime": {},
    "lazygrad._inductor.runtime.cache_dir_utils": {"cache_dir": ignored("")},
    "lazygrad._subclasses.fake_tensor": {
        "FakeTensorConverter": kind("_subclasses.FakeTensorConverter", _NO_FAKES),
        "_is_tensor_constructor": ignored(False),
    },
    "lazygrad._C": {
        "_current_graph_task_id": ignored(-1),  # no backward pass runs beside the program's own lines
        "_storage_Use_Count": refused("_C._storage_Use_Count", _NO_COUNTS),
        "PyTorchFileWriter": kind("_C.PyTorchFileWriter", _NO_ARCHIVE),
        "PyTorchFileReader": kind("_C.PyTorchFileReader", "lazygrad.load reads files of that form"),
        **each("_jit_can_fuse_on_gpu _jit_can_fuse_on_cpu _jit_texpr_fuser_enabled", ignored, False),
        **each("_jit_override_can_fuse_on_gpu _jit_override_can_fuse_on_cpu", ignored),
        **each("_has_xpu _has_cuda _has_mps", lambda: False),
    },
    "lazygrad._C._profiler": {"_ExperimentalConfig": nothing("_ExperimentalConfig")},
    "lazygrad._C._functorch": {
        **each(_UNWRAPPED, ignored, False),
        **each_named(
            "_C._functorch", "_add_batch_dim _remove_batch_dim get_unwrapped", refused, _NO_BATCHES
        ),
        **each("maybe_current_level peek_interpreter_stack", ignored),
        "maybe_get_level": ignored(-1),
        "maybe_get_bdim": ignored(-1),
    },
    "lazygrad.autograd": {"_is_checkpoint_valid": ignored(True)},
    "lazygrad.backends.opt_einsum": {"set_flags": ignored((False, None)), "flags": nothing("flags")},
    "lazygrad.cuda": {
        "_lazy_call": ignored(),
        "_lazy_init": ignored(),
        "_sleep": ignored(),
        "_is_in_bad_fork": ignored(False),
        **each("_record_memory_history _dump_snapshot _set_allocator_settings _save_memory_usage", ignored),
        "_snapshot": ignored({"segments": [], "device_traces": []}),
    },
    "lazygrad.cuda.amp.common": {"amp_definitely_not_available": ignored(True)},
    "lazygrad.nn.functional": {"_Reduction": _reduction},
    "lazygrad.nn.utils._per_sample_grad": {
        "call_for_per_sample_grads": refused("nn.utils.call_for_per_sample_grads", _ONE_BY_ONE)
    },
    "lazygrad.utils._device": {
        "DeviceContext": device,
        "CURRENT_DEVICE": None,
        "set_device": lambda where: lambda function: _placed(where, function),
        "device_decorator": lambda where, function: _placed(where, function),
        "_device_constructors": ignored(set()),
    },
}


def _placed(where: Any, function: Any) -> Any:
    def run(*args: Any, **options: Any) -> Any:
        with device(where if where is not None else get_default_device()):
            return function(*args, **options)

    return run
