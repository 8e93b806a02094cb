"""Functions of tensors for neural networks, under the names of torch.nn.functional."""

from typing import TYPE_CHECKING, Any

from lazygrad.helpers import named_in
from lazygrad.nn.functional.activation import (
    celu,
    celu_,
    elu,
    elu_,
    gelu,
    glu,
    gumbel_softmax,
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    hardtanh_,
    leaky_relu,
    leaky_relu_,
    log_softmax,
    logsigmoid,
    mish,
    prelu,
    relu,
    relu6,
    relu_,
    rrelu,
    rrelu_,
    selu,
    selu_,
    sigmoid,
    silu,
    softmax,
    softmax2d,
    softmin,
    softplus,
    softshrink,
    softsign,
    tanh,
    tanhshrink,
    threshold,
    threshold_,
)
from lazygrad.nn.functional.aliases import (
    adaptive_max_pool1d_with_indices,
    adaptive_max_pool2d_with_indices,
    adaptive_max_pool3d_with_indices,
    conv_tbc,
    native_channel_shuffle,
    upsample_bilinear,
    upsample_nearest,
)
from lazygrad.nn.functional.attention import scaled_dot_product_attention
from lazygrad.nn.functional.classification_loss import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    kl_div,
    nll_loss,
)
from lazygrad.nn.functional.ctc import ctc_loss
from lazygrad.nn.functional.distance import normalize, pdist
from lazygrad.nn.functional.dropout import (
    alpha_dropout,
    dropout,
    dropout1d,
    dropout2d,
    dropout3d,
    feature_alpha_dropout,
)
from lazygrad.nn.functional.embedding import embedding
from lazygrad.nn.functional.embedding_bag import embedding_bag
from lazygrad.nn.functional.fractional_pool import (
    fractional_max_pool2d,
    fractional_max_pool2d_with_indices,
    fractional_max_pool3d,
    fractional_max_pool3d_with_indices,
)
from lazygrad.nn.functional.linear_loss import linear_cross_entropy
from lazygrad.nn.functional.margin_loss import (
    cosine_embedding_loss,
    hinge_embedding_loss,
    margin_ranking_loss,
    multi_margin_loss,
    multilabel_margin_loss,
    multilabel_soft_margin_loss,
    soft_margin_loss,
    triplet_margin_loss,
    triplet_margin_with_distance_loss,
)
from lazygrad.nn.functional.multi_head import (
    _canonical_mask,
    _none_or_dtype,
    multi_head_attention_forward,
)
from lazygrad.nn.functional.norm import (
    batch_norm,
    group_norm,
    instance_norm,
    layer_norm,
    local_response_norm,
    rms_norm,
)
from lazygrad.nn.functional.regression_loss import (
    gaussian_nll_loss,
    huber_loss,
    l1_loss,
    mse_loss,
    poisson_nll_loss,
    smooth_l1_loss,
)
from lazygrad.tensors import FUNCTIONS
from lazygrad.tensors.autocasting import with_autocast
from lazygrad.tensors.outputs import with_out
from lazygrad.tensors.signatures import checked

# written beside the tensors, because Tensor methods or functions of the package need them too
_OF_TENSORS = (
    "linear",
    "bilinear",
    "one_hot",
    "pairwise_distance",
    "cosine_similarity",
    "unfold",
    "fold",
    "pad",
    "interpolate",
    "upsample",
    "grid_sample",
    "affine_grid",
    "pixel_shuffle",
    "pixel_unshuffle",
    "channel_shuffle",
    *(
        f"{name}{rank}d"
        for name in (
            "conv",
            "conv_transpose",
            "max_pool",
            "avg_pool",
            "lp_pool",
            "adaptive_avg_pool",
            "adaptive_max_pool",
            "max_unpool",
        )
        for rank in (1, 2, 3)
    ),
    *(f"max_pool{rank}d_with_indices" for rank in (1, 2, 3)),
)
globals().update({name: FUNCTIONS[name] for name in _OF_TENSORS if name in FUNCTIONS})
for _name, _own in list(globals().items()):
    if callable(_own) and _own.__module__.startswith(__name__):
        _own = checked(_name, _own)
        globals()[_name] = _own = _own if _name in FUNCTIONS else with_autocast(_name, _own)
        # where pickles find it
        _own.__module__, _own.__qualname__ = __name__, _name

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...


__all__ = [
    "_canonical_mask",
    "_none_or_dtype",
    "alpha_dropout",
    "batch_norm",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "celu",
    "celu_",
    "cosine_embedding_loss",
    "cross_entropy",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "elu",
    "elu_",
    "embedding",
    "feature_alpha_dropout",
    "multi_head_attention_forward",
    "ctc_loss",
    "embedding_bag",
    "fractional_max_pool2d",
    "fractional_max_pool2d_with_indices",
    "fractional_max_pool3d",
    "fractional_max_pool3d_with_indices",
    "adaptive_max_pool1d_with_indices",
    "adaptive_max_pool2d_with_indices",
    "adaptive_max_pool3d_with_indices",
    "conv_tbc",
    "linear_cross_entropy",
    "native_channel_shuffle",
    "upsample_bilinear",
    "upsample_nearest",
    "gaussian_nll_loss",
    "gelu",
    "glu",
    "group_norm",
    "gumbel_softmax",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hardtanh_",
    "hinge_embedding_loss",
    "huber_loss",
    "instance_norm",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "leaky_relu_",
    "local_response_norm",
    "log_softmax",
    "logsigmoid",
    "margin_ranking_loss",
    "mish",
    "mse_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "nll_loss",
    "normalize",
    "pdist",
    "poisson_nll_loss",
    "prelu",
    "relu",
    "relu6",
    "relu_",
    "rms_norm",
    "rrelu",
    "rrelu_",
    "scaled_dot_product_attention",
    "selu",
    "selu_",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "soft_margin_loss",
    "softmax",
    "softmax2d",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
    "threshold",
    "threshold_",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
    *(name for name in _OF_TENSORS if name in FUNCTIONS),
]

_TAKING_OUT = (
    "avg_pool2d", "avg_pool3d", "gelu", "hardshrink", "linear", "logsigmoid", "normalize", "softplus",
    "softshrink",
)
_with_out = {name: with_out(name, globals()[name], name != "normalize") for name in _TAKING_OUT}
globals().update(_with_out)
named_in(__name__, _with_out)
