"""PyTorch's generator of random bits on the CPU: the Mersenne twister mt19937, its seeding and its state's
bytes.

The twist itself is NumPy's, which is given the state. Words come as arrays; whoever calls makes numbers of
them.
"""

from __future__ import annotations

import struct

import numpy as np

from lazygrad.errors import ArgumentError

_STATE_WORDS = 624
STATE_BYTES = 5056
# the seed, how many words are left of the state, whether it was seeded, the next word's place; then the state
# as words of 64 bits; three numbers of which only the second is used, and whether it is; the same for float32
_HEAD, _TAIL = struct.Struct("<Qiiq"), struct.Struct("<dddi4xf?3x")


class Mersenne:
    """mt19937 at one position, and the second of the last two normal numbers where it has not been used
    yet."""

    def __init__(self, seed: int) -> None:
        self._bits = np.random.MT19937()
        self.start(seed)

    def start(self, seed: int) -> None:
        """Begin anew; the low 32 bits of the seed decide."""
        state, word = np.empty(_STATE_WORDS, np.uint32), seed & 0xFFFFFFFF
        for i in range(_STATE_WORDS):
            state[i] = word
            word = (1812433253 * (word ^ word >> 30) + i + 1) & 0xFFFFFFFF
        self.seed = seed
        self.spare_normal: float | None = None
        self._place(state, _STATE_WORDS)
        self._next_when_spent = 0  # PyTorch has 624 where a state was used up, and 0 after seeding

    def _place(self, state: np.ndarray, position: int) -> None:
        self._bits.state = {"bit_generator": "MT19937", "state": {"key": state, "pos": position}}

    def words(self, count: int) -> np.ndarray:
        """The next numbers of 32 bits: uint32 (count,)."""
        if count:
            self._next_when_spent = _STATE_WORDS
        return self._bits.random_raw(count).astype(np.uint32)

    def long_words(self, count: int) -> np.ndarray:
        """The next numbers of 64 bits, each of two words, the high one first: uint64 (count,)."""
        if count:
            self._next_when_spent = _STATE_WORDS
        pairs = self._bits.random_raw(2 * count)
        return pairs[0::2] << np.uint64(32) | pairs[1::2]

    def copy(self) -> Mersenne:
        """Another one at the same position."""
        made = Mersenne.__new__(Mersenne)
        made._bits = np.random.MT19937()
        made.continue_from(self.to_bytes())
        return made

    def to_bytes(self) -> bytes:
        """The state as PyTorch's get_state lays it out."""
        at = self._bits.state["state"]
        position = int(at["pos"])
        spent = position == _STATE_WORDS
        head = _HEAD.pack(self.seed, 1 if spent else _STATE_WORDS + 1 - position, 1,
                          self._next_when_spent if spent else position)
        spare = self.spare_normal
        tail = _TAIL.pack(0.0, spare or 0.0, 0.0, spare is not None, 0.0, False)
        return head + at["key"].astype("<u8").tobytes() + tail

    def continue_from(self, state: bytes) -> None:
        """Continue from such bytes. Raises ArgumentError for others."""
        if len(state) != STATE_BYTES:
            raise ArgumentError(f"[set_state] Expected a CPUGeneratorImplState of size {STATE_BYTES} but "
                                f"found the input RNG state size to be {len(state)}")
        seed, left, seeded, following = _HEAD.unpack_from(state)
        if seeded != 1 or not 1 <= left <= _STATE_WORDS or not 0 <= following <= _STATE_WORDS:
            raise ArgumentError("[set_state] Invalid mt19937 state")
        words = np.frombuffer(state, "<u8", _STATE_WORDS, _HEAD.size).astype(np.uint32)
        _, spare, _, has_spare, _, _ = _TAIL.unpack_from(state, _HEAD.size + 8 * _STATE_WORDS)
        self.seed, self.spare_normal = seed, spare if has_spare else None
        self._place(words, _STATE_WORDS if left == 1 else following)
        self._next_when_spent = following if left == 1 else _STATE_WORDS
