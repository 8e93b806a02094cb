"""`_foreach_*` on PyTorch's samples of them: values, dtypes and gradients, new lists and lists written to.

A usual run takes float32 and another dtype of each on NUMPY and, on devices that compile, one dtype of some;
`--every-dtype`, or devices asked for, takes all.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import share
from torch_calls import Calls
from torch_samples import DTYPES, FOREACH_OPS, last_word, torch

CASES = [(op, dtype) for op in FOREACH_OPS for dtype in DTYPES]
SAMPLES = {"NUMPY": 4, "CPU": 4, "CL": 2}
DISTANCE = {"CPU": 6, "CL": 16}  # of operations that devices take which compile


def is_usual(case: Any, device: str) -> bool:
    """Whether a case runs where not all are asked for: other dtypes for each operation."""
    op, dtype = case
    number = FOREACH_OPS.index(op)
    if device in DISTANCE:
        turn, rest = divmod(number, DISTANCE[device])
        return rest == 0 and dtype is DTYPES[turn % len(DTYPES)]
    return dtype in (torch.float32, DTYPES[1 + number % (len(DTYPES) - 1)])


def drawn(op: Any, dtype: Any) -> Iterator[Any]:
    """Samples of lists of three and five tensors, empty ones among them, without complex numbers."""
    torch.manual_seed(0)
    random.seed(0)
    gradients = op.supports_autograd and dtype in (torch.float32, torch.float64)
    sizes = {"num_input_tensors": [3, 5], "allow_higher_dtype_scalars": True}
    for sample in op.sample_inputs("cpu", dtype, requires_grad=gradients, **sizes):
        sample.kwargs.pop("disable_fastpath", None)  # of PyTorch's kernels
        last = sample.args[-1] if sample.args else None
        if not any(isinstance(v, complex) for v in (last if isinstance(last, list) else [last])):
            yield sample


@pytest.mark.usual(by=is_usual)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0].name}-{last_word(case[1])}")
def test_values(case: Any, device: str, request: pytest.FixtureRequest) -> None:
    op, dtype = case
    calls = Calls(device)
    for sample in share(list(drawn(op, dtype)), SAMPLES[device], request):
        if op.op is not op.inplace_variant:  # `_foreach_zero_` has no other form
            calls.run(op, sample)
        if op.inplace_variant is not None:
            calls.run(op, sample, "in place", op.inplace_variant)
    calls.compare()
