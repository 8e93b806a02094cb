"""Generator: a seed and how far it has come; the default one, and its state.

With `RNG=counter` the numbers are a function of (seed, counter): equal on every device, whenever and in
whatever order the work is done. Seed and count enter kernels as data, so one kernel serves every call. With
`RNG=torch` they are those of PyTorch's generator on the CPU, a Mersenne twister. A generator has both, seeded
alike.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from lazygrad import config, dtypes, engine, ops
from lazygrad.errors import ArgumentError, ArgumentTypeError
from lazygrad.graph import Node
from lazygrad.tensors.core import Tensor, creator, from_node
from lazygrad.tensors.devices import usable_device
from lazygrad.tensors.examples import counters
from lazygrad.tensors.random.mersenne import STATE_BYTES, Mersenne
from lazygrad.tensors.recording import at_each_run, check_no_recording, host_numbers
from lazygrad.tensors.signatures import register
from lazygrad.tensors.values import read

_DEFAULT_SEED = 67280421310721  # PyTorch's
_WORD = (1 << 64) - 1
_COUNTER_BYTES = 16


class Generator:
    """A source of random numbers with its own seed and position; `device` is kept for PyTorch's signature."""

    def __init__(self, device: Any = None):
        self.device = usable_device(device).lower()
        self._seed, self._offset = _DEFAULT_SEED, 0
        self._twister: Mersenne | None = None

    def twister(self) -> Mersenne:
        """The source of `RNG=torch`."""
        if self._twister is None:
            self._twister = Mersenne(self._seed)
        return self._twister

    def manual_seed(self, seed: int) -> Generator:
        """Start anew from a seed, an integer of 64 bits (negative ones count from the end)."""
        if isinstance(seed, bool) or (not hasattr(seed, "__index__") and not isinstance(seed, Tensor)):
            raise ArgumentError(f"[manual_seed] seed must be an int, not {type(seed).__name__}")
        seed = int(seed)
        if not -(1 << 63) <= seed <= _WORD:
            raise ArgumentError(f"[manual_seed] Overflow when unpacking long: {seed} does not fit in 64 bits")
        at_each_run(lambda: self._start(seed & _WORD))
        return self

    def _start(self, seed: int) -> None:
        self._seed, self._offset, self._twister = seed, 0, None

    def mark(self) -> tuple[int, int, bytes | None]:
        """Where this stands, for `go_to`."""
        return self._seed, self._offset, None if self._twister is None else self._twister.to_bytes()

    def go_to(self, mark: tuple[int, int, bytes | None]) -> None:
        """Continue from where this stood at a mark."""
        self._seed, self._offset, state = mark
        if state is None:
            self._twister = None
        else:
            self.twister().continue_from(state)

    def seed(self) -> int:
        """Start anew from a seed that the operating system gives, and return it."""
        check_no_recording("seed")
        self.manual_seed(int.from_bytes(os.urandom(8), "little"))
        return self._seed

    def initial_seed(self) -> int:
        """The seed that this generator started from."""
        return self.twister().seed if config.get("RNG") == "torch" else self._seed

    def get_state(self) -> Tensor:
        """Seed and position: uint8 (16); with `RNG=torch` uint8 (5056), which PyTorch's own set_rng_state
        takes."""
        check_no_recording("get_state")
        if config.get("RNG") == "torch":
            bits = np.frombuffer(self.twister().to_bytes(), np.uint8)
        else:
            bits = np.array([self._seed, self._offset], "<u8").view(np.uint8)
        return from_node(engine.upload(bits, dtypes.uint8, "NUMPY"), "NUMPY")

    def set_state(self, state: Tensor) -> Generator:
        """Continue from what get_state gave, with `RNG=torch` also from what PyTorch's gave. Raises
        ArgumentTypeError for other dtypes, ArgumentError for other sizes."""
        check_no_recording("set_state")
        values = read(state) if isinstance(state, Tensor) else np.asarray(state)
        method = config.get("RNG")
        size = STATE_BYTES if method == "torch" else _COUNTER_BYTES
        if values.dtype != np.uint8 or values.shape != (size,):
            kind = ArgumentError if values.dtype == np.uint8 else ArgumentTypeError
            raise kind(f"[set_state] expected the uint8 tensor ({size},) of get_state with "
                       f"RNG={method}, got {values.shape} of {values.dtype}")
        if method == "torch":
            self.twister().continue_from(values.tobytes())
        else:
            self._seed, self._offset = (int(v) for v in values.view("<u8"))
        return self

    def _replay_structure(self) -> None:
        """Replays of a recorded function draw on from where this stands."""

    def _replay_places(self) -> tuple[()]:
        return ()

    def clone_state(self) -> Generator:
        """Another generator at the same position."""
        other = Generator(self.device)
        other.go_to(self.mark())
        return other

    def take(self, count: int) -> tuple[Node, Node]:
        """Seed and first counter, as data, of the next `count` counters (of as many for each example, under
        vmap)."""
        total, number = counters(count)

        def numbers() -> tuple[int, int]:
            offset = self._offset
            self._offset = (offset + total) & _WORD
            return self._seed, offset

        seed, first = host_numbers(numbers, dtypes.uint64)
        return seed, first if number is None else ops.add(first, number)


register(Generator)


default_generator = Generator("NUMPY")


def chosen(generator: Generator | None) -> Generator:
    """A generator, the default one where none is given."""
    return default_generator if generator is None else generator


for _name in ("seed", "initial_seed"):
    creator(_name)(getattr(default_generator, _name))


@creator("manual_seed")
def manual_seed(seed: Any) -> Generator:
    """Start the default generator anew from int(seed), and return it. Raises ArgumentTypeError for what is
    no number."""
    return default_generator.manual_seed(int(seed))


@creator("get_rng_state")
def get_rng_state() -> Tensor:
    """The state of the default generator."""
    return default_generator.get_state()


@creator("set_rng_state")
def set_rng_state(new_state: Tensor) -> None:
    """Continue the default generator from a state."""
    default_generator.set_state(new_state)


@creator("fork_rng")
@contextmanager
def fork_rng(
    devices: Any = None,
    enabled: bool = True,
    _caller: str = "fork_rng",
    _devices_kw: str = "devices",
    device_type: str | None = None,
) -> Iterator[None]:
    """A block of code after which the default generator continues as if nothing had been drawn."""
    generator, before = default_generator, list[Any]()
    at_each_run(lambda: before.append(generator.mark()))
    try:
        yield
    finally:
        if enabled:
            at_each_run(lambda: generator.go_to(before.pop()))


class Drawn:
    """Where a generator stood when this was made, so that the same numbers can be drawn once more."""

    def __init__(self, generator: Generator = default_generator):
        self.generator = generator
        self.place: Any = None
        at_each_run(self._note)

    def _note(self) -> None:
        self.place = self.generator.mark()

    @contextmanager
    def again(self) -> Iterator[None]:
        """A block that draws the same numbers, after which the generator goes on as if it had not."""
        now: list[Any] = []

        def back() -> None:
            now.append(self.generator.mark())
            self.generator.go_to(self.place)

        at_each_run(back)
        try:
            yield
        finally:
            at_each_run(lambda: self.generator.go_to(now.pop()))


creator("Generator")(Generator)
