"""Causal masks under the names of torch.nn.attention.bias."""

from __future__ import annotations

import warnings
from enum import IntEnum, auto
from typing import Any

import lazygrad
from lazygrad.errors import ArgumentError
from lazygrad.tensors import Tensor

__all__ = ["CausalBias", "CausalVariant", "causal_lower_right", "causal_upper_left"]


class CausalVariant(IntEnum):
    """Where the last key that a query may attend to begins: at the first key, or so that the last query sees
    the last key."""

    UPPER_LEFT = auto()
    LOWER_RIGHT = auto()


class CausalBias(Tensor):
    """A mask (seq_len_q, seq_len_kv), True where a query may attend, for scaled_dot_product_attention."""

    variant: CausalVariant
    seq_len_q: int
    seq_len_kv: int

    def __new__(cls, variant: CausalVariant, seq_len_q: int, seq_len_kv: int) -> Any:
        """The mask on the CPU. Warns of queries that may attend to nothing."""
        if seq_len_q > seq_len_kv and variant == CausalVariant.LOWER_RIGHT:
            warnings.warn("Lower right causal bias will produce zeros in the output when seq_len_q > "
                          "seq_len_kv!", stacklevel=2)
        made = Tensor._make_subclass(cls, _mask(variant, seq_len_q, seq_len_kv, None))
        made.variant, made.seq_len_q, made.seq_len_kv = variant, seq_len_q, seq_len_kv
        return made

    def _materialize(self, device: Any = None) -> Tensor:
        return _mask(self.variant, self.seq_len_q, self.seq_len_kv, device)

    def __repr__(self) -> str:
        return repr(self._materialize())


def _mask(variant: CausalVariant, queries: int, keys: int, device: Any) -> Tensor:
    first = 0 if variant == CausalVariant.UPPER_LEFT else keys - queries
    return lazygrad.ones(queries, keys, dtype=lazygrad.bool, device=device).tril(first)


def causal_upper_left(*size: int) -> CausalBias:
    """The mask of (queries, keys) by which query i sees keys 0 to i."""
    return CausalBias(CausalVariant.UPPER_LEFT, *_two(size))


def causal_lower_right(*size: int) -> CausalBias:
    """The mask of (queries, keys) by which the last query sees all keys, the one before all but the last."""
    return CausalBias(CausalVariant.LOWER_RIGHT, *_two(size))


def _two(size: tuple[int, ...]) -> tuple[int, int]:
    if len(size) != 2:
        raise ArgumentError(f"[causal bias] requires exactly 2 sizes, queries and keys; got {size}")
    return size[0], size[1]
