"""`utils.data` in one process, against PyTorch: datasets, samplers, collating, options and their errors."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from typing import Any

import numpy as np
import pytest
from torch_support import outcome, pytorch

import lazygrad
from lazygrad.errors import MissingError
from lazygrad.utils import data

Pair = namedtuple("Pair", "x y")


def theirs() -> Any:
    pytest.importorskip("torch")
    import torch.utils.data

    return torch.utils.data


def plain(value: Any) -> Any:
    """Tensors as (dtype, values), types of containers kept."""
    if hasattr(value, "detach"):
        return str(value.dtype).rpartition(".")[2], value.tolist()
    if isinstance(value, dict):
        return type(value), [(k, plain(v)) for k, v in value.items()]
    if isinstance(value, tuple | list):
        return type(value), [plain(v) for v in value]
    return value


BATCHES = {
    "tensors": lambda m: [m.tensor([1.0, 2.0]), m.tensor([3.0, 4.0])],
    "pairs": lambda m: [(m.tensor([1, 2]), 3), (m.tensor([3, 4]), 4)],
    "floats": lambda m: [1.0, 2.5],
    "integers": lambda m: [1, 2],
    "truths": lambda m: [True, False],
    "texts": lambda m: ["a", "b"],
    "bytes": lambda m: [b"a", b"b"],
    "arrays": lambda m: [np.ones((2, 2), np.float32), np.zeros((2, 2), np.float32)],
    "numpy numbers": lambda m: [np.float64(1.5), np.float64(2.5)],
    "numpy integers": lambda m: [np.int32(1), np.int32(2)],
    "numpy truths": lambda m: [np.bool_(True), np.bool_(False)],
    "dicts": lambda m: [{"a": 1, "b": [m.tensor(1.0), "x"]}, {"a": 2, "b": [m.tensor(2.0), "y"]}],
    "ordered": lambda m: [OrderedDict(a=1), OrderedDict(a=2)],
    "named": lambda m: [Pair(1, "s"), Pair(2, "t")],
    "lists": lambda m: [[1, 2.0], [3, 4.0]],
    "unequal lists": lambda m: [[1, 2], [3]],
    "unequal tensors": lambda m: [m.ones(2), m.ones(3)],
    "objects": lambda m: [object(), object()],
    "none": lambda m: [None, None],
    "array of texts": lambda m: [np.array(["a"]), np.array(["b"])],
    "nested": lambda m: [({"p": (1, 2)},), ({"p": (3, 4)},)],
}


@pytest.mark.parametrize("name", BATCHES)
@pytest.mark.parametrize("function", ["default_collate", "default_convert"])
def test_collate(name: str, function: str) -> None:
    ours = outcome(lambda: plain(getattr(data, function)(BATCHES[name](lazygrad))))
    other = outcome(lambda: plain(getattr(theirs(), function)(BATCHES[name](pytorch()))))
    if isinstance(other, Exception):
        assert isinstance(ours, type(other)), (ours, other)
        if name != "unequal tensors":
            assert str(other).split(" <class")[0] in str(ours)
    elif name in ("objects", "array of texts"):
        assert type(ours) is type(other)
    else:
        assert ours == other


class Squares(data.Dataset):
    def __init__(self, n: int):
        self.n = n

    def __getitem__(self, i: int) -> int:
        if not 0 <= i < self.n:
            raise IndexError(i)
        return i * i

    def __len__(self) -> int:
        return self.n


class Range(data.IterableDataset):
    def __init__(self, start: int, end: int):
        self.start, self.end = start, end

    def __iter__(self) -> Any:
        return iter(range(self.start, self.end))

    def __len__(self) -> int:
        return self.end - self.start


def test_datasets() -> None:
    x, y = lazygrad.arange(6).reshape(3, 2), lazygrad.tensor([1.0, 2.0, 3.0])
    rows = data.TensorDataset(x, y)
    assert len(rows) == 3 and [v.tolist() for v in rows[1]] == [[2, 3], 2.0]
    both = Squares(3) + Squares(2)
    assert isinstance(both, data.ConcatDataset) and [both[i] for i in range(5)] == [0, 1, 4, 0, 1]
    assert both[-1] == 1 and both[-5] == 0 and both.cumulative_sizes == [3, 5]
    with pytest.raises(ValueError, match="absolute value of index"):
        both[-6]
    chain = Range(0, 2) + Range(5, 7)
    assert isinstance(chain, data.ChainDataset) and list(chain) == [0, 1, 5, 6] and len(chain) == 4
    part = data.Subset(Squares(10), [3, 5])
    assert [part[0], part[1], len(part)] == [9, 25, 2] and part.__getitems__([1]) == [25]
    stack = data.StackDataset(Squares(3), [5, 6, 7])
    assert stack[1] == (1, 6) and stack.__getitems__([0, 2]) == [(0, 5), (4, 7)] and len(stack) == 3
    assert data.StackDataset(a=Squares(3), b="xyz")[2] == {"a": 4, "b": "z"}
    for bad in (
        lambda: data.StackDataset(),
        lambda: data.StackDataset(Squares(2), Squares(3)),
        lambda: data.StackDataset(Squares(2), a=Squares(2)),
    ):
        with pytest.raises(ValueError):
            bad()
    with pytest.raises(AssertionError):
        data.ConcatDataset([])
    with pytest.raises(AssertionError):
        data.TensorDataset(lazygrad.ones(2), lazygrad.ones(3))


@pytest.mark.parametrize("lengths", [[3, 7], [0.3, 0.7], [0.33, 0.33, 0.34], [1 / 3] * 3, [10], [0.01, 0.99]])
@pytest.mark.filterwarnings("ignore:Length of split")
def test_random_split(lengths: list[Any]) -> None:
    parts = data.random_split(Squares(10), lengths, generator=lazygrad.Generator().manual_seed(1))
    assert [len(p) for p in parts] == [len(p) for p in theirs().random_split(range(10), lengths)]
    assert sorted(v for p in parts for v in p) == [i * i for i in range(10)]
    again = data.random_split(Squares(10), lengths, generator=lazygrad.Generator().manual_seed(1))
    assert [p.indices for p in parts] == [p.indices for p in again]


def test_random_split_errors() -> None:
    for bad in ([3, 4], [0.5, -0.5, 1.0]):
        ours = outcome(lambda bad=bad: data.random_split(Squares(10), bad))
        other = outcome(lambda bad=bad: theirs().random_split(range(10), bad))
        assert type(other) is ValueError and isinstance(ours, ValueError) and str(other) in str(ours)


def test_samplers() -> None:
    lazygrad.manual_seed(0)
    assert list(data.SequentialSampler(range(4))) == [0, 1, 2, 3]
    shuffled = data.RandomSampler(range(40))
    first, second = list(shuffled), list(shuffled)
    assert sorted(first) == sorted(second) == list(range(40)) and first != second
    many = data.RandomSampler(range(5), num_samples=12)
    assert len(list(many)) == len(many) == 12 and sorted(list(many)[:5]) == [0, 1, 2, 3, 4]
    drawn = list(data.RandomSampler(range(5), replacement=True, num_samples=70))
    assert len(drawn) == 70 and set(drawn) <= set(range(5))
    assert sorted(data.SubsetRandomSampler([3, 5, 9])) == [3, 5, 9]
    assert list(data.WeightedRandomSampler([0.0, 1.0, 0.0], 5)) == [1] * 5
    assert list(data.BatchSampler(range(7), 3, False)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(data.BatchSampler(range(7), 3, True)) == [[0, 1, 2], [3, 4, 5]]
    assert [len(data.BatchSampler(range(7), 3, drop)) for drop in (False, True)] == [3, 2]


def test_random_numbers_are_drawn_in_torchs_order() -> None:
    """The default generator: the loader's seed first, then the sampler's; none for a sampler with its own."""

    def taken(**options: Any) -> int:
        lazygrad.manual_seed(0)
        for _ in data.DataLoader(Squares(6), batch_size=2, **options):
            pass
        return lazygrad.get_rng_state().numpy().view("<u8")[1]

    assert taken() == 1 and taken(shuffle=True) == 2
    generator = lazygrad.Generator()
    assert taken(shuffle=True, generator=generator) == 0
    assert generator.get_state().numpy().view("<u8")[1] > 6

    def order() -> list[int]:
        lazygrad.manual_seed(5)
        return [v for b in data.DataLoader(Squares(20), shuffle=True) for v in b.tolist()]

    assert order() == order()


@pytest.mark.parametrize("drop", [False, True])
@pytest.mark.parametrize("replicas,count", [(2, 10), (3, 10), (4, 3), (3, 9)])
def test_distributed_sampler(replicas: int, count: int, drop: bool) -> None:
    Other = pytest.importorskip("torch.utils.data.distributed").DistributedSampler

    for rank in range(replicas):
        options = {"num_replicas": replicas, "rank": rank, "drop_last": drop}
        ours = data.DistributedSampler(range(count), shuffle=False, **options)
        other = Other(range(count), shuffle=False, **options)
        assert (list(ours), len(ours)) == (list(other), len(other))
    parts = [data.distributed.DistributedSampler(range(12), 3, rank, seed=4) for rank in range(3)]
    epochs = []
    for epoch in (0, 0, 1):
        for p in parts:
            p.set_epoch(epoch)
        epochs.append([list(p) for p in parts])
    assert sorted(i for p in epochs[0] for i in p) == list(range(12))
    assert epochs[0] == epochs[1] != epochs[2]


def loader(m: Any, **options: Any) -> Any:
    return m.DataLoader([{"i": i, "x": [float(i)]} for i in range(7)], **options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"batch_size": 3},
        {"batch_size": 3, "drop_last": True},
        {"batch_size": None},
        {"batch_sampler": [[0, 6], [3]]},
        {"sampler": [4, 2, 0], "batch_size": 2},
        {"batch_size": 2, "collate_fn": len},
        {"batch_size": 2, "pin_memory": False, "timeout": 0},
    ],
)
def test_batches(options: dict[str, Any]) -> None:
    ours, other = loader(data, **options), loader(theirs(), **options)
    assert plain(list(ours)) == plain(list(other)) == plain(list(ours))
    assert len(ours) == len(other)
    assert (ours.batch_size, ours.drop_last) == (other.batch_size, other.drop_last)


ERRORS: list[dict[str, Any]] = [
    {"num_workers": -1},
    {"timeout": -1},
    {"prefetch_factor": 2},
    {"persistent_workers": True},
    {"sampler": [1], "shuffle": True},
    {"batch_sampler": [[1]], "batch_size": 2},
    {"batch_size": 0},
    {"batch_size": None, "drop_last": True},
    {"multiprocessing_context": "fork"},
    {"num_workers": 1, "multiprocessing_context": "sporn"},
    {"num_workers": 1, "multiprocessing_context": 3},
    {"num_workers": 1, "prefetch_factor": -1},
    {"batch_size": 2, "drop_last": 3},
]


@pytest.mark.parametrize("options", ERRORS, ids=str)
def test_errors(options: dict[str, Any]) -> None:
    ours, other = (outcome(lambda m=m: loader(m, **options)) for m in (data, theirs()))
    assert isinstance(other, Exception) and isinstance(ours, type(other))
    assert str(other) in str(ours)


def test_errors_of_iterable_datasets_and_of_fixed_options() -> None:
    class Other(theirs().IterableDataset):
        def __iter__(self) -> Any:
            return iter(())

    for options in ({"shuffle": True}, {"sampler": [1]}, {"batch_sampler": [[1]]}):
        ours = outcome(lambda o=options: data.DataLoader(Range(0, 3), **o))
        other = outcome(lambda o=options: theirs().DataLoader(Other(), **o))
        assert isinstance(ours, ValueError) and str(other) in str(ours)
    with pytest.raises(ValueError, match="batch_size attribute should not be set after DataLoader is init"):
        data.DataLoader(Range(0, 3)).batch_size = 3
    loaded = data.DataLoader(Range(0, 7), batch_size=3)
    assert [b.tolist() for b in loaded] == [[0, 1, 2], [3, 4, 5], [6]] and len(loaded) == 3
    assert [b.tolist() for b in data.DataLoader(Range(0, 7), 3, drop_last=True)] == [[0, 1, 2], [3, 4, 5]]
    assert list(data.DataLoader(Range(0, 2), batch_size=None)) == [0, 1]


def test_a_dataset_that_fetches_batches_at_once() -> None:
    class Many(Squares):
        def __getitems__(self, indices: list[int]) -> list[int]:
            return [-i for i in indices]

    assert [b.tolist() for b in data.DataLoader(Many(3), batch_size=2)] == [[0, -1], [-2]]
    assert data.DataLoader(data.Subset(Many(9), [7, 8]), batch_size=2).__iter__().__next__().tolist() == [
        -7,
        -8,
    ]


def test_batches_of_tensors_are_looked_up_at_once() -> None:
    x, y = lazygrad.arange(12.0).reshape(6, 2), lazygrad.tensor([0, 1, 2, 3, 4, 5])
    rows = data.TensorDataset(x, y)
    for dataset in (rows, data.Subset(rows, [5, 0, 3]), data.Subset(data.Subset(rows, [5, 0, 3]), [2, 1])):
        at_once = plain(list(data.DataLoader(dataset, batch_size=2)))
        one_by_one = plain(
            list(data.DataLoader(dataset, batch_size=2, collate_fn=lambda b: data.default_collate(b)))
        )
        assert at_once == one_by_one

    class Doubled(data.TensorDataset):
        def __getitem__(self, i: Any) -> Any:
            return self.tensors[0][i] * 2

    assert plain(list(data.DataLoader(Doubled(x), batch_size=6)))[1] == [plain(x * 2)]


def test_what_a_class_lacks_and_what_cannot_be_converted() -> None:
    lacking = (lambda: data.Dataset()[0], lambda: iter(data.IterableDataset()), lambda: iter(data.Sampler()))
    for asked in lacking:
        with pytest.raises(MissingError, match="Subclasses of .* should implement"):
            asked()
    with pytest.raises(TypeError, match="can't convert"):
        data.default_convert([np.array(["2020-01-01"], "datetime64[D]")])
