"""PyTorch's `distributed` namespace for one process: a group of world size 1, whose collectives give back
what they are given. More processes are an error that says so."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from enum import Enum
from typing import Any

from lazygrad import config
from lazygrad.errors import ArgumentError, UnsupportedError
from lazygrad.tensors.core import Tensor

default_pg_timeout = datetime.timedelta(minutes=30)


class ReduceOp(Enum):
    """How values of several processes are combined; of one process they stay what they are."""

    SUM, AVG, PRODUCT, MIN, MAX, BAND, BOR, BXOR, PREMUL_SUM = range(9)


ReduceOp.RedOpType = ReduceOp  # type: ignore[attr-defined]  # PyTorch's class of the values above
reduce_op = ReduceOp


class Backend:
    """The names of the ways in which processes talk."""

    GLOO, NCCL, MPI, UCC, UNDEFINED = "gloo", "nccl", "mpi", "ucc", "undefined"


class ProcessGroup:
    """A group of this process alone; `backend`: how its processes were to talk."""

    def __init__(self, backend: str = "gloo") -> None:
        self.backend = backend

    def rank(self) -> int:
        """The number of this process: 0."""
        return 0

    def size(self) -> int:
        """How many processes there are: 1."""
        return 1


class Work:
    """A collective that is done already."""

    def wait(self, timeout: Any = None) -> bool:
        """True at once."""
        return True

    def is_completed(self) -> bool:
        """True."""
        return True


class group:
    """The groups that always exist."""

    WORLD: ProcessGroup | None = None


def is_available() -> bool:
    """True: a group of one process can be made."""
    return True


def is_initialized() -> bool:
    """Whether init_process_group has been called."""
    return group.WORLD is not None


def is_torchelastic_launched() -> bool:
    """Whether a launcher started this process."""
    return config.launched_processes() > 1


def is_nccl_available() -> bool:
    """False."""
    return False


def is_gloo_available() -> bool:
    """True: its group of one process."""
    return True


is_mpi_available = is_nccl_available


def init_process_group(
    backend: str | None = None,
    init_method: str | None = None,
    timeout: Any = None,
    world_size: int = -1,
    rank: int = -1,
    store: Any = None,
    group_name: str = "",
    pg_options: Any = None,
    device_id: Any = None,
) -> None:
    """Make the group of this process. Raises UnsupportedError for more processes than one."""
    size = config.launched_processes() if world_size < 0 else world_size
    if is_initialized():
        raise ArgumentError("[init_process_group] trying to initialize the default process group twice!")
    if size != 1:
        raise UnsupportedError(
            f"[init_process_group] lazygrad runs in one process, not in {size}: start "
            "the script without torchrun (WORLD_SIZE=1); all cores of the machine are "
            "used anyway"
        )
    group.WORLD = ProcessGroup(backend or "gloo")


def destroy_process_group(group_: Any = None) -> None:
    """Forget the group."""
    _world()
    group.WORLD = None


def _world() -> ProcessGroup:
    if group.WORLD is None:
        raise ArgumentError(
            "[distributed] Default process group has not been initialized, please make "
            "sure to call init_process_group."
        )
    return group.WORLD


def get_rank(group: Any = None) -> int:
    """The number of this process: 0. Raises ArgumentError before init_process_group."""
    _world()
    return 0


def get_world_size(group: Any = None) -> int:
    """How many processes there are: 1. Raises ArgumentError before init_process_group."""
    _world()
    return 1


get_node_local_rank = get_rank


def get_backend(group: Any = None) -> str:
    """What init_process_group was told."""
    return _world().backend


def get_default_backend_for_device(device: Any) -> str:
    """How processes on a kind of device would talk."""
    return "gloo"


def new_group(ranks: Any = None, *args: Any, **options: Any) -> ProcessGroup:
    """A group of this process."""
    _world()
    return ProcessGroup()


def _done(async_op: bool, output: Tensor | None = None, value: Tensor | None = None) -> Work | None:
    """A collective in which one tensor takes the values of another, if any do."""
    _world()
    if output is not None and value is not None:
        output.copy_(value)
    return Work() if async_op else None


def all_reduce(
    tensor: Tensor, op: Any = ReduceOp.SUM, group: Any = None, async_op: bool = False
) -> Work | None:
    """tensor is the result already."""
    return _done(async_op)


def reduce(
    tensor: Tensor, dst: int = 0, op: Any = ReduceOp.SUM, group: Any = None, async_op: bool = False
) -> Work | None:
    """tensor is the result already."""
    return _done(async_op)


def broadcast(tensor: Tensor, src: int = 0, group: Any = None, async_op: bool = False) -> Work | None:
    """tensor is the result already."""
    return _done(async_op)


def all_gather(
    tensor_list: Sequence[Tensor], tensor: Tensor, group: Any = None, async_op: bool = False
) -> Work | None:
    """The one tensor of the list takes the values of tensor."""
    return _done(async_op, tensor_list[0], tensor)


def all_gather_into_tensor(
    output_tensor: Tensor, input_tensor: Tensor, group: Any = None, async_op: bool = False
) -> Work | None:
    """output_tensor takes the values of input_tensor."""
    return _done(async_op, output_tensor, input_tensor.reshape(output_tensor.shape))


reduce_scatter_tensor = all_gather_into_tensor


def gather(
    tensor: Tensor,
    gather_list: Sequence[Tensor] | None = None,
    dst: int = 0,
    group: Any = None,
    async_op: bool = False,
) -> Work | None:
    """The one tensor of gather_list takes the values of tensor."""
    return _done(async_op, gather_list[0] if gather_list else None, tensor)


def scatter(
    tensor: Tensor,
    scatter_list: Sequence[Tensor] | None = None,
    src: int = 0,
    group: Any = None,
    async_op: bool = False,
) -> Work | None:
    """tensor takes the values of the one tensor of scatter_list."""
    return _done(async_op, tensor, scatter_list[0] if scatter_list else None)


def all_gather_object(object_list: list[Any], obj: Any, group: Any = None) -> None:
    """The one place of the list takes the object."""
    _world()
    object_list[0] = obj


def broadcast_object_list(
    object_list: list[Any], src: int = 0, group: Any = None, device: Any = None
) -> None:
    """The list is the result already."""
    _world()


def barrier(group: Any = None, async_op: bool = False, device_ids: Any = None) -> Work | None:
    """Everyone is here."""
    return _done(async_op)


def monitored_barrier(*args: Any, **options: Any) -> None:
    """Everyone is here."""
    _world()
