"""The tables of inert names: module, name, and what stands there (see `kinds.py`)."""

from __future__ import annotations

import os
import typing
from collections import namedtuple
from typing import Any

from lazygrad.errors import LibraryError, UnsupportedError
from lazygrad.hooks import RemovableHandle
from lazygrad.inert.absent import ABSENT
from lazygrad.inert.accepted import ACCEPTED
from lazygrad.inert.internals import INTERNALS
from lazygrad.inert.kinds import Nothing, each, each_named, ignored, kind, mode, nothing, refused, same
from lazygrad.inert.more_names import MORE_NAMES, NO_DISPATCH, NO_OVERRIDES, NO_SCRIPT, NO_TOOL
from lazygrad.inert.operators import Operators
from lazygrad.inert.refused import refusals
from lazygrad.inert.settings import SETTINGS
from lazygrad.missing import NO_QUANTIZED, NO_SPARSE
from lazygrad.nn.module import parse_to
from lazygrad.profiler import profile, record_function
from lazygrad.switches import get_default_device
from lazygrad.tensors import Tensor, device, printing
from lazygrad.vision import OPERATORS

_NO_GRAPH = (
    "lazygrad has no graphs of Python's operators to rewrite: a tensor's own lazy graph is what "
    "runs. lazygrad.explain(y) shows it, and lazygrad.jit(function) records a function of tensors "
    "once"
)
_NO_ONNX = (
    "lazygrad writes no ONNX files: save the weights (lazygrad.save, or safetensors), load them into "
    "the same model in PyTorch, and export it there"
)
_NO_KERNELS = (
    "operators compiled for PyTorch cannot run here: write it with tensor operations, which are "
    "compiled together, or as an autograd.Function"
)
_NO_FAKES = "lazygrad.device('meta') has tensors with shapes and without values"
_NO_DOWNLOADS = "lazygrad runs no code from the network: fetch the repository and import it"

_OPTIMIZED = kind("_dynamo.OptimizedModule", _NO_GRAPH)
_Unpacked = namedtuple("_Unpacked", "primal tangent")  # of a tensor that is not dual
_FX_KINDS = "Graph GraphModule Node Proxy Tracer Interpreter Transformer CodeGen"


def _parsed_to(*args: Any, **options: Any) -> tuple[Any, ...]:
    """What `Module.to` understands: the device as one, the dtype, and two things that change nothing here."""
    where, dtype = parse_to(args, options)
    return None if where is None else device(where), dtype, False, None


def _load_library(path: Any) -> None:
    """Loads nothing: succeeds for the library of torchvision whose operators are built in, and raises
    LibraryError for any other."""
    folder, name = os.path.split(os.fspath(path))
    if os.path.basename(folder) != "torchvision" or not name.startswith("_C"):
        raise LibraryError(f"[ops.load_library] {_NO_KERNELS}")


_OWN: dict[str, dict[str, Any]] = {
    # Tracing into graphs
    "lazygrad.fx": {
        "wrap": same,
        "has_side_effect": same,
        **each_named("fx", _FX_KINDS, kind, _NO_GRAPH),
        **each_named("fx", "symbolic_trace replace_pattern subgraph_rewriter passes", refused, _NO_GRAPH),
    },
    "lazygrad.fx.node": {
        "Target": typing.Any,
        "Argument": typing.Any,
        "Node": kind("fx.Node", _NO_GRAPH),
        **each_named("fx.node", "map_arg map_aggregate has_side_effect", refused, _NO_GRAPH),
    },
    "lazygrad.fx.graph": {"Graph": kind("fx.Graph", _NO_GRAPH), "CodeGen": kind("fx.CodeGen", _NO_GRAPH)},
    "lazygrad.fx.graph_module": {
        "GraphModule": kind("fx.GraphModule", _NO_GRAPH),
        "_CodeOnlyModule": kind("fx.graph_module._CodeOnlyModule", _NO_GRAPH),
        "_USER_PRESERVED_ATTRIBUTES_KEY": "_user_preserved_attributes",
        "_copy_attr": refused("fx.graph_module._copy_attr", _NO_GRAPH),
    },
    "lazygrad.fx.proxy": each_named(
        "fx", "Proxy GraphAppendingTracer TraceError ParameterProxy", kind, _NO_GRAPH
    ),
    "lazygrad.fx.experimental": {},
    "lazygrad.fx.experimental.proxy_tensor": {
        "get_proxy_mode": ignored(None),
        "make_fx": refused("fx.experimental.proxy_tensor.make_fx", _NO_GRAPH),
    },
    "lazygrad.fx.experimental.symbolic_shapes": each_named("fx", "ShapeEnv", kind, _NO_GRAPH),
    "lazygrad.jit.annotations": {
        **{f"BroadcastingList{n}": list for n in range(1, 7)},
        **{name: getattr(typing, name) for name in "Any Dict List Optional Tuple Union".split()},
    },
    "lazygrad._dynamo": {
        "OptimizedModule": _OPTIMIZED,
        **each(
            "allow_in_graph disable mark_static disallow_in_graph assume_constant_result optimize "
            "forbid_in_graph run skip",
            lambda: same,
        ),
        **each("reset mark_dynamic maybe_mark_dynamic mark_static_address", ignored),
        "is_compiling": ignored(False),
    },
    "lazygrad._dynamo.eval_frame": {"OptimizedModule": _OPTIMIZED},
    "lazygrad._dynamo.exc": {"Unsupported": UnsupportedError, "TorchDynamoException": UnsupportedError},
    "lazygrad._dynamo._trace_wrapped_higher_order_op": {"TransformGetItemToIndex": Nothing},
    "lazygrad._dynamo.utils": {"is_compile_supported": ignored(False)},
    "lazygrad._inductor": {
        "cudagraph_mark_step_begin": ignored(),
        "list_mode_options": ignored({}),
        "list_options": ignored([]),
    },
    "lazygrad.compiler": {
        **each("allow_in_graph disable assume_constant_result", lambda: same),
        **each("reset cudagraph_mark_step_begin", ignored),
        **each("is_compiling is_dynamo_compiling is_exporting", ignored, False),
        "list_backends": ignored(["lazygrad"]),
        "set_stance": nothing("set_stance"),
    },
    "lazygrad.export": each_named("export", "export Dim save load", refused, _NO_GRAPH),
    # Operators written for PyTorch
    "lazygrad._custom_ops": each_named(
        "_custom_ops", "custom_op impl get_ctx impl_abstract", refused, _NO_KERNELS
    ),
    "lazygrad.torch_ops": {
        "aten": Operators(),
        "load_library": _load_library,
        "import_module": refused("ops.import_module", _NO_KERNELS),
    },
    "lazygrad.torch_ops.profiler": each("_record_function_enter _record_function_exit", ignored),
    "lazygrad.torch_ops.torchvision": {**OPERATORS, "_cuda_version": ignored(-1)},
    "lazygrad.classes": {"load_library": refused("classes.load_library", _NO_KERNELS, LibraryError)},
    "lazygrad.classes.NativeInterpretation": {
        "ElementwiseInterpreter": kind("classes.NativeInterpretation.ElementwiseInterpreter", _NO_KERNELS),
    },
    "lazygrad.utils.cpp_extension": {
        "CUDA_HOME": None,
        "ROCM_HOME": None,
        **each_named(
            "utils.cpp_extension",
            "load load_inline BuildExtension CppExtension CUDAExtension",
            refused,
            _NO_KERNELS,
        ),
    },
    "lazygrad._C": {
        "_get_tracing_state": ignored(None),
        "_log_api_usage_once": ignored(None),
        **each_named("_C", "Graph Node Value", kind, NO_SCRIPT),
        "DisableTorchFunction": nothing("DisableTorchFunction"),
        "DisableTorchFunctionSubclass": nothing("DisableTorchFunctionSubclass"),
        **each("_is_tracing _is_torch_function_mode_enabled", ignored, False),
        "_get_cudnn_enabled": ignored(True),
        "_jit_set_autocast_mode": ignored(False),
        **each("_current_autograd_node _jit_set_texpr_fuser_enabled", ignored),
        "_jit_set_profiling_executor": ignored(False),
        "_jit_set_profiling_mode": ignored(False),
        "_ExcludeDispatchKeyGuard": nothing("_ExcludeDispatchKeyGuard"),
        "DispatchKeySet": nothing("DispatchKeySet"),
        "_cuda_clearCublasWorkspaces": ignored(None),
        "_get_default_device": lambda: get_default_device().type,
        "_are_functorch_transforms_active": ignored(False),
        "_TensorMeta": type(Tensor),
        "_disabled_torch_function_impl": lambda function, types, args=(), kwargs=None: function(
            *args, **(kwargs or {})
        ),
    },
    "lazygrad._C._nn": {"_parse_to": _parsed_to},
    "lazygrad._C.DispatchKey": dict.fromkeys(("AutocastCPU", "AutocastCUDA", "AutocastXPU", "CPU", "CUDA")),
    "lazygrad.__config__": {
        "show": ignored("lazygrad: kernels are compiled when they are needed"),
        "parallel_info": ignored("lazygrad: see get_num_threads()"),
    },
    "lazygrad._tensor_str": {
        "PRINT_OPTS": printing.Options,
        "_tensor_str": printing.contents,
        "_add_suffixes": printing.with_suffixes,
    },
    "lazygrad._subclasses.fake_tensor": {
        "is_fake": ignored(False),
        **each_named("_subclasses", "FakeTensor FakeTensorMode", kind, _NO_FAKES),
    },
    "lazygrad._subclasses": {},
    "lazygrad._prims_common": {"alert_not_deterministic": ignored(None)},
    # Files that other programs read
    "lazygrad.onnx": {
        "is_in_onnx_export": ignored(False),
        **each_named(
            "onnx", "export _export dynamo_export load", refused, _NO_ONNX
        ),
        **each("register_custom_op_symbolic unregister_custom_op_symbolic", ignored),
    },
    "lazygrad.onnx.operators": {"shape_as_tensor": refused("onnx.operators.shape_as_tensor", _NO_ONNX)},
    "lazygrad.onnx.TensorProtoDataType": {"FLOAT": 1, "INT32": 6, "INT64": 7, "BOOL": 9, "FLOAT16": 10},
    "lazygrad.onnx.symbolic_helper": {
        "parse_args": lambda *kinds: same,
        **each_named(
            "onnx.symbolic_helper", "_get_const _unimplemented _get_tensor_sizes", refused, _NO_ONNX
        ),
    },
    "lazygrad.onnx.symbolic_opset11": each_named(
        "onnx.symbolic_opset11", "select squeeze unsqueeze", refused, _NO_ONNX
    ),
    "lazygrad.onnx.symbolic_opset9": each_named(
        "onnx.symbolic_opset9", "select squeeze unsqueeze", refused, _NO_ONNX
    ),
    # Looking inside
    "lazygrad.autograd.graph": {
        "set_multithreading_enabled": nothing("set_multithreading_enabled"),
        "region_activation_memory_budget": nothing("region_activation_memory_budget"),
        **each(
            "set_override_stale_capture_stream set_warn_on_accumulate_grad_stream_mismatch", ignored
        ),
    },
    "lazygrad.autograd.profiler": {
        "profile": profile,
        "record_function": record_function,
        "emit_nvtx": record_function,
        "emit_itt": record_function,
        "EventList": list,
    },
    "lazygrad.autograd": {
        "detect_anomaly": nothing("detect_anomaly"),
        "set_detect_anomaly": nothing("set_detect_anomaly"),
        "set_multithreading_enabled": nothing("set_multithreading_enabled"),
    },
    "lazygrad.autograd.forward_ad": each_named(
        "autograd.forward_ad",
        "dual_level make_dual",
        refused,
        "there are no dual tensors here: func.jvp and autograd.functional.jvp give the same derivatives",
    )
    | {"UnpackedDualTensor": _Unpacked, "unpack_dual": lambda tensor, *, level=None: _Unpacked(tensor, None)},
    "lazygrad.overrides": {
        "has_torch_function": ignored(False),
        "has_torch_function_unary": ignored(False),
        "has_torch_function_variadic": ignored(False),
        "is_tensor_like": lambda x: hasattr(x, "graph_node"),
        "handle_torch_function": refused(
            "overrides.handle_torch_function", "tensors have no __torch_function__ here"
        ),
        "TorchFunctionMode": mode("overrides.TorchFunctionMode", NO_OVERRIDES),
    },
    "lazygrad.utils.hooks": {"RemovableHandle": RemovableHandle},
    "lazygrad.utils._contextlib": {"_DecoratorContextManager": Nothing},
    "lazygrad._logging": {"set_logs": ignored(None)},
    "lazygrad.monitor": {},
}


def _united(*tables: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """One table of all rows, module by module."""
    modules: dict[str, dict[str, Any]] = {}
    for table in tables:
        for module, rows in table.items():
            modules.setdefault(module, {}).update(rows)
    for module in list(modules):  # what a module is below must be there to be imported
        while module := module.rpartition(".")[0]:
            modules.setdefault(module, {})
    return modules


_REASONS = {
    "graph": _NO_GRAPH,
    "script": NO_SCRIPT,
    "onnx": _NO_ONNX,
    "kernels": _NO_KERNELS,
    "quantized": NO_QUANTIZED,
    "sparse": NO_SPARSE,
    "archive": "lazygrad.save and lazygrad.load write and read tensors, modules and state_dicts",
    "device": "there is nothing to ask or to set of this device: OpenCL devices are used by the name 'cl'",
    "dispatch": NO_DISPATCH,
    "functional_optim": "optimizers have no step functions of their own: make the optimizer and call step()",
    "processes": "lazygrad runs in one process and on one device at a time: call the function itself",
    "tool": NO_TOOL,
}
TABLES = _united(refusals(_REASONS), ACCEPTED, SETTINGS, ABSENT, MORE_NAMES, INTERNALS, _OWN)
