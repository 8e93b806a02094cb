"""MultiheadAttention."""

from __future__ import annotations

from typing import Any

import lazygrad
from lazygrad.errors import ArgumentError
from lazygrad.nn import functional as F
from lazygrad.nn import init
from lazygrad.nn.functional.multi_head import ExpectationError, _together
from lazygrad.nn.linear import NonDynamicallyQuantizableLinear
from lazygrad.nn.module import Module
from lazygrad.nn.parameter import Parameter, parameter_if
from lazygrad.tensors import Tensor


class MultiheadAttention(Module):
    """What queries take from values by keys, in `num_heads` parts of the embedding.

    Projections of equal sizes are one parameter, `in_proj_weight` (3 * embed_dim, embed_dim). `kdim`, `vdim`:
    the sizes of keys and values; `add_bias_kv`: a learned key and value more; `add_zero_attn`: zeros more.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if embed_dim <= 0 or num_heads <= 0:
            raise ArgumentError(
                "[MultiheadAttention] embed_dim and num_heads must be greater than 0, got "
                f"embed_dim={embed_dim} and num_heads={num_heads} instead"
            )
        super().__init__()
        self.embed_dim, self.num_heads, self.dropout, self.batch_first = (
            embed_dim,
            num_heads,
            dropout,
            batch_first,
        )
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self._qkv_same_embed_dim = self.kdim == embed_dim == self.vdim
        self.head_dim = embed_dim // num_heads
        if self.head_dim * num_heads != embed_dim:
            raise ExpectationError(
                f"[MultiheadAttention] embed_dim must be divisible by num_heads: {embed_dim} by {num_heads}"
            )
        one = self._qkv_same_embed_dim
        shapes = {"q_proj_weight": embed_dim, "k_proj_weight": self.kdim, "v_proj_weight": self.vdim}
        if not one:
            for name, size in shapes.items():
                setattr(self, name, Parameter(lazygrad.empty(embed_dim, size, device=device, dtype=dtype)))
        self.register_parameter(
            "in_proj_weight", parameter_if(one, (3 * embed_dim, embed_dim), device, dtype)
        )
        if one:
            for name in shapes:
                self.register_parameter(name, None)
        self.register_parameter("in_proj_bias", parameter_if(bias, (3 * embed_dim,), device, dtype))
        self.out_proj = NonDynamicallyQuantizableLinear(embed_dim, embed_dim, bias, device, dtype)
        self.bias_k = parameter_if(add_bias_kv, (1, 1, embed_dim), device, dtype)
        self.bias_v = parameter_if(add_bias_kv, (1, 1, embed_dim), device, dtype)
        self.add_zero_attn = add_zero_attn
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        names = (
            ("in_proj_weight",)
            if self._qkv_same_embed_dim
            else ("q_proj_weight", "k_proj_weight", "v_proj_weight")
        )
        for name in names:
            init.xavier_uniform_(getattr(self, name))
        if self.in_proj_bias is not None:
            init.zeros_(self.in_proj_bias)
            init.zeros_(self.out_proj.bias)
        for bias in (self.bias_k, self.bias_v):
            if bias is not None:
                init.xavier_normal_(bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """(L, N, embed_dim), (N, L, embed_dim) with batch_first, or (L, embed_dim), and the weights: see
        `functional.multi_head_attention_forward`."""
        across = self.batch_first and query.ndim == 3
        if across:
            query, key, value = _together(lambda x: x.transpose(0, 1), query, key, value)
        out, weights = F.multi_head_attention_forward(
            query,
            key,
            value,
            self.embed_dim,
            self.num_heads,
            self.in_proj_weight,
            self.in_proj_bias,
            self.bias_k,
            self.bias_v,
            self.add_zero_attn,
            self.dropout,
            self.out_proj.weight,
            self.out_proj.bias,
            training=self.training,
            key_padding_mask=key_padding_mask,
            need_weights=need_weights,
            attn_mask=attn_mask,
            use_separate_proj_weight=not self._qkv_same_embed_dim,
            q_proj_weight=self.q_proj_weight,
            k_proj_weight=self.k_proj_weight,
            v_proj_weight=self.v_proj_weight,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
        )
        return (out.transpose(0, 1) if across else out), weights
