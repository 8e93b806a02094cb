"""PyTorch's `quasirandom` namespace: Sobol's sequences, whose points fill a cube more evenly than random
ones.

The direction numbers are those of Joe and Kuo (2008), for up to 21,201 dimensions. They come from the package
scipy, which keeps them in a file.
"""

from __future__ import annotations

import importlib.util
import os
from typing import Any

import numpy as np

import lazygrad
from lazygrad.dtypes import DType
from lazygrad.errors import ArgumentError, DTypeError, MissingPackageError
from lazygrad.tensors import Tensor

_FILE = os.path.join("stats", "_sobol_direction_numbers.npz")


class SobolEngine:
    """Points of [0, 1)^dimension: of Sobol's sequence or, with `scramble`, of one that is scrambled at random
    by a generator that `seed` starts, or by the default one. Raises ArgumentError for dimensions that there
    are no numbers for, MissingPackageError without scipy."""

    MAXBIT = 30
    MAXDIM = 21201

    def __init__(self, dimension: int, scramble: bool = False, seed: int | None = None) -> None:
        if not 1 <= dimension <= self.MAXDIM:
            raise ArgumentError(f"[SobolEngine] Supported range of dimensionality for SobolEngine is [1, "
                                f"{self.MAXDIM}], got {dimension}")
        self.dimension, self.scramble, self.seed = dimension, scramble, seed
        self.sobolstate = lazygrad.tensor(_directions(dimension, self.MAXBIT))
        self.shift = lazygrad.zeros(dimension, dtype=lazygrad.int64)
        if scramble:
            self._scramble()
        # in the precision of the default dtype, whichever is drawn, as in PyTorch
        self._first_point = (self.shift / 2**self.MAXBIT).reshape(1, -1)
        self.num_generated = 0

    def _scramble(self) -> None:
        """A random shift of all points, and a random triangular matrix of bits for each dimension."""
        generator = None if self.seed is None else lazygrad.Generator().manual_seed(self.seed)
        size, bits = self.dimension, self.MAXBIT
        powers = 2 ** lazygrad.arange(bits)
        self.shift = (lazygrad.randint(2, (size, bits), generator=generator) * powers).sum(1)
        below = lazygrad.randint(2, (size, bits, bits), generator=generator).tril(-1)
        matrix = below + lazygrad.eye(bits, dtype=lazygrad.int64)
        high_first = powers.flip(0)
        digits = (self.sobolstate.unsqueeze(1) // high_first.unsqueeze(1)) & 1
        moved = (matrix.float() @ digits.float()).long() & 1
        self.sobolstate = (moved * high_first.unsqueeze(1)).sum(1)

    @property
    def quasi(self) -> Tensor:
        """The last point that was drawn (the first one before that), times 2^30: int64 (dimension,)."""
        return self._points(max(self.num_generated - 1, 0), 1)[0]

    def _points(self, first: int, count: int) -> Tensor:
        """Points times 2^30: int64 (count, dimension). Each is made of the numbers of the bits that its place
        has in Gray's code."""
        place = np.arange(first, first + count)
        code = lazygrad.from_numpy(place ^ place >> 1).unsqueeze(1)
        points = self.shift.expand(count, self.dimension)
        for bit in range(self.MAXBIT):
            points = points ^ (code >> bit & 1) * self.sobolstate[:, bit]
        return points

    def draw(self, n: int = 1, out: Tensor | None = None, dtype: DType | None = None) -> Tensor:
        """The next n points: (n, dimension), float32 or float64. Raises ArgumentError beyond 2^30 points."""
        dtype, first = dtype or lazygrad.get_default_dtype(), self.num_generated
        if dtype not in (lazygrad.float32, lazygrad.float64):
            raise DTypeError(f"[draw] points are float32 or float64, not {dtype!r}: convert them with .to()")
        if n < (first == 0) or first + n > 1 << self.MAXBIT:
            raise ArgumentError(f"[draw] a sequence has 2^{self.MAXBIT} points, and the first draw takes one "
                                f"or more of them: got n={n} after {first}")
        points = self._points(first, n).to(dtype) * 2.0**-self.MAXBIT
        if first == 0:
            points = lazygrad.cat([self._first_point.to(dtype), points[1:]])
        self.num_generated += n
        return points if out is None else out.resize_as_(points).copy_(points)

    def draw_base2(self, m: int, out: Tensor | None = None, dtype: DType | None = None) -> Tensor:
        """The next 2^m points. Raises ArgumentError where all that were drawn would not be a power of 2."""
        n = 2**m
        total = self.num_generated + n
        if total & (total - 1):
            raise ArgumentError(
                "[draw_base2] The balance properties of Sobol' points require n to be a power of 2. "
                f"{self.num_generated} points have been previously generated, then: "
                f"n={self.num_generated}+2**{m}={total}. If you still want to do this, please use "
                "'SobolEngine.draw()' instead.")
        return self.draw(n, out, dtype)

    def reset(self) -> SobolEngine:
        """Begin anew."""
        self.num_generated = 0
        return self

    def fast_forward(self, n: int) -> SobolEngine:
        """Go on as if n points had been drawn."""
        self.num_generated += n
        return self

    def __repr__(self) -> str:
        words = [f"dimension={self.dimension}"]
        words += ["scramble=True"] if self.scramble else []
        words += [] if self.seed is None else [f"seed={self.seed}"]
        return f"{type(self).__name__}({', '.join(words)})"


def _table() -> Any:
    found = importlib.util.find_spec("scipy")  # its file is read, the package is not imported
    for folder in found.submodule_search_locations or () if found else ():
        path = os.path.join(folder, _FILE)
        if os.path.exists(path):
            return np.load(path)
    raise MissingPackageError("[SobolEngine] needs the direction numbers that the package scipy has (1.7 or "
                              "newer): pip install 'lazygrad[quasirandom]'")


def _directions(dimension: int, bits: int) -> np.ndarray:
    """Direction numbers times 2^bits: int64 (dimension, bits), by the recurrence of each dimension's
    polynomial."""
    table = _table()
    polynomials, starts = table["poly"][:dimension], table["vinit"][:dimension]
    numbers = np.ones((dimension, bits), np.int64)  # those of the first dimension
    degrees = np.frexp(polynomials)[1] - 1
    for degree in np.unique(degrees[degrees > 0]).tolist():
        rows = np.flatnonzero(degrees == degree)
        made = np.zeros((len(rows), bits), np.int64)
        made[:, :degree] = starts[rows, :degree]
        for j in range(degree, bits):
            made[:, j] = made[:, j - degree]
            for k in range(1, degree + 1):
                made[:, j] ^= (polynomials[rows] >> degree - k & 1) * made[:, j - k] << k
        numbers[rows] = made
    return numbers << np.arange(bits)[::-1]
