"""Worker processes of a DataLoader: batches and their order, seeds, errors, deaths, and what a fork
leaves."""

from __future__ import annotations

import os
import random
import signal
import time
from typing import Any

import numpy as np
import pytest

import lazygrad
from lazygrad import config
from lazygrad.utils import data
from lazygrad.utils.data.worker import numpy_seed

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="worker processes are forked"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create", "ignore:.*fork.*:DeprecationWarning"),
]


class Numbers(data.Dataset):
    """Samples that are computed: small tensors, and what `sample` says."""

    def __init__(self, n: int = 10, sample: Any = None):
        self.n, self.sample = n, sample or (lambda i: lazygrad.tensor([float(i), 1.0]) * 2)

    def __getitem__(self, i: int) -> Any:
        return self.sample(i)

    def __len__(self) -> int:
        return self.n


class Parts(data.IterableDataset):
    """A range, divided among the workers."""

    def __iter__(self) -> Any:
        info = data.get_worker_info()
        return iter(range(10)) if info is None else iter(range(info.id, 10, info.num_workers))


def values(loader: Any) -> list[Any]:
    return [b.tolist() if hasattr(b, "tolist") else b for b in loader]


@pytest.mark.parametrize(
    "options",
    [
        {"num_workers": 1},
        {"num_workers": 2, "batch_size": 3},
        {"num_workers": 3, "prefetch_factor": 1},
        {"num_workers": 2, "persistent_workers": True},
        {"num_workers": 2, "shuffle": True, "batch_size": 4},
        {"num_workers": 2, "batch_size": None},
        {"num_workers": 2, "prefetch_factor": 20, "drop_last": True},
    ],
)
def test_batches_are_those_of_one_process(options: dict[str, Any]) -> None:
    alone = {k: v for k, v in options.items() if k in ("batch_size", "shuffle", "drop_last")}

    def run(given: dict[str, Any]) -> list[Any]:
        lazygrad.manual_seed(7)
        loader = data.DataLoader(Numbers(), **given)
        return [values(loader), values(loader)]

    assert run(options) == run(alone)


def test_after_the_parent_has_used_its_threads() -> None:
    x = lazygrad.randn(300, 300)
    expected = (x @ x).sum().item()  # helpers of the parent's pool are running now

    def sample(i: int) -> Any:
        return (x @ x).sum() + i

    got = [b.item() for b in data.DataLoader(Numbers(4, sample), num_workers=2)]
    assert got == pytest.approx([expected + i for i in range(4)], rel=1e-4)
    assert (x @ x).sum().item() == pytest.approx(expected, rel=1e-5)  # and still work here


def test_a_pool_is_not_shared_after_a_fork() -> None:
    x = lazygrad.randn(400, 400)
    expected = float((x @ x).abs().sum())
    read, write = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            with config.override(THREADS=2):
                for _ in range(3):
                    result = float((x @ x).abs().sum())
            os.write(write, repr(result).encode())
            status = 0
        finally:
            os._exit(status)
    again = float((x @ x).abs().sum())
    assert os.waitpid(child, 0)[1] == 0
    assert float(os.read(read, 100)) == pytest.approx(expected, rel=1e-4) and again == pytest.approx(expected)
    os.close(read)
    os.close(write)


def test_iterable_datasets_are_divided() -> None:
    assert values(data.DataLoader(Parts(), batch_size=2)) == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
    got = values(data.DataLoader(Parts(), batch_size=2, num_workers=2))
    assert got == [[0, 2], [1, 3], [4, 6], [5, 7], [8], [9]]
    loader = data.DataLoader(Parts(), batch_size=2, num_workers=3, persistent_workers=True)
    assert sorted(v for b in values(loader) for v in b) == sorted(v for b in values(loader) for v in b)


def test_seeds_and_worker_info() -> None:
    def facts(i: int) -> Any:
        info = data.get_worker_info()
        return (
            info.id,
            info.num_workers,
            info.seed,
            len(info.dataset),
            lazygrad.rand(1).item(),
            random.random(),
            float(np.random.rand()),
            lazygrad.initial_seed(),
            os.getpid(),
        )

    def run(seed: int) -> list[Any]:
        lazygrad.manual_seed(seed)
        return list(data.DataLoader(Numbers(4, facts), batch_size=None, num_workers=2))

    first, again, other = run(0), run(0), run(1)
    assert [f[:8] for f in first] == [f[:8] for f in again] != [f[:8] for f in other]
    assert [f[0] for f in first] == [0, 1, 0, 1] and {f[1] for f in first} == {2} and first[0][3] == 4
    assert first[1][2] == first[0][2] + 1 and all(f[2] == f[7] for f in first)
    assert len({f[4] for f in first}) == 4 and os.getpid() not in {f[8] for f in first}
    assert data.get_worker_info() is None


def test_numpy_is_seeded_as_by_torch() -> None:
    theirs = pytest.importorskip("torch.utils.data._utils.worker")
    for base, worker in ((3, 0), (1 << 62, 5), (123456789012345, 2)):
        assert numpy_seed(base, worker).tolist() == theirs._generate_state(base, worker)


def test_worker_init_fn() -> None:
    def begin(worker: int) -> None:
        data.get_worker_info().dataset.n = 100 + worker

    loader = data.DataLoader(Numbers(2, None), batch_size=None, num_workers=2, worker_init_fn=begin)
    loader.dataset.sample = lambda i: data.get_worker_info().dataset.n
    assert list(loader) == [100, 101]


class Odd(Exception):
    def __init__(self, a: int, b: int):
        super().__init__(a, b)


@pytest.mark.parametrize(
    "error,kind",
    [
        (ValueError("seven"), ValueError),
        (KeyError("seven"), KeyError),
        (Odd(1, 2), RuntimeError),
        (lazygrad.errors.ShapeError("[x] seven"), lazygrad.errors.ShapeError),
    ],
)
def test_errors_come_with_their_traceback(error: Exception, kind: type) -> None:
    def sample(i: int) -> int:
        if i == 3:
            raise error
        return i

    loader = iter(data.DataLoader(Numbers(6, sample), batch_size=None, num_workers=2))
    assert [next(loader) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(kind) as caught:
        next(loader)
    text = str(caught.value)
    assert f"Caught {type(error).__name__} in DataLoader worker process 1.\nOriginal Traceback" in text
    assert "in sample" in text and "raise error" in text
    assert list(loader) == [4, 5]  # the others go on


def test_errors_at_the_start_and_in_pickling() -> None:
    def begin(worker: int) -> None:
        raise ValueError("no start")

    with pytest.raises(ValueError, match="(?s)Caught ValueError in DataLoader worker process 0.*no start"):
        list(data.DataLoader(Numbers(2), num_workers=1, worker_init_fn=begin))
    with pytest.raises(Exception, match="in DataLoader worker process 0"):
        list(data.DataLoader(Numbers(2, lambda i: lambda: 3), batch_size=None, num_workers=1))


def test_a_worker_that_dies() -> None:
    loader = data.DataLoader(Numbers(4, lambda i: os.kill(os.getpid(), signal.SIGKILL)), num_workers=1)
    with pytest.raises(RuntimeError, match=r"DataLoader worker \(pid\(s\) \d+\) exited unexpectedly"):
        list(loader)


def test_a_worker_that_is_late() -> None:
    loader = data.DataLoader(
        Numbers(2, lambda i: time.sleep(20)), batch_size=None, num_workers=1, timeout=0.3
    )
    start = time.monotonic()
    with pytest.raises(RuntimeError, match="DataLoader timed out after 0.3 seconds"):
        list(loader)
    assert time.monotonic() - start < 15


def test_workers_end_with_their_iterator() -> None:
    loader = data.DataLoader(
        Numbers(100, lambda i: (os.getpid(), "x" * 100_000)), batch_size=None, num_workers=2
    )
    iterator = iter(loader)
    pids = {next(iterator)[0] for _ in range(4)}
    assert len(pids) == 2
    del iterator
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_persistent_workers_are_the_same_and_may_be_left_early() -> None:
    loader = data.DataLoader(
        Numbers(8, lambda i: (i, os.getpid())), batch_size=None, num_workers=2, persistent_workers=True
    )
    iterator = iter(loader)
    first = [next(iterator) for _ in range(3)]
    second = list(loader)
    assert [i for i, _ in second] == list(range(8))
    assert {pid for _, pid in first} == {pid for _, pid in second}


def test_out_of_order() -> None:
    def sample(i: int) -> int:
        time.sleep(0.5 if i == 0 else 0)
        return i

    got = list(data.DataLoader(Numbers(6, sample), batch_size=None, num_workers=2, in_order=False))
    assert sorted(got) == list(range(6)) and got[0] != 0


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "int64", "bool"])
def test_types_and_devices_of_batches(dtype: str) -> None:
    with config.override(DEVICE="NUMPY"):
        loader = data.DataLoader(
            Numbers(2, lambda i: lazygrad.ones(2, dtype=getattr(lazygrad, dtype))), num_workers=1
        )
        (batch, _) = loader
        assert (
            batch.dtype is getattr(lazygrad, dtype) and batch.device.type == "numpy" and batch.shape == (1, 2)
        )


def test_opencl_after_a_fork_is_an_error() -> None:
    pytest.importorskip("pyopencl")
    try:
        x = lazygrad.ones(4, device="cl").realize()
    except lazygrad.errors.DeviceError:
        pytest.skip("no OpenCL device")
    with pytest.raises(lazygrad.errors.DeviceError, match="(?s)worker process 0.*fork"):
        list(data.DataLoader(Numbers(2, lambda i: (x + i).sum().item()), num_workers=1))
    assert (x + 1).sum().item() == 8.0


@pytest.mark.slow
def test_workers_that_are_spawned() -> None:
    loader = data.DataLoader(
        data.TensorDataset(lazygrad.arange(4)), num_workers=1, multiprocessing_context="spawn"
    )
    assert [b[0].tolist() for b in loader] == [[0], [1], [2], [3]]
