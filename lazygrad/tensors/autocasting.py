"""Casting by lists: which functions take 16-bit floats, float32, or the widest of what they get, while
autocast is on for a kind of device. The lists are PyTorch's.

A function is wrapped once, where it is published; what it calls inside is not cast again.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lazygrad import dtypes
from lazygrad.dtypes import DType

LOWER = frozenset(
    "matmul __matmul__ __rmatmul__ mm bmm baddbmm addmm addbmm linear conv1d conv2d conv3d conv_transpose1d "
    "conv_transpose2d conv_transpose3d prelu scaled_dot_product_attention einsum tensordot "
    "chain_matmul".split()
)
_LOSSES = (
    "mse_loss cosine_embedding_loss nll_loss hinge_embedding_loss poisson_nll_loss smooth_l1_loss "
    "cross_entropy l1_loss huber_loss margin_ranking_loss soft_margin_loss triplet_margin_loss "
    "multi_margin_loss ctc_loss kl_div multilabel_margin_loss binary_cross_entropy_with_logits"
)
SINGLE = {
    "cpu": frozenset(
        f"{_LOSSES} avg_pool3d binary_cross_entropy grid_sample prod quantile nanquantile cdist trace "
        "inverse pinverse cholesky cholesky_inverse cholesky_solve max_pool3d max_unpool2d max_unpool3d "
        "adaptive_avg_pool3d stft".split()
    ),
    "cuda": frozenset(
        f"{_LOSSES} __pow__ __rtruediv__ __rpow__ acos asin cosh cdist cosine_similarity cumprod cumsum "
        "dist erfinv exp expm1 group_norm layer_norm log log10 log_softmax log1p log2 norm normalize pdist "
        "pow prod reciprocal renorm rsqrt sinh softmax softmin softplus sum tan".split()
    ),
}
WIDEST = frozenset("cat stack index_copy concat concatenate".split())
_LISTED = LOWER | WIDEST | frozenset().union(*SINGLE.values())


class _State(threading.local):
    """For each kind of device ("cpu", "cuda") for which autocast is on, the 16-bit type."""

    def __init__(self) -> None:
        self.active: dict[str, DType] = {}
        self.wanted: dict[str, DType] = {"cpu": dtypes.bfloat16, "cuda": dtypes.float16}


state = _State()


@contextmanager
def autocast_as(active: dict[str, DType]) -> Iterator[None]:
    """A block in which autocast is on for these kinds of devices alone."""
    before, state.active = state.active, active
    try:
        yield
    finally:
        state.active = before


def with_autocast(name: str, definition: Callable[..., Any]) -> Callable[..., Any]:
    """A definition that casts its tensors while autocast is on, if its name is on a list; others as they
    are."""
    if name not in _LISTED:
        return definition

    @functools.wraps(definition)
    def run(*args: Any, **options: Any) -> Any:
        active = state.active
        if not active:
            return definition(*args, **options)
        tensors = list(_tensors((args, options)))
        kind = _kind(tensors[0]) if tensors else "cpu"
        target = _target(name, kind, active.get(kind), tensors)
        with autocast_as({}):
            if target is not None:
                args, options = _cast((args, options), target)
            return definition(*args, **options)

    return run


def _kind(tensor: Any) -> str:
    return "cuda" if tensor.cell.device.startswith("CL") else "cpu"


def _target(name: str, kind: str, low: DType | None, tensors: list[Any]) -> DType | None:
    if low is None:
        return None
    if name in LOWER:
        return low
    if name in SINGLE[kind]:
        return dtypes.float32
    if name in WIDEST:
        found = {t._dtype for t in tensors if _is_cast(t)}
        return dtypes.float32 if dtypes.float32 in found or len(found) > 1 else None
    return None


def _is_cast(x: Any) -> bool:
    return x._dtype.kind == "float" and x._dtype is not dtypes.float64


def _tensors(value: Any) -> Any:
    if hasattr(value, "_dtype"):
        yield value
    elif isinstance(value, list | tuple):
        for v in value:
            yield from _tensors(v)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


def _cast(value: Any, target: DType) -> Any:
    if hasattr(value, "_dtype"):
        return value.to(target) if _is_cast(value) and value._dtype is not target else value
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        return type(value)(_cast(v, target) for v in value)
    if isinstance(value, dict):
        return {k: _cast(v, target) for k, v in value.items()}
    return value
