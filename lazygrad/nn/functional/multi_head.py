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


def _head_size(
    size: int, expected: int, num_heads: int, key: Tensor, value: Tensor, separate: bool
) -> int:
    """The size of a head. AssertionError where the sizes of embeddings, keys and values do not fit."""
    _expect(size == expected, f"was expecting embedding dimension of {expected}, but got {size}")
    head = size // num_heads
    _expect(head * num_heads == size, f"embed_dim {size} not divisible by num_heads {num_heads}")
    if separate:
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
    return head


def _fixed(x: Tensor, count: int, head: int) -> Tensor:
    """A static key or value of `count` heads. AssertionError for another shape."""
    _expect(
        x.shape[0] == count and x.shape[2] == head,
        f"expecting static_k.size(0) of {count} and size(2) of {head}, but got {tuple(x.shape)}",
    )
    return x


def _with_padding(
    attn_mask: Tensor | None, padding: Tensor, batch: int, num_heads: int, columns: int
) -> Tensor:
    """A mask of scores (N * heads, L or 1, S) with what the padding of keys (N, S) adds."""
    _expect(
        tuple(padding.shape) == (batch, columns),
        f"Expected key_padded_mask.shape to be {(batch, columns)}, but got {tuple(padding.shape)}",
    )
    spread = padding.reshape(batch, 1, 1, columns).expand(-1, num_heads, -1, -1)
    spread = spread.reshape(batch * num_heads, 1, columns)
    return spread if attn_mask is None else attn_mask + spread


def _attended(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, batch: int, dropout_p: float, is_causal: bool
) -> Tensor:
    """What queries (N * heads, L, E / heads) take from values: (L, N, heads, E / heads)."""
    heads, columns = q.shape[0] // batch, k.shape[1]
    if mask is not None:
        mask = mask.unsqueeze(0) if mask.shape[0] == 1 else mask.reshape(batch, heads, -1, columns)
    split = (batch, heads, -1, q.shape[2])
    q, k, v = q.reshape(split), k.reshape(split), v.reshape(split)
    return scaled_dot_product_attention(q, k, v, mask, dropout_p, is_causal).permute(2, 0, 1, 3)


def _attended_by_weights(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout_p: float
) -> tuple[Tensor, Tensor]:
    """The same as (L, N * heads, E / heads), and the weights (N * heads, L, S)."""
    scaled, keys = q * math.sqrt(1.0 / float(q.shape[2])), k.transpose(-2, -1)
    scores = scaled.bmm(keys) if mask is None else lazygrad.baddbmm(mask, scaled, keys)
    weights = scores.softmax(-1)
    weights = dropout(weights, dropout_p) if dropout_p > 0 else weights
    return weights.matmul(v).transpose(0, 1), weights


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
    head = _head_size(size, embed_dim_to_check, num_heads, key, value, use_separate_proj_weight)
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

    count = batch * num_heads
    q, k, v = (
        x.reshape(x.shape[0], count, head).transpose(0, 1) if static is None else _fixed(static, count, head)
        for x, static in ((q, None), (k, static_k), (v, static_v))
    )
    if add_zero_attn:
        nothing = lazygrad.zeros(count, 1, head, dtype=k.dtype, device=k.device)
        k, v = lazygrad.cat([k, nothing], 1), lazygrad.cat([v, nothing], 1)
        attn_mask, key_padding_mask = _wider(attn_mask), _wider(key_padding_mask)
    columns = k.shape[1]
    if key_padding_mask is not None:
        attn_mask = _with_padding(attn_mask, key_padding_mask, batch, num_heads, columns)
    dropout_p = dropout_p if training else 0.0
    weights = None
    if need_weights:
        out, weights = _attended_by_weights(q, k, v, attn_mask, dropout_p)
        weights = weights.reshape(batch, num_heads, rows, columns)
        weights = weights.mean(1) if average_attn_weights else weights
        weights = weights if batched else weights.squeeze(0)
    else:
        out = _attended(q, k, v, attn_mask, batch, dropout_p, is_causal)
    out = lazygrad.linear(out.reshape(rows, batch, size), out_proj_weight, out_proj_bias)
    return out if batched else out.squeeze(1), weights


def _together(change: Any, *tensors: Tensor) -> tuple[Any, ...]:
    """Each tensor changed; one that is given twice is one result."""
    made: dict[int, Tensor] = {}
    return tuple(made.setdefault(id(t), change(t)) for t in tensors)
