"""`DataLoader`: batches of a dataset, in this process or from worker processes."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from lazygrad.errors import ArgumentError, ArgumentTypeError
from lazygrad.tensors.guards import Guarded
from lazygrad.tensors.random.generator import Generator
from lazygrad.utils.data.collate import default_collate, default_convert
from lazygrad.utils.data.dataset import Dataset, IterableDataset
from lazygrad.utils.data.iterators import (
    DatasetKind,
    LoaderIterator,
    SingleProcessIterator,
    WorkersIterator,
)
from lazygrad.utils.data.sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler
from lazygrad.utils.data.worker import get_worker_info

T_co = TypeVar("T_co", covariant=True)
# PyTorch's names of them, which other iterators ask for
_BaseDataLoaderIter, _MultiProcessingDataLoaderIter = LoaderIterator, WorkersIterator
_SingleProcessDataLoaderIter, _DatasetKind = SingleProcessIterator, DatasetKind
_collate_fn_t = Callable[[list[Any]], Any]
_FIXED = ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers")


class _Endless(Sampler[Any]):
    """The sampler of a dataset that is not read by index."""

    def __iter__(self) -> Iterator[Any]:
        return itertools.repeat(None)


class DataLoader(Guarded, Generic[T_co]):
    """Batches of a dataset, as an iterable that may be walked many times.

    `sampler` or `batch_sampler` say in which order, else `shuffle` does; `batch_size=None` gives single
    samples. With `num_workers` processes fetch ahead (`prefetch_factor` batches each); an exception in one
    is raised here with its traceback. `generator` gives the order and the workers' seeds. `pin_memory` is
    accepted: there is no memory to pin. Raises ArgumentError for options that exclude each other.
    """

    _made = False

    def __init__(
        self,
        dataset: Dataset[T_co],
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Sampler[Any] | Iterable[Any] | None = None,
        batch_sampler: Sampler[list[Any]] | Iterable[list[Any]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], Any] | None = None,
        multiprocessing_context: Any = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ):
        self._check_workers(num_workers, timeout, prefetch_factor, persistent_workers)
        is_iterable = isinstance(dataset, IterableDataset)
        self._check_sampling(is_iterable, batch_size, shuffle, sampler, batch_sampler, drop_last)
        if batch_sampler is not None:
            batch_size, drop_last = None, False
        if sampler is None:
            sampler = (
                _Endless()
                if is_iterable
                else RandomSampler(dataset, generator=generator)
                if shuffle
                else SequentialSampler(dataset)
            )
        if batch_size is not None and batch_sampler is None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.dataset, self._dataset_kind = dataset, DatasetKind.Iterable if is_iterable else DatasetKind.Map
        self.num_workers, self.timeout, self.worker_init_fn = num_workers, timeout, worker_init_fn
        self.prefetch_factor = 2 if num_workers and prefetch_factor is None else prefetch_factor
        self.pin_memory, self.pin_memory_device = pin_memory, pin_memory_device
        self.multiprocessing_context = multiprocessing_context
        self.batch_size, self.drop_last = batch_size, drop_last
        self.sampler, self.batch_sampler, self.generator = sampler, batch_sampler, generator
        self.collate_fn = collate_fn or (default_convert if batch_sampler is None else default_collate)
        self.persistent_workers, self.in_order = persistent_workers, in_order
        self._iterator: Any = None  # the one that persists
        self._IterableDataset_len_called: int | None = None
        self._made = True
        self._warn_of_many_workers()

    @staticmethod
    def _check_sampling(
        is_iterable: bool, batch_size: int | None, shuffle: bool | None, sampler: Any, batch_sampler: Any,
        drop_last: bool,
    ) -> None:
        if is_iterable:
            for name, value, none in (
                ("shuffle", shuffle, (False, None)),
                ("sampler", sampler, (None,)),
                ("batch_sampler", batch_sampler, (None,)),
            ):
                if not any(value is n for n in none):
                    raise ArgumentError(
                        "[DataLoader] DataLoader with IterableDataset: expected unspecified "
                        f"{name} option, but got {name}={value}"
                    )
        if sampler is not None and shuffle:
            raise ArgumentError("[DataLoader] sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ArgumentError(
                    "[DataLoader] batch_sampler option is mutually exclusive with "
                    "batch_size, shuffle, sampler, and drop_last"
                )
        elif batch_size is None and drop_last:
            raise ArgumentError(
                "[DataLoader] batch_size=None option disables auto-batching and is "
                "mutually exclusive with drop_last"
            )

    @staticmethod
    def _check_workers(
        num_workers: int, timeout: float, prefetch_factor: int | None, persistent: bool
    ) -> None:
        if num_workers < 0:
            raise ArgumentError(
                "[DataLoader] num_workers option should be non-negative; use num_workers=0 "
                "to disable multiprocessing."
            )
        if timeout < 0:
            raise ArgumentError("[DataLoader] timeout option should be non-negative")
        if num_workers == 0 and prefetch_factor is not None:
            raise ArgumentError(
                "[DataLoader] prefetch_factor option could only be specified in "
                "multiprocessing.let num_workers > 0 to enable multiprocessing, otherwise "
                "set prefetch_factor to None."
            )
        if prefetch_factor is not None and prefetch_factor < 0:
            raise ArgumentError("[DataLoader] prefetch_factor option should be non-negative")
        if persistent and num_workers == 0:
            raise ArgumentError("[DataLoader] persistent_workers option needs num_workers > 0")

    def _warn_of_many_workers(self) -> None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if self.num_workers > cores:
            warnings.warn(
                f"This DataLoader will create {self.num_workers} worker processes in total. Our suggested "
                f"max number of worker in current system is {cores}, which is smaller than what this "
                "DataLoader is going to create. Please be aware that excessive worker creation might get "
                "DataLoader running slow or even freeze, lower the worker number to avoid potential "
                "slowness/freeze if necessary.",
                stacklevel=3,
            )

    def __setattr__(self, name: str, value: Any) -> None:
        if self._made and name in _FIXED:
            raise ArgumentError(
                f"[DataLoader] {name} attribute should not be set after {type(self).__name__} is initialized"
            )
        super().__setattr__(name, value)

    @property
    def multiprocessing_context(self) -> Any:
        """How worker processes are started: a context of multiprocessing, None for a fork where there is
        one."""
        return self._context

    @multiprocessing_context.setter
    def multiprocessing_context(self, context: Any) -> None:
        if context is not None:
            if not self.num_workers:
                raise ArgumentError(
                    "[DataLoader] multiprocessing_context can only be used with "
                    f"multi-process loading (num_workers > 0), but got "
                    f"num_workers={self.num_workers}"
                )
            if isinstance(context, str):
                methods = multiprocessing.get_all_start_methods()
                if context not in methods:
                    raise ArgumentError(
                        "[DataLoader] multiprocessing_context option should specify a "
                        f"valid start method in {methods!r}, but got "
                        f"multiprocessing_context={context!r}"
                    )
                context = multiprocessing.get_context(context)
            if not isinstance(context, multiprocessing.context.BaseContext):
                raise ArgumentTypeError(
                    "[DataLoader] multiprocessing_context option should be a valid "
                    "context object or a string specifying the start method, but got "
                    f"multiprocessing_context={context}"
                )
        self._context = context

    @property
    def _index_sampler(self) -> Any:
        return self.sampler if self.batch_sampler is None else self.batch_sampler

    @property
    def _auto_collation(self) -> bool:
        return self.batch_sampler is not None

    def _get_iterator(self) -> LoaderIterator:  # PyTorch's name: subclasses give iterators of their own
        return WorkersIterator(self) if self.num_workers else SingleProcessIterator(self)

    def __iter__(self) -> LoaderIterator:
        if not self.num_workers or not self.persistent_workers:
            return self._get_iterator()
        if self._iterator is None:
            self._iterator = self._get_iterator()
        else:
            self._iterator.reset(self)
        return self._iterator

    def __len__(self) -> int:
        if self._dataset_kind == DatasetKind.Map:
            return len(self._index_sampler)
        count = self._IterableDataset_len_called = len(self.dataset)  # type: ignore[arg-type]
        if self.batch_size is not None:
            count = count // self.batch_size if self.drop_last else -(-count // self.batch_size)
            self._IterableDataset_len_called = count
        return count


__all__ = ["DataLoader", "default_collate", "default_convert", "get_worker_info"]
