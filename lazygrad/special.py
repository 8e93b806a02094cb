"""PyTorch's `special` namespace: functions that are known there, some under other names."""

from math import inf
from typing import Any

from lazygrad.helpers import named_in
from lazygrad.tensors import FUNCTIONS, Tensor
from lazygrad.tensors.outputs import with_out
from lazygrad.tensors.polynomials import POLYNOMIALS
from lazygrad.tensors.promotion import check_operands, get_default_dtype, result_type
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


def xlog1py(input: Any, other: Any) -> Any:
    """input * log1p(other), 0 where input is 0 and other is no NaN; broadcast."""
    check_operands("xlog1py", input, other)
    dtype = result_type(input, other)
    dtype = dtype if dtype.kind == "float" else get_default_dtype()
    input, other = (v.to(dtype) if isinstance(v, Tensor) else v for v in (input, other))
    # the derivative by input is log1p(other) at 0 too, where that is finite
    endless = (input == 0) & ((other <= -1) | (other == inf))
    where, log1p = FUNCTIONS["where"], FUNCTIONS["log1p"]
    return where(endless, 0.0, input * log1p(where(endless, 0.0, other)))


_FUNCTIONS["xlog1py"] = checked("xlog1py", xlog1py)
_FUNCTIONS = {name: with_out(f"special.{name}", function) for name, function in _FUNCTIONS.items()}
globals().update(_FUNCTIONS)
named_in(__name__, _FUNCTIONS)
__all__ = [*_FUNCTIONS]  # noqa: PLE0604
