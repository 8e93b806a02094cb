"""Names inside PyTorch that libraries import: all are there, the useful ones work, the others say why not."""

import importlib

import numpy as np
import pytest
from torch_support import check, pytorch

import lazygrad
from lazygrad.torch_name import our_name
from lazygrad.utils.data import DataLoader, IterableDataset
from lazygrad.utils.data.dataloader import _DatasetKind, _SingleProcessDataLoaderIter


@pytest.mark.parametrize("path, names", [
    ("torch.utils._device", "DeviceContext set_device CURRENT_DEVICE"),
    ("torch._subclasses.fake_tensor", "FakeTensorConverter FakeTensorMode _is_tensor_constructor"),
    ("torch._C._functorch", "is_batchedtensor is_legacy_batchedtensor"),
    ("torch._C", "_current_graph_task_id _jit_can_fuse_on_gpu PyTorchFileWriter"),
    ("torch._inductor.cpu_vec_isa", "pick_vec_isa"),
    ("torch.cuda", "_lazy_call _sleep"),
    ("torch.cuda.memory", "_record_memory_history _dump_snapshot"),
    ("torch.nn.functional", "_Reduction"),
    ("torch.nn.modules.conv", "_ConvTransposeMixin"),
    ("torch.nn.utils._per_sample_grad", "call_for_per_sample_grads"),
    ("torch.utils._pytree", "_namedtuple_flatten _namedtuple_unflatten"),
    ("torch.utils.data.dataloader", "_DatasetKind _collate_fn_t"),
    ("torch", "has_cuda lobpcg"),
])
def test_names_are_there(path, names):
    ours = importlib.import_module(our_name(path))
    pytorch()
    theirs = importlib.import_module(path)
    for name in names.split():
        assert hasattr(theirs, name) and hasattr(ours, name), f"{path}.{name}"


def test_compilers_settings_are_kept_and_do_nothing():
    config = importlib.import_module("lazygrad._dynamo.config")
    assert config.automatic_dynamic_shapes is None and config.a_setting_of_later is None
    config.a_setting_of_later = 3
    assert config.a_setting_of_later == 3
    inductor = importlib.import_module("lazygrad._inductor.config")
    inductor.triton.unique_kernel_names = False
    assert inductor.triton.cudagraph_trees is None
    with inductor.patch({"max_autotune": True}), config.patch(verbose=True):
        pass

    @config.patch(suppress_errors=True)
    def twice(x):
        return x * 2

    assert twice(3) == 6


def test_the_backward_engine_says_that_there_is_none():
    engine = lazygrad.autograd.Variable._execution_engine
    with pytest.raises(RuntimeError, match="queue_callback.* after backward"):
        engine.queue_callback(print)


def of_many_tensors(m):
    utils = importlib.import_module(f"{m.__name__}._utils")
    parts = [m.arange(6.0).reshape(2, 3), m.ones(0), m.tensor(7.0), m.arange(4.0)[::2]]
    flat = utils._flatten_dense_tensors(parts)
    back = utils._unflatten_dense_tensors(flat, parts)
    back[0].mul_(2)  # views: flat has the change too
    mixed = [m.ones(4), m.ones(3, dtype=m.float64), m.ones(4), m.ones(9), m.zeros(0), m.ones(2)]
    chunks = [[tuple(x.shape) for x in chunk] for chunk in utils._take_tensors(mixed, 32)]
    reordered = utils._reorder_tensors_as([m.ones(1), m.ones(2, dtype=m.int64), m.ones(3)],
                                          [m.ones(9, dtype=m.int64), m.ones(8), m.ones(7)])
    return flat, list(back), chunks, [tuple(x.shape) for x in reordered]


def test_many_tensors_as_one():
    ours, theirs = (of_many_tensors(m) for m in (lazygrad, pytorch()))
    check([ours[0], *ours[1]], [theirs[0], *theirs[1]])
    assert ours[2:] == theirs[2:]
    with pytest.raises(ValueError, match="there is no tensor to lay out"):
        lazygrad._utils._flatten_dense_tensors([])


def grouped(m):
    utils = importlib.import_module(f"{m.__name__}.utils._foreach_utils")
    rows = [m.ones(1), m.ones(2, dtype=m.float64), m.ones(3)]
    groups = utils._group_tensors_by_device_and_dtype([rows, [None, rows[1], rows[2]], []], True)
    found = {}
    for (_, dtype), (lists, places) in groups.items():
        shapes = [[None if x is None else tuple(x.shape) for x in part] for part in lists]
        found[str(dtype).rpartition(".")[2]] = shapes, list(places)
    return found


def test_tensors_by_dtype():
    assert grouped(lazygrad) == grouped(pytorch())


class _Numbers(IterableDataset):
    def __iter__(self):
        return iter([1, 2, 3])

    def __len__(self):
        return 2


class _Loader:
    """A loader of another package: it has the attributes of PyTorch's, and gives whole batches."""

    _auto_collation, drop_last, in_order, generator, prefetch_factor = False, False, True, None, 2
    _IterableDataset_len_called, num_workers, dataset = None, 0, _Numbers()
    _dataset_kind, _index_sampler = _DatasetKind.Iterable, [None] * 9

    @staticmethod
    def collate_fn(sample):
        return sample * 10


def test_others_loaders_use_the_iterators():
    assert list(_SingleProcessDataLoaderIter(_Loader())) == [10, 20, 30]


def test_a_loader_tells_its_kind_and_warns_of_too_many_samples():
    loader = DataLoader(_Numbers(), batch_size=None)
    assert loader._dataset_kind == _DatasetKind.Iterable and not loader._auto_collation
    assert len(loader) == 2
    with pytest.warns(UserWarning, match="reported to be 2 .* but 3 samples"):
        assert list(loader) == [1, 2, 3]
    fetcher = _DatasetKind.create_fetcher(_DatasetKind.Map, [1, 2, 3], True, sum, False)
    assert fetcher.fetch([0, 2]) == 4


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("general", [False, True])
def test_lobpcg(largest, general):
    numbers = np.random.default_rng(0)
    a, b = (numbers.standard_normal((2, 9, 9)) for _ in range(2))
    a, b = a + a.swapaxes(1, 2), b @ b.swapaxes(1, 2) + 9 * np.eye(9)
    results = []
    for m in (lazygrad, pytorch()):
        x = m.tensor(a)
        metric = m.tensor(b) if general else None
        values, vectors = m.lobpcg(x, k=2, B=metric, largest=largest, niter=-1, tol=1e-12)
        right = vectors if metric is None else metric @ vectors
        assert float((x @ vectors - right * values.unsqueeze(-2)).abs().max()) < 1e-5
        results.append(values)
    np.testing.assert_allclose(results[0].numpy(), results[1].numpy(), rtol=1e-6)
    with pytest.raises(ValueError, match="smaller than 3 x"):
        lazygrad.lobpcg(lazygrad.tensor(a), k=4)


def test_plans_for_many_processes_can_be_written_down():
    parallel = importlib.import_module("lazygrad.distributed.tensor.parallel")
    placements = importlib.import_module("lazygrad.distributed._tensor")
    plan = {"head": parallel.ColwiseParallel(output_layouts=placements.Replicate())}
    with pytest.raises(RuntimeError, match="one process"):
        parallel.parallelize_module(lazygrad.nn.Linear(2, 2), None, plan)
