"""Collectives that return their results, with derivatives, for one process: copies of what they are given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lazygrad.distributed import ReduceOp, get_world_size
from lazygrad.tensors.core import Tensor


def _result(tensor: Tensor) -> Tensor:
    get_world_size()  # raises ArgumentError before init_process_group
    return tensor.clone()


def all_reduce(tensor: Tensor, op: Any = ReduceOp.SUM, group: Any = None) -> Tensor:
    """A copy of tensor."""
    return _result(tensor)


def reduce(tensor: Tensor, dst: int, op: Any = ReduceOp.SUM, group: Any = None) -> Tensor:
    """A copy of tensor."""
    return _result(tensor)


def broadcast(tensor: Tensor, src: int, group: Any = None) -> Tensor:
    """A copy of tensor."""
    return _result(tensor)


def all_gather(tensor: Tensor, group: Any = None) -> tuple[Tensor, ...]:
    """A tuple of one copy of tensor."""
    return (_result(tensor),)


def gather(tensor: Tensor, dst: int = 0, group: Any = None) -> tuple[Tensor, ...]:
    """A tuple of one copy of tensor."""
    return (_result(tensor),)


def scatter(tensors: Sequence[Tensor], src: int = 0, group: Any = None) -> Tensor:
    """A copy of the one tensor."""
    return _result(tensors[0])


def reduce_scatter(
    output: Tensor, input_list: Sequence[Tensor], op: Any = ReduceOp.SUM, group: Any = None
) -> Tensor:
    """A copy of the one tensor of input_list."""
    return _result(input_list[0])


def all_to_all(
    output_tensor_list: Sequence[Tensor], input_tensor_list: Sequence[Tensor], group: Any = None
) -> tuple[Tensor, ...]:
    """A tuple of one copy of the one tensor of input_tensor_list."""
    return (_result(input_tensor_list[0]),)


def all_to_all_single(
    output: Tensor,
    input: Tensor,
    output_split_sizes: Any = None,
    input_split_sizes: Any = None,
    group: Any = None,
) -> Tensor:
    """A copy of input."""
    return _result(input)
