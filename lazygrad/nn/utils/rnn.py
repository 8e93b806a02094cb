"""Sequences of several lengths: padded into one tensor, or packed step by step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import lazygrad
from lazygrad.errors import ArgumentError, ShapeError
from lazygrad.tensors import Tensor
from lazygrad.tensors.signatures import check_all


class PackedSequence_(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(PackedSequence_):
    """Sequences packed step by step: `data` (sum of lengths, ...), `batch_sizes` (T,) int64 on the CPU says
    how many sequences reach each step; the longest come first, `sorted_indices` says which they were."""

    def __new__(
        cls,
        data: Any,
        batch_sizes: Tensor | None = None,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> PackedSequence:
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        if batch_sizes is None:  # PackedSequence((data, batch_sizes))
            if not (isinstance(data, list | tuple) and len(data) == 2):
                raise ArgumentError("[PackedSequence] Expected data to be a list or tuple of length 2")
            data, batch_sizes = data
        elif batch_sizes.device.type != "cpu":
            raise ArgumentError(
                "[PackedSequence] batch_sizes should always be on CPU. Instances of "
                "PackedSequence should be made by pack_sequence and pack_padded_sequence"
            )
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The data in another dtype or on another device; the permutations follow to the device."""
        data = self.data.to(*args, **kwargs)
        if data is self.data:
            return self
        moved = [
            None if t is None else t.to(data.device) for t in (self.sorted_indices, self.unsorted_indices)
        ]
        return type(self)(data, self.batch_sizes, *moved)

    def cpu(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """On the CPU."""
        return self.to("cpu", *args, **kwargs)

    def cuda(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """On the accelerator that "cuda" names."""
        return self.to(kwargs.pop("device", "cuda"), *args, **kwargs)

    def double(self) -> PackedSequence:
        """In float64."""
        return self.to(lazygrad.float64)

    def float(self) -> PackedSequence:
        """In float32."""
        return self.to(lazygrad.float32)

    def half(self) -> PackedSequence:
        """In float16."""
        return self.to(lazygrad.float16)

    def long(self) -> PackedSequence:
        """In int64."""
        return self.to(lazygrad.int64)

    def int(self) -> PackedSequence:
        """In int32."""
        return self.to(lazygrad.int32)

    def short(self) -> PackedSequence:
        """In int16."""
        return self.to(lazygrad.int16)

    def char(self) -> PackedSequence:
        """In int8."""
        return self.to(lazygrad.int8)

    def byte(self) -> PackedSequence:
        """In uint8."""
        return self.to(lazygrad.uint8)

    def pin_memory(self) -> PackedSequence:
        """The same: memory is not pinned here."""
        return self

    def is_pinned(self) -> bool:
        """False: memory is not pinned here."""
        return False

    @property
    def is_cuda(self) -> bool:
        """Whether the data is on the accelerator that "cuda" names."""
        return self.data.is_cuda


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The permutation that undoes one."""
    if permutation is None:
        return None
    places = lazygrad.arange(permutation.numel(), device=permutation.device)
    return lazygrad.empty_like(permutation).scatter(0, permutation, places)


class Packing:
    """Where the elements of packed sequences stand: what both directions are computed from, on the host."""

    def __init__(self, batch_sizes: list[int]) -> None:
        self.batch_sizes = batch_sizes
        self.steps, self.sequences = len(batch_sizes), batch_sizes[0] if batch_sizes else 0

    @property
    def lengths(self) -> list[int]:
        """The length of each sequence, the longest first."""
        return [sum(size > n for size in self.batch_sizes) for n in range(self.sequences)]

    def padded_places(self, device: Any) -> Tensor:
        """For each packed element its place among T * N padded ones."""
        places = [t * self.sequences + n for t, size in enumerate(self.batch_sizes) for n in range(size)]
        return lazygrad.tensor(places, dtype=lazygrad.int64, device=device)

    def packed_places(self, device: Any) -> Tensor:
        """For each padded element (T, N) its place among the packed ones; 0 where a sequence has ended."""
        places, start = [], 0
        for size in self.batch_sizes:
            places.append([start + n if n < size else 0 for n in range(self.sequences)])
            start += size
        return lazygrad.tensor(places, dtype=lazygrad.int64, device=device)

    def alive(self, device: Any) -> Tensor:
        """(T, N) bool: whether a sequence reaches a step."""
        sizes = lazygrad.tensor(self.batch_sizes, dtype=lazygrad.int64, device=device).unsqueeze(1)
        return lazygrad.arange(self.sequences, device=device) < sizes

    def padded(self, data: Tensor, value: float = 0.0) -> Tensor:
        """Packed elements as (T, N, ...), `value` where a sequence has ended."""
        spread = data[self.packed_places(data.device)]
        alive = self.alive(data.device)
        return spread.masked_fill(~alive.reshape(alive.shape + (1,) * (spread.ndim - 2)), value)

    def packed(self, padded: Tensor) -> Tensor:
        """The elements of (T, N, ...) that sequences reach, step by step."""
        return padded.flatten(0, 1)[self.padded_places(padded.device)]


def packing_of(sequence: PackedSequence) -> Packing:
    """The packing of a sequence; reads its batch sizes."""
    return Packing(sequence.batch_sizes.tolist())


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Pack (T, N, ...), or (N, T, ...) with `batch_first`, of N sequences with the given lengths.

    Raises RuntimeError for lengths that are not positive, that do not decrease under `enforce_sorted`, or
    that do not fit the input.
    """
    listed = lengths.tolist() if isinstance(lengths, Tensor) else [int(n) for n in lengths]
    padded = input.transpose(0, 1) if batch_first else input
    order = None
    if not enforce_sorted:
        places = sorted(range(len(listed)), key=lambda n: -listed[n])
        listed = [listed[n] for n in places]
        order = lazygrad.tensor(places, dtype=lazygrad.int64, device=input.device)
        padded = padded.index_select(1, order)
    _check_lengths(padded, listed)
    steps = listed[0]
    packing = Packing([sum(length > t for length in listed) for t in range(steps)])
    return PackedSequence(
        packing.packed(padded[:steps]),
        lazygrad.tensor(packing.batch_sizes, dtype=lazygrad.int64, device="cpu"),
        order,
    )


def _check_lengths(padded: Tensor, lengths: list[int]) -> None:
    if not padded.numel():
        raise ShapeError("[pack_padded_sequence] Cannot pack empty tensors.")
    if len(lengths) != padded.shape[1]:
        raise ShapeError(
            f"[pack_padded_sequence] Expected `len(lengths)` to be equal to batch_size, but got "
            f"{len(lengths)} (batch_size={padded.shape[1]})"
        )
    if any(b > a for a, b in zip(lengths, lengths[1:], strict=False)):
        raise ArgumentError(
            "[pack_padded_sequence] `lengths` array must be sorted in decreasing order when `enforce_sorted` "
            "is True. You can pass `enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to "
            "sidestep this requirement."
        )
    if lengths[-1] <= 0:
        raise ArgumentError(
            "[pack_padded_sequence] Length of all samples has to be greater than 0, "
            "but found an element in 'lengths' that is <= 0"
        )
    if lengths[0] > padded.shape[0]:
        raise ArgumentError(
            f"[pack_padded_sequence] a length of {lengths[0]} is more than the "
            f"{padded.shape[0]} steps of the input {tuple(padded.shape)}"
        )


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    """(T, N, ...), or (N, T, ...) with `batch_first`, and the lengths (N,) int64, in the order that the
    sequences had before packing. `total_length` is T where it should be more than the longest length."""
    packing = packing_of(sequence)
    padded = packing.padded(sequence.data, padding_value)
    if total_length is not None:
        if total_length < packing.steps:
            raise ArgumentError(
                "[pad_packed_sequence] Expected total_length to be at least the length of "
                f"the longest sequence in input, but got total_length={total_length} and max "
                f"sequence length being {packing.steps}"
            )
        more = total_length - packing.steps
        if more:
            padded = lazygrad.cat([padded, padded.new_full((more, *padded.shape[1:]), padding_value)])
    lengths = lazygrad.tensor(packing.lengths, dtype=lazygrad.int64)
    if sequence.unsorted_indices is not None:
        padded = padded.index_select(1, sequence.unsorted_indices)
        lengths = lengths[sequence.unsorted_indices.cpu()]
    return (padded.transpose(0, 1) if batch_first else padded), lengths


def pad_sequence(
    sequences: Any, batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Tensor:
    """Tensors (length, ...) side by side: (longest, N, ...), or (N, longest, ...) with `batch_first`."""
    if not isinstance(sequences, Iterable):
        raise ArgumentError(
            f"[pad_sequence] Expected iterable for input sequences, but got arg of type: {type(sequences)}"
        )
    sequences = list(sequences)
    if not sequences:
        raise ArgumentError("[pad_sequence] received an empty list of sequences")
    if padding_side not in ("left", "right"):
        raise ArgumentError(
            f"[pad_sequence] Expected padding_side to be one of left or right, but got {padding_side}."
        )
    rest = tuple(sequences[0].shape[1:])
    for place, s in enumerate(sequences):
        if tuple(s.shape[1:]) != rest:
            raise ShapeError(
                f"[pad_sequence] sequence {place} has shape {tuple(s.shape)}, the first "
                f"{tuple(sequences[0].shape)}: they may differ in the first dimension alone"
            )
    longest = max(s.shape[0] for s in sequences)
    full = []
    for s in sequences:
        gap = s.new_full((longest - s.shape[0], *rest), padding_value)
        parts = [gap, s] if padding_side == "left" else [s, gap]
        full.append(s if s.shape[0] == longest else lazygrad.cat(parts))
    return lazygrad.stack(full, 0 if batch_first else 1)


def unpad_sequence(padded_sequences: Tensor, lengths: Any, batch_first: bool = False) -> list[Tensor]:
    """The sequences of a padded tensor, each cut to its length."""
    by_sequence = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    listed = lengths.tolist() if isinstance(lengths, Tensor) else list(lengths)
    return [sequence[:length] for sequence, length in zip(by_sequence, listed, strict=True)]


def pack_sequence(sequences: list[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Pack tensors (length, ...)."""
    return pack_padded_sequence(
        pad_sequence(sequences), [s.shape[0] for s in sequences], enforce_sorted=enforce_sorted
    )


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences of a packed one, in the order that they had before packing."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)


check_all(globals())
