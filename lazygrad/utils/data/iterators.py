"""The iterators of a DataLoader: one that fetches in this process, one that lets worker processes fetch."""

from __future__ import annotations

import functools
import multiprocessing
import os
import pickle
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any

from lazygrad import config
from lazygrad.tensors.core import Tensor
from lazygrad.tree import flatten
from lazygrad.utils.data.sampler import random_seed
from lazygrad.utils.data.worker import CHECK_SECONDS, Exhausted, Failure, Fetcher, work

if TYPE_CHECKING:
    from lazygrad.utils.data.dataloader import DataLoader

JOIN_SECONDS = 5.0


class DatasetKind:
    """How a loader reads its dataset: by index, or one sample after the other."""

    Map, Iterable = 0, 1

    @staticmethod
    def create_fetcher(
        kind: int, dataset: Any, auto_collation: bool, collate_fn: Callable[[Any], Any], drop_last: bool
    ) -> Fetcher:
        """What makes the batches of a dataset."""
        return Fetcher(dataset, kind == DatasetKind.Iterable, auto_collation, collate_fn, drop_last)


def _fetcher_maker(loader: DataLoader[Any]) -> Callable[[], Fetcher]:
    """Makes a loader's fetcher, from attributes that PyTorch's loaders have, and others' loaders too."""
    return functools.partial(
        DatasetKind.create_fetcher,
        loader._dataset_kind,
        loader.dataset,
        loader._auto_collation,
        loader.collate_fn,
        loader.drop_last,
    )


class LoaderIterator:
    """What both iterators share: the sampler's iterator, and the seed that is drawn when they begin."""

    def __init__(self, loader: DataLoader[Any]):
        self.loader = loader
        self.base_seed = 0
        self._begin(loader)

    def _begin(self, loader: DataLoader[Any]) -> None:
        self.sampled = iter(loader._index_sampler)
        self.base_seed = random_seed(loader.generator)
        self.given = 0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __len__(self) -> int:
        return len(self.loader._index_sampler)

    def __next__(self) -> Any:
        batch = self._next()
        self.given += 1
        self._check_length()
        return batch

    def _check_length(self) -> None:
        """Warn where an iterable dataset gives more than its length said."""
        loader, said = self.loader, self.loader._IterableDataset_len_called
        if loader._dataset_kind == DatasetKind.Map or said is None or self.given <= said:
            return
        text = (
            f"Length of IterableDataset {loader.dataset} was reported to be {said} "
            f"(when accessing len(dataloader)), but {self.given} samples have been fetched. "
        )
        if loader.num_workers:
            text += (
                "For multiprocessing data-loading, this could be caused by not properly "
                "configuring the IterableDataset replica at each worker. Please see "
                "https://pytorch.org/docs/stable/data.html#torch.utils.data.IterableDataset for "
                "examples."
            )
        warnings.warn(text, stacklevel=3)

    def _next(self) -> Any:
        raise StopIteration


class SingleProcessIterator(LoaderIterator):
    """Fetches when it is asked."""

    def __init__(self, loader: DataLoader[Any]):
        super().__init__(loader)
        self.fetcher = _fetcher_maker(loader)()

    def _next(self) -> Any:
        return self.fetcher.fetch(next(self.sampled))


class _Worker:
    """A worker process, as the main process sees it."""

    def __init__(self, context: Any, loader: DataLoader[Any], number: int, base_seed: int):
        self.tasks = context.Queue()
        self.tasks.cancel_join_thread()
        self.results, theirs = context.Pipe(duplex=False)
        self.process = context.Process(
            target=work,
            args=(
                _fetcher_maker(loader),
                loader.dataset,
                self.tasks,
                theirs,
                base_seed,
                loader.worker_init_fn,
                number,
                loader.num_workers,
                os.getpid(),
            ),
            daemon=True,
        )
        self.process.start()
        theirs.close()  # so that the end of the worker is the end of the pipe, and no later worker has it
        self.active = True


def _stop(workers: list[_Worker]) -> None:
    """End worker processes, and wait for them."""
    for worker in workers:
        if worker.process.is_alive():
            worker.tasks.put(None)
    for worker in workers:
        worker.results.close()  # a worker that is sending is not to wait for us
        worker.process.join(JOIN_SECONDS)
        if worker.process.is_alive():
            worker.process.terminate()
            worker.process.join()
        worker.tasks.close()


class WorkersIterator(LoaderIterator):
    """Keeps `prefetch_factor` batches for each worker under way, and gives them in the sampler's order (or as
    they come, without `in_order`)."""

    def __init__(self, loader: DataLoader[Any]):
        context = loader.multiprocessing_context or multiprocessing.get_context(
            "fork" if "fork" in multiprocessing.get_all_start_methods() else None
        )
        self.workers: list[_Worker] = []
        super().__init__(loader)
        for number in range(loader.num_workers):
            self.workers.append(_Worker(context, loader, number, self.base_seed))
        self._finalizer = weakref.finalize(self, _stop, self.workers)
        self._prefetch()

    def _begin(self, loader: DataLoader[Any]) -> None:
        super()._begin(loader)
        self.sent, self.received = 0, 0  # numbers of batches
        self.turn = 0  # the worker that is asked next
        self.asked: dict[int, int] = {}  # number of a batch: its worker
        self.waiting: dict[int, Any] = {}  # batches that came before their turn
        for worker in self.workers:
            worker.active = True

    def _shutdown_workers(self) -> None:
        """End the workers: PyTorch's name, which loops that own loaders call."""
        self._finalizer()

    def reset(self, loader: DataLoader[Any]) -> None:
        """Begin anew with the same workers."""
        late = self.asked.copy()
        while late.keys() - self.waiting.keys():  # what the last pass left under way
            number, data = self._receive()
            self.waiting[number] = data
        self._begin(loader)
        for worker in self.workers:
            worker.tasks.put((None, None))
        self._prefetch()

    def _prefetch(self) -> None:
        for _ in range((self.loader.prefetch_factor or 0) * len(self.workers)):
            self._ask()

    def _ask(self) -> None:
        """Send the next of what the sampler gives to the next worker that still has samples."""
        active = [i for i, w in enumerate(self.workers) if w.active]
        if not active:
            return
        try:
            asked = next(self.sampled)
        except StopIteration:
            return
        turn = next((i for i in active if i >= self.turn), active[0])
        self.turn = turn + 1
        self.workers[turn].tasks.put((self.sent, asked))
        self.asked[self.sent] = turn
        self.sent += 1

    def _next(self) -> Any:
        while True:
            while self.received < self.sent and self.received not in self.asked:
                self.received += 1  # asked of a worker whose samples have ended
            if self.received >= self.sent or not self.asked:
                if not self.loader.persistent_workers:
                    self._finalizer()
                raise StopIteration
            number = self.received if self.loader.in_order else next(iter(self.waiting), None)
            if number in self.waiting:
                data = self.waiting.pop(number)
            else:
                came, data = self._receive()
                if came != number and self.loader.in_order:
                    self.waiting[came] = data
                    continue
                number = came
            worker = self.workers[self.asked.pop(number)]
            if isinstance(data, Exhausted):
                worker.active = False
                self._ask()
                continue
            self._ask()
            if isinstance(data, Failure):
                data.raise_again()
            return _at_home(data)

    def _receive(self) -> tuple[int, Any]:
        """The next batch that some worker has ready. Raises RuntimeError if a worker has died, or nothing has
        come in time."""
        limit = self.loader.timeout
        start = time.monotonic()
        ends: dict[Any, _Worker] = {worker.results: worker for worker in self.workers}
        while True:
            left = (
                CHECK_SECONDS
                if limit <= 0
                else max(0.0, min(CHECK_SECONDS, start + limit - time.monotonic()))
            )
            end: Any
            for end in wait(list(ends), left):
                try:
                    return pickle.loads(end.recv_bytes())
                except EOFError:
                    process = ends[end].process
                    process.join(JOIN_SECONDS)
                    self._finalizer()
                    raise RuntimeError(
                        f"DataLoader worker (pid(s) {process.pid}) exited unexpectedly, "
                        f"with exit code {process.exitcode}"
                    ) from None
            if 0 < limit <= time.monotonic() - start:
                self._finalizer()
                raise RuntimeError(f"DataLoader timed out after {limit} seconds")


def _at_home(data: Any) -> Any:
    """A batch whose tensors are on the default device, where they would be if no worker had made them."""
    home = config.get("DEVICE")
    if home == "CPU":
        return data
    leaves, tree = flatten(data)
    return tree.unflatten(
        [x.to(home) if isinstance(x, Tensor) and x.cell.device == "CPU" else x for x in leaves]
    )
