"""The tables of names about kinds of tensors that there are not: sparse, quantized, nested, masked."""

from __future__ import annotations

from typing import Any

from lazygrad.inert.kinds import each, each_named, ignored, kind, nothing, refused
from lazygrad.missing import NO_COMPLEX, NO_NESTED, NO_QUANTIZED, NO_SPARSE
from lazygrad.nn.linear import Identity
from lazygrad.tensors import FUNCTIONS

_NO_MASKED = "there are no masked tensors here: keep the mask in a tensor, and use where or masked_fill"

_QUANTIZING = (
    "quantize quantize_dynamic quantize_qat prepare prepare_qat convert get_default_qconfig swap_module "
    "get_default_qat_qconfig get_default_qconfig_mapping get_default_qat_qconfig_mapping fuse_modules "
    "fuse_modules_qat propagate_qconfig_ add_quant_dequant float_qparams_weight_only_qconfig "
    "default_dynamic_qconfig default_qconfig default_qat_qconfig per_channel_dynamic_qconfig"
)
_OBSERVERS = (
    "QConfig QConfigMapping QuantWrapper FakeQuantize FakeQuantizeBase MinMaxObserver HistogramObserver "
    "MovingAverageMinMaxObserver PerChannelMinMaxObserver MovingAveragePerChannelMinMaxObserver "
    "PlaceholderObserver NoopObserver ObserverBase RecordingObserver"
)
_LAYERS = (
    "Linear Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d BatchNorm2d BatchNorm3d "
    "Embedding EmbeddingBag LSTM GRU LayerNorm GroupNorm InstanceNorm1d InstanceNorm2d InstanceNorm3d "
    "LeakyReLU ReLU6 PReLU ELU Hardswish Sigmoid Softmax Dropout MaxPool2d MultiheadAttention Quantize "
    "DeQuantize QFunctional"
)
_FUSED = (
    "ConvReLU1d ConvReLU2d ConvReLU3d ConvBn1d ConvBn2d ConvBn3d ConvBnReLU1d ConvBnReLU2d ConvBnReLU3d "
    "LinearReLU LinearBn1d BNReLU2d BNReLU3d"
)


class FloatFunctional:
    """Operations of models that could be quantized, on plain floats."""

    add = add_scalar = staticmethod(FUNCTIONS["add"])
    mul = mul_scalar = staticmethod(FUNCTIONS["mul"])
    matmul = staticmethod(FUNCTIONS["matmul"])

    @staticmethod
    def cat(x: Any, dim: int = 0) -> Any:
        """The tensors one after the other."""
        return FUNCTIONS["cat"](x, dim)

    @staticmethod
    def add_relu(x: Any, y: Any) -> Any:
        """max(x + y, 0)."""
        return FUNCTIONS["relu"](FUNCTIONS["add"](x, y))


def _quantizing(prefix: str) -> dict[str, Any]:
    return {
        **each_named(prefix, _QUANTIZING, refused, NO_QUANTIZED),
        **each_named(prefix, _OBSERVERS, kind, NO_QUANTIZED),
        **dict.fromkeys(("QuantStub", "DeQuantStub"), Identity),  # what they are until a model is converted
        **each("disable_fake_quant enable_fake_quant disable_observer enable_observer", ignored),
    }


def _layers(prefix: str) -> dict[str, Any]:
    return {**each_named(prefix, _LAYERS, kind, NO_QUANTIZED), "FloatFunctional": FloatFunctional}


_SPARSE_TYPES = (
    "FloatTensor DoubleTensor HalfTensor BFloat16Tensor LongTensor IntTensor ShortTensor CharTensor "
    "ByteTensor SparseSemiStructuredTensor"
)
_SPECTRA = (
    "fft ifft rfft irfft hfft ihfft fft2 ifft2 rfft2 irfft2 hfft2 ihfft2 fftn ifftn rfftn irfftn hfftn ihfftn"
)
ABSENT: dict[str, dict[str, Any]] = {
    "lazygrad": each_named(
        "torch",
        "ComplexFloatStorage ComplexDoubleStorage QInt8Storage QUInt8Storage QInt32Storage",
        kind,
        f"{NO_COMPLEX}, and {NO_QUANTIZED}",
    ),
    "lazygrad.sparse": {
        **each_named("sparse", _SPARSE_TYPES, kind, NO_SPARSE),
        **each_named(
            "sparse",
            "sum softmax log_softmax spdiags sampled_addmm spsolve to_sparse_semi_structured "
            "as_sparse_gradcheck",
            refused,
            NO_SPARSE,
        ),
        "mm": FUNCTIONS["mm"],  # of dense ones, as PyTorch takes them too
        "addmm": FUNCTIONS["addmm"],
        "check_sparse_tensor_invariants": nothing(
            "check_sparse_tensor_invariants", enable=None, disable=None, is_enabled=False
        ),
    },
    "lazygrad.nested": each_named(
        "nested",
        "nested_tensor as_nested_tensor to_padded_tensor nested_tensor_from_jagged narrow masked_select",
        refused,
        NO_NESTED,
    ),
    "lazygrad.masked": {
        **each_named("masked", "masked_tensor as_masked_tensor", refused, _NO_MASKED),
        "MaskedTensor": kind("masked.MaskedTensor", _NO_MASKED),
        "is_masked_tensor": ignored(False),
    },
    "lazygrad.masked.maskedtensor": {
        "MaskedTensor": kind("masked.MaskedTensor", _NO_MASKED),
        "is_masked_tensor": ignored(False),
    },
    "lazygrad.fft": each_named(
        "fft", _SPECTRA, refused,
        f"{NO_COMPLEX}. stft(..., return_complex=False) gives spectra as pairs, and a product with the "
        "matrices of cosines and sines is a Fourier transform",
    ),
    "lazygrad.quantization": _quantizing("quantization"),
    "lazygrad.ao": {},
    "lazygrad.ao.quantization": _quantizing("ao.quantization"),
    "lazygrad.ao.nn": {},
    "lazygrad.ao.nn.quantized": _layers("ao.nn.quantized"),
    "lazygrad.ao.nn.quantized.dynamic": each_named("ao.nn.quantized.dynamic", _LAYERS, kind, NO_QUANTIZED),
    "lazygrad.ao.nn.intrinsic": each_named("ao.nn.intrinsic", _FUSED, kind, NO_QUANTIZED),
    "lazygrad.ao.nn.qat": each_named("ao.nn.qat", _LAYERS, kind, NO_QUANTIZED),
    "lazygrad.nn.quantized": _layers("nn.quantized"),
    "lazygrad.nn.quantized.dynamic": each_named("nn.quantized.dynamic", _LAYERS, kind, NO_QUANTIZED),
    "lazygrad.nn.intrinsic": each_named("nn.intrinsic", _FUSED, kind, NO_QUANTIZED),
    "lazygrad.nn.qat": each_named("nn.qat", _LAYERS, kind, NO_QUANTIZED),
}
