"""Modules, losses and functions as modules in PyTorch's older table of them, on its samples, in float64:
what its newer table (test_torch_modules.py) has not, among it shapes without a batch."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from torch_modules import ModuleCounterparts, Pair, Sample, finish, torch
from torch_samples import leaves

import lazygrad
from lazygrad import config, nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal import common_nn
    from torch.testing._internal.common_modules import FunctionInput

DISTANCE = {"CPU": 16, "CL": 48}  # of rows that devices take which compile
# complex and sparse tensors; and PyTorch's Hardsigmoid takes a sixth in float32
LEFT_OUT = (
    "L1Loss_no_reduce_complex",
    "ReplicationPad3d_complex",
    "EmbeddingBag_sparse",
    "Embedding_sparse",
    "Hardsigmoid_no_batch_dim",
)


@pytest.fixture(autouse=True)
def _same_numbers():
    with config.override(RNG="torch"):
        yield


def rows() -> dict[str, dict[str, Any]]:
    torch.manual_seed(0)
    found = {}
    for row in (*common_nn.module_tests, *common_nn.get_new_module_tests(), *common_nn.criterion_tests):
        name = row.get("fullname") or "_".join(filter(None, (row["module_name"], row.get("desc"))))
        if name not in LEFT_OUT:
            found[name] = row
    return found


ROWS = rows()
_NUMBERS = {name: i for i, name in enumerate(ROWS)}


class Called(nn.Module):
    """A function as a module."""

    def __init__(self, function: Any, named: dict[str, Any]) -> None:
        super().__init__()
        self.function, self.named = function, named

    def forward(self, *args: Any) -> Any:
        return self.function(*args, **self.named)


class Row(Sample):
    """A row of the older table."""

    def __init__(self, name: str, device: str) -> None:
        drawn = {"constructor": None, **ROWS[name]}
        kind = drawn["constructor"] or getattr(torch.nn, ROWS[name]["module_name"])
        drawn["constructor"] = kind
        is_loss = any(key.startswith("target") for key in drawn)
        made = (common_nn.CriterionTest if is_loss else common_nn.NewModuleTest)(**drawn)
        torch.manual_seed(0)
        inputs = made._get_input()
        inputs = list(inputs) if isinstance(inputs, tuple) else [inputs]
        if is_loss:
            inputs += [made._get_target(), *made.extra_args]
        super().__init__(kind, FunctionInput(*made.constructor_args), FunctionInput(*inputs), name)
        self.device = device

    @property
    def ours(self) -> Any:
        one = ModuleCounterparts(self.device)
        if self.kind.__name__ != "FunctionalModule":
            return one.function(self.kind)
        held = dict(zip(self.kind.forward.__code__.co_freevars, self.kind.forward.__closure__, strict=True))
        function, named = (one.of(held[key].cell_contents) for key in ("fn", "kwargs"))
        return lambda: Called(function, named)


def is_usual(name: str, device: str) -> bool:
    """Whether a row runs where not all are asked for."""
    return _NUMBERS[name] % DISTANCE.get(device, 1) == 0


@pytest.mark.usual(by=is_usual)
@pytest.mark.parametrize("name", ROWS)
def test_values(name: str, device: str) -> None:
    problems: list[str] = []
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        pair = Pair(Row(name, device), device, problems)
        if pair.made:
            pair.to(torch.float64, True)
            pair.load()
            pair.call(pair.sample.called_with)
            assert list(leaves(pair.compared)), "PyTorch refuses"
            pair.compare()
    finally:
        torch.set_default_dtype(before)
    finish(problems)


@pytest.mark.parametrize("size", [2, 3, 4, 5])
@pytest.mark.parametrize("channels", [1, 3, 10])
def test_the_sums_of_cross_map_normalization_are_pytorchs(size: int, channels: int, device: str) -> None:
    problems: list[str] = []
    x = torch.rand(2, channels, 3, 2, dtype=torch.float64, requires_grad=True)
    made = FunctionInput(size, alpha=1.0, beta=0.75, k=2.0)
    pair = Pair(Sample(torch.nn.CrossMapLRN2d, made, FunctionInput(x), f"of {size}"), device, problems)
    pair.call(FunctionInput(x))
    pair.compare()
    finish(problems)


@pytest.mark.parametrize("target, shape", [([3], (7,)), (3, (7,)), ([3], (1, 7)), (3, (1, 7))])
@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_multi_margin_losses_have_the_shape_of_their_targets(target: Any, shape: Any, reduction: str) -> None:
    found = [m.nn.functional.multi_margin_loss(m.ones(shape), m.tensor(target), reduction=reduction).shape
             for m in (torch, lazygrad)]  # fmt: skip
    assert tuple(found[0]) == tuple(found[1])
