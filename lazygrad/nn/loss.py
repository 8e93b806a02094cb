"""Loss modules: one row for each function of the loss files of `functional`."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

from lazygrad.errors import ArgumentError, ArgumentTypeError
from lazygrad.nn import functional as F
from lazygrad.nn.function_module import FunctionModule, signature_of
from lazygrad.nn.function_module import define as _define
from lazygrad.nn.functional.classification_loss import chosen_reduction
from lazygrad.nn.shape import PairwiseDistance

_old: dict[str, Any] = {"size_average": None, "reduce": None, "reduction": "mean"}
_weighted: dict[str, Any] = {"weight": None, **_old}


class _Loss(FunctionModule):
    """A loss: `size_average` and `reduce`, where given, are folded into `reduction`."""

    _settings = signature_of(_old)

    def _take(self, settings: dict[str, Any]) -> None:
        old = settings.pop("size_average", None), settings.pop("reduce", None)
        if old != (None, None):
            settings["reduction"] = chosen_reduction(settings["reduction"], *old)
        super()._take(settings)


class _WeightedLoss(_Loss):
    """A loss with a weight for each class, or none."""

    _settings = signature_of(_weighted)
    _buffer_names = ("weight",)


class _HuberLoss(_Loss):
    def _take(self, settings: dict[str, Any]) -> None:
        if not isinstance(settings["delta"], int | float):
            raise ArgumentTypeError(
                f"[HuberLoss] delta must be a float or int, got: {type(settings['delta']).__name__}"
            )
        super()._take(settings)


class _MarginLoss(_WeightedLoss):
    def _take(self, settings: dict[str, Any]) -> None:
        if settings["p"] not in (1, 2):
            raise ArgumentError(f"[MultiMarginLoss] only p == 1 and p == 2 supported, got {settings['p']}")
        super()._take(settings)


def _row(
    name: str,
    function: Any,
    doc: str,
    *,
    buffers: tuple[str, ...] = (),
    inputs: tuple[str, ...] = (),
    by_place: bool = True,
    base: type | None = None,
    **settings: Any,
) -> Any:
    passed = [key for key in settings if key not in ("size_average", "reduce")]
    base = base or (_WeightedLoss if "weight" in buffers else _Loss)
    return _define(
        name,
        function,
        doc,
        base=base,
        module=__name__,
        buffers=buffers,
        passed=passed,
        inputs=inputs,
        by_place=by_place,
        **settings,
    )


L1Loss = _row("L1Loss", F.l1_loss, "|input - target|.", **_old)
MSELoss = _row("MSELoss", F.mse_loss, "(input - target) ** 2.", **_old)
SmoothL1Loss = _row("SmoothL1Loss", F.smooth_l1_loss, "Quadratic below beta, then linear.", **_old, beta=1.0)
HuberLoss = _row(
    "HuberLoss",
    F.huber_loss,
    "Quadratic below delta, then linear.",
    base=_HuberLoss,
    reduction="mean",
    delta=1.0,
)
NLLLoss = _row(
    "NLLLoss",
    F.nll_loss,
    "Minus the log probability of each target class.",
    buffers=("weight",),
    weight=None,
    size_average=None,
    ignore_index=-100,
    reduce=None,
    reduction="mean",
)
CrossEntropyLoss = _row(
    "CrossEntropyLoss",
    F.cross_entropy,
    "Cross entropy of logits with classes or probabilities.",
    buffers=("weight",),
    weight=None,
    size_average=None,
    ignore_index=-100,
    reduce=None,
    reduction="mean",
    label_smoothing=0.0,
)
BCELoss = _row(
    "BCELoss",
    F.binary_cross_entropy,
    "Binary cross entropy of probabilities.",
    buffers=("weight",),
    weight=None,
    **_old,
)
BCEWithLogitsLoss = _row(
    "BCEWithLogitsLoss",
    F.binary_cross_entropy_with_logits,
    "Binary cross entropy of logits.",
    buffers=("weight", "pos_weight"),
    weight=None,
    **_old,
    pos_weight=None,
)
KLDivLoss = _row("KLDivLoss", F.kl_div, "target * (log(target) - input).", **_old, log_target=False)
PoissonNLLLoss = _row(
    "PoissonNLLLoss",
    F.poisson_nll_loss,
    "Minus the log likelihood of counts.",
    inputs=("log_input", "target"),
    log_input=True,
    full=False,
    size_average=None,
    eps=1e-8,
    reduce=None,
    reduction="mean",
)
GaussianNLLLoss = _row(
    "GaussianNLLLoss",
    F.gaussian_nll_loss,
    "Minus the log likelihood of normal values.",
    by_place=False,
    full=False,
    eps=1e-6,
    reduction="mean",
)
HingeEmbeddingLoss = _row(
    "HingeEmbeddingLoss", F.hinge_embedding_loss, "Distances small for 1, large for -1.", margin=1.0, **_old
)
MarginRankingLoss = _row(
    "MarginRankingLoss", F.margin_ranking_loss, "One input ranked above the other.", margin=0.0, **_old
)
SoftMarginLoss = _row("SoftMarginLoss", F.soft_margin_loss, "log(1 + exp(-target * input)).", **_old)
MultiLabelSoftMarginLoss = _row(
    "MultiLabelSoftMarginLoss",
    F.multilabel_soft_margin_loss,
    "Binary cross entropy averaged over classes.",
    buffers=("weight",),
    weight=None,
    **_old,
)
MultiMarginLoss = _row(
    "MultiMarginLoss",
    F.multi_margin_loss,
    "The target's score above the others by a margin.",
    base=_MarginLoss,
    buffers=("weight",),
    p=1,
    margin=1.0,
    weight=None,
    **_old,
)
MultiLabelMarginLoss = _row(
    "MultiLabelMarginLoss", F.multilabel_margin_loss, "Every target's score above every other's by 1.", **_old
)
CosineEmbeddingLoss = _row(
    "CosineEmbeddingLoss", F.cosine_embedding_loss, "Cosines near 1 for 1, small for -1.", margin=0.0, **_old
)


CTCLoss = _row(
    "CTCLoss",
    F.ctc_loss,
    "Minus the log probability of label sequences, whatever their alignment.",
    blank=0,
    reduction="mean",
    zero_infinity=False,
)


class _TripletLoss(_Loss):
    def _take(self, settings: dict[str, Any]) -> None:
        if settings["margin"] <= 0:
            raise ArgumentError(
                f"[TripletMarginLoss] {type(self).__name__}: expected margin to be "
                f"greater than 0, "
                f"got {settings['margin']} instead"
            )
        super()._take(settings)


_triplet = partial(_define, base=_TripletLoss, module=__name__)
TripletMarginLoss = _triplet(
    "TripletMarginLoss",
    F.triplet_margin_loss,
    "Anchors nearer to positives than negatives.",
    passed=("margin", "p", "eps", "swap", "reduction"),
    margin=1.0,
    p=2.0,
    eps=1e-6,
    swap=False,
    **_old,
)


class _DistanceLoss(_TripletLoss):
    """The distance is a module where none is given, as in PyTorch."""

    def _take(self, settings: dict[str, Any]) -> None:
        if settings["distance_function"] is None:
            settings["distance_function"] = PairwiseDistance()
        super()._take(settings)


TripletMarginWithDistanceLoss = _triplet(
    "TripletMarginWithDistanceLoss",
    F.triplet_margin_with_distance_loss,
    "TripletMarginLoss with any distance.",
    base=_DistanceLoss,
    by_place=False,
    distance_function=None,
    margin=1.0,
    swap=False,
    reduction="mean",
)


class NLLLoss2d(NLLLoss):  # type: ignore[misc, valid-type]
    """The old name of NLLLoss."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        warnings.warn(
            "NLLLoss2d has been deprecated. Please use NLLLoss instead as a drop-in replacement.",
            FutureWarning,
            stacklevel=2,
        )
        super().__init__(*args, **kwargs)
