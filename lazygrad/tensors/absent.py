"""Methods of PyTorch's tensors about kinds of tensors that there are not here, or about pinned memory: they
give back what a dense tensor in plain memory gives, or say what to do instead."""

from __future__ import annotations

from typing import Any

from lazygrad.missing import LAYOUTS, NO_NESTED, NO_QUANTIZED, NO_SPARSE, refuse
from lazygrad.tensors.core import FUNCTIONS, Tensor, creator, function, method
from lazygrad.tensors.linear import addmm, mm

_METHODS = {
    NO_SPARSE: (
        "to_sparse to_sparse_coo to_sparse_csr to_sparse_csc to_sparse_bsr to_sparse_bsc _to_sparse values "
        "indices coalesce _values _indices _nnz _dimI _dimV _coalesced_ crow_indices col_indices row_indices "
        "ccol_indices sparse_mask sparse_resize_ sparse_resize_and_clear_ resize_as_sparse_ smm sspaddmm"
    ),
    NO_QUANTIZED: (
        "int_repr q_scale q_zero_point qscheme q_per_channel_scales q_per_channel_zero_points "
        "q_per_channel_axis"
    ),
    NO_NESTED: "to_padded_tensor _nested_tensor_size _nested_tensor_strides _nested_tensor_storage_offsets",
}
_CREATORS = {
    NO_SPARSE: (
        "sparse_coo_tensor sparse_csr_tensor sparse_csc_tensor sparse_bsr_tensor sparse_bsc_tensor "
        "sparse_compressed_tensor hspmm hsmm"
    ),
    NO_QUANTIZED: (
        "quantize_per_tensor quantize_per_channel quantize_per_tensor_dynamic empty_quantized "
        "_make_per_tensor_quantized_tensor _make_per_channel_quantized_tensor quantized_batch_norm "
        "quantized_max_pool1d quantized_max_pool2d quantized_max_pool3d quantized_lstm quantized_gru "
        "quantized_lstm_cell quantized_gru_cell quantized_rnn_relu_cell quantized_rnn_tanh_cell"
    ),
    NO_NESTED: "_nested_tensor_from_mask _nested_view_from_buffer",
}


def _refusing(name: str, instead: str) -> Any:
    def refused(*args: Any, **options: Any) -> Any:
        refuse(name, instead)

    refused.__name__, refused.__doc__ = name, f"Raises UnsupportedError: {instead}."
    refused.instead = instead  # type: ignore[attr-defined]
    return refused


# whatever the arguments are, the answer is the same: no signature stands before these
for _instead, _names in (*_METHODS.items(), *_CREATORS.items()):
    for _name in _names.split():
        FUNCTIONS[_name] = _refusing(_name, _instead)
        if _name in _METHODS.get(_instead, "").split():
            setattr(Tensor, _name, FUNCTIONS[_name])


# what takes dense tensors too

creator("spmm", "dsmm")(mm)
creator("saddmm")(addmm)


@function("to_dense", "dequantize")
def to_dense(x: Tensor, *args: Any, **options: Any) -> Tensor:
    """The tensor itself."""
    return x


@method("is_coalesced", "is_pinned")
def is_pinned(x: Tensor, device: Any = None) -> bool:
    """False: memory is not pinned, and no tensor is sparse."""
    return False


@method("sparse_dim")
def sparse_dim(x: Tensor) -> int:
    """0: no dimension is sparse."""
    return 0


@method("dense_dim")
def dense_dim(x: Tensor) -> int:
    """The number of dimensions: all are dense."""
    return x.ndim


@method("to_mkldnn")
def to_mkldnn(x: Tensor, *args: Any) -> Tensor:
    """The tensor itself: the compiler chooses layouts."""
    return x


Tensor.layout = LAYOUTS["strided"]
for _name in (
    "is_sparse is_sparse_csr is_quantized is_nested is_mkldnn is_mps is_xpu is_xla is_ipu is_mtia is_maia "
    "is_vulkan volatile"
).split():
    setattr(Tensor, _name, False)
Tensor.name = None


@function("is_distributed")
def is_distributed(input: Tensor) -> bool:
    """False: every tensor is in this process alone."""
    return False


@method("pin_memory")
def pin_memory(x: Tensor, device: Any = None) -> Tensor:
    """The tensor itself: copies to a device need no pinned memory."""
    return x


@method("new")
def new(x: Tensor, *args: Any, device: Any = None) -> Tensor:
    """`Tensor(*args)` of this tensor's type and device."""
    made = Tensor.__new__(Tensor, *args, dtype=x._dtype)  # type: ignore[call-arg]
    return made.to(x.device if device is None else device)
