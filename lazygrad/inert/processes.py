"""Names for programs of many processes. Packages import them whether they use them or not: every module
below `distributed` that lazygrad lacks exists, and every name in it is a class (in capitals) or a function
whose use says that there is one process here."""

from __future__ import annotations

from typing import Any

from lazygrad.inert.kinds import ignored, kind, nothing, refused

MANY_PROCESSES = "lazygrad.distributed."
_ONE_PROCESS = (
    "lazygrad runs in one process: leave the model whole, or wrap it in nn.parallel.DistributedDataParallel, "
    "which does nothing there"
)
# modules that are there without being imported
LOADED = frozenset(
    MANY_PROCESSES + name
    for name in "device_mesh fsdp tensor checkpoint optim algorithms rpc rpc.api elastic pipelining".split()
)
_KEPT: dict[str, Any] = {  # what can be ignored where there is one process
    **{f"lazygrad.distributed.tensor.{module}{name}": nothing(name)
       for name in ("Placement", "Replicate", "Shard", "Partial", "_StridedShard")
       for module in ("", "placement_types.")},
    **{f"lazygrad.distributed._tensor.{name}": nothing(name) for name in ("Placement", "Replicate", "Shard")},
    **{f"lazygrad.distributed.tensor.parallel.{name}": nothing(name)  # plans, which name what is to be split
       for name in ("ColwiseParallel", "RowwiseParallel", "SequenceParallel", "PrepareModuleInput",
                    "PrepareModuleOutput", "PrepareModuleInputOutput", "ParallelStyle")},
    "lazygrad.distributed.elastic.multiprocessing.errors.record": lambda function: function,
    "lazygrad.distributed.rpc.is_available": ignored(False),
    "lazygrad.distributed.rpc.api._require_initialized": lambda function: function,
}


def of_many_processes(module: str, name: str) -> Any:
    """What stands under a name of a module for many processes."""
    full = f"{module}.{name}"
    if full not in _KEPT:
        make = kind if name.lstrip("_")[:1].isupper() else refused
        _KEPT[full] = make(full.removeprefix("lazygrad."), _ONE_PROCESS)
    return _KEPT[full]
