"""Attention with several heads: projections in, attention, projection out."""

from __future__ import annotations

import math
import warnings
from typing import Any

import lazygrad
from lazygrad.errors import LazygradError, ShapeError
from lazygrad.nn.functional.attention import scaled_dot_product_attention
from lazygrad.nn.functional.dropout import dropout
from lazygrad.tensors import Tensor


class ExpectationError(LazygradError, AssertionError):
    """Arguments that do not fit each other, where PyTorch asserts."""


def _expect(condition: bool, message: str) -> None:
    if not condition:
        raise ExpectationError(f"[multi_head_attention_forward] {message}")


def _none_or_dtype(input: Tensor | None) -> Any:
    return None if input is None else input.dtype


def _canonical_mask(
    mask: Tensor | None,
    mask_name: str,
    other_type: Any,
    other_name: str,
    target_type: Any,
    check_other: bool = True,
) -> Tensor | None:
    """A mask as what is added to scores: True becomes -inf, False 0. AssertionError for integers."""
    if mask is None:
        return None
    is_float = mask.is_floating_point()
    _expect(
        is_float or mask.dtype == lazygrad.bool,
        f"only bool and floating types of {mask_name} are supported",
    )
    if check_other and other_type is not None and mask.dtype != other_type:
        warnings.warn(
            f"Support for mismatched {mask_name} and {other_name} is deprecated. "
            "Use same type for both instead.",
            stacklevel=2,
        )
    if is_float:
        return mask
    return lazygrad.zeros_like(mask, dtype=target_type).masked_fill(mask, -math.inf)


def _is_batched(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_padding_mask: Tensor | None,
    attn_mask: Tensor | None,
    num_heads: int,
) -> bool:
    """Whether query has a batch axis; AssertionError for axes that do not fit."""
    _expect(
        query.ndim in (2, 3),
        f"query should be unbatched 2D or batched 3D tensor but received {query.ndim}-D query tensor",
    )
    batched = query.ndim == 3
    kind = f"For {'batched (3-D)' if batched else 'unbatched (2-D)'} `query`, expected"
    _expect(
        key.ndim == value.ndim == query.ndim,
        f"{kind} `key` and `value` to be {query.ndim}-D but found {key.ndim}-D and {value.ndim}-D tensors "
        "respectively",
    )
    if key_padding_mask is not None:
        _expect(
            key_padding_mask.ndim == query.ndim - 1,
            f"{kind} `key_padding_mask` to be `None` or {query.ndim - 1}-D but found "
            f"{key_padding_mask.ndim}-D tensor instead",
        )
    if attn_mask is not None:
        _expect(
            attn_mask.ndim in (2, 3),
            f"{kind} `attn_mask` to be `None`, 2-D or 3-D but found {attn_mask.ndim}-D tensor instead",
        )
        if not batched and attn_mask.ndim == 3:
            expected = (num_heads, query.shape[0], key.shape[0])
            _expect(
                tuple(attn_mask.shape) == expected,
                f"Expected `attn_mask` shape to be {expected} but got {tuple(attn_mask.shape)}",
            )
    return batched


def _project(
    inputs: tuple[Tensor, Tensor, Tensor],
    packed: Tensor | None,
    weights: tuple[Any, Any, Any],
    bias: Tensor | None,
    separate: bool,
) -> tuple[Tensor, ...]:
    """Query, key and value after their projections, in one product where they are one tensor."""
    biases = (None,) * 3 if bias is None else bias.chunk(3)
    if separate:
        for x, weight, name in zip(inputs, weights, ("query", "key", "value"), strict=True):
            _expect(weight is not None, f"use_separate_proj_weight is True but {name[0]}_proj_weight is None")
            expected = (inputs[0].shape[-1], x.shape[-1])
            _expect(
                tuple(weight.shape) == expected,
                f"expecting {name} weights shape of {expected}, but got {tuple(weight.shape)}",
            )
    else:
        if packed is None:
            raise ExpectationError(
                "[multi_head_attention_forward] use_separate_proj_weight is False but in_proj_weight is None"
            )
        if inputs[0] is inputs[1] is inputs[2]:
            return tuple(lazygrad.linear(inputs[0], packed, bias).chunk(3, -1))
        weights = packed.chunk(3)
    return tuple(lazygrad.linear(x, w, b) for x, w, b in zip(inputs, weights, biases, strict=True))


def _checked_mask(mask: Tensor, heads: int, rows: int, columns: int) -> Tensor:
    """A mask with three axes: (1 or N * heads, rows, columns)."""
    expected = {2: (rows, columns), 3: (heads, rows, columns)}
    if mask.ndim not in expected:
        raise ShapeError(f"[multi_head_attention_forward] attn_mask's dimension {mask.ndim} is not supported")
    if tuple(mask.shape) != expected[mask.ndim]:
        raise ShapeError(
            f"[multi_head_attention_forward] The shape of the {mask.ndim}D attn_mask is {tuple(mask.shape)}, "
            f"but should be {expected[mask.ndim]}."
        )
    return mask.unsqueeze(0) if mask.ndim == 2 else mask


def _wider(mask: Tensor | None) -> Tensor | None:
    """A mask with a column more, for a key that all may attend to."""
    return None if mask is None else lazygrad.pad(mask, (0, 1))


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """What queries (L, N, E) take from values (S, N, Ev) by keys (S, N, Ek), and with what weights.

    Returns (L, N, E) and, with `need_weights`, (N, L, S), or (N, heads, L, S) unless `average_attn_weights`.
    `key_padding_mask` (N, S) and `attn_mask` (L, S) or (N * heads, L, S): True or -inf where nobody may look.
    `static_k`, `static_v` (N * heads, S, E / heads) stand in for the projected ones. N may be absent.
    """
    batched = _is_batched(query, key, value, key_padding_mask, attn_mask, num_heads)
    if not batched:
        query, key, value = _together(lambda x: x.unsqueeze(1), query, key, value)
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    rows, batch, size = query.shape
    other = _none_or_dtype(attn_mask)
    key_padding_mask = _canonical_mask(key_padding_mask, "key_padding_mask", other, "attn_mask", query.dtype)
    if is_causal and attn_mask is None:
        raise ShapeError(
            "[multi_head_attention_forward] Need attn_mask if specifying the is_causal hint. You may use the "
            "Transformer module method `generate_square_subsequent_mask` to create this mask."
        )
    # the hint stands for the mask only where the mask is all there is
    is_causal = is_causal and key_padding_mask is None and not need_weights
    attn_mask = None if is_causal else _canonical_mask(attn_mask, "attn_mask", None, "", query.dtype, False)
    _expect(
        size == embed_dim_to_check,
        f"was expecting embedding dimension of {embed_dim_to_check}, but got {size}",
    )
    head = size // num_heads
    _expect(head * num_heads == size, f"embed_dim {size} not divisible by num_heads {num_heads}")
    if use_separate_proj_weight:
        _expect(
            tuple(key.shape[:2]) == tuple(value.shape[:2]),
            f"key's sequence and batch dims {tuple(key.shape[:2])} do not match value's "
            f"{tuple(value.shape[:2])}",
        )
    else:
        _expect(
            tuple(key.shape) == tuple(value.shape),
            f"key shape {tuple(key.shape)} does not match value shape {tuple(value.shape)}",
        )
    q, k, v = _project(
        (query, key, value),
        in_proj_weight,
        (q_proj_weight, k_proj_weight, v_proj_weight),
        in_proj_bias,
        use_separate_proj_weight,
    )
    if attn_mask is not None:
        attn_mask = _checked_mask(attn_mask, batch * num_heads, rows, key.shape[0])
    _expect((bias_k is None) == (bias_v is None), "one of bias_k and bias_v is set, and the other is None")
    if bias_k is not None and bias_v is not None:
        _expect(static_k is None and static_v is None, "bias cannot be added to static key or value.")
        k = lazygrad.cat([k, bias_k.repeat(1, batch, 1)])
        v = lazygrad.cat([v, bias_v.repeat(1, batch, 1)])
        attn_mask, key_padding_mask = _wider(attn_mask), _wider(key_padding_mask)

    def heads(x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], batch * num_heads, head).transpose(0, 1)

    def fixed(x: Tensor) -> Tensor:
        _expect(
            x.shape[0] == batch * num_heads and x.shape[2] == head,
            f"expecting static_k.size(0) of {batch * num_heads} and size(2) of {head}, "
            f"but got {tuple(x.shape)}",
        )
        return x

    q = heads(q)
    k = heads(k) if static_k is None else fixed(static_k)
    v = heads(v) if static_v is None else fixed(static_v)
    if add_zero_attn:
        nothing = lazygrad.zeros(batch * num_heads, 1, head, dtype=k.dtype, device=k.device)
        k, v = lazygrad.cat([k, nothing], 1), lazygrad.cat([v, nothing], 1)
        attn_mask, key_padding_mask = _wider(attn_mask), _wider(key_padding_mask)
    columns = k.shape[1]
    if key_padding_mask is not None:
        _expect(
            tuple(key_padding_mask.shape) == (batch, columns),
            f"Expected key_padded_mask.shape to be {(batch, columns)}, "
            f"but got {tuple(key_padding_mask.shape)}",
        )
        spread = key_padding_mask.reshape(batch, 1, 1, columns).expand(-1, num_heads, -1, -1)
        spread = spread.reshape(batch * num_heads, 1, columns)
        attn_mask = spread if attn_mask is None else attn_mask + spread
    dropout_p = dropout_p if training else 0.0

    def project_out(x: Tensor) -> Tensor:
        result = lazygrad.linear(x, out_proj_weight, out_proj_bias)
        return result if batched else result.squeeze(1)

    if not need_weights:
        split = (batch, num_heads, -1, head)
        if attn_mask is not None:
            attn_mask = (
                attn_mask.unsqueeze(0)
                if attn_mask.shape[0] == 1
                else attn_mask.reshape(batch, num_heads, -1, columns)
            )
        out = scaled_dot_product_attention(
            q.reshape(split), k.reshape(split), v.reshape(split), attn_mask, dropout_p, is_causal
        )
        return project_out(out.permute(2, 0, 1, 3).reshape(rows, batch, size)), None
    scaled, keys = q * math.sqrt(1.0 / float(head)), k.transpose(-2, -1)
    scores = scaled.bmm(keys) if attn_mask is None else lazygrad.baddbmm(attn_mask, scaled, keys)
    weights = scores.softmax(-1)
    weights = dropout(weights, dropout_p) if dropout_p > 0 else weights
    out = project_out(weights.matmul(v).transpose(0, 1).reshape(rows, batch, size))
    weights = weights.reshape(batch, num_heads, rows, columns)
    weights = weights.mean(1) if average_attn_weights else weights
    return out, weights if batched else weights.squeeze(0)


def _together(change: Any, *tensors: Tensor) -> tuple[Any, ...]:
    """Each tensor changed; one that is given twice is one result."""
    made: dict[int, Tensor] = {}
    return tuple(made.setdefault(id(t), change(t)) for t in tensors)
