"""PyTorch's `special` namespace: functions that are known there, some under other names."""

from typing import Any

from lazygrad.helpers import named_in
from lazygrad.tensors import FUNCTIONS
from lazygrad.tensors.outputs import with_out
from lazygrad.tensors.polynomials import POLYNOMIALS
from lazygrad.tensors.signatures import checked
from lazygrad.tensors.special import SPECIAL

# torch.special's name -> the function's name in the package
_NAMES = {
    **{name: name for name in (
        "digamma", "erf", "erfc", "erfinv", "exp2", "expm1", "log1p", "logit", "logsumexp", "polygamma",
        "round", "sinc", "softmax", "log_softmax", "xlogy")},
    "expit": "sigmoid", "gammaln": "lgamma", "multigammaln": "mvlgamma", "psi": "digamma",
}
_OWN = SPECIAL | POLYNOMIALS
_FUNCTIONS: dict[str, Any] = {name: FUNCTIONS[own] for name, own in _NAMES.items()}
_FUNCTIONS |= {name: checked(name, definition) for name, definition in _OWN.items()}
_FUNCTIONS = {name: with_out(f"special.{name}", function) for name, function in _FUNCTIONS.items()}
globals().update(_FUNCTIONS)
named_in(__name__, _FUNCTIONS)
__all__ = [*_FUNCTIONS]  # noqa: PLE0604
