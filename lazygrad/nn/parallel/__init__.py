"""Wrappers for several devices, over the one that there is: transparent, but for the names of what is
inside."""

from lazygrad.nn.parallel.data_parallel import DataParallel, data_parallel
from lazygrad.nn.parallel.distributed import DistributedDataParallel

__all__ = ["DataParallel", "DistributedDataParallel", "data_parallel"]
