"""Every module of PyTorch's table of them on PyTorch's samples: initial values, printing, outputs, gradients
of inputs and parameters, and the state after a call.

A run takes a share of the samples; `--every-dtype`, or devices asked for, takes all.
"""

from __future__ import annotations

from typing import Any

import pytest
from conftest import share
from torch_modules import MODULES, Pair, draw, finish, torch

from lazygrad import config

FLOATS = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
CASES = [
    (info, training)
    for info in MODULES
    for training in (True, False)
    if training or info.train_and_eval_differ
]
SHARE = {torch.float32: 6, torch.float64: 2, torch.float16: 1, torch.bfloat16: 1}


def case_name(case: Any) -> str:
    info, training = case
    return info.name.removeprefix("nn.") + ("" if training else "-evaluation")


@pytest.fixture(autouse=True)
def _same_numbers():
    with config.override(RNG="torch"):
        yield


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: str(d).removeprefix("torch."))
@pytest.mark.parametrize("case", CASES, ids=case_name)
def test_values(case: Any, dtype: Any, device: str, request: pytest.FixtureRequest) -> None:
    problems: list[str] = []
    info, training = case
    for sample in share(draw(info, dtype, training), SHARE[dtype], request):
        pair = Pair(sample, device, problems)
        if pair.made:
            pair.same_beginning()
            pair.to(dtype, training)
            pair.load()
            pair.call(sample.called_with)
            pair.compare()
    finish(problems)
