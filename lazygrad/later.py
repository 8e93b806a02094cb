"""Names of the root and methods of tensors that stand in modules of the floors above, which are loaded when
one of them is named."""

from __future__ import annotations

import importlib
from typing import Any

from lazygrad.tensors.core import Tensor

MODULES = frozenset(
    "accelerator amp autograd cuda distributed distributions fft func functional hub library linalg "
    "masked multiprocessing nn optim profiler quasirandom random return_types safetensors serialization "
    "signal special storage testing types utils version viz".split()
)

_NAMES = {
    "amp.grad_scaler": "GradScaler",
    "amp.autocast_mode": (
        "autocast is_autocast_enabled set_autocast_enabled get_autocast_dtype set_autocast_dtype "
        "get_autocast_gpu_dtype get_autocast_cpu_dtype is_autocast_cpu_enabled is_autocast_cache_enabled "
        "set_autocast_cache_enabled clear_autocast_cache"
    ),
    "control_flow": "cond while_loop",
    "cuda": "OutOfMemoryError",
    "func": "vmap",
    "layouts": (
        "layout memory_format strided sparse_coo sparse_csr sparse_csc sparse_bsr sparse_bsc jagged "
        "_mkldnn contiguous_format preserve_format channels_last channels_last_3d per_tensor_affine "
        "per_channel_affine per_tensor_symmetric per_channel_symmetric "
        "per_channel_affine_float_qparams complex32 complex64 complex128 chalf cfloat cdouble qint8 "
        "quint8 qint32 quint4x2 quint2x4 float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz "
        "float8_e8m0fnu float4_e2m1fn_x2 uint1 uint2 uint3 uint4 uint5 uint6 uint7 int1 int2 int3 "
        "int4 int5 int6 int7 bits1x8 bits2x4 bits4x2 bits8 bits16 FloatTensor DoubleTensor HalfTensor "
        "BFloat16Tensor LongTensor IntTensor "
        "ShortTensor CharTensor ByteTensor BoolTensor tensortype"
    ),
    "nn.functional.root": (
        "affine_grid_generator alpha_dropout alpha_dropout_ batch_norm "
        "binary_cross_entropy_with_logits celu celu_ conv_tbc convolution cosine_embedding_loss "
        "ctc_loss dropout dropout_ embedding_bag embedding_renorm_ fake_quantize_per_channel_affine "
        "fake_quantize_per_tensor_affine feature_alpha_dropout feature_alpha_dropout_ feature_dropout "
        "feature_dropout_ grid_sampler grid_sampler_2d grid_sampler_3d group_norm gru gru_cell hardshrink "
        "hinge_embedding_loss instance_norm kl_div layer_norm lstm lstm_cell margin_ranking_loss "
        "native_batch_norm native_channel_shuffle native_dropout native_group_norm native_layer_norm "
        "norm_except_dim poisson_nll_loss prelu rms_norm rnn_relu rnn_relu_cell rnn_tanh "
        "rnn_tanh_cell rrelu rrelu_ selu selu_ threshold threshold_ triplet_margin_loss"
    ),
    "serialization": "load save",
    "switches": (
        "_assert _assert_async _check _check_index _check_is_size _check_not_implemented _check_tensor_all "
        "_check_type _check_value _check_with _shape_as_tensor "
        "are_deterministic_algorithms_enabled compile compiled_with_cxx11_abi get_default_device "
        "get_deterministic_debug_mode get_device_module get_float32_matmul_precision get_num_interop_threads "
        "get_num_threads is_anomaly_enabled is_deterministic_algorithms_warn_only_enabled is_storage "
        "is_warn_always_enabled set_default_device set_default_tensor_type set_deterministic_debug_mode "
        "set_float32_matmul_precision set_flush_denormal set_num_interop_threads set_num_threads "
        "set_warn_always typename use_deterministic_algorithms"
    ),
    "tensors.random.generator": "default_generator",
    "tensors.modes": "is_inference_mode_enabled",
    "storage": (
        "Storage FloatStorage DoubleStorage HalfStorage BFloat16Storage LongStorage IntStorage ShortStorage "
        "CharStorage ByteStorage BoolStorage TypedStorage UntypedStorage"
    ),
    "torch_name": "as_torch",
}
MODULE_OF = {name: module for module, names in _NAMES.items() for name in names.split()}

_METHODS = {"nn.functional.activation": "hardshrink prelu"}
METHOD_OF = {name: module for module, names in _METHODS.items() for name in names.split()}


class LaterMethod:
    """A method of tensors until it is first named: the module that is then loaded publishes it in its
    place."""

    def __init__(self, name: str, module: str):
        self.name, self.module = name, module

    def __get__(self, tensor: Tensor | None, owner: type[Tensor]) -> Any:
        importlib.import_module(f"lazygrad.{self.module}")
        assert vars(Tensor)[self.name] is not self, f"{self.module} does not publish {self.name}"
        return getattr(owner if tensor is None else tensor, self.name)


for _name, _module in METHOD_OF.items():
    if _name not in vars(Tensor):
        setattr(Tensor, _name, LaterMethod(_name, _module))
