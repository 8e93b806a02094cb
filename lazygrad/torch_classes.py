"""PyTorch's names of lazygrad's classes: under them whole modules are written to files, and classes show
themselves where lazygrad is `torch`."""

from __future__ import annotations

import importlib
from types import FunctionType
from typing import Any

from lazygrad.dtypes import DType

# the module below torch that a class is of there, and the classes
_CLASSES: dict[str, str] = {
    "": "Tensor Size device finfo iinfo",
    "nn.modules.activation":
        "CELU ELU GELU GLU Hardshrink Hardsigmoid Hardswish Hardtanh LeakyReLU LogSigmoid LogSoftmax "
        "Mish MultiheadAttention PReLU RReLU ReLU ReLU6 SELU SiLU Sigmoid Softmax Softmax2d Softmin "
        "Softplus Softshrink Softsign Tanh Tanhshrink Threshold",
    "nn.modules.adaptive": "AdaptiveLogSoftmaxWithLoss",
    "nn.modules.batchnorm":
        "BatchNorm1d BatchNorm2d BatchNorm3d LazyBatchNorm1d LazyBatchNorm2d LazyBatchNorm3d "
        "SyncBatchNorm",
    "nn.modules.channelshuffle": "ChannelShuffle",
    "nn.modules.container": "Container ModuleDict ModuleList ParameterDict ParameterList Sequential",
    "nn.modules.conv":
        "Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d LazyConv1d LazyConv2d "
        "LazyConv3d LazyConvTranspose1d LazyConvTranspose2d LazyConvTranspose3d",
    "nn.modules.distance": "CosineSimilarity PairwiseDistance",
    "nn.modules.dropout": "AlphaDropout Dropout Dropout1d Dropout2d Dropout3d FeatureAlphaDropout",
    "nn.modules.flatten": "Flatten Unflatten",
    "nn.modules.fold": "Fold Unfold",
    "nn.modules.instancenorm":
        "InstanceNorm1d InstanceNorm2d InstanceNorm3d LazyInstanceNorm1d LazyInstanceNorm2d "
        "LazyInstanceNorm3d",
    "nn.modules.linear": "Bilinear Identity LazyLinear Linear NonDynamicallyQuantizableLinear",
    "nn.modules.linear_cross_entropy_options": "LinearCrossEntropyOptions",
    "nn.modules.loss":
        "BCELoss BCEWithLogitsLoss CTCLoss CosineEmbeddingLoss CrossEntropyLoss GaussianNLLLoss "
        "HingeEmbeddingLoss HuberLoss KLDivLoss L1Loss LinearCrossEntropyLoss MSELoss MarginRankingLoss "
        "MultiLabelMarginLoss MultiLabelSoftMarginLoss MultiMarginLoss NLLLoss NLLLoss2d PoissonNLLLoss "
        "SmoothL1Loss SoftMarginLoss TripletMarginLoss TripletMarginWithDistanceLoss",
    "nn.modules.module": "Module",
    "nn.modules.normalization": "CrossMapLRN2d GroupNorm LayerNorm LocalResponseNorm RMSNorm",
    "nn.modules.padding":
        "CircularPad1d CircularPad2d CircularPad3d ConstantPad1d ConstantPad2d ConstantPad3d "
        "ReflectionPad1d ReflectionPad2d ReflectionPad3d ReplicationPad1d ReplicationPad2d "
        "ReplicationPad3d ZeroPad1d ZeroPad2d ZeroPad3d",
    "nn.modules.pixelshuffle": "PixelShuffle PixelUnshuffle",
    "nn.modules.pooling":
        "AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d "
        "AdaptiveMaxPool3d AvgPool1d AvgPool2d AvgPool3d FractionalMaxPool2d FractionalMaxPool3d "
        "LPPool1d LPPool2d LPPool3d MaxPool1d MaxPool2d MaxPool3d MaxUnpool1d MaxUnpool2d MaxUnpool3d",
    "nn.modules.rnn": "GRU GRUCell LSTM LSTMCell RNN RNNBase RNNCell RNNCellBase",
    "nn.modules.sparse": "Embedding EmbeddingBag",
    "nn.modules.transformer":
        "Transformer TransformerDecoder TransformerDecoderLayer TransformerEncoder "
        "TransformerEncoderLayer",
    "nn.modules.upsampling": "Upsample UpsamplingBilinear2d UpsamplingNearest2d",
    "nn.parameter": "Buffer Parameter UninitializedBuffer UninitializedParameter",
    "nn.utils.rnn": "PackedSequence",
    "optim": "Adafactor Muon",
    "optim.adadelta": "Adadelta",
    "optim.adagrad": "Adagrad",
    "optim.adam": "Adam",
    "optim.adamax": "Adamax",
    "optim.adamw": "AdamW",
    "optim.asgd": "ASGD",
    "optim.lbfgs": "LBFGS",
    "optim.lr_scheduler":
        "ChainedScheduler ConstantLR CosineAnnealingLR CosineAnnealingWarmRestarts CyclicLR "
        "ExponentialLR LRScheduler LambdaLR LinearLR MultiStepLR MultiplicativeLR OneCycleLR "
        "PolynomialLR ReduceLROnPlateau SequentialLR StepLR",
    "optim.nadam": "NAdam",
    "optim.optimizer": "Optimizer",
    "optim.radam": "RAdam",
    "optim.rmsprop": "RMSprop",
    "optim.rprop": "Rprop",
    "optim.sgd": "SGD",
    "optim.sparse_adam": "SparseAdam",
    "optim.swa_utils": "AveragedModel SWALR",
}
_FUNCTIONS = ("lazygrad.nn.functional",)  # where functions are that objects keep: a layer's activation
_PATHS: dict[str, list[str]] = {}
for _path, _names in _CLASSES.items():
    for _name in _names.split():
        _PATHS.setdefault(_name, []).append(f".{_path}".rstrip("."))


def torch_path(thing: type | FunctionType) -> tuple[str, str] | None:
    """The module and the name under which PyTorch has a class, or a function, of lazygrad; else None."""
    name = thing.__name__
    if isinstance(thing, FunctionType):
        there = thing.__module__ in _FUNCTIONS and _found(thing.__module__, name) is thing
        return (f"torch{thing.__module__.removeprefix('lazygrad')}", name) if there else None
    for path in _PATHS.get(name, ()):
        if _found(f"lazygrad{path}", name) is thing:
            return f"torch{path}", name
    return None


def _found(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name, None)


def show_as_torch() -> None:
    """Let classes say that they are of PyTorch's modules: programs ask them (`type(x).__module__`) to know
    whose tensors and layers they have."""
    for name, paths in _PATHS.items():
        for path in paths:
            _found(f"lazygrad{path}", name).__module__ = f"torch{path}"
    DType.__module__, DType.__name__, DType.__qualname__ = "torch", "dtype", "dtype"
