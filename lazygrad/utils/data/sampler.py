"""Samplers: in which order a DataLoader reads. Each draws random numbers in PyTorch's order."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from lazygrad import dtypes
from lazygrad.errors import ArgumentError, ArgumentTypeError, MissingError
from lazygrad.tensors import FUNCTIONS
from lazygrad.tensors.guards import Guarded
from lazygrad.tensors.random.generator import Generator

T_co = TypeVar("T_co", covariant=True)


def random_seed(generator: Generator | None = None) -> int:
    """A seed of 63 bits."""
    return FUNCTIONS["empty"]((), dtype=dtypes.int64).random_(generator=generator).item()


class Sampler(Guarded, Generic[T_co]):
    """Indices, or lists of indices: subclasses define `__iter__`, and mostly `__len__`."""

    def __init__(self, data_source: Any = None):
        pass

    def __iter__(self) -> Iterator[T_co]:
        raise MissingError("[Sampler] Subclasses of Sampler should implement __iter__.")


class SequentialSampler(Sampler[int]):
    """0, 1, 2, ..."""

    def __init__(self, data_source: Any):
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


def _positive(name: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise ArgumentError(f"[Sampler] {name} should be a positive integer value, but got {name}={value}")


class RandomSampler(Sampler[int]):
    """All indices in random order; or `num_samples` of them, with replacement where asked."""

    def __init__(
        self,
        data_source: Any,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Generator | None = None,
    ):
        self.data_source, self.replacement, self._num_samples = data_source, replacement, num_samples
        self.generator = generator
        if not isinstance(replacement, bool):
            raise ArgumentTypeError(
                f"[RandomSampler] replacement should be a boolean value, but got replacement={replacement}"
            )
        _positive("num_samples", self.num_samples)

    @property
    def num_samples(self) -> int:
        """How many indices it gives."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        n, generator = len(self.data_source), self.generator
        if generator is None:
            generator = Generator()
            generator.manual_seed(random_seed())
        if self.replacement:
            for count in [32] * (self.num_samples // 32) + [self.num_samples % 32]:
                yield from FUNCTIONS["randint"](high=n, size=(count,), generator=generator).tolist()
            return
        for _ in range(self.num_samples // n):
            yield from FUNCTIONS["randperm"](n, generator=generator).tolist()
        yield from FUNCTIONS["randperm"](n, generator=generator).tolist()[: self.num_samples % n]

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """Given indices in random order."""

    def __init__(self, indices: Sequence[int], generator: Generator | None = None):
        self.indices, self.generator = indices, generator

    def __iter__(self) -> Iterator[int]:
        for i in FUNCTIONS["randperm"](len(self.indices), generator=self.generator).tolist():
            yield self.indices[i]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """Indices with probabilities in proportion to weights."""

    def __init__(
        self,
        weights: Sequence[float],
        num_samples: int,
        replacement: bool = True,
        generator: Generator | None = None,
    ):
        _positive("num_samples", num_samples)
        if not isinstance(replacement, bool):
            raise ArgumentError(
                "[WeightedRandomSampler] replacement should be a boolean value, but got "
                f"replacement={replacement}"
            )
        self.weights = FUNCTIONS["as_tensor"](weights, dtype=dtypes.float64)
        if self.weights.ndim != 1:
            raise ArgumentError(
                "[WeightedRandomSampler] weights should be a 1d sequence but given weights "
                f"have shape {tuple(self.weights.shape)}"
            )
        self.num_samples, self.replacement, self.generator = num_samples, replacement, generator

    def __iter__(self) -> Iterator[int]:
        drawn = FUNCTIONS["multinomial"](
            self.weights, self.num_samples, self.replacement, generator=self.generator
        )
        yield from drawn.tolist()

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """What another sampler gives in lists of `batch_size`; a shorter last one unless `drop_last`."""

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool):
        _positive("batch_size", batch_size)
        if not isinstance(drop_last, bool):
            raise ArgumentError(
                f"[BatchSampler] drop_last should be a boolean value, but got drop_last={drop_last}"
            )
        self.sampler, self.batch_size, self.drop_last = sampler, batch_size, drop_last

    def __iter__(self) -> Iterator[list[int]]:
        indices = iter(self.sampler)
        while batch := list(itertools.islice(indices, self.batch_size)):
            if self.drop_last and len(batch) < self.batch_size:
                return
            yield batch

    def __len__(self) -> int:
        count = len(self.sampler)  # type: ignore[arg-type]
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)
