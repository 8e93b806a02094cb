"""Datasets, samplers and loaders, under the names of torch.utils.data."""

from lazygrad.helpers import add_paths
from lazygrad.inert import names_of
from lazygrad.utils.data import collate, dataloader, dataset, distributed, pinning, sampler, worker
from lazygrad.utils.data.collate import default_collate, default_convert
from lazygrad.utils.data.dataloader import DataLoader
from lazygrad.utils.data.dataset import (
    ChainDataset,
    ConcatDataset,
    Dataset,
    IterableDataset,
    StackDataset,
    Subset,
    TensorDataset,
    random_split,
)
from lazygrad.utils.data.distributed import DistributedSampler
from lazygrad.utils.data.sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from lazygrad.utils.data.worker import WorkerInfo, get_worker_info

add_paths(__name__, {"_utils": (worker,)})
add_paths(f"{__name__}._utils", {"collate": (collate,), "worker": (worker,), "pin_memory": (pinning,)})

__getattr__ = names_of(__name__)

__all__ = [
    "BatchSampler",
    "ChainDataset",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "DistributedSampler",
    "IterableDataset",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "StackDataset",
    "Subset",
    "SubsetRandomSampler",
    "TensorDataset",
    "WeightedRandomSampler",
    "WorkerInfo",
    "collate",
    "dataloader",
    "dataset",
    "default_collate",
    "default_convert",
    "distributed",
    "get_worker_info",
    "random_split",
    "sampler",
]
