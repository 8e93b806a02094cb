"""Attention whose scores a function of the user's changes: evaluated plainly, for all pairs at once.

`score_mod(score, batch, head, q_idx, kv_idx)` and `mask_mod(batch, head, q_idx, kv_idx)` are called with
tensors of all indices, which broadcast; what they read of tensors by index, they read for all pairs.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import lazygrad
from lazygrad.errors import ArgumentError, ShapeError
from lazygrad.helpers import ceil_div
from lazygrad.tensors import Tensor

ScoreMod = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
MaskMod = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
_DEFAULT_SPARSE_BLOCK_SIZE = 128


class AuxRequest(NamedTuple):
    """What flex_attention returns beside its output."""

    lse: bool = False
    max_scores: bool = False


class AuxOutput(NamedTuple):
    """What flex_attention was asked for beside its output: each (B, H, L), or None."""

    lse: Tensor | None = None
    max_scores: Tensor | None = None


def _indices(sizes: tuple[int, ...], device: Any) -> tuple[Tensor, ...]:
    """The numbers along each axis, shaped so that they broadcast to `sizes`."""
    return tuple(
        lazygrad.arange(n, device=device).reshape([n if i == k else 1 for i in range(len(sizes))])
        for k, n in enumerate(sizes)
    )


def noop_mask(batch: Tensor, head: Tensor, token_q: Tensor, token_kv: Tensor) -> Tensor:
    """Allows every pair."""
    return lazygrad.ones((), dtype=lazygrad.bool, device=batch.device)


def _identity(score: Tensor, batch: Tensor, head: Tensor, token_q: Tensor, token_kv: Tensor) -> Tensor:
    return score


def _combined(name: str, masks: tuple[Any, ...], start: bool, join: Callable[[Any, Any], Any]) -> MaskMod:
    if not all(callable(m) for m in masks):
        raise ArgumentError(f"[{name}] All inputs should be callable mask_mods: {masks}")

    def mask_mod(b: Tensor, h: Tensor, q_idx: Tensor, kv_idx: Tensor) -> Tensor:
        result: Any = lazygrad.full((), start, dtype=lazygrad.bool, device=b.device)
        for mask in masks:
            result = join(result, mask(b, h, q_idx, kv_idx))
        return result

    return mask_mod


def and_masks(*mask_mods: MaskMod) -> MaskMod:
    """Allows what all masks allow."""
    return _combined("and_masks", mask_mods, True, lambda a, b: a & b)


def or_masks(*mask_mods: MaskMod) -> MaskMod:
    """Allows what any mask allows."""
    return _combined("or_masks", mask_mods, False, lambda a, b: a | b)


def create_mask(
    mod_fn: Any, B: int | None, H: int | None, Q_LEN: int, KV_LEN: int, device: Any = None
) -> Tensor:
    """What a mask_mod allows (bool), or what a score_mod makes of zeros: (B or 1, H or 1, Q_LEN, KV_LEN)."""
    sizes = (B or 1, H or 1, Q_LEN, KV_LEN)
    indices = _indices(sizes, device)
    if len(inspect.signature(mod_fn).parameters) == 5:
        return mod_fn(lazygrad.zeros(sizes, device=device), *indices).expand(sizes)
    return mod_fn(*indices).expand(sizes)


class BlockMask:
    """A mask_mod for given sizes, and which blocks of pairs it leaves out."""

    def __init__(
        self,
        mask_mod: MaskMod,
        shape: tuple[int, int, int, int],
        block: tuple[int, int],
        kv_num_blocks: Tensor,
        kv_indices: Tensor,
        full_kv_num_blocks: Tensor,
        full_kv_indices: Tensor,
    ) -> None:
        self.mask_mod, self.BLOCK_SIZE = mask_mod, block
        self.seq_lengths = shape[2:]
        self._shape = shape
        self.kv_num_blocks, self.kv_indices = kv_num_blocks, kv_indices
        self.full_kv_num_blocks, self.full_kv_indices = full_kv_num_blocks, full_kv_indices

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B, H, Q_LEN, KV_LEN)."""
        return self._shape

    def numel(self) -> int:
        """How many pairs there are."""
        return math.prod(self._shape)

    def to_dense(self) -> Tensor:
        """For each block whether it is computed: (B, H, blocks of queries, blocks of keys), int32."""
        return _marked(self.kv_num_blocks, self.kv_indices) | _marked(
            self.full_kv_num_blocks, self.full_kv_indices
        )

    def sparsity(self) -> float:
        """Which part of the blocks is left out, in percent; reads the blocks."""
        dense = self.to_dense()
        return 100.0 * (1.0 - int(dense.sum()) / dense.numel())

    def to(self, device: Any) -> BlockMask:
        """The same on another device."""
        parts = (self.kv_num_blocks, self.kv_indices, self.full_kv_num_blocks, self.full_kv_indices)
        return BlockMask(self.mask_mod, self._shape, self.BLOCK_SIZE, *(t.to(device) for t in parts))

    def __repr__(self) -> str:
        return (
            f"BlockMask(shape={self._shape}, sparsity={self.sparsity():.2f}%, block_size={self.BLOCK_SIZE})"
        )

    __str__ = __repr__


def _marked(counts: Tensor, indices: Tensor) -> Tensor:
    """Lists of blocks, of which the first `counts` hold, as 0 and 1 for every block."""
    listed = lazygrad.arange(indices.shape[-1], device=indices.device) < counts.unsqueeze(-1)
    return lazygrad.zeros_like(indices).scatter(-1, indices.long(), listed.to(indices.dtype))


def _listed(dense: Tensor) -> tuple[Tensor, Tensor]:
    """How many blocks of a row hold, and all blocks with those first, in order."""
    return dense.sum(-1).to(lazygrad.int32), dense.int().argsort(-1, True, stable=True).to(lazygrad.int32)


def create_block_mask(
    mask_mod: MaskMod,
    B: int | None,
    H: int | None,
    Q_LEN: int,
    KV_LEN: int,
    device: Any = None,
    BLOCK_SIZE: Any = _DEFAULT_SPARSE_BLOCK_SIZE,
    _compile: bool = False,
    **options: Any,
) -> BlockMask:
    """What a mask_mod allows among Q_LEN queries and KV_LEN keys; B and H None: the same for all."""
    rows, columns = (BLOCK_SIZE,) * 2 if isinstance(BLOCK_SIZE, int) else BLOCK_SIZE
    allowed = create_mask(mask_mod, B, H, Q_LEN, KV_LEN, device)
    more = (-KV_LEN % columns, -Q_LEN % rows)
    whole = lazygrad.pad(allowed.int(), (0, more[0], 0, more[1]))
    blocks = whole.reshape(*whole.shape[:2], ceil_div(Q_LEN, rows), rows, ceil_div(KV_LEN, columns), columns)
    counts = blocks.sum((3, 5))
    full = counts == rows * columns
    partial = (counts > 0) & ~full
    return BlockMask(
        mask_mod, (B or 1, H or 1, Q_LEN, KV_LEN), (rows, columns), *_listed(partial), *_listed(full)
    )


def flex_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    score_mod: ScoreMod | None = None,
    block_mask: BlockMask | None = None,
    scale: float | None = None,
    enable_gqa: bool = False,
    return_lse: bool = False,
    kernel_options: Any = None,
    *,
    return_aux: AuxRequest | None = None,
) -> Any:
    """softmax(score_mod(query @ key.T * scale)) @ value over the pairs that block_mask allows.

    query (B, Hq, L, E), key (B, Hkv, S, E), value (B, Hkv, S, Ev) give (B, Hq, L, Ev). `return_lse`: also
    the log of each row's sum of exponentials (B, Hq, L). Rows that may see nothing are 0.
    """
    _check_inputs(query, key, value, enable_gqa)
    if query.shape[1] != key.shape[1]:
        repeats = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
    scale = 1.0 / math.sqrt(query.shape[-1]) if scale is None else scale
    sizes = (query.shape[0], query.shape[1], query.shape[2], key.shape[2])
    wide = lazygrad.float64 if query.dtype == lazygrad.float64 else lazygrad.float32
    scores = query.matmul(key.transpose(-2, -1)).to(wide) * scale
    indices = _indices(sizes, query.device)
    if score_mod is not None:
        scores = score_mod(scores, *indices).to(wide)
    if block_mask is not None:
        _check_sizes(block_mask, sizes)
        scores = scores.masked_fill(~block_mask.mask_mod(*indices), -math.inf)
    greatest = scores.detach().amax(-1, keepdim=True)
    base = greatest.masked_fill(greatest == -math.inf, 0.0)
    weights = (scores - base).exp()
    total = weights.sum(-1, keepdim=True)
    nothing = total.detach() == 0
    safe = total.masked_fill(nothing, 1.0)
    output = (weights / safe).to(query.dtype).matmul(value)
    lse = (safe.log() + base).masked_fill(nothing, -math.inf).squeeze(-1)
    if return_aux is not None:
        return output, AuxOutput(
            lse if return_aux.lse else None, greatest.squeeze(-1) if return_aux.max_scores else None
        )
    return (output, lse) if return_lse else output


def _check_inputs(query: Tensor, key: Tensor, value: Tensor, enable_gqa: bool) -> None:
    if not query.ndim == key.ndim == value.ndim == 4:
        raise ShapeError(
            "[flex_attention] query, key and value must have 4 axes: "
            f"{tuple(query.shape)}, {tuple(key.shape)}, {tuple(value.shape)}"
        )
    if query.shape[-1] != key.shape[-1]:
        raise ArgumentError(
            "[flex_attention] Expect query and key/value to have the same embedding dimension but got "
            f"E={query.shape[-1]} and E={key.shape[-1]}."
        )
    heads, others = query.shape[1], key.shape[1]
    if heads != others and not enable_gqa:
        raise ArgumentError(
            "[flex_attention] Expect query and key/value to have the same number of heads but got "
            f"Hq={heads} and Hkv={others}. Try setting enable_gqa=True for GQA."
        )
    if heads != others and (not others or heads % others):
        raise ArgumentError(
            "[flex_attention] Expect number of query heads to be a multiple of kv heads for GQA "
            f"but got Hq={heads} and Hkv={others}."
        )


def _check_sizes(mask: BlockMask, sizes: tuple[int, ...]) -> None:
    B, H, rows, columns = mask.shape
    if B not in (1, sizes[0]) or H not in (1, sizes[1]) or rows < sizes[2] or columns < sizes[3]:
        raise ArgumentError(
            f"[flex_attention] block_mask was created for block_mask.shape={mask.shape} but got "
            f"q_len={sizes[2]} and kv_len={sizes[3]} in {sizes[:2]}: make a mask of these sizes"
        )
