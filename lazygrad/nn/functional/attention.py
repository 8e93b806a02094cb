"""Scaled dot product attention."""

from __future__ import annotations

import math

import lazygrad
from lazygrad.errors import ArgumentError, DTypeError, ShapeError
from lazygrad.nn.functional.dropout import dropout
from lazygrad.tensors import Tensor
from lazygrad.tensors.promotion import check_same_type


def scaled_dot_product_attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None,
                                 dropout_p: float = 0.0, is_causal: bool = False, scale: float | None = None,
                                 enable_gqa: bool = False) -> Tensor:
    """softmax(query @ key.T * scale + mask) @ value.

    query (..., L, E), key (..., S, E), value (..., S, V) give (..., L, V). A bool mask is True where
    attention is
    allowed; a float mask is added. A query that may attend to nothing gives zeros. `scale` defaults to 1 /
    sqrt(E).
    `enable_gqa`: key and value have fewer heads (axis -3), each used by a run of query heads.
    """
    if attn_mask is not None and hasattr(attn_mask, "_materialize"):  # of nn.attention.bias, on no device
        attn_mask = attn_mask._materialize(query.device)
    if query.ndim < 2 or key.ndim < 2 or value.ndim < 2 or query.shape[-1] != key.shape[-1]:
        raise ShapeError(
            f"[scaled_dot_product_attention] query {tuple(query.shape)}, key {tuple(key.shape)} and value "
            f"{tuple(value.shape)}: each needs two axes, and query and key the same last one"
        )
    check_same_type("scaled_dot_product_attention", query=query, key=key, value=value)
    if not 0 <= dropout_p <= 1:
        raise ArgumentError("[scaled_dot_product_attention] dropout_p must be between 0 and 1, got "
                            f"{dropout_p}")
    allowed = (lazygrad.bool, lazygrad.float32, query.dtype)
    if not query.is_floating_point() or (attn_mask is not None and attn_mask.dtype not in allowed):
        kind = "no mask" if attn_mask is None else repr(attn_mask.dtype)
        raise DTypeError(
            "[scaled_dot_product_attention] Expected query to be of a float type, and attn_mask dtype to be "
            f"bool or float or to match query dtype, but got {kind} and query.dtype {query.dtype!r}: convert "
            "with .to(dtype)"
        )
    if is_causal and attn_mask is not None:
        raise ShapeError(
            "[scaled_dot_product_attention] Explicit attn_mask should not be set when is_causal=True"
        )
    if enable_gqa:
        heads = query.shape[-3]
        if any(heads % max(t.shape[-3], 1) for t in (key, value)):
            raise ShapeError("[scaled_dot_product_attention] Number of heads in key and value must divide "
                             f"that of query: {key.shape[-3]} and {value.shape[-3]} for {heads}")
        key, value = (t.repeat_interleave(heads // max(t.shape[-3], 1), -3) for t in (key, value))
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    dtype = query.dtype
    # scores of 16 bits would be wrong by a tenth where they are large
    query, key, value = (t.to(dtype.accumulator) for t in (query, key, value))
    scores = query.matmul(key.transpose(-2, -1)) * scale
    nothing = None
    if is_causal:
        rows = lazygrad.arange(query.shape[-2], device=query.device).unsqueeze(1)
        columns = lazygrad.arange(key.shape[-2], device=query.device)
        scores = scores.masked_fill(columns > rows, -math.inf)
    elif attn_mask is not None:
        masked = attn_mask.dtype == lazygrad.bool
        added = scores if masked else (scores + attn_mask).to(query.dtype)
        scores = scores.masked_fill(attn_mask.logical_not(), -math.inf) if masked else added
        nothing = (scores.detach() == -math.inf).all(-1, keepdim=True)
        # a row of -inf would make softmax, and every gradient behind it, NaN
        scores = scores.masked_fill(nothing, 0.0)
    weights = scores.softmax(-1)
    if nothing is not None:
        weights = weights.masked_fill(nothing, 0.0)
    weights = dropout(weights, dropout_p) if dropout_p > 0 else weights
    return weights.matmul(value).to(dtype)
