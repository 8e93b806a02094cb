"""Datasets: what a DataLoader reads, by index or one after the other, and datasets made of datasets."""

from __future__ import annotations

import bisect
import itertools
import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from lazygrad.errors import ArgumentError, ConditionError, MissingError
from lazygrad.tensors import FUNCTIONS
from lazygrad.tensors.core import Tensor
from lazygrad.tensors.guards import Guarded
from lazygrad.tensors.random.generator import Generator, default_generator
from lazygrad.tensors.signatures import check_all

T_co = TypeVar("T_co", covariant=True)


class Dataset(Guarded, Generic[T_co]):
    """Samples by index: subclasses define `__getitem__`, mostly `__len__`, and `__getitems__(indices)` if
    they can fetch a batch at once."""

    _guarded = ("__init__", "__getitem__")

    def __getitem__(self, index: Any) -> T_co:
        raise MissingError("[Dataset] Subclasses of Dataset should implement __getitem__.")

    def __add__(self, other: Dataset[Any]) -> ConcatDataset:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T_co]):
    """Samples one after the other: subclasses define `__iter__`."""

    def __add__(self, other: Dataset[Any]) -> Any:
        return ChainDataset([self, other])

    def __iter__(self) -> Iterator[T_co]:
        raise MissingError("[IterableDataset] Subclasses of IterableDataset should implement __iter__.")


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """The rows of tensors of one length, as tuples."""

    def __init__(self, *tensors: Tensor):
        if any(tensors[0].size(0) != tensor.size(0) for tensor in tensors):
            raise ConditionError(
                "[TensorDataset] Size mismatch between tensors: the first sizes must agree of "
                f"{', '.join(str(tuple(t.shape)) for t in tensors)}"
            )
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(tensor[index] for tensor in self.tensors)

    def __len__(self) -> int:
        return self.tensors[0].size(0)


class StackDataset(Dataset[Any]):
    """The samples of several datasets at one index, as a tuple, or as a dict where names are given."""

    def __init__(self, *args: Any, **kwargs: Any):
        if args and kwargs:
            raise ArgumentError(
                "[StackDataset] Supported either ``tuple``- (via ``args``) or ``dict``- (via "
                "``kwargs``) like input/output, but both types are given."
            )
        if not args and not kwargs:
            raise ArgumentError("[StackDataset] At least one dataset should be passed")
        self.datasets: Any = args if args else kwargs
        parts = list(self._parts())
        self._length = len(parts[0])
        if any(len(part) != self._length for part in parts):
            raise ArgumentError("[StackDataset] Size mismatch between datasets")

    def _parts(self) -> Iterable[Any]:
        return self.datasets.values() if isinstance(self.datasets, dict) else self.datasets

    def _joined(self, samples: list[Any]) -> Any:
        return (
            dict(zip(self.datasets, samples, strict=True))
            if isinstance(self.datasets, dict)
            else tuple(samples)
        )

    def __getitem__(self, index: Any) -> Any:
        return self._joined([part[index] for part in self._parts()])

    def __getitems__(self, indices: list[Any]) -> list[Any]:
        columns = []
        for part in self._parts():
            if callable(getattr(part, "__getitems__", None)):
                items = part.__getitems__(indices)
                if len(items) != len(indices):
                    raise ArgumentError(
                        "[StackDataset] Nested dataset's output size mismatch. Expected "
                        f"{len(indices)}, got {len(items)}"
                    )
            else:
                items = [part[i] for i in indices]
            columns.append(items)
        return [self._joined(list(row)) for row in zip(*columns, strict=True)]

    def __len__(self) -> int:
        return self._length


class ConcatDataset(Dataset[Any]):
    """Datasets one behind the other."""

    def __init__(self, datasets: Iterable[Dataset[Any]]):
        self.datasets = list(datasets)
        if not self.datasets:
            raise ConditionError("[ConcatDataset] datasets should not be an empty iterable")
        if any(isinstance(d, IterableDataset) for d in self.datasets):
            raise ConditionError("[ConcatDataset] ConcatDataset does not support IterableDataset")
        self.cumulative_sizes = self.cumsum(self.datasets)

    @staticmethod
    def cumsum(sequence: Iterable[Any]) -> list[int]:
        """The sums of lengths from the first dataset on."""
        return list(itertools.accumulate(len(dataset) for dataset in sequence))

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: int) -> Any:
        if index < 0:
            if -index > len(self):
                raise ArgumentError(
                    "[ConcatDataset] absolute value of index should not exceed dataset length"
                )
            index += len(self)
        part = bisect.bisect_right(self.cumulative_sizes, index)
        return self.datasets[part][index - (self.cumulative_sizes[part - 1] if part else 0)]


class ChainDataset(IterableDataset[Any]):
    """Iterable datasets one behind the other."""

    def __init__(self, datasets: Iterable[Dataset[Any]]):
        self.datasets = datasets

    def _checked(self) -> Iterator[Any]:
        for dataset in self.datasets:
            if not isinstance(dataset, IterableDataset):
                raise ConditionError("[ChainDataset] ChainDataset only supports IterableDataset")
            yield dataset

    def __iter__(self) -> Iterator[Any]:
        for dataset in self._checked():
            yield from dataset

    def __len__(self) -> int:
        return sum(len(dataset) for dataset in self._checked())


class Subset(Dataset[T_co]):
    """The samples of a dataset at some indices."""

    def __init__(self, dataset: Dataset[T_co], indices: Sequence[int]):
        self.dataset, self.indices = dataset, indices

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __getitems__(self, indices: list[int]) -> list[Any]:
        if callable(getattr(self.dataset, "__getitems__", None)):
            return self.dataset.__getitems__([self.indices[i] for i in indices])  # type: ignore[attr-defined]
        return [self.dataset[self.indices[i]] for i in indices]

    def __len__(self) -> int:
        return len(self.indices)


def batch_at_once(dataset: Any, indices: Any) -> list[Tensor] | None:
    """The batch that collating a TensorDataset's samples (or those of a Subset of one) makes, by one lookup
    for each tensor; None for any other dataset or other indices."""
    while type(dataset) is Subset:
        indices = [dataset.indices[i] for i in indices]
        dataset = dataset.dataset
    if type(dataset) is not TensorDataset or not all(type(i) is int for i in indices):
        return None
    return [tensor[FUNCTIONS["tensor"](list(indices))] for tensor in dataset.tensors]


def random_split(
    dataset: Dataset[Any], lengths: Sequence[int | float], generator: Generator | None = default_generator
) -> list[Subset[Any]]:
    """Parts of a dataset without common samples, of lengths that add up to its own, or of fractions that add
    up to 1 (what is left over goes to the first ones). Raises ArgumentError for other sums."""
    count = len(dataset)  # type: ignore[arg-type]
    if math.isclose(sum(lengths), 1) and sum(lengths) <= 1:
        sizes: list[int] = []
        for i, fraction in enumerate(lengths):
            if fraction < 0 or fraction > 1:
                raise ArgumentError(f"[random_split] Fraction at index {i} is not between 0 and 1")
            sizes.append(math.floor(count * fraction))
        for i in range(count - sum(sizes)):
            sizes[i % len(sizes)] += 1
        for i, size in enumerate(sizes):
            if not size:
                warnings.warn(
                    f"Length of split at index {i} is 0. This might result in an empty dataset.", stacklevel=2
                )
        lengths = sizes
    if sum(lengths) != count:
        raise ArgumentError(
            "[random_split] Sum of input lengths does not equal the length of the input dataset!"
        )
    order = FUNCTIONS["randperm"](sum(lengths), generator=generator).tolist()
    ends = itertools.accumulate(int(n) for n in lengths)
    return [Subset(dataset, order[end - int(n) : end]) for n, end in zip(lengths, ends, strict=True)]


check_all(globals())
