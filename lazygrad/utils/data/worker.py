"""What a worker process of a DataLoader does: fetch batches that it is asked for, and send them back.

A worker computes on one thread of the processor, wherever the main program computes: a device that was opened
before a fork does not work after it.
"""

from __future__ import annotations

import os
import pickle
import random
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.reduction import ForkingPickler
from queue import Empty
from typing import Any

import numpy as np

from lazygrad import config
from lazygrad.tensors.random.generator import default_generator
from lazygrad.utils.data.collate import default_collate
from lazygrad.utils.data.dataset import batch_at_once

CHECK_SECONDS = 5.0  # how often a waiting process looks whether the other one lives


@dataclass
class WorkerInfo:
    """What `get_worker_info` says in a worker: its number, how many there are, its seed, its own dataset."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """Facts about this worker process; None in the main process."""
    return _info


class Failure:
    """An exception on its way to the main process, with its traceback as text."""

    def __init__(self, error: BaseException, where: str):
        self.kind: Any = type(error)
        self.text = f"Caught {type(error).__name__} {where}.\nOriginal {traceback.format_exc()}"

    def raise_again(self) -> None:
        """Raise an exception of the same type with the text, or RuntimeError where the type cannot be
        made."""
        if self.kind is KeyError:
            raise KeyError(_Plain(self.text))
        try:
            error = self.kind(self.text)
        except Exception:
            raise RuntimeError(self.text) from None
        raise error


class _Plain(str):
    """A text that prints its line breaks inside of a KeyError."""

    def __repr__(self) -> str:
        return str(self)


class Exhausted:
    """Instead of a batch: this worker's dataset has no more."""


class Fetcher:
    """Makes batches of what a sampler gives."""

    def __init__(
        self, dataset: Any, is_iterable: bool, batched: bool, collate: Callable[[Any], Any], drop_last: bool
    ):
        self.dataset, self.batched, self.collate, self.drop_last = dataset, batched, collate, drop_last
        self.samples: Iterator[Any] | None = iter(dataset) if is_iterable else None
        self.ended = False

    def fetch(self, asked: Any) -> Any:
        """A batch. Raises StopIteration at the end of an iterable dataset."""
        if self.samples is not None:
            return self._next(asked)
        if not self.batched:
            return self.collate(self.dataset[asked])
        if self.collate is default_collate:
            batch = batch_at_once(self.dataset, asked)
            if batch is not None:
                return batch
        at_once = getattr(self.dataset, "__getitems__", None)
        return self.collate(at_once(asked) if callable(at_once) else [self.dataset[i] for i in asked])

    def _next(self, asked: Any) -> Any:
        assert self.samples is not None
        if self.ended:
            raise StopIteration
        if not self.batched:
            return self.collate(next(self.samples))
        data = []
        for _ in asked:
            try:
                data.append(next(self.samples))
            except StopIteration:
                self.ended = True
                break
        if not data or (self.drop_last and len(data) < len(asked)):
            raise StopIteration
        return self.collate(data)


def numpy_seed(base_seed: int, worker: int) -> np.ndarray:
    """PyTorch's seed of NumPy in a worker."""
    parts = [worker, base_seed & 0xFFFFFFFF, base_seed >> 32, 0]
    return np.random.SeedSequence(parts).generate_state(4)


def work(
    make_fetcher: Callable[[], Fetcher],
    dataset: Any,
    tasks: Any,
    results: Any,
    base_seed: int,
    init: Callable[[int], Any] | None,
    worker: int,
    workers: int,
    parent: int,
) -> None:
    """The main function of a worker. Tasks are (number, what to fetch), (None, None) to begin anew, and None
    to end; results are pickled (number, batch)."""
    global _info
    with config.override(DEVICE="CPU", THREADS=1):
        seed = base_seed + worker
        random.seed(seed)
        default_generator.manual_seed(seed)
        np.random.seed(numpy_seed(base_seed, worker))
        _info = WorkerInfo(worker, workers, seed, dataset)
        where = f"in DataLoader worker process {worker}"
        failure: Failure | None = None
        try:
            if init is not None:
                init(worker)
            fetcher = make_fetcher()
        except Exception as error:
            failure = Failure(error, where)
        try:
            while (task := _next_task(tasks, parent)) is not None:
                number, asked = task
                if number is None:
                    fetcher, failure = make_fetcher(), None
                    continue
                answer: Any = failure
                if failure is None:
                    try:
                        answer = fetcher.fetch(asked)
                    except StopIteration:
                        answer = Exhausted()
                    except Exception as error:
                        answer = Failure(error, where)
                else:
                    failure = None
                _send(results, number, answer, where)
                del answer
        except (KeyboardInterrupt, BrokenPipeError, ConnectionResetError):
            pass  # the main process is told too, or is gone
    results.close()
    tasks.cancel_join_thread()
    tasks.close()


def _next_task(tasks: Any, parent: int) -> Any:
    while True:
        try:
            return tasks.get(timeout=CHECK_SECONDS)
        except Empty:
            if os.getppid() != parent:
                return None


def _send(results: Any, number: int, answer: Any, where: str) -> None:
    try:
        data = bytes(ForkingPickler.dumps((number, answer), pickle.HIGHEST_PROTOCOL))
    except Exception as error:  # what cannot be pickled, or computed
        data = bytes(ForkingPickler.dumps((number, Failure(error, where))))
    results.send_bytes(data)
