"""Dropout modules: active in training alone."""

from __future__ import annotations

from functools import partial
from typing import Any

from lazygrad.errors import ArgumentError
from lazygrad.nn import functional as F
from lazygrad.nn.function_module import FunctionModule, signature_of
from lazygrad.nn.function_module import define as _define
from lazygrad.tensors import Tensor


class _DropoutNd(FunctionModule):
    """What all dropouts share."""

    _settings = signature_of({"p": 0.5, "inplace": False})

    def _take(self, settings: dict[str, Any]) -> None:
        if not 0 <= settings["p"] <= 1:
            raise ArgumentError(f"[Dropout] dropout probability has to be between 0 and 1, but got "
                                f"{settings['p']}")
        super()._take(settings)

    def forward(self, input: Tensor) -> Tensor:
        """The input with parts set to zero while training."""
        return type(self)._function(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


_row = partial(_define, base=_DropoutNd, module=__name__, p=0.5, inplace=False)
Dropout = _row("Dropout", F.dropout, "Zeroes elements with probability p.")
Dropout1d = _row("Dropout1d", F.dropout1d, "Zeroes channels of (N, C, L) or (C, L).")
Dropout2d = _row("Dropout2d", F.dropout2d, "Zeroes channels of (N, C, H, W).")
Dropout3d = _row("Dropout3d", F.dropout3d, "Zeroes channels of (N, C, D, H, W) or (C, D, H, W).")
AlphaDropout = _row("AlphaDropout", F.alpha_dropout, "Dropout that keeps the statistics of SELU.")
FeatureAlphaDropout = _row("FeatureAlphaDropout", F.feature_alpha_dropout, "AlphaDropout of whole channels.")
