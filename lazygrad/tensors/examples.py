"""Examples: what a tensor is inside a function that `vmap` runs once for all examples."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lazygrad import dtypes, ops
from lazygrad.batching import batched, repeated
from lazygrad.errors import BatchError
from lazygrad.graph import Node
from lazygrad.tensors.core import Tensor, from_node
from lazygrad.tensors.modes import mode

RANDOMNESS = ("error", "different", "same")


class Examples:
    """One run of `vmap`: `size` examples, named by this object in the graph. `randomness` says whether each
    draws numbers of its own, all the same ones, or none."""

    def __init__(self, size: int, randomness: str) -> None:
        self.size, self.randomness = size, randomness

    def one(self, x: Tensor) -> Tensor:
        """A tensor that stands for one example of x: (size, *shape) -> shape."""
        tracked = mode.enabled and x.requires_grad
        node = ops.example(x.node(), arg=self)
        return from_node(node, x.cell.device, tracked, x.cell.tainted)

    def all(self, x: Tensor) -> Tensor:
        """The values of a tensor for all examples: shape -> (size, *shape)."""
        tracked = mode.enabled and x.requires_grad
        node = x.node()
        (found,) = batched([node], self, self.size)
        whole = repeated(node, self.size) if found is None else found
        return from_node(whole, x.cell.device, tracked, x.cell.tainted)

    def depends(self, x: Tensor) -> bool:
        """Whether a tensor has other values for other examples."""
        return batched([x.node()], self, self.size)[0] is not None


class _Running(threading.local):
    runs: tuple[Examples, ...] = ()


_running = _Running()


@contextmanager
def running(examples: Examples) -> Iterator[None]:
    """What is computed in this block is computed for all of these examples (beside those around it)."""
    before = _running.runs
    _running.runs = (*before, examples)
    try:
        yield
    finally:
        _running.runs = before


def of_all_examples(x: Tensor) -> Tensor:
    """The values of a tensor for the examples of all runs of `vmap` that this code is in; itself where it
    depends on none."""
    if not _running.runs:
        return x
    node = x.plain_node()
    for run in reversed(_running.runs):
        (found,) = batched([node], run, run.size)
        node = found or node
    return x if node is x.plain_node() else from_node(node, x.cell.device, tainted=True)


def drawing_runs() -> Sequence[Examples]:
    """The runs of `vmap` around, outermost first, each example of which draws random numbers of its own.
    Raises BatchError where the examples may draw none."""
    runs = [run for run in _running.runs if run.randomness != "same"]
    if any(run.randomness == "error" for run in runs):
        raise BatchError("[vmap] called random operation while in randomness error mode. Please either use "
                         "the 'same' or 'different' randomness flags on vmap or perform the randomness "
                         "operation out of vmap")
    return runs


def counters(count: int) -> tuple[int, Node | None]:
    """How many counters a draw of `count` random numbers takes, and where those of one example begin
    (uint64; None where all use the same). Raises BatchError where the examples may draw none."""
    runs = drawing_runs()
    begin: Node | None = None
    for run in reversed(runs):
        number = ops.example(ops.iota(run.size, dtypes.uint64), arg=run)
        shift = ops.mul(number, ops.const(count, dtypes.uint64))
        begin = shift if begin is None else ops.add(begin, shift)
        count *= run.size
    return count, begin
