"""Methods of PyTorch's tensors about kinds of tensors that there are not here, or about pinned memory: they
give back what a dense tensor in plain memory gives, or say what to do instead."""

from __future__ import annotations

from typing import Any

from lazygrad.errors import UnsupportedError
from lazygrad.tensors.core import Tensor, method

_SPARSE = "there are no sparse tensors here: use a dense one, or indices with scatter_add and index_select"
_QUANTIZED = "there are no quantized tensors here: compute in float16 or bfloat16"
_REFUSED = {
    **dict.fromkeys(("to_sparse", "to_sparse_csr", "values", "indices", "coalesce", "crow_indices",
                     "col_indices", "sparse_mask", "sparse_dim"), _SPARSE),
    **dict.fromkeys(("int_repr", "q_scale", "q_zero_point", "qscheme", "q_per_channel_scales"), _QUANTIZED),
}  # fmt: skip


def _refuse(name: str, instead: str) -> None:
    def refuse(x: Tensor, *args: Any, **options: Any) -> Any:
        raise UnsupportedError(f"[{name}] {instead}")

    refuse.__name__, refuse.__doc__ = name, f"Raises UnsupportedError: {instead}."
    refuse.instead = instead  # type: ignore[attr-defined]
    method(name)(refuse)


for _name, _instead in _REFUSED.items():
    _refuse(_name, _instead)


@method("to_dense", "dequantize")
def to_dense(x: Tensor, *args: Any, **options: Any) -> Tensor:
    """The tensor itself."""
    return x


@method("is_coalesced", "is_pinned")
def is_pinned(x: Tensor, device: Any = None) -> bool:
    """False: memory is not pinned, and no tensor is sparse."""
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
