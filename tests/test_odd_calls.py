"""Calls that are seldom made, beside PyTorch's: numbers in the place of tensors, dimensions that are not
there, flags that most leave alone. Both give the same, or both refuse."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
from torch_support import check, outcome, pytorch

import lazygrad

CALLS: dict[str, Callable[[Any], Any]] = {
    "full of a tensor, a leaf": lambda m: m.full((2,), m.tensor(1.5), requires_grad=True),
    "full_like of a tensor, a leaf": lambda m: m.full_like(m.ones(2), m.tensor(1.5), requires_grad=True),
    "full of a byte": lambda m: m.full((2,), m.tensor(1, dtype=m.uint8)),
    "full of a double": lambda m: m.full((2,), m.tensor(1, dtype=m.float64)),
    "full of a bool": lambda m: m.full((2,), m.tensor(True)),
    "randperm, a leaf": lambda m: m.randperm(3, dtype=m.float32, requires_grad=True).requires_grad,
    "slice_copy beyond": lambda m: m.slice_copy(m.ones(2, 3), 5, 0, 1),
    "slice_copy from the end": lambda m: m.slice_copy(m.ones(2, 3), -1, 0, 1),
    "segment_reduce beyond": lambda m: m.segment_reduce(m.ones(4), "sum", lengths=m.tensor([2, 2]), axis=1),
    "integers among a float": lambda m: m.isin(m.tensor([0, 1]), 0.5),
    "a float among integers": lambda m: m.isin(0.5, m.tensor([0, 1])),
    "a float among doubles": lambda m: m.isin(m.tensor([0.1], dtype=m.float64), 0.1),
    "a float between integers": lambda m: m.searchsorted(m.tensor([1, 2, 3]), 2.5),
    "a float in buckets of integers": lambda m: m.bucketize(2.5, m.tensor([1, 2, 3])),
    "bools padded with a float": lambda m: m.nn.functional.pad(m.tensor([True]), (1, 1), value=0.5),
    "integers padded with a float": lambda m: m.nn.functional.pad(m.tensor([3]), (1, 1), value=1.7),
    "a window with one number too many": lambda m: m.hann_window(4, True, 0.3),
    "windows of two numbers": lambda m: m.hamming_window(4, True, 0.3, 0.7),
    "more repetitions than told": lambda m: m.ones(2).repeat_interleave(m.tensor([1, 2]), output_size=5),
    "repetitions as told": lambda m: m.tensor([1, 2]).repeat_interleave(m.tensor([1, 2]), output_size=3),
    "a chain with a vector": lambda m: m.chain_matmul(m.ones(2), m.ones(2, 2)),
    "a chain of one": lambda m: m.chain_matmul(m.ones(2, 2)),
    "a chain": lambda m: m.chain_matmul(m.ones(2, 3), m.ones(3, 4), m.ones(4, 1)),
    "NaN as a bound": lambda m: m.tensor([1.0, float("nan")]).clamp(min=float("nan")),
    "NaN as the upper bound": lambda m: m.tensor([1.0, float("inf")]).clamp(0.0, float("nan")),
    "triangles": lambda m: [m.tril_indices(3, 4, 1), m.triu_indices(4, 3, -1), m.triu_indices(2, 3, 5)],
    "a slice of memory": lambda m: m.frombuffer(memoryview(bytearray(8))[2:6], dtype=m.int16),
    "no memory": lambda m: m.frombuffer(5, dtype=m.int16),
    "a float too large for an index": lambda m: m.zeros(2, dtype=m.int8).__setitem__(0, 128.5),
    "roots of negative sums": lambda m: m.nn.functional.lp_pool1d(m.tensor([[[1.0, -2.0, 3.0]]]), 3, 2),
    "weights of bytes": lambda m: m.cov(m.tensor([[1.0, 2.0]]), fweights=m.tensor([1, 2], dtype=m.uint8)),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_same_as_pytorch(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours, theirs = (outcome(lambda m=m: CALLS[name](m)) for m in (lazygrad, pytorch()))
    if isinstance(theirs, Exception):
        assert isinstance(ours, Exception), ours
        return
    assert not isinstance(ours, Exception), ours
    check(ours, theirs)
    assert getattr(ours, "requires_grad", None) == getattr(theirs, "requires_grad", None)


@pytest.mark.parametrize("deviation", ["std", "std_mean"])
def test_deviations_of_equal_numbers_have_no_slope(deviation: str) -> None:
    grads = []
    for m in (lazygrad, pytorch()):
        x = m.tensor([[1.0, 1.0], [1.0, 3.0]], requires_grad=True)
        made = getattr(m, deviation)(x, 1)
        (made if deviation == "std" else made[0]).sum().backward()
        grads.append(x.grad)
    check(*grads)


def test_device_zero_is_an_accelerator() -> None:
    x = lazygrad.ones(2, device="cpu")
    there = outcome(lambda: lazygrad.zeros(2, device=0))
    for call in (lambda: lazygrad.zeros_like(x, device=0), lambda: x.new_full((2,), 1.0, device=0),
                 lambda: lazygrad.rand_like(x, device=0)):
        made = outcome(call)
        assert type(made) is type(there), made
        assert isinstance(made, Exception) or made.device == there.device


SIZES: dict[str, Callable[[Any, Any], Any]] = {
    "flip of a number": lambda m, x: m.flip(x, 0),
    "flip by name of a number": lambda m, x: x.flip(dims=0),
    "flip": lambda m, x: x.flip(0),
    "reshape of numbers": lambda m, x: m.reshape(x, 3, 2),
    "reshape of a tensor": lambda m, x: x.reshape(m.tensor([3, 2])),
    "permute of numbers": lambda m, x: m.permute(x, 1, 0),
    "permute": lambda m, x: m.permute(x, [1, 0]),
    "tile of a number": lambda m, x: m.tile(x, 2),
    "broadcast_to a number": lambda m, x: m.broadcast_to(x, 3),
    "a number": lambda m, x: m.zeros(size=2),
    "full": lambda m, x: m.full(2, 1),
    "a range": lambda m, x: x.permute(range(2)),
    "sums by name": lambda m, x: x.sum_to_size(size=(1, 3)),
    "movedim": lambda m, x: m.movedim(x, (0, 1), 1),
    "requires_grad": lambda m, x: setattr(x, "requires_grad", 1),
    "requires_grad_": lambda m, x: x.requires_grad_("text"),
    "channels": lambda m, x: m.nn.functional.feature_alpha_dropout(x[0], 0.5, True),
    "no reduction": lambda m, x: m.kl_div(x, x),
    "sizes twice": lambda m, x: m.Size([2]) * 2,
}


@pytest.mark.parametrize("call", SIZES.values(), ids=SIZES)
def test_what_is_one_tuple(call: Callable[[Any, Any], Any]) -> None:
    """Functions take sizes and dims as one tuple; methods take them one by one, too."""
    mine, theirs = (outcome(lambda m=m: call(m, m.ones(2, 3))) for m in (lazygrad, pytorch()))
    if isinstance(theirs, Exception):
        assert isinstance(mine, type(theirs)), (mine, theirs)
    elif isinstance(theirs, tuple):
        assert tuple(mine) == tuple(theirs) and type(mine) is lazygrad.Size
    else:
        check(mine, theirs)
